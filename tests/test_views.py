"""The page, as browsers and its five kinds of people meet it: real requests, real files."""

import copy
import json
import re
import sqlite3
from collections.abc import Collection
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from html.parser import HTMLParser
from pathlib import Path
from smtplib import SMTPDataError
from typing import Any
from urllib.parse import parse_qs, urlsplit

import django
import pytest
from django.conf import settings as project_settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.core import mail
from django.core.cache import cache
from django.core.mail.backends.base import BaseEmailBackend
from django.db import OperationalError, connection, connections, transaction
from django.template.defaultfilters import filesizeformat
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_script_prefix
from django.urls import include, path, re_path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from tenant_backup import automation, backups, lock, monitoring, urls
from tenant_backup.backups import creation, requests
from tenant_backup.contact import after_the_operator
from tenant_backup.exceptions import AlreadyAskedFor, BackupError
from tenant_backup.files import BackupDirectory, size_in_words
from tenant_backup.forms import SettingsForm
from tenant_backup.models import (
    LABEL_LENGTH,
    Automation,
    Backup,
    BackupSettings,
    Event,
    EventKind,
    RestoreRequest,
    RowLoss,
    Status,
    Trigger,
)
from tenant_backup.monitoring import recipients
from tenant_backup.presets import preset_named
from tenant_backup.tenants import ACTIONS, Tenant
from tenant_backup.views import subpages
from tests.conftest import REPOSITORY, assert_true_copy, names_in, send_mail_by
from tests.tenancy import Tenants

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/settings/admin/backup"

MOST_BYTES = 60_000
ROOM = 4000
"""Bytes of the page with a full list, and how many of them are for parts to come."""
LOGIN = "/admin/login/"
EVERYTHING = frozenset(ACTIONS)
COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)


class HostNames(Tenants):
    """The host name's first label is the tenant; user names say who may do what in it."""

    may: dict[str, dict[str, Collection[str]]] = {
        "ada": {"acme": EVERYTHING},
        "george": {"globex": EVERYTHING},
        "mike": {"acme": frozenset()},
        "vera": {"acme": frozenset({"view"})},
    }

    def tenant_for_request(self, request):
        return self.get_tenant(request.get_host().split(".")[0])

    def has_permission(self, request, tenant, action):
        user = request.user
        return user.is_superuser or action in self.may[user.username].get(tenant.id, ())


@pytest.fixture(autouse=True)
def project(settings):
    """A host with a provider of its own, whose tenants have host names."""
    settings.ALLOWED_HOSTS = [".example.com"]
    settings.TENANT_BACKUP = {"TENANT_PROVIDER": "tests.test_views.HostNames"}
    return settings


@pytest.fixture
def visit():
    """The browser of somebody who has logged in, or of nobody, at a tenant's address."""

    def visit(name="ada", tenant="acme", **options):
        client = Client(headers={"host": f"{tenant}.example.com"}, **options)
        if name:
            user, _ = User.objects.get_or_create(username=name, is_superuser=name == "operator")
            client.force_login(user)
        return client

    return visit


@pytest.fixture
def directory(tenant):
    return backups.directory_of(tenant)


def note_tick(**ago):
    """Automation is set up, and its last tick was so long ago."""
    automation.set_up()
    Automation.load()
    Automation.objects.update(last_tick_at=timezone.now() - timedelta(**ago))


@pytest.fixture
def running_automation():
    note_tick(seconds=0)


@pytest.fixture
def at_once(project):
    """However small the database, it is a large one."""
    project.TENANT_BACKUP = project.TENANT_BACKUP | {"INLINE_MAX_BYTES": 0}


def make(tenant, **fields):
    return backups.create(
        tenant, backups.BackupRequest(**({"trigger": Trigger.COMMAND} | fields))
    ).backup


def row(tenant_id="acme", **fields):
    """A row without a file."""
    given = {"tenant_id": tenant_id, "trigger": Trigger.COMMAND, "status": Status.FAILED}
    return Backup.objects.create(**(given | fields))


def complete_row(number, tenant_id="acme", **fields):
    given = {"status": Status.COMPLETE, "file_name": f"{number}.sqlite3", "size": 1000 + number}
    return row(tenant_id, **(given | fields))


def said(answer):
    """The messages that the next page shows."""
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


def text_of(answer):
    """What a reader of the page reads, on one line."""

    class Text(HTMLParser):
        def __init__(self):
            super().__init__()
            self.words = []

        def handle_data(self, data):
            self.words.append(data)

    parser = Text()
    parser.feed(answer.content.decode())
    return " ".join("".join(parser.words).split()).replace("\xa0", " ")


def is_page(answer):
    """Whether it leads back to the page, wherever there."""
    return answer.status_code == 302 and answer.url.partition("#")[0] == PAGE


def is_line(answer, backup):
    """The page, at the line of a backup."""
    return answer.status_code == 302 and answer.url == f"{PAGE}#backup-{backup.pk}"


# Who is let in


def open_request(backup):
    """What was asked for from this backup, now if it was not before."""
    given = {"tenant_id": backup.tenant_id, "answered_at": None}
    return RestoreRequest.objects.get_or_create(**given, defaults={"backup": backup})[0]


def open_loss(backup):
    """A finding about the tenant of this backup, which it has from now on if it had none."""
    given = {"tenant_id": backup.tenant_id, "table": "credits", "ended_at": None}
    at = backup.created_at
    found = {"rows_before": 100, "rows_now": 0, "least_before": 100, "before": backup}
    found |= {"before_at": at, "after_at": at}
    return RowLoss.objects.get_or_create(**given, defaults=found)[0]


@dataclass(frozen=True)
class Route:
    """A row of the contract's table: a request, and how it is answered to who may make it."""

    method: str
    status: int
    args: tuple[str, ...] = ()
    body: dict[str, Any] = field(default_factory=dict)
    action: str = "view"

    def filled(self, backup):
        """What the names in its address and in its body stand for; each is there from now on."""
        fill = {"<id>": str(backup.pk)}
        if "<request>" in self.body.values():
            fill["<request>"] = str(open_request(backup).pk)
        if "<loss>" in self.body.values():
            fill["<loss>"] = str(open_loss(backup).pk)
        return fill

    def send(self, client, name, backup):
        fill = self.filled(backup)
        url = reverse(f"tenant_backup:{name}", args=[fill.get(arg, arg) for arg in self.args])
        body = {key: fill.get(value, value) for key, value in self.body.items()}
        answer = getattr(client, self.method)(url, body)
        if answer.streaming:
            answer.close()
        return answer


SETTINGS = {
    "automatic": "on",
    "interval": "daily",
    "time_of_day": "04:00",
    "weekday": "0",
    "day_of_month": "1",
    "keep_last": "3",
    "keep_days": "",
}

UNCHANGED = {"interval": "daily", "time_of_day": "02:00", "weekday": "6", "day_of_month": "1"}

ROUTES = {
    "overview": Route("get", 200),
    "settings": Route("post", 302, body=SETTINGS, action="configure"),
    "create": Route("post", 302, body={"label": "x"}, action="create"),
    "delete": Route("post", 200, body={"backup": "<id>"}, action="delete"),
    "pin": Route("post", 302, body={"backup": "<id>", "pinned": "yes"}, action="delete"),
    "download": Route("get", 200, args=("<id>",), action="download"),
    "contents": Route("get", 200, args=("<id>",)),
    "rows": Route("get", 200, ("<id>",), {"table": "credits"}, action="download"),
    "ask": Route("post", 302, body={"backup": "<id>", "note": "all gone"}, action="create"),
    "withdraw": Route("post", 302, body={"request": "<request>"}, action="create"),
    "intended": Route("post", 302, body={"loss": "<loss>"}, action="delete"),
    "summary": Route("get", 200, body=SETTINGS, action="configure"),
    "test_mail": Route("post", 302, action="configure"),  # without the form: back to the page
    "diagnosis": Route("get", 200),
    "history": Route("get", 200),
    "status": Route("get", 200),
}
POSTS = [name for name, route in ROUTES.items() if route.method == "post"]
every_route = pytest.mark.parametrize("name", ROUTES)


def catalog():
    """Everything that a refused request must leave as it was."""
    return (
        list(Backup.objects.order_by("pk").values()),
        list(BackupSettings.objects.order_by("pk").values()),
        list(Event.objects.order_by("pk").values()),
        list(RestoreRequest.objects.filter(answered_at__isnull=False).values()),
        list(RowLoss.objects.filter(ended_at__isnull=False).values()),
    )


class TestRoutes:
    def test_every_route_has_its_row_here(self):
        assert {pattern.name for pattern in urls.urlpatterns if pattern.name} == set(ROUTES)

    def test_the_addresses_are_the_contracts(self):
        assert reverse("tenant_backup:overview") == PAGE
        for name in ["settings", "create", "delete", "pin", "status"]:
            assert reverse(f"tenant_backup:{name}") == f"{PAGE}/{name}"
        for name in ["download", "contents"]:
            assert reverse(f"tenant_backup:{name}", args=[7]) == f"{PAGE}/{name}/7"

    @pytest.mark.parametrize("person", ["ada", "operator"])
    @every_route
    def test_who_may_is_answered(self, tenant, visit, name, person):
        backup = make(tenant)
        assert ROUTES[name].send(visit(person), name, backup).status_code == ROUTES[name].status

    @pytest.mark.parametrize("person", ["george", "mike"])
    def test_who_may_not_is_refused(self, tenant, add_tenant, visit, person):
        add_tenant("globex")
        backup = make(tenant)
        before = catalog()
        client = visit(person)
        for name, route in ROUTES.items():
            assert route.send(client, name, backup).status_code == 403, name
            assert catalog() == before, name

    @every_route
    def test_each_needs_its_own_permission(self, tenant, visit, monkeypatch, name):
        backup = make(tenant)
        client, route = visit(), ROUTES[name]
        for action in sorted(EVERYTHING):
            monkeypatch.setitem(HostNames.may, "ada", {"acme": EVERYTHING - {action}})
            expected = 403 if route.action == action else route.status
            assert route.send(client, name, backup).status_code == expected, action

    def test_nobody_is_sent_to_the_login(self, tenant, visit):
        backup = make(tenant)
        before = catalog()
        back = {
            "download": f"{PAGE}/download/{backup.pk}",
            "contents": f"{PAGE}/contents/{backup.pk}",
            "rows": f"{PAGE}/rows/{backup.pk}?table=credits",
            "diagnosis": f"{PAGE}/diagnosis",
            "history": f"{PAGE}/history",
        }
        for name, route in ROUTES.items():
            answer = route.send(visit(None), name, backup)
            assert answer.status_code == 302, name
            login = urlsplit(answer.url)
            assert login.path == LOGIN, name
            assert parse_qs(login.query)["next"] == [back.get(name, PAGE)]
            assert catalog() == before, name

    @pytest.mark.parametrize("person", ["ada", None])
    def test_an_unknown_tenant_is_not_found(self, tenant, visit, person):
        backup = make(tenant)
        client = visit(person, tenant="nobody")
        for name, route in ROUTES.items():
            assert route.send(client, name, backup).status_code == 404, name

    @pytest.mark.parametrize("place", ["acme", "nobody"])
    @pytest.mark.parametrize("person", ["ada", "mike", None])
    def test_a_wrong_method_is_refused_first_of_all(self, tenant, visit, person, place):
        backup = make(tenant)
        before = catalog()
        client = visit(person, tenant=place)
        for name, route in ROUTES.items():
            url = reverse(f"tenant_backup:{name}", args=[backup.pk] if route.args else [])
            for method in {"get", "post", "put", "patch", "delete", "options"} - {route.method}:
                answer = getattr(client, method)(url)
                assert answer.status_code == 405, (name, method)
                assert method.upper() not in answer["Allow"], (name, method)
                assert catalog() == before, (name, method)

    @pytest.mark.parametrize("name", POSTS)
    @pytest.mark.parametrize("middleware", [True, False])
    def test_without_a_token_nothing_changes(self, tenant, visit, project, name, middleware):
        if not middleware:
            project.MIDDLEWARE = [name for name in project.MIDDLEWARE if "Csrf" not in name]
        backup = make(tenant)
        before = catalog()
        client = visit(enforce_csrf_checks=True)
        assert ROUTES[name].send(client, name, backup).status_code == 403
        assert catalog() == before

    @pytest.mark.parametrize("name", POSTS)
    @pytest.mark.parametrize("middleware", [True, False])
    def test_the_pages_token_opens_it(self, tenant, visit, project, name, middleware):
        if not middleware:
            project.MIDDLEWARE = [name for name in project.MIDDLEWARE if "Csrf" not in name]
        backup = make(tenant)
        client = visit(enforce_csrf_checks=True)
        page = client.get(PAGE).content.decode()
        [token, *_] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        route = ROUTES[name]
        sent = Route("post", 0, body=route.body | {"csrfmiddlewaretoken": token})
        assert sent.send(client, name, backup).status_code == route.status

    def test_head_shows_and_downloads_nothing(self, tenant, visit):
        backup = make(tenant)
        client = visit()
        assert client.head(PAGE).status_code == 200
        assert client.head(f"{PAGE}/status").status_code == 200
        answer = client.head(f"{PAGE}/download/{backup.pk}")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer["Content-Length"] == str(backup.size)
        assert not Event.objects.filter(kind="downloaded").exists()

    @pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if name not in POSTS])
    def test_nothing_is_kept_by_a_cache(self, tenant, visit, name):
        answer = ROUTES[name].send(visit(), name, make(tenant))
        assert answer.status_code == 200
        assert {"private", "no-store"} <= set(answer["Cache-Control"].split(", "))


def catch_all(request, *args, **kwargs):
    """The page of whatever address is left."""


