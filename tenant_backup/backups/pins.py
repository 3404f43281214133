"""Pins: a pinned backup is never pruned, and cannot be deleted until somebody unpins it."""

from tenant_backup.backups.folder import note_change
from tenant_backup.backups.locking import index_kept
from tenant_backup.catalog import catalog_transaction
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, Event, EventKind
from tenant_backup.tenants import Tenant


def pin(tenant: Tenant, backup: Backup, *, pinned: bool, actor: str = "") -> None:
    """Pin a backup, so that nothing removes it, or unpin it.

    Raises `BackupError` if a backup that is to be pinned is not good.
    """
    with index_kept(tenant) as is_behind, catalog_transaction():
        rows = Backup.objects.for_tenant(tenant.id).filter(pk=backup.pk)
        if not (rows.good() if pinned else rows).update(pinned=pinned):
            raise BackupError(
                "Backup %(backup)s is missing, damaged or not complete, so it cannot be pinned.",
                backup=backup.pk,
            )
        if not is_behind:
            note_change(tenant.id)
        if backup.pinned != pinned:
            backup.pinned = pinned
            kind = EventKind.PINNED if pinned else EventKind.UNPINNED
            Event.record(kind, backup, actor=actor)
