"""Automation by the real thing: `qcluster` processes on a control database in SQLite."""

import signal
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import assert_true_copy, names_in, stop_cluster

FORMAT = "%Y-%m-%d %H:%M:%S"
ROWS = "SELECT status, trigger FROM tenant_backup_backup ORDER BY id"
ALL_DONE = """
    SELECT 1 FROM tenant_backup_automation WHERE last_tick_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM django_q_ormq)
"""


@pytest.fixture
def due_host(host):
    """A host whose tenant is due, has two automatic backups, and may keep two."""
    host.add_tenant()
    for _ in range(2):
        assert host.run("runbackup").returncode == 0
    host.query("UPDATE tenant_backup_backup SET trigger = 'automatic'")
    make_due(host, keep_last=2)
    return host


def make_due(host, keep_last=None):
    slot_at = datetime.now(UTC) - timedelta(minutes=1)
    host.query(
        "UPDATE tenant_backup_backupsettings SET automatic = 1, keep_last = ?, next_run_at = ?",
        keep_last,
        f"{slot_at:{FORMAT}}",
    )


def wait_for_backups(host, number):
    return host.wait_for(
        "SELECT id FROM tenant_backup_backup WHERE status = 'complete' "
        "GROUP BY tenant_id HAVING max(id) >= ?",
        number,
    )


def assert_files_match(host, number):
    directory = host.tenants / "acme" / "backups"
    files = [name for name in names_in(directory) if name.endswith(".sqlite3")]
    assert sorted(files) == sorted(row["file"] for row in host.catalog())
    assert len(files) == number
    for name in files:
        assert_true_copy(directory / name)


@pytest.mark.parametrize("clusters", [1, 2])
def test_a_due_tenant_is_backed_up_once_and_pruned(due_host, clusters):
    for _ in range(clusters):
        due_host.start_cluster()
    wait_for_backups(due_host, 3)
    due_host.wait_for(ALL_DONE)
    # A second look by the schedule, and by the other cluster, finds nothing more to do.
    again = due_host.run("runbackup", "--due")
    assert "Nothing is due. Automation is running." in again.stdout
    assert [row["id"] for row in due_host.catalog()] == [3, 2]
    assert_files_match(due_host, 2)
    ((slots,),) = due_host.query(
        "SELECT count(*) FROM tenant_backup_backup WHERE slot_at IS NOT NULL"
    )
    assert slots == 1
    assert due_host.query("SELECT action FROM tenant_backup_event ORDER BY id")[-2:] == [
        ("completed",),
        ("pruned",),
    ]


def test_paused_nothing_is_made(due_host):
    assert "Automation is paused" in due_host.run("automatebackups", "pause").stdout
    due_host.start_cluster()
    due_host.wait_for(ALL_DONE)
    assert len(due_host.catalog()) == 2
    assert due_host.query("SELECT count(*) FROM django_q_task") == [(0,)]  # so nothing failed
    # What a person asks for is made all the same; and after the pause the slot is made up for.
    assert due_host.run("automatebackups", "resume").returncode == 0
    assert "acme: acme-" in due_host.run("runbackup", "--due").stdout


def test_stopped_it_says_stalled_and_cron_does_the_work_instead(due_host):
    cluster = due_host.start_cluster()
    wait_for_backups(due_host, 3)
    due_host.wait_for(ALL_DONE)
    assert "Automation is running" in due_host.run("automatebackups", "status").stdout
    stop_cluster(cluster, signal.SIGKILL)

    # Four minutes pass.
    ((last_tick_at,),) = due_host.query("SELECT last_tick_at FROM tenant_backup_automation")
    earlier = datetime.fromisoformat(last_tick_at) - timedelta(minutes=4)
    due_host.query(
        "UPDATE tenant_backup_automation SET last_tick_at = ?", earlier.isoformat(sep=" ")
    )
    status = due_host.run("automatebackups", "status").stdout
    assert "Automation is stalled: last seen at" in status
    assert "manage.py qcluster" in status

    make_due(due_host, keep_last=2)
    run = due_host.run("runbackup", "--due")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("acme: acme-")
    assert [row["trigger"] for row in due_host.catalog()] == ["automatic", "automatic"]
    assert "Automation is running" in due_host.run("automatebackups", "status").stdout
    assert_files_match(due_host, 2)


def test_a_worker_killed_in_the_middle_is_mended_and_the_next_attempt_succeeds(due_host):
    due_host.assert_killed(
        due_host.start(
            "from tenant_backup import sqlite\n"
            "sqlite._require_time = die\n"
            "command('runbackup', '--due')\n"
        )
    )
    assert due_host.query(ROWS)[-1] == ("running", "automatic")
    # Half a minute passes, within which another tick would do nothing.
    due_host.query("UPDATE tenant_backup_automation SET last_tick_at = NULL")
    due_host.start_cluster()
    due_host.wait_for(ALL_DONE)
    status, error, next_run_at = due_host.query(
        "SELECT status, error, next_run_at FROM tenant_backup_backup "
        "JOIN tenant_backup_backupsettings USING (tenant_id) ORDER BY tenant_backup_backup.id DESC"
    )[0]
    assert status == "failed"
    assert error.startswith("Interrupted")
    # Nobody's help is needed: the next attempt is set, at most a quarter of an hour from now.
    soon = datetime.now(UTC) + timedelta(minutes=15)
    assert datetime.fromisoformat(next_run_at).replace(tzinfo=UTC) <= soon
    make_due(due_host)
    assert due_host.run("runbackup", "--due").returncode == 0
    assert due_host.catalog()[0]["status"] == "complete"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_cluster_ends_in_peace(due_host, how):
    cluster = due_host.start_cluster()
    wait_for_backups(due_host, 3)
    cluster.send_signal(how)
    cluster.wait(timeout=60)
    assert due_host.query("SELECT count(*) FROM tenant_backup_backup WHERE status = 'running'") == [
        (0,)
    ]
