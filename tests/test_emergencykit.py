"""The emergency kit: what it says of this host is true, and its commands are run as it has them."""

import html
import os
import re
import shutil
import stat
import subprocess
import sys
from contextlib import closing
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.db import connections
from django.utils import translation

from tenant_backup import __version__, emergency_kit
from tenant_backup.files import writing_privately
from tenant_backup.tenants import Tenant
from tests.conftest import REPOSITORY, open_backup
from tests.example import Project
from tests.tenancy import Tenants

LIBRARIES = {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}
"""What a Python that was moved to another folder needs to start."""

GENERAL = (REPOSITORY / "docs" / "emergency.md").read_text()


class Kit(HTMLParser):
    """A page as a browser reads it: its text, its tags, and the commands by their kind."""

    def __init__(self, page):
        super().__init__()
        self.page, self.text, self.tags, self.open = page, "", [], None
        self.commands = {}
        self.cells = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if kind := dict(attributes).get("data-run"):
            self.open = self.commands.setdefault(kind, [])
            self.open.append("")
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        if tag == "pre":
            self.open = None

    def handle_data(self, data):
        self.text += data
        if self.open is not None:
            self.open[-1] += data
        if self.cells:
            self.cells[-1] += data


def printed(**options):
    out = StringIO()
    call_command("emergencykit", stdout=out, **options)
    return Kit(out.getvalue())


HOSTILE = [
    ("-rf", "<script>alert(1)</script>"),
    ("it's", '"><img src=x onerror=alert(1)>'),
    ("a b;reboot", "</td></table>{{ settings }}"),
    ("\x1b[31m\n'\\", "\u202eevil\x07"),
    ("$(id)`id`", "&lt;b&gt;"),
    ("müller", "Müller & Söhne"),
]


