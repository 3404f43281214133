"""Monitoring: whose backups need somebody, and who is told so.

How a tenant stands is judged anew each time, from the catalog. What was seen and what was told last
stands in its settings row, and only a change is told: once, however many processes look, and later
where a mail could not be sent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings as project_settings
from django.core.mail import EmailMessage, mail_admins
from django.db import transaction
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext

from tenant_backup import backups
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, said
from tenant_backup.models import (
    Action,
    Alarm,
    Automation,
    Backup,
    BackupSettings,
    Event,
    Recipient,
    Status,
)
from tenant_backup.schedule import next_slot, overdue_at
from tenant_backup.tenants import Tenant, fault_of, get_provider

logger = logging.getLogger("tenant_backup")

NOTICES_APART = timedelta(minutes=10)
"""Notices are sent at most so often; what happens meanwhile comes with the next ones, together."""

CALM = timedelta(hours=12)
"""A new alarm about a tenant comes at the earliest so long after the last one, unless the trouble
became worse meanwhile: a backup that fails every other time shall not fill anybody's mailbox."""

TIME_TO_START = timedelta(minutes=15)
"""So long a queued backup counts as under way, though no worker has taken it up."""

A_MOMENT = timedelta(minutes=1)
"""A backup that is being deleted is marked missing, and its row is gone a moment later."""

GRAVE = {Alarm.FAILED.value, Alarm.OVERDUE.value}
GRAVITY = [alarm.value for alarm in (Alarm.NONE, Alarm.MISSING, Alarm.FAILED, Alarm.OVERDUE)]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a tenant's backups: of which kind, and in sentences."""

    alarm: Alarm
    text: str
    reason: str = ""
    """What an error said; it may name paths on the server."""

    def __str__(self) -> str:
        return f"{self.text} {self.reason}".rstrip()


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a tenant's backups stand; without findings, all is well. The gravest comes first."""

    tenant: Tenant
    settings: BackupSettings
    findings: tuple[Finding, ...]
    is_under_way: bool
    """A backup is being made, or is about to be."""

    @property
    def alarm(self) -> Alarm:
        return self.findings[0].alarm if self.findings else Alarm.NONE

    @property
    def last_good(self) -> str:
        """A sentence about the last good backup."""
        if not self.settings.last_good_at:
            return gettext("There is no good backup.")
        text = gettext("The last good backup is of %(time)s.")
        return text % {"time": _in_words(self.settings.last_good_at, self.tenant)}


def inspect(tenant: Tenant) -> Judgement:
    """How a tenant's backups stand, after a look at whether their files are there.

    Raises `BackupError` where the tenant itself is not valid.
    """
    if fault := fault_of(tenant):
        raise BackupError(fault)
    BackupSettings.objects.ensure([tenant.id])
    backups.look(tenant)
    directory = backups.directory_of(tenant)
    now = timezone.now()
    [facts] = _facts([tenant], now, lost_by=now)
    judgement = _judge(*facts, now, looks_interrupted=True)
    if judgement.settings.last_good_at and not directory.is_there():
        text = gettext("The backup directory is not there, or out of reach:")
        finding = Finding(Alarm.MISSING, text, str(directory.path))
        return replace(judgement, findings=(*judgement.findings, finding))
    return judgement


def judge(tenants: Sequence[Tenant], now: datetime) -> list[Judgement]:
    """How these tenants' backups stand, in their order; one without settings is passed over.

    By the catalog alone, in two queries, however many tenants there are.
    """
    judgements = []
    for facts in _facts(tenants, now, lost_by=now - A_MOMENT):
        try:
            judgements.append(_judge(*facts, now))
        except Exception:
            # Nonsense in one row keeps no other tenant from being judged.
            logger.exception("The backups of tenant %r cannot be judged.", facts[0].id)
    return judgements


