"""The content of the database is replaced, on one connection that keeps everybody else out."""

import os
from contextlib import ExitStack, closing
from sqlite3 import Connection

from tenant_backup import sqlite
from tenant_backup.exceptions import BackupError, DatabaseDamaged, DatabaseLocked, explained
from tenant_backup.files import size_in_words
from tenant_backup.models import Backup
from tenant_backup.restore import safety_copy
from tenant_backup.restore.database import (
    folder_of,
    forget_journal_mode,
    note_journal_mode,
    noted_journal_mode,
)
from tenant_backup.restore.job import NOTHING_CHANGED, Job
from tenant_backup.restore.leftovers import Leftovers
from tenant_backup.restore.plan import WAIT_SECONDS
from tenant_backup.restore.safety_copy import SafetyCopy
from tenant_backup.sqlite import Exclusive, Facts
from tenant_backup.texts import Text

MAKE_ROOM = Text(
    "Make room there first, for example by moving an old backup to another disk; then run "
    "manage.py syncbackups."
)
ELSEWHERE = Text("With --safety-copy-to the safety copy goes to another disk.")


def refuse_in_time(job: Job) -> None:
    """Raise what would be raised later anyway, before any row or file has been made.

    This is only a look: nothing opens the database for writing.
    """
    if users := sqlite.users_of(job.database):
        raise sqlite.in_use(job.database, users)
    if not os.path.lexists(job.database):
        return
    try:
        facts = sqlite.look(job.database, busy_timeout=WAIT_SECONDS)
    except DatabaseLocked as error:
        raise sqlite.in_use(job.database, []) from error
    except BackupError:
        # A damaged database is replaced as a file, which has other needs. Any other trouble is
        # explained better by the step that locks the database.
        return
    with closing(_open_backup(job)) as backup:
        _require_it_fits(job, facts, backup)


def replace_content(job: Job, leftovers: Leftovers, begun: Backup | None) -> SafetyCopy | None:
    """Save the state before, then put the backup into the database. Returns the safety copy.

    None, with the database unchanged, if there is no database or SQLite cannot read it.
    """
    if not os.path.lexists(job.database):
        return None
    with ExitStack() as stack:
        mode = noted_journal_mode(job.database)
        only_user = sqlite.exclusive(job.database, busy_timeout=WAIT_SECONDS, journal_mode=mode)
        try:
            live = stack.enter_context(only_user)
        except DatabaseDamaged as error:
            job.note(safety_copy.replaced_as_a_file(error))
            return None
        # In rollback mode SQLite cannot see an idle user. On Linux the system can.
        if users := sqlite.users_of(job.database):
            raise sqlite.in_use(job.database, users)
        backup = stack.enter_context(closing(_open_backup(job)))
        _require_it_fits(job, live.facts, backup)
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
                forget_journal_mode(job.database)
        return copy


def _open_backup(job: Job) -> Connection:
    """Open the chosen backup's file; the caller closes the connection."""
    file = job.plan.choice.file
    if file.parent != job.directory.path:
        return sqlite.open_backup(file)
    # Anybody who may write to this directory may have put something in the file's place: that must
    # not lead root elsewhere.
    with job.directory.as_owner():
        return sqlite.open_backup(file)


def _require_it_fits(job: Job, facts: Facts, backup: Connection) -> None:
    """Raise `BackupError` unless the backup's encoding fits, and log and safety copy have room."""
    facts.require_fit(backup)
    log_bytes = facts.bytes_to_replace(backup)
    beside, copies = folder_of(facts.database), job.folder_of_safety_copy
    advice = MAKE_ROOM if job.safety_copy_to else ELSEWHERE
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


def _put_in(job: Job, live: Exclusive, backup: Connection, copy: SafetyCopy) -> None:
    """Put the backup into the database; after an error, the database holds what it held before."""
    kept = Text("The safety copy just made is kept: %(copy)s.", copy=safety_copy.where(job, copy))
    with explained(kept, interrupted=f"{job.database} was not changed. {kept}"):
        note_journal_mode(job.database, live.journal_mode)
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
