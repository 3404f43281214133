"""Slots: the moments at which a tenant's settings ask for an automatic backup.

Pure functions: the current time is an argument. Slots are local times in the tenant's zone. When
the clocks change, a local time that is skipped runs once, later by as much as the clocks jump; one
that occurs twice runs once, the first time.
"""

import calendar
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from zoneinfo import ZoneInfo

HOURS_BETWEEN = {"hourly": 1, "6h": 6, "12h": 12}
"""The intervals that have several slots a day."""

PERIODS = {
    "hourly": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "12h": timedelta(hours=12),
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=31),
}
"""The longest time between two slots, in local time. A change of the clocks adds hours at most."""

SPREAD = {"hourly": timedelta(minutes=10)}
WIDEST_SPREAD = timedelta(minutes=30)
"""The tenants' slots are spread over this time after the local time that is set."""

MARGINS = {
    "hourly": timedelta(hours=1),
    "6h": timedelta(hours=3),
    "12h": timedelta(hours=6),
    "daily": timedelta(hours=6),
    "weekly": timedelta(days=1),
    "monthly": timedelta(days=2),
}
"""How long after a slot without success a tenant is overdue: enough time for more attempts."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a tenant's automatic backups are due; the fields of `BackupSettings` of these names."""

    interval: str
    time_of_day: time
    weekday: int
    day_of_month: int


def next_slot(rule: Rule, tenant_id: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first slot strictly later than `after`, in UTC."""
    delay = spread(rule.interval, tenant_id)
    # Begins a day early: a slot of yesterday evening may be spread into today.
    first = (after - delay).astimezone(zone).date() - timedelta(days=1)
    days = (first + timedelta(days=number) for number in count())
    return next(
        at + delay
        for day in days
        if _has_slots(rule, day)
        for at in _moments(rule, day, zone)
        if at + delay > after
    )


def overdue_at(rule: Rule, tenant_id: str, zone: ZoneInfo, since: datetime) -> datetime:
    """When a tenant without a success later than `since` becomes overdue, in UTC."""
    return next_slot(rule, tenant_id, zone, since) + MARGINS[rule.interval]


def times_before(rule: Rule, zone: ZoneInfo, before: datetime) -> Iterator[datetime]:
    """The moments before this one that the rule asks for, newest first, without any spread."""
    last = before.astimezone(zone).date()
    for day in (last - timedelta(days=number) for number in count()):
        if _has_slots(rule, day):
            yield from (at for at in reversed([*_moments(rule, day, zone)]) if at < before)


def last_of_each_day(rule: Rule) -> Rule:
    """The rule for no more than the last of each day's moments."""
    if rule.interval not in HOURS_BETWEEN:
        return rule
    step = HOURS_BETWEEN[rule.interval]
    hour = 24 - step + rule.time_of_day.hour % step
    return replace(rule, interval="daily", time_of_day=rule.time_of_day.replace(hour=hour))


def number_in_a_year(rule: Rule) -> int:
    """How many slots there are in a year, but for a leap day."""
    return {"weekly": 52, "monthly": 12}.get(
        rule.interval, 365 * 24 // HOURS_BETWEEN.get(rule.interval, 24)
    )


def spread(interval: str, tenant_id: str) -> timedelta:
    """How much later than its local time this tenant's slot is, in whole minutes.

    It comes from a hash of the id, so it is the same every time and in every process, and hundreds
    of tenants that all chose 02:00 do not start in the same minute.
    """
    minutes = SPREAD.get(interval, WIDEST_SPREAD) // timedelta(minutes=1)
    digest = hashlib.sha256(tenant_id.encode(errors="surrogatepass")).digest()
    return timedelta(minutes=int.from_bytes(digest[:8], "big") % minutes)


def _has_slots(rule: Rule, day: date) -> bool:
    if rule.interval == "weekly":
        return day.weekday() == rule.weekday
    if rule.interval == "monthly":
        # The last day, if the month is shorter.
        return day.day == min(rule.day_of_month, calendar.monthrange(day.year, day.month)[1])
    return True


def _moments(rule: Rule, day: date, zone: ZoneInfo) -> Iterator[datetime]:
    """The moments of this day's local times, in order, in UTC."""
    step = HOURS_BETWEEN.get(rule.interval, 24)
    for hour in range(rule.time_of_day.hour % step, 24, step):
        # fold=0 is the first of two equal local times. For a skipped one it is the offset before
        # the change, which makes it later by as much as the clocks jump.
        local = datetime.combine(day, rule.time_of_day.replace(hour=hour, fold=0), zone)
        yield local.astimezone(UTC)
