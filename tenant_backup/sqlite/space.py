"""How SQLite's disks run out of room."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tenant_backup.texts import Text

LOG_MARGIN = 256 * 1024
"""Bytes that a log takes beyond the pages in it."""


def inode_shortage(folder: Path) -> Text | None:
    """That this disk has room but takes no more files, and what to do about it; None otherwise."""
    if not hasattr(os, "statvfs"):
        return None
    with suppress(OSError):
        facts = os.statvfs(folder)
        # File systems that make inodes as needed report a total of 0.
        if facts.f_files and not facts.f_favail and facts.f_bavail:
            return Text(
                "The disk of %(path)s is out of inodes: all %(all)d are taken, so no file can be "
                "made, though %(bytes)d bytes are free. Remove files that nobody needs, then try "
                "again.",
                path=folder,
                all=facts.f_files,
                bytes=facts.f_bavail * facts.f_frsize,
            )
    return None
