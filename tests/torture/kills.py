"""Kills: each operation is killed at a random step or a random time, and what comes next mends it.

A step is a call that changes a file or asks a database; see `host.Steps`. Meanwhile another process
writes to the tenant's database. A restore needs the database to itself: there the writer was killed
before, and its log is still there.
"""

import signal
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

from tenant_backup import backups, sqlite
from tenant_backup.models import Backup, Trigger
from tests.torture.host import (
    Site,
    Steps,
    Writer,
    assert_in_line,
    assert_intact,
    assert_only_true_copies,
    make_what_is_queued,
    provider_tenant,
    run_command,
    set_policy,
    state_of,
    state_of_backup,
    tick_and_make,
)

FULL, SHORT = 300, 7

KEEP_LAST = 3

OPERATIONS = {
    "runbackup": lambda: run_command("runbackup", "acme"),
    "prunebackups": lambda: run_command("prunebackups", "acme"),
    "delete": lambda: delete(),
    "restorebackup": lambda: run_command("restorebackup", "acme", "1", "--no-input"),
    "syncbackups": lambda: run_command("syncbackups", "acme"),
    "tick": tick_and_make,
    "pin": lambda: pin(),
}
RECOVERIES = {
    "runbackup": lambda: run_command("runbackup", "acme"),
    "prunebackups": lambda: run_command("prunebackups", "acme"),
    "syncbackups": lambda: run_command("syncbackups", "acme"),
    "tick": tick_and_make,
}
MOMENTS = ["files", "sql", "time"]

SITUATIONS = [
    (operation, moment, mode)
    for moment in MOMENTS
    for operation in OPERATIONS
    for mode in ("wal", "delete")
]


def delete():
    """What the page does with a backup that was chosen there: the manual one of the template."""
    tenant = provider_tenant()
    if backup := Backup.objects.filter(tenant_id="acme", label="to delete").first():
        backups.delete(tenant, backup, actor="ada")


def pin():
    tenant = provider_tenant()
    backup = Backup.objects.good().filter(tenant_id="acme", pinned=False).newest_first()[0]
    backups.pin(tenant, backup, pinned=True, actor="ada")


def plan(*, short):
    number = SHORT if short else FULL
    order = SITUATIONS[::3] if short else SITUATIONS
    return [" ".join(order[index % len(order)]) for index in range(number)]


def prepare(folder, *, short):
    """A tenant with eight backups of different days, of which retention would keep three.

    And how many steps each operation has, and how long it takes.
    """
    site = Site(folder / "template").set_up()
    site.add_tenant("acme", rows=300, body=2000)
    site.make_backup(days_ago=9, trigger=Trigger.MANUAL, label="of the page")
    site.make_backup(days_ago=8, trigger=Trigger.MANUAL, label="to delete")
    site.make_backup(days_ago=7, pinned=True)
    for days in (6, 5, 4, 3, 2):
        site.make_backup(days_ago=days, trigger=Trigger.AUTOMATIC)
    site.call(lambda: set_policy(keep_last=KEEP_LAST))
    measured = {}
    for operation in OPERATIONS:
        copies = [site.copy_to(folder / f"{what} {operation}") for what in ("counted", "timed")]
        for copy in copies:
            before_operation(copy, operation)
        counts = folder / f"{operation}.counts"

        def measure(operation=operation, counts=counts):
            with Steps() as steps:
                in_small_chunks(operation)
            counts.write_text(f"{steps.counts['files']} {steps.counts['sql']}")

        copies[0].call(measure)
        files, sql = map(int, counts.read_text().split())
        started = time.monotonic()
        copies[1].call(in_small_chunks, operation)
        measured[operation] = {"files": files, "sql": sql, "time": time.monotonic() - started}
    return site, measured


def before_operation(site, operation):
    """What there is to do for the operation."""
    if operation == "tick":
        now = datetime.now(UTC)
        site.call(lambda: set_policy(automatic=True, next_run_at=now - timedelta(minutes=1)))
    if operation == "syncbackups":
        # Two files that the catalog does not know, and one that somebody has taken away.
        rows = site.catalog()
        for row in rows[3:5]:
            site.query("DELETE FROM tenant_backup_backup WHERE id = ?", row["id"])
        for name in (rows[5]["file_name"], f"{rows[5]['file_name']}.sha256"):
            (site.backups() / name).unlink()
        return {rows[5]["file_name"]}
    return set()


def trial(name, random, folder, prepared):
    template, measured = prepared
    operation, moment, mode = name.split()
    for attempt in range(20):
        site = template.copy_to(folder / f"host{attempt}")
        if kill_once(site, operation, moment, mode, random, measured[operation]):
            return
    raise AssertionError("It was always over before it could be killed.")


def kill_once(site, operation, moment, mode, random, measured):
    """Whether the operation was killed before it was over; what came of it is right either way."""
    database = site.database()
    if mode == "delete":
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode = delete")
    lost = before_operation(site, operation)
    before = site.catalog()
    [first] = site.query("SELECT file_name FROM tenant_backup_backup WHERE id = 1")
    deleted = {row["file_name"] for row in before if row["label"] == "to delete"}
    writer = Writer(site)
    try:
        writer.wait_for(random.randint(1, 10))
        if operation == "restorebackup":
            writer.end()
            old, new = state_of(database), state_of_backup(site.backups() / first["file_name"])
            assert old != new
        was_killed = kill(site, operation, moment, random, measured)
        assert_only_true_copies(site)
        if operation == "restorebackup":
            assert state_of(database) in (old, new), "Neither the old rows nor the new ones."
            site.succeed("restorebackup", "acme", "1", "--no-input")
            assert state_of(database) == new
        else:
            committed = writer.committed
            recovery = random.choice(list(RECOVERIES))
            site.call(RECOVERIES[recovery])
            site.call(make_what_is_queued)
            if operation == "syncbackups":
                site.call(RECOVERIES["syncbackups"])
            if recovery == "runbackup":
                check(site, before, deleted, lost)
            writer.wait_for(committed + 1)
        number = len(site.catalog())
        site.succeed("runbackup", "acme")
        newest = max(site.catalog(), key=lambda row: row["id"])
        assert newest["status"] == "complete", "The tenant is blocked."
        assert len(site.catalog()) <= number + 1
        check(site, before, deleted, lost)
        if operation == "tick":
            # It may have been killed before it could say that it was there.
            site.call(tick_and_make)
        if not lost:
            said = site.run("checkbackups", "acme")
            assert said.returncode == 0, f"An alarm stays: {said}"
        committed = writer.committed
        writer.end()
        if operation != "restorebackup":
            assert_intact(database, at_least=writer.rows + committed)
    finally:
        writer.end()
    return was_killed


def check(site, before, deleted, lost):
    assert_in_line(site, before, deleted=deleted, lost=lost, keep_last=KEEP_LAST)


def kill(site, operation, moment, random, measured):
    if not measured[moment]:
        # It touches no file of its own.
        moment = "sql"
    if moment == "time":
        process = site.start(in_small_chunks, operation)
        process.wait(random.random() * measured["time"])
        process.kill()
    else:
        at = random.randint(1, max(1, measured[moment]))

        def work():
            with Steps(moment, at):
                in_small_chunks(operation)

        process = site.start(work)
        assert process.wait(), f"{operation} hangs."
    killed = process.returncode == -signal.SIGKILL
    assert killed or process.returncode == 0, f"{operation}: {process}"
    return killed


def in_small_chunks(operation):
    """So that even a small copy has many steps."""
    sqlite.snapshots.CHUNK_BYTES = 256 * 1024
    OPERATIONS[operation]()