class TestSlash:
    """An address with a slash at its end leads to the one without."""

    @pytest.mark.parametrize("page", ["", "/contents/7", "/rows/7", "/diagnosis", "/history"])
    @pytest.mark.parametrize("person", ["ada", None])
    def test_leads_to_the_page(self, tenant, visit, page, person):
        client = visit(person)
        for method in (client.get, client.head):
            answer = method(f"{PAGE}{page}/", query_params={"page": "2", "x": "a&b"})
            assert answer.status_code == 302
            assert answer.url == f"{PAGE}{page}?page=2&x=a%26b"
        assert client.get(f"{PAGE}/").url == PAGE

    def test_under_a_prefix_too(self, tenant, visit):
        answer = visit().get(f"{PAGE}/", SCRIPT_NAME="/app")
        assert answer.url == f"/app{PAGE}"

    @pytest.mark.parametrize("page", ["", "/contents/7", "/rows/7", "/diagnosis", "/history"])
    def test_nothing_else_is_led_anywhere(self, tenant, visit, page):
        for method in ("post", "put", "patch", "delete", "options"):
            assert getattr(visit(), method)(f"{PAGE}{page}/").status_code == 405
        for name in ("create", "settings", "delete", "pin", "nothing"):
            assert visit().post(f"{PAGE}/{name}/").status_code == 404


class TestLogin:
    """Where somebody is sent who has not logged in."""

    @pytest.mark.parametrize(
        ("login_url", "expected"),
        [
            ("/accounts/login/", LOGIN),  # Django's default, which leads nowhere here
            ("nowhere", LOGIN),
            ("/admin/login/", "/admin/login/"),
            ("admin:login", "/admin/login/"),
            ("https://sso.example.com/in", "https://sso.example.com/in"),
        ],
    )
    def test_is_the_projects_login_or_else_the_admins(
        self, tenant, visit, project, login_url, expected
    ):
        project.LOGIN_URL = login_url
        answer = visit(None).get(f"{PAGE}?page=2")
        assert answer.url == f"{expected}?next=/settings/admin/backup%3Fpage%3D2"

    @pytest.mark.parametrize(
        "taker",
        [
            re_path(r"^((?:[\w\-]+/)*)$", catch_all),  # as Wagtail's
            path("<path:address>", catch_all),
            path("<path:address>/", catch_all),
            re_path(r"^.*$", catch_all),
            re_path(r"^accounts/(?P<page>[a-z-]+)/$", catch_all),
        ],
        ids=str,
    )
    def test_is_no_page_that_answers_every_address(self, tenant, visit, project, taker):
        ours = path("", include("tenant_backup.urls"))
        project.ROOT_URLCONF = (ours, path("admin/", admin.site.urls), taker)
        assert urlsplit(visit(None).get(PAGE).url).path == LOGIN
        # What the host has set itself is meant.
        project.LOGIN_URL = "/accounts/sign-in/"
        assert urlsplit(visit(None).get(PAGE).url).path == "/accounts/sign-in/"

    def test_is_djangos_own_where_there_is_one(self, tenant, visit, project):
        ours = path("", include("tenant_backup.urls"))
        accounts = path("accounts/", include("django.contrib.auth.urls"))
        taker = path("<path:address>", catch_all)
        project.ROOT_URLCONF = (ours, accounts, path("admin/", admin.site.urls), taker)
        assert urlsplit(visit(None).get(PAGE).url).path == "/accounts/login/"

    def test_is_the_page_that_answers_where_there_is_no_admin(self, tenant, visit, project):
        project.ROOT_URLCONF = (
            path("", include("tenant_backup.urls")),
            path("<path:address>", catch_all),
        )
        assert urlsplit(visit(None).get(PAGE).url).path == "/accounts/login/"

    def test_is_found_under_a_prefix_too(self, tenant, visit, project):
        for login_url in ["/app/admin/login/", "/elsewhere/"]:
            project.LOGIN_URL = login_url
            with override_script_prefix("/app/"):
                answer = visit(None).get(PAGE)
            assert urlsplit(answer.url).path == "/app/admin/login/"


IDS = ["", "abc", "-1", "1.5", "٣", " 1", "1 ", "0x1", "1e1", "0", "99999", str(10**30), "9" * 5000]


class TestIds:
    """An id that is unknown, malformed or another tenant's is not found, and nothing happens."""

    @pytest.mark.parametrize("text", IDS)
    def test_what_is_no_id_of_a_backup(self, tenant, visit, text):
        known = make(tenant)
        before = catalog()
        client = visit()
        if text:  # else it is another address
            url = reverse("tenant_backup:download", args=[text])
            assert client.get(url).status_code == 404
        for confirm in [{}, {"confirm": "yes"}]:
            for ids in ([text], [known.pk, text]):
                body = {"backup": ids, **confirm}
                assert client.post(f"{PAGE}/delete", body).status_code == 404
        body = {"backup": text, "pinned": "yes"}
        assert client.post(f"{PAGE}/pin", body).status_code == 404
        assert catalog() == before

    def test_another_tenants_backup(self, tenant, add_tenant, visit):
        other = make(add_tenant("globex"))
        mine = make(tenant)
        before = catalog()
        for client in [visit(), visit("operator")]:
            assert client.get(f"{PAGE}/download/{other.pk}").status_code == 404
            body = {"backup": other.pk, "pinned": "yes"}
            assert client.post(f"{PAGE}/pin", body).status_code == 404
            for ids in ([other.pk], [mine.pk, other.pk]):
                body = {"backup": ids, "confirm": "yes"}
                assert client.post(f"{PAGE}/delete", body).status_code == 404
        assert catalog() == before
        answer = visit("operator", "globex").get(f"{PAGE}/download/{other.pk}")
        assert answer.status_code == 200
        answer.close()


# What is shown


class TestOverview:
    def test_before_the_first_backup(self, tenant, visit):
        text = text_of(visit().get(PAGE))
        assert "There is no good backup." in text
        assert "There are no backups yet." in text
        assert BackupSettings.objects.get().tenant_id == "acme"

    def test_a_visit_keeps_the_settings_that_there_are(self, tenant, visit):
        BackupSettings.objects.create(tenant_id="acme", keep_last=77)
        assert 'value="77"' in visit().get(PAGE).content.decode()
        assert BackupSettings.objects.get().keep_last == 77

    def test_lists_this_tenants_backups_only(self, tenant, add_tenant, visit):
        add_tenant("globex")
        complete_row(1, label="ours")
        complete_row(2, "globex", label="theirs")
        text = text_of(visit().get(PAGE))
        assert "ours" in text
        assert "theirs" not in text

    def test_a_line_says_time_size_trigger_label_and_status(self, tenant, visit, monkeypatch):
        monkeypatch.setattr(Tenants, "tenants", [replace(tenant, time_zone="Europe/Berlin")])
        complete_row(
            1,
            size=2_621_440,
            trigger=Trigger.MIGRATE,
            label="release 7",
            pinned=True,
            requested_by="ada",
            created_at=datetime(2026, 7, 1, 22, 15, tzinfo=UTC),
        )
        answer = visit().get(PAGE)
        text = text_of(answer)
        for words in [
            "July 2, 2026, 12:15 a.m.",
            "2.5 MB",
            "before an update by ada",
            "release 7",
            "complete",
            "pinned",
            "Europe/Berlin",
        ]:
            assert words in text
        assert 'datetime="2026-07-02T00:15:00+02:00"' in answer.content.decode()

    def test_missing_and_damaged_files_are_said(self, tenant, visit):
        now = timezone.now()
        missing = complete_row(1, missing_at=now)
        complete_row(2, damaged_at=now)
        answer = visit().get(PAGE)
        text = text_of(answer)
        assert re.search("Its file was found missing (today|yesterday) at", text)
        assert re.search("Its file was found damaged (today|yesterday) at", text)
        assert "There is no good backup at all." in text
        assert f"{PAGE}/download/{missing.pk}" not in answer.content.decode()

    def test_a_failure_says_why(self, tenant, visit):
        complete_row(1, created_at=timezone.now() - timedelta(days=1))
        row(error="The disk became full.")
        text = text_of(visit().get(PAGE))
        assert "The last attempt to make a backup failed." in text
        assert re.search(r"That was at [^()]+ \(UTC\)\. The disk became full\.", text)
        assert text.count("The disk became full.") == 2

    def test_labels_are_escaped(self, tenant, visit):
        label = '<script>alert("x")</script>'
        backup = complete_row(1, label=label, requested_by="<b>", error="<i>")
        client = visit()
        for answer in [client.get(PAGE), client.post(f"{PAGE}/delete", {"backup": backup.pk})]:
            page = answer.content.decode()
            assert "<script>alert" not in page
            assert "<b>" not in page
            assert "<i>" not in page
            assert label in text_of(answer)

    def test_pages_of_20(self, tenant, visit):
        now = timezone.now()
        for number in range(60):
            complete_row(number, label=f"<{number}>", created_at=now - timedelta(hours=number))
        client = visit()

        def labels(query):
            return [int(found) for found in re.findall(r"<(\d+)>", text_of(client.get(query)))]

        assert labels(PAGE) == list(range(20))
        assert labels(f"{PAGE}?page=2") == list(range(20, 40))
        assert labels(f"{PAGE}?page=3") == list(range(40, 60))
        assert "60 backups" in text_of(client.get(PAGE))

    @pytest.mark.parametrize("page", ["", "0", "-1", "x", "99", str(10**30), "9" * 5000, "٣"])
    def test_any_page_number_is_answered(self, tenant, visit, page):
        for number in range(30):
            complete_row(number)
        assert visit().get(PAGE, {"page": page}).status_code == 200

    @pytest.mark.parametrize("number", [3, 300])
    def test_the_number_of_queries_does_not_grow(
        self, tenant, visit, running_automation, django_assert_num_queries, number
    ):
        """Of these, 4 find the session, the user and what the user may do in the admin."""
        for made in range(number):
            complete_row(made, error="/srv/why" if made % 2 else "")
        client = visit()
        client.get(PAGE)
        with django_assert_num_queries(29):
            client.get(PAGE)

    @pytest.mark.parametrize("number", [30, 300])
    def test_nor_does_it_with_what_is_to_be_removed(
        self, tenant, visit, running_automation, django_assert_num_queries, number
    ):
        BackupSettings.objects.create(tenant_id="acme", automatic=True, keep_last=3)
        for made in range(number):
            complete_row(made, created_at=timezone.now() - timedelta(hours=made))
        client = visit()
        text = text_of(client.get(PAGE))
        assert text.count("will be removed after the next backup") == 18
        with django_assert_num_queries(29):
            client.get(PAGE)

    def test_another_tenants_are_in_no_part_of_it(self, tenant, add_tenant, visit):
        add_tenant("globex")
        for number in range(3):
            complete_row(number, "globex")
        row("globex", error="why")
        row("globex", status=Status.RUNNING, file_name="now.sqlite3", started_at=timezone.now())
        BackupSettings.objects.create(tenant_id="acme", automatic=True, keep_last=1)
        context = visit().get(PAGE).context
        assert context["active"] is None
        assert context["last_good"] is None
        assert context["lines"] == []
        assert backups.removals_after_next(tenant) == []
        ours = make(tenant)
        assert [each.backup.pk for each in backups.removals_after_next(tenant)] == [ours.pk]
        context = visit().get(PAGE).context
        assert context["last_good"] == ours
        assert [line.backup for line in context["lines"]] == [ours]
        asked = visit().post(f"{PAGE}/delete", {"backup": ours.pk})
        assert "No good backup would be left." in text_of(asked)

    def test_what_is_done_with_a_backup_says_with_which(self, tenant, visit):
        pinned, other = make(tenant, pinned=True), make(tenant)
        page = visit().get(PAGE).content.decode()
        controls = re.findall(r"<(?:a|button) ([^>]*)>([^<]+)</(?:a|button)>", page)
        named = {
            attributes.partition('aria-label="')[2].partition('"')[0]: shown
            for attributes, shown in controls
            if re.search(rf'(?:/|value=")({pinned.pk}|{other.pk})"', attributes)
        }
        assert named == {
            f"{text} No. {backup.pk}": f"{text}…" if text == "Delete" else text
            for backup, texts in [
                (pinned, ["Look inside", "Download", "Unpin"]),
                (other, ["Look inside", "Download", "Pin", "Delete"]),
            ]
            for text in texts
        } | {f"All tables No. {other.pk}": "All tables"}
        menus = re.findall(r'<summary aria-label="([^"]+)">⋯</summary>', page)
        assert menus == [f"More about No. {backup.pk}" for backup in (other, pinned)]

    @pytest.mark.parametrize("who", ["ada", "operator"])
    @pytest.mark.parametrize("language", ["en", "de"])
    def test_a_page_of_many_is_small(
        self, tenant, visit, running_automation, project, language, who
    ):
        """Even with the longest texts that a form and a failure leave behind."""
        project.LANGUAGE_CODE = language
        BackupSettings.objects.create(tenant_id="acme", automatic=True, keep_last=400)
        now = timezone.now()
        for number in range(500):
            given = {
                "label": "ü" * LABEL_LENGTH,
                "requested_by": "a" * 150,
                "created_at": now - timedelta(hours=2 * number),
                "verified_at": now,
                "pinned": number % 5 == 0,
            }
            if number % 2:
                row(error="ü" * 240, **given)
            else:
                complete_row(number, **given)
        page = visit(who).get(PAGE).content
        assert page.count(b'role="row"') == 21
        assert len(page) < MOST_BYTES - ROOM
        for _ in range(6):
            Event.objects.create(tenant_id="acme", kind="failed", detail="ü" * 240, actor="ada")
        assert len(visit(who).get(PAGE).content) < MOST_BYTES - ROOM / 2

    def test_only_what_the_user_may_do_is_offered(self, tenant, visit):
        make(tenant)
        row(error="why")
        everything = visit().get(PAGE).content.decode()
        nothing = visit("vera").get(PAGE).content.decode()
        for offered in ["create", "delete", "pin", "download/", "settings"]:
            assert f'"{PAGE}/{offered}' in everything
            assert f'"{PAGE}/{offered}' not in nothing
        assert '<form role="search"' in nothing
        assert "post" not in re.findall(r'method="(\w+)"', nothing.split("<main", 1)[1])

    def test_a_pinned_or_active_backup_cannot_be_selected(self, tenant, visit):
        pinned = complete_row(1, pinned=True)
        queued = row(status=Status.QUEUED)
        failed = row()
        page = visit().get(PAGE).content.decode()
        selectable = re.findall(
            r'type="checkbox" form="delete-selected" name="backup" value="(\d+)', page
        )
        assert selectable == [str(failed.pk)]
        assert pinned.pk != queued.pk