@pytest.mark.django_db
class TestPage:
    @pytest.fixture
    def hostile(self, add_tenant):
        for number, (tenant_id, name) in enumerate(HOSTILE):
            tenant = add_tenant(f"t{number}")
            Tenants.tenants[-1] = Tenant(tenant_id, name, tenant.root, tenant.database)

    def test_it_says_where_everything_is(self, tenant, settings, client):
        settings.TENANT_BACKUP = {
            **settings.TENANT_BACKUP,
            "OPERATOR": {"NAME": "Anna Ops", "PHONE": "+49 30 1", "SERVICES": ["web", "backups"]},
        }
        kit = printed()
        for words in (
            "Anna Ops, +49 30 1",
            "web, backups",
            str(REPOSITORY),
            sys.prefix,
            str(tenant.database),
            str(tenant.root / "backups"),
            tenant.database.owner(),
            "tests.tenancy.Tenants",
            f"by tenant_backup {__version__}",
        ):
            assert words in kit.text, words
        assert kit.commands["stop"] == ["systemctl stop web backups"]

    def test_nothing_of_a_tenant_is_taken_for_html(self, hostile):
        kit = printed()
        assert {tag for tag, _ in kit.tags} <= {
            *(
                "html",
                "head",
                "meta",
                "title",
                "style",
                "body",
                "main",
                "h1",
                "h2",
                "p",
                "ol",
                "ul",
            ),
            *("li", "table", "thead", "tbody", "tr", "th", "td", "section", "pre", "code", "var"),
            *("strong", "br", "bdi", "span"),
        }
        assert not any(name.startswith("on") for _, given in kit.tags for name in given)
        for _, name in HOSTILE:
            assert name in kit.cells or emergency_kit.visible(name) in kit.cells
        unseen = {sign for sign in kit.page if not sign.isprintable()}
        assert unseen <= {"\n"}

    @pytest.mark.parametrize("tenant_id", [tenant_id for tenant_id, _ in HOSTILE])
    def test_an_id_is_typed_as_the_list_has_it(self, hostile, tenant_id):
        typed = emergency_kit.typed(tenant_id)
        assert typed in printed().cells
        line = f"printf '%s\\0' command --option {typed}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
        *_, given, nothing = done.stdout.split("\0")
        assert (given, nothing) == (tenant_id, "")
        assert ("\0--\0" in done.stdout) is tenant_id.startswith("-")

    def test_it_needs_nothing_but_itself(self, tenant):
        page = printed().page
        assert page.startswith(emergency_kit.MARK)
        for outside in ("src=", "href=", "url(", "@import", "http:", "https:", "<link", "<script"):
            assert outside not in page

    def test_the_tenants_are_listed_by_name_one_by_one(self, add_tenant, tmp_path):
        root = tmp_path / "many"
        names = [f"{'ab'[number % 2]}{'XY'[number % 2]}{number:05}" for number in range(3000)]
        Tenants.tenants[:] = [
            Tenant(name.lower(), name, root / name, root / name / "db.sqlite3") for name in names
        ]
        call_command("emergencykit", stdout=(out := StringIO()))
        known = set(names)
        shown = [cell for cell in Kit(out.getvalue()).cells if cell in known]
        assert shown == sorted(names, key=str.casefold)
        listing = emergency_kit.Listing(Tenants.tenants)
        pieces = emergency_kit.pages(listing, user="ada")
        assert max(map(len, pieces)) < 20_000

    def test_a_database_that_is_gone_is_marked(self, tenant):
        assert "(not there)" not in printed().text
        tenant.database.unlink()
        assert f"{tenant.database} (not there)" in printed().text

    def test_who_is_not_valid_is_named(self, tenant, tmp_path, capsys):
        Tenants.tenants.append(Tenant("<globex>", "Globex", Path("relative"), Path("db")))
        with pytest.raises(CommandError) as error:
            call_command("emergencykit", stdout=(out := StringIO()))
        assert error.value.returncode == 1
        kit = Kit(out.getvalue())
        assert "<globex>" in kit.cells
        assert "Not valid, so not backed up" in kit.text

    def test_it_speaks_the_active_language(self, tenant):
        with translation.override("de"):
            assert '<html lang="de" dir="ltr">' in printed().page
        with translation.override("ar"):
            assert '<html lang="en-us" dir="ltr">' in printed().page

    def test_a_database_server_is_named_without_its_password(self, tenant, monkeypatch):
        known = connections["default"].settings_dict
        given = {"NAME": "control", "HOST": "db1", "PORT": 5432, "PASSWORD": "hush", "USER": "ops"}
        for key, value in given.items():
            monkeypatch.setitem(known, key, value)
        monkeypatch.setattr(emergency_kit, "sqlite_file", lambda alias: None)
        kit = printed()
        assert ": control, db1:5432" in kit.text
        assert "hush" not in kit.page
        assert len(kit.commands["control"]) == 2

    @pytest.mark.parametrize("services", [[], ["the web server"], ["-web"], ["a;b"]])
    def test_only_what_can_be_a_unit_is_given_to_systemd(self, tenant, settings, services):
        settings.TENANT_BACKUP = {**settings.TENANT_BACKUP, "OPERATOR": {"SERVICES": services}}
        kit = printed()
        assert "stop" not in kit.commands
        assert all(service in kit.text for service in services)

    def test_without_a_virtual_environment_python_is_named(self, tenant, monkeypatch):
        monkeypatch.setattr(sys, "prefix", sys.base_prefix)
        monkeypatch.setenv("PYTHONPATH", "/a b")
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "mysite.settings")
        [setup] = printed().commands["setup"]
        ask = "import os, sys; print(sys.executable, os.environ['PYTHONPATH'], os.getcwd())"
        line = f'{setup}\npython -c "{ask}"'
        done = subprocess.run(
            ["bash", "-euc", line],
            cwd="/",
            env=LIBRARIES,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"{sys.executable} /a b {REPOSITORY}\n"

    def test_where_manage_py_is_unknown_there_is_room_to_write_it(
        self, tenant, monkeypatch, tmp_path, settings
    ):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["/usr/bin/django-admin"])
        settings.BASE_DIR = None
        assert printed().commands["setup"][0].startswith("cd ______")
        settings.BASE_DIR = str(REPOSITORY)
        assert printed().commands["setup"][0].startswith(f"cd {REPOSITORY}\n")

    def test_every_command_exists_with_its_options(self, tenant):
        lines = [
            line.removeprefix("python manage.py ")
            for kind, blocks in printed().commands.items()
            for block in blocks
            for line in block.splitlines()
            if line.startswith("python manage.py") and kind != "by-hand"
        ]
        assert len(lines) >= 10
        known = get_commands()
        for name, *arguments in map(str.split, lines):
            app = known[name] if name != "migrate" else "django.core"
            typed = " ".join(arguments).replace("TENANT", emergency_kit.typed("-rf"))
            parser = load_command_class(app, name).create_parser("manage.py", name)
            given = parser.parse_args(typed.replace("NUMBER", "1").split())
            if "TENANT" in arguments:
                assert "-rf" in (getattr(given, "tenant", None), *getattr(given, "tenants", ()))

    def test_it_does_what_the_general_page_says(self, tenant):
        """For the control database in the same order."""
        section = re.search(r"^## The control database is lost$(.*?)^## ", GENERAL, re.M | re.S)[1]
        asked = " ".join(printed().commands["control"])
        order = ["migrate", "syncbackups", "listbackups"]
        for text in (section, asked):
            places = [text.index(f"manage.py {name}") for name in order]
            assert places == sorted(places)


