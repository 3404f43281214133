"""How a backup ends, complete or failed: in its row, in the history and for the host."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.utils.translation import gettext_noop

from tenant_backup.backups import counting
from tenant_backup.backups.folder import note_change
from tenant_backup.catalog import catalog_transaction
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, Event, EventKind, Status
from tenant_backup.signals import backup_completed, backup_failed
from tenant_backup.sqlite import Counts, Fingerprint
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text

INTERRUPTED = gettext_noop(
    "Interrupted: the process that made this backup ended before the backup was complete."
)


def record_copy(backup: Backup, copy: Fingerprint, counts: Counts | None) -> None:
    """The copy is verified and counted, and about to be published.

    Both are noted together, so that a backup that is recovered has its numbers, too.
    """
    with _transition(backup):
        backup.record_copy(copy)
        counting.keep(backup, counts)


def complete(backup: Backup) -> None:
    """Turn a running backup whose file is published into a complete one."""
    with _transition(backup):
        backup.complete()
        note_change(backup.tenant_id)
        Event.record(EventKind.COMPLETED, backup, actor=backup.requested_by)


def fail(backup: Backup, reason: Text) -> None:
    """Turn a running backup that left no file into a failed one."""
    with _transition(backup):
        backup.fail(reason)
        counting.forget(backup)
        Event.record(EventKind.FAILED, backup, actor=backup.requested_by, detail=reason)


def refuse(backup: Backup, reason: BackupError) -> None:
    """Turn a queued backup that cannot even begin into a failed one."""
    with _transition(backup):
        backup.refuse(reason)
        Event.record(EventKind.FAILED, backup, actor=backup.requested_by, detail=reason)


@contextmanager
def _transition(backup: Backup) -> Iterator[None]:
    """Change a row and write the history, or neither, in the object as in the catalog."""
    before = dict(vars(backup))
    try:
        with catalog_transaction():
            yield
    except BaseException:
        vars(backup).update(before)
        raise


def announce(tenant: Tenant, backup: Backup) -> None:
    """Tell the host how a backup ended."""
    if backup.status == Status.COMPLETE:
        backup_completed.send_robust(Backup, tenant=tenant, backup=backup)
    elif backup.status == Status.FAILED:
        backup_failed.send_robust(Backup, tenant=tenant, backup=backup)


def as_backup_error(error: BaseException) -> BackupError:
    """The error that people read for any failure."""
    if isinstance(error, BackupError):
        return error
    if isinstance(error, Exception):
        return BackupError(
            "Unexpected error: %(kind)s: %(reason)s", kind=type(error).__name__, reason=error
        )
    return BackupError(INTERRUPTED)
