"""`manage.py runbackup`: back up the named tenants, or all, then prune."""

from __future__ import annotations

import getpass
import logging
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from tqdm import tqdm

from tenant_backup import backups
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError
from tenant_backup.files import size_in_words
from tenant_backup.management.base import FAILED, Report, TenantCommand, shown
from tenant_backup.models import LABEL_LENGTH, BackupSettings, Trigger
from tenant_backup.sqlite import Progress
from tenant_backup.tenants import Tenant

logger = logging.getLogger("tenant_backup")


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
        label: str,
        pin: bool,
        dry_run: bool,
        as_json: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        found = self.find_tenants(tenants, as_json=as_json)
        quiet = as_json or verbosity == 0
        order = backups.Order(
            trigger=Trigger.COMMAND, label=label, pinned=pin, requested_by=_user()
        )
        report = Report()
        if not dry_run:
            BackupSettings.objects.ensure(tenant.id for tenant in found)
        for tenant in found:
            try:
                if dry_run:
                    line = self._preview(tenant, report)
                else:
                    line = self._back_up(tenant, order, report)
            except Exception as error:
                # One tenant's failure never stops the rest.
                if not isinstance(error, BackupError):
                    logger.exception("Backing up tenant %r failed.", tenant.id)
                report.errors.append((tenant.id, str(error) or type(error).__name__))
                self.stderr.write(f"{shown(tenant.id)}: FAILED: {report.errors[-1][1]}")
            else:
                if not quiet:
                    self.stdout.write(line)
        self._finish(report, len(found), as_json, quiet, "would fail" if dry_run else "failed")

    def _back_up(self, tenant: Tenant, order: backups.Order, report: Report) -> str:
        limits = backups.Limits(lock_wait=conf.BUSY_TIMEOUT)
        with _progress_bar(shown(tenant.id)) as progress:
            made = backups.create(tenant, order, limits=limits, progress=progress)
        report.backups.append(made.backup)
        report.tenants.append(
            _about(tenant) | {"pruned": [decision.backup.pk for decision in made.pruned]}
        )
        if made.prune_error:
            raise BackupError(made.prune_error)
        line = (
            f"{shown(tenant.id)}: {made.backup} ({size_in_words(made.backup.size or 0)}, verified)"
        )
        if made.pruned:
            line += f", {len(made.pruned)} older removed"
        return line

    def _preview(self, tenant: Tenant, report: Report) -> str:
        preview = backups.preview(tenant)
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

    def _finish(self, report: Report, total: int, as_json: bool, quiet: bool, failed: str) -> None:
        if as_json:
            self.stdout.write(report.as_json())
        elif not total and not quiet:
            self.stdout.write("There are no tenants, so there is nothing to back up.")
        if report.errors:
            raise CommandError(
                f"{len({tenant for tenant, _ in report.errors})} of {total} {failed}.",
                returncode=FAILED,
            )


@contextmanager
def _progress_bar(title: str) -> Iterator[Progress]:
    """A progress bar on the terminal; nothing where the error output is no terminal."""
    with tqdm(
        desc=title, unit="B", unit_scale=True, unit_divisor=1024, leave=False, disable=None
    ) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            if done == total:
                bar.set_postfix_str("checking", refresh=False)
            bar.update(done - bar.n)
            if done == total:
                bar.refresh()

        yield show


def _about(tenant: Tenant) -> dict[str, Any]:
    return {
        "id": tenant.id,
        "name": tenant.name,
        "database": str(tenant.database),
        "directory": str(backups.directory_of(tenant).path),
    }


def _user() -> str:
    """Who runs the command, as the operating system knows it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the system's list
        return ""
