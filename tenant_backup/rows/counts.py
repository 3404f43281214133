"""The numbers of rows that are kept with the backups: of each table, from backup to backup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from tenant_backup.models import Backup, RowCounts, sane_numbers
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
    return [CountedBackup(row, sane_numbers(row.row_counts.tables)) for row in rows]


def kept_with(backups: Sequence[Backup]) -> Mapping[int, Mapping[str, int | None]]:
    """The numbers kept with these backups, by the backup's id; none for one not counted."""
    rows = RowCounts.objects.filter(backup__in=[backup.pk for backup in backups])
    return {row.backup_id: sane_numbers(row.tables) for row in rows if row.backup_id is not None}


def fold_pruned(
    tenant_id: str, *, since: datetime, without: Sequence[tuple[datetime, datetime | None]] = ()
) -> None:
    """Of the backups that are gone, keep the least numbers of each day, and no day before `since`.

    Where a backup is made every hour, the control database would grow large otherwise. What was
    counted in one of the spans `without`, while rows were lost, must not become part of a day.
    """
    gone = RowCounts.objects.filter(tenant_id=tenant_id, backup=None)
    gone.filter(created_at__lt=since).delete()
    known = gone.order_by("created_at", "pk").values_list("created_at", "pk")
    usual = (
        (at, pk)
        for at, pk in known
        if not any(start <= at and (end is None or at < end) for start, end in without)
    )
    for _day, of_day in groupby(usual, key=lambda each: each[0].astimezone(UTC).date()):
        first, *others = (pk for _at, pk in of_day)
        if others:
            rows = gone.in_bulk([first, *others])
            least = _least([sane_numbers(row.tables) for row in rows.values()])
            gone.filter(pk=first).update(tables=least)
            gone.filter(pk__in=others).delete()


def _least(several: Sequence[Mapping[str, int | None]]) -> dict[str, int | None]:
    """The least number of each table, in those backups in which it was there."""
    names = sorted({name for tables in several for name in tables})
    numbers = {
        name: [rows for tables in several if (rows := tables.get(name)) is not None]
        for name in names
    }
    return {name: min(found, default=None) for name, found in numbers.items()}
