"""Vanishing: which tables have lost rows, by the numbers of rows in a tenant's backups.

A pure function of its arguments. It knows numbers alone: rows that were overwritten, or replaced by
as many others, it cannot see.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

NOTHING_LEFT = 20
"""If so many rows were there and none is left, they were lost, whatever the rule says."""

YOUNGEST, OLDEST = timedelta(days=8), timedelta(days=35)
"""Backups of this age are the baseline: what is cleaned every week or month was cleaned then, too,
and what vanishes a little every day has vanished since."""

STEEP = 0.05
"""A table that loses such a share from one backup to the next is losing rows already."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How many rows must be missing: at least so many, and this share of those that there were."""

    share: float
    rows: int

    def is_lost(self, least_before: int, now: int) -> bool:
        if now == 0 and least_before >= NOTHING_LEFT:
            return True
        gone = least_before - now
        # A share such as 0.1 of 30 rows is not exactly 3.
        return gone >= self.rows and gone >= round(self.share * least_before, 6)


@dataclass(frozen=True, slots=True)
class Counted:
    """A good backup, and how many rows each of its tables holds."""

    pk: int | None
    """None if it is gone by now: then it is part of the baseline, and nothing can come from it."""
    created_at: datetime
    tables: Mapping[str, int | None]
    """By the table's name; None for a table that was not counted."""
    migrations: str
    """A digest of the applied migrations; empty if nobody knows them."""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of the earlier findings about one table."""

    intended_from: datetime | None = None
    """From this backup on, the numbers are those that somebody has said to be intended."""
    intended_at: datetime | None = None
    """When that was said: no earlier backup is a finding again."""
    losses: Sequence[tuple[datetime, datetime | None]] = ()
    """From when to when it had lost rows that came back later; None until today."""

    def baseline(self, in_order: Sequence[Counted]) -> Sequence[Counted]:
        """The backups that show what there should be, of all, the oldest first."""
        if not self.intended_from and not self.losses:
            return in_order
        first = self.intended_from or in_order[0].created_at
        return [
            each
            for each in in_order
            if each.created_at >= first
            and not any(
                start <= each.created_at and (end is None or each.created_at < end)
                for start, end in self.losses
            )
        ]


@dataclass(frozen=True, slots=True)
class Loss:
    """A table that has lost rows."""

    table: str
    least_before: int
    """The least that there were in the baseline."""
    rows_before: int
    rows_now: int
    before: Counted
    """The last backup before the loss."""
    after: Counted
    """The first one after that."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One table: its numbers in the backups since it first was there, oldest first."""

    newest_at: datetime
    points: Sequence[tuple[Counted, int]]
    """Without the newest backup."""

    def least(self) -> int | None:
        """The least number in the baseline; None if there is no baseline.

        That is the backups of the right age. A table that is too young has all its earlier ones.
        """
        at = self.newest_at
        numbers = [
            number for backup, number in self.points if YOUNGEST <= at - backup.created_at <= OLDEST
        ]
        return min(numbers or [number for _, number in self.points], default=None)

    def last_before(self, least: int, rule: Rule) -> int:
        """The place of the last backup before the loss.

        Where rows vanish step by step, the last one before the first step. One that is gone by now
        is that only if all are.
        """
        whole = [
            place
            for place, (_, number) in enumerate(self.points)
            if not rule.is_lost(least, number)
        ]
        there = [place for place in whole if self.points[place][0].pk is not None]
        places = there or whole
        last = places.pop()
        while places and self.points[last][1] < least:
            number, earlier = self.points[last][1], self.points[places[-1]][1]
            if earlier - number < STEEP * earlier or earlier == number:
                break
            last = places.pop()
        return last


def losses(
    counted: Iterable[Counted],
    rule: Rule,
    *,
    past: Mapping[str, Past] | None = None,
    without: Iterable[str] = (),
) -> list[Loss]:
    """Which tables have lost rows in the newest of these good backups.

    A table has lost rows if it holds less than the least in the backups that are 8 to 35 days older
    than the newest one, by what the rule says. If there are none, all earlier ones count; but never
    one in which it had lost rows, or from before a loss that was intended. A table that is not
    there has lost all its rows, unless the migrations have changed since it was.
    """
    in_order = sorted(counted, key=lambda backup: (backup.created_at, backup.pk or 0))
    if len(in_order) < 2:
        return []
    names = {name for backup in in_order for name in backup.tables}.difference(without)
    known = past or {}
    found = (_loss(name, in_order, rule, known.get(name, Past())) for name in sorted(names))
    return [loss for loss in found if loss]


def _loss(table: str, in_order: Sequence[Counted], rule: Rule, past: Past) -> Loss | None:
    newest = in_order[-1]
    rows_now = newest.tables.get(table, 0)
    if rows_now is None or (past.intended_at and newest.created_at <= past.intended_at):
        return None
    earlier = [backup for backup in past.baseline(in_order) if backup is not newest]
    line = _Line(newest.created_at, list(_points(table, earlier)))
    least = line.least()
    if least is None or not rule.is_lost(least, rows_now):
        return None
    place = line.last_before(least, rule)
    before, rows_before = line.points[place]
    if table not in newest.tables and not _same_migrations(before, newest):
        return None
    after = in_order[in_order.index(before) + 1]
    return Loss(table, least, rows_before, rows_now, before, after)


def _points(table: str, backups: Sequence[Counted]) -> Iterator[tuple[Counted, int]]:
    """The numbers since the table was first there. Where it was missing later, it had no rows."""
    is_there = False
    for backup in backups:
        is_there = is_there or table in backup.tables
        number = backup.tables.get(table, 0)
        if is_there and number is not None:
            yield backup, number


def _same_migrations(one: Counted, other: Counted) -> bool:
    return bool(one.migrations) and one.migrations == other.migrations
