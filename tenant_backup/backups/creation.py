"""Creating backups: queueing them, and making them now, whether queued or not.

After each success, the backup that the new one replaces is deleted, and retention prunes.
"""

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
from tenant_backup.backups.folder import directory_of
from tenant_backup.backups.locking import TenantWork, recover, tenant_work
from tenant_backup.backups.outcomes import announce, as_backup_error, refuse
from tenant_backup.backups.pruning import prune_under_lock, removals
from tenant_backup.backups.requests import NO_LIMITS, BackupRequest, Limits, admitted, claim
from tenant_backup.backups.room import make_room
from tenant_backup.catalog import renew_connection, require_no_transaction
from tenant_backup.conf import conf
from tenant_backup.exceptions import AlreadyAskedFor, BackupError, BackupInProgress, RowChanged
from tenant_backup.files import SPACE_MARGIN
from tenant_backup.models import Backup, EventKind, Status, Trigger
from tenant_backup.retention import Decision
from tenant_backup.sqlite import Fingerprint, Progress
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text

logger = logging.getLogger("tenant_backup")


@dataclass(frozen=True, slots=True)
class BackupResult:
    """A backup that succeeded, what retention then removed, and what it replaced."""

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
    """The backup to be made is no longer queued."""


def request(tenant: Tenant, request: BackupRequest) -> Backup:
    """Queue a backup, for `perform` to make later.

    One that is queued already answers this request, too. A row that a crash left `running` is
    recovered first. Raises `BackupInProgress` if a backup is being made, `LimitReached` if there is
    no room for one made by hand, and `AlreadyAskedFor` if the same form was sent before.
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

    Raises `BackupInProgress` if another process is at work on this tenant for longer than
    `limits.lock_wait`, `LimitReached` if there is no room for one made by hand, and
    `AlreadyAskedFor` if the same form was sent before; then there is no row. Any other
    `BackupError` is the reason that the failed row has, too.
    """
    find_row = partial(claim, tenant, admitted(tenant, request))
    is_click = request.trigger == Trigger.MANUAL
    return _make_now(tenant, find_row, limits, progress, is_click=is_click)


def perform(
    tenant: Tenant,
    backup_id: int,
    *,
    limits: Limits = NO_LIMITS,
    progress: Progress | None = None,
) -> BackupResult | None:
    """Make a queued backup, then prune. None if it is no longer queued, so nothing is to be done.

    Raises as `create` does; after `BackupInProgress` the row is still queued.
    """

    def still_queued() -> Backup:
        row = Backup.objects.for_tenant(tenant.id).queued().filter(pk=backup_id).first()
        if row is None:
            raise _NothingToDo
        return row

    with suppress(_NothingToDo):
        return _make_now(tenant, still_queued, limits, progress, is_click=True)
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


def _make_now(
    tenant: Tenant,
    find_row: Callable[[], Backup],
    limits: Limits,
    progress: Progress | None,
    *,
    is_click: bool,
) -> BackupResult:
    """Make the backup of the queued row that `find_row` finds or makes.

    For what only a click asked for, there must still be room.
    """
    require_no_transaction()
    renew_connection()
    directory, wait = directory_of(tenant), limits.database_wait
    source = partial(sqlite.snapshot, tenant.database, busy_timeout=wait)

    def copy(backup: Backup) -> Fingerprint:
        if is_click and quota.binds(backup):
            # There may be room by now, and then nothing has to go.
            backup.replaces = quota.require(tenant, replaces=backup.replaces)
        return copy_into(
            directory,
            backup.file_name,
            tenant,
            source,
            progress=progress,
            deadline=limits.deadline,
        )

    backup = None
    try:
        if not directory.exists():
            # It is not made for a database that cannot be copied anyway.
            sqlite.look(tenant.database, busy_timeout=wait)
        directory.make()
        with tenant_work(tenant, wait=limits.lock_wait) as work:
            backup = find_row()
            work.ended.append(backup)
            make_room(work, is_click=is_click and quota.binds(backup))
            make(tenant, backup, copy, deadline=limits.deadline)
            return _finish(work, backup)
    except (AlreadyAskedFor, BackupInProgress, _NothingToDo):
        raise
    except BackupError as error:
        error.backup = backup or _record_failure(tenant, find_row, error)
        raise


def _record_failure(
    tenant: Tenant, find_row: Callable[[], Backup], reason: BackupError
) -> Backup | None:
    """Leave a failed row even if the lock could not be taken: no failure may be silent."""
    with suppress(BackupError):
        backup = find_row()
        refuse(backup, reason)
        announce(tenant, backup)
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
        # The backup is complete nevertheless, so nobody may be told that it failed.
        logger.exception("Pruning the backups of tenant %r failed.", work.tenant.id)
        text = gettext("The backup is complete, but older ones could not be removed: %(reason)s")
        reason = text % {"reason": as_backup_error(error)}
        return BackupResult(backup, prune_error=reason, replaced=replaced)


def _replace(work: TenantWork, backup: Backup) -> Backup | None:
    """Delete what a new, complete backup was to replace, unless that is protected now."""
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
