"""Holds: a held backup is kept by retention for a stated reason, until that ends.

There may be several holds on one backup. Each has its own end, and none ends another one. What is
held for lost rows gives way before a backup would be refused for lack of room: see `room`.
"""

from collections.abc import Mapping
from datetime import datetime

from django.utils import timezone

from tenant_backup.backups.folder import note_change
from tenant_backup.backups.locking import index_kept
from tenant_backup.catalog import catalog_transaction
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, Event, EventKind, Hold, HoldKind
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text, as_stored


def hold(
    tenant: Tenant,
    backup: Backup,
    reason: Text,
    until: datetime | None = None,
    *,
    kind: HoldKind = HoldKind.OTHER,
    key: str = "",
    actor: str = "",
) -> None:
    """Hold a backup for a reason, which is a sentence; without a time, until it is released.

    `key` tells apart two holds of one kind on one backup. One that is there already is prolonged,
    never shortened. Raises `BackupError` if the backup is not good.
    """
    with index_kept(tenant) as is_behind, catalog_transaction():
        _require_good(tenant, backup)
        _add(backup, kind, reason, until, key, actor, counts=not is_behind)


def release(
    tenant: Tenant,
    backup: Backup,
    *,
    kind: HoldKind | None = HoldKind.OTHER,
    key: str | None = "",
    actor: str = "",
) -> bool:
    """End the hold of this kind and key on a backup. False if there is none.

    The backup stays held if there is another reason. Who means all kinds or keys says None.
    """
    holds = Hold.objects.for_tenant(tenant.id)
    if kind is not None:
        holds = holds.filter(kind=kind)
    if key is not None:
        holds = holds.filter(key=key)
    if not holds.filter(backup=backup).exists():
        return False
    with index_kept(tenant) as is_behind, catalog_transaction():
        return _end(backup, list(holds.filter(backup=backup)), actor, counts=not is_behind)


def hold_for_losses(
    tenant: Tenant, wanted: Mapping[int, tuple[Text, datetime]], *, counts: bool, actor: str = ""
) -> None:
    """Hold these backups, by their ids, for lost rows, and no others any more.

    Within the caller's transaction and `index_kept`; `counts` is whether the change is counted for
    the index. A backup that is not good any more is left out.
    """
    there_are = Hold.objects.for_tenant(tenant.id).filter(kind=HoldKind.LOSS)
    for row in there_are.exclude(backup_id__in=wanted).select_related("backup"):
        _end(row.backup, [row], actor, counts=counts)
    good = Backup.objects.for_tenant(tenant.id).good().in_bulk(wanted)
    for pk, (reason, until) in wanted.items():
        if backup := good.get(pk):
            _add(backup, HoldKind.LOSS, reason, until, "", actor, counts=counts)


def end_what_is_over(tenant: Tenant) -> None:
    """Remove the holds whose time is over; the lock's holder calls it."""
    over = Hold.objects.for_tenant(tenant.id).over(timezone.now())
    for row in over.select_related("backup"):
        with catalog_transaction():
            _end(row.backup, [row], "", counts=True)


def _require_good(tenant: Tenant, backup: Backup) -> None:
    """Raise `BackupError` unless it is good, also at the end of the present transaction."""
    rows = Backup.objects.for_tenant(tenant.id).filter(pk=backup.pk)
    # To write to the row is to keep it from being marked for deletion meanwhile.
    if not rows.good().update(tenant_id=tenant.id):
        raise BackupError(
            "Backup %(backup)s is missing, damaged or not complete, so it cannot be held.",
            backup=backup.pk,
        )


def _add(
    backup: Backup,
    kind: HoldKind,
    reason: Text,
    until: datetime | None,
    key: str,
    actor: str,
    *,
    counts: bool,
) -> None:
    there_was = Hold.objects.filter(backup=backup, kind=kind, key=key).exists()
    if not Hold.objects.add(backup, kind, reason, until, key):
        return
    if counts:
        note_change(backup.tenant_id)
    if not there_was:
        Event.record(EventKind.HELD, backup, actor=actor, detail=reason)


def _end(backup: Backup, holds: list[Hold], actor: str, *, counts: bool) -> bool:
    rows = Hold.objects.filter(pk__in=[row.pk for row in holds])
    if not rows.end(backup):
        return False
    if counts:
        note_change(backup.tenant_id)
    for row in holds:
        detail = as_stored(row.reason, row.reason_data)
        Event.record(EventKind.RELEASED, backup, actor=actor, detail=detail)
    return True
