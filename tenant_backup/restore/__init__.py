"""The use case of the emergency: to put a backup back as the tenant's database.

The operator does it, never the page. `find` and `verify` say what would be done and touch nothing;
`perform` does it, under the tenant's lock.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from itertools import count
from pathlib import Path
from sqlite3 import SQLITE_BUSY, SQLITE_LOCKED
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connections, transaction
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop

from tenant_backup import backups, files, lock, sqlite
from tenant_backup.conf import conf
from tenant_backup.exceptions import (
    BackupError,
    BackupNotFound,
    DatabaseDamaged,
    DatabaseLocked,
    NotEnoughSpace,
    NotWritable,
)
from tenant_backup.files import SPACE_MARGIN, BackupDirectory, Ownership, size_in_words
from tenant_backup.models import (
    LABEL_LENGTH,
    Automation,
    Backup,
    BackupSettings,
    Event,
    EventKind,
    Status,
    Trigger,
)
from tenant_backup.restore import manual
from tenant_backup.signals import backup_restored
from tenant_backup.sqlite import Exclusive, Facts, Fingerprint, Progress, User
from tenant_backup.tenants import Tenant, list_tenants, sqlite_file
from tenant_backup.texts import Text

if TYPE_CHECKING:
    from sqlite3 import Connection

logger = logging.getLogger("tenant_backup")

WAIT_SECONDS = 5
"""How long to wait for the users of a database to go. One that is idle never goes."""

MAKE_ROOM = Text(
    "Make room there first: for instance move an old backup to another disk, then run manage.py "
    "syncbackups."
)

CATALOG = (Backup, BackupSettings, Automation, Event)
"""What has to be sound for the catalog to be of use."""

RESTORED_AWAY = gettext_noop(
    "The database that holds the catalog was restored to a moment at which this backup was still "
    "to be made. Ask for it again."
)


class Origin(Enum):
    """Whose backup a file is, as far as the catalog and the place of the file tell."""

    OWN = "own"
    OTHER = "other"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Choice:
    """The backup to restore. `backup` is its row, which a file from elsewhere has not."""

    tenant: Tenant
    file: Path
    backup: Backup | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A verified backup, and the database that it is to be put into.

    `origin` says whose it is, `other` which other tenant's. `size` and `journal_mode` are those of
    the database, None where SQLite cannot open it, which `trouble` explains. `users` are the
    processes that have it open, as far as that can be seen.
    """

    choice: Choice
    fingerprint: Fingerprint
    stamp: tuple[int, ...]
    origin: Origin
    other: str
    database: Path
    size: int | None
    journal_mode: str | None
    trouble: str
    users: list[User]


@dataclass(frozen=True, slots=True)
class Restored:
    """What `perform` did.

    `safety_copy` is the row of the backup with the state before, or its path with
    `--safety-copy-to`, or the folder with the old files where there was no sound state to back up.
    `undo` says how to get that state back; `notes` what else there is to know or to do.
    """

    backup: Backup
    safety_copy: Backup | Path | None
    undo: str
    notes: list[str] = field(default_factory=list)


def require_catalog(tenant: Tenant) -> None:
    """Make sure of the rows of the tenant: mend them.

    Raises `BackupError` where the catalog lies in the database to restore, and is lost with it. It
    then names the files that there are, of which one can be chosen all the same.
    """
    if _catalog_is_usable(tenant):
        # A restored catalog holds the very row of its backup as it was when that was made.
        backups.recover(tenant)
        return
    directory = backups.directory_of(tenant)
    names = sorted(path.name for path in directory.path.iterdir()) if directory.exists() else []
    ours = [name for name in names if files.made_at(tenant.id, name)]
    raise BackupError(
        "The catalog lies in %(database)s, which cannot be read. Name the backup's file: "
        "%(command)s. In %(folder)s there are: %(files)s.",
        database=tenant.database,
        command=manual.command("restorebackup", tenant.id, "FILE"),
        folder=directory.path,
        files=", ".join(ours) or Text("none"),
    )


def candidates(tenant: Tenant) -> list[Backup]:
    """The tenant's good backups, newest first; at the end those that are dated in the future."""
    require_catalog(tenant)
    _look(tenant)
    good, now = Backup.objects.for_tenant(tenant.id).good().newest_first(), timezone.now()
    return [*good.counted(now), *good.future(now)]


def newest(tenant: Tenant) -> Choice:
    """The newest good backup, but no safety copy and none that is dated in the future.

    Raises `BackupNotFound`. A safety copy is of the state that somebody wanted to leave, and when
    a restore is killed and run again, it is the newest of all.
    """
    require_catalog(tenant)
    _look(tenant)
    good, now = Backup.objects.for_tenant(tenant.id).good(), timezone.now()
    rows = good.counted(now).exclude(trigger=Trigger.RESTORE)
    backup = rows.newest_first().first()
    if backup is None and (ahead := good.future(now).newest_first().first()):
        raise BackupNotFound(
            "The good backups of %(tenant)r are dated in the future, so nobody knows which is the "
            "newest. Look inside (manage.py listbackups --contents), and name the one you want, "
            "such as %(backup)s.",
            tenant=tenant.id,
            backup=str(ahead),
        )
    if backup is None:
        raise BackupNotFound("There is no good backup of %(tenant)r.", tenant=tenant.id)
    if backup.trigger == Trigger.ADOPTED:
        raise BackupNotFound(
            "The newest backup, %(backup)s, was found on disk, and may be the safety copy of a "
            "restore. Look inside (manage.py listbackups --contents), and name the one you want.",
            backup=str(backup),
        )
    return _choose(tenant, backup)


