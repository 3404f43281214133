"""`restorerows` as its operator runs it: real processes, a real catalog, a site in use."""

import json
import shlex
import sqlite3
from contextlib import closing

import pytest

from tests.collating.base import INDEXES, in_order, provide
from tests.conftest import open_backup

SCHEMA = """
PRAGMA journal_mode = wal;
CREATE TABLE shop_contract (
    id integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    number varchar(20) NOT NULL UNIQUE,
    body text
);
CREATE TABLE shop_ticket (
    id integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    contract_id integer NOT NULL REFERENCES shop_contract (id) DEFERRABLE INITIALLY DEFERRED,
    title text NOT NULL
);
CREATE INDEX shop_ticket_contract ON shop_ticket (contract_id);
CREATE TABLE shop_device (
    id integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    name text NOT NULL,
    contract_id integer NULL REFERENCES shop_contract (id) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX shop_device_contract ON shop_device (contract_id);
CREATE TABLE django_session (session_key varchar(40) NOT NULL PRIMARY KEY, session_data text);
"""
ROWS = 40
DELETE_ALL = """
UPDATE shop_device SET contract_id = NULL;
DELETE FROM shop_ticket;
DELETE FROM shop_contract;
DELETE FROM django_session;
"""
SINCE = """
INSERT INTO shop_contract (id, number, body) VALUES (1000, 'since', 'new');
INSERT INTO shop_device (name, contract_id) VALUES ('since', 1000);
"""


def script(database, sql):
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.executescript(f"BEGIN; {sql}; COMMIT;")


def rows_of(file, table="shop_contract"):
    with closing(open_backup(file) if "backups" in str(file) else sqlite3.connect(file)) as one:
        return {row[0]: row for row in one.execute(f"SELECT * FROM {table}")}


def everything(database):
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return list(connection.iterdump())


def make_shop(path, rows=ROWS):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
        numbers = range(1, rows + 1)
        with connection:
            connection.executemany(
                "INSERT INTO shop_contract VALUES (?, ?, ?)",
                [(number, f"C-{number}", f"text of {number}") for number in numbers],
            )
            connection.executemany(
                "INSERT INTO shop_ticket (contract_id, title) VALUES (?, ?)",
                [(number, f"ticket {turn}") for number in numbers for turn in range(2)],
            )
            connection.executemany(
                "INSERT INTO shop_device (name, contract_id) VALUES (?, ?)",
                [(f"device {number}", number) for number in numbers],
            )
            connection.execute("INSERT INTO django_session VALUES ('key', 'data')")
    return path


class Shop:
    """A host with one tenant, and a backup of it."""

    def __init__(self, host):
        self.host = host
        self.root = host.tenants / "acme"
        self.root.mkdir(parents=True)
        self.database = make_shop(self.root / "db.sqlite3")

    def back_up(self):
        self.host.succeed("runbackup acme")
        backup = self.host.catalog()[0]
        self.backup, self.file = backup["id"], self.root / "backups" / backup["file"]
        return self

    def run(self, *arguments, **options):
        return self.host.run("restorerows", "acme", *arguments, **options)

    def bring_back(self, *arguments):
        done = self.run(self.backup, *arguments, "--no-input", "--json")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def refuse(self, *arguments):
        """What is said when nothing is done, and that it was not."""
        before, catalog = everything(self.database), self.host.catalog()
        done = self.run(self.backup, *arguments, "--no-input")
        assert done.returncode == 1, f"{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        assert everything(self.database) == before
        assert self.host.catalog() == catalog
        assert self.host.query("SELECT count(*) FROM tenant_backup_rowrestore") == [(0,)]
        return done.stderr

    def undo(self, answer):
        arguments = shlex.split(answer["undo"])
        assert arguments[:3] == ["python", "manage.py", "restorerows"]
        return self.host.run(*arguments[2:], "--no-input")

    def sql(self, sql):
        script(self.database, sql)


