"""Work: what a worker, or `runbackup --due`, does with a queued backup; and the next attempt."""

import logging
from datetime import timedelta
from typing import Any

from django.utils import timezone

from tenant_backup import backups
from tenant_backup.automation import queue
from tenant_backup.automation.status import waiting
from tenant_backup.exceptions import BackupError, BackupInProgress, TenantNotFound
from tenant_backup.models import Backup, BackupSettings
from tenant_backup.sqlite import Progress
from tenant_backup.tenants import InvalidTenant, Tenant, get_tenant

logger = logging.getLogger("tenant_backup")

FIRST_RETRY = timedelta(minutes=15)
LONGEST_RETRY = timedelta(hours=6)
"""A failed automatic backup is tried again after the first delay, which doubles up to this."""


def make(backup_id: int) -> str:
    """What a worker does with a queued backup; may be called twice. Returns what came of it."""
    backup = Backup.objects.queued().filter(pk=backup_id).first()
    if backup is None:
        return "nothing to do"
    if not _may_be_made(backup):
        return "paused"
    try:
        tenant = get_tenant(backup.tenant_id)
    except (TenantNotFound, InvalidTenant) as error:
        backups.refuse(backup, error)
        return str(error)
    except Exception:
        logger.exception("The tenant provider failed with tenant %r.", backup.tenant_id)
        return "the tenant provider failed; the tick asks again"
    try:
        result = backups.perform(
            tenant, backup_id, limits=backups.Limits(deadline=queue.deadline())
        )
    except BackupInProgress:
        return "another process is at work; the tick asks again"
    except BackupError as error:
        if error.backup is None:
            raise
        # The row says it, and monitoring reports it. What is raised here, django-q2 keeps forever
        # among the host's failures, with a traceback.
        return str(error)
    return str(result.backup) if result else "nothing to do"


def perform(
    tenant: Tenant, backup: Backup, *, progress: Progress | None = None
) -> backups.BackupResult | None:
    """Make a backup that `take_due` gave; None if a pause or another process has come in between.

    With many tenants, `take_due` may have been called hours ago.
    """
    if not _may_be_made(backup):
        return None
    try:
        return backups.perform(tenant, backup.pk, progress=progress)
    except BackupInProgress:
        return None


def retry_after_failure(*, tenant: Tenant, backup: Backup, **kwargs: Any) -> None:
    """Receiver of `backup_failed`: try a slot's backup again, but never past the next slot.

    What counts is the slot and not the trigger: a person may have taken the queued one over.
    """
    if backup.slot_at is None:
        return
    rows = Backup.objects.for_tenant(tenant.id)
    # By their numbers: a clock that was wrong for a while has no say in which came later.
    last_good = rows.good().order_by("-pk").first()
    failures = rows.failed().filter(pk__gt=last_good.pk if last_good else 0).exclude(slot_at=None)
    before = max(failures.count() - 1, 0)
    delay = min(FIRST_RETRY * 2 ** min(before, 10), LONGEST_RETRY)
    again_at = timezone.now() + delay
    BackupSettings.objects.filter(
        tenant_id=tenant.id, automatic=True, next_run_at__gt=again_at
    ).update(next_run_at=again_at)


def _may_be_made(backup: Backup) -> bool:
    """Whether it is still queued, and does not wait for the end of a pause."""
    return waiting().filter(pk=backup.pk).exists()
