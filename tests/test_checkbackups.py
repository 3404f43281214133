"""`checkbackups`: whether all is well, and if not, what is not, for people and for programs."""

import json
import os
import re
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import django
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django.utils.formats import date_format
from django_q.models import Schedule

from tenant_backup import automation, backups
from tenant_backup.models import Automation, Backup, BackupSettings, TenantState, Trigger, Verdict
from tenant_backup.schedule import overdue_at
from tests.conftest import REPOSITORY, send_mail_by, tenant_in, without_privileges
from tests.tenancy import Tenants

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)
DAY = timedelta(days=1)
DATE = r"\w+\.? \d+, 20\d\d, \S+(?: [ap]\.m\.)?"
TIME = rf"{DATE} \((?:just now|\d+\xa0\w+ ago)\)"
TIME_AND_ZONE = rf"{DATE} \(UTC\)"
SECOND = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture(autouse=True)
def ticking():
    """Automation is set up and at work."""
    automation.set_up()
    automation.tick()


class Answer:
    """What the command printed, and its exit status."""

    def __init__(self, *arguments, **options):
        output, errors = StringIO(), StringIO()
        self.status = 0
        self.end = ""
        try:
            call_command("checkbackups", *arguments, stdout=output, stderr=errors, **options)
        except CommandError as error:
            self.status, self.end = error.returncode, str(error)
        self.output, self.errors = output.getvalue(), errors.getvalue()

    @property
    def json(self):
        return json.loads(self.output)


def make(tenant):
    return backups.create(tenant, COMMAND).backup


def turn_on(tenant, **fields):
    defaults = {"automatic": True, "scheduled_since": timezone.now() - 400 * DAY} | fields
    return BackupSettings.objects.update_or_create(tenant_id=tenant.id, defaults=defaults)[0]


def fail(tenant, error="The disk is full.", **fields):
    return Backup.objects.create(
        tenant_id=tenant.id, status="failed", trigger="automatic", error=error, **fields
    )


def test_all_is_well(tenant):
    make(tenant)
    turn_on(tenant)
    answer = Answer()
    assert (answer.status, answer.output, answer.errors) == (0, "1 tenant is well.\n", "")
    every = Answer("-v", "2")
    assert every.errors == ""
    assert re.fullmatch(
        r"1 tenant is well\. \(times in UTC\)\n"
        rf"acme: all well\. The last good backup is from {TIME}\.\n",
        every.output,
    )


def test_begins_with_how_many_are_well_and_shows_only_those_who_are_not(add_tenant):
    for name in ("acme", "globex", "initech", "umbrella"):
        make(add_tenant(name))
    turn_on(Tenants.tenants[3])
    fail(Tenants.tenants[1])
    fail(Tenants.tenants[2])
    answer = Answer()
    first, *others = answer.errors.splitlines()
    assert first == "1 of 4 well; 2 need you; 1 is backed up by hand only (times in UTC):"
    assert [line.split(":")[0] for line in others] == ["globex", "initech"]
    assert answer.output == "All tenants: -v 2\n"
    assert (answer.status, answer.end) == (
        1,
        "1 of 4 well; 2 need you; 1 is backed up by hand only.",
    )
    every = Answer("-v", "2")
    assert every.errors.splitlines()[0] == first
    assert [line.split(":")[0] for line in every.output.splitlines()] == ["acme", "umbrella"]


def test_without_tenants_there_is_nothing_to_complain_of():
    answer = Answer()
    assert (answer.status, answer.output) == (0, "There is no tenant to check.\n")
    assert answer.errors == ""


NO_BACKUP_YET = "0 of 1 well; 1 has no backup yet.\nAll tenants: -v 2\n"


def test_a_tenant_that_nobody_wants_backed_up_is_no_alarm_but_is_said(tenant):
    answer = Answer()
    assert (answer.status, answer.output) == (0, NO_BACKUP_YET)
    assert "acme: no backup yet. There is no good backup.\n" in Answer("-v", "2").output


def test_a_new_tenant(tenant):
    turn_on(tenant, scheduled_since=timezone.now())
    assert Answer().output == NO_BACKUP_YET


def test_a_failed_one(tenant):
    make(tenant)
    fail(tenant, f"The database {tenant.database} does not exist.")
    answer = Answer()
    assert (answer.status, answer.output) == (1, "")
    assert re.fullmatch(
        r"0 of 1 well; 1 needs you \(times in UTC\):\n"
        rf"acme: failed\. The last attempt, at {TIME}, failed\. "
        rf"The database {tenant.database} does not exist\. "
        rf"The last good backup is from {TIME}\.\n",
        answer.errors,
    )
    assert answer.end == "0 of 1 well; 1 needs you."


