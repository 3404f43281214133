"""Working under the tenant's lock: first recovery, then the work, last the index and the signals.

The holder begins by recovering what a crash has left and by learning from the folder's index, and
ends by writing a new index. The host's receivers are called when the lock is free again.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from django.db import transaction

from tenant_backup import lock
from tenant_backup.backups.adoption import adopt_described
from tenant_backup.backups.deletion_steps import Deletion, delete_in_steps
from tenant_backup.backups.folder import Folder, directory_of
from tenant_backup.backups.outcomes import announce, as_backup_error
from tenant_backup.backups.recovery import recover_deletions, recover_running
from tenant_backup.catalog import require_no_transaction
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, BackupInProgress
from tenant_backup.models import Backup
from tenant_backup.signals import backup_deleted
from tenant_backup.tenants import Tenant

logger = logging.getLogger("tenant_backup")

NOT_WRITTEN = "The backup index of tenant %r was not written: %s"


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
        """Tell the catalog what only the folder's index knows.

        If that fails, backups can still be made, but nothing is pruned.
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
        """Write the folder's index. If that fails, the next holder of the lock writes it."""
        try:
            self.folder.describe()
            return
        except BackupError as error:
            logger.warning(NOT_WRITTEN, self.tenant.id, error)
        except Exception as error:
            logger.exception(NOT_WRITTEN, self.tenant.id, error)
        self.folder.could_not_write = True

    def announce(self) -> None:
        for backup in self.ended:
            announce(self.tenant, backup)
        for backup in self.deleted:
            backup_deleted.send_robust(Backup, tenant=self.tenant, backup=backup)


@contextmanager
def tenant_work(tenant: Tenant, *, wait: float) -> Iterator[TenantWork]:
    """Hold the tenant's lock, with everything recovered that a crash left.

    Waits at most `wait` seconds. Raises `BackupInProgress` if another process holds the lock for
    longer, and `NotWritable` if it cannot be taken.
    """
    work: TenantWork | None = None
    try:
        with lock.hold(directory_of(tenant), wait=wait):
            # The index is read first, since recovery changes the catalog's revision.
            work = TenantWork(tenant, Folder.of(tenant))
            work.ended += recover_running(tenant)
            work.deleted += recover_deletions(tenant)
            work.learn_from_folder()
            try:
                yield work
            finally:
                work.write_index()
    finally:
        if work:
            work.announce()
            # Somebody may have pinned a backup since, and found the lock taken.
            if work.folder.is_stale():
                write_stale_index(tenant)


@contextmanager
def tenant_lock(tenant: Tenant, *, wait: float) -> Iterator[list[Backup]]:
    """As `tenant_work`. The backups that the caller adds to the list are announced, too.

    That is done when the lock is free again: receivers of our signals may be slow, or ask for
    another backup.
    """
    with tenant_work(tenant, wait=wait) as work:
        yield work.ended


def recover(tenant: Tenant) -> None:
    """Recover the rows that a crash left `running` or half deleted.

    Does nothing while somebody is at work. Raises `NotWritable` if the tenant's lock cannot be
    taken.
    """
    require_no_transaction()
    rows, directory = Backup.objects.for_tenant(tenant.id), directory_of(tenant)
    if rows.running().exists():
        directory.make()
    elif not (rows.being_deleted().exists() and directory.exists()):
        return
    with suppress(BackupInProgress), tenant_work(tenant, wait=0):
        pass  # To take the lock is to recover.


def write_stale_index(tenant: Tenant) -> None:
    """Write the folder's index if it is stale, unless somebody else is about to.

    The change that it is about has been saved, so no failure here may reach the caller.
    """
    try:
        with suppress(BackupError), tenant_work(tenant, wait=0):
            pass  # The lock's holder writes it in the end.
    except Exception as error:
        logger.exception(NOT_WRITTEN, tenant.id, error)


def learn_from_folder(tenant: Tenant) -> None:
    """Tell a catalog that was just set back what the folder's index knows.

    The lock's holder calls it, whatever the revisions are by now.
    """
    work = TenantWork(tenant, Folder.of(tenant))
    work.folder.is_newer = work.folder.index is not None
    work.learn_from_folder()
    work.write_index()


@contextmanager
def index_kept(tenant: Tenant) -> Iterator[bool]:
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
