"""Operators: who manages the backups of all tenants, where the host does not say."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from django.http import HttpRequest
from django.utils.connection import ConnectionDoesNotExist

from tenant_backup.conf import conf
from tenant_backup.tenants.databases import is_same_file, sqlite_file
from tenant_backup.tenants.tenant import Tenant

logger = logging.getLogger("tenant_backup")


class Provider(Protocol):
    """What is asked of a tenant provider here."""

    def all_tenants(self) -> Iterable[Tenant]: ...

    def tenant_for_request(self, request: HttpRequest) -> Tenant: ...


def is_operator_by_default(provider: Provider, request: HttpRequest) -> bool:
    return has_operator_permissions(request) and not _is_user_of_tenant(provider, request)


def has_operator_permissions(request: HttpRequest) -> bool:
    """The admin's rule: a superuser, or staff with a permission on one of our models."""
    user: Any = request.user
    if not user.is_active:
        return False
    # A host's own user model may lack these.
    if getattr(user, "is_superuser", False):
        return True
    return bool(getattr(user, "is_staff", False) and user.has_module_perms("tenant_backup"))


def _is_user_of_tenant(provider: Provider, request: HttpRequest) -> bool:
    """Whether the user was loaded from a tenant's database, or from an unknown one.

    Such a user is a superuser of that tenant only, even if the tenant is invalid. Users from the
    database that holds the catalog are let in: they have all backups anyway.
    """
    alias = getattr(getattr(request.user, "_state", None), "db", None)
    if alias is None:
        return True
    if alias == conf.CATALOG_DATABASE:
        return False
    try:
        file = sqlite_file(alias)
        catalog = sqlite_file(conf.CATALOG_DATABASE)
    except ConnectionDoesNotExist:
        return True
    if file is None or (catalog is not None and is_same_file(file, catalog)):
        return False
    try:
        # Users from a tenant's database mostly visit that tenant's address. This spares a look at
        # all the other tenants.
        if is_same_file(file, provider.tenant_for_request(request).database):
            return True
    except Exception:
        logger.debug("The request names no tenant.", exc_info=True)
    try:
        return tenant_of_database(provider, file) is not None
    except Exception:
        logger.exception("The tenant provider cannot say whose database %s is.", file)
        return True


def tenant_of_database(provider: Provider, database: Path) -> Tenant | None:
    """The tenant whose database is this file, as the provider gives it: it may be invalid."""
    # The host's class need not be a subclass of ours, so it may lack this method.
    ask = getattr(provider, "tenant_of", None)
    return ask(database) if ask else find_by_database(provider.all_tenants(), database)


def find_by_database(given: Iterable[Tenant], database: Path) -> Tenant | None:
    """The one among these whose database is this file, or None. It may be invalid."""
    for candidate in given:
        path = getattr(candidate, "database", None)
        if isinstance(path, Path) and is_same_file(path, database):
            return candidate
    return None
