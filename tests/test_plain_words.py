"""What tenants read, in every situation: no words of servers, and whom to ask.

Operators see the commands and the details beside them.
"""

import re
import shutil
from dataclasses import replace
from datetime import timedelta
from urllib.parse import unquote

import pytest
from django.template.loader import render_to_string
from django.utils import timezone
from django_q.models import Schedule

from tenant_backup import automation, backups
from tenant_backup.files import BackupDirectory
from tenant_backup.models import Automation, Backup, BackupSettings, Status, Trigger
from tests.tenancy import Tenants
from tests.test_views import PAGE, directory, make, note_tick, project, row, text_of, visit

__all__ = ["directory", "project", "visit"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)

ONLY_FOR_OPERATORS = re.compile(
    r"journal|write-ahead|\bWAL\b|prun(e|ed|ing)\b|last seen|Q_CLUSTER|manage\.py|cluster|"
    r"automatebackups|runbackup|restorebackup|\broot\b|shell",
    re.IGNORECASE,
)
ANNA = {"NAME": "Anna Ops", "EMAIL": "ops@example.com", "PHONE": "+49 30 901820"}
CONTACT = "the operator (Anna Ops, ops@example.com, +49 30 901820)"


def settings(**fields):
    BackupSettings.objects.update_or_create(tenant_id="acme", defaults=fields)


class Situations:
    """Each changes what `well` has made."""

    @staticmethod
    def well(tenant):
        note_tick(seconds=0)
        settings(automatic=True, keep_last=2)
        for _ in range(3):
            make(tenant)

    @staticmethod
    def none(tenant):
        Backup.objects.all().delete()

    @staticmethod
    def failed(tenant):
        row(error=f"The database {tenant.database} is locked.")

    @staticmethod
    def overdue(tenant):
        long_ago = timezone.now() - timedelta(days=40)
        settings(scheduled_since=long_ago)
        Backup.objects.update(created_at=long_ago)

    @staticmethod
    def lost(tenant):
        backups.directory_of(tenant).file(Backup.objects.good().first().file_name).unlink()

    @staticmethod
    def unreachable(tenant):
        shutil.move(tenant.root / "backups", tenant.root / "away")

    @staticmethod
    def unreadable(tenant):
        tenant.database.write_bytes(b"no database" * 1000)

    @staticmethod
    def paused(tenant):
        automation.pause("olga")

    @staticmethod
    def stalled(tenant):
        Automation.objects.update(last_tick_at=timezone.now() - timedelta(hours=30))

    @staticmethod
    def never_seen(tenant):
        Automation.objects.update(last_tick_at=None)

    @staticmethod
    def not_set_up(tenant):
        Schedule.objects.all().delete()

    @staticmethod
    def off(tenant):
        settings(automatic=False)

    @staticmethod
    def waiting(tenant):
        backup = backups.request(tenant, backups.BackupRequest(trigger=Trigger.MANUAL))
        Backup.objects.filter(pk=backup.pk).update(
            created_at=timezone.now() - timedelta(hours=1),
            error="It cannot be handed to a worker: is “sync” set in Q_CLUSTER?",
        )

    @staticmethod
    def running(tenant):
        row(status=Status.RUNNING, file_name="acme-now.sqlite3", started_at=timezone.now())

    @staticmethod
    def interrupted(tenant):
        an_hour_ago = timezone.now() - timedelta(hours=1)
        row(status=Status.RUNNING, started_at=an_hour_ago, created_at=an_hour_ago)

    @staticmethod
    def future(tenant):
        Backup.objects.update(created_at=timezone.now() + timedelta(days=300))


SITUATIONS = [name for name in vars(Situations) if not name.startswith("_")]


@pytest.fixture(params=SITUATIONS)
def situation(request, add_tenant, project, monkeypatch):
    project.TENANT_BACKUP = project.TENANT_BACKUP | {"OPERATOR": ANNA}
    tenant = add_tenant(journal_mode="delete" if request.param == "off" else "wal")
    Situations.well(tenant)
    if request.param != "well":
        getattr(Situations, request.param)(tenant)
    return request.param


@pytest.fixture
def no_room(monkeypatch):
    monkeypatch.setattr(BackupDirectory, "free_bytes", lambda self: 1000)


def pages(client):
    chosen = [backup.pk for backup in Backup.objects.deletable()]
    yield client.get(PAGE)
    yield client.get(f"{PAGE}/diagnosis")
    yield client.get(f"{PAGE}/history")
    for backup in Backup.objects.good():
        yield client.get(f"{PAGE}/contents/{backup.pk}", follow=True)
    if chosen:
        yield client.post(f"{PAGE}/delete", {"backup": chosen}, follow=True)


def test_tenants_read_no_words_of_servers(situation, visit):
    for answer in pages(visit()):
        assert answer.status_code == 200
        assert ONLY_FOR_OPERATORS.findall(text_of(answer)) == []


def test_nor_where_there_is_no_room(tenant, visit, no_room):
    Situations.none(tenant)
    note_tick(seconds=0)
    for answer in pages(visit()):
        assert ONLY_FOR_OPERATORS.findall(text_of(answer)) == []


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("paused", "python manage.py automatebackups resume"),
        ("stalled", "python manage.py qcluster"),
        ("waiting", "python manage.py automatebackups status"),
        ("not_set_up", "python manage.py automatebackups enable"),
    ],
)
def test_operators_see_what_to_run(tenant, visit, name, command):
    Situations.well(tenant)
    getattr(Situations, name)(tenant)
    for page in (PAGE, f"{PAGE}/diagnosis"):
        assert command in text_of(visit("operator").get(page))
        assert command not in text_of(visit().get(page))


