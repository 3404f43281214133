"""Tenants that the provider no longer lists: when that is a finding, who is told, how it ends."""

import json
import re
from datetime import UTC, datetime, timedelta
from io import StringIO

import django
import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone

from tenant_backup import automation, backups, monitoring
from tenant_backup.models import Backup, BackupSettings, Event, TenantState, Verdict
from tenant_backup.monitoring import absence, retire
from tenant_backup.tenants import list_tenants
from tests.tenancy import Tenants

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
OPERATOR = "operator@example.com"


@pytest.fixture(autouse=True)
def admins(settings):
    settings.ADMINS = [OPERATOR] if django.VERSION >= (6, 0) else [("Olga", OPERATOR)]


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = NOW

    monkeypatch.setattr(timezone, "now", lambda: Clock.now)
    return Clock


@pytest.fixture
def add(add_tenant):
    """Add tenants that have a good backup each."""

    def add(*names):
        for name in names:
            add_tenant(name, database=False)
            BackupSettings.objects.create(tenant_id=name)
            Backup.objects.create(
                tenant_id=name,
                status="complete",
                trigger="command",
                created_at=NOW - DAY,
                file_name=f"{name}.sqlite3",
            )
        return Tenants.tenants

    return add


def vanish(*names):
    gone = [tenant for tenant in Tenants.tenants if tenant.id in names]
    Tenants.tenants[:] = [tenant for tenant in Tenants.tenants if tenant.id not in names]
    return gone


def look(now):
    absence.note(list_tenants().ids, now)
    return [finding.tenant_ids for finding in absence.findings(now)]


def subjects(now):
    number = len(mail.outbox)
    absence.note(list_tenants().ids, now)
    monitoring.notify(now)
    return [message.subject for message in mail.outbox[number:]]


def run(command, *arguments):
    output, errors = StringIO(), StringIO()
    status, end = 0, ""
    try:
        call_command(command, *arguments, stdout=output, stderr=errors)
    except CommandError as error:
        status, end = error.returncode, str(error)
    return status, output.getvalue(), errors.getvalue(), end


class TestFinding:
    def test_after_a_day(self, add, caplog):
        add("acme", "globex")
        assert look(NOW) == []
        vanish("acme")
        assert look(NOW + HOUR) == []
        assert caplog.messages == ["No longer listed by the tenant provider: acme"]
        assert look(NOW + 2 * HOUR) == []
        assert look(NOW + DAY + 59 * MINUTE) == []
        assert look(NOW + DAY + HOUR) == [("acme",)]
        assert TenantState.objects.get().absent_since == NOW + HOUR
        assert len(caplog.messages) == 1

    def test_not_of_one_without_a_good_backup(self, add):
        add("acme", "globex")
        vanish("acme")
        Backup.objects.filter(tenant_id="acme").update(missing_at=NOW)
        look(NOW)
        assert look(NOW + 2 * DAY) == []

    def test_not_any_more_when_it_is_back(self, add):
        add("acme", "globex")
        gone = vanish("acme")
        look(NOW)
        assert look(NOW + 2 * DAY) == [("acme",)]
        Tenants.tenants.extend(gone)
        assert look(NOW + 3 * DAY) == []
        vanish("acme")
        # The day begins anew.
        assert look(NOW + 4 * DAY) == []
        assert look(NOW + 5 * DAY) == [("acme",)]

    def test_one_that_is_not_valid_is_there_all_the_same(self, add):
        [tenant] = add("acme")
        object.__setattr__(tenant, "time_zone", "Mars/Base")
        look(NOW)
        assert look(NOW + 2 * DAY) == []

    def test_many_at_once_are_one(self, add):
        names = [f"t{number:02}" for number in range(20)]
        add("acme", "globex", *names)
        vanish(*names)
        look(NOW)
        vanish("acme")
        look(NOW + 3 * HOUR)
        together, alone = absence.findings(NOW + 2 * DAY)
        assert (together.tenant_ids, alone.tenant_ids) == (tuple(names), ("acme",))
        assert str(together) == (
            "20 tenants that have good backups have disappeared at once: the tenant provider has "
            "not listed them since May 4, 2026, noon (UTC). Is a disk not mounted? They are: "
            "t00, t01, t02, t03, t04, t05, t06, t07, t08, t09, 10 more. If they are gone on "
            "purpose, say so: python manage.py syncbackups --retire TENANT…"
        )
        assert str(alone).startswith(
            "The tenant provider has not listed it since May 4, 2026, 3 p.m. (UTC), and it has "
            "good backups. Is its folder still there? "
        )
        assert str(alone).endswith("say so: python manage.py syncbackups --retire acme")

    def test_two_at_once_are_two(self, add):
        add("a", "b", "c")
        vanish("a", "b")
        look(NOW)
        assert look(NOW + DAY) == [("a",), ("b",)]

    @pytest.mark.parametrize(
        ("tenant_id", "word"), [("-x", "-- -x"), ("a b", "'a b'"), ("a\x1b[2J", r"'a\x1b[2J'")]
    )
    def test_its_command_can_be_copied(self, tenant_id, word):
        assert str(absence.Absence((tenant_id,), NOW)).endswith(f"--retire {word}")

    def test_a_clock_that_was_ahead_puts_nothing_off(self, add):
        add("acme", "globex")
        vanish("acme")
        look(NOW + 3650 * DAY)
        look(NOW)
        assert look(NOW + DAY) == [("acme",)]

    def test_a_thousand_take_few_queries(self, add, django_assert_max_num_queries):
        BackupSettings.objects.bulk_create(
            BackupSettings(tenant_id=f"t{number}") for number in range(1000)
        )
        with django_assert_max_num_queries(40):
            absence.note(set(), NOW)
        with django_assert_max_num_queries(3):
            absence.note(set(), NOW + HOUR)
        assert TenantState.objects.filter(absent_since=NOW).count() == 1000


