"""The use cases, on real directories and databases."""

import errno
import logging
import os
import sqlite3
import subprocess
from contextlib import closing, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from django.db import DatabaseError, connection
from django.db.transaction import atomic
from django.utils import timezone

from tenant_backup import automation, backups, files, lock, monitoring, restore, sqlite
from tenant_backup.backups import pruning
from tenant_backup.exceptions import (
    BackupError,
    BackupInProgress,
    BackupNotFound,
    DatabaseDamaged,
    DatabaseLocked,
    DeadlineExceeded,
    NotEnoughSpace,
    NotWritable,
)
from tenant_backup.files import BackupDirectory
from tenant_backup.models import (
    Backup,
    BackupQuerySet,
    BackupSettings,
    Event,
    Status,
    Trigger,
)
from tenant_backup.signals import (
    backup_completed,
    backup_deleted,
    backup_failed,
    backup_started,
)
from tenant_backup.tenants import Tenant
from tests.conftest import (
    AS_ROOT,
    NOBODY,
    assert_true_copy,
    count_rows,
    make_database,
    names_in,
    needs_sqlite_control,
    small_disk,
    tenant_in,
    without_privileges,
)

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)
MANUAL = backups.BackupRequest(trigger=Trigger.MANUAL)


@pytest.fixture
def directory(tenant):
    return backups.directory_of(tenant)


@pytest.fixture
def hear():
    """Listen to a signal, and get the list of the (tenant, backup) that it was sent with."""
    connected = []

    def hear(sent):
        heard = []

        def receive(sender, *, tenant, backup, **kwargs):
            assert sender is Backup
            heard.append((tenant, backup))

        sent.connect(receive)
        connected.append((sent, receive))
        return heard

    yield hear
    for sent, receiver in connected:
        sent.disconnect(receiver)


class TestCreate:
    def test_what_is_only_in_the_log_needs_room_too(self, tenant, directory, monkeypatch):
        with closing(sqlite3.connect(tenant.database)) as writer:
            writer.execute("PRAGMA wal_autocheckpoint = 0")
            for _ in range(2):
                with writer:
                    writer.execute("UPDATE credits SET body = zeroblob(20000)")
            with sqlite.snapshot(tenant.database, busy_timeout=30) as snapshot:
                copy, log = snapshot.size, snapshot.wal_bytes
            assert log > 1_000_000
            for free, fits in ((copy + log - 1, False), (copy + log, True)):
                free += files.SPACE_MARGIN
                monkeypatch.setattr(BackupDirectory, "free_bytes", lambda self, free=free: free)
                with nullcontext() if fits else pytest.raises(NotEnoughSpace):
                    backups.create(tenant, COMMAND)

    def test_makes_one_verified_file_and_one_complete_row(self, tenant, directory):
        started = timezone.now()
        backup = backups.create(tenant, COMMAND).backup
        assert names_in(directory.path) == [backup.file_name, f"{backup.file_name}.sha256"]
        assert_true_copy(directory.file(backup.file_name))
        row = Backup.objects.get()
        assert row.status == Status.COMPLETE
        assert row.is_good
        assert row.size == directory.file(row.file_name).stat().st_size
        assert started <= row.created_at <= row.started_at <= row.finished_at <= timezone.now()
        assert row.verified_at == row.finished_at
        assert row.error == ""

    def test_the_checksum_file_is_what_sha256sum_reads(self, tenant, directory):
        backup = backups.create(tenant, COMMAND).backup
        subprocess.run(
            ["sha256sum", "--check", "--strict", f"{backup.file_name}.sha256"],
            cwd=directory.path,
            check=True,
            capture_output=True,
        )

    def test_the_name_has_the_tenant_and_the_time_in_utc(self, add_tenant, monkeypatch):
        monkeypatch.setattr(
            timezone, "now", lambda: datetime(2026, 3, 29, 1, 2, 3, 456, tzinfo=UTC)
        )
        tenant = add_tenant("Acme & Söhne")
        assert backups.create(tenant, COMMAND).backup.file_name == (
            "acme-sohne-20260329T010203Z.sqlite3"
        )

    def test_backups_of_the_same_second_get_names_of_their_own(self, tenant, monkeypatch):
        monkeypatch.setattr(timezone, "now", lambda: datetime(2026, 1, 1, tzinfo=UTC))
        names = [backups.create(tenant, COMMAND).backup.file_name for _ in range(3)]
        assert names == [f"acme-20260101T000000Z{end}.sqlite3" for end in ("", "-2", "-3")]

    @pytest.mark.parametrize(
        "tenant_id",
        [
            *["..", "a/b", "../../etc", "with space", "🚀", "x" * 255, "-rf", "~"],
            # PostgreSQL's text cannot have it.
            pytest.param("\0", marks=needs_sqlite_control),
        ],
    )
    def test_no_tenant_id_reaches_a_path(self, add_tenant, tmp_path, tenant_id):
        tenant = add_tenant(tenant_id)
        before = {path for path in tmp_path.rglob("*") if path.is_dir()}
        backup = backups.create(tenant, COMMAND).backup
        path = tenant.root / "backups" / backup.file_name
        assert_true_copy(path)
        assert {path for path in tmp_path.rglob("*") if path.is_dir()} - before == {path.parent}

    def test_is_private_to_the_owner(self, tenant, directory):
        backups.create(tenant, COMMAND)
        assert directory.path.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in directory.path.iterdir()} == {0o600}

    @pytest.mark.skipif(not AS_ROOT, reason="Only root can give files to another owner.")
    def test_as_root_everything_gets_the_owner_of_the_root(self, tenant, directory):
        os.chown(tenant.root, NOBODY, NOBODY)
        os.chown(tenant.database, NOBODY, NOBODY)
        with closing(sqlite3.connect(tenant.database)):
            backups.create(tenant, COMMAND)
        made = [path for path in tenant.root.rglob("*") if path != tenant.database]
        assert len(made) >= 4
        assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(NOBODY, NOBODY)}

    def test_a_root_elsewhere_than_the_database(self, add_tenant, tmp_path):
        database = make_database(tmp_path / "flat.sqlite3")
        tenant = Tenant("flat", "Flat", tmp_path / "flat", database)
        backup = backups.create(tenant, COMMAND).backup
        assert_true_copy(tmp_path / "flat" / "backups" / backup.file_name)

    def test_says_so_in_the_history_and_by_a_signal_with_the_lock_free(
        self, tenant, directory, hear
    ):
        heard = hear(backup_completed)

        def receive(sender, **kwargs):
            with lock.hold(directory, wait=0):
                heard.append("free")

        backup_completed.connect(receive)
        try:
            request = backups.BackupRequest(trigger=Trigger.COMMAND, requested_by="ada")
            backup = backups.create(tenant, request).backup
        finally:
            backup_completed.disconnect(receive)
        assert heard == [(tenant, backup), "free"]
        event = Event.objects.get()
        assert (event.kind, event.actor, event.backup_id) == ("completed", "ada", backup.pk)
        assert event.file_name == backup.file_name

    @pytest.mark.parametrize("signal", [backup_started, backup_completed])
    def test_a_receiver_that_raises_is_logged_and_breaks_nothing(self, tenant, caplog, signal):
        def receive(sender, **kwargs):
            raise ValueError("the receiver's own trouble")

        signal.connect(receive)
        try:
            assert backups.create(tenant, COMMAND).backup.status == Status.COMPLETE
        finally:
            signal.disconnect(receive)
        assert "the receiver's own trouble" in caplog.text

    def test_is_of_the_moment_when_it_was_made_not_asked_for(self, tenant):
        queued = backups.request(tenant, MANUAL)
        asked_at = timezone.now() - timedelta(days=3)
        Backup.objects.filter(pk=queued.pk).update(created_at=asked_at)
        made = backups.create(tenant, COMMAND).backup
        made.refresh_from_db()
        assert made.created_at == made.started_at > asked_at
        assert f"{made.created_at:%Y%m%dT%H%M%SZ}" in made.file_name

    def test_takes_over_a_queued_backup(self, tenant):
        queued = backups.request(
            tenant,
            backups.BackupRequest(trigger=Trigger.MANUAL, label="before", requested_by="ada"),
        )
        request = backups.BackupRequest(
            trigger=Trigger.COMMAND, label="nightly", requested_by="root"
        )
        made = backups.create(tenant, request).backup
        assert made.pk == queued.pk
        row = Backup.objects.get()
        assert row.status == Status.COMPLETE
        assert (row.trigger, row.label) == ("manual", "before; nightly")
        assert row.requested_by == "ada, root"

    def test_writes_nothing_to_the_catalog_while_the_snapshot_lasts(
        self, tenant, django_assert_num_queries
    ):
        seen = []

        def progress(done, total):
            with django_assert_num_queries(0):
                seen.append(done)

        backups.create(tenant, COMMAND, progress=progress)
        assert seen


