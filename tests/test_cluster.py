"""Automation by the real thing: `qcluster` processes, on each kind of control database."""

import os
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tenant_backup import schedule
from tests.conftest import assert_true_copy, migrate, names_in, on_each_control, stop_cluster

pytestmark = on_each_control

ROWS = "SELECT status, trigger FROM tenant_backup_backup ORDER BY id"
COMPLETE = "SELECT count(*) FROM tenant_backup_backup WHERE status = 'complete'"
NOTHING_WAITS = "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM django_q_ormq)"
ALL_DONE = """
    SELECT 1 FROM tenant_backup_automation WHERE last_tick_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM django_q_ormq)
"""

LARGE = {"rows": 600, "body": 10_000}
"""Of a tenant whose copy takes several steps."""

# A worker that is stopped after each of the first two steps of its first copy, and told to go on.
# Its own standard input is closed by multiprocessing. It says how many seconds are left: until it
# gives up by itself, and until django-q2 ends it.
HELD = """
from time import monotonic
from tenant_backup import sqlite
stdin = os.dup(0)
stops = iter("12")
def hold(deadline, doing):
    if next(stops, None):
        print(round(deadline - monotonic()), round(signal.getitimer(signal.ITIMER_REAL)[0]))
        sys.stdout.flush()
        os.read(stdin, 1)
sqlite.snapshots.require_time = hold
"""

# The first worker that is in the middle of a copy kills itself, and no other.
ONE_WORKER_DIES = """
from tenant_backup import sqlite
mark = Path(os.environ["TEST_HOST"]) / "died"
def die_once(*arguments):
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    die()
sqlite.snapshots.require_time = die_once
"""

# What a cluster does every 30 seconds.
LOOK_AT_THE_SCHEDULES = "from django_q.scheduler import scheduler\nscheduler()\n"

LOOK_AT_THE_PAGE = """
from django.contrib.auth.models import User
from django.test import Client
client = Client(headers={"host": "acme.localhost"})
client.force_login(User.objects.get_or_create(username="ada", is_superuser=True)[0])
print(client.get("/settings/admin/backup").content.decode())
"""

# A person asks for a backup, in a process that knows nothing of clusters.
ASK_FOR_ONE_AND_ADD_A_SCHEDULE = """
from django_q.models import Schedule
from tenant_backup import automation, backups
from tenant_backup.models import Trigger
from tenant_backup.tenants import get_provider
tenant = get_provider().get_tenant(sys.argv[1])
automation.enqueue(backups.request(tenant, backups.BackupRequest(trigger=Trigger.MANUAL)))
Schedule.objects.create(func="math.sqrt", args="4", schedule_type=Schedule.DAILY)
"""

EVERY_TICK_COUNTS = """
from datetime import UTC, datetime, timedelta
from tenant_backup import automation, models
from tenant_backup.automation import claims, handover, queue, ticks
ticks.TICKS_APART = timedelta(0)
"""

# Slots come every second, and what waits is handed over again soon.
HURRY = f"""{EVERY_TICK_COUNTS}
def next_slot(rule, tenant_id, zone, after):
    return after.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
models.settings.next_slot = next_slot
handover.ENQUEUE_AGAIN_AFTER = timedelta(seconds=1)
"""

# A scheduler that ticks until it is told to end and nothing is left to do. Between its look at what
# is due and its claim it is held up, as on a busy machine, so that others are faster. It delivers
# each backup once more than need be, and says in the end how often it did.
SCHEDULER = f"""{HURRY}
from random import random
from select import select
from time import sleep
from tenant_backup.models import Backup
claim = claims.claim
def claim_late(*arguments):
    sleep(random() / 3)
    claim(*arguments)
claims.claim = claim_late
delivered = set()
told_to_end = False
while not told_to_end or Backup.objects.active().exists():
    automation.tick()
    for backup in Backup.objects.exclude(pk__in=delivered):
        queue.async_task(queue.MAKE, backup.pk, q_options=queue.TASK_OPTIONS)
        delivered.add(backup.pk)
    if select([sys.stdin], [], [], 0.05)[0]:
        sys.stdin.readline()
        told_to_end = True
print(len(delivered))
"""


@pytest.fixture
def due_host(host):
    """A host whose tenant is due, has two automatic backups, and may keep two."""
    host.add_tenant()
    for _ in range(2):
        assert host.run("runbackup").returncode == 0
    host.query("UPDATE tenant_backup_backup SET trigger = 'automatic'")
    make_due(host, keep_last=2)
    return host


def ago(**time):
    return datetime.now(UTC) - timedelta(**time)


def make_due(host, keep_last=None):
    host.query(
        "UPDATE tenant_backup_backupsettings SET automatic = ?, keep_last = ?, next_run_at = ?",
        True,
        keep_last,
        ago(minutes=1),
    )


