"""The texts: each can be translated, and the German ones are complete and say the same."""

import ast
import copy
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.mofile import read_mo
from django.contrib.auth.models import User
from django.utils import translation
from django.utils.html import escape
from django.utils.translation import gettext_noop

from tenant_backup import backups, monitoring, restore, sqlite
from tenant_backup.exceptions import BackupError, DatabaseDamaged, DeadlineExceeded, NotWritable
from tenant_backup.models import Backup, BackupSettings, Event, Trigger
from tenant_backup.tenants import TenantNotFound
from tenant_backup.texts import Counted, Text, joined
from tests import messages
from tests.conftest import REPOSITORY
from tests.tenancy import Tenants

SOURCES = sorted(messages.APP.rglob("*.py"))
SAVED = messages.texts(messages.saved())

PLACES = re.compile(r"%\(\w+\)\w|</?\w+>")
"""What a translation takes over as it is: the places of values, and markup."""

PAGES = [
    "/settings/admin/backup",
    "/settings/admin/backup/contents/{id}",
    "/settings/admin/backup/history",
    "/settings/admin/backup/diagnosis",
    "/admin/tenant_backup/backup/",
    "/admin/tenant_backup/backup/{id}/change/",
    "/admin/tenant_backup/backup/{id}/delete/",
    "/admin/tenant_backup/backupsettings/",
    "/admin/tenant_backup/backupsettings/{settings}/change/",
    "/admin/tenant_backup/backupsettings/{settings}/history/",
    "/admin/tenant_backup/backupsettings/{settings}/contents/{id}/",
    "/admin/tenant_backup/event/",
]


class OpenTenants(Tenants):
    """Everybody may do everything."""

    def has_permission(self, request, tenant, action):
        return True


def forms(message):
    """Each form of a text with its translation."""
    sources = message.id if message.pluralizable else [message.id]
    return list(zip(sources, messages.translations(message), strict=True))


def named(path, node):
    return f"{path.relative_to(messages.APP)}:{node.lineno}"


class TestGerman:
    def test_has_every_text_of_the_code_and_no_other(self):
        wanted = messages.texts(messages.in_code()).keys()
        assert not wanted - SAVED.keys(), "these are new: make messages"
        assert not SAVED.keys() - wanted, "these are gone: make messages"

    def test_is_complete(self):
        missing = [
            message.id
            for message in SAVED.values()
            if message.fuzzy or not all(messages.translations(message))
        ]
        assert missing == []

    def test_has_the_same_places_for_values(self):
        for message in SAVED.values():
            for source, translated in forms(message):
                assert sorted(set(PLACES.findall(translated))) == sorted(
                    set(PLACES.findall(source))
                ), source

    def test_has_no_percent_sign_but_those_of_values(self):
        for message in SAVED.values():
            if "python-format" in message.flags:
                for _source, translated in forms(message):
                    assert "%" not in PLACES.sub("", translated).replace("%%", "")

    def test_has_no_slash_that_could_be_taken_for_a_path(self):
        for message in SAVED.values():
            for source, translated in forms(message):
                assert PLACES.sub("", translated).count("/") == PLACES.sub("", source).count("/")

    def test_differs_from_the_english(self):
        same = {
            source
            for message in SAVED.values()
            for source, translated in forms(message)
            if source == translated
        }
        assert same == {
            "%(error)s %(more)s",
            "%(kind)s: %(reason)s",
            "%(reason)s",
            "%(shortage)s",
            "%(when)s, %(kept)s",
            "%(when)s; %(kept)s.",
            "Name",
            "SHA-256",
            "Server",
            "Status",
        }

    def test_is_compiled(self):
        with messages.MO.open("rb") as stream:
            compiled = messages.texts(read_mo(stream))
        assert {key: messages.translations(message) for key, message in compiled.items()} == {
            key: messages.translations(message) for key, message in SAVED.items()
        }

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("page", PAGES)
    def test_is_what_a_page_says(self, page, tenant, client, settings):
        settings.LANGUAGE_CODE = "de"
        settings.TENANT_BACKUP = {"TENANT_PROVIDER": "tests.test_messages.OpenTenants"}
        client.force_login(User.objects.create_superuser("ada"))
        made = backups.create(tenant, backups.BackupRequest(trigger=Trigger.MANUAL)).backup
        BackupSettings.objects.ensure([tenant.id])
        settings_id = BackupSettings.objects.get().pk
        shown = client.get(page.format(id=made.pk, settings=settings_id)).content.decode()
        assert "Sicherung" in shown
        sentences = [source for message in SAVED.values() for source, _translated in forms(message)]
        english = [text for text in sentences if text.count(" ") > 1 and "%" not in text]
        assert [text for text in english if text in shown or escape(text) in shown] == []

    @pytest.mark.parametrize(
        ("template", "text"),
        [
            ("{% translate 'a' %}", "a"),
            ("{{ x|default:_('a b') }}", "a b"),
            ("{% blocktranslate trimmed %}\n  a\n  {{ b }}\n{% endblocktranslate %}", "a %(b)s"),
            ("{% blocktranslate %}100% {{ b }}{% endblocktranslate %}", "100%% %(b)s"),
            (
                "<p>\n {% blocktranslate trimmed count n=1 %}\n  {{ n }} a\n {% plural %}\n"
                "  {{ n }} b\n {% endblocktranslate %}\n</p>",
                ("%(n)s a", "%(n)s b"),
            ),
        ],
    )
    def test_is_looked_for_in_templates(self, template, text, tmp_path, monkeypatch):
        (tmp_path / "templates").mkdir()
        (tmp_path / "templates" / "page.html").write_text(template)
        monkeypatch.setattr(messages, "APP", tmp_path)
        assert list(messages.texts(messages.in_code())) == [(None, text)]


