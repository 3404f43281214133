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

    Where the schedule is as it was, so is the next run: one that is due now, or will be tried again
    soon, is not put off.
    """
    with catalog_transaction():
        saved = BackupSettings.objects.select_for_update().filter(pk=settings.pk).first()
        if saved and (saved.automatic, saved.rule) == (settings.automatic, settings.rule):
            settings.next_run_at = saved.next_run_at
            settings.scheduled_since = saved.scheduled_since
        else:
            settings.scheduled_since = timezone.now()
            settings.next_run_at = settings.slot_after(settings.scheduled_since, tenant.zone)
        names = [*_configurable(settings), "next_run_at", "scheduled_since"]
        settings.save(update_fields=names if saved else None)
        detail = _changes(saved, settings) if saved else ""
        Event.record(EventKind.CONFIGURED, tenant.id, actor=actor, detail=detail)


def _configurable(settings: BackupSettings) -> dict[str, Field[Any, Any]]:
    """The fields that people configure, by name."""
    fields = [field for field in settings._meta.fields if not field.primary_key]
    return {field.name: field for field in fields if field.editable}


def _changes(before: BackupSettings, after: BackupSettings) -> str:
    """What was changed, for the history: "maximum number: 7 → 14, automatic backup: off → on"."""
    return ", ".join(
        f"{field.verbose_name}: {_change(before, after, field)}"
        for field in _configurable(after).values()
        if getattr(before, field.attname) != getattr(after, field.attname)
    )


def _change(before: BackupSettings, after: BackupSettings, field: Field[Any, Any]) -> str:
    if field.name == "notify_email":
        # The history is read by more people than the settings.
        return gettext("changed")
    return f"{_shown(before, field)} → {_shown(after, field)}"


def _shown(settings: BackupSettings, field: Field[Any, Any]) -> str:
    value = getattr(settings, field.attname)
    if isinstance(value, bool):
        return gettext("on") if value else gettext("off")
    words = dict(field.flatchoices).get(value, value)
    return "-" if words in (None, "") else str(words)
