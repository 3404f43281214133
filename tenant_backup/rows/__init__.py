"""Rows: what is in backups, what has vanished since, and bringing single rows back."""

from tenant_backup.rows.requests import answer, ask, commands_for, open_request, open_requests

__all__ = [
    "answer",
    "ask",
    "commands_for",
    "open_request",
    "open_requests",
]
