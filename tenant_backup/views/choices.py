"""What the settings part of the page shows: the form, presets, and what its choices mean."""

from typing import Any

from django.http import HttpRequest

from tenant_backup import backups, monitoring
from tenant_backup.forms import SettingsForm
from tenant_backup.meaning import Meaning, in_short, meaning_of, meaning_unsaved, offers
from tenant_backup.models import BackupSettings
from tenant_backup.tenants import Tenant, is_operator


def settings_part(
    request: HttpRequest,
    tenant: Tenant,
    settings: BackupSettings,
    coming: backups.Prospect,
    form: SettingsForm | None,
) -> dict[str, Any]:
    """With the `form` as it was sent, if that was not saved. `coming` is by the saved settings."""
    database_bytes = backups.database_bytes(tenant)
    addresses = monitoring.operators_addresses()
    return {
        "form": form or SettingsForm(instance=settings),
        "settings_in_short": in_short(settings),
        "is_settings_open": form is not None,
        "meaning": _meaning(tenant, settings, coming, form, database_bytes),
        "presets": list(offers(tenant, settings, database_bytes)),
        "is_operator_told": bool(addresses),
        "operators_addresses": addresses if is_operator(request) else [],
    }


def _meaning(
    tenant: Tenant,
    settings: BackupSettings,
    coming: backups.Prospect,
    form: SettingsForm | None,
    database_bytes: int | None,
) -> Meaning:
    if form is None or not form.has_changed():
        return meaning_of(tenant, settings, coming, database_bytes)
    if form.is_valid():
        return meaning_unsaved(tenant, form.instance, database_bytes)
    return Meaning(is_saved=False)
