"""What settings mean, for people: in a few words, with dates, and in bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format, time_format
from django.utils.translation import gettext, ngettext

from tenant_backup import backups
from tenant_backup.files import size_in_words
from tenant_backup.models import BackupSettings, Interval
from tenant_backup.outlook import Outlook, outlook
from tenant_backup.presets import PRESETS
from tenant_backup.tenants import Tenant
from tenant_backup.words import going_in_words, settings_in_words


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the choices in the settings form mean; all empty while they are not valid."""

    summary: str = ""
    outlook: str = ""
    going: str = ""
    is_saved: bool = True


@dataclass(frozen=True, slots=True)
class Offer:
    """A preset as the form offers it."""

    name: str
    label: str
    room: str
    """How much room it takes; empty if that is not known, or if it makes no backups."""
    is_current: bool
    """Whether the saved settings are these."""
    fields: str
    """The fields that it fills in, in JSON."""


def in_short(settings: BackupSettings) -> str:
    """The essence of the settings: "every day at 2 a.m., the last 14"."""
    if not settings.automatic:
        return gettext("only by hand")
    parts = {"when": _when_in_short(settings), "kept": _kept_in_short(settings)}
    return gettext("%(when)s, %(kept)s") % parts


def meaning_of(
    tenant: Tenant, settings: BackupSettings, coming: backups.Prospect, database_bytes: int | None
) -> Meaning:
    """What saved settings mean. What they remove, the list of backups says."""
    return Meaning(settings_in_words(settings), _outlook(tenant, settings, coming, database_bytes))


def meaning_unsaved(
    tenant: Tenant, settings: BackupSettings, database_bytes: int | None
) -> Meaning:
    """What settings would mean if somebody saved them."""
    coming = backups.prospect(tenant, settings)
    going = len(coming.removals)
    return Meaning(
        settings_in_words(settings),
        _outlook(tenant, settings, coming, database_bytes),
        going_in_words(going) if going else "",
        is_saved=False,
    )


def offers(tenant: Tenant, settings: BackupSettings, database_bytes: int | None) -> Iterator[Offer]:
    """The presets, each with the room that it takes at today's size."""
    for preset in PRESETS:
        chosen = copy(settings)
        for name, value in preset.fields.items():
            setattr(chosen, name, value)
        room = ""
        if chosen.automatic and database_bytes:
            coming = _in_time(tenant, chosen, timezone.now(), database_bytes)
            values = {"size": size_in_words(coming.bytes)}
            room = gettext("about %(size)s at today's size") % values
        is_current = all(getattr(settings, name) == preset.fields[name] for name in preset.fields)
        fields = json.dumps(preset.as_typed)
        yield Offer(preset.name, str(preset.label), room, is_current, fields)


def _in_time(tenant: Tenant, settings: BackupSettings, now: datetime, size: int) -> Outlook:
    return outlook(settings.rule, settings.policy, tenant.zone, now, size)


def _outlook(
    tenant: Tenant,
    settings: BackupSettings,
    coming: backups.Prospect,
    database_bytes: int | None,
) -> str:
    """What stays of the backups that there are, and what there will be in time."""
    sentences = [_staying(coming)]
    if settings.automatic:
        in_time = _in_time(tenant, settings, timezone.now(), database_bytes or 0)
        sentences.append(_growing(in_time) if in_time.is_growing else _later(in_time))
        if database_bytes:
            sentences.append(_room(in_time))
    return " ".join(sentences)


def _staying(coming: backups.Prospect) -> str:
    if not coming.number:
        return gettext("There is no good backup yet.")
    if coming.oldest is None:
        return gettext("Of the backups that there are, this keeps none once the next one is there.")
    values = {
        "staying": coming.staying,
        "number": coming.number,
        "date": date_format(timezone.localtime(coming.oldest), "DATE_FORMAT"),
    }
    if coming.staying < coming.number:
        text = gettext(
            "Of the %(number)d backups that there are, this keeps %(staying)d, the oldest "
            "from %(date)s."
        )
    elif coming.number > 1:
        text = gettext(
            "This keeps all %(number)d backups that there are, the oldest from %(date)s."
        )
    else:
        text = gettext("This keeps the one backup that there is, from %(date)s.")
    return text % values


