"""How much a tenant's backups take up, and how much those made by hand may take up.

No tenant's clicks may harm another tenant, and a backup that somebody made by hand is never removed
automatically. So clicks must leave a part of the disk free, and there are limits to the number of
such backups (`MAX_MANUAL`) and to the bytes of a tenant (`MAX_BYTES`). All this is judged by the
catalog and by `stat` alone. Sizes are in bytes; None is not known.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import timedelta

from django.db.models import Count, Q, Sum
from django.utils import timezone

from tenant_backup.backups.folder import directory_of
from tenant_backup.backups.yielding import Yielding, bytes_freed, yielding
from tenant_backup.conf import conf
from tenant_backup.contact import after_the_operator
from tenant_backup.exceptions import LimitReached
from tenant_backup.files import SPACE_MARGIN, size_in_words
from tenant_backup.models import (
    Backup,
    BackupQuerySet,
    Event,
    EventKind,
    Hold,
    HoldKind,
    Status,
    Trigger,
)
from tenant_backup.retention import Stored, exemption_of, floor_of, is_future
from tenant_backup.tenants import Tenant

RESERVED_SHARE = 20
"""Clicks leave one part in so many of the disk free: 5 %."""

RESERVED_MOST = 5 * 1024**3
"""Bytes that clicks leave free at most, beside the margin that every backup leaves."""

LINES_APART = timedelta(minutes=1)
"""Within this time, the history gets only one line that says that a person was refused."""

HAS_FILE = Q(status=Status.COMPLETE, missing_at=None)


@dataclass(frozen=True, slots=True)
class Space:
    """What a tenant's backups take up, what is free, and how many more fit."""

    used: int
    free: int | None
    fits: int | None


@dataclass(frozen=True, slots=True)
class Quota:
    """How many backups made by hand a tenant has, and whether a click makes another one."""

    number: int
    limit: int
    refusal: LimitReached | None
    """Why a click makes none, or none without replacing the oldest."""
    oldest: Backup | None
    """What a click may replace, if that makes enough room."""

    @property
    def is_nearly_used_up(self) -> bool:
        return self.number * 5 >= self.limit * 4


