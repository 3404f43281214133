"""Saving a tenant's changed settings, and what the history says of the change."""

from __future__ import annotations

from typing import Any

from django.db.models import Field
from django.utils import timezone
from django.utils.translation import gettext

from tenant_backup.catalog import catalog_transaction
from tenant_backup.models import BackupSettings, Event, EventKind
from tenant_backup.tenants import Tenant


def configure(tenant: Tenant, settings: BackupSettings, *, actor: str = "") -> None:
    """Save a tenant's changed settings; the next run follows them at once.

    If the schedule is as it was, so is the next run: one that is due now, or will be tried again
    soon, is not put off.
    """
    fields = [field for field in settings._meta.fields if field.editable and not field.primary_key]
    with catalog_transaction():
        saved = BackupSettings.objects.select_for_update().filter(pk=settings.pk).first()
        if saved and (saved.automatic, saved.rule) == (settings.automatic, settings.rule):
            settings.next_run_at = saved.next_run_at
            settings.scheduled_since = saved.scheduled_since
        else:
            settings.scheduled_since = timezone.now()
            settings.next_run_at = settings.slot_after(settings.scheduled_since, tenant.zone)
        detail = ""
        if saved:
            names = [field.name for field in fields]
            settings.save(update_fields=[*names, "next_run_at", "scheduled_since"])
            detail = ", ".join(filter(None, (_change(field, saved, settings) for field in fields)))
        else:
            settings.save()
        Event.record(EventKind.CONFIGURED, tenant.id, actor=actor, detail=detail)


def _change(field: Field[Any, Any], before: BackupSettings, after: BackupSettings) -> str:
    """How the history tells of a changed field: "maximum number: 7 → 14"; or nothing."""
    old, new = getattr(before, field.attname), getattr(after, field.attname)
    if old == new:
        return ""
    # The history is read by more people than the settings.
    is_private = field.name == "notify_email"
    change = gettext("changed") if is_private else f"{_shown(field, old)} → {_shown(field, new)}"
    return f"{field.verbose_name}: {change}"


def _shown(field: Field[Any, Any], value: object) -> str:
    if isinstance(value, bool):
        return gettext("on") if value else gettext("off")
    words = dict(field.flatchoices).get(value, value)
    return "-" if words in (None, "") else str(words)
