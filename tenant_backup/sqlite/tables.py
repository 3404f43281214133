"""How many rows each table holds, and by which migrations the tables were made."""

import hashlib
import sqlite3
from collections.abc import Container, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tenant_backup.exceptions import DeadlineExceeded, cannot_be_read
from tenant_backup.sqlite.deadlines import interruptible, require_time
from tenant_backup.sqlite.errors import code_of
from tenant_backup.sqlite.opening import connect_immutable
from tenant_backup.texts import Text

MIGRATIONS = "django_migrations"

VIRTUAL = "CREATE VIRTUAL TABLE"

SHADOWS = {
    *("config", "content", "data", "docsize", "idx", "segdir", "segments", "stat"),
    *("node", "parent", "rowid"),
}
"""How the names of the tables end in which SQLite's own modules, those for full text and for areas,
keep what belongs to a virtual table: its name comes first, then an underscore and one of these."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What is kept of a backup's content: see `count`."""

    tables: dict[str, int | None]
    migrations: str
    """A digest of the migrations that were applied; empty if they could not be read."""


def count(file: Path, *, deadline: float | None = None) -> Counts:
    """As `contents`, for comparing the numbers of one backup with those of another.

    A virtual table is not counted, and the tables that a module keeps its content in are left out:
    a new search index may have half as many rows, and nothing is lost. Raises as `contents` does.
    """
    try:
        with closing(connect_immutable(file)) as connection:
            tables = comparable_rows(connection, file, deadline)
            return Counts(tables, _digest_of_migrations(connection, tables))
    except sqlite3.Error as error:
        raise cannot_be_read(file, error) from error


def contents(file: Path, *, deadline: float | None = None) -> dict[str, int | None]:
    """The number of rows of each table in a file that nobody writes to, by the table's name.

    None for a table that could not be counted: because the deadline, a time of `time.monotonic()`,
    was over, or because it needs a module that only the host's own connections have. Raises
    `BackupError` if the file cannot be read.
    """
    try:
        with closing(connect_immutable(file)) as connection:
            return rows_by_table(connection, file, deadline)
    except sqlite3.Error as error:
        raise cannot_be_read(file, error) from error


def rows_by_table(
    connection: sqlite3.Connection, path: Path, deadline: float | None
) -> dict[str, int | None]:
    """The number of rows of each table, as `contents` gives it; raises `sqlite3.Error`."""
    return _rows(connection, _tables(connection), path, deadline)


def comparable_rows(
    connection: sqlite3.Connection, path: Path, deadline: float | None
) -> dict[str, int | None]:
    """The number of rows of each table, as `count` gives it; raises `sqlite3.Error`."""
    names, virtual = _tables(connection), _virtual_tables(connection)
    shadows = {f"{name}_{end}" for name in virtual for end in SHADOWS}
    ordinary = [name for name in names if name not in virtual and name not in shadows]
    numbers = dict.fromkeys(virtual) | _rows(connection, ordinary, path, deadline)
    return dict(sorted(numbers.items()))


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' ORDER BY name"
    )
    return [name for (name,) in found]


def _virtual_tables(connection: sqlite3.Connection) -> list[str]:
    # Not by `PRAGMA table_list`, which older versions of SQLite do not have.
    found = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    return [name for name, sql in found if str(sql)[: len(VIRTUAL)].upper() == VIRTUAL]


def _digest_of_migrations(connection: sqlite3.Connection, tables: Container[str]) -> str:
    digest = hashlib.sha256()
    if MIGRATIONS in tables:
        try:
            rows = connection.execute(
                f"SELECT app, name, applied FROM {MIGRATIONS} ORDER BY app, name, applied"  # noqa: S608
            )
            for row in rows:
                digest.update(repr(row).encode())
        except sqlite3.OperationalError:
            return ""  # It is another table of that name.
    return digest.hexdigest()


def _rows(
    connection: sqlite3.Connection, names: Sequence[str], path: Path, deadline: float | None
) -> dict[str, int | None]:
    doing = Text("Counting the rows of %(path)s", path=path)
    numbers: dict[str, int | None] = {}
    for name in names:
        numbers[name] = None
        try:
            # SQLite counts a whole table in one step, so the time is checked before each.
            require_time(deadline, doing)
            with interruptible(connection, doing, deadline):
                found = connection.execute(f"SELECT count(*) FROM {quoted(name)}")  # noqa: S608
                numbers[name] = found.fetchone()[0]
        except DeadlineExceeded:
            pass
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_ERROR:
                raise
    return numbers


def quoted(name: str) -> str:
    """A table's or column's name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'
