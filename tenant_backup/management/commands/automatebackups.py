"""`manage.py automatebackups`: the operator's switch for automatic backups."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from tenant_backup import automation
from tenant_backup.automation import AutomationStatus
from tenant_backup.management.base import (
    CatalogCommand,
    as_iso,
    status_as_dict,
    status_in_words,
    user,
)


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
                automation.resume(user())
        automation_status = automation.get_status()
        self.say(_as_json(automation_status) if as_json else status_in_words(automation_status))


def _as_json(automation_status: AutomationStatus) -> str:
    answer = {
        "ok": True,
        "backups": [],
        "errors": [],
        **status_as_dict(automation_status),
    }
    return json.dumps(answer, indent=2, default=as_iso)
