"""A tenant's backup folder: where it is, and its index, kept in line with the catalog.

Each change of what the index shows adds 1 to the revision in the catalog, in the transaction of the
change. The lock's holder compares it with the index's revision: before their own change, and at the
end, when they write a new index. An index with a higher revision than the catalog's means that the
catalog is of an earlier time, or a new one: then the catalog learns what the folder knows.

A kill or a full disk may keep the index from being written after a change. Then the revisions
differ, and the next holder of the lock writes it.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field

from django.db import DatabaseError
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from tenant_backup.backups import index
from tenant_backup.backups.index import Entry, Index
from tenant_backup.catalog import catalog_transaction
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError
from tenant_backup.files import BackupDirectory
from tenant_backup.models import Backup, Event, EventKind, Hold, HoldKind, TenantState
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text

logger = logging.getLogger("tenant_backup")

LARGEST_STEP = 10**9
"""No catalog is behind by more changes than this. A forged revision must not use up the numbers
that a database has room for."""


def directory_of(tenant: Tenant) -> BackupDirectory:
    owners = (tenant.root, tenant.database)
    return BackupDirectory(tenant.root, conf.DIRECTORY_NAME, owners=owners)


def has_directory(tenant: Tenant) -> bool:
    """Whether the tenant has a backup directory.

    Raises `BackupError` if there is none, but there should be one: it has good backups.
    """
    directory = directory_of(tenant)
    if directory.exists():
        return True
    if Backup.objects.for_tenant(tenant.id).good().exists():
        raise out_of_reach(directory)
    return False


def out_of_reach(directory: BackupDirectory) -> BackupError:
    return BackupError("%(path)s is not there, or out of reach.", path=directory.path)


def revision_of(tenant_id: str) -> int:
    """How often what the folder's index shows was changed, according to the catalog."""
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
    index: Index | None = None
    is_newer: bool = False
    """Whether the folder knows more than the catalog, which was set back or is a new one."""
    trouble: BackupError | None = None
    """Why it is not known what the folder knows. Then nothing may be removed."""
    written: int | None = None
    """The revision of the index that is there; None if there is no valid one."""
    could_not_write: bool = False
    protected: list[Backup] = field(default_factory=list)
    forgotten: list[Backup] = field(default_factory=list)

    @classmethod
    def of(cls, tenant: Tenant) -> Folder:
        """Read the index and compare the revisions.

        Call it before anything is changed: each change would bring a catalog that was set back
        nearer to the folder's revision.
        """
        folder = cls(tenant.id, directory_of(tenant))
        ours = revision_of(tenant.id)
        try:
            found = index.read(folder.directory, tenant.id)
        except BackupError as error:
            logger.warning("The backup index of tenant %r is ignored: %s", tenant.id, error)
            folder.trouble = error
            return folder
        if found and found.revision <= ours + LARGEST_STEP:
            folder.index, folder.written = found, found.revision
            folder.is_newer = found.revision > ours
        return folder

    def tell_catalog(self) -> None:
        """Tell a catalog that was set back what the folder knows of the rows that it has.

        An index may protect a backup, but never removes protection.
        """
        if not self.index or not self.is_newer:
            return
        for row in Backup.objects.for_tenant(self.tenant_id).complete():
            entry, name = self.index.entries.get(row.file_name), row.file_name
            # What somebody wanted to keep was not deleted: it is missing.
            may_be_deleted = self.index.is_whole and not row.pinned and not row.hold_reason
            if entry and entry.fingerprint == row.fingerprint:
                if self.directory.is_of_size(name, entry.size) and _protect(row, entry):
                    self.protected.append(row)
            elif not entry and may_be_deleted and self.directory.is_missing(name):
                _forget(row)
                self.forgotten.append(row)

    def conclude(self) -> None:
        """From now on the catalog is the newer one, since it knows what the folder knew."""
        if self.index and self.is_newer:
            TenantState.objects.ensure([self.tenant_id])
            TenantState.objects.filter(
                tenant_id=self.tenant_id, revision__lte=self.index.revision
            ).update(revision=self.index.revision + 1)
            self.is_newer = False

    def describe(self) -> None:
        """Write a new index if its revision is not the catalog's; raises `BackupError`."""
        if self.trouble or self.is_newer:
            return
        rows = Backup.objects.for_tenant(self.tenant_id).complete().filter(deleting_at=None)
        # Somebody may pin a backup meanwhile: that does not wait for the lock.
        while (revision := revision_of(self.tenant_id)) != self.written:
            if self.written is None and not rows.exists():
                return
            if self.written is not None and revision < self.written:
                return  # The catalog was set back meanwhile; the next holder learns from our index.
            is_kept = Q(pinned=True) | ~Q(hold_reason="")
            kept_first = Case(When(is_kept, then=Value(0)), default=Value(1))
            in_order = rows.order_by(kept_first, "-created_at", "-pk")
            index.write(self.directory, self.tenant_id, revision, in_order.iterator())
            self.written = revision

    def is_stale(self) -> bool:
        """Whether somebody has changed something since we wrote the index."""
        if self.trouble or self.could_not_write or self.written is None:
            return False
        with suppress(DatabaseError):  # The next holder of the lock writes it.
            return revision_of(self.tenant_id) > self.written
        return False


def _protect(row: Backup, entry: Entry) -> bool:
    """Give a row the pin and the hold that the index knows of; False if it had both already."""
    is_pinned_there, is_held_there = entry.pinned and not row.pinned, _holds_longer(entry, row)
    if not (is_pinned_there or is_held_there):
        return False
    with catalog_transaction():
        pinned = row.pinned or entry.pinned
        if not Backup.objects.complete().filter(pk=row.pk).update(pinned=pinned):
            return False
        row.pinned = pinned
        note_change(row.tenant_id)
        if is_held_there:
            Hold.objects.add(row, HoldKind.FOLDER, entry.hold_reason, entry.held_until, key="")
        if is_pinned_there:
            detail = Text(
                "The list in the backup folder, which is newer than the one here, has it pinned."
            )
            Event.record(EventKind.PINNED, row, detail=detail)
    return True


def _holds_longer(entry: Entry, row: Backup) -> bool:
    """Whether the index holds a backup at present, and for longer than its row does."""
    until, now = entry.held_until, timezone.now()
    if not entry.hold_reason or (until and until <= now):
        return False
    if not row.is_held(now):
        return True
    return row.held_until is not None and (until is None or until > row.held_until)


def _forget(row: Backup) -> None:
    """Remove the row of a backup that had been deleted before the catalog was set back."""
    detail = Text(
        "It was deleted before the list of backups was set back to an earlier time: it is neither "
        "in the backup folder nor in the list there any more."
    )
    with catalog_transaction():
        Backup.objects.complete().filter(pk=row.pk).delete()
        note_change(row.tenant_id)
        Event.record(EventKind.DELETED, row, detail=detail)
