"""Pruning: deleting what a tenant's retention no longer keeps.

What goes, and why, `retention.py` decides. Nothing is removed on trust: first the newest backup
that stays is read again.
"""

from django.dispatch import Signal
from django.utils import timezone

from tenant_backup import retention
from tenant_backup.backups.deletion_steps import Deletion
from tenant_backup.backups.folder import directory_of, has_directory
from tenant_backup.backups.holds import end_what_is_over
from tenant_backup.backups.locking import TenantWork, tenant_work
from tenant_backup.backups.verification import check_files, difference, flaws_by_look, note_flaw
from tenant_backup.catalog import require_no_transaction
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, BackupMissing, RowChanged
from tenant_backup.models import Backup, BackupSettings, EventKind
from tenant_backup.retention import Decision
from tenant_backup.tenants import Tenant
from tenant_backup.texts import joined

before_pruning = Signal()
"""Something is about to be removed: what must be kept is held now. Receivers get `tenant`."""


def prune(tenant: Tenant, *, actor: str = "") -> list[Decision[Backup]]:
    """Delete what the tenant's retention no longer keeps, and return those decisions.

    If a file cannot be removed, the others are removed nevertheless, and the first such error is
    raised at the end. Raises `BackupError`, and nothing is removed, if the newest backup that stays
    cannot be read, and `BackupInProgress` if another process is at work on this tenant for too
    long.
    """
    require_no_transaction()
    if not has_directory(tenant):
        return []
    with tenant_work(tenant, wait=conf.BUSY_TIMEOUT) as work:
        return prune_under_lock(work, actor=actor)


def prune_under_lock(
    work: TenantWork, *, actor: str, just_made: Backup | None = None
) -> list[Decision[Backup]]:
    """As `prune`, by the lock's holder, who may have just verified the newest backup.

    The receivers of `before_pruning` may hold backups. If one of them fails, nothing is removed.
    """
    before_pruning.send(Backup, tenant=work.tenant)
    end_what_is_over(work.tenant)
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

    One that is not is marked, which changes the decision. So the decision is made again, until that
    backup is right or there is nothing to remove; each time there is one good backup less.
    """
    check_files(tenant)
    while True:
        decisions, now = _decisions(tenant), timezone.now()
        removals = [decision for decision in decisions if not decision.keep]
        kept = (decision.backup for decision in decisions if decision.keep)
        newest = next((row for row in kept if row.is_good and not row.is_future(now)), None)
        if not removals or newest is None:
            return []
        if newest == just_made or _is_as_made(tenant, newest):
            return removals


def _is_as_made(tenant: Tenant, backup: Backup) -> bool:
    """Whether a backup's file is what was made; if not, that is noted.

    Raises `BackupError` if the file cannot be read: that does not mean that it is damaged.
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

    It looks at the files without reading them, and notes nothing.
    """
    return [decision for decision in _decisions(tenant, *more) if not decision.keep]


def _decisions(tenant: Tenant, *more: Backup) -> list[Decision[Backup]]:
    """What becomes of each complete backup, newest first."""
    policy = BackupSettings.objects.of(tenant.id).policy
    rows = list(Backup.objects.for_tenant(tenant.id).complete())
    good = [(row.pk, row.file_name, row.size) for row in rows if row.is_good]
    flaws, now = flaws_by_look(tenant, good), timezone.now()
    for row in rows:
        # In these objects alone: retention must not count on a backup that has a flaw.
        if isinstance(flaw := flaws.get(row.pk), BackupMissing):
            row.missing_at = now
        elif flaw:
            row.damaged_at = now
    return retention.decide([*rows, *more], policy, now, tenant.zone)
