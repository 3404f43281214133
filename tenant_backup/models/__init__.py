"""The records: the catalog of backups, each tenant's settings and state, automation, the history.

All are stored in the control database, not in the tenants' databases: restoring a tenant must not
set back its catalog. A tenant is known by its id alone, since only the host knows its tenants.
"""

from tenant_backup.models.automation import Automation
from tenant_backup.models.backup import (
    FORM_TOKEN_LENGTH,
    LABEL_LENGTH,
    WHY_LENGTH,
    Backup,
    BackupQuerySet,
    Status,
    Trigger,
)
from tenant_backup.models.events import ALARMING, Event, EventKind, EventQuerySet
from tenant_backup.models.holds import Hold, HoldKind, HoldQuerySet
from tenant_backup.models.rows import (
    NOTE_LENGTH,
    RestoreRequest,
    RowCounts,
    RowLoss,
    RowRestore,
    sane_numbers,
)
from tenant_backup.models.settings import (
    BackupSettings,
    BackupSettingsQuerySet,
    Interval,
    Weekday,
)
from tenant_backup.models.state import Recipient, TenantState, TenantStateQuerySet, Verdict

__all__ = [
    "ALARMING",
    "FORM_TOKEN_LENGTH",
    "LABEL_LENGTH",
    "NOTE_LENGTH",
    "WHY_LENGTH",
    "Automation",
    "Backup",
    "BackupQuerySet",
    "BackupSettings",
    "BackupSettingsQuerySet",
    "Event",
    "EventKind",
    "EventQuerySet",
    "Hold",
    "HoldKind",
    "HoldQuerySet",
    "Interval",
    "Recipient",
    "RestoreRequest",
    "RowCounts",
    "RowLoss",
    "RowRestore",
    "Status",
    "TenantState",
    "TenantStateQuerySet",
    "Trigger",
    "Verdict",
    "Weekday",
    "sane_numbers",
]
