"""The history: what happened, by month, kind and tenant. It is read-only, and may be long."""

from datetime import datetime, time, timedelta
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import truncatechars
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tenant_backup.admin.base import SHORT, CatalogAdmin
from tenant_backup.models import Event


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no more rows than anybody pages through: counting millions of rows takes seconds."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list)
        return rows[: self.MOST].count()


class MonthFilter(admin.SimpleListFilter):
    """By an index. Django's own date hierarchy reads every row."""

    title = gettext_lazy("month")
    parameter_name = "month"

    MOST = 120
    """Months that are offered: one line written by a wrong clock must not make it thousands."""

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
    list_display = ["tenant_id", "created_at", "kind", "actor", "file_name", "short_detail"]
    list_filter = ["kind", MonthFilter]
    search_fields = ["tenant_id", "actor", "file_name", "detail"]
    ordering = ["-created_at", "-pk"]
    paginator = CappedPaginator
    show_full_result_count = False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A tenant's id finds its own lines, by an index; anything else is searched in all."""
        of_tenant = queryset.filter(tenant_id=search_term.strip())
        if search_term.strip() and of_tenant.exists():
            return of_tenant, False
        return super().get_search_results(request, queryset, search_term)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        if changelist.result_count >= CappedPaginator.MOST:
            text = _("The newest %(count)d lines of the history")
            changelist.title = text % {"count": CappedPaginator.MOST}
        return changelist

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @admin.display(description=gettext_lazy("detail"))
    def short_detail(self, event: Event) -> str:
        return truncatechars(event.said, SHORT)
