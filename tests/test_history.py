"""What of the history is old, and what is not although it is."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from tenant_backup import automation
from tenant_backup.automation.work import LONGEST_RETRY
from tenant_backup.backups import history_expiry
from tenant_backup.models import Backup, BackupSettings, Event, EventKind, Status, Trigger

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def ago(days):
    return NOW - timedelta(days=days)


def add(days, status=Status.FAILED, tenant="acme", **fields):
    fields = {"slot_at": ago(days), "trigger": Trigger.AUTOMATIC} | fields
    if status == Status.COMPLETE:
        fields["file_name"] = f"{days}.sqlite3"
    return Backup.objects.create(tenant_id=tenant, status=status, created_at=ago(days), **fields).pk


def left():
    return set(Backup.objects.values_list("pk", flat=True))


class TestEvents:
    def test_what_is_older_than_the_setting_goes(self, settings):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "HISTORY_DAYS": 30}
        for days in (31, 29):
            Event.objects.create(tenant_id="acme", kind=EventKind.PINNED, created_at=ago(days))
        assert history_expiry.forget(NOW) == 1
        assert [event.created_at for event in Event.objects.all()] == [ago(29)]

    def test_two_years_are_kept_unless_somebody_says_otherwise(self):
        for days in (729, 731):
            Event.objects.create(tenant_id="", kind=EventKind.PAUSED, created_at=ago(days))
        history_expiry.forget(NOW)
        assert [event.created_at for event in Event.objects.all()] == [ago(729)]

    def test_a_batch_at_a_time_the_oldest_first(self, monkeypatch):
        monkeypatch.setattr(history_expiry, "BATCH", 2)
        for days in (1000, 1002, 1001):
            Event.objects.create(tenant_id="acme", kind=EventKind.PINNED, created_at=ago(days))
        assert history_expiry.forget(NOW) == 2
        assert [event.created_at for event in Event.objects.all()] == [ago(1000)]
        assert history_expiry.forget(NOW) == 1
        assert history_expiry.forget(NOW) == 0


class TestFailures:
    def test_what_a_good_backup_has_followed_goes_after_90_days(self):
        old, late = add(91), add(89)
        good = add(88, Status.COMPLETE)
        assert history_expiry.forget(NOW) == 1
        assert old not in left()
        assert left() == {late, good}

    def test_good_backups_stay_however_old(self):
        kept = {add(1000, Status.COMPLETE), add(500, Status.COMPLETE)}
        history_expiry.forget(NOW)
        assert left() == kept

    def test_the_failure_that_monitoring_shows_stays(self):
        add(400, Status.COMPLETE)
        newest = add(300)
        history_expiry.forget(NOW)
        BackupSettings.objects.create(tenant_id="acme")
        [row] = BackupSettings.objects.with_latest(NOW, found_by=NOW)
        assert row.last_failed_at == Backup.objects.get(pk=newest).created_at

    def test_a_backup_that_is_good_no_more_has_not_made_up_for_a_failure(self):
        failed = add(300)
        add(299, Status.COMPLETE, damaged_at=ago(298))
        history_expiry.forget(NOW)
        assert failed in left()

    def test_nor_has_another_tenants_or_one_dated_in_the_future(self):
        failed = add(300)
        add(299, Status.COMPLETE, tenant="globex")
        add(-9, Status.COMPLETE)
        history_expiry.forget(NOW)
        assert failed in left()

    def test_nor_one_that_is_older_by_its_number_or_by_its_time(self):
        """A clock was wrong for a while, and nobody knows when."""
        add(299, Status.COMPLETE)
        by_number = add(300, slot_at=None)
        add(301, Status.COMPLETE)
        history_expiry.forget(NOW)
        assert by_number in left()

    def test_of_failed_clicks_the_newest_stays(self):
        for days in (300, 299, 298):
            newest = add(days, trigger=Trigger.MANUAL, slot_at=None)
        assert history_expiry.forget(NOW) == 2
        assert left() == {newest}

    def test_the_delay_until_the_next_attempt_is_what_it_was(self, tenant):
        add(200, Status.COMPLETE)
        for hours in range(20):
            add(150 - hours)
        far = timezone.now() + timedelta(days=9)
        row = BackupSettings.objects.create(tenant_id="acme", automatic=True, next_run_at=far)
        assert history_expiry.forget(NOW) == 20 - history_expiry.RETRIES
        backup = Backup.objects.get(pk=add(0))
        automation.retry_after_failure(tenant=tenant, backup=backup)
        row.refresh_from_db()
        delay = row.next_run_at - timezone.now()
        assert LONGEST_RETRY - timedelta(minutes=1) < delay <= LONGEST_RETRY

    def test_what_is_queued_or_running_stays(self):
        active = {add(500, Status.QUEUED), add(500, Status.RUNNING, tenant="globex")}
        add(1, Status.COMPLETE)
        history_expiry.forget(NOW)
        assert active <= left()
