"""Connections to SQLite, and what its error codes mean."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tenant_backup.exceptions import BackupError


def connect(path: Path, mode: str, *, timeout: float) -> sqlite3.Connection:
    """Connect in this mode of a SQLite URI: `rw` or `ro`, neither of which creates a file."""
    return _connect(path, f"mode={mode}", timeout)


def connect_immutable(path: Path) -> sqlite3.Connection:
    """Connect to a file that nobody writes to, so that SQLite ignores what lies beside it.

    A copy of a database in WAL mode is itself marked as WAL. Opened in any other way, it would get
    a `-wal` and a `-shm` beside it.
    """
    return _connect(path, "mode=ro&immutable=1", timeout=0)


def open_backup(file: Path) -> sqlite3.Connection:
    """Open a backup's file to read it, without leaving a trace. The caller closes the connection.

    Raises `BackupError` where it cannot be opened.
    """
    try:
        return connect_immutable(file)
    except sqlite3.Error as error:
        raise BackupError(
            "The backup %(path)s cannot be opened: %(reason)s.", path=file, reason=error
        ) from error


def open_copy(target: Path) -> sqlite3.Connection:
    """Open the empty file `target` to copy a snapshot into it. The caller closes the connection.

    Raises `BackupError` where it cannot be opened.
    """
    try:
        copy = connect(target, "rw", timeout=0)
    except sqlite3.Error as error:
        raise BackupError(
            "The copy %(path)s cannot be opened: %(reason)s.", path=target, reason=error
        ) from error
    # Nobody else uses the copy, and after a crash it is thrown away. So it needs no journal, and
    # the caller makes it durable at the end.
    copy.execute("PRAGMA journal_mode = OFF")
    copy.execute("PRAGMA synchronous = OFF")
    return copy


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code, or 0 for an error that does not come from SQLite."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file is not a sound database."""
    # SQLite has no code of its own for a header with an impossible format.
    is_impossible = code_of(error) == sqlite3.SQLITE_ERROR and "unsupported file format" in str(
        error
    )
    return is_impossible or code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def quoted(name: str) -> str:
    """A table's or column's name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def _connect(path: Path, parameters: str, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{parameters}", uri=True, timeout=timeout, isolation_level=None
    )
