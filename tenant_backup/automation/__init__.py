"""Automation: what makes automatic backups happen. The only module that knows django-q2.

One `Schedule` of django-q2 runs the tick every minute. The tick finds what is due and hands it to
the workers. What is due and what is done stands in our own rows; django-q2 only carries ids, and
may carry them twice.
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, connections, transaction
from django.db.models import Q
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django_q.conf import Conf as ClusterConf
from django_q.models import Failure, OrmQ, Schedule
from django_q.tasks import async_task

from tenant_backup import backups, monitoring
from tenant_backup.backups import history
from tenant_backup.conf import conf
from tenant_backup.exceptions import BackupError, BackupInProgress, TenantNotFound
from tenant_backup.models import (
    Automation,
    Backup,
    BackupQuerySet,
    BackupSettings,
    BackupSettingsQuerySet,
    Event,
    EventKind,
    TenantState,
    Trigger,
)
from tenant_backup.monitoring import absence, heartbeat
from tenant_backup.schedule import PERIODS
from tenant_backup.sqlite import Progress
from tenant_backup.tenants import InvalidTenant, Tenant, get_tenant, list_tenants

logger = logging.getLogger("tenant_backup")

SCHEDULE_NAME = "tenant_backup"
TICK = "tenant_backup.tasks.tick"
MAKE = "tenant_backup.tasks.make"
VERIFY = "tenant_backup.tasks.verify"

TASK_OPTIONS = {"ack_failure": True, "save": False}
"""A task that failed is not run again by django-q2, since our own rows know what is left to do; and
a tick every minute shall not push the host's own results out of django-q2's table."""

STALLED_AFTER = timedelta(minutes=3)
"""Without a tick for this long automation counts as stalled."""

TICKS_APART = timedelta(seconds=30)
"""Ticks that follow each other faster than this do nothing: after an outage many come at once."""

FIRST_RETRY = timedelta(minutes=15)
LONGEST_RETRY = timedelta(hours=6)
"""A failed automatic backup is tried again after the first delay, which doubles up to this."""

ENQUEUE_AGAIN_AFTER = timedelta(minutes=5)
FEW = 10
"""A queued backup that no worker has started is handed over again after the delay, which doubles
up to `LONGEST_RETRY`; and only while few are outstanding, for workers that are merely busy shall
not drown in copies."""

HANDED_OVER_WITHIN = timedelta(minutes=10)
"""What is queued for longer, and ticks could not hand over, does not reach the workers at all."""

AHEAD = timedelta(minutes=5)
"""What is later than this was written by a clock that was wrong."""

BEHIND = timedelta(minutes=5)
"""A schedule that lags further behind would make up for ticks that nobody needs any more."""

VERIFIED_APART = timedelta(days=1)
"""A backup that was verified so lately is not verified again, nor a second one of its tenant."""

SECONDS_BETWEEN_SIGNS = 30
"""How often a task that reads a backup again lets others see that it is at work."""

SPARE_SECONDS = 10
"""A backup is given up so long before its task's timeout, to end in words and not by a kill."""


class AutomationState(enum.Enum):
    NOT_SET_UP = "not set up"
    PAUSED = "paused"
    STALLED = "stalled"
    RUNNING = "running"

    @property
    def label(self) -> str:
        return {
            AutomationState.NOT_SET_UP: gettext("not set up"),
            AutomationState.PAUSED: gettext("paused"),
            AutomationState.STALLED: gettext("stalled"),
            AutomationState.RUNNING: gettext("running"),
        }[self]


