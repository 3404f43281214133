"""The records: each tenant's settings, the catalog of backups, automation's switch, the history.

All live in the control database, not in the tenants': restoring a tenant must not undo its catalog.
Tenants are known by their id alone, for the host keeps them as it likes.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Case, Count, F, Max, OuterRef, Q, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenant_backup.conf import conf
from tenant_backup.exceptions import RowChanged
from tenant_backup.retention import AHEAD, Policy, is_future, is_held
from tenant_backup.schedule import Rule, next_slot
from tenant_backup.sqlite import Fingerprint
from tenant_backup.tenants import ID_LENGTH
from tenant_backup.texts import Text, in_active_language

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

logger = logging.getLogger("tenant_backup")

LABEL_LENGTH = 200


class Interval(models.TextChoices):
    HOURLY = "hourly", _("every hour")
    SIX_HOURS = "6h", _("every 6 hours")
    TWELVE_HOURS = "12h", _("every 12 hours")
    DAILY = "daily", _("every day")
    WEEKLY = "weekly", _("every week")
    MONTHLY = "monthly", _("every month")


class Weekday(models.IntegerChoices):
    """Numbered as `datetime.date.weekday()` does."""

    MONDAY = 0, _("Monday")
    TUESDAY = 1, _("Tuesday")
    WEDNESDAY = 2, _("Wednesday")
    THURSDAY = 3, _("Thursday")
    FRIDAY = 4, _("Friday")
    SATURDAY = 5, _("Saturday")
    SUNDAY = 6, _("Sunday")


class Status(models.TextChoices):
    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    COMPLETE = "complete", _("complete")
    FAILED = "failed", _("failed")


class Trigger(models.TextChoices):
    """What asked for a backup."""

    MANUAL = "manual", _("manual")
    AUTOMATIC = "automatic", _("automatic")
    COMMAND = "command", _("command")
    MIGRATE = "migrate", _("before an update")
    RESTORE = "restore", _("before a restore")
    ADOPTED = "adopted", _("found on disk")


class Alarm(models.TextChoices):
    """What is wrong with a tenant's backups: the gravest thing."""

    NONE = "", _("all well")
    MISSING = "missing", _("backups missing or damaged")
    FUTURE = "future", _("only backups dated in the future")
    FAILED = "failed", _("failed")
    OVERDUE = "overdue", _("overdue")


class Recipient(models.TextChoices):
    """Who is told of an alarm."""

    ADMINS = "admins", _("operators")
    TENANT = "tenant", _("tenant")


class Health(models.IntegerChoices):
    """How a tenant stands among all: one word for each, and the higher the graver."""

    RETIRED = 0, _("retired")
    UNLISTED = 1, _("not listed")
    WELL = 2, _("all well")
    OFF = 3, _("automatic off")
    STOPPED = 4, _("automation does not run")
    NO_BACKUP = 5, _("no backup yet")
    LOST = 6, _("backups missing or damaged")
    FUTURE = 7, _("only backups dated in the future")
    FAILED = 8, _("failed")
    OVERDUE = 9, _("overdue")
    ABSENT = 10, _("disappeared")

    @classmethod
    def of_alarm(cls, alarm: str) -> Health:
        """The health of a tenant with this alarm, whatever else there is to say."""
        known = {
            Alarm.OVERDUE.value: cls.OVERDUE,
            Alarm.FUTURE.value: cls.FUTURE,
            Alarm.MISSING.value: cls.LOST,
        }
        return known.get(alarm, cls.FAILED)

    @property
    def needs_attention(self) -> bool:
        """Whether `checkbackups` ends with 1 for such a tenant."""
        return self >= Health.LOST


