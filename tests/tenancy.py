"""The tests' tenant provider: a test says which tenants there are."""

from tenant_backup.tenants import TenantProvider


class Tenants(TenantProvider):
    tenants: list = []

    def all_tenants(self):
        return list(self.tenants)

    def tenant_for_request(self, request):
        return self.get_tenant("acme")
