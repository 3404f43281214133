"""`manage.py listbackups`: the catalog."""

from argparse import ArgumentParser, ArgumentTypeError
from functools import partial
from itertools import groupby, islice
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from tenant_backup import backups
from tenant_backup.exceptions import TenantNotFound
from tenant_backup.files import size_in_words
from tenant_backup.management.base import USAGE_ERROR, TenantCommand, zone_in_words, zone_of
from tenant_backup.management.output import shown
from tenant_backup.management.terminal import INDENT, columns, paragraph, width_of
from tenant_backup.models import Backup, BackupQuerySet
from tenant_backup.tenants import get_tenant, list_tenants, tenant_or_none
from tenant_backup.words import ago

TITLES = ["ID", "TENANT", "TIME", "AGE", "SIZE", "STATUS", "TRIGGER", "FILE", "LABEL"]
DIGITS = 18


def number(text: str) -> int:
    """A whole number from 1. Its first digits are enough: nobody has that many backups."""
    start = text[:DIGITS]
    if not text.isdecimal() or not int(start):
        raise ArgumentTypeError("must be a whole number from 1")
    return int(start)


class Command(TenantCommand):
    help = "List the backups of the named tenants, or of all: by tenant, newest first."
    examples = (
        ("acme --last 5 --contents", "what is in the newest five backups of acme"),
        ("--failed", "what went wrong, with all tenants"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--contents",
            action="store_true",
            help="what is in each backup: the rows of each table, beside today's",
        )
        parser.add_argument(
            "--failed",
            action="store_true",
            help="only those that failed, and those that are missing or damaged",
        )
        parser.add_argument(
            "--last", type=number, metavar="N", help="only the newest N of each tenant"
        )
        parser.add_argument(
            "--ids",
            action="store_true",
            help="only ids, one on each line: of all tenants, or of the good backups of the named "
            "ones; for scripts and shell completion",
        )

    def handle(
        self,
        *,
        tenants: list[str],
        contents: bool,
        failed: bool,
        last: int | None,
        ids: bool,
        **options: Any,
    ) -> None:
        if ids and self.as_json:
            raise CommandError("Use --ids or --json, not both.", returncode=USAGE_ERROR)
        rows = Backup.objects.order_by("tenant_id", "-created_at", "-pk")
        if tenants:
            rows = rows.filter(tenant_id__in=tenants)
        # Backups may outlive their tenant, so the provider need not know those in the catalog.
        in_catalog = list(dict.fromkeys(rows.values_list("tenant_id", flat=True)))
        others = [id_ for id_ in dict.fromkeys(tenants) if id_ not in in_catalog]
        listed = self.listed(others)
        self.refuse_unknown(
            [id_ for id_ in others if id_ not in listed],
            also=Backup.objects.order_by().values_list("tenant_id", flat=True).distinct(),
        )
        if ids:
            self.say_ids(rows, in_catalog if not tenants else None)
            return
        is_empty = not in_catalog
        self.report.backups = _chosen(rows, failed=failed, last=last)
        if not tenants:
            in_catalog = list(dict.fromkeys(row.tenant_id for row in self.report.backups))
        entries: dict[str, dict[str, Any]] = {
            id_: {"id": id_} for id_ in dict.fromkeys(tenants or in_catalog)
        }
        self.report.tenants = list(entries.values())
        known = [tenant_or_none(next(iter(entries)))] if len(entries) == 1 else []
        with timezone.override(zone_of([tenant for tenant in known if tenant])):
            if not self.as_json:
                self.say_list(is_empty=is_empty, failed=failed)
            for backup in self.report.backups if contents else ():
                if backup.is_good:
                    self.look_inside(backup, entries[backup.tenant_id])
        self.finish(len(self.report.backups), failed="could not be looked into")

    def say_ids(self, rows: BackupQuerySet, in_catalog: list[str] | None) -> None:
        """Print the ids of all tenants, also of those that only the catalog knows, or of backups.

        An id that is not safe on a terminal is left out: nobody could type it.
        """
        if in_catalog is None:
            found = [str(pk) for pk in rows.good().values_list("pk", flat=True)]
        else:
            with self.asking_provider():
                found = sorted(list_tenants().ids.union(in_catalog))
        for each in found:
            if each.isprintable():
                self.say(each)

    def say_list(self, *, is_empty: bool, failed: bool) -> None:
        rows, width = self.report.backups, width_of(self.stdout)
        outcome = _outcome_of_failed(rows) if failed else _outcome(rows)
        if is_empty:
            outcome = gettext("There are no backups yet. Make some: %(command)s")
            outcome %= {"command": "python manage.py runbackup"}
        self.say(paragraph(outcome, width))
        if rows:
            self.say(paragraph(zone_in_words(), width))
            self.say(_table(rows, width))

    def look_inside(self, backup: Backup, entry: dict[str, Any]) -> None:
        """Say what is in a backup, and add it to the report's entry of its tenant."""
        tables = self.attempt(backup.tenant_id, partial(_contents, backup))
        if tables is None:
            return
        rows = {table.name: {"rows": table.rows, "today": table.rows_today} for table in tables}
        entry.setdefault("contents", {})[str(backup.pk)] = rows
        if not self.as_json:
            self.say(f"\n{backup.pk}  {shown(backup.tenant_id)}  {backup}")
            width = width_of(self.stdout)
            lines = columns(_contents_rows(tables), width=width and width - len(INDENT))
            self.say("\n".join(INDENT + line.replace("\n", f"\n{INDENT}") for line in lines))


def _contents(backup: Backup) -> list[backups.Table] | None:
    try:
        tenant = get_tenant(backup.tenant_id)
    except TenantNotFound:
        return None  # nothing says where its files are
    return backups.contents(tenant, backup)


def _chosen(rows: BackupQuerySet, *, failed: bool, last: int | None) -> list[Backup]:
    """Those that are asked for; with both, the newest of those that failed."""
    if failed:
        rows = rows.gone_wrong()
    by_tenant = groupby(rows, key=lambda backup: backup.tenant_id)
    return [backup for _, theirs in by_tenant for backup in islice(theirs, last)]


def _outcome(rows: list[Backup]) -> str:
    """How many backups these are, how many of them are good, and how old the newest good one is."""
    good = [backup for backup in rows if backup.is_good]
    text = ngettext(
        "%(number)d backup, %(good)d of them good.",
        "%(number)d backups, %(good)d of them good.",
        len(rows),
    )
    outcome = text % {"number": len(rows), "good": len(good)}
    if age := ago(max((backup.created_at for backup in good), default=None)):
        outcome += " " + gettext("The newest good one was made %(age)s.") % {"age": age}
    return outcome


def _outcome_of_failed(rows: list[Backup]) -> str:
    if not rows:
        return gettext("No backup has failed, and none is missing or damaged.")
    text = ngettext(
        "%(number)d backup has failed, or is missing or damaged.",
        "%(number)d backups have failed, or are missing or damaged.",
        len(rows),
    )
    return text % {"number": len(rows)}


def _cells(backup: Backup) -> list[str]:
    marks = {
        "pinned": backup.pinned,
        "missing": backup.missing_at,
        "damaged": backup.damaged_at,
        "dated in the future": backup.future_at,
        "check of its data failed": backup.check_error,
    }
    return [
        str(backup.pk),
        shown(backup.tenant_id),
        f"{timezone.localtime(backup.created_at):%Y-%m-%d %H:%M}",
        ago(backup.created_at),
        size_in_words(backup.size) if backup.size else "-",
        ", ".join([backup.status, *(mark for mark, is_set in marks.items() if is_set)]),
        backup.trigger,
        backup.file_name or "-",
        shown(backup.label) if backup.label else "",
    ]


def _table(backups: list[Backup], width: int | None) -> str:
    """The rows in columns; below each failed one its reason, which may be long."""
    lines = columns([TITLES, *map(_cells, backups)], width=width)
    reasons = ["", *(backup.reason for backup in backups)]
    return "\n".join(
        f"{line}\n{paragraph(shown(reason), width, INDENT)}" if reason else line
        for line, reason in zip(lines, reasons, strict=True)
    )


def _contents_rows(tables: list[backups.Table]) -> list[list[str]]:
    def number(rows: int | None, *, is_there: bool) -> str:
        return str(rows) if rows is not None else "not counted" if is_there else "-"

    lines = [["TABLE", "ROWS", "TODAY"]]
    for table in tables:
        in_backup = number(table.rows, is_there=table.is_in_backup)
        today = number(table.rows_today, is_there=table.is_there_today)
        lines.append([shown(table.name), in_backup, today])
    return lines
