"""Judgements: the facts of one tenant, of all tenants, and of those who cannot be backed up.

The facts about all tenants take as many queries for a thousand as for one. `verdict` judges them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext

from tenant_backup import backups
from tenant_backup.exceptions import InvalidTenant
from tenant_backup.models import Backup, BackupSettings, Status, TenantState, Verdict
from tenant_backup.monitoring import absence, room
from tenant_backup.monitoring.verdict import (
    Facts,
    Finding,
    Judgement,
    judge,
    judge_as_noted,
    overdue_since,
)
from tenant_backup.tenants import Listing, Tenant

logger = logging.getLogger("tenant_backup")

TIME_TO_START = timedelta(minutes=15)
"""A queued backup counts as under way for so long, even if no worker has started it."""

A_MOMENT = timedelta(minutes=1)
"""A backup that is being deleted is marked missing, and its row is gone a moment later."""

EVER = datetime.min.replace(tzinfo=UTC)


def judge_tenant(tenant: Tenant, *, automation_runs: bool) -> Judgement:
    """How a tenant stands, after a look at its files and at its disk.

    Makes its settings where there are none yet.
    """
    BackupSettings.objects.ensure([tenant.id])
    backups.check_files(tenant)
    room.note(tenant)
    directory = backups.directory_of(tenant)
    unreachable = "" if directory.is_there() else str(directory.path)
    [judgement] = judge_all(
        [tenant], timezone.now(), automation_runs=automation_runs, unreachable=unreachable
    )
    return judgement


def judge_all(
    tenants: Sequence[Tenant],
    now: datetime,
    *,
    automation_runs: bool,
    is_patient: bool = False,
    unreachable: str = "",
) -> list[Judgement]:
    """How these tenants stand by the catalog alone, in their order, in three queries.

    A tenant without settings is new and is left out. With `is_patient`, what may be over in a
    moment does not count yet: a file that was found missing just now, and a running backup that
    has stopped moving. The next tick recovers that one, and then it has failed.
    """
    ids = [tenant.id for tenant in tenants]
    found_by = now - A_MOMENT if is_patient else now
    rows = BackupSettings.objects.filter(tenant_id__in=ids).with_latest(now, found_by=found_by)
    settings_by_id = {row.tenant_id: row for row in rows}
    states = _states(ids)
    active_by_id = {backup.tenant_id: backup for backup in Backup.objects.active()}
    return [
        _judge_valid(
            tenant,
            settings_by_id[tenant.id],
            states[tenant.id],
            active_by_id.get(tenant.id),
            now,
            automation_runs=automation_runs,
            is_patient=is_patient,
            unreachable=unreachable,
        )
        for tenant in tenants
        if tenant.id in settings_by_id
    ]


def judge_others(listing: Listing, now: datetime) -> list[Judgement]:
    """How those stand who are not backed up: not valid, or not listed by the provider any more."""
    return [*judge_invalid(listing.invalid, now), *judge_unlisted(listing.ids, now)]


def judge_invalid(errors: Iterable[InvalidTenant], now: datetime) -> list[Judgement]:
    """How the tenants stand that are not valid; all without a valid id are one."""
    reasons: dict[str, list[str]] = {}
    for error in errors:
        reasons.setdefault(error.tenant_id, []).append(str(error))
    because = {tenant_id: " ".join(texts) for tenant_id, texts in reasons.items()}
    return _judge_without_files(because, now, invalid_because=because) if because else []


def judge_unlisted(listed: Collection[str], now: datetime) -> list[Judgement]:
    """How those stand whom the catalog knows and the provider does not list."""
    known = BackupSettings.objects.order_by("tenant_id").values_list("tenant_id", flat=True)
    ids = [tenant_id for tenant_id in known if tenant_id not in listed]
    if not ids:
        return []
    because = {
        tenant_id: str(finding)
        for finding in absence.findings(now)
        for tenant_id in finding.tenant_ids
    }
    return _judge_without_files(ids, now, absent_because=because)


def verdicts_as_noted(now: datetime, *, automation_runs: bool) -> dict[str, Verdict]:
    """How everybody stood when changes were last noted, by their ids."""
    rows = list(BackupSettings.objects.with_latest(now, found_by=now))
    states = _states([row.tenant_id for row in rows])
    return {
        row.tenant_id: judge_as_noted(row, states[row.tenant_id], automation_runs=automation_runs)
        for row in rows
    }


def wrong_since(judgement: Judgement) -> datetime | None:
    """Since when the tenant has had its present verdict; None where nothing is wrong."""
    settings, state, now = judgement.settings, judgement.state, timezone.now()
    rows = Backup.objects.for_tenant(judgement.tenant_id)
    if judgement.tenant is None:
        return state.absent_since if judgement.findings else None
    match judgement.verdict:
        case Verdict.OVERDUE:
            return overdue_since(settings, judgement.tenant, now)
        case Verdict.FAILED:
            failed = rows.failed().filter(created_at__gt=settings.last_good_at or EVER)
            first = failed.order_by("created_at").first() or rows.active().first()
            return first.created_at if first else None
        case Verdict.MISSING:
            missing = rows.missing_or_damaged(found_by=now)
            times = [at for pair in missing.values_list("missing_at", "damaged_at") for at in pair]
            return min(filter(None, times), default=None)
        case Verdict.NO_ROOM:
            return state.no_room_since
    return None


def _judge_valid(
    tenant: Tenant,
    settings: BackupSettings,
    state: TenantState,
    active: Backup | None,
    now: datetime,
    *,
    automation_runs: bool,
    is_patient: bool,
    unreachable: str,
) -> Judgement:
    try:
        is_under_way = active is not None and _is_under_way(tenant, active, now)
        interrupted_at = None
        if active and active.status == Status.RUNNING and not is_under_way and not is_patient:
            interrupted_at = active.created_at
        return judge(
            Facts(
                tenant_id=tenant.id,
                tenant=tenant,
                settings=settings,
                state=state,
                now=now,
                automation_runs=automation_runs,
                is_under_way=is_under_way,
                interrupted_at=interrupted_at,
                unreachable_directory=unreachable,
            )
        )
    except Exception as error:
        # Nonsense in one row must not keep other tenants from being judged.
        logger.exception("The backups of tenant %r cannot be judged.", tenant.id)
        text = gettext("Its backups cannot be judged:")
        finding = Finding(Verdict.INVALID, text, f"{type(error).__name__}: {error}")
        return Judgement(tenant.id, tenant, settings, state, Verdict.INVALID, (finding,))


def _judge_without_files(
    tenant_ids: Iterable[str],
    now: datetime,
    *,
    invalid_because: Mapping[str, str] | None = None,
    absent_because: Mapping[str, str] | None = None,
) -> list[Judgement]:
    ids = list(tenant_ids)
    rows = {row.tenant_id: row for row in BackupSettings.objects.filter(tenant_id__in=ids)}
    states = _states(ids)
    return [
        judge(
            Facts(
                tenant_id=tenant_id,
                tenant=None,
                settings=rows.get(tenant_id) or BackupSettings(tenant_id=tenant_id),
                state=states[tenant_id],
                now=now,
                automation_runs=False,
                invalid_because=(invalid_because or {}).get(tenant_id, ""),
                absent_because=(absent_because or {}).get(tenant_id, ""),
            )
        )
        for tenant_id in ids
    ]


def _states(tenant_ids: Collection[str]) -> dict[str, TenantState]:
    """The states of these tenants; where there is none yet an empty one, not saved."""
    states = {tenant_id: TenantState(tenant_id=tenant_id) for tenant_id in tenant_ids}
    for row in TenantState.objects.filter(tenant_id__in=tenant_ids):
        states[row.tenant_id] = row
    return states


def _is_under_way(tenant: Tenant, active: Backup, now: datetime) -> bool:
    if active.status == Status.RUNNING:
        return backups.is_moving(tenant, active, now)
    return abs(now - active.created_at) < TIME_TO_START