def retired(tenants: Sequence[Tenant]) -> list[str]:
    """The ids with settings that are none of these tenants', who are all that there are."""
    known = {tenant.id for tenant in tenants}
    ids = BackupSettings.objects.order_by("tenant_id").values_list("tenant_id", flat=True)
    return [tenant_id for tenant_id in ids if tenant_id not in known]


def notify(now: datetime | None = None) -> None:
    """Note who needs somebody, and mail what has changed: to `ADMINS`, and to the tenants' own.

    Told are a failure, being overdue, files that are missing or damaged, and recovery. A mail that
    cannot be sent is logged and tried again. Nothing is raised: no backup shall fail for a notice.
    """
    try:
        _notify(now or timezone.now())
    except Exception:
        logger.exception("Nobody could be told of what has changed.")


def _notify(now: datetime) -> None:
    automation = Automation.load()
    tenants = [tenant for tenant in get_provider().all_tenants() if not fault_of(tenant)]
    judgements = judge(tenants, now)
    for judgement in judgements:
        _note(judgement, now)
    news: list[Judgement] = []
    late: list[Judgement] = []
    for judgement in judgements:
        if _is_news(judgement, now):
            news.append(judgement)
        elif _gravity(judgement.settings.alarm) < _gravity(judgement.settings.told):
            # It is over, though nothing has succeeded: by another setting, say.
            _remember_told(judgement, now)
        elif judgement.settings.untold and judgement.alarm == judgement.settings.told:
            late.append(judgement)
    last = automation.notified_at
    if not (news or late) or (last and abs(now - last) < NOTICES_APART):
        return
    # Of several processes that see the same news, one tells it.
    if Automation.objects.filter(notified_at=last).update(notified_at=now):
        _tell(news, late, now, is_paused=automation.paused_at is not None)


def _facts(
    tenants: Sequence[Tenant], now: datetime, *, lost_by: datetime
) -> list[tuple[Tenant, BackupSettings, Backup | None]]:
    """What is judged by; what was found missing or damaged after `lost_by` does not count yet."""
    rows = BackupSettings.objects.filter(tenant_id__in=[tenant.id for tenant in tenants])
    by_id = {row.tenant_id: row for row in rows.with_latest(now, lost_by=lost_by)}
    active = {backup.tenant_id: backup for backup in Backup.objects.active()}
    return [
        (tenant, by_id[tenant.id], active.get(tenant.id))
        for tenant in tenants
        if tenant.id in by_id
    ]


def _judge(
    tenant: Tenant,
    settings: BackupSettings,
    active: Backup | None,
    now: datetime,
    *,
    looks_interrupted: bool = False,
) -> Judgement:
    """How a tenant stands by these facts.

    With `looks_interrupted`, a running backup that stands still counts as failed. It is for people
    who look now: whoever sends mails mends such a row first, and then knows.
    """
    is_under_way = active is not None and _is_under_way(tenant, active, now)
    last_good_at, last_failed_at = settings.last_good_at, settings.last_failed_at
    findings = []
    if settings.automatic and not is_under_way:
        scheduled_since = min(settings.scheduled_since, now)
        since = max(scheduled_since, last_good_at or scheduled_since)
        if now > overdue_at(settings.rule, tenant.id, tenant.zone, since):
            slot_at = next_slot(settings.rule, tenant.id, tenant.zone, since)
            text = gettext("A backup was due at %(time)s, and none has succeeded since.")
            findings.append(Finding(Alarm.OVERDUE, text % {"time": _in_words(slot_at, tenant)}))
    if looks_interrupted and active and active.status == Status.RUNNING and not is_under_way:
        text = gettext("The last attempt, at %(time)s, seems to have been interrupted.")
        values = {"time": _in_words(active.created_at, tenant)}
        findings.append(Finding(Alarm.FAILED, text % values))
    elif last_failed_at and (not last_good_at or last_failed_at > last_good_at):
        text = gettext("The last attempt, at %(time)s, failed.")
        reason = said(settings.last_error, settings.last_error_data)
        values = {"time": _in_words(last_failed_at, tenant)}
        findings.append(Finding(Alarm.FAILED, text % values, reason))
    if settings.missing:
        text = ngettext(
            "The file of %(number)d backup is missing or damaged.",
            "The files of %(number)d backups are missing or damaged.",
            settings.missing,
        )
        findings.append(Finding(Alarm.MISSING, text % {"number": settings.missing}))
    if settings.last_future_at and not last_good_at:
        text = gettext(
            "Each good backup is dated in the future, the newest %(time)s, so the clock was wrong: "
            "none of them counts."
        )
        values = {"time": _in_words(settings.last_future_at, tenant)}
        findings.append(Finding(Alarm.MISSING, text % values))
    return Judgement(tenant, settings, tuple(findings), is_under_way)


