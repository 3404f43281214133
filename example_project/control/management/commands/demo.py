"""The whole example in one command: data, a backup of every tenant, and the pages."""

import os
import signal
import socket
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from example_project.control import data
from example_project.control.management.commands.setup_example import PASSWORD, positive
from example_project.control.models import Customer, Membership
from example_project.tenancy import DOMAIN

ADDRESS = "127.0.0.1"
SECONDS_TO_STOP = 20


def port_number(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise ArgumentTypeError("must be from 1 to 65535")
    return port


class Command(BaseCommand):
    help = "Set up the example, back up its tenants and serve their pages."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port", type=port_number, default=8000, help="where to serve (default 8000)"
        )
        parser.add_argument("--no-serve", action="store_true", help="stop before serving")
        parser.add_argument(
            "--scale", type=positive, default=1.0, metavar="FACTOR", help="see setup_example"
        )

    def handle(self, *args: Any, port: int, no_serve: bool, scale: float, **options: Any) -> None:
        if not no_serve:
            check_port(port)
        try:
            self.begin_anew_if_needed()
            self.step("Prepare the control database", "migrate", verbosity=0)
            self.step("Make three tenants and their data", "setup_example", scale=scale)
            self.step("Back up every tenant", "runbackup")
            self.step("List the backups", "listbackups")
            self.print_addresses(port)
            if not no_serve:
                self.serve(port)
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Run it again to go on.", returncode=130) from None

    def begin_anew_if_needed(self) -> None:
        try:
            if data.is_of_another_version():
                aside = data.put_aside(settings.DATA)
                self.stdout.write(
                    f"The data in {settings.DATA} were made by another version of this project: "
                    f"they are in {aside} now, and the demo begins anew."
                )
        except (DatabaseError, OSError) as error:
            raise CommandError(f"The demo cannot use {settings.DATA}: {error}") from error

    def step(self, heading: str, command: str, **options: Any) -> None:
        self.heading(f"{heading}: manage.py {command}")
        try:
            call_command(command, stdout=self.stdout, stderr=self.stderr, **options)
        except (CommandError, DatabaseError, OSError) as error:
            raise CommandError(f"The demo stopped at {command}: {error}") from error

    def heading(self, text: str) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"\n== {text}"))
        # So that the step's messages on standard error come after its heading.
        self.stdout.flush()

    def print_addresses(self, port: int) -> None:
        self.heading(f'Look at it (everybody\'s password is "{PASSWORD}")')
        self.line(f"http://{DOMAIN}:{port}/", "all tenants", "operator (may do everything)")
        for customer in Customer.objects.all():
            logins = [
                f"{membership.user.get_username()} ({membership.get_role_display().lower()})"
                for membership in Membership.objects.filter(tenant=customer).select_related("user")
            ]
            address = f"http://{customer.slug}.{DOMAIN}:{port}/"
            self.line(address, customer.name, ", ".join(logins) or "operator")
            self.line(f"{address}settings/admin/backup", "its backups", "")
        self.stdout.write(
            f"\nA browser that does not find {DOMAIN}'s subdomains needs their names in its hosts "
            f"file, as {ADDRESS}."
        )

    def line(self, address: str, what: str, logins: str) -> None:
        self.stdout.write(f"{address:<52} {what:<18} {logins}")

    def serve(self, port: int) -> None:
        self.heading("Serve the pages, with a cluster for automatic backups, until Ctrl-C")
        # The first tick comes half a minute after the cluster starts. This counts as a tick, so
        # that nobody sees "stalled" until then.
        call_command("runbackup", due=True, verbosity=0)
        with running_cluster():
            call_command(
                "runserver",
                f"{ADDRESS}:{port}",
                use_reloader=False,
                skip_checks=True,
                stdout=self.stdout,
                stderr=self.stderr,
                shutdown_message="\nStopped. The data is kept; run it again to go on.",
            )


@contextmanager
def running_cluster() -> Iterator[None]:
    """Run the cluster for backups beside the web server, as a host does.

    The example has no other tasks, so it does not need the default cluster.
    """
    # Another signal than Ctrl-C, such as that of a closed terminal, would end this process and
    # leave the cluster running.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    # In a session of its own, so that Ctrl-C does not reach it: django-q2 may hang if a second
    # signal comes while it handles the first.
    command = [sys.executable, sys.argv[0], "qcluster"]
    environment = os.environ | {"Q_CLUSTER_NAME": str(settings.TENANT_BACKUP["CLUSTER"])}
    cluster = subprocess.Popen(command, start_new_session=True, env=environment)
    try:
        yield
    finally:
        cluster.terminate()
        try:
            cluster.wait(timeout=SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(cluster.pid, signal.SIGKILL)
            cluster.wait()


def check_port(port: int) -> None:
    """Find out now, not after all the work, whether the pages can be served."""
    with socket.socket() as listener:
        # As the server does. Without it, a port that was used a moment ago seems to be in use.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} cannot be used ({error.strerror}): choose another with PORT=<number>."
            ) from None
