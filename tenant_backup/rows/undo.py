"""Undoing a restore of rows: rows that are still exactly as restored become what they were."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import DatabaseError

from tenant_backup import backups
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, NotAsPlanned
from tenant_backup.models import RowRestore
from tenant_backup.rows.plan import MOST_NAMED
from tenant_backup.rows.records import mark_undone, plan_of
from tenant_backup.rows.recovery import recover, settle
from tenant_backup.sqlite import row_writing
from tenant_backup.sqlite.row_conflicts import ConflictSearch
from tenant_backup.sqlite.row_plan import RowPlan, explaining
from tenant_backup.sqlite.shapes import folded
from tenant_backup.sqlite.structure import Structure
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Counted

State = RowRestore.State


@dataclass(frozen=True, slots=True)
class Undoing:
    """A restore of rows that can be undone; valid within the context of `undoing`."""

    tenant: Tenant
    record: RowRestore
    rows: RowPlan
    structure: Structure
    search: ConflictSearch


@contextmanager
def undoing(tenant: Tenant, number: int) -> Iterator[Undoing]:
    """Find the restore of rows of this number, and look whether it can be undone.

    Raises `BackupError` if it cannot, which names the rows that have changed since.
    """
    recover(tenant)
    record = RowRestore.objects.for_tenant(tenant.id).filter(pk=number).first()
    if record is None:
        raise BackupError(
            "No rows of %(tenant)r were brought back under the number %(number)d.",
            tenant=tenant.id,
            number=number,
        )
    _require_done(record)
    with plan_of(tenant, record) as rows:
        with explaining(tenant.database, conf.BUSY_TIMEOUT):
            structure = Structure.read(rows.connection, "main", None)
            _require_same_columns(rows, structure)
            search = ConflictSearch(rows, structure, frozenset())
            _require_untouched(search)
        yield Undoing(tenant, record, rows, structure, search)


def take_back(found: Undoing, *, actor: str = "") -> RowRestore:
    """Take the rows back, all of them or none; raises `BackupError`, and then nothing was done."""
    record, rows = found.record, found.rows
    backups.require_no_transaction()
    backups.directory_of(found.tenant).make()
    with backups.tenant_lock(found.tenant, wait=conf.BUSY_TIMEOUT):
        record.refresh_from_db(fields=["state"])
        _require_done(record)
        record.state, record.actor = State.UNDOING, actor
        record.save(update_fields=["state", "actor"])
        try:
            row_writing.take_back(rows, found.structure, conf.BUSY_TIMEOUT)
        except BaseException as error:
            settle(found.tenant, record, rows)
            if isinstance(error, NotAsPlanned):
                with explaining(found.tenant.database, conf.BUSY_TIMEOUT):
                    _require_untouched(found.search)
            raise
        try:
            mark_undone(record)
        except DatabaseError as error:
            raise BackupError(
                "Number %(number)d is undone, but the catalog could not record it: %(reason)s. The "
                "next command of this kind, or the schedule, does.",
                number=record.pk,
                reason=error,
            ) from error
    return record


def _require_done(record: RowRestore) -> None:
    if record.state == State.UNDONE:
        raise BackupError("Number %(number)d was undone already.", number=record.pk)
    if record.state != State.DONE:
        raise BackupError(
            "Another process is at work on number %(number)d. Try again when it has finished.",
            number=record.pk,
        )


def _require_same_columns(rows: RowPlan, structure: Structure) -> None:
    """Raise `BackupError` if a table has lost columns since, or has another key.

    Of a row that is to be deleted, a new column may hold what somebody has entered since.
    """
    for part in rows.parts:
        shape = structure.shape(part.table)
        columns = shape.now.columns if shape and shape.now else ()
        names = {folded(column.name) for column in columns}
        written = {folded(column.name) for column in columns if not column.is_generated}
        key = shape.now.key if shape and shape.now else ()
        known = {*map(folded, part.key), *map(folded, part.columns)}
        added = written - known if part.kind == "new" else set()
        if tuple(part.key) != key or not names.issuperset(known) or added:
            raise BackupError(
                "This cannot be undone any more: the columns of %(table)s have changed since.",
                table=part.table,
            )


def _require_untouched(search: ConflictSearch) -> None:
    search.clear()
    search.find_touched()
    found = search.found(MOST_NAMED)
    search.clear()
    if found.rows:
        first = Counted(
            "Nothing was undone, because of %(number)d row:",
            "Nothing was undone, because of %(number)d rows:",
            number=found.rows,
        )
        lines = found.listed(first)
        raise BackupError(lines.text, **lines.values)
