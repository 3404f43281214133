"""Yielding: what is held for lost rows alone gives way before a backup is refused for lack of room.

It is released only if that makes enough room, the one held longest first. What would go then,
retention decides as it always does.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tenant_backup import retention
from tenant_backup.models import BackupSettings, Hold, HoldKind
from tenant_backup.retention import Stored
from tenant_backup.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Yielding:
    """The backups that give way, the one held longest first, and what is there beside them."""

    ids: tuple[int, ...] = ()
    stored: Sequence[Stored] = ()
    """All backups that have a file, as if nothing held the yielding ones."""

    def __bool__(self) -> bool:
        return bool(self.ids)


def yielding(tenant: Tenant, stored: Sequence[Stored], now: datetime) -> Yielding:
    """Which of these backups are held, and for nothing but lost rows."""
    holds = Hold.objects.for_tenant(tenant.id).active(now).order_by("created_at", "pk")
    kinds: dict[int, set[str]] = {}
    for backup_id, kind in holds.values_list("backup_id", "kind"):
        kinds.setdefault(backup_id, set()).add(kind)
    ids = tuple(pk for pk, found in kinds.items() if found == {HoldKind.LOSS})
    return Yielding(ids, released(stored, ids)) if ids else Yielding((), stored)


def released(stored: Sequence[Stored], ids: Collection[int]) -> list[Stored]:
    return [replace(row, hold_reason="") if row.pk in ids else row for row in stored]


def bytes_freed(tenant: Tenant, found: Yielding, now: datetime) -> int:
    """How many bytes pruning would free at once if all that yields were released."""
    if not found:
        return 0
    policy = BackupSettings.objects.of(tenant.id).policy
    decisions = retention.decide(found.stored, policy, now, tenant.zone)
    return sum(
        each.backup.stored_bytes
        for each in decisions
        if not each.keep and each.backup.pk in found.ids
    )
