"""The hub of one tenant in the admin: what it shows, what its buttons do, and for whom."""

# The fixtures of the other tests of the admin.
# ruff: noqa: F401, F811

import html
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib import messages
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags
from django_q.models import OrmQ, Schedule

from tenant_backup import automation, backups
from tenant_backup.models import Backup, BackupSettings, Event, EventKind, Status, Trigger
from tenant_backup.monitoring import absence
from tests.conftest import assert_true_copy
from tests.tenancy import Tenants
from tests.test_admin import (
    COMMAND,
    automation_runs,
    backup,
    directory,
    file,
    make_row,
    operator,
    staff,
    texts,
    tick,
    told,
    undo,
    url,
)

QUERIES = 32
"""The session and the user; the ids of all tenants; automation's row, its schedule, and what waits;
the three of monitoring for all, and the ids of those who are not listed; the row, the active backup
and the number of backups; a look at the files and the three of monitoring for this one; what will
be removed; the chart and its space; the backups, and the history; the requests for lost data, of
all and of this one; and what was lost, of all, of this one, and whether anybody has to look."""

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def row(tenant):
    BackupSettings.objects.ensure([tenant.id])
    return BackupSettings.objects.get()


def hub(row):
    return url("backupsettings", "change", row.pk)


def do(client, row, doing, **data):
    """Press a button on the hub, and follow to the page that is then shown."""
    return client.post(url("backupsettings", "do", row.pk), {"do": doing, **data}, follow=True)


def shown(client, row, query=""):
    """What somebody reads on the hub."""
    page = client.get(f"{hub(row)}{query}").content.decode()
    text = page.split('id="content-start"')[-1].replace("<", " <")
    return " ".join(strip_tags(text).split())


def buttons(client, row):
    page = client.get(hub(row)).content.decode()
    return re.findall(r'<button [^>]*name="do" value="(\w+)">', page)


class TestWhatItShows:
    def test_the_verdict_and_every_reason_are_at_the_top(self, operator, row, backup):
        make_row(status=Status.FAILED, error="The <disk> is full. " + "Very full. " * 50)
        backups.directory_of(Tenants.tenants[0]).file(backup.file_name).unlink()
        page = shown(operator, row)
        assert "✕ failed The last attempt to make a backup failed." in page
        assert f"The &lt;disk&gt; is full. {'Very full. ' * 50}".strip() in page
        # A look at the files is part of it, as on the tenant's page.
        assert "The file of 1 backup is missing or damaged." in page
        assert page.index("✕ failed") < page.index("Back up now") < page.index("Interval")

    def test_next_and_last_size_chart_settings_and_history(self, operator, row, backup):
        automation.set_up()
        tick()
        BackupSettings.objects.update(automatic=True)
        page = shown(operator, row)
        assert "Last good backup today at" in page
        assert re.search(r"Next backup (today|tomorrow) at", page)
        assert "Good backups 1 44.0 KB" in page.replace("\xa0", " ")
        assert "The last 30 days" in page
        assert "Free disk space" in page
        assert "Every day at about 2 a.m.; keep" in page
        assert f"completed {backup.pk} {backup.file_name}" in page

    def test_each_backup_has_its_command_ready_to_copy(self, operator, add_tenant):
        tenant = add_tenant("it's 50%")
        made = backups.create(tenant, COMMAND).backup
        BackupSettings.objects.ensure([tenant.id])
        page = operator.get(hub(BackupSettings.objects.get())).content.decode()
        command = f"""python manage.py restorebackup 'it'"'"'s 50%' {made.pk}"""
        assert f"<code>{command}</code>" in html.unescape(page)

    def test_pruning_does_not_fill_its_lines_of_history(self, operator, row):
        Event.record(EventKind.RESTORED, "acme", detail="before everything")
        Event.objects.bulk_create(Event(tenant_id="acme", kind="pruned") for _ in range(20))
        Event.record(EventKind.RESTORED, "other", detail="of another")
        page = shown(operator, row)
        assert "before everything" in page
        assert "pruned" not in page
        assert "of another" not in page

    def test_only_the_tenants_own_backups_in_pages(self, operator, row):
        for number in range(30):
            make_row(file_name=f"acme-{number:02}.sqlite3")
        make_row("other", file_name="other.sqlite3", label="of another")
        first, second = shown(operator, row), shown(operator, row, "?page=2")
        assert "Page 1 of 2" in first
        assert "Page 2 of 2" in second
        page = operator.get(hub(row)).context["page"]
        assert {line.tenant_id for line in page} == {"acme"}
        assert "of another" not in first + second

    def test_a_backup_under_way_is_told(self, operator, row):
        make_row(status=Status.QUEUED, size=None)
        assert "A backup is queued." in shown(operator, row)

    def test_nothing_in_it_is_inline(self, operator, row, backup):
        page = operator.get(hub(row)).content.decode()
        start = page.index('class="backup-hub"')
        for part in (page[start : page.index("backupsettings_form")],):
            assert not re.search(r"<script|<style|\sstyle=|\son\w+=", part)

    def test_many_backups_and_tenants_take_as_many_queries_as_few(self, operator, row, backup):
        automation.set_up()
        tick()
        operator.get(hub(row))
        with CaptureQueriesContext(connection) as few:
            operator.get(hub(row))
        Tenants.tenants.extend(
            replace(Tenants.tenants[0], id=f"t{number:04}") for number in range(300)
        )
        BackupSettings.objects.ensure(f"t{number:04}" for number in range(300))
        for number in range(40):
            make_row(file_name=f"acme-{number:02}.sqlite3", missing_at=timezone.now())
            make_row(f"t{number:04}")
            Event.objects.create(tenant_id="acme", kind="pinned")
        with CaptureQueriesContext(connection) as many:
            operator.get(hub(row))
        assert len(few) == len(many) == QUERIES, "\n".join(q["sql"][:150] for q in many)


