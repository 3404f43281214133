"""What a tenant is, and the rules by which one is valid."""

import reprlib
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from django.conf import settings

from tenant_backup.exceptions import InvalidTenant

ID_LENGTH = 255
"""The longest tenant id, in characters."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose data it is.

    `id` is any text, stable, unique and never used again for another tenant. `name` is shown to
    people. `root` is the tenant's directory, which no other tenant shares; `database` is its SQLite
    file, often but not always in `root`. Both are absolute. `time_zone` is an IANA name, or None
    for the project's `TIME_ZONE`.
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
    """Return the tenant, or raise `InvalidTenant`, which says why it cannot be backed up."""
    if not isinstance(tenant, Tenant):
        # The host's code may return something else than its type hints say.
        raise InvalidTenant(
            "The tenant provider gave %(what)s instead of a Tenant.", what=_shown(tenant)
        )
    if not isinstance(tenant.id, str) or not 1 <= len(tenant.id) <= ID_LENGTH:
        raise InvalidTenant(
            "The tenant id %(tenant)s must be text of 1 to %(most)d characters.",
            tenant=_shown(tenant.id),
            most=ID_LENGTH,
        )
    if not _is_text(tenant.id):
        raise InvalidTenant("The tenant id %(tenant)r is no valid text.", tenant=tenant.id)
    for what, path in (("root", tenant.root), ("database", tenant.database)):
        if not isinstance(path, Path) or not path.is_absolute() or "\0" in str(path):
            raise InvalidTenant(
                "The %(what)s of tenant %(tenant)r must be an absolute Path, not %(path)s.",
                tenant_id=tenant.id,
                what=what,
                tenant=tenant.id,
                path=_shown(path),
            )
    try:
        tenant.zone  # noqa: B018
    except (ValueError, TypeError, OSError, KeyError):
        raise InvalidTenant(
            "The time zone %(zone)s of tenant %(tenant)r is not known.",
            tenant_id=tenant.id,
            zone=_shown(tenant.time_zone),
            tenant=tenant.id,
        ) from None
    return tenant


def _shown(value: object) -> str:
    """The value in a message: as Python writes it, not too long, even if its `repr` fails."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = 2 * ID_LENGTH
    return brief.repr(value)


def _is_text(tenant_id: str) -> bool:
    """Whether every database can store it: PostgreSQL takes neither NUL nor lone surrogates."""
    try:
        tenant_id.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in tenant_id
