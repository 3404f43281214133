"""What is known of the rows inside backups: how many there are, which vanished, who wants them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.checks import CheckMessage
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenant_backup.models.backup import Backup, Status
from tenant_backup.tenants import ID_LENGTH

NOTE_LENGTH = 500


class StoredJSONField(models.JSONField):
    """A JSON field that is not asked whether the database supports it, as all that we use do.

    For that system check Django connects to the database before each command. SQLite would delete
    the log beside a damaged one, which `restorebackup` may still need.
    """

    def check(self, **options: Any) -> list[CheckMessage]:
        return super().check(**options | {"databases": ()})

    def deconstruct(self) -> Any:
        """As a plain one, in migrations."""
        name, _path, arguments, options = super().deconstruct()
        return name, "django.db.models.JSONField", arguments, options


MOST_ROWS = 2**63 - 1
"""So many rows a table may have, and a database can store."""


def sane_numbers(tables: object) -> dict[str, int | None]:
    """What `RowCounts.tables` holds, as far as it makes sense.

    Whatever else somebody may have written there, no page and no retention may fail because of it.
    """
    given = tables if isinstance(tables, dict) else {}
    return {
        name: rows if type(rows) is int and 0 <= rows <= MOST_ROWS else None
        for name, rows in given.items()
    }


class RowCountsQuerySet(models.QuerySet["RowCounts"]):
    def waiting(self) -> RowCountsQuerySet:
        """Those of complete backups in which nobody has looked for losses yet."""
        return self.filter(looked_at=None).exclude(backup__status=Status.RUNNING)


class RowCounts(models.Model):
    """How many rows each table of a backup holds, counted in the verified copy.

    A model of its own, so that the lists of thousands of backups do not load it. It outlives its
    backup for some weeks, so that it does not depend on retention what was usual.
    """

    backup = models.OneToOneField(
        Backup, models.SET_NULL, null=True, related_name="row_counts", editable=False
    )
    tenant_id = models.CharField(max_length=ID_LENGTH, editable=False)
    # When the backup was made.
    created_at = models.DateTimeField(editable=False)
    # Whether it shows what there was from then on; not so what was saved before a restore.
    is_compared = models.BooleanField(default=True, editable=False)
    # The rows by the table's name; null for a table that could not be counted.
    tables: Any = StoredJSONField(default=dict, editable=False)
    # What `django_migrations` held, as a digest: whether a table vanished by a migration.
    migrations = models.CharField(max_length=64, blank=True, default="", editable=False)
    # When somebody last looked whether rows were lost; null until this backup was looked at, too.
    looked_at = models.DateTimeField(null=True, editable=False)

    objects = RowCountsQuerySet.as_manager()

    class Meta:
        verbose_name = _("numbers of rows")
        verbose_name_plural = _("numbers of rows")
        indexes = [
            models.Index(fields=["tenant_id", "created_at"], name="tenant_backup_counts"),
            # Each tick asks for these, and there are hardly ever any.
            models.Index(
                fields=["looked_at"],
                condition=Q(looked_at__isnull=True),
                name="tenant_backup_not_looked",
            ),
        ]

    def __str__(self) -> str:
        return str(self.backup_id)


class RowLossQuerySet(models.QuerySet["RowLoss"]):
    def for_tenant(self, tenant_id: str) -> RowLossQuerySet:
        return self.filter(tenant_id=tenant_id)

    def open(self) -> RowLossQuerySet:
        """Neither intended nor over."""
        return self.filter(ended_at=None)


class RowLoss(models.Model):
    """The finding that a table lost rows: open until somebody says "intended", or they are back."""

    tenant_id = models.CharField(_("tenant"), max_length=ID_LENGTH, editable=False)
    table = models.CharField(_("table"), max_length=255, editable=False)
    rows_before = models.PositiveBigIntegerField(editable=False)
    rows_now = models.PositiveBigIntegerField(editable=False)
    # The least that there were in the weeks before, by which it is judged whether they are back.
    least_before = models.PositiveBigIntegerField(editable=False)
    # The last good backup before the rows were lost, which is held, and the first after that.
    before = models.ForeignKey(Backup, models.SET_NULL, null=True, related_name="+", editable=False)
    after = models.ForeignKey(Backup, models.SET_NULL, null=True, related_name="+", editable=False)
    # When those were made: they may be gone, and the finding still has its dates.
    before_at = models.DateTimeField(editable=False)
    after_at = models.DateTimeField(editable=False)
    found_at = models.DateTimeField(default=timezone.now, editable=False)
    # When it ended. By whom, if a person said that it was intended; empty if the rows are back.
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)
    intended_by = models.CharField(max_length=255, blank=True, default="", editable=False)

    objects = RowLossQuerySet.as_manager()

    class Meta:
        verbose_name = _("loss of rows")
        verbose_name_plural = _("losses of rows")
        indexes = [models.Index(F("tenant_id"), F("found_at").desc(), name="tenant_backup_losses")]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "table"],
                condition=Q(ended_at__isnull=True),
                name="tenant_backup_one_loss",
            )
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.table}"


class RestoreRequestQuerySet(models.QuerySet["RestoreRequest"]):
    def for_tenant(self, tenant_id: str) -> RestoreRequestQuerySet:
        return self.filter(tenant_id=tenant_id)

    def open(self) -> RestoreRequestQuerySet:
        return self.filter(answered_at=None)

    def to_be_mailed(self, asked_by: datetime) -> RestoreRequestQuerySet:
        """Open, asked by this moment, and not told to the operators yet."""
        unsent = self.open().filter(mailed_at=None, asked_at__lte=asked_by)
        return unsent.select_related("backup").order_by("asked_at")


class RestoreRequest(models.Model):
    """A tenant's administrator asks the operator to bring something back from a backup."""

    tenant_id = models.CharField(_("tenant"), max_length=ID_LENGTH, editable=False)
    backup = models.ForeignKey(Backup, models.SET_NULL, null=True, related_name="+", editable=False)
    # The tables that were chosen, by name; none: whatever the note says.
    tables: Any = StoredJSONField(default=list, editable=False)
    note = models.CharField(_("note"), max_length=NOTE_LENGTH, blank=True, default="")
    asked_by = models.CharField(_("asked by"), max_length=255, blank=True, default="")
    asked_at = models.DateTimeField(_("asked"), default=timezone.now)
    answered_by = models.CharField(_("answered by"), max_length=255, blank=True, default="")
    answered_at = models.DateTimeField(_("answered"), null=True, blank=True)
    # When the operators were told by mail; null until that has worked.
    mailed_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = RestoreRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("request for lost data")
        verbose_name_plural = _("requests for lost data")
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id"],
                condition=Q(answered_at__isnull=True),
                name="tenant_backup_one_request",
            )
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.backup_id}"


