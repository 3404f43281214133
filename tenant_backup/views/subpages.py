"""Pages below the page: "Backup doesn't work?", and the history."""

from dataclasses import replace

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tenant_backup import automation
from tenant_backup.models import Event
from tenant_backup.tenants import VIEW, Tenant, is_operator
from tenant_backup.troubleshooting import examine
from tenant_backup.views.access import tenant_view
from tenant_backup.views.redaction import readable_events, reader_of
from tenant_backup.views.responses import render_page

LINES_PER_PAGE = 50


@require_safe
@never_cache
@tenant_view(VIEW)
def diagnose(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Try what a backup needs, and say what to do if something is wrong."""
    read, sees_details = reader_of(request, tenant), is_operator(request)
    answers = [
        replace(answer, found=read(answer.found), detail=answer.detail if sees_details else "")
        for answer in examine(tenant, automation.get_status())
    ]
    context = {
        "title": gettext("Backup doesn't work?"),
        "answers": answers,
        "wrong": sum(answer.is_well is False for answer in answers),
    }
    return render_page(request, tenant, "tenant_backup/diagnosis.html", context)


@require_safe
@never_cache
@tenant_view(VIEW)
def history(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """Who did what with a tenant's backups, and when."""
    rows = Event.objects.for_tenant(tenant.id).newest_first()
    page = Paginator(rows, LINES_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "title": pgettext("of backups", "History"),
        "events": readable_events(page, reader_of(request, tenant)),
        "page": page,
        "page_range": list(page.paginator.get_elided_page_range(page.number)),
    }
    return render_page(request, tenant, "tenant_backup/history.html", context)
