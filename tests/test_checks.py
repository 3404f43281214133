"""The system checks, as a host meets them: through Django, never by a call of ours.

Every message has an id, names what is wrong, and says what to do.
"""

import os
import re
import subprocess
import sys
from importlib.machinery import ModuleSpec
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest
from django.contrib import admin
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections
from django.test.utils import override_script_prefix
from django.urls import include, path, re_path
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

import tenant_backup.checks
from tenant_backup.conf import Conf
from tenant_backup.routers import CatalogRouter
from tenant_backup.tenants import HostNameTenants, Tenant, TenantProvider
from tests.tenancy import Tenants
from tests.test_conf import DEFAULTS, WRONG

SOURCE = Path(tenant_backup.checks.__path__[0])
KEYS = [setting.key for setting in Conf.known()]


class Incomplete(TenantProvider):
    """A provider whose author forgot a method."""

    def all_tenants(self):
        return []


class Unrelated:
    """A class that is no provider at all."""


class Fussy(Tenants):
    """A provider that cannot be made as we make it."""

    def __init__(self, connection):
        raise AssertionError("nobody gets here")


class Broken(Tenants):
    """A provider that fails when it is asked."""

    def all_tenants(self):
        raise LookupError("no such table: customers")


class OtherRouter:
    """A host's own router."""


def path_of(thing):
    return f"{__name__}.{thing.__name__}"


def a_function():
    """Something that is no class."""


an_instance = Tenants()


def run_with_hints(databases=("default",), tags=("tenant_backup", checks.Tags.database)):
    """All messages of ours, as (id, sentence, hint); there is always a hint."""
    answers = []
    for message in checks.run_checks(tags=tags, databases=databases):
        app, _, id_ = str(message.id).partition(".")
        if app == "tenant_backup":
            assert message.hint, f"{id_} has no hint"
            assert message.level == {"E": checks.ERROR, "W": checks.WARNING}[id_[0]]
            answers.append((id_, message.msg, message.hint))
    return answers


def run(**options):
    """All messages of ours, as (id, sentence)."""
    return [(id_, sentence) for id_, sentence, _ in run_with_hints(**options)]


def run_without_database():
    """As `runserver`, `test` and `check` without `--database` do."""
    return run(databases=None, tags=["tenant_backup"])


def tenants(monkeypatch, *several):
    monkeypatch.setattr(Tenants, "tenants", list(several))


@pytest.fixture
def another_database(tmp_path):
    """The alias `control` in `DATABASES`, for the length of a test."""
    added = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "control.sqlite3"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "settings", {**connections.settings, "control": added})
        connections.configure_settings(connections.settings)
        yield "control"
        connections["control"].close()
        del connections["control"]


# The settings


@pytest.mark.parametrize("wrong", [None, "SingleTenant", ["VERIFY"], 0], ids=repr)
def test_e001_settings_that_are_no_dict(settings, wrong):
    settings.TENANT_BACKUP = wrong
    assert run_without_database() == [("E001", f"TENANT_BACKUP must be a dict, not {wrong!r}.")]


@pytest.mark.parametrize("key", KEYS)
def test_e001_every_way_to_mistype_a_key(settings, key):
    typos = {key.lower(), key[:-1], key[1:], f"{key}S", f"{key} ", f"_{key}", key.title()}
    for typo in typos - set(KEYS):
        settings.TENANT_BACKUP = {typo: DEFAULTS[key]}
        assert run_without_database() == [("E001", f"TENANT_BACKUP has an unknown key {typo!r}.")]


