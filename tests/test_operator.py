"""Who is an operator: in hosts with users of their own in each tenant's database, and elsewhere.

Nobody who is a superuser of one tenant alone gets to see, pin or delete another tenant's backups.
"""

import shutil
from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core.management import call_command
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.test import Client
from django.urls import reverse

from tenant_backup import backups, tenants
from tenant_backup.models import Automation, Backup, BackupSettings, Event, Trigger
from tenant_backup.tenants import SingleTenant, TenantProvider, get_provider, is_operator
from tests.conftest import names_in
from tests.tenancy import Tenants

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/settings/admin/backup"
TENANTS_OWN = {"auth", "contenttypes", "admin"}


class HostNames(Tenants):
    """The host name's first label is the tenant, whose superusers may do everything in it."""

    def tenant_for_request(self, request):
        return self.get_tenant(request.get_host().split(".")[0])

    def has_permission(self, request, tenant, action):
        return request.user.is_superuser


class OlderThanThis:
    """A provider that is no subclass of ours, written before there was `is_operator`."""

    def __init__(self):
        self.all_tenants = HostNames().all_tenants
        self.get_tenant = HostNames().get_tenant
        self.tenant_for_request = HostNames().tenant_for_request
        self.has_permission = HostNames().has_permission


class Nobody(HostNames):
    """A host with all tenants' users in one database, which knows its operators otherwise."""

    def is_operator(self, request):
        return request.user.username == "grace"


class UsersRouter:
    """Users live where this says at the moment, as a tenancy package decides for each request."""

    alias = "default"

    def db_for_read(self, model, **hints):
        return self.alias if model._meta.app_label in TENANTS_OWN else None

    db_for_write = db_for_read


@pytest.fixture(autouse=True)
def project(settings):
    settings.ALLOWED_HOSTS = ["*"]
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": f"{__name__}.HostNames"}
    settings.DATABASE_ROUTERS = ["tenant_backup.routers.CatalogRouter", f"{__name__}.UsersRouter"]
    return settings


@pytest.fixture
def add_alias():
    """Register an alias for a SQLite file, as a host does while it runs."""
    added = []

    def add(alias, file):
        one = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}
        complete = connections.configure_settings({"default": {}, alias: one})
        # Not in `connections.settings`, whose databases a test may not use unless it says so.
        connections[alias] = DatabaseWrapper(complete[alias], alias)
        added.append(alias)

    yield add
    for alias in added:
        connections[alias].close()
        del connections[alias]


@pytest.fixture(scope="module")
def with_users(tmp_path_factory):
    """A database with the tables of users, to be copied."""
    return tmp_path_factory.mktemp("users") / "users.sqlite3"


@pytest.fixture
def users_in(add_alias, with_users, monkeypatch):
    """Let the users be in this file from now on; of a database of the tenants, in their place."""

    def use(alias, file):
        add_alias(alias, file)
        monkeypatch.setattr(UsersRouter, "alias", alias)
        if with_users.exists():
            shutil.copy(with_users, file)
        else:
            # Of a link, what it leads to.
            Path(file).resolve().unlink(missing_ok=True)
            for app in ("auth", "admin"):
                call_command("migrate", app, database=alias, verbosity=0)
            connections[alias].close()
            shutil.copy(file, with_users)
        return alias

    return use


@pytest.fixture
def two(add_tenant):
    """Two tenants with a backup each."""
    pair = [add_tenant("acme"), add_tenant("globex")]
    for tenant in pair:
        backups.create(tenant, backups.BackupRequest(trigger=Trigger.COMMAND))
    return pair


def log_in(host="acme.example.com"):
    user = User.objects.create_superuser("ada")
    client = Client(headers={"host": host})
    client.force_login(user)
    return client


def request_of(rf, user, host="acme.example.com"):
    request = rf.get(PAGE, headers={"host": host})
    request.user = user
    return request


def admin_urls():
    for model in ("backup", "backupsettings", "automation", "event"):
        yield reverse(f"admin:tenant_backup_{model}_changelist")
    for row in [*Backup.objects.all(), *BackupSettings.objects.all(), *Event.objects.all()]:
        for page in ("change", "delete", "history"):
            yield reverse(f"admin:tenant_backup_{row._meta.model_name}_{page}", args=[row.pk])


