"""Requests: a tenant's administrator asks for lost data, and the operator answers.

At most one request of a tenant is open. It holds its backup until it is answered or taken back.
"""

from collections.abc import Iterable, Mapping

from django.db import IntegrityError
from django.utils import timezone

from tenant_backup import sqlite
from tenant_backup.backups import directory_of, hold, release
from tenant_backup.catalog import catalog_transaction
from tenant_backup.command_lines import command
from tenant_backup.exceptions import BackupError
from tenant_backup.models import (
    Backup,
    Event,
    EventKind,
    HoldKind,
    RestoreRequest,
    RowCounts,
    sane_numbers,
)
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text

MOST_TABLES = 100
"""A request names at most so many tables: its command must still fit on a command line."""


def open_request(tenant_id: str) -> RestoreRequest | None:
    """What a tenant has asked for and nobody has answered yet."""
    rows = RestoreRequest.objects.for_tenant(tenant_id).open()
    return rows.select_related("backup").first()


def open_requests() -> Mapping[str, RestoreRequest]:
    """The open requests of all tenants, by the tenant's id."""
    rows = RestoreRequest.objects.open().select_related("backup")
    return {request.tenant_id: request for request in rows}


def ask(
    tenant: Tenant, backup: Backup, *, note: str, tables: Iterable[str] = (), actor: str
) -> RestoreRequest:
    """Ask the operator for data from this backup, which is held until there is an answer.

    Raises `BackupError` if the backup is not good or has no such table, if neither a note nor a
    table says what is asked for, and if a request is open already.
    """
    wanted = list(dict.fromkeys(tables))
    if not backup.is_good:
        raise BackupError(
            "Backup %(backup)s is missing, damaged or not complete, so nothing can be brought "
            "back from it. Choose another one.",
            backup=backup.pk,
        )
    if not note and not wanted:
        raise BackupError("Say what is missing, in a few words.")
    _require_tables(tenant, backup, wanted)
    try:
        with catalog_transaction():
            request = RestoreRequest.objects.create(
                tenant_id=tenant.id, backup=backup, tables=wanted, note=note, asked_by=actor
            )
            Event.record(EventKind.ASKED, backup, actor=actor, detail=_in_words(request))
            why = Text("%(who)s has asked for data from it.", who=actor)
            hold(tenant, backup, why, kind=HoldKind.REQUEST, actor=actor)
    except IntegrityError as error:
        raise BackupError(
            "Data has already been asked for, and there is no answer yet. Take that request back "
            "first."
        ) from error
    return request


def answer(
    tenant: Tenant, request: RestoreRequest, *, actor: str, is_taken_back: bool = False
) -> None:
    """End a request: it was answered, or whoever asked takes it back. Its backup is released.

    Raises `BackupError` if it has ended already.
    """
    with catalog_transaction():
        rows = RestoreRequest.objects.for_tenant(tenant.id).open().filter(pk=request.pk)
        if not rows.update(answered_at=timezone.now(), answered_by=actor):
            raise BackupError("The request has already been answered or taken back.")
        about = request.backup or tenant.id
        detail = Text("The request was taken back.") if is_taken_back else ""
        Event.record(EventKind.ANSWERED, about, actor=actor, detail=detail)
        if request.backup:
            release(tenant, request.backup, kind=HoldKind.REQUEST, actor=actor)


def commands_for(request: RestoreRequest) -> list[str]:
    """What the operator runs: a look first, then a trial, then the rows are brought back.

    Empty if the backup is gone.
    """
    if request.backup_id is None:
        return []
    tenant_id, backup, tables = request.tenant_id, str(request.backup_id), request.tables
    compare = command("comparebackups", tenant_id, backup)
    if not tables:
        return [compare]
    related = ["--with-related"]
    return [
        compare,
        command("restorerows", tenant_id, backup, *tables, options=[*related, "--dry-run"]),
        command("restorerows", tenant_id, backup, *tables, options=related),
    ]


def _require_tables(tenant: Tenant, backup: Backup, wanted: Iterable[str]) -> None:
    """Raise `BackupError` unless the backup has all these tables.

    They become part of a command, so a name that somebody has made up must not get that far.
    """
    names = list(wanted)
    if len(names) > MOST_TABLES:
        raise BackupError(
            "At most %(number)s tables can be chosen. Say in words which others are meant.",
            number=MOST_TABLES,
        )
    if not names:
        return
    counts = RowCounts.objects.filter(backup=backup).first()
    # The deadline is over already: so only the names are read, and nothing is counted.
    known = (
        sane_numbers(counts.tables)
        if counts
        else sqlite.contents(directory_of(tenant).file(backup.file_name), deadline=0.0)
    )
    for name in names:
        if name not in known:
            raise BackupError(
                "Backup %(backup)s has no table %(table)r.", backup=backup.pk, table=name[:100]
            )


def _in_words(request: RestoreRequest) -> Text | str:
    """What the history says was asked for. The note is the request's own."""
    if not request.tables:
        return ""
    return Text("Tables: %(tables)s", tables=", ".join(request.tables))
