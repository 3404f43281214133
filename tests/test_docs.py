"""The documentation: what it shows runs, and it leaves nothing out."""

import ast
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing, nullcontext
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import SimpleNamespace

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand

from tenant_backup import checks, signals, vanishing
from tenant_backup.conf import Conf
from tenant_backup.management import commands
from tenant_backup.models import ALARMING, Backup, EventKind, Verdict
from tenant_backup.rows import losses, records
from tenant_backup.schedule import MARGINS
from tests.conftest import REPOSITORY, make_database, names_in

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
COMMANDS = [module.name for module in iter_modules(commands.__path__)]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("setting", list(Conf.known()), ids=lambda setting: setting.key)
def test_every_setting_is_documented_with_its_default(setting):
    default = setting.default
    words = f'"{default}"' if isinstance(default, str) else repr(default).replace("'", '"')
    assert f"| `{setting.key}` | `{words}` |" in (DOCS / "settings.md").read_text()


def test_every_check_is_documented_and_no_other():
    source = "".join(path.read_text() for path in Path(checks.__path__[0]).glob("*.py"))
    ids = set(re.findall(r"tenant_backup\.[EW]\d+", (DOCS / "checks.md").read_text()))
    assert ids == set(re.findall(r"tenant_backup\.[EW]\d+", source))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_with_its_options(name):
    text = (DOCS / "commands.md").read_text()
    section = re.search(rf"^## `{name}`$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section, f"docs/commands.md has no section on {name}"
    parser = load_command_class("tenant_backup", name).create_parser("manage.py", name)
    django = BaseCommand().create_parser("manage.py", name)
    options = {
        option
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--") and option not in django._option_string_actions
    }
    for option in options:
        assert f"`{option}" in section[1], f"{name} {option} is not documented"
    for option in re.findall(r"^\| `(--[a-z-]+)", section[1], re.MULTILINE):
        assert option in options, f"{name} has no {option}"


def test_every_signal_is_documented():
    text = (DOCS / "settings.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \| `tenant`, ", text, re.MULTILINE)
    assert sorted(documented) == sorted(signals.__all__)


def test_every_action_of_the_history_is_documented_with_its_level():
    text = (DOCS / "settings.md").read_text()
    levels = {
        action: level
        for actions, level in re.findall(r"^\| (`.+`) \| `(INFO|ERROR)` \|$", text, re.MULTILINE)
        for action in re.findall(r"`(\w+)`", actions)
    }
    assert levels == {
        action.value: "ERROR" if action in ALARMING else "INFO" for action in EventKind
    }


def test_every_verdict_is_documented_with_its_tone_the_gravest_first():
    text = (DOCS / "page.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \| [^|]+ \| (error|warning|neutral|good) \|$", text, re.M)
    assert documented == [(verdict.code, verdict.tone) for verdict in sorted(Verdict, reverse=True)]


def test_the_margins_are_documented():
    text = (DOCS / "automation.md").read_text()
    table = dict(re.findall(r"^\| ([\w, ]+) \| (\d+ \w+) \|$", text, re.MULTILINE))
    documented = {name: margin for names, margin in table.items() for name in names.split(", ")}
    units = {"hour": 3600, "hours": 3600, "day": 86400, "days": 86400}
    for interval, margin in MARGINS.items():
        number, unit = documented[interval].split()
        assert int(number) * units[unit] == margin.total_seconds()


def names_in_tests(file):
    """The names of the tests in a file, and of the classes that they are in."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    tree = ast.parse((REPOSITORY / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


RELIABILITY = (DOCS / "reliability.md").read_text()


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`(tests/[^` ]+)`", RELIABILITY))), ids=str)
def test_what_the_reliability_page_names_is_there(test):
    file, *names = test.split("::")
    assert (REPOSITORY / file).is_file()
    assert set(names) <= names_in_tests(file)


def test_every_promise_of_the_reliability_page_names_what_shows_it():
    tables = re.findall(r"(?:^\|.*\n)+", RELIABILITY, re.MULTILINE)
    kinds, *promises = (table.splitlines()[2:] for table in tables)
    named = {row.split("|")[1].removeprefix(" torture: ").strip() for row in kinds}
    assert named == set(import_module("tests.test_torture").KINDS)
    for row in (row for table in promises for row in table):
        _, fault, promise, shown, _ = row.split("|")
        assert fault.strip()
        assert promise.strip()
        assert "`tests/" in shown or "torture: " in shown, row
        assert set(re.findall(r"torture: (\w+)", shown)) <= named, row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def anchors(page):
    """Where links can lead within a page: its headings, as GitHub writes them."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_headings(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert anchor in anchors(page.parent / target if target else page), (target, anchor)


def test_the_python_of_the_settings_page_runs():
    operator, provider, shops, customers, bookkeepers, receiver = (
        run_block(code) for code in blocks(DOCS / "settings.md", "python")
    )
    setting = Conf.OPERATOR
    assert setting.problem(operator["TENANT_BACKUP"]["OPERATOR"]) is None
    assert set(operator["TENANT_BACKUP"]["OPERATOR"]) == set(setting.parts)
    assert [tenant.id for tenant in shops["Shops"]().all_tenants()] == ["acme", "globex"]
    acme = customers["Customers"]().tenant(Path("/srv/customers/acme-corporation"))
    assert (acme.id, acme.name) == ("acme-corporation", "Acme Corporation")
    assert acme.zone.key == "Europe/Berlin"
    with closing(sqlite3.connect(":memory:")) as books:
        books.execute("CREATE TABLE bookings (amount)")
        for amounts, said in [([], "no booking"), ([5, -5], ""), ([7], "7 is left")]:
            books.executemany("INSERT INTO bookings VALUES (?)", zip(amounts, strict=True))
            with pytest.raises(ValueError, match=said) if said else nullcontext():
                bookkeepers["Bookkeepers"]().check_restored(acme, books)
    try:
        acme = provider["Tenants"]().get_tenant("acme")
        assert acme.root.is_absolute()
        page = provider["Tenants"]().url_for(acme)
        assert page == "https://acme.example.com/settings/admin/backup"
    finally:
        assert signals.backup_completed.disconnect(receiver["copy_elsewhere"])


def test_the_python_of_the_page_on_rows_runs():
    setting, receiver = (run_block(code) for code in blocks(DOCS / "rows.md", "python"))
    given = setting["TENANT_BACKUP"]["ROWS_LOST"]
    assert Conf.ROWS_LOST.problem(given) is None
    assert {**given, "exclude": []} == Conf.ROWS_LOST.default
    pages, tenants = [], []
    receiver["Page"] = SimpleNamespace(fix_tree=lambda: pages.append(tenants[-1]))
    receiver["tenant_context"] = lambda tenant: nullcontext(tenants.append(tenant))
    try:
        for tables in ({"pages_page": 2}, {"shop_contract": 1}):
            keys = {table: [(1,)] for table in tables}
            signals.rows_restored.send(Backup, tenant="acme", tables=tables, keys=keys)
    finally:
        assert signals.rows_restored.disconnect(receiver["rebuild_what_is_derived"])
    assert pages == ["acme"]


def test_what_the_page_on_rows_says_of_the_rule_is_so():
    text = " ".join((DOCS / "rows.md").read_text().split())
    left_out = re.search(r"These are always left out: (.*?)\.", text)[1]
    assert tuple(re.findall(r"`([^`]+)`", left_out)) == losses.NEVER_LOST
    youngest, oldest = vanishing.YOUNGEST.days, vanishing.OLDEST.days
    assert f"made {youngest} to {oldest} days before it" in text
    rule = Conf.ROWS_LOST.default
    assert f"at least {rule['rows']} rows and {rule['share']:.0%} fewer".replace("%", " %") in text
    assert f"If nothing is left, {vanishing.NOTHING_LEFT} rows are enough." in text
    assert f"each for at most {losses.HELD.days} days" in text
    assert f"It works for {records.KEPT.days} days" in text


def run_block(code):
    names = {"__name__": "docs"}
    exec(compile(code, "docs/settings.md", "exec"), names)  # noqa: S102
    return names


def test_what_the_readme_says_to_install_works(tmp_path):
    """A new project, the README's own blocks in its files, the README's own commands in a shell."""
    text = (REPOSITORY / "README.md").read_text()
    guide = text[text.index("## Five minutes") : text.index("### Other kinds")]
    environment = {
        **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONWARNINGS": "error",
    }

    def run(*command):
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    started = run(sys.executable, "-m", "django", "startproject", "mysite", ".")
    assert started.returncode == 0, started.stderr
    for name in ("acme", "globex"):
        (tmp_path / "customers" / name).mkdir(parents=True)
        make_database(tmp_path / "customers" / name / "db.sqlite3")
    files = re.findall(r"In `(\S+)`:\n\n```python\n(.*?)```", guide, re.DOTALL)
    assert [file for file, _ in files] == [
        "mysite/settings.py",
        "mysite/tenancy.py",
        "mysite/urls.py",
    ]
    for file, code in files:
        with (tmp_path / file).open("a") as stream:
            stream.write(code)
    # As older projects have it. What comes last in the settings counts.
    with (tmp_path / "mysite" / "settings.py").open("a") as stream:
        stream.write("\nBASE_DIR = str(BASE_DIR)\n")
    lines = re.findall(r"^\$ python (.+)$", guide, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        result = run(sys.executable, *line.split())
        assert result.returncode == 0, f"{line}: {result.stderr}"
        if "check" in line:
            assert result.stdout == "System check identified no issues (0 silenced).\n"
    for name in ("acme", "globex"):
        assert len(names_in(tmp_path / "customers" / name / "backups")) == 2
        assert name in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(name):
    module = import_module(f"tenant_backup.management.commands.{name}")
    assert module.Command.help


def test_the_readmes_make_targets_exist():
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z]+)`?", (REPOSITORY / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


EXAMPLES = [
    line
    for page in PAGES
    for line in re.findall(r"^\$ (?:\S*/)?python manage\.py (.+)$", page.read_text(), re.MULTILINE)
    if line.split()[0] in COMMANDS
]


@pytest.mark.parametrize("line", sorted(set(EXAMPLES)))
def test_every_command_line_that_is_shown_can_be_typed(line):
    name, *arguments = shlex.split(line)
    load_command_class("tenant_backup", name).create_parser("manage.py", name).parse_args(arguments)


def test_the_commands_say_what_the_documentation_shows(host):
    for name in ("acme", "globex"):
        host.add_tenant(name)
    host.succeed("runbackup")
    (host.tenants / "acme" / "db.sqlite3").unlink()
    assert host.run("runbackup", "acme").returncode == 1
    text = (DOCS / "commands.md").read_text()
    [check, compared, listing, matrix] = (
        block.splitlines()[1:] for block in blocks(DOCS / "commands.md", "console")
    )
    said = host.run("checkbackups").stderr.splitlines()
    check[0] = check[0].replace("3 need you", "1 needs you").replace("2 are", "1 is")
    assert alike(said[0]) == alike(check[0])
    assert said[1].startswith("acme: failed. The last attempt, at ")
    assert check[1].startswith("acme: failed. The last attempt, at ")
    said = host.run("listbackups", "globex", "--last", "1").stdout.splitlines()
    assert [alike(line) for line in said[:2]] == [alike(line) for line in listing[:2]]
    assert said[2].split() == " ".join(listing[2:4]).split()
    said = host.run("listbackups", "globex", "--contents").stdout.splitlines()[-3:]
    assert alike(said[0]).split() == alike(matrix[2]).split()[:4]
    assert [len(line.split()) for line in said[1:]] == [3, 3]
    assert {len(line.split()) for line in matrix[3:]} == {6}
    with closing(sqlite3.connect(host.tenants / "globex" / "db.sqlite3")) as database, database:
        database.execute("DELETE FROM credits WHERE id < 9")
        database.execute("UPDATE debits SET amount = 1")
    [backup] = [row["id"] for row in host.catalog() if row["tenant"] == "globex"]
    said = host.run("comparebackups", "globex", str(backup)).stdout.splitlines()
    named = [alike(line.replace("globex", "acme")) for line in said[:3]]
    assert named == [alike(line) for line in compared[:3]]
    assert said[3].split() == compared[3].split()
    assert len(said) == len(compared) == 6
    path = re.search(r"management/\w+\.bash", text)[0]
    assert (REPOSITORY / "tenant_backup" / path).is_file()


def alike(line):
    """A line of output without what differs from time to time."""
    line = line.replace("just now", "9 hours ago").replace("Europe/Berlin", "UTC")
    return re.sub(r"\d+", "N", line)
