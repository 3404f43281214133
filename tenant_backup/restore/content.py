"""The content of the database is replaced, on one connection that keeps everybody else out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from sqlite3 import Connection

from tenant_backup import sqlite
from tenant_backup.exceptions import DatabaseDamaged
from tenant_backup.models import Backup
from tenant_backup.restore import journal_mode, safety_copy
from tenant_backup.restore.aside import Leftovers
from tenant_backup.restore.disk import require_room
from tenant_backup.restore.errors import explained
from tenant_backup.restore.job import Job
from tenant_backup.restore.safety_copy import SafetyCopy
from tenant_backup.restore.verification import WAIT_SECONDS
from tenant_backup.sqlite import Exclusive, Facts
from tenant_backup.texts import Text


def replace_content(job: Job, leftovers: Leftovers, begun: Backup | None) -> SafetyCopy | None:
    """Save the state before, then put the backup into the database. Returns the safety copy.

    None, with the database unchanged, where there is no database or SQLite cannot read it.
    """
    if not os.path.lexists(job.database):
        return None
    with ExitStack() as stack:
        try:
            live = stack.enter_context(_only_user(job.database))
        except DatabaseDamaged as error:
            job.note(safety_copy.replaced_as_a_file(error))
            return None
        backup = stack.enter_context(closing(open_backup(job)))
        require_it_fits(job, live.facts, backup)
        job.say("Saving the present state.")
        with explained(Text("The database was not changed.")):
            copy = safety_copy.save(job, live, leftovers, begun)
        if copy is None:
            return None
        try:
            _put_in(job, live, backup, copy)
            _finalise(job, live, backup, copy)
        finally:
            if live.has_its_journal_mode():
                journal_mode.forget(job.database)
        return copy


def open_backup(job: Job) -> Connection:
    """Open the chosen backup's file; the caller closes the connection."""
    file = job.plan.choice.file
    if file.parent != job.directory.path:
        return sqlite.open_backup(file)
    # Whoever may write to this directory may have put something in the file's place: that must
    # not lead root elsewhere.
    with job.directory.as_owner():
        return sqlite.open_backup(file)


def require_it_fits(job: Job, facts: Facts, backup: Connection) -> None:
    """Raise `BackupError` where the backup's encoding or the free space does not allow it."""
    facts.require_fit(backup)
    require_room(
        facts,
        facts.bytes_to_replace(backup),
        job.folder_of_safety_copy,
        is_elsewhere=job.safety_copy_to is not None,
    )


@contextmanager
def _only_user(database: Path) -> Iterator[Exclusive]:
    """Keep everybody else out of the database; raises as `sqlite.exclusive` does."""
    with sqlite.exclusive(database, busy_timeout=WAIT_SECONDS) as live:
        # In rollback mode SQLite cannot see an idle user. On Linux the system can.
        if users := sqlite.users_of(database):
            raise sqlite.in_use(database, users)
        yield live.keep_journal_mode(journal_mode.noted(database) or live.journal_mode)


def _put_in(job: Job, live: Exclusive, backup: Connection, copy: SafetyCopy) -> None:
    """Put the backup into the database; after an error, the database holds what it held before."""
    kept = Text("The safety copy just made is kept: %(copy)s.", copy=safety_copy.where(job, copy))
    with explained(kept, interrupted=f"{job.database} was not changed. {kept}"):
        journal_mode.note(job.database, live.journal_mode)
        job.say("Copying the backup into the database.")
        live.replace_with(backup, progress=job.progress)


def _finalise(job: Job, live: Exclusive, backup: Connection, copy: SafetyCopy) -> None:
    """Give the database its journal mode back, and check the result."""
    job.say("Checking the result.")
    undo = Text("To undo: %(undo)s", undo=safety_copy.undo(job, copy))
    unchecked = (
        f"The backup is in {job.database}, but the check of the result was not finished. Run the "
        f"same command again. {undo}"
    )
    with explained(undo, interrupted=unchecked):
        live.finalise()
        live.require_equal(backup)
