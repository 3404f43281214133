"""The gate: what the host's tenant provider says, and only valid tenants pass.

Nothing else in the app asks the provider. A tenant that is not valid is reported in the words of
its `InvalidTenant` and harms no other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from tenant_backup.conf import conf
from tenant_backup.exceptions import InvalidTenant
from tenant_backup.tenants.operators import find_by_database, is_operator_by_default
from tenant_backup.tenants.provider import TenantProvider
from tenant_backup.tenants.tenant import Tenant, validate


@dataclass(frozen=True, slots=True)
class Listing:
    """What the provider lists: the valid tenants, and why the others are not."""

    tenants: list[Tenant] = field(default_factory=list)
    invalid: list[InvalidTenant] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tenants) + len(self.invalid)

    @property
    def ids(self) -> set[str]:
        """The ids of all of them, valid or not."""
        return {tenant.id for tenant in self.tenants} | {
            error.tenant_id for error in self.invalid if error.tenant_id
        }


def split(given: Iterable[object]) -> Listing:
    """Tell the valid tenants from the others."""
    listing = Listing()
    for candidate in given:
        try:
            listing.tenants.append(validate(candidate))
        except InvalidTenant as error:
            listing.invalid.append(error)
    return listing


@cache
def _provider(dotted_path: str) -> TenantProvider:
    provider: TenantProvider = import_string(dotted_path)()
    return provider


def get_provider() -> TenantProvider:
    """The host's tenant provider; raises `ImportError` where the setting names no class."""
    return _provider(conf.TENANT_PROVIDER)


def list_tenants() -> Listing:
    """All tenants of the provider. Raises whatever the host's code raises."""
    return split(get_provider().all_tenants())


def get_tenant(tenant_id: str) -> Tenant:
    """The tenant of this id; raises `TenantNotFound` or `InvalidTenant`, and what the host does."""
    return validate(get_provider().get_tenant(tenant_id))


def tenant_for_request(request: HttpRequest) -> Tenant:
    """The tenant whose page is asked for; raises `TenantNotFound` or `InvalidTenant`."""
    return validate(get_provider().tenant_for_request(request))


def find_tenant(database: Path) -> Tenant | None:
    """The tenant whose database is this file; None where it is nobody's."""
    provider = get_provider()
    ask = getattr(provider, "tenant_of", None)
    found = ask(database) if ask else find_by_database(provider.all_tenants(), database)
    return None if found is None else validate(found)


def has_permission(request: HttpRequest, tenant: Tenant, action: str) -> bool:
    """Whether the request's user may do this to this tenant's backups."""
    return bool(get_provider().has_permission(request, tenant, action))


def is_operator(request: HttpRequest) -> bool:
    """What the host's provider says of the request's user. It is asked once a request."""
    kept: dict[str, Any] = vars(request)
    user, answer = kept.get("_tenant_backup_operator", (None, False))
    if user is None or user is not request.user:
        provider = get_provider()
        # The host's class may be older than this method, and need not be a subclass of ours.
        ask = getattr(provider, "is_operator", None)
        answer = bool(ask(request) if ask else is_operator_by_default(provider, request))
        kept["_tenant_backup_operator"] = request.user, answer
    return bool(answer)
