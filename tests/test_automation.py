"""Automation: what a tick claims and hands over, and what automation says of itself."""

import ast
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django_q.exceptions import TimeoutException
from django_q.models import Failure, OrmQ, Schedule, Task

from tenant_backup import automation, backups, lock, troubleshooting
from tenant_backup.automation import AutomationState, claims, handover, queue, ticks
from tenant_backup.exceptions import BackupError
from tenant_backup.models import (
    Automation,
    Backup,
    BackupSettings,
    Event,
    EventKind,
    Status,
    Trigger,
)
from tenant_backup.signals import backup_completed
from tests.conftest import count_rows
from tests.tenancy import Tenants

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
MANUAL = backups.BackupRequest(trigger=Trigger.MANUAL)


@pytest.fixture(autouse=True)
def schedule():
    automation.set_up()


# A host's transaction on a tenant's alias, within which a backup is handed to the workers.
IN_A_TRANSACTION = """
from django.db import connections, transaction
from tenant_backup import automation, backups
from tenant_backup.models import Trigger
from tenant_backup.tenants import get_provider
connections.settings["acme"] = {{**connections.settings["default"], "NAME": sys.argv[1]}}
request = backups.BackupRequest(trigger=Trigger.MANUAL)
backup = backups.request(get_provider().get_tenant("acme"), request)
with transaction.atomic(using="acme"):
    connections["acme"].cursor().execute("INSERT INTO credits (amount) VALUES (0)")
    {hand_over}
"""
NAIVELY = "automation.queue.async_task(automation.queue.MAKE, backup.pk)"
OURS = "automation.enqueue(backup)"


def make_due(tenant, at=NOW - timedelta(minutes=1), **fields):
    return BackupSettings.objects.update_or_create(
        tenant_id=tenant.id, defaults={"automatic": True, "next_run_at": at, **fields}
    )[0]


def minutes(number):
    return NOW + timedelta(minutes=number)


class TestSchedule:
    def test_is_made_by_migrate_and_only_once(self):
        Schedule.objects.all().delete()
        for _ in range(2):
            call_command("migrate", verbosity=0)
        schedule = Schedule.objects.get()
        assert (schedule.name, schedule.func) == ("tenant_backup", "tenant_backup.tasks.tick")
        assert (schedule.schedule_type, schedule.minutes, schedule.repeats) == ("I", 1, -1)
        assert schedule.cluster is None

    def test_migrate_makes_the_settings_of_every_tenant_too(self, add_tenant):
        add_tenant("acme")
        add_tenant("globex")
        call_command("migrate", verbosity=0)
        assert {row.tenant_id for row in BackupSettings.objects.all()} == {"acme", "globex"}

    def test_a_provider_that_fails_does_not_fail_migrate(self, monkeypatch, caplog):
        def fail(self):
            raise FileNotFoundError("no folder of tenants yet")

        monkeypatch.setattr(Tenants, "all_tenants", fail)
        call_command("migrate", verbosity=0)
        (record,) = caplog.records
        assert record.getMessage() == (
            "Cannot make settings yet: FileNotFoundError: no folder of tenants yet"
        )
        assert record.exc_info is None
        assert Schedule.objects.count() == 1

    def test_is_put_right(self, settings):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "CLUSTER": "long"}
        Schedule.objects.update(repeats=0, minutes=5)
        Schedule.objects.create(name="tenant_backup", func="x")
        other = Schedule.objects.create(name="tenant_backup2", func="x")
        automation.set_up()
        schedule = Schedule.objects.get(name="tenant_backup")
        assert (schedule.repeats, schedule.minutes, schedule.cluster) == (-1, 1, "long")
        other.refresh_from_db()
        assert other.func == "x"

    def test_to_ask_for_it_changes_nothing_and_to_repair_it_makes_none(self):
        far = timezone.now() + timedelta(days=30)
        Schedule.objects.update(next_run=far)
        assert queue.next_runs() == [far]
        assert Schedule.objects.get().next_run == far
        Schedule.objects.all().delete()
        queue.repair_schedule(queue.next_runs())
        assert queue.next_runs() == []

    def test_the_migration_of_another_database_makes_none(self):
        Schedule.objects.all().delete()
        automation.set_up_after_migrate(using="other")
        assert not Schedule.objects.exists()

    def test_before_django_q2_has_tables_none_is_made(self, monkeypatch):
        Schedule.objects.all().delete()
        names = [name for name in connection.introspection.table_names() if "django_q" not in name]
        monkeypatch.setattr(connection.introspection, "table_names", lambda: names)
        automation.set_up_after_migrate(using="default")
        assert not Schedule.objects.exists()


