"""The gate: only valid tenants pass, and an invalid one is reported alike everywhere."""

import html
import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.template.defaultfilters import truncatechars
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import lazystr
from django_q.models import OrmQ

from tenant_backup import automation, backups, before_migrate, tenants
from tenant_backup.models import Automation, Backup, BackupSettings, Status, Trigger
from tenant_backup.tenants import (
    ID_LENGTH,
    DirectoryTenants,
    InvalidTenant,
    Listing,
    Tenant,
    TenantNotFound,
    TenantProvider,
    find_tenant,
    get_tenant,
    list_tenants,
    tenant_for_request,
    validate,
)
from tests.tenancy import Tenants

ACME = Tenant("acme", "Acme", Path("/srv/acme"), Path("/srv/acme/db.sqlite3"))
GLOBEX = Tenant("globex", "Globex", Path("/srv/globex"), Path("/srv/globex/db.sqlite3"))


@dataclass(frozen=True)
class Lookalike:
    """Has all that a tenant has, but is none."""

    id: str = "acme"
    name: str = "Acme"
    root: Path = ACME.root
    database: Path = ACME.database
    time_zone: str | None = None
    zone: object = None


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no such table")


GARBAGE = [
    Unspeakable(),
    None,
    "acme",
    b"",
    7,
    object(),
    Tenant,
    {"id": "acme"},
    ("acme",),
    Lookalike(),
]


def acme(**changes):
    return replace(ACME, **changes)


INVALID = [
    (acme(id=""), "The tenant id '' must be text of 1 to 255 characters."),
    (acme(id="x" * 256), f"The tenant id {'x' * 256!r} must be text of 1 to 255 char"),
    (acme(id=7), "The tenant id 7 must be text of 1 to 255 characters."),
    (acme(id=None), "The tenant id None must be text of 1 to 255 characters."),
    (acme(id=lazystr("acme")), "must be text of 1 to 255 characters."),
    (acme(id="acme\udcff"), "The tenant id 'acme\\udcff' is no valid text."),
    (acme(id="ac\0me"), "The tenant id 'ac\\x00me' is no valid text."),
    (
        acme(root=Path("srv/acme")),
        "The root of tenant 'acme' must be an absolute Path, not PosixPath('srv/acme').",
    ),
    (
        acme(root="/srv/acme"),
        "The root of tenant 'acme' must be an absolute Path, not '/srv/acme'.",
    ),
    (acme(root=None), "The root of tenant 'acme' must be an absolute Path, not None."),
    (
        acme(root=PurePosixPath("/srv")),
        "The root of tenant 'acme' must be an absolute Path, not PurePosixPath('/srv').",
    ),
    (acme(root=Path("/srv/\0")), "The root of tenant 'acme' must be an absolute Path"),
    (
        acme(database=Path("db.sqlite3")),
        "The database of tenant 'acme' must be an absolute Path, not PosixPath('db.sqlite3').",
    ),
    (
        acme(database=Path("/srv/\0")),
        "The database of tenant 'acme' must be an absolute Path, not PosixPath('/srv/\\x00').",
    ),
    *(
        (
            acme(time_zone=zone),
            f"The time zone {zone!r} of tenant 'acme' is not known.",
        )
        for zone in ("Mars/Base", "America", "../etc/passwd", "/etc/localtime", "\0", 5, ["UTC"])
    ),
]


class Host(TenantProvider):
    """A host whose code may return anything."""

    given: list[object] = []

    def all_tenants(self):
        yield from self.given

    def tenant_for_request(self, request):
        return self.given[0]


class OlderThanOurs:
    """A provider that is no subclass of ours and has the four methods only."""

    def __init__(self):
        host = Host()
        self.all_tenants, self.get_tenant = host.all_tenants, host.get_tenant
        self.tenant_for_request, self.has_permission = host.tenant_for_request, host.has_permission


@pytest.fixture
def give(settings, monkeypatch):
    """Let the host's provider list these."""
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": f"{__name__}.Host"}

    def give(*given):
        monkeypatch.setattr(Host, "given", list(given))

    return give


