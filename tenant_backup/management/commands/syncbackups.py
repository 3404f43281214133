"""`manage.py syncbackups`: bring the catalog in line with the files on disk."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import CommandError

from tenant_backup import backups
from tenant_backup.exceptions import BackupError
from tenant_backup.management.base import USAGE_ERROR, TenantCommand
from tenant_backup.management.report import Report
from tenant_backup.management.terminal import shown, user
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

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--retire",
            action="store_true",
            help="say that the named tenants are gone on purpose, so that nobody is notified",
        )

    def handle(
        self,
        *,
        tenants: list[str],
        retire: bool,
        as_json: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        quiet = as_json or verbosity == 0
        if retire:
            self._retire(list(dict.fromkeys(tenants)), as_json=as_json, quiet=quiet)
            return
        report = Report()
        listing = self.find_tenants(tenants, as_json=as_json, notes_absent=True)
        BackupSettings.objects.ensure(tenant.id for tenant in listing.tenants)
        self.report_invalid(listing, report)
        if not len(listing) and not quiet:
            self.say("There are no tenants, so there is nothing to bring in line.")
        for tenant in listing.tenants:
            if synced := self.attempt(tenant, report, partial(backups.sync, tenant)):
                self._report(tenant, synced, report, quiet=quiet)
        self.finish(report, len(listing), as_json=as_json, failed="not in line")

    def _report(
        self, tenant: Tenant, synced: backups.Synced, report: Report, *, quiet: bool
    ) -> None:
        for reason in synced.refused:
            self.attempt(tenant, report, partial(_refuse, reason))
        changes = {
            "missing": synced.missing,
            "damaged": synced.damaged,
            "found": synced.found,
            "adopted": synced.adopted,
            "protected": synced.protected,
            "forgotten": synced.forgotten,
        }
        ids = {change: [backup.pk for backup in rows] for change, rows in changes.items()}
        report.tenants.append({"id": tenant.id, **ids})
        for change, rows in changes.items():
            report.backups += rows
            for backup in () if quiet else rows:
                self.say(f"{shown(tenant.id)}: {change}: {backup}")
        if not quiet and not any([*changes.values(), synced.refused]):
            self.say(f"{shown(tenant.id)}: the catalog is in line with the files")

    def _retire(self, tenant_ids: list[str], *, as_json: bool, quiet: bool) -> None:
        if not tenant_ids:
            raise CommandError("--retire needs the ids of tenants.", returncode=USAGE_ERROR)
        listed = self.listed(tenant_ids, as_json=as_json)
        unknown = set(tenant_ids) - absence.known(tenant_ids) - listed
        self.refuse_unknown([key for key in tenant_ids if key in unknown], as_json=as_json)
        absence.retire(tenant_ids, by=user())
        report = Report()
        for tenant_id in tenant_ids:
            is_listed = tenant_id in listed
            report.tenants.append({"id": tenant_id, "retired": True, "listed": is_listed})
            if not quiet:
                self.say(f"{shown(tenant_id)}: {LISTED if is_listed else 'retired'}")
        self.finish(report, len(tenant_ids), as_json=as_json, failed="not retired")


def _refuse(reason: str) -> None:
    raise BackupError("not adopted: %(reason)s", reason=reason)
