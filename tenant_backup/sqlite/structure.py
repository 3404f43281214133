"""How the tables of a database hang together: references, what keeps rows unique, and triggers."""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tenant_backup.sqlite.shapes import (
    COMPUTED_AND_STORED,
    COMPUTED_WHEN_READ,
    Catalog,
    Schema,
    Shape,
    Table,
    folded,
    shape_of,
)
from tenant_backup.sqlite.tables import quoted

WRITES = re.compile(
    r"""\b(INTO|UPDATE(?:\s+OR\s+\w+)?|DELETE\s+FROM)\s+
    (?:"((?:[^"]|"")+)"|`((?:[^`]|``)+)`|\[([^\]]+)\]|'((?:[^']|'')+)'|(\w+))""",
    re.IGNORECASE | re.VERBOSE,
)
"""What the statements of a trigger do, and to which table."""

RESOLVED = re.compile(r"\bON\s+CONFLICT\b", re.IGNORECASE)

COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)

PIECES = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\] | \w+ | .""",
    re.VERBOSE | re.DOTALL,
)
"""The pieces of a statement in SQL: strings and names are whole, so that nothing in them counts."""

ORDERED = re.compile(r"\s+(?:ASC|DESC)\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reference:
    """Columns of `table` that refer to rows of `to_table`.

    With a `type_column` it is a generic one: it refers to that table where this column has the
    value `type_value`, and SQLite does not enforce it.
    """

    table: str
    columns: tuple[str, ...]
    to_table: str
    to_columns: tuple[str, ...]
    collations: tuple[str, ...] = ("binary",)
    """Those of `to_columns`, by which SQLite compares."""
    type_column: str = ""
    type_value: object = None

    @property
    def is_enforced(self) -> bool:
        return not self.type_column

    def compared(self, expressions: Sequence[str]) -> list[str]:
        """The expressions for `columns`, such that they are compared as SQLite does it."""
        return [
            f"{expression} COLLATE {quoted(collation)}"
            for expression, collation in zip(expressions, self.collations, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Unique:
    """An index in which no two rows are equal: expressions, and which rows it is about."""

    index: str
    expressions: tuple[str, ...]
    """In SQL, each with its collation."""
    where: str
    columns: tuple[str, ...]
    """Those of its columns that are plain ones."""
    is_computed: bool
    """Whether it depends on generated columns: a plan does not have what they will hold."""

    @property
    def is_plain(self) -> bool:
        return not self.where and len(self.columns) == len(self.expressions)

    @property
    def in_words(self) -> str:
        return ", ".join(self.columns) or self.index


@dataclass(slots=True)
class Structure:
    """The tables of the live database, beside those of a backup if one is attached as `then`."""

    shapes: dict[str, Shape]
    """By folded name."""
    references: list[Reference]
    """Those that SQLite enforces today."""
    former: list[Reference]
    """Those that were enforced then and whose tables and columns are still there."""
    generic: list[Reference] = field(default_factory=list)

    @classmethod
    def read(cls, connection: sqlite3.Connection, live: Schema, then: Schema | None) -> "Structure":
        now = Catalog.read(connection, live)
        before = Catalog.read(connection, then) if then else now
        tables = {*now.ordinary, *now.virtual, *before.ordinary, *before.virtual}
        shapes = {table: shape_of(connection, table, before, now) for table in sorted(tables)}
        current = list(_references(connection, live, shapes, is_then=False))
        past = _references(connection, live, shapes, is_then=True)
        former = [each for each in past if each not in current]
        return cls(shapes, current, former)

    def shape(self, table: str) -> Shape | None:
        return self.shapes.get(folded(table))

    def to(self, table: str) -> list[Reference]:
        """The references to this table, of all kinds."""
        return [
            each
            for each in (*self.references, *self.former, *self.generic)
            if each.to_table == table
        ]

    def parents_first(self, tables: Iterable[str]) -> list[str]:
        """The tables in such an order that each comes after those it refers to, if there is one."""
        order: dict[str, None] = {}
        wanted = list(tables)

        def visit(table: str, path: frozenset[str]) -> None:
            if table in order or table in path:
                return
            for each in self.references:
                if each.table == table and each.to_table in wanted:
                    visit(each.to_table, path | {table})
            order[table] = None

        for table in wanted:
            visit(table, frozenset())
        return list(order)


def _references(
    connection: sqlite3.Connection, live: Schema, shapes: dict[str, Shape], *, is_then: bool
) -> Iterator[Reference]:
    """The references of today, or those of then as far as their tables and columns are there."""
    for shape in shapes.values():
        table = shape.then if is_then else shape.now
        if table is None or shape.now is None:
            continue
        for key in table.foreign_keys:
            to = shapes.get(folded(key.table))
            target = to and (to.then if is_then else to.now)
            if to is None or to.now is None or target is None:
                continue
            columns = _actual(key.columns, shape)
            to_columns = _actual(key.to or target.key, to)
            if columns and len(columns) == len(to_columns):
                collations = _collations(connection, live, to.table, to_columns)
                yield Reference(shape.table, columns, to.table, to_columns, collations)


def _collations(
    connection: sqlite3.Connection, schema: str, table: str, columns: Sequence[str]
) -> tuple[str, ...]:
    """How these columns are compared, by the indexes that every target of references has."""
    known = dict(
        connection.execute(
            "SELECT c.name, c.coll FROM pragma_index_list(?1, ?2) AS i, "
            'pragma_index_xinfo(i.name, ?2) AS c WHERE i."unique" AND c.key AND c.cid >= 0',
            (table, schema),
        ).fetchall()
    )
    return tuple(known.get(name, "binary") for name in columns)


def _actual(columns: Sequence[str], shape: Shape) -> tuple[str, ...]:
    """The columns as today's table writes them; nothing if one of them is gone."""
    own = {folded(name): name for name in shape.now.names} if shape.now else {}
    actual = tuple(own[folded(name)] for name in columns if folded(name) in own)
    return actual if len(actual) == len(columns) else ()