class TestTick:
    def test_a_slot_that_has_come_is_claimed_once(self, tenant):
        row = make_due(tenant)
        slot_at = row.next_run_at
        automation.tick(NOW)
        automation.tick(minutes(1))
        backup = Backup.objects.get()
        assert (backup.status, backup.trigger) == (Status.QUEUED, Trigger.AUTOMATIC)
        assert backup.slot_at == slot_at
        row.refresh_from_db()
        assert row.next_run_at > NOW
        assert OrmQ.objects.count() == 1

    def test_what_is_not_due_is_left(self, add_tenant):
        make_due(add_tenant("later"), minutes(1))
        off = make_due(add_tenant("off"))
        BackupSettings.objects.filter(pk=off.pk).update(automatic=False)
        automation.tick(NOW)
        assert not Backup.objects.exists()

    def test_a_slot_claimed_by_another_process_meanwhile_is_not_claimed_again(self, tenant):
        row = make_due(tenant)
        seen_before = BackupSettings.objects.get(pk=row.pk)
        claims.claim(row, tenant, NOW)
        Backup.objects.all().delete()
        claims.claim(seen_before, tenant, NOW)
        assert not Backup.objects.exists()

    def test_a_slot_waits_while_a_backup_of_the_tenant_is_queued(self, tenant):
        row = make_due(tenant)
        manual = backups.request(tenant, MANUAL)
        automation.tick(NOW)
        assert Backup.objects.get() == manual
        row.refresh_from_db()
        assert row.next_run_at == NOW - timedelta(minutes=1)
        backups.perform(tenant, manual.pk)
        automation.tick(minutes(1))
        assert Backup.objects.queued().get().trigger == Trigger.AUTOMATIC

    def test_an_outage_is_followed_by_one_backup(self, tenant):
        row = make_due(tenant, NOW - timedelta(hours=12), interval="hourly")
        for now in (NOW, NOW + timedelta(seconds=31)):
            automation.tick(now)
            for backup in Backup.objects.queued():
                automation.make(backup.pk)
        assert Backup.objects.count() == 1
        row.refresh_from_db()
        assert NOW < row.next_run_at <= NOW + timedelta(hours=1, minutes=10)

    def test_a_next_run_that_a_clock_ahead_has_set_is_set_anew(self, add_tenant):
        far = {
            "hourly": timedelta(days=2),
            "6h": timedelta(days=2),
            "12h": timedelta(days=2),
            "daily": timedelta(days=3),
            "weekly": timedelta(days=9),
            "monthly": timedelta(days=33),
        }
        for interval, delay in far.items():
            make_due(add_tenant(interval), NOW + delay, interval=interval)
        automation.tick(NOW)
        for row in BackupSettings.objects.all():
            assert row.next_run_at == row.slot_after(NOW, UTC), row.interval

    def test_settings_without_a_next_run_get_one(self, tenant):
        BackupSettings.objects.create(tenant_id=tenant.id, automatic=True)
        automation.tick(NOW)
        assert BackupSettings.objects.get().next_run_at > NOW
        assert not Backup.objects.exists()

    def test_makes_settings_for_tenants_that_have_none(self, add_tenant, settings):
        settings.TENANT_BACKUP = {
            **settings.TENANT_BACKUP,
            "DEFAULT_SETTINGS": {"automatic": True, "keep_last": 3},
        }
        add_tenant("new")
        automation.tick(NOW)
        row = BackupSettings.objects.get()
        assert (row.tenant_id, row.keep_last) == ("new", 3)
        assert row.next_run_at > NOW

    @pytest.mark.parametrize("trouble", ["provider", "zone", "database"])
    def test_one_tenants_trouble_keeps_no_other_from_its_backup(
        self, add_tenant, monkeypatch, caplog, trouble
    ):
        for name in ("acme", "globex", "initech"):
            make_due(add_tenant(name))
        if trouble == "zone":
            Tenants.tenants[0] = replace(Tenants.tenants[0], time_zone="Mars/Base")
        elif trouble == "provider":
            get_tenant = Tenants.get_tenant

            def fail(self, tenant_id):
                if tenant_id == "acme":
                    raise LookupError("the host's own trouble")
                return get_tenant(self, tenant_id)

            monkeypatch.setattr(Tenants, "get_tenant", fail)
        else:
            claim = claims.claim

            def fail_to_claim(row, tenant, now):
                if tenant.id == "acme":
                    raise DatabaseError("database is locked")
                claim(row, tenant, now)

            monkeypatch.setattr(claims, "claim", fail_to_claim)
        automation.tick(NOW)
        assert {backup.tenant_id for backup in Backup.objects.queued()} == {"globex", "initech"}
        assert "tenant 'acme'" in caplog.text

    def test_a_tenant_that_is_gone_is_left_alone(self, tenant):
        make_due(tenant)
        Tenants.tenants.clear()
        automation.tick(NOW)
        assert not Backup.objects.exists()
        assert BackupSettings.objects.exists()

    def test_ticks_that_come_all_at_once_run_once(self, tenant):
        automation.tick(NOW)
        make_due(tenant)
        automation.tick(NOW + timedelta(seconds=1))
        assert not Backup.objects.exists()
        automation.tick(minutes(1))
        assert Backup.objects.exists()

    def test_a_clock_that_was_set_back_stops_nothing(self, tenant):
        automation.tick(NOW)
        make_due(tenant, NOW - timedelta(hours=3))
        automation.tick(NOW - timedelta(hours=2))
        assert Backup.objects.exists()

    def test_a_clock_that_was_years_ahead_is_recovered_from(self, tenant):
        row = make_due(tenant)
        ahead = NOW + timedelta(days=3650)
        automation.tick(ahead)
        Backup.objects.all().delete()
        Schedule.objects.update(next_run=timezone.now() + timedelta(days=3650))
        assert automation.get_status(NOW).state is AutomationState.STALLED
        automation.tick(NOW)
        assert automation.get_status(NOW).state is AutomationState.RUNNING
        row.refresh_from_db()
        assert NOW < row.next_run_at < NOW + timedelta(days=2)
        automation.set_up()
        assert Schedule.objects.get().next_run <= timezone.now()

    def test_recovers_what_a_killed_worker_left(self, tenant):
        make_due(tenant)
        backups.directory_of(tenant).make()
        killed = backups.request(tenant, backups.BackupRequest(trigger=Trigger.AUTOMATIC))
        killed.start("acme-1.sqlite3")
        automation.tick(NOW)
        killed.refresh_from_db()
        assert killed.status == Status.FAILED
        assert "Interrupted" in killed.error
        assert Backup.objects.queued().count() == 1