class TestStarted:
    """The host is told that a backup has begun, before anything is copied."""

    @pytest.fixture
    def during(self):
        """Have this done when a backup starts."""
        connected = []

        def during(receive):
            connected.append(receive)
            backup_started.connect(receive)

        yield during
        for receive in connected:
            backup_started.disconnect(receive)

    def test_when_the_row_is_running_outside_any_transaction(self, tenant, directory, during):
        def look(sender, *, tenant, backup, **kwargs):
            status = Backup.objects.get(pk=backup.pk).status
            seen.append((sender, tenant, status, connection.in_atomic_block))
            assert names_in(directory.path) == []

        seen = []
        during(look)
        backups.create(tenant, COMMAND)
        assert seen == [(Backup, tenant, Status.RUNNING, False)]

    def test_a_request_starts_nothing_to_perform_it_does(self, tenant, hear):
        heard = hear(backup_started)
        queued = backups.request(tenant, MANUAL)
        assert heard == []
        backups.perform(tenant, queued.pk)
        assert heard == [(tenant, queued)]

    def test_the_safety_copy_of_a_restore_starts_too(self, tenant, directory, hear):
        heard = hear(backup_started)
        source = partial(sqlite.snapshot, tenant.database, busy_timeout=1)
        directory.make()
        with backups.tenant_lock(tenant, wait=0) as ended:
            made = backups.make_from(source, tenant, COMMAND, ended)
        assert heard == [(tenant, made)]

    def test_what_cannot_even_begin_never_starts(self, tenant, directory, hear):
        heard = hear(backup_started), hear(backup_failed)
        tenant.root.joinpath(directory.name).write_text("in the way")
        with pytest.raises(NotWritable):
            backups.create(tenant, COMMAND)
        assert [len(sent) for sent in heard] == [0, 1]

    def test_a_time_limit_that_ends_a_receiver_leaves_a_failed_row(self, tenant, during):
        def take_too_long(sender, **kwargs):
            raise SystemExit("django-q2's timeout")

        during(take_too_long)
        with pytest.raises(SystemExit):
            backups.create(tenant, COMMAND)
        row = Backup.objects.get()
        assert (row.status, row.error) == (Status.FAILED, backups.INTERRUPTED)