def _is_under_way(tenant: Tenant, active: Backup, now: datetime) -> bool:
    if active.status == Status.RUNNING:
        return backups.is_moving(tenant, active, now)
    return abs(now - active.created_at) < TIME_TO_START


def _gravity(alarm: str) -> int:
    return GRAVITY.index(alarm)


def _note(judgement: Judgement, now: datetime) -> None:
    """Note another alarm than before in the tenant's settings, the history and the log."""
    row, alarm = judgement.settings, judgement.alarm
    is_less = _gravity(alarm) < _gravity(row.alarm)
    # What is under way may succeed or fail. Wait and see.
    if alarm == row.alarm or (is_less and judgement.is_under_way):
        return
    changes: dict[str, Any] = {"alarm": alarm}
    if not is_less and alarm in GRAVE:
        changes["alarmed_at"] = now
    has_recovered = _has_recovered(judgement, row.alarm)
    with transaction.atomic(using=conf.CATALOG_DATABASE):
        # Of several processes that see the same, one notes it.
        if not BackupSettings.objects.filter(pk=row.pk, alarm=row.alarm).update(**changes):
            return
        if not is_less and alarm == Alarm.OVERDUE:
            Event.record(Action.OVERDUE, row.tenant_id, detail=str(judgement.findings[0]))
        elif has_recovered:
            Event.record(Action.RECOVERED, row.tenant_id, detail=judgement.last_good)
    vars(row).update(changes)


def _is_news(judgement: Judgement, now: datetime) -> bool:
    """Whether somebody is to be told now: of what became worse, and of recovery."""
    row, alarm = judgement.settings, judgement.alarm
    if alarm != row.alarm or alarm == row.told:
        return False
    if _gravity(alarm) < _gravity(row.told):
        return _has_recovered(judgement, row.told)
    if alarm == Alarm.MISSING or row.told == Alarm.FAILED:
        return True
    return row.told_at is None or not now - CALM < row.told_at <= now


def _has_recovered(judgement: Judgement, before: str) -> bool:
    """Whether a backup has succeeded since that alarm: it is not over by another setting, say."""
    row = judgement.settings
    if before not in GRAVE or judgement.alarm in GRAVE or not row.last_success_at:
        return False
    return row.alarmed_at is None or row.last_success_at > row.alarmed_at


def _remember_told(judgement: Judgement, now: datetime, *, but_not: str = "") -> None:
    """Remember that it was told; `but_not` is who could not be reached so far."""
    row = judgement.settings
    changes: dict[str, Any] = {"told": row.alarm, "untold": but_not}
    if row.alarm in GRAVE:
        changes["told_at"] = now
    BackupSettings.objects.filter(pk=row.pk, told=row.told).update(**changes)


def _forget_untold(judgement: Judgement) -> None:
    BackupSettings.objects.filter(pk=judgement.settings.pk).update(untold="")


