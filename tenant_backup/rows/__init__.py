"""Rows: what is in backups, what has vanished since, and bringing single rows back."""

from tenant_backup.rows.counts import CountedBackup, history, kept_with
from tenant_backup.rows.losses import (
    intend,
    look,
    look_at_new,
    look_before_pruning,
    open_losses,
)

__all__ = [
    "CountedBackup",
    "history",
    "intend",
    "kept_with",
    "look",
    "look_at_new",
    "look_before_pruning",
    "open_losses",
]
