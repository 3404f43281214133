"""How much of the disk a tenant's backups take up, and how much another one needs.

By the catalog and by `stat` alone. All numbers are bytes; None is not known.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from django.db.models import Sum

from tenant_backup.backups.directories import directory_of
from tenant_backup.files import SPACE_MARGIN
from tenant_backup.models import Backup
from tenant_backup.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Space:
    """What a tenant's backups take up, what is free, and how many more fit."""

    used: int
    free: int | None
    fits: int | None


def space(tenant: Tenant) -> Space:
    there = Backup.objects.for_tenant(tenant.id).complete().filter(missing_at=None)
    used = there.aggregate(bytes=Sum("size"))["bytes"] or 0
    try:
        free = directory_of(tenant).free_bytes()
    except OSError:
        return Space(used, None, None)
    needed = database_bytes(tenant)
    return Space(used, free, max(0, free - SPACE_MARGIN) // needed if needed else None)


def database_bytes(tenant: Tenant) -> int | None:
    """How large the database and its write-ahead log are; None where there is no database."""
    # stat, never open: to close a database that this process has open would drop its locks.
    try:
        database = tenant.database.resolve()
        size = database.stat().st_size
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        return None
    log = database.with_name(f"{database.name}-wal")
    with suppress(OSError):
        size += log.stat().st_size
    return size