def _look(tenant: Tenant) -> None:
    """See which files are as they should be; a catalog that cannot be written keeps nobody."""
    try:
        backups.check_files(tenant)
    except DatabaseError:
        logger.exception("What was found out about the backups of %r was not noted.", tenant.id)


def find(tenant: Tenant, text: str) -> Choice:
    """The backup of this id, of this file name, or in the file of this path.

    A text of digits only is an id, one with a slash a path. Raises `BackupNotFound`.
    """
    if os.sep in text or (os.altsep and os.altsep in text):
        return _at_path(tenant, Path(text).absolute())
    is_id = text.isascii() and text.isdigit()
    if not is_id and not _catalog_is_usable(tenant):
        # It lies in the very database that is to be rescued.
        return _at_path(tenant, backups.directory_of(tenant).file(text))
    require_catalog(tenant)
    rows = Backup.objects.for_tenant(tenant.id)
    if is_id:
        # Longer ones are no number that a database has for a row.
        backup = rows.filter(pk=int(text)).first() if len(text) < 19 else None
    else:
        backup = rows.filter(file_name=text).first() if text else None
    if backup is None:
        raise BackupNotFound(
            "%(tenant)r has no backup %(backup)s. See manage.py listbackups.",
            tenant=tenant.id,
            backup=text,
        )
    if backup.status != Status.COMPLETE:
        raise BackupNotFound(
            "Backup %(backup)d is %(status)s, so there is no file of it.",
            backup=backup.pk,
            status=backup.get_status_display(),
        )
    return _choose(tenant, backup)


def verify(choice: Choice) -> Plan:
    """Read the backup's file from end to end; touches nothing but the catalog.

    Raises `DatabaseDamaged` where it is not what it was when it was made, or not a sound database,
    and marks that in the catalog; `BackupError` where it cannot be read.
    """
    tenant, database = choice.tenant, _resolved(choice.tenant.database)
    _require_no_database(choice)
    stamp = _stamp(choice.file)
    try:
        fingerprint = sqlite.fingerprint(choice.file)
        _require_as_made(choice, fingerprint)
        if fingerprint.size == 0:
            raise DatabaseDamaged("%(path)s is empty: it is no backup.", path=choice.file)
        sqlite.check(choice.file)
    except DatabaseDamaged as error:
        _mark(choice, EventKind.DAMAGED, error, damaged_at=timezone.now())
        raise
    except OSError as error:
        raise BackupError(
            "%(path)s cannot be read: %(reason)s.", path=choice.file, reason=error.strerror
        ) from error
    _mark(choice, EventKind.FOUND, verified_at=timezone.now(), missing_at=None, damaged_at=None)
    origin, other = _origin(choice, fingerprint)
    size, journal_mode, trouble = None, None, ""
    try:
        facts = sqlite.look(tenant.database, busy_timeout=WAIT_SECONDS)
        size, journal_mode = facts.size, _noted_mode(database) or facts.journal_mode
    except BackupError as error:
        trouble = str(error)
    return Plan(
        choice,
        fingerprint,
        stamp,
        origin,
        other,
        database,
        size,
        journal_mode,
        trouble,
        sqlite.users_of(database),
    )


def perform(
    plan: Plan,
    *,
    safety_copy_to: Path | None = None,
    actor: str = "",
    say: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
) -> Restored:
    """Save the present state, then put the verified backup in its place.

    `progress` is called while the backup is put into the database.

    Raises a `BackupError` that says what state the database is in: the old one, or, after the very
    last steps, the restored one. Running it again completes what was begun.
    """
    tenant = plan.choice.tenant
    backups.require_no_transaction()
    backups.directory_of(tenant).make()
    work = _Work(plan, safety_copy_to, actor, say, progress, holds_catalog(tenant))
    with work.alone():
        restored = work.restore()
    backup_restored.send_robust(Backup, tenant=tenant, backup=restored.backup)
    return restored


