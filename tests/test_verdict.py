"""The verdict on a tenant: what decides it, and that every surface shows the same one."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import product
from pathlib import Path

import django
import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from tenant_backup import automation, backups, monitoring
from tenant_backup.exceptions import BackupError
from tenant_backup.files import SPACE_MARGIN, BackupDirectory
from tenant_backup.models import Automation, Backup, BackupSettings, RowLoss, TenantState, Verdict
from tenant_backup.monitoring import absence, disk_space
from tenant_backup.monitoring.verdict import Facts, Finding, judge
from tenant_backup.tenants import Tenant
from tests.tenancy import Tenants

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MB = 1024 * 1024
YES_NO = [True, False]
ACME = Tenant("acme", "Acme", Path("/srv/acme"), Path("/srv/acme/db.sqlite3"))


def facts(present=(), *, automatic=True, runs=True, **more):
    """Facts of a tenant that is well, but for what is present."""
    settings = BackupSettings(tenant_id="acme", automatic=automatic, scheduled_since=NOW - 9 * DAY)
    settings.last_good_at = NOW - HOUR
    settings.last_failed_at = settings.last_future_at = None
    settings.last_error = settings.last_error_data = ""
    settings.missing = 0
    state = TenantState(tenant_id="acme")
    if Verdict.NO_BACKUP in present:
        settings.last_good_at = None
        settings.scheduled_since = NOW
    if Verdict.NO_ROOM in present:
        state.no_room_since, state.needed_bytes, state.free_bytes = NOW, 40 * MB, 2 * MB
    losses = []
    if Verdict.ROWS_LOST in present:
        losses = [RowLoss(table="crm_contract", rows_before=3600, rows_now=0, before_at=NOW - DAY)]
    if Verdict.MISSING in present:
        settings.missing = 1
    if Verdict.FUTURE in present:
        settings.last_good_at, settings.last_future_at = None, NOW + 9 * DAY
        settings.scheduled_since = NOW
    if Verdict.OVERDUE in present:
        settings.scheduled_since = NOW - 9 * DAY
        settings.last_good_at = settings.last_good_at and NOW - 9 * DAY
    if Verdict.FAILED in present:
        settings.last_failed_at, settings.last_error = NOW - HOUR / 2, "The disk is gone."
    gone = {Verdict.DISAPPEARED, Verdict.UNLISTED, Verdict.RETIRED, Verdict.INVALID} & set(present)
    if Verdict.RETIRED in present:
        state.retired_at = NOW
    return Facts(
        tenant_id="acme",
        tenant=None if gone else ACME,
        settings=settings,
        state=state,
        now=NOW,
        automation_runs=runs and Verdict.STOPPED not in present,
        finding=next(
            (
                Finding(verdict, "It is gone, or not valid.")
                for verdict in (Verdict.INVALID, Verdict.DISAPPEARED)
                if verdict in present
            ),
            None,
        ),
        losses=losses,
        **more,
    )


FINDINGS = [verdict for verdict in Verdict if verdict.needs_attention]
OF_BACKUPS = [verdict for verdict in FINDINGS if verdict < Verdict.DISAPPEARED]


def test_the_gravest_finding_decides_and_all_are_listed():
    for chosen in product(YES_NO, repeat=len(OF_BACKUPS)):
        present = [
            verdict for verdict, is_there in zip(OF_BACKUPS, chosen, strict=True) if is_there
        ]
        judgement = judge(facts(present))
        assert [finding.verdict for finding in judgement.findings] == present[::-1]
        assert judgement.verdict is (present[-1] if present else Verdict.WELL)
        assert judgement.headline == judgement.verdict.sentence
    for verdict in (Verdict.INVALID, Verdict.DISAPPEARED):
        judgement = judge(facts([verdict, *OF_BACKUPS]))
        assert [finding.verdict for finding in judgement.findings] == [verdict]


def test_without_findings():
    for present, options, verdict in [
        ([], {}, Verdict.WELL),
        ([], {"runs": False}, Verdict.STOPPED),
        ([], {"automatic": False}, Verdict.OFF),
        ([], {"automatic": False, "runs": False}, Verdict.OFF),
        ([Verdict.NO_BACKUP], {}, Verdict.NO_BACKUP),
        ([Verdict.NO_BACKUP], {"automatic": False, "runs": False}, Verdict.NO_BACKUP),
        ([Verdict.NO_BACKUP, Verdict.NO_ROOM], {}, Verdict.NO_ROOM),
        ([Verdict.UNLISTED], {}, Verdict.UNLISTED),
        ([Verdict.RETIRED], {}, Verdict.RETIRED),
    ]:
        judgement = judge(facts(present, **options))
        assert judgement.verdict is verdict
        assert bool(judgement.findings) is verdict.needs_attention


def test_a_backup_under_way_is_not_overdue_but_may_have_failed_before():
    present = [Verdict.FAILED, Verdict.OVERDUE]
    assert judge(facts(present, is_under_way=True)).verdict is Verdict.FAILED


def test_each_verdict_has_a_tone_a_label_and_a_sentence():
    tones = {verdict.name: verdict.tone for verdict in Verdict}
    assert tones == {
        **dict.fromkeys(["RETIRED", "UNLISTED", "OFF"], "neutral"),
        "WELL": "good",
        **dict.fromkeys(["STOPPED", "NO_BACKUP"], "warning"),
        **dict.fromkeys([verdict.name for verdict in FINDINGS], "error"),
    }
    for values in (Verdict.labels, [verdict.sentence for verdict in Verdict]):
        assert len({str(value) for value in values}) == len(Verdict)


class HostNames(Tenants):
    """The host name's first label is the tenant; superusers may do anything."""

    def tenant_for_request(self, request):
        return self.get_tenant(request.get_host().split(".")[0])

    def has_permission(self, request, tenant, action):
        return request.user.is_superuser


