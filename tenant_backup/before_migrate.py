"""Before updates: a backup of a tenant's database before migrations change it."""

import logging
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from django.conf import settings
from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.utils import translation
from django.utils.translation import gettext

from tenant_backup import backups
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError
from tenant_backup.models import LABEL_LENGTH, Trigger
from tenant_backup.tenants import InvalidTenant, find_tenant, sqlite_file

logger = logging.getLogger("tenant_backup")

OURS = "tenant_backup"


def back_up_before_migrate(
    *,
    using: str,
    plan: Sequence[tuple[Migration, bool]],
    stdout: TextIO | None = None,
    verbosity: int = 1,
    **kwargs: Any,
) -> None:
    """Receiver of our `pre_migrate`, which comes for the alias before every `migrate`.

    If the backup fails it raises `CommandError`, so that the migration does not start. While our
    own migrations are pending there can be no backup: it says so, and `migrate` goes on.
    """
    if not conf.BACK_UP_BEFORE_MIGRATE or not plan:
        return
    database = sqlite_file(using)
    # A database that is just being made has nothing to back up.
    if database is None or not connections[using].introspection.table_names():
        return
    output = stdout or sys.stdout
    try:
        tenant = find_tenant(database)
    except InvalidTenant as error:
        raise _not_started(using, str(error)) from error
    except Exception as error:
        reason = f"The tenant provider failed: {type(error).__name__}: {error}"
        if using == conf.CATALOG_DATABASE:
            # Perhaps it needs the very migration that is about to be applied.
            output.write(f"No backup before the migration of {using!r}: {reason}\n")
            return
        raise _not_started(using, reason) from error
    if tenant is None:
        return
    if _catalog_is_pending():
        output.write(
            f"No backup before the migration of {using!r}: the catalog of backups has pending "
            f"migrations itself. Run this first: manage.py migrate {OURS}\n"
        )
        return
    try:
        # `migrate` speaks English, but the tenant's people read what is stored.
        with translation.override(settings.LANGUAGE_CODE):
            result = backups.create(
                tenant,
                backups.BackupRequest(trigger=Trigger.MIGRATE, label=_label(plan)),
                limits=backups.Limits(lock_wait=conf.BUSY_TIMEOUT),
            )
    except BackupError as error:
        raise _not_started(using, str(error)) from error
    if verbosity:
        output.write(f"Backed up {tenant.id!r} before its migration: {result.backup}\n")


def _not_started(using: str, reason: str) -> CommandError:
    return CommandError(
        f"The migration of {using!r} was not started because the backup before it failed: {reason} "
        "To migrate without one, set TENANT_BACKUP['BACK_UP_BEFORE_MIGRATE'] to False."
    )


def _catalog_is_pending() -> bool:
    loader = MigrationLoader(connections[conf.CATALOG_DATABASE])
    ours = {key for key in loader.graph.nodes if key[0] == OURS}
    return not ours <= loader.applied_migrations.keys()


def _label(plan: Sequence[tuple[Migration, bool]]) -> str:
    """What the backup comes before: `before shop.0002_prices and 3 more`."""
    first, more = plan[0][0], len(plan) - 1
    text = gettext("before %(migration)s")
    if more:
        text = gettext("before %(migration)s and %(number)d more")
    values = {"migration": f"{first.app_label}.{first.name}", "number": more}
    return (text % values)[:LABEL_LENGTH]
