"""The chart's days and bars, as a pure function of what happened."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from tenant_backup.backups.attempts import Attempt, Outcome
from tenant_backup.chart import (
    DAYS,
    FAILED_HEIGHT,
    HEIGHT,
    LOWEST,
    NONE_HEIGHT,
    WIDTH,
    days,
    first_day,
)

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
GOOD, REMOVED, FAILED, NONE = Outcome


def chart(*attempts_since, now=NOW, zone="UTC"):
    return days(attempts_since, now, ZoneInfo(zone))


def test_thirty_days_and_today_is_the_last():
    found = chart()
    assert [day.date for day in found] == [
        date(2026, 4, 5) + timedelta(days=number) for number in range(30)
    ]
    assert {(day.outcome, day.height) for day in found} == {(NONE, NONE_HEIGHT)}
    assert [day.x for day in found] == [number * WIDTH for number in range(30)]


def test_days_are_the_tenants_and_one_of_25_hours_is_one():
    berlin = {"now": datetime(2026, 10, 26, 12, tzinfo=UTC), "zone": "Europe/Berlin"}
    first, last = datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 22, 59, tzinfo=UTC)
    day = chart(Attempt(first, GOOD, 5), Attempt(last, GOOD, 5), **berlin)[-2]
    assert (day.date, day.good) == (date(2026, 10, 25), 2)
    assert first_day(berlin["now"], ZoneInfo("Europe/Berlin")) == datetime(
        2026, 9, 27, tzinfo=ZoneInfo("Europe/Berlin")
    )


def test_what_is_older_or_of_a_time_to_come_is_left_out():
    found = chart(
        Attempt(NOW - timedelta(days=30), GOOD, 5), Attempt(NOW + timedelta(days=1), GOOD, 5)
    )
    assert {day.outcome for day in found} == {NONE}


def test_the_best_outcome_of_a_day_is_the_days_and_all_are_counted():
    today = chart(
        Attempt(NOW, FAILED),
        Attempt(NOW, REMOVED, 30),
        Attempt(NOW, GOOD, 10),
        Attempt(NOW, GOOD, 20),
    )[-1]
    assert today.outcome is GOOD
    assert (today.good, today.removed, today.failed) == (2, 1, 1)
    assert today.size == 30


def test_heights_follow_the_sizes():
    ago = [NOW - timedelta(days=number) for number in range(5)]
    found = chart(
        Attempt(ago[0], GOOD, 1000),
        Attempt(ago[1], REMOVED, 500),
        Attempt(ago[2], GOOD, 1),
        Attempt(ago[3], FAILED, 700),
        Attempt(ago[4], REMOVED),  # made before sizes were noted
    )
    assert [day.height for day in reversed(found[-5:])] == [
        HEIGHT,
        HEIGHT // 2,
        LOWEST,
        FAILED_HEIGHT,
        FAILED_HEIGHT,
    ]


attempts_since = st.builds(
    Attempt,
    at=st.datetimes(datetime(2026, 3, 1), datetime(2026, 6, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    outcome=st.sampled_from([GOOD, REMOVED, FAILED]),
    size=st.none() | st.integers(1, 10**13),
)


@given(st.lists(attempts_since, max_size=60), st.sampled_from(["UTC", "Asia/Kathmandu"]))
def test_every_bar_fits_and_shows_when_there_is_something(attempts_since, zone):
    found = chart(*attempts_since, zone=zone)
    assert len(found) == DAYS
    for day in found:
        assert 0 <= day.y <= HEIGHT
        assert day.y + day.height == HEIGHT
        assert day.height > 0
        assert (day.height < LOWEST) == (day.outcome is NONE)
    start = first_day(NOW, ZoneInfo(zone))
    shown = [each for each in attempts_since if start <= each.at < start + timedelta(days=DAYS)]
    assert sum(day.good + day.removed + day.failed for day in found) == len(shown)
