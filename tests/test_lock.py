"""The tenant's lock: real locks of real processes. A process is waited for by what it prints."""

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.core.files import locks

import tenant_backup.lock
from tenant_backup.exceptions import BackupError, BackupInProgress, NotWritable
from tenant_backup.files import BackupDirectory
from tenant_backup.lock import LOCK_NAME, hold
from tests.conftest import names_in

PRELUDE = """
import os, sys
from pathlib import Path
from tenant_backup.exceptions import BackupInProgress
from tenant_backup.files import BackupDirectory
from tenant_backup.lock import hold

directory = BackupDirectory(Path(sys.argv[1]), sys.argv[2])
"""

# Holds the lock until its input ends.
HOLDER = """
with hold(directory, wait=0):
    print("holding", flush=True)
    sys.stdin.read()
print("free", flush=True)
"""

# Finds the lock held, then waits for it.
WAITER = """
try:
    with hold(directory, wait=0):
        print("free", flush=True)
except BackupInProgress:
    print("waiting", flush=True)
    with hold(directory, wait=60):
        print("holding", flush=True)
"""

# Leaves a child behind that was forked while the lock was held, and lives on.
FORKER = """
with hold(directory, wait=0):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
print("left", flush=True)
sys.stdin.read()
"""


class Process(subprocess.Popen[str]):
    """Another process at work on the same tenant."""

    def __init__(self, code, directory):
        super().__init__(
            [sys.executable, "-c", PRELUDE + code, directory.root, directory.name],
            env=os.environ | {"PYTHONPATH": str(Path(tenant_backup.lock.__file__).parents[1])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def says(self, word):
        assert self.stdout
        assert self.stdout.readline() == f"{word}\n"


@pytest.fixture
def directory(tmp_path):
    directory = BackupDirectory(tmp_path, "backups")
    directory.make()
    return directory


@pytest.fixture
def start(directory):
    """Start another process; whatever happens, it is gone after the test."""
    started = []

    def start(code):
        started.append(Process(code, directory))
        return started[-1]

    yield start
    for process in started:
        with process:
            process.kill()


def is_free(directory):
    try:
        with hold(directory, wait=0):
            return True
    except BackupInProgress:
        return False


# Refusals


def test_a_lock_that_is_held_is_refused_at_once(directory):
    with hold(directory, wait=0):
        before = time.monotonic()
        with pytest.raises(BackupInProgress) as refusal, hold(directory, wait=0):
            pytest.fail("two hold the lock")
        assert time.monotonic() - before < 5
    assert str(refusal.value) == (
        f"Another process is working on the backups in {directory.path}. "
        "Try again when it has finished."
    )


def test_a_lock_that_is_held_is_refused_after_the_wait(directory):
    with hold(directory, wait=0):
        before = time.monotonic()
        with pytest.raises(BackupInProgress), hold(directory, wait=0.3):
            pytest.fail("two hold the lock")
        assert 0.3 <= time.monotonic() - before < 10


def test_a_lock_that_another_process_holds_is_refused(directory, start):
    holder = start(HOLDER)
    holder.says("holding")
    for wait in (0, 0.1):
        with pytest.raises(BackupInProgress), hold(directory, wait=wait):
            pytest.fail("two hold the lock")
    holder.stdin.close()
    holder.says("free")
    assert is_free(directory)


def test_a_lock_that_another_thread_holds_is_refused(directory):
    holding, done = threading.Event(), threading.Event()

    def work():
        with hold(directory, wait=0):
            holding.set()
            assert done.wait(60)

    with ThreadPoolExecutor(1) as threads:
        work_done = threads.submit(work)
        try:
            assert holding.wait(60)
            assert not is_free(directory)
        finally:
            done.set()
        work_done.result()
    assert is_free(directory)


def test_a_refused_attempt_frees_nothing_and_leaves_nothing_open(directory):
    with hold(directory, wait=0):
        before = set(os.listdir("/dev/fd"))  # noqa: PTH208
        for _ in range(20):
            assert not is_free(directory)
        assert len(set(os.listdir("/dev/fd")) - before) < 10  # noqa: PTH208
        assert not is_free(directory)


@pytest.mark.parametrize("target", ["file", "nothing"])
def test_a_symbolic_link_in_the_locks_place_is_refused(directory, tmp_path, target):
    elsewhere = tmp_path / "elsewhere"
    if target == "file":
        elsewhere.write_text("somebody's")
    directory.file(LOCK_NAME).symlink_to(elsewhere)
    with pytest.raises(NotWritable) as refusal, hold(directory, wait=0):
        pytest.fail("a link was followed")
    assert str(directory.file(LOCK_NAME)) in str(refusal.value)
    assert elsewhere.exists() == (target == "file")
    assert directory.file(LOCK_NAME).is_symlink()


def test_a_folder_in_the_locks_place_is_refused(directory):
    directory.file(LOCK_NAME).mkdir()
    with pytest.raises(NotWritable) as refusal, hold(directory, wait=0):
        pytest.fail("a folder was locked")
    assert str(directory.file(LOCK_NAME)) in str(refusal.value)


def test_without_the_backup_directory_there_is_no_lock(tmp_path):
    directory = BackupDirectory(tmp_path, "backups")
    with pytest.raises(NotWritable) as refusal, hold(directory, wait=0):
        pytest.fail("nothing was locked")
    assert str(directory.file(LOCK_NAME)) in str(refusal.value)
    assert not directory.path.exists()


def test_a_platform_without_locks_is_an_error_in_words(directory, monkeypatch):
    # As Django's own stand-in for such platforms has it.
    monkeypatch.setattr(locks, "LOCK_EX", 0)
    monkeypatch.setattr(locks, "LOCK_NB", 0)
    monkeypatch.setattr(locks, "lock", lambda file, flags: False)
    with pytest.raises(BackupError, match="no file locks") as refusal, hold(directory, wait=60):
        pytest.fail("nothing was locked")
    assert not isinstance(refusal.value, BackupInProgress)
    assert names_in(directory.path) == []


def test_a_file_system_that_refuses_locks_is_an_error_in_words(directory, monkeypatch):
    def lock(file, flags):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks, "lock", lock)
    with pytest.raises(BackupError) as refusal, hold(directory, wait=60):
        pytest.fail("nothing was locked")
    assert not isinstance(refusal.value, BackupInProgress)
    assert str(refusal.value) == (
        f"The file system of {directory.path} refuses file locks: {os.strerror(errno.ENOLCK)}."
    )


# Holding, and letting go


def test_the_locks_of_two_tenants_have_nothing_to_do_with_each_other(tmp_path):
    with ExitStack() as stack:
        for name in ("acme", "acme2"):
            directory = BackupDirectory(tmp_path / name, "backups")
            directory.make()
            stack.enter_context(hold(directory, wait=0))


def test_one_directory_by_two_paths_is_one_lock(directory, tmp_path):
    (tmp_path / "link").symlink_to(directory.path)
    with hold(BackupDirectory(tmp_path, "link"), wait=0):
        assert not is_free(directory)


def test_the_lock_is_free_again_afterwards(directory):
    for _ in range(3):
        with hold(directory, wait=0):
            assert not is_free(directory)
        assert is_free(directory)


@pytest.mark.parametrize("error", [ValueError, BackupError, KeyboardInterrupt, SystemExit])
def test_the_lock_is_free_again_after_an_exception_which_goes_on(directory, error):
    with pytest.raises(error, match="of the work"), hold(directory, wait=0):
        raise error("of the work")
    assert is_free(directory)


def test_a_killed_process_holds_no_lock(directory, start):
    holder = start(HOLDER)
    holder.says("holding")
    assert not is_free(directory)
    holder.kill()
    holder.wait()
    assert is_free(directory)


@pytest.mark.parametrize("end", ["kill", "end of the work"])
def test_a_waiting_process_gets_the_lock_when_the_holder_ends(directory, start, end):
    holder = start(HOLDER)
    holder.says("holding")
    waiter = start(WAITER)
    waiter.says("waiting")
    if end == "kill":
        holder.kill()
    else:
        holder.stdin.close()
        holder.says("free")
    waiter.says("holding")
    assert waiter.wait(60) == 0
    assert is_free(directory)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_child_that_was_forked_meanwhile_does_not_keep_the_lock(directory, start):
    forker = start(FORKER)
    forker.says("left")
    assert is_free(directory)


def test_of_many_at_once_one_holds_the_lock_at_a_time(directory):
    inside, most = [], []

    def work(number):
        with hold(directory, wait=60):
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(40)))
    assert most == [1] * 40


