"""What operators do with the tenants selected in the list: back up, verify, retire.

Many are work for the workers. Where none is there, a request does a few small ones itself, and says
which command does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from tenant_backup import automation, backups
from tenant_backup.admin.base import AT_ONCE, has_model_permission
from tenant_backup.admin.switching import SwitchingAdmin
from tenant_backup.admin.verdicts import TenantsOfRequest
from tenant_backup.command_lines import command
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, BackupSettings, Trigger
from tenant_backup.monitoring import absence
from tenant_backup.tenants import Tenant, tenant_or_none
from tenant_backup.views.access import user_name

NAMED = 50
"""Tenants that a command in a message names at most: more of them would fill the page."""


class TenantActions(SwitchingAdmin):
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
            return
        now, left = _few_small_ones(rows, _database_bytes)
        self.for_each(
            request,
            now,
            create,
            done=ngettext_lazy(
                "%(count)d backup was made.", "%(count)d backups were made.", "count"
            ),
            not_done=_("No backup of %(tenant)s was made: %(reason)s"),
        )
        if left:
            text = ngettext(
                "%(count)d backup was not made: automation does not run, and a request makes only "
                "a few small ones.",
                "%(count)d backups were not made: automation does not run, and a request makes "
                "only a few small ones.",
                len(left),
            )
            self._warn_of_left(request, text, "runbackup", left)

    @admin.action(permissions=["change"], description=gettext_lazy("Verify the newest backups"))
    def verify(self, request: HttpRequest, queryset: QuerySet[BackupSettings]) -> None:
        self.after_commit(partial(self._verify, request, list(queryset)))

    def _verify(
        self, request: HttpRequest, rows: list[BackupSettings], backup: Backup | None = None
    ) -> None:
        """Verify each tenant's newest good backup, or this one."""
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
        not_done = _("The newest backup of %(tenant)s was not verified: %(reason)s")
        if backup:
            not_done = _("The backup of %(tenant)s was not verified: %(reason)s")

        def chosen(settings: BackupSettings) -> Backup | None:
            good = Backup.objects.for_tenant(settings.tenant_id).good()
            if backup:
                return good.filter(pk=backup.pk).first()
            return good.counted(timezone.now()).newest_first().first()

        def verify(tenant: Tenant, settings: BackupSettings) -> None:
            found = chosen(settings)
            if found is None:
                raise BackupError("There is no good backup.")
            if by_workers:
                automation.enqueue_verify(found)
            elif problem := backups.verify_with_data(tenant, found):
                raise BackupError(problem)

        def size(settings: BackupSettings) -> int:
            found = chosen(settings)
            return (found.size or 0) if found else 0

        now, left = (rows, []) if by_workers else _few_small_ones(rows, size)
        self.for_each(request, now, verify, done=done, not_done=not_done)
        if left:
            text = ngettext(
                "%(count)d backup was not verified: automation does not run, and a request reads "
                "only a few small ones.",
                "%(count)d backups were not verified: automation does not run, and a request "
                "reads only a few small ones.",
                len(left),
            )
            self._warn_of_left(request, text, "verifybackups", left)

    def _warn_of_left(
        self, request: HttpRequest, text: str, command: str, left: list[BackupSettings]
    ) -> None:
        """Say how many this request has left, and which command does them."""
        said = f"{text % {'count': len(left)}} {_on_the_server(command, left)}"
        self.message_user(request, said, messages.WARNING)

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


def _few_small_ones(
    rows: Sequence[BackupSettings], size_of: Callable[[BackupSettings], int]
) -> tuple[list[BackupSettings], list[BackupSettings]]:
    """What a request does without workers, and what it leaves. A single one is always done."""
    if len(rows) == 1:
        return list(rows), []
    now: list[BackupSettings] = []
    left: list[BackupSettings] = []
    for row in rows:
        is_for_now = len(now) < AT_ONCE and size_of(row) <= conf.INLINE_MAX_BYTES
        (now if is_for_now else left).append(row)
    return now, left


def _database_bytes(settings: BackupSettings) -> int:
    tenant = tenant_or_none(settings.tenant_id)
    return (backups.database_bytes(tenant) or 0) if tenant else 0


def _on_the_server(name: str, rows: Iterable[BackupSettings]) -> str:
    """The command for these tenants; if they are too many to be named, the one for all tenants."""
    ids = [row.tenant_id for row in rows]
    if len(ids) <= NAMED:
        return _("Run on the server: %(command)s") % {"command": command(name, *ids)}
    text = _(
        "They are too many to name in a command. This is for all tenants. Run on the server: "
        "%(command)s"
    )
    return text % {"command": f"python manage.py {name}"}
