"""A database that nobody else can use, so that a backup can be put into it."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tenant_backup.exceptions import BackupError, DatabaseDamaged, DatabaseLocked, NotEnoughSpace
from tenant_backup.sqlite.checks import Inspection, check_in_words, first_difference
from tenant_backup.sqlite.deadlines import Progress
from tenant_backup.sqlite.errors import code_of, refusal
from tenant_backup.sqlite.facts import Facts, page_size_and_count
from tenant_backup.sqlite.opening import opened, regular_file
from tenant_backup.sqlite.snapshots import Snapshot, begin_snapshot, copy_pages, require_openable
from tenant_backup.sqlite.users import in_use, users_of


@dataclass(frozen=True, slots=True)
class Exclusive:
    """A database that nobody else can use; valid while the context of `exclusive()` lasts."""

    database: Path
    connection: sqlite3.Connection
    facts: Facts
    journal_mode: str
    """The journal mode in which the database is to be left."""

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """A snapshot of what the database holds now: see the function `snapshot`."""
        try:
            yield begin_snapshot(self.database, self.connection)
        finally:
            # Nothing was written, and a restore cannot begin inside a transaction.
            with suppress(sqlite3.Error):
                self.connection.rollback()

    def replace_with(self, backup: sqlite3.Connection, *, progress: Progress | None = None) -> None:
        """Put the backup into the database, in one transaction.

        Whatever it raises, the database holds what it held before: `NotEnoughSpace` if the disk
        becomes full, otherwise `BackupError`. Afterwards call `finalise`.
        """
        page_size, _pages = page_size_and_count(backup)

        def after_chunk(done: int, total: int) -> None:
            # After the last chunk the copy is done, and nothing may interrupt it.
            if progress and done < total:
                progress(done, total)

        try:
            # Whatever the default of this SQLite: it must be durable before anybody is told.
            self.connection.execute("PRAGMA synchronous = FULL")
            if self.facts.stays_in_wal_mode(backup):
                # An old log would only add to what the new one takes.
                self._empty_log()
            else:
                # In WAL mode a database keeps its page size.
                self._set_journal_mode("delete")
            copy_pages(backup, self.connection, page_size=page_size, after_chunk=after_chunk)
        except BaseException as error:
            with suppress(sqlite3.Error, BackupError):
                self._return_to_journal_mode()
            if not isinstance(error, sqlite3.Error):
                raise
            if code_of(error) == sqlite3.SQLITE_FULL:
                raise NotEnoughSpace(
                    "The disk became full while the backup was put into %(database)s. The database "
                    "holds what it held before. Make room, then try again.",
                    database=self.database,
                ) from error
            raise BackupError(
                "The backup could not be put into %(database)s: %(reason)s. The database holds "
                "what it held before.",
                database=self.database,
                reason=error,
            ) from error

    def has_its_journal_mode(self) -> bool:
        """Whether the database is in the journal mode in which it is to be left."""
        try:
            return self._pragma("journal_mode") == self.journal_mode
        except sqlite3.Error:
            return False

    def finalise(self) -> None:
        """After `replace_with`: give the database the journal mode back that it had.

        Raises `BackupError`; even then the database holds the backup.
        """
        try:
            before = (self.facts.journal_mode, self.facts.page_size)
            now = (self._pragma("journal_mode"), self._pragma("page_size"))
            if now == before and self.journal_mode == self.facts.journal_mode == "wal":
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            else:
                # The copy of a WAL database is marked WAL.
                self._return_to_journal_mode()
        except (sqlite3.Error, BackupError) as error:
            raise BackupError(
                "The backup is in the database %(database)s, but the last step failed "
                "(%(reason)s). If its disk is full, make room. Then make sure that its journal "
                "mode is %(mode)r.",
                database=self.database,
                reason=error,
                mode=self.journal_mode,
            ) from error

    def require_equal(self, backup: sqlite3.Connection) -> None:
        """Check that the database is sound and holds, table for table, what the backup holds.

        Raises `DatabaseDamaged` if it does not, and `BackupError` if that cannot be checked.
        """
        with check_in_words(self.database):
            Inspection(self.connection, self.database).check_everything(full=True)
            difference = first_difference(self.connection, backup)
        if difference:
            raise DatabaseDamaged(
                "%(path)s differs from the backup in %(what)s.",
                path=self.database,
                what=difference,
            )

    def _empty_log(self) -> None:
        """Bring the log into the database, unless the database was cut short.

        SQLite refuses that then, and the log may stay: with all pages of the backup in it, the
        database is whole again.
        """
        try:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.DatabaseError as error:
            if code_of(error) != sqlite3.SQLITE_CORRUPT:
                raise

    def _pragma(self, name: str) -> object:
        return self.connection.execute(f"PRAGMA {name}").fetchone()[0]

    def _return_to_journal_mode(self) -> None:
        # Through `delete`, with a read in that mode, so that no rollback journal is left.
        self._set_journal_mode("delete")
        self._pragma("page_size")
        self._set_journal_mode(self.journal_mode)

    def _set_journal_mode(self, mode: str) -> None:
        got = self._pragma(f"journal_mode = {mode}")
        if got != mode:
            raise BackupError(
                "The journal mode stays %(got)r instead of %(mode)r.", got=got, mode=mode
            )


@contextmanager
def exclusive(
    database: Path, *, busy_timeout: float, journal_mode: str | None = None
) -> Iterator[Exclusive]:
    """Keep everybody else out of the database, for as long as the context lasts.

    `journal_mode` is the one in which it is to be left; without it, the one that it has now.
    Waits at most `busy_timeout` seconds, then raises `DatabaseInUse`: in WAL mode for any other
    connection, in rollback mode for one that reads or writes. An idle one cannot be detected then;
    when it comes back it waits, and sees what the database holds by then. Raises `DatabaseDamaged`
    if the file is empty or no SQLite database, and leaves alone what lies beside it. Otherwise
    raises `BackupError`.
    """
    path = regular_file(database)
    with ExitStack() as stack:
        try:
            require_openable(path, busy_timeout=busy_timeout)
            connection = stack.enter_context(opened(path, "rw", busy_timeout))
            facts = _lock_out_everybody(path, connection, busy_timeout)
        except DatabaseLocked as error:
            raise in_use(path, users_of(path)) from error
        yield Exclusive(path, connection, facts, journal_mode or facts.journal_mode)


def _lock_out_everybody(path: Path, connection: sqlite3.Connection, busy_timeout: float) -> Facts:
    """Take the locks that `exclusive` holds, and look at the database."""
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Read first: to begin with writing would turn an empty file into a database.
        facts = begin_snapshot(path, connection, busy_timeout).facts
        connection.rollback()
        # In this locking mode the connection keeps the lock when the transaction ends.
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise refusal(path, error, busy_timeout) from error
    return facts
