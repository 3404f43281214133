"""Lost rows: noticed after each backup, told everywhere, and the backup before is held."""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone, translation

from tenant_backup import backups, monitoring, retention, rows
from tenant_backup.backups import counting, pruning
from tenant_backup.exceptions import BackupError
from tenant_backup.files import BackupDirectory
from tenant_backup.models import (
    Backup,
    BackupSettings,
    Event,
    EventKind,
    Hold,
    HoldKind,
    RowCounts,
    RowLoss,
    TenantState,
    Trigger,
    Verdict,
)
from tenant_backup.rows import losses
from tenant_backup.sqlite import Counts
from tests.conftest import make_database
from tests.test_counts import change, migrated
from tests.test_monitoring import ADMINS, configure, notify, post, subjects
from tests.test_reconcile import COMMAND
from tests.test_verdict import HostNames
from tests.test_views import is_page, project, text_of, visit

__all__ = ["HostNames", "is_page", "post", "project", "visit"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)

MADE_AND_NOT_LOOKED_AT = """
from tenant_backup import backups
from tenant_backup.tenants import get_tenant
backups.before_pruning.receivers.clear()
backups.create(get_tenant("acme"), backups.BackupRequest(trigger="command"))
print("made", flush=True)
"""

LOOK = """
from tenant_backup import rows
from tenant_backup.tenants import get_tenant
tenant = get_tenant("acme")
print("ready", flush=True)
sys.stdin.readline()
print(len(rows.look(tenant)), flush=True)
"""

HOW_MANY = """
from tenant_backup.models import Event, Hold, RowLoss
print(RowLoss.objects.count(), Hold.objects.count(), Event.objects.filter(kind="rows_lost").count())
sys.stdout.flush()
"""


@pytest.fixture
def tenant(add_tenant):
    """A tenant with 100 credits and 100 debits, whose retention keeps two backups."""
    tenant = add_tenant()
    BackupSettings.objects.create(tenant_id=tenant.id, keep_last=2)
    return tenant


def back_up(tenant, *statements):
    change(tenant.database, *statements)
    return backups.create(tenant, COMMAND).backup


def lose(tenant, table="credits", keep=0):
    return back_up(tenant, f"DELETE FROM {table} WHERE id > {keep}")


def refill(tenant, table="credits", number=100):
    change(tenant.database, f"DELETE FROM {table}")
    with closing(sqlite3.connect(tenant.database)) as connection, connection:
        connection.executemany(
            f"INSERT INTO {table} (id, amount) VALUES (?, 0)", ((n,) for n in range(1, number + 1))
        )
    return backups.create(tenant, COMMAND).backup


def open_losses(tenant):
    return [(loss.table, loss.rows_before, loss.rows_now) for loss in rows.open_losses(tenant.id)]


def held(tenant):
    """The ids of the backups that retention keeps for lost rows, the oldest first."""
    found = Hold.objects.for_tenant(tenant.id).filter(kind=HoldKind.LOSS)
    return sorted(found.values_list("backup_id", flat=True))


def add_counts(tenant, at, tables, **fields):
    """A good backup of this time without a file, and what is kept of its rows."""
    number = Backup.objects.count()
    given = {"trigger": Trigger.AUTOMATIC, "status": "complete", "file_name": f"b{number}"}
    backup = Backup.objects.create(tenant_id=tenant.id, created_at=at, **(given | fields))
    counting.keep(backup, Counts(tables, "m"))
    return backup


