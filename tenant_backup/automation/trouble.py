"""The notices about automation itself: that it is stalled or not set up, or runs again."""

from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext

from tenant_backup import monitoring
from tenant_backup.automation.status import AutomationStatus, get_status
from tenant_backup.tenants import Tenant


def notify(now: datetime | None = None) -> bool:
    """Send the notices of `monitoring.notify`, and those about automation itself.

    Returns whether all is well.
    """
    return monitoring.notify(now, ask_automation=_condition)


def _condition(tenants: Sequence[Tenant], now: datetime) -> monitoring.Condition:
    """The status of automation, in the words of a mail."""
    status = get_status(now)
    if not status.keeps_waiting(tenants):
        return monitoring.Condition(
            trouble="",
            headline=gettext("automation is running again"),
            text=gettext("Automation is running again."),
            is_running=status.is_running,
        )
    return monitoring.Condition(
        trouble=status.state.value,
        headline=gettext("automation is %(state)s") % {"state": status.state.label},
        text=_stalled(status) if status.is_set_up else _not_set_up(),
        is_running=False,
    )


def _not_set_up() -> str:
    text = gettext(
        "Automation is not set up, so no automatic backup is made. Set it up: %(command)s"
    )
    return text % {"command": "python manage.py automatebackups enable"}


def _stalled(status: AutomationStatus) -> str:
    text = gettext(
        "Automation is stalled, so no automatic backup is made. %(seen)s Start a cluster "
        "(%(command)s), or let cron run python manage.py runbackup --due every minute. Workers "
        "that are busy with other long tasks look the same."
    )
    seen = gettext("It has not been seen yet.")
    if status.last_tick_at:
        at = date_format(timezone.localtime(status.last_tick_at), "DATETIME_FORMAT")
        seen = gettext("It was last seen at %(time)s.")
        seen %= {"time": f"{at} ({timezone.get_current_timezone_name()})"}
    return text % {"seen": seen, "command": status.start_command}
