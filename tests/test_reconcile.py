"""The folder describes itself, and a catalog that is of an earlier time learns from it."""

import errno
import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.db.transaction import atomic, set_rollback
from django.utils import timezone

from tenant_backup import backups, lock, sqlite
from tenant_backup.backups import folder, index
from tenant_backup.exceptions import DeadlineExceeded, NotEnoughSpace
from tenant_backup.files import BackupDirectory
from tenant_backup.models import Backup, BackupSettings, Event, Status, TenantState, Trigger
from tenant_backup.restore import manual
from tests.conftest import names_in
from tests.test_verify import flip_a_bit

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)
LABELLED = backups.BackupRequest(trigger=Trigger.AUTOMATIC, label="before the fair")


@pytest.fixture
def directory(tenant):
    return backups.directory_of(tenant)


@pytest.fixture
def made(tenant):
    """Three backups, the oldest first."""
    return [backups.create(tenant, request).backup for request in (LABELLED, COMMAND, COMMAND)]


def content(directory):
    return json.loads(directory.file("index.json").read_bytes())


def assert_in_line(tenant):
    """The index says what the catalog says, and has its revision."""
    said = content(backups.directory_of(tenant))
    rows = Backup.objects.for_tenant(tenant.id).complete()
    keys = ("file", "sha256", "size", "trigger", "label", "pinned")
    assert sorted(tuple(entry[key] for key in keys) for entry in said["backups"]) == sorted(
        rows.values_list("file_name", "sha256", "size", "trigger", "label", "pinned")
    )
    assert said["tenant"] == tenant.id
    assert said["revision"] == folder.revision_of(tenant.id)


@contextmanager
def set_back(tenant):
    """What is done meanwhile is forgotten by the catalog, and the folder is as it was left."""
    rows = list(Backup.objects.all())
    events, revision = Event.objects.count(), folder.revision_of(tenant.id)
    yield
    Backup.objects.all().delete()
    Backup.objects.bulk_create(rows)
    Event.objects.filter(pk__in=Event.objects.order_by("pk")[events:].values("pk")).delete()
    TenantState.objects.filter(tenant_id=tenant.id).update(revision=revision)


def lose_catalog():
    for model in (Backup, TenantState, Event):
        model.objects.all().delete()


def forge(directory, **changes):
    """Change the index as somebody could who may write to the folder."""
    said = content(directory)
    for name, value in changes.items():
        for place in said["backups"] if name.startswith("entry_") else [said]:
            place[name.removeprefix("entry_")] = value
    directory.file("index.json").write_text(json.dumps(said))