def reason(function, *arguments):
    with pytest.raises(InvalidTenant) as refusal:
        function(*arguments)
    return str(refusal.value)


class TestValidity:
    def test_a_valid_tenant_is_returned_itself(self):
        for tenant in (
            ACME,
            replace(ACME, time_zone="Europe/Berlin"),
            replace(ACME, time_zone=""),
            replace(ACME, id="x" * ID_LENGTH, name=""),
            replace(ACME, id="../a b\n🚀", name=lazystr("Acme")),
            replace(ACME, database=Path("/elsewhere/db.sqlite3")),
        ):
            assert validate(tenant) is tenant

    def test_what_is_no_tenant_is_refused(self):
        for given in GARBAGE[1:]:
            assert reason(validate, given) == (
                f"The tenant provider gave {given!r} instead of a Tenant."
            )
        assert "gave <Unspeakable instance" in reason(validate, GARBAGE[0])

    def test_each_kind_of_invalid_tenant_is_refused_and_the_reason_given(self):
        for tenant, words in INVALID:
            assert words in reason(validate, tenant)

    def test_the_error_names_the_tenant_unless_the_id_is_what_is_invalid(self):
        for tenant, words in INVALID:
            with pytest.raises(InvalidTenant) as refusal:
                validate(tenant)
            assert refusal.value.tenant_id == ("" if "of tenant" not in words else "acme")


class TestListing:
    def test_invalid_tenants_and_garbage_hide_no_valid_tenant(self, give):
        give(*GARBAGE, ACME, *(tenant for tenant, _ in INVALID), GLOBEX)
        listing = list_tenants()
        assert listing.tenants == [ACME, GLOBEX]
        assert len(listing.invalid) == len(GARBAGE) + len(INVALID)
        assert len(listing) == len(listing.invalid) + 2

    def test_the_reasons_come_in_the_provider_s_order(self, give):
        give(*(tenant for tenant, _ in INVALID))
        for error, (_, words) in zip(list_tenants().invalid, INVALID, strict=True):
            assert words in str(error)

    def test_ids_are_those_of_valid_and_invalid_tenants(self, give):
        bad_zone = replace(ACME, id="mars", time_zone="Mars/Base")
        bad_root = replace(ACME, id="relative", root=Path("acme"))
        give(None, replace(ACME, id=""), bad_zone, GLOBEX, bad_root)
        assert list_tenants().ids == {"globex", "mars", "relative"}
        assert Listing().ids == set()

    def test_what_the_host_s_code_raises_is_raised(self, give, monkeypatch):
        def fail(self):
            yield ACME
            raise LookupError("no such table: customers")

        give()
        monkeypatch.setattr(Host, "all_tenants", fail)
        with pytest.raises(LookupError):
            list_tenants()


class TestOneTenant:
    def test_by_its_id(self, give):
        give(*GARBAGE[:-1], replace(ACME, time_zone="Mars/Base"), GLOBEX)
        assert get_tenant("globex") is GLOBEX
        assert reason(get_tenant, "acme").startswith("The time zone 'Mars/Base'")
        with pytest.raises(TenantNotFound):
            get_tenant("nobody")

    def test_by_the_request(self, give, rf):
        request = rf.get("/")
        give(ACME)
        assert tenant_for_request(request) is ACME
        for tenant, words in INVALID:
            give(tenant)
            assert words in reason(tenant_for_request, request)
        give(None)
        assert "gave None instead of a Tenant" in reason(tenant_for_request, request)

    def test_by_its_database(self, give, settings):
        give(*GARBAGE[:-1], *(tenant for tenant, _ in INVALID[-3:]), GLOBEX)
        for provider in ("Host", "OlderThanOurs"):
            settings.TENANT_BACKUP = {"TENANT_PROVIDER": f"{__name__}.{provider}"}
            assert find_tenant(GLOBEX.database) is GLOBEX
            assert find_tenant(Path("/srv/other.sqlite3")) is None
            # Nobody may take the database of an invalid tenant for nobody's.
            assert "is not known" in reason(find_tenant, ACME.database)

    def test_by_its_database_as_the_host_finds_it(self, give, monkeypatch):
        give()
        monkeypatch.setattr(Host, "tenant_of", lambda self, database: Lookalike())
        assert "instead of a Tenant" in reason(find_tenant, ACME.database)
        monkeypatch.setattr(Host, "tenant_of", lambda self, database: None)
        assert find_tenant(ACME.database) is None

    def test_by_the_host_name_even_where_only_capitals_differ(self, settings, rf, tmp_path):
        class Folders(DirectoryTenants):
            directory = tmp_path

            def tenant(self, folder):
                return replace(super().tenant(folder), time_zone="Mars/Base")

        (tmp_path / "Acme").mkdir()
        settings.ALLOWED_HOSTS = ["*"]
        request = rf.get("/", headers={"host": "acme.example.com"})
        assert Folders().tenant_for_request(request).id == "Acme"


