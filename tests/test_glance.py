"""The decision what the page says first."""

from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import pytest

from tenant_backup.models import Alarm, BackupSettings
from tenant_backup.monitoring import Finding, Judgement
from tenant_backup.monitoring.headline import TONES, Kind, headline_of
from tenant_backup.tenants import Tenant

ACME = Tenant("acme", "Acme", Path("/srv/acme"), Path("/srv/acme/db.sqlite3"))
NOW = datetime(2026, 5, 4, tzinfo=UTC)


def glance(*alarms, has_good=True, automatic=True, runs=True, has_room=True):
    settings = BackupSettings(tenant_id="acme", automatic=automatic)
    settings.last_good_at = NOW if has_good else None
    findings = tuple(Finding(alarm, str(alarm)) for alarm in alarms)
    judgement = Judgement(ACME, settings, findings, False)
    return headline_of(judgement, automation_runs=runs, has_room=has_room)


ORDER = [
    (Kind.FAILED, {"alarm": Alarm.FAILED}),
    (Kind.NONE, {"has_good": False}),
    (Kind.OVERDUE, {"alarm": Alarm.OVERDUE}),
    (Kind.LOST, {"alarm": Alarm.MISSING}),
    (Kind.NO_ROOM, {"has_room": False}),
    (Kind.OFF, {"automatic": False}),
    (Kind.STOPPED, {"runs": False}),
]


@pytest.mark.parametrize("present", list(product([True, False], repeat=len(ORDER))))
def test_the_first_that_is_the_case_is_said_whatever_else_is(present):
    found = [row for row, there in zip(ORDER, present, strict=True) if there]
    expected = found[0][0] if found else Kind.WELL
    facts = {}
    for _kind, fact in found:
        facts |= fact
    facts.pop("alarm", None)
    alarms = [fact["alarm"] for _kind, fact in found if "alarm" in fact]
    # In the order in which monitoring finds them, the gravest first.
    alarms.sort(key=[Alarm.OVERDUE, Alarm.FAILED, Alarm.MISSING].index)
    said = glance(*alarms, **facts)
    assert said.kind is expected
    assert (said.finding is not None) == (expected in (Kind.FAILED, Kind.OVERDUE))
    # Whatever is said first: nobody is told that nothing is lost.
    is_lost = Alarm.MISSING in alarms
    assert (said.lost is not None) == is_lost


def test_each_kind_has_a_tone():
    assert set(TONES) == set(Kind)
