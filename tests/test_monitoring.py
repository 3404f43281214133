"""Monitoring: who is overdue or failing, who is told so, and that nobody is told too often."""

import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import django
import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import Schedule
from hypothesis import given
from hypothesis import strategies as st

from tenant_backup import automation, backups, monitoring, signals
from tenant_backup.exceptions import BackupError
from tenant_backup.files import BackupDirectory
from tenant_backup.models import (
    Automation,
    Backup,
    BackupSettings,
    Event,
    Interval,
    TenantState,
    Trigger,
    Verdict,
)
from tenant_backup.monitoring import absence, disk_space, notices
from tenant_backup.retention import AHEAD
from tenant_backup.schedule import Rule, next_slot, overdue_at
from tenant_backup.tenants import Tenant
from tests.conftest import send_mail_by
from tests.tenancy import Tenants
from tests.test_schedule import moments, rules, zones

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=400)
YESTERDAY = NOW - timedelta(days=1)
INSTANT = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

OPERATOR = "operator@example.com"
# Django 6 wants addresses, and earlier ones want names with them.
ADMINS = [OPERATOR] if django.VERSION >= (6, 0) else [("Olga Operator", OPERATOR)]
ADDRESS = "ada@example.com"
LOCKED = "The database is locked."

MARGINS = {
    "hourly": timedelta(hours=1),
    "6h": timedelta(hours=3),
    "12h": timedelta(hours=6),
    "daily": timedelta(hours=6),
    "weekly": timedelta(days=1),
    "monthly": timedelta(days=2),
}


class Post(EmailBackend):
    """A mail server that takes no mail for some, and does something first where it is told to."""

    refused: set[str] = set()
    before = None
    asked: list[str] = []

    def send_messages(self, messages):
        for message in messages:
            [address] = message.recipients()
            Post.asked.append(address)
            if Post.before:
                Post.before(address)
            if address in Post.refused:
                raise ConnectionRefusedError("no mail today")
        return super().send_messages(messages)


