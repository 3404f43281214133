"""Verification: whether a backup's file is what was made, by a look at it or by reading it again.

A complete backup is *missing* if its file is certainly not there, and *damaged* if the file is
there and is not what was made; either is a flaw. A file that is out of reach or cannot be read is
neither: that raises another `BackupError`. Backups that are dated in the future are marked, too.
"""

import errno
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

from django.utils import timezone

from tenant_backup import retention, sqlite
from tenant_backup.backups.folder import directory_of
from tenant_backup.catalog import catalog_transaction
from tenant_backup.exceptions import BackupError, BackupMissing, DatabaseDamaged, cannot_be_read
from tenant_backup.files import BackupDirectory, wrong_size
from tenant_backup.models import Backup, Event, EventKind
from tenant_backup.sqlite import Fingerprint, SignOfLife
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text

logger = logging.getLogger("tenant_backup")

Flaw = BackupMissing | DatabaseDamaged

SEVERAL = 5
"""If so many backups, and more than all others, are dated in the future, today's clock may be
behind."""


def check_files(tenant: Tenant) -> list[Backup]:
    """Look at the tenant's good backups without reading them, and return those with a flaw.

    Marks those that are missing, those whose size or kind shows that they are damaged, and those
    that are dated in the future.
    """
    good = Backup.objects.for_tenant(tenant.id).good()
    # The catalog first: what it has by now was published before.
    rows = list(good.values_list("pk", "file_name", "size", "created_at", "future_at"))
    newest_date = timezone.now() + retention.AHEAD
    if any(at > newest_date and not future_at for *_, at, future_at in rows):
        note_future(tenant.id)
    flaws = flaws_by_look(tenant, [(pk, name, size) for pk, name, size, *_ in rows])
    # In bulk, since a database takes only so many parameters in one query.
    flawed = [backup for _pk, backup in sorted(good.in_bulk(flaws).items())]
    for backup in flawed:
        note_flaw(backup, flaws[backup.pk])
    return flawed


def verify(
    tenant: Tenant,
    backup: Backup,
    *,
    deadline: float | None = None,
    sign_of_life: SignOfLife | None = None,
) -> str:
    """Read a complete backup's file again: its size, its checksum, its integrity.

    Returns what is wrong with it, or nothing, and notes that in the catalog: one that was missing
    or damaged may be good again. Raises `BackupError` if the file cannot be read. `deadline` is
    a time of `time.monotonic()`; `sign_of_life` is called often.
    """
    directory, now = directory_of(tenant), timezone.now()
    file = directory.file(backup.file_name)
    note_future(tenant.id)
    read = partial(require_sound, deadline=deadline, sign_of_life=sign_of_life)
    try:
        with _failing_disk_is_damage(file):
            flaw = difference(directory, backup, read)
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
    """Read all of a file: its size (in bytes) and checksum, if they are known, and its integrity.

    Raises `DatabaseDamaged` if it is not as it was made or not a sound database, and `BackupError`
    if it cannot be read.
    """
    with _failing_disk_is_damage(file):
        found = require_as_made(file, size, sha256, deadline=deadline, sign_of_life=sign_of_life)
        sqlite.check(file, deadline=deadline, sign_of_life=sign_of_life)
    return found


def require_as_made(
    file: Path,
    size: int | None,
    sha256: str | None,
    *,
    deadline: float | None = None,
    sign_of_life: SignOfLife | None = None,
) -> Fingerprint:
    """As `require_sound`, but without checking the integrity."""
    try:
        found = sqlite.fingerprint(file, deadline=deadline, sign_of_life=sign_of_life)
    except OSError as error:
        raise cannot_be_read(file, error) from error
    if flaw := wrong_size(file, found.size, size):
        raise flaw
    if sha256 is not None and found.sha256 != sha256:
        raise DatabaseDamaged(
            "%(path)s is damaged: its SHA-256 is not the one that it was made with.", path=file
        )
    return found


def difference(
    directory: BackupDirectory,
    backup: Backup,
    read: Callable[[Path, int | None, str], Fingerprint] = require_as_made,
) -> Flaw | None:
    """How a backup's file differs from what was made: by a look at it, then by reading it.

    Raises `BackupError` if it cannot be read.
    """
    try:
        if flaw := _flaw_by_look(directory, backup.file_name, backup.size):
            return flaw
        read(directory.file(backup.file_name), backup.size, backup.sha256)
    except DatabaseDamaged as error:
        return error
    return None


def flaws_by_look(tenant: Tenant, known: Sequence[tuple[int, str, int | None]]) -> dict[int, Flaw]:
    """What `stat` alone shows to be wrong with backups of which key, name and size are known.

    By their keys. It says nothing about what is out of reach.
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

    The history has no line for a good backup that is still good.
    """
    is_news = kind is not EventKind.FOUND or not backup.is_good
    rows = Backup.objects.complete().filter(pk=backup.pk)
    if kind is not EventKind.FOUND:
        # A backup that is being deleted at this moment is not missing.
        rows = rows.filter(deleting_at=None)
    with catalog_transaction():
        if rows.update(**changes):
            vars(backup).update(changes)
            if is_news:
                Event.record(kind, backup, detail=detail)


def note_future(tenant_id: str | None = None) -> None:
    """Mark for good the complete backups, of one tenant or of all, that are dated in the future.

    The clock was wrong when they were made, so they never count, not even when that date has come.
    If there are several, and they are the majority, it may be today's clock that is behind, as a
    machine's often is when it starts. Then nothing is marked; until the clock is right they do not
    count anyway.
    """
    now = timezone.now()
    rows = Backup.objects.complete().filter(future_at=None)
    if tenant_id is not None:
        rows = rows.for_tenant(tenant_id)
    ahead: dict[str, list[Backup]] = {}
    for backup in rows.future(now):
        ahead.setdefault(backup.tenant_id, []).append(backup)
    for owner, found in ahead.items():
        others = rows.for_tenant(owner).counted(now).count()
        if len(found) >= SEVERAL and len(found) > others:
            logger.error(
                "Most backups of tenant %r are dated in the future. Is today's clock behind?",
                owner,
            )
            continue
        for backup in found:
            if rows.filter(pk=backup.pk).update(future_at=now):
                logger.warning(
                    "The backup %s of tenant %r is dated in the future: when it was made, the "
                    "clock was wrong. It is kept but ignored.",
                    backup,
                    owner,
                )


@contextmanager
def _failing_disk_is_damage(file: Path) -> Iterator[None]:
    """Take an I/O error for damage of this file.

    In this way a disk reports that it cannot give data back. Somebody must be notified; and if it
    was only the cable, the backup is still there, and good again as soon as it can be read.
    """
    try:
        yield
    except BackupError as error:
        cause = error.__cause__
        if not (isinstance(cause, OSError) and cause.errno == errno.EIO):
            raise
        raise DatabaseDamaged(
            "%(path)s is damaged: %(reason)s.", path=file, reason=cause.strerror
        ) from error


def _flaw_by_look(directory: BackupDirectory, name: str, size: int | None) -> Flaw | None:
    try:
        return directory.flaw(name, size)
    except OSError as error:
        file = directory.file(name)
        if isinstance(error, FileNotFoundError) and directory.is_missing(name):
            return BackupMissing("The file %(path)s is missing.", path=file)
        raise cannot_be_read(file, error) from error


def _renew_checksum_file(directory: BackupDirectory, backup: Backup) -> None:
    """Write the checksum file again if it does not say what the catalog and the file say.

    The backup is good without it, too; but without a catalog, it is what vouches for the file.
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