class TestNoticed:
    def test_with_the_backup_and_before_anything_is_pruned(self, tenant):
        """Retention keeps one: the very backup with which the loss is seen would replace it."""
        BackupSettings.objects.update(keep_last=1)
        good = back_up(tenant)
        bad = lose(tenant)
        assert open_losses(tenant) == [("credits", 100, 0)]
        loss = rows.open_losses(tenant.id)[0]
        assert (loss.before, loss.after) == (good, bad)
        assert held(tenant) == [good.pk]
        row = Backup.objects.get(pk=good.pk)
        assert str(retention.exemption_of(row, timezone.now())) == (
            "It is held: It is the last backup before rows were lost."
        )
        assert abs(row.held_until - loss.found_at - 90 * DAY) < timedelta(seconds=1)
        for _ in range(4):
            lose(tenant)
        assert Backup.objects.filter(pk=good.pk).exists()
        assert RowLoss.objects.count() == 1

    def test_once_and_in_the_history(self, tenant):
        back_up(tenant)
        lose(tenant)
        lose(tenant)
        [event] = Event.objects.filter(kind=EventKind.ROWS_LOST)
        assert (event.tenant_id, event.said) == ("acme", "credits: 100 rows before, 0 now.")
        assert Event.objects.filter(kind=EventKind.HELD).count() == 1

    def test_one_finding_a_table_with_the_numbers_of_today(self, tenant):
        first = back_up(tenant)
        lose(tenant, keep=50)
        lose(tenant, "debits", keep=30)
        lose(tenant, keep=10)
        assert open_losses(tenant) == [("credits", 100, 10), ("debits", 100, 30)]
        assert len(held(tenant)) == 2
        assert held(tenant)[0] == first.pk

    def test_by_the_next_look_if_the_process_dies_right_after_the_backup(self, tenant, monkeypatch):
        back_up(tenant)
        with monkeypatch.context() as patch:
            patch.setattr(pruning.before_pruning, "send", die)
            change(tenant.database, "DELETE FROM credits")
            with pytest.raises(KeyboardInterrupt):
                backups.create(tenant, COMMAND)
        assert open_losses(tenant) == []
        assert RowCounts.objects.filter(looked_at=None).count() == 1
        monitoring.notify()
        assert open_losses(tenant) == [("credits", 100, 0)]
        assert held(tenant)

    def test_by_the_next_look_at_the_page_or_by_checkbackups(self, tenant, monkeypatch):
        back_up(tenant)
        with monkeypatch.context() as patch:
            patch.setattr(pruning.before_pruning, "send", lambda *args, **options: [])
            lose(tenant)
        assert open_losses(tenant) == []
        judgement = monitoring.judge_tenant(tenant, automation_runs=True)
        assert judgement.verdict is Verdict.ROWS_LOST

    def test_nothing_is_pruned_if_nobody_can_look(self, tenant, monkeypatch):
        made = [back_up(tenant) for _ in range(2)]
        monkeypatch.setattr(losses, "losses", fail)
        result = backups.create(tenant, COMMAND)
        assert "older ones could not be removed" in result.prune_error
        assert result.pruned == []
        assert {row.pk for row in made} < set(Backup.objects.values_list("pk", flat=True))
        # Nobody else's judgement depends on it.
        assert monitoring.judge_tenant(tenant, automation_runs=True).findings == ()

    def test_by_one_of_many_that_look_at_once(self, tenant, monkeypatch):
        back_up(tenant)
        with monkeypatch.context() as patch:
            patch.setattr(pruning.before_pruning, "send", lambda *args, **options: [])
            lose(tenant)
        compute, looks = losses.losses, iter([True])

        def look_meanwhile(*arguments, **options):
            if next(looks, False):
                assert len(rows.look(tenant)) == 1
            return compute(*arguments, **options)

        monkeypatch.setattr(losses, "losses", look_meanwhile)
        assert rows.look(tenant) == []
        assert RowLoss.objects.count() == 1
        assert Event.objects.filter(kind=EventKind.ROWS_LOST).count() == 1
        assert Event.objects.filter(kind=EventKind.HELD).count() == 1

    def test_by_one_of_many_processes(self, host):
        root = host.add_tenant("acme", rows=50)
        host.succeed("migrate -v 0", "runbackup -v 0", "runbackup -v 0")
        change(root / "db.sqlite3", "DELETE FROM credits")
        host.start(MADE_AND_NOT_LOOKED_AT).line()
        processes = [host.start(LOOK) for _ in range(3)]
        for process in processes:
            assert process.line() == "ready"
        for process in processes:
            process.go_on()
        assert sorted(process.line() for process in processes) == ["0", "0", "1"]
        assert host.start(HOW_MANY).line() == "1 1 1"

    def test_not_before_the_backup_is_complete(self, tenant, monkeypatch):
        """Its numbers are kept a moment earlier, and nobody must take them for looked at."""
        back_up(tenant)
        publish = BackupDirectory.publish

        def look_meanwhile(self, *arguments):
            assert rows.look(tenant) == []
            monitoring.notify()
            publish(self, *arguments)

        monkeypatch.setattr(BackupDirectory, "publish", look_meanwhile)
        lose(tenant)
        assert open_losses(tenant) == [("credits", 100, 0)]

    def test_only_where_there_is_a_new_backup(self, tenant, monkeypatch):
        back_up(tenant)
        back_up(tenant)
        monkeypatch.setattr(losses, "losses", fail)
        assert rows.look(tenant) == []
        monitoring.notify()


