"""The file of the database is replaced, if SQLite cannot open it or there is none."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from tenant_backup import sqlite
from tenant_backup.exceptions import BackupError, NotEnoughSpace, NotWritable, explained
from tenant_backup.files import BackupDirectory, Ownership, put_in_place, take_in
from tenant_backup.restore.database import folder_of, forget_journal_mode
from tenant_backup.restore.job import NOTHING_CHANGED, Job
from tenant_backup.restore.leftovers import Leftovers
from tenant_backup.texts import Text


def replace_file(job: Job, leftovers: Leftovers) -> Path | None:
    """Put the old files aside, one by one, and the backup in their place.

    Returns the folder with the old files; None if there were none.
    """
    like = _require_replaceable(job)
    beside = folder_of(job.database)
    partial = job.database.with_name(f".{job.database.name}.partial")
    beside.discard(partial)  # left by a restore that was interrupted
    try:
        job.say("Copying the backup next to the database.")
        with explained(NOTHING_CHANGED):
            _copy_backup(job, beside, partial)
        job.say("Moving the old files aside and putting the backup in their place.")
        aside = _put_aside(job, leftovers)
        companions = sqlite.companions(job.database)
        put_in_place(beside, partial, job.database, like=like, instead_of=companions)
    except BaseException:
        with suppress(BackupError):
            beside.discard(partial)
        raise
    forget_journal_mode(job.database)
    if aside and job.safety_copy_to:
        job.note(
            Text(
                "The old files are in %(folder)s, not in %(directory)s.",
                folder=aside,
                directory=job.safety_copy_to,
            )
        )
    return aside


def _require_replaceable(job: Job) -> Ownership:
    """Raise `BackupError` if the file cannot be replaced; otherwise return whose it will be."""
    database = job.database
    if users := sqlite.users_of(database):
        # They would go on with the old files, and their journals would ruin the new one.
        raise sqlite.in_use(database, users)
    if not database.parent.is_dir():
        raise BackupError(
            "The folder %(path)s does not exist. Create it with the owner that the database is to "
            "have, then try again.",
            path=database.parent,
        )
    like = Ownership.of_database(database, job.tenant.root)
    if hasattr(os, "geteuid") and os.geteuid() not in (0, like.user):
        raise NotWritable(
            "%(path)s belongs to user %(user)d. To replace it as a file, run this as that user or "
            "as root.",
            path=database,
            user=like.user,
        )
    with explained(NOTHING_CHANGED):
        folder_of(database).require_space(job.plan.fingerprint.size)
    return like


def _copy_backup(job: Job, beside: BackupDirectory, partial: Path) -> None:
    """Copy the backup's file, which nobody writes to, and check that the copy is the same."""
    try:
        with (
            job.plan.choice.file.open("rb") as source,
            os.fdopen(beside.create(partial), "wb") as target,
        ):
            shutil.copyfileobj(source, target, sqlite.CHUNK_BYTES)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (NotEnoughSpace if is_full else BackupError)(
            "%(path)s cannot be written: %(reason)s.", path=partial, reason=error.strerror
        ) from error
    if sqlite.fingerprint(partial) != job.plan.fingerprint:
        raise job.plan.changed()


def _put_aside(job: Job, leftovers: Leftovers) -> Path | None:
    """Let the database and its companion files lie in a folder, too; None if there are none."""
    paths = (job.database, *sqlite.companions(job.database))
    if not (leftovers.folder or any(map(os.path.lexists, paths))):
        return None
    folder = leftovers.folder_in(job.database.parent)
    # The leftovers are there already, as they were before anything opened the database.
    take_in(folder, [path for path in paths if path not in leftovers.identities])
    return folder.path
