"""`manage.py checkbackups`: for monitoring: whether all is well, and if not, what is not."""

from argparse import ArgumentParser
from datetime import datetime
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from tenant_backup import automation, monitoring
from tenant_backup.management.automation_status import status_as_dict, status_in_words
from tenant_backup.management.base import FAILED, TenantCommand
from tenant_backup.management.output import shown
from tenant_backup.models import Verdict
from tenant_backup.monitoring import Judgement, absence
from tenant_backup.tenants import Listing


class Command(TenantCommand):
    help = (
        "Say how each tenant's backups stand, such as failed, overdue, missing or damaged, and "
        "whether automation runs. The exit status is 0 when all is well."
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
        automation_status = automation.get_status()
        self.report.more["automation"] = status_as_dict(automation_status)
        for judgement in monitoring.judge_invalid(listing.invalid, timezone.now()):
            self._report(judgement)
        for tenant in listing.tenants:
            judge = partial(
                monitoring.judge_tenant, tenant, automation_runs=automation_status.is_running
            )
            if judged := self.attempt(tenant.id, judge):
                self._report(judged)
        disappeared = 0 if tenants else self._report_unlisted(listing)
        if automation_status.keeps_waiting(listing.tenants):
            message = status_in_words(automation_status)
            self.report.errors.append(("", message))
            self.say(message, loud=True)
        if notify:
            automation.notify()
        # Each tenant is one thing to check, and automation is one more.
        total = len(listing) + disappeared + 1
        self.finish(total, failed="checks failed")

    def _report(self, judgement: Judgement) -> None:
        """Add a tenant to the report, and print its verdict."""
        if judgement.tenant_id:
            self.report.tenants.append(_as_dict(judgement))
        label = str(judgement.verdict.label)
        if judgement.findings:
            sentences = [*map(str, judgement.findings), judgement.last_good]
            message = " ".join(filter(None, sentences))
            self.report_failure(judgement.tenant_id, message, label=label)
        else:
            is_unlisted = judgement.tenant is None
            more = judgement.headline if is_unlisted else judgement.last_good
            self.tell(f"{shown(judgement.tenant_id)}: {label}. {more}")

    def _report_unlisted(self, listing: Listing) -> int:
        """Report who is not listed any more, and return how many findings that are.

        Many who disappeared at once are one finding, which names them all.
        """
        for judgement in monitoring.judge_unlisted(listing.ids, timezone.now()):
            if judgement.findings:
                self.report.tenants.append(_as_dict(judgement))
            else:
                self._report(judgement)
        findings = absence.findings(timezone.now())
        for finding in findings:
            label = str(Verdict.DISAPPEARED.label)
            self.report_failure(finding.tenant_id, str(finding), label=label)
        return len(findings)


def _as_dict(judgement: Judgement) -> dict[str, Any]:
    """What programs read of a tenant. Of one that is not listed or not valid only this is known."""
    settings, now = judgement.settings, timezone.now()
    facts: dict[str, Any] = {
        "id": judgement.tenant_id,
        "automatic": settings.automatic,
        "problems": [finding.verdict.code for finding in judgement.findings],
        "verdict": judgement.verdict.code,
    }
    if judgement.tenant is None:
        return facts
    since = monitoring.wrong_since(judgement)
    return facts | {
        "last_good_at": settings.last_good_at,
        "last_success_at": settings.last_success_at,
        "last_success_age": _age(settings.last_success_at, now),
        "alarm_since": since,
        "alarm_age": _age(since, now),
        "next_run_at": settings.next_run_at,
    }


def _age(at: datetime | None, now: datetime) -> int | None:
    """In whole seconds."""
    return None if at is None else max(0, int((now - at).total_seconds()))
