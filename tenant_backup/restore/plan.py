"""The plan of a restore: the chosen backup is read from end to end before anything is changed."""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.db import DatabaseError, connections
from django.utils import timezone

from tenant_backup import backups, sqlite
from tenant_backup.exceptions import BackupError, DatabaseDamaged, explained
from tenant_backup.files import stated_sha256
from tenant_backup.models import EventKind
from tenant_backup.restore.choose import Choice, Origin, origin_of
from tenant_backup.restore.database import noted_journal_mode
from tenant_backup.sqlite import Fingerprint, User
from tenant_backup.tenants import list_tenants, sqlite_file
from tenant_backup.texts import Text

logger = logging.getLogger("tenant_backup")

WAIT_SECONDS = 5
"""How long to wait until nobody uses the database. A process that is idle never goes away."""

Stamp = tuple[int, ...]
"""What shows, without reading a file, that it was not changed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A verified backup, and the database that it is to be put into.

    `origin` says whose backup it is, `other` which other tenant's. `size` (in bytes) and
    `journal_mode` are those of the database; both are None if SQLite cannot open it, and `trouble`
    says why. `users` are the processes that have it open, if we can see them. `finding` is what the
    host's own check found in the backup's data, if anything.
    """

    choice: Choice
    fingerprint: Fingerprint
    stamp: Stamp
    origin: Origin
    other: str
    database: Path
    size: int | None
    journal_mode: str | None
    trouble: str
    users: list[User]
    finding: str

    def changed(self) -> BackupError:
        """The error to raise if the backup's file is no longer the one that was verified."""
        return BackupError("%(path)s was changed after it was verified.", path=self.choice.file)


def verify(choice: Choice) -> Plan:
    """Read the backup's file from end to end. Changes nothing but the catalog.

    Raises `DatabaseDamaged` if the file is not as it was made, or is not a sound database, and
    notes that in the catalog; `BackupError` if it cannot be read.
    """
    database = Path(os.path.realpath(choice.tenant.database))
    _require_backup_file(choice)
    verified = stamp(choice.file)
    with explained(Text("Choose another backup: manage.py listbackups")):
        fingerprint = _require_good(choice)
    origin, other = origin_of(choice, fingerprint)
    finding = backups.ask_host(choice.tenant, choice.file)
    if choice.backup:
        backups.note_data(choice.backup, finding)
    size, mode, trouble = None, None, ""
    try:
        facts = sqlite.look(choice.tenant.database, busy_timeout=WAIT_SECONDS)
        size, mode = facts.size, noted_journal_mode(database) or facts.journal_mode
    except BackupError as error:
        trouble = str(error)
    return Plan(
        choice=choice,
        fingerprint=fingerprint,
        stamp=verified,
        origin=origin,
        other=other,
        database=database,
        size=size,
        journal_mode=mode,
        trouble=trouble,
        users=sqlite.users_of(database),
        finding=str(finding or ""),
    )


def stamp(file: Path) -> Stamp:
    """The file's stamp, of which the first three numbers are its identity and size."""
    try:
        facts = file.stat()
    except OSError as error:
        raise _unreachable(file, error) from error
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _require_good(choice: Choice) -> Fingerprint:
    """Check the file, and note in the catalog what was found."""
    size, sha256 = None, None
    if choice.backup is None:
        sha256 = stated_sha256(choice.file)
    elif made := choice.backup.fingerprint:
        size, sha256 = made.size, made.sha256
    try:
        found = backups.require_sound(choice.file, size, sha256)
        if found.size == 0:
            raise DatabaseDamaged("%(path)s is empty, so it is not a backup.", path=choice.file)
    except DatabaseDamaged as error:
        _mark(choice, EventKind.DAMAGED, error, damaged_at=timezone.now())
        raise
    _mark(choice, EventKind.FOUND, verified_at=timezone.now(), missing_at=None, damaged_at=None)
    return found


def _require_backup_file(choice: Choice) -> None:
    """Raise `BackupError` if the file is missing, no regular file, in use, or incomplete.

    To read the file of a database in use would drop the locks that this process has on it, and
    would miss what is still in its log.
    """
    file = choice.file
    try:
        facts = file.lstat() if choice.backup else file.stat()
    except FileNotFoundError:
        _mark(choice, EventKind.MISSING, missing_at=timezone.now())
        raise BackupError("The backup %(path)s is missing.", path=file) from None
    except OSError as error:
        raise _unreachable(file, error) from error
    if not stat.S_ISREG(facts.st_mode):
        raise BackupError("%(path)s is not a regular file.", path=file)
    for database, whose in _databases():
        with suppress(OSError):
            if os.path.samestat(facts, database.stat()):
                raise BackupError(
                    "%(path)s is not a backup but the database %(whose)s, which may be in use. "
                    "Make a backup of it first: manage.py runbackup",
                    path=file,
                    whose=whose,
                )
    for companion in sqlite.left_behind(file):
        raise BackupError(
            "%(path)s is incomplete without the contents of %(companion)s beside it: it was copied "
            "from a database in use. Open it once with sqlite3, run VACUUM and close it; then try "
            "again.",
            path=file,
            companion=companion.name,
        )


def _databases() -> Iterator[tuple[Path, Text]]:
    """The databases of all tenants and of this project, and whose they are."""
    for tenant in list_tenants().tenants:
        yield tenant.database, Text("of tenant %(tenant)r", tenant=tenant.id)
    for alias in connections:
        if path := sqlite_file(alias):
            yield path, Text("%(alias)r of this project", alias=alias)


def _mark(
    choice: Choice, kind: EventKind, detail: Text | str = "", **times: datetime | None
) -> None:
    """Note what was found. A catalog that cannot be written does not stop a restore."""
    if choice.backup:
        try:
            backups.note_found(choice.backup, kind, detail, **times)
        except DatabaseError:
            logger.exception("What was found out about %s was not noted.", choice.file)


def _unreachable(path: Path, error: OSError) -> BackupError:
    return BackupError("%(path)s cannot be reached: %(reason)s.", path=path, reason=error.strerror)
