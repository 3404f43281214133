"""The index's file: what is written is read again, and nothing else counts."""

import errno
import json
import os
import stat
from datetime import UTC, datetime

import pytest

from tenant_backup.backups import index
from tenant_backup.backups.index import Entry
from tenant_backup.exceptions import BackupError
from tenant_backup.files import BackupDirectory
from tenant_backup.models import Backup, Trigger
from tests.conftest import AS_ROOT, NOBODY, names_in

AT = datetime(2026, 11, 23, 2, 4, 5, 678, tzinfo=UTC)
NAME = "acme-20261123T020405Z.sqlite3"


def row(name=NAME, **fields):
    facts = {"size": 4096, "sha256": "ab" * 32, "created_at": AT, "trigger": "automatic"}
    return Backup(tenant_id="acme", status="complete", file_name=name, **facts | fields)


def data(**changes):
    """The index of one backup, as JSON has it; changes of `entry_…` are those of the backup's."""
    whole = json.loads(index.content_of("acme", 7, [row()]))
    for name, value in changes.items():
        place = whole["backups"][0] if name.startswith("entry_") else whole
        place[name.removeprefix("entry_")] = value
    return json.dumps(whole).encode()


@pytest.fixture
def directory(tmp_path):
    directory = BackupDirectory(tmp_path, "backups")
    directory.make()
    return directory


def test_what_is_written_is_read_again(directory):
    rows = [
        row(label="Größe 😀\nand more", pinned=True, trigger="manual"),
        row("acme-1.sqlite3", hold_reason="fetched", held_until=AT),
        row("acme-2.sqlite3", hold_reason="rows vanished"),
    ]
    index.write(directory, "acme", 7, rows)
    found = index.read(directory, "acme")
    assert (found.tenant_id, found.revision, found.is_whole) == ("acme", 7, True)
    first, second, third = found.entries.values()
    assert first == Entry(
        file=NAME,
        size=4096,
        sha256="ab" * 32,
        created_at=AT,
        trigger=Trigger.MANUAL,
        label="Größe 😀\nand more",
        pinned=True,
        hold_reason="",
        held_until=None,
    )
    assert (second.hold_reason, second.held_until) == ("fetched", AT)
    assert (third.hold_reason, third.held_until) == ("rows vanished", None)


def test_it_has_what_the_documentation_says(directory):
    index.write(directory, "acme", 7, [row(hold_reason="fetched", held_until=AT)])
    assert json.loads(directory.file("index.json").read_bytes()) == {
        "version": 1,
        "tenant": "acme",
        "revision": 7,
        "is_whole": True,
        "backups": [
            {
                "file": NAME,
                "size": 4096,
                "sha256": "ab" * 32,
                "created_at": "2026-11-23T02:04:05.000678+00:00",
                "trigger": "automatic",
                "label": "",
                "pinned": False,
                "hold": {"reason": "fetched", "until": "2026-11-23T02:04:05.000678+00:00"},
            }
        ],
    }


def test_of_none_it_is_an_index_too(directory):
    index.write(directory, "acme", 0, [])
    assert index.read(directory, "acme").entries == {}


def test_what_has_no_file_is_not_in_it():
    rows = [row(size=None, sha256=""), row("../db.sqlite3"), row("")]
    assert json.loads(index.content_of("acme", 1, rows))["backups"] == []


def test_of_more_than_there_is_room_for_the_first_are_listed(monkeypatch):
    monkeypatch.setattr(index, "MAX_BYTES", index.HEAD_BYTES + 1000)
    content = index.content_of("acme", 1, [row(f"acme-{number}.sqlite3") for number in range(9)])
    assert len(content) <= index.MAX_BYTES
    found = index.parse(content, "acme")
    assert not found.is_whole
    assert list(found.entries) == [f"acme-{number}.sqlite3" for number in range(len(found.entries))]
    assert 0 < len(found.entries) < 9


def test_it_is_replaced_at_once_for_its_owner_only_and_nothing_is_left(directory):
    for revision in (1, 2):
        index.write(directory, "acme", revision, [row()])
    assert {path.name for path in directory.path.iterdir()} == {".gitignore", "index.json"}
    assert stat.S_IMODE(directory.file("index.json").stat().st_mode) == 0o600
    assert index.read(directory, "acme").revision == 2


@pytest.mark.parametrize("left", ["file", "link"])
def test_what_a_killed_process_left_is_not_in_the_way(directory, tmp_path, left):
    partial = directory.path / ".index.json.partial"
    if left == "file":
        partial.write_bytes(b"half")
    else:
        partial.symlink_to(tmp_path / "elsewhere")
    index.write(directory, "acme", 1, [])
    assert {path.name for path in directory.path.iterdir()} == {".gitignore", "index.json"}
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_leaves_the_old_one_and_no_partial(directory, monkeypatch):
    index.write(directory, "acme", 1, [])

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BackupError, match="No space left"):
        index.write(directory, "acme", 2, [row()])
    assert {path.name for path in directory.path.iterdir()} == {".gitignore", "index.json"}
    assert index.read(directory, "acme").revision == 1


