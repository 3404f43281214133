"""System checks: what is wrong with the host's configuration, before it costs a backup.

`docs/checks.md` lists them by id. The checks of the tenants ask the provider, which may need the
database, so they run only where Django runs such checks: in `migrate` and `check --database`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import connections, router
from django.templatetags.static import static
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve, reverse
from django.utils.module_loading import import_string

from tenant_backup.conf import Conf, conf
from tenant_backup.models import Backup, BackupSettings
from tenant_backup.routers import CatalogRouter
from tenant_backup.tenants import HostNameTenants, InvalidTenant, Tenant, get_provider, list_tenants

PROVIDER_METHODS = ("all_tenants", "get_tenant", "tenant_for_request", "has_permission")

BROKERS_OF_OTHERS = ("broker_class", "iron_mq", "sqs", "mongo")
"""The keys of `Q_CLUSTER` that choose a broker other than the ORM and Redis."""


SHORT_TIMEOUT = 60
"""Seconds; a database of some gigabytes takes longer to copy and check."""

HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
"""What can stand before the first dot of a host name."""

FEW = 10
"""Tenants that one message names; of a larger number the rest is counted."""


def register_all() -> None:
    """Let Django run these checks; called when the app is ready."""
    for check in (
        check_settings,
        check_provider,
        check_router,
        check_time_zones,
        check_cluster,
        check_admin,
        check_address,
        check_static_files,
    ):
        checks.register(check, "tenant_backup")
    checks.register(check_tenants, Tags.database)


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
    """django-q2 is installed, has a broker, and lets a backup end."""
    if not apps.is_installed("django_q"):
        return [
            Error(
                "django_q is not in INSTALLED_APPS.",
                hint='Add "django_q" to INSTALLED_APPS, before "tenant_backup".',
                id="tenant_backup.E011",
            )
        ]
    cluster = getattr(settings, "Q_CLUSTER", None)
    catalog = _setting("CATALOG_DATABASE")
    if catalog not in connections:
        return []  # check_settings says so
    if not isinstance(cluster, dict) or not cluster:
        problem = "there is no setting Q_CLUSTER"
        hint = (
            f'Set Q_CLUSTER, for example to {{"orm": "{catalog}", "timeout": 600, "retry": 2000}}.'
        )
    elif cluster.get("orm") and cluster["orm"] not in connections:
        problem = f"Q_CLUSTER['orm'] is {cluster['orm']!r}, which is not in DATABASES"
        hint = f'Set Q_CLUSTER["orm"] to "{catalog}".'
    elif cluster.get("orm") and cluster["orm"] != catalog:
        problem = (
            f"Q_CLUSTER['orm'] is {cluster['orm']!r}, but django-q2's tables are in {catalog!r}"
        )
        hint = f'Set Q_CLUSTER["orm"] to "{catalog}", the CATALOG_DATABASE.'
    elif not _has_broker(cluster):
        problem = "its broker is Redis, as Q_CLUSTER names no other, and redis cannot be imported"
        hint = f'Set Q_CLUSTER["orm"] to "{catalog}", or install redis.'
    elif _of_our_cluster(cluster).get("sync"):
        problem = (
            'with "sync", tasks run inside the scheduler\'s transaction, and no backup can be made '
            "there"
        )
        hint = 'Leave "sync" out of Q_CLUSTER.'
    elif not _is_known_cluster(cluster, _setting("CLUSTER")):
        problem = f"TENANT_BACKUP['CLUSTER'] is {_setting('CLUSTER')!r}, which Q_CLUSTER lacks"
        hint = 'Name a key of Q_CLUSTER["ALT_CLUSTERS"], or leave it out.'
    else:
        return _check_times(cluster)
    return [
        checks.Warning(
            f"Automatic backups cannot run: {problem}.",
            hint=f"{hint} Backups by hand and by runbackup work all the same.",
            id="tenant_backup.W001",
        )
    ]


def _check_times(cluster: dict[str, Any]) -> list[CheckMessage]:
    """The timeout and retry of the cluster that runs our tasks.

    A task that is handed out twice, or whose worker was killed, is no danger: the catalog's rows
    and the tenant's lock see to that. It costs a worker, though, and a kill says nothing in words.
    """
    cluster = _of_our_cluster(cluster)
    timeout, retry = cluster.get("timeout"), cluster.get("retry", 60)
    if not timeout:
        problem = "it has no timeout, so a backup that hangs keeps its worker for ever"
        hint = 'Set "timeout" to more seconds than your longest backup takes, such as 3600'
    elif timeout < SHORT_TIMEOUT:
        problem = f"its timeout of {timeout} seconds ends the backups of large databases"
        hint = f'Set "timeout" to at least {SHORT_TIMEOUT} seconds'
    elif retry <= 3 * timeout:
        problem = f"its retry of {retry} seconds hands a task out again that may still be running"
        hint = f'Set "retry" to more than three times the timeout, such as {3 * timeout + 60}'
    else:
        return []
    return [
        checks.Warning(
            f"Q_CLUSTER does not suit backups: {problem}.",
            hint=f"{hint}; see docs/automation.md.",
            id="tenant_backup.W003",
        )
    ]


def _of_our_cluster(cluster: dict[str, Any]) -> dict[str, Any]:
    """What is set for the cluster that runs our tasks."""
    return {**cluster, **(cluster.get("ALT_CLUSTERS") or {}).get(_setting("CLUSTER"), {})}


def check_admin(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """The page extends the Django admin's look, whose templates ask for the admin's addresses."""
    if not apps.is_installed("django.contrib.admin"):
        problem, hint = "is not in INSTALLED_APPS", 'Add "django.contrib.admin" to INSTALLED_APPS'
    elif not _is_routed("admin:index"):
        problem = "has no address"
        hint = 'Add path("admin/", admin.site.urls) to the urlpatterns'
    else:
        return []
    return [
        Error(
            f"The Django admin {problem}, so the page of backups cannot be shown.",
            hint=f"{hint}, or override tenant_backup/base.html and silence this check.",
            id="tenant_backup.E012",
        )
    ]


def check_address(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """The page's address leads to our page, and not to a pattern before it that takes anything."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    try:
        address = reverse("tenant_backup:overview")
    except NoReverseMatch:
        return []  # a host need not have the page, or has it below an argument
    path = f"/{address.removeprefix(get_script_prefix()).lstrip('/')}"
    try:
        match = resolve(path)
    except Resolver404:
        problem = "leads nowhere"
    else:
        # By the app's name: the host may have given its routes another namespace.
        if (match.app_names[-1:], match.url_name) == (["tenant_backup"], "overview"):
            return []
        name = match.view_name or match._func_path
        problem = f"is answered by {name} (the pattern {match.route!r})"
    return [
        checks.Warning(
            f"The address of the page of backups, {address}, {problem}.",
            hint='Put path("", include("tenant_backup.urls")) first in the urlpatterns.',
            id="tenant_backup.W004",
        )
    ]


