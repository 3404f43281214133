"""Tenants, and the provider through which the host project tells us of them.

This app assumes nothing about how a project does tenancy: it knows a tenant by its id and by the
paths of its directory and its database. Paths, not aliases of `DATABASES`: an alias that was
registered while a request was served does not exist in a worker or in a command.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.utils.connection import ConnectionDoesNotExist
from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.translation import gettext

from tenant_backup.conf import conf
from tenant_backup.exceptions import TenantNotFound

__all__ = [
    "DatabaseTenants",
    "DirectoryTenants",
    "SingleTenant",
    "Tenant",
    "TenantNotFound",
    "TenantProvider",
    "get_provider",
    "is_operator",
    "retire",
]

logger = logging.getLogger("tenant_backup")

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
        """The zone in which this tenant's days begin and end."""
        return ZoneInfo(self.time_zone or settings.TIME_ZONE)


def fault_of(tenant: object) -> str | None:
    """What keeps this tenant from being backed up, in a sentence; None where nothing does."""
    if not isinstance(tenant, Tenant):
        # What the host's code returns is not what its types say.
        text = gettext("The tenant provider gave %(what)r instead of a Tenant.")
        return text % {"what": tenant}
    if not isinstance(tenant.id, str) or not 1 <= len(tenant.id) <= ID_LENGTH:
        text = gettext("The tenant id %(tenant)r must be text of 1 to %(most)d characters.")
        return text % {"tenant": tenant.id, "most": ID_LENGTH}
    try:
        tenant.id.encode()
    except UnicodeEncodeError:
        return gettext("The tenant id %(tenant)r is no valid text.") % {"tenant": tenant.id}
    for what, path in (("root", tenant.root), ("database", tenant.database)):
        if not isinstance(path, Path) or not path.is_absolute() or "\0" in str(path):
            text = gettext(
                "The %(what)s of tenant %(tenant)r must be an absolute Path, not %(path)r."
            )
            return text % {"what": what, "tenant": tenant.id, "path": path}
    try:
        tenant.zone  # noqa: B018
    except (ValueError, OSError, KeyError):
        text = gettext("The time zone %(zone)r of tenant %(tenant)r is not known.")
        return text % {"zone": tenant.time_zone, "tenant": tenant.id}
    return None


class TenantProvider(ABC):
    """What a host project tells about its tenants. Subclass it and name the class in the settings.

    One instance serves a whole process, so keep no request's state on `self`.
    """

    @abstractmethod
    def all_tenants(self) -> Iterable[Tenant]:
        """Every tenant whose data is to be backed up."""

    def get_tenant(self, tenant_id: str) -> Tenant:
        """The tenant of this id; raises `TenantNotFound`. Override it where that can be faster."""
        for tenant in self.all_tenants():
            if tenant.id == tenant_id:
                return tenant
        raise TenantNotFound("There is no tenant %(tenant)r.", tenant=tenant_id)

    @abstractmethod
    def tenant_for_request(self, request: HttpRequest) -> Tenant:
        """The tenant whose page is asked for; raises `TenantNotFound`, which is answered by 404."""

    def has_permission(self, request: HttpRequest, tenant: Tenant, action: str) -> bool:
        """Whether the request's user may do this to this tenant's backups.

        The actions are `view`, `create`, `delete` (pinning, too), `download` and `configure`.
        Nobody may do anything until the host says otherwise.
        """
        return False

    def tenant_of(self, database: Path) -> Tenant | None:
        """The tenant whose database is this file; None where it is nobody's.

        Override it where that can be faster than a look at every tenant.
        """
        return _tenant_of(self, database)

    def is_operator(self, request: HttpRequest) -> bool:
        """Whether the request's user looks after all tenants, and not only after one.

        An operator may use the Django admin of the backups, which has those of all tenants, and
        sees paths and commands on the page. What an operator may do there, the model permissions
        say. Override it where the users of all tenants are in one database.
        """
        return _is_operator_by_default(self, request)


def is_operator(request: HttpRequest) -> bool:
    """What the host's provider says of the request's user. It is asked once a request."""
    kept: dict[str, Any] = vars(request)
    user, answer = kept.get("_tenant_backup_operator", (None, False))
    if user is None or user is not request.user:
        provider = get_provider()
        # The host's class may be older than this method, and need not be a subclass of ours.
        ask = getattr(provider, "is_operator", None)
        answer = bool(ask(request) if ask else _is_operator_by_default(provider, request))
        kept["_tenant_backup_operator"] = request.user, answer
    return bool(answer)


