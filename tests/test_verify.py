"""Verify and sync: what is on disk is looked at again, and the catalog says what is found."""

import errno
import json
import os
import shutil
import stat
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import DatabaseError
from django.utils import timezone
from django_q.models import OrmQ

from tenant_backup import (
    automation,
    backups,
    files,
    lock,
    monitoring,
    restore,
    retention,
    sqlite,
    troubleshooting,
)
from tenant_backup.automation import AutomationState
from tenant_backup.exceptions import (
    BackupError,
    BackupInProgress,
    DatabaseDamaged,
    DeadlineExceeded,
)
from tenant_backup.models import (
    Automation,
    Backup,
    BackupSettings,
    Event,
    Status,
    TenantState,
    Trigger,
    Verdict,
)
from tests.conftest import make_database, names_in

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)


@pytest.fixture
def backup(tenant):
    return backups.create(tenant, COMMAND).backup


@pytest.fixture
def file(tenant, backup):
    return backups.directory_of(tenant).file(backup.file_name)


def flip_a_bit(file):
    with file.open("r+b") as stream:
        stream.seek(5000)
        byte = stream.read(1)[0]
        stream.seek(5000)
        stream.write(bytes([byte ^ 1]))


def put_another_tenants(file):
    make_database(file.with_name("other"), rows=100, journal_mode="delete")
    file.with_name("other").replace(file)


DAMAGES = {
    "a flipped bit": flip_a_bit,
    "cut short": lambda file: os.truncate(file, file.stat().st_size - 4096),
    "empty": lambda file: os.truncate(file, 0),
    "another tenant's": put_another_tenants,
}
damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


def lose_control_database(host, folder):
    """It is made anew, and nothing but the files is left: no folder's index either."""
    for path in (*folder.glob("control.sqlite3*"), *folder.glob("tenants/*/backups/index.json")):
        path.unlink()
    assert host.run("migrate", "--verbosity", "0").returncode == 0


def actions():
    return list(Event.objects.order_by("pk").values_list("kind", flat=True))


