"""The numbers of rows that are kept with the backups: of each table, from backup to backup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenant_backup.models import Backup, RowCounts
from tenant_backup.tenants import Tenant


@dataclass(frozen=True, slots=True)
class CountedBackup:
    """A backup, and how many rows each of its tables holds."""

    backup: Backup
    tables: Mapping[str, int | None]
    """By the table's name; None for a table that was not counted."""


def history(tenant: Tenant, number: int) -> list[CountedBackup]:
    """The newest so many good backups whose rows were counted, newest first, in one query."""
    good = Backup.objects.for_tenant(tenant.id).good().exclude(row_counts=None)
    rows = good.select_related("row_counts").newest_first()[:number]
    return [CountedBackup(row, row.row_counts.tables) for row in rows]


def kept_with(backups: Sequence[Backup]) -> Mapping[int, Mapping[str, int | None]]:
    """The numbers kept with these backups, by the backup's id; none for one not counted."""
    rows = RowCounts.objects.filter(backup__in=[backup.pk for backup in backups])
    return {row.backup_id: row.tables for row in rows if row.backup_id is not None}
