"""What a file is recognised by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tenant_backup.sqlite.deadlines import SignOfLife, require_time
from tenant_backup.texts import Text

CHUNK_BYTES = 4 * 1024 * 1024
"""How many bytes are read before the deadline is checked again."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a file is recognised by: its size in bytes and its SHA-256 in hexadecimal digits."""

    size: int
    sha256: str


def fingerprint(
    file: Path, *, deadline: float | None = None, sign_of_life: SignOfLife | None = None
) -> Fingerprint:
    """The fingerprint of a backup's file, which must not be a database in use.

    `deadline` is a time of `time.monotonic()`. Raises `DeadlineExceeded`, and `OSError` where the
    file cannot be read.
    """
    sha256 = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            sha256.update(chunk)
            require_time(deadline, Text("Reading %(path)s", path=file))
            if sign_of_life:
                sign_of_life()
        return Fingerprint(stream.tell(), sha256.hexdigest())
