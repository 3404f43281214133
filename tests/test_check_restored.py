"""The host's own check of a backup's data: what it finds is told, and it breaks nothing."""

import hashlib
import json
import sqlite3
import threading
import time
from contextlib import closing, suppress
from io import StringIO

import django
import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connections
from django.utils import timezone, translation

from tenant_backup import automation, backups, monitoring, restore, sqlite
from tenant_backup.backups import data_check
from tenant_backup.exceptions import BackupError, DeadlineExceeded
from tenant_backup.models import Automation, Backup, BackupSettings, Event, Trigger, Verdict
from tenant_backup.sqlite import visits
from tenant_backup.tenants import check_of_data
from tests.conftest import names_in
from tests.example import Project
from tests.tenancy import Folders, Tenants

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)
ENDLESS = "WITH n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT count(*) FROM n"
UNBALANCED = "The books do not balance: 5 is left."


def balance(tenant, connection):
    """What a host would check: the sum over both tables is 0."""
    (left,) = connection.execute(
        "SELECT (SELECT sum(amount) FROM credits) + (SELECT sum(amount) FROM debits)"
    ).fetchone()
    if left:
        raise ValueError(f"The books do not balance: {left} is left.")


class Balanced(Folders):
    """A host that runs as real processes, and asks its own database while it checks."""

    def check_restored(self, tenant, connection):
        assert BackupSettings.objects.exists()
        balance(tenant, connection)


class Site(Tenants):
    """Whose page anybody may see."""

    def has_permission(self, request, tenant, action):
        return True

    def check_restored(self, tenant, connection):
        balance(tenant, connection)


@pytest.fixture
def check(monkeypatch):
    """Let the host have a check."""

    def define(function):
        monkeypatch.setattr(
            Tenants,
            "check_restored",
            lambda self, tenant, connection: function(tenant, connection),
            raising=False,
        )

    return define


def post(database, amount):
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO credits (amount) VALUES (?)", (amount,))


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def verdict_of(tenant):
    return monitoring.judge_tenant(tenant, automation_runs=True)


def file_of(tenant, backup):
    return backups.directory_of(tenant).file(backup.file_name)


class TestWithout:
    def test_a_host_that_has_no_check_costs_nothing(self, tenant, monkeypatch):
        def fail(*arguments, **options):
            raise AssertionError("A backup was opened.")

        monkeypatch.setattr(sqlite, "visit", fail)
        assert check_of_data() is None
        backup = backups.create(tenant, COMMAND).backup
        assert backups.verify_with_data(tenant, backup) == ""
        assert restore.verify(restore.newest(tenant)).finding == ""

    def test_a_provider_of_another_class_need_not_have_the_method(self, settings):
        class Other:
            pass

        globals()["Other"] = Other
        settings.TENANT_BACKUP = {"TENANT_PROVIDER": "tests.test_check_restored.Other"}
        assert check_of_data() is None


