"""The numbers of rows that are kept with each backup, whatever made it."""

import sqlite3
import time
from contextlib import closing
from datetime import timedelta

import pytest
from django.utils import timezone

from tenant_backup import backups, sqlite
from tenant_backup.backups import counting, outcomes
from tenant_backup.exceptions import BackupError, DatabaseDamaged
from tenant_backup.files import BackupDirectory
from tenant_backup.models import Backup, BackupSettings, RowCounts, Status, Trigger
from tenant_backup.rows import counts
from tests.conftest import make_database
from tests.test_reconcile import COMMAND, lose_catalog

pytestmark = pytest.mark.django_db(transaction=True)

CREDITS = {"credits": 100, "debits": 100}


def change(path, *statements):
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def migrated(path, *names):
    change(
        path,
        "CREATE TABLE IF NOT EXISTS django_migrations "
        "(id INTEGER PRIMARY KEY, app TEXT, name TEXT, applied TEXT)",
        *(
            f"INSERT INTO django_migrations (app, name, applied) VALUES ('crm', '{name}', 'now')"
            for name in names
        ),
    )


class TestCounting:
    def test_tables_and_migrations(self, tmp_path):
        path = make_database(tmp_path / "db.sqlite3", rows=7)
        without = sqlite.count(path)
        assert without.tables == {"credits": 7, "debits": 7}
        migrated(path, "0001", "0002")
        first = sqlite.count(path)
        assert first.tables == {"credits": 7, "debits": 7, "django_migrations": 2}
        assert first == sqlite.count(path)
        migrated(path, "0003")
        digests = {without.migrations, first.migrations, sqlite.count(path).migrations}
        assert len(digests) == 3
        assert "" not in digests

    def test_migrations_that_cannot_be_read_are_unknown(self, tmp_path):
        path = make_database(tmp_path / "db.sqlite3")
        change(path, "CREATE TABLE django_migrations (other)")
        assert sqlite.count(path).migrations == ""

    @pytest.mark.parametrize("module", ["fts5(body)", "fts4(body)", "rtree(id, low, high)"])
    def test_a_virtual_table_is_not_counted_and_what_it_consists_of_is_left_out(
        self, tmp_path, module
    ):
        path = make_database(tmp_path / "db.sqlite3", rows=1)
        change(
            path,
            f"CREATE VIRTUAL TABLE found USING {module}",
            "CREATE TABLE found_by (x)",  # the host's own, though its name begins like theirs
        )
        assert sqlite.count(path).tables == {
            "credits": 1,
            "debits": 1,
            "found": None,
            "found_by": 0,
        }

    def test_what_is_not_counted_by_the_deadline_is_none(self, tmp_path):
        path = make_database(tmp_path / "db.sqlite3", rows=1)
        assert counting.count(path, deadline=time.monotonic() - 1).tables == {
            "credits": None,
            "debits": None,
        }

    def test_a_file_that_cannot_be_read_has_none(self, tmp_path, caplog):
        path = tmp_path / "db.sqlite3"
        path.write_bytes(b"This is no database. " * 100)
        assert counting.count(path) is None
        assert f"The rows of {path} were not counted" in caplog.text


class TestKept:
    def test_with_a_backup_in_the_moment_in_which_it_is_complete(self, tenant, monkeypatch):
        seen = []
        publish = BackupDirectory.publish

        def look(self, *arguments):
            [row] = RowCounts.objects.select_related("backup")
            seen.append((row.backup.status, row.tables, row.looked_at))
            publish(self, *arguments)

        monkeypatch.setattr(BackupDirectory, "publish", look)
        migrated(tenant.database, "0001")
        backup = backups.create(tenant, COMMAND).backup
        assert seen == [(Status.RUNNING, {**CREDITS, "django_migrations": 1}, None)]
        kept = RowCounts.objects.get(backup=backup)
        assert kept.migrations == sqlite.count(tenant.database).migrations
        assert kept.looked_at, "somebody has looked before pruning"

    def test_with_what_a_worker_makes(self, tenant):
        queued = backups.request(tenant, COMMAND)
        assert not RowCounts.objects.exists()
        backups.perform(tenant, queued.pk)
        assert RowCounts.objects.get(backup=queued).tables == CREDITS

    def test_with_a_safety_copy(self, tenant):
        backups.directory_of(tenant).make()
        with backups.tenant_lock(tenant, wait=0) as ended:
            backup = backups.make_from(
                lambda: sqlite.snapshot(tenant.database, busy_timeout=1),
                tenant,
                backups.BackupRequest(trigger=Trigger.RESTORE),
                ended,
            )
        assert RowCounts.objects.get(backup=backup).tables == CREDITS

    def test_with_what_is_adopted(self, tenant):
        backups.create(tenant, COMMAND)
        lose_catalog()
        [adopted] = backups.sync(tenant).adopted
        assert RowCounts.objects.get(backup=adopted).tables == CREDITS
        # Without the index, the same.
        lose_catalog()
        backups.directory_of(tenant).file("index.json").unlink()
        [adopted] = backups.sync(tenant).adopted
        assert RowCounts.objects.get(backup=adopted).tables == CREDITS

    def test_with_one_that_a_crash_left_running(self, tenant, monkeypatch):
        monkeypatch.setattr(backups.copying, "complete", interrupted)
        monkeypatch.setattr(backups.copying, "finalise", lambda *arguments: False)
        with pytest.raises(KeyboardInterrupt):
            backups.create(tenant, COMMAND)
        monkeypatch.undo()
        backups.recover(tenant)
        backup = Backup.objects.get()
        assert backup.status == Status.COMPLETE
        assert RowCounts.objects.get(backup=backup).tables == CREDITS

    def test_nothing_with_one_that_failed(self, tenant, monkeypatch):
        monkeypatch.setattr(BackupDirectory, "publish", failing(BackupError("The disk is gone.")))
        with pytest.raises(BackupError, match="The disk is gone"):
            backups.create(tenant, COMMAND)
        assert Backup.objects.get().status == Status.FAILED
        assert not RowCounts.objects.exists()

    def test_a_count_that_fails_fails_no_backup(self, tenant, monkeypatch, caplog):
        for error in (DatabaseDamaged("odd"), RuntimeError("odder")):
            monkeypatch.setattr(sqlite, "count", failing(error))
            assert backups.create(tenant, COMMAND).backup.status == Status.COMPLETE
            assert str(error) in caplog.text
        assert not RowCounts.objects.exists()

    def test_a_count_that_takes_too_long_fails_no_backup(self, tenant, monkeypatch):
        monkeypatch.setattr(counting, "SECONDS", -1)
        backups.create(tenant, COMMAND)
        assert RowCounts.objects.get().tables == dict.fromkeys(CREDITS)

    def test_both_or_neither_is_noted(self, tenant, monkeypatch):
        """A row whose copy is recorded has its numbers, so recovery need not count."""
        monkeypatch.setattr(outcomes.counting, "keep", failing(RuntimeError("no")))
        with pytest.raises(BackupError):
            backups.create(tenant, COMMAND)
        assert Backup.objects.get().status == Status.FAILED

    def test_they_outlive_the_backup_for_five_weeks(self, tenant):
        """What was usual does not depend on retention."""
        backup = backups.create(tenant, COMMAND).backup
        backups.delete(tenant, backup)
        kept = RowCounts.objects.get()
        assert (kept.backup, kept.tenant_id, kept.tables) == (None, "acme", CREDITS)
        backups.create(tenant, COMMAND)
        assert RowCounts.objects.count() == 2
        RowCounts.objects.filter(pk=kept.pk).update(created_at=timezone.now() - timedelta(days=36))
        backups.create(tenant, COMMAND)
        assert RowCounts.objects.filter(backup=None).count() == 0


