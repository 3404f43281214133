"""`runbackup` as its operator runs it: real processes, a real catalog, real crashes."""

import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
import termios
import time
from contextlib import closing

import pytest

from tests.conftest import (
    AS_ROOT,
    BOUND,
    Host,
    assert_true_copy,
    count_rows,
    names_in,
    needs_sqlite_control,
    small_disk,
)
from tests.lengths import at_length
from tests.test_restorebackup import INTERRUPT

INTERRUPTED = "Interrupted: the process that made this backup ended before the backup was complete."

# Where a process dies: the code that makes the real thing kill its own process right there.
DEATHS = {
    "before anything is copied": """
from tenant_backup.files import BackupDirectory
BackupDirectory.create_partial = die
""",
    "in the middle of the copy": """
from tenant_backup import sqlite
sqlite.snapshots.require_time = die
""",
    "after the check": """
from tenant_backup import sqlite
sqlite.fingerprint = die
""",
    "after the copy is recorded": """
from tenant_backup.files import BackupDirectory
BackupDirectory.publish = die
""",
    "in the middle of writing the checksum file": """
from tenant_backup import files
files.backup_directory.checksum_line = die
""",
    "before the link": """
from tenant_backup import files
files.backup_directory.link = die
""",
    "after the link": """
from tenant_backup import files
link = files.backup_directory.link
files.backup_directory.link = lambda *arguments: (link(*arguments), die())
""",
    "before the row is complete": """
from tenant_backup.models import Backup
Backup.complete = die
""",
}
PUBLISHED = {"after the link", "before the row is complete"}


def assert_only_true_copies(directory):
    """Every file under a final name is a complete and verified backup."""
    for name in names_in(directory):
        if name.endswith(".sqlite3"):
            assert_true_copy(directory / name)


def assert_in_line(host, root):
    """Catalog and directory agree, nothing is left of any crash, and every file is true."""
    rows = host.catalog()
    assert {row["status"] for row in rows} <= {"complete", "failed"}
    files = [row["file"] for row in rows if row["status"] == "complete"]
    assert names_in(root / "backups") == sorted([*files, *(f"{file}.sha256" for file in files)])
    assert_only_true_copies(root / "backups")
    subprocess.run(
        ["sha256sum", "--check", "--strict", *(f"{file}.sha256" for file in files)],
        cwd=root / "backups",
        check=True,
        capture_output=True,
    )


class TestKilled:
    @pytest.mark.parametrize("moment", DEATHS)
    def test_the_next_run_recovers_the_row_and_succeeds(self, host, moment):
        root = host.add_tenant(rows=600, body=10_000)
        host.assert_killed(host.start(DEATHS[moment] + "command('runbackup', 'acme')"))
        assert_only_true_copies(root / "backups")
        (row,) = host.catalog()
        assert row["status"] == "running"

        again = host.run("runbackup", "acme")
        assert again.returncode == 0, again.stderr
        newest, oldest = host.catalog()
        assert newest["status"] == "complete"
        if moment in PUBLISHED:
            assert (oldest["status"], oldest["error"]) == ("complete", None)
        else:
            assert (oldest["status"], oldest["error"]) == ("failed", INTERRUPTED)
        assert_in_line(host, root)

    def test_at_random_moments(self, host, chance):
        root = host.add_tenant(rows=1500, body=10_000)
        process = host.start("print('begun', flush=True)\ncommand('runbackup')")
        assert process.line() == "begun"
        started = time.monotonic()
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        duration = time.monotonic() - started
        for _ in range(at_length(4, 8)):
            process = host.start("print('begun', flush=True)\ncommand('runbackup')")
            assert process.line() == "begun"
            try:
                process.wait(chance.uniform(0.1, 1) * duration)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
            assert_only_true_copies(root / "backups")
        last = host.run("runbackup")
        assert last.returncode == 0, last.stderr
        assert_in_line(host, root)

    def test_one_tenants_crash_is_not_in_the_way_of_another(self, host):
        host.add_tenant("acme")
        host.add_tenant("globex")
        death = DEATHS["before the row is complete"] + "command('runbackup', 'acme')"
        host.assert_killed(host.start(death))
        assert host.run("runbackup", "globex").returncode == 0


def test_an_interrupted_one_says_so_in_a_line_and_leaves_nothing(host):
    root = host.add_tenant()
    code = INTERRUPT % "tqdm.update"
    process = host.start(code, "runbackup")
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, "", "Interrupted.\n")
    [row] = host.catalog()
    assert (row["status"], row["error"]) == ("failed", INTERRUPTED)
    assert names_in(root / "backups") == []


