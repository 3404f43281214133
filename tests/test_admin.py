"""The Django admin, as its users meet it: requests by people with different permissions."""

import html
import json
import re
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.contrib import messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core import signing
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import strip_tags
from django_q.models import OrmQ, Schedule

from tenant_backup import automation, backups, lock
from tenant_backup.admin import actions
from tenant_backup.admin.backups import BackupAdmin
from tenant_backup.admin.history import CappedPaginator
from tenant_backup.exceptions import BackupError
from tenant_backup.models import (
    Automation,
    Backup,
    BackupSettings,
    Event,
    EventKind,
    Interval,
    Status,
    TenantState,
    Trigger,
    Verdict,
)
from tenant_backup.monitoring import absence
from tenant_backup.tenants import Tenant
from tests.conftest import assert_true_copy, names_in
from tests.tenancy import Tenants

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)
MODELS = ["backup", "backupsettings", "event"]
VIEW_ALL = [f"view_{model}" for model in MODELS]


def url(model, page="changelist", *arguments):
    return reverse(f"admin:tenant_backup_{model}_{page}", args=arguments)


@pytest.fixture
def staff():
    """A client of a member of staff who has just these permissions."""

    def log_in(*permissions):
        user = User.objects.create_user("ada", is_staff=True)
        found = Permission.objects.filter(
            content_type__app_label="tenant_backup", codename__in=permissions
        )
        assert len(found) == len(permissions)
        user.user_permissions.set(found)
        client = Client()
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def operator():
    client = Client()
    client.force_login(User.objects.create_superuser("grace"))
    return client


@pytest.fixture
def directory(tenant):
    return backups.directory_of(tenant)


@pytest.fixture
def backup(tenant):
    return backups.create(tenant, COMMAND).backup


@pytest.fixture
def file(directory, backup):
    return directory.file(backup.file_name)


@pytest.fixture
def atomic_requests(monkeypatch):
    """The host wraps each request in a transaction."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)


def tick():
    Automation.load()
    Automation.objects.update(last_tick_at=timezone.now())


@pytest.fixture
def automation_runs():
    automation.set_up()
    tick()
    assert automation.get_status().state is automation.AutomationState.RUNNING


def act(client, model, action, rows, **more):
    """Choose an action for these rows of the list, and follow to the page that is then shown."""
    data = {"action": action, "_selected_action": [row.pk for row in rows], "index": 0, **more}
    return client.post(url(model), data, follow=True)


def confirm(client, question):
    """Answer yes on the page that asks whether to switch automatic backup off."""
    data = {"chosen": question.context["chosen"]}
    return client.post(reverse("admin:tenant_backup_switch_off"), data, follow=True)


def undo(client, form):
    """Press the button of the message that says what was switched off."""
    address = re.search(r'action="([^"]+)"', form)[1]
    chosen = re.search(r'name="chosen" value="([^"]+)"', form)[1]
    return client.post(address, {"chosen": chosen}, follow=True)


def delete_selected(client, rows):
    """Choose "delete", and confirm it as the form on the confirmation page does."""
    data = {"action": "delete_selected", "_selected_action": [row.pk for row in rows]}
    return client.post(url("backup"), {**data, "post": "yes"}, follow=True)


def delete_one(client, backup):
    return client.post(url("backup", "delete", backup.pk), {"post": "yes"}, follow=True)


def told(response):
    """The messages on the page, as (level, text)."""
    return [(message.level, message.message) for message in response.context["messages"]]


def texts(response, level):
    return [text for at, text in told(response) if at == level]


def offered(response):
    """The names of the actions that a list offers."""
    form = response.context["action_form"]
    return [name for name, _ in form.fields["action"].choices if name] if form else []


def settings_of(*tenants):
    BackupSettings.objects.ensure(tenant.id for tenant in tenants)
    return [BackupSettings.objects.get(tenant_id=tenant.id) for tenant in tenants]


def make_row(tenant_id="acme", **fields):
    """A complete backup of which there is no file."""
    values = {"status": Status.COMPLETE, "trigger": Trigger.AUTOMATIC, "size": 1536 * 1024}
    return Backup.objects.create(tenant_id=tenant_id, **values | fields)


class TestPermissions:
    @pytest.mark.parametrize("model", MODELS)
    def test_strangers_are_sent_to_the_login(self, client, model):
        response = client.get(url(model))
        assert response.status_code == 302
        assert "/login/" in response["Location"]

    @pytest.mark.parametrize("model", MODELS)
    def test_staff_without_permission_see_nothing(self, staff, model):
        others = [name for name in VIEW_ALL if name != f"view_{model}"]
        assert staff(*others).get(url(model)).status_code == 403

    @pytest.mark.parametrize("model", MODELS)
    def test_nobody_adds(self, operator, model):
        assert operator.get(url(model, "add")).status_code == 403
        assert url(model, "add") not in operator.get(url(model)).content.decode()

    def test_nobody_changes_what_happened(self, operator, backup):
        for model, row in [("backup", backup), ("event", Event.objects.get())]:
            address = url(model, "change", row.pk)
            page = operator.get(address)
            assert page.status_code == 200
            assert b'name="_save"' not in page.content
            assert operator.post(address, {"tenant_id": "evil"}).status_code == 403
            row.refresh_from_db()
            assert row.tenant_id == "acme"

    def test_nobody_deletes_events_or_settings(self, operator, tenant, backup):
        event, [settings] = Event.objects.get(), settings_of(tenant)
        for model, row in [("event", event), ("backupsettings", settings)]:
            address = url(model, "delete", row.pk)
            assert operator.post(address, {"post": "yes"}).status_code == 403
            assert "delete_selected" not in offered(operator.get(url(model)))
            act(operator, model, "delete_selected", [row], post="yes")
            row.refresh_from_db()

    def test_who_may_only_look_gets_no_actions_and_no_form(self, staff, tenant, backup, file):
        client, [settings] = staff(*VIEW_ALL), settings_of(tenant)
        for model, row in [("backup", backup), ("backupsettings", settings)]:
            assert offered(client.get(url(model))) == []
            page = client.get(url(model, "change", row.pk)).content.decode()
            assert url(model, "delete", row.pk) not in page
            assert 'name="_save"' not in page
        for action in ("pin", "delete_selected"):
            act(client, "backup", action, [backup], post="yes")
        for action in ("back_up_now", "verify", "switch_on"):
            act(client, "backupsettings", action, [settings])
        assert delete_one(client, backup).status_code == 403
        address = url("backupsettings", "change", settings.pk)
        assert client.post(address, {"automatic": "on"}).status_code == 403
        backup.refresh_from_db()
        settings.refresh_from_db()
        assert file.exists()
        assert not backup.pinned
        assert not settings.automatic
        assert not Event.objects.filter(kind=EventKind.CONFIGURED).exists()
        assert Backup.objects.get().verified_at == backup.verified_at

    def test_changing_a_backup_is_no_permission_to_delete_or_pin(self, staff, backup):
        client = staff("view_backup", "change_backup", "add_backup")
        assert offered(client.get(url("backup"))) == []
        act(client, "backup", "pin", [backup])
        backup.refresh_from_db()
        assert not backup.pinned

    def test_who_may_delete_may_pin(self, staff, backup):
        client = staff("view_backup", "delete_backup")
        assert offered(client.get(url("backup"))) == ["delete_selected", "pin", "unpin"]
        act(client, "backup", "pin", [backup])
        backup.refresh_from_db()
        assert backup.pinned

    def test_changing_settings_is_no_permission_to_back_up(self, staff, tenant):
        client = staff("view_backupsettings", "change_backupsettings")
        offers = offered(client.get(url("backupsettings")))
        assert offers == ["verify", "switch_on", "switch_off", "retire"]
        act(client, "backupsettings", "back_up_now", settings_of(tenant))
        assert not Backup.objects.exists()

    def test_who_may_add_backups_may_back_up(self, staff, tenant):
        client = staff("view_backupsettings", "add_backup")
        assert offered(client.get(url("backupsettings"))) == ["back_up_now"]
        act(client, "backupsettings", "back_up_now", settings_of(tenant))
        assert Backup.objects.get().requested_by == "ada"

    def test_who_may_delete_but_not_look_deletes_and_ends_at_the_index(self, staff, backup, file):
        response = delete_one(staff("delete_backup"), backup)
        assert response.redirect_chain[-1][0] == reverse("admin:index")
        assert texts(response, messages.SUCCESS) == ["1 backup was deleted."]
        assert not file.exists()


class TestDeletingOne:
    def test_a_pinned_one_is_refused(self, operator, tenant, backup, file):
        backups.pin(tenant, backup, pinned=True)
        response = delete_one(operator, backup)
        assert told(response) == [
            (
                messages.ERROR,
                f"A backup of acme was not deleted: {backup.file_name} is pinned. Unpin it first.",
            )
        ]
        assert file.exists()
        assert Backup.objects.get() == backup
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
    def test_an_active_one_is_refused(self, operator, tenant, status):
        backup = Backup.objects.create(tenant_id="acme", trigger="manual", status=status)
        [(level, text)] = told(delete_one(operator, backup))
        assert level == messages.ERROR
        assert f"is {status} and cannot be deleted now" in text
        assert Backup.objects.get() == backup

    def test_one_of_a_tenant_that_is_gone_is_refused(self, operator, add_tenant, backup, file):
        Backup.objects.update(tenant_id="ghost")
        response = delete_one(operator, backup)
        assert told(response) == [
            (messages.ERROR, "A backup of ghost was not deleted: There is no tenant 'ghost'.")
        ]
        assert file.exists()
        assert Backup.objects.exists()

    def test_one_that_is_not_there(self, operator):
        response = operator.post(url("backup", "delete", 7), {"post": "yes"}, follow=True)
        [(level, text)] = told(response)
        assert level == messages.WARNING
        assert "Perhaps it was deleted" in text

    def test_looking_at_the_confirmation_deletes_nothing(self, operator, backup, file):
        page = operator.get(url("backup", "delete", backup.pk)).content.decode()
        assert backup.file_name in page
        assert "Deleting a backup deletes its file, too." in page
        assert file.exists()
        assert Backup.objects.exists()

    def test_file_and_row_are_gone_and_it_is_recorded(self, operator, directory, backup):
        response = delete_one(operator, backup)
        assert response.redirect_chain[-1][0] == url("backup")
        assert told(response) == [(messages.SUCCESS, "1 backup was deleted.")]
        assert names_in(directory.path) == []
        assert not Backup.objects.exists()
        event = Event.objects.latest("pk")
        assert (event.kind, event.actor) == (EventKind.DELETED, "grace")
        assert event.file_name == backup.file_name
        entry = LogEntry.objects.get()
        assert entry.is_deletion()
        assert (entry.object_id, entry.object_repr) == (str(backup.pk), backup.file_name)

    def test_the_filters_of_the_list_are_kept(self, operator, backup):
        address = url("backup", "delete", backup.pk)
        response = operator.post(
            f"{address}?_changelist_filters=trigger__exact%3Dcommand", {"post": "yes"}
        )
        assert response["Location"] == f"{url('backup')}?trigger__exact=command"

    def test_a_rollback_keeps_the_file_as_well_as_the_row(self, backup, file, monkeypatch):
        """Django's view has a transaction, and may fail after it has asked for the deletion."""

        def fail(*args, **kwargs):
            raise RuntimeError

        monkeypatch.setattr(BackupAdmin, "response_delete", fail)
        client = Client(raise_request_exception=False)
        client.force_login(User.objects.create_superuser("grace"))
        assert delete_one(client, backup).status_code == 500
        assert file.exists()
        assert Backup.objects.get() == backup
        assert not Event.objects.filter(kind=EventKind.DELETED).exists()

    def test_the_file_goes_when_no_transaction_can_roll_back_any_more(
        self, operator, backup, atomic_requests, monkeypatch
    ):
        delete_all, seen = backups.delete_all, []

        def watch(*args, **kwargs):
            seen.append(connection.in_atomic_block)
            return delete_all(*args, **kwargs)

        monkeypatch.setattr(backups, "delete_all", watch)
        response = delete_one(operator, backup)
        assert seen == [False]
        assert told(response) == [(messages.SUCCESS, "1 backup was deleted.")]
        assert not Backup.objects.exists()


