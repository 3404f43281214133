"""Monitoring: whose backups need somebody, and who is told so.

How a tenant stands is judged anew each time, from the catalog. What was seen and what was told last
stands in its settings row, and only a change is told: once, however many processes look, and later
where a mail could not be sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings as project_settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext

from tenant_backup import backups
from tenant_backup.conf import conf
from tenant_backup.models import (
    Alarm,
    Automation,
    Backup,
    BackupSettings,
    Event,
    EventKind,
    Health,
    Recipient,
    Status,
    TenantState,
)
from tenant_backup.monitoring import absence, notices
from tenant_backup.schedule import next_slot, overdue_at
from tenant_backup.tenants import Listing, Tenant, list_tenants
from tenant_backup.texts import in_active_language

logger = logging.getLogger("tenant_backup")

NOTICES_APART = timedelta(minutes=10)
"""Notices are sent at most so often; what happens meanwhile comes with the next ones, together."""

CALM = timedelta(hours=12)
"""A new alarm about a tenant comes at the earliest so long after the last one, unless the trouble
became worse meanwhile: a backup that fails every other time shall not fill anybody's mailbox."""

TIME_TO_START = timedelta(minutes=15)
"""So long a queued backup counts as under way, though no worker has taken it up."""

REMINDED_AFTER = timedelta(days=7)
"""What is still wrong is told again so long after it was told last: a mail can be overlooked."""

A_MOMENT = timedelta(minutes=1)
"""A backup that is being deleted is marked missing, and its row is gone a moment later."""

EVER = datetime.min.replace(tzinfo=UTC)

FEW = 500
"""So many ids are asked for by name; of more, all are asked for."""

PROVIDER = "provider"
"""The trouble that the tenant provider fails, as it is stored where it was told."""

GRAVE = {Alarm.FAILED.value, Alarm.OVERDUE.value}
GRAVITY = [
    alarm.value for alarm in (Alarm.NONE, Alarm.FUTURE, Alarm.MISSING, Alarm.FAILED, Alarm.OVERDUE)
]


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

    def health(self, *, automation_runs: bool) -> Health:
        """The same in one word; while automation does not run, nobody who waits for it is well."""
        if self.findings:
            return Health.of_alarm(self.alarm)
        return _health_without_alarm(self.settings, automation_runs=automation_runs)

    @property
    def last_good(self) -> str:
        """A sentence about the last good backup."""
        if not self.settings.last_good_at:
            return gettext("There is no good backup.")
        text = gettext("The last good backup is of %(time)s.")
        return text % {"time": in_words(self.settings.last_good_at, self.tenant)}


def inspect(tenant: Tenant) -> Judgement:
    """How a tenant's backups stand, after a look at whether their files are there."""
    BackupSettings.objects.ensure([tenant.id])
    backups.check_files(tenant)
    directory = backups.directory_of(tenant)
    now = timezone.now()
    [facts] = _facts([tenant], now, found_by=now)
    judgement = _judge(*facts, now, for_people=True)
    if judgement.settings.last_good_at and not directory.is_there():
        text = gettext("The backup directory is not there, or out of reach:")
        finding = Finding(Alarm.MISSING, text, str(directory.path))
        return replace(judgement, findings=(*judgement.findings, finding))
    return judgement


def judge(tenants: Sequence[Tenant], now: datetime, *, for_people: bool = False) -> list[Judgement]:
    """How these tenants' backups stand, in their order; one without settings is passed over.

    By the catalog alone, in two queries, however many tenants there are. With `for_people`, as
    those see it who look now, see `inspect`.
    """
    judgements = []
    for facts in _facts(tenants, now, found_by=now if for_people else now - A_MOMENT):
        try:
            judgements.append(_judge(*facts, now, for_people=for_people))
        except Exception:
            # Nonsense in one row keeps no other tenant from being judged.
            logger.exception("The backups of tenant %r cannot be judged.", facts[0].id)
    return judgements


def healths(
    judgements: Iterable[Judgement], listed: Iterable[str], *, automation_runs: bool
) -> dict[str, Health]:
    """How each of the tenants with these ids stands among all, in one word.

    `listed` are the ids that the provider lists. Who cannot be judged has failed: one that is
    not valid is not backed up.
    """
    words = dict.fromkeys(listed, Health.FAILED)
    for judgement in judgements:
        words[judgement.tenant.id] = judgement.health(automation_runs=automation_runs)
    return words


