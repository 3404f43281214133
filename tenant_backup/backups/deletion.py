"""Deleting a backup that somebody has chosen."""

from tenant_backup.backups.deletion_steps import Deletion, delete_row, not_deletable
from tenant_backup.backups.folder import directory_of, out_of_reach
from tenant_backup.backups.locking import tenant_work
from tenant_backup.backups.requests import request_timeout
from tenant_backup.catalog import require_no_transaction
from tenant_backup.exceptions import BackupInProgress
from tenant_backup.models import Backup, EventKind
from tenant_backup.signals import backup_deleted
from tenant_backup.tenants import Tenant


def delete(tenant: Tenant, backup: Backup, *, actor: str = "") -> None:
    """Delete a backup: its file, then its row.

    Raises `BackupError` if it is pinned, queued, running, gone or another tenant's, `NotWritable`
    if the file cannot be removed, and `BackupInProgress` if another process is at work on this
    tenant for some seconds; the row stays then.
    """
    require_no_transaction()
    row = Backup.objects.for_tenant(tenant.id).filter(pk=backup.pk).first()
    if row is None or not row.is_deletable:
        raise not_deletable(row, backup.pk)
    directory, deletion = directory_of(tenant), Deletion(EventKind.DELETED, actor)
    if not row.file_name or (row.missing_at and not directory.exists()):
        delete_row(row, deletion)
        backup_deleted.send_robust(Backup, tenant=tenant, backup=row)
        return
    if not directory.exists():
        raise out_of_reach(directory)
    try:
        with tenant_work(tenant, wait=request_timeout()) as work:
            # A crash may have interrupted its deletion, which has been completed just now.
            if row not in work.deleted:
                work.delete(row, deletion)
    except BackupInProgress as error:
        raise BackupInProgress(
            "A backup of %(tenant)s is being made or restored at this moment, so nothing was "
            "deleted. Try again when that is complete.",
            tenant=tenant.name,
        ) from error
