"""Whether a file is sound, what it is recognised by, and where two databases differ."""

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from tenant_backup.exceptions import BackupError, DatabaseDamaged
from tenant_backup.sqlite.deadlines import CHUNK_BYTES, SignOfLife, interruptible, require_time
from tenant_backup.sqlite.errors import code_of, is_damage
from tenant_backup.sqlite.opening import connect_immutable
from tenant_backup.sqlite.tables import quoted
from tenant_backup.texts import Text


def check(
    file: Path,
    *,
    full: bool = True,
    deadline: float | None = None,
    sign_of_life: SignOfLife | None = None,
) -> bool:
    """Check that a file that nobody writes to is a sound SQLite database.

    `full` also compares every index with its table (`integrity_check` instead of `quick_check`).
    Returns False if that was asked for but could not be done for some table, because it needs a
    function or a collation that only the host's own connections have. `deadline` is a time of
    `time.monotonic()`. Raises `DatabaseDamaged`, `DeadlineExceeded`, or `BackupError` if the
    check was interrupted or could not be done.
    """
    with check_in_words(file), closing(connect_immutable(file)) as connection:
        return Inspection(connection, file, deadline, sign_of_life).check_everything(full=full)


@contextmanager
def check_in_words(file: Path) -> Iterator[None]:
    """Turn SQLite's errors during a check into `DatabaseDamaged` or `BackupError`."""
    try:
        yield
    except sqlite3.Error as error:
        if is_damage(error):
            raise DatabaseDamaged(
                "%(path)s is not a sound SQLite database: %(reason)s.", path=file, reason=error
            ) from error
        raise BackupError(
            "%(path)s could not be checked: %(reason)s.", path=file, reason=error
        ) from error


@dataclass(frozen=True, slots=True)
class Inspection:
    """The check of one file through one connection.

    Each check raises `DatabaseDamaged` with the first thing that it finds.
    """

    connection: sqlite3.Connection
    file: Path
    deadline: float | None = None
    sign_of_life: SignOfLife | None = None

    def check_everything(self, *, full: bool) -> bool:
        """Check the whole database, with the result of `check`."""
        # A row that breaks a CHECK constraint is the host's affair and no damage; and the
        # constraint may call functions that we do not have.
        self.connection.execute("PRAGMA ignore_check_constraints = ON")
        if full and self.can_run("integrity_check"):
            return True
        could_run = []
        if full:
            tables = self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            could_run = [self.can_run(_check_of(name)) for (name,) in tables.fetchall()]
        self.check_structure()
        return all(could_run)

    def check_table(self, name: str) -> None:
        self.run(_check_of(name))

    def can_run(self, pragma: str) -> bool:
        """Run a check; False if it needs a function or a collation that only the host has."""
        try:
            self.run(pragma)
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_ERROR:
                raise
            return False
        return True

    def check_structure(self) -> None:
        """Check quickly, with stand-ins for functions and collations that only the host has.

        An index may use them, or a generated column that is computed when it is read. A function's
        stand-in returns NULL, which a column may forbid: that is no damage.
        """
        while True:
            try:
                return self.run("quick_check", ignore="NULL value in ")
            except sqlite3.OperationalError as error:
                if not add_stand_in(self.connection, str(error)):
                    raise

    def run(self, pragma: str, *, ignore: str | None = None) -> None:
        """Run a check of SQLite's. What begins with `ignore` is no finding."""
        doing = Text("Checking %(path)s", path=self.file)
        with interruptible(self.connection, doing, self.deadline, self.sign_of_life):
            findings = [text for (text,) in self.connection.execute(f"PRAGMA {pragma}")]
        for finding in findings:
            if finding != "ok" and not (ignore and finding.startswith(ignore)):
                raise DatabaseDamaged(
                    "%(path)s is damaged: %(reason)s.", path=self.file, reason=finding.strip()
                )


def _check_of(table: str) -> str:
    literal = "'" + table.replace("'", "''") + "'"
    return f"integrity_check({literal})"


def add_stand_in(connection: sqlite3.Connection, complaint: str) -> bool:
    """Add the collation or function that SQLite misses; False if it misses something else."""
    if missing := re.fullmatch("no such collation sequence: (.+)", complaint):
        connection.create_collation(missing[1], lambda a, b: (a > b) - (a < b))
    elif missing := re.fullmatch(r"(?:unknown|no such) function: (.+?)(?:\(\))?", complaint):
        connection.create_function(missing[1], -1, lambda *arguments: None, deterministic=True)
    # Otherwise SQLite goes on with the incomplete schema that it read without it.
    connection.execute("PRAGMA writable_schema = RESET")
    return missing is not None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A file's size in bytes and its SHA-256 in hexadecimal digits, by which it is recognised."""

    size: int
    sha256: str


def fingerprint(
    file: Path, *, deadline: float | None = None, sign_of_life: SignOfLife | None = None
) -> Fingerprint:
    """The fingerprint of a backup's file, which must not be a database in use.

    `deadline` is a time of `time.monotonic()`. Raises `DeadlineExceeded`, and `OSError` if the
    file cannot be read.
    """
    sha256 = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            sha256.update(chunk)
            require_time(deadline, Text("Reading %(path)s", path=file))
            if sign_of_life:
                sign_of_life()
        return Fingerprint(stream.tell(), sha256.hexdigest())


def first_difference(ours: sqlite3.Connection, theirs: sqlite3.Connection) -> Text | None:
    """Where two databases differ first, in words; None if they are equal.

    Both are read in the order of their pages, side by side, so nothing is sorted or kept.
    """
    schema = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master"
    versions = "SELECT * FROM pragma_user_version, pragma_application_id"
    for query, what in ((schema, Text("its schema")), (versions, Text("its versions"))):
        if ours.execute(query).fetchall() != theirs.execute(query).fetchall():
            return what
    # A virtual table has no page. The tables that hold its rows are compared themselves.
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
    for (table,) in ours.execute(tables).fetchall():
        # A 2 marks a column that is computed when it is read, which may need the host's functions.
        columns = ours.execute(
            "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 2", (table,)
        ).fetchall()
        names = ", ".join(quoted(name) for (name,) in columns)
        rows, their_rows = _raw_rows(ours, table, names), _raw_rows(theirs, table, names)
        if any(row != their_row for row, their_row in zip_longest(rows, their_rows)):
            return Text("the table %(table)r", table=table)
    return None


def _raw_rows(
    connection: sqlite3.Connection, table: str, columns: str
) -> Iterator[tuple[object, ...]]:
    """The rows with their text as bytes, which may be no valid text."""
    text_factory = connection.text_factory
    connection.text_factory = bytes
    try:
        while True:
            try:
                # EXPLAIN names the missing collation, for which the query would only fail.
                connection.execute(f"EXPLAIN SELECT count(*) FROM {quoted(table)}")  # noqa: S608
                rows = connection.execute(
                    f"SELECT {columns} FROM {quoted(table)} NOT INDEXED"  # noqa: S608
                )
                break
            except sqlite3.OperationalError as error:
                if not add_stand_in(connection, str(error)):
                    raise
        yield from rows
    finally:
        connection.text_factory = text_factory
