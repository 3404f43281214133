"""A restore through SQLite: who is kept out, what is put back, what a full disk leaves."""

import itertools
import os
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tenant_backup import sqlite
from tenant_backup.exceptions import (
    BackupError,
    DatabaseDamaged,
    DatabaseInUse,
)
from tests.conftest import Process, count_rows, make_database, small_disk

JOURNAL_MODES = ["wal", "delete"]

# Holds a database as the statements say. When told to go on it reads, writes and checks.
USER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("held", flush=True)
if sys.stdin.readline():
    print(connection.execute("SELECT count(*) FROM credits").fetchone()[0], flush=True)
    connection.execute("INSERT INTO credits (amount) VALUES (0)")
    print(connection.execute("SELECT count(*) FROM credits").fetchone()[0], flush=True)
    print(connection.execute("PRAGMA integrity_check").fetchone()[0], flush=True)
"""

# Leaves rows in a log that nobody checkpoints, or a rollback journal that nobody plays back.
KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("PRAGMA cache_size = 5")
connection.execute("BEGIN")
connection.executemany(
    "INSERT INTO credits (amount, body) VALUES (0, ?)", [(os.urandom(1000),)] * 500
)
if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
    connection.execute("COMMIT")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def start():
    """Run Python code in a real process that has said its first line; ended after the test."""
    processes = []

    def start(*arguments):
        processes.append(Process(USER, *arguments))
        assert processes[-1].line() == "held"
        return processes[-1]

    yield start
    for process in processes:
        process.end()


def kill_a_writer(database):
    killed = Process(KILLED, database)
    killed.wait(timeout=60)
    killed.end()
    companions = [path.name for path in database.parent.iterdir() if path.name.startswith("db.")]
    assert {"db.sqlite3-wal", "db.sqlite3-journal"} & set(companions)


def put_back(database, backup, **options):
    with (
        sqlite.exclusive(database, busy_timeout=0.2) as live,
        closing(sqlite.open_backup(backup)) as source,
    ):
        live.facts.require_fit(source)
        live.replace_with(source, **options)
        live.finalise()
        live.require_equal(source)


def content(database):
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return list(connection.iterdump())


def journal_mode(database):
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


def beside(database):
    """What lies beside the database, but for a -shm, which SQLite makes anew whatever is in it."""
    names = {path.name for path in database.parent.iterdir() if path.name.startswith("db.")}
    return sorted(names - {"db.sqlite3-shm"})


COMBINATIONS = list(itertools.product(JOURNAL_MODES, JOURNAL_MODES, [4096, 8192]))


@pytest.fixture
def combination(request, tmp_path):
    """A database of 300 rows, and a backup of 100 that may differ in everything."""
    mode, backup_mode, page_size = request.param
    database = make_database(tmp_path / "db.sqlite3", rows=300, body=1000, journal_mode=mode)
    backup = make_database(
        tmp_path / "backup", rows=100, journal_mode=backup_mode, page_size=page_size
    )
    return database, backup, mode


@pytest.mark.parametrize(
    "combination", [("wal", mode, 4096) for mode in JOURNAL_MODES], indirect=True
)
def test_a_database_that_was_cut_short_and_its_log(combination):
    """SQLite refuses to bring the log into it, and yet the backup can be put into it."""
    database, backup, _mode = combination
    kill_a_writer(database)
    os.truncate(database, 50_000)
    put_back(database, backup)
    assert beside(database) == ["db.sqlite3"]
    assert content(database) == content(backup)
    assert journal_mode(database) == "wal"


@pytest.mark.parametrize("combination", COMBINATIONS, indirect=True)
class TestPutBack:
    def test_the_database_equals_the_backup_and_keeps_its_journal_mode(self, combination):
        database, backup, mode = combination
        before = backup.read_bytes()
        database.chmod(0o640)
        inode = database.stat().st_ino
        put_back(database, backup)
        assert beside(database) == ["db.sqlite3"]
        assert (database.stat().st_ino, database.stat().st_mode & 0o777) == (inode, 0o640)
        assert content(database) == content(backup)
        assert journal_mode(database) == mode
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("INSERT INTO credits (amount) VALUES (0)")
        assert backup.read_bytes() == before

    def test_what_a_killed_process_left_beside_it_undoes_nothing(self, combination):
        database, backup, mode = combination
        kill_a_writer(database)
        put_back(database, backup)
        assert beside(database) == ["db.sqlite3"]
        assert content(database) == content(backup)
        assert journal_mode(database) == mode

    def test_what_interrupts_it_leaves_the_old_state(self, combination, monkeypatch):
        database, backup, mode = combination
        monkeypatch.setattr(sqlite.copying, "CHUNK_BYTES", 16384)
        kill_a_writer(database)
        expected = 800 if mode == "wal" else 300

        def stop(done, total):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            put_back(database, backup, progress=stop)
        assert beside(database) == ["db.sqlite3"]
        assert len([line for line in content(database) if '"credits" VALUES' in line]) == expected
        assert journal_mode(database) == mode

    def test_it_is_durable_whatever_sqlite_was_built_with(self, combination, monkeypatch):
        database, backup, _ = combination
        monkeypatch.setattr(sqlite.copying, "CHUNK_BYTES", 16384)
        with (
            sqlite.exclusive(database, busy_timeout=0) as live,
            closing(sqlite.open_backup(backup)) as source,
        ):
            live.connection.execute("PRAGMA synchronous = OFF")

            def require_full(*_):
                assert live.connection.execute("PRAGMA synchronous").fetchone() == (2,)

            live.replace_with(source, progress=require_full)
            require_full()

    def test_nobody_comes_in_meanwhile(self, combination):
        database, backup, _ = combination
        code = (
            "import sqlite3, sys\n"
            "connection = sqlite3.connect(sys.argv[1], timeout=0)\n"
            "connection.execute('SELECT count(*) FROM credits').fetchone()\n"
        )

        def require_locked(*_):
            done = subprocess.run(
                [sys.executable, "-c", code, str(database)], capture_output=True, text=True
            )
            assert "database is locked" in done.stderr

        with (
            sqlite.exclusive(database, busy_timeout=0) as live,
            closing(sqlite.open_backup(backup)) as source,
        ):
            require_locked()
            with live.snapshot():
                pass
            require_locked()
            live.replace_with(source, progress=require_locked)
            require_locked()
            live.finalise()
            require_locked()


class TestUsers:
    @pytest.mark.parametrize(
        ("mode", "statements"),
        [
            ("wal", ["SELECT * FROM credits"]),
            ("wal", ["BEGIN", "SELECT * FROM credits"]),
            ("wal", ["BEGIN IMMEDIATE"]),
            ("delete", ["BEGIN", "SELECT * FROM credits"]),
            ("delete", ["BEGIN IMMEDIATE"]),
            ("delete", ["BEGIN EXCLUSIVE"]),
        ],
    )
    def test_one_who_holds_the_database_is_named_and_nothing_is_changed(
        self, tmp_path, start, mode, statements
    ):
        database = make_database(tmp_path / "db.sqlite3", journal_mode=mode)
        backup = make_database(tmp_path / "backup", rows=7)
        user = start(database, *statements)
        with pytest.raises(DatabaseInUse, match=rf"db\.sqlite3 is in use.* process {user.pid} \("):
            put_back(database, backup)
        user.stdin.close()
        user.wait(timeout=30)
        assert len([line for line in content(database) if '"credits" VALUES' in line]) == 100

    @pytest.mark.parametrize("backup_mode", JOURNAL_MODES)
    @pytest.mark.parametrize("page_size", [4096, 8192])
    def test_an_idle_one_in_rollback_mode_sees_the_restored_state_and_harms_nothing(
        self, tmp_path, start, backup_mode, page_size
    ):
        database = make_database(tmp_path / "db.sqlite3", journal_mode="delete")
        backup = make_database(
            tmp_path / "backup", rows=7, journal_mode=backup_mode, page_size=page_size
        )
        user = start(database, "SELECT * FROM credits")
        assert [found.pid for found in sqlite.users_of(database)] == [user.pid]
        put_back(database, backup)
        user.go_on()
        assert [user.line() for _ in range(3)] == ["7", "8", "ok"]
        user.wait(timeout=30)
        assert len([line for line in content(database) if '"credits" VALUES' in line]) == 8

    def test_a_connection_of_our_own_is_a_user_too(self, tmp_path):
        database = make_database(tmp_path / "db.sqlite3")
        with closing(sqlite3.connect(database)) as own:
            own.execute("SELECT * FROM credits").fetchall()
            with (
                pytest.raises(DatabaseInUse),
                sqlite.exclusive(database, busy_timeout=0),
            ):
                pass


class TestUsersOf:
    def test_names_their_command_lines_as_a_terminal_may_show_them(self, tmp_path, start):
        database = make_database(tmp_path / "db.sqlite3")
        user = start(database, "SELECT 1 FROM credits", "SELECT '\x1b]0;title\x07'")
        [found] = sqlite.users_of(database)
        assert found.pid == user.pid
        program = Path(user.args[0]).name
        assert found.name.startswith(f"{program} -c \\nimport sqlite3, sys")
        assert found.name.isprintable()
        assert len(found.name) == sqlite.users.COMMAND_LENGTH


class TestRefusals:
    @pytest.mark.parametrize("what", [b"", b"x", b"no database" * 1000])
    def test_what_is_no_database_stays_as_it_is(self, tmp_path, what):
        file = tmp_path / "db.sqlite3"
        file.write_bytes(what)
        with pytest.raises(DatabaseDamaged), sqlite.exclusive(file, busy_timeout=0):
            pass
        assert file.read_bytes() == what

    def test_a_missing_database_is_not_made(self, tmp_path):
        with (
            pytest.raises(BackupError, match="does not exist"),
            sqlite.exclusive(tmp_path / "db.sqlite3", busy_timeout=0),
        ):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_another_text_encoding(self, tmp_path):
        database = make_database(tmp_path / "db.sqlite3")
        with closing(sqlite3.connect(tmp_path / "backup")) as connection:
            connection.execute("PRAGMA encoding = 'UTF-16le'")
            connection.execute("CREATE TABLE t (a)")
        with pytest.raises(BackupError, match="encoded as UTF-16le"):
            put_back(database, tmp_path / "backup")
        assert count_rows(database) == 100


class TestEqual:
    """What `require_equal` finds: each change is made behind the back of the one that compares."""

    SCHEMA = '''
    CREATE TABLE plain (a, b);
    CREATE TABLE "odd ""name""" ("a b" TEXT, "select" BLOB);
    CREATE TABLE keyed (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
    CREATE TABLE worked_out (a, b AS (host_function(a)) VIRTUAL, c AS (a + 1) STORED);
    CREATE TABLE collated (k TEXT COLLATE host_collation PRIMARY KEY, v) WITHOUT ROWID;
    CREATE VIRTUAL TABLE words USING fts5(text);
    CREATE VIEW seen AS SELECT host_function(a) FROM plain;
    INSERT INTO plain VALUES (1, 'x'), (2, CAST(x'ff00fe' AS TEXT)), (NULL, 1.5);
    INSERT INTO "odd ""name""" VALUES ('a', x'00');
    INSERT INTO keyed VALUES ('a', 1), ('b', 2);
    INSERT INTO worked_out (a) VALUES (1);
    INSERT INTO collated VALUES ('a', 1), ('b', 2);
    INSERT INTO words VALUES ('found again');
    PRAGMA user_version = 7;
    '''

    @contextmanager
    def host_connection(self, file):
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.create_function("host_function", 1, lambda a: a, deterministic=True)
            connection.create_collation("host_collation", lambda a, b: (a < b) - (a > b))
            yield connection

    def compare(self, tmp_path, change):
        for name in ("db.sqlite3", "backup"):
            with self.host_connection(tmp_path / name) as connection:
                connection.executescript(self.SCHEMA)
        with self.host_connection(tmp_path / "backup") as connection:
            connection.executescript(change)
        with (
            sqlite.exclusive(tmp_path / "db.sqlite3", busy_timeout=0) as live,
            closing(sqlite.open_backup(tmp_path / "backup")) as source,
        ):
            live.require_equal(source)

    def test_two_that_are_equal(self, tmp_path):
        self.compare(tmp_path, "")

    @pytest.mark.parametrize(
        ("change", "where"),
        [
            ("UPDATE plain SET b = 'y' WHERE a = 1", "the table 'plain'"),
            ("UPDATE plain SET b = CAST(x'ff00ff' AS TEXT) WHERE a = 2", "the table 'plain'"),
            ("DELETE FROM plain WHERE a IS NULL", "the table 'plain'"),
            ("INSERT INTO plain VALUES (4, 4)", "the table 'plain'"),
            ('UPDATE "odd ""name""" SET "select" = x\'01\'', "the table 'odd \"name\"'"),
            ("UPDATE keyed SET v = 3 WHERE k = 'b'", "the table 'keyed'"),
            ("UPDATE collated SET v = 3 WHERE k = 'b'", "the table 'collated'"),
            ("UPDATE worked_out SET a = 2", "the table 'worked_out'"),
            ("UPDATE words SET text = 'lost'", "the table 'words_"),
            ("PRAGMA user_version = 8", "its versions"),
            ("CREATE INDEX i ON plain (a)", "its schema"),
        ],
    )
    def test_any_difference_is_found(self, tmp_path, change, where):
        with pytest.raises(DatabaseDamaged) as found:
            self.compare(tmp_path, change)
        assert f"differs from the backup in {where}" in str(found.value)


class TestFullDisk:
    """The room grows page by page from none: at each size, the old state or the new one stands."""

    @pytest.mark.parametrize("combination", COMBINATIONS)
    @pytest.mark.parametrize("grows", [True, False])
    def test_at_every_stage(self, tmp_path, combination, grows):
        mode, backup_mode, page_size = combination
        small, large = {"rows": 30, "body": 500}, {"rows": 300, "body": 1000}
        options = (small, large) if grows else (large, small)
        original = make_database(tmp_path / "db.sqlite3", journal_mode=mode, **options[0])
        backup = make_database(
            tmp_path / "backup", journal_mode=backup_mode, page_size=page_size, **options[1]
        )
        old, new = content(original), content(backup)
        outcomes = []
        with small_disk("8m") as disk:
            database = disk / "db.sqlite3"
            for room in range(0, 3_000_000, 100_000):
                database.write_bytes(original.read_bytes())
                free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
                (disk / "filler").write_bytes(bytes(max(0, free - room)))
                outcome, said = "done", ""
                try:
                    put_back(database, backup)
                except BackupError as error:
                    said = str(error)
                    outcome = "new" if "The backup is in the database" in said else "old"
                (disk / "filler").unlink()
                outcomes.append(outcome)
                assert content(database) == (old if outcome == "old" else new), outcome
                if outcome == "old":
                    assert "holds what it held before" in said
                    assert journal_mode(database) == mode
                for path in disk.iterdir():
                    path.unlink()
        assert outcomes[0] == "old"
        assert outcomes[-1] == "done"
        assert outcomes == sorted(outcomes, key=["old", "new", "done"].index)

    @pytest.mark.parametrize("combination", COMBINATIONS)
    @pytest.mark.parametrize("grows", [True, False])
    def test_what_is_said_to_be_needed_is_enough(self, tmp_path, combination, grows):
        mode, backup_mode, page_size = combination
        small, large = {"rows": 30, "body": 500}, {"rows": 300, "body": 1000}
        options = (small, large) if grows else (large, small)
        original = make_database(tmp_path / "db.sqlite3", journal_mode=mode, **options[0])
        backup = make_database(
            tmp_path / "backup", journal_mode=backup_mode, page_size=page_size, **options[1]
        )
        with small_disk("8m") as disk:
            database = disk / "db.sqlite3"
            database.write_bytes(original.read_bytes())
            with (
                sqlite.exclusive(database, busy_timeout=0) as live,
                closing(sqlite.open_backup(backup)) as source,
            ):
                needed = live.facts.bytes_to_replace(source)
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            (disk / "filler").write_bytes(bytes(free - needed))
            put_back(database, backup)
            assert content(database) == content(backup)
