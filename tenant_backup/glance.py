"""What the page says first: whether this tenant is safe, and if not, what is wrong."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tenant_backup.models import Alarm
from tenant_backup.monitoring import Finding, Judgement


class Kind(enum.Enum):
    """One answer at a time: the first of these that is the case."""

    FAILED = "failed"
    NONE = "none"
    OVERDUE = "overdue"
    LOST = "lost"
    STOPPED = "stopped"
    OFF = "off"
    WELL = "well"


TONES = {
    Kind.FAILED: "error",
    Kind.NONE: "warning",
    Kind.OVERDUE: "error",
    Kind.LOST: "error",
    Kind.STOPPED: "warning",
    Kind.OFF: "neutral",
    Kind.WELL: "good",
}


@dataclass(frozen=True, slots=True)
class Glance:
    kind: Kind
    finding: Finding | None = None
    """What monitoring says about it, where it does."""

    @property
    def tone(self) -> str:
        return TONES[self.kind]


def at_a_glance(judgement: Judgement, *, automation_runs: bool) -> Glance:
    """The one thing to be said about a tenant's backups."""
    findings: dict[Alarm, Finding] = {}
    for finding in judgement.findings:
        findings.setdefault(finding.alarm, finding)
    settings = judgement.settings
    if Alarm.FAILED in findings:
        return Glance(Kind.FAILED, findings[Alarm.FAILED])
    if not settings.last_good_at:
        # That some are lost is why there is none.
        return Glance(Kind.NONE, findings.get(Alarm.MISSING))
    if Alarm.OVERDUE in findings:
        return Glance(Kind.OVERDUE, findings[Alarm.OVERDUE])
    if Alarm.MISSING in findings:
        return Glance(Kind.LOST, findings[Alarm.MISSING])
    if not settings.automatic:
        return Glance(Kind.OFF)
    return Glance(Kind.WELL if automation_runs else Kind.STOPPED)
