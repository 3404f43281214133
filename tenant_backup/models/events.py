"""The history: who did what, and when."""

from __future__ import annotations

import logging

from django.db import models, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from tenant_backup.conf import conf
from tenant_backup.models.backup import Backup
from tenant_backup.tenants import ID_LENGTH
from tenant_backup.texts import Text, data_of, in_active_language

logger = logging.getLogger("tenant_backup")


class EventKind(models.TextChoices):
    """What can happen to a backup, or to a tenant's settings."""

    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    REFUSED = "refused", _("refused")
    DELETED = "deleted", _("deleted")
    PRUNED = "pruned", _("removed automatically")
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
    HELD = "held", _("held")
    RELEASED = "released", _("released")
    ROWS_LOST = "rows_lost", _("rows lost")
    ROWS_BACK = "rows_back", _("rows are back")
    INTENDED = "intended", _("loss intended")
    ASKED = "asked", _("asked for")
    ANSWERED = "answered", _("answered")
    ROWS_RESTORED = "rows_restored", _("rows restored")
    ROWS_UNDONE = "rows_undone", _("restore of rows undone")


ALARMING = {
    EventKind.FAILED,
    EventKind.OVERDUE,
    EventKind.MISSING,
    EventKind.DAMAGED,
    EventKind.ROWS_LOST,
}
"""What the log reports as errors. Everything else is information."""


class EventQuerySet(models.QuerySet["Event"]):
    def for_tenant(self, tenant_id: str) -> EventQuerySet:
        return self.filter(tenant_id=tenant_id)

    def in_short(self) -> EventQuerySet:
        """Without pruning: that follows every backup, and would fill a few lines."""
        return self.exclude(kind=EventKind.PRUNED)

    def newest_first(self) -> EventQuerySet:
        return self.order_by("-created_at", "-pk")


class Event(models.Model):
    """One line of the history: who did what, and when. It stays when its backup is deleted.

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
        """Add a line about a backup, or about the tenant of this id, to the history and to the log.

        The log's record also has the attributes `action`, `tenant_id`, `backup_id`, `actor` and
        `detail`. It is written when the transaction is committed.
        """
        backup = about if isinstance(about, Backup) else None
        event = cls.objects.create(
            kind=kind,
            tenant_id=about.tenant_id if isinstance(about, Backup) else about,
            backup_id=backup.pk if backup else None,
            file_name=backup.file_name if backup else "",
            size=backup.size if backup else None,
            actor=actor,
            detail=str(detail),
            detail_data=data_of(detail),
        )
        words = [kind.value, event.file_name]
        words += [f"by {actor}"] * bool(actor) + [f"({event.detail})"] * bool(event.detail)
        names = ("tenant_id", "backup_id", "actor", "detail")
        extra = {"action": kind.value} | {name: getattr(event, name) for name in names}
        level = logging.ERROR if kind in ALARMING else logging.INFO

        def write() -> None:
            text = " ".join(filter(None, words))
            logger.log(level, "Tenant %r: %s", event.tenant_id, text, extra=extra)

        transaction.on_commit(write, using=conf.CATALOG_DATABASE, robust=True)
