"""What the tests share: tenants with real databases, and hosts that run as real processes."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tenant_backup.tenants import Tenant
from tests.tenancy import Tenants

REPOSITORY = Path(__file__).resolve().parent.parent
NOBODY = 65534
AS_ROOT = os.geteuid() == 0


def make_database(path, *, rows=100, body=100, journal_mode="wal", page_size=4096):
    """A database of two tables that hold an invariant: the sum over both is always 0."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            for table in ("credits", "debits"):
                connection.execute(
                    f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, amount INTEGER, body BLOB)"
                )
                connection.execute(f"CREATE INDEX {table}_amount ON {table} (amount)")
                connection.executemany(
                    f"INSERT INTO {table} (amount, body) VALUES (?, ?)",
                    ((0, os.urandom(body)) for _ in range(rows)),
                )
        connection.execute("PRAGMA synchronous = NORMAL")
    return path


def count_rows(file, table="credits"):
    with closing(open_backup(file)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def open_backup(file):
    """Open a backup as a reader who must not disturb it would."""
    return sqlite3.connect(f"{Path(file).absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def assert_true_copy(file):
    """The backup opens, is sound, and the invariant over its two tables holds."""
    with closing(open_backup(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (total,) = connection.execute(
            "SELECT (SELECT sum(amount) FROM credits) + (SELECT sum(amount) FROM debits)"
        ).fetchone()
    assert total == 0


def names_in(directory):
    """Everything in a backup directory but the lock, which stays."""
    return sorted(path.name for path in directory.iterdir() if path.name != ".lock")


@pytest.fixture
def add_tenant(tmp_path, monkeypatch):
    """Make a tenant, with a small database in WAL mode unless told otherwise."""
    tenants = []
    monkeypatch.setattr(Tenants, "tenants", tenants)

    def add(tenant_id="acme", *, folder=None, database=True, **options):
        root = tmp_path / "tenants" / (folder or f"tenant{len(tenants)}")
        root.mkdir(parents=True)
        tenant = Tenant(tenant_id, tenant_id.title(), root, root / "db.sqlite3")
        if database:
            make_database(tenant.database, **options)
        tenants.append(tenant)
        return tenant

    return add


@pytest.fixture
def tenant(add_tenant):
    return add_tenant()


class Process(subprocess.Popen[str]):
    """A real Python process that runs some code. A test talks to it line by line."""

    def __init__(self, code, *arguments, env=None):
        super().__init__(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self):
        """The next line that it prints: the event that a test waits for."""
        text = self.stdout.readline()
        assert text, self.stderr.read()
        return text.rstrip("\n")

    def go_on(self):
        """Let it read its next line."""
        self.stdin.write("\n")
        self.stdin.flush()

    def end(self):
        """Kill it, by its own id, if it is still running."""
        self.kill()
        self.wait()
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()


class Host:
    """A project in a directory of its own, whose commands run as real processes."""

    def __init__(self, directory):
        self.directory = directory
        self.tenants = directory / "tenants"
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.host_settings",
            "TEST_HOST": str(directory),
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONWARNINGS": "error",
            "COLUMNS": "200",
        }
        self.processes = []
        self.clusters = []

    def add_tenant(self, name="acme", **options):
        root = self.tenants / name
        root.mkdir(parents=True)
        make_database(root / "db.sqlite3", **options)
        return root

    def start(self, code, *arguments):
        """Run Python code in which Django is set up and `command(...)` runs a command."""
        prelude = (
            "import os, signal, sys, sqlite3, django\n"
            "django.setup()\n"
            "from pathlib import Path\n"
            "from django.core.management import call_command as command\n"
            "def die(*arguments, **options): os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        process = Process(prelude + code, *arguments, env=self.environment)
        self.processes.append(process)
        return process

    def run(self, *arguments, **environment):
        """Run a management command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "django", *map(str, arguments)],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def start_cluster(self):
        """Start a real `qcluster`, with all its children in a process group of its own."""
        cluster = subprocess.Popen(
            [sys.executable, "-m", "django", "qcluster"],
            # django-q2 itself is not free of warnings.
            env=self.environment | {"PYTHONWARNINGS": "ignore"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.clusters.append(cluster)
        return cluster

    def query(self, sql, *parameters):
        """Ask the control database, or change it, behind the application's back."""
        database = sqlite3.connect(self.directory / "control.sqlite3", timeout=20)
        with closing(database), database:
            return database.execute(sql, parameters).fetchall()

    def wait_for(self, sql, *parameters, seconds=60):
        """Poll the control database, which no process of ours can wait on, for a first row."""
        give_up_at = time.monotonic() + seconds
        while not (rows := self.query(sql, *parameters)):
            assert time.monotonic() < give_up_at, f"never came: {sql}"
            time.sleep(0.05)
        return rows

    def end(self):
        for process in self.processes:
            process.end()
        for cluster in self.clusters:
            stop_cluster(cluster)

    def catalog(self):
        """The catalog's rows, newest first, as `listbackups` gives them to programs."""
        return json.loads(self.run("listbackups", "--json").stdout)["backups"]

    def assert_killed(self, process):
        _, errors = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, errors


def stop_cluster(cluster, how=signal.SIGKILL):
    """End a cluster and all its children; they are the only ones in their process group."""
    with suppress(ProcessLookupError):
        os.killpg(cluster.pid, how)
    cluster.wait(timeout=30)


@pytest.fixture(scope="session")
def migrated_catalog(tmp_path_factory):
    """A control database with all tables, to be copied: migrations take most of a second."""
    directory = tmp_path_factory.mktemp("catalog")
    migrated = Host(directory).run("migrate", "--verbosity", "0")
    assert migrated.returncode == 0, migrated.stderr
    return directory / "control.sqlite3"


@pytest.fixture
def host(tmp_path, migrated_catalog):
    host = Host(tmp_path)
    shutil.copy(migrated_catalog, tmp_path / "control.sqlite3")
    yield host
    host.end()
