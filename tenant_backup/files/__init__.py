"""The files in a tenant's backup directory: their names, their owner, and how they come and go.

A backup is first made as `.<name>.partial` and gets its final name only when it is complete and
verified. Files are found by the exact name that the catalog has, never by a pattern.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import BinaryIO

from django.template.defaultfilters import filesizeformat
from django.utils.text import slugify

from tenant_backup.exceptions import BackupError, DatabaseDamaged, NotEnoughSpace, NotWritable
from tenant_backup.sqlite import Fingerprint, fingerprint, inode_shortage

SPACE_MARGIN = 16 * 1024 * 1024
"""Bytes that a backup must leave free, so that the tenant's own writes do not fail beside it."""

SLUG_LENGTH = 100
"""Characters of the tenant id in a file name; most file systems allow 255 bytes in all."""

IGNORE_NAME = ".gitignore"

SECONDS_BETWEEN_SIGNS_OF_LIFE = 15

NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""How file systems without hard links, and those that forbid them, refuse to make one."""

NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
"""How file systems that cannot sync a directory say so."""


O_BINARY = getattr(os, "O_BINARY", 0)
"""Windows would otherwise change the line ends of what is read."""


def file_names(tenant_id: str, at: datetime) -> Iterator[str]:
    """The names that a backup made at this moment may get, in the order to try them."""
    slug = slugify(tenant_id)[:SLUG_LENGTH] or "tenant"
    stem = f"{slug}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    yield f"{stem}.sqlite3"
    for number in count(2):
        yield f"{stem}-{number}.sqlite3"


def made_at(tenant_id: str, name: str) -> datetime | None:
    """The moment in a name that `file_names` may have given; None for any other name."""
    stem = slugify(tenant_id)[:SLUG_LENGTH] or "tenant"
    parts = re.fullmatch(rf"{re.escape(stem)}-([0-9T]{{15}}Z)(?:-[1-9][0-9]*)?\.sqlite3", name)
    with suppress(ValueError):
        return parts and datetime.strptime(parts[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return None


def size_in_words(size: int) -> str:
    """A number of bytes as people write it, such as "1.5 MB"."""
    return str(filesizeformat(size)).replace("\xa0", " ")


def wrong_size(file: Path, found: int, expected: int | None) -> DatabaseDamaged | None:
    """That a backup's file has not the size that it was made with, where it is so."""
    if expected is None or found == expected:
        return None
    return DatabaseDamaged(
        "%(path)s is damaged: it has %(found)d bytes instead of %(expected)d.",
        path=file,
        found=found,
        expected=expected,
    )


@dataclass(frozen=True, slots=True)
class Ownership:
    """Whom a file belongs to, by number, and who may do what with it."""

    user: int
    group: int
    mode: int

    @classmethod
    def of_database(cls, database: Path, root: Path) -> Ownership:
        """That of the database; where it is gone, whoever may use the tenant root may use it."""
        try:
            facts = database.stat()
            mode = facts.st_mode & 0o777
        except FileNotFoundError:
            facts = root.stat()
            mode = facts.st_mode & 0o666
        return cls(facts.st_uid, facts.st_gid, mode)