def noted_healths(now: datetime, *, automation_runs: bool) -> dict[str, Health]:
    """How everybody stood by the last alarms: for when nobody can say which tenants there are."""
    words = {}
    for row in BackupSettings.objects.with_latest(now, found_by=now):
        if row.alarm:
            words[row.tenant_id] = Health.of_alarm(row.alarm)
        else:
            words[row.tenant_id] = _health_without_alarm(row, automation_runs=automation_runs)
    return words


def _health_without_alarm(row: BackupSettings, *, automation_runs: bool) -> Health:
    if not row.last_good_at:
        return Health.NO_BACKUP
    if not row.automatic:
        return Health.OFF
    return Health.WELL if automation_runs else Health.STOPPED


def unlisted(listed: Collection[str]) -> list[tuple[BackupSettings, Health]]:
    """The settings of those whom the provider does not list, and how they stand."""
    rows = [
        row for row in BackupSettings.objects.order_by("tenant_id") if row.tenant_id not in listed
    ]
    words = absence.healths([row.tenant_id for row in rows], timezone.now())
    return [(row, words[row.tenant_id]) for row in rows]


def wrong_since(judgement: Judgement) -> datetime | None:
    """Since when a tenant has been in its present alarm; None without one."""
    row = judgement.settings
    rows = Backup.objects.for_tenant(row.tenant_id)
    match judgement.alarm:
        case Alarm.OVERDUE:
            return _overdue_since(row, judgement.tenant, timezone.now())
        case Alarm.FAILED:
            failed = rows.failed().filter(created_at__gt=row.last_good_at or EVER)
            first = failed.order_by("created_at").first() or rows.active().first()
            return first.created_at if first else None
        case Alarm.MISSING:
            lost = rows.lost(timezone.now())
            times = [at for pair in lost.values_list("missing_at", "damaged_at") for at in pair]
            return min(filter(None, times), default=None)
    return None


@dataclass(frozen=True, slots=True)
class Condition:
    """How automation stands, as far as somebody is to be told."""

    trouble: str
    """What is wrong, in a word that is stored; empty where nothing is, or nobody waits for it."""
    headline: str
    text: str
    is_running: bool


AskAutomation = Callable[[Sequence[Tenant], datetime], Condition]


@dataclass(frozen=True, slots=True)
class News:
    """What is to be told about a tenant: to everybody, or to the one whom no mail has reached."""

    judgement: Judgement
    has_recovered: bool = False
    last_told_at: datetime | None = None
    """Of a reminder: when the same was told before."""

    @property
    def tenant(self) -> Tenant:
        return self.judgement.tenant


@dataclass(frozen=True, slots=True)
class _Bulletin:
    """All that there is to tell at one time. What is about tenants alone is told to them, too."""

    news: list[News]
    late: list[News]
    automation: Condition | None
    absent: list[TenantState]
    returned: list[TenantState]

    def __bool__(self) -> bool:
        return bool(self.news or self.late or self.automation or self.absent or self.returned)


def notify(now: datetime | None = None, *, ask_automation: AskAutomation | None = None) -> bool:
    """Note who needs somebody, and mail what has changed: to `ADMINS`, and to the tenants' own.

    Told are a failure, being overdue, files that are missing or damaged, tenants that have
    disappeared, the trouble of automation (which `ask_automation` finds out), and that all that
    is over; and every week what is not over. A mail that cannot be sent is logged and tried again.
    Nothing is raised: no backup shall fail for a notice. Returns whether all is well.
    """
    try:
        return _notify(now or timezone.now(), ask_automation)
    except Exception:
        logger.exception("Nobody could be told of what has changed.")
        return False


def _notify(now: datetime, ask_automation: AskAutomation | None) -> bool:
    row = Automation.load()
    given, fault = _given()
    tenants = given.tenants
    judgements = judge(tenants, now)
    for judgement in judgements:
        _note(judgement, now)
    condition = fault or (ask_automation(tenants, now) if ask_automation else None)
    if row.told == PROVIDER and not (condition and condition.trouble):
        condition = _the_provider_is_back()
    absent = list(absence.found(now))
    bulletin = _bulletin(row, judgements, condition, absent, now)
    last = row.notified_at
    # Of several processes that see the same news, one tells it.
    if (
        bulletin
        and not (last and abs(now - last) < NOTICES_APART)
        and Automation.objects.filter(notified_at=last).update(notified_at=now)
    ):
        _tell(bulletin, row, now)
    is_wrong = (
        fault
        or given.invalid
        # All gone at once: that is an accident.
        or (not given and BackupSettings.objects.exists())
        or any(judgement.settings.alarm for judgement in judgements)
        or _some_cannot_be_judged(tenants, judgements)
        or absent
        or (condition and condition.trouble)
    )
    return not is_wrong


