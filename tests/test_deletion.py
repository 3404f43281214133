"""Deleting: under the lock, with a mark, and brought to its end after any crash."""

import errno
import os
import shutil

import pytest
from django.utils import timezone

from tenant_backup import automation, backups, lock
from tenant_backup.backups import recovery
from tenant_backup.backups.deletion_steps import Deletion
from tenant_backup.exceptions import BackupError, BackupInProgress, NotWritable, RowChanged
from tenant_backup.files import BackupDirectory
from tenant_backup.models import Backup, BackupSettings, Event, EventKind, Trigger
from tenant_backup.signals import backup_deleted
from tenant_backup.texts import Text, joined
from tests.conftest import names_in, on_each_control

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)


@pytest.fixture
def directory(tenant):
    return backups.directory_of(tenant)


@pytest.fixture
def made(tenant):
    """Two backups, the older one first."""
    return [backups.create(tenant, COMMAND).backup for _ in range(2)]


@pytest.fixture
def deleted():
    """Of which backups the host was told that they are deleted."""
    heard = []

    def receive(sender, *, backup, **kwargs):
        heard.append(backup.file_name)

    backup_deleted.connect(receive)
    yield heard
    backup_deleted.disconnect(receive)


@pytest.fixture
def impatient(settings):
    settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "BUSY_TIMEOUT": 0.1}


def mark(backup, kind=EventKind.PRUNED, actor="ada", why="It is pruned."):
    Backup.objects.filter(pk=backup.pk).update(**Deletion(kind, actor, why).as_mark())


class TestLock:
    @pytest.mark.usefixtures("impatient")
    def test_while_somebody_is_at_work_nothing_is_deleted_and_that_is_said(
        self, tenant, directory, made
    ):
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        before = names_in(directory.path)
        with lock.hold(directory, wait=0):
            with pytest.raises(BackupInProgress, match="so nothing was deleted"):
                backups.delete(tenant, made[0])
            with pytest.raises(BackupInProgress):
                backups.prune(tenant)
        assert names_in(directory.path) == before
        assert Backup.objects.good().count() == 2

    @pytest.mark.usefixtures("impatient")
    def test_a_row_without_a_file_needs_no_lock_and_is_deleted_beside_the_others(
        self, tenant, directory, made
    ):
        failed = Backup.objects.create(tenant_id=tenant.id, trigger="command", status="failed")
        with lock.hold(directory, wait=0):
            done = backups.delete_all(tenant, [*made, failed], actor="ada")
        assert done.backups == [failed]
        [error] = done.errors
        assert isinstance(error, BackupInProgress)
        assert set(Backup.objects.all()) == set(made)

    def test_of_several_each_has_its_own_outcome(self, tenant, directory, made, deleted):
        """What keeps one from being deleted keeps no other, before it or after it."""
        pinned, stuck = (backups.create(tenant, COMMAND).backup for _ in range(2))
        backups.pin(tenant, pinned, pinned=True)
        directory.file(stuck.file_name).unlink()
        directory.file(stuck.file_name).mkdir()
        gone = Backup(pk=10**6, tenant_id=tenant.id)
        done = backups.delete_all(tenant, [made[0], pinned, gone, stuck, made[1]], actor="ada")
        assert done.backups == made
        assert [type(error) for error in done.errors] == [RowChanged, RowChanged, NotWritable]
        assert "is pinned" in str(done.errors[0])
        assert "There is no backup 1000000 any more." in str(done.errors[1])
        assert set(Backup.objects.all()) == {pinned, stuck}
        assert deleted == [backup.file_name for backup in made]
        by = Event.objects.filter(kind=EventKind.DELETED).values_list("actor", flat=True)
        assert list(by) == ["ada", "ada"]

    def test_another_tenants_is_not_there(self, tenant, add_tenant, made):
        theirs = backups.create(add_tenant("globex"), COMMAND).backup
        done = backups.delete_all(tenant, [theirs, made[0]])
        assert done.backups == [made[0]]
        assert len(done.errors) == 1
        assert Backup.objects.filter(pk=theirs.pk).exists()

    def test_the_lock_is_held_while_files_are_removed(self, tenant, directory, made, monkeypatch):
        remove, refused = BackupDirectory.remove, []

        def look(self, name):
            with pytest.raises(BackupInProgress), lock.hold(directory, wait=0):
                pass
            refused.append(name)
            remove(self, name)

        monkeypatch.setattr(BackupDirectory, "remove", look)
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        newest = backups.create(tenant, COMMAND).backup
        backups.delete(tenant, newest)
        assert set(refused) == {*(backup.file_name for backup in made), newest.file_name}

    def test_it_is_free_again_when_the_host_is_told(self, tenant, directory, made):
        def receive(sender, **kwargs):
            with lock.hold(directory, wait=0):
                told.append(True)

        told = []
        backup_deleted.connect(receive)
        try:
            backups.delete(tenant, made[0])
        finally:
            backup_deleted.disconnect(receive)
        assert told == [True]

    def test_what_may_not_be_deleted_is_said_without_waiting_for_the_lock(
        self, tenant, directory, made
    ):
        backups.pin(tenant, made[0], pinned=True)
        with lock.hold(directory, wait=0), pytest.raises(BackupError, match="is pinned"):
            backups.delete(tenant, made[0])


