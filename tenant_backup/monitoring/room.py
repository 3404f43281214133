"""Room: whether a tenant's disk has room for another backup.

Whoever looks at the disk notes what was found in the tenant's state, for those who judge by the
catalog alone. Each attempt looks, the page and `checkbackups` look, and each tick looks at a few
tenants.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from tenant_backup import backups
from tenant_backup.files import SPACE_MARGIN
from tenant_backup.models import TenantState
from tenant_backup.tenants import Tenant

logger = logging.getLogger("tenant_backup")

LOOK_AGAIN_AFTER = timedelta(hours=1)
MOST_AT_ONCE = 20
"""Each tick looks at so many tenants at most, those first at whom nobody has looked for longest: a
disk may be slow to answer, and other tenants wait meanwhile."""


def note(tenant: Tenant, now: datetime | None = None) -> TenantState:
    """Look at the tenant's disk, and note what is new. Returns the tenant's state."""
    state = TenantState.objects.of(tenant.id)
    now = now or timezone.now()
    if news := _news(tenant, state, now):
        state.change(room_checked_at=now, **news)
    return state


def note_after_attempt(*, tenant: Tenant, **kwargs: object) -> None:
    """Receiver of `backup_completed` and `backup_failed`."""
    note(tenant)


def note_some(known: Iterable[tuple[Tenant, TenantState]], now: datetime) -> None:
    """Look at the disks of a few of these tenants, in few queries where nothing has changed."""
    waiting = [
        (state.room_checked_at, tenant, state)
        for tenant, state in known
        if not (at := state.room_checked_at) or not now - LOOK_AGAIN_AFTER < at <= now
    ]
    waiting.sort(key=lambda each: (each[0] is not None, each[0], each[1].id))
    looked_at = waiting[:MOST_AT_ONCE]
    TenantState.objects.ensure(tenant.id for _at, tenant, state in looked_at if state._state.adding)
    for _at, tenant, state in looked_at:
        try:
            if news := _news(tenant, state, now):
                state.change(**news)
        except Exception:
            logger.exception("Nobody knows whether tenant %r has room for a backup.", tenant.id)
    ids = [tenant.id for _at, tenant, _state in looked_at]
    if ids:
        TenantState.objects.filter(tenant_id__in=ids).update(room_checked_at=now)


def _news(tenant: Tenant, state: TenantState, now: datetime) -> dict[str, Any]:
    """The fields of the state, where anything has changed; by `stat` alone."""
    found = _found(tenant, state, now)
    return found if any(vars(state)[name] != value for name, value in found.items()) else {}


def _found(tenant: Tenant, state: TenantState, now: datetime) -> dict[str, Any]:
    """The fields of the state. They are empty where there is room, or where nobody knows."""
    try:
        free = backups.directory_of(tenant).free_bytes()
    except OSError:
        free = None
    needed = backups.database_bytes(tenant)
    if free is None or needed is None or free >= needed + SPACE_MARGIN:
        return {"no_room_since": None, "needed_bytes": None, "free_bytes": None}
    return {
        "no_room_since": state.no_room_since or now,
        "needed_bytes": needed + SPACE_MARGIN,
        "free_bytes": free,
    }
