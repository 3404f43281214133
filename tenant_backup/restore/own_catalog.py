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
    return tenant.database.exists() and _can_be_read(tenant.database) and _can_be_written()


def _can_be_read(database: Path) -> bool:
    """Whether the catalog's own tables are sound; the others may be damaged.

    Read in a way that changes nothing: if a killed process left a log beside a damaged database,
    a connection of Django's would destroy the log.
    """
    models = apps.get_app_config("tenant_backup").get_models()
    try:
        with sqlite.snapshot(database, busy_timeout=0, only_look=True) as snapshot:
            snapshot.require_sound(model._meta.db_table for model in models)
    except DatabaseDamaged:
        return False
    except BackupError:
        pass
    return True


def _can_be_written() -> bool:
    """Whether a row can be added. One is added, and taken back at once.

    A new row also needs `sqlite_sequence` and the indexes, and only writing shows whether these
    are sound. The transaction is rolled back, so no event stays.
    """
    if connections[conf.CATALOG_DATABASE].in_atomic_block:
        return True
    try:
        with transaction.atomic(using=conf.CATALOG_DATABASE):
            Event.objects.create(kind=EventKind.RESTORED)
            transaction.set_rollback(True, using=conf.CATALOG_DATABASE)
    except DatabaseError as error:
        code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
        return code in (SQLITE_BUSY, SQLITE_LOCKED)
    return True
