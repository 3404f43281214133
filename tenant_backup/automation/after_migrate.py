"""After `migrate`: the schedule, and the settings of every tenant."""

from __future__ import annotations

import logging
from typing import Any

from django.db import connections

from tenant_backup.automation import queue
from tenant_backup.automation.ticks import ensure_settings
from tenant_backup.conf import conf
from tenant_backup.models import Automation, BackupSettings

logger = logging.getLogger("tenant_backup")


def set_up_after_migrate(*, using: str, **kwargs: Any) -> None:
    """Receiver of our `post_migrate`, which comes for each alias after every `migrate`."""
    if using != conf.CATALOG_DATABASE or not queue.has_tables(using):
        return
    ours = {Automation._meta.db_table, BackupSettings._meta.db_table}
    if not ours <= set(connections[using].introspection.table_names()):
        return
    # Apps may be migrated one by one, so django-q2's table, or the host's, may still lack columns.
    # The next `migrate` makes up for it, and for the settings the tick, too.
    steps = {"set up automation": queue.set_up, "make settings": ensure_settings}
    for doing, step in steps.items():
        try:
            step()
        except Exception as error:  # noqa: BLE001 - whatever the host's own code raises
            logger.warning("Cannot %s yet: %s: %s", doing, type(error).__name__, error)
