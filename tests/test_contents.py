"""Look inside: what a backup holds, beside today's database, and neither is disturbed."""

import json
import shlex
import sqlite3
import time
from contextlib import closing
from html import unescape

import pytest
from django.core.management import load_command_class
from django.urls import reverse

from tenant_backup import backups, sqlite
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, Event
from tenant_backup.restore import manual
from tests import test_counts
from tests.conftest import Process, make_database, names_in
from tests.test_sqlite_restore import KILLED
from tests.test_terminal import on_terminal
from tests.test_views import is_page, make, project, said, text_of, visit

__all__ = ["project", "visit"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)


def address(backup):
    return reverse("tenant_backup:contents", args=[backup.pk])


@pytest.fixture
def change(tenant):
    """Change the tenant's database, and leave it as a host in WAL mode does: with its log."""
    connection = sqlite3.connect(tenant.database)

    def change(sql):
        with connection:
            connection.execute(sql)

    yield change
    connection.close()


class TestCounting:
    def test_a_file_is_counted_and_left_as_it_was(self, tmp_path):
        database = make_database(tmp_path / "db.sqlite3", rows=7)
        before = database.stat()
        assert sqlite.contents(database) == {"credits": 7, "debits": 7}
        assert names_in(tmp_path) == ["db.sqlite3"]
        after = database.stat()
        assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)

    def test_any_name_is_a_name(self, tmp_path):
        path = tmp_path / "db.sqlite3"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute('CREATE TABLE "a ""b""; --" (x)')
            connection.execute("CREATE TABLE sqliteish (x INTEGER PRIMARY KEY AUTOINCREMENT)")
            connection.execute("INSERT INTO sqliteish DEFAULT VALUES")
        assert sqlite.contents(path) == {'a "b"; --': 0, "sqliteish": 1}

    def test_what_is_not_counted_by_the_deadline_is_none(self, tmp_path):
        database = make_database(tmp_path / "db.sqlite3", rows=1)
        assert sqlite.contents(database, deadline=time.monotonic() - 1) == {
            "credits": None,
            "debits": None,
        }

    def test_a_table_of_a_module_that_only_the_host_has_is_not_counted(self, tmp_path):
        path = tmp_path / "db.sqlite3"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE plain (x)")
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(
                "INSERT INTO sqlite_master VALUES "
                "('table', 'odd', 'odd', 0, 'CREATE VIRTUAL TABLE odd USING theirs(x)')"
            )
        assert sqlite.contents(path) == {"odd": None, "plain": 0}


class TestUseCase:
    def test_then_and_today_side_by_side(self, tenant, change):
        backup = make(tenant)
        change("DELETE FROM credits WHERE id <= 40")
        change("DROP TABLE debits")
        change("CREATE TABLE new (x)")
        assert [
            (table.name, table.rows, table.rows_today, table.has_changed)
            for table in backups.contents(tenant, backup)
        ] == [("credits", 100, 60, True), ("debits", 100, None, True), ("new", None, 0, True)]

    def test_what_is_equal_has_not_changed(self, tenant):
        assert not any(table.has_changed for table in backups.contents(tenant, make(tenant)))

    def test_neither_file_is_disturbed(self, tenant, change):
        backup = make(tenant)
        change("INSERT INTO credits (amount) VALUES (0)")
        log = tenant.database.with_name("db.sqlite3-wal").stat()
        directory = backups.directory_of(tenant).path
        names, file = names_in(directory), (directory / backup.file_name).stat()
        backups.contents(tenant, backup)
        assert tenant.database.with_name("db.sqlite3-wal").stat().st_mtime_ns == log.st_mtime_ns
        assert names_in(directory) == names
        assert (directory / backup.file_name).stat().st_mtime_ns == file.st_mtime_ns
        change("INSERT INTO credits (amount) VALUES (0)")

    def test_what_a_killed_process_left_is_counted_and_stays(self, tenant):
        backup = make(tenant)
        killed = Process(KILLED, tenant.database)
        killed.wait(timeout=60)
        killed.end()
        files = [tenant.database, tenant.database.with_name("db.sqlite3-wal")]
        before = [file.read_bytes() for file in files]
        table, _ = backups.contents(tenant, backup)
        assert (table.name, table.rows, table.rows_today) == ("credits", 100, 600)
        assert [file.read_bytes() for file in files] == before

    def test_a_database_that_is_gone_is_no_hindrance(self, tenant):
        backup = make(tenant)
        tenant.database.unlink()
        assert [
            (table.rows, table.is_there_today) for table in backups.contents(tenant, backup)
        ] == [
            (100, False),
            (100, False),
        ]

    def test_a_link_in_the_place_of_the_file_leads_nowhere(self, tenant, tmp_path):
        backup = make(tenant)
        file = backups.directory_of(tenant).file(backup.file_name)
        file.rename(tmp_path / "elsewhere.sqlite3")
        file.symlink_to(tmp_path / "elsewhere.sqlite3")
        with pytest.raises(BackupError, match="cannot be read"):
            backups.contents(tenant, backup)


