"""The operator's view of all tenants, in Django's admin.

`settings` lists all tenants, each with its verdict (`verdicts`), and `actions` has what can be done
with them; `backups` lists the catalog, `history` the events, and `automation` has the pause switch.
`catalog` holds what they share: they are for operators only.
"""

from tenant_backup.admin.automation import AutomationAdmin
from tenant_backup.admin.backups import BackupAdmin
from tenant_backup.admin.history import EventAdmin
from tenant_backup.admin.tenants import BackupSettingsAdmin

__all__ = ["AutomationAdmin", "BackupAdmin", "BackupSettingsAdmin", "EventAdmin"]
