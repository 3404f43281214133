"""Deleting backups, after a page that asks; and pinning them, which prevents it."""

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_POST

from tenant_backup import backups
from tenant_backup.exceptions import BackupError
from tenant_backup.languages import messages
from tenant_backup.models import Backup
from tenant_backup.tenants import DELETE, Tenant
from tenant_backup.views.access import all_or_404, backup_or_404, tenant_view, user_name
from tenant_backup.views.place import Place
from tenant_backup.views.redaction import error_text
from tenant_backup.views.responses import back, page_number, render_page
from tenant_backup.words import left_in_words, time_in_words, why_not_deletable


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
    are_gone = _delete(request, tenant, deletable)
    return back(request, "list" if are_gone else "")


@require_POST
@tenant_view(DELETE)
def pin(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    backup = backup_or_404(tenant.id, request.POST.get("backup", ""))
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


def _delete(request: HttpRequest, tenant: Tenant, deletable: list[Backup]) -> bool:
    """Delete what can be deleted, say what was and what remains, and whether all of them were."""
    try:
        done = backups.delete_all(tenant, deletable, actor=user_name(request))
    except BackupError as error:  # None of them can be deleted here.
        done = backups.Deleted(errors=[error])
    for text in dict.fromkeys(error_text(error, request, tenant) for error in done.errors):
        messages.error(request, text)
    if not (number := len(done.backups)):
        return False
    text = ngettext("%(number)d backup was deleted.", "%(number)d backups were deleted.", number)
    left = backups.remaining(tenant)
    say = messages.success if left.newest else messages.warning
    say(request, f"{text % {'number': number}} {left_in_words(left.number, left.newest)}")
    return not done.errors


def _confirmation(request: HttpRequest, tenant: Tenant, chosen: list[Backup]) -> HttpResponse:
    left = backups.remaining(tenant, without=chosen)
    context = {
        "title": gettext("Delete backups"),
        "chosen": chosen,
        "is_last_good": any(row.is_good for row in chosen) and left.newest is None,
        "remaining": left_in_words(left.number, left.newest, is_future=True),
        "page_number": page_number(request),
        "place": Place.of(request.POST),
    }
    return render_page(request, tenant, "tenant_backup/confirm_delete.html", context)
