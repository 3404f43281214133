"""Conflicts: rows of a plan that the live database, as it is now, would not take."""

from dataclasses import dataclass

from tenant_backup.sqlite.row_choice import REUSED, REWRITTEN
from tenant_backup.sqlite.row_plan import (
    LIVE,
    Part,
    RowPlan,
    conjunction,
    key_in_words,
    row_value,
)
from tenant_backup.sqlite.shapes import folded
from tenant_backup.sqlite.structure import Reference, Structure, Unique, uniques_of
from tenant_backup.sqlite.tables import quoted
from tenant_backup.texts import Text

WHY = {
    "exists": Text("%(table)s %(key)s: there is a row with this key now."),
    "taken": Text("%(table)s %(key)s: row %(other)s has the same %(what)s now."),
    "twice": Text(
        "%(table)s %(key)s: another row of the backup has the same %(what)s, which must be unique "
        "now."
    ),
    "parent": Text(
        "%(table)s %(key)s: it needs %(what)s %(other)s, which is gone. Name %(what)s, too."
    ),
    "parent row": Text(
        "%(table)s %(key)s: it needs %(what)s %(other)s, which is gone. Choose that, too."
    ),
    "nowhere": Text(
        "%(table)s %(key)s: it needs %(what)s %(other)s, which is neither there now nor in the "
        "backup."
    ),
    "required": Text("%(table)s %(key)s: %(what)s must not be empty any more."),
    "reused": Text(
        "%(table)s %(key)s: it differs in every column, so its key may belong to something else "
        "now."
    ),
    "rewritten": Text("%(table)s %(key)s: its key is written differently now."),
    "moved": Text("%(table)s %(key)s: it has been changed meanwhile."),
    "touched": Text("%(table)s %(key)s: it is no longer as it was restored."),
    "needed": Text("%(table)s %(key)s: %(what)s %(other)s refers to it now."),
}
"""What is said of a row, by the reason that the plan's table of conflicts has."""

ROW, _KEY = '"row of plan"', '"key of plan %d"'
"""Names that hardly any column has."""


@dataclass(frozen=True, slots=True)
class Conflicts:
    """How many rows have a conflict, and what is said of the first ones, one text a row."""

    rows: int
    said: list[Text]

    def listed(self, first: Text, *last: Text) -> Text:
        """One text, with a line for each row."""
        lines = [first, *self.said]
        if self.rows > len(self.said):
            lines.append(Text("These are the first %(number)d.", number=len(self.said)))
        values = {f"line{place}": line for place, line in enumerate([*lines, *last])}
        return Text("\n".join(f"%({name})s" for name in values), **values)


