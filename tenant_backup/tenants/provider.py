"""The tenant provider: the class through which the host project lists its tenants."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from sqlite3 import Connection
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
"""All actions that `TenantProvider.has_permission` decides about."""


class TenantProvider(ABC):
    """Lists the host project's tenants. Subclass it and name the class in `TENANT_PROVIDER`.

    One instance serves a whole process, so keep nothing of a request on `self`.
    """

    @abstractmethod
    def all_tenants(self) -> Iterable[Tenant]:
        """Every tenant whose data is to be backed up."""

    def get_tenant(self, tenant_id: str) -> Tenant:
        """The tenant with this id; raises `TenantNotFound`.

        Override it if you have a faster way than to look at every tenant.
        """
        for tenant in self.all_tenants():
            if getattr(tenant, "id", None) == tenant_id:
                return tenant
        raise TenantNotFound("There is no tenant %(tenant)r.", tenant=tenant_id)

    @abstractmethod
    def tenant_for_request(self, request: HttpRequest) -> Tenant:
        """The tenant whose page is requested; raises `TenantNotFound`, which gives a 404."""

    def has_permission(self, request: HttpRequest, tenant: Tenant, action: str) -> bool:
        """Whether the request's user may do this with this tenant's backups.

        `action` is one of `VIEW`, `CREATE`, `DELETE` (which includes pinning), `DOWNLOAD` and
        `CONFIGURE`. By default nobody may do anything.
        """
        return False

    def tenant_of(self, database: Path) -> Tenant | None:
        """The tenant whose database is this file, or None.

        Override it if you have a faster way than to look at every tenant.
        """
        return find_by_database(self.all_tenants(), database)

    def is_operator(self, request: HttpRequest) -> bool:
        """Whether the request's user manages the backups of all tenants.

        Operators may use the Django admin of the backups, which shows all tenants, and see paths
        and commands on the page. The model permissions decide what they may do in the admin.
        Override this method if the users of all tenants are in one database.
        """
        return is_operator_by_default(self, request)

    def url_for(self, tenant: Tenant) -> str | None:
        """The address of the tenant's page of backups, for links in mails.

        None: it is `OPERATOR["SITE_URL"]` and the page's path. An empty text: there is no link.
        """
        return None

    def check_restored(self, tenant: Tenant, connection: Connection) -> None:  # noqa: B027
        """Look at the data of a backup: raise `ValueError("The books do not balance.")`, say.

        Override it to check what only the host knows. It is called when a backup was made, each
        time it is verified, and before it is restored, always after the check of the file itself.
        What it raises is a finding, and changes nothing else. `connection` reads the backup and
        cannot write. It has none of the host's functions and collations; those that the tables
        need must be registered on it first.
        """
