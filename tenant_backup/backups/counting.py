"""Counting: how many rows each table of a backup holds, kept with the backup.

It is done once, in the verified copy. No backup fails because it could not be counted.
"""

import logging
import time
from pathlib import Path

from tenant_backup import sqlite
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, RowCounts, Trigger
from tenant_backup.sqlite import Counts

logger = logging.getLogger("tenant_backup")

SECONDS = 60
"""What is not counted after this time stays uncounted: a backup must not take much longer."""


def count(file: Path, *, deadline: float | None = None) -> Counts | None:
    """How many rows each table of a verified copy holds; None if it cannot be counted.

    `deadline` is a time of `time.monotonic()`: what is not counted by then is left out.
    """
    limit = time.monotonic() + SECONDS
    try:
        return sqlite.count(file, deadline=limit if deadline is None else min(limit, deadline))
    except BackupError as error:
        logger.warning("The rows of %s were not counted: %s", file, error)
    except Exception:
        logger.exception("The rows of %s were not counted.", file)
    return None


def keep(backup: Backup, counts: Counts | None) -> None:
    """Keep the numbers with the backup's row, in the transaction of the caller."""
    if counts:
        RowCounts.objects.update_or_create(
            backup=backup,
            defaults={
                "tenant_id": backup.tenant_id,
                "created_at": backup.created_at,
                "is_compared": backup.trigger != Trigger.RESTORE,
                "tables": counts.tables,
                "migrations": counts.migrations,
            },
        )


def forget(backup: Backup) -> None:
    """Forget the numbers of a backup that has failed."""
    RowCounts.objects.filter(backup=backup).delete()