def uniques_of(connection: sqlite3.Connection, schema: str, table: str) -> list[Unique]:
    """What keeps the rows of a table unique, besides the primary key."""
    found = []
    generated = [
        re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)
        for (name,) in connection.execute(
            "SELECT name FROM pragma_table_xinfo(?, ?) WHERE hidden IN (?, ?)",
            (table, schema, COMPUTED_WHEN_READ, COMPUTED_AND_STORED),
        )
    ]
    indexes = connection.execute(
        "SELECT name, partial FROM pragma_index_list(?, ?) "
        "WHERE \"unique\" AND origin <> 'pk' ORDER BY name",
        (table, schema),
    ).fetchall()
    for name, is_partial in indexes:
        parts = connection.execute(
            "SELECT name, cid, coll FROM pragma_index_xinfo(?, ?) WHERE key ORDER BY seqno",
            (name, schema),
        ).fetchall()
        sql = connection.execute(
            f"SELECT sql FROM {quoted(schema)}.sqlite_master WHERE type = 'index' AND name = ?",
            (name,),
        ).fetchone()
        written, where = _parts_of_index(sql[0]) if sql and sql[0] else ([], "")
        expressions = [
            quoted(column) if cid >= 0 else "rowid" if cid == -1 else f"({written[place]})"
            for place, (column, cid, _) in enumerate(parts)
        ]
        found.append(
            Unique(
                name,
                tuple(
                    f"{expression} COLLATE {quoted(collation)}"
                    for expression, (*_, collation) in zip(expressions, parts, strict=True)
                ),
                where if is_partial else "",
                tuple(column for column, cid, _ in parts if cid >= 0),
                any(name.search(text) for name in generated for text in (*expressions, where)),
            )
        )
    return found


