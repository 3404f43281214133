"""Restoring: a backup is put back as the tenant's database. The operator does it, never the page.

First `candidates`, `newest` or `find` (`choose.py`), then `verify` (`verification.py`): they touch
nothing but the catalog. `perform` (`run.py`) does it, under the tenant's lock. `manual` has the
commands to do it by hand, without this app.
"""

from tenant_backup.restore.carried_over import RESTORED_AWAY
from tenant_backup.restore.choose import Choice, Origin, candidates, find, newest
from tenant_backup.restore.plan import Plan, verify
from tenant_backup.restore.run import Restored, perform

__all__ = [
    "RESTORED_AWAY",
    "Choice",
    "Origin",
    "Plan",
    "Restored",
    "candidates",
    "find",
    "newest",
    "perform",
    "verify",
]
