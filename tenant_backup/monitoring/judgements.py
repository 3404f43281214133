"""Judgements: gathers the facts about tenants, for `verdict` to judge them.

About a thousand tenants that takes as many queries as about one.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext

from tenant_backup import backups
from tenant_backup.exceptions import InvalidTenant
from tenant_backup.models import Backup, BackupSettings, RowLoss, Status, TenantState, Verdict
from tenant_backup.monitoring import absence, disk_space
from tenant_backup.monitoring.verdict import (
    Facts,
    Finding,
    Judgement,
    judge,
    overdue_since,
    verdict_of_backups,
)
from tenant_backup.rows import look_at_new
from tenant_backup.tenants import Listing, Tenant

logger = logging.getLogger("tenant_backup")

TIME_TO_START = timedelta(minutes=15)
"""A queued backup counts as under way for this long, even if no worker has started it."""

A_MOMENT = timedelta(minutes=1)
"""A backup that is being deleted is marked missing, and its row is gone a moment later."""

NEED_ATTENTION = {verdict for verdict in Verdict if verdict.needs_attention}

EVER = datetime.min.replace(tzinfo=UTC)


def judge_tenant(tenant: Tenant, *, automation_runs: bool) -> Judgement:
    """How a tenant stands, after a look at its files, at its disk and for lost rows.

    Makes its settings if there are none yet.
    """
    BackupSettings.objects.ensure([tenant.id])
    backups.check_files(tenant)
    disk_space.note(tenant)
    look_at_new([tenant])
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
    """How these tenants stand by the catalog alone, in their order, in four queries.

    A tenant without settings is new and is left out. With `is_patient`, what may be over in a
    moment does not count yet: a file that was found missing just now, and a running backup that
    has stopped moving. The next tick recovers that one, and then it has failed.
    """
    ids = [tenant.id for tenant in tenants]
    found_by = now - A_MOMENT if is_patient else now
    rows = BackupSettings.objects.filter(tenant_id__in=ids).with_latest(now, found_by=found_by)
    settings_by_id = {row.tenant_id: row for row in rows}
    states = _states(ids)
    active = Backup.objects.active().filter(tenant_id__in=ids)
    active_by_id = {backup.tenant_id: backup for backup in active}
    losses = _losses(ids)
    judgements = []
    for tenant in tenants:
        if not (settings := settings_by_id.get(tenant.id)):
            continue
        state, backup = states[tenant.id], active_by_id.get(tenant.id)
        try:
            is_under_way = backup is not None and _is_under_way(tenant, backup, now)
            interrupted_at = None
            if backup and backup.status == Status.RUNNING and not is_under_way and not is_patient:
                interrupted_at = backup.created_at
            facts = Facts(
                tenant_id=tenant.id,
                tenant=tenant,
                settings=settings,
                state=state,
                now=now,
                automation_runs=automation_runs,
                is_under_way=is_under_way,
                interrupted_at=interrupted_at,
                unreachable_directory=unreachable,
                losses=losses.get(tenant.id, ()),
            )
            judgements.append(judge(facts))
        except Exception as error:
            # Nonsense in one row must not keep other tenants from being judged.
            logger.exception("The backups of tenant %r cannot be judged.", tenant.id)
            text = gettext("Its backups cannot be judged:")
            finding = Finding(Verdict.INVALID, text, f"{type(error).__name__}: {error}")
            judgements.append(
                Judgement(tenant.id, tenant, settings, state, Verdict.INVALID, (finding,))
            )
    return judgements


def judge_others(listing: Listing, now: datetime) -> list[Judgement]:
    """How those stand who are not backed up: not valid, or not listed by the provider any more."""
    return [*judge_invalid(listing.invalid, now), *judge_unlisted(listing.ids, now)]


def judge_invalid(errors: Iterable[InvalidTenant], now: datetime) -> list[Judgement]:
    """How the tenants stand that are not valid; all without a valid id are one."""
    reasons: dict[str, str] = {}
    for error in errors:
        reasons[error.tenant_id] = f"{reasons.get(error.tenant_id, '')} {error}".lstrip()
    because = {key: Finding(Verdict.INVALID, reason) for key, reason in reasons.items()}
    return _judge_without_backups(because, now, because)


def judge_unlisted(listed: Collection[str], now: datetime) -> list[Judgement]:
    """How those stand whom the catalog knows and the provider does not list."""
    known = BackupSettings.objects.order_by("tenant_id").values_list("tenant_id", flat=True)
    return _judge_absent([tenant_id for tenant_id in known if tenant_id not in listed], now)


def verdicts_as_noted(now: datetime, *, automation_runs: bool) -> dict[str, Verdict]:
    """How everybody stood when changes were last noted, by id, for when the provider fails."""
    rows = list(BackupSettings.objects.with_latest(now, found_by=now))
    states = _states([row.tenant_id for row in rows])
    verdicts = {}
    for row in rows:
        noted = states[row.tenant_id].noted
        if noted in NEED_ATTENTION:
            verdicts[row.tenant_id] = Verdict(noted)
        else:
            verdicts[row.tenant_id] = verdict_of_backups(row, automation_runs=automation_runs)
    absent = [tenant_id for tenant_id, state in states.items() if state.absent_since]
    return verdicts | {each.tenant_id: each.verdict for each in _judge_absent(absent, now)}


def wrong_since(judgement: Judgement) -> datetime | None:
    """Since when the tenant has had its present verdict; None if nothing is wrong."""
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
        case Verdict.ROWS_LOST:
            return min(loss.found_at for loss in judgement.losses)
        case Verdict.NO_ROOM:
            return state.no_room_since
    return None


def _judge_absent(tenant_ids: Collection[str], now: datetime) -> list[Judgement]:
    if not tenant_ids:
        return []
    because = {
        tenant_id: Finding(Verdict.DISAPPEARED, str(finding))
        for finding in absence.findings(now)
        for tenant_id in finding.tenant_ids
    }
    return _judge_without_backups(tenant_ids, now, because)


def _judge_without_backups(
    tenant_ids: Collection[str], now: datetime, because: Mapping[str, Finding]
) -> list[Judgement]:
    """How those stand of whom the provider gives no valid tenant."""
    rows = {row.tenant_id: row for row in BackupSettings.objects.filter(tenant_id__in=tenant_ids)}
    states = _states(tenant_ids)
    return [
        judge(
            Facts(
                tenant_id=tenant_id,
                tenant=None,
                settings=rows.get(tenant_id) or BackupSettings(tenant_id=tenant_id),
                state=states[tenant_id],
                now=now,
                finding=because.get(tenant_id),
            )
        )
        for tenant_id in tenant_ids
    ]


def _states(tenant_ids: Collection[str]) -> dict[str, TenantState]:
    """The states of these tenants, an empty one, not saved, for each that has none yet."""
    there_are = {row.tenant_id: row for row in TenantState.objects.filter(tenant_id__in=tenant_ids)}
    return {key: there_are.get(key) or TenantState(tenant_id=key) for key in tenant_ids}


def _losses(tenant_ids: Collection[str]) -> dict[str, list[RowLoss]]:
    """The open findings of lost rows, by tenant, the first one first."""
    found: dict[str, list[RowLoss]] = {}
    open_ones = RowLoss.objects.open().filter(tenant_id__in=tenant_ids)
    for loss in open_ones.order_by("found_at", "pk"):
        found.setdefault(loss.tenant_id, []).append(loss)
    return found


def _is_under_way(tenant: Tenant, active: Backup, now: datetime) -> bool:
    if active.status == Status.RUNNING:
        return backups.is_moving(tenant, active, now)
    return abs(now - active.created_at) < TIME_TO_START
