"""Notices: the mails to the operators and to a tenant, put into words and sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from django.conf import settings as project_settings
from django.core.mail import EmailMessage, mail_admins
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext

from tenant_backup import backups
from tenant_backup.models import Alarm
from tenant_backup.monitoring import absence

if TYPE_CHECKING:
    from datetime import datetime

    from tenant_backup.monitoring import Condition, News
    from tenant_backup.monitoring.absence import Absence

logger = logging.getLogger("tenant_backup")

RECOVERED = "recovered"


def send_to_admins(
    news: Sequence[News],
    more: Mapping[str, str],
    *,
    automation: Condition | None,
    absent: Sequence[Absence],
    returned: Sequence[str],
) -> bool | None:
    """Whether the operators' mail could be sent; None where there are none, or no news for them.

    `more` is a last sentence about each tenant, by its id.
    """
    if not project_settings.ADMINS or not (news or automation or absent or returned):
        return None
    try:
        subject = _subject(news, automation=automation, absent=absent, returned=returned)
        paragraphs = [automation.text] if automation else []
        paragraphs += [_about_absent(each) for each in absent]
        if returned:
            text = gettext("The tenant provider lists these tenants again: %(tenants)s")
            paragraphs.append(text % {"tenants": absence.some_of(returned)})
        paragraphs += [_about(each, more[each.tenant.id]) for each in news]
        paragraphs.append(gettext("For the state of all tenants: python manage.py checkbackups"))
        mail_admins(subject, "\n\n".join(paragraphs))
    except Exception:
        logger.exception("The notice to ADMINS could not be sent.")
        return False
    return True


def send_to_tenant(news: News, more: str) -> bool | None:
    """Whether the tenant's own mail could be sent; None where it wants none."""
    judgement, tenant = news.judgement, news.tenant
    address = judgement.settings.notify_email
    if not address:
        return None
    try:
        subject = gettext("Backups of %(tenant)s: %(headline)s") % {
            # A line break in a name would be one in the mail's header.
            "tenant": " ".join(tenant.name.split()),
            "headline": _headline(news),
        }
        findings = [
            replace(finding, reason=backups.without_paths(finding.reason, tenant))
            for finding in judgement.findings
        ]
        advice = gettext("Look at the page of backups, or ask the operator.")
        if not findings:
            advice = gettext("There is nothing to do.")
        told = [_recovered(news), *map(str, findings), judgement.last_good, more]
        body = _lines(*told, _reminder(news), advice)
        EmailMessage(subject, body, to=[address]).send()
    except Exception:
        logger.exception("The notice to %s for tenant %r could not be sent.", address, tenant.id)
        return False
    return True


def _subject(
    news: Sequence[News],
    *,
    automation: Condition | None,
    absent: Sequence[Absence],
    returned: Sequence[str],
) -> str:
    """What has happened, and to how many tenants."""
    parts = [automation.headline] if automation else []
    if number := sum(len(each.tenant_ids) for each in absent):
        text = ngettext("%(number)d tenant disappeared", "%(number)d tenants disappeared", number)
        parts.append(text % {"number": number})
    kinds = [kind for each in news for kind in _kinds(each)]
    parts += [_counted(kind, kinds.count(kind)) for kind in dict.fromkeys(kinds)]
    if number := len(returned):
        text = ngettext("%(number)d tenant is back", "%(number)d tenants are back", number)
        parts.append(text % {"number": number})
    return gettext("Backups: %(counts)s") % {"counts": ", ".join(parts)}


def _counted(kind: str, number: int) -> str:
    """The number of tenants of this kind, in words."""
    texts: dict[str, Callable[[], str]] = {
        Alarm.FAILED: lambda: ngettext(
            "%(number)d tenant failed", "%(number)d tenants failed", number
        ),
        Alarm.OVERDUE: lambda: ngettext(
            "%(number)d tenant overdue", "%(number)d tenants overdue", number
        ),
        Alarm.MISSING: lambda: ngettext(
            "backups of %(number)d tenant missing or damaged",
            "backups of %(number)d tenants missing or damaged",
            number,
        ),
        Alarm.FUTURE: lambda: ngettext(
            "%(number)d tenant with nothing but backups dated in the future",
            "%(number)d tenants with nothing but backups dated in the future",
            number,
        ),
        RECOVERED: lambda: ngettext(
            "%(number)d tenant recovered", "%(number)d tenants recovered", number
        ),
    }
    if kind not in texts:
        return f"{number} {Alarm(kind).label}"
    return texts[kind]() % {"number": number}


def _kinds(news: News) -> list[str]:
    """What the subject counts a tenant as: by what is wrong, as long as anything is."""
    alarms = [finding.alarm for finding in news.judgement.findings]
    if not alarms:
        return [RECOVERED]
    lost = [Alarm.MISSING] if Alarm.MISSING in alarms[1:] else []
    return [alarms[0].value, *(alarm.value for alarm in lost)]


def _headline(news: News) -> str:
    words = {RECOVERED: gettext("recovered")}
    return ", ".join(words.get(kind) or str(Alarm(kind).label) for kind in _kinds(news))


def _about(news: News, more: str) -> str:
    """A paragraph about a tenant, for the operators."""
    judgement, tenant = news.judgement, news.tenant
    sentences = [_recovered(news), *map(str, judgement.findings), judgement.last_good, more]
    return _lines(f"{tenant.id} ({tenant.name}): {_headline(news)}", *sentences, _reminder(news))


def _about_absent(absent: Absence) -> str:
    if not absent.tenant_id:
        return str(absent)
    return _lines(f"{absence.some_of(absent.tenant_ids)}: {gettext('disappeared')}", str(absent))


def _recovered(news: News) -> str:
    """That a backup has succeeded, where something else is wrong all the same."""
    if not news.has_recovered or not news.judgement.findings:
        return ""
    return gettext("A backup has succeeded again, but something else is wrong.")


def _reminder(news: News) -> str:
    if not news.last_told_at:
        return ""
    text = gettext("This is a reminder. The last notice was sent on %(time)s.")
    return text % {"time": _day(news.last_told_at)}


def _day(at: datetime) -> str:
    return str(date_format(timezone.localtime(at), "DATE_FORMAT"))


def _lines(*sentences: str) -> str:
    return "\n".join(filter(None, sentences))
