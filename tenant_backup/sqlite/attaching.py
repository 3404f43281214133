"""Two databases on one connection of our own, so that SQL can compare them."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from tenant_backup.exceptions import BackupError, BackupMissing, DatabaseDamaged, cannot_be_read
from tenant_backup.sqlite.errors import is_damage, no_database, refusal
from tenant_backup.sqlite.facts import bytes_in, log_of
from tenant_backup.sqlite.opening import (
    UNTOUCHED,
    connect_immutable,
    regular_file,
    require_header,
    uri_of,
)
from tenant_backup.sqlite.snapshots import mode_of

CACHE_KIB = 500
"""Of each database, and what is sorted at a time. Both are read in order: more is no faster."""

LENGTH_MARGIN = 1024 * 1024
"""How many bytes a value or a statement may have beyond what the files can hold."""


@contextmanager
def attached(
    then: Path, now: Path, *, is_live: bool, busy_timeout: float
) -> Iterator[sqlite3.Connection]:
    """A connection with both attached, as the schemas `then` and `now`, in one read transaction.

    Of a live database it takes the care of `snapshot` with `only_look`, and raises as that does.
    For a backup it raises `BackupMissing`, `DatabaseDamaged` or `BackupError`.
    """
    encoding = _encoding_of(then)
    if is_live:
        now = regular_file(now)
        require_header(now)
    else:
        _require_file(now)
    connection = sqlite3.connect(":memory:", uri=True, timeout=busy_timeout, isolation_level=None)
    with closing(connection):
        _limit(connection, then, now)
        # All databases of a connection have the encoding of the first, which is still empty.
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        with _in_words(partial(_of_backup, then)):
            connection.execute('ATTACH ? AS "then"', (uri_of(then, UNTOUCHED),))
        connection.execute(f'PRAGMA "then".cache_size = -{CACHE_KIB}')
        parameters = f"mode={mode_of(now, only_look=True)}" if is_live else UNTOUCHED
        refused = partial(refusal, busy_timeout=busy_timeout) if is_live else _of_backup
        with _in_words(partial(refused, now)):
            _attach_now(connection, then, now, parameters)
        yield connection


def _encoding_of(backup: Path) -> str:
    _require_file(backup)
    with _in_words(partial(_of_backup, backup)), closing(connect_immutable(backup)) as connection:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        encoding: str = connection.execute("PRAGMA encoding").fetchone()[0]
        return encoding


def _require_file(backup: Path) -> None:
    try:
        size = backup.stat().st_size
    except FileNotFoundError:
        raise BackupMissing("The file %(path)s is missing.", path=backup) from None
    except OSError as error:
        raise cannot_be_read(backup, error) from error
    if not size:
        raise DatabaseDamaged("%(path)s is empty.", path=backup)


def _limit(connection: sqlite3.Connection, then: Path, now: Path) -> None:
    """Protect this process from what the files may contain: they come from others."""
    connection.execute("PRAGMA trusted_schema = OFF")
    # Sorting goes to a file, which the system removes, and never fills the memory.
    connection.execute("PRAGMA temp_store = FILE")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    # Invalid text is kept as it is: it can be shown, and put back.
    connection.text_factory = _as_text
    # No value is longer than its file, whatever a damaged one claims; a row is sorted twice over.
    longest = max(bytes_in(then), bytes_in(now) + bytes_in(log_of(now)))
    limit = 2 * longest + LENGTH_MARGIN
    if limit < connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH):
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limit)


def _as_text(text: bytes) -> str:
    return text.decode(errors="surrogateescape")


def _attach_now(connection: sqlite3.Connection, then: Path, now: Path, parameters: str) -> None:
    try:
        connection.execute('ATTACH ? AS "now"', (uri_of(now, parameters),))
    except sqlite3.OperationalError as error:
        if "text encoding" not in str(error):
            raise
        raise BackupError(
            "%(then)s and %(now)s cannot be compared: their text is encoded differently.",
            then=then,
            now=now,
        ) from error
    connection.execute(f'PRAGMA "now".cache_size = -{CACHE_KIB}')
    connection.execute("PRAGMA query_only = ON")
    connection.execute("BEGIN")
    # BEGIN alone takes no lock; the first read fixes what all later ones see.
    connection.execute('SELECT 1 FROM "now".sqlite_master LIMIT 1').fetchall()
    (pages,) = connection.execute('PRAGMA "now".page_count').fetchone()
    if not pages:
        raise no_database(now)


@contextmanager
def _in_words(refused: Callable[[sqlite3.Error], BackupError]) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise refused(error) from error


def _of_backup(path: Path, error: sqlite3.Error) -> BackupError:
    if is_damage(error):
        return DatabaseDamaged(
            "%(path)s is not a sound SQLite database: %(reason)s.", path=path, reason=error
        )
    return cannot_be_read(path, error)
