"""Redis as the broker, by real `qcluster` processes and a real server on this machine.

Redis acknowledges nothing: what it, or a worker, loses is gone. Our own rows know better.
"""

import shutil
import socket
import subprocess
import time
from importlib.util import find_spec

import pytest

from tests.conftest import assert_true_copy, migrate, names_in
from tests.test_cluster import (
    ASK_FOR_ONE_AND_ADD_A_SCHEDULE,
    LARGE,
    ONE_WORKER_DIES,
    make_due,
    status_of,
    tick,
    wait_for_complete,
)

MISSING = [
    what
    for what, is_there in {
        "the server (redis-server)": shutil.which("redis-server"),
        "the Python package redis": find_spec("redis"),
    }.items()
    if not is_there
]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"Redis cannot be tested without {' and '.join(MISSING)}."
)

HANDED_OVER_LONG_AGO = """
from datetime import timedelta
from tenant_backup import automation
from tenant_backup.automation import handover
handover.ENQUEUE_AGAIN_AFTER = timedelta(0)
automation.tick()
"""


class Redis:
    """A server that keeps nothing on disk."""

    def __init__(self, directory):
        self.directory = directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [
                *("redis-server", "--bind", "127.0.0.1", "--port", str(self.port)),
                *("--save", "", "--appendonly", "no", "--dir", str(self.directory)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in self.process.stdout:
            if "Ready to accept connections" in line:
                return
        pytest.fail(f"redis-server has ended: {self.process.wait()}")

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait(timeout=30)
            self.process.stdout.close()
            self.process = None


@pytest.fixture
def redis(tmp_path):
    server = Redis(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_host(host, redis):
    host.configure(Q_CLUSTER={"orm": None, "redis": {"host": "127.0.0.1", "port": redis.port}})
    return host


def run_code(host, code, *arguments):
    process = host.start(code, *arguments)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output


def assert_one_backup_each(host, *tenants):
    for tenant in tenants:
        directory = host.tenants / tenant / "backups"
        [name] = [name for name in names_in(directory) if name.endswith(".sqlite3")]
        assert_true_copy(directory / name)


def test_two_clusters_make_one_backup_a_slot(redis_host):
    for name in ("acme", "globex"):
        redis_host.add_tenant(name)
    migrate(redis_host)
    checked = redis_host.run("check", "--tag", "tenant_backup", "--fail-level", "WARNING")
    assert checked.returncode == 0, checked.stderr
    make_due(redis_host)
    for _ in range(2):
        redis_host.start_cluster()
    wait_for_complete(redis_host, 2)
    assert "Automation is running" in status_of(redis_host)
    assert redis_host.query("SELECT count(*) FROM tenant_backup_backup") == [(2,)]
    assert redis_host.query("SELECT count(*) FROM django_q_ormq") == [(0,)]
    assert_one_backup_each(redis_host, "acme", "globex")


def test_what_redis_has_lost_is_handed_over_again(redis_host, redis):
    redis_host.add_tenant()
    migrate(redis_host)
    run_code(redis_host, ASK_FOR_ONE_AND_ADD_A_SCHEDULE, "acme")
    redis.stop()
    redis.start()
    run_code(redis_host, HANDED_OVER_LONG_AGO)
    redis_host.start_cluster()
    wait_for_complete(redis_host, 1)
    assert_one_backup_each(redis_host, "acme")


def test_what_a_killed_worker_has_lost_is_made_up_for(redis_host):
    redis_host.add_tenant(**LARGE)
    migrate(redis_host)
    run_code(redis_host, ASK_FOR_ONE_AND_ADD_A_SCHEDULE, "acme")
    redis_host.start_cluster(before=ONE_WORKER_DIES)
    give_up_at = time.monotonic() + 60
    while not (redis_host.directory / "died").exists():
        assert time.monotonic() < give_up_at, redis_host.log.read_text()
        time.sleep(0.05)
    redis_host.wait_for("SELECT 1 FROM tenant_backup_automation WHERE last_tick_at IS NOT NULL")
    tick(redis_host)
    ((error,),) = redis_host.wait_for(
        "SELECT error FROM tenant_backup_backup WHERE status = 'failed'"
    )
    assert error.startswith("Interrupted")
    assert names_in(redis_host.tenants / "acme" / "backups") == []
    make_due(redis_host)
    tick(redis_host)
    wait_for_complete(redis_host, 1)
    assert_one_backup_each(redis_host, "acme")


def test_without_redis_what_is_asked_for_waits_and_says_why(redis_host, redis):
    redis_host.add_tenant()
    migrate(redis_host)
    redis.stop()
    run_code(redis_host, ASK_FOR_ONE_AND_ADD_A_SCHEDULE, "acme")
    ((status, error),) = redis_host.query("SELECT status, error FROM tenant_backup_backup")
    assert status == "queued"
    assert "cannot be handed to a worker" in error
    redis.start()
    redis_host.start_cluster()
    wait_for_complete(redis_host, 1)
    assert redis_host.query("SELECT error FROM tenant_backup_backup") == [("",)]
    assert_one_backup_each(redis_host, "acme")