class TestVerify:
    def test_one_that_is_good_is_said_to_be_good(self, tenant, backup):
        before = backup.verified_at
        assert backups.verify(tenant, backup) == ""
        row = Backup.objects.get()
        assert row.is_good
        assert row.verified_at > before
        assert actions() == ["completed"]

    @damages
    def test_damage_is_found_and_it_is_not_good_any_more(self, tenant, backup, file, damage):
        damage(file)
        problem = backups.verify(tenant, backup)
        assert str(file) in problem
        row = Backup.objects.get()
        assert row.damaged_at is not None
        assert not row.is_good
        assert not Backup.objects.good().exists()
        assert actions() == ["completed", "damaged"]
        assert Event.objects.last().detail == problem
        assert file.exists(), "nothing is removed"
        # Said again, but noted once.
        assert backups.verify(tenant, row) == problem
        assert actions() == ["completed", "damaged"]

    def test_without_a_checksum_in_the_catalog_nothing_is_trusted(self, tenant, backup, file):
        before = file.with_name(f"{file.name}.sha256").read_bytes()
        Backup.objects.update(sha256="")
        assert "SHA-256" in backups.verify(tenant, Backup.objects.get())
        assert not Backup.objects.get().is_good
        assert file.with_name(f"{file.name}.sha256").read_bytes() == before

    def test_damage_that_its_checksum_does_not_show_is_found(self, tenant, backup, file):
        """Damaged before it was summed: the catalog's own checksum is that of the damage."""
        with file.open("r+b") as stream:
            stream.seek(4096)
            stream.write(b"\xff" * 4096)
        copy = sqlite.fingerprint(file)
        Backup.objects.update(size=copy.size, sha256=copy.sha256)
        backup.refresh_from_db()
        assert "is not a sound SQLite database" in backups.verify(tenant, backup)
        assert not Backup.objects.good().exists()

    def test_a_missing_file_is_found_and_when_it_is_back_it_is_good_again(
        self, tenant, backup, file, tmp_path
    ):
        file.rename(tmp_path / "away")
        assert backups.verify(tenant, backup) == f"The file {file} is missing."
        assert Backup.objects.get().missing_at is not None
        (tmp_path / "away").rename(file)
        row = Backup.objects.get()
        assert backups.verify(tenant, row) == ""
        assert Backup.objects.get().is_good
        assert row.is_good
        assert actions() == ["completed", "missing", "found"]

    @pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
    def test_what_is_no_file_is_no_backup(self, tenant, backup, file, tmp_path, kind):
        file.rename(tmp_path / "elsewhere")
        if kind == "link":
            file.symlink_to(tmp_path / "elsewhere")
        else:
            file.mkdir() if kind == "folder" else os.mkfifo(file)
        assert "not a regular file" in backups.verify(tenant, backup)
        assert not Backup.objects.get().is_good

    @pytest.mark.parametrize(("number", "is_good"), [(errno.EIO, False), (errno.EACCES, True)])
    def test_what_the_disk_cannot_give_back_is_damaged_what_is_forbidden_is_not(
        self, tenant, backup, monkeypatch, number, is_good
    ):
        def fail(*arguments, **options):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(sqlite, "fingerprint", fail)
        if is_good:
            with pytest.raises(BackupError, match="cannot be read"):
                backups.verify(tenant, backup)
        else:
            assert "Input/output error" in backups.verify(tenant, backup)
        assert Backup.objects.get().is_good is is_good

    def test_so_is_one_of_which_the_disk_does_not_even_tell_the_size(
        self, tenant, backup, monkeypatch
    ):
        def fail(*arguments):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(files.BackupDirectory, "flaw", fail)
        assert "Input/output error" in backups.verify(tenant, backup)
        assert Backup.objects.get().damaged_at

    @pytest.mark.parametrize(
        "damage", ["missing", "empty", "rubbish", "another checksum", "a link", "a pipe"]
    )
    def test_a_checksum_file_that_is_not_right_is_written_again(
        self, tenant, backup, file, damage, tmp_path, caplog
    ):
        """It vouches for the file where the catalog is lost, and would block that rescue."""
        checksum_file = file.with_name(f"{file.name}.sha256")
        before = checksum_file.read_bytes()
        assert backups.verify(tenant, backup) == ""
        assert "checksum file" not in caplog.text
        checksum_file.unlink()
        if damage == "a link":
            checksum_file.symlink_to(tmp_path / "nowhere")
        elif damage == "a pipe":
            os.mkfifo(checksum_file)
        elif damage != "missing":
            content = {"empty": b"", "rubbish": b"\xff" * 2000}.get(damage)
            checksum_file.write_bytes(
                before.replace(before[:1], b"g") if content is None else content
            )
        assert backups.verify(tenant, backup) == ""
        assert "checksum file of the good backup" in caplog.text
        assert not checksum_file.is_symlink()
        assert checksum_file.read_bytes() == before
        assert stat.S_IMODE(checksum_file.stat().st_mode) == 0o600
        assert names_in(file.parent) == [file.name, checksum_file.name]
        file.with_name("index.json").unlink()
        Backup.objects.all().delete()
        assert [row.file_name for row in backups.sync(tenant).adopted] == [file.name]

    def test_where_it_cannot_be_written_that_is_said_and_the_backup_is_good(
        self, tenant, backup, file, caplog
    ):
        checksum_file = file.with_name(f"{file.name}.sha256")
        checksum_file.unlink()
        checksum_file.mkdir()
        assert backups.verify(tenant, backup) == ""
        assert Backup.objects.get().is_good
        assert f"is not right: {checksum_file} cannot be written: Is a directory" in caplog.text
        assert names_in(file.parent) == [file.name, checksum_file.name]

    def test_the_checksum_file_of_a_damaged_backup_is_left(self, tenant, backup, file):
        checksum_file = file.with_name(f"{file.name}.sha256")
        checksum_file.write_bytes(b"rubbish")
        flip_a_bit(file)
        assert backups.verify(tenant, backup) != ""
        assert checksum_file.read_bytes() == b"rubbish"

    def test_of_a_backup_that_is_deleted_meanwhile_no_checksum_is_left(
        self, tenant, backup, file, monkeypatch
    ):
        checksum_file = file.with_name(f"{file.name}.sha256")
        checksum_file.unlink()
        renew = files.BackupDirectory.renew_checksum_file

        def delete_first(directory, name, sha256):
            backups.delete(tenant, backup)
            renew(directory, name, sha256)

        monkeypatch.setattr(files.BackupDirectory, "renew_checksum_file", delete_first)
        backups.verify(tenant, backup)
        assert names_in(file.parent) == []

    def test_it_ends_at_the_deadline_and_nothing_is_said(self, tenant, backup):
        with pytest.raises(DeadlineExceeded):
            backups.verify(tenant, backup, deadline=0)
        assert Backup.objects.get().is_good

    def test_a_damaged_backup_is_no_reason_to_remove_an_older_one(self, tenant, backup, file):
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        flip_a_bit(file)
        backups.verify(tenant, backup)
        newer = backups.create(tenant, COMMAND)
        assert newer.pruned == []
        decisions = retention.decide(
            list(Backup.objects.all()),
            BackupSettings.objects.get().policy,
            timezone.now(),
            tenant.zone,
        )
        assert all(decision.keep for decision in decisions)

    def test_somebody_is_told(self, tenant, backup, file):
        BackupSettings.objects.create(tenant_id=tenant.id)
        flip_a_bit(file)
        backups.verify(tenant, backup)
        later = timezone.now() + timedelta(minutes=5)
        [judgement] = monitoring.judge_all([tenant], later, automation_runs=True)
        assert judgement.verdict is Verdict.MISSING
        assert "missing or damaged" in str(judgement.findings[0])


