"""The files of a tenant's backup directory, on real directories."""

import dataclasses
import errno
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

import tenant_backup.files
from tenant_backup.exceptions import BackupError, NotEnoughSpace, NotWritable
from tenant_backup.files import SPACE_MARGIN, BackupDirectory, file_names, size_in_words
from tenant_backup.lock import hold
from tenant_backup.sqlite import Fingerprint, open_copy
from tests.conftest import small_disk, take_all_inodes

NOBODY = 65534
NAME = "acme-20260615T120000Z.sqlite3"
COPY = b"a verified copy"
SHA256 = hashlib.sha256(COPY).hexdigest()
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody else")


@pytest.fixture
def directory(tmp_path):
    """A tenant's backup directory that is there."""
    directory = BackupDirectory(tmp_path / "root", "backups")
    directory.make()
    return directory


@pytest.fixture
def prepared(directory):
    """A backup directory with a verified partial, about to be published."""
    directory.create_partial(NAME).write_bytes(COPY)
    return directory


@pytest.fixture(params=["links", "no links"])
def links(request, monkeypatch):
    """Both kinds of file systems: with hard links and without."""
    if request.param == "no links":
        refuse_links(monkeypatch, errno.EPERM)
    return request.param


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def refuse_links(monkeypatch, code):
    def link(*arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", link)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def names(directory):
    return sorted(set(os.listdir(directory.path)) - {".gitignore"})  # noqa: PTH208


def content(directory):
    """Everything in the directory but the note to git: each name with what it holds."""
    return {
        path.name: path.read_bytes()
        for path in directory.path.iterdir()
        if path.name != ".gitignore"
    }


# Names


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/", "\\", "\0", "a/b", "/etc/passwd", "../db.sqlite3", "backups/a", "a/"),
        *("a\\b", "..\\a", "a\0", "\0a.sqlite3", "./a", "a/../b"),
    ],
)
def test_a_name_that_would_lead_elsewhere_is_refused(tmp_path, name):
    directory = BackupDirectory(tmp_path, "backups")
    with pytest.raises(BackupError) as refusal:
        directory.file(name)
    assert str(refusal.value) == f"{name!r} is not the name of a backup file."


@pytest.mark.parametrize("name", ["/", "\\", "\0", "a/b", "../db.sqlite3", "/etc/passwd", "a/.."])
def test_nothing_is_done_with_a_name_that_would_lead_elsewhere(prepared, name):
    before = content(prepared)
    for act in (
        lambda: prepared.partial(name),
        lambda: prepared.checksum_file(name),
        lambda: prepared.is_free(name),
        lambda: prepared.create_partial(name),
        lambda: prepared.publish(name, SHA256),
        lambda: prepared.withdraw(name, SHA256),
        lambda: prepared.finish(name),
        lambda: prepared.remove(name),
        lambda: prepared.holds(name, Fingerprint(1, SHA256)),
        lambda: prepared.open(name),
        lambda: prepared.sign_of_life(name),
    ):
        with pytest.raises(BackupError, match="is not the name of a backup file"):
            act()
    assert content(prepared) == before


@pytest.mark.parametrize("name", [NAME, ".lock", "...", " ", "a b", "🍕", "a:b", "-rf", "~"])
def test_a_name_that_stays_in_the_directory_is_one(tmp_path, name):
    assert BackupDirectory(tmp_path, "backups").file(name) == tmp_path / "backups" / name


