"""Expiry: old lines of the history and old failed backups are removed.

The history and the failed backups would grow for years, so what is old is removed, a little at a
time. A failed backup has no file: only its row is removed. What monitoring and the next attempt
depend on stays, however old it is.
"""

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q

from tenant_backup.conf import conf
from tenant_backup.models import Backup, BackupQuerySet, Event, EventQuerySet

BATCH = 1000
"""How many rows of a kind are removed at once: a large deletion would keep others waiting."""

FAILURES_LAST = timedelta(days=90)

RETRIES = 10
"""How many failures of slots are counted at most: after so many, the delay no longer grows."""


def forget(now: datetime) -> int:
    """Remove a batch of what is older than necessary, and return the number of rows."""
    count = 0
    for old in (old_events(now).order_by("created_at"), old_failures(now).order_by("created_at")):
        # By their ids: no database deletes a part of an ordered list.
        ids = list(old.values_list("pk", flat=True)[:BATCH])
        count += old.model.objects.filter(pk__in=ids).delete()[0]
    return count


def old_events(now: datetime) -> EventQuerySet:
    return Event.objects.filter(created_at__lt=now - timedelta(days=conf.HISTORY_DAYS))


def old_failures(now: datetime) -> BackupQuerySet:
    """Failed backups that are old, and that nothing depends on any more.

    Monitoring looks at a tenant's newest failure, if it is newer than its last good backup, and
    automation counts the failures of slots since then. Newer means newer by date and by number,
    because clocks may be wrong.
    """
    newer = Backup.objects.filter(
        tenant_id=OuterRef("tenant_id"),
        created_at__gt=OuterRef("created_at"),
        created_at__lte=now,
        pk__gt=OuterRef("pk"),
    )
    of_slots = newer.failed().exclude(slot_at=None)
    is_past = Exists(newer.good()) | Exists(of_slots[RETRIES - 1 : RETRIES])
    return (
        Backup.objects.failed()
        .filter(created_at__lt=now - FAILURES_LAST)
        .filter(is_past | (Q(slot_at=None) & Exists(newer.failed())))
    )
