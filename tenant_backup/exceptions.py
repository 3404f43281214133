"""What can go wrong. The text of every error is a sentence that a person can act on.

The doors turn these errors into what their callers expect: commands into a `CommandError`, views
into a message on the page, tasks into a row with the status `failed`.
"""

from typing import Any


class BackupError(Exception):
    """Something about a tenant's backups could not be done; `str(error)` says what and why.

    `backup` is the failed catalog row that records it, where there is one.
    """

    backup: Any = None


class TenantNotFound(BackupError):
    """The tenant provider knows no such tenant."""


class BackupNotFound(BackupError):
    """The tenant has no such backup, or none that has a file."""


class BackupInProgress(BackupError):
    """Another process is at work on this tenant's backups; asking again later will do."""


class RowChanged(BackupError):
    """Another process moved a backup's row on, or removed it, since it was read."""


class DatabaseLocked(BackupError):
    """Another process kept the tenant's database locked for longer than the busy timeout."""


class DatabaseInUse(BackupError):
    """Another process uses the tenant's database, which must be stopped before a restore."""


class DatabaseDamaged(BackupError):
    """A file is not a sound SQLite database."""


class NotEnoughSpace(BackupError):
    """The disk has no room for another backup."""


class NotWritable(BackupError):
    """A backup's file or directory cannot be made, changed or removed with our permissions."""


class DeadlineExceeded(BackupError):
    """The work took longer than it was allowed to."""
