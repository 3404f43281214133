"""What `restorerows` says to people: what will be done, and what has been done."""

from django.utils import timezone
from django.utils.translation import gettext, ngettext

from tenant_backup import rows
from tenant_backup.management.output import shown
from tenant_backup.models import Backup, RowRestore
from tenant_backup.rows import Done, Plan, Undoing
from tenant_backup.sqlite.row_plan import Part
from tenant_backup.sqlite.row_relatives import Loss
from tenant_backup.tenants import Tenant
from tenant_backup.words import ago

SHOWN_KEYS = 5
"""So many keys of each table are shown of what will be done."""


def about_plan(plan: Plan) -> list[str]:
    """What will be done, what will not, and what is said each time."""
    tenant, source = plan.tenant, plan.source
    age = f" ({ago(source.created_at)})" if ago(source.created_at) else ""
    text = gettext("Rows will be brought back into the database of tenant %(id)s (%(name)s).")
    lines = [
        text % {"id": shown(tenant.id), "name": shown(tenant.name)},
        f"  {tenant.database}",
        gettext("from the backup %(file)s of %(time)s:")
        % {"file": source.file_name, "time": f"{_time(source)}{age}"},
    ]
    for part in plan.rows.parts:
        if number := plan.rows.count(part):
            keys = ", ".join(map(shown, plan.rows.keys_in_words(part, SHOWN_KEYS)))
            more = ", …" if number > SHOWN_KEYS else ""
            lines.append(f"  {shown(part.table)}: {_will_be(part, number)} ({keys}{more})")
    if plan.skipped.rows:
        lines.append(gettext("Skipped:"))
        lines += [f"  {text}" for text in plan.skipped.said]
        for table, numbers in sorted(plan.counts.items()):
            if number := numbers["skipped"]:
                text = gettext("%(number)d skipped in all") % {"number": number}
                lines.append(f"  {shown(table)}: {text}")
    if plan.losses:
        lines.append(gettext("Still gone:"))
        lines += [f"  {shown(loss.table)}: {_lost(loss)}" for loss in plan.losses]
    return [*lines, *map(str, rows.SAID_EACH_TIME)]


def after_restore(tenant: Tenant, source: Backup, done: Done) -> list[str]:
    number = _total(done.tables)
    text = ngettext(
        "%(tenant)s: %(number)d row is back from %(file)s.",
        "%(tenant)s: %(number)d rows are back from %(file)s.",
        number,
    )
    safety_copy = gettext(
        "The state before is backup %(id)d, %(file)s, which is held for %(days)d days."
    )
    copy = done.safety_copy
    return [
        text % {"tenant": shown(tenant.id), "number": number, "file": source.file_name},
        safety_copy % {"id": copy.pk, "file": copy.file_name, "days": rows.KEPT.days},
        *map(str, rows.SAID_EACH_TIME),
        gettext("To undo: %(command)s") % {"command": done.undo},
    ]


def about_undoing(found: Undoing) -> list[str]:
    """What will be taken back."""
    record = found.record
    text = gettext("This takes back number %(number)d, of %(time)s, by %(actor)s:")
    lines = [
        text
        % {
            "number": record.pk,
            "time": f"{timezone.localtime(record.created_at):%Y-%m-%d %H:%M:%S}",
            "actor": shown(record.actor) if record.actor else "-",
        }
    ]
    for part in found.rows.parts:
        if number := found.rows.count(part):
            lines.append(f"  {shown(part.table)}: {_will_go(part, number)}")
    return [*lines, str(rows.SAID_EACH_TIME[-1])]


def after_undo(tenant: Tenant, record: RowRestore) -> list[str]:
    number = _total(record.tables)
    text = ngettext(
        "%(tenant)s: %(number)d row is as it was before.",
        "%(tenant)s: %(number)d rows are as they were before.",
        number,
    )
    return [text % {"tenant": shown(tenant.id), "number": number}]


def _will_be(part: Part, number: int) -> str:
    values = {"number": number, "columns": ", ".join(map(shown, part.columns))}
    if part.kind == "new":
        text = ngettext("%(number)d comes back", "%(number)d come back", number)
    elif part.kind == "changed":
        text = ngettext(
            "%(number)d becomes what it was", "%(number)d become what they were", number
        )
    else:
        text = ngettext(
            "%(number)d gets its %(columns)s again, now empty",
            "%(number)d get their %(columns)s again, now empty",
            number,
        )
    return text % values


def _will_go(part: Part, number: int) -> str:
    values = {"number": number, "columns": ", ".join(map(shown, part.columns))}
    if part.kind == "new":
        text = ngettext("%(number)d is deleted", "%(number)d are deleted", number)
    elif part.kind == "changed":
        text = ngettext(
            "%(number)d becomes what it was before",
            "%(number)d become what they were before",
            number,
        )
    else:
        text = ngettext(
            "the %(columns)s of %(number)d becomes empty again",
            "the %(columns)s of %(number)d become empty again",
            number,
        )
    return text % values


def _lost(loss: Loss) -> str:
    if loss.gone is None:
        return str(loss.why)
    return gettext("%(number)d gone, not chosen") % {"number": loss.gone}


def _total(tables: dict[str, dict[str, int]]) -> int:
    return sum(numbers["restored"] + numbers["updated"] for numbers in tables.values())


def _time(backup: Backup) -> str:
    return f"{timezone.localtime(backup.created_at):%Y-%m-%d %H:%M:%S}"