class TestPage:
    def test_shows_both_numbers(self, tenant, visit, change):
        backup = make(tenant, label="before the import")
        change("DELETE FROM credits WHERE id <= 40")
        answer = visit().get(address(backup))
        assert answer.status_code == 200
        text = text_of(answer)
        assert "before the import" in text
        assert "credits 100 60" in text
        assert answer.content.decode().count('class="changed"') == 1
        assert not Event.objects.filter(kind="downloaded").exists()

    def test_the_operators_commands_are_for_operators(self, tenant, visit):
        backup = make(tenant)
        file = backups.directory_of(tenant).file(backup.file_name)
        page = unescape(visit("operator").get(address(backup)).content.decode())
        assert manual.commands(tenant.database, file, backup.sha256, tenant_id=tenant.id) in page
        assert f"python manage.py restorebackup acme {backup.pk}" in page
        answer = visit().get(address(backup))
        assert "credits 100 100" in text_of(answer)
        assert str(tenant.root) not in answer.content.decode()
        assert "restorebackup" not in answer.content.decode()

    def test_the_script_is_folded_and_what_is_to_be_copied_is_marked(self, tenant, visit):
        backup = make(tenant)
        page = visit("operator").get(address(backup)).content.decode()
        before, folded = page.split("<details>", 1)
        assert "restorebackup acme" in before
        assert "sh -eu" not in before
        assert "sh -eu" in folded.split("</details>")[0]
        marked = 'data-copy="Copy" data-copied="Copied"'
        assert before.count(marked) == folded.count(marked) == 1
        assert "tenant_backup/copy.js" in page
        # The script makes the button, which could do nothing without it.
        theirs = visit().get(address(backup)).content.decode()
        assert page.count("<button") == theirs.count("<button")
        assert "copy.js" not in theirs

    def test_the_services_to_stop_are_named(self, tenant, visit, settings):
        backup = make(tenant)
        assert "Here that is:" not in text_of(visit("operator").get(address(backup)))
        for given in (["gunicorn", "backups & more"], "gunicorn, backups & more"):
            operator = {"SERVICES": given}
            settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "OPERATOR": operator}
            text = text_of(visit("operator").get(address(backup)))
            assert "Here that is: gunicorn, backups & more. Then run:" in text
        assert "gunicorn" not in text_of(visit().get(address(backup)))

    def test_a_tenant_with_a_dash_is_no_option_of_the_command(self, add_tenant, visit):
        backup = make(add_tenant("-acme"))
        answer = visit("operator", tenant="-acme").get(address(backup))
        command = f"python manage.py restorebackup -- -acme {backup.pk}"
        assert command in unescape(answer.content.decode())
        options = load_command_class("tenant_backup", "restorebackup").create_parser(
            "manage.py", "restorebackup"
        )
        parsed = options.parse_args(shlex.split(command)[3:])
        assert (parsed.tenant, parsed.backup) == ("-acme", str(backup.pk))

    def test_a_database_that_is_gone_is_said(self, tenant, visit):
        backup = make(tenant)
        tenant.database.unlink()
        text = text_of(visit().get(address(backup)))
        assert "The current database is missing or cannot be read." in text
        assert "credits 100 -" in text

    def test_a_file_that_is_gone_is_said_on_the_page(self, tenant, visit):
        backup = make(tenant)
        backups.directory_of(tenant).file(backup.file_name).unlink()
        answer = visit().get(address(backup))
        assert is_page(answer)
        assert "no longer exists" in said(answer)

    @pytest.mark.parametrize("text", ["0", "x", "9" * 30, "٣"])
    def test_no_backup_is_404(self, tenant, visit, text):
        assert visit().get(reverse("tenant_backup:contents", args=[text])).status_code == 404

    def test_another_tenants_is_404(self, tenant, add_tenant, visit):
        theirs = make(add_tenant("globex"))
        assert visit().get(address(theirs)).status_code == 404


