"""Ticks: what the schedule runs every minute, in its order."""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import Q
from django.utils import timezone

from tenant_backup import backups, rows
from tenant_backup.automation import claims, handover, queue, reverification
from tenant_backup.automation.claims import logged
from tenant_backup.automation.status import is_making_one, waiting
from tenant_backup.automation.trouble import notify
from tenant_backup.backups import history_expiry
from tenant_backup.conf import conf
from tenant_backup.models import Automation, Backup, BackupSettings
from tenant_backup.monitoring import absence, heartbeat
from tenant_backup.tenants import list_tenants

logger = logging.getLogger("tenant_backup")

TICKS_APART = timedelta(seconds=30)
"""Ticks that follow each other faster than this do nothing: after an outage many come at once."""


def tick(now: datetime | None = None) -> None:
    """Recover what crashed, claim what is due, hand it over, and tell who is to be told."""
    now = now or timezone.now()
    row = Automation.load()
    just_ran = Q(last_tick_at__gt=now - TICKS_APART, last_tick_at__lte=now)
    if not Automation.objects.exclude(just_ran).update(last_tick_at=now):
        return
    ten_minutes_passed = _ten_minutes(row.last_tick_at) != _ten_minutes(now)
    if ten_minutes_passed:
        with logged("Making the settings of the tenants"):
            ensure_settings(now)
        with logged("Marking what is dated in the future"):
            backups.note_future()
    queue.repair_schedule(queue.next_runs())
    with logged("Recovering what was brought back"):
        rows.recover_all()
    claims.recover_and_claim(now, BackupSettings.objects.all())
    handover.hand_over_waiting(now)
    with logged("Choosing a backup to verify again"):
        reverification.verify_one_more(now)
    with logged("Removing what is old from the history"):
        forget(now, failures=ten_minutes_passed)
    end_tick(now)


def end_tick(now: datetime) -> None:
    """What comes last in every tick, since other people's servers may keep us waiting."""
    heartbeat.beat(all_is_well=notify(now))


def forget(now: datetime, *, failures: bool = True) -> None:
    """If nothing else is to do, remove a batch of what is old from the history.

    With `failures`, what the queue has noted of our failed tasks, too.
    """
    if waiting().exists() or is_making_one(now, Backup.objects.all()):
        return
    history_expiry.forget(now)
    rows.forget(now)
    if failures:
        queue.forget_failures(now - history_expiry.FAILURES_LAST, limit=history_expiry.BATCH)


def ensure_settings(now: datetime | None = None) -> None:
    """Make the settings of new tenants, and note which tenants have disappeared."""
    listing = list_tenants()
    if not len(listing) and (known := BackupSettings.objects.count()):
        logger.error(
            "The tenant provider lists no tenant at all, though the catalog knows %d. Nobody is "
            "backed up. Is a disk not mounted?",
            known,
        )
    BackupSettings.objects.ensure(tenant.id for tenant in listing.tenants)
    absence.note(listing.ids, now or timezone.now())


def set_up_after_migrate(*, using: str, **kwargs: Any) -> None:
    """Receiver of our `post_migrate`, which comes for each alias after every `migrate`."""
    if using != conf.CATALOG_DATABASE or not queue.has_tables(using):
        return
    ours = {Automation._meta.db_table, BackupSettings._meta.db_table}
    if not ours <= set(connections[using].introspection.table_names()):
        return
    # Apps may be migrated one by one, so django-q2's table, or the host's, may still lack columns.
    # The next `migrate` makes up for it, and for the settings the tick, too.
    steps = {"set up automation": queue.set_up, "make settings": ensure_settings}
    for doing, step in steps.items():
        try:
            step()
        except Exception as error:  # noqa: BLE001 - whatever the host's own code raises
            logger.warning("Cannot %s yet: %s: %s", doing, type(error).__name__, error)


def _ten_minutes(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp()) // 600
