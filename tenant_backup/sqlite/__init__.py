"""SQLite: a true copy of a database in use, and its check. Paths in, results out, no Django.

This is the only module that opens a tenant's database, and it does so through SQLite alone. To
`open()` and close such a file by other means drops the locks of every SQLite connection that this
process has on it (POSIX: closing any descriptor of a file releases the process's locks on it), so
that another process may write at the same time. `stat` is harmless.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from tenant_backup.exceptions import (
    BackupError,
    DatabaseDamaged,
    DatabaseInUse,
    DatabaseLocked,
    DeadlineExceeded,
    NotEnoughSpace,
    UnfinishedWrite,
)
from tenant_backup.texts import Text

CHUNK_BYTES = 4 * 1024 * 1024
"""How much is copied between two calls of `progress`. Larger chunks were measured no faster."""

LOG_MARGIN = 256 * 1024
"""Bytes that a log takes beyond the pages in it."""

COMMAND_LENGTH = 80
"""Characters of a command line that are shown."""

CHECK_STEPS = 100_000
"""Virtual machine instructions of SQLite between two looks at the deadline during a check."""

Progress = Callable[[int, int], None]
"""Called with the number of bytes copied so far, and of all bytes."""

SignOfLife = Callable[[], None]
"""Called every now and then during long work, in which nothing else can be seen to move."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a file is recognised by: its size in bytes and its SHA-256 in hexadecimal digits."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a look at a database told: see `look`."""

    database: Path
    page_size: int
    page_count: int
    journal_mode: str
    encoding: str

    @property
    def size(self) -> int:
        """The size of a copy, in bytes."""
        return self.page_size * self.page_count

    @property
    def wal_bytes(self) -> int:
        """The size of the database's write-ahead log now."""
        return _bytes_in(_log_of(self.database))

    def require_fit(self, backup: sqlite3.Connection) -> None:
        """Raise `BackupError` where the backup cannot be put into this database."""
        theirs = backup.execute("PRAGMA encoding").fetchone()[0]
        if self.encoding != theirs:
            raise BackupError(
                "The backup's text is encoded as %(theirs)s, that of the database %(database)s as "
                "%(ours)s. SQLite cannot put the one into the other; the file itself would have to "
                "be replaced by hand.",
                theirs=theirs,
                database=self.database,
                ours=self.encoding,
            )

    def bytes_to_replace(self, backup: sqlite3.Connection) -> int:
        """How many more bytes the database and its log need, at most, until the backup is in it."""
        size, pages = _size(backup)
        growth = max(size, self.size) - self.database.stat().st_size
        if self.stays_in_wal_mode(backup):
            # Each page of the backup goes into the log, with a header; some go twice.
            log = pages * (self.page_size + 24)
        else:
            # Each page of the database goes into the rollback journal, with number and checksum.
            log = self.page_count * (self.page_size + 8)
        return max(0, growth) + log + LOG_MARGIN

    def stays_in_wal_mode(self, backup: sqlite3.Connection) -> bool:
        size, pages = _size(backup)
        return self.journal_mode == "wal" and size == pages * self.page_size


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A database as it was at one moment; valid while the context of `snapshot()` lasts."""

    database: Path
    connection: sqlite3.Connection
    page_size: int
    page_count: int
    journal_mode: str

    @property
    def size(self) -> int:
        """The size of the copy, in bytes."""
        return self.page_size * self.page_count

    @property
    def wal_bytes(self) -> int:
        """The size of the database's write-ahead log, which cannot shrink while we read."""
        return _bytes_in(_log_of(self.database))

    def require_sound(self, tables: Iterable[str]) -> None:
        """Raise `DatabaseDamaged` where one of these tables is not sound, or not there."""
        try:
            for table in tables:
                quoted = "'" + table.replace("'", "''") + "'"
                found = self.connection.execute(f"PRAGMA integrity_check({quoted})").fetchone()
                if found != ("ok",):
                    raise DatabaseDamaged(
                        "%(path)s is damaged: %(reason)s.", path=self.database, reason=found[0]
                    )
        except sqlite3.Error as error:
            raise DatabaseDamaged(
                "%(path)s is damaged: %(reason)s.", path=self.database, reason=error
            ) from error

    @property
    def facts(self) -> Facts:
        """What stays true of it when the connection is closed."""
        (encoding,) = self.connection.execute("PRAGMA encoding").fetchone()
        return Facts(
            self.database, self.page_size, self.page_count, self.journal_mode, str(encoding)
        )

    def copy_to(
        self,
        copy: sqlite3.Connection,
        *,
        progress: Progress | None = None,
        deadline: float | None = None,
    ) -> None:
        """Copy the snapshot into the empty database of `open_copy`.

        `deadline` is a time of `time.monotonic()`. Raises `DeadlineExceeded`, `NotEnoughSpace`,
        `DatabaseDamaged` or `BackupError`, and then leaves an incomplete file.
        """

        def after_chunk(_status: int, remaining: int, total: int) -> None:
            _require_time(deadline, Text("Copying %(path)s", path=self.database))
            if progress:
                progress((total - remaining) * self.page_size, total * self.page_size)

        try:
            # This connection's read transaction fixes what is copied. Without it the copy starts
            # again whenever another process writes, and may never end.
            pages = max(1, CHUNK_BYTES // self.page_size)
            self.connection.backup(copy, pages=pages, progress=after_chunk)
        except sqlite3.Error as error:
            if _code(error) == sqlite3.SQLITE_FULL:
                raise NotEnoughSpace(
                    "The disk became full while the database %(database)s was copied.",
                    database=self.database,
                ) from error
            if _code(error) == sqlite3.SQLITE_CORRUPT:
                raise DatabaseDamaged(
                    "The database %(database)s is damaged: %(reason)s.",
                    database=self.database,
                    reason=error,
                ) from error
            raise BackupError(
                "Copying %(path)s failed: %(reason)s.", path=self.database, reason=error
            ) from error

    def contents(self, *, deadline: float | None = None) -> dict[str, int | None]:
        """The number of rows of each table, as `contents` says it of a file."""
        doing = Text("Counting the rows of %(path)s", path=self.database)
        try:
            return _contents(self.connection, doing, deadline)
        except sqlite3.Error as error:
            raise BackupError(
                "The database %(database)s cannot be read: %(reason)s.",
                database=self.database,
                reason=error,
            ) from error


def contents(file: Path, *, deadline: float | None = None) -> dict[str, int | None]:
    """The number of rows of each table in a file that nobody writes to, by the table's name.

    None for a table that could not be counted: by the deadline, a time of `time.monotonic()`, or
    since it needs a module that only the host's own connections have. Raises `BackupError`.
    """
    doing = Text("Counting the rows of %(path)s", path=file)
    try:
        # Immutable, for the reason that `check` has.
        with closing(_connect(file, "mode=ro&immutable=1", timeout=0)) as connection:
            return _contents(connection, doing, deadline)
    except sqlite3.Error as error:
        raise BackupError(
            "%(path)s cannot be read: %(reason)s.", path=file, reason=error
        ) from error


def _contents(
    connection: sqlite3.Connection, doing: Text, deadline: float | None
) -> dict[str, int | None]:
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' ORDER BY name"
    ).fetchall()
    numbers: dict[str, int | None] = {}
    for (name,) in names:
        quoted = '"' + name.replace('"', '""') + '"'
        numbers[name] = None
        try:
            # SQLite counts a whole table in one step, so the time is looked at before each.
            _require_time(deadline, doing)
            with _interruptible(connection, doing, deadline, None):
                found = connection.execute(f"SELECT count(*) FROM {quoted}")  # noqa: S608
                numbers[name] = found.fetchone()[0]
        except DeadlineExceeded:
            pass
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_ERROR:
                raise
    return numbers


