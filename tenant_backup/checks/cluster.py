"""The cluster: django-q2 is installed, has a broker, and gives a backup time to end."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core import checks
from django.core.checks import CheckMessage, Error
from django.db import connections

from tenant_backup.automation import queue
from tenant_backup.checks.configuration import value_of

SHORT_TIMEOUT = 60
"""Seconds; a database of some gigabytes takes longer to copy and check."""


def check_cluster(**kwargs: Any) -> list[CheckMessage]:
    """django-q2 is installed, and `Q_CLUSTER` suits our tasks."""
    if not apps.is_installed("django_q"):
        return [
            Error(
                "django_q is not in INSTALLED_APPS.",
                hint='Add "django_q" to INSTALLED_APPS, before "tenant_backup".',
                id="tenant_backup.E011",
            )
        ]
    catalog = value_of("CATALOG_DATABASE")
    if catalog not in connections:
        return []  # check_settings says so
    name = value_of("CLUSTER")
    cluster = queue.cluster_settings(name)
    if cluster is None:
        problem = "there is no setting Q_CLUSTER"
        hint = (
            f'Set Q_CLUSTER, for example to {{"orm": "{catalog}", "timeout": 600, "retry": 2000}}.'
        )
    elif cluster.orm and cluster.orm not in connections:
        problem = f"Q_CLUSTER['orm'] is {cluster.orm!r}, which is not in DATABASES"
        hint = f'Set Q_CLUSTER["orm"] to "{catalog}".'
    elif cluster.orm and cluster.orm != catalog:
        problem = f"Q_CLUSTER['orm'] is {cluster.orm!r}, but django-q2's tables are in {catalog!r}"
        hint = f'Set Q_CLUSTER["orm"] to "{catalog}", the CATALOG_DATABASE.'
    elif not cluster.has_broker:
        problem = "its broker is Redis, as Q_CLUSTER names no other, and redis cannot be imported"
        hint = f'Set Q_CLUSTER["orm"] to "{catalog}", or install redis.'
    elif cluster.is_sync:
        problem = (
            'with "sync", tasks run inside the scheduler\'s transaction, and no backup can be made '
            "there"
        )
        hint = 'Remove "sync" from Q_CLUSTER.'
    elif not cluster.is_known:
        problem = f"TENANT_BACKUP['CLUSTER'] is {name!r}, which Q_CLUSTER lacks"
        hint = 'Name a key of Q_CLUSTER["ALT_CLUSTERS"], or leave it out.'
    else:
        return _check_times(cluster)
    return [
        checks.Warning(
            f"Automatic backups cannot run: {problem}.",
            hint=f"{hint} Backups by hand and by runbackup still work.",
            id="tenant_backup.W001",
        )
    ]


def _check_times(cluster: queue.ClusterSettings) -> list[CheckMessage]:
    """The timeout and retry of the cluster that runs our tasks.

    A task that is handed out twice, or whose worker was killed, is no danger: the catalog's rows
    and the tenant's lock see to that. But it costs a worker, and a kill leaves no message.
    """
    timeout, retry = cluster.timeout, cluster.retry
    if not timeout:
        problem = "it has no timeout, so a backup that hangs keeps its worker for ever"
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