class TestCreateFails:
    """Each failure: a sentence with the path, a failed row, nothing left behind."""

    def assert_failed(self, tenant, kind, match, *, left=(), request=COMMAND):
        with pytest.raises(kind, match=match) as caught:
            backups.create(tenant, request, limits=backups.Limits(busy_timeout=0.1, deadline=None))
        row = Backup.objects.newest_first()[0]
        assert row.status == Status.FAILED
        assert row.error == str(caught.value)
        assert row.file_name == ""
        assert row.size is None
        assert row.finished_at is not None
        assert Event.objects.latest("pk").kind == "failed"
        directory = backups.directory_of(tenant)
        if directory.path.is_dir():
            assert names_in(directory.path) == sorted(left)
        assert not Backup.objects.active().exists()

    def test_a_missing_database(self, add_tenant):
        tenant = add_tenant(database=False)
        self.assert_failed(tenant, BackupError, rf"{tenant.database} does not exist")
        assert list(tenant.root.iterdir()) == []

    def test_a_missing_root(self, tmp_path):
        tenant = Tenant("gone", "Gone", tmp_path / "gone", tmp_path / "gone" / "db.sqlite3")
        self.assert_failed(tenant, BackupError, rf"{tenant.database} does not exist")
        assert not tenant.root.exists()

    def test_a_root_whose_parent_is_missing_too(self, tmp_path):
        database = make_database(tmp_path / "db.sqlite3")
        tenant = Tenant("typo", "Typo", tmp_path / "typo" / "root", database)
        self.assert_failed(tenant, NotWritable, rf"{tenant.root} cannot be written: No such file")
        assert not (tmp_path / "typo").exists()

    @pytest.mark.parametrize(
        ("content", "match"),
        [(b"not a database" * 100, "is not a SQLite database"), (b"", "is empty")],
    )
    def test_a_file_that_is_no_database(self, add_tenant, content, match):
        tenant = add_tenant(database=False)
        tenant.database.write_bytes(content)
        self.assert_failed(tenant, DatabaseDamaged, rf"{tenant.database} {match}")
        assert list(tenant.root.iterdir()) == [tenant.database]

    def test_a_directory_for_a_database(self, add_tenant):
        tenant = add_tenant(database=False)
        tenant.database.mkdir()
        self.assert_failed(tenant, BackupError, rf"{tenant.database} is a directory")
        assert list(tenant.root.iterdir()) == [tenant.database]

    def test_a_damaged_database_is_said_to_be_damaged_and_older_backups_stay(
        self, tenant, directory
    ):
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        older = backups.create(tenant, COMMAND).backup
        with closing(sqlite3.connect(tenant.database)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(
                "UPDATE sqlite_master SET sql = replace(sql, '(amount)', '(id)') "
                "WHERE name = 'credits_amount'"
            )
            connection.commit()
        self.assert_failed(
            tenant,
            DatabaseDamaged,
            f"{tenant.database} is not a sound database, so the database itself",
            left=[older.file_name, f"{older.file_name}.sha256"],
        )

    def test_a_locked_database(self, add_tenant):
        tenant = add_tenant(journal_mode="delete")
        with closing(sqlite3.connect(tenant.database, isolation_level=None)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            self.assert_failed(tenant, DatabaseLocked, rf"{tenant.database} was locked .* 0\.1 sec")

    def test_a_backup_directory_that_is_not_writable(self, open_folder):
        with without_privileges():
            tenant = tenant_in(open_folder / "acme")
            directory = backups.directory_of(tenant)
            made = backups.create(tenant, COMMAND).backup
            kept = [made.file_name, f"{made.file_name}.sha256"]
            directory.path.chmod(0o500)
            try:
                self.assert_failed(
                    tenant,
                    NotWritable,
                    rf"{directory.path}/\.acme.*\.partial cannot be written: Permission denied",
                    left=kept,
                )
                # Not even the lock can be made. It is a failure all the same, and recorded.
                directory.path.chmod(0o700)
                (directory.path / ".lock").unlink()
                directory.path.chmod(0o500)
                self.assert_failed(
                    tenant,
                    NotWritable,
                    rf"{directory.path}/\.lock cannot be written: Permission denied",
                    left=kept,
                )
            finally:
                directory.path.chmod(0o700)

    def test_a_root_that_is_not_writable(self, open_folder):
        with without_privileges():
            tenant = tenant_in(open_folder / "acme", journal_mode="delete")
            tenant.root.chmod(0o500)
            try:
                self.assert_failed(
                    tenant, NotWritable, rf"{tenant.root}/backups cannot be written: Permission"
                )
            finally:
                tenant.root.chmod(0o700)

    def test_a_file_in_the_place_of_the_directory(self, tenant, directory):
        directory.path.write_text("mine")
        self.assert_failed(tenant, NotWritable, f"{directory.path} is not a directory")
        assert directory.path.read_text() == "mine"

    def test_too_little_space(self):
        with small_disk("12m") as disk:
            tenant = tenant_in(disk / "acme")
            directory = backups.directory_of(tenant)
            self.assert_failed(
                tenant,
                NotEnoughSpace,
                rf"disk space in {directory.path}: 16\.\d MB needed, 1[12]\.\d MB free",
            )

    def test_a_disk_that_becomes_full_during_the_copy(self):
        with small_disk("60m") as disk:
            tenant = tenant_in(disk / "acme", rows=1000, body=10_000)
            directory = backups.directory_of(tenant)

            def fill(done, total):
                with suppress(OSError), (disk / "other").open("ab", buffering=0) as stream:
                    while True:
                        stream.write(b"x" * 65536)

            with pytest.raises(NotEnoughSpace, match=r"became full while .*db\.sqlite3"):
                backups.create(tenant, COMMAND, progress=fill)
            assert names_in(directory.path) == []
            assert Backup.objects.get().status == Status.FAILED

    def test_a_deadline(self, tenant, directory):
        with pytest.raises(DeadlineExceeded):
            backups.create(tenant, COMMAND, limits=backups.Limits(deadline=0))
        assert names_in(directory.path) == []
        assert Backup.objects.get().status == Status.FAILED

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_what_ends_the_process_ends_the_backup_and_passes_on(self, tenant, directory, kind):
        """A task's timeout in django-q2 derives from SystemExit."""

        def stop(done, total):
            raise kind

        with pytest.raises(kind):
            backups.create(tenant, COMMAND, progress=stop)
        assert names_in(directory.path) == []
        row = Backup.objects.get()
        assert (row.status, row.error) == (Status.FAILED, backups.INTERRUPTED)

    def test_an_error_that_nobody_foresaw_is_said_and_logged(self, tenant, directory, caplog):
        def stop(done, total):
            raise ZeroDivisionError("of all things")

        with pytest.raises(BackupError, match="ZeroDivisionError: of all things"):
            backups.create(tenant, COMMAND, progress=stop)
        assert names_in(directory.path) == []
        assert Backup.objects.get().status == Status.FAILED
        assert any(record.exc_info for record in caplog.records)

    def test_a_file_that_appears_under_the_final_name_is_left_alone(
        self, tenant, directory, monkeypatch
    ):
        link = os.link

        def be_faster(source, target):
            Path(target).write_text("not yours")
            link(source, target)

        monkeypatch.setattr(os, "link", be_faster)
        with pytest.raises(NotWritable, match="Nothing was overwritten"):
            backups.create(tenant, COMMAND)
        (name,) = names_in(directory.path)
        assert directory.file(name).read_text() == "not yours"
        assert Backup.objects.get().status == Status.FAILED

    def test_a_catalog_that_fails_after_the_file_is_there_does_not_lose_it(
        self, tenant, directory, monkeypatch
    ):
        complete = Backup.complete
        calls = []

        def fail_once(self):
            calls.append(self)
            if len(calls) == 1:
                raise DatabaseError("database is locked")
            complete(self)

        monkeypatch.setattr(Backup, "complete", fail_once)
        backup = backups.create(tenant, COMMAND).backup
        assert backup.status == Status.COMPLETE
        assert Backup.objects.get().status == Status.COMPLETE
        assert directory.file(backup.file_name).exists()

    def test_says_so_by_a_signal_and_in_the_log(self, add_tenant, hear, caplog):
        heard = hear(backup_failed)
        tenant = add_tenant(database=False)
        self.assert_failed(tenant, BackupError, "does not exist")
        assert [(t, b.status) for t, b in heard] == [(tenant, Status.FAILED)]
        (record,) = [r for r in caplog.records if r.name == "tenant_backup"]
        assert record.levelno == logging.ERROR
        assert "does not exist" in record.getMessage()


class TestInProgress:
    def test_another_process_at_work_is_said_and_leaves_no_row(self, tenant, directory):
        directory.make()
        with (
            lock.hold(directory, wait=0),
            pytest.raises(BackupInProgress, match=f"working on the backups in {directory.path}"),
        ):
            backups.create(tenant, COMMAND)
        assert not Backup.objects.exists()
        backups.create(tenant, COMMAND)

    def test_a_queued_one_is_still_queued_then(self, tenant, directory):
        queued = backups.request(tenant, MANUAL)
        directory.make()
        with lock.hold(directory, wait=0), pytest.raises(BackupInProgress):
            backups.perform(tenant, queued.pk)
        assert Backup.objects.get().status == Status.QUEUED

    def test_another_tenant_is_not_in_the_way(self, add_tenant):
        acme, acme2 = add_tenant("acme"), add_tenant("acme2")
        directory = backups.directory_of(acme)
        directory.make()
        with lock.hold(directory, wait=0):
            backups.create(acme2, COMMAND)

    def test_a_request_while_one_is_made_is_refused(self, tenant, directory):
        directory.make()
        with lock.hold(directory, wait=0):
            backups.request(tenant, MANUAL).start("x.sqlite3")
            with pytest.raises(BackupInProgress, match=f"A backup of {tenant.name} is being made"):
                backups.request(tenant, MANUAL)
        assert Backup.objects.count() == 1


class TestPerform:
    def test_makes_a_queued_backup(self, tenant, directory):
        queued = backups.request(tenant, MANUAL)
        made = backups.perform(tenant, queued.pk)
        assert made.backup.pk == queued.pk
        assert_true_copy(directory.file(made.backup.file_name))

    def test_a_second_delivery_does_nothing(self, tenant):
        queued = backups.request(tenant, MANUAL)
        backups.perform(tenant, queued.pk)
        assert backups.perform(tenant, queued.pk) is None
        assert Backup.objects.count() == 1
        assert Event.objects.count() == 1

    def test_the_row_of_another_tenant_is_not_made(self, add_tenant):
        acme, globex = add_tenant("acme"), add_tenant("globex")
        queued = backups.request(acme, MANUAL)
        assert backups.perform(globex, queued.pk) is None
        assert Backup.objects.get().status == Status.QUEUED

    def test_a_deleted_row_does_nothing(self, tenant):
        assert backups.perform(tenant, 4711) is None

    def test_a_second_request_joins_the_first(self, tenant):
        first = backups.request(tenant, backups.BackupRequest(trigger=Trigger.AUTOMATIC))
        second = backups.request(tenant, backups.BackupRequest(trigger=Trigger.MANUAL, label="now"))
        assert first.pk == second.pk
        assert Backup.objects.get().trigger == Trigger.MANUAL


class TestRecover:
    """What a crash left is made in the tests of the commands, by real crashes."""

    @pytest.fixture
    def running(self, tenant, directory):
        directory.make()
        backup = backups.request(tenant, MANUAL)
        backup.start("acme-1.sqlite3")
        return backup

    def test_a_row_without_a_file_becomes_failed(self, tenant, directory, running, hear):
        heard = hear(backup_failed)
        directory.create_partial(running.file_name)
        backups.recover(tenant)
        running.refresh_from_db()
        assert (running.status, running.error) == (Status.FAILED, backups.INTERRUPTED)
        assert names_in(directory.path) == []
        assert len(heard) == 1

    def test_a_row_with_its_file_becomes_complete(self, tenant, directory, running):
        made = make_database(directory.file(running.file_name), journal_mode="delete")
        running.record_copy(sqlite.fingerprint(made))
        directory.create_partial(running.file_name)
        backups.recover(tenant)
        running.refresh_from_db()
        assert running.status == Status.COMPLETE
        assert names_in(directory.path) == [running.file_name]

    def test_a_file_that_does_not_match_is_not_taken_for_it_and_left_alone(
        self, tenant, directory, running
    ):
        running.record_copy(sqlite.Fingerprint(3, "00" * 32))
        directory.file(running.file_name).write_bytes(b"abc")
        backups.recover(tenant)
        running.refresh_from_db()
        assert running.status == Status.FAILED
        assert directory.file("acme-1.sqlite3").read_bytes() == b"abc"

    def test_while_somebody_is_at_work_nothing_is_recovered(self, tenant, directory, running):
        with lock.hold(directory, wait=0):
            backups.recover(tenant)
        running.refresh_from_db()
        assert running.status == Status.RUNNING

    def test_what_cannot_be_tidied_up_does_not_keep_the_row_running(
        self, tenant, directory, running
    ):
        made = make_database(directory.file(running.file_name), journal_mode="delete")
        running.record_copy(sqlite.fingerprint(made))
        made.unlink()
        made.mkdir()  # so that it cannot be read as a file
        directory.checksum_file(running.file_name).mkdir()
        Backup.objects.update(size=made.stat().st_size)
        backups.recover(tenant)
        running.refresh_from_db()
        assert running.status == Status.FAILED
        assert running.error.startswith(backups.INTERRUPTED)
        assert "cannot be read: Is a directory" in running.error

    def test_a_published_file_keeps_its_checksum_even_where_the_row_cannot_be_completed(
        self, tenant, directory, running, monkeypatch
    ):
        made = make_database(directory.file(running.file_name), journal_mode="delete")
        copy = sqlite.fingerprint(made)
        running.record_copy(copy)
        directory.checksum_file(running.file_name).write_text(f"{copy.sha256}  {made.name}\n")

        def fail(self, name):
            raise NotWritable("the disk is dying")

        monkeypatch.setattr(files.BackupDirectory, "finish", fail)
        backups.recover(tenant)
        running.refresh_from_db()
        assert running.error.endswith("the disk is dying")
        assert names_in(directory.path) == [made.name, f"{made.name}.sha256"]

    def test_a_file_that_cannot_be_read_now_keeps_its_checksum_file(
        self, tenant, directory, running, monkeypatch
    ):
        made = make_database(directory.file(running.file_name), journal_mode="delete")
        copy = sqlite.fingerprint(made)
        running.record_copy(copy)
        directory.create_partial(running.file_name)
        directory.checksum_file(running.file_name).write_text(f"{copy.sha256}  {made.name}\n")

        def fail(self, name, expected):
            raise BackupError("the disk does not answer")

        with monkeypatch.context() as patch:
            patch.setattr(files.BackupDirectory, "holds", fail)
            backups.recover(tenant)
        running.refresh_from_db()
        assert running.error.endswith("the disk does not answer")
        assert names_in(directory.path) == [made.name, f"{made.name}.sha256"]

    def test_another_tenants_row_is_not_recovered(self, add_tenant, running):
        backups.recover(add_tenant("other"))
        running.refresh_from_db()
        assert running.status == Status.RUNNING

    def test_a_stale_row_does_not_block_the_next_request(self, tenant, running):
        backups.request(tenant, MANUAL)
        running.refresh_from_db()
        assert running.status == Status.FAILED


class TestDelete:
    @pytest.fixture
    def backup(self, tenant):
        return backups.create(tenant, COMMAND).backup

    @pytest.fixture
    def file(self, directory, backup):
        return directory.file(backup.file_name)

    def test_a_pinned_one_is_refused(self, tenant, backup, file):
        backups.pin(tenant, backup, pinned=True)
        with pytest.raises(BackupError, match=r"is pinned\. Unpin it first"):
            backups.delete(tenant, backup)
        assert file.exists()
        assert Backup.objects.filter(pk=backup.pk).exists()

    def test_one_that_was_pinned_meanwhile_is_refused(self, tenant, backup, file):
        backups.pin(tenant, Backup.objects.get(pk=backup.pk), pinned=True)
        assert not backup.pinned  # as the caller still has it
        with pytest.raises(BackupError, match="is pinned"):
            backups.delete(tenant, backup)
        assert file.exists()

    def test_one_that_was_queued_when_it_was_read_goes_with_its_file(self, tenant, directory):
        queued = backups.request(tenant, COMMAND)
        backups.perform(tenant, queued.pk)
        assert not queued.file_name  # as the caller still has it
        backups.delete(tenant, queued)
        assert names_in(directory.path) == []

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
    def test_an_active_one_is_refused(self, tenant, status):
        active = backups.request(tenant, MANUAL)
        if status == Status.RUNNING:
            active.start("x.sqlite3")
        with pytest.raises(BackupError, match=f"is {status} and cannot be deleted"):
            backups.delete(tenant, active)
        assert Backup.objects.filter(pk=active.pk).exists()

    def test_one_of_another_tenant_is_refused(self, add_tenant, tenant, backup, file):
        with pytest.raises(BackupError, match="There is no backup"):
            backups.delete(add_tenant("acme2"), backup)
        assert file.exists()

    def test_file_row_and_checksum_file_are_gone(self, tenant, directory, backup, hear):
        heard = hear(backup_deleted)
        backups.delete(tenant, backup, actor="ada")
        assert names_in(directory.path) == []
        assert not Backup.objects.exists()
        event = Event.objects.latest("pk")
        assert (event.kind, event.actor) == ("deleted", "ada")
        assert event.file_name == backup.file_name
        assert heard == [(tenant, backup)]

    def test_a_failed_row_may_be_deleted(self, add_tenant):
        tenant = add_tenant(database=False)
        with pytest.raises(BackupError):
            backups.create(tenant, COMMAND)
        backups.delete(tenant, Backup.objects.get())
        assert not Backup.objects.exists()

    def test_one_whose_file_is_gone_already(self, tenant, backup, file):
        file.unlink()
        backups.delete(tenant, backup)
        assert not Backup.objects.exists()

    def test_neighbours_in_the_directory_stay(self, tenant, directory, backup):
        foreign = [f"{backup.file_name}-old", f"x{backup.file_name}", "acme-notes.sqlite3"]
        for name in foreign:
            directory.file(name).write_text("foreign")
        other = backups.create(tenant, COMMAND).backup
        backups.delete(tenant, backup)
        assert names_in(directory.path) == sorted(
            [*foreign, other.file_name, f"{other.file_name}.sha256"]
        )

    def test_a_file_that_cannot_be_removed_keeps_its_row(self, open_folder):
        with without_privileges():
            tenant = tenant_in(open_folder / "acme")
            directory = backups.directory_of(tenant)
            backup = backups.create(tenant, COMMAND).backup
            directory.path.chmod(0o500)
            try:
                with pytest.raises(NotWritable, match="cannot be written: Permission denied"):
                    backups.delete(tenant, backup)
            finally:
                directory.path.chmod(0o700)
            assert directory.file(backup.file_name).exists()
            backups.delete(tenant, Backup.objects.get())

    def test_a_name_in_the_catalog_that_leads_elsewhere_is_refused(self, tenant, backup):
        Backup.objects.update(file_name="../db.sqlite3")
        with pytest.raises(BackupError, match="not the name of a backup file"):
            backups.delete(tenant, Backup.objects.get())
        assert tenant.database.exists()

    @pytest.mark.parametrize("moment", ["unlink", "commit"])
    def test_whatever_ends_it_halfway_no_good_row_is_without_its_file(
        self, tenant, backup, file, monkeypatch, moment
    ):
        """The catalog may refuse the last step, for want of space or since it is locked."""

        def fail(*arguments, **options):
            raise DatabaseError("database is locked")

        with monkeypatch.context() as patch:
            if moment == "unlink":
                patch.setattr(files.BackupDirectory, "remove", fail)
            else:
                patch.setattr(Event, "record", fail)
            with pytest.raises(DatabaseError):
                backups.delete(tenant, backup)
        row = Backup.objects.get()
        assert not row.is_good
        assert not Backup.objects.good().exists()
        assert file.exists() == (moment == "unlink")
        # It can be deleted again: whoever does completes it.
        backups.delete(tenant, row)
        assert not Backup.objects.exists()
        assert not file.exists()

    def test_a_failed_row_that_was_to_be_pinned_may_be_deleted(self, add_tenant):
        tenant = add_tenant(database=False)
        with pytest.raises(BackupError):
            backups.create(tenant, backups.BackupRequest(trigger=Trigger.COMMAND, pinned=True))
        backups.delete(tenant, Backup.objects.get())


class TestInsideATransaction:
    """A rollback takes rows back, but no files: so there both are left alone."""

    def test_nothing_is_made_deleted_or_pruned(self, tenant, directory):
        backup = backups.create(tenant, COMMAND).backup
        before = names_in(directory.path)
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        for act in (
            lambda: backups.create(tenant, COMMAND),
            lambda: backups.perform(tenant, backup.pk),
            lambda: backups.request(tenant, MANUAL),
            lambda: backups.delete(tenant, backup),
            lambda: backups.prune(tenant),
        ):
            with pytest.raises(BackupError, match="inside a database transaction"), atomic():
                act()
        assert names_in(directory.path) == before
        assert Backup.objects.count() == 1


class TestPin:
    def test_only_a_complete_one(self, tenant):
        queued = backups.request(tenant, MANUAL)
        with pytest.raises(BackupError, match="so it cannot be pinned"):
            backups.pin(tenant, queued, pinned=True)

    def test_not_another_tenants(self, add_tenant, tenant):
        backup = backups.create(tenant, COMMAND).backup
        with pytest.raises(BackupError):
            backups.pin(add_tenant("other"), backup, pinned=True)
        backup.refresh_from_db()
        assert not backup.pinned

    def test_is_recorded_once(self, tenant):
        backup = backups.create(tenant, COMMAND).backup
        for pinned in (True, True, False):
            backups.pin(tenant, backup, pinned=pinned, actor="ada")
        assert list(Event.objects.order_by("pk").values_list("kind", flat=True)) == [
            "completed",
            "pinned",
            "unpinned",
        ]


class TestPrune:
    def age(self, backup, days):
        Backup.objects.filter(pk=backup.pk).update(created_at=timezone.now() - timedelta(days))

    def test_keeps_the_maximum_number_and_counts_no_failures(self, tenant, directory, hear):
        deleted = hear(backup_deleted)
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=2)
        made = [backups.create(tenant, COMMAND) for _ in range(3)]
        for _ in range(3):
            with pytest.raises(DeadlineExceeded):
                backups.create(tenant, COMMAND, limits=backups.Limits(deadline=0))
        assert [decision.backup.pk for decision in made[2].pruned] == [made[0].backup.pk]
        kept = [result.backup.file_name for result in made[1:]]
        assert names_in(directory.path) == sorted([*kept, *(f"{name}.sha256" for name in kept)])
        assert Backup.objects.good().count() == 2
        assert len(deleted) == 1
        event = Event.objects.get(kind="pruned")
        assert event.detail == "Only the newest 2 are kept."

    def test_happens_only_after_a_success(self, tenant):
        made = [backups.create(tenant, COMMAND).backup for _ in range(3)]
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        with pytest.raises(DeadlineExceeded):
            backups.create(tenant, COMMAND, limits=backups.Limits(deadline=0))
        assert Backup.objects.good().count() == len(made)

    def test_age_counts_from_the_newest_good_backup(self, tenant):
        made = [backups.create(tenant, COMMAND).backup for _ in range(7)]
        for backup, days in zip(made, (50, 49.9, 48.9, 48, 47, 46, 45), strict=True):
            self.age(backup, days)
        BackupSettings.objects.create(tenant_id=tenant.id, keep_days=4)
        backups.prune(tenant)
        assert list(Backup.objects.order_by("pk")) == made[2:]

    def test_pinned_and_manual_ones_stay_and_use_up_no_numbers(self, tenant):
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        manual = backups.create(tenant, MANUAL).backup
        pinned = backups.create(
            tenant, backups.BackupRequest(trigger=Trigger.COMMAND, pinned=True)
        ).backup
        newest = [backups.create(tenant, COMMAND).backup for _ in range(2)][-1]
        assert set(Backup.objects.all()) == {manual, pinned, newest}

    def test_never_touches_the_neighbour(self, add_tenant):
        acme, acme2 = add_tenant("acme"), add_tenant("acme2")
        BackupSettings.objects.create(tenant_id="acme", keep_last=1)
        for _ in range(3):
            backups.create(acme2, COMMAND)
            backups.create(acme, COMMAND)
        assert Backup.objects.for_tenant("acme").count() == 1
        assert Backup.objects.for_tenant("acme2").count() == 3
        assert len(names_in(backups.directory_of(acme2).path)) == 6

    def test_backups_whose_files_are_gone_do_not_count(self, tenant, directory):
        made = [backups.create(tenant, COMMAND).backup for _ in range(4)]
        for backup in made[2:]:
            directory.file(backup.file_name).unlink()
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=2)
        backups.prune(tenant)
        assert set(Backup.objects.good()) == set(made[:2])
        assert Backup.objects.exclude(missing_at=None).count() == 2
        assert directory.file(made[0].file_name).exists()

    def test_a_clock_that_was_wrong_once_does_not_cost_the_backups_of_later(
        self, tenant, monkeypatch
    ):
        BackupSettings.objects.create(tenant_id=tenant.id, keep_days=7, keep_last=3)
        real = timezone.now
        with monkeypatch.context() as patch:
            patch.setattr(timezone, "now", lambda: real() + timedelta(days=700))
            ahead = backups.create(tenant, COMMAND).backup
        for _ in range(3):
            made = backups.create(tenant, COMMAND)
            assert made.pruned == []
        assert Backup.objects.count() == 4
        assert Backup.objects.filter(pk=ahead.pk).exists()

    def test_without_rules_everything_stays(self, tenant):
        for _ in range(3):
            backups.create(tenant, COMMAND)
        assert backups.prune(tenant) == []
        assert Backup.objects.count() == 3

    def test_a_failing_prune_does_not_fail_the_backup_and_is_said(self, tenant, caplog):
        first = backups.create(tenant, COMMAND).backup
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        Backup.objects.filter(pk=first.pk).update(file_name="../db.sqlite3")
        made = backups.create(tenant, COMMAND)
        assert made.backup.status == Status.COMPLETE
        assert "could not be removed" in made.prune_error
        assert tenant.database.exists()
        assert "Pruning" in caplog.text


