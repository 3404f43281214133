"""The plan of bringing rows back: which ones, what goes with them, and what speaks against it.

It is made before anything is locked or written. A refusal makes nothing, and neither does a dry
run.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tenant_backup import backups
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, RowConflicts
from tenant_backup.models import Backup
from tenant_backup.rows.connection import host_connection
from tenant_backup.rows.tables import generic_references, is_guarded, is_ours, refuse_ours
from tenant_backup.sqlite.row_choice import RowChoice
from tenant_backup.sqlite.row_conflicts import Conflicts, ConflictSearch, skip
from tenant_backup.sqlite.row_plan import RowPlan, attach_backup, explaining
from tenant_backup.sqlite.row_relatives import Loss, Relatives
from tenant_backup.sqlite.shapes import folded
from tenant_backup.sqlite.structure import Structure
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Counted, Text, joined

MOST_NAMED = 20
"""So many rows with a conflict are named; of the others their number is said."""

COUNTING_SECONDS = 20
"""For so long at most, the rows of other tables are counted that are gone, too."""

SAID_EACH_TIME = (
    Text("Rows that were deleted on purpose since the backup may be among them and return."),
    Text(
        "Signals, search indexes, trees, counters, histories and files are not rebuilt: check what "
        "your project derives from these rows."
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody asks for. `keys` are those of the rows of the only table; none: all of them."""

    tables: tuple[str, ...]
    gone: bool = True
    changed: bool = False
    keys: tuple[str, ...] = ()
    with_related: bool = False
    skip_conflicts: bool = False


@dataclass(slots=True)
class Plan:
    """What will be done, as far as it is known before; valid within the context of `planned`."""

    tenant: Tenant
    source: Backup
    wanted: Wanted
    rows: RowPlan
    structure: Structure
    search: ConflictSearch
    skipped: Conflicts
    """Those that are left out because of a conflict."""
    losses: list[Loss] = field(default_factory=list)
    """What else is gone and stays so."""

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        return self.rows.counts()


@contextmanager
def planned(tenant: Tenant, source: Backup, wanted: Wanted) -> Iterator[Plan]:
    """Plan to bring rows of a backup back. Changes nothing but the catalog, if a file is damaged.

    Raises `RowConflicts` if there are any and they are not to be skipped, and `BackupError` if the
    backup is not sound, if a table's rows cannot be brought back, or if there is nothing to do.
    """
    if flaw := backups.verify(tenant, source):
        raise BackupError("%(flaw)s Choose another backup: manage.py listbackups", flaw=flaw)
    for table in wanted.tables:
        refuse_ours(table)
    file = backups.directory_of(tenant).file(source.file_name)
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="tenant-backup-"))
        connection = stack.enter_context(host_connection(tenant))
        with explaining(tenant.database, conf.BUSY_TIMEOUT):
            attach_backup(connection, file)
            rows = RowPlan.make(connection, tenant.database, Path(folder) / "plan")
            structure = Structure.read(connection, "main", "then")
            structure.generic += generic_references(connection, structure)
            plan = _fill(tenant, source, wanted, rows, structure)
        yield plan


def _fill(
    tenant: Tenant, source: Backup, wanted: Wanted, rows: RowPlan, structure: Structure
) -> Plan:
    named = frozenset(map(folded, wanted.tables))

    def may_follow(table: str) -> bool:
        return folded(table) in named or not (is_ours(table) or is_guarded(table))

    choice = RowChoice(rows, structure)
    relatives = Relatives(choice, may_follow)
    choice.choose(wanted.tables, gone=wanted.gone, changed=wanted.changed, keys=wanted.keys)
    left_out = relatives.follow() if wanted.with_related else []
    search = ConflictSearch(rows, structure, named)
    search.find()
    found = search.found(MOST_NAMED)
    if found.rows and not wanted.skip_conflicts:
        raise conflicting(found)
    if found.rows:
        skip(search)
    if rows.is_empty():
        raise _nothing(wanted, found)

    def is_quiet(table: str) -> bool:
        return is_ours(table) or (is_guarded(table) and folded(table) not in named)

    left_out += relatives.losses(is_quiet, COUNTING_SECONDS)
    return Plan(tenant, source, wanted, rows, structure, search, found, left_out)


def conflicting(found: Conflicts, *more: Text) -> RowConflicts:
    """The error that names the rows with a conflict."""
    first = Counted(
        "Nothing was brought back, because of %(number)d row:",
        "Nothing was brought back, because of %(number)d rows:",
        number=found.rows,
    )
    others = Text("With --skip-conflicts, all others are brought back that need none of them.")
    lines = found.listed(first, joined(others, *more))
    return RowConflicts(lines.text, **lines.values)


def _nothing(wanted: Wanted, found: Conflicts) -> BackupError:
    tables = ", ".join(wanted.tables)
    if found.rows:
        return BackupError(
            "There is nothing to bring back of %(tables)s: all rows would have to be skipped.",
            tables=tables,
        )
    if not wanted.changed:
        return BackupError(
            "There is nothing to bring back: no row of %(tables)s is gone.", tables=tables
        )
    if not wanted.gone:
        return BackupError(
            "There is nothing to bring back: no row of %(tables)s has changed.", tables=tables
        )
    return BackupError(
        "There is nothing to bring back: no row of %(tables)s is gone or has changed.",
        tables=tables,
    )
