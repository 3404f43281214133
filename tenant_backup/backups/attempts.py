"""What became of each attempt to make a backup, even if its row is gone."""

from dataclasses import dataclass
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from tenant_backup.models import Backup, Event, EventKind
from tenant_backup.tenants import Tenant


class Outcome(models.TextChoices):
    """How an attempt, or a day of attempts, went: the best first."""

    GOOD = "good", _("good")
    REMOVED = "removed", _("made, since removed")
    FAILED = "failed", _("failed, missing or damaged")
    NONE = "none", _("none")
    """A day without an attempt."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One backup or failed attempt, never `Outcome.NONE`. The size is in bytes."""

    at: datetime
    outcome: Outcome
    size: int | None = None


def attempts_since(tenant: Tenant, since: datetime) -> list[Attempt]:
    """What became of each attempt since then: by the catalog, and for rows gone by the history."""
    rows = Backup.objects.for_tenant(tenant.id)
    known = rows.exclude(Backup.ACTIVE).filter(created_at__gte=since)
    good = set(known.good().values_list("pk", flat=True))
    found = [
        Attempt(at, Outcome.GOOD if pk in good else Outcome.FAILED, size)
        for pk, at, size in known.values_list("pk", "created_at", "size")
    ]
    ends = {EventKind.COMPLETED.value: Outcome.REMOVED, EventKind.FAILED.value: Outcome.FAILED}
    events = Event.objects.for_tenant(tenant.id).filter(kind__in=ends, created_at__gte=since)
    gone = events.filter(~Q(backup_id__in=rows.values("pk")))
    return found + [
        Attempt(at, ends[kind], size)
        for at, kind, size in gone.values_list("created_at", "kind", "size")
    ]