def find_no_newest(tenant):
    with pytest.raises(BackupError, match="no good backup"):
        restore.newest(tenant)


class TestLook:
    """What `stat` shows to be wrong is seen wherever a backup is looked at."""

    LOOKS = {
        "prune": backups.prune,
        "sync": backups.sync,
        "the page, checkbackups": partial(monitoring.judge_tenant, automation_runs=True),
        "backup doesn't work": lambda tenant: troubleshooting.examine(
            tenant, automation.get_status()
        ),
        "the list to restore": restore.candidates,
        "the latest to restore": find_no_newest,
    }
    looks = pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)

    @looks
    @pytest.mark.parametrize("size", [0, 1, 1_000_000])
    def test_another_size_is_damage(self, tenant, backup, file, look, size):
        os.truncate(file, size)
        look(tenant)
        row = Backup.objects.get()
        assert row.damaged_at is not None
        assert row.missing_at is None
        assert actions() == ["completed", "damaged"]
        assert f"it has {size} bytes instead of {backup.size}" in Event.objects.last().detail
        look(tenant)
        assert actions() == ["completed", "damaged"], "it is noted once"

    @pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
    def test_so_is_what_is_no_file(self, tenant, backup, file, tmp_path, kind):
        file.rename(tmp_path / "elsewhere")
        if kind == "link":
            file.symlink_to(tmp_path / "elsewhere")
        else:
            file.mkdir() if kind == "folder" else os.mkfifo(file)
        assert backups.check_files(tenant) == [backup]
        assert Backup.objects.get().damaged_at is not None

    @looks
    def test_missing_is_missing(self, tenant, backup, file, look):
        file.unlink()
        look(tenant)
        row = Backup.objects.get()
        assert row.missing_at is not None
        assert row.damaged_at is None

    @pytest.mark.parametrize("inside", [backups.contents, backups.open_file])
    def test_nobody_gets_what_is_in_one_of_another_size(self, tenant, backup, file, inside):
        os.truncate(file, 4096)
        with pytest.raises(DatabaseDamaged, match="it has 4096 bytes"):
            inside(tenant, backup)
        assert Backup.objects.get().damaged_at is not None
        assert actions() == ["completed", "damaged"], "no download is noted"

    def test_what_is_out_of_reach_is_not_missing(self, tenant, backup, file, monkeypatch):
        def forbid(*arguments, **options):
            raise PermissionError(errno.EACCES, "Permission denied")

        os.truncate(file, 0)
        monkeypatch.setattr(files.BackupDirectory, "flaw", forbid)
        assert backups.check_files(tenant) == []
        assert Backup.objects.get().is_good

    def test_a_catalog_that_cannot_be_written_keeps_nobody_from_a_restore(
        self, tenant, backup, file, monkeypatch
    ):
        def fail(*arguments, **options):
            raise DatabaseError("attempt to write a readonly database")

        file.unlink()
        monkeypatch.setattr(backups.verification, "note_found", fail)
        assert restore.candidates(tenant) == [backup]

    def test_sync_says_what_is_damaged(self, tenant, backup, file, capsys):
        os.truncate(file, 0)
        call_command("syncbackups")
        assert f"acme: damaged: {file.name}\n" in capsys.readouterr().out


