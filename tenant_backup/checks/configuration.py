"""The host's settings: `TENANT_BACKUP` and its tenant provider, the routers, and `USE_TZ`."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import connections, router
from django.utils.module_loading import import_string

from tenant_backup.conf import Conf, conf
from tenant_backup.models import BackupSettings
from tenant_backup.routers import CatalogRouter
from tenant_backup.tenants import get_provider

PROVIDER_METHODS = ("all_tenants", "get_tenant", "tenant_for_request", "has_permission")


@register("tenant_backup")
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """`TENANT_BACKUP` has only known keys with values of the right kind."""
    try:
        raw = conf.raw()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="See docs/settings.md.", id="tenant_backup.E001")]
    known = {setting.key: setting for setting in Conf.known()}
    messages: list[CheckMessage] = [
        Error(
            f"TENANT_BACKUP has an unknown key {key!r}.",
            hint=f"The known keys are {', '.join(known)}.",
            id="tenant_backup.E001",
        )
        for key in raw
        if key not in known
    ]
    for key, setting in known.items():
        if key in raw and (problem := setting.problem(raw[key])):
            messages.append(
                Error(problem, hint=f"The default is {setting.default!r}.", id="tenant_backup.E002")
            )
    if messages:
        return messages
    if conf.CATALOG_DATABASE not in connections:
        messages.append(
            Error(
                f"TENANT_BACKUP['CATALOG_DATABASE'] is {conf.CATALOG_DATABASE!r}, which is not in "
                "DATABASES.",
                hint=f"DATABASES has {', '.join(connections)}.",
                id="tenant_backup.E002",
            )
        )
    return messages + _check_default_settings()


def _check_default_settings() -> list[CheckMessage]:
    names = {field.name for field in BackupSettings._meta.fields if field.editable}
    names -= {"id", "tenant_id"}
    problems = [
        f"there is no field {name!r}" for name in conf.DEFAULT_SETTINGS if name not in names
    ]
    if not problems:
        try:
            BackupSettings.initial("a tenant").clean_fields()
        except ValidationError as error:
            problems = [f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items()]
    return [
        Error(
            f"TENANT_BACKUP['DEFAULT_SETTINGS'] is not valid: {problem}.".replace("..", "."),
            hint=f"The fields are {', '.join(sorted(names))}.",
            id="tenant_backup.E003",
        )
        for problem in problems
    ]


@register("tenant_backup")
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


@register("tenant_backup")
def check_router(**kwargs: Any) -> list[CheckMessage]:
    """Our tables are in the control database, whatever the host's routers say."""
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


@register("tenant_backup")
def check_time_zones(**kwargs: Any) -> list[CheckMessage]:
    """Times are aware; otherwise an hour happens twice a year, and another one never."""
    if settings.USE_TZ:
        return []
    return [
        Error(
            "USE_TZ is False, so the times of backups would be ambiguous.",
            hint="Set USE_TZ = True.",
            id="tenant_backup.E007",
        )
    ]


def value_of(key: str) -> Any:
    """The value of a setting; its default where the value is wrong, which check_settings says."""
    try:
        return getattr(conf, key)
    except ImproperlyConfigured:
        return getattr(Conf, key).default
