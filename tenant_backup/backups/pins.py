"""Pins: a pinned backup is never pruned, and cannot be deleted until somebody unpins it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from django.db import transaction

from tenant_backup.backups.folder import Folder, note_change
from tenant_backup.backups.locking import tenant_work, write_stale_index
from tenant_backup.catalog import catalog_transaction, require_no_transaction
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, Event, EventKind
from tenant_backup.tenants import Tenant


def pin(tenant: Tenant, backup: Backup, *, pinned: bool, actor: str = "") -> None:
    """Pin a backup, so that nothing removes it, or unpin it.

    Raises `BackupError` if a backup that is to be pinned is not good.
    """
    with _index_kept(tenant) as is_behind, catalog_transaction():
        rows = Backup.objects.for_tenant(tenant.id).filter(pk=backup.pk)
        if not (rows.good() if pinned else rows).update(pinned=pinned):
            raise BackupError(
                "Backup %(backup)s is missing, damaged or not complete, so it cannot be pinned.",
                backup=backup.pk,
            )
        if not is_behind:
            note_change(tenant.id)
        if backup.pinned != pinned:
            backup.pinned = pinned
            kind = EventKind.PINNED if pinned else EventKind.UNPINNED
            Event.record(kind, backup, actor=actor)


@contextmanager
def _index_kept(tenant: Tenant) -> Iterator[bool]:
    """Keep the folder's index in line with a change of rows that does not wait for the lock.

    Yields whether the catalog is behind the folder's index nevertheless. Counting a change would
    hide that then, and a new index is written anyway once the catalog has learned from it.

    If the lock is free, we hold it during the change. If it is not, its holder writes the index:
    they compare the revisions after they have released the lock, and we count our change before we
    find it taken. Only if that holder is killed, the next one writes the index.
    """
    try:
        require_no_transaction()
    except BackupError:
        yield Folder.of(tenant).is_newer
        write = partial(write_stale_index, tenant)
        transaction.on_commit(write, using=conf.CATALOG_DATABASE, robust=True)
        return
    with ExitStack() as stack:
        is_ours = False
        with suppress(BackupError):
            stack.enter_context(tenant_work(tenant, wait=0))
            is_ours = True
        yield not is_ours and Folder.of(tenant).is_newer
    if not is_ours:
        write_stale_index(tenant)
