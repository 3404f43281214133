"""SQLite's ground: what a copy holds, what it does to the database's users, how it ends."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress

import pytest

from tenant_backup import sqlite
from tenant_backup.exceptions import (
    BackupError,
    DatabaseDamaged,
    DatabaseLocked,
    DeadlineExceeded,
    NotEnoughSpace,
    UnfinishedWrite,
)
from tests.conftest import (
    Process,
    assert_true_copy,
    count_rows,
    make_database,
    small_disk,
    take_all_inodes,
)
from tests.lengths import at_length

JOURNAL_MODES = ["wal", "delete"]
COPIES = at_length(5, 20)

# Moves amounts from one table to the other until its input ends; then prints how often it did,
# and the longest that one such transaction took. It pauses in between, since SQLite's locks are not
# fair: two that never pause starve each other, with a backup or without.
WRITER = """
import sqlite3, sys, threading, time
end = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), end.set()), daemon=True).start()
connection = sqlite3.connect(sys.argv[1], timeout=float(sys.argv[2]), isolation_level=None)
connection.execute("PRAGMA synchronous = OFF")
written, longest = 0, 0
while not end.wait(0.001):
    started = time.monotonic()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE credits SET amount = amount + 1 WHERE id = 1 + ? % 50", (written,))
    connection.execute("UPDATE debits SET amount = amount - 1 WHERE id = 1 + ? % 70", (written,))
    connection.execute("COMMIT")
    longest = max(longest, time.monotonic() - started)
    written += 1
    if written == 1:
        print("writing", flush=True)
