"""Choosing the rows of a backup that are to be brought back: those that are gone, or have changed.

The backup is attached as `then`. The live database is read in statements of their own, without a
transaction around them: in rollback mode a long one would make its writers fail. So before anything
is written, everything is looked at again.
"""

import json
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from uuid import UUID

from tenant_backup.exceptions import BackupError
from tenant_backup.sqlite.row_plan import (
    LIVE,
    Part,
    RowPlan,
    conjunction,
    key_in_words,
    row_value,
    same,
)
from tenant_backup.sqlite.shapes import Column, Shape, Table, folded
from tenant_backup.sqlite.structure import Structure, changing_with, triggers_into
from tenant_backup.sqlite.tables import quoted
from tenant_backup.texts import Counted, Text

REUSED, REWRITTEN = 1, 2
"""Notes on a changed row: it differs in every column; its key is written in another way."""

THEN = '"then"'


class RowChoice:
    """Puts rows into a plan, and knows which tables' rows cannot be in one."""

    def __init__(self, plan: RowPlan, structure: Structure) -> None:
        self.plan, self.structure = plan, structure
        self._why_not: dict[str, Text | None] = {}

    def choose(
        self, tables: Sequence[str], *, gone: bool, changed: bool, keys: Collection[str] = ()
    ) -> None:
        """Put the gone rows of these tables into the plan, or the changed ones, or both.

        `keys` are those of the rows that are wanted; none: all of them. Raises `BackupError` if a
        table's rows cannot be brought back, or if there is nothing to do for a key.
        """
        for name in tables:
            table = self.require(name, changed=changed)
            if gone:
                self.bring_back(table, *_wanted(table, keys))
            if changed:
                self._choose_changed(table, keys)
            if keys:
                self._require_found(table.name, keys)

    def require(self, name: str, *, changed: bool = False) -> Table:
        """Today's table of this name. Raises `BackupError` if its rows cannot be brought back."""
        shape = self.structure.shape(name)
        if shape is None:
            raise _no_such_table(name, self.structure)
        if why := self.why_not(shape):
            raise BackupError(
                "The rows of %(table)s cannot be brought back: %(why)s", table=shape.table, why=why
            )
        assert shape.now  # noqa: S101 - `why_not` has seen to it.
        if changed:
            self._require_independent(shape.now)
        return shape.now

    def _require_independent(self, table: Table) -> None:
        """Raise `BackupError` if others change the table's rows, or change with them."""
        if names := triggers_into(self.plan.connection, LIVE, table.name):
            raise BackupError(
                "Changed rows of %(table)s cannot be put back, because triggers write to it: "
                "%(triggers)s.",
                table=table.name,
                triggers=", ".join(names),
            )
        if names := changing_with(self.plan.connection, LIVE, table):
            raise BackupError(
                "Changed rows of %(table)s cannot be put back, because rows of other tables would "
                "change with them: %(tables)s.",
                table=table.name,
                tables=", ".join(names),
            )

    def why_not(self, shape: Shape) -> Text | None:
        """Why the rows of a table cannot be brought back; None if they can."""
        if shape.table not in self._why_not:
            self._why_not[shape.table] = self._find_why_not(shape)
        return self._why_not[shape.table]

    def _find_why_not(self, shape: Shape) -> Text | None:
        if shape.now is None or shape.then is None:
            return shape.why_not
        if not shape.then.key and not shape.now.key:
            return Text("It has no primary key.")
        if not shape.has_same_key:
            return Text("Its primary key is another one today.")
        now = {folded(column.name) for column in shape.now.columns if not column.is_generated}
        removed = [
            column.name
            for column in shape.then.columns
            if not column.is_generated and folded(column.name) not in now
        ]
        if removed:
            return Counted(
                "Its column %(columns)s is gone today.",
                "Its columns %(columns)s are gone today.",
                number=len(removed),
                columns=", ".join(removed),
            )
        then = {folded(name) for name in shape.then.names}
        required = [
            column.name
            for column in _written(shape.now)
            if column.is_required and column.default is None and folded(column.name) not in then
        ]
        if required:
            return Counted(
                "Its new column %(columns)s needs a value, and the database has no default for it.",
                "Its new columns %(columns)s need values, and the database has no defaults for "
                "them.",
                number=len(required),
                columns=", ".join(required),
            )
        if shape.then.may_lack_keys and self._has_rows_without_key(shape.then):
            return Text("The backup has rows of it without a primary key.")
        return None

    def _choose_changed(self, table: Table, keys: Collection[str]) -> None:
        shape = self.structure.shapes[folded(table.name)]
        then = {folded(name) for name in shape.then.names} if shape.then else set()
        columns = [
            column.name
            for column in _written(table)
            if column.name not in table.key and folded(column.name) in then
        ]
        part = self.plan.add_part("changed", table.name, table.key, columns)
        differs = [f"NOT {same(f'r.{quoted(name)}', f'n.{quoted(name)}')}" for name in columns]
        key_differs = [f"NOT {same(f'r.{quoted(name)}', f'n.{quoted(name)}')}" for name in part.key]
        condition, parameters = _wanted(table, keys)
        values = [
            *[f"n.{quoted(name)}" for name in part.key],
            *[f"r.{quoted(name)}" for name in columns],
            *[f"n.{quoted(name)}" for name in columns],
        ]
        self.plan.run(
            f"INSERT INTO {part.name} (turn, note, {own_columns(part)}) "
            f"SELECT 0, CASE WHEN {' OR '.join(key_differs)} THEN {REWRITTEN} "
            f"WHEN {conjunction(differs)} THEN {REUSED} END, {', '.join(values)} "
            # The backup is read from end to end, and each row is sought in the live database.
            f"FROM {THEN}.{quoted(table.name)} AS r CROSS JOIN {part.live} AS n "
            f"WHERE {same_key(part.key)} AND ({' OR '.join([*differs, *key_differs])}) "
            f"AND {condition}",
            parameters,
        )

    def bring_back(
        self, table: Table, condition: str, parameters: Sequence[object] = (), *, turn: int = 0
    ) -> int:
        """Add the table's gone rows `r` that meet a condition, and return how many there are.

        `turn` says when they were found: in the first turn those that somebody asked for.
        """
        part = self._new_part(table)
        shape = self.structure.shapes[folded(table.name)]
        then = {folded(name) for name in shape.then.names} if shape.then else set()
        defaults = {column.name: column.default for column in table.columns}
        values = [
            f"r.{quoted(name)}" if folded(name) in then else _default(defaults[name])
            for name in (*part.key, *part.columns)
        ]
        return self.plan.run(
            f"INSERT INTO {part.name} (turn, {own_columns(part)}) "
            f"SELECT ?, {', '.join(values)} FROM {THEN}.{quoted(table.name)} AS r "
            f"WHERE {is_gone(table)} AND {condition} "
            f"AND {row_value([f'r.{quoted(name)}' for name in part.key])} "
            f"NOT IN (SELECT {', '.join(part.keys)} FROM {part.name})",
            (turn, *parameters),
        ).rowcount

    def _new_part(self, table: Table) -> Part:
        columns = [column.name for column in _written(table) if column.name not in table.key]
        return self.plan.add_part("new", table.name, table.key, columns)

    def _require_found(self, table: str, keys: Collection[str]) -> None:
        """Raise `BackupError` if some of the keys are of no row in the plan."""
        found = {
            key
            for part in self.plan.parts
            if part.table == table
            for key in self.plan.keys_in_words(part, limit=-1)
        }
        missing = [key for key in keys if not found.intersection(_spellings(key))]
        if missing:
            raise BackupError(
                "There is nothing to bring back of %(table)s for these keys: %(keys)s.",
                table=table,
                keys=", ".join(missing),
            )

    def _has_rows_without_key(self, then: Table) -> bool:
        empty = " OR ".join(f"r.{quoted(name)} IS NULL" for name in then.key)
        query = f"SELECT 1 FROM {THEN}.{quoted(then.name)} AS r WHERE {empty} LIMIT 1"
        return self.plan.run(query).fetchone() is not None


