"""Reconciliation: the catalog in line with the files in the tenant's backup directory."""

from dataclasses import dataclass, field

from tenant_backup.backups.adoption import adopt_unknown
from tenant_backup.backups.folder import directory_of, has_directory
from tenant_backup.backups.locking import tenant_work
from tenant_backup.backups.verification import check_files, verify
from tenant_backup.catalog import require_no_transaction
from tenant_backup.conf import conf
from tenant_backup.models import Backup
from tenant_backup.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Synced:
    """What `sync` found."""

    missing: list[Backup] = field(default_factory=list)
    damaged: list[Backup] = field(default_factory=list)
    """Those of another size, or whose file is no regular file any more."""
    found: list[Backup] = field(default_factory=list)
    """Those that were missing, and are there again."""
    adopted: list[Backup] = field(default_factory=list)
    protected: list[Backup] = field(default_factory=list)
    """Those that only the folder's index knew to be pinned or held."""
    forgotten: list[Backup] = field(default_factory=list)
    """Those that were deleted before the catalog was set back."""
    refused: list[str] = field(default_factory=list)
    """A sentence for each file that has a backup's name and is not adopted."""


def sync(tenant: Tenant) -> Synced:
    """Bring the catalog in line with the files in the tenant's backup directory.

    No backup's file is changed. Raises `BackupError` if the directory is out of reach, and
    `BackupInProgress` if another process is at work.
    """
    require_no_transaction()
    if not has_directory(tenant):
        return Synced()
    directory = directory_of(tenant)
    with tenant_work(tenant, wait=conf.BUSY_TIMEOUT) as work:
        flawed = check_files(tenant)
        missing = Backup.objects.for_tenant(tenant.id).complete().exclude(missing_at=None)
        back = [backup for backup in missing if not directory.is_missing(backup.file_name)]
        found = [backup for backup in back if not verify(tenant, backup)]
        adopted, refused = adopt_unknown(tenant)
    return Synced(
        missing=[backup for backup in flawed if backup.missing_at],
        damaged=[backup for backup in flawed if backup.damaged_at],
        found=found,
        adopted=work.adopted + adopted,
        protected=work.folder.protected,
        forgotten=work.folder.forgotten,
        refused=refused,
    )
