"""`manage.py syncbackups`: bring the catalog in line with the files on disk."""

from __future__ import annotations

from functools import partial
from typing import Any

from tenant_backup import backups
from tenant_backup.exceptions import BackupError
from tenant_backup.management.base import Report, TenantCommand, shown
from tenant_backup.models import BackupSettings
from tenant_backup.tenants import Tenant, fault_of


class Command(TenantCommand):
    help = (
        "Bring the catalog of the named tenants, or of all, in line with the files on disk: mark "
        "what is missing, and adopt backups that it does not know. No file is touched."
    )

    def handle(self, *, tenants: list[str], as_json: bool, verbosity: int, **options: Any) -> None:
        report = Report()
        found = self.find_tenants(tenants, as_json=as_json)
        BackupSettings.objects.ensure(tenant.id for tenant in found if not fault_of(tenant))
        if not found and verbosity and not as_json:
            self.say("There are no tenants, so there is nothing to bring in line.")
        for tenant in found:
            synced = self.attempt(tenant, report, partial(_sync, tenant))
            if synced is None:
                continue
            for reason in synced.refused:
                self.attempt(tenant, report, partial(_refuse, reason))
            changes = {
                "missing": synced.missing,
                "found": synced.found,
                "adopted": synced.adopted,
                "protected": synced.protected,
                "forgotten": synced.forgotten,
            }
            report.tenants.append(
                {"id": tenant.id}
                | {change: [backup.pk for backup in rows] for change, rows in changes.items()}
            )
            for change, rows in changes.items():
                report.backups += rows
                for backup in rows if verbosity and not as_json else ():
                    self.say(f"{shown(tenant.id)}: {change}: {backup}")
            if verbosity and not as_json and not any([*changes.values(), synced.refused]):
                self.say(f"{shown(tenant.id)}: the catalog is in line with the files")
        self.finish(report, len(found), as_json=as_json, failed="not in line")


def _sync(tenant: Tenant) -> backups.Synced:
    if fault := fault_of(tenant):
        raise BackupError(fault)
    return backups.sync(tenant)


def _refuse(reason: str) -> None:
    raise BackupError("not adopted: %(reason)s", reason=reason)
