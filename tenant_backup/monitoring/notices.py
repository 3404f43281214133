"""Notices: who is notified, of what, and when.

A change is reported once, however many processes look, and again later if a mail could not be
sent. A lasting problem is reported every week. `mails` has the mails themselves.
"""

import logging
from collections.abc import Callable, Sequence, Set
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings as project_settings
from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone, translation
from django.utils.translation import gettext

from tenant_backup import signals
from tenant_backup.conf import conf
from tenant_backup.models import (
    Automation,
    Backup,
    BackupSettings,
    Event,
    EventKind,
    Recipient,
    RestoreRequest,
    TenantState,
    Verdict,
)
from tenant_backup.monitoring import absence, disk_space, mails
from tenant_backup.monitoring.judgements import judge_all, judge_invalid
from tenant_backup.monitoring.mails import Bulletin, Condition
from tenant_backup.monitoring.verdict import Judgement
from tenant_backup.rows import look_at_new
from tenant_backup.tenants import Listing, Tenant, list_tenants

logger = logging.getLogger("tenant_backup")

NOTICES_APART = timedelta(minutes=10)
"""Notices are sent at most so often. What happens meanwhile comes with the next ones, together."""

OF_ROOM_APART = timedelta(hours=1)
"""Notices of full disks alone are sent less often: many tenants may share one disk, and it takes a
while to look at the disks of all."""

CALM = timedelta(hours=12)
"""A tenant's next failure is told this long after the last one or later, unless it became worse
meanwhile: a backup that fails every other time must not fill anybody's mailbox."""

REMINDED_AFTER = timedelta(days=7)
"""A lasting problem is reported again after this time, because a mail can be overlooked."""

MAILED_AT_ONCE = timedelta(minutes=1)
"""A request for lost data is mailed by the request that makes it. After this time, notices do."""

PROVIDER = "provider"
"""The trouble that the tenant provider fails, as it is stored."""

AskAutomation = Callable[[Sequence[Tenant], datetime], Condition]


def notify(now: datetime | None = None, *, ask_automation: AskAutomation | None = None) -> bool:
    """Note what has changed, and mail it to `ADMINS` and to the tenants' own addresses.

    That is a failure, an overdue backup, missing or damaged files, lost rows, a full disk, a tenant
    that is not valid or has disappeared, the trouble of automation (which `ask_automation` finds
    out), and that it is over; and every week what is not over. A mail that cannot be sent is logged
    and tried again. Nothing is raised: no backup may fail because of a notice. Returns whether all
    is well.
    """
    try:
        return _notify(now or timezone.now(), ask_automation)
    except Exception:
        logger.exception("Nobody could be notified of what has changed.")
        return False


def _notify(now: datetime, ask_automation: AskAutomation | None) -> bool:
    row = Automation.load()
    listing, fault = _ask_provider()
    look_at_new(listing.tenants)
    # Whether automation runs is a notice of its own.
    of_valid = judge_all(listing.tenants, now, automation_runs=True, is_patient=True)
    judgements = [*judge_invalid(listing.invalid, now), *of_valid]
    for judgement in judgements:
        note_change(judgement, now)
    if not fault:
        forget_invalid({each.tenant_id for each in judgements})
    condition = fault or (ask_automation(listing.tenants, now) if ask_automation else None)
    if row.trouble_notified == PROVIDER and not (condition and condition.trouble):
        text = gettext("The tenant provider lists the tenants again.")
        condition = Condition("", gettext("the tenant provider works again"), text, is_running=True)
    absent = list(absence.found(now))
    bulletin = _bulletin(row, judgements, condition, absent, now)
    if _may_send(bulletin, row, now):
        _send(bulletin, row, now)
    # Last, since a disk may be slow to answer. What it finds is judged next time.
    disk_space.note_some(of_valid, now)
    return not (
        fault
        or absent
        or (condition and condition.trouble)
        or any(each.state.noted >= Verdict.NO_ROOM for each in judgements)
        # All gone at once: that is an accident.
        or (not len(listing) and BackupSettings.objects.exists())
    )


def _ask_provider() -> tuple[Listing, Condition | None]:
    """The tenants; if the provider fails, none, and what to tell of that."""
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


def _may_send(bulletin: Bulletin, row: Automation, now: datetime) -> bool:
    """Whether there is anything to tell, it is time, and this process is the one that tells it."""
    last, apart = row.notified_at, NOTICES_APART
    if bulletin.has_only_news:
        if not bulletin.news:
            return False
        if {item.judgement.trouble for item in bulletin.news} == {Verdict.NO_ROOM}:
            apart = OF_ROOM_APART
    if last and abs(now - last) < apart:
        return False
    return bool(Automation.objects.filter(notified_at=last).update(notified_at=now))


