"""The files in a tenant's folders: their names, their owner, and how they come and go."""

from tenant_backup.files.checksums import stated_sha256
from tenant_backup.files.directory import BackupDirectory
from tenant_backup.files.folders import OwnedFolder
from tenant_backup.files.names import file_names, made_at
from tenant_backup.files.owners import Ownership
from tenant_backup.files.reading import O_BINARY, O_NOFOLLOW
from tenant_backup.files.replacing import keep, put_in_place, separate, take_in
from tenant_backup.files.sizes import size_in_words, wrong_size
from tenant_backup.files.space import SPACE_MARGIN, require_inodes

__all__ = [
    "O_BINARY",
    "O_NOFOLLOW",
    "SPACE_MARGIN",
    "BackupDirectory",
    "OwnedFolder",
    "Ownership",
    "file_names",
    "keep",
    "made_at",
    "put_in_place",
    "require_inodes",
    "separate",
    "size_in_words",
    "stated_sha256",
    "take_in",
    "wrong_size",
]
