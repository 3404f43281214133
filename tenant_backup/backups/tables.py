"""What is in a backup, table by table, beside today's database."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from tenant_backup import sqlite
from tenant_backup.backups.directories import directory_of
from tenant_backup.backups.downloads import open_complete
from tenant_backup.backups.requests import request_timeout
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup
from tenant_backup.tenants import Tenant

logger = logging.getLogger("tenant_backup")


@dataclass(frozen=True, slots=True)
class Table:
    """One table in a backup, and in today's database. None is: not there, or not counted."""

    name: str
    rows: int | None
    rows_today: int | None
    is_in_backup: bool
    is_there_today: bool

    @property
    def has_changed(self) -> bool:
        return self.rows != self.rows_today or self.is_in_backup != self.is_there_today


def contents(tenant: Tenant, backup: Backup, *, seconds: float | None = None) -> list[Table]:
    """What is in a backup, table by table, beside today's database, which may be gone.

    Neither file is disturbed. Counting each takes at most so many seconds. Raises `BackupError`
    where the backup cannot be read.
    """
    open_complete(tenant, backup).close()  # it is there, and no link to elsewhere
    file = directory_of(tenant).file(backup.file_name)
    then = sqlite.contents(file, deadline=_deadline(seconds))
    today = _contents_of_today(tenant, seconds)
    return [
        Table(name, then.get(name), today.get(name), name in then, name in today)
        for name in sorted({*then, *today})
    ]


def _contents_of_today(tenant: Tenant, seconds: float | None) -> dict[str, int | None]:
    """The rows of each table; no table where the database cannot be read."""
    try:
        with sqlite.snapshot(
            tenant.database, busy_timeout=request_timeout(), only_look=True
        ) as snapshot:
            return snapshot.contents(deadline=_deadline(seconds))
    except BackupError as error:
        logger.warning("Today's rows of tenant %r cannot be counted: %s", tenant.id, error)
        return {}


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds
