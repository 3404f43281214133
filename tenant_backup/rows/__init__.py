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
from tenant_backup.rows.plan import SAID_EACH_TIME, Plan, Wanted, planned
from tenant_backup.rows.records import KEPT, forget
from tenant_backup.rows.recovery import recover_all
from tenant_backup.rows.requests import answer, ask, commands_for, open_request, open_requests
from tenant_backup.rows.restore import Done, perform
from tenant_backup.rows.undo import Undoing, take_back, undoing

__all__ = [
    "KEPT",
    "SAID_EACH_TIME",
    "Compared",
    "CountedBackup",
    "Done",
    "Pair",
    "Plan",
    "SomeRows",
    "Undoing",
    "Wanted",
    "answer",
    "ask",
    "browse",
    "commands_for",
    "compare",
    "forget",
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
    "perform",
    "planned",
    "recover_all",
    "take_back",
    "undoing",
]
