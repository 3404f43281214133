"""Damage: files of backups, their checksums, the folder's index and the live database are damaged.

Whatever was done to one file: no command ends in a traceback, no damaged backup is restored or
counted as the newest that is kept while sound ones go, and no sound backup is lost by it.
"""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
from collections import Counter
from contextlib import closing

from tenant_backup.models import Trigger
from tests.torture.host import (
    Forked,
    Site,
    add_rows,
    set_policy,
    state_of,
    state_of_backup,
)

FULL, SHORT = 240, 12

PAGE = 4096


# What is done to a file


def truncated(file, random):
    os.truncate(file, random.randrange(1, file.stat().st_size))


def beheaded(file, random):
    os.truncate(file, random.randrange(1, 100))


def emptied(file, random):
    os.truncate(file, 0)


def one_bit(file, random):
    content = bytearray(file.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    file.write_bytes(content)


def one_bit_in_the_header(file, random):
    content = bytearray(file.read_bytes())
    content[random.randrange(100)] ^= 1 << random.randrange(8)
    file.write_bytes(content)


def zeroed_page(file, random):
    _overwrite(file, random.randrange(file.stat().st_size // PAGE) * PAGE, bytes(PAGE))


def overwritten_page(file, random):
    _overwrite(file, random.randrange(file.stat().st_size // PAGE) * PAGE, random.randbytes(PAGE))


def overwritten_header(file, random):
    _overwrite(file, 0, random.randbytes(random.choice([16, 100, PAGE])))


def random_bytes(file, random):
    file.write_bytes(random.randbytes(random.choice([1, 50, 5000, 100_000])))


def text(file, random):
    file.write_text("SQLite format 3" + "\0 no database\n" * 100)


def longer(file, random):
    with file.open("ab") as stream:
        stream.write(random.randbytes(random.choice([1, PAGE, 10 * PAGE])))


def folder(file, random):
    file.unlink()
    file.mkdir()
    (file / "something").write_text("of somebody")


def dangling_link(file, random):
    file.unlink()
    file.symlink_to("nowhere")


def link_to_a_secret(file, random):
    secret = file.parents[3] / "secret"
    secret.write_text("the operator's own")
    file.unlink()
    file.symlink_to(secret)


def link_to_itself(file, random):
    file.unlink()
    file.symlink_to(file.name)


def pipe(file, random):
    file.unlink()
    os.mkfifo(file)


def another_database(file, random):
    other = file.parents[3] / "other.sqlite3"
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE credits (id INTEGER PRIMARY KEY, amount, body)")
    shutil.copyfile(other, file)


def gone(file, random):
    file.unlink()


DAMAGES = {
    function.__name__: function
    for function in (
        truncated,
        beheaded,
        emptied,
        one_bit,
        one_bit_in_the_header,
        zeroed_page,
        overwritten_page,
        overwritten_header,
        random_bytes,
        text,
        longer,
        folder,
        dangling_link,
        link_to_a_secret,
        link_to_itself,
        pipe,
        another_database,
        gone,
    )
}
KEEPS_ITS_SIZE = {
    "one_bit",
    "one_bit_in_the_header",
    "zeroed_page",
    "overwritten_page",
    "overwritten_header",
}
"""Nobody notices these by looking at the size."""


def _overwrite(file, at, content):
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(content)


# What somebody who can reach the folder writes into its index


def hostile_index(site, random):
    """Anything but what we wrote; some of it looks nearly right."""
    entries = [
        {
            "file": row["file_name"],
            "size": row["size"],
            "sha256": row["sha256"],
            "created_at": "2020-01-01T00:00:00+00:00",
            "trigger": "automatic",
            "label": "\x1b[31m<script>" * 9,
            "pinned": False,
            "hold": None,
        }
        for row in site.catalog()
    ]
    whole = {
        "version": 1,
        "tenant": "acme",
        "revision": 10**6,
        "is_whole": True,
        "backups": entries,
    }
    strange = [None, True, -1, 1e308, 10**400, "", "../../etc/passwd", [], {}, "\ud800", [[]] * 50]
    elsewhere = ["../db.sqlite3", "/etc/passwd", "a\0b", ".lock", "index.json", "x" * 5000]

    def with_backups(changed):
        return json.dumps(whole | {"backups": changed}).encode()

    kinds = {
        "rubbish": lambda: random.randbytes(3000),
        "empty": lambda: b"",
        "no object": lambda: json.dumps(random.choice(strange)).encode(),
        "cut short": lambda: json.dumps(whole).encode()[: random.randrange(1, 400)],
        "too nested": lambda: b"[" * 200_000,
        "nested object": lambda: b'{"tenant":' * 50_000,
        "huge": lambda: json.dumps(whole | {"more": "x" * (9 << 20)}).encode(),
        "huge number": lambda: b'{"tenant": "acme", "revision": ' + b"9" * 100_000 + b"}",
        "twice": lambda: json.dumps(whole).encode() * 2,
        "not UTF-8": lambda: json.dumps(whole).encode("utf-16"),
        "foreign tenant": lambda: json.dumps(whole | {"tenant": "globex"}).encode(),
        "of another tenant's files": lambda: with_backups(
            [
                entries[0]
                | {name: row[column] for name, column in (("file", "file_name"), ("size", "size"))}
                | {"sha256": row["sha256"]}
                for row in site.catalog("globex")
            ]
        ),
        "nothing there": lambda: with_backups([]),
        "all unpinned": lambda: json.dumps(whole).encode(),
        "wrong checksums": lambda: with_backups([one | {"sha256": "0" * 64} for one in entries]),
        "wrong sizes": lambda: with_backups([one | {"size": 1} for one in entries]),
        "of the future": lambda: with_backups(
            [one | {"created_at": "2999-01-01T00:00:00+00:00"} for one in entries]
        ),
        "strange values": lambda: with_backups(
            [one | {random.choice(list(one)): random.choice(strange)} for one in entries]
        ),
        "strange entries": lambda: with_backups(strange),
        "strange revision": lambda: json.dumps(
            whole | {"revision": random.choice([*strange, 2**63 - 1])}
        ).encode(),
        "names elsewhere": lambda: with_backups(
            [entries[0] | {"file": name} for name in elsewhere]
        ),
        "one twice": lambda: with_backups([*entries, entries[0]]),
    }
    index = site.backups() / "index.json"
    kind = random.choice([*kinds, *(name for name in DAMAGES if name in NO_FILES)])
    if kind in NO_FILES:
        index.write_text("{}")
        DAMAGES[kind](index, random)
    else:
        index.unlink(missing_ok=True)
        index.write_bytes(kinds[kind]())
    return kind


NO_FILES = {"folder", "dangling_link", "link_to_a_secret", "link_to_itself", "pipe"}


# The trials

CHECKSUMS = ["gone", "emptied", "rubbish", "another's", "folder", "pipe", "link_to_a_secret"]
LIVE = [name for name in DAMAGES if name not in {"gone", "another_database", *NO_FILES}]
LOGS = ["emptied", "overwritten_header", "random_bytes", "text", "beheaded"]

NAMES = [
    *(f"backup {name}" for name in DAMAGES),
    *(f"checksum {name}" for name in CHECKSUMS),
    *["index"] * 20,
    *(f"live {name}" for name in LIVE),
    *(f"log {name}" for name in LOGS),
]


def plan(*, short):
    number = SHORT if short else FULL
    step = 3 if short else 1
    return [NAMES[index * step % len(NAMES)] for index in range(number)]


def prepare(folder, *, short):
    """A tenant with five backups of different days, each with rows of its own."""
    site = Site(folder / "template").set_up()
    site.add_tenant("globex", rows=5)
    site.make_backup("globex", days_ago=3)
    site.add_tenant("acme", rows=100, body=400)
    site.make_backup(days_ago=9, pinned=True)
    for days in (6, 5, 4, 3):
        site.make_backup(days_ago=days, trigger=Trigger.AUTOMATIC)
    add_rows(site.database(), 1)
    return site


def trial(name, random, folder, template):
    site = template.copy_to(folder / "host")
    kind, _, what = name.partition(" ")
    secret = folder / "host" / "secret"
    TRIALS[kind](site, what, random)
    if secret.exists():
        assert secret.read_text() == "the operator's own"
    return Counter()


LOOKS = [
    ["listbackups"],
    ["listbackups", "acme", "--contents"],
    ["checkbackups"],
    ["runbackup", "--dry-run"],
    ["prunebackups", "--dry-run"],
]
WORK = [
    ["verifybackups"],
    ["syncbackups"],
    ["prunebackups"],
    ["runbackup", "acme"],
    ["restorebackup", "acme", "--latest", "--no-input"],
]


class Sound:
    """The backups as they were made, and the check that the sound ones are kept as promised."""

    def __init__(self, site):
        self.site = site
        self.order = [row["file_name"] for row in site.catalog() if not row["pinned"]]
        self.pinned = {row["file_name"] for row in site.catalog() if row["pinned"]}
        self.digests = {name: self.digest(name) for name in [*self.order, *self.pinned]}
        self.states = {
            name: state_of_backup(site.backups() / name) for name in [*self.order, *self.pinned]
        }
        self.live = state_of(site.database())
        self.damaged = set()
        self.is_by_size = False

    def digest(self, name):
        file = self.site.backups() / name
        if file.is_symlink() or not file.is_file():
            return None
        return hashlib.sha256(file.read_bytes()).hexdigest()

    def damage(self, name, what, random):
        DAMAGES[what](self.site.backups() / name, random)
        self.damaged = {name}
        self.is_by_size = what not in KEEPS_ITS_SIZE

    def sound_ones(self):
        """The automatic ones that are sound, newest first, and are still to be there."""
        return [name for name in reversed(self.order) if name not in self.damaged]

    def assert_kept(self, keep_last):
        """The newest sound backup is there, and all that retention keeps where it can know."""
        names = self.sound_ones()
        new = self.site.files() - set(self.digests)
        known = keep_last if self.is_by_size or not self.damaged else 1
        must_be_there = names[: max(0, known - len(new))]
        if not new:
            must_be_there = names[: max(1, known)]
        for name in {*must_be_there, *self.pinned} - self.damaged:
            assert self.digest(name) == self.digests[name], f"{name} was sound, and is lost."
        for name in new:
            # What was made since is sound, too.
            state_of_backup(self.site.backups() / name)

    def assert_restored_soundly(self, done, before):
        now = state_of(self.site.database())
        if done.returncode == 0:
            sound = {self.states[name] for name in self.states if name not in self.damaged}
            sound |= {
                state_of_backup(self.site.backups() / name)
                for name in self.site.files() - set(self.digests)
            }
            assert now in sound, f"What was restored is no sound backup: {done}"
        else:
            assert now == before, f"It was refused, and yet something changed: {done}"


def backup_damaged(site, what, random):
    """One backup is damaged, the newest as often as not; some commands in any order."""
    sound = Sound(site)
    name = random.choice([sound.order[-1], random.choice(sound.order)])
    sound.damage(name, what, random)
    keep_last = random.choice([1, 1, 2, 3])
    site.call(lambda: set_policy(keep_last=keep_last))
    number = site.query("SELECT id FROM tenant_backup_backup WHERE file_name = ?", name)[0]["id"]
    # What is damaged is not restored, by whatever name.
    for by in (number, name):
        before = state_of(site.database())
        done = site.run("restorebackup", "acme", by, "--no-input")
        assert done.returncode, f"A damaged backup was restored: {done}"
        assert state_of(site.database()) == before
        if by == number and random.random() < 0.5:
            # As if nobody had looked at it yet.
            site.query("UPDATE tenant_backup_backup SET damaged_at = NULL, missing_at = NULL")
            break
    commands(site, sound, keep_last, random)


def checksum_damaged(site, what, random):
    """The checksum file alone is damaged: the backup is sound, and the catalog knows it."""
    sound = Sound(site)
    name = random.choice(sound.order)
    file = site.backups() / f"{name}.sha256"
    if what == "rubbish":
        file.write_bytes(random.randbytes(80))
    elif what == "another's":
        other = random.choice([other for other in sound.order if other != name])
        shutil.copyfile(site.backups() / f"{other}.sha256", file)
    else:
        DAMAGES[what](file, random)
    keep_last = random.choice([1, 2, 5])
    site.call(lambda: set_policy(keep_last=keep_last))
    commands(site, sound, keep_last, random)


def index_damaged(site, what, random):
    """The folder's index is hostile: it takes no protection away, and no rows."""
    sound = Sound(site)
    kind = hostile_index(site, random)
    keep_last = random.choice([1, 2, 5])
    site.call(lambda: set_policy(keep_last=keep_last))
    try:
        commands(site, sound, keep_last, random)
        for row in site.catalog("globex"):
            assert row["file_name"] not in sound.digests, "A backup has changed hands."
        pins = [row for row in site.catalog() if row["pinned"]]
        assert {row["file_name"] for row in pins} >= sound.pinned, "A pin is lost."
    except AssertionError as error:
        raise AssertionError(f"index {kind}: {error}") from error


def commands(site, sound, keep_last, random):
    """Some commands in any order, each followed by a look at what is kept."""
    for command in random.sample(LOOKS, 2) + random.sample(WORK, 3) + [["prunebackups"]]:
        before = state_of(site.database())
        done = site.run(*command)
        if command[0] == "restorebackup":
            sound.assert_restored_soundly(done, before)
        else:
            assert state_of(site.database()) == before, f"{done.command} changed the database."
        sound.assert_kept(keep_last)


def live_damaged(site, what, random):
    """The tenant's own database is damaged; the backups are what saves it."""
    sound = Sound(site)
    site.call(lambda: set_policy(keep_last=1))
    DAMAGES[what](site.database(), random)
    for command in [*random.sample(LOOKS, 2), ["runbackup", "acme"]]:
        before = site.files()
        done = site.run(*command)
        if done.returncode:
            assert site.files() == before, f"A backup failed, and others went: {done}"
        sound.assert_kept(1)
    name = random.choice(sound.sound_ones()[:1])
    number = site.query("SELECT id FROM tenant_backup_backup WHERE file_name = ?", name)
    if number and (site.backups() / name).exists():
        site.succeed("restorebackup", "acme", number[0]["id"], "--no-input")
        assert state_of(site.database()) == sound.states[name]
    site.succeed("runbackup", "acme")


def log_left(site, what, random):
    """A process was killed with committed rows in the log; then the main file is damaged.

    Nothing may open it such that SQLite throws the log away. A restore puts it aside.
    """
    sound = Sound(site)
    database = site.database()
    log = database.with_name(f"{database.name}-wal")

    def write_and_die():
        connection = sqlite3.connect(database, isolation_level=None)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        for _ in range(random.randint(1, 20)):
            connection.execute("INSERT INTO credits (amount) VALUES (0)")
        os.kill(os.getpid(), signal.SIGKILL)

    Forked(write_and_die, site.logs).wait()
    content = log.read_bytes()
    assert content
    DAMAGES[what](database, random)
    number = site.query("SELECT id FROM tenant_backup_backup WHERE file_name = ?", sound.order[-1])[
        0
    ]["id"]
    unharmful = [
        *LOOKS,
        ["runbackup", "acme"],
        ["restorebackup", "acme", number],  # nobody answers its question
    ]
    for command in random.sample(unharmful, len(unharmful)):
        done = site.run(*command)
        assert log.exists(), f"{done.command} has destroyed the log."
        assert log.read_bytes() == content, f"{done.command} has changed the log."
    site.succeed("restorebackup", "acme", number, "--no-input")
    assert state_of(database) == sound.states[sound.order[-1]]
    logs = [path for path in site.root().rglob("*-wal") if path.read_bytes() == content]
    assert logs, "The restore has destroyed the log, and did not put it aside."
    site.succeed("runbackup", "acme")


TRIALS = {
    "backup": backup_damaged,
    "checksum": checksum_damaged,
    "index": index_damaged,
    "live": live_damaged,
    "log": log_left,
}