def _written(table: Table) -> list[Column]:
    return [column for column in table.columns if not column.is_generated]


def own_columns(part: Part) -> str:
    return ", ".join([*part.keys, *part.values, *part.old_values])


def same_key(key: Sequence[str]) -> str:
    return conjunction(f"n.{quoted(name)} = r.{quoted(name)}" for name in key)


def is_gone(table: Table) -> str:
    """The condition under which `r`, a row of the backup, is not in the live table."""
    has_key = conjunction(f"r.{quoted(name)} IS NOT NULL" for name in table.key)
    live = f"{LIVE}.{quoted(table.name)}"
    return f"{has_key} AND NOT EXISTS (SELECT 1 FROM {live} AS n WHERE {same_key(table.key)})"


def _default(default: str | None) -> str:
    if default is None:
        return "NULL"
    if default.startswith('"'):
        # SQLite takes it for a text here; elsewhere it could be the name of a column.
        text = default[1:-1].replace('""', '"').replace("'", "''")
        return f"'{text}'"
    return f"({default})"


def _no_such_table(name: str, structure: Structure) -> BackupError:
    known = [shape.table for shape in structure.shapes.values()]
    if similar := get_close_matches(name, known, n=3):
        return BackupError(
            "There is no table %(table)s, neither in the backup nor today. Is it one of these: "
            "%(tables)s?",
            table=name,
            tables=", ".join(similar),
        )
    return BackupError("There is no table %(table)s, neither in the backup nor today.", table=name)


def _spellings(key: str) -> set[str]:
    """How a key may be stored that somebody types: Django stores UUIDs without dashes."""
    try:
        return {key, UUID(key).hex}
    except ValueError:
        return {key}


def _wanted(table: Table, keys: Collection[str]) -> tuple[str, tuple[object, ...]]:
    """The condition under which a row of the backup has one of these keys, and its parameters."""
    if not keys:
        return "1", ()
    spellings = sorted(spelling for key in keys for spelling in _spellings(key))
    words = key_in_words([f"r.{quoted(name)}" for name in table.key])
    return f"({words}) IN (SELECT value FROM json_each(?))", (json.dumps(spellings),)
