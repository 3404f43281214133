""" "Backup doesn't work?": everything that a backup needs is tried, and what to do is said.

It changes nothing, except that missing or damaged files are marked so.
"""

from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext, ngettext

from tenant_backup import backups, sqlite
from tenant_backup.automation import AutomationStatus
from tenant_backup.exceptions import BackupError
from tenant_backup.files import SPACE_MARGIN, size_in_words
from tenant_backup.models import Backup, BackupSettings, Status
from tenant_backup.tenants import Tenant
from tenant_backup.words import when


@dataclass(frozen=True, slots=True)
class Answer:
    """What was examined, what was found, and what to do. `found` may name paths on the server."""

    topic: str
    found: str
    is_well: bool | None = True
    """None where it is neither well nor wrong."""
    advice: str = ""


def examine(tenant: Tenant, automation_status: AutomationStatus) -> list[Answer]:
    """Try everything that a backup of this tenant needs."""
    size, database = _database(tenant)
    answers = [
        _permission(tenant),
        _space(tenant, size),
        database,
        _work(tenant),
        _files(tenant),
        _automation(tenant, automation_status),
    ]
    is_repaired = all(answer.is_well is not False for answer in answers)
    return [*answers, _last_attempt(tenant, is_repaired=is_repaired)]


def _permission(tenant: Tenant) -> Answer:
    topic = gettext("Write permission")
    directory = backups.directory_of(tenant)
    try:
        folder = directory.try_writing()
    except BackupError as error:
        advice = gettext(
            "The operator gives the user that the web server runs as write permission there, or "
            "frees space on the disk."
        )
        return Answer(topic, str(error), False, advice)
    return Answer(topic, gettext("A file could be written in %(path)s.") % {"path": folder})


def _database(tenant: Tenant) -> tuple[int | None, Answer]:
    """How many bytes a copy needs, and whether the database can be read."""
    topic = gettext("The database")
    try:
        facts = sqlite.look(tenant.database, busy_timeout=backups.REQUEST_BUSY_TIMEOUT)
        size, mode = facts.size + facts.wal_bytes, facts.journal_mode
    except BackupError as error:
        advice = gettext("The operator checks the database, and which programs have it open.")
        return None, Answer(topic, str(error), False, advice)
    values = {"size": size_in_words(size), "mode": mode}
    if mode == "wal":
        text = gettext(
            "Its size is %(size)s, and its journal mode is “%(mode)s” (a write-ahead log), so "
            "everybody can go on working while it is copied."
        )
        return size, Answer(topic, text % values)
    text = gettext(
        "Its size is %(size)s, and its journal mode is “%(mode)s”, so nothing can be saved while "
        "it is copied."
    )
    advice = gettext(
        "If that is a problem, the operator can set the journal mode to WAL, or you can choose a "
        "quiet time of day."
    )
    return size, Answer(topic, text % values, True, advice)


def _space(tenant: Tenant, size: int | None) -> Answer:
    topic = gettext("Free space")
    directory = backups.directory_of(tenant)
    try:
        free = directory.free_bytes()
    except OSError as error:
        return Answer(topic, str(error), False, gettext("The operator checks the disk."))
    values = {"free": size_in_words(free), "needed": size_in_words((size or 0) + SPACE_MARGIN)}
    if size is None:
        text = gettext("%(free)s are free. How much is needed is not known.")
        return Answer(topic, text % values, None)
    text = gettext("%(needed)s are needed, %(free)s are free.")
    if free >= size + SPACE_MARGIN:
        return Answer(topic, text % values)
    advice = gettext(
        "Delete backups that nobody needs, keep fewer of them by the settings, or ask the operator "
        "for a larger disk."
    )
    return Answer(topic, text % values, False, advice)


