"""The index of a backup folder: the folder describes itself, in the file `index.json`.

The catalog is the record. If the control database is replaced, or set back to an earlier time, the
catalog is completed from the index: so pins, labels and triggers survive.

The index is untrusted input, since tenants may be able to write to the folder. It is opened without
following links or waiting for anybody, read up to a limit, and every field is checked. If anything
is wrong with it, it is ignored.
"""

import errno
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db.models import BigIntegerField

from tenant_backup.exceptions import BackupError, cannot_be_read
from tenant_backup.files import BackupDirectory
from tenant_backup.models import LABEL_LENGTH, Backup, Trigger
from tenant_backup.sqlite import Fingerprint

T = TypeVar("T")

NAME = "index.json"

VERSION = 1

MAX_BYTES = 8 * 1024 * 1024
"""A larger file is not read. About 30,000 backups fit; of more, the pinned, the held and the
newest ones are listed."""

HEAD_BYTES = 8192
"""Room for everything except the list."""

YEARS = range(1970, 3000)
"""Other years cannot be right, and are too close to where calculations with dates fail."""

REASON_LENGTH = 200

NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR}
"""How the system says that there is no file, or only a link, a pipe, a socket or a folder."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One backup, as the index describes it."""

    file: str
    size: int
    sha256: str
    created_at: datetime
    trigger: Trigger
    label: str
    pinned: bool
    hold_reason: str
    """Why retention keeps the backup, if it does for a reason of its own."""
    held_until: datetime | None
    """Until when; None is until somebody releases it."""

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self.size, self.sha256)


@dataclass(frozen=True, slots=True)
class Index:
    """What a folder says of itself: whose it is, how often it was changed, and what is in it."""

    tenant_id: str
    revision: int
    entries: Mapping[str, Entry]
    is_whole: bool
    """Whether there was room for all backups."""


def read(directory: BackupDirectory, tenant_id: str) -> Index | None:
    """The folder's index; None if there is none, or another tenant's, or an invalid one.

    Raises `BackupError` if there may be one that cannot be read at present.
    """
    try:
        with directory.open(NAME) as stream:
            content = stream.read(MAX_BYTES + 1)
    except BackupError as error:
        # Without a cause, it is missing or no regular file.
        if isinstance(error.__cause__, OSError) and error.__cause__.errno not in NO_FILE:
            raise
        return None
    except OSError as error:
        raise cannot_be_read(directory.file(NAME), error) from error
    return parse(content, tenant_id)


def write(
    directory: BackupDirectory, tenant_id: str, revision: int, rows: Iterable[Backup]
) -> None:
    """Write a new index: the rows in this order, as many as there is room for."""
    directory.replace(NAME, content_of(tenant_id, revision, rows))


def content_of(tenant_id: str, revision: int, rows: Iterable[Backup]) -> bytes:
    lines: list[bytes] = []
    left, is_whole = MAX_BYTES - HEAD_BYTES, True
    for row in rows:
        if not (entry := _entry_of(row)):
            continue
        line = json.dumps(entry, ensure_ascii=False).encode()
        left -= len(line) + 2
        if left < 0:
            is_whole = False
            break
        lines.append(line)
    head = {"version": VERSION, "tenant": tenant_id, "revision": revision, "is_whole": is_whole}
    start = json.dumps(head, ensure_ascii=False).encode().removesuffix(b"}")
    # One line a backup, for people.
    return start + b', "backups": [\n' + b",\n".join(lines) + b"\n]}\n"


def _entry_of(backup: Backup) -> dict[str, Any] | None:
    """The entry of a complete backup; None if its row has no usable file name or fingerprint."""
    made = backup.fingerprint
    if not made or not _is_file_name(backup.file_name):
        return None
    reason, until = backup.hold_reason[:REASON_LENGTH], backup.held_until
    hold = {"reason": reason, "until": until.astimezone(UTC).isoformat() if until else None}
    return {
        "file": backup.file_name,
        "size": made.size,
        "sha256": made.sha256,
        "created_at": backup.created_at.astimezone(UTC).isoformat(),
        "trigger": Trigger(backup.trigger).value,
        "label": backup.label[:LABEL_LENGTH],
        "pinned": backup.pinned,
        "hold": hold if reason else None,
    }


def parse(content: bytes, tenant_id: str) -> Index | None:
    """The index with this content; None if it is another tenant's, or any detail is wrong."""
    if len(content) > MAX_BYTES:
        return None
    try:
        data = _of_type(dict, json.loads(content.decode()))
        _require(data["version"] == VERSION and data["tenant"] == tenant_id)
        entries: dict[str, Entry] = {}
        for one in _of_type(list, data["backups"]):
            entry = _entry(_of_type(dict, one))
            _require(entry.file not in entries)
            entries[entry.file] = entry
        is_whole = _of_type(bool, data["is_whole"])
        return Index(tenant_id, _number(data["revision"], 0), entries, is_whole)
    except (ValueError, KeyError, RecursionError, MemoryError):
        return None


def _entry(data: dict[str, Any]) -> Entry:
    sha256 = _text(data["sha256"], 64)
    _require(len(sha256) == 64 and set(sha256) <= set("0123456789abcdef"))
    file = _text(data["file"], 255)
    _require(_is_file_name(file))
    hold = {"reason": "", "until": None}
    if data["hold"] is not None:
        hold = _of_type(dict, data["hold"])
        _require(hold["reason"] != "")
    return Entry(
        file=file,
        size=_number(data["size"], 1),
        sha256=sha256,
        created_at=_moment(data["created_at"]),
        trigger=Trigger(_text(data["trigger"], 20)),
        label=_text(data["label"], LABEL_LENGTH),
        pinned=_of_type(bool, data["pinned"]),
        hold_reason=_text(hold["reason"], REASON_LENGTH),
        held_until=None if hold["until"] is None else _moment(hold["until"]),
    )


def _require(is_right: bool) -> None:
    if not is_right:
        raise ValueError


def _of_type(kind: type[T], value: object) -> T:
    # Exactly: True is an int, too.
    if type(value) is not kind:
        raise ValueError
    return value


def _number(value: object, least: int) -> int:
    number = _of_type(int, value)
    _require(least <= number <= BigIntegerField.MAX_BIGINT)
    return number


def _text(value: object, most: int) -> str:
    text = _of_type(str, value)
    # No database takes a NUL, and `encode` refuses half a character.
    _require(len(text) <= most and "\0" not in text and text.encode() is not None)
    return text


def _moment(value: object) -> datetime:
    at = datetime.fromisoformat(_text(value, 64))
    _require(at.tzinfo is not None and at.year in YEARS)
    return at.astimezone(UTC)


def _is_file_name(name: str) -> bool:
    return 1 <= len(name) <= 255 and name not in {".", ".."} and not set(name) & set("/\\\0")
