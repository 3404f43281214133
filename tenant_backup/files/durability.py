"""What survives a power failure: synced files, synced folders, and final names."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tenant_backup.files.refusals import writing

NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""How file systems refuse hard links that they do not have, or forbid."""

NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
"""How file systems say that they cannot sync a folder."""


def sync(path: Path) -> None:
    """Sync a file's content, or a folder's entries."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Sync a folder's entries, where the system can."""
    if os.name == "nt":
        return
    with writing(path):
        try:
            sync(path)
        except OSError as error:
            if error.errno not in NO_SYNC:
                raise


def link(partial: Path, final: Path) -> None:
    """Give the partial its final name, too, or instead where the file system has no hard links.

    Raises `FileExistsError` where that name is taken.
    """
    if os.name == "nt":
        partial.rename(final)  # Windows never overwrites here.
        return
    try:
        os.link(partial, final)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # Whoever publishes holds the tenant's lock, so nobody takes the name in between.
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final) from None
        partial.rename(final)
