"""Access: each kind of person, route, tenant, backup and method with each other.

The answers are those of the contract, and what is refused changes nothing. The routes are taken
from `urls.py` and from the admin: a new one fails until it is listed here.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.db.models import Model
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from tenant_backup import urls
from tenant_backup.models import Backup, BackupSettings, Event, RestoreRequest, RowLoss
from tests.conftest import make_database
from tests.tenancy import Folders
from tests.torture.host import Site

PAGE = "/settings/admin/backup"
LOGIN = "/admin/login/"

METHODS = ["get", "head", "post", "put", "patch", "delete", "options", "trace"]

VIEW, CREATE, DELETE, DOWNLOAD, CONFIGURE = "view", "create", "delete", "download", "configure"
EVERYTHING = {VIEW, CREATE, DELETE, DOWNLOAD, CONFIGURE}


@dataclass
class Route:
    """The methods that a route answers, how it does so to who may, and what it asks for."""

    methods: tuple[str, ...]
    action: str = VIEW
    status: int = 200
    body: dict[str, Any] = field(default_factory=dict)
    backup: str = ""
    """Where the backup is named: in the "path", in the "body", or nowhere."""
    model: type[Model] = Backup
    """What is named there, if it is no backup."""
    named: str = "backup"
    """By which name in the body."""


LOOK, ONLY_GET, POST = ("get", "head"), ("get",), ("post",)
SETTINGS = {
    "automatic": "on",
    "interval": "daily",
    "time_of_day": "04:00",
    "weekday": "0",
    "day_of_month": "1",
    "keep_last": "50",
    "keep_days": "",
}
ROUTES = {
    "overview": Route(LOOK),
    "settings": Route(POST, CONFIGURE, 302, SETTINGS),
    "create": Route(POST, CREATE, 302, {"label": "x"}),
    "delete": Route(POST, DELETE, 200, backup="body"),
    "pin": Route(POST, DELETE, 302, {"pinned": "yes"}, backup="body"),
    "download": Route(LOOK, DOWNLOAD, backup="path"),
    "contents": Route(LOOK, backup="path"),
    "rows": Route(LOOK, DOWNLOAD, body={"table": "credits"}, backup="path"),
    "ask": Route(POST, CREATE, 302, {"note": "x"}, backup="body"),
    "withdraw": Route(POST, CREATE, 302, {}, "body", RestoreRequest, "request"),
    "intended": Route(POST, DELETE, 302, {}, "body", RowLoss, "loss"),
    "test_mail": Route(POST, CONFIGURE, 302),
    "summary": Route(ONLY_GET, CONFIGURE, body=SETTINGS),
    "diagnosis": Route(LOOK),
    "history": Route(LOOK),
    "status": Route(LOOK),
}
CONFIRMED = Route(POST, DELETE, 302, {"confirm": "yes"}, backup="body")
"""To delete has two answers: one that asks, and one that does it."""

MALFORMED = [
    "0",
    "-1",
    "9" * 30,
    "abc",
    "1.0",
    "1e3",
    "\u0661",
    "1 ",
    "",
    "1;2",
    "None",
    "..",
    "%00",
]

# Who may do what, by tenant. The operator is a superuser of the catalog's own database; the others'
# permissions are the provider's to know.
PEOPLE = {
    "anonymous": {},
    "nobody": {},
    "viewer": {"acme": {VIEW}},
    "creator": {"acme": {CREATE}},
    "deleter": {"acme": {DELETE}},
    "downloader": {"acme": {DOWNLOAD}},
    "configurer": {"acme": {CONFIGURE}},
    "admin": {"acme": EVERYTHING},
    "other-admin": {"globex": EVERYTHING},
    "tenant-superuser": {"globex": EVERYTHING},
    "operator": {"acme": EVERYTHING, "globex": EVERYTHING},
}
PLACES = ["acme", "globex", "unknown"]


class People(Folders):
    """A host with users in its own database, and in that of one tenant."""

    def has_permission(self, request, tenant, action):
        return action in PEOPLE[request.user.username].get(tenant.id, ())


class UsersOfGlobex(ModelBackend):
    """Those whom the host logs in from the tenant's own database."""

    def get_user(self, user_id):
        return User.objects.using("globex").filter(pk=user_id).first()


def plan(*, short):
    names = [f"{person} {route}" for person in PEOPLE for route in [*ROUTES, "admin", "slash"]]
    return ["routes", *(names[::22] if short else names)]