class TestNotNoticed:
    @pytest.mark.parametrize(
        "table",
        ["django_session", "Django_Q_Task", "tenant_backup_event", "django_admin_log", "my_log"],
    )
    def test_in_tables_that_are_cleaned_as_a_matter_of_course(self, tenant, table, settings):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "ROWS_LOST": {"exclude": ["MY_*"]}}
        back_up(tenant, f"ALTER TABLE credits RENAME TO {table}")
        lose(tenant, table)
        assert open_losses(tenant) == []

    def test_by_other_limits(self, tenant, settings):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "ROWS_LOST": {"share": 0.5}}
        back_up(tenant)
        lose(tenant, keep=51)
        assert open_losses(tenant) == []
        lose(tenant, "debits", keep=50)
        assert open_losses(tenant) == [("debits", 100, 50)]

    def test_after_an_upgrade(self, tenant):
        """Backups without numbers are no baseline, and break nothing."""
        back_up(tenant)
        back_up(tenant)
        RowCounts.objects.all().delete()
        lose(tenant)
        assert open_losses(tenant) == []
        assert monitoring.judge_tenant(tenant, automation_runs=True).findings == ()
        lose(tenant, "debits")
        assert open_losses(tenant) == [("debits", 100, 0)]

    def test_in_what_is_saved_before_a_restore(self, tenant):
        """It is what there was, and neither what there is afterwards nor what there should be."""
        now = timezone.now()
        add_counts(tenant, now - 2 * DAY, {"a": 100})
        add_counts(tenant, now - DAY, {"a": 0}, trigger=Trigger.RESTORE)
        assert rows.look(tenant) == []
        add_counts(tenant, now, {"a": 60})
        assert [loss.rows_before for loss in rows.look(tenant)] == [100]

    def test_by_damaged_backups_or_those_dated_in_the_future(self, tenant):
        now = timezone.now()
        add_counts(tenant, now - 3 * DAY, {"a": 1000}, damaged_at=now)
        add_counts(tenant, now - 2 * DAY, {"a": 1000}, future_at=now)
        add_counts(tenant, now - DAY, {"a": 100})
        add_counts(tenant, now + DAY, {"a": 0})
        assert rows.look(tenant) == []

    def test_if_the_schema_has_changed(self, tenant):
        migrated(tenant.database, "0001")
        back_up(tenant)
        migrated(tenant.database, "0002")
        back_up(tenant, "DROP TABLE credits")
        assert open_losses(tenant) == []
        back_up(tenant, "DROP TABLE debits")
        assert open_losses(tenant) == [("debits", 100, 0)]

    def test_by_what_is_out_of_the_window_of_old_tenants(self, tenant):
        now = timezone.now()
        for days, number in ((60, 10), (36, 10), (20, 100), (7, 10), (0, 90)):
            add_counts(tenant, now - days * DAY, {"a": number})
        assert rows.look(tenant) == []
        add_counts(tenant, now + timedelta(seconds=1), {"a": 80})
        assert [loss.least_before for loss in rows.look(tenant)] == [100]


