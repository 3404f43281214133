"""What the catalog knows is saved before, and brought back after, a restore of its own database.

The restored catalog is as old as the backup. It learns again which files there are, what they are,
what was found out about them, how backups are configured today, and who was notified of what.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from django.db import DatabaseError
from django.utils.translation import gettext_noop

from tenant_backup import backups, sqlite
from tenant_backup.backups import BackupRequest
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Automation, Backup, BackupSettings, TenantState, Trigger
from tenant_backup.restore import own_catalog
from tenant_backup.restore.job import Job
from tenant_backup.restore.plan import WAIT_SECONDS
from tenant_backup.restore.safety_copy import SafetyCopy
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text

RESTORED_AWAY = gettext_noop(
    "The database was restored to a time before this backup was made. Create it again."
)


@dataclass(frozen=True, slots=True)
class Memory:
    """What the catalog knows before it is restored together with the database."""

    backups: dict[str, Backup]
    """The rows of the files, by the files' names."""
    settings: BackupSettings | None
    state: TenantState | None
    automation: Automation | None

    def requests(self) -> dict[str, BackupRequest]:
        """What asked for each file."""
        return {
            name: BackupRequest(
                trigger=Trigger(row.trigger),
                label=row.label,
                pinned=row.pinned,
                requested_by=row.requested_by,
                slot_at=row.slot_at,
            )
            for name, row in self.backups.items()
        }

    def tell(self, tenant: Tenant) -> None:
        """Tell it to the restored catalog.

        Retention stays as it was before the restore: older settings might remove what was kept.
        """
        rows = Backup.objects.for_tenant(tenant.id).complete()
        for row in rows:
            if known := self.backups.get(row.file_name):
                # While a file was adopted, nobody knew whether it had been pinned.
                was_pinned = row.pinned and known.trigger == Trigger.ADOPTED
                rows.filter(pk=row.pk).update(
                    pinned=known.pinned or was_pinned,
                    missing_at=known.missing_at,
                    damaged_at=known.damaged_at,
                    future_at=known.future_at,
                    verified_at=known.verified_at,
                )
            elif backups.directory_of(tenant).is_missing(row.file_name):
                # It was deleted on purpose since the backup was made, so it is not missing.
                rows.filter(pk=row.pk).delete()
        if self.settings:
            settings = BackupSettings.objects.filter(tenant_id=tenant.id)
            self.settings.pk = settings.values_list("pk", flat=True).first()
            self.settings.save()
        if self.state:
            # Not the revision: one below the folder's lets the catalog learn from the folder.
            names = {field.attname for field in TenantState._meta.concrete_fields}
            names -= {"id", "tenant_id", "revision"}
            TenantState.objects.ensure([tenant.id])
            TenantState.objects.filter(tenant_id=tenant.id).update(
                **{name: getattr(self.state, name) for name in names}
            )
        if self.automation:
            Automation.load()
            Automation.objects.update(
                paused_at=self.automation.paused_at, paused_by=self.automation.paused_by
            )


def remember(tenant: Tenant) -> Memory | None:
    """What the catalog knows; None if it lies elsewhere or cannot be used."""
    if not (own_catalog.holds_catalog(tenant) and own_catalog.is_usable(tenant)):
        return None
    rows = Backup.objects.for_tenant(tenant.id).complete()
    settings = BackupSettings.objects.filter(tenant_id=tenant.id).first()
    if settings and settings.is_initial:
        # The catalog was created anew: only the restored one knows what was configured.
        settings = None
    return Memory(
        backups={row.file_name: row for row in rows},
        settings=settings,
        state=TenantState.objects.filter(tenant_id=tenant.id).first(),
        automation=Automation.objects.first(),
    )


@contextmanager
def row_begun(job: Job) -> Iterator[Backup]:
    """Write the row of the safety copy while the catalog's database is not locked yet.

    After a crash, that row is recovered, and with it everything else that the crash left. If the
    restore fails before there is a file, the catalog is as if the row had never been written.
    """
    # If this refuses, no row is left.
    with sqlite.exclusive(job.database, busy_timeout=WAIT_SECONDS):
        pass
    queued = Backup.objects.for_tenant(job.tenant.id).queued().first()
    begun = backups.begin(job.tenant, job.request)
    try:
        yield begun
    except BaseException:
        if job.directory.is_free(begun.file_name):
            with suppress(DatabaseError):
                backups.take_back(begun, queued)
        raise
    finally:
        with suppress(DatabaseError):
            job.ended.extend(backups.recover_running(job.tenant))


def bring_in_line(job: Job, memory: Memory | None, copy: SafetyCopy | None) -> Backup | None:
    """Let the restored catalog know today's files. Returns the safety copy's row, if it has one."""
    name = copy.name if isinstance(copy, Path) and copy.parent == job.directory.path else ""
    rows = Backup.objects.for_tenant(job.tenant.id)
    try:
        # These were running or queued when the restored backup was made.
        job.ended.extend(backups.recover_running(job.tenant))
        for backup in rows.queued():
            backups.refuse(backup, BackupError(RESTORED_AWAY))
        _learn(job, memory, name)
        return rows.filter(file_name=name).first() if name else None
    except DatabaseError as error:
        job.note(
            Text(
                "The list of backups was restored with the database and cannot be used now: "
                "%(reason)s. Run manage.py migrate, then manage.py syncbackups.",
                reason=error,
            )
        )
        return None


def _learn(job: Job, memory: Memory | None, name: str) -> None:
    """Learn from memory, from the files, and from the folder's index; `name`: the safety copy."""
    tenant = job.tenant
    requests = memory.requests() if memory else {}
    if name:
        requests[name] = job.request
    if memory:
        memory.tell(tenant)
    else:
        job.note(
            Text(
                "The list of backups and the settings are as old as the restored backup. Before "
                "the next backup is made, check what retention would remove: manage.py "
                "prunebackups --dry-run"
            )
        )
    backups.check_files(tenant)
    backups.adopt_unknown(tenant, requests)
    if memory:
        # Once more, for the rows that were just adopted.
        memory.tell(tenant)
    backups.learn_from_folder(tenant)