print(written, longest)
"""

# Holds a database as the statements say until its input ends.
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start():
    """Run Python code in a real process that has said its first line; ended after the test."""
    processes = []

    def start(code, *arguments):
        processes.append(Process(code, *arguments))
        assert processes[-1].line()
        return processes[-1]

    yield start
    for process in processes:
        process.end()


def copy(database, target, **options):
    target.touch(exist_ok=False)
    with (
        sqlite.snapshot(database, busy_timeout=30) as snapshot,
        closing(sqlite.open_copy(target)) as connection,
    ):
        snapshot.copy_to(connection, **options)
    return target


@pytest.fixture
def database(tmp_path):
    return make_database(tmp_path / "db.sqlite3")


class TestWhatACopyHolds:
    def test_rows_that_are_committed_but_only_in_the_log(self, database, tmp_path):
        with closing(sqlite3.connect(database)) as writer:
            writer.execute("PRAGMA wal_autocheckpoint = 0")
            with writer:
                writer.executemany("INSERT INTO credits (amount) VALUES (?)", [(0,)] * 100)
            # The accident that a plain copy of the file is: the rows are not in it.
            plain = shutil.copy(database, tmp_path / "plain.sqlite3")
            assert count_rows(plain) == 100
            assert count_rows(copy(database, tmp_path / "copy.sqlite3")) == 200

    @pytest.mark.parametrize("journal_mode", JOURNAL_MODES)
    def test_no_row_that_is_not_committed(self, tmp_path, journal_mode):
        database = make_database(tmp_path / "db.sqlite3", journal_mode=journal_mode)
        with closing(sqlite3.connect(database, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writer.executemany("INSERT INTO credits (amount) VALUES (?)", [(1,)] * 100)
            assert_true_copy(copy(database, tmp_path / "copy.sqlite3"))
            assert count_rows(tmp_path / "copy.sqlite3") == 100

    def test_no_row_of_later_than_its_snapshot(self, database, tmp_path):
        target = tmp_path / "copy.sqlite3"
        target.touch()
        with (
            closing(sqlite3.connect(database)) as writer,
            sqlite.snapshot(database, busy_timeout=30) as snapshot,
            closing(sqlite.open_copy(target)) as connection,
        ):
            with writer:
                writer.execute("INSERT INTO credits (amount) VALUES (1)")
            snapshot.copy_to(connection)
        assert count_rows(target) == 100
        assert count_rows(copy(database, tmp_path / "later.sqlite3")) == 101

    def test_every_kind_of_schema_object(self, database, tmp_path):
        with closing(sqlite3.connect(database)) as writer, writer:
            writer.executescript(
                """
                CREATE VIEW v AS SELECT amount FROM credits;
                CREATE TRIGGER t AFTER DELETE ON credits BEGIN DELETE FROM debits; END;
                CREATE VIRTUAL TABLE words USING fts5(text);
                INSERT INTO words VALUES ('found again');
                PRAGMA user_version = 7;
                """
            )
        target = copy(database, tmp_path / "copy.sqlite3")
        dumps = []
        for file in (database, target):
            with closing(sqlite3.connect(file)) as connection:
                dumps.append(list(connection.iterdump()))
                assert connection.execute("PRAGMA user_version").fetchone() == (7,)
        assert dumps[0] == dumps[1]

    @pytest.mark.parametrize("page_size", [512, 8192, 65536])
    def test_any_page_size(self, tmp_path, page_size):
        database = make_database(tmp_path / "db.sqlite3", page_size=page_size)
        assert_true_copy(copy(database, tmp_path / "copy.sqlite3"))

    def test_a_linked_database_with_its_log(self, database, tmp_path):
        link = tmp_path / "elsewhere" / "link.sqlite3"
        link.parent.mkdir()
        link.symlink_to(database)
        with closing(sqlite3.connect(database)) as writer:
            with writer:
                writer.execute("INSERT INTO credits (amount) VALUES (0)")
            assert count_rows(copy(link, tmp_path / "copy.sqlite3")) == 101
        assert sorted(path.name for path in link.parent.iterdir()) == ["link.sqlite3"]

    def test_a_path_that_a_uri_must_escape(self, tmp_path):
        folder = tmp_path / "100% of ä? #1 'quoted' & more"
        folder.mkdir()
        database = make_database(folder / "db file?mode=memory.sqlite3")
        assert_true_copy(copy(database, folder / "copy #2?.sqlite3"))


class TestUnderLoad:
    def test_copies_of_200_mb_while_two_processes_write_in_wal_mode(self, tmp_path, start):
        database = make_database(tmp_path / "db.sqlite3", rows=10_000, body=10_000)
        assert database.stat().st_size > 200_000_000
        writers = [start(WRITER, database, 30) for _ in range(2)]
        for number in range(COPIES):
            target = copy(database, tmp_path / f"{number}.sqlite3")
            assert_true_copy(target)
            target.unlink()
        for writer in writers:
            output, errors = writer.communicate("")
            assert writer.returncode == 0, errors
            assert int(output.split()[0]) > COPIES

    def test_a_copy_in_rollback_mode_lets_a_patient_writer_only_wait(self, tmp_path, start):
        database = make_database(
            tmp_path / "db.sqlite3", rows=2_500, body=10_000, journal_mode="delete"
        )
        writers = [start(WRITER, database, 30) for _ in range(2)]
        for number in range(5):
            assert_true_copy(copy(database, tmp_path / f"{number}.sqlite3"))
        for writer in writers:
            output, errors = writer.communicate("")
            assert writer.returncode == 0, errors
            assert int(output.split()[0]) > 1


# A process with a SQLite connection of its own on the tenant's database, in which something else
# reads the same file: by a plain open(), by a look, or by a backup. It says when that has happened.
NEIGHBOUR = """
database = Path(sys.argv[1])
own = sqlite3.connect(database, isolation_level=None)
own.execute("INSERT INTO credits (amount) VALUES (0)")
if sys.argv[2] == "delete":
    own.execute("BEGIN IMMEDIATE")
    own.execute("INSERT INTO credits (amount) VALUES (0)")
if sys.argv[3] == "open":
    database.open("rb").close()
elif sys.argv[3] == "look":
    from tenant_backup import sqlite
    sqlite.look(database, busy_timeout=0)
    sqlite.require_openable(database, busy_timeout=0)
else:
    from tenant_backup import backups
    from tenant_backup.models import Trigger
    from tenant_backup.tenants import get_provider
    order = backups.BackupRequest(trigger=Trigger.COMMAND)
    backups.create(get_provider().get_tenant("acme"), order)
print("read", flush=True)
sys.stdin.readline()
if sys.argv[2] == "delete":
    own.execute("COMMIT")
