"""Recovery: rows that a crash left `running` or half deleted are brought to their true state.

The lock's holder does it before anything else: see `locking.py`.
"""

import logging
import os
from datetime import UTC, datetime, timedelta

from tenant_backup.backups import deletion_steps
from tenant_backup.backups.deletion_steps import Deletion
from tenant_backup.backups.folder import directory_of
from tenant_backup.backups.outcomes import INTERRUPTED, complete, fail
from tenant_backup.exceptions import BackupError
from tenant_backup.files import BackupDirectory
from tenant_backup.models import Backup
from tenant_backup.tenants import Tenant
from tenant_backup.texts import joined

logger = logging.getLogger("tenant_backup")

QUIET = timedelta(minutes=3)
"""A running backup that has not moved for this long was probably left by a crash."""


def is_moving(tenant: Tenant, backup: Backup, now: datetime) -> bool:
    """Whether somebody seems to be at work on a running backup, so that no crash has left it."""
    # A time in the future was written by a clock that was wrong, and says nothing.
    return abs(now - last_progress_at(tenant, backup)) < QUIET


def last_progress_at(tenant: Tenant, backup: Backup) -> datetime:
    """When a running backup last moved, by the time of its partial, or else by its row."""
    started_at = backup.started_at or backup.created_at
    try:
        changed = directory_of(tenant).partial(backup.file_name).stat().st_mtime
    except (OSError, BackupError):
        return started_at
    return max(started_at, datetime.fromtimestamp(changed, UTC))


def recover_running(tenant: Tenant) -> list[Backup]:
    """Finalise the rows that a crash left `running`, and return them; the lock's holder calls it.

    A row without a fingerprint may have a file nevertheless: if the catalog lies in the very
    database that was restored, nothing could be written to it when the safety copy was published.
    The checksum file vouches for such a file.
    """
    directory = directory_of(tenant)
    rows = list(Backup.objects.for_tenant(tenant.id).running())
    for backup in rows:
        logger.warning("Recovering backup %s of tenant %r.", backup.pk, tenant.id)
        if not backup.fingerprint and (
            copy := directory.fingerprint_by_checksum_file(backup.file_name)
        ):
            backup.record_copy(copy)
        finalise(directory, backup, BackupError(INTERRUPTED))
    return rows


def finalise(directory: BackupDirectory, backup: Backup, reason: BackupError) -> bool:
    """Bring a `running` row to its true state: complete if its file is published, else failed.

    Returns whether it is complete. If something cannot be read or tidied up, the row says so, but
    does not stay `running`: that would keep others from making a backup.
    """
    troubles: list[BackupError] = []
    name, made = backup.file_name, backup.fingerprint
    is_published = None
    try:
        is_published = made is not None and directory.holds(name, made)
        if is_published:
            directory.finish(name)
            complete(backup)
            return True
    except BackupError as error:
        troubles.append(error)
    if not is_published:
        # If we cannot tell, the file may be there. Then it keeps its checksum file.
        sha256 = backup.sha256 if is_published is False else ""
        try:
            directory.withdraw(name, sha256)
        except BackupError as error:
            troubles.append(error)
    fail(backup, joined(reason, *troubles))
    return False


def recover_deletions(tenant: Tenant) -> list[Backup]:
    """Complete the deletions that a crash interrupted, and return the backups that are gone.

    If the file is still there, the mark is removed, and the backup may be deleted again. If it is
    out of reach, nothing is done. The lock's holder calls it.
    """
    directory, gone = directory_of(tenant), []
    rows = Backup.objects.for_tenant(tenant.id).being_deleted()
    for backup in rows.order_by("pk"):
        row = rows.filter(pk=backup.pk)
        if deletion_steps.is_gone(directory, backup):
            logger.warning("The deletion of %s was interrupted: it is completed.", backup)
            deletion_steps.remove_files(directory, backup)
            if deletion_steps.remove_row(row, backup, Deletion.marked_on(backup)):
                gone.append(backup)
        elif _is_there(directory, backup):
            logger.warning("The deletion of %s was interrupted: it is kept.", backup)
            row.update(**deletion_steps.NO_MARK)
    return gone


def _is_there(directory: BackupDirectory, backup: Backup) -> bool:
    try:
        return os.path.lexists(directory.file(backup.file_name))
    except BackupError:
        return False
