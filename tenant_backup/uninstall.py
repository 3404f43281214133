"""Removing the app from a project: what `migrate tenant_backup zero` removes besides our tables.

Whatever is left in other apps' tables would still name our code when that is gone. The backups
themselves belong to the tenants and stay.
"""

import logging
from typing import Any

from django.apps import apps
from django.db import DatabaseError, connections, router, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import Model
from django.db.models.deletion import Collector

from tenant_backup import automation

logger = logging.getLogger("tenant_backup")

OURS = "tenant_backup"


def clean_up(state: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Remove what we have written into other apps' tables; the reverse of our first migration."""
    alias = schema_editor.connection.alias
    automation.take_down(alias)
    if apps.is_installed("django.contrib.auth"):
        # The users may have a database of their own.
        for users in {alias, router.db_for_write(apps.get_model("auth", "Permission"))}:
            _remove_permissions(users)


def _remove_permissions(alias: str) -> None:
    Permission = apps.get_model("auth", "Permission")
    ContentType = apps.get_model("contenttypes", "ContentType")
    tables = set(connections[alias].introspection.table_names())
    if not {Permission._meta.db_table, ContentType._meta.db_table} <= tables:
        return
    types = ContentType.objects.using(alias).filter(app_label=OURS)
    Permission.objects.using(alias).filter(content_type__in=types).delete()
    try:
        with transaction.atomic(using=alias):
            # An app that keeps a record of changes may refer to them, and its rows are not ours.
            if _nothing_else_is_deleted_with(list(types), alias):
                types.delete()
    except DatabaseError:
        logger.warning("The content types of the backups stay in %r.", alias, exc_info=True)
    ContentType.objects.clear_cache()


def _nothing_else_is_deleted_with(rows: list[Any], alias: str) -> bool:
    if not rows:
        return False
    collector = Collector(using=alias)
    collector.collect(rows)
    models: set[type[Model]] = {model for model, found in collector.data.items() if found}
    models |= {found.model for found in collector.fast_deletes if found.exists()}
    return models <= {type(rows[0])}
