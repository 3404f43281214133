"""The catalog that lies in the very database to be restored, as with `SingleTenant`."""

from pathlib import Path
from sqlite3 import SQLITE_BUSY, SQLITE_LOCKED

from django.apps import apps
from django.db import DatabaseError, connections, transaction

from tenant_backup import sqlite
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, DatabaseDamaged
from tenant_backup.models import Event, EventKind
from tenant_backup.tenants import Tenant
from tenant_backup.tenants.databases import is_same_file, sqlite_file


def holds_catalog(tenant: Tenant) -> bool:
    """Whether the catalog lies in the tenant's own database."""
    catalog = sqlite_file(conf.CATALOG_DATABASE)
    return catalog is not None and is_same_file(catalog, tenant.database)


def is_usable(tenant: Tenant) -> bool:
    """Whether the catalog can be used; False only if it lies in a damaged or missing database.

    A locked database counts as usable: a later step says who uses it.
    """
    if not holds_catalog(tenant):
        return True
    # A connection to a missing file would create it.
    if not tenant.database.exists():
        return False
    # Django's connection would destroy a log that a killed process left beside a damaged database.
    if sqlite.left_behind(tenant.database.resolve()) and _looks_damaged(tenant.database):
        return False
    try:
        _require_sound()
    except DatabaseError as error:
        code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
        return code in (SQLITE_BUSY, SQLITE_LOCKED)
    return True


def _tables() -> list[str]:
    """The catalog's own tables. The other ones may be damaged."""
    return [model._meta.db_table for model in apps.get_app_config("tenant_backup").get_models()]


def _looks_damaged(database: Path) -> bool:
    """Whether the catalog's tables are damaged, by a look that changes nothing."""
    try:
        with sqlite.snapshot(database, busy_timeout=0, only_look=True) as snapshot:
            snapshot.require_sound(_tables())
    except DatabaseDamaged:
        return True
    except BackupError:
        pass  # A look cannot tell.
    return False


def _require_sound() -> None:
    """Raise `DatabaseError` if the catalog's tables are damaged, or no row can be added to them.

    A new row also needs `sqlite_sequence` and the indexes, and only writing shows whether these
    are sound. So one is added, and taken back at once.
    """
    connection = connections[conf.CATALOG_DATABASE]
    with connection.cursor() as cursor:
        for table in _tables():
            cursor.execute(f"PRAGMA integrity_check('{table}')")
            if (found := cursor.fetchall()) != [("ok",)]:
                raise DatabaseError(str(found[0][0]))
    if connection.in_atomic_block:
        return
    with transaction.atomic(using=conf.CATALOG_DATABASE):
        Event.objects.create(kind=EventKind.RESTORED)
        transaction.set_rollback(True, using=conf.CATALOG_DATABASE)
