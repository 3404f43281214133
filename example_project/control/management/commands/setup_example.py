"""Makes three tenants with data, and the users of the demo. What exists already is kept."""

from argparse import ArgumentTypeError
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import connections, transaction
from django.template.defaultfilters import filesizeformat

from example_project.business.models import Contract, InventoryItem, Partner, Ticket
from example_project.business.sample_data import SampleData, Volume
from example_project.control.models import Customer, Membership
from example_project.tenancy import database_alias, tenant_context

PASSWORD = "demo"  # noqa: S105


@dataclass(frozen=True)
class Example:
    slug: str
    name: str
    time_zone: str
    volume: Volume


EXAMPLES = [
    # About 50 MB, 5 MB and 200 KB.
    Example("acme", "Acme Corporation", "Europe/Berlin", Volume(700, 3600, 29000, 22000)),
    Example("globex", "Globex", "America/New_York", Volume(80, 360, 2900, 2200)),
    Example("initech", "Initech", "UTC", Volume(10, 12, 60, 50)),
]

MEMBERS = [
    ("anna", "acme", Membership.Role.ADMINISTRATOR),
    ("george", "globex", Membership.Role.ADMINISTRATOR),
    ("mike", "acme", Membership.Role.MEMBER),
]


def positive(text: str) -> float:
    factor = float(text)
    if not 0 < factor <= 100:
        raise ArgumentTypeError("must be above 0, and 100 at most")
    return factor


class Command(BaseCommand):
    help = "Make the example's tenants, data and users; what exists is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--scale",
            type=positive,
            default=1.0,
            metavar="FACTOR",
            help="make so many times as much data as usual (default 1)",
        )

    def handle(self, *args: Any, scale: float, **options: Any) -> None:
        call_command("migrate", database="default", verbosity=0)
        for example in EXAMPLES:
            self.make_tenant(example, scale)
        made = make_users()
        self.stdout.write(
            f'Users: {", ".join(made)}, each with the password "{PASSWORD}"'
            if made
            else "The users exist and are kept."
        )

    def make_tenant(self, example: Example, scale: float) -> None:
        customer = Customer(slug=example.slug, name=example.name, time_zone=example.time_zone)
        tenant = customer.tenant
        tenant.root.mkdir(parents=True, exist_ok=True)
        alias = database_alias(tenant)
        call_command("migrate", "business", database=alias, verbosity=0)
        with tenant_context(tenant):
            # All or nothing. A second run of the command waits here for the first.
            with transaction.atomic(using=alias):
                is_new = not Partner.objects.exists()
                if is_new:
                    SampleData(example.slug).fill(example.volume.scaled(scale))
            counts = (
                f"{Contract.objects.count():,} contracts, {Ticket.objects.count():,} tickets, "
                f"{InventoryItem.objects.count():,} inventory items"
            )
        # Moves the write-ahead log into the database file, whose size is printed next.
        connections[alias].close()
        size = filesizeformat(tenant.database.stat().st_size).replace("\xa0", " ")
        # Last, so that nobody sees a tenant without its data.
        Customer.objects.get_or_create(
            slug=example.slug, defaults={"name": example.name, "time_zone": example.time_zone}
        )
        self.stdout.write(
            f"{example.slug}: {counts}, {size}, {'new' if is_new else 'exists and is kept'}"
        )


@transaction.atomic
def make_users() -> list[str]:
    """Make the users that do not exist yet, and return their names."""
    made = []
    if not User.objects.filter(username="operator").exists():
        User.objects.create_superuser("operator", "operator@example.com", PASSWORD)
        made.append("operator")
    for username, slug, role in MEMBERS:
        if not User.objects.filter(username=username).exists():
            user = User.objects.create_user(username, f"{username}@example.com", PASSWORD)
            # Staff may enter the admin; what they see there depends on the tenant.
            user.is_staff = role == Membership.Role.ADMINISTRATOR
            user.save()
            Membership.objects.create(user=user, tenant=Customer.objects.get(slug=slug), role=role)
            made.append(username)
    return made
