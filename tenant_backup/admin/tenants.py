"""The list of all tenants: the verdict on each, its schedule and its settings."""

from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Count, F, Model, QuerySet, Sum, TimeField
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import truncatechars
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from tenant_backup import backups, rows
from tenant_backup.admin.automation import switch_context
from tenant_backup.admin.base import FEW, light, with_detail
from tenant_backup.admin.hub import HubAdmin
from tenant_backup.admin.verdicts import TenantsOfRequest, VerdictFilter, totals
from tenant_backup.exceptions import BackupError
from tenant_backup.files import size_in_words
from tenant_backup.models import (
    Backup,
    BackupSettings,
    BackupSettingsQuerySet,
    RestoreRequest,
    Verdict,
)
from tenant_backup.tenants import Tenant, get_tenant
from tenant_backup.views.access import user_name
from tenant_backup.words import ago, going_in_words, when

WORST_FIRST = ["-verdict", "tenant_id"]

REMEDIED = {Verdict.FAILED, Verdict.OVERDUE, Verdict.FUTURE, Verdict.MISSING, Verdict.NO_BACKUP}
"""Where another backup is what helps, or what shows whether the trouble is over."""

REASON = 140
"""Characters of a reason in the list: a few lines of a narrow column. The hub has all of it."""


def _asked_for(request: RestoreRequest) -> str:
    """That a tenant wants lost data back, and the command that tries it or has a look."""
    commands = rows.commands_for(request)[:2]
    return format_html(
        "<p>{} <code>{}</code></p>",
        _("%(who)s asks for lost data:") % {"who": request.asked_by},
        commands[-1] if commands else "",
    )


class BackupSettingsForm(forms.ModelForm):  # type: ignore[type-arg]
    tenant: Tenant

    def clean(self) -> dict[str, Any] | None:
        """Without the tenant and its time zone, nobody can say when its next run is."""
        try:
            self.tenant = get_tenant(self.instance.tenant_id)
        except BackupError as error:
            raise forms.ValidationError(
                _("These settings cannot be changed. %(reason)s"), params={"reason": error}
            ) from error
        return super().clean()