def _tell(
    news: Sequence[Judgement], late: Sequence[Judgement], now: datetime, *, is_paused: bool
) -> None:
    """Mail the news, and what is `late`: to the one who could not be reached when it was news.

    Each is remembered at once, one by one: a mail server that keeps us waiting may end this
    process, and what was told is not told again.
    """
    more = {each.tenant.id: _next_attempt(each, now, is_paused) for each in (*news, *late)}
    late_for = {
        recipient: [each for each in late if each.settings.untold == recipient]
        for recipient in Recipient
    }
    by_admins = _send_to_admins([*news, *late_for[Recipient.ADMINS]], more)
    if by_admins:
        for judgement in late_for[Recipient.ADMINS]:
            _forget_untold(judgement)
        for judgement in news:
            wants_mail = bool(judgement.settings.notify_email)
            _remember_told(judgement, now, but_not=Recipient.TENANT if wants_mail else "")
    for judgement in (*news, *late_for[Recipient.TENANT]):
        reached = _send_to_tenant(judgement, more[judgement.tenant.id])
        if by_admins or judgement not in news:
            if reached is not False:
                _forget_untold(judgement)
        elif reached:
            _remember_told(judgement, now, but_not="" if by_admins is None else Recipient.ADMINS)
        elif reached is None and by_admins is None:
            _remember_told(judgement, now)  # nobody wants to hear it


def _send_to_admins(news: Sequence[Judgement], more: Mapping[str, str]) -> bool | None:
    """Whether the operators' mail could be sent; None where there are none, or no news for them."""
    if not project_settings.ADMINS or not news:
        return None
    kinds = [_headline(judgement) for judgement in news]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    paragraphs = []
    for judgement, kind in zip(news, kinds, strict=True):
        tenant = judgement.tenant
        sentences = [*map(str, judgement.findings), judgement.last_good, more[tenant.id]]
        paragraphs.append(_lines(f"{tenant.id} ({tenant.name}): {kind}", *sentences))
    paragraphs.append(gettext("How all tenants stand, says: python manage.py checkbackups"))
    try:
        mail_admins(gettext("Backups: %(counts)s") % {"counts": counts}, "\n\n".join(paragraphs))
    except Exception:
        logger.exception("The notice to ADMINS could not be sent.")
        return False
    return True


def _send_to_tenant(judgement: Judgement, more: str) -> bool | None:
    """Whether the tenant's own mail could be sent; None where it wants none."""
    tenant, address = judgement.tenant, judgement.settings.notify_email
    if not address:
        return None
    try:
        subject = gettext("Backups of %(tenant)s: %(headline)s") % {
            # A line break in a name would be one in the mail's header.
            "tenant": " ".join(tenant.name.split()),
            "headline": _headline(judgement),
        }
        findings = [
            replace(finding, reason=backups.without_paths(finding.reason, tenant))
            for finding in judgement.findings
        ]
        advice = gettext("Look at the page of backups, or ask the operator.")
        if not findings:
            advice = gettext("There is nothing to do.")
        body = _lines(*map(str, findings), judgement.last_good, more, advice)
        EmailMessage(subject, body, to=[address]).send()
    except Exception:
        logger.exception("The notice to %s for tenant %r could not be sent.", address, tenant.id)
        return False
    return True


def _headline(judgement: Judgement) -> str:
    has_recovered = _has_recovered(judgement, judgement.settings.told)
    return gettext("recovered") if has_recovered else str(judgement.alarm.label)


def _next_attempt(judgement: Judgement, now: datetime, is_paused: bool) -> str:
    """When it is tried again, where somebody would like to know and it will be."""
    row = judgement.settings
    if not judgement.findings or not row.automatic:
        return ""
    if is_paused:
        return gettext("Automation is paused, so nothing automatic is tried.")
    if row.next_run_at is None or row.next_run_at <= now:
        return ""
    text = gettext("The next attempt is at %(time)s.")
    return text % {"time": _in_words(row.next_run_at, judgement.tenant)}


def _lines(*sentences: str) -> str:
    return "\n".join(filter(None, sentences))


def _in_words(at: datetime, tenant: Tenant) -> str:
    """A time for a person who may be in another zone than the tenant."""
    local = date_format(timezone.localtime(at, tenant.zone), "DATETIME_FORMAT")
    return f"{local} ({tenant.zone.key})"