else:
    own.execute("INSERT INTO credits (amount) VALUES (0)")
print("written", flush=True)
sys.stdin.readline()
"""


class TestAConnectionOfTheSameProcess:
    """POSIX: to close a file drops the locks of every SQLite connection that the process has."""

    def write_elsewhere(self, database):
        """Whether another process may write now, without any patience."""
        code = (
            "import sqlite3, sys\n"
            "connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)\n"
            "connection.execute('BEGIN IMMEDIATE')\n"
            "connection.execute('ROLLBACK')\n"
            "connection.close()\n"
        )
        other = subprocess.run(
            [sys.executable, "-c", code, str(database)], capture_output=True, text=True
        )
        assert other.returncode == 0 or "database is locked" in other.stderr, other.stderr
        return other.returncode == 0

    @pytest.mark.parametrize(("what", "lost"), [("open", True), ("backup", False), ("look", False)])
    def test_keeps_its_write_lock_in_rollback_mode(self, host, what, lost):
        database = host.add_tenant(journal_mode="delete") / "db.sqlite3"
        process = host.start(NEIGHBOUR, database, "delete", what)
        assert process.line() == "read"
        assert self.write_elsewhere(database) is lost
        if not lost:
            process.go_on()
            assert process.line() == "written"
            assert count_rows(database) == 102

    @pytest.mark.parametrize(("what", "lost"), [("open", True), ("backup", False), ("look", False)])
    def test_loses_no_row_in_wal_mode(self, host, what, lost):
        database = host.add_tenant() / "db.sqlite3"
        process = host.start(NEIGHBOUR, database, "wal", what)
        assert process.line() == "read"
        # Another process comes and goes. Unless it sees our neighbour's locks, it takes itself for
        # the last one and removes the log that the neighbour goes on to write to.
        assert self.write_elsewhere(database)
        process.go_on()
        assert process.line() == "written"
        with closing(sqlite3.connect(database)) as reader:
            rows = reader.execute("SELECT count(*) FROM credits").fetchone()[0]
        assert rows == (101 if lost else 102)


class TestRefusals:
    @pytest.mark.parametrize(
        ("journal_mode", "statements"),
        [
            ("delete", ["BEGIN EXCLUSIVE"]),
            ("wal", ["PRAGMA locking_mode = EXCLUSIVE", "UPDATE credits SET amount = 0"]),
        ],
    )
    def test_a_locked_database_is_an_error_after_the_busy_timeout(
        self, tmp_path, start, journal_mode, statements
    ):
        database = make_database(tmp_path / "db.sqlite3", journal_mode=journal_mode)
        start(HOLDER, database, *statements)
        started = time.monotonic()
        with (
            pytest.raises(DatabaseLocked, match=r"db\.sqlite3 was locked .* 0\.4 seconds"),
            sqlite.snapshot(database, busy_timeout=0.4),
        ):
            pass
        assert 0.4 <= time.monotonic() - started < 3  # SQLite's own patience is 5

    def test_a_lock_that_ends_in_time_is_waited_for(self, tmp_path, start):
        database = make_database(tmp_path / "db.sqlite3", journal_mode="delete")
        holder = start(HOLDER, database, "BEGIN EXCLUSIVE")
        holder.stdin.close()
        assert_true_copy(copy(database, tmp_path / "copy.sqlite3"))

    def test_a_full_disk_on_which_a_log_has_no_room(self):
        with small_disk("1m") as disk:
            database = make_database(disk / "db.sqlite3")
            facts = os.statvfs(disk)
            (disk / "filler").write_bytes(bytes(facts.f_bavail * facts.f_frsize))
            with (
                pytest.raises(NotEnoughSpace, match=rf"{database} cannot .* its disk is full"),
                sqlite.snapshot(database, busy_timeout=0),
            ):
                pass

    def test_a_disk_without_inodes_on_which_a_log_cannot_be_made(self):
        with small_disk("4m,nr_inodes=20") as disk:
            database = make_database(disk / "db.sqlite3")
            take_all_inodes(disk)
            with (
                pytest.raises(NotEnoughSpace, match=r"out of inodes: all 20 are taken"),
                sqlite.snapshot(database, busy_timeout=0),
            ):
                pass

    def test_a_missing_database(self, tmp_path):
        with (
            pytest.raises(BackupError, match=r"db\.sqlite3 does not exist"),
            sqlite.snapshot(tmp_path / "db.sqlite3", busy_timeout=0),
        ):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_a_directory(self, tmp_path):
        with (
            pytest.raises(BackupError, match="is a directory"),
            sqlite.snapshot(tmp_path, busy_timeout=0),
        ):
            pass

    def test_a_pipe_is_refused_and_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with (
            pytest.raises(BackupError, match="pipe is not a regular file"),
            sqlite.snapshot(tmp_path / "pipe", busy_timeout=0),
        ):
            pass

    def test_a_link_that_leads_to_itself(self, tmp_path):
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with (
            pytest.raises(BackupError, match="loop cannot be reached"),
            sqlite.snapshot(tmp_path / "loop", busy_timeout=0),
        ):
            pass

    @pytest.mark.parametrize("content", [b"x", b"no database" * 1000])
    def test_a_file_that_is_not_sqlite(self, tmp_path, content):
        file = tmp_path / "notes.txt"
        file.write_bytes(content)
        with (
            pytest.raises(DatabaseDamaged, match=r"notes\.txt is not a SQLite database"),
            sqlite.snapshot(file, busy_timeout=0),
        ):
            pass
        assert file.read_bytes() == content

    def test_a_header_of_an_impossible_format_is_damage(self, tmp_path):
        """SQLite has a code for most damage, and for this one only words."""
        file = make_database(tmp_path / "db.sqlite3", journal_mode="delete")
        with file.open("r+b") as stream:
            stream.seek(47)
            stream.write(b"\x05")
        damaged = pytest.raises(DatabaseDamaged, match="unsupported file format")
        with damaged, sqlite.snapshot(file, busy_timeout=0):
            pass
        with pytest.raises(DatabaseDamaged, match="unsupported file format"):
            sqlite.check(file)

    def test_an_empty_file(self, tmp_path):
        file = tmp_path / "empty.sqlite3"
        file.touch()
        with (
            pytest.raises(DatabaseDamaged, match=r"empty\.sqlite3 is empty"),
            sqlite.snapshot(file, busy_timeout=0),
        ):
            pass

    def test_a_damaged_database(self, database, tmp_path):
        size = database.stat().st_size
        os.truncate(database, size - size // 3)
        with pytest.raises(DatabaseDamaged, match=r"db\.sqlite3 is damaged"):
            copy(database, tmp_path / "copy.sqlite3")


# Leaves a log that holds a change, but not the first page; or all pages that it wrote to.
KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint = 0")
if sys.argv[2] == "small":
    connection.execute("UPDATE credits SET amount = 7 WHERE id = 1")
else:
    connection.executemany("INSERT INTO credits (body) VALUES (?)", [(bytes(1000),)] * 99)
os.kill(os.getpid(), signal.SIGKILL)
"""

