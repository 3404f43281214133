"""What people configure: when a tenant is backed up automatically, and what is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Case, Count, Max, OuterRef, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenant_backup.conf import conf
from tenant_backup.models.backup import Backup, Trigger
from tenant_backup.models.state import Verdict
from tenant_backup.retention import AHEAD, Policy
from tenant_backup.schedule import Rule, next_slot
from tenant_backup.tenants import ID_LENGTH

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


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


class BackupSettingsQuerySet(models.QuerySet["BackupSettings"]):
    def of(self, tenant_id: str) -> BackupSettings:
        """This tenant's settings; if it has none yet, the initial ones, not saved."""
        return self.filter(tenant_id=tenant_id).first() or BackupSettings.initial(tenant_id)

    def ensure(self, tenant_ids: Iterable[str]) -> None:
        """Save the initial settings for each of these tenants that has none yet."""
        wanted = set(tenant_ids)
        there_are = self.filter(tenant_id__in=wanted).values_list("tenant_id", flat=True)
        rows = [BackupSettings.initial(tenant_id) for tenant_id in sorted(wanted - set(there_are))]
        self.bulk_create(rows, ignore_conflicts=True)

    def with_latest(self, now: datetime, *, found_by: datetime) -> BackupSettingsQuerySet:
        """With what monitoring judges by, in one query for any number of tenants.

        `last_good_at`, when the newest good backup was started, and `last_success_at`, when it was
        finished; `last_state_at`, when the newest was started that is no safety copy of a restore,
        and `last_check_error` with its data, what the host's own check found in that;
        `last_failed_at`, `last_error` and its data; `missing`, the number of backups
        whose files were found missing or damaged by `found_by`, and `missing_found_at`, when the
        last of them was found so; and `last_future_at`, the date of the newest good one that is
        dated in the future. Otherwise backups dated in the future are ignored.
        """
        all_theirs = Backup.objects.filter(tenant_id=OuterRef("tenant_id"))
        theirs = all_theirs.counted(now)
        newest_good = theirs.good().newest_first()[:1]
        # A safety copy holds the state that somebody wanted to leave.
        newest_state = theirs.good().exclude(trigger=Trigger.RESTORE).newest_first()[:1]
        newest_failed = theirs.failed().newest_first()[:1]
        # Two queries, since each has an index. The former are later than all others.
        ahead = all_theirs.good().filter(created_at__gt=now + AHEAD).newest_first()[:1]
        found_ahead = all_theirs.good().filter(future_at__isnull=False).newest_first()[:1]
        found_at = Greatest(
            Coalesce("missing_at", "damaged_at"), Coalesce("damaged_at", "missing_at")
        )
        missing = theirs.missing_or_damaged(found_by).values("tenant_id")
        latest: dict[str, Any] = {
            "last_good_at": Subquery(newest_good.values("created_at")),
            "last_success_at": Subquery(
                newest_good.values(at=Coalesce("finished_at", "created_at"))
            ),
            "last_state_at": Subquery(newest_state.values("created_at")),
            "last_check_error": Subquery(newest_state.values("check_error")),
            "last_check_error_data": Subquery(newest_state.values("check_error_data")),
            "last_failed_at": Subquery(newest_failed.values("created_at")),
            "last_error": Subquery(newest_failed.values("error")),
            "last_error_data": Subquery(newest_failed.values("error_data")),
            "missing": Coalesce(Subquery(missing.annotate(n=Count("pk")).values("n")), 0),
            "missing_found_at": Subquery(missing.annotate(at=Max(found_at)).values("at")),
            "last_future_at": Coalesce(
                Subquery(ahead.values("created_at")), Subquery(found_ahead.values("created_at"))
            ),
        }
        return self.annotate(**latest)

    def with_verdicts(
        self, now: datetime, *, verdicts: Mapping[str, Verdict]
    ) -> BackupSettingsQuerySet:
        """With what the list of all tenants shows, filters and sorts by.

        `last_good_at`; `good_number` and `good_bytes` of the good backups; and `verdict`, taken
        from `verdicts` by the tenant's id.
        """
        # The commonest one needs no list of ids: databases limit the number of parameters.
        counts = Counter(verdicts.values())
        commonest = max(counts, key=lambda verdict: counts[verdict], default=Verdict.NO_BACKUP)
        good = Backup.objects.good().filter(tenant_id=OuterRef("tenant_id"))
        good_so_far = good.counted(now)
        totals = good.values("tenant_id").annotate(number=Count("pk"), bytes=Sum("size"))
        facts: dict[str, Any] = {
            "last_good_at": Subquery(good_so_far.newest_first().values("created_at")[:1]),
            "good_number": Coalesce(Subquery(totals.values("number")), 0),
            "good_bytes": Coalesce(Subquery(totals.values("bytes")), 0),
            "verdict": Case(
                *(
                    When(
                        tenant_id__in=sorted(key for key in verdicts if verdicts[key] == verdict),
                        then=Value(verdict),
                    )
                    for verdict in counts
                    if verdict != commonest
                ),
                default=Value(commonest),
                output_field=models.IntegerField(),
            ),
        }
        return self.annotate(**facts)


