"""Who may see a tenant's pages, and who may change what is on them."""

from django.contrib.auth.models import AnonymousUser, User

from example_project.control.models import Membership
from tenant_backup.tenants import Tenant


def is_member(user: User | AnonymousUser, tenant: Tenant) -> bool:
    """Whether the user works for the tenant, in any role, or is the operator."""
    return _has_role(user, tenant, list(Membership.Role))


def is_administrator(user: User | AnonymousUser, tenant: Tenant) -> bool:
    """Whether the user administers the tenant, or is the operator, who administers all."""
    return _has_role(user, tenant, [Membership.Role.ADMINISTRATOR])


def _has_role(user: User | AnonymousUser, tenant: Tenant, roles: list[Membership.Role]) -> bool:
    if isinstance(user, AnonymousUser) or not user.is_active:
        return False
    return (
        user.is_superuser
        or user.memberships.filter(tenant__slug=tenant.id, role__in=roles).exists()
    )
