"""What SQLite's errors mean, in words."""

import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

from tenant_backup.exceptions import (
    BackupError,
    DatabaseDamaged,
    DatabaseLocked,
    NotEnoughSpace,
    UnfinishedWrite,
    cannot_be_read,
)
from tenant_backup.sqlite.facts import LOG_MARGIN, bytes_in, journal_of, left_behind
from tenant_backup.texts import Text

NO_SPACE = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN)
"""What SQLite may say if it can write nothing beside the database, as WAL mode needs."""


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code, or 0 for an error that does not come from SQLite."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file is not a sound database."""
    if code_of(error) == sqlite3.SQLITE_ERROR:
        # SQLite has no code of its own for a header with an impossible format.
        return "unsupported file format" in str(error)
    return code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def refusal(path: Path, error: sqlite3.Error, busy_timeout: float = 0) -> BackupError:
    """What SQLite's error means for this database, as the error to raise."""
    if code_of(error) in NO_SPACE and (shortage := _shortage(path, error)):
        return shortage
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:
        return UnfinishedWrite(
            "A program stopped while it was writing to the database %(database)s. The next program "
            "that writes to the database undoes the unfinished change, which it finds in "
            "%(journal)s. Then try again.",
            database=path,
            journal=journal_of(path).name,
        )
    match code_of(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return DatabaseLocked(
                "The database %(database)s was locked by another process for more than "
                "%(seconds)g seconds.",
                database=path,
                seconds=busy_timeout,
            )
        case sqlite3.SQLITE_NOTADB:
            return no_database(path)
        case _ if is_damage(error):
            damage = DatabaseDamaged(
                "The database %(database)s is damaged: %(reason)s.", database=path, reason=error
            )
            return _with_warning(damage, path)
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_READONLY:
            return BackupError(
                "The database %(database)s cannot be opened: %(reason)s. This process needs read "
                "and write permission for the file and its directory.",
                database=path,
                reason=error,
            )
        case _:
            return cannot_be_read(path, error)


def no_database(path: Path) -> DatabaseDamaged:
    """The error to raise for a file that is empty, or is no SQLite database."""
    error = DatabaseDamaged("The database %(database)s is empty: it holds no data.", database=path)
    if bytes_in(path):
        error = DatabaseDamaged(
            "The database %(database)s is not a SQLite database.", database=path
        )
    return _with_warning(error, path)


def inode_shortage(folder: Path) -> Text | None:
    """If this disk has room but takes no more files: that it is so, and what to do about it."""
    if not hasattr(os, "statvfs"):
        return None
    with suppress(OSError):
        facts = os.statvfs(folder)
        # File systems that make inodes as needed report a total of 0.
        if facts.f_files and not facts.f_favail and facts.f_bavail:
            return Text(
                "The disk of %(path)s is out of inodes: all %(all)d are taken, so no file can be "
                "made, though %(bytes)d bytes are free. Remove files that nobody needs, then try "
                "again.",
                path=folder,
                all=facts.f_files,
                bytes=facts.f_bavail * facts.f_frsize,
            )
    return None


def _with_warning(error: DatabaseDamaged, path: Path) -> DatabaseDamaged:
    """The error, with a warning if something beside the damaged database could be lost."""
    left = left_behind(path)
    if not left:
        return error
    more = Text(
        "Changes that it lacks may be in %(files)s beside it, which was not touched. Copy that "
        "elsewhere before any program opens the database, which would delete it.",
        files=", ".join(file.name for file in left),
    )
    return DatabaseDamaged("%(error)s %(more)s", error=error, more=more)


def _shortage(path: Path, error: sqlite3.Error) -> NotEnoughSpace | None:
    if shortage := inode_shortage(path.parent):
        return NotEnoughSpace(
            "The database %(database)s cannot be opened (%(reason)s). %(shortage)s",
            database=path,
            reason=error,
            shortage=shortage,
        )
    free = shutil.disk_usage(path.parent).free
    if free >= LOG_MARGIN:
        return None
    return NotEnoughSpace(
        "The database %(database)s cannot be opened because its disk is full: %(free)d bytes "
        "are free (%(reason)s). Make room, then try again.",
        database=path,
        free=free,
        reason=error,
    )
