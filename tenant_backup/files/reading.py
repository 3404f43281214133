"""Opening files for reading, where somebody may have put something else in their place."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from tenant_backup.exceptions import BackupError, cannot_be_read

O_BINARY = getattr(os, "O_BINARY", 0)
"""Without it, Windows changes the line ends of what is read."""

O_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
"""A symbolic link could lead to any file that this process may open."""


def open_regular(file: Path) -> BinaryIO:
    """Open a file for reading; raises `BackupError` where it is missing or no regular file."""
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
