"""A host project in a directory of its own, with tenants of any size."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random
from resource import struct_rusage

REPOSITORY = Path(__file__).resolve().parent.parent
MB = 1024 * 1024
BATCH = 1_000

SCHEMA = """
CREATE TABLE ticket (
    id INTEGER PRIMARY KEY,
    number TEXT NOT NULL UNIQUE,
    customer INTEGER NOT NULL,
    status TEXT NOT NULL,
    opened_on TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX ticket_customer ON ticket (customer);
CREATE INDEX ticket_status_opened_on ON ticket (status, opened_on);
CREATE INDEX ticket_subject ON ticket (subject);
"""
STATUSES = ["new", "open", "waiting", "closed"]
WORDS = (
    "again battery belt broken checked contract customer delivery invoice lift motor next noise "
    "order part pump replaced seal serial truck urgent warehouse week"
)


class Host:
    """A host whose commands run as real processes, with the settings of the tests' hosts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tenants = directory / "tenants"
        self.tenants.mkdir()
        self.run("migrate", "--verbosity", "0")

    def add_tenant(self, name: str, megabytes: int) -> Path:
        """Add a tenant with a database of this size, and return the database's path."""
        root = self.tenants / name
        root.mkdir()
        return make_database(root / "db.sqlite3", megabytes)

    def run(self, command: str, *arguments: str) -> struct_rusage:
        """Run a management command in a process of its own, and return its resource usage."""
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.host_settings",
            "TEST_HOST": str(self.directory),
        }
        line = [sys.executable, "-m", "django", command, *arguments]
        with subprocess.Popen(line, cwd=REPOSITORY, env=environment) as process:
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                raise
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{command} failed, see above.")
        return usage


def make_database(path: Path, megabytes: int) -> Path:
    """A database in WAL mode: rows of about a kilobyte, with four indexes. The same every time."""
    random = Random(0)
    text = " ".join(random.choices(WORDS.split(), k=100_000))

    def piece(length: int) -> str:
        start = random.randrange(len(text) - length)
        return text[start : start + length]

    def row(number: int) -> tuple[object, ...]:
        day = f"2025-{random.randint(1, 12):02}-{random.randint(1, 28):02}"
        status = random.choice(STATUSES)
        body = piece(random.randint(100, 1500))
        return f"T-{number:08}", random.randint(1, 20_000), status, day, piece(40), body

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # No journal while the rows are written: a crash now costs nothing.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(SCHEMA)
        rows = 0
        while path.stat().st_size < megabytes * MB:
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO ticket (number, customer, status, opened_on, subject, body) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                map(row, range(rows, rows + BATCH)),
            )
            connection.execute("COMMIT")
            rows += BATCH
        connection.execute("PRAGMA journal_mode = WAL")
    return path