@pytest.mark.django_db
class TestOutput:
    @pytest.fixture
    def file(self, tenant, tmp_path):
        return tmp_path / "kit.html"

    def test_it_is_for_its_owner_only_and_takes_the_place_of_an_old_one(self, file, capsys):
        call_command("emergencykit", output=file)
        assert capsys.readouterr().out == (
            f"{file}: the emergency kit, with 1 tenant. Only its owner can read it.\n"
        )
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        file.write_text(file.read_text() + "older")
        file.chmod(0o644)
        call_command("emergencykit", output=file, verbosity=0)
        assert capsys.readouterr().out == ""
        assert file.read_text().endswith("</html>\n")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [path.name for path in file.parent.iterdir() if "kit" in path.name] == [file.name]

    @pytest.mark.parametrize("name", ["kit.html", "notes.txt", "folder.html", "link.html"])
    def test_it_replaces_nothing_else(self, file, name):
        call_command("emergencykit", output=file)
        page = file.read_bytes()
        target = file.with_name(name)
        if name == "kit.html":
            file.write_text("<!DOCTYPE html>\nmine")
        elif name == "notes.txt":
            target.write_bytes(page)
        elif name == "folder.html":
            target.mkdir()
        else:
            target.symlink_to(file)
        with pytest.raises(CommandError, match="is no emergency kit, so it was not replaced"):
            call_command("emergencykit", output=target)
        if name == "kit.html":
            assert file.read_text() == "<!DOCTYPE html>\nmine"

    def test_a_database_is_not_even_opened(self, tenant, monkeypatch):
        def fail(*arguments, **options):
            raise AssertionError("It was opened.")

        monkeypatch.setattr("tenant_backup.management.commands.emergencykit.open_regular", fail)
        with pytest.raises(CommandError, match="is no emergency kit"):
            call_command("emergencykit", output=tenant.database)

    def test_a_folder_that_is_missing_is_named(self, file):
        with pytest.raises(CommandError, match=r"gone/kit\.html cannot be written: No such file"):
            call_command("emergencykit", output=file.parent / "gone" / "kit.html")

    def test_what_fails_on_the_way_leaves_the_old_one(self, file, monkeypatch):
        call_command("emergencykit", output=file)
        before = file.read_bytes()

        def fail(tenant):
            raise KeyboardInterrupt

        monkeypatch.setattr(emergency_kit, "_line", fail)
        with pytest.raises(CommandError, match="Interrupted"):
            call_command("emergencykit", output=file)
        assert file.read_bytes() == before
        assert [path.name for path in file.parent.iterdir() if "kit" in path.name] == [file.name]

    def test_a_path_that_is_no_text_is_no_trouble(self, tmp_path):
        with writing_privately(tmp_path / "a.html") as stream:
            stream.write("\udcff")
        assert (tmp_path / "a.html").read_text() == "?"


class TestStandardOutput:
    def test_a_terminal_that_knows_no_umlauts_loses_none(self, host):
        host.add_tenant("müller")
        done = host.run("emergencykit", PYTHONIOENCODING="ascii")
        assert done.returncode == 0, done.stderr
        assert "m&#252;ller" in done.stdout
        assert "müller" in html.unescape(done.stdout)
        assert "müller" in host.run("emergencykit", PYTHONIOENCODING="utf-8").stdout

    def test_a_page_that_is_not_complete_is_a_failure(self, host):
        host.add_tenant()
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "django", "emergencykit"],
                env=host.environment,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert done.returncode != 0
        assert "The page could not be printed: No space left on device." in done.stderr


