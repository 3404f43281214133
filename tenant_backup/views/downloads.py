"""The download of a backup's file."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from tenant_backup import backups
from tenant_backup.exceptions import BackupError
from tenant_backup.languages import messages
from tenant_backup.tenants import DOWNLOAD, Tenant
from tenant_backup.views import streaming
from tenant_backup.views.access import tenant_view, user_name
from tenant_backup.views.lookup import backup_or_404
from tenant_backup.views.redaction import error_text
from tenant_backup.views.redirects import back


@require_safe
@cache_control(private=True, no_store=True)
@tenant_view(DOWNLOAD)
def download(request: HttpRequest, tenant: Tenant, backup_id: str) -> HttpResponse:
    backup = backup_or_404(tenant, backup_id)
    answer = streaming.wanted(request, backup.size or 0, backup.sha256)
    is_sent = answer.part is not None and request.method == "GET"
    try:
        stream = backups.open_file(
            tenant,
            backup,
            actor=user_name(request),
            is_resumed=answer.is_resumed,
            is_sent=is_sent,
        )
    except BackupError as error:
        messages.error(request, error_text(error, request, tenant))
        return back(request)
    if not is_sent:
        stream.close()
    # For mypy a streaming response is no HttpResponse; for Django both are answers of a view.
    return streaming.response(  # type: ignore[return-value]
        request,
        answer,
        stream if is_sent else None,
        name=backup.file_name,
        size=backup.size or 0,
        sha256=backup.sha256,
    )