def space(tenant: Tenant) -> Space:
    used = _with_files(tenant).aggregate(bytes=Sum("size"))["bytes"] or 0
    try:
        free = directory_of(tenant).free_bytes()
    except OSError:
        return Space(used, None, None)
    needed = database_bytes(tenant)
    return Space(used, free, max(0, free - SPACE_MARGIN) // needed if needed else None)


def database_bytes(tenant: Tenant) -> int | None:
    """How large the database and its write-ahead log are; None if there is no database."""
    # stat, never open: to close a database that this process has open would drop its locks.
    try:
        database = tenant.database.resolve()
        size = database.stat().st_size
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        return None
    with suppress(OSError):
        size += database.with_name(f"{database.name}-wal").stat().st_size
    return size


def stored_backups(tenant: Tenant) -> list[Stored]:
    """The tenant's backups that have a file, newest first."""
    rows = _with_files(tenant).newest_first()
    return [Stored(*row) for row in rows.values_list(*(field.name for field in fields(Stored)))]


def quota_of(tenant: Tenant) -> Quota:
    by_hand = Backup.objects.for_tenant(tenant.id).filter(trigger=Trigger.MANUAL)
    numbers = by_hand.aggregate(
        made=Count("pk", filter=HAS_FILE), waiting=Count("pk", filter=Backup.ACTIVE)
    )
    refusal = _refusal(tenant, numbers["made"])
    oldest = _replaceable(tenant).order_by("created_at", "pk").first() if refusal else None
    if oldest and _refusal(tenant, numbers["made"], without=oldest):
        oldest = None
    return Quota(numbers["made"] + numbers["waiting"], conf.MAX_MANUAL, refusal, oldest)


def admit(tenant: Tenant, *, replaces: int | None, actor: str) -> int | None:
    """Let a click make a backup, and return which one it is to replace, if it has to.

    Raises `LimitReached` if there is no room, which leaves a line in the history.
    """
    try:
        return require(tenant, replaces=replaces)
    except LimitReached as refusal:
        now = timezone.now()
        lines = Event.objects.for_tenant(tenant.id).filter(kind=EventKind.REFUSED, actor=actor)
        if not lines.filter(created_at__range=(now - LINES_APART, now)).exists():
            Event.record(EventKind.REFUSED, tenant.id, actor=actor, detail=refusal)
        raise


def require(tenant: Tenant, *, replaces: int | None) -> int | None:
    """As `admit`, without a line in the history."""
    number = _made_by_hand(tenant).count()
    refusal = _refusal(tenant, number)
    if refusal is None:
        return None
    chosen = to_replace(tenant, replaces)
    if chosen is None or _refusal(tenant, number, without=chosen):
        raise refusal
    return chosen.pk


def to_replace(tenant: Tenant, backup_id: int | None) -> Backup | None:
    """The tenant's backup of this id, if it was made by hand and nothing protects it."""
    return _replaceable(tenant).filter(pk=backup_id).first() if backup_id else None


def _with_files(tenant: Tenant) -> BackupQuerySet:
    return Backup.objects.for_tenant(tenant.id).filter(HAS_FILE)


def _made_by_hand(tenant: Tenant) -> BackupQuerySet:
    return _with_files(tenant).filter(trigger=Trigger.MANUAL)


def _replaceable(tenant: Tenant) -> BackupQuerySet:
    return _made_by_hand(tenant).not_held(timezone.now()).filter(pinned=False)


def is_short(tenant: Tenant, *, is_click: bool, with_yielding: bool) -> bool:
    """Whether there is too little room for the next backup, on the disk or by `MAX_BYTES`.

    Clicks must leave more. `with_yielding` counts as room what is held for lost rows alone.
    """
    needed, stored = database_bytes(tenant), _without_holds(tenant, with_yielding)
    if is_click:
        return bool(
            _by_the_disk(tenant, needed, stored) or _by_their_bytes(tenant, needed, None, stored)
        )
    try:
        free = directory_of(tenant).free_bytes()
    except OSError:
        return False  # Making the backup says what is wrong.
    free += bytes_freed(tenant, stored, timezone.now())
    return needed is not None and free < needed + SPACE_MARGIN


def _without_holds(tenant: Tenant, with_yielding: bool) -> Yielding:
    is_held = Hold.objects.for_tenant(tenant.id).filter(kind=HoldKind.LOSS).exists()
    if conf.MAX_BYTES is None and not is_held:
        return Yielding()  # Nobody asks what there is: a page need not load thousands of rows.
    stored = stored_backups(tenant)
    return yielding(tenant, stored, timezone.now()) if with_yielding else Yielding((), stored)


def _refusal(tenant: Tenant, number: int, without: Backup | None = None) -> LimitReached | None:
    """Why no further backup may be made by hand, if `without` were deleted afterwards.

    What is held for lost rows alone does not count: it gives way when the backup is made.
    """
    needed, stored = database_bytes(tenant), _without_holds(tenant, with_yielding=True)
    return (
        _by_the_disk(tenant, needed, stored)
        or _by_their_number(tenant, number, without)
        or _by_their_bytes(tenant, needed, without, stored)
    )


def _by_the_disk(tenant: Tenant, needed: int | None, stored: Yielding) -> LimitReached | None:
    directory = directory_of(tenant)
    try:
        free, size = directory.free_bytes(), directory.disk_bytes()
    except OSError:
        return None  # Making the backup says what is wrong.
    reserved = min(size // RESERVED_SHARE, RESERVED_MOST) + SPACE_MARGIN
    if needed is None or free + bytes_freed(tenant, stored, timezone.now()) >= needed + reserved:
        return None
    return LimitReached(
        "There is not enough room on the disk: the backup needs %(needed)s, %(free)s are free, and "
        "backups made by hand must leave %(reserved)s free. Delete backups that nobody needs, or "
        "ask the operator%(contact)s for a larger disk.",
        contact=after_the_operator(),
        needed=size_in_words(needed),
        free=size_in_words(free),
        reserved=size_in_words(reserved),
    )


def _by_their_number(tenant: Tenant, number: int, without: Backup | None) -> LimitReached | None:
    # To replace one leaves their number as it is, which may be above a limit that was lowered.
    if without or number < conf.MAX_MANUAL:
        return None
    values = {"number": number, "limit": conf.MAX_MANUAL}
    if _replaceable(tenant).exists():
        return LimitReached(
            "The limit for backups made by hand is reached: %(number)d of %(limit)d. Delete one "
            "that nobody needs, or choose that the new one replaces the oldest.",
            **values,
        )
    return LimitReached(
        "The limit for backups made by hand is reached: %(number)d of %(limit)d, and all of them "
        "are pinned or held. Unpin and delete one that nobody needs.",
        **values,
    )


def _by_their_bytes(
    tenant: Tenant, needed: int | None, without: Backup | None, stored: Yielding
) -> LimitReached | None:
    if conf.MAX_BYTES is None or needed is None:
        return None
    kept = _bytes_that_stay(tenant, stored.stored, without)
    if kept + needed <= conf.MAX_BYTES:
        return None
    return LimitReached(
        "The backups of %(tenant)s may take up %(limit)s. Those that are not removed automatically "
        "take up %(kept)s, and the new one needs %(needed)s. Delete backups that nobody needs, or "
        "ask the operator%(contact)s to raise the limit.",
        contact=after_the_operator(),
        tenant=tenant.name,
        limit=size_in_words(conf.MAX_BYTES),
        kept=size_in_words(kept),
        needed=size_in_words(needed),
    )


def _bytes_that_stay(tenant: Tenant, stored: Sequence[Stored], without: Backup | None) -> int:
    """The bytes that `MAX_BYTES` would not remove once there is one more backup."""
    now = timezone.now()
    stored = [row for row in stored if without is None or row.pk != without.pk]
    made = Stored(pk=0, trigger=Trigger.MANUAL, pinned=False, created_at=now)
    good = [row for row in stored if row.is_good and not is_future(row, now)]
    floor = floor_of([made, *good], tenant.zone)
    return sum(row.stored_bytes for row in stored if row.pk in floor or exemption_of(row, now))


def binds(backup: Backup) -> bool:
    """Whether the limits apply to a backup: not if the schedule asked for it, too."""
    return backup.trigger == Trigger.MANUAL and backup.slot_at is None
