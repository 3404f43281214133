"""Something lost?: what the page says of rows that vanished, and how somebody asks for them."""

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from tenant_backup import monitoring, rows
from tenant_backup.exceptions import BackupError
from tenant_backup.models import (
    Backup,
    BackupSettings,
    Event,
    EventKind,
    RestoreRequest,
    RowCounts,
    RowLoss,
)
from tenant_backup.views.loss import LINES
from tests.conftest import send_mail_by
from tests.test_monitoring import ADMINS
from tests.test_views import (
    MOST_BYTES,
    PAGE,
    complete_row,
    is_page,
    make,
    project,
    said,
    text_of,
    visit,
)

__all__ = ["project", "visit"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def backup(tenant):
    return make(tenant)


@pytest.fixture
def admins(settings):
    settings.ADMINS = ADMINS


def counted(backup, **tables):
    assert RowCounts.objects.filter(backup=backup).update(tables=tables)
    return backup


def asked(tenant, backup, **values):
    return rows.ask(tenant, backup, **{"note": "Where are they?", "actor": "ada", **values})


def history():
    return [
        (event.kind, event.actor, event.said)
        for event in Event.objects.filter(
            kind__in=[EventKind.ASKED, EventKind.ANSWERED, EventKind.INTENDED]
        ).order_by("pk")
    ]


class TestAsking:
    def test_holds_the_backup_until_there_is_an_answer(self, tenant, backup):
        request = asked(tenant, backup, tables=["credits"])
        assert rows.open_request("acme") == request
        assert rows.open_requests() == {"acme": request}
        backup.refresh_from_db()
        assert backup.is_held(timezone.now())
        assert "ada has asked for data from it." in backup.hold_reason
        rows.answer(tenant, request, actor="operator")
        backup.refresh_from_db()
        assert not backup.is_held(timezone.now())
        assert rows.open_request("acme") is None
        request.refresh_from_db()
        assert request.answered_by == "operator"
        assert history() == [
            (EventKind.ASKED, "ada", "Tables: credits"),
            (EventKind.ANSWERED, "operator", ""),
        ]

    def test_only_one_request_is_open(self, tenant, add_tenant, backup):
        first = asked(tenant, backup)
        with pytest.raises(BackupError, match="already been asked for"):
            asked(tenant, make(tenant))
        assert RestoreRequest.objects.get() == first
        assert len(history()) == 1
        globex = add_tenant("globex")
        assert asked(globex, make(globex))
        rows.answer(tenant, first, actor="ada", is_taken_back=True)
        assert history()[-1] == (EventKind.ANSWERED, "ada", "The request was taken back.")
        assert asked(tenant, backup)

    def test_ends_once(self, tenant, backup):
        request = asked(tenant, backup)
        rows.answer(tenant, request, actor="operator")
        with pytest.raises(BackupError, match="already been answered"):
            rows.answer(tenant, request, actor="ada", is_taken_back=True)
        request.refresh_from_db()
        assert request.answered_by == "operator"

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ({"note": ""}, "Say what is missing"),
            ({"tables": ["credits", "--no-input"]}, "has no table '--no-input'"),
            ({"tables": [f"t{number}" for number in range(101)]}, "At most 100 tables"),
        ],
    )
    @pytest.mark.parametrize("is_counted", [True, False])
    def test_what_makes_no_sense_is_refused_and_changes_nothing(
        self, tenant, backup, values, reason, is_counted
    ):
        if not is_counted:
            RowCounts.objects.all().delete()
        with pytest.raises(BackupError, match=reason):
            asked(tenant, backup, **values)
        assert not RestoreRequest.objects.exists()
        assert not history()
        backup.refresh_from_db()
        assert not backup.hold_reason

    def test_nothing_comes_back_from_a_backup_that_is_not_good(self, tenant, backup):
        Backup.objects.update(damaged_at=timezone.now())
        backup.refresh_from_db()
        with pytest.raises(BackupError, match="nothing can be brought back from it"):
            asked(tenant, backup)

    def test_the_commands_can_be_pasted_whatever_the_names_are(self, add_tenant):
        tenant = add_tenant("-acme")
        backup = make(tenant)
        with_spaces = counted(backup, **{"the 'table'; rm -rf": 1, "-x": 1})
        request = asked(tenant, with_spaces, tables=["the 'table'; rm -rf", "-x"])
        look, trial, real = rows.commands_for(request)
        assert look == f"python manage.py comparebackups -- -acme {backup.pk}"
        quoted = "'the '\"'\"'table'\"'\"'; rm -rf' -x"
        assert trial == (
            f"python manage.py restorerows --with-related --dry-run -- -acme {backup.pk} {quoted}"
        )
        assert real == trial.replace("--dry-run ", "")

    def test_without_tables_the_operator_looks_first(self, tenant, backup):
        request = asked(tenant, backup)
        assert rows.commands_for(request) == [f"python manage.py comparebackups acme {backup.pk}"]
        backup.delete()
        assert rows.commands_for(rows.open_request("acme")) == []


