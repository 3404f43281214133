"""Full disks: each operation on a disk on which there is this much room left, from none to enough.

Half of the trials look honestly how much that is. In the other half somebody else takes the room
after we looked: we are made to see more than there is. The catalog is on the same disk, or on
another one. Only root can mount such disks.
"""

import os
import re
import shutil
import traceback
from collections import Counter
from pathlib import Path

from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import OperationalError
from django.test import Client

from tenant_backup.models import Backup, Trigger
from tests.conftest import small_disk
from tests.torture.host import (
    Site,
    assert_in_line,
    assert_in_words,
    assert_intact,
    assert_only_true_copies,
    run_command,
    set_policy,
    state_of,
    state_of_backup,
)

KILOBYTE, MEGABYTE = 1024, 1024 * 1024

ROOMS = [0, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1536, 2048, 3072, 4096, 5120, 6144, 8192]
ROOMS = [room * KILOBYTE for room in ROOMS] + [
    megabytes * MEGABYTE for megabytes in (10, 12, 14, 16, 17, 18, 19, 20, 21, 22, 24, 32)
]
"""Bytes that are left. The margin that a backup leaves free is 16 MB."""

KEEP_LAST = 3

PAGE = "/settings/admin/backup"

SIZE = re.compile(r"\d[\d.,]* ?(?:bytes?|KB|MB|GB)")
FULL_DISK = re.compile(r"disk|space|full", re.IGNORECASE)


def pin():
    """A click on the page; says what came of it in one line."""
    client = Client(headers={"host": "acme.localhost"})
    client.cookies["sessionid"] = os.environ["TORTURE_SESSION"]
    try:
        backup = Backup.objects.good().filter(tenant_id="acme", pinned=False).newest_first()[0]
        answer = client.post(PAGE + "/pin", {"backup": str(backup.pk), "pinned": "yes"})
    except OperationalError as error:
        places = " ".join(frame.filename for frame in traceback.extract_tb(error.__traceback__))
        if "/tenant_backup/views/" in places and "/contrib/" not in places:
            raise
        # Not even the host's own session or user can be read.
        raise SystemExit(1) from error
    said = " ".join(map(str, get_messages(answer.wsgi_request)))
    assert answer.status_code == 302, answer.status_code
    backup.refresh_from_db()
    assert said, "It says nothing."
    if not backup.pinned:
        raise SystemExit(1)


OPERATIONS = {
    "runbackup": lambda: run_command("runbackup", "acme"),
    "restorebackup": lambda: run_command("restorebackup", "acme", "1", "--no-input"),
    "prunebackups": lambda: run_command("prunebackups", "acme"),
    "syncbackups": lambda: run_command("syncbackups", "acme"),
    "pin": pin,
}


def plan(*, short):
    names = [
        f"{operation} {catalog} {look} {room // KILOBYTE}"
        for room in ROOMS
        for operation in OPERATIONS
        for catalog in ("same", "elsewhere")
        for look in ("honest", "misled")
    ]
    return names[::23][:8] if short else names


def prepare(folder, *, short):
    with small_disk("1m"):
        pass  # or nothing can be tried here
    site = Site(folder / "template").set_up()
    site.add_tenant("acme", rows=300, body=2000)
    site.make_backup(days_ago=9, trigger=Trigger.MANUAL)
    site.make_backup(days_ago=8, pinned=True)
    for days in (7, 6, 5, 4):
        site.make_backup(days_ago=days, trigger=Trigger.AUTOMATIC)
    site.call(lambda: set_policy(keep_last=KEEP_LAST))
    session = folder / "session"

    def log_in():
        client = Client(headers={"host": "acme.localhost"})
        client.force_login(User.objects.create_superuser("olga"))
        session.write_text(client.cookies["sessionid"].value)

    site.call(log_in)
    os.environ["TORTURE_SESSION"] = session.read_text()
    return site


def trial(name, random, folder, template):
    operation, catalog, look, room = name.split()
    logs = folder / "logs"
    logs.mkdir()
    with small_disk("96m") as disk:
        if catalog == "same":
            site = template.copy_to(disk / "host", logs)
        else:
            site = template.copy_to(folder / "host", logs)
            shutil.move(site.tenants, disk / "tenants")
            site.tenants.symlink_to(disk / "tenants")
        if operation == "syncbackups":
            # A file that the catalog does not know.
            row = site.catalog()[2]
            site.query("DELETE FROM tenant_backup_backup WHERE id = ?", row["id"])
        before = site.catalog()
        old = state_of(site.database())
        [first] = site.query("SELECT file_name FROM tenant_backup_backup WHERE id = 1")
        new = state_of_backup(site.backups() / first["file_name"])
        fill(disk, int(room) * KILOBYTE)
        done = attempt(site, operation, misled=look == "misled")
        said = done.stdout + done.stderr
        assert_only_true_copies(site)
        assert_intact(site.database())
        now = state_of(site.database())
        if operation != "restorebackup":
            assert now == old, "The live database has changed."
        elif done.returncode == 0:
            assert now == new, "The backup is not back."
        else:
            is_in = "The backup is in the database" in said
            assert now == (new if is_in else old), f"It is not in the state that it says: {said}"
        if done.returncode:
            assert_acceptable(operation, said, disk, site, misled=look == "misled")
        elif operation == "runbackup":
            assert len(site.files() - {row["file_name"] for row in before}) == 1
        (disk / "filler").unlink()

        # With room again, all is as it should be.
        site.succeed("syncbackups", "acme")
        site.succeed("runbackup", "acme")
        assert_in_line(site, before, keep_last=KEEP_LAST)
        checked = site.run("checkbackups", "acme")
        assert checked.returncode == 0, f"An alarm stays: {checked}"
        return Counter([f"{operation} {'done' if not done.returncode else 'refused'}"])


def attempt(site, operation, *, misled):
    def work():
        if misled:
            usage = type(shutil.disk_usage("/"))
            shutil.disk_usage = lambda path: usage(10**13, 0, 10**12)
        OPERATIONS[operation]()

    done = site.start(work)
    assert done.wait(), f"{operation} hangs."
    done.command = operation
    if operation != "pin" or done.returncode == 0:
        assert_in_words(done)
    return done


def assert_acceptable(operation, said, disk, site, *, misled):
    """What it says is a sentence with a path, about the disk, and with a number where it looked."""
    if operation == "pin":
        assert "Traceback" not in said, said
        return
    places = {str(disk), str(site.folder)}
    lines = [line for line in said.splitlines() if any(place in line for place in places)]
    assert lines, f"No path is named: {said}"
    assert any(FULL_DISK.search(line) for line in lines), f"It does not say why: {said}"
    assert misled or any(SIZE.search(line) for line in lines), f"No number is named: {said}"


def fill(disk, room):
    """Leave this much room on the disk."""
    facts = os.statvfs(disk)
    block = b"\0" * MEGABYTE
    with Path(disk / "filler").open("wb", buffering=0) as stream:
        left = facts.f_bavail * facts.f_frsize - room
        while left > 0:
            left -= stream.write(block[: min(left, MEGABYTE)])
