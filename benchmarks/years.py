"""What years of hourly backups leave behind: rows, bytes, and slower queries.

It writes the catalog of a host whose history was never pruned, row by row in SQL, without making
any backup. Then it requests the operator's list as an operator does, and lets ticks remove what is
old.

Run it from the top of the checkout: `python -m benchmarks.years`. It takes some minutes, and about
3 GB of disk for every five years of 100 tenants.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import django

from benchmarks.host import MB, Host

HOURS = 365 * 24
KEPT = 100
"""Good backups of each tenant that retention has kept."""
FAILS = 100
"""One in so many attempts fails."""

EVENT = """
INSERT INTO tenant_backup_event
    (tenant_id, kind, backup_id, file_name, actor, detail, detail_data, size, created_at)
VALUES (?, ?, ?, ?, '', ?, '', 1048576, ?)
"""
BACKUP = """
INSERT INTO tenant_backup_backup
    (tenant_id, status, "trigger", label, pinned, file_name, size, sha256, created_at, error,
     error_data, requested_by, slot_at, hold_reason, hold_reason_data, deleting_as, deleting_by,
     deleting_why, deleting_why_data, form_token)
VALUES (?, ?, 'automatic', '', 0, ?, 1048576, '', ?, ?, '', '', ?, '', '', '', '', '', '', '')
"""
WELL = 30
"""`Verdict.WELL`: nothing was found, and nobody was notified."""
WHY = "It is over the limit of 100 backups."
REASON = "The disk is full: 0 bytes are free, and 17 MB are needed for the copy and its log."


def main() -> None:
    parser = argparse.ArgumentParser(description="The catalog of a host with years behind it.")
    parser.add_argument("--years", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--tenants", type=int, default=100, help="(%(default)s)")
    parser.add_argument("--requests", type=int, default=5, help="of each kind (%(default)s)")
    parser.add_argument("--ticks", type=int, default=50, help="to be timed (%(default)s)")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="benchmark-") as name:
        directory = Path(name)
        Host(directory)
        print(f"making {options.years} years of {options.tenants} hourly tenants ...", flush=True)
        fill(directory / "control.sqlite3", options.tenants, options.years * HOURS)
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.host_settings"
        os.environ["TEST_HOST"] = name
        django.setup()
        report(directory / "control.sqlite3", options.requests, options.ticks)


def fill(database: Path, tenants: int, hours: int) -> None:
    """Every hour each tenant gets a backup and loses its oldest; some fail."""
    start = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=hours)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")
        with connection:
            connection.executemany(EVENT, events(start, tenants, hours))
            connection.executemany(BACKUP, backups(start, tenants, hours))
            connection.executemany(
                "INSERT INTO tenant_backup_tenantstate (tenant_id, revision, retired_by, noted, "
                "missing_noted, notified, missing_notified, unsent_to) "
                "VALUES (?, 0, '', ?, 0, ?, 0, '')",
                [(f"tenant{tenant}", WELL, WELL) for tenant in range(tenants)],
            )


def events(start: datetime, tenants: int, hours: int) -> Iterator[tuple[object, ...]]:
    for hour in range(hours):
        at = str(start + timedelta(hours=hour))
        for tenant in range(tenants):
            who, number = f"tenant{tenant}", hour * tenants + tenant
            if number % FAILS == 0:
                yield who, "failed", number, "", REASON, at
                continue
            file = f"{who}-20260101T{number:08}Z.sqlite3"
            yield who, "completed", number, file, "", at
            if hour >= KEPT:
                yield who, "pruned", number, file, WHY, at
            if number % 100_000 == 1:
                yield who, "restored", number, file, "", at


def backups(start: datetime, tenants: int, hours: int) -> Iterator[tuple[object, ...]]:
    for hour in range(hours):
        at = str(start + timedelta(hours=hour))
        for tenant in range(tenants):
            who, number = f"tenant{tenant}", hour * tenants + tenant
            if number % FAILS == 0:
                yield who, "failed", "", at, REASON, at
            elif hour >= hours - KEPT:
                yield who, "complete", f"{who}-20260101T{number:08}Z.sqlite3", at, "", at


def report(database: Path, requests: int, ticks: int) -> None:
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.utils import timezone

    from tenant_backup import automation
    from tenant_backup.models import Backup, Event

    print(f"{Event.objects.count():,} events, {Backup.objects.count():,} rows of backups")
    with closing(sqlite3.connect(database)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    print(f"{database.stat().st_size / MB:,.0f} MB")

    operator = Client(HTTP_HOST="localhost")
    operator.force_login(User.objects.create_superuser("operator"))
    month = (timezone.now() - timedelta(days=400)).strftime("%Y-%m")
    pages = {
        "the newest": "",
        "a later page": "?p=90",
        "a rare kind": "?action__exact=restored",
        "a frequent kind": "?action__exact=completed",
        "a month": f"?month={month}",
        "a tenant": "?q=tenant7",
        "a word that is in all of a kind": "?q=limit",
        "a word that is nowhere": "?q=nowhere",
    }

    def visit(query: str) -> None:
        answer = operator.get(f"/admin/tenant_backup/event/{query}")
        assert answer.status_code == 200, answer

    print("\nthe operator's list of events, seconds of the processor:")
    for name, query in pages.items():
        print(f"  {name}: {median(partial(visit, query), requests):.3f}", flush=True)

    print("\nqueries, milliseconds of the processor:")
    acme = Backup.objects.for_tenant("tenant7")
    queries: dict[str, Callable[[], object]] = {
        "all that are active": lambda: list(Backup.objects.active()),
        "the active one of a tenant": lambda: acme.active().first(),
        "its newest good one": lambda: acme.good().newest_first().first(),
        "its newest failure": lambda: acme.failed().newest_first().first(),
        "the number of all good ones": lambda: Backup.objects.good().count(),
    }
    for name, ask in queries.items():
        print(f"  {name}: {median(ask, 20) * 1000:.2f}", flush=True)

    print("\nidle ticks that remove what is old, milliseconds of the processor:")
    print(f"  each of the first {ticks}: {median(forget(automation), ticks) * 1000:.1f}")
    count = ticks
    begun = time.process_time()
    before = None
    while before != (before := (Event.objects.count(), Backup.objects.count())):
        for _ in range(100):
            automation.forget(timezone.now(), failures=False)
        count += 100
    print(f"  up to {count:,} until nothing is old, in {time.process_time() - begun:,.0f} s")
    print(f"  each one then: {median(forget(automation), ticks) * 1000:.1f}")
    print(f"{Event.objects.count():,} events, {Backup.objects.count():,} rows of backups are left")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA freelist_count")
        free = cursor.fetchone()[0] * 4096
    print(
        f"{free / MB:,.0f} MB of the file are free again, for SQLite to use or VACUUM to give back"
    )


def forget(automation: object) -> Callable[[], object]:
    from django.utils import timezone

    return lambda: automation.forget(timezone.now())  # type: ignore[attr-defined]


def median(do: Callable[[], object], times: int) -> float:
    """The median of the processor time in seconds. By then all data are in memory."""

    def timed() -> float:
        begun = time.process_time()
        do()
        return time.process_time() - begun

    return statistics.median(timed() for _ in range(times))


if __name__ == "__main__":
    main()