@dataclass(frozen=True, slots=True)
class _Known:
    """What a catalog knows that the catalog of an earlier time does not."""

    orders: dict[str, backups.BackupRequest]
    """What asked for each file."""
    found: dict[str, dict[str, datetime | None]]
    """When each file was found missing, damaged, or verified."""
    settings: dict[str, Any]
    automation: dict[str, Any]

    @classmethod
    def of(cls, tenant: Tenant) -> _Known:
        rows = list(Backup.objects.for_tenant(tenant.id).complete())
        of_tenant = BackupSettings.objects.filter(tenant_id=tenant.id)
        settings: dict[str, Any] = dict(of_tenant.values().first() or {})
        if (row := of_tenant.first()) and row.is_initial:
            # A catalog that was made anew: the restored one knows what was configured.
            settings = {}
        return cls(
            orders={
                row.file_name: backups.BackupRequest(
                    trigger=Trigger(row.trigger),
                    label=row.label,
                    pinned=row.pinned,
                    requested_by=row.requested_by,
                    slot_at=row.slot_at,
                )
                for row in rows
            },
            found={
                row.file_name: {
                    "missing_at": row.missing_at,
                    "damaged_at": row.damaged_at,
                    "future_at": row.future_at,
                    "verified_at": row.verified_at,
                }
                for row in rows
            },
            settings={name: value for name, value in settings.items() if name != "id"},
            automation=dict(Automation.objects.values("paused_at", "paused_by").first() or {}),
        )

    def tell(self, tenant: Tenant) -> None:
        """Let the catalog know it, too, of the files that it has rows of.

        Retention is as it was: settings of an earlier time might remove what was kept until now.
        """
        rows = Backup.objects.for_tenant(tenant.id).complete()
        for row in rows:
            if order := self.orders.get(row.file_name):
                # Of what was found on disk nobody knew any more whether it was pinned.
                was_pinned = row.pinned and order.trigger == Trigger.ADOPTED
                pinned = order.pinned or was_pinned
                rows.filter(pk=row.pk).update(pinned=pinned, **self.found[row.file_name])
            elif backups.directory_of(tenant).is_missing(row.file_name):
                # It was deleted since, by retention or by somebody: it is not lost.
                rows.filter(pk=row.pk).delete()
        if self.settings:
            BackupSettings.objects.update_or_create(tenant_id=tenant.id, defaults=self.settings)
        if self.automation:
            Automation.load()
            Automation.objects.update(**self.automation)


