"""Disk space: whether a tenant's disk has room for another backup, noted for monitoring.

What is found is noted in the tenant's state, for those who judge by the catalog alone. Each attempt
looks at the disk, as do the page and `checkbackups`, and each tick looks for a few tenants.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from tenant_backup import backups
from tenant_backup.files import SPACE_MARGIN
from tenant_backup.models import TenantState
from tenant_backup.monitoring.verdict import Judgement
from tenant_backup.tenants import Tenant

logger = logging.getLogger("tenant_backup")

LOOK_AGAIN_AFTER = timedelta(hours=1)
MOST_AT_ONCE = 20
"""Each tick looks at so many tenants at most, first at those that it has not looked at for longest:
a disk may be slow to answer, and other tenants wait meanwhile."""

NEVER = datetime.min.replace(tzinfo=UTC)


def note(tenant: Tenant, now: datetime | None = None) -> TenantState:
    """Look at the tenant's disk, and note what is new. Returns the tenant's state."""
    state = TenantState.objects.of(tenant.id)
    now = now or timezone.now()
    if changes := _changes(tenant, state, now):
        state.change(room_checked_at=now, **changes)
    return state


def note_after_attempt(*, tenant: Tenant, **kwargs: object) -> None:
    """Receiver of `backup_completed` and `backup_failed`."""
    note(tenant)


def note_some(judgements: Iterable[Judgement], now: datetime) -> None:
    """Look at the disks of a few of these tenants, in few queries if nothing has changed."""
    waiting = [
        (each.tenant, each.state)
        for each in judgements
        if each.tenant and not now - LOOK_AGAIN_AFTER < (each.state.room_checked_at or NEVER) <= now
    ]
    waiting.sort(key=lambda each: (each[1].room_checked_at or NEVER, each[0].id))
    looked_at = waiting[:MOST_AT_ONCE]
    if not looked_at:
        return
    TenantState.objects.ensure(tenant.id for tenant, state in looked_at if state._state.adding)
    for tenant, state in looked_at:
        try:
            if changes := _changes(tenant, state, now):
                state.change(**changes)
        except Exception:
            logger.exception("Nobody knows whether tenant %r has room for a backup.", tenant.id)
    ids = [tenant.id for tenant, _state in looked_at]
    TenantState.objects.filter(tenant_id__in=ids).update(room_checked_at=now)


def _changes(tenant: Tenant, state: TenantState, now: datetime) -> dict[str, Any]:
    """The state's fields about the disk if any has changed. They are empty unless it is full."""
    try:
        free = backups.directory_of(tenant).free_bytes()
    except OSError:
        free = None
    needed = backups.database_bytes(tenant)
    found: dict[str, Any] = dict.fromkeys(("no_room_since", "needed_bytes", "free_bytes"))
    if free is not None and needed is not None and free < needed + SPACE_MARGIN:
        found = {
            "no_room_since": state.no_room_since or now,
            "needed_bytes": needed + SPACE_MARGIN,
            "free_bytes": free,
        }
    return found if any(getattr(state, name) != value for name, value in found.items()) else {}
