"""Which processes use a database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tenant_backup.exceptions import DatabaseInUse
from tenant_backup.sqlite.beside import companions
from tenant_backup.texts import Text

COMMAND_LENGTH = 80
"""How many characters of a command line are shown."""


@dataclass(frozen=True, slots=True)
class User:
    """A process that has a database open. `name` is its command line, shortened."""

    pid: int
    name: str


def users_of(database: Path) -> list[User]:
    """The other processes that have the database open, as far as the system shows them.

    An empty list proves nothing. It works on Linux only, shows our own processes only, or those of
    everybody to root, and never those in another container. It helps to find what to stop.
    """
    wanted = set()
    for path in (database, *companions(database)):
        with suppress(OSError):
            facts = path.stat()
            wanted.add((facts.st_dev, facts.st_ino))
    users = []
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        if int(process.name) != os.getpid() and not wanted.isdisjoint(_open_files(process)):
            users.append(User(int(process.name), _command_line(process)))
    return users


def in_use(database: Path, users: list[User]) -> DatabaseInUse:
    """The error to raise for a database that is in use."""
    if not users:
        return DatabaseInUse(
            "The database %(database)s is in use, so nothing was changed. Stop everything that "
            "uses it (the web server, the cluster, cron jobs, open shells), then try again.",
            database=database,
        )
    names = [
        str(Text("process %(pid)d (%(name)s)", pid=user.pid, name=user.name)) for user in users
    ]
    return DatabaseInUse(
        "The database %(database)s is in use, so nothing was changed. It is open in %(users)s. "
        "Stop everything that uses it (the web server, the cluster, cron jobs, open shells), then "
        "try again.",
        database=database,
        users=", ".join(names),
    )


def _open_files(process: Path) -> Iterator[tuple[int, int]]:
    """Device and inode of each file that a process has open, as far as we may see them."""
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                facts = descriptor.stat()
                yield facts.st_dev, facts.st_ino


def _command_line(process: Path) -> str:
    """The process's command line without the program's folder, printable and one line long."""
    with suppress(OSError):
        program, *arguments = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        words = [program.rpartition(b"/")[2] or program, *arguments]
        line = b" ".join(words).decode(errors="replace")
        if not line.strip():  # The process is about to end.
            line = (process / "comm").read_text(errors="replace").strip()
        line = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line)
        return line if len(line) <= COMMAND_LENGTH else f"{line[: COMMAND_LENGTH - 1]}…"
    return ""