class TestWhatItsButtonsDo:
    def test_back_up_now(self, operator, row, tenant):
        response = do(operator, row, "back_up")
        assert told(response) == [(messages.SUCCESS, "1 backup was made.")]
        assert response.redirect_chain[-1][0] == hub(row)
        made = Backup.objects.get()
        assert (made.trigger, made.requested_by) == (Trigger.MANUAL, "grace")
        assert_true_copy(backups.directory_of(tenant).file(made.file_name))

    def test_back_up_now_by_a_worker(self, operator, row, automation_runs):
        do(operator, row, "back_up")
        assert Backup.objects.queued().count() == OrmQ.objects.count() == 1

    def test_verify_the_newest_or_a_chosen_one(self, operator, row, tenant, backup):
        newer = backups.create(tenant, COMMAND).backup
        long_ago = timezone.now() - timedelta(days=9)
        for doing, more, expected in [
            ("verify", {}, newer),
            ("verify_one", {"backup": backup.pk}, backup),
        ]:
            Backup.objects.update(verified_at=long_ago)
            response = do(operator, row, doing, **more)
            assert told(response) == [(messages.SUCCESS, "1 backup was verified and is good.")]
            assert Backup.objects.get(verified_at__gt=long_ago) == expected

    def test_a_chosen_one_that_is_damaged(self, operator, row, backup, file):
        file.write_bytes(b"x" * file.stat().st_size)
        response = do(operator, row, "verify_one", backup=backup.pk)
        [text] = texts(response, messages.ERROR)
        assert text.startswith("The backup of acme was not verified: ")
        assert "✕ backups missing or damaged" in shown(operator, row)

    def test_pin_and_unpin(self, operator, row, backup):
        for doing, is_pinned in [("pin", True), ("unpin", False)]:
            do(operator, row, doing, backup=backup.pk)
            backup.refresh_from_db()
            assert backup.pinned is is_pinned
            assert f'form="backup-{"unpin" if is_pinned else "pin"}"' in (
                operator.get(hub(row)).content.decode()
            )

    def test_delete_asks_and_leads_back_to_the_hub(self, operator, row, backup, file):
        page = operator.get(hub(row)).content.decode()
        address = re.search(r'href="([^"]+/delete/[^"]*)"', page)[1]
        assert file.name in operator.get(address).content.decode()
        assert file.exists()
        response = operator.post(address, {"post": "yes"}, follow=True)
        assert response.redirect_chain[-1][0] == hub(row)
        assert texts(response, messages.SUCCESS) == ["1 backup was deleted."]
        assert not file.exists()

    @pytest.mark.parametrize("text", ["9" * 19, "9" * 5000, "x", "-1", ""])
    def test_after_a_deletion_a_hub_that_cannot_be_leads_to_the_list(self, operator, backup, text):
        address = f"{url('backup', 'delete', backup.pk)}?hub={text}"
        assert operator.post(address, {"post": "yes"})["Location"] == url("backup")

    def test_switch_off_and_undo(self, operator, row):
        do(operator, row, "switch_on")
        assert BackupSettings.objects.get().automatic
        response = do(operator, row, "switch_off")
        assert not BackupSettings.objects.get().automatic
        response = undo(operator, texts(response, messages.INFO)[0])
        assert response.redirect_chain[-1][0] == hub(row)
        assert BackupSettings.objects.get().automatic

    def test_look_inside(self, operator, row, backup):
        address = url("backupsettings", "contents", row.pk, backup.pk)
        assert address in operator.get(hub(row)).content.decode()
        page = operator.get(address)
        text = " ".join(strip_tags(page.content.decode()).split())
        assert "credits 100 100" in text
        assert f"python manage.py restorebackup acme {backup.pk}" in text

    def test_download(self, operator, row, backup, file):
        address = url("backupsettings", "download", row.pk, backup.pk)
        assert address in operator.get(hub(row)).content.decode()
        response = operator.get(address)
        assert b"".join(response.streaming_content) == file.read_bytes()
        assert "no-store" in response["Cache-Control"]
        assert Event.objects.get(kind=EventKind.DOWNLOADED).actor == "grace"

    @pytest.mark.parametrize("page", ["contents", "download"])
    def test_of_a_file_that_is_gone_it_says_so_on_the_hub(self, operator, row, backup, file, page):
        file.unlink()
        response = operator.get(url("backupsettings", page, row.pk, backup.pk), follow=True)
        assert response.redirect_chain[-1][0] == hub(row)
        assert len(texts(response, messages.ERROR)) == 1

    def test_saving_the_settings_leads_back_to_it(self, operator, row):
        values = {"interval": "daily", "time_of_day": "03:30", "weekday": 6, "day_of_month": 1}
        response = operator.post(hub(row), {**values, "keep_last": "7"}, follow=True)
        assert response.redirect_chain[-1][0] == hub(row)
        assert BackupSettings.objects.get().keep_last == 7

    def test_a_wrong_value_is_told_on_it(self, operator, row, backup):
        response = operator.post(hub(row), {"keep_last": "0"})
        assert response.status_code == 200
        assert "Back up now" in response.content.decode()
        assert response.context["adminform"].form.errors["keep_last"]

    def test_what_is_in_force_is_told_beside_a_wrong_value(self, operator, row, backup):
        before = shown(operator, row)
        sentence = re.search(r"Settings (.*?\.)", before)[1]
        values = {"automatic": "on", "interval": "hourly", "time_of_day": "03:30"}
        response = operator.post(hub(row), {**values, "keep_last": "0"})
        assert response.context["settings_in_words"] in sentence
        assert response.context["next_run_at"] is None
        page = response.content.decode()
        assert 'value="switch_on"' in page
        assert 'value="switch_off"' not in page
        assert "1 44.0 KB" in " ".join(strip_tags(page.replace("<", " <")).split()).replace(
            "\xa0", " "
        )

    def test_the_next_run_is_told_once_and_the_same(self, operator, row):
        BackupSettings.objects.update(automatic=True, next_run_at=None)
        page = shown(operator, row)
        assert re.search(r"Next backup (today|tomorrow) at", page)
        assert "Next run" not in page