@examples(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(key=st.text().filter(lambda key: key not in KEYS) | st.integers() | st.none())
def test_e001_any_key_that_is_not_known(key):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.TENANT_BACKUP", {key: 1})
        assert run_without_database() == [("E001", f"TENANT_BACKUP has an unknown key {key!r}.")]


def test_e001_names_every_unknown_key_and_its_hint_every_known_one(settings):
    settings.TENANT_BACKUP = {"VERYFY": "full", "CLUSTERS": None}
    (first, second) = run_with_hints(databases=None, tags=["tenant_backup"])
    assert first[:2] == ("E001", "TENANT_BACKUP has an unknown key 'VERYFY'.")
    assert second[:2] == ("E001", "TENANT_BACKUP has an unknown key 'CLUSTERS'.")
    for _, _, hint in (first, second):
        assert all(key in hint for key in KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_e002_a_value_of_the_wrong_kind(settings, key):
    for wrong in WRONG[key]:
        settings.TENANT_BACKUP = {key: wrong}
        ((id_, sentence),) = run_without_database()
        assert id_ == "E002"
        assert f"TENANT_BACKUP[{key!r}]" in sentence
        is_secret = getattr(Conf, key).is_secret
        assert sentence.endswith("which it is not." if is_secret else f"not {wrong!r}.")


def test_e002_a_control_database_that_is_not_in_databases(settings):
    settings.TENANT_BACKUP = {"CATALOG_DATABASE": "contorl"}
    assert (
        "E002",
        "TENANT_BACKUP['CATALOG_DATABASE'] is 'contorl', which is not in DATABASES.",
    ) in run_without_database()


def test_e001_and_e002_are_told_at_once(settings):
    settings.TENANT_BACKUP = {"VERYFY": "full", "BUSY_TIMEOUT": 0, "CLUSTER": ""}
    assert [id_ for id_, _ in run_without_database()] == ["E001", "E002", "E002"]


def test_e002_an_unknown_key_of_the_operators_is_named(settings):
    settings.TENANT_BACKUP = {"OPERATOR": {"EMAIL": "ops@example.com", "TELEPHONE": "1"}}
    [(id_, sentence, hint)] = run_with_hints(databases=None, tags=["tenant_backup"])
    assert id_ == "E002"
    assert "TENANT_BACKUP['OPERATOR'] has an unknown key 'TELEPHONE'." in sentence
    assert hint


@pytest.mark.parametrize(
    ("defaults", "named"),
    [
        ({"keep_lst": 3}, "'keep_lst'"),
        ({"tenant_id": "acme"}, "'tenant_id'"),
        ({"id": 1}, "'id'"),
        ({"next_run_at": None}, "'next_run_at'"),
        ({"policy": None}, "'policy'"),
        ({"keep_last": 0}, "keep_last"),
        ({"keep_last": -1}, "keep_last"),
        ({"keep_days": "many"}, "keep_days"),
        ({"keep_monthly": 10**6}, "keep_monthly"),
        ({"interval": "yearly"}, "interval"),
        ({"weekday": 7}, "weekday"),
        ({"day_of_month": 32}, "day_of_month"),
        ({"time_of_day": "25:00"}, "time_of_day"),
        ({"automatic": None}, "automatic"),
        ({"automatic": "sometimes"}, "automatic"),
        ({"notify_email": "nobody"}, "notify_email"),
    ],
    ids=str,
)
def test_e003_initial_settings_that_no_tenant_could_have(settings, defaults, named):
    settings.TENANT_BACKUP = {"DEFAULT_SETTINGS": defaults}
    ((id_, sentence),) = run_without_database()
    assert id_ == "E003"
    assert sentence.startswith("TENANT_BACKUP['DEFAULT_SETTINGS'] is not valid: ")
    assert named in sentence


def test_e003_names_every_field_that_is_wrong(settings):
    settings.TENANT_BACKUP = {"DEFAULT_SETTINGS": {"keep_last": 0, "interval": "yearly"}}
    assert [id_ for id_, _ in run_without_database()] == ["E003", "E003"]
    assert {"keep_last", "interval"} == {
        sentence.split(": ")[1] for _, sentence in run_without_database()
    }


# The tenant provider


@pytest.mark.parametrize(
    "path",
    [
        *("no_such_module.Tenants", "tests.no_such_module.Tenants", "tests.tenancy.NoSuchClass"),
        *(".", ".tenancy.Tenants", "..tenancy.Tenants", "tests.", "tests..tenancy.Tenants"),
    ],
)
def test_e004_a_provider_that_cannot_be_imported(settings, path):
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": path}
    ((id_, sentence),) = run_without_database()
    assert id_ == "E004"
    assert sentence.startswith(f"The tenant provider {path!r} cannot be imported: ")


def test_e004_a_provider_whose_module_fails(settings, tmp_path, monkeypatch):
    (tmp_path / "module_that_fails.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": "module_that_fails.Tenants"}
    ((id_, sentence),) = run_without_database()
    assert id_ == "E004"
    assert sentence.endswith("cannot be imported: ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Incomplete", "lacks tenant_for_request."),
        ("Unrelated", "lacks all_tenants, get_tenant, tenant_for_request, has_permission."),
        (
            "a_function",
            "lacks all_tenants, get_tenant, tenant_for_request, has_permission.",
        ),
        ("an_instance", "is not a class."),
        ("Fussy", "cannot be made: TypeError: "),
    ],
)
def test_e005_a_provider_that_is_none(settings, name, problem):
    path = f"{__name__}.{name}"
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": path}
    ((id_, sentence),) = run_without_database()
    assert id_ == "E005"
    assert sentence.startswith(f"The tenant provider {path!r} {problem}")