class TestInTheAdmin:
    @pytest.mark.parametrize("provider", [HostNames, OlderThanThis])
    @pytest.mark.parametrize("host", ["acme.example.com", "www.example.com"])
    def test_a_tenants_superuser_is_refused_everything(
        self, two, users_in, project, provider, host
    ):
        project.TENANT_BACKUP = {"TENANT_PROVIDER": f"{__name__}.{provider.__name__}"}
        acme, globex = two
        users_in("of_acme", acme.database)
        BackupSettings.objects.ensure(["acme", "globex"])
        Automation.load()
        client = log_in(host)
        for url in admin_urls():
            assert client.get(url).status_code == 403, url
            assert client.post(url, {"post": "yes"}).status_code == 403, url
        row = Backup.objects.get(tenant_id="globex")
        for model, action, pk in [
            ("backup", "delete_selected", row.pk),
            ("backup", "pin", row.pk),
            ("backupsettings", "back_up_now", BackupSettings.objects.first().pk),
            ("backupsettings", "switch_on", BackupSettings.objects.first().pk),
        ]:
            url = reverse(f"admin:tenant_backup_{model}_changelist")
            body = {"action": action, "_selected_action": [pk], "index": 0, "post": "yes"}
            assert client.post(url, body).status_code == 403, action
        switch = reverse("admin:tenant_backup_automation_switch")
        assert client.post(switch, {"switch": "pause"}).status_code == 403
        row.refresh_from_db()
        assert not row.pinned
        assert row.file_name in names_in(backups.directory_of(globex).path)
        assert Automation.load().paused_at is None
        assert Backup.objects.count() == 2
        # The rest of the admin is the tenant's own.
        index = client.get(reverse("admin:index"))
        assert index.status_code == 200
        assert "/tenant_backup/" not in index.content.decode()
        assert client.get(reverse("admin:auth_user_changelist")).status_code == 200

    def test_the_catalogs_own_superuser_is_the_operator(self, two):
        client = log_in()
        for url in admin_urls():
            assert client.get(url).status_code in (200, 403)
        page = client.get(reverse("admin:tenant_backup_backup_changelist"))
        assert page.status_code == 200
        assert "globex" in page.content.decode()

    def test_a_database_of_users_that_is_no_tenants_is_no_obstacle(self, two, users_in, tmp_path):
        users_in("users", tmp_path / "all-users.sqlite3")
        client = log_in()
        assert client.get(reverse("admin:tenant_backup_backup_changelist")).status_code == 200
        assert str(two[0].root) in client.get(PAGE).content.decode()

    def test_the_provider_has_the_last_word(self, two, project):
        project.TENANT_BACKUP = {"TENANT_PROVIDER": f"{__name__}.Nobody"}
        ada = log_in()
        grace = Client(headers={"host": "acme.example.com"})
        grace.force_login(User.objects.create_superuser("grace"))
        url = reverse("admin:tenant_backup_backup_changelist")
        assert [client.get(url).status_code for client in (ada, grace)] == [403, 200]
        root = str(two[0].root)
        assert root not in ada.get(PAGE).content.decode()
        assert root in grace.get(PAGE).content.decode()


class TestOnThePage:
    def test_a_tenants_superuser_sees_no_paths_and_no_scripts(self, two, users_in):
        acme, _ = two
        backup = Backup.objects.get(tenant_id="acme")
        users_in("of_acme", acme.database)
        client = log_in()
        assert 'action="/settings/admin/backup/settings"' in client.get(PAGE).content.decode()
        for page in (PAGE, f"{PAGE}/contents/{backup.pk}", f"{PAGE}/diagnosis", f"{PAGE}/history"):
            answer = client.get(page)
            assert answer.status_code == 200
            assert str(acme.root) not in answer.content.decode()
            assert "restorebackup" not in answer.content.decode()