def open_copy(target: Path) -> sqlite3.Connection:
    """Open the empty file `target` to copy a snapshot into. The caller closes the connection."""
    try:
        copy = _connect(target, "mode=rw", timeout=0)
    except sqlite3.Error as error:
        raise BackupError(
            "The copy %(path)s cannot be opened: %(reason)s.", path=target, reason=error
        ) from error
    # The target is ours alone and thrown away after a crash: it needs no journal, and the caller
    # makes it durable at the end.
    copy.execute("PRAGMA journal_mode = OFF")
    copy.execute("PRAGMA synchronous = OFF")
    return copy


@contextmanager
def snapshot(database: Path, *, busy_timeout: float, only_look: bool = False) -> Iterator[Snapshot]:
    """Hold a read transaction on the database, so that what is read stays as it is now.

    A write-ahead log that a killed process left stays as it is. With `only_look` a rollback journal
    stays, too, and `UnfinishedWrite` is raised where it would have to be played back first. Waits
    at most `busy_timeout` seconds for a locked database, then raises `DatabaseLocked`. Raises
    `DatabaseDamaged` where the file is no SQLite database or an empty one, and `BackupError` where
    it is missing or cannot be opened.
    """
    path = _regular_file(database)
    _require_header(path)
    # A connection that may not write never brings the log into the database, and so cannot bring
    # it into one that was overwritten. But where there is no log, it would leave an empty one.
    read_only = _bytes_in(_log_of(path)) or (only_look and _bytes_in(_journal_of(path)))
    try:
        # mode=rw never makes a new file.
        mode = "ro" if read_only else "rw"
        connection = _connect(path, f"mode={mode}", timeout=busy_timeout)
    except sqlite3.Error as error:
        raise _not_readable(path, error, busy_timeout) from error
    with closing(connection):
        yield _begin_snapshot(path, connection, busy_timeout)