class Surfaces:
    """What each surface shows of every tenant at this moment: a verdict by the tenant's id."""

    def __init__(self):
        self.labels = {str(verdict.label): verdict for verdict in Verdict}
        self.sentences = {verdict.sentence: verdict for verdict in Verdict}

    def page(self, tenant_ids):
        user, _ = User.objects.get_or_create(username="operator", is_superuser=True)
        shown = {}
        for tenant_id in tenant_ids:
            client = Client(headers={"host": f"{tenant_id}.example.com"})
            client.force_login(user)
            page = client.get("/settings/admin/backup").content.decode()
            sentence = re.search(r'class="answer">(.*?)</h2>', page, re.DOTALL)[1].strip()
            tone = re.search(r'class="module headline (\w+)"', page)[1]
            shown[tenant_id] = self.sentences[sentence]
            assert tone == shown[tenant_id].tone
        return shown

    def checkbackups(self, *tenant_ids):
        output, errors = StringIO(), StringIO()
        with pytest.raises(CommandError):
            call_command("checkbackups", *tenant_ids, verbosity=2, stdout=output, stderr=errors)
        lines = re.findall(r"^(\w+): (.*?)\. ", output.getvalue() + errors.getvalue(), re.M)
        return {name: self.labels[label] for name, label in lines}

    def json(self):
        output = StringIO()
        with pytest.raises(CommandError):
            call_command("checkbackups", "--json", stdout=output, stderr=StringIO())
        answer = json.loads(output.getvalue())
        wrong = {error["tenant"] for error in answer["errors"]}
        shown = {each["id"]: Verdict[each["verdict"].upper()] for each in answer["tenants"]}
        assert {name for name in shown if shown[name].needs_attention} == wrong - {""}
        for each in answer["tenants"]:
            assert (each["problems"][:1] == [each["verdict"]]) is (each["id"] in wrong)
        return shown

    def admin(self):
        client = Client()
        user, _ = User.objects.get_or_create(username="root", is_superuser=True, is_staff=True)
        client.force_login(user)
        url = reverse("admin:tenant_backup_backupsettings_changelist")
        shown = {}
        for number in (1, 2, 3, 4):
            page = client.get(f"{url}?p={number}").content.decode()
            for row in re.findall(r"<tr>(.*?)</tr>", page.split('id="result_list"')[1], re.DOTALL):
                cells = dict(re.findall(r'class="field-(\w+).*?>(.*?)</t[dh]>', row, re.DOTALL))
                if "state" not in cells:
                    continue
                name = strip_tags(cells["tenant"]).split()[-1].lower()
                # The reason and a button may follow.
                [light] = re.findall(r'<span class="backup-light .*?</span> .*?</span>', row)
                shown[name] = self.labels[strip_tags(light)[2:]]
                assert f"backup-light-{shown[name].tone}" in cells["state"]
        return shown

    def mail(self):
        """Those in need of somebody alone: of the others no mail tells."""
        TenantState.objects.update(notified=Verdict.WELL, notified_at=None, missing_notified=0)
        TenantState.objects.update(failure_notified_at=None, absence_notified_at=None)
        Automation.objects.update(notified_at=None)
        mail.outbox.clear()
        automation.notify()
        headings = re.findall(r"^(\w+)(?: \(\w+\))?: ([^,\n]*)", mail.outbox[0].body, re.M)
        return {name: self.labels[label] for name, label in headings if label in self.labels}


