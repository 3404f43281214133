"""What does it cost to compare a backup with today's database?

Exits 1 if it is more than allowed. Run it from the top of the checkout:
`python -m benchmarks.compare`.
"""

from __future__ import annotations

import argparse
import resource
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from benchmarks.host import MB, WORDS, Host
from benchmarks.memory import RSS_UNIT

BATCH = 1_000
TABLES = {
    "contract": "id INTEGER PRIMARY KEY",
    "ticket": "id INTEGER PRIMARY KEY",
    "note": "id INTEGER PRIMARY KEY",
    "device": "id CHAR(32) NOT NULL PRIMARY KEY",
    "log": "id INTEGER NOT NULL",
}
"""Each table with its key: three as Django makes them, one with UUIDs, one without a key."""

SCHEMA = """
CREATE TABLE {table} (
    {key},
    number TEXT NOT NULL,
    customer INTEGER NOT NULL,
    amount REAL NOT NULL,
    opened_on TEXT NOT NULL,
    is_open BOOL NOT NULL,
    subject VARCHAR(200) NOT NULL,
    body TEXT NULL
);
CREATE INDEX {table}_customer ON {table} (customer);
"""

CHANGES = (
    "DELETE FROM {table} WHERE rowid % 100 = 7",
    "UPDATE {table} SET amount = amount + 1 WHERE rowid % 100 = 8",
    "INSERT INTO {table} SELECT {id}, number, customer, amount, opened_on, is_open, subject, body "
    "FROM {table} WHERE rowid % 100 = 9",
)
"""A hundredth of the rows gone, a hundredth changed, a hundredth new."""


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of a comparison.")
    parser.add_argument("--megabytes", type=int, default=1024, metavar="MB", help="(%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=6, help="work of the processor allowed (%(default)s)"
    )
    parser.add_argument(
        "--memory", type=float, default=60, metavar="MB", help="peak allowed (%(default)s)"
    )
    options = parser.parse_args()

    with TemporaryDirectory(prefix="benchmark-") as directory:
        host = Host(Path(directory))
        root = host.tenants / "acme"
        root.mkdir()
        print(f"making a database of {options.megabytes} MB ...", flush=True)
        rows = make_database(root / "db.sqlite3", options.megabytes)
        host.run("runbackup", "acme", "--verbosity", "0")
        change(root / "db.sqlite3")
        idle = measure(host, "listbackups", "acme", "--json")
        work, peak = measure(host, "comparebackups", "acme", "1")
    print(f"{rows} rows in {len(TABLES)} tables; a command that compares nothing: {idle[0]:.1f} s")
    if work > options.seconds or peak > options.memory:
        sys.exit(f"More than the {options.seconds:g} s and {options.memory:g} MB allowed.")
    print("The comparison needs no more than it may.")


def measure(host: Host, *command: str) -> tuple[float, float]:
    """The processor's work, in seconds, and the peak memory, in MB, of one command."""
    started = time.monotonic()
    usage = host.run(*command)
    seconds = time.monotonic() - started
    if usage.ru_maxrss <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
        # A new process inherits the peak of the one that starts it.
        sys.exit("This script needs more memory than the command, which hides the command's peak.")
    work, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * RSS_UNIT / MB
    print(f"{command[0]}: {work:.1f} s of work in {seconds:.1f} s, peak {peak:.1f} MB", flush=True)
    return work, peak


def make_database(path: Path, megabytes: int) -> int:
    """A database of five tables in WAL mode, the same every time; returns the number of rows."""
    random = Random(0)
    text = " ".join(random.choices(WORDS.split(), k=100_000))

    def piece(length: int) -> str:
        start = random.randrange(len(text) - length)
        return text[start : start + length]

    def row(number: int, table: str) -> tuple[object, ...]:
        return (
            f"{random.getrandbits(128):032x}" if table == "device" else number,
            f"N-{number:08}",
            random.randint(1, 20_000),
            round(random.uniform(1, 10_000), 2),
            f"2025-{random.randint(1, 12):02}-{random.randint(1, 28):02}",
            random.randint(0, 1),
            piece(40),
            piece(random.randint(100, 1500)) if random.random() < 0.9 else None,
        )

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # No journal while the rows are written: a crash now costs nothing.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        for table, key in TABLES.items():
            connection.executescript(SCHEMA.format(table=table, key=key))
        rows = 0
        while path.stat().st_size < megabytes * MB:
            connection.execute("BEGIN")
            for table in TABLES:
                numbers = range(rows + 1, rows + 1 + BATCH)
                connection.executemany(
                    f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (row(number, table) for number in numbers),
                )
            connection.execute("COMMIT")
            rows += BATCH
        connection.execute("PRAGMA journal_mode = WAL")
    return rows * len(TABLES)


def change(path: Path) -> None:
    """Make it differ from its backup, in all tables."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table in TABLES:
            identity = "lower(hex(randomblob(16)))" if table == "device" else "id + 100000000"
            for statement in CHANGES:
                connection.execute(statement.format(table=table, id=identity))


if __name__ == "__main__":
    main()
