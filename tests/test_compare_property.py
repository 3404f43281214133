"""Whatever the tables and their history: a comparison says what a naive one in Python says."""

import sqlite3
import tempfile
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tenant_backup import sqlite
from tests.lengths import at_length

NAMES = ["a", "B", "rowid", "_rowid_", "oid", "select", 'q"uote', "Ä ö"]
TYPES = ["", "INTEGER", "TEXT", "REAL", "BLOB", "NUMERIC"]
COLLATES = ["", " COLLATE NOCASE", " COLLATE RTRIM", " COLLATE hosts"]

NO_TEXT = b"\xff\xfe7"
ALIKE = [
    [7, 7.0, "7", "007", "7.0", b"7"],
    ["a", "A", "a ", "A ", b"a", b"A"],
    [0, 0.0, -0.0, "", b"", None, float("nan")],
    [2**53, 2**53 + 1, float(2**53), 2**63 - 1, float("inf")],
    ["ü", "Ü", "x\0y", "x\0z", b"x\0y", None],
    [1, 2, 3, 1.5, None],
]
"""Values that one comparison or another may take for the same, or that are."""


@st.composite
def tables(draw):
    """A table as SQL that takes its columns in any order, and those columns."""
    least = draw(st.sampled_from([1, 3]))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=least, max_size=5, unique=True))
    kind = draw(st.sampled_from(["none", "id", "columns", "columns", "without rowid"]))
    columns, end, key = {}, "", []
    for name in names:
        columns[name] = draw(st.sampled_from(TYPES)) + draw(st.sampled_from(COLLATES))
    if kind == "id":
        key = names[:1]
        columns[key[0]] = "INTEGER PRIMARY KEY"
    elif kind != "none":
        key = names[: draw(st.integers(1, 2))]
        order = draw(st.sampled_from(["", " DESC"]))
        end = ", PRIMARY KEY (" + ", ".join(quoted(name) + order for name in key) + ")"
    if draw(st.booleans()):
        columns["made"] = f"GENERATED ALWAYS AS (theirs(hex({quoted(names[-1])}))) STORED"
    if draw(st.booleans()):
        columns["made2"] = f"GENERATED ALWAYS AS (theirs(hex({quoted(names[-1])}))) VIRTUAL"
    end += ") WITHOUT ROWID" if kind == "without rowid" else ")"
    is_indexed = draw(st.booleans())
    return columns, end, key, is_indexed


