"""The example project as its user meets it: commands and a server in processes of their own."""

import http.cookiejar
import re
import signal
import socket
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.example import TOP, Project, free_port, wait_until_served

SCALE = "0.02"
TENANTS = ["acme", "globex", "initech"]


@dataclass
class Answer:
    status: int
    text: str
    location: str | None


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


@dataclass
class Browser:
    """Somebody who looks at one tenant's pages, by its host name."""

    port: int
    subdomain: str
    opener: urllib.request.OpenerDirector = field(
        default_factory=lambda: urllib.request.build_opener(
            NoRedirects, urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )
    )

    def open(self, path: str, form: dict[str, str] | None = None) -> Answer:
        body = None if form is None else urllib.parse.urlencode(form).encode()
        host = f"{self.subdomain}localhost:{self.port}"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body)
        request.add_header("Host", host)
        try:
            with self.opener.open(request, timeout=30) as response:
                return Answer(response.status, response.read().decode(), None)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode(), error.headers["Location"])

    def submit(self, page: str, path: str, **form: str) -> Answer:
        """Send a form with the token that the page with the form brought."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.open(page).text)
        assert token is not None
        return self.open(path, {"csrfmiddlewaretoken": token[1], **form})

    def log_in(self, user: str) -> Answer:
        return self.submit("/login", "/login", username=user, password="demo", next="/")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    project = Project(tmp_path_factory.mktemp("example"))
    project.manage("setup_example", "--scale", SCALE)
    return project


@pytest.fixture(scope="module")
def port(project) -> Iterator[int]:
    port = free_port()
    with project.running("runserver", "--noreload", f"127.0.0.1:{port}") as server:
        wait_until_served(port, server)
        yield port


@pytest.fixture
def visit(port):
    def visit(tenant: str, user: str | None = None) -> Browser:
        browser = Browser(port, f"{tenant}." if tenant else "")
        if user:
            assert browser.log_in(user).location == "/"
        return browser

    return visit


# Commands


def test_the_project_has_no_problems_and_all_its_migrations(project):
    assert "no issues" in project.manage("check", "--fail-level", "WARNING")
    assert "No changes" in project.manage("makemigrations", "--check", "--dry-run")


def test_each_database_has_only_its_own_tables(project):
    def tables(path: Path) -> set[str]:
        with closing(sqlite3.connect(path)) as database:
            rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {name.split("_")[0] for (name,) in rows}

    assert tables(project.database("acme")) == {"business", "django", "sqlite"}
    assert "business" not in tables(project.data / "control.sqlite3")


def test_setup_keeps_what_exists(project):
    before = [project.rows(tenant, "ticket") for tenant in TENANTS]

    printed = project.manage("setup_example", "--scale", "0.05")

    assert printed.count("exists and is kept") == 3
    assert "The users exist and are kept." in printed
    assert [project.rows(tenant, "ticket") for tenant in TENANTS] == before


def test_setup_that_was_killed_halfway_is_completed_with_the_same_data(project, tmp_path):
    other = Project(tmp_path)
    killed = other.python(
        "-c",
        f"""