@dataclass(slots=True)
class _Work:
    """One restore, from the lock to the last check."""

    plan: Plan
    safety_copy_to: Path | None
    actor: str
    say: Callable[[str], None]
    progress: Progress | None
    holds_catalog: bool
    """Whether the catalog lies in the very database that is restored."""
    ended: list[Backup] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    known: _Known | None = None
    """What the catalog said before it was restored with the database, where it could be read."""
    safety_name: str = ""
    """The file name of the safety copy in the backup directory, once there is one."""
    kept: BackupDirectory | None = None
    """The folder that holds what lay beside the database, too, before SQLite could remove it."""
    stamps: dict[Path, tuple[int, ...]] = field(default_factory=dict)
    """What was put into that folder, and by what it is known to be as it was."""
    asked_before: Backup | None = None
    """The queued backup that became the safety copy, as it was, where there was one."""

    @property
    def tenant(self) -> Tenant:
        return self.plan.choice.tenant

    @property
    def directory(self) -> BackupDirectory:
        return backups.directory_of(self.tenant)

    @property
    def order(self) -> backups.BackupRequest:
        """What asks for the safety copy."""
        label = gettext("before the restore of %(file)s") % {"file": self.plan.choice.file.name}
        return backups.BackupRequest(
            trigger=Trigger.RESTORE,
            label=label[:LABEL_LENGTH],
            pinned=True,
            requested_by=self.actor,
        )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the tenant's lock, with the catalog mended as far as it can be used."""
        if self.holds_catalog and not _catalog_is_usable(self.tenant):
            with lock.hold(self.directory, wait=conf.BUSY_TIMEOUT):
                yield
            return
        with backups.tenant_lock(self.tenant, wait=conf.BUSY_TIMEOUT) as self.ended:
            yield

    def restore(self) -> Restored:
        if _stamp(self.plan.choice.file) != self.plan.stamp:
            raise _changed(self.plan.choice.file)
        catalog_is_usable = self.holds_catalog and _catalog_is_usable(self.tenant)
        if catalog_is_usable:
            self.known = _Known.of(self.tenant)
        _close_connections(self.plan.database)
        self.refuse_in_time()
        with self.log_kept():
            begun = None
            if catalog_is_usable and not self.safety_copy_to:
                begun = self.begin_in_same_database()
            try:
                _close_connections(self.plan.database)
                with ExitStack() as stack:
                    live = self.lock_out_everybody(stack)
                    safety_copy = self.replace_content(live, begun) if live else None
                if safety_copy is None:
                    safety_copy = self.replace_files()
            except BaseException:
                if begun and self.directory.is_free(begun.file_name):
                    with suppress(DatabaseError):
                        backups.take_back(begun, self.asked_before)
                raise
            finally:
                if begun:
                    with suppress(DatabaseError):
                        self.ended += backups.recover_running(self.tenant)
        if self.holds_catalog:
            safety_copy = self.bring_catalog_in_line() or safety_copy
        return self.conclude(safety_copy)

    def refuse_in_time(self) -> None:
        """Raise what would be raised later anyway, before any row or file tells of it.

        Only a look: nothing opens the database for writing.
        """
        database = self.plan.database
        if users := sqlite.users_of(database):
            raise sqlite.in_use(database, users)
        if not os.path.lexists(database):
            return
        try:
            facts = sqlite.look(database, busy_timeout=WAIT_SECONDS)
        except DatabaseLocked as error:
            raise sqlite.in_use(database, []) from error
        except BackupError:
            # A damaged one is replaced as a file, which needs other things. Whatever else it is,
            # who wants the database alone says it better.
            return
        with closing(self.open_backup()) as backup:
            facts.require_fit(backup)
            self.require_space(facts, facts.bytes_to_replace(backup))

    @contextmanager
    def log_kept(self) -> Iterator[None]:
        """Let what a killed process left beside the database lie in a folder, too, before SQLite
        opens the database for writing: of a damaged one it would be lost.

        The folder goes as soon as there is a sound safety copy, or where nothing came of the
        restore and all is still in its place.
        """
        left = sqlite.left_behind(self.plan.database)
        try:
            if left and os.path.lexists(self.plan.database):
                self.kept = self.make_aside(self.plan.database.parent)
                self.stamps = {path: _identity(path) for path in left}
                files.keep(self.kept, left)
            yield
        except BaseException as error:
            if self.is_all_in_place():
                self.drop_kept()
            if not self.kept:
                raise
            more = Text("What lay beside the database is in %(folder)s.", folder=self.kept.path)
            if isinstance(error, BackupError):
                raise _with_more(error, more) from error
            error.add_note(str(more))
            raise

    def is_all_in_place(self) -> bool:
        """Whether all that was put aside is still beside the database, as it was."""
        if self.kept and os.path.lexists(self.kept.file(self.plan.database.name)):
            return False
        with suppress(BackupError):
            return all(_identity(path) == known for path, known in self.stamps.items())
        return False

    def drop_kept(self) -> None:
        """Remove the folder of what was kept, which nobody needs any more."""
        if self.kept:
            with suppress(BackupError):
                for path in self.stamps:
                    self.kept.discard(self.kept.file(path.name))
                self.kept.discard(self.kept.path)
            self.kept = None

    def begin_in_same_database(self) -> Backup:
        """Write the safety copy's row while the catalog's database is not locked yet.

        A crash then leaves a row that is mended, and with it what else it left.
        """
        # Refused before there is a row, which would only tell of that.
        with sqlite.exclusive(self.plan.database, busy_timeout=WAIT_SECONDS):
            pass
        self.asked_before = Backup.objects.for_tenant(self.tenant.id).queued().first()
        return backups.begin(self.tenant, self.order)

    def lock_out_everybody(self, stack: ExitStack) -> Exclusive | None:
        """The database for us alone; None where SQLite cannot open it, or where there is none."""
        if not os.path.lexists(self.plan.database):
            return None
        try:
            live = stack.enter_context(
                sqlite.exclusive(self.plan.database, busy_timeout=WAIT_SECONDS)
            )
        except DatabaseDamaged as error:
            self.notes.append(_replaced_as_a_file(error))
            return None
        live = live.keep_journal_mode(_noted_mode(self.plan.database) or live.journal_mode)
        # In rollback mode SQLite cannot tell of one that is idle at this moment. The system can,
        # on Linux, as far as it lets us see.
        if users := sqlite.users_of(self.plan.database):
            raise sqlite.in_use(self.plan.database, users)
        return live

    def replace_content(self, live: Exclusive, begun: Backup | None) -> Backup | Path | None:
        """Put the backup into the database, and say what the state before was saved as.

        None, and nothing is done, where not even the pages of the database can be copied.
        """
        with closing(self.open_backup()) as backup:
            live.facts.require_fit(backup)
            self.require_space(live.facts, live.facts.bytes_to_replace(backup))
            self.say("Saving the present state.")
            try:
                safety_copy = self.save(live, begun)
            except BackupError as error:
                raise _with_more(error, Text("The database was not changed.")) from error
            if safety_copy is None:
                return None
            try:
                self.put_in(live, backup, safety_copy)
                self.say("Checking the result.")
                self.finalise(live, backup, safety_copy)
            finally:
                if live.has_its_journal_mode():
                    self.forget_mode()
        return safety_copy

    def put_in(self, live: Exclusive, backup: Connection, safety_copy: Backup | Path) -> None:
        """Put the backup into the database; whatever is raised, that holds what it held before."""
        copy = _name(safety_copy)
        try:
            self.note_mode(live.journal_mode)
            self.say("Putting the backup in its place.")
            live.replace_with(backup, progress=self.progress)
        except BackupError as error:
            more = Text("The copy of it that was just made stays: %(copy)s.", copy=copy)
            raise _with_more(error, more) from error
        except BaseException as error:
            error.add_note(
                f"{self.plan.database} holds what it held before. The copy of it that was just "
                f"made stays: {copy}."
            )
            raise

    def finalise(self, live: Exclusive, backup: Connection, safety_copy: Backup | Path) -> None:
        """Give the database its journal mode back, and check the result."""
        try:
            live.finalise()
            live.require_equal(backup)
        except BackupError as error:
            undo = Text("To undo: %(undo)s", undo=self.undo(safety_copy))
            raise _with_more(error, undo) from error
        except BaseException as error:
            error.add_note(
                f"The backup is in {self.plan.database}, but was not checked to the end. Run "
                f"the same command again. To undo: {self.undo(safety_copy)}"
            )
            raise

    @property
    def beside(self) -> BackupDirectory:
        """The folder of the database."""
        database = self.plan.database
        return BackupDirectory(database.parent, ".", owners=(database.parent, database))

    def note_mode(self, mode: str) -> None:
        """Note the journal mode that the database shall have in the end.

        With the backup it gets that of the backup, until it is set again; whoever is killed in
        between leaves the note to the next restore.
        """
        database = self.plan.database
        self.forget_mode()
        self.beside.write(_note_of(database), f"{mode} {database.stat().st_ino}\n".encode())

    def forget_mode(self) -> None:
        # One that stays tells of this mode, and of this file only.
        with suppress(BackupError):
            self.beside.discard(_note_of(self.plan.database))

    def open_backup(self) -> Connection:
        file = self.plan.choice.file
        if file.parent != self.directory.path:
            return sqlite.open_backup(file)
        # As whoever may write there, so that nothing put in its place leads root elsewhere.
        with self.directory.as_owner():
            return sqlite.open_backup(file)

    def require_space(self, facts: Facts, log_bytes: int) -> None:
        """Raise `NotEnoughSpace` unless log and safety copy fit, each on the disk that it is on."""
        disk = facts.database.parent
        target = self.safety_copy_to or self.directory.path
        # Within the database's own disk they share what is free.
        together = disk.stat().st_dev == target.stat().st_dev
        # The safety copy is made beside what is in the log now.
        copy_bytes = facts.size + max(0, facts.wal_bytes - log_bytes * together)
        needed = log_bytes + copy_bytes * together + SPACE_MARGIN
        free = shutil.disk_usage(disk).free
        if free >= needed and not together:
            BackupDirectory(target.parent, target.name).require_space(copy_bytes)
        if free >= needed:
            files.require_inodes(disk)
            return
        sizes = {
            "path": disk,
            "needed": size_in_words(needed),
            "log": size_in_words(log_bytes),
            "free": size_in_words(free),
        }
        if not together:
            error = NotEnoughSpace(
                "Not enough disk space in %(path)s: %(needed)s needed (%(log)s for the log of the "
                "restore), %(free)s free. Nothing was changed.",
                **sizes,
            )
            raise _with_more(error, MAKE_ROOM)
        error = NotEnoughSpace(
            "Not enough disk space in %(path)s: %(needed)s needed (%(log)s for the log of the "
            "restore, %(copy)s for the safety copy), %(free)s free. Nothing was changed.",
            copy=size_in_words(copy_bytes),
            **sizes,
        )
        if self.safety_copy_to:
            raise _with_more(error, MAKE_ROOM)
        raise _with_more(error, Text("With --safety-copy-to the safety copy goes to another disk."))

    def save(self, live: Exclusive, begun: Backup | None) -> Backup | Path | None:
        """Save what the database holds now; None where not even its pages can be copied."""
        try:
            copy = self.save_as_backup(live, begun)
        except DatabaseDamaged as error:
            return self.save_as_it_is(live, error)
        self.drop_kept()
        return copy

    def save_as_backup(self, live: Exclusive, begun: Backup | None) -> Backup | Path:
        if self.safety_copy_to:
            # It is the tenant's data still, whoever that folder belongs to.
            elsewhere = BackupDirectory(
                self.safety_copy_to.parent,
                self.safety_copy_to.name,
                owners=(self.tenant.root, self.plan.database),
            )
            return self.publish(live, elsewhere)
        if self.holds_catalog:
            path = self.publish(live, self.directory, begun.file_name if begun else "")
            self.safety_name = path.name
            return path
        return backups.make_from(live.snapshot, self.tenant, self.order, self.ended)

    def publish(self, live: Exclusive, directory: BackupDirectory, name: str = "") -> Path:
        """Make the safety copy where no row can be, or is wanted, before the restore."""
        names = files.file_names(self.tenant.id, timezone.now())
        name = name or next(name for name in names if directory.is_free(name))
        sha256 = ""
        try:
            copy = backups.copy_into(directory, name, self.tenant, live.snapshot)
            sha256 = copy.sha256
            directory.publish(name, sha256)
        except BaseException:
            with suppress(BackupError):
                directory.withdraw(name, sha256)
            raise
        return directory.file(name)

    def save_as_it_is(self, live: Exclusive, damage: DatabaseDamaged) -> Path | None:
        """Copy the pages of a damaged database into a folder; None where that cannot be done.

        What a killed process left beside it is kept in a folder, too.
        """
        if self.kept:
            # The restore is about to write to these very files.
            for path in self.stamps:
                files.separate(self.kept, path.name)
        aside = self.aside_in(self.safety_copy_to or self.plan.database.parent)
        # Under a name of its own first: SQLite would take the log beside it for the copy's.
        target = aside.file(self.plan.database.name)
        partial = aside.partial(self.plan.database.name)
        try:
            os.close(aside.create(partial))
            with live.snapshot() as snapshot, closing(sqlite.open_copy(partial)) as copy:
                snapshot.copy_to(copy)
            like = Ownership.of_database(partial, aside.path)
            files.put_in_place(aside, partial, target, like=like, instead_of=())
        except BaseException as error:
            with suppress(BackupError):
                aside.discard(partial)
                if aside is not self.kept:
                    aside.discard(aside.path)
            if isinstance(error, DatabaseDamaged):
                self.notes.append(_replaced_as_a_file(error))
                return None
            raise
        text = gettext("%(reason)s So it was saved as it is, which is no backup.")
        self.notes.append(text % {"reason": damage})
        if self.kept and aside is not self.kept:
            text = gettext("What lay beside the database is in %(folder)s.")
            self.notes.append(text % {"folder": self.kept.path})
        return aside.path

    def aside_in(self, parent: Path) -> BackupDirectory:
        """The folder of what was kept, where that is the right place; otherwise a new one."""
        if self.kept and self.kept.root == parent:
            return self.kept
        return self.make_aside(parent)

    def make_aside(self, parent: Path) -> BackupDirectory:
        """A new folder for what is no backup."""
        stem = f"before-restore-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
        name = next(name for name in names if not os.path.lexists(parent / name))
        aside = BackupDirectory(parent, name, owners=(self.tenant.root, self.plan.database))
        aside.make(for_git_to_ignore=False)
        return aside

    def replace_files(self) -> Path | None:
        """Put the old files aside, and the backup in their place as a file.

        The folder with the old ones, or None where there were none.
        """
        database, root = self.plan.database, self.tenant.root
        if users := sqlite.users_of(database):
            # They would go on with the old files, and their journals would ruin the new one.
            raise sqlite.in_use(database, users)
        if not database.parent.is_dir():
            raise BackupError(
                "The folder %(path)s does not exist. Make it, with the owner that the database "
                "shall have, then try again.",
                path=database.parent,
            )
        like = Ownership.of_database(database, root)
        if hasattr(os, "geteuid") and os.geteuid() not in (0, like.user):
            raise NotWritable(
                "%(path)s belongs to user %(user)d. To replace it as a file, run this as that user "
                "or as root.",
                path=database,
                user=like.user,
            )
        free, needed = shutil.disk_usage(database.parent).free, self.plan.fingerprint.size
        if free < needed + SPACE_MARGIN:
            raise NotEnoughSpace(
                "Not enough disk space in %(path)s: %(needed)s needed, %(free)s free. Nothing was "
                "changed.",
                path=database.parent,
                needed=size_in_words(needed + SPACE_MARGIN),
                free=size_in_words(free),
            )
        self.say("Copying the backup to beside the database.")
        beside = self.beside
        partial = database.with_name(f".{database.name}.partial")
        beside.discard(partial)  # of a restore that was interrupted
        try:
            self.copy_file(beside, partial)
            self.say("Putting the old files aside, and the backup in their place.")
            companions = sqlite.companions(database)
            old = [path for path in (database, *companions) if os.path.lexists(path)]
            aside = self.aside_in(database.parent) if old or self.kept else None
            if aside:
                # What was kept is there already, as it was before anything opened the database.
                files.take_in(aside, [path for path in old if path not in self.stamps])
            files.put_in_place(beside, partial, database, like=like, instead_of=companions)
            self.forget_mode()
            if aside and self.safety_copy_to:
                text = gettext("The old files are in %(folder)s, not in %(directory)s.")
                values = {"folder": aside.path, "directory": self.safety_copy_to}
                self.notes.append(text % values)
        except BaseException:
            with suppress(BackupError):
                beside.discard(partial)
            raise
        return aside.path if aside else None

    def copy_file(self, beside: BackupDirectory, partial: Path) -> None:
        """Copy the backup's file, which nobody writes to, and verify the copy."""
        try:
            with (
                self.plan.choice.file.open("rb") as source,
                os.fdopen(beside.create(partial), "wb") as target,
            ):
                shutil.copyfileobj(source, target, sqlite.CHUNK_BYTES)
        except OSError as error:
            kind = NotEnoughSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else BackupError
            cause = kind(
                "%(path)s cannot be written: %(reason)s.", path=partial, reason=error.strerror
            )
            raise _with_more(cause, Text("Nothing was changed.")) from error
        if sqlite.fingerprint(partial) != self.plan.fingerprint:
            raise _changed(self.plan.choice.file)

    def bring_catalog_in_line(self) -> Backup | None:
        """Where the catalog was restored, too: let it tell of today's files.

        The safety copy's row, where it has one.
        """
        tenant = self.tenant
        rows = Backup.objects.for_tenant(tenant.id)
        try:
            self.ended += backups.recover_running(tenant)
            for backup in rows.queued():
                backups.refuse(backup, BackupError(RESTORED_AWAY))
            if self.known:
                self.known.tell(tenant)
            else:
                self.notes.append(
                    gettext(
                        "The catalog, with the settings of backups, is as old as the restored "
                        "backup. Look at retention before the next backup is made: manage.py "
                        "prunebackups --dry-run"
                    )
                )
            backups.check_files(tenant)
            orders = dict(self.known.orders) if self.known else {}
            if self.safety_name:
                orders[self.safety_name] = self.order
            backups.adopt_unknown(tenant, orders)
            if self.known:
                self.known.tell(tenant)
            backups.learn_from_folder(tenant)
            return rows.filter(file_name=self.safety_name).first() if self.safety_name else None
        except DatabaseError as error:
            text = gettext(
                "The catalog was restored with the database, and cannot be used now: %(reason)s. "
                "Run manage.py migrate, then manage.py syncbackups."
            )
            self.notes.append(text % {"reason": error})
            return None

    def conclude(self, safety_copy: Backup | Path | None) -> Restored:
        backup = self.restored_backup()
        detail = gettext("There was nothing before.")
        if safety_copy:
            detail = gettext("Before: %(copy)s") % {"copy": _name(safety_copy)}
        try:
            Event.record(EventKind.RESTORED, backup, actor=self.actor, detail=detail)
        except DatabaseError as error:
            text = gettext("The restore could not be recorded in the catalog: %(reason)s")
            self.notes.append(text % {"reason": error})
        return Restored(backup, safety_copy, self.undo(safety_copy), self.notes)

    def restored_backup(self) -> Backup:
        """The row of the restored backup; of a file that has none, what there is to say of it."""
        choice, fingerprint = self.plan.choice, self.plan.fingerprint
        with suppress(DatabaseError):
            name = choice.file.name
            rows = Backup.objects.for_tenant(self.tenant.id).filter(file_name=name)
            if choice.file.parent == self.directory.path and (backup := rows.first()):
                return backup
        return Backup(
            tenant_id=self.tenant.id,
            status=Status.COMPLETE,
            trigger=Trigger.ADOPTED,
            file_name=choice.file.name,
            size=fingerprint.size,
            sha256=fingerprint.sha256,
            created_at=datetime.fromtimestamp(choice.file.stat().st_mtime, UTC),
        )

    def undo(self, safety_copy: Backup | Path | None) -> str:
        """How to get the state before back: a command, or a sentence."""
        database = self.plan.database
        if safety_copy is None:
            text = gettext("There was no database, so to undo is to remove %(database)s.")
            return text % {"database": database}
        if isinstance(safety_copy, Path) and safety_copy.is_dir():
            text = gettext(
                "Stop everything that uses the database, remove %(database)s and, where they are "
                "there, its -wal, -shm and -journal, and move what is in %(copy)s to %(folder)s."
            )
            return text % {"database": database, "copy": safety_copy, "folder": database.parent}
        # By its file's name, since a number may be another backup's in the restored catalog.
        if isinstance(safety_copy, Path) and safety_copy.parent != self.directory.path:
            return manual.command("restorebackup", self.tenant.id, str(safety_copy))
        return manual.command("restorebackup", self.tenant.id, _file_name(safety_copy))