class TestForWhom:
    BUTTONS = ["back_up", "verify", "switch_on", "retire"]

    def test_who_may_only_look_has_no_button_and_does_nothing(self, staff, row, backup, file):
        client = staff("view_backupsettings", "view_backup")
        assert buttons(client, row) == []
        page = client.get(hub(row)).content.decode()
        for word in ("Download", "Verify", "Pin", "Delete"):
            assert f'aria-label="{word} ' not in page
        assert "Look inside" in page
        for doing in [*self.BUTTONS, "switch_off"]:
            assert do(client, row, doing).status_code == 403
        for doing in ("pin", "unpin", "verify_one"):
            assert do(client, row, doing, backup=backup.pk).status_code == 403
        address = url("backupsettings", "download", row.pk, backup.pk)
        assert client.get(address).status_code == 403
        assert Backup.objects.get() == backup
        assert not Event.objects.exclude(kind=EventKind.COMPLETED).exists()

    def test_who_may_not_see_backups_sees_none(self, staff, row, backup):
        client = staff("view_backupsettings")
        page = client.get(hub(row)).content.decode()
        assert "backups-heading" not in page
        address = url("backupsettings", "contents", row.pk, backup.pk)
        assert client.get(address).status_code == 403

    @pytest.mark.parametrize(
        ("permission", "expected"),
        [("add_backup", ["back_up"]), ("change_backupsettings", ["verify", "switch_on"])],
    )
    def test_each_permission_has_its_buttons(self, staff, row, backup, permission, expected):
        assert buttons(staff("view_backupsettings", permission), row) == expected

    def test_who_is_no_operator_has_no_access(self, operator, row, backup, monkeypatch):
        monkeypatch.setattr(Tenants, "is_operator", lambda self, request: False, raising=False)
        assert operator.get(hub(row)).status_code == 403
        for doing in self.BUTTONS:
            assert do(operator, row, doing).status_code == 403
        for page in ("contents", "download"):
            address = url("backupsettings", page, row.pk, backup.pk)
            assert operator.get(address).status_code == 403

    def test_nobody_learns_which_rows_there_are(self, operator, row, backup, monkeypatch):
        monkeypatch.setattr(Tenants, "is_operator", lambda self, request: False, raising=False)
        for pk, chosen in [(row.pk, backup.pk), (row.pk, 999), (999, backup.pk)]:
            for page in ("contents", "download"):
                assert operator.get(url("backupsettings", page, pk, chosen)).status_code == 403
            address = url("backupsettings", "do", pk)
            for doing in [*self.BUTTONS, "pin", "verify_one", "answered", "intended", "nonsense"]:
                response = operator.post(address, {"do": doing, "backup": chosen})
                assert response.status_code == 403, doing
            assert operator.get(url("backupsettings", "history", pk)).status_code == 403

    def test_strangers_are_sent_to_the_login(self, client, row, backup):
        for address in [
            hub(row),
            url("backupsettings", "contents", row.pk, backup.pk),
            url("backupsettings", "download", row.pk, backup.pk),
        ]:
            assert "/login/" in client.get(address)["Location"]
        assert "/login/" in client.post(url("backupsettings", "do", row.pk))["Location"]

    def test_only_by_post_and_with_a_token(self, operator, row):
        address = url("backupsettings", "do", row.pk)
        assert operator.get(address, {"do": "back_up"}).status_code == 405
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(User.objects.get(username="grace"))
        assert strict.post(address, {"do": "back_up"}).status_code == 403
        assert not Backup.objects.exists()

    def test_another_tenants_backup_is_not_found(self, operator, row, add_tenant):
        other = backups.create(add_tenant("globex"), COMMAND).backup
        for page in ("contents", "download"):
            address = url("backupsettings", page, row.pk, other.pk)
            assert operator.get(address).status_code == 404
        for doing in ("pin", "verify_one"):
            for chosen in (other.pk, "", "x", "9" * 30, "9" * 5000, "\u0663"):
                assert do(operator, row, doing, backup=chosen).status_code == 404
        other.refresh_from_db()
        assert not other.pinned

    @pytest.mark.parametrize("doing", ["", "restore", "delete"])
    def test_what_there_is_no_button_for_is_refused(self, operator, row, doing):
        assert do(operator, row, doing).status_code == 400

    def test_of_no_tenant(self, operator):
        address = reverse("admin:tenant_backup_backupsettings_do", args=[99])
        assert operator.post(address, {"do": "back_up"}).status_code == 404


