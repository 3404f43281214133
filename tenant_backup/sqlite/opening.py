"""Opening a database that may be in use or damaged, so that this destroys nothing."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tenant_backup.exceptions import BackupError
from tenant_backup.sqlite.beside import left_behind, with_what_is_beside
from tenant_backup.sqlite.connections import code_of, connect, connect_immutable
from tenant_backup.sqlite.refusals import no_database, refusal


def regular_file(database: Path) -> Path:
    """The database's file, links resolved; raises `BackupError` where there is none."""
    try:
        path = database.resolve(strict=True)
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise BackupError("The database %(database)s does not exist.", database=database) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise BackupError(
            "The database %(database)s cannot be reached: %(reason)s.",
            database=database,
            reason=error,
        ) from error
    if stat.S_ISDIR(mode):
        raise BackupError(
            "The database %(database)s is a directory, not a file.", database=database
        )
    if not stat.S_ISREG(mode):
        raise BackupError("The database %(database)s is not a regular file.", database=database)
    return path


def require_header(path: Path) -> None:
    """Raise `DatabaseDamaged` where opening the file would delete what lies beside it."""
    # SQLite takes a file of one byte for an empty one.
    if path.stat().st_size <= 1:
        raise with_what_is_beside(no_database(path), path)
    if not left_behind(path):
        return
    try:
        # As a file that never changes, it has nothing beside it that SQLite would touch.
        with closing(connect_immutable(path)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        # Any other error may come from somebody who is writing to it at this moment.
        if code_of(error) == sqlite3.SQLITE_NOTADB:
            raise refusal(path, error, 0) from error


@contextmanager
def opened(path: Path, mode: str, busy_timeout: float) -> Iterator[sqlite3.Connection]:
    """Connect to the database in this mode for as long as the context lasts: see `connect`."""
    try:
        connection = connect(path, mode, timeout=busy_timeout)
    except sqlite3.Error as error:
        raise refusal(path, error, busy_timeout) from error
    with closing(connection):
        yield connection
