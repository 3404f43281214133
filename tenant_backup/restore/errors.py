"""What is added to the errors of a restore: what state things are in, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tenant_backup.exceptions import BackupError
from tenant_backup.texts import Text, joined


@contextmanager
def explained(*more: Text, interrupted: str = "") -> Iterator[None]:
    """Add these sentences to a `BackupError`, or as a note to any other error.

    `interrupted` is the note where it has to say more than they do.
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
