"""The operator's view of all tenants, in Django's admin: how each stands, the catalog, the history.

Whoever has these models' permissions has them for every tenant, so the tenant provider says who is
an operator at all: nobody else is let in, whatever permissions they have.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cache, partial
from typing import Any, TypeVar, cast

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.models import LogEntry
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Count, F, Model, QuerySet, Sum, TimeField
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseRedirect,
    QueryDict,
)
from django.template.defaultfilters import truncatechars
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy
from django.views.decorators.http import require_POST

from tenant_backup import automation, backups, monitoring
from tenant_backup.automation import AutomationState
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, BackupInProgress
from tenant_backup.files import size_in_words
from tenant_backup.models import (
    Automation,
    Backup,
    BackupSettings,
    BackupSettingsQuerySet,
    Event,
    Trigger,
    Verdict,
)
from tenant_backup.monitoring import absence
from tenant_backup.tenants import Tenant, get_tenant, is_operator, list_tenants
from tenant_backup.words import ago, going_in_words, when

logger = logging.getLogger("tenant_backup")

Row = TypeVar("Row", Backup, BackupSettings)
Result = TypeVar("Result")

SHORT = 60
"""Characters of an error or a detail that a list shows."""

FEW = 10
"""Problems that are told one by one; of a larger number that have one cause, nobody reads more."""


class CatalogAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What they have in common: for operators only, and none of their rows is added here.

    The rows come from the use cases.
    """

    class Media:
        css = {"all": ["tenant_backup/admin.css"]}

    def has_module_permission(self, request: HttpRequest) -> bool:
        # The cheap question first: the admin asks it for each page, of other apps too.
        return super().has_module_permission(request) and is_operator(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and is_operator(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and is_operator(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and is_operator(request)

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
        find = cache(get_tenant)
        for row in rows:
            try:
                results.append(use_case(find(row.tenant_id), row))
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

    def pause_automation(self, request: HttpRequest) -> None:
        from tenant_backup import automation

        automation.pause(_user_name(request))
        text = _("Automation is paused: nothing automatic starts until somebody resumes it.")
        self.message_user(request, text, messages.SUCCESS)

    def resume_automation(self, request: HttpRequest) -> None:
        from tenant_backup import automation

        automation.resume(_user_name(request))
        text = _("Automation is not paused any more.")
        self.message_user(request, text, messages.SUCCESS)


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
        "trigger",
        "label",
        "pin_sign",
        "short_error",
    ]
    list_filter = ["status", "trigger", "pinned", GoodFilter]
    search_fields = ["tenant_id", "file_name", "label"]
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-pk"]
    actions = ["delete_selected", "pin", "unpin"]
    fieldsets = [
        (None, {"fields": ["tenant_id", "status", "trigger", "label", "pin_sign", "error"]}),
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
            pgettext_lazy("of backups", "History"),
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
        if backup.future_at:
            words.append(_("dated in the future"))
        return ", ".join(words)

    @admin.display(description=gettext_lazy("pinned"), ordering="pinned")
    def pin_sign(self, backup: Backup) -> str:
        """Nothing where it is not pinned: that is no fault, as Django's red cross would say."""
        if not backup.pinned:
            return ""
        return format_html('<span class="backup-light">{}</span>', _("pinned"))

    @admin.display(description=gettext_lazy("error"))
    def short_error(self, backup: Backup) -> str:
        return truncatechars(backup.reason, SHORT)

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
        busy: set[str] = set()

        def delete(tenant: Tenant, backup: Backup) -> Backup:
            if tenant.id in busy:
                raise BackupInProgress  # Nobody waits for each of hundreds.
            try:
                backups.delete(tenant, backup, actor=_user_name(request))
            except BackupInProgress:
                busy.add(tenant.id)
                raise
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
            self.tenant = get_tenant(self.instance.tenant_id)
        except BackupError as error:
            raise forms.ValidationError(
                _("These settings cannot be changed. %(reason)s"), params={"reason": error}
            ) from error
        return super().clean()


@dataclass(frozen=True, slots=True)
class Fleet:
    """The tenants, as the provider knows them when the request asks for the first time."""

    names: Mapping[str, str]
    """The name of each tenant that has a row; of one that is not known, its id."""
    tenants: Mapping[str, Tenant]
    """Those whom the provider knows and who are valid, by their ids."""
    verdicts: Mapping[str, Verdict]
    """How each tenant with a row stands, as monitoring judges it; by the tenants' ids."""
    listed: Set[str]
    """The ids of all whom the provider knows."""
    automation_status: Any
    """Where automation stands; None without django-q2."""
    trouble: str = ""

    @classmethod
    def of(cls, request: HttpRequest) -> Fleet:
        kept: dict[str, Any] = vars(request)
        if "_tenant_backup_fleet" not in kept:
            kept["_tenant_backup_fleet"] = cls.ask()
        fleet: Fleet = kept["_tenant_backup_fleet"]
        return fleet

    @classmethod
    def ask(cls) -> Fleet:
        """Ask the provider, and make the settings of the tenants that are new."""
        rows = set(BackupSettings.objects.values_list("tenant_id", flat=True))
        automation_status, now = automation.get_status(), timezone.now()
        automation_runs = automation_status.state is AutomationState.RUNNING
        try:
            listing = list_tenants()
            tenants = {tenant.id: tenant for tenant in listing.tenants}
            new = tenants.keys() - rows
            if new:
                BackupSettings.objects.ensure(new)
            names = dict.fromkeys(listing.ids, "") | {
                tenant.id: str(tenant.name) for tenant in listing.tenants
            }
        except Exception as error:
            logger.exception("The admin cannot say which tenants there are.")
            trouble = str(error) or type(error).__name__
            noted = monitoring.verdicts_as_noted(now, automation_runs=automation_runs)
            return cls({row: row for row in rows}, {}, noted, set(), automation_status, trouble)
        judgements = [
            *monitoring.judge_all(listing.tenants, now, automation_runs=automation_runs),
            *monitoring.judge_others(listing, now),
        ]
        return cls(
            names={row: names.get(row) or row for row in rows | new},
            tenants=tenants,
            verdicts={each.tenant_id: each.verdict for each in judgements},
            listed=names.keys(),
            automation_status=automation_status,
        )

    def found(self, words: str) -> list[str]:
        """The ids of the tenants that have all these words in their id or their name."""
        wanted = words.casefold().split()
        texts = {key: f"{key} {name}".casefold() for key, name in self.names.items()}
        return [key for key, text in texts.items() if all(word in text for word in wanted)]


SIGNS = {"good": "\N{CHECK MARK}", "warning": "!", "error": "\N{MULTIPLICATION X}", "neutral": "·"}

NEEDS_ATTENTION = [verdict for verdict in Verdict if verdict.needs_attention]
LISTED_VERDICTS = [
    verdict
    for verdict in Verdict
    if verdict not in (Verdict.RETIRED, Verdict.UNLISTED, Verdict.DISAPPEARED)
]


def light(tone: str, text: str) -> SafeString:
    """A state at a glance: by its colour, by its sign, and in words."""
    return format_html(
        '<span class="backup-light backup-light-{}"><span aria-hidden="true">{}</span> {}</span>',
        tone,
        SIGNS[tone],
        text,
    )


def _with_detail(text: str, detail: str) -> SafeString:
    """A cell of two lines, the second one small."""
    return format_html('{} <span class="backup-detail">{}</span>', text, detail)


class VerdictFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    ATTENTION = "attention"
    LISTED = "listed"
    WANTED = {
        ATTENTION: NEEDS_ATTENTION,
        LISTED: LISTED_VERDICTS,
        **{verdict.code: [verdict] for verdict in Verdict},
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        states = [(verdict.code, str(verdict.label)) for verdict in reversed(Verdict)]
        return [
            (self.ATTENTION, _("in need of attention")),
            (self.LISTED, _("neither disappeared nor retired")),
            *states,
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        wanted = self.WANTED.get(self.value() or "")
        return None if wanted is None else queryset.filter(verdict__in=wanted)


@admin.register(BackupSettings)
class BackupSettingsAdmin(CatalogAdmin):
    """All tenants: how each stands, and its settings.

    The rows are made for the provider's tenants, and stay.
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
    ordering = ["tenant_id"]
    list_per_page = 100
    actions = ["back_up_now", "verify", "switch_on", "switch_off", "retire"]
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
        return _may(request, "add", Backup)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = cast("BackupSettingsQuerySet", super().get_queryset(request))
        fleet = Fleet.of(request)
        return rows.with_verdicts(timezone.now(), verdicts=fleet.verdicts)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[BackupSettings], search_term: str
    ) -> tuple[QuerySet[BackupSettings], bool]:
        """The names are the provider's, so no database can search in them."""
        if not search_term.strip():
            return queryset, False
        return queryset.filter(tenant_id__in=Fleet.of(request).found(search_term)), False

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        fleet, now = Fleet.of(request), timezone.now()
        for row in changelist.result_list:
            if tenant := fleet.tenants.get(row.tenant_id):
                row.next_run_at = row.next_run(now, tenant.zone)
            vars(row)["name"] = fleet.names.get(row.tenant_id)
        return changelist

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = {"title": _("The backups of all tenants")}
        response = super().changelist_view(request, {**title, **(extra_context or {})})
        # An action is answered by a redirect, and what is wrong is said on the page that follows.
        if isinstance(response, TemplateResponse):
            response.context_data = {**(response.context_data or {}), **self._header(request)}
            if trouble := Fleet.of(request).trouble:
                text = _(
                    "The tenant provider failed, so ids stand for the names, and nobody is shown "
                    "as retired: %(reason)s"
                )
                self.message_user(request, text % {"reason": trouble}, messages.ERROR)
        return response

    def _header(self, request: HttpRequest) -> dict[str, Any]:
        """What stands above the list: the totals of all tenants, and automation with its switch."""
        rows = self.get_queryset(request).order_by().values("verdict", "automatic")
        counts = [
            (Verdict(row["verdict"]), row["automatic"], row["number"])
            for row in rows.annotate(number=Count("pk"))
        ]

        def total(verdicts: Iterable[Verdict], *automatic: bool) -> int:
            wanted = automatic or (True, False)
            return sum(
                number
                for verdict, is_on, number in counts
                if verdict in verdicts and is_on in wanted
            )

        automation_status = Fleet.of(request).automation_status
        off = f"{VerdictFilter.parameter_name}={VerdictFilter.LISTED}&automatic__exact=0"
        return {
            "tenants": total(LISTED_VERDICTS),
            "groups": [
                (_("All well"), "state=well", total([Verdict.WELL])),
                (_("In need of attention"), "state=attention", total(NEEDS_ATTENTION)),
                (_("No backup yet"), "state=no_backup", total([Verdict.NO_BACKUP])),
                (_("Automatic off"), off, total(LISTED_VERDICTS, False)),
                (_("Retired"), "state=retired", total([Verdict.RETIRED])),
            ],
            "backups": Backup.objects.good().aggregate(number=Count("pk"), bytes=Sum("size")),
            "automation_status": automation_status,
            "automation_light": self._automation_light(automation_status),
            "last_tick": ago(automation_status.last_tick_at)
            if automation_status and automation_status.last_tick_at
            else "",
            "shown": request.GET.urlencode(),
            "zone": timezone.get_current_timezone_name(),
            "may_switch": automation_status is not None and _may(request, "change", Automation),
        }

    @staticmethod
    def _automation_light(automation_status: Any) -> SafeString:
        if automation_status is None:
            return light("warning", _("not set up"))
        tone = {"RUNNING": "good", "STALLED": "error"}.get(automation_status.state.name, "warning")
        return light(tone, automation_status.state.label)

    def get_urls(self) -> list[URLPattern]:
        switch = path(
            "automation/",
            require_POST(self.admin_site.admin_view(self.automation_view)),
            name="tenant_backup_backupsettings_automation",
        )
        return [switch, *super().get_urls()]

    def automation_view(self, request: HttpRequest) -> HttpResponse:
        """Pause or resume automation. Which, is said, so that two clicks do not undo each other."""
        if not _may(request, "change", Automation):
            raise PermissionDenied
        if not apps.is_installed("django_q"):
            raise Http404
        switch = {"pause": self.pause_automation, "resume": self.resume_automation}
        if (wanted := request.POST.get("switch")) not in switch:
            return HttpResponseBadRequest()
        switch[wanted](request)
        name = "admin:tenant_backup_backupsettings_changelist"
        page = reverse(name, current_app=self.admin_site.name)
        # Back to what was shown: filtered, sorted, searched.
        shown = request.POST.get("shown", "")
        return HttpResponseRedirect(f"{page}?{QueryDict(shown).urlencode()}" if shown else page)

    @admin.display(description=gettext_lazy("tenant"), ordering="tenant_id")
    def tenant(self, settings: BackupSettings) -> str:
        name = vars(settings).get("name") or settings.tenant_id
        if name == settings.tenant_id:
            return settings.tenant_id
        return _with_detail(name, settings.tenant_id)

    @admin.display(description=gettext_lazy("state"), ordering="-verdict")
    def state(self, settings: BackupSettings) -> str:
        verdict = Verdict(settings.verdict)
        return light(verdict.tone, str(verdict.label))

    @admin.display(
        description=gettext_lazy("automatic"), ordering=F("next_run_at").asc(nulls_last=True)
    )
    def schedule(self, settings: BackupSettings) -> str:
        if not settings.automatic:
            return _("off")
        interval, at = str(settings.get_interval_display()), settings.next_run_at
        return _with_detail(interval, when(at)) if at else interval

    @admin.display(
        description=gettext_lazy("last good"),
        ordering=F("last_good_at").asc(nulls_first=True),
    )
    def last_good(self, settings: BackupSettings) -> str:
        if not (at := settings.last_good_at):
            return self.get_empty_value_display()
        day = date_format(timezone.localtime(at), "SHORT_DATE_FORMAT")
        return _with_detail(ago(at), day)

    @admin.display(description=gettext_lazy("good backups"), ordering="good_bytes")
    def good(self, settings: BackupSettings) -> str:
        if not settings.good_number:
            return self.get_empty_value_display()
        number = ngettext("%(count)d backup", "%(count)d backups", settings.good_number)
        return _with_detail(
            size_in_words(settings.good_bytes), number % {"count": settings.good_number}
        )

    def save_model(
        self, request: HttpRequest, obj: BackupSettings, form: BackupSettingsForm, change: bool
    ) -> None:
        backups.configure(form.tenant, obj, actor=_user_name(request))
        if going := len(backups.removals_after_next(form.tenant)):
            self.message_user(request, going_in_words(going), messages.WARNING)

    @admin.action(permissions=["back_up"], description=gettext_lazy("Back up now"))
    def back_up_now(self, request: HttpRequest, queryset: QuerySet[BackupSettings]) -> None:
        self.after_commit(partial(self._back_up, request, list(queryset)))

    def _back_up(self, request: HttpRequest, rows: list[BackupSettings]) -> None:
        order = backups.BackupRequest(trigger=Trigger.MANUAL, requested_by=_user_name(request))
        if automation.is_running():
            self._queue(request, rows, order)
        else:
            self._create(request, rows, order)

    def _queue(
        self, request: HttpRequest, rows: list[BackupSettings], order: backups.BackupRequest
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
        self, request: HttpRequest, rows: list[BackupSettings], order: backups.BackupRequest
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

    @admin.action(permissions=["change"], description=gettext_lazy("Verify the newest backups"))
    def verify(self, request: HttpRequest, queryset: QuerySet[BackupSettings]) -> None:
        self.after_commit(partial(self._verify, request, list(queryset)))

    def _verify(self, request: HttpRequest, rows: list[BackupSettings]) -> None:
        by_workers = automation.is_running()

        def verify(tenant: Tenant, settings: BackupSettings) -> None:
            good = Backup.objects.for_tenant(tenant.id).good().counted(timezone.now())
            backup = good.newest_first().first()
            if backup is None:
                raise BackupError("There is no good backup.")
            if by_workers:
                from tenant_backup import automation

                automation.enqueue_verify(backup)
            elif problem := backups.verify(tenant, backup):
                raise BackupError(problem)

        count = len(
            self.for_each(
                request,
                rows,
                verify,
                not_done=_("The newest backup of %(tenant)s is not verified: %(reason)s"),
            )
        )
        if by_workers:
            text = ngettext(
                "%(count)d backup is being read again in the background. The state will tell.",
                "%(count)d backups are being read again in the background. The state will tell.",
                count,
            )
        else:
            text = ngettext(
                "%(count)d backup was read again and is good.",
                "%(count)d backups were read again and are good.",
                count,
            )
        self.tell_success(request, text, count)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch automatic backup on"))
    def switch_on(self, request: HttpRequest, queryset: QuerySet[BackupSettings]) -> None:
        count = self._switch(request, queryset, automatic=True)
        text = ngettext(
            "Automatic backup is on for %(count)d tenant.",
            "Automatic backup is on for %(count)d tenants.",
            count,
        )
        self.tell_success(request, text, count)

    @admin.action(permissions=["change"], description=gettext_lazy("Switch automatic backup off"))
    def switch_off(self, request: HttpRequest, queryset: QuerySet[BackupSettings]) -> None:
        count = self._switch(request, queryset, automatic=False)
        text = ngettext(
            "Automatic backup is off for %(count)d tenant.",
            "Automatic backup is off for %(count)d tenants.",
            count,
        )
        self.tell_success(request, text, count)

    def _switch(
        self, request: HttpRequest, rows: Iterable[BackupSettings], *, automatic: bool
    ) -> int:
        def configure(tenant: Tenant, settings: BackupSettings) -> None:
            # As it is now: with many selected, somebody may have changed it meanwhile.
            settings.refresh_from_db()
            if settings.automatic != automatic:
                settings.automatic = automatic
                backups.configure(tenant, settings, actor=_user_name(request))

        not_done = _("Automatic backup of %(tenant)s was not switched: %(reason)s")
        return len(self.for_each(request, rows, configure, not_done=not_done))

    @admin.action(
        permissions=["change"], description=gettext_lazy("Mark as gone on purpose (retired)")
    )
    def retire(self, request: HttpRequest, queryset: QuerySet[BackupSettings]) -> None:
        fleet = Fleet.of(request)
        ids = [row.tenant_id for row in queryset]
        gone = [] if fleet.trouble else [key for key in ids if key not in fleet.listed]
        absence.retire(gone, by=_user_name(request))
        if there := len(ids) - len(gone):
            text = ngettext(
                "%(count)d tenant is not retired: the tenant provider lists it.",
                "%(count)d tenants are not retired: the tenant provider lists them.",
                there,
            )
            self.message_user(request, text % {"count": there}, messages.ERROR)
        text = ngettext("%(count)d tenant is retired.", "%(count)d tenants are retired.", len(gone))
        self.tell_success(request, text, len(gone))


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
        automation_status = automation.get_status()
        return str(automation_status.state.label) if automation_status else _("not set up")

    @admin.action(permissions=["change"], description=gettext_lazy("Pause automatic backups"))
    def pause(self, request: HttpRequest, queryset: QuerySet[Automation]) -> None:
        self.pause_automation(request)

    @admin.action(permissions=["change"], description=gettext_lazy("Resume automatic backups"))
    def resume(self, request: HttpRequest, queryset: QuerySet[Automation]) -> None:
        self.resume_automation(request)


class FewerPages(Paginator):  # type: ignore[type-arg]
    """Counts no further than people turn pages: to count millions of rows takes seconds."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list)
        return rows[: self.MOST].count()


class MonthFilter(admin.SimpleListFilter):
    """By an index. Django's own hierarchy of dates reads every row that there is."""

    title = gettext_lazy("month")
    parameter_name = "month"

    MOST = 120
    """So many months are offered: a wrong clock's one line shall not make it thousands."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        oldest = Event.objects.order_by("created_at").values_list("created_at", flat=True).first()
        month = self._first_day(timezone.now())
        months = [month]
        while oldest and oldest < month and len(months) < self.MOST:
            months.append(month := self._first_day(month - timedelta(days=1)))
        return [
            (month.strftime("%Y-%m"), date_format(month, "YEAR_MONTH_FORMAT")) for month in months
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        if self.value() not in dict(self.lookup_choices):
            return None
        month = timezone.make_aware(datetime.fromisoformat(f"{self.value()}-01"))
        after = self._first_day(month + timedelta(days=32))
        return queryset.filter(created_at__gte=month, created_at__lt=after)

    @staticmethod
    def _first_day(moment: datetime) -> datetime:
        day = timezone.localtime(moment).date().replace(day=1)
        return timezone.make_aware(datetime.combine(day, time()))


@admin.register(Event)
class EventAdmin(CatalogAdmin):
    """The history, which nobody rewrites. There may be millions of lines."""

    list_display = ["tenant_id", "created_at", "kind", "actor", "file_name", "short_detail"]
    list_filter = ["kind", MonthFilter]
    search_fields = ["tenant_id", "actor", "file_name", "detail"]
    ordering = ["-created_at", "-pk"]
    paginator = FewerPages
    show_full_result_count = False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A tenant's id finds its own lines, by an index; anything else is looked for in all."""
        of_tenant = queryset.filter(tenant_id=search_term.strip())
        if search_term.strip() and of_tenant.exists():
            return of_tenant, False
        return super().get_search_results(request, queryset, search_term)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        if changelist.result_count >= FewerPages.MOST:
            text = _("The newest %(count)d lines of the history")
            changelist.title = text % {"count": FewerPages.MOST}
        return changelist

    def has_change_permission(self, request: HttpRequest, obj: Event | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Event | None = None) -> bool:
        return False

    @admin.display(description=gettext_lazy("detail"))
    def short_detail(self, event: Event) -> str:
        return truncatechars(event.said, SHORT)


def _user_name(request: HttpRequest) -> str:
    return request.user.get_username()[:255]


def _may(request: HttpRequest, action: str, model: type[Model]) -> bool:
    codename = get_permission_codename(action, model._meta)
    permission = f"{model._meta.app_label}.{codename}"
    return request.user.has_perm(permission) and is_operator(request)