def expected_of(automatic, good, failed, missing, future, lost, no_room, under_way, *, is_running):
    """The first that is the case, from the gravest on."""
    order = {
        Verdict.OVERDUE: automatic and good == "old" and not under_way,
        Verdict.FAILED: failed,
        Verdict.FUTURE: future and good == "never",
        Verdict.MISSING: missing,
        Verdict.ROWS_LOST: lost,
        Verdict.NO_ROOM: no_room,
        Verdict.NO_BACKUP: good == "never",
        Verdict.STOPPED: automatic and not is_running,
        Verdict.OFF: not automatic,
        Verdict.WELL: True,
    }
    return next(verdict for verdict, is_the_case in order.items() if is_the_case)


def loss_of(tenant_id, now):
    return RowLoss(
        tenant_id=tenant_id,
        table="crm_contract",
        rows_before=3600,
        rows_now=0,
        least_before=3600,
        before_at=now - DAY,
        after_at=now - HOUR,
    )


@pytest.mark.django_db(transaction=True)
def test_all_surfaces_agree_for_every_combination_of_facts(add_tenant, settings, monkeypatch):
    address = "operator@example.com"
    settings.ADMINS = [address] if django.VERSION >= (6, 0) else [("Olga", address)]
    settings.ALLOWED_HOSTS = [".example.com", "testserver"]
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": "tests.test_verdict.HostNames"}
    monkeypatch.setattr(backups, "check_files", lambda tenant: [])
    monkeypatch.setattr(backups, "database_bytes", lambda tenant: 4096)
    full = set()
    monkeypatch.setattr(
        BackupDirectory, "free_bytes", lambda self: 0 if self.root in full else SPACE_MARGIN * 99
    )
    now = timezone.now()
    rows, losses = [], []

    def add(tenant_id, status="complete", **fields):
        rows.append(Backup(tenant_id=tenant_id, status=status, trigger="automatic", **fields))

    combinations = list(product(YES_NO, ["never", "recent", "old"], *[YES_NO] * 6))
    facts_of = {}
    for number, combination in enumerate(combinations):
        automatic, good, failed, missing, future, lost, no_room, under_way = combination
        tenant = add_tenant(f"t{number:03}", database=False)
        facts_of[tenant.id] = combination
        backups.directory_of(tenant).make()
        since = now if good == "never" else now - 20 * DAY
        BackupSettings.objects.create(
            tenant_id=tenant.id, automatic=automatic, scheduled_since=since
        )
        if good != "never":
            add(tenant.id, created_at=now - (9 * DAY if good == "old" else 2 * HOUR))
        if failed:
            add(tenant.id, "failed", created_at=now - HOUR, error="Why.")
        if missing:
            add(tenant.id, created_at=now - 3 * DAY, missing_at=now - HOUR)
        if future:
            add(tenant.id, created_at=now + 9 * DAY)
        if under_way:
            add(tenant.id, "queued", created_at=now)
        if lost:
            losses.append(loss_of(tenant.id, now))
        if no_room:
            full.add(tenant.root)
    for tenant in (add_tenant("zone", database=False), add_tenant("root", database=False)):
        bad = {"time_zone": "Mars/Base"} if tenant.id == "zone" else {"root": Path("acme")}
        Tenants.tenants[Tenants.tenants.index(tenant)] = replace(tenant, **bad)
    for name in ("zone", "root", "gone", "away", "retired"):
        BackupSettings.objects.create(tenant_id=name)
        add(name, created_at=now - DAY)
    Backup.objects.bulk_create(rows)
    RowLoss.objects.bulk_create(losses)
    absence.note({each.id for each in Tenants.tenants} | {"away"}, now - 2 * DAY)
    absence.note({each.id for each in Tenants.tenants}, now)
    absence.retire(["retired"])
    others = {
        "zone": Verdict.INVALID,
        "root": Verdict.INVALID,
        "gone": Verdict.DISAPPEARED,
        "away": Verdict.UNLISTED,
        "retired": Verdict.RETIRED,
    }

    automation.set_up()
    Automation.load()
    surfaces = Surfaces()
    seen = set()
    for is_running in (True, False):
        Automation.objects.update(last_tick_at=timezone.now() - HOUR * (not is_running))
        shown = surfaces.json()
        assert {name: shown[name] for name in others} == others
        for name, combination in facts_of.items():
            expected = expected_of(*combination, is_running=is_running)
            assert shown[name] is expected, combination
        assert surfaces.admin() == shown
        attention = {name: each for name, each in shown.items() if each.needs_attention}
        assert surfaces.mail() == attention
        # The page judges by the same function as `checkbackups`, and so do its lines and its JSON:
        # an example of each verdict is looked at.
        examples = {verdict: name for name, verdict in shown.items() if name in facts_of}
        expected = {name: shown[name] for name in examples.values()}
        assert surfaces.page(expected) == expected
        assert surfaces.checkbackups(*expected) == expected
        seen |= set(shown.values())
    automation.pause("ada")
    assert surfaces.admin() == shown
    assert seen == set(Verdict)