class TestPause:
    def test_nothing_automatic_starts_nor_what_was_queued_before(self, add_tenant):
        queued, due = add_tenant("queued"), add_tenant("due")
        make_due(queued)
        automation.tick(NOW)
        automation.pause("ada")
        make_due(due)
        automation.tick(minutes(1))
        backup = Backup.objects.get()
        assert backup.tenant_id == "queued"
        assert automation.make(backup.pk) == "paused"
        assert Backup.objects.get().status == Status.QUEUED
        automation.resume("ada")
        automation.tick(minutes(2))
        assert automation.make(backup.pk).startswith("queued-")
        assert Backup.objects.queued().get().tenant_id == "due"

    def test_what_a_person_asked_for_is_made_all_the_same(self, tenant):
        automation.pause("ada")
        backup = backups.request(tenant, MANUAL)
        automation.enqueue(backup)
        assert OrmQ.objects.count() == 1
        assert automation.make(backup.pk) != "paused"
        assert Backup.objects.get().status == Status.COMPLETE

    def test_the_first_pause_stands(self):
        automation.pause("ada")
        automation.pause("ben")
        assert automation.get_status().paused_by == "ada"


class TestEnqueue:
    def test_carries_the_id_alone(self, tenant):
        backup = backups.request(tenant, MANUAL)
        automation.enqueue(backup)
        task = OrmQ.objects.get().task
        assert (task["func"], task["args"]) == ("tenant_backup.tasks.make", (backup.pk,))
        assert Backup.objects.get().enqueued_at is not None

    def test_goes_to_the_configured_cluster(self, tenant, settings):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "CLUSTER": "long"}
        automation.enqueue(backups.request(tenant, MANUAL))
        assert OrmQ.objects.get().key == "long"

    def test_two_processes_hand_it_over_once(self, tenant):
        backup = backups.request(tenant, MANUAL)
        same = Backup.objects.get()
        automation.enqueue(backup)
        automation.enqueue(same)
        assert OrmQ.objects.count() == 1

    def test_within_a_transaction_it_is_left_to_the_tick(self, tenant):
        backup = backups.request(tenant, MANUAL)
        with transaction.atomic():
            automation.enqueue(backup)
        assert not OrmQ.objects.exists()
        automation.tick(timezone.now())
        assert OrmQ.objects.count() == 1

    @pytest.mark.parametrize(("hand_over", "rows"), [(NAIVELY, 100), (OURS, 101)])
    def test_a_hosts_transaction_on_another_alias_survives(self, host, hand_over, rows):
        """The trap first: django-q2's broker closes connections that have a transaction open."""
        database = host.add_tenant() / "db.sqlite3"
        process = host.start(IN_A_TRANSACTION.format(hand_over=hand_over), database)
        process.communicate()
        assert count_rows(database) == rows
        assert host.query("SELECT count(*) FROM tenant_backup_backup") == [(1,)]

    def test_a_broker_that_fails_leaves_it_queued_with_the_reason(self, tenant, monkeypatch):
        def fail(*args, **kwargs):
            raise ConnectionError("no broker today")

        monkeypatch.setattr(queue, "async_task", fail)
        automation.enqueue(backups.request(tenant, MANUAL))
        row = Backup.objects.get()
        assert (row.status, row.enqueued_at) == (Status.QUEUED, None)
        assert row.error.endswith("ConnectionError: no broker today")

    def test_what_is_to_be_verified_within_a_transaction_is_refused(self, tenant):
        backup = backups.create(tenant, MANUAL).backup
        with transaction.atomic(), pytest.raises(BackupError, match="transaction"):
            automation.enqueue_verify(backup)
        assert not OrmQ.objects.exists()

    def test_what_is_to_be_verified_goes_to_the_configured_cluster(self, tenant, settings):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "CLUSTER": "long"}
        backup = backups.create(tenant, MANUAL).backup
        automation.enqueue_verify(backup)
        [row] = OrmQ.objects.all()
        assert row.key == "long"
        assert (row.task["func"], row.task["args"]) == (queue.VERIFY, (backup.pk,))

    def test_what_no_worker_started_is_handed_over_again_with_growing_delay(self, tenant):
        row = make_due(tenant)
        BackupSettings.objects.filter(pk=row.pk).update(next_run_at=NOW)
        Automation.load()
        handed_over = []
        Backup.objects.create(tenant_id=tenant.id, trigger=Trigger.MANUAL, created_at=NOW)
        for minute in range(90):
            before = OrmQ.objects.count()
            automation.tick(minutes(minute))
            if OrmQ.objects.count() > before:
                handed_over.append(minute)
        assert handed_over == [0, 5, 10, 20, 40, 80]

    def test_the_delay_has_an_end(self, tenant):
        """Whose message was lost after an outage of two weeks does not wait two more."""
        Backup.objects.create(tenant_id=tenant.id, trigger=Trigger.MANUAL, created_at=NOW)
        for days in (0, 14):
            automation.tick(NOW + timedelta(days=days))
        OrmQ.objects.all().delete()
        automation.tick(NOW + timedelta(days=14, hours=6))
        assert OrmQ.objects.count() == 1

    def test_what_a_clock_that_was_ahead_handed_over_is_handed_over_again(self, tenant):
        Backup.objects.create(tenant_id=tenant.id, trigger=Trigger.MANUAL, created_at=NOW)
        automation.tick(NOW + timedelta(days=1100))
        OrmQ.objects.all().delete()
        for minute in range(2):
            automation.tick(minutes(minute))
        assert OrmQ.objects.count() == 1

    def test_only_few_again_until_those_are_made_but_in_the_end_all(self, add_tenant):
        """Whatever lost their messages, a restart of the broker say, all are handed over again."""
        number = 2 * handover.FEW + 1
        for name in range(number):
            tenant = add_tenant(f"t{name}", database=False)
            Backup.objects.create(tenant_id=tenant.id, trigger=Trigger.MANUAL, created_at=NOW)
        automation.tick(NOW)
        assert OrmQ.objects.count() == number
        OrmQ.objects.all().delete()
        counts = []
        for minute in (30, 31, 32, 33):
            before = OrmQ.objects.count()
            automation.tick(minutes(minute))
            counts.append(OrmQ.objects.count() - before)
            if minute != 30:
                # At last the workers make what they were given.
                lately = Backup.objects.queued().filter(enqueued_at__gte=minutes(30))
                lately.update(status=Status.COMPLETE)
        assert counts == [handover.FEW, 0, handover.FEW, 1]


