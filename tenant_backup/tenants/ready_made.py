"""Tenant providers for the common cases: one tenant, a folder each, a database alias each."""

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.utils.functional import Promise

from tenant_backup.conf import conf
from tenant_backup.exceptions import TenantNotFound
from tenant_backup.tenants.databases import sqlite_file
from tenant_backup.tenants.links import on_a_host_of_its_own, on_the_site
from tenant_backup.tenants.operators import has_operator_permissions
from tenant_backup.tenants.provider import (
    CONFIGURE,
    CREATE,
    DELETE,
    DOWNLOAD,
    VIEW,
    TenantProvider,
)
from tenant_backup.tenants.tenant import Tenant


class SingleTenant(TenantProvider):
    """The whole project is one tenant: its default SQLite database, and that file's directory.

    Django's model permissions on `Backup` and `BackupSettings` decide who may do what. Set `name`
    in a subclass to choose the name that pages and mails show. By default it is the first host name
    in `ALLOWED_HOSTS`, or else the name of the database's directory.
    """

    name: str | Promise = ""
    permissions = {
        VIEW: "tenant_backup.view_backup",
        CREATE: "tenant_backup.add_backup",
        DELETE: "tenant_backup.delete_backup",
        DOWNLOAD: "tenant_backup.download_backup",
        CONFIGURE: "tenant_backup.change_backupsettings",
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
        """Whoever has the permissions: there is no other tenant to protect."""
        return has_operator_permissions(request)


def _host_name() -> str:
    """The first of `ALLOWED_HOSTS` that names a site, or nothing."""
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
    """The first label of the request's host name is the tenant's id: `acme` in `acme.example.com`.

    Host names have no capitals, so `acme` also finds a tenant `Acme`, unless there is an `ACME`,
    too. A subclass says which tenants there are, by `all_tenants`.

    A host name does not say who belongs to the tenant, so only superusers may do anything. Override
    `has_permission` to let the tenant's own people in.
    """

    def tenant_for_request(self, request: HttpRequest) -> Tenant:
        host, _port = split_domain_port(request.get_host())
        if _is_address(host):
            raise TenantNotFound("The address %(host)s names no tenant.", host=host)
        return self._tenant_of_label(host.split(".", 1)[0])

    def url_for(self, tenant: Tenant) -> str | None:
        """The page on the tenant's own host: `acme.example.com` where the site is `example.com`."""
        site, label = on_the_site(), tenant.id.lower()
        if site is None:
            return None
        is_label = re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label)
        if not is_label or _is_address(urlsplit(site).hostname or ""):
            return ""  # A link without the tenant in its host name leads nowhere.
        return on_a_host_of_its_own(label)

    def _tenant_of_label(self, label: str) -> Tenant:
        try:
            return self.get_tenant(label)
        except TenantNotFound:
            # With more than one we would have to guess whose data to show.
            alike = [tenant for tenant in self.all_tenants() if _is_alike(tenant, label)]
            if len(alike) != 1:
                raise
            return alike[0]

    def has_permission(self, request: HttpRequest, tenant: Tenant, action: str) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)


def _is_alike(tenant: object, label: str) -> bool:
    """Whether the tenant's id is this label, apart from capitals."""
    tenant_id = getattr(tenant, "id", None)
    return isinstance(tenant_id, str) and (
        tenant_id.isascii() and tenant_id.lower() == label.lower()
    )


class DirectoryTenants(HostNameTenants):
    """Each folder in `directory` is a tenant, and its name is the tenant's id.

    Hidden folders and `lost+found`, which file systems make, are ignored. A folder without a
    database is a tenant, too: its backup fails and says that the database is missing. A loud
    failure is better than a forgotten tenant.
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
        # Only a name that is listed, so that no id leads out of the directory, and no two ids to
        # one folder on file systems that ignore capitals.
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
        """The tenant of this folder. Override it to set names or time zones, but keep the id."""
        return Tenant(folder.name, folder.name, folder, folder / self.database_name)


class DatabaseTenants(HostNameTenants):
    """Each SQLite alias of `DATABASES`, except the catalog's, is a tenant; the alias is its id.

    Such projects often keep all databases in one folder, so the tenant's root is a folder beside
    the database, with the alias as its name.
    """

    def all_tenants(self) -> Iterable[Tenant]:
        tenants = []
        for alias in sorted(connections):
            database = sqlite_file(alias)
            if database is not None and alias != conf.CATALOG_DATABASE:
                tenants.append(Tenant(alias, alias, database.parent / alias, database))
        return tenants
