"""What is gone since a backup: the use case, and the command that says it."""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from django.utils import timezone

from tenant_backup import backups, rows
from tenant_backup import sqlite as ground
from tenant_backup.exceptions import BackupError, BackupNotFound, DatabaseDamaged
from tenant_backup.management.values import as_json_value, as_literal
from tenant_backup.models import Backup
from tests.test_views import make

KEYS = ["table", "rows_then", "rows_now", "gone", "new", "changed", "compared"]


def run(database, *statements):
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def numbers(compared):
    return [(table.table, table.gone, table.new, table.changed) for table in compared.tables]


@pytest.mark.django_db(transaction=True)
class TestUseCase:
    def test_a_backup_and_today(self, tenant):
        backup = make(tenant)
        run(tenant.database, "DELETE FROM credits WHERE id <= 40", "UPDATE debits SET amount = 1")
        before = timezone.now()
        compared = rows.compare(tenant, backup)
        assert numbers(compared) == [("credits", 40, 0, 0), ("debits", 0, 0, 100)]
        assert (compared.then, compared.now, compared.stands_for_today) == (backup, None, False)
        assert before <= compared.at <= timezone.now()
        assert compared.is_complete

    def test_two_backups_in_either_order(self, tenant):
        first = make(tenant)
        run(tenant.database, "DELETE FROM credits WHERE id <= 40")
        second = make(tenant)
        run(tenant.database, "DELETE FROM credits")
        compared = rows.compare(tenant, first, second)
        assert numbers(compared) == [("credits", 40, 0, 0), ("debits", 0, 0, 0)]
        assert (compared.at, compared.stands_for_today) == (second.created_at, False)
        assert numbers(rows.compare(tenant, second, first))[0] == ("credits", 0, 40, 0)

    def test_only_some_tables(self, tenant):
        compared = rows.compare(tenant, make(tenant), tables=["DEBITS"])
        assert numbers(compared) == [("debits", 0, 0, 0)]
        with pytest.raises(ground.NoSuchTable):
            rows.compare(tenant, compared.then, tables=["debit"])

    def test_when_the_time_is_over_it_is_not_complete(self, tenant):
        compared = rows.compare(tenant, make(tenant), seconds=-1)
        assert not compared.is_complete
        assert numbers(compared) == [("credits", None, None, None), ("debits", None, None, None)]

    def test_in_rollback_mode_today_is_the_newest_backup(self, add_tenant):
        tenant = add_tenant(journal_mode="delete")
        first = make(tenant)
        run(tenant.database, "DELETE FROM credits WHERE id <= 40")
        second = make(tenant)
        run(tenant.database, "DELETE FROM credits")
        Backup.objects.create(tenant_id="acme", trigger="manual", status="failed")
        with closing(sqlite3.connect(tenant.database, timeout=0)) as writer:
            with rows.opened(tenant, first) as pair:
                # Nobody who writes has to wait.
                writer.execute("INSERT INTO credits (amount) VALUES (0)")
                writer.commit()
                assert pair.comparison.difference("credits").gone == 40
            assert (pair.now, pair.at, pair.stands_for_today) == (second, second.created_at, True)

    def test_in_rollback_mode_the_newest_backup_has_no_today(self, add_tenant):
        tenant = add_tenant(journal_mode="delete")
        backup = make(tenant)
        with pytest.raises(BackupNotFound, match=r"Make one \(manage.py runbackup\)"):
            rows.compare(tenant, backup)
        # One that is gone does not stand for today, either.
        newer = make(tenant)
        backups.directory_of(tenant).file(newer.file_name).unlink()
        with pytest.raises(BackupNotFound, match=f"none is newer than {backup.file_name}"):
            rows.compare(tenant, backup)
        newer.refresh_from_db()
        assert newer.missing_at

    def test_one_dated_in_the_future_does_not_stand_for_today(self, add_tenant):
        tenant = add_tenant(journal_mode="delete")
        first, second, third = make(tenant), make(tenant), make(tenant)
        third.created_at = timezone.now() + timedelta(days=400)
        third.save()
        assert rows.compare(tenant, first).now == second

    def test_a_file_that_is_gone(self, tenant):
        backup = make(tenant)
        backups.directory_of(tenant).file(backup.file_name).unlink()
        with pytest.raises(BackupError, match="no longer exists"):
            rows.compare(tenant, backup)

    def test_a_file_of_another_size_is_marked_as_damaged(self, tenant):
        first, second = make(tenant), make(tenant)
        with backups.directory_of(tenant).file(second.file_name).open("ab") as stream:
            stream.write(b"more")
        with pytest.raises(DatabaseDamaged):
            rows.compare(tenant, first, second)
        second.refresh_from_db()
        assert second.damaged_at
        with pytest.raises(DatabaseDamaged, match="was found damaged, so it is not compared"):
            rows.compare(tenant, first, second)

    def test_a_link_in_the_place_of_the_file_leads_nowhere(self, tenant, tmp_path):
        backup = make(tenant)
        file = backups.directory_of(tenant).file(backup.file_name)
        file.rename(tmp_path / "elsewhere.sqlite3")
        file.symlink_to(tmp_path / "elsewhere.sqlite3")
        with pytest.raises(BackupError, match="cannot be read"):
            rows.compare(tenant, backup)

    def test_a_database_that_is_gone(self, tenant):
        backup = make(tenant)
        tenant.database.unlink()
        with pytest.raises(BackupError, match="does not exist"):
            rows.compare(tenant, backup)
        assert not tenant.database.exists()

    def test_one_that_failed_has_no_file(self, tenant):
        failed = Backup.objects.create(tenant_id="acme", trigger="manual", status="failed")
        with pytest.raises(BackupError, match="has no file"):
            rows.compare(tenant, failed)

    def test_one_that_is_pruned_meanwhile_can_be_read_to_the_end(self, tenant):
        backup = make(tenant)
        make(tenant)
        with rows.opened(tenant, backup) as pair:
            backups.delete(tenant, backup)
            assert not backups.directory_of(tenant).file(backup.file_name).exists()
            assert pair.comparison.difference("credits").gone == 0
        with pytest.raises(BackupError, match="has no file"):
            rows.compare(tenant, backup)


