"""Rows: what is in backups, what has vanished since, and bringing single rows back."""

from tenant_backup.rows.differences import Compared, Pair, compare, opened

__all__ = ["Compared", "Pair", "compare", "opened"]
