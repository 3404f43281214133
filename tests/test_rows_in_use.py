"""Bringing rows back while others write, with what only the host has, and after crashes."""

import sqlite3
import threading
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta

import pytest
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, connection, connections, models, transaction
from django.db.backends.signals import connection_created
from django.test.utils import isolate_apps
from django.utils import timezone

from tenant_backup import automation, backups, lock, rows
from tenant_backup.exceptions import BackupError, BackupInProgress, DatabaseLocked, RowConflicts
from tenant_backup.models import Backup, Event, EventKind, Hold, RowRestore, Trigger
from tenant_backup.rows import records, restore, tables, undo
from tenant_backup.signals import rows_restored
from tenant_backup.sqlite import row_writing
from tests.collating.base import INDEXES, in_order, provide
from tests.test_restorerows import DELETE_ALL, ROWS, SINCE, everything, make_shop, rows_of, script

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)
State = RowRestore.State


class Killed(BaseException):
    """Ends a process at this point, as far as the process can see that itself."""


@pytest.fixture
def tenant(add_tenant):
    tenant = add_tenant(database=False)
    make_shop(tenant.database)
    return tenant


@pytest.fixture
def source(tenant):
    """A backup, since which all contracts were deleted."""
    backup = backups.create(tenant, COMMAND).backup
    script(tenant.database, DELETE_ALL)
    return backup


def wanted(*tables, **options):
    return rows.Wanted(tables=tables or ("shop_contract",), **{"with_related": True} | options)


def bring_back(tenant, source, *tables, **options):
    with rows.planned(tenant, source, wanted(*tables, **options)) as plan:
        return rows.perform(plan, actor="ada")


def take_back(tenant, number):
    with rows.undoing(tenant, number) as found:
        rows.take_back(found, actor="bob")


@pytest.fixture
def announced():
    """What the host hears of rows that are back."""
    heard = []

    def hear(sender, tenant, tables, keys, **kwargs):
        assert sender is Backup
        # The lock is free again, so that a receiver may ask for a backup.
        with lock.hold(backups.directory_of(tenant), wait=0):
            heard.append((tenant.id, tables, keys))

    rows_restored.connect(hear)
    yield heard
    rows_restored.disconnect(hear)