def test_operators_see_the_details_of_the_diagnosis(tenant, visit):
    text = text_of(visit("operator").get(f"{PAGE}/diagnosis"))
    assert "For the operator: The journal mode is “wal”." in text
    assert f"For the operator: A file could be written in {tenant.root}." in text
    assert "For the operator:" not in text_of(visit().get(f"{PAGE}/diagnosis"))


@pytest.mark.parametrize("name", ["paused", "stalled", "waiting", "not_set_up"])
def test_where_the_operator_can_help_the_page_says_who_that_is(tenant, visit, project, name):
    Situations.well(tenant)
    getattr(Situations, name)(tenant)

    def said_of_automation():
        context = {"automation_status": automation.get_status(), "is_operator": False}
        return " ".join(render_to_string("tenant_backup/_automation.html", context).split())

    assert re.search(r"the operator[. ](?!\()", said_of_automation())
    project.TENANT_BACKUP = project.TENANT_BACKUP | {"OPERATOR": ANNA}
    assert CONTACT in said_of_automation()
    assert CONTACT in text_of(visit().get(f"{PAGE}/diagnosis"))


def headline(visit):
    page = visit().get(PAGE).content.decode()
    card = re.search(r'<section class="module headline.*?<dl', page, re.DOTALL)[0]
    return " ".join(card.split())


def test_the_headline_names_the_operator(tenant, visit, project, monkeypatch):
    project.TENANT_BACKUP = project.TENANT_BACKUP | {"OPERATOR": ANNA}
    Situations.well(tenant)
    Situations.lost(tenant)
    assert f"tell {CONTACT}." in headline(visit)
    monkeypatch.setattr(BackupDirectory, "free_bytes", lambda self: 1000)
    assert f"ask {CONTACT} for a larger disk." in headline(visit)


def test_so_do_the_settings_the_help_and_that_automation_is_not_running(tenant, visit, project):
    project.TENANT_BACKUP = project.TENANT_BACKUP | {"OPERATOR": ANNA}
    Situations.well(tenant)
    Automation.objects.update(last_tick_at=timezone.now() - timedelta(days=1))
    assert f"automation is not running. Tell {CONTACT}." in headline(visit)
    contact = CONTACT.replace("the", "The", 1)
    page = " ".join(visit().get(PAGE).content.decode().split())
    assert f"{contact} is not notified, so enter an address" in page
    assert f"{contact} can use it to bring everything back" in page
    project.ADMINS = [("Anna", "ops@example.com")]
    page = " ".join(visit().get(PAGE).content.decode().split())
    assert f"{CONTACT} is told in any case." in page


class TestHelp:
    @pytest.fixture
    def help_text(self, tenant, visit, project):
        project.TENANT_BACKUP = project.TENANT_BACKUP | {"OPERATOR": ANNA}
        page = visit().get(PAGE).content.decode()
        return re.search(r'<details id="help".*?</details>', page, re.DOTALL)[0]

    def test_is_folded_and_says_what_is_in_it(self, help_text):
        assert help_text.startswith('<details id="help" class="module words">')
        summary = re.search("<summary>.*</summary>", help_text, re.DOTALL)[0]
        assert "How to get data back, and what is in a backup" in summary
        assert help_text.index('<div id="help-text">') > help_text.index("</summary>")

    def test_how_to_get_data_back_comes_first(self, help_text):
        assert re.findall("<h3>([^<]*)</h3>", help_text)[:2] == [
            "How to get data back",
            "When something is wrong",
        ]
        assert f'href="{PAGE}/diagnosis"' in help_text

    def test_a_mail_to_the_operator_begins_with_what_it_is_about(self, help_text):
        assert CONTACT in " ".join(help_text.split())
        subject = "Data%20of%20Acme%20%28acme%29%20must%20be%20restored"
        assert f'href="mailto:ops@example.com?subject={subject}"' in help_text

    @pytest.mark.parametrize("name", ['Söhne & "Co" <x>', "A\nBcc: eve@example.com"])
    def test_a_name_cannot_break_out_of_the_mails_subject(self, add_tenant, visit, project, name):
        project.TENANT_BACKUP = project.TENANT_BACKUP | {"OPERATOR": ANNA}
        Tenants.tenants[:] = [replace(add_tenant(), name=name)]
        page = visit().get(PAGE).content.decode()
        [link] = re.findall('href="(mailto:[^"]*)"', page)
        address, subject = link.split("?subject=")
        assert address == "mailto:ops@example.com"
        assert re.fullmatch(r"[\w.~%-]+", subject)
        assert unquote(subject) == f"Data of {name} (acme) must be restored"

    def test_without_an_address_there_is_no_link(self, tenant, visit, project):
        project.TENANT_BACKUP = project.TENANT_BACKUP | {"OPERATOR": {"PHONE": "+49 30 901820"}}
        page = visit().get(PAGE)
        assert "the operator (+49 30 901820)" in text_of(page)
        assert "mailto:" not in page.content.decode()


def test_what_an_operators_contact_contains_is_text(tenant, visit, project):
    project.TENANT_BACKUP = project.TENANT_BACKUP | {"OPERATOR": {"NAME": "<b>Anna</b> & Ben"}}
    page = visit().get(PAGE).content.decode()
    assert "(&lt;b&gt;Anna&lt;/b&gt; &amp; Ben)" in page
    assert "<b>Anna" not in page
