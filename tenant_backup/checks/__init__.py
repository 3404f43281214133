"""System checks: what is wrong with the host's configuration, before it costs a backup.

`docs/checks.md` lists them by id. Each check registers itself when this package is imported.
"""

from tenant_backup.checks.cluster import check_cluster
from tenant_backup.checks.configuration import (
    check_provider,
    check_router,
    check_settings,
    check_time_zones,
)
from tenant_backup.checks.page import check_address, check_admin, check_static_files
from tenant_backup.checks.tenants import check_tenants

__all__ = [
    "check_address",
    "check_admin",
    "check_cluster",
    "check_provider",
    "check_router",
    "check_settings",
    "check_static_files",
    "check_tenants",
    "check_time_zones",
]
