"""Pinning a backup, so that it is kept until somebody unpins it."""

from __future__ import annotations

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from tenant_backup import backups
from tenant_backup.exceptions import BackupError
from tenant_backup.languages import messages
from tenant_backup.tenants import DELETE, Tenant
from tenant_backup.views.access import tenant_view, user_name
from tenant_backup.views.lookup import backup_or_404
from tenant_backup.views.redaction import error_text
from tenant_backup.views.redirects import back
from tenant_backup.words import time_in_words

ANSWERS = {"yes": True, "no": False}


@require_POST
@tenant_view(DELETE)
def pin(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    backup = backup_or_404(tenant, request.POST.get("backup", ""))
    try:
        pinned = ANSWERS[request.POST.get("pinned", "")]
    except KeyError:
        raise BadRequest("pinned is yes or no") from None
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
    return back(request)