def tick(host):
    """Have the clusters tick now, and not in a minute."""
    host.query("UPDATE tenant_backup_automation SET last_tick_at = NULL")
    host.query("UPDATE django_q_schedule SET next_run = ?", ago(minutes=1))
    look = host.start(LOOK_AT_THE_SCHEDULES)
    _, errors = look.communicate(timeout=60)
    assert look.returncode == 0, errors


def wait_for_the_slots_backup(host):
    return host.wait_for(
        "SELECT id FROM tenant_backup_backup WHERE status = 'complete' AND slot_at IS NOT NULL"
    )


def wait_for_complete(host, number):
    host.wait_for(f"SELECT 1 WHERE ({COMPLETE}) >= ?", number)


def assert_files_match(host, number, tenant="acme"):
    directory = host.tenants / tenant / "backups"
    files = [name for name in names_in(directory) if name.endswith(".sqlite3")]
    rows = host.query(
        "SELECT file_name FROM tenant_backup_backup WHERE tenant_id = ? AND file_name <> ''", tenant
    )
    assert [(name,) for name in files] == sorted(rows)
    assert len(files) == number
    for name in files:
        assert_true_copy(directory / name)


def status_of(host):
    return host.run("automatebackups", "status").stdout


def page_of(host):
    """The page of backups as the tenant's administrator sees it now."""
    page, errors = host.start(LOOK_AT_THE_PAGE).communicate(timeout=60)
    assert "Traceback" not in errors
    return page


@pytest.mark.parametrize("clusters", [1, 2])
def test_a_due_tenant_is_backed_up_once_and_pruned(due_host, clusters):
    for _ in range(clusters):
        due_host.start_cluster()
    wait_for_the_slots_backup(due_host)
    due_host.wait_for(ALL_DONE)
    # A second look by the schedule, and by the other cluster, finds nothing more to do.
    again = due_host.run("runbackup", "--due")
    assert "Nothing is due. Automation is running." in again.stdout
    assert due_host.query(ROWS) == [("complete", "automatic")] * 2
    assert_files_match(due_host, 2)
    ((slots,),) = due_host.query(
        "SELECT count(*) FROM tenant_backup_backup WHERE slot_at IS NOT NULL"
    )
    assert slots == 1
    assert due_host.query("SELECT kind FROM tenant_backup_event ORDER BY id")[-2:] == [
        ("completed",),
        ("pruned",),
    ]


def test_three_schedulers_and_two_clusters_make_one_backup_a_slot(host):
    tenants = ["acme", "globex", "initech", "umbrella"]
    for name in tenants:
        host.add_tenant(name)
    host.configure(TENANT_BACKUP={"DEFAULT_SETTINGS": {"automatic": True}})
    schedulers = [host.start(SCHEDULER) for _ in range(3)]
    for _ in range(2):
        host.start_cluster(before=HURRY)
    wait_for_complete(host, 7 * len(tenants))

    host.query("UPDATE tenant_backup_backupsettings SET automatic = ?", False)
    for scheduler in schedulers:
        scheduler.go_on()
    too_many = 0
    for scheduler in schedulers:
        delivered, errors = scheduler.communicate(timeout=60)
        assert scheduler.returncode == 0, errors
        too_many += int(delivered)
    host.wait_for(NOTHING_WAITS)

    rows = host.query("SELECT tenant_id, slot_at, status, trigger FROM tenant_backup_backup")
    assert {(status, trigger) for *_, status, trigger in rows} == {("complete", "automatic")}
    assert {slot_at.microsecond for _, slot_at, *_ in rows} == {0}
    slots = Counter((tenant, slot_at) for tenant, slot_at, *_ in rows)
    assert set(slots.values()) == {1}
    assert len(slots) >= 7 * len(tenants)
    for name, number in Counter(tenant for tenant, _ in slots).items():
        assert_files_match(host, number, name)
    # Each was made once, however often it was delivered.
    assert too_many > 2 * len(rows)
    assert Counter(host.query("SELECT kind FROM tenant_backup_event")) == {
        ("completed",): len(rows)
    }


