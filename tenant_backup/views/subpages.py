"""The pages below the page: inside a backup, "Backup doesn't work?", and the history."""

from dataclasses import replace

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tenant_backup import automation, backups, contact
from tenant_backup.command_lines import command
from tenant_backup.exceptions import BackupError
from tenant_backup.languages import messages
from tenant_backup.models import Backup, Event
from tenant_backup.restore import manual
from tenant_backup.tenants import VIEW, Tenant, is_operator
from tenant_backup.troubleshooting import examine
from tenant_backup.views.access import backup_or_404, tenant_view
from tenant_backup.views.redaction import error_text, readable_events, reader_of
from tenant_backup.views.responses import back, render_page

LINES_PER_PAGE = 50

COUNTING_SECONDS = 5
"""How long the rows of each of the two databases are counted while a browser waits."""


@require_safe
@never_cache
@tenant_view(VIEW)
def contents(request: HttpRequest, tenant: Tenant, backup_id: str) -> HttpResponse:
    """What a backup holds, and for operators the commands that restore it."""
    backup = backup_or_404(tenant.id, backup_id)
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
        "services": contact.services(),
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
        "restorebackup": command("restorebackup", tenant.id, str(backup.pk)),
        "by_hand": manual.commands(
            tenant.database.resolve(), file.resolve(), backup.sha256, tenant_id=tenant.id
        ),
    }


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
