"""The catalog and the folder's index, kept in line with each other.

Each change of what the index shows adds 1 to the revision in the catalog, in the transaction of the
change. The lock's holder compares it with the index's revision: before their own change, and at the
end, when they write a new index. An index with a higher revision than the catalog's means that
the catalog is of an earlier time, or lost: then the catalog learns what the folder knows.

What is lost between a change and the writing of the index, by a kill or a full disk, is repaired by
whoever holds the lock next, since the revisions differ.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from tenant_backup.backups import index
from tenant_backup.backups.index import Entry, Hold, Index
from tenant_backup.catalog import catalog_transaction
from tenant_backup.exceptions import BackupError
from tenant_backup.files import BackupDirectory
from tenant_backup.models import Backup, Event, EventKind, TenantState
from tenant_backup.texts import Text

logger = logging.getLogger("tenant_backup")

LARGEST_STEP = 10**9
"""No catalog is behind by more changes than this. A forged revision must not use up the numbers
that a database has room for."""


def revision_of(tenant_id: str) -> int:
    """How often what the folder's index shows was changed, as far as the catalog knows."""
    return TenantState.objects.of(tenant_id).revision


def note_change(tenant_id: str) -> None:
    """Count a change of what the index shows; call it in the transaction of the change."""
    rows = TenantState.objects.filter(tenant_id=tenant_id)
    if not rows.update(revision=F("revision") + 1):
        TenantState.objects.ensure([tenant_id])
        rows.update(revision=F("revision") + 1)


@dataclass(slots=True)
class Folder:
    """A tenant's backup folder and its index, as the lock's holder found them."""

    tenant_id: str
    directory: BackupDirectory
    index: Index | None
    is_newer: bool
    """Whether the folder knows more than the catalog, which was set back or lost."""
    trouble: BackupError | None = None
    """Why it is not known what the folder knows. Then nothing may be removed."""
    written: int | None = None
    """The revision of the index that is there; None where there is no valid one."""
    could_not_write: bool = False
    protected: list[Backup] = field(default_factory=list)
    forgotten: list[Backup] = field(default_factory=list)

    @classmethod
    def of(cls, tenant_id: str, directory: BackupDirectory) -> Folder:
        """Read the index and compare the revisions.

        Before anything is changed: each change would bring a catalog that was set back nearer to
        the folder's revision.
        """
        ours = revision_of(tenant_id)
        try:
            found = index.read(directory, tenant_id)
        except BackupError as error:
            logger.warning("The backup index of tenant %r is ignored: %s", tenant_id, error)
            return cls(tenant_id, directory, None, is_newer=False, trouble=error)
        if found and found.revision > ours + LARGEST_STEP:
            found = None
        is_newer = found is not None and found.revision > ours
        written = found.revision if found else None
        return cls(tenant_id, directory, found, is_newer, written=written)

    def tell_catalog(self) -> None:
        """Tell a catalog that was set back what the folder knows of the rows that it has.

        An index may protect a backup, but never removes protection.
        """
        if not self.index or not self.is_newer:
            return
        rows = Backup.objects.for_tenant(self.tenant_id).complete()
        for row in rows:
            entry = self.index.entries.get(row.file_name)
            if entry and entry.fingerprint == row.fingerprint:
                if self.directory.is_of_size(row.file_name, entry.size) and _protect(row, entry):
                    self.protected.append(row)
            elif not entry and self._was_deleted(row):
                _forget(row)
                self.forgotten.append(row)

    def conclude(self) -> None:
        """The catalog knows now what the folder knew, so it is the newer one from now on."""
        if self.index and self.is_newer:
            TenantState.objects.ensure([self.tenant_id])
            newer = TenantState.objects.filter(
                tenant_id=self.tenant_id, revision__lte=self.index.revision
            )
            newer.update(revision=self.index.revision + 1)
            self.is_newer = False

    def describe(self) -> None:
        """Write a new index where its revision is not the catalog's."""
        if self.trouble or self.is_newer:
            return
        rows = Backup.objects.for_tenant(self.tenant_id).complete().filter(deleting_at=None)
        # Somebody may pin a backup meanwhile, who does not wait for us.
        while (revision := revision_of(self.tenant_id)) != self.written:
            if self.written is None and not rows.exists():
                return
            if self.written is not None and revision < self.written:
                return  # The catalog was set back meanwhile; the next holder learns from our index.
            is_kept = Q(pinned=True) | ~Q(hold_reason="")
            first = Case(When(is_kept, then=Value(0)), default=Value(1))
            newest_first = rows.order_by(first, "-created_at", "-pk")
            try:
                index.write(self.directory, self.tenant_id, revision, newest_first.iterator())
            except BackupError as error:
                self.could_not_write = True
                logger.warning(
                    "The backup index of tenant %r was not written: %s", self.tenant_id, error
                )
                return
            self.written = revision

    def is_stale(self) -> bool:
        """Whether somebody has changed something since we wrote the index."""
        if self.trouble or self.could_not_write or self.written is None:
            return False
        return revision_of(self.tenant_id) > self.written

    def _was_deleted(self, row: Backup) -> bool:
        """Whether a row that the index does not have was deleted, and is not lost.

        Where somebody wanted it kept, or the index had no room for all, it counts as lost.
        """
        is_kept = row.pinned or row.hold_reason
        is_whole = self.index is not None and self.index.is_whole
        return is_whole and not is_kept and self.directory.is_missing(row.file_name)


def _protect(row: Backup, entry: Entry) -> bool:
    """Give a row the pin and the hold that the index knows of. False where it had both already."""
    changes: dict[str, object] = {}
    if entry.pinned and not row.pinned:
        changes["pinned"] = True
    if entry.hold and _holds_longer(entry.hold, row):
        changes |= {"hold_reason": entry.hold.reason, "held_until": entry.hold.until}
    if not changes:
        return False
    with catalog_transaction():
        if not Backup.objects.complete().filter(pk=row.pk).update(**changes):
            return False
        note_change(row.tenant_id)
        vars(row).update(changes)
        if "pinned" in changes:
            Event.record(
                EventKind.PINNED,
                row,
                detail=Text(
                    "The index of the backup folder, which is newer than the catalog, has it "
                    "pinned."
                ),
            )
    return True


def _holds_longer(hold: Hold, row: Backup) -> bool:
    until, now = hold.until, timezone.now()
    if until is not None and until <= now:
        return False
    if not row.hold_reason or (row.held_until is not None and row.held_until <= now):
        return True
    return row.held_until is not None and (until is None or until > row.held_until)


def _forget(row: Backup) -> None:
    """Remove the row of a backup that had been deleted before the catalog was set back."""
    with catalog_transaction():
        Backup.objects.complete().filter(pk=row.pk).delete()
        note_change(row.tenant_id)
        Event.record(
            EventKind.DELETED,
            row,
            detail=Text(
                "It was deleted before the catalog was set back: neither the folder nor its index "
                "has it any more."
            ),
        )