def prepare(folder, *, short):
    """Two tenants with some backups each, and all the people."""
    site = Site(folder / "template").set_up()
    for tenant in ("globex", "acme"):
        site.root(tenant).mkdir()
        make_database(site.database(tenant), rows=3)
        for days in (3, 2, 1):
            site.make_backup(tenant, days_ago=days)

    site.succeed("syncbackups")

    def add_people():
        for backup in Backup.objects.order_by("created_at"):
            given, now = {"tenant_id": backup.tenant_id}, timezone.now()
            if backup.tenant_id not in RowLoss.objects.values_list("tenant_id", flat=True):
                RestoreRequest.objects.create(**given, backup=backup)
                numbers = {"rows_before": 90, "rows_now": 0, "least_before": 90}
                RowLoss.objects.create(
                    **given, **numbers, table="credits", before_at=now, after_at=now
                )
        for name in PEOPLE:
            if name not in ("anonymous", "tenant-superuser"):
                is_operator = name == "operator"
                User.objects.create(username=name, is_superuser=is_operator, is_staff=is_operator)
        open_database_of_globex()
        connection = connections["globex"]
        connection.disable_constraint_checking()
        with connection.schema_editor() as editor:
            for model in (ContentType, Permission, Group, User):
                editor.create_model(model)
        User(username="tenant-superuser", is_superuser=True, is_staff=True).save(using="globex")

    site.call(add_people)
    return site


def open_database_of_globex():
    path = Folders.directory / "globex" / "db.sqlite3"
    default = connections.settings["default"]
    connections.settings["globex"] = {**default, "NAME": str(path), "OPTIONS": {}}


def trial(name, random, folder, template):
    if name == "routes":
        found = {pattern.name: str(pattern.pattern) for pattern in urls.urlpatterns}
        found.pop(None, None)
        assert set(found) == set(ROUTES), f"Not listed, or not there: {set(found) ^ set(ROUTES)}"
        for address in addresses_without_name():
            known = address.endswith("/") and address.removesuffix("/") in found.values()
            assert known, f"{address} is not listed."
        return Counter(requests=0)
    person, route = name.split()
    site = template.copy_to(folder / "host")
    number = folder / "number"

    def visit():
        open_database_of_globex()
        settings.TENANT_BACKUP |= {"TENANT_PROVIDER": "tests.torture.access.People"}
        settings.AUTHENTICATION_BACKENDS = [
            "django.contrib.auth.backends.ModelBackend",
            "tests.torture.access.UsersOfGlobex",
        ]
        visitor = Visitor(person)
        if route == "admin":
            visitor.visit_admin()
        elif route == "slash":
            visitor.visit_with_slash()
        else:
            if route == "ask":
                RestoreRequest.objects.all().delete()
            visitor.visit(route, ROUTES[route])
            if route == "delete":
                visitor.visit(route, CONFIRMED)
        number.write_text(str(visitor.requests))

    site.call(visit)
    return Counter(requests=int(number.read_text()))


