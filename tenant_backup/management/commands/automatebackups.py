"""`manage.py automatebackups`: the operator's switch for automatic backups."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from tenant_backup import automation
from tenant_backup.automation import Standing, State
from tenant_backup.management.base import CatalogCommand, as_iso, user
from tenant_backup.models import BackupSettings


class Command(CatalogCommand):
    help = "Enable, pause or resume automatic backups of all tenants, or say where they stand."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "action",
            choices=["enable", "pause", "resume", "status"],
            help="enable: make the schedule, as migrate does; pause: start nothing automatic",
        )
        parser.add_argument(
            "--json", action="store_true", dest="as_json", help="print one JSON object"
        )

    def handle(self, *, action: str, as_json: bool, **options: Any) -> None:
        match action:
            case "enable":
                automation.set_up()
            case "pause":
                automation.pause(user())
            case "resume":
                automation.resume()
        standing = automation.standing()
        self.say(_as_json(standing) if as_json else _in_words(standing))


def _as_json(standing: Standing) -> str:
    answer = {
        "ok": True,
        "backups": [],
        "errors": [],
        "state": standing.state.value,
        "last_tick_at": standing.last_tick_at,
        "paused_at": standing.paused_at,
        "paused_by": standing.paused_by or None,
    }
    return json.dumps(answer, indent=2, default=as_iso)


def _in_words(standing: Standing) -> str:
    seen = (
        f"last seen at {timezone.localtime(standing.last_tick_at):%Y-%m-%d %H:%M:%S}"
        if standing.last_tick_at
        else "never seen yet"
    )
    match standing.state:
        case State.NOT_SET_UP:
            return "Automation is not set up. Set it up: manage.py automatebackups enable"
        case State.PAUSED:
            by = f" by {standing.paused_by}" if standing.paused_by else ""
            since = timezone.localtime(standing.paused_at)
            return (
                f"Automation is paused{by} since {since:%Y-%m-%d %H:%M:%S}. "
                "Take it up again: manage.py automatebackups resume"
            )
        case State.STALLED:
            return (
                f"Automation is stalled: {seen}. Start a cluster (manage.py qcluster), or let cron "
                "run manage.py runbackup --due. Workers that are busy with other long tasks look "
                "the same."
            )
        case State.RUNNING:
            rows = BackupSettings.objects.all()
            return (
                f"Automation is running, {seen}. {rows.filter(automatic=True).count()} of "
                f"{rows.count()} tenants have automatic backups on."
            )