class TestOfThoseWhoAreNotBackedUp:
    @pytest.fixture
    def gone(self, row, backup):
        """It was backed up, and the provider does not list it any more."""
        Tenants.tenants.clear()
        return row

    def test_one_that_has_disappeared_says_so_and_can_be_retired(self, operator, gone):
        absence.note(set(), timezone.now() - timedelta(days=2))
        page = shown(operator, gone)
        assert "✕ disappeared" in page
        assert "Is its folder still there?" in page
        assert "Nothing can be backed up" in page
        assert buttons(operator, gone) == ["retire"]
        assert "backupsettings_form" not in operator.get(hub(gone)).content.decode()
        do(operator, gone, "retire")
        assert "· retired" in shown(operator, gone)
        assert buttons(operator, gone) == []

    def test_its_backups_are_listed_without_what_cannot_work(self, operator, gone):
        page = operator.get(hub(gone)).content.decode()
        assert "✓</span> complete" in page
        for word in ("Look inside", "Download", "Verify", "Pin", "Delete", "Restore"):
            assert f'aria-label="{word} ' not in page
        for name in ("contents", "download"):
            address = url("backupsettings", name, gone.pk, Backup.objects.get().pk)
            response = operator.get(address, follow=True)
            assert texts(response, messages.ERROR) == ["There is no tenant 'acme'."]

    def test_one_that_is_not_valid_says_why(self, operator, row):
        Tenants.tenants[:] = [replace(Tenants.tenants[0], time_zone="Mars/Base")]
        page = shown(operator, row)
        assert "✕ not valid" in page
        assert "The time zone &#x27;Mars/Base&#x27; of tenant" in page
        assert buttons(operator, row) == []

    def test_while_the_provider_fails_it_says_so(self, operator, row, monkeypatch):
        def fail(self):
            raise ConnectionError("no <tenants> today")

        monkeypatch.setattr(Tenants, "all_tenants", fail)
        page = shown(operator, row)
        assert "The tenant provider failed: no &lt;tenants&gt; today" in page
        assert buttons(operator, row) == []

    def test_where_automation_is_not_set_up_it_is_told(self, operator, row):
        Schedule.objects.all().delete()
        assert "python manage.py automatebackups enable" in shown(operator, row)
