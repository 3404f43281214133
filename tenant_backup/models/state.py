"""What the system found out about each tenant, and whom it has notified of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from django.db import models
from django.utils.translation import gettext_lazy as _

from tenant_backup.tenants import ID_LENGTH

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

Tone = Literal["good", "neutral", "warning", "error"]


class Verdict(models.IntegerChoices):
    """The verdict on a tenant: the higher, the graver. `monitoring.verdict` judges it.

    The numbers are stored. They leave room for more.
    """

    RETIRED = 10, _("retired")
    UNLISTED = 20, _("not listed")
    WELL = 30, _("all well")
    OFF = 40, _("automatic off")
    STOPPED = 50, _("automation does not run")
    NO_BACKUP = 60, _("no backup yet")
    NO_ROOM = 70, _("no room on the disk")
    ROWS_LOST = 75, _("rows lost")
    MISSING = 80, _("backups missing or damaged")
    FUTURE = 90, _("only backups dated in the future")
    FAILED = 100, _("failed")
    OVERDUE = 110, _("overdue")
    DISAPPEARED = 120, _("disappeared")
    INVALID = 130, _("not valid")

    @property
    def code(self) -> str:
        """The verdict as programs read it, such as `no_backup`."""
        return self.name.lower()

    @property
    def needs_attention(self) -> bool:
        """Whether somebody must act. Then `checkbackups` ends with 1."""
        return self >= Verdict.NO_ROOM

    @property
    def tone(self) -> Tone:
        if self.needs_attention:
            return "error"
        if self in (Verdict.NO_BACKUP, Verdict.STOPPED):
            return "warning"
        return "good" if self is Verdict.WELL else "neutral"

    @property
    def sentence(self) -> str:
        """The same in a sentence, in the active language."""
        return str(_SENTENCES[self])


_SENTENCES: dict[Verdict, StrOrPromise] = {
    Verdict.RETIRED: _("This tenant is retired, so it is not backed up."),
    Verdict.UNLISTED: _("The tenant provider does not list this tenant, so it is not backed up."),
    Verdict.WELL: _("All is well: backups are made automatically."),
    Verdict.OFF: _("Backups are made by hand only."),
    Verdict.STOPPED: _("No automatic backups are made at present."),
    Verdict.NO_BACKUP: _("There is no good backup."),
    Verdict.NO_ROOM: _("The disk has no room for another backup."),
    Verdict.ROWS_LOST: _("Rows have been lost."),
    Verdict.MISSING: _("Backups are missing or damaged."),
    Verdict.FUTURE: _("All good backups are dated in the future."),
    Verdict.FAILED: _("The last attempt to make a backup failed."),
    Verdict.OVERDUE: _("A backup is overdue."),
    Verdict.DISAPPEARED: _("This tenant has disappeared, so it is not backed up."),
    Verdict.INVALID: _("This tenant is not valid, so it is not backed up."),
}


class Recipient(models.TextChoices):
    """Who is notified."""

    ADMINS = "admins", _("operators")
    TENANT = "tenant", _("tenant")


class TenantStateQuerySet(models.QuerySet["TenantState"]):
    def ensure(self, tenant_ids: Iterable[str]) -> None:
        """Make the row of each of these tenants that has none yet."""
        rows = [TenantState(tenant_id=tenant_id) for tenant_id in sorted(set(tenant_ids))]
        self.bulk_create(rows, ignore_conflicts=True)

    def of(self, tenant_id: str) -> TenantState:
        """This tenant's state; if it has none yet, an empty one, not saved."""
        return self.filter(tenant_id=tenant_id).first() or TenantState(tenant_id=tenant_id)


class TenantState(models.Model):
    """What the system found out about a tenant and whom it notified, beside what people configured.

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

    # Since when the disk has had no room for another backup, how much that would need, and when the
    # disk was last looked at.
    no_room_since = models.DateTimeField(null=True, blank=True, editable=False)
    needed_bytes = models.PositiveBigIntegerField(null=True, blank=True, editable=False)
    free_bytes = models.PositiveBigIntegerField(null=True, blank=True, editable=False)
    room_checked_at = models.DateTimeField(null=True, blank=True, editable=False)

    # The gravest finding when changes were last noted (without any: well), and how many backups
    # were missing or damaged. A backup that succeeds after `failure_noted_at` is a recovery.
    noted = models.PositiveSmallIntegerField(
        choices=Verdict.choices, default=Verdict.WELL, editable=False
    )
    missing_noted = models.PositiveIntegerField(default=0, editable=False)
    failure_noted_at = models.DateTimeField(null=True, blank=True, editable=False)

    # What the last notice said, and when it was sent; when one last told of a failure; and who has
    # not been reached yet.
    notified = models.PositiveSmallIntegerField(
        choices=Verdict.choices, default=Verdict.WELL, editable=False
    )
    notified_at = models.DateTimeField(null=True, blank=True, editable=False)
    failure_notified_at = models.DateTimeField(null=True, blank=True, editable=False)
    unsent_to = models.CharField(
        max_length=10, choices=Recipient.choices, blank=True, default="", editable=False
    )
    # How many missing or damaged backups it told of, and when the last of them was found. More of
    # them are news.
    missing_notified = models.PositiveIntegerField(default=0, editable=False)
    missing_notified_until = models.DateTimeField(null=True, blank=True, editable=False)
    # When the last loss of rows was found that it told of. A later one is news.
    rows_lost_notified_until = models.DateTimeField(null=True, blank=True, editable=False)
    absence_notified_at = models.DateTimeField(null=True, blank=True, editable=False)

    # When a worker was last asked to verify a backup of this tenant again.
    verify_queued_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TenantStateQuerySet.as_manager()

    class Meta:
        verbose_name = _("state of a tenant")
        verbose_name_plural = _("states of the tenants")

    def __str__(self) -> str:
        return self.tenant_id

    def change(self, *unless_changed: str, **changes: Any) -> bool:
        """Save these changes alone, and make the row if there is none yet.

        Returns False and changes nothing if another process has changed one of the fields
        `unless_changed` since this row was read.
        """
        if self._state.adding:
            TenantState.objects.ensure([self.tenant_id])
        as_read = {name: getattr(self, name) for name in unless_changed}
        row = TenantState.objects.filter(tenant_id=self.tenant_id, **as_read)
        if not row.update(**changes):
            return False
        vars(self).update(changes)
        return True
