"""The records of brought back rows: what was planned, until it is certain what came of it.

A record is written before the transaction, and marked afterwards. The tenant's lock is held all the
while, so whoever finds an unmarked one under that lock knows that its process has ended.
"""

import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from django.utils import timezone

from tenant_backup.backups import holds
from tenant_backup.catalog import catalog_transaction
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, Event, EventKind, HoldKind, RowRestore
from tenant_backup.rows.connection import host_connection
from tenant_backup.sqlite.row_plan import RowPlan, explaining
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text

KEPT = timedelta(days=30)
"""So long the backup from before is held, and the plan is kept, which undoing it needs."""

ENDED = [RowRestore.State.DONE, RowRestore.State.UNDONE]
"""Nobody needs to find out what came of these any more."""

MOST_BYTES = 256 * 1024 * 1024
"""How large a plan may be in the catalog, compressed."""

CHUNK = 1024 * 1024


def pack(file: Path) -> bytes:
    """A plan's file as the catalog keeps it. Raises `BackupError` if it is too large for that."""
    # The least effort: an operator is waiting.
    packer, packed = zlib.compressobj(1), bytearray()
    with file.open("rb") as stream:
        is_over = False
        while not is_over and len(packed) <= MOST_BYTES:
            chunk = stream.read(CHUNK)
            is_over = not chunk
            packed += packer.compress(chunk) if chunk else packer.flush()
    if len(packed) > MOST_BYTES:
        raise BackupError(
            "These are too many rows for one time: what undoing it needs would take more than "
            "%(bytes)d bytes of the catalog. Bring back fewer tables or rows at once.",
            bytes=MOST_BYTES,
        )
    return bytes(packed)


@contextmanager
def plan_of(tenant: Tenant, record: RowRestore) -> Iterator[RowPlan]:
    """The plan of a record, attached to the tenant's live database."""
    if not record.plan:
        raise BackupError(
            "What number %(number)d brought back can no longer be undone: what that needs is kept "
            "for %(days)d days.",
            number=record.pk,
            days=KEPT.days,
        )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="tenant-backup-")))
        file = folder / "plan"
        unpacker = zlib.decompressobj()
        with file.open("wb") as stream:
            packed = memoryview(record.plan)
            for start in range(0, len(packed), CHUNK):
                stream.write(unpacker.decompress(packed[start : start + CHUNK]))
            stream.write(unpacker.flush())
        connection = stack.enter_context(host_connection(tenant))
        with explaining(tenant.database, conf.BUSY_TIMEOUT):
            rows = RowPlan.read(connection, tenant.database, file)
        yield rows


def mark_done(tenant: Tenant, record: RowRestore) -> None:
    """Note that the rows are back, and hold the backup from before."""
    ended_at = timezone.now()
    if record.safety_copy and record.safety_copy.is_good:
        reason = Text("It is the state before rows were brought back.")
        holds.hold(
            tenant,
            record.safety_copy,
            reason,
            ended_at + KEPT,
            kind=HoldKind.RESTORE,
            actor=record.actor,
        )
    with catalog_transaction():
        record.state, record.ended_at = RowRestore.State.DONE, ended_at
        record.save(update_fields=["state", "ended_at"])
        about: Backup | str = record.source or record.tenant_id
        Event.record(EventKind.ROWS_RESTORED, about, actor=record.actor, detail=_said(record))


def mark_undone(record: RowRestore) -> None:
    with catalog_transaction():
        # What is undone needs no plan any more, which holds a tenant's data.
        record.state, record.ended_at, record.plan = RowRestore.State.UNDONE, timezone.now(), b""
        record.save(update_fields=["state", "ended_at", "plan"])
        about: Backup | str = record.source or record.tenant_id
        Event.record(EventKind.ROWS_UNDONE, about, actor=record.actor, detail=_said(record))


def forget(now: datetime) -> None:
    """Forget what is old: the plans, which hold tenants' data, and long afterwards the records."""
    ended = RowRestore.objects.filter(state__in=ENDED)
    ended.filter(created_at__lt=now - KEPT).exclude(plan=b"").update(plan=b"")
    ended.filter(created_at__lt=now - timedelta(days=conf.HISTORY_DAYS)).delete()


def _said(record: RowRestore) -> Text:
    """How many rows of each table, in one line."""
    parts = [
        f"{table}: {numbers['restored'] + numbers['updated']}"
        for table, numbers in sorted(record.tables.items())
    ]
    return Text("Number %(number)d: %(tables)s", number=record.pk, tables=", ".join(parts))