# What each part of the app makes of an invalid tenant


BAD_ZONE = "The time zone 'Mars/Base' of tenant 'bad' is not known."
BAD_ROOT = "The root of tenant 'bad' must be an absolute Path, not PosixPath('tenants/bad')."


@pytest.fixture(params=["zone", "root"])
def words(request, add_tenant):
    """An invalid tenant among two others; what is to be read of it everywhere."""
    for name in ("acme", "bad", "globex"):
        add_tenant(name)
    change = (
        {"time_zone": "Mars/Base"} if request.param == "zone" else {"root": Path("tenants/bad")}
    )
    Tenants.tenants[1] = replace(Tenants.tenants[1], **change)
    return BAD_ZONE if request.param == "zone" else BAD_ROOT


def run(command, *arguments, **options):
    with suppress(CommandError):
        call_command(command, *arguments, **options)


@pytest.fixture
def operator():
    client = Client()
    client.force_login(User.objects.create_superuser("grace"))
    return client


def make_due():
    """Automatic backups of all three, whose slots came a minute ago."""
    now = timezone.now()
    BackupSettings.objects.ensure(["acme", "bad", "globex"])
    BackupSettings.objects.update(automatic=True, next_run_at=now - timedelta(minutes=1))
    return now


def act(client, action, *tenant_ids):
    """Choose an action for these tenants in the list of all; the messages that come of it."""
    BackupSettings.objects.ensure(tenant_ids)
    rows = BackupSettings.objects.filter(tenant_id__in=tenant_ids)
    data = {"action": action, "_selected_action": [row.pk for row in rows], "index": 0}
    url = reverse("admin:tenant_backup_backupsettings_changelist")
    response = client.post(url, data, follow=True)
    return [str(message) for message in response.context["messages"]]