def look(database: Path, *, busy_timeout: float) -> Facts:
    """What a backup or a restore needs to know of the database before it is begun.

    Nothing is changed, not even what a killed process left beside it. Raises as `snapshot` does.
    """
    try:
        with snapshot(database, busy_timeout=busy_timeout, only_look=True) as seen:
            return seen.facts
    except UnfinishedWrite:
        # What the journal is about are single pages, not the size or the mode.
        path = _regular_file(database)
        try:
            with closing(_connect(path, "mode=ro&immutable=1", timeout=0)) as connection:
                return _begin_snapshot(path, connection, 0).facts
        except sqlite3.Error as error:
            raise _not_readable(path, error, 0) from error


def require_openable(database: Path, *, busy_timeout: float) -> None:
    """Raise `DatabaseDamaged` where SQLite, if it opened the database, would add to the damage.

    SQLite deletes the log or journal of an empty file as soon as it reads it, and writes a log into
    a file that is no database when the last connection is closed. A database without a log or
    journal has nothing of that kind to lose.
    """
    path = _regular_file(database)
    _require_header(path)
    if _bytes_in(_log_of(path)):
        try:
            with closing(_connect(path, "mode=ro", timeout=busy_timeout)) as connection:
                _begin_snapshot(path, connection, busy_timeout)
        except sqlite3.Error as error:
            raise _not_readable(path, error, busy_timeout) from error


def left_behind(database: Path) -> list[Path]:
    """The log and the journal beside the database, as far as they are there and not empty.

    They may hold what the database itself does not.
    """
    return [path for path in (_log_of(database), _journal_of(database)) if _bytes_in(path)]


def check(
    file: Path,
    *,
    full: bool = True,
    deadline: float | None = None,
    sign_of_life: SignOfLife | None = None,
) -> bool:
    """Check that a file that nobody writes to is a sound SQLite database.

    `full` compares every index with its table, too (`integrity_check`, otherwise `quick_check`).
    False where that was asked for and could not be done for some table, which needs a function or
    a collation that only the host's own connections have. Raises `DatabaseDamaged`,
    `DeadlineExceeded`, or `BackupError` where the check was interrupted or could not be done.
    """
    # Immutable: a copy of a database in WAL mode is marked so itself, and would grow a -wal and a
    # -shm beside it when opened in any other way.
    try:
        with closing(_connect(file, "mode=ro&immutable=1", timeout=0)) as connection:
            return _Inspection(connection, file, deadline, sign_of_life).look_at_everything(
                full=full
            )
    except sqlite3.Error as error:
        if _is_damage(error):
            raise DatabaseDamaged(
                "%(path)s is not a sound SQLite database: %(reason)s.", path=file, reason=error
            ) from error
        raise BackupError(
            "%(path)s could not be checked: %(reason)s.", path=file, reason=error
        ) from error


