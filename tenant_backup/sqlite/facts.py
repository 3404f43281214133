"""What a look at a database tells: the files beside it, its size, and what a restore needs."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from tenant_backup.exceptions import BackupError

LOG_MARGIN = 256 * 1024
"""Bytes that a log takes beyond the pages in it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a look at a database tells: see `look`."""

    database: Path
    page_size: int
    page_count: int
    journal_mode: str
    encoding: str

    @property
    def size(self) -> int:
        """The size of a copy, in bytes."""
        return self.page_size * self.page_count

    @property
    def wal_bytes(self) -> int:
        """The size of the write-ahead log now, in bytes. It cannot shrink while somebody reads."""
        return bytes_in(log_of(self.database))

    def require_fit(self, backup: sqlite3.Connection) -> None:
        """Raise `BackupError` if the backup cannot be put into this database."""
        theirs = backup.execute("PRAGMA encoding").fetchone()[0]
        if self.encoding != theirs:
            raise BackupError(
                "The backup's text is encoded as %(theirs)s, that of the database %(database)s as "
                "%(ours)s. SQLite cannot put one into the other. You would have to replace the "
                "file itself by hand.",
                theirs=theirs,
                database=self.database,
                ours=self.encoding,
            )

    def bytes_to_replace(self, backup: sqlite3.Connection) -> int:
        """How many more bytes the database and its log need, at most, until the backup is in it."""
        page_size, pages = page_size_and_count(backup)
        growth = max(page_size * pages, self.size) - self.database.stat().st_size
        if self.stays_in_wal_mode(backup):
            # Each page of the backup goes into the log, with a header; some go twice.
            log = pages * (self.page_size + 24)
        else:
            # Each page of the database goes into the rollback journal, with number and checksum.
            log = self.page_count * (self.page_size + 8)
        return max(0, growth) + log + LOG_MARGIN

    def stays_in_wal_mode(self, backup: sqlite3.Connection) -> bool:
        """Whether the backup can be put into the database without leaving WAL mode."""
        page_size, _pages = page_size_and_count(backup)
        return self.journal_mode == "wal" and page_size == self.page_size


def page_size_and_count(connection: sqlite3.Connection) -> tuple[int, int]:
    """The size of a page in bytes, and the number of pages."""
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    (page_count,) = connection.execute("PRAGMA page_count").fetchone()
    return page_size, page_count


def companions(database: Path) -> list[Path]:
    """The files that SQLite may have beside the database, and that belong to it."""
    return [database.with_name(database.name + end) for end in ("-wal", "-shm", "-journal")]


def log_of(database: Path) -> Path:
    return companions(database)[0]


def journal_of(database: Path) -> Path:
    return companions(database)[2]


def bytes_in(path: Path) -> int:
    """The size of a file by `stat`, in bytes; 0 if it is missing or out of reach."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def left_behind(database: Path) -> list[Path]:
    """The log and the journal of the database, if they exist and are not empty.

    They may hold changes that are not in the database itself.
    """
    return [path for path in (log_of(database), journal_of(database)) if bytes_in(path)]
