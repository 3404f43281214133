"""The operator's view of all tenants: the catalog, the settings and the history in Django's admin.

Whoever has these models' permissions has them for every tenant.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, TypeVar, cast

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.models import LogEntry
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.auth import get_permission_codename
from django.db import transaction
from django.db.models import QuerySet, TimeField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import truncatechars
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from tenant_backup import backups
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, BackupInProgress
from tenant_backup.files import size_in_words
from tenant_backup.models import Automation, Backup, BackupSettings, Event, Trigger
from tenant_backup.tenants import Tenant, get_provider

logger = logging.getLogger("tenant_backup")

Row = TypeVar("Row", Backup, BackupSettings)
Result = TypeVar("Result")

SHORT = 60
"""Characters of an error or a detail that a list shows."""

FEW = 10
"""Problems that are told one by one; of a larger number that have one cause, nobody reads more."""


class CatalogAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What they have in common: their rows come from the use cases, so none is added here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def after_commit(self, work: Callable[[], None]) -> None:
        """Do it when the request's transaction, if it is in any, is over.

        What happens to files is not undone by a rollback, so it must not happen before one can.
        Django's delete view has a transaction, and with `ATOMIC_REQUESTS` every view has.
        """
        transaction.on_commit(work, using=conf.CATALOG_DATABASE)

    def for_each(
        self,
        request: HttpRequest,
        rows: Iterable[Row],
        use_case: Callable[[Tenant, Row], Result],
        *,
        not_done: str,
    ) -> list[Result]:
        """Do it with each row and its tenant, and return the results.

        Where that fails the user is told by `not_done`, a text with room for the `tenant` and the
        `reason`, and the rest goes on.
        """
        results: list[Result] = []
        problems: list[tuple[int, str]] = []
        get_tenant = cache(get_provider().get_tenant)
        for row in rows:
            try:
                results.append(use_case(get_tenant(row.tenant_id), row))
            except BackupInProgress:
                text = _(
                    "Somebody is at work on the backups of %(tenant)s already. Look again soon."
                )
                problems.append((messages.INFO, text % {"tenant": row.tenant_id}))
            except Exception as error:
                if not isinstance(error, BackupError):
                    logger.exception("Failed in the admin, for tenant %r.", row.tenant_id)
                reason = str(error) or type(error).__name__
                text = not_done % {"tenant": row.tenant_id, "reason": reason}
                problems.append((messages.ERROR, text))
        for level, text in problems[:FEW]:
            self.message_user(request, text, level)
        if more := len(problems[FEW:]):
            text = ngettext(
                "%(count)d more could not be done.", "%(count)d more could not be done.", more
            )
            self.message_user(request, text % {"count": more}, messages.ERROR)
        return results

    def tell_success(self, request: HttpRequest, text: str, count: int) -> None:
        if count:
            self.message_user(request, text % {"count": count}, messages.SUCCESS)


class GoodFilter(admin.SimpleListFilter):
    title = gettext_lazy("good")
    parameter_name = "good"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", _("Yes")), ("no", _("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        good = Backup.objects.good()
        if self.value() == "yes":
            return queryset.filter(pk__in=good)
        if self.value() == "no":
            return queryset.exclude(pk__in=good)
        return None


@admin.register(Backup)
class BackupAdmin(CatalogAdmin):
    """A row says what happened, so nothing in it is edited; pinned and deleted by the use cases."""

    list_display = [
        "tenant_id",
        "created_at",
        "size_in_words",
        "condition",
        "short_error",
        "trigger",
        "label",
        "pinned",
        "file_name",
    ]
    list_filter = ["status", "trigger", "pinned", GoodFilter]
    search_fields = ["tenant_id", "file_name", "label"]
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-pk"]
    actions = ["delete_selected", "pin", "unpin"]
    fieldsets = [
        (None, {"fields": ["tenant_id", "status", "trigger", "label", "pinned", "error"]}),
        (
            gettext_lazy("File"),
            {
                "fields": [
                    "file_name",
                    "size_in_words",
                    "size",
                    "sha256",
                    "verified_at",
                    "missing_at",
                    "damaged_at",
                ]
            },
        ),
        (
            gettext_lazy("History"),
            {
                "fields": [
                    "requested_by",
                    "slot_at",
                    "created_at",
                    "enqueued_at",
                    "started_at",
                    "finished_at",
                ]
            },
        ),
    ]

    def has_change_permission(self, request: HttpRequest, obj: Backup | None = None) -> bool:
        return False

    @admin.display(description=gettext_lazy("size"), ordering="size")
    def size_in_words(self, backup: Backup) -> str:
        return size_in_words(backup.size) if backup.size else self.get_empty_value_display()

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def condition(self, backup: Backup) -> str:
        """The status, and what was found out since about the file of a complete one."""
        words = [str(backup.get_status_display())]
        if backup.missing_at:
            words.append(_("file missing"))
        if backup.damaged_at:
            words.append(_("file damaged"))
        return ", ".join(words)

    @admin.display(description=gettext_lazy("error"))
    def short_error(self, backup: Backup) -> str:
        return truncatechars(backup.error, SHORT)

    @admin.action(
        permissions=["delete"],
        description=gettext_lazy("Delete selected %(verbose_name_plural)s"),
    )
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Backup]
    ) -> HttpResponse | None:
        """As Django's, whose message says that all were deleted, whatever was."""
        *_rest, perms_needed, protected = self.get_deleted_objects(queryset, request)
        if request.POST.get("post") and not perms_needed and not protected:
            self.delete_queryset(request, queryset)
            return None
        return delete_selected(self, request, queryset)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Backup]) -> None:
        self.after_commit(partial(self._delete, request, list(queryset)))

    def delete_model(self, request: HttpRequest, obj: Backup) -> None:
        self.after_commit(partial(self._delete, request, [obj]))

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Backup]) -> list[LogEntry]:
        """Django calls this too early: nothing is deleted yet, and perhaps nothing will be."""
        return []

    def response_delete(
        self, request: HttpRequest, obj_display: str, obj_id: int
    ) -> HttpResponseRedirect:
        """Back to the list; what there is to say is said when it is done."""
        if not self.has_view_permission(request):
            return HttpResponseRedirect(reverse("admin:index", current_app=self.admin_site.name))
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"
        url = add_preserved_filters(
            {"preserved_filters": self.get_preserved_filters(request), "opts": self.opts},
            reverse(name, current_app=self.admin_site.name),
        )
        return HttpResponseRedirect(url)

    def _delete(self, request: HttpRequest, rows: list[Backup]) -> None:
        def delete(tenant: Tenant, backup: Backup) -> Backup:
            backups.delete(tenant, backup, actor=_user_name(request))
            return backup

        deleted = self.for_each(
            request, rows, delete, not_done=_("A backup of %(tenant)s was not deleted: %(reason)s")
        )
        if deleted:
            # Django itself calls it with a list, too.
            super().log_deletions(request, cast("QuerySet[Backup]", deleted))
        text = ngettext(
            "%(count)d backup was deleted.", "%(count)d backups were deleted.", len(deleted)
        )
        self.tell_success(request, text, len(deleted))

    @admin.action(permissions=["delete"], description=gettext_lazy("Pin selected backups"))
    def pin(self, request: HttpRequest, queryset: QuerySet[Backup]) -> None:
        pinned = self._pin(
            request,
            queryset,
            pinned=True,
            not_done=_("A backup of %(tenant)s was not pinned: %(reason)s"),
        )
        text = ngettext("%(count)d backup is pinned.", "%(count)d backups are pinned.", pinned)
        self.tell_success(request, text, pinned)

    @admin.action(permissions=["delete"], description=gettext_lazy("Unpin selected backups"))
    def unpin(self, request: HttpRequest, queryset: QuerySet[Backup]) -> None:
        unpinned = self._pin(
            request,
            queryset,
            pinned=False,
            not_done=_("A backup of %(tenant)s was not unpinned: %(reason)s"),
        )
        text = ngettext(
            "%(count)d backup is not pinned any more.",
            "%(count)d backups are not pinned any more.",
            unpinned,
        )
        self.tell_success(request, text, unpinned)

    def _pin(
        self, request: HttpRequest, rows: Iterable[Backup], *, pinned: bool, not_done: str
    ) -> int:
        use_case = partial(backups.pin, pinned=pinned, actor=_user_name(request))
        return len(self.for_each(request, rows, use_case, not_done=not_done))


