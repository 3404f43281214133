"""The router: our tables and django-q2's lie in the control database, and no others need to."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.db import router
from django_q.models import OrmQ, Schedule, Task

from tenant_backup.models import (
    Automation,
    Backup,
    BackupSettings,
    Event,
    Hold,
    RestoreRequest,
    RowCounts,
    RowLoss,
    RowRestore,
    TenantState,
)
from tenant_backup.routers import CatalogRouter

OURS = [
    *(Automation, Backup, BackupSettings, Event, Hold, OrmQ, RestoreRequest, RowCounts, RowLoss),
    *(RowRestore, Schedule, Task, TenantState),
]
OTHERS = [User, Permission]


class TenancyRouter:
    """As tenancy packages have it: every model that it does not know is the tenant's."""

    def db_for_read(self, model, **hints):
        return "tenant"

    db_for_write = db_for_read

    def allow_relation(self, one, other, **hints):
        return False

    def allow_migrate(self, db, app_label, **hints):
        return db == "tenant"


@pytest.fixture(params=["default", "control"])
def control(request, settings):
    """The alias of the control database; the router is the first, before a tenancy package's."""
    settings.TENANT_BACKUP = {"CATALOG_DATABASE": request.param}
    settings.DATABASE_ROUTERS = [
        "tenant_backup.routers.CatalogRouter",
        f"{__name__}.TenancyRouter",
    ]
    return request.param


@pytest.mark.parametrize("model", OTHERS)
def test_other_models_are_left_to_the_routers_behind(control, model):
    assert CatalogRouter().db_for_read(model) is None
    assert CatalogRouter().db_for_write(model) is None
    assert router.db_for_read(model) == "tenant"
    assert router.db_for_write(model) == "tenant"


def test_other_apps_migrate_where_the_routers_behind_say(control):
    for app_label in ("auth", "tenant", "tenant_backups", ""):
        assert CatalogRouter().allow_migrate(control, app_label) is None
        assert CatalogRouter().allow_migrate("tenant", app_label) is None
    assert not router.allow_migrate(control, "auth")
    assert router.allow_migrate("tenant", "auth")


def test_relations_with_other_models_are_left_to_the_routers_behind(control):
    for pair in ((Backup(), User()), (User(), Backup()), (User(), Permission())):
        assert CatalogRouter().allow_relation(*pair) is None
        assert not router.allow_relation(*pair)


def test_our_tables_are_made_in_no_other_database(control):
    for app_label in ("tenant_backup", "django_q"):
        for other in {"default", "control", "tenant"} - {control}:
            assert CatalogRouter().allow_migrate(other, app_label) is False
            assert not router.allow_migrate(other, app_label, model_name="backup")


@pytest.mark.parametrize("model", OURS)
def test_our_models_and_django_q2s_are_read_and_written_in_the_control_database(control, model):
    assert router.db_for_read(model) == control
    assert router.db_for_write(model) == control
    assert router.db_for_write(model, instance=model()) == control
    assert model.objects.db == control


def test_every_model_of_both_apps_is_meant():
    models = {
        model
        for label in CatalogRouter.app_labels
        for model in apps.get_app_config(label).get_models()
        if not model._meta.proxy
    }
    assert models == set(OURS)


@pytest.mark.parametrize("app_label", ["tenant_backup", "django_q"])
def test_our_tables_are_made_in_the_control_database(control, app_label):
    assert CatalogRouter().allow_migrate(control, app_label) is True
    assert router.allow_migrate(control, app_label, model_name="backup")


def test_our_models_may_be_related_to_each_other_and_to_django_q2s(control):
    for pair in ((Backup(), Event()), (Backup(), Task()), (Schedule(), BackupSettings())):
        assert CatalogRouter().allow_relation(*pair) is True
        assert router.allow_relation(*pair)


def test_the_control_database_is_asked_for_anew_each_time(settings):
    routers = CatalogRouter()
    for alias in ("one", "two"):
        settings.TENANT_BACKUP = {"CATALOG_DATABASE": alias}
        assert routers.db_for_read(Backup) == alias
        assert routers.db_for_write(Backup) == alias
        assert routers.allow_migrate(alias, "tenant_backup") is True