def test_e005_the_base_class_itself_is_no_provider(settings):
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": "tenant_backup.tenants.TenantProvider"}
    ((id_, sentence),) = run_without_database()
    assert id_ == "E005"
    assert sentence.endswith("lacks all_tenants, tenant_for_request.")


# The host's other settings


@pytest.mark.parametrize(
    "routers",
    [
        [f"{__name__}.OtherRouter"],
        [f"{__name__}.OtherRouter", "tenant_backup.routers.CatalogRouter"],
    ],
    ids=["missing", "second"],
)
def test_e006_the_catalogs_router_is_not_the_first(settings, routers):
    settings.DATABASE_ROUTERS = routers
    ((id_, sentence),) = run_without_database()
    assert id_ == "E006"
    assert "DATABASE_ROUTERS" in sentence


def test_e006_no_router_where_there_is_more_than_one_database(settings, another_database):
    settings.DATABASE_ROUTERS = []
    assert [id_ for id_, _ in run_without_database()] == ["E006"]


class HostsCatalogRouter(CatalogRouter):
    """A host may refine the router."""


@pytest.mark.parametrize("first", [CatalogRouter, HostsCatalogRouter])
def test_a_router_of_ours_in_the_first_place_is_right(settings, another_database, first):
    settings.DATABASE_ROUTERS = [
        f"{first.__module__}.{first.__qualname__}",
        f"{__name__}.OtherRouter",
    ]
    assert run_without_database() == []


def test_one_database_needs_no_router(settings):
    settings.DATABASE_ROUTERS = []
    assert run_without_database() == []


def test_e007_times_without_a_zone(settings):
    settings.USE_TZ = False
    ((id_, sentence),) = run_without_database()
    assert id_ == "E007"
    assert "USE_TZ is False" in sentence


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ({}, "it has no timeout"),
        ({"timeout": 59, "retry": 3600}, "its timeout of 59 seconds ends"),
        ({"timeout": 600}, "its retry of 60 seconds hands out a task again"),
        ({"timeout": 600, "retry": 1800}, "its retry of 1800 seconds hands out a task again"),
    ],
)
@pytest.mark.parametrize("cluster", [None, "long"])
def test_w003_times_that_do_not_suit_backups(settings, times, said, cluster):
    good = {"timeout": 600, "retry": 1801}
    if cluster:
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "CLUSTER": cluster}
        alternative = {"timeout": None, "retry": 60, **times}
        settings.Q_CLUSTER = {"orm": "default", **good, "ALT_CLUSTERS": {cluster: alternative}}
    else:
        settings.Q_CLUSTER = {"orm": "default", **times}
    ((id_, sentence),) = run_without_database()
    assert id_ == "W003"
    assert said in sentence


def test_the_times_of_a_cluster_that_does_not_run_our_tasks_are_the_hosts(settings):
    settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "CLUSTER": "long"}
    settings.Q_CLUSTER = {
        "orm": "default",
        "timeout": 5,
        "ALT_CLUSTERS": {"long": {"timeout": 600, "retry": 1801}},
    }
    assert run_without_database() == []


def test_e012_the_admin_is_not_installed(settings):
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if app != "django.contrib.admin"
    ]
    ((id_, sentence),) = run_without_database()
    assert id_ == "E012"
    assert "The Django admin is not in INSTALLED_APPS" in sentence


def test_e012_the_admin_has_no_address(settings):
    settings.ROOT_URLCONF = "tenant_backup.urls"
    ((id_, sentence),) = run_without_database()
    assert id_ == "E012"
    assert "The Django admin has no address" in sentence


