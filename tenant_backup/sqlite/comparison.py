"""The comparison of two databases, row by row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import zip_longest

from tenant_backup.sqlite.checks import add_stand_in
from tenant_backup.sqlite.connections import quoted
from tenant_backup.texts import Text


def first_difference(ours: sqlite3.Connection, theirs: sqlite3.Connection) -> Text | None:
    """Where two databases differ first, in words; None where they are equal.

    Both are read in the order of their pages, side by side, so nothing is sorted or kept.
    """
    schema = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master"
    versions = "SELECT * FROM pragma_user_version, pragma_application_id"
    for query, what in ((schema, Text("its schema")), (versions, Text("its versions"))):
        if ours.execute(query).fetchall() != theirs.execute(query).fetchall():
            return what
    # A virtual table has no page. The tables that hold its rows are compared themselves.
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
    for (table,) in ours.execute(tables).fetchall():
        # A 2 marks a column that is computed when it is read, which may need the host's functions.
        columns = ours.execute(
            "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 2", (table,)
        ).fetchall()
        names = ", ".join(quoted(name) for (name,) in columns)
        rows, their_rows = _raw_rows(ours, table, names), _raw_rows(theirs, table, names)
        if any(row != their_row for row, their_row in zip_longest(rows, their_rows)):
            return Text("the table %(table)r", table=table)
    return None


def _raw_rows(
    connection: sqlite3.Connection, table: str, columns: str
) -> Iterator[tuple[object, ...]]:
    """The rows with their text as bytes, which may be no valid text."""
    text_factory = connection.text_factory
    connection.text_factory = bytes
    try:
        while True:
            try:
                # EXPLAIN names the missing collation, for which the query would only fail.
                connection.execute(f"EXPLAIN SELECT count(*) FROM {quoted(table)}")  # noqa: S608
                rows = connection.execute(
                    f"SELECT {columns} FROM {quoted(table)} NOT INDEXED"  # noqa: S608
                )
                break
            except sqlite3.OperationalError as error:
                if not add_stand_in(connection, str(error)):
                    raise
        yield from rows
    finally:
        connection.text_factory = text_factory