class TestRetired:
    def test_is_no_finding_and_is_in_the_history(self, add, caplog):
        add("acme", "globex")
        vanish("acme")
        look(NOW)
        absence.retire(["acme"], by="ada", now=NOW + HOUR)
        assert look(NOW + 9 * DAY) == []
        event = Event.objects.get()
        assert (event.kind, event.tenant_id, event.actor) == ("retired", "acme", "ada")

    def test_coming_back_ends_it(self, add):
        add("acme", "globex")
        gone = vanish("acme")
        look(NOW)
        absence.retire(["acme"], by="ada", now=NOW)
        Tenants.tenants.extend(gone)
        look(NOW + DAY)
        row = TenantState.objects.get()
        assert (row.retired_at, row.retired_by, row.absent_since) == (None, "", None)
        vanish("acme")
        look(NOW + 2 * DAY)
        assert look(NOW + 3 * DAY) == [("acme",)]

    def test_by_the_host_shortly_before_it_removes_the_tenant(self, add, clock):
        add("acme", "globex")
        retire("acme", by="the host")
        look(NOW + MINUTE)
        vanish("acme")
        look(NOW + HOUR)
        assert look(NOW + 9 * DAY) == []
        assert TenantState.objects.get().retired_by == "the host"

    def test_of_one_that_stays_listed_lapses_after_a_day(self, add, clock):
        """Else a slip of the pen would hide that it disappears years later."""
        add("acme", "globex")
        retire("acme")
        look(NOW + DAY)
        vanish("acme")
        look(NOW + 2 * DAY)
        assert look(NOW + 3 * DAY) == [("acme",)]

    def test_by_the_host_of_an_id_that_nobody_knows_is_passed_over(self):
        retire("nobody")
        assert not TenantState.objects.exists()


