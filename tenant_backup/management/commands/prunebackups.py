"""`manage.py prunebackups`: delete what the tenants' retention no longer keeps, and say why."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from tenant_backup import backups
from tenant_backup.management.base import TenantCommand
from tenant_backup.management.report import Report
from tenant_backup.management.terminal import shown, user
from tenant_backup.models import Backup
from tenant_backup.retention import Decision
from tenant_backup.tenants import Tenant


class Command(TenantCommand):
    help = (
        "Delete the backups of the named tenants, or of all, that retention no longer keeps, and "
        "print the reason for each. This also happens after every new backup."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be removed, and remove nothing"
        )

    def handle(
        self,
        *,
        tenants: list[str],
        dry_run: bool,
        as_json: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        report = Report()
        quiet = as_json or verbosity == 0
        prune = backups.removals if dry_run else partial(backups.prune, actor=user())
        listing = self.find_tenants(tenants, as_json=as_json)
        self.report_invalid(listing, report)
        for tenant in listing.tenants:
            removed = self.attempt(tenant, report, partial(prune, tenant))
            for decision in removed or ():
                report.backups.append(decision.backup)
                if not quiet:
                    self.say(_line(tenant, decision, dry_run=dry_run))
            report.tenants.append(_as_dict(tenant, removed or []))
        if not (report.backups or report.errors or quiet):
            self.say("There is nothing to prune.")
        self.finish(report, len(listing), as_json=as_json, failed="failed")


def _line(tenant: Tenant, decision: Decision[Backup], *, dry_run: bool) -> str:
    done = "would remove" if dry_run else "removed"
    return f"{shown(tenant.id)}: {done} {decision.backup}: {' '.join(decision.reasons)}"


def _as_dict(tenant: Tenant, removed: list[Decision[Backup]]) -> dict[str, Any]:
    return {
        "id": tenant.id,
        "removed": [
            {"id": decision.backup.pk, "reasons": decision.reasons} for decision in removed
        ],
    }