class TestMake:
    def test_makes_the_backup_and_prunes(self, tenant):
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        for _ in range(2):
            backup = Backup.objects.create(tenant_id=tenant.id, trigger=Trigger.AUTOMATIC)
            assert automation.make(backup.pk) == Backup.objects.get(pk=backup.pk).file_name
        assert Backup.objects.count() == 1

    def test_a_second_delivery_does_nothing(self, tenant):
        backup = backups.request(tenant, MANUAL)
        automation.make(backup.pk)
        assert automation.make(backup.pk) == "nothing to do"
        assert Event.objects.count() == 1

    def test_while_another_process_is_at_work_it_stays_queued(self, tenant):
        backup = backups.request(tenant, MANUAL)
        backups.directory_of(tenant).make()
        with lock.hold(backups.directory_of(tenant), wait=0):
            assert "another process is at work" in automation.make(backup.pk)
        assert Backup.objects.get().status == Status.QUEUED

    def test_the_backup_of_a_tenant_that_is_gone_fails_in_words(self, tenant):
        backup = backups.request(tenant, MANUAL)
        Tenants.tenants.clear()
        automation.make(backup.pk)
        row = Backup.objects.get()
        assert (row.status, row.error) == (Status.FAILED, "There is no tenant 'acme'.")

    def test_a_failure_is_told_by_the_row_and_not_raised(self, add_tenant):
        """What a task raises django-q2 keeps for ever, with a traceback."""
        tenant = add_tenant(database=False)
        backup = Backup.objects.create(tenant_id=tenant.id, trigger=Trigger.AUTOMATIC)
        said = automation.make(backup.pk)
        row = Backup.objects.get()
        assert (row.status, row.error) == (Status.FAILED, said)
        assert str(tenant.database) in said

    def test_a_failure_leaves_nothing_in_django_q2s_table(self, add_tenant):
        tenant = add_tenant(database=False)
        backup = Backup.objects.create(tenant_id=tenant.id, trigger=Trigger.AUTOMATIC)
        queue.async_task(queue.MAKE, backup.pk, q_options={**queue.TASK_OPTIONS, "sync": True})
        assert Backup.objects.get().status == Status.FAILED
        assert not Task.objects.exists()

    def test_where_not_even_a_row_says_it_it_is_raised(self, tenant):
        backup = backups.request(tenant, MANUAL)
        with transaction.atomic(), pytest.raises(BackupError, match="transaction"):
            automation.make(backup.pk)

    def test_a_fault_of_the_provider_is_logged_and_the_backup_stays_queued(
        self, tenant, monkeypatch, caplog
    ):
        backup = backups.request(tenant, MANUAL)

        def get_tenant(self, tenant_id):
            raise ZeroDivisionError

        monkeypatch.setattr(Tenants, "get_tenant", get_tenant)
        assert automation.make(backup.pk) == "the tenant provider failed; the tick asks again"
        assert "ZeroDivisionError" in caplog.text
        assert Backup.objects.get().status == Status.QUEUED

    def test_a_timeout_passes(self, tenant, monkeypatch):
        """It has to end the worker, so django-q2 has to know."""
        backup = backups.request(tenant, MANUAL)

        def time_out(*arguments, **options):
            raise TimeoutException

        monkeypatch.setattr(backups.creation, "copy_into", time_out)
        with pytest.raises(TimeoutException):
            automation.make(backup.pk)
        assert Backup.objects.get().status == Status.FAILED

    def test_gives_up_before_the_tasks_timeout(self):
        assert 40 < queue.deadline() - time.monotonic() <= 50  # of 60 seconds


