"""The disk that the database is on: its folder, and whether there is room for a restore."""

from __future__ import annotations

from pathlib import Path

from tenant_backup.exceptions import BackupError
from tenant_backup.files import BackupDirectory, size_in_words
from tenant_backup.restore.errors import explained
from tenant_backup.sqlite import Facts
from tenant_backup.texts import Text

NOTHING_CHANGED = Text("Nothing was changed.")
MAKE_ROOM = Text(
    "Make room there first, for example by moving an old backup to another disk; then run "
    "manage.py syncbackups."
)
ELSEWHERE = Text("With --safety-copy-to the safety copy goes to another disk.")


def resolved(database: Path) -> Path:
    """The database's path without symbolic links; raises `BackupError`."""
    try:
        return database.resolve()
    except (OSError, RuntimeError) as error:
        raise BackupError(
            "The database %(database)s cannot be reached: %(reason)s.",
            database=database,
            reason=error,
        ) from error


def folder_of(database: Path) -> BackupDirectory:
    """The folder of the database, to make files beside it."""
    return BackupDirectory(database.parent, ".", owners=(database.parent, database))


def require_room(
    facts: Facts, log_bytes: int, copies: BackupDirectory, *, is_elsewhere: bool
) -> None:
    """Raise `NotEnoughSpace` unless the log of the restore and the safety copy fit on their disks.

    `copies` is the folder of the safety copy; `is_elsewhere` says that the operator chose it.
    """
    beside = folder_of(facts.database)
    advice = MAKE_ROOM if is_elsewhere else ELSEWHERE
    if beside.path.stat().st_dev != copies.path.stat().st_dev:
        with explained(NOTHING_CHANGED, MAKE_ROOM):
            beside.require_space(log_bytes)
        with explained(NOTHING_CHANGED, advice):
            copies.require_space(facts.size + facts.wal_bytes)
        return
    # The copy is made while the old log is still there, whose space the restore then uses again.
    copy_bytes = facts.size + max(0, facts.wal_bytes - log_bytes)
    sizes = Text(
        "The log of the restore takes up to %(log)s, the safety copy %(copy)s.",
        log=size_in_words(log_bytes),
        copy=size_in_words(copy_bytes),
    )
    with explained(sizes, NOTHING_CHANGED, advice):
        beside.require_space(log_bytes + copy_bytes)
