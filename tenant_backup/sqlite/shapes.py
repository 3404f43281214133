"""The shape of a table in two databases: its columns and its key, and whether they agree."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Literal

from tenant_backup.texts import Text, joined

Schema = Literal["then", "now"]

LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
ROW_IDS = ("rowid", "_rowid_", "oid")
COLLATIONS = {"binary", "nocase", "rtrim"}
"""Those that SQLite has by itself. Only the host's own connections have others."""

AFFINITIES = (
    ("INTEGER", ("INT",)),
    ("TEXT", ("CHAR", "CLOB", "TEXT")),
    ("BLOB", ("BLOB",)),
    ("REAL", ("REAL", "FLOA", "DOUB")),
)
"""By the first part that occurs in a column's type, as SQLite's documentation has it."""

COMPUTED_WHEN_READ, COMPUTED_AND_STORED = 2, 3
"""What SQLite says of a generated column."""

FULL_TEXT = {"content", "docsize", "segdir", "segments", "stat"}
TREE = {"node", "parent", "rowid"}
SHADOWS = {
    "fts3": FULL_TEXT,
    "fts4": FULL_TEXT,
    "fts5": {"config", "content", "data", "docsize", "idx"},
    "rtree": TREE,
    "rtree_i32": TREE,
    "geopoly": TREE,
}
"""By the module of a virtual table, the ends of its shadow tables' names."""

