"""Mails: the notices to the operators and to a tenant, rendered from templates and sent.

A host may override the templates in `tenant_backup/mail/`.
"""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.conf import settings as project_settings
from django.core.mail import EmailMessage, mail_admins
from django.template.loader import render_to_string
from django.utils.translation import gettext, ngettext, ngettext_lazy

from tenant_backup import backups, rows
from tenant_backup.contact import after_the_operator
from tenant_backup.models import Recipient, RestoreRequest, TenantState, Verdict
from tenant_backup.monitoring import absence
from tenant_backup.monitoring.absence import Absence
from tenant_backup.monitoring.verdict import Finding, Judgement, in_words
from tenant_backup.tenants import on_the_site, url_for

logger = logging.getLogger("tenant_backup")

NUMBERS = {
    Verdict.WELL: ngettext_lazy(
        "%(number)d tenant recovered", "%(number)d tenants recovered", "number"
    ),
    Verdict.NO_ROOM: ngettext_lazy(
        "%(number)d tenant without room for a backup",
        "%(number)d tenants without room for a backup",
        "number",
    ),
    Verdict.CHECK_FAILED: ngettext_lazy(
        "the data of %(number)d tenant did not pass their check",
        "the data of %(number)d tenants did not pass their check",
        "number",
    ),
    Verdict.ROWS_LOST: ngettext_lazy(
        "%(number)d tenant lost rows", "%(number)d tenants lost rows", "number"
    ),
    Verdict.MISSING: ngettext_lazy(
        "backups of %(number)d tenant missing or damaged",
        "backups of %(number)d tenants missing or damaged",
        "number",
    ),
    Verdict.FUTURE: ngettext_lazy(
        "%(number)d tenant with nothing but backups dated in the future",
        "%(number)d tenants with nothing but backups dated in the future",
        "number",
    ),
    Verdict.FAILED: ngettext_lazy(
        "%(number)d tenant failed", "%(number)d tenants failed", "number"
    ),
    Verdict.OVERDUE: ngettext_lazy(
        "%(number)d tenant overdue", "%(number)d tenants overdue", "number"
    ),
    Verdict.DISAPPEARED: ngettext_lazy(
        "%(number)d tenant disappeared", "%(number)d tenants disappeared", "number"
    ),
    Verdict.INVALID: ngettext_lazy(
        "%(number)d tenant not valid", "%(number)d tenants not valid", "number"
    ),
}
"""What the subject says of a number of tenants. One that is well again has recovered."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The state of automation, for a notice."""

    trouble: str
    """What is wrong, in a word that is stored; empty if nothing is, or if nobody waits for it."""
    headline: str
    text: str
    is_running: bool


@dataclass(slots=True)
class News:
    """What is to be told about a tenant. The templates of mails may rely on the attributes."""

    judgement: Judgement
    next_attempt: str = ""
    """When the next backup is tried, in a sentence; empty if that is of no interest."""
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
        return ", ".join(
            gettext("recovered") if kind is Verdict.WELL else str(kind.label) for kind in self.kinds
        )

    @property
    def kinds(self) -> list[Verdict]:
        """What the subject counts a tenant as: by what is wrong, as long as anything is."""
        trouble = self.judgement.trouble
        others = (Verdict.MISSING, Verdict.ROWS_LOST)
        more = [kind for kind in others if kind is not trouble and self.judgement.finding(kind)]
        return [trouble, *more]


@dataclass(slots=True)
class Bulletin:
    """Everything to report at one time. A tenant also gets what is about itself."""

    news: list[News] = field(default_factory=list)
    unsent: list[News] = field(default_factory=list)
    """What all but one have been told, whom no mail has reached yet."""
    automation: Condition | None = None
    absent: list[TenantState] = field(default_factory=list)
    returned: list[TenantState] = field(default_factory=list)
    asked: list[RestoreRequest] = field(default_factory=list)
    """Requests for lost data that no mail has told of yet."""

    @property
    def has_only_news(self) -> bool:
        return not (self.unsent or self.automation or self.absent or self.returned or self.asked)

    def unsent_to(self, recipient: Recipient) -> list[News]:
        return [each for each in self.unsent if each.judgement.state.unsent_to == recipient]


