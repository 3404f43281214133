"""Reverification: when there is nothing else to do, workers read old backups again.

So that rot is noticed before the backup is needed.
"""

import logging
import time
from datetime import datetime, timedelta

from django.db.models import Q
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from tenant_backup import backups
from tenant_backup.automation import queue
from tenant_backup.automation.status import is_making_one, is_paused, waiting
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Automation, Backup, TenantState
from tenant_backup.retention import AHEAD
from tenant_backup.sqlite import SignOfLife
from tenant_backup.tenants import tenant_or_none

logger = logging.getLogger("tenant_backup")

VERIFIED_APART = timedelta(days=1)
"""A backup that was verified so recently is not verified again, nor a second one of its tenant."""

SECONDS_BETWEEN_SIGNS = 30
"""How often a task that reads a backup notes that a worker is alive."""


def enqueue_verify(backup: Backup) -> None:
    """Have a worker read a good backup again.

    Raises `BackupError` inside a transaction, in which nothing can be sent: unlike a backup that is
    to be made, no tick would make up for it.
    """
    if queue.in_a_transaction():
        raise BackupError("Inside a database transaction it cannot be handed to a worker.")
    queue.send(queue.VERIFY, backup.pk)


def verify(backup_id: int) -> str:
    """What a worker does with a backup that is to be verified again. Returns what came of it."""
    backup = Backup.objects.good().filter(pk=backup_id).first()
    tenant = tenant_or_none(backup.tenant_id) if backup else None
    if backup is None or tenant is None:
        return "nothing to do"
    try:
        problem = backups.verify_with_data(
            tenant, backup, deadline=queue.deadline(), sign_of_life=_signs_of_life()
        )
    except BackupError as error:
        logger.error("The backup %s of tenant %r was not verified: %s", backup, tenant.id, error)
        return str(error)
    return problem or "good"


def verify_one_more(now: datetime) -> None:
    """If nothing else is to do, queue the backup that nobody has read for the longest time.

    At most one with each tick, and one a tenant and day.
    """
    if is_paused() or waiting().exists() or queue.in_a_transaction():
        return
    if is_making_one(now, Backup.objects.all()):
        return
    before, ahead = now - VERIFIED_APART, now + AHEAD

    def is_long_ago(field: str) -> Q:
        # What a clock that was ahead has noted says nothing, and would be in the way until then.
        return Q((f"{field}__lt", before)) | Q((f"{field}__gt", ahead))

    is_waiting = Q(verify_queued_at=None) | is_long_ago("verify_queued_at")
    others = TenantState.objects.exclude(is_waiting)
    stale = (
        Backup.objects.good()
        .filter(is_waiting, is_long_ago("verified_at"))
        .exclude(tenant_id__in=others.values("tenant_id"))
    )
    # By the last attempt, too: one that cannot be read must not block all others.
    last_at = Coalesce(Greatest("verify_queued_at", "verified_at"), "verified_at")
    unknown_first = stale.annotate(last_at=last_at, unknown=Q(last_at__gt=ahead))
    backup = unknown_first.order_by("-unknown", "last_at", "pk").first()
    if backup is None:
        return
    state = TenantState.objects.of(backup.tenant_id)
    if state.change("verify_queued_at", verify_queued_at=now):
        queue.send(queue.VERIFY, backup.pk)
        Backup.objects.filter(pk=backup.pk).update(verify_queued_at=now)


def _signs_of_life() -> SignOfLife:
    """A function that notes, now and then, that a worker is alive."""
    noted_at = time.monotonic()

    def note() -> None:
        nonlocal noted_at
        if time.monotonic() - noted_at >= SECONDS_BETWEEN_SIGNS:
            noted_at = time.monotonic()
            Automation.objects.update(worker_seen_at=timezone.now())

    return note
