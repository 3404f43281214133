"""The list of a tenant's backups: the part of it that is shown, and what each line says."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Min
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext

from tenant_backup.models import Backup, Status, Trigger
from tenant_backup.retention import Decision
from tenant_backup.tenants import Tenant
from tenant_backup.views.place import Place
from tenant_backup.views.redaction import Reader, readable_reason
from tenant_backup.words import why_it_stays

LINES_PER_PAGE = 20


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the list."""

    backup: Backup
    status: str
    tone: str
    """`good`, `warning`, `error`, or empty."""
    trigger: str
    reason: str
    has_file: bool
    is_deletable: bool
    goes_because: str
    """Why retention will remove it after the next backup; empty if it will not."""
    stays_because: str
    """Why retention keeps it; empty if the rest of the line shows that anyway."""


def list_of(
    request: HttpRequest,
    tenant: Tenant,
    read: Reader,
    now: datetime,
    removals: Iterable[Decision[Any]],
) -> dict[str, Any]:
    """What the page's context says of the list, with what retention will remove from it."""
    asked = Place.of(request.GET)
    rows = Backup.objects.for_tenant(tenant.id)
    shown = asked.filter(rows).newest_first()
    page = Paginator(shown, LINES_PER_PAGE).get_page(asked.page or 1)
    going = {decision.backup.pk: decision for decision in removals}
    lines = [_line(backup, read, going.get(backup.pk), now) for backup in page]
    states = rows.good().counted(now).aggregate(number=Count("pk"), oldest=Min("created_at"))
    return {
        "page": page,
        "page_range": list(page.paginator.get_elided_page_range(page.number)),
        "lines": lines,
        "has_deletable": any(line.is_deletable for line in lines),
        "place": replace(asked, page=str(page.number) if page.number > 1 else ""),
        "filters": [
            ("", gettext("all")),
            ("pinned", gettext("pinned")),
            ("manual", Trigger.MANUAL.label),
            ("failed", gettext("failed, missing or damaged")),
        ],
        "number_of_states": states["number"],
        "oldest_state": _day(states["oldest"], now) if states["oldest"] else "",
    }


def _day(at: datetime, now: datetime) -> str:
    """The date of a moment, without the year if it is this one."""
    local, today = timezone.localtime(at), timezone.localtime(now)
    is_this_year = local.year == today.year
    return date_format(local, "MONTH_DAY_FORMAT" if is_this_year else "DATE_FORMAT")


def _line(backup: Backup, read: Reader, removal: Decision[Any] | None, now: datetime) -> Line:
    tone = "good" if backup.is_good else "error" if backup.status == Status.FAILED else ""
    return Line(
        backup,
        # Not by `get_status_display`, which puts all choices into words to choose one of them.
        str(Status(backup.status).label),
        "warning" if backup.check_error else tone,
        str(Trigger(backup.trigger).label),
        readable_reason(backup, read),
        has_file=backup.has_file,
        is_deletable=backup.is_deletable,
        goes_because=" ".join(removal.reasons) if removal else "",
        stays_because=why_it_stays(backup, now),
    )
