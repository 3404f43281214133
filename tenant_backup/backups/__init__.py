"""The use cases: everything that can be done to a tenant's backups.

The doors (page, admin, tasks, commands) call these and hold no logic of their own. Every failure
is a `BackupError` whose text a person can act on.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, BinaryIO

from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.models import Field, Q, Sum
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop

from tenant_backup import lock, retention, sqlite
from tenant_backup.backups import deletion, folder, index, quota
from tenant_backup.backups.folder import Folder
from tenant_backup.backups.index import Entry
from tenant_backup.chart import Attempt, Outcome
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, BackupInProgress, DatabaseDamaged, RowChanged
from tenant_backup.files import SPACE_MARGIN, BackupDirectory, file_names, made_at, wrong_size
from tenant_backup.models import Backup, BackupSettings, Event, EventKind, Status, Trigger
from tenant_backup.retention import Decision
from tenant_backup.signals import backup_completed, backup_deleted, backup_failed
from tenant_backup.sqlite import Fingerprint, Progress, SignOfLife, Snapshot
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text, joined

logger = logging.getLogger("tenant_backup")

INTERRUPTED = gettext_noop(
    "Interrupted: the process that made this backup ended before it was finished."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest:
    """What is asked for: the fields of a catalog row that its asker decides."""

    trigger: Trigger
    label: str = ""
    pinned: bool = False
    requested_by: str = ""
    slot_at: datetime | None = None
    replaces: int | None = None
    """The backup made by hand that may go when this one is complete, where a limit demands it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long making a backup may take.

    `lock_wait`: seconds to wait while another process is at work on the same tenant.
    `busy_timeout`: seconds to wait for a locked database; None for the setting `BUSY_TIMEOUT`.
    `deadline`: the time of `time.monotonic()` at which to give up; None for never.
    """

    lock_wait: float = 0
    busy_timeout: float | None = None
    deadline: float | None = None


NO_LIMITS = Limits()

Source = Callable[[], AbstractContextManager[Snapshot]]
"""Opens the snapshot that a backup is made of."""

QUIET = timedelta(minutes=3)
"""A running backup that has not moved for this long was probably left by a crash."""

RESUMED_WITHIN = timedelta(days=1)
"""A download that goes on after this long is a new one for the history."""

REQUEST_BUSY_TIMEOUT = 5
"""Seconds that a request waits at most for a locked database."""


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


def request_limits() -> Limits:
    """The limits of a backup for which somebody waits before a browser."""
    return Limits(busy_timeout=min(REQUEST_BUSY_TIMEOUT, conf.BUSY_TIMEOUT))


class _NothingToDo(BackupError):
    """The backup that was to be made is not queued any more."""


def directory_of(tenant: Tenant) -> BackupDirectory:
    owners = (tenant.root, tenant.database)
    return BackupDirectory(tenant.root, conf.DIRECTORY_NAME, owners=owners)


def request(tenant: Tenant, order: BackupRequest) -> Backup:
    """Queue a backup, for `perform` to make later.

    One that is queued already takes the new order on. Raises `BackupInProgress` where one is being
    made, and `LimitReached` where there is no room for one made by hand; a row that a crash left
    `running` is mended first.
    """
    require_no_transaction()
    recover(tenant)
    return _claim(tenant, _admitted(tenant, order))


def create(
    tenant: Tenant,
    order: BackupRequest,
    *,
    limits: Limits = NO_LIMITS,
    progress: Progress | None = None,
) -> BackupResult:
    """Make a backup now, in this process, then prune. A queued one is taken over.

    Raises `BackupInProgress`, and leaves no row, where another process is at work on this tenant
    for longer than `limits.lock_wait`, and `LimitReached`, without a row, too, where there is no
    room for one made by hand; any other `BackupError` is the reason that the failed row has, too.
    """
    is_click = order.trigger == Trigger.MANUAL
    admitted = _admitted(tenant, order)
    claim = partial(_claim, tenant, admitted)
    return _perform(tenant, claim, limits, progress, is_click=is_click)


def _admitted(tenant: Tenant, order: BackupRequest) -> BackupRequest:
    """The order, which replaces something only if it has to."""
    if order.trigger != Trigger.MANUAL:
        return order
    replaces = quota.admit(
        tenant,
        directory_of(tenant),
        database_bytes(tenant),
        replaces=order.replaces,
        actor=order.requested_by,
    )
    return replace(order, replaces=replaces)


def quota_of(tenant: Tenant) -> quota.Quota:
    """How many backups made by hand a tenant has, and whether there is room for another one."""
    return quota.look(tenant, directory_of(tenant), database_bytes(tenant))


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
        rows = Backup.objects.for_tenant(tenant.id).queued()
        try:
            return rows.get(pk=backup_id)
        except Backup.DoesNotExist:
            raise _NothingToDo from None

    try:
        return _perform(tenant, still_queued, limits, progress, is_click=True)
    except _NothingToDo:
        return None


@dataclass(frozen=True, slots=True)
class _Stored:
    """Of a stored backup what retention asks for: a page shall not load thousands of whole rows."""

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
    now = timezone.now()
    good = [row for row in stored if row.is_good and not retention.is_future(row, now)]
    size = good[0].size if good else None
    if next_slot := settings.slot_after(now, tenant.zone):
        # Of then, since it decides whose day or age is over; of now, where one is due.
        is_due = settings.next_run_at and settings.next_run_at <= now
        at = now if is_due else next_slot
        made = _Stored(0, Trigger.AUTOMATIC, pinned=False, created_at=at, size=size)
    else:
        # Made as the last one was: by cron every night, say, or by hand.
        trigger = good[0].trigger if good else Trigger.MANUAL
        made = _Stored(0, trigger, pinned=False, created_at=now, size=size)
    candidates: list[retention.Candidate] = [*stored, made]
    decisions = _decide(tenant, settings.policy, candidates, now=made.created_at)
    return [decision for decision in decisions if not decision.keep]


def attempts_since(tenant: Tenant, since: datetime) -> list[Attempt]:
    """What came of each attempt since then, of those that are not in the catalog any more, too."""
    rows = Backup.objects.for_tenant(tenant.id)
    known = rows.exclude(Backup.ACTIVE).filter(created_at__gte=since)
    good = set(known.good().values_list("pk", flat=True))
    found = [
        Attempt(at, Outcome.GOOD if pk in good else Outcome.FAILED, size)
        for pk, at, size in known.values_list("pk", "created_at", "size")
    ]
    ends = {EventKind.COMPLETED.value: Outcome.REMOVED, EventKind.FAILED.value: Outcome.FAILED}
    events = Event.objects.for_tenant(tenant.id).filter(kind__in=ends, created_at__gte=since)
    gone = events.filter(~Q(backup_id__in=rows.values("pk")))
    return found + [
        Attempt(at, ends[kind], size)
        for at, kind, size in gone.values_list("created_at", "kind", "size")
    ]


@dataclass(frozen=True, slots=True)
class Space:
    """What a tenant's backups take up, in bytes, and how many more fit; None is not known."""

    used: int
    free: int | None
    fits: int | None