def fingerprint(
    file: Path, *, deadline: float | None = None, sign_of_life: SignOfLife | None = None
) -> Fingerprint:
    """The fingerprint of a backup's file, which must not be a database that is in use.

    Raises `DeadlineExceeded`, and `OSError` where the file cannot be read.
    """
    sha256 = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            sha256.update(chunk)
            _require_time(deadline, Text("Reading %(path)s", path=file))
            if sign_of_life:
                sign_of_life()
        return Fingerprint(stream.tell(), sha256.hexdigest())


@dataclass(frozen=True, slots=True)
class User:
    """A process that has a database open. `name` is its command line, shortened."""

    pid: int
    name: str


def users_of(database: Path) -> list[User]:
    """The other processes that have the database open, as far as the system lets us see them.

    Linux only, and there only our own processes, or all of them for root, but none in another
    container: an empty list proves nothing. It is what helps to find whom to stop.
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


def _command_line(process: Path) -> str:
    """What somebody recognises a process by: its command line without the path of the program.

    As it may be shown on a terminal, and not longer than a line.
    """
    with suppress(OSError):
        program, *arguments = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        words = [program.rpartition(b"/")[2] or program, *arguments]
        line = b" ".join(words).decode(errors="replace")
        if not line.strip():  # of a process that is about to end
            line = (process / "comm").read_text(errors="replace").strip()
        line = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line)
        return line if len(line) <= COMMAND_LENGTH else f"{line[: COMMAND_LENGTH - 1]}…"
    return ""


def in_use(database: Path, users: list[User]) -> DatabaseInUse:
    """What to say of a database that is in use."""
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


def companions(database: Path) -> list[Path]:
    """The files that SQLite may have beside the database, and that belong to it."""
    return [database.with_name(database.name + end) for end in ("-wal", "-shm", "-journal")]


def open_backup(file: Path) -> sqlite3.Connection:
    """Open a backup's file, to be read only, and without a trace. The caller closes the connection.

    Raises `BackupError` where it cannot be opened.
    """
    try:
        return _connect(file, "mode=ro&immutable=1", timeout=0)
    except sqlite3.Error as error:
        raise BackupError(
            "The backup %(path)s cannot be opened: %(reason)s.", path=file, reason=error
        ) from error


@dataclass(frozen=True, slots=True)
class Exclusive:
    """A database that nobody else can use; valid while the context of `exclusive()` lasts."""

    database: Path
    connection: sqlite3.Connection
    facts: Facts
    journal_mode: str
    """The journal mode that the database shall have in the end."""

    @property
    def size(self) -> int:
        """The size of a copy of what is in the database, in bytes."""
        return self.facts.size

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """What the database holds now, to be copied: see the function `snapshot`."""
        try:
            yield _begin_snapshot(self.database, self.connection, 0)
        finally:
            # Nothing was written, and nothing can be put back inside a transaction.
            with suppress(sqlite3.Error):
                self.connection.rollback()

    def keep_journal_mode(self, mode: str) -> Exclusive:
        """The same database, which shall be in this journal mode in the end."""
        return replace(self, journal_mode=mode)

    def replace_with(self, backup: sqlite3.Connection, *, progress: Progress | None = None) -> None:
        """Put the backup into the database, in one transaction.

        Whatever it raises, the database holds what it held before: `NotEnoughSpace` where the disk
        becomes full, otherwise `BackupError`. Afterwards call `settle`.
        """
        page_size = _size(backup)[0] // _size(backup)[1]

        def after_chunk(_status: int, remaining: int, total: int) -> None:
            # With the last chunk it is done, and nothing may interrupt it any more.
            if progress and remaining:
                progress((total - remaining) * page_size, total * page_size)

        try:
            # Durable before anything says that it is done, whatever SQLite was built with.
            self.connection.execute("PRAGMA synchronous = FULL")
            if self.facts.stays_in_wal_mode(backup):
                # An old log would only add to what the new one takes.
                self._empty_log()
            else:
                # In WAL mode a database keeps its page size.
                self._set_journal_mode("delete")
            chunk = max(1, CHUNK_BYTES // page_size)
            backup.backup(self.connection, pages=chunk, progress=after_chunk)
        except BaseException as error:
            with suppress(sqlite3.Error, BackupError):
                self._return_to_journal_mode()
            if not isinstance(error, sqlite3.Error):
                raise
            if _code(error) == sqlite3.SQLITE_FULL:
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
        """Whether the database is in the journal mode that it shall have in the end."""
        try:
            now = self.connection.execute("PRAGMA journal_mode").fetchone()[0]
        except sqlite3.Error:
            return False
        return bool(now == self.journal_mode)

    def finalise(self) -> None:
        """After `replace_with`: give the database the journal mode back that it had.

        Raises `BackupError`; even then the database holds the backup.
        """
        try:
            now = self.connection.execute("PRAGMA journal_mode").fetchone()[0]
            if now == self.journal_mode == self.facts.journal_mode == "wal" and (
                self._page_size_now() == self.facts.page_size
            ):
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            else:
                # The copy of a WAL database is marked WAL.
                self._return_to_journal_mode()
        except (sqlite3.Error, BackupError) as error:
            raise BackupError(
                "The backup is in the database %(database)s, but what remained to do then failed "
                "(%(reason)s). Make room on its disk if that is full, then see that its journal "
                "mode is %(mode)r.",
                database=self.database,
                reason=error,
                mode=self.journal_mode,
            ) from error

    def require_equal(self, backup: sqlite3.Connection) -> None:
        """Check that the database is sound and holds, table for table, what the backup holds.

        Raises `DatabaseDamaged` where it does not, `BackupError` where that cannot be told.
        """
        try:
            _Inspection(self.connection, self.database, None, None).look_at_everything(full=True)
            difference = _first_difference(self.connection, backup)
        except sqlite3.Error as error:
            if _is_damage(error):
                raise DatabaseDamaged(
                    "%(path)s is damaged: %(reason)s.", path=self.database, reason=error
                ) from error
            raise BackupError(
                "%(path)s could not be checked: %(reason)s.", path=self.database, reason=error
            ) from error
        if difference:
            raise DatabaseDamaged(
                "%(path)s is not equal to the backup in %(what)s.",
                path=self.database,
                what=difference,
            )

    def _empty_log(self) -> None:
        """Bring the log into the database, which was cut short perhaps: then that is refused.

        It can stay then. With all pages of the backup behind it, it is whole again.
        """
        try:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.DatabaseError as error:
            if _code(error) != sqlite3.SQLITE_CORRUPT:
                raise

    def _page_size_now(self) -> int:
        return int(self.connection.execute("PRAGMA page_size").fetchone()[0])

    def _return_to_journal_mode(self) -> None:
        # By way of `delete` and a read in it, so that no rollback journal stays.
        self._set_journal_mode("delete")
        self._page_size_now()
        self._set_journal_mode(self.journal_mode)

    def _set_journal_mode(self, mode: str) -> None:
        (got,) = self.connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
        if got != mode:
            raise BackupError(
                "The journal mode stays %(got)r instead of %(mode)r.", got=got, mode=mode
            )


@contextmanager
def exclusive(database: Path, *, busy_timeout: float) -> Iterator[Exclusive]:
    """Keep everybody else out of the database, for as long as the context lasts.

    Waits at most `busy_timeout` seconds, then raises `DatabaseInUse`. In WAL mode that is said of
    every other connection. In rollback mode it is said of one that reads or writes; an idle one
    cannot be detected, waits when it comes back, and then sees what is there. Raises
    `DatabaseDamaged` where the file is no SQLite database or an empty one, otherwise `BackupError`.
    What lies beside such a file is left as it is.
    """
    path = _regular_file(database)
    try:
        require_openable(path, busy_timeout=busy_timeout)
    except DatabaseLocked as error:
        raise in_use(path, users_of(path)) from error
    try:
        connection = _connect(path, "mode=rw", timeout=busy_timeout)
    except sqlite3.Error as error:
        raise _not_readable(path, error, busy_timeout) from error
    with closing(connection):
        try:
            facts = _lock_out_everybody(path, connection, busy_timeout)
        except DatabaseLocked as error:
            raise in_use(path, users_of(path)) from error
        yield Exclusive(path, connection, facts, facts.journal_mode)


@dataclass(frozen=True, slots=True)
class _Inspection:
    """One connection's look at one file."""

    connection: sqlite3.Connection
    file: Path
    deadline: float | None
    sign_of_life: SignOfLife | None

    def look_at_everything(self, *, full: bool) -> bool:
        """Look at the whole database as `check` says, and answer as it does."""
        # A row that breaks a CHECK constraint is the host's affair and no damage; and the
        # constraint may call functions that we do not have.
        self.connection.execute("PRAGMA ignore_check_constraints = ON")
        if not full:
            self.look_with_stand_ins("quick_check")
            return True
        try:
            self.look("integrity_check")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_ERROR:
                raise
            return self.look_table_by_table()
        return True

    def look(self, pragma: str, *, but_not: str | None = None) -> None:
        """Run a check; raises `DatabaseDamaged` with the first thing that it finds.

        What begins with `but_not` is no finding.
        """
        doing = Text("Checking %(path)s", path=self.file)
        with _interruptible(self.connection, doing, self.deadline, self.sign_of_life):
            findings = [text for (text,) in self.connection.execute(f"PRAGMA {pragma}")]
        for finding in findings:
            if finding != "ok" and not (but_not and finding.startswith(but_not)):
                raise DatabaseDamaged(
                    "%(path)s is damaged: %(reason)s.", path=self.file, reason=finding.strip()
                )

    def look_table_by_table(self) -> bool:
        """The quick check of everything, and the full one of each table that allows it.

        Whether all allowed it.
        """
        tables = self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        everything = True
        for (name,) in tables.fetchall():
            quoted = "'" + name.replace("'", "''") + "'"
            try:
                self.look(f"integrity_check({quoted})")
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_ERROR:
                    raise
                everything = False
        self.look_with_stand_ins("quick_check")
        return everything

    def look_with_stand_ins(self, pragma: str) -> None:
        """Run a check that needs functions and collations to be there, but not what they say.

        They stand in an index, or in a generated column that is worked out when it is read. A
        function's stand-in says NULL, which a column may forbid: that is no damage.
        """
        while True:
            try:
                self.look(pragma, but_not="NULL value in ")
            except sqlite3.OperationalError as error:
                if not _stand_in_for(self.connection, str(error)):
                    raise
            else:
                return


