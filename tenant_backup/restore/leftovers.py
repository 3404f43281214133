"""What a killed process left beside the database is kept, in a folder `before-restore-<time>`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from tenant_backup import files, sqlite
from tenant_backup.exceptions import BackupError, explained
from tenant_backup.files import BackupDirectory
from tenant_backup.restore.job import Job
from tenant_backup.restore.plan import Stamp, stamp
from tenant_backup.texts import Text


@dataclass(slots=True)
class Leftovers:
    """What a killed process left beside the database, and the folder that has it, too."""

    job: Job
    folder: BackupDirectory | None = None
    identities: dict[Path, Stamp] = field(default_factory=dict)
    """What the files were when they were found, by device, inode and size."""

    def keep(self) -> None:
        """Let the log and the journal lie in a new folder, too."""
        left = sqlite.left_behind(self.job.database)
        if left and os.path.lexists(self.job.database):
            self.folder = _new_folder(self.job, self.job.database.parent)
            self.identities = {path: stamp(path)[:3] for path in left}
            files.keep(self.folder, left)

    def separate(self) -> None:
        """Make copies of what is linked: the restore is about to write to these very files."""
        if self.folder:
            for path in self.identities:
                files.separate(self.folder, path.name)

    def drop(self) -> None:
        """Remove the folder, which is no longer needed."""
        if self.folder:
            with suppress(BackupError):
                for path in self.identities:
                    self.folder.discard(self.folder.file(path.name))
                self.folder.discard(self.folder.path)
            self.folder = None

    def are_in_place(self) -> bool:
        """Whether everything that was put aside is still beside the database, as it was."""
        if self.folder and os.path.lexists(self.folder.file(self.job.database.name)):
            return False
        with suppress(BackupError):
            return all(stamp(path)[:3] == known for path, known in self.identities.items())
        return False

    def folder_in(self, parent: Path) -> BackupDirectory:
        """The folder of the leftovers, if it lies there; otherwise a new one."""
        if self.folder and self.folder.root == parent:
            return self.folder
        return _new_folder(self.job, parent)

    @property
    def where(self) -> Text:
        folder = self.folder.path if self.folder else ""
        return Text("What was beside the database is in %(folder)s.", folder=folder)


@contextmanager
def leftovers_kept(job: Job) -> Iterator[Leftovers]:
    """Keep what a killed process left, before SQLite opens the database for writing.

    If the database is damaged, SQLite would delete it. The folder goes as soon as there is a sound
    safety copy, or if the restore fails and everything is still in its place.
    """
    leftovers = Leftovers(job)
    try:
        leftovers.keep()
        yield leftovers
    except BaseException:
        if leftovers.are_in_place():
            leftovers.drop()
        if not leftovers.folder:
            raise
        with explained(leftovers.where):
            raise


def _new_folder(job: Job, parent: Path) -> BackupDirectory:
    stem = f"before-restore-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    path = next(parent / name for name in names if not os.path.lexists(parent / name))
    folder = job.folder_for_tenant(path)
    folder.make(for_git_to_ignore=False)
    return folder