class TestCommand:
    def test_says_it_in_words_and_to_programs(self, host):
        root = host.add_tenant(rows=3)
        assert host.run("runbackup").returncode == 0
        with closing(sqlite3.connect(root / "db.sqlite3")) as connection, connection:
            connection.execute("DELETE FROM debits")
        lines = host.run("listbackups", "--contents").stdout.splitlines()
        assert lines[-4:] == [
            "acme",
            "    TABLE    TODAY  ID 1",
            "    credits  3      3",
            "    debits   0      3",
        ]
        answer = json.loads(host.run("listbackups", "--contents", "--json").stdout)
        assert answer["ok"]
        assert answer["tenants"] == [
            {
                "id": "acme",
                "contents": {
                    "1": {
                        "credits": {"rows": 3, "today": 3},
                        "debits": {"rows": 3, "today": 0},
                    }
                },
            }
        ]

    def test_one_that_cannot_be_read_does_not_keep_the_others(self, host):
        root = host.add_tenant()
        for _ in range(2):
            assert host.run("runbackup").returncode == 0
        newest = host.catalog()[0]["file"]
        (root / "backups" / newest).unlink()
        run = host.run("listbackups", "--contents")
        assert run.returncode == 1
        assert f"acme: failed. The file {root}/backups/{newest} no longer exists." in run.stderr
        assert run.stdout.count("credits  100    100\n") == 1

    def test_the_newest_backups_side_by_side(self, host):
        root = host.add_tenant(rows=30)
        database = root / "db.sqlite3"
        for statement in ("DROP TABLE debits", "DELETE FROM credits", "CREATE TABLE notes (x)"):
            host.succeed("runbackup -v 0")
            test_counts.change(database, statement)
        host.succeed("runbackup -v 0")
        # Nobody knows what the second one has, so its file is counted; the others are not read.
        with closing(sqlite3.connect(host.directory / "control.sqlite3")) as control, control:
            control.execute("DELETE FROM tenant_backup_rowcounts WHERE backup_id = 2")
            control.execute("UPDATE tenant_backup_rowcounts SET tables = '{\"credits\": null}'")
        expected = [
            "acme",
            "    TABLE    TODAY  ID 4         ID 3         ID 2  ID 1",
            "    credits  0      not counted  not counted  30    not counted",
            "    notes    0      -            -            -     -",
        ]
        assert host.run("listbackups", "--contents").stdout.splitlines()[-4:] == expected
        _, text = on_terminal(host, 60, "listbackups", "--contents")
        assert [" ".join(line.split()) for line in text.splitlines()[-5:]] == [
            "TABLE TODAY ID 4 ID 3 ID 2",
            "credits 0 not counted not counted 30",
            "notes 0 - - -",
            "These are the newest 3 of 4 good backups. More of them:",
            "--last N",
        ]
        answer = json.loads(host.run("listbackups", "--contents", "--last", "1", "--json").stdout)
        assert answer["tenants"][0]["contents"] == {
            "4": {"credits": {"rows": None, "today": 0}, "notes": {"rows": None, "today": 0}}
        }


def test_failed_ones_have_no_contents(tenant, visit):
    row = Backup.objects.create(tenant_id="acme", trigger="manual", status="failed")
    assert is_page(visit().get(address(row)))
    page = visit().get(reverse("tenant_backup:overview")).content.decode()
    assert "Look inside" not in page
