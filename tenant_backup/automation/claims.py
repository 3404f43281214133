"""Claims: a tenant whose slot has come gets one queued backup, exactly once a slot.

Several processes may claim at the same time: ticks of several clusters, or of cron.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from tenant_backup import backups
from tenant_backup.automation.status import is_paused, waiting
from tenant_backup.conf import conf
from tenant_backup.models import (
    Automation,
    Backup,
    BackupSettings,
    BackupSettingsQuerySet,
    Trigger,
)
from tenant_backup.schedule import PERIODS
from tenant_backup.tenants import Tenant, tenant_or_none

logger = logging.getLogger("tenant_backup")


@contextmanager
def logged(doing: str) -> Iterator[None]:
    """Log any failure and go on: one tenant's trouble must not keep others from their backups."""
    try:
        yield
    except Exception:
        logger.exception("%s failed.", doing)


def is_due(tenant: Tenant, now: datetime) -> bool:
    """Whether `take_due` would find something to do for this tenant."""
    settings = BackupSettings.objects.of(tenant.id)
    slot_has_come = settings.automatic and settings.next_run_at and settings.next_run_at <= now
    return bool(slot_has_come and not is_paused()) or waiting().for_tenant(tenant.id).exists()


def take_due(
    tenants: Sequence[Tenant], now: datetime, *, counts_as_tick: bool
) -> list[tuple[Tenant, Backup]]:
    """The work for these tenants where there is no cluster: what is due, and what is queued.

    Counts as a tick where these are all tenants: then somebody looks after everybody's backups.
    """
    if counts_as_tick:
        Automation.load()
        Automation.objects.update(last_tick_at=now)
    by_id = {tenant.id: tenant for tenant in tenants}
    recover_and_claim(now, BackupSettings.objects.filter(tenant_id__in=by_id))
    queued = waiting().filter(tenant_id__in=by_id).order_by("created_at")
    return [(by_id[backup.tenant_id], backup) for backup in queued]


def recover_and_claim(now: datetime, settings: BackupSettingsQuerySet) -> None:
    """Recover what crashed, then queue a backup for each of these tenants whose slot has come."""
    _recover()
    if is_paused():
        return
    _correct_times(now, settings)
    for row in settings.filter(automatic=True, next_run_at__lte=now):
        if tenant := tenant_or_none(row.tenant_id):
            with logged(f"Claiming the slot of tenant {tenant.id!r}"):
                claim(row, tenant, now)


def claim(settings: BackupSettings, tenant: Tenant, now: datetime) -> None:
    """Queue the backup of a slot that has come, unless another process has done so."""
    slot_at = settings.next_run_at
    try:
        with transaction.atomic(using=conf.CATALOG_DATABASE):
            if not settings.reschedule(tenant.zone, now):
                return  # another process was faster
            Backup.objects.create(tenant_id=tenant.id, trigger=Trigger.AUTOMATIC, slot_at=slot_at)
    except IntegrityError:
        # A backup of this tenant is queued or running. The slot waits for the next tick.
        logger.info("The slot %s of tenant %r waits for an active backup.", slot_at, tenant.id)


def _recover() -> None:
    """Recover the tenants with rows that a crash left `running`, or half deleted.

    A row that is `running` would be in the way of a claim.
    """
    left = [*Backup.objects.running(), *Backup.objects.being_deleted()]
    for tenant_id in sorted({backup.tenant_id for backup in left}):
        if tenant := tenant_or_none(tenant_id):
            with logged(f"Recovering the backups of tenant {tenant.id!r}"):
                backups.recover(tenant)


def _correct_times(now: datetime, settings: BackupSettingsQuerySet) -> None:
    """Set the next run of those who have none, or one that a clock that was ahead has set."""
    # A schedule that begins in the future would hide that a backup is overdue.
    settings.filter(automatic=True, scheduled_since__gt=now).update(scheduled_since=now)
    unset = Q(next_run_at=None)
    for interval, period in PERIODS.items():
        # No slot is so far away.
        unset |= Q(interval=interval, next_run_at__gt=now + period + timedelta(days=1))
    for row in settings.filter(unset, automatic=True):
        if tenant := tenant_or_none(row.tenant_id):
            with logged(f"Setting the next run of tenant {tenant.id!r}"):
                row.reschedule(tenant.zone, now)