class TestDescribe:
    def test_after_each_operation_it_says_what_the_catalog_says(self, tenant, directory, made):
        assert_in_line(tenant)
        revisions = [content(directory)["revision"]]
        for act in (
            lambda: backups.pin(tenant, made[0], pinned=True),
            lambda: backups.pin(tenant, made[0], pinned=False),
            lambda: backups.delete(tenant, made[1]),
            lambda: backups.create(tenant, COMMAND),
        ):
            act()
            assert_in_line(tenant)
            revisions.append(content(directory)["revision"])
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        backups.prune(tenant)
        assert_in_line(tenant)
        revisions.append(content(directory)["revision"])
        assert revisions == sorted(set(revisions))
        assert len(content(directory)["backups"]) == 1

    def test_once_an_operation(self, tenant, made, monkeypatch):
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        write, written = index.write, []

        def count(directory, tenant_id, revision, rows):
            written.append(revision)
            write(directory, tenant_id, revision, rows)

        monkeypatch.setattr(index, "write", count)
        assert len(backups.create(tenant, COMMAND).pruned) == 3
        assert len(written) == 1
        assert_in_line(tenant)
        backups.sync(tenant)
        assert len(written) == 1, "nothing was changed"

    def test_holds_are_in_it(self, tenant, directory, made):
        until = datetime(2026, 12, 24, tzinfo=UTC)
        Backup.objects.filter(pk=made[0].pk).update(hold_reason="asked for", held_until=until)
        backups.pin(tenant, made[1], pinned=True)
        holds = {entry["file"]: entry["hold"] for entry in content(directory)["backups"]}
        assert holds[made[0].file_name] == {"reason": "asked for", "until": until.isoformat()}
        assert holds[made[1].file_name] is None

    def test_where_there_is_nothing_to_tell_there_is_none(self, tenant, directory):
        directory.make()
        backups.sync(tenant)
        assert not directory.file("index.json").exists()

    def test_that_of_an_earlier_version_of_this_app_is_made(self, tenant, directory, made):
        """There was neither an index nor a revision."""
        directory.file("index.json").unlink()
        TenantState.objects.all().delete()
        backups.sync(tenant)
        assert_in_line(tenant)

    @pytest.mark.parametrize("damage", ["missing", "cut short", "empty", "another tenant's"])
    def test_a_damaged_one_is_written_anew_from_the_catalog(
        self, tenant, directory, made, damage, caplog
    ):
        file = directory.file("index.json")
        if damage == "missing":
            file.unlink()
        elif damage == "another tenant's":
            forge(directory, tenant="acme2", revision=99, entry_pinned=True)
        else:
            os.truncate(file, 0 if damage == "empty" else 50)
        before = list(Backup.objects.order_by("pk").values())
        backups.sync(tenant)
        assert_in_line(tenant)
        assert list(Backup.objects.order_by("pk").values()) == before
        assert not caplog.records

    def test_and_where_the_catalog_is_lost_too_from_the_files(self, tenant, directory, made):
        lose_catalog()
        directory.file("index.json").write_bytes(b"rubbish")
        assert len(backups.sync(tenant).adopted) == 3
        assert set(Backup.objects.values_list("trigger", flat=True)) == {"adopted"}
        assert_in_line(tenant)

    def test_what_keeps_it_from_being_written_keeps_nobody_from_a_backup(
        self, tenant, made, monkeypatch, caplog
    ):
        def fail(self, name, content):
            raise NotEnoughSpace("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(BackupDirectory, "replace", fail)
            assert backups.create(tenant, COMMAND).backup.is_good
            backups.pin(tenant, made[0], pinned=True)
        assert "was not written: the disk is full" in caplog.text
        backups.sync(tenant)
        assert_in_line(tenant)

    def test_it_is_no_backup(self, tenant, directory, made):
        synced = backups.sync(tenant)
        assert (synced.adopted, synced.refused) == ([], [])
        assert Backup.objects.count() == 3


class TestPin:
    """A pin never waits for the lock, and the index tells of it all the same."""

    def test_the_holder_of_the_lock_writes_it(self, tenant, directory, made):
        with backups.tenant_lock(tenant, wait=0):
            backups.pin(tenant, made[0], pinned=True)
            assert Backup.objects.get(pk=made[0].pk).pinned
            assert not content(directory)["backups"][0]["pinned"]
        assert_in_line(tenant)
        assert content(directory)["backups"][0]["pinned"], "what is kept comes first"

    def test_even_one_that_comes_when_it_was_just_written(self, tenant, made, monkeypatch):
        describe = folder.Folder.describe

        def pin_afterwards(self):
            describe(self)
            monkeypatch.setattr(folder.Folder, "describe", describe)
            backups.pin(tenant, made[0], pinned=True)  # the lock is still held

        monkeypatch.setattr(folder.Folder, "describe", pin_afterwards)
        with backups.tenant_lock(tenant, wait=0):
            pass
        assert_in_line(tenant)
        assert Backup.objects.get(pk=made[0].pk).pinned

    def test_even_where_the_holder_fails(self, tenant, made, monkeypatch):
        describe = folder.Folder.describe

        def pin_afterwards(self):
            describe(self)
            monkeypatch.setattr(folder.Folder, "describe", describe)
            backups.pin(tenant, made[0], pinned=True)

        monkeypatch.setattr(folder.Folder, "describe", pin_afterwards)
        with pytest.raises(DeadlineExceeded):
            backups.create(tenant, COMMAND, limits=backups.Limits(deadline=0))
        assert_in_line(tenant)

    def test_while_another_process_holds_the_lock_it_does_not_wait(self, tenant, directory, made):
        with lock.hold(directory, wait=0):
            backups.pin(tenant, made[0], pinned=True)
        # That one did not know of the index. Whoever comes next writes it.
        backups.sync(tenant)
        assert_in_line(tenant)

    @pytest.mark.parametrize("is_rolled_back", [True, False])
    def test_inside_a_transaction_it_is_told_when_that_is_over(
        self, tenant, directory, made, is_rolled_back
    ):
        before = content(directory)
        with atomic():
            backups.pin(tenant, made[0], pinned=True)
            assert content(directory) == before
            set_rollback(is_rolled_back)
        assert_in_line(tenant)
        assert (content(directory) == before) == is_rolled_back

    def test_where_the_folder_is_out_of_reach_it_is_in_the_catalog(self, tenant, directory, made):
        directory.path.rename(directory.path.with_name("unmounted"))
        backups.pin(tenant, made[0], pinned=True)
        assert Backup.objects.get(pk=made[0].pk).pinned
        assert not directory.path.exists()
        directory.path.with_name("unmounted").rename(directory.path)
        backups.sync(tenant)
        assert_in_line(tenant)


class TestSetBack:
    def test_a_pin_of_later_survives_the_next_pruning(self, tenant, directory, made):
        with set_back(tenant):
            backups.pin(tenant, made[0], pinned=True)
        assert not Backup.objects.filter(pinned=True).exists()
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        backups.create(tenant, COMMAND)
        kept = Backup.objects.get(pinned=True)
        assert kept.file_name == made[0].file_name
        assert directory.file(kept.file_name).exists()
        assert Backup.objects.count() == 2
        assert_in_line(tenant)
        event = Event.objects.get(kind="pinned")
        assert event.file_name == kept.file_name
        assert "list in the backup folder" in event.detail

    @pytest.mark.parametrize("act", ["prune", "delete", "pin", "unpin", "sync"])
    def test_whoever_changes_something_learns_it_first(self, tenant, made, act):
        """A pin counts up the revision, so that one step back would not be seen after it."""
        with set_back(tenant):
            backups.pin(tenant, made[0], pinned=True)
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        {
            "prune": lambda: backups.prune(tenant),
            "delete": lambda: backups.delete(tenant, made[1]),
            "pin": lambda: backups.pin(tenant, made[1], pinned=True),
            "unpin": lambda: backups.pin(tenant, made[1], pinned=False),
            "sync": lambda: backups.sync(tenant),
        }[act]()
        assert Backup.objects.get(pk=made[0].pk).pinned
        assert_in_line(tenant)

    def test_deleting_rows_without_files_does_not_hide_it(self, tenant, made):
        """Nobody holds the lock then, so nobody looks at the index."""
        failed = [
            Backup.objects.create(
                tenant_id=tenant.id, status=Status.FAILED, trigger=Trigger.AUTOMATIC
            )
            for _ in range(3)
        ]
        with set_back(tenant):
            backups.pin(tenant, made[0], pinned=True)
        for backup in failed:
            backups.delete(tenant, backup)
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        backups.create(tenant, COMMAND)
        assert Backup.objects.get(pk=made[0].pk).pinned
        assert_in_line(tenant)

    @pytest.mark.parametrize("while_locked", [True, False])
    def test_a_pin_that_does_not_wait_for_the_lock_does_not_hide_it(
        self, tenant, directory, made, while_locked
    ):
        with set_back(tenant):
            backups.pin(tenant, made[0], pinned=True)
        with lock.hold(directory, wait=0) if while_locked else atomic():
            backups.pin(tenant, made[1], pinned=True)
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        backups.create(tenant, COMMAND)
        pinned = Backup.objects.filter(pinned=True).order_by("pk")
        assert list(pinned) == made[:2]
        assert_in_line(tenant)

    def test_holds_are_added_and_the_longer_one_counts(self, tenant, made):
        soon, later = (timezone.now() + timedelta(days=days) for days in (5, 50))
        # In the index; in the catalog afterwards; what counts.
        cases = [
            (("x", later), ("", None), ("x", later)),
            (("x", later), ("y", soon), ("x", later)),
            (("x", soon), ("y", later), ("y", later)),
            (("x", None), ("y", later), ("x", None)),
            (("x", later), ("y", None), ("y", None)),
            (("x", timezone.now() - timedelta(days=1)), ("", None), ("", None)),
            (("", None), ("y", soon), ("y", soon)),
        ]
        row = Backup.objects.filter(pk=made[0].pk)
        for known, catalog, expected in cases:
            with set_back(tenant):
                row.update(hold_reason=known[0], held_until=known[1])
                backups.pin(tenant, made[2], pinned=True)
            row.update(hold_reason=catalog[0], held_until=catalog[1])
            backups.sync(tenant)
            assert row.values_list("hold_reason", "held_until").get() == expected

    def test_what_was_deleted_since_is_gone_and_not_missing(self, tenant, made):
        with set_back(tenant):
            backups.delete(tenant, made[0])
        synced = backups.sync(tenant)
        assert synced.missing == []
        assert [row.file_name for row in synced.forgotten] == [made[0].file_name]
        assert set(Backup.objects.all()) == set(made[1:])
        event = Event.objects.get(kind="deleted")
        assert event.file_name == made[0].file_name
        assert "before the list of backups was set back" in event.detail
        assert_in_line(tenant)

    def test_what_disappeared_since_is_missing(self, tenant, directory, made):
        """Its line is in the index, or the index had no room for all, or it is to be kept."""
        with set_back(tenant):
            backups.pin(tenant, made[2], pinned=True)
        directory.file(made[0].file_name).unlink()
        assert backups.sync(tenant).missing == [made[0]]

        with set_back(tenant):
            backups.pin(tenant, made[2], pinned=False)
        said = content(directory)
        said["backups"] = [one for one in said["backups"] if one["file"] == made[2].file_name]
        directory.file("index.json").write_text(json.dumps({**said, "is_whole": False}))
        directory.file(made[1].file_name).unlink()
        assert backups.sync(tenant).missing == [made[1]]

        with set_back(tenant):
            backups.pin(tenant, made[2], pinned=True)
        Backup.objects.filter(pk=made[2].pk).update(pinned=True)
        forge(directory, backups=[])
        directory.file(made[2].file_name).unlink()
        assert backups.sync(tenant).missing == [made[2]]
        assert Backup.objects.filter(pk=made[2].pk).exists()

    def test_a_lost_catalog_gets_everything_back(self, tenant, directory, made):
        until = timezone.now() + timedelta(days=9)
        Backup.objects.filter(pk=made[1].pk).update(hold_reason="fetched", held_until=until)
        backups.pin(tenant, made[0], pinned=True)
        fields = ("file_name", "size", "sha256", "created_at", "trigger", "label", "pinned")
        rows = Backup.objects.order_by("pk").values(*fields, "hold_reason", "held_until")
        before = list(rows.all())
        revision = content(directory)["revision"]
        lose_catalog()
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=2)
        newest = backups.create(tenant, COMMAND).backup
        # What it gets back was made before, so that retention knows what it may remove.
        known = {row["file_name"]: row for row in rows.all()}
        kept = [row for row in before if row["file_name"] in known]
        assert [known[row["file_name"]] for row in kept] == kept
        assert before[0] in kept
        assert newest.file_name in known
        assert content(directory)["revision"] > revision
        assert_in_line(tenant)
        assert names_in(directory.path) == sorted([*known, *(f"{name}.sha256" for name in known)])
        events = Event.objects.filter(kind="adopted")
        assert {event.file_name for event in events} == {row["file_name"] for row in before}

    def test_syncbackups_says_so(self, tenant, made, capsys):
        from django.core.management import call_command

        with set_back(tenant):
            backups.pin(tenant, made[0], pinned=True)
            backups.delete(tenant, made[1])
        call_command("syncbackups")
        said = capsys.readouterr().out
        assert f"acme: protected: {made[0].file_name}\n" in said
        assert f"acme: forgotten: {made[1].file_name}\n" in said

    def test_one_row_that_is_gone_comes_back_whatever_the_revisions(self, tenant, made):
        Backup.objects.filter(pk=made[0].pk).delete()
        synced = backups.sync(tenant)
        [back] = synced.adopted
        assert (back.trigger, back.label) == ("automatic", "before the fair")
        assert back.created_at == made[0].created_at
        assert back.is_good
        assert_in_line(tenant)


