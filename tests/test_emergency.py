"""The emergency as it is documented: the page's commands are the ones that are tested."""

import re
import shlex
from pathlib import Path

import pytest

from tenant_backup.restore import manual
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "emergency.md").read_text()


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
