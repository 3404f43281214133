"""The tenants that a request is about and the verdict on each; the filter and the totals by it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tenant_backup import automation, monitoring, rows
from tenant_backup.models import BackupSettings, RestoreRequest, Verdict
from tenant_backup.tenants import InvalidTenant, Tenant, list_tenants

logger = logging.getLogger("tenant_backup")

NEED_ATTENTION = [verdict for verdict in Verdict if verdict.needs_attention]
UNLISTED = (Verdict.RETIRED, Verdict.UNLISTED, Verdict.DISAPPEARED)
LISTED = [verdict for verdict in Verdict if verdict not in UNLISTED]


@dataclass(frozen=True, slots=True)
class TenantsOfRequest:
    """All tenants, as they stand when the request first asks."""

    names: Mapping[str, str]
    """The name of each tenant that has a row; if that is unknown, its id."""
    tenants: Mapping[str, Tenant]
    """The valid tenants of the provider, by id."""
    verdicts: Mapping[str, Verdict]
    """How each tenant with a row stands, by id."""
    listed: Set[str]
    """The ids of all tenants that the provider lists, valid or not."""
    automation_status: automation.AutomationStatus
    judgements: Mapping[str, monitoring.Judgement] = field(default_factory=dict)
    """Why each stands so, by id; nothing if the provider failed."""
    invalid: Sequence[InvalidTenant] = ()
    """Why tenants that the provider lists are not valid."""
    requests: Mapping[str, RestoreRequest] = field(default_factory=dict)
    """What tenants have asked for and nobody has answered, by id."""
    trouble: str = ""
    """Why the provider failed; empty if it did not."""

    @classmethod
    def of(cls, request: HttpRequest) -> TenantsOfRequest:
        kept: dict[str, Any] = vars(request)
        if "_tenant_backup_tenants" not in kept:
            kept["_tenant_backup_tenants"] = cls.ask()
        found: TenantsOfRequest = kept["_tenant_backup_tenants"]
        return found

    @classmethod
    def ask(cls) -> TenantsOfRequest:
        """Ask the provider, and make the settings of new tenants."""
        known = set(BackupSettings.objects.values_list("tenant_id", flat=True))
        status, now = automation.get_status(), timezone.now()
        runs = status.is_running
        try:
            listing = list_tenants()
            tenants = {tenant.id: tenant for tenant in listing.tenants}
            # Those that are not valid have a row, too: it says why, and they are counted.
            if new := listing.ids - known:
                BackupSettings.objects.ensure(new)
                known |= new
            given = {tenant.id: str(tenant.name) for tenant in listing.tenants}
        except Exception as error:
            logger.exception("The tenant provider failed; the admin cannot list the tenants.")
            trouble = str(error) or type(error).__name__
            verdicts = monitoring.verdicts_as_noted(now, automation_runs=runs)
            return cls({row: row for row in known}, {}, verdicts, set(), status, trouble=trouble)
        judgements = [
            *monitoring.judge_all(listing.tenants, now, automation_runs=runs),
            *monitoring.judge_others(listing, now),
        ]
        return cls(
            names={row: given.get(row) or row for row in known},
            tenants=tenants,
            verdicts={judgement.tenant_id: judgement.verdict for judgement in judgements},
            listed=listing.ids,
            automation_status=status,
            judgements={judgement.tenant_id: judgement for judgement in judgements},
            invalid=listing.invalid,
            requests=rows.open_requests(),
        )

    def why(self, tenant_id: str) -> str:
        """The gravest thing that is wrong with this tenant; empty if nothing is.

        What an error said is enough, since the verdict stands beside it.
        """
        judgement = self.judgements.get(tenant_id)
        gravest = judgement.findings[0] if judgement and judgement.findings else None
        return gravest.reason or gravest.text if gravest else ""

    def matching(self, words: str) -> list[str]:
        """The ids of the tenants that have all these words in their id or their name."""
        wanted = words.casefold().split()
        texts = {key: f"{key} {name}".casefold() for key, name in self.names.items()}
        return [key for key, text in texts.items() if all(word in text for word in wanted)]


class VerdictFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    WANTED = {
        "attention": NEED_ATTENTION,
        "listed": LISTED,
        **{verdict.code: [verdict] for verdict in Verdict},
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("attention", _("needs attention")),
            ("listed", _("listed by the provider")),
            *((verdict.code, str(verdict.label)) for verdict in reversed(Verdict)),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        wanted = self.WANTED.get(self.value() or "")
        return None if wanted is None else queryset.filter(verdict__in=wanted)


def totals(rows: QuerySet[Any]) -> dict[str, Any]:
    """What stands above the list: how many `tenants`, and `groups` as (name, query, number)."""
    counts = [
        (Verdict(row["verdict"]), row["automatic"], row["number"])
        for row in rows.order_by().values("verdict", "automatic").annotate(number=Count("pk"))
    ]

    def total(verdicts: Iterable[Verdict], *, automatic: tuple[bool, ...] = (True, False)) -> int:
        return sum(
            number
            for verdict, is_on, number in counts
            if verdict in verdicts and is_on in automatic
        )

    off = total(LISTED, automatic=(False,))
    return {
        "tenants": total(LISTED),
        "groups": [
            (_("All well"), "state=well", total([Verdict.WELL])),
            (_("Need attention"), "state=attention", total(NEED_ATTENTION)),
            (_("No backup yet"), "state=no_backup", total([Verdict.NO_BACKUP])),
            (_("Automatic off"), "state=listed&automatic__exact=0", off),
            (_("Retired"), "state=retired", total([Verdict.RETIRED])),
        ],
    }