class TestUntrusted:
    """Whoever may write to the folder may write the index."""

    def test_it_takes_no_protection_away(self, tenant, directory, made):
        Backup.objects.filter(pk=made[0].pk).update(pinned=True, hold_reason="asked for")
        forge(directory, revision=10**6, entry_pinned=False, entry_trigger="automatic")
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        Backup.objects.filter(pk=made[1].pk).update(trigger="manual")
        backups.create(tenant, COMMAND)
        row = Backup.objects.get(pk=made[0].pk)
        assert (row.pinned, row.hold_reason) == (True, "asked for")
        assert Backup.objects.get(pk=made[1].pk).trigger == "manual"
        assert folder.revision_of(tenant.id) > 10**6
        assert_in_line(tenant)

    @pytest.mark.parametrize("what", ["sha256", "size", "file"])
    def test_what_does_not_match_protects_nothing(self, tenant, directory, made, what):
        value = {"sha256": "00" * 32, "size": 4096}.get(what)
        changes = {f"entry_{what}": value} if value else {}
        forge(directory, revision=10**6, entry_pinned=True, **changes)
        if what == "file":
            for backup in made:
                os.truncate(directory.file(backup.file_name), 4096)
        backups.sync(tenant)
        assert not Backup.objects.filter(pinned=True).exists()

    @pytest.mark.parametrize("how", ["damaged_at", "missing_at"])
    def test_it_makes_nothing_good(self, tenant, directory, made, how):
        flip_a_bit(directory.file(made[0].file_name))
        Backup.objects.filter(pk=made[0].pk).update(**{how: timezone.now()})
        forge(directory, revision=10**6, entry_pinned=True)
        with backups.tenant_lock(tenant, wait=0):
            pass
        assert not Backup.objects.get(pk=made[0].pk).is_good

    @pytest.mark.parametrize("matches_checksum_file", [True, False])
    def test_a_damaged_file_gets_no_row_by_it(self, tenant, directory, made, matches_checksum_file):
        file = directory.file(made[0].file_name)
        with file.open("r+b") as stream:
            stream.seek(4096)
            stream.write(b"\xff" * 4096)
        sha256 = sqlite.fingerprint(file).sha256
        if matches_checksum_file:
            directory.renew_checksum_file(file.name, sha256)
        said = content(directory)
        for entry in said["backups"]:
            if entry["file"] == file.name:
                entry["sha256"] = sha256
        lose_catalog()
        directory.file("index.json").write_text(json.dumps(said))
        synced = backups.sync(tenant)
        assert file.name not in {row.file_name for row in synced.adopted}
        [reason] = synced.refused
        assert str(file) in reason

    def test_it_makes_no_file_newer_or_older_than_its_name(self, tenant, directory, made):
        times = dict(Backup.objects.values_list("file_name", "created_at"))
        lose_catalog()
        forge(directory, entry_created_at="2031-01-01T00:00:00Z")
        backups.sync(tenant)
        for name, at in Backup.objects.values_list("file_name", "created_at"):
            assert at.replace(microsecond=0) == times[name].replace(microsecond=0)

    def test_a_file_that_it_describes_wrongly_is_adopted_as_any_other(
        self, tenant, directory, made
    ):
        lose_catalog()
        forge(directory, entry_sha256="00" * 32, entry_pinned=True)
        backups.create(tenant, COMMAND)
        assert Backup.objects.count() == 1, "a backup adopts nothing that nobody vouches for"
        assert {row.trigger for row in backups.sync(tenant).adopted} == {"adopted"}
        assert not Backup.objects.filter(pinned=True).exists()

    def test_another_tenants_file_gets_no_row_by_it(self, tenant, directory, made, add_tenant):
        other = add_tenant("globex")
        theirs = backups.create(other, COMMAND).backup
        copy = directory.file("acme-20260101T000000Z.sqlite3")
        shutil.copy(backups.directory_of(other).file(theirs.file_name), copy)
        said = content(directory)
        entry = {**said["backups"][0], "file": copy.name, "sha256": theirs.sha256}
        said["backups"].append({**entry, "size": theirs.size})
        directory.file("index.json").write_text(json.dumps(said))
        synced = backups.sync(tenant)
        assert synced.adopted == []
        assert synced.refused == [f"{copy} is a backup of tenant 'globex'."]

    @pytest.mark.parametrize("name", ["db.sqlite3", "acme2-20260101T000000Z.sqlite3", ".lock"])
    def test_a_file_that_has_no_backups_name_gets_no_row_by_it(self, tenant, directory, made, name):
        if name != ".lock":
            shutil.copy(directory.file(made[0].file_name), directory.file(name))
        said = content(directory)
        said["backups"].append({**said["backups"][0], "file": name})
        directory.file("index.json").write_text(json.dumps(said))
        backups.sync(tenant)
        assert Backup.objects.count() == 3

    def test_a_forged_revision_does_not_use_up_the_numbers(self, tenant, directory, made):
        forge(directory, revision=2**63 - 1, entry_pinned=True)
        backups.create(tenant, COMMAND)
        assert folder.revision_of(tenant.id) < 100
        assert not Backup.objects.filter(pinned=True).exists()
        assert_in_line(tenant)

    def test_while_it_cannot_be_read_nothing_is_pruned_and_it_is_left(
        self, tenant, directory, made, monkeypatch
    ):
        before = content(directory)
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        really_open = os.open

        def fail(path, *arguments, **options):
            if str(path).endswith("index.json"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return really_open(path, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", fail)
            done = backups.create(tenant, COMMAND)
            assert done.backup.is_good
            assert done.pruned == []
            assert "index.json cannot be read: Input/output error" in done.prune_error
        assert Backup.objects.count() == 4
        assert content(directory) == before
        assert len(backups.prune(tenant)) == 3
        assert_in_line(tenant)


# As its operator sees it: real processes, and real crashes


def lose_control_database(host):
    for path in host.directory.glob("control.sqlite3*"):
        path.unlink()
    assert host.run("migrate", "--verbosity", "0").returncode == 0


def test_with_the_control_database_lost_pins_labels_and_triggers_survive(host):
    root = host.add_tenant()
    for options in (["--pin", "--label", "the first"], [], []):
        assert host.run("runbackup", *options).returncode == 0
    kept = ("file", "sha256", "bytes", "created_at", "trigger", "label", "pinned")
    before = [[row[key] for key in kept] for row in host.catalog()]
    lose_control_database(host)
    run = host.run("syncbackups")
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("adopted: ") == 3
    assert [[row[key] for key in kept] for row in host.catalog()] == before
    host.query("UPDATE tenant_backup_backupsettings SET keep_last = 1")
    assert host.run("runbackup").returncode == 0
    assert [row["label"] for row in host.catalog()] == ["", "the first"]
    assert len(names_in(root / "backups")) == 4


@pytest.mark.parametrize("death", ["index.write = die", "folder.Folder.describe = die"])
def test_killed_before_the_index_is_written_the_next_one_writes_it(host, death):
    root = host.add_tenant()
    assert host.run("runbackup").returncode == 0
    before = (root / "backups" / "index.json").read_bytes()
    host.assert_killed(
        host.start(
            f"from tenant_backup.backups import index, folder\n{death}\ncommand('runbackup')"
        )
    )
    assert [row["status"] for row in host.catalog()] == ["complete", "complete"]
    assert (root / "backups" / "index.json").read_bytes() == before
    assert host.run("syncbackups").returncode == 0
    said = json.loads((root / "backups" / "index.json").read_bytes())
    assert [entry["file"] for entry in said["backups"]] == [row["file"] for row in host.catalog()]


def test_killed_while_the_index_is_written_nothing_is_left(host):
    root = host.add_tenant()
    host.assert_killed(
        host.start(
            "from pathlib import Path\n"
            "replace = Path.replace\n"
            "Path.replace = lambda path, to: die() if 'index' in path.name else replace(path, to)\n"
            "command('runbackup')"
        )
    )
    assert (root / "backups" / ".index.json.partial").exists()
    assert host.run("syncbackups").returncode == 0
    file = host.catalog()[0]["file"]
    assert sorted(path.name for path in (root / "backups").iterdir()) == [
        ".gitignore",
        ".lock",
        file,
        f"{file}.sha256",
        "index.json",
    ]


@pytest.mark.parametrize(
    ("mode", "then"), [("wal", ["syncbackups"]), ("delete", [])], ids=["wal, synced", "at once"]
)
def test_a_pin_survives_a_restore_by_hand_of_the_database_that_holds_the_catalog(host, mode, then):
    """The printed commands set the catalog back: it does not know of the pin."""
    host.environment |= {
        "TEST_PROVIDER": "tenant_backup.tenants.SingleTenant",
        "TEST_JOURNAL_MODE": mode,
    }
    database = host.directory / "control.sqlite3"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    for _ in range(3):
        assert host.run("runbackup").returncode == 0
    newest, pinned, _oldest = host.catalog()
    code = (
        "from tenant_backup import backups, models, tenants\n"
        "[tenant] = tenants.get_provider().all_tenants()\n"
        f"backups.pin(tenant, models.Backup.objects.get(pk={pinned['id']}), pinned=True)"
    )
    process = host.start(code)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    file = host.directory / "backups" / newest["file"]
    restored = subprocess.run(
        ["sh"],
        input=manual.commands(database, file, newest["sha256"], tenant_id="default"),
        cwd=host.directory,
        capture_output=True,
        text=True,
    )
    assert restored.returncode == 0, restored.stderr
    assert not any(row["pinned"] for row in host.catalog())

    host.query("UPDATE tenant_backup_backupsettings SET keep_last = 1")
    for command in (*then, "runbackup"):
        run = host.run(command)
        assert run.returncode == 0, run.stderr
    rows = host.catalog()
    assert [(row["file"], row["pinned"]) for row in rows[1:]] == [(pinned["file"], True)]
    assert (host.directory / "backups" / pinned["file"]).exists()
    assert {row["status"] for row in rows} == {"complete"}