@pytest.fixture(autouse=True)
def post(settings, monkeypatch, mailoutbox):
    settings.ADMINS = ADMINS
    send_mail_by(settings, f"{__name__}.Post")
    monkeypatch.setattr(Post, "refused", set())
    monkeypatch.setattr(Post, "before", None)
    monkeypatch.setattr(Post, "asked", [])
    return mailoutbox


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets; rows are of its time, too."""

    class Clock:
        now = NOW

    monkeypatch.setattr(timezone, "now", lambda: Clock.now)
    for model, name in ((Backup, "created_at"), (BackupSettings, "scheduled_since")):
        field = model._meta.get_field(name)
        monkeypatch.setitem(vars(field), "_get_default", lambda: Clock.now)
    return Clock


@pytest.fixture
def acme(add_tenant):
    """A tenant without a database: what is judged is in the catalog."""
    return add_tenant("acme", database=False)


def configure(tenant, **fields):
    """Automatic backups every day at two o'clock, for long now, unless said otherwise.

    A verdict that was noted was told, too.
    """
    usual = {"automatic": True, "scheduled_since": LONG_AGO, "notify_email": ADDRESS}
    noted, at = fields.pop("noted", Verdict.WELL), fields.pop("failed_at", None)
    TenantState.objects.create(
        tenant_id=tenant.id,
        noted=noted,
        notified=noted,
        notified_at=at,
        failure_noted_at=at,
        failure_notified_at=at,
    )
    return BackupSettings.objects.create(tenant_id=tenant.id, **usual | fields)


def add(tenant, at, status="complete", trigger="automatic", **fields):
    return Backup.objects.create(
        tenant_id=tenant.id, status=status, trigger=trigger, created_at=at, **fields
    )


def fail(tenant, at, error=LOCKED, **fields):
    return add(tenant, at, "failed", error=error, **fields)


def judge_all(tenants, now=NOW):
    return monitoring.judge_all(tenants, now, automation_runs=True, is_patient=True)


def judge(tenant, now=NOW):
    [judgement] = judge_all([tenant], now)
    return judgement


def inspect(tenant):
    return monitoring.judge_tenant(tenant, automation_runs=True)


def problems(tenant, now=NOW):
    return [finding.verdict.code for finding in judge(tenant, now).findings]


def notify(now=NOW):
    """What is mailed at this time: pairs of an address and a subject."""
    number = len(mail.outbox)
    monitoring.notify(now)
    return [(message.to[0], message.subject) for message in mail.outbox[number:]]


def told(*, to=None):
    return [message for message in mail.outbox if to in (None, message.to[0])]


def subjects(*, to):
    return [message.subject for message in told(to=to)]


def noted_of(tenant):
    return Verdict(TenantState.objects.of(tenant.id).noted)


def actions():
    return [event.kind for event in Event.objects.order_by("pk")]


# When a slot is overdue


def test_every_interval_has_a_margin():
    assert set(MARGINS) == set(Interval.values)


@given(rules, st.text(max_size=20), zones, moments)
def test_overdue_is_the_next_slot_and_a_margin(rule, tenant_id, zone, since):
    at = overdue_at(rule, tenant_id, zone, since)
    assert at == next_slot(rule, tenant_id, zone, since) + MARGINS[rule.interval]
    assert at > since
    assert at.utcoffset() == timedelta(0)


@given(rules, st.text(max_size=20), zones, moments, st.timedeltas(timedelta(0), 40 * DAY))
def test_a_later_success_is_never_overdue_earlier(rule, tenant_id, zone, since, more):
    first = overdue_at(rule, tenant_id, zone, since)
    assert overdue_at(rule, tenant_id, zone, since + more) >= first


class TestOverdue:
    @pytest.mark.parametrize("interval", Interval.values)
    def test_from_the_margin_after_the_slot_on(self, acme, interval):
        row = configure(acme, interval=interval, weekday=2, day_of_month=31)
        add(acme, NOW)
        at = next_slot(row.rule, acme.id, acme.zone, NOW) + MARGINS[interval]
        assert problems(acme, at) == []
        assert problems(acme, at + INSTANT) == ["overdue"]

    def test_by_the_local_time_of_the_tenant(self, add_tenant):
        tenant = replace(add_tenant(database=False), time_zone="Pacific/Auckland")
        configure(tenant)
        add(tenant, NOW)
        # Two o'clock there is 14:00 UTC.
        assert problems(tenant, NOW + timedelta(hours=8)) == []
        assert problems(tenant, NOW + timedelta(hours=9)) == ["overdue"]

    def test_from_the_last_good_one_and_not_from_a_failed_missing_or_damaged_one(self, acme):
        configure(acme)
        add(acme, NOW - 2 * DAY)
        for fields in ({"missing_at": LONG_AGO}, {"damaged_at": LONG_AGO}, {"status": "failed"}):
            newer = add(acme, NOW - HOUR, **fields)
            assert "overdue" in problems(acme)
            newer.delete()
        add(acme, NOW - HOUR)
        assert problems(acme) == []

    def test_whatever_has_made_the_good_one(self, acme):
        configure(acme)
        assert problems(acme) == ["overdue"]
        for trigger in Trigger.values:
            row = add(acme, NOW - HOUR, trigger=trigger)
            assert problems(acme) == []
            row.delete()

    def test_never_while_automatic_backup_is_off(self, acme):
        configure(acme, automatic=False)
        add(acme, LONG_AGO)
        assert problems(acme) == []

    def test_another_tenants_success_is_not_ones_own(self, add_tenant):
        tenants = [add_tenant(name, database=False) for name in ("acme", "acme2")]
        for tenant in tenants:
            configure(tenant)
        add(tenants[1], NOW - HOUR)
        assert [bool(judgement.findings) for judgement in judge_all(tenants)] == [
            True,
            False,
        ]

    def test_a_new_tenant_has_until_its_first_slot_and_the_margin(self, acme):
        configure(acme, scheduled_since=NOW)
        at = datetime(2026, 5, 5, 8, 0, tzinfo=UTC)
        assert problems(acme, at) == []
        assert problems(acme, at + timedelta(minutes=30)) == ["overdue"]

    def test_a_changed_schedule_counts_from_its_change_on(self, acme, clock):
        row = configure(acme, interval="monthly", day_of_month=1, next_run_at=NOW + DAY)
        add(acme, NOW - 3 * DAY)
        row.interval = "hourly"
        backups.configure(acme, row)
        assert problems(acme, NOW) == []
        assert problems(acme, NOW + HOUR) == []
        assert problems(acme, NOW + timedelta(hours=2, minutes=11)) == ["overdue"]

    def test_what_was_off_for_long_and_is_on_again_is_not_overdue_at_once(self, acme, clock):
        row = configure(acme, automatic=False)
        add(acme, NOW - 90 * DAY)
        row.automatic = True
        backups.configure(acme, row)
        assert problems(acme, NOW) == []
        assert problems(acme, NOW + DAY) == ["overdue"]

    def test_what_the_host_turned_on_by_itself_counts_from_the_first_tick_on(self, acme, clock):
        configure(acme)
        automation.tick(NOW)
        assert problems(acme, NOW) == []
        assert told() == []

    def test_other_changes_of_the_settings_put_nothing_off(self, acme, clock):
        row = configure(acme, next_run_at=NOW + DAY)
        add(acme, NOW - 3 * DAY)
        row.keep_last = 3
        backups.configure(acme, row)
        assert problems(acme, NOW) == ["overdue"]

    def test_whoever_is_kept_waiting_by_a_pause_is_overdue_in_the_end(self, acme, clock):
        automation.set_up()
        row = configure(acme, next_run_at=NOW + HOUR)
        add(acme, NOW)
        automation.pause("ada")
        at = overdue_at(row.rule, acme.id, acme.zone, NOW) + MINUTE
        automation.tick(at - 2 * MINUTE)
        assert told() == []
        automation.tick(at)
        assert subjects(to=OPERATOR) == ["[Django] Backups: 1 tenant overdue"]

    @pytest.mark.parametrize(
        ("age", "is_overdue"),
        [(0, False), (14.9, False), (15, True), (60 * 24, True), (-14.9, False), (-15, True)],
    )
    def test_not_while_a_backup_is_about_to_be_made_but_while_it_waits_in_vain(
        self, acme, age, is_overdue
    ):
        """Nor in the time before it, by a clock that was wrong for long."""
        configure(acme)
        add(acme, NOW - timedelta(minutes=age), "queued")
        assert problems(acme) == ["overdue"] * is_overdue
        assert judge(acme).is_under_way is not is_overdue

    @pytest.mark.parametrize(("age", "is_overdue"), [(2.9, False), (3, True), (-4, True)])
    def test_not_while_a_backup_moves_but_when_it_stands_still(self, acme, age, is_overdue):
        configure(acme)
        at = NOW - timedelta(minutes=age)
        add(acme, at, "running", started_at=at, file_name="acme-1.sqlite3")
        assert problems(acme) == ["overdue"] * is_overdue

    def test_a_long_backup_moves_as_long_as_its_partial_does(self, acme):
        configure(acme)
        add(acme, YESTERDAY, "running", started_at=YESTERDAY, file_name="acme-1.sqlite3")
        directory = backups.directory_of(acme)
        directory.make()
        partial = directory.create_partial("acme-1.sqlite3")
        os.utime(partial, (NOW.timestamp() - 60,) * 2)
        assert problems(acme) == []
        os.utime(partial, (NOW.timestamp() - 240,) * 2)
        assert problems(acme) == ["overdue"]

    def test_another_tenants_backup_is_not_ones_own(self, add_tenant):
        acme, other = (add_tenant(name, database=False) for name in ("acme", "acme2"))
        configure(acme)
        add(other, NOW, "queued")
        assert problems(acme) == ["overdue"]


class TestAWrongClock:
    """What is dated in the future was written by a clock that was wrong, and says nothing."""

    def test_a_good_backup_of_the_future_hides_no_overdue_one(self, acme):
        configure(acme)
        add(acme, NOW + AHEAD + INSTANT)
        add(acme, NOW + 3650 * DAY)
        assert problems(acme) == ["overdue", "future"]
        assert judge(acme).last_good == "There is no good backup."

    def test_that_all_good_ones_are_dated_in_the_future_is_a_finding(self, acme):
        add(acme, NOW + 3650 * DAY)
        configure(acme, automatic=False)
        [finding] = judge(acme).findings
        assert "dated in the future" in str(finding)
        # Found so once, they never count, not even when their time has come.
        Backup.objects.update(future_at=NOW)
        [finding] = judge(acme, NOW + 4000 * DAY).findings
        assert "dated in the future" in str(finding)
        add(acme, NOW)
        assert judge(acme).findings == ()

    def test_a_failed_one_of_the_future_makes_nobody_failing(self, acme):
        configure(acme)
        add(acme, NOW - HOUR)
        fail(acme, NOW + AHEAD + INSTANT)
        assert problems(acme) == []

    def test_settings_that_were_made_in_the_future_hide_no_failure(self, acme):
        configure(acme, scheduled_since=NOW + 3650 * DAY)
        fail(acme, NOW - HOUR)
        assert problems(acme) == ["failed"]

    @pytest.mark.parametrize("with_good", [True, False])
    def test_settings_that_were_made_in_the_future_are_overdue_in_the_end(
        self, acme, clock, with_good
    ):
        automation.set_up()
        ahead = NOW + 3650 * DAY
        configure(acme, scheduled_since=ahead, next_run_at=ahead)
        if with_good:
            add(acme, NOW)
        for days in (0, 1, 2, 3):
            clock.now = NOW + days * DAY
            automation.tick(clock.now)
            Backup.objects.active().delete()
        assert "overdue" in problems(acme, clock.now)

    def test_a_notice_of_the_future_keeps_nobody_from_being_told(self, acme):
        Automation.load()
        Automation.objects.update(notified_at=NOW + 3650 * DAY)
        configure(acme, failed_at=NOW + 3650 * DAY)
        assert len(notify()) == 2

    def test_a_clock_that_was_set_back_tells_nothing_twice(self, acme):
        configure(acme)
        assert len(notify()) == 2
        assert notify(NOW - HOUR) == []
        assert notify(NOW) == []


class TestFailing:
    @pytest.mark.parametrize("trigger", Trigger.values)
    @pytest.mark.parametrize("automatic", [True, False])
    def test_the_last_attempt_failed_whatever_had_asked_for_it(self, acme, trigger, automatic):
        configure(acme, automatic=automatic)
        add(acme, NOW - 2 * HOUR)
        fail(acme, NOW - HOUR, trigger=trigger)
        assert problems(acme) == ["failed"]
        add(acme, NOW - HOUR / 2)
        assert problems(acme) == []

    def test_without_any_good_one(self, acme):
        configure(acme, automatic=False)
        fail(acme, NOW - HOUR)
        assert problems(acme) == ["failed"]

    def test_says_the_error_of_the_last_failure(self, acme):
        configure(acme, automatic=False)
        fail(acme, NOW - 2 * HOUR, "The disk is full.")
        fail(acme, NOW - HOUR)
        fail(acme, NOW - 3 * HOUR, "There is no disk.")
        [finding] = judge(acme).findings
        assert str(finding) == (
            "The last attempt, at May 4, 2026, 11 a.m. (UTC), failed. The database is locked."
        )

    @pytest.mark.parametrize("fields", [{"missing_at": LONG_AGO}, {"damaged_at": LONG_AGO}])
    def test_a_lost_success_does_not_make_up_for_it(self, acme, fields):
        configure(acme, automatic=False)
        fail(acme, NOW - 2 * HOUR)
        add(acme, NOW - HOUR, **fields)
        assert problems(acme) == ["failed", "missing"]

    def test_an_attempt_under_way_changes_nothing_about_it(self, acme):
        configure(acme)
        add(acme, NOW - 2 * HOUR)
        fail(acme, NOW - HOUR)
        add(acme, NOW - MINUTE, "queued")
        assert problems(acme) == ["failed"]

    def test_the_gravest_comes_first(self, acme):
        configure(acme)
        add(acme, LONG_AGO)
        fail(acme, YESTERDAY)
        add(acme, LONG_AGO, missing_at=LONG_AGO)
        assert problems(acme) == ["overdue", "failed", "missing"]
        assert judge(acme).verdict is Verdict.OVERDUE


class TestMissing:
    @pytest.mark.parametrize("what", ["missing_at", "damaged_at"])
    def test_counts_after_a_moment(self, acme, what):
        """A deletion marks the row first, and removes it a moment later."""
        configure(acme)
        add(acme, NOW - HOUR)
        add(acme, NOW - 2 * HOUR, **{what: NOW - MINUTE + INSTANT})
        assert problems(acme) == []
        assert problems(acme, NOW + INSTANT) == ["missing"]

    def test_a_deletion_in_the_midst_is_told_to_nobody(self, tenant, monkeypatch):
        configure(tenant)
        made = [
            backups.create(tenant, backups.BackupRequest(trigger=Trigger.COMMAND)) for _ in range(2)
        ]
        remove = BackupDirectory.remove
        seen = []

        def look_then_remove(self, name):
            monitoring.notify()
            seen.extend(Backup.objects.being_deleted())
            remove(self, name)

        monkeypatch.setattr(BackupDirectory, "remove", look_then_remove)
        backups.delete(tenant, made[0].backup)
        monitoring.notify()
        assert seen == [made[0].backup]
        assert told() == []

    def test_are_counted(self, acme):
        configure(acme)
        add(acme, NOW - HOUR)
        for at in (1, 2):
            add(acme, NOW - at * DAY, missing_at=LONG_AGO)
            [finding] = judge(acme).findings
            if at == 1:
                assert str(finding) == "The file of 1 backup is missing or damaged."
        assert str(finding) == "The files of 2 backups are missing or damaged."

    def test_both_missing_and_damaged_counts_once(self, acme):
        configure(acme)
        add(acme, NOW - HOUR)
        add(acme, YESTERDAY, missing_at=LONG_AGO, damaged_at=LONG_AGO)
        assert str(judge(acme).findings[0]) == "The file of 1 backup is missing or damaged."


class TestWhoIsJudged:
    def test_tenants_in_their_order_and_none_without_settings(self, add_tenant):
        tenants = [add_tenant(name, database=False) for name in ("b", "new", "c", "a")]
        for tenant in (tenants[0], tenants[2], tenants[3]):
            configure(tenant)
        found = judge_all(tenants)
        assert [judgement.tenant.id for judgement in found] == ["b", "c", "a"]
        assert [judgement.settings.tenant_id for judgement in found] == ["b", "c", "a"]

    def test_a_retired_tenant_is_nobodys_concern(self, acme):
        configure(acme)
        fail(acme, NOW - HOUR)
        Tenants.tenants.clear()
        assert notify() == []
        assert noted_of(acme) == Verdict.WELL

    def test_one_that_is_not_valid_keeps_no_other_from_being_told(self, add_tenant):
        for name in ("acme", "globex"):
            configure(add_tenant(name, database=False))
        Tenants.tenants[0] = replace(Tenants.tenants[0], time_zone="Mars/Base")
        assert notify() == [
            (OPERATOR, "[Django] Backups: 1 tenant not valid, 1 tenant overdue"),
            (ADDRESS, "Backups of Globex: overdue"),
        ]
        first, second = told()[0].body.split("\n\n")[:2]
        assert first == (
            "acme (acme): not valid\nThe time zone 'Mars/Base' of tenant 'acme' is not known."
        )
        assert second.startswith("globex (Globex): overdue")
        # Once, and again after a week.
        assert notify(NOW + HOUR) == []
        assert len(notify(NOW + 8 * DAY)) == 2

    def test_nonsense_in_one_row_keeps_no_other_from_being_told(self, add_tenant):
        for name in ("acme", "globex"):
            configure(add_tenant(name, database=False))
        BackupSettings.objects.filter(tenant_id="acme").update(interval="yearly")
        assert (OPERATOR, "[Django] Backups: 1 tenant not valid, 1 tenant overdue") in notify()
        assert "Its backups cannot be judged: KeyError: 'yearly'" in told()[0].body

    def test_a_state_of_a_later_version_keeps_nobody_from_being_told(self, add_tenant):
        for name in ("acme", "globex"):
            configure(add_tenant(name, database=False))
        TenantState.objects.filter(tenant_id="acme").update(noted=35, notified=35)
        assert notify()[0] == (OPERATOR, "[Django] Backups: 2 tenants overdue")

    def test_one_that_is_valid_again_and_overdue_is_told_of_that(self, acme):
        """Its own address heard nothing of it while it was not valid."""
        configure(acme)
        Tenants.tenants[:] = [replace(acme, time_zone="Mars/Base")]
        assert notify() == [(OPERATOR, "[Django] Backups: 1 tenant not valid")]
        Tenants.tenants[:] = [acme]
        assert notify(NOW + HOUR) == [
            (OPERATOR, "[Django] Backups: 1 tenant overdue"),
            (ADDRESS, "Backups of Acme: overdue"),
        ]
        assert notify(NOW + 2 * HOUR) == []

    def test_one_without_a_valid_id_is_told_each_time_that_there_is_one(self, acme):
        configure(acme, automatic=False)
        nameless = replace(acme, id="")
        for days in range(2):
            Tenants.tenants[:] = [acme, nameless]
            assert len(notify(NOW + days * DAY)) == 1
            Tenants.tenants[:] = [acme]
            assert notify(NOW + days * DAY + HOUR) == []

    @pytest.mark.parametrize("number", [1, 1000])
    def test_the_number_of_queries_does_not_grow(self, tmp_path, django_assert_num_queries, number):
        tenants = many(tmp_path, number)
        for tenant in tenants[:3]:
            add(tenant, NOW - MINUTE, "queued")
        with django_assert_num_queries(4):
            judgements = judge_all(tenants)
        assert len(judgements) == number

    @pytest.mark.parametrize("number", [1, 50])
    def test_nor_that_of_a_tick_on_which_nothing_has_changed(
        self, tmp_path, monkeypatch, django_assert_num_queries, number
    ):
        monkeypatch.setattr(Tenants, "tenants", many(tmp_path, number))
        # Each looks at the disks of twenty tenants.
        for _ in range(3):
            monitoring.notify(NOW)
        # Automation's row, where there is a new backup, the four of `judge_all`, who is no longer
        # invalid, who has disappeared, who is back, what was asked for, and that the disks of some
        # were looked at.
        with django_assert_num_queries(11):
            monitoring.notify(NOW + HOUR)


def many(folder, number):
    """Tenants whose last attempt was a success, with settings, in few queries."""
    tenants = [
        Tenant(f"t{n}", f"T{n}", folder / f"t{n}", folder / f"t{n}" / "db.sqlite3")
        for n in range(number)
    ]
    BackupSettings.objects.bulk_create(
        BackupSettings(tenant_id=tenant.id, scheduled_since=LONG_AGO) for tenant in tenants
    )
    Backup.objects.bulk_create(
        Backup(tenant_id=t.id, status="complete", trigger="command", created_at=NOW - 30 * DAY)
        for t in tenants
    )
    return tenants


class TestInspect:
    def test_a_tenant_that_is_well(self, tenant):
        backup = backups.create(tenant, backups.BackupRequest(trigger=Trigger.COMMAND)).backup
        judgement = inspect(tenant)
        assert judgement.findings == ()
        assert judgement.trouble is Verdict.WELL
        assert judgement.settings.last_good_at == backup.created_at

    def test_a_file_that_somebody_removed_counts_at_once(self, tenant):
        order = backups.BackupRequest(trigger=Trigger.COMMAND)
        backups.create(tenant, order)
        gone = backups.create(tenant, order).backup
        backups.directory_of(tenant).file(gone.file_name).unlink()
        assert inspect(tenant).verdict is Verdict.MISSING
        gone.refresh_from_db()
        assert gone.missing_at is not None

    def test_a_directory_out_of_reach_marks_nothing_missing(self, tenant):
        backups.create(tenant, backups.BackupRequest(trigger=Trigger.COMMAND))
        directory = backups.directory_of(tenant).path
        directory.rename(tenant.root / "elsewhere")
        [finding] = inspect(tenant).findings
        assert finding.verdict is Verdict.MISSING
        assert str(finding) == f"The backup directory is not there, or out of reach: {directory}"
        (tenant.root / "elsewhere").rename(directory)
        assert inspect(tenant).findings == ()

    def test_a_directory_out_of_reach_hides_nothing_that_is_graver(self, tenant):
        backups.create(tenant, backups.BackupRequest(trigger=Trigger.COMMAND))
        fail(tenant, timezone.now())
        backups.directory_of(tenant).path.rename(tenant.root / "elsewhere")
        found = [finding.verdict.code for finding in inspect(tenant).findings]
        assert found == ["failed", "missing"]

    def test_of_a_tenant_without_backups_no_directory_is_expected(self, tenant):
        assert inspect(tenant).findings == ()
        assert not backups.directory_of(tenant).path.exists()

    def test_the_rows_of_others_are_not_read(self, tenant):
        """There may be a thousand others, and each of them is judged in its turn."""
        with CaptureQueriesContext(connection) as queries:
            inspect(tenant)
        reads = [each["sql"] for each in queries if 'FROM "tenant_backup_backup"' in each["sql"]]
        assert reads
        assert [sql for sql in reads if tenant.id not in sql] == []

    def test_a_new_tenant_gets_its_settings(self, tenant):
        inspect(tenant)
        assert BackupSettings.objects.get().tenant_id == tenant.id


class TestWhatIsTold:
    def test_the_first_failure_once_to_each(self, acme):
        configure(acme)
        add(acme, NOW - HOUR)
        assert notify() == []
        fail(acme, NOW)
        assert notify() == [
            (OPERATOR, "[Django] Backups: 1 tenant failed"),
            (ADDRESS, "Backups of Acme: failed"),
        ]
        for number in range(1, 100):
            at = NOW + number * 5 * MINUTE
            fail(acme, at)
            assert notify(at) == []

    def test_one_that_is_made_up_for_in_time_is_not_told(self, acme):
        configure(acme)
        fail(acme, NOW - HOUR)
        add(acme, NOW - MINUTE)
        assert notify() == []

    def test_that_it_is_overdue_now_too(self, acme):
        row = configure(acme)
        add(acme, NOW)
        fail(acme, NOW + 15 * HOUR)
        assert len(notify(NOW + 15 * HOUR)) == 2
        at = overdue_at(row.rule, acme.id, acme.zone, NOW)
        assert notify(at) == []
        assert notify(at + MINUTE) == [
            (OPERATOR, "[Django] Backups: 1 tenant overdue"),
            (ADDRESS, "Backups of Acme: overdue"),
        ]
        for hours in range(1, 100):
            fail(acme, at + hours * HOUR)
            assert notify(at + hours * HOUR) == []
        assert actions() == ["overdue"]

    def test_recovery_once(self, acme):
        configure(acme)
        fail(acme, NOW - MINUTE)
        notify()
        add(acme, NOW + HOUR)
        assert notify(NOW + HOUR) == [
            (OPERATOR, "[Django] Backups: 1 tenant recovered"),
            (ADDRESS, "Backups of Acme: recovered"),
        ]
        assert notify(NOW + 2 * HOUR) == []
        assert noted_of(acme) == Verdict.WELL
        event = Event.objects.get(kind="recovered")
        assert (event.tenant_id, event.detail) == (
            "acme",
            "The last good backup is from May 4, 2026, 1 p.m. (UTC).",
        )

    def test_a_recovery_from_being_overdue(self, acme):
        configure(acme)
        notify()
        add(acme, NOW + HOUR)
        assert subjects(to=ADDRESS) == ["Backups of Acme: overdue"]
        assert notify(NOW + HOUR)[1] == (ADDRESS, "Backups of Acme: recovered")
        assert actions() == ["overdue", "recovered"]

    def test_a_recovery_with_lost_files_is_headlined_by_what_is_wrong(self, acme):
        configure(acme)
        fail(acme, NOW - MINUTE)
        notify()
        add(acme, NOW + HOUR)
        add(acme, YESTERDAY, missing_at=YESTERDAY)
        assert notify(NOW + HOUR) == [
            (OPERATOR, "[Django] Backups: backups of 1 tenant missing or damaged"),
            (ADDRESS, "Backups of Acme: backups missing or damaged"),
        ]
        for message in told()[2:]:
            assert "A backup has succeeded again, but something else is wrong." in message.body
            assert "The file of 1 backup is missing" in message.body
        assert noted_of(acme) == Verdict.MISSING
        assert actions()[-1] == "recovered"
        assert notify(NOW + 2 * HOUR) == []

    def test_what_is_under_way_may_yet_fail_so_no_end_is_told(self, acme):
        configure(acme)
        notify()
        attempt = add(acme, NOW + 11 * MINUTE, "queued")
        assert notify(NOW + 12 * MINUTE) == []
        assert noted_of(acme) == Verdict.OVERDUE
        attempt.delete()
        fail(acme, NOW + 11 * MINUTE)
        assert notify(NOW + HOUR) == []
        assert noted_of(acme) == Verdict.OVERDUE

    def test_that_files_are_missing_and_not_that_they_are_back(self, acme):
        configure(acme)
        add(acme, NOW - HOUR)
        lost = add(acme, YESTERDAY, missing_at=YESTERDAY)
        assert notify() == [
            (OPERATOR, "[Django] Backups: backups of 1 tenant missing or damaged"),
            (ADDRESS, "Backups of Acme: backups missing or damaged"),
        ]
        assert notify(NOW + HOUR) == []
        lost.delete()
        assert notify(NOW + 2 * HOUR) == []
        assert noted_of(acme) == Verdict.WELL
        assert actions() == []

    @pytest.mark.parametrize("noted", [Verdict.FAILED, Verdict.OVERDUE])
    def test_settings_that_ask_for_less_are_no_recovery(self, acme, noted):
        configure(acme, automatic=False, noted=noted, failed_at=YESTERDAY)
        assert notify() == []
        assert noted_of(acme) == Verdict.WELL
        assert actions() == []

    @pytest.mark.parametrize("how", ["turned off", "other schedule", "failure deleted"])
    def test_nor_are_they_where_there_is_an_old_good_backup(self, acme, how, clock):
        """Recovered is who has a good backup of after the alarm."""
        row = configure(acme, automatic=how != "failure deleted")
        add(acme, NOW - 3 * DAY)
        failed = fail(acme, NOW - 2 * DAY) if how == "failure deleted" else None
        assert len(notify()) == 2
        if failed:
            backups.delete(acme, failed)
        else:
            row.automatic = how == "other schedule"
            row.interval = "weekly"
            backups.configure(acme, row)
        assert notify(NOW + HOUR) == []
        assert noted_of(acme) == Verdict.WELL
        assert "recovered" not in actions()

    def test_after_an_end_without_a_success_the_next_trouble_is_told_again(self, acme):
        configure(acme, automatic=False)
        failed = fail(acme, NOW - MINUTE)
        assert len(notify()) == 2
        failed.delete()
        assert notify(NOW + DAY) == []
        fail(acme, NOW + 2 * DAY)
        assert len(notify(NOW + 2 * DAY)) == 2

    def test_a_lighter_alarm_is_noted_and_not_told(self, acme):
        configure(acme, automatic=False, noted=Verdict.OVERDUE)
        fail(acme, NOW - HOUR)
        assert notify() == []
        assert noted_of(acme) == Verdict.FAILED

    def test_without_an_address_the_operators_alone(self, acme):
        configure(acme, notify_email="")
        assert notify() == [(OPERATOR, "[Django] Backups: 1 tenant overdue")]

    def test_without_operators_the_address_alone(self, acme, settings):
        settings.ADMINS = []
        configure(acme)
        assert notify() == [(ADDRESS, "Backups of Acme: overdue")]
        assert notify(NOW + HOUR) == []

    def test_what_nobody_could_be_told_is_told_when_somebody_can(self, acme, settings):
        settings.ADMINS = []
        configure(acme, notify_email="")
        assert notify() == []
        assert (noted_of(acme), actions()) == (Verdict.OVERDUE, ["overdue"])
        settings.ADMINS = ADMINS
        assert notify(NOW + MINUTE) == [(OPERATOR, "[Django] Backups: 1 tenant overdue")]
        assert notify(NOW + HOUR) == []

    def test_all_operators_by_one_mail(self, acme, settings, monkeypatch):
        second = "second@example.com"
        settings.ADMINS = [*ADMINS, second if isinstance(ADMINS[0], str) else ("S", second)]
        send_mail_by(settings, "django.core.mail.backends.locmem.EmailBackend")
        configure(acme, notify_email="")
        monitoring.notify(NOW)
        [message] = told()
        assert message.to == [OPERATOR, second]

    def test_is_in_the_log_with_what_programs_look_for(self, acme, caplog):
        caplog.set_level("INFO", "tenant_backup")
        configure(acme)
        notify()
        add(acme, NOW + HOUR)
        notify(NOW + HOUR)
        assert [
            (record.levelname, record.action, record.tenant_id) for record in caplog.records
        ] == [
            ("ERROR", "overdue", "acme"),
            ("INFO", "recovered", "acme"),
        ]
        assert caplog.messages[1] == (
            "Tenant 'acme': recovered (The last good backup is from May 4, 2026, 1 p.m. (UTC).)"
        )


SEQUENCES = {
    "each further loss": [
        (0, "lose", "backups missing or damaged"),
        (1, "lose", "backups missing or damaged"),
        (2, "", ""),
        (3, "damage", "backups missing or damaged"),
        (4, "", ""),
    ],
    "a loss in the place of one that was deleted": [
        (0, "lose", "backups missing or damaged"),
        (1, "delete the lost, lose", "backups missing or damaged"),
        (2, "delete the lost", ""),
        (3, "lose", "backups missing or damaged"),
    ],
    "a loss while the backups fail": [
        (0, "fail", "failed"),
        (1, "lose", "failed, backups missing or damaged"),
        (2, "fail", ""),
        (3, "succeed", "backups missing or damaged"),
        (4, "", ""),
        (5, "delete the lost", ""),
    ],
    "a loss in the calm after an alarm": [
        (0, "fail", "failed"),
        (1, "succeed", "recovered"),
        (2, "fail", ""),
        (3, "lose", "failed, backups missing or damaged"),
    ],
    "a failure that nobody could be told mutes no later one": [
        (0, "nobody hears, fail", ""),
        (1, "succeed", ""),
        (2, "somebody hears, fail", "failed"),
        (3, "succeed", "recovered"),
    ],
    "what began while nobody heard is told when somebody does": [
        (0, "nobody hears, fail", ""),
        (20, "", ""),
        (21, "somebody hears", "failed"),
    ],
    "an end that nobody could be told is told to nobody later": [
        (0, "fail", "failed"),
        (1, "nobody hears, succeed", ""),
        (2, "somebody hears", ""),
        (24, "fail", "failed"),
    ],
    "a loss that nobody could be told": [
        (0, "nobody hears, lose", ""),
        (1, "somebody hears", "backups missing or damaged"),
    ],
    "a reminder a week after it was told last": [
        (0, "fail", "failed"),
        (7 * 24 - 1, "fail", ""),
        (7 * 24, "", "failed"),
        (8 * 24, "", ""),
        (14 * 24 - 1, "", ""),
        (14 * 24, "", "failed"),
        (14 * 24 + 1, "succeed", "recovered"),
        (21 * 24 + 1, "", ""),
    ],
    "a reminder of what was lost, from the last loss on": [
        (0, "lose", "backups missing or damaged"),
        (5 * 24, "lose", "backups missing or damaged"),
        (7 * 24, "", ""),
        (12 * 24, "", "backups missing or damaged"),
    ],
}


class TestSequences:
    """What happens, hour by hour, and the headline of the mail that it leads to, if any."""

    def happen(self, what, tenant, settings, at):
        match what:
            case "fail":
                fail(tenant, at)
            case "succeed":
                add(tenant, at)
            case "lose":
                add(tenant, YESTERDAY, missing_at=at - 2 * MINUTE)
            case "damage":
                add(tenant, YESTERDAY, damaged_at=at - 2 * MINUTE)
            case "delete the lost":
                Backup.objects.missing_or_damaged(at).delete()
            case "nobody hears":
                settings.ADMINS = []
                BackupSettings.objects.update(notify_email="")
            case "somebody hears":
                BackupSettings.objects.update(notify_email=ADDRESS)

    @pytest.mark.parametrize("name", SEQUENCES)
    def test_of_states_and_mails(self, acme, settings, name):
        settings.ADMINS = []
        configure(acme, automatic=False)
        add(acme, YESTERDAY)
        for hours, what, headline in SEQUENCES[name]:
            at = NOW + hours * HOUR
            for each in filter(None, what.split(", ")):
                self.happen(each, acme, settings, at)
            expected = [(ADDRESS, f"Backups of Acme: {headline}")] if headline else []
            assert notify(at) == expected, f"{hours} hours: {what}"
            assert notify(at + 20 * MINUTE) == [], f"{hours} hours and 20 minutes"

    def test_the_operators_hear_of_a_further_loss_and_of_a_week(self, acme):
        configure(acme, automatic=False, notify_email="")
        for number in range(8):
            self.happen("lose", acme, None, NOW)
            if number in (0, 7):
                subject = "[Django] Backups: backups of 1 tenant missing or damaged"
                assert notify(NOW + number * HOUR) == [(OPERATOR, subject)]
        assert "The files of 8 backups are missing" in told()[1].body
        assert len(notify(NOW + 7 * HOUR + 7 * DAY)) == 1
        assert "This is a reminder. The last notice was sent on May 4, 2026." in told()[2].body

    def test_a_reminder_waits_for_a_mail_server(self, acme):
        configure(acme, notify_email="")
        notify()
        Post.refused = {OPERATOR}
        assert notify(NOW + 7 * DAY) == []
        Post.refused = set()
        assert len(notify(NOW + 7 * DAY + HOUR)) == 1
        assert notify(NOW + 14 * DAY) == []

    def test_a_recovery_that_is_told_late_is_headlined_so(self, acme):
        configure(acme)
        notify()
        add(acme, NOW + HOUR)
        Post.refused = {OPERATOR}
        assert notify(NOW + HOUR) == [(ADDRESS, "Backups of Acme: recovered")]
        Post.refused = set()
        assert notify(NOW + 2 * HOUR) == [(OPERATOR, "[Django] Backups: 1 tenant recovered")]
        assert "acme (Acme): recovered" in told()[-1].body
        assert notify(NOW + 3 * HOUR) == []


class Stalled:
    """Automation as a test sets it, in the place of `automation.standing`."""

    WELL = monitoring.Condition("", "automation is running again", "It runs.", True)
    PAUSED = monitoring.Condition("", "automation is running again", "It runs.", False)
    STALLED = monitoring.Condition("stalled", "automation is stalled", "It is stalled.", False)
    NOT_SET_UP = monitoring.Condition("not set up", "automation is not set up", "Set up.", False)


class TestAutomation:
    """That automation is stalled or not set up is told once, and when it is well again."""

    @pytest.mark.parametrize(
        "sequence",
        [
            [(0, "STALLED", True), (1, "STALLED", False), (30, "STALLED", False)],
            [(0, "STALLED", True), (1, "WELL", True), (2, "WELL", False)],
            [(0, "STALLED", True), (1, "NOT_SET_UP", True), (2, "WELL", True)],
            [(0, "STALLED", True), (167, "STALLED", False), (168, "STALLED", True)],
            [(0, "STALLED", True), (1, "PAUSED", False), (2, "WELL", False)],
            # Workers that are busy every other hour shall not fill anybody's mailbox.
            [(0, "STALLED", True), (1, "WELL", True), (2, "STALLED", False), (13, "STALLED", True)],
            [(0, "WELL", False), (1, "PAUSED", False)],
        ],
        ids=lambda sequence: " ".join(f"{hours}:{name}" for hours, name, _ in sequence),
    )
    def test_of_conditions_and_mails(self, sequence):
        for hours, name, is_told in sequence:
            condition = getattr(Stalled, name)
            number = len(told())
            monitoring.notify(NOW + hours * HOUR, ask_automation=lambda *_, it=condition: it)
            subjects_ = [message.subject for message in told()[number:]]
            assert subjects_ == [f"[Django] Backups: {condition.headline}"] * is_told, hours

    def test_is_in_one_mail_with_what_is_wrong_with_the_tenants(self, acme):
        configure(acme)
        monitoring.notify(NOW, ask_automation=lambda *_: Stalled.STALLED)
        [message] = told(to=OPERATOR)
        assert message.subject == "[Django] Backups: automation is stalled, 1 tenant overdue"
        assert message.body.startswith("It is stalled.\n\nacme (Acme): overdue")
        assert "stalled" not in told(to=ADDRESS)[0].body

    def test_without_operators_it_does_not_count_as_told(self, settings):
        settings.ADMINS = []
        monitoring.notify(NOW, ask_automation=lambda *_: Stalled.STALLED)
        settings.ADMINS = ADMINS
        monitoring.notify(NOW + HOUR, ask_automation=lambda *_: Stalled.STALLED)
        assert len(told()) == 1

    def test_a_mail_that_cannot_be_sent_does_not_count_as_told(self):
        Post.refused = {OPERATOR}
        monitoring.notify(NOW, ask_automation=lambda *_: Stalled.STALLED)
        Post.refused = set()
        monitoring.notify(NOW + HOUR, ask_automation=lambda *_: Stalled.STALLED)
        assert len(told()) == 1

    def test_of_several_processes_one_tells_it(self):
        def ask_while_another_tells(*_):
            monitoring.notify(NOW, ask_automation=lambda *_: Stalled.STALLED)
            return Stalled.STALLED

        monitoring.notify(NOW, ask_automation=ask_while_another_tells)
        assert len(told()) == 1

    def test_a_monthly_tenant_does_not_wait_until_it_is_overdue(self, acme, clock):
        """It could be 33 days until then."""
        automation.set_up()
        configure(acme, interval="monthly", scheduled_since=NOW)
        add(acme, NOW)
        automation.tick(NOW)
        assert told() == []
        clock.now = NOW + HOUR
        automation.notify(clock.now)
        assert subjects(to=OPERATOR) == ["[Django] Backups: automation is stalled"]
        assert "It was last seen at May 4, 2026, noon (UTC)." in told()[0].body
        assert "python manage.py qcluster" in told()[0].body
        automation.tick(clock.now + MINUTE)
        assert len(told()) == 1
        # The tick itself tells that it is well again.
        clock.now += 20 * MINUTE
        automation.tick(clock.now)
        assert subjects(to=OPERATOR)[1:] == ["[Django] Backups: automation is running again"]

    def test_what_cannot_be_asked_keeps_nothing_from_being_noted(self, acme):
        configure(acme)
        assert monitoring.notify(NOW, ask_automation=lambda *_: 1 // 0) is False
        assert (noted_of(acme), actions()) == (Verdict.OVERDUE, ["overdue"])

    def test_not_set_up_is_told_too(self, acme):
        configure(acme, scheduled_since=NOW)
        add(acme, NOW)
        Schedule.objects.all().delete()
        automation.notify(NOW)
        assert subjects(to=OPERATOR) == ["[Django] Backups: automation is not set up"]
        assert "python manage.py automatebackups enable" in told()[0].body

    def test_where_nobody_wants_automatic_backups_nobody_is_told(self, acme):
        configure(acme, automatic=False)
        add(acme, NOW)
        automation.notify(NOW)
        assert told() == []


class TestWhetherAllIsWell:
    """What the heartbeat goes by."""

    @pytest.mark.parametrize(
        "trouble",
        [None, "failed", "automation", "absent", "not valid", "nonsense", "provider", "nobody"],
    )
    def test_is_returned(self, add_tenant, acme, trouble, monkeypatch):
        configure(acme, automatic=False, notify_email="")
        condition = Stalled.WELL
        match trouble:
            case "failed":
                fail(acme, NOW - HOUR)
            case "automation":
                condition = Stalled.STALLED
            case "absent":
                absence.note(set(), NOW - 2 * DAY)
                add(acme, YESTERDAY)
            case "not valid":
                Tenants.tenants[0] = replace(acme, time_zone="Mars/Base")
            case "nonsense":
                BackupSettings.objects.update(interval="yearly", automatic=True)
            case "nobody":
                Tenants.tenants.clear()
            case "provider":
                monkeypatch.setattr(Tenants, "all_tenants", lambda self: 1 // 0)
        is_well = monitoring.notify(NOW, ask_automation=lambda *_: condition)
        assert is_well is (trouble is None)
        # Also while nothing of it is news.
        assert monitoring.notify(NOW, ask_automation=lambda *_: condition) is is_well

    def test_a_tenant_that_is_new_is_no_trouble(self, add_tenant, acme):
        """The tick makes its settings within ten minutes."""
        configure(acme, automatic=False)
        add_tenant("new", database=False)
        assert monitoring.notify(NOW)


class TestTexts:
    def tenant(self, add_tenant, **fields):
        return replace(add_tenant("acme", database=False), time_zone="Europe/Berlin", **fields)

    def use(self, tenant):
        Tenants.tenants[:] = [tenant]
        return tenant

    def test_a_failure_to_both(self, add_tenant):
        tenant = self.use(self.tenant(add_tenant, name="Acme & Söhne"))
        configure(tenant, next_run_at=NOW + 15 * MINUTE)
        add(tenant, NOW - 2 * HOUR)
        fail(tenant, NOW - HOUR, f"The database {tenant.database} does not exist.")
        notify()
        to_operators, to_tenant = told()
        assert to_operators.subject == "[Django] Backups: 1 tenant failed"
        assert to_operators.body == (
            "acme (Acme & Söhne): failed\n"
            "The last attempt, at May 4, 2026, 1 p.m. (Europe/Berlin), failed. "
            f"The database {tenant.database} does not exist.\n"
            "The last good backup is from May 4, 2026, noon (Europe/Berlin).\n"
            "The next attempt is at May 4, 2026, 2:15 p.m. (Europe/Berlin).\n"
            "\n"
            "For the state of all tenants: python manage.py checkbackups"
        )
        assert to_tenant.subject == "Backups of Acme & Söhne: failed"
        assert to_tenant.body == (
            "The last attempt, at May 4, 2026, 1 p.m. (Europe/Berlin), failed. "
            "The database db.sqlite3 does not exist.\n"
            "The last good backup is from May 4, 2026, noon (Europe/Berlin).\n"
            "The next attempt is at May 4, 2026, 2:15 p.m. (Europe/Berlin).\n"
            "Open the backup page, or ask the operator."
        )

    def test_the_operator_and_the_links_where_the_settings_say_so(self, acme, settings):
        operator = {"NAME": "Anna Ops", "PHONE": "+49 30 1", "SITE_URL": "https://example.com/"}
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "OPERATOR": operator}
        configure(acme)
        notify()
        assert told(to=ADDRESS)[0].body.endswith(
            "\n"
            "Open the backup page, or ask the operator (Anna Ops, +49 30 1).\n"
            "\n"
            "Backup page: https://example.com/settings/admin/backup"
        )
        assert told(to=OPERATOR)[0].body.endswith(
            "For the state of all tenants: python manage.py checkbackups\n"
            "In the admin: https://example.com/admin/tenant_backup/backupsettings/"
        )

    def test_an_address_that_is_none_harms_no_mail(self, acme, monkeypatch, caplog):
        monkeypatch.setattr(Tenants, "url_for", lambda self, tenant: "javascript:alert(1)")
        configure(acme)
        notify()
        assert told(to=ADDRESS)[0].body.endswith("or ask the operator.")
        assert "gives no address for tenant 'acme'" in caplog.text

    def test_an_overdue_one_that_never_had_a_backup(self, acme):
        configure(acme)
        notify()
        slot = next_slot(Rule("daily", time(2), 6, 1), "acme", acme.zone, LONG_AGO)
        assert told(to=ADDRESS)[0].body == (
            f"A backup was due at March 31, 2025, 2:{slot.minute:02} a.m. (UTC), "
            "and none has succeeded since.\n"
            "There is no good backup.\n"
            "Open the backup page, or ask the operator."
        )

    def test_a_recovery(self, acme):
        configure(acme, noted=Verdict.FAILED, next_run_at=NOW + DAY)
        add(acme, NOW - HOUR)
        notify()
        assert told(to=OPERATOR)[0].body == (
            "acme (Acme): recovered\n"
            "The last good backup is from May 4, 2026, 11 a.m. (UTC).\n"
            "\n"
            "For the state of all tenants: python manage.py checkbackups"
        )
        assert told(to=ADDRESS)[0].body == (
            "The last good backup is from May 4, 2026, 11 a.m. (UTC).\nThere is nothing to do."
        )

    def test_who_has_recovered_but_lacks_files_has_something_to_do(self, acme):
        configure(acme, noted=Verdict.FAILED)
        add(acme, NOW - HOUR)
        add(acme, YESTERDAY, missing_at=YESTERDAY)
        notify()
        body = told(to=ADDRESS)[0].body
        assert "The file of 1 backup is missing or damaged." in body
        assert "There is nothing to do." not in body

    @pytest.mark.parametrize("paused", [True, False])
    def test_no_attempt_is_announced_for_the_past(self, acme, paused):
        if paused:
            automation.pause("ada")
        configure(acme, next_run_at=NOW - 6 * HOUR)
        notify()
        assert "The next attempt is at" not in "".join(message.body for message in told())

    def test_a_pause_is_said_instead_of_the_next_attempt(self, acme):
        automation.pause("ada")
        configure(acme, next_run_at=NOW + HOUR)
        notify()
        for message in told():
            assert "\nAutomation is paused, so no automatic backup is made.\n" in message.body
            assert "next attempt" not in message.body

    def test_no_next_attempt_while_automatic_backup_is_off(self, acme):
        configure(acme, automatic=False, next_run_at=NOW + HOUR)
        fail(acme, NOW - HOUR)
        notify()
        assert [message for message in told() if "next attempt" in message.body] == []

    @pytest.mark.parametrize("error", ["{database} is away.", "{elsewhere} is full."])
    def test_the_tenant_never_reads_a_path_of_the_server(self, acme, error):
        error = error.format(database=acme.database, elsewhere="/mnt/host7/spool")
        configure(acme)
        fail(acme, NOW - HOUR, error)
        notify()
        assert error in told(to=OPERATOR)[0].body
        [message] = told(to=ADDRESS)
        assert "/" not in message.body + message.subject

    @pytest.mark.parametrize("between", ["\n", "\r\n", "\r", "\x0b", "\u2028", "\n\n Bcc: x\n"])
    def test_a_line_break_in_a_name_makes_no_header(self, add_tenant, between):
        name = f"Acme{between}Ltd"
        self.use(self.tenant(add_tenant, name=name))
        configure(Tenants.tenants[0])
        assert len(notify()) == 2
        [message] = told(to=ADDRESS)
        assert message.subject.startswith("Backups of Acme ")
        assert message.subject.endswith("Ltd: overdue")
        assert not set(message.subject) & set("\r\n")
        assert message.message()["Bcc"] is None
        assert message.recipients() == [ADDRESS]

    def test_what_many_have_in_common_is_counted_in_the_subject(self, add_tenant):
        tenants = [add_tenant(name, database=False) for name in "abcdef"]
        for tenant in tenants:
            noted = Verdict.FAILED if tenant.id == "f" else Verdict.WELL
            configure(tenant, notify_email="", noted=noted)
            if tenant.id in "ac":
                add(tenant, NOW - 2 * HOUR)
                fail(tenant, NOW - HOUR)
        add(tenants[5], NOW - HOUR)
        add(tenants[4], NOW - HOUR)
        assert notify() == [
            (OPERATOR, "[Django] Backups: 2 tenants failed, 2 tenants overdue, 1 tenant recovered")
        ]
        headings = [part.splitlines()[0] for part in told()[0].body.split("\n\n")]
        assert headings == [
            "a (A): failed",
            "b (B): overdue",
            "c (C): failed",
            "d (D): overdue",
            "f (F): recovered",
            "For the state of all tenants: python manage.py checkbackups",
        ]

    def test_each_tenant_reads_of_itself_alone(self, add_tenant):
        for name in ("acme", "globex"):
            tenant = add_tenant(name, database=False)
            configure(tenant, notify_email=f"{name}@example.com")
            fail(tenant, NOW - HOUR, f"The trouble of {name}.")
        notify()
        for name, other in (("acme", "globex"), ("globex", "acme")):
            [message] = told(to=f"{name}@example.com")
            assert name in message.body
            assert other not in (message.body + message.subject).lower()
            assert message.recipients() == [f"{name}@example.com"]


class TestTemplates:
    """A host may override the templates of the mails."""

    @pytest.fixture
    def override(self, tmp_path, settings):
        def write(name, text):
            path = tmp_path / "templates" / "tenant_backup" / "mail" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            [engine] = settings.TEMPLATES
            settings.TEMPLATES = [{**engine, "DIRS": [tmp_path / "templates"]}]

        return write

    def test_of_the_operators_mail(self, acme, override):
        override("operators_subject.txt", "{{ counts|join:' and ' }}\n")
        override(
            "operators.txt",
            "{% for item in news %}{{ item.tenant_id }}|{{ item.name }}|{{ item.headline }}|"
            "{{ item.last_good }}|{{ item.next_attempt }}|{{ item.has_recovered }}|"
            "{{ item.last_notified_at }}|{% for finding in item.findings %}"
            "{{ finding.verdict.code }}:{{ finding.text }}:{{ finding.reason }};{% endfor %}"
            "{% endfor %}|{{ automation.headline }}|{{ automation.text }}|"
            "{{ returned }}|{{ absent }}",
        )
        configure(acme, next_run_at=NOW + DAY)
        add(acme, NOW - 2 * HOUR)
        fail(acme, NOW - HOUR)
        monitoring.notify(NOW, ask_automation=lambda *_: Stalled.STALLED)
        [message] = told(to=OPERATOR)
        assert message.subject == "[Django] automation is stalled and 1 tenant failed"
        assert message.body == (
            "acme|Acme|failed|The last good backup is from May 4, 2026, 10 a.m. (UTC).|"
            "The next attempt is at May 5, 2026, noon (UTC).|False|None|"
            "failed:The last attempt, at May 4, 2026, 11 a.m. (UTC), failed.:The database is "
            "locked.;|automation is stalled|It is stalled.||[]"
        )

    def test_of_the_tenants_mail(self, acme, override, settings):
        override("tenant_subject.txt", "{{ item.name }}:\n{{ item.headline }}")
        override(
            "tenant.txt",
            "{{ link }}|{{ contact }}|{% for finding in item.findings %}{{ finding }}{% endfor %}",
        )
        operator = {"NAME": "Anna", "SITE_URL": "https://example.com"}
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "OPERATOR": operator}
        configure(acme, automatic=False)
        fail(acme, NOW - HOUR, f"{acme.database} is away.")
        notify()
        [message] = told(to=ADDRESS)
        assert message.subject == "Acme: failed"
        # What the template cannot know it cannot give away.
        assert message.body.endswith("failed. db.sqlite3 is away.")
        assert message.body.startswith("https://example.com/settings/admin/backup| (Anna)|The last")

    def test_nothing_is_escaped(self, acme):
        Tenants.tenants[:] = [replace(acme, name="Käse & <Söhne>")]
        configure(acme, notify_email=ADDRESS)
        fail(acme, NOW - HOUR, 'It\'s <gone> & "away".')
        notify()
        for message in told():
            assert 'It\'s <gone> & "away".' in message.body
        assert told(to=ADDRESS)[0].subject == "Backups of Käse & <Söhne>: overdue"


class TestSignals:
    @pytest.fixture
    def sent(self):
        """What a host's receivers got, in order."""
        sent = []
        named = {
            "overdue": signals.tenant_overdue,
            "missing": signals.backups_missing,
            "recovered": signals.tenant_recovered,
        }
        receivers = {
            name: lambda sender, tenant, name=name, **arguments: sent.append(
                (name, sender, tenant.id, arguments.get("finding") or arguments["verdict"])
            )
            for name in named
        }
        for name, signal in named.items():
            signal.connect(receivers[name])
        yield sent
        for name, signal in named.items():
            signal.disconnect(receivers[name])

    def test_each_once_when_it_is_noted(self, acme, sent, settings):
        # Whether anybody gets a mail is another matter.
        settings.ADMINS = []
        configure(acme, notify_email="")
        for minutes in range(3):
            notify(NOW + minutes * MINUTE)
        [(name, sender, tenant_id, finding)] = sent
        assert (name, sender, tenant_id, finding.verdict) == (
            "overdue",
            Backup,
            "acme",
            Verdict.OVERDUE,
        )
        assert str(finding).startswith("A backup was due at")
        add(acme, NOW + HOUR)
        for minutes in range(3):
            notify(NOW + HOUR + minutes * MINUTE)
        assert sent[1:] == [("recovered", Backup, "acme", Verdict.OVERDUE)]

    def test_missing_ones_each_time_there_are_more(self, acme, sent):
        configure(acme, automatic=False)
        add(acme, NOW - HOUR)
        for number in range(1, 4):
            lost = add(acme, NOW - DAY, missing_at=NOW - DAY)
            for minutes in range(2):
                notify(NOW + minutes * MINUTE)
            assert [each[0] for each in sent] == ["missing"] * number
        assert str(sent[-1][3]) == "The files of 3 backups are missing or damaged."
        lost.delete()
        notify(NOW + HOUR)
        add(acme, NOW - DAY, damaged_at=NOW - DAY)
        notify(NOW + HOUR)
        assert len(sent) == 4

    def test_a_receiver_that_raises_is_logged_and_breaks_nothing(self, acme, caplog):
        def fail_to_receive(**arguments):
            raise LookupError("the host's own trouble")

        signals.tenant_overdue.connect(fail_to_receive)
        configure(acme)
        try:
            assert [subject for _address, subject in notify()][-2:] == [
                "[Django] Backups: 1 tenant overdue",
                "Backups of Acme: overdue",
            ]
        finally:
            signals.tenant_overdue.disconnect(fail_to_receive)
        assert "the host's own trouble" in caplog.text


