"""The part "Something lost?": where rows vanished, and the request to bring them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tenant_backup import row_lines, rows, table_names
from tenant_backup.models import Backup, RestoreRequest, RowLoss
from tenant_backup.row_lines import RowLine
from tenant_backup.tenants import Tenant

STATES = 100
"""How many of the last backups are looked at: three months of nights, or four days of hours."""

LINES = 4
"""How many lines are shown. All tables are inside each backup."""


@dataclass(frozen=True, slots=True)
class Row:
    """A table: how many rows it had in the last backups, and whether it lost some."""

    name: str
    line: RowLine[Backup]
    loss: RowLoss | None
    """The open finding about it."""
    is_proposed: bool
    """Whether it lost rows just after the proposed backup."""

    @property
    def fall(self) -> tuple[int, int, datetime] | None:
        """From how many rows to how many, and when: by the finding, or else by the line."""
        if self.loss:
            return self.loss.rows_before, self.loss.rows_now, self.loss.after_at
        if fall := self.line.fall:
            return fall.rows_before, fall.rows_after, fall.after.created_at
        return None


@dataclass(frozen=True, slots=True)
class Losses:
    """What the part shows."""

    rows: Sequence[Row]
    """What is worth most of a look first."""
    states: int
    """The number of backups that the lines are drawn through."""
    found: Sequence[RowLoss]
    """All open findings."""
    request: RestoreRequest | None
    """What has been asked for and not been answered."""
    proposed: Backup | None
    """The last backup before the loss that is worth most of a look."""
    newest: Backup | None
    """The newest backup whose rows have been counted."""

    @property
    def is_open(self) -> bool:
        return bool(self.found or self.request)

    @property
    def is_shown(self) -> bool:
        """Without any good backup there is nothing to bring back."""
        return bool(self.newest or self.is_open)


def losses_of(tenant: Tenant) -> Losses:
    """What the part shows of a tenant."""
    found = rows.open_losses(tenant.id)
    lost = {loss.table: loss for loss in found}
    states = [(each.backup, each.tables) for each in reversed(rows.history(tenant, STATES))]
    known = {table for _, numbers in states for table in numbers}
    tables = sorted(table for table in known if table in lost or table_names.is_the_hosts(table))
    drawn = row_lines.lines(states, tables, lost=lost)
    proposed = _proposed(found, drawn)
    return Losses(
        rows=[_row(line, lost.get(line.table), proposed) for line in drawn[:LINES]],
        states=len(states),
        found=found,
        request=rows.open_request(tenant.id),
        proposed=proposed,
        newest=states[-1][0] if states else None,
    )


def _row(line: RowLine[Backup], loss: RowLoss | None, proposed: Backup | None) -> Row:
    last_before = [loss.before] if loss else []
    if line.fall:
        last_before.append(line.fall.before)
    is_proposed = proposed is not None and proposed in last_before
    return Row(table_names.heading_of(line.table), line, loss, is_proposed)


def _proposed(found: Sequence[RowLoss], drawn: Sequence[RowLine[Backup]]) -> Backup | None:
    for loss in found:
        if loss.before and loss.before.is_good:
            return loss.before
    # The first line is the one that lost most.
    fall = drawn[0].fall if drawn else None
    return fall.before if fall else None
