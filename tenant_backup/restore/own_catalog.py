"""The catalog that lies in the very database to be restored, as with `SingleTenant`."""

from __future__ import annotations

from pathlib import Path
from sqlite3 import SQLITE_BUSY, SQLITE_LOCKED

from django.db import DatabaseError, connections, transaction

from tenant_backup import sqlite
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, DatabaseDamaged
from tenant_backup.models import Automation, Backup, BackupSettings, Event, EventKind
from tenant_backup.restore.disk import resolved
from tenant_backup.tenants import Tenant, sqlite_file

TABLES = [model._meta.db_table for model in (Backup, BackupSettings, Automation, Event)]
"""What must be sound for the catalog to be usable."""


def holds_catalog(tenant: Tenant) -> bool:
    """Whether the catalog lies in the tenant's own database."""
    catalog = sqlite_file(conf.CATALOG_DATABASE)
    return catalog is not None and resolved(catalog) == resolved(tenant.database)


def is_usable(tenant: Tenant) -> bool:
    """Whether the catalog can be used; False only where it lies in a damaged or missing database.

    A locked database counts as usable: a later step says who uses it.
    """
    if not holds_catalog(tenant):
        return True
    # A connection to a missing file would create it.
    return tenant.database.exists() and _can_be_opened(tenant.database) and _can_be_written()


def _can_be_opened(database: Path) -> bool:
    """Whether Django may connect to the database.

    Where a killed process left a log and the database is damaged, a connection would destroy the
    log. So the tables are first read in a way that changes nothing.
    """
    if not sqlite.left_behind(resolved(database)):
        return True
    try:
        with sqlite.snapshot(database, busy_timeout=0, only_look=True) as snapshot:
            snapshot.require_sound(TABLES)
    except DatabaseDamaged:
        return False
    except BackupError:
        pass
    return True


def _can_be_written() -> bool:
    try:
        _require_sound_tables()
        _require_rows_can_be_added()
    except DatabaseError as error:
        code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
        return code in (SQLITE_BUSY, SQLITE_LOCKED)
    return True


def _require_sound_tables() -> None:
    """Raise `DatabaseError` where the catalog's own pages are damaged, whatever the others are."""
    with connections[conf.CATALOG_DATABASE].cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"PRAGMA integrity_check('{table}')")
            if (found := cursor.fetchall()) != [("ok",)]:
                raise DatabaseError(str(found[0][0]))


def _require_rows_can_be_added() -> None:
    """Raise `DatabaseError` where no row can be added, by adding one and taking it back.

    A new row also needs `sqlite_sequence` and the indexes; only writing shows that these are
    sound. The transaction is rolled back, so no event stays.
    """
    if connections[conf.CATALOG_DATABASE].in_atomic_block:
        return
    with transaction.atomic(using=conf.CATALOG_DATABASE):
        Event.objects.create(kind=EventKind.RESTORED)
        transaction.set_rollback(True, using=conf.CATALOG_DATABASE)
