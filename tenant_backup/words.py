"""Moments, backups and settings in words: "tomorrow at 02:04", "every day at 02:00"."""

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format, number_format, time_format
from django.utils.text import capfirst, get_text_list
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext, npgettext_lazy

from tenant_backup.models import Backup, BackupSettings, Interval, Status
from tenant_backup.retention import AHEAD, reason_to_hold
from tenant_backup.schedule import HOURS_BETWEEN

PAST: dict[str, Any] = {
    "year": npgettext_lazy("ago", "%(num)d year", "%(num)d years", "num"),
    "month": npgettext_lazy("ago", "%(num)d month", "%(num)d months", "num"),
    "week": npgettext_lazy("ago", "%(num)d week", "%(num)d weeks", "num"),
    "day": npgettext_lazy("ago", "%(num)d day", "%(num)d days", "num"),
    "hour": npgettext_lazy("ago", "%(num)d hour", "%(num)d hours", "num"),
    "minute": npgettext_lazy("ago", "%(num)d minute", "%(num)d minutes", "num"),
}
"""The units in the case that "ago" asks for, which in German differs from Django's own."""


DAYS_COUNTED = 60
"""Up to this age a backup is so many days old, and from then on so many months or years."""


def when(at: datetime, now: datetime | None = None) -> str:
    """A moment as somebody would say it today, in the active time zone: "yesterday at 14:05"."""
    local, today = timezone.localtime(at), timezone.localtime(now)
    days = (local.date() - today.date()).days
    time = time_format(local.time(), "TIME_FORMAT")
    if days == 0:
        return gettext("today at %(time)s") % {"time": time}
    if days == 1:
        return gettext("tomorrow at %(time)s") % {"time": time}
    if days == -1:
        return gettext("yesterday at %(time)s") % {"time": time}
    if 0 < days < 7:
        values = {"weekday": date_format(local, "l"), "time": time}
        return gettext("on %(weekday)s at %(time)s") % values
    return date_format(local, "DATETIME_FORMAT")


def on_day(at: datetime, zone: tzinfo, now: datetime | None = None) -> str:
    """A day in the past as somebody in this zone would say it today; today with its time."""
    local, today = timezone.localtime(at, zone), timezone.localtime(now, zone)
    days = (today.date() - local.date()).days
    if days <= 0:
        return gettext("today at %(time)s") % {"time": time_format(local.time(), "TIME_FORMAT")}
    if days == 1:
        return gettext("yesterday")
    if days < 7:
        return gettext("on %(day)s") % {"day": date_format(local, "l")}
    is_this_year = local.year == today.year
    day = date_format(local, "MONTH_DAY_FORMAT" if is_this_year else "DATE_FORMAT")
    return gettext("on %(day)s") % {"day": day}


def ago(at: datetime | None, now: datetime | None = None) -> str:
    """How long ago a moment was; empty if it is unset or in the future."""
    now = now or timezone.now()
    if at is None or at > now + AHEAD:
        return ""
    if now - at < timedelta(minutes=1):
        return gettext("just now")
    return gettext("%(duration)s ago") % {
        "duration": timesince(at, now, time_strings=PAST, depth=1)
    }


def time_in_words(backup: Backup) -> str:
    """When a backup was made, in the active time zone."""
    return date_format(timezone.localtime(backup.created_at), "DATETIME_FORMAT")


def end_in_words(backup: Backup, read: Callable[[str], str]) -> str:
    """How a backup ended. `read` leaves of an error's text what the user may see."""
    if backup.status == Status.FAILED:
        return gettext("The backup failed. %(reason)s") % {"reason": read(backup.reason)}
    values = {"file": backup.file_name, "size": filesizeformat(backup.size or 0)}
    return gettext("The backup is complete: %(file)s, %(size)s.") % values


def why_not_deletable(backup: Backup) -> str:
    """Why a pinned, queued or running backup is not deleted."""
    if backup.pinned:
        text = gettext("The backup of %(time)s is pinned, so it is not deleted. Unpin it first.")
    elif backup.status == Status.RUNNING:
        text = gettext("The backup of %(time)s is being made, so it cannot be deleted now.")
    else:
        text = gettext("The backup of %(time)s is queued, so it cannot be deleted now.")
    return text % {"time": time_in_words(backup)}


def left_in_words(number: int, newest: Backup | None, *, is_future: bool = False) -> str:
    """How many good backups remain, or will, and how old the newest of them is."""
    if newest is None:
        if is_future:
            return gettext("No good backup will remain.")
        return gettext("No good backup remains. Make a new one.")
    if is_future:
        text = ngettext(
            "%(number)d good backup will remain, from %(day)s.",
            "%(number)d good backups will remain. Your newest will be from %(day)s.",
            number,
        )
    else:
        text = ngettext(
            "%(number)d good backup remains, from %(day)s.",
            "%(number)d good backups remain. Your newest is from %(day)s.",
            number,
        )
    return text % {"number": number, "day": _day_and_age(newest.created_at)}


