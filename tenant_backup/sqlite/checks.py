"""The check of a database: whether it is sound, as far as SQLite can tell."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tenant_backup.exceptions import BackupError, DatabaseDamaged
from tenant_backup.sqlite.connections import code_of, connect_immutable, is_damage
from tenant_backup.sqlite.deadlines import SignOfLife, interruptible
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
    Returns False where that was asked for but could not be done for some table, because it needs a
    function or a collation that only the host's own connections have. `deadline` is a time of
    `time.monotonic()`. Raises `DatabaseDamaged`, `DeadlineExceeded`, or `BackupError` where the
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
        if not full:
            self.check_with_stand_ins("quick_check")
            return True
        try:
            self.run("integrity_check")
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_ERROR:
                raise
            return self.check_table_by_table()
        return True

    def check_table_by_table(self) -> bool:
        """Check everything quickly, and fully each table that allows it; whether all did."""
        tables = self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        everything = True
        for (name,) in tables.fetchall():
            try:
                self.check_table(name)
            except sqlite3.OperationalError as error:
                if code_of(error) != sqlite3.SQLITE_ERROR:
                    raise
                everything = False
        self.check_with_stand_ins("quick_check")
        return everything

    def check_table(self, name: str) -> None:
        literal = "'" + name.replace("'", "''") + "'"
        self.run(f"integrity_check({literal})")

    def check_with_stand_ins(self, pragma: str) -> None:
        """Run a check that needs functions and collations to exist, but not what they return.

        An index may use them, or a generated column that is computed when it is read. A function's
        stand-in returns NULL, which a column may forbid: that is no damage.
        """
        while True:
            try:
                self.run(pragma, but_not="NULL value in ")
            except sqlite3.OperationalError as error:
                if not add_stand_in(self.connection, str(error)):
                    raise
            else:
                return

    def run(self, pragma: str, *, but_not: str | None = None) -> None:
        """Run a check of SQLite's. What begins with `but_not` is no finding."""
        doing = Text("Checking %(path)s", path=self.file)
        with interruptible(self.connection, doing, self.deadline, self.sign_of_life):
            findings = [text for (text,) in self.connection.execute(f"PRAGMA {pragma}")]
        for finding in findings:
            if finding != "ok" and not (but_not and finding.startswith(but_not)):
                raise DatabaseDamaged(
                    "%(path)s is damaged: %(reason)s.", path=self.file, reason=finding.strip()
                )


def add_stand_in(connection: sqlite3.Connection, complaint: str) -> bool:
    """Add the collation or function that SQLite misses; False where it misses something else."""
    if missing := re.fullmatch("no such collation sequence: (.+)", complaint):
        connection.create_collation(missing[1], lambda a, b: (a > b) - (a < b))
    elif missing := re.fullmatch(r"(?:unknown|no such) function: (.+?)(?:\(\))?", complaint):
        connection.create_function(missing[1], -1, lambda *arguments: None, deterministic=True)
    # Otherwise SQLite goes on with the incomplete schema that it read without it.
    connection.execute("PRAGMA writable_schema = RESET")
    return missing is not None