class Visitor:
    def __init__(self, person):
        self.person = person
        self.requests = 0

    def client(self, place):
        client = Client(headers={"host": f"{place}.localhost"}, raise_request_exception=False)
        if self.person == "tenant-superuser":
            user = User.objects.using("globex").get(username=self.person)
            client.force_login(user, backend="tests.torture.access.UsersOfGlobex")
        elif self.person != "anonymous":
            user = User.objects.get(username=self.person)
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    def visit(self, name, route):
        for place in PLACES:
            client = self.client(place)
            for method in METHODS:
                objects = list(self.objects(place, route)) if route.backup else [("", "")]
                # A wrong method is refused first of all, whatever it is about.
                for kind, backup in objects if method in route.methods else objects[:2]:
                    self.ask(client, place, name, route, method, kind, backup)

    def objects(self, place, route):
        """What to ask for: this tenant's, another's, and none."""
        rows = route.model._default_manager.order_by("-pk")
        mine, others = rows.filter(tenant_id=place), rows.exclude(tenant_id=place)
        yield "own", str(mine[0].pk) if mine else "1"
        yield "foreign", str(others[0].pk)
        yield "unknown", "424242"
        for text in MALFORMED:
            yield "malformed", text

    def ask(self, client, place, name, route, method, kind, backup):
        body = dict(route.body)
        arguments = []
        if route.backup == "path":
            arguments = [backup]
        elif route.backup == "body":
            body[route.named] = backup
        try:
            url = reverse(f"tenant_backup:{name}", args=arguments)
        except NoReverseMatch:
            return  # no address can be like this
        before = everything()
        answer = self.send(client, method, url, body)
        expected = self.expected(place, route, method, kind)
        if name == "delete" and backup == "":
            # An empty value in the form is a malformed id, or none that was chosen.
            expected = {404: {404, 302}, 302: {302}}.get(expected, {expected})
        else:
            expected = {expected}
        asked = f"{self.person}: {method} {url} {kind} {backup!r} at {place}"
        assert answer.status_code in expected, f"{asked}: {answer.status_code}, not {expected}"
        if answer.status_code == 302 and self.person == "anonymous":
            assert answer.url.startswith(LOGIN), f"{asked}: {answer.url}"
        after = everything()
        is_refused = answer.status_code in (403, 404, 405) or self.person == "anonymous"
        if is_refused or route.methods != POST:
            # To download leaves its line in the history.
            is_download = name == "download" and method == "get" and not is_refused
            for tenant in ("acme", "globex"):
                same = after[tenant] == before[tenant]
                assert same or (is_download and tenant == place), f"{asked} changed {tenant}."
        else:
            other = "globex" if place == "acme" else "acme"
            assert after[other] == before[other], f"{asked} changed {other}."

    def send(self, client, method, url, body):
        self.requests += 1
        if method == "trace":
            answer = client.trace(url)
        else:
            data = body if method in ("get", "head", "post") else ""
            answer = getattr(client, method)(url, data)
        if answer.streaming:
            answer.close()
        return answer

    def expected(self, place, route, method, kind):
        if method not in route.methods:
            return 405
        if place == "unknown":
            return 404
        if self.person == "anonymous":
            return 302
        if route.action not in PEOPLE[self.person].get(place, ()):
            return 403
        return 404 if kind not in ("", "own") else route.status

    def visit_with_slash(self):
        """Whoever adds a slash is led to the address without; that one decides who may."""
        for place in PLACES:
            client = self.client(place)
            for address in addresses_without_name():
                url = "/" + address.replace("<str:backup_id>", "1")
                for method in METHODS:
                    before = everything()
                    answer = self.send(client, method, url, {})
                    asked = f"{self.person}: {method} {url} at {place}"
                    expected = 302 if method in LOOK else 405
                    assert answer.status_code == expected, f"{asked}: {answer.status_code}"
                    assert method not in LOOK or answer.url == url.removesuffix("/"), asked
                    assert everything() == before, f"{asked} changed something."

    def visit_admin(self):
        """The admin of our models has the backups of all tenants: it is the operator's alone."""
        client = self.client("globex")
        for url in admin_addresses():
            for method, body in [("get", {}), ("post", {}), ("post", {"post": "yes"})]:
                self.ask_admin(client, url, method, body)
        for model in our_models():
            url = reverse(f"admin:{model._meta.db_table}_changelist")
            keys = list(model.objects.values_list("pk", flat=True))
            for action in ("delete_selected", "delete_backups", "back_up", "pin", "verify"):
                body = {"action": action, "_selected_action": keys, "post": "yes"}
                self.ask_admin(client, url, "post", body)

    def ask_admin(self, client, url, method, body):
        if self.person == "operator" and method == "post":
            return  # it is theirs to do
        before = everything()
        answer = self.send(client, method, url, body)
        asked = f"{self.person}: {method} {url} {body}"
        if self.person == "operator":
            assert answer.status_code < 500, f"{asked}: {answer.status_code}"
            return
        is_sent_away = answer.status_code == 302 and (
            answer.url.startswith(LOGIN) or answer.url == reverse("admin:index")
        )
        assert is_sent_away or answer.status_code in (403, 405), f"{asked}: {answer.status_code}"
        assert everything() == before, f"{asked} changed something."


def addresses_without_name():
    """Those with a slash at their end, which lead to the ones without."""
    return [str(pattern.pattern) for pattern in urls.urlpatterns if not pattern.name]


def our_models():
    return [model for model in admin.site._registry if model._meta.app_label == "tenant_backup"]


def admin_addresses():
    """Every address of our models' admin, as the admin itself lists them."""
    for model in our_models():
        first = model.objects.order_by("pk").first()
        key = str(first.pk) if first else "1"
        for pattern in admin.site._registry[model].urls:
            if not pattern.name:
                continue
            for arguments in ([], [key]):
                try:
                    yield reverse(f"admin:{pattern.name}", args=arguments)
                except NoReverseMatch:
                    continue


def everything():
    """By tenant, all that a refused request must leave as it was."""
    found = {}
    for tenant in ("acme", "globex"):
        rows = [
            list(model.objects.filter(tenant_id=tenant).order_by("pk").values())
            for model in (Backup, BackupSettings, Event, RestoreRequest, RowLoss)
        ]
        folder = Folders.directory / tenant / "backups"
        files = {
            path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()
        }
        found[tenant] = hashlib.sha256(repr((rows, sorted(files.items()))).encode()).digest()
    return found
