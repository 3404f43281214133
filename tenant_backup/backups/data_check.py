"""The check of a backup's data: whether the host finds in it what must be there.

SQLite knows whether a file is sound, but only the host knows whether its books balance. So the
host's `check_restored`, if it has one, reads each backup after its file was checked. What it raises
is a finding about the data; the backup stays good, and can be restored.
"""

import logging
import time
from collections.abc import Callable
from inspect import iscoroutine
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DatabaseError, connections

from tenant_backup import sqlite
from tenant_backup.backups.folder import directory_of
from tenant_backup.backups.verification import verify
from tenant_backup.catalog import catalog_transaction, close_connection
from tenant_backup.exceptions import BackupError, DeadlineExceeded
from tenant_backup.models import Backup, Event, EventKind, Trigger
from tenant_backup.sqlite import SignOfLife
from tenant_backup.tenants import Tenant, check_of_data
from tenant_backup.texts import Text, data_of, joined

logger = logging.getLogger("tenant_backup")

SECONDS = 60
"""How long the host's check may take."""

LONGEST = 500
"""Characters of what the host's check says that are kept."""

PLAIN = (AssertionError, ValueError, ValidationError)
"""What somebody raises to say something. Of any other exception its kind is named, too."""


def verify_with_data(
    tenant: Tenant,
    backup: Backup,
    *,
    deadline: float | None = None,
    sign_of_life: SignOfLife | None = None,
) -> str:
    """As `verify`, and then the host's own check; what either of them finds."""
    flaw = verify(tenant, backup, deadline=deadline, sign_of_life=sign_of_life)
    if flaw or backup.trigger == Trigger.RESTORE:
        # A safety copy holds the state that somebody wanted to leave.
        return flaw
    check_data(tenant, backup, deadline=deadline, sign_of_life=sign_of_life)
    return backup.reason


def check_data(
    tenant: Tenant,
    backup: Backup,
    *,
    deadline: float | None = None,
    sign_of_life: SignOfLife | None = None,
) -> None:
    """Have the host check the data of a good backup, and note in the catalog what it finds.

    If `deadline`, a time of `time.monotonic()`, comes before the time that every check is allowed,
    what was found before stays. Whatever the host's code does, nothing is raised.
    """
    file = directory_of(tenant).file(backup.file_name)
    try:
        finding = ask_host(tenant, file, deadline=deadline, sign_of_life=sign_of_life)
    except DeadlineExceeded as error:
        logger.warning("The data of %s were not checked for %r: %s", backup, tenant.id, error)
        return
    note_data(backup, finding)


def note_data(backup: Backup, finding: Text | None) -> None:
    """Note what the host's check found in a backup, and in the history whether that is news.

    A catalog that cannot be written is logged: it stops nothing.
    """
    changes = {
        "check_error": str(finding) if finding else "",
        "check_error_data": data_of(finding) if finding else "",
    }
    if changes["check_error_data"] == backup.check_error_data:
        return
    kind = EventKind.CHECK_FAILED if finding else EventKind.CHECK_PASSED
    is_news = bool(finding) != bool(backup.check_error)
    rows = Backup.objects.complete().filter(pk=backup.pk, deleting_at=None)
    try:
        with catalog_transaction():
            if rows.update(**changes) and is_news:
                Event.record(kind, backup, detail=finding or "")
    except DatabaseError:
        logger.exception("What the check of the data of %s found was not noted.", backup)
    else:
        vars(backup).update(changes)


def ask_host(
    tenant: Tenant,
    file: Path,
    *,
    deadline: float | None = None,
    sign_of_life: SignOfLife | None = None,
) -> Text | None:
    """What the host's own check finds in a backup's file; None if nothing, or if there is none.

    Raises `DeadlineExceeded` if `deadline` comes before the time that every check is allowed.
    """
    check = check_of_data()
    if check is None:
        return None
    allowed = time.monotonic() + SECONDS
    is_hurried = deadline is not None and deadline < allowed
    close_connection()
    try:
        raised = sqlite.visit(
            file,
            _guarded(check, tenant),
            name=tenant.id,
            deadline=deadline if deadline is not None and is_hurried else allowed,
            sign_of_life=sign_of_life,
        )
    except DeadlineExceeded as error:
        if is_hurried:
            raise
        return joined(error, Text("At most %(seconds)d seconds are allowed.", seconds=SECONDS))
    except Exception as error:  # noqa: BLE001 - no backup may fail because of it
        return _in_words(error)
    if raised is None:
        return None
    logger.warning(
        "The data of tenant %r in %s did not pass check_restored.",
        tenant.id,
        file,
        exc_info=raised,
    )
    return _in_words(raised)


def _guarded(check: Callable[[Tenant, Any], object], tenant: Tenant) -> Callable[[Any], None]:
    """The check as a visit calls it: in a thread whose database connections end with it."""

    def look(connection: Any) -> None:
        try:
            answer = check(tenant, connection)
        finally:
            connections.close_all()
        if iscoroutine(answer):
            answer.close()
            raise BackupError("check_restored is asynchronous, so nothing was checked.")
        if answer is False:
            raise BackupError("check_restored returned False.")

    return look


def _in_words(error: BaseException) -> Text:
    """What an exception of the host's code says, whatever it is."""
    if isinstance(error, BackupError):
        return error
    kind = type(error).__name__
    try:
        messages = error.messages if isinstance(error, ValidationError) else [str(error)]
        said = " ".join(map(str, messages)).strip()
    except Exception:  # noqa: BLE001 - an exception that cannot even be printed
        said = ""
    if len(said) > LONGEST:
        said = f"{said[:LONGEST]}…"
    if "no such collation" in said or "no such function" in said:
        return Text(
            "%(kind)s: %(reason)s. check_restored must register the project's functions and "
            "collations on the connection.",
            kind=kind,
            reason=said,
        )
    if not said:
        return Text("%(kind)s, without a message.", kind=kind)
    if isinstance(error, PLAIN):
        return Text("%(reason)s", reason=said)
    return Text("%(kind)s: %(reason)s", kind=kind, reason=said)
