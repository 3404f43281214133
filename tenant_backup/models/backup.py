"""The catalog: one row for each backup that was asked for, and what became of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenant_backup.exceptions import RowChanged
from tenant_backup.retention import AHEAD, is_future, is_held
from tenant_backup.sqlite import Fingerprint
from tenant_backup.tenants import ID_LENGTH
from tenant_backup.texts import Text, data_of, in_active_language

LABEL_LENGTH = 200
FORM_TOKEN_LENGTH = 32
WHY_LENGTH = 200


class Status(models.TextChoices):
    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    COMPLETE = "complete", _("complete")
    FAILED = "failed", _("failed")


class Trigger(models.TextChoices):
    MANUAL = "manual", _("manual")
    AUTOMATIC = "automatic", _("automatic")
    COMMAND = "command", _("command")
    MIGRATE = "migrate", _("before an update")
    RESTORE = "restore", _("before a restore")
    ADOPTED = "adopted", _("found on disk")


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

    def gone_wrong(self) -> BackupQuerySet:
        """Failed, or found missing or damaged."""
        lost = Q(missing_at__isnull=False) | Q(damaged_at__isnull=False)
        return self.filter(Q(status=Status.FAILED) | Q(status=Status.COMPLETE) & lost)

    def good(self) -> BackupQuerySet:
        """Complete, neither missing nor damaged, and not being deleted."""
        return self.complete().filter(missing_at=None, damaged_at=None, deleting_at=None)

    def being_deleted(self) -> BackupQuerySet:
        """Those whose deletion has begun. It goes on, or a crash has ended it."""
        return self.filter(deleting_at__isnull=False)

    def counted(self, now: datetime) -> BackupQuerySet:
        """Those not dated in the future, and never found to be so."""
        return self.filter(future_at=None, created_at__lte=now + AHEAD)

    def future(self, now: datetime) -> BackupQuerySet:
        """Those dated in the future, now or when they were found: they are ignored."""
        return self.exclude(future_at=None, created_at__lte=now + AHEAD)

    def missing_or_damaged(self, found_by: datetime) -> BackupQuerySet:
        """Complete once, and found missing or damaged by this moment.

        Also those found so in the future, by a clock that was wrong.
        """
        by, wrong = found_by, found_by + timedelta(hours=1)
        # The first condition is that of the index, so that the database need not read all rows.
        return self.complete().filter(
            Q(missing_at__isnull=False) | Q(damaged_at__isnull=False),
            Q(missing_at__lte=by)
            | Q(damaged_at__lte=by)
            | Q(missing_at__gt=wrong)
            | Q(damaged_at__gt=wrong),
        )

    def not_held(self, now: datetime) -> BackupQuerySet:
        """Those that retention keeps for no reason of their own."""
        return self.filter(Q(hold_reason="") | Q(held_until__lte=now))

    def deletable(self) -> BackupQuerySet:
        """Neither pinned nor still queued or running."""
        return self.filter(pinned=False).exclude(Backup.ACTIVE)

    def newest_first(self) -> BackupQuerySet:
        return self.order_by("-created_at", "-pk")


_INDEXES: list[models.Index] = [
    models.Index(F("tenant_id"), F("created_at").desc(), name="tenant_backup_by_tenant"),
    # Not conditional: SQLite uses no conditional index if the status is a parameter.
    models.Index(fields=["status", "created_at"], name="tenant_backup_by_status"),
    models.Index(fields=["tenant_id", "status", "created_at"], name="tenant_backup_standing"),
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

_CONSTRAINTS: list[models.BaseConstraint] = [
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


class Backup(models.Model):
    """One backup: queued, running, and in the end one file, or the reason why there is none.

    A row moves `queued → running → complete | failed` by the methods below. Each saves only its own
    fields, and only if the row still has the status that it moves from.
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
    # The backup made by hand that is deleted when this one is complete, as was chosen at the limit.
    replaces = models.BigIntegerField(null=True, blank=True, editable=False)
    # Of the last form that asked for it, so that one that is sent twice makes one backup.
    form_token = models.CharField(
        max_length=FORM_TOKEN_LENGTH, blank=True, default="", editable=False
    )
    enqueued_at = models.DateTimeField(_("enqueued"), null=True, blank=True)
    # Found to be dated in the future, by a clock that was wrong. That stays true for good.
    future_at = models.DateTimeField(_("found dated in the future"), null=True, blank=True)
    # Why retention keeps it, and until when (or until it is released): the sum of its `Hold` rows.
    hold_reason = models.CharField(_("held because"), max_length=WHY_LENGTH, blank=True, default="")
    hold_reason_data = models.TextField(blank=True, default="", editable=False)
    held_until = models.DateTimeField(_("held until"), null=True, blank=True)
    # The mark of a deletion that has begun: since when, by whom, and why. See `deletion_steps`.
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
        indexes = _INDEXES
        constraints = _CONSTRAINTS

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
        is_flawed = self.missing_at or self.damaged_at or self.deleting_at
        return self.status == Status.COMPLETE and not is_flawed

    def is_future(self, now: datetime) -> bool:
        """What `BackupQuerySet.future()` asks of the database."""
        return is_future(self, now)

    def is_held(self, now: datetime) -> bool:
        """Whether retention keeps it for a reason of its own."""
        return is_held(self, now)

    @property
    def has_file(self) -> bool:
        """Whether it has a file, good or damaged."""
        return self.status == Status.COMPLETE and not self.missing_at

    @property
    def stored_bytes(self) -> int:
        """What its file takes up, good or not; 0 while there is none."""
        return self.size or 0 if self.has_file else 0

    @property
    def is_deletable(self) -> bool:
        """What `BackupQuerySet.deletable()` asks of the database."""
        return not self.pinned and not self.is_active

    @property
    def fingerprint(self) -> Fingerprint | None:
        """What the file is recognised by; None while there is no verified copy."""
        return Fingerprint(self.size, self.sha256) if self.size and self.sha256 else None

    def start(self, file_name: str, *, at: datetime | None = None) -> None:
        """The file of this name is being made since now, or since `at`.

        That is the time of the backup, no matter how long it was queued. Raises `RowChanged` if it
        is not queued any more.
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
        """The copy is verified and about to be published: a crash from now on is recoverable."""
        self._move([Status.RUNNING], size=copy.size, sha256=copy.sha256)

    def complete(self) -> None:
        """The verified copy has its final name."""
        now = timezone.now()
        self._move([Status.RUNNING], status=Status.COMPLETE, finished_at=now, verified_at=now)

    def fail(self, error: Text | str) -> None:
        """The attempt left no file, for this reason."""
        self._move([Status.RUNNING], **self._as_failed(error))

    def refuse(self, error: Text | str) -> None:
        """The backup could not even begin, for this reason."""
        self._move([Status.QUEUED], **self._as_failed(error))

    @staticmethod
    def _as_failed(error: Text | str) -> dict[str, Any]:
        return {
            "status": Status.FAILED,
            "finished_at": timezone.now(),
            "error": str(error),
            "error_data": data_of(error),
            # There is nothing left to keep, and nothing may keep the row from being deleted.
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
        form_token: str = "",
    ) -> None:
        """Let a queued backup answer another request, too."""
        names = ("trigger", "label", "pinned", "requested_by")
        as_read = {name: getattr(self, name) for name in names}
        labels = dict.fromkeys(filter(None, [*self.label.split("; "), label]))
        people = dict.fromkeys(filter(None, [*self.requested_by.split(", "), requested_by]))
        self._move(
            [Status.QUEUED],
            as_read,
            trigger=self.trigger_with(trigger),
            label="; ".join(labels)[:LABEL_LENGTH],
            pinned=self.pinned or pinned,
            requested_by=", ".join(people)[:255],
            replaces=replaces or self.replaces,
            form_token=form_token or self.form_token,
        )

    def trigger_with(self, other: Trigger) -> str:
        """The trigger of a backup that answers two requests.

        A safety copy must be known as one, and what a person asked for only a person may delete.
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
        vars(self).update(changes)
