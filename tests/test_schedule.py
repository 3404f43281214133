"""Slots, as pure functions of settings, zone and time."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
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


LOCAL_TIMES = {
    "hourly": {f"{hour:02}:50" for hour in range(24)},
    "6h": {"04:50", "10:50", "16:50", "22:50"},
    "12h": {"10:50", "22:50"},
    "daily": {"22:50"},
    "weekly": {"22:50"},
    "monthly": {"22:50"},
}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("interval", Interval.values)
def test_the_slots_of_a_year_have_the_right_local_times(zone, interval):
    # The clocks jump over none of these but 02:50, which then runs at 03:50.
    wanted = rule(interval, "22:50", weekday=2, day=31)
    found = slots(wanted, zone, date(2026, 1, 1), date(2027, 1, 1))
    assert {f"{at:%H:%M}" for at in found} == LOCAL_TIMES[interval]
    if interval == "weekly":
        wednesdays = [date(2026, 1, 7) + timedelta(weeks=number) for number in range(52)]
        assert [at.date() for at in found] == wednesdays
    elif interval == "monthly":
        days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        assert [(at.month, at.day) for at in found] == list(enumerate(days, start=1))


@pytest.mark.parametrize("zone", ZONES)
def test_daily_slots_keep_their_local_time_all_year(zone):
    found = slots(rule("daily", "12:34"), zone, date(2026, 1, 1), date(2027, 1, 1))
    assert {f"{at:%H:%M}" for at in found} == {"12:34"}
    assert [at.date() for at in found] == [
        date(2026, 1, 1) + timedelta(days=number) for number in range(365)
    ]


# The changes of the clocks in 2026: which local time they skip and when it runs instead, and which
# they double, with the first of the two as a time in UTC.
SKIPPED = [
    ("Europe/Berlin", "2026-03-29", "02:30", "03:30"),
    ("America/New_York", "2026-03-08", "02:30", "03:30"),
    ("Australia/Lord_Howe", "2026-10-04", "02:15", "02:45"),
    ("Africa/Casablanca", "2026-03-22", "02:30", "03:30"),
]
DOUBLED = [
    ("Europe/Berlin", "2026-10-25", "02:30", "2026-10-25 00:30"),
    ("America/New_York", "2026-11-01", "01:30", "2026-11-01 05:30"),
    ("Australia/Lord_Howe", "2026-04-05", "01:45", "2026-04-04 14:45"),
    ("Africa/Casablanca", "2026-02-15", "02:30", "2026-02-15 01:30"),
]


def days_around(day):
    day = date.fromisoformat(day)
    return day - timedelta(days=1), day + timedelta(days=2)


@pytest.mark.parametrize("interval", Interval.values)
@pytest.mark.parametrize(("zone", "day", "skipped", "instead"), SKIPPED)
def test_a_skipped_time_of_any_interval_runs_as_much_later(zone, day, skipped, instead, interval):
    on = date.fromisoformat(day)
    wanted = rule(interval, skipped, weekday=on.weekday(), day=on.day)
    found = slots(wanted, zone, on, on + timedelta(days=1))
    times = [f"{at:%H:%M}" for at in found]
    # Once, even where the next hour's slot is at the same moment, and in its place.
    assert times.count(instead) == 1
    assert skipped not in times
    assert found == sorted(found)
    hours = {"hourly": 24 - (skipped == "02:30"), "6h": 4, "12h": 2}
    assert len(found) == hours.get(interval, 1)


@pytest.mark.parametrize("interval", Interval.values)
@pytest.mark.parametrize(("zone", "day", "doubled", "first"), DOUBLED)
def test_a_doubled_time_of_any_interval_runs_the_first_time(zone, day, doubled, first, interval):
    on = date.fromisoformat(day)
    wanted = rule(interval, doubled, weekday=on.weekday(), day=on.day)
    found = slots(wanted, zone, on, on + timedelta(days=1))
    at_this_time = [at for at in found if f"{at:%H:%M}" == doubled]
    assert [f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" for at in at_this_time] == [first]
    assert len(found) == {"hourly": 24, "6h": 4, "12h": 2}.get(interval, 1)


@pytest.mark.parametrize(("zone", "day", "skipped", "instead"), SKIPPED)
def test_the_days_around_a_skipped_time_are_as_always(zone, day, skipped, instead):
    found = slots(rule(at=skipped), zone, *days_around(day))
    assert [f"{at:%H:%M}" for at in found] == [skipped, instead, skipped]


@pytest.mark.parametrize(("zone", "day", "doubled", "first"), DOUBLED)
def test_the_days_around_a_doubled_time_are_as_always(zone, day, doubled, first):
    found = slots(rule(at=doubled), zone, *days_around(day))
    assert [f"{at:%H:%M}" for at in found] == [doubled] * 3


def test_every_hour_over_a_change_of_half_an_hour():
    spring = slots(
        rule("hourly", "00:15"), "Australia/Lord_Howe", date(2026, 10, 4), date(2026, 10, 5)
    )
    assert local(spring)[:5] == [
        *("10-04 00:15", "10-04 01:15", "10-04 02:45", "10-04 03:15", "10-04 04:15")
    ]
    autumn = slots(
        rule("hourly", "00:45"), "Australia/Lord_Howe", date(2026, 4, 5), date(2026, 4, 6)
    )
    # 01:45 comes twice, half an hour apart, and runs the first time.
    gaps = [later.astimezone(UTC) - at.astimezone(UTC) for at, later in pairwise(autumn)]
    assert gaps[:3] == [timedelta(hours=1), timedelta(hours=1, minutes=30), timedelta(hours=1)]


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


def test_a_time_skipped_before_midnight_runs_on_the_next_day():
    # In Nuuk the clocks jump from 23:00 to midnight.
    nuuk = ZoneInfo("America/Nuuk")
    late, delay = rule(at="23:30"), spread("daily", "acme")
    instead = datetime(2026, 3, 29, 0, 30, tzinfo=nuuk).astimezone(UTC) + delay
    for before in (timedelta(minutes=1), timedelta(minutes=20), timedelta(hours=20)):
        assert next_slot(late, "acme", nuuk, instead - before) == instead
    assert next_slot(late, "acme", nuuk, instead) == instead + timedelta(hours=23)


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


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("day", "leap", "usual"),
    [
        (28, ["02-28", "03-28"], ["02-28", "03-28"]),
        (29, ["02-29", "03-29"], ["02-28", "03-29"]),
        (30, ["02-29", "03-30"], ["02-28", "03-30"]),
        (31, ["02-29", "03-31"], ["02-28", "03-31"]),
    ],
)
def test_the_days_that_february_may_lack(zone, day, leap, usual):
    # 2028 is a leap year, 2100 is none.
    for year, expected in [(2028, leap), (2027, usual), (2100, usual)]:
        monthly = rule("monthly", "12:00", day=day)
        found = slots(monthly, zone, date(year, 2, 1), date(year, 4, 1))
        assert [f"{at:%m-%d}" for at in found] == expected


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("interval", "number"), [("hourly", 24), ("6h", 4), ("12h", 2), ("daily", 1), ("weekly", 1)]
)
def test_a_leap_day_is_a_day_like_any_other(zone, interval, number):
    leap_day = date(2028, 2, 29)
    wanted = rule(interval, "12:00", weekday=leap_day.weekday())
    found = slots(wanted, zone, leap_day, date(2028, 3, 1))
    assert [at.date() for at in found] == [leap_day] * number


def test_a_leap_year_has_a_day_more():
    found = slots(rule("daily"), "Europe/Berlin", date(2028, 1, 1), date(2029, 1, 1))
    assert len({at.date() for at in found}) == len(found) == 366


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("interval", "last", "first"),
    [
        ("hourly", "2026-12-31 23:10", "2027-01-01 00:10"),
        ("6h", "2026-12-31 21:10", "2027-01-01 03:10"),
        ("12h", "2026-12-31 21:10", "2027-01-01 09:10"),
        ("daily", "2026-12-31 21:10", "2027-01-01 21:10"),
        ("weekly", "2026-12-31 21:10", "2027-01-07 21:10"),  # a Thursday
        ("monthly", "2026-12-31 21:10", "2027-01-31 21:10"),
    ],
)
def test_the_last_slot_of_a_year_and_the_first_of_the_next(zone, interval, last, first):
    wanted = rule(interval, "21:10", weekday=3, day=31)
    found = slots(wanted, zone, date(2026, 12, 1), date(2027, 2, 1))
    texts = [f"{at:%Y-%m-%d %H:%M}" for at in found]
    assert texts[texts.index(last) + 1] == first


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("interval", Interval.values)
def test_the_spread_is_the_same_for_every_slot_of_a_year(zone, interval):
    """Over changes of the clocks and the year's end two tenants stay as far apart as they were."""
    zone = ZoneInfo(zone)
    wanted = rule(interval, "12:00", day=29)
    ones, others = "tenant0", "tenant3"
    apart = spread(interval, others) - spread(interval, ones)
    assert apart
    # A year and some days; of the many hourly ones the last months are enough.
    at = datetime(2027, 12 if interval == "hourly" else 1, 15, 14, 45, tzinfo=UTC)
    just_before = timedelta(minutes=9 if interval == "hourly" else 29)
    found = 0
    while (slot := next_slot(wanted, ones, zone, at)) < datetime(2028, 3, 31, tzinfo=UTC):
        assert next_slot(wanted, others, zone, slot - just_before) == slot + apart
        at = slot
        found += 1
    assert found >= 14


def test_the_spread_is_the_same_in_every_version():
    """Whoever updates shall not find the backups of all tenants at other minutes."""
    names = ["acme", "globex", "initech", "default", "Ä"]
    for interval, minutes in [("daily", [12, 19, 13, 19, 7]), ("hourly", [2, 9, 3, 9, 7])]:
        assert [spread(interval, name) // timedelta(minutes=1) for name in names] == minutes


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
