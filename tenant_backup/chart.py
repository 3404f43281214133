"""The chart of the last days: one bar a day, as high as that day's largest backup.

Pure functions: what happened goes in, lengths of an SVG come out, as whole numbers.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo

DAYS = 30
WIDTH, HEIGHT = 10, 60
"""Of the place of one bar, in the SVG's units."""

GAP = 2
LOWEST = 6
"""Of a bar, however small its backup: a good one that nobody sees would look like none."""

FAILED_HEIGHT = 16
"""Of a bar that stands for no file."""

NONE_HEIGHT = 2
"""Of the mark for a day without any attempt: a gap alone looks like a fault."""


class Outcome(enum.Enum):
    """What came of a day, the best first."""

    GOOD = "good"
    REMOVED = "removed"
    """A backup was made, and has been deleted or pruned since."""
    FAILED = "failed"
    """An attempt failed, or the backup has been lost."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One backup or attempt of the past: never `Outcome.NONE`. The size is in bytes."""

    at: datetime
    outcome: Outcome
    size: int | None = None


@dataclass(slots=True)
class Day:
    """One day of the tenant's zone, and its bar."""

    date: date
    counts: dict[Outcome, int] = field(default_factory=lambda: defaultdict(int))
    size: int | None = None
    """Of the day's largest backup, in bytes."""
    x: int = 0
    y: int = HEIGHT
    height: int = 0

    @property
    def outcome(self) -> Outcome:
        return next((each for each in Outcome if self.counts.get(each)), Outcome.NONE)

    @property
    def good(self) -> int:
        return self.counts.get(Outcome.GOOD, 0)

    @property
    def removed(self) -> int:
        return self.counts.get(Outcome.REMOVED, 0)

    @property
    def failed(self) -> int:
        return self.counts.get(Outcome.FAILED, 0)


def first_day(now: datetime, zone: tzinfo) -> datetime:
    """When the chart's first day begins."""
    today = now.astimezone(zone)
    return datetime.combine(today.date() - timedelta(days=DAYS - 1), datetime.min.time(), zone)


def days(attempts_since: Iterable[Attempt], now: datetime, zone: tzinfo) -> Sequence[Day]:
    """The last days, today's last, each with its bar. What is of other days is left out."""
    start = first_day(now, zone).date()
    chart = [Day(start + timedelta(days=number)) for number in range(DAYS)]
    by_date = {day.date: day for day in chart}
    for happening in attempts_since:
        if day := by_date.get(happening.at.astimezone(zone).date()):
            day.counts[happening.outcome] += 1
            if happening.size and happening.outcome in (Outcome.GOOD, Outcome.REMOVED):
                day.size = max(day.size or 0, happening.size)
    largest = max((day.size or 0 for day in chart), default=0)
    for number, day in enumerate(chart):
        day.x = number * WIDTH
        day.height = _height(day, largest)
        day.y = HEIGHT - day.height
    return chart


def _height(day: Day, largest: int) -> int:
    if day.outcome is Outcome.NONE:
        return NONE_HEIGHT
    if not day.size:
        return FAILED_HEIGHT
    return max(LOWEST, round(HEIGHT * day.size / largest))
