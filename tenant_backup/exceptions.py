"""What can go wrong. The text of each error is a sentence that tells a person what to do.

Commands turn these errors into a `CommandError`, views into a message on the page, and tasks into
a row with the status `failed`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tenant_backup.texts import Text, joined


class BackupError(Text, Exception):
    """Something went wrong with a tenant's backups; `str(error)` says what and why.

    A row or the history stores the text and its values, so that it can be read in any language.

    `backup` is the failed row of the catalog that records it, if there is one.
    """

    backup: Any = None


def cannot_be_read(path: Path, error: OSError | sqlite3.Error) -> BackupError:
    """The error to raise if the operating system or SQLite refuses to read a file."""
    reason = error.strerror if isinstance(error, OSError) else error
    return BackupError("%(path)s cannot be read: %(reason)s.", path=path, reason=reason)


@contextmanager
def explained(*more: Text, interrupted: str = "") -> Iterator[None]:
    """Add these sentences to a `BackupError`, or as a note to any other error.

    `interrupted` is the note if it has to say more than they do.
    """
    try:
        yield
    except BackupError as error:
        longer = type(error)("%(error)s %(more)s", error=error, more=joined(*more))
        longer.backup = error.backup
        raise longer from error
    except BaseException as error:
        error.add_note(interrupted or str(joined(*more)))
        raise


class TenantNotFound(BackupError):
    """The tenant provider has no such tenant."""


class InvalidTenant(BackupError):
    """A tenant cannot be backed up as the provider describes it; `tenant_id` may be empty."""

    given: object = None
    """What the provider gave, if it was asked for a request."""

    def __init__(self, text: object = "", /, *more: object, tenant_id: str = "", **values: object):
        super().__init__(text, *more, **values)
        self.tenant_id = tenant_id


class BackupNotFound(BackupError):
    """The tenant has no such backup, or none that has a file."""


class BackupMissing(BackupError):
    """The file of a complete backup is certainly not there."""


class BackupInProgress(BackupError):
    """Another process is working on this tenant's backups; try again later."""


class AlreadyAskedFor(BackupError):
    """The same form was sent before: `backup` is what it asked for, not a failed row."""


class RowChanged(BackupError):
    """Another process changed or removed a backup's row since it was read."""


class DatabaseLocked(BackupError):
    """Another process kept the tenant's database locked for longer than the busy timeout."""


class DatabaseInUse(BackupError):
    """Another process uses the tenant's database, and must be stopped before a restore."""


class DatabaseDamaged(BackupError):
    """A file is not a sound SQLite database."""


class CannotCompare(BackupError):
    """The rows of one table cannot be compared with those of another time; other tables can."""


class NoSuchTable(BackupError):
    """There is no table of this name in any of the databases in question."""


class UnfinishedWrite(BackupError):
    """A killed process left a journal that must be played back before the database is read."""


class NotEnoughSpace(BackupError):
    """The disk has no room for another backup."""


class LimitReached(BackupError):
    """A tenant has reached its limit of backups made by hand, or of bytes."""


class NotWritable(BackupError):
    """A backup's file or directory cannot be created, changed or removed."""


class MailNotSent(BackupError):
    """A test mail could not be sent. The reason names what is the operators' alone."""


class DeadlineExceeded(BackupError):
    """The work took longer than it was allowed to."""