@dataclass(frozen=True, slots=True)
class AutomationStatus:
    """Where automation stands."""

    state: AutomationState
    last_tick_at: datetime | None
    paused_at: datetime | None
    paused_by: str
    waiting_since: datetime | None = None
    """When ticks run and yet no backup reaches the workers: since when the oldest waits."""
    waiting_because: str = ""

    @property
    def is_paused(self) -> bool:
        return self.state is AutomationState.PAUSED

    @property
    def is_stalled(self) -> bool:
        return self.state is AutomationState.STALLED

    @property
    def is_running(self) -> bool:
        return self.state is AutomationState.RUNNING

    @property
    def start_command(self) -> str:
        """What the operator starts the cluster with.

        By a variable, since django-q2's own option for the name comes too late on Linux: its
        settings have been read by then.
        """
        command = "python manage.py qcluster"
        ours = conf.CLUSTER
        is_default = ours in (None, ClusterConf.conf.get("cluster_name"), ClusterConf.PREFIX)
        return command if is_default else f"Q_CLUSTER_NAME={ours} {command}"


def get_status(now: datetime | None = None) -> AutomationStatus:
    """Whether automatic backups happen at present, and if not, why."""
    now = now or timezone.now()
    row = Automation.load()
    left = None
    if not _is_set_up(now):
        state = AutomationState.NOT_SET_UP
    elif row.paused_at:
        state = AutomationState.PAUSED
    elif _is_alive(row, now) and not (left := _never_handed_over(now)):
        state = AutomationState.RUNNING
    else:
        state = AutomationState.STALLED
    automation_status = AutomationStatus(state, row.last_tick_at, row.paused_at, row.paused_by)
    if left:
        return replace(automation_status, waiting_since=left.created_at, waiting_because=left.error)
    return automation_status


def trouble(tenants: Iterable[Tenant], now: datetime | None = None) -> AutomationStatus | None:
    """Where automation stands, if some of these waits for it in vain; None where all is well.

    A pause is somebody's will. Whoever is kept waiting by it for too long is overdue.
    """
    there = get_status(now)
    if there.state not in (AutomationState.NOT_SET_UP, AutomationState.STALLED):
        return None
    ids = [tenant.id for tenant in tenants]
    is_wanted = BackupSettings.objects.filter(automatic=True, tenant_id__in=ids).exists()
    return there if is_wanted else None


def notify(now: datetime | None = None) -> bool:
    """Tell who is to be told, as `monitoring.notify` does, and of automation's own trouble, too."""
    return monitoring.notify(now, ask_automation=_condition)


def end_tick(now: datetime) -> None:
    """What comes last in every tick, since the servers of others may keep us waiting."""
    heartbeat.beat(all_is_well=notify(now))


def _condition(tenants: Sequence[Tenant], now: datetime) -> monitoring.Condition:
    """How automation stands, in the words of a mail."""
    if not (found := trouble(tenants, now)):
        text = gettext("Automation is running again.")
        is_running = get_status(now).state is AutomationState.RUNNING
        return monitoring.Condition("", gettext("automation is running again"), text, is_running)
    headline = gettext("automation is %(state)s") % {"state": found.state.label}
    if found.state is AutomationState.NOT_SET_UP:
        text = gettext(
            "Automation is not set up, so no automatic backup is made. Set it up: %(command)s"
        )
        values = {"command": "python manage.py automatebackups enable"}
        return monitoring.Condition(found.state.value, headline, text % values, False)
    seen = gettext("It has never been seen yet.")
    if found.last_tick_at:
        at = date_format(timezone.localtime(found.last_tick_at), "DATETIME_FORMAT")
        seen = gettext("It was last seen at %(time)s.")
        seen %= {"time": f"{at} ({timezone.get_current_timezone_name()})"}
    text = gettext(
        "Automation is stalled, so no automatic backup is made. %(seen)s Start a cluster "
        "(%(command)s), or let cron run python manage.py runbackup --due every minute. Workers "
        "that are busy with other long tasks look the same."
    )
    values = {"seen": seen, "command": found.start_command}
    return monitoring.Condition(found.state.value, headline, text % values, False)


