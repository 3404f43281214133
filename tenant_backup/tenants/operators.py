"""Operators: who looks after all tenants, where the host does not say."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.utils.connection import ConnectionDoesNotExist

from tenant_backup.conf import conf
from tenant_backup.exceptions import InvalidTenant
from tenant_backup.tenants.databases import is_same_file, sqlite_file
from tenant_backup.tenants.tenant import Tenant, validate

if TYPE_CHECKING:
    from tenant_backup.tenants.provider import TenantProvider

logger = logging.getLogger("tenant_backup")


def is_operator_by_default(provider: TenantProvider, request: HttpRequest) -> bool:
    return has_operator_permissions(request) and not _is_user_of_tenant(provider, request)


def has_operator_permissions(request: HttpRequest) -> bool:
    """As the admin asks: a superuser, or staff with a permission on one of our models."""
    user: Any = request.user
    if not user.is_active:
        return False
    # A host's own model of users need not have these.
    if getattr(user, "is_superuser", False):
        return True
    return bool(getattr(user, "is_staff", False) and user.has_module_perms("tenant_backup"))


def _is_user_of_tenant(provider: TenantProvider, request: HttpRequest) -> bool:
    """Whether the user was loaded from a tenant's database, or from nobody knows where.

    Such a user is superuser of that tenant alone. Where the catalog is in a tenant's database, the
    users of that one are not kept out: whoever has the catalog has all backups anyway.
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
        # Users of a tenant's own database are mostly at that tenant's address: then nobody else
        # need be asked about.
        if is_same_file(file, provider.tenant_for_request(request).database):
            return True
    except Exception:
        logger.debug("The request is at no tenant's address.", exc_info=True)
    try:
        ask = getattr(provider, "tenant_of", None)
        return (ask(file) if ask else find_by_database(provider.all_tenants(), file)) is not None
    except Exception:
        logger.exception("The tenant provider cannot say whose database %s is.", file)
        return True


def find_by_database(given: Iterable[Tenant], database: Path) -> Tenant | None:
    """The valid tenant among these whose database is this file; None where it is nobody's."""
    for candidate in given:
        try:
            tenant = validate(candidate)
        except InvalidTenant:
            continue
        if is_same_file(tenant.database, database):
            return tenant
    return None