def test_an_overdue_one(tenant):
    turn_on(tenant)
    answer = Answer()
    assert answer.status == 1
    assert re.fullmatch(
        r"0 of 1 well; 1 needs you \(times in UTC\):\n"
        rf"acme: overdue\. A backup was due at {TIME}, and none has succeeded since\. "
        r"There is no good backup\.\n",
        answer.errors,
    )


def test_a_file_that_was_removed_by_hand_is_found_at_once(tenant):
    make(tenant)
    gone = make(tenant)
    backups.directory_of(tenant).file(gone.file_name).unlink()
    answer = Answer()
    assert answer.status == 1
    assert "damaged. The file of 1 backup is missing or damaged. The last good" in answer.errors
    assert Answer().status == 1
    Backup.objects.filter(pk=gone.pk).delete()
    assert Answer().status == 0


def test_a_file_that_was_found_damaged(tenant):
    make(tenant)
    damaged = make(tenant)
    Backup.objects.filter(pk=damaged.pk).update(damaged_at=timezone.now())
    answer = Answer()
    assert answer.status == 1
    assert "The file of 1 backup is missing or damaged." in answer.errors


def test_a_whole_directory_that_is_away_and_comes_back(tenant):
    make(tenant)
    directory = backups.directory_of(tenant).path
    directory.rename(tenant.root / "elsewhere")
    answer = Answer("--json")
    assert answer.status == 1
    [error] = answer.json["errors"]
    assert error["message"].startswith(
        f"The backup directory is not there, or out of reach: {directory} The last good backup is"
    )
    assert answer.json["tenants"][0]["problems"] == ["missing"]
    (tenant.root / "elsewhere").rename(directory)
    assert Answer().status == 0
    assert Backup.objects.good().count() == 1


def test_a_root_that_may_not_be_entered(open_folder, monkeypatch):
    tenant = tenant_in(open_folder / "acme")
    monkeypatch.setattr(Tenants, "tenants", [tenant])
    make(tenant)
    tenant.root.chmod(0)
    with without_privileges():
        answer = Answer()
    tenant.root.chmod(0o700)
    assert answer.status == 1
    assert "acme: backups missing or damaged. " in answer.errors
    assert Backup.objects.good().count() == 1


def test_several_findings_the_gravest_first(tenant):
    turn_on(tenant)
    Backup.objects.create(
        tenant_id="acme",
        status="complete",
        trigger="manual",
        created_at=timezone.now() - 90 * DAY,
        file_name="gone.sqlite3",
        missing_at=timezone.now(),
    )
    fail(tenant, created_at=timezone.now() - 60 * DAY)
    answer = Answer("--json")
    assert answer.json["tenants"][0]["problems"] == ["overdue", "failed", "missing"]
    [error] = answer.json["errors"]
    assert re.fullmatch(
        rf"A backup was due at {TIME_AND_ZONE}, and none has succeeded since\. "
        rf"The last attempt, at {TIME_AND_ZONE}, failed\. The disk is full\. "
        r"The file of 1 backup is missing or damaged\. There is no good backup\.",
        error["message"],
    )


def test_json_of_one_that_is_well_and_one_that_is_not(add_tenant):
    well, ill = add_tenant("acme"), add_tenant("globex")
    good = make(well)
    row = turn_on(well, next_run_at=timezone.now() + DAY)
    fail(ill, "The disk is full.")
    answer = Answer("--json")
    assert (answer.status, answer.end) == (1, "1 of 2 well; 1 needs you.")
    assert set(answer.json) == {"ok", "backups", "errors", "tenants", "automation"}
    assert answer.json["ok"] is False
    assert answer.json["backups"] == []
    acme, globex = answer.json["tenants"]
    assert 0 <= acme.pop("last_success_age") < 60
    assert acme == {
        "id": "acme",
        "automatic": True,
        "problems": [],
        "verdict": "well",
        "last_good_at": f"{good.created_at:%Y-%m-%dT%H:%M:%SZ}",
        "last_success_at": f"{good.finished_at:%Y-%m-%dT%H:%M:%SZ}",
        "alarm_since": None,
        "alarm_age": None,
        "next_run_at": f"{row.next_run_at:%Y-%m-%dT%H:%M:%SZ}",
    }
    assert 0 <= globex.pop("alarm_age") < 60
    assert re.fullmatch(SECOND, globex.pop("alarm_since"))
    assert globex == {
        "id": "globex",
        "automatic": False,
        "problems": ["failed"],
        "verdict": "failed",
        "last_good_at": None,
        "last_success_at": None,
        "last_success_age": None,
        "next_run_at": None,
    }
    [error] = answer.json["errors"]
    assert set(error) == {"tenant", "message"}
    assert error["tenant"] == "globex"
    assert "failed. The disk is full. There is no good backup." in error["message"]