class TestNowAndThen:
    """The tick has backups verified again while nothing else is to do."""

    @pytest.fixture
    def old(self, tenant):
        """A tenant with two backups that were verified long ago, the older one first."""
        BackupSettings.objects.create(tenant_id=tenant.id)
        automation.set_up()
        made = [backups.create(tenant, COMMAND).backup for _ in range(2)]
        for days, row in zip((40, 30), made, strict=True):
            at = timezone.now() - timedelta(days=days)
            Backup.objects.filter(pk=row.pk).update(verified_at=at)
        return made

    def tasks(self):
        return [queued.task for queued in OrmQ.objects.all()]

    def later(self, **time):
        return timezone.now() + timedelta(**time)

    def test_the_one_that_was_longest_unread_and_one_a_day(self, old):
        automation.tick(self.later(minutes=0))
        [task] = self.tasks()
        assert (task["func"], task["args"]) == (automation.queue.VERIFY, (old[0].pk,))
        automation.tick(self.later(minutes=1))
        automation.tick(self.later(hours=23))
        assert len(self.tasks()) == 1
        assert automation.verify(old[0].pk) == "good"
        automation.tick(self.later(hours=25))
        assert [task["args"] for task in self.tasks()] == [(old[0].pk,), (old[1].pk,)]

    def test_one_that_cannot_be_read_keeps_no_other_from_it(self, old, monkeypatch, caplog):
        def forbid(*arguments, **options):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(sqlite, "fingerprint", forbid)
        for days in range(4):
            automation.tick(self.later(days=days, minutes=days))
            assert "cannot be read" in automation.verify(self.tasks()[-1]["args"][0])
        ids = [task["args"][0] for task in self.tasks()]
        assert ids == [old[0].pk, old[1].pk, old[0].pk, old[1].pk]
        assert "was not verified" in caplog.text

    @pytest.mark.parametrize(
        ("model", "field"),
        [
            (Backup, "verified_at"),
            (Backup, "verify_queued_at"),
            (TenantState, "verify_queued_at"),
        ],
    )
    def test_what_a_clock_that_was_ahead_has_noted_puts_it_off_for_nobody(self, old, model, field):
        assert model.objects.update(**{field: self.later(days=365)})
        for days in range(2):
            automation.tick(self.later(days=days, minutes=days))
            pk = self.tasks()[-1]["args"][0]
            Backup.objects.filter(pk=pk).update(verified_at=self.later(days=days))
        assert {task["args"][0] for task in self.tasks()} == {row.pk for row in old}

    def test_what_nobody_will_make_is_nothing_to_do(self, old):
        Backup.objects.create(
            tenant_id="gone",
            trigger="automatic",
            status="running",
            file_name="gone-20260101T000000Z.sqlite3",
            started_at=timezone.now(),
        )
        automation.tick(timezone.now())
        assert [task["func"] for task in self.tasks()] == [automation.queue.VERIFY]

    def test_not_during_a_pause_in_which_nothing_automatic_starts(self, old):
        automation.pause("ada")
        automation.tick(timezone.now())
        assert self.tasks() == []
        automation.resume("ada")
        automation.tick(self.later(minutes=1))
        assert [task["func"] for task in self.tasks()] == [automation.queue.VERIFY]

    def test_not_while_a_backup_is_being_made(self, old, add_tenant):
        globex = add_tenant("globex")
        backups.request(globex, COMMAND).start("globex-20260101T000000Z.sqlite3")
        backups.directory_of(globex).make()
        with lock.hold(backups.directory_of(globex), wait=0):
            automation.tick(timezone.now())
        assert self.tasks() == []

    def test_one_that_was_read_lately_is_left(self, old):
        Backup.objects.update(verified_at=timezone.now() - timedelta(hours=23))
        automation.tick(timezone.now())
        assert self.tasks() == []

    def test_not_while_anything_else_is_to_do(self, old, add_tenant):
        busy = add_tenant("globex")
        waiting = backups.request(busy, COMMAND)
        automation.tick(timezone.now())
        assert [task["func"] for task in self.tasks()] == [automation.queue.MAKE]
        backups.perform(busy, waiting.pk)
        automation.tick(self.later(minutes=1))
        tasks = [task["func"] for task in self.tasks()]
        assert tasks == [automation.queue.MAKE, automation.queue.VERIFY]

    def test_one_tick_asks_for_one_of_all_tenants(self, old, add_tenant):
        other = add_tenant("globex")
        backups.create(other, COMMAND)
        BackupSettings.objects.create(tenant_id="globex")
        Backup.objects.update(verified_at=timezone.now() - timedelta(days=9))
        automation.tick(timezone.now())
        assert len(self.tasks()) == 1
        automation.tick(self.later(minutes=1))
        ids = [task["args"][0] for task in self.tasks()]
        assert {Backup.objects.get(pk=pk).tenant_id for pk in ids} == {"acme", "globex"}

    def test_what_is_found_is_noted(self, tenant, old):
        flip_a_bit(backups.directory_of(tenant).file(old[0].file_name))
        assert "is damaged" in automation.verify(old[0].pk)
        assert Backup.objects.get(pk=old[0].pk).damaged_at is not None
        assert automation.verify(old[0].pk) == "nothing to do"

    def test_reading_is_a_sign_of_life(self, old, monkeypatch):
        monkeypatch.setattr(automation.reverification, "SECONDS_BETWEEN_SIGNS", 0)
        Automation.load()
        Automation.objects.update(last_tick_at=timezone.now() - timedelta(hours=1))
        assert automation.get_status().state is AutomationState.STALLED
        automation.verify(old[0].pk)
        assert Automation.load().worker_seen_at is not None
        assert automation.get_status().state is AutomationState.RUNNING
        assert automation.get_status(self.later(minutes=4)).state is AutomationState.STALLED