def flip_a_bit(file):
    with file.open("r+b") as stream:
        stream.seek(5000)
        byte = stream.read(1)[0]
        stream.seek(5000)
        stream.write(bytes([byte ^ 1]))


def cannot_be_read(number):
    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return fail


class TestNothingOnTrust:
    """Before the first removal the newest backup that would stay is looked at."""

    DAMAGES = {
        "empty": lambda file: os.truncate(file, 0),
        "a flipped bit": flip_a_bit,
        "gone": lambda file: file.unlink(),
        "a link": lambda file: file.symlink_to(file.rename(file.with_name("elsewhere"))),
    }
    damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)

    @pytest.fixture
    def made(self, tenant):
        made = [backups.create(tenant, COMMAND).backup for _ in range(4)]
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        return made

    @damages
    def test_a_damaged_newest_one_is_marked_and_the_next_one_stays(
        self, tenant, directory, made, damage
    ):
        damage(directory.file(made[3].file_name))
        removed = backups.prune(tenant)
        assert [decision.backup.pk for decision in removed] == [made[1].pk, made[0].pk]
        assert list(Backup.objects.good()) == [made[2]]
        flawed = Backup.objects.get(pk=made[3].pk)
        assert flawed.missing_at or flawed.damaged_at
        assert_true_copy(directory.file(made[2].file_name))

    @damages
    def test_until_one_is_sound(self, tenant, directory, made, damage):
        for backup in made[1:]:
            damage(directory.file(backup.file_name))
            (directory.path / "elsewhere").unlink(missing_ok=True)
        assert backups.prune(tenant) == []
        assert list(Backup.objects.good()) == [made[0]]
        assert_true_copy(directory.file(made[0].file_name))

    @damages
    def test_where_none_is_sound_nothing_is_removed(self, tenant, directory, made, damage):
        for backup in made:
            damage(directory.file(backup.file_name))
            (directory.path / "elsewhere").unlink(missing_ok=True)
        assert backups.prune(tenant) == []
        assert Backup.objects.count() == 4

    @pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ETIMEDOUT])
    def test_what_cannot_be_read_is_not_damaged_and_nothing_is_removed(
        self, tenant, directory, made, monkeypatch, number
    ):
        monkeypatch.setattr(sqlite, "fingerprint", cannot_be_read(number))
        with pytest.raises(BackupError, match="Nothing was removed") as refusal:
            backups.prune(tenant)
        assert str(directory.file(made[3].file_name)) in str(refusal.value)
        assert os.strerror(number) in str(refusal.value)
        assert Backup.objects.good().count() == 4
        assert all(directory.file(backup.file_name).exists() for backup in made)

    def test_out_of_reach_nothing_is_removed(self, tenant, directory, made):
        directory.path.rename(directory.path.with_name("away"))
        with pytest.raises(BackupError, match="is not there, or out of reach"):
            backups.prune(tenant)
        assert Backup.objects.good().count() == 4

    def test_the_backup_that_was_just_made_is_not_read_again(self, tenant, made, monkeypatch):
        read = []
        difference = pruning.difference
        monkeypatch.setattr(
            pruning,
            "difference",
            lambda *arguments: read.append(arguments) or difference(*arguments),
        )
        assert len(backups.create(tenant, COMMAND).pruned) == 4
        assert read == []

    def test_where_nothing_is_to_remove_nothing_is_read(self, tenant, monkeypatch):
        backups.create(tenant, COMMAND)
        monkeypatch.setattr(pruning, "difference", None)
        assert backups.prune(tenant) == []

    def test_a_dry_run_does_not_count_on_files_with_a_flaw(self, tenant, directory, made):
        os.truncate(directory.file(made[3].file_name), 0)
        directory.file(made[2].file_name).unlink()
        assert [decision.backup for decision in backups.removals(tenant)] == [made[0]]
        assert Backup.objects.good().count() == 4, "it notes nothing"
        assert [decision.backup.pk for decision in backups.prune(tenant)] == [made[0].pk]

    def test_what_the_next_backup_removes_is_the_same_on_the_page(self, tenant, directory, made):
        os.truncate(directory.file(made[3].file_name), 0)
        backups.check_files(tenant)
        gone = {decision.backup.pk for decision in backups.removals_after_next(tenant)}
        assert gone == {backup.pk for backup in made[:3]}


