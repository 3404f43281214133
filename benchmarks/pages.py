"""How long the server takes for the page and for the operator's list, with few rows and with many.

It measures the example project behind Python's own server: middleware, sessions and permissions are
included, the network and the browser are not.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django

PAGE = "/settings/admin/backup"
ALL_TENANTS = "/admin/tenant_backup/backupsettings/"


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

        # As in production: DEBUG makes Django's templates slower.
        settings.DEBUG = False
        django.setup()
        measure(options.backups, options.tenants, options.requests)


def measure(backups: int, tenants: int, requests: int) -> None:
    from django.core.management import call_command

    call_command("setup_example", scale=0.02, stdout=io.StringIO())
    with served() as server:
        page = server.visit("anna", "acme.localhost", PAGE)
        listed = server.visit("operator", "localhost", ALL_TENANTS)
        make_backups(5)
        few = server.report("page, 5 backups", page, requests)
        make_backups(backups)
        server.report(f"page, {backups} backups", page, requests, few)
        few = server.report("list, 3 tenants", listed, requests)
        make_tenants(tenants)
        name = f"list, {tenants} tenants with 20 backups each"
        server.report(name, listed, requests, few)


@dataclass
class Served:
    """The running example, and how long each request took, in milliseconds."""

    port: int
    times: list[float]

    def visit(self, user: str, host: str, path: str) -> Callable[[], bytes]:
        from django.contrib.auth.models import User
        from django.test import Client

        client = Client(headers={"host": host})
        client.force_login(User.objects.get(username=user))
        headers = {"Host": host, "Cookie": f"sessionid={client.cookies['sessionid'].value}"}

        def get() -> bytes:
            connection = HTTPConnection("127.0.0.1", self.port)
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                sys.exit(f"{path} was answered with {answer.status}.")
            content = answer.read()
            connection.close()
            return content

        return get

    def report(
        self, name: str, get: Callable[[], bytes], requests: int, base: float | None = None
    ) -> float:
        for _ in range(5):  # the first ones load templates
            content = get()
        self.times.clear()
        for _ in range(requests):
            content = get()
        median = statistics.median(self.times)
        ratio = f", {median / base:.2f} times" if base else ""
        print(f"{name}: {median:.0f} ms, {len(content) / 1000:.1f} KB of HTML{ratio}")
        return median


@contextmanager
def served() -> Iterator[Served]:
    """Serve the example in a thread, and time each request in the WSGI application."""
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
    times: list[float] = []

    def timed(environ: Any, start_response: Any) -> list[bytes]:
        begun = time.perf_counter()
        content = list(application(environ, start_response))
        times.append((time.perf_counter() - begun) * 1000)
        return content

    class Quiet(WSGIRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    with make_server("127.0.0.1", 0, timed, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Served(server.server_port, times)
        finally:
            server.shutdown()
            thread.join()


def make_backups(number: int) -> None:
    """Make so many backups of acme, each with a file; about one in sixteen has failed."""
    from django.utils import timezone

    from example_project.tenancy import Tenants
    from tenant_backup import backups
    from tenant_backup.models import Backup, Event, EventKind

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
            size = 2_000_000 + count
            Path(directory.path, name).touch()
            os.truncate(Path(directory.path, name), size)
            fields |= {"status": "complete", "file_name": name, "size": size}
            fields |= {"verified_at": fields["created_at"]}
        backup = Backup.objects.create(**fields)
        Event.objects.create(
            tenant_id="acme", kind=EventKind.COMPLETED, backup_id=backup.pk, size=backup.size
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
