"""Opening a backup's file to be downloaded, with a line in the history."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import BinaryIO

from django.utils import timezone

from tenant_backup.backups.directories import directory_of
from tenant_backup.backups.verification import note_flaw
from tenant_backup.exceptions import BackupError
from tenant_backup.files import wrong_size
from tenant_backup.models import Backup, Event, EventKind
from tenant_backup.tenants import Tenant

RESUMED_WITHIN = timedelta(days=1)
"""A download that goes on after this long is a new one for the history."""


def open_file(
    tenant: Tenant,
    backup: Backup,
    *,
    actor: str = "",
    is_resumed: bool = False,
    is_sent: bool = True,
) -> BinaryIO:
    """Open a complete backup's file to be downloaded, and note that in the history.

    One that goes on where it stopped has its line already, where the same person began within a
    day; and what is not sent at all gets none. Raises `BackupError` where there is no file.
    """
    stream = open_complete(tenant, backup)
    if is_sent and not (is_resumed and _has_begun(backup, actor)):
        Event.record(EventKind.DOWNLOADED, backup, actor=actor)
    return stream


def open_complete(tenant: Tenant, backup: Backup) -> BinaryIO:
    """Open a complete backup's file for reading.

    Raises `BackupError` where there is none, or one of another size, which is marked as damaged.
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
    """Whether this person has begun to download a backup, so that the rest is no further one."""
    since = timezone.now() - RESUMED_WITHIN
    lines = Event.objects.for_tenant(backup.tenant_id).filter(
        kind=EventKind.DOWNLOADED, backup_id=backup.pk, actor=actor, created_at__gte=since
    )
    return lines.exists()
