"""Tenants, and the providers: who is a tenant, which request is whose, and who may do what."""

import dataclasses
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from asgiref.local import Local
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.core.exceptions import DisallowedHost, ImproperlyConfigured
from django.db import connections
from django.utils import translation
from django.utils.translation import gettext_lazy

from tenant_backup import exceptions
from tenant_backup.tenants import (
    ACTIONS,
    CONFIGURE,
    CREATE,
    DELETE,
    DOWNLOAD,
    VIEW,
    DatabaseTenants,
    DirectoryTenants,
    HostNameTenants,
    SingleTenant,
    Tenant,
    TenantNotFound,
    TenantProvider,
    get_provider,
)

SQLITE = "django.db.backends.sqlite3"
ACME = Tenant("acme", "Acme", Path("/srv/acme"), Path("/srv/acme/db.sqlite3"))
PERMISSIONS = {
    "view": "view_backup",
    "create": "add_backup",
    "delete": "delete_backup",
    "download": "download_backup",
    "configure": "change_backupsettings",
}


@pytest.fixture
def set_databases():
    """Let `DATABASES` be something else. Nothing opens the databases that it names.

    The tests' own default database, and the connections to it, lie aside meanwhile.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "settings", None)
        patch.setattr(connections, "_connections", None)

        def set_(**names):
            databases = {
                alias: {"ENGINE": SQLITE, "NAME": name} if isinstance(name, str | Path) else name
                for alias, name in names.items()
            }
            vars(connections)["settings"] = connections.configure_settings(databases)
            vars(connections)["_connections"] = Local(connections.thread_critical)

        yield set_


@pytest.fixture
def request_from(rf, settings):
    """A request as this user sends it, by this host name."""
    settings.ALLOWED_HOSTS = ["*"]

    def make(user=None, *, host="acme.example.com"):
        request = rf.get("/settings/admin/backup", headers={"host": host})
        request.user = user or AnonymousUser()
        return request

    return make


@pytest.fixture
def folders(tmp_path):
    """A provider of one folder a tenant, and the directory of these folders."""

    class Folders(DirectoryTenants):
        directory = tmp_path

    return Folders()


def ids(provider):
    return [tenant.id for tenant in provider.all_tenants()]


# A tenant


def test_a_tenant_cannot_be_changed():
    for field in dataclasses.fields(Tenant):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(ACME, field.name, "other")
    assert not hasattr(ACME, "__dict__")


def test_a_tenants_zone_that_is_none_is_refused():
    tenant = dataclasses.replace(ACME, time_zone="Europe/Atlantis")
    with pytest.raises(ZoneInfoNotFoundError):
        tenant.zone  # noqa: B018


def test_a_tenant_is_what_the_contract_says():
    assert [field.name for field in dataclasses.fields(Tenant)] == [
        *("id", "name", "root", "database", "time_zone"),
    ]
    named = Tenant(id="acme", name="Acme", root=ACME.root, database=ACME.database)
    assert named == ACME
    assert ACME.time_zone is None
    assert hash(ACME) == hash(dataclasses.replace(ACME))


def test_a_tenants_zone_is_its_own_or_the_projects(settings):
    settings.TIME_ZONE = "Pacific/Auckland"
    assert ACME.zone == ZoneInfo("Pacific/Auckland")
    assert dataclasses.replace(ACME, time_zone="Asia/Tokyo").zone == ZoneInfo("Asia/Tokyo")


# A provider


class Two(TenantProvider):
    """The least that a host has to say."""

    def all_tenants(self):
        return (tenant for tenant in (ACME, dataclasses.replace(ACME, id="bolt")))

    def tenant_for_request(self, request):
        return ACME


@pytest.mark.parametrize("missing", ["all_tenants", "tenant_for_request"])
def test_a_provider_that_lacks_a_method_cannot_be_made(missing):
    methods = {name: vars(Two)[name] for name in ("all_tenants", "tenant_for_request")}
    del methods[missing]
    incomplete = type("Incomplete", (TenantProvider,), methods)
    with pytest.raises(TypeError, match=missing):
        incomplete()


def test_the_base_class_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        TenantProvider()


@pytest.mark.django_db
@pytest.mark.parametrize("action", [*PERMISSIONS, "anything"])
def test_a_provider_denies_everything_to_everybody_until_told_otherwise(request_from, action):
    root = User.objects.create_superuser("root")
    assert Two().has_permission(request_from(root), ACME, action) is False
    assert Two().has_permission(request_from(), ACME, action) is False


@pytest.mark.parametrize("unknown", ["", "Acme", "acm", "acme2", "acme ", "a\0b", "../acme"])
def test_a_tenant_is_found_by_its_exact_id_only(unknown):
    with pytest.raises(TenantNotFound) as refusal:
        Two().get_tenant(unknown)
    assert str(refusal.value) == f"There is no tenant {unknown!r}."


def test_a_tenant_is_found_by_its_id():
    assert Two().get_tenant("acme") is ACME
    assert Two().get_tenant("bolt").id == "bolt"


def test_a_tenant_is_found_among_what_is_no_tenant():
    class Careless(Two):
        def all_tenants(self):
            return [None, "acme", object(), ACME]

    assert Careless().get_tenant("acme") is ACME


def test_the_error_is_importable_from_where_the_contract_says():
    assert TenantNotFound is exceptions.TenantNotFound
    assert issubclass(TenantNotFound, exceptions.BackupError)


@pytest.mark.parametrize("path", ["no_such_module.Tenants", "tests.tenancy.NoSuchClass"])
def test_a_provider_that_is_not_there_cannot_be_got(settings, path):
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": path}
    with pytest.raises(ImportError):
        get_provider()


def test_the_provider_is_made_once_and_the_setting_obeyed_at_once(settings):
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": f"{__name__}.Two"}
    first = get_provider()
    assert type(first) is Two
    assert get_provider() is first
    settings.TENANT_BACKUP = {}
    assert type(get_provider()) is SingleTenant
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": f"{__name__}.Two"}
    assert get_provider() is first


# SingleTenant


@pytest.mark.parametrize(
    "name",
    ["", ":memory:", "file::memory:", "file:x?mode=memory&cache=shared", "file:?cache=shared"],
)
def test_single_tenant_refuses_a_database_in_memory(set_databases, request_from, name):
    set_databases(default=name)
    for ask in (
        SingleTenant().all_tenants,
        lambda: SingleTenant().get_tenant("default"),
        lambda: SingleTenant().tenant_for_request(request_from()),
    ):
        with pytest.raises(ImproperlyConfigured) as refusal:
            ask()
        assert "the default database, which is not a SQLite file here" in str(refusal.value)
        assert "Set TENANT_BACKUP['TENANT_PROVIDER']" in str(refusal.value)


def test_single_tenant_refuses_the_database_of_these_tests(db):
    with pytest.raises(ImproperlyConfigured, match="not a SQLite file"):
        SingleTenant().all_tenants()


def test_single_tenant_refuses_a_database_that_is_not_sqlite(set_databases):
    set_databases(default={"ENGINE": "django.db.backends.dummy", "NAME": "/srv/db.sqlite3"})
    with pytest.raises(ImproperlyConfigured, match="not a SQLite file"):
        SingleTenant().all_tenants()


def test_single_tenant_knows_no_other_tenant(set_databases, tmp_path):
    set_databases(default=tmp_path / "db.sqlite3")
    with pytest.raises(TenantNotFound):
        SingleTenant().get_tenant("acme")


def test_single_tenant_is_the_default_database_and_its_directory(set_databases, request_from):
    set_databases(default=Path("/srv/site/db.sqlite3"), other=Path("/srv/other.sqlite3"))
    tenant = SingleTenant().tenant_for_request(request_from(host="127.0.0.1:8000"))
    assert tenant == SingleTenant().get_tenant("default")
    assert [tenant] == list(SingleTenant().all_tenants())
    assert tenant.id == "default"
    assert tenant.name
    assert tenant.root == Path("/srv/site")
    assert tenant.database == Path("/srv/site/db.sqlite3")
    assert tenant.time_zone is None


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("file:/srv/a%20site/db.sqlite3?cache=private", "/srv/a site/db.sqlite3"),
        ("file:///srv/site/db.sqlite3", "/srv/site/db.sqlite3"),
        ("/srv/site/a?b#c.sqlite3", "/srv/site/a?b#c.sqlite3"),
    ],
)
def test_single_tenant_reads_names_as_sqlite_does(set_databases, name, path):
    set_databases(default=name)
    assert [tenant.database for tenant in SingleTenant().all_tenants()] == [Path(path)]


def test_single_tenant_is_called_what_its_subclass_says(set_databases):
    set_databases(default=Path("/srv/site/db.sqlite3"))

    class Shop(SingleTenant):
        name = gettext_lazy("Delete backups")

    assert Shop().get_tenant("default").name == "Delete backups"
    with translation.override("de"):
        assert Shop().get_tenant("default").name == "Sicherungen löschen"


@pytest.mark.parametrize(
    ("hosts", "name"),
    [
        (
            ["*", "localhost", "127.0.0.1", "[::1]", ".localhost", "www.example.com"],
            "www.example.com",
        ),
        ([".example.com", "example.org"], "example.com"),
        (["*"], "site"),
        ([], "site"),
    ],
)
def test_single_tenant_is_called_by_its_host_or_its_directory(set_databases, settings, hosts, name):
    settings.ALLOWED_HOSTS = hosts
    set_databases(default=Path("/srv/site/db.sqlite3"))
    assert SingleTenant().get_tenant("default").name == name


def test_single_tenants_paths_are_absolute(set_databases, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("db.sqlite3", "file:db.sqlite3?cache=private"):
        set_databases(default=name)
        (tenant,) = SingleTenant().all_tenants()
        assert tenant.database == tmp_path / "db.sqlite3"
        assert tenant.root == tmp_path


@pytest.mark.django_db
@pytest.mark.parametrize("action", PERMISSIONS)
def test_single_tenant_admits_nobody_without_djangos_permission(request_from, action):
    permissions = Permission.objects.filter(content_type__app_label="tenant_backup")
    # Each permission of this app but the one that is needed.
    others = permissions.exclude(codename=PERMISSIONS[action])
    assert permissions.count() == others.count() + 1
    user = User.objects.create_user("ann", is_staff=True)
    user.user_permissions.set(others)
    inactive = User.objects.create_user("bob", is_active=False)
    inactive.user_permissions.set(permissions)
    for refused in (user, inactive, AnonymousUser()):
        assert SingleTenant().has_permission(request_from(refused), ACME, action) is False


@pytest.mark.django_db
def test_single_tenant_admits_no_inactive_superuser(request_from):
    user = User.objects.create_superuser("root", is_active=False)
    for action in PERMISSIONS:
        assert SingleTenant().has_permission(request_from(user), ACME, action) is False


@pytest.mark.django_db
def test_single_tenant_admits_nobody_to_an_action_that_it_does_not_know(request_from):
    user = User.objects.create_superuser("root")
    for action in ("", "restore", "view_backup", "tenant_backup.view_backup"):
        assert SingleTenant().has_permission(request_from(user), ACME, action) is False


@pytest.mark.django_db
@pytest.mark.parametrize("action", PERMISSIONS)
def test_single_tenant_admits_who_has_djangos_permission(request_from, action):
    user = User.objects.create_user("ann")
    user.user_permissions.add(
        Permission.objects.get(
            content_type__app_label="tenant_backup", codename=PERMISSIONS[action]
        )
    )
    assert SingleTenant().has_permission(request_from(user), ACME, action) is True
    root = User.objects.create_superuser("root")
    assert SingleTenant().has_permission(request_from(root), ACME, action) is True


# HostNameTenants


class Shops(HostNameTenants):
    """As in docs/settings.md."""

    def all_tenants(self):
        for name in ("acme", "globex"):
            root = Path("/srv/shops") / name
            yield Tenant(name, name.title(), root, root / "shop.sqlite3")

    def has_permission(self, request, tenant, action):
        if action == DELETE:
            return request.user.is_superuser
        return request.user.groups.filter(name=f"{tenant.id} administrators").exists()


@pytest.mark.django_db
def test_the_documented_host_name_provider(request_from):
    ann = User.objects.create_user("ann")
    ann.groups.add(Group.objects.create(name="globex administrators"))
    root = User.objects.create_superuser("root")
    acme, globex = Shops().all_tenants()
    assert Shops().tenant_for_request(request_from(ann, host="globex.example.com")) == globex
    assert Shops().tenant_for_request(request_from(ann, host="ACME.example.com:8000")) == acme
    for host in ("example.com", "127.0.0.1"):
        with pytest.raises(TenantNotFound):
            Shops().tenant_for_request(request_from(ann, host=host))
    allowed = [a for a in ACTIONS if Shops().has_permission(request_from(ann), globex, a)]
    assert allowed == [VIEW, CREATE, DOWNLOAD, CONFIGURE]
    assert not any(Shops().has_permission(request_from(ann), acme, a) for a in ACTIONS)
    assert Shops().has_permission(request_from(root), acme, DELETE)


def test_the_actions_have_the_values_that_hosts_know():
    assert ACTIONS == ("view", "create", "delete", "download", "configure")
    assert (VIEW, CREATE, DELETE, DOWNLOAD, CONFIGURE) == ACTIONS
    assert set(SingleTenant.permissions) == set(ACTIONS)


# DirectoryTenants


@pytest.mark.parametrize(
    "unknown",
    ["", ".", "..", "/", "acme/", "./acme", "a/b", "acme/backups", "acme\0", "\0", "ACME", "*"],
)
def test_directory_tenants_finds_nothing_but_a_folders_exact_name(folders, tmp_path, unknown):
    (tmp_path / "acme" / "backups").mkdir(parents=True)
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(TenantNotFound):
        folders.get_tenant(unknown)


def test_directory_tenants_passes_over_files_and_hidden_folders(folders, tmp_path):
    for name in ("acme", ".hidden", ".git", "lost+found"):
        (tmp_path / name).mkdir()
    for name in ("notes.txt", "bolt", "db.sqlite3", ".DS_Store"):
        (tmp_path / name).touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    assert ids(folders) == ["acme"]
    for name in (".hidden", "bolt", "nowhere", "lost+found"):
        with pytest.raises(TenantNotFound):
            folders.get_tenant(name)


def test_directory_tenants_without_their_directory_are_no_silent_nothing(tmp_path):
    provider = type("Mistyped", (DirectoryTenants,), {"directory": tmp_path / "gone"})()
    with pytest.raises(FileNotFoundError):
        provider.all_tenants()


def test_directory_tenants_are_the_folders_in_the_order_of_their_names(folders, tmp_path):
    names = ["bolt", "Acme & Söhne", "acme", "🍕", "a b", "acme2", "x.y"]
    for name in names:
        (tmp_path / name).mkdir()
    assert ids(folders) == sorted(names)
    for name in names:
        tenant = folders.get_tenant(name)
        assert tenant == Tenant(name, name, tmp_path / name, tmp_path / name / "db.sqlite3")


def test_directory_tenants_take_the_databases_name_and_a_directory_as_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sites" / "acme").mkdir(parents=True)
    names = {"directory": "sites", "database_name": "data/site.db"}
    (tenant,) = type("Sites", (DirectoryTenants,), names)().all_tenants()
    assert tenant.root == tmp_path / "sites" / "acme"
    assert tenant.database == tmp_path / "sites" / "acme" / "data" / "site.db"


def test_directory_tenants_sees_a_folder_that_is_a_link_and_one_made_later(folders, tmp_path):
    assert ids(folders) == []
    elsewhere = tmp_path / ".elsewhere"
    elsewhere.mkdir()
    (tmp_path / "acme").symlink_to(elsewhere)
    assert ids(folders) == ["acme"]
    assert folders.get_tenant("acme").root == tmp_path / "acme"


@pytest.mark.parametrize(
    "host",
    [
        *("example.com", "www.example.com", "localhost", "localhost:8000", "acme2.example.com"),
        *("xacme.example.com", "www.acme.example.com", "acme-2.example.com", ".."),
        *("127.0.0.1", "127.0.0.1:8000", "10.0.0.7", "[::1]", "[::1]:8000", "[2001:db8::7]"),
    ],
)
def test_a_host_name_of_no_tenant_is_not_found(folders, tmp_path, request_from, host):
    # Even where a folder has the name that a careless reading of an address would yield.
    for name in ("acme", "127", "10", "[", "[::1]", "[2001", "[2001:db8::7]"):
        (tmp_path / name).mkdir()
    with pytest.raises(TenantNotFound):
        folders.tenant_for_request(request_from(host=host))


@pytest.mark.parametrize("host", ["acme/../bolt", "acme\0", "[acme]", "a b.example.com"])
def test_a_host_name_that_is_none_is_django_to_refuse(folders, request_from, host):
    with pytest.raises(DisallowedHost):
        folders.tenant_for_request(request_from(host=host))


def test_a_host_name_that_the_project_does_not_serve_is_django_to_refuse(
    folders, tmp_path, settings, request_from
):
    (tmp_path / "acme").mkdir()
    request = request_from(host="acme.evil.example")
    settings.ALLOWED_HOSTS = [".example.com"]
    with pytest.raises(DisallowedHost):
        folders.tenant_for_request(request)


@pytest.mark.parametrize(
    "host",
    [
        *("acme", "acme:8000", "acme.example.com", "acme.example.com:8443", "ACME.Example.COM"),
        *("acme.localhost:8000", "acme.eu.example.com", "acme.example.com."),
    ],
)
def test_the_first_label_of_the_host_name_is_the_tenant(folders, tmp_path, request_from, host):
    for name in ("acme", "example", "com", "eu"):
        (tmp_path / name).mkdir()
    assert folders.tenant_for_request(request_from(host=host)).id == "acme"


def test_a_tenant_with_capitals_is_found_where_no_other_can_be_meant(
    folders, tmp_path, request_from
):
    for name in ("Acme", "Bolt", "BOLT", "bolt", "Core", "CORE"):
        (tmp_path / name).mkdir(exist_ok=True)
    if len(ids(folders)) < 6:
        pytest.skip("This file system does not tell capitals apart.")
    for host, name in {"acme": "Acme", "ACME": "Acme", "bolt": "bolt", "BOLT": "bolt"}.items():
        assert folders.tenant_for_request(request_from(host=f"{host}.example.com")).id == name
    # The Kelvin sign is a small k when it is made small.
    (tmp_path / "\N{KELVIN SIGN}ind").mkdir()
    for host in ("core", "CORE", "kind", "acm"):
        with pytest.raises(TenantNotFound):
            folders.tenant_for_request(request_from(host=f"{host}.example.com"))


@pytest.mark.django_db
@pytest.mark.parametrize("provider", [DirectoryTenants, DatabaseTenants])
@pytest.mark.parametrize("action", [*PERMISSIONS, "anything"])
def test_a_host_name_admits_active_superusers_only(request_from, provider, action):
    staff = User.objects.create_user("ann", is_staff=True)
    staff.user_permissions.set(Permission.objects.all())
    gone = User.objects.create_superuser("bob", is_active=False)
    for refused in (staff, gone, AnonymousUser()):
        assert provider().has_permission(request_from(refused), ACME, action) is False
    root = User.objects.create_superuser("root")
    assert provider().has_permission(request_from(root), ACME, action) is True


# DatabaseTenants


def test_database_tenants_leaves_out_what_is_no_sqlite_file(set_databases):
    set_databases(
        default="/srv/data/control.sqlite3",
        dummy={"ENGINE": "django.db.backends.dummy", "NAME": "/srv/data/dummy.sqlite3"},
        memory=":memory:",
        nameless="",
        shared="file:shared?mode=memory&cache=shared",
        uri_memory="file::memory:?cache=shared",
    )
    assert ids(DatabaseTenants()) == []


@pytest.mark.parametrize(
    ("control", "expected"), [("default", ["acme", "bolt"]), ("bolt", ["acme", "default"])]
)
def test_database_tenants_leaves_out_the_control_database(
    set_databases, settings, control, expected
):
    set_databases(
        bolt="/srv/data/bolt.sqlite3",
        default="/srv/data/db.sqlite3",
        acme="/srv/data/acme.sqlite3",
    )
    settings.TENANT_BACKUP = {"CATALOG_DATABASE": control}
    assert ids(DatabaseTenants()) == expected
    with pytest.raises(TenantNotFound):
        DatabaseTenants().get_tenant(control)


def test_database_tenants_have_a_root_of_their_own_beside_the_database(set_databases):
    set_databases(
        default=":memory:",
        acme=Path("/srv/data/acme.sqlite3"),
        bolt="/srv/data/other name.db",
        uri="file:/srv/data/a%20b.sqlite3?cache=private",
    )
    data = Path("/srv/data")
    assert list(DatabaseTenants().all_tenants()) == [
        Tenant("acme", "acme", data / "acme", data / "acme.sqlite3"),
        Tenant("bolt", "bolt", data / "bolt", data / "other name.db"),
        Tenant("uri", "uri", data / "uri", data / "a b.sqlite3"),
    ]


def test_database_tenants_paths_are_absolute(set_databases, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    set_databases(default=":memory:", acme="data/acme.sqlite3")
    (tenant,) = DatabaseTenants().all_tenants()
    assert tenant.database == tmp_path / "data" / "acme.sqlite3"
    assert tenant.root == tmp_path / "data" / "acme"


def test_database_tenants_are_named_by_the_host_name(set_databases, request_from):
    set_databases(default="/srv/data/db.sqlite3", acme="/srv/data/acme.sqlite3")
    request = request_from(host="acme.example.com:8000")
    assert DatabaseTenants().tenant_for_request(request).id == "acme"
    for host in ("default.example.com", "bolt.example.com", "127.0.0.1"):
        with pytest.raises(TenantNotFound):
            DatabaseTenants().tenant_for_request(request_from(host=host))
