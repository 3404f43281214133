"""Look inside: what a backup holds, and for operators the commands that restore it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tenant_backup import backups
from tenant_backup.exceptions import BackupError
from tenant_backup.languages import messages
from tenant_backup.models import Backup
from tenant_backup.restore import manual
from tenant_backup.tenants import VIEW, Tenant, is_operator
from tenant_backup.views.access import tenant_view
from tenant_backup.views.lookup import backup_or_404
from tenant_backup.views.redaction import error_text
from tenant_backup.views.redirects import back
from tenant_backup.views.rendering import render_page

COUNTING_SECONDS = 5
"""How long the rows of each of the two databases are counted while a browser waits."""


@require_safe
@never_cache
@tenant_view(VIEW)
def contents(request: HttpRequest, tenant: Tenant, backup_id: str) -> HttpResponse:
    backup = backup_or_404(tenant, backup_id)
    try:
        tables = backups.contents(tenant, backup, seconds=COUNTING_SECONDS)
    except BackupError as error:
        messages.error(request, error_text(error, request, tenant))
        return back(request)
    context = {
        "title": gettext("Inside the backup"),
        "backup": backup,
        "tables": tables,
        "has_today": any(table.is_there_today for table in tables),
        "is_partly_counted": any(_is_uncounted(table) for table in tables),
        "commands": _restore_commands(tenant, backup) if is_operator(request) else None,
    }
    return render_page(request, tenant, "tenant_backup/contents.html", context)


def _is_uncounted(table: backups.Table) -> bool:
    return (table.is_in_backup and table.rows is None) or (
        table.is_there_today and table.rows_today is None
    )


def _restore_commands(tenant: Tenant, backup: Backup) -> dict[str, str]:
    """With paths on the server, so only for operators."""
    file = backups.directory_of(tenant).file(backup.file_name)
    return {
        "restorebackup": manual.command("restorebackup", tenant.id, str(backup.pk)),
        "by_hand": manual.commands(
            tenant.database.resolve(), file.resolve(), backup.sha256, tenant_id=tenant.id
        ),
    }