def _later(in_time: Outlook) -> str:
    values = {"number": in_time.number, "back": _back(in_time.age)}
    if in_time.is_more:
        text = gettext(
            "Later it keeps more than %(number)d automatic ones, back to %(back)s or longer."
        )
        return text % values
    if in_time.number == 1:
        return gettext("Later it keeps one automatic backup.")
    if in_time.is_varying:
        text = gettext("Later it keeps up to about %(number)d automatic ones, back to %(back)s.")
    else:
        text = gettext("Later it keeps up to %(number)d automatic ones, back to %(back)s.")
    return text % values


def _growing(in_time: Outlook) -> str:
    text = ngettext(
        "Nothing is ever removed: each year adds about %(number)d backup.",
        "Nothing is ever removed: each year adds about %(number)d backups.",
        in_time.number,
    )
    return text % {"number": in_time.number}


def _room(in_time: Outlook) -> str:
    if in_time.is_more:
        text = gettext("They take up more than %(size)s at today's size of the database.")
    elif in_time.number == 1:
        text = gettext("It takes up about %(size)s at today's size of the database.")
    else:
        text = gettext("They take up about %(size)s at today's size of the database.")
    return text % {"size": size_in_words(in_time.bytes)}


def _back(age: timedelta) -> str:
    """A moment so long ago, roughly: "about 3 months ago"."""
    if age < timedelta(days=2):
        hours = max(1, round(age / timedelta(hours=1)))
        text = ngettext("about %(number)d hour ago", "about %(number)d hours ago", hours)
        return text % {"number": hours}
    days = round(age / timedelta(days=1))
    if days < 60:
        text = ngettext("about %(number)d day ago", "about %(number)d days ago", days)
        return text % {"number": days}
    months = round(days * 12 / 365.25)
    if months == 12:
        return gettext("about a year ago")
    if months < 24:
        text = ngettext("about %(number)d month ago", "about %(number)d months ago", months)
        return text % {"number": months}
    years = round(months / 12)
    text = ngettext("about %(number)d year ago", "about %(number)d years ago", years)
    return text % {"number": years}


def _when_in_short(settings: BackupSettings) -> str:
    values = {
        "time": time_format(settings.time_of_day, "TIME_FORMAT"),
        "weekday": settings.get_weekday_display(),
        "day": settings.day_of_month,
    }
    if settings.interval == Interval.DAILY:
        return gettext("every day at %(time)s") % values
    if settings.interval == Interval.WEEKLY:
        return gettext("every %(weekday)s at %(time)s") % values
    if settings.interval == Interval.MONTHLY:
        return gettext("every month on day %(day)s") % values
    return settings.get_interval_display()


def _kept_in_short(settings: BackupSettings) -> str:
    last, days, thins = settings.keep_last, settings.keep_days, settings.policy.thins
    if not settings.policy.has_limits:
        return gettext("older ones thinned out") if thins else gettext("all are kept")
    if last is not None and days is not None:
        text = ngettext(
            "at most %(last)d, of the last day",
            "at most %(last)d, of the last %(number)d days",
            days,
        )
        kept = text % {"last": last, "number": days}
        return gettext("%(kept)s and some older ones") % {"kept": kept} if thins else kept
    if last is not None:
        text = ngettext("the last one", "the last %(number)d", last)
        kept = text % {"number": last}
    else:
        text = ngettext("the last day", "the last %(number)d days", days or 0)
        kept = text % {"number": days}
    return gettext("%(kept)s and some older ones") % {"kept": kept} if thins else kept