class TestDatedInTheFuture:
    """A clock that was wrong dates a backup in the future: that is marked, and stays so."""

    @pytest.fixture
    def clock(self, monkeypatch):
        real = timezone.now

        class Clock:
            error = timedelta()

        monkeypatch.setattr(timezone, "now", lambda: real() + Clock.error)
        return Clock

    @pytest.fixture
    def ahead(self, tenant, clock):
        """A backup, then one that was made a year ahead."""
        first = backups.create(tenant, COMMAND).backup
        clock.error = timedelta(days=365)
        ahead = backups.create(tenant, COMMAND).backup
        clock.error = timedelta()
        return first, ahead

    def noted(self):
        return set(Backup.objects.exclude(future_at=None))

    LOOKS = {
        "prune": backups.prune,
        "look": backups.check_files,
        "verify": lambda tenant: backups.verify(tenant, Backup.objects.earliest("pk")),
        "check": partial(monitoring.judge_tenant, automation_runs=True),
        "tick": lambda tenant: automation.tick(),
    }

    @pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
    def test_whoever_looks_marks_it_for_good(self, tenant, clock, ahead, look):
        assert self.noted() == set()
        look(tenant)
        assert self.noted() == {ahead[1]}
        at = Backup.objects.get(pk=ahead[1].pk).future_at
        clock.error = timedelta(days=800)
        look(tenant)
        assert Backup.objects.get(pk=ahead[1].pk).future_at == at
        # Its time has come, and it counts for nothing all the same.
        assert list(Backup.objects.good().counted(timezone.now())) == [ahead[0]]
        assert restore.newest(tenant).backup == ahead[0]
        judgement = monitoring.judge_tenant(tenant, automation_runs=True)
        assert judgement.settings.last_good_at == ahead[0].created_at

    def test_clocks_that_differ_by_minutes_mark_nothing(self, tenant, clock):
        clock.error = timedelta(minutes=4)
        made = backups.create(tenant, COMMAND).backup
        clock.error = timedelta()
        backups.check_files(tenant)
        assert self.noted() == set()
        assert restore.newest(tenant).backup == made

    def test_it_is_kept_and_counts_for_nothing(self, tenant, clock, ahead):
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1, keep_days=30)
        newest = backups.create(tenant, COMMAND)
        assert [decision.backup.pk for decision in newest.pruned] == [ahead[0].pk]
        clock.error = timedelta(days=800)
        last = backups.create(tenant, COMMAND)
        assert [decision.backup.pk for decision in last.pruned] == [newest.backup.pk]
        assert set(Backup.objects.all()) == {ahead[1], last.backup}

    def test_a_person_may_name_it_or_delete_it(self, tenant, ahead):
        assert restore.find(tenant, str(ahead[1].pk)).backup == ahead[1]
        assert restore.candidates(tenant) == list(ahead)
        backups.delete(tenant, ahead[1])
        assert list(Backup.objects.all()) == [ahead[0]]

    def test_with_nothing_else_the_latest_is_refused_in_words(self, tenant, ahead):
        backups.delete(tenant, ahead[0])
        with pytest.raises(BackupNotFound, match="dated in the future") as refusal:
            restore.newest(tenant)
        assert ahead[1].file_name in str(refusal.value)

    def test_a_clock_that_is_behind_marks_no_history(self, tenant, clock, caplog):
        for days in range(6):
            at = timezone.now() - timedelta(days=days)
            complete(tenant, f"{days}.sqlite3", created_at=at)
        clock.error = -timedelta(days=9999)
        backups.note_future()
        assert self.noted() == set()
        assert "Is today's clock behind?" in caplog.text
        clock.error = timedelta()
        backups.note_future()
        assert self.noted() == set()

    def test_several_are_marked_once_they_are_not_most_of_what_there_is(self, tenant):
        """After a week ahead, as soon as there are as many that were made since."""
        for days in range(5):
            complete(tenant, f"ahead-{days}", created_at=timezone.now() + timedelta(90 + days))
        for number in range(5):
            backups.note_future(tenant.id)
            assert self.noted() == set()
            complete(tenant, f"made-{number}", created_at=timezone.now())
        backups.note_future(tenant.id)
        assert len(self.noted()) == 5

    def test_is_no_other_tenants(self, add_tenant, ahead):
        other = add_tenant("globex")
        complete(other, "ahead", created_at=timezone.now() + timedelta(days=1))
        backups.note_future("acme")
        assert self.noted() == {ahead[1]}
        backups.note_future()
        assert len(self.noted()) == 2


