"""A PostgreSQL server of one's own, for as long as a command runs.

`python -m tests.postgres COMMAND...` runs the command with a server whose connection string is in
the environment, as `TEST_POSTGRES`. It lives in a temporary directory, is reached through a socket
there, and is gone afterwards. Where PostgreSQL is not installed the command runs without one.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import temporary

if TYPE_CHECKING:
    import psycopg

VARIABLE = "TEST_POSTGRES"
DEBIAN = Path("/usr/lib/postgresql")

ENDINGS = (signal.SIGTERM, signal.SIGHUP)
INITDB = ["--username=tests", "--auth=scram-sha-256", "--locale=C", "--encoding=UTF8", "-N"]
CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{directory}'
port = 5432
# Nothing here needs to outlive a crash of the machine.
fsync = off
synchronous_commit = off
full_page_writes = off
"""


def is_there() -> bool:
    """Whether there is a server for the tests."""
    return bool(os.environ.get(VARIABLE))


def connect(name: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
    """A connection of ours to one of the server's databases, in autocommit."""
    # Not above: the server itself is started with nothing but Python.
    import psycopg

    return psycopg.connect(os.environ[VARIABLE], dbname=name, autocommit=True)


def django_settings(name: str) -> dict[str, Any]:
    """What Django's `DATABASES` says of one of the server's databases."""
    from psycopg.conninfo import conninfo_to_dict

    server = conninfo_to_dict(os.environ[VARIABLE])
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "HOST": server.get("host", ""),
        "PORT": server.get("port", ""),
        "USER": server.get("user", ""),
        "PASSWORD": server.get("password", ""),
    }


def find_binaries() -> Path | None:
    """The directory of the server's programs: Debian keeps those off the path."""
    if on_path := shutil.which("pg_ctl"):
        return Path(on_path).resolve().parent
    versions = [path.parent for path in DEBIAN.glob("*/bin/pg_ctl")]
    return max(versions, key=lambda path: float(path.parent.name), default=None)


@contextmanager
def server(binaries: Path) -> Iterator[str]:
    """A new server, as its connection string."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        directory = Path(name)
        data, log = directory / "data", directory / "log"
        # PostgreSQL refuses to run as root.
        account = _account() if os.geteuid() == 0 else None
        if account:
            shutil.chown(directory, *account)
        # Whoever a test runs as may get at the socket, but only with the password.
        directory.chmod(0o711)
        password = secrets.token_hex()
        secret = directory / "password"
        secret.touch(0o600)
        secret.write_text(password)
        if account:
            shutil.chown(secret, *account)

        def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [binaries / program, "--pgdata", data, *arguments],
                cwd=directory,
                user=account and account[0],
                group=account and account[1],
                extra_groups=account and [],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )

        def require(done: subprocess.CompletedProcess[str]) -> None:
            if done.returncode:
                said = log.read_text() if log.exists() else ""
                sys.exit(f"PostgreSQL cannot be started. {done.stdout}{done.stderr}{said}")

        require(run("initdb", f"--pwfile={secret}", *INITDB))
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write(CONFIGURATION.format(directory=directory))
        try:
            require(run("pg_ctl", "start", "--wait", f"--log={log}"))
            yield f"host={directory} port=5432 user=tests password={password} dbname=postgres"
        finally:
            run("pg_ctl", "stop", "--wait", "--mode=immediate")


def _account() -> tuple[int, int]:
    """Whom the server runs as where we are root: user and group."""
    import pwd

    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    sys.exit("There is neither a user postgres nor nobody whom PostgreSQL could run as.")


def _run(command: list[str], environment: dict[str, str]) -> int:
    """Run the command to its end and return its exit status; it never outlives us."""
    with subprocess.Popen(command, env=environment) as process:
        try:
            status = process.wait()
        except BaseException:
            process.terminate()
            raise
    # As a shell says that a signal ended it.
    return status if status >= 0 else 128 - status


def _end(number: int, frame: object) -> None:
    # A second signal must not keep us from stopping the server.
    for each in ENDINGS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main(command: list[str]) -> int:
    if not command:
        sys.exit("Usage: python -m tests.postgres COMMAND...")
    for number in ENDINGS:
        # So that the server is stopped then, too.
        signal.signal(number, _end)
    # Ctrl-C is for the command, which gets it as well, and ends in its own way.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    temporary.use_memory()
    binaries = find_binaries()
    if binaries is None:
        print("PostgreSQL is not installed: what needs it is skipped.", file=sys.stderr)
        return _run(command, dict(os.environ))
    with server(binaries) as connection_string:
        return _run(command, os.environ | {VARIABLE: connection_string})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