def _bulletin(
    row: Automation,
    judgements: Sequence[Judgement],
    condition: Condition | None,
    absent: Sequence[TenantState],
    now: datetime,
) -> Bulletin:
    """What is to be told now. What has ended, and is of no interest to anybody, is noted."""
    bulletin = Bulletin()
    for judgement in judgements:
        state = judgement.state
        if judgement.tenant and judgement.settings.missing < state.missing_notified:
            state.change(missing_notified=judgement.settings.missing)
        item = _news_of(judgement, now)
        if item and _has_recipient(judgement):
            bulletin.news.append(item)
        elif state.noted < state.notified:
            # It ended without a success, by other settings for example, or nobody can be notified.
            state.change("notified", notified=state.noted, unsent_to="")
        elif state.unsent_to and judgement.trouble == state.notified:
            bulletin.unsent.append(mails.News(judgement))
    is_paused = row.paused_at is not None
    for item in (*bulletin.news, *bulletin.unsent):
        item.next_attempt = mails.next_attempt(item.judgement, now, is_paused=is_paused)
    if project_settings.ADMINS:
        bulletin.automation = _news_of_automation(row, condition, now)
        bulletin.absent = [each for each in absent if _is_due(each.absence_notified_at, now)]
        bulletin.returned = _returned()
        bulletin.asked = list(RestoreRequest.objects.to_be_mailed(now - MAILED_AT_ONCE))
    return bulletin


def _has_recipient(judgement: Judgement) -> bool:
    """Whether there is an address at all. Without one, it does not count as told."""
    return bool(project_settings.ADMINS or mails.address_of(judgement))


def _news_of(judgement: Judgement, now: datetime) -> mails.News | None:
    """What is to be told now: what became worse, a recovery, and what has lasted for a week."""
    state, trouble, before = judgement.state, judgement.trouble, judgement.state.notified
    if trouble != state.noted:
        return None
    recovered = has_recovered(judgement, before)
    if recovered or _more_are_missing(judgement) or _more_rows_are_lost(judgement):
        return mails.News(judgement, has_recovered=recovered)
    if trouble == before:
        is_reminder = judgement.findings and _is_due(state.notified_at, now)
        return mails.News(judgement, last_notified_at=state.notified_at) if is_reminder else None
    if trouble < before:
        # An invalid tenant gets no mail itself, so it has not heard of a failure.
        is_unheard = before == Verdict.INVALID and trouble in FAILURES
        return mails.News(judgement) if is_unheard else None
    is_failure = trouble not in (Verdict.NO_ROOM, Verdict.CHECK_FAILED)
    last = state.failure_notified_at if is_failure else state.notified_at
    is_told = before == Verdict.FAILED or _calm_is_over(last, now)
    return mails.News(judgement) if is_told else None


def _more_are_missing(judgement: Judgement) -> bool:
    """Whether backups are missing or damaged of which nobody was notified."""
    settings, state = judgement.settings, judgement.state
    if judgement.tenant is None or not settings.missing or not settings.missing_found_at:
        return False
    until = state.missing_notified_until
    return settings.missing > state.missing_notified or (
        until is not None and settings.missing_found_at > until
    )


def _more_rows_are_lost(judgement: Judgement) -> bool:
    """Whether another table has lost rows since somebody was last notified of any."""
    until = judgement.state.rows_lost_notified_until
    newest = max((loss.found_at for loss in judgement.losses), default=None)
    return newest is not None and (until is None or newest > until)


def _calm_is_over(last: datetime | None, now: datetime) -> bool:
    return last is None or not now - CALM < last <= now


def _is_due(last: datetime | None, now: datetime) -> bool:
    """Whether to tell what is wrong: for the first time, or again after a week.

    Also if it was told by a clock that was more than a day ahead.
    """
    return last is None or not now - REMINDED_AFTER < last < now + timedelta(days=1)


def _news_of_automation(
    row: Automation, condition: Condition | None, now: datetime
) -> Condition | None:
    if condition is None:
        return None
    before, last = row.trouble_notified, row.trouble_notified_at
    if condition.trouble:
        if condition.trouble == before:
            return condition if _is_due(last, now) else None
        return condition if before or _calm_is_over(last, now) else None
    if before and condition.is_running:
        return condition
    if before:
        # Somebody has paused it, or nobody waits for it any more.
        Automation.objects.filter(trouble_notified=before).update(trouble_notified="")
    return None


def _returned() -> list[TenantState]:
    """Those who are back after they were reported as disappeared."""
    over = list(absence.returned())
    for state in over:
        if state.retired_at:
            state.change(absence_notified_at=None)
    return [state for state in over if not state.retired_at]


def _send(bulletin: Bulletin, row: Automation, now: datetime) -> None:
    """Mail the news, and what is unsent to the one whom it has not reached.

    Each is remembered at once: if a slow mail server makes this process end by a timeout, what was
    told must not be told again.
    """
    by_admins = mails.send_to_admins(bulletin)
    if by_admins:
        _remember_what_concerns_all(bulletin, row, now)
        for item in bulletin.unsent_to(Recipient.ADMINS):
            item.judgement.state.change(unsent_to="")
        for item in bulletin.news:
            wants_mail = bool(mails.address_of(item.judgement))
            _remember(item, now, unsent_to=Recipient.TENANT if wants_mail else "")
    for item in bulletin.news:
        reached = mails.send_to_tenant(item)
        if by_admins and reached is not False:
            item.judgement.state.change(unsent_to="")
        elif reached and not by_admins:
            _remember(item, now, unsent_to="" if by_admins is None else Recipient.ADMINS)
    for item in bulletin.unsent_to(Recipient.TENANT):
        if mails.send_to_tenant(item) is not False:
            item.judgement.state.change(unsent_to="")