def set_up() -> None:
    """Make the schedule row, or put it right: there is one, every minute, on our cluster."""
    wanted = {
        "func": TICK,
        "schedule_type": Schedule.MINUTES,
        "minutes": 1,
        "repeats": -1,
        "cluster": conf.CLUSTER,
        "kwargs": repr({"q_options": TASK_OPTIONS}),
    }
    with transaction.atomic(using=conf.CATALOG_DATABASE):
        schedule = Schedule.objects.filter(name=SCHEDULE_NAME).order_by("pk").first()
        if schedule is None:
            Schedule.objects.create(name=SCHEDULE_NAME, next_run=timezone.now(), **wanted)
            return
        # The name is not unique in django-q2's table; a second row would only tick twice.
        Schedule.objects.filter(name=SCHEDULE_NAME).exclude(pk=schedule.pk).delete()
        now = timezone.now()
        if not _is_near(schedule.next_run, now):
            wanted["next_run"] = now
        Schedule.objects.filter(pk=schedule.pk).update(**wanted)


def take_down(using: str) -> None:
    """Remove the schedule from this database, and what is queued there for our tasks.

    Once the app is not installed any more, such a message would kill each worker that takes it.
    """
    tables = set(connections[using].introspection.table_names())
    if Schedule._meta.db_table in tables:
        Schedule.objects.using(using).filter(name=SCHEDULE_NAME).delete()
    if OrmQ._meta.db_table in tables:
        messages = OrmQ.objects.using(using)
        ours = [
            message.pk
            for message in messages.iterator()
            if str(message.task.get("func")) in (TICK, MAKE, VERIFY)
        ]
        messages.filter(pk__in=ours).delete()


def set_up_after_migrate(*, using: str, **kwargs: Any) -> None:
    """Receiver of our `post_migrate`, which comes for each alias after every `migrate`."""
    if using != conf.CATALOG_DATABASE:
        return
    tables = set(connections[using].introspection.table_names())
    if {model._meta.db_table for model in (Schedule, Automation, BackupSettings)} <= tables:
        # Apps may be migrated one by one, so django-q2's table, or the host's, may lack columns
        # yet. The next `migrate` makes up for it, and for the settings the tick, too.
        for doing, do in (("set up automation", set_up), ("make settings", _ensure_settings)):
            try:
                do()
            except Exception as error:  # noqa: BLE001 - whatever the host's own code raises
                logger.warning("Cannot %s yet: %s: %s", doing, type(error).__name__, error)


def pause(by: str) -> None:
    """Start nothing automatic until `resume`, not even what is queued already."""
    Automation.load()
    running = Automation.objects.filter(paused_at=None)
    with transaction.atomic(using=conf.CATALOG_DATABASE):
        if running.update(paused_at=timezone.now(), paused_by=by):
            Event.record(EventKind.PAUSED, "", actor=by)


def resume(by: str) -> None:
    """Take automatic backups up again."""
    paused = Automation.objects.exclude(paused_at=None)
    with transaction.atomic(using=conf.CATALOG_DATABASE):
        if paused.update(paused_at=None, paused_by=""):
            Event.record(EventKind.RESUMED, "", actor=by)
            # What was queued meanwhile shall not wait for its turn to be handed over again.
            Backup.objects.queued().update(enqueued_at=None)


def is_paused() -> bool:
    return Automation.load().paused_at is not None


def tick(now: datetime | None = None) -> None:
    """What the schedule runs every minute: mend what crashed, claim what is due, hand it over."""
    now = now or timezone.now()
    row = Automation.load()
    just_ran = Q(last_tick_at__gt=now - TICKS_APART, last_tick_at__lte=now)
    if not Automation.objects.exclude(just_ran).update(last_tick_at=now):
        return
    ten_minutes_passed = _ten_minutes(row.last_tick_at) != _ten_minutes(now)
    if ten_minutes_passed:
        with _logged("Making the settings of the tenants"):
            _ensure_settings(now)
        with _logged("Marking what is dated in the future"):
            backups.note_future()
    # With `catch_up`, django-q2's default, each tick that was missed would be made up for.
    _schedules().filter(next_run__lt=timezone.now() - BEHIND).update(next_run=timezone.now())
    _recover_and_claim(now, BackupSettings.objects.all())
    _hand_over_waiting(now)
    with _logged("Choosing a backup to verify again"):
        _verify_one_more(now)
    with _logged("Removing what is old from the history"):
        forget(now, failures=ten_minutes_passed)
    end_tick(now)


