"""Requests: what is asked for, how long it may take, and the row that answers it."""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from django.db import IntegrityError

from tenant_backup.backups import quota
from tenant_backup.catalog import catalog_transaction
from tenant_backup.conf import conf
from tenant_backup.exceptions import AlreadyAskedFor, BackupInProgress, RowChanged
from tenant_backup.models import Backup, Status, Trigger
from tenant_backup.tenants import Tenant

REQUEST_BUSY_TIMEOUT = 5
"""Seconds that a web request waits at most for a locked database, or for the tenant's lock."""

REQUEST_CHECK_SECONDS = 5
"""Seconds that a web request waits at most for the host's own check of the data. If it takes
longer, it is done when the backup is verified again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest:
    """What is asked for: the fields of a row that the person or program asking decides."""

    trigger: Trigger
    label: str = ""
    pinned: bool = False
    requested_by: str = ""
    slot_at: datetime | None = None
    replaces: int | None = None
    """The backup made by hand that may go when this one is complete, if a limit demands it."""
    form_token: str = ""
    """What the form that asks for it is known by; empty without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long making a backup may take.

    `lock_wait`: seconds to wait while another process is at work on the same tenant.
    `busy_timeout`: seconds to wait for a locked database; None for the setting `BUSY_TIMEOUT`.
    `deadline`: the time of `time.monotonic()` at which to give up; None for never.
    `check_seconds`: how long the host's own check of the data may take; None for as long as ever.
    """

    lock_wait: float = 0
    busy_timeout: float | None = None
    deadline: float | None = None
    check_seconds: float | None = None

    @property
    def database_wait(self) -> float:
        return conf.BUSY_TIMEOUT if self.busy_timeout is None else self.busy_timeout

    def check_deadline(self) -> float | None:
        """Until when the host's own check of the data may take, if it begins now."""
        if self.check_seconds is None:
            return self.deadline
        return min(filter(None, (time.monotonic() + self.check_seconds, self.deadline)))


NO_LIMITS = Limits()


def request_timeout() -> float:
    """Seconds that a web request waits for a lock."""
    return min(REQUEST_BUSY_TIMEOUT, conf.BUSY_TIMEOUT)


def request_limits() -> Limits:
    """The limits of a backup that a web request makes."""
    return Limits(busy_timeout=request_timeout(), check_seconds=REQUEST_CHECK_SECONDS)


def admitted(tenant: Tenant, request: BackupRequest) -> BackupRequest:
    """The request, which replaces something only if it has to.

    Raises `LimitReached` if there is no room for a backup made by hand, and `AlreadyAskedFor` if
    its form was sent before.
    """
    _require_first(tenant, request)
    if request.trigger != Trigger.MANUAL:
        return request
    replaces = quota.admit(tenant, replaces=request.replaces, actor=request.requested_by)
    return replace(request, replaces=replaces)


def claim(tenant: Tenant, request: BackupRequest) -> Backup:
    """The queued row that answers this request: the one that is there, or a new one.

    Raises `BackupInProgress` if a backup of this tenant is running, and `AlreadyAskedFor` if the
    request's form was sent before: who makes it now holds the tenant's lock, and so sees what a
    request beside this one has made.
    """
    _require_first(tenant, request)
    rows = Backup.objects.for_tenant(tenant.id)
    active = rows.active().first()
    if active is None:
        with suppress(IntegrityError), catalog_transaction():
            return rows.create(tenant_id=tenant.id, **asdict(request))
        # Another process was faster, maybe with the same form.
        _require_first(tenant, request)
        active = rows.active().first()
    if active and active.status == Status.QUEUED:
        with suppress(RowChanged):
            active.take_over(
                trigger=request.trigger,
                label=request.label,
                pinned=request.pinned,
                requested_by=request.requested_by,
                replaces=request.replaces,
                form_token=request.form_token,
            )
            return active
    raise BackupInProgress(
        "A backup of %(tenant)s is being made at this moment.", tenant=tenant.name
    )


def _require_first(tenant: Tenant, request: BackupRequest) -> None:
    """Raise `AlreadyAskedFor` if the form of this request was sent before.

    After a failure people may send it again.
    """
    if not request.form_token:
        return
    rows = Backup.objects.for_tenant(tenant.id).filter(form_token=request.form_token)
    if backup := rows.exclude(status=Status.FAILED).newest_first().first():
        error = AlreadyAskedFor(
            "This backup of %(tenant)s was already asked for.", tenant=tenant.name
        )
        error.backup = backup
        raise error
