"""The file lock of a tenant: taking it, waiting for it, and letting it go.

It is a lock of the operating system on a file in the backup directory. So it ends with the process
that took it, however that ends. The file itself stays: if it were removed, two processes could lock
two different files.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.core.files import locks

from tenant_backup.exceptions import BackupError, BackupInProgress, NotWritable
from tenant_backup.files import O_NOFOLLOW, BackupDirectory

LOCK_NAME = ".lock"

POLL_SECONDS = 0.05


@contextmanager
def hold(directory: BackupDirectory, *, wait: float) -> Iterator[None]:
    """Hold the lock of the tenant whose backup directory this is.

    Waits at most `wait` seconds, then raises `BackupInProgress`. Raises `NotWritable` if the lock
    file cannot be opened, and `BackupError` if the system has no file locks.
    """
    if locks.LOCK_EX == 0:  # This is how Django marks platforms without file locks.
        raise BackupError("This platform has no file locks, and without them no backup is safe.")
    deadline = time.monotonic() + wait
    while (descriptor := _take(directory)) is None:
        if time.monotonic() >= deadline:
            raise BackupInProgress(
                "Another process is working on the backups in %(path)s. Try again when it has "
                "finished.",
                path=directory.path,
            )
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        # Unlock explicitly: a child process that was forked meanwhile holds the descriptor, too.
        locks.unlock(descriptor)
        os.close(descriptor)


def _take(directory: BackupDirectory) -> int | None:
    """The descriptor of the locked file, or None if another process has the lock."""
    with ExitStack() as stack:
        descriptor = _open(directory)
        stack.callback(os.close, descriptor)
        if _lock(descriptor, directory) and _is_still_there(descriptor, directory):
            stack.pop_all()
            return descriptor
    return None


def _open(directory: BackupDirectory) -> int:
    path = directory.file(LOCK_NAME)
    try:
        return directory.create(path)
    except FileExistsError:
        pass
    try:
        # Never through a symbolic link: root may run this in somebody else's directory.
        return os.open(path, os.O_RDWR | O_NOFOLLOW)
    except OSError as error:
        raise NotWritable(
            "The lock %(path)s cannot be opened: %(reason)s.", path=path, reason=error.strerror
        ) from error


def _is_still_there(descriptor: int, directory: BackupDirectory) -> bool:
    """Whether the next process would lock the same file: somebody may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), directory.file(LOCK_NAME).stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int, directory: BackupDirectory) -> bool:
    try:
        return bool(locks.lock(descriptor, locks.LOCK_EX | locks.LOCK_NB))
    except OSError as error:
        raise BackupError(
            "The file system of %(path)s refuses file locks: %(reason)s.",
            path=directory.path,
            reason=error.strerror,
        ) from error