def verify(backup_id: int) -> str:
    """What a worker does with a backup that is to be verified again. Returns what came of it."""
    backup = Backup.objects.good().filter(pk=backup_id).first()
    tenant = _tenant(backup.tenant_id) if backup else None
    if backup is None or tenant is None:
        return "nothing to do"
    shown_at = time.monotonic()

    def show_work() -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= SECONDS_BETWEEN_SIGNS:
            shown_at = time.monotonic()
            Automation.objects.update(worker_seen_at=timezone.now())

    deadline = _task_limits().deadline
    try:
        return backups.verify(tenant, backup, deadline=deadline, sign_of_life=show_work) or "good"
    except BackupError as error:
        logger.error("The backup %s of tenant %r was not verified: %s", backup, tenant.id, error)
        return str(error)


def is_due(tenant: Tenant, now: datetime) -> bool:
    """Whether `take_due` would find something to do for this tenant."""
    settings = BackupSettings.objects.of(tenant.id)
    slot_has_come = settings.automatic and settings.next_run_at and settings.next_run_at <= now
    return bool(slot_has_come and not is_paused()) or _waiting().for_tenant(tenant.id).exists()


def take_due(
    tenants: Sequence[Tenant], now: datetime, *, counts_as_tick: bool
) -> list[tuple[Tenant, Backup]]:
    """What there is to do for these tenants without a cluster: what is due, and what is queued.

    Counts as a tick where these are all tenants: somebody looks after everybody's backups.
    """
    if counts_as_tick:
        Automation.load()
        Automation.objects.update(last_tick_at=now)
    by_id = {tenant.id: tenant for tenant in tenants}
    _recover_and_claim(now, BackupSettings.objects.filter(tenant_id__in=by_id))
    waiting = _waiting().filter(tenant_id__in=by_id).order_by("created_at")
    return [(by_id[backup.tenant_id], backup) for backup in waiting]


def enqueue(backup: Backup) -> None:
    """Hand a queued backup to the workers, unless it is with them. Otherwise the tick will."""
    if backup.enqueued_at is None:
        _hand_over(backup, timezone.now())


def enqueue_verify(backup: Backup) -> None:
    """Have a worker read a good backup again.

    Raises `BackupError` inside a transaction, for the reason of `_hand_over`: no tick would make up
    for it.
    """
    if _in_a_transaction():
        raise BackupError("Inside a database transaction it cannot be handed to a worker.")
    async_task(VERIFY, backup.pk, q_options=_options())


def is_running() -> bool:
    return get_status().state is AutomationState.RUNNING


def _hand_over(backup: Backup, now: datetime) -> None:
    """Give the workers the backup's id.

    django-q2's ORM broker closes connections whose alias is in autocommit, and with them a
    transaction that the host has open on another alias. So inside any transaction it is left.
    """
    if _in_a_transaction():
        return
    row = Backup.objects.queued().filter(pk=backup.pk, enqueued_at=backup.enqueued_at)
    if not row.update(enqueued_at=now, error=""):
        return
    backup.enqueued_at = now
    try:
        async_task(MAKE, backup.pk, q_options=_options())
    except Exception as error:
        # Whatever the host's broker raises: the row stays queued and says why.
        logger.exception("Backup %s cannot be handed to a worker.", backup.pk)
        text = gettext("It cannot be handed to a worker: %(kind)s: %(reason)s")
        reason = text % {"kind": type(error).__name__, "reason": error}
        Backup.objects.queued().filter(pk=backup.pk).update(error=reason, enqueued_at=None)


def _in_a_transaction() -> bool:
    return any(
        connection.connection is not None and not connection.get_autocommit()
        for connection in connections.all(initialized_only=True)
    )


def _options() -> dict[str, Any]:
    return {**TASK_OPTIONS, "cluster": conf.CLUSTER, "group": SCHEDULE_NAME}


