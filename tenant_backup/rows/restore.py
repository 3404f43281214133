"""Bringing rows back, while everything runs: a backup first, then one short transaction."""

import shlex
from dataclasses import dataclass
from functools import partial
from itertools import count

from django.db import DatabaseError
from django.utils.translation import gettext

from tenant_backup import backups, sqlite
from tenant_backup.catalog import catalog_transaction
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, NotAsPlanned, explained
from tenant_backup.models import LABEL_LENGTH, Backup, RowRestore, Trigger
from tenant_backup.rows.plan import MOST_NAMED, Plan, conflicting
from tenant_backup.rows.records import mark_done, pack
from tenant_backup.rows.recovery import Restored, recover_under_lock, settle
from tenant_backup.sqlite.row_conflicts import skip
from tenant_backup.sqlite.row_plan import explaining
from tenant_backup.sqlite.row_writing import write
from tenant_backup.texts import Text

ATTEMPTS = 5
"""How often the plan is brought in line with what others have changed meanwhile."""


@dataclass(frozen=True, slots=True)
class Done:
    """Rows that are back: the record, which says how many they are, and the backup from before."""

    record: RowRestore
    safety_copy: Backup

    @property
    def tables(self) -> dict[str, dict[str, int]]:
        tables: dict[str, dict[str, int]] = self.record.tables
        return tables

    @property
    def undo(self) -> str:
        """The command that takes the rows back."""
        return undo_command(self.record.tenant_id, self.record.pk)


def undo_command(tenant_id: str, number: int) -> str:
    arguments = [tenant_id, "--undo", str(number)]
    if tenant_id.startswith("-"):
        arguments = ["--undo", str(number), "--", tenant_id]
    return f"python manage.py restorerows {shlex.join(arguments)}"


def perform(plan: Plan, *, actor: str = "") -> Done:
    """Bring the planned rows back, all of them or none.

    Raises `RowConflicts` if somebody has changed what was planned, and they are not to be skipped,
    and another `BackupError` if it cannot be done. Then the database is as it was.
    """
    tenant = plan.tenant
    backups.require_no_transaction()
    backups.directory_of(tenant).make()
    found: list[Restored] = []
    try:
        with backups.tenant_lock(tenant, wait=conf.BUSY_TIMEOUT) as ended:
            found += recover_under_lock(tenant)
            safety_copy = _back_up(plan, actor, ended)
            before = Text("The backup %(file)s was made before.", file=safety_copy.file_name)
            with explained(before):
                record = _write(plan, safety_copy, actor, found)
    finally:
        for restored in found:
            restored.announce(tenant)
    return Done(record, safety_copy)


def _back_up(plan: Plan, actor: str, ended: list[Backup]) -> Backup:
    label = gettext("before rows of %(file)s were brought back") % {"file": plan.source.file_name}
    request = backups.BackupRequest(
        trigger=Trigger.RESTORE, label=label[:LABEL_LENGTH], requested_by=actor
    )
    source = partial(sqlite.snapshot, plan.tenant.database, busy_timeout=conf.BUSY_TIMEOUT)
    return backups.make_from(source, plan.tenant, request, ended)


def _write(plan: Plan, safety_copy: Backup, actor: str, found: list[Restored]) -> RowRestore:
    """Write the rows, and record it. What is back then is added to the list."""
    # It may have been deleted since the plan was made, while somebody was asked.
    source = Backup.objects.filter(pk=plan.source.pk).first()
    record = RowRestore(
        tenant_id=plan.tenant.id, source=source, safety_copy=safety_copy, actor=actor
    )
    for attempt in count(1):
        _save(record, plan)
        try:
            # Nothing is written to the catalog until this has ended.
            write(plan.rows, plan.structure, conf.BUSY_TIMEOUT)
        except NotAsPlanned as error:
            record.delete()
            _bring_in_line(plan, error)
            if attempt == ATTEMPTS:
                raise
        except BaseException as error:
            # The commit may have worked all the same, if a signal came just then.
            if restored := settle(plan.tenant, record, plan.rows):
                found.append(restored)
                undo = undo_command(plan.tenant.id, record.pk)
                said = Text("The rows are back all the same. To undo: %(command)s", command=undo)
                error.add_note(str(said))
            raise
        else:
            break
    try:
        mark_done(plan.tenant, record)
    except DatabaseError as error:
        raise BackupError(
            "The rows are back, but the catalog could not record it: %(reason)s. The next command "
            "of this kind, or the schedule, does.",
            reason=error,
        ) from error
    found.append(Restored.of(plan.rows))
    return record


def _save(record: RowRestore, plan: Plan) -> None:
    """Write the plan to the catalog, so that it is known after a crash, and can be undone."""
    record.tables, record.plan = plan.counts, pack(plan.rows.file)
    with catalog_transaction():
        record.save()


def _bring_in_line(plan: Plan, error: NotAsPlanned) -> None:
    """Take out of the plan what somebody has changed meanwhile, or refuse to go on."""
    with explaining(plan.tenant.database, conf.BUSY_TIMEOUT):
        plan.search.clear()
        plan.search.find()
        found = plan.search.found(MOST_NAMED)
        if not found.rows:
            # The database itself says why it does not take the rows.
            raise error
        if not plan.wanted.skip_conflicts:
            raise conflicting(found, Text("They have been changed meanwhile."))
        skip(plan.search)
        if plan.rows.is_empty():
            raise BackupError("Nothing is left to bring back: all rows would have to be skipped.")
