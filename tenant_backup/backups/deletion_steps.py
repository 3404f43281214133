"""The three steps of a deletion: a mark on the row, then the file, then the row and its event.

The lock's holder takes them. If they are interrupted, the mark says that a deletion has begun, who
wanted it and why, and the next holder of the lock completes it or removes the mark: see
`recovery.py`.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from django.utils import timezone

from tenant_backup.backups.folder import note_change
from tenant_backup.catalog import catalog_transaction
from tenant_backup.exceptions import BackupError, RowChanged
from tenant_backup.files import BackupDirectory
from tenant_backup.models import Backup, BackupQuerySet, Event, EventKind
from tenant_backup.texts import Text, data_of

logger = logging.getLogger("tenant_backup")

NO_MARK = {
    "deleting_at": None,
    "deleting_as": "",
    "deleting_by": "",
    "deleting_why": "",
    "deleting_why_data": "",
}


@dataclass(frozen=True, slots=True)
class Deletion:
    """What the history says of a deletion: deleted by a person or pruned, by whom, and why."""

    kind: EventKind
    actor: str = ""
    why: Text | str = ""

    @classmethod
    def marked_on(cls, backup: Backup) -> Deletion:
        """The deletion that has begun according to the mark on a row."""
        is_known = backup.deleting_as in EventKind.values
        kind = EventKind(backup.deleting_as) if is_known else EventKind.DELETED
        data = backup.deleting_why_data
        why = Text.from_data(json.loads(data)) if data else backup.deleting_why
        return cls(kind, backup.deleting_by, why)

    def as_mark(self) -> dict[str, object]:
        return {
            "deleting_at": timezone.now(),
            "deleting_as": self.kind.value,
            "deleting_by": self.actor[:255],
            "deleting_why": str(self.why),
            "deleting_why_data": data_of(self.why),
        }


def delete_in_steps(directory: BackupDirectory, backup: Backup, deletion: Deletion) -> None:
    """Delete a backup; the lock's holder calls it.

    Raises `RowChanged` if it may not be deleted, or is gone, and `NotWritable` if its file cannot
    be removed: the row is then as it was. What somebody holds at this moment is not pruned.
    """
    rows = Backup.objects.for_tenant(backup.tenant_id).filter(pk=backup.pk)
    deletable = rows.deletable()
    if deletion.kind is EventKind.PRUNED:
        deletable = deletable.not_held(timezone.now())
    if not deletable.update(**deletion.as_mark()):
        raise not_deletable(rows.first(), backup.pk)
    try:
        remove_files(directory, backup)
    except BackupError:
        rows.update(**NO_MARK)
        raise
    remove_row(rows.being_deleted(), backup, deletion)


def remove_files(directory: BackupDirectory, backup: Backup) -> None:
    """Remove a backup's file and its checksum file. A checksum file that stays is no error."""
    try:
        if backup.file_name:
            directory.remove(backup.file_name)
    except BackupError as error:
        if not is_gone(directory, backup):
            raise
        logger.warning("The checksum file of %s cannot be removed: %s", backup, error)


def delete_row(backup: Backup, deletion: Deletion) -> None:
    """Delete the row of a backup that has no file, which needs no lock.

    It does not count as a change of what the folder's index shows: counting without looking at the
    index would hide that the catalog was set back.
    """
    rows = Backup.objects.for_tenant(backup.tenant_id).filter(pk=backup.pk)
    deletable = rows.deletable().filter(file_name=backup.file_name)
    if not remove_row(deletable, backup, deletion, counts=False):
        raise not_deletable(rows.first(), backup.pk)


def remove_row(
    row: BackupQuerySet, backup: Backup, deletion: Deletion, *, counts: bool = True
) -> bool:
    """Remove a row and write the history. False, and nothing is done, if the row is gone."""
    with catalog_transaction():
        deleted, _by_model = row.delete()
        if deleted:
            if counts:
                note_change(backup.tenant_id)
            Event.record(deletion.kind, backup, actor=deletion.actor, detail=deletion.why)
    return bool(deleted)


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


def is_gone(directory: BackupDirectory, backup: Backup) -> bool:
    return not backup.file_name or directory.is_missing(backup.file_name)
