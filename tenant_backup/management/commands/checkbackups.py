"""`manage.py checkbackups`: for monitoring: whether all is well, and if not, what is not."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from tenant_backup import automation, monitoring
from tenant_backup.automation import AutomationState
from tenant_backup.exceptions import BackupError
from tenant_backup.management.automation_status import status_as_dict, status_in_words
from tenant_backup.management.base import FAILED, TenantCommand
from tenant_backup.management.output import Report, shown
from tenant_backup.models import Health
from tenant_backup.tenants import Listing, Tenant


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

    def handle(self, *, tenants: list[str], notify: bool, **options: Any) -> None:
        try:
            listing = self.find_tenants(tenants, notes_absent=True)
        except CommandError as error:
            if notify and error.returncode == FAILED:
                automation.notify()
            raise
        found = listing.tenants
        self.report_invalid(listing)
        automation_status = automation.get_status()
        self.report.more["automation"] = status_as_dict(automation_status)
        automation_runs = automation_status.state is AutomationState.RUNNING
        for tenant in found:
            check = partial(_check, tenant, self.report, automation_runs=automation_runs)
            if line := self.attempt(tenant.id, check):
                self.tell(line)
        absent = 0
        if not tenants:
            absent = self.report_absent()
            self._say_who_is_not_listed(listing)
        if trouble := automation.trouble(found):
            message = status_in_words(trouble)
            self.report.errors.append(("", message))
            self.say(message, loud=True)
        if notify:
            automation.notify()
        # Each tenant is one thing to check, and automation is one more.
        total = len(listing) + absent + 1
        self.finish(total, failed="checks failed")

    def _say_who_is_not_listed(self, listing: Listing) -> None:
        words = {
            Health.UNLISTED: "not listed by the tenant provider any more.",
            Health.RETIRED: "retired: not listed by the tenant provider any more, on purpose.",
        }
        for row, health in monitoring.unlisted(listing.ids):
            problems = ["absent"] if health is Health.ABSENT else []
            self.report.tenants.append(
                {
                    "id": row.tenant_id,
                    "automatic": row.automatic,
                    "problems": problems,
                    "health": health.name.lower(),
                }
            )
            if health in words:
                self.tell(f"{shown(row.tenant_id)}: {words[health]}")


def _check(tenant: Tenant, report: Report, *, automation_runs: bool) -> str:
    judgement = monitoring.inspect(tenant)
    settings, now = judgement.settings, timezone.now()
    since = monitoring.wrong_since(judgement)
    report.tenants.append(
        {
            "id": tenant.id,
            "automatic": settings.automatic,
            "problems": [finding.alarm.value for finding in judgement.findings],
            "health": judgement.health(automation_runs=automation_runs).name.lower(),
            "last_good_at": settings.last_good_at,
            "last_success_at": settings.last_success_at,
            "last_success_age": _age(settings.last_success_at, now),
            "alarm": judgement.alarm.value or None,
            "alarm_since": since,
            "alarm_age": _age(since, now),
            "next_run_at": settings.next_run_at,
        }
    )
    if judgement.findings:
        raise BackupError(" ".join([*map(str, judgement.findings), judgement.last_good]))
    words = [f"all well. {judgement.last_good}" if settings.last_good_at else "no backup yet."]
    if not settings.automatic:
        words.append("Automatic backup is off.")
    return f"{shown(tenant.id)}: {' '.join(words)}"


def _age(at: datetime | None, now: datetime) -> int | None:
    """In whole seconds."""
    return None if at is None else max(0, int((now - at).total_seconds()))