def test_e011_django_q2_is_not_installed(settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    ((id_, sentence),) = run_without_database()
    assert id_ == "E011"
    assert "django_q is not in INSTALLED_APPS" in sentence


@pytest.mark.parametrize("cluster", [None, {}, [], "default"], ids=repr)
def test_w001_there_is_no_cluster(settings, cluster):
    settings.Q_CLUSTER = cluster
    ((id_, sentence),) = run_without_database()
    assert id_ == "W001"
    assert "there is no setting Q_CLUSTER" in sentence


def test_w001_the_setting_is_missing(settings):
    del settings.Q_CLUSTER
    assert [id_ for id_, _ in run_without_database()] == ["W001"]


def test_w001_the_cluster_is_in_a_database_that_there_is_not(settings):
    settings.Q_CLUSTER = {"orm": "queue"}
    ((id_, sentence),) = run_without_database()
    assert id_ == "W001"
    assert "Q_CLUSTER['orm'] is 'queue', which is not in DATABASES" in sentence


def test_w001_the_cluster_is_not_in_the_control_database(settings, another_database):
    settings.DATABASE_ROUTERS = ["tenant_backup.routers.CatalogRouter"]
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "orm": another_database}
    ((id_, sentence),) = run_without_database()
    assert id_ == "W001"
    assert "Q_CLUSTER['orm'] is 'control', but django-q2's tables are in 'default'" in sentence


def test_w001_no_broker_and_no_redis(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    settings.Q_CLUSTER = {"name": "host", "workers": 1}
    ((id_, sentence),) = run_without_database()
    assert id_ == "W001"
    assert "its broker is Redis, as Q_CLUSTER names no other" in sentence


def test_w001_a_cluster_that_nobody_runs(settings):
    settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "CLUSTER": "lnog"}
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "ALT_CLUSTERS": {"long": {"retry": 300}}}
    ((id_, sentence),) = run_without_database()
    assert id_ == "W001"
    assert "TENANT_BACKUP['CLUSTER'] is 'lnog', which Q_CLUSTER lacks" in sentence


def test_w001_django_q2s_tables_are_elsewhere(settings, another_database):
    settings.DATABASE_ROUTERS = ["tenant_backup.routers.CatalogRouter"]
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "orm": another_database}
    ((id_, sentence),) = run_without_database()
    assert id_ == "W001"
    assert "but django-q2's tables are in 'default'" in sentence


@pytest.mark.parametrize("key", ["broker_class", "iron_mq", "sqs", "mongo"])
def test_another_broker_is_the_hosts_choice(settings, monkeypatch, key):
    monkeypatch.setitem(sys.modules, "redis", None)
    settings.Q_CLUSTER = {key: {"anything": "true"}, "timeout": 60, "retry": 200}
    assert run_without_database() == []


def test_redis_is_a_broker_where_it_is_installed(settings, monkeypatch):
    redis = ModuleType("redis")
    redis.__spec__ = ModuleSpec("redis", None)
    monkeypatch.setitem(sys.modules, "redis", redis)
    settings.Q_CLUSTER = {"name": "host", "timeout": 60, "retry": 200}
    assert run_without_database() == []


def test_the_hints_name_the_control_database(settings, another_database):
    settings.TENANT_BACKUP = {"CATALOG_DATABASE": another_database}
    settings.DATABASE_ROUTERS = ["tenant_backup.routers.CatalogRouter"]
    settings.Q_CLUSTER = {}
    ((_, _, hint),) = run_with_hints(databases=None, tags=["tenant_backup"])
    assert f'{{"orm": "{another_database}", ' in hint


@pytest.mark.parametrize("where", ["in all", "in ours"])
def test_w001_with_sync_nothing_is_ever_made(settings, where):
    settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "CLUSTER": "long"}
    in_all, in_ours = [{"sync": True}, {}] if where == "in all" else [{}, {"sync": True}]
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, **in_all, "ALT_CLUSTERS": {"long": in_ours}}
    ((id_, sentence),) = run_without_database()
    assert id_ == "W001"
    assert '"sync"' in sentence


# The addresses and the files of the page


def catch_all(request, path=""):
    """What answers every address that is left, as that of a content management system."""


