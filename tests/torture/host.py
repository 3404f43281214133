"""A host for many trials: each of its commands is a fork of this process, in which all is loaded.

To start Python and Django for each takes most of a second; a fork takes a hundredth of that. It is
a real process all the same, with files, connections and locks of its own, which can be killed.
"""

import hashlib
import json
import logging
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core.management import call_command, execute_from_command_line
from django.db import connections
from django.utils import timezone

from tenant_backup import automation, backups
from tenant_backup.management.commands import (  # noqa: F401
    checkbackups,
    listbackups,
    prunebackups,
    restorebackup,
    restorerows,
    runbackup,
    syncbackups,
    verifybackups,
)
from tenant_backup.models import Backup, BackupSettings, Trigger
from tenant_backup.tenants import get_provider
from tests import urls  # noqa: F401
from tests.conftest import assert_true_copy, make_database, open_backup
from tests.tenancy import Folders

SECONDS = 120
"""So long a command may take; whatever takes longer hangs."""

BESIDE_BACKUPS = {".lock", ".gitignore", "index.json"}
"""What may lie in a folder of backups beside the backups and their checksum files."""

EXEMPT = {"manual", "adopted"}


def scratch():
    """A new directory, in memory where the machine has a place for that; it removes itself."""
    memory = Path("/dev/shm")  # noqa: S108
    where = memory if not os.environ.get("TMPDIR") and os.access(memory, os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="torture-", dir=where)


