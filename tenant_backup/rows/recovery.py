"""Recovery of a restore of rows, or of its undoing, whose process was killed.

The transaction was committed or not, and only the database knows: so a look into it tells.
"""

import logging
from dataclasses import dataclass

from tenant_backup import backups
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, BackupInProgress
from tenant_backup.models import Backup, RowRestore
from tenant_backup.rows.records import mark_done, mark_undone, plan_of
from tenant_backup.signals import rows_restored
from tenant_backup.sqlite.row_plan import Key, RowPlan, explaining
from tenant_backup.sqlite.row_writing import has_happened
from tenant_backup.tenants import Tenant, tenant_or_none

logger = logging.getLogger("tenant_backup")

State = RowRestore.State
UNFINISHED = [State.PLANNED, State.UNDOING]


@dataclass(frozen=True, slots=True)
class Restored:
    """Rows that are back: how many of each table, and their keys."""

    tables: dict[str, int]
    keys: dict[str, list[Key]]

    @classmethod
    def of(cls, rows: RowPlan) -> "Restored":
        keys: dict[str, list[Key]] = {}
        for part in rows.parts:
            known = keys.setdefault(part.table, [])
            known += rows.keys_of(part)
        # A row may be there twice: two of its columns were filled again.
        unique = {table: list(dict.fromkeys(found)) for table, found in keys.items() if found}
        return cls({table: len(found) for table, found in unique.items()}, unique)

    def announce(self, tenant: Tenant) -> None:
        """Tell the host, when the tenant's lock is free again."""
        rows_restored.send_robust(Backup, tenant=tenant, tables=self.tables, keys=self.keys)


def settle(tenant: Tenant, record: RowRestore, rows: RowPlan) -> Restored | None:
    """Bring a record to its true state; what it restored, if that is known only now."""
    with explaining(rows.database, conf.BUSY_TIMEOUT):
        happened = has_happened(rows)
    if record.state == State.UNDOING:
        if happened:
            record.state = State.DONE
            record.save(update_fields=["state"])
        else:
            mark_undone(record)
        return None
    if happened:
        mark_done(tenant, record)
        return Restored.of(rows)
    record.delete()
    return None


def recover_under_lock(tenant: Tenant) -> list[Restored]:
    """Recover the tenant's records; the lock's holder calls it, and announces what it returns."""
    found = []
    unfinished = RowRestore.objects.for_tenant(tenant.id).filter(state__in=UNFINISHED)
    for record in unfinished.order_by("pk"):
        logger.warning("Recovering the restore of rows %s of tenant %r.", record.pk, tenant.id)
        try:
            with plan_of(tenant, record) as rows:
                if restored := settle(tenant, record, rows):
                    found.append(restored)
        except BackupError as error:
            # It stays as it is, and keeps nobody from bringing other rows back.
            logger.error(
                "The restore of rows %s of tenant %r is not recovered: %s",
                record.pk,
                tenant.id,
                error,
            )
    return found


def recover(tenant: Tenant) -> None:
    """Recover what a crash left, unless somebody is at work.

    Raises `BackupError` if the tenant's lock cannot be taken.
    """
    if not RowRestore.objects.for_tenant(tenant.id).filter(state__in=UNFINISHED).exists():
        return
    try:
        with backups.tenant_lock(tenant, wait=0):
            found = recover_under_lock(tenant)
    except BackupInProgress:
        return
    for restored in found:
        restored.announce(tenant)


def recover_all() -> None:
    """Recover what crashes left, of all tenants. The tick calls it; there is hardly ever any."""
    unfinished = RowRestore.objects.filter(state__in=UNFINISHED)
    for tenant_id in sorted(set(unfinished.values_list("tenant_id", flat=True))):
        if tenant := tenant_or_none(tenant_id):
            try:
                recover(tenant)
            except BackupError as error:
                logger.error(
                    "The restore of rows of tenant %r is not recovered: %s", tenant_id, error
                )