class TestSync:
    def test_where_all_is_in_line_nothing_changes(self, tenant, backup):
        before = Backup.objects.values().get()
        synced = backups.sync(tenant)
        assert (synced.missing, synced.found, synced.adopted, synced.refused) == ([], [], [], [])
        assert Backup.objects.values().get() == before

    def test_without_tenants_it_says_so(self, capsys):
        """As in a host whose tenants were in the control database that was lost."""
        call_command("syncbackups")
        assert capsys.readouterr().out.startswith("There are no tenants")

    def test_missing_and_back(self, tenant, backup, file, tmp_path):
        file.rename(tmp_path / "away")
        assert backups.sync(tenant).missing == [backup]
        assert backups.sync(tenant).missing == []
        (tmp_path / "away").rename(file)
        assert backups.sync(tenant).found == [backup]
        assert Backup.objects.get().is_good

    def test_a_lost_catalog_comes_back_from_the_files_alone(self, tenant, file, backup):
        backups.create(tenant, COMMAND)
        before = Backup.objects.order_by("pk").values_list("file_name", "size", "sha256")
        known = list(before)
        at = backup.created_at
        Backup.objects.all().delete()
        # With the folder's index, more than the files comes back: see `test_reconcile.py`.
        file.with_name("index.json").unlink()
        files = {
            path: path.stat().st_mtime_ns for path in file.parent.iterdir() if path.name != ".lock"
        }
        synced = backups.sync(tenant)
        assert len(synced.adopted) == 2
        assert list(before.all()) == known
        for row in Backup.objects.all():
            assert (row.trigger, row.status) == (Trigger.ADOPTED, Status.COMPLETE)
            assert row.is_good
            assert not row.pinned
        assert abs(Backup.objects.earliest("pk").created_at - at) < timedelta(seconds=1)
        assert actions()[-2:] == ["adopted", "adopted"]
        assert files == {path: path.stat().st_mtime_ns for path in files}, "no file is touched"
        # And nothing of it is ever pruned.
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1, keep_days=1)
        assert backups.create(tenant, COMMAND).pruned == []

    @damages
    def test_a_file_that_is_no_sound_backup_is_refused(self, tenant, file, damage):
        Backup.objects.all().delete()
        damage(file)
        synced = backups.sync(tenant)
        assert synced.adopted == []
        [reason] = synced.refused
        assert str(file) in reason
        assert file.exists()
        assert not Backup.objects.exists()

    def test_without_a_checksum_file_a_sound_file_is_adopted(self, tenant, file):
        Backup.objects.all().delete()
        file.with_name(f"{file.name}.sha256").unlink()
        assert [row.file_name for row in backups.sync(tenant).adopted] == [file.name]

    @pytest.mark.parametrize(
        "name",
        [
            "acme2-20260101T000000Z.sqlite3",
            "globex-20260101T000000Z.sqlite3",
            "acme-20261399T000000Z.sqlite3",
            "acme-20260101T000000Z.sqlite3.bak",
            "acme-20260101T000000Z-01.sqlite3",
            ".acme-20260101T000000Z.sqlite3.partial",
            "notes.sqlite3",
        ],
    )
    def test_what_is_not_well_formed_is_left_alone(self, tenant, file, name):
        shutil.copy(file, file.with_name(name))
        synced = backups.sync(tenant)
        assert (synced.adopted, synced.refused) == ([], [])
        assert file.with_name(name).exists()

    def test_a_file_that_is_known_as_another_tenants_is_refused(self, tenant, file, add_tenant):
        other = add_tenant("globex")
        theirs = backups.create(other, COMMAND).backup
        copy = file.with_name("acme-20260101T000000Z.sqlite3")
        shutil.copy(backups.directory_of(other).file(theirs.file_name), copy)
        synced = backups.sync(tenant)
        assert synced.adopted == []
        assert synced.refused == [f"{copy} is a backup of tenant 'globex'."]

    def test_one_that_another_tenant_has_by_name_and_content_is_refused(self, tenant, file):
        """Two tenants with one folder, by a link: whatever lies beside the file, it is one's."""
        other = replace(tenant, id="Acme", name="Another")
        assert file.with_name(f"{file.name}.sha256").exists()
        synced = backups.sync(other)
        assert synced.adopted == []
        assert synced.refused == [f"{file} is a backup of tenant 'acme'."]
        assert not Backup.objects.for_tenant("Acme").exists()
        # Nor by what the index says, which anybody may have written who writes to the folder.
        said = json.loads(file.with_name("index.json").read_bytes())
        assert [entry["file"] for entry in said["backups"]] == [file.name]
        said |= {"tenant": "Acme", "revision": 99}
        file.with_name("index.json").write_text(json.dumps(said))
        assert backups.sync(other).adopted == []
        assert not Backup.objects.for_tenant("Acme").exists()

    def test_a_folder_that_cannot_be_listed_is_an_error_that_says_so(
        self, tenant, file, monkeypatch
    ):
        def fail(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(Path, "iterdir", fail)
        with pytest.raises(BackupError, match=r"backups cannot be read: Permission denied\."):
            backups.sync(tenant)
        assert Backup.objects.get().is_good

    @pytest.mark.parametrize("kind", ["link", "folder", "pipe", "piped checksum file"])
    def test_what_is_no_file_is_refused(self, tenant, file, kind):
        odd = file.with_name("acme-20260101T000000Z.sqlite3")
        if kind == "link":
            odd.symlink_to(tenant.database)
        elif kind == "folder":
            odd.mkdir()
        elif kind == "pipe":
            os.mkfifo(odd)
        else:
            shutil.copy(file, odd)
            os.mkfifo(odd.with_name(f"{odd.name}.sha256"))
        [reason] = backups.sync(tenant).refused
        assert str(odd) in reason

    def test_what_a_crash_left_is_recovered_first(self, tenant, file, backup):
        Backup.objects.update(status=Status.RUNNING, finished_at=None)
        synced = backups.sync(tenant)
        assert synced.adopted == []
        assert Backup.objects.get().status == Status.COMPLETE

    def test_out_of_reach_nothing_is_said_to_be_missing(self, tenant, file, tmp_path):
        file.parent.rename(tmp_path / "unmounted")
        with pytest.raises(BackupError, match="out of reach"):
            backups.sync(tenant)
        assert Backup.objects.get().is_good

    def test_where_there_was_never_a_backup_there_is_nothing(self, tenant):
        assert backups.sync(tenant).adopted == []
        assert names_in(tenant.root) == ["db.sqlite3"]

    def test_not_beside_somebody_elses_work(self, tenant, backup, settings):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "BUSY_TIMEOUT": 0.1}
        with (
            lock.hold(backups.directory_of(tenant), wait=0),
            pytest.raises(BackupInProgress),
        ):
            backups.sync(tenant)