def _is_operator_by_default(provider: TenantProvider, request: HttpRequest) -> bool:
    return _has_permissions_of_operators(request) and not _is_user_of_a_tenant(provider, request)


def _has_permissions_of_operators(request: HttpRequest) -> bool:
    """As the admin asks: a superuser, or staff with a permission on one of our models."""
    user: Any = request.user
    if not user.is_active:
        return False
    # A host's own model of users need not have these.
    if getattr(user, "is_superuser", False):
        return True
    return bool(getattr(user, "is_staff", False) and user.has_module_perms("tenant_backup"))


def _is_user_of_a_tenant(provider: TenantProvider, request: HttpRequest) -> bool:
    """Whether the user was loaded from a tenant's database, or from nobody knows where.

    Such a user is superuser of that tenant alone. Where the catalog is in a tenant's database, the
    users of that one are not kept out: whoever has the catalog has all backups anyway.
    """
    alias = getattr(getattr(request.user, "_state", None), "db", None)
    if alias is None:
        return True
    if alias == conf.CATALOG_DATABASE:
        return False
    try:
        file = sqlite_file(alias)
        catalog = sqlite_file(conf.CATALOG_DATABASE)
    except ConnectionDoesNotExist:
        return True
    if file is None or (catalog is not None and _is_same_file(file, catalog)):
        return False
    try:
        # Users of a tenant's own database are mostly at that tenant's address: then nobody else
        # need be asked about.
        if _is_same_file(file, provider.tenant_for_request(request).database):
            return True
    except Exception:
        logger.debug("The request is at no tenant's address.", exc_info=True)
    try:
        ask = getattr(provider, "tenant_of", None)
        return (ask(file) if ask else _tenant_of(provider, file)) is not None
    except Exception:
        logger.exception("The tenant provider cannot say whose database %s is.", file)
        return True


def _tenant_of(provider: TenantProvider, database: Path) -> Tenant | None:
    for tenant in provider.all_tenants():
        if not fault_of(tenant) and _is_same_file(tenant.database, database):
            return tenant
    return None


def _is_same_file(one: Path, other: Path) -> bool:
    if one == other:
        return True
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


@cache
def _provider(dotted_path: str) -> TenantProvider:
    provider: TenantProvider = import_string(dotted_path)()
    return provider


def get_provider() -> TenantProvider:
    """The host's tenant provider; raises `ImportError` where the setting names no class."""
    return _provider(conf.TENANT_PROVIDER)


def retire(tenant_id: str, *, by: str = "") -> None:
    """Say that this tenant is gone on purpose, so that nobody is told that it has disappeared.

    For the host's code that removes a tenant, at most a day before the provider no longer lists it.
    Nothing of its backups is deleted. An id that the catalog does not know is passed over.
    """
    from tenant_backup import absence  # whose models need this module

    absence.retire(absence.known([tenant_id]), by=by)


def sqlite_file(alias: str) -> Path | None:
    """The file of this alias of `DATABASES`, or None where it is in memory or not SQLite."""
    if connections[alias].vendor != "sqlite":
        return None
    name = str(connections[alias].settings_dict["NAME"])
    if name.startswith("file:"):
        uri = urlsplit(name)
        name = "" if "mode=memory" in uri.query else unquote(uri.path)
    if name in {"", ":memory:"}:
        return None
    return Path(name).absolute()


class SingleTenant(TenantProvider):
    """The project itself is the one tenant: its default SQLite database, and that file's directory.

    Django's model permissions on `Backup` and `BackupSettings` decide who may do what. A subclass
    sets `name`, which pages and mails call it by. Where it does not, that is the first host name of
    `ALLOWED_HOSTS`, or else the name of the database's directory.
    """

    name: str | Promise = ""
    permissions = {
        "view": "tenant_backup.view_backup",
        "create": "tenant_backup.add_backup",
        "delete": "tenant_backup.delete_backup",
        "download": "tenant_backup.download_backup",
        "configure": "tenant_backup.change_backupsettings",
    }

    def all_tenants(self) -> Iterable[Tenant]:
        database = sqlite_file("default")
        if database is None:
            raise ImproperlyConfigured(
                "The tenant provider SingleTenant backs up the default database, which is not a "
                "SQLite file here. Set TENANT_BACKUP['TENANT_PROVIDER'] to a provider of your own."
            )
        name = str(self.name) or _host_name() or database.parent.name or "default"
        return [Tenant("default", name, database.parent, database)]

    def tenant_for_request(self, request: HttpRequest) -> Tenant:
        return self.get_tenant("default")

    def has_permission(self, request: HttpRequest, tenant: Tenant, action: str) -> bool:
        return action in self.permissions and request.user.has_perm(self.permissions[action])

    def is_operator(self, request: HttpRequest) -> bool:
        """Whoever has the permissions: there is no other tenant whom that could harm."""
        return _has_permissions_of_operators(request)


