"""Kills while rows are brought back, or while that is undone: all or nothing, and recorded.

The process is killed at a random step or a random time; see `kills`. Meanwhile another process
writes to the tenant's database. Right afterwards somebody looks: the tick, or the next command.
"""

import signal
import sqlite3
import time
from contextlib import closing

from tenant_backup import rows
from tests.torture.host import Site, Steps, Writer, run_command, tick_and_make

FULL, SHORT = 100, 6

OPERATIONS = ["restore", "undo"]
MOMENTS = ["sql", "time", "files"]

SITUATIONS = [
    (operation, moment, mode)
    for moment in MOMENTS
    for operation in OPERATIONS
    for mode in ("wal", "delete")
]

CONTRACTS = 400

SCHEMA = """
CREATE TABLE contract (id INTEGER PRIMARY KEY, number TEXT UNIQUE);
CREATE TABLE ticket (id INTEGER PRIMARY KEY, contract_id NOT NULL REFERENCES contract (id),
                     title TEXT);
CREATE TABLE device (id INTEGER PRIMARY KEY, contract_id REFERENCES contract (id));
"""
TABLES = ("contract", "ticket", "device")
ACCIDENT = "UPDATE device SET contract_id = NULL; DELETE FROM ticket; DELETE FROM contract;"

RESTORE = ("restorerows", "acme", "1", "contract", "--with-related", "--no-input")
UNDO = ("restorerows", "acme", "--undo", "1", "--no-input")
RECOVERIES = {
    "tick": tick_and_make,
    "recovery": rows.recover_all,
    "dry run": lambda: run_command("restorerows", "acme", "--undo", "1", "--dry-run"),
}


def plan(*, short):
    number = SHORT if short else FULL
    return [" ".join(SITUATIONS[index % len(SITUATIONS)]) for index in range(number)]


def prepare(folder, *, short):
    """A tenant whose contracts were deleted after its backup; and one in which they are back.

    And how many steps each operation has, and how long it takes.
    """
    site = Site(folder / "template").set_up()
    site.add_tenant("acme", rows=50)
    with closing(sqlite3.connect(site.database())) as connection:
        connection.executescript(SCHEMA)
        numbers = range(1, CONTRACTS + 1)
        with connection:
            for sql in (
                "INSERT INTO contract VALUES (?1, 'C-' || ?1)",
                "INSERT INTO ticket (contract_id, title) VALUES (?1, 'of ' || ?1)",
                "INSERT INTO device (contract_id) VALUES (?1)",
            ):
                connection.executemany(sql, [(number,) for number in numbers])
    site.succeed("runbackup", "acme")
    full = state(site)
    with closing(sqlite3.connect(site.database())) as connection:
        connection.executescript(ACCIDENT)
    empty = state(site)
    templates = {"restore": site, "undo": site.copy_to(folder / "back")}
    templates["undo"].succeed(*RESTORE)
    assert state(templates["undo"]) == full
    measured = {}
    for operation, template in templates.items():
        counted, timed = (template.copy_to(folder / f"{operation} {what}") for what in "ab")
        counts = folder / f"{operation}.counts"

        def measure(operation=operation, counts=counts):
            with Steps() as steps:
                run_command(*(RESTORE if operation == "restore" else UNDO))
            counts.write_text(f"{steps.counts['files']} {steps.counts['sql']}")

        counted.call(measure)
        files, sql = map(int, counts.read_text().split())
        started = time.monotonic()
        timed.succeed(*(RESTORE if operation == "restore" else UNDO))
        measured[operation] = {"files": files, "sql": sql, "time": time.monotonic() - started}
    return templates, measured, {"full": full, "empty": empty}


def trial(name, random, folder, prepared):
    templates, measured, states = prepared
    operation, moment, mode = name.split()
    for attempt in range(20):
        site = templates[operation].copy_to(folder / f"host{attempt}")
        # It may have been measured while the machine was busy.
        facts = measured[operation] | {"time": measured[operation]["time"] / (attempt + 1)}
        if kill_once(site, operation, moment, mode, random, facts, states):
            return
    raise AssertionError("It was always over before it could be killed.")


def kill_once(site, operation, moment, mode, random, measured, states):
    """Whether it was killed before it was over; what came of it is right either way."""
    with closing(sqlite3.connect(site.database())) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    command = RESTORE if operation == "restore" else UNDO
    writer = Writer(site)
    try:
        writer.wait_for(random.randint(1, 5))
        was_killed = kill(site, command, moment, random, measured)
        found = state(site)
        assert found in states.values(), "Neither all rows nor none."
        recovery = random.choice(list(RECOVERIES))
        after = site.start(RECOVERIES[recovery])
        assert after.wait(), f"{recovery} hangs."
        is_back = found == states["full"]
        assert recorded(site) == ["done"] * is_back, f"{recovery}: {after}"
        check_history(site, operation, is_back=is_back)
        assert state(site) == found
        committed = writer.committed
        writer.wait_for(committed + 1)
        # Whatever came of it, the other one works now.
        if is_back:
            [(number,)] = site.query("SELECT id FROM tenant_backup_rowrestore WHERE state = 'done'")
            site.succeed("restorerows", "acme", "--undo", number, "--no-input")
            assert state(site) == states["empty"]
        else:
            site.succeed(*RESTORE)
            assert state(site) == states["full"]
    finally:
        writer.end()
    return was_killed


def kill(site, command, moment, random, measured):
    if moment == "time":
        process = site.start(run_command, *command)
        process.wait(random.random() * measured["time"])
        process.kill()
    else:
        at = random.randint(1, measured[moment])

        def work():
            with Steps(moment, at):
                run_command(*command)

        process = site.start(work)
        assert process.wait(), f"{command} hangs."
    killed = process.returncode == -signal.SIGKILL
    assert killed or process.returncode == 0, f"{command}: {process}"
    return killed


def state(site):
    with closing(sqlite3.connect(site.database(), timeout=60)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return [
            connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() for table in TABLES
        ]


def recorded(site):
    """The states of what is recorded, without what is undone."""
    rows = site.query("SELECT state FROM tenant_backup_rowrestore WHERE state <> 'undone'")
    return [state for (state,) in rows]


def check_history(site, operation, *, is_back):
    kinds = site.query("SELECT kind FROM tenant_backup_event WHERE kind LIKE 'rows_%'")
    kinds = [kind for (kind,) in kinds if kind in ("rows_restored", "rows_undone")]
    if operation == "undo":
        assert kinds == ["rows_restored"] + ["rows_undone"] * (not is_back)
    else:
        assert kinds == ["rows_restored"] * is_back
    held = site.query("SELECT hold_reason FROM tenant_backup_backup WHERE hold_reason <> ''")
    assert len(held) == (is_back or operation == "undo")
