"""The cluster: django-q2 is installed, has a broker, and gives a backup time to end."""

from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.db import connections

from tenant_backup.checks.configuration import value_of

BROKERS = ("orm", "broker_class", "iron_mq", "sqs", "mongo")
"""The keys of `Q_CLUSTER` that choose a broker; without one of them it is Redis."""

SHORT_TIMEOUT = 60
"""Seconds; a database of some gigabytes takes longer to copy and check."""


@register("tenant_backup")
def check_cluster(**kwargs: Any) -> list[CheckMessage]:
    """django-q2 is installed, and `Q_CLUSTER` suits our tasks.

    This reads the setting, since django-q2's own values are those of this process's cluster.
    """
    if not apps.is_installed("django_q"):
        return [
            Error(
                "django_q is not in INSTALLED_APPS.",
                hint='Add "django_q" to INSTALLED_APPS, before "tenant_backup".',
                id="tenant_backup.E011",
            )
        ]
    catalog, name = value_of("CATALOG_DATABASE"), value_of("CLUSTER")
    if catalog not in connections:
        return []  # check_settings says so
    configured: Any = getattr(settings, "Q_CLUSTER", None)
    cluster: dict[str, Any] = configured if isinstance(configured, dict) else {}
    alternatives = cluster.get("ALT_CLUSTERS") or {}
    ours = {**cluster, **alternatives.get(name, {})}
    names = {None, cluster.get("name", "default"), cluster.get("cluster_name"), *alternatives}
    orm = cluster.get("orm")
    if not cluster:
        problem = "there is no setting Q_CLUSTER"
        hint = (
            f'Set Q_CLUSTER, for example to {{"orm": "{catalog}", "timeout": 600, "retry": 2000}}.'
        )
    elif orm and orm not in connections:
        problem = f"Q_CLUSTER['orm'] is {orm!r}, which is not in DATABASES"
        hint = f'Set Q_CLUSTER["orm"] to "{catalog}".'
    elif orm and orm != catalog:
        problem = f"Q_CLUSTER['orm'] is {orm!r}, but django-q2's tables are in {catalog!r}"
        hint = f'Set Q_CLUSTER["orm"] to "{catalog}", the CATALOG_DATABASE.'
    elif not any(cluster.get(key) for key in BROKERS) and find_spec("redis") is None:
        problem = "its broker is Redis, as Q_CLUSTER names no other, and redis cannot be imported"
        hint = f'Set Q_CLUSTER["orm"] to "{catalog}", or install redis.'
    elif ours.get("sync"):
        problem = (
            'with "sync", tasks run inside the scheduler\'s transaction, and no backup can be made '
            "there"
        )
        hint = 'Remove "sync" from Q_CLUSTER.'
    elif name not in names:
        problem = f"TENANT_BACKUP['CLUSTER'] is {name!r}, which Q_CLUSTER lacks"
        hint = 'Name a key of Q_CLUSTER["ALT_CLUSTERS"], or leave it out.'
    else:
        return _check_times(ours.get("timeout"), ours.get("retry", 60))
    return [
        checks.Warning(
            f"Automatic backups cannot run: {problem}.",
            hint=f"{hint} Backups by hand and by runbackup still work.",
            id="tenant_backup.W001",
        )
    ]


def _check_times(timeout: float | None, retry: float) -> list[CheckMessage]:
    """The seconds after which the cluster ends a task, and after which it hands it out again.

    A task that is handed out twice, or whose worker was killed, is no danger: the catalog's rows
    and the tenant's lock see to that. But it costs a worker, and a kill leaves no message.
    """
    if not timeout:
        problem = "it has no timeout, so a backup that hangs keeps its worker forever"
        hint = 'Set "timeout" to more seconds than your longest backup takes, such as 3600'
    elif timeout < SHORT_TIMEOUT:
        problem = f"its timeout of {timeout} seconds ends the backups of large databases"
        hint = f'Set "timeout" to at least {SHORT_TIMEOUT} seconds'
    elif retry <= 3 * timeout:
        problem = f"its retry of {retry} seconds hands out a task again that may still be running"
        hint = f'Set "retry" to more than three times the timeout, such as {3 * timeout + 60}'
    else:
        return []
    return [
        checks.Warning(
            f"Q_CLUSTER does not suit backups: {problem}.",
            hint=f"{hint}; see docs/automation.md.",
            id="tenant_backup.W003",
        )
    ]
