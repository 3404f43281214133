"""Holds: reasons to keep a single backup, each with its own end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenant_backup.models.backup import WHY_LENGTH, Backup
from tenant_backup.texts import Text, as_stored, data_of, in_active_language, joined


class HoldKind(models.TextChoices):
    """What a backup is held for. The kind's code alone ends such a hold."""

    LOSS = "loss", _("rows were lost after it")
    REQUEST = "request", _("somebody asked for it")
    RESTORE = "restore", _("made before a restore of rows")
    FOLDER = "folder", _("the backup folder says so")
    OTHER = "other", _("another reason")


class HoldQuerySet(models.QuerySet["Hold"]):
    def for_tenant(self, tenant_id: str) -> HoldQuerySet:
        return self.filter(backup__tenant_id=tenant_id)

    def add(
        self, backup: Backup, kind: HoldKind, reason: Text | str, until: datetime | None, key: str
    ) -> bool:
        """Hold a backup, or hold it longer: never for a shorter time. False if nothing is new.

        Call it in the transaction that counts the change for the folder's index.
        """
        words = {"reason": str(reason)[:WHY_LENGTH], "reason_data": data_of(reason)}
        row, is_new = self.get_or_create(
            backup=backup, kind=kind, key=key, defaults={**words, "until": until}
        )
        if not is_new and (row.until is None or (until is not None and until <= row.until)):
            return False
        self.filter(pk=row.pk).update(until=until, **words)
        self._sum_up(backup)
        return True

    def end(self, backup: Backup) -> int:
        """End those of these holds that are on this backup, and return how many there were."""
        number, _by_model = self.filter(backup=backup).delete()
        self._sum_up(backup)
        return number

    @staticmethod
    def _sum_up(backup: Backup) -> None:
        """Write on the backup's row why it is held, and how long."""
        holds = list(Hold.objects.filter(backup=backup).order_by("pk"))
        reasons = list(dict.fromkeys(as_stored(row.reason, row.reason_data) for row in holds))
        reason = joined(*reasons) if reasons else ""
        times = [row.until for row in holds]
        changes: dict[str, Any] = {
            "hold_reason": str(reason)[:WHY_LENGTH],
            "hold_reason_data": data_of(reason),
            "held_until": None if None in times else max(filter(None, times), default=None),
        }
        Backup.objects.filter(pk=backup.pk).update(**changes)
        vars(backup).update(changes)

    def active(self, now: datetime) -> HoldQuerySet:
        return self.filter(Q(until=None) | Q(until__gt=now))

    def over(self, now: datetime) -> HoldQuerySet:
        return self.filter(until__lte=now)


class Hold(models.Model):
    """One reason to keep a backup. There may be several, and none ends another.

    `Backup.hold_reason` and `held_until` sum up all of a backup's: `backups.holds` writes both.
    """

    backup = models.ForeignKey(Backup, models.CASCADE, related_name="holds", editable=False)
    kind = models.CharField(max_length=10, choices=HoldKind.choices, editable=False)
    # Tells apart two of one kind on one backup.
    key = models.CharField(max_length=64, blank=True, default="", editable=False)
    reason = models.CharField(max_length=WHY_LENGTH, editable=False)
    reason_data = models.TextField(blank=True, default="", editable=False)
    # Null: until it is released.
    until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = HoldQuerySet.as_manager()

    class Meta:
        verbose_name = _("hold")
        verbose_name_plural = _("holds")
        constraints = [
            models.UniqueConstraint(
                fields=["backup", "kind", "key"], name="tenant_backup_one_hold_each"
            )
        ]

    def __str__(self) -> str:
        return f"{self.backup_id}: {self.get_kind_display()}"

    @property
    def said(self) -> str:
        """The reason, in the language that is active now."""
        return in_active_language(self.reason, self.reason_data)
