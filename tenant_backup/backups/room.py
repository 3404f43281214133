"""Room for the next backup: what yields is released and pruned if there is not enough otherwise."""

import logging

from django.utils import timezone

from tenant_backup.backups import quota
from tenant_backup.backups.holds import release
from tenant_backup.backups.locking import TenantWork
from tenant_backup.backups.pruning import prune_under_lock
from tenant_backup.backups.yielding import yielding
from tenant_backup.models import Backup, HoldKind

logger = logging.getLogger("tenant_backup")


def make_room(work: TenantWork, *, is_click: bool) -> None:
    """Release what is held for lost rows, as far as the next backup would be refused otherwise.

    The lock's holder calls it. Nothing is released if it would be refused nevertheless. If that
    fails, it is logged, and whoever makes the backup says that there is no room.
    """
    tenant = work.tenant
    if not quota.is_short(tenant, is_click=is_click, with_yielding=False):
        return
    if quota.is_short(tenant, is_click=is_click, with_yielding=True):
        return
    try:
        for pk in yielding(tenant, quota.stored_backups(tenant), timezone.now()).ids:
            release(tenant, Backup.objects.get(pk=pk), kind=HoldKind.LOSS)
            prune_under_lock(work, actor="")
            if not quota.is_short(tenant, is_click=is_click, with_yielding=False):
                return
    except Exception:
        logger.exception("No room could be made for a backup of tenant %r.", tenant.id)