ADMIN = path("admin/", admin.site.urls)
OURS = path("", include("tenant_backup.urls"))


@pytest.mark.parametrize(
    "taker",
    [
        path("<path:path>", catch_all, name="serve"),
        re_path(r"^settings/.*$", catch_all, name="serve"),
        path("settings/<slug:a>/<slug:b>", catch_all, name="serve"),
    ],
    ids=str,
)
def test_w004_another_pattern_answers_the_pages_address(settings, taker):
    settings.ROOT_URLCONF = (ADMIN, taker, OURS)
    ((id_, sentence, hint),) = run_with_hints(databases=None, tags=["tenant_backup"])
    assert id_ == "W004"
    assert "/settings/admin/backup, is answered by serve" in sentence
    assert "first in the urlpatterns" in hint
    settings.ROOT_URLCONF = (OURS, ADMIN, taker)
    assert run_without_database() == []


@pytest.mark.parametrize(
    "ours",
    [
        path("below/", include("tenant_backup.urls")),
        path("", include("tenant_backup.urls", namespace="copies")),
        path("", include(([OURS], "host"))),  # where its name is another, nothing is known
    ],
    ids=["prefix", "namespace", "nested"],
)
def test_the_page_may_be_elsewhere(settings, ours):
    settings.ROOT_URLCONF = (ADMIN, ours)
    assert run_without_database() == []


def test_the_pages_address_is_found_below_a_prefix(settings):
    with override_script_prefix("/app/"):
        assert run_without_database() == []


