"""The tenant provider: the class through which the host project tells us of its tenants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from django.http import HttpRequest

from tenant_backup.exceptions import TenantNotFound
from tenant_backup.tenants.operators import find_by_database, is_operator_by_default
from tenant_backup.tenants.tenant import Tenant

VIEW: Final = "view"
CREATE: Final = "create"
DELETE: Final = "delete"
DOWNLOAD: Final = "download"
CONFIGURE: Final = "configure"

ACTIONS: Final = (VIEW, CREATE, DELETE, DOWNLOAD, CONFIGURE)
"""What `TenantProvider.has_permission` is asked about."""


class TenantProvider(ABC):
    """What a host project tells about its tenants. Subclass it and name the class in the settings.

    One instance serves a whole process, so keep no request's state on `self`.
    """

    @abstractmethod
    def all_tenants(self) -> Iterable[Tenant]:
        """Every tenant whose data is to be backed up."""

    def get_tenant(self, tenant_id: str) -> Tenant:
        """The tenant of this id; raises `TenantNotFound`. Override it where that can be faster."""
        for tenant in self.all_tenants():
            if tenant.id == tenant_id:
                return tenant
        raise TenantNotFound("There is no tenant %(tenant)r.", tenant=tenant_id)

    @abstractmethod
    def tenant_for_request(self, request: HttpRequest) -> Tenant:
        """The tenant whose page is asked for; raises `TenantNotFound`, which is answered by 404."""

    def has_permission(self, request: HttpRequest, tenant: Tenant, action: str) -> bool:
        """Whether the request's user may do this to this tenant's backups.

        `action` is one of `VIEW`, `CREATE`, `DELETE` (which includes pinning), `DOWNLOAD` and
        `CONFIGURE`. Nobody may do anything until the host says otherwise.
        """
        return False

    def tenant_of(self, database: Path) -> Tenant | None:
        """The tenant whose database is this file; None where it is nobody's.

        Override it where that can be faster than a look at every tenant.
        """
        return find_by_database(self.all_tenants(), database)

    def is_operator(self, request: HttpRequest) -> bool:
        """Whether the request's user looks after all tenants, and not only after one.

        An operator may use the Django admin of the backups, which has those of all tenants, and
        sees paths and commands on the page. What an operator may do there, the model permissions
        say. Override it where the users of all tenants are in one database.
        """
        return is_operator_by_default(self, request)
