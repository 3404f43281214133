"""Prospects: what becomes of a tenant's backups after the next one, by settings saved or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min
from django.utils import timezone

from tenant_backup import retention
from tenant_backup.backups.quota import stored_backups
from tenant_backup.models import Backup, BackupSettings, Trigger
from tenant_backup.retention import Decision, Stored
from tenant_backup.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Prospect:
    """What the next backup will do to the good ones that there are now."""

    removals: list[Decision[Stored]]
    number: int
    staying: int
    oldest: datetime | None
    """When the oldest that stays was made."""


def prospect(tenant: Tenant, settings: BackupSettings) -> Prospect:
    """By these settings. Those dated in the future stay, but are not counted."""
    now = timezone.now()
    if not settings.policy.removes:
        rows = Backup.objects.for_tenant(tenant.id).good().counted(now)
        found = rows.aggregate(number=Count("pk"), oldest=Min("created_at"))
        return Prospect([], found["number"], found["number"], found["oldest"])
    decisions = _decisions(tenant, settings)
    good = [
        decision
        for decision in decisions
        if decision.backup.is_good and not retention.is_future(decision.backup, now)
    ]
    staying = [decision.backup.created_at for decision in good if decision.keep]
    removals = [decision for decision in decisions if not decision.keep]
    return Prospect(removals, len(good), len(staying), min(staying, default=None))


def removals_after_next(
    tenant: Tenant, settings: BackupSettings | None = None
) -> list[Decision[Stored]]:
    """What will be deleted, and why, when the next backup has succeeded.

    By these settings, which may not be saved yet, or else by the tenant's own.
    """
    settings = settings or BackupSettings.objects.of(tenant.id)
    if not settings.policy.removes:
        return []
    return [decision for decision in _decisions(tenant, settings) if not decision.keep]


def _decisions(tenant: Tenant, settings: BackupSettings) -> list[Decision[Stored]]:
    """What becomes of each backup once there is one more, newest first."""
    stored = stored_backups(tenant)
    made = _next_backup(tenant, settings, stored)
    decisions = retention.decide([*stored, made], settings.policy, made.created_at, tenant.zone)
    return [decision for decision in decisions if decision.backup is not made]


def _next_backup(tenant: Tenant, settings: BackupSettings, stored: Sequence[Stored]) -> Stored:
    """The next backup as it will probably be: by the schedule or like the last, and as large."""
    now = timezone.now()
    good = (row for row in stored if row.is_good and not retention.is_future(row, now))
    last = next(good, None)
    # By cron every night, say, or by hand.
    trigger, at = last.trigger if last else Trigger.MANUAL, now
    if next_slot := settings.slot_after(now, tenant.zone):
        # Its time decides which days and ages are over. A slot that is due is made now.
        is_due = settings.next_run_at and settings.next_run_at <= now
        trigger, at = Trigger.AUTOMATIC, now if is_due else next_slot
    size = last.size if last else None
    return Stored(pk=0, trigger=trigger, pinned=False, created_at=at, size=size)