class TestMark:
    def test_who_looks_when_the_file_is_gone_and_the_row_is_not_finds_no_loss(
        self, tenant, made, monkeypatch
    ):
        remove = BackupDirectory.remove

        def look(self, name):
            remove(self, name)
            assert "is missing" in backups.verify(tenant, made[0])

        monkeypatch.setattr(BackupDirectory, "remove", look)
        backups.delete(tenant, made[0])
        assert not Event.objects.filter(kind=EventKind.MISSING).exists()

    def test_while_it_is_deleted_it_is_no_good_backup(self, tenant, made, monkeypatch):
        remove, seen = BackupDirectory.remove, []

        def look(self, name):
            row = Backup.objects.get(pk=made[0].pk)
            seen.append((row.is_good, row.deleting_as, row.deleting_by, row.missing_at))
            with pytest.raises(BackupError, match="so it cannot be pinned"):
                backups.pin(tenant, row, pinned=True)
            assert backups.check_files(tenant) == []
            remove(self, name)

        monkeypatch.setattr(BackupDirectory, "remove", look)
        backups.delete(tenant, made[0], actor="ada")
        assert seen == [(False, "deleted", "ada", None)]

    def test_a_file_that_cannot_be_removed_leaves_no_mark(self, tenant, made, monkeypatch):
        def fail(self, name):
            raise NotWritable("the disk is read-only")

        monkeypatch.setattr(BackupDirectory, "remove", fail)
        before = Backup.objects.filter(pk=made[0].pk).values().get()
        with pytest.raises(NotWritable):
            backups.delete(tenant, made[0])
        assert Backup.objects.filter(pk=made[0].pk).values().get() == before

    def test_a_checksum_file_that_cannot_be_removed_keeps_no_row(
        self, tenant, directory, made, caplog
    ):
        checksum_file = directory.checksum_file(made[0].file_name)
        checksum_file.unlink()
        checksum_file.mkdir()
        backups.delete(tenant, made[0])
        assert list(Backup.objects.all()) == [made[1]]
        assert "The checksum file of" in caplog.text


class TestWithoutDirectory:
    def test_a_failed_row_may_be_deleted(self, add_tenant, deleted):
        tenant = add_tenant(database=False)
        with pytest.raises(BackupError):
            backups.create(tenant, COMMAND)
        shutil.rmtree(tenant.root)
        backups.delete(tenant, Backup.objects.get(), actor="ada")
        assert not Backup.objects.exists()
        assert Event.objects.get(kind="deleted").actor == "ada"
        assert deleted == [""]
        assert not tenant.root.exists()

    def test_nor_does_it_wait_for_the_lock(self, tenant, directory, made):
        failed = backups.request(tenant, COMMAND)
        backups.refuse(failed, BackupError("for a reason"))
        with lock.hold(directory, wait=0):
            backups.delete(tenant, failed)
        assert not Backup.objects.filter(pk=failed.pk).exists()

    def test_backups_that_are_out_of_reach_are_neither_deleted_nor_pruned(
        self, tenant, directory, made
    ):
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        directory.path.rename(directory.path.with_name("unmounted"))
        for act in (lambda: backups.delete(tenant, made[0]), lambda: backups.prune(tenant)):
            with pytest.raises(BackupError, match=f"{directory.path} is not there"):
                act()
        assert Backup.objects.good().count() == 2
        assert not directory.path.exists()

    def test_the_rows_of_those_that_were_found_missing_may_be_deleted(
        self, tenant, directory, made
    ):
        Backup.objects.update(missing_at=timezone.now())
        shutil.rmtree(directory.path)
        for backup in made:
            backups.delete(tenant, backup)
        assert not Backup.objects.exists()

    def test_where_there_was_never_a_backup_there_is_nothing_to_prune(self, tenant, directory):
        assert backups.prune(tenant) == []
        assert not directory.path.exists()


