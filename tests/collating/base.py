"""Where Django looks for the engine."""

import sqlite3
from contextlib import closing

from django.db.backends.sqlite3 import base

INDEXES = """
CREATE INDEX in_order ON shop_contract (number COLLATE by_number);
CREATE UNIQUE INDEX plainly ON shop_contract (plain(number));
"""


def by_number(one, other):
    """`C-9` before `C-10`, which no collation of SQLite's own does."""
    first, second = (int("".join(filter(str.isdigit, text)) or 0) for text in (one, other))
    return (first > second) - (first < second)


def plain(text):
    return str(text).replace("-", "").lower()


def provide(connection):
    connection.create_collation("by_number", by_number)
    connection.create_function("plain", 1, plain, deterministic=True)


def in_order(database):
    """The contracts' numbers, by an index which is sound only if the host's collation wrote it."""
    with closing(sqlite3.connect(database)) as connection:
        provide(connection)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        query = "SELECT number FROM shop_contract ORDER BY number COLLATE by_number"
        return [number for (number,) in connection.execute(query)]


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params):
        connection = super().get_new_connection(conn_params)
        provide(connection)
        return connection
