"""What the commands share: which tenants, the progress bar, the JSON answer, the exit status."""

from __future__ import annotations

import getpass
import json
import logging
import shutil
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections
from django.utils import timezone
from tqdm import tqdm

from tenant_backup import sqlite
from tenant_backup.automation import AutomationState, AutomationStatus
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, DatabaseDamaged, TenantNotFound
from tenant_backup.models import Backup, BackupSettings, BackupSettingsQuerySet
from tenant_backup.monitoring import absence
from tenant_backup.sqlite import Progress
from tenant_backup.tenants import (
    InvalidTenant,
    Listing,
    Tenant,
    get_tenant,
    list_tenants,
    sqlite_file,
)

logger = logging.getLogger("tenant_backup")

T = TypeVar("T")

FAILED = 1
USAGE_ERROR = 2
FULL = 1024 * 1024
"""With fewer free bytes than this, a disk is the likely reason of a database's failure."""

INTERRUPTED = 130
"""As shells say it of a program that Ctrl-C has ended."""


def shown(text: str) -> str:
    """Text from outside as it may be printed on a terminal: in quotes where it could do harm."""
    return text if text.isprintable() and text else ascii(text)


def harmless(text: str) -> str:
    """Lines to be printed, in which nothing but their ends commands the terminal.

    A path may hold escape sequences, which move the cursor, change the title, or worse.
    """
    return "".join(
        sign if sign.isprintable() or sign in "\n\xa0" else ascii(sign)[1:-1] for sign in text
    )


def user() -> str:
    """Who runs the command, as the operating system knows it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the system's list
        return ""


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A progress bar on the terminal; nothing where the error output is no terminal."""
    # No thread of its own to watch the bar: root becomes the tenant's owner in a process of one
    # thread only.
    tqdm.monitor_interval = 0
    with tqdm(
        desc=title, unit="B", unit_scale=True, unit_divisor=1024, leave=False, disable=None
    ) as bar:

        def show(done: int, total: int) -> None:
            # A terminal that is gone shall not end a backup.
            with suppress(OSError, ValueError):
                bar.total = total
                if done == total:
                    bar.set_postfix_str("checking", refresh=False)
                bar.update(done - bar.n)
                if done == total:
                    bar.refresh()

        yield show


def catalog_trouble(error: DatabaseError) -> str:
    """What is wrong with the catalog, which is no fault of a tenant's."""
    alias = conf.CATALOG_DATABASE
    where = f"the database {alias!r}, {connections[alias].settings_dict['NAME']}"
    text = f"The catalog (in {where}) cannot be used: {error}."
    if "no such" in str(error) or "does not exist" in str(error):
        text += " Has manage.py migrate been run?"
    if (file := sqlite_file(alias)) and file.parent.is_dir():
        free = shutil.disk_usage(file.parent).free
        if free < FULL:
            text += f" Its disk is full: {free} bytes are free."
        elif shortage := sqlite.inode_shortage(file.parent):
            text += f" {shortage}"
    return text


@dataclass
class Report:
    """What a command did; the object that `--json` prints."""

    backups: list[Backup] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)
    tenants: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    """What one command alone has to say."""

    def as_json(self) -> str:
        answer = {
            "ok": not self.errors,
            "backups": [_backup_as_dict(backup) for backup in self.backups],
            "errors": [{"tenant": tenant, "message": message} for tenant, message in self.errors],
            "tenants": self.tenants,
            **self.more,
        }
        return json.dumps(answer, indent=2, default=as_iso)


