"""The comparison of two databases, table by table: which rows are gone, new or changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, groupby, islice, repeat
from operator import itemgetter
from pathlib import Path
from typing import Literal

from tenant_backup.exceptions import CannotCompare, DeadlineExceeded, NoSuchTable
from tenant_backup.sqlite import pairing
from tenant_backup.sqlite.attaching import attached
from tenant_backup.sqlite.reading import Reader
from tenant_backup.sqlite.shapes import Catalog, Schema, Shape, Table, folded, shape_of
from tenant_backup.texts import Text

Kind = Literal["gone", "new", "changed"]
Values = tuple[object, ...]

ALL = -1
"""As a limit, in SQLite."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How a table differs between the two databases.

    A number is None if the table is not there, was not counted or was not compared; `changed` also
    if rows have no key to pair them by. If it is not complete, the time was over: there are at
    least so many.
    """

    table: str
    rows_then: int | None
    rows_now: int | None
    gone: int | None
    new: int | None
    changed: int | None
    is_compared: bool
    why_not: Text | None
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A row that differs: its key, and its values then and now; None where it was not there.

    The values are in the order of `Shape.columns_in`. Without a key to pair rows by, `key` is
    empty. Bytes of a text that are none are surrogates in it, as `os.fsdecode` makes them.
    """

    key: Values
    then: Values | None
    now: Values | None


@contextmanager
def comparing(
    then: Path, now: Path, *, is_live: bool, busy_timeout: float, deadline: float | None = None
) -> Iterator[Comparison]:
    """Compare a backup's file with that of another backup, or with a live database.

    Both are read as they are at this moment, in one read transaction. In rollback mode the host's
    writers wait for its end; whoever wants to spare them asks `look` for the journal mode before.
    A live database is treated with the care of `snapshot` with `only_look`, which also says what is
    raised. `deadline` is a time of `time.monotonic()`. Raises `BackupError` if one of the two
    cannot be read.
    """
    with attached(then, now, is_live=is_live, busy_timeout=busy_timeout) as connection:
        reader = Reader(connection, then, now, deadline)
        with reader.in_words():
            catalogs = Catalog.read(connection, "then"), Catalog.read(connection, "now")
        yield Comparison(reader, *catalogs)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two databases, attached to one connection as the schemas `then` and `now`.

    Valid while the context of `comparing()` lasts. Each method raises `BackupError` if a file
    cannot be read any further.
    """

    _reader: Reader
    _then: Catalog
    _now: Catalog
    _shapes: dict[str, Shape] = field(default_factory=dict)
    _are_paired: dict[str, bool] = field(default_factory=dict)

    @property
    def connection(self) -> sqlite3.Connection:
        return self._reader.connection

    def tables(self) -> list[str]:
        """The names of all tables of either, in order, as today's database spells them."""
        catalogs = (self._then, self._now)
        names = {key: name for catalog in catalogs for key, name in catalog.names.items()}
        return [name for _, name in sorted(names.items())]

    def shape(self, table: str) -> Shape:
        """The shape of a table in both. Raises `NoSuchTable` if neither has it."""
        name = folded(table)
        if name not in self._shapes:
            if name not in self._then.names and name not in self._now.names:
                raise NoSuchTable(
                    "There is no table %(table)r, neither in %(then)s nor in %(now)s.",
                    table=table,
                    then=self._reader.then,
                    now=self._reader.now,
                )
            with self._reader.in_words():
                shape = shape_of(self.connection, name, self._then, self._now)
            for side in shape.sides:
                # For a query that names an index, SQLite would not name what that index lacks. If
                # it cannot be read at all, the query says so.
                with suppress(CannotCompare):
                    self._reader.provide(pairing.number_of_rows(side, in_steps=False))
            self._shapes[name] = shape
        return self._shapes[name]

    def is_paired(self, table: str) -> bool:
        """Whether rows are paired by the primary key; otherwise whole rows are compared.

        They cannot be if there is no key, or if several rows have the same one: SQLite allows that
        for keys with NULL in them. Raises `DeadlineExceeded`.
        """
        shape = self.shape(table)
        if shape.table not in self._are_paired:
            self._are_paired[shape.table] = shape.has_same_key and not any(
                side.may_lack_keys and self._has_any(pairing.several_without_key(side))
                for side in shape.sides
            )
        return self._are_paired[shape.table]

    def difference(self, table: str) -> Difference:
        """How many rows differ: when the deadline is over, those that were found by then."""
        shape = self.shape(table)
        tally = Tally(shape.table, shape.why_not)
        try:
            self._reader.require_time()
            tally.rows_then = self._count(shape.then)
            tally.rows_now = self._count(shape.now)
            if shape.why_not is None:
                self._compare(shape, tally)
        except DeadlineExceeded:
            tally.is_complete = False
        except CannotCompare as error:
            tally.why_not, tally.is_compared = error, False
            tally.numbers.clear()
        return tally.as_difference()

    def rows(
        self, table: str, kind: Kind, *, limit: int | None = None, offset: int = 0
    ) -> Iterator[Row]:
        """The rows that differ in this way, always in the same order.

        Also those of a table that one of the two lacks; and, gone and new ones, those of a table
        whose columns differ, if both have the same primary key. Raises `CannotCompare` for others,
        and `DeadlineExceeded`.
        """
        shape = self.shape(table)
        schema: Schema = "now" if kind == "new" else "then"
        ends = (ALL if limit is None else limit, offset)
        if len(shape.sides) == 1:
            if shape.side(schema) and kind != "changed":
                yield from self._one_sided(shape, schema, pairing.all_rows(shape, schema), *ends)
        elif self._can_seek(shape) and kind != "changed":
            yield from self._one_sided(shape, schema, pairing.unpaired(shape, schema), *ends)
        elif shape.why_not:
            raise CannotCompare(
                "The rows of the table %(table)s cannot be compared. %(reason)s",
                table=shape.table,
                reason=shape.why_not,
            )
        elif self._can_seek(shape):
            yield from self._changed(shape, *ends)
        else:
            end = None if limit is None else offset + limit
            yield from islice(self._by_sorting(shape, kind), offset, end)

    def _compare(self, shape: Shape, tally: Tally) -> None:
        is_paired = self.is_paired(shape.table)
        tally.begin(has_changed=is_paired)
        if self._can_seek(shape):
            for batch in self._reader.batches(pairing.gone_or_changed(shape)):
                gone = sum(is_gone for (is_gone,) in batch)
                tally.add("gone", gone)
                tally.add("changed", len(batch) - gone)
            return
        # Of what differs only the key is fetched, and only if it is needed to pair it.
        wanted = shape.key if is_paired else ()
        batches = self._reader.batches(pairing.sorted_differences(shape, wanted))
        rows = chain.from_iterable(batches)
        if is_paired:
            for _, group in groupby(rows, itemgetter(slice(1, None))):
                tally.add(_kind_of({surplus > 0 for surplus, *_ in group}))
            return
        for (surplus,) in rows:
            tally.add(_kind_of({surplus > 0}), abs(surplus))

    def _can_seek(self, shape: Shape) -> bool:
        """Whether a row is found in the other database by its key, through the key's index."""
        return self.is_paired(shape.table) and all(side.can_be_sought for side in shape.sides)

    def _count(self, table: Table | None) -> int | None:
        if table is None:
            return None
        (number,) = next(self._reader.rows(pairing.number_of_rows(table)))
        assert isinstance(number, int)  # noqa: S101
        return number

    def _has_any(self, sql: str) -> bool:
        return any(True for _ in self._reader.rows(sql))

    def _one_sided(
        self, shape: Shape, schema: Schema, sql: str, limit: int, offset: int
    ) -> Iterator[Row]:
        places = shape.key_places(schema)
        for values in self._reader.rows(f"{sql} LIMIT ? OFFSET ?", limit, offset):
            yield _one_sided(_at(places, values), schema, values)

    def _changed(self, shape: Shape, limit: int, offset: int) -> Iterator[Row]:
        places, width = shape.key_places("then"), len(shape.columns)
        sql = f"{pairing.changed(shape)} LIMIT ? OFFSET ?"
        for values in self._reader.rows(sql, limit, offset):
            yield Row(_at(places, values), values[:width], values[width:])

    def _by_sorting(self, shape: Shape, kind: Kind) -> Iterator[Row]:
        """The rows that differ in this way where whole rows are sorted: see `_compare`."""
        rows = self._reader.rows(pairing.sorted_differences(shape, shape.columns))
        if not self.is_paired(shape.table):
            for surplus, *values in rows:
                if _kind_of({surplus > 0}) == kind:
                    row = _one_sided((), "now" if surplus > 0 else "then", tuple(values))
                    yield from repeat(row, abs(surplus))
            return
        places = shape.key_places("now")
        for key, group in groupby(rows, lambda row: _at(places, row[1:])):
            sides = {surplus > 0: tuple(values) for surplus, *values in group}
            if _kind_of(set(sides)) == kind:
                yield Row(key, sides.get(False), sides.get(True))


