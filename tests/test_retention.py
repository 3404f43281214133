"""Retention: what a policy keeps, what it removes, and the reasons that it gives.

First by example, one for each sentence of the rules; then by what must hold for any history.
"""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tenant_backup.retention import AHEAD, EXEMPT_TRIGGERS, Policy, decide, is_future, is_held

AUCKLAND = ZoneInfo("Pacific/Auckland")
BERLIN = ZoneInfo("Europe/Berlin")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
NEW_YORK = ZoneInfo("America/New_York")
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
NOW = datetime(2027, 6, 15, 12, tzinfo=UTC)

WITHIN = "It is within the limits."
NEWEST = "It is the newest good backup."
OF_DAY = "It is the newest of its day."
OF_WEEK = "It is the newest of its week."
OF_MONTH = "It is the newest of its month."
NOT_GOOD = "It is not a good backup: retention neither counts nor removes it."
PINNED = "It is pinned."
YOURS = "It was made on the page or found on disk, so retention never removes it."
FUTURE = "It is dated in the future: when it was made, the clock was wrong."
FLOOR = (
    "It is one of the newest good backups of three different days: age and size do not remove it."
)
UNTHINNED = "It is not the newest of any day, week or month that the rules keep."


@dataclass(frozen=True)
class Candidate:
    """A backup, as far as retention looks at it."""

    pk: int
    created_at: datetime
    trigger: str = "automatic"
    pinned: bool = False
    is_good: bool = True
    future_at: datetime | None = None
    hold_reason: str = ""
    hold_reason_data: str = ""
    held_until: datetime | None = None
    stored_bytes: int = 100

    @property
    def is_exempt(self):
        return (
            self.pinned
            or not self.is_good
            or self.trigger in {"manual", "adopted"}
            or is_future(self, NOW)
            or is_held(self, NOW)
        )

    @property
    def counts(self):
        """Whether it is good, and its date can be right."""
        return self.is_good and not is_future(self, NOW)


def daily(number, **options):
    """One backup a day, the newest first with the key 1."""
    return [Candidate(pk, NOON - timedelta(days=pk - 1), **options) for pk in range(1, number + 1)]


def at(zone, *texts):
    """Backups at these local times, with the keys 1, 2, 3 ..."""
    return [
        Candidate(pk, datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC))
        for pk, text in enumerate(texts, start=1)
    ]


def kept(backups, zone=UTC, now=NOW, **rules):
    return {d.backup.pk for d in decide(backups, Policy(**rules), now, zone) if d.keep}


def reasons(backups, zone=UTC, now=NOW, **rules):
    return {d.backup.pk: d.reasons for d in decide(backups, Policy(**rules), now, zone)}


# What goes


def test_beyond_the_number_a_backup_goes():
    assert kept(daily(5), keep_last=3) == {1, 2, 3}
    assert reasons(daily(3), keep_last=2) == {
        1: (WITHIN, NEWEST),
        2: (WITHIN,),
        3: ("Only the newest 2 are kept.",),
    }
    assert reasons(daily(2), keep_last=1)[2] == ("Only the newest one is kept.",)


def test_beyond_the_age_a_backup_goes():
    assert kept(daily(9), keep_days=5) == {1, 2, 3, 4, 5, 6}
    gone = reasons(daily(9), keep_days=5)[7]
    assert gone == ("It is beyond the retention period of 5 days.",)
    # Each gap of a day counts for a third of this day.
    gone = reasons(daily(9), keep_days=1)[5]
    assert gone == ("It is beyond the retention period of 1 day.",)


def test_a_backup_of_exactly_the_age_is_still_kept():
    week, beyond = daily(8), Candidate(9, NOON - timedelta(days=7, microseconds=1))
    assert kept([*week, beyond], keep_days=7) == {1, 2, 3, 4, 5, 6, 7, 8}


def test_beyond_either_limit_a_backup_goes_and_both_are_said():
    assert kept(daily(9), keep_last=3, keep_days=5) == {1, 2, 3}
    assert kept(daily(9), keep_last=6, keep_days=3) == {1, 2, 3, 4}
    assert reasons(daily(9), keep_last=3, keep_days=5)[9] == (
        "Only the newest 3 are kept.",
        "It is beyond the retention period of 5 days.",
    )


@pytest.mark.parametrize("trigger", ["automatic", "command", "migrate", "restore"])
def test_what_the_machine_asked_for_can_be_pruned(trigger):
    assert kept(daily(3, trigger=trigger), keep_last=1) == {1}


# What stays


def test_without_a_rule_everything_is_kept():
    assert kept(daily(400)) == set(range(1, 401))


def test_no_backups_no_decisions():
    assert decide([], Policy(keep_last=1), NOW, UTC) == []


def test_the_newest_good_backup_is_kept_whatever_the_rules():
    failed = Candidate(0, NOON + timedelta(days=1), is_good=False)
    backups = [failed, *daily(3)]
    assert kept(backups, keep_last=0, keep_days=1) == {0, 1}
    assert reasons(backups, keep_last=0)[1] == (NEWEST,)


@pytest.mark.parametrize(
    "exempt",
    [{"trigger": "manual"}, {"trigger": "adopted"}, {"pinned": True}, {"hold_reason": "rows gone"}],
)
def test_what_a_person_made_brought_or_pinned_or_is_held_is_kept_and_uses_up_no_number(
    exempt,
):
    theirs = [
        Candidate(100 + n, NOON - timedelta(days=n, hours=-1), **exempt) for n in range(0, 40, 4)
    ]
    everything = {backup.pk for backup in theirs}
    assert kept([*theirs, *daily(9)], keep_last=3) == {1, 2, 3} | everything
    # Nor does it take another's place as the newest of its day.
    assert kept([*theirs, *daily(9)], keep_last=0, keep_daily=2) == {1, 2} | everything
    assert kept([*theirs, *daily(9)], keep_last=0, keep_weekly=1) == {1} | everything
    assert kept([*theirs, *daily(9)], keep_last=0, keep_monthly=1) == {1} | everything


def test_the_reason_of_an_exemption_is_said():
    (good, made, pinned, failed, held, ahead) = (
        Candidate(1, NOON),
        Candidate(2, NOON, trigger="manual"),
        Candidate(3, NOON, pinned=True),
        Candidate(4, NOON, trigger="manual", pinned=True, is_good=False),
        Candidate(5, NOON, hold_reason="Rows vanished.", held_until=NOW + timedelta(days=1)),
        Candidate(6, NOON, trigger="manual", future_at=NOON - timedelta(days=1)),
    )
    assert reasons([good, made, pinned, failed, held, ahead], keep_last=1) == {
        1: (WITHIN,),
        2: (YOURS,),
        3: (PINNED,),
        4: (NOT_GOOD,),
        5: ("It is held: Rows vanished.",),
        6: (FUTURE,),
    }


