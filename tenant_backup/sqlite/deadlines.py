"""Long work that ends in time: by its deadline, or by a signal."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tenant_backup.exceptions import BackupError, DeadlineExceeded
from tenant_backup.sqlite.errors import code_of
from tenant_backup.texts import Text

CHUNK_BYTES = 4 * 1024 * 1024
"""How many bytes are copied or read before the deadline is checked again. More is no faster."""

CHECK_STEPS = 100_000
"""How many instructions SQLite's virtual machine runs before the deadline is checked again."""

Progress = Callable[[int, int], None]
"""Called with the number of bytes copied so far, and the number of all bytes."""

SignOfLife = Callable[[], None]
"""Called now and then during long work that shows no other progress."""


def require_time(deadline: float | None, doing: Text) -> None:
    """Raise `DeadlineExceeded` when the deadline, a time of `time.monotonic()`, is over."""
    if deadline is not None and time.monotonic() > deadline:
        raise DeadlineExceeded("%(doing)s took longer than allowed and was stopped.", doing=doing)


@contextmanager
def interruptible(
    connection: sqlite3.Connection,
    doing: Text,
    deadline: float | None,
    sign_of_life: SignOfLife | None = None,
    *,
    steps: int | None = None,
) -> Iterator[None]:
    """Let the deadline or a signal end one long statement, with the right error.

    Both are looked at after so many steps of SQLite's virtual machine; None: `CHECK_STEPS`.

    SQLite reports both as "interrupted", and sqlite3 drops what the handler raises. So the handler
    keeps its error, which is raised afterwards.
    """
    raised: list[BaseException] = []

    def look() -> int:
        try:
            require_time(deadline, doing)
            if sign_of_life:
                sign_of_life()
        except BaseException as error:  # noqa: BLE001 - a signal's exception arrives here, too
            raised.append(error)
        return len(raised)

    connection.set_progress_handler(look, steps or CHECK_STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if raised:
            raise raised[0] from None
        if code_of(error) == sqlite3.SQLITE_INTERRUPT:
            raise BackupError("%(doing)s was interrupted.", doing=doing) from error
        raise
    finally:
        connection.set_progress_handler(None, 0)
