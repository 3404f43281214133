"""Browsing: some of the rows of a table that differ between a backup and today."""

from dataclasses import dataclass

from tenant_backup.models import Backup
from tenant_backup.rows.differences import Pair, opened
from tenant_backup.sqlite import Difference, Kind, Row
from tenant_backup.tenants import Tenant


@dataclass(frozen=True, slots=True)
class SomeRows:
    """Rows of one table that differ in one way, and how the whole table differs."""

    pair: Pair
    difference: Difference
    columns: tuple[str, ...]
    """In the order of each row's values."""
    rows: list[Row]
    has_more: bool


def browse(
    tenant: Tenant,
    backup: Backup,
    table: str,
    kind: Kind,
    *,
    offset: int,
    limit: int,
    seconds: float | None = None,
) -> SomeRows:
    """Rows of a table that are gone, new or changed since the backup, from an offset on.

    Raises `NoSuchTable` if neither has the table, `BackupError` if its rows cannot be compared, and
    `DeadlineExceeded`.
    """
    with opened(tenant, backup, seconds=seconds) as pair:
        shape = pair.comparison.shape(table)
        # One more tells whether there are more.
        found = pair.comparison.rows(shape.table, kind, limit=limit + 1, offset=offset)
        rows = list(found)
        columns = shape.columns_in("now" if kind == "new" else "then")
        # Last, since it may take all the time that there is, and then says that it did.
        difference = pair.comparison.difference(shape.table)
        return SomeRows(pair, difference, columns, rows[:limit], len(rows) > limit)