@admin.register(BackupSettings)
class BackupSettingsAdmin(HubAdmin):
    """The list of all tenants. A row is made for each tenant of the provider, and stays.

    A row leads to the tenant's hub, which is the change page with more on it.
    """

    form = BackupSettingsForm
    list_display = [
        "tenant",
        "state",
        "schedule",
        "last_good",
        "good",
    ]
    list_filter = [VerdictFilter, "automatic", "interval"]
    search_fields = ["tenant_id"]
    list_per_page = 100
    readonly_fields = ["tenant_id"]
    # The admin's own widget offers "now" by the browser's clock, but the time of day is in the
    # tenant's time zone.
    formfield_overrides = {
        TimeField: {"widget": forms.TimeInput(attrs={"type": "time"}, format="%H:%M")}
    }
    fieldsets = [
        (None, {"fields": ["tenant_id", "automatic"]}),
        (
            gettext_lazy("When"),
            {
                "fields": ["interval", "time_of_day", "weekday", "day_of_month"],
                "description": gettext_lazy("The time of day is in the tenant's time zone."),
            },
        ),
        (
            gettext_lazy("What is kept"),
            {
                "fields": ["keep_last", "keep_days", "keep_daily", "keep_weekly", "keep_monthly"],
                "description": gettext_lazy(
                    "Manual, pinned and held backups, and those found on disk, are always kept and "
                    "do not count towards the limits. Without any of these rules, all backups are "
                    "kept."
                ),
            },
        ),
        (gettext_lazy("Notices"), {"fields": ["notify_email"]}),
    ]

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # By what no field holds, which Django's option `ordering` refuses.
        settings = cast("BackupSettingsQuerySet", super().get_queryset(request))
        verdicts = TenantsOfRequest.of(request).verdicts
        return settings.with_verdicts(timezone.now(), verdicts=verdicts).order_by(*WORST_FIRST)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[BackupSettings], search_term: str
    ) -> tuple[QuerySet[BackupSettings], bool]:
        """By id or name. Only the provider knows the names, so the database cannot search them."""
        if not search_term.strip():
            return queryset, False
        found = TenantsOfRequest.of(request).matching(search_term)
        return queryset.filter(tenant_id__in=found), False

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        tenants, now = TenantsOfRequest.of(request), timezone.now()
        may_back_up = self.has_back_up_permission(request)
        for row in changelist.result_list:
            if tenant := tenants.tenants.get(row.tenant_id):
                row.next_run_at = row.next_run(now, tenant.zone)
                vars(row)["may_back_up"] = may_back_up and Verdict(row.verdict) in REMEDIED
            vars(row)["name"] = tenants.names.get(row.tenant_id)
            vars(row)["why"] = tenants.why(row.tenant_id)
            vars(row)["asked"] = tenants.requests.get(row.tenant_id)
        return changelist

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = {"title": _("The backups of all tenants")}
        response = super().changelist_view(request, {**title, **(extra_context or {})})
        # An action answers with a redirect, and the page that follows says what is wrong.
        if isinstance(response, TemplateResponse):
            tenants = TenantsOfRequest.of(request)
            response.context_data = {
                **(response.context_data or {}),
                **totals(self.get_queryset(request)),
                **switch_context(request, tenants.automation_status),
                "backups": Backup.objects.good().aggregate(number=Count("pk"), bytes=Sum("size")),
            }
            # The others have a row, which says it.
            for error in [error for error in tenants.invalid if not error.tenant_id][:FEW]:
                self.message_user(request, str(error), messages.ERROR)
            if tenants.trouble:
                text = _(
                    "The tenant provider failed, so ids are shown instead of names, and no tenant "
                    "is shown as retired: %(reason)s"
                )
                self.message_user(request, text % {"reason": tenants.trouble}, messages.ERROR)
        return response

    @admin.display(description=gettext_lazy("tenant"), ordering="tenant_id")
    def tenant(self, settings: BackupSettings) -> str:
        key = settings.tenant_id
        name = vars(settings).get("name") or key
        return with_detail(name, key if name != key else "")

    @admin.display(description=gettext_lazy("state"), ordering="-verdict")
    def state(self, settings: BackupSettings) -> str:
        """The verdict, why, and a button for what is likely to help."""
        verdict = Verdict(settings.verdict)
        shown = light(verdict.tone, str(verdict.label))
        if why := vars(settings).get("why"):
            shown = format_html("{} <p>{}</p>", shown, truncatechars(why, REASON))
        if asked := vars(settings).get("asked"):
            shown = format_html("{} {}", shown, _asked_for(asked))
        if not vars(settings).get("may_back_up"):
            return shown
        # In the list's own form, which has the token against forgery.
        return format_html(
            '{} <button class="button" formaction="{}" name="do" value="back_up" '
            'aria-label="{}: {}">{}</button>',
            shown,
            self.address_of(BackupSettings, "do", settings.pk),
            _("Back up now"),
            vars(settings).get("name") or settings.tenant_id,
            _("Back up now"),
        )

    @admin.display(
        description=gettext_lazy("automatic"), ordering=F("next_run_at").asc(nulls_last=True)
    )
    def schedule(self, settings: BackupSettings) -> str:
        if not settings.automatic:
            return _("off")
        at = settings.next_run_at
        return with_detail(str(settings.get_interval_display()), when(at) if at else "")

    @admin.display(
        description=gettext_lazy("last good"),
        ordering=F("last_good_at").asc(nulls_first=True),
    )
    def last_good(self, settings: BackupSettings) -> str:
        if not (at := settings.last_good_at):
            return self.get_empty_value_display()
        day = date_format(timezone.localtime(at), "SHORT_DATE_FORMAT")
        return with_detail(ago(at), day)

    @admin.display(description=gettext_lazy("good backups"), ordering="good_bytes")
    def good(self, settings: BackupSettings) -> str:
        if not settings.good_number:
            return self.get_empty_value_display()
        number = ngettext("%(count)d backup", "%(count)d backups", settings.good_number)
        return with_detail(
            size_in_words(settings.good_bytes), number % {"count": settings.good_number}
        )

    def save_model(
        self, request: HttpRequest, obj: BackupSettings, form: BackupSettingsForm, change: bool
    ) -> None:
        backups.configure(form.tenant, obj, actor=user_name(request))
        if going := len(backups.removals_after_next(form.tenant)):
            self.message_user(request, going_in_words(going), messages.WARNING)
