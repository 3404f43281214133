"""Room on a disk: bytes, and inodes."""

from __future__ import annotations

from pathlib import Path

from tenant_backup.exceptions import NotEnoughSpace
from tenant_backup.sqlite import inode_shortage

SPACE_MARGIN = 16 * 1024 * 1024
"""Bytes that a backup must leave free, so that the tenant's own writes do not fail beside it."""


def require_inodes(folder: Path) -> None:
    """Raise `NotEnoughSpace` where the disk of this folder has room, but takes no more files."""
    if shortage := inode_shortage(folder):
        raise NotEnoughSpace("%(shortage)s", shortage=shortage)


def nearest(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if _exists(folder))


def _exists(path: Path) -> bool:
    """Whether it exists, even where we may not reach it."""
    try:
        return path.exists()
    except OSError:
        return True
