"""Starts processes that need not import Django first.

A process of Django's takes half a second to begin, more than most commands take. Here one process
imports everything and forks for each that is wanted; the fork then reads the settings of its host.
Where more than these settings differs, a new process begins, and always with `TEST_FRESH=1`.
"""

import builtins
import importlib
import json
import os
import signal
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
    "PYTHONUNBUFFERED",
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

    def start(self, arguments, environment, files):
        """Start what `python *arguments` would; these files are its input, output and errors.

        Of the socket that is returned comes first its id, and then how it ended.
        """
        request = {
            "arguments": arguments,
            "environment": environment,
            "directory": str(Path.cwd()),
        }
        report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            message = json.dumps(request).encode()
            socket.send_fds(self.socket, [message], [*files, theirs.fileno()])
        return report

    def run(self, arguments, environment, text="", timeout=120):
        """Run it to its end, as `subprocess.run` would."""
        with (
            tempfile.TemporaryFile("w+") as stdin,
            tempfile.TemporaryFile("w+") as stdout,
            tempfile.TemporaryFile("w+") as stderr,
        ):
            stdin.write(text)
            stdin.seek(0)
            files = [file.fileno() for file in (stdin, stdout, stderr)]
            with self.start(arguments, environment, files) as report:
                report.settimeout(timeout)
                pid = int(report.recv(100))
                try:
                    status = int(report.recv(100))
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(arguments, timeout) from None
            stdout.seek(0)
            stderr.seek(0)
            return subprocess.CompletedProcess(
                arguments, os.waitstatus_to_exitcode(status), stdout.read(), stderr.read()
            )

    def end(self):
        self.socket.close()
        self.process.wait(timeout=30)


class Process(subprocess.Popen[str]):
    """As any other, but begun by a runner where there is one.

    It is no child of ours: what is known of it the runner says.
    """

    def __init__(self, arguments, *, runner=None, env, **options):
        self.report = None
        self.runner = runner if runner and runner.can_run(env) else None
        super().__init__([sys.executable, *arguments], env=env, **options)

    def _execute_child(self, *arguments):
        if not self.runner:
            super()._execute_child(*arguments)
            return
        # In the order of `Popen._execute_child`: of each pipe the end to read and the one to write.
        args, env, pipes = arguments[0], arguments[6], arguments[10:16]
        files = [pipes[0], pipes[3], pipes[5]]
        self.report = self.runner.start(args[1:], env, files)
        self.pid = int(self.report.recv(100))
        self._child_created = True
        self._close_pipe_fds(*pipes)

    def _try_wait(self, wait_flags):
        if not self.report:
            return super()._try_wait(wait_flags)
        try:
            said = self.report.recv(100, socket.MSG_DONTWAIT if wait_flags & os.WNOHANG else 0)
        except BlockingIOError:
            return 0, 0
        self.report.close()
        return self.pid, int(said)

    def _internal_poll(self, *arguments, **options):
        if not self.report:
            return super()._internal_poll(*arguments, **options)
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)
        return self.returncode


def constant(environment):
    """What must be the same in all forks."""
    return {
        name: value
        for name, value in environment.items()
        if name not in OURS and not name.startswith("PYTEST_")
    }


def serve(descriptor):
    """Fork for each request; only the fork returns, with its request, or None at the end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as server:
        while True:
            message, files, _, _ = socket.recv_fds(server, 2**18, 4)
            if not message:
                return None
            if os.fork() == 0:
                break
            for file in files:
                os.close(file)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *files, report = files
    child = os.fork()
    if child == 0:
        os.close(report)
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        return json.loads(message)
    # This process only waits for the other, so that several can run at once.
    for file in (0, 1, 2, *files):
        os.close(file)
    with socket.socket(fileno=report) as said:
        said.send(str(child).encode())
        _, status = os.waitpid(child, 0)
        with suppress(BrokenPipeError):  # nobody waits for it any more
            said.send(str(status).encode())
    os._exit(0)


def become(environment, directory):
    """Read the settings of a host."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    if environment.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(line_buffering=True)
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
    if not request:
        return
    become(request["environment"], request["directory"])
    flag, what, *arguments = request["arguments"]
    if flag == "-c":
        sys.argv = ["-c", *arguments]
        ours = {"__name__": "__main__", "__builtins__": builtins}
        exec(compile(what, "<string>", "exec"), ours)  # noqa: S102
    else:
        sys.argv = [str(Path(django.__file__).with_name("__main__.py")), *arguments]
        management.execute_from_command_line()


if __name__ == "__main__":
    main()
