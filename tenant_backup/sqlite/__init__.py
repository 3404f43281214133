"""SQLite: true copies of a database in use, their check, and the way back. Paths in, results out.

Nothing else opens a tenant's database, and this package does so through SQLite alone. To `open()`
and close such a file by other means drops the locks of every SQLite connection that this process
has on it (POSIX: closing any descriptor of a file releases the process's locks on it), so that
another process may write at the same time. `stat` is harmless.
"""

from tenant_backup.exceptions import CannotCompare, NoSuchTable
from tenant_backup.sqlite.checks import Fingerprint, check, fingerprint
from tenant_backup.sqlite.comparison import (
    Comparison,
    Difference,
    Kind,
    Row,
    comparing,
)
from tenant_backup.sqlite.deadlines import CHUNK_BYTES, Progress, SignOfLife
from tenant_backup.sqlite.errors import inode_shortage
from tenant_backup.sqlite.exclusive_use import Exclusive, exclusive
from tenant_backup.sqlite.facts import Facts, companions, left_behind
from tenant_backup.sqlite.opening import open_backup, open_copy
from tenant_backup.sqlite.shapes import Column, ForeignKey, Shape, Table, folded
from tenant_backup.sqlite.snapshots import Snapshot, look, require_openable, snapshot
from tenant_backup.sqlite.tables import Counts, contents, count
from tenant_backup.sqlite.users import User, in_use, users_of

__all__ = [
    "CHUNK_BYTES",
    "CannotCompare",
    "Column",
    "Comparison",
    "Counts",
    "Difference",
    "Exclusive",
    "Facts",
    "Fingerprint",
    "ForeignKey",
    "Kind",
    "NoSuchTable",
    "Progress",
    "Row",
    "Shape",
    "SignOfLife",
    "Snapshot",
    "Table",
    "User",
    "check",
    "companions",
    "comparing",
    "contents",
    "count",
    "exclusive",
    "fingerprint",
    "folded",
    "in_use",
    "inode_shortage",
    "left_behind",
    "look",
    "open_backup",
    "open_copy",
    "require_openable",
    "snapshot",
    "users_of",
]
