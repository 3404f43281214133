"""Deleting backups: first the page that asks, then the deletion."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST

from tenant_backup import backups
from tenant_backup.exceptions import BackupError, BackupInProgress
from tenant_backup.languages import messages
from tenant_backup.models import Backup
from tenant_backup.tenants import DELETE, Tenant
from tenant_backup.views.access import tenant_view, user_name
from tenant_backup.views.lookup import all_or_404
from tenant_backup.views.redaction import error_text
from tenant_backup.views.redirects import back, page_number
from tenant_backup.views.rendering import render_page
from tenant_backup.words import why_not_deletable


@require_POST
@tenant_view(DELETE)
def delete(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    chosen = all_or_404(request, tenant)
    if not chosen:
        messages.warning(request, gettext("Select at least one backup, then delete."))
        return back(request)
    for backup in chosen:
        if not backup.is_deletable:
            messages.warning(request, why_not_deletable(backup))
    deletable = [backup for backup in chosen if backup.is_deletable]
    if not deletable:
        return back(request)
    if request.POST.get("confirm") != "yes":
        return _confirmation(request, tenant, deletable)
    if number := _delete(request, tenant, deletable):
        text = ngettext(
            "%(number)d backup was deleted.", "%(number)d backups were deleted.", number
        )
        messages.success(request, text % {"number": number})
    return back(request)


def _delete(request: HttpRequest, tenant: Tenant, deletable: list[Backup]) -> int:
    """Delete what can be deleted, report the rest, and return the number of the deleted ones."""
    number = 0
    for backup in deletable:
        try:
            backups.delete(tenant, backup, actor=user_name(request))
        except BackupError as error:
            messages.error(request, error_text(error, request, tenant))
            if isinstance(error, BackupInProgress):
                break  # Each of the others would wait as long, and in vain.
        else:
            number += 1
    return number


def _confirmation(request: HttpRequest, tenant: Tenant, chosen: list[Backup]) -> HttpResponse:
    good = Backup.objects.for_tenant(tenant.id).good().counted(timezone.now())
    others = good.exclude(pk__in=[row.pk for row in chosen])
    context = {
        "title": gettext("Delete backups"),
        "chosen": chosen,
        "is_last_good": any(row.is_good for row in chosen) and not others.exists(),
        "page_number": page_number(request),
    }
    return render_page(request, tenant, "tenant_backup/confirm_delete.html", context)