def _day_and_age(at: datetime) -> str:
    """ "November 17 (9 days old)", with the year if it is another one."""
    local, now = timezone.localtime(at), timezone.now()
    is_this_year = local.year == timezone.localtime(now).year
    day = date_format(local, "MONTH_DAY_FORMAT" if is_this_year else "DATE_FORMAT")
    if now - at < timedelta(minutes=1):
        return gettext("%(day)s (made just now)") % {"day": day}
    age, days = timesince(at, now, depth=1), (now - at).days
    if 1 <= days < DAYS_COUNTED:  # Two weeks may be thirteen days or twenty.
        age = ngettext("%(days)d day", "%(days)d days", days) % {"days": days}
    return gettext("%(day)s (%(age)s old)") % {"day": day, "age": age}


def why_it_stays(backup: Backup, now: datetime) -> str:
    """Why retention keeps a backup; empty if its line in the list shows that anyway."""
    if not backup.is_good:
        return ""
    if backup.is_future(now):
        return gettext(
            "It is dated in the future, because the clock was wrong. It is always kept and does "
            "not count towards the limits."
        )
    if backup.is_held(now):
        return gettext("It is held: %(reason)s") % {"reason": reason_to_hold(backup)}
    return ""


def going_in_words(number: int) -> str:
    """How many backups retention will remove after the next one."""
    return ngettext(
        "%(number)d backup will be removed after the next one.",
        "%(number)d backups will be removed after the next one.",
        number,
    ) % {"number": number}


def number_in_words(number: int | None, *, is_complete: bool = True) -> str:
    """A number; if not all could be counted, a round one that there are more than."""
    if number is None or (not number and not is_complete):
        return ""
    if is_complete:
        return number_format(number, 0, use_l10n=True, force_grouping=True)
    step = 10 ** max(0, len(str(number)) - 2)
    less = (number - 1) // step * step
    return gettext("more than %(number)s") % {"number": number_in_words(less)}


def schedule_in_words(settings: BackupSettings) -> str:
    """When a tenant is backed up automatically."""
    if not settings.automatic:
        return gettext("no automatic backups")
    at = settings.time_of_day
    values = {"time": time_format(at, "TIME_FORMAT"), "minute": f"{at.minute:02d}"}
    if settings.interval == Interval.HOURLY:
        return gettext("every hour at about minute %(minute)s") % values
    if step := HOURS_BETWEEN.get(settings.interval):
        hours = range(at.hour % step, 24, step)
        times = [time_format(at.replace(hour=hour), "TIME_FORMAT") for hour in hours]
        return gettext("every day at about %(times)s") % {
            "times": get_text_list(times, gettext("and"))
        }
    if settings.interval == Interval.WEEKLY:
        values["weekday"] = str(settings.get_weekday_display())
        return gettext("every week on %(weekday)s at about %(time)s") % values
    if settings.interval == Interval.MONTHLY:
        values["day"] = str(settings.day_of_month)
        if settings.day_of_month > 28:
            text = gettext("every month on day %(day)s, or its last day, at about %(time)s")
        else:
            text = gettext("every month on day %(day)s at about %(time)s")
        return text % values
    return gettext("every day at about %(time)s") % values


def retention_in_words(settings: BackupSettings) -> str:
    """Which backups a tenant's settings keep. Pinned ones and those made by hand always stay."""
    thinned = get_text_list(_thinning_in_words(settings), gettext("and"))
    if not settings.policy.has_limits:
        return gettext("keep only %(more)s") % {"more": thinned} if thinned else gettext("keep all")
    last, days = settings.keep_last or 0, settings.keep_days or 0
    if not days:
        text = ngettext("keep only the last one", "keep the last %(last)d", last)
    elif not last:
        text = ngettext(
            "keep those of the last %(days)d day", "keep those of the last %(days)d days", days
        )
    else:
        text = ngettext(
            "keep the last %(last)d, but none more than %(days)d day old",
            "keep the last %(last)d, but none more than %(days)d days old",
            days,
        )
    sentence = text % {"last": last, "days": days}
    if not thinned:
        return sentence
    text = gettext("%(limits)s, and beyond that %(more)s")
    return text % {"limits": sentence, "more": thinned}


def _thinning_in_words(settings: BackupSettings) -> list[str]:
    daily, weekly = settings.keep_daily or 0, settings.keep_weekly or 0
    monthly = settings.keep_monthly or 0
    day = ngettext("one a day for %(count)d day", "one a day for %(count)d days", daily)
    week = ngettext("one a week for %(count)d week", "one a week for %(count)d weeks", weekly)
    month = ngettext("one a month for %(count)d month", "one a month for %(count)d months", monthly)
    rules = ((daily, day), (weekly, week), (monthly, month))
    return [text % {"count": count} for count, text in rules if count]


def settings_in_words(settings: BackupSettings) -> str:
    """All of a tenant's settings in one sentence."""
    parts = {"when": capfirst(schedule_in_words(settings)), "kept": retention_in_words(settings)}
    return gettext("%(when)s; %(kept)s.") % parts