class TestMaxBytes:
    """What the operator gives a tenant, whatever its settings keep."""

    @pytest.fixture
    def made(self, tenant):
        """Nine daily backups, the newest first, and an older one that somebody made by hand."""
        made = [backups.create(tenant, COMMAND).backup for _ in range(9)][::-1]
        made.append(backups.create(tenant, MANUAL).backup)
        for days, backup in enumerate(made):
            at = timezone.now() - timedelta(days=days)
            Backup.objects.filter(pk=backup.pk).update(created_at=at)
        return made

    def allow(self, settings, made, number):
        most = sum(backup.size for backup in made[:number])
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "MAX_BYTES": most}

    def test_beyond_it_the_oldest_automatic_ones_go(self, tenant, made, settings):
        self.allow(settings, made, 6)
        dry = backups.removals(tenant)
        removed = backups.prune(tenant)
        assert [decision.backup.pk for decision in removed] == [made[n].pk for n in (5, 6, 7, 8)]
        assert [(d.backup.pk, d.why) for d in dry] == [(d.backup.pk, d.why) for d in removed]
        assert "the most that the operator allows" in str(removed[0].why[0])
        assert backups.prune(tenant) == []

    def test_never_below_the_floor(self, tenant, made, settings):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "MAX_BYTES": 1}
        backups.prune(tenant)
        assert set(Backup.objects.all()) == {*made[:3], made[9]}

    def test_after_a_success_and_as_the_page_said(self, tenant, made, settings):
        self.allow(settings, made, 10)
        assert backups.removals(tenant) == []
        said = [decision.backup.pk for decision in backups.removals_after_next(tenant)]
        previewed = [d.backup.pk for d in backups.preview(tenant, COMMAND).removals]
        pruned = [d.backup.pk for d in backups.create(tenant, COMMAND).pruned]
        assert said == previewed == pruned == [made[8].pk]

    def test_damaged_ones_take_up_room_too_and_missing_ones_do_not(
        self, tenant, made, settings, directory
    ):
        self.allow(settings, made, 8)
        Backup.objects.filter(pk=made[1].pk).update(damaged_at=timezone.now())
        Backup.objects.filter(pk=made[2].pk).update(missing_at=timezone.now())
        directory.file(made[2].file_name).unlink()
        assert [d.backup.pk for d in backups.prune(tenant)] == [made[8].pk]

    def test_held_and_pinned_ones_stay(self, tenant, made, settings):
        Backup.objects.filter(pk=made[8].pk).update(pinned=True)
        Backup.objects.filter(pk=made[7].pk).update(hold_reason="Rows vanished.")
        self.allow(settings, made, 9)
        assert [d.backup.pk for d in backups.prune(tenant)] == [made[6].pk]


