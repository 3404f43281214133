"""What the pages in the admin share: they are for operators, and an action works row by row.

Permissions on these models count for every tenant. So the tenant provider says who is an operator,
and nobody else gets in, not even with these permissions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, BackupInProgress
from tenant_backup.models import Automation, Backup, BackupSettings, Event
from tenant_backup.tenants import Tenant, get_tenant, is_operator

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

logger = logging.getLogger("tenant_backup")

Row = TypeVar("Row", Backup, BackupSettings)
Result = TypeVar("Result")
Problem = tuple[str, Exception]
"""The id of a tenant, and what went wrong with it."""

SHORT = 100
"""Characters of an error or a detail that a list shows."""

AT_ONCE = 5
"""Backups that one request makes or reads at most where no worker does it, and only small ones."""

LINES_OF_HISTORY = 50

FEW = 10
"""Problems that get a message each; nobody reads more."""

SIGNS = {"good": "\N{CHECK MARK}", "warning": "!", "error": "\N{MULTIPLICATION X}", "neutral": "·"}


class CatalogAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """For operators only. Rows are made by the use cases, never added here."""

    class Media:
        css = {"all": ["tenant_backup/admin.css"]}

    def has_module_permission(self, request: HttpRequest) -> bool:
        # The cheap question first: the admin asks it for each page, of other apps too.
        return super().has_module_permission(request) and is_operator(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_view_permission(request, obj) and is_operator(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_change_permission(request, obj) and is_operator(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_delete_permission(request, obj) and is_operator(request)

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """The index has one entry, the list of all tenants, which leads to all the others.

        Who may not see that list finds there what they may see.
        """
        if self.model is not BackupSettings and may_see(request, BackupSettings):
            return {}
        return super().get_model_perms(request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        lists = {"lists": self.lists(request)}
        return super().changelist_view(request, {**lists, **(extra_context or {})})

    def lists(self, request: HttpRequest) -> list[tuple[str, str, bool]]:
        """Our lists that the user may see, as (name, address, whether it is this one)."""
        names = {
            BackupSettings: _("All tenants"),
            Backup: _("All backups"),
            Event: pgettext("of backups", "History"),
            Automation: _("Automation"),
        }
        return [
            (name, self.address_of(model, "changelist"), self.model is model)
            for model, name in names.items()
            if self.admin_site.is_registered(model) and may_see(request, model)
        ]

    def address_of(self, model: type[Model], page: str, *arguments: object) -> str:
        """The address of a page of this site, such as the "changelist" of a model."""
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
        return reverse(name, args=arguments, current_app=self.admin_site.name)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Our history: what happened to the tenant or the backup, whoever did it and by what."""
        row = self.get_object(request, unquote(object_id))
        if not self.has_view_or_change_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404("There is no such row.")
        lines = Event.objects.for_tenant(getattr(row, "tenant_id", "")).newest_first()
        if isinstance(row, Backup):
            lines = lines.filter(backup_id=row.pk)
        page = Paginator(lines, LINES_OF_HISTORY).get_page(request.GET.get("page"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("History: %(object)s") % {"object": row},
            "opts": self.opts,
            "media": self.media,
            "original": row,
            "events": page,
            "page": page,
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/tenant_backup/object_history.html", context)

    def after_commit(self, work: Callable[[], None]) -> None:
        """Do it after the request's transaction, if there is one.

        A rollback does not undo changes to files, so they must not happen before one can. Django's
        delete view has a transaction; with `ATOMIC_REQUESTS` every view has.
        """
        transaction.on_commit(work, using=conf.CATALOG_DATABASE)

    def for_each(
        self,
        request: HttpRequest,
        rows: Iterable[Row],
        use_case: Callable[[Tenant, Row], Result],
        *,
        done: StrOrPromise,
        not_done: StrOrPromise,
    ) -> list[Result]:
        """Call the use case with each row and its tenant, and return the results.

        If it fails, the user gets the message `not_done`, with the `tenant` and the `reason`, and
        the next row follows. At the end the message `done` has the `count` of successes, if any.
        """
        results: list[Result] = []
        problems: list[Problem] = []
        find = cache(get_tenant)
        for row in rows:
            try:
                results.append(use_case(find(row.tenant_id), row))
            except Exception as error:
                if not isinstance(error, BackupError):
                    logger.exception("Failed in the admin, for tenant %r.", row.tenant_id)
                problems.append((row.tenant_id, error))
        self.tell(request, len(results), problems, done=done, not_done=not_done)
        return results

    def tell(
        self,
        request: HttpRequest,
        number: int,
        problems: Iterable[Problem],
        *,
        done: StrOrPromise,
        not_done: StrOrPromise,
    ) -> None:
        """Say what failed, a few of it one by one, and the number of successes, if any."""
        told: list[tuple[int, str]] = []
        for tenant_id, error in problems:
            if isinstance(error, BackupInProgress):
                text = _("Another process is working on the backups of %(tenant)s. Try again soon.")
                told.append((messages.INFO, text % {"tenant": tenant_id}))
                continue
            reason = str(error) or type(error).__name__
            told.append((messages.ERROR, not_done % {"tenant": tenant_id, "reason": reason}))
        for level, text in told[:FEW]:
            self.message_user(request, text, level)
        if more := len(told[FEW:]):
            text = ngettext("%(count)d more failed.", "%(count)d more failed.", more)
            self.message_user(request, text % {"count": more}, messages.ERROR)
        if number:
            self.message_user(request, done % {"count": number}, messages.SUCCESS)


def has_model_permission(request: HttpRequest, action: str, model: type[Model]) -> bool:
    """Whether the user is an operator with this permission ("add", "change" …) on the model."""
    codename = get_permission_codename(action, model._meta)
    permission = f"{model._meta.app_label}.{codename}"
    return request.user.has_perm(permission) and is_operator(request)


def may_see(request: HttpRequest, model: type[Model]) -> bool:
    """Whether the user may see the list of the model, as the admin decides it."""
    return any(has_model_permission(request, action, model) for action in ("view", "change"))


def light(tone: str, text: str) -> SafeString:
    """A state at a glance: by its colour, by its sign, and in words."""
    return format_html(
        '<span class="backup-light backup-light-{}"><span aria-hidden="true">{}</span> {}</span>',
        tone,
        SIGNS[tone],
        text,
    )


def with_detail(text: str, detail: str) -> str:
    """A cell of two lines, the second one small, or of one line if there is no detail."""
    if not detail:
        return text
    return format_html('{} <span class="backup-detail">{}</span>', text, detail)
