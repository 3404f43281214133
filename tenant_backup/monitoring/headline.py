"""What the page says first: whether this tenant is safe, and if not, what is wrong."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.apps import apps

from tenant_backup.models import Alarm
from tenant_backup.monitoring import Finding, Judgement

if TYPE_CHECKING:
    from tenant_backup.automation import AutomationStatus


class Kind(enum.Enum):
    """One answer at a time: the first of these that is the case."""

    FAILED = "failed"
    NONE = "none"
    OVERDUE = "overdue"
    LOST = "lost"
    NO_ROOM = "no room"
    STOPPED = "stopped"
    OFF = "off"
    WELL = "well"


TONES = {
    Kind.FAILED: "error",
    Kind.NONE: "warning",
    Kind.OVERDUE: "error",
    Kind.LOST: "error",
    Kind.NO_ROOM: "error",
    Kind.STOPPED: "warning",
    Kind.OFF: "neutral",
    Kind.WELL: "good",
}


@dataclass(frozen=True, slots=True)
class Headline:
    kind: Kind
    finding: Finding | None = None
    """What monitoring says about it, where it does."""
    lost: Finding | None = None
    """That backups are lost, whatever is said first."""

    @property
    def tone(self) -> str:
        return TONES[self.kind]


def get_status() -> AutomationStatus | None:
    """Where automation stands; None in a host without django-q2, where there is none."""
    if not apps.is_installed("django_q"):
        return None
    from tenant_backup import automation  # which needs django-q2's models

    return automation.get_status()


def runs(automation_status: AutomationStatus | None) -> bool:
    """Whether workers are there to make a backup, or to read one again."""
    return automation_status is not None and automation_status.state.name == "RUNNING"


def headline_of(judgement: Judgement, *, automation_runs: bool, has_room: bool) -> Headline:
    """The one thing to be said about a tenant's backups."""
    findings: dict[Alarm, Finding] = {}
    for finding in judgement.findings:
        findings.setdefault(finding.alarm, finding)
    settings = judgement.settings
    lost = findings.get(Alarm.MISSING) or findings.get(Alarm.FUTURE)
    if Alarm.FAILED in findings:
        return Headline(Kind.FAILED, findings[Alarm.FAILED], lost)
    if not settings.last_good_at:
        return Headline(Kind.NONE, None, lost)
    if Alarm.OVERDUE in findings:
        return Headline(Kind.OVERDUE, findings[Alarm.OVERDUE], lost)
    if lost:
        return Headline(Kind.LOST, None, lost)
    if not has_room:
        return Headline(Kind.NO_ROOM)
    if not settings.automatic:
        return Headline(Kind.OFF)
    return Headline(Kind.WELL if automation_runs else Kind.STOPPED)
