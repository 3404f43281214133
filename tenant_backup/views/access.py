"""Who may call a view, and which backups a request may name: only those of its own tenant."""

import logging
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_protect

from tenant_backup import languages
from tenant_backup.addresses import our_arguments
from tenant_backup.languages import messages
from tenant_backup.models import Backup
from tenant_backup.tenants import (
    InvalidTenant,
    Tenant,
    TenantNotFound,
    has_permission,
    tenant_for_request,
)
from tenant_backup.views.login import to_login
from tenant_backup.views.responses import back

logger = logging.getLogger("tenant_backup")

View = Callable[..., HttpResponseBase]

ID = "[0-9]{1,18}"
"""A longer number is no id: databases cannot compare a key with it."""


class EveryAlias(set[str]):
    """A set of database aliases that contains each one, even one that is registered later."""

    def __contains__(self, alias: object) -> bool:
        return True


def tenant_view(action: str) -> Callable[[View], View]:
    """Call a view with the tenant of the request, in its time zone, for users who may do this.

    The view gets only the arguments that our own routes capture, not those of the host's prefix.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, **arguments: Any) -> HttpResponseBase:
            try:
                tenant = tenant_for_request(request)
            except TenantNotFound as error:
                raise Http404(str(error)) from error
            except InvalidTenant as error:
                if not request.user.is_authenticated:
                    return to_login(request)
                if isinstance(error.given, Tenant):
                    require(request, error.given, action)
                # The operator's log says what is wrong, before anything else fails because of it.
                raise ImproperlyConfigured(str(error)) from error
            if not request.user.is_authenticated:
                return to_login(request)
            require(request, tenant, action)
            with timezone.override(tenant.zone), languages.speaking():
                try:
                    return view(request, tenant, **our_arguments(arguments))
                except OperationalError as error:
                    if request.method != "POST":
                        raise
                    logger.exception("The catalog failed during %s.", request.path)
                    messages.error(request, _catalog_trouble(error))
                    return back(request)

        # No transaction of ATOMIC_REQUESTS may be open around our views. django-q2's ORM broker
        # closes the connections that it finds unusable when it is handed a task, and one inside
        # `atomic()` looks so: on any alias but its own, what the host wrote there would be rolled
        # back without a word. Django asks `alias not in view._non_atomic_requests` of every alias
        # that there is at that moment, and a tenant's alias may be registered by then or not: so
        # not a list of names, but a set that contains every one.
        answer._non_atomic_requests = EveryAlias()  # type: ignore[attr-defined]
        # Here, too, for a host without the middleware. It also sets the cookie for our forms.
        return csrf_protect(answer)

    return decorate


def require(request: HttpRequest, tenant: Tenant, action: str) -> None:
    """Raise `PermissionDenied` unless the user may do this with the tenant's backups."""
    if not has_permission(request, tenant, action):
        raise PermissionDenied


def user_name(request: HttpRequest) -> str:
    """The user's name as the catalog stores it."""
    return request.user.get_username()[:255]


def backup_or_404(tenant_id: str, text: str) -> Backup:
    """The backup of this tenant, and of no other, that a form or an address names."""
    return get_object_or_404(Backup.objects.for_tenant(tenant_id), pk=id_or_404(text))


def all_or_404(request: HttpRequest, tenant: Tenant) -> list[Backup]:
    """Every backup that a form names, newest first; 404 if one of them is not there."""
    ids = {id_or_404(text) for text in request.POST.getlist("backup")}
    found = list(Backup.objects.for_tenant(tenant.id).newest_first().filter(pk__in=ids))
    if len(found) < len(ids):
        raise Http404("There is no such backup.")
    return found


def backup_or_none(tenant: Tenant, text: str) -> Backup | None:
    """The backup that a page was waiting for, which may be gone by now."""
    number = id_or_none(text)
    if number is None:
        return None
    return Backup.objects.for_tenant(tenant.id).filter(pk=number).first()


def id_or_none(text: str) -> int | None:
    return int(text) if re.fullmatch(ID, text) else None


def id_or_404(text: str) -> int:
    number = id_or_none(text)
    if number is None:
        raise Http404("There is no such backup.")
    return number


def _catalog_trouble(error: OperationalError) -> str:
    # For example a lock, while the database that the catalog lies in is being copied.
    text = gettext("The list of backups could not be changed (%(reason)s). Try again in a moment.")
    return text % {"reason": error}