def test_a_hold_ends_at_its_moment():
    held = [replace(backup, hold_reason="why", held_until=NOW) for backup in daily(3)]
    assert kept(held, keep_last=1, now=NOW - timedelta(seconds=1)) == {1, 2, 3}
    assert kept(held, keep_last=1) == {1}
    assert kept([replace(backup, held_until=None) for backup in held], keep_last=1) == {1, 2, 3}


def test_the_triggers_that_are_exempt():
    assert {"manual", "adopted"} == EXEMPT_TRIGGERS


def test_failed_attempts_never_displace_a_good_backup():
    failures = [
        Candidate(1000 + n, NOON + timedelta(hours=n), is_good=False) for n in range(-200, 200)
    ]
    good = daily(9)
    for rules in ({"keep_last": 3}, {"keep_days": 3}, {"keep_last": 1, "keep_daily": 4}):
        alone, together = reasons(good, **rules), reasons([*failures, *good], **rules)
        assert {pk: together[pk] for pk in alone} == alone
        assert all(together[failure.pk] == (NOT_GOOD,) for failure in failures)


def test_age_is_measured_from_the_newest_good_backup_not_from_the_clock():
    long_ago = [
        replace(backup, created_at=backup.created_at.replace(year=2001)) for backup in daily(5)
    ]
    assert kept(long_ago, keep_days=3) == {1, 2, 3, 4}
    # A failure of today makes nothing older.
    today = Candidate(99, NOON, is_good=False)
    assert kept([today, *long_ago], keep_days=3) == {99, 1, 2, 3, 4}


@pytest.mark.parametrize("exempt", [{"trigger": "manual"}, {"pinned": True}], ids=str)
def test_age_is_measured_from_a_good_backup_that_a_person_made_too(exempt):
    newest = Candidate(99, NOON + timedelta(days=2), **exempt)
    assert kept([newest, *daily(9)], keep_days=6) == {99, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("exempt", [{"trigger": "adopted"}, {"hold_reason": "why"}], ids=str)
def test_what_is_exempt_ends_a_gap_and_so_makes_the_others_older(exempt):
    """31 days without anything count for ten; with one of these in the middle for twenty."""
    outage = [Candidate(100, NOON + timedelta(days=31)), *daily(31)]
    between = Candidate(101, NOON + timedelta(days=15), **exempt)
    assert len(kept(outage, keep_days=30)) == 22
    assert len(kept([between, *outage], keep_days=30)) == 1 + 1 + 11


def test_the_clock_makes_nothing_older():
    for years in (0, 1, 30):
        assert kept(daily(5), now=NOON + timedelta(days=366 * years), keep_days=3) == {1, 2, 3, 4}


def test_a_backup_dated_in_the_future_is_kept_and_counts_for_nothing():
    # Made while the clock was wrong: it must not make the true history old.
    ahead = [Candidate(100 + n, NOON + timedelta(days=365 * n)) for n in range(1, 4)]
    for rules in ({"keep_last": 3}, {"keep_days": 3}, {"keep_last": 1, "keep_monthly": 4}):
        alone = reasons(daily(9), now=NOON, **rules)
        together = reasons([*daily(9), *ahead], now=NOON, **rules)
        assert {pk: together[pk] for pk in alone} == alone
        assert {together[backup.pk] for backup in ahead} == {(FUTURE,)}
        # Marked once, that stays so when their time has come.
        marked = [replace(backup, future_at=NOON) for backup in ahead]
        decisions = decide([*daily(9), *marked], Policy(**rules), NOW + 9 * timedelta(365), UTC)
        assert {d.backup.pk: d.reasons for d in decisions} == together


def test_clocks_that_differ_a_little_make_no_backup_one_of_the_future():
    assert reasons(daily(2), now=NOON, keep_last=1)[1] == (WITHIN, NEWEST)
    assert reasons(daily(2), now=NOON - AHEAD, keep_last=1)[1] == (WITHIN, NEWEST)
    too_early = NOON - AHEAD - timedelta(microseconds=1)
    assert reasons(daily(1), now=too_early, keep_last=1)[1] == (FUTURE,)


# Outages, wrong clocks, and the floor


def test_an_outage_longer_than_the_retention_period_keeps_two_thirds_of_the_history():
    before = daily(31)
    assert len(kept(before, keep_days=30)) == 31
    after = [Candidate(100, NOON + timedelta(days=31)), *before]
    assert kept(after, keep_days=30) == {100, *range(1, 22)}
    assert len(kept(after, keep_days=30)) == 22
    assert len(kept(after, keep_days=30, keep_last=14)) == 14


def test_a_clock_a_year_ahead_takes_no_more_than_an_outage():
    ahead = Candidate(100, NOON + timedelta(days=365))
    assert len(kept([ahead, *daily(31)], keep_days=30, now=ahead.created_at)) == 22


def test_to_prune_twice_after_an_outage_removes_nothing_more():
    backups = [Candidate(100, NOON + timedelta(days=31)), *daily(31)]
    left = [d.backup for d in decide(backups, Policy(keep_days=30), NOW, UTC) if d.keep]
    assert kept(left, keep_days=30) == {backup.pk for backup in left}


@pytest.mark.parametrize(
    ("hours", "keep_days", "number"),
    [(1, 30, 721), (24, 30, 31), (24 * 7, 30, 5), (24 * 31, 93, 4)],
    ids=["hourly", "nightly", "weekly", "monthly"],
)
def test_without_an_outage_it_is_plain_age(hours, keep_days, number):
    backups = [Candidate(pk, NOON - timedelta(hours=hours * pk)) for pk in range(1, number + 20)]
    assert kept(backups, keep_days=keep_days) == set(range(1, number + 1))


def test_the_newest_of_three_days_never_go_for_their_age_alone():
    three_a_day = [Candidate(pk, NOON - timedelta(hours=8 * pk)) for pk in range(1, 30)]
    # 1 is of 4:00; 2 of 20:00, the newest of the day before; 5 of the one before that.
    assert kept(three_a_day, keep_days=1) == {1, 2, 3, 4, 5}
    assert reasons(three_a_day, keep_days=1)[5] == (FLOOR,)
    assert reasons(three_a_day, keep_days=1)[6] == ("It is beyond the retention period of 1 day.",)


def test_the_floor_is_of_the_tenants_days():
    backups = [Candidate(pk, NOON - timedelta(hours=9 * pk)) for pk in range(1, 30)]
    # In Auckland the day begins at this noon, so that 1 to 3 are of one day, and so on.
    days = {zone: kept(backups, zone, keep_days=1) for zone in (UTC, AUCKLAND)}
    assert days == {UTC: {1, 2, 3, 4, 5}, AUCKLAND: {1, 2, 3, 4, 6}}


def test_the_number_is_not_limited_by_the_floor():
    assert kept(daily(9), keep_last=1) == {1}
    assert kept(daily(9), keep_last=2, keep_days=1) == {1, 2}


def test_what_a_person_made_is_part_of_the_floor_and_does_not_widen_it():
    hours = [Candidate(pk, NOON - timedelta(hours=pk)) for pk in range(1, 200)]
    pinned = [replace(backup, pinned=True) if backup.pk % 24 == 13 else backup for backup in hours]
    # 13 is the newest of the day before, 37 of the one before that.
    assert reasons(pinned, keep_days=1)[13] == (PINNED,)
    assert reasons(hours, keep_days=1)[37] == (FLOOR,)
    assert {pk for pk in kept(pinned, keep_days=1) if pk % 24 != 13} == set(range(1, 26)) - {13}


# Bytes


def test_beyond_the_bytes_the_oldest_go_but_never_the_floor():
    rules = {"max_bytes": 500}
    assert kept(daily(9), **rules) == {1, 2, 3, 4, 5}
    [gone] = reasons(daily(9), **rules)[6]
    assert gone == (
        "All backups together would take up more than 500 bytes, the most that the operator allows."
    )
    assert kept(daily(9), max_bytes=900) == set(range(1, 10))
    assert kept(daily(9), max_bytes=1) == {1, 2, 3}
    assert reasons(daily(9), max_bytes=1)[3] == (WITHIN, FLOOR)
    assert reasons(daily(9), max_bytes=500)[3] == (WITHIN,)


def test_who_allows_no_more_bytes_can_be_reached(settings):
    operator = {"NAME": "Anna Ops", "PHONE": "030/1234"}
    settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "OPERATOR": operator}
    [gone] = reasons(daily(9), max_bytes=500)[6]
    assert gone.endswith("the most that the operator (Anna Ops, 030/1234) allows.")


