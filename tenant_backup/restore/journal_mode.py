"""The note of the journal mode that the database is to have after the restore.

During a restore the database takes on the journal mode of the backup for a moment. A restore that
is killed then leaves this note beside the database, and the next restore reads it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from tenant_backup.exceptions import BackupError
from tenant_backup.restore.disk import folder_of


def noted(database: Path) -> str | None:
    """The journal mode from before a restore that was killed; None where there is no such note.

    The note counts only for the file it was written for: somebody may have replaced that since.
    """
    with suppress(BackupError, OSError):
        content = folder_of(database).read(_note(database), most=100)
        found = re.fullmatch(rb"(wal|delete) (\d{1,20})\n", content)
        if found and int(found[2]) == database.stat().st_ino:
            return found[1].decode()
    return None


def note(database: Path, mode: str) -> None:
    forget(database)
    folder_of(database).write(_note(database), f"{mode} {database.stat().st_ino}\n".encode())


def forget(database: Path) -> None:
    """Remove the note. One that cannot be removed does no harm: it names the right mode."""
    with suppress(BackupError):
        folder_of(database).discard(_note(database))


def _note(database: Path) -> Path:
    return database.with_name(f".{database.name}.journal-mode")
