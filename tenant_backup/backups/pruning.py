"""Pruning: deleting what a tenant's retention no longer keeps.

What goes, and why, `retention.py` decides. Nothing is removed on trust: first the newest backup
that stays is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from django.utils import timezone

from tenant_backup import retention
from tenant_backup.backups.deletion_steps import Deletion
from tenant_backup.backups.directories import directory_of, has_directory
from tenant_backup.backups.locking import TenantWork, tenant_work
from tenant_backup.backups.verification import check_files, difference, flaws_by_look, note_flaw
from tenant_backup.catalog import require_no_transaction
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, BackupMissing, RowChanged
from tenant_backup.models import Backup, BackupSettings, EventKind, Trigger
from tenant_backup.retention import Decision
from tenant_backup.tenants import Tenant
from tenant_backup.texts import joined


@dataclass(frozen=True, slots=True)
class _Stored:
    """What retention needs of a stored backup: a page must not load thousands of whole rows."""

    pk: int
    trigger: str
    pinned: bool
    created_at: datetime
    size: int | None = None
    damaged_at: datetime | None = None
    future_at: datetime | None = None
    hold_reason: str = ""
    held_until: datetime | None = None

    @property
    def is_good(self) -> bool:
        return self.damaged_at is None

    @property
    def stored_bytes(self) -> int:
        return self.size or 0


def prune(tenant: Tenant, *, actor: str = "") -> list[Decision[Backup]]:
    """Delete what the tenant's retention no longer keeps, and return those decisions.

    A file that cannot be removed does not keep the others; the first such error is raised at the
    end. Raises `BackupError`, and nothing is removed, where the newest backup that stays cannot be
    read, and `BackupInProgress` where another process is at work on this tenant for too long.
    """
    require_no_transaction()
    if not has_directory(tenant):
        return []
    with tenant_work(tenant, wait=conf.BUSY_TIMEOUT) as work:
        return prune_under_lock(work, actor=actor)


def prune_under_lock(
    work: TenantWork, *, actor: str, just_made: Backup | None = None
) -> list[Decision[Backup]]:
    """As `prune`, by the lock's holder, who may have just verified the newest backup."""
    failures: list[BackupError] = []
    removed = []
    for decision in _safe_removals(work.tenant, just_made):
        work.require_folder_known()
        try:
            work.delete(decision.backup, Deletion(EventKind.PRUNED, actor, joined(*decision.why)))
        except RowChanged:
            pass  # Somebody else has deleted or pinned it at this very moment.
        except BackupError as error:
            failures.append(error)
        else:
            removed.append(decision)
    if failures:
        raise failures[0]
    return removed


def _safe_removals(tenant: Tenant, just_made: Backup | None) -> list[Decision[Backup]]:
    """What retention no longer keeps, once the newest backup that stays is known to be as made.

    One that is not is marked, which changes the decision; so it is made again, until one is right
    or there is nothing to remove. Each time one backup less is good, so that has an end.
    """
    check_files(tenant)
    while True:
        decisions = _decisions(tenant)
        removals = [decision for decision in decisions if not decision.keep]
        newest = _newest_that_stays(decisions)
        if not removals or newest is None:
            return []
        if (just_made and newest.pk == just_made.pk) or _is_as_made(tenant, newest):
            return removals


def _newest_that_stays(decisions: Sequence[Decision[Backup]]) -> Backup | None:
    now = timezone.now()
    kept = (decision.backup for decision in decisions if decision.keep)
    return next((row for row in kept if row.is_good and not row.is_future(now)), None)


def _is_as_made(tenant: Tenant, backup: Backup) -> bool:
    """Whether a backup's file is what was made; one that is not is marked.

    Raises `BackupError` where that cannot be told: what cannot be read is not damaged by that.
    """
    try:
        flaw = difference(directory_of(tenant), backup)
    except BackupError as error:
        raise BackupError(
            "Nothing was removed, because the newest backup that stays cannot be verified: "
            "%(reason)s",
            reason=error,
        ) from error
    if flaw:
        note_flaw(backup, flaw)
    return flaw is None


def removals(tenant: Tenant, *more: Backup) -> list[Decision[Backup]]:
    """What `prune` would delete now, and why; or if there were these backups, too.

    By a look at the files without reading them, of which nothing is noted.
    """
    return [decision for decision in _decisions(tenant, *more) if not decision.keep]


def _decisions(tenant: Tenant, *more: Backup) -> list[Decision[Backup]]:
    """What becomes of each complete backup, newest first."""
    policy = BackupSettings.objects.of(tenant.id).policy
    rows = list(Backup.objects.for_tenant(tenant.id).complete())
    good = [(row.pk, row.file_name, row.size) for row in rows if row.is_good]
    flaws, now = flaws_by_look(tenant, good), timezone.now()
    for row in rows:
        # In these objects alone: retention must not count on what is lost.
        if isinstance(flaw := flaws.get(row.pk), BackupMissing):
            row.missing_at = now
        elif flaw:
            row.damaged_at = now
    return retention.decide([*rows, *more], policy, now, tenant.zone)


def removals_after_next(
    tenant: Tenant, settings: BackupSettings | None = None
) -> Sequence[Decision[retention.Candidate]]:
    """What will be deleted, and why, when the next backup has succeeded.

    By these settings, which may not be saved yet, or else by the tenant's own. The next backup is
    taken to be as large as the last one.
    """
    settings = settings or BackupSettings.objects.of(tenant.id)
    if not settings.policy.removes:
        return []
    rows = Backup.objects.for_tenant(tenant.id).complete().filter(missing_at=None).newest_first()
    names = [field.name for field in fields(_Stored)]
    stored = [_Stored(*row) for row in rows.values_list(*names)]
    made = _next_backup(tenant, settings, stored)
    candidates: list[retention.Candidate] = [*stored, made]
    decisions = retention.decide(candidates, settings.policy, made.created_at, tenant.zone)
    return [decision for decision in decisions if not decision.keep]


def _next_backup(tenant: Tenant, settings: BackupSettings, stored: Sequence[_Stored]) -> _Stored:
    """The next backup as it will probably be: by the schedule, or else as the last one."""
    now = timezone.now()
    good = [row for row in stored if row.is_good and not retention.is_future(row, now)]
    last = good[0] if good else None
    size = last.size if last else None
    if next_slot := settings.slot_after(now, tenant.zone):
        # Its time decides which days and ages are over. A slot that is due is made now.
        is_due = settings.next_run_at and settings.next_run_at <= now
        at = now if is_due else next_slot
        return _Stored(0, Trigger.AUTOMATIC, pinned=False, created_at=at, size=size)
    # By cron every night, say, or by hand.
    trigger = last.trigger if last else Trigger.MANUAL
    return _Stored(0, trigger, pinned=False, created_at=now, size=size)