DAMAGES = {
    "empty": lambda file: os.truncate(file, 0),
    "one byte": lambda file: os.truncate(file, 1),
    "part of the header": lambda file: os.truncate(file, 50),
    "part of a page": lambda file: os.truncate(file, 1000),
    "one page": lambda file: os.truncate(file, 4096),
    "rubbish": lambda file: file.write_bytes(b"rubbish" * 3000),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "sound": lambda file: None,
}


def copy_and_forget(database):
    with sqlite.snapshot(database, busy_timeout=0) as snapshot:
        target = database.with_name("copy")
        target.touch()
        with closing(sqlite.open_copy(target)) as connection:
            snapshot.copy_to(connection)


def look_inside(database):
    with sqlite.snapshot(database, busy_timeout=0, only_look=True) as snapshot:
        snapshot.contents()


class TestWhatAKilledProcessLeft:
    """SQLite deletes the log of an empty database, and writes it into one that was overwritten."""

    @pytest.mark.parametrize("damage", DAMAGES)
    @pytest.mark.parametrize("log", ["small", "large"])
    def test_is_not_touched_by_a_look_or_a_copy(self, database, damage, log):
        Process(KILLED, database, log).close()
        DAMAGES[damage](database)
        wal = database.with_name("db.sqlite3-wal")
        before = wal.read_bytes(), database.read_bytes()
        assert before[0]
        for look in (
            lambda: sqlite.look(database, busy_timeout=0),
            lambda: sqlite.require_openable(database, busy_timeout=0),
            lambda: look_inside(database),
            lambda: copy_and_forget(database),
        ):
            with suppress(BackupError):
                look()
                assert damage not in {"empty", "one byte"}
            assert (wal.read_bytes(), database.read_bytes()) == before

    @pytest.mark.parametrize("damage", ["empty", "one byte", "rubbish", "zeros"])
    def test_is_named_and_left_by_who_wanted_the_database_alone(self, database, damage):
        Process(KILLED, database, "small").close()
        DAMAGES[damage](database)
        wal = database.with_name("db.sqlite3-wal")
        before = wal.read_bytes(), database.read_bytes()
        with (
            pytest.raises(DatabaseDamaged, match=r"may be in db\.sqlite3-wal beside it"),
            sqlite.exclusive(database, busy_timeout=0),
        ):
            pass
        assert (wal.read_bytes(), database.read_bytes()) == before
        assert sqlite.left_behind(database) == [wal]

    def test_is_in_the_copy_of_a_sound_database(self, database, tmp_path):
        Process(KILLED, database, "large").close()
        assert count_rows(copy(database, tmp_path / "copy.sqlite3")) == 199

    @pytest.mark.parametrize("damage", ["empty", "rubbish", "sound"])
    def test_a_journal_is_not_played_back_by_a_look(self, tmp_path, damage):
        database = make_database(tmp_path / "db.sqlite3", journal_mode="delete", rows=300)
        Process(KILLED_IN_A_TRANSACTION, database).close()
        DAMAGES[damage](database)
        journal = database.with_name("db.sqlite3-journal")
        before = journal.read_bytes(), database.read_bytes()
        if damage == "sound":
            facts = sqlite.look(database, busy_timeout=0)
            assert (facts.journal_mode, facts.encoding) == ("delete", "UTF-8")
            with pytest.raises(UnfinishedWrite, match="undoes the unfinished change"):
                look_inside(database)
        else:
            for look in (sqlite.look, sqlite.require_openable):
                with pytest.raises(DatabaseDamaged, match=r"db\.sqlite3-journal"):
                    look(database, busy_timeout=0)
            with pytest.raises(DatabaseDamaged, match=r"db\.sqlite3-journal"):
                copy(database, tmp_path / "copy.sqlite3")
        assert (journal.read_bytes(), database.read_bytes()) == before