def _with_more(error: BackupError, more: Text) -> BackupError:
    said = type(error)("%(error)s %(more)s", error=error, more=more)
    said.backup = error.backup
    return said


def _changed(file: Path) -> BackupError:
    return BackupError("%(path)s was changed after it was verified.", path=file)


def _replaced_as_a_file(reason: DatabaseDamaged) -> str:
    # Without the advice to copy what lies beside it, which has been done.
    what = reason.values.get("error", reason)
    return gettext("%(reason)s So it was replaced as a file.") % {"reason": what}


def _name(safety_copy: Backup | Path) -> str:
    return str(safety_copy) if isinstance(safety_copy, Path) else safety_copy.file_name


def _file_name(safety_copy: Backup | Path) -> str:
    return safety_copy.name if isinstance(safety_copy, Path) else safety_copy.file_name


def _note_of(database: Path) -> Path:
    return database.with_name(f".{database.name}.journal-mode")


def _noted_mode(database: Path) -> str | None:
    """The journal mode of before a restore that was killed; None where there was none.

    Only where it is of this very file, since somebody may have replaced it meanwhile.
    """
    try:
        note = BackupDirectory(database.parent, ".").read(_note_of(database), most=100)
        found = re.fullmatch(rb"(wal|delete) (\d{1,20})\n", note)
        if found and int(found[2]) == database.stat().st_ino:
            return found[1].decode()
    except (BackupError, OSError):
        pass
    return None


