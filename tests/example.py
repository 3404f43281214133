"""The example project as a real host: its commands and its server in processes of their own."""

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parent.parent


@dataclass
class Project:
    """The example project with a data directory of its own."""

    data: Path

    @property
    def environment(self) -> dict[str, str]:
        ours = {
            "EXAMPLE_DATA": str(self.data),
            "DJANGO_SETTINGS_MODULE": "tests.example_settings",
        }
        return os.environ | ours | {"PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"}

    def python(self, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=TOP,
            env=self.environment,
            capture_output=True,
            text=True,
            input=answer,
            timeout=60,
            check=False,
        )

    def manage(self, *arguments: str) -> str:
        """Run a command that must succeed, and return what it printed."""
        done = self.python("manage.py", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def asking(self, *arguments: str) -> Iterator[Callable[[str], str]]:
        """While a command asks a question. An answer lets it go on; what it said is returned."""
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=TOP,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = b""

        def answer(text: str) -> str:
            rest, _ = process.communicate(f"{text}\n".encode(), timeout=60)
            printed = (said + rest).decode()
            assert process.returncode == 0, printed
            return printed

        with process:
            try:
                assert process.stdout is not None
                # A question is what ends without the end of a line.
                while not said.endswith(b": "):
                    piece = process.stdout.read(1)
                    assert piece, f"it ended without a question: {said.decode()}"
                    said += piece
                yield answer
            finally:
                process.kill()

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        self.data.mkdir(parents=True, exist_ok=True)
        # A file, for a server that logs every request stops when a pipe that nobody reads is full.
        with self.log.open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=TOP,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        with process:
            try:
                yield process
            finally:
                process.kill()

    @property
    def log(self) -> Path:
        """What a command that was `running` has said."""
        return self.data / "output.log"

    def database(self, tenant: str) -> Path:
        return self.data / "tenants" / tenant / "db.sqlite3"

    def rows(self, tenant: str, table: str) -> list[Any]:
        # By name, so that a database that is not there is an error, not made anew.
        with closing(
            sqlite3.connect(f"file:{self.database(tenant)}?mode=rw", uri=True)
        ) as database:
            return database.execute(f"SELECT * FROM business_{table} ORDER BY id").fetchall()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_served(port: int, server: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server has ended"
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("the server does not answer")
