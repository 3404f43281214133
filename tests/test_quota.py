"""How much clicks may take up: limits, what of the disk stays free, what is replaced."""

import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from tenant_backup import automation, backups
from tenant_backup.backups import creation, index, quota
from tenant_backup.exceptions import BackupError, LimitReached
from tenant_backup.files import SPACE_MARGIN, BackupDirectory
from tenant_backup.models import Backup, Event, EventKind, Status, Trigger
from tests.conftest import names_in, small_disk, tenant_in

pytestmark = pytest.mark.django_db(transaction=True)

MANUAL = backups.BackupRequest(trigger=Trigger.MANUAL, requested_by="ada")
COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)
MB, GB = 1024**2, 1024**3


@pytest.fixture
def limit(settings):
    """Set one of the limits."""

    def limit(**limits):
        settings.TENANT_BACKUP = settings.TENANT_BACKUP | limits

    return limit


@pytest.fixture
def disk(monkeypatch):
    """Let the disk be of this size, with so many bytes free."""

    def disk(*, size, free):
        monkeypatch.setattr(BackupDirectory, "disk_bytes", lambda self: size)
        monkeypatch.setattr(BackupDirectory, "free_bytes", lambda self: free)

    return disk


def click(tenant, **changes):
    return backups.create(tenant, replace(MANUAL, **changes))


def refused(tenant, **changes):
    with pytest.raises(LimitReached) as refusal:
        click(tenant, **changes)
    return str(refusal.value)


def refusals():
    return Event.objects.filter(kind=EventKind.REFUSED)


