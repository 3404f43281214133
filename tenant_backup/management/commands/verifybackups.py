"""`manage.py verifybackups`: read backups again, to know that they are still as they were made."""

from argparse import ArgumentParser
from functools import partial
from typing import Any

from tenant_backup import backups
from tenant_backup.exceptions import BackupError
from tenant_backup.management.base import TenantCommand
from tenant_backup.management.output import shown
from tenant_backup.models import Backup
from tenant_backup.tenants import Tenant


class Command(TenantCommand):
    help = (
        "Read the good backups of the named tenants, or of all, again, and check size, checksum "
        "and integrity. Missing or damaged ones are marked in the catalog."
    )
    examples = (
        ("acme", "read every good backup of one tenant again"),
        ("--all -v 0", "all backups of all tenants, and print only what is wrong"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--all",
            action="store_true",
            dest="every",
            help="also read those that were found missing or damaged before",
        )

    def handle(self, *, tenants: list[str], every: bool, **options: Any) -> None:
        number = 0
        listing = self.find_tenants(tenants)
        self.report_invalid(listing)
        for tenant in listing.tenants:
            self.report.tenants.append({"id": tenant.id})
            for backup in Backup.objects.for_tenant(tenant.id).complete().newest_first():
                number += 1
                do = _verify if every or backup.is_good else _raise_what_was_found
                line = self.attempt(tenant.id, partial(do, tenant, backup))
                self.report.backups.append(backup)
                if line:
                    self.tell(line)
        if not number:
            self.tell("There are no backups to verify.")
        self.finish(number + len(listing.invalid), failed="missing, damaged or out of reach")


def _verify(tenant: Tenant, backup: Backup) -> str:
    if problem := backups.verify_with_data(tenant, backup):
        if not Backup.objects.filter(pk=backup.pk).exists():
            return f"{shown(tenant.id)}: {backup} was deleted meanwhile"
        raise BackupError(problem)
    return f"{shown(tenant.id)}: {backup} is good"


def _raise_what_was_found(tenant: Tenant, backup: Backup) -> str:
    if backup.missing_at:
        raise BackupError("%(file)s was found missing before. To read it again: --all", file=backup)
    raise BackupError("%(file)s was found damaged before. To read it again: --all", file=backup)