class TestForgetting:
    """See tests/test_history.py for what is old."""

    @pytest.fixture(autouse=True)
    def old(self):
        return Event.objects.create(
            tenant_id="acme", kind=EventKind.PINNED, created_at=NOW - timedelta(days=1000)
        )

    def test_an_idle_tick_removes_what_is_old_from_the_history(self, tenant):
        automation.tick(NOW)
        assert not Event.objects.exists()

    def test_while_one_waits_or_is_being_made_nothing_is_removed(self, tenant):
        backup = backups.request(tenant, MANUAL)
        automation.tick(NOW)
        assert Event.objects.exists()
        directory = backups.directory_of(tenant)
        directory.make()
        backup.start("acme.sqlite3", at=NOW)
        with lock.hold(directory, wait=0):
            automation.tick(minutes(1))
        assert Event.objects.exists()

    def test_what_waits_for_the_end_of_a_pause_keeps_nothing_from_being_removed(self, tenant):
        make_due(tenant)
        Backup.objects.create(tenant_id=tenant.id, trigger=Trigger.AUTOMATIC)
        automation.pause("anna")
        automation.tick(NOW)
        assert not Event.objects.exclude(kind=EventKind.PAUSED).exists()

    def test_trouble_with_it_keeps_nobody_from_being_told(self, tenant, monkeypatch, caplog):
        told = []
        monkeypatch.setattr(ticks, "notify", lambda now: told.append(now) or True)
        monkeypatch.setattr(ticks.history_expiry, "forget", lambda now: 1 / 0)
        automation.tick(NOW)
        assert told == [NOW]
        assert "Removing what is old from the history failed." in caplog.text

    def test_django_q2s_old_failures_of_our_tasks_go_and_the_hosts_own_stay(self):
        for func, days in (
            (queue.MAKE, 91),
            (queue.TICK, 89),
            ("shop.tasks.bill", 999),
        ):
            at = NOW - timedelta(days=days)
            Task.objects.create(
                id=f"{days:032}", name="x", func=func, started=at, stopped=at, success=False
            )
        automation.tick(NOW)
        assert {failure.func for failure in Failure.objects.all()} == {
            queue.TICK,
            "shop.tasks.bill",
        }

    def test_a_host_that_uses_cron_gets_rid_of_it_too(self, tenant):
        call_command("runbackup", "--due")
        assert not Event.objects.exists()


