"""`manage.py restorerows`: bring rows of a backup back into the live database."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop

from tenant_backup import backups, restore, rows
from tenant_backup.exceptions import BackupError, BackupNotFound
from tenant_backup.management.base import (
    FAILED,
    INTERRUPTED,
    USAGE_ERROR,
    TenantCommand,
    zone_in_words,
    zone_of,
)
from tenant_backup.management.output import harmless, shown, user
from tenant_backup.management.row_words import about_plan, about_undoing, after_restore, after_undo
from tenant_backup.management.terminal import paragraph, width_of
from tenant_backup.rows import Plan, Wanted
from tenant_backup.tenants import Tenant

NOTHING = gettext_noop("Nothing was done.")


class Command(TenantCommand):
    help = (
        "Bring rows of a backup back into the tenant's database, while everything runs: those that "
        "are gone, those that have changed, or both. Everything else stays as it is. The present "
        "state is backed up first; all is done in one transaction, or nothing; and --undo takes it "
        "back. Exit status: 0 done, 1 refused or failed (nothing was done), 2 usage error."
    )
    examples = (
        ("acme 17 shop_contract --with-related --dry-run", "say what would be brought back"),
        ("acme --undo 3", "take back what was brought back under this number"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", metavar="TENANT", help="the id of the tenant")
        parser.add_argument(
            "backup",
            nargs="?",
            metavar="BACKUP",
            help="the id or the file name of a backup of this tenant",
        )
        parser.add_argument(
            "tables", nargs="*", metavar="TABLE", help="the tables whose rows are wanted"
        )
        parser.add_argument(
            "--gone",
            action="store_true",
            help="rows that are gone; this is meant if --changed is not given, either",
        )
        parser.add_argument(
            "--changed", action="store_true", help="rows that have changed, as they were"
        )
        parser.add_argument(
            "--key",
            nargs="+",
            action="extend",
            default=[],
            dest="keys",
            metavar="K",
            help="only the rows with these primary keys, of one table; values of a key of several "
            "columns are separated by commas",
        )
        parser.add_argument(
            "--with-related",
            action="store_true",
            help="also gone rows of other tables that referred to them, and references to them "
            "that are empty now",
        )
        parser.add_argument(
            "--skip-conflicts",
            action="store_true",
            help="leave out rows that conflict with today's, and those that need them",
        )
        parser.add_argument(
            "--undo", type=int, metavar="N", help="take back what was brought back as number N"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be done, and do nothing"
        )
        parser.add_argument(
            "--no-input", action="store_false", dest="interactive", help="do not ask any questions"
        )
        parser.add_argument(
            "--json",
            action="store_true",
            dest="as_json",
            help="print one JSON object; needs --no-input or --dry-run",
        )

    def handle(
        self,
        *,
        tenant: str,
        backup: str | None,
        undo: int | None,
        interactive: bool,
        dry_run: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        wanted = None if undo is not None else _wanted(options)
        if undo is not None and (backup or _is_any(options)):
            raise _misused(gettext("--undo needs only the tenant and the number."))
        if wanted and not (backup and wanted.tables):
            raise _misused(gettext("Name a backup and at least one table, or use --undo."))
        if wanted and wanted.keys and len(wanted.tables) > 1:
            raise _misused(gettext("--key is about the rows of one table only."))
        interactive = interactive and not dry_run
        if self.as_json and interactive:
            raise _misused(
                gettext("--json cannot ask questions, so it needs --no-input or --dry-run.")
            )
        self.quiet = self.as_json or (verbosity == 0 and not interactive)
        listing = self.find_tenants([tenant])
        with timezone.override(zone_of(listing.tenants)):
            try:
                if listing.invalid:
                    raise listing.invalid[0]
                found = listing.tenants[0]
                if wanted:
                    self.restore(found, backup or "", wanted, interactive, dry_run)
                else:
                    self.undo(found, undo or 0, interactive, dry_run)
            except BackupError as error:
                self.fail(tenant, error)
        if self.as_json:
            self.say(self.report.as_json())

    def restore(
        self, tenant: Tenant, backup: str, wanted: Wanted, interactive: bool, dry_run: bool
    ) -> None:
        """Say what will be done, ask, and do it."""
        source = restore.find(tenant, backup).backup
        if source is None:
            raise BackupNotFound(
                "The catalog does not know this file. Move it into the folder of the tenant's "
                "backups, and run manage.py syncbackups."
            )
        self.tell(zone_in_words())
        self.tell(gettext("Verifying the backup and comparing it."))
        with rows.planned(tenant, source, wanted) as plan:
            self.tell_lines(about_plan(plan))
            self.note(plan.counts, others=plan)
            if dry_run:
                self.tell(gettext(NOTHING))
                return
            if interactive:
                self.confirm()
            done = rows.perform(plan, actor=user())
        path = backups.directory_of(tenant).file(done.safety_copy.file_name)
        self.note(done.tables, safety_copy=str(path), undo=done.undo)
        self.report.backups.append(done.safety_copy)
        self.tell_lines(after_restore(tenant, source, done))

    def undo(self, tenant: Tenant, number: int, interactive: bool, dry_run: bool) -> None:
        """Say what will be taken back, ask, and do it."""
        with rows.undoing(tenant, number) as found:
            self.tell_lines(about_undoing(found))
            self.note(found.rows.counts())
            if dry_run:
                self.tell(gettext(NOTHING))
                return
            if interactive:
                self.confirm()
            record = rows.take_back(found, actor=user())
        self.tell_lines(after_undo(tenant, record))

    def note(
        self,
        counts: dict[str, dict[str, int]],
        *,
        safety_copy: str | None = None,
        undo: str | None = None,
        others: Plan | None = None,
    ) -> None:
        """Note for programs what is done."""
        tables = [{"table": table, **numbers} for table, numbers in sorted(counts.items())]
        self.report.more |= {"tables": tables, "safety_copy": safety_copy, "undo": undo}
        if others:
            self.report.more["not_chosen"] = [
                {"table": loss.table, "gone": loss.gone} for loss in others.losses
            ]

    def fail(self, tenant: str, error: BackupError) -> None:
        self.report.errors.append((tenant, str(error)))
        self.report.backups += [error.backup] if error.backup else []
        if self.as_json:
            nothing: dict[str, Any] = {"tables": [], "safety_copy": None, "undo": None}
            self.report.more = {**nothing, **self.report.more}
            self.say(self.report.as_json())
        status = USAGE_ERROR if isinstance(error, BackupNotFound) else FAILED
        raise CommandError(f"{shown(tenant)}: failed. {error}", returncode=status) from error

    def tell_lines(self, lines: list[str]) -> None:
        self.tell(paragraph("\n".join(lines), width_of(self.stdout)))

    def confirm(self) -> None:
        self.stdout.write(harmless(gettext("Is this what you want? Type yes or no: ")), ending="")
        self.stdout.flush()
        try:
            answer = input().strip()
        except EOFError:
            self.stdout.write()  # Ends the line of the question.
            raise _misused(gettext("There is nobody to ask. See --no-input.")) from None
        except KeyboardInterrupt:
            self.say("")
            raise CommandError(gettext(NOTHING), returncode=INTERRUPTED) from None
        if answer != "yes":
            raise CommandError(gettext(NOTHING), returncode=FAILED)


def _misused(message: str) -> CommandError:
    return CommandError(message, returncode=USAGE_ERROR)


def _is_any(options: dict[str, Any]) -> bool:
    return any(
        options[name]
        for name in ("tables", "gone", "changed", "keys", "with_related", "skip_conflicts")
    )


def _wanted(options: dict[str, Any]) -> Wanted:
    return Wanted(
        tables=tuple(dict.fromkeys(options["tables"])),
        gone=options["gone"] or not options["changed"],
        changed=options["changed"],
        keys=tuple(options["keys"]),
        with_related=options["with_related"],
        skip_conflicts=options["skip_conflicts"],
    )
