"""`manage.py automatebackups`: the operator's switch for automatic backups."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from tenant_backup import automation
from tenant_backup.management.automation_status import status_as_dict, status_in_words
from tenant_backup.management.base import CatalogCommand, zone_in_words
from tenant_backup.management.output import user
from tenant_backup.management.terminal import paragraph, width_of
from tenant_backup.monitoring import in_one_zone


class Command(CatalogCommand):
    help = "Enable, pause or resume automatic backups of all tenants, or show their status."
    examples = (
        ("status", "whether automatic backups are made, and what to do if not"),
        ("pause", "start nothing automatic, until: automatebackups resume"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "action",
            choices=["enable", "pause", "resume", "status"],
            help="enable: create the schedule, as migrate does; pause: start nothing automatic",
        )
        super().add_arguments(parser)

    def handle(self, *, action: str, **options: Any) -> None:
        match action:
            case "enable":
                automation.set_up()
            case "pause":
                automation.pause(user())
            case "resume":
                automation.resume(user())
        automation_status = automation.get_status()
        if self.as_json:
            self.report.more = status_as_dict(automation_status)
            self.say(self.report.as_json())
            return
        with in_one_zone(timezone.get_default_timezone()):
            width = width_of(self.stdout)
            self.say(paragraph(status_in_words(automation_status), width))
            if automation_status.last_tick_at or automation_status.paused_at:
                self.say(paragraph(zone_in_words(), width))