class TestDeletingSelected:
    def test_the_confirmation_names_them_and_deletes_nothing(
        self, operator, tenant, backup, directory
    ):
        other = backups.create(tenant, COMMAND).backup
        page = act(operator, "backup", "delete_selected", [backup, other])
        assert page.status_code == 200
        assert "Deleting a backup deletes its file, too." in page.content.decode()
        for row in (backup, other):
            assert row.file_name in page.content.decode()
            assert directory.file(row.file_name).exists()
        assert Backup.objects.count() == 2

    def test_what_cannot_be_deleted_stays_and_the_others_go(self, operator, add_tenant):
        acme, globex = add_tenant("acme"), add_tenant("globex")
        pinned, ghost, bad, good, failed = (backups.create(acme, COMMAND).backup for _ in range(5))
        other = backups.create(globex, COMMAND).backup
        queued = backups.request(globex, COMMAND)
        backups.pin(acme, pinned, pinned=True)
        Backup.objects.filter(pk=ghost.pk).update(tenant_id="ghost")
        Backup.objects.filter(pk=bad.pk).update(file_name="../db.sqlite3")
        Backup.objects.filter(pk=failed.pk).update(status=Status.FAILED, file_name="")
        # It would give those two their rows back.
        backups.directory_of(acme).file("index.json").unlink()
        response = delete_selected(operator, [pinned, ghost, bad, good, failed, other, queued])
        errors = "\n".join(sorted(texts(response, messages.ERROR)))
        assert re.fullmatch(
            "A backup of acme was not deleted: '../db.sqlite3.* is not the name of .*\n"
            f"A backup of acme was not deleted: {pinned.file_name} is pinned. Unpin it first.\n"
            "A backup of ghost was not deleted: There is no tenant 'ghost'.\n"
            f"A backup of globex was not deleted: Backup {queued.pk} is queued and .*",
            errors,
        )
        assert texts(response, messages.SUCCESS) == ["3 backups were deleted."]
        assert set(Backup.objects.all()) == {pinned, ghost, bad, queued}
        assert acme.database.exists()
        assert good.file_name not in names_in(backups.directory_of(acme).path)
        assert names_in(backups.directory_of(globex).path) == []
        deleted = {good.pk, failed.pk, other.pk}
        assert set(Event.objects.filter(kind="deleted").values_list("backup_id", flat=True)) == (
            deleted
        )
        logged = LogEntry.objects.values_list("object_id", flat=True)
        assert set(logged) == {str(pk) for pk in deleted}

    def test_while_somebody_is_at_work_nobody_waits_for_each(
        self, operator, tenant, directory, settings, monkeypatch
    ):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "BUSY_TIMEOUT": 0.1}
        rows = [backups.create(tenant, COMMAND).backup for _ in range(3)]
        with lock.hold(directory, wait=0):
            response = delete_selected(operator, rows)
        text = "Another process is working on the backups of acme. Try again soon."
        assert texts(response, messages.INFO) == [text]
        assert Backup.objects.good().count() == 3

    def test_a_tenants_lock_is_taken_once_for_all_of_them(self, operator, add_tenant, monkeypatch):
        acme, globex = add_tenant("acme"), add_tenant("globex")
        rows = [backups.create(tenant, COMMAND).backup for tenant in (acme, acme, globex, acme)]
        tenant_work, taken = backups.deletion.tenant_work, []

        def count(tenant, **options):
            taken.append(tenant.id)
            return tenant_work(tenant, **options)

        monkeypatch.setattr(backups.deletion, "tenant_work", count)
        response = delete_selected(operator, rows)
        assert sorted(taken) == ["acme", "globex"]
        assert texts(response, messages.SUCCESS) == ["4 backups were deleted."]

    def test_what_the_hosts_own_models_protect_stays(self, operator, backup, file, monkeypatch):
        def protect(self, objs, request):
            return [], {}, set(), ["Contract 7"]

        monkeypatch.setattr(BackupAdmin, "get_deleted_objects", protect)
        page = delete_selected(operator, [backup])
        assert "Contract 7" in page.content.decode()
        assert file.exists()
        assert Backup.objects.exists()

    def test_nothing_deleted_is_no_success(self, operator, tenant, backup):
        backups.pin(tenant, backup, pinned=True)
        response = delete_selected(operator, [backup])
        assert [level for level, _ in told(response)] == [messages.ERROR]

    def test_an_unexpected_error_is_logged_and_told_and_the_rest_goes_on(
        self, operator, add_tenant, monkeypatch, caplog
    ):
        acme, globex = add_tenant("acme"), add_tenant("globex")
        rows = [backups.create(tenant, COMMAND).backup for tenant in (acme, acme, globex)]
        delete_all = backups.delete_all

        def fail_in_between(tenant, chosen, **options):
            if tenant.id == "globex":
                return delete_all(tenant, chosen, **options)
            delete_all(tenant, chosen[:1], **options)
            raise RuntimeError("the moon is full")

        monkeypatch.setattr(backups, "delete_all", fail_in_between)
        response = delete_selected(operator, rows)
        assert texts(response, messages.ERROR) == [
            "A backup of acme was not deleted: the moon is full"
        ]
        assert texts(response, messages.SUCCESS) == ["2 backups were deleted."]
        assert "the moon is full" in caplog.text
        assert LogEntry.objects.count() == 2

    def test_of_many_refusals_a_few_are_told_one_by_one(self, operator, tenant):
        rows = [make_row(pinned=True, file_name=f"{number}.sqlite3") for number in range(13)]
        errors = texts(delete_selected(operator, rows), messages.ERROR)
        assert len(errors) == 11
        assert errors[-1] == "3 more failed."

    def test_of_hundreds_the_oldest_are_asked_about_and_deleted(self, operator, tenant):
        rows = [make_row(status=Status.FAILED, size=None) for _ in range(130)]
        data = {"action": "delete_selected", "select_across": "1", "index": 0}
        data["_selected_action"] = [rows[0].pk]
        page = operator.post(url("backup"), data)
        assert len(page.context["queryset"]) == 100
        [text] = texts(page, messages.WARNING)
        assert text.startswith(
            "At most 100 backups are deleted at once, the oldest first. 30 more that you selected"
        )
        response = operator.post(url("backup"), {**data, "post": "yes"}, follow=True)
        assert texts(response, messages.SUCCESS) == ["100 backups were deleted."]
        assert set(Backup.objects.all()) == set(rows[100:])

    def test_within_a_transaction_of_the_request(self, operator, backup, file, atomic_requests):
        response = delete_selected(operator, [backup])
        assert told(response) == [(messages.SUCCESS, "1 backup was deleted.")]
        assert not file.exists()


class TestPinning:
    def test_what_cannot_be_pinned_is_told_and_the_rest_goes_on(self, operator, tenant, backup):
        failed = make_row(status=Status.FAILED)
        ghost = make_row("ghost")
        response = act(operator, "backup", "pin", [failed, ghost, backup])
        errors = "\n".join(sorted(texts(response, messages.ERROR)))
        assert re.fullmatch(
            f"A backup of acme was not pinned: Backup {failed.pk} is missing, .*\n"
            "A backup of ghost was not pinned: There is no tenant 'ghost'.",
            errors,
        )
        assert texts(response, messages.SUCCESS) == ["1 backup is pinned."]
        assert list(Backup.objects.filter(pinned=True)) == [backup]

    def test_pin_and_unpin_are_recorded_with_who(self, operator, backup):
        act(operator, "backup", "pin", [backup])
        response = act(operator, "backup", "unpin", [backup])
        assert told(response) == [(messages.SUCCESS, "1 backup is no longer pinned.")]
        backup.refresh_from_db()
        assert not backup.pinned
        recorded = Event.objects.filter(actor="grace").order_by("pk")
        assert list(recorded.values_list("kind", flat=True)) == ["pinned", "unpinned"]

    def test_only_what_is_pinned_says_so(self, operator, tenant, backup):
        pinned = backups.create(tenant, COMMAND).backup
        backups.pin(tenant, pinned, pinned=True)
        for page, element, times in [
            ("", "td", 1),
            (f"{pinned.pk}/change/", "div", 1),
            (f"{backup.pk}/change/", "div", 0),
        ]:
            text = operator.get(f"/admin/tenant_backup/backup/{page}").content.decode()
            assert len(re.findall(rf"<{element}[^>]*>pinned</{element}>", text)) == times
            assert "icon-no" not in text
            assert "icon-yes" not in text


class TestBackingUpNow:
    def test_each_failure_is_told_and_the_rest_goes_on(self, operator, add_tenant):
        broken, sound = add_tenant("broken", database=False), add_tenant("sound")
        rows = settings_of(broken, sound)
        rows.append(BackupSettings.objects.create(tenant_id="ghost"))
        response = act(operator, "backupsettings", "back_up_now", rows)
        errors = texts(response, messages.ERROR)
        assert len(errors) == 2
        assert errors[0].startswith("No backup of broken was made: ")
        assert "does not exist" in errors[0]
        assert errors[1] == "No backup of ghost was made: There is no tenant 'ghost'."
        assert texts(response, messages.SUCCESS) == ["1 backup was made."]
        assert Backup.objects.failed().get().tenant_id == "broken"
        assert Backup.objects.good().get().tenant_id == "sound"

    def test_while_somebody_is_at_work_it_says_so_kindly(self, operator, tenant, directory):
        directory.make()
        with lock.hold(directory, wait=0):
            response = act(operator, "backupsettings", "back_up_now", settings_of(tenant))
        [(level, text)] = told(response)
        assert level == messages.INFO
        assert text.startswith("Another process is working on the backups of acme.")
        assert not Backup.objects.exists()

    def test_a_running_one_is_not_queued_again(self, operator, tenant, directory, automation_runs):
        directory.make()
        Backup.objects.create(tenant_id="acme", trigger="command", status=Status.RUNNING)
        with lock.hold(directory, wait=0):
            response = act(operator, "backupsettings", "back_up_now", settings_of(tenant))
        assert [level for level, _ in told(response)] == [messages.INFO]
        assert not OrmQ.objects.exists()

    def test_a_locked_database_does_not_hold_the_request_up(
        self, operator, add_tenant, monkeypatch
    ):
        tenant = add_tenant(journal_mode="delete")
        monkeypatch.setattr(backups.requests, "REQUEST_BUSY_TIMEOUT", 0.1)
        with closing(sqlite3.connect(tenant.database, isolation_level=None)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            started = time.monotonic()
            response = act(operator, "backupsettings", "back_up_now", settings_of(tenant))
        assert time.monotonic() - started < 5
        [text] = texts(response, messages.ERROR)
        assert text.startswith("No backup of acme was made:")
        assert "locked" in text

    def test_a_shorter_busy_timeout_of_the_host_holds(self, operator, tenant, settings):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "BUSY_TIMEOUT": 1}
        asked = []

        def create(tenant, order, *, limits):
            asked.append(limits.busy_timeout)
            return backups.BackupResult(Backup())

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(backups, "create", create)
            act(operator, "backupsettings", "back_up_now", settings_of(tenant))
            settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "BUSY_TIMEOUT": 30}
            act(operator, "backupsettings", "back_up_now", settings_of(tenant))
        assert asked == [1, 5]

    @pytest.mark.parametrize("state", ["not set up", "paused", "stalled"])
    def test_where_automation_does_not_run_it_is_made_at_once(self, operator, tenant, state):
        if state == "not set up":
            Schedule.objects.all().delete()
        else:
            automation.set_up()
        if state == "paused":
            tick()
            automation.pause("ada")
        assert automation.get_status().state is automation.AutomationState(state)
        response = act(operator, "backupsettings", "back_up_now", settings_of(tenant))
        assert told(response) == [(messages.SUCCESS, "1 backup was made.")]
        backup = Backup.objects.good().get()
        assert (backup.trigger, backup.requested_by) == (Trigger.MANUAL, "grace")
        assert_true_copy(backups.directory_of(tenant).file(backup.file_name))
        assert not OrmQ.objects.exists()

    def test_where_automation_runs_workers_make_it(self, operator, add_tenant, automation_runs):
        tenants = [add_tenant("acme"), add_tenant("globex")]
        response = act(operator, "backupsettings", "back_up_now", settings_of(*tenants))
        assert told(response) == [
            (messages.SUCCESS, "2 backups are queued and will be made in the background.")
        ]
        queued = Backup.objects.queued()
        assert len(queued) == 2
        assert {(row.trigger, row.requested_by) for row in queued} == {("manual", "grace")}
        handed_over = {task.task["args"][0] for task in OrmQ.objects.all()}
        assert handed_over == {row.pk for row in queued}
        for row in queued:
            automation.make(row.pk)
        assert Backup.objects.good().count() == 2

    def test_where_automation_runs_the_rest_goes_on_too(
        self, operator, add_tenant, automation_runs
    ):
        ghost = BackupSettings.objects.create(tenant_id="ghost")
        response = act(
            operator, "backupsettings", "back_up_now", [ghost, *settings_of(add_tenant("acme"))]
        )
        assert texts(response, messages.ERROR) == [
            "No backup of ghost was queued: There is no tenant 'ghost'."
        ]
        assert OrmQ.objects.count() == 1

    def test_within_a_transaction_of_the_request_it_is_handed_over_after_it(
        self, operator, tenant, automation_runs, atomic_requests
    ):
        act(operator, "backupsettings", "back_up_now", settings_of(tenant))
        assert Backup.objects.get().enqueued_at
        assert OrmQ.objects.count() == 1

    def test_within_a_transaction_of_the_request_it_is_made_after_it(
        self, operator, tenant, atomic_requests
    ):
        response = act(operator, "backupsettings", "back_up_now", settings_of(tenant))
        assert told(response) == [(messages.SUCCESS, "1 backup was made.")]
        assert Backup.objects.good().count() == 1

    def test_without_workers_a_request_makes_only_a_few(self, operator, add_tenant):
        rows = settings_of(*[add_tenant(f"t{number}", rows=1) for number in range(7)])
        response = act(operator, "backupsettings", "back_up_now", rows)
        assert texts(response, messages.SUCCESS) == ["5 backups were made."]
        [text] = texts(response, messages.WARNING)
        assert text.startswith("2 backups were not made: automation does not run")
        command = text.split("Run on the server: python manage.py runbackup ")[1]
        made = set(Backup.objects.good().values_list("tenant_id", flat=True))
        assert made | set(command.split()) == {f"t{number}" for number in range(7)}
        assert len(made) == 5

    def test_without_workers_a_request_makes_only_small_ones(self, operator, add_tenant, settings):
        small, large = add_tenant("small", rows=1), add_tenant("large", rows=1000)
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "INLINE_MAX_BYTES": 100_000}
        response = act(operator, "backupsettings", "back_up_now", settings_of(small, large))
        assert Backup.objects.get().tenant_id == "small"
        [text] = texts(response, messages.WARNING)
        assert text.endswith("python manage.py runbackup large")
        # Who chooses it alone wants to wait for it.
        act(operator, "backupsettings", "back_up_now", settings_of(large))
        assert Backup.objects.good().count() == 2

    def test_hundreds_are_made_by_no_request(self, operator, add_tenant, automation_runs):
        any_tenant = add_tenant("t", database=False)
        Tenants.tenants[:] = [replace(any_tenant, id=f"t{number}") for number in range(300)]
        BackupSettings.objects.ensure(tenant.id for tenant in Tenants.tenants)
        data = {"action": "back_up_now", "select_across": "1", "index": 0}
        first = BackupSettings.objects.first()
        response = operator.post(
            url("backupsettings"), {**data, "_selected_action": [first.pk]}, follow=True
        )
        assert told(response) == [
            (messages.SUCCESS, "300 backups are queued and will be made in the background.")
        ]
        assert Backup.objects.queued().count() == OrmQ.objects.count() == 300
        # Without workers, nobody tries hundreds: the message has a command for all, and says so.
        Schedule.objects.all().delete()
        Backup.objects.all().delete()
        response = operator.post(
            url("backupsettings"), {**data, "_selected_action": [first.pk]}, follow=True
        )
        assert Backup.objects.count() == 5
        [text] = texts(response, messages.WARNING)
        assert text.startswith("295 backups were not made")
        assert text.endswith(
            "This is for all tenants. Run on the server: python manage.py runbackup"
        )

    def test_the_command_is_for_those_that_are_left_and_no_others(
        self, operator, add_tenant, monkeypatch
    ):
        monkeypatch.setattr(actions, "AT_ONCE", 0)
        any_tenant = add_tenant("t", database=False)
        Tenants.tenants[:] = [replace(any_tenant, id=f"t{number}") for number in range(51)]
        rows = settings_of(*Tenants.tenants)
        for action, command in [("back_up_now", "runbackup"), ("verify", "verifybackups")]:
            [text] = texts(act(operator, "backupsettings", action, rows[:50]), messages.WARNING)
            named = text.split(f"Run on the server: python manage.py {command} ")[1].split()
            assert set(named) == {row.tenant_id for row in rows[:50]}
            assert "all tenants" not in text
            [text] = texts(act(operator, "backupsettings", action, rows), messages.WARNING)
            assert text.endswith(
                f"This is for all tenants. Run on the server: python manage.py {command}"
            )

    def test_pruning_that_fails_is_told(self, operator, tenant, monkeypatch):
        def fail(*arguments, **options):
            raise BackupError("The disk is gone.")

        monkeypatch.setattr(backups.creation, "prune_under_lock", fail)
        response = act(operator, "backupsettings", "back_up_now", settings_of(tenant))
        assert texts(response, messages.WARNING) == [
            "Tenant acme: The backup is complete, but older ones could not be removed: "
            "The disk is gone."
        ]
        assert texts(response, messages.SUCCESS) == ["1 backup was made."]


