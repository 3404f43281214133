"""`manage.py prunebackups`: delete what the tenants' retention no longer keeps, and say why."""

from argparse import ArgumentParser
from functools import partial
from typing import Any

from tenant_backup import backups
from tenant_backup.management.base import TenantCommand
from tenant_backup.management.output import shown, user


class Command(TenantCommand):
    help = (
        "Delete the backups of the named tenants, or of all, that retention no longer keeps, and "
        "print the reason for each. This also happens after every new backup."
    )
    examples = (
        ("--dry-run", "what would be removed from all tenants, and why"),
        ("acme globex", "remove what these two tenants no longer keep"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be removed, and remove nothing"
        )

    def handle(self, *, tenants: list[str], dry_run: bool, **options: Any) -> None:
        prune = backups.removals if dry_run else partial(backups.prune, actor=user())
        done = "would remove" if dry_run else "removed"
        listing = self.find_tenants(tenants)
        self.report_invalid(listing)
        lines = []
        for tenant in listing.tenants:
            removed = []
            for decision in self.attempt(tenant.id, partial(prune, tenant)) or ():
                backup, reasons = decision.backup, decision.reasons
                self.report.backups.append(backup)
                lines.append(f"{shown(tenant.id)}: {done} {backup}: {' '.join(reasons)}")
                removed.append({"id": backup.pk, "reasons": reasons})
            self.report.tenants.append({"id": tenant.id, "removed": removed})
        if lines:
            number = "1 backup" if len(lines) == 1 else f"{len(lines)} backups"
            self.say_outcome(f"{done.capitalize()} {number}:", lines)
        elif not self.report.errors:
            self.tell("There is nothing to prune.")
        self.finish(len(listing), failed="failed")