# As `manage.py` does it.
COMMAND_LINE = """
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


class TestCatalogTrouble:
    """It is said of the catalog, and where that is, and not of the tenants."""

    def trouble(self, host, before=""):
        process = host.start(f"{before}{COMMAND_LINE}", "runbackup")
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        where = f"in the database 'default', {host.directory}/control.sqlite3"
        assert f"The catalog ({where}) cannot be used: " in errors
        assert "Traceback" not in errors
        return errors

    @needs_sqlite_control
    def test_a_file_that_may_not_be_written(self, host):
        (host.directory / "control.sqlite3").chmod(0o444)
        host.add_tenant()
        said = self.trouble(host, BOUND if AS_ROOT else "")
        assert "attempt to write a readonly database." in said
        assert "migrate" not in said
        assert "disk is full" not in said

    @needs_sqlite_control
    def test_a_full_disk(self, migrated_catalog):
        with small_disk("4m") as disk:
            host = Host(disk)
            shutil.copy(migrated_catalog, disk / "control.sqlite3")
            host.add_tenant()
            facts = os.statvfs(disk)
            (disk / "filler").write_bytes(bytes(facts.f_bavail * facts.f_frsize))
            said = self.trouble(host)
        assert "Its disk is full: 0 bytes are free." in said
        assert "migrate" not in said

    @pytest.mark.parametrize("table", ["backup", "event"])  # the last is needed at the very end
    def test_a_missing_table(self, host, table):
        host.add_tenant()
        host.query(f"DROP TABLE tenant_backup_{table}")
        said = self.trouble(host)
        assert f"no such table: tenant_backup_{table}. Has manage.py migrate been run?" in said
        assert "disk is full" not in said


class TestAtOnce:
    def test_two_runs_of_one_tenant_both_succeed_one_after_the_other(self, host):
        root = host.add_tenant(rows=1500, body=10_000)
        processes = [host.start("command('runbackup', 'acme')") for _ in range(2)]
        for process in processes:
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
        assert [row["status"] for row in host.catalog()] == ["complete", "complete"]
        assert_in_line(host, root)

    def test_a_run_that_cannot_wait_says_that_another_is_at_it(self, host):
        root = host.add_tenant()
        (root / "backups").mkdir()
        holder = host.start(
            "from tenant_backup import backups, lock\n"
            "from tenant_backup.tenants import get_provider\n"
            "tenant = get_provider().get_tenant('acme')\n"
            "with lock.hold(backups.directory_of(tenant), wait=0):\n"
            "    print('held', flush=True)\n"
            "    sys.stdin.readline()\n"
        )
        assert holder.line() == "held"
        refused = host.run("runbackup", TEST_BUSY_TIMEOUT="0.1")
        assert refused.returncode == 1
        assert f"working on the backups in {root / 'backups'}" in refused.stderr
        assert host.catalog() == []
        holder.go_on()
        holder.wait()
        assert host.run("runbackup").returncode == 0


class TestOutcome:
    def test_one_broken_tenant_among_three_stops_nobody_else(self, host):
        good = [host.add_tenant("acme"), host.add_tenant("initech")]
        broken = host.add_tenant("globex")
        (broken / "db.sqlite3").write_bytes(b"no database" * 100)
        run = host.run("runbackup", "--json")
        assert run.returncode == 1
        answer = json.loads(run.stdout)
        assert answer["ok"] is False
        assert [(row["tenant"], row["status"]) for row in answer["backups"]] == [
            ("acme", "complete"),
            ("globex", "failed"),
            ("initech", "complete"),
        ]
        assert answer["backups"][1]["error"] == answer["errors"][0]["message"]
        (error,) = answer["errors"]
        assert error["tenant"] == "globex"
        assert error["message"] == (
            f"The database {broken / 'db.sqlite3'} is not a SQLite database."
        )
        assert "1 of 3 failed" in run.stderr
        for root in good:
            assert len(names_in(root / "backups")) == 2
        assert not (broken / "backups").exists()
        failed = [row for row in host.catalog() if row["status"] == "failed"]
        assert [(row["tenant"], row["error"]) for row in failed] == [("globex", error["message"])]

    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_an_unknown_tenant_is_a_usage_error_and_nothing_is_done(self, host, options):
        root = host.add_tenant()
        run = host.run("runbackup", "acme", "acm", "../acme", *options)
        assert run.returncode == 2
        assert "There is no tenant acm, ../acme. Nothing was done." in run.stderr
        assert not (root / "backups").exists()
        assert host.catalog() == []
        if options:
            answer = json.loads(run.stdout)
            assert [error["tenant"] for error in answer["errors"]] == ["acm", "../acme"]

    @pytest.mark.parametrize("arguments", [["--nonsense"], ["--label", "x" * 201], ["--label"]])
    def test_a_wrong_option_is_a_usage_error(self, host, arguments):
        root = host.add_tenant()
        run = host.run("runbackup", *arguments)
        assert run.returncode == 2
        assert not (root / "backups").exists()

    def test_a_tenant_that_is_not_valid_stops_nobody_else(self, host):
        host.add_tenant("acme")
        (host.tenants / os.fsdecode(b"caf\xe9")).mkdir()  # no text in UTF-8
        run = host.run("runbackup", "--json")
        assert run.returncode == 1
        answer = json.loads(run.stdout)
        assert [row["tenant"] for row in answer["backups"]] == ["acme"]
        assert "is no valid text" in answer["errors"][0]["message"]

    def test_output_that_nobody_takes_stops_no_backup(self, host):
        for name in ("acme", "globex", "initech"):
            host.add_tenant(name)
        (host.tenants / "acme" / "db.sqlite3").unlink()
        with open("/dev/full", "w") as full:  # noqa: PTH123
            subprocess.run(
                [sys.executable, "-u", "-m", "django", "runbackup"],
                env=host.environment,
                stdout=full,
                stderr=full,
                timeout=60,
            )
        assert {row["tenant"] for row in host.catalog() if row["status"] == "complete"} == {
            "globex",
            "initech",
        }

    @pytest.mark.parametrize("command", ["runbackup", "listbackups"])
    def test_without_a_catalog_it_is_said_what_to_do(self, host, command):
        host.add_tenant()
        (host.directory / "control.sqlite3").unlink()
        run = host.run(command, "--json")
        assert run.returncode == 1
        assert "Has manage.py migrate been run?" in run.stderr
        assert "no such table" in json.loads(run.stdout)["errors"][0]["message"]

    def test_a_provider_that_fails_is_said(self, host):
        run = host.run("runbackup", "--json")  # there is no directory of tenants
        assert run.returncode == 1
        assert "The tenant provider failed: FileNotFoundError" in run.stderr
        assert json.loads(run.stdout)["ok"] is False

    def test_no_tenants_at_all(self, host):
        host.tenants.mkdir()
        run = host.run("runbackup")
        assert run.returncode == 0
        assert "There are no tenants" in run.stdout

    @pytest.mark.parametrize("command", [["runbackup"], ["runbackup", "--due"], ["checkbackups"]])
    def test_tenants_that_are_all_gone_at_once_are_an_accident(self, host, command):
        root = host.add_tenant()
        (host.directory / "elsewhere").mkdir()
        unmounted = host.directory / "elsewhere" / "acme"
        root.rename(unmounted)
        run = host.run(*command)
        assert run.returncode == 0, run.stderr  # nobody has been here yet
        unmounted.rename(root)
        assert host.run("runbackup").returncode == 0
        root.rename(unmounted)
        run = host.run(*command)
        assert run.returncode == 1
        assert run.stderr == (
            "The tenant provider lists no tenant at all, though the catalog knows 1. "
            "Nobody is backed up. Is a disk not mounted?\n"
        )

    def test_names_choose_tenants_once_each(self, host):
        for name in ("acme", "acme2", "globex"):
            host.add_tenant(name)
        run = host.run("runbackup", "globex", "acme", "globex", "--json")
        assert [row["tenant"] for row in json.loads(run.stdout)["backups"]] == ["globex", "acme"]
        assert {row["tenant"] for row in host.catalog()} == {"globex", "acme"}

    def test_json_has_every_field_of_the_contract(self, host):
        root = host.add_tenant()
        run = host.run("runbackup", "--json", "--label", "before the ✂", "--pin")
        answer = json.loads(run.stdout)
        assert set(answer) == {"ok", "backups", "errors", "tenants"}
        assert (answer["ok"], answer["errors"]) == (True, [])
        (backup,) = answer["backups"]
        file = root / "backups" / backup["file"]
        expected = {
            "tenant": "acme",
            "status": "complete",
            "trigger": "command",
            "label": "before the ✂",
            "pinned": True,
            "bytes": file.stat().st_size,
            "sha256": (root / "backups" / f"{backup['file']}.sha256").read_text().split()[0],
            "error": None,
            "check_error": None,
        }
        assert expected.items() <= backup.items()
        assert isinstance(backup["id"], int)
        for field in ("created_at", "finished_at"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", backup[field])
        assert len(backup) == 13
        assert [tenant["id"] for tenant in answer["tenants"]] == ["acme"]
        listed = json.loads(host.run("listbackups", "--json").stdout)["backups"]
        assert listed == host.catalog() == [backup]

    def test_plain_lines_where_there_is_no_terminal(self, host):
        host.add_tenant()
        run = host.run("runbackup")
        assert re.fullmatch(
            r"acme: acme-\d{8}T\d{6}Z\.sqlite3 \(\d+\.\d KB, verified\)\n", run.stdout
        )
        assert run.stderr == ""

    def test_a_progress_bar_on_a_terminal(self, host):
        host.add_tenant(rows=1500, body=10_000)
        leader, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (24, 80))
        process = subprocess.Popen(
            [sys.executable, "-m", "django", "runbackup"],
            env=host.environment | {"TERM": "xterm"},
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        seen = b""
        while True:
            try:
                seen += os.read(leader, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
        os.close(leader)
        assert process.wait() == 0
        text = seen.decode()
        assert re.search(r"acme: +\d+%\|", text), text
        assert "29.4M/29.4M" in text
        assert re.search(r"acme: acme-\S+\.sqlite3 \(\d+\.\d MB, verified\)", text)

    def test_dry_run_says_what_would_be_done_and_does_nothing(self, host):
        root = host.add_tenant()
        before = sorted(host.directory.rglob("*"))
        run = host.run("runbackup", "--dry-run")
        assert run.returncode == 0
        assert re.search(
            rf"acme: would back up {root}/db\.sqlite3; needs 16\.\d MB, \S+ .B are free", run.stdout
        )
        assert [path for path in sorted(host.directory.rglob("*")) if path not in before] == []
        assert host.catalog() == []

    def test_dry_run_finds_what_would_fail(self, host):
        root = host.add_tenant()
        (root / "db.sqlite3").unlink()
        run = host.run("runbackup", "--dry-run", "--json")
        assert run.returncode == 1
        assert "1 of 1 would fail" in run.stderr
        assert "does not exist" in json.loads(run.stdout)["errors"][0]["message"]
        assert host.catalog() == []

    def test_makes_the_settings_of_every_tenant(self, host):
        host.add_tenant("acme")
        host.add_tenant("globex")
        host.run("runbackup")
        with closing(sqlite3.connect(host.directory / "control.sqlite3")) as catalog:
            rows = catalog.execute("SELECT tenant_id FROM tenant_backup_backupsettings").fetchall()
        assert sorted(rows) == [("acme",), ("globex",)]

    def test_no_connection_to_the_catalog_is_held_while_a_database_is_copied(self, host):
        """A server that ends idle connections would otherwise cost the copy its row."""
        host.add_tenant()
        process = host.start(
            "from django.db import connections\n"
            "from tenant_backup.sqlite import Snapshot\n"
            "copy_to = Snapshot.copy_to\n"
            "def look(*arguments, **options):\n"
            "    print(connections['default'].connection)\n"
            "    copy_to(*arguments, **options)\n"
            "Snapshot.copy_to = look\n"
            "command('runbackup', '--verbosity', '0')\n"
        )
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, output) == (0, "None\n"), errors

    def test_a_backup_of_a_locked_database_fails_in_words_and_does_not_hang(self, host):
        root = host.add_tenant(journal_mode="delete")
        with closing(sqlite3.connect(root / "db.sqlite3", isolation_level=None)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            run = host.run("runbackup", TEST_BUSY_TIMEOUT="0.2")
        assert run.returncode == 1
        assert "was locked by another process for more than 0.2 seconds" in run.stderr
        assert not (root / "backups").exists()


class TestSingleTenant:
    """The project's own database is the tenant's: the catalog lies in what is copied."""

    @pytest.mark.parametrize("journal_mode", ["wal", "delete"])
    def test_the_catalogs_own_database_is_backed_up(self, host, journal_mode):
        environment = {
            "TEST_PROVIDER": "tenant_backup.tenants.SingleTenant",
            "TEST_JOURNAL_MODE": journal_mode,
        }
        with closing(sqlite3.connect(host.directory / "control.sqlite3")) as connection:
            connection.execute(f"PRAGMA journal_mode = {journal_mode}")
            with connection:
                connection.execute("CREATE TABLE filler (body BLOB)")
                connection.executemany(
                    "INSERT INTO filler VALUES (?)", ((os.urandom(10_000),) for _ in range(1000))
                )
        run = host.run("runbackup", "--json", **environment)
        assert run.returncode == 0, run.stderr
        (backup,) = json.loads(run.stdout)["backups"]
        file = host.directory / "backups" / backup["file"]
        assert count_rows(file, "filler") == 1000
        with closing(sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)) as copy:
            rows = copy.execute("SELECT status FROM tenant_backup_backup").fetchall()
        assert rows == [("running",)]


class TestListbackups:
    def test_an_empty_catalog(self, host):
        run = host.run("listbackups")
        assert (run.returncode, run.stdout) == (
            0,
            "There are no backups yet. Make some: python manage.py runbackup\n",
        )

    def test_lists_each_tenant_newest_first(self, host):
        for name in ("globex", "acme"):
            host.add_tenant(name)
        host.run("runbackup", "--label", "first")
        host.run("runbackup", "acme", "--pin")
        (host.tenants / "acme" / "db.sqlite3").unlink()
        host.run("runbackup", "acme")
        outcome, zone, title, *lines = host.run("listbackups").stdout.splitlines()
        assert outcome == "4 backups, 3 of them good. The newest good one was made just now."
        assert zone == "Times are in the time zone UTC."
        assert title.split() == [
            "ID",
            "TENANT",
            "TIME",
            "AGE",
            "SIZE",
            "STATUS",
            "TRIGGER",
            "FILE",
            "LABEL",
        ]
        failed, reason, *others = lines
        assert reason == f"    The database {host.tenants}/acme/db.sqlite3 does not exist."
        lines = [failed, *others]
        assert [line.split()[:2] for line in lines] == [
            ["4", "acme"],
            ["3", "acme"],
            ["1", "acme"],
            ["2", "globex"],
        ]
        assert "failed" in lines[0]
        assert "complete, pinned" in lines[1]
        assert lines[2].endswith("first")

    def test_only_the_named_tenants(self, host):
        for name in ("acme", "acme2"):
            host.add_tenant(name)
        host.run("runbackup")
        answer = json.loads(host.run("listbackups", "acme", "--json").stdout)
        assert [row["tenant"] for row in answer["backups"]] == ["acme"]
        assert answer["tenants"] == [{"id": "acme"}]

    def test_a_tenant_that_is_gone_but_has_backups(self, host):
        root = host.add_tenant("acme")
        host.run("runbackup")
        root.rename(host.directory / "elsewhere")
        assert len(json.loads(host.run("listbackups", "acme", "--json").stdout)["backups"]) == 1

    def test_an_unknown_tenant_is_a_usage_error(self, host):
        host.add_tenant("acme")
        run = host.run("listbackups", "acm")
        assert run.returncode == 2
        assert "There is no tenant acm" in run.stderr

    def test_text_from_outside_cannot_steer_the_terminal(self, host):
        host.add_tenant("a\x1b[31mcme")
        host.run("runbackup", "--label", "x\x1b[2Jy")
        run = host.run("listbackups")
        assert "\x1b" not in run.stdout
        assert r"'x\x1b[2Jy'" in run.stdout


ESCAPES = "a\x1b]0;title\x07\x9b2Jb"


def test_no_command_lets_a_path_command_the_terminal(host):
    """The folder's name is in the paths of the database and of the backups."""
    root = host.add_tenant(ESCAPES)
    said = []

    def run(*arguments):
        done = host.run(*arguments)
        said.append(done.stdout + done.stderr)
        return done

    def run_all():
        for command in (
            ["runbackup", "--dry-run"],
            ["runbackup"],
            ["listbackups", "--contents"],
            ["verifybackups", "--all"],
            ["syncbackups"],
            ["prunebackups", "--dry-run"],
            ["checkbackups"],
            ["restorebackup", ESCAPES, "1", "--no-input"],
            ["restorebackup", ESCAPES, str(root / "none"), "--no-input"],
            ["restorebackup", ESCAPES, "1", "--no-input", "--safety-copy-to", str(root / "none")],
        ):
            run(*command)

    run_all()
    assert "would back up" in said[0]
    (root / "db.sqlite3").write_bytes(b"rubbish" * 1000)
    for file in (root / "backups").glob("*.sqlite3"):
        file.write_bytes(b"rubbish")
    run_all()
    assert any("\\x1b]0;title\\x07\\x9b2J" in text for text in said)
    for text in said:
        assert not {"\x1b", "\x07", "\x9b"} & set(text)