def perform(
    tenant: Tenant, backup: Backup, *, progress: Progress | None = None
) -> backups.BackupResult | None:
    """Make what `take_due` gave, unless a pause or another process has come in between.

    With many tenants that may be hours ago.
    """
    if not _may_be_made(backup):
        return None
    try:
        return backups.perform(tenant, backup.pk, progress=progress)
    except BackupInProgress:
        return None


def _may_be_made(backup: Backup) -> bool:
    """Whether it is still queued, and does not wait for the end of a pause."""
    return _waiting().filter(pk=backup.pk).exists()


def make(backup_id: int) -> str:
    """What a worker does with a queued backup; may be called twice. Returns what came of it."""
    backup = Backup.objects.queued().filter(pk=backup_id).first()
    if backup is None:
        return "nothing to do"
    if not _may_be_made(backup):
        return "paused"
    try:
        tenant = get_tenant(backup.tenant_id)
    except (TenantNotFound, InvalidTenant) as error:
        backups.refuse(backup, error)
        return str(error)
    except Exception:
        logger.exception("The tenant provider failed with tenant %r.", backup.tenant_id)
        return "the tenant provider failed; the tick asks again"
    try:
        made = backups.perform(tenant, backup_id, limits=_task_limits())
    except BackupInProgress:
        return "another process is at work; the tick asks again"
    except BackupError as error:
        if error.backup is None:
            raise
        # The row says it, and monitoring tells it. What is raised here, django-q2 keeps for ever
        # among the host's failures, with a traceback.
        return str(error)
    return str(made.backup) if made else "nothing to do"


def retry_after_failure(*, tenant: Tenant, backup: Backup, **kwargs: Any) -> None:
    """Receiver of `backup_failed`: try a slot's backup again, but never past the next slot.

    Whether the slot's, not whether automatic: a person may have taken the queued one over.
    """
    if backup.slot_at is None:
        return
    rows = Backup.objects.for_tenant(tenant.id)
    # By their numbers: a clock that was wrong for a while has no say in which came later.
    last_good = rows.good().order_by("-pk").first()
    failures = rows.failed().filter(pk__gt=last_good.pk if last_good else 0).exclude(slot_at=None)
    before = max(failures.count() - 1, 0)
    delay = min(FIRST_RETRY * 2 ** min(before, 10), LONGEST_RETRY)
    again_at = timezone.now() + delay
    BackupSettings.objects.filter(
        tenant_id=tenant.id, automatic=True, next_run_at__gt=again_at
    ).update(next_run_at=again_at)


def _schedules() -> Any:
    # repeats=0 is how django-q2 marks a schedule as exhausted.
    return Schedule.objects.filter(name=SCHEDULE_NAME).exclude(repeats=0)


def _is_set_up(now: datetime) -> bool:
    """Whether there is the schedule; one that is far from now is put right.

    django-q2 reckons from the clock of the moment: it would not tick for as long as that was ahead,
    and no restart of the cluster would help. And it runs each tick that was missed in an outage.
    """
    next_runs = list(_schedules().values_list("next_run", flat=True))
    if not all(_is_near(next_run, now) for next_run in next_runs):
        set_up()
    return bool(next_runs)


def _is_near(next_run: datetime | None, now: datetime) -> bool:
    return next_run is not None and now - BEHIND <= next_run <= now + AHEAD


def _never_handed_over(now: datetime) -> Backup | None:
    """The oldest backup that waits although ticks run, if something keeps it from the workers."""
    before = now - HANDED_OVER_WITHIN
    left = Backup.objects.queued().filter(enqueued_at=None, created_at__lt=before)
    oldest = left.order_by("created_at").first()
    if oldest is None or oldest.error:
        return oldest
    # Without a cluster nothing is handed over: one backup is made after the other.
    if _is_making_one(now, Backup.objects.all()):
        return None
    # What has waited for the end of a pause is not handed over before the next tick.
    if Event.objects.filter(kind=EventKind.RESUMED, created_at__gt=before).exists():
        return None
    return oldest


