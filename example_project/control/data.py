"""Whether the demo's data fit the code, and how to put them aside if they do not."""

from datetime import UTC, datetime
from pathlib import Path

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.utils import CursorWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model

OURS = {"tenant_backup", "control"}
"""The apps whose tables may differ between two checkouts, without a migration in between."""

MADE_BY_THE_DEMO = ["control.sqlite3", "control.sqlite3-wal", "control.sqlite3-shm", "tenants"]


def is_of_another_version() -> bool:
    """Whether `migrate` cannot bring the control database in line with the code.

    Either migrations are applied that the code does not have, or all migrations of an app are
    applied and yet its tables have other columns.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    applied = {key for key in MigrationRecorder(connection).applied_migrations() if key[0] in OURS}
    known = {key for key in MigrationLoader(None).disk_migrations or {} if key[0] in OURS}
    if not applied <= known:
        return True
    done = {app for app in OURS if not {key for key in known - applied if key[0] == app}}
    with connection.cursor() as cursor:
        return any(
            _columns(cursor, model) != {field.column for field in model._meta.local_concrete_fields}
            for app in done
            for model in apps.get_app_config(app).get_models()
        )


def _columns(cursor: CursorWrapper, model: type[Model]) -> set[str]:
    """The columns of the model's table; none where there is no such table."""
    introspection, table = connections[DEFAULT_DB_ALIAS].introspection, model._meta.db_table
    if table not in introspection.table_names(cursor):
        return set()
    return {column.name for column in introspection.get_table_description(cursor, table)}


def put_aside(data: Path) -> Path:
    """Move what the demo has made into a new folder beside it, and return the folder."""
    connections[DEFAULT_DB_ALIAS].close()
    aside = data / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    aside.mkdir()
    for name in MADE_BY_THE_DEMO:
        if (data / name).exists():
            (data / name).rename(aside / name)
    return aside