class TestOfPrunedBackups:
    def test_the_least_of_each_day_is_kept(self):
        at = timezone.now().replace(hour=0, minute=5)
        for hours, tables in [
            (0, {"a": 5, "b": None, "c": 7}),
            (3, {"a": 0, "b": 4}),
            (23, {"a": 9, "b": 3, "c": None}),
            (24, {"a": 8}),
            (-1, {"a": 6}),
        ]:
            RowCounts.objects.create(
                tenant_id="acme", created_at=at + timedelta(hours=hours), tables=tables
            )
        RowCounts.objects.create(tenant_id="globex", created_at=at, tables={})
        for _ in range(2):
            counts.fold_pruned("acme", since=at)
            theirs = RowCounts.objects.filter(tenant_id="acme").order_by("created_at")
            assert [row.tables for row in theirs] == [{"a": 0, "b": 3, "c": 7}, {"a": 8}]
        assert RowCounts.objects.filter(tenant_id="globex").exists()

    def test_what_was_counted_while_rows_were_lost_stays_apart(self):
        at = timezone.now().replace(hour=0, minute=5)
        for hours, number in ((0, 9), (1, 8), (2, 0), (3, 0), (4, 7)):
            RowCounts.objects.create(
                tenant_id="acme", created_at=at + timedelta(hours=hours), tables={"a": number}
            )
        span = (at + timedelta(hours=2), at + timedelta(hours=4))
        counts.fold_pruned("acme", since=at, without=[span])
        rows = RowCounts.objects.order_by("created_at")
        assert [row.tables["a"] for row in rows] == [7, 0, 0]

    def test_so_few_are_kept_of_hourly_backups(self, tenant):
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        for _ in range(5):
            backups.create(tenant, COMMAND)
        assert Backup.objects.count() == 1
        assert RowCounts.objects.filter(backup=None).count() <= 3  # It may be midnight meanwhile.


class TestHistory:
    def test_the_newest_good_backups_newest_first(self, tenant, django_assert_num_queries):
        for statement in ("DELETE FROM debits WHERE id > 40", "CREATE TABLE more (x)"):
            backups.create(tenant, COMMAND)
            change(tenant.database, statement)
        newest = backups.create(tenant, COMMAND).backup
        with django_assert_num_queries(1):
            found = counts.history(tenant, 2)
        assert [each.tables for each in found] == [
            {"credits": 100, "debits": 40, "more": 0},
            {"credits": 100, "debits": 40},
        ]
        assert found[0].backup == newest
        Backup.objects.filter(pk=newest.pk).update(damaged_at=timezone.now())
        assert newest not in [each.backup for each in counts.history(tenant, 2)]

    def test_one_without_numbers_is_left_out(self, tenant, add_tenant):
        backups.create(tenant, COMMAND)
        RowCounts.objects.all().delete()
        newest = backups.create(tenant, COMMAND).backup
        backups.create(add_tenant("globex"), COMMAND)
        assert [each.backup for each in counts.history(tenant, 5)] == [newest]
        assert counts.kept_with(list(Backup.objects.for_tenant("acme"))) == {newest.pk: CREDITS}


def interrupted(*arguments):
    raise KeyboardInterrupt


def failing(error):
    def fail(*arguments, **options):
        raise error

    return fail