class TestFinding:
    @pytest.fixture
    def bad(self, tenant, check):
        check(balance)
        post(tenant.database, 5)
        return backups.create(tenant, COMMAND).backup

    def test_data_that_pass_are_well(self, tenant, check):
        check(balance)
        backup = backups.create(tenant, COMMAND).backup
        assert backup.check_error == ""
        assert verdict_of(tenant).findings == ()

    def test_what_it_raises_is_a_finding_and_the_backup_stays_good(self, tenant, bad):
        bad.refresh_from_db()
        assert (bad.status, bad.error, bad.check_error) == ("complete", "", UNBALANCED)
        assert bad.is_good
        assert file_of(tenant, bad).is_file()
        judgement = verdict_of(tenant)
        assert judgement.verdict is Verdict.CHECK_FAILED
        [finding] = judgement.findings
        assert str(finding).endswith(
            f"is sound, but it did not pass the check of its data: {UNBALANCED}"
        )
        assert monitoring.wrong_since(judgement) == bad.created_at
        event = Event.objects.newest_first().first()
        assert (event.kind, event.backup_id, event.said) == ("check_failed", bad.pk, UNBALANCED)

    def test_it_ends_with_the_next_backup_that_passes(self, tenant, bad):
        post(tenant.database, -5)
        assert backups.create(tenant, COMMAND).backup.check_error == ""
        assert verdict_of(tenant).findings == ()
        bad.refresh_from_db()
        assert bad.reason == f"It did not pass the check of its data: {UNBALANCED}"

    def test_it_is_known_since_when(self, tenant, bad):
        backups.create(tenant, COMMAND)
        assert monitoring.wrong_since(verdict_of(tenant)) == bad.created_at

    def test_a_safety_copy_says_nothing_about_today(self, tenant, bad):
        post(tenant.database, -5)
        backups.create(tenant, COMMAND)
        Backup.objects.filter(pk=bad.pk).update(
            trigger=Trigger.RESTORE, created_at=timezone.now(), check_error="", check_error_data=""
        )
        bad.refresh_from_db()
        assert backups.verify_with_data(tenant, bad) == ""
        assert bad.check_error == ""
        Backup.objects.filter(pk=bad.pk).update(check_error=UNBALANCED)
        assert verdict_of(tenant).findings == ()

    def test_the_operator_is_told_on_the_terminal(self, tenant, bad, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        answer, table = StringIO(), StringIO()
        with pytest.raises(CommandError) as error:
            call_command("checkbackups", "--json", stdout=answer)
        assert error.value.returncode == 1
        [acme] = json.loads(answer.getvalue())["tenants"]
        assert (acme["verdict"], acme["problems"]) == ("check_failed", ["check_failed"])
        call_command("listbackups", stdout=table)
        assert "complete, check of its data failed" in table.getvalue()
        assert UNBALANCED in table.getvalue()
        answer = StringIO()
        call_command("listbackups", "--json", stdout=answer)
        [row] = json.loads(answer.getvalue())["backups"]
        assert (row["error"], row["check_error"]) == (None, UNBALANCED)

    def test_mails_tell_it_once_and_not_again_for_a_while(self, tenant, bad, settings):
        address = "operator@example.com"
        settings.ADMINS = [address] if django.VERSION >= (6, 0) else [("Olga", address)]
        BackupSettings.objects.create(tenant_id="acme", notify_email="acme@example.com")
        for amount in (0, -5, 5):
            # It is over, and comes back: nobody wants a mail each time.
            if amount:
                post(tenant.database, amount)
                backups.create(tenant, COMMAND)
            Automation.objects.update(notified_at=None)
            monitoring.notify()
        to_operator, to_tenant = mail.outbox
        assert "the data of 1 tenant did not pass their check" in to_operator.subject
        for message in mail.outbox:
            assert UNBALANCED in message.body
        assert to_tenant.to == ["acme@example.com"]

    def test_the_page_and_the_admin_show_it(self, tenant, bad, settings, client):
        settings.TENANT_BACKUP = {"TENANT_PROVIDER": "tests.test_check_restored.Site"}
        root = User.objects.create(username="root", is_superuser=True, is_staff=True)
        client.force_login(root)
        page = client.get("/settings/admin/backup").content.decode()
        assert "The newest backup did not pass the check of its data." in page
        card = page.split('class="advice"')[1].split("</div>")[0]
        line = page.split(f'id="backup-{bad.pk}"')[1].split("</tr>")[0]
        assert UNBALANCED in card
        assert UNBALANCED in line
        assert "Make one now, below." not in page
        listed = client.get("/admin/tenant_backup/backup/").content.decode()
        assert "check of its data failed" in listed
        hub = client.get("/admin/tenant_backup/backupsettings/").content.decode()
        assert "check of the data failed" in hub

    def test_it_is_kept_in_words_that_can_be_translated(self, tenant, check):
        def raise_ours(tenant, connection):
            raise BackupError("The database %(database)s does not exist.", database="books")

        check(raise_ours)
        backup = backups.create(tenant, COMMAND).backup
        with translation.override("de"):
            assert "Die Datenbank books" in backup.reason


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("One is missing."), "One is missing."),
        (AssertionError("One is missing."), "One is missing."),
        (ValidationError(["One.", "Two."]), "One. Two."),
        (KeyError("books"), "KeyError: 'books'"),
        (RuntimeError(), "RuntimeError, without a message."),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt, without a message."),
        (ValueError("x" * 1000), f"{'x' * 500}…"),
    ],
    ids=repr,
)
def test_every_exception_is_put_into_words(tenant, check, error, said):
    def fail(tenant, connection):
        raise error

    check(fail)
    assert backups.create(tenant, COMMAND).backup.check_error == said


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def speechless(tenant, connection):
    raise Speechless


def write(tenant, connection):
    connection.execute("DELETE FROM credits")


