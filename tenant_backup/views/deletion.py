"""Deleting backups, after a page that asks; and pinning them, which prevents it."""

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST

from tenant_backup import backups
from tenant_backup.exceptions import BackupError, BackupInProgress
from tenant_backup.languages import messages
from tenant_backup.models import Backup
from tenant_backup.tenants import DELETE, Tenant
from tenant_backup.views.access import all_or_404, backup_or_404, tenant_view, user_name
from tenant_backup.views.place import Place
from tenant_backup.views.redaction import error_text
from tenant_backup.views.responses import back, page_number, render_page
from tenant_backup.words import time_in_words, why_not_deletable


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
    return back(request, "" if number < len(deletable) else "list")


@require_POST
@tenant_view(DELETE)
def pin(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    backup = backup_or_404(tenant, request.POST.get("backup", ""))
    answer = request.POST.get("pinned")
    if answer not in ("yes", "no"):
        raise BadRequest("pinned is yes or no")
    pinned = answer == "yes"
    try:
        backups.pin(tenant, backup, pinned=pinned, actor=user_name(request))
    except BackupError as error:
        messages.error(request, error_text(error, request, tenant))
        return back(request)
    if pinned:
        text = gettext("The backup of %(time)s is pinned: it is kept until somebody unpins it.")
    else:
        text = gettext("The backup of %(time)s is no longer pinned.")
    messages.success(request, text % {"time": time_in_words(backup)})
    is_left_out = not pinned and Place.of(request.POST).show == "pinned"
    return back(request, "list" if is_left_out else f"backup-{backup.pk}")


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
        "place": Place.of(request.POST),
    }
    return render_page(request, tenant, "tenant_backup/confirm_delete.html", context)
