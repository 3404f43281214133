"""What a host's own templates may rely on: docs/page.md lists it, and it stays as it is."""

import enum
import re
import sqlite3
from collections import defaultdict
from contextlib import closing
from datetime import timedelta

import pytest
from django.utils import timezone
from django.utils.functional import Promise

from tenant_backup import (
    backups,
    chart,
    meaning,
    progress,
    row_lines,
    row_values,
    rows,
    troubleshooting,
)
from tenant_backup.automation import AutomationStatus
from tenant_backup.backups import quota
from tenant_backup.models import Backup, Event, Status
from tenant_backup.monitoring import Finding, Judgement, Verdict
from tenant_backup.views import inside, listing, loss, responses
from tenant_backup.views.place import Place
from tests.conftest import REPOSITORY
from tests.test_views import PAGE, make, note_tick, project, row, visit

__all__ = ["project", "visit"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)

TEMPLATES = REPOSITORY / "tenant_backup" / "templates" / "tenant_backup"
PUBLIC = {file.name for file in TEMPLATES.glob("[!_]*.html")}
OBJECTS = [
    *(Judgement, Finding, progress.Progress, AutomationStatus, quota.Quota, chart.Day),
    *(meaning.Meaning, meaning.Offer),
    *(backups.Space, listing.Line, Place, Event, troubleshooting.Answer, Verdict),
    *(loss.Losses, loss.Row, row_lines.RowLine, inside.TableInside, row_values.Change),
]


def documented(heading):
    """The rows of the table below this heading, each a list of its cells."""
    text = (REPOSITORY / "docs" / "page.md").read_text()
    _, below = text.split(f"\n### {heading}\n", 1)
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def variables():
    """Of each template the types of its variables, by their names."""
    found = defaultdict(dict)
    for template, name, types, _meaning in documented("Variables"):
        found[template.strip("`")][name.strip("`")] = set(re.findall(r"`(\w+)`", types))
    return found


def test_every_block_is_documented_and_no_other():
    rows = {(template.strip("`"), block.strip("`")) for template, block, _ in documented("Blocks")}
    assert rows == {
        (name, block)
        for name in PUBLIC
        for block in re.findall(r"{% block (\w+) %}", (TEMPLATES / name).read_text())
    }


def test_every_template_is_documented():
    assert {template.strip("`") for template, *_ in documented("Blocks")} == PUBLIC


@pytest.fixture
def shown(monkeypatch):
    """The contexts of the pages that are shown, by the names of their templates."""
    shown = defaultdict(list)

    def render(request, template, context):
        shown[template.removeprefix("tenant_backup/")].append(context)
        return rendered(request, template, context)

    rendered = responses.render
    monkeypatch.setattr(responses, "render", render)
    return shown


def test_every_variable_is_documented_with_its_type_and_no_other(tenant, visit, shown):
    client, operator = visit(), visit("operator")
    client.get(PAGE)  # before the first backup
    note_tick(seconds=0)
    backup = make(tenant)
    for browser in (client, operator, visit("vera")):
        browser.get(PAGE)
        browser.get(f"{PAGE}/contents/{backup.pk}")
        browser.get(f"{PAGE}/rows/{backup.pk}", {"table": "credits"})
    with closing(sqlite3.connect(tenant.database)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    Backup.objects.update(created_at=timezone.now() - timedelta(days=1))
    make(tenant)
    rows.ask(tenant, backup, note="where?", actor="ada")
    client.get(f"{PAGE}/contents/{backup.pk}")
    client.get(f"{PAGE}/rows/{backup.pk}", {"table": "credits"})
    client.post(f"{PAGE}/delete", {"backup": backup.pk})
    client.get(f"{PAGE}/diagnosis")
    client.get(f"{PAGE}/history")
    client.post(f"{PAGE}/settings", {"automatic": "on", "interval": "never"})
    client.post(f"{PAGE}/settings", {"automatic": "on", "interval": "daily", "time_of_day": "4:00"})
    row(status=Status.RUNNING, file_name="now.sqlite3")
    tenant.database.unlink()
    client.get(PAGE)
    listed = variables()
    assert set(shown) == set(listed) - {"base.html"}
    for template, contexts in shown.items():
        types = listed["base.html"] | listed[template]
        seen = defaultdict(set)
        for context in contexts:
            assert set(context) == set(types), template
            for name, value in context.items():
                seen[name].add("str" if isinstance(value, Promise) else _name(value))
        # Every documented type occurs here, too.
        assert dict(seen) == types, template


def _name(value):
    return "None" if value is None else type(value).__name__


def test_what_the_lists_contain_is_as_documented(tenant, visit, shown):
    backup = make(tenant)
    Backup.objects.update(created_at=timezone.now() - timedelta(days=1))
    with closing(sqlite3.connect(tenant.database)) as connection, connection:
        connection.execute("UPDATE credits SET amount = amount + 1")
    make(tenant)
    of_table = f"/rows/{backup.pk}?table=credits&kind=changed"
    for path in ("", "/history", "/diagnosis", f"/contents/{backup.pk}", of_table):
        visit().get(PAGE + path)
    visit().post(f"{PAGE}/delete", {"backup": backup.pk})
    expected = {
        *(("overview.html", "lines", "Line"), ("overview.html", "events", "Event")),
        *(("history.html", "events", "Event"), ("rows.html", "kinds", "tuple")),
        ("contents.html", "other_tables", "TableInside"),
        *(
            ("diagnosis.html", "answers", "Answer"),
            ("confirm_delete.html", "chosen", "Backup"),
        ),
    }
    for template, name, kind in expected:
        assert {type(one).__name__ for one in shown[template][0][name]} == {kind}, (template, name)
    _name, [change] = shown["rows.html"][0]["changes"][0]
    assert type(change) is row_values.Change
    day, words = shown["overview.html"][0]["days"][0]
    assert (type(day), type(words)) == (chart.Day, str)


def test_every_attribute_that_is_documented_is_there():
    rows = {name.strip("`"): attributes for name, attributes in documented("Objects")}
    assert set(rows) == {kind.__name__ for kind in OBJECTS}
    for kind in OBJECTS:
        attributes = re.sub(r"\(.*?\)|; as text.*", "", rows[kind.__name__])
        for attribute in re.findall(r"`(\w+)`", attributes):
            # Only a member of an enum has a label.
            one = next(iter(kind)) if issubclass(kind, enum.Enum) else kind
            assert hasattr(one, attribute), (kind.__name__, attribute)
