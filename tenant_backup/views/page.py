"""The page: what each of its parts shows, and what its progress bar asks every two seconds."""

import secrets
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.defaultfilters import truncatechars
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tenant_backup import automation, backups, chart, monitoring
from tenant_backup.backups.attempts import Outcome
from tenant_backup.conf import conf
from tenant_backup.forms import LabelForm, RequestForm, SettingsForm
from tenant_backup.languages import messages
from tenant_backup.models import Backup, Event, Status, Verdict
from tenant_backup.progress import progress_of
from tenant_backup.tenants import ACTIONS, CREATE, VIEW, Tenant, has_permission, is_operator
from tenant_backup.views.access import backup_or_none, tenant_view
from tenant_backup.views.choices import settings_part
from tenant_backup.views.listing import list_of
from tenant_backup.views.loss import losses_of
from tenant_backup.views.redaction import Reader, readable_events, reader_of
from tenant_backup.views.responses import back, render_page
from tenant_backup.words import end_in_words, settings_in_words

LINES_OF_HISTORY = 6

DETAIL = 100
"""Characters of a line of the history on the page. The whole history has all of them."""


@require_safe
@never_cache
@tenant_view(VIEW)
def overview(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The page; `after` a backup that it was waiting for, with a message how that ended."""
    watched = backup_or_none(tenant, request.GET.get("after", ""))
    if watched and not watched.is_active:
        say = messages.error if watched.status == Status.FAILED else messages.success
        say(request, end_in_words(watched, reader_of(request, tenant)))
        return back(request, f"backup-{watched.pk}")
    return show_page(request, tenant, watched=watched)


@require_safe
@never_cache
@tenant_view(VIEW)
def status(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """As JSON, how far a backup is, and how the `backup` ended that the page is waiting for."""
    rows = Backup.objects.for_tenant(tenant.id)
    newest = rows.counted(timezone.now()).newest_first().first()
    active = rows.active().first()
    progress = progress_of(tenant, active)
    watched = backup_or_none(tenant, request.GET.get("backup", ""))
    ended = ""
    if watched and not watched.is_active:
        ended = end_in_words(watched, reader_of(request, tenant))
    return JsonResponse(
        {
            "ended": ended,
            "running": active is not None and active.status == Status.RUNNING,
            "queued": active is not None and active.status == Status.QUEUED,
            "bytes_done": progress.bytes_done if progress else None,
            "bytes_total": progress.bytes_total if progress else None,
            "so_far": str(progress) if progress else "",
            "status": newest.status if newest else None,
        }
    )


def show_page(
    request: HttpRequest,
    tenant: Tenant,
    form: SettingsForm | None = None,
    watched: Backup | None = None,
) -> HttpResponse:
    """The page, with the settings form as it was sent if that could not be saved.

    A `watched` backup was active a moment ago. If it has ended since, the page still waits for it,
    so that its end is told.

    Every key of the context is documented in docs/page.md.
    """
    may = {action: has_permission(request, tenant, action) for action in ACTIONS}
    if not may[VIEW]:
        raise PermissionDenied
    now = timezone.now()
    read = reader_of(request, tenant)
    automation_status = automation.get_status()
    judgement = monitoring.judge_tenant(tenant, automation_runs=automation_status.is_running)
    settings = judgement.settings
    coming = backups.prospect(tenant, settings)
    next_run_at = settings.next_run(now, tenant.zone)
    rows = Backup.objects.for_tenant(tenant.id)
    active = rows.active().first() or watched
    context = {
        "title": gettext("Backups"),
        "may": may,
        "is_operator": is_operator(request),
        **_verdict(judgement, read),
        "last_good": rows.good().counted(now).newest_first().first(),
        "next_run_at": next_run_at,
        "is_due": next_run_at is not None and next_run_at <= now,
        "automation_status": automation_status,
        "active": active,
        "progress": progress_of(tenant, active),
        "label_form": LabelForm(),
        "form_token": secrets.token_urlsafe(16),
        "is_for_a_worker": automation.is_for_a_worker(tenant, automation_status),
        "lost": losses_of(tenant),
        "request_form": RequestForm(),
        "quota": backups.quota_of(tenant) if may[CREATE] else None,
        **chart_of(tenant, now),
        "space": backups.space(tenant),
        **list_of(request, tenant, read, now, coming.removals),
        "backup_settings": settings,
        "settings_in_words": settings_in_words(settings),
        **settings_part(request, tenant, settings, coming, form),
        "events": _last_events(tenant, read),
        "directory": str(backups.directory_of(tenant).path) if is_operator(request) else None,
        "database_bytes": backups.database_bytes(tenant),
        "not_included": conf.OPERATOR.get("NOT_INCLUDED", ""),
    }
    return render_page(request, tenant, "tenant_backup/overview.html", context)


def _verdict(judgement: monitoring.Judgement, read: Reader) -> dict[str, Any]:
    findings = tuple(
        replace(finding, reason=read(finding.reason)) for finding in judgement.findings
    )
    return {
        "judgement": replace(judgement, findings=findings),
        "verdict_is": {verdict.code: verdict is judgement.verdict for verdict in Verdict},
        "has_room": judgement.finding(Verdict.NO_ROOM) is None,
        "is_any_missing": judgement.finding(Verdict.MISSING) is not None,
    }


def chart_of(tenant: Tenant, now: datetime) -> dict[str, Any]:
    """What the template `_chart.html` shows, beside the `space`."""
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


def _last_events(tenant: Tenant, read: Reader) -> list[Event]:
    rows = Event.objects.for_tenant(tenant.id).in_short().newest_first()
    events = readable_events(rows[:LINES_OF_HISTORY], read)
    for event in events:
        event.detail = truncatechars(event.detail, DETAIL)
    return events
