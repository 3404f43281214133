"""Mails: the notices to the operators and to a tenant, rendered from templates and sent.

A host may override the templates in `tenant_backup/mail/`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings as project_settings
from django.core.mail import EmailMessage, mail_admins
from django.template.loader import render_to_string
from django.utils.translation import gettext, ngettext

from tenant_backup import backups
from tenant_backup.models import Verdict
from tenant_backup.monitoring import absence
from tenant_backup.monitoring.absence import Absence
from tenant_backup.monitoring.verdict import Finding, Judgement, in_words

logger = logging.getLogger("tenant_backup")

RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Condition:
    """How automation stands, as far as somebody is to be notified."""

    trouble: str
    """What is wrong, in a word that is stored; empty where nothing is, or nobody waits for it."""
    headline: str
    text: str
    is_running: bool


@dataclass(frozen=True, slots=True)
class News:
    """What is to be told about a tenant. The templates of mails may rely on the properties."""

    judgement: Judgement
    next_attempt: str = ""
    """When the next backup is tried, in a sentence, where somebody would like to know."""
    has_recovered: bool = False
    """Whether a backup has succeeded since the last notice."""
    last_notified_at: datetime | None = None
    """When the same was told before, if this is a reminder."""

    @property
    def tenant_id(self) -> str:
        return self.judgement.tenant_id

    @property
    def name(self) -> str:
        return self.judgement.name

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.judgement.findings

    @property
    def last_good(self) -> str:
        return self.judgement.last_good

    @property
    def headline(self) -> str:
        """What is wrong, in a few words: "overdue", "failed, backups missing or damaged"."""
        words = {RECOVERED: gettext("recovered")}
        return ", ".join(words.get(kind) or str(Verdict[kind].label) for kind in self.kinds)

    @property
    def kinds(self) -> list[str]:
        """What the subject counts a tenant as: by what is wrong, as long as anything is."""
        if not self.findings:
            return [RECOVERED]
        names = [self.judgement.verdict.name]
        if self.judgement.finding(Verdict.MISSING) and Verdict.MISSING.name not in names:
            names.append(Verdict.MISSING.name)
        return names


def address_of(judgement: Judgement) -> str:
    """The tenant's own address for notices; empty where it wants none, or is not valid."""
    return judgement.settings.notify_email if judgement.tenant else ""


def next_attempt(judgement: Judgement, now: datetime, *, is_paused: bool) -> str:
    """When it is tried again, where somebody would like to know and it will be."""
    settings = judgement.settings
    if not judgement.findings or not judgement.tenant or not settings.automatic:
        return ""
    if is_paused:
        return gettext("Automation is paused, so no automatic backup is made.")
    if settings.next_run_at is None or settings.next_run_at <= now:
        return ""
    text = gettext("The next attempt is at %(time)s.")
    return text % {"time": in_words(settings.next_run_at, judgement.tenant)}


def send_to_admins(
    news: Sequence[News],
    *,
    automation: Condition | None,
    absent: Sequence[Absence],
    returned: Sequence[str],
) -> bool | None:
    """Whether the operators' mail could be sent; None where there are none, or no news for them."""
    if not project_settings.ADMINS or not (news or automation or absent or returned):
        return None
    try:
        context = {
            "counts": _counts(news, automation=automation, absent=absent, returned=returned),
            "automation": automation,
            "absent": [(absence.some_of(each.tenant_ids), each) for each in absent],
            "returned": absence.some_of(returned),
            "news": news,
        }
        mail_admins(_subject("operators", context), _body("operators", context))
    except Exception:
        logger.exception("The notice to ADMINS could not be sent.")
        return False
    return True


def send_to_tenant(news: News) -> bool | None:
    """Whether the tenant's own mail could be sent; None where it wants none."""
    judgement, tenant = news.judgement, news.judgement.tenant
    address = address_of(judgement)
    if not address or tenant is None:
        return None
    try:
        # Where files are on the server is for operators only.
        findings = tuple(
            replace(finding, reason=backups.without_paths(finding.reason, tenant))
            for finding in judgement.findings
        )
        context = {"item": replace(news, judgement=replace(judgement, findings=findings))}
        EmailMessage(_subject("tenant", context), _body("tenant", context), to=[address]).send()
    except Exception:
        logger.exception("The notice to %s for tenant %r could not be sent.", address, tenant.id)
        return False
    return True


def _subject(recipient: str, context: Mapping[str, Any]) -> str:
    """One line: a line break in a name would be one in the mail's header."""
    text = render_to_string(f"tenant_backup/mail/{recipient}_subject.txt", dict(context))
    return " ".join(text.split())


def _body(recipient: str, context: Mapping[str, Any]) -> str:
    text = render_to_string(f"tenant_backup/mail/{recipient}.txt", dict(context))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _counts(
    news: Sequence[News],
    *,
    automation: Condition | None,
    absent: Sequence[Absence],
    returned: Sequence[str],
) -> list[str]:
    """What has happened, and to how many tenants."""
    counts = [automation.headline] if automation else []
    if number := sum(len(each.tenant_ids) for each in absent):
        counts.append(_counted(Verdict.DISAPPEARED.name, number))
    kinds = [kind for each in news for kind in each.kinds]
    counts += [_counted(kind, kinds.count(kind)) for kind in dict.fromkeys(kinds)]
    if number := len(returned):
        text = ngettext("%(number)d tenant is back", "%(number)d tenants are back", number)
        counts.append(text % {"number": number})
    return counts


def _counted(kind: str, number: int) -> str:
    """The number of tenants of this kind, in words."""
    texts: dict[str, Callable[[], str]] = {
        Verdict.NO_ROOM.name: lambda: ngettext(
            "%(number)d tenant without room for a backup",
            "%(number)d tenants without room for a backup",
            number,
        ),
        Verdict.MISSING.name: lambda: ngettext(
            "backups of %(number)d tenant missing or damaged",
            "backups of %(number)d tenants missing or damaged",
            number,
        ),
        Verdict.FUTURE.name: lambda: ngettext(
            "%(number)d tenant with nothing but backups dated in the future",
            "%(number)d tenants with nothing but backups dated in the future",
            number,
        ),
        Verdict.FAILED.name: lambda: ngettext(
            "%(number)d tenant failed", "%(number)d tenants failed", number
        ),
        Verdict.OVERDUE.name: lambda: ngettext(
            "%(number)d tenant overdue", "%(number)d tenants overdue", number
        ),
        Verdict.DISAPPEARED.name: lambda: ngettext(
            "%(number)d tenant disappeared", "%(number)d tenants disappeared", number
        ),
        Verdict.INVALID.name: lambda: ngettext(
            "%(number)d tenant not valid", "%(number)d tenants not valid", number
        ),
        RECOVERED: lambda: ngettext(
            "%(number)d tenant recovered", "%(number)d tenants recovered", number
        ),
    }
    return texts[kind]() % {"number": number}
