"""Comparing a backup with today, or with another backup."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from tenant_backup import sqlite
from tenant_backup.backups import REQUEST_BUSY_TIMEOUT, directory_of
from tenant_backup.models import Backup
from tenant_backup.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Compared:
    tables: list[sqlite.Difference]
    now: Backup | None
    at: datetime


@contextmanager
def comparison(
    tenant: Tenant, then: Backup, now: Backup | None = None, *, seconds: float | None = None
) -> Iterator[tuple[sqlite.Comparison, Backup | None]]:
    deadline = None if seconds is None else time.monotonic() + seconds
    directory = directory_of(tenant)
    facts = sqlite.look(tenant.database, busy_timeout=REQUEST_BUSY_TIMEOUT)
    if now is None and facts.journal_mode != "wal":
        now = Backup.objects.for_tenant(tenant.id).good().newest_first().first()
    file = tenant.database if now is None else directory.file(now.file_name)
    with sqlite.comparing(
        directory.file(then.file_name),
        file,
        is_live=now is None,
        busy_timeout=REQUEST_BUSY_TIMEOUT,
        deadline=deadline,
    ) as found:
        yield found, now


def compare(
    tenant: Tenant,
    then: Backup,
    now: Backup | None = None,
    *,
    tables: Iterable[str] | None = None,
    seconds: float | None = None,
) -> Compared:
    with comparison(tenant, then, now, seconds=seconds) as (found, other):
        names = found.tables() if tables is None else tables
        at = other.created_at if other else timezone.now()
        return Compared([found.difference(name) for name in names], other, at)
