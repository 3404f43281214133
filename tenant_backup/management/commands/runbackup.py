"""`manage.py runbackup`: back up the named tenants, or all, then prune."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from tenant_backup import automation, backups
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError
from tenant_backup.files import size_in_words
from tenant_backup.management.base import USAGE_ERROR, TenantCommand
from tenant_backup.management.report import Report
from tenant_backup.management.terminal import progress_bar, shown, user
from tenant_backup.models import LABEL_LENGTH, BackupSettings, Trigger
from tenant_backup.tenants import Tenant

Work = Callable[[Report], str]
"""Does something for one tenant, adds it to the report, and returns a line that says what."""


def label(text: str) -> str:
    if len(text) > LABEL_LENGTH:
        raise ArgumentTypeError(f"a label has at most {LABEL_LENGTH} characters, not {len(text)}")
    return text


class Command(TenantCommand):
    help = (
        "Back up the named tenants, or all, then remove what their retention no longer keeps. "
        "Exit status: 0 every one succeeded, 1 any failed, 2 usage error (nothing is done)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--due",
            action="store_true",
            help="only what the schedule would make now; for hosts that use cron and no cluster",
        )
        parser.add_argument("--label", type=label, default="", help="a note to find it by later")
        parser.add_argument(
            "--pin", action="store_true", help="keep the backups until they are unpinned"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be done, and do nothing"
        )

    def handle(
        self,
        *,
        tenants: list[str],
        due: bool,
        label: str,
        pin: bool,
        dry_run: bool,
        as_json: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        if due and (label or pin):
            raise CommandError(
                "--label and --pin are for backups that you ask for, not for those that are due.",
                returncode=USAGE_ERROR,
            )
        listing = self.find_tenants(tenants, as_json=as_json, notes_absent=not dry_run)
        found = listing.tenants
        request = backups.BackupRequest(
            trigger=Trigger.COMMAND, label=label, pinned=pin, requested_by=user()
        )
        if dry_run:
            work = _previews(found, request, due=due)
        elif due:
            work = _due_work(found, counts_as_tick=not tenants)
        else:
            work = _work(found, request)
        report = Report()
        self.report_invalid(listing, report)
        quiet = as_json or verbosity == 0
        for tenant, do in work:
            line = self.attempt(tenant, report, partial(do, report))
            if line and not quiet:
                self.say(line)
        if not work and not listing.invalid and not quiet:
            self.say(_why_nothing(found))
        # With --due, cron would report it every minute; there the notices tell it once.
        absent = 0 if tenants or due else self.report_absent(report)
        if due and not tenants and not dry_run:
            automation.forget(timezone.now())
            automation.end_tick(timezone.now())
        elif not dry_run:
            automation.notify()
        failed = "would fail" if dry_run else "failed"
        self.finish(
            report, len(work) + len(listing.invalid) + absent, as_json=as_json, failed=failed
        )


def _work(tenants: Sequence[Tenant], request: backups.BackupRequest) -> list[tuple[Tenant, Work]]:
    """A backup of each tenant; if another process is at work on one, wait for it."""
    BackupSettings.objects.ensure(tenant.id for tenant in tenants)
    limits = backups.Limits(lock_wait=conf.BUSY_TIMEOUT)
    return [
        (tenant, partial(_make, tenant, partial(backups.create, tenant, request, limits=limits)))
        for tenant in tenants
    ]


def _due_work(tenants: Sequence[Tenant], *, counts_as_tick: bool) -> list[tuple[Tenant, Work]]:
    """What is due for these tenants, unless another process is already making it."""
    BackupSettings.objects.ensure(tenant.id for tenant in tenants)
    due = automation.take_due(tenants, timezone.now(), counts_as_tick=counts_as_tick)
    return [
        (tenant, partial(_make, tenant, partial(automation.perform, tenant, backup)))
        for tenant, backup in due
    ]


def _previews(
    tenants: Sequence[Tenant], request: backups.BackupRequest, *, due: bool
) -> list[tuple[Tenant, Work]]:
    now = timezone.now()
    return [
        (tenant, partial(_preview, tenant, request))
        for tenant in tenants
        if not due or automation.is_due(tenant, now)
    ]


def _make(tenant: Tenant, make: Callable[..., backups.BackupResult | None], report: Report) -> str:
    with progress_bar(shown(tenant.id)) as progress:
        result = make(progress=progress)
    if result is None:
        return f"{shown(tenant.id)}: left to another process, or to the end of a pause"
    report.backups.append(result.backup)
    report.tenants.append(
        _about(tenant) | {"pruned": [decision.backup.pk for decision in result.pruned]}
    )
    if result.prune_error:
        raise BackupError(result.prune_error)
    size = size_in_words(result.backup.size or 0)
    line = f"{shown(tenant.id)}: {result.backup} ({size}, verified)"
    return f"{line}, {len(result.pruned)} older removed" if result.pruned else line


def _preview(tenant: Tenant, request: backups.BackupRequest, report: Report) -> str:
    preview = backups.preview(tenant, request)
    report.tenants.append(
        _about(tenant)
        | {
            "bytes_needed": preview.bytes_needed,
            "bytes_free": preview.bytes_free,
            "would_prune": [decision.backup.pk for decision in preview.removals],
        }
    )
    lines = [
        f"{shown(tenant.id)}: would back up {tenant.database}; needs "
        f"{size_in_words(preview.bytes_needed)}, {size_in_words(preview.bytes_free)} are free"
    ]
    lines += [
        f"  would remove {decision.backup}: {' '.join(decision.reasons)}"
        for decision in preview.removals
    ]
    return "\n".join(lines)


def _why_nothing(tenants: Sequence[Tenant]) -> str:
    if not tenants:
        return "There are no tenants, so there is nothing to back up."
    ids = [tenant.id for tenant in tenants]
    if not BackupSettings.objects.filter(tenant_id__in=ids, automatic=True).exists():
        return "Nothing is due: none of these tenants has automatic backups on."
    return f"Nothing is due. Automation is {automation.get_status().state.value}."


def _about(tenant: Tenant) -> dict[str, Any]:
    return {
        "id": tenant.id,
        "name": tenant.name,
        "database": str(tenant.database),
        "directory": str(backups.directory_of(tenant).path),
    }