class TestHelp:
    def test_says_what_is_in_no_backup_and_where_they_are(self, tenant, visit):
        text = text_of(visit().get(PAGE))
        assert (
            "such as pictures and documents, are stored separately and are not in the backup"
            in text
        )
        assert "Ask the operator where copies of those files are kept." in text
        assert "on the same server and disk as the data" in text

    def test_the_host_says_what_else_is_not(self, tenant, visit, project):
        sentence = "Scans are in the archive <S3>, copied every night."
        project.TENANT_BACKUP = project.TENANT_BACKUP | {"OPERATOR": {"NOT_INCLUDED": sentence}}
        page = visit().get(PAGE)
        assert sentence in text_of(page)
        assert "<S3>" not in page.content.decode()


class TestWhenNextAndAutomation:
    def page(self, visit, **changes):
        BackupSettings.objects.update_or_create(tenant_id="acme", defaults=changes)
        return text_of(visit().get(PAGE))

    def test_off(self, tenant, visit, running_automation):
        text = self.page(visit, automatic=False)
        assert "when you make one: automatic backups are off" in text
        make(tenant)
        assert "Backups are made by hand only." in text_of(visit().get(PAGE))

    def test_next_in_the_tenants_zone(self, tenant, visit, running_automation, monkeypatch):
        monkeypatch.setattr(Tenants, "tenants", [replace(tenant, time_zone="Asia/Tokyo")])
        at = datetime(2099, 5, 1, 20, 30, tzinfo=UTC)
        text = self.page(visit, automatic=True, next_run_at=at)
        assert "Next backup May 2, 2099, 5:30 a.m. (every day)" in text

    def test_next_before_any_tick_has_set_it(self, tenant, visit, running_automation):
        text = self.page(visit, automatic=True, next_run_at=None)
        assert re.search(r"Next backup (today|tomorrow) at 2:\d\d a\.m\. \(every day\)", text)

    def test_due(self, tenant, visit, running_automation):
        text = self.page(visit, automatic=True, next_run_at=timezone.now() - timedelta(minutes=1))
        assert "now: it is due" in text

    def test_due_while_automation_is_paused(self, tenant, visit, running_automation):
        """A time in the past is no time of the next backup."""
        automation.pause("the operator")
        text = self.page(visit, automatic=True, next_run_at=timezone.now() - timedelta(days=2))
        assert "Next backup as soon as automation is running again: it is due" in text
        assert "is running by then" not in text

    def test_running(self, tenant, visit, running_automation):
        make(tenant)
        text = self.page(visit, automatic=True)
        assert "All is well: backups are made automatically." in text
        assert re.search(r"Last good backup (today|yesterday) at .* \(just now\)", text)
        assert "Automation running" in text
        assert "last seen" not in text

    def test_paused(self, tenant, visit, running_automation):
        make(tenant)
        automation.pause("the operator")
        text = self.page(visit, automatic=True)
        assert "No automatic backups are made at present." in text
        assert re.search("Automation paused by the operator since (today|yesterday) at", text)
        assert "until the operator starts them again" in text

    def test_stalled(self, tenant, visit):
        note_tick(hours=1)
        text = self.page(visit, automatic=True)
        assert "Tell the operator that automation is stalled." in text
        assert "if automation is running by then" in text

    def test_not_set_up(self, tenant, visit):
        Schedule.objects.all().delete()
        text = self.page(visit)
        assert "Automation not set up. No automatic backups are made." in text
        assert "Ask the operator to set up automation." in text

    def test_operators_see_what_to_run(self, tenant, visit):
        def page():
            return text_of(visit("operator").get(PAGE))

        automation.set_up()
        assert "(not seen yet)" in page()
        note_tick(hours=1)
        text = page()
        assert re.search(r"\(last seen (today|yesterday) at .*?\)", text)
        assert "python manage.py qcluster" in text
        assert "if the workers are busy with other long tasks" in text
        note_tick(seconds=0)
        assert "Automation running, last seen just now" in page()
        automation.pause("the operator")
        assert "automatebackups resume" in page()
        Schedule.objects.all().delete()
        assert "automatebackups enable" in page()

    def test_no_sentence_ends_twice(self, tenant, visit, running_automation):
        """A time may end with a full stop of its own: 2 a.m."""
        early = timezone.now().replace(hour=2, minute=3) - timedelta(days=1)
        settings = {"automatic": True, "next_run_at": early + timedelta(days=3)}
        first = self.page(visit, **settings)
        assert "The first automatic backup" in first
        failed = row(error="Why.", created_at=early)
        again = self.page(visit, **settings)
        assert "The next automatic attempt" in again
        failed.delete()
        started = early - timedelta(days=1)
        running = row(status=Status.RUNNING, started_at=started, created_at=started)
        interrupted = self.page(visit)
        assert "there has been no progress" in interrupted
        running.delete()
        automation.pause("the operator")
        Automation.objects.update(paused_at=early)
        for text in (first, again, interrupted, self.page(visit)):
            assert not re.search(r"[ap]\.m\.\.", text)


class TestHeadline:
    """The one answer at the top, in the words of each kind."""

    def answer(self, visit):
        page = visit().get(PAGE).content.decode()
        return " ".join(re.search(r'class="answer">(.*?)</h2>', page, re.DOTALL)[1].split())

    def test_none(self, tenant, visit, running_automation):
        assert self.answer(visit) == "There is no good backup."

    def test_failed(self, tenant, visit, running_automation):
        make(tenant)
        row(error="The disk is full.")
        BackupSettings.objects.update_or_create(tenant_id="acme", defaults={"automatic": True})
        assert self.answer(visit) == "The last attempt to make a backup failed."
        text = text_of(visit().get(PAGE))
        assert "The disk is full. Your older backups are not affected." in text
        assert re.search(
            r"The next automatic attempt \((today|tomorrow) at .*\) is already scheduled", text
        )

    def test_failed_first_of_all(self, tenant, visit):
        row(error="The disk is full.")
        assert self.answer(visit) == "The last attempt to make a backup failed."
        assert "There is no good backup at all." in text_of(visit().get(PAGE))

    def test_overdue(self, tenant, visit, running_automation):
        long_ago = timezone.now() - timedelta(days=9)
        Backup.objects.filter(pk=make(tenant).pk).update(created_at=long_ago, finished_at=long_ago)
        BackupSettings.objects.update_or_create(
            tenant_id="acme", defaults={"automatic": True, "scheduled_since": long_ago}
        )
        assert self.answer(visit) == "A backup is overdue."
        assert "It was due at" in text_of(visit().get(PAGE))

    def test_lost(self, tenant, visit, directory):
        gone = make(tenant)
        make(tenant)
        directory.file(gone.file_name).unlink()
        assert self.answer(visit) == "Backups are missing or damaged."
        assert "1 backup is affected. Each is marked" in text_of(visit().get(PAGE))
        assert Backup.objects.get(pk=gone.pk).missing_at

    def test_a_disk_that_is_not_mounted_marks_nothing_but_is_said(self, tenant, visit, directory):
        make(tenant)
        directory.path.rename(directory.path.with_name("away"))
        assert self.answer(visit) == "Backups are missing or damaged."
        said = "is not there, or out of reach: "
        assert f"{said}{directory.path}" in text_of(visit("operator").get(PAGE))
        assert f"{said}backups" in text_of(visit("vera").get(PAGE))
        assert str(tenant.root) not in visit("vera").get(PAGE).content.decode()
        for page in ("", "/diagnosis", "/history"):
            visit().get(f"{PAGE}{page}")
        assert Backup.objects.good().exists()

    def test_a_directory_out_of_reach_is_no_error_of_the_page(self, tenant, visit, monkeypatch):
        make(tenant)
        far = replace(tenant, root=tenant.root / ("x" * 300))
        monkeypatch.setattr(Tenants, "tenants", [far])
        for page in ("", "/diagnosis", "/history"):
            answer = visit().get(f"{PAGE}{page}")
            assert answer.status_code == 200
        assert "out of reach" in text_of(visit().get(PAGE))

    def test_nobody_is_told_that_nothing_is_lost_where_it_is(self, tenant, visit, directory):
        gone = make(tenant)
        make(tenant)
        row(error="The disk is full.")
        assert "Your older backups are not affected." in text_of(visit().get(PAGE))
        directory.file(gone.file_name).unlink()
        text = text_of(visit().get(PAGE))
        assert "Your older backups are not affected." not in text
        assert "The file of 1 backup is missing or damaged." in text

    def test_no_room(self, tenant, visit, running_automation, monkeypatch):
        make(tenant)
        BackupSettings.objects.update_or_create(tenant_id="acme", defaults={"automatic": True})
        monkeypatch.setattr("tenant_backup.files.BackupDirectory.free_bytes", lambda self: 1000)
        assert self.answer(visit) == "The disk has no room for another backup."

    def test_no_room_for_the_first_one_is_no_matter_of_one_click(self, tenant, visit, monkeypatch):
        assert "Make one now, below: one click is enough." in text_of(visit().get(PAGE))
        monkeypatch.setattr("tenant_backup.files.BackupDirectory.free_bytes", lambda self: 1000)
        assert self.answer(visit) == "The disk has no room for another backup."
        text = text_of(visit().get(PAGE))
        assert "Make one now" not in text
        assert "Delete backups that nobody needs" in text
        row(error="The disk is full.")
        assert self.answer(visit) == "The last attempt to make a backup failed."
        assert "Make one now" not in text_of(visit().get(PAGE))

    def test_an_old_good_one_and_a_failure_of_an_hour_ago(self, tenant, visit, running_automation):
        """The gravest is said first, here as elsewhere, with the failure's reason beside it."""
        long_ago = timezone.now() - timedelta(days=9)
        Backup.objects.filter(pk=make(tenant).pk).update(created_at=long_ago, finished_at=long_ago)
        BackupSettings.objects.update_or_create(
            tenant_id="acme", defaults={"automatic": True, "scheduled_since": long_ago}
        )
        row(error="The disk is full.", created_at=timezone.now() - timedelta(hours=1))
        assert self.answer(visit) == "A backup is overdue."
        text = text_of(visit().get(PAGE))
        assert re.search(r"It was due at .* failed\. The disk is full\.", text)

    def test_a_slot_that_waits_is_no_attempt_of_yesterday(self, tenant, visit, running_automation):
        row(error="Why.")
        past = timezone.now() - timedelta(hours=30)
        BackupSettings.objects.update_or_create(
            tenant_id="acme", defaults={"automatic": True, "next_run_at": past}
        )
        text = text_of(visit().get(PAGE))
        assert "The next automatic attempt" not in text
        assert "now: it is due" in text

    def test_what_is_of_a_time_to_come_is_not_the_last_good_one(self, tenant, visit):
        Backup.objects.filter(pk=make(tenant).pk).update(
            created_at=timezone.now() + timedelta(days=900)
        )
        assert self.answer(visit) == "All good backups are dated in the future."
        assert "Last good backup none" in text_of(visit().get(PAGE))

    def test_the_last_good_one_is_there_and_sound_and_its_age_is_said(self, tenant, visit):
        now = timezone.now()
        for days, fields in [(3, {}), (2, {"missing_at": now}), (1, {"damaged_at": now})]:
            at = now - timedelta(days=days)
            Backup.objects.filter(pk=make(tenant).pk).update(created_at=at, **fields)
        assert re.search(
            r"Last good backup [^()]+ \(3 days ago\), [\d.]+ KB Next backup",
            text_of(visit().get(PAGE)),
        )

    def test_a_workers_clock_that_is_a_little_ahead(self, tenant, visit):
        note_tick(seconds=-20)
        make(tenant)
        Backup.objects.update(verified_at=timezone.now() + timedelta(seconds=30))
        text = text_of(visit("operator").get(PAGE))
        assert "running, last seen just now" in text
        assert "verified just now" in text

    def test_stopped(self, tenant, visit):
        make(tenant)
        BackupSettings.objects.update_or_create(tenant_id="acme", defaults={"automatic": True})
        assert self.answer(visit) == "No automatic backups are made at present."

    def test_off(self, tenant, visit, running_automation):
        make(tenant)
        assert self.answer(visit) == "Backups are made by hand only."

    def test_well(self, tenant, visit, running_automation):
        make(tenant)
        BackupSettings.objects.update_or_create(tenant_id="acme", defaults={"automatic": True})
        assert self.answer(visit) == "All is well: backups are made automatically."