@dataclass(slots=True)
class Tally:
    """The numbers of a table's difference while they are being found."""

    table: str
    why_not: Text | None
    rows_then: int | None = None
    rows_now: int | None = None
    is_complete: bool = True
    is_compared: bool = False
    numbers: dict[Kind, int] = field(default_factory=dict)

    def begin(self, *, has_changed: bool) -> None:
        self.is_compared = True
        self.numbers = {"gone": 0, "new": 0, **({"changed": 0} if has_changed else {})}

    def add(self, kind: Kind, number: int = 1) -> None:
        self.numbers[kind] += number

    def settle(self) -> None:
        """Find what follows from the numbers of rows: whoever was not paired is gone or new."""
        if self.rows_then is None or self.rows_now is None:
            return
        more = self.rows_now - self.rows_then
        gone, new = self.numbers["gone"], self.numbers["new"]
        self.numbers["gone"] = max(gone, new - more)
        self.numbers["new"] = max(new, gone + more)

    def as_difference(self) -> Difference:
        if self.is_compared:
            self.settle()
        elif not self.is_complete and self.why_not is None:
            self.why_not = Text("There was no time left to compare it.")
        return Difference(
            self.table,
            self.rows_then,
            self.rows_now,
            self.numbers.get("gone"),
            self.numbers.get("new"),
            self.numbers.get("changed"),
            self.is_compared,
            self.why_not,
            self.is_complete,
        )


def _at(places: Sequence[int], values: Values) -> Values:
    return tuple(values[place] for place in places)


def _one_sided(key: Values, schema: Schema, values: Values) -> Row:
    return Row(key, values, None) if schema == "then" else Row(key, None, values)


def _kind_of(is_now: set[bool]) -> Kind:
    """How a row differs that is there then (False), now (True), or both."""
    if len(is_now) > 1:
        return "changed"
    return "new" if True in is_now else "gone"
