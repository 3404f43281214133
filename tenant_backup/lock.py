"""The tenant's lock: whoever holds it is the only one at work on that tenant's backups.

The operating system holds it, on a file in the backup directory, so it ends with the process that
took it, however that ends. The file itself stays: to remove it would let two processes lock two
different files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.files import locks

from tenant_backup.exceptions import BackupError, BackupInProgress, NotWritable
from tenant_backup.files import BackupDirectory

LOCK_NAME = ".lock"

POLL_SECONDS = 0.05


@contextmanager
def hold(directory: BackupDirectory, *, wait: float) -> Iterator[None]:
    """Hold the lock of the tenant whose backup directory this is.

    Waits at most `wait` seconds for it, then raises `BackupInProgress`. Raises `NotWritable` where
    the lock's file cannot be opened, `BackupError` where the system has no file locks.
    """
    if locks.LOCK_EX == 0:  # Django's stand-in for platforms that have no file locks
        raise BackupError("This platform has no file locks, without which no backup is safe.")
    deadline = time.monotonic() + wait
    while (descriptor := _take(directory)) is None:
        if time.monotonic() >= deadline:
            raise BackupInProgress(
                "Another process is at work on the backups in %(path)s. Try again when it has "
                "finished.",
                path=directory.path,
            )
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        # Said aloud, since a child process that was forked meanwhile holds the lock with us.
        locks.unlock(descriptor)
        os.close(descriptor)


def _take(directory: BackupDirectory) -> int | None:
    """The descriptor of the locked file, or None where somebody else has the lock."""
    descriptor = _open(directory)
    try:
        if _try(descriptor, directory) and _is_still_there(descriptor, directory):
            taken, descriptor = descriptor, -1
            return taken
        return None
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _open(directory: BackupDirectory) -> int:
    path = directory.file(LOCK_NAME)
    try:
        return directory.create(path)
    except FileExistsError:
        pass
    try:
        # Never through a symbolic link: root may run this in a directory of somebody else.
        return os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        raise NotWritable(
            "The lock %(path)s cannot be opened: %(reason)s.", path=path, reason=error.strerror
        ) from error


def _is_still_there(descriptor: int, directory: BackupDirectory) -> bool:
    """Whether the file that we locked is the one that the next one would open.

    It is not where somebody tidied it away meanwhile.
    """
    try:
        return os.path.samestat(os.fstat(descriptor), directory.file(LOCK_NAME).stat())
    except FileNotFoundError:
        return False


def _try(descriptor: int, directory: BackupDirectory) -> bool:
    try:
        return bool(locks.lock(descriptor, locks.LOCK_EX | locks.LOCK_NB))
    except OSError as error:
        raise BackupError(
            "The file system of %(path)s refuses file locks: %(reason)s.",
            path=directory.path,
            reason=error.strerror,
        ) from error