class TestValues:
    @pytest.mark.parametrize(
        ("value", "literal", "as_json"),
        [
            (None, "NULL", None),
            (7, "7", 7),
            (7.0, "7.0", 7.0),
            (0.1, "0.1", 0.1),
            (float("-inf"), "-inf", {"real": "-inf"}),
            ("007", "'007'", "007"),
            ("it's", "'it''s'", "it's"),
            ("Ä \\n", "'Ä \\n'", "Ä \\n"),
            ("a\n\\n\x1b", r"e'a\n\\n\x1b'", "a\n\\n\x1b"),
            ("\udcff", r"e'\udcff'", "\udcff"),
            (b"\x00\xff", "x'00ff'", {"hex": "00ff"}),
        ],
    )
    def test_no_two_look_the_same(self, value, literal, as_json):
        assert as_literal(value) == literal
        assert as_json_value(value) == as_json
        json.dumps(as_json_value(value), allow_nan=False)


class TestCommand:
    @pytest.fixture
    def root(self, host):
        """A tenant with two backups and changes since, which tables of many kinds show."""
        root = host.add_tenant(rows=5)
        run(
            root / "db.sqlite3",
            "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT COLLATE NOCASE, size)",
            "INSERT INTO note VALUES (1, 'Mueller', 1), (2, 'b', '007'), (3, 'c', x'00')",
            "CREATE TABLE log (line)",
            "INSERT INTO log VALUES ('a'), ('a'), ('b')",
            "CREATE VIRTUAL TABLE search USING fts3(x)",
            "CREATE TABLE old (x)",
        )
        host.succeed("runbackup acme")
        run(
            root / "db.sqlite3",
            "UPDATE note SET text = 'MUELLER' WHERE id = 1",
            "UPDATE note SET size = 7 WHERE id = 2",
            "DELETE FROM note WHERE id = 3",
            "INSERT INTO note VALUES (4, 'd\n', NULL)",
            "DROP TABLE old",
        )
        host.succeed("runbackup acme")
        run(root / "db.sqlite3", "DELETE FROM log WHERE rowid = 1")
        return root

    def test_says_it_in_words(self, host, root):
        done = host.run("comparebackups", "acme", "1")
        assert (done.returncode, done.stderr) == (0, "")
        first, what, _zone, *lines = done.stdout.splitlines()
        assert first == "2 of 4 tables differ. 5 tables were not compared."
        assert what.startswith("Then: 1, acme-")
        assert what.endswith("Now: today's database.")
        assert lines == [
            "TABLE  THEN  NOW  GONE  NEW  CHANGED",
            "log    3     2    1     0    -",
            "note   3     3    1     1    2",
            "NOT COMPARED     THEN  NOW  WHY",
            "old              0     -    It no longer exists.",
            "search           -     -    It is a virtual table: its rows lie in other tables.",
            "search_content   -     -    It belongs to the virtual table search.",
            "search_segdir    -     -    It belongs to the virtual table search.",
            "search_segments  -     -    It belongs to the virtual table search.",
        ]
        every = host.run("comparebackups", "acme", "1", "-v", "2").stdout
        assert "credits  5     5    0     0    0\n" in every
        assert host.run("comparebackups", "acme", "1", "-v", "0").stdout == ""

    def test_two_backups_by_file_name(self, host, root):
        newer, older = (row["file"] for row in host.catalog())
        done = host.run("comparebackups", "acme", older, newer, "--table", "LOG")
        assert done.returncode == 0
        assert done.stdout.startswith("No row differs in the one table that was compared.\n")
        assert f"Now: 2, {newer} (" in done.stdout
        assert done.stdout.endswith("\nlog    3     3    0     0    -\n")

    def test_says_it_to_programs(self, host, root):
        answer = json.loads(host.run("comparebackups", "acme", "1", "--json").stdout)
        assert answer["ok"]
        assert [backup["id"] for backup in answer["backups"]] == [1]
        tables = {table["table"]: table for table in answer["tables"]}
        assert all(list(table) == KEYS for table in tables.values())
        assert list(tables["note"].values()) == ["note", 3, 3, 1, 1, 2, True]
        assert list(tables["log"].values()) == ["log", 3, 2, 1, 0, None, True]
        assert list(tables["old"].values()) == ["old", 0, None, None, None, None, False]
        assert list(tables["search"].values()) == ["search", *[None] * 5, False]
        both = json.loads(host.run("comparebackups", "acme", "1", "2", "--json").stdout)
        assert [backup["id"] for backup in both["backups"]] == [1, 2]
        assert both["tenants"] == [{"id": "acme", "now_at": both["backups"][1]["created_at"]}]

    def test_shows_the_rows_old_and_new(self, host, root):
        done = host.run("comparebackups", "acme", "1", "--table", "note", "--rows")
        assert done.returncode == 0
        assert done.stdout.splitlines()[5:] == [
            "gone: id 3",
            "    COLUMN  THEN",
            "    id      3",
            "    text    'c'",
            "    size    x'00'",
            "changed: id 1",
            "    COLUMN  THEN       NOW",
            "    text    'Mueller'  'MUELLER'",
            "changed: id 2",
            "    COLUMN  THEN   NOW",
            "    size    '007'  7",
            "new: id 4",
            "    COLUMN  NOW",
            "    id      4",
            r"    text    e'd\n'",
            "    size    NULL",
        ]
        answer = json.loads(
            host.run("comparebackups", "acme", "1", "--table", "note", "--rows", "--json").stdout
        )
        assert answer["rows"] == [
            {
                "kind": "gone",
                "key": [3],
                "then": {"id": 3, "text": "c", "size": {"hex": "00"}},
                "now": None,
            },
            {
                "kind": "changed",
                "key": [1],
                "then": {"id": 1, "text": "Mueller", "size": 1},
                "now": {"id": 1, "text": "MUELLER", "size": 1},
            },
            {
                "kind": "changed",
                "key": [2],
                "then": {"id": 2, "text": "b", "size": "007"},
                "now": {"id": 2, "text": "b", "size": 7},
            },
            {
                "kind": "new",
                "key": [4],
                "then": None,
                "now": {"id": 4, "text": "d\n", "size": None},
            },
        ]
        log = host.run("comparebackups", "acme", "1", "--table", "log", "--rows").stdout
        assert log.endswith("\ngone\n    COLUMN  THEN\n    line    'a'\n")

    def test_rows_of_a_table_that_is_not_compared(self, host, root):
        done = host.run("comparebackups", "acme", "1", "--table", "search", "--rows")
        assert done.returncode == 1
        assert "The rows of the table search cannot be compared. It is a virtual" in done.stderr

    def test_usage_errors(self, host, root):
        for arguments, text in [
            (["globex", "1"], "There is no tenant globex. Nothing was done."),
            (["acm", "1"], "Did you mean acme?"),
            (["acme", "7"], "'acme' has no backup 7. See manage.py listbackups."),
            (["acme", "1", "nothing.sqlite3"], "has no backup nothing.sqlite3."),
            (["acme", str(root / "db.sqlite3")], "is not in the catalog."),
            (["acme", "1", "--rows"], "--rows needs --table."),
            (["acme", "1", "--table", "node"], "There is no table node. Did you mean note?"),
            (["acme", "1", "--table", "zzz"], "There is no table zzz."),
        ]:
            done = host.run("comparebackups", *arguments)
            assert (done.returncode, done.stdout) == (2, ""), done.stderr
            assert text in done.stderr
        done = host.run("comparebackups", "acme", "7", "--json")
        assert done.returncode == 2
        answer = json.loads(done.stdout)
        assert not answer["ok"]
        assert answer["errors"] == [
            {"tenant": "acme", "message": "'acme' has no backup 7. See manage.py listbackups."}
        ]

    def test_a_backup_that_is_missing_damaged_or_pruned(self, host, root):
        newer, older = (root / "backups" / row["file"] for row in host.catalog())
        content = bytearray(older.read_bytes())
        content[:100] = bytes(100)
        older.write_bytes(content)
        done = host.run("comparebackups", "acme", "1", "2")
        assert done.returncode == 1
        assert f"acme: failed. {older} is not a sound SQLite database: " in done.stderr
        assert host.run("verifybackups", "acme").returncode == 1
        done = host.run("comparebackups", "acme", "1", "2")
        assert "was found damaged, so it is not compared" in done.stderr
        newer.unlink()
        done = host.run("comparebackups", "acme", "2")
        assert done.returncode == 1
        assert f"The file {newer} no longer exists." in done.stderr
        host.query("DELETE FROM tenant_backup_backup WHERE id = 1")
        done = host.run("comparebackups", "acme", "1", "--json")
        assert done.returncode == 2
        assert "has no backup 1" in json.loads(done.stdout)["errors"][0]["message"]

    def test_in_rollback_mode_it_says_what_stands_for_today(self, host):
        root = host.add_tenant(rows=5, journal_mode="delete")
        host.succeed("runbackup acme")
        run(root / "db.sqlite3", "DELETE FROM credits")
        host.succeed("runbackup acme")
        done = host.run("comparebackups", "acme", "1")
        assert done.returncode == 0
        assert "The newest backup stands for today: today's database is not in WAL mode" in (
            done.stdout
        )
        assert "Now: 2, acme-" in done.stdout
        assert "credits  5     0    5     0    0\n" in done.stdout