def test_all_bytes_count_and_nobody_elses_go():
    theirs = [
        Candidate(101, NOON - timedelta(days=50), pinned=True),
        Candidate(102, NOON - timedelta(days=51), trigger="manual"),
        Candidate(103, NOON - timedelta(days=52), trigger="adopted"),
        Candidate(104, NOON - timedelta(days=53), hold_reason="why"),
        Candidate(105, NOON - timedelta(days=54), is_good=False),
        Candidate(106, NOON + timedelta(days=999), future_at=NOON),
        Candidate(107, NOON - timedelta(days=55), is_good=False, stored_bytes=0),
    ]
    everything = {backup.pk for backup in theirs}
    assert kept([*theirs, *daily(9)], max_bytes=1000) == {1, 2, 3, 4} | everything
    assert kept([*theirs, *daily(9)], max_bytes=1) == {1, 2, 3} | everything


def test_what_the_rules_take_anyway_needs_no_other_to_go():
    assert kept(daily(9), keep_last=4, max_bytes=400) == {1, 2, 3, 4}
    assert kept(daily(70), keep_last=1, keep_weekly=2, max_bytes=200) == {1, 2}
    assert kept(daily(9), keep_last=7, max_bytes=400) == {1, 2, 3, 4}
    # What a thinning rule keeps goes as well.
    assert kept(daily(70), keep_last=1, keep_monthly=9, max_bytes=200) == {1, 16}


# Thinning


def test_thinning_keeps_beyond_the_limits_the_newest_of_each_day():
    twice_a_day = [Candidate(pk, NOON - timedelta(hours=12 * pk)) for pk in range(1, 11)]
    # 1 is of midnight, the day's first moment; 2 of noon before it, 3 of that day's midnight ...
    assert kept(twice_a_day, keep_last=1, keep_daily=3) == {1, 2, 4}
    assert reasons(twice_a_day, keep_last=1, keep_daily=3)[2] == (OF_DAY,)
    assert reasons(twice_a_day, keep_last=1, keep_daily=3)[3] == ("Only the newest one is kept.",)


def test_thinning_keeps_by_each_rule_and_says_each():
    backups = daily(70)
    by_day = kept(backups, keep_last=1, keep_daily=3)
    by_week = kept(backups, keep_last=1, keep_weekly=3)
    by_month = kept(backups, keep_last=1, keep_monthly=3)
    assert by_day == {1, 2, 3}
    assert by_week == {1, 2, 9}  # Monday the 15th, and the Sundays before
    assert by_month == {1, 16, 47}  # the 15th of June, the 31st of May, the 30th of April
    rules = {"keep_daily": 3, "keep_weekly": 3, "keep_monthly": 3}
    assert kept(backups, keep_last=1, **rules) == by_day | by_week | by_month
    assert reasons(backups, keep_last=1, **rules)[1] == (
        *(WITHIN, NEWEST, OF_DAY, OF_WEEK, OF_MONTH),
    )
    assert reasons(backups, keep_last=1, **rules)[2] == (OF_DAY, OF_WEEK)


def test_thinning_counts_the_days_that_have_a_backup():
    backups = [Candidate(pk, NOON - timedelta(days=10 * pk)) for pk in range(1, 9)]
    assert kept(backups, keep_last=1, keep_daily=4) == {1, 2, 3, 4}
    assert kept(backups, keep_last=1, keep_weekly=4) == {1, 2, 3, 4}