@contextmanager
def in_between(monkeypatch, happen):
    """Between the plan and the transaction something happens, once."""
    steps = iter([happen])

    def write(*arguments, **options):
        for step in steps:
            step()
        row_writing.write(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(restore, "write", write)
        yield


class TestMeanwhile:
    def test_somebody_takes_a_key(self, tenant, source, monkeypatch):
        sql = "INSERT INTO shop_contract VALUES (4, 'new', 'meanwhile')"
        happen = in_between(monkeypatch, lambda: script(tenant.database, sql))
        with happen, pytest.raises(RowConflicts) as refused:
            bring_back(tenant, source)
        assert "shop_contract 4: there is a row with this key now." in str(refused.value)
        assert "They have been changed meanwhile." in str(refused.value)
        assert set(rows_of(tenant.database)) == {4}
        assert not RowRestore.objects.exists()
        safety_copy = Backup.objects.newest_first()[0]
        assert safety_copy.trigger == Trigger.RESTORE
        assert f"The backup {safety_copy.file_name} was made before." in str(refused.value)

    def test_what_was_taken_is_skipped_with_what_needs_it(self, tenant, source, monkeypatch):
        sql = "INSERT INTO shop_contract VALUES (900, 'C-4', 'meanwhile')"
        with in_between(monkeypatch, lambda: script(tenant.database, sql)):
            done = bring_back(tenant, source, skip_conflicts=True)
        assert done.tables["shop_contract"] == {"restored": ROWS - 1, "updated": 0, "skipped": 1}
        assert done.tables["shop_ticket"]["skipped"] == 2
        assert done.tables["shop_device"]["skipped"] == 1
        before = everything(tenant.database)
        take_back(tenant, done.record.pk)
        assert everything(tenant.database) != before
        assert set(rows_of(tenant.database)) == {900}

    @pytest.mark.parametrize("skip", [False, True])
    def test_a_reference_is_filled_by_somebody_else(self, tenant, source, monkeypatch, skip):
        sql = f"{SINCE} UPDATE shop_device SET contract_id = 1000 WHERE id = 3"
        with in_between(monkeypatch, lambda: script(tenant.database, sql)), ExitStack() as stack:
            if not skip:
                stack.enter_context(pytest.raises(RowConflicts, match="shop_device 3: it has"))
            bring_back(tenant, source, skip_conflicts=skip)
        assert rows_of(tenant.database, "shop_device")[3][2] == 1000
        assert len(rows_of(tenant.database)) == (ROWS + 1 if skip else 1)

    def test_a_changed_row_is_changed_again(self, tenant, monkeypatch):
        source = backups.create(tenant, COMMAND).backup
        script(tenant.database, "UPDATE shop_contract SET body = 'x' WHERE id IN (1, 2)")
        sql = "UPDATE shop_contract SET body = 'y' WHERE id = 2"
        options = {"gone": False, "changed": True}
        refused = pytest.raises(RowConflicts, match="shop_contract 2: it has been changed")
        with in_between(monkeypatch, lambda: script(tenant.database, sql)), refused:
            bring_back(tenant, source, **options)
        with in_between(monkeypatch, lambda: script(tenant.database, sql.replace("'y'", "'z'"))):
            bring_back(tenant, source, **options, skip_conflicts=True)
        assert rows_of(tenant.database)[1] == (1, "C-1", "text of 1")
        assert rows_of(tenant.database)[2] == (2, "C-2", "z")

    def test_a_parent_goes(self, tenant, monkeypatch):
        source = backups.create(tenant, COMMAND).backup
        script(tenant.database, "DELETE FROM shop_ticket WHERE contract_id IN (5, 6)")
        sql = (
            "UPDATE shop_device SET contract_id = NULL WHERE contract_id = 6;"
            "DELETE FROM shop_contract WHERE id = 6"
        )
        refused = pytest.raises(RowConflicts, match="needs shop_contract 6, which is gone")
        with in_between(monkeypatch, lambda: script(tenant.database, sql)), refused:
            bring_back(tenant, source, "shop_ticket")
        done = bring_back(tenant, source, "shop_ticket", skip_conflicts=True)
        assert done.tables == {"shop_ticket": {"restored": 2, "updated": 0, "skipped": 2}}

    def test_a_table_that_replaces_by_itself_replaces_nothing(self, tenant, monkeypatch):
        with closing(sqlite3.connect(tenant.database)) as database:
            database.executescript(
                "CREATE TABLE code (id integer PRIMARY KEY ON CONFLICT REPLACE, code);"
                "INSERT INTO code VALUES (1, 'then'), (2, 'then');"
            )
        source = backups.create(tenant, COMMAND).backup
        script(tenant.database, "DELETE FROM code")
        sql = "INSERT INTO code VALUES (2, 'meanwhile')"
        with in_between(monkeypatch, lambda: script(tenant.database, sql)):
            done = bring_back(tenant, source, "code", skip_conflicts=True)
        assert done.tables == {"code": {"restored": 1, "updated": 0, "skipped": 1}}
        assert rows_of(tenant.database, "code") == {1: (1, "then"), 2: (2, "meanwhile")}

    def test_what_refers_to_a_row_just_before_its_undo_is_not_deleted_with_it(
        self, tenant, monkeypatch
    ):
        with closing(sqlite3.connect(tenant.database)) as database:
            database.executescript(
                "CREATE TABLE code (id integer PRIMARY KEY, code);"
                "CREATE TABLE use (id integer PRIMARY KEY,"
                " code_id REFERENCES code (id) ON DELETE CASCADE);"
                "INSERT INTO code VALUES (1, 'then');"
            )
        source = backups.create(tenant, COMMAND).backup
        script(tenant.database, "DELETE FROM code")
        done = bring_back(tenant, source, "code")
        with rows.undoing(tenant, done.record.pk) as found:
            script(tenant.database, "INSERT INTO use VALUES (7, 1)")
            with pytest.raises(BackupError, match="code 1: use 7 refers to it now"):
                rows.take_back(found)
        assert rows_of(tenant.database, "use") == {7: (7, 1)}
        assert RowRestore.objects.get().state == State.DONE

    def test_a_busy_writer_and_the_rescue_do_not_disturb_each_other(self, tenant, source):
        is_over, written, failures = threading.Event(), [], []

        def write():
            with closing(sqlite3.connect(tenant.database, timeout=60)) as writer:
                writer.execute("PRAGMA foreign_keys = ON")
                while not is_over.is_set():
                    number = 10_000 + len(written)
                    try:
                        with writer:
                            writer.execute(
                                "INSERT INTO shop_contract VALUES (?, ?, 'busy')",
                                (number, f"busy {number}"),
                            )
                    except sqlite3.Error as error:
                        failures.append(error)
                        return
                    written.append(number)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(3):
                done = bring_back(tenant, source)
                now = rows_of(tenant.database)
                assert {key: now[key] for key in range(1, ROWS + 1)} == rows_of(
                    backups.directory_of(tenant).file(source.file_name)
                )
                take_back(tenant, done.record.pk)
        finally:
            is_over.set()
            writer.join()
        assert not failures
        assert list(rows_of(tenant.database)) == written
        everything(tenant.database)

    def test_a_locked_database_is_left_alone(self, tenant, source, settings):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "BUSY_TIMEOUT": 1}
        with closing(sqlite3.connect(tenant.database, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseLocked):
                bring_back(tenant, source)
        assert rows_of(tenant.database) == {}
        assert not RowRestore.objects.exists()

    def test_another_process_at_work_is_waited_for(self, tenant, source, settings):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "BUSY_TIMEOUT": 0.1}
        with lock.hold(backups.directory_of(tenant), wait=0), pytest.raises(BackupInProgress):
            bring_back(tenant, source)

    def test_not_inside_a_transaction_of_the_catalog(self, tenant, source):
        refused = pytest.raises(BackupError, match="inside a database transaction")
        with rows.planned(tenant, source, wanted()) as plan, transaction.atomic(), refused:
            rows.perform(plan)

    def test_nothing_is_written_to_the_catalog_in_between(self, tenant, source, monkeypatch):
        """With `SingleTenant` in rollback mode, that would wait for itself."""

        def write(*arguments):
            with connection.execute_wrapper(refuse):
                row_writing.write(*arguments)

        def refuse(*arguments):
            raise AssertionError("The catalog was asked.")

        monkeypatch.setattr(restore, "write", write)
        bring_back(tenant, source)


class TestValues:
    def test_a_changed_row_gives_up_what_a_gone_one_needs(self, tenant):
        source = backups.create(tenant, COMMAND).backup
        was = rows_of(tenant.database)
        script(
            tenant.database,
            "DELETE FROM shop_ticket WHERE contract_id = 5; DELETE FROM shop_device WHERE id = 5;"
            "DELETE FROM shop_contract WHERE id = 5;"
            "UPDATE shop_contract SET number = 'C-5' WHERE id = 3;",
        )
        before = everything(tenant.database)
        with pytest.raises(RowConflicts, match="shop_contract 5: row 3 has the same number"):
            bring_back(tenant, source)
        done = bring_back(tenant, source, changed=True)
        assert rows_of(tenant.database) == was
        take_back(tenant, done.record.pk)
        assert everything(tenant.database) == before

    def test_a_reference_is_not_filled_in_a_row_that_has_only_the_key_of_the_old_one(
        self, tenant, source
    ):
        script(
            tenant.database,
            "DELETE FROM shop_device WHERE id = 3;"
            "INSERT INTO shop_device VALUES (3, 'something else', NULL)",
        )
        bring_back(tenant, source)
        assert rows_of(tenant.database, "shop_device")[3][2] is None
        assert rows_of(tenant.database, "shop_device")[4][2] == 4

    def test_rows_may_refer_to_each_other_in_a_circle(self, tenant):
        with closing(sqlite3.connect(tenant.database)) as database:
            # Without PRAGMA foreign_keys, SQLite lets this happen.
            database.executescript(
                "CREATE TABLE one (id integer PRIMARY KEY, two_id NOT NULL REFERENCES two);"
                "CREATE TABLE two (id integer PRIMARY KEY, one_id NOT NULL REFERENCES one);"
                "CREATE TABLE page (id integer PRIMARY KEY, parent_id REFERENCES page);"
                "INSERT INTO one VALUES (1, 2); INSERT INTO two VALUES (2, 1);"
                "INSERT INTO page VALUES (9, NULL), (5, 9), (3, 5);"
            )
            source = backups.create(tenant, COMMAND).backup
            database.executescript("DELETE FROM one; DELETE FROM two; DELETE FROM page;")
        with pytest.raises(RowConflicts, match="page 5: it needs page 9, which is gone"):
            bring_back(tenant, source, "page", keys=("5",))
        bring_back(tenant, source, "page", keys=("9",))
        assert set(rows_of(tenant.database, "page")) == {3, 5, 9}
        done = bring_back(tenant, source, "one")
        assert rows_of(tenant.database, "two") == {2: (2, 1)}
        take_back(tenant, done.record.pk)
        assert rows_of(tenant.database, "one") == {}

    def test_text_that_is_none_comes_back_to_the_bit(self, tenant):
        with closing(sqlite3.connect(tenant.database)) as database:
            database.executescript(
                "CREATE TABLE code (id text NOT NULL PRIMARY KEY, a, b);"
                "INSERT INTO code VALUES (CAST(x'ff41' AS text), CAST(x'c328' AS text), x'00ff');"
                "INSERT INTO code VALUES ('b', 9e999, -0.0), ('c', 9223372036854775807, '');"
            )
            query = "SELECT hex(id), hex(a), typeof(a), hex(b), typeof(b) FROM code ORDER BY id"
            was = database.execute(query).fetchall()
            source = backups.create(tenant, COMMAND).backup
            script(tenant.database, "DELETE FROM code")
            done = bring_back(tenant, source, "code")
            assert database.execute(query).fetchall() == was
            take_back(tenant, done.record.pk)
            assert database.execute(query).fetchall() == []

    def test_numbers_that_differ_by_their_type_only_have_changed(self, tenant):
        with closing(sqlite3.connect(tenant.database)) as database:
            database.executescript(
                "CREATE TABLE code (id integer PRIMARY KEY, a, b);"
                "INSERT INTO code VALUES (1, 3, 0);"
            )
            source = backups.create(tenant, COMMAND).backup
            script(tenant.database, "UPDATE code SET a = 3.0")
            bring_back(tenant, source, "code", gone=False, changed=True)
            [found] = database.execute("SELECT typeof(a) FROM code").fetchall()
        assert found == ("integer",)

    def test_an_old_violation_prevents_no_rescue(self, tenant):
        with closing(sqlite3.connect(tenant.database)) as database, database:
            database.execute("INSERT INTO shop_ticket VALUES (999, 12345, 'of nothing')")
        source = backups.create(tenant, COMMAND).backup
        with closing(sqlite3.connect(tenant.database)) as database, database:
            database.executescript(f"{DELETE_ALL} INSERT INTO shop_ticket VALUES (999, 777, 'x');")
        bring_back(tenant, source)
        assert rows_of(tenant.database, "shop_ticket")[999] == (999, 777, "x")
        assert len(rows_of(tenant.database)) == ROWS


class TestHostsOwn:
    """Functions and collations are the host's, never stand-ins; by an alias: `test_restorerows`."""

    @contextmanager
    def connected(self, tenant):
        with closing(sqlite3.connect(tenant.database)) as database:
            provide(database)
            yield database

    @pytest.fixture
    def source(self, tenant):
        with self.connected(tenant) as database:
            database.executescript(INDEXES)
            backup = backups.create(tenant, COMMAND).backup
            database.executescript(DELETE_ALL)
        return backup

    def test_without_them_it_is_refused(self, tenant, source):
        with pytest.raises(BackupError, match=r"lacks something: .*(by_number|plain)"):
            bring_back(tenant, source)
        assert rows_of(tenant.database, "shop_ticket") == {}
        assert not RowRestore.objects.exists()

    def test_by_a_receiver_of_the_signal(self, tenant, source):
        seen = []

        def prepare(sender, connection, **kwargs):
            if connection.vendor == "sqlite":
                seen.append(connection.alias)
                provide(connection.connection)

        connection_created.connect(prepare)
        try:
            done = bring_back(tenant, source)
            assert in_order(tenant.database) == [f"C-{number}" for number in range(1, ROWS + 1)]
            with self.connected(tenant) as database, database:
                database.execute("UPDATE shop_contract SET number = 'c4' WHERE id = 4")
                database.execute("UPDATE shop_contract SET number = 'C-5a' WHERE id = 5")
                database.execute("UPDATE shop_contract SET number = 'C5' WHERE id = 6")
            refused = pytest.raises(RowConflicts, match="5: row 6 has the same plainly now")
            with refused:
                bring_back(tenant, source, gone=False, changed=True)
            with pytest.raises(BackupError, match="shop_contract 4: it is no longer"):
                take_back(tenant, done.record.pk)
        finally:
            connection_created.disconnect(prepare)
        assert set(seen) == {"tenant_backup_rows"}

    def test_the_connection_is_closed_and_no_alias_stays(self, tenant):
        before = set(connections)
        source = backups.create(tenant, COMMAND).backup
        script(tenant.database, DELETE_ALL)
        bring_back(tenant, source)
        assert set(connections) == before
        with closing(sqlite3.connect(tenant.database, timeout=0)) as database:
            # Nobody else has it open.
            assert database.execute("PRAGMA journal_mode = delete").fetchone() == ("delete",)


class TestTriggers:
    def test_they_run_and_the_index_of_the_search_follows(self, tenant):
        with closing(sqlite3.connect(tenant.database)) as database:
            database.executescript(
                """
                CREATE VIRTUAL TABLE words USING fts5 (body, content='');
                CREATE TRIGGER found AFTER INSERT ON shop_contract BEGIN
                    INSERT INTO words (rowid, body) VALUES (new.id, new.body);
                END;
                """
            )
        source = backups.create(tenant, COMMAND).backup
        script(tenant.database, DELETE_ALL)
        bring_back(tenant, source)
        with closing(sqlite3.connect(tenant.database)) as database:
            found = database.execute("SELECT rowid FROM words WHERE words MATCH 'text'").fetchall()
        assert found == [(number,) for number in range(1, ROWS + 1)]

    def test_what_they_say_of_conflicts_counts(self, tenant):
        with closing(sqlite3.connect(tenant.database)) as database:
            database.executescript(
                """
                CREATE TABLE letter (letter text PRIMARY KEY);
                CREATE TRIGGER seen AFTER INSERT ON shop_contract BEGIN
                    INSERT OR IGNORE INTO letter VALUES (substr(new.number, 1, 1));
                END;
                """
            )
        source = backups.create(tenant, COMMAND).backup
        script(tenant.database, DELETE_ALL)
        bring_back(tenant, source)
        assert len(rows_of(tenant.database)) == ROWS
        assert rows_of(tenant.database, "letter") == {"C": ("C",)}

    def test_one_that_alters_what_is_written_is_refused(self, tenant):
        with closing(sqlite3.connect(tenant.database)) as database:
            database.executescript(
                """
                CREATE TRIGGER upper AFTER INSERT ON shop_contract BEGIN
                    UPDATE shop_contract SET body = upper(body) WHERE id = new.id;
                END;
                """
            )
        source = backups.create(tenant, COMMAND).backup
        script(tenant.database, DELETE_ALL)
        with pytest.raises(BackupError, match="a trigger or another type of a column does"):
            bring_back(tenant, source)
        assert rows_of(tenant.database) == {}

    def test_a_column_that_would_hold_something_else_is_refused(self, tenant):
        with closing(sqlite3.connect(tenant.database)) as database:
            database.executescript(
                "CREATE TABLE code (id integer PRIMARY KEY, code text);"
                "INSERT INTO code VALUES (1, '007');"
            )
        source = backups.create(tenant, COMMAND).backup
        script(
            tenant.database,
            "DROP TABLE code; CREATE TABLE code (id integer PRIMARY KEY, code integer)",
        )
        with pytest.raises(BackupError, match="another type of a column"):
            bring_back(tenant, source, "code")

    def test_new_columns_get_their_defaults(self, tenant):
        with closing(sqlite3.connect(tenant.database)) as database:
            database.executescript(
                "CREATE TABLE code (id integer PRIMARY KEY, code text);"
                "INSERT INTO code VALUES (1, '007');"
            )
        source = backups.create(tenant, COMMAND).backup
        script(
            tenant.database,
            "DELETE FROM code; ALTER TABLE code ADD COLUMN colour text NOT NULL DEFAULT 'it''s';"
            'ALTER TABLE code ADD COLUMN old text DEFAULT "code"; ALTER TABLE code ADD COLUMN n;'
            "ALTER TABLE code ADD COLUMN length AS (length(code));",
        )
        bring_back(tenant, source, "code")
        with closing(sqlite3.connect(tenant.database)) as database:
            [row] = database.execute("SELECT * FROM code").fetchall()
        assert row == (1, "007", "it's", "code", None, 3)


class TestGenericReferences:
    """Those by content type, which only the host's models know."""

    TYPES = """
    CREATE TABLE django_content_type (id integer PRIMARY KEY, app_label text, model text);
    INSERT INTO django_content_type VALUES (7, 'tests', 'contract'), (8, 'tests', 'ticket');
    CREATE TABLE shop_tag (id integer PRIMARY KEY, type_id integer, object_id text, name text);
    INSERT INTO shop_tag VALUES (1, 7, '1', 'red'), (2, 8, '1', 'green'), (3, 7, '2', 'blue');
    """

    @pytest.fixture
    def source(self, tenant, monkeypatch):
        with isolate_apps("tests") as apps:

            class Contract(models.Model):  # noqa: DJ008
                class Meta:
                    app_label, db_table = "tests", "shop_contract"

            class Tag(models.Model):  # noqa: DJ008
                type = models.ForeignKey(ContentType, models.CASCADE)
                object_id = models.TextField()
                target = GenericForeignKey("type", "object_id")

                class Meta:
                    app_label, db_table = "tests", "shop_tag"

            monkeypatch.setattr(tables, "apps", apps)
            with closing(sqlite3.connect(tenant.database)) as database:
                database.executescript(self.TYPES)
            backup = backups.create(tenant, COMMAND).backup
            script(tenant.database, f"DELETE FROM shop_tag; {DELETE_ALL}")
            yield backup

    def test_they_follow(self, tenant, source):
        bring_back(tenant, source)
        assert list(rows_of(tenant.database, "shop_tag")) == [1, 3]

    def test_not_where_the_types_have_other_numbers(self, tenant, source):
        script(tenant.database, "UPDATE django_content_type SET id = id + 10")
        with rows.planned(tenant, source, wanted()) as plan:
            assert "shop_tag" not in plan.counts
            assert ("shop_tag", 3) in [(loss.table, loss.gone) for loss in plan.losses]


class TestAfterwards:
    def test_the_host_hears_of_it(self, tenant, source, announced):
        done = bring_back(tenant, source)
        [(tenant_id, tables_, keys)] = announced
        assert tenant_id == tenant.id
        assert tables_ == {"shop_contract": ROWS, "shop_device": ROWS, "shop_ticket": 2 * ROWS}
        assert keys["shop_contract"] == [(number,) for number in range(1, ROWS + 1)]
        take_back(tenant, done.record.pk)
        assert len(announced) == 1

    def test_the_backup_from_before_is_held_for_thirty_days(self, tenant, source):
        done = bring_back(tenant, source)
        hold = Hold.objects.get(backup=done.safety_copy)
        assert timedelta(days=29) < hold.until - timezone.now() < timedelta(days=31)
        done.safety_copy.refresh_from_db()
        assert done.safety_copy.is_held(timezone.now())

    def test_it_is_a_file_of_its_own_even_if_nothing_has_changed(self, tenant, source, settings):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "UNCHANGED": "skip"}
        unchanged = backups.create(tenant, COMMAND).backup
        done = bring_back(tenant, source)
        assert done.safety_copy.pk != unchanged.pk
        assert done.safety_copy.is_good

    def test_plans_are_forgotten_after_thirty_days(self, tenant, source):
        done = bring_back(tenant, source)
        rows.forget(timezone.now() + timedelta(days=29))
        assert RowRestore.objects.get().plan
        rows.forget(timezone.now() + timedelta(days=31))
        assert not RowRestore.objects.get().plan
        with pytest.raises(BackupError, match="can no longer be undone"):
            take_back(tenant, done.record.pk)
        rows.forget(timezone.now() + timedelta(days=800))
        assert not RowRestore.objects.exists()

    def test_a_plan_that_is_too_large_for_the_catalog_is_refused(self, tenant, source, monkeypatch):
        monkeypatch.setattr(records, "MOST_BYTES", 100)
        with pytest.raises(BackupError, match="too many rows for one time"):
            bring_back(tenant, source)
        assert rows_of(tenant.database) == {}


class TestRecovery:
    """A process that was killed: before the commit, or after it."""

    def killed(self, monkeypatch, module, name, *, after):
        """Let a function end the process before it does anything, or after it has done it."""
        function = getattr(row_writing, name)

        def run(*arguments):
            if after:
                function(*arguments)
            raise Killed

        patch = pytest.MonkeyPatch()
        patch.setattr(module, name, run) if module is restore else patch.setattr(
            row_writing, name, run
        )
        # What the process would still do by itself, it does not do when it is killed.
        patch.setattr(module, "settle", lambda *arguments: None)
        return patch

    def crash(self, tenant, source, monkeypatch, *, after):
        patch = self.killed(monkeypatch, restore, "write", after=after)
        with pytest.raises(Killed):
            bring_back(tenant, source)
        patch.undo()
        assert RowRestore.objects.get().state == State.PLANNED

    @pytest.mark.parametrize("after", [False, True])
    def test_the_tick_records_what_happened(self, tenant, source, monkeypatch, announced, after):
        self.crash(tenant, source, monkeypatch, after=after)
        automation.set_up()
        automation.tick()
        kinds = Event.objects.filter(kind=EventKind.ROWS_RESTORED)
        assert kinds.count() == len(announced) == after
        assert [record.state for record in RowRestore.objects.all()] == [State.DONE] * after
        assert Hold.objects.count() == after
        if after:
            take_back(tenant, RowRestore.objects.get().pk)
            assert rows_of(tenant.database) == {}

    def test_others_may_have_changed_a_few_rows_by_then(self, tenant, source, monkeypatch):
        self.crash(tenant, source, monkeypatch, after=True)
        script(tenant.database, "UPDATE shop_contract SET body = 'x' WHERE id < 9")
        rows.recover_all()
        assert RowRestore.objects.get().state == State.DONE

    def test_or_all_of_them(self, tenant, source, monkeypatch):
        self.crash(tenant, source, monkeypatch, after=True)
        script(
            tenant.database,
            "UPDATE shop_contract SET body = 'x'; UPDATE shop_ticket SET title = 'x'",
        )
        rows.recover_all()
        assert RowRestore.objects.get().state == State.DONE

    def test_an_undo_that_did_not_happen_is_not_done_because_rows_were_changed(
        self, tenant, source, monkeypatch
    ):
        done = bring_back(tenant, source, "shop_contract", keys=("1",), with_related=False)
        patch = self.killed(monkeypatch, undo, "take_back", after=False)
        with pytest.raises(Killed):
            take_back(tenant, done.record.pk)
        patch.undo()
        script(tenant.database, "UPDATE shop_contract SET body = 'x' WHERE id = 1")
        rows.recover_all()
        record = RowRestore.objects.get()
        assert record.state == State.DONE
        assert record.plan

    def test_or_brought_a_few_back_by_hand(self, tenant, source, monkeypatch):
        self.crash(tenant, source, monkeypatch, after=False)
        script(tenant.database, "INSERT INTO shop_contract VALUES (1, 'C-1', 'text of 1')")
        rows.recover_all()
        assert not RowRestore.objects.exists()

    @pytest.mark.parametrize("after", [False, True])
    def test_the_next_one_recovers_it_too(self, tenant, source, monkeypatch, announced, after):
        self.crash(tenant, source, monkeypatch, after=after)
        if after:
            script(tenant.database, "DELETE FROM shop_ticket WHERE id = 1")
            bring_back(tenant, source, "shop_ticket")
        else:
            bring_back(tenant, source)
        assert [record.state for record in RowRestore.objects.all()] == [State.DONE] * (1 + after)
        assert len(announced) == 1 + after

    @pytest.mark.parametrize("after", [False, True])
    def test_an_undo(self, tenant, source, monkeypatch, after):
        before = everything(tenant.database)
        done = bring_back(tenant, source)
        patch = self.killed(monkeypatch, undo, "take_back", after=after)
        with pytest.raises(Killed):
            take_back(tenant, done.record.pk)
        patch.undo()
        assert RowRestore.objects.get().state == State.UNDOING
        rows.recover_all()
        record = RowRestore.objects.get()
        assert record.state == (State.UNDONE if after else State.DONE)
        undone = Event.objects.filter(kind=EventKind.ROWS_UNDONE)
        assert [event.actor for event in undone] == ["bob"] * after
        if not after:
            take_back(tenant, record.pk)
        assert everything(tenant.database) == before

    def test_nobody_recovers_what_is_going_on(self, tenant, source, monkeypatch):
        states = []

        def write(*arguments):
            rows.recover_all()
            states.append(RowRestore.objects.get().state)
            row_writing.write(*arguments)

        monkeypatch.setattr(restore, "write", write)
        bring_back(tenant, source)
        assert states == [State.PLANNED]

    def test_an_interruption_after_the_commit_is_recorded_at_once(
        self, tenant, source, monkeypatch
    ):
        def write(*arguments):
            row_writing.write(*arguments)
            raise KeyboardInterrupt

        monkeypatch.setattr(restore, "write", write)
        with pytest.raises(KeyboardInterrupt) as interrupted:
            bring_back(tenant, source)
        record = RowRestore.objects.get()
        assert record.state == State.DONE
        said = "The rows are back all the same. To undo: "
        assert f"{said}{restore.undo_command('acme', record.pk)}" in interrupted.value.__notes__

    def test_an_undo_that_the_catalog_cannot_record(self, tenant, source, monkeypatch):
        done = bring_back(tenant, source)

        def fail(record):
            raise DatabaseError("database is locked")

        with monkeypatch.context() as patch:
            patch.setattr(undo, "mark_undone", fail)
            with pytest.raises(BackupError, match="is undone, but the catalog could not record it"):
                take_back(tenant, done.record.pk)
        assert not rows_of(tenant.database)
        rows.recover_all()
        assert RowRestore.objects.get().state == State.UNDONE

    def test_a_database_that_is_gone_stops_no_tick(self, tenant, source, monkeypatch, caplog):
        self.crash(tenant, source, monkeypatch, after=True)
        moved = tenant.database.rename(tenant.root / "elsewhere")
        rows.recover_all()
        assert "is not recovered" in caplog.text
        moved.rename(tenant.database)
        rows.recover_all()
        assert RowRestore.objects.get().state == State.DONE