MODULE = re.compile(r"\bUSING\s+[\"'`\[]?(\w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Column:
    """A column whose values lie in the file. `default` is an expression in SQL."""

    name: str
    type: str
    is_required: bool
    default: str | None
    is_generated: bool

    @property
    def affinity(self) -> str:
        """What SQLite makes of values that are put into it."""
        given = self.type.upper()
        for affinity, parts in AFFINITIES:
            if any(part in given for part in parts):
                return affinity
        return "NUMERIC" if given else "BLOB"


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns that refer to rows of `table`; `to` is empty if to its primary key."""

    columns: tuple[str, ...]
    table: str
    to: tuple[str, ...]
    on_delete: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table as one of the two databases has it."""

    schema: Schema
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """The columns of the primary key, in its order; empty without one."""
    index: str | None
    """The index of the primary key; None without one, or if the key is the row's id itself."""
    collations: tuple[str, ...]
    """Those of that index."""
    has_row_ids: bool
    row_id: str | None
    """A name for the row's id; None if there is none, or if columns have taken all its names."""
    foreign_keys: tuple[ForeignKey, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def mark(self) -> str | None:
        """A column that is never NULL, so that it tells whether a row was found."""
        if self.key and (self.index is None or not self.has_row_ids):
            return self.key[0]
        return self.row_id

    @property
    def can_be_sought(self) -> bool:
        """Whether our own connection can find a row by its key, through the index."""
        return bool(self.key and self.mark) and COLLATIONS.issuperset(self.collations)

    @property
    def may_lack_keys(self) -> bool:
        """Whether SQLite lets several rows have NULL in the primary key."""
        required = {column.name for column in self.columns if column.is_required}
        return self.has_row_ids and self.index is not None and not required.issuperset(self.key)


@dataclass(frozen=True, slots=True)
class Shape:
    """A table in both databases; None where it is missing or is no ordinary table.

    `why_not` says why its rows are not compared: it is virtual or belongs to a virtual table; it is
    in one of the two only; or it differs in the names of its columns, in their affinity, in which
    of them are generated, or in its primary key, collations included. What makes no difference:
    the order of columns, the wording of their types, defaults, constraints, other indexes,
    triggers, and columns that are computed when they are read.
    """

    table: str
    then: Table | None
    now: Table | None
    why_not: Text | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names: today's, or those of a table that is gone."""
        return self.columns_in("now" if self.now else "then")

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key; empty without one."""
        latest = self.now or self.then
        return latest.key if latest else ()

    @property
    def foreign_keys(self) -> tuple[ForeignKey, ...]:
        latest = self.now or self.then
        return latest.foreign_keys if latest else ()

    @property
    def has_same_key(self) -> bool:
        """Whether both have the same primary key, so that rows pair up whatever else differs."""
        if self.then is None or self.now is None or not self.key:
            return False
        return _key_of(self.then) == _key_of(self.now)

    @property
    def sides(self) -> tuple[Table, ...]:
        """Those of the two that have it as an ordinary table."""
        return tuple(side for side in (self.then, self.now) if side)

    def side(self, schema: Schema) -> Table | None:
        return self.then if schema == "then" else self.now

    def columns_in(self, schema: Schema) -> tuple[str, ...]:
        """The columns in whose order the rows of this database are given.

        That is today's order if the rows are compared, else the order of its own.
        """
        table = self.side(schema)
        if table is None or self.now is None or self.why_not is not None:
            return table.names if table else ()
        own = {folded(name): name for name in table.names}
        return tuple(own[folded(name)] for name in self.now.names)

    def key_places(self, schema: Schema) -> tuple[int, ...]:
        """Where in the rows of this database the values of the primary key are."""
        table, columns = self.side(schema), self.columns_in(schema)
        return tuple(columns.index(name) for name in table.key) if table else ()


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tables of one of the two databases: their names, by folded name."""

    schema: Schema
    ordinary: dict[str, str]
    virtual: dict[str, str]
    shadows: dict[str, str]
    """By their folded names, the virtual tables that they belong to."""

    @classmethod
    def read(cls, connection: sqlite3.Connection, schema: Schema) -> Catalog:
        found = connection.execute(
            f'SELECT name, rootpage, sql FROM "{schema}".sqlite_master '  # noqa: S608
            "WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        ).fetchall()
        # A virtual table has no page of its own.
        virtual = {folded(name): name for name, page, _sql in found if not page}
        ordinary = {folded(name): name for name, page, _sql in found if page}
        shadows = {
            shadow: virtual[folded(name)]
            for name, page, sql in found
            if not page
            for shadow in _shadows(folded(name), sql or "", ordinary)
        }
        return cls(schema, ordinary, virtual, shadows)

    @property
    def names(self) -> dict[str, str]:
        return {**self.ordinary, **self.virtual}


def folded(name: str) -> str:
    """A name as SQLite compares names: only the letters A to Z have no case."""
    return name.translate(LOWER)


def shape_of(connection: sqlite3.Connection, table: str, then: Catalog, now: Catalog) -> Shape:
    """The shape of a table of this folded name, which at least one of the two has."""
    name = {**then.names, **now.names}[table]
    for catalog in (now, then):
        if table in catalog.virtual:
            why = Text("It is a virtual table: its rows lie in other tables.")
            return Shape(name, None, None, why)
        if virtual := catalog.shadows.get(table):
            why = Text("It belongs to the virtual table %(table)s.", table=virtual)
            return Shape(name, None, None, why)
    no_text = Text("Its name or that of a column is no valid text.")
    if not _is_text(name):
        return Shape(name, None, None, no_text)
    sides = [_table(connection, catalog, table) for catalog in (then, now)]
    if not all(_is_text(column) for side in sides if side for column in side.names):
        return Shape(name, None, None, no_text)
    return Shape(name, sides[0], sides[1], _difference(sides[0], sides[1]))


def _shadows(virtual: str, sql: str, tables: Iterable[str]) -> Iterator[str]:
    """The tables that hold the rows of this virtual table."""
    module = MODULE.search(sql)
    ends = SHADOWS.get(folded(module[1])) if module else None
    start = f"{virtual}_"
    for table in tables:
        # Of a module that only the host has, nobody knows here which tables are its own.
        if table.startswith(start) and (ends is None or table.removeprefix(start) in ends):
            yield table


def _table(connection: sqlite3.Connection, catalog: Catalog, table: str) -> Table | None:
    name = catalog.ordinary.get(table)
    if name is None:
        return None
    ask = partial(_ask, connection, catalog.schema)
    columns, key, taken = [], {}, set()
    for _, column, type_, is_required, default, place, hidden in ask("table_xinfo", name):
        taken.add(folded(column))
        if place:
            key[place] = column
        if hidden != COMPUTED_WHEN_READ:
            is_generated = hidden == COMPUTED_AND_STORED
            columns.append(Column(column, type_, bool(is_required), default, is_generated))
    index = next((row[1] for row in ask("index_list", name) if row[3] == "pk"), None)
    # Only a table without row ids answers here: it is its own index.
    has_row_ids = not ask("index_xinfo", name)
    row_ids = [row_id for row_id in ROW_IDS if row_id not in taken]
    return Table(
        catalog.schema,
        name,
        tuple(columns),
        tuple(key[place] for place in sorted(key)),
        index,
        tuple(folded(row[4]) for row in ask("index_xinfo", index) if row[5]) if index else (),
        has_row_ids,
        row_ids[0] if has_row_ids and row_ids else None,
        _foreign_keys(ask("foreign_key_list", name)),
    )


def _ask(
    connection: sqlite3.Connection, schema: Schema, pragma: str, name: str
) -> list[tuple[Any, ...]]:
    query = f"SELECT * FROM pragma_{pragma}(?, ?)"  # noqa: S608
    return connection.execute(query, (name, schema)).fetchall()


def _foreign_keys(rows: list[tuple[Any, ...]]) -> tuple[ForeignKey, ...]:
    found = []
    for _, group in groupby(sorted(rows), key=itemgetter(0)):
        parts = list(group)
        to = tuple(part[4] for part in parts if part[4] is not None)
        columns = tuple(part[3] for part in parts)
        found.append(ForeignKey(columns, parts[0][2], to, parts[0][6]))
    return tuple(found)


def _difference(then: Table | None, now: Table | None) -> Text | None:
    """How the two differ, so that their rows cannot be compared; None if they do not."""
    if then is None:
        return Text("It did not exist then.")
    if now is None:
        return Text("It no longer exists.")
    then_columns = {folded(column.name): column for column in then.columns}
    now_columns = {folded(column.name): column for column in now.columns}
    added = [column.name for name, column in now_columns.items() if name not in then_columns]
    removed = [column.name for name, column in then_columns.items() if name not in now_columns]
    converted = [
        column.name
        for name, column in now_columns.items()
        if name in then_columns and _kind_of(column) != _kind_of(then_columns[name])
    ]
    reasons = []
    if added:
        reasons.append(Text("Columns were added: %(columns)s.", columns=", ".join(added)))
    if removed:
        reasons.append(Text("Columns were removed: %(columns)s.", columns=", ".join(removed)))
    if converted:
        reasons.append(
            Text("Columns have another type: %(columns)s.", columns=", ".join(converted))
        )
    if _key_of(then) != _key_of(now):
        reasons.append(Text("Its primary key is another one."))
    return joined(*reasons) if reasons else None


def _kind_of(column: Column) -> tuple[str, bool]:
    return column.affinity, column.is_generated


def _key_of(table: Table) -> object:
    affinities = {column.name: column.affinity for column in table.columns}
    return [(folded(name), affinities[name]) for name in table.key], table.collations


def _is_text(name: str) -> bool:
    """Whether SQLite takes this name from us. In the file it may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
