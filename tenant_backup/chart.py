"""The chart of the last days: each bar is the largest backup of that day.

Pure functions: attempts go in, positions and lengths of an SVG come out, as whole numbers.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo

from tenant_backup.backups.attempts import Attempt, Outcome

DAYS = 30
WIDTH, HEIGHT = 10, 60
"""The room for one bar, in the SVG's units."""

BAR_WIDTH = 8
LOWEST = 6
"""The height of the smallest bar: a good backup that nobody sees would look like none."""

FAILED_HEIGHT = 16
"""The height of a bar that stands for no file."""

NONE_HEIGHT = 2
"""The height of the mark for a day without any attempt: a gap alone looks like a fault."""


@dataclass(slots=True)
class Day:
    """One day of the tenant's zone, and its bar."""

    date: date
    counts: Counter[Outcome] = field(default_factory=Counter)
    size: int | None = None
    """The size of the day's largest backup, in bytes."""
    x: int = 0
    y: int = HEIGHT
    height: int = 0

    @property
    def outcome(self) -> Outcome:
        return next((each for each in Outcome if self.counts[each]), Outcome.NONE)

    @property
    def is_failed(self) -> bool:
        return self.outcome is Outcome.FAILED

    @property
    def good(self) -> int:
        return self.counts[Outcome.GOOD]

    @property
    def removed(self) -> int:
        return self.counts[Outcome.REMOVED]

    @property
    def failed(self) -> int:
        return self.counts[Outcome.FAILED]


def first_day(now: datetime, zone: tzinfo) -> datetime:
    """When the chart's first day begins."""
    today = now.astimezone(zone)
    return datetime.combine(today.date() - timedelta(days=DAYS - 1), datetime.min.time(), zone)


def days(attempts: Iterable[Attempt], now: datetime, zone: tzinfo) -> list[Day]:
    """The last `DAYS` days, today last, each with its bar. Attempts of other days are ignored."""
    start = first_day(now, zone).date()
    chart = [Day(start + timedelta(days=number)) for number in range(DAYS)]
    by_date = {day.date: day for day in chart}
    for attempt in attempts:
        if day := by_date.get(attempt.at.astimezone(zone).date()):
            day.counts[attempt.outcome] += 1
            if attempt.size and attempt.outcome in (Outcome.GOOD, Outcome.REMOVED):
                day.size = max(day.size or 0, attempt.size)
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