def _stand_in_for(connection: sqlite3.Connection, complaint: str) -> bool:
    """Give the connection the collation or function that SQLite misses; False for another one."""
    if missing := re.fullmatch("no such collation sequence: (.+)", complaint):
        connection.create_collation(missing[1], lambda a, b: (a > b) - (a < b))
    elif missing := re.fullmatch(r"(?:unknown|no such) function: (.+?)(?:\(\))?", complaint):
        connection.create_function(missing[1], -1, lambda *arguments: None, deterministic=True)
    # What SQLite made of the schema without it stays incomplete otherwise.
    connection.execute("PRAGMA writable_schema = RESET")
    return missing is not None


@contextmanager
def _interruptible(
    connection: sqlite3.Connection,
    doing: Text,
    deadline: float | None,
    sign_of_life: SignOfLife | None,
) -> Iterator[None]:
    """Let one long statement end at the deadline or by a signal, with the right error.

    SQLite reports both as "interrupted", and sqlite3 drops what is raised within the handler, so
    the handler keeps it for afterwards.
    """
    raised: list[BaseException] = []

    def look() -> int:
        try:
            _require_time(deadline, doing)
            if sign_of_life:
                sign_of_life()
        except BaseException as error:  # noqa: BLE001 - a signal's exception arrives here, too
            raised.append(error)
        return len(raised)

    connection.set_progress_handler(look, CHECK_STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if raised:
            raise raised[0] from None
        if _code(error) == sqlite3.SQLITE_INTERRUPT:
            raise BackupError("%(doing)s was interrupted.", doing=doing) from error
        raise
    finally:
        connection.set_progress_handler(None, 0)


def _log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _journal_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-journal")


def _bytes_in(path: Path) -> int:
    """The size of a file by `stat`; 0 where it is not there, or out of reach."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _require_header(path: Path) -> None:
    """Raise `DatabaseDamaged` where opening the file would cost what lies beside it.

    An empty one is known by `stat` alone. Otherwise SQLite looks at it as at a file that never
    changes and has no companions, so that it takes no note of them. Only "not a database" is an
    answer then; anything else may be since somebody is writing to it.
    """
    size = path.stat().st_size
    if size > 1:
        if not left_behind(path):
            return
        try:
            with closing(_connect(path, "mode=ro&immutable=1", timeout=0)) as connection:
                connection.execute("PRAGMA schema_version").fetchone()
        except sqlite3.Error as error:
            if _code(error) == sqlite3.SQLITE_NOTADB:
                raise _not_readable(path, error, 0) from error
        return
    # A file of one byte is an empty one for SQLite.
    text = "The database %(database)s is empty: it holds no data."
    if size:
        text = "The database %(database)s is not a SQLite database."
    raise _with_what_is_beside(DatabaseDamaged(text, database=path), path)


def _with_what_is_beside(error: DatabaseDamaged, path: Path) -> DatabaseDamaged:
    """The error, with a warning for whoever opens the damaged database next."""
    left = left_behind(path)
    if not left:
        return error
    more = Text(
        "Changes that are not in it may be in %(files)s beside it, which was left as it is. Copy "
        "it elsewhere before any program opens the database: that would delete it.",
        files=", ".join(file.name for file in left),
    )
    return DatabaseDamaged("%(error)s %(more)s", error=error, more=more)


def _begin_snapshot(path: Path, connection: sqlite3.Connection, busy_timeout: float) -> Snapshot:
    """Begin a read transaction on the connection; raises as `snapshot` does."""
    try:
        connection.execute("BEGIN")
        # BEGIN alone takes no lock; the first read fixes the snapshot. It obeys the busy timeout,
        # which the copy itself would not.
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        page_size, page_count, journal_mode = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "page_count", "journal_mode")
        )
    except sqlite3.Error as error:
        raise _not_readable(path, error, busy_timeout) from error
    if page_count == 0:
        # It was emptied just now, or is shorter than SQLite's header.
        if path.stat().st_size:
            raise DatabaseDamaged(
                "The database %(database)s is not a SQLite database.", database=path
            )
        raise DatabaseDamaged(
            "The database %(database)s is empty: it holds no data.", database=path
        )
    return Snapshot(path, connection, page_size, page_count, journal_mode)


def _lock_out_everybody(path: Path, connection: sqlite3.Connection, busy_timeout: float) -> Facts:
    """Take the locks that `exclusive` holds, and say what is in the database."""
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # First only read: to begin writing would make a database of an empty file.
        facts = _begin_snapshot(path, connection, busy_timeout).facts
        connection.rollback()
        # In this locking mode the connection keeps the lock when the transaction ends.
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise _not_readable(path, error, busy_timeout) from error
    return facts


def _open_files(process: Path) -> Iterator[tuple[int, int]]:
    """Device and inode of each file that a process has open, as far as we may know."""
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                facts = descriptor.stat()
                yield facts.st_dev, facts.st_ino


def _size(connection: sqlite3.Connection) -> tuple[int, int]:
    """The size of the database in bytes and in pages."""
    page_size, pages = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count")
    )
    return page_size * pages, pages


def _first_difference(ours: sqlite3.Connection, theirs: sqlite3.Connection) -> Text | None:
    """Where the rows of two databases differ first, in words; None where they are equal.

    Both are read in the order of their pages, side by side, so nothing is sorted or kept.
    """
    schema = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master"
    versions = "SELECT * FROM pragma_user_version, pragma_application_id"
    for query, what in ((schema, Text("its schema")), (versions, Text("its versions"))):
        if ours.execute(query).fetchall() != theirs.execute(query).fetchall():
            return what
    # A virtual table has no page; the tables that it keeps its rows in are compared themselves.
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
    for (table,) in ours.execute(tables).fetchall():
        # What is worked out when it is read, which a 2 says, may need functions of the host's.
        columns = ours.execute(
            "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 2", (table,)
        ).fetchall()
        names = ", ".join(_quoted(name) for (name,) in columns)
        rows, their_rows = _raw_rows(ours, table, names), _raw_rows(theirs, table, names)
        if any(row != their_row for row, their_row in zip_longest(rows, their_rows)):
            return Text("the table %(table)r", table=table)
    return None


def _raw_rows(
    connection: sqlite3.Connection, table: str, columns: str
) -> Iterator[tuple[object, ...]]:
    """The rows with their text as bytes, which may be no valid text."""
    text_factory = connection.text_factory
    connection.text_factory = bytes
    try:
        while True:
            try:
                # The first one names a collation that the second would only fail for.
                connection.execute(f"EXPLAIN SELECT count(*) FROM {_quoted(table)}")  # noqa: S608
                rows = connection.execute(
                    f"SELECT {columns} FROM {_quoted(table)} NOT INDEXED"  # noqa: S608
                )
                break
            except sqlite3.OperationalError as error:
                if not _stand_in_for(connection, str(error)):
                    raise
        yield from rows
    finally:
        connection.text_factory = text_factory


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def inode_shortage(folder: Path) -> Text | None:
    """That no file can be made on this disk, though bytes are free, and what to do; else None."""
    if not hasattr(os, "statvfs"):
        return None
    with suppress(OSError):
        facts = os.statvfs(folder)
        # A file system that makes inodes as they are needed says that it has none at all.
        if facts.f_files and not facts.f_favail and facts.f_bavail:
            return Text(
                "The disk of %(path)s is out of inodes: all %(all)d are taken, so no file can be "
                "made, though %(bytes)d bytes are free. Remove files that nobody needs, then try "
                "again.",
                path=folder,
                all=facts.f_files,
                bytes=facts.f_bavail * facts.f_frsize,
            )
    return None


def _require_time(deadline: float | None, doing: Text) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise DeadlineExceeded("%(doing)s took longer than allowed and was given up.", doing=doing)


def _connect(path: Path, parameters: str, *, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{parameters}", uri=True, timeout=timeout, isolation_level=None
    )


def _regular_file(database: Path) -> Path:
    """The database's file, links resolved; raises `BackupError` where there is none."""
    try:
        path = database.resolve(strict=True)
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise BackupError("The database %(database)s does not exist.", database=database) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise BackupError(
            "The database %(database)s cannot be reached: %(reason)s.",
            database=database,
            reason=error,
        ) from error
    if stat.S_ISDIR(mode):
        raise BackupError(
            "The database %(database)s is a directory, not a file.", database=database
        )
    if not stat.S_ISREG(mode):
        raise BackupError("The database %(database)s is not a regular file.", database=database)
    return path


def _code(error: sqlite3.Error) -> int:
    """The primary result code of SQLite, or 0 where the error does not come from SQLite."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file is no sound database.

    Of a header with an impossible format it says so in words alone.
    """
    is_impossible = _code(error) == sqlite3.SQLITE_ERROR and "unsupported file format" in str(error)
    return is_impossible or _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _not_readable(path: Path, error: sqlite3.Error, busy_timeout: float) -> BackupError:
    free = shutil.disk_usage(path.parent).free
    for_want_of_space = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN)
    if _code(error) in for_want_of_space and (shortage := inode_shortage(path.parent)):
        return NotEnoughSpace(
            "The database %(database)s cannot be opened (%(reason)s). %(shortage)s",
            database=path,
            reason=error,
            shortage=shortage,
        )
    if free < LOG_MARGIN and _code(error) in for_want_of_space:
        # To read in WAL mode SQLite has to write beside the database.
        return NotEnoughSpace(
            "The database %(database)s cannot be opened, since its disk is full: %(free)d bytes "
            "are free (%(reason)s). Make room, then try again.",
            database=path,
            free=free,
            reason=error,
        )
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:
        return UnfinishedWrite(
            "A program stopped while it was writing to the database %(database)s, and what it left "
            "in %(journal)s has not been undone yet. The next program that writes to the database "
            "does that; then try again.",
            database=path,
            journal=_journal_of(path).name,
        )
    match _code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return DatabaseLocked(
                "The database %(database)s was locked by another process for more than "
                "%(seconds)g seconds.",
                database=path,
                seconds=busy_timeout,
            )
        case sqlite3.SQLITE_NOTADB:
            damage = DatabaseDamaged(
                "The database %(database)s is not a SQLite database.", database=path
            )
            return _with_what_is_beside(damage, path)
        case _ if _is_damage(error):
            damage = DatabaseDamaged(
                "The database %(database)s is damaged: %(reason)s.", database=path, reason=error
            )
            return _with_what_is_beside(damage, path)
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_READONLY:
            return BackupError(
                "The database %(database)s cannot be opened: %(reason)s. This process needs read "
                "and write permission for the file and its directory.",
                database=path,
                reason=error,
            )
        case _:
            return BackupError(
                "The database %(database)s cannot be read: %(reason)s.", database=path, reason=error
            )
