"""The tests' tenant providers."""

import os
from pathlib import Path

from tenant_backup.tenants import DirectoryTenants, Tenant, TenantProvider


class Tenants(TenantProvider):
    """A test says which tenants there are."""

    tenants: list[Tenant] = []

    def all_tenants(self):
        return list(self.tenants)

    def tenant_for_request(self, request):
        return self.get_tenant("acme")


class Folders(DirectoryTenants):
    """The tenants of a host that runs as real processes, see `tests.host_settings`."""

    directory = Path(os.environ.get("TEST_HOST", "")) / "tenants"
