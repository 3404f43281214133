"""The SQL that pairs the rows of a table in two databases, and finds those that differ.

Values are equal if SQLite's binary comparison and their types say so: the column's own collation
would hide `Mueller` that became `MUELLER`, and its affinity a text `007` that became the number 7.
Indexes are named or forbidden, since one may need a collation that only the host has.
"""

from collections.abc import Sequence

from tenant_backup.sqlite.shapes import Schema, Shape, Table
from tenant_backup.sqlite.tables import quoted


def all_rows(shape: Shape, schema: Schema) -> str:
    """All rows of one of the two."""
    table = _side(shape, schema)
    return f"SELECT {_columns(shape, schema, 'a')} FROM {_scanned(table, 'a')}"  # noqa: S608


def unpaired(shape: Shape, schema: Schema) -> str:
    """The rows of one of the two whose key the other one lacks."""
    a, b = _side(shape, schema), _side(shape, _other(schema))
    return (
        f"SELECT {_columns(shape, schema, 'a')} FROM {_scanned(a, 'a')} "  # noqa: S608
        f"LEFT JOIN {_found(a, b)} WHERE {_mark(b)} IS NULL"
    )


def changed(shape: Shape) -> str:
    """The rows that are in both by their key, then and now, but differ."""
    then, now = _side(shape, "then"), _side(shape, "now")
    return (
        f"SELECT {_columns(shape, 'then', 'a')}, {_columns(shape, 'now', 'b')} "  # noqa: S608
        f"FROM {_scanned(then, 'a')} CROSS JOIN {_found(then, now)} WHERE {_differ(shape)}"
    )


def gone_or_changed(shape: Shape) -> str:
    """For each row of then that is gone or changed, whether it is gone."""
    then, now = _side(shape, "then"), _side(shape, "now")
    return (
        f"SELECT {_mark(now)} IS NULL FROM {_scanned(then, 'a')} "  # noqa: S608
        f"LEFT JOIN {_found(then, now)} WHERE {_mark(now)} IS NULL OR {_differ(shape)}"
    )


def sorted_differences(shape: Shape, wanted: Sequence[str]) -> str:
    """By how much one has more of a row than the other, below 0 for then; and the wanted columns.

    In the order of the primary key, if there is one. Rows that have kept their row id and are
    equal are left out first, so that usually little has to be sorted.
    """
    numbers = {name: f"c{number}" for number, name in enumerate(shape.columns)}
    order = [numbers[name] for name in dict.fromkeys([*shape.key, *shape.columns])]
    # Of two values that are equal in binary, only an integer and a real number differ in type.
    terms = [f"{number} COLLATE BINARY" for number in order]
    terms += [f"typeof({number}) = 'real'" for number in order]
    return (
        f"SELECT {', '.join(['sum(side)', *(numbers[name] for name in wanted)])} "  # noqa: S608
        f"FROM ({_leftover(shape, 'now', 1)} UNION ALL {_leftover(shape, 'then', -1)}) "
        f"GROUP BY {', '.join(terms)} HAVING sum(side) <> 0 ORDER BY {', '.join(terms)}"
    )


def several_without_key(table: Table) -> str:
    """A row, if several have the same key because it has NULL in it."""
    keys = [_column("a", name) for name in table.key]
    lacks = " OR ".join(f"{key} IS NULL" for key in keys)
    by = ", ".join(keys if table.can_be_sought else (f"{key} COLLATE BINARY" for key in keys))
    return (
        f"SELECT 1 FROM {_scanned(table, 'a')} WHERE {lacks} "  # noqa: S608
        f"GROUP BY {by} HAVING count(*) > 1 LIMIT 1"
    )


def number_of_rows(table: Table, *, in_steps: bool = True) -> str:
    """How many rows it has. In one step it is no faster, and nothing can interrupt it."""
    return f"SELECT count(*) FROM {_name(table)}{' WHERE 1' if in_steps else ''}"  # noqa: S608


def _leftover(shape: Shape, schema: Schema, side: int) -> str:
    """The rows of one of the two, without those that the other one has under the same row id."""
    a, b = _side(shape, schema), _side(shape, _other(schema))
    columns = ", ".join(
        f"+{_column('a', name)} AS c{number}"
        for number, name in enumerate(shape.columns_in(schema))
    )
    rows = f"SELECT {side} AS side, {columns} FROM {_scanned(a, 'a')}"  # noqa: S608
    if a.row_id is None or b.row_id is None:
        return rows
    return (
        f"{rows} WHERE NOT EXISTS (SELECT 1 FROM {_name(b)} AS b NOT INDEXED "  # noqa: S608
        f"WHERE b.{b.row_id} = a.{a.row_id} AND NOT ({_differ(shape, schema)}))"
    )


def _side(shape: Shape, schema: Schema) -> Table:
    table = shape.side(schema)
    assert table is not None, f"{shape.table} is not in {schema}"  # noqa: S101
    return table


def _other(schema: Schema) -> Schema:
    return "now" if schema == "then" else "then"


def _name(table: Table) -> str:
    return f"{quoted(table.schema)}.{quoted(table.name)}"


def _column(alias: str, name: str) -> str:
    return f"{alias}.{quoted(name)}"


def _columns(shape: Shape, schema: Schema, alias: str) -> str:
    return ", ".join(_column(alias, name) for name in shape.columns_in(schema))


def _scanned(table: Table, alias: str) -> str:
    """The table to be read from its beginning to its end."""
    how = "NOT INDEXED" if table.has_row_ids else f"INDEXED BY {quoted(str(table.index))}"
    return f"{_name(table)} AS {alias} {how}"


def _found(a: Table, b: Table) -> str:
    """The row of table `b` that has the key of a row of table `a`."""
    how = f"INDEXED BY {quoted(b.index)}" if b.index else "NOT INDEXED"
    keys = zip(a.key, b.key, strict=True)
    pairs = [f"{_column('b', theirs)} IS {_column('a', ours)}" for ours, theirs in keys]
    return f"{_name(b)} AS b {how} ON {' AND '.join(pairs)}"


def _mark(table: Table) -> str:
    assert table.mark is not None, f"{table.name} cannot be sought"  # noqa: S101
    return _column("b", table.mark)


def _differ(shape: Shape, schema: Schema = "then") -> str:
    """Whether the row `a` of one of the two and the row `b` of the other one are different."""
    a = _values(shape, schema, "a", collate=" COLLATE BINARY")
    b = _values(shape, _other(schema), "b")
    return f"({a}) IS NOT ({b})" if a else "0"


def _values(shape: Shape, schema: Schema, alias: str, *, collate: str = "") -> str:
    """The values of a row and their types. A plus sign takes the affinity away."""
    table = _side(shape, schema)
    is_row_id = table.key[:1] if table.key and not table.index else ()
    columns = [_column(alias, name) for name in shape.columns_in(schema) if name not in is_row_id]
    return ", ".join(f"+{column}{collate}, typeof({column})" for column in columns)