class TestChart:
    def bars(self, visit):
        """The classes of the bars, but for the days on which nothing was."""
        page = visit().get(PAGE).content.decode()
        found = re.findall(r'<rect class="(\w+)"', page)
        assert len(found) in (0, 30)
        return [outcome for outcome in found if outcome != "none"]

    def test_a_bar_for_each_day_on_which_something_was(self, tenant, visit):
        make(tenant)
        row(created_at=timezone.now() - timedelta(days=3))
        complete_row(1, created_at=timezone.now() - timedelta(days=31))
        assert self.bars(visit) == ["failed", "good"]

    def test_what_was_removed_since_is_not_forgotten(self, tenant, visit):
        backups.delete(tenant, make(tenant))
        assert self.bars(visit) == ["removed"]

    def test_room_is_by_the_file_that_a_link_leads_to(self, tenant, tmp_path):
        real = tmp_path / "elsewhere.sqlite3"
        tenant.database.rename(real)
        tenant.database.symlink_to(real)
        (tmp_path / "elsewhere.sqlite3-wal").write_bytes(bytes(5000))
        assert backups.database_bytes(tenant) == real.stat().st_size + 5000

    def test_another_tenants_backups_are_not_in_it(self, tenant, add_tenant, visit):
        make(add_tenant("globex"))
        assert self.bars(visit) == []
        assert "There were no backups in these 30 days." in text_of(visit().get(PAGE))

    def test_space(self, tenant, visit, monkeypatch):
        made = make(tenant)
        size = tenant.database.stat().st_size
        free = 16 * 1024 * 1024 + 5 * size + 1
        monkeypatch.setattr("tenant_backup.files.BackupDirectory.free_bytes", lambda self: free)
        space = backups.space(tenant)
        assert (space.used, space.free, space.fits) == (made.size, free, 5)
        assert "Room for 5 more backups" in text_of(visit().get(PAGE))

    def test_each_bar_says_what_it_is_and_a_table_says_it_again(self, tenant, visit):
        made = make(tenant)
        row(created_at=timezone.now() - timedelta(days=3))
        page = visit().get(PAGE).content.decode()
        bars = re.findall(r"<rect [^>]*><title>([^<]+): ([^<]+)</title></rect>", page)
        rows = re.findall(r'<tr><th scope="row">([^<]+)</th><td>(.*?)</td></tr>', page)
        assert len(bars) == 30
        assert [date for date, _said in bars] == [date for date, _cells in reversed(rows)]
        size = filesizeformat(made.size)
        assert bars[-1][1] == f"good, {size}"
        assert bars[-4][1] == "failed, missing or damaged"
        cells = [cells.split("</td><td>") for _date, cells in rows]
        assert cells[0] == ["1", "0", "0", size]
        assert cells[3] == ["0", "0", "1", ""]

    def test_a_failure_is_known_without_its_colour(self, tenant, visit):
        row()
        page = visit().get(PAGE).content.decode()
        assert re.search(r'<pattern id="hatched"[^>]*><path class="hatch"', page)
        [failed] = re.findall(r'<rect class="failed"[^>]*>', page)
        assert 'fill="url(#hatched)"' in failed

    def test_numbers_are_written_as_svg_wants_them(self, tenant, visit, project):
        project.LANGUAGE_CODE = "de"
        project.USE_THOUSAND_SEPARATOR = True
        make(tenant)
        page = visit().get(PAGE).content.decode()
        numbers = [
            number
            for bar in re.findall("<rect [^>]*>", page)
            for number in re.findall(r' (?:x|y|width|height)="([^"]*)"', bar)
        ]
        assert len(numbers) == 4 * 30
        assert all(re.fullmatch(r"\d+", number) for number in numbers)


class TestDiagnosis:
    def test_says_in_words_what_its_signs_say(self, add_tenant, visit):
        add_tenant(database=False)
        page = visit().get(f"{PAGE}/diagnosis").content.decode()
        said = re.findall(
            r'<li class="(\w+)">.*?<h3><span class="visually-hidden">([^<]*)</span>',
            page,
            re.DOTALL,
        )
        assert page.count("<li class=") == len(said)
        assert set(said) == {
            ("well", "All right:"),
            ("wrong", "Problem:"),
            ("neither", "For your information:"),
        }


class TestHistory:
    def test_says_who_did_what(self, tenant, visit):
        client = visit()
        client.post(f"{PAGE}/create", {"label": "x"})
        backup = Backup.objects.get()
        client.post(f"{PAGE}/pin", {"backup": backup.pk, "pinned": "yes"})
        client.get(f"{PAGE}/download/{backup.pk}").close()
        for page in (PAGE, f"{PAGE}/history"):
            text = text_of(client.get(page))
            for words in ("completed", "pinned", "downloaded"):
                assert f"{words} No. {backup.pk} by ada" in text

    def test_of_this_tenant_only(self, tenant, add_tenant, visit):
        make(add_tenant("globex"), requested_by="george")
        automation.pause("the operator")
        for page in (PAGE, f"{PAGE}/history"):
            assert "Nothing has happened yet." in text_of(visit().get(page))

    def test_paths_are_for_operators(self, add_tenant, visit):
        tenant = add_tenant(database=False)
        visit().post(f"{PAGE}/create")
        for page in (PAGE, f"{PAGE}/history", f"{PAGE}/diagnosis"):
            assert str(tenant.root) in visit("operator").get(page).content.decode()
            for person in ("ada", "vera"):
                assert str(tenant.root) not in visit(person).get(page).content.decode()

    def test_in_pages_with_the_same_number_of_queries(
        self, tenant, visit, django_assert_num_queries
    ):
        client = visit()
        for number in (3, 120):
            Event.objects.bulk_create(
                Event(tenant_id="acme", kind="pinned", detail="/srv/x") for _ in range(number)
            )
            with django_assert_num_queries(4):
                answer = client.get(f"{PAGE}/history", {"page": 1})
        assert answer.content.decode().count("<li>") == subpages.LINES_PER_PAGE
        assert "?page=3" in answer.content.decode()

    def test_says_what_was_changed_in_the_words_of_the_form(self, tenant, visit):
        visit().get(PAGE)
        visit().post(f"{PAGE}/settings", {**SETTINGS, "interval": "weekly"})
        detail = Event.objects.get(kind="configured").detail
        assert "automatic backup: off → on" in detail
        assert "interval: every day → every week" in detail
        assert "maximum number: - → 3" in detail

    def test_addresses_are_for_those_who_may_configure(self, tenant, visit):
        visit().get(PAGE)
        visit().post(f"{PAGE}/settings", {**SETTINGS, "notify_email": "boss@example.com"})
        assert "address for notices: changed" in text_of(visit("vera").get(f"{PAGE}/history"))
        assert "boss@" not in visit("vera").get(f"{PAGE}/history").content.decode()

    def test_the_slash_of_the_time_zone_is_no_path(self, tenant, visit, monkeypatch):
        monkeypatch.setattr(Tenants, "tenants", [replace(tenant, time_zone="Europe/Berlin")])
        Event.record(EventKind.OVERDUE, "acme", detail="Due at 2 a.m. (Europe/Berlin).")
        assert "Due at 2 a.m. (Europe/Berlin)." in text_of(visit("vera").get(f"{PAGE}/history"))


class TestSummary:
    def ask(self, visit, **choices):
        answer = visit().get(f"{PAGE}/summary", {**SETTINGS, **choices})
        return json.loads(answer.content)

    def test_says_what_the_choices_mean_and_saves_nothing(self, tenant, visit):
        answer = self.ask(visit)
        size = size_in_words(3 * backups.database_bytes(tenant))
        assert answer == {
            "summary": "Every day at about 4 a.m.; keep the last 3.",
            "going": "",
            "outlook": "There is no good backup yet. Later it keeps up to 3 automatic ones, back "
            f"to about 2 days ago. They take up about {size} at today's size of the database.",
        }
        assert not BackupSettings.objects.get().automatic

    def test_says_how_many_would_go(self, tenant, visit):
        for _ in range(4):
            make(tenant)
        answer = self.ask(visit, keep_last="2")
        assert answer["going"] == "3 backups will be removed after the next one."

    def test_of_nonsense_there_is_nothing_to_say(self, tenant, visit):
        assert self.ask(visit, keep_last="0") == {"summary": "", "going": "", "outlook": ""}

    def test_is_on_the_page(self, tenant, visit):
        visit().post(f"{PAGE}/settings", SETTINGS)
        assert "Every day at about 4 a.m.; keep the last 3." in text_of(visit().get(PAGE))


class TestPaths:
    """Where files are on the server is for operators."""

    def test_of_the_backups(self, tenant, visit, directory):
        make(tenant)
        assert str(directory.path) in text_of(visit("operator").get(PAGE))
        for person in ("ada", "vera"):
            assert str(tenant.root) not in visit(person).get(PAGE).content.decode()

    def test_in_a_failures_reason(self, add_tenant, visit):
        tenant = add_tenant(database=False)
        visit().post(f"{PAGE}/create")
        assert str(tenant.database) in text_of(visit("operator").get(PAGE))
        seen = visit("vera").get(PAGE)
        assert "db.sqlite3 does not exist" in text_of(seen)
        assert str(tenant.root.parent) not in seen.content.decode()

    def test_in_a_message(self, add_tenant, visit, monkeypatch):
        tenant = add_tenant(database=False)
        monkeypatch.setitem(HostNames.may, "vera", {"acme": {"view", "create"}})
        assert str(tenant.database) in said(visit("operator").post(f"{PAGE}/create"))
        assert "/" not in said(visit("vera").post(f"{PAGE}/create"))

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("It became full.", "It became full."),
            ("The database {root}/db.sqlite3 is empty.", "The database db.sqlite3 is empty."),
            (
                "{root}/backups/.a.partial cannot be written: Permission denied. The user "
                "(user id 7) needs write permission in {root}/backups.",
                ".a.partial cannot be written: Permission denied. The user "
                "(user id 7) needs write permission in backups.",
            ),
            ("In {root}.", "In acme."),
            ("In {root}2.", None),
            ("In {root}-2/x.", None),
            ("In {root}/deeper/still.", None),
            ("OSError: [Errno 2] '/etc/shadow'", None),
            (r"OSError: 'C:\\Users\\acme'", None),
        ],
    )
    def test_no_path_is_left(self, tmp_path, text, expected):
        root = tmp_path / "my tenants" / "acme"
        tenant = Tenant("acme", "Acme", root, root / "db.sqlite3")
        shown = backups.without_paths(text.format(root=root), tenant)
        if expected is None:
            assert "Ask the operator" in shown or "/" not in shown
            assert str(tmp_path) not in shown
            assert "etc" not in shown
            assert "Users" not in shown
        else:
            assert shown == expected

    @pytest.mark.parametrize(
        "contact", [{"PHONE": "030/1234"}, {"NAME": "Acme A/S", "EMAIL": "a@example.com"}]
    )
    def test_a_slash_in_the_contact_or_in_the_tenants_name_is_no_path(
        self, tmp_path, settings, contact
    ):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "OPERATOR": contact}
        tenant = Tenant("acme", "Acme I/O", tmp_path / "acme", tmp_path / "acme" / "db.sqlite3")
        said = f"The backups of Acme I/O may take up 1 MB. Ask the operator{after_the_operator()}."
        assert next(iter(contact.values())) in said
        assert backups.without_paths(said, tenant) == said
        for other in ("/etc/x", "x/030/1234", "/Acme I/O", "Acme I/O/x"):
            assert other not in backups.without_paths(f"{said} {other}", tenant)
        for name in ("/", "\\"):
            shown = backups.without_paths("OSError: '/etc/shadow'", replace(tenant, name=name))
            assert "etc" not in shown

    def test_a_root_at_the_top_of_the_disk_hides_no_less(self, tmp_path):
        tenant = Tenant("acme", "Acme", Path("/acme"), Path("/acme.sqlite3"))
        assert backups.without_paths("/acme.sqlite3 is at /etc/x", tenant).startswith("There was")


# What can be done