def _choose(tenant: Tenant, backup: Backup) -> Choice:
    return Choice(tenant, backups.directory_of(tenant).file(backup.file_name), backup)


def _at_path(tenant: Tenant, path: Path) -> Choice:
    """The file at this path; one of the tenant's own backups is known as such."""
    directory = backups.directory_of(tenant)
    if not path.is_file():
        raise BackupNotFound("There is no file %(path)s.", path=path)
    if directory.path.is_dir() and path.parent.samefile(directory.path):
        path = directory.file(path.name)
        if _catalog_is_usable(tenant):
            rows = Backup.objects.for_tenant(tenant.id).complete()
            return Choice(tenant, path, rows.filter(file_name=path.name).first())
    return Choice(tenant, path)


def _require_no_database(choice: Choice) -> None:
    """Refuse a database that may be in use, and one that is only half of what it needs.

    To read the file of a database in use drops the locks of its users in this process, and misses
    what is still in its log.
    """
    file = choice.file
    try:
        facts = file.lstat() if choice.backup else file.stat()
    except FileNotFoundError:
        _mark(choice, EventKind.MISSING, missing_at=timezone.now())
        raise BackupError("The backup %(path)s is missing.", path=file) from None
    except OSError as error:
        raise BackupError(
            "%(path)s cannot be reached: %(reason)s.", path=file, reason=error.strerror
        ) from error
    if not stat.S_ISREG(facts.st_mode):
        raise BackupError("%(path)s is not a regular file.", path=file)
    databases = [
        (tenant.database, Text("of tenant %(tenant)r", tenant=tenant.id))
        for tenant in list_tenants().tenants
    ]
    for alias in connections:
        if path := sqlite_file(alias):
            databases.append((path, Text("%(alias)r of this project", alias=alias)))
    for database, whose in databases:
        with suppress(OSError):
            if os.path.samestat(facts, database.stat()):
                raise BackupError(
                    "%(path)s is no backup but the database %(whose)s, which may be in use. "
                    "Make a backup of it first: manage.py runbackup",
                    path=file,
                    whose=whose,
                )
    for companion in sqlite.companions(file):
        with suppress(OSError):
            if not companion.name.endswith("-shm") and companion.stat().st_size:
                raise BackupError(
                    "%(path)s is not complete without what is in %(companion)s beside it: it was "
                    "copied from a database in use. Open it once with sqlite3, say VACUUM, and "
                    "close it; then try again.",
                    path=file,
                    companion=companion.name,
                )