@dataclass(frozen=True, slots=True)
class ConflictSearch:
    """Looks for conflicts of a plan with the live database, and notes them in the plan."""

    plan: RowPlan
    structure: Structure
    named: frozenset[str]
    """The tables that somebody named, by folded name."""

    def find(self) -> None:
        """Note every row that cannot be written as the live database is now."""
        for part in self.plan.parts:
            self._find_moved(part)
            if part.kind == "changed":
                self._find_doubtful(part)
            self._find_taken(part)
            for reference in self.structure.references:
                if reference.table == part.table:
                    self._find_orphans(part, reference)
            self._find_empty(part)

    def find_touched(self) -> None:
        """Note those that are not as they were restored, or that something refers to now."""
        for part in self.plan.parts:
            as_restored = f"{part.is_same_row} AND {part.is_as(part.values)}"
            self._note(part, "'touched'", f"NOT EXISTS ({_live(part, as_restored)})")
            if part.kind == "new":
                for reference in self.structure.references:
                    if reference.to_table == part.table:
                        self._find_needed(part, reference)

    def found(self, limit: int) -> Conflicts:
        """What was noted."""
        (rows,) = self.plan.run(
            "SELECT count(*) FROM (SELECT DISTINCT part, row FROM plan.conflicts)"
        ).fetchone()
        said: list[Text] = []
        for part in self.plan.parts:
            query = (
                f"SELECT {key_in_words([f'p.{key}' for key in part.keys])}, why, detail "
                f"FROM {part.name} AS p JOIN (SELECT row, why, detail, min(rowid) FROM "
                "plan.conflicts WHERE part = ? GROUP BY row) AS c ON c.row = p.row "
                "ORDER BY p.row LIMIT ?"
            )
            for key, why, detail in self.plan.run(query, (part.number, limit - len(said))):
                what, _, other = (detail or "").partition("\0")
                values = {"table": part.table, "key": key, "what": what, "other": other}
                said.append(Text(WHY[why].text, **values))
        return Conflicts(rows, said)

    def clear(self) -> None:
        self.plan.run("DELETE FROM plan.conflicts")

    # The single reasons

    def _note(self, part: Part, why: str, condition: str, detail: str = "NULL") -> None:
        """Note the rows `p` of a part that meet a condition. All that is given is SQL."""
        self.plan.run(
            f"INSERT INTO plan.conflicts SELECT {part.number}, p.row, {why}, {detail} "
            f"FROM {part.name} AS p WHERE {condition}"
        )

    def _find_moved(self, part: Part) -> None:
        """Of new rows, those whose key is there now; of others, those that are not as planned."""
        if part.kind == "new":
            self._note(part, "'exists'", f"EXISTS ({_live(part, part.is_same_row)})")
        else:
            as_planned = f"{part.is_same_row} AND {part.is_as(part.old_values)}"
            self._note(part, "'moved'", f"NOT EXISTS ({_live(part, as_planned)})")

    def _find_doubtful(self, part: Part) -> None:
        self._note(part, "'reused'", f"p.note = {REUSED}")
        self._note(part, "'rewritten'", f"p.note = {REWRITTEN}")

    def _find_empty(self, part: Part) -> None:
        """Those that lack a value which they would need."""
        shape = self.structure.shape(part.table)
        for column in shape.now.columns if shape and shape.now else ():
            value = part.value(column.name)
            if column.is_required and value:
                self._note(part, "'required'", f"p.{value} IS NULL", _text(column.name))

    def _find_taken(self, part: Part) -> None:
        """Those that equal another row where rows must be unique."""
        connection = self.plan.connection
        former = {each.expressions for each in uniques_of(connection, "then", part.table)}
        for unique in uniques_of(connection, LIVE, part.table):
            if unique.is_computed or (part.kind != "new" and not _concerns(unique, part)):
                continue  # It stays as it is, or only the database itself can judge it.
            self._find_equal(part, unique)
            if unique.expressions not in former and part.kind == "new":
                self._find_twice(part, unique)

    def _find_equal(self, part: Part, unique: Unique) -> None:
        equal = conjunction(f"n.{name} = r.{name}" for name in _names(unique))
        key = [f"n.{quoted(name)}" for name in part.key]
        # An updated row may give up the value, and updates come before new rows.
        updated = self.plan.part("changed", part.table) if part.kind == "new" else part
        others = "1"
        if updated is part:
            others = f"NOT ({part.same_row('r')})"
        elif updated:
            others = (
                f"{row_value(key)} NOT IN (SELECT {', '.join(updated.keys)} FROM {updated.name})"
            )
        detail = f"{_text(unique.in_words)} || char(0) || {key_in_words(key)}"
        self.plan.run(
            f"INSERT INTO plan.conflicts SELECT {part.number}, r.{ROW}, 'taken', {detail} "
            f"FROM ({self._written(part, unique)}) AS r "
            f"JOIN ({_present(part, unique)}) AS n ON {equal} WHERE {others}"
        )

    def _find_twice(self, part: Part, unique: Unique) -> None:
        # NULL equals nothing here.
        filled = conjunction(f"{name} IS NOT NULL" for name in _names(unique))
        rows = f"({self._written(part, unique)})"
        self.plan.run(
            f"INSERT INTO plan.conflicts SELECT {part.number}, {ROW}, 'twice', "
            f"{_text(unique.in_words)} FROM {rows} WHERE {filled} AND {ROW} NOT IN "
            f"(SELECT min({ROW}) FROM {rows} GROUP BY {', '.join(_names(unique))})"
        )

    def _written(self, part: Part, unique: Unique) -> str:
        """SQL for the rows of a part as they would be, with what the index has of each."""
        columns = [f"p.row AS {ROW}"]
        columns += [f"p.{key} AS {_KEY % place}" for place, key in enumerate(part.keys)]
        shape = self.structure.shape(part.table)
        for column in shape.now.columns if shape and shape.now else ():
            value = part.value(column.name)
            source = f"p.{value}" if value else f"n.{quoted(column.name)}"
            columns.append(f"{source} AS {quoted(column.name)}")
        joined = "" if part.kind == "new" else f"JOIN {part.live} AS n ON {part.is_same_row}"
        inner = f"SELECT {', '.join(columns)} FROM {part.name} AS p {joined}"
        keys = [f"{_KEY % place} AS {key}" for place, key in enumerate(part.keys)]
        found = ", ".join([ROW, *keys, *_found(unique)])
        return f"SELECT {found} FROM ({inner}){_where(unique)}"

    def _find_orphans(self, part: Part, reference: Reference) -> None:
        """Those that refer to a row that is neither there now nor in the plan."""
        columns = [part.value(name) for name in reference.columns]
        if part.kind != "new" and not any(name in part.columns for name in reference.columns):
            return
        if None in columns:
            return  # A part of the reference stays as it is: the commit judges it.
        values = [f"p.{column}" for column in columns]
        parent = conjunction(
            f"n.{quoted(to)} = {value}"
            for to, value in zip(reference.to_columns, values, strict=True)
        )
        table = f"{LIVE}.{quoted(reference.to_table)}"
        condition = conjunction(f"{value} IS NOT NULL" for value in values)
        condition += f" AND NOT EXISTS (SELECT 1 FROM {table} AS n WHERE {parent})"
        if new := self.plan.part("new", reference.to_table):
            to = [new.value(name) for name in reference.to_columns]
            if None not in to:
                inside = f"SELECT {', '.join(map(str, to))} FROM {new.name}"
                own = row_value(reference.compared(values))
                condition += f" AND {own} NOT IN ({inside})"
        why = "'nowhere'"
        shape = self.structure.shape(reference.to_table)
        if shape and shape.then:
            then = f'"then".{quoted(shape.then.name)}'
            gone = "parent row" if folded(reference.to_table) in self.named else "parent"
            why = (
                f"CASE WHEN EXISTS (SELECT 1 FROM {then} AS n WHERE {parent}) "
                f"THEN '{gone}' ELSE 'nowhere' END"
            )
        detail = f"{_text(reference.to_table)} || char(0) || {key_in_words(values)}"
        self._note(part, why, condition, detail)

    def _find_needed(self, part: Part, reference: Reference) -> None:
        if found := needed(self.plan, self.structure, part, reference):
            source, other = found
            detail = f"{_text(reference.table)} || char(0) || {other}"
            self.plan.run(
                f"INSERT INTO plan.conflicts SELECT {part.number}, p.row, 'needed', {detail} "
                f"FROM {source}"
            )


