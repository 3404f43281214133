"""Moments and settings in words."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone, translation

from tenant_backup.models import BackupSettings, Interval, Weekday
from tenant_backup.words import ago, settings_in_words, when

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (0, "today at noon"),
        (-12, "today at midnight"),
        (-12.5, "yesterday at 11:30 p.m."),
        (11.5, "today at 11:30 p.m."),
        (14, "tomorrow at 2 a.m."),
        (38, "on Wednesday at 2 a.m."),
        (24 * 6, "on Sunday at noon"),
        (24 * 7, "May 11, 2026, noon"),
        (-24 * 2, "May 2, 2026, noon"),
    ],
)
def test_when(hours, words):
    assert when(NOW + timedelta(hours=hours), NOW) == words


def test_when_is_said_in_the_active_zone():
    at = datetime(2026, 5, 4, 22, 4, tzinfo=UTC)
    with timezone.override(ZoneInfo("Europe/Berlin")):
        assert when(at, NOW) == "tomorrow at 12:04 a.m."
    with timezone.override(ZoneInfo("Asia/Tokyo")):
        assert when(at, NOW) == "tomorrow at 7:04 a.m."


@pytest.mark.parametrize(
    ("past", "words"),
    [
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=61), "1\xa0minute ago"),
        (timedelta(hours=3, minutes=20), "3\xa0hours ago"),
        (timedelta(days=15), "2\xa0weeks ago"),
        (-timedelta(minutes=5), "just now"),
        (-timedelta(minutes=6), ""),
    ],
)
def test_ago(past, words):
    assert ago(NOW - past, NOW) == words


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({}, "No automatic backups; keep all."),
        ({"automatic": True}, "Every day at about 2 a.m.; keep all."),
        (
            {"automatic": True, "interval": Interval.HOURLY, "time_of_day": time(2, 5)},
            "Every hour at about minute 05; keep all.",
        ),
        (
            {"automatic": True, "interval": Interval.SIX_HOURS, "time_of_day": time(14, 30)},
            "Every day at about 2:30 a.m., 8:30 a.m., 2:30 p.m. and 8:30 p.m.; keep all.",
        ),
        (
            {"automatic": True, "interval": Interval.TWELVE_HOURS},
            "Every day at about 2 a.m. and 2 p.m.; keep all.",
        ),
        (
            {"automatic": True, "interval": Interval.WEEKLY, "weekday": Weekday.FRIDAY},
            "Every week on Friday at about 2 a.m.; keep all.",
        ),
        (
            {"automatic": True, "interval": Interval.MONTHLY, "day_of_month": 28},
            "Every month on day 28 at about 2 a.m.; keep all.",
        ),
        (
            {"automatic": True, "interval": Interval.MONTHLY, "day_of_month": 31},
            "Every month on day 31, or its last day, at about 2 a.m.; keep all.",
        ),
        ({"keep_last": 7}, "No automatic backups; keep the last 7."),
        ({"keep_last": 1}, "No automatic backups; keep only the last one."),
        ({"keep_days": 1}, "No automatic backups; keep those of the last 1 day."),
        (
            {"keep_last": 7, "keep_days": 30},
            "No automatic backups; keep the last 7, but none more than 30 days old.",
        ),
        (
            {"keep_monthly": 12},
            "No automatic backups; keep only one a month for 12 months.",
        ),
        (
            {"keep_daily": 7, "keep_weekly": 4},
            "No automatic backups; keep only one a day for 7 days and one a week for 4 weeks.",
        ),
        (
            {"keep_last": 7, "keep_daily": 1, "keep_weekly": 4, "keep_monthly": 12},
            "No automatic backups; keep the last 7, and beyond that one a day for 1 day, "
            "one a week for 4 weeks and one a month for 12 months.",
        ),
    ],
)
def test_settings(choices, words):
    assert settings_in_words(BackupSettings(tenant_id="acme", **choices)) == words


def test_german():
    settings = BackupSettings(tenant_id="acme", automatic=True, keep_last=7)
    with translation.override("de"):
        assert when(NOW + timedelta(hours=14), NOW).startswith("morgen um 02:00")
        assert "7" in settings_in_words(settings)
        assert "Every" not in settings_in_words(settings)
