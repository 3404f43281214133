"""Losses: the findings that tables have lost rows, and the backups that are held because of them.

After each backup somebody looks: whoever prunes next, who must know what to hold, or else whoever
judges the tenant next. So a finding does not depend on the process that made the backup.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from django.db.models import Q
from django.utils import timezone

from tenant_backup.backups import hold_for_losses, index_kept
from tenant_backup.catalog import catalog_transaction
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, Event, EventKind, RowCounts, RowLoss, sane_numbers
from tenant_backup.rows.counts import fold_pruned
from tenant_backup.tenants import Tenant
from tenant_backup.texts import Text
from tenant_backup.vanishing import OLDEST, YOUNGEST, Counted, Loss, Past, Rule, losses

logger = logging.getLogger("tenant_backup")

NEVER_LOST = (
    "django_session",
    "django_q_*",
    "tenant_backup_*",
    "django_admin_log",
    "django_migrations",
)
"""Tables, or patterns of their names, that are cleaned as a matter of course."""

HELD = timedelta(days=90)
"""A finding holds its backup for so long at most."""

NEWEST_HELD = 2
"""So many backups are held beside that of the first finding: the newest ones."""

OFTEN = 2
"""A table whose rows came back by themselves so often within the baseline's age: its findings are
a part of the baseline, so that a table that is emptied every week is no finding every week."""

MOST_BACKUPS = 1000
"""If no backup is of the baseline's age, so many of the others are looked at, the newest ones."""

IS_HELD = Text("It is the last backup before rows were lost.")


def rule() -> Rule:
    """How many rows must be missing, by the setting `ROWS_LOST`."""
    given = {**type(conf).ROWS_LOST.default, **conf.ROWS_LOST}
    return Rule(given["share"], given["rows"])


def left_out(tables: Iterable[str]) -> set[str]:
    """Those of which nobody wants to know that they lost rows."""
    patterns = [name.lower() for name in (*NEVER_LOST, *conf.ROWS_LOST.get("exclude", ()))]
    return {
        table
        for table in set(tables)
        if any(fnmatchcase(table.lower(), pattern) for pattern in patterns)
    }


def open_losses(tenant_id: str) -> list[RowLoss]:
    """The findings about a tenant that are neither intended nor over, the first one first."""
    rows = RowLoss.objects.for_tenant(tenant_id).open().select_related("before", "after")
    return list(rows.order_by("found_at", "pk"))


def intend(tenant: Tenant, loss: RowLoss, actor: str) -> None:
    """Say that the rows were removed on purpose. From now on, fewer are what there should be.

    Raises `BackupError` if the finding has ended already.
    """
    now = timezone.now()
    with index_kept(tenant) as is_behind, catalog_transaction():
        if loss.tenant_id != tenant.id or not _end(loss, now, intended_by=actor or "-"):
            raise BackupError("This finding has ended already.")
        Event.record(EventKind.INTENDED, tenant.id, actor=actor, detail=_numbers(loss))
        _hold(tenant, now, counts=not is_behind, actor=actor)


def look_at_new(tenants: Collection[Tenant]) -> None:
    """Look whether rows were lost where there is a new backup; of all tenants in one query.

    A failure is logged: nobody else's judgement may depend on it.
    """
    waiting = RowCounts.objects.waiting()
    if len(tenants) == 1:
        waiting = waiting.filter(tenant_id__in=[tenant.id for tenant in tenants])
    ids = set(waiting.values_list("tenant_id", flat=True))
    for tenant in tenants:
        if tenant.id in ids:
            try:
                look(tenant)
            except Exception:
                logger.exception("Nobody knows whether tenant %r has lost rows.", tenant.id)


def look_before_pruning(*, tenant: Tenant, **kwargs: object) -> None:
    """Receiver of `before_pruning`: what must be kept is held before anything is removed."""
    look(tenant)


def look(tenant: Tenant, now: datetime | None = None) -> list[RowLoss]:
    """Look whether the newest backup has lost rows, once after each; the findings that are new.

    They are noted, their backups held, and those ended whose rows are back: all that or nothing,
    and of several processes that look at once, one does it.
    """
    waiting = RowCounts.objects.waiting().filter(tenant_id=tenant.id)
    if not waiting.exists():
        return []
    now = now or timezone.now()
    counted = _counted(tenant.id, now)
    known = list(RowLoss.objects.for_tenant(tenant.id).order_by("pk"))
    were_open = [loss for loss in known if loss.ended_at is None]
    newest = counted[0] if counted else None
    past = _past(known, since=newest.created_at - OLDEST) if newest else {}
    names = {name for each in counted for name in each.tables}
    without = left_out(names).union(loss.table for loss in were_open)
    found = losses(counted, rule(), past=past, without=without)
    over = [loss for loss in were_open if newest and _is_over(loss, newest)]
    if not found and not over:
        with catalog_transaction():
            if waiting.update(looked_at=now) and newest:
                _note_numbers(were_open, newest)
                spans = [(loss.after_at, loss.ended_at) for loss in known]
                fold_pruned(tenant.id, since=newest.created_at - OLDEST, without=spans)
        return []
    with index_kept(tenant) as is_behind, catalog_transaction():
        if not waiting.update(looked_at=now):
            return []  # Somebody else has just looked.
        if newest:
            _note_numbers(were_open, newest)
        for loss in over:
            # They were back when the backup was made, which is a baseline again.
            if _end(loss, newest.created_at if newest else now):
                Event.record(EventKind.ROWS_BACK, tenant.id, detail=_numbers(loss))
        new = [row for loss in found if (row := _note(tenant, loss, now))]
        _hold(tenant, now, counts=not is_behind)
    return new


