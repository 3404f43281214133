"""`manage.py runbackup`: back up the named tenants, or all, then prune."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from tenant_backup import automation, backups
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError
from tenant_backup.files import size_in_words
from tenant_backup.management.base import USAGE_ERROR, TenantCommand
from tenant_backup.management.output import progress_bar, shown, user
from tenant_backup.models import LABEL_LENGTH, BackupSettings, Trigger, Verdict
from tenant_backup.tenants import Tenant

Maker = Callable[..., backups.BackupResult | None]
"""Makes a tenant's backup; None if that is left to another process."""


def label(text: str) -> str:
    if len(text) > LABEL_LENGTH:
        raise ArgumentTypeError(f"a label has at most {LABEL_LENGTH} characters, not {len(text)}")
    return text


class Command(TenantCommand):
    help = (
        "Back up the named tenants, or all, then remove what their retention no longer keeps. "
        "Exit status: 0 every one succeeded, 1 any failed, 2 usage error (nothing is done)."
    )
    examples = (
        ('acme --label "before the import" --pin', "one tenant, to be kept until it is unpinned"),
        ("--due -v 0", "every minute by cron, where no cluster runs"),
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
        **options: Any,
    ) -> None:
        if due and (label or pin):
            raise CommandError(
                "--label and --pin are for backups that you ask for, not for those that are due.",
                returncode=USAGE_ERROR,
            )
        listing = self.find_tenants(tenants, notes_absent=not dry_run)
        found, now = listing.tenants, timezone.now()
        request = backups.BackupRequest(
            trigger=Trigger.COMMAND, label=label, pinned=pin, requested_by=user()
        )
        work: list[tuple[Tenant, Callable[[], str]]]
        if dry_run:
            work = [
                (tenant, partial(self.preview, tenant, request))
                for tenant in found
                if not due or automation.is_due(tenant, now)
            ]
        else:
            BackupSettings.objects.ensure(tenant.id for tenant in found)
            makers = _due(found, counts_as_tick=not tenants) if due else _asked_for(found, request)
            work = [(tenant, partial(self.make, tenant, maker)) for tenant, maker in makers]
        self.report_invalid(listing)
        for tenant, do in work:
            if line := self.attempt(tenant.id, do):
                self.tell(line)
        if not work and not listing.invalid:
            self.tell(_why_nothing(found))
        # With --due, cron would report it every minute; there the notices tell it once.
        absent = 0 if tenants or due else self.report_absent()
        if due and not tenants and not dry_run:
            automation.forget(timezone.now())
            automation.end_tick(timezone.now())
        elif not dry_run:
            automation.notify()
        failed = "would fail" if dry_run else "failed"
        self.finish(len(work) + len(listing.invalid) + absent, failed=failed)

    def make(self, tenant: Tenant, maker: Maker) -> str:
        """Make a backup of this tenant, and return a line that says what came of it."""
        with progress_bar(shown(tenant.id)) as progress:
            result = maker(progress=progress)
        if result is None:
            return f"{shown(tenant.id)}: left to another process, or to the end of a pause"
        self.report.backups.append(result.backup)
        pruned = [decision.backup.pk for decision in result.pruned]
        self.report.tenants.append(_about(tenant) | {"pruned": pruned})
        if result.backup.check_error:
            # The backup has succeeded, so this is no failure; monitoring reports it, too.
            label = str(Verdict.CHECK_FAILED.label)
            message = f"{result.backup}: {result.backup.reason}"
            self.say_of(tenant.id, label, message, loud=True, role="WARNING")
        if result.prune_error:
            raise BackupError(result.prune_error)
        size = size_in_words(result.backup.size or 0)
        line = f"{shown(tenant.id)}: {result.backup} ({size}, verified)"
        return f"{line}, {len(pruned)} older removed" if pruned else line

    def preview(self, tenant: Tenant, request: backups.BackupRequest) -> str:
        """Say what `make` would do."""
        preview = backups.preview(tenant, request)
        self.report.tenants.append(
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


def _asked_for(
    tenants: Sequence[Tenant], request: backups.BackupRequest
) -> Iterator[tuple[Tenant, Maker]]:
    """A backup of each tenant; if another process is at work on one, wait for it."""
    limits = backups.Limits(lock_wait=conf.BUSY_TIMEOUT)
    for tenant in tenants:
        yield tenant, partial(backups.create, tenant, request, limits=limits)


def _due(tenants: Sequence[Tenant], *, counts_as_tick: bool) -> Iterator[tuple[Tenant, Maker]]:
    """What is due for these tenants, unless another process is already making it."""
    for tenant, backup in automation.take_due(
        tenants, timezone.now(), counts_as_tick=counts_as_tick
    ):
        yield tenant, partial(automation.perform, tenant, backup)


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