@pytest.mark.django_db(transaction=True)
class TestReported:
    """In the same words by each part of the app; and the others' work is done."""

    COMMANDS = ["runbackup", "verifybackups", "prunebackups", "syncbackups", "checkbackups"]

    def label(self, command):
        return "not valid" if command == "checkbackups" else "failed"

    @pytest.mark.parametrize("command", COMMANDS)
    def test_by_each_command_for_all(self, words, command, capsys):
        run(command)
        errors = capsys.readouterr().err.splitlines()
        assert errors.count(f"bad: {self.label(command)}. {words}") == 1
        run(command, as_json=True)
        answer = json.loads(capsys.readouterr().out)
        assert {"tenant": "bad", "message": words} in answer["errors"]
        assert not answer["ok"]

    def test_by_each_command_for_this_one(self, words, capsys):
        for command in self.COMMANDS:
            run(command, "bad")
            line = f"bad: {self.label(command)}. {words}"
            assert line in capsys.readouterr().err.splitlines(), command
        with pytest.raises(CommandError) as refusal:
            call_command("restorebackup", "bad", "--latest", "--no-input")
        assert str(refusal.value) == f"bad: failed. {words}"
        assert not Backup.objects.exists()

    def test_by_the_list_of_what_is_in_its_backups(self, words, capsys):
        good = {"status": "complete", "verified_at": timezone.now()}
        for name in ("acme", "bad"):
            Backup.objects.create(tenant_id=name, trigger="manual", file_name="x.sqlite3", **good)
        run("listbackups", "bad", "--contents")
        printed = capsys.readouterr()
        assert "x.sqlite3" in printed.out
        assert printed.err.splitlines() == [f"bad: failed. {words}"]
        # It is known, with and without a backup in the catalog.
        Backup.objects.filter(tenant_id="bad").delete()
        call_command("listbackups", "bad")

    def test_as_listed_where_it_is_to_be_retired(self, words, capsys):
        call_command("syncbackups", "--retire", "bad")
        assert "The tenant provider lists it" in capsys.readouterr().out

    def test_by_the_admin(self, words, operator):
        url = reverse("admin:tenant_backup_backupsettings_changelist")
        page = html.unescape(operator.get(url).content.decode())
        assert f"<p>{truncatechars(words, 140)}</p>" in page
        # It has a row now, which leads to its hub.
        row = BackupSettings.objects.get(tenant_id="bad")
        url = reverse("admin:tenant_backup_backupsettings_change", args=[row.pk])
        assert f"<li>{words}</li>" in html.unescape(operator.get(url).content.decode())
        data = {
            "interval": "daily",
            "time_of_day": "03:30",
            "weekday": "6",
            "day_of_month": "1",
            **dict.fromkeys(["keep_last", "keep_days", "keep_daily", "keep_weekly"], ""),
            "keep_monthly": "",
            "notify_email": "",
            "automatic": "on",
        }
        form = operator.post(url, data).context["adminform"].form
        assert form.non_field_errors() == [f"These settings cannot be changed. {words}"]

    def test_by_the_page_s_error(self, words, operator, monkeypatch):
        monkeypatch.setattr(Tenants, "tenant_for_request", lambda self, request: self.tenants[1])
        assert operator.get("/settings/admin/backup").status_code == 403
        monkeypatch.setattr(Tenants, "has_permission", lambda *arguments: True)
        for path in ("", "/status", "/history", "/diagnosis"):
            with pytest.raises(ImproperlyConfigured, match=re.escape(words)):
                operator.get(f"/settings/admin/backup{path}")
        with pytest.raises(ImproperlyConfigured, match=re.escape(words)):
            operator.post("/settings/admin/backup/create")
        assert not Backup.objects.exists()

    def test_to_nobody_who_is_not_logged_in(self, words, client, monkeypatch):
        monkeypatch.setattr(Tenants, "tenant_for_request", lambda self, request: self.tenants[1])
        response = client.get("/settings/admin/backup")
        assert response.status_code == 302
        assert "bad" not in response.content.decode()