class Night:
    """Somebody at the server, with the page in a hand and nothing but a new shell."""

    def __init__(self, folder):
        self.project = Project(folder / "data")
        self.kit = self.write(folder)
        self.bin = folder / "bin"
        self.bin.mkdir()
        # The services of the machine that runs the tests are not ours to stop.
        self.stopped = folder / "stopped"
        systemctl = self.bin / "systemctl"
        systemctl.write_text(f'#!/bin/sh\necho "$@" >> {self.stopped}\n')
        systemctl.chmod(0o755)

    def write(self, folder):
        self.project.manage("emergencykit", "--output", str(folder / "kit.html"))
        return Kit((folder / "kit.html").read_text())

    def type(self, command, answer="", **values):
        """Type a command of the page, with these words in place of those in capitals."""
        for name, value in values.items():
            command = re.sub(rf"\b{name}\b", value, command)
        [setup] = self.kit.commands["setup"]
        done = subprocess.run(
            ["bash", "-euc", f"{setup}\n{command}"],
            cwd="/",
            env={
                **LIBRARIES,
                "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin",
                # What "only the services have".
                "EXAMPLE_DATA": str(self.project.data),
                "PYTHONWARNINGS": "error",
            },
            input=answer,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def backup_of(self, tenant, listed):
        return re.search(rf"^(\d+) +{tenant} ", listed, re.MULTILINE)[1]


@pytest.fixture(scope="session")
def evening(tmp_path_factory):
    """The example project with its backups, to be copied."""
    project = Project(tmp_path_factory.mktemp("evening"))
    project.manage("setup_example", "--scale", "0.02")
    project.manage("runbackup")
    return project.data


@pytest.fixture
def night(tmp_path, evening):
    shutil.copytree(evening, tmp_path / "data")
    return Night(tmp_path)


class TestWhatItSays:
    def test_a_database_is_lost(self, night):
        before = night.project.rows("acme", "ticket")
        for file in night.project.database("acme").parent.glob("db.sqlite3*"):
            file.unlink()
        commands = night.kit.commands
        night.type(*commands["stop"])
        look, bring_back = commands["database"]
        number = night.backup_of("acme", night.type(look, TENANT="acme"))
        night.type(bring_back, TENANT="acme", BACKUP=number, answer="acme\n")
        night.type(*commands["start"])
        assert before
        assert night.project.rows("acme", "ticket") == before
        assert night.stopped.read_text() == "stop runserver qcluster\nstart runserver qcluster\n"

    def test_the_control_database_is_lost(self, night):
        control = night.project.data / "control.sqlite3"
        control.write_bytes(b"nothing" * 1000)
        before = night.project.rows("globex", "ticket")
        move_away, make, look = night.kit.commands["control"]
        night.type(move_away)
        [aside] = control.parent.glob("control.sqlite3*")
        assert (aside / control.name).read_bytes().startswith(b"nothing")
        # It brings the tenants back, which the example has in the control database.
        night.project.manage("setup_example", "--scale", "0.02")
        night.type(make)
        listed = night.type(look)
        night.project.database("globex").write_bytes(b"")
        number = night.backup_of("globex", listed)
        restore = night.kit.commands["database"][1]
        night.type(restore, TENANT="globex", BACKUP=number, answer="globex\n")
        assert night.project.rows("globex", "ticket") == before

    def test_the_app_cannot_be_run(self, night):
        before = night.project.rows("acme", "ticket")
        database = night.project.database("acme")
        [backup] = (database.parent / "backups").glob("*.sqlite3")
        database.write_bytes(b"")
        [by_hand] = night.kit.commands["by-hand"]
        night.type(by_hand, DATABASE=str(database), BACKUP=str(backup), TENANT="acme")
        assert night.project.rows("acme", "ticket") == before

    def test_there_is_more_to_read(self, night):
        assert night.type(*night.kit.commands["more"]) == GENERAL

    def test_rows_are_lost(self, night):
        before = night.project.rows("acme", "ticket")
        with closing(open_backup(night.project.database("acme"))) as database:
            assert database.execute("SELECT count(*) FROM business_ticket").fetchone()[0]
        lose = "DELETE FROM business_ticket WHERE id > 100"
        night.project.python("-c", CHANGE, str(night.project.database("acme")), lose)
        left = night.project.rows("acme", "ticket")
        assert 0 < len(left) < len(before)
        look, compare, preview, bring_back, undo = night.kit.commands["rows"]
        number = night.backup_of("acme", night.type(look, TENANT="acme"))
        values = {"TENANT": "acme", "BACKUP": number, "TABLE": "business_ticket"}
        assert "business_ticket" in night.type(compare, **values)
        night.type(preview, **values)
        assert night.project.rows("acme", "ticket") == left
        said = night.type(bring_back, **values, answer="yes\n")
        assert night.project.rows("acme", "ticket") == before
        night.type(undo, TENANT="acme", NUMBER=re.search(r"--undo (\d+)", said)[1], answer="yes\n")
        assert night.project.rows("acme", "ticket") == left


CHANGE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute(sys.argv[2])
connection.commit()
connection.close()
"""


def test_the_catalog_in_the_tenants_own_database(host):
    """Then it comes back with it, and only a file can be named."""
    host.environment["TEST_PROVIDER"] = "tenant_backup.tenants.SingleTenant"
    host.succeed("runbackup --label before")
    kit = Kit(host.run("emergencykit").stdout)
    [commands] = kit.commands["holder"]
    assert "migrate" not in " ".join(kit.commands["control"])
    control = host.directory / "control.sqlite3"
    shutil.copy(control, host.directory / "copy")
    for file in host.directory.glob("control.sqlite3*"):
        file.write_bytes(b"")
    look, bring_back = commands.splitlines()
    [name] = [
        line
        for line in subprocess.check_output(look, shell=True, text=True).split()  # noqa: S602
        if line.endswith(".sqlite3")
    ]
    assert bring_back == "python manage.py restorebackup default FILE"
    done = host.run("restorebackup", "default", name, answers="default\n")
    assert done.returncode == 0, done.stderr
    assert host.catalog()
