"""Django's own connection to a tenant's live database, as the host's own code has it.

An index may need a function or a collation that only the host's connections have. A stand-in of
ours would write what the host's own one does not find again, so the index would be damaged.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

from tenant_backup import sqlite
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError
from tenant_backup.sqlite.attaching import as_text
from tenant_backup.sqlite.row_plan import Connection
from tenant_backup.tenants import Tenant
from tenant_backup.tenants.databases import is_same_file, sqlite_file

ALIAS = "tenant_backup_rows"
"""What receivers of `connection_created` see if no alias of the host's leads to the database."""

SQLITE = "django.db.backends.sqlite3"


@contextmanager
def host_connection(tenant: Tenant) -> Iterator[Connection]:
    """A new connection to the tenant's database, with everything that the host gives to its own.

    Raises `BackupError` if there is no sound database, or if it cannot be opened.
    """
    sqlite.require_openable(tenant.database, busy_timeout=conf.BUSY_TIMEOUT)
    sqlite.look(tenant.database, busy_timeout=conf.BUSY_TIMEOUT)
    wrapper = _wrapper(tenant)
    try:
        try:
            wrapper.ensure_connection()
            wrapper.set_autocommit(True)
        except DatabaseError as error:
            raise BackupError(
                "The database %(database)s cannot be opened: %(reason)s.",
                database=tenant.database,
                reason=error,
            ) from error
        # It is a connection of our own: what the host wants of rows is not what we want.
        wrapper.connection.row_factory = None
        wrapper.connection.text_factory = as_text
        yield wrapper.connection
    finally:
        wrapper.close()


def _wrapper(tenant: Tenant) -> BaseDatabaseWrapper:
    """The connection by the alias that leads to this file, or else one with the defaults."""
    for alias in connections:
        path = sqlite_file(alias)
        if path and is_same_file(path, tenant.database):
            return connections.create_connection(alias)
    # The options of another alias may change the database, for example its journal mode. But the
    # engine of the host's own SQLite databases may have functions that this one needs, too.
    default = connections[DEFAULT_DB_ALIAS]
    engine = default.settings_dict["ENGINE"] if default.vendor == "sqlite" else SQLITE
    settings = {
        "ENGINE": engine,
        "NAME": tenant.database,
        "OPTIONS": {"timeout": conf.BUSY_TIMEOUT},
    }
    known = connections.configure_settings({DEFAULT_DB_ALIAS: {}, ALIAS: settings})
    wrapper: BaseDatabaseWrapper = load_backend(engine).DatabaseWrapper(known[ALIAS], ALIAS)
    return wrapper
