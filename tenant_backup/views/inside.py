"""Inside a backup: its tables beside today's, and the rows that differ."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tenant_backup import backups, contact, row_values, rows, table_names
from tenant_backup.addresses import address_of
from tenant_backup.command_lines import command
from tenant_backup.exceptions import BackupError
from tenant_backup.forms import RequestForm
from tenant_backup.languages import messages
from tenant_backup.models import Backup
from tenant_backup.restore import manual
from tenant_backup.sqlite import Difference, Kind, NoSuchTable
from tenant_backup.tenants import (
    ACTIONS,
    CREATE,
    DOWNLOAD,
    VIEW,
    Tenant,
    has_permission,
    is_operator,
)
from tenant_backup.views.access import backup_or_404, tenant_view
from tenant_backup.views.place import Place
from tenant_backup.views.redaction import error_text
from tenant_backup.views.responses import back, render_page
from tenant_backup.words import number_in_words

logger = logging.getLogger("tenant_backup")

SECONDS = 5
"""How long two databases are compared while a browser waits."""

ROWS_PER_PAGE = 20

KINDS: tuple[Kind, ...] = ("gone", "changed", "new")


@dataclass(frozen=True, slots=True)
class TableInside:
    """A table of a backup beside today's. Each number is in words, and empty if it is unknown."""

    table: str
    name: str
    then: str
    now: str
    gone: str
    changed: str
    new: str
    why_not: str
    """Why its rows were not compared; empty if they were."""
    is_the_hosts: bool
    opens_at: Kind | Literal[""]
    """What there is to see of its rows; empty without any difference."""

    @property
    def has_lost(self) -> bool:
        return self.opens_at in ("gone", "changed")

    @classmethod
    def of(cls, difference: Difference) -> TableInside:
        def shown(number: int | None) -> str:
            return number_in_words(number, is_complete=difference.is_complete)

        # Its name may hold bytes that are no text, which no page can show.
        table = os.fsencode(difference.table).decode(errors="replace")
        return cls(
            table,
            table_names.heading_of(table),
            number_in_words(difference.rows_then),
            number_in_words(difference.rows_now),
            shown(difference.gone),
            shown(difference.changed),
            shown(difference.new),
            str(difference.why_not or ""),
            table_names.is_the_hosts(difference.table),
            next((kind for kind in KINDS if getattr(difference, kind)), ""),
        )


def inside(tenant: Tenant, backup: Backup) -> dict[str, Any]:
    """What a backup holds, beside today's database, or beside the newest backup in its place.

    Raises `BackupError` if the backup cannot be read.
    """
    compared: rows.Compared | None = None
    try:
        compared = rows.compare(tenant, backup, seconds=SECONDS)
    except BackupError as error:
        logger.warning("Today's rows of tenant %r cannot be compared: %s", tenant.id, error)
    differences = compared.tables if compared else _counted(tenant, backup)
    found = [TableInside.of(difference) for difference in differences]
    return {
        "backup": backup,
        "tables": [each for each in found if each.is_the_hosts],
        "other_tables": [each for each in found if not each.is_the_hosts],
        "has_today": compared is not None or any(each.now for each in found),
        "is_compared": compared is not None,
        "is_complete": compared is None or compared.is_complete,
        "compared_with": compared.now if compared else None,
    }


def _counted(tenant: Tenant, backup: Backup) -> list[Difference]:
    return [
        Difference(
            table.name,
            rows_then=table.rows,
            rows_now=table.rows_today,
            gone=None,
            new=None,
            changed=None,
            is_compared=False,
            why_not=None,
            is_complete=True,
        )
        for table in backups.contents(tenant, backup, seconds=SECONDS)
    ]


def opened(tenant: Tenant, backup: Backup, asked: Mapping[str, str]) -> dict[str, Any]:
    """One table, opened to rows that are gone, changed or new, as an address asks for them.

    Raises `Http404` if there is no such table, and `BackupError` if the rows cannot be compared.
    """
    given, page = asked.get("kind"), int(Place.of(asked).page or 1)
    kind: Kind = next((each for each in KINDS if each == given), "gone")
    try:
        found = rows.browse(
            tenant,
            backup,
            asked.get("table", ""),
            kind,
            offset=(page - 1) * ROWS_PER_PAGE,
            limit=ROWS_PER_PAGE,
            seconds=SECONDS,
        )
    except NoSuchTable as error:
        raise Http404("There is no such table.") from error
    table = TableInside.of(found.difference)
    columns = row_values.columns(table.table, found.columns)
    return {
        "backup": backup,
        "table": table,
        "kind": kind,
        "kinds": [
            ("gone", gettext("Gone"), table.gone),
            ("changed", gettext("Changed"), table.changed),
            ("new", gettext("New"), table.new),
        ],
        "columns": [column.words for column in columns],
        "cells": [
            row_values.cells(columns, row.then or row.now or ())
            for row in found.rows
            if kind != "changed"
        ],
        "changes": [
            (
                row_values.name_of(columns, row.key, row.then),
                row_values.changes(columns, row.then, row.now),
            )
            for row in found.rows
            if row.then and row.now
        ],
        "number": page,
        "has_more": found.has_more,
        "compared_with": found.pair.now,
    }


@require_safe
@never_cache
@tenant_view(VIEW)
def contents(request: HttpRequest, tenant: Tenant, backup_id: str) -> HttpResponse:
    """What a backup holds, and for operators the commands that restore it."""
    backup = backup_or_404(tenant.id, backup_id)
    try:
        found = inside(tenant, backup)
    except BackupError as error:
        messages.error(request, error_text(error, request, tenant))
        return back(request)
    may = {action: has_permission(request, tenant, action) for action in ACTIONS}
    asked = rows.open_request(tenant.id)
    context = {
        "title": gettext("Inside the backup"),
        **found,
        "may": may,
        "asked": asked,
        "can_ask": may[CREATE] and asked is None and backup.is_good and found["is_compared"],
        "request_form": RequestForm(),
        "commands": _restore_commands(tenant, backup) if is_operator(request) else None,
        "services": contact.services(),
    }
    return render_page(request, tenant, "tenant_backup/contents.html", context)


@require_safe
@never_cache
@tenant_view(DOWNLOAD)
def table_rows(request: HttpRequest, tenant: Tenant, backup_id: str) -> HttpResponse:
    """The rows of one `table` that differ since a backup: of one `kind`, page by page."""
    backup = backup_or_404(tenant.id, backup_id)
    try:
        found = opened(tenant, backup, request.GET)
    except BackupError as error:
        messages.error(request, error_text(error, request, tenant))
        return redirect(address_of(request, "contents", backup_id=backup.pk))
    context = {"title": gettext("Inside the backup"), **found}
    return render_page(request, tenant, "tenant_backup/rows.html", context)


def _restore_commands(tenant: Tenant, backup: Backup) -> dict[str, str]:
    """With paths on the server, so only for operators."""
    file = backups.directory_of(tenant).file(backup.file_name)
    return {
        "restorebackup": command("restorebackup", tenant.id, str(backup.pk)),
        "by_hand": manual.commands(
            tenant.database.resolve(), file.resolve(), backup.sha256, tenant_id=tenant.id
        ),
    }
