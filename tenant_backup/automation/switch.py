"""The switch: an operator pauses and resumes automatic backups, and what may be made meanwhile."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from tenant_backup.conf import conf
from tenant_backup.models import Automation, Backup, BackupQuerySet, Event, EventKind, Trigger


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
            # What was queued meanwhile shall not wait for its turn to be handed over again.
            Backup.objects.queued().update(enqueued_at=None)


def is_paused() -> bool:
    return Automation.load().paused_at is not None


def waiting() -> BackupQuerySet:
    """What is queued and may be made now: nothing automatic while automation is paused."""
    queued = Backup.objects.queued()
    return queued.exclude(trigger=Trigger.AUTOMATIC) if is_paused() else queued