def test_thinning_by_zero_keeps_nothing():
    rules = {"keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0}
    assert kept(daily(5), keep_last=1, **rules) == {1}


def test_days_begin_at_midnight_in_the_tenants_zone():
    backups = at(
        AUCKLAND,
        *("2026-06-16T00:30", "2026-06-16T00:00", "2026-06-15T23:59:59", "2026-06-15T00:00"),
        *("2026-06-14T23:59:59", "2026-06-14T13:00"),
    )
    assert kept(backups, AUCKLAND, keep_last=1, keep_daily=3) == {1, 3, 5}
    # In UTC the same six are of two days.
    assert kept(backups, UTC, keep_last=1, keep_daily=3) == {1, 4}


def test_a_day_of_25_hours_is_one_day():
    # On the 5th of April 2026 at 3:00 the clocks of Auckland were put back to 2:00.
    first = datetime(2026, 4, 4, 11, 0, tzinfo=UTC)  # midnight
    backups = [Candidate(pk, first + timedelta(hours=25 - pk)) for pk in range(1, 27)]
    assert [b.created_at.astimezone(AUCKLAND).day for b in backups] == [5] * 25 + [4]
    assert kept(backups, AUCKLAND, keep_last=0, keep_daily=9) == {1, 26}


def test_weeks_are_iso_weeks_in_the_tenants_zone():
    backups = at(AUCKLAND, "2026-06-15T00:30", "2026-06-14T23:30", "2026-06-08T00:00")
    assert kept(backups, AUCKLAND, keep_last=0, keep_weekly=9) == {1, 2}
    assert kept(backups, UTC, keep_last=0, keep_weekly=9) == {1, 3}


def test_a_week_over_new_year_is_one_week():
    backups = at(
        UTC, "2027-01-03T12:00", "2027-01-01T12:00", "2026-12-31T12:00", "2026-12-27T12:00"
    )
    assert kept(backups, keep_last=0, keep_weekly=9) == {1, 4}
    backups = at(UTC, "2026-01-04T12:00", "2025-12-29T12:00", "2025-01-01T12:00")
    assert kept(backups, keep_last=0, keep_weekly=9) == {1, 3}


def test_months_begin_at_midnight_in_the_tenants_zone():
    backups = at(AUCKLAND, "2026-07-01T00:30", "2026-06-30T23:30", "2026-06-01T00:30")
    assert kept(backups, AUCKLAND, keep_last=0, keep_monthly=9) == {1, 2}
    assert kept(backups, UTC, keep_last=0, keep_monthly=9) == {1, 3}


def test_the_same_month_of_two_years_is_two_months_and_a_day_has_its_month():
    backups = at(UTC, "2026-06-15T12:00", "2026-05-15T12:00", "2025-06-15T12:00")
    assert kept(backups, keep_last=0, keep_monthly=9) == {1, 2, 3}
    assert kept(backups, keep_last=0, keep_daily=9) == {1, 2, 3}


# The order


def test_decisions_come_newest_first_and_of_two_of_one_moment_the_later_row_first():
    backups = [Candidate(1, NOON), Candidate(3, NOON), Candidate(2, NOON + timedelta(hours=1))]
    decisions = decide(backups, Policy(keep_last=2), NOW, UTC)
    assert [decision.backup.pk for decision in decisions] == [2, 3, 1]
    assert [decision.keep for decision in decisions] == [True, True, False]


def test_moments_of_different_zones_are_compared_as_moments():
    backups = [
        Candidate(1, datetime(2026, 6, 15, 9, tzinfo=UTC)),
        Candidate(2, datetime(2026, 6, 15, 20, tzinfo=AUCKLAND)),  # 8:00 in UTC
        Candidate(3, datetime(2026, 6, 15, 22, tzinfo=AUCKLAND)),  # 10:00 in UTC
    ]
    assert [decision.backup.pk for decision in decide(backups, Policy(), NOW, UTC)] == [3, 1, 2]


# Published cases of restic, a widely used backup program, which knows the same rules by the names
# `--keep-last`, `--keep-daily`, `--keep-weekly` and `--keep-monthly`, and removes by them alone.

RESTIC = [
    *(
        f"{year}-{day}T10:20:30"
        for year in (2014, 2015)
        for day in (
            *("08-08", "08-10", "08-12", "08-13", "08-15", "08-18", "08-20", "08-21", "08-22"),
            *("09-01", "09-02", "09-05", "09-06", "09-08", "09-09", "09-10", "09-11", "09-20"),
            *("09-22", "10-01", "10-02", "10-05", "10-06", "10-08", "10-09", "10-10", "10-11"),
            *("10-20", "10-22", "11-08", "11-10", "11-12", "11-13", "11-15", "11-18", "11-20"),
            *("11-21", "11-22"),
        )
    ),
    *("2016-01-01T01:02:03", "2016-01-01T01:03:03", "2016-01-01T07:08:03"),
    *("2016-01-03T07:02:03", "2016-01-04T10:23:03", "2016-01-04T11:23:03"),
    *("2016-01-04T12:23:03", "2016-01-04T12:24:03", "2016-01-04T12:28:03"),
    *("2016-01-04T12:30:03", "2016-01-04T16:23:03", "2016-01-05T09:02:03"),
    *("2016-01-06T08:02:03", "2016-01-07T10:02:03", "2016-01-08T20:02:03"),
    *("2016-01-09T21:02:03", "2016-01-12T21:02:03", "2016-01-12T21:08:03"),
    "2016-01-18T12:02:03",
]
RESTIC_DAILY = [
    *("2016-01-18 12:02", "2016-01-12 21:08", "2016-01-09 21:02", "2016-01-08 20:02"),
    *("2016-01-07 10:02", "2016-01-06 08:02", "2016-01-05 09:02", "2016-01-04 16:23"),
    *("2016-01-03 07:02", "2016-01-01 07:08"),
]
RESTIC_WEEKLY = ["2016-01-18 12:02", "2016-01-12 21:08", "2016-01-09 21:02", "2016-01-03 07:02"]
RESTIC_MONTHLY = [
    *("2016-01-18 12:02", "2015-11-22 10:20", "2015-10-22 10:20", "2015-09-22 10:20"),
    *("2015-08-22 10:20", "2014-11-22 10:20"),
]


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ({"keep_daily": 3}, RESTIC_DAILY[:3]),
        ({"keep_daily": 10}, RESTIC_DAILY),
        ({"keep_weekly": 2}, RESTIC_WEEKLY[:2]),
        ({"keep_weekly": 4}, RESTIC_WEEKLY),
        ({"keep_daily": 3, "keep_weekly": 4}, RESTIC_DAILY[:3] + RESTIC_WEEKLY),
        ({"keep_monthly": 6}, RESTIC_MONTHLY),
        (
            {"keep_daily": 2, "keep_weekly": 2, "keep_monthly": 6},
            RESTIC_DAILY[:2] + RESTIC_WEEKLY[:2] + RESTIC_MONTHLY,
        ),
        ({"keep_last": 5, "keep_daily": 5}, [*RESTIC_DAILY[:5], "2016-01-12 21:02"]),
        ({"keep_last": 2, "keep_daily": 10}, RESTIC_DAILY),
    ],
    ids=str,
)
def test_restics_published_cases(rules, wanted):
    assert left(at(UTC, *RESTIC), **rules) == sorted(set(wanted))