class TestCreate:
    def test_makes_one_without_any_cluster(self, tenant, directory, visit):
        Schedule.objects.all().delete()
        client = visit()
        answer = client.post(f"{PAGE}/create", {"label": "before the import"})
        backup = Backup.objects.get()
        assert is_line(answer, backup)
        assert (backup.status, backup.trigger) == (Status.COMPLETE, Trigger.MANUAL)
        assert (backup.label, backup.requested_by) == ("before the import", "ada")
        assert_true_copy(directory.file(backup.file_name))
        assert f"The backup is complete: {backup.file_name}" in text_of(client.get(PAGE))
        assert not OrmQ.objects.exists()

    def test_the_label_is_optional(self, tenant, visit):
        visit().post(f"{PAGE}/create")
        assert Backup.objects.get().label == ""

    def test_a_label_that_is_too_long_makes_nothing(self, tenant, visit):
        answer = visit().post(f"{PAGE}/create", {"label": "x" * (LABEL_LENGTH + 1)})
        assert is_page(answer)
        assert f"No backup was made. Label: Ensure this value has at most {LABEL_LENGTH}" in said(
            answer
        )
        assert not Backup.objects.exists()

    def test_waits_no_longer_than_a_request_may(self, tenant, visit, project, monkeypatch):
        seen = []
        create = backups.create

        def spy(*args, limits, **kwargs):
            seen.append((limits.busy_timeout, limits.lock_wait))
            return create(*args, limits=limits, **kwargs)

        monkeypatch.setattr(backups, "create", spy)
        visit().post(f"{PAGE}/create")
        project.TENANT_BACKUP = project.TENANT_BACKUP | {"BUSY_TIMEOUT": 2}
        visit().post(f"{PAGE}/create")
        assert seen == [(5, 0), (2, 0)]

    def test_while_the_tenant_is_locked_it_says_so_and_makes_no_second(
        self, tenant, directory, visit
    ):
        directory.make()
        with lock.hold(directory, wait=0):
            answer = visit().post(f"{PAGE}/create")
        assert is_page(answer)
        assert "is being made right now, so no second one was started" in said(answer)
        assert not Backup.objects.exists()

    def test_a_row_that_a_crash_left_running_blocks_nothing(self, tenant, visit):
        stale = row(
            status=Status.RUNNING,
            file_name="acme-20260101T000000Z.sqlite3",
            started_at=timezone.now() - timedelta(hours=1),
            created_at=timezone.now() - timedelta(hours=1),
        )
        client = visit()
        text = text_of(client.get(PAGE))
        assert "The last attempt to make a backup failed." in text
        assert "It seems to have been interrupted. It started " in text
        assert "Make another backup below. It also cleans up this one." in text
        assert "All is well" not in text
        assert "A backup is being made" not in text
        assert "data-status-url" not in client.get(PAGE).content.decode()
        client.post(f"{PAGE}/create")
        stale.refresh_from_db()
        assert stale.status == Status.FAILED
        assert Backup.objects.newest_first()[0].status == Status.COMPLETE

    def test_takes_over_a_queued_one(self, tenant, visit):
        queued = backups.request(tenant, COMMAND)
        visit().post(f"{PAGE}/create")
        assert Backup.objects.get().pk == queued.pk
        assert Backup.objects.get().status == Status.COMPLETE

    def test_a_failure_is_a_message_and_a_row(self, add_tenant, visit):
        tenant = add_tenant(database=False)
        answer = visit("operator").post(f"{PAGE}/create")
        assert is_line(answer, Backup.objects.get())
        assert f"The backup failed. The database {tenant.database} does not exist" in said(answer)
        assert Backup.objects.get().status == Status.FAILED

    def test_a_missing_database_fails_at_once_even_where_workers_run(
        self, add_tenant, visit, running_automation, at_once
    ):
        add_tenant(database=False)
        visit().post(f"{PAGE}/create")
        assert Backup.objects.get().status == Status.FAILED

    def test_says_what_was_pruned(self, tenant, visit):
        BackupSettings.objects.create(tenant_id="acme", keep_last=1)
        make(tenant)
        BackupSettings.objects.update(keep_last=None)
        make(tenant)
        BackupSettings.objects.update(keep_last=1)
        assert "1 older backup was removed" in said(visit().post(f"{PAGE}/create"))

    def test_a_large_database_is_handed_to_a_worker(
        self, tenant, visit, running_automation, at_once
    ):
        client = visit()
        assert "so the backup is made in the background" in text_of(client.get(PAGE))
        answer = client.post(f"{PAGE}/create", {"label": "big"})
        assert is_page(answer)
        backup = Backup.objects.get()
        assert (backup.status, backup.label) == (Status.QUEUED, "big")
        [task] = OrmQ.objects.all()
        assert task.task["args"] == (backup.pk,)
        text = text_of(client.get(PAGE))
        assert "The backup is queued" in text
        assert "A backup is queued. It will be made in the background." in text
        automation.make(backup.pk)
        assert Backup.objects.get().status == Status.COMPLETE

    @pytest.mark.parametrize("state", ["stalled", "paused", "not set up"])
    def test_a_large_database_is_copied_at_once_where_no_automation_runs(
        self, tenant, visit, at_once, state
    ):
        note_tick(hours=1 if state == "stalled" else 0)
        if state == "paused":
            automation.pause("root")
        if state == "not set up":
            Schedule.objects.all().delete()
        visit().post(f"{PAGE}/create")
        assert Backup.objects.get().status == Status.COMPLETE
        assert not OrmQ.objects.exists()

    def test_the_log_counts_as_part_of_the_database(
        self, tenant, visit, project, running_automation
    ):
        size = tenant.database.stat().st_size
        project.TENANT_BACKUP = project.TENANT_BACKUP | {"INLINE_MAX_BYTES": size}
        with closing(sqlite3.connect(tenant.database)) as writer:
            writer.execute("UPDATE credits SET body = zeroblob(5000)")
            writer.commit()
            assert tenant.database.stat().st_size == size
            visit().post(f"{PAGE}/create")
        assert Backup.objects.get().status == Status.QUEUED

    def test_while_a_large_one_is_made_no_second_is_queued(
        self, tenant, directory, visit, running_automation, at_once
    ):
        row(status=Status.RUNNING, file_name="a.sqlite3", started_at=timezone.now())
        directory.make()
        with lock.hold(directory, wait=0):
            answer = visit().post(f"{PAGE}/create")
        assert "is being made right now" in said(answer)
        assert Backup.objects.count() == 1


class TestSentTwice:
    """The form with its token, as a browser sends it after a double click, or after Back."""

    SAID = "No new backup was made: this form was already sent."

    @pytest.fixture
    def form(self, visit):
        """Open the page, and return what sends its form."""

        def form(name="ada"):
            client = visit(name)
            page = client.get(PAGE).content.decode()
            [token] = re.findall(r'name="token" value="([A-Za-z0-9_-]{22})"', page)

            def send(label=""):
                return client.post(f"{PAGE}/create", {"label": label, "token": token})

            return send

        return form

    def test_makes_one_and_warns(self, tenant, form):
        send = form()
        first, second = send(), send()
        made = Backup.objects.get()
        assert is_line(first, made)
        assert is_line(second, made)
        [*_, message] = get_messages(second.wsgi_request)
        assert message.level_tag == "warning"
        assert message.message == (
            f"{self.SAID} The backup is complete: {made.file_name}, 44.0\xa0KB. To make another "
            "one, press the button again."
        )
        # The page that it leads to has a form of its own.
        form()()
        assert Backup.objects.count() == 2

    def test_two_forms_of_one_person_make_two(self, tenant, form):
        """Two tabs, or two colleagues with one login: each wants a backup."""
        first, second = form(), form()
        first()
        assert "No new backup" not in said(second())
        assert Backup.objects.complete().count() == 2

    def test_is_no_matter_of_time_or_label(self, tenant, form):
        send = form()
        send("a")
        Backup.objects.update(created_at=timezone.now() - timedelta(days=3))
        assert self.SAID in said(send("b"))
        assert Backup.objects.count() == 1

    def test_is_no_matter_of_the_limit(self, tenant, form, project):
        project.TENANT_BACKUP = project.TENANT_BACKUP | {"MAX_MANUAL": 1}
        send = form()
        send()
        assert self.SAID in said(send())
        assert not Event.objects.filter(kind=EventKind.REFUSED).exists()

    def test_queues_one(self, tenant, form, running_automation, at_once):
        send = form()
        send("big")
        queued = Backup.objects.get()
        again = send("big")
        assert is_page(again)
        assert said(again).endswith(
            f"{self.SAID} Its backup is not complete yet. To make another one, press the button "
            "again when it is."
        )
        assert OrmQ.objects.count() == 1
        automation.make(queued.pk)
        assert is_line(send("big"), Backup.objects.get())

    def test_also_beside_what_somebody_else_had_queued(
        self, tenant, form, running_automation, at_once
    ):
        """The queued row remembers the last form that it answers."""
        send, theirs = form(), form("operator")
        theirs("a")
        send("b")
        queued = Backup.objects.get()
        # What no form asks for leaves the token as it is.
        backups.request(tenant, backups.BackupRequest(trigger=Trigger.COMMAND))
        automation.make(queued.pk)
        assert self.SAID in said(send("b"))
        assert Backup.objects.get().label == "a; b"

    def test_at_the_same_moment(self, tenant, form, monkeypatch):
        """The first is made while the second waits for the lock."""
        send = form()
        work = creation.tenant_work

        @contextmanager
        def late(*args, **kwargs):
            monkeypatch.setattr(creation, "tenant_work", work)
            send()
            with work(*args, **kwargs) as found:
                yield found

        monkeypatch.setattr(creation, "tenant_work", late)
        assert self.SAID in said(send())
        assert Backup.objects.get().status == Status.COMPLETE

    def test_queued_at_the_same_moment(self, tenant, monkeypatch):
        """No lock is held to queue one: the row of the first is there when the second adds its."""
        wanted = backups.BackupRequest(trigger=Trigger.MANUAL, label="a", form_token="t")
        begin = requests.catalog_transaction

        def late():
            monkeypatch.setattr(requests, "catalog_transaction", begin)
            requests.claim(tenant, wanted)
            return begin()

        monkeypatch.setattr(requests, "catalog_transaction", late)
        with pytest.raises(AlreadyAskedFor) as caught:
            requests.claim(tenant, wanted)
        assert caught.value.backup == Backup.objects.get()

    @pytest.mark.parametrize(
        "fields", [{}, {"token": ""}, {"token": "x y"}, {"token": "x" * 33}, {"token": "x\n"}]
    )
    def test_without_a_valid_token_each_makes_one(self, tenant, visit, fields):
        for _ in range(2):
            visit().post(f"{PAGE}/create", fields)
        assert list(Backup.objects.values_list("form_token", flat=True)) == ["", ""]

    def test_after_a_failure_one_may_try_again(self, tenant, form):
        send = form()
        away = tenant.database.rename(tenant.database.with_name("away"))
        send()
        away.rename(tenant.database)
        send()
        statuses = Backup.objects.newest_first().values_list("status", flat=True)
        assert list(statuses) == [Status.COMPLETE, Status.FAILED]

    def test_another_tenants_are_none_of_its_business(self, tenant, add_tenant, form):
        send = form()
        send()
        Backup.objects.update(tenant_id=add_tenant("globex").id)
        assert "No new backup" not in said(send())
        assert Backup.objects.for_tenant("acme").count() == 1


class TestLimits:
    @pytest.fixture
    def at_most(self, project):
        def at_most(number):
            project.TENANT_BACKUP = project.TENANT_BACKUP | {"MAX_MANUAL": number}

        return at_most

    def test_a_refused_click_is_a_message_and_a_line_and_no_row(self, tenant, visit, at_most):
        client = visit()
        client.post(f"{PAGE}/create")
        at_most(1)
        answer = client.post(f"{PAGE}/create")
        assert is_page(answer)
        assert "No backup was made. The limit for backups made by hand is reached" in said(answer)
        assert Backup.objects.count() == 1
        line = Event.objects.get(kind=EventKind.REFUSED)
        assert line.actor == "ada"
        text = text_of(client.get(PAGE))
        assert text.count("The limit for backups made by hand is reached: 1 of 1.") == 3
        assert "refused" in text

    def test_a_click_that_would_fill_the_disk_is_refused(self, tenant, visit, monkeypatch):
        monkeypatch.setattr(BackupDirectory, "free_bytes", lambda self: 50 * 1024**2)
        monkeypatch.setattr(BackupDirectory, "disk_bytes", lambda self: 10 * 1024**3)
        client = visit()
        for _ in range(3):
            answer = client.post(f"{PAGE}/create")
        assert "No backup was made. There is not enough room on the disk" in said(answer)
        assert "50.0\xa0MB" not in said(answer)
        assert "50.0 MB are free, and" in said(answer)
        assert not Backup.objects.exists()
        assert Event.objects.get().kind == EventKind.REFUSED
        assert "There is not enough room on the disk" in text_of(client.get(PAGE))

    def test_the_page_does_not_promise_a_worker_for_what_it_refuses(
        self, tenant, visit, monkeypatch, settings, running_automation
    ):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "INLINE_MAX_BYTES": 1}
        client = visit()
        assert "so the backup is made in the background" in text_of(client.get(PAGE))
        monkeypatch.setattr(BackupDirectory, "free_bytes", lambda self: 1000)
        assert "so the backup is made in the background" not in text_of(client.get(PAGE))

    def test_from_four_fifths_the_page_warns(self, tenant, visit, at_most):
        client = visit()
        at_most(5)
        for _ in range(4):
            assert "of at most 5" not in text_of(client.get(PAGE))
            client.post(f"{PAGE}/create")
        text = text_of(client.get(PAGE))
        assert "Backups made by hand: 4 of at most 5." in text

    def test_at_the_limit_the_form_offers_to_replace_the_oldest(self, tenant, visit, at_most):
        at_most(1)
        client = visit()
        client.post(f"{PAGE}/create", {"label": "of long ago"})
        oldest = Backup.objects.get()
        page = client.get(PAGE)
        assert f'name="replace" value="{oldest.pk}" required' in page.content.decode()
        assert f"delete the oldest backup made by hand: No. {oldest.pk} of" in text_of(page)
        answer = client.post(f"{PAGE}/create", {"replace": oldest.pk})
        assert "It replaces the backup of" in said(answer)
        assert Backup.objects.get().pk != oldest.pk
        assert Event.objects.get(kind=EventKind.DELETED).actor == "ada"

    def test_who_may_not_delete_replaces_nothing(self, tenant, visit, at_most, monkeypatch):
        at_most(1)
        client = visit()
        client.post(f"{PAGE}/create")
        oldest = Backup.objects.get()
        monkeypatch.setitem(HostNames.may, "ada", {"acme": EVERYTHING - {"delete"}})
        assert 'name="replace"' not in client.get(PAGE).content.decode()
        answer = client.post(f"{PAGE}/create", {"replace": oldest.pk})
        assert answer.status_code == 403
        assert Backup.objects.get() == oldest

    def test_a_neighbours_is_not_replaced(self, tenant, add_tenant, visit, at_most):
        at_most(1)
        theirs = make(add_tenant("globex"), trigger=Trigger.MANUAL)
        client = visit()
        client.post(f"{PAGE}/create")
        answer = client.post(f"{PAGE}/create", {"replace": theirs.pk})
        assert "No backup was made" in said(answer)
        assert Backup.objects.count() == 2
        assert client.post(f"{PAGE}/create", {"replace": "x"}).status_code == 404


class HostsTransaction:
    """A middleware of a host that writes to the tenant's database around each request."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        with transaction.atomic(using="late"):
            with connections["late"].cursor() as cursor:
                cursor.execute("INSERT INTO visits VALUES (1)")
            return self.get_response(request)


class TestTransactionsOfTheHost:
    @pytest.fixture
    def late(self, tmp_path):
        """An alias with ATOMIC_REQUESTS that was registered while the process was running."""
        before = connections.settings
        options = copy.deepcopy(before["default"])
        options |= {"NAME": str(tmp_path / "late.sqlite3"), "ATOMIC_REQUESTS": True}
        connections.settings = {**before, "late": options}
        # By itself, for tests may not use an alias that they did not name in advance.
        connections["late"].connect()
        with connections["late"].cursor() as cursor:
            cursor.execute("CREATE TABLE visits (number INTEGER)")
        yield connections["late"]
        connections["late"].close()
        del connections["late"]
        connections.settings = before

    def visits(self, late):
        """What is in the file, whatever this connection believes."""
        with closing(sqlite3.connect(late.settings_dict["NAME"])) as reader:
            return reader.execute("SELECT count(*) FROM visits").fetchone()[0]

    def test_the_trap_is_real(self, late):
        """To hand a task over inside another alias's transaction undoes what was written there."""

        with transaction.atomic("late"):
            with late.cursor() as cursor:
                cursor.execute("INSERT INTO visits VALUES (1)")
            async_task("tests.nothing")
        assert self.visits(late) == 0

    @pytest.mark.parametrize("name", ROUTES)
    def test_no_view_runs_in_a_transaction(self, tenant, visit, late, monkeypatch, name):
        backup = make(tenant)
        seen: list[bool] = []
        has_permission = HostNames.has_permission

        def look(provider, request, *args):
            seen.extend(connections[alias].in_atomic_block for alias in connections)
            return has_permission(provider, request, *args)

        monkeypatch.setattr(HostNames, "has_permission", look)
        ROUTES[name].send(visit(), name, backup)
        assert set(seen) == {False}

    def test_a_queued_backup_is_handed_over_all_the_same(
        self, tenant, visit, late, running_automation, at_once
    ):
        visit().post(f"{PAGE}/create")
        assert OrmQ.objects.count() == 1

    def test_what_the_host_writes_around_a_click_stays_written(
        self, tenant, visit, late, project, running_automation, at_once
    ):
        project.MIDDLEWARE = [*project.MIDDLEWARE, "tests.test_views.HostsTransaction"]
        assert is_page(visit().post(f"{PAGE}/create"))
        assert self.visits(late) == 1
        # Nothing could be handed over meanwhile: the tick does it.
        assert not OrmQ.objects.exists()
        automation.tick(timezone.now() + timedelta(minutes=1))
        assert OrmQ.objects.count() == 1


