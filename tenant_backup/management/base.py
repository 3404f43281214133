"""The base classes of the commands: which tenants, one tenant's failure, the exit status."""

import logging
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from typing import Any, TextIO, TypeVar

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    SystemCheckError,
)
from django.db import DatabaseError, connections
from django.utils import timezone
from django.utils.text import get_text_list
from django.utils.translation import gettext

from tenant_backup import sqlite
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, DatabaseDamaged, TenantNotFound
from tenant_backup.management.examples import Examples, HelpFormatter, epilog
from tenant_backup.management.output import Report, harmless, shown
from tenant_backup.management.suggestions import similar_tenants
from tenant_backup.management.terminal import paragraph, wants_no_colour, width_of
from tenant_backup.models import BackupSettings
from tenant_backup.monitoring import absence
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
INTERRUPTED = 130
"""As shells say it of a program that Ctrl-C has ended."""

FULL = 1024 * 1024
"""With fewer free bytes than this, the full disk is the likely reason of a database's failure."""


class AlreadySaid(CommandError):
    """Ends a command that has said on the terminal what is wrong; only the status is left."""


class CatalogCommand(BaseCommand):
    """A command that needs the catalog, and explains in a sentence where it cannot be used."""

    examples: Examples
    report: Report
    as_json: bool
    quiet: bool
    """Nothing is printed for people, except failures."""
    forces_colour = False
    _called_from_command_line: bool = False

    def __init__(
        self,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        no_color: bool = False,
        force_color: bool = False,
    ) -> None:
        no_color = no_color or (wants_no_colour() and not force_color)
        super().__init__(stdout, stderr, no_color, force_color)
        # Django's would make all that is printed there red, however long.
        self.stderr.style_func = None

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        options.setdefault("formatter_class", HelpFormatter)
        options.setdefault("epilog", epilog(subcommand, self.examples))
        return super().create_parser(prog_name, subcommand, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--json", action="store_true", dest="as_json", help="print one JSON object"
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        self.report = Report()
        self.as_json = options["as_json"]
        self.quiet = self.as_json or options["verbosity"] == 0
        self.forces_colour = options["force_color"]
        if not logger.hasHandlers():
            # Then Python prints log messages on the terminal, where the command says it itself.
            logger.addHandler(logging.NullHandler())
        try:
            return self.execute_or_explain(*args, **options)
        except SystemCheckError:
            raise  # Django's own text, with its tabs and colours.
        except CommandError as error:
            if not self._called_from_command_line or options["traceback"]:
                raise
            # As Django would, but without the name of a Python class before the sentence.
            if not isinstance(error, AlreadySaid):
                self.say(str(error), loud=True)
            sys.exit(error.returncode)

    def execute_or_explain(self, *args: Any, **options: Any) -> str | None:
        """Execute the command. Each failure is a `CommandError` whose text is a sentence."""
        try:
            self.look_at_catalog()
            return super().execute(*args, **options)
        except SystemCheckError:
            raise
        except CommandError as error:
            error.args = (harmless(str(error)), *error.args[1:])
            raise
        except DatabaseError as error:
            raise self.failure(catalog_trouble(error)) from error
        except KeyboardInterrupt as error:
            # The interrupted code says in notes what state it left.
            notes = getattr(error, "__notes__", [])
            message = harmless(" ".join(["Interrupted.", *notes]))
            raise CommandError(message, returncode=INTERRUPTED) from None

    def look_at_catalog(self) -> None:
        """End the command if connecting to the catalog would destroy what lies beside its file.

        The catalog may be in a tenant's own database. If that was emptied or overwritten, SQLite
        deletes what a killed process left beside it as soon as it is opened.
        """
        file = sqlite_file(conf.CATALOG_DATABASE)
        if file is None or not sqlite.left_behind(file):
            return
        try:
            sqlite.require_openable(file, busy_timeout=0)
        except DatabaseDamaged as error:
            raise self.failure(str(error)) from error
        except BackupError:
            pass  # The command meets the same trouble, and says so itself.

    def failure(self, message: str) -> CommandError:
        """The error that ends a command as a whole; with `as_json` it is printed, too."""
        if self.as_json:
            self.say(Report(errors=[("", message)]).as_json())
        return CommandError(harmless(message), returncode=FAILED)

    def say(self, text: str, *, loud: bool = False, lead: str = "", role: str = "") -> None:
        """Print a line, on the error output if it is `loud`.

        It begins with `lead`, in the colour that Django has for this role, such as `ERROR`, if a
        terminal shows it. Work goes on if nobody reads the output any more, or if the log's disk is
        full: a backup is worth more than the line about it.
        """
        stream = self.stderr if loud else self.stdout
        lead = harmless(lead)
        if role and (self.forces_colour or stream.isatty()):
            lead = getattr(self.style, role)(lead)
        try:
            stream.write(lead + harmless(text))
        except (OSError, UnicodeError) as error:
            logger.warning("A line of output was lost (%s): %s", error, text)

    def tell(self, text: str) -> None:
        """Print a line for people."""
        if not self.quiet:
            self.say(text)


class TenantCommand(CatalogCommand):
    """A command about the named tenants, or about all of them when none is named."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "tenants", nargs="*", metavar="TENANT", help="the id of a tenant; none means all"
        )
        super().add_arguments(parser)

    def find_tenants(self, tenant_ids: Sequence[str], *, notes_absent: bool = False) -> Listing:
        """The tenants of these ids, or all if there are none. Ends the command if one is unknown.

        With `notes_absent`, and if it is about all, note which tenants are no longer listed.
        """
        with self.asking_provider():
            listing = Listing() if tenant_ids else list_tenants()
            unknown = []
            for tenant_id in dict.fromkeys(tenant_ids):
                try:
                    listing.tenants.append(get_tenant(tenant_id))
                except InvalidTenant as error:
                    listing.invalid.append(error)
                except TenantNotFound:
                    unknown.append(tenant_id)
        self.refuse_unknown(unknown)
        if notes_absent and not tenant_ids:
            absence.note(listing.ids, timezone.now())
        if not len(listing) and (known := BackupSettings.objects.count()):
            # All gone at once: that is an accident.
            message = (
                f"The tenant provider lists no tenant at all, though the catalog knows {known}. "
                "Nobody is backed up. Is a disk not mounted?"
            )
            raise self.failure(message)
        return listing

    def listed(self, tenant_ids: Sequence[str]) -> set[str]:
        """Those of these ids that the provider knows."""
        listed = set()
        with self.asking_provider():
            for tenant_id in tenant_ids:
                try:
                    listed.add(get_tenant(tenant_id).id)
                except InvalidTenant:
                    listed.add(tenant_id)
                except TenantNotFound:
                    pass
        return listed

    @contextmanager
    def asking_provider(self) -> Iterator[None]:
        """End the command with a message if the host's own code fails."""
        try:
            yield
        except DatabaseError:
            raise
        except Exception as error:
            logger.exception("The tenant provider failed.")
            message = f"The tenant provider failed: {type(error).__name__}: {error}"
            raise self.failure(message) from error

    def refuse_unknown(self, tenant_ids: Sequence[str], also: Iterable[str] = ()) -> None:
        """End the command as a usage error if there are unknown tenants; nothing is done.

        Says who may have been meant: a tenant of the provider, or one of `also`.
        """
        if not tenant_ids:
            return
        similar = {tenant_id: similar_tenants(tenant_id, also) for tenant_id in tenant_ids}
        if self.as_json:
            errors = [
                (tenant_id, " ".join(["There is no such tenant.", *did_you_mean(ids)]))
                for tenant_id, ids in similar.items()
            ]
            self.say(Report(errors=errors).as_json())
        text = gettext("There is no tenant %(tenants)s. Nothing was done.")
        sentence = text % {"tenants": ", ".join(map(shown, tenant_ids))}
        meant = dict.fromkeys(tenant_id for ids in similar.values() for tenant_id in ids)
        raise CommandError(" ".join([sentence, *did_you_mean(meant)]), returncode=USAGE_ERROR)

    def report_invalid(self, listing: Listing) -> None:
        """Report the tenants that are not valid, so that nobody believes them to be backed up."""
        for error in listing.invalid:
            self.report_failure(error.tenant_id, str(error))

    def report_absent(self) -> int:
        """Report the tenants that have disappeared, and return the number of findings."""
        findings = absence.findings(timezone.now())
        for finding in findings:
            self.report_failure(finding.tenant_id, str(finding))
        return len(findings)

    def attempt(self, tenant_id: str, work: Callable[[], T]) -> T | None:
        """Do one tenant's work. A failure is reported, and never stops the work for others."""
        try:
            return work()
        except BackupError as error:
            if error.backup:
                self.report.backups.append(error.backup)
            message = str(error)
            if isinstance(error.__cause__, DatabaseError):
                # It was the catalog that failed, in the middle of the work.
                message = catalog_trouble(error.__cause__)
        except DatabaseError as error:
            logger.exception("The catalog failed during the work for tenant %r.", tenant_id)
            message = catalog_trouble(error)
        except Exception as error:
            logger.exception("The work for tenant %r failed.", tenant_id)
            message = f"{type(error).__name__}: {error}"
        self.report_failure(tenant_id, message)
        return None

    def report_failure(self, tenant_id: str, message: str, *, label: str = "failed") -> None:
        self.report.errors.append((tenant_id, message))
        self.say_failure(tenant_id, message, label)

    def say_failure(self, tenant_id: str, message: str, label: str) -> None:
        self.say_of(tenant_id, label, message, loud=True, role="ERROR")

    def say_of(
        self, tenant_id: str, label: str, message: str, *, loud: bool = False, role: str = ""
    ) -> None:
        """Print how a tenant stands: `acme: failed. The database … does not exist.`"""
        lead = f"{shown(tenant_id)}: {label}." if tenant_id else ""
        self.say_led(lead, f" {message}" if lead else message, loud=loud, role=role)

    def say_led(self, lead: str, more: str, *, loud: bool = False, role: str = "") -> None:
        """Print a paragraph that begins with `lead`, in the colour of its role."""
        text = paragraph(lead + more, width_of(self.stderr if loud else self.stdout))
        # On a terminal narrower than that, its end is on the next line, and all is uncoloured.
        if not text.startswith(lead):
            lead = ""
        self.say(text.removeprefix(lead), loud=loud, lead=lead, role=role)

    def say_outcome(self, outcome: str, lines: Sequence[str]) -> None:
        """Print for people first what came of it all, then the lines about it."""
        self.tell(outcome)
        for line in lines:
            self.tell(line)

    def finish(self, total: int, *, failed: str) -> None:
        """Print the report for programs, and end the command with the right exit status."""
        if self.as_json:
            self.say(self.report.as_json())
        if self.report.errors:
            raise CommandError(f"{len(self.report.errors)} of {total} {failed}.", returncode=FAILED)


def zone_of(tenants: Sequence[Tenant]) -> tzinfo:
    """The one zone of an output's times: of the one tenant that it is about, or the project's."""
    return tenants[0].zone if len(tenants) == 1 else timezone.get_default_timezone()


def zone_in_words() -> str:
    text = gettext("Times are in the time zone %(zone)s.")
    return text % {"zone": timezone.get_current_timezone_name()}


def did_you_mean(names: Collection[str]) -> list[str]:
    """The question what was meant, if it may be one of these."""
    if not names:
        return []
    listed = get_text_list([shown(name) for name in names], gettext("or"))
    return [gettext("Did you mean %(tenants)s?") % {"tenants": listed}]


def catalog_trouble(error: DatabaseError) -> str:
    """What is wrong with the catalog; no tenant is to blame for it."""
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
