"""The routes below a prefix of the host: every page is reached there, and no link leaves it."""

import re
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.core import checks
from django.core.management import call_command
from django.test import RequestFactory
from django.urls import include, path, re_path, resolve, reverse

from tenant_backup import views
from tenant_backup.addresses import address_of
from tenant_backup.models import Backup, Event, EventKind, Trigger
from tests.tenancy import Tenants
from tests.test_views import ROUTES, complete_row, make, project, visit

__all__ = ["project", "visit"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "settings/admin/backup"
OURS = "tenant_backup.urls"


class Slugs(Tenants):
    """The tenant is in the address."""

    def tenant_for_request(self, request):
        return self.get_tenant(request.resolver_match.kwargs["tenant_slug"])

    def has_permission(self, request, tenant, action):
        return True


def nested(outer, inner, **options):
    return path(outer, include(([path(inner, include(OURS))], "shop"), **options))


PREFIXES = {
    "a slug": ("/t/acme/", path("t/<slug:tenant_slug>/", include(OURS))),
    "several, one a number": (
        "/7/eu/acme/",
        path("<int:year>/<str:region>/<slug:tenant_slug>/", include(OURS)),
    ),
    "a namespace": (
        "/t/acme/",
        path("t/<slug:tenant_slug>/", include((OURS, "tenant_backup"), namespace="safety")),
    ),
    "nested": ("/c/3/t/acme/", nested("c/<int:country>/", "t/<slug:tenant_slug>/")),
    "nested, a namespace": (
        "/c/3/t/acme/",
        nested("c/<int:country>/", "t/<slug:tenant_slug>/", namespace="tenant_backup2"),
    ),
    "a regular expression": (
        "/t-acme/",
        re_path(r"^t-(?P<tenant_slug>[a-z]+)/(?:(?P<version>v[0-9])/)?", include(OURS)),
    ),
    "constants": (
        "/t/acme/",
        path("t/<slug:tenant_slug>/", include(OURS), {"theme": "dark"}),
    ),
}


@pytest.fixture(params=PREFIXES.values(), ids=list(PREFIXES))
def prefix(request, project):
    """A host that includes the routes below this."""
    return included(project, *request.param)


@pytest.fixture
def slug(project):
    return included(project, *PREFIXES["a slug"])


def included(project, prefix, pattern):
    project.ROOT_URLCONF = (path("admin/", admin.site.urls), pattern)
    project.TENANT_BACKUP = {"TENANT_PROVIDER": "tests.test_prefix.Slugs"}
    return prefix


class Links(HTMLParser):
    """Where a page's links, forms and scripts lead, but for the admin's and static files."""

    ATTRIBUTES = ("href", "action", "data-status-url", "data-summary-url")

    def __init__(self, answer):
        super().__init__()
        self.found = []
        self.feed(answer.content.decode())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "link" or given.get("id") == "logout-form":
            return
        for name in self.ATTRIBUTES:
            url = urlsplit(given.get(name) or "").path
            if url and not url.startswith("/admin/") and url != "/":
                self.found.append(url)


def links_of(answer):
    assert answer.status_code == 200
    return Links(answer).found


def test_every_route_is_answered_and_leads_back_below_the_prefix(tenant, prefix, visit):
    client = visit()
    backup = make(tenant)
    for name, route in ROUTES.items():
        fill = route.filled(backup)
        rest = PAGE if name == "overview" else f"{PAGE}/{name.replace('_', '-')}"
        address = prefix + "/".join([rest, *(fill.get(part, part) for part in route.args)])
        body = {key: fill.get(value, value) for key, value in route.body.items()}
        answer = getattr(client, route.method)(address, body)
        assert answer.status_code == route.status, name
        if answer.status_code == 302:
            assert answer.url.partition("#")[0] == prefix + PAGE, name
        if answer.streaming:
            answer.close()


def test_no_link_of_any_page_leaves_the_prefix(tenant, prefix, visit):
    client = visit()
    for number in range(30):
        complete_row(number)
    for number in range(60):
        Event.objects.create(tenant_id="acme", kind=EventKind.PINNED, detail=str(number))
    backup = make(tenant)
    Backup.objects.create(tenant_id="acme", trigger=Trigger.MANUAL)  # queued
    page = prefix + PAGE
    shown = links_of(client.get(page))
    assert {f"{page}/{name}" for name in ("create", "delete", "pin", "settings")} <= set(shown)
    assert {f"{page}/{name}" for name in ("diagnosis", "history", "status", "summary")} <= set(
        shown
    )
    assert {f"{page}/{name}/{backup.pk}" for name in ("contents", "download")} <= set(shown)
    pages = [
        client.get(f"{page}?page=2"),
        client.get(f"{page}/contents/{backup.pk}"),
        client.get(f"{page}/rows/{backup.pk}?table=credits"),
        client.get(f"{page}/history"),
        client.get(f"{page}/diagnosis"),
        client.post(f"{page}/delete", {"backup": backup.pk}),
        client.post(f"{page}/settings", {"interval": "never"}),
    ]
    for answer in pages:
        links = links_of(answer)
        assert page in links
        shown += links
    assert [link for link in shown if not link.startswith(page)] == []
    for link in set(shown):
        assert resolve(link).app_names[-1] == "tenant_backup"


def test_the_login_leads_back_below_the_prefix(tenant, prefix, visit):
    backup = make(tenant)
    client = visit(None)
    page = prefix + PAGE
    for method, address, after in [
        ("get", f"{page}?page=2", f"{page}?page=2"),
        ("get", f"{page}/contents/{backup.pk}", f"{page}/contents/{backup.pk}"),
        ("get", f"{page}/status", page),
        ("get", f"{page}/summary", page),
        ("post", f"{page}/create", page),
    ]:
        answer = getattr(client, method)(address)
        assert answer.status_code == 302
        assert parse_qs(urlsplit(answer.url).query)["next"] == [after]


def test_a_slash_too_many_leads_to_the_page(tenant, prefix, visit):
    for name in ("/", "/history/", "/diagnosis/", "/contents/7/"):
        answer = visit().get(prefix + PAGE + name)
        assert answer.url == (prefix + PAGE + name).rstrip("/")


def test_the_tenant_of_the_address_is_the_one_that_is_backed_up(add_tenant, slug, visit):
    for name in ("acme", "globex"):
        add_tenant(name)
    answer = visit().post(f"/t/globex/{PAGE}/create", {"label": "x"})
    assert answer.url == f"/t/globex/{PAGE}#backup-{Backup.objects.get().pk}"
    assert Backup.objects.get().tenant_id == "globex"
    other = Backup.objects.get()
    assert visit().get(f"/t/acme/{PAGE}/contents/{other.pk}").status_code == 404
    assert visit().get(f"/t/nobody/{PAGE}").status_code == 404


def test_at_the_root_and_below_a_prefix_at_once(tenant, project, visit):
    project.ROOT_URLCONF = (
        path("admin/", admin.site.urls),
        path("", include(OURS)),
        path("t/<slug:tenant_slug>/", include((OURS, "tenant_backup"), namespace="below")),
    )
    client = visit()  # at the tenant's host name
    assert set(links_of(client.get(f"/{PAGE}"))) >= {f"/{PAGE}/create"}
    below = links_of(client.get(f"/t/acme/{PAGE}"))
    assert [link for link in below if not link.startswith(f"/t/acme/{PAGE}")] == []


def test_a_view_that_the_host_calls_from_a_route_of_its_own(tenant, project, visit):
    project.ROOT_URLCONF = (
        path("admin/", admin.site.urls),
        path("safety/<slug:who>", lambda request, who: views.overview(request)),
        path("", include(OURS)),
    )
    assert f"/{PAGE}/create" in links_of(visit().get("/safety/us"))


def test_without_a_resolved_address_it_is_the_usual_one():
    request = RequestFactory().get("/anything")
    assert address_of(request, "contents", backup_id=7) == f"/{PAGE}/contents/7"


def test_the_systems_checks_find_nothing(prefix):
    assert "tenant_backup.W004" not in [message.id for message in checks.run_checks()]
    call_command("check")


def test_the_admin_goes_on(tenant, slug, visit):
    for name in ("backup", "backupsettings", "event", "automation"):
        address = reverse(f"admin:tenant_backup_{name}_changelist")
        assert visit("operator").get(address, follow=True).status_code == 200


def test_the_scripts_ask_below_the_prefix(tenant, slug, visit):
    Backup.objects.create(tenant_id="acme", trigger=Trigger.MANUAL)
    page = visit().get(f"{slug}{PAGE}").content.decode()
    [status] = re.findall(r'data-status-url="([^"]+)"', page)
    assert visit().get(status.replace("&amp;", "&")).json()["queued"]