class TestOver:
    def test_when_the_rows_are_back(self, tenant):
        back_up(tenant)
        lose(tenant)
        refill(tenant, number=80)
        assert open_losses(tenant) == [("credits", 100, 80)]
        refill(tenant, number=81)
        assert open_losses(tenant) == []
        assert held(tenant) == []
        [event] = Event.objects.filter(kind=EventKind.ROWS_BACK)
        assert event.said == "credits: 100 rows before, 81 now."
        # What was made meanwhile is no baseline, and what was made then is one.
        lose(tenant, keep=60)
        assert open_losses(tenant) == [("credits", 81, 60)]

    def test_rows_that_often_come_back_by_themselves_were_not_lost(self, tenant):
        """Such as in a table that is emptied every week."""
        back_up(tenant)
        for number in range(2):
            lose(tenant)
            assert len(open_losses(tenant)) == 1, number
            refill(tenant)
        lose(tenant)
        assert open_losses(tenant) == []

    def test_what_was_restored_did_not_come_back_by_itself(self, tenant):
        back_up(tenant)
        for number in range(3):
            lose(tenant)
            assert len(open_losses(tenant)) == 1, number
            Event.record(EventKind.ROWS_RESTORED, tenant.id)
            refill(tenant)

    def test_when_it_was_intended(self, tenant):
        good = back_up(tenant)
        lose(tenant, keep=50)
        [loss] = rows.open_losses(tenant.id)
        rows.intend(tenant, loss, "ada")
        assert open_losses(tenant) == []
        assert held(tenant) == []
        [event] = Event.objects.filter(kind=EventKind.INTENDED)
        assert (event.actor, event.said) == ("ada", "credits: 100 rows before, 50 now.")
        [released] = Event.objects.filter(kind=EventKind.RELEASED)
        assert (released.backup_id, released.actor) == (good.pk, "ada")
        # From now on 50 is what there should be.
        lose(tenant, keep=40)
        assert open_losses(tenant) == []
        lose(tenant, keep=10)
        assert open_losses(tenant) == [("credits", 40, 10)]

    def test_once(self, tenant):
        back_up(tenant)
        lose(tenant)
        [loss] = rows.open_losses(tenant.id)
        rows.intend(tenant, loss, "ada")
        with pytest.raises(BackupError, match="has ended already"):
            rows.intend(tenant, loss, "bob")
        assert RowLoss.objects.get().intended_by == "ada"
        assert Event.objects.filter(kind=EventKind.INTENDED).count() == 1

    def test_whoever_it_was(self, tenant):
        back_up(tenant)
        lose(tenant)
        rows.intend(tenant, rows.open_losses(tenant.id)[0], "")
        assert RowLoss.objects.get().intended_by
        lose(tenant)
        assert open_losses(tenant) == []

    def test_not_by_somebody_elses_hand(self, tenant, add_tenant):
        back_up(tenant)
        lose(tenant)
        [loss] = rows.open_losses(tenant.id)
        with pytest.raises(BackupError, match="has ended already"):
            rows.intend(add_tenant("globex"), loss, "ada")
        assert open_losses(tenant)

    def test_when_nobody_wants_to_know_any_more(self, tenant, settings):
        back_up(tenant)
        lose(tenant)
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "ROWS_LOST": {"exclude": ["credits"]}}
        back_up(tenant)
        assert open_losses(tenant) == []

    def test_not_by_what_was_not_counted(self, tenant):
        now = timezone.now()
        add_counts(tenant, now - DAY, {"a": 100})
        add_counts(tenant, now - timedelta(hours=2), {"a": 0})
        rows.look(tenant)
        add_counts(tenant, now - timedelta(hours=1), {"a": None})
        rows.look(tenant)
        assert open_losses(tenant) == [("a", 100, 0)]


class TestHeld:
    def test_at_most_three_the_first_and_the_two_newest(self, tenant):
        tables = dict.fromkeys("abcdef", 100)
        now = timezone.now()
        made = []
        for number, name in enumerate("abcdef"):
            at = now - (20 - number) * DAY
            made.append(add_counts(tenant, at, dict(tables)))
            tables[name] = 0
            add_counts(tenant, at + DAY / 2, dict(tables))
            rows.look(tenant, at + DAY / 2)
        assert len(open_losses(tenant)) == 6
        assert held(tenant) == sorted(made[number].pk for number in (0, 4, 5))
        # One goes, and the next one takes its place.
        rows.intend(tenant, rows.open_losses(tenant.id)[0], "ada")
        assert held(tenant) == sorted(made[number].pk for number in (1, 4, 5))

    def test_one_backup_for_all_that_an_accident_took(self, tenant):
        good = back_up(tenant)
        back_up(tenant, "DELETE FROM credits", "DELETE FROM debits")
        assert len(open_losses(tenant)) == 2
        assert held(tenant) == [good.pk]
        rows.intend(tenant, rows.open_losses(tenant.id)[0], "ada")
        assert held(tenant) == [good.pk], "the other one still holds it"

    def test_for_ninety_days(self, tenant):
        good = back_up(tenant)
        lose(tenant)
        Hold.objects.update(until=timezone.now() - DAY)
        Backup.objects.filter(pk=good.pk).update(held_until=timezone.now() - DAY)
        RowLoss.objects.update(found_at=timezone.now() - 91 * DAY)
        for _ in range(2):
            lose(tenant)
        assert not Backup.objects.filter(pk=good.pk).exists()
        assert open_losses(tenant), "the finding stays"

    def test_and_none_that_somebody_asked_for_is_released(self, tenant):
        good = back_up(tenant)
        lose(tenant)
        backups.hold(tenant, good, losses.IS_HELD, kind=HoldKind.REQUEST)
        rows.intend(tenant, rows.open_losses(tenant.id)[0], "ada")
        assert Backup.objects.get(pk=good.pk).hold_reason


