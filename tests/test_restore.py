"""The use case of the emergency, in this process: what the commands' tests cannot see."""

import os
import shlex
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import transaction

from tenant_backup import backups, files, restore, sqlite
from tenant_backup.exceptions import (
    BackupError,
    BackupNotFound,
    DatabaseDamaged,
    DatabaseInUse,
    NotEnoughSpace,
)
from tenant_backup.files import BackupDirectory, Ownership
from tenant_backup.models import Backup, Event, Status, Trigger
from tenant_backup.restore.database import (
    forget_journal_mode,
    note_journal_mode,
    noted_journal_mode,
)
from tenant_backup.signals import backup_completed, backup_restored
from tests.conftest import (
    AS_ROOT,
    NOBODY,
    assert_true_copy,
    count_rows,
    make_database,
    names_in,
    small_disk,
)

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)


@pytest.fixture
def made(tenant):
    """A backup of a hundred rows; the database holds one more."""
    made = backups.create(tenant, COMMAND).backup
    with closing(sqlite3.connect(tenant.database)) as connection, connection:
        connection.execute("INSERT INTO credits (amount) VALUES (0)")
    return made


@pytest.fixture
def plan(tenant, made):
    return restore.verify(restore.newest(tenant))


class TestPerform:
    def test_signals_and_history(self, tenant, plan):
        heard = []

        def receive(sender, *, tenant, backup, signal, **kwargs):
            assert sender is Backup
            heard.append((signal, tenant.id, backup.trigger))

        backup_restored.connect(receive)
        backup_completed.connect(receive)
        try:
            restored = restore.perform(plan, actor="olga")
        finally:
            backup_restored.disconnect(receive)
            backup_completed.disconnect(receive)
        assert heard == [
            (backup_completed, "acme", Trigger.RESTORE),
            (backup_restored, "acme", Trigger.COMMAND),
        ]
        assert restored.backup == plan.choice.backup
        assert restored.safety_copy.requested_by == "olga"
        event = Event.objects.get(kind="restored")
        assert (event.actor, event.get_kind_display()) == ("olga", "restored")

    def test_not_inside_a_transaction_of_the_catalog(self, tenant, plan):
        with transaction.atomic(), pytest.raises(BackupError, match="inside a database trans"):
            restore.perform(plan)

    def test_a_foreign_connection_of_this_process_is_a_user(self, tenant, plan):
        with closing(sqlite3.connect(tenant.database)) as connection:
            connection.execute("SELECT * FROM credits").fetchall()
            with pytest.raises(DatabaseInUse):
                restore.perform(plan)
        assert Backup.objects.count() == 1

    def test_a_file_that_was_changed_after_it_was_verified(self, tenant, plan):
        os.utime(plan.choice.file)
        with pytest.raises(BackupError, match="was changed after it was verified"):
            restore.perform(plan)
        assert Backup.objects.count() == 1

    @pytest.mark.parametrize("error", [KeyboardInterrupt, BackupError("Something.")])
    def test_what_ends_it_before_the_commit_leaves_the_old_state(
        self, tenant, plan, monkeypatch, error
    ):
        def end(*args, **kwargs):
            raise error

        monkeypatch.setattr(sqlite.Exclusive, "replace_with", end)
        with pytest.raises(error if error is KeyboardInterrupt else BackupError) as caught:
            restore.perform(plan)
        assert count_rows(tenant.database) == 101
        safety_copy = Backup.objects.get(trigger=Trigger.RESTORE)
        assert (safety_copy.status, safety_copy.pinned) == (Status.COMPLETE, True)
        if error is not KeyboardInterrupt:
            assert f"safety copy just made is kept: {safety_copy.file_name}" in str(caught.value)
        assert not Event.objects.filter(kind="restored").exists()

    def test_a_result_that_is_not_equal_is_said_with_how_to_undo_it(
        self, tenant, plan, monkeypatch
    ):
        monkeypatch.setattr(sqlite.Exclusive, "replace_with", lambda *args, **kwargs: None)
        with pytest.raises(DatabaseDamaged) as caught:
            restore.perform(plan)
        safety_copy = Backup.objects.get(trigger=Trigger.RESTORE)
        assert "differs from the backup in the table 'credits'" in str(caught.value)
        undo = f"To undo: python manage.py restorebackup acme {safety_copy.file_name}"
        assert undo in str(caught.value)

    def test_a_full_disk_at_the_safety_copy(self, tenant, plan, monkeypatch):
        def full(*args, **kwargs):
            raise NotEnoughSpace("The disk is full.")

        monkeypatch.setattr(BackupDirectory, "publish", full)
        with pytest.raises(NotEnoughSpace, match=r"full\. The database was not changed"):
            restore.perform(plan)
        assert count_rows(tenant.database) == 101
        assert names_in(backups.directory_of(tenant).path) == [
            plan.choice.file.name,
            f"{plan.choice.file.name}.sha256",
        ]

    def test_a_tenant_id_that_a_shell_would_take_apart(self, add_tenant):
        tenant = add_tenant("it's; rm -rf", folder="odd")
        backups.create(tenant, COMMAND)
        restored = restore.perform(restore.verify(restore.newest(tenant)))
        name = restored.safety_copy.file_name
        assert restored.undo == f"""python manage.py restorebackup 'it'"'"'s; rm -rf' {name}"""

    def test_a_tenant_id_that_looks_like_an_option(self, add_tenant):
        tenant = add_tenant("-odd", folder="odd")
        backups.create(tenant, COMMAND)
        restored = restore.perform(restore.verify(restore.newest(tenant)))
        name = restored.safety_copy.file_name
        assert restored.undo == f"python manage.py restorebackup -- -odd {name}"
        name, *arguments = shlex.split(restored.undo)[2:]
        call_command(name, "--no-input", *arguments, verbosity=0)
        assert Backup.objects.filter(trigger=Trigger.RESTORE).count() == 2

    def test_a_lack_of_space_for_the_safety_copy_is_reported_before_there_is_a_row(
        self, tenant, made
    ):
        """The backups are on another disk than the database, which has room."""
        path, events = backups.directory_of(tenant).path, Event.objects.count()
        with small_disk("1m") as disk:
            shutil.move(path, disk / "backups")
            path.symlink_to(disk / "backups")
            plan = restore.verify(restore.newest(tenant))
            with pytest.raises(NotEnoughSpace, match="Not enough disk space"):
                restore.perform(plan)
        assert [backup.pk for backup in Backup.objects.all()] == [made.pk]
        assert Event.objects.count() == events

    @pytest.mark.skipif(not AS_ROOT, reason="Only root makes files for others.")
    def test_as_root_everything_belongs_to_the_owner(self, tenant, made):
        for path in (tenant.root, tenant.database):
            os.chown(path, NOBODY, NOBODY)
        tenant.database.write_bytes(b"rubbish" * 1000)
        restore.perform(restore.verify(restore.newest(tenant)))
        [aside] = tenant.root.glob("before-restore-*")
        for path in (tenant.database, aside, *aside.iterdir()):
            assert path.stat().st_uid == NOBODY

    @pytest.mark.skipif(not AS_ROOT, reason="Only root can become somebody else.")
    def test_somebody_else_s_file_is_not_replaced(self, tenant, made, tmp_path):
        for folder in (*reversed(tmp_path.parents[:3]), tmp_path, tenant.root.parent):
            folder.chmod(0o755)
        for path in (tenant.root, backups.directory_of(tenant).path):
            path.chmod(0o777)
            for file in path.glob("[!.]*.sqlite3*"):
                file.chmod(0o644)
        (backups.directory_of(tenant).path / ".lock").chmod(0o666)
        tenant.database.write_bytes(b"rubbish" * 1000)
        os.seteuid(NOBODY)
        try:
            with pytest.raises(BackupError, match=r"belongs to user 0\. To replace it as a file"):
                restore.perform(restore.verify(restore.newest(tenant)))
        finally:
            os.seteuid(0)
        assert tenant.database.read_bytes() == b"rubbish" * 1000

    @pytest.fixture
    def rubbish(self, tenant, made):
        """A restore that has to replace the file; and whether that has changed anything."""
        tenant.database.write_bytes(b"rubbish" * 1000)
        before = sorted(tenant.root.iterdir())
        yield restore.verify(restore.newest(tenant))
        assert tenant.database.read_bytes() == b"rubbish" * 1000
        assert sorted(tenant.root.iterdir()) == before

    def test_a_file_is_not_replaced_where_the_backup_does_not_fit(
        self, tenant, rubbish, monkeypatch
    ):
        needed = rubbish.fingerprint.size + files.SPACE_MARGIN
        usage = shutil.disk_usage(tenant.root)._replace(free=needed - 1)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(NotEnoughSpace, match=r"Not enough disk space.*Nothing was changed"):
            restore.perform(rubbish)

    def test_a_file_is_not_replaced_by_a_copy_that_is_not_equal(self, rubbish, monkeypatch):
        monkeypatch.setattr(shutil, "copyfileobj", lambda source, target, size: target.write(b"x"))
        with pytest.raises(BackupError, match="was changed after it was verified"):
            restore.perform(rubbish)

    def test_putting_aside_is_complete_before_anything_is_replaced(self, tenant, plan, monkeypatch):
        # Of a database that is there, SQLite itself removes a log in which it finds nothing.
        tenant.database.unlink()
        journal = tenant.database.with_name("db.sqlite3-journal")
        journal.write_bytes(b"journal")

        def end(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr("tenant_backup.restore.file.put_in_place", end)
        with pytest.raises(KeyboardInterrupt):
            restore.perform(plan)
        assert not tenant.database.exists()
        assert journal.read_bytes() == b"journal"
        assert sorted(path.name for path in tenant.root.glob(".*")) == []
        monkeypatch.undo()
        monkeypatch.setattr("tests.tenancy.Tenants.tenants", [tenant])
        restore.perform(plan)
        assert count_rows(tenant.database) == 100
        assert len(list(tenant.root.glob("before-restore-*"))) == 2


class TestFind:
    def test_an_id_is_a_number_only(self, tenant, made):
        assert restore.find(tenant, str(made.pk)).backup == made
        for text in ("", "0", "-1", "٣", "1 ", str(made.pk) + "0" * 30):
            with pytest.raises(BackupNotFound):
                restore.find(tenant, text)

    def test_one_that_has_no_file(self, tenant, made):
        Backup.objects.update(status=Status.FAILED)
        with pytest.raises(BackupNotFound, match=rf"Backup {made.pk} is failed"):
            restore.find(tenant, str(made.pk))

    def test_the_newest_is_good(self, tenant, made):
        later = backups.create(tenant, COMMAND).backup
        assert restore.newest(tenant).backup == later
        Backup.objects.filter(pk=later.pk).update(damaged_at=later.created_at)
        assert restore.newest(tenant).backup == made
        Backup.objects.update(missing_at=later.created_at)
        with pytest.raises(BackupNotFound, match="no good backup"):
            restore.newest(tenant)

    def test_a_path_without_a_checksum_file_in_the_own_directory(self, tenant, made):
        file = make_database(backups.directory_of(tenant).file("mine"), rows=3)
        plan = restore.verify(restore.find(tenant, str(file)))
        assert (plan.origin, plan.choice.backup) == (restore.Origin.OWN, None)

    def test_identical_backups_of_two_tenants_belong_to_each(self, add_tenant, tmp_path):
        first, second = add_tenant("acme"), add_tenant("globex")
        second.database.write_bytes(first.database.read_bytes())
        made = [backups.create(tenant, COMMAND).backup for tenant in (first, second)]
        assert made[0].sha256 == made[1].sha256
        file = backups.directory_of(first).file(made[0].file_name)
        for tenant in (first, second):
            plan = restore.verify(restore.find(tenant, str(file)))
            assert plan.origin is restore.Origin.OWN


class TestAdopt:
    def test_only_what_is_ours_and_sound_gets_a_row(self, tenant, made):
        directory = backups.directory_of(tenant)
        at = "20260101T020304Z"
        names = {
            "ours": f"acme-{at}.sqlite3",
            "other tenant's": f"acme2-{at}.sqlite3",
            "without checksum file": f"acme-{at}-2.sqlite3",
            "damaged": f"acme-{at}-3.sqlite3",
            "no date": "acme-20261301T020304Z.sqlite3",
        }
        for name in names.values():
            make_database(directory.file(name))
            if name != names["without checksum file"]:
                directory.checksum_file(name).write_bytes(
                    f"{sqlite.fingerprint(directory.file(name)).sha256}  {name}\n".encode()
                )
        os.truncate(directory.file(names["damaged"]), 4096)
        before = names_in(directory.path)
        requests = {
            names["ours"]: backups.BackupRequest(trigger=Trigger.RESTORE, pinned=True, label="x")
        }
        (adopted, bare), (refused,) = backups.adopt_unknown(tenant, requests)
        assert bare.file_name == names["without checksum file"]
        assert names["damaged"] in refused
        adopted.refresh_from_db()
        assert adopted.file_name == names["ours"]
        assert adopted.created_at == datetime(2026, 1, 1, 2, 3, 4, tzinfo=UTC)
        assert (adopted.trigger, adopted.pinned, adopted.label) == ("restore", True, "x")
        assert adopted.is_good
        assert names_in(directory.path) == before
        assert backups.adopt_unknown(tenant, {})[0] == []

    def test_a_damaged_file_without_a_checksum_file_is_refused(self, tenant, made):
        file = make_database(backups.directory_of(tenant).file("acme-20260101T020304Z.sqlite3"))
        with file.open("r+b") as stream:
            stream.seek(4096)
            stream.write(b"\xff" * 4096)
        adopted, refused = backups.adopt_unknown(tenant)
        assert adopted == []
        assert [text.startswith(f"{file} is not a sound") for text in refused] == [True]

    def test_a_running_row_whose_file_is_published_becomes_complete(self, tenant, made):
        Backup.objects.update(status=Status.RUNNING, size=None, sha256="")
        (recovered,) = backups.recover_running(tenant)
        assert (recovered.status, recovered.sha256) == (Status.COMPLETE, made.sha256)
        assert_true_copy(backups.directory_of(tenant).file(made.file_name))


@pytest.mark.parametrize("tenant_id", ["acme", "a-b", "Ünï", "---"])
def test_a_file_name_gives_its_moment_back(tenant_id):
    at = datetime(2026, 11, 23, 2, 4, 5, tzinfo=UTC)
    names = files.file_names(tenant_id, at)
    for name in (next(names), next(names), next(names)):
        assert files.made_at(tenant_id, name) == at
        assert files.made_at(tenant_id, name + ".sha256") is None
        assert files.made_at(tenant_id, "x" + name) is None
        assert files.made_at("another", name) is None


def test_the_noted_journal_mode_is_never_lost_while_it_is_noted_again(tmp_path, monkeypatch):
    database = tmp_path / "db"
    database.touch()
    note_journal_mode(database, "wal")

    def end(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", end)
    with pytest.raises(KeyboardInterrupt):
        note_journal_mode(database, "wal")
    assert noted_journal_mode(database) == "wal"
    (tmp_path / "..db.journal-mode.partial").touch()  # As if it had been killed there.
    forget_journal_mode(database)
    assert list(tmp_path.iterdir()) == [database]


def test_a_link_to_a_folder_is_discarded_and_not_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "db-wal").symlink_to(tmp_path / "folder")
    BackupDirectory(tmp_path, ".").discard(tmp_path / "db-wal")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_where_there_are_no_links_files_are_moved(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "file").write_bytes(b"content")
    aside = BackupDirectory(tmp_path, "aside")
    aside.make(for_git_to_ignore=False)
    files.take_in(aside, [tmp_path / "file", tmp_path / "not there"])
    assert [path.name for path in aside.path.iterdir()] == ["file"]
    assert not (tmp_path / "file").exists()


def test_a_link_in_the_partials_place_is_not_followed(tmp_path):
    (tmp_path / "victim").write_bytes(b"content")
    (tmp_path / "partial").symlink_to(tmp_path / "victim")
    beside = BackupDirectory(tmp_path, ".")
    with pytest.raises(BackupError):
        files.put_in_place(
            beside,
            tmp_path / "partial",
            tmp_path / "db",
            like=Ownership(os.getuid(), os.getgid(), 0o777),
            instead_of=[],
        )
    assert (tmp_path / "victim").stat().st_mode & 0o777 != 0o777
    assert not Path(tmp_path / "db").exists()


@pytest.mark.skipif(not AS_ROOT, reason="Only root makes files for others.")
def test_what_is_put_in_place_gets_the_owner_group_and_mode_of_what_was_there(tmp_path):
    (tmp_path / "partial").touch()
    files.put_in_place(
        BackupDirectory(tmp_path, "."),
        tmp_path / "partial",
        tmp_path / "db",
        like=Ownership(NOBODY, NOBODY - 1, 0o640),
        instead_of=[],
    )
    facts = (tmp_path / "db").stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (NOBODY, NOBODY - 1, 0o640)


class TestWhose:
    """Another tenant's file is never taken for this tenant's own, wherever it is."""

    @pytest.fixture
    def theirs(self, tenant, add_tenant):
        other = add_tenant("globex")
        backups.create(tenant, backups.BackupRequest(trigger=Trigger.COMMAND))
        made = backups.create(other, backups.BackupRequest(trigger=Trigger.COMMAND)).backup
        return backups.directory_of(other).file(made.file_name)

    @pytest.mark.parametrize("name", ["globex.sqlite3", "acme-20200101T000000Z.sqlite3"])
    def test_in_this_tenants_own_folder(self, tenant, theirs, name):
        copy = backups.directory_of(tenant).path / name
        shutil.copy(theirs, copy)
        plan = restore.verify(restore.find(tenant, str(copy)))
        assert (plan.origin, plan.other) == (restore.Origin.OTHER, "globex")

    def test_adopted_before_it_was_known_whose_it_is(self, tenant, theirs):
        copy = backups.directory_of(tenant).path / "acme-20200101T000000Z.sqlite3"
        shutil.copy(theirs, copy)
        known = list(Backup.objects.filter(tenant_id="globex"))
        Backup.objects.filter(tenant_id="globex").delete()
        assert len(backups.sync(tenant).adopted) == 1
        Backup.objects.bulk_create(known)
        plan = restore.verify(restore.find(tenant, copy.name))
        assert (plan.origin, plan.other) == (restore.Origin.OTHER, "globex")

    def test_the_newest_that_was_found_on_disk_may_be_a_safety_copy(self, tenant, theirs):
        Backup.objects.filter(tenant_id="acme").delete()
        backups.directory_of(tenant).file("index.json").unlink()
        backups.sync(tenant)
        with pytest.raises(BackupNotFound, match="may be the safety copy"):
            restore.newest(tenant)

    def test_one_that_is_found_right_again_is_good_again(self, tenant, theirs):
        Backup.objects.filter(tenant_id="acme").update(damaged_at=datetime.now(UTC))
        restore.verify(restore.find(tenant, str(Backup.objects.get(tenant_id="acme").pk)))
        assert Backup.objects.get(tenant_id="acme").is_good
