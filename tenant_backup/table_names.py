"""What people call a table: by the names of the host's models.

A table without a model, or of an app that is no longer installed, keeps its own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from django.apps import apps
from django.conf import settings as project_settings
from django.db.models import Field, Model
from django.utils.text import capfirst

FRAMEWORK = ("django.", "django_q", "tenant_backup")
"""The apps whose tables no user of the host knows of, by the beginning of their modules' names."""


def in_words(table: str) -> str:
    """The plural of what a table holds, such as "contracts", in the active language."""
    model = _models().get(table)
    return str(model._meta.verbose_name_plural) if model else table


def heading_of(table: str) -> str:
    """The same as the beginning of a line, in which a table's own name stays as it is."""
    return str(capfirst(in_words(table))) if table in _models() else table


def is_the_hosts(table: str) -> bool:
    """Whether it holds what people enter: neither a framework's table nor one without a model."""
    model = _models().get(table)
    if model is None:
        return False
    if model._meta.label == project_settings.AUTH_USER_MODEL:
        return True
    return not model._meta.app_config.name.startswith(FRAMEWORK)


def fields_of(table: str) -> Mapping[str, Field]:  # type: ignore[type-arg]
    """The fields of the table's model, by their columns; none without a model."""
    model = _models().get(table)
    fields = model._meta.local_concrete_fields if model else []
    return {field.column: field for field in fields if field.column}


def _models() -> Mapping[str, type[Model]]:
    return _by_table(tuple(apps.get_models(include_auto_created=True)))


@lru_cache(maxsize=1)
def _by_table(models: tuple[type[Model], ...]) -> Mapping[str, type[Model]]:
    """The models by their tables. Of several on one table the first counts, which made it."""
    found: dict[str, type[Model]] = {}
    for model in models:
        if not model._meta.proxy:
            found.setdefault(model._meta.db_table, model)
    return found