def _limit(name: StrOrPromise, *, most: int) -> models.PositiveIntegerField[Any, Any]:
    """The field of a retention rule: empty if it is not set, otherwise 1 or more."""
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
    # Set by `with_verdicts` alone.
    good_number: int
    good_bytes: int
    verdict: int

    # Set by `with_latest` alone; the first one by `with_verdicts`, too.
    last_good_at: datetime | None
    last_success_at: datetime | None
    last_state_at: datetime
    last_check_error: str | None = None
    last_check_error_data: str = ""
    last_failed_at: datetime | None
    last_error: str
    last_error_data: str
    missing: int
    last_future_at: datetime | None
    missing_found_at: datetime | None

    objects = BackupSettingsQuerySet.as_manager()

    class Meta:
        verbose_name = _("backup settings")
        verbose_name_plural = _("backups of all tenants")
        indexes = [models.Index(fields=["next_run_at"], name="tenant_backup_next_run")]

    def __str__(self) -> str:
        return self.tenant_id

    @classmethod
    def initial(cls, tenant_id: str) -> BackupSettings:
        """The settings of a new tenant: the host's `DEFAULT_SETTINGS`, not saved.

        Raises `ValidationError` if they are not valid, which the check E003 reports, too.
        """
        initial = cls(tenant_id=tenant_id, **conf.DEFAULT_SETTINGS)
        # Turns "2" into 2, as a form would.
        initial.clean_fields(exclude=["tenant_id"])
        return initial

    @property
    def is_initial(self) -> bool:
        """Whether nobody has configured anything yet."""
        initial = BackupSettings.initial(self.tenant_id)
        names = [each.name for each in self._meta.fields if each.editable and not each.primary_key]
        return all(getattr(self, name) == getattr(initial, name) for name in names)

    @property
    def rule(self) -> Rule:
        return Rule(self.interval, self.time_of_day, self.weekday, self.day_of_month)

    def slot_after(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """The next slot after now, or None if automatic backup is off."""
        return next_slot(self.rule, self.tenant_id, zone, now) if self.automatic else None

    def next_run(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """The slot that is set, or that the next tick will set; None if automatic backup is off."""
        return (self.next_run_at or self.slot_after(now, zone)) if self.automatic else None

    def reschedule(self, zone: ZoneInfo, now: datetime) -> bool:
        """Set the next slot after now, or none if automatic backup is off.

        Returns False and changes nothing if another process has set it since this row was read.
        """
        changes: dict[str, Any] = {"next_run_at": self.slot_after(now, zone)}
        if self.next_run_at is None:
            # Nothing was scheduled so far, so nothing can be overdue from before.
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
