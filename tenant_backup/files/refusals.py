"""Why nothing can be written, in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenant_backup.exceptions import NotEnoughSpace, NotWritable
from tenant_backup.files.space import nearest
from tenant_backup.sqlite import inode_shortage


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


@contextmanager
def not_taken(path: Path) -> Iterator[None]:
    """Turn `FileExistsError` into `NotWritable`."""
    try:
        yield
    except FileExistsError as error:
        raise NotWritable(
            "Somebody created %(path)s while the backup was being made. Nothing was overwritten.",
            path=path,
        ) from error


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
