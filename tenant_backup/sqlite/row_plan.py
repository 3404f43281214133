"""A plan of rows to be written: a small database of its own, attached to the one it is about.

It holds each row's key, the values to be written, and those from before. The values never pass
through Python, so each stays what it is, even text that is not valid.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Literal

from tenant_backup.exceptions import BackupError, NotEnoughSpace, cannot_be_read
from tenant_backup.sqlite.deadlines import interruptible
from tenant_backup.sqlite.errors import code_of, refusal
from tenant_backup.sqlite.opening import UNTOUCHED, uri_of
from tenant_backup.sqlite.shapes import folded
from tenant_backup.sqlite.tables import quoted
from tenant_backup.texts import Text

Kind = Literal["new", "changed", "refilled"]
"""A row that is gone, one that differs, and columns that are NULL now and referred to a new row."""

Key = tuple[Any, ...]

Connection = sqlite3.Connection
"""For those who open none by themselves, and may not import sqlite3."""

LIVE = "main"
"""The schema of the database that the plan is about."""

TABLES = """
CREATE TABLE plan.parts (number INTEGER PRIMARY KEY, kind, "table", key, columns);
CREATE TABLE plan.conflicts (part INTEGER, row INTEGER, why, detail);
CREATE TABLE plan.skipped ("table" PRIMARY KEY, rows INTEGER);
"""


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one table and one kind. `columns` are written besides the key of a new row."""

    number: int
    kind: Kind
    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"plan.part_{self.number}"

    @property
    def live(self) -> str:
        """The table that it is about, as SQL has it."""
        return f"{LIVE}.{quoted(self.table)}"

    @property
    def keys(self) -> list[str]:
        """The names of its columns with the key."""
        return names("k", self.key)

    @property
    def values(self) -> list[str]:
        """The names of its columns with the values to be written."""
        return names("v", self.columns)

    @property
    def old_values(self) -> list[str]:
        """The names of its columns with the values from before. A new row has none."""
        return [] if self.kind == "new" else names("o", self.columns)

    def same_row(self, ours: str = "p", live: str = "n") -> str:
        """The condition under which `n`, a row of the live table, is a row of this part."""
        return conjunction(
            f"{live}.{quoted(column)} = {ours}.{key}"
            for column, key in zip(self.key, self.keys, strict=True)
        )

    @property
    def is_same_row(self) -> str:
        return self.same_row()

    def value(self, column: str) -> str | None:
        """The column's name here, if it belongs to the key or is written."""
        for ours, there in ((self.keys, self.key), (self.values, self.columns)):
            for name, original in zip(ours, there, strict=True):
                if folded(original) == folded(column):
                    return name
        return None

    def is_as(self, values: Sequence[str]) -> str:
        """The condition under which the live row `n` has exactly these values of the row `p`."""
        return conjunction(
            same(f"n.{quoted(column)}", f"p.{value}")
            for column, value in zip(self.columns, values, strict=True)
        )


def names(prefix: str, columns: Sequence[str]) -> list[str]:
    return [f"{prefix}{number}" for number in range(len(columns))]


def conjunction(conditions: Iterable[str]) -> str:
    return " AND ".join(conditions) or "1"


def same(one: str, other: str) -> str:
    """Whether two values are the same to the bit; collations and affinities hide differences."""
    return f"({one} IS {other} COLLATE BINARY AND typeof({one}) = typeof({other}))"


def row_value(expressions: Sequence[str]) -> str:
    """Several values to be compared at once, or one."""
    return f"({', '.join(expressions)})" if len(expressions) > 1 else expressions[0]


def key_in_words(expressions: Sequence[str]) -> str:
    """SQL for a key as people write it: its values, separated by commas."""
    return " || ',' || ".join(
        f"CASE typeof({each}) WHEN 'blob' THEN hex({each}) ELSE CAST({each} AS TEXT) END"
        for each in expressions
    )


