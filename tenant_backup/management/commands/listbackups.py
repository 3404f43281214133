"""`manage.py listbackups`: the catalog."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.utils import timezone

from tenant_backup import backups
from tenant_backup.exceptions import TenantNotFound
from tenant_backup.files import size_in_words
from tenant_backup.management.base import TenantCommand
from tenant_backup.management.report import Report
from tenant_backup.management.terminal import shown
from tenant_backup.models import Backup
from tenant_backup.tenants import InvalidTenant, get_tenant

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

    def handle(self, *, tenants: list[str], contents: bool, as_json: bool, **options: Any) -> None:
        rows = Backup.objects.newest_first().order_by("tenant_id", "-created_at", "-pk")
        if tenants:
            rows = rows.filter(tenant_id__in=tenants)
        report = Report(backups=list(rows))
        self.refuse_unknown(_unknown(tenants, report.backups), as_json=as_json)
        report.tenants = [{"id": id_} for id_ in _tenant_ids(tenants, report.backups)]
        if not as_json:
            self.say_list(report.backups)
        if contents:
            for backup in report.backups:
                self.look_inside(backup, report, as_json=as_json)
        self.finish(report, len(report.backups), as_json=as_json, failed="could not be looked into")

    def say_list(self, rows: list[Backup]) -> None:
        if rows:
            self.say(f"Times are in the time zone {timezone.get_current_timezone_name()}.")
            self.say(_table(rows))
        else:
            self.say("There are no backups yet. Make some: manage.py runbackup")

    def look_inside(self, backup: Backup, report: Report, *, as_json: bool) -> None:
        """Say what is in a good backup, and add it to the report of its tenant."""
        if not backup.is_good:
            return
        try:
            tenant = get_tenant(backup.tenant_id)
        except TenantNotFound:
            return  # nothing says where its files are
        tables = self.attempt(tenant, report, partial(backups.contents, tenant, backup))
        if tables is None:
            return
        [about] = [entry for entry in report.tenants if entry["id"] == tenant.id]
        rows = {table.name: {"rows": table.rows, "today": table.rows_today} for table in tables}
        about.setdefault("contents", {})[str(backup.pk)] = rows
        if not as_json:
            self.say(f"\n{backup.pk}  {shown(tenant.id)}  {backup}")
            self.say(_columns(_contents_rows(tables), INDENT))


def _unknown(tenant_ids: list[str], rows: list[Backup]) -> list[str]:
    """The ids that neither the provider nor the catalog knows: backups may outlive their tenant."""
    in_catalog = {backup.tenant_id for backup in rows}
    unknown = []
    for tenant_id in tenant_ids:
        if tenant_id not in in_catalog:
            try:
                get_tenant(tenant_id)
            except InvalidTenant:
                pass  # it is known, though it cannot be backed up
            except TenantNotFound:
                unknown.append(tenant_id)
    return unknown


def _tenant_ids(tenant_ids: list[str], backups: list[Backup]) -> list[str]:
    return list(dict.fromkeys(tenant_ids or [backup.tenant_id for backup in backups]))


def _cells(backup: Backup) -> list[str]:
    marks = [
        mark
        for mark, is_set in (
            ("pinned", backup.pinned),
            ("missing", backup.missing_at),
            ("damaged", backup.damaged_at),
            ("dated in the future", backup.future_at),
        )
        if is_set
    ]
    return [
        str(backup.pk),
        shown(backup.tenant_id),
        f"{timezone.localtime(backup.created_at):%Y-%m-%d %H:%M:%S}",
        size_in_words(backup.size) if backup.size else "-",
        ", ".join([backup.status, *marks]),
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

    return [
        ["TABLE", "ROWS", "TODAY"],
        *(
            [
                shown(table.name),
                number(table.rows, is_there=table.is_in_backup),
                number(table.rows_today, is_there=table.is_there_today),
            ]
            for table in tables
        ),
    ]


def _columns(rows: list[list[str]], indent: str = "") -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        indent
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
