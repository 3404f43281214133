"""Rows: what is in backups, what has vanished since, and bringing single rows back."""
