"""Comparing two databases, table by table: what is gone, new and changed, whatever is in them."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from tenant_backup import sqlite
from tenant_backup.exceptions import (
    BackupError,
    BackupMissing,
    DatabaseDamaged,
    DatabaseLocked,
    DeadlineExceeded,
    UnfinishedWrite,
)
from tenant_backup.sqlite import deadlines, pairing, reading
from tenant_backup.sqlite.comparison import Tally
from tests.conftest import REPOSITORY, Process, names_in, small_disk
from tests.test_sqlite_restore import KILLED

NO_TEXT = "CAST(x'ff41' AS TEXT)"


def connect(path):
    """As the host connects: with functions and collations of its own."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_collation("hosts", lambda a, b: (a[::-1] > b[::-1]) - (a[::-1] < b[::-1]))
    connection.create_function("theirs", 1, lambda value: value, deterministic=True)
    connection.execute("PRAGMA synchronous = OFF")
    return connection


class Pair:
    """A backup, `then`, and the database `now`, each changed by a script in SQL."""

    def __init__(self, folder):
        self.then, self.now = folder / "then.sqlite3", folder / "now.sqlite3"

    def both(self, script):
        for file in (self.then, self.now):
            self.run(file, script)

    def was(self, script):
        self.run(self.then, script)

    def change(self, script):
        self.run(self.now, script)

    @staticmethod
    def run(file, script):
        with closing(connect(file)) as connection:
            connection.executescript(script)

    def open(self, **options):
        options = {"is_live": False, "busy_timeout": 1} | options
        return sqlite.comparing(self.then, self.now, **options)

    def difference(self, table="t", **options):
        with self.open(**options) as comparison:
            return comparison.difference(table)

    def numbers(self, table="t", **options):
        found = self.difference(table, **options)
        assert (found.is_compared, found.why_not, found.is_complete) == (True, None, True)
        return found.gone, found.new, found.changed

    def why_not(self, table="t"):
        found = self.difference(table)
        assert not found.is_compared
        assert (found.gone, found.new, found.changed) == (None, None, None)
        return str(found.why_not)

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

    @pytest.mark.parametrize(
        ("declared", "was", "became"),
        [
            ("TEXT COLLATE NOCASE", "'Mueller'", "'MUELLER'"),
            ("TEXT COLLATE RTRIM", "'x'", "'x  '"),
            ("TEXT COLLATE hosts", "'x'", "'X'"),
            ("", "'007'", "7"),
            ("", "'7'", "7"),
            ("", "7", "7.0"),
            ("", "'a'", "x'61'"),
            ("", "NULL", "''"),
            ("", "NULL", "0"),
            ("", "9007199254740993", "9007199254740992.0"),
            ("TEXT", "'a' || char(0) || 'b'", "'a' || char(0) || 'c'"),
            ("TEXT", NO_TEXT, "'A'"),
            ("TEXT", NO_TEXT, "CAST(x'fe41' AS TEXT)"),
            ("REAL", "9e999", "-9e999"),
            ("BOOL", "1", "0"),
        ],
    )
    def test_another_value_is_a_change(self, pair, declared, was, became):
        pair.both(f"CREATE TABLE t (id INTEGER PRIMARY KEY, x {declared}, y)")
        pair.both("INSERT INTO t VALUES (1, 'same', 'same')")
        pair.was(f"INSERT INTO t VALUES (2, {was}, 5)")
        pair.change(f"INSERT INTO t VALUES (2, {became}, 5)")
        assert pair.numbers() == (0, 0, 1)
        (row,) = pair.rows("changed")
        assert row.then != row.now or list(map(type, row.then)) != list(map(type, row.now))

    @pytest.mark.parametrize(
        ("was", "became"),
        [("0.0", "-0.0"), ("NULL", "9e999 - 9e999"), ("x'00'", "zeroblob(1)"), ("1.5", "3 / 2.0")],
    )
    def test_the_same_value_is_none(self, pair, was, became):
        pair.both("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        pair.was(f"INSERT INTO t VALUES (2, {was})")
        pair.change(f"INSERT INTO t VALUES (2, {became})")
        assert pair.numbers() == (0, 0, 0)

    def test_a_type_given_afterwards_hides_no_change(self, pair):
        # As Django itself once changed columns: what is stored keeps the type that it had.
        pair.both("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        pair.was("INSERT INTO t VALUES (1, '007')")
        pair.change("INSERT INTO t VALUES (1, '7')")
        pair.both(
            "PRAGMA writable_schema = ON; "
            "UPDATE sqlite_master SET sql = replace(sql, 'x)', 'x INTEGER)')"
        )
        assert pair.numbers() == (0, 0, 1)

    def test_bytes_that_are_no_text_are_given_as_surrogates(self, pair):
        pair.both("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
        pair.was(f"INSERT INTO t VALUES (1, {NO_TEXT})")
        (row,) = pair.rows("gone")
        assert os.fsencode(row.then[1]) == b"\xffA"

    def test_a_key_that_is_all_there_is_never_changes(self, pair):
        pair.both("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
        pair.change("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (7)")
        assert pair.numbers() == (1, 1, 0)

    def test_a_key_of_another_case_is_the_same_row_if_its_collation_says_so(self, pair):
        for table, collation in (("t", "NOCASE"), ("u", "BINARY")):
            pair.both(f"CREATE TABLE {table} (name TEXT COLLATE {collation} PRIMARY KEY, x)")
            pair.was(f"INSERT INTO {table} VALUES ('Mueller', 1)")
            pair.change(f"INSERT INTO {table} VALUES ('MUELLER', 1)")
        assert pair.numbers("t") == (0, 0, 1)
        assert pair.numbers("u") == (1, 1, 0)

    def test_a_key_in_an_order_that_only_the_host_knows(self, pair):
        for table, end in (("t", ""), ("u", "WITHOUT ROWID")):
            pair.both(f"CREATE TABLE {table} (k TEXT COLLATE hosts PRIMARY KEY, x) {end}")
            pair.both(f"INSERT INTO {table} VALUES ('ab', 1), ('ba', 2), ('c', 3)")
            pair.change(
                f"DELETE FROM {table} WHERE k = 'ba'; UPDATE {table} SET x = 0 WHERE k = 'c'"
            )
            pair.change(f"INSERT INTO {table} VALUES ('aa', 9)")
            assert pair.numbers(table) == (1, 1, 1)
            assert pair.rows("gone", table) == [sqlite.Row(("ba",), ("ba", 2), None)]
            assert pair.rows("changed", table) == [sqlite.Row(("c",), ("c", 3), ("c", 0))]

    def test_one_key_may_have_null_in_it(self, pair):
        pair.both("CREATE TABLE t (a, b, x, PRIMARY KEY (a, b)); INSERT INTO t VALUES (1, NULL, 1)")
        pair.change("UPDATE t SET x = 2")
        assert pair.numbers() == (0, 0, 1)

    def test_several_keys_with_null_in_them_pair_no_rows(self, pair):
        pair.both("CREATE TABLE t (a PRIMARY KEY, x)")
        pair.both("INSERT INTO t VALUES (NULL, 1), (NULL, 2), (1, 1)")
        pair.change("UPDATE t SET x = 3 WHERE x = 2; UPDATE t SET x = 4 WHERE a = 1")
        assert pair.numbers() == (2, 2, None)
        assert [row.key for row in pair.rows("gone")] == [(), ()]
        with pair.open() as comparison:
            assert not comparison.is_paired("t")

    def test_without_a_key_rows_are_counted_whole_wherever_they_lie(self, pair):
        pair.both("CREATE TABLE t (a, b)")
        pair.both("INSERT INTO t VALUES (1, 1), (1, 1), (1, 1), (2, NULL), (3, x'00')")
        pair.change("DELETE FROM t WHERE rowid IN (1, 2); INSERT INTO t VALUES (1, 1), (4, 4)")
        pair.change("UPDATE t SET rowid = 1000 - rowid")
        assert pair.numbers() == (1, 1, None)
        assert pair.rows("gone") == [sqlite.Row((), (1, 1), None)]
        assert pair.rows("new") == [sqlite.Row((), None, (4, 4))]
        assert pair.rows("changed") == []

    def test_tables_of_all_columns_that_there_can_be(self, pair):
        columns = ", ".join(f"c{number}" for number in range(1998))
        pair.both(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns})")
        pair.both("INSERT INTO t (id, c1) VALUES (1, 1)")
        pair.change("UPDATE t SET c1997 = 'x'; INSERT INTO t (id) VALUES (2)")
        assert pair.numbers() == (0, 1, 1)
        assert len(pair.rows("new")[0].now) == 1999

    def test_what_sqlite_cannot_compare_is_said_and_the_others_are_compared(self, pair):
        columns = ", ".join(f"c{number}" for number in range(1998))
        pair.both(f"CREATE TABLE t ({columns}); INSERT INTO t (c1) VALUES (1)")
        pair.both("CREATE TABLE u (id INTEGER PRIMARY KEY)")
        assert pair.why_not().startswith("SQLite cannot compare it: too many")
        assert pair.numbers("u") == (0, 0, 0)

    def test_any_name_is_a_name(self, pair):
        table, column = 'a "b"; -- ]`', 'x "y" \' z'
        quoted = table.replace('"', '""'), column.replace('"', '""')
        pair.both(
            'CREATE TABLE "{}" ("{}" INTEGER PRIMARY KEY, "then", "now", a, b)'.format(*quoted)
        )
        pair.both(f'INSERT INTO "{quoted[0]}" VALUES (1, 1, 1, 1, 1)')
        pair.change(f'UPDATE "{quoted[0]}" SET "now" = 2')
        assert pair.numbers(table) == (0, 0, 1)
        with pair.open() as comparison:
            assert comparison.tables() == [table]
            assert comparison.shape(table).key == (column,)

    def test_pages_of_rows(self, pair):
        pair.both("CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE u (id)")
        for table in "tu":
            pair.was(f"INSERT INTO {table} VALUES (1), (2), (3), (4), (5)")
            with pair.open() as comparison:
                pages = [
                    [row.then[0] for row in comparison.rows(table, "gone", limit=2, offset=offset)]
                    for offset in (0, 2, 4, 6)
                ]
            assert pages == [[1, 2], [3, 4], [5], []]


class TestShapes:
    PLAIN = "CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR(10), n INTEGER)"

    @pytest.mark.parametrize(
        ("now", "more"),
        [
            ("create  table T(\n n INT NOT NULL DEFAULT 7, ID integer primary key, NAME text)", ""),
            (
                "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, name CHAR COLLATE NOCASE "
                "UNIQUE, n BIGINT REFERENCES t (id) CHECK (n > 0))",
                "",
            ),
            ("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, n INTEGER, x AS (theirs(n)))", ""),
            (PLAIN, "CREATE INDEX i ON t (theirs(name))"),
            (PLAIN, "CREATE INDEX j ON t (name COLLATE hosts)"),
            (PLAIN, "CREATE TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM t; END"),
            (PLAIN, "CREATE VIEW v AS SELECT theirs(name) FROM t"),
        ],
    )
    def test_what_makes_no_difference(self, pair, now, more):
        pair.was(self.PLAIN)
        pair.was("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)")
        pair.change(now)
        pair.change("INSERT INTO t (id, name, n) VALUES (1, 'a', 1), (3, 'c', 3)")
        pair.change(more)
        assert pair.numbers() == (1, 1, 0)

    @pytest.mark.parametrize(
        ("now", "why_not"),
        [
            ("(id INTEGER PRIMARY KEY, name TEXT, n INTEGER, x, y)", "Columns were added: x, y."),
            ("(id INTEGER PRIMARY KEY, name TEXT)", "Columns were removed: n."),
            (
                "(id INTEGER PRIMARY KEY, title TEXT, n INTEGER)",
                "Columns were added: title. Columns were removed: name.",
            ),
            ("(id INTEGER PRIMARY KEY, name TEXT, n REAL)", "Columns have another type: n."),
            (
                "(id INTEGER PRIMARY KEY, name TEXT, n INTEGER AS (id) STORED)",
                "Columns have another type: n.",
            ),
            ("(id INTEGER, name TEXT PRIMARY KEY, n INTEGER)", "Its primary key is another one."),
            ("(id INTEGER, name TEXT, n INTEGER)", "Its primary key is another one."),
            (
                "(id TEXT PRIMARY KEY, name TEXT, n INTEGER)",
                "Columns have another type: id. Its primary key is another one.",
            ),
        ],
    )
    def test_what_differs_is_said_and_not_compared(self, pair, now, why_not):
        pair.was(self.PLAIN)
        pair.was("INSERT INTO t VALUES (1, 'a', 1)")
        pair.change(f"CREATE TABLE t {now}")
        assert pair.why_not() == why_not
        found = pair.difference()
        assert (found.rows_then, found.rows_now) == (1, 0)

    def test_other_columns_hide_no_gone_rows(self, pair):
        pair.both(self.PLAIN)
        pair.both("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)")
        pair.change("ALTER TABLE t DROP COLUMN n; ALTER TABLE t ADD COLUMN x DEFAULT 5")
        pair.change("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (3, 'c', 4)")
        assert pair.rows("gone") == [sqlite.Row((1,), (1, "a", 1), None)]
        assert pair.rows("new") == [sqlite.Row((3,), None, (3, "c", 4))]
        with pytest.raises(sqlite.CannotCompare, match=r"Columns were added: x\. Columns were rem"):
            pair.rows("changed")
        with pair.open() as comparison:
            shape = comparison.shape("t")
        assert (shape.columns_in("then"), shape.columns) == (
            ("id", "name", "n"),
            ("id", "name", "x"),
        )

    def test_a_table_that_only_one_has(self, pair):
        pair.was("CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, 1), (2, 2)")
        pair.change("CREATE TABLE u (x); INSERT INTO u VALUES (1); CREATE VIEW t AS SELECT 1")
        assert pair.why_not("t") == "It no longer exists."
        assert pair.why_not("u") == "It did not exist then."
        found = pair.difference("t")
        assert (found.rows_then, found.rows_now) == (2, None)
        assert [row.key for row in pair.rows("gone", "t")] == [(1,), (2,)]
        assert pair.rows("new", "t") == pair.rows("gone", "u") == []
        assert pair.rows("new", "u") == [sqlite.Row((), None, (1,))]

    def test_a_table_that_neither_has(self, pair):
        pair.both("CREATE TABLE t (x)")
        with pytest.raises(sqlite.NoSuchTable, match=r"There is no table 'v', neither in .*then"):
            pair.difference("v")

    def test_virtual_tables_and_what_holds_their_rows(self, pair):
        pair.both(
            "CREATE VIRTUAL TABLE search USING fts5(x); CREATE VIRTUAL TABLE Old USING fts4(x);"
            "CREATE VIRTUAL TABLE place USING rtree(id, x0, x1); INSERT INTO search VALUES ('a');"
            "CREATE TABLE search_log (id INTEGER PRIMARY KEY); CREATE TABLE place_node_2 (x)"
        )
        with pair.open() as comparison:
            found = {table: comparison.difference(table) for table in comparison.tables()}
        assert {name for name, each in found.items() if each.is_compared} == {
            "search_log",
            "place_node_2",
        }
        assert str(found["search"].why_not) == (
            "It is a virtual table: its rows lie in other tables."
        )
        assert str(found["Old_segdir"].why_not) == "It belongs to the virtual table Old."
        assert str(found["place_rowid"].why_not) == "It belongs to the virtual table place."
        assert found["search"].rows_then is None

    def test_a_virtual_table_of_a_module_that_only_the_host_has(self, pair):
        pair.both(
            "CREATE TABLE odd_data (x); CREATE TABLE even (id INTEGER PRIMARY KEY);"
            "PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES "
            "('table', 'odd', 'odd', 0, 'CREATE VIRTUAL TABLE odd USING theirs(x)')"
        )
        assert pair.why_not("odd") == "It is a virtual table: its rows lie in other tables."
        assert pair.why_not("odd_data") == "It belongs to the virtual table odd."
        assert pair.numbers("even") == (0, 0, 0)

    def test_names_are_compared_as_sqlite_compares_them(self, pair):
        pair.was("CREATE TABLE Äh (Id INTEGER PRIMARY KEY, Name); INSERT INTO Äh VALUES (1, 1)")
        pair.change("CREATE TABLE Äh (iD INTEGER PRIMARY KEY, NAME); INSERT INTO Äh VALUES (1, 2)")
        with pair.open() as comparison:
            assert comparison.tables() == ["Äh"]
        assert pair.numbers("ÄH") == (0, 0, 1)

    def test_a_name_that_is_no_text(self, pair):
        pair.both("CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE u (abc)")
        for file in (pair.then, pair.now):
            content = file.read_bytes()
            assert content.count(b"abc") == 1
            file.write_bytes(content.replace(b"abc", b"a\xffc"))
        assert pair.why_not("u") == "Its name or that of a column is no valid text."
        assert pair.numbers("t") == (0, 0, 0)

    def test_foreign_keys(self, pair):
        pair.both(
            "CREATE TABLE p (a, b, PRIMARY KEY (a, b)); CREATE TABLE t (id INTEGER PRIMARY KEY, "
            "a, b, up REFERENCES t ON DELETE SET NULL, FOREIGN KEY (a, b) REFERENCES p (a, b))"
        )
        with pair.open() as comparison:
            assert set(comparison.shape("t").foreign_keys) == {
                sqlite.ForeignKey(("a", "b"), "p", ("a", "b"), "NO ACTION"),
                sqlite.ForeignKey(("up",), "t", (), "SET NULL"),
            }


class TestPlans:
    """Nothing is sorted or kept where there is a key, and a sort goes to a file."""

    def plan(self, comparison, sql):
        return [row[3] for row in comparison.connection.execute(f"EXPLAIN QUERY PLAN {sql}")]

    @pytest.mark.parametrize(
        ("declared", "key"),
        [
            ("id INTEGER PRIMARY KEY, k, x)", "INTEGER PRIMARY KEY"),
            ("id, k, x, PRIMARY KEY (id, k))", "INDEX sqlite_autoindex_t_"),
            ("id, k, x, PRIMARY KEY (id, k)) WITHOUT ROWID", "PRIMARY KEY"),
        ],
    )
    def test_each_row_is_sought_by_its_key(self, pair, declared, key):
        pair.both(f"CREATE TABLE t ({declared}; CREATE INDEX i ON t (x, k, id)")
        with pair.open() as comparison:
            shape = comparison.shape("t")
            for sql in (
                pairing.gone_or_changed(shape),
                pairing.changed(shape),
                pairing.unpaired(shape, "then"),
                pairing.unpaired(shape, "now"),
            ):
                first, second = self.plan(comparison, sql)
                assert first == "SCAN a"
                assert second.startswith("SEARCH b USING ")
                assert key in second
                assert "=?" in second

    def test_what_must_be_sorted_is_sorted_in_a_file(self, pair):
        pair.both("CREATE TABLE t (x, y)")
        with pair.open() as comparison:
            sql = pairing.sorted_differences(comparison.shape("t"), ["x"])
            assert "USE TEMP B-TREE FOR ORDER BY" not in self.plan(comparison, sql)
            assert comparison.connection.execute("PRAGMA temp_store").fetchone() == (1,)

    def test_a_full_disk_for_temporary_files_is_said(self, pair):
        pair.both("CREATE TABLE t (x)")
        pair.was(
            "WITH n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 9000) "
            "INSERT INTO t SELECT hex(randomblob(500)) FROM n"
        )
        code = """
import sys
from pathlib import Path
from tenant_backup import sqlite
from tenant_backup.exceptions import NotEnoughSpace
then, now = map(Path, sys.argv[1:])
with sqlite.comparing(then, now, is_live=False, busy_timeout=1) as comparison:
    try:
        comparison.difference("t")
    except NotEnoughSpace as error:
        print(error)
"""
        with small_disk("1m") as folder:
            # SQLite reads where its temporary files go once, when it is first used.
            done = subprocess.run(
                [sys.executable, "-c", code, pair.then, pair.now],
                env={**os.environ, "SQLITE_TMPDIR": str(folder), "PYTHONPATH": str(REPOSITORY)},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert names_in(folder) == []
        assert "The disk for temporary files became full" in done.stdout, done.stderr


class TestTime:
    """A comparison ends by its deadline, and says what it has found."""

    @pytest.fixture
    def big(self, pair):
        pair.both("CREATE TABLE t (id INTEGER PRIMARY KEY, x); CREATE TABLE u (id)")
        numbers = "WITH n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 20000)"
        pair.both(f"{numbers} INSERT INTO t SELECT n, 0 FROM n")
        pair.change("UPDATE t SET x = 1 WHERE id > 100; DELETE FROM t WHERE id <= 100")
        return pair

    def test_when_it_is_over_nothing_is_compared(self, big):
        found = big.difference(deadline=time.monotonic() - 1)
        assert (found.is_compared, found.is_complete) == (False, False)
        assert str(found.why_not) == "There was no time left to compare it."
        assert (found.rows_then, found.gone, found.changed) == (None, None, None)

    def test_what_was_found_by_then_is_the_least_that_differs(self, big, monkeypatch):
        found_some = []
        add = Tally.add
        monkeypatch.setattr(
            Tally, "add", lambda *arguments: (found_some.append(1), add(*arguments))
        )
        monkeypatch.setattr(reading, "STEPS", 1000)
        monkeypatch.setattr(deadlines.time, "monotonic", lambda: 100 if found_some else 0)
        found = big.difference(deadline=50)
        assert (found.is_compared, found.is_complete, found.why_not) == (True, False, None)
        assert (found.rows_then, found.rows_now) == (20000, 19900)
        assert (found.gone, found.new) == (100, 0)
        assert 0 < found.changed < 19900

    def test_rows_say_that_it_is_over(self, big, monkeypatch):
        looks = iter([0] * 5)
        monkeypatch.setattr(reading, "STEPS", 1000)
        monkeypatch.setattr(deadlines.time, "monotonic", lambda: next(looks, 100))
        with (
            big.open(deadline=50) as comparison,
            pytest.raises(DeadlineExceeded, match="Comparing"),
        ):
            list(comparison.rows("t", "changed"))

    @pytest.mark.parametrize("table", ["t", "u"])
    def test_a_signal_ends_it(self, big, monkeypatch, table):
        big.was("INSERT INTO u SELECT id FROM t")

        def look(deadline, doing):
            os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(reading, "STEPS", 1000)
        monkeypatch.setattr(deadlines, "require_time", look)
        with big.open() as comparison:
            with pytest.raises(KeyboardInterrupt):
                comparison.difference(table)
            monkeypatch.undo()
            assert comparison.difference("t").changed == 19900


class TestFiles:
    def test_neither_file_is_changed_and_nothing_is_left_beside_them(self, pair, tmp_path):
        pair.both("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY)")
        before = [file.read_bytes() for file in (pair.then, pair.now)]
        for is_live in (True, False):
            assert pair.numbers(is_live=is_live) == (0, 0, 0)
            assert names_in(tmp_path) == ["now.sqlite3", "then.sqlite3"]
        assert [file.read_bytes() for file in (pair.then, pair.now)] == before

    def test_nothing_can_be_written(self, pair):
        pair.both("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        with pair.open(is_live=True) as comparison:
            for schema in ("then", "now"):
                with pytest.raises(sqlite3.OperationalError, match="readonly"):
                    comparison.connection.execute(f'INSERT INTO "{schema}".t VALUES (1)')

    def test_what_a_killed_process_left_counts_and_stays(self, pair, tmp_path):
        pair.both(
            "PRAGMA journal_mode = WAL;"
            "CREATE TABLE credits (id INTEGER PRIMARY KEY, amount INTEGER, body BLOB)"
        )
        killed = Process(KILLED, pair.now)
        killed.wait(timeout=60)
        killed.end()
        files = [pair.now, pair.now.with_name("now.sqlite3-wal")]
        before = [file.read_bytes() for file in files]
        assert pair.numbers("credits", is_live=True) == (0, 500, 0)
        assert [file.read_bytes() for file in files] == before

    def test_an_unfinished_write_in_rollback_mode_is_left_to_others(self, pair):
        pair.both(
            "CREATE TABLE credits (id INTEGER PRIMARY KEY, amount INTEGER, body BLOB);"
            "INSERT INTO credits (body) VALUES (1)"
        )
        killed = Process(KILLED, pair.now)
        killed.wait(timeout=60)
        killed.end()
        journal = pair.now.with_name("now.sqlite3-journal")
        before = journal.read_bytes()
        with pytest.raises(UnfinishedWrite, match=r"now\.sqlite3-journal"):
            pair.difference("credits", is_live=True)
        assert journal.read_bytes() == before

    def test_the_log_of_a_database_that_was_emptied_stays(self, pair):
        pair.both("CREATE TABLE t (x)")
        pair.now.write_bytes(b"")
        log = pair.now.with_name("now.sqlite3-wal")
        log.write_bytes(b"the only copy")
        with pytest.raises(DatabaseDamaged, match=r"now\.sqlite3-wal"):
            pair.difference(is_live=True)
        assert log.read_bytes() == b"the only copy"

    def test_all_tables_are_of_one_moment(self, pair):
        pair.both(
            "PRAGMA journal_mode = WAL; CREATE TABLE t (x PRIMARY KEY); CREATE TABLE u (x);"
            "CREATE INDEX i ON u (x COLLATE hosts)"
        )
        with closing(connect(pair.now)) as writer, pair.open(is_live=True) as comparison:
            assert comparison.difference("t").new == 0
            writer.execute("INSERT INTO t VALUES (1)")
            writer.execute("INSERT INTO u VALUES (1)")
            writer.execute("CREATE TABLE v (x)")
            assert (comparison.difference("t").new, comparison.difference("u").new) == (0, 0)
            assert comparison.tables() == ["t", "u"]
        assert pair.numbers("u", is_live=True) == (0, 1, None)

    def test_it_waits_no_longer_than_the_busy_timeout(self, pair):
        pair.both("CREATE TABLE t (x)")
        with closing(connect(pair.now)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            with pytest.raises(DatabaseLocked, match=r"more than 0\.1 seconds"):
                pair.difference(is_live=True, busy_timeout=0.1)

    def test_text_in_another_encoding(self, pair):
        pair.both("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
        pair.both("INSERT INTO t VALUES (1, 'ä'), (2, 'b')")
        pair.change("UPDATE t SET x = 'Ä' WHERE id = 1")
        assert pair.numbers() == (0, 0, 1)
        assert pair.rows("changed")[0].then == (1, "ä")
        pair.now.unlink()
        pair.change("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)")
        with pytest.raises(BackupError, match="their text is encoded differently"):
            pair.difference()

    @pytest.mark.parametrize("which", ["then", "now"])
    @pytest.mark.parametrize(
        ("content", "error", "text"),
        [
            (None, BackupMissing, "is missing"),
            (b"", DatabaseDamaged, "is empty"),
            (b"no database, but long enough" * 100, DatabaseDamaged, "is not a sound SQLite"),
        ],
    )
    def test_a_backup_that_is_none(self, pair, which, content, error, text):
        pair.both("CREATE TABLE t (x)")
        file = getattr(pair, which)
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(error, match=text) as refusal:
            pair.difference()
        assert str(file) in str(refusal.value)

    @pytest.mark.parametrize("is_live", [True, False])
    def test_damage_is_said(self, pair, is_live):
        pair.both("CREATE TABLE t (id INTEGER PRIMARY KEY, x); CREATE TABLE u (x)")
        pair.both("INSERT INTO t VALUES (1, hex(zeroblob(20000)))")
        content = bytearray(pair.now.read_bytes())
        content[4096:8192] = b"\xff" * 4096
        pair.now.write_bytes(content)
        with pytest.raises(DatabaseDamaged, match=r"then\.sqlite3 or .*now\.sqlite3 is damaged: "):
            pair.difference(is_live=is_live)
        assert pair.numbers("u", is_live=is_live) == (0, 0, None)

    def test_a_record_that_claims_to_be_huge_takes_no_memory(self, pair):
        pair.both(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, zeroblob(9))"
        )
        for file in (pair.then, pair.now):
            content = file.read_bytes()
            # The cell: its length, its id, and a header that says: no id, a blob of 9 bytes.
            cell = bytes([12, 1, 3, 0, 30]) + bytes(9)
            assert content.count(cell) == 1
            # The length is now 2,000,000,003, and so is that of the blob, nearly.
            huge = b"\x87\xb9\xcf\xae\x00" + b"\x01" + b"\x07\x00\x8e\xf5\xb9\xda\x0e"
            file.write_bytes(content.replace(cell, huge + bytes(len(cell) - len(huge))))
        with pytest.raises(DatabaseDamaged, match="is damaged"):
            pair.difference()
