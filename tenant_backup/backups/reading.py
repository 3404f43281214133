"""Reading a backup: its file for a download, or what is in it, table by table."""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO

from django.utils import timezone

from tenant_backup import sqlite
from tenant_backup.backups.folder import directory_of
from tenant_backup.backups.requests import request_timeout
from tenant_backup.backups.verification import note_flaw
from tenant_backup.exceptions import BackupError
from tenant_backup.files import wrong_size
from tenant_backup.models import Backup, Event, EventKind
from tenant_backup.tenants import Tenant

logger = logging.getLogger("tenant_backup")

RESUMED_WITHIN = timedelta(days=1)
"""A download that is continued after this long is a new one for the history."""


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


def open_file(
    tenant: Tenant,
    backup: Backup,
    *,
    actor: str = "",
    is_resumed: bool = False,
    is_sent: bool = True,
) -> BinaryIO:
    """Open a complete backup's file to be downloaded, and note that in the history.

    Not if nothing is sent, or if it continues a download that the same person began within a day.
    Raises `BackupError` as `_open` does.
    """
    stream = _open(tenant, backup)
    if is_sent and not (is_resumed and _has_begun(backup, actor)):
        Event.record(EventKind.DOWNLOADED, backup, actor=actor)
    return stream


def contents(tenant: Tenant, backup: Backup, *, seconds: float | None = None) -> list[Table]:
    """What is in a backup, table by table, beside today's database, which may be gone.

    Neither file is changed. Counting each takes at most so many seconds. Raises `BackupError` if
    the backup cannot be read.
    """
    _open(tenant, backup).close()  # It is there, and no link to somewhere else.
    file = directory_of(tenant).file(backup.file_name)
    then = sqlite.contents(file, deadline=_deadline(seconds))
    today: dict[str, int | None] = {}
    try:
        with sqlite.snapshot(
            tenant.database, busy_timeout=request_timeout(), only_look=True
        ) as snapshot:
            today = snapshot.contents(deadline=_deadline(seconds))
    except BackupError as error:
        logger.warning("Today's rows of tenant %r cannot be counted: %s", tenant.id, error)
    return [
        Table(name, then.get(name), today.get(name), name in then, name in today)
        for name in sorted({*then, *today})
    ]


def numbers_in(
    tenant: Tenant, backup: Backup, kept: Mapping[str, int | None] | None
) -> Mapping[str, int | None]:
    """How many rows each table of a backup holds: what is kept of that, or else it is counted.

    Raises `BackupError` if its file is not there, of another size, or cannot be read.
    """
    _open(tenant, backup).close()
    if kept is not None:
        return kept
    return sqlite.count(directory_of(tenant).file(backup.file_name)).tables


def numbers_today(tenant: Tenant) -> Mapping[str, int | None]:
    """How many rows each table of the database holds at this moment; empty if nobody can tell."""
    try:
        with sqlite.snapshot(
            tenant.database, busy_timeout=request_timeout(), only_look=True
        ) as snapshot:
            return snapshot.count()
    except BackupError as error:
        logger.warning("Today's rows of tenant %r cannot be counted: %s", tenant.id, error)
        return {}


def _open(tenant: Tenant, backup: Backup) -> BinaryIO:
    """Open a complete backup's file for reading.

    Raises `BackupError` if there is none, or one of another size, which is marked as damaged.
    """
    row = Backup.objects.for_tenant(tenant.id).complete().filter(pk=backup.pk).first()
    if row is None:
        raise BackupError("Backup %(backup)s has no file.", backup=backup.pk)
    directory = directory_of(tenant)
    stream = directory.open(row.file_name)
    found = os.fstat(stream.fileno()).st_size
    if flaw := wrong_size(directory.file(row.file_name), found, row.size):
        stream.close()
        note_flaw(row, flaw)
        raise flaw
    return stream


def _has_begun(backup: Backup, actor: str) -> bool:
    """Whether this person has lately begun to download a backup, so that this is the rest of it."""
    since = timezone.now() - RESUMED_WITHIN
    lines = Event.objects.for_tenant(backup.tenant_id).filter(
        kind=EventKind.DOWNLOADED, backup_id=backup.pk, actor=actor, created_at__gte=since
    )
    return lines.exists()


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds
