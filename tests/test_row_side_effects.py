"""What the database does by itself when rows come back or are taken back again."""

import pytest

from tenant_backup import backups, rows
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, RowRestore
from tests.test_restorerows import DELETE_ALL, ROWS, everything, make_shop, rows_of, script
from tests.test_rows_in_use import COMMAND, bring_back, take_back, wanted

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(add_tenant):
    tenant = add_tenant(database=False)
    make_shop(tenant.database)
    return tenant


def prepared(tenant, before, since=DELETE_ALL):
    """A backup of the tenant with some more in the database, since which something happened."""
    script(tenant.database, before)
    backup = backups.create(tenant, COMMAND).backup
    script(tenant.database, since)
    return backup


class TestTriggers:
    def test_one_that_alters_restored_rows_of_another_table_is_refused(self, tenant):
        source = prepared(
            tenant,
            "ALTER TABLE shop_contract ADD COLUMN tickets integer NOT NULL DEFAULT 2;"
            "CREATE TRIGGER count_tickets AFTER INSERT ON shop_ticket BEGIN"
            " UPDATE shop_contract SET tickets = tickets + 1 WHERE id = new.contract_id; END",
        )
        before = everything(tenant.database)
        with pytest.raises(BackupError, match="Rows of shop_contract are not what they should be"):
            bring_back(tenant, source)
        assert everything(tenant.database) == before
        assert not RowRestore.objects.exists()

    @pytest.mark.parametrize("how", ["OR IGNORE", "OR REPLACE"])
    def test_what_they_do_about_conflicts_is_their_own_business(self, tenant, how):
        source = prepared(
            tenant,
            "CREATE TABLE shop_day (name text PRIMARY KEY, what text);"
            "CREATE TRIGGER note_day AFTER INSERT ON shop_contract BEGIN"
            f" INSERT {how} INTO shop_day VALUES ('today', new.number); END",
        )
        bring_back(tenant, source)
        assert len(rows_of(tenant.database)) == ROWS
        assert len(rows_of(tenant.database, "shop_day")) == 1

    def test_an_undo_is_refused_if_they_would_delete_what_came_since(self, tenant):
        source = prepared(
            tenant,
            "CREATE TABLE shop_note (id integer PRIMARY KEY, contract_id integer);"
            "INSERT INTO shop_note VALUES (1, 1);"
            "CREATE TRIGGER note_goes AFTER DELETE ON shop_contract BEGIN"
            " DELETE FROM shop_note WHERE contract_id = old.id; END",
        )
        done = bring_back(tenant, source, "shop_contract", "shop_note")
        script(tenant.database, "INSERT INTO shop_note VALUES (2, 1)")
        before = everything(tenant.database)
        with pytest.raises(BackupError, match="Triggers would delete rows of shop_note"):
            take_back(tenant, done.record.pk)
        assert everything(tenant.database) == before
        script(tenant.database, "DELETE FROM shop_note WHERE id = 2")
        take_back(tenant, done.record.pk)
        assert not rows_of(tenant.database)
        assert not rows_of(tenant.database, "shop_note")

    def test_also_if_one_trigger_calls_another(self, tenant):
        source = prepared(
            tenant,
            "CREATE TABLE shop_state (id integer PRIMARY KEY, contracts integer);"
            "INSERT INTO shop_state VALUES (1, 0);"
            "CREATE TABLE shop_note (id integer PRIMARY KEY, contract_id integer);"
            "CREATE TRIGGER contract_goes AFTER DELETE ON shop_contract BEGIN"
            " UPDATE shop_state SET contracts = old.id; END;"
            "CREATE TRIGGER note_goes AFTER UPDATE ON shop_state BEGIN"
            " DELETE FROM shop_note WHERE contract_id = new.contracts; END",
        )
        done = bring_back(tenant, source)
        script(tenant.database, "INSERT INTO shop_note VALUES (1, 1)")
        before = everything(tenant.database)
        with pytest.raises(BackupError, match="Triggers would delete rows of shop_note"):
            take_back(tenant, done.record.pk)
        assert everything(tenant.database) == before

    def test_an_undo_deletes_what_they_had_added(self, tenant):
        source = prepared(
            tenant,
            "CREATE TABLE shop_search (id integer PRIMARY KEY, number text);"
            "INSERT INTO shop_search SELECT id, number FROM shop_contract;"
            "CREATE TRIGGER found AFTER INSERT ON shop_contract BEGIN"
            " INSERT INTO shop_search VALUES (new.id, new.number); END;"
            "CREATE TRIGGER lost AFTER DELETE ON shop_contract BEGIN"
            " DELETE FROM shop_search WHERE id = old.id; END",
        )
        done = bring_back(tenant, source)
        assert len(rows_of(tenant.database, "shop_search")) == ROWS
        take_back(tenant, done.record.pk)
        assert not rows_of(tenant.database, "shop_search")