class TestTheDefault:
    def test_by_permissions(self, rf, two):
        answers = {}
        for name, fields in {
            "superuser": {"is_superuser": True},
            "staff": {"is_staff": True},
            "member": {},
            "gone": {"is_superuser": True, "is_active": False},
        }.items():
            user = User.objects.create_user(name, **fields)
            answers[name, False] = is_operator(request_of(rf, user))
            user.user_permissions.set(
                Permission.objects.filter(content_type__app_label="tenant_backup")[:1]
            )
            answers[name, True] = is_operator(request_of(rf, User.objects.get(username=name)))
        assert [key for key, answer in answers.items() if answer] == [
            ("superuser", False),
            ("superuser", True),
            ("staff", True),
        ]
        assert not is_operator(request_of(rf, AnonymousUser()))

    def test_a_user_from_nowhere_is_none(self, rf, two):
        assert not is_operator(request_of(rf, User(username="ada", is_superuser=True)))

    def test_a_link_to_a_tenants_database_is_that_database(self, rf, two, users_in, tmp_path):
        acme, _ = two
        link = tmp_path / "link.sqlite3"
        link.symlink_to(acme.database)
        users_in("linked", link)
        user = User.objects.create_superuser("ada")
        for host in ("acme.example.com", "globex.example.com", "www.example.com"):
            assert not is_operator(request_of(rf, user, host))

    def test_where_the_catalog_is_in_a_tenants_database_its_users_are_operators(
        self, rf, two, users_in, add_alias, project
    ):
        acme, globex = two
        users_in("of_acme", acme.database)
        user = User.objects.create_superuser("ada")
        # By whatever alias: what counts is the file.
        add_alias("same", acme.database)
        project.TENANT_BACKUP = {**project.TENANT_BACKUP, "CATALOG_DATABASE": "same"}
        assert is_operator(request_of(rf, user))
        users_in("of_globex", globex.database)
        assert not is_operator(request_of(rf, User.objects.create_superuser("george")))

    def test_an_alias_that_is_gone_lets_nobody_in(self, rf, two):
        user = User.objects.create_superuser("ada")
        user._state.db = "gone"
        assert not is_operator(request_of(rf, user))

    def test_a_provider_that_fails_lets_nobody_in(self, rf, two, users_in, tmp_path, monkeypatch):
        users_in("users", tmp_path / "all-users.sqlite3")
        user = User.objects.create_superuser("ada")
        assert is_operator(request_of(rf, user, "www.example.com"))

        def fail(self):
            raise LookupError("no such table: customers")

        monkeypatch.setattr(Tenants, "all_tenants", fail)
        assert not is_operator(request_of(rf, user, "www.example.com"))

    def test_of_the_single_tenant_its_superusers_are_operators_wherever_the_catalog_is(
        self, rf, two, project, users_in
    ):
        project.TENANT_BACKUP = {}
        assert isinstance(get_provider(), SingleTenant)
        users_in("of_acme", two[0].database)
        assert is_operator(request_of(rf, User.objects.create_superuser("ada")))
        assert not is_operator(request_of(rf, User.objects.create_user("mike", is_staff=True)))

    def test_is_asked_once_a_request_and_user(self, rf, two, monkeypatch):
        asked = []

        def is_operator_(self, request):
            asked.append(request.user.username)
            return len(asked) == 1

        monkeypatch.setattr(HostNames, "is_operator", is_operator_, raising=False)
        request = request_of(rf, User.objects.create_superuser("ada"))
        assert [is_operator(request) for _ in range(3)] == [True] * 3
        request.user = User.objects.create_superuser("grace")
        assert not is_operator(request)
        assert asked == ["ada", "grace"]

    def test_looks_at_no_other_tenant_where_one_answer_suffices(
        self, rf, two, users_in, monkeypatch
    ):
        def fail(self):
            raise AssertionError("all tenants were listed")

        acme, _ = two
        users_in("of_acme", acme.database)
        users = [User.objects.create_superuser("ada")]
        monkeypatch.setattr(UsersRouter, "alias", "default")
        users.append(User.objects.create_superuser("grace"))
        monkeypatch.setattr(HostNames, "get_tenant", lambda self, tenant_id: acme)
        monkeypatch.setattr(HostNames, "all_tenants", fail)
        assert [is_operator(request_of(rf, user)) for user in users] == [False, True]

    def test_a_provider_can_say_faster_whose_a_database_is(
        self, rf, two, users_in, tmp_path, monkeypatch
    ):
        file = tmp_path / "all-users.sqlite3"
        users_in("users", file)
        user = User.objects.create_superuser("ada")
        asked = []

        def tenant_of(self, database):
            asked.append(database)
            return two[1]

        monkeypatch.setattr(HostNames, "tenant_of", tenant_of, raising=False)
        assert not is_operator(request_of(rf, user))
        assert asked == [file]


def test_a_tenant_is_found_by_its_database(two, tmp_path):
    provider: TenantProvider = HostNames()
    for tenant in two:
        assert provider.tenant_of(tenant.database) == tenant
    assert provider.tenant_of(tmp_path / "other.sqlite3") is None
    assert tenants.is_operator is is_operator
