"""A tenant's backup directory: how backups appear in it, are recognised, and disappear.

A backup is first made as `.<name>.partial`. It gets its final name only when it is complete and
verified. Files are found by the exact name that the catalog has, never by a pattern.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tenant_backup.exceptions import BackupError, DatabaseDamaged, NotWritable, cannot_be_read
from tenant_backup.files.checksums import (
    MOST_BYTES,
    checksum_file_of,
    checksum_line,
    matches_checksum_file,
)
from tenant_backup.files.disk import link, open_regular, sync, sync_folder, writing
from tenant_backup.files.owned_folder import OwnedFolder
from tenant_backup.sqlite import Fingerprint, fingerprint

SECONDS_BETWEEN = 15
"""How often a partial's time is set during work that does not write to it."""


@dataclass(frozen=True, slots=True)
class BackupDirectory(OwnedFolder):
    """A tenant's backup directory."""

    def checksum_file(self, name: str) -> Path:
        return checksum_file_of(self.file(name))

    def is_free(self, name: str) -> bool:
        """Whether nothing has this name or one of the names that go with it."""
        return not any(
            os.path.lexists(path)
            for path in (self.file(name), self.partial(name), self.checksum_file(name))
        )

    def create_partial(self, name: str) -> Path:
        """Create the empty file that the copy goes into."""
        os.close(self.create(self.partial(name)))
        return self.partial(name)

    def sign_of_life(self, name: str) -> Callable[[], None]:
        """What to call often during work on the partial that does not write to it.

        It sets the partial's time now and then, so that others see that somebody is at work.
        """
        partial, seen_at = self.partial(name), time.monotonic()

        def sign_of_life() -> None:
            nonlocal seen_at
            if time.monotonic() - seen_at >= SECONDS_BETWEEN:
                seen_at = time.monotonic()
                with suppress(OSError, NotImplementedError):
                    os.utime(partial, follow_symlinks=False)

        return sign_of_life

    def publish(self, name: str, sha256: str) -> None:
        """Give the verified partial its final name, durably and beside its checksum file.

        Raises `NotWritable` if somebody took the final name since it was chosen: nothing is ever
        overwritten.
        """
        partial, final = self.partial(name), self.file(name)
        checksum_file = self.checksum_file(name)
        with writing(partial):
            sync(partial)
        # The checksum file comes first, so that a full disk is noticed before anything has the
        # final name.
        with _not_taken(checksum_file):
            self.create_with(checksum_file, checksum_line(name, sha256))
        with _not_taken(final), writing(final), self.as_owner():
            link(partial, final)
        self.finish(name)

    def finish(self, name: str) -> None:
        """Do what is left to do once the final name exists; may be done twice."""
        self._remove(self.partial(name))
        sync_folder(self.path)

    def withdraw(self, name: str, sha256: str) -> None:
        """Remove what an attempt that did not publish has left behind."""
        self._remove(self.partial(name))
        if not sha256:
            return
        checksum_file = self.checksum_file(name)
        with writing(checksum_file):
            # A link or a named pipe in its place is not ours, and reading it might wait forever.
            if checksum_file.is_symlink() or not checksum_file.is_file():
                return
            with open_regular(checksum_file) as stream:
                content = stream.read(MOST_BYTES)
        # A crash may have cut it short. What does not begin like ours is not ours.
        if checksum_line(name, sha256).startswith(content):
            self._remove(checksum_file)

    def remove(self, name: str) -> None:
        """Remove a published file and its checksum file; that they are gone is no error."""
        self._remove(self.file(name))
        self._remove(self.checksum_file(name))

    def holds(self, name: str, expected: Fingerprint) -> bool:
        """Whether the published file of this name is exactly the expected one."""
        file = self.file(name)
        try:
            return file.stat().st_size == expected.size and fingerprint(file) == expected
        except FileNotFoundError:
            return False
        except OSError as error:
            raise cannot_be_read(file, error) from error

    def recognise(self, name: str) -> Fingerprint:
        """The fingerprint of a file that the catalog does not know.

        Raises `DatabaseDamaged` if its checksum file says something else, and `BackupError` if it
        cannot be read or is no regular file.
        """
        file, checksum_file = self.file(name), self.checksum_file(name)
        self.open(name).close()
        try:
            found = fingerprint(file)
        except OSError as error:
            raise cannot_be_read(file, error) from error
        if os.path.lexists(checksum_file) and not self.matches_checksum_file(name, found.sha256):
            raise DatabaseDamaged(
                "%(path)s is damaged: its checksum differs from the one in %(checksum_file)s.",
                path=file,
                checksum_file=checksum_file,
            )
        return found

    def fingerprint_by_checksum_file(self, name: str) -> Fingerprint | None:
        """The fingerprint of the published file, or else of its partial.

        None if the checksum file does not say the same.
        """
        try:
            file = self.file(name)
            found = fingerprint(file if file.exists() else self.partial(name))
        except (BackupError, OSError):
            return None
        return found if self.matches_checksum_file(name, found.sha256) else None

    def matches_checksum_file(self, name: str, sha256: str) -> bool:
        """Whether the checksum file of this backup says exactly this checksum."""
        return matches_checksum_file(self.file(name), sha256)

    def renew_checksum_file(self, name: str, sha256: str) -> None:
        """Write the checksum file of a published file again, and replace what is in its place."""
        self.replace(self.checksum_file(name).name, checksum_line(name, sha256))
        if self.is_missing(name):
            # It was deleted meanwhile, and a checksum alone is of no use.
            self._remove(self.checksum_file(name))

    def sizes(self, wanted: set[str]) -> dict[str, int]:
        """The sizes of the regular files of these names, found by listing the directory once.

        Files out of reach are left out. There may be thousands.
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
        """Whether the published file certainly does not exist; one out of reach may exist."""
        try:
            self.file(name).lstat()
        except FileNotFoundError:
            return self.path.is_dir()
        except (OSError, BackupError):
            return False
        return False

    def flaw(self, name: str, size: int | None) -> DatabaseDamaged | None:
        """What `stat` alone shows to be wrong with a published file that should have this size.

        Raises `OSError` if it is missing or out of reach.
        """
        file = self.file(name)
        facts = file.lstat()
        if not stat.S_ISREG(facts.st_mode):
            return DatabaseDamaged(
                "%(path)s is no longer the backup: it is not a regular file.", path=file
            )
        return wrong_size(file, facts.st_size, size)

    def is_of_size(self, name: str, size: int) -> bool:
        """Whether we can see a regular file of this name and size."""
        try:
            return self.flaw(name, size) is None
        except (OSError, BackupError):
            return False


def wrong_size(file: Path, found: int, expected: int | None) -> DatabaseDamaged | None:
    """The error to raise if a backup's file does not have the size that it was made with."""
    if expected is None or found == expected:
        return None
    return DatabaseDamaged(
        "%(path)s is damaged: it has %(found)d bytes instead of %(expected)d.",
        path=file,
        found=found,
        expected=expected,
    )


@contextmanager
def _not_taken(path: Path) -> Iterator[None]:
    """Turn `FileExistsError` into `NotWritable`."""
    try:
        yield
    except FileExistsError as error:
        raise NotWritable(
            "Somebody created %(path)s while the backup was being made. Nothing was overwritten.",
            path=path,
        ) from error
