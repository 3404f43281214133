"""Put the example's tenants into every situation that the page has words for.

`python -m tests.situations` with the example's settings is a process of its own, which is told the
situation's name, line by line. The first is `month`, which makes real backups and dates them back;
each of the others begins there.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import django
from django.db import connections
from django.utils import timezone

from tests.example import TOP

NAMES = [
    *("well", "failed", "none", "overdue", "lost", "paused", "stalled", "not_set_up", "off"),
    *("queued", "running", "interrupted", "no_room", "many", "fleet"),
    "rows_lost",
]


def copy_database(source: Path, target: Path) -> None:
    """By SQLite, since a server may have either of them open."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def enter(name: str) -> None:
    from django_q.models import Schedule

    from example_project.business.models import Contract, InventoryItem
    from example_project.control.models import Customer
    from example_project.tenancy import tenant_context
    from tenant_backup import automation, backups, monitoring
    from tenant_backup.exceptions import BackupError
    from tenant_backup.models import (
        Automation,
        Backup,
        BackupSettings,
        Event,
        RowCounts,
        Trigger,
    )
    from tenant_backup.tenants import get_provider

    acme, globex, initech = map(get_provider().get_tenant, ("acme", "globex", "initech"))
    directory = backups.directory_of(acme)
    kept = directory.path.with_name("kept")
    now = timezone.now()

    def create(tenant, **values):
        request = backups.BackupRequest(**{"trigger": Trigger.AUTOMATIC, **values})
        return backups.create(tenant, request)

    def date_back(backup, at):
        after = timedelta(seconds=2)
        Backup.objects.filter(pk=backup.pk).update(
            created_at=at, started_at=at, finished_at=at + after, verified_at=at + after
        )
        RowCounts.objects.filter(backup=backup.pk).update(created_at=at)
        Event.objects.filter(backup_id=backup.pk).update(created_at=at + after)

    def fail(at=None, tenant=acme):
        away = tenant.database.rename(tenant.database.with_name("away.sqlite3"))
        try:
            create(tenant)
        except BackupError as error:
            if at:
                date_back(error.backup, at)
        finally:
            away.rename(tenant.database)

    def grow(days):
        """Some days more data is entered than on others."""
        with tenant_context(acme):
            InventoryItem.objects.bulk_create(
                InventoryItem(
                    serial_number=f"GROWN-{days}-{number}",
                    name="Shelf",
                    category="Furniture",
                    purchased_on=now.date(),
                    purchase_price=90,
                    remarks="x" * 400,
                )
                for number in range(days * days % 7 * 40)
            )

    def month():
        BackupSettings.objects.ensure(["acme", "globex"])
        settings = BackupSettings.objects.filter(tenant_id="acme")
        settings.update(automatic=True, keep_last=None, keep_monthly=None)
        two = now.replace(hour=1, minute=12) - timedelta(days=now.hour < 2)
        for days in range(29, -1, -1):
            at = two - timedelta(days=days)
            grow(days)
            if days in (24, 11):
                fail(at)
            elif days not in (27, 18):
                date_back(create(acme).backup, at)
        for days, label in ((20, "before the price update"), (6, "before importing the tickets")):
            made = create(acme, trigger=Trigger.MANUAL, label=label, requested_by="anna").backup
            date_back(made, two - timedelta(days=days, hours=-8))
            if days == 20:
                backups.pin(acme, made, pinned=True, actor="anna")
        settings.update(keep_last=14)
        backups.prune(acme)
        settings.update(keep_last=13)
        shutil.copytree(directory.path, kept)
        copy_database(acme.database, kept.with_suffix(".sqlite3"))
        one_of_each(two)

    def one_of_each(at):
        """What the list has words for, of the tenant whose frame is the host's own."""
        settings = BackupSettings.objects.filter(tenant_id="globex")
        settings.update(keep_last=None, keep_monthly=None)
        date_back(create(globex).backup, at - timedelta(days=3))
        by_hand = {"trigger": Trigger.MANUAL, "requested_by": "george"}
        label = "before the contracts of all partners are renumbered"
        pinned = create(globex, label=label, **by_hand).backup
        date_back(pinned, at - timedelta(days=2, hours=-9))
        backups.pin(globex, pinned, pinned=True, actor="george")
        gone = create(globex, **by_hand).backup
        date_back(gone, at - timedelta(days=2))
        backups.directory_of(globex).file(gone.file_name).unlink()
        fail(at - timedelta(days=1), globex)
        date_back(create(globex).backup, at)
        settings.update(keep_last=1)

    def begin_there():
        """As `month` left it; the catalog is copied by the caller."""
        shutil.rmtree(directory.path)
        shutil.copytree(kept, directory.path)
        automation.set_up()
        Automation.load()
        Automation.objects.update(last_tick_at=now, paused_at=None)
        fill_hole()
        bring_back()
        for row in BackupSettings.objects.all():
            row.automatic = True
            row.reschedule(get_provider().get_tenant(row.tenant_id).zone, now)
            row.save()

    def fill_hole():
        """Undo `no_room`: cut off what SQLite ignores, and nothing else."""
        with closing(sqlite3.connect(acme.database)) as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (bytes_each,) = connection.execute("PRAGMA page_size").fetchone()
        # The file alone would not tell: its newest pages may be in the write-ahead log.
        os.truncate(acme.database, pages * bytes_each)

    def bring_back():
        """Undo `rows_lost`, or what somebody has done on the site."""
        with tenant_context(acme):
            if not Contract.objects.exists():
                copy_database(kept.with_suffix(".sqlite3"), acme.database)

    def running(minutes):
        partial = directory.partial("acme-now.sqlite3")
        partial.write_bytes(bytes(acme.database.stat().st_size // 3))
        started = now - timedelta(minutes=minutes)
        if minutes:
            os.utime(partial, (started.timestamp(),) * 2)
        backup = Backup.objects.create(tenant_id="acme", trigger=Trigger.MANUAL)
        backup.start("acme-now.sqlite3", at=started)

    def overdue():
        BackupSettings.objects.update(scheduled_since=now - timedelta(days=40))
        rows = Backup.objects.for_tenant("acme").deletable()
        for row in rows.filter(created_at__gt=now - timedelta(days=4)):
            backups.delete(acme, row)

    def lose():
        for row in Backup.objects.for_tenant("acme").good().newest_first()[2:4]:
            directory.file(row.file_name).unlink()

    def no_room():
        """Its end is a hole, which SQLite ignores; but a copy must have room for all of it."""
        os.truncate(acme.database, shutil.disk_usage(acme.root).free + 2**30)

    def many():
        """Five hundred backups of the same data, one in eight hours."""
        newest = Backup.objects.for_tenant("acme").good().newest_first()[0]
        file = directory.file(newest.file_name)
        rows = []
        for number in range(1, 501):
            name = f"acme-many-{number}.sqlite3"
            directory.file(name).hardlink_to(file)
            at = now - timedelta(hours=8 * number)
            after = at + timedelta(seconds=2)
            rows.append(
                Backup(
                    tenant_id="acme",
                    status="complete",
                    trigger=Trigger.AUTOMATIC,
                    file_name=name,
                    size=newest.size,
                    sha256=newest.sha256,
                    created_at=at,
                    started_at=at,
                    finished_at=after,
                    verified_at=after,
                )
            )
        Backup.objects.bulk_create(rows)

    def fleet():
        """Two hundred tenants, of which three have never had a backup and ten have failed."""
        BackupSettings.objects.filter(tenant_id="acme").update(automatic=True)
        names = [f"customer-{number:03}" for number in range(1, 198)]
        Customer.objects.bulk_create(
            Customer(slug=name, name=name.capitalize(), time_zone="Europe/Berlin") for name in names
        )
        for number, customer in enumerate(Customer.objects.filter(slug__in=names)):
            tenant = customer.tenant
            if not tenant.database.exists():
                tenant.root.mkdir(exist_ok=True)
                with closing(sqlite3.connect(tenant.database)) as connection:
                    connection.execute("CREATE TABLE notes (text)")
            if number % 70:
                create(tenant)
            if number % 20 == 7:
                fail(tenant=tenant)

    def rows_lost():
        """Somebody deletes all contracts, and the next backup notices that."""
        with tenant_context(acme):
            Contract.objects.all().delete()
        create(acme)

    situations = {
        "well": lambda: None,
        "failed": fail,
        "none": lambda: backups.directory_of(initech).make(),
        "overdue": overdue,
        "lost": lose,
        "paused": lambda: automation.pause("operator"),
        "stalled": lambda: Automation.objects.update(last_tick_at=now - timedelta(hours=30)),
        "not_set_up": lambda: Schedule.objects.all().delete(),
        "off": lambda: BackupSettings.objects.update(automatic=False),
        "queued": lambda: backups.request(acme, backups.BackupRequest(trigger=Trigger.MANUAL)),
        "running": lambda: running(0),
        "interrupted": lambda: running(30),
        "no_room": no_room,
        "many": many,
        "fleet": fleet,
        "rows_lost": rows_lost,
    }
    assert list(situations) == NAMES
    if name == "month":
        month()
    else:
        begin_there()
        situations[name]()
        # As the tick would, for the list of all tenants.
        monitoring.notify(timezone.now())


def main() -> None:
    django.setup()
    for line in sys.stdin:
        enter(line.strip())
        # The next situation begins with another database.
        connections.close_all()
        print("done", flush=True)


class Situations:
    """The example in each situation; the server that shows it may go on running."""

    def __init__(self, project):
        self.project = project
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.situations"],
            cwd=TOP,
            env=project.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.catalog = project.data / "control.sqlite3"
        self.saved = project.data / "control.saved"
        self._run("month")
        copy_database(self.catalog, self.saved)

    def enter(self, name: str) -> str:
        """Go there, and return the tenant that it is about."""
        copy_database(self.saved, self.catalog)
        self._run(name)
        return "initech" if name == "none" else "acme"

    def end(self) -> None:
        self.process.communicate(timeout=30)

    def _run(self, name):
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n", "its errors are above"


if __name__ == "__main__":
    main()