# The file


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_the_file_stays_the_same_one_empty_and_for_its_owner_only(directory, umask):
    path = directory.file(LOCK_NAME)
    before = os.umask(umask)
    try:
        with hold(directory, wait=0):
            made = path.lstat()
    finally:
        os.umask(before)
    assert stat.S_ISREG(made.st_mode)
    assert stat.S_IMODE(made.st_mode) == 0o600
    with hold(directory, wait=0):
        pass
    assert path.lstat() == made
    assert made.st_size == 0


def test_a_locks_file_that_is_there_is_used_as_it_is(directory):
    path = directory.file(LOCK_NAME)
    path.write_text("somebody's")
    path.chmod(0o640)
    with hold(directory, wait=0):
        assert not is_free(directory)
    assert path.read_text() == "somebody's"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_that_is_tidied_away_before_it_is_locked_is_no_lock(directory, monkeypatch):
    really_open, opened = tenant_backup.lock._open, []

    def tidy_away(directory):
        opened.append(really_open(directory))
        if len(opened) == 1:
            directory.file(LOCK_NAME).unlink()
        return opened[-1]

    monkeypatch.setattr(tenant_backup.lock, "_open", tidy_away)
    with hold(directory, wait=60):
        assert not is_free(directory)


def test_after_the_lock_file_was_tidied_away_those_who_come_later_agree_on_one(tmp_path):
    directory = BackupDirectory(tmp_path, "backups")
    directory.make()
    with hold(directory, wait=0):
        directory.file(".lock").unlink()
        # The next holder makes a new file; a third one must see that one's lock.
        with hold(directory, wait=0), pytest.raises(BackupInProgress), hold(directory, wait=0):
            pass
    with hold(directory, wait=0):
        pass