def _require_as_made(choice: Choice, found: Fingerprint) -> None:
    """Raise `DatabaseDamaged` where the file is not what the catalog or its companion says."""
    if choice.backup:
        expected = choice.backup.fingerprint
        if expected and expected.size != found.size:
            raise DatabaseDamaged(
                "%(path)s is damaged: it has %(found)d bytes instead of %(expected)d. Choose "
                "another one: manage.py listbackups",
                path=choice.file,
                found=found.size,
                expected=expected.size,
            )
        sha256 = expected.sha256 if expected else None
    else:
        sha256 = files.stated_sha256(choice.file)
    if sha256 and sha256 != found.sha256:
        raise DatabaseDamaged(
            "%(path)s is damaged: it was changed since its checksum was made. Choose another one: "
            "manage.py listbackups",
            path=choice.file,
        )


def _origin(choice: Choice, fingerprint: Fingerprint) -> tuple[Origin, str]:
    """Whose backup this is, and which other tenant's."""
    if choice.backup and choice.backup.trigger != Trigger.ADOPTED:
        return Origin.OWN, ""
    tenant, folder = choice.tenant, choice.file.parent
    owners: set[str] = set()
    if _catalog_is_usable(tenant):
        rows = Backup.objects.filter(sha256=fingerprint.sha256, size=fingerprint.size)
        # Whoever put the file into a folder need not have known whose it is.
        owners = set(rows.exclude(trigger=Trigger.ADOPTED).values_list("tenant_id", flat=True))
    if not owners:
        for other in list_tenants().tenants:
            path = backups.directory_of(other).path
            if path.is_dir() and folder.samefile(path):
                owners = {other.id}
    if tenant.id in owners:
        return Origin.OWN, ""
    return (Origin.OTHER, min(owners)) if owners else (Origin.UNKNOWN, "")


