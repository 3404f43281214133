"""Backup doesn't work? Try what a backup needs, and say what to do where something is wrong."""

from __future__ import annotations

from dataclasses import replace

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tenant_backup import automation
from tenant_backup.diagnosis import examine
from tenant_backup.tenants import VIEW, Tenant
from tenant_backup.views.access import tenant_view
from tenant_backup.views.redaction import reader_of
from tenant_backup.views.rendering import render_page


@require_safe
@never_cache
@tenant_view(VIEW)
def diagnose(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    read = reader_of(request, tenant)
    answers = [
        replace(answer, found=read(answer.found))
        for answer in examine(tenant, automation.get_status())
    ]
    context = {
        "title": gettext("Backup doesn't work?"),
        "answers": answers,
        "wrong": sum(answer.is_well is False for answer in answers),
    }
    return render_page(request, tenant, "tenant_backup/diagnosis.html", context)