class BackupSettingsQuerySet(models.QuerySet["BackupSettings"]):
    def of(self, tenant_id: str) -> BackupSettings:
        """This tenant's settings; where there are none yet the initial ones, not saved."""
        return self.filter(tenant_id=tenant_id).first() or BackupSettings.initial(tenant_id)

    def ensure(self, tenant_ids: Iterable[str]) -> None:
        """Save the initial settings for each of these tenants that has none yet."""
        wanted = set(tenant_ids)
        there_are = self.filter(tenant_id__in=wanted).values_list("tenant_id", flat=True)
        missing = wanted - set(there_are)
        self.bulk_create(
            [BackupSettings.initial(tenant_id) for tenant_id in sorted(missing)],
            ignore_conflicts=True,
        )

    def with_latest(self, now: datetime, *, found_by: datetime) -> BackupSettingsQuerySet:
        """With what monitoring judges by, in one query however many tenants there are.

        `last_good_at`, when the newest good backup was begun, and `last_success_at`, when it was
        finished; `last_failed_at`, `last_error` and its data; `missing`, the number of backups
        whose files were found missing or damaged by that moment, and `lost_at`, when the last of
        them was found so; and `last_future_at`, the date of the newest good one that is dated in
        the future, which is ignored otherwise.
        """
        all_theirs = Backup.objects.filter(tenant_id=OuterRef("tenant_id"))
        theirs = all_theirs.counted(now)
        newest_good = theirs.good().newest_first()[:1]
        newest_failed = theirs.failed().newest_first()[:1]
        # Asked in two parts, since each has an index: nothing is later than what is ahead of now.
        ahead = all_theirs.good().filter(created_at__gt=now + AHEAD).newest_first()[:1]
        found_ahead = all_theirs.good().filter(future_at__isnull=False).newest_first()[:1]
        found_at = Greatest(
            Coalesce("missing_at", "damaged_at"), Coalesce("damaged_at", "missing_at")
        )
        lost = theirs.lost(found_by).values("tenant_id")
        latest: dict[str, Any] = {
            "last_good_at": Subquery(newest_good.values("created_at")),
            "last_success_at": Subquery(
                newest_good.values(at=Coalesce("finished_at", "created_at"))
            ),
            "last_failed_at": Subquery(newest_failed.values("created_at")),
            "last_error": Subquery(newest_failed.values("error")),
            "last_error_data": Subquery(newest_failed.values("error_data")),
            "missing": Coalesce(Subquery(lost.annotate(n=Count("pk")).values("n")), 0),
            "lost_at": Subquery(lost.annotate(at=Max(found_at)).values("at")),
            "last_future_at": Coalesce(
                Subquery(ahead.values("created_at")), Subquery(found_ahead.values("created_at"))
            ),
        }
        return self.annotate(**latest)

    def with_health(
        self,
        now: datetime,
        *,
        healths: Mapping[str, Health],
    ) -> BackupSettingsQuerySet:
        """With what the list of all tenants shows, to filter and to sort by, too.

        `last_good_at`; `good_number` and `good_bytes` of the good backups; and `health`, as
        monitoring judges it, by the tenants' ids.
        """
        # The commonest one needs no list of ids, and a database takes only so many parameters.
        counts = Counter(healths.values())
        commonest = max(counts, key=lambda health: counts[health], default=Health.NO_BACKUP)
        good = Backup.objects.good().filter(tenant_id=OuterRef("tenant_id"))
        good_so_far = good.counted(now)
        totals = good.values("tenant_id").annotate(number=Count("pk"), bytes=Sum("size"))
        facts: dict[str, Any] = {
            "last_good_at": Subquery(good_so_far.newest_first().values("created_at")[:1]),
            "good_number": Coalesce(Subquery(totals.values("number")), 0),
            "good_bytes": Coalesce(Subquery(totals.values("bytes")), 0),
            "health": Case(
                *(
                    When(
                        tenant_id__in=sorted(key for key in healths if healths[key] == health),
                        then=Value(health),
                    )
                    for health in counts
                    if health != commonest
                ),
                default=Value(commonest),
                output_field=models.IntegerField(),
            ),
        }
        return self.annotate(**facts)


