"""Adoption: a row for each sound backup in the folder that the catalog does not know.

The lock's holder does it. A file is one of ours by its name; its checksum file must agree, if it
has one; and it must not be another tenant's backup.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime

from django.utils import timezone

from tenant_backup import sqlite
from tenant_backup.backups import counting, index
from tenant_backup.backups.folder import directory_of, note_change
from tenant_backup.backups.index import Entry
from tenant_backup.backups.requests import BackupRequest
from tenant_backup.catalog import catalog_transaction
from tenant_backup.exceptions import BackupError, cannot_be_read
from tenant_backup.files import made_at
from tenant_backup.models import Backup, Event, EventKind, Hold, HoldKind, Status, Trigger
from tenant_backup.sqlite import Counts, Fingerprint
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text


def adopt_unknown(
    tenant: Tenant, requests: Mapping[str, BackupRequest] | None = None
) -> tuple[list[Backup], list[str]]:
    """Adopt the backups in the folder that the catalog does not know; the lock's holder calls it.

    What asked for a file is known from `requests`, by file name, or else from the folder's index.
    Returns the new rows, and a sentence about each file that was refused. Raises `BackupError` if
    the folder cannot be read.
    """
    adopted, refused = [], []
    unknown, directory = _unknown_files(tenant), directory_of(tenant)
    entries: Mapping[str, Entry] = {}
    with suppress(BackupError):
        if unknown and (found := index.read(directory, tenant.id)):
            entries = found.entries
    for name, made in unknown:
        try:
            copy = _recognise(tenant, name)
            sqlite.check(directory.file(name))
            counts = counting.count(directory.file(name))
        except BackupError as error:
            refused.append(str(error))
            continue
        entry = entries.get(name)
        if entry and entry.fingerprint != copy:
            entry = None
        request = (requests or {}).get(name)
        adopted.append(_adopt(tenant, name, made, copy, counts, entry, request))
    return adopted, refused


def adopt_described(tenant: Tenant, entries: Mapping[str, Entry]) -> list[Backup]:
    """Adopt only what is exactly as the folder's index says; the lock's holder calls it."""
    directory, adopted = directory_of(tenant), []
    for name, made in _unknown_files(tenant, among=entries):
        entry = entries[name]
        # The size first, since reading a file takes long.
        if not directory.is_of_size(name, entry.size):
            continue
        with suppress(BackupError):
            if _recognise(tenant, name) == entry.fingerprint:
                sqlite.check(directory.file(name))
                counts = counting.count(directory.file(name))
                adopted.append(_adopt(tenant, name, made, entry.fingerprint, counts, entry, None))
    return adopted


def owners_of(fingerprint: Fingerprint, *, file_name: str = "") -> set[str]:
    """The ids of the tenants that have a backup with this content, according to the catalog.

    With a file name: those that have it under this very name. Otherwise what was found on disk does
    not count: a file may have been put into the folder of a tenant that it does not belong to.
    """
    rows = Backup.objects.filter(sha256=fingerprint.sha256, size=fingerprint.size)
    if file_name:
        rows = rows.filter(file_name=file_name)
    else:
        rows = rows.exclude(trigger=Trigger.ADOPTED)
    return set(rows.values_list("tenant_id", flat=True))


def _unknown_files(
    tenant: Tenant, among: Collection[str] | None = None
) -> list[tuple[str, datetime]]:
    """The files with a backup's name that the catalog does not know, and when they were made.

    In that order; of two from the same second, the longer name is the later one.
    """
    rows = Backup.objects.for_tenant(tenant.id).exclude(file_name="")
    known = set(rows.values_list("file_name", flat=True))
    folder = directory_of(tenant).path
    try:
        names = {path.name for path in folder.iterdir()} - known
    except OSError as error:
        raise cannot_be_read(folder, error) from error
    if among is not None:
        names &= set(among)
    in_order = sorted(names, key=lambda name: (len(name), name))
    return [(name, at) for name in in_order if (at := made_at(tenant.id, name))]


def _recognise(tenant: Tenant, name: str) -> Fingerprint:
    """The fingerprint of a file; raises `BackupError` if it is another tenant's alone."""
    directory = directory_of(tenant)
    copy = directory.recognise(name)
    # Two tenants may share a folder: by name and content, it is the other's in any case.
    owners = owners_of(copy, file_name=name)
    if not owners and not directory.checksum_file(name).exists():
        # With a checksum file, which agrees, it was made here: two tenants may have equal data.
        owners = owners_of(copy)
    if owners and tenant.id not in owners:
        raise BackupError(
            "%(path)s is a backup of tenant %(tenant)r.",
            path=directory.file(name),
            tenant=min(owners),
        )
    return copy


def _adopt(
    tenant: Tenant,
    name: str,
    made: datetime,
    copy: Fingerprint,
    counts: Counts | None,
    entry: Entry | None,
    request: BackupRequest | None,
) -> Backup:
    """Make the row of a sound file: as requested, or as the index says, or as found on disk."""
    detail: Text | str = ""
    if request:
        asked = request
    elif entry:
        asked = BackupRequest(trigger=entry.trigger, label=entry.label, pinned=entry.pinned)
        if entry.trigger != Trigger.ADOPTED:
            detail = Text("Its trigger and label come from the index of the backup folder.")
    else:
        asked = BackupRequest(trigger=Trigger.ADOPTED)
    # The index may say which part of the second it was, but make no backup newer or older.
    if entry and entry.created_at.replace(microsecond=0) == made:
        made = entry.created_at
    with catalog_transaction():
        backup = Backup.objects.create(
            **asdict(asked),
            tenant_id=tenant.id,
            status=Status.COMPLETE,
            file_name=name,
            size=copy.size,
            sha256=copy.sha256,
            created_at=made,
            finished_at=made,
            verified_at=timezone.now(),
        )
        counting.keep(backup, counts)
        if entry and entry.hold_reason:
            Hold.objects.add(backup, HoldKind.FOLDER, entry.hold_reason, entry.held_until, key="")
        note_change(tenant.id)
        # What a request asked for needs no event, unless it was itself about a file found here.
        if not request or request.trigger == Trigger.ADOPTED:
            Event.record(EventKind.ADOPTED, backup, detail=detail)
    return backup
