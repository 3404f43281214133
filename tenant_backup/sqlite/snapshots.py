"""A snapshot: a database as it was at one moment; its pages are copied in chunks."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tenant_backup.exceptions import (
    BackupError,
    DatabaseDamaged,
    NotEnoughSpace,
    UnfinishedWrite,
    cannot_be_read,
)
from tenant_backup.sqlite.checks import Inspection
from tenant_backup.sqlite.deadlines import CHUNK_BYTES, Progress, require_time
from tenant_backup.sqlite.errors import code_of, no_database, refusal
from tenant_backup.sqlite.facts import Facts, bytes_in, journal_of, log_of, page_size_and_count
from tenant_backup.sqlite.opening import connect_immutable, opened, regular_file, require_header
from tenant_backup.sqlite.tables import comparable_rows, rows_by_table
from tenant_backup.texts import Text


@dataclass(frozen=True, slots=True)
class Snapshot(Facts):
    """A database as it was at one moment; valid while the context of `snapshot()` lasts."""

    connection: sqlite3.Connection

    @property
    def facts(self) -> Facts:
        """What stays true when the connection is closed."""
        return Facts(
            self.database, self.page_size, self.page_count, self.journal_mode, self.encoding
        )

    def require_sound(self, tables: Iterable[str]) -> None:
        """Raise `DatabaseDamaged` if one of these tables is not sound, or does not exist."""
        try:
            for table in tables:
                Inspection(self.connection, self.database).check_table(table)
        except sqlite3.Error as error:
            raise DatabaseDamaged(
                "%(path)s is damaged: %(reason)s.", path=self.database, reason=error
            ) from error

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

        def after_chunk(done: int, total: int) -> None:
            require_time(deadline, Text("Copying %(path)s", path=self.database))
            if progress:
                progress(done, total)

        try:
            # This connection's read transaction fixes what is copied. Without it the copy starts
            # again whenever another process writes, and may never end.
            copy_pages(self.connection, copy, page_size=self.page_size, after_chunk=after_chunk)
        except sqlite3.Error as error:
            if code_of(error) == sqlite3.SQLITE_FULL:
                raise NotEnoughSpace(
                    "The disk became full while the database %(database)s was copied.",
                    database=self.database,
                ) from error
            if code_of(error) == sqlite3.SQLITE_CORRUPT:
                raise DatabaseDamaged(
                    "The database %(database)s is damaged: %(reason)s.",
                    database=self.database,
                    reason=error,
                ) from error
            raise BackupError(
                "Copying %(path)s failed: %(reason)s.", path=self.database, reason=error
            ) from error

    def contents(self, *, deadline: float | None = None) -> dict[str, int | None]:
        """The number of rows of each table, as the function `contents` gives it for a file."""
        return self._counted(rows_by_table, deadline)

    def count(self, *, deadline: float | None = None) -> dict[str, int | None]:
        """The number of rows of each table, as the function `count` gives it for a file."""
        return self._counted(comparable_rows, deadline)

    def _counted(
        self,
        rows: Callable[[sqlite3.Connection, Path, float | None], dict[str, int | None]],
        deadline: float | None,
    ) -> dict[str, int | None]:
        try:
            return rows(self.connection, self.database, deadline)
        except sqlite3.Error as error:
            raise cannot_be_read(self.database, error) from error


@contextmanager
def snapshot(database: Path, *, busy_timeout: float, only_look: bool = False) -> Iterator[Snapshot]:
    """Hold a read transaction on the database, so that what is read stays as it is now.

    A write-ahead log that a killed process left stays as it is. With `only_look` a rollback journal
    stays, too, and `UnfinishedWrite` is raised if it would have to be played back first. Waits at
    most `busy_timeout` seconds for a locked database, then raises `DatabaseLocked`. Raises
    `DatabaseDamaged` if the file is empty or no SQLite database, and `BackupError` if it is missing
    or cannot be opened.
    """
    path = regular_file(database)
    require_header(path)
    with opened(path, mode_of(path, only_look=only_look), busy_timeout) as connection:
        yield begin_snapshot(path, connection, busy_timeout)


def mode_of(path: Path, *, only_look: bool) -> Literal["ro", "rw"]:
    """The mode in which reading a live database changes nothing but what `snapshot` says."""
    # A read-only connection never brings the log into the database, which somebody may have
    # overwritten. But if there is no log, it would leave an empty one.
    read_only = bytes_in(log_of(path)) or (only_look and bytes_in(journal_of(path)))
    return "ro" if read_only else "rw"


def look(database: Path, *, busy_timeout: float) -> Facts:
    """What a backup or a restore needs to know of the database before it begins.

    Nothing is changed, not even what a killed process left beside it. Raises as `snapshot` does.
    """
    try:
        with snapshot(database, busy_timeout=busy_timeout, only_look=True) as seen:
            return seen.facts
    except UnfinishedWrite:
        # The journal is about single pages, not about the size or the mode.
        path = regular_file(database)
        try:
            with closing(connect_immutable(path)) as connection:
                return begin_snapshot(path, connection).facts
        except sqlite3.Error as error:
            raise refusal(path, error) from error


def require_openable(database: Path, *, busy_timeout: float) -> None:
    """Raise `DatabaseDamaged` if SQLite would add to the damage by opening the database.

    SQLite deletes the log or journal of an empty file as soon as it reads it. In a file that is no
    database it writes the log into the file when the last connection is closed. A database that
    has no log or journal has nothing of that kind to lose.
    """
    path = regular_file(database)
    require_header(path)
    if bytes_in(log_of(path)):
        with opened(path, "ro", busy_timeout) as connection:
            begin_snapshot(path, connection, busy_timeout)


def begin_snapshot(path: Path, connection: sqlite3.Connection, busy_timeout: float = 0) -> Snapshot:
    """Begin a read transaction on the connection; raises as `snapshot` does."""
    try:
        connection.execute("BEGIN")
        # BEGIN alone takes no lock; the first read fixes the snapshot. It obeys the busy timeout,
        # which the copy itself would not.
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        page_size, page_count = page_size_and_count(connection)
        (journal_mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    except sqlite3.Error as error:
        raise refusal(path, error, busy_timeout) from error
    if page_count == 0:
        # It was emptied just now, or is shorter than SQLite's header.
        raise no_database(path)
    return Snapshot(path, page_size, page_count, journal_mode, encoding, connection)


def copy_pages(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    *,
    page_size: int,
    after_chunk: Progress,
) -> None:
    """Copy all of the source into the target in chunks. What `after_chunk` raises ends the copy."""

    def progress(_status: int, remaining: int, total: int) -> None:
        after_chunk((total - remaining) * page_size, total * page_size)

    source.backup(target, pages=max(1, CHUNK_BYTES // page_size), progress=progress)