class TestRetry:
    def test_a_failed_automatic_backup_is_tried_again_with_growing_delay(self, add_tenant):
        tenant = add_tenant(database=False)
        row = make_due(tenant, timezone.now(), interval="monthly")
        delays = []
        for _ in range(8):
            BackupSettings.objects.update(next_run_at=timezone.now() + timedelta(days=9))
            backup = Backup.objects.create(
                tenant_id=tenant.id, trigger=Trigger.AUTOMATIC, slot_at=NOW
            )
            automation.make(backup.pk)
            row.refresh_from_db()
            delays.append(round((row.next_run_at - timezone.now()).total_seconds() / 60))
        assert delays == [15, 30, 60, 120, 240, 360, 360, 360]

    def test_never_past_the_next_slot(self, add_tenant):
        tenant = add_tenant(database=False)
        soon = timezone.now() + timedelta(minutes=3)
        row = make_due(tenant, soon)
        backup = Backup.objects.create(tenant_id=tenant.id, trigger=Trigger.AUTOMATIC, slot_at=NOW)
        automation.make(backup.pk)
        row.refresh_from_db()
        assert row.next_run_at == soon

    def test_a_slots_backup_that_a_person_took_over_is_tried_again_too(self, add_tenant):
        tenant = add_tenant(database=False)
        row = make_due(tenant, interval="monthly")
        automation.tick(NOW)
        later = timezone.now() + timedelta(days=9)
        BackupSettings.objects.update(next_run_at=later)
        with pytest.raises(BackupError):
            backups.create(tenant, MANUAL)
        row.refresh_from_db()
        assert row.next_run_at < timezone.now() + timedelta(minutes=16)

    def test_a_failed_manual_one_is_not_tried_again(self, add_tenant):
        tenant = add_tenant(database=False)
        later = timezone.now() + timedelta(days=3)
        row = make_due(tenant, later)
        with pytest.raises(BackupError):
            backups.create(tenant, MANUAL)
        row.refresh_from_db()
        assert row.next_run_at == later


class TestStatus:
    def test_not_set_up(self):
        Schedule.objects.all().delete()
        assert automation.get_status().state is AutomationState.NOT_SET_UP
        Schedule.objects.create(name="tenant_backup", func="x", repeats=0)
        assert automation.get_status().state is AutomationState.NOT_SET_UP

    def test_paused(self):
        automation.tick(NOW)
        automation.pause("ada")
        automation_status = automation.get_status(NOW)
        assert (automation_status.state, automation_status.paused_by) == (
            AutomationState.PAUSED,
            "ada",
        )
        assert automation_status.paused_at is not None

    def test_never_seen_is_stalled(self):
        automation_status = automation.get_status(NOW)
        assert (automation_status.state, automation_status.last_tick_at) == (
            AutomationState.STALLED,
            None,
        )

    @pytest.mark.parametrize(
        ("minutes_later", "state"),
        [(0, AutomationState.RUNNING), (2, AutomationState.RUNNING), (4, AutomationState.STALLED)],
    )
    def test_stalled_within_four_minutes_of_the_last_tick(self, minutes_later, state):
        automation.tick(NOW)
        assert automation.get_status(minutes(minutes_later)).state is state
        assert automation.get_status(minutes(minutes_later)).last_tick_at == NOW

    def test_a_worker_busy_with_a_long_backup_is_running(self, tenant):
        now = timezone.now()
        automation.tick(now - timedelta(hours=1))
        directory = backups.directory_of(tenant)
        directory.make()
        backup = backups.request(tenant, MANUAL)
        automation.enqueue(backup)
        backup.start("acme-1.sqlite3")
        Backup.objects.update(started_at=now - timedelta(hours=1))
        assert automation.get_status(now).state is AutomationState.STALLED
        directory.create_partial("acme-1.sqlite3")
        assert automation.get_status(now).state is AutomationState.RUNNING

    def test_what_a_person_makes_elsewhere_says_nothing_of_workers(self, tenant):
        """Otherwise a request could be queued for a cluster that is dead."""
        automation.tick(timezone.now() - timedelta(hours=1))
        directory = backups.directory_of(tenant)
        directory.make()
        backups.request(tenant, MANUAL).start("acme-1.sqlite3")
        directory.create_partial("acme-1.sqlite3")
        assert automation.get_status().state is AutomationState.STALLED

    def test_a_backup_that_is_never_handed_over_is_trouble(self, tenant, capsys):
        now = timezone.now()
        Automation.load()
        Automation.objects.update(last_tick_at=now)
        make_due(tenant, now + timedelta(days=1))
        backup = backups.request(tenant, MANUAL)
        assert automation.get_status().state is AutomationState.RUNNING
        assert not automation.get_status().keeps_waiting([tenant])
        Backup.objects.update(created_at=now - timedelta(minutes=11))
        automation_status = automation.get_status()
        assert automation_status.keeps_waiting([tenant])
        assert automation_status.state is AutomationState.STALLED
        with pytest.raises(CommandError):
            call_command("checkbackups")
        assert "do not reach a worker" in capsys.readouterr().err
        # As soon as it is handed over, all is well.
        automation.enqueue(backup)
        assert automation.get_status().state is AutomationState.RUNNING

    def test_a_broker_out_of_reach_is_trouble_that_is_named(self, tenant, monkeypatch):
        def fail(*arguments, **options):
            raise ConnectionError("no route to host")

        monkeypatch.setattr(queue, "async_task", fail)
        backup = backups.request(tenant, MANUAL)
        automation.tick()
        Backup.objects.update(created_at=timezone.now() - timedelta(minutes=11))
        # Even while a person makes another one.
        assert "no route to host" in automation.get_status().waiting_because
        assert automation.get_status().waiting_since
        backup.refresh_from_db()
        assert backup.status == Status.QUEUED

    def test_a_tick_inside_the_schedulers_transaction_says_so(self, tenant):
        backups.request(tenant, MANUAL)
        with transaction.atomic():
            automation.tick()
        Backup.objects.update(created_at=timezone.now() - timedelta(minutes=11))
        assert "Is “sync” set in Q_CLUSTER?" in automation.get_status().waiting_because
        # The next tick that is outside makes up for it.
        Automation.objects.update(last_tick_at=None)
        automation.tick()
        assert Backup.objects.get().error == ""
        assert automation.get_status().state is AutomationState.RUNNING

    def test_what_waits_its_turn_without_a_cluster_is_no_trouble(self, add_tenant):
        first, second = add_tenant("acme"), add_tenant("globex")
        now = timezone.now()
        backups.directory_of(first).make()
        Automation.load()
        Automation.objects.update(last_tick_at=now)
        Backup.objects.create(
            tenant_id=first.id, trigger="automatic", status=Status.RUNNING, started_at=now
        )
        backups.request(second, MANUAL)
        Backup.objects.queued().update(created_at=now - timedelta(hours=1))
        assert automation.get_status().state is AutomationState.RUNNING

    def test_what_has_waited_for_the_end_of_a_pause_is_no_trouble(self, tenant):
        automation.pause("grace")
        backups.request(tenant, MANUAL)
        Backup.objects.update(created_at=timezone.now() - timedelta(hours=1))
        Automation.objects.update(last_tick_at=timezone.now())
        assert automation.get_status().state is AutomationState.PAUSED
        automation.resume("grace")
        assert automation.get_status().state is AutomationState.RUNNING
        Event.objects.update(created_at=timezone.now() - timedelta(minutes=11))
        assert automation.get_status().state is AutomationState.STALLED

    @pytest.mark.parametrize("put_right", ["tick", "get_status", "set_up"])
    def test_a_schedule_that_lies_behind_is_set_to_now(self, put_right):
        Schedule.objects.create(name="hosts", func="x", next_run=NOW)
        ours = Schedule.objects.filter(name="tenant_backup")
        ours.update(next_run=timezone.now() - timedelta(days=365))
        before = timezone.now()
        getattr(automation, put_right)()
        assert before <= ours.get().next_run <= timezone.now()
        assert Schedule.objects.get(name="hosts").next_run == NOW
        # What is a little late is left to django-q2.
        late = timezone.now() - timedelta(minutes=2)
        ours.update(next_run=late)
        Automation.objects.update(last_tick_at=None)
        getattr(automation, put_right)()
        assert ours.get().next_run == late

    def test_a_schedule_that_a_wrong_clock_has_put_off_is_put_right(self):
        """django-q2 reckons the next run from the clock of the moment, and would wait for it."""
        automation.tick(timezone.now() - timedelta(hours=1))
        Schedule.objects.update(next_run=timezone.now() + timedelta(days=30))
        assert automation.get_status().state is AutomationState.STALLED
        assert Schedule.objects.get().next_run <= timezone.now()