def test_a_file_is_named_after_the_tenant_and_the_moment_in_utc():
    moment = datetime(2026, 1, 2, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert list(islice(file_names("acme", moment), 3)) == [
        "acme-20260101T200000Z.sqlite3",
        "acme-20260101T200000Z-2.sqlite3",
        "acme-20260101T200000Z-3.sqlite3",
    ]


@pytest.mark.parametrize(
    ("tenant_id", "slug"),
    [
        ("acme", "acme"),
        ("Käse & Söhne", "kase-sohne"),
        ("ACME_2 GmbH", "acme_2-gmbh"),
        ("🍕", "tenant"),
        ("日本", "tenant"),
        ("", "tenant"),
        ("../../etc/passwd", "etcpasswd"),
        ("a\0b", "ab"),
        ("-rf", "rf"),
        (".hidden", "hidden"),
        ("x" * 255, "x" * 100),
    ],
)
def test_the_tenants_part_of_a_name_is_a_slug(tenant_id, slug):
    assert next(file_names(tenant_id, NOON)) == f"{slug}-20260615T120000Z.sqlite3"


ids = st.one_of(
    st.text(max_size=255),
    st.text(alphabet="./\\\0- ~🍕ßÄ\n%:*aZ", max_size=255),
    st.text(min_size=255, max_size=255),
)


@examples(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    tenant_id=ids,
    at=st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.timezones()),  # noqa: DTZ001
)
def test_every_tenant_gets_names_that_are_safe_everywhere(tenant_id, at):
    directory = BackupDirectory(Path("root"), "backups")
    several = list(islice(file_names(tenant_id, at), 12))
    assert len(set(several)) == len(several)
    moment = f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    for number, name in enumerate(several, start=1):
        ending = f"-{moment}" + (f"-{number}" if number > 1 else "") + ".sqlite3"
        assert re.fullmatch("[a-z0-9_][a-z0-9_-]*" + re.escape(ending), name)
        for path in (directory.file(name), directory.partial(name), directory.checksum_file(name)):
            assert path.parent == directory.path
            assert len(os.fsencode(path.name)) <= 200


# The directory


def test_a_root_whose_path_is_not_there_is_not_made(tmp_path):
    mistyped = BackupDirectory(tmp_path / "tenant" / "acme", "backups")
    with pytest.raises(NotWritable) as refusal:
        mistyped.make()
    assert str(mistyped.root) in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_new_directory_is_ignored_by_git(tmp_path):
    tenants = BackupDirectory(tmp_path / "root", "backups")
    tenants.make()
    note = tenants.path / ".gitignore"
    assert note.read_text() == "*\n"
    assert mode(note) == 0o600
    # It is the owner's from then on.
    note.write_text("!*.sqlite3\n")
    tenants.make()
    assert note.read_text() == "!*.sqlite3\n"
    note.unlink()
    tenants.make()
    assert not note.exists()
    # And a folder that somebody else has made, theirs all the time.
    (tmp_path / "theirs" / "backups").mkdir(parents=True)
    theirs = BackupDirectory(tmp_path / "theirs", "backups")
    theirs.make()
    assert list(theirs.path.iterdir()) == []
    aside = BackupDirectory(tmp_path, "aside")
    aside.make(for_git_to_ignore=False)
    assert list(aside.path.iterdir()) == []


def test_git_itself_ignores_the_directory(tmp_path):
    if not shutil.which("git"):
        pytest.skip("There is no git here.")
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    directory = BackupDirectory(tmp_path / "root", "backups")
    directory.make()
    directory.create_partial(NAME)
    status = subprocess.run(
        [*git, "status", "--porcelain", "-uall"], check=True, capture_output=True, text=True
    )
    assert status.stdout == ""


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_no_directory_fails_for_want_of_the_note_to_git(tmp_path, monkeypatch, code):
    def refuse(self, path):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(BackupDirectory, "create", refuse)
    directory = BackupDirectory(tmp_path / "root", "backups")
    directory.make()
    assert directory.path.is_dir()


@pytest.mark.parametrize("kind", ["file", "dangling link"])
@pytest.mark.parametrize("place", ["root", "backups"])
def test_what_lies_in_the_directorys_way_is_refused_and_left(tmp_path, kind, place):
    directory = BackupDirectory(tmp_path / "root", "backups")
    in_the_way = directory.root
    if place == "backups":
        directory.root.mkdir()
        in_the_way = directory.path
    if kind == "file":
        in_the_way.write_text("somebody's")
    else:
        in_the_way.symlink_to(tmp_path / "gone")
    with pytest.raises(NotWritable) as refusal:
        directory.make()
    assert str(refusal.value) == f"{in_the_way} is not a directory."
    assert not in_the_way.is_dir()
    if kind == "file":
        assert in_the_way.read_text() == "somebody's"
    assert not (tmp_path / "gone").exists()


UNPRIVILEGED = """
import os, sys
from pathlib import Path

from tenant_backup.exceptions import NotWritable
from tenant_backup.files import BackupDirectory
from tenant_backup.lock import hold

os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)


def take_the_lock():
    with hold(BackupDirectory(Path("ours"), "backups"), wait=0):
        pass


readonly, ours = (BackupDirectory(Path(name), "backups") for name in ("readonly", "ours"))
for act in (
    readonly.make,
    readonly.require_writable,
    lambda: BackupDirectory(Path("new"), "backups").make(),
    ours.require_writable,
    lambda: ours.create_partial("new"),
    lambda: ours.publish("made", "0" * 64),
    lambda: ours.withdraw("made", ""),
    lambda: ours.remove("published"),
    take_the_lock,
):
    try:
        act()
    except NotWritable as refusal:
        print(refusal)
    else:
        print("not refused", act)
"""