import os, signal
import django
django.setup()
from django.core.management import call_command
from example_project.business.sample_data import SampleData
# Partners, contracts and tickets are in the database by then.
SampleData.item = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
call_command("setup_example", scale={SCALE})
""",
    )
    assert killed.returncode == -signal.SIGKILL
    assert other.rows("acme", "partner") == []

    other.manage("setup_example", "--scale", SCALE)

    for tenant in ["acme", "globex"]:
        for table in ["partner", "contract", "ticket", "inventoryitem"]:
            assert other.rows(tenant, table) == project.rows(tenant, table) != []


def test_without_a_tenant_its_models_are_refused_rather_than_looked_for_elsewhere(project):
    done = project.python(
        "-c",
        "import django; django.setup(); "
        "from example_project.business.models import Ticket; Ticket.objects.count()",
    )

    assert "NoTenantError: Ticket is in the tenants' databases, and no tenant is set" in done.stderr


# Pages


def test_a_mail_links_to_the_tenants_own_subdomain(project):
    said = project.manage(
        "shell",
        "-c",
        "from tenant_backup.tenants import get_tenant, url_for; print(url_for(get_tenant('acme')))",
    )
    assert said.splitlines()[-1] == "http://acme.localhost:8000/settings/admin/backup"


def test_the_bare_host_leads_to_the_tenants(visit, port):
    index = visit("").open("/")

    assert index.status == 200
    for tenant in TENANTS:
        assert f'href="http://{tenant}.localhost:{port}/"' in index.text


@pytest.mark.parametrize("path", ["/", "/admin/", "/login"])
def test_an_unknown_subdomain_is_not_found(visit, path):
    answer = visit("nobody").open(path)

    assert answer.status == 404
    assert "No such tenant" in answer.text


def test_a_strange_host_name_is_refused(port):
    browser = Browser(port, "acme.example.com/")

    assert browser.open("/").status == 400


def test_the_home_page_asks_for_a_login(visit):
    assert visit("acme").open("/").location == "/login?next=/"


def test_the_home_page_shows_the_tenants_own_data(visit, project):
    newest = max(project.rows("globex", "ticket"), key=lambda row: row[1])

    page = visit("globex", "george").open("/").text

    assert "<title>Globex</title>" in page
    assert f"<dd>{len(project.rows('globex', 'ticket'))}</dd>" in page
    assert newest[2] in page.replace("&#x27;", "'")
    assert "Delete all contracts" in page


def test_a_member_sees_the_home_page_without_the_accident(visit):
    browser = visit("acme", "mike")

    assert "Delete all contracts" not in browser.open("/").text
    assert browser.submit("/", "/accident").status == 403


def test_the_operator_may_look_at_every_tenant(visit):
    for tenant in TENANTS:
        assert visit(tenant, "operator").open("/").status == 200


def test_another_tenants_administrator_is_refused(visit):
    browser = visit("acme", "george")

    assert browser.open("/").status == 403
    assert browser.submit("/", "/accident").status == 403
    assert browser.open("/admin/business/ticket/").status == 403


def test_the_admin_shows_the_tenants_tables_to_its_administrator_only(visit):
    assert visit("acme", "anna").open("/admin/business/ticket/").status == 200
    assert visit("acme", "mike").open("/admin/business/ticket/").status == 302
    assert visit("", "anna").open("/admin/business/ticket/").status == 403


def test_the_admin_shows_the_control_database_to_the_operator_only(visit):
    assert visit("", "operator").open("/admin/control/customer/").status == 200
    assert visit("acme", "anna").open("/admin/control/customer/").status == 403


def test_the_accident_deletes_this_tenants_contracts_and_tickets(visit, project):
    browser = visit("initech", "operator")
    assert browser.open("/accident").status == 405
    assert browser.open("/accident", {}).status == 403, "no CSRF token"
    contracts = len(project.rows("initech", "contract"))
    others = project.rows("globex", "contract")

    assert browser.submit("/", "/accident").location == "/"

    assert f"All {contracts} contracts of Initech are gone" in browser.open("/").text
    assert project.rows("initech", "contract") == project.rows("initech", "ticket") == []
    assert project.rows("initech", "inventoryitem") != []
    assert project.rows("globex", "contract") == others


def test_the_accident_of_the_readme_and_the_way_back(tmp_path):
    """The README's own commands, on an example of its own, which is in use all the time."""
    text = (TOP / "README.md").read_text()
    story = text[text.index("### An accident") : text.index("## Five minutes")]
    commands = re.findall(r"^\$ \.venv/bin/python (manage\.py .+)$", story, re.MULTILINE)
    compare, bring_back, undo = (command.split() for command in commands)
    finding, count = re.search(r'"(([\d,]+) contracts fewer than today at) ', story).groups()
    [held] = re.findall(r"holds the backup before: here number (\d+)", story)
    project = Project(tmp_path)
    project.manage("setup_example", "--scale", SCALE)
    project.manage("runbackup")
    before = everything(project)
    contracts = len(before["contract"])
    port = free_port()
    with project.running("runserver", "--noreload", str(port)) as server:
        wait_until_served(port, server)
        anna = Browser(port, "acme.")
        anna.log_in("anna")
        page = "/settings/admin/backup"
        anna.submit("/", "/accident")
        assert project.rows("acme", "contract") == []
        assert "Rows have been lost" not in anna.open(page).text, "there is no new backup yet"
        anna.submit(page, f"{page}/create")
        told = anna.open(page).text
        assert "Rows have been lost." in told
        assert finding.replace(count, str(contracts)) in told
        enter_partner(anna, "P-since")
        project.manage("runbackup", "acme")
        listed = project.manage("listbackups", "acme")
        assert re.search(rf"^{held} +acme .* complete, held ", listed, re.MULTILINE)

        compared = project.python(*compare).stdout
        line = rf"^business_contract +{contracts} +0 +{contracts} +0 +0$"
        assert re.search(line, compared, re.MULTILINE)
        refused = project.python(*bring_back, answer="no\n")
        assert refused.returncode == 1
        assert project.rows("acme", "contract") == []
        with project.asking(*bring_back) as answer:
            enter_partner(anna, "P-meanwhile")
            done = answer("yes")
        assert f"restorerows {' '.join(undo[2:])}\n" in done

        now = everything(project)
        since = [row[1] for row in now["partner"] if row not in before["partner"]]
        assert since == ["P-since", "P-meanwhile"]
        assert {**now, "partner": now["partner"][: -len(since)]} == before
        project.manage("runbackup", "acme")
        assert "Rows have been lost" not in anna.open(page).text
        assert f"<dd>{len(before['ticket'])}</dd>" in anna.open("/").text
        with project.asking(*undo) as answer:
            answer("yes")
        assert project.rows("acme", "contract") == project.rows("acme", "ticket") == []
        assert project.rows("acme", "partner") == now["partner"]
        assert anna.open("/").status == 200


