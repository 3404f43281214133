"""The hub of one tenant: why it stands as it does, its backups, its settings, and what can be done.

It is the page on which Django changes a row of settings, with everything else around the form.
Buttons send what is to be `done` by POST; the use cases do it, and the page that follows says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseRedirect,
)
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from tenant_backup import backups, monitoring, rows, table_names
from tenant_backup.admin.actions import TenantActions
from tenant_backup.admin.automation import switch_context
from tenant_backup.admin.backups import BackupAdmin, condition_of
from tenant_backup.admin.base import has_model_permission, light, may_see
from tenant_backup.admin.verdicts import TenantsOfRequest
from tenant_backup.command_lines import command
from tenant_backup.exceptions import BackupError
from tenant_backup.models import (
    Backup,
    BackupSettings,
    Event,
    RestoreRequest,
    RowLoss,
    Verdict,
)
from tenant_backup.progress import progress_of
from tenant_backup.tenants import Tenant, get_tenant
from tenant_backup.views.access import backup_or_404, id_or_404, user_name
from tenant_backup.views.inside import inside, opened
from tenant_backup.views.page import chart_of
from tenant_backup.views.streaming import file_answer
from tenant_backup.words import going_in_words, settings_in_words

LINES_PER_PAGE = 25
LINES_OF_HISTORY = 10


class HubAdmin(TenantActions):
    """The change page of a tenant's settings, as its hub."""

    def get_urls(self) -> list[URLPattern]:
        def route(
            address: str, name: str, view: Callable[..., HttpResponseBase], method: Any
        ) -> URLPattern:
            answer: Callable[..., HttpResponseBase] = method(self.admin_site.admin_view(view))
            return path(f"<int:row_id>/{address}", answer, name=f"{MODEL}_{name}")

        return [
            route("do/", "do", self.do_view, require_POST),
            route("contents/<int:backup_id>/", "contents", self.contents_view, require_safe),
            route("contents/<int:backup_id>/rows/", "rows", self.rows_view, require_safe),
            route("download/<int:backup_id>/", "download", self.download_view, require_safe),
            *super().get_urls(),
        ]

    def render_change_form(
        self, request: HttpRequest, context: Any, *arguments: Any, **options: Any
    ) -> HttpResponse:
        row = options["obj"]
        if request.method == "POST":
            # The form has written into it what was sent, which is not in force.
            row = self.get_object(request, str(row.pk)) or row
        context.update(self._hub(request, row), original=row)
        return super().render_change_form(request, context, *arguments, **options)

    def response_post_save_change(self, request: HttpRequest, obj: Model) -> HttpResponseRedirect:
        """Back to the hub, which shows what the change means."""
        return self._to_hub(obj.pk)

    def do_view(self, request: HttpRequest, row_id: int) -> HttpResponse:
        """Do what a button says, for a tenant or for one of its backups."""
        doing = request.POST.get("do", "")
        if doing in ("pin", "unpin", "verify_one"):
            self._do_with_backup(request, row_id, doing)
            return self._to_hub(row_id)
        if doing in ("answered", "intended"):
            self._do_about_loss(request, row_id, doing)
            return self._to_hub(row_id)
        known: dict[str, Callable[[HttpRequest, QuerySet[BackupSettings]], None]] = {
            "back_up": self.back_up_now,
            "verify": self.verify,
            "switch_on": self._switch_on,
            "switch_off": self._switch_off,
            "retire": self.retire,
        }
        if doing not in known:
            self._require(self.has_view_permission(request))
            return HttpResponseBadRequest()
        may = self.has_back_up_permission if doing == "back_up" else self.has_change_permission
        # Before anything is looked for: who may not, does not learn what there is.
        self._require(may(request))
        chosen = BackupSettings.objects.filter(pk=row_id)
        get_object_or_404(chosen)
        known[doing](request, chosen)
        return self._to_hub(row_id)

    def _do_with_backup(self, request: HttpRequest, row_id: int, doing: str) -> None:
        if doing == "verify_one":
            self._require(self.has_change_permission(request))
        else:
            self._require(has_model_permission(request, "delete", Backup))
        row = get_object_or_404(BackupSettings, pk=row_id)
        backup = backup_or_404(row.tenant_id, request.POST.get("backup", ""))
        if doing == "verify_one":
            self.after_commit(partial(self._verify, request, [row], backup))
            return
        catalog = cast("BackupAdmin", self.admin_site.get_model_admin(Backup))
        do = catalog.pin if doing == "pin" else catalog.unpin
        do(request, Backup.objects.filter(pk=backup.pk))

    def _do_about_loss(self, request: HttpRequest, row_id: int, doing: str) -> None:
        """Close a request for lost data, or the finding that rows were lost."""
        if doing == "answered":
            self._require(self.has_change_permission(request))
        else:
            self._require(has_model_permission(request, "delete", Backup))
        row = get_object_or_404(BackupSettings, pk=row_id)
        number, actor = id_or_404(request.POST.get("id", "")), user_name(request)
        try:
            tenant = get_tenant(row.tenant_id)
            if doing == "answered":
                asked = get_object_or_404(
                    RestoreRequest.objects.for_tenant(tenant.id).select_related("backup"), pk=number
                )
                rows.answer(tenant, asked, actor=actor)
                text = _("The request is answered, and its backup is no longer held for it.")
            else:
                loss = get_object_or_404(RowLoss.objects.for_tenant(tenant.id), pk=number)
                rows.intend(tenant, loss, actor)
                text = _("Noted: %(what)s were deleted on purpose.")
                text %= {"what": table_names.in_words(loss.table)}
        except BackupError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, text, messages.SUCCESS)

    def download_view(self, request: HttpRequest, row_id: int, backup_id: int) -> HttpResponseBase:
        self._require(has_model_permission(request, "download", Backup))
        row = get_object_or_404(BackupSettings, pk=row_id)
        backup = backup_or_404(row.tenant_id, str(backup_id))
        try:
            return file_answer(request, get_tenant(row.tenant_id), backup)
        except BackupError as error:
            self.message_user(request, str(error), messages.ERROR)
            return self._to_hub(row_id)

    def contents_view(self, request: HttpRequest, row_id: int, backup_id: int) -> HttpResponseBase:
        """What a backup holds, table by table, beside today's database."""
        self._require(may_see(request, Backup))
        row = get_object_or_404(BackupSettings, pk=row_id)
        backup = backup_or_404(row.tenant_id, str(backup_id))
        try:
            tenant = get_tenant(row.tenant_id)
            found = inside(tenant, backup)
        except BackupError as error:
            self.message_user(request, str(error), messages.ERROR)
            return self._to_hub(row_id)
        restore = command("restorebackup", tenant.id, str(backup.pk))
        may_open = has_model_permission(request, "download", Backup)
        more = {"command": restore, "may_open": may_open}
        return self._subpage(request, row, "contents.html", {**found, **more})

    def rows_view(self, request: HttpRequest, row_id: int, backup_id: int) -> HttpResponseBase:
        """The rows of one table that differ since a backup."""
        self._require(has_model_permission(request, "download", Backup))
        row = get_object_or_404(BackupSettings, pk=row_id)
        backup = backup_or_404(row.tenant_id, str(backup_id))
        try:
            found = opened(get_tenant(row.tenant_id), backup, request.GET)
        except BackupError as error:
            self.message_user(request, str(error), messages.ERROR)
            address = self.address_of(BackupSettings, "contents", row_id, backup_id)
            return HttpResponseRedirect(address)
        return self._subpage(request, row, "rows.html", found)

    def _subpage(
        self, request: HttpRequest, row: BackupSettings, template: str, context: dict[str, Any]
    ) -> HttpResponse:
        """A page below the hub, about the inside of a backup."""
        common = {
            **self.admin_site.each_context(request),
            "title": _("Inside the backup"),
            "opts": self.opts,
            "media": self.media,
            "original": row,
        }
        request.current_app = self.admin_site.name
        path = f"admin/tenant_backup/backupsettings/{template}"
        return TemplateResponse(request, path, common | context)

    def _to_hub(self, row_id: int) -> HttpResponseRedirect:
        return HttpResponseRedirect(self.address_of(BackupSettings, "change", row_id))

    @staticmethod
    def _require(is_allowed: bool) -> None:
        if not is_allowed:
            raise PermissionDenied

    def _hub(self, request: HttpRequest, row: BackupSettings) -> dict[str, Any]:
        """What the template shows around the form."""
        tenants, now = TenantsOfRequest.of(request), timezone.now()
        tenant = tenants.tenants.get(row.tenant_id)
        may = {
            "back_up": tenant is not None and self.has_back_up_permission(request),
            "change": self.has_change_permission(request),
            "see": may_see(request, Backup),
            "delete": tenant is not None and has_model_permission(request, "delete", Backup),
            "download": tenant is not None and has_model_permission(request, "download", Backup),
        }
        catalog = Backup.objects.for_tenant(row.tenant_id)
        active = catalog.active().first()
        page = Paginator(catalog.newest_first(), LINES_PER_PAGE).get_page(request.GET.get("page"))
        lines = Event.objects.for_tenant(row.tenant_id).in_short()
        return {
            **_verdict(row, tenants, tenant),
            **switch_context(request, tenants.automation_status),
            **(_of_tenant(row, tenant) if tenant else {}),
            "title": tenants.names.get(row.tenant_id) or row.tenant_id,
            "subtitle": None,
            "lists": self.lists(request),
            "tenant": tenant,
            "may": may,
            **_lost(row),
            "is_gone": not tenants.trouble and row.tenant_id not in tenants.listed,
            "active": active,
            "progress": progress_of(tenant, active) if tenant else None,
            "page": page,
            "lines": [_line(backup, tenant) for backup in page] if may["see"] else [],
            "events": lines.newest_first()[:LINES_OF_HISTORY],
            "next_run_at": row.next_run(now, tenant.zone) if tenant else None,
            "settings_in_words": settings_in_words(row),
            "show_save_and_continue": False,
            "show_save_and_add_another": False,
        }


