"""The catalog's database: its transactions, and its connection during long work."""

from django.db import connections, transaction

from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError


def catalog_transaction() -> transaction.Atomic:
    """All changes of the catalog made inside are saved, or none."""
    return transaction.atomic(using=conf.CATALOG_DATABASE)


def require_no_transaction() -> None:
    """Raise `BackupError` inside a transaction of the catalog: a rollback brings no files back."""
    if not is_in_transaction():
        return
    try:
        # A transaction that Django's own TestCase has opened does not count.
        with transaction.atomic(using=conf.CATALOG_DATABASE, durable=True):
            pass
    except RuntimeError:
        raise BackupError(
            "Backups cannot be made or deleted inside a database transaction of the catalog's "
            "database, because a rollback would undo the rows but not the files."
        ) from None


def is_in_transaction() -> bool:
    return connections[conf.CATALOG_DATABASE].in_atomic_block


def renew_connection() -> None:
    """Replace a connection that ended while other work took long, the host's own, for example."""
    if not is_in_transaction():
        connections[conf.CATALOG_DATABASE].close_if_unusable_or_obsolete()


def close_connection() -> None:
    """Close the connection before long work: a server may end one that is idle for so long."""
    if not is_in_transaction():
        connections[conf.CATALOG_DATABASE].close()