def _mark(
    choice: Choice, action: EventKind, detail: Text | str = "", **times: datetime | None
) -> None:
    """Note what was found out about a backup; a catalog that cannot be written keeps nobody."""
    if choice.backup:
        try:
            backups.note_found(choice.backup, action, detail, **times)
        except DatabaseError:
            logger.exception("What was found out about %s was not noted.", choice.file)


def _stamp(file: Path) -> tuple[int, ...]:
    """By what a file is known to be unchanged without reading it."""
    try:
        facts = file.stat()
    except OSError as error:
        raise BackupError(
            "%(path)s cannot be reached: %(reason)s.", path=file, reason=error.strerror
        ) from error
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _identity(file: Path) -> tuple[int, ...]:
    """By what a file is known to be the same, and as long as it was."""
    return _stamp(file)[:3]


def _resolved(database: Path) -> Path:
    try:
        return database.resolve()
    except (OSError, RuntimeError) as error:
        raise BackupError(
            "The database %(database)s cannot be reached: %(reason)s.",
            database=database,
            reason=error,
        ) from error


def holds_catalog(tenant: Tenant) -> bool:
    """Whether the catalog lies in the tenant's own database, as with `SingleTenant`."""
    catalog = sqlite_file(conf.CATALOG_DATABASE)
    return catalog is not None and _resolved(catalog) == _resolved(tenant.database)


def _catalog_is_usable(tenant: Tenant) -> bool:
    """Whether the catalog can be read; where it lies in the database to restore it may not be."""
    if not holds_catalog(tenant):
        return True
    # To connect to a file that is not there would make one.
    if not tenant.database.exists():
        return False
    try:
        # To connect to one that is damaged would cost what a killed process left beside it.
        if sqlite.left_behind(_resolved(tenant.database)):
            with sqlite.snapshot(tenant.database, busy_timeout=0, only_look=True) as seen:
                seen.require_sound(model._meta.db_table for model in CATALOG)
    except DatabaseDamaged:
        return False
    except BackupError:
        pass  # Of one that is in use it is said later that it is.
    try:
        _require_sound_catalog()
    except DatabaseError as error:
        # Of one that is in use it is said later that it is.
        code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
        return code in (SQLITE_BUSY, SQLITE_LOCKED)
    return True


def _require_sound_catalog() -> None:
    """Raise `DatabaseError` where the catalog's own pages are damaged, whatever the others are."""
    connection = connections[conf.CATALOG_DATABASE]
    with connection.cursor() as cursor:
        for model in CATALOG:
            cursor.execute(f"PRAGMA integrity_check('{model._meta.db_table}')")
            if (found := cursor.fetchall()) != [("ok",)]:
                raise DatabaseError(str(found[0][0]))
    if connection.in_atomic_block:
        return
    # A new row needs SQLite's own tables, too.
    with transaction.atomic(using=conf.CATALOG_DATABASE):
        Event.objects.create(kind=EventKind.RESTORED)
        transaction.set_rollback(True, using=conf.CATALOG_DATABASE)


def _close_connections(database: Path) -> None:
    """Close this project's own connections to the database, which are users of it as well."""
    for connection in connections.all(initialized_only=True):
        path = sqlite_file(connection.alias)
        if path and _resolved(path) == database:
            if connection.in_atomic_block:
                raise BackupError(
                    "The database %(database)s cannot be restored inside a transaction of its own.",
                    database=database,
                )
            connection.close()