class TestTold:
    def test_once_then_every_week_and_that_it_is_back(self, add):
        add("acme", "globex")
        gone = vanish("acme")
        assert subjects(NOW) == []
        assert subjects(NOW + DAY) == ["[Django] Backups: 1 tenant disappeared"]
        assert "acme: disappeared\nThe tenant provider has not listed it" in mail.outbox[0].body
        for days in (2, 7):
            assert subjects(NOW + days * DAY) == []
        assert subjects(NOW + 8 * DAY) == ["[Django] Backups: 1 tenant disappeared"]
        Tenants.tenants.extend(gone)
        assert subjects(NOW + 9 * DAY) == ["[Django] Backups: 1 tenant is back"]
        assert "The tenant provider lists these tenants again: acme" in mail.outbox[2].body
        assert subjects(NOW + 10 * DAY) == []

    def test_retired_is_the_end_of_it(self, add):
        add("acme", "globex")
        vanish("acme")
        subjects(NOW)
        assert len(subjects(NOW + DAY)) == 1
        absence.retire(["acme"], now=NOW + DAY)
        assert subjects(NOW + 2 * DAY) == []
        assert subjects(NOW + 30 * DAY) == []

    def test_many_in_one_paragraph(self, add):
        names = [f"t{number}" for number in range(5)]
        add("acme", *names)
        vanish(*names)
        subjects(NOW)
        assert subjects(NOW + DAY) == ["[Django] Backups: 5 tenants disappeared"]
        assert mail.outbox[0].body.startswith("5 tenants that have good backups have disappeared")
        assert mail.outbox[0].body.count("\n\n") == 1

    def test_also_where_the_provider_lists_nobody(self, add):
        names = ["a", "b", "c"]
        add(*names)
        vanish(*names)
        subjects(NOW)
        assert subjects(NOW + DAY) == ["[Django] Backups: 3 tenants disappeared"]

    def test_without_operators_it_does_not_count_as_told(self, add, settings):
        add("acme", "globex")
        vanish("acme")
        subjects(NOW)
        told, settings.ADMINS = settings.ADMINS, []
        assert subjects(NOW + DAY) == []
        settings.ADMINS = told
        assert len(subjects(NOW + DAY + HOUR)) == 1


