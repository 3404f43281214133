"""Slots, as pure functions of settings, zone and time."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_backup.models import Interval
from tenant_backup.schedule import Rule, next_slot, spread

ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # its clocks change by half an hour
    "Africa/Casablanca",  # four changes a year, by the moon
    "Asia/Kathmandu",  # 5:45 ahead of UTC
    "UTC",
]
LONGEST = {
    "hourly": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "12h": timedelta(hours=12),
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=31),
}

rules = st.builds(
    Rule,
    interval=st.sampled_from(Interval.values),
    time_of_day=st.times(),
    weekday=st.integers(0, 6),
    day_of_month=st.integers(1, 31),
)
zones = st.sampled_from(ZONES).map(ZoneInfo)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def rule(interval="daily", at="02:00", *, weekday=6, day=1):
    return Rule(interval, time.fromisoformat(at), weekday, day)


def slots(rule, zone, start, end):
    """The slots from a local day to another, without the spread, as local times."""
    zone = ZoneInfo(zone)
    delay = spread(rule.interval, "acme")
    at = datetime.combine(start, time(), zone) + delay - timedelta(seconds=1)
    last = datetime.combine(end, time(), zone) + delay
    found = []
    while (at := next_slot(rule, "acme", zone, at)) < last:
        found.append((at - delay).astimezone(zone))
    return found


def local(slots):
    return [f"{at:%m-%d %H:%M}" for at in slots]


@given(rules, st.text(max_size=20), zones, moments)
def test_the_next_slot_is_later_and_within_one_interval_and_a_day(rule, tenant_id, zone, after):
    slot = next_slot(rule, tenant_id, zone, after)
    assert slot.utcoffset() == timedelta(0)
    assert after < slot <= after + LONGEST[rule.interval] + timedelta(days=1)


@given(rules, st.text(max_size=20), zones, moments)
def test_no_slot_lies_between_a_moment_and_the_next_slot(rule, tenant_id, zone, after):
    slot = next_slot(rule, tenant_id, zone, after)
    between = after + (slot - after) / 2
    assert next_slot(rule, tenant_id, zone, between) == slot


@given(rules, st.text(max_size=20), zones, moments)
def test_a_slot_is_at_the_local_time_that_is_set(rule, tenant_id, zone, after):
    slot = next_slot(rule, tenant_id, zone, after)
    at = (slot - spread(rule.interval, tenant_id)).astimezone(zone)
    wanted = datetime.combine(at.date(), rule.time_of_day)
    if rule.interval in ("hourly", "6h", "12h"):
        wanted = wanted.replace(hour=at.hour)
    skipped = at.replace(tzinfo=None) != wanted
    if skipped:
        # Only where the clocks jumped over the local time, and then by as much as they jumped.
        jump = at.utcoffset() - (at - timedelta(days=1)).utcoffset()
        assert jump > timedelta(0)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("interval", "number"),
    [("12h", 730), ("6h", 1460), ("daily", 365), ("weekly", 52), ("monthly", 12)],
)
def test_a_year_has_the_right_number_of_slots(zone, interval, number):
    found = slots(rule(interval, "02:30", day=31), zone, date(2026, 1, 1), date(2027, 1, 1))
    assert len(found) == number
    assert len(set(found)) == number


@pytest.mark.parametrize(
    ("zone", "number"),
    [
        # An hour that is skipped has no slot of its own, one that is doubled has one.
        ("Europe/Berlin", 8759),
        ("America/New_York", 8759),
        ("Africa/Casablanca", 8759),
        # The clocks jump by half an hour, from 02:00 to 02:30: no hour is skipped.
        ("Australia/Lord_Howe", 8760),
        ("Asia/Kathmandu", 8760),
        ("UTC", 8760),
    ],
)
def test_a_year_has_a_slot_for_every_local_hour(zone, number):
    found = slots(rule("hourly", "00:30"), zone, date(2026, 1, 1), date(2027, 1, 1))
    assert len(found) == number


@pytest.mark.parametrize("zone", ZONES)
def test_daily_slots_keep_their_local_time_all_year(zone):
    found = slots(rule("daily", "12:34"), zone, date(2026, 1, 1), date(2027, 1, 1))
    assert {f"{at:%H:%M}" for at in found} == {"12:34"}
    assert [at.date() for at in found] == [
        date(2026, 1, 1) + timedelta(days=number) for number in range(365)
    ]


def test_a_skipped_local_time_runs_once_as_much_later_as_the_clocks_jump():
    found = slots(rule(at="02:30"), "Europe/Berlin", date(2026, 3, 28), date(2026, 3, 31))
    assert local(found) == ["03-28 02:30", "03-29 03:30", "03-30 02:30"]


def test_a_doubled_local_time_runs_once_the_first_time():
    found = slots(rule(at="02:30"), "Europe/Berlin", date(2026, 10, 24), date(2026, 10, 27))
    assert local(found) == ["10-24 02:30", "10-25 02:30", "10-26 02:30"]
    assert found[1].utcoffset() == timedelta(hours=2)


def test_a_half_hour_jump():
    found = slots(rule(at="02:15"), "Australia/Lord_Howe", date(2026, 10, 3), date(2026, 10, 6))
    assert local(found) == ["10-03 02:15", "10-04 02:45", "10-05 02:15"]


def test_six_hours_are_counted_from_the_time_of_day():
    found = slots(rule("6h", "15:10"), "UTC", date(2026, 1, 1), date(2026, 1, 2))
    assert local(found) == ["01-01 03:10", "01-01 09:10", "01-01 15:10", "01-01 21:10"]


def test_hourly_is_at_the_minute_of_the_time_of_day():
    found = slots(rule("hourly", "15:10"), "UTC", date(2026, 1, 1), date(2026, 1, 2))
    assert local(found)[:2] == ["01-01 00:10", "01-01 01:10"]
    assert len(found) == 24


def test_weekly_is_on_the_weekday():
    found = slots(rule("weekly", weekday=0), "UTC", date(2026, 1, 1), date(2026, 2, 1))
    assert local(found) == ["01-05 02:00", "01-12 02:00", "01-19 02:00", "01-26 02:00"]


def test_the_31st_is_the_last_day_of_a_shorter_month():
    found = slots(rule("monthly", day=31), "UTC", date(2028, 1, 1), date(2028, 7, 1))
    assert local(found) == [
        "01-31 02:00",
        "02-29 02:00",
        "03-31 02:00",
        "04-30 02:00",
        "05-31 02:00",
        "06-30 02:00",
    ]


def test_a_slot_of_late_evening_may_be_spread_into_the_next_day():
    late = rule("daily", "23:59")
    tenant_id = next(f"t{n}" for n in range(100) if spread("daily", f"t{n}") > timedelta(minutes=5))
    after = datetime(2026, 1, 2, 0, 2, tzinfo=UTC)
    slot = next_slot(late, tenant_id, ZoneInfo("UTC"), after)
    assert slot == datetime(2026, 1, 1, 23, 59, tzinfo=UTC) + spread("daily", tenant_id)


@given(st.sampled_from(Interval.values), st.text())
def test_the_spread_is_stable_and_in_its_window(interval, tenant_id):
    delay = spread(interval, tenant_id)
    assert delay == spread(interval, tenant_id)
    assert timedelta(0) <= delay < timedelta(minutes=10 if interval == "hourly" else 30)
    assert delay % timedelta(minutes=1) == timedelta(0)


def test_tenants_are_spread():
    assert len({spread("daily", f"tenant{number}") for number in range(300)}) == 30