class TestRecover:
    @pytest.fixture(params=["backup", "tick", "prune", "sync", "delete another"])
    def next_one(self, request, tenant, made):
        """What comes next, whatever it is."""
        return {
            "backup": lambda: backups.create(tenant, COMMAND),
            "tick": automation.tick,
            "prune": lambda: backups.prune(tenant),
            "sync": lambda: backups.sync(tenant),
            "delete another": lambda: backups.delete(tenant, made[1]),
        }[request.param]

    def test_where_the_file_is_gone_the_rest_goes(self, tenant, directory, made, deleted, next_one):
        mark(made[0], why=joined(Text("It is %(n)d.", n=7)))
        directory.file(made[0].file_name).unlink()
        next_one()
        assert not Backup.objects.filter(pk=made[0].pk).exists()
        # A backup that is made within the same second gets the name that is free again.
        is_taken = Backup.objects.filter(file_name=made[0].file_name).exists()
        assert directory.checksum_file(made[0].file_name).exists() == is_taken
        event = Event.objects.get(backup_id=made[0].pk, kind="pruned")
        assert (event.actor, event.detail, event.said) == ("ada", "It is 7.", "It is 7.")
        assert (event.file_name, event.size) == (made[0].file_name, made[0].size)
        assert deleted[0] == made[0].file_name
        assert not Backup.objects.exclude(missing_at=None).exists()
        assert not Event.objects.filter(kind="missing").exists()

    def test_where_it_is_still_there_it_is_kept(self, tenant, directory, made, next_one):
        mark(made[0])
        assert not Backup.objects.get(pk=made[0].pk).is_good
        next_one()
        row = Backup.objects.get(pk=made[0].pk)
        assert row.is_good
        assert (row.deleting_as, row.deleting_by, row.deleting_why) == ("", "", "")
        assert backups.verify(tenant, row) == ""

    def test_retention_decides_afresh(self, tenant, made):
        mark(made[0])
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        [decision] = backups.prune(tenant, actor="bob")
        assert decision.backup == made[0]
        assert Event.objects.get(kind="pruned").actor == "bob"

    def test_out_of_reach_nothing_is_said_of_it(self, tenant, directory, made, monkeypatch):
        mark(made[0])
        lexists = os.path.lexists
        name = made[0].file_name

        def fail(self):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with monkeypatch.context() as patch:
            patch.setattr(os.path, "lexists", lambda path: name not in str(path) and lexists(path))
            patch.setattr("pathlib.Path.lstat", fail)
            assert recovery.recover_deletions(tenant) == []
        assert Backup.objects.get(pk=made[0].pk).deleting_at is not None

    def test_the_tick_makes_no_folder_for_that(self, tenant, directory, made):
        mark(made[0])
        directory.path.rename(directory.path.with_name("unmounted"))
        automation.tick()
        assert not directory.path.exists()
        assert Backup.objects.get(pk=made[0].pk).deleting_at is not None

    def test_a_failed_row_goes(self, tenant, directory):
        directory.make()
        failed = backups.request(tenant, COMMAND)
        backups.refuse(failed, BackupError("for a reason"))
        mark(failed, EventKind.DELETED)
        backups.recover(tenant)
        assert not Backup.objects.exists()

    def test_while_somebody_deletes_nobody_recovers(self, tenant, directory, made):
        mark(made[0])
        directory.file(made[0].file_name).unlink()
        with lock.hold(directory, wait=0):
            automation.tick()
            assert Backup.objects.filter(pk=made[0].pk).exists()

    def test_another_tenants_is_left(self, tenant, made, add_tenant):
        mark(made[0])
        backups.create(add_tenant("other"), COMMAND)
        assert Backup.objects.get(pk=made[0].pk).deleting_at is not None


# As its operator sees it: real processes, killed in the middle

DEATHS = {
    "before the file": "BackupDirectory.remove = die",
    "between the file and its checksum file": (
        "remove = BackupDirectory._remove\n"
        "BackupDirectory._remove = lambda self, path: (\n"
        "    die() if path.name.endswith('.sha256') else remove(self, path))"
    ),
    "between the files and the row": "deletion_steps.remove_row = die",
    "before the history": "Event.record = die",
}

KILLED = """
from tenant_backup.models import BackupSettings
command('runbackup')
command('runbackup')
BackupSettings.objects.update(keep_last=1)
from tenant_backup.backups import deletion_steps
from tenant_backup.files import BackupDirectory
from tenant_backup.models import Event
%s
command('prunebackups')
"""


@on_each_control
@pytest.mark.parametrize("death", DEATHS)
def test_a_prune_that_is_killed_leaves_no_alarm_and_no_checksum_file(host, death):
    root = host.add_tenant()
    host.assert_killed(host.start(KILLED % DEATHS[death]))
    if death == "before the history":
        sql = "SELECT deleting_as, deleting_why FROM tenant_backup_backup ORDER BY id"
        as_what, why = host.query(sql)[0]
        assert (as_what, why) == ("pruned", "Only the newest one is kept.")
    # Nothing but monitoring looks, and then the tick comes, or whatever a cron job does instead.
    host.succeed("checkbackups", "runbackup --due")
    is_kept = death == "before the file"
    assert len(host.catalog()) == 1 + is_kept
    if is_kept:
        host.succeed("prunebackups")
    [newest] = host.catalog()
    assert names_in(root / "backups") == [newest["file"], f"{newest['file']}.sha256"]
    sql = "SELECT file_name, detail FROM tenant_backup_event WHERE kind = 'pruned'"
    [(name, why)] = host.query(sql)
    assert name != newest["file"]
    assert why == "Only the newest one is kept."
    assert host.query("SELECT id FROM tenant_backup_event WHERE kind = 'missing'") == []
    host.succeed("checkbackups", "verifybackups")
