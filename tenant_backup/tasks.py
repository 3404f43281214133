"""The tasks, by the names that queued messages carry."""

from tenant_backup.automation import make, tick, verify

__all__ = ["make", "tick", "verify"]