def test_by_thinning_rules_alone_what_none_of_them_keeps_goes_and_it_is_said():
    assert kept(daily(70), keep_daily=3, keep_monthly=2) == {1, 2, 3, 16}
    assert reasons(daily(70), keep_daily=3)[4] == (UNTHINNED,)
    # The floor is of age and size alone; the newest good one is always kept.
    assert kept(daily(70), keep_monthly=1) == {1}
    manual = Candidate(99, NOON + timedelta(days=1), trigger="manual")
    assert kept([manual, *daily(70)], keep_daily=1) == {99, 1}


# Long histories, each with what is left of it as days in the calendar


def history(first, last, *times, zone=UTC, **options):
    """Backups at these local times of each day from the first to the last, in order."""
    texts = [f"{day}T{time}" for day in days(first, last) for time in times]
    backups = [replace(backup, **options) for backup in at(zone, *texts)]
    assert len(backups) >= 100
    return backups


def days(first, last):
    """The days from the first to the last, as text."""
    first, last = date.fromisoformat(first), date.fromisoformat(last)
    return [str(first + timedelta(days=number)) for number in range((last - first).days + 1)]


def local(backups, zone=UTC):
    """The local times of backups, as text."""
    return [f"{backup.created_at.astimezone(zone):%Y-%m-%d %H:%M}" for backup in backups]


def left(backups, zone=UTC, now=NOW, **rules):
    """The local times of what is kept, in order."""
    keep = kept(backups, zone, now, **rules)
    return local([backup for backup in backups if backup.pk in keep], zone)


TWICE = ("06:00", "18:00")


def at_time(time, days):
    return [f"{day} {time}" for day in days]


def test_long_history_without_limits():
    backups = history("2026-01-01", "2026-06-15", "02:30")
    assert left(backups) == at_time("02:30", days("2026-01-01", "2026-06-15"))
    rules = {"keep_daily": 2, "keep_weekly": 2, "keep_monthly": 2}
    assert left(backups, **dict.fromkeys(rules)) == left(backups)


def test_long_history_by_number():
    backups = history("2026-02-01", "2026-06-15", "02:30", zone=BERLIN)
    assert left(backups, BERLIN, keep_last=14) == at_time("02:30", days("2026-06-02", "2026-06-15"))
    # Of two a day the 21 newest are ten days and an evening.
    backups = history("2026-02-01", "2026-06-15", "06:00", "18:00")
    evening, rest = left(backups, keep_last=21)[:1], left(backups, keep_last=21)[1:]
    assert evening == ["2026-06-05 18:00"]
    assert rest == [f"{day} {at}" for day in days("2026-06-06", "2026-06-15") for at in TWICE]


def test_long_history_by_age():
    backups = history("2026-02-01", "2026-06-15", "02:30")
    # Thirty days before the 15th of June is the 16th of May, and that is no more than thirty.
    assert left(backups, keep_days=30) == at_time("02:30", days("2026-05-16", "2026-06-15"))


def test_long_history_by_age_over_changes_of_the_clocks():
    """A day is 24 hours here, whatever the clocks did meanwhile."""
    spring = history("2026-01-01", "2026-04-11", "02:10", zone=BERLIN)
    # On the 29th of March there was no 2:10. A week of 167 hours: one backup more is within it.
    week = left(spring[: -(11 - 2)], BERLIN, keep_days=7)
    assert week == [
        *at_time("02:10", days("2026-03-26", "2026-03-28")),
        "2026-03-29 03:10",
        *at_time("02:10", days("2026-03-30", "2026-04-02")),
    ]
    autumn = history("2026-07-15", "2026-10-28", "02:10", zone=BERLIN)
    # A week of 169 hours: the backup of a week ago is an hour too old.
    week = left(autumn, BERLIN, keep_days=7)
    assert week == at_time("02:10", days("2026-10-22", "2026-10-28"))


def test_long_history_by_age_with_a_pause_of_two_months():
    before = history("2026-01-01", "2026-04-20", "02:30")
    after = [
        Candidate(1000 + number, datetime(2026, 6, 20 + number, 2, 30, tzinfo=UTC))
        for number in range(10)
    ]
    # However long the pause lasts, nothing goes.
    assert left(before, keep_days=20) == at_time("02:30", days("2026-03-31", "2026-04-20"))
    # Its end makes the time before it older by a third of twenty days.
    june = at_time("02:30", days("2026-06-20", "2026-06-29"))
    assert left([*before, *after[:1]], keep_days=20) == [
        *at_time("02:30", days("2026-04-07", "2026-04-20")),
        *june[:1],
    ]
    # Nine days later it is that much older.
    rest_of_april = at_time("02:30", days("2026-04-16", "2026-04-20"))
    assert left([*before, *after], keep_days=20) == rest_of_april + june
    # The pause counts for thirty of its days, the nine in June, and 51 before it.
    rest = at_time("02:30", days("2026-02-28", "2026-04-20"))
    assert left([*before, *after], keep_days=90) == rest + june


def test_long_history_by_number_and_age():
    backups = history("2026-03-01", "2026-06-15", *TWICE)
    within_age = [f"{day} {at}" for day in days("2026-05-27", "2026-06-15") for at in TWICE]
    # Twenty days before 18:00 is 18:00: 41 backups.
    assert left(backups, keep_days=20) == ["2026-05-26 18:00", *within_age]
    assert left(backups, keep_days=20, keep_last=50) == ["2026-05-26 18:00", *within_age]
    assert left(backups, keep_days=20, keep_last=40) == within_age
    assert left(backups, keep_days=20, keep_last=4) == within_age[-4:]


