"""The folder of the database to be restored, and the note of its journal mode there.

During a restore the database takes on the journal mode of the backup for a moment. A restore that
is killed then leaves the note beside the database, and the next restore reads it.
"""

import re
from contextlib import suppress
from pathlib import Path

from tenant_backup.exceptions import BackupError
from tenant_backup.files import BackupDirectory


def folder_of(database: Path) -> BackupDirectory:
    """The folder of the database, to make files beside it."""
    return BackupDirectory(database.parent, ".", owners=(database.parent, database))


def noted_journal_mode(database: Path) -> str | None:
    """The journal mode from before a restore that was killed; None if there is no such note.

    The note counts only for the file it was written for: somebody may have replaced that since.
    """
    with suppress(BackupError, OSError):
        with folder_of(database).open(_note(database).name) as stream:
            found = re.fullmatch(rb"(wal|delete) (\d{1,20})\n", stream.read(100))
        if found and int(found[2]) == database.stat().st_ino:
            return found[1].decode()
    return None


def note_journal_mode(database: Path, mode: str) -> None:
    """Write the note, or replace that of a restore that was killed, which nothing may lose."""
    content = f"{mode} {database.stat().st_ino}\n".encode()
    folder_of(database).replace(_note(database).name, content)


def forget_journal_mode(database: Path) -> None:
    """Remove the note. One that cannot be removed does no harm: it names the right mode."""
    folder, note = folder_of(database), _note(database)
    with suppress(BackupError):
        folder.discard(note)
        folder.discard(folder.partial(note.name))  # left by a restore that was killed


def _note(database: Path) -> Path:
    return database.with_name(f".{database.name}.journal-mode")