class TestNoRoom:
    """A full disk is told once, and not again while it comes and goes."""

    def fill(self, tenant, *, is_full):
        fields = {"no_room_since": NOW, "needed_bytes": 99, "free_bytes": 9}
        TenantState.objects.filter(tenant_id=tenant.id).update(
            room_checked_at=NOW + 9 * DAY, **(fields if is_full else dict.fromkeys(fields))
        )

    def test_is_told_once_and_every_week(self, acme, monkeypatch):
        monkeypatch.setattr(disk_space, "note_some", lambda *arguments: None)
        configure(acme, automatic=False)
        add(acme, NOW - HOUR)
        for hours, is_full, is_told in [
            (0, True, True),
            (1, True, False),
            (2, False, False),
            (3, True, False),
            (12, True, True),
            (12 + 7 * 24, True, True),
        ]:
            self.fill(acme, is_full=is_full)
            assert [subject for _address, subject in notify(NOW + hours * HOUR)] == [
                "[Django] Backups: 1 tenant without room for a backup",
                "Backups of Acme: no room on the disk",
            ] * is_told, hours

    def test_many_tenants_on_one_disk_are_told_in_few_mails(self, tmp_path, monkeypatch):
        """Each tick looks at the disks of a few only, so it takes a while to find them all."""
        monkeypatch.setattr(Tenants, "tenants", many(tmp_path, 100))
        monkeypatch.setattr(disk_space, "MOST_AT_ONCE", 2)
        monkeypatch.setattr(backups, "database_bytes", lambda tenant: 4096)
        monkeypatch.setattr(BackupDirectory, "free_bytes", lambda self: 0)
        for minutes in range(0, 180, 2):
            monitoring.notify(NOW + minutes * MINUTE)
        assert TenantState.objects.filter(notified=Verdict.NO_ROOM).count() == 100
        assert len(told()) == 3

    def test_it_does_not_keep_what_else_is_wrong_waiting(self, add_tenant, monkeypatch):
        monkeypatch.setattr(disk_space, "note_some", lambda *arguments: None)
        first, second, third = (add_tenant(name, database=False) for name in "abc")
        for tenant in (first, second, third):
            configure(tenant, automatic=False, notify_email="")
            add(tenant, NOW - HOUR)
        self.fill(first, is_full=True)
        assert len(notify()) == 1
        self.fill(second, is_full=True)
        assert notify(NOW + 11 * MINUTE) == []
        fail(third, NOW)
        assert notify(NOW + 12 * MINUTE) == [
            (OPERATOR, "[Django] Backups: 1 tenant without room for a backup, 1 tenant failed")
        ]

    def test_a_failure_after_it_does_not_wait(self, acme):
        configure(acme, automatic=False)
        add(acme, NOW - HOUR)
        self.fill(acme, is_full=True)
        assert len(notify()) == 2
        fail(acme, NOW + HOUR)
        assert notify(NOW + HOUR)[1] == (ADDRESS, "Backups of Acme: failed")


