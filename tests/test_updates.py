"""Before updates: real `migrate` runs, in real processes, on tenants' real databases."""

import json
import sqlite3
from contextlib import closing

import pytest

from tests.conftest import assert_true_copy, names_in, open_backup

# A host that registers its tenants' aliases at run time, and then migrates one.
MIGRATE = """
from django.conf import settings
from django.db import connections
settings.TENANT_BACKUP["BACK_UP_BEFORE_MIGRATE"] = True
connections.settings["acme"] = {**connections.settings["default"], "NAME": sys.argv[1]}
"""


@pytest.fixture
def acme(host):
    return host.add_tenant()


@pytest.fixture
def migrate(host):
    """Run `migrate` with these arguments; the result is its process, ended."""

    def migrate(database, *arguments, before=""):
        code = f"{MIGRATE}{before}\ncommand('migrate', *sys.argv[2:])\n"
        process = host.start(code, database, *arguments)
        process.output, process.errors = process.communicate(timeout=60)
        return process

    return migrate


def tables(database):
    with closing(sqlite3.connect(database)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def catalog(host):
    return json.loads(host.run("listbackups", "--json").stdout)["backups"]


def test_a_tenant_is_backed_up_first(host, acme, migrate):
    done = migrate(acme / "db.sqlite3", "contenttypes", "--database", "acme")
    assert done.returncode == 0, done.errors
    [backup] = catalog(host)
    assert f"Backed up 'acme' before its migration: {backup['file']}\n" in done.output
    assert (backup["trigger"], backup["status"]) == ("migrate", "complete")
    assert backup["label"] == "before contenttypes.0001_initial and 1 more"
    file = acme / "backups" / backup["file"]
    assert_true_copy(file)
    with closing(open_backup(file)) as copy:
        names = {name for (name,) in copy.execute("SELECT name FROM sqlite_master")}
    assert "django_content_type" not in names
    assert "django_content_type" in tables(acme / "db.sqlite3")


def test_the_label_is_in_the_projects_language(host, acme, migrate):
    host.configure(LANGUAGE_CODE="de")
    done = migrate(acme / "db.sqlite3", "contenttypes", "--database", "acme")
    assert done.returncode == 0, done.errors
    assert catalog(host)[0]["label"] == "vor contenttypes.0001_initial und 1 mehr"
    assert "Backed up 'acme' before its migration" in done.output


def test_where_there_is_nothing_to_migrate_there_is_no_backup(host, acme, migrate):
    for _ in range(2):
        done = migrate(acme / "db.sqlite3", "contenttypes", "--database", "acme")
        assert done.returncode == 0, done.errors
    assert len(catalog(host)) == 1


def test_a_failed_backup_keeps_the_migration_from_starting(host, acme, migrate):
    (acme / "backups").write_text("in the way")
    before = tables(acme / "db.sqlite3")
    failed = migrate(acme / "db.sqlite3", "contenttypes", "--database", "acme")
    assert failed.returncode != 0
    assert "The migration of 'acme' was not started" in failed.errors
    assert str(acme / "backups") in failed.errors
    assert tables(acme / "db.sqlite3") <= before | {"django_migrations", "sqlite_sequence"}
    [backup] = catalog(host)
    assert backup["status"] == "failed"


def test_a_link_to_the_database_is_the_database(host, acme, migrate, tmp_path):
    link = tmp_path / "link.sqlite3"
    link.symlink_to(acme / "db.sqlite3")
    assert migrate(link, "contenttypes", "--database", "acme").returncode == 0
    assert [backup["trigger"] for backup in catalog(host)] == ["migrate"]


def test_a_tenants_database_that_is_a_link_is_what_it_leads_to(host, acme, migrate, tmp_path):
    real = (acme / "db.sqlite3").rename(tmp_path / "real.sqlite3")
    (acme / "db.sqlite3").symlink_to(real)
    assert migrate(real, "contenttypes", "--database", "acme").returncode == 0
    assert [backup["trigger"] for backup in catalog(host)] == ["migrate"]


def test_another_database_is_no_tenants(host, acme, migrate):
    done = migrate(acme / "db.sqlite3", "sessions", "zero")
    assert done.returncode == 0, done.errors
    assert catalog(host) == []


def test_a_database_that_is_just_being_made_has_nothing_to_back_up(host, migrate):
    root = host.tenants / "new"
    root.mkdir(parents=True)
    done = migrate(root / "db.sqlite3", "contenttypes", "--database", "acme")
    assert done.returncode == 0, done.errors
    assert catalog(host) == []


def test_unless_it_is_wanted_there_is_none(host, acme, migrate):
    off = 'settings.TENANT_BACKUP["BACK_UP_BEFORE_MIGRATE"] = False'
    done = migrate(acme / "db.sqlite3", "contenttypes", "--database", "acme", before=off)
    assert done.returncode == 0, done.errors
    assert catalog(host) == []


def test_while_the_catalog_waits_for_migrations_it_says_so_and_goes_on(host, acme, migrate):
    host.query("DELETE FROM django_migrations WHERE app = 'tenant_backup' AND name LIKE '0001%'")
    done = migrate(acme / "db.sqlite3", "contenttypes", "--database", "acme")
    assert done.returncode == 0, done.errors
    assert "Run this first: manage.py migrate tenant_backup" in done.output
    assert "django_content_type" in tables(acme / "db.sqlite3")
    assert not (acme / "backups").exists()


FAILING_PROVIDER = """
from tests.tenancy import Folders
def fail(self): raise LookupError("no such column: plan")
Folders.all_tenants = fail
"""


def test_a_provider_that_fails_stops_a_tenants_migration(acme, migrate):
    failed = migrate(
        acme / "db.sqlite3", "contenttypes", "--database", "acme", before=FAILING_PROVIDER
    )
    assert failed.returncode != 0
    assert "The tenant provider failed: LookupError: no such column: plan" in failed.errors
    assert "django_content_type" not in tables(acme / "db.sqlite3")


def test_a_provider_that_fails_does_not_stop_the_migration_that_may_repair_it(acme, migrate):
    done = migrate(acme / "db.sqlite3", "sessions", "zero", before=FAILING_PROVIDER)
    assert done.returncode == 0, done.errors
    assert "No backup before the migration of 'default': The tenant provider failed" in done.output


def test_a_single_tenant_with_the_catalog_in_it_is_backed_up_too(host, tmp_path, migrate):
    host.environment["TEST_PROVIDER"] = "tenant_backup.tenants.SingleTenant"
    done = migrate(tmp_path / "other.sqlite3", "sessions", "zero")
    assert done.returncode == 0, done.errors
    [backup] = catalog(host)
    assert backup["label"] == "before sessions.0001_initial"
    assert backup["file"] in names_in(tmp_path / "backups")