class TestSettings:
    VALUES = {
        "automatic": "on",
        "interval": "daily",
        "time_of_day": "03:30",
        "weekday": "6",
        "day_of_month": "1",
        "keep_last": "7",
        "keep_days": "",
        "keep_daily": "",
        "keep_weekly": "",
        "keep_monthly": "12",
        "notify_email": "ops@example.com",
    }

    @pytest.fixture
    def row(self, tenant):
        [row] = settings_of(tenant)
        return row

    def save(self, client, row, **changes):
        address = url("backupsettings", "change", row.pk)
        response = client.post(address, self.VALUES | changes, follow=True)
        row.refresh_from_db()
        return response

    def test_a_tenant_that_is_gone_is_refused(self, operator, tenant):
        row = BackupSettings.objects.create(tenant_id="ghost")
        response = self.save(operator, row)
        assert response.context["adminform"].form.non_field_errors() == [
            "These settings cannot be changed. There is no tenant 'ghost'."
        ]
        assert not row.automatic
        assert not Event.objects.exists()

    @pytest.mark.parametrize(
        ("field", "value"), [("keep_last", "0"), ("day_of_month", "32"), ("interval", "yearly")]
    )
    def test_a_wrong_value_is_refused(self, operator, row, field, value):
        response = self.save(operator, row, **{field: value})
        assert field in response.context["adminform"].form.errors
        assert not row.automatic

    def test_the_tenant_and_the_next_run_are_not_for_editing(self, operator, row):
        self.save(operator, row, tenant_id="evil", next_run_at_0="2000-01-01", next_run_at_1="0:0")
        assert row.tenant_id == "acme"
        assert row.next_run_at > timezone.now()

    def test_the_next_run_follows_at_once(self, operator, row):
        response = self.save(operator, row)
        assert [level for level, _ in told(response)] == [messages.SUCCESS]
        first = row.next_run_at
        assert timezone.now() < first <= timezone.now() + timedelta(days=1)
        assert (row.keep_last, row.keep_monthly, row.notify_email) == (7, 12, "ops@example.com")
        self.save(operator, row, interval="hourly", time_of_day="00:00")
        assert row.next_run_at <= timezone.now() + timedelta(hours=1)
        self.save(operator, row, automatic="")
        assert row.next_run_at is None

    def test_a_change_is_recorded_with_who(self, staff, row):
        self.save(staff("change_backupsettings"), row)
        event = Event.objects.get()
        assert (event.kind, event.actor, event.tenant_id) == ("configured", "ada", "acme")

    def test_says_how_many_backups_the_new_limits_will_remove(self, operator, row):
        for days in range(1, 5):
            make_row(created_at=timezone.now() - timedelta(days=days), file_name=f"{days}.sqlite3")
        response = self.save(operator, row, automatic="on", keep_last=2)
        assert "3 backups will be removed after the next one." in texts(response, messages.WARNING)
        response = self.save(operator, row, automatic="on", keep_last="", keep_monthly="")
        assert texts(response, messages.WARNING) == []

    def test_saving_sets_a_next_run_that_nobody_has_set_yet(self, operator, row):
        BackupSettings.objects.update(automatic=True, next_run_at=None)
        self.save(operator, row)
        assert row.next_run_at


SWITCH = "admin:tenant_backup_automation_switch"


class TestSwitch:
    """Automation's switch above the list of all tenants."""

    def press(self, client, switch="pause", **headers):
        return client.post(reverse(SWITCH), {"switch": switch}, follow=True, **headers)

    def test_strangers_are_sent_to_the_login(self, client):
        assert "/login/" in self.press(client).redirect_chain[0][0]
        assert not automation.is_paused()

    def test_without_the_permission_it_is_refused_and_not_offered(self, staff, automation_runs):
        client = staff("view_backupsettings", "change_backupsettings", "view_automation")
        page = client.get(url("backupsettings")).content.decode()
        assert "running" in page
        assert 'name="switch"' not in page
        assert self.press(client).status_code == 403
        assert not automation.is_paused()

    @pytest.mark.parametrize("method", ["get", "head", "put", "delete"])
    def test_a_wrong_method_is_refused(self, operator, method):
        assert getattr(operator, method)(reverse(SWITCH)).status_code == 405
        assert not automation.is_paused()

    def test_without_a_csrf_token_it_is_refused(self):
        client = Client(enforce_csrf_checks=True)
        client.force_login(User.objects.create_superuser("grace"))
        assert self.press(client).status_code == 403
        assert not automation.is_paused()

    @pytest.mark.parametrize("switch", ["", "off"])
    def test_neither_pause_nor_resume_is_refused(self, operator, switch):
        assert self.press(operator, switch).status_code == 400
        assert not automation.is_paused()

    @pytest.mark.parametrize("model", ["backupsettings", "automation"])
    def test_by_the_form_of_either_list_it_pauses_and_resumes(self, staff, automation_runs, model):
        user = staff("view_backupsettings", "change_automation")
        client = Client(enforce_csrf_checks=True)
        client.cookies = user.cookies
        for switch, other in (("pause", "resume"), ("resume", "pause")):
            page = client.get(url(model)).content.decode()
            assert f'name="switch" value="{switch}"' in page
            assert f'name="switch" value="{other}"' not in page
            token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
            shown = re.search(r'name="next" value="(.*?)"', page)[1]
            data = {"switch": switch, "csrfmiddlewaretoken": token, "next": shown}
            response = client.post(reverse(SWITCH), data, follow=True)
            assert response.redirect_chain == [(url(model), 302)]
            [(level, _)] = told(response)
            assert level == messages.SUCCESS
            assert automation.is_paused() == (switch == "pause")
            assert ("Paused by ada (" in response.content.decode()) == (switch == "pause")
        assert list(Event.objects.order_by("pk").values_list("kind", "actor", "tenant_id")) == [
            ("paused", "ada", ""),
            ("resumed", "ada", ""),
        ]

    def test_it_leads_back_to_what_was_filtered(self, operator):
        shown = f"{url('backupsettings')}?state=off&q=a%26b"
        page = operator.get(shown).content.decode()
        assert f'name="next" value="{html.escape(shown)}"' in page
        response = operator.post(reverse(SWITCH), {"switch": "pause", "next": shown})
        assert response["Location"] == shown
        response = operator.post(reverse(SWITCH), {"switch": "pause", "next": f"{shown}\r\nX: y"})
        assert response["Location"] == f"{shown}%0D%0AX:%20y"

    @pytest.mark.parametrize(
        "elsewhere", ["", "https://evil.example/", "//evil.example", "javascript:x"]
    )
    def test_it_leads_nowhere_else(self, operator, elsewhere):
        response = operator.post(reverse(SWITCH), {"switch": "pause", "next": elsewhere})
        assert response["Location"] == url("automation")

    def test_the_list_of_automation_has_no_actions_beside_the_switch(self, operator):
        assert operator.get(url("automation")).context["action_form"] is None

    @pytest.mark.parametrize("state", ["not set up", "paused", "stalled", "running"])
    def test_the_list_of_automation_shows_its_state(self, operator, state):
        if state == "not set up":
            Schedule.objects.all().delete()
        else:
            automation.set_up()
        if state != "stalled":
            automation.tick()
        if state == "paused":
            automation.pause("ada")
        row = operator.get(url("automation")).content.decode().split('id="result_list"')[1]
        assert f">{state}</" in row

    def test_who_may_only_look_at_automation_has_no_switch(self, staff):
        client = staff("view_automation")
        assert 'name="switch"' not in client.get(url("automation")).content.decode()
        assert self.press(client).status_code == 403
        assert not automation.is_paused()

    def test_two_who_press_the_same_do_not_undo_each_other(self, operator):
        self.press(operator)
        self.press(operator)
        assert automation.is_paused()