class TestMail:
    def test_goes_to_the_operators_at_once_with_the_command(self, tenant, backup, visit, admins):
        body = {"backup": backup.pk, "note": "All <gone>", "table": "credits"}
        answer = visit().post(f"{PAGE}/ask", body)
        assert "has been told by mail" in said(answer)
        [message] = mail.outbox
        assert message.subject.endswith("Backups: 1 tenant asks for lost data")
        assert f"acme: ada asks for data from backup {backup.pk}.\n> All <gone>\n" in message.body
        assert f"python manage.py restorerows acme {backup.pk} credits --with-related" in (
            message.body
        )
        assert rows.open_request("acme").mailed_at

    def test_cannot_be_made_to_say_what_somebody_else_would_say(
        self, tenant, backup, visit, admins
    ):
        forged = "acme: failed\n  python manage.py restorerows other 1 shop\u2028  rm -rf /srv"
        note = f"gone\r\n\r\n{forged}"
        visit().post(f"{PAGE}/ask", {"backup": backup.pk, "note": note, "table": "credits"})
        [message] = mail.outbox
        lines = message.body.splitlines()
        commands = [line for line in lines if line.startswith("  ")]
        assert commands == [
            f"  {command}" for command in rows.commands_for(rows.open_request("acme"))
        ]
        assert [line for line in lines if line.startswith(">")] == [
            "> gone",
            "> ",
            "> acme: failed",
            ">   python manage.py restorerows other 1 shop",
            ">   rm -rf /srv",
        ]

    def test_that_fails_is_sent_with_the_next_notices_and_only_once(
        self, tenant, backup, visit, admins, project
    ):
        send_mail_by(project, "tests.test_views.Refusing")
        answer = visit().post(f"{PAGE}/ask", {"backup": backup.pk, "note": "gone"})
        send_mail_by(project, "django.core.mail.backends.locmem.EmailBackend")
        assert "could not be sent; it will be tried again" in said(answer)
        request = rows.open_request("acme")
        assert request.mailed_at is None
        monitoring.notify()
        assert not mail.outbox, "the request itself may still be sending it"
        later = timezone.now() + timedelta(minutes=30)
        monitoring.notify(later)
        [message] = mail.outbox
        assert "acme: ada asks for data" in message.body
        request.refresh_from_db()
        assert request.mailed_at == later
        monitoring.notify(later + timedelta(hours=1))
        assert len(mail.outbox) == 1

    def test_is_not_promised_where_nobody_is_mailed(self, tenant, backup, visit):
        answer = visit().post(f"{PAGE}/ask", {"backup": backup.pk, "note": "gone"})
        assert "Nobody is mailed here" in said(answer)
        assert not mail.outbox
        assert rows.open_request("acme").mailed_at is None


