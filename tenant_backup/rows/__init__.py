"""Rows: what is in backups, what has vanished since, and bringing single rows back."""

from tenant_backup.rows.counts import CountedBackup, history, kept_with

__all__ = [
    "CountedBackup",
    "history",
    "kept_with",
]
