"""The state of automation itself: paused or not, and when it was last seen."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Automation(models.Model):
    """The one row that holds automation's own state; its schedule belongs to django-q2."""

    paused_at = models.DateTimeField(_("paused"), null=True, blank=True)
    paused_by = models.CharField(_("paused by"), max_length=255, blank=True, default="")
    last_tick_at = models.DateTimeField(_("last tick"), null=True, blank=True)
    notified_at = models.DateTimeField(_("last notice"), null=True, blank=True)
    worker_seen_at = models.DateTimeField(_("last sign of work"), null=True, blank=True)
    # Which problem of automation itself the last notice reported, and when.
    trouble_notified = models.CharField(max_length=20, blank=True, default="", editable=False)
    trouble_notified_at = models.DateTimeField(null=True, blank=True, editable=False)

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