class TestCommands:
    @pytest.fixture
    def acme(self, host):
        root = host.add_tenant()
        host.add_tenant("globex")
        for _ in range(2):
            assert host.run("runbackup").returncode == 0
        return root / "backups"

    def test_verifybackups_reads_all_and_goes_on_after_damage(self, host, acme):
        assert host.run("verifybackups").stdout.count(" is good\n") == 4
        newest = host.catalog()[0]["file"]
        flip_a_bit(acme / newest)
        run = host.run("verifybackups")
        assert run.returncode == 1
        assert run.stdout.count(" is good\n") == 3
        assert f"acme: failed. {acme / newest} is damaged: its SHA-256" in run.stderr
        assert "1 of 4 missing, damaged or out of reach." in run.stderr
        # What was found stays said; and read again only where that is asked for.
        flip_a_bit(acme / newest)
        again = host.run("verifybackups", "acme")
        assert again.returncode == 1
        assert "was found damaged before. To read it again: --all" in again.stderr
        assert host.run("verifybackups", "acme", "--all").returncode == 0
        assert host.run("verifybackups", "acme").returncode == 0

    def test_a_backup_that_is_deleted_meanwhile_is_no_fault(
        self, tenant, backup, capsys, monkeypatch
    ):
        verify = backups.verify_with_data

        def verify_what_is_gone(tenant, backup, **options):
            backups.delete(tenant, backup)
            return verify(tenant, backup, **options)

        monkeypatch.setattr(backups, "verify_with_data", verify_what_is_gone)
        call_command("verifybackups")
        assert f"{backup.file_name} was deleted meanwhile" in capsys.readouterr().out

    def test_verifybackups_tells_programs(self, host, acme):
        file = acme / host.catalog()[0]["file"]
        file.unlink()
        run = host.run("verifybackups", "acme", "--json")
        assert run.returncode == 1
        answer = json.loads(run.stdout)
        assert not answer["ok"]
        assert [row["tenant"] for row in answer["backups"]] == ["acme", "acme"]
        assert answer["errors"] == [{"tenant": "acme", "message": f"The file {file} is missing."}]
        assert answer["tenants"] == [{"id": "acme"}]

    def test_with_the_control_database_lost_migrate_and_syncbackups_bring_it_back(
        self, host, acme, tmp_path
    ):
        before = sorted((row["tenant"], row["file"], row["sha256"]) for row in host.catalog())
        host.query("UPDATE tenant_backup_backupsettings SET keep_last = 1")
        lose_control_database(host, tmp_path)
        assert host.catalog() == []
        run = host.run("syncbackups")
        assert run.returncode == 0, run.stderr
        assert run.stdout.count("adopted: ") == 4
        rows = host.catalog()
        assert sorted((row["tenant"], row["file"], row["sha256"]) for row in rows) == before
        host.query("UPDATE tenant_backup_backupsettings SET keep_last = 1")
        assert host.run("runbackup").returncode == 0
        assert len(host.catalog()) == 6
        again = host.run("syncbackups", "-v", "2").stdout.splitlines()
        assert again == [
            "The catalog of all 2 tenants was in line with the files.",
            "acme: nothing had to be changed",
            "globex: nothing had to be changed",
        ]

    def test_two_tenants_with_equal_data_get_both_their_backups_back(self, host, tmp_path):
        roots = [host.add_tenant(name) for name in ("acme", "globex")]
        shutil.copy(roots[0] / "db.sqlite3", roots[1] / "db.sqlite3")
        assert host.run("runbackup").returncode == 0
        before = sorted((row["tenant"], row["file"]) for row in host.catalog())
        assert len({row["sha256"] for row in host.catalog()}) == 1
        lose_control_database(host, tmp_path)
        # Of the first tenant's data the new catalog knows by then whose they are.
        assert host.run("runbackup", "acme").returncode == 0
        run = host.run("syncbackups")
        assert run.returncode == 0, run.stderr
        found = [row for row in host.catalog() if row["trigger"] == "adopted"]
        assert sorted((row["tenant"], row["file"]) for row in found) == before

        # But without its checksum beside it, nobody says that it was made here.
        theirs = host.add_tenant("initech")
        assert host.run("runbackup", "initech").returncode == 0
        [file] = (theirs / "backups").glob("*.sqlite3")
        copy = roots[0] / "backups" / "acme-20200101T000000Z.sqlite3"
        shutil.copy(file, copy)
        run = host.run("syncbackups")
        assert run.returncode == 1
        assert f"not adopted: {copy} is a backup of tenant 'initech'." in run.stderr

    def test_syncbackups_refuses_damage_and_makes_the_settings(self, host, acme):
        host.query("DELETE FROM tenant_backup_backup WHERE tenant_id = 'acme'")
        host.query("DELETE FROM tenant_backup_backupsettings")
        [one, _other] = sorted(acme.glob("*.sqlite3"))
        flip_a_bit(one)
        run = host.run("syncbackups", "acme", "--json")
        assert run.returncode == 1
        answer = json.loads(run.stdout)
        assert [error["tenant"] for error in answer["errors"]] == ["acme"]
        assert f"not adopted: {one} is damaged" in answer["errors"][0]["message"]
        [about] = answer["tenants"]
        assert (about["missing"], about["found"], len(about["adopted"])) == ([], [], 1)
        assert host.query("SELECT tenant_id FROM tenant_backup_backupsettings") == [("acme",)]
