"""What a tenant is, and when one is valid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from django.conf import settings

from tenant_backup.exceptions import InvalidTenant

ID_LENGTH = 255
"""Characters of a tenant id, at most."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose data it is.

    `id` is any text, stable, unique and never used again for another tenant. `root` is the
    tenant's directory, which no other tenant shares; `database` is its SQLite file, often but not
    always in `root`. Both are absolute. `time_zone` is an IANA name, or None for the project's.
    """

    id: str
    name: str
    root: Path
    database: Path
    time_zone: str | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which this tenant's days begin and end."""
        return ZoneInfo(self.time_zone or settings.TIME_ZONE)


def validate(tenant: object) -> Tenant:
    """The tenant itself; raises `InvalidTenant`, which says why it cannot be backed up."""
    if not isinstance(tenant, Tenant):
        # What the host's code returns is not always what its types say.
        raise InvalidTenant("The tenant provider gave %(what)r instead of a Tenant.", what=tenant)
    if not isinstance(tenant.id, str) or not 1 <= len(tenant.id) <= ID_LENGTH:
        raise InvalidTenant(
            "The tenant id %(tenant)r must be text of 1 to %(most)d characters.",
            tenant=tenant.id,
            most=ID_LENGTH,
        )
    try:
        tenant.id.encode()
    except UnicodeEncodeError:
        raise InvalidTenant(
            "The tenant id %(tenant)r is no valid text.", tenant=tenant.id
        ) from None
    for what, path in (("root", tenant.root), ("database", tenant.database)):
        if not isinstance(path, Path) or not path.is_absolute() or "\0" in str(path):
            raise InvalidTenant(
                "The %(what)s of tenant %(tenant)r must be an absolute Path, not %(path)r.",
                tenant_id=tenant.id,
                what=what,
                tenant=tenant.id,
                path=path,
            )
    try:
        tenant.zone  # noqa: B018
    except (ValueError, OSError, KeyError):
        raise InvalidTenant(
            "The time zone %(zone)r of tenant %(tenant)r is not known.",
            tenant_id=tenant.id,
            zone=tenant.time_zone,
            tenant=tenant.id,
        ) from None
    return tenant
