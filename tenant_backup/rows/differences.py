"""What differs between a backup and today's database, or between two backups."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.utils import timezone

from tenant_backup import backups, sqlite
from tenant_backup.exceptions import BackupNotFound, DatabaseDamaged
from tenant_backup.models import Backup
from tenant_backup.sqlite import Comparison, Difference
from tenant_backup.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Pair:
    """A backup, and what it is compared with: another one, or today's database."""

    tenant: Tenant
    then: Backup
    now: Backup | None
    """None is today's database itself."""
    at: datetime
    """The moment of `now`."""
    stands_for_today: bool
    """Whether `now` is only the newest backup, since today's database is not read for long."""
    comparison: Comparison
    """Valid while the context of `opened()` lasts."""


@dataclass(frozen=True, slots=True)
class Compared:
    """How the tables differ: see `Pair` for what was compared."""

    then: Backup
    now: Backup | None
    at: datetime
    stands_for_today: bool
    tables: list[Difference]

    @property
    def is_complete(self) -> bool:
        return all(table.is_complete for table in self.tables)


def compare(
    tenant: Tenant,
    then: Backup,
    now: Backup | None = None,
    *,
    tables: Sequence[str] | None = None,
    seconds: float | None = None,
) -> Compared:
    """How many rows of each table are gone, new or changed since a backup.

    `now` is another backup, or None for today. `tables` are those to compare; None is all. After so
    many seconds the numbers are what was found until then. Raises as `opened` does, and
    `BackupError` if there is no such table.
    """
    with opened(tenant, then, now, seconds=seconds) as pair:
        names = pair.comparison.tables() if tables is None else tables
        found = [pair.comparison.difference(name) for name in names]
        return Compared(then, pair.now, pair.at, pair.stands_for_today, found)


@contextmanager
def opened(
    tenant: Tenant, then: Backup, now: Backup | None = None, *, seconds: float | None = None
) -> Iterator[Pair]:
    """Open both to compare them: see `compare`.

    In rollback mode a long read makes the host's writers fail. So there today is the newest good
    backup. Raises `BackupError` if a backup's file is missing or damaged, or if today's database
    cannot be read.
    """
    then_file = _file_of(tenant, then)
    stands_for_today = now is None and not _can_be_read_long(tenant)
    if stands_for_today:
        now = _newest(tenant, then)
    now_file = _file_of(tenant, now) if now else tenant.database
    deadline = None if seconds is None else time.monotonic() + seconds
    at = now.created_at if now else timezone.now()
    with sqlite.comparing(
        then_file,
        now_file,
        is_live=now is None,
        busy_timeout=backups.request_timeout(),
        deadline=deadline,
    ) as comparison:
        yield Pair(tenant, then, now, at, stands_for_today, comparison)


def _can_be_read_long(tenant: Tenant) -> bool:
    facts = sqlite.look(tenant.database, busy_timeout=backups.request_timeout())
    return facts.journal_mode == "wal"


def _newest(tenant: Tenant, then: Backup) -> Backup:
    """The newest good backup, to stand for today; raises `BackupNotFound` if it is `then`."""
    backups.check_files(tenant)
    good = Backup.objects.for_tenant(tenant.id).good().counted(timezone.now()).newest_first()
    newest = good.first()
    if newest is None or newest.pk == then.pk:
        raise BackupNotFound(
            "The database %(database)s is not in WAL mode: those who write to it would have to "
            "wait while it is compared. So the newest good backup stands for today, but none is "
            "newer than %(backup)s. Make one (manage.py runbackup), then try again.",
            database=tenant.database,
            backup=str(then),
        )
    return newest


def _file_of(tenant: Tenant, backup: Backup) -> Path:
    if backup.damaged_at:
        raise DatabaseDamaged(
            "The backup %(backup)s was found damaged, so it is not compared. Read it again "
            "(manage.py verifybackups --all), or choose another one.",
            backup=str(backup),
        )
    return backups.file_to_read(tenant, backup)
