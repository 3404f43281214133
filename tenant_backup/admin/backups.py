"""The catalog: all backups of all tenants, to look at, to delete and to pin."""

import logging
from collections import defaultdict
from functools import partial
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.models import LogEntry
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import truncatechars
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy, pgettext_lazy

from tenant_backup import backups
from tenant_backup.admin.base import (
    SHORT,
    CatalogAdmin,
    Problem,
    light,
    may_see,
    with_detail,
)
from tenant_backup.exceptions import BackupError
from tenant_backup.files import size_in_words
from tenant_backup.models import Backup, BackupSettings, Status
from tenant_backup.tenants import get_tenant
from tenant_backup.views.access import id_or_none, user_name

logger = logging.getLogger("tenant_backup")

MOST = 100
"""Backups that are deleted at once at most: each removes files, and a request must end soon."""


def condition_of(backup: Backup) -> str:
    """The status, what has since been found out about the file, and the error."""
    tone = "good" if backup.is_good else "error" if backup.status == Status.FAILED else "neutral"
    words = [str(backup.get_status_display())]
    if backup.future_at:
        tone = "warning"
        words.append(_("dated in the future"))
    if backup.check_error:
        tone = "warning"
        words.append(_("check of its data failed"))
    for found_at, found in (
        (backup.missing_at, _("file missing")),
        (backup.damaged_at, _("file damaged")),
    ):
        if found_at:
            tone = "error"
            words.append(found)
    return with_detail(light(tone, ", ".join(words)), truncatechars(backup.reason, SHORT))


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
    """A row says what happened, so nobody edits it. The use cases pin and delete."""

    list_display = [
        "tenant_id",
        "condition",
        "created_at",
        "size_in_words",
        "cause",
        "pin_sign",
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
                    "check_error",
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

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @admin.display(description=gettext_lazy("size"), ordering="size")
    def size_in_words(self, backup: Backup) -> str:
        return size_in_words(backup.size) if backup.size else self.get_empty_value_display()

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def condition(self, backup: Backup) -> str:
        return condition_of(backup)

    @admin.display(description=gettext_lazy("trigger"), ordering="trigger")
    def cause(self, backup: Backup) -> str:
        """The trigger, and the label."""
        return with_detail(str(backup.get_trigger_display()), backup.label)

    @admin.display(description=gettext_lazy("pinned"), ordering="pinned")
    def pin_sign(self, backup: Backup) -> str:
        """Nothing if it is not pinned: Django's red cross would make that look like a fault."""
        return _("pinned") if backup.pinned else ""

    @admin.action(
        permissions=["delete"],
        description=gettext_lazy("Delete selected %(verbose_name_plural)s"),
    )
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Backup]
    ) -> HttpResponse | None:
        """As Django's, but without its message, which always says that all were deleted.

        Each deletion removes files, so that one request is about so many at most, the
        oldest ones.
        """
        number = queryset.count()
        oldest = queryset.order_by("created_at", "pk").values_list("pk", flat=True)
        queryset = queryset.filter(pk__in=list(oldest[:MOST]))
        if left := max(0, number - MOST):
            text = ngettext(
                "At most %(most)d backups are deleted at once, the oldest first. %(count)d more "
                "that you selected is left: select it again afterwards.",
                "At most %(most)d backups are deleted at once, the oldest first. %(count)d more "
                "that you selected are left: select them again afterwards.",
                left,
            )
            self.message_user(request, text % {"most": MOST, "count": left}, messages.WARNING)
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
        """Nothing: Django calls this before anything is deleted. See `_delete`."""
        return []

    def response_delete(
        self, request: HttpRequest, obj_display: str, obj_id: int
    ) -> HttpResponseRedirect:
        """Back to where it was chosen, without a message: `_delete` says what happened."""
        row_id = id_or_none(request.GET.get("hub", ""))
        if row_id is not None and may_see(request, BackupSettings):
            return HttpResponseRedirect(self.address_of(BackupSettings, "change", row_id))
        if not self.has_view_permission(request):
            return HttpResponseRedirect(reverse("admin:index", current_app=self.admin_site.name))
        url = add_preserved_filters(
            {"preserved_filters": self.get_preserved_filters(request), "opts": self.opts},
            self.address_of(Backup, "changelist"),
        )
        return HttpResponseRedirect(url)

    def _delete(self, request: HttpRequest, rows: list[Backup]) -> None:
        """Tenant by tenant, so that the lock of each is taken, or waited for, only once."""
        deleted: list[Backup] = []
        problems: list[Problem] = []
        chosen: defaultdict[str, list[Backup]] = defaultdict(list)
        for row in rows:
            chosen[row.tenant_id].append(row)
        for tenant_id, theirs in chosen.items():
            try:
                done = backups.delete_all(get_tenant(tenant_id), theirs, actor=user_name(request))
                problems += [(tenant_id, error) for error in done.errors]
                gone = {backup.pk for backup in done.backups}
            except Exception as error:
                if not isinstance(error, BackupError):
                    logger.exception("Failed in the admin, for tenant %r.", tenant_id)
                problems.append((tenant_id, error))
                left = Backup.objects.filter(pk__in=[backup.pk for backup in theirs])
                gone = {backup.pk for backup in theirs} - set(left.values_list("pk", flat=True))
            deleted += [backup for backup in theirs if backup.pk in gone]
        self.tell(
            request,
            len(deleted),
            problems,
            done=ngettext_lazy(
                "%(count)d backup was deleted.", "%(count)d backups were deleted.", "count"
            ),
            not_done=_("A backup of %(tenant)s was not deleted: %(reason)s"),
        )
        if deleted:
            # Django itself calls it with a list too.
            super().log_deletions(request, cast("QuerySet[Backup]", deleted))

    @admin.action(permissions=["delete"], description=gettext_lazy("Pin selected backups"))
    def pin(self, request: HttpRequest, queryset: QuerySet[Backup]) -> None:
        self.for_each(
            request,
            queryset,
            partial(backups.pin, pinned=True, actor=user_name(request)),
            done=ngettext_lazy(
                "%(count)d backup is pinned.", "%(count)d backups are pinned.", "count"
            ),
            not_done=_("A backup of %(tenant)s was not pinned: %(reason)s"),
        )

    @admin.action(permissions=["delete"], description=gettext_lazy("Unpin selected backups"))
    def unpin(self, request: HttpRequest, queryset: QuerySet[Backup]) -> None:
        self.for_each(
            request,
            queryset,
            partial(backups.pin, pinned=False, actor=user_name(request)),
            done=ngettext_lazy(
                "%(count)d backup is no longer pinned.",
                "%(count)d backups are no longer pinned.",
                "count",
            ),
            not_done=_("A backup of %(tenant)s was not unpinned: %(reason)s"),
        )
