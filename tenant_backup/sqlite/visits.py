"""Visits: somebody else's code reads a backup, on a connection of ours, and no longer than allowed.

It runs in a thread of its own. So its deadline holds whatever it does: a statement of SQL is
interrupted, and code that is stuck elsewhere is left behind.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from contextvars import copy_context
from pathlib import Path

from tenant_backup.exceptions import BackupError, DeadlineExceeded
from tenant_backup.sqlite.deadlines import CHECK_STEPS, SignOfLife
from tenant_backup.sqlite.opening import open_backup

SLICE = 1
"""Seconds between two signs of life."""

GRACE = 3
"""Seconds that an interrupted visit has to come to its end."""


def visit(
    file: Path,
    look: Callable[[sqlite3.Connection], None],
    *,
    name: str,
    deadline: float,
    sign_of_life: SignOfLife | None = None,
) -> BaseException | None:
    """Let `look` read a backup's file, through a connection that cannot write.

    Returns what `look` raised, which may be a `SystemExit`. Raises `DeadlineExceeded` at the
    deadline, a time of `time.monotonic()`, and `BackupError` if an earlier visit of this name was
    left behind in this process and has not ended yet.
    """
    if time.monotonic() > deadline:
        raise DeadlineExceeded("There was no time left for it.")
    left_behind = f"tenant_backup visit, left behind: {name}"
    if any(thread.name == left_behind for thread in threading.enumerate()):
        raise BackupError("The one before has not ended yet, so no other was begun.")
    guest = _Visit(file, look, deadline)
    # A daemon: no process waits at its end for what was left behind.
    thread = threading.Thread(target=copy_context().run, args=(guest.run,), daemon=True)
    thread.start()
    try:
        while thread.is_alive() and (left := deadline - time.monotonic()) > 0:
            thread.join(min(SLICE, left))
            if sign_of_life:
                sign_of_life()
    except BaseException:
        # A signal: whoever ends this process does not wait for the visit either.
        guest.interrupt()
        raise
    if thread.is_alive():
        guest.interrupt()
        thread.join(GRACE)
    if thread.is_alive():
        thread.name = left_behind
        raise DeadlineExceeded(
            "It took longer than allowed and could not be stopped, so it was left behind."
        )
    if guest.was_interrupted:
        raise DeadlineExceeded("It took longer than allowed and was stopped.")
    return guest.error


class _Visit:
    """What happens in the thread."""

    def __init__(
        self, file: Path, look: Callable[[sqlite3.Connection], None], deadline: float
    ) -> None:
        self.file, self.look, self.deadline = file, look, deadline
        self.connection: sqlite3.Connection | None = None
        self.error: BaseException | None = None
        self.was_interrupted = False

    def run(self) -> None:
        try:
            # It may close the connection itself: to close it again does no harm.
            with closing(open_backup(self.file)) as connection:
                self.connection = connection
                connection.set_progress_handler(self._is_over, CHECK_STEPS)
                self.look(connection)
        except BaseException as error:  # noqa: BLE001 - returned by the thread that waits
            self.error = error

    def interrupt(self) -> None:
        """End the statement that runs, and every later one."""
        self.deadline, self.was_interrupted = 0, True
        if self.connection:
            # It may be closed by now. And the progress handler may have been replaced by another.
            with suppress(sqlite3.ProgrammingError):
                self.connection.interrupt()

    def _is_over(self) -> bool:
        self.was_interrupted = self.was_interrupted or time.monotonic() > self.deadline
        return self.was_interrupted