class TestPage:
    """Of a tenant whose table `credits` fell from 100 rows to none, two backups ago."""

    @pytest.fixture(autouse=True)
    def known(self, monkeypatch):
        """The tenants of the tests have tables without models."""
        names = {"credits": "credit notes", "debits": "debit notes"}
        monkeypatch.setattr("tenant_backup.table_names.is_the_hosts", names.__contains__)
        monkeypatch.setattr("tenant_backup.table_names.in_words", names.get)
        monkeypatch.setattr("tenant_backup.table_names.heading_of", names.get)

    @pytest.fixture
    def fallen(self, tenant):
        made = []
        for days, number in zip([5, 4, 3, 2, 1], [80, 90, 100, 0, 2], strict=True):
            backup = counted(make(tenant), credits=number, debits=7)
            backup.created_at -= timedelta(days=days)
            backup.save()
            made.append(backup)
        return made

    def found(self, backups, **values):
        before, after = backups[2], backups[3]
        given = {
            "tenant_id": "acme",
            "table": "credits",
            "rows_before": 100,
            "rows_now": 2,
            "least_before": 80,
        }
        moments = {"before_at": before.created_at, "after_at": after.created_at}
        return RowLoss.objects.create(**given, before=before, after=after, **moments, **values)

    def part(self, answer):
        page = answer.content.decode()
        found = re.search(r'<details class="module" id="lost".*?</details>', page, re.DOTALL)
        return found and found[0]

    def test_says_nothing_before_the_first_count(self, tenant, visit):
        assert self.part(visit().get(PAGE)) is None
        complete_row(1)
        answer = visit().get(PAGE)
        assert self.part(answer) is None
        assert "Something lost?" not in text_of(answer)

    def test_shows_when_rows_vanished_and_proposes_the_backup_before(self, fallen, visit):
        answer = visit().get(PAGE)
        part = self.part(answer)
        assert 'id="lost" open' not in part
        assert 'href="#lost-text"' in answer.content.decode()
        [first, second] = re.findall(r"<tr>\s*<th scope=\"row\">(.*?)</tr>", part, re.DOTALL)
        assert "checked> credit notes</label>" in first
        assert "from 100 to 0" in first
        assert "<circle" in first
        assert second.startswith("debit notes")
        assert "<circle" not in second
        assert f"No. {fallen[2].pk}, made " in text_of(answer)
        assert f'href="{PAGE}/contents/{fallen[2].pk}"' in part
        assert f'name="backup" value="{fallen[2].pk}"' in part
        assert f'href="{PAGE}/contents/{fallen[4].pk}"' in part

    def test_what_came_back_is_no_loss(self, fallen, visit):
        counted(fallen[4], credits=100, debits=7)
        part = self.part(visit().get(PAGE))
        assert "<circle" not in part
        assert "is the last backup before that" not in part

    def test_another_tenants_are_in_no_part_of_it(self, fallen, add_tenant, visit):
        globex = add_tenant("globex")
        theirs = make(globex)
        counted(theirs, credits=5)
        asked(globex, theirs, note="theirs")
        RowLoss.objects.filter(pk=self.found(fallen).pk).update(tenant_id="globex")
        answer = visit().get(PAGE)
        assert answer.context["lost"].request is None
        assert answer.context["lost"].found == []
        assert "theirs" not in text_of(answer)
        assert answer.context["lost"].newest == fallen[4]

    def test_is_open_while_there_is_a_finding_which_can_be_intended(self, fallen, visit):
        loss = self.found(fallen)
        part = self.part(visit().get(PAGE))
        assert 'id="lost" open' in part
        assert f'name="loss" value="{loss.pk}" aria-label="Intended: credit notes"' in part
        assert 'form="ask" name="table" value="credits" checked> credit notes</label>' in part
        answer = visit().post(f"{PAGE}/intended", {"loss": loss.pk})
        assert is_page(answer)
        assert said(answer) == "Noted: credit notes were deleted on purpose."
        loss.refresh_from_db()
        assert (loss.intended_by, loss.ended_at is None) == ("ada", False)
        assert 'id="lost" open' not in self.part(visit().get(PAGE))
        again = visit().post(f"{PAGE}/intended", {"loss": loss.pk})
        assert "ended already" in said(again)

    def test_a_finding_from_before_these_backups_says_its_own_numbers(self, fallen, visit):
        self.found(fallen)
        RowCounts.objects.update(tables={"credits": 2, "debits": 7})
        part = self.part(visit().get(PAGE))
        assert "<circle" not in part
        assert "from 100 to 2" in part
        assert f'name="backup" value="{fallen[2].pk}"' in part

    def test_what_was_asked_for_may_be_deleted_by_then(self, tenant, fallen, visit):
        asked(tenant, fallen[1])
        Backup.objects.filter(pk=fallen[1].pk).delete()
        part = self.part(visit().get(PAGE))
        assert "for data from a backup that has been deleted since." in part

    def test_who_may_only_look_is_offered_nothing(self, fallen, visit):
        self.found(fallen)
        part = self.part(visit("vera").get(PAGE))
        assert "<form" not in part
        assert "<button" not in part
        assert f"No. {fallen[2].pk}" in part

    def test_an_open_request_is_shown_and_taken_back(self, tenant, fallen, visit):
        backup = make(tenant)
        request = asked(tenant, backup, note="<b>all</b>", actor="eve")
        part = self.part(visit().get(PAGE))
        assert f"for data from backup No. {backup.pk}." in part
        assert "<q>&lt;b&gt;all&lt;/b&gt;</q>" in part
        assert "No mail about it has been sent yet." in part
        assert 'id="ask"' not in part
        assert "Take it back" not in self.part(visit("vera").get(PAGE))
        answer = visit().post(f"{PAGE}/withdraw", {"request": request.pk})
        assert said(answer) == "The request was taken back."
        # The newest backup has all rows again, so the page proposes none.
        assert 'id="ask"' in visit().get(f"{PAGE}/contents/{backup.pk}").content.decode()
        assert "already been answered" in said(
            visit().post(f"{PAGE}/withdraw", {"request": request.pk})
        )

    @pytest.mark.parametrize("text", ["", "0", "x", "9" * 30, "٣"])
    def test_what_does_not_exist_is_404(self, tenant, visit, text):
        for route, field in [("ask", "backup"), ("withdraw", "request"), ("intended", "loss")]:
            assert visit().post(f"{PAGE}/{route}", {field: text}).status_code == 404, route

    def test_another_tenants_is_404_and_stays_as_it_is(self, tenant, add_tenant, fallen, visit):
        globex = add_tenant("globex")
        theirs = make(globex)
        request = asked(globex, theirs)
        loss = self.found(fallen)
        RowLoss.objects.update(tenant_id="globex")
        assert visit().post(f"{PAGE}/ask", {"backup": theirs.pk}).status_code == 404
        assert visit().post(f"{PAGE}/withdraw", {"request": request.pk}).status_code == 404
        assert visit().post(f"{PAGE}/intended", {"loss": loss.pk}).status_code == 404
        assert rows.open_request("globex") == request
        assert rows.open_losses("globex") == [loss]

    def test_what_was_typed_wrong_is_said(self, tenant, visit):
        backup = make(tenant)
        for body, reason in [
            ({"note": ""}, "Nothing was asked for. Say what is missing"),
            ({"note": "x" * 501}, "at most 500 characters"),
            ({"note": "x", "table": "nothing"}, "has no table"),
        ]:
            answer = visit().post(f"{PAGE}/ask", {"backup": backup.pk, **body})
            assert reason in said(answer), body
        assert rows.open_request("acme") is None