class BackupSettingsForm(forms.ModelForm):  # type: ignore[type-arg]
    tenant: Tenant

    def clean(self) -> dict[str, Any] | None:
        """A tenant that is gone has no time zone, so its next run cannot be said."""
        try:
            self.tenant = get_provider().get_tenant(self.instance.tenant_id)
        except BackupError as error:
            raise forms.ValidationError(
                _("These settings cannot be changed. %(reason)s"), params={"reason": error}
            ) from error
        return super().clean()


@admin.register(BackupSettings)
class BackupSettingsAdmin(CatalogAdmin):
    """Each tenant's settings. The rows are made for the provider's tenants, and stay."""

    form = BackupSettingsForm
    list_display = ["tenant_id", "automatic", "interval", "next_run_at", "retention"]
    list_filter = ["automatic", "interval"]
    search_fields = ["tenant_id"]
    ordering = ["tenant_id"]
    actions = ["back_up_now"]
    readonly_fields = ["tenant_id", "next_run_at"]
    # The admin's own offers the browser's "now" and compares it with the server's time, and the
    # time of day is neither's.
    formfield_overrides = {
        TimeField: {"widget": forms.TimeInput(attrs={"type": "time"}, format="%H:%M")}
    }
    fieldsets = [
        (None, {"fields": ["tenant_id", "automatic", "next_run_at"]}),
        (
            gettext_lazy("When"),
            {
                "fields": ["interval", "time_of_day", "weekday", "day_of_month"],
                "description": gettext_lazy("The time of day is meant in the tenant's time zone."),
            },
        ),
        (
            gettext_lazy("What is kept"),
            {
                "fields": ["keep_last", "keep_days", "keep_daily", "keep_weekly", "keep_monthly"],
                "description": gettext_lazy(
                    "Manual, found and pinned backups are always kept and do not count. "
                    "Without a maximum number or a retention period everything is kept."
                ),
            },
        ),
        (gettext_lazy("Notices"), {"fields": ["notify_email"]}),
    ]

    def has_delete_permission(
        self, request: HttpRequest, obj: BackupSettings | None = None
    ) -> bool:
        return False

    def has_back_up_permission(self, request: HttpRequest) -> bool:
        codename = get_permission_codename("add", Backup._meta)
        return request.user.has_perm(f"{Backup._meta.app_label}.{codename}")

    @admin.display(description=gettext_lazy("kept"))
    def retention(self, settings: BackupSettings) -> str:
        if not settings.policy.has_limits:
            return _("everything")
        days, daily = settings.keep_days or 0, settings.keep_daily or 0
        weekly, monthly = settings.keep_weekly or 0, settings.keep_monthly or 0
        rules = [
            (settings.keep_last or 0, _("the newest %(count)d")),
            (days, ngettext("%(count)d day", "%(count)d days", days)),
            (daily, ngettext("daily for %(count)d day", "daily for %(count)d days", daily)),
            (weekly, ngettext("weekly for %(count)d week", "weekly for %(count)d weeks", weekly)),
            (
                monthly,
                ngettext("monthly for %(count)d month", "monthly for %(count)d months", monthly),
            ),
        ]
        return ", ".join(text % {"count": count} for count, text in rules if count)

    def save_model(
        self, request: HttpRequest, obj: BackupSettings, form: BackupSettingsForm, change: bool
    ) -> None:
        backups.configure(form.tenant, obj, actor=_user_name(request))

    @admin.action(permissions=["back_up"], description=gettext_lazy("Back up now"))
    def back_up_now(self, request: HttpRequest, queryset: QuerySet[BackupSettings]) -> None:
        self.after_commit(partial(self._back_up, request, list(queryset)))

    def _back_up(self, request: HttpRequest, rows: list[BackupSettings]) -> None:
        order = backups.Order(trigger=Trigger.MANUAL, requested_by=_user_name(request))
        if _automation_runs():
            self._queue(request, rows, order)
        else:
            self._create(request, rows, order)

    def _queue(
        self, request: HttpRequest, rows: list[BackupSettings], order: backups.Order
    ) -> None:
        from tenant_backup import automation

        def queue(tenant: Tenant, settings: BackupSettings) -> None:
            automation.enqueue(backups.request(tenant, order))

        count = len(
            self.for_each(
                request, rows, queue, not_done=_("No backup of %(tenant)s is queued: %(reason)s")
            )
        )
        text = ngettext(
            "%(count)d backup is queued, and made in the background.",
            "%(count)d backups are queued, and made in the background.",
            count,
        )
        self.tell_success(request, text, count)

    def _create(
        self, request: HttpRequest, rows: list[BackupSettings], order: backups.Order
    ) -> None:
        limits = backups.request_limits()

        def create(tenant: Tenant, settings: BackupSettings) -> None:
            made = backups.create(tenant, order, limits=limits)
            if made.prune_error:
                text = _("Tenant %(tenant)s: %(reason)s")
                values = {"tenant": tenant.id, "reason": made.prune_error}
                self.message_user(request, text % values, messages.WARNING)

        count = len(
            self.for_each(
                request, rows, create, not_done=_("No backup of %(tenant)s was made: %(reason)s")
            )
        )
        text = ngettext("%(count)d backup was made.", "%(count)d backups were made.", count)
        self.tell_success(request, text, count)