class Forked:
    """A process that does some work and ends: what it printed, and how it ended."""

    def __init__(self, work, logs):
        self.path = Path(tempfile.mkdtemp(dir=logs))
        self.returncode = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            self._work(work)

    def _work(self, work):
        status = 70
        try:
            for number, name in ((1, "stdout"), (2, "stderr")):
                descriptor = os.open(self.path / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
                os.dup2(descriptor, number)
                os.close(descriptor)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            os.close(nothing)
            sys.stdin = open(0, closefd=False)  # noqa: SIM115
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            work()
            connections.close_all()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else bool(end.code)
        except BaseException:  # noqa: BLE001 - of a fork nothing may come back
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def wait(self, seconds=SECONDS):
        """Whether it has ended within so many seconds."""
        give_up_at = time.monotonic() + seconds
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > give_up_at:
                return False
            else:
                time.sleep(0.001)
        return True

    def kill(self):
        """Kill it, by its own number, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    @property
    def stdout(self):
        return (self.path / "stdout").read_text()

    @property
    def stderr(self):
        return (self.path / "stderr").read_text()

    def __str__(self):
        return f"It ended with {self.returncode} and said:\n{self.stdout}{self.stderr}"


class Steps:
    """Counts what a process does to files and databases, and kills it at a step if told to.

    Before and after each call is a step. `which` is "files" or "sql".
    """

    POSIX = {"link", "unlink", "rename", "replace", "mkdir", "rmdir", "fsync", "write", "utime"}
    POSIX |= {"ftruncate", "truncate", "fchown", "chmod", "fchmod", "remove", "copy_file_range"}
    SQL = {"execute", "executemany", "commit", "backup", "close"}
    STREAM = {"write", "flush", "truncate"}

    def __init__(self, which="", kill_at=0):
        self.which, self.kill_at = which, kill_at
        self.counts = {"files": 0, "sql": 0}

    def __enter__(self):
        sys.setprofile(self.look)
        return self

    def __exit__(self, *exception):
        sys.setprofile(None)

    def look(self, frame, event, function):
        if event not in ("c_call", "c_return", "c_exception"):
            return
        which = self.kind_of(function)
        if not which:
            return
        self.counts[which] += 1
        if which == self.which and self.counts[which] == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def kind_of(self, function):
        """What a call is about; nothing where it changes nothing."""
        owner, name = getattr(function, "__self__", None), function.__name__
        if isinstance(owner, sqlite3.Connection | sqlite3.Cursor):
            return "sql" if name in self.SQL else ""
        is_about_files = (
            function.__module__ == "fcntl"
            or (function.__module__ == "posix" and name in self.POSIX)
            or (type(owner).__module__ == "_io" and name in self.STREAM)
        )
        return "files" if is_about_files else ""


def at_time(moment):
    """From now on, in this process, the clock stands at this moment, and does not move.

    `timezone.now`, and with it the defaults of the models' fields, ask it.
    """

    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return moment.astimezone(tz)

    timezone.datetime = Stopped


def run_command(*arguments):
    execute_from_command_line(["manage.py", *map(str, arguments)])


def provider_tenant(tenant_id="acme"):
    return get_provider().get_tenant(tenant_id)


class Site:
    """A host in a directory of its own, with tenants in folders and the catalog in SQLite."""

    def __init__(self, folder, logs=None):
        self.folder = Path(folder)
        self.logs = Path(logs or tempfile.mkdtemp(dir=self.folder.parent, prefix="logs-"))
        self.app_settings = {}

    @property
    def control(self):
        return self.folder / "control.sqlite3"

    @property
    def tenants(self):
        return self.folder / "tenants"

    def root(self, tenant="acme"):
        return self.tenants / tenant

    def database(self, tenant="acme"):
        return self.root(tenant) / "db.sqlite3"

    def backups(self, tenant="acme"):
        return self.root(tenant) / "backups"

    # What runs in it

    def enter(self):
        """Become a process of this host."""
        connections.settings["default"]["NAME"] = str(self.control)
        Folders.directory = self.tenants
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, **self.app_settings}
        logging.getLogger("tenant_backup").addHandler(logging.NullHandler())

    def start(self, work, *arguments):
        """Do something in a process of its own."""

        def enter_and_work():
            self.enter()
            work(*arguments)

        return Forked(enter_and_work, self.logs)

    def call(self, work, *arguments):
        """Do something in a process of its own, to the end, which must be a good one."""
        done = self.start(work, *arguments)
        assert done.wait(), f"{work.__name__} hangs."
        assert done.returncode == 0, f"{work.__name__}: {done}"
        return done

    def run(self, *arguments, before=lambda: None):
        """Run a management command to its end, whichever that is; it must end in words."""

        def work():
            before()
            run_command(*arguments)

        done = self.start(work)
        assert done.wait(), f"{arguments[0]} hangs."
        done.command = " ".join(map(str, arguments))
        assert_in_words(done)
        return done

    def succeed(self, *arguments):
        done = self.run(*arguments)
        assert done.returncode == 0, f"{done.command}: {done}"
        return done

    def query(self, sql, *parameters):
        """Ask the control database, or change it, behind the application's back."""
        with closing(sqlite3.connect(self.control, timeout=20)) as database, database:
            database.row_factory = sqlite3.Row
            return database.execute(sql, parameters).fetchall()

    def catalog(self, tenant="acme"):
        """The rows of the catalog, oldest first."""
        return self.query(
            "SELECT * FROM tenant_backup_backup WHERE tenant_id = ? ORDER BY created_at, id", tenant
        )

    def vanished(self, before, tenant="acme"):
        """The names of those files that were there before and are not any more."""
        return {row["file_name"] for row in before if row["file_name"]} - self.files(tenant)

    def files(self, tenant="acme"):
        """The names of the published files."""
        return {path.name for path in self.backups(tenant).glob("*.sqlite3")}

    # What it is made of

    def set_up(self):
        """Make the control database."""
        self.tenants.mkdir(parents=True)
        self.call(lambda: call_command("migrate", verbosity=0))
        return self

    def add_tenant(self, name="acme", **options):
        self.root(name).mkdir()
        make_database(self.database(name), **options)
        self.succeed("syncbackups", name, "--verbosity", "0")

    def make_backup(self, tenant="acme", *, days_ago=0.0, moment=None, **order):
        """Make a backup at a moment in the past, of a database that has a row more then."""
        moment = moment or datetime.now(UTC) - timedelta(days=days_ago)
        add_rows(self.database(tenant), 1)

        def make():
            at_time(moment)
            given = {"trigger": Trigger.COMMAND} | order
            backups.create(provider_tenant(tenant), backups.BackupRequest(**given))

        self.call(make)

    def copy_to(self, folder, logs=None):
        """The same host in another directory; no path of a host is in its catalog."""
        shutil.copytree(self.folder, folder, symlinks=True)
        copy = Site(folder, logs)
        copy.app_settings = dict(self.app_settings)
        return copy


def add_rows(database, rows):
    with closing(sqlite3.connect(database)) as connection, connection:
        for table in ("credits", "debits"):
            connection.executemany(f"INSERT INTO {table} (amount) VALUES (?)", [(0,)] * rows)


def make_what_is_queued():
    """What the workers do."""
    for backup in Backup.objects.queued():
        automation.make(backup.pk)


def tick_and_make():
    automation.tick()
    make_what_is_queued()


def set_policy(tenant="acme", **changes):
    BackupSettings.objects.ensure([tenant])
    BackupSettings.objects.filter(tenant_id=tenant).update(**changes)


# The writer


class Writer:
    """A process that writes to a database all the time, and keeps count of what it has committed.

    Each transaction writes to two tables, such that the sum over both is always 0.
    """

    def __init__(self, site, tenant="acme"):
        self.database = site.database(tenant)
        self.tally = Path(tempfile.mkstemp(dir=site.logs)[1])
        with closing(sqlite3.connect(self.database)) as connection:
            self.rows = connection.execute("SELECT count(*) FROM credits").fetchone()[0]
        self.process = Forked(self.write, site.logs)

    def write(self):
        descriptor = os.open(self.tally, os.O_WRONLY)
        connection = sqlite3.connect(self.database, timeout=SECONDS, isolation_level=None)
        # What it commits stays in the log, for others to bring home.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        number = 0
        while True:
            connection.execute("BEGIN IMMEDIATE")
            amount = number % 97
            connection.execute("INSERT INTO credits (amount) VALUES (?)", [amount])
            connection.execute("INSERT INTO debits (amount) VALUES (?)", [-amount])
            connection.execute("COMMIT")
            number += 1
            os.pwrite(descriptor, number.to_bytes(8, "big"), 0)
            time.sleep(0.002)

    @property
    def committed(self):
        return int.from_bytes(self.tally.read_bytes(), "big")

    def wait_for(self, number):
        give_up_at = time.monotonic() + SECONDS
        while self.committed < number:
            assert time.monotonic() < give_up_at, f"The writer does not write. {self.process}"
            assert not self.process.wait(0.002), self.process

    def end(self):
        """Kill it in the middle of whatever it does."""
        self.process.kill()


# What must be true


def assert_in_words(done):
    """A command ends in words, and never in a traceback, a signal or a status of no meaning."""
    assert "Traceback" not in done.stdout + done.stderr, f"{done.command}: {done}"
    assert done.returncode in (0, 1, 2), f"{done.command}: {done}"
    assert done.returncode == 0 or done.stderr.strip(), f"{done.command} says nothing. {done}"


def state_of(database):
    """What a live database holds, as another process would see it; nothing of it is touched."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / database.name
        for ending in ("", "-wal", "-journal"):
            beside = database.with_name(database.name + ending)
            if beside.exists():
                shutil.copyfile(beside, copy.with_name(copy.name + ending))
        with closing(sqlite3.connect(copy)) as connection:
            return _digest(connection)


def state_of_backup(file):
    with closing(open_backup(file)) as connection:
        return _digest(connection)


def _digest(connection):
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    whole = hashlib.sha256()
    for table in ("credits", "debits"):
        for row in connection.execute(f"SELECT * FROM {table} ORDER BY id"):
            whole.update(repr(row).encode())
    return whole.hexdigest()


def assert_intact(database, *, at_least=0):
    """The live database is sound, its two tables agree, and nothing that was committed is lost."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / database.name
        for ending in ("", "-wal", "-journal"):
            beside = database.with_name(database.name + ending)
            if beside.exists():
                shutil.copyfile(beside, copy.with_name(copy.name + ending))
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            sums = "SELECT (SELECT sum(amount) FROM credits) + (SELECT sum(amount) FROM debits)"
            assert connection.execute(sums).fetchone() == (0,), "The two tables do not agree."
            [rows] = connection.execute("SELECT count(*) FROM credits").fetchone()
    assert rows >= at_least, f"{at_least - rows} committed rows are lost."


def assert_only_true_copies(site, tenant="acme"):
    """Every file under a final name is a complete and verified backup, with its checksum."""
    for name in site.files(tenant):
        file = site.backups(tenant) / name
        assert_true_copy(file)
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        said = file.with_name(f"{name}.sha256").read_text()
        assert said == f"{found}  {name}\n", f"{name}.sha256 is not that of the file."


def assert_in_line(site, before, *, deleted=(), lost=(), keep_last=None, tenant="acme"):
    """After a recovery: everything that a crash or a full disk must never break.

    `before` are the catalog's rows of before; `deleted` the names of files that somebody wanted
    gone; `lost` of those that were taken away behind the application's back.
    """
    assert_only_true_copies(site, tenant)
    rows = site.catalog(tenant)
    statuses = {row["status"] for row in rows}
    assert statuses <= {"complete", "failed"}, f"Somebody is in the way: {statuses}"

    # The catalog and the folder agree.
    files = site.files(tenant)
    complete = {row["file_name"]: row for row in rows if row["status"] == "complete"}
    missing = {name for name, row in complete.items() if row["missing_at"]}
    damaged = {name for name, row in complete.items() if row["damaged_at"]}
    assert missing == set(complete) & set(lost), f"Reported as missing: {missing}"
    assert not damaged, f"Reported as damaged: {damaged}"
    assert files == set(complete) - missing, f"Unknown or not there: {files ^ set(complete)}"
    for name in files:
        file = site.backups(tenant) / name
        assert file.stat().st_size == complete[name]["size"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == complete[name]["sha256"]
    expected = BESIDE_BACKUPS | files | {f"{name}.sha256" for name in files}
    left = {path.name for path in site.backups(tenant).iterdir()} - expected
    assert left <= {f"{name}.sha256" for name in lost}, f"Left over: {left}"
    for row in rows:
        assert not row["deleting_at"], f"{row['file_name']} is still being deleted."

    # No good backup is lost that retention keeps.
    gone = site.vanished(before, tenant) - set(lost)
    was_good = [row for row in before if row["status"] == "complete" and not row["missing_at"]]
    protected = {row["file_name"] for row in was_good if row["pinned"] or row["trigger"] in EXEMPT}
    assert not (protected - set(deleted)) & gone, f"Lost: {protected & gone}"
    known = {row["file_name"]: row for row in [*was_good, *complete.values()]}
    counted = [
        row["file_name"]
        for row in sorted(known.values(), key=lambda row: row["created_at"], reverse=True)
        if not row["pinned"] and row["trigger"] not in EXEMPT and row["file_name"] not in lost
    ]
    kept = counted if keep_last is None else counted[:keep_last]
    assert not (set(kept) - set(deleted)) & gone, f"Lost: {set(kept) & gone}"
    # And whatever is gone, the history says so.
    told = {
        row["file_name"]
        for row in site.query(
            "SELECT file_name FROM tenant_backup_event WHERE kind IN ('pruned', 'deleted')"
        )
    }
    assert gone <= told, f"The history does not tell of {gone - told}."

    # The folder describes itself, where it does so.
    index = site.backups(tenant) / "index.json"
    if index.exists():
        described = json.loads(index.read_text())
        assert described["tenant"] == tenant
        entries = {entry["file"]: entry for entry in described["backups"]}
        for name in files:
            entry, row = entries[name], complete[name]
            assert entry["sha256"] == row["sha256"]
            assert entry["pinned"] == bool(row["pinned"]), f"The index is wrong about {name}."
