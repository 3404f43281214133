"""Holds: several reasons on one backup, each with its own end, and what gives way for room."""

from datetime import timedelta

import pytest
from django.db.transaction import atomic
from django.utils import timezone, translation

from tenant_backup import backups, lock, retention
from tenant_backup.backups import holds, quota
from tenant_backup.backups.deletion_steps import Deletion
from tenant_backup.backups.locking import index_kept, tenant_work
from tenant_backup.exceptions import BackupError, LimitReached, NotEnoughSpace, RowChanged
from tenant_backup.files import SPACE_MARGIN, BackupDirectory
from tenant_backup.models import Backup, BackupSettings, Event, EventKind, Hold, HoldKind
from tenant_backup.texts import Text
from tests.test_quota import click, limit
from tests.test_reconcile import COMMAND, assert_in_line, content, directory, made, set_back

__all__ = ["directory", "limit", "made"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)

ASKED = Text("Somebody asked for it.")
LOST = Text("%(rows)s rows were lost.", rows="3,600")


def later(days=30):
    return timezone.now() + timedelta(days=days)


def as_read(backup):
    return Backup.objects.get(pk=backup.pk)


def held_because(backup):
    return str(retention.reason_to_hold(as_read(backup)))


def reasons_of(tenant):
    """Why each backup is kept, by its key."""
    rows = Backup.objects.for_tenant(tenant.id).complete()
    policy = retention.Policy(keep_last=1)
    decisions = retention.decide(rows, policy, timezone.now(), tenant.zone)
    return {each.backup.pk: each.reasons if each.keep else () for each in decisions}


class TestSeveralReasons:
    def test_retention_keeps_it_with_that_as_its_reason(self, tenant, made):
        holds.hold(tenant, made[0], ASKED, kind=HoldKind.REQUEST, actor="ada")
        assert reasons_of(tenant)[made[0].pk] == ("It is held: Somebody asked for it.",)
        assert reasons_of(tenant)[made[1].pk] == ()
        held = Event.objects.get(kind=EventKind.HELD)
        assert (held.backup_id, held.actor, held.said) == (made[0].pk, "ada", str(ASKED))

    def test_none_ends_another(self, tenant, made):
        until = later()
        backup = made[0]
        holds.hold(tenant, backup, ASKED, until, kind=HoldKind.REQUEST)
        holds.hold(tenant, backup, LOST, kind=HoldKind.LOSS)
        row = as_read(backup)
        assert held_because(row) == "Somebody asked for it. 3,600 rows were lost."
        assert row.held_until is None
        assert holds.release(tenant, backup, kind=HoldKind.LOSS)
        row = as_read(backup)
        assert (held_because(row), row.held_until) == (str(ASKED), until)
        assert not holds.release(tenant, backup, kind=HoldKind.LOSS)
        assert holds.release(tenant, backup, kind=HoldKind.REQUEST, actor="bob")
        row = as_read(backup)
        assert (row.hold_reason, row.hold_reason_data, row.held_until) == ("", "", None)
        event = Event.objects.filter(kind=EventKind.RELEASED).last()
        assert (event.actor, event.said) == ("bob", str(ASKED))

    def test_two_of_one_kind_are_told_apart_by_their_keys(self, tenant, made):
        for key in ("1", "2"):
            holds.hold(tenant, made[0], ASKED, kind=HoldKind.REQUEST, key=key)
        assert holds.release(tenant, made[0], kind=HoldKind.REQUEST, key="1")
        assert held_because(made[0]) == str(ASKED)
        assert not holds.release(tenant, made[0])
        assert holds.release(tenant, made[0], kind=None, key=None)
        assert not as_read(made[0]).hold_reason

    def test_one_is_prolonged_and_never_shortened(self, tenant, made):
        until = later()
        for days, expected in ((30, 30), (5, 30), (60, 60), (None, None), (90, None)):
            time = None if days is None else until + timedelta(days=days)
            holds.hold(tenant, made[0], ASKED, time)
            wanted = None if expected is None else until + timedelta(days=expected)
            assert as_read(made[0]).held_until == wanted
        assert Hold.objects.count() == 1
        assert Event.objects.filter(kind=EventKind.HELD).count() == 1

    def test_all_in_the_readers_language(self, tenant, made):
        with translation.override("de"):
            holds.hold(tenant, made[0], Text("It is pinned."))
            [german] = reasons_of(tenant)[made[0].pk]
        [english] = reasons_of(tenant)[made[0].pk]
        assert english == "It is held: It is pinned."
        assert german != english
        assert held_because(made[0]) == "It is pinned."
        stored = next(row for row in quota.stored_backups(tenant) if row.pk == made[0].pk)
        assert str(retention.exemption_of(stored, timezone.now())) == english

    def test_a_reason_may_be_long(self, tenant, made):
        for number in range(5):
            holds.hold(tenant, made[0], Text(f"{number}: " + "x" * 150), key=str(number))
        row = as_read(made[0])
        assert len(row.hold_reason) == 200
        assert len(held_because(row)) > 750
        assert_in_line(tenant)

    def test_what_is_over_leaves_the_others_in_their_own_words(self, tenant, made):
        holds.hold(tenant, made[0], LOST, later(days=-1), kind=HoldKind.LOSS)
        holds.hold(tenant, made[0], ASKED, later(), kind=HoldKind.REQUEST)
        backups.prune(tenant)
        assert held_because(made[0]) == str(ASKED)
        assert [row.kind for row in Hold.objects.all()] == [HoldKind.REQUEST]

    def test_only_a_good_backup_is_held(self, tenant, made):
        Backup.objects.filter(pk=made[0].pk).update(damaged_at=timezone.now())
        with pytest.raises(BackupError, match="cannot be held"):
            holds.hold(tenant, made[0], ASKED)
        assert not Hold.objects.exists()

    def test_of_another_tenant_nothing_is_held(self, tenant, made, add_tenant):
        with pytest.raises(BackupError, match="cannot be held"):
            holds.hold(add_tenant("globex"), made[0], ASKED)


