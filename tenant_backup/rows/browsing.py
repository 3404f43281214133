"""Browsing: some of the rows of a table that differ between a backup and today."""

from dataclasses import dataclass

from tenant_backup.models import Backup
from tenant_backup.rows.compare import comparison
from tenant_backup.sqlite import Difference, Kind, Row, folded
from tenant_backup.tenants import Tenant


@dataclass(frozen=True, slots=True)
class SomeRows:
    """Rows of one table that differ in one way, and how the whole table differs."""

    difference: Difference
    columns: tuple[str, ...]
    """In the order of each row's values."""
    rows: list[Row]
    has_more: bool
    now: Backup | None
    """What was compared with, unless it was today's database."""


def browse(
    tenant: Tenant,
    backup: Backup,
    table: str,
    kind: Kind,
    *,
    offset: int,
    limit: int,
    seconds: float | None = None,
) -> SomeRows | None:
    """Rows of a table that are gone, new or changed since the backup, from an offset on.

    None if neither has such a table. Raises `BackupError` if its rows cannot be compared, and
    `DeadlineExceeded`.
    """
    with comparison(tenant, backup, seconds=seconds) as (found, now):
        if folded(table) not in map(folded, found.tables()):
            return None
        shape = found.shape(table)
        # One more tells whether there are more.
        rows = list(found.rows(shape.table, kind, limit=limit + 1, offset=offset))
        columns = shape.columns_in("now" if kind == "new" else "then")
        # Last, since it may take all the time that there is, and then says that it did.
        difference = found.difference(shape.table)
        return SomeRows(difference, columns, rows[:limit], len(rows) > limit, now)
