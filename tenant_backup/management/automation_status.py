"""The status of automation, as commands print it: for people and for programs."""

import logging
from datetime import datetime
from typing import Any

from django.utils import timezone

from tenant_backup.automation import AutomationState, AutomationStatus
from tenant_backup.models import BackupSettings, BackupSettingsQuerySet
from tenant_backup.tenants import list_tenants

logger = logging.getLogger("tenant_backup")


def status_as_dict(status: AutomationStatus) -> dict[str, Any]:
    """The status for programs."""
    return {
        "state": status.state.value,
        "last_tick_at": status.last_tick_at,
        "paused_at": status.paused_at,
        "paused_by": status.paused_by or None,
    }


def status_in_words(status: AutomationStatus) -> str:
    """The status for people, and what to do."""
    seen = "not seen yet"
    if status.last_tick_at:
        seen = f"last seen at {_local(status.last_tick_at)}"
    match status.state:
        case AutomationState.NOT_SET_UP:
            return "Automation is not set up. Set it up: manage.py automatebackups enable"
        case AutomationState.PAUSED:
            by = f" by {status.paused_by}" if status.paused_by else ""
            return (
                f"Automation is paused{by} since {_local(status.paused_at)}. "
                "Resume it: manage.py automatebackups resume"
            )
        case AutomationState.STALLED if status.waiting_since:
            return (
                f"Automation is stalled: it was {seen}, but queued backups do not reach a worker, "
                f"the oldest since {_local(status.waiting_since)}. "
                f"{status.waiting_because}"
            ).rstrip()
        case AutomationState.STALLED:
            return (
                f"Automation is stalled: {seen}. Start a cluster "
                f"({status.start_command}), or let cron run "
                "python manage.py runbackup --due every minute. Workers that are busy "
                "with other long tasks look the same."
            )
        case AutomationState.RUNNING:
            rows = _settings_of_all()
            return (
                f"Automation is running, {seen}. {rows.filter(automatic=True).count()} of "
                f"{rows.count()} tenants have automatic backups on."
            )


def _local(at: datetime | None) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S}"


def _settings_of_all() -> BackupSettingsQuerySet:
    """The settings of today's tenants; of all that there ever were where the provider fails."""
    rows = BackupSettings.objects.all()
    try:
        ids = [tenant.id for tenant in list_tenants().tenants]
    except Exception:
        logger.exception("The tenant provider failed.")
        return rows
    return rows.filter(tenant_id__in=ids)