@pytest.fixture
def manifest(settings, tmp_path):
    """A host whose static files have a manifest, as `collectstatic` makes it."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.staticfiles"]
    backend = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": backend}}
    settings.STATIC_ROOT = tmp_path
    settings.DEBUG = False


def test_w005_static_files_that_were_not_collected(settings, manifest, tmp_path):
    ((id_, sentence, hint),) = run_with_hints(databases=None, tags=["tenant_backup"])
    assert id_ == "W005"
    assert "tenant_backup/admin.css" in sentence
    assert "collectstatic" in hint
    # While one develops, none is needed.
    settings.DEBUG = True
    assert run_without_database() == []
    settings.DEBUG = False
    call_command("collectstatic", interactive=False, verbosity=0)
    staticfiles_storage.hashed_files = staticfiles_storage.load_manifest()[0]
    assert run_without_database() == []


# The tenants


@pytest.mark.django_db
def test_w002_a_provider_that_cannot_list_the_tenants(settings):
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": path_of(Broken)}
    ((id_, sentence),) = run()
    assert id_ == "W002"
    assert sentence.endswith("cannot list the tenants: LookupError: no such table: customers")


@pytest.mark.django_db
@pytest.mark.parametrize("what", ["root", "database"])
@pytest.mark.parametrize("wrong", [Path("data/acme"), Path(), "/srv/acme", None], ids=repr)
def test_e008_what_is_no_absolute_path(monkeypatch, tmp_path, what, wrong):
    paths = {"root": tmp_path, "database": tmp_path / "db.sqlite3", what: wrong}
    tenants(monkeypatch, Tenant("acme", "Acme", **paths))
    assert run() == [
        ("E008", f"The {what} of tenant 'acme' must be an absolute Path, not {wrong!r}.")
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("id_", ["", "a" * 256, 7, None, b"acme"], ids=str)
def test_e008_an_id_that_is_no_text_of_a_fitting_length(monkeypatch, tmp_path, id_):
    tenants(monkeypatch, Tenant(id_, "Acme", tmp_path, tmp_path / "db"))
    assert run() == [("E008", f"The tenant id {id_!r} must be text of 1 to 255 characters.")]


@pytest.mark.django_db
def test_e008_an_id_that_no_database_can_store(monkeypatch, tmp_path):
    tenants(monkeypatch, Tenant("acme\udcff", "Acme", tmp_path, tmp_path / "db"))
    assert run() == [("E008", "The tenant id 'acme\\udcff' is no valid text.")]


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["Europe/Atlantis", "../etc/passwd", "/etc/localtime", "\0"])
def test_e008_a_time_zone_that_is_not_known(monkeypatch, tmp_path, zone):
    tenants(monkeypatch, Tenant("acme", "Acme", tmp_path, tmp_path / "db", zone))
    assert run() == [("E008", f"The time zone {zone!r} of tenant 'acme' is not known.")]


@pytest.mark.django_db
def test_e008_names_every_tenant_that_has_a_fault(monkeypatch, tmp_path):
    tenants(
        monkeypatch,
        Tenant("acme", "Acme", Path("acme"), tmp_path / "db"),
        Tenant("apart", "Apart", tmp_path, tmp_path / "db"),
        Tenant("bolt", "Bolt", tmp_path, Path("db"), "Europe/Atlantis"),
    )
    first, second = run()
    assert (first[0], second[0]) == ("E008", "E008")
    assert "'acme'" in first[1]
    assert "'bolt'" in second[1]


@pytest.mark.django_db
@pytest.mark.parametrize("way", ["same", "dotted", "link"])
def test_e009_one_root_for_two_tenants(monkeypatch, tmp_path, way):
    root = tmp_path / "one"
    root.mkdir()
    (tmp_path / "link").symlink_to(root)
    other = {"same": root, "dotted": root / ".." / "one", "link": tmp_path / "link"}[way]
    tenants(
        monkeypatch,
        Tenant("acme", "Acme", root, root / "a.sqlite3"),
        Tenant("apart", "Apart", tmp_path / "two", root / "c.sqlite3"),
        Tenant("bolt", "Bolt", other, root / "b.sqlite3"),
    )
    assert run() == [("E009", f"The tenants 'acme', 'bolt' share the root {root}.")]


@pytest.mark.django_db
def test_e010_one_id_for_two_tenants(monkeypatch, tmp_path):
    tenants(
        monkeypatch,
        *(Tenant("acme", name, tmp_path / name, tmp_path / name / "db") for name in ("one", "two")),
        Tenant("bolt", "Bolt", tmp_path / "three", tmp_path / "db"),
    )
    assert run() == [("E010", "The tenant id 'acme' is given to 2 tenants.")]


@pytest.mark.django_db
def test_a_shared_root_and_a_shared_id_are_told_at_once(monkeypatch, tmp_path):
    tenants(monkeypatch, *[Tenant("acme", "Acme", tmp_path, tmp_path / "db")] * 2)
    assert [id_ for id_, _ in run()] == ["E009", "E013", "E010"]


@pytest.mark.django_db
@pytest.mark.parametrize("way", ["same", "link"])
def test_e013_one_database_for_two_tenants(monkeypatch, tmp_path, way):
    database = tmp_path / "one.sqlite3"
    database.touch()
    (tmp_path / "link").symlink_to(database)
    other = {"same": database, "link": tmp_path / "link"}[way]
    tenants(
        monkeypatch,
        Tenant("acme", "Acme", tmp_path / "acme", database),
        Tenant("apart", "Apart", tmp_path / "apart", tmp_path / "two.sqlite3"),
        Tenant("bolt", "Bolt", tmp_path / "bolt", other),
    )
    assert run() == [("E013", f"The tenants 'acme', 'bolt' share the database {database}.")]


@pytest.mark.django_db
@pytest.mark.parametrize("way", ["folder", "name"])
def test_e014_one_folder_of_backups_for_two_tenants(settings, monkeypatch, tmp_path, way):
    folder = {"folder": "backups", "name": "copies"}[way]
    settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "DIRECTORY_NAME": folder}
    for name in ("acme", "apart", "bolt"):
        (tmp_path / name).mkdir()
    (tmp_path / "acme" / folder).mkdir()
    (tmp_path / "bolt" / folder).symlink_to(tmp_path / "acme" / folder)
    tenants(
        monkeypatch,
        *(
            Tenant(name, name, tmp_path / name, tmp_path / name / "db")
            for name in ("acme", "apart", "bolt")
        ),
    )
    shared = tmp_path / "acme" / folder
    assert run() == [("E014", f"The tenants 'acme', 'bolt' share the folder of backups {shared}.")]


class ByHostName(Tenants):
    """Takes the tenant from the host name as the ready-made providers do."""

    tenant_for_request = HostNameTenants.tenant_for_request


@pytest.mark.django_db
def test_w006_ids_that_no_host_name_can_carry(settings, monkeypatch, tmp_path):
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": path_of(ByHostName)}
    wrong = ["my_shop", "x.y", "-a", "a-", "Käse", "a" * 64, "TWICE", "a b"]
    right = ["acme", "a-b", "7", "a" * 63, "Upper", "twice"]
    names = [*wrong, *right]
    tenants(
        monkeypatch,
        *(Tenant(name, name, tmp_path / name, tmp_path / name / "db") for name in names),
    )
    ((id_, sentence),) = run()
    assert id_ == "W006"
    named = ", ".join(map(repr, wrong))
    assert sentence == f"No host name leads to the page of these tenants: {named}."
    # Of a host that finds the tenant otherwise, nothing is known.
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": "tests.tenancy.Tenants"}
    assert run() == []


@pytest.mark.django_db
def test_w006_of_very_many_only_a_few_are_named(settings, monkeypatch, tmp_path):
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": path_of(ByHostName)}
    names = [f"shop_{number}" for number in range(25)]
    tenants(
        monkeypatch,
        *(Tenant(name, name, tmp_path / name, tmp_path / name / "db") for name in names),
    )
    ((_, sentence),) = run()
    assert sentence.count("'shop_") == 10
    assert sentence.endswith("and 15 more.")


@pytest.mark.django_db
def test_e008_what_is_no_tenant_at_all(monkeypatch):
    tenants(monkeypatch, "acme")
    assert run() == [("E008", "The tenant provider gave 'acme' instead of a Tenant.")]


@pytest.mark.django_db
@pytest.mark.parametrize("id_", ["a", "a" * 255, "Käse & Söhne", "🍕", "../../etc", "a b\n"])
def test_any_other_text_is_a_tenants_id(monkeypatch, tmp_path, id_):
    tenants(monkeypatch, Tenant(id_, "Acme", tmp_path, tmp_path / "db"))
    assert run() == []


@pytest.mark.django_db
@pytest.mark.parametrize("databases", [[], ["control"]], ids=repr)
def test_the_tenants_are_asked_for_only_where_the_control_database_may_be(
    settings, another_database, databases
):
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": path_of(Broken)}
    settings.DATABASE_ROUTERS = ["tenant_backup.routers.CatalogRouter"]
    assert run(databases=databases) == []
    assert [id_ for id_, _ in run(databases=[*databases, "default"])] == ["W002"]


@pytest.mark.django_db
def test_the_tenants_are_not_asked_for_by_a_check_that_names_no_database(settings):
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": path_of(Broken)}
    assert run_without_database() == []
    assert run(databases=None, tags=None) == []


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", [{"VERYFY": "full"}, {"TENANT_PROVIDER": "no.such.Tenants"}])
def test_the_tenants_are_not_asked_for_while_the_settings_are_wrong(settings, wrong):
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": path_of(Broken)} | wrong
    assert [id_ for id_, _ in run()] == [{"VERYFY": "E001"}.get(next(iter(wrong)), "E004")]


def test_the_tenants_are_not_asked_for_before_the_first_migrate(
    settings, another_database, django_db_blocker
):
    settings.TENANT_BACKUP = {
        "TENANT_PROVIDER": path_of(Broken),
        "CATALOG_DATABASE": another_database,
    }
    settings.DATABASE_ROUTERS = ["tenant_backup.routers.CatalogRouter"]
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "orm": another_database}
    with django_db_blocker.unblock():
        assert run(databases=[another_database]) == []
        # What tells the two apart is the catalog's table, and nothing else.
        with connections[another_database].cursor() as cursor:
            cursor.execute("CREATE TABLE tenant_backup_backup (id INTEGER PRIMARY KEY)")
        assert [id_ for id_, _ in run(databases=[another_database])] == ["W002"]


# What is right, and how it all reaches people


@pytest.mark.django_db
@pytest.mark.parametrize("configuration", [{}, DEFAULTS], ids=["nothing set", "defaults written"])
def test_a_clean_configuration_gives_no_message(settings, monkeypatch, tmp_path, configuration):
    settings.TENANT_BACKUP = configuration | {"TENANT_PROVIDER": "tests.tenancy.Tenants"}
    tenants(
        monkeypatch,
        *(Tenant(name, name, tmp_path / name, tmp_path / name / "db") for name in "abc"),
    )
    assert run() == []


def test_no_setting_at_all_is_a_clean_configuration(settings):
    del settings.TENANT_BACKUP
    assert run_without_database() == []


@pytest.mark.django_db
def test_a_host_without_tenants_is_clean(monkeypatch):
    tenants(monkeypatch)
    assert run() == []


def test_the_checks_are_among_those_that_django_runs_untagged(settings):
    settings.TENANT_BACKUP = {"VERYFY": "full"}
    assert [id_ for id_, _ in run(databases=None, tags=None)] == ["E001"]


@pytest.mark.django_db
def test_the_checks_of_the_tenants_are_among_those_of_the_database(monkeypatch, tmp_path):
    tenants(monkeypatch, Tenant("", "Nobody", tmp_path, tmp_path / "db"))
    assert [id_ for id_, _ in run(tags=[checks.Tags.database])] == ["E008"]


@pytest.mark.django_db
def test_the_check_command_fails_and_prints_the_sentence_and_the_hint(monkeypatch, tmp_path):
    tenants(monkeypatch, Tenant("", "Nobody", tmp_path, tmp_path / "db"))
    with pytest.raises(SystemCheckError) as refusal:
        call_command("check", "--tag", "database", "--database", "default")
    assert "(tenant_backup.E008) The tenant id '' must be text" in str(refusal.value)
    assert "HINT: Let the tenant provider give ids" in str(refusal.value)


@pytest.mark.django_db
def test_the_check_command_is_content_with_a_clean_configuration(monkeypatch):
    tenants(monkeypatch)
    output = StringIO()
    tags = ["--tag", "tenant_backup", "--tag", "database"]
    call_command("check", *tags, "--database", "default", stdout=output)
    assert "no issues" in output.getvalue()


HOST = """
from pathlib import Path

