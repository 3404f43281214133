"""The tasks, by the names that queued messages carry. They hold no logic."""

from tenant_backup import automation


def tick() -> None:
    automation.tick()


def make(backup_id: int) -> str:
    return automation.make(backup_id)


def verify(backup_id: int) -> str:
    return automation.verify(backup_id)