class RowPlan:
    """The plan in a file, attached as the schema `plan` to a connection on the live database."""

    def __init__(
        self, connection: sqlite3.Connection, database: Path, file: Path, parts: list[Part]
    ) -> None:
        self.connection, self.database, self.file = connection, database, file
        self.parts = parts

    @classmethod
    def make(cls, connection: sqlite3.Connection, database: Path, file: Path) -> "RowPlan":
        """An empty plan in a new file, until the connection is closed."""
        _attach(connection, file)
        for statement in TABLES.strip().splitlines():
            connection.execute(statement)
        return cls(connection, database, file, [])

    @classmethod
    def read(cls, connection: sqlite3.Connection, database: Path, file: Path) -> "RowPlan":
        """The plan that `make` has left in this file. Raises `BackupError` if it is none."""
        try:
            _attach(connection, file)
            rows = connection.execute("SELECT * FROM plan.parts ORDER BY number").fetchall()
            parts = [
                Part(number, kind, table, tuple(json.loads(key)), tuple(json.loads(columns)))
                for number, kind, table, key, columns in rows
            ]
        except sqlite3.Error as error:
            raise cannot_be_read(file, error) from error
        return cls(connection, database, file, parts)

    # Its parts

    def part(self, kind: Kind, table: str, columns: Sequence[str] = ()) -> Part | None:
        """The part of this kind about this table. Only `refilled` has one for each reference."""
        for part in self.parts:
            if (part.kind, part.table) == (kind, table) and (
                kind != "refilled" or part.columns == tuple(columns)
            ):
                return part
        return None

    def add_part(self, kind: Kind, table: str, key: Sequence[str], columns: Sequence[str]) -> Part:
        """The part of this kind about this table, made if there is none."""
        if part := self.part(kind, table, columns):
            return part
        part = Part(len(self.parts) + 1, kind, table, tuple(key), tuple(columns))
        own = ", ".join([*part.keys, *part.values, *part.old_values])
        self.run(f"CREATE TABLE {part.name} (row INTEGER PRIMARY KEY, turn, note, {own})")
        self.run(
            "INSERT INTO plan.parts VALUES (?, ?, ?, ?, ?)",
            (part.number, kind, table, json.dumps(part.key), json.dumps(part.columns)),
        )
        self.parts.append(part)
        return part

    def of_kind(self, kind: Kind) -> list[Part]:
        return [part for part in self.parts if part.kind == kind]

    # What is in it

    def run(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        """Execute a statement, which a signal can interrupt."""
        with interruptible(
            self.connection, Text("Reading %(path)s", path=self.database), deadline=None
        ):
            return self.connection.execute(sql, parameters)

    def count(self, part: Part) -> int:
        number: int = self.run(f"SELECT count(*) FROM {part.name}").fetchone()[0]
        return number

    def counts(self) -> dict[str, dict[str, int]]:
        """How many rows of each table are restored, updated and skipped."""
        counts: dict[str, dict[str, int]] = {}

        def of(table: str) -> dict[str, int]:
            return counts.setdefault(table, {"restored": 0, "updated": 0, "skipped": 0})

        for part in self.parts:
            of(part.table)["restored" if part.kind == "new" else "updated"] += self.count(part)
        for table, number in self.run('SELECT "table", rows FROM plan.skipped'):
            of(table)["skipped"] += number
        return {table: numbers for table, numbers in counts.items() if any(numbers.values())}

    def is_empty(self) -> bool:
        return not any(self.count(part) for part in self.parts)

    def keys_of(self, part: Part) -> Iterator[Key]:
        """The keys of its rows."""
        query = f"SELECT {', '.join(part.keys)} FROM {part.name} ORDER BY row"
        yield from self.connection.execute(query)

    def keys_in_words(self, part: Part, limit: int) -> list[str]:
        words = key_in_words(part.keys)
        rows = self.run(f"SELECT {words} FROM {part.name} ORDER BY row LIMIT ?", (limit,))
        return [str(key) for (key,) in rows]

    def drop(self) -> int:
        """Take out the rows that have a conflict, and count them as skipped."""
        dropped = 0
        for part in self.parts:
            number = self.run(
                f"DELETE FROM {part.name} WHERE row IN "
                "(SELECT row FROM plan.conflicts WHERE part = ?)",
                (part.number,),
            ).rowcount
            self.run(
                'INSERT INTO plan.skipped VALUES (?, ?) ON CONFLICT ("table") '
                "DO UPDATE SET rows = rows + excluded.rows",
                (part.table, number),
            )
            dropped += number
        self.run("DELETE FROM plan.conflicts")
        return dropped


def _attach(connection: sqlite3.Connection, file: Path) -> None:
    connection.execute("ATTACH ? AS plan", (uri_of(file, "mode=rwc"),))
    # After a crash the file is of no use. Without a journal, no commit waits for it, either.
    connection.execute("PRAGMA plan.journal_mode = OFF")
    connection.execute("PRAGMA plan.synchronous = OFF")


@contextmanager
def explaining(database: Path, busy_timeout: float) -> Iterator[None]:
    """Raise SQLite's errors as `BackupError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise refused(database, error, busy_timeout) from error


def refused(database: Path, error: sqlite3.Error, busy_timeout: float) -> BackupError:
    """What an error on the host's own connection means."""
    if code_of(error) == sqlite3.SQLITE_FULL:
        return NotEnoughSpace(
            "A disk became full, so the database %(database)s was not changed. Make room there or "
            "in %(folder)s, where the plan of the rows lies.",
            database=database,
            folder=gettempdir(),
        )
    if code_of(error) == sqlite3.SQLITE_ERROR:
        return BackupError(
            "The connection to the database %(database)s lacks something: %(reason)s. If only the "
            "host's own connections have it, let an alias of DATABASES lead to this file, or "
            "register it in a receiver of Django's signal connection_created.",
            database=database,
            reason=error,
        )
    return refusal(database, error, busy_timeout)


def attach_backup(connection: sqlite3.Connection, file: Path) -> None:
    """From now on a backup's file is the schema `then` of the connection."""
    try:
        connection.execute('ATTACH ? AS "then"', (uri_of(file, UNTOUCHED),))
    except sqlite3.Error as error:
        raise cannot_be_read(file, error) from error