KILLED_IN_A_TRANSACTION = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 5")
connection.execute("BEGIN")
connection.executemany(
    "INSERT INTO credits (amount, body) VALUES (0, ?)", [(os.urandom(1000),)] * 500
)
os.kill(os.getpid(), signal.SIGKILL)
"""


class TestProgressAndDeadline:
    def test_progress_grows_to_the_size_of_the_copy(self, tmp_path):
        database = make_database(tmp_path / "db.sqlite3", rows=1000, body=10_000)
        seen = []
        target = copy(database, tmp_path / "copy.sqlite3", progress=lambda *args: seen.append(args))
        assert len(seen) > 3
        assert seen == sorted(seen)
        assert seen[-1] == (target.stat().st_size, target.stat().st_size)

    def test_a_copy_is_given_up_at_the_deadline(self, database, tmp_path):
        with pytest.raises(DeadlineExceeded, match=r"db\.sqlite3 took longer"):
            copy(database, tmp_path / "copy.sqlite3", deadline=time.monotonic())

    def test_what_progress_raises_ends_the_copy(self, database, tmp_path):
        def stop(done, total):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            copy(database, tmp_path / "copy.sqlite3", progress=stop)
        # And the database is free again.
        with closing(sqlite3.connect(database, timeout=0)) as writer, writer:
            writer.execute("INSERT INTO credits (amount) VALUES (0)")


class TestCheck:
    @pytest.fixture
    def large(self, tmp_path):
        """Enough rows for SQLite to look at the clock during the check."""
        return make_database(tmp_path / "db.sqlite3", rows=200_000, body=10)

    def test_leaves_nothing_beside_a_copy_in_wal_mode(self, database, tmp_path):
        folder = tmp_path / "copies"
        folder.mkdir()
        assert sqlite.check(copy(database, folder / "copy.sqlite3")) is True
        assert [path.name for path in folder.iterdir()] == ["copy.sqlite3"]

    def test_is_given_up_at_the_deadline(self, large):
        with pytest.raises(DeadlineExceeded, match="Checking"):
            sqlite.check(large, deadline=time.monotonic())

    def test_a_signal_interrupts_it_and_is_not_read_as_damage(self, large):
        class Alarm(SystemExit):
            pass

        def ring(*args):
            raise Alarm

        previous = signal.signal(signal.SIGALRM, ring)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.005)
            # Usually the alarm itself. It may ring where sqlite3 drops it; even then the check is
            # said to be interrupted.
            with pytest.raises((Alarm, BackupError)) as caught:
                sqlite.check(large)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        assert not isinstance(caught.value, DatabaseDamaged)
        assert isinstance(caught.value, Alarm) or "interrupted" in str(caught.value)

    def test_finds_an_index_that_contradicts_its_table_only_when_full(self, tmp_path):
        database = make_database(tmp_path / "db.sqlite3", rows=2000, journal_mode="delete")
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(
                "UPDATE sqlite_master SET sql = replace(sql, '(amount)', '(id)') "
                "WHERE name = 'credits_amount'"
            )
            connection.commit()
        sqlite.check(database, full=False)
        with pytest.raises(DatabaseDamaged, match=r"db\.sqlite3 is damaged: .*credits_amount"):
            sqlite.check(database)

    @pytest.mark.parametrize("full", [True, False])
    def test_finds_a_truncated_file(self, database, full):
        os.truncate(database, database.stat().st_size - 4096)
        with pytest.raises(DatabaseDamaged):
            sqlite.check(database, full=full)

    def test_finds_what_is_no_database(self, tmp_path):
        (tmp_path / "file").write_bytes(b"nothing" * 1000)
        with pytest.raises(DatabaseDamaged, match="not a sound SQLite database"):
            sqlite.check(tmp_path / "file")

    @pytest.mark.parametrize(
        "schema",
        [
            "CREATE INDEX i ON t (host_function(a))",
            "CREATE INDEX i ON t (a) WHERE host_function(a) = 'x'",
            "CREATE INDEX i ON t (a COLLATE host_collation)",
            "CREATE TABLE u (a CHECK (host_function(a) = 'x'))",
            "CREATE TABLE u (a, b AS (host_function(a)) VIRTUAL)",
            "CREATE TABLE u (a, b NOT NULL AS (host_function(a)) VIRTUAL)",
            "CREATE TABLE u (a, b AS (host_function(a)) STORED)",
        ],
    )
    @pytest.mark.parametrize("full", [True, False])
    def test_a_schema_with_functions_of_the_host_is_no_damage(self, tmp_path, schema, full):
        database = tmp_path / "db.sqlite3"
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.create_function("host_function", 1, lambda a: a, deterministic=True)
            connection.create_collation("host_collation", lambda a, b: (a < b) - (a > b))
            connection.execute("CREATE TABLE t (a TEXT)")
            connection.execute(schema)
            connection.executemany("INSERT INTO t VALUES (?)", [("x",), ("y",), ("z",)])
            if "TABLE u" in schema:
                connection.execute("INSERT INTO u (a) VALUES ('x')")
        sqlite.check(database, full=full)
        os.truncate(database, database.stat().st_size - 4096)
        with pytest.raises(DatabaseDamaged):
            sqlite.check(database, full=full)

    def test_one_table_with_functions_of_the_host_keeps_no_other_from_the_full_check(
        self, tmp_path
    ):
        database = make_database(tmp_path / "db.sqlite3", rows=2000, journal_mode="delete")
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.create_function("host_function", 1, lambda a: a, deterministic=True)
            connection.execute("CREATE TABLE t (a TEXT)")
            connection.execute("CREATE INDEX i ON t (host_function(a))")
            assert sqlite.check(database) is False
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(
                "UPDATE sqlite_master SET sql = replace(sql, '(amount)', '(id)') "
                "WHERE name = 'credits_amount'"
            )
        with pytest.raises(DatabaseDamaged, match="credits_amount"):
            sqlite.check(database)

    @pytest.fixture
    def slow(self, tmp_path, monkeypatch):
        """A database whose check takes long, by a clock that is looked at often."""
        monkeypatch.setattr(sqlite.deadlines, "CHECK_STEPS", 100)
        return make_database(tmp_path / "slow.sqlite3", rows=2000, body=10)

    @pytest.mark.parametrize("full", [True, False])
    def test_gives_signs_of_life_meanwhile(self, slow, full):
        seen = []
        assert sqlite.check(slow, full=full, sign_of_life=lambda: seen.append(slow)) is True
        assert len(seen) > 10

    def test_gives_them_before_a_deadline_that_is_far(self, slow):
        seen = []
        sqlite.check(slow, deadline=time.monotonic() + 600, sign_of_life=lambda: seen.append(slow))
        assert len(seen) > 10

    @pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, OSError, sqlite3.Error])
    def test_what_a_sign_of_life_raises_is_raised_and_no_damage(self, slow, raised):
        calls = []

        def stop():
            calls.append(1)
            raise raised("enough")

        with pytest.raises((raised, BackupError)) as caught:
            sqlite.check(slow, sign_of_life=stop)
        assert not isinstance(caught.value, DatabaseDamaged)
        assert "enough" in str(caught.value)
        assert calls == [1]

    def test_a_table_with_functions_of_the_host_is_looked_at_with_signs_of_life(self, slow):
        with closing(sqlite3.connect(slow)) as connection, connection:
            connection.create_function("host_function", 1, lambda a: a, deterministic=True)
            connection.execute("CREATE TABLE t (a TEXT)")
            connection.execute("CREATE INDEX i ON t (host_function(a))")
        seen = []
        assert sqlite.check(slow, sign_of_life=lambda: seen.append(slow)) is False
        assert len(seen) > 10


class TestFingerprint:
    @pytest.fixture
    def chunks(self, tmp_path, monkeypatch):
        """A file of five chunks, the last one short."""
        monkeypatch.setattr(sqlite.checks, "CHUNK_BYTES", 10)
        (tmp_path / "file").write_bytes(b"x" * 45)
        return tmp_path / "file"

    def test_gives_a_sign_of_life_with_each_chunk(self, chunks):
        seen = []
        found = sqlite.fingerprint(chunks, sign_of_life=lambda: seen.append(chunks))
        assert len(seen) == 5
        assert found == sqlite.fingerprint(chunks)
        assert found.size == 45

    def test_is_given_up_at_the_deadline(self, chunks):
        with pytest.raises(DeadlineExceeded) as refusal:
            sqlite.fingerprint(chunks, deadline=time.monotonic() - 1)
        assert str(refusal.value) == (f"Reading {chunks} took longer than allowed and was stopped.")

    def test_is_given_up_on_the_way(self, chunks, monkeypatch):
        times = iter([1, 2, 3, 4, 5])

        class Clock:
            @staticmethod
            def monotonic():
                return next(times)

        monkeypatch.setattr(sqlite.deadlines, "time", Clock)
        seen = []
        with pytest.raises(DeadlineExceeded):
            sqlite.fingerprint(chunks, deadline=3, sign_of_life=lambda: seen.append(chunks))
        assert len(seen) == 3

    def test_a_deadline_that_is_far_changes_nothing(self, chunks):
        found = sqlite.fingerprint(chunks, deadline=time.monotonic() + 600)
        assert found == sqlite.fingerprint(chunks)

    def test_what_a_sign_of_life_raises_is_raised(self, chunks):
        def stop():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            sqlite.fingerprint(chunks, sign_of_life=stop)


def test_the_fingerprint_is_the_size_and_the_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert sqlite.fingerprint(tmp_path / "file") == sqlite.Fingerprint(
        3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
