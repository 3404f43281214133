"""Choosing the rows of a backup that are to be brought back, and those that belong to them.

The backup is attached as `then`. The live database is read in statements of their own, without a
transaction around them: in rollback mode a long one would make its writers fail. So before anything
is written, everything is looked at again.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from tenant_backup.exceptions import BackupError, DeadlineExceeded
from tenant_backup.sqlite.deadlines import interruptible
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
from tenant_backup.sqlite.structure import Reference, Structure, triggers_into
from tenant_backup.sqlite.tables import quoted
from tenant_backup.texts import Counted, Text

REUSED, REWRITTEN = 1, 2
"""Notes on a changed row: it differs in every column; its key is written in another way."""

THEN = '"then"'


@dataclass(frozen=True, slots=True)
class Loss:
    """Rows of a table that are gone and stay so. `gone` is None if nobody knows how many."""

    table: str
    gone: int | None
    why: Text | None = None


class RowChoice:
    """Fills a plan. `may_follow` says of a table whether its rows may come back by themselves."""

    def __init__(
        self, plan: RowPlan, structure: Structure, may_follow: Callable[[str], bool]
    ) -> None:
        self.plan, self.structure, self.may_follow = plan, structure, may_follow
        self.round = 0
        self._why_not: dict[str, Text | None] = {}

    # What was asked for

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
                self._choose_gone(table, keys)
            if changed:
                self._choose_changed(table, keys)
            if keys:
                self._require_found(table.name, keys)

    def require(self, name: str, *, changed: bool = False) -> Table:
        """Today's table of this name. Raises `BackupError` if its rows cannot be brought back."""
        shape = self.structure.shape(name)
        if shape is None:
            raise BackupError(
                "There is no table %(table)s, neither in the backup nor today.", table=name
            )
        if why := self.why_not(shape):
            raise BackupError(
                "The rows of %(table)s cannot be brought back: %(why)s", table=shape.table, why=why
            )
        assert shape.now  # noqa: S101 - `why_not` has seen to it.
        if changed and (names := triggers_into(self.plan.connection, LIVE, shape.table)):
            raise BackupError(
                "Changed rows of %(table)s cannot be put back, because triggers write to it: "
                "%(triggers)s.",
                table=shape.table,
                triggers=", ".join(names),
            )
        return shape.now

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

    def _choose_gone(self, table: Table, keys: Collection[str]) -> None:
        self._bring_back(table, *_wanted(table, keys))

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
            f"INSERT INTO {part.name} (round, note, {_own(part)}) "
            f"SELECT 0, CASE WHEN {' OR '.join(key_differs)} THEN {REWRITTEN} "
            f"WHEN {conjunction(differs)} THEN {REUSED} END, {', '.join(values)} "
            # The backup is read from end to end, and each row is sought in the live database.
            f"FROM {THEN}.{quoted(table.name)} AS r CROSS JOIN {part.live} AS n "
            f"WHERE {_same_key(part.key)} AND ({' OR '.join([*differs, *key_differs])}) "
            f"AND {condition}",
            parameters,
        )

    def _bring_back(self, table: Table, condition: str, parameters: Sequence[object] = ()) -> int:
        """Add those gone rows of the table that meet a condition, and return how many there are."""
        part = self._new_part(table)
        shape = self.structure.shapes[folded(table.name)]
        then = {folded(name) for name in shape.then.names} if shape.then else set()
        defaults = {column.name: column.default for column in table.columns}
        values = [
            f"r.{quoted(name)}" if folded(name) in then else _default(defaults[name])
            for name in (*part.key, *part.columns)
        ]
        return self.plan.run(
            f"INSERT INTO {part.name} (round, {_own(part)}) "
            f"SELECT ?, {', '.join(values)} FROM {THEN}.{quoted(table.name)} AS r "
            f"WHERE {_is_gone(table)} AND {condition} "
            f"AND {row_value([f'r.{quoted(name)}' for name in part.key])} "
            f"NOT IN (SELECT {', '.join(part.keys)} FROM {part.name})",
            (self.round, *parameters),
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

    # What belongs to it

    def follow(self) -> list[Loss]:
        """Add the gone rows that referred to a row in the plan, repeatedly; and what was set NULL.

        Returns the tables whose rows would have to follow and cannot.
        """
        left_out: dict[str, Loss] = {}
        while True:
            self.round += 1
            added = 0
            for part in self.plan.of_kind("new"):
                for reference in self.structure.to(part.table):
                    added += self._follow(reference, part, left_out)
            if not added:
                break
        for part in self.plan.of_kind("new"):
            for reference in self.structure.to(part.table):
                if reference.is_enforced and self._is_open(reference.table):
                    self._fill_again(reference, part)
        return list(left_out.values())

    def _is_open(self, table: str) -> bool:
        shape = self.structure.shape(table)
        return shape is not None and self.may_follow(table) and self.why_not(shape) is None

    def _follow(self, reference: Reference, part: Part, left_out: dict[str, Loss]) -> int:
        shape = self.structure.shape(reference.table)
        if shape is None or shape.then is None or shape.now is None:
            return 0
        if not self.may_follow(shape.table):
            return 0
        condition, parameters = _refers(reference, part, "round = ?", (self.round - 1,))
        if why := self.why_not(shape):
            if shape.table not in left_out and self._is_any(shape.then, condition, parameters):
                left_out[shape.table] = Loss(shape.table, None, why)
            return 0
        return self._bring_back(shape.now, condition, parameters)

    def _is_any(self, then: Table, condition: str, parameters: Sequence[object]) -> bool:
        query = f"SELECT 1 FROM {THEN}.{quoted(then.name)} AS r WHERE {condition} LIMIT 1"
        return self.plan.run(query, parameters).fetchone() is not None

    def _fill_again(self, reference: Reference, part: Part) -> None:
        """Add the rows of today in which these columns are NULL and referred to a new row then."""
        shape = self.structure.shapes[folded(reference.table)]
        if shape.then is None or shape.now is None:
            return
        if set(reference.columns) & set(shape.now.key):
            return
        filled = self.plan.add_part("refilled", reference.table, shape.now.key, reference.columns)
        refers, parameters = _refers(reference, part, "1", ())
        conditions = [_same_key(shape.now.key), refers]
        conditions += [f"n.{quoted(name)} IS NULL" for name in reference.columns]
        taken = [each for each in self.plan.parts if each.table == filled.table]
        for other in taken:
            if other.kind == "changed" or other is filled:
                key = row_value([f"n.{quoted(name)}" for name in filled.key])
                conditions.append(
                    f"{key} NOT IN (SELECT {', '.join(other.keys)} FROM {other.name})"
                )
        # A row that has nothing in common with what it was is another one, with a key used again.
        then = {folded(name) for name in shape.then.names}
        others = [
            same(f"r.{quoted(name)}", f"n.{quoted(name)}")
            for name in shape.now.names
            if name not in (*shape.now.key, *reference.columns) and folded(name) in then
        ]
        if others:
            conditions.append(f"({' OR '.join(others)})")
        values = [
            *[f"n.{quoted(name)}" for name in filled.key],
            *[f"r.{quoted(name)}" for name in filled.columns],
            *[f"n.{quoted(name)}" for name in filled.columns],
        ]
        self.plan.run(
            f"INSERT INTO {filled.name} (round, {_own(filled)}) "
            f"SELECT {self.round}, {', '.join(values)} FROM {THEN}.{quoted(shape.then.name)} AS r "
            f"CROSS JOIN {filled.live} AS n WHERE {conjunction(conditions)}",
            parameters,
        )

    # What stays gone

    def losses(self, ignored: Callable[[str], bool], seconds: float) -> Iterator[Loss]:
        """How many rows of each table are gone and not in the plan, for so many seconds at most."""
        deadline = time.monotonic() + seconds
        for shape in self.structure.shapes.values():
            then, now = shape.then, shape.now
            if then is None or now is None or not shape.has_same_key or ignored(shape.table):
                continue
            part = self.plan.part("new", shape.table)
            try:
                with interruptible(self.plan.connection, Text("Counting"), deadline):
                    (gone,) = self.plan.connection.execute(
                        f"SELECT count(*) FROM {THEN}.{quoted(then.name)} AS r "
                        f"WHERE {_is_gone(now)}"
                    ).fetchone()
            except DeadlineExceeded:
                return
            gone -= self.plan.count(part) if part else 0
            if gone > 0:
                yield Loss(shape.table, gone)


def _written(table: Table) -> list[Column]:
    return [column for column in table.columns if not column.is_generated]


def _own(part: Part) -> str:
    return ", ".join([*part.keys, *part.values, *part.old_values])


def _same_key(key: Sequence[str]) -> str:
    return conjunction(f"n.{quoted(name)} = r.{quoted(name)}" for name in key)


def _is_gone(table: Table) -> str:
    """The condition under which `r`, a row of the backup, is not in the live table."""
    has_key = conjunction(f"r.{quoted(name)} IS NOT NULL" for name in table.key)
    live = f"{LIVE}.{quoted(table.name)}"
    return f"{has_key} AND NOT EXISTS (SELECT 1 FROM {live} AS n WHERE {_same_key(table.key)})"


def _default(default: str | None) -> str:
    if default is None:
        return "NULL"
    if default.startswith('"'):
        # SQLite takes it for a text here; elsewhere it could be the name of a column.
        text = default[1:-1].replace('""', '"').replace("'", "''")
        return f"'{text}'"
    return f"({default})"


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


def _refers(
    reference: Reference, part: Part, condition: str, parameters: tuple[object, ...]
) -> tuple[str, tuple[object, ...]]:
    """The condition under which `r`, a row of the backup, refers to such a row of the plan."""
    to = [part.value(name) for name in reference.to_columns]
    if None in to:
        return "0", ()
    columns = [f"r.{quoted(name)}" for name in reference.columns]
    where = f"WHERE {condition}"
    if reference.is_enforced:
        there = ", ".join(map(str, to))
        columns = reference.compared(columns)
        inside = f"{row_value(columns)} IN (SELECT {there} FROM {part.name} {where})"
        return inside, parameters
    inside = (
        f"CAST({columns[0]} AS TEXT) IN (SELECT CAST({to[0]} AS TEXT) FROM {part.name} {where})"
    )
    return (
        f"r.{quoted(reference.type_column)} = ? AND {inside}",
        (reference.type_value, *parameters),
    )
