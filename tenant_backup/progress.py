"""How far a running backup is, by the sizes of its files."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext

from tenant_backup import backups
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, Status
from tenant_backup.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Progress:
    """What the page's progress bar shows."""

    bytes_done: int
    bytes_total: int | None
    """None if the size of the database is not known."""
    quiet_since: datetime | None
    """Since when nothing has moved, if that is long enough for an interrupted backup."""

    def __str__(self) -> str:
        done = str(filesizeformat(self.bytes_done))
        if self.bytes_total is None:
            return done
        total = filesizeformat(self.bytes_total)
        return gettext("%(done)s of %(total)s") % {"done": done, "total": total}


def progress_of(tenant: Tenant, active: Backup | None) -> Progress | None:
    """The progress of the tenant's active backup; None if none is running."""
    if active is None or active.status != Status.RUNNING:
        return None
    total = _bytes(tenant.database)
    try:
        done = _bytes(backups.directory_of(tenant).partial(active.file_name)) or 0
    except BackupError:
        done = 0
    is_moving = backups.is_moving(tenant, active, timezone.now())
    return Progress(
        bytes_done=done if total is None else min(done, total),
        bytes_total=total,
        quiet_since=None if is_moving else backups.last_progress_at(tenant, active),
    )


def _bytes(path: Path) -> int | None:
    # stat, never open: to close a database that this process has open would drop its locks.
    try:
        return path.stat().st_size
    except OSError:
        return None
