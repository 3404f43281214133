"""A restore from the tenant's lock to the last check."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.db import DatabaseError, connections
from django.utils.translation import gettext

from tenant_backup import backups, lock
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, Event, EventKind, Status, Trigger
from tenant_backup.restore import carried_over, content, own_catalog, safety_copy
from tenant_backup.restore.file import replace_file
from tenant_backup.restore.job import Job, Say
from tenant_backup.restore.leftovers import leftovers_kept
from tenant_backup.restore.plan import Plan, stamp
from tenant_backup.restore.safety_copy import SafetyCopy
from tenant_backup.signals import backup_restored
from tenant_backup.sqlite import Progress
from tenant_backup.tenants import Tenant
from tenant_backup.tenants.databases import is_same_file, sqlite_file
from tenant_backup.texts import Text


@dataclass(frozen=True, slots=True)
class Restored:
    """What `perform` did.

    `safety_copy` is the backup of the state before, or its path with `--safety-copy-to`, or the
    folder with the old files if there was no sound state to back up, or None if there was no
    database. `undo` says how to get that state back; `notes` what else there is to know or to do.
    """

    backup: Backup
    safety_copy: SafetyCopy | None
    undo: str
    notes: list[str]


def perform(
    plan: Plan,
    *,
    safety_copy_to: Path | None = None,
    actor: str = "",
    say: Say = lambda text: None,
    progress: Progress | None = None,
) -> Restored:
    """Save the present state, then put the verified backup in its place.

    `progress` is called while the backup is copied into the database. Running it again completes
    what was begun.

    Raises a `BackupError` that says what state the database is in: the old one, or, after the very
    last steps, the restored one.
    """
    tenant = plan.choice.tenant
    backups.require_no_transaction()
    backups.directory_of(tenant).make()
    with _locked(tenant) as ended:
        holds_catalog = own_catalog.holds_catalog(tenant)
        job = Job(plan, safety_copy_to, actor, say, progress, holds_catalog, ended)
        restored = _restore(job)
    backup_restored.send_robust(Backup, tenant=tenant, backup=restored.backup)
    return restored


@contextmanager
def _locked(tenant: Tenant) -> Iterator[list[Backup]]:
    """Hold the tenant's lock, and recover what a crash left if the catalog can be used."""
    if own_catalog.is_usable(tenant):
        with backups.tenant_lock(tenant, wait=conf.BUSY_TIMEOUT) as ended:
            yield ended
    else:
        with lock.hold(backups.directory_of(tenant), wait=conf.BUSY_TIMEOUT):
            yield []


def _restore(job: Job) -> Restored:
    if stamp(job.plan.choice.file) != job.plan.stamp:
        raise job.plan.changed()
    known = carried_over.remember(job.tenant)
    _close_connections(job.database)
    content.refuse_in_time(job)
    with ExitStack() as stack:
        leftovers = stack.enter_context(leftovers_kept(job))
        begun = None
        if known and not job.safety_copy_to:
            begun = stack.enter_context(carried_over.row_begun(job))
        _close_connections(job.database)
        copy = content.replace_content(job, leftovers, begun)
        if copy is None:
            copy = replace_file(job, leftovers)
    if job.holds_catalog:
        copy = carried_over.bring_in_line(job, known, copy) or copy
    return _conclude(job, copy)


def _close_connections(database: Path) -> None:
    """Close this process's own Django connections to the database, which are users of it, too."""
    for connection in connections.all(initialized_only=True):
        path = sqlite_file(connection.alias)
        if path and is_same_file(path, database):
            if connection.in_atomic_block:
                raise BackupError(
                    "The database %(database)s cannot be restored while this process has a "
                    "transaction open on it.",
                    database=database,
                )
            connection.close()


def _conclude(job: Job, copy: SafetyCopy | None) -> Restored:
    """Note the restore in the history, and tell the caller what was done."""
    backup = _restored_backup(job)
    detail = gettext("There was no database before.")
    if copy:
        detail = gettext("State before: %(copy)s") % {"copy": safety_copy.where(job, copy)}
    try:
        Event.record(EventKind.RESTORED, backup, actor=job.actor, detail=detail)
    except DatabaseError as error:
        job.note(Text("The restore could not be recorded in the catalog: %(reason)s", reason=error))
    return Restored(backup, copy, safety_copy.undo(job, copy), job.notes)


def _restored_backup(job: Job) -> Backup:
    """The row of the restored backup; if its file has none, a row that is not saved."""
    file, fingerprint = job.plan.choice.file, job.plan.fingerprint
    with suppress(DatabaseError):
        rows = Backup.objects.for_tenant(job.tenant.id).filter(file_name=file.name)
        if file.parent == job.directory.path and (backup := rows.first()):
            return backup
    return Backup(
        tenant_id=job.tenant.id,
        status=Status.COMPLETE,
        trigger=Trigger.ADOPTED,
        file_name=file.name,
        size=fingerprint.size,
        sha256=fingerprint.sha256,
        created_at=datetime.fromtimestamp(file.stat().st_mtime, UTC),
    )
