"""System checks: what is wrong with the host's configuration, before it costs a backup.

`docs/checks.md` lists them by id.
"""

from __future__ import annotations

from django.core import checks
from django.core.checks import Tags

from tenant_backup.checks.cluster import check_cluster
from tenant_backup.checks.configuration import check_settings, check_time_zones
from tenant_backup.checks.page import check_address, check_admin, check_static_files
from tenant_backup.checks.provider import check_provider
from tenant_backup.checks.router import check_router
from tenant_backup.checks.tenants import check_tenants

__all__ = ["register_all"]


def register_all() -> None:
    """Let Django run these checks; called when the app is ready."""
    for check in (
        check_settings,
        check_provider,
        check_router,
        check_time_zones,
        check_cluster,
        check_admin,
        check_address,
        check_static_files,
    ):
        checks.register(check, "tenant_backup")
    # In `migrate` and `check --database` only: the provider may need the database to answer.
    checks.register(check_tenants, Tags.database)
