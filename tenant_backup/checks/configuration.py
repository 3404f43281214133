"""`TENANT_BACKUP` and `USE_TZ`: the host's settings are known and of the right kind."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import connections

from tenant_backup.conf import Conf, conf
from tenant_backup.models import BackupSettings


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """`TENANT_BACKUP` has only known keys with values of the right kind."""
    try:
        raw = conf.raw()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="See docs/settings.md.", id="tenant_backup.E001")]
    known = {setting.key: setting for setting in Conf.known()}
    messages: list[CheckMessage] = [
        Error(
            f"TENANT_BACKUP has an unknown key {key!r}.",
            hint=f"The known keys are {', '.join(known)}.",
            id="tenant_backup.E001",
        )
        for key in raw
        if key not in known
    ]
    for key, setting in known.items():
        if key in raw and (problem := setting.problem(raw[key])):
            messages.append(
                Error(problem, hint=f"The default is {setting.default!r}.", id="tenant_backup.E002")
            )
    if messages:
        return messages
    if conf.CATALOG_DATABASE not in connections:
        messages.append(
            Error(
                f"TENANT_BACKUP['CATALOG_DATABASE'] is {conf.CATALOG_DATABASE!r}, which is not in "
                "DATABASES.",
                hint=f"DATABASES has {', '.join(connections)}.",
                id="tenant_backup.E002",
            )
        )
    return messages + _check_default_settings()


def check_time_zones(**kwargs: Any) -> list[CheckMessage]:
    """Times are aware; otherwise an hour happens twice a year, and another one never."""
    if settings.USE_TZ:
        return []
    return [
        Error(
            "USE_TZ is False, so the times of backups would be ambiguous.",
            hint="Set USE_TZ = True.",
            id="tenant_backup.E007",
        )
    ]


def _check_default_settings() -> list[CheckMessage]:
    names = {field.name for field in BackupSettings._meta.fields if field.editable}
    names -= {"id", "tenant_id"}
    problems = [
        f"there is no field {name!r}" for name in conf.DEFAULT_SETTINGS if name not in names
    ]
    if not problems:
        try:
            BackupSettings.initial("a tenant").clean_fields()
        except ValidationError as error:
            problems = [f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items()]
    return [
        Error(
            f"TENANT_BACKUP['DEFAULT_SETTINGS'] is not valid: {problem}.".replace("..", "."),
            hint=f"The fields are {', '.join(sorted(names))}.",
            id="tenant_backup.E003",
        )
        for problem in problems
    ]


def value_of(key: str) -> Any:
    """The value of a setting; its default where the value is wrong, which check_settings says."""
    try:
        return getattr(conf, key)
    except ImproperlyConfigured:
        return getattr(Conf, key).default