@pytest.mark.parametrize("catch_up", [True, False])
def test_twelve_hours_without_a_cluster_are_followed_by_one_backup_each(host, catch_up):
    """With `catch_up`, its default, django-q2 runs every tick that was missed."""
    host.configure(Q_CLUSTER={"catch_up": catch_up})
    began, zone = ago(hours=12), ZoneInfo("UTC")
    # By the intervals, which name their tenants: a slot that was missed, and none while this runs.
    rules = {}
    for interval, slot in {"hourly": ago(minutes=30), "daily": ago(hours=6)}.items():
        host.add_tenant(interval)
        at = (slot - schedule.spread(interval, interval)).time().replace(second=0, microsecond=0)
        rules[interval] = schedule.Rule(interval, at, weekday=6, day_of_month=1)
    migrate(host)
    missed = {name: schedule.next_slot(rule, name, zone, began) for name, rule in rules.items()}
    for name, rule in rules.items():
        host.query(
            "UPDATE tenant_backup_backupsettings SET automatic = ?, interval = ?, time_of_day = ?, "
            "next_run_at = ? WHERE tenant_id = ?",
            *(True, rule.interval, f"{rule.time_of_day:%H:%M:%S}", missed[name], name),
        )
    host.query("UPDATE tenant_backup_automation SET last_tick_at = ?", began)
    host.query("UPDATE django_q_schedule SET next_run = ?", began)

    host.start_cluster(before=EVERY_TICK_COUNTS)
    looks = host.start(LOOK_AT_THE_SCHEDULES + "scheduler()\n" * 19)
    _, errors = looks.communicate(timeout=60)
    assert looks.returncode == 0, errors
    wait_for_complete(host, 2)
    host.wait_for(NOTHING_WAITS)

    rows = host.query("SELECT tenant_id, status, trigger, slot_at FROM tenant_backup_backup")
    assert sorted(rows) == [
        (name, "complete", "automatic", missed[name]) for name in ("daily", "hourly")
    ]
    now = datetime.now(UTC)
    assert dict(host.query("SELECT tenant_id, next_run_at FROM tenant_backup_backupsettings")) == {
        name: schedule.next_slot(rule, name, zone, now) for name, rule in rules.items()
    }
    # Nor do the ticks that were missed follow.
    ((next_run,),) = host.query("SELECT next_run FROM django_q_schedule")
    assert next_run > began + timedelta(hours=11)


def test_paused_nothing_is_made(due_host):
    assert "Automation is paused" in due_host.run("automatebackups", "pause").stdout
    due_host.start_cluster()
    due_host.wait_for(ALL_DONE)
    assert len(due_host.catalog()) == 2
    assert due_host.query("SELECT count(*) FROM django_q_task") == [(0,)]  # so nothing failed
    # What a person asks for is made all the same; and after the pause the slot is made up for.
    assert due_host.run("automatebackups", "resume").returncode == 0
    assert "acme: acme-" in due_host.run("runbackup", "--due").stdout


def test_stopped_it_says_stalled_and_cron_does_the_work_instead(due_host):
    cluster = due_host.start_cluster()
    wait_for_the_slots_backup(due_host)
    due_host.wait_for(ALL_DONE)
    assert "Automation is running" in status_of(due_host)
    assert "All is well" in page_of(due_host)
    stop_cluster(cluster, signal.SIGKILL)

    # Four minutes pass.
    ((last_tick_at,),) = due_host.query("SELECT last_tick_at FROM tenant_backup_automation")
    due_host.query(
        "UPDATE tenant_backup_automation SET last_tick_at = ?", last_tick_at - timedelta(minutes=4)
    )
    status = status_of(due_host)
    assert "Automation is stalled: last seen at" in status
    assert "manage.py qcluster" in status
    page = page_of(due_host)
    assert "No automatic backups are made at present." in page
    assert '<strong class="state error">stalled</strong>' in page

    make_due(due_host, keep_last=2)
    run = due_host.run("runbackup", "--due")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("acme: acme-")
    assert due_host.query(ROWS) == [("complete", "automatic")] * 2
    assert "Automation is running" in status_of(due_host)
    assert_files_match(due_host, 2)


def test_a_process_killed_in_the_middle_is_recovered_by_the_clusters_first_tick(due_host):
    due_host.assert_killed(
        due_host.start(
            "from tenant_backup import sqlite\n"
            "sqlite.snapshots.require_time = die\n"
            "command('runbackup', '--due')\n"
        )
    )
    assert due_host.query(ROWS)[-1] == ("running", "automatic")
    # Half a minute passes, within which another tick would do nothing.
    due_host.query("UPDATE tenant_backup_automation SET last_tick_at = NULL")
    due_host.start_cluster()
    due_host.wait_for(ALL_DONE)
    newest = due_host.catalog()[0]
    assert (newest["status"], newest["error"][:11]) == ("failed", "Interrupted")
    make_due(due_host)
    assert due_host.run("runbackup", "--due").returncode == 0
    assert due_host.catalog()[0]["status"] == "complete"


