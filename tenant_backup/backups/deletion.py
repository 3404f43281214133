"""Deleting a backup that somebody has chosen."""

from __future__ import annotations

from tenant_backup.backups.deletion_steps import Deletion, delete_row, not_deletable
from tenant_backup.backups.directories import directory_of, out_of_reach
from tenant_backup.backups.locking import tenant_work
from tenant_backup.backups.outcomes import announce_deleted
from tenant_backup.backups.requests import request_timeout
from tenant_backup.catalog import require_no_transaction
from tenant_backup.exceptions import BackupInProgress
from tenant_backup.models import Backup, EventKind
from tenant_backup.tenants import Tenant


def delete(tenant: Tenant, backup: Backup, *, actor: str = "") -> None:
    """Delete a backup: its file, then its row.

    Raises `BackupError` where it is pinned, queued, running, gone or another tenant's,
    `NotWritable` where the file cannot be removed, and `BackupInProgress` where another process is
    at work on this tenant for some seconds; the row stays then.
    """
    require_no_transaction()
    row = Backup.objects.for_tenant(tenant.id).filter(pk=backup.pk).first()
    if row is None or not row.is_deletable:
        raise not_deletable(row, backup.pk)
    directory, deletion = directory_of(tenant), Deletion(EventKind.DELETED, actor)
    if not row.file_name or (row.missing_at and not directory.exists()):
        delete_row(row, deletion)
        announce_deleted(tenant, row)
        return
    if not directory.exists():
        raise out_of_reach(directory)
    try:
        with tenant_work(tenant, wait=request_timeout()) as work:
            # It may be one whose deletion a crash had interrupted, and that is gone by now.
            if backup not in work.deleted:
                work.delete(backup, deletion)
    except BackupInProgress as error:
        raise BackupInProgress(
            "A backup of %(tenant)s is being made or restored at this moment, so nothing was "
            "deleted. Try again when that is complete.",
            tenant=tenant.name,
        ) from error