class TestNoFlood:
    @pytest.mark.parametrize(("period", "minutes_to_success"), [(60, 15), (120, 60)])
    def test_of_a_backup_that_fails_every_other_time(self, acme, period, minutes_to_success):
        """One alarm and one recovery in twelve hours, to each address: that is the bound."""
        row = configure(acme, interval="hourly", scheduled_since=NOW)
        first = next_slot(row.rule, acme.id, acme.zone, NOW)
        for minute in range(0, 3 * 24 * 60, 15):
            now = first + minute * MINUTE
            if minute % period == 0:
                fail(acme, now)
            elif minute % period == minutes_to_success:
                add(acme, now)
            notify(now)
        for address in (OPERATOR, ADDRESS):
            words = [subject.split()[-1] for subject in subjects(to=address)]
            assert words == ["failed", "recovered"] * 6

    @pytest.mark.parametrize("hours", [2, 11.9])
    def test_a_new_alarm_waits_for_hours_after_the_last_one(self, acme, hours):
        configure(acme, automatic=False)
        fail(acme, NOW)
        notify()
        add(acme, NOW + HOUR)
        notify(NOW + HOUR)
        fail(acme, NOW + timedelta(hours=hours))
        assert notify(NOW + timedelta(hours=hours)) == []
        # And is not forgotten.
        assert notify(NOW + 12 * HOUR) == [
            (OPERATOR, "[Django] Backups: 1 tenant failed"),
            (ADDRESS, "Backups of Acme: failed"),
        ]

    def test_what_became_worse_does_not_wait(self, acme):
        configure(acme, interval="hourly")
        add(acme, NOW)
        fail(acme, NOW + HOUR)
        assert notify(NOW + HOUR)[0] == (OPERATOR, "[Django] Backups: 1 tenant failed")
        assert notify(NOW + 2.5 * HOUR)[0] == (OPERATOR, "[Django] Backups: 1 tenant overdue")

    def test_missing_files_do_not_wait(self, acme):
        configure(acme, automatic=False, failed_at=NOW - HOUR)
        add(acme, YESTERDAY, missing_at=YESTERDAY)
        assert len(notify()) == 2

    @pytest.mark.parametrize(("minutes", "number"), [(1, 0), (9.9, 0), (10, 1)])
    def test_what_comes_within_ten_minutes_comes_together(self, add_tenant, minutes, number):
        first, *others = (add_tenant(name, database=False) for name in "abc")
        for tenant in (first, *others):
            configure(tenant, notify_email="", automatic=False)
        fail(first, NOW)
        assert len(notify()) == 1
        for tenant in others:
            fail(tenant, NOW)
        later = notify(NOW + timedelta(minutes=minutes))
        assert later == [(OPERATOR, "[Django] Backups: 2 tenants failed")] * number

    def test_of_a_thousand_tenants_that_fail_within_ten_minutes(self, tmp_path, monkeypatch):
        tenants = many(tmp_path, 1000)
        monkeypatch.setattr(Tenants, "tenants", tenants)
        for minute in range(30):
            now = NOW + minute * MINUTE
            if minute < 10:
                Backup.objects.bulk_create(
                    Backup(
                        tenant_id=tenant.id,
                        status="failed",
                        trigger="automatic",
                        created_at=now,
                        error=LOCKED,
                    )
                    for tenant in tenants[minute * 100 : (minute + 1) * 100]
                )
            monitoring.notify(now)
        assert subjects(to=OPERATOR) == [
            "[Django] Backups: 100 tenants failed",
            "[Django] Backups: 900 tenants failed",
        ]
        assert Post.asked == [OPERATOR] * 2
        assert TenantState.objects.filter(noted=Verdict.FAILED).count() == 1000


