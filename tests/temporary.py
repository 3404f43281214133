"""Where the tests put their files: into memory where there is enough of it.

Most of what the tests do is to make small databases, each of which waits for the disk many times.
No test asks whether the disk keeps what it was told to keep: those that are about `fsync` watch the
call, and those about a full disk bring a small disk of their own.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - who may write there makes folders of unguessable names
MOUNTS = Path("/proc/mounts")
ENOUGH = 1024**3


def use_memory() -> None:
    """From now on use memory for temporary files, here and in the processes that we start.

    Unless somebody has said by TMPDIR where they are to be.
    """
    if "TMPDIR" not in os.environ and has_room(MEMORY):
        os.environ["TMPDIR"] = str(MEMORY)
        # Python may have looked for a folder before.
        tempfile.tempdir = None


def has_room(folder: Path, mounts: Path = MOUNTS) -> bool:
    """Whether this folder is in memory, is ours to write in, and has room enough."""
    try:
        kinds = dict(line.split()[1:3] for line in mounts.read_text().splitlines())
        facts = os.statvfs(folder)
    except OSError:
        return False
    is_in_memory = kinds.get(str(folder)) == "tmpfs"
    is_ours = os.access(folder, os.W_OK | os.X_OK)
    return is_in_memory and is_ours and facts.f_bavail * facts.f_frsize >= ENOUGH
