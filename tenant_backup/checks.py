"""System checks: what is wrong with the host's configuration, before it costs a backup.

`docs/checks.md` lists them by id. The checks of the tenants ask the provider, which may need the
database, so they run only where Django runs such checks: in `migrate` and `check --database`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import connections, router
from django.utils.module_loading import import_string

from tenant_backup.conf import Conf, conf
from tenant_backup.models import TENANT_ID_LENGTH, Backup, BackupSettings
from tenant_backup.routers import CatalogRouter
from tenant_backup.tenants import Tenant, get_provider

PROVIDER_METHODS = ("all_tenants", "get_tenant", "tenant_for_request", "has_permission")

BROKERS_OF_OTHERS = ("broker_class", "iron_mq", "sqs", "mongo")
"""The keys of `Q_CLUSTER` that choose a broker other than the ORM and Redis."""


def register_all() -> None:
    """Let Django run these checks; called when the app is ready."""
    for check in (check_settings, check_provider, check_router, check_time_zones, check_cluster):
        checks.register(check, "tenant_backup")
    checks.register(check_tenants, "tenant_backup", Tags.database)


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
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


def check_provider(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
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
    except ImportError as error:
        message = f"The tenant provider {path!r} cannot be imported: {error}."
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


def check_router(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
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


def check_time_zones(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
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


def check_cluster(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """django-q2 is installed and has a broker; without, there are no automatic backups."""
    cluster = getattr(settings, "Q_CLUSTER", None)
    if not apps.is_installed("django_q"):
        problem = "django_q is not in INSTALLED_APPS"
        hint = 'Add "django_q" to INSTALLED_APPS.'
    elif not isinstance(cluster, dict) or not cluster:
        problem = "there is no setting Q_CLUSTER"
        hint = f'Set Q_CLUSTER, for example to {{"orm": "{_catalog_database()}"}}.'
    elif cluster.get("orm") and cluster["orm"] not in connections:
        problem = f"Q_CLUSTER['orm'] is {cluster['orm']!r}, which is not in DATABASES"
        hint = f'Set Q_CLUSTER["orm"] to "{_catalog_database()}".'
    elif not _has_broker(cluster):
        problem = "Q_CLUSTER names no broker, and Redis, the default, cannot be imported"
        hint = f'Set Q_CLUSTER["orm"] to "{_catalog_database()}", or install redis.'
    else:
        return []
    return [
        checks.Warning(
            f"Automatic backups cannot run: {problem}.",
            hint=f"{hint} Backups by hand and by runbackup work without.",
            id="tenant_backup.W001",
        )
    ]


def _has_broker(cluster: dict[str, Any]) -> bool:
    return bool(
        cluster.get("orm")
        or any(cluster.get(key) for key in BROKERS_OF_OTHERS)
        or find_spec("redis")
    )


def _catalog_database() -> str:
    """The control database, as far as the settings tell; the checks must survive wrong ones."""
    try:
        return conf.CATALOG_DATABASE
    except ImproperlyConfigured:
        return str(Conf.CATALOG_DATABASE.default)


def check_tenants(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Iterable[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """Every tenant has an id and a root of its own, and paths that mean the same everywhere."""
    if _catalog_database() not in (databases or ()) or not _is_migrated():
        return []
    if check_settings() or check_provider():
        return []
    try:
        tenants = list(get_provider().all_tenants())
    except Exception as error:  # noqa: BLE001 - whatever the host's own code raises
        return [
            checks.Warning(
                f"The tenant provider cannot list the tenants: {type(error).__name__}: {error}",
                hint="Until it can, no tenant is backed up. Is a migration of yours missing?",
                id="tenant_backup.W002",
            )
        ]
    return [*_check_paths(tenants), *_check_roots(tenants), *_check_ids(tenants)]


def _is_migrated() -> bool:
    """Whether there is a catalog; before the first `migrate` the host has no tenants either."""
    connection = connections[_catalog_database()]
    return Backup._meta.db_table in connection.introspection.table_names()


def _check_paths(tenants: Sequence[Tenant]) -> list[CheckMessage]:
    return [
        Error(
            f"The {what} of tenant {tenant.id!r} is the relative path {str(path)!r}.",
            hint="A worker may run in another directory. Let the provider give absolute paths.",
            id="tenant_backup.E008",
        )
        for tenant in tenants
        for what, path in (("root", tenant.root), ("database", tenant.database))
        if not path.is_absolute()
    ]


def _check_roots(tenants: Sequence[Tenant]) -> list[CheckMessage]:
    by_root: dict[Path, list[str]] = {}
    for tenant in tenants:
        by_root.setdefault(tenant.root.resolve(), []).append(tenant.id)
    return [
        Error(
            f"The tenants {', '.join(map(repr, ids))} share the root {root}.",
            hint="Each would have the others' backups in its directory. Give each its own root.",
            id="tenant_backup.E009",
        )
        for root, ids in by_root.items()
        if len(ids) > 1
    ]


def _check_ids(tenants: Sequence[Tenant]) -> list[CheckMessage]:
    ids = [tenant.id for tenant in tenants]
    problems = {id_: "is given to more than one tenant" for id_ in ids if ids.count(id_) > 1} | {
        id_: f"must have from 1 to {TENANT_ID_LENGTH} characters"
        for id_ in ids
        if not 1 <= len(id_) <= TENANT_ID_LENGTH
    }
    return [
        Error(
            f"The tenant id {id_!r} {problem}.",
            hint="Let the provider give each tenant a stable, unique id.",
            id="tenant_backup.E010",
        )
        for id_, problem in problems.items()
    ]
