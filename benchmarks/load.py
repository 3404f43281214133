"""How much other processes' writes slow a backup down, and how much the backup slows them down.

Run it from the top of the checkout: `python -m benchmarks.load`. It takes less than a minute.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from benchmarks.host import Host
from tenant_backup import sqlite

PATIENCE = 30
"""Seconds to wait for another process's lock."""

Interval = tuple[float, float]
"""Two times of `time.monotonic()`, a clock that all processes share."""

Copy = Callable[[Path, sqlite3.Connection], None]
"""Copies a database into an empty one."""


class GivenUp(Exception):
    """The copy took too long."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Backups of a database that others write to.")
    parser.add_argument("--size", type=int, default=200, metavar="MB", help="(%(default)s)")
    parser.add_argument("--writers", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument(
        "--pause", type=float, default=2, metavar="MS", help="after each write (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=5, help="for each of six measurements (%(default)s)"
    )
    options = parser.parse_args()
    seconds: float = options.seconds

    with TemporaryDirectory(prefix="benchmark-") as directory:
        print(f"making a database of {options.size} MB ...", flush=True)
        host = Host(Path(directory))
        database = host.add_tenant("acme", options.size)
        one_step = partial(timed_copy, in_one_step, database)
        in_chunks = partial(timed_copy, in_chunks_of_a_snapshot, database)
        wait = partial(timed, partial(time.sleep, seconds))
        backup = partial(timed, partial(host.run, "runbackup", "acme", "--verbosity", "0"))

        print("measuring ...", flush=True)
        fastest, in_peace = repeat(seconds, one_step, in_chunks)
        with writing(database, options.writers, options.pause / 1000) as writes:
            quiet = [wait()]
            (under_load,) = repeat(seconds, in_chunks)
            naive = naive_copy(database, seconds)
            (backups,) = repeat(seconds, backup)
            quiet.append(wait())

    print(
        f"\n{options.size} MB in WAL mode, {options.writers} writers, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )
    print_copies(
        {
            "one step, nobody writes": fastest,
            "chunks of a snapshot, nobody writes": in_peace,
            "chunks of a snapshot, others write": under_load,
        }
    )
    print(f"{'chunks without it, others write':<36}{naive}")
    print_writes(
        {"no backup": quiet, "during the copy": under_load, "during runbackup": backups}, writes
    )


def timed(action: Callable[[], object]) -> Interval:
    started = time.monotonic()
    action()
    return started, time.monotonic()


def timed_copy(copy: Copy, database: Path) -> Interval:
    with empty_copy(database) as target:
        return timed(partial(copy, database, target))


def repeat(seconds: float, *measurements: Callable[[], Interval]) -> list[list[Interval]]:
    """Repeat the measurements in turns until the time is over, and return the results of each."""
    end = time.monotonic() + seconds
    rounds: list[list[Interval]] = []
    while not rounds or time.monotonic() < end:
        rounds.append([measure() for measure in measurements])
    return [list(results) for results in zip(*rounds, strict=True)]


def in_chunks_of_a_snapshot(database: Path, target: sqlite3.Connection) -> None:
    """The copy as `runbackup` makes it."""
    with sqlite.snapshot(database, busy_timeout=PATIENCE) as snapshot:
        snapshot.copy_to(target)


def in_one_step(database: Path, target: sqlite3.Connection) -> None:
    """The copy in one call of SQLite: it shows no progress, and nothing can interrupt it."""
    with closing(sqlite3.connect(database)) as source:
        source.backup(target)


def naive_copy(database: Path, give_up: float) -> str:
    """How far a copy in chunks gets if no read transaction holds the snapshot."""
    end = time.monotonic() + give_up
    copied = furthest = restarts = 0
    total = 1

    def after_chunk(_status: int, remaining: int, pages: int) -> None:
        nonlocal copied, furthest, restarts, total
        before, copied, total = copied, pages - remaining, pages
        restarts += copied <= before
        furthest = max(furthest, copied)
        if remaining and time.monotonic() > end:
            raise GivenUp

    started = time.monotonic()
    with closing(sqlite3.connect(database)) as source, empty_copy(database) as target:
        (page_size,) = source.execute("PRAGMA page_size").fetchone()
        try:
            source.backup(target, pages=sqlite.CHUNK_BYTES // page_size, progress=after_chunk)
            outcome = "finished"
        except GivenUp:
            outcome = f"given up, {furthest / total:.0%} copied at best,"
    return f"{outcome} after {time.monotonic() - started:.1f} s and {restarts} restarts"


@contextmanager
def empty_copy(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection to an empty database, which is removed at the end."""
    target = database.with_name("copy.sqlite3")
    target.touch(exist_ok=False)
    try:
        with closing(sqlite.open_copy(target)) as connection:
            yield connection
    finally:
        target.unlink()


@contextmanager
def writing(database: Path, writers: int, pause: float) -> Iterator[list[Interval]]:
    """Let processes write meanwhile. At the end the list holds all of their writes."""
    context = get_context("spawn")
    writes: list[Interval] = []
    processes = []
    connections = []
    try:
        for number in range(writers):
            connection, theirs = context.Pipe()
            process = context.Process(target=write, args=(database, number, pause, theirs))
            process.start()
            theirs.close()
            processes.append(process)
            connections.append(connection)
        for connection in connections:
            connection.recv()  # it has started
        yield writes
        for connection in connections:
            connection.send("end")
        for connection in connections:
            writes += connection.recv()
    finally:
        for process in processes:
            process.kill()
            process.join()


def write(database: Path, number: int, pause: float, parent: Connection) -> None:
    """Change two tickets in one transaction, again and again until told to stop."""
    random = Random(number)
    writes: list[Interval] = []
    with closing(sqlite3.connect(database, timeout=PATIENCE, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = NORMAL")
        (rows,) = connection.execute("SELECT max(id) FROM ticket").fetchone()

        def transaction() -> None:
            one, other = random.randint(1, rows), random.randint(1, rows)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE ticket SET status = 'closed' WHERE id = ?", [one])
            connection.execute("UPDATE ticket SET customer = ? WHERE id = ?", [number, other])
            connection.execute("COMMIT")

        parent.send("begun")
        while not parent.poll():
            writes.append(timed(transaction))
            time.sleep(pause)
    parent.send(writes)


def print_copies(copies: dict[str, list[Interval]]) -> None:
    print(f"\n{'copy':<36}{'ratio':>5}{'median':>10}")
    fastest = None
    for title, intervals in copies.items():
        seconds = median(end - start for start, end in intervals)
        fastest = fastest or seconds
        print(f"{title:<36}{seconds / fastest:>5.2f}{seconds:>8.3f} s")


def print_writes(phases: dict[str, list[Interval]], writes: list[Interval]) -> None:
    titles = f"{'ratio':>5}{'p50':>12}{'ratio':>10}{'p99':>12}{'longest':>13}{'a second':>10}"
    print(f"\n{'write':<20}{titles}")
    usual = None
    for title, phase in phases.items():
        latencies = [
            end - start
            for start, end in writes
            if any(start < until and since < end for since, until in phase)
        ]
        percentiles = quantiles(latencies, n=100)
        p50, p99 = percentiles[49], percentiles[98]
        usual = usual or (p50, p99)
        rate = len(latencies) / sum(until - since for since, until in phase)
        print(
            f"{title:<20}{p50 / usual[0]:>5.2f}{1000 * p50:>9.2f} ms"
            f"{p99 / usual[1]:>10.2f}{1000 * p99:>9.2f} ms"
            f"{1000 * max(latencies):>10.1f} ms{rate:>10.0f}"
        )


if __name__ == "__main__":
    main()
