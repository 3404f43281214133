"""How the verdicts on tenants look in the admin: colours and signs, the filter, the totals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tenant_backup import monitoring
from tenant_backup.models import BackupSettings, Health
from tenant_backup.monitoring import absence
from tenant_backup.tenants import Listing

SIGNS = {"good": "\N{CHECK MARK}", "warning": "!", "error": "\N{MULTIPLICATION X}", "quiet": "·"}

TONES = {
    Health.ABSENT: "error",
    Health.OVERDUE: "error",
    Health.FAILED: "error",
    Health.FUTURE: "error",
    Health.LOST: "error",
    Health.NO_BACKUP: "warning",
    Health.STOPPED: "warning",
    Health.OFF: "quiet",
    Health.WELL: "good",
    Health.UNLISTED: "quiet",
    Health.RETIRED: "quiet",
}

NEED_ATTENTION = [health for health in Health if health.needs_attention]
LISTED = [
    health for health in Health if health not in (Health.RETIRED, Health.UNLISTED, Health.ABSENT)
]


def verdicts_of(
    listing: Listing, unlisted: Set[str], now: datetime, *, automation_runs: bool
) -> Mapping[str, Health]:
    """How each tenant stands: those that the provider lists, and the ids of the others."""
    judgements = monitoring.judge(listing.tenants, now, for_people=True)
    listed = monitoring.healths(judgements, listing.ids, automation_runs=automation_runs)
    return listed | absence.healths(unlisted, now)


def stored_verdicts(now: datetime, *, automation_runs: bool) -> Mapping[str, Health]:
    """How each tenant stood last: for when the provider fails and nobody can be judged."""
    return monitoring.noted_healths(now, automation_runs=automation_runs)


def light(tone: str, text: str) -> SafeString:
    """A state at a glance: by its colour, by its sign, and in words."""
    return format_html(
        '<span class="backup-light backup-light-{}"><span aria-hidden="true">{}</span> {}</span>',
        tone,
        SIGNS[tone],
        text,
    )


def light_of(row: BackupSettings) -> SafeString:
    """The verdict on the tenant of this row of `with_health`."""
    health = Health(row.health)
    return light(TONES[health], str(health.label))


class VerdictFilter(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "state"

    WANTED = {
        "attention": NEED_ATTENTION,
        "listed": LISTED,
        **{health.name.lower(): [health] for health in TONES},
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("attention", _("needs attention")),
            ("listed", _("listed by the provider")),
            *((health.name.lower(), str(health.label)) for health in TONES),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        wanted = self.WANTED.get(self.value() or "")
        return None if wanted is None else queryset.filter(health__in=wanted)


def totals(rows: QuerySet[Any]) -> dict[str, Any]:
    """What stands above the list: how many `tenants`, and `groups` as (name, query, number)."""
    counts = [
        (Health(row["health"]), row["automatic"], row["number"])
        for row in rows.order_by().values("health", "automatic").annotate(number=Count("pk"))
    ]

    def total(healths: Iterable[Health], *, automatic: tuple[bool, ...] = (True, False)) -> int:
        return sum(
            number for health, is_on, number in counts if health in healths and is_on in automatic
        )

    off = total(LISTED, automatic=(False,))
    return {
        "tenants": total(LISTED),
        "groups": [
            (_("All well"), "state=well", total([Health.WELL])),
            (_("Need attention"), "state=attention", total(NEED_ATTENTION)),
            (_("No backup yet"), "state=no_backup", total([Health.NO_BACKUP])),
            (_("Automatic off"), "state=listed&automatic__exact=0", off),
            (_("Retired"), "state=retired", total([Health.RETIRED])),
        ],
    }
