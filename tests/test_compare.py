"""Comparing two databases, table by table: what is gone, new and changed, whatever is in them."""

import sqlite3
from contextlib import closing

import pytest

from tenant_backup import sqlite


def build(path, script, *parameters):
    """A database made by a script; `?` in single statements may be any value."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(script) if not parameters else connection.executemany(
            script, parameters
        )
    return path


class Pair:
    """A backup and what became of it: `then` is a copy of `now`, made before it is changed."""

    def __init__(self, folder):
        self.then, self.now = folder / "then.sqlite3", folder / "now.sqlite3"

    def both(self, script, *parameters):
        build(self.now, script, *parameters)
        self.then.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(self.now)) as source,
            closing(sqlite3.connect(self.then)) as target,
        ):
            source.backup(target)

    def change(self, script, *parameters):
        build(self.now, script, *parameters)

    def open(self, **options):
        options = {"is_live": False, "busy_timeout": 1} | options
        return sqlite.comparing(self.then, self.now, **options)

    def difference(self, table="t"):
        with self.open() as comparison:
            return comparison.difference(table)

    def numbers(self, table="t"):
        found = self.difference(table)
        assert found.is_compared, str(found.why_not)
        assert found.is_complete
        return found.gone, found.new, found.changed

    def rows(self, kind, table="t", **options):
        with self.open() as comparison:
            return list(comparison.rows(table, kind, **options))


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


class TestRows:
    def test_gone_new_and_changed_are_found_by_the_primary_key(self, pair):
        pair.both("CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1,1),(2,2)")
        pair.change("DELETE FROM t WHERE id = 1; UPDATE t SET x = 3; INSERT INTO t VALUES (9, 9)")
        assert pair.numbers() == (1, 1, 1)
        assert pair.rows("gone") == [sqlite.Row((1,), (1, 1), None)]
        assert pair.rows("new") == [sqlite.Row((9,), None, (9, 9))]
        assert pair.rows("changed") == [sqlite.Row((2,), (2, 2), (2, 3))]
