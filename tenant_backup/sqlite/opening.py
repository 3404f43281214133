"""Opening a database that may be in use or damaged, so that this destroys nothing."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tenant_backup.exceptions import BackupError
from tenant_backup.sqlite.errors import code_of, no_database, refusal
from tenant_backup.sqlite.facts import left_behind

UNTOUCHED = "mode=ro&immutable=1"
"""How to open a file that nobody writes to, so that SQLite ignores what lies beside it."""


def connect_immutable(path: Path) -> sqlite3.Connection:
    """Connect to a file that nobody writes to, so that SQLite ignores what lies beside it.

    A copy of a database in WAL mode is itself marked as WAL. Opened in any other way, it would get
    a `-wal` and a `-shm` beside it.
    """
    return _connect(path, UNTOUCHED, timeout=0)


def open_backup(file: Path) -> sqlite3.Connection:
    """Open a backup's file to read it, without leaving a trace. The caller closes the connection.

    Raises `BackupError` if it cannot be opened.
    """
    try:
        return connect_immutable(file)
    except sqlite3.Error as error:
        raise BackupError(
            "The backup %(path)s cannot be opened: %(reason)s.", path=file, reason=error
        ) from error


def open_copy(target: Path) -> sqlite3.Connection:
    """Open the empty file `target` to copy a snapshot into it. The caller closes the connection.

    Raises `BackupError` if it cannot be opened.
    """
    try:
        copy = _connect(target, "mode=rw", timeout=0)
    except sqlite3.Error as error:
        raise BackupError(
            "The copy %(path)s cannot be opened: %(reason)s.", path=target, reason=error
        ) from error
    # Nobody else uses the copy, and after a crash it is thrown away. So it needs no journal, and
    # the caller makes it durable at the end.
    copy.execute("PRAGMA journal_mode = OFF")
    copy.execute("PRAGMA synchronous = OFF")
    return copy


@contextmanager
def opened(path: Path, mode: str, busy_timeout: float) -> Iterator[sqlite3.Connection]:
    """Connect to the database in the mode `rw` or `ro`; neither creates a file."""
    try:
        connection = _connect(path, f"mode={mode}", busy_timeout)
    except sqlite3.Error as error:
        raise refusal(path, error, busy_timeout) from error
    with closing(connection):
        yield connection


def regular_file(database: Path) -> Path:
    """The database's file, links resolved; raises `BackupError` if there is none."""
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
    """Raise `DatabaseDamaged` if opening the file would delete what lies beside it."""
    # SQLite takes a file of one byte for an empty one.
    if path.stat().st_size <= 1:
        raise no_database(path)
    if not left_behind(path):
        return
    try:
        # As a file that never changes, it has nothing beside it that SQLite would touch.
        with closing(connect_immutable(path)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        # Any other error may come from somebody who is writing to it at this moment.
        if code_of(error) == sqlite3.SQLITE_NOTADB:
            raise refusal(path, error) from error


def uri_of(path: Path, parameters: str) -> str:
    """The file as SQLite opens it with these parameters."""
    return f"{path.absolute().as_uri()}?{parameters}"


def _connect(path: Path, parameters: str, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(
        uri_of(path, parameters), uri=True, timeout=timeout, isolation_level=None
    )
