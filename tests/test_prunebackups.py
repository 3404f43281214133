"""`prunebackups`: what retention removes, with the reasons, and nothing else."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tenant_backup import backups
from tenant_backup.models import Backup, BackupSettings, Event, Trigger

pytestmark = pytest.mark.django_db(transaction=True)
COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)


@pytest.fixture
def two_tenants(add_tenant):
    """Two tenants with three backups each; only the first one's settings say to keep one."""
    tenants = [add_tenant(name) for name in ("acme", "acme2")]
    for tenant in tenants:
        for _ in range(3):
            backups.create(tenant, COMMAND)
    BackupSettings.objects.create(tenant_id="acme", keep_last=1)
    return tenants


def prune(*arguments):
    output = StringIO()
    call_command("prunebackups", *arguments, stdout=output, stderr=output)
    return output.getvalue()


def numbers():
    return [Backup.objects.for_tenant(name).count() for name in ("acme", "acme2")]


def test_a_dry_run_says_what_and_why_and_removes_nothing(two_tenants):
    outcome, *lines = prune("--dry-run").splitlines()
    assert outcome == "Would remove 2 backups:"
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("acme: would remove acme-")
        assert line.endswith(".sqlite3: Only the newest one is kept.")
    assert numbers() == [3, 3]


def test_removes_what_the_dry_run_said_and_records_who_and_why(two_tenants):
    announced = prune("--dry-run").replace("would remove", "removed")
    announced = announced.replace("Would remove", "Removed")
    assert prune() == announced
    assert numbers() == [1, 3]
    events = Event.objects.filter(kind="pruned")
    assert {(event.tenant_id, event.detail) for event in events} == {
        ("acme", "Only the newest one is kept.")
    }
    assert all(event.actor for event in events)
    assert prune() == "There is nothing to prune.\n"


def test_only_the_named_tenants(two_tenants):
    prune("acme2")
    assert numbers() == [3, 3]


def test_an_unknown_tenant_is_a_usage_error_and_nothing_is_removed(two_tenants):
    with pytest.raises(CommandError, match="There is no tenant acm") as refusal:
        prune("acme", "acm")
    assert refusal.value.returncode == 2
    assert numbers() == [3, 3]


def test_json_gives_each_with_its_reasons(two_tenants):
    answer = json.loads(prune("--json"))
    assert answer["ok"] is True
    assert [row["tenant"] for row in answer["backups"]] == ["acme", "acme"]
    acme, acme2 = answer["tenants"]
    assert [removed["reasons"] for removed in acme["removed"]] == [
        ["Only the newest one is kept."],
        ["Only the newest one is kept."],
    ]
    assert acme2 == {"id": "acme2", "removed": []}


def test_one_tenants_failure_stops_no_other(two_tenants):
    BackupSettings.objects.create(tenant_id="acme2", keep_last=1)
    first = Backup.objects.for_tenant("acme").order_by("pk")[0]
    Backup.objects.filter(pk=first.pk).update(file_name="../db.sqlite3")
    with pytest.raises(CommandError, match="1 of 2 failed") as refusal:
        prune()
    assert refusal.value.returncode == 1
    assert numbers() == [2, 1]
    assert two_tenants[0].database.exists()
