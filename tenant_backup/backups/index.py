"""The index of a backup folder: the folder describes itself, in the file `index.json`.

The catalog is the record. Where the control database was lost, replaced, or set back to an earlier
time, the catalog is completed from the index: so pins, labels and triggers survive.

The index is untrusted input, for tenants may be able to write to the folder. It is opened without
following links or waiting for anybody, read up to a limit, and every field is checked. Where
anything is wrong with it, it is ignored.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from tenant_backup.exceptions import cannot_be_read
from tenant_backup.files import O_BINARY, BackupDirectory
from tenant_backup.models import LABEL_LENGTH, Backup, Trigger
from tenant_backup.sqlite import Fingerprint

T = TypeVar("T")

NAME = "index.json"

VERSION = 1

MAX_BYTES = 8 * 1024 * 1024
"""A larger file is not read. About 30,000 backups fit; where there are more, the pinned, the held
and the newest ones are listed."""

HEAD_BYTES = 8192
"""Room for everything except the list."""

MAX_NUMBER = 2**63 - 1
"""The largest number that a database has room for."""

YEARS = range(1970, 3000)
"""Other years cannot be right, and are too close to where calculations with dates fail."""

REASON_LENGTH = 200

NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR}
"""How the system says that there is no file, or only a link, a pipe, a socket or a folder."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why retention keeps a backup, and until when; None is until somebody releases it."""

    reason: str
    until: datetime | None


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
    hold: Hold | None

    @classmethod
    def of(cls, backup: Backup) -> Entry | None:
        """What there is to say of a complete backup; None where it cannot be said."""
        if not backup.fingerprint or not _is_file_name(backup.file_name):
            return None
        reason = backup.hold_reason[:REASON_LENGTH]
        return cls(
            file=backup.file_name,
            size=backup.fingerprint.size,
            sha256=backup.fingerprint.sha256,
            created_at=backup.created_at,
            trigger=Trigger(backup.trigger),
            label=backup.label[:LABEL_LENGTH],
            pinned=backup.pinned,
            hold=Hold(reason, backup.held_until) if reason else None,
        )

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self.size, self.sha256)

    def as_data(self) -> dict[str, Any]:
        hold = self.hold and {"reason": self.hold.reason, "until": _as_text(self.hold.until)}
        return {
            "file": self.file,
            "size": self.size,
            "sha256": self.sha256,
            "created_at": _as_text(self.created_at),
            "trigger": self.trigger.value,
            "label": self.label,
            "pinned": self.pinned,
            "hold": hold,
        }


@dataclass(frozen=True, slots=True)
class Index:
    """What a folder says of itself: whose it is, how often it was changed, and what is in it.

    `is_whole` says that no backup was left out for want of room.
    """

    tenant_id: str
    revision: int
    entries: Mapping[str, Entry]
    is_whole: bool = True


def read(directory: BackupDirectory, tenant_id: str) -> Index | None:
    """The folder's index; None where there is none, or another tenant's, or a damaged one.

    Raises `BackupError` where there may be one that cannot be read at present: that is no damage.
    """
    path = directory.file(NAME)
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | O_BINARY
    try:
        descriptor = os.open(path, os.O_RDONLY | flags)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        with os.fdopen(descriptor, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        if error.errno in NO_FILE:
            return None
        raise cannot_be_read(path, error) from error
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
        if not (entry := Entry.of(row)):
            continue
        line = json.dumps(entry.as_data(), ensure_ascii=False).encode()
        left -= len(line) + 2
        if left < 0:
            is_whole = False
            break
        lines.append(line)
    head = {
        "version": VERSION,
        "tenant": tenant_id,
        "revision": revision,
        "is_whole": is_whole,
    }
    start = json.dumps(head, ensure_ascii=False).encode()
    # One line a backup, for people.
    body = b",\n".join(lines)
    return start.removesuffix(b"}") + b', "backups": [\n' + body + b"\n]}\n"


def parse(content: bytes, tenant_id: str) -> Index | None:
    """What the file's content says, if it is this tenant's index, in every detail."""
    if len(content) > MAX_BYTES:
        return None
    try:
        data = json.loads(content.decode())
        _require(isinstance(data, dict))
        _require(data.get("version") == VERSION)
        _require(data.get("tenant") == tenant_id)
        _require(isinstance(data.get("is_whole"), bool))
        entries: dict[str, Entry] = {}
        for one in _of_type(list, data.get("backups")):
            entry = _entry(_of_type(dict, one))
            _require(entry.file not in entries)
            entries[entry.file] = entry
        return Index(tenant_id, _number(data.get("revision"), 0), entries, data["is_whole"])
    except (ValueError, RecursionError, MemoryError):
        return None


def _entry(data: dict[str, Any]) -> Entry:
    sha256 = _text(data.get("sha256"), 64)
    _require(len(sha256) == 64 and set(sha256) <= set("0123456789abcdef"))
    file = _text(data.get("file"), 255)
    _require(_is_file_name(file))
    return Entry(
        file=file,
        size=_number(data.get("size"), 1),
        sha256=sha256,
        created_at=_moment(data.get("created_at")),
        trigger=Trigger(_text(data.get("trigger"), 20)),
        label=_text(data.get("label"), LABEL_LENGTH),
        pinned=_of_type(bool, data.get("pinned")),
        hold=None if data.get("hold") is None else _hold(_of_type(dict, data["hold"])),
    )


def _hold(data: dict[str, Any]) -> Hold:
    reason = _text(data.get("reason"), REASON_LENGTH)
    _require(reason != "")
    return Hold(reason, None if data.get("until") is None else _moment(data["until"]))


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
    _require(least <= number <= MAX_NUMBER)
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


def _as_text(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at else None