class TestDelete:
    def test_asks_first_and_deletes_nothing(self, tenant, directory, visit):
        backup = make(tenant, label="the old books")
        before = catalog()
        answer = visit().post(f"{PAGE}/delete", {"backup": backup.pk})
        assert answer.status_code == 200
        text = text_of(answer)
        assert "Delete this backup permanently?" in text
        assert "the old books" in text
        assert "Cancel" in text
        assert catalog() == before
        assert directory.file(backup.file_name).exists()

    def test_confirmed_it_deletes_file_and_row(self, tenant, directory, visit):
        backup, kept = make(tenant), make(tenant)
        client = visit()
        asked = client.post(f"{PAGE}/delete", {"backup": backup.pk}).content.decode()
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w+)">', asked))
        assert fields.pop("csrfmiddlewaretoken")
        assert fields == {"backup": str(backup.pk), "confirm": "yes"}
        answer = client.post(f"{PAGE}/delete", fields)
        assert is_page(answer)
        today = date_format(timezone.localtime(kept.created_at), "MONTH_DAY_FORMAT")
        assert said(answer) == (
            f"1 backup was deleted. 1 good backup remains, from {today} (made just now)."
        )
        assert names_in(directory.path) == [kept.file_name, f"{kept.file_name}.sha256"]
        assert Backup.objects.get() == kept
        assert Event.objects.get(kind="deleted").actor == "ada"

    def test_while_the_tenant_is_locked_it_says_so_once(self, tenant, directory, visit, settings):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "BUSY_TIMEOUT": 0.1}
        ids = [make(tenant).pk for _ in range(3)]
        with lock.hold(directory, wait=0):
            answer = visit().post(f"{PAGE}/delete", {"backup": ids, "confirm": "yes"})
        assert said(answer) == (
            "A backup of Acme is being made or restored at this moment, so nothing was deleted. "
            "Try again when that is complete."
        )
        assert Backup.objects.good().count() == 3

    def test_several_at_once_with_one_confirmation(self, tenant, directory, visit):
        ids = [make(tenant).pk for _ in range(3)]
        client = visit()
        text = text_of(client.post(f"{PAGE}/delete", {"backup": [*ids, ids[0]]}))
        assert "Delete these 3 backups permanently?" in text
        answer = client.post(f"{PAGE}/delete", {"backup": ids, "confirm": "yes"})
        assert said(answer) == ("3 backups were deleted. No good backup remains. Make a new one.")
        assert names_in(directory.path) == []
        assert not Backup.objects.exists()

    def test_the_question_says_what_is_wrong_with_a_file(self, tenant, visit):
        now = timezone.now()
        rows = [make(tenant), make(tenant), row()]
        Backup.objects.filter(pk=rows[0].pk).update(missing_at=now)
        Backup.objects.filter(pk=rows[1].pk).update(damaged_at=now)
        for backup, word in zip(rows, ("missing", "damaged", "failed"), strict=True):
            text = text_of(visit().post(f"{PAGE}/delete", {"backup": backup.pk}))
            assert re.findall("missing|damaged|failed", text) == [word]

    def test_warns_of_what_leaves_no_good_backup(self, tenant, visit):
        first, second = make(tenant), make(tenant)
        failed = row()
        client = visit()

        def warns(*chosen):
            body = {"backup": [backup.pk for backup in chosen]}
            return "No good backup would be left." in text_of(client.post(f"{PAGE}/delete", body))

        assert not warns(first)
        assert not warns(failed)
        assert warns(first, second)
        second.delete()
        assert warns(first)
        assert not warns(failed)

    def test_says_before_and_after_what_remains(self, tenant, visit, project, monkeypatch):
        """Only good backups count, and days are those of the tenant's time zone."""
        zoned = replace(tenant, time_zone="Asia/Tokyo")
        monkeypatch.setattr(Tenants, "tenants", [zoned])
        now = timezone.now()
        year = timezone.localtime(now, zoned.zone).year
        made = [make(zoned) for _ in range(5)]
        for backup, days in zip(made, (400, 30, 20, 9, 2), strict=True):
            at = (now - timedelta(days=days)).replace(hour=15, minute=30)  # the next day in Tokyo
            Backup.objects.filter(pk=backup.pk).update(created_at=at)
        Backup.objects.filter(pk=made[1].pk).update(missing_at=now)
        made = list(Backup.objects.order_by("created_at"))
        row()
        future = complete_row(7, created_at=now + timedelta(days=300))
        client = visit()

        def words(backup):
            local = timezone.localtime(backup.created_at, zoned.zone)
            form = "MONTH_DAY_FORMAT" if local.year == year else "DATE_FORMAT"
            days = (timezone.now() - backup.created_at).days
            return date_format(local, form), f"{days} days" if days < 60 else "1 year"

        def asked(*chosen):
            body = {"backup": [backup.pk for backup in chosen]}
            return text_of(client.post(f"{PAGE}/delete", body)).replace("\xa0", " ")

        def deleted(*chosen):
            body = {"backup": [backup.pk for backup in chosen], "confirm": "yes"}
            return said(client.post(f"{PAGE}/delete", body)).replace("\xa0", " ")

        day, age = words(made[3])
        assert age in ("8 days", "9 days")
        assert f"3 good backups will remain. Your newest will be from {day} ({age} old)." in asked(
            made[4]
        )
        assert deleted(made[4]).endswith(
            f"3 good backups remain. Your newest is from {day} ({age} old)."
        )
        day, age = words(made[0])
        assert str(year - 1) in day or str(year - 2) in day
        assert f"1 good backup will remain, from {day} ({age} old)." in asked(*made[2:4])
        assert deleted(*made[2:4]).endswith(f"1 good backup remains, from {day} ({age} old).")
        assert "No good backup would be left." in asked(made[0])
        assert deleted(made[0]).endswith("No good backup remains. Make a new one.")
        assert "No good backup will remain." in asked(made[1])
        assert Backup.objects.filter(pk=future.pk).exists()

    def test_of_several_the_lock_is_taken_once(self, tenant, visit, monkeypatch):
        ids = [make(tenant).pk for _ in range(4)]
        taken, hold = [], lock.hold

        def count(*arguments, **options):
            taken.append(arguments)
            return hold(*arguments, **options)

        monkeypatch.setattr(lock, "hold", count)
        visit().post(f"{PAGE}/delete", {"backup": ids, "confirm": "yes"})
        assert not Backup.objects.exists()
        assert len(taken) == 1

    @pytest.mark.parametrize("confirm", [{}, {"confirm": "yes"}])
    @pytest.mark.parametrize(
        ("fields", "why"),
        [
            ({"status": Status.COMPLETE, "file_name": "a", "pinned": True}, "is pinned"),
            ({"status": Status.QUEUED}, "is queued"),
            ({"status": Status.RUNNING, "file_name": "a"}, "is being made"),
        ],
    )
    def test_refuses_what_is_pinned_queued_or_running(self, tenant, visit, fields, why, confirm):
        backup = row(**fields)
        answer = visit().post(f"{PAGE}/delete", {"backup": backup.pk, **confirm})
        assert is_page(answer)
        assert why in said(answer)
        assert Backup.objects.get() == backup

    def test_of_several_the_others_are_still_asked_about(self, tenant, visit):
        pinned, other = make(tenant, pinned=True), make(tenant)
        body = {"backup": [pinned.pk, other.pk]}
        client = visit()
        asked = client.post(f"{PAGE}/delete", body)
        assert "is pinned, so it is not deleted" in text_of(asked)
        assert "Delete this backup permanently?" in text_of(asked)
        answer = client.post(f"{PAGE}/delete", body | {"confirm": "yes"})
        assert "1 backup was deleted." in said(answer)
        assert Backup.objects.get() == pinned

    def test_a_failed_one_may_be(self, tenant, visit):
        failed = row()
        assert is_page(visit().post(f"{PAGE}/delete", {"backup": failed.pk, "confirm": "yes"}))
        assert not Backup.objects.exists()

    @pytest.mark.parametrize("confirm", [{}, {"confirm": "yes"}])
    def test_of_nothing_says_what_to_do(self, tenant, visit, confirm):
        answer = visit().post(f"{PAGE}/delete", confirm)
        assert is_page(answer)
        assert said(answer) == "Select at least one backup, then delete."

    @pytest.mark.parametrize("confirm", ["", "no", "YES", "1"])
    def test_anything_but_yes_asks_again(self, tenant, visit, confirm):
        backup = make(tenant)
        body = {"backup": backup.pk, "confirm": confirm}
        assert visit().post(f"{PAGE}/delete", body).status_code == 200
        assert Backup.objects.exists()

    def test_a_file_that_cannot_be_removed_keeps_its_row_and_no_other(
        self, tenant, directory, visit
    ):
        stuck, other = make(tenant), make(tenant)
        directory.file(stuck.file_name).unlink()
        directory.file(stuck.file_name).mkdir()
        body = {"backup": [stuck.pk, other.pk], "confirm": "yes"}
        answer = visit("operator").post(f"{PAGE}/delete", body)
        assert str(directory.file(stuck.file_name)) in said(answer)
        assert "1 backup was deleted." in said(answer)
        assert Backup.objects.get() == stuck


class TestPin:
    def test_pins_and_unpins(self, tenant, visit):
        backup = make(tenant)
        client = visit()
        for pinned, words in [("yes", "is pinned: it is kept"), ("no", "is no longer pinned")]:
            answer = client.post(f"{PAGE}/pin", {"backup": backup.pk, "pinned": pinned})
            assert is_page(answer)
            assert words in said(answer)
            assert Backup.objects.get().pinned == (pinned == "yes")
        assert {event.actor for event in Event.objects.filter(kind="pinned")} == {"ada"}

    @pytest.mark.parametrize("body", [{}, {"pinned": ""}, {"pinned": "maybe"}])
    def test_needs_an_answer(self, tenant, visit, body):
        backup = make(tenant)
        assert visit().post(f"{PAGE}/pin", {"backup": backup.pk, **body}).status_code == 400
        assert not Backup.objects.get().pinned

    def test_only_a_good_one_is_pinned_and_offered_to_be(self, tenant, visit):
        client = visit()
        for backup in [row(), complete_row(1, missing_at=timezone.now())]:
            answer = client.post(f"{PAGE}/pin", {"backup": backup.pk, "pinned": "yes"})
            assert is_page(answer)
            assert "cannot be pinned" in said(answer)
        assert not Backup.objects.filter(pinned=True).exists()
        assert 'form="pin"' not in client.get(PAGE).content.decode()

    def test_goes_back_to_the_part_of_the_list_that_it_came_from(self, tenant, visit):
        backup = make(tenant)
        body = {"backup": backup.pk, "pinned": "yes"}
        client = visit()
        at = f"#backup-{backup.pk}"
        assert client.post(f"{PAGE}/pin", body | {"page": "2"}).url == f"{PAGE}?page=2{at}"
        for page in ["x", "2&x=1", "//example.com", ""]:
            assert client.post(f"{PAGE}/pin", body | {"page": page}).url == PAGE + at


class TestDownload:
    def test_is_the_file_itself(self, tenant, directory, visit):
        backup = make(tenant)
        answer = visit().get(f"{PAGE}/download/{backup.pk}")
        assert answer.streaming
        content = b"".join(answer.streaming_content)
        answer.close()
        assert content == directory.file(backup.file_name).read_bytes()
        assert answer["Content-Length"] == str(backup.size)
        assert answer["Content-Type"] == "application/vnd.sqlite3"
        assert answer["Content-Disposition"] == f'attachment; filename="{backup.file_name}"'
        assert answer["Cache-Control"] == "private, no-store"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["ETag"] == f'"{backup.sha256}"'
        assert answer["Accept-Ranges"] == "bytes"
        assert answer["Content-Encoding"] == "identity"
        assert Event.objects.get(kind="downloaded").actor == "ada"

    def test_without_a_file_says_so(self, tenant, directory, visit):
        backup = make(tenant)
        directory.file(backup.file_name).unlink()
        answer = visit().get(f"{PAGE}/download/{backup.pk}")
        assert is_page(answer)
        assert "no longer exists" in said(answer)

    def test_a_failed_one_has_no_file(self, tenant, visit):
        answer = visit().get(f"{PAGE}/download/{row().pk}")
        assert is_page(answer)
        assert "has no file" in said(answer)


