"""Deleting one backup: a mark on its row, then its file, then the row and a line of the history.

The lock's holder does it. Whatever ends them halfway, the mark says that there was a deletion, by
whom and why, and whoever holds the lock next brings it to its end, or takes the mark away.
"""

from __future__ import annotations

import json
import logging
import os

from django.db import transaction
from django.utils import timezone

from tenant_backup.backups import folder
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, RowChanged
from tenant_backup.files import BackupDirectory
from tenant_backup.models import Backup, BackupQuerySet, Event, EventKind
from tenant_backup.texts import Text

logger = logging.getLogger("tenant_backup")

NO_MARK = {
    "deleting_at": None,
    "deleting_as": "",
    "deleting_by": "",
    "deleting_why": "",
    "deleting_why_data": "",
}


def delete(
    tenant_id: str,
    directory: BackupDirectory,
    backup: Backup,
    action: EventKind,
    actor: str,
    why: Text | str = "",
) -> None:
    """Delete a backup; the lock's holder calls it.

    Raises `RowChanged` where it may not be deleted, or is gone, and `NotWritable` where its file
    cannot be removed: the row is then as it was.
    """
    rows = Backup.objects.for_tenant(tenant_id).filter(pk=backup.pk)
    if not rows.deletable().update(**_mark(action, actor, why)):
        raise not_deletable(rows.first(), backup.pk)
    try:
        directory.remove(backup.file_name)
    except BackupError as error:
        if not _is_gone(directory, backup):
            rows.update(**NO_MARK)
            raise
        logger.warning("The checksum file of %s cannot be removed: %s", backup, error)
    _remove_row(rows.being_deleted(), backup, action, actor, why)


def delete_row(tenant_id: str, backup: Backup, action: EventKind, actor: str) -> None:
    """Delete the row of a backup that has no file: nobody needs the lock for that.

    So it does not count as a change of what the folder's index shows, either: to count without a
    look at the index would hide that the catalog was set back.
    """
    rows = Backup.objects.for_tenant(tenant_id).filter(pk=backup.pk)
    deletable = rows.deletable().filter(file_name=backup.file_name)
    if not _remove_row(deletable, backup, action, actor, "", counts=False):
        raise not_deletable(rows.first(), backup.pk)


def recover(tenant_id: str, directory: BackupDirectory) -> list[Backup]:
    """Bring to an end what a crash has left half deleted; the lock's holder calls it.

    Where the file is gone, so are the checksum file and the row. Where it is still there the mark
    is taken away, and whoever wanted to delete it decides afresh. Returns the backups that are
    gone.
    """
    gone = []
    rows = Backup.objects.for_tenant(tenant_id)
    for backup in rows.being_deleted().order_by("pk"):
        row = rows.being_deleted().filter(pk=backup.pk)
        if _is_there(directory, backup):
            logger.warning("The deletion of %s was interrupted: it is kept.", backup)
            row.update(**NO_MARK)
            continue
        if not _is_gone(directory, backup):
            continue  # It is out of reach, so nothing can be said of it now.
        logger.warning("The deletion of %s was interrupted: it is completed.", backup)
        try:
            if backup.file_name:
                directory.remove(backup.file_name)
        except BackupError as error:
            logger.warning("The checksum file of %s cannot be removed: %s", backup, error)
        if _remove_row(row, backup, _action(backup), backup.deleting_by, _why(backup)):
            gone.append(backup)
    return gone


def not_deletable(backup: Backup | None, backup_id: int) -> RowChanged:
    """Why a backup cannot be deleted."""
    if backup is None:
        return RowChanged("There is no backup %(backup)d any more.", backup=backup_id)
    if backup.is_active:
        return RowChanged(
            "Backup %(backup)d is %(status)s and cannot be deleted now.",
            backup=backup_id,
            status=backup.get_status_display(),
        )
    return RowChanged("%(backup)s is pinned. Unpin it first.", backup=str(backup))


def _is_there(directory: BackupDirectory, backup: Backup) -> bool:
    try:
        return bool(backup.file_name) and os.path.lexists(directory.file(backup.file_name))
    except BackupError:
        return False


def _is_gone(directory: BackupDirectory, backup: Backup) -> bool:
    return not backup.file_name or directory.is_missing(backup.file_name)


def _remove_row(
    row: BackupQuerySet,
    backup: Backup,
    action: EventKind,
    actor: str,
    why: Text | str,
    *,
    counts: bool = True,
) -> bool:
    with transaction.atomic(using=conf.CATALOG_DATABASE):
        deleted, _by_model = row.delete()
        if deleted:
            if counts:
                folder.note_change(backup.tenant_id)
            Event.record(action, backup, actor=actor, detail=why)
    return bool(deleted)


def _mark(action: EventKind, actor: str, why: Text | str) -> dict[str, object]:
    return {
        "deleting_at": timezone.now(),
        "deleting_as": action.value,
        "deleting_by": actor[:255],
        "deleting_why": str(why),
        "deleting_why_data": json.dumps(why.as_data()) if isinstance(why, Text) else "",
    }


def _action(backup: Backup) -> EventKind:
    is_known = backup.deleting_as in EventKind.values
    return EventKind(backup.deleting_as) if is_known else EventKind.DELETED


def _why(backup: Backup) -> Text | str:
    data = backup.deleting_why_data
    return Text.from_data(json.loads(data)) if data else backup.deleting_why
