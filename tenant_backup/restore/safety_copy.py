"""The state before the restore is saved first, and can be brought back."""

import os
from contextlib import closing, suppress
from pathlib import Path

from django.utils import timezone
from django.utils.translation import gettext

from tenant_backup import backups, files, sqlite
from tenant_backup.command_lines import command
from tenant_backup.exceptions import BackupError, DatabaseDamaged
from tenant_backup.files import BackupDirectory, Ownership, put_in_place
from tenant_backup.models import Backup
from tenant_backup.restore.job import Job
from tenant_backup.restore.leftovers import Leftovers
from tenant_backup.sqlite import Exclusive
from tenant_backup.texts import Text

SafetyCopy = Backup | Path
"""A backup; or the file of one without a row; or a folder with the old files."""


def save(
    job: Job, live: Exclusive, leftovers: Leftovers, begun: Backup | None
) -> SafetyCopy | None:
    """Save what the database holds now; None if not even its pages can be copied.

    `begun` is the row of the safety copy, if it had to be written before.
    """
    copy: SafetyCopy
    try:
        # While the database is locked, no row can be written to the catalog in it.
        if job.safety_copy_to or job.holds_catalog:
            copy = _publish(job, live, begun)
        else:
            copy = backups.make_from(live.snapshot, job.tenant, job.request, job.ended)
    except DatabaseDamaged as error:
        return _save_as_it_is(job, live, leftovers, error)
    leftovers.drop()
    return copy


def where(job: Job, copy: SafetyCopy) -> str:
    """What to call the safety copy: its file name, or its path if it is not in our directory.

    Not its id, which may be another backup's in the restored catalog.
    """
    if isinstance(copy, Backup):
        return copy.file_name
    return copy.name if copy.parent == job.directory.path else str(copy)


def undo(job: Job, copy: SafetyCopy | None) -> str:
    """How to bring the state before back: a command, or sentences."""
    if copy is None:
        text = gettext("Remove %(database)s: there was no database before.")
    elif isinstance(copy, Path) and copy.is_dir():
        text = gettext(
            "Stop everything that uses the database. Remove %(database)s and, if present, its "
            "-wal, -shm and -journal. Then move what is in %(copy)s to %(folder)s."
        )
    else:
        return command("restorebackup", job.tenant.id, where(job, copy))
    return text % {"database": job.database, "copy": copy, "folder": job.database.parent}


def replaced_as_a_file(reason: DatabaseDamaged) -> Text:
    # Without the advice to copy what lies beside the database: that has been done.
    what = reason.values.get("error", reason)
    return Text("%(reason)s It was therefore replaced as a file.", reason=what)


def _publish(job: Job, live: Exclusive, begun: Backup | None) -> Path:
    """Make the file of the safety copy, and no row."""
    directory = job.folder_of_safety_copy
    names = files.file_names(job.tenant.id, timezone.now())
    name = begun.file_name if begun else next(filter(directory.is_free, names))
    sha256 = ""
    try:
        copy = backups.copy_into(directory, name, job.tenant, live.snapshot)
        sha256 = copy.sha256
        directory.publish(name, sha256)
    except BaseException:
        with suppress(BackupError):
            directory.withdraw(name, sha256)
        raise
    return directory.file(name)


def _save_as_it_is(
    job: Job, live: Exclusive, leftovers: Leftovers, damage: DatabaseDamaged
) -> Path | None:
    """Copy the pages of a damaged database into a folder; None if that cannot be done.

    What a killed process left beside it is kept in a folder, too.
    """
    leftovers.separate()
    folder = leftovers.folder_in(job.safety_copy_to or job.database.parent)
    try:
        _copy_pages(live, folder)
    except BaseException as error:
        if folder is not leftovers.folder:
            with suppress(BackupError):
                folder.discard(folder.path)
        if isinstance(error, DatabaseDamaged):
            job.note(replaced_as_a_file(error))
            return None
        raise
    job.note(
        Text(
            "%(reason)s It was therefore saved as it is: that copy is not a backup.", reason=damage
        )
    )
    if leftovers.folder and folder is not leftovers.folder:
        job.note(leftovers.where)
    return folder.path


def _copy_pages(live: Exclusive, folder: BackupDirectory) -> None:
    """Copy the database into the folder, under its own name.

    First under another name: otherwise SQLite would take the log beside it for the copy's.
    """
    name = live.database.name
    partial = folder.partial(name)
    try:
        os.close(folder.create(partial))
        with live.snapshot() as snapshot, closing(sqlite.open_copy(partial)) as copy:
            snapshot.copy_to(copy)
        like = Ownership.of_database(partial, folder.path)
        put_in_place(folder, partial, folder.file(name), like=like, instead_of=())
    except BaseException:
        with suppress(BackupError):
            folder.discard(partial)
        raise
