"""What the progress bar asks for every two seconds."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tenant_backup.models import Backup, Status
from tenant_backup.progress import progress_of
from tenant_backup.tenants import VIEW, Tenant
from tenant_backup.views.access import tenant_view
from tenant_backup.views.lookup import backup_or_none
from tenant_backup.views.redaction import reader_of
from tenant_backup.words import end_in_words


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