def _limit(name: StrOrPromise, *, most: int) -> models.PositiveIntegerField[Any, Any]:
    """The field of a retention rule: empty where it is not set, otherwise 1 or more."""
    validators = [MinValueValidator(1), MaxValueValidator(most)]
    return models.PositiveIntegerField(name, null=True, blank=True, validators=validators)


class BackupSettings(models.Model):
    """When a tenant is backed up automatically, and which backups are kept."""

    tenant_id = models.CharField(_("tenant"), max_length=ID_LENGTH, unique=True)
    automatic = models.BooleanField(_("automatic backup"), default=False)
    interval = models.CharField(
        _("interval"), max_length=10, choices=Interval.choices, default=Interval.DAILY
    )
    time_of_day = models.TimeField(_("time of day"), default=time(2, 0))
    weekday = models.PositiveSmallIntegerField(
        _("weekday"), choices=Weekday.choices, default=Weekday.SUNDAY
    )
    day_of_month = models.PositiveSmallIntegerField(
        _("day of the month"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(31)],
    )
    keep_last = _limit(_("maximum number"), most=100_000)
    keep_days = _limit(_("retention period in days"), most=36_500)
    keep_daily = _limit(_("days to keep one backup of"), most=36_500)
    keep_weekly = _limit(_("weeks to keep one backup of"), most=5_200)
    keep_monthly = _limit(_("months to keep one backup of"), most=1_200)
    notify_email = models.EmailField(_("address for notices"), blank=True, default="")
    next_run_at = models.DateTimeField(_("next run"), null=True, blank=True, editable=False)
    scheduled_since = models.DateTimeField(
        _("scheduled so since"), default=timezone.now, editable=False
    )
    alarm = models.CharField(
        _("alarm"),
        max_length=10,
        choices=Alarm.choices,
        blank=True,
        default=Alarm.NONE,
        editable=False,
    )
    alarmed_at = models.DateTimeField(_("last alarm"), null=True, blank=True, editable=False)
    told = models.CharField(
        _("told"),
        max_length=10,
        choices=Alarm.choices,
        blank=True,
        default=Alarm.NONE,
        editable=False,
    )
    told_at = models.DateTimeField(_("last told"), null=True, blank=True, editable=False)
    untold = models.CharField(
        _("still to be told"),
        max_length=10,
        choices=Recipient.choices,
        blank=True,
        default="",
        editable=False,
    )
    reverified_at = models.DateTimeField(
        _("last verified again"), null=True, blank=True, editable=False
    )

    # Of `with_health` alone.
    good_number: int
    good_bytes: int
    health: int

    # Of `with_latest` alone, and the first of `with_health`, too.
    last_good_at: datetime | None
    last_success_at: datetime | None
    last_failed_at: datetime | None
    last_error: str
    last_error_data: str
    missing: int
    last_future_at: datetime | None
    lost_at: datetime | None

    objects = BackupSettingsQuerySet.as_manager()

    class Meta:
        verbose_name = _("backup settings")
        verbose_name_plural = _("backup settings")
        indexes = [models.Index(fields=["next_run_at"], name="tenant_backup_next_run")]

    def __str__(self) -> str:
        return self.tenant_id

    @classmethod
    def initial(cls, tenant_id: str) -> BackupSettings:
        """The settings that a new tenant gets: the host's `DEFAULT_SETTINGS`, not saved.

        Raises `ValidationError` where they are not valid, as the check E003 says, too.
        """
        initial = cls(tenant_id=tenant_id, **conf.DEFAULT_SETTINGS)
        # Turns "2" into 2, as a form would.
        initial.clean_fields(exclude=["tenant_id"])
        return initial

    @property
    def is_initial(self) -> bool:
        """Whether nobody has configured anything yet."""
        initial = BackupSettings.initial(self.tenant_id)
        fields = [field.attname for field in self._meta.fields if field.editable]
        return all(getattr(self, name) == getattr(initial, name) for name in fields if name != "id")

    @property
    def rule(self) -> Rule:
        return Rule(self.interval, self.time_of_day, self.weekday, self.day_of_month)

    def slot_after(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """The next slot after now, or None where automatic backup is off."""
        return next_slot(self.rule, self.tenant_id, zone, now) if self.automatic else None

    def next_run(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """The slot that is set, or the one that the next tick will set; None where it is off."""
        return (self.next_run_at or self.slot_after(now, zone)) if self.automatic else None

    def reschedule(self, zone: ZoneInfo, now: datetime) -> bool:
        """Set the next slot after now, or none where automatic backup is off.

        False, and nothing is changed, where another process has set it since this row was read.
        """
        changes: dict[str, Any] = {"next_run_at": self.slot_after(now, zone)}
        if self.next_run_at is None:
            # Nothing was asked for so far, so nothing of earlier can be overdue.
            changes["scheduled_since"] = now
        row = BackupSettings.objects.filter(pk=self.pk, next_run_at=self.next_run_at)
        if not row.update(**changes):
            return False
        vars(self).update(changes)
        return True

    @property
    def policy(self) -> Policy:
        return Policy(
            keep_last=self.keep_last,
            keep_days=self.keep_days,
            keep_daily=self.keep_daily,
            keep_weekly=self.keep_weekly,
            keep_monthly=self.keep_monthly,
            max_bytes=conf.MAX_BYTES,
        )


class TenantStateQuerySet(models.QuerySet["TenantState"]):
    def ensure(self, tenant_ids: Iterable[str]) -> None:
        """Make the row of each of these tenants that has none yet."""
        rows = [TenantState(tenant_id=tenant_id) for tenant_id in sorted(set(tenant_ids))]
        self.bulk_create(rows, ignore_conflicts=True)

    def of(self, tenant_id: str) -> TenantState:
        """This tenant's state; where there is none yet an empty one, not saved."""
        return self.filter(tenant_id=tenant_id).first() or TenantState(tenant_id=tenant_id)


class TenantState(models.Model):
    """What the system found out about a tenant and told, beside what people configured.

    One row a tenant, made once and then changed by `UPDATE` of single fields only, so that two
    processes never write each other's fields.
    """

    tenant_id = models.CharField(_("tenant"), max_length=ID_LENGTH, unique=True, editable=False)
    # How often the backup folder was changed; the folder's index has the same number.
    revision = models.PositiveBigIntegerField(default=0, editable=False)
    # Since when the provider has not listed this tenant, and whether that is on purpose.
    absent_since = models.DateTimeField(_("absent since"), null=True, blank=True, editable=False)
    retired_at = models.DateTimeField(_("retired"), null=True, blank=True, editable=False)
    retired_by = models.CharField(
        _("retired by"), max_length=255, blank=True, default="", editable=False
    )
    absent_told_at = models.DateTimeField(null=True, blank=True, editable=False)
    # When a notice about this tenant was sent last, and how many lost backups it told of: those
    # that were found missing or damaged by `lost_told_to`. More of them are news.
    told_at = models.DateTimeField(null=True, blank=True, editable=False)
    lost_told = models.PositiveIntegerField(default=0, editable=False)
    lost_told_to = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TenantStateQuerySet.as_manager()

    class Meta:
        verbose_name = _("state of a tenant")
        verbose_name_plural = _("states of the tenants")

    def __str__(self) -> str:
        return self.tenant_id


class BackupQuerySet(models.QuerySet["Backup"]):
    def for_tenant(self, tenant_id: str) -> BackupQuerySet:
        return self.filter(tenant_id=tenant_id)

    def queued(self) -> BackupQuerySet:
        return self.filter(status=Status.QUEUED)

    def running(self) -> BackupQuerySet:
        return self.filter(status=Status.RUNNING)

    def active(self) -> BackupQuerySet:
        """Asked for, and neither complete nor failed yet."""
        return self.filter(Backup.ACTIVE)

    def complete(self) -> BackupQuerySet:
        return self.filter(status=Status.COMPLETE)

    def failed(self) -> BackupQuerySet:
        return self.filter(status=Status.FAILED)

    def good(self) -> BackupQuerySet:
        """Complete, its file present, not found damaged, and nobody has begun to delete it."""
        return self.complete().filter(missing_at=None, damaged_at=None, deleting_at=None)

    def being_deleted(self) -> BackupQuerySet:
        """Somebody has begun to delete it, and is at it still, or was ended by a crash."""
        return self.filter(deleting_at__isnull=False)

    def counted(self, now: datetime) -> BackupQuerySet:
        """Those whose date can be right: neither dated in the future, nor found so once."""
        return self.filter(future_at=None, created_at__lte=now + AHEAD)

    def future(self, now: datetime) -> BackupQuerySet:
        """The others: their date is wrong, so they are ignored."""
        return self.exclude(future_at=None, created_at__lte=now + AHEAD)

    def lost(self, by: datetime) -> BackupQuerySet:
        """Complete once, and found missing or damaged by this moment.

        Or by a clock that was wrong, in the future.
        """
        wrong = by + timedelta(hours=1)
        # The first condition is one of the index, so that not all rows are looked at.
        return self.complete().filter(
            Q(missing_at__isnull=False) | Q(damaged_at__isnull=False),
            Q(missing_at__lte=by)
            | Q(damaged_at__lte=by)
            | Q(missing_at__gt=wrong)
            | Q(damaged_at__gt=wrong),
        )

    def deletable(self) -> BackupQuerySet:
        """Neither pinned nor asked for and not made yet."""
        return self.filter(pinned=False).exclude(Backup.ACTIVE)

    def newest_first(self) -> BackupQuerySet:
        return self.order_by("-created_at", "-pk")


class Backup(models.Model):
    """One backup: asked for, being made, and at last one file, or the reason why there is none.

    A row moves `queued → running → complete | failed` by the methods below, each of which saves
    only its own fields and only if the row is still where it moves from.
    """

    ACTIVE = Q(status__in=[Status.QUEUED, Status.RUNNING])

    tenant_id = models.CharField(_("tenant"), max_length=ID_LENGTH)
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.QUEUED
    )
    trigger = models.CharField(_("trigger"), max_length=10, choices=Trigger.choices)
    label = models.CharField(_("label"), max_length=LABEL_LENGTH, blank=True, default="")
    pinned = models.BooleanField(_("pinned"), default=False)
    file_name = models.CharField(_("file"), max_length=255, blank=True, default="")
    size = models.PositiveBigIntegerField(_("size in bytes"), null=True, blank=True)
    sha256 = models.CharField(_("SHA-256"), max_length=64, blank=True, default="")
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    verified_at = models.DateTimeField(_("last verified"), null=True, blank=True)
    missing_at = models.DateTimeField(_("found missing"), null=True, blank=True)
    damaged_at = models.DateTimeField(_("found damaged"), null=True, blank=True)
    verify_queued_at = models.DateTimeField(_("last read again"), null=True, blank=True)
    error = models.TextField(_("error"), blank=True, default="")
    error_data = models.TextField(blank=True, default="", editable=False)
    requested_by = models.CharField(_("requested by"), max_length=255, blank=True, default="")
    slot_at = models.DateTimeField(_("slot"), null=True, blank=True)
    # The backup made by hand that goes when this one is complete, as somebody chose at the limit.
    replaces = models.BigIntegerField(null=True, blank=True, editable=False)
    enqueued_at = models.DateTimeField(_("enqueued"), null=True, blank=True)
    # Found to be dated in the future, by a clock that was wrong. That stays true for good.
    future_at = models.DateTimeField(_("found dated in the future"), null=True, blank=True)
    # Kept by retention for a reason, until a moment or, without one, until somebody releases it.
    hold_reason = models.CharField(_("held because"), max_length=200, blank=True, default="")
    held_until = models.DateTimeField(_("held until"), null=True, blank=True)
    # The mark of a deletion that has begun: since when, by whom, and why. See `deletion.py`.
    deleting_at = models.DateTimeField(null=True, blank=True, editable=False)
    deleting_as = models.CharField(max_length=20, blank=True, default="", editable=False)
    deleting_by = models.CharField(max_length=255, blank=True, default="", editable=False)
    deleting_why = models.TextField(blank=True, default="", editable=False)
    deleting_why_data = models.TextField(blank=True, default="", editable=False)

    objects = BackupQuerySet.as_manager()

    class Meta:
        verbose_name = _("backup")
        verbose_name_plural = _("backups")
        permissions = [("download_backup", _("Can download backup"))]
        indexes = [
            models.Index(F("tenant_id"), F("created_at").desc(), name="tenant_backup_by_tenant"),
            # Whole, since SQLite uses no conditional index for a status that is a parameter: what
            # is active would otherwise be looked for among all backups that there are.
            models.Index(fields=["status", "created_at"], name="tenant_backup_by_status"),
            models.Index(
                fields=["tenant_id", "status", "created_at"], name="tenant_backup_standing"
            ),
            # Each tick asks for these, and there are hardly ever any.
            models.Index(
                fields=["deleting_at"],
                condition=Q(deleting_at__isnull=False),
                name="tenant_backup_deleting",
            ),
            # Each tick asks for these, too, and there are few among thousands.
            models.Index(
                fields=["tenant_id", "status", "created_at"],
                condition=Q(missing_at__isnull=False)
                | Q(damaged_at__isnull=False)
                | Q(future_at__isnull=False),
                name="tenant_backup_marked",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id"],
                condition=Q(status__in=["queued", "running"]),
                name="tenant_backup_one_active",
                violation_error_message=_("A backup of this tenant is queued or running."),
            ),
            # Two rows with one file would let the deletion of one take the other's file.
            models.UniqueConstraint(
                fields=["tenant_id", "file_name"],
                condition=~Q(file_name=""),
                name="tenant_backup_one_row_a_file",
            ),
        ]

    def __str__(self) -> str:
        return self.file_name or f"{self.tenant_id}: {self.get_status_display()}"

    @property
    def reason(self) -> str:
        """The error, in the language that is active now."""
        return in_active_language(self.error, self.error_data)

    @property
    def is_active(self) -> bool:
        return self.status in (Status.QUEUED, Status.RUNNING)

    @property
    def is_good(self) -> bool:
        """What `BackupQuerySet.good()` asks of the database."""
        lost = self.missing_at or self.damaged_at or self.deleting_at
        return self.status == Status.COMPLETE and not lost

    def is_future(self, now: datetime) -> bool:
        """What `BackupQuerySet.future()` asks of the database."""
        return is_future(self, now)

    def is_held(self, now: datetime) -> bool:
        """Whether retention keeps it for a reason of its own."""
        return is_held(self, now)

    @property
    def stored_bytes(self) -> int:
        """What its file takes up, good or not; 0 while there is none."""
        is_stored = self.status == Status.COMPLETE and not self.missing_at
        return self.size or 0 if is_stored else 0

    @property
    def is_deletable(self) -> bool:
        """What `BackupQuerySet.deletable()` asks of the database."""
        return not self.pinned and not self.is_active

    @property
    def fingerprint(self) -> Fingerprint | None:
        """What the file is recognised by; None while there is no verified copy."""
        return Fingerprint(self.size, self.sha256) if self.size and self.sha256 else None

    def start(self, file_name: str, *, at: datetime | None = None) -> None:
        """From now on, or this time, somebody is at work on a file that is to get this name.

        The backup is of then, however long ago it was asked for.
        """
        at = at or timezone.now()
        self._move(
            [Status.QUEUED],
            status=Status.RUNNING,
            created_at=at,
            started_at=at,
            file_name=file_name,
            error="",
            error_data="",
        )

    def record_copy(self, copy: Fingerprint) -> None:
        """The copy is verified and about to be published: from now on a crash can be mended."""
        self._move([Status.RUNNING], size=copy.size, sha256=copy.sha256)

    def complete(self) -> None:
        """The verified copy has its final name."""
        now = timezone.now()
        self._move([Status.RUNNING], status=Status.COMPLETE, finished_at=now, verified_at=now)

    def fail(self, error: Text | str) -> None:
        """There is no file, and this is why."""
        self._move([Status.RUNNING], **self._as_failed(error))

    def refuse(self, error: Text | str) -> None:
        """Nobody could even begin, and this is why."""
        self._move([Status.QUEUED], **self._as_failed(error))

    @staticmethod
    def _as_failed(error: Text | str) -> dict[str, Any]:
        return {
            "status": Status.FAILED,
            "finished_at": timezone.now(),
            "error": str(error),
            "error_data": _data_of(error),
            # There is nothing left to keep, and the row shall not be in anybody's way.
            "pinned": False,
            "file_name": "",
            "size": None,
            "sha256": "",
        }

    def take_over(
        self,
        *,
        trigger: Trigger,
        label: str,
        pinned: bool,
        requested_by: str,
        replaces: int | None = None,
    ) -> None:
        """Let a queued backup answer another request, too, and lose nothing that either asked."""
        as_read = {
            "trigger": self.trigger,
            "label": self.label,
            "pinned": self.pinned,
            "requested_by": self.requested_by,
        }
        labels = dict.fromkeys(text for text in (*self.label.split("; "), label) if text)
        people = dict.fromkeys(
            text for text in (*self.requested_by.split(", "), requested_by) if text
        )
        self._move(
            [Status.QUEUED],
            as_read,
            trigger=self.trigger_with(trigger),
            label="; ".join(labels)[:LABEL_LENGTH],
            pinned=self.pinned or pinned,
            requested_by=", ".join(people)[:255],
            replaces=replaces or self.replaces,
        )

    def trigger_with(self, other: Trigger) -> str:
        """The trigger of a backup that answers two.

        A safety copy is known as one; otherwise, what a person asked for, a person deletes.
        """
        for first in (Trigger.RESTORE, Trigger.MANUAL):
            if first in (self.trigger, other):
                return first
        return self.trigger

    def _move(
        self, sources: list[Status], as_read: dict[str, Any] | None = None, /, **changes: Any
    ) -> None:
        row = Backup.objects.filter(pk=self.pk, status__in=sources, **(as_read or {}))
        if not row.update(**changes):
            raise RowChanged(
                "Backup %(backup)s of %(tenant)r was changed by another process meanwhile.",
                backup=self.pk,
                tenant=self.tenant_id,
            )
        for field, value in changes.items():
            setattr(self, field, value)


class Automation(models.Model):
    """The one row that holds automation's own state; its schedule belongs to django-q2."""

    paused_at = models.DateTimeField(_("paused"), null=True, blank=True)
    paused_by = models.CharField(_("paused by"), max_length=255, blank=True, default="")
    last_tick_at = models.DateTimeField(_("last tick"), null=True, blank=True)
    notified_at = models.DateTimeField(_("last notice"), null=True, blank=True)
    worker_seen_at = models.DateTimeField(_("last sign of work"), null=True, blank=True)
    # What was told last of automation's own trouble, and when.
    told = models.CharField(max_length=20, blank=True, default="", editable=False)
    told_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("automation")
        verbose_name_plural = _("automation")
        constraints = [
            models.CheckConstraint(condition=Q(pk=1), name="tenant_backup_one_automation")
        ]

    def __str__(self) -> str:
        return str(_("paused") if self.paused_at else _("enabled"))

    @classmethod
    def load(cls) -> Automation:
        return cls.objects.get_or_create(pk=1)[0]


class EventKind(models.TextChoices):
    """What can happen to a backup, or to a tenant's settings."""

    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    REFUSED = "refused", _("refused")
    DELETED = "deleted", _("deleted")
    PRUNED = "pruned", _("pruned")
    PINNED = "pinned", _("pinned")
    UNPINNED = "unpinned", _("unpinned")
    DOWNLOADED = "downloaded", _("downloaded")
    CONFIGURED = "configured", _("settings changed")
    RESTORED = "restored", _("restored")
    MISSING = "missing", _("found missing")
    DAMAGED = "damaged", _("found damaged")
    FOUND = "found", _("found good again")
    ADOPTED = "adopted", _("found on disk")
    OVERDUE = "overdue", _("overdue")
    RECOVERED = "recovered", _("recovered")
    PAUSED = "paused", _("automation paused")
    RESUMED = "resumed", _("automation resumed")
    RETIRED = "retired", _("retired")


ALARMING = {EventKind.FAILED, EventKind.OVERDUE, EventKind.MISSING, EventKind.DAMAGED}
"""What the log says as errors; the rest is information."""


def _data_of(text: Text | str) -> str:
    """What `said` needs: JSON in a field of text.

    To check a `JSONField`, Django connects to the database before each command, and so makes an
    empty one where it is missing and about to be restored.
    """
    return json.dumps(text.as_data()) if isinstance(text, Text) else ""


class EventQuerySet(models.QuerySet["Event"]):
    def for_tenant(self, tenant_id: str) -> EventQuerySet:
        return self.filter(tenant_id=tenant_id)

    def newest_first(self) -> EventQuerySet:
        return self.order_by("-created_at", "-pk")


class Event(models.Model):
    """One line of the history: who did what, and when. It outlives the backup that it is about.

    Without a tenant it is about all of them.
    """

    tenant_id = models.CharField(_("tenant"), max_length=ID_LENGTH, blank=True)
    kind = models.CharField(_("event"), max_length=20, choices=EventKind.choices)
    backup_id = models.BigIntegerField(_("backup"), null=True, blank=True)
    file_name = models.CharField(_("file"), max_length=255, blank=True, default="")
    actor = models.CharField(_("by"), max_length=255, blank=True, default="")
    detail = models.TextField(_("detail"), blank=True, default="")
    detail_data = models.TextField(blank=True, default="", editable=False)
    size = models.PositiveBigIntegerField(_("size in bytes"), null=True, blank=True)
    created_at = models.DateTimeField(_("time"), default=timezone.now)

    objects = EventQuerySet.as_manager()

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        indexes = [
            models.Index(F("tenant_id"), F("created_at").desc(), name="tenant_backup_events"),
            models.Index(fields=["created_at"], name="tenant_backup_events_at"),
            models.Index(fields=["kind", "created_at"], name="tenant_backup_events_of"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.get_kind_display()} {self.file_name}".rstrip()

    @property
    def said(self) -> str:
        """The detail, in the language that is active now."""
        return in_active_language(self.detail, self.detail_data)

    @classmethod
    def record(
        cls,
        kind: EventKind,
        about: Backup | str,
        *,
        actor: str = "",
        detail: Text | str = "",
    ) -> None:
        """Add a line about a backup, or a tenant's id, to the history, and then to the log.

        The log's record has `action`, `tenant_id`, `backup_id`, `actor` and `detail`, too.
        """
        backup = about if isinstance(about, Backup) else None
        facts = {
            "action": kind.value,
            "tenant_id": backup.tenant_id if backup else about,
            "backup_id": backup.pk if backup else None,
            "actor": actor,
            "detail": str(detail),
        }
        file_name = backup.file_name if backup else ""
        size = backup.size if backup else None
        cls.objects.create(
            kind=kind,
            tenant_id=facts["tenant_id"],
            backup_id=facts["backup_id"],
            file_name=file_name,
            size=size,
            actor=actor,
            detail=facts["detail"],
            detail_data=_data_of(detail),
        )
        words = [
            kind.value,
            file_name,
            f"by {actor}" if actor else "",
            f"({detail})" * bool(str(detail)),
        ]
        text = " ".join(word for word in words if word)
        level = logging.ERROR if kind in ALARMING else logging.INFO

        def write() -> None:
            logger.log(level, "Tenant %r: %s", facts["tenant_id"], text, extra=facts)

        transaction.on_commit(write, using=conf.CATALOG_DATABASE, robust=True)
