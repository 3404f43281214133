""" "Backup doesn't work?": everything that a backup needs is tried, and what to do is said.

It changes nothing, except that missing or damaged files are marked so.
"""

from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext, ngettext

from tenant_backup import backups, sqlite
from tenant_backup.automation import AutomationStatus
from tenant_backup.contact import after_the_operator
from tenant_backup.exceptions import BackupError
from tenant_backup.files import SPACE_MARGIN, size_in_words
from tenant_backup.models import Backup, BackupSettings, Status
from tenant_backup.tenants import Tenant
from tenant_backup.words import when


@dataclass(frozen=True, slots=True)
class Answer:
    """What was examined, what was found, and what to do, for people who know nothing of servers.

    What an error said is part of `found`, and may name paths on the server.
    """

    topic: str
    found: str
    is_well: bool | None = True
    """None where it is neither well nor wrong."""
    advice: str = ""
    detail: str = ""
    """What only operators see: paths, commands and how the database works."""


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
        advice = gettext("Tell the operator%(contact)s that no backup can be written.")
        detail = gettext(
            "Give the user that the web server runs as write permission in %(path)s, or free space "
            "on the disk."
        )
        return Answer(
            topic, str(error), False, _to_operator(advice), detail % {"path": directory.path}
        )
    found = gettext("A file could be written where the backups are kept.")
    detail = gettext("A file could be written in %(path)s.") % {"path": folder}
    return Answer(topic, found, detail=detail)


def _database(tenant: Tenant) -> tuple[int | None, Answer]:
    """How many bytes a copy needs, and whether the database can be read."""
    topic = gettext("The database")
    try:
        facts = sqlite.look(tenant.database, busy_timeout=backups.REQUEST_BUSY_TIMEOUT)
        size, mode = facts.size + facts.wal_bytes, facts.journal_mode
    except BackupError as error:
        advice = gettext("Tell the operator%(contact)s that the database cannot be read.")
        detail = gettext("Check the database %(path)s, and which programs have it open.")
        detail %= {"path": tenant.database}
        return None, Answer(topic, str(error), False, _to_operator(advice), detail)
    values = {"size": size_in_words(size)}
    detail = gettext("The journal mode is “%(mode)s”.") % {"mode": mode}
    if mode == "wal":
        text = gettext("Its size is %(size)s. Everybody can go on working while it is copied.")
        return size, Answer(topic, text % values, detail=detail)
    text = gettext("Its size is %(size)s. While it is copied, nobody can save anything.")
    advice = gettext(
        "If that is a problem, choose a quiet time of day, or ask the operator%(contact)s whether "
        "the database can be set up differently."
    )
    better = gettext("In WAL mode everybody can go on working while the database is copied.")
    return size, Answer(topic, text % values, True, _to_operator(advice), f"{detail} {better}")


def _space(tenant: Tenant, size: int | None) -> Answer:
    topic = gettext("Free space")
    directory = backups.directory_of(tenant)
    try:
        free = directory.free_bytes()
    except OSError as error:
        advice = gettext("Tell the operator%(contact)s that the disk cannot be read.")
        return Answer(topic, str(error), False, _to_operator(advice))
    values = {"free": size_in_words(free), "needed": size_in_words((size or 0) + SPACE_MARGIN)}
    if size is None:
        text = gettext("%(free)s are free. How much is needed is not known.")
        return Answer(topic, text % values, None)
    text = gettext("%(needed)s are needed, %(free)s are free.")
    if free >= size + SPACE_MARGIN:
        return Answer(topic, text % values)
    advice = gettext(
        "Delete backups that nobody needs, keep fewer of them (in the settings), or ask the "
        "operator%(contact)s for a larger disk."
    )
    detail = gettext("The backups are in %(path)s.") % {"path": directory.path}
    return Answer(topic, text % values, False, _to_operator(advice), detail)


def _work(tenant: Tenant) -> Answer:
    topic = gettext("Backups being made")
    active = Backup.objects.for_tenant(tenant.id).active().first()
    if active is None:
        return Answer(topic, gettext("None is queued or being made."))
    if active.status == Status.QUEUED:
        text = gettext("One has been queued since %(time)s") % {"time": when(active.created_at)}
        advice = gettext(
            "It is made in the background. You can also make it now, with the button “Create "
            "backup”."
        )
        return Answer(topic, text, None, advice, active.reason)
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
        text = gettext("The folder with the backups is not there, or out of reach.")
        advice = gettext("Tell the operator%(contact)s that it is missing.")
        detail = gettext("Check whether the disk with %(path)s is mounted.")
        detail %= {"path": directory.path}
        return Answer(topic, text, False, _to_operator(advice), detail)
    if missing:
        text = ngettext(
            "The file of %(number)d backup is missing or damaged.",
            "The files of %(number)d backups are missing or damaged.",
            missing,
        )
        advice = gettext(
            "They are marked in the list. Create a new backup, and tell the operator%(contact)s."
        )
        return Answer(topic, text % {"number": missing}, False, _to_operator(advice))
    if not good:
        return Answer(topic, gettext("There is no backup yet."), None, gettext("Create a backup."))
    text = ngettext(
        "%(number)d good backup. It is checked again from time to time.",
        "%(number)d good backups. Each is checked again from time to time.",
        good,
    )
    return Answer(topic, text % {"number": good})


def _automation(tenant: Tenant, status: AutomationStatus) -> Answer:
    topic = gettext("Automation")
    needed = BackupSettings.objects.of(tenant.id).automatic
    detail = _automation_detail(status)
    if status.is_running:
        return Answer(topic, gettext("It is running."), detail=detail)
    if status.is_paused and status.paused_at:
        text = gettext("It is paused by %(who)s since %(time)s") % {
            "who": status.paused_by or gettext("the operator"),
            "time": when(status.paused_at),
        }
        advice = gettext("Ask the operator%(contact)s how long it will be paused.")
    elif status.waiting_since:
        text = gettext("Queued backups are not made. The oldest has been waiting since %(time)s")
        text %= {"time": when(status.waiting_since)}
        advice = gettext("Tell the operator%(contact)s that queued backups are not made.")
    elif status.is_stalled:
        text = gettext("It is set up, but nothing runs it at the moment.")
        advice = gettext("Tell the operator%(contact)s that automation is stalled.")
    else:
        text = gettext("It is not set up.")
        advice = gettext("Ask the operator%(contact)s to set it up.")
    if not needed:
        advice = gettext("Your automatic backups are off, so you miss none.")
        return Answer(topic, text, None, advice, detail)
    return Answer(topic, text, False, _to_operator(advice), detail)


def _automation_detail(status: AutomationStatus) -> str:
    """When it was last seen, why it makes no backups, and what to run, for operators."""
    seen = ""
    if status.last_tick_at:
        # The words end with a full stop only where a time does not.
        seen = gettext("Last seen: %(time)s") % {"time": when(status.last_tick_at)}
    if status.is_running:
        return seen
    if status.is_paused:
        command = "python manage.py automatebackups resume"
    elif status.waiting_since:
        command = "python manage.py automatebackups status"
    elif status.is_stalled:
        command = status.start_command
    else:
        command = "python manage.py automatebackups enable"
    run = gettext("Run: %(command)s") % {"command": command}
    return "; ".join(filter(None, (seen, status.waiting_because, run)))


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


def _to_operator(advice: str) -> str:
    return advice % {"contact": after_the_operator()}