class CatalogCommand(BaseCommand):
    """A command that needs the catalog, and says in words where that cannot be used."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        if not logger.hasHandlers():
            # What the log would say goes to the terminal then, where the command says it itself.
            logger.addHandler(logging.NullHandler())
        try:
            self.look_at_catalog(as_json=options["as_json"])
            return super().execute(*args, **options)
        except CommandError as error:
            error.args = (harmless(str(error)), *error.args[1:])
            raise
        except DatabaseError as error:
            raise self.failure(catalog_trouble(error), as_json=options["as_json"]) from error
        except KeyboardInterrupt as error:
            # What state things are in, say those who know it in notes.
            notes = getattr(error, "__notes__", [])
            message = harmless(" ".join(["Interrupted.", *notes]))
            raise CommandError(message, returncode=INTERRUPTED) from None

    def look_at_catalog(self, *, as_json: bool) -> None:
        """End the command where to connect to the catalog would cost what lies beside its file.

        It may be a tenant's own database; and what a killed process left beside one that was
        emptied or overwritten is gone as soon as it is opened.
        """
        file = sqlite_file(conf.CATALOG_DATABASE)
        if file is None or not sqlite.left_behind(file):
            return
        try:
            sqlite.require_openable(file, busy_timeout=0)
        except DatabaseDamaged as error:
            raise self.failure(str(error), as_json=as_json) from error
        except BackupError:
            pass  # What it is in the way of says so itself.

    def failure(self, message: str, *, as_json: bool) -> CommandError:
        """The end of a command that fails as a whole, said to people and to programs."""
        if as_json:
            self.say(Report(errors=[("", message)]).as_json())
        return CommandError(harmless(message), returncode=FAILED)

    def say(self, text: str, *, loud: bool = False) -> None:
        """Print a line, on the error output where it is `loud`.

        Work goes on where nobody reads any more, or the log's disk is full: a backup is worth more
        than the line about it.
        """
        try:
            (self.stderr if loud else self.stdout).write(harmless(text))
        except (OSError, UnicodeError) as error:
            logger.warning("A line of output was lost (%s): %s", error, text)


class TenantCommand(CatalogCommand):
    """A command about the named tenants, or about all of them when none is named."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "tenants", nargs="*", metavar="TENANT", help="the id of a tenant; none means all"
        )
        parser.add_argument(
            "--json", action="store_true", dest="as_json", help="print one JSON object"
        )

    def find_tenants(
        self, tenant_ids: Sequence[str], *, as_json: bool, notes_absent: bool = False
    ) -> Listing:
        """The tenants of these ids, or all. Ends the command where one is unknown.

        With `notes_absent`, and where it is about all, it is noted who is not listed any more.
        """
        with self.asking_provider(as_json=as_json):
            listing = Listing() if tenant_ids else list_tenants()
            unknown = []
            for tenant_id in dict.fromkeys(tenant_ids):
                try:
                    listing.tenants.append(get_tenant(tenant_id))
                except InvalidTenant as error:
                    listing.invalid.append(error)
                except TenantNotFound:
                    unknown.append(tenant_id)
        self.refuse_unknown(unknown, as_json=as_json)
        if notes_absent and not tenant_ids:
            absence.note(listing.ids, timezone.now())
        if not len(listing) and (known := BackupSettings.objects.count()):
            # All gone at once: that is an accident.
            message = (
                f"The tenant provider lists no tenant at all, though the catalog knows {known}. "
                "Nobody is backed up. Is a disk not mounted?"
            )
            raise self.failure(message, as_json=as_json)
        return listing

    def listed(self, tenant_ids: Sequence[str], *, as_json: bool) -> set[str]:
        """Those of these ids that are the provider's."""
        listed = set()
        with self.asking_provider(as_json=as_json):
            for tenant_id in tenant_ids:
                try:
                    listed.add(get_tenant(tenant_id).id)
                except InvalidTenant:
                    listed.add(tenant_id)
                except TenantNotFound:
                    pass
        return listed

    @contextmanager
    def asking_provider(self, *, as_json: bool) -> Iterator[None]:
        """End the command in words where the host's own code fails."""
        try:
            yield
        except DatabaseError:
            raise
        except Exception as error:
            logger.exception("The tenant provider failed.")
            message = f"The tenant provider failed: {type(error).__name__}: {error}"
            raise self.failure(message, as_json=as_json) from error

    def refuse_unknown(self, tenant_ids: Sequence[str], *, as_json: bool) -> None:
        """End the command as a usage error where there are unknown tenants; nothing is done."""
        if not tenant_ids:
            return
        if as_json:
            report = Report(errors=[(id_, "There is no such tenant.") for id_ in tenant_ids])
            self.say(report.as_json())
        names = ", ".join(shown(tenant_id) for tenant_id in tenant_ids)
        raise CommandError(f"There is no tenant {names}. Nothing was done.", returncode=USAGE_ERROR)

    def report_invalid(self, listing: Listing, report: Report) -> None:
        """Report the tenants that are not valid, so that nobody believes them to be backed up."""
        for error in listing.invalid:
            report.errors.append((error.tenant_id, str(error)))
            whose = f"{shown(error.tenant_id)}: " if error.tenant_id else ""
            self.say(f"{whose}FAILED: {error}", loud=True)

    def report_absent(self, report: Report) -> int:
        """Report the tenants that have disappeared, and return how many findings that are."""
        findings = absence.findings(timezone.now())
        for finding in findings:
            report.errors.append((finding.tenant_id, str(finding)))
            whose = f"{shown(finding.tenant_id)}: " if finding.tenant_id else ""
            self.say(f"{whose}FAILED: {finding}", loud=True)
        return len(findings)

    def attempt(self, tenant: Tenant, report: Report, work: Callable[[], T]) -> T | None:
        """Do one tenant's work. Its failure is reported, and never stops the others'."""
        try:
            return work()
        except BackupError as error:
            if error.backup:
                report.backups.append(error.backup)
            message = str(error)
            if isinstance(error.__cause__, DatabaseError):
                # It was the catalog that failed, in the middle of the work.
                message = catalog_trouble(error.__cause__)
        except DatabaseError as error:
            logger.exception("The catalog failed during the work for tenant %r.", tenant.id)
            message = catalog_trouble(error)
        except Exception as error:
            logger.exception("The work for tenant %r failed.", tenant.id)
            message = f"{type(error).__name__}: {error}"
        report.errors.append((tenant.id, message))
        self.say(f"{shown(tenant.id)}: FAILED: {message}", loud=True)
        return None

    def finish(self, report: Report, total: int, *, as_json: bool, failed: str) -> None:
        """Print the report for programs, and end with the exit status that it deserves."""
        if as_json:
            self.say(report.as_json())
        if report.errors:
            raise CommandError(f"{len(report.errors)} of {total} {failed}.", returncode=FAILED)