class TestPreview:
    def test_changes_nothing(self, tenant, tmp_path):
        before = sorted(tmp_path.rglob("*"))
        preview = backups.preview(tenant, COMMAND)
        assert preview.bytes_needed > tenant.database.stat().st_size
        assert preview.bytes_free > preview.bytes_needed
        assert sorted(tmp_path.rglob("*")) == before
        assert not Backup.objects.exists()
        assert not BackupSettings.objects.exists()

    def test_says_what_the_next_backup_would_remove(self, tenant):
        made = [backups.create(tenant, COMMAND).backup for _ in range(2)]
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        removals = backups.preview(tenant, COMMAND).removals
        assert {decision.backup.pk for decision in removals} == {backup.pk for backup in made}
        assert Backup.objects.count() == 2

    def test_refuses_what_create_would(self, add_tenant):
        with pytest.raises(BackupError, match="does not exist"):
            backups.preview(add_tenant(database=False), COMMAND)

    def test_refuses_a_directory_that_is_not_writable(self, open_folder):
        with without_privileges():
            tenant = tenant_in(open_folder / "acme", journal_mode="delete")
            tenant.root.chmod(0o500)
            try:
                with pytest.raises(NotWritable, match="backups cannot be written"):
                    backups.preview(tenant, COMMAND)
            finally:
                tenant.root.chmod(0o700)


