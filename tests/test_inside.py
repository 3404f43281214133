"""Inside a backup: its tables beside today's, opened to the rows that differ."""

import re
import sqlite3
from contextlib import closing
from datetime import timedelta
from html import unescape

import pytest
from django.urls import reverse
from django.utils import timezone

from tenant_backup import backups, rows, sqlite
from tenant_backup.models import Backup, Event
from tenant_backup.tenants import ACTIONS
from tenant_backup.views import inside
from tests.conftest import names_in
from tests.test_admin import operator, staff
from tests.test_hub import row
from tests.test_views import (
    EVERYTHING,
    HostNames,
    make,
    project,
    said,
    text_of,
    visit,
)

__all__ = ["operator", "project", "row", "staff", "visit"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE = """<script>alert('x')</script>"""
NONE = "\N{EN DASH}"


@pytest.fixture
def change(tenant):
    """Change the tenant's database, which is in WAL mode, and leave its log there."""
    connection = sqlite3.connect(tenant.database)

    def change(*statements):
        with connection:
            for sql in statements:
                connection.execute(sql)

    yield change
    connection.close()


@pytest.fixture
def with_users(tenant, change):
    """The tenant has Django's table of users, whose fields have names."""
    change(
        "CREATE TABLE auth_user (id INTEGER PRIMARY KEY, password TEXT, is_active BOOL, "
        "username TEXT, first_name TEXT, date_joined TEXT)",
        *(
            f"INSERT INTO auth_user VALUES ({number}, 'secret-{number}', 1, 'user-{number}', "
            f"'Name {number}', '2026-01-{number % 28 + 1:02} 08:00:00')"
            for number in range(1, 61)
        ),
    )


def contents(backup):
    return reverse("tenant_backup:contents", args=[backup.pk])


def opened(backup, **asked):
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    return f"{reverse('tenant_backup:rows', args=[backup.pk])}?{query}"


def lines(answer):
    """The cells of each row of each table, as text; the headings first."""
    rows_ = re.findall(r"<tr[^>]*>(.*?)</tr>", answer.content.decode(), re.DOTALL)
    plain = [
        [
            " ".join(unescape(re.sub(r"<[^>]*>", " ", cell)).split())
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", each, re.DOTALL)
        ]
        for each in rows_
    ]
    return [line for line in plain if line]


class TestTables:
    def test_what_people_know_is_first_and_the_rest_is_folded_away(self, with_users, tenant, visit):
        answer = visit().get(contents(make(tenant)))
        page = answer.content.decode()
        first, folded = page.split("<details", 1)
        assert "Users</a>" in first
        assert "credits" not in first
        assert "2 other tables, of the software itself" in folded
        assert "credits</a>" in folded
        assert not folded.startswith(" open")

    def test_a_name_that_is_no_text_is_shown_as_well_as_it_can_be(self, tenant, visit):
        with closing(sqlite3.connect(tenant.database)) as connection:
            connection.executescript(
                "CREATE TABLE shop_old (id INTEGER); PRAGMA writable_schema = ON;"
                "UPDATE sqlite_master SET name = CAST(x'7aff' AS TEXT),"
                " tbl_name = CAST(x'7aff' AS TEXT),"
                " sql = 'CREATE TABLE ' || CAST(x'7aff' AS TEXT) || ' (id INTEGER)'"
                " WHERE name = 'shop_old'"
            )
        answer = visit().get(contents(make(tenant)))
        assert answer.status_code == 200
        assert "z\N{REPLACEMENT CHARACTER}" in text_of(answer)
        assert "is no valid text" in text_of(answer)

    def test_without_models_nothing_is_folded(self, tenant, visit):
        assert "<details open>" in visit().get(contents(make(tenant))).content.decode()

    def test_gone_changed_and_new(self, with_users, tenant, change, visit):
        backup = make(tenant)
        change(
            "DELETE FROM auth_user WHERE id <= 20",
            "UPDATE auth_user SET first_name = 'x' WHERE id > 57",
            "INSERT INTO auth_user (username) VALUES ('new')",
        )
        answer = visit().get(contents(backup))
        assert ["Table", "Then", "Today", "Gone", "Changed", "New"] in lines(answer)
        assert ["Users", "60", "41", "20", "3", "1"] in lines(answer)
        assert "compared with the newest backup" not in text_of(answer)

    def test_nothing_is_written(self, with_users, tenant, change, visit):
        backup = make(tenant)
        change("DELETE FROM auth_user WHERE id = 1")
        log = tenant.database.with_name("db.sqlite3-wal")
        folder = backups.directory_of(tenant).path
        before = [log.stat().st_mtime_ns, names_in(folder), Event.objects.count()]
        visit().get(contents(backup))
        visit().get(opened(backup, table="auth_user"))
        assert [log.stat().st_mtime_ns, names_in(folder), Event.objects.count()] == before

    def test_a_table_that_differs_in_its_columns_says_so(self, with_users, tenant, change, visit):
        backup = make(tenant)
        change("ALTER TABLE auth_user ADD COLUMN mood")
        answer = visit().get(contents(backup))
        assert "Columns were added: mood." in text_of(answer)
        [line] = [each for each in lines(answer) if each[0].startswith("Users")]
        assert line[1:] == ["60", "60", "-", "-", "-"]

    def test_past_the_deadline_it_says_more_than(self, with_users, tenant, visit, monkeypatch):
        backup = make(tenant)

        def compare(*arguments, **options):
            found = compared(*arguments, **options)
            found.tables[:] = [
                inside.Difference(each.table, 60, 60, 1234, 0, 7, True, None, False)
                for each in found.tables
            ]
            return found

        compared = rows.compare
        monkeypatch.setattr(rows, "compare", compare)
        answer = visit().get(contents(backup))
        assert ["Users", "60", "60", "more than 1,200", "more than 6", "-"] in lines(answer)
        assert "There was not enough time to compare everything" in text_of(answer)

    def test_without_any_time_nothing_is_claimed(self, with_users, tenant, visit, monkeypatch):
        monkeypatch.setattr(inside, "SECONDS", -1)
        answer = visit().get(contents(make(tenant)))
        assert answer.status_code == 200
        [line] = [each for each in lines(answer) if each[0].startswith("Users")]
        assert set(line[1:]) == {"-"}

    def test_in_rollback_mode_today_is_the_newest_backup(self, with_users, tenant, change, visit):
        backup = make(tenant)
        Backup.objects.update(created_at=timezone.now() - timedelta(days=1))
        change("DELETE FROM auth_user WHERE id <= 20")
        newest = make(tenant)
        change("DELETE FROM auth_user")
        self.leave_wal(tenant, change)
        answer = visit().get(contents(backup))
        assert f"It is compared with the newest backup, No. {newest.pk}, made " in text_of(answer)
        assert ["Users", "60", "40", "20", "0", "0"] in lines(answer)
        assert ["Table", "Then", "Newest", "Gone", "Changed", "New"] in lines(answer)

    def test_there_the_newest_itself_has_numbers_at_least(self, with_users, tenant, change, visit):
        newest = make(tenant)
        self.leave_wal(tenant, change)
        answer = visit().get(contents(newest))
        assert answer.status_code == 200
        assert ["Users", "60", "60", "-", "-", "-"] in lines(answer)
        assert "only their numbers" in text_of(answer)

    @staticmethod
    def leave_wal(tenant, change):
        change("PRAGMA journal_mode = DELETE")
        assert sqlite.look(tenant.database, busy_timeout=5).journal_mode == "delete"


class TestAsking:
    def test_what_is_gone_can_be_ticked(self, with_users, tenant, change, visit):
        backup = make(tenant)
        change("DELETE FROM auth_user WHERE id <= 20")
        page = visit().get(contents(backup)).content.decode()
        boxes = re.findall(r'type="checkbox" form="ask" name="table" value="(\w+)"', page)
        assert boxes == ["auth_user"]
        fields = {"backup": backup.pk, "table": "auth_user", "note": ""}
        assert visit().post(reverse("tenant_backup:ask"), fields).status_code == 302
        asked = rows.open_request("acme")
        assert (asked.backup, asked.tables) == (backup, ["auth_user"])
        page = visit().get(contents(backup)).content.decode()
        assert 'form="ask"' not in page
        assert "Take it back" in page

    def test_only_by_who_may(self, with_users, tenant, change, visit):
        backup = make(tenant)
        change("DELETE FROM auth_user")
        page = visit("vera").get(contents(backup)).content.decode()
        assert 'form="ask"' not in page
        assert 'id="ask"' not in page


class TestRows:
    @pytest.fixture
    def backup(self, with_users, tenant):
        return make(tenant)

    def test_that_are_gone_by_the_names_of_their_fields(self, backup, change, visit):
        change("DELETE FROM auth_user WHERE id = 7")
        answer = visit().get(opened(backup, table="auth_user"))
        head, line = lines(answer)
        assert head == ["ID", "Password", "Active", "Username", "First name", "Date joined"]
        assert line == ["7", "•••", "yes", "user-7", "Name 7", "Jan. 8, 2026, 8 a.m."]
        assert "secret-7" not in answer.content.decode()
        assert "Gone (1) Changed (0) New (0)" in text_of(answer)

    def test_that_have_changed_old_and_new_side_by_side(self, backup, change, visit):
        change("UPDATE auth_user SET first_name = 'Eve', is_active = 0 WHERE id = 7")
        answer = visit().get(opened(backup, table="auth_user", kind="changed"))
        assert lines(answer) == [
            ["Row", "Field", "Then", "Today"],
            ["7: user-7", "Active", "yes", "no"],
            ["First name", "Name 7", "Eve"],
        ]

    def test_that_are_new(self, backup, change, visit):
        change("INSERT INTO auth_user (id, username) VALUES (99, 'new')")
        answer = visit().get(opened(backup, table="auth_user", kind="new"))
        assert lines(answer)[1:] == [["99", NONE, NONE, "new", NONE, NONE]]

    def test_page_by_page(self, backup, change, visit):
        change("DELETE FROM auth_user")
        client, found = visit(), []
        address = opened(backup, table="auth_user")
        for _ in range(3):
            answer = client.get(address)
            found += [line[0] for line in lines(answer)[1:]]
            [*following] = re.findall(r'rel="next" href="([^"]+)"', answer.content.decode())
            address = unescape(following[0]) if following else ""
        assert found == [str(number) for number in range(1, 61)]
        assert not address
        assert 'rel="prev"' in answer.content.decode()
        beyond = client.get(opened(backup, table="auth_user", page=99))
        assert "There are none." in text_of(beyond)

    def test_a_table_that_is_gone_still_shows_its_rows(self, backup, change, visit):
        change("DROP TABLE auth_user")
        answer = visit().get(opened(backup, table="auth_user"))
        assert len(lines(answer)) == 1 + inside.ROWS_PER_PAGE

    def test_whatever_a_row_holds_it_is_text(self, backup, change, visit):
        change(f'UPDATE auth_user SET first_name = "{HOSTILE}"')
        page = visit().get(opened(backup, table="auth_user", kind="changed")).content.decode()
        assert HOSTILE not in page
        assert "&lt;script&gt;" in page

    def test_a_table_of_any_name_can_be_opened(self, tenant, change, visit):
        name = """a/b "c" & 'd'?"""
        quoted = name.replace('"', '""')
        change(
            f'CREATE TABLE "{quoted}" (id INTEGER PRIMARY KEY)',
            f'INSERT INTO "{quoted}" VALUES (5)',
        )
        backup = make(tenant)
        change(f'DELETE FROM "{quoted}"')
        client = visit()
        page = client.get(contents(backup)).content.decode()
        [address] = [unescape(each) for each in re.findall(r'href="([^"]*a%2Fb[^"]*)"', page)]
        assert lines(client.get(address)) == [["id"], ["5"]]

    @pytest.mark.parametrize("kind", ["", "all", "gone'--", "\0"])
    @pytest.mark.parametrize("page", ["", "0", "-1", "x", "9" * 5000])
    def test_nonsense_is_the_first_page_of_what_is_gone(self, backup, visit, kind, page):
        answer = visit().get(
            reverse("tenant_backup:rows", args=[backup.pk]),
            {"table": "auth_user", "kind": kind, "page": page},
        )
        assert answer.status_code == 200
        assert (answer.context["kind"], answer.context["number"]) == ("gone", 1)

    @pytest.mark.parametrize("table", ["", "nothing", "sqlite_master", "auth_user; DROP TABLE x"])
    def test_no_such_table_is_404(self, backup, visit, table):
        address = reverse("tenant_backup:rows", args=[backup.pk])
        assert visit().get(address, {"table": table}).status_code == 404

    def test_another_tenants_is_404(self, backup, add_tenant, visit):
        theirs = make(add_tenant("globex"))
        assert visit().get(opened(theirs, table="credits")).status_code == 404

    def test_numbers_are_for_all_and_rows_for_who_may_download(
        self, backup, change, visit, monkeypatch
    ):
        change("DELETE FROM auth_user WHERE id = 7")
        monkeypatch.setitem(HostNames.may, "ada", {"acme": EVERYTHING - {"download"}})
        answer = visit().get(contents(backup))
        assert ["Users", "60", "59", "1", "0", "0"] in lines(answer)
        assert "/rows/" not in answer.content.decode()
        assert visit().get(opened(backup, table="auth_user")).status_code == 403
        assert "download" in ACTIONS

    def test_what_cannot_be_compared_is_said_on_the_page_of_all_tables(self, backup, change, visit):
        change("ALTER TABLE auth_user ADD COLUMN mood")
        answer = visit().get(opened(backup, table="auth_user", kind="changed"))
        assert answer.status_code == 302
        assert answer.url == contents(backup)
        assert "Columns were added: mood." in said(answer)

    def test_so_is_that_it_takes_too_long(self, tenant, change, visit, monkeypatch):
        change(
            "CREATE TABLE many (id INTEGER PRIMARY KEY)",
            "INSERT INTO many WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c "
            "WHERE n < 200000) SELECT n FROM c",
        )
        backup = make(tenant)
        monkeypatch.setattr(inside, "SECONDS", -1)
        answer = visit().get(opened(backup, table="many"))
        assert answer.url == contents(backup)
        assert "took longer than allowed" in said(answer)
        assert not visit().get(answer.url).context["is_complete"]
