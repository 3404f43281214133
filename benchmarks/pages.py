"""How long the server takes for the page and for the operator's list, with few rows and with many.

Of the example project, in one process, through Django's test client: middleware, session and
permissions included, the network and the browser not.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

PAGE = "/settings/admin/backup"
FLEET = "/admin/tenant_backup/backupsettings/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backups", type=int, default=500, help="of one tenant (default: 500)")
    parser.add_argument("--tenants", type=int, default=1000, help="in the list (default: 1000)")
    parser.add_argument(
        "--requests", type=int, default=40, help="to take the median of (default: 40)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pages-") as folder:
        os.environ["EXAMPLE_DATA"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"
        from example_project import settings

        # As in production: Django's templates are slower while they are debugged.
        settings.DEBUG = False
        django.setup()
        measure(options.backups, options.tenants, options.requests)


def measure(backups: int, tenants: int, requests: int) -> None:
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    call_command("setup_example", scale=0.02, stdout=io.StringIO())
    operator = User.objects.get(username="operator")

    def visit(host: str, path: str) -> Callable[[], bytes]:
        client = Client(headers={"host": host})
        client.force_login(operator)

        def get() -> bytes:
            answer = client.get(path)
            if answer.status_code != 200:
                sys.exit(f"{path} was answered with {answer.status_code}.")
            return answer.content

        return get

    page, fleet = visit("acme.localhost", PAGE), visit("localhost", FLEET)
    make_backups(5)
    few = report("page, 5 backups", page, requests)
    make_backups(backups)
    report(f"page, {backups} backups", page, requests, few)
    few = report("list, 3 tenants", fleet, requests)
    make_tenants(tenants)
    report(f"list, {tenants} tenants with 20 backups each", fleet, requests, few)


def report(name: str, get: Callable[[], bytes], requests: int, base: float | None = None) -> float:
    times = []
    for _ in range(requests + 5):
        begun = time.perf_counter()
        content = get()
        times.append((time.perf_counter() - begun) * 1000)
    median = statistics.median(times[5:])  # the first ones load templates
    ratio = f", {median / base:.2f} times" if base else ""
    print(f"{name}: {median:.0f} ms, {len(content) / 1000:.1f} KB of HTML{ratio}")
    return median


def make_backups(number: int) -> None:
    """The rows, and an empty file for each, of acme: about one in sixteen has failed."""
    from django.utils import timezone

    from example_project.tenancy import Tenants
    from tenant_backup import backups
    from tenant_backup.models import Action, Backup, Event

    directory = backups.directory_of(Tenants().get_tenant("acme"))
    directory.make()
    Backup.objects.all().delete()
    now = timezone.now()
    for count in range(number):
        fields: dict[str, Any] = {"tenant_id": "acme", "trigger": "automatic"}
        fields["created_at"] = now - timedelta(hours=6 * count)
        if count % 16 == 3:
            fields |= {"status": "failed", "error": "The database is locked."}
        else:
            name = f"acme-{count}.sqlite3"
            Path(directory.path, name).touch()
            fields |= {"status": "complete", "file_name": name, "size": 2_000_000 + count}
            fields |= {"verified_at": fields["created_at"]}
        backup = Backup.objects.create(**fields)
        Event.objects.create(
            tenant_id="acme", action=Action.COMPLETED, backup_id=backup.pk, size=backup.size
        )


def make_tenants(number: int) -> None:
    from django.utils import timezone

    from example_project.control.models import Customer
    from tenant_backup.models import Backup, BackupSettings

    now = timezone.now()
    names = [f"tenant{count}" for count in range(number)]
    Customer.objects.bulk_create(
        Customer(slug=name, name=name.title(), time_zone="UTC") for name in names
    )
    BackupSettings.objects.ensure(names)
    Backup.objects.bulk_create(
        Backup(
            tenant_id=name,
            trigger="automatic",
            status="complete",
            file_name=f"{count}.sqlite3",
            size=2_000_000,
            created_at=now - timedelta(days=count),
        )
        for name in names
        for count in range(20)
    )


if __name__ == "__main__":
    main()
