"""A folder in which root makes files for the tenant's owner; the base of the backup directory."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tenant_backup.exceptions import BackupError, NotEnoughSpace, NotWritable
from tenant_backup.files.disk import (
    O_BINARY,
    SPACE_MARGIN,
    nearest,
    open_regular,
    size_in_words,
    sync_folder,
    writing,
)
from tenant_backup.files.owners import acting_as, distrust_link, owner_for_root
from tenant_backup.sqlite import inode_shortage

IGNORE_NAME = ".gitignore"


@dataclass(frozen=True, slots=True)
class OwnedFolder:
    """A folder `name` in a tenant's root. What root makes in it belongs to the tenant's owner."""

    root: Path
    name: str
    owners: tuple[Path, ...] = ()
    """What root makes belongs to the owner of the first of these that is not root's."""

    @property
    def path(self) -> Path:
        return self.root / self.name

    def file(self, name: str) -> Path:
        """The path of the file of this name; raises `BackupError` if it would lie elsewhere."""
        if name in {"", ".", ".."} or set(name) & set("/\\\0"):
            raise BackupError("%(name)r is not the name of a backup file.", name=name)
        return self.path / name

    def partial(self, name: str) -> Path:
        """The path of this file while it is being made."""
        return self.file(f".{name}.partial")

    def is_there(self) -> bool:
        """Whether we can see the folder; never raises."""
        try:
            return self.path.is_dir()
        except (OSError, ValueError):
            return False

    def exists(self) -> bool:
        """Whether the folder exists; raises `NotWritable` if that cannot be seen."""
        with writing(self.path):
            return self.path.is_dir()

    def make(self, *, for_git_to_ignore: bool = True) -> None:
        """Make the folder, for its owner only, if there is none.

        The root is made, too, but nothing above it: that would hide a mistyped path. Some projects
        have their databases in a work tree, so a new folder tells git to ignore it.
        """
        is_new = False
        for folder in (self.root, self.path):
            with writing(folder):
                if folder.is_dir():
                    continue
                with suppress(FileExistsError):
                    self._make(folder)
                    is_new = folder == self.path
                # There may be a file, or a link that leads nowhere. Or another process was faster.
                if not folder.is_dir():
                    raise NotWritable("%(path)s is not a directory.", path=folder)
                sync_folder(folder.parent)
        distrust_link(self.path)
        if is_new and for_git_to_ignore:
            # A mere convenience: no backup fails for lack of it.
            with suppress(BackupError, OSError):
                self.create_with(self.file(IGNORE_NAME), b"*\n")

    @contextmanager
    def as_owner(self) -> Iterator[None]:
        """As root, become the tenant's owner for a moment: see `acting_as`."""
        with acting_as(self._owner(), self._is_writable):
            yield

    def require_writable(self) -> None:
        """Raise `NotWritable` if the permissions do not let us make files in the folder."""
        with writing(self.path):
            if not self._is_writable():
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def try_writing(self) -> Path:
        """Write a file without a name into the folder, and return where that was.

        If the folder does not exist, that is the folder above. It is not made, because an empty
        folder in place of one that is only out of reach would make all backups look gone. Raises
        `NotWritable` or `NotEnoughSpace`, as making a backup would.
        """
        folder = nearest(self.path)
        with (
            writing(folder / self.name),
            self.as_owner(),
            tempfile.TemporaryFile(dir=folder) as file,
        ):
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
        return folder

    def free_bytes(self) -> int:
        """Free bytes, for this process, on the disk where the folder is or would be."""
        return shutil.disk_usage(nearest(self.path)).free

    def disk_bytes(self) -> int:
        """The size of the disk where the folder is or would be, in bytes."""
        return shutil.disk_usage(nearest(self.path)).total

    def require_space(self, needed: int) -> None:
        """Raise `NotEnoughSpace` unless this many bytes, and the margin, are free."""
        free = self.free_bytes()
        if free < needed + SPACE_MARGIN:
            raise NotEnoughSpace(
                "Not enough disk space in %(path)s: %(needed)s needed, %(free)s free.",
                path=self.path,
                needed=size_in_words(needed + SPACE_MARGIN),
                free=size_in_words(free),
            )
        if shortage := inode_shortage(nearest(self.path)):
            raise NotEnoughSpace("%(shortage)s", shortage=shortage)

    def create(self, path: Path) -> int:
        """Create a file of the folder, for its owner only, and return its descriptor.

        Raises `FileExistsError` if the name is taken.
        """
        with writing(path):
            with self.as_owner():
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | O_BINARY, 0o600)
            owner = self._owner()
            if owner and os.fstat(descriptor).st_uid != owner.st_uid:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            return descriptor

    def create_with(self, path: Path, content: bytes) -> None:
        """Create a small file of the folder, and sync its content; raises as `create` does."""
        with writing(path), os.fdopen(self.create(path), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())

    def replace(self, name: str, content: bytes) -> None:
        """Write a small file of this name, new or in place of another: all of it or nothing.

        What has the name is replaced, and never followed or written to.
        """
        file, partial = self.file(name), self.partial(name)
        self._remove(partial)  # left by a process that was killed
        try:
            self.create_with(partial, content)
            with writing(file), self.as_owner():
                partial.replace(file)
        except FileExistsError as error:
            raise NotWritable(
                "%(path)s was not written: another process is writing to it.", path=file
            ) from error
        except BaseException:
            with suppress(BackupError):
                self._remove(partial)
            raise
        sync_folder(self.path)

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading; raises `BackupError` if it is missing or no regular file."""
        return open_regular(self.file(name))

    def discard(self, path: Path) -> None:
        """Remove a file that we made under this very name, or an empty folder."""
        with writing(path), self.as_owner():
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)

    def _remove(self, path: Path) -> None:
        with writing(path), self.as_owner():
            path.unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        with self.as_owner():
            folder.mkdir(mode=0o700)
        owner = self._owner()
        if owner and folder.stat().st_uid != owner.st_uid:
            os.chown(folder, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def _owner(self) -> os.stat_result | None:
        return owner_for_root(self.owners or (self.root,))

    def _is_writable(self) -> bool:
        effective = os.access in os.supports_effective_ids
        return os.access(nearest(self.path), os.W_OK | os.X_OK, effective_ids=effective)