class TestSettings:
    def test_are_saved_and_the_next_run_is_shown(self, tenant, visit, running_automation):
        client = visit()
        answer = client.post(f"{PAGE}/settings", SETTINGS)
        # There they are open, and say what they mean.
        assert answer.status_code == 302
        assert answer.url == f"{PAGE}#settings-form"
        saved = BackupSettings.objects.get()
        assert saved.automatic
        assert (saved.time_of_day, saved.keep_last, saved.keep_days) == (time(4), 3, None)
        assert saved.next_run_at == saved.slot_after(timezone.now(), tenant.zone)
        text = text_of(client.get(PAGE))
        assert "The settings are saved." in text
        assert re.search(r"Next backup (today|tomorrow) at (4|4:\d\d) a\.m\. \(every day\)", text)
        assert Event.objects.get(kind="configured").actor == "ada"

    def test_are_left_alone_and_the_page_shown_with_what_is_wrong(self, tenant, visit):
        BackupSettings.objects.create(tenant_id="acme", keep_last=9)
        backup = make(tenant, label="still listed")
        answer = visit().post(f"{PAGE}/settings", SETTINGS | {"keep_last": "0", "keep_days": "x"})
        assert answer.status_code == 200
        page, text = answer.content.decode(), text_of(answer)
        assert "The settings were not saved." in text
        assert "Ensure this value is greater than or equal to 1." in text
        assert "Enter a whole number." in text
        assert 'name="keep_days" value="x"' in page
        assert "still listed" in text
        assert f"{PAGE}/download/{backup.pk}" in page
        assert "automatic backups are off" in text, "as it is saved, not as it was sent"
        assert BackupSettings.objects.get().keep_last == 9

    def test_turned_off_there_is_no_next_run(self, tenant, visit):
        BackupSettings.objects.create(
            tenant_id="acme", automatic=True, next_run_at=timezone.now() + timedelta(hours=1)
        )
        visit().post(f"{PAGE}/settings", {**SETTINGS, "automatic": ""})
        saved = BackupSettings.objects.get()
        assert not saved.automatic
        assert saved.next_run_at is None

    def test_what_is_advanced_is_open_where_it_is_used(self, tenant, visit):
        client = visit()
        assert "<details>" in client.get(PAGE).content.decode()
        advanced = {"keep_daily": "", "keep_weekly": "4", "keep_monthly": ""}
        assert is_page(client.post(f"{PAGE}/settings", SETTINGS | advanced))
        saved = BackupSettings.objects.get()
        assert (saved.keep_daily, saved.keep_weekly, saved.keep_monthly) == (None, 4, None)
        page = client.get(PAGE).content.decode()
        assert "<details open>" in page
        assert 'name="keep_weekly" value="4"' in page

    def test_what_a_hosts_own_form_does_not_show_stays(self, tenant, visit):
        BackupSettings.objects.create(
            tenant_id="acme", keep_monthly=12, notify_email="ada@example.com"
        )
        visit().post(f"{PAGE}/settings", SETTINGS)
        saved = BackupSettings.objects.get()
        assert (saved.keep_monthly, saved.notify_email) == (12, "ada@example.com")

    def test_what_the_next_backup_will_cost_is_said_and_marked_before_it_goes(self, tenant, visit):
        for _ in range(3):
            backups.create(tenant, backups.BackupRequest(trigger=Trigger.COMMAND))
        client = visit()
        assert "will be removed" not in text_of(client.get(PAGE))
        answer = client.post(
            f"{PAGE}/settings", {**SETTINGS, "automatic": "on", "keep_last": "2"}, follow=True
        )
        text = text_of(answer)
        assert "2 backups will be removed after the next one." in text
        assert text.count("will be removed after the next backup") == 2
        assert text.count("Only the newest 2 are kept.") == 2
        assert Backup.objects.count() == 3
        made = backups.create(tenant, backups.BackupRequest(trigger=Trigger.AUTOMATIC))
        assert len(made.pruned) == 2
        assert "will be removed after the next backup" in text_of(client.get(PAGE))

    def test_what_stays_for_a_reason_of_its_own_says_so(self, tenant, visit):
        made = [
            backups.create(tenant, backups.BackupRequest(trigger=Trigger.COMMAND)) for _ in range(3)
        ]
        ahead, held, plain = (Backup.objects.filter(pk=one.backup.pk) for one in made)
        ahead.update(created_at=timezone.now() + timedelta(days=365))
        held.update(hold_reason="Rows of customers vanished.")
        text = text_of(visit().get(PAGE))
        assert text.count("It is dated in the future, because the clock was wrong") == 1
        assert text.count("It is held: Rows of customers vanished.") == 1
        assert ahead.get().future_at is not None
        assert plain.get().future_at is None

    def test_a_tick_while_the_form_is_open_is_no_conflict(self, tenant, visit, running_automation):
        BackupSettings.objects.create(
            tenant_id="acme", automatic=True, next_run_at=timezone.now() - timedelta(minutes=1)
        )
        client = visit()
        client.get(PAGE)
        automation.tick(timezone.now() + timedelta(minutes=1))
        assert is_page(client.post(f"{PAGE}/settings", SETTINGS))
        next_run_at = BackupSettings.objects.get().next_run_at
        assert next_run_at
        assert next_run_at > timezone.now()
        assert Backup.objects.get().trigger == Trigger.AUTOMATIC

    def test_before_any_visit(self, tenant, visit):
        assert is_page(visit().post(f"{PAGE}/settings", SETTINGS))
        assert BackupSettings.objects.get().keep_last == 3


class TestPresets:
    def choose(self, client, preset="nightly", **changes):
        return client.post(f"{PAGE}/settings", SETTINGS | {"preset": preset} | changes)

    def test_are_offered_with_the_room_that_they_take(self, tenant, visit):
        page = visit().get(PAGE)
        size = size_in_words(27 * backups.database_bytes(tenant))
        assert f"then one a month for a year about {size} at today's size" in text_of(page)
        assert re.search('<details[^>]* id="settings">', page.content.decode())

    def test_fill_in_the_form_and_save_nothing(self, tenant, visit):
        for hour in range(20):
            complete_row(hour, created_at=timezone.now() - timedelta(days=hour))
        answer = self.choose(
            visit(), time_of_day="03:15", keep_weekly="7", notify_email="a@b.example"
        )
        assert answer.status_code == 200
        page, text = answer.content.decode(), text_of(answer)
        assert re.search('<details[^>]* id="settings" open>', page)
        for name, value in {
            "time_of_day": "03:15",
            "keep_days": "14",
            "keep_monthly": "13",
            "notify_email": "a@b.example",
        }.items():
            assert re.search(f'name="{name}" value="{value}"', page)
        # What the preset does not keep is emptied.
        assert not re.search('name="keep_(last|daily|weekly)" value', page)
        assert "Not saved yet: look at it and save." in text
        assert "Every day at about 3:15 a.m.; keep those of the last 14 days" in text
        assert "backups will be removed after the next one." in text
        assert "Settings: only by hand" in text, "as it is saved"
        saved = BackupSettings.objects.get()
        assert (saved.automatic, saved.keep_days, saved.notify_email) == (False, None, "")
        assert not Event.objects.exists()

    def test_only_by_hand_switches_off_and_leaves_the_rest(self, tenant, visit):
        page = self.choose(visit(), "manual").content.decode()
        assert re.search('name="automatic"(?![^>]*checked)', page)
        assert 'name="keep_last" value="3"' in page

    def test_what_was_typed_wrong_stays_and_is_marked(self, tenant, visit):
        answer = self.choose(visit(), notify_email="nobody")
        assert 'value="nobody"' in answer.content.decode()
        assert "Enter a valid email address." in text_of(answer)

    def test_the_saved_one_says_so_and_is_not_unsaved(self, tenant, visit):
        client = visit()
        preset = preset_named("nightly")
        BackupSettings.objects.create(tenant_id="acme", **preset.fields)
        text = text_of(client.get(PAGE))
        assert text.count("at today's size, your current settings") == 1
        assert "Not saved yet" not in text
        answer = self.choose(client, **UNCHANGED, automatic="on")
        assert "Not saved yet" not in text_of(answer)

    def test_an_unknown_one_does_not_exist(self, tenant, visit):
        assert self.choose(visit(), "weekly").status_code == 404
        assert not BackupSettings.objects.filter(automatic=True).exists()


class TestNotices:
    @pytest.fixture(autouse=True)
    def quiet(self):
        cache.clear()

    def admins(self, project, *addresses):
        project.ADMINS = (
            [*addresses] if django.VERSION >= (6, 0) else [("Olga", each) for each in addresses]
        )

    def test_who_is_told_already_is_said_by_name_to_operators_only(self, tenant, visit, project):
        assert "The operator is not notified, so enter an address" in text_of(visit().get(PAGE))
        self.admins(project, "olga@example.com", "otto@example.com")
        text = text_of(visit("operator").get(PAGE))
        assert "told in any case: olga@example.com, otto@example.com." in text
        page = visit().get(PAGE)
        assert "the operator is told in any case." in text_of(page)
        assert "olga@" not in page.content.decode()

    def send(self, client, address="boss@example.com", **changes):
        return client.post(
            f"{PAGE}/test-mail", {**SETTINGS, "notify_email": address, **changes}, follow=True
        )

    def test_a_test_mail_says_what_it_is_about(self, tenant, visit):
        answer = self.send(visit(), keep_last="77")
        assert "A test mail is on its way to boss@example.com." in text_of(answer)
        page = answer.content.decode()
        assert 'value="boss@example.com"' in page
        assert 'name="keep_last" value="77"' in page, "nothing that was typed is lost"
        assert BackupSettings.objects.get().notify_email == "", "it saves nothing"
        [sent] = mail.outbox
        assert sent.to == ["boss@example.com"]
        assert sent.subject == "Backups of Acme: a test"
        assert "notices about the backups of Acme can reach this address" in sent.body
        assert f"Backup page: http://acme.example.com{PAGE}" in sent.body
        assert "You get a notice when a backup fails or is late" in sent.body
        assert "ada asked for this mail there. You do not have to reply." in sent.body

    def test_to_the_saved_address_it_goes_back_to_the_page(self, tenant, visit):
        client = visit()
        shown = SETTINGS | {"weekday": "6", "notify_email": "boss@example.com"}
        client.post(f"{PAGE}/settings", shown)
        client.get(PAGE)
        answer = self.send(client, **shown)
        assert answer.redirect_chain == [(PAGE, 302)]
        assert "A test mail is on its way to boss@example.com." in text_of(answer)

    @pytest.mark.parametrize("address", ["", "nobody", "a@b.example, c@d.example"])
    def test_without_a_valid_address_none_is_sent(self, tenant, visit, address):
        answer = self.send(visit(), address)
        assert "No test mail was sent. Enter a valid address" in text_of(answer)
        assert mail.outbox == []

    def test_nobody_is_flooded(self, tenant, add_tenant, visit, monkeypatch):
        client = visit()
        self.send(client)
        assert "less than a minute ago" in text_of(self.send(client, "other@example.com"))
        add_tenant("globex")
        other = visit("george", tenant="globex")
        assert "less than a minute ago" in text_of(self.send(other, "BOSS@example.com"))
        assert len(mail.outbox) == 1
        monkeypatch.setattr(recipients, "SECONDS_APART", 0)
        cache.clear()
        for _ in range(2):
            self.send(client)
        assert len(mail.outbox) == 3

    def test_an_error_is_said_without_what_is_the_operators(self, tenant, visit, project):
        send_mail_by(project, "tests.test_views.Refusing")
        project.TENANT_BACKUP = project.TENANT_BACKUP | {"OPERATOR": {"PHONE": "+49 30 1"}}
        text = text_of(self.send(visit()))
        assert (
            "The test mail to boss@example.com could not be sent. The mail server refused it. Tell "
            "the operator (+49 30 1)."
        ) in text
        assert "550" not in text
        text = text_of(self.send(visit("operator")))
        assert "The test mail to boss@example.com could not be sent: (550, b'no')" in text
        send_mail_by(project, "tests.test_views.Broken")
        assert "/srv/mail" not in self.send(visit()).content.decode()
        assert "/srv/mail" in self.send(visit("operator")).content.decode()

    def test_what_was_not_sent_may_be_sent_at_once(self, tenant, add_tenant, visit, project):
        send_mail_by(project, "tests.test_views.Refusing")
        self.send(visit())
        send_mail_by(project, "django.core.mail.backends.locmem.EmailBackend")
        assert "is on its way" in text_of(self.send(visit()))
        # Nor does an address that another tenant has just mailed use up the minute of this one.
        add_tenant("globex")
        theirs = visit("george", tenant="globex")
        assert "less than a minute ago" in text_of(self.send(theirs))
        assert "is on its way" in text_of(self.send(theirs, "other@example.com"))

    def test_a_name_is_not_escaped(self, tenant, visit, monkeypatch):
        monkeypatch.setattr(Tenants, "tenants", [replace(tenant, name="Acme & Co")])
        self.send(visit())
        assert mail.outbox[0].subject == "Backups of Acme & Co: a test"


class Refusing(BaseEmailBackend):
    def send_messages(self, email_messages):
        raise SMTPDataError(550, b"no")


class Broken(BaseEmailBackend):
    def send_messages(self, email_messages):
        raise OSError("no socket /srv/mail")


