"""Handing over: queued backups go to the workers, and again where their message was lost."""

import logging
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext

from tenant_backup import backups
from tenant_backup.automation import queue
from tenant_backup.automation.status import AutomationStatus, waiting
from tenant_backup.conf import conf
from tenant_backup.models import Backup
from tenant_backup.retention import AHEAD
from tenant_backup.tenants import Tenant

logger = logging.getLogger("tenant_backup")

ENQUEUE_AGAIN_AFTER = timedelta(minutes=5)
LONGEST_DELAY = timedelta(hours=6)
"""A queued backup that no worker has started is handed over again after the first delay, which
doubles up to the longest one."""

FEW = 10
"""Backups are handed over again only while so few are outstanding: workers that are merely busy
must not drown in copies."""


def is_for_a_worker(tenant: Tenant, status: AutomationStatus) -> bool:
    """Whether a backup would keep a request waiting for long, and a worker is there to make it.

    By `stat` alone. If the database is missing, the answer is no: the request then says at once
    what is wrong.
    """
    return status.is_running and (backups.database_bytes(tenant) or 0) > conf.INLINE_MAX_BYTES


def enqueue(backup: Backup) -> None:
    """Hand a queued backup to the workers, unless they have it. Where that fails, the tick will."""
    if backup.enqueued_at is None:
        _hand_over(backup, timezone.now())


def hand_over_waiting(now: datetime) -> None:
    """Hand over all that the workers do not have, and some of what they seem to have lost."""
    if queue.in_a_transaction():
        # As with `sync`, where the scheduler itself runs the tick.
        reason = gettext(
            "It cannot be handed to a worker: the tick runs inside a database transaction. Is "
            "“sync” set in Q_CLUSTER?"
        )
        waiting().filter(enqueued_at=None, error="").update(error=reason)
        return
    rows = list(waiting().order_by("created_at"))
    first = [backup for backup in rows if not backup.enqueued_at]
    again = [
        backup
        for backup in rows
        if backup.enqueued_at and _is_lost(backup.enqueued_at, backup.created_at, now)
    ]
    outstanding = len(rows) - len(first) - len(again)
    for backup in [*first, *again[: max(0, FEW - outstanding)]]:
        _hand_over(backup, now)


def _hand_over(backup: Backup, now: datetime) -> None:
    """Give the workers the backup's id; inside a transaction it is left to the next tick."""
    if queue.in_a_transaction():
        return
    row = Backup.objects.queued().filter(pk=backup.pk, enqueued_at=backup.enqueued_at)
    if not row.update(enqueued_at=now, error=""):
        return
    backup.enqueued_at = now
    try:
        queue.send(queue.MAKE, backup.pk)
    except Exception as error:
        # Whatever the host's broker raises: the row stays queued and says why.
        logger.exception("Backup %s cannot be handed to a worker.", backup.pk)
        text = gettext("It cannot be handed to a worker: %(kind)s: %(reason)s")
        reason = text % {"kind": type(error).__name__, "reason": error}
        Backup.objects.queued().filter(pk=backup.pk).update(error=reason, enqueued_at=None)


def _is_lost(enqueued_at: datetime, created_at: datetime, now: datetime) -> bool:
    """Whether a backup was handed over so long ago that its message is probably lost."""
    if enqueued_at > now + AHEAD:
        return True
    doubled = min(enqueued_at - created_at, LONGEST_DELAY)
    return now - enqueued_at >= max(ENQUEUE_AGAIN_AFTER, doubled)