def check_static_files(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """The storage of static files knows ours; one with a manifest fails for what it lacks."""
    if settings.DEBUG or not apps.is_installed("django.contrib.staticfiles"):
        return []
    folder = Path(__file__).parent / "static"
    for file in sorted(folder.glob("tenant_backup/*.*")):
        name = file.relative_to(folder).as_posix()
        try:
            static(name)
        except Exception as error:  # noqa: BLE001 - whatever the host's storage raises
            return [
                checks.Warning(
                    f"The page of backups cannot be shown, since the static file {name} has no "
                    f"address: {type(error).__name__}: {error}",
                    hint="Run manage.py collectstatic, after each upgrade too.",
                    id="tenant_backup.W005",
                )
            ]
    return []


def _is_routed(name: str) -> bool:
    """Whether there is such an address; true where the project has no addresses at all."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return True
    try:
        reverse(name)
    except NoReverseMatch:
        return False
    return True


def _is_known_cluster(cluster: dict[str, Any], name: str | None) -> bool:
    known = {cluster.get("name", "default"), cluster.get("cluster_name")}
    return name is None or name in {*known, *(cluster.get("ALT_CLUSTERS") or {})}


def _has_broker(cluster: dict[str, Any]) -> bool:
    return bool(
        cluster.get("orm")
        or any(cluster.get(key) for key in BROKERS_OF_OTHERS)
        or find_spec("redis")
    )


def _setting(key: str) -> Any:
    """The value of a setting, or its default where the value is wrong: check_settings says that."""
    try:
        return getattr(conf, key)
    except ImproperlyConfigured:
        return getattr(Conf, key).default


def check_tenants(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Iterable[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """Every tenant has an id and a root of its own, and paths that mean the same everywhere."""
    if _setting("CATALOG_DATABASE") not in (databases or ()) or not _is_migrated():
        return []
    if check_settings() or check_provider():
        return []
    try:
        listing = list_tenants()
    except Exception as error:  # noqa: BLE001 - whatever the host's own code raises
        return [
            checks.Warning(
                f"The tenant provider cannot list the tenants: {type(error).__name__}: {error}",
                hint="Until it can, no tenant is backed up. Its method all_tenants() raised this.",
                id="tenant_backup.W002",
            )
        ]
    tenants = listing.tenants
    return [
        *_check_validity(listing.invalid),
        *_check_roots(tenants),
        *_check_folders(tenants),
        *_check_ids(tenants),
        *_check_databases(tenants),
        *_check_host_names(tenants),
    ]


def _check_validity(errors: Sequence[InvalidTenant]) -> list[CheckMessage]:
    return [
        Error(
            str(error),
            hint="Let the tenant provider give ids, absolute paths and zones that are valid.",
            id="tenant_backup.E008",
        )
        for error in errors
    ]


def _is_migrated() -> bool:
    """Whether there is a catalog; before the first `migrate` the host has no tenants either."""
    connection = connections[_setting("CATALOG_DATABASE")]
    return Backup._meta.db_table in connection.introspection.table_names()


def _check_roots(tenants: Sequence[Tenant]) -> list[CheckMessage]:
    return [
        Error(
            f"The tenants {ids} share the root {root}.",
            hint="Each would have the others' backups in its directory. Give each its own root.",
            id="tenant_backup.E009",
        )
        for root, ids in _shared((tenant.root, tenant.id) for tenant in tenants)
    ]


def _check_folders(tenants: Sequence[Tenant]) -> list[CheckMessage]:
    """By links two tenants can have one folder of backups, though each has its own root."""
    roots = {tenant.id: os.path.realpath(tenant.root) for tenant in tenants}
    folders: dict[str, list[str]] = {}
    for tenant in tenants:
        folder = os.path.realpath(tenant.root / conf.DIRECTORY_NAME)
        folders.setdefault(folder, []).append(tenant.id)
    return [
        Error(
            f"The tenants {', '.join(map(repr, ids))} share the folder of backups {folder}.",
            hint="Each would take the others' backups for its own. Give each its own folder.",
            id="tenant_backup.E014",
        )
        for folder, ids in folders.items()
        if len({roots[id_] for id_ in ids}) > 1
    ]


def _check_host_names(tenants: Sequence[Tenant]) -> list[CheckMessage]:
    """Where the host name says whose page is asked for, each tenant's id can stand in one."""
    ask = getattr(type(get_provider()), "tenant_for_request", None)
    if ask is not HostNameTenants.tenant_for_request:
        return []
    number = Counter(tenant.id.lower() for tenant in tenants)
    ids = [
        tenant.id
        for tenant in tenants
        if not HOST_LABEL.fullmatch(tenant.id)
        # Host names have no capitals: of several such ids only the lower-case one is meant.
        or (number[tenant.id.lower()] > 1 and tenant.id != tenant.id.lower())
    ]
    if not ids:
        return []
    named = ", ".join(map(repr, ids[:FEW]))
    more = f" and {len(ids) - FEW} more" if len(ids) > FEW else ""
    return [
        checks.Warning(
            f"No host name leads to the page of these tenants: {named}{more}.",
            hint="Use ids of letters, digits and hyphens that neither begin nor end with a hyphen "
            "and differ in more than capitals; or override the provider's tenant_for_request().",
            id="tenant_backup.W006",
        )
    ]


def _check_databases(tenants: Sequence[Tenant]) -> list[CheckMessage]:
    return [
        Error(
            f"The tenants {ids} share the database {database}.",
            hint="To restore one would restore the others, too. Give each its own database.",
            id="tenant_backup.E013",
        )
        for database, ids in _shared((tenant.database, tenant.id) for tenant in tenants)
    ]


def _shared(paths: Iterable[tuple[Path, str]]) -> Iterator[tuple[str, str]]:
    """Each path that several tenants have, and their ids in words."""
    ids_by_path: dict[str, list[str]] = {}
    for path, tenant_id in paths:
        ids_by_path.setdefault(os.path.realpath(path), []).append(tenant_id)
    for shared, ids in ids_by_path.items():
        if len(ids) > 1:
            yield shared, ", ".join(map(repr, ids))


def _check_ids(tenants: Sequence[Tenant]) -> list[CheckMessage]:
    number = Counter(tenant.id for tenant in tenants)
    return [
        Error(
            f"The tenant id {id_!r} is given to {times} tenants.",
            hint="Let the provider give each tenant a stable, unique id.",
            id="tenant_backup.E010",
        )
        for id_, times in number.items()
        if times > 1
    ]