def test_long_history_by_days_over_a_change_of_the_clocks():
    times = ("03:10", "09:10", "15:10", "21:10")
    backups = history("2026-10-01", "2026-11-09", *times, zone=BERLIN)
    evenings = at_time("21:10", days("2026-10-20", "2026-11-09"))
    assert left(backups, BERLIN, keep_last=1, keep_daily=21) == evenings
    # In New York those are of 21:10, 15:10, 9:10 and 3:10, and for the week in which only Berlin
    # has set its clocks back an hour later.
    new_york = left(backups, NEW_YORK, keep_last=1, keep_daily=21)
    assert new_york == [
        *at_time("21:10", days("2026-10-20", "2026-10-23")),
        *at_time("22:10", days("2026-10-24", "2026-10-31")),
        *at_time("21:10", days("2026-11-01", "2026-11-08")),
        "2026-11-09 15:10",
    ]


def test_long_history_by_hours_and_days():
    hours = [f"{hour:02}:05" for hour in range(24)]
    backups = history("2026-06-01", "2026-06-10", *hours, zone=KATHMANDU)
    last_day = [f"2026-06-10 {hour}" for hour in hours]
    ends = at_time("23:05", days("2026-06-04", "2026-06-09"))
    assert left(backups, KATHMANDU, keep_last=24, keep_daily=7) == ends + last_day


def test_long_history_by_weeks_over_a_years_end():
    backups = history("2026-09-01", "2027-01-20", "23:30", zone=NEW_YORK)
    # The Sundays, on which ISO weeks end; the week of New Year is one.
    weeks = [
        *("2026-12-06 23:30", "2026-12-13 23:30", "2026-12-20 23:30", "2026-12-27 23:30"),
        *("2027-01-03 23:30", "2027-01-10 23:30", "2027-01-17 23:30", "2027-01-20 23:30"),
    ]
    assert left(backups, NEW_YORK, keep_last=1, keep_weekly=8) == weeks
    # In UTC these are of the next morning, so that Saturday's is the last of its week.
    in_utc = left(backups, UTC, keep_last=1, keep_weekly=3)
    assert in_utc == ["2027-01-10 04:30", "2027-01-17 04:30", "2027-01-21 04:30"]


def test_long_history_by_months_over_a_years_end():
    backups = history("2026-08-01", "2027-03-10", "02:30", zone=AUCKLAND)
    assert left(backups, AUCKLAND, keep_last=1, keep_monthly=7) == at_time(
        "02:30",
        [
            *("2026-09-30", "2026-10-31", "2026-11-30", "2026-12-31"),
            *("2027-01-31", "2027-02-28", "2027-03-10"),
        ],
    )


def test_long_history_by_months_with_a_leap_day():
    backups = history("2027-11-15", "2028-03-15", "12:00")
    assert left(backups, now=datetime(2028, 4, 1, tzinfo=UTC), keep_days=3, keep_monthly=3) == (
        at_time("12:00", ["2028-01-31", "2028-02-29", *days("2028-03-12", "2028-03-15")])
    )


def test_long_history_by_all_thinning_rules():
    backups = history("2026-04-01", "2027-01-20", "02:30", zone=LORD_HOWE)
    newest = days("2027-01-14", "2027-01-20")
    sundays = ["2026-12-27", "2027-01-03", "2027-01-10", "2027-01-17"]
    months = ["2026-08-31", "2026-09-30", "2026-10-31", "2026-11-30", "2026-12-31"]
    rules = {"keep_daily": 7, "keep_weekly": 5, "keep_monthly": 6}
    wanted = sorted({*newest, *sundays, *months})
    assert left(backups, LORD_HOWE, keep_last=3, **rules) == at_time("02:30", wanted)
    # The rules overlap: what one keeps uses up no number of another's, and limits add to them.
    wanted = sorted({*wanted, *days("2027-01-05", "2027-01-20")})
    assert left(backups, LORD_HOWE, keep_days=15, **rules) == at_time("02:30", wanted)


def test_long_history_by_months_and_age_with_gaps():
    """Months without a backup use up no number: a rule counts those that have one."""
    backups = history("2026-01-01", "2026-04-15", "12:00") + [
        Candidate(1000 + month, datetime(2026, month, 3, 12, tzinfo=UTC)) for month in (7, 11)
    ]
    # Of 45 days the two gaps count for thirty.
    assert left(backups, keep_days=45, keep_monthly=5) == at_time(
        "12:00",
        ["2026-02-28", *days("2026-03-31", "2026-04-15"), "2026-07-03", "2026-11-03"],
    )


def test_long_history_of_all_kinds():
    """Each third night failed, on Mondays somebody clicked, and one is pinned."""
    nights = history("2026-01-05", "2026-06-14", "02:30")
    failed = [replace(night, is_good=False) if night.pk % 3 == 0 else night for night in nights]
    clicks = [
        Candidate(1000 + week, datetime(2026, 1, 5, 9, tzinfo=UTC) + timedelta(weeks=week))
        for week in range(23)
    ]
    backups = [
        *(replace(night, pinned=night.pk == 50) for night in failed),
        *(replace(click, trigger="manual") for click in clicks),
    ]
    keep = kept(backups, keep_last=5, keep_monthly=3)
    assert {pk for pk in keep if pk >= 1000} == {click.pk for click in clicks}
    assert {night.pk for night in nights if night.pk % 3 == 0} <= keep
    # The 161st night is the 14th of June; good are the 161st and 160th, 158th and 157th, 155th ...
    # and the ends of May and April, the 147th and the 116th, of which the former failed.
    good = {pk for pk in keep if pk < 1000 and pk % 3}
    assert good == {161, 160, 158, 157, 155, 146, 116, 50}


# Whatever the history

RULES = ["keep_last", "keep_days", "keep_daily", "keep_weekly", "keep_monthly"]
LIMITS = {"keep_last", "keep_days"}

# Many of one moment, one day, one week; some long ago, and some dated in the future.
moments = st.builds(
    lambda days, hours: NOW - timedelta(days=days, hours=hours),
    st.integers(-2, 12) | st.integers(-60, 1200),
    st.sampled_from([0, 1, 9, 12, 13, 23]),
)
candidates = st.builds(
    Candidate,
    pk=st.integers(1, 10**6),
    created_at=moments,
    trigger=st.sampled_from(["automatic"] * 4 + ["command", "migrate", "restore"])
    | st.sampled_from(["manual", "adopted"]),
    pinned=st.sampled_from([False] * 4 + [True]),
    is_good=st.sampled_from([True] * 4 + [False]),
    future_at=st.sampled_from([None] * 9 + [NOW - timedelta(days=3)]),
    hold_reason=st.sampled_from([""] * 4 + ["Rows vanished."]),
    held_until=st.sampled_from([None, NOW + timedelta(days=1), NOW - timedelta(days=1)]),
    stored_bytes=st.integers(1, 9),
)
histories = st.lists(candidates, max_size=25, unique_by=lambda backup: backup.pk)
policies = st.builds(
    Policy,
    **{rule: st.none() | st.integers(rule == "keep_days", 6) for rule in RULES},
    max_bytes=st.none() | st.integers(1, 60),
)
zones = st.sampled_from(
    [UTC, AUCKLAND, *map(ZoneInfo, ("America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"))]
)