def test_the_size_of_the_log_counts_as_needed(tenant):
    with closing(sqlite3.connect(tenant.database)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        with writer:
            writer.executemany(
                "INSERT INTO credits (amount, body) VALUES (0, ?)", [(os.urandom(5000),)] * 200
            )
        wal = tenant.database.with_name("db.sqlite3-wal").stat().st_size
        assert wal > 1_000_000
        needed = backups.preview(tenant, COMMAND).bytes_needed
        backup = backups.create(tenant, COMMAND).backup
    assert needed == backup.size + wal + files.SPACE_MARGIN
    assert count_rows(backups.directory_of(tenant).file(backup.file_name)) == 300


class TestWhatTheNextBackupRemoves:
    """The page's badge, and what is said of settings before they are saved."""

    ROWS = {
        "an age passes until the slot": (
            {"interval": "weekly", "keep_days": 21},
            [timedelta(hours=1), *(timedelta(days=days) for days in (7, 14, 21, 28))],
        ),
        "another day begins until the slot": (
            {"interval": "daily", "keep_last": 1, "keep_daily": 7},
            [timedelta(hours=1), timedelta(days=1, hours=1), timedelta(days=2, hours=1)],
        ),
    }

    @pytest.mark.parametrize("case", ROWS)
    def test_is_what_the_slots_backup_then_removes(self, tenant, monkeypatch, case):
        fields, ages = self.ROWS[case]
        now = datetime(2026, 5, 6, 4, tzinfo=UTC)
        monkeypatch.setattr(timezone, "now", lambda: now)
        settings = BackupSettings.objects.create(tenant_id="acme", automatic=True, **fields)
        settings.reschedule(tenant.zone, now)
        for number, age in enumerate(ages):
            complete(tenant, f"{number}.sqlite3", created_at=now - age)
        said = {decision.backup.pk for decision in backups.removals_after_next(tenant)}
        slot = settings.next_run_at
        complete(tenant, "slot.sqlite3", created_at=slot)
        monkeypatch.setattr(timezone, "now", lambda: slot)
        assert said == {decision.backup.pk for decision in backups.removals(tenant)}
        assert len(said) == {"weekly": 2, "daily": 0}[settings.interval]

    @pytest.mark.parametrize(("trigger", "number"), [("command", 2), ("manual", 1)])
    def test_without_a_schedule_the_next_one_is_like_the_last(self, tenant, trigger, number):
        BackupSettings.objects.create(tenant_id="acme", keep_last=1)
        now = timezone.now()
        for days in (2, 3):
            complete(tenant, f"{days}.sqlite3", created_at=now - timedelta(days=days))
        complete(tenant, "1.sqlite3", trigger=trigger, created_at=now - timedelta(days=1))
        going = backups.removals_after_next(tenant)
        assert len(going) == number + (trigger == "command")

    def test_is_no_other_tenants(self, tenant, add_tenant):
        BackupSettings.objects.create(tenant_id="acme", automatic=True, keep_last=1)
        other = add_tenant("globex")
        for days in range(5):
            complete(other, f"{days}.sqlite3", created_at=timezone.now() - timedelta(days=days))
        assert backups.removals_after_next(tenant) == []


def complete(tenant, file_name, *, trigger="automatic", created_at):
    return Backup.objects.create(
        tenant_id=tenant.id,
        status=Status.COMPLETE,
        trigger=trigger,
        file_name=file_name,
        size=1,
        sha256="0" * 64,
        created_at=created_at,
    )


@pytest.mark.parametrize("asked", ["request", "create"])
def test_whoever_was_faster_is_taken_over_and_no_error(tenant, monkeypatch, asked):
    """Two clicks, or a click and a tick: both see no row, and one of them adds it first."""
    others = backups.BackupRequest(trigger=Trigger.AUTOMATIC)
    real = BackupQuerySet.active
    looks = []

    def active(self):
        found = real(self)
        looks.append(1)
        if len(looks) == 1:
            Backup.objects.create(tenant_id="acme", trigger=others.trigger)
            return found.none()
        return found

    monkeypatch.setattr(BackupQuerySet, "active", active)
    request = backups.BackupRequest(trigger=Trigger.MANUAL, requested_by="ada")
    done = getattr(backups, asked)(tenant, request)
    backup = done if asked == "request" else done.backup
    assert Backup.objects.get().pk == backup.pk
    assert (backup.trigger, backup.requested_by) == ("manual", "ada")


@needs_sqlite_control
def test_a_receiver_may_write_to_the_catalog_that_lies_in_the_database_in_rollback_mode(host):
    """The snapshot would keep it waiting for ever, so it is told before that is taken."""
    host.environment |= {
        "TEST_PROVIDER": "tenant_backup.tenants.SingleTenant",
        "TEST_JOURNAL_MODE": "delete",
    }
    with closing(sqlite3.connect(host.directory / "control.sqlite3")) as connection:
        connection.execute("PRAGMA journal_mode = delete")
    process = host.start(
        "from tenant_backup.models import Event, EventKind\n"
        "from tenant_backup.signals import backup_started\n"
        "def note(sender, tenant, **more):\n"
        "    Event.record(EventKind.CONFIGURED, tenant.id, detail='it starts')\n"
        "backup_started.connect(note)\n"
        "command('runbackup')"
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert [row["status"] for row in host.catalog()] == ["complete"]
    sql = "SELECT kind FROM tenant_backup_event ORDER BY id"
    assert host.query(sql) == [("configured",), ("completed",)]