DEBUG = False
SECRET_KEY = "only for this test"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django_q",
    "tenant_backup",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASE = Path(__file__).with_name("db.sqlite3")
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}}
ROOT_URLCONF = "host_urls"
Q_CLUSTER = {"orm": "default", "timeout": 60, "retry": 300}
"""

URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("", include("tenant_backup.urls")), path("admin/", admin.site.urls)]
"""


@pytest.fixture
def run_host(tmp_path):
    """Run a command of a real host with these settings; the result is its process, ended."""

    def run_host(settings, *arguments):
        (tmp_path / "host_settings.py").write_text(settings)
        (tmp_path / "host_urls.py").write_text(URLS)
        return subprocess.run(
            [sys.executable, "-m", "django", *arguments, "--settings", "host_settings"],
            env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{SOURCE.parent.parent}"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run_host


@pytest.mark.parametrize("configuration", [{}, {"DIRECTORY_NAMES": "backups"}], ids=repr)
def test_a_real_hosts_check_exits_as_its_configuration_deserves(run_host, configuration):
    settings = f"{HOST}TENANT_BACKUP = {configuration!r}\n"
    result = run_host(settings, "check", "--database", "default")
    if configuration:
        assert result.returncode == 1
        assert "(tenant_backup.E001)" in result.stderr
        assert "unknown key 'DIRECTORY_NAMES'" in result.stderr
        assert "DIRECTORY_NAME," in result.stderr  # the hint
    else:
        assert result.returncode == 0, result.stderr
        assert "no issues" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["check", "migrate", "runbackup"])
def test_e011_a_real_host_without_django_q2_is_told_so_and_sees_no_traceback(run_host, command):
    """With our page and the admin, whose modules are imported before any check can run."""
    result = run_host(HOST.replace('    "django_q",\n', ""), command)
    assert result.returncode == 1
    assert "(tenant_backup.E011) django_q is not in INSTALLED_APPS." in result.stderr
    assert '\n\tHINT: Add "django_q" to INSTALLED_APPS' in result.stderr
    assert "Traceback" not in result.stderr


def test_every_id_has_its_tests_here():
    source = "".join(path.read_text() for path in SOURCE.glob("*.py"))
    declared = set(re.findall(r'"tenant_backup\.([EW]\d{3})"', source))
    tests = Path(__file__).read_text()
    asserted = set(re.findall(r'"([EW]\d{3})"', tests))
    named = {id_.upper() for id_ in re.findall(r"^def test_([ew]\d{3})_", tests, re.MULTILINE)}
    assert declared == asserted == named
    assert len(declared) >= 12
