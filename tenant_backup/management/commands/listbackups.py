"""`manage.py listbackups`: the catalog."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from tenant_backup.exceptions import TenantNotFound
from tenant_backup.files import size_in_words
from tenant_backup.management.base import Report, TenantCommand, shown
from tenant_backup.models import Backup
from tenant_backup.tenants import get_provider

TITLES = ["ID", "TENANT", "TIME", "SIZE", "STATUS", "TRIGGER", "FILE", "LABEL"]
INDENT = "    "


class Command(TenantCommand):
    help = "List the backups of the named tenants, or of all: by tenant, newest first."

    def handle(self, *, tenants: list[str], as_json: bool, **options: Any) -> None:
        rows = Backup.objects.newest_first().order_by("tenant_id", "-created_at", "-pk")
        if tenants:
            rows = rows.filter(tenant_id__in=tenants)
        report = Report(backups=list(rows))
        self.refuse_unknown(_unknown(tenants, report.backups), as_json=as_json)
        if as_json:
            report.tenants = [{"id": id_} for id_ in _tenant_ids(tenants, report.backups)]
            self.say(report.as_json())
        elif report.backups:
            self.say(f"Times are in the time zone {timezone.get_current_timezone_name()}.")
            self.say(_table(report.backups))
        else:
            self.say("There are no backups yet. Make some: manage.py runbackup")


def _unknown(tenant_ids: list[str], backups: list[Backup]) -> list[str]:
    """The ids that neither the provider nor the catalog knows: backups may outlive their tenant."""
    in_catalog = {backup.tenant_id for backup in backups}
    unknown = []
    for tenant_id in tenant_ids:
        if tenant_id not in in_catalog:
            try:
                get_provider().get_tenant(tenant_id)
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
    rows = [TITLES, *map(_cells, backups)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    reasons = ["", *(backup.error for backup in backups)]
    return "\n".join(
        f"{line}\n{INDENT}{shown(reason)}" if reason else line
        for line, reason in zip(lines, reasons, strict=True)
    )
