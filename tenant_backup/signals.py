"""Signals for the host project. The sender is always the model `Backup`.

Receivers get `tenant` (a `Tenant`) and, if nothing else is said, `backup` (a `Backup`; after
`backup_deleted` its row is gone). They run when the tenant's lock is free again. One that raises is
logged and breaks nothing.
"""

from django.dispatch import Signal

__all__ = [
    "backup_completed",
    "backup_deleted",
    "backup_failed",
    "backup_restored",
    "backups_missing",
    "tenant_overdue",
    "tenant_recovered",
]

backup_completed = Signal()
backup_failed = Signal()
backup_deleted = Signal()
backup_restored = Signal()

# What monitoring finds. Each is sent once, when the tick (or `checkbackups --notify`, or the end of
# `runbackup`) notes the change: after that it is in the history and in the tenant's state.

tenant_overdue = Signal()
"""A backup was due, and none has succeeded since. Receivers get `tenant` and `finding`: its
`verdict` is `Verdict.OVERDUE`, and `str(finding)` is a sentence for people."""

backups_missing = Signal()
"""More backups than before are missing or damaged. Receivers get `tenant` and `finding`, as above,
with `Verdict.MISSING`."""

tenant_recovered = Signal()
"""A backup has succeeded after a failure. Receivers get `tenant` and `verdict`: what the tenant has
recovered from, such as `Verdict.OVERDUE`."""
