"""Reading from two attached databases in batches, so that it ends in time."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenant_backup.exceptions import BackupError, CannotCompare, DatabaseDamaged, NotEnoughSpace
from tenant_backup.sqlite.checks import add_stand_in
from tenant_backup.sqlite.deadlines import interruptible, require_time
from tenant_backup.sqlite.errors import code_of, is_damage
from tenant_backup.texts import Text

STEPS = 5_000
"""SQLite's steps between two looks at the time: a step may read a value of megabytes."""

BATCH = 500
"""Rows that are fetched at a time if they are small."""


@dataclass(frozen=True, slots=True)
class Reader:
    """The connection of `attached`, and when reading has to end."""

    connection: sqlite3.Connection
    then: Path
    now: Path
    deadline: float | None

    @property
    def doing(self) -> Text:
        return Text("Comparing %(then)s with %(now)s", then=self.then, now=self.now)

    def require_time(self) -> None:
        require_time(self.deadline, self.doing)

    def rows(self, sql: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        """The rows that a query finds, one at a time: each may be large. Raises as `batches`."""
        for batch in self.batches(sql, *parameters, size=1):
            yield from batch

    def batches(
        self, sql: str, *parameters: object, size: int = BATCH
    ) -> Iterator[list[tuple[Any, ...]]]:
        """The rows that a query finds, so many at a time.

        Raises `DeadlineExceeded`; `CannotCompare` if SQLite cannot run the query; and another
        `BackupError` if a file cannot be read, or if the disk for temporary files is full.
        """
        self.provide(sql, *parameters)
        # The query begins in the first batch, so that every step of it can be interrupted.
        cursor = None
        while True:
            with self.in_words(), self._interruptible():
                if cursor is None:
                    cursor = self.connection.execute(sql, parameters)
                batch = cursor.fetchmany(size)
            if not batch:
                return
            yield batch

    def provide(self, sql: str, *parameters: object) -> None:
        """Add stand-ins for what the query's tables need and only the host has.

        No query lets one decide what it finds. EXPLAIN names the missing one, and runs nothing.
        """
        with self.in_words():
            while True:
                try:
                    self.connection.execute(f"EXPLAIN {sql}", parameters).fetchone()
                except sqlite3.OperationalError as error:
                    if not add_stand_in(self.connection, str(error)):
                        raise
                else:
                    return

    def _interruptible(self) -> AbstractContextManager[None]:
        return interruptible(self.connection, self.doing, self.deadline, steps=STEPS)

    @contextmanager
    def in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._refusal(error) from error

    def _refusal(self, error: sqlite3.Error) -> BackupError:
        names = {"then": self.then, "now": self.now, "reason": error}
        if is_damage(error):
            return DatabaseDamaged("%(then)s or %(now)s is damaged: %(reason)s.", **names)
        match code_of(error):
            case sqlite3.SQLITE_FULL:
                return NotEnoughSpace(
                    "The disk for temporary files became full while %(then)s was compared with "
                    "%(now)s. The environment variable SQLITE_TMPDIR names another directory.",
                    **names,
                )
            case sqlite3.SQLITE_ERROR | sqlite3.SQLITE_TOOBIG:
                return CannotCompare("SQLite cannot compare it: %(reason)s.", reason=error)
            case _:
                return BackupError("%(then)s cannot be compared with %(now)s: %(reason)s.", **names)