@admin.register(Automation)
class AutomationAdmin(CatalogAdmin):
    """Where automation stands, and the operator's switch for the automatic backups of all."""

    list_display = ["state", "last_tick_at", "paused_at", "paused_by"]
    list_display_links = None
    actions = ["pause", "resume"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Automation]:
        Automation.load()  # the row is made when it is first needed
        return super().get_queryset(request)

    def has_change_permission(self, request: HttpRequest, obj: Automation | None = None) -> bool:
        """The row is changed by the actions alone."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Automation | None = None) -> bool:
        return False

    @admin.display(description=gettext_lazy("state"))
    def state(self, row: Automation) -> str:
        if not apps.is_installed("django_q"):
            return _("not set up")
        from tenant_backup import automation

        return str(automation.standing().state.label)

    @admin.action(permissions=["change"], description=gettext_lazy("Pause automatic backups"))
    def pause(self, request: HttpRequest, queryset: QuerySet[Automation]) -> None:
        from tenant_backup import automation

        automation.pause(_user_name(request))
        text = _("Automation is paused: nothing automatic starts until somebody resumes it.")
        self.message_user(request, text, messages.SUCCESS)

    @admin.action(permissions=["change"], description=gettext_lazy("Resume automatic backups"))
    def resume(self, request: HttpRequest, queryset: QuerySet[Automation]) -> None:
        from tenant_backup import automation

        automation.resume(_user_name(request))
        text = _("Automation is not paused any more.")
        self.message_user(request, text, messages.SUCCESS)


@admin.register(Event)
class EventAdmin(CatalogAdmin):
    """The history, which nobody rewrites."""

    list_display = ["tenant_id", "created_at", "action", "actor", "file_name", "short_detail"]
    list_filter = ["action"]
    search_fields = ["tenant_id", "actor", "file_name", "detail"]
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-pk"]

    def has_change_permission(self, request: HttpRequest, obj: Event | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Event | None = None) -> bool:
        return False

    @admin.display(description=gettext_lazy("detail"))
    def short_detail(self, event: Event) -> str:
        return truncatechars(event.detail, SHORT)


def _user_name(request: HttpRequest) -> str:
    return request.user.get_username()[:255]


def _automation_runs() -> bool:
    """Whether workers are there to make a backup. The module needs django-q2's models."""
    if not apps.is_installed("django_q"):
        return False
    from tenant_backup import automation

    return automation.is_running()
