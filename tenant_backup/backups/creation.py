"""Creating backups: asked for to be made later, made now, or made now of what is queued.

After each success what the new backup replaces is deleted, and retention prunes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from django.utils import timezone
from django.utils.translation import gettext

from tenant_backup import sqlite
from tenant_backup.backups import quota
from tenant_backup.backups.copying import copy_into, make
from tenant_backup.backups.deletion_steps import Deletion
from tenant_backup.backups.directories import directory_of
from tenant_backup.backups.locking import TenantWork, recover, tenant_work
from tenant_backup.backups.outcomes import announce, as_backup_error, refuse
from tenant_backup.backups.pruning import prune_under_lock, removals
from tenant_backup.backups.requests import NO_LIMITS, BackupRequest, Limits, admitted, claim
from tenant_backup.catalog import renew_connection, require_no_transaction
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, BackupInProgress, RowChanged
from tenant_backup.files import SPACE_MARGIN
from tenant_backup.models import Backup, EventKind, Status, Trigger
from tenant_backup.retention import Decision
from tenant_backup.sqlite import Fingerprint, Progress
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text

logger = logging.getLogger("tenant_backup")


@dataclass(frozen=True, slots=True)
class BackupResult:
    """A backup that succeeded, and what it replaced and retention then removed."""

    backup: Backup
    pruned: list[Decision[Backup]] = field(default_factory=list)
    prune_error: str = ""
    replaced: Backup | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a backup would need, and what retention would remove after it. Sizes in bytes."""

    bytes_needed: int
    bytes_free: int
    removals: list[Decision[Backup]]


class _NothingToDo(BackupError):
    """The backup that was to be made is not queued any more."""


def request(tenant: Tenant, request: BackupRequest) -> Backup:
    """Queue a backup, for `perform` to make later.

    One that is queued already takes this request on, too. Raises `BackupInProgress` where one is
    being made, and `LimitReached` where there is no room for one made by hand; a row that a crash
    left `running` is recovered first.
    """
    require_no_transaction()
    recover(tenant)
    return claim(tenant, admitted(tenant, request))


def create(
    tenant: Tenant,
    request: BackupRequest,
    *,
    limits: Limits = NO_LIMITS,
    progress: Progress | None = None,
) -> BackupResult:
    """Make a backup now, in this process, then prune. A queued one is taken over.

    Raises, without leaving a row, `BackupInProgress` where another process is at work on this
    tenant for longer than `limits.lock_wait`, and `LimitReached` where there is no room for one
    made by hand; any other `BackupError` is the reason that the failed row has, too.
    """
    claims = partial(claim, tenant, admitted(tenant, request))
    is_click = request.trigger == Trigger.MANUAL
    return _Job(tenant, claims, limits, progress, is_click).run()


def perform(
    tenant: Tenant,
    backup_id: int,
    *,
    limits: Limits = NO_LIMITS,
    progress: Progress | None = None,
) -> BackupResult | None:
    """Make a queued backup, then prune. None where it is not queued any more: nothing is to do.

    Raises as `create` does; after `BackupInProgress` the row is still queued.
    """

    def still_queued() -> Backup:
        row = Backup.objects.for_tenant(tenant.id).queued().filter(pk=backup_id).first()
        if row is None:
            raise _NothingToDo
        return row

    with suppress(_NothingToDo):
        return _Job(tenant, still_queued, limits, progress, is_click=True).run()
    return None


def preview(tenant: Tenant, request: BackupRequest) -> Preview:
    """What `create` would need and remove; changes nothing. Raises the `BackupError` it would."""
    directory = directory_of(tenant)
    rows = Backup.objects.for_tenant(tenant.id)
    facts = sqlite.look(tenant.database, busy_timeout=conf.BUSY_TIMEOUT)
    needed = facts.size + facts.wal_bytes
    directory.require_writable()
    directory.require_space(needed)
    # What the backup would be: the queued one, which it would take over, or a new one.
    made = rows.queued().first() or Backup(pk=0, tenant_id=tenant.id, trigger=request.trigger)
    made.trigger = made.trigger_with(request.trigger)
    made.pinned = made.pinned or request.pinned
    made.status, made.created_at, made.size = Status.COMPLETE, timezone.now(), facts.size
    return Preview(needed + SPACE_MARGIN, directory.free_bytes(), removals(tenant, made))


@dataclass(frozen=True, slots=True)
class _Job:
    """One backup that this process makes now."""

    tenant: Tenant
    claim: Callable[[], Backup]
    """Finds or makes the queued row, under the lock."""
    limits: Limits
    progress: Progress | None
    is_click: bool
    """Whether somebody clicked for it; then the limits apply."""

    def run(self) -> BackupResult:
        require_no_transaction()
        renew_connection()
        backup = None
        try:
            self.prepare()
            with tenant_work(self.tenant, wait=self.limits.lock_wait) as work:
                backup = self.claim()
                work.ended.append(backup)
                make(self.tenant, backup, self.copy)
                return _finish(work, backup)
        except (BackupInProgress, _NothingToDo):
            raise
        except BackupError as error:
            error.backup = backup or self.record_failure(error)
            raise

    def prepare(self) -> None:
        """Make the backup directory, but not for a database that could not be copied anyway."""
        directory = directory_of(self.tenant)
        if not directory.exists():
            sqlite.look(self.tenant.database, busy_timeout=self.limits.database_wait)
        directory.make()

    def copy(self, backup: Backup) -> Fingerprint:
        if self.is_click and quota.binds(backup):
            # There may be room by now, and then nothing has to go.
            backup.replaces = quota.require(self.tenant, replaces=backup.replaces)
        wait = self.limits.database_wait
        return copy_into(
            directory_of(self.tenant),
            backup.file_name,
            self.tenant,
            partial(sqlite.snapshot, self.tenant.database, busy_timeout=wait),
            self.limits,
            self.progress,
        )

    def record_failure(self, reason: BackupError) -> Backup | None:
        """Leave a failed row where not even the lock could be taken: no failure may be silent."""
        with suppress(BackupError):
            backup = self.claim()
            refuse(backup, reason)
            announce(self.tenant, backup)
            return backup
        return None


def _finish(work: TenantWork, backup: Backup) -> BackupResult:
    """After a success: delete what the new backup replaces, then prune."""
    replaced = None
    try:
        replaced = _replace(work, backup)
        pruned = prune_under_lock(work, actor=backup.requested_by, just_made=backup)
        return BackupResult(backup, pruned, replaced=replaced)
    except Exception as error:
        # Whatever went wrong, the backup is complete, so nobody must read that it failed.
        logger.exception("Pruning the backups of tenant %r failed.", work.tenant.id)
        text = gettext("The backup is complete, but pruning failed: %(reason)s")
        reason = text % {"reason": as_backup_error(error)}
        return BackupResult(backup, prune_error=reason, replaced=replaced)


def _replace(work: TenantWork, backup: Backup) -> Backup | None:
    """Delete what a new, complete backup was to replace, unless that is protected by now."""
    old = quota.to_replace(work.tenant, backup.replaces)
    if old is None:
        return None
    work.require_folder_known()
    why = Text("It was replaced by backup %(backup)d.", backup=backup.pk)
    try:
        work.delete(old, Deletion(EventKind.DELETED, backup.requested_by, why))
    except RowChanged:
        return None  # Somebody has pinned or deleted it at this very moment.
    return old
