"""Making a backup's file from a snapshot: copied, verified, published; and its row with it.

The lock's holder does it, and brings the row from `queued` over `running` to its end.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, closing

from django.db import DatabaseError
from django.utils import timezone

from tenant_backup import sqlite
from tenant_backup.backups import counting
from tenant_backup.backups.folder import directory_of
from tenant_backup.backups.outcomes import as_backup_error, complete, record_copy
from tenant_backup.backups.recovery import finalise
from tenant_backup.backups.requests import BackupRequest, claim
from tenant_backup.catalog import close_connection
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, DatabaseDamaged
from tenant_backup.files import BackupDirectory, file_names
from tenant_backup.models import Backup
from tenant_backup.signals import backup_started
from tenant_backup.sqlite import Fingerprint, Progress, Snapshot
from tenant_backup.tenants import Tenant

logger = logging.getLogger("tenant_backup")

Source = Callable[[], AbstractContextManager[Snapshot]]
"""Opens the snapshot that a backup is made of."""

Copy = Callable[[Backup], Fingerprint]
"""Copies into the partial of a running backup, verifies that, and returns its fingerprint."""


def make(tenant: Tenant, backup: Backup, copy: Copy, *, deadline: float | None = None) -> None:
    """Bring a queued row to `complete` with its file, or to `failed` with the error raised.

    `deadline`, a time of `time.monotonic()`, is for counting the rows: `copy` has its own.
    """
    directory = directory_of(tenant)
    _start(tenant, backup)
    try:
        backup_started.send_robust(Backup, tenant=tenant, backup=backup)
        made = copy(backup)
        counts = counting.count(directory.partial(backup.file_name), deadline=deadline)
        record_copy(backup, made, counts)
        directory.publish(backup.file_name, made.sha256)
        complete(backup)
    except BaseException as error:
        reason = as_backup_error(error)
        if isinstance(error, Exception) and error is not reason:
            logger.exception("Making backup %s of tenant %r failed.", backup.pk, tenant.id)
        is_complete = False
        try:
            is_complete = finalise(directory, backup, reason)
        except DatabaseError:
            logger.exception(
                "Backup %s of tenant %r stays marked as running until the next one is asked for.",
                backup.pk,
                tenant.id,
            )
        if not isinstance(error, Exception):
            raise
        if not is_complete:
            raise reason from error


def _start(tenant: Tenant, backup: Backup) -> None:
    """Start a queued backup, under the first name that neither the disk nor the catalog has."""
    directory, now = directory_of(tenant), timezone.now()
    rows = Backup.objects.for_tenant(tenant.id)
    name = next(
        name
        for name in file_names(tenant.id, now)
        if directory.is_free(name) and not rows.filter(file_name=name).exists()
    )
    backup.start(name, at=now)


def make_from(
    source: Source, tenant: Tenant, request: BackupRequest, ended: list[Backup]
) -> Backup:
    """Make a backup of what the caller reads, who holds the lock; raises as `create` does.

    The row is added to the caller's list of `tenant_lock`.
    """
    backup = claim(tenant, request)
    ended.append(backup)
    directory = directory_of(tenant)
    try:
        make(tenant, backup, lambda row: copy_into(directory, row.file_name, tenant, source))
    except BackupError as error:
        error.backup = backup
        raise
    return backup


def begin(tenant: Tenant, request: BackupRequest) -> Backup:
    """Begin a backup whose file the lock's holder makes itself, and return its `running` row."""
    backup = claim(tenant, request)
    _start(tenant, backup)
    backup_started.send_robust(Backup, tenant=tenant, backup=backup)
    return backup


def take_back(backup: Backup, before: Backup | None) -> None:
    """Undo `begin` if nothing was made, as if it had never been called.

    `before` is the queued row that was taken over, as it was then.
    """
    row = Backup.objects.running().filter(pk=backup.pk, file_name=backup.file_name)
    if before is None:
        row.delete()
        return
    names = [field.attname for field in Backup._meta.concrete_fields if not field.primary_key]
    row.update(**{name: getattr(before, name) for name in names})


def copy_into(
    directory: BackupDirectory,
    file_name: str,
    tenant: Tenant,
    source: Source,
    *,
    progress: Progress | None = None,
    deadline: float | None = None,
) -> Fingerprint:
    """Copy the source into the partial, verify it, and return its fingerprint."""
    close_connection()
    # While the snapshot is open, nothing is written to the catalog: if that lies in the very
    # database that is copied, in rollback mode, we would be waiting for ourselves.
    with source() as snapshot:
        directory.require_space(snapshot.size + snapshot.wal_bytes)
        target = directory.create_partial(file_name)
        with directory.as_owner():
            copy = sqlite.open_copy(target)
        with closing(copy):
            snapshot.copy_to(copy, progress=progress, deadline=deadline)
    sign_of_life = directory.sign_of_life(file_name)
    try:
        full = conf.VERIFY == "full"
        if not sqlite.check(target, full=full, deadline=deadline, sign_of_life=sign_of_life):
            logger.info(
                "Some indexes of tenant %r call functions of the host's own, so they were checked "
                "for their structure only.",
                tenant.id,
            )
    except DatabaseDamaged as error:
        raise DatabaseDamaged(
            "The copy of %(database)s is not a sound database, so the database itself is probably "
            "damaged. SQLite says: %(reason)s",
            database=snapshot.database,
            reason=error,
        ) from error
    return sqlite.fingerprint(target, deadline=deadline, sign_of_life=sign_of_life)