def needed(
    plan: RowPlan, structure: Structure, part: Part, reference: Reference
) -> tuple[str, str] | None:
    """SQL for the new rows `p` that a row refers to which stays when they are taken back.

    And for the key of that row. None if there can be none.
    """
    shape = structure.shape(reference.table)
    if shape is None or shape.now is None:
        return None
    values = [part.value(name) for name in reference.to_columns]
    # A plan does not have what generated columns hold: the live row `m` does.
    to = [
        f"p.{value}" if value else f"m.{quoted(name)}"
        for name, value in zip(reference.to_columns, values, strict=True)
    ]
    columns = reference.compared([f"n.{quoted(name)}" for name in reference.columns])
    refers = conjunction(f"{column} = {value}" for column, value in zip(columns, to, strict=True))
    identity = shape.now.key or ((shape.now.row_id,) if shape.now.row_id else ())
    own = [f"n.{quoted(name)}" for name in identity]
    for other in plan.parts:
        is_taken_back = other.kind == "new" or set(reference.columns) <= set(other.columns)
        if other.table == reference.table and is_taken_back:
            keys = f"SELECT {', '.join(other.keys)} FROM {other.name}"
            refers += f" AND {row_value(own)} NOT IN ({keys})"
    rows = f"{part.name} AS p"
    if None in values:
        rows += f" CROSS JOIN {part.live} AS m ON {part.same_row(live='m')}"
    source = f"{rows} CROSS JOIN {LIVE}.{quoted(reference.table)} AS n WHERE {refers}"
    return source, key_in_words(own or ["NULL"])


def skip(search: ConflictSearch) -> None:
    """Take all rows with a conflict out of the plan, and with them all that need them."""
    search.clear()
    search.find()
    while search.plan.drop():
        search.find()
    search.clear()


def _live(part: Part, condition: str) -> str:
    return f"SELECT 1 FROM {part.live} AS n WHERE {condition}"


def _present(part: Part, unique: Unique) -> str:
    """SQL for the rows of today's table, with what the index has of each."""
    key = ", ".join(quoted(name) for name in part.key)
    found = ", ".join([key, *_found(unique)])
    return f"SELECT {found} FROM {part.live}{_where(unique)}"


def _names(unique: Unique) -> list[str]:
    """What the index has of a row, under names that hardly any column has."""
    return [f'"of index {place}"' for place in range(len(unique.expressions))]


def _found(unique: Unique) -> list[str]:
    return [
        f"{expression} AS {name}"
        for expression, name in zip(unique.expressions, _names(unique), strict=True)
    ]


def _where(unique: Unique) -> str:
    return f" WHERE {unique.where}" if unique.where else ""


def _concerns(unique: Unique, part: Part) -> bool:
    """Whether writing these columns may change what the index has of a row."""
    return not unique.is_plain or any(part.value(name) in part.values for name in unique.columns)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