class TestDue:
    """`runbackup --due`, for hosts that have cron and no cluster."""

    def run(self, capsys, *arguments):
        call_command("runbackup", "--due", *arguments)
        return capsys.readouterr().out

    def test_makes_what_is_due_and_what_is_queued_and_nothing_else(self, add_tenant, capsys):
        due, queued, neither = (add_tenant(name) for name in ("due", "queued", "neither"))
        make_due(due)
        backups.request(queued, MANUAL)
        output = self.run(capsys)
        assert re.findall(r"^(\w+): ", output, re.MULTILINE) == ["queued", "due"]
        assert {(b.tenant_id, b.trigger) for b in Backup.objects.complete()} == {
            ("due", "automatic"),
            ("queued", "manual"),
        }
        assert not Backup.objects.for_tenant(neither.id).exists()
        assert "Nothing is due. Automation is running." in self.run(capsys)

    def test_counts_as_a_tick(self, capsys):
        self.run(capsys)
        assert automation.get_status().state is AutomationState.RUNNING

    def test_obeys_pause(self, tenant, capsys):
        make_due(tenant)
        automation.pause("ada")
        assert "Nothing is due. Automation is paused." in self.run(capsys)
        assert not Backup.objects.exists()

    def test_only_for_the_named_tenants_and_then_it_is_nobodys_tick(self, add_tenant, capsys):
        for name in ("acme", "acme2"):
            make_due(add_tenant(name))
        self.run(capsys, "acme")
        assert Backup.objects.get().tenant_id == "acme"
        assert automation.get_status().state is AutomationState.STALLED

    def test_what_another_process_is_at_is_no_failure(self, tenant, capsys):
        make_due(tenant)
        backups.directory_of(tenant).make()
        with lock.hold(backups.directory_of(tenant), wait=0):
            assert "acme: left to another process" in self.run(capsys)
        assert Backup.objects.get().status == Status.QUEUED

    def test_a_pause_that_comes_meanwhile_is_obeyed(self, add_tenant, capsys):
        """With many tenants one run may take hours."""
        for name in "abc":
            make_due(add_tenant(name))
        backups.request(add_tenant("d"), MANUAL)

        def pause(**kwargs):
            automation.pause("ada")

        backup_completed.connect(pause)
        try:
            output = self.run(capsys)
        finally:
            backup_completed.disconnect(pause)
        assert output.count("left to another process, or to the end of a pause") == 3
        # What a person asked for is made all the same.
        assert [b.tenant_id for b in Backup.objects.complete()] == ["d"]

    def test_what_was_queued_before_a_pause_waits_for_its_end(self, tenant, capsys):
        make_due(tenant)
        automation.tick(timezone.now())
        automation.pause("ada")
        assert not automation.is_due(tenant, timezone.now())
        assert "Nothing is due" in self.run(capsys)
        assert Backup.objects.get().status == Status.QUEUED
        # After a long pause nobody waits for the hand-over's growing delay.
        assert Backup.objects.get().enqueued_at is not None
        automation.resume("ada")
        assert Backup.objects.get().enqueued_at is None
        assert automation.is_due(tenant, timezone.now())
        assert "acme: acme-" in self.run(capsys)

    def test_a_dry_run_says_who_is_due_and_claims_nothing(self, add_tenant, capsys):
        make_due(add_tenant("acme"))
        add_tenant("globex")
        output = self.run(capsys, "--dry-run")
        assert "acme: would back up" in output
        assert "globex" not in output
        assert not Backup.objects.exists()
        assert automation.get_status().last_tick_at is None


