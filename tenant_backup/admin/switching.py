"""Switching automatic backup on and off: off for many asks first, and can be undone.

What is to be switched travels through the forms as one signed text. So nobody can switch what the
form was not about, and a thousand tenants are one field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy
from django.views.decorators.http import require_POST

from tenant_backup import backups
from tenant_backup.admin.base import CatalogAdmin
from tenant_backup.admin.verdicts import TenantsOfRequest
from tenant_backup.models import BackupSettings
from tenant_backup.tenants import Tenant
from tenant_backup.views.access import user_name

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

SALT = "tenant_backup.switching"

SIGNED_FOR = 24 * 60 * 60
"""Seconds for which a question can be answered, and a change undone."""


class SwitchingAdmin(CatalogAdmin):
    """Switches automatic backup for some of all tenants."""

    @admin.action(permissions=["change"], description=gettext_lazy("Switch automatic backup on"))
    def switch_on(self, request: HttpRequest, queryset: QuerySet[BackupSettings]) -> None:
        self._switch_on(request, queryset)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch automatic backup off…"))
    def switch_off(
        self, request: HttpRequest, queryset: QuerySet[BackupSettings]
    ) -> HttpResponse | None:
        """Ask first. Those that are off already are not asked about."""
        rows = list(queryset.filter(automatic=True).order_by("tenant_id"))
        if not rows:
            text = _("Automatic backup is off already for all that you selected.")
            self.message_user(request, text, messages.INFO)
            return None
        names = TenantsOfRequest.of(request).names
        context = {
            **self.admin_site.each_context(request),
            "title": _("Switch automatic backup off?"),
            "opts": self.opts,
            "media": self.media,
            "names": [(names.get(row.tenant_id, row.tenant_id), row.tenant_id) for row in rows],
            "chosen": signing.dumps([row.pk for row in rows], salt=SALT, compress=True),
            "back_to": request.get_full_path(),
        }
        request.current_app = self.admin_site.name
        template = "admin/tenant_backup/backupsettings/switch_off.html"
        return TemplateResponse(request, template, context)

    def get_urls(self) -> list[URLPattern]:
        def route(name: str, view: Callable[[HttpRequest], HttpResponse]) -> URLPattern:
            answer = require_POST(self.admin_site.admin_view(view))
            return path(f"{name}/", answer, name=f"tenant_backup_{name.replace('-', '_')}")

        return [
            route("switch-off", self.switch_off_view),
            route("switch-on-again", self.switch_on_again_view),
            *super().get_urls(),
        ]

    def switch_off_view(self, request: HttpRequest) -> HttpResponse:
        """The answer to the question: yes."""
        return self._answer(request, self._switch_off)

    def switch_on_again_view(self, request: HttpRequest) -> HttpResponse:
        """Undo: switch on exactly those that were switched off."""
        return self._answer(request, self._switch_on)

    def _answer(
        self,
        request: HttpRequest,
        switch: Callable[[HttpRequest, Iterable[BackupSettings]], None],
    ) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        try:
            chosen = signing.loads(request.POST.get("chosen", ""), salt=SALT, max_age=SIGNED_FOR)
        except signing.BadSignature:
            text = _("Nothing was changed: the form is too old. Select the tenants again.")
            self.message_user(request, text, messages.ERROR)
        else:
            switch(request, BackupSettings.objects.filter(pk__in=chosen).order_by("tenant_id"))
            if len(chosen) == 1:
                return HttpResponseRedirect(self.address_of(BackupSettings, "change", chosen[0]))
        return HttpResponseRedirect(self.address_of(BackupSettings, "changelist"))

    def _switch_on(self, request: HttpRequest, rows: Iterable[BackupSettings]) -> None:
        done = ngettext_lazy(
            "Automatic backup is on for %(count)d tenant.",
            "Automatic backup is on for %(count)d tenants.",
            "count",
        )
        self._switch(request, rows, automatic=True, done=done)

    def _switch_off(self, request: HttpRequest, rows: Iterable[BackupSettings]) -> None:
        done = ngettext_lazy(
            "Automatic backup is off for %(count)d tenant.",
            "Automatic backup is off for %(count)d tenants.",
            "count",
        )
        changed = self._switch(request, rows, automatic=False, done=done)
        if changed:
            self.message_user(request, self._undo(request, changed), messages.INFO)

    def _undo(self, request: HttpRequest, rows: list[BackupSettings]) -> str:
        """A form with one button, as a message."""
        return format_html(
            '<form class="backup-undo" method="post" action="{}">'
            '<input type="hidden" name="csrfmiddlewaretoken" value="{}">'
            '<input type="hidden" name="chosen" value="{}">'
            '{} <button class="button">{}</button></form>',
            reverse("admin:tenant_backup_switch_on_again", current_app=self.admin_site.name),
            get_token(request),
            signing.dumps([row.pk for row in rows], salt=SALT, compress=True),
            _("They get no automatic backups from now on."),
            _("Undo: switch on again"),
        )

    def _switch(
        self,
        request: HttpRequest,
        rows: Iterable[BackupSettings],
        *,
        automatic: bool,
        done: StrOrPromise,
    ) -> list[BackupSettings]:
        """Switch these, and return those for which that was a change."""
        changed: list[BackupSettings] = []

        def configure(tenant: Tenant, settings: BackupSettings) -> None:
            # With many selected, somebody may have changed this one meanwhile.
            settings.refresh_from_db()
            if settings.automatic != automatic:
                settings.automatic = automatic
                backups.configure(tenant, settings, actor=user_name(request))
                changed.append(settings)

        not_done = _("Automatic backup of %(tenant)s was not changed: %(reason)s")
        self.for_each(request, rows, configure, done=done, not_done=not_done)
        return changed