def test_json_says_since_when_it_is_wrong(tenant):
    """From the first failure on, the first loss, or the moment at which it was overdue."""
    now = timezone.now()
    make(tenant)
    Backup.objects.update(
        created_at=now - 9 * DAY, finished_at=now - 9 * DAY, missing_at=None, damaged_at=None
    )

    def alarm():
        [facts] = Answer("--json").json["tenants"]
        assert facts["last_success_age"] // 86400 == 9
        return facts["verdict"], facts["alarm_age"] and facts["alarm_age"] // 86400

    assert alarm() == ("off", None)
    for days in (1, 3, 2):
        Backup.objects.create(
            tenant_id="acme",
            status="complete",
            trigger="command",
            created_at=now - 20 * DAY,
            missing_at=now - days * DAY,
        )
    assert alarm() == ("missing", 3)
    fail(tenant, created_at=now - 12 * DAY)
    for days in (4, 6, 5):
        fail(tenant, created_at=now - days * DAY)
    assert alarm() == ("failed", 6)
    row = turn_on(tenant)
    at = overdue_at(row.rule, tenant.id, tenant.zone, now - 9 * DAY)
    [facts] = Answer("--json").json["tenants"]
    assert (facts["verdict"], facts["alarm_since"]) == ("overdue", f"{at:%Y-%m-%dT%H:%M:%SZ}")


def test_json_says_how_automation_stands():
    assert Answer("--json").json["automation"]["state"] == "running"
    automation.pause("ada")
    facts = Answer("--json").json["automation"]
    assert (facts["state"], facts["paused_by"]) == ("paused", "ada")
    for name in ("last_tick_at", "paused_at"):
        assert re.fullmatch(SECOND, facts[name])


def test_the_line_of_cron_is_quiet_where_all_is_well(tenant):
    """Cron mails whatever is printed."""
    text = (REPOSITORY / "docs" / "automation.md").read_text()
    [line] = re.findall(r"manage\.py (checkbackups .*)", text)
    name, *options = line.split()
    assert (name, options) == ("checkbackups", ["-v", "0", "--notify"])
    make(tenant)
    BackupSettings.objects.ensure(["acme", "away"])
    automation.pause("ada")
    answer = Answer(*options)
    assert (answer.status, answer.output, answer.errors) == (0, "", "")
    fail(tenant)
    answer = Answer(*options)
    assert (answer.status, answer.output) == (1, "")
    outcome, finding = answer.errors.splitlines()
    assert outcome == "0 of 1 well; 1 needs you (times in UTC):"
    assert finding.startswith("acme: failed. The last attempt")


def test_json_where_all_is_well(tenant):
    make(tenant)
    answer = Answer("--json")
    assert (answer.status, answer.errors) == (0, "")
    assert answer.json["ok"] is True
    assert answer.json["errors"] == []
    assert re.fullmatch(SECOND, answer.json["tenants"][0]["last_good_at"])


@pytest.mark.parametrize("arguments", [["--json"], ["--verbosity", "0"]])
def test_no_line_about_one_that_is_well_where_none_is_wanted(tenant, arguments):
    answer = Answer(*arguments)
    assert "acme: " not in answer.output
    assert answer.errors == ""


def test_only_the_named_tenants_once_each(add_tenant):
    for name in ("acme", "acme2", "globex"):
        fail(add_tenant(name))
    answer = Answer("acme2", "acme2", "--json")
    assert [tenant["id"] for tenant in answer.json["tenants"]] == ["acme2"]
    assert answer.end == "0 of 1 well; 1 needs you."


def test_an_unknown_tenant_is_a_usage_error(add_tenant):
    add_tenant("acme")
    answer = Answer("acme", "acm")
    assert (answer.status, answer.output) == (2, "")
    assert answer.end == "There is no tenant acm. Nothing was done. Did you mean acme?"


def test_one_that_is_not_valid_hides_no_other(add_tenant):
    for name in ("acme", "globex", "initech"):
        add_tenant(name)
    Tenants.tenants[0] = replace(Tenants.tenants[0], time_zone="Mars/Base")
    fail(Tenants.tenants[2])
    answer = Answer()
    assert answer.status == 1
    assert answer.output == "All tenants: -v 2\n"
    _, first, second = answer.errors.splitlines()
    assert first == ("acme: not valid. The time zone 'Mars/Base' of tenant 'acme' is not known.")
    assert second.startswith("initech: failed. The last attempt")
    assert answer.end == "0 of 3 well; 2 need you; 1 has no backup yet."


