"""SQLite: a true copy of a database in use, and its check. Paths in, results out, no Django.

This is the only module that opens a tenant's database, and it does so through SQLite alone. To
`open()` and close such a file by other means drops the locks of every SQLite connection that this
process has on it (POSIX: closing any descriptor of a file releases the process's locks on it), so
that another process may write at the same time. `stat` is harmless.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tenant_backup.exceptions import (
    BackupError,
    DatabaseDamaged,
    DatabaseLocked,
    DeadlineExceeded,
    NotEnoughSpace,
)

CHUNK_BYTES = 4 * 1024 * 1024
"""How much is copied between two calls of `progress`. Larger chunks were measured no faster."""

CHECK_STEPS = 100_000
"""Virtual machine instructions of SQLite between two looks at the deadline during a check."""

Progress = Callable[[int, int], None]
"""Called with the number of bytes copied so far, and of all bytes."""

Pulse = Callable[[], None]
"""Called every now and then during long work, in which nothing else can be seen to move."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a file is recognised by: its size in bytes and its SHA-256 in hexadecimal digits."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A database as it was at one moment; valid while the context of `snapshot()` lasts."""

    database: Path
    connection: sqlite3.Connection
    page_size: int
    page_count: int
    journal_mode: str

    @property
    def size(self) -> int:
        """The size of the copy, in bytes."""
        return self.page_size * self.page_count

    @property
    def wal_bytes(self) -> int:
        """The size of the database's write-ahead log, which cannot shrink while we read."""
        try:
            return self.database.with_name(self.database.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def copy_to(
        self,
        copy: sqlite3.Connection,
        *,
        progress: Progress | None = None,
        deadline: float | None = None,
    ) -> None:
        """Copy the snapshot into the empty database of `open_copy`.

        `deadline` is a time of `time.monotonic()`. Raises `DeadlineExceeded`, `NotEnoughSpace`,
        `DatabaseDamaged` or `BackupError`, and then leaves an incomplete file.
        """

        def after_chunk(_status: int, remaining: int, total: int) -> None:
            _require_time(deadline, f"Copying {self.database}")
            if progress:
                progress((total - remaining) * self.page_size, total * self.page_size)

        try:
            # This connection's read transaction fixes what is copied. Without it the copy starts
            # again whenever another process writes, and may never end.
            pages = max(1, CHUNK_BYTES // self.page_size)
            self.connection.backup(copy, pages=pages, progress=after_chunk)
        except sqlite3.Error as error:
            if _code(error) == sqlite3.SQLITE_FULL:
                raise NotEnoughSpace(
                    f"The disk became full while the database {self.database} was copied."
                ) from error
            if _code(error) == sqlite3.SQLITE_CORRUPT:
                raise DatabaseDamaged(
                    f"The database {self.database} is damaged: {error}."
                ) from error
            raise BackupError(f"Copying {self.database} failed: {error}.") from error


def open_copy(target: Path) -> sqlite3.Connection:
    """Open the empty file `target` to copy a snapshot into. The caller closes the connection."""
    try:
        copy = _connect(target, "mode=rw", timeout=0)
    except sqlite3.Error as error:
        raise BackupError(f"The copy {target} cannot be opened: {error}.") from error
    # The target is ours alone and thrown away after a crash: it needs no journal, and the caller
    # makes it durable at the end.
    copy.execute("PRAGMA journal_mode = OFF")
    copy.execute("PRAGMA synchronous = OFF")
    return copy


@contextmanager
def snapshot(database: Path, *, busy_timeout: float) -> Iterator[Snapshot]:
    """Hold a read transaction on the database, so that what is read stays as it is now.

    Waits at most `busy_timeout` seconds for a locked database, then raises `DatabaseLocked`.
    Raises `DatabaseDamaged` where the file is no SQLite database or an empty one, and
    `BackupError` where it is missing or cannot be opened.
    """
    path = _regular_file(database)
    try:
        # mode=rw never makes a new file. Read-only would not do: to read a database in WAL mode,
        # or after a crash, SQLite has to write beside it.
        connection = _connect(path, "mode=rw", timeout=busy_timeout)
    except sqlite3.Error as error:
        raise _not_readable(path, error, busy_timeout) from error
    with closing(connection):
        try:
            connection.execute("BEGIN")
            # BEGIN alone takes no lock; the first read fixes the snapshot. It obeys the busy
            # timeout, which the copy itself would not.
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
            page_size, page_count, journal_mode = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_size", "page_count", "journal_mode")
            )
        except sqlite3.Error as error:
            raise _not_readable(path, error, busy_timeout) from error
        if page_count == 0:
            # So SQLite takes a file that is shorter than its header.
            what = "not a SQLite database" if path.stat().st_size else "empty: it holds no data"
            raise DatabaseDamaged(f"The database {path} is {what}.")
        yield Snapshot(path, connection, page_size, page_count, journal_mode)


def check(
    file: Path,
    *,
    full: bool = True,
    deadline: float | None = None,
    pulse: Pulse | None = None,
) -> bool:
    """Check that a file that nobody writes to is a sound SQLite database.

    `full` compares every index with its table, too (`integrity_check`, otherwise `quick_check`).
    False where that was asked for and could not be done for some table, which needs a function or
    a collation that only the host's own connections have. Raises `DatabaseDamaged`,
    `DeadlineExceeded`, or `BackupError` where the check was interrupted or could not be done.
    """
    # Immutable: a copy of a database in WAL mode is marked so itself, and would grow a -wal and a
    # -shm beside it when opened in any other way.
    try:
        with closing(_connect(file, "mode=ro&immutable=1", timeout=0)) as connection:
            # A row that breaks a CHECK constraint is the host's affair and no damage; and the
            # constraint may call functions that we do not have.
            connection.execute("PRAGMA ignore_check_constraints = ON")
            inspection = _Inspection(connection, file, deadline, pulse)
            if not full:
                inspection.look_with_stand_ins("quick_check")
                return True
            try:
                inspection.look("integrity_check")
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_ERROR:
                    raise
                return inspection.look_table_by_table()
            return True
    except sqlite3.Error as error:
        if _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise DatabaseDamaged(f"{file} is not a sound SQLite database: {error}.") from error
        raise BackupError(f"{file} could not be checked: {error}.") from error


def fingerprint(
    file: Path, *, deadline: float | None = None, pulse: Pulse | None = None
) -> Fingerprint:
    """The fingerprint of a backup's file, which must not be a database that is in use.

    Raises `DeadlineExceeded`, and `OSError` where the file cannot be read.
    """
    sha256 = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            sha256.update(chunk)
            _require_time(deadline, f"Reading {file}")
            if pulse:
                pulse()
        return Fingerprint(stream.tell(), sha256.hexdigest())


@dataclass(frozen=True, slots=True)
class _Inspection:
    """One connection's look at one file."""

    connection: sqlite3.Connection
    file: Path
    deadline: float | None
    pulse: Pulse | None

    def look(self, pragma: str, *, but_not: str | None = None) -> None:
        """Run a check; raises `DatabaseDamaged` with the first thing that it finds.

        What begins with `but_not` is no finding.
        """
        doing = f"Checking {self.file}"
        with _interruptible(self.connection, doing, self.deadline, self.pulse):
            findings = [text for (text,) in self.connection.execute(f"PRAGMA {pragma}")]
        for finding in findings:
            if finding != "ok" and not (but_not and finding.startswith(but_not)):
                raise DatabaseDamaged(f"{self.file} is damaged: {finding.strip()}.")

    def look_table_by_table(self) -> bool:
        """The quick check of everything, and the full one of each table that allows it.

        Whether all allowed it.
        """
        tables = self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        everything = True
        for (name,) in tables.fetchall():
            quoted = "'" + name.replace("'", "''") + "'"
            try:
                self.look(f"integrity_check({quoted})")
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_ERROR:
                    raise
                everything = False
        self.look_with_stand_ins("quick_check")
        return everything

    def look_with_stand_ins(self, pragma: str) -> None:
        """Run a check that needs functions and collations to be there, but not what they say.

        They stand in an index, or in a generated column that is worked out when it is read. A
        function's stand-in says NULL, which a column may forbid: that is no damage.
        """
        while True:
            try:
                self.look(pragma, but_not="NULL value in ")
            except sqlite3.OperationalError as error:
                if not self._stand_in_for(str(error)):
                    raise
            else:
                return

    def _stand_in_for(self, complaint: str) -> bool:
        if missing := re.fullmatch("no such collation sequence: (.+)", complaint):
            self.connection.create_collation(missing[1], lambda a, b: (a > b) - (a < b))
        elif missing := re.fullmatch(r"(?:unknown|no such) function: (.+?)(?:\(\))?", complaint):
            self.connection.create_function(
                missing[1], -1, lambda *arguments: None, deterministic=True
            )
        return missing is not None


@contextmanager
def _interruptible(
    connection: sqlite3.Connection, doing: str, deadline: float | None, pulse: Pulse | None
) -> Iterator[None]:
    """Let one long statement end at the deadline or by a signal, with the right error.

    SQLite reports both as "interrupted", and sqlite3 drops what is raised within the handler, so
    the handler keeps it for afterwards.
    """
    raised: list[BaseException] = []

    def look() -> int:
        try:
            _require_time(deadline, doing)
            if pulse:
                pulse()
        except BaseException as error:  # noqa: BLE001 - a signal's exception arrives here, too
            raised.append(error)
        return len(raised)

    connection.set_progress_handler(look, CHECK_STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if raised:
            raise raised[0] from None
        if _code(error) == sqlite3.SQLITE_INTERRUPT:
            raise BackupError(f"{doing} was interrupted.") from error
        raise
    finally:
        connection.set_progress_handler(None, 0)


def _require_time(deadline: float | None, doing: str) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise DeadlineExceeded(f"{doing} took longer than allowed and was given up.")


def _connect(path: Path, parameters: str, *, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{parameters}", uri=True, timeout=timeout, isolation_level=None
    )


def _regular_file(database: Path) -> Path:
    """The database's file, links resolved; raises `BackupError` where there is none."""
    try:
        path = database.resolve(strict=True)
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise BackupError(f"The database {database} does not exist.") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise BackupError(f"The database {database} cannot be reached: {error}.") from error
    if stat.S_ISDIR(mode):
        raise BackupError(f"The database {database} is a directory, not a file.")
    if not stat.S_ISREG(mode):
        raise BackupError(f"The database {database} is not a regular file.")
    return path


def _code(error: sqlite3.Error) -> int:
    """The primary result code of SQLite, or 0 where the error does not come from SQLite."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _not_readable(path: Path, error: sqlite3.Error, busy_timeout: float) -> BackupError:
    match _code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return DatabaseLocked(
                f"The database {path} was locked by another process for more than "
                f"{busy_timeout:g} seconds."
            )
        case sqlite3.SQLITE_NOTADB:
            return DatabaseDamaged(f"The database {path} is not a SQLite database.")
        case sqlite3.SQLITE_CORRUPT:
            return DatabaseDamaged(f"The database {path} is damaged: {error}.")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_READONLY:
            return BackupError(
                f"The database {path} cannot be opened: {error}. This process needs read and "
                "write permission for the file and its directory."
            )
        case _:
            return BackupError(f"The database {path} cannot be read: {error}.")
