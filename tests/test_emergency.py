"""The commands of docs/emergency.md, run by a shell as they stand there."""

import os
import re
import shlex
import sqlite3
import subprocess
from contextlib import closing

import pytest

from tests.conftest import REPOSITORY, Process, count_rows

# Leaves a log with rows that were never checkpointed: the accident that waits for a restore.
KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.executemany("INSERT INTO credits (amount) VALUES (?)", [(0,)] * 500)
os.kill(os.getpid(), signal.SIGKILL)
"""


def restore(root, backup):
    """Run the documented commands, with this tenant's paths in their first lines."""
    text = (REPOSITORY / "docs" / "emergency.md").read_text()
    script = re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1]
    for name, value in {
        "root": root,
        "database": "db.sqlite3",
        "backups": root / "backups",
        "backup": backup,
    }.items():
        line = f"{name}={shlex.quote(str(value))}"
        script = re.sub(rf"^{name}='.*'$", lambda _, line=line: line, script, flags=re.MULTILINE)
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True)


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
@pytest.mark.parametrize("name", ["acme", 'it\'s a "tenant" & $more'])
def test_the_backup_is_back_whatever_lies_beside_the_database(host, name, journal_mode):
    root = host.add_tenant(name, journal_mode=journal_mode)
    database = root / "db.sqlite3"
    database.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(database, 65534, 65534)
    assert host.run("runbackup").returncode == 0
    killed = Process(KILLED, database)
    killed.wait()
    killed.end()
    assert (root / "db.sqlite3-wal").exists() is (journal_mode == "wal")

    done = restore(root, host.catalog()[0]["file"])
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM credits").fetchone() == (100,)
        with connection:
            connection.execute("INSERT INTO credits (amount) VALUES (0)")
    assert database.stat().st_mode & 0o777 == 0o640
    if os.geteuid() == 0:
        assert database.stat().st_uid == 65534
    # And it can be undone.
    [aside] = root.glob("before-restore-*")
    with closing(sqlite3.connect(aside / "db.sqlite3")) as connection:
        assert connection.execute("SELECT count(*) FROM credits").fetchone() == (600,)


def test_a_damaged_backup_is_refused_and_nothing_is_touched(host):
    root = host.add_tenant()
    host.run("runbackup")
    backup = root / "backups" / host.catalog()[0]["file"]
    with backup.open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"damage")
    before = (root / "db.sqlite3").stat()
    assert restore(root, backup.name).returncode != 0
    assert (root / "db.sqlite3").stat() == before
    assert count_rows(root / "db.sqlite3") == 100
    assert not list(root.glob("before-restore-*"))
