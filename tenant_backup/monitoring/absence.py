"""Absence: tenants that the provider no longer lists, by accident or on purpose.

Nothing of theirs is deleted. A tenant with good backups that has not been listed for a day has
disappeared, which is a finding, until it is back or somebody says that it is gone on purpose: that
it is retired.
"""

import logging
import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from tenant_backup.conf import conf
from tenant_backup.models import (
    Backup,
    BackupSettings,
    Event,
    EventKind,
    TenantState,
    TenantStateQuerySet,
)
from tenant_backup.monitoring.moments import moment_in_words

logger = logging.getLogger("tenant_backup")

ABSENT_AFTER = timedelta(hours=24)
"""A tenant that is not listed for this long is a finding. Until then it may just be moving."""

MANY = 3
AT_ONCE = timedelta(hours=1)
"""This many tenants that disappeared, each less than `AT_ONCE` after the one before, are one
finding: what they have in common, such as a disk that is not mounted, must be looked at."""

RETIRE = "python manage.py syncbackups --retire"

FEW = 10
"""How many ids a sentence names at most."""

CHUNK = 500


@dataclass(frozen=True, slots=True)
class Absence:
    """One tenant that has disappeared, or many that disappeared at once."""

    tenant_ids: tuple[str, ...]
    since: datetime
    """When the first of them was missed."""

    @property
    def tenant_id(self) -> str:
        """The tenant's id if it is one tenant, otherwise empty."""
        return self.tenant_ids[0] if len(self.tenant_ids) == 1 else ""

    def __str__(self) -> str:
        values = {"time": moment_in_words(self.since)}
        if self.tenant_id:
            text = gettext(
                "The tenant provider has not listed it since %(time)s, and it has good backups. "
                "Is its folder still there? If it is gone on purpose, say so: %(command)s"
            )
            return text % {**values, "command": f"{RETIRE} {_in_a_shell(self.tenant_id)}"}
        text = gettext(
            "%(number)d tenants that have good backups have disappeared at once: the tenant "
            "provider has not listed them since %(time)s. Is a disk not mounted? They are: "
            "%(tenants)s. If they are gone on purpose, say so: %(command)s"
        )
        return text % {
            **values,
            "number": len(self.tenant_ids),
            "tenants": some_of(self.tenant_ids),
            "command": f"{RETIRE} TENANT…",
        }


def _in_a_shell(tenant_id: str) -> str:
    """A tenant's id as an argument of a command that can be copied."""
    word = shlex.quote(tenant_id) if tenant_id.isprintable() else ascii(tenant_id)
    return f"-- {word}" if word.startswith("-") else word


def some_of(tenant_ids: Sequence[str]) -> str:
    """The first ids, and how many more there are."""
    names = [key if key.isprintable() else ascii(key) for key in tenant_ids[:FEW]]
    if more := len(tenant_ids[FEW:]):
        text = ngettext("%(number)d more", "%(number)d more", more)
        names.append(text % {"number": more})
    return ", ".join(names)


def note(listed: Set[str], now: datetime) -> None:
    """Note which tenants the catalog knows and the provider does not list.

    `listed` has the ids of all that it lists. A tenant that is back is not retired any more.
    """
    known = {
        *BackupSettings.objects.values_list("tenant_id", flat=True),
        *Backup.objects.order_by().values_list("tenant_id", flat=True).distinct(),
    }
    is_marked = Q(absent_since__isnull=False) | Q(retired_at__isnull=False)
    marked = {row.tenant_id: row for row in TenantState.objects.filter(is_marked)}
    gone = sorted(
        tenant_id
        for tenant_id in known - listed
        if not (row := marked.get(tenant_id)) or not row.absent_since or row.absent_since > now
    )
    back = [key for key, row in marked.items() if key in listed and row.absent_since]
    # Hosts retire a tenant shortly before they remove it, not years.
    lapsed = [
        key
        for key, row in marked.items()
        if key in listed and row.retired_at and not now - ABSENT_AFTER < row.retired_at <= now
    ]
    if gone:
        # So that each is in the list of all tenants, and can be retired there.
        BackupSettings.objects.ensure(gone)
        TenantState.objects.ensure(gone)
    for rows in _in_chunks(gone):
        missed = rows.filter(Q(absent_since=None) | Q(absent_since__gt=now))
        missed.update(absent_since=now, absence_notified_at=None)
    for rows in _in_chunks(back):
        rows.exclude(absent_since=None).update(absent_since=None, retired_at=None, retired_by="")
    for rows in _in_chunks(lapsed):
        rows.filter(absent_since=None).update(retired_at=None, retired_by="")
    if gone:
        logger.warning("No longer listed by the tenant provider: %s", some_of(gone))
    if back:
        logger.info("Listed by the tenant provider again: %s", some_of(back))