def _given() -> tuple[Listing, Condition | None]:
    """The tenants that the provider lists; where it fails, none, and what is to be told of that.

    Its directory may lie on a disk that is not mounted, and then nobody is backed up.
    """
    try:
        return list_tenants(), None
    except Exception as error:
        logger.exception("The tenant provider failed.")
        text = gettext(
            "The tenant provider cannot list the tenants (%(kind)s: %(reason)s), so nobody is "
            "backed up automatically. Is a disk not mounted?"
        )
        values = {"kind": type(error).__name__, "reason": error}
        headline = gettext("the tenant provider fails")
        return Listing(), Condition(PROVIDER, headline, text % values, is_running=False)


def _the_provider_is_back() -> Condition:
    text = gettext("The tenant provider lists the tenants again.")
    return Condition("", gettext("the tenant provider works again"), text, is_running=True)


def _some_cannot_be_judged(tenants: Sequence[Tenant], judgements: Sequence[Judgement]) -> bool:
    """Whether there is nonsense in a row; who has no settings yet is only new."""
    if len(judgements) == len(tenants):
        return False
    judged = {judgement.tenant.id for judgement in judgements}
    others = [tenant.id for tenant in tenants if tenant.id not in judged]
    return BackupSettings.objects.filter(tenant_id__in=others).exists()


def _bulletin(
    row: Automation,
    judgements: Sequence[Judgement],
    condition: Condition | None,
    absent: Sequence[TenantState],
    now: datetime,
) -> _Bulletin:
    """What is to be told now; what is over without that anybody needs to hear it is noted."""
    states = _states(judgements)
    news: list[News] = []
    late: list[News] = []
    for judgement in judgements:
        settings, state = judgement.settings, states[judgement.tenant.id]
        if settings.missing < state.lost_told:
            _update(state, lost_told=settings.missing)
        item = _news_of(judgement, state, now)
        if item and _somebody_hears(judgement):
            news.append(item)
        elif _gravity(settings.alarm) < _gravity(settings.told):
            # It is over without a success, by another setting, say; or nobody can hear of it.
            _finalise(judgement)
        elif settings.untold and judgement.alarm == settings.told:
            late.append(News(judgement))
    if not project_settings.ADMINS:
        return _Bulletin(news, late, None, [], [])
    return _Bulletin(
        news,
        late,
        _news_of_automation(row, condition, now),
        [state for state in absent if _is_due(state.absent_told_at, now)],
        _returned(now),
    )


def _states(judgements: Sequence[Judgement]) -> dict[str, TenantState]:
    """What was told of these tenants; where nothing was, or nothing is wrong, an empty state."""
    alarmed = [each.tenant.id for each in judgements if each.findings or each.settings.alarm]
    states = {each.tenant.id: TenantState(tenant_id=each.tenant.id) for each in judgements}
    rows = TenantState.objects.all()
    if len(alarmed) <= FEW:
        rows = rows.filter(Q(lost_told__gt=0) | Q(tenant_id__in=alarmed))
    for row in rows:
        if row.tenant_id in states:
            states[row.tenant_id] = row
    return states


def _somebody_hears(judgement: Judgement) -> bool:
    """Whether there is an address at all: what nobody could be told does not count as told."""
    return bool(project_settings.ADMINS or judgement.settings.notify_email)