def ask_for_a_collation(tenant, connection):
    connection.execute("SELECT 1 FROM credits ORDER BY body COLLATE german").fetchall()


def close_then_ask(tenant, connection):
    connection.close()
    connection.execute("SELECT 1")


async def later(tenant, connection):
    raise ValueError("nobody waits for this")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (speechless, "Speechless, without a message."),
        (write, "OperationalError: attempt to write a readonly database"),
        (
            ask_for_a_collation,
            "OperationalError: no such collation sequence: german. check_restored must register "
            "the project's functions and collations on the connection.",
        ),
        (close_then_ask, "Cannot operate on a closed database."),
        (later, "check_restored is asynchronous, so nothing was checked."),
        (lambda tenant, connection: False, "check_restored returned False."),
        (lambda: None, "TypeError: "),
    ],
)
def test_a_check_that_is_wrong_itself_is_told_and_breaks_nothing(tenant, check, function, said):
    check(function)
    backup = backups.create(tenant, COMMAND).backup
    assert said in backup.check_error
    file = file_of(tenant, backup)
    assert digest(file) == backup.sha256
    assert names_in(file.parent) == [file.name, f"{file.name}.sha256"]
    assert verdict_of(tenant).verdict is Verdict.CHECK_FAILED


def leave_open(tenant, connection):
    connection.execute("BEGIN")
    connection.execute("CREATE TEMP TABLE sums AS SELECT sum(amount) FROM credits")
    connection.set_progress_handler(None, 0)


@pytest.mark.parametrize(
    "function", [lambda tenant, connection: connection.close(), leave_open, lambda *_: True]
)
def test_what_a_check_leaves_behind_is_no_trouble(tenant, check, function):
    check(function)
    backup = backups.create(tenant, COMMAND).backup
    assert backup.check_error == ""
    assert digest(file_of(tenant, backup)) == backup.sha256


def test_it_can_register_the_functions_that_the_tables_need(tenant, check):
    with closing(sqlite3.connect(tenant.database)) as connection, connection:
        connection.create_function("folded", 1, str.casefold, deterministic=True)
        connection.execute("CREATE TABLE names (name, folded AS (folded(name)))")
        connection.execute("INSERT INTO names (name) VALUES ('ADA')")

    def look(tenant, connection):
        connection.create_function("folded", 1, str.casefold, deterministic=True)
        raise ValueError(connection.execute("SELECT folded FROM names").fetchone()[0])

    check(look)
    assert backups.create(tenant, COMMAND).backup.check_error == "ada"


def test_one_tenants_finding_is_not_anothers(add_tenant, check, capsys):
    check(balance)
    acme, globex = add_tenant("acme"), add_tenant("globex")
    post(acme.database, 5)
    call_command("runbackup", "-v", "0")
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    assert line.startswith("acme: check of the data failed. acme-")
    assert line.endswith(f"It did not pass the check of its data: {UNBALANCED}")
    assert verdict_of(acme).verdict is Verdict.CHECK_FAILED
    assert verdict_of(globex).findings == ()


