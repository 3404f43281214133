"""The emergency as it is documented: the page's commands are the ones that are tested."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

from tenant_backup.restore import manual
from tests import emergency
from tests.conftest import REPOSITORY

PAGE = emergency.Emergency.page.read_text()


def test_the_commands_by_hand_are_those_that_the_page_shows_of_each_backup():
    [documented] = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    database, backup, sha256 = (
        re.search(rf"^{name}=(.*)$", documented, re.MULTILINE)[1]
        for name in ("database", "backup", "sha256")
    )
    assert documented == manual.commands(Path(database), Path(backup), sha256, tenant_id="acme")


@pytest.mark.parametrize("path", ["/a b/it's", "/a\n/b", "/$(x)/`y`", '/"'])
def test_paths_are_quoted(path):
    text = manual.commands(
        Path(path) / "db.sqlite3", Path(path) / "b.sqlite3", "0" * 64, tenant_id="acme"
    )
    assert f"database={shlex.quote(f'{path}/db.sqlite3')}\n" in text
    assert f"backup={shlex.quote(f'{path}/b.sqlite3')}\n" in text


def test_it_says_that_passwords_and_sessions_come_back():
    assert "**Passwords and sessions come back, too.**" in PAGE


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        (
            emergency.Emergency,
            {"listbackups", "comparebackups", "restorerows", "restorebackup", "syncbackups"},
        ),
        (emergency.RowsLost, {"listbackups", "comparebackups", "restorerows"}),
    ],
)
def test_the_commands_print_what_the_page_shows(tmp_path, story, expected):
    """`python -m tests.emergency` renews what it shows."""
    shown = emergency.commands(story.page.read_text())
    assert {command.split()[0] for command, _ in shown} == expected
    told = story(tmp_path)
    for command, output in shown:
        assert emergency.of_no_day(told.run(command)) == emergency.of_no_day(output), command


def section(title):
    return re.search(rf"^##+ {title}$(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)[1]


def sentences():
    """Every text in the code, with an ellipsis for each value in it."""
    for path in (REPOSITORY / "tenant_backup").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub(r"%\(\w+\)[a-z]", "…", node.value)


def test_what_it_says_that_restorebackup_says_is_what_it_says():
    said = "\n".join(sentences())
    rows = re.findall(r"^\| (`.+?) \| ", section("When it says no"), re.MULTILINE)
    quoted = [text for row in rows for text in re.findall("`([^`]+)`", row)]
    assert len(quoted) >= 15
    for text in quoted:
        for part in text.strip("… ").split("…"):
            assert part.strip() in said, text


def test_its_links_lead_to_its_sections():
    targets = set(re.findall(r"\]\(#([^)]+)\)", PAGE))
    titles = re.findall(r"^##+ (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert targets <= anchors


def test_each_symptom_leads_somewhere():
    rows = re.findall(
        r"^\| (.+) \| (.+) \|$", section("What you see, and where to go"), re.MULTILINE
    )
    assert len(rows) >= 9
    for symptom, where in rows[2:]:
        assert "](#" in where, symptom


def test_it_is_in_the_wheel_and_a_server_prints_it_without_django(tmp_path):
    [wheel] = WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path), versions=["standard"])
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site-packages")
    # Without what is installed here, and in no checkout.
    line = [sys.executable, "-I", "-S", "-c", RUN, str(tmp_path / "site-packages")]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == PAGE


RUN = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
runpy.run_module("tenant_backup", run_name="__main__")
"""


def test_a_checkout_prints_it(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "ascii"}
    line = [sys.executable, "-m", "tenant_backup"]
    done = subprocess.run(
        line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == PAGE.encode("ascii", "replace").decode()
