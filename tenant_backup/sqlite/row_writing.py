"""Writing what a plan says into the live database, or taking it back: one short transaction.

The connection is the host's own, so functions and collations are, too. While others wait, only the
planned keys are looked at again; all else that has changed meanwhile the database itself refuses.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tenant_backup.exceptions import NotAsPlanned
from tenant_backup.sqlite.row_conflicts import needed
from tenant_backup.sqlite.row_plan import LIVE, Part, RowPlan, refused, row_value
from tenant_backup.sqlite.shapes import folded
from tenant_backup.sqlite.structure import (
    Structure,
    has_triggers,
    resolves_conflicts,
    triggers_of,
    uniques_of,
)
from tenant_backup.sqlite.tables import quoted

CACHE_KIB = 64 * 1024
"""With less, SQLite writes the same pages to the log several times while the others wait."""


def write(plan: RowPlan, structure: Structure, busy_timeout: float) -> None:
    """Write what the plan says, all of it or nothing.

    Raises `NotAsPlanned` if something has changed since, `DatabaseLocked`, or `BackupError` in
    SQLite's own words.
    """
    doubtful = _doubtful(plan, structure)
    with _transaction(plan, busy_timeout):
        # Updates come first: a row may give up a value that a new one needs. Each looks at its row
        # again, and so does each plain INSERT, which fails for a key that is there.
        for part in (*plan.of_kind("changed"), *plan.of_kind("refilled")):
            _update(plan, part, part.values, part.old_values)
        for part in _in_order(plan, structure):
            _insert(plan, part)
        for part in doubtful:
            _require_as(plan, part, part.values)


def take_back(plan: RowPlan, structure: Structure, busy_timeout: float) -> None:
    """Bring back what was before, all of it or nothing; raises as `write` does."""
    early = {part.table: _early(plan, structure, part) for part in plan.of_kind("changed")}
    endangered = _endangered(plan, structure)
    with _transaction(plan, busy_timeout):
        there_were = {table: _number_in(plan, table) for table in endangered}
        for part in plan.parts:
            _require_as(plan, part, part.values)
        for part in plan.of_kind("new"):
            _require_not_needed(plan, structure, part)
        for part in plan.of_kind("refilled"):
            _update(plan, part, part.old_values, part.values)
        # A changed row may refer to a new one, whose deletion would change or delete it, too.
        for part in plan.of_kind("changed"):
            _set_back(plan, part, early[part.table])
        tables = dict.fromkeys(part.table for part in plan.parts)
        for table in reversed(structure.parents_first(tables)):
            if new := plan.part("new", table):
                _delete(plan, new)
            # It may also need a value that a new one held, so the rest comes now.
            if changed := plan.part("changed", table):
                _set_back(plan, changed, set(changed.columns) - early[table])
        for table, may_go in endangered.items():
            if _number_in(plan, table) < there_were[table] - may_go:
                raise NotAsPlanned(
                    "Triggers would delete rows of %(table)s that nobody has brought back.",
                    table=table,
                )


def _endangered(plan: RowPlan, structure: Structure) -> dict[str, int]:
    """The tables of which triggers may delete rows when the plan is taken back.

    And how many rows may go: those that were brought back, and for each of these one that a trigger
    may have added then.
    """
    triggers = triggers_of(plan.connection, LIVE)
    new = {folded(part.table): plan.count(part) for part in plan.of_kind("new")}
    written, reached = set[str](), {folded(part.table) for part in plan.parts}
    while reached != written:
        written = reached
        reached = written.union(*(each.all for each in triggers if each.table in written))
    deleted = frozenset[str]().union(*(each.deletes for each in triggers if each.table in written))
    shapes = [structure.shape(table) for table in sorted(deleted)]
    return {
        shape.table: new.get(folded(shape.table), 0)
        + sum(
            number
            for table, number in new.items()
            if any(each.table == table and folded(shape.table) in each.inserts for each in triggers)
        )
        for shape in shapes
        if shape and shape.now
    }


def _early(plan: RowPlan, structure: Structure, part: Part) -> set[str]:
    """The columns of changed rows that may refer to new ones, and may be equal in several rows."""
    referring = {
        name
        for each in structure.references
        if each.table == part.table and plan.part("new", each.to_table)
        for name in each.columns
    }
    unique = {
        name for each in uniques_of(plan.connection, LIVE, part.table) for name in each.columns
    }
    return referring.intersection(part.columns) - unique


def has_happened(plan: RowPlan) -> bool:
    """Whether the plan was carried out: not more of its rows are as before than as it says.

    Before that all are as before, and afterwards none is. But others may have changed some since,
    so that these are neither; of one that is neither, it is harmless to think that it was written.
    """
    as_planned = sum(_number_as(plan, part, part.values) for part in plan.parts)
    return as_planned >= sum(_number_before(plan, part) for part in plan.parts)


@contextmanager
def _transaction(plan: RowPlan, busy_timeout: float) -> Iterator[None]:
    """All that is written inside is committed, or nothing."""
    connection = plan.connection
    try:
        connection.execute(f"PRAGMA busy_timeout = {int(busy_timeout * 1000)}")
        connection.execute(f"PRAGMA {LIVE}.cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Rows may refer to each other in a circle. The commit judges what is new; a check of
            # the whole database would let an old violation prevent every rescue.
            connection.execute("PRAGMA defer_foreign_keys = ON")
            yield
            connection.execute("COMMIT")
        except BaseException:
            # SQLite itself has rolled back after conflicts, or if the disk is full.
            with suppress(sqlite3.OperationalError):
                connection.execute("ROLLBACK")
            raise
    except sqlite3.IntegrityError as error:
        raise NotAsPlanned(
            "The database %(database)s does not take these rows: %(reason)s.",
            database=plan.database,
            reason=error,
        ) from error
    except sqlite3.Error as error:
        raise refused(plan.database, error, busy_timeout) from error


def _in_order(plan: RowPlan, structure: Structure) -> list[Part]:
    """The parts with new rows, such that rows come after those that they refer to."""
    parts = {part.table: part for part in plan.of_kind("new")}
    return [parts[table] for table in structure.parents_first(parts)]


def _doubtful(plan: RowPlan, structure: Structure) -> list[Part]:
    """The parts of which rows may become something else while they are written."""
    if any(has_triggers(plan.connection, LIVE, part.table) for part in plan.parts):
        # The triggers of one table may write to others.
        return list(plan.parts)
    return [
        part
        for part in plan.parts
        if (shape := structure.shape(part.table)) is not None and shape.why_not is not None
    ]


def _or(plan: RowPlan, part: Part) -> str:
    """What a statement says of conflicts: that they roll back the transaction, as we would.

    Then SQLite need not keep a copy of each page to take back a single statement, which takes long.
    And a table's own "ON CONFLICT REPLACE" does not count. But a trigger's "OR IGNORE" does not,
    either: where there are triggers, a plain statement leaves it to them.
    """
    names = plan.connection, LIVE, part.table
    return "" if has_triggers(*names) and not resolves_conflicts(*names) else " OR ROLLBACK"


def _insert(plan: RowPlan, part: Part) -> None:
    columns = ", ".join(map(quoted, (*part.key, *part.columns)))
    plan.connection.execute(
        f"INSERT{_or(plan, part)} INTO {part.live} ({columns}) "
        f"SELECT {', '.join([*part.keys, *part.values])} FROM {part.name} ORDER BY row"
    )


def _number_in(plan: RowPlan, table: str) -> int:
    query = f"SELECT count(*) FROM {LIVE}.{quoted(table)}"
    number: int = plan.connection.execute(query).fetchone()[0]
    return number


def _update(plan: RowPlan, part: Part, values: list[str], expected: list[str]) -> None:
    """Set the columns to these values in the rows that still have the expected ones."""
    if not part.columns:
        return
    changes = ", ".join(
        f"{quoted(column)} = p.{value}" for column, value in zip(part.columns, values, strict=True)
    )
    done = plan.connection.execute(
        f"UPDATE{_or(plan, part)} {part.live} AS n SET {changes} FROM {part.name} AS p "
        f"WHERE {part.is_same_row} AND {part.is_as(expected)}"
    ).rowcount
    if done != plan.count(part):
        raise NotAsPlanned("Rows of %(table)s have been changed meanwhile.", table=part.table)


def _set_back(plan: RowPlan, part: Part, columns: set[str]) -> None:
    """Give these columns of the changed rows their old values."""
    changes = ", ".join(
        f"{quoted(name)} = p.{value}"
        for name, value in zip(part.columns, part.old_values, strict=True)
        if name in columns
    )
    if not changes:
        return
    done = plan.connection.execute(
        f"UPDATE{_or(plan, part)} {part.live} AS n SET {changes} FROM {part.name} AS p "
        f"WHERE {part.is_same_row}"
    ).rowcount
    if done != plan.count(part):
        raise NotAsPlanned(
            "Rows of %(table)s would be deleted with others that refer to them.", table=part.table
        )


def _delete(plan: RowPlan, part: Part) -> None:
    key = row_value([quoted(name) for name in part.key])
    plan.connection.execute(
        f"DELETE FROM {part.live} WHERE {key} IN (SELECT {', '.join(part.keys)} FROM {part.name})"
    )


def _require_as(plan: RowPlan, part: Part, values: list[str]) -> None:
    if _number_as(plan, part, values) != plan.count(part):
        raise NotAsPlanned(
            "Rows of %(table)s are not what they should be: somebody has changed them, or a "
            "trigger or another type of a column does.",
            table=part.table,
        )


def _require_not_needed(plan: RowPlan, structure: Structure, part: Part) -> None:
    """Raise `NotAsPlanned` if a row refers to one to be deleted: it might be deleted with it."""
    for reference in structure.references:
        if reference.to_table != part.table:
            continue
        found = needed(plan, structure, part, reference)
        if found and plan.connection.execute(f"SELECT 1 FROM {found[0]} LIMIT 1").fetchone():
            raise NotAsPlanned(
                "Rows of %(table)s refer to rows of %(other)s that would be deleted.",
                table=reference.table,
                other=part.table,
            )


def _number_as(plan: RowPlan, part: Part, values: list[str]) -> int:
    """How many rows of a part are there with exactly these values."""
    number: int = plan.connection.execute(
        f"SELECT count(*) FROM {part.name} AS p CROSS JOIN {part.live} AS n "
        f"WHERE {part.is_same_row} AND {part.is_as(values)}"
    ).fetchone()[0]
    return number


def _number_before(plan: RowPlan, part: Part) -> int:
    """How many rows of a part are as they were before: not there, or with their old values."""
    if part.kind != "new":
        return _number_as(plan, part, part.old_values)
    number: int = plan.connection.execute(
        f"SELECT count(*) FROM {part.name} AS p "
        f"WHERE NOT EXISTS (SELECT 1 FROM {part.live} AS n WHERE {part.is_same_row})"
    ).fetchone()[0]
    return number