def findings(now: datetime) -> list[Absence]:
    """The tenants that have disappeared, as findings: many at once are one."""
    return grouped(found(now))


def found(now: datetime) -> TenantStateQuerySet:
    """The states of the tenants with good backups that have not been listed for a day or longer."""
    good = Backup.objects.good().filter(tenant_id=OuterRef("tenant_id"))
    away = TenantState.objects.filter(absent_since__lte=now - ABSENT_AFTER, retired_at=None)
    return away.filter(Exists(good)).order_by("absent_since", "tenant_id")


def returned() -> TenantStateQuerySet:
    """The states of those that were reported as disappeared, and are back or retired by now."""
    is_over = Q(absent_since=None) | Q(retired_at__isnull=False)
    return TenantState.objects.filter(is_over, absence_notified_at__isnull=False).order_by(
        "tenant_id"
    )


def grouped(states: Iterable[TenantState]) -> list[Absence]:
    """The findings about the tenants of these states, which have not been listed for a while."""
    groups: list[list[tuple[datetime, str]]] = []
    for since, tenant_id in sorted(
        (row.absent_since, row.tenant_id) for row in states if row.absent_since
    ):
        if not groups or since - groups[-1][-1][0] >= AT_ONCE:
            groups.append([])
        groups[-1].append((since, tenant_id))
    findings = []
    for group in groups:
        if len(group) >= MANY:
            ids = sorted(tenant_id for _, tenant_id in group)
            findings.append(Absence(tuple(ids), group[0][0]))
        else:
            findings += [Absence((tenant_id,), since) for since, tenant_id in group]
    return findings


def known(tenant_ids: Collection[str]) -> set[str]:
    """Those of these ids that the catalog knows."""
    return {
        tenant_id
        for model in (BackupSettings, Backup, TenantState)
        for tenant_id in model._default_manager.filter(tenant_id__in=tenant_ids).values_list(
            "tenant_id", flat=True
        )
    }


def retire(tenant_ids: Collection[str], *, by: str = "", now: datetime | None = None) -> None:
    """Say that these tenants are gone on purpose, or will be within a day.

    `by` is who says so, for the history.
    """
    now = now or timezone.now()
    TenantState.objects.ensure(tenant_ids)
    for tenant_id in tenant_ids:
        with transaction.atomic(using=conf.CATALOG_DATABASE):
            row = TenantState.objects.filter(tenant_id=tenant_id, retired_at=None)
            if row.update(retired_at=now, retired_by=by[:255]):
                Event.record(EventKind.RETIRED, tenant_id, actor=by[:255])


def retire_tenant(tenant_id: str, *, by: str = "") -> None:
    """Say that this tenant is gone on purpose, so that nobody is notified that it has disappeared.

    For the host's code that removes a tenant. Call it at most a day before the provider no longer
    lists the tenant, or at any time after that. `by` is who did it, for the history. None of its
    backups is deleted. An id that the catalog does not know is ignored.
    """
    retire(known([tenant_id]), by=by)


def _in_chunks(tenant_ids: Sequence[str]) -> Iterator[TenantStateQuerySet]:
    """The states of these tenants, as many at a time as any database takes."""
    for start in range(0, len(tenant_ids), CHUNK):
        yield TenantState.objects.filter(tenant_id__in=tenant_ids[start : start + CHUNK])
