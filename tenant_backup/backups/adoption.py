"""Adoption: a row for each sound backup in the folder that the catalog does not know.

The lock's holder does it. A file is one of ours by its name; where it has a checksum file, that
must agree, and it must not be another tenant's backup.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime

from django.utils import timezone

from tenant_backup import sqlite
from tenant_backup.backups import folder, index
from tenant_backup.backups.directories import directory_of
from tenant_backup.backups.index import Entry
from tenant_backup.backups.requests import BackupRequest
from tenant_backup.catalog import catalog_transaction
from tenant_backup.exceptions import BackupError
from tenant_backup.files import made_at
from tenant_backup.models import Backup, Event, EventKind, Status, Trigger
from tenant_backup.sqlite import Fingerprint
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text


@dataclass(frozen=True, slots=True)
class _File:
    """A file with the name of a backup, which says when it was made."""

    name: str
    made_at: datetime


def adopt_unknown(
    tenant: Tenant, requests: Mapping[str, BackupRequest] | None = None
) -> tuple[list[Backup], list[str]]:
    """Adopt the backups in the folder that the catalog does not know; the lock's holder calls it.

    What asked for a file is known from `requests`, by file name, or else from the folder's index.
    Returns the new rows, and a sentence about each file that was refused.
    """
    adopted, refused = [], []
    unknown = _unknown_files(tenant)
    entries = _entries(tenant) if unknown else {}
    for file in unknown:
        try:
            copy = _recognise(tenant, file.name)
            _require_sound(tenant, file.name)
        except BackupError as error:
            refused.append(str(error))
            continue
        entry = entries.get(file.name)
        if entry and entry.fingerprint != copy:
            entry = None
        adopted.append(_adopt(tenant, file, copy, entry, (requests or {}).get(file.name)))
    return adopted, refused


def adopt_described(tenant: Tenant, entries: Mapping[str, Entry]) -> list[Backup]:
    """Adopt only what is exactly as the folder's index says; the lock's holder calls it."""
    adopted = []
    for file in _unknown_files(tenant, among=entries):
        entry = entries[file.name]
        try:
            if not _is_as_described(tenant, entry):
                continue
            _require_sound(tenant, file.name)
        except BackupError:
            continue
        adopted.append(_adopt(tenant, file, entry.fingerprint, entry, None))
    return adopted


def _is_as_described(tenant: Tenant, entry: Entry) -> bool:
    # The size first, since to read a file takes long.
    is_of_size = directory_of(tenant).is_of_size(entry.file, entry.size)
    return is_of_size and _recognise(tenant, entry.file) == entry.fingerprint


def owners_of(fingerprint: Fingerprint, *, file_name: str = "") -> set[str]:
    """The ids of the tenants whose backup has this content, as far as the catalog knows.

    With a file name: those that have it under this very name. Otherwise what was found on disk does
    not count: whoever put it into a folder need not have known whose it is.
    """
    rows = Backup.objects.filter(sha256=fingerprint.sha256, size=fingerprint.size)
    if file_name:
        rows = rows.filter(file_name=file_name)
    else:
        rows = rows.exclude(trigger=Trigger.ADOPTED)
    return set(rows.values_list("tenant_id", flat=True))


def _unknown_files(tenant: Tenant, among: Collection[str] | None = None) -> list[_File]:
    """The files with a backup's name that the catalog does not know, in the order they were made.

    Of one second the longer name is the later one.
    """
    rows = Backup.objects.for_tenant(tenant.id).exclude(file_name="")
    known = set(rows.values_list("file_name", flat=True))
    names = {path.name for path in directory_of(tenant).path.iterdir()} - known
    if among is not None:
        names &= set(among)
    in_order = sorted(names, key=lambda name: (len(name), name))
    return [_File(name, at) for name in in_order if (at := made_at(tenant.id, name))]


def _entries(tenant: Tenant) -> Mapping[str, Entry]:
    """What the folder's index says of its files, by their names."""
    with suppress(BackupError):
        if found := index.read(directory_of(tenant), tenant.id):
            return found.entries
    return {}


def _recognise(tenant: Tenant, name: str) -> Fingerprint:
    """What the file is recognised by; raises `BackupError` where it is another tenant's alone."""
    directory = directory_of(tenant)
    copy = directory.recognise(name)
    # By name and content it is theirs, whatever lies beside it: the two have one folder.
    owners = owners_of(copy, file_name=name)
    if not owners and not directory.checksum_file(name).exists():
        # With one, which agrees, it was made here: two tenants may have equal data.
        owners = owners_of(copy)
    if owners and tenant.id not in owners:
        raise BackupError(
            "%(path)s is a backup of tenant %(tenant)r.",
            path=directory.file(name),
            tenant=min(owners),
        )
    return copy


def _require_sound(tenant: Tenant, name: str) -> None:
    sqlite.check(directory_of(tenant).file(name))


def _adopt(
    tenant: Tenant,
    file: _File,
    copy: Fingerprint,
    entry: Entry | None,
    request: BackupRequest | None,
) -> Backup:
    """Make the row of a sound file: as requested, or as the index says, or as found on disk."""
    asked = request or _request_of(entry)
    hold = entry.hold if entry else None
    at = file.made_at
    # The index may say which part of the second it was, but make no backup newer or older.
    if entry and entry.created_at.replace(microsecond=0) == at:
        at = entry.created_at
    with catalog_transaction():
        backup = Backup.objects.create(
            **asdict(asked),
            tenant_id=tenant.id,
            status=Status.COMPLETE,
            hold_reason=hold.reason if hold else "",
            held_until=hold.until if hold else None,
            file_name=file.name,
            size=copy.size,
            sha256=copy.sha256,
            created_at=at,
            finished_at=at,
            verified_at=timezone.now(),
        )
        folder.note_change(tenant.id)
        if asked.trigger == Trigger.ADOPTED:
            Event.record(EventKind.ADOPTED, backup)
        elif not request:
            detail = Text("Its trigger and label come from the index of the backup folder.")
            Event.record(EventKind.ADOPTED, backup, detail=detail)
    return backup


def _request_of(entry: Entry | None) -> BackupRequest:
    if not entry:
        return BackupRequest(trigger=Trigger.ADOPTED)
    return BackupRequest(trigger=entry.trigger, label=entry.label, pinned=entry.pinned)
