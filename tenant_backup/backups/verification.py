"""Verification: whether a backup's file is what was made, by a look at it or by reading it again.

What is wrong with it is a `BackupMissing` or a `DatabaseDamaged`. A file that is out of reach or
cannot be read is neither: that raises another `BackupError`.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from django.utils import timezone

from tenant_backup import retention, sqlite
from tenant_backup.backups.dates import note_future
from tenant_backup.backups.directories import directory_of
from tenant_backup.catalog import catalog_transaction
from tenant_backup.exceptions import BackupError, BackupMissing, DatabaseDamaged, cannot_be_read
from tenant_backup.files import BackupDirectory, wrong_size
from tenant_backup.models import Backup, Event, EventKind
from tenant_backup.sqlite import Fingerprint, SignOfLife
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text

logger = logging.getLogger("tenant_backup")

Flaw = BackupMissing | DatabaseDamaged


def check_files(tenant: Tenant) -> list[Backup]:
    """Look at the tenant's good backups without reading them, and return those that are lost.

    Marks those whose files are missing, those whose size or kind shows that they are damaged, and
    what is dated in the future.
    """
    good = Backup.objects.for_tenant(tenant.id).good()
    # The catalog first: what it has by now was published before.
    rows = list(good.values_list("pk", "file_name", "size", "created_at", "future_at"))
    newest_date = timezone.now() + retention.AHEAD
    if any(at > newest_date and not future_at for *_, at, future_at in rows):
        note_future(tenant.id)
    flaws = flaws_by_look(tenant, [(pk, name, size) for pk, name, size, *_ in rows])
    # In bulk, for a database takes only so many numbers in one question.
    lost = [found for _pk, found in sorted(good.in_bulk(flaws).items())]
    for backup in lost:
        note_flaw(backup, flaws[backup.pk])
    return lost


def verify(
    tenant: Tenant,
    backup: Backup,
    *,
    deadline: float | None = None,
    sign_of_life: SignOfLife | None = None,
) -> str:
    """Read a complete backup's file again: its size, its checksum, its integrity.

    Returns what is wrong with it, or nothing, and notes that in the catalog. One that was missing
    or damaged and is right again is good again. Raises `BackupError` where it cannot be told.
    `deadline` is a time of `time.monotonic()`; `sign_of_life` is called often.
    """
    directory, now = directory_of(tenant), timezone.now()
    note_future(tenant.id)
    flaw = _flaw_by_look(directory, backup.file_name, backup.size)
    try:
        if not flaw:
            file = directory.file(backup.file_name)
            require_sound(
                file, backup.size, backup.sha256, deadline=deadline, sign_of_life=sign_of_life
            )
    except DatabaseDamaged as error:
        flaw = error
    if flaw:
        note_flaw(backup, flaw)
        return str(flaw)
    note_found(backup, EventKind.FOUND, verified_at=now, missing_at=None, damaged_at=None)
    _renew_checksum_file(directory, backup)
    return ""


def require_sound(
    file: Path,
    size: int | None,
    sha256: str | None,
    *,
    deadline: float | None = None,
    sign_of_life: SignOfLife | None = None,
) -> Fingerprint:
    """Read all of a file: its size (in bytes) and checksum, as far as known, and its integrity.

    Raises `DatabaseDamaged` if it is not as it was made or not a sound database, and `BackupError`
    if it cannot be read.
    """
    try:
        found = require_as_made(file, size, sha256, deadline=deadline, sign_of_life=sign_of_life)
        sqlite.check(file, deadline=deadline, sign_of_life=sign_of_life)
    except BackupError as error:
        cause = error.__cause__
        if not (isinstance(cause, OSError) and cause.errno == errno.EIO):
            raise
        # A disk reports in this way that it has lost data. Somebody must be notified; and if it was
        # only the cable, the backup is still there, and good again when it is read.
        raise DatabaseDamaged(
            "%(path)s is damaged: %(reason)s.", path=file, reason=cause.strerror
        ) from error
    return found


def require_as_made(
    file: Path,
    size: int | None,
    sha256: str | None,
    *,
    deadline: float | None = None,
    sign_of_life: SignOfLife | None = None,
) -> Fingerprint:
    """Read a file and compare its size and checksum, as far as known; raises as `require_sound`."""
    try:
        found = sqlite.fingerprint(file, deadline=deadline, sign_of_life=sign_of_life)
    except OSError as error:
        raise cannot_be_read(file, error) from error
    if flaw := wrong_size(file, found.size, size):
        raise flaw
    if sha256 and found.sha256 != sha256:
        raise DatabaseDamaged(
            "%(path)s is damaged: its SHA-256 is not the one that it was made with.", path=file
        )
    return found


def difference(directory: BackupDirectory, backup: Backup) -> Flaw | None:
    """How a backup's file differs from what was made: by its kind, its size, then its checksum.

    Raises `BackupError` if it cannot be read.
    """
    if flaw := _flaw_by_look(directory, backup.file_name, backup.size):
        return flaw
    try:
        require_as_made(directory.file(backup.file_name), backup.size, backup.sha256)
    except DatabaseDamaged as error:
        return error
    return None


def flaws_by_look(tenant: Tenant, known: Sequence[tuple[int, str, int | None]]) -> dict[int, Flaw]:
    """What `stat` alone shows to be wrong with backups, of which key, name and size are known.

    By their keys. What is out of reach is not there: that says nothing of it.
    """
    directory = directory_of(tenant)
    found = directory.sizes({name for _pk, name, _size in known})
    flaws: dict[int, Flaw] = {}
    for pk, name, size in known:
        if name in found and size in (None, found[name]):
            continue
        # What does not look right is asked for by name, as the file system spells it.
        try:
            if flaw := _flaw_by_look(directory, name, size):
                flaws[pk] = flaw
        except BackupError:
            continue
    return flaws


def _flaw_by_look(directory: BackupDirectory, name: str, size: int | None) -> Flaw | None:
    try:
        return directory.flaw(name, size)
    except OSError as error:
        file = directory.file(name)
        if isinstance(error, FileNotFoundError) and directory.is_missing(name):
            return BackupMissing("The file %(path)s is missing.", path=file)
        raise cannot_be_read(file, error) from error


def note_flaw(backup: Backup, flaw: Flaw) -> None:
    """Mark a complete backup as missing or damaged, unless it is marked so already."""
    now = timezone.now()
    if isinstance(flaw, BackupMissing):
        if not backup.missing_at:
            note_found(backup, EventKind.MISSING, missing_at=now)
    elif not backup.damaged_at:
        note_found(backup, EventKind.DAMAGED, flaw, damaged_at=now, missing_at=None)


def note_found(
    backup: Backup, kind: EventKind, detail: Text | str = "", **changes: datetime | None
) -> None:
    """Note what was found out about a complete backup's file, in the catalog and the history.

    That a good one is still good is no news for the history.
    """
    is_news = kind is not EventKind.FOUND or not backup.is_good
    rows = Backup.objects.complete().filter(pk=backup.pk)
    if kind is not EventKind.FOUND:
        # What is being deleted at this moment is not lost.
        rows = rows.filter(deleting_at=None)
    with catalog_transaction():
        if rows.update(**changes):
            vars(backup).update(changes)
            if is_news:
                Event.record(kind, backup, detail=detail)


def _renew_checksum_file(directory: BackupDirectory, backup: Backup) -> None:
    """Write the checksum file again where it does not say what the catalog and the file say.

    The backup is good without it, too; but where the catalog is lost, it vouches for the file.
    """
    name, sha256 = backup.file_name, backup.sha256
    if directory.matches_checksum_file(name, sha256):
        return
    try:
        directory.renew_checksum_file(name, sha256)
    except BackupError as error:
        logger.warning("The checksum file of the good backup %s is not right: %s", backup, error)
    else:
        logger.warning("The checksum file of the good backup %s was written again.", backup)