class TestAllTenants:
    """All tenants in one list: how each stands, and what can be done about it."""

    @pytest.fixture
    def all_tenants(self, add_tenant):
        """One tenant in each state while automation runs, named by it."""
        tick()
        now = timezone.now()
        for name in ("overdue", "failed", "lost", "none", "off", "well"):
            add_tenant(name, database=False)
        automatic = {"automatic": True, "next_run_at": now + timedelta(days=400)}
        rows = {
            "overdue": {**automatic, "scheduled_since": now - timedelta(days=90)},
            "failed": automatic,
            "lost": {},
            "none": automatic,
            "off": {},
            "well": {**automatic, "interval": Interval.WEEKLY},
            "gone": {**automatic, "scheduled_since": now - timedelta(days=90)},
        }
        absence.retire(["gone"])
        for number, (name, fields) in enumerate(rows.items()):
            BackupSettings.objects.create(tenant_id=name, **fields)
            for count in range(0 if name in ("none", "lost") else number + 1):
                make_row(name, created_at=now - timedelta(days=3 + number, hours=count))
        make_row("failed", status=Status.FAILED, created_at=now - timedelta(days=1))
        make_row("lost", missing_at=now - timedelta(hours=1))
        return rows

    def list(self, client, query=""):
        return client.get(f"{url('backupsettings')}?{query}")

    def names(self, client, query=""):
        response = self.list(client, query)
        assert response.status_code == 200
        return [row.tenant_id for row in response.context["cl"].result_list]

    def rows(self, response):
        """The texts in each row of the table, by the tenant."""
        table = response.content.decode().split('id="result_list"')[1].split("</table>")[0]
        rows = {}
        for row in re.findall(r"<tr>(.*?)</tr>", table.split("<tbody>")[1], re.DOTALL):
            cells = re.findall(r"<t[dh] class=\"field-(\w+).*?>(.*?)</t[dh]>", row, re.DOTALL)
            texts = {name: " ".join(strip_tags(cell).split()) for name, cell in cells}
            rows[texts["tenant"].split()[-1]] = texts
        return rows

    def states(self, response):
        """The sign and the word of each state, without the reason and the button after it."""
        page = response.content.decode().split('id="result_list"')[1]
        lights = re.findall(r'<span class="backup-light .*?</span> .*?</span>', page)
        return dict(zip(self.rows(response), map(strip_tags, lights), strict=True))

    def test_each_state_in_a_sign_and_a_word(self, operator, all_tenants):
        assert self.states(self.list(operator)) == {
            "overdue": "✕ overdue",
            "failed": "✕ failed",
            "lost": "✕ backups missing or damaged",
            "none": "! no backup yet",
            "off": "· automatic off",
            "well": "✓ all well",
            "gone": "· retired",
        }

    def test_the_first_that_is_true_is_the_state(self, operator, all_tenants):
        """Each state gives way to the one before it, once that is true, too."""
        states = []
        for change in (
            {},
            {"automatic": False},
            None,
            {"status": Status.COMPLETE, "missing_at": timezone.now() - timedelta(hours=1)},
            {"status": Status.FAILED},
            {"automatic": True, "scheduled_since": timezone.now() - timedelta(days=90)},
        ):
            if change is None:
                Backup.objects.filter(tenant_id="well").delete()
            elif "status" in change:
                make_row("well", **change)
            else:
                BackupSettings.objects.filter(tenant_id="well").update(**change)
            states.append(self.states(self.list(operator))["well"])
        gone = list(Tenants.tenants)
        Tenants.tenants.clear()
        states.append(self.states(self.list(operator))["well"])
        Backup.objects.update(missing_at=None)
        absence.note(set(), timezone.now() - timedelta(days=2))
        states.append(self.states(self.list(operator))["well"])
        absence.retire(["well"])
        states.append(self.states(self.list(operator))["well"])
        Tenants.tenants.extend(gone)
        states.append(self.states(self.list(operator))["well"])
        assert [text.split()[-1] for text in states] == [
            *("well", "off", "yet", "damaged", "failed", "overdue"),
            *("listed", "disappeared", "retired", "failed"),
        ]

    @pytest.mark.parametrize("stop", ["stalled", "paused"])
    def test_while_automation_does_not_run_nobody_automatic_is_well(
        self, operator, all_tenants, stop
    ):
        """For nobody notes what comes to be wrong."""
        if stop == "paused":
            automation.pause("operator")
        else:
            Automation.objects.update(last_tick_at=timezone.now() - timedelta(hours=1))
        rows = self.rows(self.list(operator))
        assert rows["well"]["state"] == "! automation does not run"
        assert rows["off"]["state"] == "· automatic off"
        assert "well" not in self.names(operator, "state=well")

    def test_the_columns_in_words(self, operator, all_tenants):
        rows = self.rows(self.list(operator))
        day = date_format(timezone.now() - timedelta(days=8), "SHORT_DATE_FORMAT")
        well = rows["well"]
        assert well["tenant"] == "Well well"
        assert well["last_good"] == f"1\xa0week ago {day}".replace("\xa0", " ")
        month = (timezone.now() + timedelta(days=400)).strftime("%b")
        assert well["schedule"].startswith(f"every week {month}")
        assert well["good"] == "9.0 MB 6 backups"
        off = rows["off"]
        assert off["schedule"] == "off"
        # What is of a time to come, by a wrong clock, is no backup yet, but there it is.
        assert rows["none"]["last_good"] == "-"
        assert rows["none"]["good"] == "-"
        assert rows["lost"]["good"] == "-"
        # Nobody knows its name any more.
        assert rows["gone"]["tenant"] == "gone"

    def test_a_name_that_is_the_id_is_shown_once_and_none_is_markup(self, operator, add_tenant):
        plain, evil = add_tenant("plain"), add_tenant("evil")
        Tenants.tenants[:] = [replace(plain, name="plain"), replace(evil, name="<script>Evil")]
        response = self.list(operator)
        assert self.rows(response)["plain"]["tenant"] == "plain"
        assert "&lt;script&gt;Evil" in response.content.decode()
        assert "<script>Evil" not in response.content.decode()

    def test_tenants_that_are_new_are_in_it_at_once(self, operator, add_tenant):
        add_tenant("new")
        assert self.names(operator) == ["new"]

    def test_tenants_that_are_not_valid_are_told(self, operator, tenant):
        mars = replace(tenant, id="mars", time_zone="Mars/Base")
        Tenants.tenants += [replace(tenant, id=""), mars, *[mars] * 20]
        response = self.list(operator)
        text = "The tenant id '' must be text of 1 to 255 characters."
        # One without an id has no row that could say it, and the others say it in theirs.
        assert texts(response, messages.ERROR) == [text]
        rows = self.rows(response)
        assert list(rows) == ["mars", "acme"]
        assert self.states(response)["mars"] == "✕ not valid"
        assert "The time zone 'Mars/Base' of tenant" in html.unescape(rows["mars"]["state"])

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("state=overdue", ["overdue"]),
            ("state=failed", ["failed"]),
            ("state=missing", ["lost"]),
            ("state=no_backup", ["none"]),
            ("state=off", ["off"]),
            ("state=well", ["well"]),
            ("state=retired", ["gone"]),
            ("state=attention", ["overdue", "failed", "lost"]),
            ("state=listed&automatic__exact=0", ["lost", "off"]),
            ("state=attention&automatic__exact=0", ["lost"]),
            ("interval__exact=weekly", ["well"]),
            ("state=attention&q=over", ["overdue"]),
            ("q=over", ["overdue"]),
            ("q=+WELL+", ["well"]),
            ("q=gone", ["gone"]),
            ("q=nobody", []),
        ],
    )
    def test_filters_and_search(self, operator, all_tenants, query, expected):
        assert self.names(operator, query) == expected

    @pytest.mark.parametrize("query", ["state=nonsense", "q=+", "state="])
    def test_what_asks_for_nothing_leaves_all(self, operator, all_tenants, query):
        assert len(self.names(operator, query)) == len(all_tenants)

    def test_the_filter_counts_as_the_column_says(self, operator, all_tenants):
        page = self.list(operator, "_facets=True").content.decode()
        assert "needs attention (3)" in page
        states = [text[2:] for text in self.states(self.list(operator)).values()]
        for verdict in Verdict:
            is_there = verdict.label in states
            assert f"{verdict.label} ({int(is_there)})" in page

    def test_search_by_the_name_that_only_the_provider_knows(self, operator, add_tenant):
        Tenants.tenants.append(replace(add_tenant("a7"), name="Käse & Söhne"))
        del Tenants.tenants[0]
        add_tenant("b8")
        for words in ("käse", "SÖHNE", "a7 käse", "&"):
            assert self.names(operator, urlencode({"q": words})) == ["a7"]
        assert self.names(operator, "q=käse+b8") == []

    def test_each_column_sorts(self, operator, all_tenants):
        by_id = sorted(all_tenants)
        assert self.names(operator, "o=1") == by_id
        assert self.names(operator, "o=-1") == by_id[::-1]
        # The gravest first.
        gravest = ["overdue", "failed", "lost", "none", "off", "well", "gone"]
        assert self.names(operator, "o=2.1") == gravest
        assert self.names(operator, "o=-2.1") == gravest[::-1]
        # Who has none first, then the one whose last is oldest.
        oldest = ["lost", "none", "gone", "well", "off", "failed", "overdue"]
        assert self.names(operator, "o=4.1") == oldest
        assert self.names(operator, "o=-4.-1") == oldest[::-1]
        BackupSettings.objects.filter(tenant_id="failed").update(next_run_at=timezone.now())
        assert self.names(operator, "o=3.1")[0] == "failed"
        assert self.names(operator, "o=3.1")[-2:] == ["lost", "off"]
        fewest = ["lost", "none", "overdue", "failed", "off", "well", "gone"]
        assert self.names(operator, "o=5.1") == fewest

    def test_a_provider_that_fails_is_told_and_ids_stand_for_names(
        self, operator, all_tenants, monkeypatch, caplog
    ):
        def fail(self):
            yield Tenant("well", "Well", Path("/x"), Path("/x/y"))
            raise ConnectionError("no <tenants> today")

        monkeypatch.setattr(Tenants, "all_tenants", fail)
        # Without tenants nothing can be judged, so what the last tick has noted is shown.
        TenantState.objects.filter(tenant_id="gone").update(noted=Verdict.OVERDUE)
        response = self.list(operator)
        [text] = texts(response, messages.ERROR)
        assert text.endswith("no <tenants> today")
        assert "&lt;tenants&gt;" in response.content.decode()
        rows = self.rows(response)
        assert rows["well"]["tenant"] == "well"
        assert rows["gone"]["state"] == "✕ overdue"
        assert "cannot list the tenants" in caplog.text
        assert self.names(operator, "q=wel") == ["well"]
        [row] = BackupSettings.objects.filter(tenant_id="well")
        assert operator.get(url("backupsettings", "change", row.pk)).status_code == 200
        # Told once, on the page that follows an action.
        response = act(operator, "backupsettings", "switch_on", [row])
        assert (
            len([text for text in texts(response, messages.ERROR) if "instead of names" in text])
            == 1
        )

    def test_the_header_has_the_totals_of_all(self, operator, all_tenants):
        response = self.list(operator, "state=well")
        head = response.content.decode().split('class="backup-tenants"')[1].split("</dl>")[0]
        pairs = re.findall(r"<dt>(.*?)</dt>\s*<dd>(.*?)</dd>", head, re.DOTALL)
        assert {name: " ".join(strip_tags(text).split()) for name, text in pairs} == {
            "Tenants": "6",
            "All well": "1",
            "Need attention": "3",
            "No backup yet": "1",
            "Automatic off": "2",
            "Retired": "1",
            "Good backups": "21 31.5 MB",
        }
        for link, number in re.findall(r'href="\?(.*?)">(\d+)<', head):
            assert len(self.names(operator, html.unescape(link))) == int(number)

    def counts(self, client):
        page = self.list(client).content.decode()
        head = page.split('class="backup-tenants"')[1].split("</dl>")[0]
        pairs = re.findall(r"<dt>(.*?)</dt>\s*<dd>(.*?)</dd>", head, re.DOTALL)
        return {name: strip_tags(text).split()[0] for name, text in pairs}

    def test_the_header_agrees_with_checkbackups(self, operator, all_tenants, capsys):
        """One function judges for both."""
        now = timezone.now()
        Backup.objects.update(missing_at=None)
        for name in ("lost", "missing"):
            tenant = replace(Tenants.tenants[0], id=name)
            if name == "missing":
                Tenants.tenants.append(tenant)
            # Found in this minute, which no mail tells of yet.
            make_row(name, missing_at=now)
        BackupSettings.objects.create(tenant_id="hangs")
        Tenants.tenants.append(replace(Tenants.tenants[0], id="hangs"))
        make_row(
            "hangs", status=Status.RUNNING, created_at=now, started_at=now - timedelta(hours=1)
        )
        BackupSettings.objects.create(tenant_id="ahead")
        Tenants.tenants.append(replace(Tenants.tenants[0], id="ahead"))
        make_row("ahead", created_at=now + timedelta(days=1))
        # New, so that it has no row yet.
        Tenants.tenants.append(replace(Tenants.tenants[0], id="invalid", time_zone="Mars/Base"))
        BackupSettings.objects.create(tenant_id="absent")
        make_row("absent")
        absence.note({tenant.id for tenant in Tenants.tenants}, now - timedelta(days=2))
        for tenant in Tenants.tenants:
            backups.directory_of(tenant).make()
        Backup.objects.update(file_name="")
        counts = self.counts(operator)
        with pytest.raises(CommandError):
            call_command("checkbackups", "--json")
        answer = json.loads(capsys.readouterr().out)
        found = Counter(tenant["verdict"] for tenant in answer["tenants"])
        assert counts["Tenants"] == str(len(Tenants.tenants))
        assert counts["All well"] == str(found["well"])
        assert counts["No backup yet"] == str(found["no_backup"])
        assert counts["Retired"] == str(found["retired"])
        listed = [each for each in answer["tenants"] if each["id"] not in ("gone", "absent")]
        off = sum(not each["automatic"] for each in listed)
        assert counts["Automatic off"] == str(off)
        assert counts["Need attention"] == str(len(answer["errors"]))
        assert {error["tenant"] for error in answer["errors"]} == set(
            self.names(operator, "state=attention")
        )

    def test_the_first_line_of_checkbackups_has_the_numbers_of_the_header(
        self, operator, all_tenants, capsys
    ):
        """Each tenant is counted once, by the verdict that the admin's filter finds it by."""
        Backup.objects.update(missing_at=None)
        for tenant in Tenants.tenants:
            backups.directory_of(tenant).make()
        Backup.objects.update(file_name="")

        def first_line():
            with pytest.raises(CommandError):
                call_command("checkbackups")
            return capsys.readouterr().err.split(" (times in ")[0]

        counts = self.counts(operator)
        assert (counts["All well"], counts["Retired"]) == ("1", "1")
        assert first_line() == (
            f"{counts['All well']} of {counts['Tenants']} well; "
            f"{counts['Need attention']} need you; "
            f"{counts['No backup yet']} has no backup yet; "
            f"{len(self.names(operator, 'state=off'))} are backed up by hand only"
        )
        Automation.objects.update(last_tick_at=timezone.now() - timedelta(days=1))
        counts = self.counts(operator)
        waiting = self.names(operator, "state=stopped")
        assert (counts["All well"], waiting) == ("0", ["well"])
        assert first_line().startswith(f"{counts['All well']} of {counts['Tenants']} well; ")
        assert f"; {len(waiting)} waits for automation" in first_line()

    def test_where_nobody_has_anything_yet(self, operator, add_tenant):
        """Nobody wants backups: that is said, and no alarm, here as in `checkbackups`."""
        for name in "abc":
            add_tenant(name)
        call_command("checkbackups", verbosity=0)
        assert self.counts(operator) == {
            "Tenants": "3",
            "All well": "0",
            "Need attention": "0",
            "No backup yet": "3",
            "Automatic off": "3",
            "Retired": "0",
            "Good backups": "0",
        }

    def test_those_who_are_gone_are_retired_by_an_action(self, staff, all_tenants):
        client = staff("view_backupsettings", "change_backupsettings")
        BackupSettings.objects.create(tenant_id="away")
        rows = BackupSettings.objects.filter(tenant_id__in=["away", "well"])
        response = act(client, "backupsettings", "retire", rows)
        assert told(response) == [
            (messages.ERROR, "1 tenant is not retired: the tenant provider lists it."),
            (messages.SUCCESS, "1 tenant is retired."),
        ]
        row = TenantState.objects.get(tenant_id="away")
        assert (row.retired_by, row.retired_at is not None) == ("ada", True)
        assert self.rows(self.list(client))["away"]["state"] == "· retired"

    def test_the_header_of_nothing(self, operator):
        page = self.list(operator).content.decode()
        assert "0 bytes" in page.replace("\xa0", " ")

    @pytest.mark.parametrize(
        ("state", "words"),
        [
            ("running", ["running", "Last tick: just now."]),
            ("stalled", ["stalled", "Last tick: 1 hour ago.", "python manage.py qcluster"]),
            ("new", ["stalled", "No tick yet."]),
            ("paused", ["paused", "Paused by &lt;ada&gt; ("]),
            ("not set up", ["not set up", "python manage.py automatebackups enable"]),
        ],
    )
    def test_the_header_says_how_automation_stands_and_what_to_do(self, operator, state, words):
        automation.set_up()
        tick()
        if state == "stalled":
            Automation.objects.update(last_tick_at=timezone.now() - timedelta(hours=1))
        elif state == "new":
            Automation.objects.update(last_tick_at=None)
        elif state == "paused":
            automation.pause("<ada>")
        elif state == "not set up":
            Schedule.objects.all().delete()
        page = self.list(operator).content.decode().replace("\xa0", " ")
        head = page.split('class="backup-automation"')[1].split('id="content-main"')[0]
        for text in words:
            assert text in head

    def test_nothing_in_it_is_inline(self, operator, all_tenants):
        page = self.list(operator).content.decode()
        head = page.split('class="backup-tenants"')[1].split('id="content-main"')[0]
        table = page.split('id="result_list"')[1].split("</table>")[0]
        for part in (head, table):
            assert not re.search(r"<script|<style|\sstyle=|\son\w+=", part)
        assert "tenant_backup/admin.css" in page

    def test_the_worst_is_first_and_its_row_says_why(self, operator, all_tenants):
        make_row(
            "failed", status=Status.FAILED, error="The <disk> is full. " + "It is very full. " * 20
        )
        response = self.list(operator)
        rows = self.rows(response)
        assert list(rows) == ["overdue", "failed", "lost", "none", "off", "well", "gone"]
        assert "✕ failed The &lt;disk&gt; is full. It is" in rows["failed"]["state"]
        assert len(rows["failed"]["state"]) < 200
        assert "A backup was due at" in rows["overdue"]["state"]
        assert "The file of 1 backup is missing or damaged." in rows["lost"]["state"]
        for name in ("off", "well", "gone"):
            assert rows[name]["state"] == self.states(response)[name]

    def test_from_the_row_the_remedy_is_one_click_away(self, staff, tenant):
        make_row(status=Status.FAILED)
        client = staff("view_backupsettings", "add_backup")
        page = self.list(client).content.decode()
        address = re.search(r'formaction="([^"]+)" name="do" value="back_up"', page)[1]
        [row] = BackupSettings.objects.all()
        assert f'href="{url("backupsettings", "change", row.pk)}"' in page
        # It is a button of the list's own form, so this comes with it.
        data = {"do": "back_up", "action": "", "index": 0, "_selected_action": []}
        response = client.post(address, data, follow=True)
        assert told(response) == [(messages.SUCCESS, "1 backup was made.")]
        assert response.redirect_chain[-1][0] == url("backupsettings", "change", row.pk)
        # Where nothing is wrong, and for who may not, there is no such button.
        assert "formaction" not in self.list(client).content.decode()

    def test_who_may_not_back_up_has_no_such_button(self, staff, tenant):
        make_row(status=Status.FAILED)
        client = staff("view_backupsettings", "change_backupsettings")
        assert "formaction" not in self.list(client).content.decode()

    def test_a_thousand_tenants_take_as_many_queries_as_three(self, operator, add_tenant):
        def fill(numbers):
            BackupSettings.objects.bulk_create(
                BackupSettings(tenant_id=f"t{number:04}", automatic=True) for number in numbers
            )
            Backup.objects.bulk_create(
                Backup(
                    tenant_id=f"t{number:04}",
                    status=Status.COMPLETE,
                    trigger=Trigger.AUTOMATIC,
                    size=1000,
                    file_name=f"{day}.sqlite3",
                    created_at=timezone.now() - timedelta(days=day),
                )
                for number in numbers
                for day in range(5)
            )
            Tenants.tenants.extend(replace(any_tenant, id=f"t{number:04}") for number in numbers)

        any_tenant = add_tenant("t", database=False)
        Tenants.tenants.clear()
        automation.set_up()
        tick()
        fill(range(3))
        self.list(operator)
        with CaptureQueriesContext(connection) as few:
            assert len(self.names(operator)) == 3
        fill(range(3, 1000))
        with CaptureQueriesContext(connection) as many:
            response = self.list(operator)
        assert response.context["cl"].result_count == 1000
        assert len(response.context["cl"].result_list) == 100
        # The session and the user; the ids, also for those who are not listed; the four of
        # monitoring; the two counts and the page of the list; the states and the backups of the
        # header; automation's row, its schedule twice, and what waits to be handed over; the
        # requests for lost data.
        assert len(few) == len(many) == 17

    def test_a_state_is_that_of_now_and_not_of_the_last_tick(
        self, operator, all_tenants, add_tenant
    ):
        """What an action has done is seen at once, with a cluster or without."""
        Automation.objects.update(last_tick_at=timezone.now() - timedelta(hours=1))
        act(
            operator, "backupsettings", "back_up_now", [BackupSettings.objects.get(tenant_id="off")]
        )
        assert self.states(self.list(operator))["off"] == "✕ failed"
        add_tenant("sound")
        self.list(operator)
        act(
            operator,
            "backupsettings",
            "back_up_now",
            [BackupSettings.objects.get(tenant_id="sound")],
        )
        assert self.rows(self.list(operator))["sound"]["state"] == "· automatic off"

    def test_a_next_run_that_no_tick_has_set_yet_is_shown_as_on_the_page(
        self, operator, all_tenants
    ):
        BackupSettings.objects.filter(tenant_id="well").update(next_run_at=None)
        assert self.rows(self.list(operator))["well"]["schedule"].startswith("every week ")

    def test_the_provider_is_asked_once_a_request(self, operator, all_tenants, monkeypatch):
        asked = []
        tenants = list(Tenants.tenants)
        monkeypatch.setattr(Tenants, "all_tenants", lambda self: asked.append(1) or tenants)
        self.list(operator, "state=attention&q=over&o=2")
        assert len(asked) == 1


