"""`manage.py syncbackups`: bring the catalog in line with the files on disk."""

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import CommandError

from tenant_backup import backups
from tenant_backup.exceptions import BackupError
from tenant_backup.management.base import USAGE_ERROR, TenantCommand
from tenant_backup.management.output import shown, user
from tenant_backup.models import BackupSettings
from tenant_backup.monitoring import absence
from tenant_backup.tenants import Tenant

LISTED = (
    "retired if it disappears within a day. The tenant provider lists it, so it is still backed up."
)


class Command(TenantCommand):
    help = (
        "Bring the catalog of the named tenants, or of all, in line with the files on disk: mark "
        "missing backups, and adopt those that the catalog does not know. No file is changed."
    )
    examples = (
        ("", "all tenants, for example after the loss of the control database"),
        ("--retire acme", "say that this tenant is gone on purpose"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--retire",
            action="store_true",
            help="say that the named tenants are gone on purpose, so that nobody is notified",
        )

    def handle(self, *, tenants: list[str], retire: bool, verbosity: int, **options: Any) -> None:
        if retire:
            self._retire(list(dict.fromkeys(tenants)))
            return
        listing = self.find_tenants(tenants, notes_absent=True)
        BackupSettings.objects.ensure(tenant.id for tenant in listing.tenants)
        self.report_invalid(listing)
        if not len(listing):
            self.tell("There are no tenants, so there is nothing to bring in line.")
        in_line, lines = 0, []
        for tenant in listing.tenants:
            if synced := self.attempt(tenant.id, partial(backups.sync, tenant)):
                changes = self._report(tenant, synced)
                lines += changes
                in_line += not (changes or synced.refused)
                if verbosity > 1 and not (changes or synced.refused):
                    lines.append(f"{shown(tenant.id)}: nothing had to be changed")
        if len(listing):
            self.say_outcome(_outcome(in_line, len(listing)), lines)
        self.finish(len(listing), failed="not in line")

    def _report(self, tenant: Tenant, synced: backups.Synced) -> list[str]:
        """Add a tenant to the report, and return a line for each of its backups that changed."""
        for reason in synced.refused:
            refusal = BackupError("not adopted: %(reason)s", reason=reason)
            self.report_failure(tenant.id, str(refusal))
        changes = {
            "missing": synced.missing,
            "damaged": synced.damaged,
            "found": synced.found,
            "adopted": synced.adopted,
            "protected": synced.protected,
            "forgotten": synced.forgotten,
        }
        ids = {change: [backup.pk for backup in rows] for change, rows in changes.items()}
        self.report.tenants.append({"id": tenant.id, **ids})
        lines = []
        for change, rows in changes.items():
            self.report.backups += rows
            lines += [f"{shown(tenant.id)}: {change}: {backup}" for backup in rows]
        return lines

    def _retire(self, tenant_ids: list[str]) -> None:
        if not tenant_ids:
            raise CommandError("--retire needs the ids of tenants.", returncode=USAGE_ERROR)
        listed = self.listed(tenant_ids)
        known = absence.known(tenant_ids) | listed
        self.refuse_unknown([id_ for id_ in tenant_ids if id_ not in known])
        absence.retire(tenant_ids, by=user())
        for tenant_id in tenant_ids:
            is_listed = tenant_id in listed
            self.report.tenants.append({"id": tenant_id, "retired": True, "listed": is_listed})
            self.tell(f"{shown(tenant_id)}: {LISTED if is_listed else 'retired'}")
        self.finish(len(tenant_ids), failed="not retired")


def _outcome(in_line: int, total: int) -> str:
    if in_line == total:
        tenants = "1 tenant" if total == 1 else f"all {total} tenants"
        return f"The catalog of {tenants} was in line with the files."
    return f"The catalog was in line with the files for {in_line} of {total}. What was not:"