def test_a_task_is_acknowledged_even_when_it_fails_and_leaves_no_result(tenant):
    """So `max_attempts` and `ack_failures` of the host's `Q_CLUSTER` need no care."""
    automation.set_up()
    make_due(tenant)
    automation.tick(timezone.now())
    [message] = OrmQ.objects.all()
    for options in (message.task, ast.literal_eval(Schedule.objects.get().kwargs)["q_options"]):
        assert options["ack_failure"] is True
        assert options["save"] is False


def test_a_retired_tenant_raises_no_alarm_of_automation(add_tenant):
    """Nobody waits for what it would have wanted."""
    automation.set_up()
    live = add_tenant("live")
    BackupSettings.objects.create(tenant_id="gone", automatic=True)
    assert not automation.get_status().keeps_waiting([live])
    BackupSettings.objects.create(tenant_id="live", automatic=True)
    assert automation.get_status().state is AutomationState.STALLED
    assert automation.get_status().keeps_waiting([live])


class TestNoBackupReachesAWorker:
    """It is said wherever automation is spoken of."""

    @pytest.fixture
    def waiting(self, tenant):
        Automation.load()
        Automation.objects.update(last_tick_at=timezone.now())
        make_due(tenant, timezone.now() + timedelta(days=1))
        backups.request(tenant, MANUAL)
        Backup.objects.update(
            created_at=timezone.now() - timedelta(hours=1), error="No route to <redis>."
        )

    @pytest.fixture
    def operator(self, client):
        client.force_login(User.objects.create_superuser("grace"))
        return client

    def test_on_the_command_line(self, waiting, capsys):
        call_command("automatebackups", "status")
        said = capsys.readouterr().out
        assert "do not reach a worker" in said
        assert "No route to <redis>." in said

    def test_in_the_list_of_all_tenants(self, waiting, operator):
        page = operator.get(reverse("admin:tenant_backup_backupsettings_changelist"))
        assert "Queued backups do not reach a worker." in page.content.decode()
        assert "No route to &lt;redis&gt;." in page.content.decode()

    def test_on_the_page_without_the_reason(self, waiting):
        automation_status = automation.get_status()
        text = render_to_string(
            "tenant_backup/_automation.html", {"automation_status": automation_status}
        )
        assert "Queued backups are not made" in text
        assert "route" not in text
        assert "automatebackups" not in text

    def test_in_the_diagnosis(self, waiting, tenant):
        answers = troubleshooting.examine(tenant, automation.get_status())
        [answer] = [answer for answer in answers if "Queued backups are not made." in answer.found]
        assert answer.is_well is False
        assert "automatebackups status" in answer.detail
        assert "No route to <redis>." in answer.detail


def test_one_file_alone_imports_django_q2():
    package = Path(automation.__path__[0]).parent
    importing = re.compile(r"^\s*(from|import) django_q\b", re.MULTILINE)
    files = [path for path in package.rglob("*.py") if importing.search(path.read_text())]
    assert files == [Path(queue.__file__)]
