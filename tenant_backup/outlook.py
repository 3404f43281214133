"""The outlook: what a schedule and a policy come to in time, by simulation.

Pure: the slots of the past are made up, as if the schedule had always been followed, and
`retention` decides which of them are kept. The work is bounded, whatever the numbers are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from tenant_backup.retention import GAP_SHARE, Policy, Stored, decide
from tenant_backup.schedule import Rule, last_of_each_day, number_in_a_year, times_before

MOST = 1_000
"""Of more backups than this, it is only said that there are more."""

FARTHEST = timedelta(days=3_700)
"""Nor is anything older made up: about ten years."""

PHASES = [timedelta(days=number) for number in range(0, 30, 5)]
"""The number goes up and down with the days of a month and a week. The most of these is told."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is there in time, beside the backups that people make or keep themselves."""

    number: int
    age: timedelta
    """How old the oldest is."""
    bytes: int
    is_more: bool = False
    """Whether there are even more, and older ones."""
    is_varying: bool = False
    """Whether the number goes up and down with the days of the month, so that it is about right."""
    is_growing: bool = False
    """Whether nothing is ever removed: then these are the backups of one year."""


def outlook(rule: Rule, policy: Policy, zone: ZoneInfo, now: datetime, size: int) -> Outlook:
    """What these rules come to, if every backup is as large as this."""
    if not policy.removes:
        number, year = number_in_a_year(rule), timedelta(days=365)
        return Outlook(number, year, number * size, is_growing=True)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    # Only the operator's limit depends on the size.
    number, age, is_more = _typical(rule, policy, zone, day, size if policy.max_bytes else 0)
    return Outlook(number, age, number * size, is_more, is_varying=policy.thins)


@lru_cache(maxsize=256)
def _typical(
    rule: Rule, policy: Policy, zone: ZoneInfo, now: datetime, size: int
) -> tuple[int, timedelta, bool]:
    number, age, is_more = 0, timedelta(), False
    for phase in PHASES if policy.thins else PHASES[:1]:
        kept, is_more = kept_at(rule, policy, zone, now + phase, size)
        number, age = max(number, len(kept)), max(age, kept[0] - kept[-1])
        if is_more:
            break
    return number, age, is_more


def kept_at(
    rule: Rule, policy: Policy, zone: ZoneInfo, at: datetime, size: int
) -> tuple[list[datetime], bool]:
    """What would be there at a moment, newest first; and whether that is not all."""
    dense = _within_limits(rule, policy, zone, at)
    times = dense[:MOST]
    thinned = list(islice(_thinned(rule, policy, zone, times[-1]), MOST)) if policy.thins else []
    times += thinned
    made_up = [
        Stored(pk=-number, trigger="automatic", pinned=False, created_at=each, size=size)
        for number, each in enumerate(times)
    ]
    decisions = decide(made_up, policy, at, zone)
    kept = [each.backup.created_at for each in decisions if each.keep]
    is_cut = len(dense) > MOST and decisions[MOST - 1].keep
    is_cut = is_cut or (len(thinned) == MOST and decisions[-1].keep)
    return kept, is_cut or kept[0] - kept[-1] > FARTHEST


def _within_limits(rule: Rule, policy: Policy, zone: ZoneInfo, at: datetime) -> list[datetime]:
    """At least the backups that the number and the age leave, newest first; some more do no harm.

    Without a limit at all the newest one: the rules that thin out decide on the others.
    """
    last, days, found = policy.keep_last, policy.keep_days, list[datetime]()
    # By `MAX_BYTES` alone, everything is within the limits.
    most = MOST if policy.has_limits or not policy.thins else 0
    for each in times_before(rule, zone, at):
        found.append(each)
        is_beyond_last = last is not None and len(found) > last
        # The share of a gap that counts makes some of the rarer ones younger than they are.
        is_beyond_days = (
            days is not None
            and len(found) > 2 * GAP_SHARE
            and found[0] - each > timedelta(days=days) * 1.5
        )
        if is_beyond_last or is_beyond_days or len(found) > most:
            break
    return found


def _thinned(rule: Rule, policy: Policy, zone: ZoneInfo, before: datetime) -> Iterator[datetime]:
    """Of the older ones those that a rule may keep: of each day the newest at most."""
    # One period more than the rule keeps, for the one that the newest ones are in.
    daily, weekly = (policy.keep_daily or 0) + 1, (policy.keep_weekly or 0) + 1
    monthly = (policy.keep_monthly or 0) + 1
    days: set[object] = set()
    weeks: set[object] = set()
    months: set[object] = set()
    for each in times_before(last_of_each_day(rule), zone, before):
        local = each.astimezone(zone)
        is_candidate, is_full = False, True
        for seen, period, number in (
            (days, local.date(), daily),
            (weeks, local.isocalendar()[:2], weekly),
            (months, (local.year, local.month), monthly),
        ):
            if period not in seen and len(seen) < number:
                seen.add(period)
                is_candidate = True
            is_full = is_full and len(seen) == number
        if is_candidate:
            yield each
        # Two months more, so that the newest of a month is beyond it, too.
        if is_full or before - each > FARTHEST + timedelta(days=62):
            return