def _work(tenant: Tenant) -> Answer:
    topic = gettext("Backups being made")
    active = Backup.objects.for_tenant(tenant.id).active().first()
    if active is None:
        return Answer(topic, gettext("None is queued or being made."))
    if active.status == Status.QUEUED:
        text = gettext("One has been queued since %(time)s") % {"time": when(active.created_at)}
        advice = gettext("A worker will make it, or you do with the button “Create backup”.")
        return Answer(topic, _with_reason(text, active.reason), None, advice)
    if backups.is_moving(tenant, active, timezone.now()):
        return Answer(topic, gettext("One is being made right now."))
    since = backups.last_progress_at(tenant, active)
    text = gettext("One was started, and has made no progress since %(time)s")
    advice = gettext("Create a backup. That also cleans up this one.")
    return Answer(topic, text % {"time": when(since)}, False, advice)


def _files(tenant: Tenant) -> Answer:
    topic = gettext("The files of the backups")
    backups.check_files(tenant)
    rows = Backup.objects.for_tenant(tenant.id)
    good, missing = rows.good().count(), rows.missing_or_damaged(timezone.now()).count()
    directory = backups.directory_of(tenant)
    if good and not directory.is_there():
        text = gettext("The backup directory %(path)s is not there, or out of reach.")
        advice = gettext("The operator checks whether the disk is mounted.")
        return Answer(topic, text % {"path": directory.path}, False, advice)
    if missing:
        text = ngettext(
            "The file of %(number)d backup is missing or damaged.",
            "The files of %(number)d backups are missing or damaged.",
            missing,
        )
        advice = gettext("They are marked in the list. Create a new backup, and tell the operator.")
        return Answer(topic, text % {"number": missing}, False, advice)
    if not good:
        return Answer(topic, gettext("There is no backup yet."), None, gettext("Create a backup."))
    text = ngettext(
        "%(number)d good backup. Automation verifies it again from time to time.",
        "%(number)d good backups. Automation verifies each again from time to time.",
        good,
    )
    return Answer(topic, text % {"number": good})


def _automation(tenant: Tenant, automation_status: AutomationStatus) -> Answer:
    topic = gettext("Automation")
    needed = BackupSettings.objects.of(tenant.id).automatic
    is_well = False if needed else None
    seen_at = automation_status.last_tick_at
    seen = gettext("It was last seen %(time)s") % {"time": when(seen_at)} if seen_at else ""
    if automation_status.is_running:
        return Answer(topic, seen or gettext("It is running."))
    if automation_status.is_paused and automation_status.paused_at:
        text = gettext("It is paused by %(who)s since %(time)s") % {
            "who": automation_status.paused_by or gettext("the operator"),
            "time": when(automation_status.paused_at),
        }
        command = "python manage.py automatebackups resume"
    elif automation_status.waiting_since:
        text = gettext("Queued backups do not reach a worker. The oldest was queued %(time)s.") % {
            "time": when(automation_status.waiting_since)
        }
        command = "python manage.py automatebackups status"
    elif automation_status.is_stalled:
        text = f"{gettext('It is set up, but nothing runs it.')} {seen}".rstrip()
        command = automation_status.start_command
    else:
        text = gettext("It is not set up.")
        command = "python manage.py migrate"
    advice = gettext("The operator runs: %(command)s") % {"command": command}
    if not needed:
        advice = gettext("Your automatic backups are off, so you miss none.")
    return Answer(topic, text, is_well, advice)


def _last_attempt(tenant: Tenant, *, is_repaired: bool) -> Answer:
    topic = gettext("The last attempt")
    rows = Backup.objects.for_tenant(tenant.id).exclude(Backup.ACTIVE)
    last = rows.counted(timezone.now()).newest_first().first()
    if last is None:
        return Answer(topic, gettext("There has been none yet."), None, gettext("Create a backup."))
    if last.status != Status.FAILED:
        return Answer(topic, gettext("It succeeded %(time)s") % {"time": when(last.created_at)})
    text = gettext("It failed %(time)s") % {"time": when(last.created_at)}
    advice = gettext("Solve the problems above, then create a backup.")
    if is_repaired:
        advice = gettext("Create a backup to see whether it works now.")
    return Answer(topic, _with_reason(text, last.reason), False, advice)


def _with_reason(text: str, error: str) -> str:
    return f"{text}: {error}" if error else text
