"""What the commands look like on a terminal: its width, its colours, help, and completion."""

import json
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import termios
import time
from datetime import timedelta
from fcntl import ioctl
from io import StringIO

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.utils import timezone, translation

from tenant_backup.management.suggestions import similar_tenants
from tenant_backup.management.terminal import cells, columns, paragraph, shortened
from tenant_backup.models import Backup
from tests.conftest import REPOSITORY
from tests.tenancy import Tenants
from tests.test_docs import COMMANDS

COMPLETION = REPOSITORY / "tenant_backup" / "management" / "completion.bash"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
GOOD = {"status": "complete", "trigger": "manual", "size": 45056}


def on_terminal(host, width, *arguments, **environment):
    """Run a command on a real terminal of this width; its exit status, and what it shows."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {**host.environment, "TERM": "xterm", **environment}
    del environment["COLUMNS"]
    process = subprocess.Popen(
        [sys.executable, "-m", "django", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={name: value for name, value in environment.items() if value is not None},
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at:
        if not select.select([ours], [], [], 1)[0]:
            continue
        try:
            more = os.read(ours, 65536)
        except OSError:  # Linux: nobody has it open any more
            break
        if not more:
            break
        shown += more
    os.close(ours)
    return process.wait(timeout=30), shown.decode().replace("\r\n", "\n")


def add_backup(tenant_id="acme", hours=3, **fields):
    at = timezone.now() - timedelta(hours=hours)
    fields = {**GOOD, "file_name": f"{tenant_id}-{hours}.sqlite3", **fields}
    return Backup.objects.create(tenant_id=tenant_id, created_at=at, verified_at=at, **fields)


def listed(*arguments):
    output = StringIO()
    call_command("listbackups", *arguments, stdout=output)
    return output.getvalue()


def ids(text):
    return [int(line.split()[0]) for line in text.splitlines() if re.match(r"\d+  ", line)]


@pytest.fixture
def ill(host):
    """A host with a tenant that is backed up by hand, and one whose last backup has failed."""
    for name in ("acme", "globex"):
        host.add_tenant(name)
    label = "before the import of the new price list for next year"
    assert host.run("runbackup", "--label", label, "--pin").returncode == 0
    (host.tenants / "globex" / "db.sqlite3").unlink()
    assert host.run("runbackup", "globex").returncode == 1
    return host


class TestWidth:
    @pytest.mark.parametrize("width", [60, 80, 132])
    def test_no_line_is_wider_than_the_terminal(self, ill, width):
        for command in (["listbackups", "--contents"], ["checkbackups", "-v", "2"]):
            _, text = on_terminal(ill, width, *command)
            assert "globex" in text
            # A path stays whole, to be copied.
            lines = COLOUR.sub("", text).replace(str(ill.tenants), "").splitlines()
            assert max(map(len, lines)) <= width, command

    def test_elsewhere_nothing_is_cut(self, ill):
        run = ill.run("listbackups", COLUMNS="60")
        assert "before the import of the new price list for next year\n" in run.stdout
        assert "…" not in run.stdout
        lines = run.stdout.splitlines()
        assert sum(".sqlite3" in line and "complete, pinned" in line for line in lines) == 2

    def test_what_does_not_fit_comes_below(self):
        file = "acme-1234567.sqlite3"
        rows = [["ID", "TENANT", "FILE", "LABEL"], ["1", "acme", file, "a label"]]
        assert columns(rows) == [
            "ID  TENANT  FILE                  LABEL",
            f"1   acme    {file}  a label",
        ]
        assert columns(rows, width=36) == [
            "ID  TENANT  FILE\n    LABEL",
            f"1   acme    {file}\n    a label",
        ]
        assert columns(rows, width=20) == [
            "ID  TE…NT\n    FILE  LABEL",
            "1   acme\n    acme-123…sqlite3\n    a label",
        ]

    @pytest.mark.parametrize("text", ["acme-20261126T114041Z.sqlite3", "ファイル" * 6, "é" * 30])
    @pytest.mark.parametrize("width", [7, 10, 20])
    def test_a_long_text_loses_its_middle(self, text, width):
        short = shortened(text, width)
        assert width - 2 <= cells(short) <= width
        start, end = short.split("…")
        assert text.startswith(start)
        assert text.endswith(end)

    def test_a_text_that_fits_is_left_alone(self):
        assert shortened("acme", 4) == "acme"
        assert paragraph("a  b", None) == "a  b"

    def test_signs_that_take_two_columns_or_none(self):
        assert [cells("abc"), cells("日本"), cells("e\u0301")] == [3, 4, 1]

    def test_a_path_is_never_broken(self):
        path = "/srv/customers/acme-corporation/backups/acme-20261126.sqlite3"
        assert path in paragraph(f"The file {path} is missing.", 40).splitlines()

    def test_nor_is_a_command_at_the_end(self):
        command = "python manage.py syncbackups --retire acme-corporation"
        lines = paragraph(f"It is gone.\nIf that is on purpose: {command}", 40).splitlines()
        assert lines == ["It is gone.", "If that is on purpose:", command]


class TestColours:
    def test_on_a_terminal_only(self, ill):
        status, text = on_terminal(ill, 80, "checkbackups")
        assert status == 1
        outcome = "0 of 2 well; 1 needs you; 1 is backed up by hand only"
        assert f"\x1b[31;1m{outcome}\x1b[0m (times in UTC):" in text
        assert "\x1b[31;1mglobex: failed.\x1b[0m The last attempt" in text
        run = ill.run("checkbackups")
        assert "\x1b" not in run.stdout + run.stderr

    def test_none_where_somebody_wants_none(self, ill):
        assert "\x1b" not in on_terminal(ill, 80, "checkbackups", "--no-color")[1]
        assert "\x1b" not in on_terminal(ill, 80, "checkbackups", NO_COLOR="1")[1]
        assert "\x1b" in on_terminal(ill, 80, "checkbackups", NO_COLOR="")[1]

    def test_who_forces_them_gets_them(self, ill):
        run = ill.run("checkbackups", "--force-color")
        assert "\x1b[31;1mglobex: failed.\x1b[0m The" in run.stderr
        assert "\x1b[31;1m" in ill.run("checkbackups", "--force-color", NO_COLOR="1").stderr

    def test_errors_do_not_shout(self, ill):
        assert on_terminal(ill, 80, "checkbackups", "glob") == (
            2,
            "There is no tenant glob. Nothing was done. Did you mean globex?\n",
        )
        run = ill.run("runbackup", "globex")
        *_, end = run.stderr.splitlines()
        assert end == "1 of 1 failed."
        for command in (["runbackup", "globex"], ["checkbackups"], ["restorebackup", "acme", "99"]):
            run = ill.run(*(command + ["--no-input"] * (command[0] == "restorebackup")))
            assert run.returncode
            assert "Error:" not in run.stderr
            assert not re.search(r"\b[A-Z]{5,}\b", run.stderr), run.stderr

    def test_a_traceback_is_there_for_who_asks(self, ill):
        assert "CommandError: There is no tenant" in ill.run("runbackup", "x", "--traceback").stderr


class TestTimes:
    @pytest.mark.django_db
    def test_a_tenant_s_times_are_in_its_zone(self, add_tenant):
        tenant = add_tenant()
        Tenants.tenants[0] = type(tenant)(
            "acme", "Acme", tenant.root, tenant.database, "Asia/Tokyo"
        )
        backup = add_backup()
        text = listed("acme")
        assert text.count("Asia/Tokyo") == 1
        at = timezone.localtime(backup.created_at, Tenants.tenants[0].zone)
        assert f"{at:%Y-%m-%d %H:%M}  3\xa0hours ago  " in text

    @pytest.mark.django_db
    def test_those_of_many_are_in_the_project_s(self, add_tenant, settings):
        settings.TIME_ZONE = "Europe/Berlin"
        for name, zone in (("acme", "Asia/Tokyo"), ("globex", "America/New_York")):
            tenant = add_tenant(name)
            Tenants.tenants[-1] = type(tenant)(name, name, tenant.root, tenant.database, zone)
            add_backup(name)
            Backup.objects.create(tenant_id=name, status="failed", trigger="automatic", error="No.")
        for text in (listed(), self.check()):
            zones = re.findall(r"\w+/[A-Z]\w+", text)
            assert zones == ["Europe/Berlin"], text

    def check(self):
        errors = StringIO()
        with pytest.raises(CommandError):
            call_command("checkbackups", stdout=StringIO(), stderr=errors)
        return errors.getvalue()

    @pytest.mark.django_db
    def test_programs_get_what_they_got(self, add_tenant):
        """Each message is read by itself, so its times name their zone."""
        add_tenant()
        Backup.objects.create(tenant_id="acme", status="failed", trigger="automatic", error="No.")
        output = StringIO()
        with pytest.raises(CommandError):
            call_command("checkbackups", "--json", stdout=output, stderr=StringIO())
        [error] = json.loads(output.getvalue())["errors"]
        assert re.search(r"^The last attempt, at [^()]+ \(UTC\), failed\. No\. ", error["message"])

    @pytest.mark.django_db
    def test_in_german(self, add_tenant):
        add_tenant()
        add_backup()
        with translation.override("de"):
            assert "vor 3\xa0Stunden" in listed()


@pytest.mark.django_db
class TestFilters:
    @pytest.fixture
    def catalog(self, add_tenant):
        for name in ("acme", "globex"):
            add_tenant(name)
            for hours in (5, 4):
                add_backup(name, hours)
            add_backup(name, 3, status="failed", error="The disk is full.", file_name="")
            add_backup(name, 2, missing_at=timezone.now())
            add_backup(name, 1)
        return [list(Backup.objects.for_tenant(name).newest_first()) for name in ("acme", "globex")]

    def test_the_last_ones_of_each_tenant(self, catalog):
        wanted = [backup.pk for theirs in catalog for backup in theirs[:2]]
        assert ids(listed("--last", "2")) == wanted
        rows = json.loads(listed("--last", "2", "--json"))["backups"]
        assert [row["id"] for row in rows] == wanted
        assert ids(listed("--last", "99")) == [pk.pk for theirs in catalog for pk in theirs]

    def test_those_that_failed_or_are_no_good_any_more(self, catalog):
        wanted = [backup.pk for theirs in catalog for backup in theirs[1:3]]
        text = listed("--failed")
        assert text.startswith("4 backups have failed, or are missing or damaged.\n")
        assert ids(text) == wanted
        assert text.count("    The disk is full.\n") == 2
        assert ids(listed("globex", "--failed", "--last", "1")) == [catalog[1][1].pk]

    def test_where_none_failed_that_is_said(self, add_tenant):
        add_tenant()
        assert listed("--failed").startswith("There are no backups yet.")
        add_backup()
        assert listed("--failed") == "No backup has failed, and none is missing or damaged.\n"

    @pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", ""])
    def test_nonsense_is_a_usage_error(self, text):
        with pytest.raises(CommandError, match="a whole number from 1"):
            call_command("listbackups", f"--last={text}")

    @pytest.mark.parametrize("digits", [19, 21, 5000])
    def test_any_number_is_small_enough(self, catalog, digits):
        assert listed("acme", "--last", "9" * digits) == listed("acme")

    def test_ids_for_scripts(self, catalog):
        add_backup("retired")
        assert listed("--ids").split() == ["acme", "globex", "retired"]
        good = [backup.pk for backup in catalog[0] if backup.is_good]
        assert list(map(int, listed("acme", "--ids").split())) == good
        assert len(good) == 3
        with pytest.raises(CommandError) as refusal:
            listed("--ids", "--json")
        assert refusal.value.returncode == 2


@pytest.mark.django_db
class TestDidYouMean:
    @pytest.fixture(autouse=True)
    def customers(self, add_tenant):
        for name, called in (("c17", "Acme Corporation"), ("globex", "Globex"), ("acme2", "Other")):
            tenant = add_tenant(name)
            Tenants.tenants[-1] = type(tenant)(name, called, tenant.root, tenant.database)

    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ("globx", ["globex"]),
            ("GLOBEX", ["globex"]),
            ("Acme Corporation", ["c17"]),
            ("acme corp", ["c17"]),
            ("corporation", ["c17"]),
            ("zzz", []),
            ("o", []),
        ],
    )
    def test_by_id_and_by_name(self, text, meant):
        assert similar_tenants(text) == meant

    def test_nothing_is_done(self):
        with pytest.raises(CommandError) as refusal:
            call_command("runbackup", "globx", "corporation", stdout=StringIO())
        assert str(refusal.value) == (
            "There is no tenant globx, corporation. Nothing was done. Did you mean globex or c17?"
        )
        assert refusal.value.returncode == 2
        assert not Backup.objects.exists()

    def test_programs_read_it_too(self):
        output = StringIO()
        with pytest.raises(CommandError):
            call_command("runbackup", "globx", "zzz", "--json", stdout=output)
        assert json.loads(output.getvalue())["errors"] == [
            {"tenant": "globx", "message": "There is no such tenant. Did you mean globex?"},
            {"tenant": "zzz", "message": "There is no such tenant."},
        ]

    def test_also_one_of_whom_only_the_catalog_knows(self):
        add_backup("umbrella")
        with pytest.raises(CommandError, match="Did you mean umbrella"):
            call_command("listbackups", "umbrela")

    def test_a_provider_that_fails_meanwhile_changes_nothing(self, monkeypatch):
        monkeypatch.setattr(Tenants, "all_tenants", lambda self: 1 / 0)
        assert similar_tenants("globx") == []


@pytest.mark.parametrize("name", COMMANDS)
class TestHelp:
    def parser(self, name):
        return load_command_class("tenant_backup", name).create_parser("manage.py", name)

    def test_ends_with_two_examples_that_parse(self, name):
        parser = self.parser(name)
        end = parser.format_help()[parser.format_help().index("\nExamples:\n") :]
        examples = re.findall(r"^  python manage\.py (.+)\n      (\S.+)$", end, re.MULTILINE)
        assert len(examples) == 2
        assert len(end.strip().splitlines()) == 5
        for line, _ in examples:
            command, *arguments = shlex.split(line)
            assert command == name
            parser.parse_args(arguments)

    def test_fits_a_terminal_of_80_columns(self, name, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        text = self.parser(name).format_help()
        assert max(map(len, text.splitlines())) <= 80
        # The examples come after Django's own options, and the help's text is filled.
        assert text.index("--skip-checks") < text.index("Examples:")


class TestCompletion:
    """In a real bash, which runs the commands of a real host."""

    @pytest.fixture
    def complete(self, host, tmp_path):
        for name in ("acme", "acme2", "globex"):
            host.add_tenant(name)
        assert host.run("runbackup", "acme").returncode == 0
        manage = tmp_path / "manage.py"
        manage.write_text(
            "from django.core.management import execute_from_command_line as run\n"
            "import sys\n"
            "run(sys.argv)\n"
        )

        def complete(*words):
            words = [sys.executable, str(manage), *words]
            script = (
                f"source {shlex.quote(str(COMPLETION))}\n"
                'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))\n'
                "_tenant_backup_complete\n"
                "printf '%s\\n' \"${COMPREPLY[@]}\"\n"
            )
            done = subprocess.run(
                ["bash", "-euc", script, "bash", *words],
                env=host.environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert (done.returncode, done.stderr) == (0, "")
            return done.stdout.split()

        return complete

    def test_tenants_backups_commands_and_options(self, complete):
        assert complete("runbackup", "acm") == ["acme", "acme2"]
        assert complete("checkbackups", "acme", "g") == ["globex"]
        assert complete("restorebackup", "acme", "") == ["1"]
        assert complete("comparebackups", "acme", "1", "") == ["1"]
        assert complete("comparebackups", "acm") == ["acme", "acme2"]
        assert complete("listb") == ["listbackups"]
        assert complete("listbackups", "--fai") == ["--failed"]
        assert complete("automatebackups", "p") == ["pause"]

    def test_an_id_is_never_run_by_the_shell(self, host, complete, tmp_path):
        host.add_tenant("x$(touch oops)")
        host.add_tenant("x`touch oops`")
        done = complete("runbackup", "x")
        assert "".join(done).count("\\$") == 1
        assert not list(tmp_path.rglob("oops"))
        assert not (REPOSITORY / "oops").exists()

    def test_the_completion_that_somebody_has_of_python_stays(self):
        script = (
            "complete -F _mine python; complete -F _mine python3\n"
            f"source {shlex.quote(str(COMPLETION))}\n"
            "complete -p python python3 ./manage.py manage.py"
        )
        done = subprocess.run(
            ["bash", "-euc", script], capture_output=True, text=True, timeout=60, check=True
        )
        ours = "complete -o default -F _tenant_backup_complete"
        assert done.stdout.splitlines() == [
            "complete -F _mine python",
            "complete -F _mine python3",
            f"{ours} ./manage.py",
            f"{ours} manage.py",
        ]

    def test_other_programs_of_python_are_left_alone(self, complete):
        assert complete("anything.py") == []
