"""What the tests share: tenants with real databases, and hosts that run as real processes."""

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from uuid import uuid4

import django
import hypothesis
import pytest
from django.db import connection
from django.test import TransactionTestCase

from tenant_backup.tenants import Tenant
from tests import postgres, temporary, warm
from tests.tenancy import Tenants

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So it is for what a script starts in the background, and the tests' own processes inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
temporary.use_memory()
# The same examples every time, however long each takes on a busy machine.
hypothesis.settings.register_profile(
    "tests",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tests")

REPOSITORY = Path(__file__).resolve().parent.parent
NOBODY = 65534
AS_ROOT = os.geteuid() == 0

needs_sqlite_control = pytest.mark.skipif(
    os.environ.get("TEST_CONTROL") == "postgresql",
    reason="It can be only with a control database in SQLite.",
)
on_each_control = pytest.mark.parametrize("control", ["sqlite", "postgresql"])
"""For tests of a `host`: once for each kind of control database."""

MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?")
"""How Django writes a moment into SQLite, which has no type for it."""


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


@contextmanager
def small_disk(size):
    """A file system of its own, in a directory of its own."""
    if not AS_ROOT:
        pytest.skip("Only root can mount a small disk.")
    folder = tempfile.mkdtemp()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        Path(folder).rmdir()
        pytest.skip(f"This machine does not let root mount a disk: {mounted.stderr.strip()}")
    try:
        yield Path(folder)
    finally:
        subprocess.run(["umount", folder], check=True)
        Path(folder).rmdir()


def take_all_inodes(disk):
    """Leave room on a small disk, but for no more files."""
    for number in range(os.statvfs(disk).f_favail):
        (disk / f"taken{number}").touch()


@contextmanager
def without_privileges():
    """Within this block we are nobody, whom permissions bind."""
    if AS_ROOT:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if AS_ROOT:
            os.seteuid(0)


def send_mail_by(settings, backend):
    """Set the host's mail backend where hosts do, before Django 6.1 and since."""
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": backend}}
    else:
        settings.EMAIL_BACKEND = backend


def names_in(directory):
    """Everything in a backup directory but what stays: the lock, the index, the note to git."""
    ours = {".lock", ".gitignore", "index.json"}
    return sorted(path.name for path in directory.iterdir() if path.name not in ours)


@pytest.fixture
def open_folder():
    """A folder that nobody can reach; pytest's own folders only let their owner in."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        if AS_ROOT:
            os.chown(path, NOBODY, NOBODY)
        yield path


def tenant_in(root, **options):
    root.mkdir(exist_ok=True)
    make_database(root / "db.sqlite3", **options)
    return Tenant("acme", "Acme", root, root / "db.sqlite3")


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


class Process(warm.Process):
    """A real Python process that runs some code. A test talks to it line by line."""

    def __init__(self, code, *arguments, flag="-c", **options):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = {"env": dict(os.environ)}
        super().__init__(
            [flag, code, *map(str, arguments)], text=True, **(environment | pipes | options)
        )

    def line(self):
        """The next line that it prints: the event that a test waits for."""
        text = self.stdout.readline()
        assert text, self.stderr.read() if self.stderr else "it has ended"
        return text.rstrip("\n")

    def go_on(self):
        """Let it read its next line."""
        self.stdin.write("\n")
        self.stdin.flush()

    def end(self):
        """Kill it, by its own id, if it is still running."""
        self.kill()
        self.close()

    def close(self):
        self.wait(timeout=30)
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream:
                # What it has not read any more is of no interest.
                with suppress(BrokenPipeError):
                    stream.close()


PRELUDE = """
import os, signal, sys, sqlite3, django
django.setup()
from pathlib import Path
from django.core.management import call_command as command
def die(*arguments, **options): os.kill(os.getpid(), signal.SIGKILL)
"""


BOUND = """
import ctypes
version, none = (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(version, none) == 0
"""
"""Code after which permissions bind a process of root's, too. Unlike another user it can still read
what Python imports: the tests may lie in a folder that only root may enter."""


class Host:
    """A project in a directory of its own, whose commands run as real processes.

    Its control database is a file there, or the one of this name on the PostgreSQL server.
    """

    runner: warm.Runner | None = None

    def __init__(self, directory, database=None):
        self.directory = directory
        self.database = database
        self.tenants = directory / "tenants"
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.host_settings",
            "TEST_HOST": str(directory),
            "TEST_CONTROL": "postgresql" if database else "sqlite",
            "TEST_CONTROL_NAME": database or "",
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONWARNINGS": "error",
            "COLUMNS": "200",
        }
        self.processes = []
        self.clusters = []
        self.open = ExitStack()

    def configure(self, **settings):
        """Have other settings from now on; of a dict only the keys that differ."""
        self.environment["TEST_SETTINGS"] = json.dumps(settings)

    def add_tenant(self, name="acme", **options):
        root = self.tenants / name
        root.mkdir(parents=True)
        make_database(root / "db.sqlite3", **options)
        return root

    def start(self, code, *arguments):
        """Run Python code in which Django is set up and `command(...)` runs a command."""
        process = Process(PRELUDE + code, *arguments, env=self.environment, runner=self.runner)
        self.processes.append(process)
        return process

    def run(self, *arguments, answers="", **environment):
        """Run a management command to its end, as a process of its own."""
        arguments = list(map(str, arguments))
        environment = self.environment | environment
        if self.runner and self.runner.can_run(environment):
            return self.runner.run(["-m", "django", *arguments], environment, answers)
        return subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            env=environment,
            input=answers,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def succeed(self, *commands):
        """Run management commands to their end, one after another; none may fail."""
        for command in commands:
            done = self.run(*command.split())
            assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"

    def start_cluster(self, *options, before="", **environment):
        """Start a real `qcluster`, with all its children in a process group of its own.

        `before` is code that the process runs first; its workers are forks of it.
        """
        code, flag = "django", "-m"
        if before:
            code, flag = f"{PRELUDE}{before}\ncommand(*sys.argv[1:])", "-c"
        with self.log.open("a") as log:
            cluster = Process(
                code,
                "qcluster",
                *options,
                flag=flag,
                # django-q2 itself is not free of warnings.
                env=self.environment | {"PYTHONWARNINGS": "ignore"} | environment,
                stderr=log,
                start_new_session=True,
            )
        self.clusters.append(cluster)
        return cluster

    @property
    def log(self):
        """What the clusters say."""
        return self.directory / "cluster.log"

    def query(self, sql, *parameters):
        """Ask the control database, or change it, behind the application's back.

        `?` stands for a parameter, and moments are aware, in and out, whatever the database.
        """
        if self.database:
            cursor = self.connection.execute(sql.replace("?", "%s"), parameters)
            return cursor.fetchall() if cursor.description else []
        database = sqlite3.connect(self.directory / "control.sqlite3", timeout=20)
        with closing(database), database:
            rows = database.execute(sql, list(map(as_in_sqlite, parameters))).fetchall()
            return [tuple(map(from_sqlite, row)) for row in rows]

    @cached_property
    def connection(self):
        """Of `query`: to connect takes PostgreSQL too long for every look."""
        return self.open.enter_context(postgres.connect(self.database))

    def wait_for(self, sql, *parameters, seconds=120):
        """Poll the control database, which no process of ours can wait on, for a first row."""
        give_up_at = time.monotonic() + seconds
        while not (rows := self.query(sql, *parameters)):
            if time.monotonic() > give_up_at:
                log = self.log.read_text() if self.log.exists() else ""
                pytest.fail(f"never came: {sql}\n{log}")
            time.sleep(0.05)
        return rows

    def end(self):
        for process in self.processes:
            process.end()
        for cluster in self.clusters:
            stop_cluster(cluster)
            cluster.close()
        self.open.close()

    def catalog(self):
        """The catalog's rows, newest first, as `listbackups --json` gives them to programs.

        Without that command, since a process of Django's takes half a second to begin.
        """
        return [
            {
                **row,
                "pinned": bool(row["pinned"]),
                **{key: row[key] or None for key in ("file", "sha256", "error", "check_error")},
                **{key: as_iso(row[key]) for key in ("created_at", "finished_at")},
            }
            for row in (dict(zip(LISTED, values, strict=True)) for values in self.query(LIST))
        ]

    def assert_killed(self, process):
        _, errors = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, errors


# What `listbackups --json` says of a backup, and where that is in the catalog.
LISTED = {
    "id": "id",
    "tenant": "tenant_id",
    "status": "status",
    "trigger": '"trigger"',
    "label": "label",
    "pinned": "pinned",
    "file": "file_name",
    "bytes": "size",
    "sha256": "sha256",
    "created_at": "created_at",
    "finished_at": "finished_at",
    "error": "error",
    "check_error": "check_error",
}
LIST = (
    f"SELECT {', '.join(LISTED.values())} FROM tenant_backup_backup "
    "ORDER BY tenant_id, created_at DESC, id DESC"
)


def as_iso(moment):
    return moment and f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def as_in_sqlite(value):
    """A parameter as Django would write it."""
    if isinstance(value, datetime):
        return str(value.astimezone(UTC).replace(tzinfo=None))
    return value


def from_sqlite(value):
    if isinstance(value, str) and MOMENT.fullmatch(value):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value


def stop_cluster(cluster, how=signal.SIGKILL):
    """End a cluster and all its children; they are the only ones in their process group."""
    with suppress(ProcessLookupError):
        os.killpg(cluster.pid, how)
    cluster.wait(timeout=30)


def pytest_collection_modifyitems(items):
    """What takes longest comes first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_year.py")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """After a test with transactions put the fresh tables back, as a copy of the whole database.

    To empty them and to make the permissions anew, as Django does, takes ten times as long.
    """
    with django_db_blocker.unblock():
        connection.ensure_connection()
    if connection.vendor != "sqlite":
        yield
        return
    flush = TransactionTestCase._fixture_teardown

    def give_up(status, *_):
        if status not in (sqlite3.SQLITE_OK, sqlite3.SQLITE_DONE):
            raise sqlite3.OperationalError("Somebody else reads or writes the tables.")

    def put_back(test):
        if set(test._databases_names(include_mirrors=False)) == {"default"}:
            with suppress(sqlite3.OperationalError):
                connection.ensure_connection()
                fresh.backup(connection.connection, progress=give_up)
                return
        flush(test)

    with closing(sqlite3.connect(":memory:")) as fresh, pytest.MonkeyPatch.context() as patch:
        connection.connection.backup(fresh)
        patch.setattr(TransactionTestCase, "_fixture_teardown", put_back)
        yield


@pytest.fixture(scope="session")
def runner(tmp_path_factory):
    """What runs the commands of all hosts, unless each is to begin afresh."""
    if "TEST_FRESH" in os.environ or sys.platform != "linux":
        yield
        return
    runner = warm.Runner(Host(tmp_path_factory.mktemp("runner")).environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Host, "runner", runner)
        yield runner
    runner.end()


@pytest.fixture(scope="session")
def migrated_catalog(tmp_path_factory, runner):
    """A control database with all tables, to be copied: migrations take most of a second."""
    host = Host(tmp_path_factory.mktemp("catalog"))
    migrate(host)
    return host.directory / "control.sqlite3"


@pytest.fixture(scope="session")
def migrated_on_postgresql(tmp_path_factory, runner):
    """The same on the PostgreSQL server: the name of a database, to be copied."""
    if not postgres.is_there():
        pytest.skip("There is no PostgreSQL server; `python -m tests.postgres` starts one.")
    with new_database() as name:
        migrate(Host(tmp_path_factory.mktemp("catalog"), name))
        yield name


def migrate(host):
    """Make the tables that are missing, the schedule, and the settings of every tenant."""
    migrated = host.run("migrate", "--verbosity", "0")
    assert migrated.returncode == 0, migrated.stderr


@contextmanager
def new_database(template="template1"):
    """A database on the PostgreSQL server, as a copy of another, and gone afterwards."""
    name = f"host_{uuid4().hex}"
    with postgres.connect() as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield name
    finally:
        with postgres.connect() as server:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def chance():
    """Random numbers. A test that fails shows their seed, which TEST_SEED sets."""
    seed = int(os.environ.get("TEST_SEED", random.randrange(10**6)))
    print(f"TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def control():
    """Where a host has its control database, unless a test is marked `on_each_control`."""
    return "sqlite"


@pytest.fixture
def host(tmp_path, control, request):
    if control == "postgresql":
        with new_database(request.getfixturevalue("migrated_on_postgresql")) as name:
            host = Host(tmp_path, name)
            yield host
            host.end()
    else:
        shutil.copy(request.getfixturevalue("migrated_catalog"), tmp_path / "control.sqlite3")
        host = Host(tmp_path)
        yield host
        host.end()
