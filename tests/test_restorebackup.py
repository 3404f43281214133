"""`restorebackup` as its operator runs it: real processes, a real catalog, real crashes."""

import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress

import pytest

from tests.conftest import (
    AS_ROOT,
    NOBODY,
    Host,
    Process,
    assert_true_copy,
    count_rows,
    make_database,
    names_in,
    open_backup,
    small_disk,
)
from tests.lengths import at_length
from tests.test_sqlite_restore import JOURNAL_MODES, KILLED, USER

KILLS = int(os.environ.get("TEST_RESTORE_KILLS", at_length(8, 16)))
MEGABYTES = int(os.environ.get("TEST_RESTORE_MEGABYTES", "12"))

PUTTING = "Copying the backup into the database."
CHECKING = "Checking the result."


def restore(host, *arguments, **options):
    return host.run("restorebackup", *arguments, **options)


def digest(connection):
    """What two databases that hold the same rows have in common. Checks that it is sound."""
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    whole = hashlib.sha256()
    for table in ("credits", "debits"):
        for row in connection.execute(f"SELECT * FROM {table} ORDER BY id"):
            whole.update(repr(row).encode())
    return whole.hexdigest()


def state(database):
    with closing(sqlite3.connect(database)) as connection:
        return digest(connection)


def state_of_backup(file):
    with closing(open_backup(file)) as connection:
        return digest(connection)


def add_rows(database, rows=10):
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany("INSERT INTO credits (amount) VALUES (?)", [(0,)] * rows)


def journal_mode(database):
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


def overwrite_page(database, number):
    with database.open("r+b") as stream:
        stream.seek((number - 1) * 4096)
        stream.write(b"\xff" * 4096)


@pytest.fixture(params=["wal", "delete"])
def mode(request):
    return request.param


@pytest.fixture(scope="session")
def backed_up(tmp_path_factory, migrated_catalog):
    """A host whose tenant has one backup, to be copied."""
    host = new_host(tmp_path_factory, migrated_catalog)
    host.add_tenant()
    done = host.run("runbackup")
    assert done.returncode == 0, done.stderr
    return host


def new_host(tmp_path_factory, migrated_catalog):
    directory = tmp_path_factory.mktemp("host")
    shutil.copy(migrated_catalog, directory / "control.sqlite3")
    return Host(directory)


@pytest.fixture
def root(host, backed_up):
    """A tenant with one backup, and ten rows more since."""
    shutil.copytree(backed_up.directory, host.directory, dirs_exist_ok=True)
    root = host.tenants / "acme"
    add_rows(root / "db.sqlite3")
    return root


@pytest.fixture
def backup(host, root):
    return root / "backups" / host.catalog()[0]["file"]


