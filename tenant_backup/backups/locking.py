"""The tenant's lock: whoever holds it is the only one at work on that tenant's backups.

The holder begins by recovering what a crash has left and by learning from the folder's index, and
ends by writing a new index. The host's receivers are called when the lock is free again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from django.db import DatabaseError

from tenant_backup import lock
from tenant_backup.backups.adoption import adopt_described
from tenant_backup.backups.deletion_steps import Deletion, delete_in_steps
from tenant_backup.backups.directories import directory_of
from tenant_backup.backups.folder import Folder
from tenant_backup.backups.outcomes import announce, announce_deleted, as_backup_error
from tenant_backup.backups.recovery import recover_deletions, recover_running
from tenant_backup.catalog import require_no_transaction
from tenant_backup.exceptions import BackupError, BackupInProgress
from tenant_backup.models import Backup
from tenant_backup.tenants import Tenant

logger = logging.getLogger("tenant_backup")


@dataclass(slots=True)
class TenantWork:
    """What the holder of a tenant's lock has found and done."""

    tenant: Tenant
    folder: Folder
    ended: list[Backup] = field(default_factory=list)
    """Backups that are complete or failed now, to be announced."""
    deleted: list[Backup] = field(default_factory=list)
    """Backups that are gone, to be announced."""
    adopted: list[Backup] = field(default_factory=list)
    """Backups that got their row back from the folder's index."""

    @classmethod
    def begin(cls, tenant: Tenant) -> TenantWork:
        return cls(tenant, Folder.of(tenant.id, directory_of(tenant)))

    def recover(self) -> None:
        self.ended += recover_running(self.tenant)
        self.deleted += recover_deletions(self.tenant)

    def delete(self, backup: Backup, deletion: Deletion) -> None:
        delete_in_steps(self.folder.directory, backup, deletion)
        self.deleted.append(backup)

    def require_folder_known(self) -> None:
        """Raise the `BackupError` that kept the catalog from learning from the folder's index.

        The index may say that a backup is pinned. So nothing is removed automatically without it.
        """
        if self.folder.trouble:
            raise self.folder.trouble

    def learn_from_folder(self) -> None:
        """Tell the catalog what the folder's index knows and it does not.

        If that fails, a backup is made all the same, but nothing is pruned.
        """
        try:
            self.folder.tell_catalog()
            if self.folder.index:
                self.adopted += adopt_described(self.tenant, self.folder.index.entries)
            self.folder.conclude()
        except Exception as error:
            logger.exception("The backup index of tenant %r is ignored.", self.tenant.id)
            self.folder.trouble = as_backup_error(error)

    def write_index(self) -> None:
        try:
            self.folder.describe()
        except Exception:
            # Whoever holds the lock next writes it.
            logger.exception("The backup index of tenant %r was not written.", self.tenant.id)
            self.folder.could_not_write = True

    def announce(self) -> None:
        for backup in self.ended:
            announce(self.tenant, backup)
        for backup in self.deleted:
            announce_deleted(self.tenant, backup)

    def is_index_stale(self) -> bool:
        """Whether somebody has pinned a backup since we wrote it, and found the lock taken."""
        try:
            return self.folder.is_stale()
        except DatabaseError:
            return False  # Whoever holds the lock next writes it.


@contextmanager
def tenant_work(tenant: Tenant, *, wait: float) -> Iterator[TenantWork]:
    """Hold the tenant's lock, with everything recovered that a crash left.

    Waits at most `wait` seconds. Raises `BackupInProgress` where another process holds the lock for
    longer, and `NotWritable` where it cannot be taken.
    """
    work: TenantWork | None = None
    try:
        with lock.hold(directory_of(tenant), wait=wait):
            # It reads the index first, since what is recovered changes the catalog's revision.
            work = TenantWork.begin(tenant)
            work.recover()
            work.learn_from_folder()
            try:
                yield work
            finally:
                work.write_index()
    finally:
        if work:
            work.announce()
            if work.is_index_stale():
                write_stale_index(tenant)


@contextmanager
def tenant_lock(tenant: Tenant, *, wait: float) -> Iterator[list[Backup]]:
    """Hold the tenant's lock for `wait` seconds at most, with everything recovered.

    The backups that the caller adds to the list are announced, as the recovered ones are, when the
    lock is free again: receivers of our signals may be slow, or ask for another backup.
    """
    with tenant_work(tenant, wait=wait) as work:
        yield work.ended


def recover(tenant: Tenant) -> None:
    """Recover the rows that a crash left `running` or half deleted.

    Does nothing while somebody is at work. Raises `NotWritable` where the tenant's lock cannot be
    taken.
    """
    require_no_transaction()
    rows, directory = Backup.objects.for_tenant(tenant.id), directory_of(tenant)
    if rows.running().exists():
        directory.make()
    elif not (rows.being_deleted().exists() and directory.exists()):
        return
    with suppress(BackupInProgress), tenant_work(tenant, wait=0):
        pass  # Whoever holds the lock has recovered them.


def write_stale_index(tenant: Tenant) -> None:
    """Write the folder's index where it is stale, unless somebody else is about to.

    The change that it is about is saved by now, so no failure here may reach the caller.
    """
    try:
        with suppress(BackupError), tenant_work(tenant, wait=0):
            pass  # Whoever holds the lock writes it in the end.
    except Exception:
        logger.exception("The backup index of tenant %r was not written.", tenant.id)


def learn_from_folder(tenant: Tenant) -> None:
    """Tell a catalog that was just set back what the folder's index knows.

    The lock's holder calls it, whatever the revisions are by now.
    """
    work = TenantWork.begin(tenant)
    work.folder.is_newer = work.folder.index is not None
    work.learn_from_folder()
    work.write_index()