def test_a_worker_killed_in_the_middle_harms_no_other_tenant_and_is_made_up_for(host):
    tenants = {"acme", "globex", "initech"}
    for name in tenants:
        host.add_tenant(name, **LARGE)
    migrate(host)
    make_due(host)
    host.start_cluster(before=ONE_WORKER_DIES)
    wait_for_complete(host, 2)
    ((victim,),) = host.query(
        "SELECT tenant_id FROM tenant_backup_backup "
        "WHERE status = 'running' AND slot_at IS NOT NULL"
    )
    backups = host.tenants / victim / "backups"
    (partial,) = names_in(backups)
    assert partial.endswith(".partial")

    # The next tick recovers it, and sets the next attempt: a quarter of an hour from that moment.
    tick(host)
    ((error,),) = host.wait_for(
        "SELECT error FROM tenant_backup_backup WHERE tenant_id = ? AND status = 'failed'", victim
    )
    assert error.startswith("Interrupted")
    assert not names_in(backups)
    retry_at = (
        "SELECT next_run_at FROM tenant_backup_backupsettings WHERE tenant_id = ? "
        "AND next_run_at <= ?"
    )
    host.wait_for(retry_at, victim, datetime.now(UTC) + timedelta(minutes=20))

    # That time comes.
    host.query(
        "UPDATE tenant_backup_backupsettings SET next_run_at = ? WHERE tenant_id = ?",
        ago(minutes=1),
        victim,
    )
    tick(host)
    wait_for_complete(host, 3)
    statuses = Counter(host.query("SELECT tenant_id, status FROM tenant_backup_backup"))
    assert statuses == {(name, "complete"): 1 for name in tenants} | {(victim, "failed"): 1}
    for name in tenants:
        assert_files_match(host, 1, name)


def test_a_single_worker_busy_for_an_hour_runs_while_its_copy_moves(host):
    host.configure(Q_CLUSTER={"workers": 1})
    for name in ("acme", "globex"):
        host.add_tenant(name, **LARGE)
    migrate(host)
    make_due(host)
    cluster = host.start_cluster(before=HELD)
    cluster.line()
    (partial,) = host.tenants.glob("*/backups/.*.partial")
    hour_ago = ago(hours=1)
    host.query("UPDATE tenant_backup_automation SET last_tick_at = ?", hour_ago)
    host.query("UPDATE tenant_backup_backup SET started_at = ? WHERE status = 'running'", hour_ago)
    assert "Automation is running" in status_of(host)

    os.utime(partial, (hour_ago.timestamp(), hour_ago.timestamp()))
    assert "Automation is stalled" in status_of(host)

    cluster.go_on()
    cluster.line()
    assert "Automation is running" in status_of(host)

    # The other tenant has waited all the time.
    assert Counter(host.query(ROWS)) == {("running", "automatic"): 1, ("queued", "automatic"): 1}
    cluster.go_on()
    wait_for_complete(host, 2)
    for name in ("acme", "globex"):
        assert_files_match(host, 1, name)


def test_a_named_cluster_does_the_work_and_no_other(host):
    alternative = {"workers": 1, "timeout": 3600, "retry": 12_000}
    host.configure(
        Q_CLUSTER={"ALT_CLUSTERS": {"backups": alternative}}, TENANT_BACKUP={"CLUSTER": "backups"}
    )
    for name in ("acme", "globex"):
        host.add_tenant(name, **LARGE)
    migrate(host)
    make_due(host)
    host.query(
        "UPDATE tenant_backup_backupsettings SET automatic = ? WHERE tenant_id = 'globex'", False
    )
    ours = "SELECT next_run, task FROM django_q_schedule WHERE cluster = 'backups'"
    before = host.query(ours)
    asked = host.start(ASK_FOR_ONE_AND_ADD_A_SCHEDULE, "globex")
    _, errors = asked.communicate(timeout=60)
    assert asked.returncode == 0, errors

    # The default cluster looks at all schedules together, and runs the host's own.
    default = host.start_cluster()
    host.wait_for(
        "SELECT 1 FROM django_q_schedule WHERE cluster IS NULL AND task IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM django_q_ormq WHERE key = 'default')"
    )
    assert host.query(ours) == before
    assert host.query(ROWS) == [("queued", "manual")]
    assert "Automation is stalled: not seen yet" in status_of(host)

    named = host.start_cluster(before=HELD, Q_CLUSTER_NAME="backups")
    gives_up, is_ended = map(int, named.line().split())
    assert 3000 < gives_up < is_ended <= 3600
    ((again_at,),) = host.query("SELECT max(lock) FROM django_q_ormq WHERE key = 'backups'")
    assert again_at > datetime.now(UTC) + timedelta(seconds=11_000)
    assert "Automation is running" in status_of(host)
    for _ in range(2):
        named.go_on()
    wait_for_complete(host, 2)
    assert host.query(ROWS) == [("complete", "manual"), ("complete", "automatic")]
    assert default.poll() is None


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_cluster_ends_in_peace(due_host, how):
    cluster = due_host.start_cluster()
    wait_for_the_slots_backup(due_host)
    cluster.send_signal(how)
    cluster.wait(timeout=60)
    assert due_host.query("SELECT count(*) FROM tenant_backup_backup WHERE status = 'running'") == [
        (0,)
    ]