def _host_name() -> str:
    """The first of `ALLOWED_HOSTS` that says which site this is; nothing where none does."""
    for host in settings.ALLOWED_HOSTS:
        name = host.removeprefix(".")
        if "." in name and not name.endswith(".localhost") and not _is_address(name):
            return str(name)
    return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


class HostNameTenants(TenantProvider):
    """The tenant's id is the first label of the request's host name: `acme` in `acme.example.com`.

    Host names have no capitals, so `acme` also leads to a tenant `Acme`, unless `ACME` is another.

    A host name says nothing of who belongs to the tenant, so only superusers are admitted;
    override `has_permission` to admit the tenant's own people.
    """

    def tenant_for_request(self, request: HttpRequest) -> Tenant:
        host, _port = split_domain_port(request.get_host())
        if _is_address(host):
            raise TenantNotFound("The address %(host)s names no tenant.", host=host)
        return self._tenant_of_label(host.split(".", 1)[0])

    def _tenant_of_label(self, label: str) -> Tenant:
        try:
            return self.get_tenant(label)
        except TenantNotFound:
            # More than one would be a guess about whose data is shown.
            alike = [
                tenant
                for tenant in self.all_tenants()
                if not fault_of(tenant)
                and tenant.id.isascii()
                and tenant.id.lower() == label.lower()
            ]
            if len(alike) != 1:
                raise
            return alike[0]

    def has_permission(self, request: HttpRequest, tenant: Tenant, action: str) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)


class DirectoryTenants(HostNameTenants):
    """One folder a tenant: each folder in `directory` is a tenant, and its name the tenant's id.

    Hidden folders are passed over, and `lost+found`, which file systems make. A folder without a
    database is a tenant whose database is missing, and its backup fails and says so: better a loud
    mistake than a tenant forgotten.
    """

    directory: Path | str
    database_name = "db.sqlite3"

    def all_tenants(self) -> Iterable[Tenant]:
        directory = Path(self.directory).absolute()
        return [
            self.tenant(directory / name)
            for name in sorted(self._names(directory))
            if self._is_tenant(directory, name)
        ]

    def get_tenant(self, tenant_id: str) -> Tenant:
        directory = Path(self.directory).absolute()
        # Only a name that is listed, so that no id leads elsewhere, nor to the same folder twice
        # where capitals make no difference.
        if tenant_id in self._names(directory) and self._is_tenant(directory, tenant_id):
            return self.tenant(directory / tenant_id)
        raise TenantNotFound("There is no tenant %(tenant)r.", tenant=tenant_id)

    @staticmethod
    def _names(directory: Path) -> set[str]:
        return {path.name for path in directory.iterdir()}

    @staticmethod
    def _is_tenant(directory: Path, name: str) -> bool:
        return name[:1] != "." and name != "lost+found" and (directory / name).is_dir()

    def tenant(self, folder: Path) -> Tenant:
        """The tenant of this folder. Override it to give names or time zones, but keep the id."""
        return Tenant(folder.name, folder.name, folder, folder / self.database_name)


class DatabaseTenants(HostNameTenants):
    """Each SQLite alias of `DATABASES`, except the catalog's, is a tenant, and the alias its id.

    Such projects often keep all files in one folder, so the root is a folder of the alias's name
    beside the database.
    """

    def all_tenants(self) -> Iterable[Tenant]:
        tenants = []
        for alias in sorted(connections):
            database = sqlite_file(alias)
            if database is not None and alias != conf.CATALOG_DATABASE:
                tenants.append(Tenant(alias, alias, database.parent / alias, database))
        return tenants