class TestTemplates:
    # What is translated, what nobody reads, and the names of classes.
    UNREAD = [
        r"{%\s*comment\s*%}.*?{%\s*endcomment\s*%}",
        r"{%\s*blocktranslate\b.*?{%\s*endblocktranslate\s*%}",
        r"{%\s*block bodyclass\s*%}.*?{%\s*endblock\s*%}",
        r"{#.*?#}|{%.*?%}|{{.*?}}",
        # What a program reads, or a shell.
        r"<(style|code|pre|var)\b[^>]*>.*?</\1>",
        r'name="do" value="\w+"',
    ]
    READ = r'\b(?:aria-label|title|alt|placeholder|value)="([^"]*)"'

    @pytest.mark.parametrize(
        "path",
        messages.templates(),
        ids=lambda path: f"{path.parent.name}/{path.stem}",
    )
    def test_say_nothing_that_is_not_translated(self, path):
        assert self.untranslated(path.read_text()) == []

    @pytest.mark.parametrize(
        ("template", "found"),
        [
            ("<p>{% if a %}Hello{% endif %} {{ b }}</p>", ["Hello"]),
            ('<a title="Look">{% translate "Look" %}</a>', ["Look"]),
            ("<a title=\"{{ look }} {% translate 'a' %}\">&rsaquo; 1</a>", []),
            ("{# a #}{% blocktranslate %}b{% endblocktranslate %}", []),
        ],
    )
    def test_are_searched(self, template, found):
        assert self.untranslated(template) == found

    def untranslated(self, text):
        for pattern in self.UNREAD:
            text = re.sub(pattern, "", text, flags=re.DOTALL)
        attributes = " ".join(re.findall(self.READ, text))
        shown = re.sub(r"<[^>]*>|&\w+;", " ", text)
        # A single letter is a section's. Of a field's value a program reads these words.
        return [
            word
            for word in re.findall(r"[^\W\d_]{2,}", f"{attributes} {shown}")
            if word not in {"yes", "pause", "resume"}
        ]


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (TenantNotFound(5), "5"),
            (TenantNotFound(ValueError("no such thing")), "no such thing"),
            (TenantNotFound("one", "two"), "one"),
            (TenantNotFound(), ""),
            (TenantNotFound("100% %(plain)s"), "100% %(plain)s"),
        ],
    )
    def test_a_host_may_raise_them_with_whatever_it_likes(self, error, said):
        assert str(error) == said
        assert repr(error) == f"TenantNotFound({said!r})"

    def test_speak_the_language_that_is_active_when_they_are_asked(self):
        error = NotWritable("%(path)s is not a directory.", path=Path("/srv/acme"))
        assert str(error) == "/srv/acme is not a directory."
        with translation.override("de"):
            assert str(error) == "/srv/acme ist kein Verzeichnis."
            assert str(BackupError(str(error))) == str(error)
        assert f"{error}" == "/srv/acme is not a directory."

    def test_translate_what_they_are_made_of(self):
        doing = Text("Copying %(path)s", path="db.sqlite3")
        error = DeadlineExceeded("%(doing)s took longer than allowed and was stopped.", doing=doing)
        with translation.override("de"):
            said = "Das Kopieren von db.sqlite3 dauerte länger als erlaubt und wurde abgebrochen."
            assert str(error) == said

    def test_of_a_host_stay_as_they_are(self):
        for text in ("100% plain text", "%(tenant)s", "", "50 %"):
            assert str(TenantNotFound(text)) == text
        with translation.override("de"):
            assert str(TenantNotFound("100% plain text")) == "100% plain text"
            assert str(TenantNotFound()) == ""

    def test_can_be_copied_and_sent(self):
        error = DatabaseDamaged("%(path)s is empty: it is no backup.", path=Path("a.sqlite3"))
        for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301
            assert type(other) is DatabaseDamaged
            assert str(other) == str(error) == "a.sqlite3 is empty: it is no backup."

    @pytest.mark.parametrize("before", ["", "from django.conf import settings as s; s.configure()"])
    def test_are_english_where_django_is_not_set_up(self, before, tmp_path):
        code = f"""{before}
from pathlib import Path
from tenant_backup import exceptions, sqlite
try:
    sqlite.check(Path("there is none"))
except exceptions.BackupError as error:
    print(error)
"""
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "LANGUAGE": "de"}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        process = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        said = "there is none could not be checked: unable to open database file.\n"
        assert process.stdout == said

    @pytest.mark.django_db(transaction=True)
    def test_are_stored_in_the_language_of_that_moment(self, add_tenant):
        tenant = add_tenant(database=False)
        with translation.override("de"), pytest.raises(BackupError) as raised:
            backups.create(tenant, backups.BackupRequest(trigger=Trigger.MANUAL))
        said = f"Die Datenbank {tenant.database} gibt es nicht."
        assert raised.value.backup.error == said
        # What it is made of is stored, too, so that others read it in theirs.
        backup = Backup.objects.get()
        event = Event.objects.get()
        for language, text in (
            ("de", said),
            ("en", f"The database {tenant.database} does not exist."),
        ):
            with translation.override(language):
                assert (backup.reason, event.said) == (text, text)
                judgement = monitoring.judge_tenant(tenant, automation_runs=True)
                assert judgement.findings[0].reason == text
        assert backup.error == said

    @pytest.mark.django_db(transaction=True)
    def test_reasons_for_pruning_are_read_in_any_language(self, tenant):
        BackupSettings.objects.create(tenant_id="acme", keep_last=2)
        for _ in range(3):
            backups.create(tenant, backups.BackupRequest(trigger=Trigger.COMMAND))
        event = Event.objects.get(kind="pruned")
        assert event.detail == event.said == "Only the newest 2 are kept."
        with translation.override("de"):
            assert event.said == translation.ngettext(
                "Only the newest one is kept.", "Only the newest %(number)d are kept.", 2
            ) % {"number": 2}
            assert event.said != event.detail

    @pytest.mark.parametrize(
        "text",
        [
            Text("100 % sure"),
            Text("%(a)s and %(b)r", a=Text("%(c)d", c=7), b="x"),
            Counted("%(number)d day", "%(number)d days", number=1),
            Counted("%(number)d day", "%(number)d days", number=3),
            joined(Text("One."), Text("Two."), BackupError("Three %(n)g.", n=0.5)),
            DatabaseDamaged("%(path)s", path=Path("/a")),
        ],
        ids=str,
    )
    def test_survive_json(self, text):
        data = json.loads(json.dumps(text.as_data()))
        assert str(Text.from_data(data)) == str(text)

    @pytest.mark.parametrize("text", [backups.INTERRUPTED, restore.RESTORED_AWAY])
    def test_can_be_constants(self, text):
        with translation.override("de"):
            assert str(BackupError(text)) == translation.gettext(gettext_noop(text)) != text

    def test_of_a_database_in_use_name_the_processes(self):
        error = sqlite.in_use(Path("db"), [sqlite.User(7, "python")])
        assert "It is open in process 7 (python). Stop" in str(error)


class TestSources:
    @pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
    def test_give_errors_a_text_that_can_be_looked_up(self, path):
        built = [
            named(path, node)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in messages.ERRORS
            and node.args
            and is_built(node.args[0])
        ]
        assert built == []

    @pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
    def test_have_no_text_with_places_that_is_not_looked_up(self, path):
        tree = ast.parse(path.read_text())
        known = {source for message in SAVED.values() for source, _translated in forms(message)}
        documentation = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        unknown = [
            named(path, node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documentation
            and re.search(r"%\(\w+\)", node.value)
            and re.search(r"\w", PLACES.sub("", node.value))
            and node.value not in known
        ]
        assert unknown == []


def is_built(argument):
    """Whether a text is put together before it can be looked up."""
    if isinstance(argument, ast.JoinedStr | ast.BinOp):
        return True
    return isinstance(argument, ast.Call) and getattr(argument.func, "attr", "") == "format"