def _is_alive(row: Automation, now: datetime) -> bool:
    # A single worker that verifies a large backup cannot tick meanwhile.
    for seen_at in (row.last_tick_at, row.worker_seen_at):
        if seen_at and now - STALLED_AFTER < seen_at < now + AHEAD:
            return True
    # Nor while it makes a large backup. What a person makes elsewhere says nothing of workers.
    return _is_making_one(now, Backup.objects.exclude(enqueued_at=None, slot_at=None))


def _ten_minutes(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp()) // 600


def _ensure_settings(now: datetime | None = None) -> None:
    listing = list_tenants()
    if not len(listing) and (known := BackupSettings.objects.count()):
        logger.error(
            "The tenant provider lists no tenant at all, though the catalog knows %d. Nobody is "
            "backed up. Is a disk not mounted?",
            known,
        )
    BackupSettings.objects.ensure(tenant.id for tenant in listing.tenants)
    absence.note(listing.ids, now or timezone.now())


@contextmanager
def _logged(doing: str) -> Iterator[None]:
    """Log whatever goes wrong with one tenant, or in the host's provider, and go on with the next.

    One tenant's trouble must not keep any other from its backup.
    """
    try:
        yield
    except Exception:
        logger.exception("%s failed.", doing)


def _tenant(tenant_id: str) -> Tenant | None:
    """The tenant; None, and it is left alone, where it is gone or the provider fails with it."""
    try:
        return get_tenant(tenant_id)
    except TenantNotFound:
        return None
    except InvalidTenant as error:
        logger.error("Passing over tenant %r: %s", tenant_id, error)
        return None
    except Exception:
        logger.exception("The tenant provider failed with tenant %r.", tenant_id)
        return None


def _waiting() -> BackupQuerySet:
    """What is queued and may be made now: nothing automatic while automation is paused."""
    queued = Backup.objects.queued()
    return queued.exclude(trigger=Trigger.AUTOMATIC) if is_paused() else queued


def _recover_and_claim(now: datetime, settings: BackupSettingsQuerySet) -> None:
    """Queue a backup for each tenant whose slot has come, exactly once a slot.

    Several processes may do this at once. A row that a crash left `running` would be in the way, so
    those are mended first, and with them what was left half deleted.
    """
    left = [*Backup.objects.running(), *Backup.objects.being_deleted()]
    for tenant_id in sorted({backup.tenant_id for backup in left}):
        if tenant := _tenant(tenant_id):
            with _logged(f"Mending the backups of tenant {tenant.id!r}"):
                backups.recover(tenant)
    if is_paused():
        return
    # So was what is scheduled since a moment in the future, which would hide that it is overdue.
    settings.filter(automatic=True, scheduled_since__gt=now).update(scheduled_since=now)
    unset = Q(next_run_at=None)
    for interval, period in PERIODS.items():
        # No slot is so far away: a clock that was ahead has set it.
        unset |= Q(interval=interval, next_run_at__gt=now + period + timedelta(days=1))
    for row in settings.filter(unset, automatic=True):
        if tenant := _tenant(row.tenant_id):
            with _logged(f"Setting the next run of tenant {tenant.id!r}"):
                row.reschedule(tenant.zone, now)
    for row in settings.filter(automatic=True, next_run_at__lte=now):
        if tenant := _tenant(row.tenant_id):
            with _logged(f"Claiming the slot of tenant {tenant.id!r}"):
                _claim_slot(row, tenant, now)


def _claim_slot(settings: BackupSettings, tenant: Tenant, now: datetime) -> None:
    slot_at = settings.next_run_at
    try:
        with transaction.atomic(using=conf.CATALOG_DATABASE):
            if not settings.reschedule(tenant.zone, now):
                return  # another process was faster
            Backup.objects.create(tenant_id=tenant.id, trigger=Trigger.AUTOMATIC, slot_at=slot_at)
    except IntegrityError:
        # A backup of this tenant is queued or running. The slot waits for the next tick.
        logger.info("The slot %s of tenant %r waits for an active backup.", slot_at, tenant.id)