class RowRestoreQuerySet(models.QuerySet["RowRestore"]):
    def for_tenant(self, tenant_id: str) -> RowRestoreQuerySet:
        return self.filter(tenant_id=tenant_id)


class RowRestore(models.Model):
    """Rows that were brought back into a live database, or were about to be: what undoes it.

    It is written before the transaction and marked afterwards. Where a crash came between, recovery
    looks into the database whether it happened.
    """

    class State(models.TextChoices):
        PLANNED = "planned", _("planned")
        DONE = "done", _("done")
        UNDOING = "undoing", _("being undone")
        UNDONE = "undone", _("undone")

    tenant_id = models.CharField(_("tenant"), max_length=ID_LENGTH, editable=False)
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.PLANNED, editable=False
    )
    # The backup that the rows came from, and the one that was made just before.
    source = models.ForeignKey(Backup, models.SET_NULL, null=True, related_name="+", editable=False)
    safety_copy = models.ForeignKey(
        Backup, models.SET_NULL, null=True, related_name="+", editable=False
    )
    # How many rows of each table were restored, updated and skipped.
    tables: Any = StoredJSONField(default=dict, editable=False)
    # Each planned row: its key, what it was, and what it became; compressed.
    plan = models.BinaryField(default=b"", editable=False)
    actor = models.CharField(max_length=255, blank=True, default="", editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = RowRestoreQuerySet.as_manager()

    class Meta:
        verbose_name = _("restore of rows")
        verbose_name_plural = _("restores of rows")
        indexes = [
            models.Index(F("tenant_id"), F("created_at").desc(), name="tenant_backup_rows_back")
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.get_state_display()}"