def _backup_as_dict(backup: Backup) -> dict[str, Any]:
    return {
        "id": backup.pk,
        "tenant": backup.tenant_id,
        "status": backup.status,
        "trigger": backup.trigger,
        "label": backup.label,
        "pinned": backup.pinned,
        "file": backup.file_name or None,
        "bytes": backup.size,
        "sha256": backup.sha256 or None,
        "created_at": backup.created_at,
        "finished_at": backup.finished_at,
        "error": backup.error or None,
    }


def as_iso(value: Any) -> str:
    """A time as ISO 8601 in UTC, whole seconds and a Z as in file names."""
    return str(value.astimezone(UTC).isoformat(timespec="seconds")).replace("+00:00", "Z")


def _settings_of_all() -> BackupSettingsQuerySet:
    """The settings of the tenants that there are; of all that there ever were, if none can say."""
    rows = BackupSettings.objects.all()
    try:
        ids = [tenant.id for tenant in list_tenants().tenants]
    except Exception:
        logger.exception("The tenant provider failed.")
        return rows
    return rows.filter(tenant_id__in=ids)


def status_as_dict(automation_status: AutomationStatus) -> dict[str, Any]:
    """Where automation stands, for programs."""
    return {
        "state": automation_status.state.value,
        "last_tick_at": automation_status.last_tick_at,
        "paused_at": automation_status.paused_at,
        "paused_by": automation_status.paused_by or None,
    }


def status_in_words(automation_status: AutomationStatus) -> str:
    """Where automation stands, and what to do."""
    seen = (
        f"last seen at {timezone.localtime(automation_status.last_tick_at):%Y-%m-%d %H:%M:%S}"
        if automation_status.last_tick_at
        else "never seen yet"
    )
    match automation_status.state:
        case AutomationState.NOT_SET_UP:
            return "Automation is not set up. Set it up: manage.py automatebackups enable"
        case AutomationState.PAUSED:
            by = f" by {automation_status.paused_by}" if automation_status.paused_by else ""
            since = timezone.localtime(automation_status.paused_at)
            return (
                f"Automation is paused{by} since {since:%Y-%m-%d %H:%M:%S}. "
                "Take it up again: manage.py automatebackups resume"
            )
        case AutomationState.STALLED if automation_status.waiting_since:
            since = timezone.localtime(automation_status.waiting_since)
            return (
                f"Automation is stalled: it was {seen}, but queued backups do not reach a worker, "
                f"the oldest since {since:%Y-%m-%d %H:%M:%S}. {automation_status.waiting_because}"
            ).rstrip()
        case AutomationState.STALLED:
            return (
                f"Automation is stalled: {seen}. Start a cluster "
                f"({automation_status.start_command}), or let cron run "
                "python manage.py runbackup --due every minute. Workers that are busy "
                "with other long tasks look the same."
            )
        case AutomationState.RUNNING:
            rows = _settings_of_all()
            return (
                f"Automation is running, {seen}. {rows.filter(automatic=True).count()} of "
                f"{rows.count()} tenants have automatic backups on."
            )
