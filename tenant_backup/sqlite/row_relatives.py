"""The relatives of the rows in a plan: what referred to them, and what else is gone."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tenant_backup.exceptions import DeadlineExceeded
from tenant_backup.sqlite.deadlines import interruptible
from tenant_backup.sqlite.row_choice import THEN, RowChoice, is_gone, own_columns, same_key
from tenant_backup.sqlite.row_plan import Part, RowPlan, conjunction, row_value, same
from tenant_backup.sqlite.shapes import Shape, folded
from tenant_backup.sqlite.structure import Reference, Structure
from tenant_backup.sqlite.tables import quoted
from tenant_backup.texts import Text


@dataclass(frozen=True, slots=True)
class Loss:
    """Rows of a table that are gone and stay so: how many, or why nobody knows."""

    table: str
    gone: int | None
    why: Text | None = None


class Relatives:
    """Adds to a plan what belongs to its rows.

    `may_follow` says of a table whether its rows may come back without being asked for.
    """

    def __init__(self, choice: RowChoice, may_follow: Callable[[str], bool]) -> None:
        self.choice, self.may_follow = choice, may_follow

    @property
    def plan(self) -> RowPlan:
        return self.choice.plan

    @property
    def structure(self) -> Structure:
        return self.choice.structure

    def follow(self) -> list[Loss]:
        """Add the gone rows that referred to a row in the plan, repeatedly; and what was set NULL.

        Returns the tables whose rows would have to follow and cannot.
        """
        left_out: dict[str, Loss] = {}
        turn, added = 0, 1
        while added:
            turn, added = turn + 1, 0
            for part in self.plan.of_kind("new"):
                for reference in self.structure.to(part.table):
                    added += self._follow(reference, part, turn, left_out)
        for part in self.plan.of_kind("new"):
            for reference in self.structure.to(part.table):
                shape = self._there(reference)
                if reference.is_enforced and shape and not self.choice.why_not(shape):
                    self._fill_again(reference, part, shape)
        return list(left_out.values())

    def _there(self, reference: Reference) -> Shape | None:
        """The table that refers, if it is in both databases, and its rows may follow."""
        shape = self.structure.shape(reference.table)
        if shape is None or shape.then is None or shape.now is None:
            return None
        return shape if self.may_follow(shape.table) else None

    def _follow(
        self, reference: Reference, part: Part, turn: int, left_out: dict[str, Loss]
    ) -> int:
        shape = self._there(reference)
        if shape is None or shape.then is None or shape.now is None:
            return 0
        condition, parameters = _refers(reference, part, f"turn = {turn - 1}")
        if (why := self.choice.why_not(shape)) is None:
            return self.choice.bring_back(shape.now, condition, parameters, turn=turn)
        if shape.table not in left_out:
            query = f"SELECT 1 FROM {THEN}.{quoted(shape.then.name)} AS r WHERE {condition} LIMIT 1"
            if self.plan.run(query, parameters).fetchone():
                left_out[shape.table] = Loss(
                    shape.table,
                    None,
                    Text("Rows that referred to them cannot be brought back: %(why)s", why=why),
                )
        return 0

    def _fill_again(self, reference: Reference, part: Part, shape: Shape) -> None:
        """Add the rows of today in which these columns are NULL and referred to a new row then."""
        if shape.then is None or shape.now is None:
            return
        if set(reference.columns) & set(shape.now.key):
            return
        filled = self.plan.add_part("refilled", reference.table, shape.now.key, reference.columns)
        refers, parameters = _refers(reference, part, "1")
        conditions = [same_key(shape.now.key), refers, *self._is_same(shape, reference)]
        conditions += [f"n.{quoted(name)} IS NULL" for name in reference.columns]
        key = row_value([f"n.{quoted(name)}" for name in filled.key])
        for other in (filled, self.plan.part("changed", filled.table)):
            if other:
                conditions.append(
                    f"{key} NOT IN (SELECT {', '.join(other.keys)} FROM {other.name})"
                )
        values = [
            *[f"n.{quoted(name)}" for name in filled.key],
            *[f"r.{quoted(name)}" for name in filled.columns],
            *[f"n.{quoted(name)}" for name in filled.columns],
        ]
        self.plan.run(
            f"INSERT INTO {filled.name} ({own_columns(filled)}) "
            f"SELECT {', '.join(values)} FROM {THEN}.{quoted(shape.then.name)} AS r "
            f"CROSS JOIN {filled.live} AS n WHERE {conjunction(conditions)}",
            parameters,
        )

    def _is_same(self, shape: Shape, reference: Reference) -> Iterator[str]:
        """The condition under which a row of today is the one of then, and no key is used again.

        Then it has something in common with it.
        """
        then = {folded(name) for name in shape.then.names} if shape.then else set()
        others = [
            same(f"r.{quoted(name)}", f"n.{quoted(name)}")
            for name in (shape.now.names if shape.now else ())
            if name not in (*shape.key, *reference.columns) and folded(name) in then
        ]
        if others:
            yield f"({' OR '.join(others)})"

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
                        f"SELECT count(*) FROM {THEN}.{quoted(then.name)} AS r WHERE {is_gone(now)}"
                    ).fetchone()
            except DeadlineExceeded:
                yield Loss(shape.table, None, Text("There was no time left to count from here on."))
                return
            gone -= self.plan.count(part) if part else 0
            if gone > 0:
                yield Loss(shape.table, gone)


def _refers(reference: Reference, part: Part, such: str) -> tuple[str, tuple[object, ...]]:
    """The condition under which `r`, a row of the backup, refers to such a row of the plan.

    And the parameters of that condition.
    """
    to = [part.value(name) for name in reference.to_columns]
    if None in to:
        return "0", ()
    columns = [f"r.{quoted(name)}" for name in reference.columns]
    if reference.is_enforced:
        there = ", ".join(map(str, to))
        columns = reference.compared(columns)
        inside = f"{row_value(columns)} IN (SELECT {there} FROM {part.name} WHERE {such})"
        return inside, ()
    # The column may have any type: it refers to rows of many tables.
    inside = f"SELECT CAST({to[0]} AS TEXT) FROM {part.name} WHERE {such}"
    is_of_type = f"r.{quoted(reference.type_column)} = ?"
    return f"{is_of_type} AND CAST({columns[0]} AS TEXT) IN ({inside})", (reference.type_value,)
