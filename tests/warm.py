"""Runs management commands in processes that need not import Django first.

A process of Django's takes half a second to begin, more than most commands take. Here one process
imports everything and forks for each command; the fork then reads the settings of its host. Where
more than these settings differs, a new process begins, and always with `TEST_FRESH=1`.
"""

import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import django
from django.conf import Settings, settings
from django.core import management
from django.db import connections
from django.urls import get_resolver

REPOSITORY = Path(__file__).resolve().parent.parent
# What a fork can read anew: the variables of `tests.settings` and `tests.host_settings`.
OURS = {
    *("TEST_HOST", "TEST_PROVIDER", "TEST_BUSY_TIMEOUT", "TEST_JOURNAL_MODE", "TEST_SETTINGS"),
    *("TEST_CONTROL", "TEST_CONTROL_NAME", "TEST_CONTROL_TIMEOUT", "COLUMNS"),
}


class Runner:
    """Starts the process that forks, and asks it for commands."""

    def __init__(self, environment):
        self.environment = environment
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def can_run(self, environment):
        return (
            "TEST_FRESH" not in environment
            and constant(environment) == constant(self.environment)
            and json.loads(environment.get("TEST_SETTINGS", "{}")).keys() <= {"TENANT_BACKUP"}
            and os.geteuid() == os.getuid()
        )

    def run(self, arguments, environment, text="", timeout=120):
        """Run a command to its end, as `subprocess.run` would."""
        request = {
            "arguments": arguments,
            "environment": environment,
            "directory": str(Path.cwd()),
        }
        with (
            tempfile.TemporaryFile("w+") as stdin,
            tempfile.TemporaryFile("w+") as stdout,
            tempfile.TemporaryFile("w+") as stderr,
        ):
            stdin.write(text)
            stdin.seek(0)
            files = [file.fileno() for file in (stdin, stdout, stderr)]
            self.socket.settimeout(timeout)
            socket.send_fds(self.socket, [json.dumps(request).encode()], files)
            pid = int(self.socket.recv(100))
            try:
                status = int(self.socket.recv(100))
            except TimeoutError:
                os.kill(pid, 9)
                self.socket.recv(100)
                raise subprocess.TimeoutExpired(arguments, timeout) from None
            stdout.seek(0)
            stderr.seek(0)
            return subprocess.CompletedProcess(
                arguments, os.waitstatus_to_exitcode(status), stdout.read(), stderr.read()
            )

    def end(self):
        self.socket.close()
        self.process.wait(timeout=30)


def constant(environment):
    """What must be the same in all forks."""
    return {
        name: value
        for name, value in environment.items()
        if name not in OURS and not name.startswith("PYTEST_")
    }


def serve(descriptor):
    """Fork for each request; only the fork returns, with its request, or None at the end."""
    with socket.socket(fileno=descriptor) as server:
        while True:
            message, files, _, _ = socket.recv_fds(server, 2**18, 3)
            if not message:
                return None
            child = os.fork()
            if child == 0:
                for number, file in enumerate(files):
                    os.dup2(file, number)
            for file in files:
                os.close(file)
            if child == 0:
                return json.loads(message)
            server.send(str(child).encode())
            _, status = os.waitpid(child, 0)
            server.send(str(status).encode())


def become(environment, directory):
    """Read the settings of a host."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    for name in ("tests.settings", "tests.host_settings"):
        importlib.reload(importlib.import_module(name))
    settings._wrapped = Settings("tests.host_settings")
    for alias in list(connections):
        with suppress(AttributeError):  # it has none yet
            del connections[alias]
    connections._settings = None
    connections.__dict__.pop("settings", None)


def main():
    django.setup()
    get_resolver().url_patterns  # noqa: B018 - it imports every view
    for name, app in management.get_commands().items():
        if app == "tenant_backup":
            management.load_command_class(app, name)
    request = serve(int(sys.argv[1]))
    if request:
        become(request["environment"], request["directory"])
        # As of `python -m django`.
        sys.argv = [str(Path(django.__file__).with_name("__main__.py")), *request["arguments"]]
        management.execute_from_command_line()


if __name__ == "__main__":
    main()