class TestRestore:
    def test_the_backup_is_back_and_can_be_undone(self, host, mode):
        root = host.add_tenant(journal_mode=mode)
        database = root / "db.sqlite3"
        database.chmod(0o640)
        if AS_ROOT:
            os.chown(database, NOBODY, NOBODY)
        old = state(database)
        host.run("runbackup", "--label", "a good one")
        add_rows(database)
        new = state(database)
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 0, done.stderr
        assert state(database) == old
        assert journal_mode(database) == mode
        assert database.stat().st_mode & 0o777 == 0o640
        if AS_ROOT:
            assert database.stat().st_uid == NOBODY
        for words in (f"{database}\n", '"a good one"', f"journal mode {mode}", "verified"):
            assert words in done.stdout
        safety_copy, first = host.catalog()
        assert (safety_copy["trigger"], safety_copy["pinned"]) == ("restore", True)
        assert safety_copy["label"] == f"before the restore of {first['file']}"
        assert state_of_backup(root / "backups" / safety_copy["file"]) == new
        add_rows(database, 1)

        assert "Passwords, permissions and sessions" in done.stdout.splitlines()[-2]
        undo = done.stdout.splitlines()[-1]
        assert undo == f"To undo: python manage.py restorebackup acme {safety_copy['file']}"
        assert restore(host, *shlex.split(undo)[5:], "--no-input").returncode == 0
        assert state(database) == new

    def test_the_latest_is_no_safety_copy(self, host, root):
        restore(host, "acme", "--latest", "--no-input")
        done = restore(host, "acme", "--latest", "--no-input", "--json")
        assert json.loads(done.stdout)["backups"][0]["id"] == 1

    def test_by_file_name(self, host, root, backup):
        assert restore(host, "acme", backup.name, "--no-input").returncode == 0
        assert state(root / "db.sqlite3") == state_of_backup(backup)

    def test_by_the_path_of_one_of_its_own(self, host, root, backup):
        done = restore(host, "acme", backup, "--no-input", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["backups"][0]["id"] == 1

    def test_json(self, host, root, backup):
        done = restore(host, "acme", "1", "--no-input", "--json")
        answer = json.loads(done.stdout)
        assert answer["ok"] is True
        assert [row["id"] for row in answer["backups"]] == [1, 2]
        assert answer["tenants"] == [
            {
                "id": "acme",
                "database": str(root / "db.sqlite3"),
                "restored_from": str(backup),
                "safety_copy": str(root / "backups" / answer["backups"][1]["file"]),
                "undo": f"python manage.py restorebackup acme {answer['backups'][1]['file']}",
                "notes": [],
            }
        ]

    def test_the_history_says_who_and_what(self, host, root, backup):
        restore(host, "acme", "1", "--no-input", LOGNAME="olga")
        events = host.query(
            "SELECT file_name, actor, detail, backup_id FROM tenant_backup_event "
            "WHERE kind = 'restored'"
        )
        safety_copy = host.catalog()[0]["file"]
        assert events == [(backup.name, "olga", f"State before: {safety_copy}", 1)]

    def test_a_linked_database(self, host, root, backup):
        database = root / "db.sqlite3"
        database.rename(host.directory / "elsewhere.sqlite3")
        database.symlink_to(host.directory / "elsewhere.sqlite3")
        assert restore(host, "acme", "1", "--no-input").returncode == 0
        assert database.is_symlink()
        assert state(database) == state_of_backup(backup)

    def test_a_queued_backup_becomes_the_safety_copy(self, host, root):
        host.start(
            "from tenant_backup import backups\n"
            "from tenant_backup.models import Trigger\n"
            "from tenant_backup.tenants import get_provider\n"
            "request = backups.BackupRequest(trigger=Trigger.MANUAL, label='mine')\n"
            "backups.request(get_provider().get_tenant('acme'), request)"
        ).communicate(timeout=60)
        assert restore(host, "acme", "1", "--no-input").returncode == 0
        row = host.catalog()[0]
        assert (row["status"], row["trigger"], row["pinned"]) == ("complete", "restore", True)
        assert row["label"].startswith("mine; before the restore of")

    def test_our_own_connections_are_closed_first(self, host, root):
        """The tenant's alias is registered at run time, as tenancy packages do."""
        code = (
            "from django.db import connections, transaction\n"
            "connections.databases['acme'] = {**connections.databases['default'],"
            " 'NAME': sys.argv[1]}\n"
            "def count():\n"
            "    with connections['acme'].cursor() as cursor:\n"
            "        return cursor.execute('SELECT count(*) FROM credits').fetchone()[0]\n"
            "def restore():\n"
            "    command('restorebackup', 'acme', '1', interactive=False, verbosity=0)\n"
            "print(count())\n"
            "with transaction.atomic(using='acme'):\n"
            "    count()\n"
            "    try: restore()\n"
            "    except Exception as error: print(error)\n"
            "restore()\n"
            "print(count())"
        )
        output, errors = host.start(code, root / "db.sqlite3").communicate(timeout=60)
        before, refused, after = output.splitlines()
        assert (before, after) == ("110", "100"), errors
        assert "cannot be restored while this process has a transaction open on it" in refused

    def test_while_another_process_makes_a_backup(self, host, root):
        code = (
            "from tenant_backup import backups, lock\n"
            "from tenant_backup.tenants import get_provider\n"
            "with lock.hold(backups.directory_of(get_provider().get_tenant('acme')), wait=0):\n"
            "    print('held', flush=True)\n"
            "    sys.stdin.readline()"
        )
        assert host.start(code).line() == "held"
        before = state(root / "db.sqlite3")
        done = restore(host, "acme", "1", "--no-input", TEST_BUSY_TIMEOUT="0.2")
        assert done.returncode == 1
        assert "Another process is working on the backups" in done.stderr
        assert state(root / "db.sqlite3") == before

    @pytest.mark.skipif(not AS_ROOT, reason="Only root makes files for others.")
    def test_a_safety_copy_elsewhere_belongs_to_the_tenants_owner(self, host, root):
        for path in (root, *root.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        theirs = host.directory / "theirs"
        safe = theirs / "safe"
        safe.mkdir(parents=True)
        safe.chmod(0o700)
        os.chown(theirs, NOBODY - 1, NOBODY - 1)
        done = restore(host, "acme", "1", "--no-input", "--safety-copy-to", safe)
        assert done.returncode == 0, done.stderr
        copies = list(safe.iterdir())
        assert len(copies) == 2
        assert {path.stat().st_uid for path in copies} == {NOBODY}


# What Ctrl-C does to the process, in the middle of the copy and of the comparison.
INTERRUPT = """
from tqdm import tqdm
from tenant_backup import sqlite
from django.core.management import execute_from_command_line
sqlite.snapshots.CHUNK_BYTES = 4096
def interrupt(*arguments): os.kill(os.getpid(), signal.SIGINT)
%s = interrupt
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


class TestInterrupted:
    """It says which state holds, and how to get the other one."""

    def interrupt(self, host, where):
        process = host.start(INTERRUPT % where, "restorebackup", "acme", "1", "--no-input")
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        safety_copy = host.catalog()[0]
        assert (safety_copy["trigger"], safety_copy["status"]) == ("restore", "complete")
        return errors, safety_copy

    def test_while_it_asks(self, host, root):
        before = state(root / "db.sqlite3")
        process = host.start(INTERRUPT % "__builtins__.input", "restorebackup", "acme", "1")
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (130, "Nothing was done.\n")
        assert state(root / "db.sqlite3") == before
        assert len(host.catalog()) == 1

    def test_while_the_backup_is_put_in_its_place(self, host, root):
        before = state(root / "db.sqlite3")
        said, safety_copy = self.interrupt(host, "tqdm.update")
        assert said == (
            f"Interrupted. {root / 'db.sqlite3'} was not changed. The safety copy "
            f"just made is kept: {safety_copy['file']}.\n"
        )
        assert state(root / "db.sqlite3") == before

    def test_while_the_result_is_checked(self, host, root, backup):
        said, safety_copy = self.interrupt(host, "sqlite.exclusive_use.first_difference")
        assert said == (
            f"Interrupted. The backup is in {root / 'db.sqlite3'}, but the check of "
            "the result was not finished. Run the same command again. To undo: python manage.py "
            f"restorebackup acme {safety_copy['file']}\n"
        )
        assert state(root / "db.sqlite3") == state_of_backup(backup)


class TestKilledLate:
    """Between the commit and the end the database may be in another journal mode."""

    @pytest.mark.parametrize("page_size", [4096, 8192])
    @pytest.mark.parametrize("backup_mode", JOURNAL_MODES)
    @pytest.mark.parametrize("undo", [False, True], ids=["again", "undone"])
    def test_the_next_restore_gives_it_its_journal_mode_back(
        self, host, mode, backup_mode, page_size, undo
    ):
        root = host.add_tenant(journal_mode=backup_mode, page_size=page_size)
        database = root / "db.sqlite3"
        host.run("runbackup")
        for path in root.glob("db.*"):
            path.unlink()
        make_database(database, rows=300, journal_mode=mode)
        before = state(database)
        process = host.start(
            "from tenant_backup import sqlite\n"
            "sqlite.Exclusive.finalise = die\n"
            "command('restorebackup', 'acme', '1', '--no-input')"
        )
        host.assert_killed(process)
        safety_copy = host.catalog()[0]["file"]
        done = restore(host, "acme", safety_copy if undo else "1", "--no-input")
        assert done.returncode == 0, done.stderr
        assert f"journal mode {mode}, which it keeps" in done.stdout
        assert journal_mode(database) == mode
        assert (state(database) == before) == undo
        assert not list(root.glob(".db.*"))

    def test_a_note_about_another_file_says_nothing(self, host, root):
        (root / ".db.sqlite3.journal-mode").write_text("delete 1\n")
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 0, done.stderr
        assert journal_mode(root / "db.sqlite3") == "wal"
        assert not list(root.glob(".db.*"))


class TestQuestions:
    def test_lists_the_good_ones_asks_which_and_asks_again(self, host, root, backup):
        done = restore(host, "acme", answers="1\nacme\n")
        assert done.returncode == 0, done.stderr
        assert re.search(
            rf"^1 +\S+ \S+  (?:just now|\d+\sminutes? ago) .* command  {backup.name}$",
            done.stdout,
            re.M,
        )
        assert "To continue, type the tenant's id (acme): " in done.stdout
        assert state(root / "db.sqlite3") == state_of_backup(backup)

    def test_any_other_answer_changes_nothing(self, host, root):
        before = state(root / "db.sqlite3")
        for answers, status, says in [
            ("", 2, "There is nobody to ask. Nothing was done."),
            ("1\n", 2, "There is nobody to ask."),
            ("1\nacme2\n", 1, "That is not the tenant's id. Nothing was done."),
            ("1\nyes\n", 1, "That is not the tenant's id."),
            ("7\n", 2, "'acme' has no backup 7."),
            ("\n", 2, "'acme' has no backup"),
        ]:
            done = restore(host, "acme", answers=answers)
            assert done.returncode == status
            assert says in done.stderr
            # What is said on the error output begins a line, also after a question without answer.
            assert done.stdout.endswith("\n") == says.startswith("There is nobody")
        assert state(root / "db.sqlite3") == before
        assert len(host.catalog()) == 1

    def test_usage_errors(self, host, root):
        for arguments, says in [
            (["acm", "1", "--no-input"], "There is no tenant acm"),
            (["acme", "2", "--no-input"], "'acme' has no backup 2."),
            (["acme", "9" * 30, "--no-input"], "has no backup 999"),
            (["acme", "no-such.sqlite3", "--no-input"], "has no backup no-such"),
            (["acme", "/no/such.sqlite3", "--no-input"], "There is no file /no/such.sqlite3"),
            (["acme", "--no-input"], "name a backup or use --latest"),
            (["acme", "1", "--latest"], "not both"),
            (["acme", "1", "--json"], "it needs --no-input"),
            (["acme", "1", "--no-input", "--safety-copy-to", "/no/such"], "is not a directory"),
        ]:
            done = restore(host, *arguments)
            assert done.returncode == 2
            assert says in done.stderr
        assert len(host.catalog()) == 1

    def test_without_the_catalogs_tables_not_even_a_path_will_do(self, host, root, backup):
        before = state(root / "db.sqlite3")
        (host.directory / "control.sqlite3").unlink()
        done = restore(host, "acme", backup, "--no-input")
        assert done.returncode == 1
        assert "Has manage.py migrate been run?" in done.stderr
        assert state(root / "db.sqlite3") == before
        assert host.run("migrate", "--verbosity", "0").returncode == 0
        assert restore(host, "acme", backup, "--no-input").returncode == 0
        assert state(root / "db.sqlite3") == state_of_backup(backup)

    def test_a_backup_of_another_tenant_is_none_of_this_one(self, host, root):
        host.add_tenant("globex")
        host.run("runbackup", "globex")
        assert restore(host, "acme", "2", "--no-input").returncode == 2


class TestDamage:
    """Each is refused before anything is touched, and the catalog knows from then on."""

    def flip(self, file):
        with file.open("r+b") as stream:
            stream.seek(9000)
            (byte,) = stream.read(1)
            stream.seek(9000)
            stream.write(bytes([byte ^ 1]))

    def swap(self, file):
        other = make_database(file.with_name("other"), rows=3)
        other.replace(file)

    def truncate(self, file):
        os.truncate(file, file.stat().st_size - 4096)

    def empty(self, file):
        os.truncate(file, 0)

    @pytest.mark.parametrize("by", ["id", "path"])
    def test_is_refused_and_marked(self, host, root, backup, by):
        before, content = state(root / "db.sqlite3"), backup.read_bytes()
        for what, says in [
            (self.flip, "is damaged: its SHA-256 is not"),
            (self.swap, "is damaged: it has "),
            (self.truncate, "is damaged: it has "),
            (self.empty, "is damaged: it has 0 bytes instead of"),
        ]:
            backup.write_bytes(content)
            host.query("UPDATE tenant_backup_backup SET damaged_at = NULL")
            what(backup)
            done = restore(host, "acme", "1" if by == "id" else backup, "--no-input")
            assert done.returncode == 1
            assert says in done.stderr
            assert state(root / "db.sqlite3") == before
            ((damaged_at,),) = host.query("SELECT damaged_at FROM tenant_backup_backup")
            assert damaged_at
        assert names_in(root / "backups") == [backup.name, f"{backup.name}.sha256"]

    def test_a_missing_file(self, host, root, backup):
        backup.unlink()
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 1
        assert f"{backup} is missing" in done.stderr
        ((missing_at,),) = host.query("SELECT missing_at FROM tenant_backup_backup")
        assert missing_at

    def test_a_link_in_its_place(self, host, root, backup):
        backup.rename(host.directory / "elsewhere")
        backup.symlink_to(host.directory / "elsewhere")
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 1
        assert "is not a regular file" in done.stderr


class TestFilesFromElsewhere:
    @pytest.fixture
    def elsewhere(self, host):
        folder = host.directory / "a 'stick'"
        folder.mkdir()
        return folder

    def test_a_copy_of_one_of_its_own_is_known_by_its_checksum(self, host, root, backup, elsewhere):
        shutil.copy(backup, elsewhere)
        done = restore(host, "acme", elsewhere / backup.name, answers="acme\n")
        assert done.returncode == 0, done.stderr
        assert state(root / "db.sqlite3") == state_of_backup(backup)

    def test_of_unknown_origin_only_after_a_question(self, host, root, elsewhere):
        file = make_database(elsewhere / "file", rows=7)
        before = state(root / "db.sqlite3")
        done = restore(host, "acme", file, answers="no\n")
        assert done.returncode == 1
        assert "It is not known whose backup this is" in done.stdout
        assert state(root / "db.sqlite3") == before
        done = restore(host, "acme", file, answers="yes\nacme\n")
        assert done.returncode == 0, done.stderr
        assert state(root / "db.sqlite3") == state_of_backup(file)

    @pytest.mark.parametrize("by", ["place", "checksum"])
    def test_of_another_tenant_only_if_that_is_said(self, host, root, elsewhere, by):
        other = host.add_tenant("globex", rows=7)
        if by == "checksum":
            host.run("runbackup", "globex")
            [file] = (other / "backups").glob("*.sqlite3")
            file = shutil.copy(file, elsewhere / "renamed")
        else:
            (other / "backups").mkdir()
            file = make_database(other / "backups" / "unknown", rows=7)
        before = state(root / "db.sqlite3")
        done = restore(host, "acme", file, "--no-input")
        assert done.returncode == 1
        assert "is a backup of tenant 'globex'" in done.stderr
        assert state(root / "db.sqlite3") == before
        done = restore(host, "acme", file, answers="no\n")
        assert "It is a backup of another tenant: globex." in done.stdout
        assert done.returncode == 1
        assert state(root / "db.sqlite3") == before
        done = restore(host, "acme", file, "--no-input", "--from-another-tenant")
        assert done.returncode == 0, done.stderr
        assert state(root / "db.sqlite3") == state_of_backup(file)

    def test_its_checksum_file_must_match(self, host, root, backup, elsewhere):
        file = make_database(elsewhere / "file", rows=7)
        checksum_file = elsewhere / "file.sha256"
        checksum_file.write_text(f"{'0' * 64}  file\n")
        assert "its SHA-256 is not" in restore(host, "acme", file, "--no-input").stderr
        checksum_file.write_text("nonsense")
        assert (
            "holds no checksum as sha256sum writes it"
            in restore(host, "acme", file, "--no-input").stderr
        )
        whole = subprocess.run(
            ["sha256sum", "file"], cwd=elsewhere, capture_output=True, check=True
        )
        checksum_file.write_bytes(whole.stdout)
        assert restore(host, "acme", file, "--no-input").returncode == 0

    def test_what_is_no_database(self, host, root, elsewhere):
        before = state(root / "db.sqlite3")
        for content in (b"", b"no database" * 1000):
            (elsewhere / "file").write_bytes(content)
            assert restore(host, "acme", elsewhere / "file", "--no-input").returncode == 1
        assert state(root / "db.sqlite3") == before

    def test_a_damaged_one_without_a_checksum_file(self, host, root, elsewhere):
        file = make_database(elsewhere / "file")
        overwrite_page(file, 2)
        before = state(root / "db.sqlite3")
        done = restore(host, "acme", file, "--no-input")
        assert done.returncode == 1
        assert f"{file} is not a sound SQLite database" in done.stderr
        assert state(root / "db.sqlite3") == before
        assert len(host.catalog()) == 1

    def test_a_copy_that_left_its_log_behind(self, host, root, elsewhere):
        file = make_database(elsewhere / "file", rows=7)
        killed = Process(KILLED, file)
        killed.wait(timeout=60)
        killed.end()
        done = restore(host, "acme", file, "--no-input")
        assert done.returncode == 1
        assert "is incomplete without the contents of file-wal" in done.stderr

    def test_a_database_in_use_is_not_read_as_a_file(self, host, root):
        other = host.add_tenant("globex")
        folders = {root: "db.sqlite3", other: "db.sqlite3", host.directory: "control.sqlite3"}
        for folder, name in folders.items():
            done = restore(host, "acme", folder / name, "--no-input")
            assert done.returncode == 1
            assert "is not a backup but the database" in done.stderr


class TestUsers:
    @pytest.mark.parametrize(
        ("mode", "statements"),
        [("wal", ["SELECT * FROM credits"]), ("delete", ["BEGIN IMMEDIATE"])],
    )
    def test_refused_while_the_database_is_in_use(self, host, mode, statements):
        root = host.add_tenant(journal_mode=mode)
        database = root / "db.sqlite3"
        host.run("runbackup")
        add_rows(database)
        before = state(database)
        user = Process(USER, database, *statements)
        assert user.line() == "held"
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 1
        assert f"is in use, so nothing was changed. It is open in process {user.pid}" in done.stderr
        assert f"stop first   these processes have the database open: {user.pid}" in done.stdout
        user.end()
        assert state(database) == before
        assert len(host.catalog()) == 1
        assert restore(host, "acme", "1", "--no-input").returncode == 0

    def test_an_idle_one_in_rollback_mode_is_found_by_the_system(self, host):
        """What it would see, and that it harms nothing: see tests/test_sqlite_restore.py."""
        database = host.add_tenant(journal_mode="delete") / "db.sqlite3"
        host.run("runbackup")
        add_rows(database)
        before = state(database)
        user = Process(USER, database, "SELECT * FROM credits")
        assert user.line() == "held"
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 1
        assert f"nothing was changed. It is open in process {user.pid}" in done.stderr
        user.end()
        assert state(database) == before
        assert restore(host, "acme", "1", "--no-input").returncode == 0


EMPTY, ONE_BYTE, RUBBISH = b"", b"x", b"rubbish" * 3000

# Leaves a change in a log that does not hold the database's first page.
KILLED_SOON = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("UPDATE credits SET amount = 7 WHERE id = 1")
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_while_it_uses(database, code=KILLED):
    killed = Process(code, database)
    killed.wait(timeout=60)
    killed.end()


class TestALogBesideADamagedDatabase:
    """A process is killed with a committed change in the log, then the database itself is ruined.

    SQLite would delete the log when it opens the database, or write it into the rubbish.
    """

    COMMANDS = (
        ["listbackups", "acme", "--contents"],
        ["runbackup", "acme", "--dry-run"],
        ["runbackup", "acme"],
        ["checkbackups"],
    )

    @pytest.fixture(params=[EMPTY, ONE_BYTE, RUBBISH], ids=["empty", "one byte", "rubbish"])
    def ruined(self, host, root, request):
        database = root / "db.sqlite3"
        kill_while_it_uses(database, KILLED_SOON)
        shutil.copytree(root, host.directory / "before", ignore=shutil.ignore_patterns("backups"))
        database.write_bytes(request.param)
        return database

    def log(self, database):
        return database.with_name("db.sqlite3-wal").read_bytes()

    def test_is_left_as_it_is_by_what_promises_to_change_nothing(self, host, ruined):
        log, content = self.log(ruined), ruined.read_bytes()
        for command in self.COMMANDS:
            done = host.run(*command)
            assert self.log(ruined) == log, command
            assert ruined.read_bytes() == content, command
            if command[0] == "runbackup":
                assert done.returncode == 1
                assert "db.sqlite3-wal" in done.stderr
        assert restore(host, "acme", "1", answers="no\n").returncode == 1
        assert self.log(ruined) == log
        assert ruined.read_bytes() == content
        assert not list(ruined.parent.glob("before-restore-*"))

    def test_is_put_aside_by_a_restore_which_says_where(self, host, ruined, backup):
        log, content = self.log(ruined), ruined.read_bytes()
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 0, done.stderr
        assert state(ruined) == state_of_backup(backup)
        [aside] = ruined.parent.glob("before-restore-*")
        assert (aside / "db.sqlite3-wal").read_bytes() == log
        assert (aside / "db.sqlite3").read_bytes() == content
        assert f"The state before the restore is in {aside}" in done.stdout
        # With the database of before the ruin it is whole again.
        shutil.copy(host.directory / "before" / "db.sqlite3", aside / "db.sqlite3")
        with closing(sqlite3.connect(aside / "db.sqlite3")) as connection:
            assert connection.execute("SELECT sum(amount) FROM credits").fetchone() == (7,)

    def test_is_put_aside_without_links_too(self, host, ruined, backup):
        log = self.log(ruined)
        process = host.start(
            "def refuse(*a, **o): raise PermissionError(1, 'Operation not permitted')\n"
            "os.link = refuse\n"
            "command('restorebackup', 'acme', '1', '--no-input')"
        )
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert state(ruined) == state_of_backup(backup)
        [aside] = ruined.parent.glob("before-restore-*")
        assert (aside / "db.sqlite3-wal").read_bytes() == log

    @pytest.mark.parametrize("what", ["first page", "rubbish"])
    def test_that_can_be_opened_all_the_same(self, host, root, backup, what):
        """By its first page, which is there, or in the log; then nothing else can be read."""
        database = root / "db.sqlite3"
        kill_while_it_uses(database)
        if what == "rubbish":
            database.write_bytes(RUBBISH)
        else:
            os.truncate(database, 4096)
        log = self.log(database)
        for command in self.COMMANDS:
            host.run(*command)
            assert self.log(database) == log, command
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 0, done.stderr
        assert state(database) == state_of_backup(backup)
        [aside] = root.glob("before-restore-*")
        assert (aside / "db.sqlite3-wal").read_bytes() == log
        assert str(aside) in done.stdout

    @pytest.mark.parametrize("page_size", [4096, 8192])
    def test_one_that_was_cut_short(self, host, page_size):
        """SQLite can open it, but can neither bring its log into it nor change its page size."""
        database = host.add_tenant(rows=300) / "db.sqlite3"
        wanted = make_database(host.directory / "wanted.sqlite3", rows=7, page_size=page_size)
        kill_while_it_uses(database)
        os.truncate(database, database.stat().st_size // 2)
        log = self.log(database)
        done = restore(host, "acme", wanted, "--no-input")
        assert done.returncode == 0, done.stderr
        assert_true_copy(database)
        assert count_rows(database) == 7
        asides = list(database.parent.glob("before-restore-*"))
        assert log in [(aside / "db.sqlite3-wal").read_bytes() for aside in asides]

    def test_a_journal_beside_one_that_was_emptied(self, host):
        database = host.add_tenant(journal_mode="delete", rows=300) / "db.sqlite3"
        host.run("runbackup")
        kill_while_it_uses(database)
        journal = database.with_name("db.sqlite3-journal")
        content = journal.read_bytes()
        database.write_bytes(b"")
        for command in self.COMMANDS:
            host.run(*command)
            assert journal.read_bytes() == content, command
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 0, done.stderr
        [aside] = database.parent.glob("before-restore-*")
        assert (aside / "db.sqlite3-journal").read_bytes() == content

    def test_of_a_sound_database_it_is_in_the_safety_copy_and_no_folder_stays(self, host, root):
        database = root / "db.sqlite3"
        kill_while_it_uses(database)
        log = self.log(database)
        for command in self.COMMANDS:
            assert host.run(*command).returncode == 0
            assert self.log(database) == log, command
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 0, done.stderr
        assert not list(root.glob("before-restore-*"))
        with closing(open_backup(root / "backups" / host.catalog()[0]["file"])) as copy:
            assert copy.execute("SELECT count(*) FROM credits").fetchone() == (610,)

    def test_where_the_restore_is_refused_nothing_stays_behind(self, host, root):
        """Somebody comes after we have looked who uses it."""
        database = root / "db.sqlite3"
        kill_while_it_uses(database)
        log = self.log(database)
        process = host.start(
            "from tenant_backup import sqlite\n"
            "exclusive = sqlite.exclusive\n"
            "def late(database, **options):\n"
            "    global user\n"
            "    user = sqlite3.connect(database)\n"
            "    user.execute('SELECT * FROM credits').fetchone()\n"
            "    os.kill(os.getpid(), 0)\n"
            "    return exclusive(database, busy_timeout=0.1)\n"
            "sqlite.exclusive = late\n"
            "try: command('restorebackup', 'acme', '1', '--no-input')\n"
            "except Exception as error: print(error)\n"
            "os._exit(0)"
        )
        output, errors = process.communicate(timeout=60)
        assert "is in use, so nothing was changed" in output, errors
        assert "What was beside" not in output
        assert self.log(database) == log
        assert not list(root.glob("before-restore-*"))
        assert len(host.catalog()) == 1


class TestALogBesideADamagedCatalog:
    """With `SingleTenant` every command of ours connects to the very database."""

    @pytest.mark.parametrize("content", [EMPTY, RUBBISH], ids=["empty", "rubbish"])
    def test_is_left_and_then_put_aside(self, host, content):
        host.environment["TEST_PROVIDER"] = "tenant_backup.tenants.SingleTenant"
        database = host.directory / "control.sqlite3"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute("CREATE TABLE credits (amount, body)")
        assert host.run("runbackup").returncode == 0
        [file] = (host.directory / "backups").glob("*.sqlite3")
        kill_while_it_uses(database)
        database.write_bytes(content)
        log = host.directory / "control.sqlite3-wal"
        before = log.read_bytes()
        for command in (["listbackups", "--contents"], ["runbackup"], ["runbackup", "--dry-run"]):
            done = host.run(*command)
            assert (done.returncode, log.read_bytes()) == (1, before)
            assert "control.sqlite3-wal" in done.stderr
        assert restore(host, "default", file.name, answers="no\n").returncode == 1
        assert log.read_bytes() == before
        done = restore(host, "default", file.name, "--no-input")
        assert done.returncode == 0, done.stderr
        [aside] = host.directory.glob("before-restore-*")
        assert (aside / log.name).read_bytes() == before

    def test_a_journal_beside_a_damaged_catalog_is_played_back_and_the_backup_restored(self, host):
        host.environment["TEST_PROVIDER"] = "tenant_backup.tenants.SingleTenant"
        database = host.directory / "control.sqlite3"
        assert host.run("runbackup").returncode == 0
        [file] = (host.directory / "backups").glob("*.sqlite3")
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode = delete")
            connection.execute("CREATE TABLE big (a, b)")
            connection.executemany("INSERT INTO big VALUES (?, ?)", [(1, "x" * 900)] * 3000)
            connection.commit()
            sql = "SELECT rootpage FROM sqlite_master WHERE name = 'tenant_backup_backup'"
            [(page,)] = connection.execute(sql)
            [(size,)] = connection.execute("PRAGMA page_size")
        with database.open("r+b") as stream:
            stream.seek((page - 1) * size)
            stream.write(b"\xaa" * size)
        script = (
            "import os, sqlite3, sys\n"
            "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "connection.execute('PRAGMA cache_size = 5')\n"
            "connection.execute('BEGIN IMMEDIATE')\n"
            "connection.execute('UPDATE big SET b = b || 1')\n"
            "os._exit(9)"
        )
        subprocess.run([sys.executable, "-c", script, database], check=False)
        assert database.with_name("control.sqlite3-journal").stat().st_size
        done = restore(host, "default", file.name, "--no-input")
        assert done.returncode == 0, done.stderr


class TestWhatSqliteCannotOpen:
    def test_is_put_aside_and_replaced(self, host, root, backup):
        database = root / "db.sqlite3"
        database.write_bytes(b"rubbish" * 1000)
        database.chmod(0o640)
        if AS_ROOT:
            os.chown(database, NOBODY, NOBODY)
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 0, done.stderr
        assert state(database) == state_of_backup(backup)
        assert database.stat().st_mode & 0o777 == 0o640
        if AS_ROOT:
            assert database.stat().st_uid == NOBODY
        [aside] = root.glob("before-restore-*")
        assert (aside / "db.sqlite3").read_bytes() == b"rubbish" * 1000
        assert f"move what is in {aside} to {root}" in done.stdout
        assert {path.name for path in root.iterdir()} - {"db.sqlite3-shm", "db.sqlite3-wal"} == {
            "db.sqlite3",
            "backups",
            aside.name,
        }

    def test_a_missing_database(self, host, root, backup):
        (root / "db.sqlite3").unlink()
        left = {"db.sqlite3-wal": b"a log", "db.sqlite3-shm": b"x", "db.sqlite3-journal": b"y"}
        for name, content in left.items():
            (root / name).write_bytes(content)
        root.chmod(0o750)
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 0, done.stderr
        assert (root / "db.sqlite3").stat().st_mode & 0o777 == 0o640
        assert state(root / "db.sqlite3") == state_of_backup(backup)
        [aside] = root.glob("before-restore-*")
        assert {path.name: path.read_bytes() for path in aside.iterdir()} == left

    def test_one_in_use_is_not_replaced(self, host, root):
        database = root / "db.sqlite3"
        database.write_bytes(b"rubbish" * 1000)
        code = "import sys; f = open(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
        user = Process(code, database)
        assert user.line() == "held"
        done = restore(host, "acme", "1", "--no-input")
        user.end()
        assert done.returncode == 1
        assert f"It is open in process {user.pid}" in done.stderr
        assert database.read_bytes() == b"rubbish" * 1000

    def test_a_truncated_one(self, host, root, backup):
        os.truncate(root / "db.sqlite3", 3 * 4096)
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 0, done.stderr
        assert state(root / "db.sqlite3") == state_of_backup(backup)
        [aside] = root.glob("before-restore-*")
        assert (aside / "db.sqlite3").stat().st_size == 3 * 4096

    def test_one_that_opens_but_is_not_sound_is_saved_as_it_is(self, host, root, backup):
        database = root / "db.sqlite3"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(
                "UPDATE sqlite_master SET sql = replace(sql, '(amount)', '(id)') "
                "WHERE name = 'credits_amount'"
            )
            connection.commit()
        inode = database.stat().st_ino
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 0, done.stderr
        assert "It was therefore saved as it is: that copy is not a backup." in done.stdout
        assert state(database) == state_of_backup(backup)
        assert database.stat().st_ino == inode
        [aside] = root.glob("before-restore-*")
        with closing(open_backup(aside / "db.sqlite3")) as connection:
            assert connection.execute("SELECT count(*) FROM credits").fetchone() == (110,)
        assert names_in(root / "backups") == [backup.name, f"{backup.name}.sha256"]


class TestFullDisk:
    @pytest.fixture
    def cramped(self, host):
        """A tenant on a small disk, on which there is hardly any room left."""
        with small_disk("64m") as disk:
            host.tenants.mkdir(exist_ok=True)
            root = disk / "acme"
            root.mkdir()
            (host.tenants / "acme").symlink_to(root)
            make_database(root / "db.sqlite3", rows=1000, body=1000)
            assert host.run("runbackup").returncode == 0
            add_rows(root / "db.sqlite3")
            yield root

    def leave(self, root, megabytes):
        facts = os.statvfs(root)
        free = facts.f_bavail * facts.f_frsize
        (root / "filler").write_bytes(bytes(free - megabytes * 1024 * 1024))

    def test_what_does_not_fit_is_said_before_anything_is_done(self, host, cramped):
        self.leave(cramped, 20)
        before = state(cramped / "db.sqlite3")
        done = restore(host, "acme", "1", "--no-input")
        assert done.returncode == 1
        assert "Not enough disk space" in done.stderr
        assert (
            "Nothing was changed. With --safety-copy-to the safety copy goes to another disk."
            in done.stderr
        )
        assert state(cramped / "db.sqlite3") == before
        assert len(host.catalog()) == 1

        safe = host.directory / "safe place"
        safe.mkdir()
        done = restore(host, "acme", "1", "--no-input", "--safety-copy-to", safe)
        assert done.returncode == 0, done.stderr
        [copy] = safe.glob("*.sqlite3")
        assert state_of_backup(copy) == before
        assert names_in(safe) == [copy.name, f"{copy.name}.sha256"]
        assert len(host.catalog()) == 1
        assert f"To undo: python manage.py restorebackup acme '{copy}'" in done.stdout

    @pytest.mark.parametrize("megabytes", [0, 1, 2, 3])
    def test_when_it_is_full_all_the_same_the_old_state_stands(self, host, cramped, megabytes):
        """The room is taken by somebody else after we looked: we are made to see more than is."""
        before = state(cramped / "db.sqlite3")
        self.leave(cramped, megabytes)
        new = state_of_backup(next((cramped / "backups").glob("*.sqlite3")))
        process = host.start(
            "import collections, shutil\n"
            "usage = collections.namedtuple('usage', 'total used free')\n"
            "shutil.disk_usage = lambda path: usage(0, 0, 10**12)\n"
            "command('restorebackup', 'acme', '1', '--no-input')"
        )
        _, errors = process.communicate(timeout=120)
        assert process.returncode != 0
        assert "disk" in errors or "space" in errors
        assert "not changed" in errors or "held before" in errors or "is in the database" in errors
        (cramped / "filler").unlink()
        expected = new if "The backup is in the database" in errors else before
        assert state(cramped / "db.sqlite3") == expected
        assert not list((cramped / "backups").glob(".*.partial"))
        for row in host.catalog():
            assert row["status"] == "failed" or state_of_backup(cramped / "backups" / row["file"])
        assert restore(host, "acme", "1", "--no-input").returncode == 0
        assert state(cramped / "db.sqlite3") == new


@pytest.fixture(scope="session")
def sites(tmp_path_factory, migrated_catalog):
    """By their journal mode, hosts with two backups and rows in `notes`, to be copied."""
    return {
        mode: new_site(new_host(tmp_path_factory, migrated_catalog), mode) for mode in JOURNAL_MODES
    }


def new_site(host, mode):
    host.environment |= single_tenant(mode)
    with closing(sqlite3.connect(host.directory / "control.sqlite3")) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    host.query("CREATE TABLE notes (text)")
    for text, options in (("before", []), ("between", ["--label", "x", "--pin"])):
        host.query("INSERT INTO notes VALUES (?)", text)
        done = host.run("runbackup", *options)
        assert done.returncode == 0, done.stderr
    host.query("INSERT INTO notes VALUES ('after')")
    return host


def single_tenant(mode):
    return {
        "TEST_PROVIDER": "tenant_backup.tenants.SingleTenant",
        "TEST_JOURNAL_MODE": mode,
    }


class TestSingleTenant:
    """The catalog lies in the very database that is restored."""

    @pytest.fixture
    def site(self, host, sites, mode):
        """Two backups of the site; a row in `notes` was written before, one between, one after."""
        shutil.copytree(sites[mode].directory, host.directory, dirs_exist_ok=True)
        host.environment |= single_tenant(mode)
        return host

    def notes(self, site):
        return [text for (text,) in site.query("SELECT text FROM notes")]

    def test_the_catalog_knows_everything_at_once(self, site, mode):
        newest, first = site.catalog()
        done = restore(site, "default", "1", "--no-input")
        assert done.returncode == 0, done.stderr
        assert self.notes(site) == ["before"]
        assert journal_mode(site.directory / "control.sqlite3") == mode
        rows = {row["file"]: row for row in site.catalog()}
        assert len(rows) == 3
        assert {row["status"] for row in rows.values()} == {"complete"}
        kept = ("trigger", "label", "pinned", "sha256", "bytes")
        for row in (newest, first):
            assert [rows[row["file"]][key] for key in kept] == [row[key] for key in kept]
        # By its trigger, not by its time: several backups may be of one second.
        [safety_copy] = [row for row in rows.values() if row["trigger"] == "restore"]
        assert safety_copy["pinned"]

        done = restore(site, "default", safety_copy["id"], "--no-input")
        assert done.returncode == 0, done.stderr
        assert self.notes(site) == ["before", "between", "after"]
        assert len(site.catalog()) == 4
        assert {row["status"] for row in site.catalog()} == {"complete"}
        assert site.run("runbackup").returncode == 0

    def test_what_was_decided_and_found_since_is_not_undone(self, site):
        """Retention, a pause, what is damaged, and notices; what was pruned is not missing."""
        site.query("UPDATE tenant_backup_backupsettings SET keep_last = 1")
        assert site.run("runbackup").returncode == 0
        # The first one is pruned; in the restored catalog it is there.
        pruned, restored = 1, 3
        assert pruned not in [row["id"] for row in site.catalog()]
        site.query("UPDATE tenant_backup_backupsettings SET keep_last = 50")
        for _ in range(2):
            assert site.run("runbackup").returncode == 0
        assert site.run("automatebackups", "pause").returncode == 0
        rotten = site.catalog()[-1]
        with (site.directory / "backups" / rotten["file"]).open("r+b") as stream:
            stream.seek(5000)
            stream.write(b"rot")
        assert site.run("verifybackups").returncode == 1
        before = {row["file"] for row in site.catalog()}
        site.query("UPDATE tenant_backup_tenantstate SET missing_notified = 7")
        [(revision,)] = site.query("SELECT revision FROM tenant_backup_tenantstate")

        done = restore(site, "default", restored, "--no-input")
        assert done.returncode == 0, done.stderr
        rows = site.catalog()
        assert {row["file"] for row in rows} >= before
        assert site.query("SELECT keep_last FROM tenant_backup_backupsettings") == [(50,)]
        assert site.query(
            "SELECT count(*) FROM tenant_backup_automation WHERE paused_by != ''"
        ) == [(1,)]
        assert site.query("SELECT file_name FROM tenant_backup_backup WHERE damaged_at != ''") == [
            (rotten["file"],)
        ]
        assert site.query("SELECT file_name FROM tenant_backup_backup WHERE missing_at != ''") == []
        [state] = site.query("SELECT missing_notified, revision FROM tenant_backup_tenantstate")
        assert state[0] == 7
        assert state[1] > revision
        assert "removed" not in site.run("prunebackups", "--dry-run").stdout

    def test_a_lost_database_is_restored_from_the_files_alone(self, site):
        newest, _ = site.catalog()
        database = site.directory / "control.sqlite3"
        for what in ("missing", "rubbish"):
            database.unlink()
            if what == "rubbish":
                database.write_bytes(b"rubbish" * 1000)
            done = restore(site, "default", "--latest", "--no-input")
            assert done.returncode == 1
            assert newest["file"] in done.stderr
            assert database.exists() is (what == "rubbish")
            done = restore(site, "default", newest["file"], "--no-input")
            assert done.returncode == 0, done.stderr
            assert self.notes(site) == ["before", "between"]
            assert len(site.catalog()) == 2
            assert {row["status"] for row in site.catalog()} == {"complete"}

    def test_a_catalog_made_anew_gets_back_what_the_old_one_knew(self, site):
        """The database is lost; a backup among those found on disk holds the old catalog."""
        assert restore(site, "default", "2", "--no-input").returncode == 0
        pinned = {row["file"] for row in site.catalog() if row["pinned"]}
        assert len(pinned) == 2  # the one that was pinned, and the safety copy
        site.query("UPDATE tenant_backup_backupsettings SET keep_last = 1")
        assert site.run("runbackup").returncode == 0
        holder = max(site.catalog(), key=lambda row: row["id"])["file"]
        database = site.directory / "control.sqlite3"
        # Without the folder's index, too, which would tell as much as the catalog did.
        for path in (*site.directory.glob("control.*"), site.directory / "backups" / "index.json"):
            path.unlink()
        for command in ("migrate", "syncbackups"):
            done = site.run(command)
            assert done.returncode == 0, done.stderr
        rows = site.catalog()
        assert {row["file"] for row in rows} == {*pinned, holder}
        assert {(row["trigger"], row["pinned"]) for row in rows} == {("adopted", False)}
        [found] = [row["id"] for row in rows if row["file"] == holder]

        done = restore(site, "default", found, "--no-input")
        assert done.returncode == 0, done.stderr
        assert site.query("SELECT keep_last FROM tenant_backup_backupsettings") == [(1,)]
        [safety_copy] = {row["file"] for row in site.catalog() if row["pinned"]} - pinned
        for _ in range(2):
            assert site.run("runbackup").returncode == 0
        files = {row["file"] for row in site.catalog()}
        assert files >= {*pinned, safety_copy}
        assert holder not in files
        assert database.exists()

    @pytest.mark.parametrize(
        "what",
        [
            "name = 'sqlite_sequence'",
            "name = 'tenant_backup_tenantstate'",
            "type = 'index' AND tbl_name = 'tenant_backup_backup'",
        ],
    )
    def test_damage_in_pages_of_the_catalog_alone(self, site, what):
        newest = site.catalog()[0]["file"]
        page = site.query(f"SELECT rootpage FROM sqlite_master WHERE {what}")[0][0]
        overwrite_page(site.directory / "control.sqlite3", page)
        done = restore(site, "default", newest, "--no-input")
        assert done.returncode == 0, done.stderr
        assert self.notes(site) == ["before", "between"]
        assert site.query("PRAGMA integrity_check") == [("ok",)]
        assert {row["status"] for row in site.catalog()} == {"complete"}
        assert site.run("runbackup").returncode == 0

    @pytest.mark.parametrize(
        "death",
        [
            "sqlite.open_copy = die",
            "os.link = die",
            "sqlite.Exclusive.replace_with = die",
            "sqlite.Exclusive.finalise = die",
            "backups.recover_running = die",
            "sqlite.Exclusive.require_equal = die",
        ],
    )
    def test_killed_anywhere_and_run_again(self, site, death):
        process = site.start(
            "from tenant_backup import backups, sqlite\n"
            # Not earlier: it is not about the recovery at the beginning.
            "def begin(*arguments):\n"
            "    row = begin_row(*arguments)\n"
            f"    {death}\n"
            "    return row\n"
            "begin_row = backups.begin\n"
            "backups.begin = begin\n"
            "command('restorebackup', 'default', '1', '--no-input')"
        )
        site.assert_killed(process)
        assert self.notes(site) in (["before"], ["before", "between", "after"])
        done = restore(site, "default", "1", "--no-input")
        assert done.returncode == 0, done.stderr
        assert self.notes(site) == ["before"]
        rows = site.catalog()
        assert {row["status"] for row in rows} <= {"complete", "failed"}
        files = sorted(row["file"] for row in rows if row["file"])
        assert names_in(site.directory / "backups") == sorted(
            [*files, *(f"{file}.sha256" for file in files)]
        )

    def test_refused_while_it_is_in_use(self, site, mode):
        statements = {"wal": "SELECT 1 FROM notes", "delete": "BEGIN IMMEDIATE"}
        user = Process(USER, site.directory / "control.sqlite3", statements[mode])
        assert user.line() == "held"
        done = restore(site, "default", "1", "--no-input", TEST_CONTROL_TIMEOUT="1")
        assert done.returncode == 1
        user.end()
        assert self.notes(site) == ["before", "between", "after"]
        assert len(site.catalog()) == 2

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_refused_for_lack_of_space_it_leaves_no_row(self, site, when):
        """Before its row is written; and where the room goes only then."""
        before = site.catalog()
        events = site.query("SELECT count(*) FROM tenant_backup_event")
        code = (
            "import collections, shutil\n"
            "from tenant_backup import backups\n"
            "usage = collections.namedtuple('usage', 'total used free')\n"
            "def fill(): shutil.disk_usage = lambda path: usage(0, 0, 1000)\n"
        )
        if when == "before":
            code += "fill()\n"
        else:
            code += (
                "begin = backups.begin\n"
                "def begin_and_fill(*arguments):\n"
                "    row = begin(*arguments)\n"
                "    fill()\n"
                "    return row\n"
                "backups.begin = begin_and_fill\n"
            )
        process = site.start(f"{code}command('restorebackup', 'default', '1', '--no-input')")
        _, errors = process.communicate(timeout=60)
        assert "Not enough disk space" in errors
        assert site.catalog() == before
        assert site.query("SELECT count(*) FROM tenant_backup_event") == events
        assert self.notes(site) == ["before", "between", "after"]

    def test_refused_it_gives_a_queued_backup_back(self, site):
        site.start(
            "from tenant_backup import backups\n"
            "from tenant_backup.models import Trigger\n"
            "from tenant_backup.tenants import get_provider\n"
            "request = backups.BackupRequest(trigger=Trigger.MANUAL, label='mine')\n"
            "backups.request(get_provider().get_tenant('default'), request)"
        ).communicate(timeout=60)
        before = site.catalog()[0]
        assert before["status"] == "queued"
        process = site.start(
            "from tenant_backup.exceptions import NotEnoughSpace\n"
            "from tenant_backup.restore import content\n"
            "def full(*arguments): raise NotEnoughSpace('full')\n"
            "content.replace_content = full\n"
            "command('restorebackup', 'default', '1', '--no-input')"
        )
        _, errors = process.communicate(timeout=60)
        assert "full" in errors
        assert site.catalog()[0] == before


# Half of all combinations, such that any three of the four differences meet in every way.
SITUATIONS = [
    (mode, backup_mode, stale, page_size)
    for mode, backup_mode, stale in itertools.product(JOURNAL_MODES, JOURNAL_MODES, [True, False])
    for page_size in [8192 if (mode == backup_mode) == stale else 4096]
]
# Of these, each mode with each, each with and without a stale log, and both sizes.
SOME_SITUATIONS = [SITUATIONS[number] for number in (0, 3, 4, 7)]


@pytest.mark.parametrize(
    ("mode", "backup_mode", "stale", "page_size"), at_length(SOME_SITUATIONS, SITUATIONS)
)
def test_killed_at_random_moments(host, chance, mode, backup_mode, stale, page_size):
    """Half of the kills fall while the backup is put in its place, the others anywhere.

    Set TEST_RESTORE_KILLS=200 and TEST_RESTORE_MEGABYTES=50 for the full measure.
    """
    rows = MEGABYTES * 1024 * 1024 // 2 // 10_000
    root = host.add_tenant(
        rows=rows * 3 // 4, body=10_000, page_size=page_size, journal_mode=backup_mode
    )
    assert host.run("runbackup").returncode == 0
    backup = root / "backups" / host.catalog()[0]["file"]
    database = root / "db.sqlite3"
    for path in root.glob("db.*"):
        path.unlink()
    make_database(database, rows=rows, body=10_000, journal_mode=mode)
    if stale:
        killed = Process(KILLED, database)
        killed.wait(timeout=120)
        killed.end()
    pristine = host.directory / "pristine"
    pristine.mkdir()
    for path in root.glob("db.*"):
        shutil.copy2(path, pristine)
    assert len(list(pristine.iterdir())) > stale

    def start_again():
        for path in root.glob("db.*"):
            path.unlink()
        for path in pristine.iterdir():
            shutil.copy2(path, root)
        keep = {backup.name, f"{backup.name}.sha256", ".lock"}
        for path in (root / "backups").iterdir():
            if path.name not in keep:
                path.unlink()
        host.query("DELETE FROM tenant_backup_backup WHERE id <> 1")
        return host.start(
            "print('begun', flush=True)\ncommand('restorebackup', 'acme', '1', '--no-input')"
        )

    def moment(process, line):
        while process.line() != line:
            pass
        return time.monotonic()

    # What it says is the event that a kill waits for.
    host.environment["PYTHONUNBUFFERED"] = "1"
    old, new = state(database), state_of_backup(backup)
    assert old != new
    process = start_again()
    begun, putting, checking = (moment(process, line) for line in ("begun", PUTTING, CHECKING))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert (state(database), journal_mode(database)) == (new, mode)
    durations = {"begun": time.monotonic() - begun, PUTTING: checking - putting}

    outcomes = {"old": 0, "new": 0, "missed": 0}
    kills = max(2, KILLS // at_length(4, 8))
    while (done := outcomes["old"] + outcomes["new"]) < kills:
        assert outcomes["missed"] <= 10 * kills, outcomes
        phase = PUTTING if done % 2 == 0 else "begun"
        process = start_again()
        moment(process, phase)
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.random() * durations[phase])
        process.kill()
        output, _ = process.communicate()
        found = state(database)
        assert found in (old, new)
        if process.returncode == 0 or (phase == PUTTING and CHECKING in output):
            # The phase was over before its moment came.
            outcomes["missed"] += 1
            durations[phase] *= 0.9
            continue
        outcomes["old" if found == old else "new"] += 1
        for file in (root / "backups").glob("acme-*.sqlite3"):
            assert state_of_backup(file) in (old, new)
        again = restore(host, "acme", "1", "--no-input")
        assert again.returncode == 0, again.stderr
        assert (state(database), journal_mode(database)) == (new, mode)
        assert not list((root / "backups").glob(".*.partial"))
        assert {row["status"] for row in host.catalog()} <= {"complete", "failed"}
    seconds = ", ".join(f"{duration:.3f} s" for duration in durations.values())
    print(f"{mode=} {backup_mode=} {stale=} {page_size=}: {outcomes} in {seconds}")
