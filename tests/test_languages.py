"""The app's part of a page is in one language, and marked so, whichever one the host speaks."""

import re
import struct
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import translation
from django.utils.safestring import SafeData

from tenant_backup import backups, languages
from tenant_backup.models import Backup, BackupSettings, Trigger
from tests.tenancy import Tenants

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/settings/admin/backup"
COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)
FRENCH = re.compile(
    r"\b(Ko|Mo|octets?|novembre|janvier|lundi|dimanche|minutes? passées|Tableau de bord|Statut)\b"
)


@pytest.fixture
def client(db, monkeypatch):
    monkeypatch.setattr(Tenants, "has_permission", lambda *args: True)
    client = Client()
    client.force_login(User.objects.create(username="ada", first_name="Ada"))
    return client


@pytest.fixture
def in_language(settings):
    def in_language(code):
        settings.LANGUAGE_CODE = code
        translation.activate(code)

    with translation.override(translation.get_language()):
        yield in_language


class Parts(HTMLParser):
    """The texts of a page, each with the language that it is marked with."""

    VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source"}

    def __init__(self, answer):
        super().__init__()
        self.open, self.texts = [], []
        self.feed(answer.content.decode())

    def handle_starttag(self, tag, attributes):
        if tag in self.VOID:
            return
        inherited = self.open[-1][1] if self.open else (None, None)
        found = dict(attributes)
        self.open.append((tag, (found.get("lang", inherited[0]), found.get("dir", inherited[1]))))

    def handle_endtag(self, tag):
        if any(name == tag for name, _ in self.open):
            while self.open.pop()[0] != tag:
                pass

    def handle_data(self, data):
        if data.strip() and self.open[-1][0] not in ("script", "style"):
            self.texts.append((self.open[-1][1], " ".join(data.split())))

    def said_in(self, language):
        return [text for (lang, _), text in self.texts if lang == language]


PATHS = ["", "/history", "/diagnosis", "/contents/<id>"]


@pytest.mark.parametrize("path", PATHS)
def test_in_a_language_without_translation_our_part_is_english(tenant, client, in_language, path):
    backup = backups.create(tenant, COMMAND).backup
    BackupSettings.objects.update_or_create(
        tenant_id="acme", defaults={"automatic": True, "interval": "weekly", "keep_last": 3}
    )
    in_language("fr")
    answer = client.get(PAGE + path.replace("<id>", str(backup.pk)))
    parts = Parts(answer)
    ours, theirs = " ".join(parts.said_in("en")), " ".join(parts.said_in("fr"))
    assert "Backups" in ours
    assert not FRENCH.search(ours)
    # The admin's frame goes on in French.
    assert "Bienvenue" in theirs
    assert "Accueil" in theirs
    assert translation.get_language() == "fr"


def test_the_confirmation_too(tenant, client, in_language):
    backup = backups.create(tenant, COMMAND).backup
    in_language("fr")
    parts = Parts(client.post(f"{PAGE}/delete", {"backup": backup.pk}))
    assert any("Delete this backup permanently?" in text for text in parts.said_in("en"))
    assert not FRENCH.search(" ".join(parts.said_in("en")))
    assert "Delete" in parts.said_in("en")


def test_messages_are_marked(tenant, client, in_language):
    in_language("fr")
    answer = client.post(f"{PAGE}/create", {"label": "x"})
    [message] = map(str, get_messages(answer.wsgi_request))
    assert re.fullmatch(r'<span lang="en" dir="ltr">The backup is complete: .+</span>', message)
    parts = Parts(client.get(PAGE))
    assert any(text.startswith("The backup is complete") for text in parts.said_in("en"))


def test_a_message_is_never_taken_for_markup(tenant, client, in_language):
    in_language("fr")
    answer = client.post(f"{PAGE}/create", {"label": "<b>" * 100})
    [message] = get_messages(answer.wsgi_request)
    assert isinstance(message.message, SafeData)
    assert "<b>" not in message.message


def test_a_host_that_reads_from_right_to_left_keeps_its_direction(tenant, client, in_language):
    in_language("ar")
    page = client.get(PAGE)
    assert re.search(r'<html lang="ar" dir="rtl"', page.content.decode())
    directions = {direction for (lang, direction), _ in Parts(page).texts if lang == "en"}
    assert directions == {"ltr"}


@pytest.mark.parametrize("code", ["de", "de-at", "en-gb"])
def test_a_language_that_we_have_is_left_alone(tenant, client, in_language, code):
    in_language(code)
    answer = client.post(f"{PAGE}/create")
    assert "<span" not in "".join(map(str, get_messages(answer.wsgi_request)))
    page = client.get(PAGE)
    assert {lang for (lang, _), _ in Parts(page).texts} == {code}
    if code != "en-gb":
        assert "Sicherungen" in page.content.decode()


def test_where_the_site_is_german_a_french_reader_gets_german(tenant, client, settings):
    settings.LANGUAGE_CODE = "de"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    client.post(f"{PAGE}/create", {}, headers={"accept-language": "fr"})
    page = client.get(PAGE, headers={"accept-language": "fr"})
    parts = Parts(page)
    assert {lang for (lang, _), _ in parts.texts} == {"de", "fr"}
    assert "Sicherungen" in parts.said_in("de")
    assert not any("Sicherung" in text for text in parts.said_in("fr")[1:])
    assert Backup.objects.count() == 1


def test_the_hosts_own_translation_counts(tmp_path, settings):
    assert not languages.has_words("fr")
    folder = tmp_path / "fr" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    text = {"": "Content-Type: text/plain; charset=UTF-8\n", languages.PROBE: "Sauvegardes"}
    (folder / "django.mo").write_bytes(compiled(text))
    settings.LOCALE_PATHS = [tmp_path]
    assert languages.has_words("fr")
    assert languages.has_words("fr-ca")
    assert not languages.has_words("it")


def compiled(texts):
    """A catalog as `msgfmt` would write it."""
    pairs = [(key.encode(), value.encode()) for key, value in sorted(texts.items())]
    number, start = len(pairs), 28 + 16 * len(pairs)
    table, strings = [], b""
    for column in (0, 1):
        for pair in pairs:
            table += [len(pair[column]), start + len(strings)]
            strings += pair[column] + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, number, 28, 28 + 8 * number, 0, 0)
    return head + struct.pack(f"<{len(table)}I", *table) + strings


def test_what_is_no_page_speaks_the_same(tenant, client, in_language):
    in_language("fr")
    query = {"interval": "daily", "time_of_day": "04:00", "weekday": "0", "day_of_month": "1"}
    answer = client.get(f"{PAGE}/summary", {**query, "automatic": "on"}).json()
    assert answer["summary"] == "Every day at about 4 a.m.; keep all."
