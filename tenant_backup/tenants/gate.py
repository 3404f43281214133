"""The gate: every question to the host's provider goes through it, and only valid tenants pass.

Nothing else in the app asks the provider. An invalid tenant is reported everywhere by the message
of its `InvalidTenant`, and harms no other tenant.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from tenant_backup.conf import conf
from tenant_backup.exceptions import InvalidTenant, TenantNotFound
from tenant_backup.tenants.links import on_the_site, require_web_address
from tenant_backup.tenants.operators import is_operator_by_default, tenant_of_database
from tenant_backup.tenants.provider import TenantProvider
from tenant_backup.tenants.tenant import Tenant, validate

logger = logging.getLogger("tenant_backup")


@dataclass(frozen=True, slots=True)
class Listing:
    """What the provider lists: the valid tenants, and why each of the others is invalid."""

    tenants: list[Tenant] = field(default_factory=list)
    invalid: list[InvalidTenant] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tenants) + len(self.invalid)

    @property
    def ids(self) -> set[str]:
        """The ids of all tenants, valid or not, except ids that are invalid themselves."""
        return {tenant.id for tenant in self.tenants} | {
            error.tenant_id for error in self.invalid if error.tenant_id
        }


@cache
def _provider(dotted_path: str) -> TenantProvider:
    provider: TenantProvider = import_string(dotted_path)()
    return provider


def get_provider() -> TenantProvider:
    """The host's tenant provider; raises `ImportError` if `TENANT_PROVIDER` names no class."""
    return _provider(conf.TENANT_PROVIDER)


def list_tenants() -> Listing:
    """All tenants of the provider. Raises what the host's code raises."""
    listing = Listing()
    for given in get_provider().all_tenants():
        try:
            listing.tenants.append(validate(given))
        except InvalidTenant as error:
            listing.invalid.append(error)
    return listing


def get_tenant(tenant_id: str) -> Tenant:
    """The tenant with this id.

    Raises `TenantNotFound`, `InvalidTenant`, and what the host's code raises.
    """
    return validate(get_provider().get_tenant(tenant_id))


def tenant_or_none(tenant_id: str) -> Tenant | None:
    """The tenant; None if it is gone or invalid, or if the host's code fails, which is logged."""
    try:
        return get_tenant(tenant_id)
    except TenantNotFound:
        pass
    except InvalidTenant as error:
        logger.error("Skipping tenant %r: %s", tenant_id, error)
    except Exception:
        logger.exception("The tenant provider failed with tenant %r.", tenant_id)
    return None


def tenant_for_request(request: HttpRequest) -> Tenant:
    """The tenant whose page is requested.

    Raises `TenantNotFound`, `InvalidTenant` with what was `given`, and what the host's code does.
    """
    given = get_provider().tenant_for_request(request)
    try:
        return validate(given)
    except InvalidTenant as error:
        error.given = given
        raise


def find_tenant(database: Path) -> Tenant | None:
    """The tenant whose database is this file, or None.

    Raises `InvalidTenant`, and what the host's code raises.
    """
    found = tenant_of_database(get_provider(), database)
    return None if found is None else validate(found)


def has_permission(request: HttpRequest, tenant: Tenant, action: str) -> bool:
    """Whether the request's user may do this (one of `ACTIONS`) with this tenant's backups."""
    return bool(get_provider().has_permission(request, tenant, action))


def is_operator(request: HttpRequest) -> bool:
    """Whether the request's user is an operator. The provider is asked once per request."""
    kept: dict[str, Any] = vars(request)
    user, answer = kept.get("_tenant_backup_operator", (None, False))
    if user is None or user is not request.user:
        provider = get_provider()
        # The host's class need not be a subclass of ours, so it may lack this method.
        ask = getattr(provider, "is_operator", None)
        answer = bool(ask(request) if ask else is_operator_by_default(provider, request))
        kept["_tenant_backup_operator"] = request.user, answer
    return bool(answer)


def check_of_data() -> Callable[[Tenant, Connection], object] | None:
    """The host's own check of a backup's data; None if it has none.

    Raises `ImportError` if `TENANT_PROVIDER` names no class.
    """
    # The host's class need not be a subclass of ours, so it may lack this method.
    ask = getattr(get_provider(), "check_restored", None)
    is_ours = getattr(ask, "__func__", None) is TenantProvider.check_restored
    return None if is_ours else ask


def url_for(tenant: Tenant) -> str | None:
    """The address of the tenant's page, or None if nobody knows it.

    A mistake of the host's code is logged and costs no more than the link.
    """
    try:
        # The host's class need not be a subclass of ours, so it may lack this method.
        ask = getattr(get_provider(), "url_for", None)
        given = ask(tenant) if ask else None
        if given is None:
            return on_the_site()
        return require_web_address(given) if given else None
    except Exception:
        logger.exception("The tenant provider gives no address for tenant %r.", tenant.id)
        return None
