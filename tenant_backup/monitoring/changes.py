"""Changes: what is new since the last look, noted in the state, the history and the log.

Of several processes that see the same change, one notes it, and sends its signal.
"""

from collections.abc import Set
from datetime import datetime
from typing import Any

from django.db import transaction
from django.dispatch import Signal

from tenant_backup import signals
from tenant_backup.conf import conf
from tenant_backup.models import Backup, Event, EventKind, TenantState, Verdict
from tenant_backup.monitoring.verdict import Judgement

FAILURES = (Verdict.FAILED, Verdict.OVERDUE, Verdict.INVALID)
"""From these a tenant has recovered when a backup succeeds, and not when settings change."""


def note(judgement: Judgement, now: datetime) -> None:
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
