"""Handing over: queued backups go to the workers, and again where their message was lost."""

import logging
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext

from tenant_backup.automation import queue
from tenant_backup.automation.status import waiting
from tenant_backup.models import Backup
from tenant_backup.retention import AHEAD

logger = logging.getLogger("tenant_backup")

ENQUEUE_AGAIN_AFTER = timedelta(minutes=5)
LONGEST_DELAY = timedelta(hours=6)
"""A queued backup that no worker has started is handed over again after the first delay, which
doubles up to the longest one."""

FEW = 10
"""Backups are handed over again only while so few are outstanding: workers that are merely busy
must not drown in copies."""


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
    handed_over = [backup for backup in rows if backup.enqueued_at]
    again = [backup for backup in handed_over if _is_overdue(backup, now)]
    outstanding = len(handed_over) - len(again)
    first = [backup for backup in rows if not backup.enqueued_at]
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


def _is_overdue(backup: Backup, now: datetime) -> bool:
    """Whether it was handed over so long ago that its message is probably lost."""
    assert backup.enqueued_at is not None  # noqa: S101 - it was handed over
    if backup.enqueued_at > now + AHEAD:
        return True
    doubled = min(backup.enqueued_at - backup.created_at, LONGEST_DELAY)
    return now - backup.enqueued_at >= max(ENQUEUE_AGAIN_AFTER, doubled)
