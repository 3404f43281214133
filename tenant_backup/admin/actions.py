"""What operators do with the tenants selected in the list: back up, verify, switch on, retire."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from tenant_backup import automation, backups
from tenant_backup.admin.base import CatalogAdmin, has_model_permission, user_name
from tenant_backup.admin.verdicts import TenantsOfRequest
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, BackupSettings, Trigger
from tenant_backup.monitoring import absence
from tenant_backup.tenants import Tenant

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


class TenantActions(CatalogAdmin):
    actions = ["back_up_now", "verify", "switch_on", "switch_off", "retire"]

    def has_back_up_permission(self, request: HttpRequest) -> bool:
        return has_model_permission(request, "add", Backup)

    @admin.action(permissions=["back_up"], description=gettext_lazy("Back up now"))
    def back_up_now(self, request: HttpRequest, queryset: QuerySet[BackupSettings]) -> None:
        self.after_commit(partial(self._back_up, request, list(queryset)))

    def _back_up(self, request: HttpRequest, rows: list[BackupSettings]) -> None:
        wanted = backups.BackupRequest(trigger=Trigger.MANUAL, requested_by=user_name(request))
        limits = backups.request_limits()

        def queue(tenant: Tenant, settings: BackupSettings) -> None:
            automation.enqueue(backups.request(tenant, wanted))

        def create(tenant: Tenant, settings: BackupSettings) -> None:
            result = backups.create(tenant, wanted, limits=limits)
            if result.prune_error:
                text = _("Tenant %(tenant)s: %(reason)s")
                values = {"tenant": tenant.id, "reason": result.prune_error}
                self.message_user(request, text % values, messages.WARNING)

        if automation.get_status().is_running:
            self.for_each(
                request,
                rows,
                queue,
                done=ngettext_lazy(
                    "%(count)d backup is queued and will be made in the background.",
                    "%(count)d backups are queued and will be made in the background.",
                    "count",
                ),
                not_done=_("No backup of %(tenant)s was queued: %(reason)s"),
            )
        else:
            self.for_each(
                request,
                rows,
                create,
                done=ngettext_lazy(
                    "%(count)d backup was made.", "%(count)d backups were made.", "count"
                ),
                not_done=_("No backup of %(tenant)s was made: %(reason)s"),
            )

    @admin.action(permissions=["change"], description=gettext_lazy("Verify the newest backups"))
    def verify(self, request: HttpRequest, queryset: QuerySet[BackupSettings]) -> None:
        self.after_commit(partial(self._verify, request, list(queryset)))

    def _verify(self, request: HttpRequest, rows: list[BackupSettings]) -> None:
        by_workers = automation.get_status().is_running
        done = ngettext_lazy(
            "%(count)d backup was verified and is good.",
            "%(count)d backups were verified and are good.",
            "count",
        )
        if by_workers:
            done = ngettext_lazy(
                "Verifying %(count)d backup in the background. The state shows the result.",
                "Verifying %(count)d backups in the background. The state shows the result.",
                "count",
            )

        def verify(tenant: Tenant, settings: BackupSettings) -> None:
            good = Backup.objects.for_tenant(tenant.id).good().counted(timezone.now())
            backup = good.newest_first().first()
            if backup is None:
                raise BackupError("There is no good backup.")
            if by_workers:
                automation.enqueue_verify(backup)
            elif problem := backups.verify(tenant, backup):
                raise BackupError(problem)

        not_done = _("The newest backup of %(tenant)s was not verified: %(reason)s")
        self.for_each(request, rows, verify, done=done, not_done=not_done)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch automatic backup on"))
    def switch_on(self, request: HttpRequest, queryset: QuerySet[BackupSettings]) -> None:
        done = ngettext_lazy(
            "Automatic backup is on for %(count)d tenant.",
            "Automatic backup is on for %(count)d tenants.",
            "count",
        )
        self._switch(request, queryset, automatic=True, done=done)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch automatic backup off"))
    def switch_off(self, request: HttpRequest, queryset: QuerySet[BackupSettings]) -> None:
        done = ngettext_lazy(
            "Automatic backup is off for %(count)d tenant.",
            "Automatic backup is off for %(count)d tenants.",
            "count",
        )
        self._switch(request, queryset, automatic=False, done=done)

    def _switch(
        self,
        request: HttpRequest,
        rows: Iterable[BackupSettings],
        *,
        automatic: bool,
        done: StrOrPromise,
    ) -> None:
        def configure(tenant: Tenant, settings: BackupSettings) -> None:
            # With many selected, somebody may have changed this one meanwhile.
            settings.refresh_from_db()
            if settings.automatic != automatic:
                settings.automatic = automatic
                backups.configure(tenant, settings, actor=user_name(request))

        not_done = _("Automatic backup of %(tenant)s was not changed: %(reason)s")
        self.for_each(request, rows, configure, done=done, not_done=not_done)

    @admin.action(
        permissions=["change"], description=gettext_lazy("Mark as retired (removed on purpose)")
    )
    def retire(self, request: HttpRequest, queryset: QuerySet[BackupSettings]) -> None:
        tenants = TenantsOfRequest.of(request)
        ids = [row.tenant_id for row in queryset]
        gone = [] if tenants.trouble else [key for key in ids if key not in tenants.listed]
        absence.retire(gone, by=user_name(request))
        if there := len(ids) - len(gone):
            text = ngettext(
                "%(count)d tenant is not retired: the tenant provider lists it.",
                "%(count)d tenants are not retired: the tenant provider lists them.",
                there,
            )
            self.message_user(request, text % {"count": there}, messages.ERROR)
        if gone:
            text = ngettext(
                "%(count)d tenant is retired.", "%(count)d tenants are retired.", len(gone)
            )
            self.message_user(request, text % {"count": len(gone)}, messages.SUCCESS)
