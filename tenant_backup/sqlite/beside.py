"""What lies beside a database: its log, its journal, and how much is in them."""

from __future__ import annotations

from pathlib import Path

from tenant_backup.exceptions import DatabaseDamaged
from tenant_backup.texts import Text


def companions(database: Path) -> list[Path]:
    """The files that SQLite may have beside the database, and that belong to it."""
    return [database.with_name(database.name + end) for end in ("-wal", "-shm", "-journal")]


def log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def journal_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-journal")


def bytes_in(path: Path) -> int:
    """The size of a file by `stat`, in bytes; 0 where it is missing or out of reach."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def left_behind(database: Path) -> list[Path]:
    """The log and the journal of the database, where they exist and are not empty.

    They may hold changes that are not in the database itself.
    """
    return [path for path in (log_of(database), journal_of(database)) if bytes_in(path)]


def with_what_is_beside(error: DatabaseDamaged, path: Path) -> DatabaseDamaged:
    """The error, with a warning for whoever opens the damaged database next."""
    left = left_behind(path)
    if not left:
        return error
    more = Text(
        "Changes that it lacks may be in %(files)s beside it, which was not touched. Copy that "
        "elsewhere before any program opens the database, which would delete it.",
        files=", ".join(file.name for file in left),
    )
    return DatabaseDamaged("%(error)s %(more)s", error=error, more=more)