MODEL = f"{BackupSettings._meta.app_label}_{BackupSettings._meta.model_name}"


def _verdict(
    row: BackupSettings, tenants: TenantsOfRequest, tenant: Tenant | None
) -> dict[str, Any]:
    """How the tenant stands, and every reason; after a look at the files, if it is backed up."""
    judgement = tenants.judgements.get(row.tenant_id)
    if tenant:
        runs = tenants.automation_status.is_running
        judgement = monitoring.judge_tenant(tenant, automation_runs=runs)
    verdict = judgement.verdict if judgement else Verdict(row.verdict)
    findings = [str(finding) for finding in judgement.findings] if judgement else []
    if tenants.trouble:
        findings.append(_("The tenant provider failed: %(reason)s") % {"reason": tenants.trouble})
    last_good_at = judgement.settings.last_good_at if judgement and tenant else row.last_good_at
    return {
        "verdict": verdict,
        "verdict_light": light(verdict.tone, str(verdict.label)),
        "findings": findings,
        "last_good_at": last_good_at,
    }


def _lost(row: BackupSettings) -> dict[str, Any]:
    """What was asked for and is not answered, and the findings that rows were lost."""
    asked = rows.open_request(row.tenant_id)
    return {
        "asked": asked,
        "asked_tables": [table_names.in_words(table) for table in asked.tables] if asked else [],
        "asked_commands": rows.commands_for(asked) if asked else [],
        "losses": [
            (table_names.heading_of(loss.table), loss) for loss in rows.open_losses(row.tenant_id)
        ],
    }


def _of_tenant(row: BackupSettings, tenant: Tenant) -> dict[str, Any]:
    """What is known only of a tenant that the provider gives."""
    going = len(backups.removals_after_next(tenant))
    return {
        **chart_of(tenant, timezone.now()),
        "space": backups.space(tenant),
        "going": going_in_words(going) if going else "",
    }


def _line(backup: Backup, tenant: Tenant | None) -> dict[str, Any]:
    """One line of the list of backups."""
    return {
        "backup": backup,
        "condition": condition_of(backup),
        "has_file": backup.has_file and tenant is not None,
        "command": command("restorebackup", tenant.id, str(backup.pk))
        if tenant and backup.is_good
        else "",
    }