class TestSwitchingAutomatic:
    def test_a_tenant_that_is_gone_is_told_and_the_rest_goes_on(self, operator, tenant):
        gone = BackupSettings.objects.create(tenant_id="gone")
        response = act(operator, "backupsettings", "switch_on", [gone, *settings_of(tenant)])
        assert texts(response, messages.ERROR) == [
            "Automatic backup of gone was not changed: There is no tenant 'gone'."
        ]
        assert texts(response, messages.SUCCESS) == ["Automatic backup is on for 1 tenant."]
        assert BackupSettings.objects.filter(automatic=True).get().tenant_id == "acme"

    def test_on_sets_the_next_run_and_off_takes_it_away(self, staff, add_tenant):
        client = staff("view_backupsettings", "change_backupsettings")
        rows = settings_of(add_tenant("acme"), add_tenant("globex"))
        response = act(client, "backupsettings", "switch_on", rows)
        assert told(response) == [(messages.SUCCESS, "Automatic backup is on for 2 tenants.")]
        for row in BackupSettings.objects.all():
            assert row.automatic
            assert row.next_run_at > timezone.now()
        response = confirm(client, act(client, "backupsettings", "switch_off", rows))
        assert texts(response, messages.SUCCESS) == ["Automatic backup is off for 2 tenants."]
        assert not BackupSettings.objects.filter(automatic=True).exists()
        assert not BackupSettings.objects.exclude(next_run_at=None).exists()
        events = Event.objects.filter(kind=EventKind.CONFIGURED)
        assert [event.actor for event in events] == ["ada"] * 4

    def test_off_asks_first_and_names_those_that_are_on(self, operator, add_tenant):
        on, off = settings_of(add_tenant("acme"), add_tenant("globex"))
        BackupSettings.objects.filter(pk=on.pk).update(automatic=True)
        response = act(operator, "backupsettings", "switch_off", [on, off])
        page = response.content.decode()
        assert "1 tenant gets no automatic backup any more" in page
        assert "Acme" in page
        assert "Globex" not in page.split('id="content-main"')[1]
        on.refresh_from_db()
        assert on.automatic
        assert not Event.objects.exists()

    def test_undo_switches_exactly_those_on_again(self, operator, add_tenant):
        rows = settings_of(*map(add_tenant, ("acme", "globex", "initech")))
        BackupSettings.objects.exclude(tenant_id="initech").update(automatic=True)
        response = confirm(operator, act(operator, "backupsettings", "switch_off", rows))
        assert not BackupSettings.objects.filter(automatic=True).exists()
        [form] = texts(response, messages.INFO)
        assert form in response.content.decode()
        response = undo(operator, form)
        assert texts(response, messages.SUCCESS) == ["Automatic backup is on for 2 tenants."]
        on = BackupSettings.objects.filter(automatic=True).values_list("tenant_id", flat=True)
        assert set(on) == {"acme", "globex"}

    def test_neither_answer_nor_undo_is_for_others(self, staff, operator, tenant):
        BackupSettings.objects.create(tenant_id="acme", automatic=True)
        question = act(operator, "backupsettings", "switch_off", BackupSettings.objects.all())
        client = staff("view_backupsettings", "add_backup")
        for name in ("switch_off", "switch_on_again"):
            address = reverse(f"admin:tenant_backup_{name}")
            assert client.get(address).status_code == 405
            data = {"chosen": question.context["chosen"]}
            assert client.post(address, data).status_code == 403
            strict = Client(enforce_csrf_checks=True)
            strict.force_login(User.objects.get(username="grace"))
            assert strict.post(address, data).status_code == 403
        assert BackupSettings.objects.get().automatic

    def test_what_the_form_did_not_ask_about_is_not_switched(self, operator, tenant):
        row = BackupSettings.objects.create(tenant_id="acme", automatic=True)
        for forged in ("", "nonsense", signing.dumps([row.pk])):
            address = reverse("admin:tenant_backup_switch_off")
            response = operator.post(address, {"chosen": forged}, follow=True)
            assert [level for level, _ in told(response)] == [messages.ERROR]
        assert BackupSettings.objects.get().automatic

    def test_a_thousand_are_one_field(self, operator, tenant):
        """A host's limit is a thousand fields in a form."""
        BackupSettings.objects.bulk_create(
            BackupSettings(tenant_id=f"t{number}", automatic=True) for number in range(1200)
        )
        data = {"action": "switch_off", "select_across": "1", "index": 0}
        first = BackupSettings.objects.first()
        question = operator.post(url("backupsettings"), {**data, "_selected_action": [first.pk]})
        assert "1,200 tenants get" in question.content.decode().replace("1200", "1,200")
        assert len(question.context["chosen"]) < 10_000

    def test_where_it_is_off_already_nothing_is_asked(self, operator, tenant):
        rows = settings_of(tenant)
        response = act(operator, "backupsettings", "switch_off", rows)
        assert told(response) == [
            (messages.INFO, "Automatic backup is off already for all that you selected.")
        ]
        assert not Event.objects.exists()

    def test_what_somebody_changes_meanwhile_is_kept(self, operator, tenant, monkeypatch):
        rows = settings_of(tenant)
        get_tenant = Tenants.get_tenant

        def change_first(self, tenant_id):
            BackupSettings.objects.update(keep_last=7)
            return get_tenant(self, tenant_id)

        monkeypatch.setattr(Tenants, "get_tenant", change_first)
        act(operator, "backupsettings", "switch_on", rows)
        row = BackupSettings.objects.get()
        assert (row.automatic, row.keep_last) == (True, 7)


