"""Presets and the outlook: what is said of settings is what following them comes to."""

import json
from datetime import UTC, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenant_backup import meaning
from tenant_backup.backups import Prospect
from tenant_backup.models import BackupSettings, Interval, Weekday
from tenant_backup.outlook import MOST, kept_at, outlook
from tenant_backup.presets import PRESETS, preset_named
from tenant_backup.retention import Policy, Stored, decide
from tenant_backup.schedule import Rule, number_in_a_year, times_before
from tenant_backup.tenants import Tenant

BERLIN = ZoneInfo("Europe/Berlin")
MIB = 1024**2
END = datetime(2026, 11, 26, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def rule(interval="daily", at=time(2), weekday=6, day_of_month=1):
    return Rule(interval, at, weekday, day_of_month)


def settings_of(preset, **fields):
    return BackupSettings(tenant_id="acme", **{**preset_named(preset).fields, **fields})


def followed(rule, policy, days, end=END, size=0):
    """What is there after each slot of these days, newest first, if pruning follows each."""
    times = [*takewhile(lambda at: at > end - days, times_before(rule, BERLIN, end))]
    there = []
    for number, at in enumerate(reversed(times)):
        there.append(Stored(number, "automatic", pinned=False, created_at=at, size=size))
        there = [each.backup for each in decide(there, policy, at, BERLIN) if each.keep]
        yield [each.created_at for each in there]


number = st.none() | st.integers(1, 12)


class TestOutlook:
    @settings(max_examples=25)
    @example("daily", Policy(keep_days=14, keep_monthly=4), 0)
    @example("weekly", Policy(keep_days=14), 0)
    @example("12h", Policy(keep_last=3, keep_daily=5, keep_weekly=3), 17)
    @example("daily", Policy(max_bytes=5 * MIB, keep_monthly=2), 3)
    @given(
        st.sampled_from(["12h", "daily", "weekly", "monthly"]),
        st.builds(
            Policy,
            keep_last=number,
            keep_days=st.none() | st.integers(1, 30),
            keep_daily=number,
            keep_weekly=st.none() | st.integers(1, 6),
            keep_monthly=st.none() | st.integers(1, 4),
        ),
        st.integers(0, 40),
    )
    def test_is_what_following_the_settings_comes_to(self, interval, policy, earlier):
        if not policy.removes:
            return
        end = END - earlier * DAY
        # Weekly and monthly ones need longer until the numbers are reached.
        days = {"weekly": 330, "monthly": 900}.get(interval, 170) * DAY
        [*_, there] = followed(rule(interval), policy, days, end, MIB)
        assert kept_at(rule(interval), policy, BERLIN, end, MIB) == (there, False)

    def test_tells_the_most_and_the_oldest_of_a_month(self):
        policy = Policy(keep_days=14, keep_monthly=4)
        all_there = [*followed(rule(), policy, 200 * DAY)][-31:]
        found = outlook(rule(), policy, BERLIN, END - 31 * DAY, MIB)
        assert found.number == max(map(len, all_there))
        assert abs(found.age - max(there[0] - there[-1] for there in all_there)) <= 5 * DAY
        assert found.bytes == found.number * MIB

    def test_what_nothing_removes_grows(self):
        found = outlook(rule("6h"), Policy(), BERLIN, END, MIB)
        assert found.is_growing
        assert (found.number, found.bytes) == (365 * 4, 365 * 4 * MIB)

    @pytest.mark.parametrize("interval", Interval.values)
    def test_the_number_of_a_year(self, interval):
        year = takewhile(lambda at: at > END - 365 * DAY, times_before(rule(interval), BERLIN, END))
        assert abs(number_in_a_year(rule(interval)) - len([*year])) <= 1

    @pytest.mark.parametrize(
        "policy",
        [
            Policy(keep_last=100_000),
            Policy(keep_days=36_500),
            Policy(keep_monthly=1_200),
            Policy(keep_last=100_000, keep_daily=36_500, keep_monthly=1_200),
            Policy(max_bytes=10**15),
        ],
    )
    def test_however_much_is_kept_the_work_is_bounded(self, policy, monkeypatch):
        looked_at = []

        def counted(made_up, *arguments):
            looked_at.append(len(made_up))
            return decide(made_up, *arguments)

        monkeypatch.setattr("tenant_backup.outlook.decide", counted)
        found = outlook(rule("hourly"), policy, BERLIN, END, MIB)
        assert found.is_more
        assert max(looked_at) <= 2 * MOST
        assert len(looked_at) <= 6


class TestPresets:
    """The words are a promise. Each is kept at any moment, by what is there after each slot."""

    def test_every_night_for_two_weeks_then_one_a_month_for_a_year(self):
        chosen = settings_of("nightly")
        assert chosen.rule.interval == "daily"
        for there in [*followed(chosen.rule, chosen.policy, 830 * DAY)][-400:]:
            days = {at.astimezone(BERLIN).date() for at in there}
            today = there[0].astimezone(BERLIN).date()
            # An hour more when the clocks change: then the oldest of these is beyond two weeks.
            assert {today - number * DAY for number in range(14)} <= days
            months = {(day.year, day.month) for day in days}
            for back in range(13):
                year, month = divmod(today.year * 12 + today.month - 1 - back, 12)
                assert (year, month + 1) in months, today

    def test_every_hour_for_two_days_then_one_a_day_for_two_weeks(self):
        chosen = settings_of("hourly")
        assert chosen.rule.interval == "hourly"
        for there in [*followed(chosen.rule, chosen.policy, 25 * DAY)][-48:]:
            assert {there[0] - timedelta(hours=number) for number in range(49)} <= set(there)
            days = {at.astimezone(BERLIN).date() for at in there}
            today = there[0].astimezone(BERLIN).date()
            assert days == {today - number * DAY for number in range(15)}

    def test_by_hand_leaves_alone_what_was_chosen_otherwise(self):
        assert preset_named("manual").fields == {"automatic": False}

    def test_there_is_no_other(self):
        assert preset_named("weekly") is None
        assert len({preset.name for preset in PRESETS}) == len(PRESETS) == 3

    def test_the_room_is_what_following_it_takes(self, tmp_path):
        tenant = Tenant("acme", "Acme", tmp_path, tmp_path / "db.sqlite3", "Europe/Berlin")
        nightly, hourly, by_hand = meaning.offers(tenant, settings_of("nightly"), 10 * MIB)
        assert nightly.room == "about 270.0 MB at today's size"
        assert hourly.room == "about 610.0 MB at today's size"
        assert by_hand.room == ""
        assert (nightly.is_current, hourly.is_current, by_hand.is_current) == (True, False, False)
        assert json.loads(hourly.fields)["keep_daily"] == "15"
        assert json.loads(hourly.fields)["keep_monthly"] == ""

    def test_without_a_database_nothing_is_said_of_room(self, tmp_path):
        tenant = Tenant("acme", "Acme", tmp_path, tmp_path / "db.sqlite3", "Europe/Berlin")
        offered = meaning.offers(tenant, settings_of("nightly"), None)
        assert {offer.room for offer in offered} == {""}


class TestWords:
    @pytest.mark.parametrize(
        ("choices", "words"),
        [
            ({"automatic": False, "keep_last": 7}, "only by hand"),
            ({"keep_last": 14}, "every day at 2 a.m., the last 14"),
            ({"keep_last": 1}, "every day at 2 a.m., the last one"),
            (
                {"keep_last": 100, "keep_days": 7},
                "every day at 2 a.m., at most 100, of the last 7 days",
            ),
            (
                {"keep_last": 1, "keep_days": 1},
                "every day at 2 a.m., at most 1, of the last day",
            ),
            (
                {"keep_last": 9, "keep_days": 30, "keep_weekly": 4},
                "every day at 2 a.m., at most 9, of the last 30 days and some older ones",
            ),
            ({"keep_days": 14}, "every day at 2 a.m., the last 14 days"),
            (
                {"keep_days": 14, "keep_monthly": 13},
                "every day at 2 a.m., the last 14 days and some older ones",
            ),
            ({"keep_weekly": 4}, "every day at 2 a.m., older ones thinned out"),
            ({"interval": Interval.HOURLY}, "every hour, all are kept"),
            (
                {"interval": Interval.WEEKLY, "weekday": Weekday.FRIDAY},
                "every Friday at 2 a.m., all are kept",
            ),
            (
                {"interval": Interval.MONTHLY, "day_of_month": 3},
                "every month on day 3, all are kept",
            ),
        ],
    )
    def test_the_essence(self, choices, words):
        fields = {"tenant_id": "acme", "automatic": True} | choices
        assert meaning.in_short(BackupSettings(**fields)) == words

    @pytest.mark.parametrize(
        ("coming", "choices", "words"),
        [
            (
                Prospect([], 16, 13, datetime(2026, 11, 3, 2, tzinfo=UTC)),
                {"keep_days": 14, "keep_monthly": 13},
                "Of the 16 backups that there are, this keeps 13, the oldest from Nov. 3, 2026. "
                "Later it keeps up to about 27 automatic ones, back to about a year ago. They "
                "take up about 27.0 MB at today's size of the database.",
            ),
            (
                Prospect([], 2, 2, datetime(2026, 11, 3, 2, tzinfo=UTC)),
                {},
                "This keeps all 2 backups that there are, the oldest from Nov. 3, 2026. Nothing is "
                "ever removed: each year adds about 365 backups. They take up about 365.0 MB at "
                "today's size of the database.",
            ),
            (
                Prospect([], 1, 1, datetime(2026, 11, 3, 2, tzinfo=UTC)),
                {"automatic": False},
                "This keeps the one backup that there is, from Nov. 3, 2026.",
            ),
            (
                Prospect([], 3, 0, None),
                {"automatic": False, "keep_last": 1},
                "Of the backups that there are, this keeps none once the next one is there.",
            ),
            (
                Prospect([], 0, 0, None),
                {"keep_last": 1},
                "There is no good backup yet. Later it keeps one automatic backup. It takes up "
                "about 1.0 MB at today's size of the database.",
            ),
            (
                Prospect([], 0, 0, None),
                {"keep_last": 100_000, "interval": Interval.HOURLY},
                "There is no good backup yet. Later it keeps more than 1000 automatic ones, back "
                "to about 42 days ago or longer. They take up more than 1000.0 MB at today's size "
                "of the database.",
            ),
        ],
    )
    def test_what_would_be_kept(self, tmp_path, coming, choices, words):
        tenant = Tenant("acme", "Acme", tmp_path, tmp_path / "db.sqlite3")
        settings = BackupSettings(**({"tenant_id": "acme", "automatic": True} | choices))
        said = meaning.meaning_of(tenant, settings, coming, MIB)
        assert said.outlook.replace("\xa0", " ") == words
        assert said.is_saved

    @pytest.mark.parametrize(
        ("kept", "words"),
        [
            ({"interval": Interval.HOURLY, "keep_last": 3}, "about 2 hours ago"),
            ({"keep_last": 8}, "about 7 days ago"),
            ({"keep_last": 92}, "about 3 months ago"),
            ({"interval": Interval.MONTHLY, "keep_last": 61}, "about 5 years ago"),
        ],
    )
    def test_how_far_back(self, tmp_path, kept, words):
        tenant = Tenant("acme", "Acme", tmp_path, tmp_path / "db.sqlite3")
        settings = BackupSettings(tenant_id="acme", automatic=True, **kept)
        assert words in meaning.meaning_of(tenant, settings, Prospect([], 0, 0, None), 1).outlook