@pytest.mark.django_db(transaction=True)
class TestNothingIsMade:
    """Of an invalid tenant there is no backup, by no way; of the others there is."""

    def test_by_runbackup(self, words):
        for options in ({}, {"due": True}):
            now = make_due()
            run("runbackup", verbosity=0, **options)
            good = Backup.objects.good().filter(created_at__gte=now)
            assert {backup.tenant_id for backup in good} == {"acme", "globex"}
            assert not Backup.objects.filter(tenant_id="bad").exists()

    def test_by_the_tick(self, words, caplog):
        now = make_due()
        automation.set_up()
        automation.tick(now)
        assert {row.tenant_id for row in Backup.objects.all()} == {"acme", "globex"}
        assert {task.task["args"][0] for task in OrmQ.objects.all()} == set(
            Backup.objects.values_list("pk", flat=True)
        )
        assert words in caplog.text
        assert "Traceback" not in caplog.text
        for backup in Backup.objects.all():
            automation.make(backup.pk)
        assert Backup.objects.good().count() == 2

    def test_by_the_worker(self, words, caplog):
        """It was queued when the tenant was still valid."""
        backup = Backup.objects.create(tenant_id="bad", trigger=Trigger.AUTOMATIC)
        assert automation.make(backup.pk) == words
        backup.refresh_from_db()
        assert (backup.status, backup.reason) == (Status.FAILED, words)
        assert "Traceback" not in caplog.text
        assert not list(Tenants.tenants[1].database.parent.glob("backups/*.sqlite3"))

    def test_what_was_made_before_is_left_alone_by_worker_and_tick(self, words, caplog):
        Tenants.tenants[1], invalid = (
            replace(Tenants.tenants[1], root=Tenants.tenants[1].database.parent, time_zone=None),
            Tenants.tenants[1],
        )
        made = backups.create(
            Tenants.tenants[1], backups.BackupRequest(trigger=Trigger.COMMAND)
        ).backup
        Backup.objects.update(verified_at=timezone.now() - timedelta(days=9))
        Tenants.tenants[1] = invalid
        assert automation.verify(made.pk) == "nothing to do"
        Backup.objects.create(tenant_id="bad", trigger=Trigger.MANUAL, status=Status.RUNNING)
        automation.tick(timezone.now())
        assert Backup.objects.running().count() == 1
        assert Backup.objects.good().get() == made
        assert "Traceback" not in caplog.text

    @pytest.mark.parametrize("is_running", [True, False])
    def test_by_the_admin_s_back_up_now(self, words, operator, is_running, caplog):
        if is_running:
            automation.set_up()
            Automation.load()
            Automation.objects.update(last_tick_at=timezone.now())
        shown = act(operator, "back_up_now", "acme", "bad", "globex")
        done = "queued" if is_running else "made"
        assert f"No backup of bad was {done}: {words}" in shown
        assert {row.tenant_id for row in Backup.objects.all()} == {"acme", "globex"}
        assert OrmQ.objects.count() == (2 if is_running else 0)
        assert "Traceback" not in caplog.text

    def test_before_a_migration_which_is_not_started(self, words, settings, monkeypatch):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "BACK_UP_BEFORE_MIGRATE": True}
        database = Tenants.tenants[1].database
        monkeypatch.setattr(before_migrate, "sqlite_file", lambda alias: database)
        with pytest.raises(CommandError, match=re.escape(words)):
            before_migrate.back_up_before_migrate(using="default", plan=[(None, False)])

    def test_by_the_admin_s_other_actions(self, words, operator):
        assert f"Automatic backup of bad was not changed: {words}" in act(
            operator, "switch_on", "bad", "acme"
        )
        assert BackupSettings.objects.get(automatic=True).tenant_id == "acme"
        assert f"The newest backup of bad was not verified: {words}" in act(
            operator, "verify", "bad"
        )
        # The provider lists it, so it is not gone.
        assert "1 tenant is not retired: the tenant provider lists it." in act(
            operator, "retire", "bad"
        )


@pytest.mark.django_db
def test_the_list_of_backups_says_that_the_provider_fails(add_tenant, monkeypatch, capsys):
    add_tenant()
    good = {"status": "complete", "verified_at": timezone.now()}
    Backup.objects.create(tenant_id="acme", trigger="manual", file_name="x.sqlite3", **good)
    monkeypatch.setattr(Tenants, "get_tenant", lambda self, tenant_id: 1 / 0)
    reason = "ZeroDivisionError: division by zero"
    with pytest.raises(CommandError, match=f"^The tenant provider failed: {reason}$"):
        call_command("listbackups", "globex")
    run("listbackups", "acme", "--contents")
    printed = capsys.readouterr()
    assert "x.sqlite3" in printed.out
    assert printed.err.splitlines() == [f"acme: failed. {reason}"]


@pytest.mark.django_db
def test_a_superuser_of_an_invalid_tenant_s_own_database_is_no_operator(
    add_tenant, rf, monkeypatch, settings
):
    """Whatever else is wrong with the tenant, these users are the tenant's."""
    tenant = add_tenant()
    Tenants.tenants[:] = [replace(tenant, time_zone="Mars/Base")]
    user = User(username="ada", is_superuser=True)
    user._state.db = "of_acme"
    monkeypatch.setattr(
        tenants.operators,
        "sqlite_file",
        lambda alias: tenant.database if alias == "of_acme" else None,
    )
    request = SimpleNamespace(user=user, get_host=lambda: "www.example.com")
    monkeypatch.setattr(Tenants, "tenant_for_request", lambda self, request: self.get_tenant("x"))
    assert not tenants.is_operator(request)