class TestVerifying:
    def test_without_a_good_backup_there_is_nothing_to_read(self, operator, tenant):
        response = act(operator, "backupsettings", "verify", settings_of(tenant))
        assert told(response) == [
            (
                messages.ERROR,
                "The newest backup of acme was not verified: There is no good backup.",
            )
        ]

    @pytest.mark.parametrize("damage", ["missing", "damaged"])
    def test_what_is_wrong_is_told_and_the_rest_goes_on(
        self, operator, add_tenant, tenant, backup, file, damage
    ):
        other = add_tenant("globex")
        backups.create(other, COMMAND)
        if damage == "missing":
            file.unlink()
        else:
            file.write_bytes(b"x")
        response = act(operator, "backupsettings", "verify", settings_of(tenant, other))
        [text] = texts(response, messages.ERROR)
        assert text.startswith("The newest backup of acme was not verified: ")
        assert f"{damage}" in text
        assert texts(response, messages.SUCCESS) == ["1 backup was verified and is good."]
        backup.refresh_from_db()
        assert getattr(backup, f"{damage}_at")

    def test_the_newest_is_read_again(self, staff, tenant, backup):
        newer = backups.create(tenant, COMMAND).backup
        long_ago = timezone.now() - timedelta(days=9)
        Backup.objects.update(verified_at=long_ago)
        client = staff("view_backupsettings", "change_backupsettings")
        response = act(client, "backupsettings", "verify", settings_of(tenant))
        assert told(response) == [(messages.SUCCESS, "1 backup was verified and is good.")]
        verified = Backup.objects.filter(verified_at__gt=long_ago)
        assert verified.get() == newer
        assert not OrmQ.objects.exists()

    def test_without_workers_a_request_reads_only_a_few(self, operator, add_tenant):
        tenants = [add_tenant(f"t{number}", rows=1) for number in range(7)]
        for each in tenants:
            backups.create(each, COMMAND)
        response = act(operator, "backupsettings", "verify", settings_of(*tenants))
        assert texts(response, messages.SUCCESS) == ["5 backups were verified and are good."]
        [text] = texts(response, messages.WARNING)
        assert re.search(r"python manage.py verifybackups t\d t\d$", text)

    def test_where_automation_runs_workers_read_it(
        self, operator, tenant, backup, file, automation_runs, atomic_requests
    ):
        response = act(operator, "backupsettings", "verify", settings_of(tenant))
        assert told(response) == [
            (
                messages.SUCCESS,
                "Verifying 1 backup in the background. The state shows the result.",
            )
        ]
        task = OrmQ.objects.get().task
        assert (task["func"], task["args"]) == (automation.queue.VERIFY, (backup.pk,))
        file.unlink()
        automation.verify(*task["args"])
        backup.refresh_from_db()
        assert backup.missing_at


