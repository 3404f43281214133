"""The decision what the page says first."""

from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import pytest

from tenant_backup.glance import TONES, Kind, at_a_glance
from tenant_backup.models import Alarm, BackupSettings
from tenant_backup.monitoring import Finding, Judgement
from tenant_backup.tenants import Tenant

ACME = Tenant("acme", "Acme", Path("/srv/acme"), Path("/srv/acme/db.sqlite3"))
NOW = datetime(2026, 5, 4, tzinfo=UTC)


def glance(*alarms, has_good=True, automatic=True, runs=True, has_room=True):
    settings = BackupSettings(tenant_id="acme", automatic=automatic)
    settings.last_good_at = NOW if has_good else None
    findings = tuple(Finding(alarm, str(alarm)) for alarm in alarms)
    judgement = Judgement(ACME, settings, findings, False)
    return at_a_glance(judgement, automation_runs=runs, has_room=has_room)


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({}, Kind.WELL),
        ({"runs": False}, Kind.STOPPED),
        ({"automatic": False}, Kind.OFF),
        ({"automatic": False, "runs": False}, Kind.OFF),
        ({"has_room": False}, Kind.NO_ROOM),
        ({"has_room": False, "automatic": False}, Kind.NO_ROOM),
        ({"has_good": False}, Kind.NONE),
        ({"has_good": False, "has_room": False}, Kind.NONE),
        ({"has_good": False, "automatic": False}, Kind.NONE),
    ],
)
def test_without_findings(facts, kind):
    assert glance(**facts).kind is kind


def test_the_first_that_is_the_case_is_said_whatever_else_is():
    order = [Alarm.FAILED, None, Alarm.OVERDUE, Alarm.MISSING]
    kinds = [Kind.FAILED, Kind.NONE, Kind.OVERDUE, Kind.LOST]
    for present in product([True, False], repeat=4):
        alarms = [a for a, there in zip(order, present, strict=True) if there and a]
        expected = next((k for k, there in zip(kinds, present, strict=True) if there), Kind.WELL)
        # In the order in which monitoring finds them, the gravest first.
        alarms.sort(key=[Alarm.OVERDUE, Alarm.FAILED, Alarm.MISSING].index)
        found = glance(*alarms, has_good=not present[1])
        assert found.kind is expected
        assert (found.finding is not None) == (expected in (Kind.FAILED, Kind.OVERDUE))
        # Whatever is said first: nobody is told that nothing is lost.
        assert (found.lost is not None) == present[3]


def test_each_kind_has_a_tone():
    assert set(TONES) == set(Kind)
