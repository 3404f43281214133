"""Counts: how many rows each table had in a tenant's last backups."""

from tenant_backup.models import RowCounts
from tenant_backup.tenants import Tenant


def history(tenant: Tenant, number: int) -> list[RowCounts]:
    """The counts of the newest good backups, newest first."""
    rows = RowCounts.objects.filter(
        backup__tenant_id=tenant.id,
        backup__status="complete",
        backup__missing_at=None,
        backup__damaged_at=None,
        backup__deleting_at=None,
    ).select_related("backup")
    return list(rows.order_by("-backup__created_at")[:number])
