"""The history: who did what with a tenant's backups, and when."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils.translation import pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tenant_backup.models import Event
from tenant_backup.tenants import VIEW, Tenant
from tenant_backup.views.access import tenant_view
from tenant_backup.views.redaction import readable_events, reader_of
from tenant_backup.views.rendering import render_page

LINES_PER_PAGE = 50


@require_safe
@never_cache
@tenant_view(VIEW)
def history(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    rows = Event.objects.for_tenant(tenant.id).newest_first()
    page = Paginator(rows, LINES_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "title": pgettext("of backups", "History"),
        "events": readable_events(page, reader_of(request, tenant)),
        "page": page,
        "page_range": list(page.paginator.get_elided_page_range(page.number)),
    }
    return render_page(request, tenant, "tenant_backup/history.html", context)
