"""The values of rows, as people know them: by the fields of the host's models."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.conf import settings as project_settings
from django.db import models
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.translation import gettext

from tenant_backup.table_names import fields_of

LONGEST = 200
"""Characters of a value that are shown."""

CONTEXT = 30
"""Characters of a long text that are shown before the place where it differs."""

SECRET = {"password"}
"""Columns whose values nobody needs to see, not even as the digests that they are."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column by the name of its field; without a field, by its own name."""

    name: str
    words: str
    field: models.Field[Any, Any] | None = None

    def show(self, value: object) -> str:
        """A value of it, in words and in full; empty if there is none."""
        if value is None:
            return ""
        if self.name in SECRET:
            return "•••"
        if isinstance(value, bytes):
            return gettext("%(size)s of data") % {"size": filesizeformat(len(value))}
        if self.field:
            value = _by_field(self.field, value)
        # It may hold bytes that are no text, which no page can show.
        return os.fsencode(str(value)).decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Change:
    """One field of a row that differs: what it was, and what it is."""

    field: str
    then: str
    now: str


def columns(table: str, names: Iterable[str]) -> list[Column]:
    fields = fields_of(table)
    return [
        Column(name, str(capfirst(fields[name].verbose_name)), fields[name])
        if name in fields
        else Column(name, name)
        for name in names
    ]


def cells(columns: Sequence[Column], values: Sequence[object]) -> list[str]:
    """What a row held, shortened."""
    pairs = zip(columns, values, strict=True)
    return [_shortened(column.show(value)) for column, value in pairs]


def changes(
    columns: Sequence[Column], then: Sequence[object], now: Sequence[object]
) -> list[Change]:
    """The fields of a row that differ, shortened to where they do."""
    found = []
    for column, old, new in zip(columns, then, now, strict=True):
        if old == new and type(old) is type(new):
            continue
        before, after = column.show(old), column.show(new)
        is_long = max(len(before), len(after)) > LONGEST
        start = max(0, _first_difference(before, after) - CONTEXT) if is_long else 0
        found.append(Change(column.words, _shortened(before, start), _shortened(after, start)))
    return found


def name_of(columns: Sequence[Column], key: Sequence[object], values: Sequence[object]) -> str:
    """What one recognizes a row by: its key, and the first text that is in it."""
    found = [str(part) for part in key]
    for column, value in zip(columns, values, strict=True):
        is_text = isinstance(column.field, models.CharField) and column.name not in SECRET
        if is_text and str(value) not in found:
            return ": ".join([*found, _shortened(column.show(value))])
    return ", ".join(found)


def _by_field(field: models.Field[Any, Any], value: object) -> object:
    """A value as the host's own forms would show it, if it is one that they know."""
    if isinstance(field, models.BooleanField) and value in (0, 1):
        return gettext("yes") if value else gettext("no")
    if field.flatchoices:
        known = {str(key): label for key, label in field.flatchoices}
        return known.get(str(value), value)
    try:
        if isinstance(field, models.DateTimeField):
            at = datetime.fromisoformat(str(value))
            if project_settings.USE_TZ:
                # Django stores it without a zone, in UTC.
                at = timezone.localtime(at if at.tzinfo else at.replace(tzinfo=UTC))
            return date_format(at, "DATETIME_FORMAT")
        if isinstance(field, models.DateField):
            return date_format(date.fromisoformat(str(value)), "DATE_FORMAT")
    except ValueError:
        pass
    return value


def _first_difference(one: str, other: str) -> int:
    """The place of the first character that differs, or the end of the shorter text."""
    pairs = enumerate(zip(one, other, strict=False))
    ends = min(len(one), len(other))
    return next((place for place, (first, second) in pairs if first != second), ends)


def _shortened(text: str, start: int = 0) -> str:
    shown = text[start : start + LONGEST]
    return f"{'…' * (start > 0)}{shown}{'…' * (len(text) > start + LONGEST)}"