@pytest.mark.django_db(transaction=True)
def test_all_surfaces_agree_on_what_was_interrupted_or_makes_no_sense(add_tenant, settings):
    settings.ADMINS = ["o@example.com"] if django.VERSION >= (6, 0) else [("O", "o@example.com")]
    settings.ALLOWED_HOSTS = [".example.com", "testserver"]
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": "tests.test_verdict.HostNames"}
    for name in ("interrupted", "nonsense"):
        add_tenant(name)
        BackupSettings.objects.create(tenant_id=name, automatic=name == "nonsense")
    BackupSettings.objects.filter(tenant_id="nonsense").update(interval="yearly")
    begun_at = timezone.now() - HOUR
    Backup.objects.create(
        tenant_id="interrupted",
        status="running",
        trigger="manual",
        created_at=begun_at,
        started_at=begun_at,
        file_name="interrupted-1.sqlite3",
    )
    expected = {"interrupted": Verdict.FAILED, "nonsense": Verdict.INVALID}
    surfaces = Surfaces()
    assert surfaces.json() == surfaces.checkbackups() == surfaces.admin() == expected
    assert surfaces.page(expected) == expected
    # Nobody is mailed before the tick has recovered what was interrupted.
    assert surfaces.mail() == {"nonsense": Verdict.INVALID}
    backups.recover_running(Tenants.tenants[0])
    assert surfaces.mail() == surfaces.json() == expected


@pytest.mark.django_db(transaction=True)
class TestRoom:
    """That a disk is full is noted by whoever looks, for those who judge by the catalog alone."""

    @pytest.fixture
    def full(self, monkeypatch):
        disk = {"free": 0}
        monkeypatch.setattr(BackupDirectory, "free_bytes", lambda self: disk["free"])
        return disk

    def verdict(self, tenant, now=None):
        now = now or timezone.now()
        [judgement] = monitoring.judge_all([tenant], now, automation_runs=True)
        return judgement.verdict

    def test_an_attempt_notes_it(self, tenant, full):
        BackupSettings.objects.create(tenant_id=tenant.id)
        with pytest.raises(BackupError):
            backups.create(tenant, backups.BackupRequest(trigger="command"))
        state = TenantState.objects.get()
        assert state.free_bytes == 0
        assert state.needed_bytes > SPACE_MARGIN
        [judgement] = monitoring.judge_all([tenant], timezone.now(), automation_runs=True)
        assert [finding.verdict for finding in judgement.findings] == [
            Verdict.FAILED,
            Verdict.NO_ROOM,
        ]
        assert re.fullmatch(
            r"The disk has no room for another backup: it needs 16\.\d\sMB, "
            r"and 0\sbytes are free\.",
            str(judgement.findings[1]),
        )
        full["free"] = SPACE_MARGIN * 9
        backups.create(tenant, backups.BackupRequest(trigger="command"))
        assert self.verdict(tenant) is Verdict.OFF

    def test_the_tick_looks_at_a_few_each_time_and_at_each_once_an_hour(self, add_tenant, full):
        tenants = [add_tenant(f"t{number}", database=number < 3) for number in range(30)]
        BackupSettings.objects.ensure(tenant.id for tenant in tenants)
        checked = TenantState.objects.exclude(room_checked_at=None)
        for number in (disk_space.MOST_AT_ONCE, 30, 30):
            monitoring.notify(NOW)
            assert checked.count() == number
        # Where there is no database nobody knows what is needed.
        assert TenantState.objects.exclude(no_room_since=None).count() == 3
        full["free"] = SPACE_MARGIN * 9
        monitoring.notify(NOW + HOUR / 2)
        assert TenantState.objects.exclude(no_room_since=None).count() == 3
        for _ in range(2):
            monitoring.notify(NOW + HOUR)
        assert not TenantState.objects.exclude(no_room_since=None).exists()

    def test_it_is_known_since_when(self, tenant, full):
        assert disk_space.note(tenant, NOW).no_room_since == NOW
        assert disk_space.note(tenant, NOW + HOUR).no_room_since == NOW
        full["free"] = SPACE_MARGIN * 9
        assert disk_space.note(tenant, NOW + 2 * HOUR).no_room_since is None

    def test_a_disk_that_cannot_be_looked_at_says_nothing(self, tenant, monkeypatch):
        def fail(self):
            raise OSError("Stale file handle")

        monkeypatch.setattr(BackupDirectory, "free_bytes", fail)
        BackupSettings.objects.create(tenant_id=tenant.id)
        assert disk_space.note(tenant).no_room_since is None
        assert self.verdict(tenant) is Verdict.NO_BACKUP

    def test_a_database_that_is_a_loop_of_links_says_nothing(self, tenant):
        tenant.database.unlink()
        tenant.database.symlink_to(tenant.database)
        assert monitoring.judge_tenant(tenant, automation_runs=True).verdict is Verdict.NO_BACKUP


