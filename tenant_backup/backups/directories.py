"""Where a tenant's backups are."""

from __future__ import annotations

from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError
from tenant_backup.files import BackupDirectory
from tenant_backup.models import Backup
from tenant_backup.tenants import Tenant


def directory_of(tenant: Tenant) -> BackupDirectory:
    owners = (tenant.root, tenant.database)
    return BackupDirectory(tenant.root, conf.DIRECTORY_NAME, owners=owners)


def has_directory(tenant: Tenant) -> bool:
    """Whether the tenant has a backup directory.

    Raises `BackupError` where it should be there: good backups lie in it, as far as we know.
    """
    directory = directory_of(tenant)
    if directory.exists():
        return True
    if Backup.objects.for_tenant(tenant.id).good().exists():
        raise out_of_reach(directory)
    return False


def out_of_reach(directory: BackupDirectory) -> BackupError:
    return BackupError("%(path)s is not there, or out of reach.", path=directory.path)
