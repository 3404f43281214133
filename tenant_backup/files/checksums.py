"""Checksum files: a file `<name>.sha256` beside each backup, as `sha256sum --check` reads it."""

import re
from pathlib import Path

from tenant_backup.exceptions import BackupError, cannot_be_read
from tenant_backup.files.disk import open_regular

MOST_BYTES = 1000
"""How many bytes of a checksum file are read. One that we wrote is shorter."""


def checksum_file_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def checksum_line(name: str, sha256: str) -> bytes:
    """The content of a checksum file."""
    return f"{sha256}  {name}\n".encode()


def matches_checksum_file(file: Path, sha256: str) -> bool:
    """Whether the checksum file of this backup says exactly this, for a file of this name."""
    try:
        with open_regular(checksum_file_of(file)) as stream:
            return stream.read(MOST_BYTES) == checksum_line(file.name, sha256)
    except (BackupError, OSError):
        return False


def stated_sha256(file: Path) -> str | None:
    """The SHA-256 that a checksum file states for this file, even under another name.

    None if there is no checksum file. Raises `BackupError` if it cannot be read, or holds no
    checksum.
    """
    checksum_file = checksum_file_of(file)
    if checksum_file.exists() and not checksum_file.is_file():
        # Reading a named pipe would wait forever.
        raise BackupError("%(path)s is not a regular file.", path=checksum_file)
    try:
        with checksum_file.open("rb") as stream:
            content = stream.read(MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot_be_read(checksum_file, error) from error
    # `sha256sum` begins the line with a backslash if the name has characters to escape.
    line = re.match(rb"\\?([0-9a-fA-F]{64})( |$)", content)
    if not line:
        raise BackupError(
            "%(checksum_file)s holds no checksum as sha256sum writes it. Without this file, only "
            "the structure of %(file)s is checked.",
            checksum_file=checksum_file,
            file=file.name,
        )
    return line[1].decode().lower()