def space(tenant: Tenant) -> Space:
    """By the catalog and by `stat` alone."""
    there = Backup.objects.for_tenant(tenant.id).complete().filter(missing_at=None)
    used = there.aggregate(bytes=Sum("size"))["bytes"] or 0
    try:
        free = directory_of(tenant).free_bytes()
    except OSError:
        return Space(used, None, None)
    needed = database_bytes(tenant)
    return Space(used, free, max(0, free - SPACE_MARGIN) // needed if needed else None)


def database_bytes(tenant: Tenant) -> int | None:
    """How large the database and its write-ahead log are; None where there is no database."""
    # stat, never open: to close a database that this process has open would drop its locks.
    try:
        database = tenant.database.resolve()
        size = database.stat().st_size
    except OSError:
        return None
    log = database.with_name(f"{database.name}-wal")
    with suppress(OSError):
        size += log.stat().st_size
    return size


def refuse(backup: Backup, reason: BackupError) -> None:
    """Turn a queued backup that nobody can even begin into a failed one."""
    with _transition(backup):
        backup.refuse(reason)
        Event.record(EventKind.FAILED, backup, actor=backup.requested_by, detail=reason)


def preview(tenant: Tenant, order: BackupRequest) -> Preview:
    """What `create` would need and remove; changes nothing. Raises the `BackupError` it would."""
    directory = directory_of(tenant)
    rows = Backup.objects.for_tenant(tenant.id)
    facts = sqlite.look(tenant.database, busy_timeout=conf.BUSY_TIMEOUT)
    size, needed = facts.size, facts.size + facts.wal_bytes
    directory.require_writable()
    directory.require_space(needed)
    # What the backup would be: the queued one, which it would take over, or a new one.
    made = rows.queued().first() or Backup(pk=0, tenant_id=tenant.id, trigger=order.trigger)
    made.trigger = made.trigger_with(order.trigger)
    made.pinned = made.pinned or order.pinned
    made.status, made.created_at, made.size = Status.COMPLETE, timezone.now(), size
    return Preview(needed + SPACE_MARGIN, directory.free_bytes(), removals(tenant, made))


def recover(tenant: Tenant) -> None:
    """Bring rows that a crash left `running`, or half deleted, to their true state.

    No-op while somebody works. Raises `NotWritable` where the tenant's lock cannot be taken.
    """
    require_no_transaction()
    rows, directory = Backup.objects.for_tenant(tenant.id), directory_of(tenant)
    if rows.running().exists():
        directory.make()
    elif not (rows.being_deleted().exists() and directory.exists()):
        return
    with suppress(BackupInProgress), tenant_lock(tenant, wait=0):
        pass


def is_moving(tenant: Tenant, backup: Backup, now: datetime) -> bool:
    """Whether somebody seems to be at work on a running backup, and it was not left by a crash."""
    # A time to come was written by a clock that was wrong, and says nothing.
    return abs(now - last_progress_at(tenant, backup)) < QUIET


def last_progress_at(tenant: Tenant, backup: Backup) -> datetime:
    """When a running backup was last seen to move: its partial, or else its row, tells."""
    started_at = backup.started_at or backup.created_at
    try:
        changed = directory_of(tenant).partial(backup.file_name).stat().st_mtime
    except (OSError, BackupError):
        return started_at
    return max(started_at, datetime.fromtimestamp(changed, UTC))


def check_files(tenant: Tenant) -> list[Backup]:
    """Look at the tenant's good backups without reading them, and return those that are lost.

    Marked are those whose files are missing, and those whose size or kind shows that they are
    damaged; and what is dated in the future.
    """
    good = Backup.objects.for_tenant(tenant.id).good()
    # The catalog first: what it has by now was published before.
    rows = list(good.values_list("pk", "file_name", "size", "created_at", "future_at"))
    newest_date = timezone.now() + retention.AHEAD
    if any(at > newest_date and not future_at for *_, at, future_at in rows):
        note_future(tenant.id)
    flaws = _flaws(tenant, [(pk, name, size) for pk, name, size, *_ in rows])
    # In bulk, for a database takes only so many numbers in one question.
    lost = [found for _pk, found in sorted(good.in_bulk(flaws).items())]
    for backup in lost:
        _note_flaw(backup, flaws[backup.pk])
    return lost


def _flaws(
    tenant: Tenant, known: Sequence[tuple[int, str, int | None]]
) -> dict[int, DatabaseDamaged | None]:
    """What is wrong with backups, of which key, name and size are known, as far as `stat` tells.

    By their keys; None where the file is missing.
    """
    directory = directory_of(tenant)
    found = directory.sizes({name for _pk, name, _size in known})
    flaws: dict[int, DatabaseDamaged | None] = {}
    for pk, name, size in known:
        if name in found and size in (None, found[name]):
            continue
        # Whoever does not look right is asked for by name, as the file system spells it.
        try:
            if flaw := directory.flaw(name, size):
                flaws[pk] = flaw
        except FileNotFoundError:
            if directory.is_missing(name):
                flaws[pk] = None
        except (OSError, BackupError):
            pass  # It is out of reach, which says nothing of what it is.
    return flaws


def _note_flaw(backup: Backup, flaw: DatabaseDamaged | None) -> None:
    now = timezone.now()
    if flaw is None:
        note_found(backup, EventKind.MISSING, missing_at=now)
    else:
        note_found(backup, EventKind.DAMAGED, flaw, damaged_at=now, missing_at=None)


SEVERAL = 5
"""So many backups dated in the future, and more than all others: the clock of now is doubted."""


def note_future(tenant_id: str | None = None) -> None:
    """Mark for good the complete backups, of one tenant or of all, that are dated in the future.

    The clock was wrong when they were made, so they never count, not even when their time has come.
    Unless there are several and they are the majority: then it is the clock of now that may be
    behind, for a machine often starts with one that is. Nothing is marked then, and while it is so
    they count for nothing anyway.
    """
    now = timezone.now()
    rows = Backup.objects.complete().filter(future_at=None)
    if tenant_id is not None:
        rows = rows.for_tenant(tenant_id)
    ahead: dict[str, list[Backup]] = {}
    for backup in rows.future(now):
        ahead.setdefault(backup.tenant_id, []).append(backup)
    for owner, found in ahead.items():
        others = rows.for_tenant(owner).counted(now).count()
        if len(found) >= SEVERAL and len(found) > others:
            logger.error(
                "Most backups of tenant %r are dated in the future. Is the clock of now behind?",
                owner,
            )
            continue
        for backup in found:
            if rows.filter(pk=backup.pk).update(future_at=now):
                logger.warning(
                    "The backup %s of tenant %r is dated in the future: when it was made, the "
                    "clock was wrong. It is kept and never counts.",
                    backup,
                    owner,
                )


def verify(
    tenant: Tenant,
    backup: Backup,
    *,
    deadline: float | None = None,
    sign_of_life: SignOfLife | None = None,
) -> str:
    """Read a complete backup's file again: its size, its checksum, its integrity.

    Returns what is wrong with it, or nothing, and notes that in the catalog. One that was missing
    or damaged and is right again is good again. Raises `BackupError` where it cannot be told.
    """
    directory, now = directory_of(tenant), timezone.now()
    note_future(tenant.id)
    if directory.is_missing(backup.file_name):
        if not backup.missing_at:
            note_found(backup, EventKind.MISSING, missing_at=now)
        text = gettext("The file %(path)s is missing.")
        return text % {"path": directory.file(backup.file_name)}
    if problem := _damage(directory, backup, deadline, sign_of_life):
        if not backup.damaged_at:
            note_found(backup, EventKind.DAMAGED, problem, damaged_at=now, missing_at=None)
        return str(problem)
    note_found(backup, EventKind.FOUND, verified_at=now, missing_at=None, damaged_at=None)
    _renew_checksum_file(directory, backup)
    return ""


def _renew_checksum_file(directory: BackupDirectory, backup: Backup) -> None:
    """Write the checksum file again where it does not say what the catalog and the file say.

    The backup is good without it, too; but it is what vouches for the file where the catalog is
    lost.
    """
    name, sha256 = backup.file_name, backup.sha256
    if directory.matches_checksum_file(name, sha256):
        return
    try:
        directory.renew_checksum_file(name, sha256)
    except BackupError as error:
        logger.warning("The checksum file of the good backup %s is not right: %s", backup, error)
    else:
        logger.warning("The checksum file of the good backup %s was written again.", backup)


def _damage(
    directory: BackupDirectory,
    backup: Backup,
    deadline: float | None,
    sign_of_life: SignOfLife | None,
) -> DatabaseDamaged | None:
    """What is wrong with the file of a backup, if anything is."""
    file = directory.file(backup.file_name)
    try:
        if difference := _difference(directory, backup, deadline, sign_of_life):
            return difference
        sqlite.check(file, deadline=deadline, sign_of_life=sign_of_life)
    except DatabaseDamaged as error:
        return error
    except OSError as error:
        if error.errno == errno.EIO:
            # So a disk says that it has lost what was written. Somebody is to be told; and should
            # it have been the cable, the backup is there still, and good again when it is read.
            text = "%(path)s is damaged: %(reason)s."
            return DatabaseDamaged(text, path=file, reason=error.strerror)
        raise BackupError(
            "%(path)s cannot be read: %(reason)s.", path=file, reason=error.strerror
        ) from error
    return None


def _difference(
    directory: BackupDirectory,
    backup: Backup,
    deadline: float | None = None,
    sign_of_life: SignOfLife | None = None,
) -> DatabaseDamaged | None:
    """How a backup's file differs from what was made: by its kind, its size, then its checksum.

    Raises `OSError` where it cannot be read.
    """
    if flaw := directory.flaw(backup.file_name, backup.size):
        return flaw
    file = directory.file(backup.file_name)
    if sqlite.fingerprint(file, deadline=deadline, sign_of_life=sign_of_life) == backup.fingerprint:
        return None
    return DatabaseDamaged(
        "%(path)s is damaged: its SHA-256 is not the one that it was made with.", path=file
    )


def note_found(
    backup: Backup, action: EventKind, detail: Text | str = "", **changes: datetime | None
) -> None:
    """Note what was found out about a complete backup's file, in the catalog and the history.

    That a good one is good still is no news for the history.
    """
    is_news = action is not EventKind.FOUND or not backup.is_good
    rows = Backup.objects.complete().filter(pk=backup.pk)
    if action is not EventKind.FOUND:
        # What is being deleted at this moment is not lost.
        rows = rows.filter(deleting_at=None)
    with _catalog_transaction():
        if rows.update(**changes):
            vars(backup).update(changes)
            if is_news:
                Event.record(action, backup, detail=detail)


@dataclass(frozen=True, slots=True)
class Synced:
    """What `sync` found: backups that are missing, found again, adopted; and files it refused.

    `damaged` are those whose size has changed.
    """

    missing: list[Backup]
    found: list[Backup]
    adopted: list[Backup]
    refused: list[str]
    """A sentence for each file that has a backup's name, and is no sound backup."""
    damaged: list[Backup] = field(default_factory=list)
    protected: list[Backup] = field(default_factory=list)
    """Those of which only the folder's index knew that they are pinned or held."""
    forgotten: list[Backup] = field(default_factory=list)
    """Those that were deleted before the catalog was set back."""


def sync(tenant: Tenant) -> Synced:
    """Bring the catalog in line with the files in the tenant's backup directory.

    Nothing but the catalog is touched. Raises `BackupError` where the directory is out of reach,
    since then nothing can be said of what is in it, and `BackupInProgress` where another process
    is at work.
    """
    require_no_transaction()
    directory = directory_of(tenant)
    if not directory.exists():
        if Backup.objects.for_tenant(tenant.id).good().exists():
            raise _out_of_reach(directory)
        return Synced([], [], [], [])
    with _tenant_lock(tenant, wait=conf.BUSY_TIMEOUT) as work:
        lost = check_files(tenant)
        gone = Backup.objects.for_tenant(tenant.id).complete().exclude(missing_at=None)
        back = [backup for backup in gone if not directory.is_missing(backup.file_name)]
        found = [backup for backup in back if not verify(tenant, backup)]
        adopted, refused = adopt_unknown(tenant)
    folder = work.folder
    return Synced(
        missing=[backup for backup in lost if backup.missing_at],
        found=found,
        adopted=work.adopted + adopted,
        refused=refused,
        damaged=[backup for backup in lost if backup.damaged_at],
        protected=folder.protected,
        forgotten=folder.forgotten,
    )


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
    flaws, now = _flaws(tenant, good), timezone.now()
    for row in rows:
        if row.pk in flaws:
            # In these objects alone: retention shall not count on what is lost.
            row.missing_at, row.damaged_at = (now, None) if flaws[row.pk] is None else (None, now)
    return _decide(tenant, policy, [*rows, *more], now=now)


def _decide(
    tenant: Tenant,
    policy: retention.Policy,
    rows: Sequence[retention.C],
    *,
    now: datetime,
) -> list[Decision[retention.C]]:
    return retention.decide(rows, policy, now, tenant.zone)


def prune(tenant: Tenant, *, actor: str = "") -> list[Decision[Backup]]:
    """Delete what the tenant's retention no longer keeps, and return those decisions.

    Nothing is removed on trust: first the newest backup that stays is read again. Raises
    `BackupError`, and nothing is removed, where that cannot be read.

    One file that cannot be removed does not keep the others; the first such error is raised at the
    end. Raises `BackupInProgress` where another process is at work on this tenant for too long.
    """
    require_no_transaction()
    directory = directory_of(tenant)
    if not directory.exists():
        if Backup.objects.for_tenant(tenant.id).good().exists():
            raise _out_of_reach(directory)
        return []
    with _tenant_lock(tenant, wait=conf.BUSY_TIMEOUT) as work:
        return _prune(tenant, work, actor)


def _prune(
    tenant: Tenant, work: _Work, actor: str, just_made: Backup | None = None
) -> list[Decision[Backup]]:
    failures: list[BackupError] = []
    removed = []
    for decision in _safe_removals(tenant, just_made):
        if work.folder.trouble:
            # It may say that somebody wants to keep this one.
            raise work.folder.trouble
        try:
            work.delete(decision.backup, EventKind.PRUNED, actor, joined(*decision.why))
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
        going = [decision for decision in decisions if not decision.keep]
        if not going:
            return []
        now = timezone.now()
        good = (
            decision.backup
            for decision in decisions
            if decision.keep and decision.backup.is_good and not decision.backup.is_future(now)
        )
        newest = next(good, None)
        if newest is None:
            return []
        if (just_made and newest.pk == just_made.pk) or _is_as_made(tenant, newest):
            return going


def _is_as_made(tenant: Tenant, backup: Backup) -> bool:
    """Whether a backup's file is what was made; one that is not is marked.

    Raises `BackupError` where that cannot be told: what cannot be read is not damaged by that.
    """
    directory = directory_of(tenant)
    try:
        flaw = _difference(directory, backup)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and directory.is_missing(backup.file_name):
            _note_flaw(backup, None)
            return False
        raise BackupError(
            "Nothing was removed, since the backup that would stay cannot be read: %(path)s: "
            "%(reason)s.",
            path=directory.file(backup.file_name),
            reason=error.strerror,
        ) from error
    if flaw:
        _note_flaw(backup, flaw)
    return flaw is None


def delete(tenant: Tenant, backup: Backup, *, actor: str = "") -> None:
    """Delete a backup: its file, then its row.

    Raises `BackupError` where it is pinned, queued, running, gone or another tenant's,
    `NotWritable` where the file cannot be removed, and `BackupInProgress` where another process is
    at work on this tenant for some seconds; the row stays then.
    """
    require_no_transaction()
    row = Backup.objects.for_tenant(tenant.id).filter(pk=backup.pk).first()
    if row is None or not row.is_deletable:
        raise deletion.not_deletable(row, backup.pk)
    directory = directory_of(tenant)
    if not row.file_name or (row.missing_at and not directory.exists()):
        deletion.delete_row(tenant.id, row, EventKind.DELETED, actor)
        _announce_deleted(tenant, row)
        return
    if not directory.exists():
        raise _out_of_reach(directory)
    wait = min(REQUEST_BUSY_TIMEOUT, conf.BUSY_TIMEOUT)
    try:
        with _tenant_lock(tenant, wait=wait) as work:
            # It may be one whose deletion a crash had interrupted, and that is gone by now.
            if backup not in work.deleted:
                work.delete(backup, EventKind.DELETED, actor)
    except BackupInProgress as error:
        raise BackupInProgress(
            "A backup of %(tenant)s is being made or restored at this moment, so nothing was "
            "deleted. Try again when that is complete.",
            tenant=tenant.name,
        ) from error


def pin(tenant: Tenant, backup: Backup, *, pinned: bool, actor: str = "") -> None:
    """Pin a backup, so that nothing removes it, or unpin it. Only a good one can be pinned."""
    with _describing(tenant) as is_behind, _catalog_transaction():
        rows = Backup.objects.for_tenant(tenant.id).filter(pk=backup.pk)
        if not (rows.good() if pinned else rows).update(pinned=pinned):
            raise BackupError(
                "Backup %(backup)s is not a good one, so it cannot be pinned.", backup=backup.pk
            )
        if not is_behind:
            folder.note_change(tenant.id)
        if backup.pinned != pinned:
            backup.pinned = pinned
            Event.record(
                EventKind.PINNED if pinned else EventKind.UNPINNED,
                backup,
                actor=actor,
            )


@contextmanager
def _describing(tenant: Tenant) -> Iterator[bool]:
    """Have the folder's index tell of a change of rows that does not wait for the tenant's lock.

    Yields whether the catalog is behind the folder's index all the same. To count a change then
    would hide that; and the index is written anew anyway once the catalog has learned from it.

    Where the lock is free we hold it during the change. Where it is not, its holder writes the
    index: they compare the revisions after they have let the lock go, and we have counted our
    change before we find it taken. Only where that holder is killed, the index is written by
    whoever holds the lock next.
    """
    try:
        require_no_transaction()
    except BackupError:
        yield _is_behind(tenant)
        transaction.on_commit(partial(_describe, tenant), using=conf.CATALOG_DATABASE, robust=True)
        return
    with ExitStack() as stack:
        is_ours = False
        with suppress(BackupError):
            stack.enter_context(_tenant_lock(tenant, wait=0))
            is_ours = True
        yield not is_ours and _is_behind(tenant)
    if not is_ours:
        _describe(tenant)


def _is_behind(tenant: Tenant) -> bool:
    return Folder.of(tenant.id, directory_of(tenant)).is_newer


def _describe(tenant: Tenant) -> None:
    """Write the folder's index where it is stale, unless somebody else is about to.

    What it is about is done by now, so that nothing that fails here is the caller's.
    """
    try:
        with suppress(BackupError), _tenant_lock(tenant, wait=0):
            pass
    except Exception:
        logger.exception("The index of the backups of tenant %r was not written.", tenant.id)


def configure(tenant: Tenant, settings: BackupSettings, *, actor: str = "") -> None:
    """Save a tenant's changed settings; the next run follows them at once.

    Where the schedule is as it was, so is the next run: one that is due now, or tried again soon,
    is not put off.
    """
    with _catalog_transaction():
        saved = BackupSettings.objects.select_for_update().filter(pk=settings.pk).first()
        if saved and (saved.automatic, saved.rule) == (settings.automatic, settings.rule):
            settings.next_run_at = saved.next_run_at
            settings.scheduled_since = saved.scheduled_since
        else:
            settings.scheduled_since = timezone.now()
            settings.next_run_at = settings.slot_after(settings.scheduled_since, tenant.zone)
        fields = [field for field in settings._meta.fields if not field.primary_key]
        theirs = [field.name for field in fields if field.editable]
        changed = [*theirs, "next_run_at", "scheduled_since"] if saved else None
        settings.save(update_fields=changed)
        detail = _changes(saved, settings) if saved else ""
        Event.record(EventKind.CONFIGURED, tenant.id, actor=actor, detail=detail)


def open_file(
    tenant: Tenant,
    backup: Backup,
    *,
    actor: str = "",
    is_resumed: bool = False,
    is_sent: bool = True,
) -> BinaryIO:
    """Open a complete backup's file to be downloaded, and note that in the history.

    One that goes on where it stopped has its line already, where the same person began within a
    day; and what is not sent at all gets none. Raises `BackupError` where there is no file.
    """
    stream = _open(tenant, backup)
    if is_sent and not (is_resumed and _has_begun(backup, actor)):
        Event.record(EventKind.DOWNLOADED, backup, actor=actor)
    return stream


def _has_begun(backup: Backup, actor: str) -> bool:
    """Whether this person has begun to download a backup, so that the rest is no further one."""
    since = timezone.now() - RESUMED_WITHIN
    lines = Event.objects.for_tenant(backup.tenant_id).filter(
        kind=EventKind.DOWNLOADED, backup_id=backup.pk, actor=actor, created_at__gte=since
    )
    return lines.exists()


def _open(tenant: Tenant, backup: Backup) -> BinaryIO:
    row = Backup.objects.for_tenant(tenant.id).complete().filter(pk=backup.pk).first()
    if row is None:
        raise BackupError("Backup %(backup)s has no file.", backup=backup.pk)
    directory = directory_of(tenant)
    stream = directory.open(row.file_name)
    found = os.fstat(stream.fileno()).st_size
    if flaw := wrong_size(directory.file(row.file_name), found, row.size):
        stream.close()
        if not row.damaged_at:
            _note_flaw(row, flaw)
        raise flaw
    return stream


@dataclass(frozen=True, slots=True)
class Table:
    """One table in a backup, and in today's database. None is: not there, or not counted."""

    name: str
    rows: int | None
    rows_today: int | None
    is_in_backup: bool
    is_there_today: bool

    @property
    def has_changed(self) -> bool:
        return self.rows != self.rows_today or self.is_in_backup != self.is_there_today


def contents(tenant: Tenant, backup: Backup, *, seconds: float | None = None) -> list[Table]:
    """What is in a backup, table by table, beside today's database, which may be gone.

    Neither file is disturbed. Counting each takes at most so many seconds. Raises `BackupError`
    where the backup cannot be read.
    """
    _open(tenant, backup).close()  # it is there, and no link to elsewhere
    file = directory_of(tenant).file(backup.file_name)
    then = sqlite.contents(file, deadline=_deadline(seconds))
    try:
        with sqlite.snapshot(
            tenant.database, busy_timeout=REQUEST_BUSY_TIMEOUT, only_look=True
        ) as snapshot:
            today = snapshot.contents(deadline=_deadline(seconds))
    except BackupError as error:
        logger.warning("Today's rows of tenant %r cannot be counted: %s", tenant.id, error)
        today = {}
    return [
        Table(name, then.get(name), today.get(name), name in then, name in today)
        for name in sorted({*then, *today})
    ]


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def without_paths(text: str, tenant: Tenant) -> str:
    """The text with the tenant's own files and folders called by their last name alone.

    Should any other path be left in it, a general sentence stands for the whole.
    """
    folders = [
        directory_of(tenant).path,
        tenant.root,
        tenant.root.parent,
        tenant.database.parent,
    ]
    known = {path for folder in folders for path in (folder, folder.resolve()) if path.name}
    for path in sorted(known, key=lambda path: len(str(path)), reverse=True):
        # First what lies in the folder, then the folder itself, but not one that begins alike.
        text = text.replace(f"{path}{os.sep}", "")
        text = path.name.join(re.split(rf"{re.escape(str(path))}(?![\w-])", text))
    # The name of a time zone has a slash, too, and tells nothing.
    left = text.replace(tenant.zone.key, "")
    if "/" in left or "\\" in left:
        return gettext("There was a technical problem. Ask the operator, who can see the details.")
    return text


def _changes(before: BackupSettings, after: BackupSettings) -> str:
    """What was changed, for the history: "maximum number: 7 → 14, automatic backup: off → on"."""

    def shown(settings: BackupSettings, field: Field[Any, Any]) -> str:
        value = getattr(settings, field.attname)
        if isinstance(value, bool):
            return gettext("on") if value else gettext("off")
        words = dict(field.flatchoices).get(value, value)
        return "-" if words in (None, "") else str(words)

    def change(field: Field[Any, Any]) -> str:
        if field.name == "notify_email":
            # The history is read by more people than the settings.
            return gettext("changed")
        return f"{shown(before, field)} → {shown(after, field)}"

    return ", ".join(
        f"{field.verbose_name}: {change(field)}"
        for field in BackupSettings._meta.fields
        if field.editable and getattr(before, field.attname) != getattr(after, field.attname)
    )


def _perform(
    tenant: Tenant,
    claim: Callable[[], Backup],
    limits: Limits,
    progress: Progress | None,
    *,
    is_click: bool,
) -> BackupResult:
    require_no_transaction()
    # A long copy, or the host's own work before us, may have outlived the connection.
    if not connections[conf.CATALOG_DATABASE].in_atomic_block:
        connections[conf.CATALOG_DATABASE].close_if_unusable_or_obsolete()
    backup = None
    try:
        _prepare(tenant, limits)
        with _tenant_lock(tenant, wait=limits.lock_wait) as work:
            backup = claim()
            work.ended.append(backup)
            _make(tenant, backup, limits, progress, is_click=is_click)
            return _finish(tenant, backup, work)
    except (BackupInProgress, _NothingToDo):
        raise
    except BackupError as error:
        error.backup = backup or _record_failure(tenant, claim, error)
        raise


def _finish(tenant: Tenant, backup: Backup, work: _Work) -> BackupResult:
    """After a success: delete what the new backup replaces, then prune."""
    replaced = None
    try:
        replaced = _replace(tenant, backup, work)
        pruned = _prune(tenant, work, backup.requested_by, just_made=backup)
        return BackupResult(backup, pruned, replaced=replaced)
    except Exception as error:
        # Whatever it is, the backup is there, and nobody shall be told that it failed.
        logger.exception("Pruning the backups of tenant %r failed.", tenant.id)
        text = gettext("The backup is complete, but pruning failed: %(reason)s")
        reason = text % {"reason": _as_backup_error(error)}
        return BackupResult(backup, prune_error=reason, replaced=replaced)


def _replace(tenant: Tenant, backup: Backup, work: _Work) -> Backup | None:
    """Delete what a new, complete backup was to replace, unless that is protected by now."""
    old = quota.to_replace(tenant, backup.replaces)
    if old is None:
        return None
    if work.folder.trouble:
        # It may say that somebody wants to keep this one.
        raise work.folder.trouble
    why = Text("It was replaced by backup %(backup)d.", backup=backup.pk)
    try:
        work.delete(old, EventKind.DELETED, backup.requested_by, why)
    except RowChanged:
        return None  # Somebody has pinned or deleted it at this very moment.
    return old


def _prepare(tenant: Tenant, limits: Limits) -> None:
    """Make the backup directory, but not for a database that could not be copied anyway."""
    directory = directory_of(tenant)
    if not directory.exists():
        sqlite.look(tenant.database, busy_timeout=_busy_timeout(limits))
    directory.make()


def _record_failure(
    tenant: Tenant, claim: Callable[[], Backup], reason: BackupError
) -> Backup | None:
    """Leave a failed row where not even the lock could be taken: no failure may be a silent one."""
    with suppress(BackupError):
        backup = claim()
        refuse(backup, reason)
        _announce(tenant, backup)
        return backup
    return None


@dataclass(slots=True)
class _Work:
    """What the holder of a tenant's lock has found and done."""

    tenant: Tenant
    folder: Folder
    ended: list[Backup] = field(default_factory=list)
    """Backups that came to their end, to be announced."""
    deleted: list[Backup] = field(default_factory=list)
    """Backups that are gone, to be announced."""
    adopted: list[Backup] = field(default_factory=list)
    """Backups that have got their row back from the folder's index."""

    def delete(self, backup: Backup, action: EventKind, actor: str, why: Text | str = "") -> None:
        deletion.delete(self.tenant.id, self.folder.directory, backup, action, actor, why)
        self.deleted.append(backup)


@contextmanager
def tenant_lock(tenant: Tenant, *, wait: float) -> Iterator[list[Backup]]:
    """Hold the tenant's lock, with the rows mended that a crash left `running` or half deleted.

    The backups that the caller adds to the list are announced, as the mended ones are, when the
    lock is free again: receivers of our signals may be slow, or ask for another backup.
    """
    with _tenant_lock(tenant, wait=wait) as work:
        yield work.ended


@contextmanager
def _tenant_lock(tenant: Tenant, *, wait: float) -> Iterator[_Work]:
    directory = directory_of(tenant)
    work: _Work | None = None
    try:
        with lock.hold(directory, wait=wait):
            # First of all, for what is mended changes the revision.
            work = _Work(tenant, Folder.of(tenant.id, directory))
            work.ended += recover_running(tenant)
            work.deleted += deletion.recover(tenant.id, directory)
            _learn_from(work)
            try:
                yield work
            finally:
                _write_index(work)
    finally:
        for backup in work.ended if work else ():
            _announce(tenant, backup)
        for backup in work.deleted if work else ():
            _announce_deleted(tenant, backup)
        if work and _is_stale(work):
            _describe(tenant)


def _learn_from(work: _Work) -> None:
    """Let the catalog know what the folder's index knows and it does not.

    Whatever is wrong with the folder keeps nobody from a backup; but nothing is pruned then.
    """
    folder = work.folder
    try:
        folder.tell_catalog()
        described = folder.index.entries if folder.index else {}
        if described:
            work.adopted += adopt_unknown(work.tenant, among=described)[0]
        folder.conclude()
    except Exception as error:
        logger.exception("The index of the backups of tenant %r is left.", work.tenant.id)
        folder.trouble = _as_backup_error(error)


def _write_index(work: _Work) -> None:
    try:
        work.folder.describe()
    except Exception:
        # Whoever holds the lock next writes it.
        logger.exception("The index of the backups of tenant %r was not written.", work.tenant.id)
        work.folder.could_not_write = True


def _is_stale(work: _Work) -> bool:
    """Whether somebody has pinned a backup since we wrote the index, and found the lock taken."""
    try:
        return work.folder.is_stale()
    except DatabaseError:
        return False  # Whoever holds the lock next writes it.


def learn_from_folder(tenant: Tenant) -> None:
    """Let a catalog that was just set back know what the folder's index knows.

    The lock's holder calls it, whatever the revisions are by now.
    """
    folder = Folder.of(tenant.id, directory_of(tenant))
    folder.is_newer = folder.index is not None
    work = _Work(tenant, folder)
    _learn_from(work)
    _write_index(work)


def recover_running(tenant: Tenant) -> list[Backup]:
    """Bring the rows that a crash left `running` to their true state; the lock's holder calls it.

    A row without a fingerprint may have a file all the same: where the catalog was the very
    database that was restored, it could not be written to when the safety copy was published, and
    holds the state of then when it is back. Such a file's companion vouches for it.
    """
    directory = directory_of(tenant)
    rows = list(Backup.objects.for_tenant(tenant.id).running())
    for backup in rows:
        logger.warning("Mending backup %s of tenant %r.", backup.pk, tenant.id)
        if not backup.fingerprint and (
            copy := directory.fingerprint_by_checksum_file(backup.file_name)
        ):
            backup.record_copy(copy)
        _finalise(directory, backup, BackupError(INTERRUPTED))
    return rows


def begin(tenant: Tenant, order: BackupRequest) -> Backup:
    """The `running` row of a backup that the lock's holder makes by itself."""
    backup = _claim(tenant, order)
    now = timezone.now()
    backup.start(_free_name(tenant, directory_of(tenant), now), at=now)
    return backup


def take_back(backup: Backup, before: Backup | None) -> None:
    """Undo `begin` where nothing was made, as if it had never been called.

    `before` is the queued row that was taken over, as it was then.
    """
    row = Backup.objects.running().filter(pk=backup.pk, file_name=backup.file_name)
    if before:
        row.update(
            **{
                field.attname: getattr(before, field.attname)
                for field in Backup._meta.concrete_fields
                if not field.primary_key
            }
        )
    else:
        row.delete()


def make_from(source: Source, tenant: Tenant, order: BackupRequest, ended: list[Backup]) -> Backup:
    """Make a backup of what the caller, who holds the lock, reads; raises as `create` does.

    The caller's list of `at_work` gets the row.
    """
    backup = _claim(tenant, order)
    ended.append(backup)
    try:
        _make(tenant, backup, NO_LIMITS, None, source)
    except BackupError as error:
        error.backup = backup
        raise
    return backup


def adopt_unknown(
    tenant: Tenant,
    orders: Mapping[str, BackupRequest] | None = None,
    *,
    among: Collection[str] | None = None,
) -> tuple[list[Backup], list[str]]:
    """Give a row to each sound file in the backup directory that the catalog does not know.

    The lock's holder calls it. A file is one of ours by its name; where it has a companion, that
    must agree. Of those named in `orders` it is known what asked for them; of others the folder's
    index may tell; the rest are adopted. Returns the new rows, and a sentence about each file that
    is no sound backup. `among` are the only names to look at.
    """
    directory = directory_of(tenant)
    rows = Backup.objects.for_tenant(tenant.id)
    known = set(rows.exclude(file_name="").values_list("file_name", flat=True))
    adopted, refused = [], []
    unknown = {path.name for path in directory.path.iterdir()} - known
    if among is not None:
        unknown &= set(among)
    if not unknown:
        return [], []
    described = _described(tenant, directory)
    # In the order in which they were made: of one second the longer name is the later one.
    for name in sorted(unknown, key=lambda name: (len(name), name)):
        at = made_at(tenant.id, name)
        if not at:
            continue
        try:
            entry = described.get(name)
            if among is not None and not (entry and directory.is_of_size(name, entry.size)):
                continue
            copy = directory.recognise(name)
            if entry and entry.fingerprint != copy:
                entry = None
            if among is not None and not entry:
                continue
            _require_not_anothers(tenant, directory, name, copy)
            sqlite.check(directory.file(name))
        except BackupError as error:
            refused.append(str(error))
            continue
        order = (orders or {}).get(name) or _order_of(entry)
        hold = entry.hold if entry else None
        # The index may say which part of the second it was, but make no backup newer or older.
        if entry and entry.created_at.replace(microsecond=0) == at:
            at = entry.created_at
        with _catalog_transaction():
            backup = rows.create(
                tenant_id=tenant.id,
                status=Status.COMPLETE,
                trigger=order.trigger,
                label=order.label,
                pinned=order.pinned,
                requested_by=order.requested_by,
                slot_at=order.slot_at,
                hold_reason=hold.reason if hold else "",
                held_until=hold.until if hold else None,
                file_name=name,
                size=copy.size,
                sha256=copy.sha256,
                created_at=at,
                finished_at=at,
                verified_at=timezone.now(),
            )
            folder.note_change(tenant.id)
            if order.trigger == Trigger.ADOPTED:
                Event.record(EventKind.ADOPTED, backup)
            elif name not in (orders or {}):
                detail = Text("Its trigger and label come from the index of the backup folder.")
                Event.record(EventKind.ADOPTED, backup, detail=detail)
        adopted.append(backup)
    return adopted, refused


def _described(tenant: Tenant, directory: BackupDirectory) -> Mapping[str, Entry]:
    """What the folder's index says of its files, by their names."""
    with suppress(BackupError):
        if found := index.read(directory, tenant.id):
            return found.entries
    return {}


def _order_of(entry: Entry | None) -> BackupRequest:
    if not entry:
        return BackupRequest(trigger=Trigger.ADOPTED)
    return BackupRequest(trigger=entry.trigger, label=entry.label, pinned=entry.pinned)


def _require_not_anothers(
    tenant: Tenant, directory: BackupDirectory, name: str, copy: Fingerprint
) -> None:
    """Raise `BackupError` where the catalog knows this very file as another tenant's alone."""
    rows = Backup.objects.filter(sha256=copy.sha256, size=copy.size)
    # By name and content it is theirs, whatever lies beside it: the two have one folder.
    theirs = rows.exclude(tenant_id=tenant.id).filter(file_name=name)
    owners = set(theirs.values_list("tenant_id", flat=True))
    if not owners and not directory.checksum_file(name).exists():
        # With one, which agrees, it was made here: two tenants may have equal data. Whoever put a
        # file into a folder need not have known whose it is.
        owners = set(rows.exclude(trigger=Trigger.ADOPTED).values_list("tenant_id", flat=True))
    if owners and tenant.id not in owners:
        raise BackupError(
            "%(path)s is a backup of tenant %(tenant)r.",
            path=directory.file(name),
            tenant=min(owners),
        )


def _claim(tenant: Tenant, order: BackupRequest) -> Backup:
    """The queued row that answers this order: the one that is there, or a new one."""
    rows = Backup.objects.for_tenant(tenant.id)
    active = rows.active().first()
    if active is None:
        with suppress(IntegrityError), _catalog_transaction():
            return rows.create(
                tenant_id=tenant.id,
                trigger=order.trigger,
                label=order.label,
                pinned=order.pinned,
                requested_by=order.requested_by,
                slot_at=order.slot_at,
                replaces=order.replaces,
            )
        # Somebody else was faster.
        active = rows.active().first()
    if active is None or active.status == Status.RUNNING:
        raise BackupInProgress(
            "A backup of %(tenant)s is being made at this moment.", tenant=tenant.name
        )
    try:
        active.take_over(
            trigger=order.trigger,
            label=order.label,
            pinned=order.pinned,
            requested_by=order.requested_by,
            replaces=order.replaces,
        )
    except RowChanged as error:
        raise BackupInProgress(
            "A backup of %(tenant)s has been begun at this moment.", tenant=tenant.name
        ) from error
    return active


def _make(
    tenant: Tenant,
    backup: Backup,
    limits: Limits,
    progress: Progress | None,
    source: Source | None = None,
    *,
    is_click: bool = False,
) -> None:
    """Bring a queued row to `complete` with its file, or to `failed` with the reason raised.

    What is copied is the tenant's database, unless a source says otherwise. For what only a click
    asked for, there must still be room.
    """
    source = source or _source(tenant, limits)
    directory = directory_of(tenant)
    now = timezone.now()
    backup.start(_free_name(tenant, directory, now), at=now)
    try:
        if is_click and quota.binds(backup):
            needed, chosen = database_bytes(tenant), backup.replaces
            # There may be room by now, and then nothing has to go.
            backup.replaces = quota.require(tenant, directory, needed, replaces=chosen)
        copy = copy_into(directory, backup.file_name, tenant, source, limits, progress)
        backup.record_copy(copy)
        directory.publish(backup.file_name, copy.sha256)
        _complete(backup)
    except BaseException as error:
        reason = _as_backup_error(error)
        if isinstance(error, Exception) and error is not reason:
            logger.exception("Making backup %s of tenant %r failed.", backup.pk, tenant.id)
        try:
            completed = _finalise(directory, backup, reason)
        except DatabaseError:
            logger.exception(
                "Backup %s of tenant %r stays marked as running until the next one is asked for.",
                backup.pk,
                tenant.id,
            )
            completed = False
        if not isinstance(error, Exception):
            raise
        if not completed:
            raise reason from error


def _source(tenant: Tenant, limits: Limits) -> Source:
    return partial(sqlite.snapshot, tenant.database, busy_timeout=_busy_timeout(limits))


def copy_into(
    directory: BackupDirectory,
    file_name: str,
    tenant: Tenant,
    source: Source,
    limits: Limits = NO_LIMITS,
    progress: Progress | None = None,
) -> Fingerprint:
    """Copy the source into the partial, verify it, and say what it is recognised by."""
    # The catalog's server may end a connection that is idle for as long as the copy takes.
    if not connections[conf.CATALOG_DATABASE].in_atomic_block:
        connections[conf.CATALOG_DATABASE].close()
    # Between the snapshot and its end nothing is written to the catalog: where it lies in the very
    # database that is copied, in rollback mode, we would be waiting for ourselves.
    with source() as snapshot:
        directory.require_space(snapshot.size + snapshot.wal_bytes)
        target = directory.create_partial(file_name)
        with directory.as_owner():
            copy = sqlite.open_copy(target)
        with closing(copy):
            snapshot.copy_to(copy, progress=progress, deadline=limits.deadline)
    sign_of_life = directory.sign_of_life(file_name)
    try:
        full = conf.VERIFY == "full"
        if not sqlite.check(target, full=full, deadline=limits.deadline, sign_of_life=sign_of_life):
            logger.info(
                "Some indexes of tenant %r call functions of the host's own, so they were checked "
                "for their structure only.",
                tenant.id,
            )
    except DatabaseDamaged as error:
        raise DatabaseDamaged(
            "The copy of %(database)s is no sound database, so the database itself is probably "
            "damaged. SQLite says: %(reason)s",
            database=snapshot.database,
            reason=error,
        ) from error
    return sqlite.fingerprint(target, deadline=limits.deadline, sign_of_life=sign_of_life)


def _free_name(tenant: Tenant, directory: BackupDirectory, at: datetime) -> str:
    """The first of the names for this moment that neither the disk nor the catalog knows."""
    rows = Backup.objects.for_tenant(tenant.id)
    return next(
        name
        for name in file_names(tenant.id, at)
        if directory.is_free(name) and not rows.filter(file_name=name).exists()
    )


def _finalise(directory: BackupDirectory, backup: Backup, reason: BackupError) -> bool:
    """Bring a `running` row to its true state: complete if its file is published, else failed.

    Whether it is complete. What cannot be read or tidied up is said in the row, and keeps it from
    nothing: a row that stayed `running` would be in everybody's way.
    """
    troubles: list[BackupError] = []
    is_published = False
    try:
        if backup.fingerprint and directory.holds(backup.file_name, backup.fingerprint):
            is_published = True
            directory.finish(backup.file_name)
            _complete(backup)
            return True
    except BackupError as error:
        troubles.append(error)
    # What is published keeps its checksum, whatever became of the row.
    if not is_published:
        try:
            directory.withdraw(backup.file_name, backup.sha256)
        except BackupError as error:
            troubles.append(error)
    _fail(backup, joined(reason, *troubles))
    return False


def _complete(backup: Backup) -> None:
    with _transition(backup):
        backup.complete()
        folder.note_change(backup.tenant_id)
        Event.record(EventKind.COMPLETED, backup, actor=backup.requested_by)


def _fail(backup: Backup, reason: Text) -> None:
    with _transition(backup):
        backup.fail(reason)
        Event.record(EventKind.FAILED, backup, actor=backup.requested_by, detail=reason)


@contextmanager
def _transition(backup: Backup) -> Iterator[None]:
    """Change a row and write the history, or neither, in the object as in the catalog."""
    before = dict(vars(backup))
    try:
        with _catalog_transaction():
            yield
    except BaseException:
        vars(backup).update(before)
        raise


def _as_backup_error(error: BaseException) -> BackupError:
    if isinstance(error, BackupError):
        return error
    if isinstance(error, Exception):
        return BackupError(
            "Unexpected error: %(kind)s: %(reason)s", kind=type(error).__name__, reason=error
        )
    return BackupError(INTERRUPTED)


def _announce(tenant: Tenant, backup: Backup) -> None:
    """Tell the host what became of a backup."""
    if backup.status == Status.COMPLETE:
        backup_completed.send_robust(Backup, tenant=tenant, backup=backup)
    elif backup.status == Status.FAILED:
        backup_failed.send_robust(Backup, tenant=tenant, backup=backup)


def _announce_deleted(tenant: Tenant, backup: Backup) -> None:
    backup_deleted.send_robust(Backup, tenant=tenant, backup=backup)


def _out_of_reach(directory: BackupDirectory) -> BackupError:
    return BackupError("%(path)s is not there, or out of reach.", path=directory.path)


def _busy_timeout(limits: Limits) -> float:
    return conf.BUSY_TIMEOUT if limits.busy_timeout is None else limits.busy_timeout


def _catalog_transaction() -> transaction.Atomic:
    return transaction.atomic(using=conf.CATALOG_DATABASE)


def require_no_transaction() -> None:
    """Refuse to work where our rows could be rolled back: files cannot be."""
    if connections[conf.CATALOG_DATABASE].in_atomic_block:
        try:
            # What Django's own TestCase opens is no transaction in this sense.
            with transaction.atomic(using=conf.CATALOG_DATABASE, durable=True):
                pass
        except RuntimeError:
            raise BackupError(
                "Backups cannot be made or deleted inside a database transaction of the catalog's "
                "database, since a rollback would part the files from their rows."
            ) from None
