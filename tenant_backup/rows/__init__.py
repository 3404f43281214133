"""Rows: what is in backups, what has vanished since, and bringing single rows back."""

from tenant_backup.rows.browsing import SomeRows, browse
from tenant_backup.rows.counts import CountedBackup, history, kept_with
from tenant_backup.rows.differences import Compared, Pair, compare, opened
from tenant_backup.rows.losses import (
    intend,
    look,
    look_at_new,
    look_before_pruning,
    open_losses,
)
from tenant_backup.rows.requests import answer, ask, commands_for, open_request, open_requests

__all__ = [
    "Compared",
    "CountedBackup",
    "Pair",
    "SomeRows",
    "answer",
    "ask",
    "browse",
    "commands_for",
    "compare",
    "history",
    "intend",
    "kept_with",
    "look",
    "look_at_new",
    "look_before_pruning",
    "open_losses",
    "open_request",
    "open_requests",
    "opened",
]
