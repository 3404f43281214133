"""Two real clusters on one control database, of which one or the other is killed again and again.

Slots come every second. The schedule is looked at all the time, by two processes that are killed,
too, and each backup is handed over once more than need be. There is one backup a slot, none is lost
but what a kill interrupted, and none is made twice.
"""

import os
import shutil
import time
from collections import Counter
from contextlib import ExitStack, contextmanager

import pytest

from tests import postgres
from tests.conftest import Host, assert_true_copy, migrate, names_in, new_database, stop_cluster
from tests.test_cluster import COMPLETE, HURRY, LARGE, NOTHING_WAITS, SCHEDULER, ago

FULL, SHORT = 3, 1

JOBS = 1
"""A machine of two cores has enough to do with two clusters."""

TENANTS = ["acme", "globex", "initech"]

NOTHING_ACTIVE = """
    SELECT 1 WHERE NOT EXISTS (
        SELECT 1 FROM tenant_backup_backup WHERE status IN ('queued', 'running')
    )
"""
ROWS = "SELECT id, tenant_id, slot_at, status, error, file_name FROM tenant_backup_backup"


class Prepared:
    """Control databases with all tables, to be copied; and a server, where one was started."""

    def __init__(self, folder, *, short):
        self.open = ExitStack()
        self.sqlite = folder / "control.sqlite3"
        migrate(Host(folder))
        self.postgresql = None
        if not (short or postgres.is_there()) and (binaries := postgres.find_binaries()):
            os.environ[postgres.VARIABLE] = self.open.enter_context(postgres.server(binaries))
        if postgres.is_there():
            self.postgresql = self.open.enter_context(new_database())
            migrate(Host(folder, self.postgresql))

    @contextmanager
    def host(self, kind, folder):
        with ExitStack() as stack:
            if kind == "postgresql":
                if not self.postgresql:
                    pytest.skip("without PostgreSQL")
                host = Host(folder, stack.enter_context(new_database(self.postgresql)))
            else:
                shutil.copy(self.sqlite, folder / "control.sqlite3")
                host = Host(folder)
            stack.callback(host.end)
            yield host


def plan(*, short):
    if short:
        return ["sqlite", *["postgresql"] * postgres.is_there()] * SHORT
    return ["sqlite", "postgresql"] * FULL


def prepare(folder, *, short):
    return Prepared(folder, short=short)


def finish(prepared):
    prepared.open.close()


def trial(kind, random, folder, prepared):
    with prepared.host(kind, folder) as host:
        for name in TENANTS:
            host.add_tenant(name, **LARGE)
        host.configure(TENANT_BACKUP={"DEFAULT_SETTINGS": {"automatic": True, "keep_last": None}})
        return trial_of(host, random)


def trial_of(host, random):
    schedulers = [host.start(SCHEDULER) for _ in range(2)]
    clusters = [host.start_cluster(before=HURRY) for _ in range(2)]
    wait_for_each(host, 1)
    killed = Counter()
    for _ in range(4):
        time.sleep(random.uniform(0, 1.5))
        which = random.choice(["cluster", "cluster", "scheduler"])
        killed[which] += 1
        if which == "cluster":
            number = random.randrange(len(clusters))
            stop_cluster(clusters[number])
            clusters[number] = host.start_cluster(before=HURRY)
        else:
            number = random.randrange(len(schedulers))
            schedulers[number].end()
            schedulers[number] = host.start(SCHEDULER)
    ((so_far,),) = host.query(COMPLETE)
    # It goes on for every tenant, whatever was interrupted.
    wait_for_each(host, 2, since=host.query("SELECT max(id) FROM tenant_backup_backup")[0][0])

    host.query("UPDATE tenant_backup_backupsettings SET automatic = ?", False)
    for scheduler in schedulers:
        scheduler.go_on()
    for scheduler in schedulers:
        _, errors = scheduler.communicate(timeout=120)
        assert scheduler.returncode == 0, errors
    host.wait_for(NOTHING_ACTIVE)
    # What the killed workers had taken is delivered once more, as it is when its time has come.
    host.query("UPDATE django_q_ormq SET lock = ?", ago(hours=1))
    host.wait_for(NOTHING_WAITS)
    host.wait_for(NOTHING_ACTIVE)

    rows = host.query(ROWS)
    assert {status for *_, status, _, _ in rows} <= {"complete", "failed"}, Counter(rows)
    slots = Counter((tenant, slot_at) for _, tenant, slot_at, *_ in rows)
    doubled = [slot for slot, number in slots.items() if number > 1]
    assert not doubled, f"More than one backup of a slot: {doubled}"
    failed = [row for row in rows if row[3] == "failed"]
    errors = [error for *_, error, _ in failed if not error.startswith("Interrupted")]
    assert not errors, f"Lost, and not by a kill: {errors}"
    # A cluster has two workers, and each makes one at a time.
    most = 2 * killed["cluster"]
    assert len(failed) <= most, f"{len(failed)} backups are lost by {killed['cluster']} kills."
    for tenant in TENANTS:
        backups = host.tenants / tenant / "backups"
        files = [name for name in names_in(backups) if name.endswith(".sqlite3")]
        assert sorted(files) == sorted(row[5] for row in rows if row[1] == tenant and row[5])
        assert not [name for name in names_in(backups) if name.endswith(".partial")]
        for name in files:
            assert_true_copy(backups / name)
    assert so_far
    return Counter({"slots": len(slots), "interrupted": len(failed)}) + Counter(
        {f"{which}s killed": number for which, number in killed.items()}
    )


def wait_for_each(host, number, since=0):
    for tenant in TENANTS:
        host.wait_for(
            "SELECT 1 WHERE (SELECT count(*) FROM tenant_backup_backup "
            "WHERE tenant_id = ? AND status = 'complete' AND id > ?) >= ?",
            tenant,
            since,
            number,
        )