def _facts(
    tenants: Sequence[Tenant], now: datetime, *, found_by: datetime
) -> list[tuple[Tenant, BackupSettings, Backup | None]]:
    """What is judged by; what was found missing or damaged after `lost_by` does not count yet."""
    rows = BackupSettings.objects.filter(tenant_id__in=[tenant.id for tenant in tenants])
    by_id = {row.tenant_id: row for row in rows.with_latest(now, found_by=found_by)}
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
    for_people: bool = False,
) -> Judgement:
    """How a tenant stands by these facts.

    With `for_people`, a running backup that stands still counts as failed. It is for those
    who look now: whoever sends mails mends such a row first, and then knows.
    """
    is_under_way = active is not None and _is_under_way(tenant, active, now)
    last_good_at, last_failed_at = settings.last_good_at, settings.last_failed_at
    findings = []
    if settings.automatic and not is_under_way:
        since = _waiting_since(settings, now)
        if now > _overdue_since(settings, tenant, now):
            slot_at = next_slot(settings.rule, tenant.id, tenant.zone, since)
            text = gettext("A backup was due at %(time)s, and none has succeeded since.")
            findings.append(Finding(Alarm.OVERDUE, text % {"time": in_words(slot_at, tenant)}))
    if for_people and active and active.status == Status.RUNNING and not is_under_way:
        text = gettext("The last attempt, at %(time)s, seems to have been interrupted.")
        values = {"time": in_words(active.created_at, tenant)}
        findings.append(Finding(Alarm.FAILED, text % values))
    elif last_failed_at and (not last_good_at or last_failed_at > last_good_at):
        text = gettext("The last attempt, at %(time)s, failed.")
        reason = in_active_language(settings.last_error, settings.last_error_data)
        values = {"time": in_words(last_failed_at, tenant)}
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
            "All good backups are dated in the future, the newest %(time)s. The clock was wrong "
            "when they were made, so none of them counts."
        )
        values = {"time": in_words(settings.last_future_at, tenant)}
        findings.append(Finding(Alarm.FUTURE, text % values))
    return Judgement(tenant, settings, tuple(findings), is_under_way)


def _waiting_since(settings: BackupSettings, now: datetime) -> datetime:
    scheduled_since = min(settings.scheduled_since, now)
    return max(scheduled_since, settings.last_good_at or scheduled_since)


def _overdue_since(settings: BackupSettings, tenant: Tenant, now: datetime) -> datetime:
    """When a tenant without another success is overdue, or has been since."""
    return overdue_at(settings.rule, tenant.id, tenant.zone, _waiting_since(settings, now))


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
            Event.record(EventKind.OVERDUE, row.tenant_id, detail=str(judgement.findings[0]))
        elif has_recovered:
            Event.record(EventKind.RECOVERED, row.tenant_id, detail=judgement.last_good)
    vars(row).update(changes)


def _news_of(judgement: Judgement, state: TenantState, now: datetime) -> News | None:
    """What somebody is to be told now: what became worse, recovery, and what lasts for a week."""
    row, alarm = judgement.settings, judgement.alarm
    if alarm != row.alarm:
        return None
    has_recovered = _has_recovered(judgement, row.told)
    if _lost_more(row, state):
        return News(judgement, has_recovered)
    if alarm == row.told:
        last = state.told_at or row.told_at
        is_reminder = bool(judgement.findings) and _is_due(last, now)
        return News(judgement, last_told_at=last) if is_reminder else None
    if _gravity(alarm) < _gravity(row.told):
        return News(judgement, has_recovered) if has_recovered else None
    if row.told == Alarm.FAILED or _calm_is_over(row.told_at, now):
        return News(judgement)
    return None


def _lost_more(row: BackupSettings, state: TenantState) -> bool:
    """Whether backups are lost that nobody was told of."""
    if not row.missing or not row.lost_at:
        return False
    return row.missing > state.lost_told or (
        state.lost_told_to is not None and row.lost_at > state.lost_told_to
    )


def _calm_is_over(told_at: datetime | None, now: datetime) -> bool:
    return told_at is None or not now - CALM < told_at <= now


def _is_due(told_at: datetime | None, now: datetime) -> bool:
    """Whether to tell what is wrong: for the first time, or again after a week.

    After a longer time than a day, too, where a clock was ahead when it was told.
    """
    return told_at is None or not now - REMINDED_AFTER < told_at < now + timedelta(days=1)


def _news_of_automation(
    row: Automation, condition: Condition | None, now: datetime
) -> Condition | None:
    if condition is None:
        return None
    if condition.trouble:
        if condition.trouble == row.told:
            return condition if _is_due(row.told_at, now) else None
        return condition if row.told or _calm_is_over(row.told_at, now) else None
    if row.told and condition.is_running:
        return condition
    if row.told:
        # Somebody has paused it, or nobody waits for it any more.
        Automation.objects.filter(told=row.told).update(told="")
    return None


def _returned(now: datetime) -> list[TenantState]:
    """Those who are back after that they are gone was told."""
    over = list(absence.returned())
    for state in over:
        if state.retired_at:
            _update(state, absent_told_at=None)
    return [state for state in over if not state.retired_at]


def _has_recovered(judgement: Judgement, before: str) -> bool:
    """Whether a backup has succeeded since that alarm: it is not over by another setting, say."""
    row = judgement.settings
    if before not in GRAVE or judgement.alarm in GRAVE or not row.last_success_at:
        return False
    return row.alarmed_at is None or row.last_success_at > row.alarmed_at


