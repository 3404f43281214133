"""Why a database cannot be opened or read, in words."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from tenant_backup.exceptions import (
    BackupError,
    DatabaseDamaged,
    DatabaseLocked,
    NotEnoughSpace,
    UnfinishedWrite,
    cannot_be_read,
)
from tenant_backup.sqlite.beside import bytes_in, journal_of, with_what_is_beside
from tenant_backup.sqlite.connections import code_of, is_damage
from tenant_backup.sqlite.space import LOG_MARGIN, inode_shortage

FOR_WANT_OF_SPACE = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN)
"""What SQLite may say where it can write nothing beside the database, as WAL mode needs."""


def refusal(path: Path, error: sqlite3.Error, busy_timeout: float) -> BackupError:
    """What SQLite's error means for this database, as the error to raise."""
    if code_of(error) in FOR_WANT_OF_SPACE and (shortage := _shortage(path, error)):
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
            return with_what_is_beside(no_database(path), path)
        case _ if is_damage(error):
            damage = DatabaseDamaged(
                "The database %(database)s is damaged: %(reason)s.", database=path, reason=error
            )
            return with_what_is_beside(damage, path)
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
    if bytes_in(path):
        return DatabaseDamaged("The database %(database)s is not a SQLite database.", database=path)
    return DatabaseDamaged("The database %(database)s is empty: it holds no data.", database=path)


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
