"""Signals for the host project. The sender is always the model `Backup`.

Receivers get `tenant` (a `Tenant`) and `backup` (a `Backup`; after `backup_deleted` its row is
gone). They run when the tenant's lock is free again. One that raises is logged and breaks nothing.
"""

from django.dispatch import Signal

backup_completed = Signal()
backup_failed = Signal()
backup_deleted = Signal()
backup_restored = Signal()