def _remember(news: mails.News, now: datetime, *, unsent_to: str) -> None:
    """Remember that this was told, and whom it has not reached."""
    judgement, state = news.judgement, news.judgement.state
    told: dict[str, Any] = {"notified": state.noted, "notified_at": now, "unsent_to": unsent_to}
    if state.noted in FAILURES:
        told["failure_notified_at"] = now
    if judgement.tenant:
        told["missing_notified"] = judgement.settings.missing
        told["missing_notified_until"] = judgement.settings.missing_found_at
    if judgement.losses:
        told["rows_lost_notified_until"] = max(loss.found_at for loss in judgement.losses)
    state.change("notified", **told)


def _remember_what_concerns_all(bulletin: Bulletin, row: Automation, now: datetime) -> None:
    if condition := bulletin.automation:
        told: dict[str, Any] = {"trouble_notified": condition.trouble}
        if condition.trouble:
            told["trouble_notified_at"] = now
        as_read = Automation.objects.filter(
            trouble_notified=row.trouble_notified, trouble_notified_at=row.trouble_notified_at
        )
        as_read.update(**told)
    for state in bulletin.absent:
        state.change(absence_notified_at=now)
    for state in bulletin.returned:
        state.change(absence_notified_at=None)
    _remember_asked(bulletin.asked, now)


def tell_of_request(request: RestoreRequest, now: datetime | None = None) -> bool | None:
    """Mail the operators at once that data was asked for, and whether that could be sent.

    None without `ADMINS`. If it fails, the next notices tell of it.
    """
    # The operators may read another language than whoever asks.
    with translation.override(project_settings.LANGUAGE_CODE):
        is_sent = mails.send_to_admins(Bulletin(asked=[request]))
    if is_sent:
        _remember_asked([request], now or timezone.now())
    return is_sent


def _remember_asked(requests: Sequence[RestoreRequest], now: datetime) -> None:
    keys = [request.pk for request in requests]
    RestoreRequest.objects.filter(pk__in=keys, mailed_at=None).update(mailed_at=now)


FAILURES = (Verdict.FAILED, Verdict.OVERDUE, Verdict.INVALID)
"""From these a tenant has recovered when a backup succeeds, and not when settings change."""


def note_change(judgement: Judgement, now: datetime) -> None:
    """Note that something else is wrong than before, or nothing any more."""
    state, trouble = judgement.state, judgement.trouble
    before = state.noted
    _note_missing(judgement)
    is_lighter = trouble < before
    # What is under way may succeed or fail. Wait and see.
    if trouble == before or (is_lighter and judgement.is_under_way):
        return
    changes: dict[str, Any] = {"noted": trouble}
    if not is_lighter and trouble in FAILURES:
        changes["failure_noted_at"] = now
    is_overdue = trouble is Verdict.OVERDUE and not is_lighter
    recovered = has_recovered(judgement, before)
    with transaction.atomic(using=conf.CATALOG_DATABASE):
        if not state.change("noted", **changes):
            return
        if is_overdue:
            Event.record(EventKind.OVERDUE, judgement.tenant_id, detail=str(judgement.findings[0]))
        elif recovered:
            Event.record(EventKind.RECOVERED, judgement.tenant_id, detail=judgement.last_good)
    if is_overdue:
        _send_signal(signals.tenant_overdue, judgement, finding=judgement.findings[0])
    elif recovered:
        _send_signal(signals.tenant_recovered, judgement, verdict=Verdict(before))


def has_recovered(judgement: Judgement, before: int) -> bool:
    """Whether a backup has succeeded since this failure. Other settings may have ended it, too."""
    settings = judgement.settings
    if before not in FAILURES or judgement.trouble in FAILURES or not settings.last_success_at:
        return False
    failed_at = judgement.state.failure_noted_at
    return failed_at is None or settings.last_success_at > failed_at


def forget_invalid(listed: Set[str]) -> None:
    """Forget that tenants were not valid which are no longer listed.

    `listed` includes an empty id if a tenant without a valid one is listed.
    """
    for state in TenantState.objects.filter(noted=Verdict.INVALID):
        if state.tenant_id not in listed:
            state.change("noted", noted=Verdict.WELL, notified=Verdict.WELL, unsent_to="")


def _note_missing(judgement: Judgement) -> None:
    if judgement.tenant is None:
        return
    number, before = judgement.settings.missing, judgement.state.missing_noted
    if number == before or not judgement.state.change("missing_noted", missing_noted=number):
        return
    finding = judgement.finding(Verdict.MISSING)
    if number > before and finding:
        _send_signal(signals.backups_missing, judgement, finding=finding)


def _send_signal(signal: Signal, judgement: Judgement, **arguments: object) -> None:
    signal.send_robust(Backup, tenant=judgement.tenant, **arguments)
