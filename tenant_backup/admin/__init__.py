"""The operator's view of all tenants, in Django's admin.

`tenants` lists all tenants, each with its verdict (`verdicts`); a row leads to the tenant's `hub`.
`actions` and `switching` have what can be done with many of them. `backups` lists the catalog,
`history` the events, and `automation` has the pause switch. `base` holds what they share: they are
for operators only.
"""

from tenant_backup.admin.automation import AutomationAdmin
from tenant_backup.admin.backups import BackupAdmin
from tenant_backup.admin.history import EventAdmin
from tenant_backup.admin.tenants import BackupSettingsAdmin

__all__ = ["AutomationAdmin", "BackupAdmin", "BackupSettingsAdmin", "EventAdmin"]