def _counted(tenant_id: str, now: datetime) -> list[Counted]:
    """What was counted in the good backups, newest first; also in those that are pruned by now.

    What was saved before a restore is left out: it is not what there was afterwards.
    """
    good = Backup.objects.for_tenant(tenant_id).good().counted(now)
    kept = RowCounts.objects.filter(tenant_id=tenant_id, is_compared=True)
    rows = kept.filter(Q(backup=None) | Q(backup__in=good)).order_by("-created_at", "-pk")
    newest_at = rows.exclude(backup=None).values_list("created_at", flat=True).first()
    if newest_at is None:
        return []
    columns = rows.filter(created_at__lte=newest_at).values_list(
        "backup_id", "created_at", "tables", "migrations"
    )
    recent = [_as_counted(*row) for row in columns.filter(created_at__gte=newest_at - OLDEST)]
    if any(each.created_at <= newest_at - YOUNGEST for each in recent):
        return recent
    return [_as_counted(*row) for row in columns[:MOST_BACKUPS]]


def _as_counted(pk: int | None, at: datetime, tables: object, migrations: str) -> Counted:
    return Counted(pk, at, sane_numbers(tables), migrations)


def _past(known: Sequence[RowLoss], since: datetime) -> Mapping[str, Past]:
    """What is known of the earlier findings, by the table's name; they are in their order."""
    often = _came_back_often(known, since)
    past: dict[str, Past] = {}
    for loss in known:
        before = past.get(loss.table, Past())
        if loss.intended_by:
            past[loss.table] = Past(loss.after_at, loss.ended_at, before.losses)
        elif loss not in often:
            spans = (*before.losses, (loss.after_at, loss.ended_at))
            past[loss.table] = Past(before.intended_from, before.intended_at, spans)
    return past


def _came_back_often(known: Iterable[RowLoss], since: datetime) -> list[RowLoss]:
    """The findings of the last weeks about tables whose rows came back by themselves, and often.

    That is, without a restore, and before anybody said a word. Such a table shrinks and grows.
    """
    ended = [each for each in known if each.ended_at and each.ended_at >= since]
    ended = [each for each in ended if not each.intended_by]
    if len(ended) < OFTEN:
        return []
    restores = Event.objects.for_tenant(ended[0].tenant_id).filter(
        kind__in=[EventKind.RESTORED, EventKind.ROWS_RESTORED], created_at__gte=since
    )
    times = list(restores.values_list("created_at", flat=True))
    by_themselves = [
        each
        for each in ended
        if not any(each.after_at <= at <= (each.ended_at or at) for at in times)
    ]
    number = Counter(each.table for each in by_themselves)
    return [each for each in by_themselves if number[each.table] >= OFTEN]


def _is_over(loss: RowLoss, newest: Counted) -> bool:
    """Whether the rows are back, or nobody wants to know any more."""
    if left_out([loss.table]):
        return True
    rows = newest.tables.get(loss.table, 0)
    is_known = rows is not None and newest.created_at >= loss.after_at
    return is_known and not rule().is_lost(loss.least_before, rows or 0)


def _note(tenant: Tenant, loss: Loss, now: datetime) -> RowLoss | None:
    """Note a new finding; None if it is noted already."""
    row, is_new = RowLoss.objects.get_or_create(
        tenant_id=tenant.id,
        table=loss.table,
        ended_at=None,
        defaults={
            "rows_before": loss.rows_before,
            "rows_now": loss.rows_now,
            "least_before": loss.least_before,
            "before_id": loss.before.pk,
            "after_id": loss.after.pk,
            "before_at": loss.before.created_at,
            "after_at": loss.after.created_at,
            "found_at": now,
        },
    )
    if not is_new:
        return None
    Event.record(EventKind.ROWS_LOST, tenant.id, detail=_numbers(row))
    return row


def _note_numbers(were_open: Iterable[RowLoss], newest: Counted) -> None:
    """Note how many rows there are now."""
    for loss in were_open:
        rows = newest.tables.get(loss.table, 0)
        if rows is not None and rows != loss.rows_now:
            RowLoss.objects.open().filter(pk=loss.pk).update(rows_now=rows)
            loss.rows_now = rows


def _end(loss: RowLoss, now: datetime, *, intended_by: str = "") -> bool:
    """End a finding; False if it has ended already."""
    row = RowLoss.objects.open().filter(pk=loss.pk)
    return bool(row.update(ended_at=now, intended_by=intended_by[:255]))


def _hold(tenant: Tenant, now: datetime, *, counts: bool, actor: str = "") -> None:
    """Hold the backups before the open findings: that of the first, and the two newest."""
    until: dict[int, datetime] = {}
    for loss in open_losses(tenant.id):
        if loss.before_id is not None and loss.found_at + HELD > now:
            until[loss.before_id] = loss.found_at + HELD
    ids = list(until)
    chosen = {*ids[:1], *ids[1:][-NEWEST_HELD:]}
    wanted = {pk: (IS_HELD, end) for pk, end in until.items() if pk in chosen}
    hold_for_losses(tenant, wanted, counts=counts, actor=actor)


def _numbers(loss: RowLoss) -> Text:
    return Text(
        "%(table)s: %(before)d rows before, %(now)d now.",
        table=loss.table,
        before=loss.rows_before,
        now=loss.rows_now,
    )
