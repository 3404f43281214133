"""Which backup to restore: the list to choose from, the newest, or a named one; and whose it is."""

import logging
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from django.db import DatabaseError
from django.utils import timezone

from tenant_backup import backups, files
from tenant_backup.command_lines import command
from tenant_backup.exceptions import BackupError, BackupNotFound
from tenant_backup.models import Backup, BackupQuerySet, Status, Trigger
from tenant_backup.restore import own_catalog
from tenant_backup.sqlite import Fingerprint
from tenant_backup.tenants import Tenant, list_tenants
from tenant_backup.texts import Text

logger = logging.getLogger("tenant_backup")

LONGEST_ID = 18
"""Digits. A longer number is too large for a row's id."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The backup to restore. `backup` is its row; None for a file that the catalog doesn't know."""

    tenant: Tenant
    file: Path
    backup: Backup | None = None


class Origin(Enum):
    """Whose backup a file is, by the catalog or by the folder that it lies in."""

    OWN = "own"
    OTHER = "other"
    UNKNOWN = "unknown"


def candidates(tenant: Tenant) -> list[Backup]:
    """The tenant's good backups, newest first; at the end those that are dated in the future.

    Raises `BackupError` if the catalog lies in the tenant's database and is damaged.
    """
    good, now = _good(tenant), timezone.now()
    return [*good.counted(now), *good.future(now)]


def newest(tenant: Tenant) -> Choice:
    """The newest good backup, but no safety copy and none that is dated in the future.

    A safety copy holds the state that somebody wanted to leave; and after a restore that was
    killed, it is the newest of all. Raises `BackupNotFound`, and `BackupError` as `candidates`.
    """
    good, now = _good(tenant), timezone.now()
    backup = good.counted(now).exclude(trigger=Trigger.RESTORE).first()
    if backup is None and (ahead := good.future(now).first()):
        raise BackupNotFound(
            "All good backups of %(tenant)r are dated in the future, so it is unclear which one is "
            "the newest. Look at their contents (manage.py listbackups --contents) and name the "
            "one you want, such as %(backup)s.",
            tenant=tenant.id,
            backup=str(ahead),
        )
    if backup is None:
        raise BackupNotFound("There is no good backup of %(tenant)r.", tenant=tenant.id)
    if backup.trigger == Trigger.ADOPTED:
        raise BackupNotFound(
            "The newest backup, %(backup)s, was found on disk and may be the safety copy of a "
            "restore. Look at the contents of the backups (manage.py listbackups --contents) and "
            "name the one you want.",
            backup=str(backup),
        )
    return _of_row(tenant, backup)


def find(tenant: Tenant, text: str) -> Choice:
    """The backup with this id, with this file name, or in the file at this path.

    Digits only are an id, a text with a slash is a path. Raises `BackupNotFound`.
    """
    if os.sep in text or (os.altsep and os.altsep in text):
        return _at_path(tenant, Path(text).absolute())
    is_id = text.isascii() and text.isdigit()
    if not is_id and not own_catalog.is_usable(tenant):
        return _at_path(tenant, backups.directory_of(tenant).file(text))
    _require_catalog(tenant)
    rows = Backup.objects.for_tenant(tenant.id)
    if is_id:
        backup = rows.filter(pk=int(text)).first() if len(text) <= LONGEST_ID else None
    else:
        backup = rows.filter(file_name=text).first() if text else None
    if backup is None:
        raise BackupNotFound(
            "%(tenant)r has no backup %(backup)s. See manage.py listbackups.",
            tenant=tenant.id,
            backup=text,
        )
    if backup.status != Status.COMPLETE:
        raise BackupNotFound(
            "Backup %(backup)d is %(status)s, so it has no file.",
            backup=backup.pk,
            status=backup.get_status_display(),
        )
    return _of_row(tenant, backup)


def origin_of(choice: Choice, fingerprint: Fingerprint) -> tuple[Origin, str]:
    """Whose backup this is, and if it is another tenant's, that tenant's id."""
    if choice.backup and choice.backup.trigger != Trigger.ADOPTED:
        return Origin.OWN, ""
    owners: set[str] = set()
    if own_catalog.is_usable(choice.tenant):
        owners = backups.owners_of(fingerprint)
    owners = owners or _owners_by_folder(choice.file.parent)
    if choice.tenant.id in owners:
        return Origin.OWN, ""
    return (Origin.OTHER, min(owners)) if owners else (Origin.UNKNOWN, "")


def _owners_by_folder(folder: Path) -> set[str]:
    """The tenant whose backup directory this is."""
    paths = {tenant.id: backups.directory_of(tenant).path for tenant in list_tenants().tenants}
    return {id_ for id_, path in paths.items() if path.is_dir() and folder.samefile(path)}


def _good(tenant: Tenant) -> BackupQuerySet:
    """The good backups, newest first; before, note which files are missing or damaged."""
    _require_catalog(tenant)
    try:
        backups.check_files(tenant)
    except DatabaseError:
        # A catalog that cannot be written does not stop a restore.
        logger.exception("What was found out about the backups of %r was not noted.", tenant.id)
    return Backup.objects.for_tenant(tenant.id).good().newest_first()


def _require_catalog(tenant: Tenant) -> None:
    """Recover the tenant's rows.

    Raises `BackupError` if the catalog lies in the damaged database. The error names the files
    that can still be restored.
    """
    if own_catalog.is_usable(tenant):
        # In a catalog that was restored, the row of its own backup is still `running`.
        backups.recover(tenant)
        return
    directory = backups.directory_of(tenant)
    names = sorted(path.name for path in directory.path.iterdir()) if directory.exists() else []
    ours = [name for name in names if files.made_at(tenant.id, name)]
    raise BackupError(
        "The catalog is in %(database)s, which cannot be read. Name the file of a backup instead: "
        "%(command)s. Backups in %(folder)s: %(files)s.",
        database=tenant.database,
        command=command("restorebackup", tenant.id, "FILE"),
        folder=directory.path,
        files=", ".join(ours) or Text("none"),
    )


def _of_row(tenant: Tenant, backup: Backup) -> Choice:
    return Choice(tenant, backups.directory_of(tenant).file(backup.file_name), backup)


def _at_path(tenant: Tenant, path: Path) -> Choice:
    """The file at this path, with its row if it is one of the tenant's own backups."""
    directory = backups.directory_of(tenant)
    if not path.is_file():
        raise BackupNotFound("There is no file %(path)s.", path=path)
    if directory.path.is_dir() and path.parent.samefile(directory.path):
        path = directory.file(path.name)
        if own_catalog.is_usable(tenant):
            rows = Backup.objects.for_tenant(tenant.id).complete()
            return Choice(tenant, path, rows.filter(file_name=path.name).first())
    return Choice(tenant, path)