class TestIndex:
    def entries(self, client):
        response = client.get(reverse("admin:index"))
        return {
            model["name"]
            for app in response.context["app_list"]
            if app["app_label"] == "tenant_backup"
            for model in app["models"]
        }

    def test_one_entry_leads_to_all_lists(self, operator):
        assert self.entries(operator) == {"Backups of all tenants"}
        models = ["backupsettings", "backup", "event", "automation"]
        for model in models:
            page = operator.get(url(model))
            assert [address for _, address, _ in page.context["lists"]] == list(map(url, models))
            for other in models:
                assert f'<a href="{url(other)}"' in page.content.decode()
            assert f'<a href="{url(model)}" aria-current="page">' in page.content.decode()

    def test_who_may_not_see_all_tenants_finds_the_rest_in_the_index(self, staff):
        client = staff("view_backup", "view_event")
        assert self.entries(client) == {"Backups", "Events"}
        addresses = [address for _, address, _ in client.get(url("event")).context["lists"]]
        assert addresses == [url("backup"), url("event")]


class TestObjectHistory:
    """What Django calls an object's history is ours, not its log of what the admin changed."""

    def test_of_a_tenant_is_all_of_its_lines_and_no_other_s(self, operator, tenant, backup):
        Event.record(EventKind.RESTORED, "other", detail="nothing of ours")
        backups.pin(tenant, backup, pinned=True, actor="<ada>")
        [row] = settings_of(tenant)
        page = operator.get(url("backupsettings", "history", row.pk)).content.decode()
        assert page.count("<time ") == 2
        assert "pinned" in page
        assert "&lt;ada&gt;" in page
        assert "nothing of ours" not in page

    def test_of_a_backup_is_what_happened_to_it(self, operator, tenant, backup):
        other = backups.create(tenant, COMMAND).backup
        backups.pin(tenant, other, pinned=True)
        page = operator.get(url("backup", "history", backup.pk)).content.decode()
        assert page.count("<time ") == 1
        assert backup.file_name in page
        assert "pinned" not in page

    def test_is_cut_into_pages(self, operator, tenant, backup):
        [row] = settings_of(tenant)
        Event.objects.bulk_create(Event(tenant_id="acme", kind="pinned") for _ in range(60))
        address = url("backupsettings", "history", row.pk)
        assert "?page=2" in operator.get(address).content.decode()
        page = operator.get(f"{address}?page=2").content.decode()
        assert page.count("<time ") == 11

    def test_of_nothing_is_not_found_and_of_what_one_may_not_see_is_refused(self, staff, backup):
        client = staff("view_backupsettings")
        assert client.get(url("backupsettings", "history", 99)).status_code == 404
        assert client.get(url("backup", "history", backup.pk)).status_code == 403


class TestLists:
    @pytest.fixture(params=MODELS)
    def filled(self, request):
        """A model and a way to fill its list."""

        def fill(count):
            numbers = range(count)
            if request.param == "backup":
                Backup.objects.bulk_create(
                    Backup(tenant_id=f"t{number}", trigger="manual") for number in numbers
                )
            elif request.param == "event":
                Event.objects.bulk_create(
                    Event(tenant_id=f"t{number}", kind="pinned") for number in numbers
                )
            else:
                BackupSettings.objects.ensure(f"t{number}" for number in numbers)

        return request.param, fill

    def test_many_rows_take_as_many_queries_as_few(self, operator, filled):
        model, fill = filled
        fill(3)
        operator.get(url(model))
        with CaptureQueriesContext(connection) as few:
            assert len(operator.get(url(model)).context["cl"].result_list) == 3
        Backup.objects.all().delete()
        Event.objects.all().delete()
        BackupSettings.objects.all().delete()
        fill(300)
        with CaptureQueriesContext(connection) as many:
            assert operator.get(url(model)).context["cl"].result_count == 300
        assert len(few) == len(many)

    def test_a_backup_in_words(self, operator):
        make_row(
            label="<script>",
            file_name="acme-1.sqlite3",
            missing_at=timezone.now(),
            damaged_at=timezone.now(),
        )
        make_row(status=Status.FAILED, size=None, error="No space. " * 50)
        make_row(status=Status.QUEUED, size=None)
        make_row(future_at=timezone.now(), file_name="acme-2.sqlite3")
        make_row(file_name="acme-3.sqlite3")
        page = operator.get(url("backup")).content.decode()
        assert re.findall(r"backup-light-(\w+).*?</span> (.*?)</span>", page) == [
            ("good", "complete"),
            ("warning", "complete, dated in the future"),
            ("neutral", "queued"),
            ("error", "failed"),
            ("error", "complete, file missing, file damaged"),
        ]
        assert "1.5\xa0MB" in page or "1.5 MB" in page
        assert "acme-1.sqlite3" in page
        assert "<script>" not in page.split('id="result_list"')[1].split("</table>")[0]
        assert "No space. No space." in page
        assert "No space. " * 10 not in page

    def test_newest_first(self, operator):
        old = make_row(created_at=datetime(2026, 1, 1, tzinfo=UTC))
        new = make_row(created_at=datetime(2026, 1, 2, tzinfo=UTC))
        assert list(operator.get(url("backup")).context["cl"].result_list) == [new, old]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("good=yes", {"good", "pinned"}),
            ("good=no", {"missing", "damaged", "failed"}),
            ("pinned__exact=1", {"pinned"}),
            ("status__exact=failed", {"failed"}),
            ("trigger__exact=manual", {"pinned"}),
            ("q=issing", {"missing"}),
            ("q=the-file", {"good"}),
            ("q=other", {"failed"}),
            ("created_at__year=2020", {"damaged"}),
        ],
    )
    def test_filters_search_and_dates(self, operator, query, expected):
        now = timezone.now()
        make_row(label="good", file_name="the-file.sqlite3")
        make_row(label="pinned", pinned=True, trigger=Trigger.MANUAL)
        make_row(label="missing", missing_at=now)
        make_row(label="damaged", damaged_at=now, created_at=datetime(2020, 5, 5, tzinfo=UTC))
        make_row("other", label="failed", status=Status.FAILED)
        found = operator.get(f"{url('backup')}?{query}").context["cl"].result_list
        assert {backup.label for backup in found} == expected

    @pytest.mark.parametrize("query", ["kind__exact=failed", "q=broke", "q=grace", "q=acme-9"])
    def test_events_are_found(self, operator, query):
        Event.objects.create(tenant_id="globex", kind=EventKind.PINNED)
        wanted = Event.objects.create(
            tenant_id="acme",
            kind=EventKind.FAILED,
            actor="grace",
            file_name="acme-9.sqlite3",
            detail="It broke. " * 50,
        )
        response = operator.get(f"{url('event')}?{query}")
        assert list(response.context["cl"].result_list) == [wanted]
        assert "It broke. " * 10 not in response.content.decode()

    def test_a_tenants_events_are_found_by_its_id_and_no_other_s(self, operator):
        Event.objects.create(tenant_id="acme2", kind=EventKind.PINNED, detail="as acme has it")
        wanted = Event.objects.create(tenant_id="acme", kind=EventKind.PINNED)
        found = operator.get(f"{url('event')}?q=acme").context["cl"].result_list
        assert list(found) == [wanted]

    def test_events_are_found_by_their_month(self, operator, settings):
        settings.TIME_ZONE = "Europe/Berlin"
        moments = [
            datetime(2026, 2, 28, 22, 59, tzinfo=UTC),
            datetime(2026, 2, 28, 23, 1, tzinfo=UTC),  # in March there
            datetime(2026, 3, 31, 21, 59, tzinfo=UTC),
            datetime(2026, 3, 31, 22, 1, tzinfo=UTC),
        ]
        for moment in moments:
            Event.objects.create(tenant_id="acme", kind=EventKind.PINNED, created_at=moment)
        changelist = operator.get(f"{url('event')}?month=2026-03").context["cl"]
        assert [event.created_at for event in changelist.result_list] == moments[2:0:-1]
        [months] = [one for one in changelist.filter_specs if one.title == "month"]
        assert dict(months.lookup_choices)["2026-02"] == "February 2026"
        assert "2026-01" not in dict(months.lookup_choices)

    @pytest.mark.parametrize("month", ["", "2026-13", "9999-12", "0001-01", "x", "1970-01"])
    def test_a_month_that_is_not_offered_filters_nothing(self, operator, month):
        Event.objects.create(tenant_id="acme", kind=EventKind.PINNED)
        answer = operator.get(f"{url('event')}?month={month}")
        assert answer.context["cl"].result_count == 1

    def test_a_moment_of_a_wrong_clock_does_not_make_thousands_of_months(self, operator):
        then = datetime(1, 1, 2, tzinfo=UTC)
        Event.objects.create(tenant_id="acme", kind=EventKind.PINNED, created_at=then)
        changelist = operator.get(url("event")).context["cl"]
        [months] = [one for one in changelist.filter_specs if one.title == "month"]
        assert len(months.lookup_choices) == 120

    def test_a_long_history_is_not_counted_to_its_end(self, operator, monkeypatch):
        monkeypatch.setattr(CappedPaginator, "MOST", 5)
        for number in range(7):
            Event.objects.create(tenant_id=f"t{number}", kind=EventKind.PINNED)
        with CaptureQueriesContext(connection) as queries:
            answer = operator.get(url("event"))
        assert answer.context["cl"].result_count == 5
        assert "The newest 5 lines of the history" in answer.content.decode()
        counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
        assert counts
        assert all("LIMIT 5" in sql for sql in counts)

    def test_automation_has_no_row_to_edit(self, operator):
        Automation.load()
        page = operator.get(url("automation", "change", 1)).content.decode()
        assert 'name="_save"' not in page
        assert operator.post(url("automation", "change", 1), {"paused_by": "x"}).status_code == 403

    def test_a_backups_page_has_everything(self, operator, backup):
        page = operator.get(url("backup", "change", backup.pk)).content.decode()
        for text in (backup.file_name, backup.sha256, f"{backup.size}", "command"):
            assert text in page

    def test_the_page_of_one_that_failed_says_why_and_no_size(self, operator):
        failed = make_row(status=Status.FAILED, size=None, error="No space. " * 50)
        page = operator.get(url("backup", "change", failed.pk)).content.decode()
        assert "No space. " * 40 in page
        assert "None" not in page