def test_where_permissions_forbid_it_nothing_is_done_and_the_sentence_says_who_and_where(tmp_path):
    readonly, ours = tmp_path / "readonly", tmp_path / "ours" / "backups"
    readonly.mkdir()
    ours.mkdir(parents=True)
    for name in (".made.partial", "published", "published.sha256"):
        (ours / name).write_bytes(COPY)
        (ours / name).chmod(0o666)
    for folder in (tmp_path, readonly, ours):
        folder.chmod(0o555)
    # Paths from the current directory, since another user may not pass through the ones above.
    result = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, tmp_path],
        env=os.environ | {"PYTHONPATH": str(Path(tenant_backup.files.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    for folder in (tmp_path, readonly, ours):
        folder.chmod(0o755)
    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    refused = (
        f"cannot be written: Permission denied. The user that this process runs as (user id {user})"
    )
    assert result.stdout.splitlines() == [
        f"readonly/backups {refused} needs write permission in readonly.",
        f"readonly/backups {refused} needs write permission in readonly.",
        f"new {refused} needs write permission in ..",
        f"ours/backups {refused} needs write permission in ours.",
        f"ours/backups/.new.partial {refused} needs write permission in ours/backups.",
        f"ours/backups/made.sha256 {refused} needs write permission in ours/backups.",
        f"ours/backups/.made.partial {refused} needs write permission in ours/backups.",
        f"ours/backups/published {refused} needs write permission in ours/backups.",
        f"ours/backups/.lock {refused} needs write permission in ours/backups.",
    ], result.stderr
    assert sorted(path.name for path in ours.iterdir()) == [
        *(".made.partial", "published", "published.sha256"),
    ]


OUT_OF_REACH = """
import os, sys
from pathlib import Path

from tenant_backup.exceptions import NotWritable
from tenant_backup.files import BackupDirectory

os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)

directory = BackupDirectory(Path("root"), "backups")
for act in (directory.exists, directory.make, directory.require_writable):
    try:
        print(act())
    except NotWritable as refusal:
        print(refusal)
print(directory.is_missing("a.sqlite3"))
"""


def test_a_root_that_may_not_be_entered_is_an_error_in_words_and_nothing_is_thought_missing(
    tmp_path,
):
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o000)
    tmp_path.chmod(0o755)
    result = subprocess.run(
        [sys.executable, "-c", OUT_OF_REACH, tmp_path],
        env=os.environ | {"PYTHONPATH": str(Path(tenant_backup.files.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    root.chmod(0o700)
    *refusals, missing = result.stdout.splitlines()
    assert len(refusals) == 3, result.stderr
    for refusal in refusals:
        assert refusal.startswith("root/backups cannot be written: Permission denied.")
    assert missing == "False"


def test_two_processes_that_make_the_directory_at_once_both_have_it(tmp_path, monkeypatch):
    directory = BackupDirectory(tmp_path, "backups")
    mkdir = Path.mkdir

    def somebody_is_faster(self, *arguments, **options):
        monkeypatch.undo()
        directory.make()
        mkdir(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", somebody_is_faster)
    directory.make()
    assert mode(directory.path) == 0o700


def test_many_threads_that_make_the_directory_at_once_all_have_it(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        for number in range(20):
            directory = BackupDirectory(tmp_path / str(number), "backups")
            barrier = threading.Barrier(8)

            def make(directory=directory, barrier=barrier):
                barrier.wait(60)
                directory.make()

            for made in [threads.submit(make) for _ in range(8)]:
                made.result()


def test_the_directory_is_made_for_its_owner_only(tmp_path, umask):
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    before = mode(root)
    directory = BackupDirectory(root, "my backups")
    directory.make()
    assert directory.path == root / "my backups"
    assert mode(directory.path) == 0o700
    assert mode(root) == before


def test_the_root_is_made_too_for_its_owner_only(tmp_path, umask):
    directory = BackupDirectory(tmp_path / "root", "backups")
    directory.make()
    assert mode(directory.root) == 0o700
    assert mode(directory.path) == 0o700


def test_a_directory_that_is_there_is_left_as_it_is(tmp_path):
    directory = BackupDirectory(tmp_path / "root", "backups")
    directory.path.mkdir(parents=True)
    (directory.path / "notes.txt").write_text("somebody's")
    for folder, bits in ((directory.root, 0o751), (directory.path, 0o750)):
        folder.chmod(bits)
    for _ in range(2):
        directory.make()
    assert (mode(directory.root), mode(directory.path)) == (0o751, 0o750)
    assert names(directory) == ["notes.txt"]


def test_a_directory_may_be_a_link_to_another_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    directory = BackupDirectory(tmp_path / "root", "backups")
    directory.root.mkdir()
    directory.path.symlink_to(disk)
    directory.make()
    directory.create_partial(NAME).write_bytes(COPY)
    directory.publish(NAME, SHA256)
    assert (disk / NAME).read_bytes() == COPY


# New files


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_what_is_there_is_never_created_over(directory, tmp_path, kind):
    path = directory.partial(NAME)
    elsewhere = tmp_path / "elsewhere"
    if kind == "file":
        path.write_text("somebody's")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(elsewhere)
    if kind == "link":
        elsewhere.write_text("somebody's")
    before = path.lstat()
    with pytest.raises(FileExistsError):
        directory.create(path)
    with pytest.raises(FileExistsError):
        directory.create_partial(NAME)
    assert path.lstat() == before
    assert elsewhere.exists() == (kind == "link")


def test_a_file_is_made_for_its_owner_only(directory, umask):
    descriptor = directory.create(directory.file(NAME))
    try:
        os.write(descriptor, COPY)
        assert os.pread(descriptor, 100, 0) == COPY
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)
    assert mode(directory.file(NAME)) == 0o600


def test_a_partial_is_empty_hidden_and_for_its_owner_only(directory, umask):
    partial = directory.create_partial(NAME)
    assert partial == directory.path / f".{NAME}.partial"
    assert partial.read_bytes() == b""
    assert mode(partial) == 0o600


@pytest.mark.parametrize("taken", [NAME, f".{NAME}.partial", f"{NAME}.sha256"])
def test_a_name_is_not_free_where_anything_of_it_is_taken(directory, taken):
    assert directory.is_free(NAME)
    (directory.path / taken).symlink_to("nowhere")
    assert not directory.is_free(NAME)
    assert directory.is_free("acme-20260615T120000Z-2.sqlite3")


# Publishing


@pytest.mark.parametrize("taken", [NAME, f"{NAME}.sha256"])
@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_nothing_is_overwritten_when_publishing(prepared, links, taken, kind):
    foreign = prepared.path / taken
    if kind == "file":
        foreign.write_text("somebody's")
    elif kind == "folder":
        foreign.mkdir()
    else:
        foreign.symlink_to("nowhere")
    before = foreign.lstat()
    with pytest.raises(NotWritable) as refusal:
        prepared.publish(NAME, SHA256)
    assert "Nothing was overwritten" in str(refusal.value)
    assert str(prepared.path) in str(refusal.value)
    # To link and unlink again may change the time of the status, but nothing that counts.
    after = foreign.lstat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (
        *(before.st_ino, before.st_size, before.st_mtime_ns),
    )
    assert prepared.partial(NAME).read_bytes() == COPY
    if kind != "folder":
        prepared.withdraw(NAME, SHA256)
        assert names(prepared) == [taken]


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EROFS])
def test_a_link_that_fails_for_another_reason_is_an_error_in_words(prepared, monkeypatch, code):
    refuse_links(monkeypatch, code)
    with pytest.raises(NotWritable, match=os.strerror(code)):
        prepared.publish(NAME, SHA256)
    assert not os.path.lexists(prepared.file(NAME))
    assert prepared.partial(NAME).read_bytes() == COPY


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_as_such_and_nothing_gets_the_final_name(prepared, monkeypatch, code):
    def fsync(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(NotEnoughSpace, match=os.strerror(code)):
        prepared.publish(NAME, SHA256)
    assert not os.path.lexists(prepared.file(NAME))


def test_without_a_partial_nothing_is_published(directory):
    with pytest.raises(NotWritable, match="No such file"):
        directory.publish(NAME, SHA256)
    assert names(directory) == []


def test_a_published_file_is_there_whole_and_its_partial_gone(prepared, links, umask):
    inode = prepared.partial(NAME).stat().st_ino
    prepared.publish(NAME, SHA256)
    assert content(prepared) == {
        NAME: COPY,
        f"{NAME}.sha256": f"{SHA256}  {NAME}\n".encode(),
    }
    final = prepared.file(NAME).stat()
    assert (final.st_ino, final.st_nlink) == (inode, 1)
    assert mode(prepared.file(NAME)) == 0o600
    assert mode(prepared.checksum_file(NAME)) == 0o600


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK])
def test_a_file_is_published_however_a_file_system_says_that_it_has_no_links(
    prepared, monkeypatch, code
):
    refuse_links(monkeypatch, code)
    prepared.publish(NAME, SHA256)
    assert names(prepared) == [NAME, f"{NAME}.sha256"]
    assert prepared.file(NAME).read_bytes() == COPY


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum here")
def test_the_checksum_file_is_what_sha256sum_checks(directory):
    # As the directory stands, names with spaces and other letters among them.
    several = [*islice(file_names("Käse & Söhne", NOON), 3), "a b ß.sqlite3"]
    for name in several:
        directory.create_partial(name).write_bytes(COPY)
        directory.publish(name, SHA256)
    check = ["sha256sum", "--check", "--strict", *(f"{name}.sha256" for name in several)]
    options = {"cwd": directory.path, "capture_output": True, "text": True, "timeout": 60}
    result = subprocess.run(check, **options)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [f"{name}: OK" for name in several]
    directory.file(several[1]).write_bytes(COPY[:-1])
    assert subprocess.run(check, **options).returncode == 1


def test_everything_is_synced_before_and_after_the_final_name(prepared, monkeypatch):
    synced = []
    fsync = os.fsync

    def spy(descriptor):
        synced.append((os.fstat(descriptor).st_ino, prepared.file(NAME).exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    prepared.publish(NAME, SHA256)
    file, checksum_file, folder = (
        path.stat().st_ino
        for path in (prepared.file(NAME), prepared.checksum_file(NAME), prepared.path)
    )
    assert set(synced) == {(file, False), (checksum_file, False), (folder, True)}


# Withdrawing


@pytest.mark.parametrize(
    "foreign",
    [
        b"0" * 64 + f"  {NAME}\n".encode(),
        f"{SHA256}  other.sqlite3\n".encode(),
        f"{SHA256}  {NAME}\n\n".encode(),
        b"somebody's notes",
    ],
)
def test_a_checksum_file_that_is_not_ours_is_left(prepared, foreign):
    prepared.checksum_file(NAME).write_bytes(foreign)
    prepared.withdraw(NAME, SHA256)
    assert content(prepared) == {f"{NAME}.sha256": foreign}


def test_without_a_checksum_no_checksum_file_can_be_ours(prepared):
    prepared.checksum_file(NAME).write_bytes(b"")
    prepared.withdraw(NAME, "")
    assert content(prepared) == {f"{NAME}.sha256": b""}


def test_the_files_of_other_backups_are_left(prepared):
    for name in ("acme-20260615T120000Z-2.sqlite3", f"{NAME}.bak", f"x{NAME}"):
        for path in (prepared.file(name), prepared.partial(name), prepared.checksum_file(name)):
            path.write_bytes(COPY)
    before = names(prepared)
    prepared.withdraw(NAME, SHA256)
    assert names(prepared) == sorted(set(before) - {f".{NAME}.partial"})
    before = names(prepared)
    prepared.remove(NAME)
    assert names(prepared) == before


@pytest.mark.parametrize("length", [0, 1, 63, 64, 66, 70, None])
def test_our_checksum_file_is_withdrawn_even_one_cut_short(prepared, length):
    line = f"{SHA256}  {NAME}\n".encode()
    prepared.checksum_file(NAME).write_bytes(line[:length])
    prepared.withdraw(NAME, SHA256)
    assert names(prepared) == []


def test_to_withdraw_waits_for_no_named_pipe(prepared):
    os.mkfifo(prepared.checksum_file(NAME))
    prepared.withdraw(NAME, SHA256)
    assert names(prepared) == [f"{NAME}.sha256"]


def test_to_withdraw_what_a_failing_disk_cannot_read_is_said_in_words(prepared, monkeypatch):
    prepared.checksum_file(NAME).write_text("")

    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(tenant_backup.files.backup_directory, "open_regular", fail)
    with pytest.raises(NotWritable, match="Input/output error"):
        prepared.withdraw(NAME, SHA256)


def test_to_read_a_stated_checksum_waits_for_no_named_pipe(prepared):
    os.mkfifo(prepared.checksum_file(NAME))
    with pytest.raises(BackupError, match="not a regular file"):
        tenant_backup.files.stated_sha256(prepared.file(NAME))


def test_to_withdraw_what_is_not_there_is_no_error(directory):
    directory.withdraw(NAME, SHA256)
    directory.withdraw(NAME, "")
    directory.remove(NAME)
    assert names(directory) == []


def test_to_withdraw_leaves_what_is_published(prepared):
    prepared.publish(NAME, SHA256)
    prepared.finish(NAME)
    prepared.withdraw(NAME, "")
    assert names(prepared) == [NAME, f"{NAME}.sha256"]


def test_a_backup_is_removed_with_its_checksum_file_and_nothing_else(prepared):
    prepared.publish(NAME, SHA256)
    (prepared.path / "notes.txt").touch()
    prepared.remove(NAME)
    assert names(prepared) == ["notes.txt"]


@pytest.mark.parametrize("gone", [NAME, f"{NAME}.sha256"])
def test_a_backup_of_which_half_is_gone_is_removed(prepared, gone):
    prepared.publish(NAME, SHA256)
    (prepared.path / gone).unlink()
    prepared.remove(NAME)
    assert names(prepared) == []


def test_a_link_is_removed_not_what_it_leads_to(directory, tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(COPY)
    directory.file(NAME).symlink_to(precious)
    directory.remove(NAME)
    assert names(directory) == []
    assert precious.read_bytes() == COPY


# Recognising and reading


def test_what_cannot_be_read_is_an_error_not_an_absence(directory):
    directory.file(NAME).mkdir()
    size = directory.file(NAME).stat().st_size
    with pytest.raises(BackupError, match="cannot be read"):
        directory.holds(NAME, Fingerprint(size, SHA256))
    with pytest.raises(BackupError, match="is not a regular file"):
        directory.open(NAME)


def test_a_file_that_is_gone_is_not_opened_nor_made(prepared):
    with pytest.raises(BackupError) as refusal:
        prepared.open(NAME)
    assert str(refusal.value) == f"The file {prepared.file(NAME)} no longer exists."
    assert not prepared.file(NAME).exists()


def test_a_published_file_is_opened_to_be_read_and_nothing_else(prepared):
    prepared.publish(NAME, SHA256)
    with prepared.open(NAME) as stream:
        assert stream.read() == COPY
        assert not stream.writable()


@pytest.mark.parametrize("what", ["file", "dangling link", "folder"])
def test_what_is_there_in_any_way_is_not_missing(directory, what):
    path = directory.file(NAME)
    assert directory.is_missing(NAME)
    if what == "file":
        path.touch()
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    assert not directory.is_missing(NAME)


def test_without_its_directory_a_file_is_out_of_reach_and_not_missing(tmp_path):
    """A disk that is not mounted now comes back with its files."""
    directory = BackupDirectory(tmp_path / "root", "backups")
    assert not directory.exists()
    assert not directory.is_missing(NAME)
    directory.make()
    assert directory.exists()
    assert directory.is_missing(NAME)


def test_only_the_exact_file_is_recognised(prepared):
    expected = Fingerprint(len(COPY), SHA256)
    assert not prepared.holds(NAME, expected)
    prepared.publish(NAME, SHA256)
    assert prepared.holds(NAME, expected)
    assert not prepared.holds(NAME, dataclasses.replace(expected, size=len(COPY) + 1))
    assert not prepared.holds(NAME, dataclasses.replace(expected, sha256="0" * 64))
    for other in (COPY[:-1] + b"!", COPY[:-1], COPY + b"\0", b""):
        prepared.file(NAME).write_bytes(other)
        assert not prepared.holds(NAME, expected)


# A sign of life


@pytest.fixture
def seconds(monkeypatch):
    """A clock for signs of life that a test sets."""

    class Seconds:
        now = 1000.0

        def monotonic(self):
            return self.now

    seconds = Seconds()
    monkeypatch.setattr(tenant_backup.files.backup_directory, "time", seconds)
    return seconds


def age(path):
    """Make it old, or say that it is not so any more."""
    os.utime(path, (1, 1), follow_symlinks=False)


def is_new(path):
    return path.lstat().st_mtime > 1


def test_a_sign_of_life_is_seen_on_the_partial_every_now_and_then(prepared, seconds):
    partial = prepared.partial(NAME)
    sign_of_life = prepared.sign_of_life(NAME)
    seen = []
    for seconds.now in (1000, 1014.9, 1015, 1029.9, 1030, 1030, 1100, 1114, 1115):
        age(partial)
        sign_of_life()
        seen.append((seconds.now, is_new(partial)))
    assert [now for now, was_seen in seen if was_seen] == [1015, 1030, 1100, 1115]
    assert partial.read_bytes() == COPY


def test_a_sign_of_life_is_dated_now(prepared, seconds):
    partial = prepared.partial(NAME)
    sign_of_life = prepared.sign_of_life(NAME)
    age(partial)
    seconds.now += 15
    before = datetime.now(UTC).timestamp() - 1
    sign_of_life()
    assert before <= partial.stat().st_mtime <= datetime.now(UTC).timestamp() + 1


def test_two_signs_of_life_do_not_count_for_each_other(directory, seconds):
    signs = {}
    for name in (NAME, "other.sqlite3"):
        age(directory.create_partial(name))
        signs[name] = directory.sign_of_life(name)
    seconds.now += 15
    signs[NAME]()
    assert is_new(directory.partial(NAME))
    assert not is_new(directory.partial("other.sqlite3"))
    signs["other.sqlite3"]()
    assert is_new(directory.partial("other.sqlite3"))


def test_a_sign_of_life_breaks_nothing_where_the_partial_is_gone(directory, seconds):
    sign_of_life = directory.sign_of_life(NAME)
    seconds.now += 15
    sign_of_life()
    assert names(directory) == []


def test_a_sign_of_life_follows_no_link(directory, tmp_path, seconds):
    secret = tmp_path / "secret"
    secret.touch()
    age(secret)
    directory.partial(NAME).symlink_to(secret)
    age(directory.partial(NAME))
    sign_of_life = directory.sign_of_life(NAME)
    seconds.now += 15
    sign_of_life()
    assert is_new(directory.partial(NAME))
    assert not is_new(secret)


def test_a_system_that_cannot_set_times_so_is_no_trouble(prepared, seconds, monkeypatch):
    def refuse(*arguments, **options):
        raise NotImplementedError

    monkeypatch.setattr(os, "utime", refuse)
    sign_of_life = prepared.sign_of_life(NAME)
    seconds.now += 15
    sign_of_life()


# Space


@pytest.mark.parametrize("needed", [0, 1, 5_000_000_000])
def test_too_little_space_is_refused_with_the_numbers_and_the_path(directory, monkeypatch, needed):
    free = needed + SPACE_MARGIN - 1
    monkeypatch.setattr(BackupDirectory, "free_bytes", lambda self: free)
    with pytest.raises(NotEnoughSpace) as refusal:
        directory.require_space(needed)
    assert str(refusal.value) == (
        f"Not enough disk space in {directory.path}: "
        f"{size_in_words(needed + SPACE_MARGIN)} needed, {size_in_words(free)} free."
    )
    monkeypatch.setattr(BackupDirectory, "free_bytes", lambda self: free + 1)
    directory.require_space(needed)


def test_the_real_disk_has_no_room_for_more_than_itself(directory):
    with pytest.raises(NotEnoughSpace):
        directory.require_space(shutil.disk_usage(directory.path).total)


@pytest.mark.parametrize("missing", ["", "backups", "tenant/backups", "a/b/tenant/backups"])
def test_the_free_space_is_that_of_the_disk_where_the_directory_would_be(
    tmp_path, monkeypatch, missing
):
    asked = []
    disk_usage = shutil.disk_usage

    def spy(path):
        asked.append(Path(path))
        return disk_usage(path)

    monkeypatch.setattr(shutil, "disk_usage", spy)
    folder = tmp_path / missing
    free = BackupDirectory(folder.parent, folder.name).free_bytes()
    assert 0 <= free <= disk_usage(tmp_path).total
    assert asked == [tmp_path]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 bytes"), (1536, "1.5 KB"), (16 * 1024**2, "16.0 MB")]
)
def test_sizes_are_in_words(size, words):
    assert size_in_words(size) == words


# The owner


@as_root
def test_what_root_makes_belongs_to_the_owner_of_the_tenants_root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    os.chown(root, NOBODY, NOBODY - 1)
    directory = BackupDirectory(root, "backups")
    directory.make()
    with hold(directory, wait=0):
        partial = directory.create_partial(NAME)
        partial.write_bytes(COPY)
        owned = [directory.path, directory.file(".lock"), partial]
        assert [(path.stat().st_uid, path.stat().st_gid) for path in owned] == [
            *[(NOBODY, NOBODY - 1)] * 3,
        ]
        directory.publish(NAME, SHA256)
    for path in (directory.file(NAME), directory.checksum_file(NAME), directory.file(".lock")):
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY - 1)


@as_root
@pytest.mark.parametrize("root_exists", [True, False])
def test_where_no_other_user_has_the_root_the_databases_owner_gets_all(tmp_path, root_exists):
    database = tmp_path / "db.sqlite3"
    database.touch()
    os.chown(database, NOBODY, NOBODY)
    if root_exists:
        (tmp_path / "root").mkdir()
    directory = BackupDirectory(tmp_path / "root", "backups", owners=(tmp_path / "root", database))
    directory.make()
    for path in (directory.path, directory.create_partial(NAME)):
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)


@as_root
def test_root_does_not_follow_a_link_that_somebody_else_put_in_its_way(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    os.chown(root, NOBODY, NOBODY)
    directory = BackupDirectory(root, "backups")
    directory.path.symlink_to(elsewhere)
    directory.make()  # root's own link leads where root wants
    os.chown(directory.path, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(NotWritable, match=f"{directory.path} is a symbolic link made by user"):
        directory.make()


@as_root
def test_what_root_opens_in_an_owners_directory_it_opens_as_the_owner():
    """A link in the place of the partial leads root to nothing that the owner may not write."""
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder) / "secret.sqlite3"
        secret.write_bytes(b"")
        secret.chmod(0o600)
        root = Path(folder) / "root"
        root.mkdir()
        Path(folder).chmod(0o755)
        os.chown(root, NOBODY, NOBODY)
        directory = BackupDirectory(root, "backups")
        directory.make()
        directory.partial(NAME).symlink_to(secret)
        with (
            pytest.raises(BackupError, match="cannot be opened"),
            directory.as_owner(),
        ):
            open_copy(directory.partial(NAME)).close()
        assert os.geteuid() == 0
        assert secret.read_bytes() == b""


@as_root
def test_a_directory_that_is_there_keeps_its_owner(tmp_path):
    directory = BackupDirectory(tmp_path / "root", "backups")
    directory.path.mkdir(parents=True)
    os.chown(directory.root, NOBODY, NOBODY)
    directory.make()
    assert directory.path.stat().st_uid == 0
    # What is made in it is still the tenant's.
    assert directory.create_partial(NAME).stat().st_uid == NOBODY


def test_a_link_in_the_place_of_a_backup_is_not_opened(prepared, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("of somebody else")
    prepared.file("link.sqlite3").symlink_to(secret)
    with pytest.raises(BackupError, match="cannot be read"):
        prepared.open("link.sqlite3")
    prepared.file("folder.sqlite3").mkdir()
    with pytest.raises(BackupError, match="is not a regular file"):
        prepared.open("folder.sqlite3")


def test_a_disk_without_inodes_is_not_called_a_lack_of_permission_or_space():
    with small_disk("4m,nr_inodes=20") as disk:
        directory = BackupDirectory(disk, "backups")
        directory.make()
        take_all_inodes(disk)
        for attempt in (
            lambda: directory.create(directory.file("x")),
            lambda: BackupDirectory(disk, "others").make(),
            directory.try_writing,
        ):
            with pytest.raises(NotEnoughSpace, match="out of inodes: all 20 are taken"):
                attempt()


def test_want_of_inodes_is_known_before_anything_is_made(tmp_path, monkeypatch):
    facts = os.statvfs(tmp_path)
    fields = {"f_files": 20, "f_favail": 0, "f_bavail": facts.f_bavail, "f_frsize": facts.f_frsize}
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(**fields))
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: SimpleNamespace(total=0, used=0, free=10**12)
    )
    with pytest.raises(NotEnoughSpace, match="out of inodes"):
        BackupDirectory(tmp_path, "backups").require_space(1)
