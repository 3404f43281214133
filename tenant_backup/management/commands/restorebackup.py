"""`manage.py restorebackup`: restore a backup as the tenant's database."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from tenant_backup import backups, restore
from tenant_backup.exceptions import BackupError, BackupNotFound
from tenant_backup.files import size_in_words
from tenant_backup.management.base import (
    FAILED,
    INTERRUPTED,
    USAGE_ERROR,
    TenantCommand,
    zone_in_words,
    zone_of,
)
from tenant_backup.management.output import harmless, progress_bar, shown, user
from tenant_backup.management.terminal import columns, paragraph, width_of
from tenant_backup.models import Backup
from tenant_backup.restore import Choice, Origin, Plan, Restored
from tenant_backup.tenants import Tenant
from tenant_backup.words import ago

NOTHING = "Nothing was done."
TITLES = ["ID", "TIME", "AGE", "SIZE", "TRIGGER", "FILE", "LABEL"]


class Command(TenantCommand):
    help = (
        "Restore a backup as the tenant's database. The present state is saved first, as a pinned "
        "backup. Stop everything that uses the database beforehand. Exit status: 0 done, 1 failed "
        "(the message says what state the database is in), 2 usage error (nothing was done)."
    )
    examples = (
        ("acme", "list the good backups of this tenant, and ask which one"),
        ("acme --latest --no-input", "restore the newest good one, and ask nothing"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", metavar="TENANT", help="the id of the tenant")
        parser.add_argument(
            "backup",
            nargs="?",
            metavar="BACKUP",
            help="the id or the file name of a backup of this tenant, or the path of a file",
        )
        parser.add_argument(
            "--latest",
            action="store_true",
            help="the newest good backup, except safety copies of a restore",
        )
        parser.add_argument(
            "--no-input", action="store_false", dest="interactive", help="do not ask any questions"
        )
        parser.add_argument(
            "--safety-copy-to",
            type=Path,
            metavar="DIR",
            help="save the present state in this directory, for example if the disk is full",
        )
        parser.add_argument(
            "--from-another-tenant",
            action="store_true",
            help="with --no-input: restore a file even if it is another tenant's backup",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            dest="as_json",
            help="print one JSON object; needs --no-input",
        )

    def handle(
        self,
        *,
        tenant: str,
        backup: str | None,
        latest: bool,
        interactive: bool,
        safety_copy_to: Path | None,
        from_another_tenant: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        if backup and latest:
            raise _misused("Name a backup or use --latest, not both.")
        if not interactive and not (backup or latest):
            raise _misused("With --no-input, name a backup or use --latest.")
        if self.as_json and interactive:
            raise _misused("--json cannot ask questions, so it needs --no-input.")
        if safety_copy_to and not safety_copy_to.is_dir():
            raise _misused(f"{safety_copy_to} is not a directory.")
        safety_copy_to = safety_copy_to and safety_copy_to.absolute()
        self.quiet = self.as_json or (verbosity == 0 and not interactive)
        listing = self.find_tenants([tenant])
        with timezone.override(zone_of(listing.tenants)):
            try:
                if listing.invalid:
                    raise listing.invalid[0]
                self.tell(zone_in_words())
                choice = self.choose(listing.tenants[0], backup, latest=latest)
                self.restore(
                    choice,
                    safety_copy_to=safety_copy_to,
                    interactive=interactive,
                    from_another_tenant=from_another_tenant,
                )
            except BackupError as error:
                self.report.errors.append((tenant, str(error)))
                self.report.backups += [error.backup] if error.backup else []
                if self.as_json:
                    self.say(self.report.as_json())
                status = USAGE_ERROR if isinstance(error, BackupNotFound) else FAILED
                raise CommandError(
                    f"{shown(tenant)}: failed. {error}", returncode=status
                ) from error
        if self.as_json:
            self.say(self.report.as_json())

    def restore(
        self,
        choice: Choice,
        *,
        safety_copy_to: Path | None,
        interactive: bool,
        from_another_tenant: bool,
    ) -> None:
        """Say what will be done, ask, and do it."""
        self.tell("Verifying the backup.")
        plan = restore.verify(choice)
        self.tell(_as_text(plan, safety_copy_to))
        if interactive:
            self.confirm(plan)
        elif not from_another_tenant:
            _refuse_another_tenants(plan)
        with progress_bar(shown(choice.tenant.id)) as progress:
            restored = restore.perform(
                plan,
                safety_copy_to=safety_copy_to,
                actor=user(),
                say=self.tell,
                progress=progress,
            )
        self.report.backups.append(restored.backup)
        if isinstance(restored.safety_copy, Backup):
            self.report.backups.append(restored.safety_copy)
        self.report.tenants.append(_as_dict(plan, restored))
        self.tell(paragraph(_result(plan, restored), width_of(self.stdout)))

    def choose(self, tenant: Tenant, text: str | None, *, latest: bool) -> Choice:
        if latest:
            return restore.newest(tenant)
        if text is None:
            rows = restore.candidates(tenant)
            if not rows:
                raise BackupNotFound("There is no good backup of %(tenant)r.", tenant=tenant.id)
            width = width_of(self.stdout)
            self.say("\n".join(columns([TITLES, *map(_facts, rows)], width=width)))
            text = self.ask("Which one? Enter its number: ")
        return restore.find(tenant, text)

    def confirm(self, plan: Plan) -> None:
        tenant = plan.choice.tenant
        if plan.origin is not Origin.OWN:
            whose = (
                f"It is a backup of another tenant: {shown(plan.other)}."
                if plan.origin is Origin.OTHER
                else "It is not known whose backup this is: no backup in the catalog has its "
                "checksum."
            )
            self.say(f"{whose} Its data would go into tenant {shown(tenant.id)}.")
            if self.ask("Is this what you want? Type yes or no: ") != "yes":
                raise CommandError(NOTHING, returncode=FAILED)
        if self.ask(f"To continue, type the tenant's id ({shown(tenant.id)}): ") != tenant.id:
            raise CommandError(f"That is not the tenant's id. {NOTHING}", returncode=FAILED)

    def look_at_catalog(self) -> None:
        """Do nothing: `restore` looks by itself, and can restore a damaged catalog."""

    def ask(self, question: str) -> str:
        self.stdout.write(harmless(question), ending="")
        self.stdout.flush()
        try:
            return input().strip()
        except EOFError:
            self.stdout.write()  # Ends the line of the question.
            raise _misused(f"There is nobody to ask. {NOTHING} See --no-input.") from None
        except KeyboardInterrupt:
            self.say("")
            raise CommandError(NOTHING, returncode=INTERRUPTED) from None


def _misused(message: str) -> CommandError:
    return CommandError(message, returncode=USAGE_ERROR)


def _refuse_another_tenants(plan: Plan) -> None:
    if plan.origin is Origin.OTHER:
        raise BackupError(
            "%(path)s is a backup of tenant %(other)r. To restore it into %(tenant)r anyway, add "
            "--from-another-tenant. Nothing was done.",
            path=plan.choice.file,
            other=plan.other,
            tenant=plan.choice.tenant.id,
        )


def _time(backup: Backup) -> str:
    return f"{timezone.localtime(backup.created_at):%Y-%m-%d %H:%M:%S}"


def _facts(backup: Backup) -> list[str]:
    label = shown(backup.label) if backup.label else ""
    if backup.is_future(timezone.now()):
        label = f"{label} (dated in the future)".lstrip()
    if backup.check_error:
        label = f"{label} (check of its data failed)".lstrip()
    size = size_in_words(backup.size or 0)
    age = ago(backup.created_at)
    return [str(backup.pk), _time(backup), age, size, backup.trigger, backup.file_name, label]


def _as_text(plan: Plan, safety_copy_to: Path | None) -> str:
    """What will be done."""
    choice, tenant = plan.choice, plan.choice.tenant
    lines = [
        f"The database of tenant {shown(tenant.id)} ({shown(tenant.name)}) will be replaced.",
        f"  database     {plan.database}",
    ]
    if plan.size is None:
        lines.append(f"               {plan.trouble}")
    else:
        size = size_in_words(plan.size)
        lines.append(f"               {size}, journal mode {plan.journal_mode}, which it keeps")
    lines.append(f"  backup       {choice.file}")
    size = size_in_words(plan.fingerprint.size)
    if backup := choice.backup:
        label = f', "{shown(backup.label)}"' if backup.label else ""
        age = f" ({ago(backup.created_at)})" if ago(backup.created_at) else ""
        lines += [
            f"               of {_time(backup)}{age}",
            f"               {size}, {backup.trigger}{label}; verified",
        ]
    else:
        lines.append(f"               {size}; verified")
    if plan.finding:
        lines.append(f"  attention    {_attention(plan)}")
    where = safety_copy_to or backups.directory_of(tenant).path
    if plan.size is None:
        lines.append("  safety copy  the old files, if any, are moved to a folder beside it")
    else:
        lines.append(f"  safety copy  the present state, saved in {where}")
    if plan.users:
        names = f",\n{' ' * 15}".join(f"{user.pid} ({shown(user.name)})" for user in plan.users)
        lines.append(f"  stop first   these processes have the database open: {names}")
    else:
        lines.append(
            "  stop first   everything that uses the database: an idle web server is not detected"
        )
    lines.append("Data entered after the backup was made will then be in the safety copy only.")
    return "\n".join(lines)


def _attention(plan: Plan) -> str:
    return f"the file is sound, but its data did not pass the project's own check: {plan.finding}"


def _result(plan: Plan, restored: Restored) -> str:
    safety_copy = restored.safety_copy
    lines = [
        f"{shown(plan.choice.tenant.id)}: restored from {plan.choice.file.name}, and checked: the "
        "database is sound and equal to the backup.",
        *restored.notes,
    ]
    if safety_copy:
        where = f"in {safety_copy}"
        if isinstance(safety_copy, Backup):
            where = f"backup {safety_copy.pk}, {safety_copy.file_name}"
        lines.append(f"The state before the restore is {where}")
    lines.append(
        "Passwords, permissions and sessions in this database are as they were when the backup was "
        "made: somebody locked out since then may be able to log in again. Check them before you "
        "start everything."
    )
    lines.append(f"To undo: {restored.undo}")
    return "\n".join(lines)


def _as_dict(plan: Plan, restored: Restored) -> dict[str, Any]:
    safety_copy = restored.safety_copy
    path = (
        backups.directory_of(plan.choice.tenant).file(safety_copy.file_name)
        if isinstance(safety_copy, Backup)
        else safety_copy
    )
    return {
        "id": plan.choice.tenant.id,
        "database": str(plan.database),
        "restored_from": str(plan.choice.file),
        "safety_copy": str(path) if path else None,
        "undo": restored.undo,
        "notes": [*([_attention(plan)] if plan.finding else []), *restored.notes],
    }
