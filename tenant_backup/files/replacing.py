"""Files put aside, and a file put in place of the database: what a restore needs."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from tenant_backup.files.disk import NO_LINKS, O_BINARY, O_NOFOLLOW, link, sync_folder, writing
from tenant_backup.files.owned_folder import OwnedFolder
from tenant_backup.files.owners import Ownership


def take_in(folder: OwnedFolder, files: Iterable[Path]) -> None:
    """Link those of these files that exist into the new folder, too.

    If the file system has no links, they are moved there.
    """
    for file in files:
        if os.path.lexists(file):
            target = folder.file(file.name)
            with writing(target), folder.as_owner():
                link(file, target)
    sync_folder(folder.path)


def keep(folder: OwnedFolder, files: Iterable[Path]) -> None:
    """Link these files into the new folder, too; if the file system has no links, copy them."""
    for file in files:
        target = folder.file(file.name)
        with writing(target):
            try:
                with folder.as_owner():
                    os.link(file, target)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                _copy(folder, file, target)
    sync_folder(folder.path)


def separate(folder: OwnedFolder, name: str) -> None:
    """Turn what `keep` has linked into a file of its own, which no change of the other reaches."""
    file, partial = folder.file(name), folder.partial(name)
    with writing(file):
        if file.lstat().st_nlink > 1:
            _copy(folder, file, partial)
            with folder.as_owner():
                partial.replace(file)
    sync_folder(folder.path)


def put_in_place(
    folder: OwnedFolder,
    partial: Path,
    database: Path,
    *,
    like: Ownership,
    instead_of: Iterable[Path],
) -> None:
    """Give the partial the name of the database, with this owner and mode, durably.

    First `instead_of`, the companions of the old database, are removed.
    """
    with writing(partial):
        with folder.as_owner():
            descriptor = os.open(partial, os.O_RDWR | O_NOFOLLOW | O_BINARY)
        try:
            facts = os.fstat(descriptor)
            if os.name != "nt" and (facts.st_uid, facts.st_gid) != (like.user, like.group):
                os.fchown(descriptor, like.user, like.group)
            if os.name != "nt":
                os.fchmod(descriptor, like.mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    for file in instead_of:
        folder.discard(file)
    sync_folder(database.parent)
    with writing(database), folder.as_owner():
        partial.replace(database)
    sync_folder(database.parent)


def _copy(folder: OwnedFolder, file: Path, target: Path) -> None:
    """Copy a file that is no database, durably."""
    with folder.as_owner():
        source = os.open(file, os.O_RDONLY | O_NOFOLLOW | O_BINARY)
    with os.fdopen(source, "rb") as stream, os.fdopen(folder.create(target), "wb") as copy:
        shutil.copyfileobj(stream, copy)
        copy.flush()
        os.fsync(copy.fileno())
