"""The files in a tenant's folders: their names, their owner, and how they come and go."""

from tenant_backup.files.backup_directory import BackupDirectory, wrong_size
from tenant_backup.files.checksums import stated_sha256
from tenant_backup.files.disk import (
    O_BINARY,
    O_NOFOLLOW,
    SPACE_MARGIN,
    open_regular,
    size_in_words,
)
from tenant_backup.files.names import file_names, made_at
from tenant_backup.files.owners import Ownership
from tenant_backup.files.private_file import writing_privately
from tenant_backup.files.replacing import keep, put_in_place, separate, take_in

__all__ = [
    "O_BINARY",
    "O_NOFOLLOW",
    "SPACE_MARGIN",
    "BackupDirectory",
    "Ownership",
    "file_names",
    "keep",
    "made_at",
    "open_regular",
    "put_in_place",
    "separate",
    "size_in_words",
    "stated_sha256",
    "take_in",
    "writing_privately",
    "wrong_size",
]
