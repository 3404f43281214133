"""How long does a writer wait while `restorerows` brings many rows back, and while it undoes that?

Run it from the top of the checkout: `python -m benchmarks.rows`. Meanwhile another process inserts
single rows, one transaction each, and measures how long each of them takes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.host import MB, Host

PATIENCE = 60
"""Seconds after which the writer gives up. Django's own default is 5."""


def main() -> None:
    parser = argparse.ArgumentParser(description="How long a writer waits for a rescue of rows.")
    parser.add_argument("--megabytes", type=int, default=476, metavar="MB", help="(%(default)s)")
    parser.add_argument("--rows", type=int, default=80_000, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--scattered",
        action="store_true",
        help="they were all over the table, so that nearly every page is written, not in one piece",
    )
    options = parser.parse_args()

    with TemporaryDirectory(prefix="benchmark-") as directory:
        host = Host(Path(directory))
        database = host.add_tenant("acme", options.megabytes)
        host.run("runbackup", "acme", "--verbosity", "0")
        deleted = delete(database, options.rows, scattered=options.scattered)
        print(f"a database of {database.stat().st_size / MB:.0f} MB, {deleted} rows deleted")
        for command in (
            ("runbackup", "acme"),
            ("restorerows", "acme", "1", "ticket", "--no-input"),
            ("restorerows", "acme", "--undo", "1", "--no-input"),
        ):
            started = time.monotonic()
            waits = writing_meanwhile(database, partial(host.run, *command, "--verbosity", "0"))
            seconds = time.monotonic() - started
            name = " ".join(command)
            print(
                f"{name}: {seconds:.1f} s; {len(waits)} writes meanwhile, "
                f"the longest took {max(waits):.2f} s, half of them at most "
                f"{sorted(waits)[len(waits) // 2] * 1000:.1f} ms",
                flush=True,
            )


def delete(database: Path, rows: int, *, scattered: bool) -> int:
    """Delete so many rows, in one piece or all over the table."""
    with closing(sqlite3.connect(database)) as connection, connection:
        (number,) = connection.execute("SELECT count(*) FROM ticket").fetchone()
        start = number // 2
        condition, values = "id > ? AND id <= ?", (start, start + rows)
        if scattered:
            condition, values = "id % ? = ?", (max(1, number // rows), 0)
        return connection.execute(f"DELETE FROM ticket WHERE {condition}", values).rowcount


def writing_meanwhile(database: Path, work: Callable[[], object]) -> list[float]:
    """How long each write of another process takes while the work is done."""
    ours, theirs = multiprocessing.Pipe()
    writer = multiprocessing.Process(target=write, args=(database, theirs))
    writer.start()
    ours.recv()
    try:
        work()
    finally:
        ours.send(None)
        waits: list[float] = json.loads(ours.recv())
        writer.join()
    return waits


def write(database: Path, pipe: Connection) -> None:
    waits = []
    with closing(sqlite3.connect(database, timeout=PATIENCE, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, moment REAL)")
        pipe.send(None)
        while not pipe.poll():
            started = time.monotonic()
            connection.execute("INSERT INTO log (moment) VALUES (?)", (time.time(),))
            waits.append(time.monotonic() - started)
            time.sleep(0.001)
    pipe.send(json.dumps(waits))


if __name__ == "__main__":
    main()