class TestHanging:
    @pytest.fixture
    def hurry(self, monkeypatch):
        monkeypatch.setattr(data_check, "SECONDS", 1)

    def test_an_endless_statement_is_stopped(self, tenant, check, hurry):
        ended = []

        def count(tenant, connection):
            try:
                connection.execute(ENDLESS).fetchone()
            finally:
                ended.append(tenant.id)

        check(count)
        backup = backups.create(tenant, COMMAND).backup
        assert backup.check_error == (
            "It took longer than allowed and was stopped. At most 1 seconds are allowed."
        )
        assert ended == [tenant.id]

    def test_one_that_hides_it_is_no_more_trusted(self, tenant, check, hurry):
        def hide(tenant, connection):
            connection.set_progress_handler(None, 0)
            with suppress(sqlite3.OperationalError):
                connection.execute(ENDLESS).fetchone()

        check(hide)
        assert "was stopped" in backups.create(tenant, COMMAND).backup.check_error

    def test_what_cannot_be_stopped_is_left_behind_alone(
        self, add_tenant, check, hurry, monkeypatch
    ):
        monkeypatch.setattr(visits, "GRACE", 0)
        acme, globex = add_tenant("acme"), add_tenant("globex")
        free, calls = threading.Event(), []

        def wait(tenant, connection):
            calls.append(tenant.id)
            if tenant.id == "acme":
                free.wait()

        check(wait)
        try:
            first = backups.create(acme, COMMAND).backup
            assert "could not be stopped, so it was left behind" in first.check_error
            second = backups.create(acme, COMMAND).backup
            assert second.check_error == "The one before has not ended yet, so no other was begun."
            monkeypatch.setattr(data_check, "SECONDS", 60)
            assert backups.create(globex, COMMAND).backup.check_error == ""
            assert calls == ["acme", "globex"]
        finally:
            left = [
                each for each in threading.enumerate() if each.name.endswith("left behind: acme")
            ]
            free.set()
            for thread in left:
                thread.join()
        assert len(left) == 1
        assert backups.create(acme, COMMAND).backup.check_error == ""

    def test_a_worker_out_of_time_leaves_what_was_found_before(self, tenant, check):
        check(balance)
        post(tenant.database, 5)
        backup = backups.create(tenant, COMMAND).backup
        check(lambda tenant, connection: None)
        data_check.check_data(tenant, backup, deadline=time.monotonic() - 1)
        backup.refresh_from_db()
        assert backup.check_error == UNBALANCED

    def test_a_request_does_not_wait_for_long(self, monkeypatch):
        monkeypatch.setattr(time, "monotonic", lambda: 100.0)
        limits = backups.request_limits()
        assert limits.deadline is None
        assert limits.check_deadline() == 105
        assert backups.Limits(deadline=7).check_deadline() == 7
        assert backups.Limits(deadline=7, check_seconds=5).check_deadline() == 7
        assert backups.Limits().check_deadline() is None

    def test_a_signal_ends_the_wait_and_the_statement(self, tenant, monkeypatch):
        begun, ended = threading.Event(), threading.Event()

        def look(connection):
            begun.set()
            try:
                connection.execute(ENDLESS).fetchone()
            finally:
                ended.set()

        def sign_of_life():
            begun.wait()
            raise SystemExit(1)

        monkeypatch.setattr(visits, "SLICE", 0)
        backup = backups.create(tenant, COMMAND).backup
        with pytest.raises(SystemExit):
            sqlite.visit(
                file_of(tenant, backup),
                look,
                name=tenant.id,
                deadline=time.monotonic() + 60,
                sign_of_life=sign_of_life,
            )
        assert ended.wait(60)


class TestVerification:
    def test_verifybackups_fails_until_it_passes(self, tenant, check):
        check(lambda tenant, connection: None)
        backup = backups.create(tenant, COMMAND).backup
        check(balance)
        assert backups.verify_with_data(tenant, backup) == ""
        with closing(sqlite3.connect(tenant.database)) as connection, connection:
            connection.execute("UPDATE credits SET amount = 1 WHERE id = 1")
        bad = backups.create(tenant, COMMAND).backup
        said = StringIO()
        with pytest.raises(CommandError) as error:
            call_command("verifybackups", stdout=StringIO(), stderr=said)
        assert error.value.returncode == 1
        assert "It did not pass the check of its data: The books do not balance" in said.getvalue()
        bad.refresh_from_db()
        assert bad.is_good
        check(lambda tenant, connection: None)
        call_command("verifybackups", stdout=StringIO())
        kinds = Event.objects.filter(backup_id=bad.pk).order_by("pk").values_list("kind", flat=True)
        assert list(kinds) == ["completed", "check_failed", "check_passed"]
        assert verdict_of(tenant).findings == ()

    def test_the_history_does_not_repeat_it(self, tenant, check):
        count = iter(range(9))

        def fail(tenant, connection):
            raise ValueError(f"{next(count)} are missing.")

        check(fail)
        backup = backups.create(tenant, COMMAND).backup
        for _ in range(3):
            backups.verify_with_data(tenant, backup)
        backup.refresh_from_db()
        assert backup.check_error == "3 are missing."
        assert Event.objects.filter(kind="check_failed").count() == 1

    def test_a_worker_does_it_too(self, tenant, check):
        backup = backups.create(tenant, COMMAND).backup
        check(balance)
        post(tenant.database, 5)
        bad = backups.create(tenant, COMMAND).backup
        Backup.objects.update(check_error="", check_error_data="")
        assert automation.verify(backup.pk) == "good"
        assert UNBALANCED in automation.verify(bad.pk)
        bad.refresh_from_db()
        assert bad.check_error == UNBALANCED

    def test_a_damaged_file_is_not_asked_about(self, tenant, check):
        check(lambda tenant, connection: pytest.fail("It is damaged."))
        Backup.objects.all().delete()
        backup = backups.create(tenant, COMMAND).backup
        assert "It is damaged." in backup.check_error
        file_of(tenant, backup).write_bytes(b"nothing")
        assert "is damaged" in backups.verify_with_data(tenant, backup)

    def test_a_catalog_that_cannot_be_written_stops_nothing(self, tenant, check, monkeypatch):
        backup = backups.create(tenant, COMMAND).backup
        post(tenant.database, 5)

        def fail(*arguments, **options):
            raise DatabaseError("the disk is full")

        check(speechless)
        monkeypatch.setattr(Event, "record", fail)
        data_check.check_data(tenant, backup)
        backup.refresh_from_db()
        assert backup.check_error == ""