class TestTold:
    @pytest.fixture
    def lost(self, tenant):
        """Both tables of a tenant that is well otherwise have lost rows since Monday."""
        TenantState.objects.create(tenant_id=tenant.id)
        return RowLoss(
            tenant_id=tenant.id,
            table="auth_user",
            rows_before=5000,
            rows_now=1400,
            least_before=5000,
            before_at=timezone.now() - 3 * DAY,
            after_at=timezone.now() - 2 * DAY,
        )

    def sentence(self, tenant):
        [finding] = monitoring.judge_tenant(tenant, automation_runs=True).findings
        return str(finding)

    def test_in_the_words_of_the_hosts_models(self, tenant, lost):
        back_up(tenant)
        lost.save()
        day = f"{timezone.localtime(lost.before_at, tenant.zone):%A}"
        assert self.sentence(tenant) == f"3,600 users fewer than on {day}. Intended?"
        RowLoss.objects.update(table="crm_contract")
        assert self.sentence(tenant) == (
            f"3,600 rows of the table crm_contract fewer than on {day}. Intended?"
        )

    @pytest.mark.parametrize(
        ("days", "words"), [(1, "than yesterday"), (30, "than on "), (400, "than on ")]
    )
    def test_with_a_day(self, tenant, lost, days, words):
        back_up(tenant)
        lost.before_at = timezone.now() - days * DAY
        lost.save()
        said = self.sentence(tenant)
        assert words in said
        assert (str(lost.before_at.year) in said) is (days == 400)

    def test_in_the_readers_language(self, tenant, lost):
        back_up(tenant)
        lost.save()
        with translation.override("de"):
            assert "3.600" in self.sentence(tenant)

    def test_of_very_many_tables_the_worst(self, tenant):
        back_up(tenant)
        now = timezone.now()
        for number in range(8):
            RowLoss.objects.create(
                tenant_id=tenant.id,
                table=f"t{number}",
                rows_before=100 + number,
                rows_now=0,
                least_before=100,
                before_at=now - DAY,
                after_at=now,
            )
        findings = monitoring.judge_tenant(tenant, automation_runs=True).findings
        assert [str(each).split()[0] for each in findings] == [
            "107",
            "106",
            "105",
            "104",
            "103",
            "3",
        ]
        assert str(findings[-1]) == "3 more tables have lost rows. Intended?"

    def test_by_mail_and_again_when_another_table_is_hit(self, tenant, settings):
        settings.ADMINS = ADMINS
        configure_quietly(tenant)
        back_up(tenant)
        now = timezone.now()
        assert notify(now) == []
        lose(tenant)
        [(address, subject), (_, own)] = notify(now)
        assert "1 tenant lost rows" in subject
        assert "rows lost" in own
        assert notify(now + timedelta(minutes=20)) == []
        lose(tenant, "debits")
        assert len(notify(now + timedelta(minutes=40))) == 2
        assert notify(now + timedelta(minutes=60)) == []
        # After a week, as long as nobody has answered.
        assert len(notify(now + 8 * DAY)) == 2
        for loss in rows.open_losses(tenant.id):
            rows.intend(tenant, loss, "ada")
        assert notify(now + 8 * DAY + timedelta(minutes=20)) == []
        assert TenantState.objects.get().noted == Verdict.WELL
        assert subjects(to=address)

    def test_beside_what_is_graver(self, tenant, settings):
        settings.ADMINS = ADMINS
        configure_quietly(tenant)
        back_up(tenant)
        lose(tenant)
        Backup.objects.create(
            tenant_id=tenant.id, status="failed", trigger="automatic", error="The disk is gone."
        )
        [(_, subject), _] = notify(timezone.now())
        assert "1 tenant failed" in subject
        assert "1 tenant lost rows" in subject

    def test_by_checkbackups(self, tenant):
        back_up(tenant)
        lose(tenant)
        output = StringIO()
        with pytest.raises(CommandError):
            call_command("checkbackups", "--json", stdout=output, stderr=StringIO())
        [entry] = json.loads(output.getvalue())["tenants"]
        assert entry["problems"] == ["rows_lost"]
        assert entry["alarm_since"]
        output = StringIO()
        with pytest.raises(CommandError):
            call_command("checkbackups", stdout=output, stderr=output)
        assert "acme: rows lost. 100 rows of the table credits fewer than today" in " ".join(
            output.getvalue().split()
        )

    def test_on_the_page(self, tenant, project, visit):
        back_up(tenant)
        lose(tenant)
        text = text_of(visit().get("/settings/admin/backup"))
        assert "Rows have been lost." in text
        assert "100 rows of the table credits fewer than today" in text
        assert "Make one now, below." not in text

    def test_to_as_many_tenants_as_there_are(self, tmp_path, add_tenant, django_assert_num_queries):
        """Where a thousand tenants have new backups, one query finds them."""
        tenants = [add_tenant(f"t{number}", database=False) for number in range(5)]
        for tenant in tenants[:2]:
            add_counts(tenant, timezone.now(), {"a": 1})
        looked = []
        with pytest.MonkeyPatch.context() as patch, django_assert_num_queries(1):
            patch.setattr(losses, "look", looked.append)
            rows.look_at_new(tenants)
        assert looked == tenants[:2]


