"""Status: whether automatic backups happen, and if not, why. An operator can pause them."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from tenant_backup import backups
from tenant_backup.automation import queue
from tenant_backup.conf import conf
from tenant_backup.models import (
    Automation,
    Backup,
    BackupQuerySet,
    BackupSettings,
    Event,
    EventKind,
    Trigger,
)
from tenant_backup.retention import AHEAD
from tenant_backup.tenants import Tenant, tenant_or_none

STALLED_AFTER = timedelta(minutes=3)
"""Without a tick for this long, automation counts as stalled."""

HANDED_OVER_WITHIN = timedelta(minutes=10)
"""A backup that ticks could not hand over for so long does not reach the workers at all."""


class AutomationState(enum.Enum):
    NOT_SET_UP = "not set up"
    PAUSED = "paused"
    STALLED = "stalled"
    RUNNING = "running"

    @property
    def label(self) -> str:
        return {
            AutomationState.NOT_SET_UP: gettext("not set up"),
            AutomationState.PAUSED: gettext("paused"),
            AutomationState.STALLED: gettext("stalled"),
            AutomationState.RUNNING: gettext("running"),
        }[self]


@dataclass(frozen=True, slots=True)
class AutomationStatus:
    """The state of automation, and what explains it."""

    state: AutomationState
    last_tick_at: datetime | None
    paused_at: datetime | None
    paused_by: str
    waiting_since: datetime | None = None
    """Set when ticks run but no backup reaches the workers: since when the oldest one waits."""
    waiting_because: str = ""

    @property
    def is_set_up(self) -> bool:
        return self.state is not AutomationState.NOT_SET_UP

    @property
    def is_paused(self) -> bool:
        return self.state is AutomationState.PAUSED

    @property
    def is_stalled(self) -> bool:
        return self.state is AutomationState.STALLED

    @property
    def is_running(self) -> bool:
        return self.state is AutomationState.RUNNING

    def keeps_waiting(self, tenants: Iterable[Tenant]) -> bool:
        """Whether any of these tenants waits in vain for its automatic backups.

        A pause is no trouble: somebody wanted it. A tenant that it keeps waiting is overdue.
        """
        if self.is_running or self.is_paused:
            return False
        ids = [tenant.id for tenant in tenants]
        return BackupSettings.objects.filter(automatic=True, tenant_id__in=ids).exists()

    @property
    def start_command(self) -> str:
        """The shell command with which the operator starts the cluster."""
        return queue.start_command()


def get_status(now: datetime | None = None) -> AutomationStatus:
    """The status of automation now, or at the time `now`.

    First it repairs the schedule: where that lies ahead, no tick comes that could do so.
    """
    now = now or timezone.now()
    next_runs = queue.next_runs()
    queue.repair_schedule(next_runs)
    row = Automation.load()
    unsent: Backup | None = None
    if not next_runs:
        state = AutomationState.NOT_SET_UP
    elif row.paused_at:
        state = AutomationState.PAUSED
    elif not _is_alive(row, now) or (unsent := _never_handed_over(now)):
        state = AutomationState.STALLED
    else:
        state = AutomationState.RUNNING
    return AutomationStatus(
        state,
        row.last_tick_at,
        row.paused_at,
        row.paused_by,
        waiting_since=unsent.created_at if unsent else None,
        waiting_because=unsent.error if unsent else "",
    )


def is_making_one(now: datetime, rows: BackupQuerySet) -> bool:
    """Whether one of these backups is being made, and was not left by a crash."""
    return any(
        backups.is_moving(tenant, backup, now)
        for backup in rows.running()
        if (tenant := tenant_or_none(backup.tenant_id))
    )


def _is_alive(row: Automation, now: datetime) -> bool:
    # A single worker that verifies a large backup cannot tick meanwhile.
    for seen_at in (row.last_tick_at, row.worker_seen_at):
        if seen_at and now - STALLED_AFTER < seen_at < now + AHEAD:
            return True
    # Nor can it while it makes a large backup. What a person makes elsewhere is no sign of workers.
    return is_making_one(now, Backup.objects.exclude(enqueued_at=None, slot_at=None))


def _never_handed_over(now: datetime) -> Backup | None:
    """The oldest backup that waits although ticks run, if something keeps it from the workers."""
    before = now - HANDED_OVER_WITHIN
    left = Backup.objects.queued().filter(enqueued_at=None, created_at__lt=before)
    oldest = left.order_by("created_at").first()
    if oldest is None or oldest.error:
        return oldest
    # Without a cluster nothing is handed over: one backup is made after the other.
    if is_making_one(now, Backup.objects.all()):
        return None
    # What has waited for the end of a pause is not handed over before the next tick.
    if Event.objects.filter(kind=EventKind.RESUMED, created_at__gt=before).exists():
        return None
    return oldest


def pause(by: str) -> None:
    """Start nothing automatic until `resume`, not even what is queued already."""
    Automation.load()
    running = Automation.objects.filter(paused_at=None)
    with transaction.atomic(using=conf.CATALOG_DATABASE):
        if running.update(paused_at=timezone.now(), paused_by=by):
            Event.record(EventKind.PAUSED, "", actor=by)


def resume(by: str) -> None:
    """Start automatic backups again."""
    paused = Automation.objects.exclude(paused_at=None)
    with transaction.atomic(using=conf.CATALOG_DATABASE):
        if paused.update(paused_at=None, paused_by=""):
            Event.record(EventKind.RESUMED, "", actor=by)
            # What was queued meanwhile should not wait for its turn to be handed over again.
            Backup.objects.queued().update(enqueued_at=None)


def is_paused() -> bool:
    return Automation.load().paused_at is not None


def waiting() -> BackupQuerySet:
    """What is queued and may be made now: nothing automatic while automation is paused."""
    queued = Backup.objects.queued()
    return queued.exclude(trigger=Trigger.AUTOMATIC) if is_paused() else queued
