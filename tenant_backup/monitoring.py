"""Monitoring: whose backups need somebody, and who is told so.

How a tenant stands is judged anew each time, from the catalog. What was told last stands in its
settings row, and only a change is told: once, however many processes look, and later where a mail
could not be sent.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings as project_settings
from django.core.mail import EmailMessage, mail_admins
from django.db import transaction
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext

from tenant_backup import backups
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Action, Alarm, Automation, Backup, BackupSettings, Event, Status
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
    backups.note_missing(tenant)
    directory = backups.directory_of(tenant)
    now = timezone.now()
    [judgement] = judge([tenant], now, lost_by=now)
    if judgement.settings.last_good_at and not directory.exists():
        text = gettext("The backup directory %(path)s is not there, or out of reach.")
        finding = Finding(Alarm.MISSING, text % {"path": directory.path})
        return replace(judgement, findings=(*judgement.findings, finding))
    return judgement


def judge(
    tenants: Sequence[Tenant], now: datetime, *, lost_by: datetime | None = None
) -> list[Judgement]:
    """How these tenants' backups stand, in their order; one without settings is passed over.

    By the catalog alone, in two queries, however many tenants there are. What was found missing or
    damaged later than `lost_by` does not count yet.
    """
    lost_by = lost_by or now - A_MOMENT
    rows = BackupSettings.objects.filter(tenant_id__in=[tenant.id for tenant in tenants])
    by_id = {row.tenant_id: row for row in rows.with_latest(now, lost_by=lost_by)}
    active = {backup.tenant_id: backup for backup in Backup.objects.active()}
    return [
        _judge(tenant, by_id[tenant.id], active.get(tenant.id), now)
        for tenant in tenants
        if tenant.id in by_id
    ]


def notify(now: datetime | None = None) -> None:
    """Mail what has changed since the last time: to `ADMINS`, and to each tenant's own address.

    Told are a failure, being overdue, files that are missing or damaged, and recovery. A mail that
    cannot be sent is logged and tried again. Nothing is raised: no backup shall fail for a notice.
    """
    try:
        _notify(now or timezone.now())
    except Exception:
        logger.exception("Nobody could be told of what has changed.")


def _notify(now: datetime) -> None:
    last = Automation.load().notified_at
    if last and now - NOTICES_APART < last <= now:
        return
    tenants = [tenant for tenant in get_provider().all_tenants() if not fault_of(tenant)]
    turned = [judgement for judgement in judge(tenants, now) if _has_turned(judgement, now)]
    news = [judgement for judgement in turned if _is_news(judgement)]
    for judgement in turned:
        if judgement not in news:
            _remember(judgement, now)
    if not news:
        return
    # Of several processes that see the same news, one tells it.
    if Automation.objects.filter(notified_at=last).update(notified_at=now):
        for judgement in _tell(news):
            _remember(judgement, now)


def _judge(
    tenant: Tenant, settings: BackupSettings, active: Backup | None, now: datetime
) -> Judgement:
    is_under_way = active is not None and _is_under_way(tenant, active, now)
    last_good_at, last_failed_at = settings.last_good_at, settings.last_failed_at
    findings = []
    if settings.automatic and not is_under_way:
        since = max(min(settings.scheduled_since, now), last_good_at or settings.scheduled_since)
        if now > overdue_at(settings.rule, tenant.id, tenant.zone, since):
            slot_at = next_slot(settings.rule, tenant.id, tenant.zone, since)
            text = gettext("A backup was due at %(time)s, and none has succeeded since.")
            findings.append(Finding(Alarm.OVERDUE, text % {"time": _in_words(slot_at, tenant)}))
    if last_failed_at and (not last_good_at or last_failed_at > last_good_at):
        text = gettext("The last attempt, at %(time)s, failed.")
        values = {"time": _in_words(last_failed_at, tenant)}
        findings.append(Finding(Alarm.FAILED, text % values, settings.last_error))
    if settings.missing:
        text = ngettext(
            "The file of %(number)d backup is missing or damaged.",
            "The files of %(number)d backups are missing or damaged.",
            settings.missing,
        )
        findings.append(Finding(Alarm.MISSING, text % {"number": settings.missing}))
    return Judgement(tenant, settings, tuple(findings), is_under_way)


def _is_under_way(tenant: Tenant, active: Backup, now: datetime) -> bool:
    if active.status == Status.RUNNING:
        return backups.is_moving(tenant, active, now)
    return abs(now - active.created_at) < TIME_TO_START


def _has_turned(judgement: Judgement, now: datetime) -> bool:
    """Whether it is another alarm than the one that was told last, and time to say so."""
    row, alarm = judgement.settings, judgement.alarm
    if alarm == row.alarm:
        return False
    if GRAVITY.index(alarm) < GRAVITY.index(row.alarm):
        # What is under way may succeed or fail. Wait and see.
        return not judgement.is_under_way
    if alarm == Alarm.MISSING or row.alarm == Alarm.FAILED:
        return True
    return row.alarmed_at is None or not now - CALM < row.alarmed_at <= now


def _is_news(judgement: Judgement) -> bool:
    """Whether somebody is to be told: of what became worse, and of a backup that succeeded."""
    before, alarm = judgement.settings.alarm, judgement.alarm
    return GRAVITY.index(alarm) > GRAVITY.index(before) or _has_recovered(judgement)


def _has_recovered(judgement: Judgement) -> bool:
    """Whether there was an alarm and then a good backup: not merely another setting, say."""
    row = judgement.settings
    was_grave = row.alarm in (Alarm.FAILED, Alarm.OVERDUE)
    is_over = judgement.alarm in (Alarm.NONE, Alarm.MISSING)
    return bool(was_grave and is_over and row.last_good_at)


def _remember(judgement: Judgement, now: datetime) -> None:
    """Note what was told last, unless another process has done so since."""
    row, alarm = judgement.settings, judgement.alarm
    changes: dict[str, object] = {"alarm": alarm}
    if alarm in (Alarm.FAILED, Alarm.OVERDUE):
        changes["alarmed_at"] = now
    with transaction.atomic(using=conf.CATALOG_DATABASE):
        if not BackupSettings.objects.filter(pk=row.pk, alarm=row.alarm).update(**changes):
            return
        if alarm == Alarm.OVERDUE:
            Event.record(Action.OVERDUE, row.tenant_id, detail=str(judgement.findings[0]))
        elif _has_recovered(judgement):
            Event.record(Action.RECOVERED, row.tenant_id, detail=judgement.last_good)


def _tell(news: Sequence[Judgement]) -> list[Judgement]:
    """Mail the news, and return those of it that reached somebody, or that nobody wants to hear."""
    by_admins = _send_to_admins(news)
    reached = []
    for judgement in news:
        outcomes = {by_admins, _send_to_tenant(judgement)}
        if True in outcomes or False not in outcomes:
            reached.append(judgement)
    return reached


def _send_to_admins(news: Sequence[Judgement]) -> bool | None:
    """Whether the operators' mail could be sent; None where there are none."""
    if not project_settings.ADMINS:
        return None
    kinds = [_headline(judgement) for judgement in news]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    paragraphs = []
    for judgement, kind in zip(news, kinds, strict=True):
        heading = f"{judgement.tenant.id} ({judgement.tenant.name}): {kind}"
        paragraphs.append(f"{heading}\n{_body(judgement, sees_paths=True)}")
    paragraphs.append(gettext("How all tenants stand, says: python manage.py checkbackups"))
    try:
        mail_admins(gettext("Backups: %(counts)s") % {"counts": counts}, "\n\n".join(paragraphs))
    except Exception:
        logger.exception("The notice to ADMINS could not be sent.")
        return False
    return True