@pytest.mark.django_db
def test_while_the_provider_fails_who_was_gone_is_still_gone():
    """Then nobody can be judged: each stands as was noted last."""
    now = timezone.now()
    for name, noted in {
        "retired": Verdict.OVERDUE,
        "gone": Verdict.INVALID,
        "away": Verdict.WELL,
        "failed": Verdict.FAILED,
        "off": Verdict.WELL,
        "new": 35,
    }.items():
        BackupSettings.objects.create(tenant_id=name)
        TenantState.objects.create(tenant_id=name, noted=noted)
    for name in ("retired", "gone", "away", "failed", "off"):
        Backup.objects.create(
            tenant_id=name, status="complete", trigger="command", created_at=now - HOUR
        )
    absence.note({"away", "failed", "off", "new"}, now - 2 * DAY)
    absence.note({"failed", "off", "new"}, now)
    absence.retire(["retired"])
    assert monitoring.verdicts_as_noted(now, automation_runs=True) == {
        "retired": Verdict.RETIRED,
        "gone": Verdict.DISAPPEARED,
        "away": Verdict.UNLISTED,
        "failed": Verdict.FAILED,
        "off": Verdict.OFF,
        "new": Verdict.NO_BACKUP,
    }


@pytest.mark.django_db(transaction=True)
class TestInvalidTenants:
    """One that is not valid is reported in the same words everywhere, and harms no other."""

    @pytest.fixture(autouse=True)
    def operators(self, settings):
        address = "operator@example.com"
        settings.ADMINS = [address] if django.VERSION >= (6, 0) else [("Olga", address)]

    @pytest.mark.parametrize(
        ("bad", "words"),
        [
            (
                {"time_zone": "Mars/Base"},
                "The time zone 'Mars/Base' of tenant 'acme' is not known.",
            ),
            ({"root": Path("acme")}, "of tenant 'acme'"),
        ],
    )
    def test_in_the_same_words(self, add_tenant, client, capsys, monkeypatch, bad, words):
        monkeypatch.setattr(Tenants, "has_permission", lambda *arguments: True)
        Tenants.tenants[:] = [replace(add_tenant("acme"), **bad)]
        globex = add_tenant("globex")
        BackupSettings.objects.ensure(["acme", "globex"])
        backups.create(globex, backups.BackupRequest(trigger="command"))
        with pytest.raises(CommandError):
            call_command("checkbackups", "--json", "--notify")
        answer = json.loads(capsys.readouterr().out)
        [error] = answer["errors"]
        assert error["tenant"] == "acme"
        assert words in error["message"]
        verdicts = {each["id"]: each["verdict"] for each in answer["tenants"]}
        assert verdicts == {"acme": "invalid", "globex": "off"}
        [message] = mail.outbox
        assert message.subject == "[Django] Backups: 1 tenant not valid"
        assert f"acme (acme): not valid\n{error['message']}\n" in message.body
        # The page of one that is not valid is an error of the host's, in the same words.
        client.force_login(User.objects.create_superuser("root"))
        with pytest.raises(ImproperlyConfigured, match=re.escape(error["message"])):
            client.get("/settings/admin/backup")
        list_of_all = reverse("admin:tenant_backup_backupsettings_changelist")
        page = client.get(list_of_all).content.decode()
        for label in ("not valid", "automatic off"):
            assert page.count(f"</span> {label}</span>") == 1

    def test_several_without_a_valid_id_are_told_as_one(self, add_tenant):
        tenant = add_tenant("acme")
        Tenants.tenants[:] = [tenant, replace(tenant, id=""), replace(tenant, id=7)]
        BackupSettings.objects.ensure(["acme"])
        for _ in range(2):
            assert monitoring.notify(NOW) is False
        [message] = mail.outbox
        assert message.subject == "[Django] Backups: 1 tenant not valid"
        assert message.body.count("not valid") == 1
