"""Signals for the host project. The sender is always the model `Backup`.

Receivers get `tenant` (a `Tenant`) and, unless something else is said, `backup` (a `Backup`). An
exception in a receiver is logged and breaks nothing. No signal is sent inside a transaction of
ours. All but `backup_started` are sent when the tenant's lock is free again, so that a receiver may
ask for another backup.
"""

from django.dispatch import Signal

__all__ = [
    "backup_completed",
    "backup_deleted",
    "backup_failed",
    "backup_restored",
    "backup_started",
    "backups_missing",
    "rows_restored",
    "tenant_overdue",
    "tenant_recovered",
]

backup_started = Signal()
"""A backup has become `running`, and nothing is copied yet.

The copy waits for the receivers, and the tenant's lock is held: keep them short, and ask for no
other backup of this tenant. During a restore (trigger `restore`) the tenant's database is locked,
too, so do not open it. Every backup that has started ends in `backup_completed` or `backup_failed`,
after a crash as soon as it is recovered; except the safety copy of a restore that is taken back.
"""

backup_completed = Signal()
"""A backup is complete: verified, with its final name."""

backup_failed = Signal()
"""A backup failed; `backup.reason` says why. One that could not even begin never started."""

backup_deleted = Signal()
"""A backup was deleted or pruned. Its file and its row are gone."""

backup_restored = Signal()
"""This backup is the tenant's database now."""

rows_restored = Signal()
"""Rows of a backup were brought back into the tenant's database, which was in use meanwhile.

Receivers get `tenant`, `tables` (how many rows of each table, by its name) and `keys` (the primary
keys of those rows, as tuples, by the table's name). What the host derives from its rows, such as a
search index, it brings in line here.
"""

# What monitoring finds. Each is sent once, when the change is noted: by the tick, at the end of
# `runbackup`, or by `checkbackups --notify`.

tenant_overdue = Signal()
"""A backup was due, and none has succeeded since.

Receivers get `tenant` and `finding`: `finding.verdict` is `Verdict.OVERDUE`, and `str(finding)` is
a sentence for people.
"""

backups_missing = Signal()
"""More backups than before are missing or damaged.

Receivers get `tenant` and `finding`, as for `tenant_overdue`, with `Verdict.MISSING`.
"""

tenant_recovered = Signal()
"""A backup has succeeded after a failure.

Receivers get `tenant` and `verdict`: what the tenant has recovered from, such as `Verdict.OVERDUE`.
"""
