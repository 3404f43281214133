"""Isolation: one tenant's trouble must not keep any other from its backup."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tenant_backup.exceptions import TenantNotFound
from tenant_backup.tenants import InvalidTenant, Tenant, get_tenant

logger = logging.getLogger("tenant_backup")


@contextmanager
def logged(doing: str) -> Iterator[None]:
    """Log whatever goes wrong, with a tenant or in the host's own code, and go on."""
    try:
        yield
    except Exception:
        logger.exception("%s failed.", doing)


def tenant_or_none(tenant_id: str) -> Tenant | None:
    """The tenant; None where it is gone or not valid, or where the host's provider fails with it.

    Such a tenant is left alone, and its trouble is logged.
    """
    try:
        return get_tenant(tenant_id)
    except TenantNotFound:
        return None
    except InvalidTenant as error:
        logger.error("Skipping tenant %r: %s", tenant_id, error)
        return None
    except Exception:
        logger.exception("The tenant provider failed with tenant %r.", tenant_id)
        return None