class TestStatus:
    def status(self, visit):
        answer = visit().get(f"{PAGE}/status")
        assert answer["Content-Type"] == "application/json"
        return json.loads(answer.content)

    def test_of_nothing(self, tenant, visit):
        assert self.status(visit) == {
            "running": False,
            "queued": False,
            "bytes_done": None,
            "bytes_total": None,
            "so_far": "",
            "status": None,
            "ended": "",
        }

    @pytest.mark.parametrize("status", [Status.COMPLETE, Status.FAILED, Status.QUEUED])
    def test_of_one_that_is_not_running(self, tenant, visit, status):
        row("globex", status=Status.RUNNING, file_name="theirs")
        complete_row(1, created_at=timezone.now() - timedelta(days=1))
        row(status=status)
        answer = self.status(visit)
        assert answer["status"] == status
        assert answer["queued"] == (status == Status.QUEUED)
        assert not answer["running"]
        assert answer["bytes_done"] is answer["bytes_total"] is None

    def test_of_a_running_one_by_the_size_of_its_partial(self, tenant, visit, directory):
        total = tenant.database.stat().st_size
        row(status=Status.RUNNING, file_name="a.sqlite3", started_at=timezone.now())
        expected = {"running": True, "queued": False, "bytes_total": total, "status": "running"}
        expected |= {"ended": ""}
        assert self.status(visit) == expected | {
            "bytes_done": 0,
            "so_far": "0\xa0bytes of 44.0\xa0KB",
        }
        directory.make()
        partial = directory.create_partial("a.sqlite3")
        for written, done in [(4096, 4096), (total + 4096, total)]:
            partial.write_bytes(b"x" * written)
            answer = self.status(visit)
            assert answer["so_far"].endswith(" of 44.0\xa0KB")
            del answer["so_far"]
            assert answer == {**expected, "bytes_done": done}
        page = visit().get(PAGE)
        assert f'max="{total}"' in page.content.decode()
        assert "44.0 KB of 44.0 KB" in text_of(page)

    def test_of_a_running_one_whose_database_is_gone(self, add_tenant, visit):
        add_tenant(database=False)
        row(status=Status.RUNNING, file_name="a.sqlite3", started_at=timezone.now())
        assert self.status(visit)["bytes_total"] is None
        assert visit().get(PAGE).status_code == 200

    def ended(self, client, backup):
        """What the progress bar is told at the end, and what the page says when it is opened."""
        text = json.loads(client.get(f"{PAGE}/status", {"backup": backup.pk}).content)["ended"]
        answer = client.get(PAGE, {"after": backup.pk})
        if text:
            assert is_line(answer, backup)
            assert said(answer).endswith(text)
        else:
            assert answer.status_code == 200
        return text.replace("\xa0", " ")

    def test_a_queued_one_that_is_made_ends_with_a_message(self, tenant, visit):
        queued = backups.request(tenant, COMMAND)
        client = visit()
        assert f'href="{PAGE}?after={queued.pk}"' in client.get(PAGE).content.decode()
        assert self.ended(client, queued) == ""
        automation.make(queued.pk)
        queued.refresh_from_db()
        text = f"The backup is complete: {queued.file_name}, 44.0 KB."
        assert self.ended(client, queued) == text
        # Another one since is in nobody's way, and the message is there once.
        backups.request(tenant, COMMAND)
        assert self.ended(client, queued) == text
        assert text in text_of(client.get(PAGE))
        assert text not in text_of(client.get(PAGE))

    def test_one_that_ends_while_the_page_is_put_together_is_still_waited_for(
        self, tenant, visit, monkeypatch
    ):
        running = row(status=Status.RUNNING, file_name="a.sqlite3", started_at=timezone.now())
        judge_tenant = monitoring.judge_tenant

        def judge_at_its_end(*args, **options):
            Backup.objects.filter(pk=running.pk).update(
                status=Status.COMPLETE, finished_at=timezone.now(), size=1
            )
            return judge_tenant(*args, **options)

        monkeypatch.setattr(monitoring, "judge_tenant", judge_at_its_end)
        page = visit().get(PAGE, {"after": running.pk}).content.decode()
        assert f"/status?backup={running.pk}" in page
        assert "progress.js" in page

    def test_one_that_fails_ends_with_the_reason(self, tenant, visit, monkeypatch):
        queued = backups.request(tenant, COMMAND)
        tenant.database.unlink()
        with pytest.raises(BackupError):
            backups.perform(tenant, queued.pk)
        assert str(tenant.database) in self.ended(visit("operator"), queued)
        monkeypatch.setitem(HostNames.may, "ada", {"acme": {"view"}})
        text = self.ended(visit(), queued)
        assert text.startswith("The backup failed. The database db.sqlite3 does not exist")

    @pytest.mark.parametrize("number", ["<theirs>", "99", "x", "", "9" * 30])
    def test_of_what_is_not_ours_it_says_nothing(self, tenant, add_tenant, visit, number):
        theirs = make(add_tenant("globex"))
        number = number.replace("<theirs>", str(theirs.pk))
        client = visit()
        answer = client.get(f"{PAGE}/status", {"backup": number})
        assert json.loads(answer.content)["ended"] == ""
        assert client.get(PAGE, {"after": number}).status_code == 200

    def test_asks_little_of_the_database(self, tenant, visit):
        client = visit()
        backup = make(tenant)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            client.get(f"{PAGE}/status", {"backup": backup.pk})
        assert len(queries) <= 5


# What the pages are made of


class Strict(HTMLParser):
    """Collects what a strict Content-Security-Policy would refuse, and what has no name."""

    def __init__(self):
        super().__init__()
        self.refused = []
        self.labelled = set()
        self.fields = []
        self.ids = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "style" or (tag == "script" and not given.get("src")):
            self.refused.append(tag)
        for name, value in attrs:
            if name == "style" or name.startswith("on"):
                self.refused.append(f"{tag} {name}")
            if name in {"src", "href", "action", "formaction"} and value:
                parts = urlsplit(value)
                if parts.scheme or parts.netloc:
                    self.refused.append(value)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "label":
            self.labelled.add(given.get("for"))
        if tag in {"input", "select"} and given.get("type") not in {"hidden", "submit"}:
            self.fields.append(given)


class TestMarkup:
    @contextmanager
    def pages(self, tenant, visit):
        """One of each page in one of each state."""
        made = [make(tenant, label="one"), make(tenant)]
        make(tenant, pinned=True)
        row(error="why")
        BackupSettings.objects.create(tenant_id="acme", automatic=True, keep_daily=3, keep_weekly=1)
        client = visit()

        def pages():
            yield client.get(PAGE)
            yield client.post(f"{PAGE}/settings", {"interval": "monthly", "keep_last": "0"})
            yield client.post(f"{PAGE}/delete", {"backup": [row.pk for row in made]})
            yield client.get(f"{PAGE}/diagnosis")
            yield client.get(f"{PAGE}/history")
            yield client.get(f"{PAGE}/contents/{made[0].pk}")
            yield visit("vera").get(PAGE)
            yield visit("operator").get(PAGE)
            queued = backups.request(tenant, COMMAND)
            yield client.get(PAGE)
            queued.start("running.sqlite3")
            yield client.get(PAGE)

        yield pages()

    def test_nothing_is_inline_and_nothing_from_elsewhere(self, tenant, visit):
        with self.pages(tenant, visit) as pages:
            for page in pages:
                assert page.status_code == 200
                strict = Strict()
                strict.feed(page.content.decode())
                assert strict.refused == []

    def test_every_field_has_a_name_and_every_id_is_unique(self, tenant, visit):
        with self.pages(tenant, visit) as pages:
            for page in pages:
                strict = Strict()
                strict.feed(page.content.decode())
                for given in strict.fields:
                    assert given.get("id") in strict.labelled or given.get("aria-label"), given
                assert len(strict.ids) == len(set(strict.ids))

    def test_every_setting_is_explained_where_it_is(self, tenant, visit):
        page = visit().get(PAGE).content.decode()
        plain = {"automatic", "interval", "weekday"}
        for name in SettingsForm.base_fields.keys() - plain:
            [field] = re.findall(rf'<(?:input|select)[^>]* name="{name}"[^>]*>', page)
            assert f'aria-describedby="id_{name}_helptext"' in field
            [text] = re.findall(rf'<div class="help" id="id_{name}_helptext">([^<]*)', page)
            assert text.count(" ") >= 3

    def test_words_that_an_administrator_needs(self, tenant, visit):
        text = text_of(visit().get(PAGE))
        for words in [
            "Before major changes",
            "Before software updates",
            "Regularly",
            "several generations",
            "about as large as the database",
            "do not replace a copy in another place",
            "Only the operator can restore a backup",
            "do not count towards the limits",
            "Weekday (for weekly backups)",
            "Day of the month (for monthly backups)",
        ]:
            assert words in text

    def test_a_host_can_frame_the_pages_with_one_template_of_its_own(
        self, tenant, visit, project, tmp_path
    ):
        frame = tmp_path / "templates" / "tenant_backup" / "base.html"
        frame.parent.mkdir(parents=True)
        frame.write_text("<h1>Our own frame</h1>{% block content %}{% endblock %}")
        templates = copy.deepcopy(project.TEMPLATES)
        templates[0]["DIRS"] = [tmp_path / "templates"]
        project.TEMPLATES = templates
        page = visit().get(PAGE).content.decode()
        assert page.strip().startswith("<h1>Our own frame</h1>")
        assert f'"{PAGE}/create"' in page

    def test_the_frame_of_the_documentation_works(self, tenant, visit, project, tmp_path):
        text = (REPOSITORY / "docs" / "page.md").read_text()
        [frame] = re.findall(r"```html\n(.*?)```", text, re.DOTALL)
        base = "{% block head %}{% endblock %}<hr>{% block main %}{% endblock %}"
        for name, code in {"tenant_backup": frame, "mysite": base}.items():
            file = tmp_path / name / "base.html"
            file.parent.mkdir()
            file.write_text(code)
        templates = copy.deepcopy(project.TEMPLATES)
        templates[0]["DIRS"] = [tmp_path]
        project.TEMPLATES = templates
        backup = make(tenant)
        for page in ("", "/history", "/diagnosis", f"/contents/{backup.pk}"):
            answer = visit().get(f"{PAGE}{page}").content.decode()
            head, _, main = answer.partition("<hr>")
            assert "tenant_backup/backup.css" in head
            assert '<div class="tenant-backup">' in main
            assert "admin/" not in head
        assert "settings.js" in visit().get(PAGE).content.decode().partition("<hr>")[0]
        client = visit()
        client.post(f"{PAGE}/delete")
        assert "Select at least one backup" in client.get(PAGE).content.decode()


def test_errors_of_use_cases_are_messages(tenant, visit, monkeypatch):
    def fail(*args, **kwargs):
        raise BackupError("Somebody was faster.")

    backup = make(tenant)
    monkeypatch.setattr(backups, "delete_all", fail)
    monkeypatch.setattr(backups, "pin", fail)
    body = {"backup": backup.pk, "confirm": "yes", "pinned": "yes"}
    for name in ["delete", "pin"]:
        answer = visit().post(f"{PAGE}/{name}", body)
        assert is_page(answer)
        assert said(answer) == "Somebody was faster."


# A request in a process of its own: the administrator clicks "Create backup".
CLICK = """
from django.conf import settings
from django.contrib.auth.models import User
from django.template.defaultfilters import filesizeformat
from django.test import Client
settings.ALLOWED_HOSTS = ["*"]
user = User.objects.filter(username="ada").first() or User.objects.create_superuser("ada")
client = Client(headers={"host": "acme.example.com"})
client.force_login(user)
"""
CREATE = """
answer = client.post("/settings/admin/backup/create", {"label": "click"}, follow=True)
print(answer.status_code, "The backup is complete" in answer.text)
"""


def test_a_process_killed_during_create_does_not_block_the_next_click(host):
    root = host.add_tenant("acme", rows=600, body=10_000)
    dies = (
        CLICK + "from tenant_backup import sqlite\nsqlite.snapshots.require_time = die\n" + CREATE
    )
    host.assert_killed(host.start(dies))
    assert [row["status"] for row in host.catalog()] == ["running"]

    answer, errors = host.start(CLICK + CREATE).communicate(timeout=60)
    assert answer == "200 True\n", errors
    assert [row["status"] for row in host.catalog()] == ["complete", "failed"]
    assert not list((root / "backups").glob(".*.partial"))


@pytest.mark.django_db(transaction=True)
def test_a_catalog_that_is_locked_is_said_and_nothing_is_lost(tenant, visit, monkeypatch):
    backup = backups.create(tenant, backups.BackupRequest(trigger=Trigger.COMMAND)).backup

    def fail(*arguments, **options):
        raise OperationalError("database is locked")

    monkeypatch.setattr(backups, "delete_all", fail)
    answer = visit().post(f"{PAGE}/delete", {"backup": backup.pk, "confirm": "yes"}, follow=True)
    assert "could not be changed (database is locked). Try again" in text_of(answer)
    assert Backup.objects.get() == backup


@pytest.mark.django_db(transaction=True)
def test_the_operators_sidebar_is_not_on_a_tenants_page(tenant, visit):
    User.objects.create(username="operator", is_superuser=True, is_staff=True)
    assert 'id="nav-sidebar"' not in visit("operator").get(PAGE).content.decode()


WITHOUT_ADMIN = """
from django.contrib.auth.models import User
from django.test import Client
client = Client(headers={"host": "acme.localhost"})
client.force_login(User.objects.create(username="ada", is_superuser=True))
command("runbackup", verbosity=0)
for page in ("", "/diagnosis", "/history", "/contents/1", "/status"):
    answer = client.get(f"/settings/admin/backup{page}")
    print(answer.status_code, page == "/status" or b"our own frame" in answer.content)
"""


def test_a_host_without_the_admin_that_has_a_frame_of_its_own(host):
    """As the hint of the check E012 says."""
    host.add_tenant()
    templates = host.directory / "templates"
    (templates / "tenant_backup").mkdir(parents=True)
    (templates / "tenant_backup" / "base.html").write_text(
        "our own frame {% block content %}{% endblock %}"
    )
    (host.directory / "bare_urls.py").write_text(
        "from django.urls import include, path\n"
        "urlpatterns = [path('', include('tenant_backup.urls'))]\n"
    )
    host.environment["PYTHONPATH"] += f":{host.directory}"
    apps = [name for name in project_settings.INSTALLED_APPS if name != "django.contrib.admin"]
    [engine] = project_settings.TEMPLATES
    host.configure(
        INSTALLED_APPS=apps,
        ROOT_URLCONF="bare_urls",
        TEMPLATES=[{**engine, "DIRS": [str(templates)]}],
        SILENCED_SYSTEM_CHECKS=["tenant_backup.E012"],
    )
    output, errors = host.start(WITHOUT_ADMIN).communicate(timeout=60)
    assert output == "200 True\n" * 5, errors