def test_an_undo_is_refused_if_the_rows_have_got_a_column_since(tenant):
    source = prepared(tenant, "SELECT 1")
    done = bring_back(tenant, source)
    script(
        tenant.database,
        "ALTER TABLE shop_contract ADD COLUMN rating integer; UPDATE shop_contract SET rating = 5",
    )
    with pytest.raises(BackupError, match="the columns of shop_contract have changed since"):
        take_back(tenant, done.record.pk)
    assert len(rows_of(tenant.database)) == ROWS


class TestGeneratedColumns:
    TABLE = (
        "CREATE TABLE shop_code (id integer PRIMARY KEY, code text,"
        " folded text GENERATED ALWAYS AS (lower(code)) {} UNIQUE);"
        "INSERT INTO shop_code (id, code) VALUES (1, 'AB'), (2, 'CD')"
    )

    @pytest.mark.parametrize("kind", ["STORED", "VIRTUAL"])
    def test_one_that_is_unique_stands_in_nobodys_way(self, tenant, kind):
        source = prepared(tenant, self.TABLE.format(kind), "DELETE FROM shop_code")
        done = bring_back(tenant, source, "shop_code")
        assert rows_of(tenant.database, "shop_code") == {1: (1, "AB", "ab"), 2: (2, "CD", "cd")}
        take_back(tenant, done.record.pk)
        assert not rows_of(tenant.database, "shop_code")

    def test_the_database_itself_refuses_one_that_is_taken(self, tenant):
        taken = "DELETE FROM shop_code; INSERT INTO shop_code (id, code) VALUES (9, 'ab')"
        source = prepared(tenant, self.TABLE.format("STORED"), taken)
        with pytest.raises(BackupError, match=r"UNIQUE constraint failed: shop_code\.folded"):
            bring_back(tenant, source, "shop_code")
        assert set(rows_of(tenant.database, "shop_code")) == {9}

    def test_an_undo_deletes_nothing_that_refers_to_one(self, tenant):
        source = prepared(tenant, self.TABLE.format("STORED"), "DELETE FROM shop_code")
        done = bring_back(tenant, source, "shop_code")
        script(
            tenant.database,
            "CREATE TABLE shop_use (id integer PRIMARY KEY,"
            " code text REFERENCES shop_code (folded) ON DELETE CASCADE);"
            "INSERT INTO shop_use VALUES (1, 'ab')",
        )
        with pytest.raises(BackupError, match="shop_code 1: shop_use 1 refers to it now"):
            take_back(tenant, done.record.pk)
        assert set(rows_of(tenant.database, "shop_use")) == {1}


def test_the_backup_may_be_deleted_while_somebody_is_asked(tenant):
    source = prepared(tenant, "SELECT 1")
    backups.create(tenant, COMMAND)
    with rows.planned(tenant, source, wanted()) as plan:
        backups.delete(tenant, source)
        assert not Backup.objects.filter(pk=source.pk).exists()
        done = rows.perform(plan, actor="ada")
    assert len(rows_of(tenant.database)) == ROWS
    assert RowRestore.objects.get().state == RowRestore.State.DONE
    take_back(tenant, done.record.pk)
    assert not rows_of(tenant.database)
