"""The disk: its free space, syncing, opening files safely, and its errors in words."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from django.template.defaultfilters import filesizeformat

from tenant_backup.exceptions import BackupError, NotEnoughSpace, NotWritable, cannot_be_read
from tenant_backup.sqlite import inode_shortage

SPACE_MARGIN = 16 * 1024 * 1024
"""Bytes that a backup must leave free, so that the tenant's own writes do not fail beside it."""

NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""How file systems refuse hard links that they do not have, or forbid."""

NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
"""How file systems say that they cannot sync a folder."""

O_BINARY = getattr(os, "O_BINARY", 0)
"""Without it, Windows changes the line ends of what is read."""

O_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
"""A symbolic link could lead to any file that this process may open."""


def size_in_words(size: int) -> str:
    """A number of bytes as people write it, such as "1.5 MB"."""
    return str(filesizeformat(size)).replace("\xa0", " ")


def nearest(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if _exists(folder))


def _exists(path: Path) -> bool:
    """Whether it exists, even if we may not reach it."""
    try:
        return path.exists()
    except OSError:
        return True


def open_regular(file: Path) -> BinaryIO:
    """Open a file for reading; raises `BackupError` if it is missing or no regular file."""
    try:
        # Without O_NONBLOCK, a named pipe would keep us waiting for somebody who writes to it.
        flags = O_NOFOLLOW | O_BINARY | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(file, os.O_RDONLY | flags)
    except FileNotFoundError:
        raise BackupError("The file %(path)s no longer exists.", path=file) from None
    except OSError as error:
        raise cannot_be_read(file, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BackupError("%(path)s is not a regular file.", path=file)
    return os.fdopen(descriptor, "rb")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` into `NotEnoughSpace` or `NotWritable`, but let `FileExistsError` pass."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC and (shortage := inode_shortage(nearest(path.parent))):
            raise NotEnoughSpace(
                "%(path)s cannot be created. %(shortage)s", path=path, shortage=shortage
            ) from error
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NotEnoughSpace(
                "%(path)s cannot be written: %(reason)s.", path=path, reason=error.strerror
            ) from error
        raise _not_writable(path, error) from error


def _not_writable(path: Path, error: OSError) -> NotWritable:
    if error.errno == errno.EROFS:
        return NotWritable(
            "%(path)s cannot be written: %(reason)s.", path=path, reason=error.strerror
        )
    if not hasattr(os, "geteuid"):
        return NotWritable(
            "%(path)s cannot be written: %(reason)s. The user that this process runs as needs "
            "write permission in %(folder)s.",
            path=path,
            reason=error.strerror,
            folder=path.parent,
        )
    return NotWritable(
        "%(path)s cannot be written: %(reason)s. The user that this process runs as (user id "
        "%(user)d) needs write permission in %(folder)s.",
        path=path,
        reason=error.strerror,
        user=os.geteuid(),
        folder=path.parent,
    )


def sync(path: Path) -> None:
    """Sync a file's content, or a folder's entries."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Sync a folder's entries, if the system can."""
    if os.name == "nt":
        return
    with writing(path):
        try:
            sync(path)
        except OSError as error:
            if error.errno not in NO_SYNC:
                raise


def link(partial: Path, final: Path) -> None:
    """Give the partial its final name, too, or instead if the file system has no hard links.

    Raises `FileExistsError` if that name is taken.
    """
    if os.name == "nt":
        partial.rename(final)  # Windows never overwrites here.
        return
    try:
        os.link(partial, final)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # The process that publishes holds the tenant's lock, so nobody takes the name meanwhile.
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final) from None
        partial.rename(final)
