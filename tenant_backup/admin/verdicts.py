"""How the verdicts on tenants look in the admin: colours and signs, the filter, the totals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from tenant_backup.models import BackupSettings, Verdict
from tenant_backup.tenants import Listing

SIGNS = {"good": "\N{CHECK MARK}", "warning": "!", "error": "\N{MULTIPLICATION X}", "neutral": "·"}

NEED_ATTENTION = [verdict for verdict in Verdict if verdict.needs_attention]
UNLISTED = (Verdict.RETIRED, Verdict.UNLISTED, Verdict.DISAPPEARED)
LISTED = [verdict for verdict in Verdict if verdict not in UNLISTED]


def verdicts_of(listing: Listing, now: datetime, *, automation_runs: bool) -> Mapping[str, Verdict]:
    """How each tenant stands, listed by the provider or not, by id."""
    judgements = [
        *monitoring.judge_all(listing.tenants, now, automation_runs=automation_runs),
        *monitoring.judge_others(listing, now),
    ]
    return {judgement.tenant_id: judgement.verdict for judgement in judgements}


def light(tone: str, text: str) -> SafeString:
    """A state at a glance: by its colour, by its sign, and in words."""
    return format_html(
        '<span class="backup-light backup-light-{}"><span aria-hidden="true">{}</span> {}</span>',
        tone,
        SIGNS[tone],
        text,
    )


def light_of(row: BackupSettings) -> SafeString:
    """The verdict on the tenant of this row of `with_verdicts`."""
    verdict = Verdict(row.verdict)
    return light(verdict.tone, str(verdict.label))


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
