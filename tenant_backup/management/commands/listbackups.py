"""`manage.py listbackups`: the catalog."""

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.utils import timezone

from tenant_backup import backups
from tenant_backup.exceptions import TenantNotFound
from tenant_backup.files import size_in_words
from tenant_backup.management.base import TenantCommand
from tenant_backup.management.output import shown
from tenant_backup.models import Backup
from tenant_backup.tenants import get_tenant

TITLES = ["ID", "TENANT", "TIME", "SIZE", "STATUS", "TRIGGER", "FILE", "LABEL"]
INDENT = "    "


class Command(TenantCommand):
    help = "List the backups of the named tenants, or of all: by tenant, newest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--contents",
            action="store_true",
            help="what is in each backup: the rows of each table, beside today's",
        )

    def handle(self, *, tenants: list[str], contents: bool, **options: Any) -> None:
        rows = Backup.objects.order_by("tenant_id", "-created_at", "-pk")
        if tenants:
            rows = rows.filter(tenant_id__in=tenants)
        self.report.backups = list(rows)
        # Backups may outlive their tenant, so the provider need not know those in the catalog.
        in_catalog = dict.fromkeys(backup.tenant_id for backup in rows)
        others = [id_ for id_ in dict.fromkeys(tenants) if id_ not in in_catalog]
        listed = self.listed(others)
        self.refuse_unknown([id_ for id_ in others if id_ not in listed])
        entries: dict[str, dict[str, Any]] = {
            id_: {"id": id_} for id_ in dict.fromkeys(tenants or in_catalog)
        }
        self.report.tenants = list(entries.values())
        if not self.as_json:
            self.say_list()
        for backup in rows if contents else ():
            if backup.is_good:
                self.look_inside(backup, entries[backup.tenant_id])
        self.finish(len(rows), failed="could not be looked into")

    def say_list(self) -> None:
        if rows := self.report.backups:
            self.say(f"Times are in the time zone {timezone.get_current_timezone_name()}.")
            self.say(_table(rows))
        else:
            self.say("There are no backups yet. Make some: manage.py runbackup")

    def look_inside(self, backup: Backup, entry: dict[str, Any]) -> None:
        """Say what is in a backup, and add it to the report's entry of its tenant."""
        tables = self.attempt(backup.tenant_id, partial(_contents, backup))
        if tables is None:
            return
        rows = {table.name: {"rows": table.rows, "today": table.rows_today} for table in tables}
        entry.setdefault("contents", {})[str(backup.pk)] = rows
        if not self.as_json:
            self.say(f"\n{backup.pk}  {shown(backup.tenant_id)}  {backup}")
            self.say(_columns(_contents_rows(tables), INDENT))


def _contents(backup: Backup) -> list[backups.Table] | None:
    try:
        tenant = get_tenant(backup.tenant_id)
    except TenantNotFound:
        return None  # nothing says where its files are
    return backups.contents(tenant, backup)


def _cells(backup: Backup) -> list[str]:
    marks = {
        "pinned": backup.pinned,
        "missing": backup.missing_at,
        "damaged": backup.damaged_at,
        "dated in the future": backup.future_at,
    }
    return [
        str(backup.pk),
        shown(backup.tenant_id),
        f"{timezone.localtime(backup.created_at):%Y-%m-%d %H:%M:%S}",
        size_in_words(backup.size) if backup.size else "-",
        ", ".join([backup.status, *(mark for mark, is_set in marks.items() if is_set)]),
        backup.trigger,
        backup.file_name or "-",
        shown(backup.label) if backup.label else "",
    ]


def _table(backups: list[Backup]) -> str:
    """The rows in columns; below each failed one its reason, which may be long."""
    lines = _columns([TITLES, *map(_cells, backups)]).splitlines()
    reasons = ["", *(backup.error for backup in backups)]
    return "\n".join(
        f"{line}\n{INDENT}{shown(reason)}" if reason else line
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


def _columns(rows: list[list[str]], indent: str = "") -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        indent
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