def _send_to_tenant(judgement: Judgement) -> bool | None:
    """Whether the tenant's own mail could be sent; None where it wants none."""
    tenant, address = judgement.tenant, judgement.settings.notify_email
    if not address:
        return None
    subject = gettext("Backups of %(tenant)s: %(headline)s")
    # A line break in a name would be one in the mail's header.
    values = {"tenant": " ".join(tenant.name.split()), "headline": _headline(judgement)}
    advice = gettext("Look at the page of backups, or ask the operator.")
    if _has_recovered(judgement):
        advice = gettext("There is nothing to do.")
    text = f"{_body(judgement, sees_paths=False)}\n{advice}"
    try:
        EmailMessage(subject % values, text, to=[address]).send()
    except Exception:
        logger.exception(
            "The notice to %s, about tenant %r, could not be sent.", address, tenant.id
        )
        return False
    return True


def _headline(judgement: Judgement) -> str:
    return gettext("recovered") if _has_recovered(judgement) else str(judgement.alarm.label)


def _body(judgement: Judgement, *, sees_paths: bool) -> str:
    sentences = []
    for finding in judgement.findings:
        public = replace(finding, reason=backups.without_paths(finding.reason, judgement.tenant))
        sentences.append(str(finding if sees_paths else public))
    sentences.append(judgement.last_good)
    row = judgement.settings
    if judgement.findings and row.automatic and row.next_run_at:
        text = gettext("The next attempt is at %(time)s.")
        sentences.append(text % {"time": _in_words(row.next_run_at, judgement.tenant)})
    return "\n".join(sentences)


def _in_words(at: datetime, tenant: Tenant) -> str:
    """A time for a person who may be in another zone than the tenant."""
    local = date_format(timezone.localtime(at, tenant.zone), "DATETIME_FORMAT")
    return f"{local} ({tenant.zone.key})"
