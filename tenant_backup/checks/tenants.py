"""The tenants: each is valid, and has an id, a root, a folder and a database of its own.

The provider may need the database to answer, so this runs only where Django runs such checks: in
`migrate` and `check --database`.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

from tenant_backup.checks.configuration import check_provider, check_settings, value_of
from tenant_backup.conf import conf
from tenant_backup.models import Backup
from tenant_backup.tenants import HostNameTenants, InvalidTenant, Tenant, get_provider, list_tenants

HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
"""What can stand before the first dot of a host name."""

FEW = 10
"""Tenants that one message names; of a larger number the rest is counted."""


@register(Tags.database)
def check_tenants(*, databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Every tenant has an id and a root of its own, and paths that mean the same everywhere."""
    if value_of("CATALOG_DATABASE") not in (databases or ()) or not _is_migrated():
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
        *_check_paths(tenants),
        *_check_ids(tenants),
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


def _check_paths(tenants: Sequence[Tenant]) -> list[CheckMessage]:
    """Each tenant has a root, a folder of backups and a database of its own, links followed."""
    messages: list[CheckMessage] = [
        Error(
            f"The tenants {_in_words(ids)} share the root {root}.",
            hint="Each would have the others' backups in its directory. Give each its own root.",
            id="tenant_backup.E009",
        )
        for root, ids in _shared((tenant.root, tenant.id) for tenant in tenants)
    ]
    roots = {tenant.id: os.path.realpath(tenant.root) for tenant in tenants}
    folders = ((tenant.root / conf.DIRECTORY_NAME, tenant.id) for tenant in tenants)
    messages += [
        Error(
            f"The tenants {_in_words(ids)} share the folder of backups {folder}.",
            hint="Each would take the others' backups for its own. Give each its own folder.",
            id="tenant_backup.E014",
        )
        for folder, ids in _shared(folders)
        if len({roots[id_] for id_ in ids}) > 1
    ]
    return messages + [
        Error(
            f"The tenants {_in_words(ids)} share the database {database}.",
            hint="To restore one would restore the others, too. Give each its own database.",
            id="tenant_backup.E013",
        )
        for database, ids in _shared((tenant.database, tenant.id) for tenant in tenants)
    ]


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
    more = f" and {len(ids) - FEW} more" if len(ids) > FEW else ""
    return [
        checks.Warning(
            f"No host name leads to the page of these tenants: {_in_words(ids[:FEW])}{more}.",
            hint="Use ids of letters, digits and hyphens that neither begin nor end with a hyphen "
            "and differ in more than capitals; or override the provider's tenant_for_request().",
            id="tenant_backup.W006",
        )
    ]


def _shared(paths: Iterable[tuple[Path, str]]) -> Iterator[tuple[str, list[str]]]:
    """Each path that several tenants have, and their ids."""
    ids_by_path: dict[str, list[str]] = {}
    for path, tenant_id in paths:
        ids_by_path.setdefault(os.path.realpath(path), []).append(tenant_id)
    return ((path, ids) for path, ids in ids_by_path.items() if len(ids) > 1)


def _in_words(ids: Iterable[str]) -> str:
    return ", ".join(map(repr, ids))


def _is_migrated() -> bool:
    """Whether there is a catalog; before the first `migrate` the host has no tenants either."""
    connection = connections[value_of("CATALOG_DATABASE")]
    return Backup._meta.db_table in connection.introspection.table_names()