def _verify_one_more(now: datetime) -> None:
    """While nothing else is to do, let a worker read the backup again that was longest unread.

    So that rot is noticed before the backup is needed. At most one a tick, and one a tenant a day.
    """
    if is_paused() or _waiting().exists() or _in_a_transaction():
        return
    if _is_making_one(now, Backup.objects.all()):
        return
    before, ahead = now - VERIFIED_APART, now + AHEAD

    def is_long_ago(field: str) -> Q:
        # What a clock that was ahead has noted says nothing, and would be in the way until then.
        return Q((f"{field}__lt", before)) | Q((f"{field}__gt", ahead))

    is_waiting = Q(verify_queued_at=None) | is_long_ago("verify_queued_at")
    others = TenantState.objects.exclude(is_waiting)
    stale = (
        Backup.objects.good()
        .filter(is_waiting, is_long_ago("verified_at"))
        .exclude(tenant_id__in=others.values("tenant_id"))
    )
    # By the last attempt, too: one that cannot be read shall not keep all others from it.
    last_at = Coalesce(Greatest("verify_queued_at", "verified_at"), "verified_at")
    unknown_first = stale.annotate(last_at=last_at, unknown=Q(last_at__gt=ahead))
    backup = unknown_first.order_by("-unknown", "last_at", "pk").first()
    if backup is None:
        return
    state = TenantState.objects.of(backup.tenant_id)
    if state.change("verify_queued_at", verify_queued_at=now):
        async_task(VERIFY, backup.pk, q_options=_options())
        Backup.objects.filter(pk=backup.pk).update(verify_queued_at=now)


def forget(now: datetime, *, failures: bool = True) -> None:
    """While nothing else is to do, remove a batch of what is old from the history.

    And with `failures` of what django-q2 notes of our tasks, which it keeps for ever.
    """
    if _waiting().exists() or _is_making_one(now, Backup.objects.all()):
        return
    history.forget(now)
    if failures:
        ours = Failure.objects.filter(
            func__in=[TICK, MAKE, VERIFY], stopped__lt=now - history.FAILURES_LAST
        )
        ids = list(ours.values_list("pk", flat=True)[: history.BATCH])
        Failure.objects.filter(pk__in=ids).delete()


def _is_making_one(now: datetime, rows: BackupQuerySet) -> bool:
    return any(
        backups.is_moving(tenant, backup, now)
        for backup in rows.running()
        if (tenant := _tenant(backup.tenant_id))
    )


def _hand_over_waiting(now: datetime) -> None:
    if _in_a_transaction():
        # As with `sync`, where the tick is run by the scheduler itself.
        reason = gettext(
            "It cannot be handed to a worker: the tick runs inside a database transaction. Is "
            "“sync” set in Q_CLUSTER?"
        )
        _waiting().filter(enqueued_at=None, error="").update(error=reason)
        return
    waiting = list(_waiting().order_by("created_at"))
    handed_over = [backup for backup in waiting if backup.enqueued_at]
    again = [backup for backup in handed_over if _is_overdue(backup, now)]
    outstanding = len(handed_over) - len(again)
    first = [backup for backup in waiting if not backup.enqueued_at]
    for backup in [*first, *again[: max(0, FEW - outstanding)]]:
        _hand_over(backup, now)


def _is_overdue(backup: Backup, now: datetime) -> bool:
    """Whether it was handed over so long ago that its message is probably lost."""
    assert backup.enqueued_at is not None  # noqa: S101 - it was handed over
    if backup.enqueued_at > now + AHEAD:
        return True
    doubled = min(backup.enqueued_at - backup.created_at, LONGEST_RETRY)
    return now - backup.enqueued_at >= max(ENQUEUE_AGAIN_AFTER, doubled)


def _task_limits() -> backups.Limits:
    timeout = ClusterConf.TIMEOUT
    if not timeout:
        return backups.NO_LIMITS
    return backups.Limits(deadline=time.monotonic() + max(timeout - SPARE_SECONDS, timeout / 2))
