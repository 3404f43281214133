"""Losses: tables that lost rows, until that is intended or they are back."""

from django.utils import timezone

from tenant_backup.catalog import catalog_transaction
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Event, EventKind, RowLoss
from tenant_backup.tenants import Tenant


def open_losses(tenant_id: str) -> list[RowLoss]:
    return list(RowLoss.objects.for_tenant(tenant_id).open().select_related("before"))


def intend(tenant: Tenant, loss: RowLoss, actor: str) -> None:
    with catalog_transaction():
        rows = RowLoss.objects.for_tenant(tenant.id).open().filter(pk=loss.pk)
        if not rows.update(ended_at=timezone.now(), intended_by=actor):
            raise BackupError("This finding has ended already.")
        Event.record(EventKind.INTENDED, tenant.id, actor=actor, detail=loss.table)