def test_one_that_cannot_be_looked_at_hides_no_other(add_tenant, monkeypatch):
    for name in ("acme", "globex"):
        turn_on(add_tenant(name), scheduled_since=timezone.now())
    look = backups.check_files

    def fail_to_look(tenant):
        if tenant.id == "acme":
            raise OSError("Stale file handle")
        return look(tenant)

    monkeypatch.setattr(backups, "check_files", fail_to_look)
    answer = Answer("-v", "2")
    assert answer.status == 1
    assert answer.errors == (
        "0 of 2 well; 1 needs you; 1 has no backup yet (times in UTC):\n"
        "acme: failed. OSError: Stale file handle\n"
    )
    assert answer.output == "globex: no backup yet. There is no good backup.\n"


def test_with_nothing_but_backups_dated_in_the_future_it_says_so(tenant, monkeypatch):
    real = timezone.now
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: real() + 365 * DAY)
        ahead = make(tenant)
    answer = Answer()
    assert answer.status == 1
    assert re.fullmatch(
        r"0 of 1 well; 1 needs you \(times in UTC\):\n"
        r"acme: only backups dated in the future\. All good backups are dated in the future, the "
        rf"newest {DATE}\. The clock was wrong when they were made, so none of them counts\. "
        r"There is no good backup\.\n",
        answer.errors,
    )
    assert Backup.objects.get(pk=ahead.pk).future_at is not None
    # Also when its time has come.
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: real() + 800 * DAY)
        assert "dated in the future" in Answer().errors
    make(tenant)
    assert Answer().status == 0


def test_one_whose_size_has_changed_is_a_finding(tenant):
    turn_on(tenant, automatic=False)
    backup = make(tenant)
    os.truncate(backups.directory_of(tenant).file(backup.file_name), 0)
    answer = Answer()
    assert answer.status == 1
    assert "The file of 1 backup is missing or damaged." in answer.errors


def test_names_cannot_steer_the_terminal(add_tenant):
    fail(add_tenant("a\x1b[31mcme", folder="a"), "It is \x1b[2Jall well.")
    add_tenant("b\nall well", folder="b")
    answer = Answer("-v", "2")
    assert r"'a\x1b[31mcme': failed. " in answer.errors
    assert r"'b\nall well': no backup yet." in answer.output
    assert "\x1b[31m" not in answer.errors + answer.output


def test_a_provider_that_fails_is_said(tenant, monkeypatch):
    def give_up(self):
        raise LookupError("no list of tenants today")

    monkeypatch.setattr(Tenants, "all_tenants", give_up)
    answer = Answer("--json")
    message = "The tenant provider failed: LookupError: no list of tenants today"
    assert (answer.status, answer.end) == (1, message)
    assert answer.json == {
        "ok": False,
        "backups": [],
        "errors": [{"tenant": "", "message": message}],
        "tenants": [],
    }


def test_new_tenants_get_their_settings(add_tenant):
    add_tenant("acme")
    Answer()
    assert BackupSettings.objects.get().tenant_id == "acme"


class TestAutomation:
    @pytest.fixture
    def wanting(self, tenant):
        """A tenant that is well and waits for its next slot."""
        make(tenant)
        turn_on(tenant)
        return tenant

    def stall(self):
        long_ago = timezone.now() - timedelta(minutes=4)
        Automation.objects.update(last_tick_at=long_ago)
        return long_ago

    def test_stalled(self, wanting):
        at = self.stall()
        answer = Answer()
        assert answer.status == 1
        outcome, why = answer.errors.splitlines()
        assert (
            outcome == "0 of 1 well; automation needs you; 1 waits for automation (times in UTC):"
        )
        at = date_format(timezone.localtime(at), "DATETIME_FORMAT")
        assert why.startswith(
            f"Automation is stalled: last seen at {at} (4\xa0minutes ago). Start a cluster ("
        )
        assert answer.end == "0 of 1 well; automation needs you; 1 waits for automation."

    def test_stalled_to_programs(self, wanting):
        self.stall()
        answer = Answer("--json")
        [error] = answer.json["errors"]
        assert error["tenant"] == ""
        assert error["message"].startswith("Automation is stalled: last seen at ")
        assert answer.json["ok"] is False
        assert answer.json["tenants"][0]["problems"] == []

    def test_not_set_up(self, wanting):
        Schedule.objects.all().delete()
        answer = Answer()
        assert answer.status == 1
        assert "\nAutomation is not set up. Set it up: " in answer.errors

    @pytest.mark.parametrize("named", [[], ["acme"]])
    def test_it_is_looked_at_whoever_is_named(self, wanting, named):
        self.stall()
        assert Answer(*named).status == 1

    def test_where_nobody_wants_it_that_is_no_trouble(self, tenant):
        self.stall()
        assert Answer().status == 0
        Schedule.objects.all().delete()
        assert Answer().status == 0

    def test_a_pause_is_somebodys_will(self, wanting):
        automation.pause("ada")
        answer = Answer()
        assert (answer.status, answer.errors) == (0, "")

    def test_but_whoever_it_keeps_waiting_too_long_is_overdue(self, wanting):
        automation.pause("ada")
        Backup.objects.update(created_at=timezone.now() - 2 * DAY)
        answer = Answer()
        assert answer.status == 1
        assert "acme: overdue. A backup was due at" in answer.errors


