"""The restore by hand: what is printed is run as it stands, by a real shell."""

import os
import shlex
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tenant_backup import sqlite, texts
from tenant_backup.command_lines import command
from tenant_backup.management.commands.syncbackups import Command as SyncCommand
from tenant_backup.restore.manual import commands
from tests.conftest import (
    AS_ROOT,
    NOBODY,
    Process,
    assert_true_copy,
    count_rows,
    make_database,
)
from tests.test_sqlite_restore import kill_a_writer

FOLDERS = ["plain", 'it\'s a "folder"; $(touch gone) `touch gone`\n& more', "Größe 😀"]

# It commits a row that stays in the log, and waits to be killed.
WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA wal_autocheckpoint = 0")
with database:
    database.execute("INSERT INTO credits (amount) VALUES (0)")
print("written", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(params=FOLDERS, ids=["plain", "quotes", "unicode"])
def folder(request, tmp_path):
    folder = tmp_path / request.param
    folder.mkdir()
    return folder


def back_up(database, backup):
    with sqlite.snapshot(database, busy_timeout=30) as snapshot:
        backup.touch()
        with closing(sqlite.open_copy(backup)) as copy:
            snapshot.copy_to(copy)
    return sqlite.fingerprint(backup).sha256


def paste(text, cwd, **options):
    return subprocess.run(
        ["bash"],
        input=text,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def restore(database, backup, sha256):
    return paste(commands(database, backup, sha256, tenant_id="acme"), database.parent)


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_the_data_is_back_and_what_was_there_is_put_aside(folder, journal_mode):
    database = make_database(folder / "db.sqlite3", journal_mode=journal_mode)
    sha256 = back_up(database, folder / "backup.sqlite3")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM credits")
    result = restore(database, folder / "backup.sqlite3", sha256)
    assert result.returncode == 0, result.stderr
    assert count_rows(database) == 100
    assert_true_copy(database)
    [aside] = folder.glob("db.sqlite3-before-*")
    assert f"What was there before is in {aside}." in result.stdout
    assert count_rows(aside / "db.sqlite3") == 0
    assert {path.name for path in folder.iterdir()} == {"backup.sqlite3", "db.sqlite3", aside.name}
    # The application's next write succeeds.
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO credits (amount) VALUES (0)")


@pytest.mark.parametrize("tenant_id", ["acme", "it's; rm -rf", "-odd", "Größe"])
def test_it_ends_with_what_brings_the_catalog_in_line(tmp_path, tenant_id):
    database = make_database(tmp_path / "db.sqlite3")
    sha256 = back_up(database, tmp_path / "backup.sqlite3")
    text = commands(database, tmp_path / "backup.sqlite3", sha256, tenant_id=tenant_id)
    result = paste(text, tmp_path)
    said, command = result.stdout.splitlines()[-1].split(": ", 1)
    assert said == "Now run, in the folder of manage.py"
    words = shlex.split(command)
    assert words[:3] == ["python", "manage.py", "syncbackups"]
    parsed = SyncCommand().create_parser("manage.py", "syncbackups").parse_args(words[3:])
    assert parsed.tenants == [tenant_id]


def test_a_stale_log_of_a_killed_process_does_not_undo_it(folder):
    database = make_database(folder / "db.sqlite3")
    sha256 = back_up(database, folder / "backup.sqlite3")
    writer = Process(WRITER, database)
    writer.line()
    writer.end()
    assert (folder / "db.sqlite3-wal").stat().st_size > 0
    result = restore(database, folder / "backup.sqlite3", sha256)
    assert result.returncode == 0, result.stderr
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM credits").fetchone() == (100,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    # Nothing is lost: the old database, with what is in its log, can be put back.
    [aside] = folder.glob("db.sqlite3-before-*")
    with closing(sqlite3.connect(aside / "db.sqlite3")) as connection:
        assert connection.execute("SELECT count(*) FROM credits").fetchone() == (101,)


@pytest.mark.parametrize("damage", ["flipped", "cut short", "gone"])
def test_a_damaged_backup_is_refused_and_nothing_is_done(tmp_path, damage):
    database = make_database(tmp_path / "db.sqlite3", rows=1)
    backup = tmp_path / "backup.sqlite3"
    sha256 = back_up(database, backup)
    if damage == "flipped":
        content = bytearray(backup.read_bytes())
        content[5000] ^= 1
        backup.write_bytes(content)
    elif damage == "cut short":
        os.truncate(backup, 4096)
    else:
        backup.unlink()
    before = database.read_bytes()
    result = restore(database, backup, sha256)
    assert result.returncode != 0
    assert "backup.sqlite3" in result.stderr
    assert database.read_bytes() == before
    assert not list(tmp_path.glob("db.sqlite3?*"))


@pytest.mark.parametrize("start", [100, 4096, 20480])
def test_a_backup_that_was_damaged_from_the_start_is_refused(tmp_path, start):
    """Its checksum is right, yet it is no sound database: somebody made it by other means."""
    database = make_database(tmp_path / "db.sqlite3")
    backup = tmp_path / "backup.sqlite3"
    shutil.copy(database, backup)
    with backup.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\xff" * 3996)
    result = restore(database, backup, sqlite.fingerprint(backup).sha256)
    assert result.returncode != 0
    assert result.stderr.startswith(f"{database}.restored is ")
    assert result.stderr.endswith(": nothing was done.\n")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.glob("db.sqlite3?*"))
    assert_true_copy(database)


@pytest.mark.skipif(not AS_ROOT, reason="Only root can make files of others.")
def test_an_owner_that_cannot_be_kept_is_said_and_nothing_is_done(open_folder):
    database = make_database(open_folder / "db.sqlite3")
    sha256 = back_up(database, open_folder / "backup.sqlite3")
    result = paste(
        commands(database, open_folder / "backup.sqlite3", sha256, tenant_id="acme"),
        open_folder,
        user=NOBODY,
    )
    assert result.returncode != 0
    assert result.stderr == (
        f"The owner of {database} cannot be kept ([Errno 1] Operation not permitted: "
        f"'{database}.restored'): nothing was done. Try it as root.\n"
    )
    assert not list(open_folder.glob("db.sqlite3?*"))
    assert_true_copy(database)


def test_what_killed_processes_left_is_put_aside_with_the_database(tmp_path):
    """A journal that nobody played back would otherwise be played into the restored database."""
    database = make_database(tmp_path / "db.sqlite3", journal_mode="delete", rows=300)
    sha256 = back_up(database, tmp_path / "backup.sqlite3")
    kill_a_writer(database)
    for end in ("-wal", "-shm"):
        database.with_name(f"db.sqlite3{end}").write_bytes(b"old")
    old = {path.name: path.read_bytes() for path in tmp_path.glob("db.*")}
    assert set(old) == {"db.sqlite3", "db.sqlite3-wal", "db.sqlite3-shm", "db.sqlite3-journal"}
    result = restore(database, tmp_path / "backup.sqlite3", sha256)
    assert result.returncode == 0, result.stderr
    [aside] = tmp_path.glob("db.sqlite3-before-*")
    assert {path.name for path in tmp_path.iterdir()} == {
        "backup.sqlite3",
        "db.sqlite3",
        aside.name,
    }
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == old
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM credits").fetchone() == (300,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("needs", ["collation", "function"])
def test_what_only_the_project_can_check_is_left_to_the_checksum(tmp_path, needs):
    database, backup = tmp_path / "db.sqlite3", tmp_path / "backup.sqlite3"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.create_function("MD5", 1, lambda text: "x", deterministic=True)
        connection.create_collation("german", lambda a, b: (a > b) - (a < b))
        connection.execute("CREATE TABLE t (n TEXT COLLATE german)")
        index = "n" if needs == "collation" else "md5(n)"
        connection.execute(f"CREATE INDEX i ON t ({index})")
        connection.execute("INSERT INTO t VALUES ('a')")
    sha256 = back_up(database, backup)
    result = restore(database, backup, sha256)
    assert result.returncode == 0, result.stderr
    assert "Only the checksum was checked" in result.stdout
    assert sqlite.fingerprint(database).sha256 == sha256


@pytest.mark.parametrize("is_there", [True, False])
def test_owner_and_mode_stay(tmp_path, is_there):
    database = make_database(tmp_path / "db.sqlite3")
    sha256 = back_up(database, tmp_path / "backup.sqlite3")
    owner = NOBODY if AS_ROOT else os.geteuid()
    os.chown(database, owner, -1)
    os.chown(tmp_path, owner, -1)
    database.chmod(0o640)
    if not is_there:
        database.unlink()
    result = restore(database, tmp_path / "backup.sqlite3", sha256)
    assert result.returncode == 0, result.stderr
    assert database.stat().st_uid == owner
    assert database.stat().st_mode & 0o777 == (0o640 if is_there else 0o600)


def test_a_shell_in_which_it_is_pasted_lives_on_when_it_fails(tmp_path):
    text = commands(tmp_path / "db.sqlite3", tmp_path / "none.sqlite3", "0" * 64, tenant_id="acme")
    result = paste(f"{text}echo still here\n", Path(tmp_path))
    assert result.stdout == "still here\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["acme", "7"], "acme 7"),
        (["-acme", "7"], "-- -acme 7"),
        (["--all"], "-- --all"),
        (["a b", "-7"], "-- 'a b' -7"),
        (["-a b"], "-- '-a b'"),
    ],
)
def test_arguments_of_a_command_are_never_taken_for_options(words, expected):
    assert command("restorebackup", *words) == f"python manage.py restorebackup {expected}"


def test_the_comments_are_in_the_language_of_the_page(tmp_path, monkeypatch):
    """Long or with line breaks, they stay comments; without them the commands are the same."""
    paths = (tmp_path / "db.sqlite3", tmp_path / "backup.sqlite3", "0" * 64)
    english = commands(*paths, tenant_id="acme")
    monkeypatch.setattr(texts, "gettext", lambda text: f"Deutsch: {text}\nrm -rf / {'x' * 200}")
    german = commands(*paths, tenant_id="acme")
    assert english.count("# Deutsch: ") == 0
    assert german.count("# Deutsch: ") == 6

    def without_comments(script):
        return [line for line in script.splitlines() if not line.startswith("#")]

    assert without_comments(german) == without_comments(english)