class TestPruning:
    def test_what_is_held_after_the_decision_is_not_pruned(self, tenant, made):
        with tenant_work(tenant, wait=0) as work:
            holds.hold(tenant, made[0], ASKED)
            with pytest.raises(RowChanged):
                work.delete(made[0], Deletion(EventKind.PRUNED))
            assert as_read(made[0]).deleting_at is None

    def test_a_person_may_delete_it(self, tenant, made):
        holds.hold(tenant, made[0], ASKED)
        backups.delete(tenant, made[0])
        assert not Hold.objects.exists()


class TestTheIndex:
    def test_is_kept_in_line(self, tenant, made, directory):
        holds.hold(tenant, made[0], ASKED, until := later())
        entries = {entry["file"]: entry["hold"] for entry in content(directory)["backups"]}
        assert entries[made[0].file_name] == {"reason": str(ASKED), "until": until.isoformat()}
        assert_in_line(tenant)
        holds.release(tenant, made[0])
        assert {entry["hold"] for entry in content(directory)["backups"]} == {None}
        assert_in_line(tenant)

    def test_is_kept_in_line_by_who_holds_the_lock(self, tenant, made, directory):
        with tenant_work(tenant, wait=0):
            holds.hold(tenant, made[0], ASKED)
        assert_in_line(tenant)

    def test_is_kept_in_line_after_a_transaction(self, tenant, made):
        with atomic():
            holds.hold(tenant, made[0], ASKED)
        assert_in_line(tenant)
        with lock.hold(backups.directory_of(tenant), wait=0), index_kept(tenant):
            pass

    def test_adds_a_hold_beside_the_others_and_ends_none(self, tenant, made):
        with set_back(tenant):
            holds.hold(tenant, made[0], ASKED, later(90))
        holds.hold(tenant, made[0], LOST, later(10), kind=HoldKind.LOSS)
        # A catalog that is behind does not count changes, so it learns from the folder.
        assert Hold.objects.filter(kind=HoldKind.FOLDER).count() == 1
        assert held_because(made[0]) == f"{ASKED} {LOST}"
        holds.release(tenant, made[0], kind=HoldKind.LOSS)
        assert held_because(made[0]) == str(ASKED)

    def test_gives_an_adopted_file_its_hold_back(self, tenant, made):
        holds.hold(tenant, made[0], ASKED, until := later())
        Backup.objects.all().delete()
        backups.directory_of(tenant)
        backups.sync(tenant)
        row = Backup.objects.get(file_name=made[0].file_name)
        assert (held_because(row), row.held_until) == (str(ASKED), until)
        assert row.holds.get().kind == HoldKind.FOLDER


