"""The tenant provider: it can be imported, is complete, and can be made."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from tenant_backup.conf import conf
from tenant_backup.tenants import get_provider

PROVIDER_METHODS = ("all_tenants", "get_tenant", "tenant_for_request", "has_permission")


def check_provider(**kwargs: Any) -> list[CheckMessage]:
    """The tenant provider can be imported and has every method."""
    try:
        path = conf.TENANT_PROVIDER
    except ImproperlyConfigured:
        return []  # check_settings says so
    hint = (
        "Set TENANT_BACKUP['TENANT_PROVIDER'] to the dotted path of a subclass of "
        "tenant_backup.tenants.TenantProvider."
    )
    try:
        provider = import_string(path)
    except Exception as error:  # noqa: BLE001 - the host's module may raise anything
        message = (
            f"The tenant provider {path!r} cannot be imported: {type(error).__name__}: {error}"
        )
        return [Error(message, hint=hint, id="tenant_backup.E004")]
    missing = [
        name
        for name in PROVIDER_METHODS
        if not callable(getattr(provider, name, None))
        or name in getattr(provider, "__abstractmethods__", ())
    ]
    if not isinstance(provider, type) or missing:
        what = f"lacks {', '.join(missing)}" if missing else "is not a class"
        return [Error(f"The tenant provider {path!r} {what}.", hint=hint, id="tenant_backup.E005")]
    try:
        get_provider()
    except Exception as error:  # noqa: BLE001 - whatever the host's own code raises
        message = f"The tenant provider {path!r} cannot be made: {type(error).__name__}: {error}"
        return [Error(message, hint=hint, id="tenant_backup.E005")]
    return []