def everything(project: Project) -> dict[str, list[Any]]:
    tables = ("partner", "contract", "ticket", "inventoryitem")
    return {table: project.rows("acme", table) for table in tables}


def enter_partner(browser: Browser, number: str) -> None:
    """As somebody does who goes on working."""
    form = {"number": number, "name": number, "contact": "Ada", "email": "ada@example.com"}
    form |= {"street": "Quay 1", "city": "Kiel", "since": "2026-11-26"}
    page = "/admin/business/partner/add/"
    assert browser.submit(page, page, **form).status == 302


# The demo


def cluster_of(demo):
    """The process of the cluster that a demo has beside it."""
    pids = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    [cluster] = [pid for pid in pids if b"qcluster" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return Path("/proc") / cluster


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_demo_backs_up_every_tenant_serves_and_ends_with_its_cluster(tmp_path, how):
    """By Ctrl-C, by a service manager, and when its terminal is closed."""
    project = Project(tmp_path)
    port = free_port()
    with project.running("demo", "--scale", SCALE, "--port", str(port)) as demo:
        wait_until_served(port, demo)
        assert Browser(port, "acme.").log_in("anna").location == "/"
        cluster = cluster_of(demo)
        assert b"Q_CLUSTER_NAME=backups" in (cluster / "environ").read_bytes()
        demo.send_signal(how)
        demo.wait(timeout=30)

    assert demo.returncode == 0
    assert not cluster.exists()
    printed = project.log.read_text()
    assert "Stopped." in printed
    for tenant in TENANTS:
        assert f"http://{tenant}.localhost:{port}/" in printed
        [backup] = project.database(tenant).parent.glob("backups/*.sqlite3")
        assert backup.name in printed


def test_the_demo_says_at_once_that_its_port_is_in_use(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        done = Project(tmp_path).python("manage.py", "demo", "--port", str(port))

    assert done.returncode == 1
    assert f"Port {port} cannot be used" in done.stderr
    assert "choose another with PORT=" in done.stderr
    assert not (tmp_path / "tenants").exists()


DEMO_ON_CHANGED_DATA = """
import io, os, shutil
from pathlib import Path
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from example_project.control.management.commands import demo

data = Path(os.environ["EXAMPLE_DATA"])
call_command("migrate", verbosity=0)
(data / "tenants" / "acme").mkdir(parents=True)
(data / "mine.txt").touch()
demo.Command.step = demo.Command.print_addresses = lambda *a, **k: None
for change in (
    None,
    "INSERT INTO django_migrations (app, name, applied) VALUES ('auth', '9_newer', '2026-01-01')",
    "INSERT INTO django_migrations (app, name, applied)"
    " VALUES ('tenant_backup', '0005_older', '2026-01-01')",
    "ALTER TABLE tenant_backup_backup RENAME COLUMN pinned TO kept",
    "DROP TABLE tenant_backup_event",
):
    connection.close()
    shutil.copy(data / "control.sqlite3", data / "as-it-was.sqlite3")
    if change:
        with connection.cursor() as cursor:
            cursor.execute(change)
    output = io.StringIO()
    call_command("demo", no_serve=True, stdout=output)
    aside = list(data.glob("replaced-*"))
    print(len(aside), sorted(path.name for folder in aside for path in folder.iterdir()))
    assert ("the demo begins anew" in output.getvalue()) == bool(aside)
    for folder in aside:
        assert str(folder) in output.getvalue()
        (folder / "tenants").rename(data / "tenants")
        shutil.rmtree(folder)
    connection.close()
    (data / "as-it-was.sqlite3").rename(data / "control.sqlite3")
print((data / "mine.txt").exists())
"""


def test_the_demo_begins_anew_where_the_data_are_of_another_version(tmp_path):
    """As left by a checkout with other migrations, or with other columns in the same ones."""
    done = Project(tmp_path).python("-c", DEMO_ON_CHANGED_DATA)

    assert done.returncode == 0, done.stderr
    fits, others = "0 []", "1 ['control.sqlite3', 'tenants']"
    assert done.stdout.splitlines() == [fits] * 2 + [others] * 3 + ["True"]


def test_the_demo_names_the_step_that_failed(tmp_path):
    project = Project(tmp_path)
    # Where the tenant's backups go, there is a file instead of a directory.
    root = project.database("acme").parent
    root.mkdir(parents=True)
    (root / "backups").touch()

    done = project.python("manage.py", "demo", "--no-serve", "--scale", SCALE)

    assert done.returncode == 1
    assert "The demo stopped at runbackup" in done.stderr