whatever = examples(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
whatever_the_history = given(backups=histories, policy=policies, zone=zones)


def split(backups, policy, zone):
    """The kept and the removed ones."""
    decisions = decide(backups, policy, NOW, zone)
    return (
        [decision.backup for decision in decisions if decision.keep],
        [decision.backup for decision in decisions if not decision.keep],
    )


@whatever
@whatever_the_history
def test_each_backup_gets_one_decision_newest_first_with_reasons(backups, policy, zone):
    decisions = decide(backups, policy, NOW, zone)
    assert sorted(d.backup.pk for d in decisions) == sorted(backup.pk for backup in backups)
    order = [(d.backup.created_at, d.backup.pk) for d in decisions]
    assert order == sorted(order, reverse=True)
    for decision in decisions:
        assert decision.reasons
        assert all(reason.strip().endswith(".") for reason in decision.reasons)
        assert "%" not in "".join(decision.reasons)


@whatever
@whatever_the_history
def test_the_newest_good_backup_is_always_kept(backups, policy, zone):
    good = [backup for backup in backups if backup.counts]
    keep, _ = split(backups, policy, zone)
    if good:
        assert max(good, key=lambda backup: (backup.created_at, backup.pk)) in keep


@whatever
@whatever_the_history
def test_what_is_exempt_is_always_kept(backups, policy, zone):
    _, removed = split(backups, policy, zone)
    assert not [backup for backup in removed if backup.is_exempt]


@whatever
@whatever_the_history
def test_without_a_rule_nothing_is_removed(backups, policy, zone):
    _, removed = split(backups, Policy(keep_daily=0, keep_weekly=0, keep_monthly=0), zone)
    assert removed == []


def floor(backups, zone):
    """The newest good backups of three different days."""
    days = {}
    for backup in sorted(backups, key=lambda backup: (backup.created_at, backup.pk), reverse=True):
        if backup.counts:
            days.setdefault(backup.created_at.astimezone(zone).date(), backup)
    return set(list(days.values())[:3])


@whatever
@whatever_the_history
def test_neither_age_nor_size_takes_the_floor(backups, policy, zone):
    keep, _ = split(backups, replace(policy, keep_last=None), zone)
    if policy.keep_days or not policy.thins:
        assert floor(backups, zone) <= set(keep)
    # Beside a number or thinning rules, size takes nothing of what they keep of it.
    keep, _ = split(backups, policy, zone)
    without, _ = split(backups, replace(policy, max_bytes=None), zone)
    assert floor(backups, zone) & set(without) <= set(keep)


@whatever
@whatever_the_history
def test_beyond_the_bytes_nothing_stays_that_could_go(backups, policy, zone):
    keep, _ = split(backups, policy, zone)
    total = sum(backup.stored_bytes for backup in keep)
    if policy.max_bytes is not None and total > policy.max_bytes:
        assert all(backup.is_exempt or backup in floor(backups, zone) for backup in keep)


@whatever
@whatever_the_history
def test_no_more_than_the_rules_say_is_kept(backups, policy, zone):
    if policy.keep_last is not None:
        keep, _ = split(backups, policy, zone)
        numbers = [getattr(policy, rule) or 0 for rule in RULES if rule != "keep_days"]
        counted = [backup for backup in keep if not backup.is_exempt]
        assert len(counted) <= sum(numbers) + 1  # the newest good one


@whatever
@whatever_the_history
def test_by_thinning_rules_alone_exactly_what_they_keep_stays(backups, policy, zone):
    policy = replace(policy, keep_last=None, keep_days=None, max_bytes=None)
    keep, _ = split(backups, policy, zone)
    if policy.thins:
        limited, _ = split(backups, replace(policy, keep_last=0), zone)
        assert keep == limited


@whatever
@given(backups=histories, policy=policies, zone=zones, failed=candidates)
def test_one_more_that_is_not_good_changes_no_other_decision(backups, policy, zone, failed):
    # A damaged one takes up room, so let this one have no file.
    failed = replace(failed, pk=0, is_good=False, stored_bytes=0)
    decisions = decide([failed, *backups], policy, NOW, zone)
    others = [decision for decision in decisions if decision.backup is not failed]
    assert others == decide(backups, policy, NOW, zone)


@whatever
@given(
    backups=histories,
    policy=policies,
    zone=zones,
    theirs=candidates.filter(lambda backup: backup.is_good and backup.is_exempt),
)
def test_one_more_that_is_a_persons_uses_up_no_number(backups, policy, zone, theirs):
    good = [backup.created_at for backup in backups if backup.counts]
    # It ends a gap, may be of the floor, and takes up room: so let it be the oldest, and empty.
    theirs = replace(theirs, pk=0, created_at=min([theirs.created_at, *good]), stored_bytes=0)
    decisions = decide([*backups, theirs], policy, NOW, zone)
    others = [decision for decision in decisions if decision.backup is not theirs]
    assert others == decide(backups, policy, NOW, zone)


@whatever
@given(
    backups=histories,
    policy=policies,
    zone=zones,
    rule=st.sampled_from(RULES),
    more=st.none() | st.integers(0, 8),
)
def test_a_more_generous_policy_never_removes_more(backups, policy, zone, rule, more):
    # Room that a rule gives to one backup is another's, where room is limited.
    policy = replace(policy, max_bytes=None)
    number = getattr(policy, rule)
    if rule in LIMITS:
        # A limit that is not set is the most generous one.
        larger = None if number is None or more is None else number + more
    else:
        larger = (number or 0) + (more or 0)
    generous = replace(policy, **{rule: larger})
    # The first thinning rule, and the last limit beside one, make another kind of policy.
    assume(generous.has_limits == policy.has_limits)
    assume(policy.has_limits or generous.thins == policy.thins)
    _, before = split(backups, policy, zone)
    _, after = split(backups, generous, zone)
    assert set(after) <= set(before)


@whatever
@given(backups=histories, policy=policies, zone=zones, days=st.integers(0, 4000))
def test_time_that_passes_without_a_backup_removes_nothing_more(backups, policy, zone, days):
    history = [replace(backup, held_until=None) for backup in backups if backup.created_at <= NOW]
    later = NOW + timedelta(days=days)
    assert decide(history, policy, later, zone) == decide(history, policy, NOW, zone)


@whatever
@whatever_the_history
def test_to_decide_again_on_what_was_kept_removes_nothing(backups, policy, zone):
    keep, _ = split(backups, policy, zone)
    assert split(keep, policy, zone) == (keep, [])


@whatever
@given(data=st.data(), backups=histories, policy=policies, zone=zones)
def test_the_order_in_which_backups_are_given_does_not_matter(data, backups, policy, zone):
    shuffled = data.draw(st.permutations(backups))
    assert decide(shuffled, policy, NOW, zone) == decide(backups, policy, NOW, zone)


@whatever
@whatever_the_history
def test_what_is_given_is_left_as_it_was(backups, policy, zone):
    before = list(backups)
    decide(backups, policy, NOW, zone)
    assert backups == before


# Years in which everything happens


class History:
    """One tenant's backups over time, of which `decide` is asked after every success.

    A pure picture of what happens: backups succeed and fail, nothing runs for weeks, clocks go
    wrong by hours and years, damage is found long after it came, and people pin, hold and change
    the settings.
    """

    def __init__(self, random):
        self.random = random
        self.true = NOW
        self.error = timedelta()
        self.backups = []
        self.policy = self.some_policy()
        self.zone = random.choice([UTC, AUCKLAND, NEW_YORK, LORD_HOWE])
        self.every = timedelta(hours=random.choice([1, 6, 24, 24, 168]))
        self.happened = Counter()

    @property
    def now(self):
        return self.true + self.error

    def some_policy(self):
        rules = self.random.choice(
            [
                *[("keep_days",)] * 3,
                *[("keep_days", "max_bytes"), ("max_bytes",), ("keep_last", "keep_days")],
                *[("keep_last",), ("keep_days", "keep_weekly"), ("keep_daily", "keep_monthly")],
                *[("keep_last", "keep_days", "keep_daily", "max_bytes"), ()],
            ]
        )
        most = {"keep_days": 60, "max_bytes": 5000, "keep_last": 5}
        return Policy(**{rule: self.random.randint(1, most.get(rule, 20)) for rule in rules})

    def change(self, wanted, **fields):
        """Change one backup of those that are as wanted, if there is one."""
        some = [number for number, backup in enumerate(self.backups) if wanted(backup)]
        if some:
            number = self.random.choice(some)
            self.backups[number] = replace(self.backups[number], **fields)

    def step(self):
        what = self.random.choices(
            ["backup", "failure", "outage", "clock", "damage", "settings", "pin", "unpin", "hold"],
            [60, 8, 3, 4, 6, 3, 4, 3, 2],
        )[0]
        self.happened[what] += 1
        self.true += self.every
        if what == "outage":
            self.true += timedelta(days=self.random.choice([2, 31, 100, 400]))
        elif what == "clock":
            wrong = [timedelta(hours=hours) for hours in (-30, -1, 1, 9, 24 * 365, -24 * 3000)]
            self.error = timedelta() if self.error else self.random.choice(wrong)
        elif what == "damage":
            self.change(lambda backup: backup.is_good, is_good=False)
        elif what == "settings":
            self.policy = self.some_policy()
        elif what in ("pin", "unpin"):
            self.change(lambda backup: backup.is_good, pinned=what == "pin")
        elif what == "hold":
            until = self.now + timedelta(days=self.random.randint(1, 90))
            self.change(lambda backup: backup.is_good, hold_reason="why.", held_until=until)
        trigger = self.random.choice(["automatic"] * 9 + ["manual"])
        made = Candidate(
            self.happened.total(),
            self.now,
            trigger,
            is_good=what != "failure",
            stored_bytes=self.random.randint(1, 200) if what != "failure" else 0,
        )
        # Whoever looks marks what is dated in the future.
        self.backups = [
            replace(backup, future_at=self.now) if is_future(backup, self.now) else backup
            for backup in [*self.backups, made]
        ]
        if what != "failure":
            self.prune()

    def prune(self):
        before, now = self.backups, self.now
        decisions = decide(before, self.policy, now, self.zone)
        after = [decision.backup for decision in decisions if decision.keep]
        self.happened["removed"] += len(before) - len(after)
        good = [backup for backup in before if backup.is_good and not is_future(backup, now)]
        assert {max(good, key=lambda backup: (backup.created_at, backup.pk))} <= set(after)
        assert [backup for backup in before if not backup.is_good or backup.pinned] == [
            backup for backup in by_number(after) if not backup.is_good or backup.pinned
        ]
        lost = self.floor(good) - set(after)
        if lost:
            self.happened["taken from the floor"] += len(lost)
            # Neither age nor size did that, but a number or thinning rules.
            assert self.policy.keep_days is None or self.policy.keep_last is not None
            without = replace(self.policy, keep_days=None, max_bytes=None)
            assert not lost & set(self.kept(before, without))
        # To prune again removes nothing more.
        assert self.kept(after, self.policy) == after
        self.backups = by_number(after)

    def kept(self, backups, policy):
        decisions = decide(backups, policy, self.now, self.zone)
        return [decision.backup for decision in decisions if decision.keep]

    def floor(self, good):
        days = {}
        for backup in sorted(good, key=lambda backup: (backup.created_at, backup.pk)):
            days[backup.created_at.astimezone(self.zone).date()] = backup
        return {days[day] for day in sorted(days)[-3:]}


def by_number(backups):
    return sorted(backups, key=lambda backup: backup.pk)


@pytest.mark.parametrize("seed", range(24))
def test_years_of_everything(seed):
    history = History(Random(seed))
    for _ in range(150):
        history.step()
    assert history.happened["removed"] > 0


@examples(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(random=st.randoms(use_true_random=False))
def test_years_of_everything_whatever_comes(random):
    history = History(random)
    for _ in range(60):
        history.step()


def test_those_years_have_everything():
    happened = Counter()
    for seed in range(4, 10):
        history = History(Random(seed))
        for _ in range(150):
            history.step()
        happened += history.happened
    assert min(happened[what] for what in ("outage", "clock", "damage", "settings", "pin")) > 9
    assert happened["removed"] > 100
    assert happened["taken from the floor"] > 0
