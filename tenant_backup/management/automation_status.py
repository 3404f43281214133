"""The status of automation, as commands print it: for people and for programs."""

import logging
from typing import Any

from django.utils.translation import gettext

from tenant_backup.automation import AutomationState, AutomationStatus
from tenant_backup.models import BackupSettings, BackupSettingsQuerySet
from tenant_backup.monitoring import moment_in_words
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
    seen = gettext("not seen yet")
    if status.last_tick_at:
        seen = gettext("last seen at %(time)s") % {"time": moment_in_words(status.last_tick_at)}
    match status.state:
        case AutomationState.NOT_SET_UP:
            text = gettext("Automation is not set up. Set it up: %(command)s")
            return text % {"command": "python manage.py automatebackups enable"}
        case AutomationState.PAUSED:
            return _paused(status)
        case AutomationState.STALLED if status.waiting_since:
            text = gettext(
                "Automation is stalled: it was %(seen)s, but queued backups do not reach a worker, "
                "the oldest since %(time)s. %(because)s"
            )
            values = {
                "seen": seen,
                "time": moment_in_words(status.waiting_since),
                "because": status.waiting_because,
            }
            return (text % values).rstrip()
        case AutomationState.STALLED:
            text = gettext(
                "Automation is stalled: %(seen)s. Start a cluster (%(start)s), or let cron run "
                "%(command)s every minute. Workers that are busy with other long tasks look the "
                "same."
            )
            return text % {
                "seen": seen,
                "start": status.start_command,
                "command": "python manage.py runbackup --due",
            }
        case AutomationState.RUNNING:
            rows = _settings_of_all()
            text = gettext(
                "Automation is running, %(seen)s. %(on)d of %(all)d tenants have automatic backups "
                "on."
            )
            on = rows.filter(automatic=True).count()
            return text % {"seen": seen, "on": on, "all": rows.count()}


def _paused(status: AutomationStatus) -> str:
    text = gettext("Automation is paused since %(time)s. Resume it: %(command)s")
    if status.paused_by:
        text = gettext("Automation is paused by %(who)s since %(time)s. Resume it: %(command)s")
    return text % {
        "who": status.paused_by,
        "time": moment_in_words(status.paused_at) if status.paused_at else "",
        "command": "python manage.py automatebackups resume",
    }


def _settings_of_all() -> BackupSettingsQuerySet:
    """The settings of today's tenants; of all that there ever were where the provider fails."""
    rows = BackupSettings.objects.all()
    try:
        ids = [tenant.id for tenant in list_tenants().tenants]
    except Exception:
        logger.exception("The tenant provider failed.")
        return rows
    return rows.filter(tenant_id__in=ids)
