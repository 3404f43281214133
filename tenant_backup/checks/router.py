"""The router: our tables are in the control database, whatever the host's routers say."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error
from django.db import connections, router

from tenant_backup.routers import CatalogRouter


def check_router(**kwargs: Any) -> list[CheckMessage]:
    """Our tables are looked for in the control database, whatever the host's routers say."""
    first = router.routers[0] if router.routers else None
    needed = len(connections.settings) > 1 or first is not None
    if not needed or isinstance(first, CatalogRouter):
        return []
    return [
        Error(
            "The catalog's router is not the first of DATABASE_ROUTERS, so the catalog may be "
            "looked for in a tenant's database.",
            hint='Put "tenant_backup.routers.CatalogRouter" first in DATABASE_ROUTERS.',
            id="tenant_backup.E006",
        )
    ]
