"""The database router that keeps the catalog, and django-q2's tables, in the control database."""

from typing import Any

from django.db.models import Model

from tenant_backup.conf import conf


class CatalogRouter:
    """Sends our models and django-q2's to `CATALOG_DATABASE`, and leaves all others alone.

    It must be the first of `DATABASE_ROUTERS`, because routers of tenancy packages send every model
    that they do not know to the current tenant's database.
    """

    app_labels = frozenset({"django_q", "tenant_backup"})

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return conf.CATALOG_DATABASE if model._meta.app_label in self.app_labels else None

    db_for_write = db_for_read

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool | None:
        if {obj1._meta.app_label, obj2._meta.app_label} <= self.app_labels:
            return True
        return None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == conf.CATALOG_DATABASE if app_label in self.app_labels else None
