"""The queue: everything that this app asks of django-q2. No other module imports it.

One schedule runs the tick every minute, and each task carries the id of a row in our catalog.
django-q2 may lose a task, or deliver it twice; what is due and what is done is in our own rows.
"""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.apps import apps
from django.db import connections, transaction
from django.utils import timezone

from tenant_backup.conf import conf

# Without the app, its models cannot be imported. The check that reports this must still run.
if apps.is_installed("django_q"):
    from django_q.conf import Conf as ClusterConf
    from django_q.models import Failure, OrmQ, Schedule
    from django_q.tasks import async_task

SCHEDULE_NAME = "tenant_backup"
TICK = "tenant_backup.tasks.tick"
MAKE = "tenant_backup.tasks.make"
VERIFY = "tenant_backup.tasks.verify"

TASK_OPTIONS = {"ack_failure": True, "save": False}
"""django-q2 must not repeat a task that failed, since our own rows know what is left to do. Nor may
it save our results: one every minute would push the host's own out of its table."""

NEAR = timedelta(minutes=5)
"""A schedule whose next run is further from now than this was set by a clock that was wrong, or
would make up for ticks that nobody needs any more."""

SPARE_SECONDS = 10
"""Our work gives up so long before the task's timeout, to end with a message and not by a kill."""


def send(task: str, backup_id: int) -> None:
    """Queue a task about a backup. Raises whatever the host's broker raises."""
    options = {**TASK_OPTIONS, "cluster": conf.CLUSTER, "group": SCHEDULE_NAME}
    async_task(task, backup_id, q_options=options)


def in_a_transaction() -> bool:
    """Whether any database has a transaction open, in which nothing may be sent.

    django-q2's ORM broker closes connections whose alias is in autocommit, and with them a
    transaction that the host has open on another alias.
    """
    return any(
        connection.connection is not None and not connection.get_autocommit()
        for connection in connections.all(initialized_only=True)
    )


def deadline() -> float | None:
    """The value of `time.monotonic()` by which this task must end; None where it has no timeout."""
    timeout: float | None = ClusterConf.TIMEOUT
    if not timeout:
        return None
    return time.monotonic() + max(timeout - SPARE_SECONDS, timeout / 2)


def next_runs() -> list[datetime | None]:
    """When the tick runs next; nothing where there is no schedule that runs it."""
    # repeats=0 is how django-q2 marks a schedule as exhausted.
    schedules = Schedule.objects.filter(name=SCHEDULE_NAME).exclude(repeats=0)
    return list(schedules.values_list("next_run", flat=True))


def set_up() -> None:
    """Create the schedule, or correct it: there is one, every minute, on our cluster."""
    now = timezone.now()
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
            Schedule.objects.create(name=SCHEDULE_NAME, next_run=now, **wanted)
            return
        # The name is not unique in django-q2's table; a second row would only tick twice.
        Schedule.objects.filter(name=SCHEDULE_NAME).exclude(pk=schedule.pk).delete()
        if not _is_near(schedule.next_run, now):
            wanted["next_run"] = now
        Schedule.objects.filter(pk=schedule.pk).update(**wanted)


def repair_schedule(next_runs: Iterable[datetime | None]) -> None:
    """Correct the schedule if one of these, its next runs, is far from now.

    A missing schedule stays missing.

    django-q2 computes the next run from the clock of the moment. After a clock that was ahead it
    would not tick until that time, even if the cluster is restarted. After an outage it would run
    every tick that was missed.
    """
    now = timezone.now()
    if not all(_is_near(next_run, now) for next_run in next_runs):
        set_up()


def has_tables(using: str) -> bool:
    """Whether django-q2's schedules have their table in this database."""
    return Schedule._meta.db_table in connections[using].introspection.table_names()


def take_down(using: str) -> None:
    """Remove the schedule from this database, and the queued messages of our tasks.

    Once the app is removed from the project, such a message would kill each worker that takes it.
    """
    tables = connections[using].introspection.table_names()
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


def forget_failures(before: datetime, *, limit: int) -> None:
    """Delete failures of our tasks that ended before this time; django-q2 keeps them forever."""
    old = Failure.objects.filter(func__in=[TICK, MAKE, VERIFY], stopped__lt=before)
    ids = list(old.values_list("pk", flat=True)[:limit])
    Failure.objects.filter(pk__in=ids).delete()


def start_command() -> str:
    """The shell command that starts the cluster that runs our tasks.

    It names the cluster by a variable, since django-q2's own option for the name comes too late on
    Linux: its settings have been read by then.
    """
    command = "python manage.py qcluster"
    ours = conf.CLUSTER
    is_default = ours in (None, ClusterConf.conf.get("cluster_name"), ClusterConf.PREFIX)
    return command if is_default else f"Q_CLUSTER_NAME={ours} {command}"


def _is_near(next_run: datetime | None, now: datetime) -> bool:
    return next_run is not None and abs(now - next_run) <= NEAR
