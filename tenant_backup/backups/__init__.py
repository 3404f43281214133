"""Everything that can be done to a tenant's backups: a module for each verb.

Creating (`requests`, `creation`, `copying`), deleting (`deletion`, `deletion_steps`), `pruning`,
`verification`, `recovery`, `reconciliation` with `adoption`, the `folder` and its `index`; all
under the tenant's lock (`locking`). Pages, commands and tasks call these and hold no logic of their
own. Every failure is a `BackupError` whose text a person can act on.
"""

from tenant_backup.backups.adoption import adopt_unknown, owners_of
from tenant_backup.backups.attempts import attempts_since
from tenant_backup.backups.configuration import configure
from tenant_backup.backups.copying import begin, copy_into, make_from, take_back
from tenant_backup.backups.creation import BackupResult, create, perform, preview, request
from tenant_backup.backups.deletion import Deleted, Remaining, delete, delete_all, remaining
from tenant_backup.backups.folder import directory_of
from tenant_backup.backups.holds import hold, hold_for_losses, release
from tenant_backup.backups.locking import index_kept, learn_from_folder, recover, tenant_lock
from tenant_backup.backups.outcomes import INTERRUPTED, refuse
from tenant_backup.backups.pins import pin
from tenant_backup.backups.prospects import Prospect, prospect, removals_after_next
from tenant_backup.backups.pruning import before_pruning, prune, removals
from tenant_backup.backups.quota import Space, database_bytes, quota_of, space
from tenant_backup.backups.reading import (
    Table,
    contents,
    numbers_in,
    numbers_today,
    open_file,
)
from tenant_backup.backups.reconciliation import Synced, sync
from tenant_backup.backups.recovery import is_moving, last_progress_at, recover_running
from tenant_backup.backups.requests import (
    REQUEST_BUSY_TIMEOUT,
    BackupRequest,
    Limits,
    request_limits,
)
from tenant_backup.backups.verification import (
    check_files,
    note_found,
    note_future,
    require_sound,
    verify,
)
from tenant_backup.catalog import require_no_transaction
from tenant_backup.hidden_paths import without_paths

__all__ = [
    "INTERRUPTED",
    "REQUEST_BUSY_TIMEOUT",
    "BackupRequest",
    "BackupResult",
    "Deleted",
    "Limits",
    "Prospect",
    "Remaining",
    "Space",
    "Synced",
    "Table",
    "adopt_unknown",
    "attempts_since",
    "before_pruning",
    "begin",
    "check_files",
    "configure",
    "contents",
    "copy_into",
    "create",
    "database_bytes",
    "delete",
    "delete_all",
    "directory_of",
    "hold",
    "hold_for_losses",
    "index_kept",
    "is_moving",
    "last_progress_at",
    "learn_from_folder",
    "make_from",
    "note_found",
    "note_future",
    "numbers_in",
    "numbers_today",
    "open_file",
    "owners_of",
    "perform",
    "pin",
    "preview",
    "prospect",
    "prune",
    "quota_of",
    "recover",
    "recover_running",
    "refuse",
    "release",
    "remaining",
    "removals",
    "removals_after_next",
    "request",
    "request_limits",
    "require_no_transaction",
    "require_sound",
    "space",
    "sync",
    "take_back",
    "tenant_lock",
    "verify",
    "without_paths",
]