def _parts_of_index(sql: str) -> tuple[list[str], str]:
    """What an index is about, by its own statement: its expressions, and its condition."""
    parts, depth, where = [""], 0, ""
    is_over = False
    for piece in PIECES.findall(COMMENTS.sub(" ", sql)):
        if is_over:
            where += piece
            continue
        depth -= piece == ")"
        if depth == 0 and piece == ")":
            is_over = True
        elif depth == 1 and piece == ",":
            parts.append("")
        elif depth:
            parts[-1] += piece
        depth += piece == "("
    condition = where.strip()
    return [ORDERED.sub("", part.strip()) for part in parts], condition[len("WHERE") :].strip()


def has_triggers(connection: sqlite3.Connection, schema: str, table: str) -> bool:
    """Whether something else happens when a row of this table is written."""
    rows = connection.execute(
        f"SELECT tbl_name FROM {quoted(schema)}.sqlite_master WHERE type = 'trigger'"
    )
    return any(folded(name) == folded(table) for (name,) in rows.fetchall())


@dataclass(frozen=True, slots=True)
class TriggerWrites:
    """What a trigger may write to, by folded names."""

    name: str
    table: str
    """Whose rows cause it to run."""
    inserts: frozenset[str]
    updates: frozenset[str]
    deletes: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        return self.inserts | self.updates | self.deletes


def triggers_of(connection: sqlite3.Connection, schema: str) -> list[TriggerWrites]:
    """What the triggers write to, by their names."""
    rows = connection.execute(
        f"SELECT name, tbl_name, sql FROM {quoted(schema)}.sqlite_master "
        "WHERE type = 'trigger' ORDER BY name"
    ).fetchall()
    found = []
    for name, table, sql in rows:
        # What comes before BEGIN says when it runs, and names its own table.
        body = re.split(r"\bBEGIN\b", COMMENTS.sub(" ", sql), maxsplit=1, flags=re.IGNORECASE)[-1]
        written: dict[str, set[str]] = {"I": set(), "U": set(), "D": set()}
        for verb, *names in WRITES.findall(body):
            written[verb[0].upper()].add(folded(next(filter(None, names))))
        found.append(TriggerWrites(name, folded(table), *map(frozenset, written.values())))
    return found


def triggers_into(connection: sqlite3.Connection, schema: str, table: str) -> list[str]:
    """The names of the triggers that may write to this table."""
    found = triggers_of(connection, schema)
    return [trigger.name for trigger in found if folded(table) in trigger.all]


def resolves_conflicts(connection: sqlite3.Connection, schema: str, table: str) -> bool:
    """Whether the table itself may say what to do about conflicts: to replace rows, or to skip."""
    row = connection.execute(
        f"SELECT sql FROM {quoted(schema)}.sqlite_master "
        "WHERE type = 'table' AND lower(name) = lower(?)",
        (table,),
    ).fetchone()
    return bool(row and RESOLVED.search(row[0]))


def shared_types(
    connection: sqlite3.Connection, structure: Structure
) -> dict[tuple[str, str], object]:
    """The numbers of Django's content types that mean the same in the backup and today."""
    shape = structure.shape("django_content_type")
    if shape is None or shape.then is None or shape.now is None:
        return {}
    rows = connection.execute(
        'SELECT t.app_label, t.model, t.id FROM "then".django_content_type AS t '
        "JOIN main.django_content_type AS n "
        "ON n.id = t.id AND n.app_label = t.app_label AND n.model = t.model"
    ).fetchall()
    return {(label, model): number for label, model, number in rows}


def changing_with(connection: sqlite3.Connection, schema: str, table: Table) -> list[str]:
    """The tables whose references to this one follow when its other columns than the key change."""
    key = {folded(name) for name in table.key}
    rows = connection.execute(
        f'SELECT m.name, f."to" FROM {quoted(schema)}.sqlite_master AS m, '
        "pragma_foreign_key_list(m.name, ?1) AS f WHERE m.type = 'table' "
        "AND lower(f.\"table\") = lower(?2) AND f.on_update NOT IN ('NO ACTION', 'RESTRICT')",
        (schema, table.name),
    ).fetchall()
    return sorted({name for name, to in rows if to is not None and folded(to) not in key})