class TestNotify:
    @pytest.fixture(autouse=True)
    def operator(self, settings):
        address = "operator@example.com"
        settings.ADMINS = [address] if django.VERSION >= (6, 0) else [("Olga", address)]

    def test_mails_what_has_changed_once(self, tenant, mailoutbox):
        fail(tenant)
        for _ in range(2):
            assert Answer("--notify").status == 1
        assert [mail.subject for mail in mailoutbox] == ["[Django] Backups: 1 tenant failed"]

    def test_without_it_nothing_is_mailed(self, tenant, mailoutbox):
        fail(tenant)
        Answer()
        assert mailoutbox == []
        assert TenantState.objects.of(tenant.id).noted == Verdict.WELL

    def test_of_all_tenants_whoever_is_named(self, add_tenant, mailoutbox):
        add_tenant("acme")
        fail(add_tenant("globex"))
        BackupSettings.objects.ensure(["acme", "globex"])
        assert Answer("acme", "--notify").status == 0
        assert "globex (Globex): failed" in mailoutbox[0].body

    def test_files_that_it_found_missing_itself_are_told_a_moment_later(self, tenant, mailoutbox):
        make(tenant)
        gone = make(tenant)
        backups.directory_of(tenant).file(gone.file_name).unlink()
        assert Answer("--notify").status == 1
        assert mailoutbox == []
        Backup.objects.filter(pk=gone.pk).update(missing_at=timezone.now() - timedelta(minutes=1))
        Answer("--notify")
        assert [mail.subject for mail in mailoutbox] == [
            "[Django] Backups: backups of 1 tenant missing or damaged"
        ]

    def test_a_mail_that_fails_changes_neither_answer_nor_status(self, tenant, settings):
        send_mail_by(settings, "no.such.Backend")
        make(tenant)
        assert Answer("--notify").status == 0
        fail(tenant)
        answer = Answer("--notify", "--json")
        assert answer.status == 1
        assert answer.json["tenants"][0]["problems"] == ["failed"]


class TestAsARealProcess:
    """The exit status, which is what a monitoring system goes by."""

    def test_zero_one_and_two(self, host):
        root = host.add_tenant("acme")
        assert host.run("runbackup").returncode == 0
        well = host.run("checkbackups")
        assert (well.returncode, well.stderr) == (0, "")
        assert well.stdout.startswith("0 of 1 well; 1 is backed up by hand only.\n")
        next((root / "backups").glob("*.sqlite3")).unlink()
        ill = host.run("checkbackups", "--json")
        assert ill.returncode == 1
        assert json.loads(ill.stdout)["tenants"][0]["problems"] == ["missing"]
        assert host.run("checkbackups", "nobody").returncode == 2
        assert host.run("checkbackups", "--nonsense").returncode == 2

    def test_an_id_that_is_no_text_hides_no_other(self, host):
        host.add_tenant("acme")
        (host.tenants / os.fsdecode(b"caf\xe9")).mkdir()
        run = host.run("checkbackups", "--json")
        assert run.returncode == 1
        [error] = json.loads(run.stdout)["errors"]
        assert "is no valid text" in error["message"]
        assert [tenant["id"] for tenant in json.loads(run.stdout)["tenants"]] == ["acme"]

    def test_without_a_catalog_it_is_said_what_to_do(self, host):
        host.add_tenant("acme")
        (host.directory / "control.sqlite3").unlink()
        run = host.run("checkbackups", "--json")
        assert run.returncode == 1
        assert "Has manage.py migrate been run?" in run.stderr
        assert json.loads(run.stdout)["ok"] is False