class TestTheDisk:
    @pytest.mark.parametrize(
        ("size", "reserved"), [(GB, GB // 20), (100 * GB, 5 * GB), (5000 * GB, 5 * GB)]
    )
    def test_clicks_leave_a_twentieth_of_it_and_at_most_5_gib(self, tenant, disk, size, reserved):
        needed = backups.database_bytes(tenant)
        free = needed + SPACE_MARGIN + reserved
        disk(size=size, free=free)
        click(tenant)
        disk(size=size, free=free - 1)
        assert "There is not enough room on the disk" in refused(tenant)
        # What nobody clicked for goes on as long as there is room at all.
        backups.create(tenant, COMMAND)
        disk(size=size, free=needed + SPACE_MARGIN)
        backups.create(tenant, COMMAND)

    def test_the_refusal_has_the_numbers_and_leaves_a_line_and_no_row(self, tenant, disk):
        disk(size=100 * GB, free=4 * GB)
        text = refused(tenant)
        assert "needs 44.0 KB" in text
        assert "4.0 GB are free" in text
        assert "must leave 5.0 GB free" in text
        assert not Backup.objects.exists()
        line = refusals().get()
        assert (line.tenant_id, line.actor, line.said) == ("acme", "ada", text)

    def test_many_clicks_leave_few_lines(self, tenant, disk):
        disk(size=100 * GB, free=0)
        for _ in range(5):
            refused(tenant)
        assert refusals().count() == 1
        refused(tenant, requested_by="bob")
        assert refusals().count() == 2
        refusals().update(created_at=timezone.now() - timedelta(minutes=2))
        refused(tenant)
        assert refusals().count() == 3
        # By a clock that was ahead.
        refusals().update(created_at=timezone.now() + timedelta(days=1))
        refused(tenant)
        assert refusals().count() == 4

    def test_a_refusal_is_no_alarm(self, tenant, disk, caplog):
        disk(size=100 * GB, free=0)
        with caplog.at_level(logging.INFO, logger="tenant_backup"):
            refused(tenant)
        [record] = [record for record in caplog.records if record.action == "refused"]
        assert record.levelno == logging.INFO

    def test_fifteen_clicks_on_a_small_disk_leave_room_for_the_neighbour(self, tmp_path):
        with small_disk("64m") as folder:
            tenant = tenant_in(folder / "acme", rows=2000, body=1000)
            neighbour = replace(tenant_in(folder / "globex"), id="globex", name="Globex")
            made = 0
            for _ in range(15):
                try:
                    click(tenant)
                except LimitReached:
                    continue
                made += 1
            assert 0 < made < 15
            assert Backup.objects.count() == made
            assert not Backup.objects.failed().exists()
            assert refusals().count() == 1
            backups.create(neighbour, COMMAND)

    def test_a_disk_that_cannot_be_asked_is_the_backups_affair(self, tenant, monkeypatch):
        def fail(self):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(BackupDirectory, "disk_bytes", fail)
        click(tenant)

    def test_a_missing_database_is_no_question_of_room(self, add_tenant, disk):
        disk(size=100 * GB, free=0)
        with pytest.raises(BackupError, match="does not exist"):
            click(add_tenant(database=False))
        assert Backup.objects.get().status == Status.FAILED


class TestTheirNumber:
    def test_at_the_limit_the_refusal_says_how_to_make_room(self, tenant, limit):
        limit(MAX_MANUAL=2)
        for _ in range(2):
            click(tenant)
        assert refused(tenant) == (
            "The limit for backups made by hand is reached: 2 of 2. Delete one that nobody "
            "needs, or choose that the new one replaces the oldest."
        )
        assert Backup.objects.count() == 2
        assert refusals().count() == 1
        backups.create(tenant, COMMAND)

    def test_the_oldest_is_replaced_when_the_new_one_is_complete(self, tenant, limit, monkeypatch):
        limit(MAX_MANUAL=2)
        oldest, other = (click(tenant).backup for _ in range(2))
        assert backups.quota_of(tenant).oldest == oldest
        copied_while = []
        copy_into = creation.copy_into

        def spy(*args, **kwargs):
            copied_while.append(Backup.objects.good().count())
            return copy_into(*args, **kwargs)

        monkeypatch.setattr(creation, "copy_into", spy)
        made = click(tenant, replaces=oldest.pk)
        assert made.replaced == oldest
        assert copied_while == [2]
        assert set(Backup.objects.all()) == {other, made.backup}
        line = Event.objects.get(kind=EventKind.DELETED)
        assert (line.backup_id, line.actor) == (oldest.pk, "ada")
        assert line.said == f"It was replaced by backup {made.backup.pk}."
        assert oldest.file_name not in names_in(backups.directory_of(tenant).path)

    def test_nothing_is_replaced_where_the_new_one_fails(self, tenant, limit):
        limit(MAX_MANUAL=1)
        oldest = click(tenant).backup
        tenant.database.write_bytes(b"no database" * 1000)
        with pytest.raises(BackupError):
            click(tenant, replaces=oldest.pk)
        assert Backup.objects.good().get() == oldest

    def test_nothing_is_replaced_without_need(self, tenant, limit):
        limit(MAX_MANUAL=2)
        oldest = click(tenant).backup
        assert click(tenant, replaces=oldest.pk).replaced is None
        assert Backup.objects.count() == 2

    @pytest.mark.parametrize(
        "protection",
        [
            {"pinned": True},
            {"hold_reason": "rows vanished"},
            {"trigger": Trigger.COMMAND},
            {"tenant_id": "globex"},
        ],
        ids=str,
    )
    def test_what_is_protected_is_not_replaced(self, tenant, limit, protection):
        limit(MAX_MANUAL=1)
        protected = click(tenant).backup
        Backup.objects.update(**protection)
        if not {"pinned", "hold_reason"} & set(protection):
            click(tenant)
        refused(tenant, replaces=protected.pk)
        assert Backup.objects.filter(pk=protected.pk).exists()

    def test_what_was_held_until_yesterday_is_replaced(self, tenant, limit):
        limit(MAX_MANUAL=1)
        oldest = click(tenant).backup
        yesterday = timezone.now() - timedelta(days=1)
        Backup.objects.update(hold_reason="rows vanished", held_until=yesterday)
        assert click(tenant, replaces=oldest.pk).replaced == oldest

    def test_where_all_are_pinned_that_is_said(self, tenant, limit):
        limit(MAX_MANUAL=1)
        click(tenant)
        Backup.objects.update(pinned=True)
        assert "all of them are pinned or held. Unpin and delete one" in refused(tenant)
        assert backups.quota_of(tenant).oldest is None

    def test_only_what_has_a_file_counts(self, tenant, limit):
        limit(MAX_MANUAL=1)
        Backup.objects.create(tenant_id="acme", trigger=Trigger.MANUAL, status=Status.FAILED)
        click(tenant)
        Backup.objects.update(missing_at=timezone.now())
        click(tenant)
        Backup.objects.filter(missing_at=None).update(damaged_at=timezone.now())
        refused(tenant)

    def test_what_is_over_a_limit_that_was_lowered_does_not_grow(self, tenant, limit):
        oldest, *_ = (click(tenant).backup for _ in range(3))
        limit(MAX_MANUAL=1)
        refused(tenant)
        click(tenant, replaces=oldest.pk)
        assert Backup.objects.count() == 3

    def test_a_warning_comes_before_the_limit(self, tenant, limit):
        limit(MAX_MANUAL=5)
        warned = []
        for _ in range(5):
            warned.append(backups.quota_of(tenant).is_nearly_used_up)
            click(tenant)
        assert warned == [False, False, False, False, True]


class TestTheirBytes:
    def test_what_nothing_removes_counts(self, tenant, limit):
        size = click(tenant).backup.size
        needed = backups.database_bytes(tenant)
        limit(MAX_BYTES=size + needed)
        click(tenant)
        text = refused(tenant)
        assert text.startswith("The backups of Acme may take up")
        assert Backup.objects.count() == 2

    def test_what_can_be_removed_by_itself_is_in_nobodys_way(self, tenant, limit):
        days = timezone.now() - timedelta(days=1)
        for number in range(6):
            made = backups.create(tenant, COMMAND).backup
            at = days - timedelta(days=number)
            Backup.objects.filter(pk=made.pk).update(created_at=at)
        size, needed = made.size, backups.database_bytes(tenant)
        # The new one and two others are the newest of three days, which stay.
        limit(MAX_BYTES=2 * size + needed - 1)
        refused(tenant)
        limit(MAX_BYTES=2 * size + needed)
        click(tenant)

    @pytest.mark.parametrize("number", [2, 6])
    def test_are_added_up_in_one_query(self, tenant, limit, django_assert_num_queries, number):
        for _ in range(number):
            backups.create(tenant, COMMAND)
        limit(MAX_BYTES=10**9)
        with django_assert_num_queries(1):
            assert quota._bytes_that_stay(tenant, quota.stored_backups(tenant), None) == 0

    def test_the_oldest_may_be_replaced_here_too(self, tenant, limit):
        oldest = click(tenant).backup
        limit(MAX_BYTES=backups.database_bytes(tenant))
        assert backups.quota_of(tenant).oldest == oldest
        assert click(tenant, replaces=oldest.pk).replaced == oldest


class TestWorkers:
    def test_the_click_is_judged_before_anything_is_queued(self, tenant, disk):
        disk(size=100 * GB, free=0)
        with pytest.raises(LimitReached):
            backups.request(tenant, MANUAL)
        assert not Backup.objects.exists()
        assert refusals().count() == 1

    def test_a_worker_that_finds_no_room_any_more_says_so(self, tenant, disk):
        queued = backups.request(tenant, MANUAL)
        disk(size=100 * GB, free=4 * GB)
        with pytest.raises(LimitReached):
            backups.perform(tenant, queued.pk)
        queued.refresh_from_db()
        assert queued.status == Status.FAILED
        assert "There is not enough room on the disk" in queued.reason
        assert not refusals().exists()

    def test_a_worker_replaces_what_the_click_chose(self, tenant, limit):
        limit(MAX_MANUAL=1)
        oldest = click(tenant).backup
        queued = backups.request(tenant, replace(MANUAL, replaces=oldest.pk))
        automation.make(queued.pk)
        assert Backup.objects.get() == queued
        assert Event.objects.get(kind=EventKind.DELETED).actor == "ada"

    def test_what_there_is_room_beside_by_then_is_not_replaced(self, tenant, limit):
        limit(MAX_MANUAL=2)
        oldest, other = (click(tenant).backup for _ in range(2))
        queued = backups.request(tenant, replace(MANUAL, replaces=oldest.pk))
        backups.delete(tenant, other)
        made = backups.perform(tenant, queued.pk)
        assert made
        assert made.replaced is None
        assert set(Backup.objects.all()) == {oldest, made.backup}

    def test_nothing_is_replaced_where_the_index_cannot_be_read(self, tenant, limit, monkeypatch):
        """It may say that somebody wants to keep it."""
        limit(MAX_MANUAL=1)
        oldest = click(tenant).backup
        queued = backups.request(tenant, replace(MANUAL, replaces=oldest.pk))

        def fail(directory, tenant_id):
            raise BackupError("The disk does not answer.")

        monkeypatch.setattr(index, "read", fail)
        made = backups.perform(tenant, queued.pk)
        assert made
        assert made.replaced is None
        assert "The disk does not answer." in made.prune_error
        assert Backup.objects.good().count() == 2

    def test_what_was_pinned_meanwhile_is_not_replaced(self, tenant, limit):
        limit(MAX_MANUAL=1)
        oldest = click(tenant).backup
        queued = backups.request(tenant, replace(MANUAL, replaces=oldest.pk))
        backups.pin(tenant, oldest, pinned=True)
        with pytest.raises(LimitReached):
            backups.perform(tenant, queued.pk)
        assert Backup.objects.good().get() == oldest

    @pytest.mark.parametrize("by", ["the schedule", "a command"])
    def test_what_others_want_too_is_made_all_the_same(self, tenant, disk, by):
        queued = backups.request(tenant, MANUAL)
        disk(size=100 * GB, free=4 * GB)
        if by == "the schedule":
            Backup.objects.update(slot_at=timezone.now())
            backups.perform(tenant, queued.pk)
        else:
            backups.create(tenant, COMMAND)
        assert Backup.objects.get().status == Status.COMPLETE


def test_a_tenant_alone_is_asked_about(tenant, add_tenant, limit):
    other = add_tenant("globex")
    limit(MAX_MANUAL=1)
    click(other)
    click(tenant)
    assert backups.quota_of(tenant).number == 1
    assert isinstance(backups.quota_of(tenant), quota.Quota)