@st.composite
def histories(draw):
    """A table, its rows then, and what happened to them since."""
    columns, end, key, is_indexed = draw(tables())
    # Python takes only valid text into a collation.
    has_hosts = is_indexed or any("hosts" in declared for declared in columns.values())
    groups = draw(st.lists(st.sampled_from(ALIKE), min_size=1, max_size=2))
    # The array of bytes stands for a text that they are not.
    more = [] if has_hosts else [bytearray(NO_TEXT)]
    values = st.sampled_from([*groups[0], *groups[-1], *more])
    names = stored(columns)
    # With keys of a kind that are all different, more rows stay, and are only changed.
    keys = st.sampled_from([*range(9), *map(str, range(9))]) if draw(st.booleans()) else values
    row = st.tuples(*(keys if name in key else values for name in names))
    rows = draw(st.lists(row, min_size=draw(st.sampled_from([0, 4])), max_size=8))
    column = st.integers(0, len(names) - 1)
    # Rows are chosen by a value that one of them has, so that something happens.
    value = st.sampled_from([value for row in rows for value in row]) if rows else values
    change = st.one_of(
        st.tuples(st.just("insert"), row),
        st.tuples(st.just("delete"), column, value),
        st.tuples(st.just("update"), column, value, column, values),
        st.tuples(st.just("update"), column, value, st.just(len(names) - 1), values),
        st.tuples(st.just("vacuum")),
    )
    changes = draw(st.lists(change, max_size=8))
    shuffled = draw(st.permutations(list(columns)))
    return columns, end, key, is_indexed, rows, changes, shuffled


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def connect(path):
    """As the host connects: with its own collation and function."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_collation("hosts", lambda a, b: (a[::-1] > b[::-1]) - (a[::-1] < b[::-1]))
    connection.create_function("theirs", 1, lambda value: value, deterministic=True)
    connection.text_factory = bytes
    return connection


def mark_of(value):
    return "CAST(? AS TEXT)" if isinstance(value, bytearray) else "?"


def build(path, columns, order, end, is_indexed, rows):
    connection = connect(path)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    declared = ", ".join(f"{quoted(name)} {columns[name]}" for name in order)
    connection.execute(f"CREATE TABLE T ({declared}{end}")
    if is_indexed:
        connection.execute(f"CREATE INDEX i ON T ({quoted(order[-1])} COLLATE hosts)")
    names = stored(columns)
    for row in rows:
        insert(connection, names, row)
    return connection


def stored(columns):
    return [name for name, declared in columns.items() if not declared.startswith("GENERATED")]


def insert(connection, names, row):
    with suppress(sqlite3.IntegrityError):  # a text as a row's id
        connection.execute(
            f"INSERT OR IGNORE INTO T ({', '.join(map(quoted, names))}) "
            f"VALUES ({', '.join(map(mark_of, row))})",
            row,
        )


def change(connection, names, what):
    """Change the table as the history says; rows that its key forbids stay as they are."""
    match what:
        case "insert", row:
            insert(connection, names, row)
        case "delete", column, value:
            where = f"{quoted(names[column])} IS {mark_of(value)}"
            connection.execute(f"DELETE FROM T WHERE {where}", [value])
        case "update", column, value, other, new:
            where = f"{quoted(names[column])} IS {mark_of(value)}"
            with suppress(sqlite3.IntegrityError):
                connection.execute(
                    f"UPDATE OR IGNORE T SET {quoted(names[other])} = {mark_of(new)} WHERE {where}",
                    [new, value],
                )
        case _:
            connection.execute("VACUUM")


def cells(connection, columns):
    """Each row as its cells: the type and the value, text as bytes."""
    names = [name for name, declared in columns.items() if not declared.endswith("VIRTUAL")]
    types = [f"typeof({quoted(name)})" for name in names]
    rows = connection.execute(
        f"SELECT {', '.join([*map(quoted, names), *types])} FROM T NOT INDEXED"
    )
    return [
        tuple(
            (kind.decode(), value)
            for kind, value in zip(row[len(names) :], row[: len(names)], strict=True)
        )
        for row in rows
    ]


def as_compared(cell, declared):
    """A key's cell, so that two are equal if the column's own collation says so."""
    kind, value = cell
    if kind == "text" and "NOCASE" in declared:
        value = value.lower()
    elif kind == "text" and "RTRIM" in declared:
        value = value.rstrip(b" ")
    return ("number" if kind in ("integer", "real") else kind), value


def naive(then, now, columns, key):
    """The rows that are gone and new, and the pairs that changed; None if nothing can be paired."""
    names = [name for name, declared in columns.items() if not declared.endswith("VIRTUAL")]
    places = [names.index(name) for name in key]

    def keyed(rows):
        return [
            (tuple(as_compared(row[place], columns[names[place]]) for place in places), row)
            for row in rows
        ]

    before, after = dict(keyed(then)), dict(keyed(now))
    if not key or len(before) < len(then) or len(after) < len(now):
        gone, new = Counter(then), Counter(now)
        return gone - new, new - gone, None
    return (
        Counter(row for each, row in before.items() if each not in after),
        Counter(row for each, row in after.items() if each not in before),
        Counter((row, after[each]) for each, row in before.items() if row != after.get(each, row)),
    )


def as_cells(values):
    """Values as the comparison gives them, as cells."""
    if values is None:
        return None
    kinds = {int: "integer", float: "real", str: "text", bytes: "blob", type(None): "null"}
    return tuple(
        (
            kinds[type(value)],
            value.encode(errors="surrogateescape") if isinstance(value, str) else value,
        )
        for value in values
    )


@settings(max_examples=at_length(150, 1000))
@given(histories())
def test_a_comparison_says_what_a_naive_one_says(history):
    columns, end, key, is_indexed, rows, changes, shuffled = history
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("then.sqlite3", "now.sqlite3")]
        with (
            closing(build(files[0], columns, list(columns), end, is_indexed, rows)) as then,
            closing(build(files[1], columns, shuffled, end, is_indexed, rows)) as now,
        ):
            for each in changes:
                change(now, stored(columns), each)
            gone, new, changed = naive(cells(then, columns), cells(now, columns), columns, key)
            numbers = (cells(then, columns), cells(now, columns))
        with sqlite.comparing(*files, is_live=False, busy_timeout=1) as comparison:
            assert comparison.tables() == ["T"]
            found = comparison.difference("t")
            assert found == sqlite.Difference(
                "T",
                *map(len, numbers),
                gone.total(),
                new.total(),
                None if changed is None else changed.total(),
                is_compared=True,
                why_not=None,
                is_complete=True,
            )
            # The rows are given in today's order of the columns.
            order = comparison.shape("T").columns
            assert list(order) == [name for name in shuffled if columns[name][-7:] != "VIRTUAL"]
            listed = {kind: pages(comparison, kind) for kind in ("gone", "new", "changed")}
            back = [order.index(name) for name in columns if name in order]

            def in_order(values):
                return values and tuple(as_cells(values)[place] for place in back)

            assert Counter(in_order(row.then) for row in listed["gone"]) == gone
            assert Counter(in_order(row.now) for row in listed["new"]) == new
            assert Counter(
                (in_order(row.then), in_order(row.now)) for row in listed["changed"]
            ) == (changed or Counter())
            for row in [row for rows in listed.values() for row in rows]:
                values = row.then or row.now
                paired = changed is not None
                assert row.key == tuple(values[order.index(name)] for name in key if paired)


def pages(comparison, kind):
    """All rows, three at a time."""
    found = []
    while page := list(comparison.rows("T", kind, limit=3, offset=len(found))):
        found += page
    return found
