"""Deleting backups that somebody has chosen, and what is left then."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from django.utils import timezone

from tenant_backup.backups.deletion_steps import Deletion, delete_row, not_deletable
from tenant_backup.backups.folder import directory_of, out_of_reach
from tenant_backup.backups.locking import tenant_work
from tenant_backup.backups.requests import request_timeout
from tenant_backup.catalog import require_no_transaction
from tenant_backup.exceptions import BackupError, BackupInProgress
from tenant_backup.models import Backup, EventKind
from tenant_backup.signals import backup_deleted
from tenant_backup.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Deleted:
    """Which backups are gone, and why others are not."""

    backups: list[Backup] = field(default_factory=list)
    errors: list[BackupError] = field(default_factory=list)
    """One for each backup that was refused; one for all if another process is at work."""


@dataclass(frozen=True, slots=True)
class Remaining:
    """The good backups of a tenant that count."""

    number: int
    newest: Backup | None


def delete(tenant: Tenant, backup: Backup, *, actor: str = "") -> None:
    """Delete a backup: its file, then its row.

    Raises `BackupError` if it is pinned, queued, running, gone or another tenant's, `NotWritable`
    if the file cannot be removed, and `BackupInProgress` if another process is at work on this
    tenant for some seconds; the row stays then.
    """
    for error in delete_all(tenant, [backup], actor=actor).errors:
        raise error


def delete_all(tenant: Tenant, chosen: Sequence[Backup], *, actor: str = "") -> Deleted:
    """Delete several backups of a tenant as `delete` does, but take the tenant's lock only once.

    What keeps one from being deleted does not keep the others.
    """
    require_no_transaction()
    done, with_file = Deleted(), []
    directory, deletion = directory_of(tenant), Deletion(EventKind.DELETED, actor)
    rows = Backup.objects.for_tenant(tenant.id).in_bulk([backup.pk for backup in chosen])
    for backup in chosen:
        row = rows.get(backup.pk)
        try:
            if row is None or not row.is_deletable:
                raise not_deletable(row, backup.pk)
            if not row.file_name or (row.missing_at and not directory.exists()):
                delete_row(row, deletion)
                done.backups.append(row)
                backup_deleted.send_robust(Backup, tenant=tenant, backup=row)
            elif not directory.exists():
                raise out_of_reach(directory)
            else:
                with_file.append(row)
        except BackupError as error:
            done.errors.append(error)
    if with_file:
        _delete_files(tenant, with_file, deletion, done)
    return done


def remaining(tenant: Tenant, *, without: Collection[Backup] = ()) -> Remaining:
    """The good backups that count; of these `without` some that may be deleted."""
    good = Backup.objects.for_tenant(tenant.id).good().counted(timezone.now())
    left = good.exclude(pk__in=[backup.pk for backup in without]).newest_first()
    return Remaining(left.count(), left.first())


def _delete_files(
    tenant: Tenant, rows: Sequence[Backup], deletion: Deletion, done: Deleted
) -> None:
    try:
        with tenant_work(tenant, wait=request_timeout()) as work:
            for row in rows:
                try:
                    # A crash may have interrupted its deletion, which has been completed just now.
                    if row not in work.deleted:
                        work.delete(row, deletion)
                except BackupError as error:
                    done.errors.append(error)
                else:
                    done.backups.append(row)
    except BackupInProgress as error:
        refusal = BackupInProgress(
            "A backup of %(tenant)s is being made or restored at this moment, so nothing was "
            "deleted. Try again when that is complete.",
            tenant=tenant.name,
        )
        refusal.__cause__ = error
        done.errors.append(refusal)
    except BackupError as error:  # The lock cannot be taken.
        done.errors.append(error)
