"""Rows: what is in backups, what has vanished since, and bringing single rows back."""

from tenant_backup.rows.browsing import SomeRows, browse
from tenant_backup.rows.compare import compare
from tenant_backup.rows.counts import history
from tenant_backup.rows.losses import intend, open_losses
from tenant_backup.rows.requests import answer, ask, commands_for, open_request, open_requests

__all__ = [
    "SomeRows",
    "answer",
    "ask",
    "browse",
    "commands_for",
    "compare",
    "history",
    "intend",
    "open_losses",
    "open_request",
    "open_requests",
]