class TestCommands:
    """Real backups; the tenant's folder is moved away."""

    @pytest.fixture
    def moved(self, add_tenant):
        """Two tenants with a backup each, of which one has been away for two days."""
        for name in ("acme", "globex"):
            backups.create(add_tenant(name), backups.BackupRequest(trigger="command"))
        automation.set_up()
        automation.tick()
        gone = vanish("acme")
        run("checkbackups")
        TenantState.objects.update(absent_since=timezone.now() - 2 * DAY)
        return gone

    @pytest.mark.parametrize("command", ["runbackup", "checkbackups", "syncbackups"])
    def test_each_notes_it(self, add_tenant, command):
        for name in ("acme", "globex"):
            backups.create(add_tenant(name), backups.BackupRequest(trigger="command"))
        vanish("acme")
        run(command, "globex")
        assert not TenantState.objects.exclude(absent_since=None).exists()
        assert run(command)[0] == 0
        assert TenantState.objects.get(absent_since__isnull=False).tenant_id == "acme"

    def test_so_does_the_tick(self, add, clock):
        add("acme", "globex")
        vanish("acme")
        automation.tick(NOW)
        assert TenantState.objects.get(tenant_id="acme").absent_since == NOW

    def test_a_dry_run_notes_nothing(self, add_tenant):
        for name in ("acme", "globex"):
            backups.create(add_tenant(name), backups.BackupRequest(trigger="command"))
        vanish("acme")
        run("runbackup", "--dry-run")
        assert not TenantState.objects.exclude(absent_since=None).exists()

    @pytest.mark.parametrize(
        ("command", "word"), [("runbackup", "failed"), ("checkbackups", "disappeared")]
    )
    def test_ends_with_1_and_says_it(self, moved, command, word):
        status, _, errors, _ = run(command)
        assert status == 1
        assert re.fullmatch(
            r"(?:0 of 2 well; 1 needs you; 1 is backed up by hand only \(times in UTC\):\n)?"
            rf"acme: {word}\. The tenant provider has not listed it since .*, and it has good "
            r"backups\. Is its folder still there\? If it is gone on purpose, say so: "
            r"python manage\.py syncbackups --retire acme\n",
            errors,
        )

    def test_runbackup_backs_the_others_up(self, moved):
        status, output, _, end = run("runbackup")
        assert (status, end) == (1, "1 of 2 failed.")
        assert output.startswith("globex: globex-")

    def test_whoever_is_named_is_what_it_is_about(self, moved):
        assert run("runbackup", "globex")[0] == 0
        assert run("checkbackups", "globex")[0] == 0

    def test_cron_says_it_by_mail_and_not_every_minute(self, moved):
        assert run("runbackup", "--due", "-v", "0") == (0, "", "", "")
        assert [message.subject for message in mail.outbox] == [
            "[Django] Backups: 1 tenant disappeared"
        ]

    def test_json(self, moved):
        status, output, _, _ = run("checkbackups", "--json")
        answer = json.loads(output)
        assert status == 1
        [error] = answer["errors"]
        assert error["tenant"] == "acme"
        assert "has not listed it since" in error["message"]
        [there, gone] = answer["tenants"]
        assert there["id"] == "globex"
        assert gone == {
            "id": "acme",
            "automatic": False,
            "problems": ["disappeared"],
            "verdict": "disappeared",
        }

    def test_before_the_day_is_over_it_is_said_and_no_failure(self, moved):
        TenantState.objects.update(absent_since=timezone.now() - HOUR)
        status, output, errors, _ = run("checkbackups")
        assert (status, errors) == (0, "")
        assert "acme: not listed. The tenant provider does not list this tenant" in output

    def test_where_nobody_is_listed_the_notice_is_sent_all_the_same(self, moved):
        vanish("globex")
        status, _, _, end = run("checkbackups", "--notify")
        assert (status, len(mail.outbox)) == (1, 1)
        assert "lists no tenant at all" in end

    def test_retire(self, moved):
        assert run("syncbackups", "--retire", "acme") == (0, "acme: retired\n", "", "")
        status, output, errors, _ = run("checkbackups", "-v", "2")
        assert (status, errors) == (0, "")
        assert "acme: retired. This tenant is retired, so it is not backed up.\n" in output
        assert run("runbackup")[0] == 0

    def test_retire_as_json(self, moved):
        status, output, _, _ = run("syncbackups", "--retire", "acme", "globex", "--json")
        assert status == 0
        assert json.loads(output)["tenants"] == [
            {"id": "acme", "retired": True, "listed": False},
            {"id": "globex", "retired": True, "listed": True},
        ]

    def test_retire_one_that_is_listed_says_what_that_means(self, moved):
        _, output, _, _ = run("syncbackups", "--retire", "globex")
        assert output.startswith("globex: retired if it disappears within a day. The tenant ")

    @pytest.mark.parametrize("names", [[], ["nobody"], ["acme", "nobody"]])
    def test_retire_nobody_is_a_usage_error_and_nothing_is_done(self, moved, names):
        status, output, _, end = run("syncbackups", "--retire", *names)
        assert (status, output) == (2, "")
        assert "nobody" in end or "needs the ids" in end
        assert not TenantState.objects.exclude(retired_at=None).exists()

    def test_retire_knows_whom_only_the_backups_know(self, moved):
        BackupSettings.objects.filter(tenant_id="acme").delete()
        TenantState.objects.all().delete()
        assert run("syncbackups", "--retire", "acme")[0] == 0


def test_how_they_stand_among_all(add):
    add("gone", "away", "retired", "none")
    vanish("gone", "retired", "none")
    Backup.objects.filter(tenant_id="none").delete()
    look(NOW - 2 * DAY)
    vanish("away")
    look(NOW)
    absence.retire(["retired"], now=NOW)
    judgements = monitoring.judge_unlisted(set(), NOW)
    assert {judgement.tenant_id: judgement.verdict for judgement in judgements} == {
        "gone": Verdict.DISAPPEARED,
        "away": Verdict.UNLISTED,
        "retired": Verdict.RETIRED,
        "none": Verdict.UNLISTED,
    }
