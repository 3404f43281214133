"""The pages in frames of all kinds, in a real browser: whether all of it can be read.

Nothing is served: the browser's requests are answered by Django's test client.
"""

import json
import re
from contextvars import copy_context
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import django.contrib.admin
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tenant_backup import backups
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, BackupSettings, Trigger
from tests.conftest import REPOSITORY
from tests.tenancy import Tenants
from tests.test_browser import CHROMIUM, chromium, sync_api  # noqa: F401

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed.")
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not CHROMIUM,
        reason="There is no Chromium on this machine (Debian: apt-get install chromium).",
    ),
]

WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
PAGE = "/settings/admin/backup"
SITE = "http://testserver"
STATIC = {
    "tenant_backup": REPOSITORY / "tenant_backup" / "static",
    "admin": Path(django.contrib.admin.__file__).parent / "static",
}
FRAME = """\
{% load static %}<!doctype html>
<html lang="en">
<head>
  <title>{{ title }}</title>
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <style>
    body { background: BACKGROUND; color: TEXT; font: 16px/1.4 sans-serif; }
    a { color: LINK; }
    button { background: TEXT; color: BACKGROUND; border: 0; border-radius: 4px; }
  </style>
  {% block extrastyle %}{% endblock %}
  <link rel="stylesheet" href="{% static 'tenant_backup/backup.css' %}">
  {% block extrahead %}{% endblock %}
</head>
<body>
  <header>A site of its own</header>
  <main class="tenant-backup">
    <nav aria-label="Breadcrumbs">{% block tenant_backup_breadcrumb %}{% endblock %}</nav>
    <h1>{{ title }}</h1>
    {% for message in messages %}<p class="message">{{ message }}</p>{% endfor %}
    {% block content %}{% endblock %}
  </main>
</body>
</html>
"""
COLOURS = {
    "dark": ("#101418", "#e6e6e6", "#8ab4f8"),
    "dark grey": ("#333", "#eee", "#a8c7fa"),
    "grey on white": ("#fff", "#555", "#0b57d0"),
}
"""Of a host's frame: background, text, links. It knows nothing of the admin's variables."""


@pytest.fixture(autouse=True, scope="module")
def one_thread_for_both():
    """Playwright has an event loop of its own in this thread, which Django takes for ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield


@pytest.fixture
def frame(tmp_path, settings):
    """Put the pages into a frame of these colours; of none, into the admin's."""

    def frame(colours):
        if colours not in COLOURS:
            return
        text = FRAME
        names = ("BACKGROUND", "TEXT", "LINK")
        for name, colour in zip(names, COLOURS[colours], strict=True):
            text = text.replace(name, colour)
        folder = tmp_path / "templates" / "tenant_backup"
        folder.mkdir(parents=True)
        (folder / "base.html").write_text(text)
        [engine] = settings.TEMPLATES
        settings.TEMPLATES = [engine | {"DIRS": [folder.parent]}]

    return frame


@pytest.fixture
def browse(chromium, monkeypatch):  # noqa: F811
    """A browser whose requests the test client answers."""
    monkeypatch.setattr(Tenants, "has_permission", lambda *args: True)
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create(username="ada"))
    contexts = []
    # Playwright calls back in a context of its own, for which Django would open connections that
    # nobody closes.
    here = copy_context()

    def answer(route):
        path = urlsplit(route.request.url).path
        if path.startswith("/static/"):
            name = path.removeprefix("/static/")
            route.fulfill(path=STATIC[name.split("/")[0]] / name)
            return
        asked = route.request.url.removeprefix(SITE)
        if route.request.method == "POST":
            body = route.request.post_data or ""
            kind = "application/x-www-form-urlencoded"
            found = here.run(client.post, asked, body, content_type=kind)
        else:
            found = here.run(client.get, asked)
        headers = {name: value for name, value in found.items() if name != "Content-Length"}
        route.fulfill(status=found.status_code, headers=headers, body=found.content)

    def browse(path=PAGE, **options):
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.route("**/*", answer)
        page.goto(SITE + path)
        return page

    yield browse
    for context in contexts:
        context.close()


@pytest.fixture
def catalog(tenant, settings):
    """Of everything that has a colour one: good, pinned, going, lost and failed; the limit, too."""
    settings.TENANT_BACKUP = settings.TENANT_BACKUP | {"MAX_MANUAL": 1}
    now = timezone.now()
    made = [
        backups.create(tenant, backups.BackupRequest(trigger=trigger, label="before the import"))
        for trigger in [Trigger.MANUAL, *[Trigger.COMMAND] * 4]
    ]
    for days, one in enumerate(made):
        at = now - timedelta(days=days)
        Backup.objects.filter(pk=one.backup.pk).update(created_at=at, verified_at=at)
    backups.pin(tenant, made[1].backup, pinned=True)
    backups.directory_of(tenant).file(made[2].backup.file_name).unlink()
    away = tenant.database.rename(tenant.database.with_name("away"))
    with pytest.raises(BackupError):
        backups.create(tenant, backups.BackupRequest(trigger=Trigger.COMMAND))
    away.rename(tenant.database)
    BackupSettings.objects.update_or_create(tenant_id="acme", defaults={"keep_last": 1})
    return tenant


def assert_readable(page):
    for details in page.locator("details").all():
        details.evaluate("element => element.open = true")
    response = axe.Axe().run(page).response
    found = [
        (rule["id"], [(node["html"], node["any"][0]["message"]) for node in rule["nodes"]])
        for rule in response["violations"]
    ]
    assert found == [], json.dumps(found, indent=1)
    # A colour that axe cannot read would pass as one that it was content with.
    assert '"colorParse"' not in re.sub(r'"colorParse": null', "", json.dumps(response))


@pytest.mark.parametrize("colours", [*COLOURS, "the admin, dark"])
def test_all_can_be_read(catalog, frame, browse, colours):
    frame(colours)
    page = browse(color_scheme="dark" if colours not in COLOURS else "light", viewport=WIDE)
    for words in [
        "The last attempt to make a backup failed.",
        "The limit for backups made by hand is reached",
        "will be removed after the next backup",
        "missing",
    ]:
        sync_api.expect(page.get_by_text(words).first).to_be_visible()
    assert_readable(page)
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.set_viewport_size(WIDE)
    for path in ("/diagnosis", f"/contents/{Backup.objects.good().first().pk}"):
        page.goto(SITE + PAGE + path)
        assert_readable(page)


def test_forms_and_confirmations_can_be_read(catalog, frame, browse):
    Backup.objects.failed().delete()
    frame("dark")
    # What the system prefers says nothing of the host's frame.
    page = browse(color_scheme="light", viewport=WIDE)
    page.locator("#settings > summary").click()
    page.locator("[name=keep_last]").fill("0")
    page.locator(".backup-settings .submit button").click()
    sync_api.expect(page.locator(".errorlist")).to_be_visible()
    assert_readable(page)
    page.goto(SITE + PAGE)
    page.locator("table.backups").get_by_role("checkbox").first.check()
    page.locator("#delete-selected button").click()
    sync_api.expect(page.locator("ul.chosen")).to_be_visible()
    assert_readable(page)
