"""How many rows each table holds."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tenant_backup.exceptions import DeadlineExceeded, cannot_be_read
from tenant_backup.sqlite.deadlines import interruptible, require_time
from tenant_backup.sqlite.errors import code_of
from tenant_backup.sqlite.opening import connect_immutable
from tenant_backup.texts import Text


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
    doing = Text("Counting the rows of %(path)s", path=path)
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' ORDER BY name"
    ).fetchall()
    numbers: dict[str, int | None] = {}
    for (name,) in names:
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