@dataclass(frozen=True, slots=True)
class BackupDirectory:
    """A tenant's backup directory. What root makes in it belongs to the tenant's owner."""

    root: Path
    name: str
    owners: tuple[Path, ...] = ()
    """Whose owner gets what root makes: that of the first of these that is not root's."""

    @property
    def path(self) -> Path:
        return self.root / self.name

    def file(self, name: str) -> Path:
        """The path of the file of this name; raises `BackupError` where it would lie elsewhere."""
        if name in {"", ".", ".."} or set(name) & set("/\\\0"):
            raise BackupError("%(name)r is not the name of a backup's file.", name=name)
        return self.path / name

    def partial(self, name: str) -> Path:
        return self.file(f".{name}.partial")

    def checksum_file(self, name: str) -> Path:
        return self.file(f"{name}.sha256")

    def is_there(self) -> bool:
        """Whether we can see the directory; never raises."""
        try:
            return self.path.is_dir()
        except (OSError, ValueError):
            return False

    def exists(self) -> bool:
        with _writing(self.path):
            return self.path.is_dir()

    def make(self, *, for_git_to_ignore: bool = True) -> None:
        """Make the directory, readable for its owner only, where there is none.

        The tenant root is made, too, but not the path above it, which would hide a mistyped one.
        Some projects have their databases in a work tree: so a new directory says that git shall
        leave it alone.
        """
        is_new = False
        for folder in (self.root, self.path):
            with _writing(folder):
                if folder.is_dir():
                    continue
                with suppress(FileExistsError):
                    self._make_folder(folder)
                    is_new = folder == self.path
                # There may have been a file, or a link that leads nowhere; or another process was
                # faster.
                if not folder.is_dir():
                    raise NotWritable("%(path)s is not a directory.", path=folder)
                _sync_directory(folder.parent)
        self._distrust_links()
        if is_new and for_git_to_ignore:
            self._let_git_ignore_it()

    def _let_git_ignore_it(self) -> None:
        """A convenience: no backup fails for the want of it."""
        file = self.file(IGNORE_NAME)
        with suppress(BackupError, OSError), os.fdopen(self.create(file), "wb") as stream:
            stream.write(b"*\n")

    @contextmanager
    def as_owner(self) -> Iterator[None]:
        """As root, become the tenant's owner for a moment; as anybody else, stay who we are.

        So nothing that the owner puts in our way, such as a symbolic link, leads root to where the
        owner may not go. Where the owner may not write anyway, root stays root. For a moment only,
        and only in a process of one thread, since this is about the whole process: the catalog, and
        what other threads do, is root's affair.
        """
        owner = self._owner_for_root()
        if owner is None or threading.active_count() > 1:
            yield
            return
        group = os.getegid()
        try:
            with suppress(PermissionError):  # a container's root may not become anybody else
                os.setegid(owner.st_gid)
                os.seteuid(owner.st_uid)
            if not self._is_writable():
                os.seteuid(0)
                os.setegid(group)
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)

    def try_writing(self) -> Path:
        """Write a file without a name into the directory, and return where that was.

        Where the directory is not there, it is where that would be made: an empty directory in the
        place of one that is only out of reach would make all backups look gone. Raises
        `NotWritable` or `NotEnoughSpace`, as making a backup would.
        """
        folder = self._nearest()
        with (
            _writing(folder / self.name),
            self.as_owner(),
            tempfile.TemporaryFile(dir=folder) as file,
        ):
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
        return folder

    def free_bytes(self) -> int:
        """Free bytes, for this process, on the disk that the directory is or would be on."""
        return shutil.disk_usage(self._nearest()).free

    def disk_bytes(self) -> int:
        """How large the disk is that the directory is or would be on."""
        return shutil.disk_usage(self._nearest()).total

    def require_writable(self) -> None:
        """Raise `NotWritable` where the permissions do not let us make files in the directory."""
        with _writing(self.path):
            if not self._is_writable():
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

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
        require_inodes(self._nearest())

    def is_free(self, name: str) -> bool:
        """Whether nothing at all lies under this name or the names that go with it."""
        return not any(
            os.path.lexists(path)
            for path in (self.file(name), self.partial(name), self.checksum_file(name))
        )

    def create(self, path: Path) -> int:
        """Create a file of the directory, for its owner only, and return its descriptor.

        Raises `FileExistsError` where there is something of this name already.
        """
        with _writing(path):
            with self.as_owner():
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | O_BINARY, 0o600)
            owner = self._owner_for_root()
            if owner and os.fstat(descriptor).st_uid != owner.st_uid:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            return descriptor

    def create_partial(self, name: str) -> Path:
        """Create the empty file that the copy goes into."""
        os.close(self.create(self.partial(name)))
        return self.partial(name)

    def sign_of_life(self, name: str) -> Callable[[], None]:
        """What to call often during work on the partial that does not write to it.

        Now and then it sets the partial's time, so that others see that somebody is at work.
        """
        partial, seen_at = self.partial(name), time.monotonic()

        def sign_of_life() -> None:
            nonlocal seen_at
            if time.monotonic() - seen_at >= SECONDS_BETWEEN_SIGNS_OF_LIFE:
                seen_at = time.monotonic()
                with suppress(OSError, NotImplementedError):
                    os.utime(partial, follow_symlinks=False)

        return sign_of_life

    def publish(self, name: str, sha256: str) -> None:
        """Give the verified partial its final name, durably and beside its checksum.

        Raises `NotWritable` where something lies under the final name that was not there when the
        name was chosen: nothing is ever overwritten.
        """
        partial, final, checksum_file = (
            self.partial(name),
            self.file(name),
            self.checksum_file(name),
        )
        with _writing(partial):
            _sync(partial)
        # The companion comes first, so that what can fail for want of space fails before anything
        # has the final name.
        with _not_taken(checksum_file):
            self._write_checksum_file(name, sha256)
        with _not_taken(final), _writing(final), self.as_owner():
            _link(partial, final)
        self.finish(name)

    def finish(self, name: str) -> None:
        """Do what is left to do when the final name is there; may be done twice."""
        self._remove(self.partial(name))
        _sync_directory(self.path)

    def holds(self, name: str, expected: Fingerprint) -> bool:
        """Whether the published file of this name is exactly the expected one."""
        file = self.file(name)
        try:
            return file.stat().st_size == expected.size and fingerprint(file) == expected
        except FileNotFoundError:
            return False
        except OSError as error:
            raise BackupError(
                "%(path)s cannot be read: %(reason)s.", path=file, reason=error.strerror
            ) from error

    def fingerprint_by_checksum_file(self, name: str) -> Fingerprint | None:
        """What the published file, or else its partial, is recognised by.

        None where its companion does not say the same.
        """
        try:
            file = self.file(name)
            found = fingerprint(file if file.exists() else self.partial(name))
        except (BackupError, OSError):
            return None
        return found if self._stated(name) == _checksum_line(name, found.sha256) else None

    def recognise(self, name: str) -> Fingerprint:
        """What a file that the catalog does not know is recognised by.

        Raises `DatabaseDamaged` where its companion says something else, and `BackupError` where it
        cannot be read or is no regular file.
        """
        file, checksum_file = self.file(name), self.checksum_file(name)
        self.open(name).close()
        try:
            found = fingerprint(file)
        except OSError as error:
            raise BackupError(
                "%(path)s cannot be read: %(reason)s.", path=file, reason=error.strerror
            ) from error
        if os.path.lexists(checksum_file) and self._stated(name) != _checksum_line(
            name, found.sha256
        ):
            raise DatabaseDamaged(
                "%(path)s is damaged: its checksum is not that of %(checksum_file)s.",
                path=file,
                checksum_file=checksum_file,
            )
        return found

    def matches_checksum_file(self, name: str, sha256: str) -> bool:
        """Whether the companion of this file says this checksum."""
        return self._stated(name) == _checksum_line(name, sha256)

    def renew_checksum_file(self, name: str, sha256: str) -> None:
        """Write the companion of a published file again, whatever lies in its place."""
        self.replace(self.checksum_file(name).name, _checksum_line(name, sha256))
        if self.is_missing(name):
            # It was deleted meanwhile, and a checksum alone is of no use.
            self._remove(self.checksum_file(name))

    def _stated(self, name: str) -> bytes | None:
        """What the companion of this file says; None where it cannot be read."""
        try:
            with self.open(self.checksum_file(name).name) as stream:
                return stream.read(1000)
        except (BackupError, OSError):
            return None

    def sizes(self, wanted: set[str]) -> dict[str, int]:
        """The sizes of the regular files of these names, in one look; of none that is out of reach.

        There may be thousands.
        """
        try:
            with os.scandir(self.path) as entries:
                return {
                    entry.name: entry.stat(follow_symlinks=False).st_size
                    for entry in entries
                    if entry.name in wanted and entry.is_file(follow_symlinks=False)
                }
        except OSError:
            return {}

    def is_missing(self, name: str) -> bool:
        """Whether the published file is certainly not there; one out of reach may be."""
        try:
            self.file(name).lstat()
        except FileNotFoundError:
            return self.path.is_dir()
        except (OSError, BackupError):
            return False
        return False

    def flaw(self, name: str, size: int | None) -> DatabaseDamaged | None:
        """What `stat` alone shows to be wrong with a published file that should have this size.

        Raises `OSError` where it is missing or out of reach.
        """
        file = self.file(name)
        facts = file.lstat()
        if not stat.S_ISREG(facts.st_mode):
            return DatabaseDamaged(
                "%(path)s is not the backup any more, but no regular file.", path=file
            )
        return wrong_size(file, facts.st_size, size)

    def open(self, name: str) -> BinaryIO:
        """Open a published file for reading; raises `BackupError` where it is no regular file."""
        file = self.file(name)
        try:
            # Never through a symbolic link, which could lead to any file that we may read; and a
            # named pipe shall not keep us waiting for somebody who writes to it.
            flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | O_BINARY
            descriptor = os.open(file, os.O_RDONLY | flags)
        except FileNotFoundError:
            raise BackupError("The file %(path)s is not there any more.", path=file) from None
        except OSError as error:
            raise BackupError(
                "%(path)s cannot be read: %(reason)s.", path=file, reason=error.strerror
            ) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BackupError("%(path)s is not a regular file.", path=file)
        return os.fdopen(descriptor, "rb")

    def withdraw(self, name: str, sha256: str) -> None:
        """Remove what an attempt that did not publish has left behind."""
        self._remove(self.partial(name))
        checksum_file = self.checksum_file(name)
        if not sha256:
            return
        with _writing(checksum_file):
            try:
                content = checksum_file.read_bytes()
            except FileNotFoundError:
                return
        # A crash may have cut it short. What does not begin as ours is not ours.
        if _checksum_line(name, sha256).startswith(content):
            self._remove(checksum_file)

    def remove(self, name: str) -> None:
        """Remove a published file and its companion. Files that are already gone are no error."""
        self._remove(self.file(name))
        self._remove(self.checksum_file(name))

    def is_of_size(self, name: str, size: int) -> bool:
        """Whether a regular file of this name and size is there, as far as we can see."""
        try:
            facts = self.file(name).lstat()
        except (OSError, BackupError):
            return False
        return stat.S_ISREG(facts.st_mode) and facts.st_size == size

    def replace(self, name: str, content: bytes) -> None:
        """Write a small file of this name, or another content of it: all of it or nothing.

        What lies in its place is replaced, and never followed or written to.
        """
        file, partial = self.file(name), self.partial(name)
        self._remove(partial)  # of a process that was killed
        try:
            with _writing(file), os.fdopen(self.create(partial), "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            with _writing(file), self.as_owner():
                partial.replace(file)
        except FileExistsError as error:
            raise NotWritable(
                "%(path)s was not written: another process is writing it at this moment.", path=file
            ) from error
        except BaseException:
            with suppress(BackupError):
                self._remove(partial)
            raise
        _sync_directory(self.path)

    def take_in(self, files: Iterable[Path]) -> None:
        """Let these files lie in this new directory, too, as far as they are there.

        Where the file system has no links, they lie only here afterwards.
        """
        for file in files:
            if os.path.lexists(file):
                with _writing(self.file(file.name)), self.as_owner():
                    _link(file, self.file(file.name))
        _sync_directory(self.path)

    def keep(self, files: Iterable[Path]) -> None:
        """Let these files lie in this new directory, too; where there are no links, as copies."""
        for file in files:
            target = self.file(file.name)
            with _writing(target):
                try:
                    with self.as_owner():
                        os.link(file, target)
                except OSError as error:
                    if error.errno not in NO_LINKS:
                        raise
                    self._copy(file, target)
        _sync_directory(self.path)

    def separate(self, name: str) -> None:
        """Let what `keep` has linked be a file of its own, which no change of the other reaches."""
        file = self.file(name)
        with _writing(file):
            if file.lstat().st_nlink > 1:
                self._copy(file, self.partial(name))
                with self.as_owner():
                    self.partial(name).replace(file)
        _sync_directory(self.path)

    def _copy(self, file: Path, target: Path) -> None:
        """Copy a file that is no database, durably."""
        with self.as_owner():
            source = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | O_BINARY)
        with os.fdopen(source, "rb") as stream, os.fdopen(self.create(target), "wb") as copy:
            shutil.copyfileobj(stream, copy)
            copy.flush()
            os.fsync(copy.fileno())

    def write(self, path: Path, content: bytes) -> None:
        """Write a small new file of the directory, durably."""
        with _writing(path), os.fdopen(self.create(path), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        _sync_directory(path.parent)

    def read(self, path: Path, *, most: int) -> bytes:
        """Read a small file of the directory; raises `BackupError` where it is no regular file."""
        with self.open(path.name) as stream:
            return stream.read(most)

    def put_in_place(
        self, partial: Path, database: Path, *, like: Ownership, instead_of: Iterable[Path]
    ) -> None:
        """Give the partial the name of the database, with this owner and mode, durably.

        First the companions of the old database are removed: those of `instead_of`.
        """
        with _writing(partial):
            with self.as_owner():
                flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | O_BINARY
                descriptor = os.open(partial, flags)
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
            self._remove(file)
        _sync_directory(database.parent)
        with _writing(database), self.as_owner():
            partial.replace(database)
        _sync_directory(database.parent)

    def discard(self, path: Path) -> None:
        """Remove a file that we made under this very name, or an empty folder."""
        with _writing(path), self.as_owner():
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)

    def _remove(self, path: Path) -> None:
        with _writing(path), self.as_owner():
            path.unlink(missing_ok=True)

    def _write_checksum_file(self, name: str, sha256: str) -> None:
        checksum_file = self.checksum_file(name)
        with _writing(checksum_file), os.fdopen(self.create(checksum_file), "wb") as stream:
            stream.write(_checksum_line(name, sha256))
            stream.flush()
            os.fsync(stream.fileno())

    def _make_folder(self, folder: Path) -> None:
        with self.as_owner():
            folder.mkdir(mode=0o700)
        owner = self._owner_for_root()
        if owner and folder.stat().st_uid != owner.st_uid:
            os.chown(folder, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def _is_writable(self) -> bool:
        effective = os.access in os.supports_effective_ids
        return os.access(self._nearest(), os.W_OK | os.X_OK, effective_ids=effective)

    def _nearest(self) -> Path:
        """The directory itself, or what of the path to it there is already."""
        return _nearest(self.path)

    def _owner_for_root(self) -> os.stat_result | None:
        """As root, to whom what we make shall belong, so that the web server is never locked out.

        None for root, and where we are anybody else.
        """
        if not _is_root():
            return None
        for path in self.owners or (self.root,):
            with suppress(OSError):
                if (owner := path.stat()).st_uid != 0:
                    return owner
        return None

    def _distrust_links(self) -> None:
        """As root, follow a link in the place of the directory only where root has made it."""
        if _is_root() and self.path.is_symlink():
            maker = self.path.lstat().st_uid
            if maker != 0:
                raise NotWritable(
                    "%(path)s is a symbolic link made by user %(user)d, which root does not "
                    "follow. Make it as root, or run this as that user.",
                    path=self.path,
                    user=maker,
                )


def require_inodes(folder: Path) -> None:
    """Raise `NotEnoughSpace` where the disk of this folder has room, but for no more files."""
    if shortage := inode_shortage(folder):
        raise NotEnoughSpace("%(shortage)s", shortage=shortage)


def _nearest(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if _exists(folder))


def _exists(path: Path) -> bool:
    """Whether there is such a thing, even if we may not reach it."""
    try:
        return path.exists()
    except OSError:
        return True


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


@contextmanager
def _not_taken(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise NotWritable(
            "Somebody made %(path)s while the backup was made; nothing was overwritten.",
            path=path,
        ) from error


def _checksum_line(name: str, sha256: str) -> bytes:
    """One line as `sha256sum --check` reads it."""
    return f"{sha256}  {name}\n".encode()


def _link(partial: Path, final: Path) -> None:
    """Give the partial its final name; raises `FileExistsError` where that is taken."""
    if os.name == "nt":
        partial.rename(final)  # which never overwrites there
        return
    try:
        os.link(partial, final)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # Nobody else publishes while we hold the tenant's lock, so look-then-rename will do.
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final) from None
        partial.rename(final)


def _sync(path: Path) -> None:
    """Make a file's content, or a directory's entries, survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    """Sync a directory's entries, where the system can."""
    if os.name == "nt":
        return
    with _writing(path):
        try:
            _sync(path)
        except OSError as error:
            if error.errno not in NO_SYNC:
                raise


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into words."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC and (shortage := inode_shortage(_nearest(path.parent))):
            raise NotEnoughSpace(
                "%(path)s cannot be made. %(shortage)s", path=path, shortage=shortage
            ) from error
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NotEnoughSpace(
                "%(path)s cannot be written: %(reason)s.", path=path, reason=error.strerror
            ) from error
        if error.errno == errno.EROFS:
            raise NotWritable(
                "%(path)s cannot be written: %(reason)s.", path=path, reason=error.strerror
            ) from error
        if not hasattr(os, "geteuid"):
            raise NotWritable(
                "%(path)s cannot be written: %(reason)s. The user that this process runs as needs "
                "write permission in %(folder)s.",
                path=path,
                reason=error.strerror,
                folder=path.parent,
            ) from error
        raise NotWritable(
            "%(path)s cannot be written: %(reason)s. The user that this process runs as (user id "
            "%(user)d) needs write permission in %(folder)s.",
            path=path,
            reason=error.strerror,
            user=os.geteuid(),
            folder=path.parent,
        ) from error