def _remember_told(news: News, now: datetime, *, but_not: str = "") -> None:
    """Remember that it was told; `but_not` is who could not be reached so far."""
    row = news.judgement.settings
    changes: dict[str, Any] = {"told": row.alarm, "untold": but_not}
    if row.alarm in GRAVE:
        changes["told_at"] = now
    BackupSettings.objects.filter(pk=row.pk, told=row.told).update(**changes)


def _finalise(judgement: Judgement) -> None:
    """Note that what was told is over, or lighter now, and that nobody is told."""
    row = judgement.settings
    BackupSettings.objects.filter(pk=row.pk, told=row.told).update(told=row.alarm, untold="")


def _remember_losses(news: News, now: datetime) -> None:
    """Remember which losses were told, and when somebody was told of this tenant last."""
    row = news.judgement.settings
    TenantState.objects.ensure([row.tenant_id])
    TenantState.objects.filter(tenant_id=row.tenant_id).update(
        told_at=now, lost_told=row.missing, lost_told_to=row.lost_at
    )


def _update(state: TenantState, **changes: Any) -> None:
    TenantState.objects.filter(pk=state.pk).update(**changes)


def _forget_untold(news: News) -> None:
    BackupSettings.objects.filter(pk=news.judgement.settings.pk).update(untold="")


def _tell(bulletin: _Bulletin, row: Automation, now: datetime) -> None:
    """Mail the news, and what is `late`: to the one who could not be reached when it was news.

    Each is remembered at once, one by one: a mail server that keeps us waiting may end this
    process, and what was told is not told again.
    """
    is_paused = row.paused_at is not None
    news, late = bulletin.news, bulletin.late
    more = {each.tenant.id: _next_attempt(each.judgement, now, is_paused) for each in news + late}
    late_for = {
        recipient: [each for each in late if each.judgement.settings.untold == recipient]
        for recipient in Recipient
    }
    by_admins = notices.send_to_admins(
        [*news, *late_for[Recipient.ADMINS]],
        more,
        automation=bulletin.automation,
        absent=absence.grouped((each.tenant_id, each.absent_since) for each in bulletin.absent),
        returned=[each.tenant_id for each in bulletin.returned],
    )
    if by_admins:
        _remember_what_is_no_tenants(bulletin, row, now)
        for item in late_for[Recipient.ADMINS]:
            _forget_untold(item)
        for item in news:
            wants_mail = bool(item.judgement.settings.notify_email)
            _remember(item, now, but_not=Recipient.TENANT if wants_mail else "")
    for item in news:
        reached = notices.send_to_tenant(item, more[item.tenant.id])
        if by_admins and reached is not False:
            _forget_untold(item)
        elif reached and not by_admins:
            _remember(item, now, but_not="" if by_admins is None else Recipient.ADMINS)
    for item in late_for[Recipient.TENANT]:
        if notices.send_to_tenant(item, more[item.tenant.id]) is not False:
            _forget_untold(item)


def _remember(news: News, now: datetime, *, but_not: str) -> None:
    _remember_told(news, now, but_not=but_not)
    _remember_losses(news, now)


def _remember_what_is_no_tenants(bulletin: _Bulletin, row: Automation, now: datetime) -> None:
    if condition := bulletin.automation:
        changes: dict[str, Any] = {"told": condition.trouble}
        if condition.trouble:
            changes["told_at"] = now
        Automation.objects.filter(told=row.told, told_at=row.told_at).update(**changes)
    for state in bulletin.absent:
        _update(state, absent_told_at=now)
    for state in bulletin.returned:
        _update(state, absent_told_at=None)


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
    return text % {"time": in_words(row.next_run_at, judgement.tenant)}


def in_words(at: datetime, tenant: Tenant) -> str:
    """A time for a person who may be in another zone than the tenant."""
    local = date_format(timezone.localtime(at, tenant.zone), "DATETIME_FORMAT")
    return f"{local} ({tenant.zone.key})"


def retire(tenant_id: str, *, by: str = "") -> None:
    """Say that this tenant is gone on purpose, so that nobody is told that it has disappeared.

    For the host's code that removes a tenant, at most a day before the provider no longer lists it.
    Nothing of its backups is deleted. An id that the catalog does not know is passed over.
    """
    absence.retire(absence.known([tenant_id]), by=by)