def address_of(judgement: Judgement) -> str:
    """The tenant's own address for notices; empty if it wants none, or is not valid."""
    return judgement.settings.notify_email if judgement.tenant else ""


def next_attempt(judgement: Judgement, now: datetime, *, is_paused: bool) -> str:
    """When an automatic backup is tried again, if anything is wrong and it will be."""
    settings = judgement.settings
    if not judgement.findings or not judgement.tenant or not settings.automatic:
        return ""
    if is_paused:
        return gettext("Automation is paused, so no automatic backup is made.")
    if settings.next_run_at is None or settings.next_run_at <= now:
        return ""
    text = gettext("The next attempt is at %(time)s.")
    return text % {"time": in_words(settings.next_run_at, judgement.tenant)}


def send_to_admins(bulletin: Bulletin) -> bool | None:
    """Whether the operators' mail could be sent; None if there are none, or nothing to report."""
    news = [*bulletin.news, *bulletin.unsent_to(Recipient.ADMINS)]
    automation, absent = bulletin.automation, absence.grouped(bulletin.absent)
    returned = [each.tenant_id for each in bulletin.returned]
    asked = bulletin.asked
    if not project_settings.ADMINS or not (news or automation or absent or returned or asked):
        return None
    try:
        context: dict[str, Any] = {
            "counts": _counts(news, automation, absent, returned, asked),
            "automation": automation,
            "absent": [(absence.some_of(each.tenant_ids), each) for each in absent],
            "returned": absence.some_of(returned),
            "asked": [(each, _as_quote(each.note), rows.commands_for(each)) for each in asked],
            "news": news,
            "link": on_the_site("admin:tenant_backup_backupsettings_changelist"),
        }
        mail_admins(*_subject_and_body("operators", context))
    except Exception:
        logger.exception("The notice to ADMINS could not be sent.")
        return False
    return True


def send_to_tenant(news: News) -> bool | None:
    """Whether the tenant's own mail could be sent; None if it wants none."""
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
        context = {
            "item": replace(news, judgement=replace(judgement, findings=findings)),
            "link": url_for(tenant),
            "contact": after_the_operator(),
        }
        EmailMessage(*_subject_and_body("tenant", context), to=[address]).send()
    except Exception:
        logger.exception("The notice to %s for tenant %r could not be sent.", address, tenant.id)
        return False
    return True


def _subject_and_body(recipient: str, context: dict[str, Any]) -> tuple[str, str]:
    """The subject is one line: a line break in a name would be one in the mail's header."""
    subject = render_to_string(f"tenant_backup/mail/{recipient}_subject.txt", context)
    body = render_to_string(f"tenant_backup/mail/{recipient}.txt", context)
    return " ".join(subject.split()), re.sub(r"\n{3,}", "\n\n", body).strip()


def _as_quote(text: str) -> str:
    """What somebody has written, such that nobody takes it for what this app says."""
    return "\n".join(f"> {line}" for line in text.splitlines())


def _counts(
    news: Sequence[News],
    automation: Condition | None,
    absent: Sequence[Absence],
    returned: Sequence[str],
    asked: Sequence[RestoreRequest],
) -> list[str]:
    """What has happened, and to how many tenants."""
    counts = [automation.headline] if automation else []
    if number := sum(len(each.tenant_ids) for each in absent):
        counts.append(NUMBERS[Verdict.DISAPPEARED] % {"number": number})
    numbers = Counter(kind for each in news for kind in each.kinds)
    counts += [NUMBERS[kind] % {"number": number} for kind, number in numbers.items()]
    if number := len(returned):
        text = ngettext("%(number)d tenant is back", "%(number)d tenants are back", number)
        counts.append(text % {"number": number})
    if number := len(asked):
        text = ngettext(
            "%(number)d tenant asks for lost data",
            "%(number)d tenants ask for lost data",
            number,
        )
        counts.append(text % {"number": number})
    return counts
