"""What can go wrong. The text of every error is a sentence that a person can act on.

The doors turn these errors into what their callers expect: commands into a `CommandError`, views
into a message on the page, tasks into a row with the status `failed`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any


class Text:
    """A text for a person, in which named values have their places: `Text("%(n)d left", n=3)`.

    `str` says it in the language that is active then; in English where Django is not set up, for
    `sqlite.py` is used without. A text that comes without values may hold any percent sign.
    """

    text: object = ""
    values: Mapping[str, object] = MappingProxyType({})

    def __init__(self, text: object = "", /, *more: object, **values: object) -> None:
        # A host may raise ours with whatever it raises its own with.
        self.text, self.values = text, values

    def __str__(self) -> str:
        text = _translated(str(self.text))
        return text % self.values if self.values else text

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.as_data() == self.as_data()

    def __hash__(self) -> int:
        return hash(str(self.text))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def as_data(self) -> dict[str, Any]:
        """What JSON can hold, so that it can be said in another language later: see `said`."""
        return {
            "text": str(self.text),
            "values": {name: _as_data(value) for name, value in self.values.items()},
        }

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> Text:
        values: dict[str, Any] = {
            name: Text.from_data(value) if isinstance(value, dict) else value
            for name, value in data["values"].items()
        }
        if "plural" in data:
            return Counted(data["text"], data["plural"], **values)
        return Text(data["text"], **values)


class Counted(Text):
    """A text in two forms, of which a number decides: `Counted("One", "%(number)d", number=2)`."""

    def __init__(self, singular: str, plural: str, /, *, number: int, **values: object) -> None:
        super().__init__(singular, number=number, **values)
        self.plural, self.number = plural, number

    def __str__(self) -> str:
        return _translated(str(self.text), self.plural, self.number) % self.values

    def as_data(self) -> dict[str, Any]:
        return {**super().as_data(), "plural": self.plural}


def said(text: str, data: str) -> str:
    """What was stored as this text, in the language that is active now where its data tell.

    The data are those of `Text.as_data`, as JSON, or nothing.
    """
    return str(Text.from_data(json.loads(data))) if data else text


def joined(first: Text, *more: Text) -> Text:
    """Several sentences as one text."""
    if not more:
        return first
    return Text("%(error)s %(more)s", error=first, more=joined(*more))


def _as_data(value: object) -> object:
    if isinstance(value, Text):
        return value.as_data()
    return value if isinstance(value, str | int | float) else str(value)


class BackupError(Text, Exception):
    """Something about a tenant's backups could not be done; `str(error)` says what and why.

    Where that is stored, in a backup's row or in the history, what it is made of is stored, too.

    `backup` is the failed catalog row that records it, where there is one.
    """

    backup: Any = None


def _translated(text: str, plural: str = "", number: int = 1) -> str:
    from django.apps import apps
    from django.utils.translation import gettext, ngettext

    if not apps.apps_ready:
        return plural if plural and number != 1 else text
    if plural:
        return ngettext(text, plural, number)
    # Of an empty text gettext answers with the catalog's header.
    return gettext(text) if text else text


def cannot_be_read(path: Path, error: OSError | sqlite3.Error) -> BackupError:
    """The error to raise where the operating system or SQLite refuses to read a file."""
    reason = error.strerror if isinstance(error, OSError) else error
    return BackupError("%(path)s cannot be read: %(reason)s.", path=path, reason=reason)


class TenantNotFound(BackupError):
    """The tenant provider has no such tenant."""


class InvalidTenant(BackupError):
    """What the tenant provider gave cannot be backed up; `tenant_id` is empty if not valid."""

    def __init__(self, text: object = "", /, *more: object, tenant_id: str = "", **values: object):
        super().__init__(text, *more, **values)
        self.tenant_id = tenant_id


class BackupNotFound(BackupError):
    """The tenant has no such backup, or none that has a file."""


class BackupMissing(BackupError):
    """The file of a complete backup is certainly not there."""


class BackupInProgress(BackupError):
    """Another process is at work on this tenant's backups; asking again later will do."""


class RowChanged(BackupError):
    """Another process moved a backup's row on, or removed it, since it was read."""


class DatabaseLocked(BackupError):
    """Another process kept the tenant's database locked for longer than the busy timeout."""


class DatabaseInUse(BackupError):
    """Another process uses the tenant's database, which must be stopped before a restore."""


class DatabaseDamaged(BackupError):
    """A file is not a sound SQLite database."""


class UnfinishedWrite(BackupError):
    """A killed process left a journal that has to be played back before the database is read."""


class NotEnoughSpace(BackupError):
    """The disk has no room for another backup."""


class LimitReached(BackupError):
    """A tenant has as many backups made by hand, or as many bytes of backups, as it may have."""


class NotWritable(BackupError):
    """A backup's file or directory cannot be made, changed or removed with our permissions."""


class DeadlineExceeded(BackupError):
    """The work took longer than it was allowed to."""