@pytest.mark.skipif(not AS_ROOT, reason="Only root makes files for others.")
def test_what_root_writes_belongs_to_the_tenants_owner(tmp_path):
    os.chown(tmp_path, NOBODY, NOBODY)
    directory = BackupDirectory(tmp_path, "backups")
    directory.make()
    index.write(directory, "acme", 1, [])
    assert directory.file("index.json").stat().st_uid == NOBODY


# What comes from the folder is not to be trusted


def test_what_is_right_is_accepted():
    """The others differ from this in one detail each."""
    assert index.parse(data(), "acme").entries[NAME].size == 4096
    assert index.parse(data(entry_more=1, more={}), "acme").entries[NAME].size == 4096


@pytest.mark.parametrize("tenant_id", ["acme2", "Acme", "acme ", "", None, 1])
def test_another_tenants_counts_for_nothing(tenant_id):
    assert index.parse(data(tenant=tenant_id), "acme") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": "1"},
        {"revision": -1},
        {"revision": 1.0},
        {"revision": True},
        {"revision": "7"},
        {"revision": None},
        {"revision": 2**63},
        {"is_whole": 1},
        {"backups": None},
        {"backups": {}},
        {"backups": [[]]},
        {"backups": ["x"]},
        {"backups": [None]},
        {"entry_file": ""},
        {"entry_file": "../db.sqlite3"},
        {"entry_file": ".."},
        {"entry_file": "a\0b"},
        {"entry_file": "x" * 256},
        {"entry_file": "\ud800"},
        {"entry_file": 1},
        {"entry_size": 0},
        {"entry_size": -1},
        {"entry_size": 2**63},
        {"entry_size": "4096"},
        {"entry_size": True},
        {"entry_sha256": "AB" * 32},
        {"entry_sha256": "ab" * 31},
        {"entry_sha256": None},
        {"entry_created_at": "2026-11-23T02:04:05"},
        {"entry_created_at": "0001-01-01T00:00:00+23:59"},
        {"entry_created_at": "9999-12-31T23:59:59-23:59"},
        {"entry_created_at": "yesterday"},
        {"entry_created_at": 0},
        {"entry_created_at": None},
        {"entry_trigger": "free"},
        {"entry_trigger": ["manual"]},
        {"entry_label": "x" * 201},
        {"entry_label": "\0"},
        {"entry_label": "\udfff"},
        {"entry_label": None},
        {"entry_pinned": 1},
        {"entry_pinned": "yes"},
        {"entry_pinned": None},
        {"entry_hold": True},
        {"entry_hold": {}},
        {"entry_hold": {"reason": ""}},
        {"entry_hold": {"reason": "x" * 201, "until": None}},
        {"entry_hold": {"reason": "x", "until": "soon"}},
        {"entry_hold": {"reason": "x", "until": "9999-12-31T23:59:59Z"}},
    ],
    ids=repr,
)
def test_where_one_detail_is_wrong_nothing_of_it_counts(changes):
    assert index.parse(data(**changes), "acme") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"revision": ' + b"9" * 100_000 + b"}",
        b"NaN",
        bytes(1000),
        data()[:-3],
        data() + b"x",
    ],
    ids=range(14),
)
def test_what_is_no_such_file_is_no_index(content):
    assert index.parse(content, "acme") is None


def test_two_lines_about_one_file_are_wrong():
    whole = json.loads(data())
    whole["backups"] *= 2
    assert index.parse(json.dumps(whole).encode(), "acme") is None


def test_one_that_is_too_large_is_not_parsed(directory, monkeypatch):
    index.write(directory, "acme", 7, [row()])
    monkeypatch.setattr(index, "MAX_BYTES", 100)
    assert index.read(directory, "acme") is None


@pytest.mark.parametrize("kind", ["nothing", "link", "broken link", "folder", "pipe", "socket"])
def test_what_is_no_regular_file_is_neither_followed_nor_waited_for(directory, tmp_path, kind):
    path, elsewhere = directory.file("index.json"), tmp_path / "elsewhere"
    elsewhere.write_bytes(data())
    if kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "broken link":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    assert index.read(directory, "acme") is None
    if kind == "folder":
        with pytest.raises(BackupError, match=r"index\.json cannot be written"):
            index.write(directory, "acme", 8, [])
    else:
        index.write(directory, "acme", 8, [])
        assert index.read(directory, "acme").revision == 8
        assert elsewhere.read_bytes() == data()
    assert names_in(directory.path) == []


def test_one_that_cannot_be_read_at_present_is_not_taken_for_a_damaged_one(directory, monkeypatch):
    index.write(directory, "acme", 7, [])

    def fail(*arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        with pytest.raises(BackupError, match=r"index\.json cannot be read: Input/output error"):
            index.read(directory, "acme")
