"""The page: what each of its parts shows."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tenant_backup import automation, backups, chart, monitoring
from tenant_backup.backups.attempts import Outcome
from tenant_backup.conf import conf
from tenant_backup.forms import LabelForm, SettingsForm
from tenant_backup.languages import messages
from tenant_backup.models import Backup, BackupSettings, Event, EventKind, Status, Trigger, Verdict
from tenant_backup.progress import progress_of
from tenant_backup.tenants import CREATE, VIEW, Tenant, is_operator
from tenant_backup.views.access import permissions, tenant_view
from tenant_backup.views.creation import is_for_a_worker
from tenant_backup.views.lookup import backup_or_none
from tenant_backup.views.redaction import (
    Reader,
    readable_events,
    readable_finding,
    reader,
    reader_of,
)
from tenant_backup.views.redirects import back
from tenant_backup.views.rendering import render_page
from tenant_backup.words import end_in_words, settings_in_words, why_it_stays

LINES_PER_PAGE = 25
LINES_OF_HISTORY = 6


@require_safe
@never_cache
@tenant_view(VIEW)
def overview(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The page; `?after=` a backup that it was waiting for, first a message how that ended."""
    watched = backup_or_none(tenant, request.GET.get("after", ""))
    if watched and not watched.is_active:
        say = messages.error if watched.status == Status.FAILED else messages.success
        say(request, end_in_words(watched, reader_of(request, tenant)))
        return back(request)
    return show_page(request, tenant)


def show_page(
    request: HttpRequest, tenant: Tenant, form: SettingsForm | None = None
) -> HttpResponse:
    """The page, with the settings form as it was sent if that could not be saved.

    Every key of the context is documented in docs/page.md.
    """
    may = permissions(request, tenant)
    if not may[VIEW]:
        raise PermissionDenied
    now = timezone.now()
    sees_paths = is_operator(request)
    read = reader(tenant, sees_paths=sees_paths)
    status = automation.get_status()
    judgement = monitoring.judge_tenant(tenant, automation_runs=status.is_running)
    settings = judgement.settings
    space = backups.space(tenant)
    active = Backup.objects.for_tenant(tenant.id).active().first()
    context = {
        "title": gettext("Backups"),
        "may": may,
        "active": active,
        "progress": progress_of(tenant, active),
        "automation_status": status,
        "automation_is": _flags(status.state),
        "space": space,
        "database_bytes": backups.database_bytes(tenant),
        **_headline(judgement, read),
        **_last_and_next(settings, tenant, now),
        **_creation(tenant, status, may),
        **_chart(tenant, now),
        **_list(request, tenant, read, now),
        **_settings(settings, form),
        **_history(tenant, read),
        **_help(tenant, sees_paths=sees_paths),
    }
    return render_page(request, tenant, "tenant_backup/overview.html", context)


def _flags(member: enum.Enum) -> dict[str, bool]:
    """For a template, which member of its enum this is: `{% if automation_is.running %}`."""
    return {each.name.lower(): each is member for each in type(member)}


def _headline(judgement: monitoring.Judgement, read: Reader) -> dict[str, Any]:
    findings = tuple(readable_finding(finding, read) for finding in judgement.findings)
    return {
        "judgement": replace(judgement, findings=findings),
        "verdict_is": _flags(judgement.verdict),
        "has_room": judgement.finding(Verdict.NO_ROOM) is None,
        "is_any_missing": judgement.finding(Verdict.MISSING) is not None,
    }


def _last_and_next(settings: BackupSettings, tenant: Tenant, now: datetime) -> dict[str, Any]:
    rows = Backup.objects.for_tenant(tenant.id)
    next_run_at = settings.next_run(now, tenant.zone)
    return {
        "last_good": rows.good().counted(now).newest_first().first(),
        "next_run_at": next_run_at,
        "is_due": next_run_at is not None and next_run_at <= now,
    }


def _creation(
    tenant: Tenant, status: automation.AutomationStatus, may: dict[str, bool]
) -> dict[str, Any]:
    return {
        "label_form": LabelForm(),
        "is_for_a_worker": is_for_a_worker(tenant, status),
        "quota": backups.quota_of(tenant) if may[CREATE] else None,
    }


def _chart(tenant: Tenant, now: datetime) -> dict[str, Any]:
    attempts = backups.attempts_since(tenant, chart.first_day(now, tenant.zone))
    days = chart.days(attempts, now, tenant.zone)
    return {
        "days": [(day, date_format(day.date, "SHORT_DATE_FORMAT")) for day in days],
        "chart_size": {
            "width": chart.DAYS * chart.WIDTH,
            "height": chart.HEIGHT,
            "bar": chart.BAR_WIDTH,
        },
        "has_attempts": any(day.counts for day in days),
        "largest": max((day.size or 0 for day in days), default=0),
        "outcomes": list(Outcome),
    }


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the list."""

    backup: Backup
    status: str
    tone: str
    """`good`, `error`, or empty."""
    trigger: str
    reason: str
    has_file: bool
    is_deletable: bool
    goes_because: str
    """Why retention will remove it after the next backup; empty where it will not."""
    stays_because: str
    """Why retention keeps it, where nothing else in the line shows it."""


def _list(request: HttpRequest, tenant: Tenant, read: Reader, now: datetime) -> dict[str, Any]:
    rows = Backup.objects.for_tenant(tenant.id).newest_first()
    page = Paginator(rows, LINES_PER_PAGE).get_page(request.GET.get("page"))
    going = {
        decision.backup.pk: " ".join(decision.reasons)
        for decision in backups.removals_after_next(tenant)
    }
    lines = [_line(backup, read, going.get(backup.pk, ""), now) for backup in page]
    return {
        "page": page,
        "page_range": list(page.paginator.get_elided_page_range(page.number)),
        "lines": lines,
        "has_deletable": any(line.is_deletable for line in lines),
    }


def _line(backup: Backup, read: Reader, goes_because: str, now: datetime) -> Line:
    tone = "good" if backup.is_good else "error" if backup.status == Status.FAILED else ""
    return Line(
        backup,
        # Not by `get_status_display`, which puts all choices into words to choose one of them.
        str(Status(backup.status).label),
        tone,
        str(Trigger(backup.trigger).label),
        read(backup.reason),
        has_file=backup.status == Status.COMPLETE and not backup.missing_at,
        is_deletable=backup.is_deletable,
        goes_because=goes_because,
        stays_because=why_it_stays(backup, now),
    )


def _settings(settings: BackupSettings, form: SettingsForm | None) -> dict[str, Any]:
    return {
        "backup_settings": settings,
        "settings_in_words": settings_in_words(settings),
        "form": form or SettingsForm(instance=settings),
    }


def _history(tenant: Tenant, read: Reader) -> dict[str, Any]:
    # Without pruning: that follows every backup, and would fill these few lines.
    rows = Event.objects.for_tenant(tenant.id).exclude(kind=EventKind.PRUNED).newest_first()
    return {"events": readable_events(rows[:LINES_OF_HISTORY], read)}


def _help(tenant: Tenant, *, sees_paths: bool) -> dict[str, Any]:
    return {
        "directory": str(backups.directory_of(tenant).path) if sees_paths else None,
        "not_included": conf.OPERATOR.get("NOT_INCLUDED", ""),
    }
