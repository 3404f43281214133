"""Which processes use a database."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tenant_backup.exceptions import DatabaseInUse
from tenant_backup.sqlite.facts import companions
from tenant_backup.texts import Text

COMMAND_LENGTH = 80
"""How many characters of a command line are shown."""


@dataclass(frozen=True, slots=True)
class User:
    """A process that has a database open. `name` is its command line, shortened."""

    pid: int
    name: str


def users_of(database: Path) -> list[User]:
    """The other processes that have the database open, if the system shows them.

    An empty list proves nothing: this works on Linux only, and only root sees the processes of
    other users; nobody sees those in another container. It helps to find what to stop.
    """
    wanted = set(_identities((database, *companions(database))))
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
    """The files that a process has open, if we may see them."""
    with suppress(OSError):
        yield from _identities((process / "fd").iterdir())


def _identities(paths: Iterable[Path]) -> Iterator[tuple[int, int]]:
    """Device and inode of each of these files that we can reach."""
    for path in paths:
        with suppress(OSError):
            facts = path.stat()
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