class TestNobodyFailsForAMail:
    def test_a_server_that_takes_none_and_later_does(self, acme, caplog):
        configure(acme)
        Post.refused = {OPERATOR, ADDRESS}
        assert notify() == []
        assert Post.asked == [OPERATOR, ADDRESS]
        assert caplog.messages[1:] == [
            "The notice to ADMINS could not be sent.",
            f"The notice to {ADDRESS} for tenant 'acme' could not be sent.",
        ]
        state = TenantState.objects.get()
        assert (state.noted, state.notified) == (Verdict.OVERDUE, Verdict.WELL)
        assert notify(NOW + 9 * MINUTE) == []
        assert len(Post.asked) == 2
        Post.refused = set()
        assert len(notify(NOW + 10 * MINUTE)) == 2
        assert noted_of(acme) == Verdict.OVERDUE
        assert notify(NOW + HOUR) == []

    @pytest.mark.parametrize(("refused", "reached"), [(OPERATOR, ADDRESS), (ADDRESS, OPERATOR)])
    def test_one_address_that_is_refused_neither_silences_nor_repeats_the_other(
        self, acme, refused, reached
    ):
        configure(acme)
        Post.refused = {refused}
        for minutes in range(0, 60, 5):
            notify(NOW + minutes * MINUTE)
        assert [message.to for message in told()] == [[reached]]
        assert noted_of(acme) == Verdict.OVERDUE
        # Whom no mail could reach hears of it when one can, and nobody else hears it again.
        Post.refused = set()
        for minutes in range(60, 120, 5):
            notify(NOW + minutes * MINUTE)
        assert [message.to for message in told()] == [[reached], [refused]]

    def test_what_is_over_by_then_is_not_told_any_more(self, acme):
        configure(acme)
        Post.refused = {OPERATOR}
        notify()
        add(acme, NOW + MINUTE)
        Post.refused = set()
        later = notify(NOW + HOUR)
        assert {subject for _, subject in later} == {
            "[Django] Backups: 1 tenant recovered",
            "Backups of Acme: recovered",
        }
        assert notify(NOW + 2 * HOUR) == []

    def test_one_address_that_is_refused_keeps_no_other_tenant_from_its_mail(self, add_tenant):
        for name in "abc":
            configure(add_tenant(name, database=False), notify_email=f"{name}@example.com")
        Post.refused = {"a@example.com", OPERATOR}
        assert [address for address, _ in notify()] == ["b@example.com", "c@example.com"]
        told_of = [TenantState.objects.of(name).notified for name in "abc"]
        assert told_of == [Verdict.WELL, Verdict.OVERDUE, Verdict.OVERDUE]
        Post.refused = set()
        later = notify(NOW + 10 * MINUTE)
        assert [address for address, _ in later] == [OPERATOR, "a@example.com"]
        for name in ("a (A)", "b (B)", "c (C)"):
            assert f"{name}: overdue" in told(to=OPERATOR)[0].body
        assert notify(NOW + 20 * MINUTE) == []

    def test_without_operators_a_tenants_mail_that_is_refused_is_sent_later(self, acme, settings):
        settings.ADMINS = []
        configure(acme)
        Post.refused = {ADDRESS}
        assert notify() == []
        assert Post.asked == [ADDRESS]
        Post.refused = set()
        assert notify(NOW + 10 * MINUTE) == [(ADDRESS, "Backups of Acme: overdue")]

    def test_settings_of_mail_that_make_no_sense(self, acme, settings, caplog):
        settings.ADMINS = [42]
        configure(acme)
        assert notify() == [(ADDRESS, "Backups of Acme: overdue")]
        assert "The notice to ADMINS could not be sent." in caplog.messages

    def test_a_provider_that_fails(self, acme, monkeypatch, caplog):
        configure(acme)

        def give_up(self):
            raise LookupError("the host's own trouble")

        with monkeypatch.context() as patch:
            patch.setattr(Tenants, "all_tenants", give_up)
            assert notify() == [(OPERATOR, "[Django] Backups: the tenant provider fails")]
            [told_of] = mail.outbox
            assert "(LookupError: the host's own trouble)" in told_of.body
            assert notify(NOW + HOUR) == []
        assert caplog.messages == ["The tenant provider failed."] * 2
        assert "the host's own trouble" in caplog.text
        subjects = [subject for _, subject in notify(NOW + 2 * HOUR)]
        assert subjects[0] == "[Django] Backups: the tenant provider works again, 1 tenant overdue"
        assert notify(NOW + 3 * HOUR) == []

    @pytest.mark.parametrize("what", ["server", "provider", "judgement"])
    def test_the_tick_goes_on(self, acme, monkeypatch, what):
        automation.set_up()
        configure(acme, next_run_at=NOW - MINUTE)
        fail(acme, NOW - HOUR)
        if what == "server":
            Post.refused = {OPERATOR, ADDRESS}
        elif what == "provider":
            monkeypatch.setattr(Tenants, "get_tenant", lambda self, name: acme)
            monkeypatch.setattr(Tenants, "all_tenants", lambda self: 1 // 0)
        else:
            monkeypatch.setattr(notices, "judge_all", lambda *arguments, **options: 1 // 0)
        automation.tick(NOW)
        assert Backup.objects.queued().get().enqueued_at is not None
        assert automation.get_status(NOW).state is automation.AutomationState.RUNNING
        # Only the operator is told, that the provider fails.
        assert [message.to for message in mail.outbox] == [[OPERATOR]] * (what == "provider")

    @pytest.mark.parametrize("what", ["server", "provider"])
    def test_nor_does_a_backup_fail(self, tenant, monkeypatch, what, capsys):
        configure(tenant)
        fail(tenant, timezone.now() - HOUR)
        Post.refused = {OPERATOR, ADDRESS}
        if what == "provider":
            monkeypatch.setattr(notices, "list_tenants", lambda: 1 // 0)
        call_command("runbackup")
        assert Backup.objects.complete().count() == 1
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("trouble", ["loop", "name"])
    def test_one_tenant_that_cannot_be_told_of_repeats_nobodys_mail(self, add_tenant, trouble):
        for name in ("acme", "globex"):
            configure(add_tenant(name, database=False), notify_email=f"{name}@example.com")
        if trouble == "loop":
            root = Tenants.tenants[0].root
            root.rmdir()
            root.symlink_to(root)
        else:
            Tenants.tenants[0] = replace(Tenants.tenants[0], name=None)
        for number in range(6):
            notify(NOW + number * 10 * MINUTE)
        assert len(told(to=OPERATOR)) == 1
        assert len(told(to="globex@example.com")) == 1

    def test_a_process_that_ends_while_it_mails_repeats_nothing(self, add_tenant):
        """A mail server that keeps us waiting makes a worker's task end by its timeout."""
        for name in ("acme", "globex"):
            configure(add_tenant(name, database=False), notify_email=f"{name}@example.com")

        def end(address):
            if address == "globex@example.com":
                raise SystemExit

        Post.before = end
        for number in range(6):
            with suppress(SystemExit):
                notify(NOW + number * 10 * MINUTE)
        assert len(told(to=OPERATOR)) == 1
        assert len(told(to="acme@example.com")) == 1

    def test_the_log_has_it_though_no_mail_can_be_sent(self, acme, caplog):
        configure(acme, notify_email="")
        Post.refused = {OPERATOR}
        notify()
        notify(NOW + HOUR)
        records = [record for record in caplog.records if hasattr(record, "action")]
        assert [(record.action, record.tenant_id) for record in records] == [("overdue", "acme")]
        assert actions() == ["overdue"]


class TestSeveralProcesses:
    def test_that_see_the_same_news_tell_it_once(self, acme, monkeypatch):
        """The second one judges before the first has told, and would tell afterwards."""
        configure(acme)
        look = notices.judge_all
        calls = []

        def look_while_another_tells(*arguments, **options):
            seen = look(*arguments, **options)
            calls.append(len(told()))
            if len(calls) == 1:
                monitoring.notify(NOW)
                assert len(told()) == 2
            return seen

        monkeypatch.setattr(notices, "judge_all", look_while_another_tells)
        monitoring.notify(NOW)
        assert calls == [0, 0]
        assert len(told()) == 2
        assert actions() == ["overdue"]

    def test_that_send_later_what_could_not_be_sent_send_it_once(self, acme, monkeypatch):
        configure(acme)
        Post.refused = {OPERATOR, ADDRESS}
        assert notify() == []
        Post.refused = set()
        look = notices.judge_all
        calls = []

        def look_while_another_tells(*arguments, **options):
            seen = look(*arguments, **options)
            calls.append(1)
            if len(calls) == 1:
                monitoring.notify(NOW + HOUR)
                assert len(told()) == 2
            return seen

        monkeypatch.setattr(notices, "judge_all", look_while_another_tells)
        monitoring.notify(NOW + HOUR)
        assert len(calls) == 2
        assert len(told()) == 2

    @pytest.mark.parametrize(
        "later",
        [
            timedelta(0),
            timedelta(seconds=1),
            timedelta(minutes=9),
            -timedelta(seconds=20),
        ],
        ids=str,
    )
    def test_one_comes_while_another_is_mailing(self, acme, later):
        """Not all have looked at the clock at the same time, nor at the same clock."""
        configure(acme)

        def come(address):
            Post.before = None
            monitoring.notify(NOW + later)

        Post.before = come
        monitoring.notify(NOW)
        assert sorted(message.to[0] for message in told()) == [ADDRESS, OPERATOR]
        assert actions() == ["overdue"]

    def test_what_another_has_noted_meanwhile_stands(self, acme, monkeypatch):
        configure(acme, automatic=False, noted=Verdict.OVERDUE)
        fail(acme, NOW - HOUR)
        look = notices.judge_all

        def look_while_another_notes(*arguments, **options):
            seen = look(*arguments, **options)
            TenantState.objects.update(noted=Verdict.MISSING)
            return seen

        monkeypatch.setattr(notices, "judge_all", look_while_another_notes)
        monitoring.notify(NOW)
        assert noted_of(acme) is Verdict.MISSING


class TestEndToEnd:
    """A real backup, every hour, of a database that is away for some hours and then back."""

    def run(self, clock, hours):
        for _ in range(round(hours * 12)):
            clock.now += 5 * MINUTE
            automation.tick(clock.now)
            for backup in Backup.objects.queued():
                with suppress(BackupError):
                    automation.make(backup.pk)

    def test_a_database_that_is_away_and_back(self, tenant, clock):
        automation.set_up()
        configure(tenant, interval="hourly", scheduled_since=NOW)
        away = Path(f"{tenant.database}-away")
        self.run(clock, 3.5)
        assert Backup.objects.complete().count() == 3
        assert told() == []
        tenant.database.rename(away)
        left_at = clock.now
        self.run(clock, 1)
        assert subjects(to=ADDRESS) == ["Backups of Acme: failed"]
        assert "does not exist" in told(to=ADDRESS)[0].body
        self.run(clock, 5)
        assert Backup.objects.failed().count() > 6
        assert [s.split()[-1] for s in subjects(to=ADDRESS)] == ["failed", "overdue"]
        away.rename(tenant.database)
        self.run(clock, 1.5)
        words = ["failed", "overdue", "recovered"]
        for address in (OPERATOR, ADDRESS):
            assert [subject.split()[-1] for subject in subjects(to=address)] == words
        assert Backup.objects.complete().newest_first()[0].created_at > left_at
        assert judge(tenant, clock.now).findings == ()
        assert [action for action in actions() if action in ("overdue", "recovered")] == words[1:]
        assert Event.objects.filter(kind="failed").count() == Backup.objects.failed().count()
