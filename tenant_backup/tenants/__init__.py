"""Tenants, and the provider through which the host project lists them.

This app assumes nothing about how a project does tenancy: it knows a tenant by its id and by the
paths of its directory and its database. Paths, not aliases of `DATABASES`: an alias registered
during a request does not exist in a worker or in a command.

The rest of the app asks the gate (`gate.py`), which lets only valid tenants pass.
"""

from tenant_backup.exceptions import InvalidTenant, TenantNotFound
from tenant_backup.tenants.databases import sqlite_file
from tenant_backup.tenants.gate import (
    Listing,
    check_of_data,
    find_tenant,
    get_provider,
    get_tenant,
    has_permission,
    is_operator,
    list_tenants,
    tenant_for_request,
    tenant_or_none,
    url_for,
)
from tenant_backup.tenants.links import on_the_site
from tenant_backup.tenants.provider import (
    ACTIONS,
    CONFIGURE,
    CREATE,
    DELETE,
    DOWNLOAD,
    VIEW,
    TenantProvider,
)
from tenant_backup.tenants.ready_made import (
    DatabaseTenants,
    DirectoryTenants,
    HostNameTenants,
    SingleTenant,
)
from tenant_backup.tenants.tenant import ID_LENGTH, Tenant, validate

__all__ = [
    "ACTIONS",
    "CONFIGURE",
    "CREATE",
    "DELETE",
    "DOWNLOAD",
    "ID_LENGTH",
    "VIEW",
    "DatabaseTenants",
    "DirectoryTenants",
    "HostNameTenants",
    "InvalidTenant",
    "Listing",
    "SingleTenant",
    "Tenant",
    "TenantNotFound",
    "TenantProvider",
    "check_of_data",
    "find_tenant",
    "get_provider",
    "get_tenant",
    "has_permission",
    "is_operator",
    "list_tenants",
    "on_the_site",
    "sqlite_file",
    "tenant_for_request",
    "tenant_or_none",
    "url_for",
    "validate",
]
