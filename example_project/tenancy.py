"""Tenants by subdomain, each with a SQLite database of its own.

Every multi-tenant project has something like this. Only the class `Tenants`, at the end, is for the
backups.
"""

import copy
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from example_project.control.access import is_administrator
from example_project.control.models import Customer
from tenant_backup.tenants import Tenant, TenantNotFound, TenantProvider

DOMAIN = "localhost"
ALIAS_PREFIX = "tenant_"

IN_THEIR_OWN_LOOK = {"globex"}
"""Tenants whose backup page looks like their site. The others' looks like Django's admin."""

_current: ContextVar[Tenant | None] = ContextVar("current_tenant", default=None)
_registering = Lock()


class NoTenantError(RuntimeError):
    """A tenant's data was requested while no tenant is set."""


def current_tenant() -> Tenant | None:
    """The tenant of the request, or None on the bare host and outside requests."""
    return _current.get()


@contextmanager
def tenant_context(tenant: Tenant) -> Iterator[None]:
    """Inside this block the models of `business` use the tenant's database."""
    token = _current.set(tenant)
    try:
        yield
    finally:
        _current.reset(token)


def tenant_in_templates(request: HttpRequest) -> dict[str, Any]:
    """A context processor: the name at the top of each page, and the frame of the backup page."""
    tenant = current_tenant()
    is_in_own_look = tenant is not None and tenant.id in IN_THEIR_OWN_LOOK
    frame = "example/backup_frame.html" if is_in_own_look else "tenant_backup/base.html"
    return {"current_tenant": tenant, "backup_frame": frame}


def database_alias(tenant: Tenant) -> str:
    """The alias of the tenant's database, registered on first use."""
    alias = f"{ALIAS_PREFIX}{tenant.id}"
    with _registering:
        if alias not in connections.settings:
            database = copy.deepcopy(connections.settings[DEFAULT_DB_ALIAS])
            database["NAME"] = tenant.database
            # A new dict, because other threads iterate over this one at the end of each request.
            connections.settings = {**connections.settings, alias: database}
    return alias


class TenantRouter:
    """Sends the models of `business` to the current tenant's database, and decides nothing else."""

    app_label = "business"

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        if model._meta.app_label != self.app_label:
            return None
        tenant = current_tenant()
        if tenant is None:
            raise NoTenantError(
                f"{model._meta.object_name} is in the tenants' databases, and no tenant is set. "
                "Use tenant_context()."
            )
        return database_alias(tenant)

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db.startswith(ALIAS_PREFIX) == (app_label == self.app_label)


class TenantMiddleware:
    """Sets the tenant of the request, by the subdomain, and the tenant's time zone."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        host, _port = split_domain_port(request.get_host())
        subdomain = host.removesuffix(f".{DOMAIN}")
        if subdomain == host:
            return self.get_response(request)
        try:
            tenant = Customer.objects.get(slug=subdomain).tenant
        except Customer.DoesNotExist:
            return render(request, "example/unknown_tenant.html", {"name": subdomain}, status=404)
        with tenant_context(tenant), timezone.override(tenant.time_zone):
            return self.get_response(request)


class Tenants(TenantProvider):
    """The tenants and permissions that `tenant_backup` asks for."""

    def all_tenants(self) -> Iterable[Tenant]:
        return [customer.tenant for customer in Customer.objects.all()]

    def get_tenant(self, tenant_id: str) -> Tenant:
        try:
            return Customer.objects.get(slug=tenant_id).tenant
        except Customer.DoesNotExist:
            raise TenantNotFound(f"There is no tenant {tenant_id!r}.") from None

    def tenant_for_request(self, request: HttpRequest) -> Tenant:
        tenant = current_tenant()
        if tenant is None:
            raise TenantNotFound(f"The address {request.get_host()} names no tenant.")
        return tenant

    def has_permission(self, request: HttpRequest, tenant: Tenant, action: str) -> bool:
        return is_administrator(request.user, tenant)

    def url_for(self, tenant: Tenant) -> str | None:
        """In a mail there is no request, so the settings say where the site is."""
        site = urlsplit(settings.SITE_URL)
        page = reverse("tenant_backup:overview")
        return f"{site.scheme}://{tenant.id}.{site.netloc}{page}"

    def check_restored(self, tenant: Tenant, connection: sqlite3.Connection) -> None:
        """Whether what rows refer to is there, which the check of a file does not look at."""
        for table, _row, parent, _key in connection.execute("PRAGMA foreign_key_check"):
            raise ValueError(f"A row of {table} refers to a row of {parent} that is gone.")