@pytest.mark.parametrize("who", ["ada", "operator"])
@pytest.mark.parametrize("language", ["en", "de"])
def test_a_page_with_everything_on_it_is_small(tenant, visit, project, monkeypatch, language, who):
    """Five hundred backups with long texts, thirty tables that go up and down, and findings."""
    project.LANGUAGE_CODE = language
    names = {f"t{number}": f"Vertragsverlängerungen {number}" for number in range(30)}
    monkeypatch.setattr("tenant_backup.table_names.is_the_hosts", names.__contains__)
    for name in ("in_words", "heading_of"):
        monkeypatch.setattr(f"tenant_backup.table_names.{name}", names.get)
    BackupSettings.objects.create(tenant_id="acme", automatic=True, keep_last=400)
    now = timezone.now()
    made = Backup.objects.bulk_create(
        Backup(
            tenant_id="acme",
            status="failed" if number % 2 else "complete",
            trigger="command",
            label="ü" * 200,
            requested_by="a" * 150,
            error="ü" * 240 if number % 2 else "",
            file_name="" if number % 2 else f"{number}.sqlite3",
            size=1000,
            created_at=now - timedelta(hours=2 * number),
            verified_at=now,
            pinned=number % 5 == 0,
        )
        for number in range(500)
    )
    good = made[::2]
    RowCounts.objects.bulk_create(
        RowCounts(
            backup=backup,
            tenant_id="acme",
            created_at=backup.created_at,
            looked_at=now,
            # Nothing is left, and before that it went up and down.
            tables=dict.fromkeys(names, 100000 * (1 + place % 2) if place else 0),
        )
        for place, backup in enumerate(good)
    )
    moments = {"before_at": good[1].created_at, "after_at": good[0].created_at}
    RowLoss.objects.bulk_create(
        RowLoss(
            tenant_id="acme",
            table=name,
            rows_before=200_000,
            rows_now=0,
            least_before=100_000,
            before=good[1],
            **moments,
        )
        for name in names
    )
    for _ in range(6):
        Event.objects.create(tenant_id="acme", kind="failed", detail="ü" * 240, actor="ada")
    page = visit(who).get(PAGE).content
    assert page.count(b"<circle") == page.count(b'name="loss"') == LINES
    assert len(page) < MOST_BYTES
    RestoreRequest.objects.create(
        tenant_id="acme", backup=good[1], note="ü" * 500, asked_by="a" * 150
    )
    asked = visit(who).get(PAGE).content
    assert b'class="banner"' in asked
    assert len(asked) < MOST_BYTES