def test_its_database_connections_end_with_it(tenant, check):
    opened, closed = [], []

    def look(tenant, connection):
        mine = connections["default"]
        mine.ensure_connection()
        opened.append(mine)

        def close():
            # Django's own closes no database in memory, as that of the tests is.
            mine.connection.close()
            closed.append(mine)

        mine.close = close

    check(look)
    assert backups.create(tenant, COMMAND).backup.check_error == ""
    assert len(opened) == 1
    assert closed == opened


class TestRestore:
    @pytest.fixture(autouse=True)
    def _host(self, host):
        host.environment["TEST_PROVIDER"] = "tests.test_check_restored.Balanced"

    def test_restorebackup_says_it_and_restores_all_the_same(self, host):
        database = host.add_tenant() / "db.sqlite3"
        host.succeed("runbackup", "checkbackups")
        post(database, 5)
        host.succeed("runbackup")
        assert host.run("checkbackups").returncode == 1
        asked = host.run("restorebackup", "acme", answers="2\nno\n")
        assert "(check of its data failed)" in asked.stdout
        words = f"its data did not pass the project's own check: {UNBALANCED}"
        assert words in asked.stdout
        done = host.run("restorebackup", "acme", "--latest", "--no-input")
        assert done.returncode == 0, done.stderr
        assert words in done.stdout
        done = host.run("restorebackup", "acme", "1", "--no-input")
        assert done.returncode == 0, done.stderr
        assert "own check" not in done.stdout

    def test_a_file_that_the_catalog_does_not_know_is_looked_at_too(self, host, tmp_path):
        database = host.add_tenant() / "db.sqlite3"
        post(database, 5)
        host.succeed("runbackup")
        [backup] = (database.parent / "backups").glob("*.sqlite3")
        copy = tmp_path / "copy.sqlite3"
        copy.write_bytes(backup.read_bytes())
        done = host.run("restorebackup", "acme", str(copy), "--no-input")
        assert done.returncode == 0, done.stderr
        assert UNBALANCED in done.stdout


def test_the_example_looks_at_its_foreign_keys(tmp_path):
    project = Project(tmp_path)
    project.manage("setup_example", "--scale", "0.02")
    project.manage("runbackup", "globex")
    assert "check of the data" not in project.python("manage.py", "checkbackups").stderr
    with closing(sqlite3.connect(project.database("globex"))) as database, database:
        database.execute("DELETE FROM business_contract")
    done = project.python("manage.py", "runbackup", "globex")
    assert done.returncode == 0
    said = "refers to a row of business_contract that is gone."
    assert said in done.stderr
    assert said in project.python("manage.py", "checkbackups", "globex").stderr


def test_two_of_a_tenant_may_be_looked_at_at_once(tenant, check):
    backup = backups.create(tenant, COMMAND).backup
    begun, both = [], threading.Barrier(2)

    def look(tenant, connection):
        begun.append(tenant.id)
        both.wait(60)

    check(look)
    found = []
    threads = [
        threading.Thread(
            target=lambda: found.append(data_check.ask_host(tenant, file_of(tenant, backup)))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (begun, found) == (["acme", "acme"], [None, None])


def test_a_file_that_is_gone_cannot_be_visited(tmp_path):
    raised = sqlite.visit(
        tmp_path / "gone.sqlite3", print, name="gone", deadline=time.monotonic() + 60
    )
    assert isinstance(raised, BackupError)


def test_a_visit_out_of_time_says_so(tenant):
    with pytest.raises(DeadlineExceeded):
        sqlite.visit(tenant.database, lambda connection: None, name="late", deadline=0)