class TestRoom:
    """What is held for lost rows alone gives way before a backup is refused."""

    @pytest.fixture
    def free(self, monkeypatch):
        """The disk has so many bytes free, and more once a backup is deleted."""
        state = {"free": 10**12}
        remove = BackupDirectory.remove

        def removed(self, name):
            state["free"] += self.file(name).stat().st_size
            remove(self, name)

        monkeypatch.setattr(BackupDirectory, "remove", removed)
        monkeypatch.setattr(BackupDirectory, "free_bytes", lambda self: state["free"])
        monkeypatch.setattr(BackupDirectory, "disk_bytes", lambda self: 0)
        monkeypatch.setattr(
            BackupDirectory, "require_space", lambda self, needed: require(state["free"], needed)
        )
        return lambda number: state.update(free=number)

    @pytest.fixture
    def held(self, tenant, made):
        """Two backups that retention would remove, held for lost rows; the newest stays anyway."""
        for backup in made[:2]:
            holds.hold(tenant, backup, LOST, later(90), kind=HoldKind.LOSS)
        BackupSettings.objects.create(tenant_id=tenant.id, keep_last=1)
        backups.prune(tenant)
        assert Backup.objects.count() == 3
        return made[:2]

    def test_is_made_on_the_disk_by_releasing_what_was_held_longest(self, tenant, held, free):
        needed = backups.database_bytes(tenant) + SPACE_MARGIN
        free(needed - 1)
        backups.create(tenant, COMMAND)
        assert not Backup.objects.filter(pk=held[0].pk).exists()
        assert as_read(held[1]).hold_reason, "one was enough"
        assert Event.objects.get(kind=EventKind.RELEASED).backup_id == held[0].pk

    def test_nothing_is_released_where_that_would_not_do(self, tenant, held, free):
        free(0)
        with pytest.raises(NotEnoughSpace):
            backups.create(tenant, COMMAND)
        assert all(as_read(backup).hold_reason for backup in held)

    def test_nothing_is_released_that_retention_keeps_anyway(self, tenant, held, free):
        BackupSettings.objects.update(keep_last=None)
        free(backups.database_bytes(tenant) + SPACE_MARGIN - 1)
        with pytest.raises(NotEnoughSpace):
            backups.create(tenant, COMMAND)
        assert all(as_read(backup).hold_reason for backup in held)

    def test_nothing_is_released_while_there_is_room(self, tenant, held, free):
        backups.create(tenant, COMMAND)
        assert all(as_read(backup).hold_reason for backup in held)

    def test_what_is_held_for_another_reason_too_stays(self, tenant, held, free):
        holds.hold(tenant, held[0], ASKED, kind=HoldKind.REQUEST)
        free(backups.database_bytes(tenant) + SPACE_MARGIN - 1)
        backups.create(tenant, COMMAND)
        assert held_because(held[0]) == f"{LOST} {ASKED}"
        assert not Backup.objects.filter(pk=held[1].pk).exists()

    def test_is_made_for_a_click(self, tenant, held, free):
        needed = backups.database_bytes(tenant) + SPACE_MARGIN
        free(needed - 1)
        assert backups.quota_of(tenant).refusal is None
        click(tenant)
        assert not Backup.objects.filter(pk=held[0].pk).exists()

    def test_is_made_for_a_click_within_max_bytes(self, tenant, held, free, limit):
        needed, size = backups.database_bytes(tenant), held[0].size
        limit(MAX_BYTES=needed + 2 * size - 1)
        assert backups.quota_of(tenant).refusal is None
        click(tenant)
        assert [hold.backup for hold in Hold.objects.all()] == [held[1]]
        limit(MAX_BYTES=needed + 2 * size - 1)  # The click's backup is one of those that stay.
        click(tenant)
        assert not Hold.objects.exists()
        limit(MAX_BYTES=needed - 1)
        with pytest.raises(LimitReached):
            click(tenant)


def require(free, needed):
    if free < needed + SPACE_MARGIN:
        raise NotEnoughSpace("There is no room.")