@pytest.fixture
def shop(host):
    return Shop(host).back_up()


@pytest.fixture
def new_shop(host):
    return Shop(host)


def schema(shop, sql):
    schema_of(shop.database, sql)


def schema_of(database, sql):
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(sql)


def test_the_accident_is_undone_while_what_came_since_stays(shop):
    shop.sql(DELETE_ALL + SINCE)
    before = everything(shop.database)

    answer = shop.bring_back("shop_contract", "--with-related")

    assert answer["ok"]
    assert answer["tables"] == [
        {"table": "shop_contract", "restored": ROWS, "updated": 0, "skipped": 0},
        {"table": "shop_device", "restored": 0, "updated": ROWS, "skipped": 0},
        {"table": "shop_ticket", "restored": 2 * ROWS, "updated": 0, "skipped": 0},
    ]
    for table in ("shop_contract", "shop_ticket", "shop_device"):
        now, was = rows_of(shop.database, table), rows_of(shop.file, table)
        assert {key: now[key] for key in was} == was
    assert rows_of(shop.database)[1000][1] == "since"
    assert rows_of(shop.database, "django_session") == {}
    copy = shop.host.catalog()[0]
    assert answer["safety_copy"].endswith(f"/acme/backups/{copy['file']}")
    assert copy["trigger"] == "restore"
    assert rows_of(shop.file.with_name(copy["file"]), "shop_ticket") == {}
    [(until,)] = shop.host.query(
        "SELECT julianday(held_until) - julianday(created_at) FROM tenant_backup_backup "
        "WHERE id = ?",
        copy["id"],
    )
    assert 29.9 < until < 30.1

    undone = shop.undo(answer)
    assert undone.returncode == 0, undone.stderr
    assert everything(shop.database) == before
    again = shop.undo(answer)
    assert again.returncode == 1
    assert "was undone already" in again.stderr


