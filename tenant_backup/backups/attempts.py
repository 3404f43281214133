"""What came of each attempt to make a backup, of those that are gone, too."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from tenant_backup.chart import Attempt, Outcome
from tenant_backup.models import Backup, Event, EventKind
from tenant_backup.tenants import Tenant


def attempts_since(tenant: Tenant, since: datetime) -> list[Attempt]:
    """What came of each attempt since then, of those that are not in the catalog any more, too."""
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