class TestOwnCatalog:
    """With `SingleTenant` the catalog lies in the database that is backed up and counted."""

    def test_its_own_tables_are_no_finding(self, host):
        host.environment["TEST_PROVIDER"] = "tenant_backup.tenants.SingleTenant"
        host.succeed("migrate -v 0")
        path = host.directory / "control.sqlite3"
        make_database(path.with_name("other.sqlite3"))
        change(path, "CREATE TABLE notes (id INTEGER PRIMARY KEY)")
        change(path, *(f"INSERT INTO notes VALUES ({number})" for number in range(50)))
        host.succeed("runbackup -v 0", "runbackup -v 0")
        change(path, "DELETE FROM notes", "DELETE FROM tenant_backup_event")
        host.succeed("runbackup -v 0")
        done = host.run("checkbackups", "--json")
        assert done.returncode == 1
        [entry] = json.loads(done.stdout)["tenants"]
        assert entry["problems"] == ["rows_lost"]
        assert "50 rows of the table notes fewer" in done.stdout
        assert "tenant_backup_event" not in done.stdout
        # Restored, with the catalog: what was held is still held, and nothing is lost any more.
        with closing(sqlite3.connect(path)) as connection:
            [(held,)] = connection.execute(
                "SELECT file_name FROM tenant_backup_backup WHERE hold_reason != ''"
            )
        host.succeed(f"restorebackup default {held} --no-input -v 0")
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM notes").fetchone() == (50,)
            assert connection.execute(
                "SELECT hold_reason FROM tenant_backup_backup WHERE file_name = ?", (held,)
            ).fetchone() == ("It is the last backup before rows were lost.",)
        host.succeed("runbackup -v 0", "checkbackups -v 0")


def configure_quietly(tenant):
    BackupSettings.objects.filter(tenant_id=tenant.id).delete()
    configure(tenant, automatic=False)


def die(*arguments, **options):
    raise KeyboardInterrupt


def fail(*arguments, **options):
    raise RuntimeError("nobody can look")


@pytest.mark.parametrize("nonsense", [5, "text", [], {"credits": "many"}, {"credits": 10**30}])
def test_nonsense_among_the_numbers_stops_nothing(tenant, project, visit, nonsense):
    old = backups.create(tenant, COMMAND).backup
    RowCounts.objects.filter(backup=old).update(tables=nonsense)
    backups.create(tenant, COMMAND)
    RowCounts.objects.update(looked_at=None)
    assert backups.prune(tenant) == []
    assert visit().get("/settings/admin/backup").status_code == 200
    call_command("listbackups", "acme", "--contents")
    RowCounts.objects.all().update(backup=None, looked_at=None)
    assert rows.look(tenant) == []