def test_a_database_in_rollback_mode_gets_its_rows_back_too(new_shop):
    schema(new_shop, "PRAGMA journal_mode = delete")
    shop = new_shop.back_up()
    shop.sql(DELETE_ALL)
    before = everything(shop.database)
    answer = shop.bring_back("shop_contract", "--with-related")
    assert rows_of(shop.database) == rows_of(shop.file)
    with closing(sqlite3.connect(shop.database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert shop.undo(answer).returncode == 0
    assert everything(shop.database) == before


def test_a_dry_run_says_all_and_makes_nothing(shop):
    shop.sql(DELETE_ALL)
    before, catalog = everything(shop.database), shop.host.catalog()
    done = shop.run(shop.backup, "shop_contract", "--with-related", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"shop_contract: {ROWS} come back (1, 2, 3, 4, 5, …)" in done.stdout
    assert f"shop_ticket: {2 * ROWS} come back" in done.stdout
    assert f"shop_device: {ROWS} get their contract_id again, now empty" in done.stdout
    assert "deleted on purpose" in done.stdout
    assert "search indexes" in done.stdout
    assert done.stdout.rstrip().endswith("Nothing was done.")
    assert (everything(shop.database), shop.host.catalog()) == (before, catalog)
    assert shop.host.query("SELECT count(*) FROM tenant_backup_rowrestore") == [(0,)]


def test_without_related_other_tables_are_only_listed(shop):
    shop.sql("DELETE FROM shop_ticket; UPDATE shop_device SET contract_id = NULL;")
    shop.sql("DELETE FROM shop_contract")
    done = shop.run(shop.backup, "shop_contract", "--no-input")
    assert done.returncode == 0, done.stderr
    assert f"shop_ticket: {2 * ROWS} gone, not chosen" in done.stdout
    assert rows_of(shop.database, "shop_ticket") == {}
    assert {row[2] for row in rows_of(shop.database, "shop_device").values()} == {None}


def test_somebody_is_asked_first(shop):
    shop.sql(DELETE_ALL)
    before = everything(shop.database)
    done = shop.run(shop.backup, "shop_contract", answers="no\n")
    assert done.returncode == 1
    assert "Nothing was done." in done.stderr
    assert everything(shop.database) == before
    assert len(shop.host.catalog()) == 1
    done = shop.run(shop.backup, "shop_contract", answers="yes\n")
    assert done.returncode == 0, done.stderr
    assert rows_of(shop.database) == rows_of(shop.file)
    [command] = [line for line in done.stdout.splitlines() if line.startswith("To undo: ")]
    assert shlex.split(command)[2:6] == ["python", "manage.py", "restorerows", "acme"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("1",),
        ("1", "shop_contract", "--undo", "1", "--no-input"),
        ("1", "shop_contract", "shop_ticket", "--no-input", "--key", "1"),
        ("1", "shop_contract", "--json"),
        ("99", "shop_contract", "--no-input"),
    ],
)
def test_wrong_use_is_a_usage_error(shop, arguments):
    shop.sql(DELETE_ALL)
    before = everything(shop.database)
    done = shop.run(*arguments)
    assert done.returncode == 2, done.stdout
    assert done.stderr.strip()
    assert everything(shop.database) == before


def test_changed_rows_become_what_they_were(shop):
    shop.sql(
        "UPDATE shop_contract SET number = 'c-3' WHERE id = 3;"
        "UPDATE shop_contract SET body = 7 WHERE id = 4;"
        "DELETE FROM shop_ticket WHERE contract_id = 5; DELETE FROM shop_device WHERE id = 5;"
        "DELETE FROM shop_contract WHERE id = 5;"
    )
    before = everything(shop.database)
    answer = shop.bring_back("shop_contract", "--changed")
    [table] = answer["tables"]
    assert table == {"table": "shop_contract", "restored": 0, "updated": 2, "skipped": 0}
    now, was = rows_of(shop.database), rows_of(shop.file)
    assert set(was) - set(now) == {5}
    assert now == {key: row for key, row in was.items() if key != 5}
    assert shop.undo(answer).returncode == 0
    assert everything(shop.database) == before

    both = shop.bring_back("shop_contract", "--changed", "--gone")
    assert both["tables"] == [{"table": "shop_contract", "restored": 1, "updated": 2, "skipped": 0}]
    assert rows_of(shop.database) == was


def test_only_the_rows_with_these_keys(shop):
    shop.sql(DELETE_ALL)
    answer = shop.bring_back("shop_contract", "--key", "7", "9")
    assert set(rows_of(shop.database)) == {7, 9}
    assert answer["not_chosen"] == [
        {"table": "shop_contract", "gone": ROWS - 2},
        {"table": "shop_ticket", "gone": 2 * ROWS},
    ]
    said = shop.run(shop.backup, "shop_contract", "--key", "7", "--no-input")
    assert said.returncode == 1
    assert "nothing to bring back of shop_contract for these keys: 7" in said.stderr


def test_keys_of_several_columns_and_uuids(new_shop):
    schema(
        new_shop,
        """
        CREATE TABLE place (row integer NOT NULL, seat text NOT NULL, guest text,
                            PRIMARY KEY (row, seat)) WITHOUT ROWID;
        INSERT INTO place VALUES (1, 'a', 'Ada'), (1, 'b', 'Bob'), (2, 'a', 'Cyd');
        CREATE TABLE note (id char(32) NOT NULL PRIMARY KEY, body text);
        INSERT INTO note VALUES ('8c7e6f0e5b3a4d0c9b1f2a3c4d5e6f70', 'one'),
                                ('00000000000000000000000000000001', 'two');
        """,
    )
    shop = new_shop.back_up()
    shop.sql("DELETE FROM place; DELETE FROM note;")
    shop.bring_back("place", "--key", "1,b", "2,a")
    shop.bring_back("note", "--key", "8c7e6f0e-5b3a-4d0c-9b1f-2a3c4d5e6f70")
    with closing(sqlite3.connect(shop.database)) as connection:
        assert connection.execute("SELECT guest FROM place").fetchall() == [("Bob",), ("Cyd",)]
        assert connection.execute("SELECT body FROM note").fetchall() == [("one",)]


# What is refused


REFUSED = {
    "no primary key": (
        "CREATE TABLE loose (a, b); INSERT INTO loose VALUES (1, 2);",
        "DELETE FROM loose",
        ["loose"],
        "It has no primary key.",
    ),
    "virtual": (
        "CREATE VIRTUAL TABLE words USING fts5 (body); INSERT INTO words VALUES ('a');",
        "DELETE FROM words",
        ["words"],
        "virtual table",
    ),
    "shadow": (
        "CREATE VIRTUAL TABLE words USING fts5 (body); INSERT INTO words VALUES ('a');",
        "DELETE FROM words",
        ["words_content"],
        "belongs to the virtual table words",
    ),
    "django-q2": (
        "CREATE TABLE django_q_task (id integer PRIMARY KEY, name); "
        "INSERT INTO django_q_task VALUES (1, 'x');",
        "DELETE FROM django_q_task",
        ["django_q_task"],
        "a table of django-q2",
    ),
    "ours": (
        "CREATE TABLE tenant_backup_event (id integer PRIMARY KEY, name); "
        "INSERT INTO tenant_backup_event VALUES (1, 'x');",
        "DELETE FROM tenant_backup_event",
        ["tenant_backup_event"],
        "a table of tenant_backup",
    ),
    "unknown": ("", "SELECT 1", ["shop_contracts"], "Is it one of these: shop_contract"),
    "a column is gone": (
        "CREATE TABLE thing (id integer PRIMARY KEY, name, colour, size); "
        "INSERT INTO thing VALUES (1, 'x', 'red', 2);",
        "ALTER TABLE thing DROP COLUMN colour; DELETE FROM thing;",
        ["thing"],
        "Its column colour is gone today.",
    ),
    "a new column needs a value": (
        "CREATE TABLE thing (id integer PRIMARY KEY, name); INSERT INTO thing VALUES (1, 'x');",
        "DROP TABLE thing; "
        "CREATE TABLE thing (id integer PRIMARY KEY, name, colour text NOT NULL);",
        ["thing"],
        "Its new column colour needs a value, and the database has no default for it.",
    ),
    "another key": (
        "CREATE TABLE thing (id integer PRIMARY KEY, name); INSERT INTO thing VALUES (1, 'x');",
        "DROP TABLE thing; CREATE TABLE thing (id integer, name PRIMARY KEY);",
        ["thing"],
        "Its primary key is another one today.",
    ),
    "a table that is gone": (
        "CREATE TABLE thing (id integer PRIMARY KEY, name); INSERT INTO thing VALUES (1, 'x');",
        "DROP TABLE thing",
        ["thing"],
        "It no longer exists.",
    ),
    "a reused key": (
        "CREATE TABLE thing (id integer PRIMARY KEY, name, colour); "
        "INSERT INTO thing VALUES (1, 'x', 'red');",
        "UPDATE thing SET name = 'y', colour = 'blue'",
        ["thing", "--changed"],
        "thing 1: it differs in every column",
    ),
    "triggers write to it": (
        "CREATE TABLE thing (id integer PRIMARY KEY, name, colour); "
        "INSERT INTO thing VALUES (1, 'x', 'red'); "
        "CREATE TRIGGER counting AFTER INSERT ON shop_ticket BEGIN "
        "UPDATE /* often */ \"thing\" SET colour = 'seen'; END;",
        "UPDATE thing SET name = 'y'",
        ["thing", "--changed"],
        "because triggers write to it: counting",
    ),
    "a column that must not be empty": (
        "CREATE TABLE thing (id integer PRIMARY KEY, name); INSERT INTO thing VALUES (1, NULL);",
        "DROP TABLE thing; CREATE TABLE thing (id integer PRIMARY KEY, name text NOT NULL);",
        ["thing"],
        "thing 1: name must not be empty any more.",
    ),
    "taken": (
        "",
        "DELETE FROM shop_ticket WHERE contract_id = 4; DELETE FROM shop_device WHERE id = 4;"
        "DELETE FROM shop_contract WHERE id = 4;"
        "INSERT INTO shop_contract VALUES (77, 'C-4', 'again');",
        ["shop_contract"],
        "shop_contract 4: row 77 has the same number now.",
    ),
    "a condition and an expression": (
        "CREATE TABLE thing (id integer PRIMARY KEY, name, is_active); "
        "CREATE UNIQUE INDEX one_active ON thing (lower(name)) WHERE is_active = 1; "
        "INSERT INTO thing VALUES (1, 'x', 1), (2, 'x', 0);",
        "DELETE FROM thing; INSERT INTO thing VALUES (3, 'X', 1);",
        ["thing"],
        "thing 1: row 3 has the same one_active now.",
    ),
    "unique only now": (
        "CREATE TABLE thing (id integer PRIMARY KEY, name); "
        "INSERT INTO thing VALUES (1, 'x'), (2, 'x'), (3, NULL), (4, NULL);",
        "DELETE FROM thing; CREATE UNIQUE INDEX names ON thing (name);",
        ["thing"],
        "thing 2: another row of the backup has the same name, which must be unique now.",
    ),
    "a gone parent": (
        "",
        DELETE_ALL,
        ["shop_ticket"],
        "shop_ticket 1: it needs shop_contract 1, which is gone. Name shop_contract, too.",
    ),
    "others change with it": (
        "CREATE TABLE thing (id integer PRIMARY KEY, name UNIQUE, colour); "
        "CREATE TABLE part (id integer PRIMARY KEY, "
        "of REFERENCES THING (name) ON UPDATE CASCADE); "
        "INSERT INTO thing VALUES (1, 'x', 'red'); INSERT INTO part VALUES (1, NULL);",
        "UPDATE thing SET name = 'y'",
        ["thing", "--changed"],
        "because rows of other tables would change with them: part",
    ),
    "nothing is gone": ("", "SELECT 1", ["shop_contract"], "no row of shop_contract is gone"),
    "nothing has changed": (
        "",
        "SELECT 1",
        ["shop_contract", "--changed"],
        "no row of shop_contract has changed",
    ),
    "a check": (
        "CREATE TABLE thing (id integer PRIMARY KEY, size); INSERT INTO thing VALUES (1, -1);",
        "DROP TABLE thing; CREATE TABLE thing (id integer PRIMARY KEY, size CHECK (size > 0));",
        ["thing"],
        "CHECK constraint failed",
    ),
}
AFTER_THE_BACKUP = {"a check"}
"""Only the database itself can judge these, in the transaction: then there is a backup already."""


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_brought_back_is_refused_in_words(new_shop, case):
    before_backup, since, arguments, words = REFUSED[case]
    schema(new_shop, before_backup)
    shop = new_shop.back_up()
    schema(shop, since)
    if case not in AFTER_THE_BACKUP:
        assert words in shop.refuse(*arguments)
        return
    before = everything(shop.database)
    done = shop.run(shop.backup, *arguments, "--no-input")
    assert done.returncode == 1
    assert words in done.stderr
    assert f"The backup {shop.host.catalog()[0]['file']} was made before." in done.stderr
    assert everything(shop.database) == before
    assert shop.host.query("SELECT count(*) FROM tenant_backup_rowrestore") == [(0,)]


def test_a_gone_parent_comes_back_if_its_table_is_named(shop):
    shop.sql(DELETE_ALL)
    shop.bring_back("shop_ticket", "shop_contract")
    assert rows_of(shop.database) == rows_of(shop.file)
    assert rows_of(shop.database, "shop_ticket") == rows_of(shop.file, "shop_ticket")


def test_a_conflict_takes_with_it_what_needs_it(shop):
    shop.sql(DELETE_ALL + "INSERT INTO shop_contract VALUES (77, 'C-4', 'again');")
    before = everything(shop.database)
    answer = shop.bring_back("shop_contract", "--with-related", "--skip-conflicts")
    assert answer["tables"] == [
        {"table": "shop_contract", "restored": ROWS - 1, "updated": 0, "skipped": 1},
        {"table": "shop_device", "restored": 0, "updated": ROWS - 1, "skipped": 1},
        {"table": "shop_ticket", "restored": 2 * ROWS - 2, "updated": 0, "skipped": 2},
    ]
    assert 4 not in rows_of(shop.database)
    assert rows_of(shop.database, "shop_device")[4][2] is None
    assert shop.undo(answer).returncode == 0
    assert everything(shop.database) == before


def test_sessions_and_the_like_come_back_only_when_named(new_shop):
    schema(
        new_shop,
        """
        CREATE TABLE auth_user (id integer PRIMARY KEY, name);
        CREATE TABLE auth_user_groups (id integer PRIMARY KEY, user_id REFERENCES auth_user (id));
        CREATE TABLE authtoken_token (key text NOT NULL PRIMARY KEY,
                                      contract_id REFERENCES shop_contract (id));
        INSERT INTO auth_user VALUES (1, 'ada');
        INSERT INTO auth_user_groups VALUES (1, 1);
        INSERT INTO authtoken_token VALUES ('secret', 1);
        """,
    )
    shop = new_shop.back_up()
    shop.sql("DELETE FROM authtoken_token;" + DELETE_ALL)
    shop.sql("DELETE FROM auth_user_groups; DELETE FROM auth_user;")
    shop.bring_back("shop_contract", "auth_user", "--with-related")
    assert rows_of(shop.database, "auth_user") == {1: (1, "ada")}
    for table in ("auth_user_groups", "authtoken_token", "django_session"):
        assert rows_of(shop.database, table) == {}
    for table in ("auth_user_groups", "authtoken_token", "django_session"):
        shop.bring_back(table)
        assert len(rows_of(shop.database, table)) == 1


# The undo


@pytest.mark.parametrize(
    ("since", "words"),
    [
        (
            "UPDATE shop_contract SET body = 'edited' WHERE id = 8",
            "shop_contract 8: it is no longer as it was restored.",
        ),
        (
            "UPDATE shop_device SET contract_id = 1 WHERE id = 9",
            "shop_device 9: it is no longer as it was restored.",
        ),
        (
            "INSERT INTO shop_ticket VALUES (900, 8, 'since')",
            "shop_contract 8: shop_ticket 900 refers to it now.",
        ),
        ("DELETE FROM shop_ticket WHERE id = 3", "shop_ticket 3: it is no longer as it was"),
    ],
)
def test_what_was_touched_since_is_not_undone(shop, since, words):
    shop.sql(DELETE_ALL)
    answer = shop.bring_back("shop_contract", "--with-related")
    shop.sql(since)
    before = everything(shop.database)
    done = shop.undo(answer)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Nothing was undone" in done.stderr
    assert everything(shop.database) == before


def test_what_else_happened_since_does_not_stand_in_the_way(shop):
    shop.sql(DELETE_ALL)
    answer = shop.bring_back("shop_contract", "--with-related")
    shop.sql(SINCE + "UPDATE shop_device SET name = 'renamed' WHERE id = 9;")
    assert shop.undo(answer).returncode == 0
    assert set(rows_of(shop.database)) == {1000}
    assert rows_of(shop.database, "shop_device")[9] == (9, "renamed", None)


def test_an_unknown_number_and_one_that_is_too_old(shop):
    assert "under the number 5" in shop.run("--undo", "5", "--no-input").stderr
    shop.sql(DELETE_ALL)
    answer = shop.bring_back("shop_contract")
    shop.host.query("UPDATE tenant_backup_rowrestore SET plan = ?", b"")
    done = shop.undo(answer)
    assert done.returncode == 1
    assert "can no longer be undone" in done.stderr


def test_the_history_says_who_and_what(shop):
    shop.sql(DELETE_ALL)
    answer = shop.bring_back("shop_contract", "--with-related")
    assert shop.undo(answer).returncode == 0
    events = shop.host.query(
        "SELECT kind, backup_id, actor, detail FROM tenant_backup_event "
        "WHERE kind LIKE 'rows_%' ORDER BY id"
    )
    tables = f"shop_contract: {ROWS}, shop_device: {ROWS}, shop_ticket: {2 * ROWS}"
    assert [(kind, backup) for kind, backup, *_ in events] == [
        ("rows_restored", shop.backup),
        ("rows_undone", shop.backup),
    ]
    for *_, actor, detail in events:
        assert actor
        assert detail.endswith(tables)


# The connection


def test_functions_and_collations_are_those_of_the_alias_that_leads_to_the_database(new_shop):
    with closing(sqlite3.connect(new_shop.database)) as connection:
        provide(connection)
        connection.executescript(INDEXES)
    link = new_shop.host.directory / "link"
    link.symlink_to(new_shop.root)
    alias = {"ENGINE": "tests.collating", "NAME": str(link / "db.sqlite3")}
    new_shop.host.configure(
        DATABASES={"acme": alias}, DATABASE_ROUTERS=["tenant_backup.routers.CatalogRouter"]
    )
    shop = new_shop.back_up()
    with closing(sqlite3.connect(shop.database)) as connection:
        provide(connection)
        connection.executescript(DELETE_ALL)
    answer = shop.bring_back("shop_contract", "--with-related")
    assert in_order(shop.database) == [f"C-{number}" for number in range(1, ROWS + 1)]
    assert shop.undo(answer).returncode == 0
    assert in_order(shop.database) == []


def test_the_journal_mode_of_another_alias_stays_with_that(new_shop):
    """The control database's options put it into WAL mode, and only it."""
    schema(new_shop, "PRAGMA journal_mode = delete")
    shop = new_shop.back_up()
    shop.sql(DELETE_ALL)
    shop.bring_back("shop_contract")
    with closing(sqlite3.connect(shop.database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_the_catalog_may_lie_in_the_very_database(host, mode):
    """In rollback mode whoever writes to the catalog in between would wait for itself."""
    host.environment |= {
        "TEST_PROVIDER": "tenant_backup.tenants.SingleTenant",
        "TEST_JOURNAL_MODE": mode,
        "TEST_BUSY_TIMEOUT": "2",
        "TEST_CONTROL_TIMEOUT": "2",
    }
    database = host.directory / "control.sqlite3"
    schema_of(database, SCHEMA.rpartition("CREATE TABLE django_session")[0])
    schema_of(database, f"PRAGMA journal_mode = {mode}")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO shop_contract VALUES (1, 'C-1', 'text')")
        connection.execute("INSERT INTO shop_ticket VALUES (1, 1, 'ticket')")
    host.succeed("runbackup")
    script(database, DELETE_ALL)
    backup = host.catalog()[0]["id"]
    done = host.run(
        "restorerows", "default", backup, "shop_contract", "--with-related", "--no-input", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert rows_of(database, "shop_ticket") == {1: (1, 1, "ticket")}
    undo = shlex.split(json.loads(done.stdout)["undo"])
    undone = host.run(*undo[2:], "--no-input")
    assert undone.returncode == 0, undone.stderr
    assert rows_of(database) == rows_of(database, "shop_ticket") == {}
