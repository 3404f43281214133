"""Automation: its state, and the one switch that pauses the automatic backups of all tenants."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from tenant_backup import automation
from tenant_backup.admin.base import CatalogAdmin, has_model_permission, light
from tenant_backup.automation import AutomationState, AutomationStatus
from tenant_backup.models import Automation
from tenant_backup.views.access import user_name
from tenant_backup.words import ago

TONES = {
    AutomationState.NOT_SET_UP: "warning",
    AutomationState.PAUSED: "warning",
    AutomationState.STALLED: "error",
    AutomationState.RUNNING: "good",
}


def switch_context(request: HttpRequest, status: AutomationStatus) -> dict[str, Any]:
    """What the template `_automation.html` shows: the state, and the switch."""
    return {
        "automation_status": status,
        "automation_light": light(TONES[status.state], status.state.label),
        "last_tick": ago(status.last_tick_at),
        "zone": timezone.get_current_timezone_name(),
        "may_switch": has_model_permission(request, "change", Automation),
    }


@admin.register(Automation)
class AutomationAdmin(CatalogAdmin):
    """One row, which only the switch changes."""

    list_display = ["state", "last_tick_at", "paused_at", "paused_by"]
    list_display_links = None
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Automation]:
        Automation.load()  # the row is made when it is first needed
        return super().get_queryset(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Of the list, so that the switch is shown; not of the row."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @admin.display(description=gettext_lazy("state"))
    def state(self, row: Automation) -> str:
        return automation.get_status().state.label

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = switch_context(request, automation.get_status())
        title = {"title": _("Automation")}
        return super().changelist_view(request, {**context, **title, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        view = require_POST(self.admin_site.admin_view(self.switch_view))
        switch = path("switch/", view, name="tenant_backup_automation_switch")
        return [switch, *super().get_urls()]

    def switch_view(self, request: HttpRequest) -> HttpResponse:
        """Pause or resume, as the form says, so that two clicks do not undo each other."""
        if not has_model_permission(request, "change", Automation):
            raise PermissionDenied
        match request.POST.get("switch"):
            case "pause":
                automation.pause(user_name(request))
                text = _("Automation is paused. No automatic backup starts until it is resumed.")
            case "resume":
                automation.resume(user_name(request))
                text = _("Automation is no longer paused.")
            case _other:
                return HttpResponseBadRequest()
        self.message_user(request, text, messages.SUCCESS)
        # Back to the list as it was shown: filtered, sorted, searched.
        page = request.POST.get("next", "")
        hosts, is_secure = {request.get_host()}, request.is_secure()
        if not url_has_allowed_host_and_scheme(page, hosts, require_https=is_secure):
            page = reverse(
                "admin:tenant_backup_automation_changelist", current_app=self.admin_site.name
            )
        return HttpResponseRedirect(page)
