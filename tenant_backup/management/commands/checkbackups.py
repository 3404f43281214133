"""`manage.py checkbackups`: for monitoring: whether all is well, and if not, what is not."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from tenant_backup import automation, monitoring
from tenant_backup.exceptions import BackupError
from tenant_backup.management.base import Report, TenantCommand, shown, standing_in_words
from tenant_backup.tenants import Tenant


class Command(TenantCommand):
    help = (
        "Say which tenants' backups have failed, are overdue, missing or damaged, and whether "
        "automation is at work. The exit status is 0 when all is well."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--notify", action="store_true", help="mail what has changed, as the tick would"
        )

    def handle(
        self,
        *,
        tenants: list[str],
        notify: bool,
        as_json: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        report = Report()
        quiet = as_json or verbosity == 0
        found = self.find_tenants(tenants, as_json=as_json)
        for tenant in found:
            line = self.attempt(tenant, report, partial(_check, tenant, report))
            if line and not quiet:
                self.say(line)
        for tenant_id in [] if tenants or quiet else monitoring.retired(found):
            self.say(f"{shown(tenant_id)}: retired: the tenant provider does not know it any more.")
        if standing := automation.trouble(found):
            message = standing_in_words(standing)
            report.errors.append(("", message))
            self.say(message, loud=True)
        if notify:
            monitoring.notify()
        # Each tenant is one thing to check, and automation is one more.
        self.finish(report, len(found) + 1, as_json=as_json, failed="checks failed")


def _check(tenant: Tenant, report: Report) -> str:
    judgement = monitoring.inspect(tenant)
    report.tenants.append(
        {
            "id": tenant.id,
            "automatic": judgement.settings.automatic,
            "problems": [finding.alarm.value for finding in judgement.findings],
            "last_good_at": judgement.settings.last_good_at,
            "next_run_at": judgement.settings.next_run_at,
        }
    )
    if judgement.findings:
        raise BackupError(" ".join([*map(str, judgement.findings), judgement.last_good]))
    words = [
        f"all well. {judgement.last_good}" if judgement.settings.last_good_at else "no backup yet."
    ]
    if not judgement.settings.automatic:
        words.append("Automatic backup is off.")
    return f"{shown(tenant.id)}: {' '.join(words)}"
