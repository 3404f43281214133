"""`manage.py checkbackups`: for monitoring: whether all is well, and if not, what is not."""

from argparse import ArgumentParser
from collections import Counter
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from tenant_backup import automation, monitoring
from tenant_backup.management.automation_status import status_as_dict, status_in_words
from tenant_backup.management.base import FAILED, AlreadySaid, TenantCommand, zone_of
from tenant_backup.models import Verdict
from tenant_backup.monitoring import Judgement, absence
from tenant_backup.tenants import Listing

ROLES = {"good": "SUCCESS", "neutral": "", "warning": "WARNING", "error": "ERROR"}


class Command(TenantCommand):
    help = (
        "Say first how many tenants are well and how many need you, then why: failed, overdue, "
        "missing or damaged, and whether automation runs. The exit status is 0 when all is well, "
        "otherwise 1."
    )
    examples = (
        ("-v 2", "how every tenant stands, also those that are well"),
        ("acme --json", "one tenant, for a program"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--notify", action="store_true", help="mail what has changed, as the tick would"
        )

    def handle(self, *, tenants: list[str], notify: bool, verbosity: int, **options: Any) -> None:
        try:
            listing = self.find_tenants(tenants, notes_absent=True)
        except CommandError as error:
            if notify and error.returncode == FAILED:
                automation.notify()
            raise
        self.failures: list[tuple[str, str, str]] = []
        self.calm: list[Judgement] = []
        with ExitStack() as stack:
            if not self.as_json:
                # Programs read each message by itself, so there each time names its zone.
                stack.enter_context(monitoring.in_one_zone(zone_of(listing.tenants)))
            status = automation.get_status()
            self.report.more["automation"] = status_as_dict(status)
            total, ill = self._look_at(listing, status.is_running, is_about_all=not tenants)
            others = Counter(each.verdict for each in self.calm if each.tenant)
            well = others.pop(Verdict.WELL, 0)
            keeps_waiting = status.keeps_waiting(listing.tenants)
            if keeps_waiting:
                self.report_failure("", status_in_words(status))
            parts = _parts(ill, others, automation_fails=keeps_waiting)
            outcome = _outcome(well, total, parts)
            gravest = max(others, default=Verdict.WELL)
            self._say(outcome, ROLES[gravest.tone], shows_all=verbosity > 1)
            if others and verbosity <= 1:
                self.tell(gettext("All tenants: -v 2"))
        if notify:
            automation.notify()
        if self.as_json:
            self.say(self.report.as_json())
        if self.report.errors:
            raise AlreadySaid(outcome, returncode=FAILED)

    def say_failure(self, tenant_id: str, message: str, label: str) -> None:
        """Keep it for later: how many tenants are well comes first."""
        self.failures.append((tenant_id, message, label))

    def _look_at(
        self, listing: Listing, automation_runs: bool, *, is_about_all: bool
    ) -> tuple[int, int]:
        """Judge all; the number of tenants, and of those that need somebody."""
        judgements = monitoring.judge_invalid(listing.invalid, timezone.now())
        for judgement in judgements:
            self._report(judgement)
        total, ill = len(judgements), len(judgements)
        for tenant in listing.tenants:
            judge = partial(monitoring.judge_tenant, tenant, automation_runs=automation_runs)
            judged = self.attempt(tenant.id, judge)
            total += 1
            ill += judged is None or bool(judged.findings)
            if judged:
                self._report(judged)
        disappeared = self._report_unlisted(listing) if is_about_all else 0
        return total + disappeared, ill + disappeared

    def _report(self, judgement: Judgement) -> None:
        """Add a tenant to the report, with all that is wrong."""
        if judgement.tenant_id:
            self.report.tenants.append(_as_dict(judgement))
        if judgement.findings:
            sentences = [*map(str, judgement.findings), judgement.last_good]
            message = " ".join(filter(None, sentences))
            label = str(judgement.verdict.label)
            self.report_failure(judgement.tenant_id, message, label=label)
        else:
            self.calm.append(judgement)

    def _report_unlisted(self, listing: Listing) -> int:
        """Report who is not listed any more, and return how many of them have disappeared.

        Many who disappeared at once are one finding, which names them all.
        """
        disappeared = 0
        for judgement in monitoring.judge_unlisted(listing.ids, timezone.now()):
            if judgement.findings:
                self.report.tenants.append(_as_dict(judgement))
                disappeared += 1
            else:
                self._report(judgement)
        for finding in absence.findings(timezone.now()):
            label = str(Verdict.DISAPPEARED.label)
            self.report_failure(finding.tenant_id, str(finding), label=label)
        return disappeared

    def _say(self, outcome: str, role: str, *, shows_all: bool) -> None:
        """Print the outcome, then what is wrong, and what else there is to see."""
        if self.failures:
            more = "" if self.as_json else _zone()
            self.say_led(outcome.removesuffix("."), f"{more}:", loud=True, role="ERROR")
        elif not self.quiet:
            more = _zone() if shows_all else ""
            self.say_led(outcome, more, role=role)
        for tenant_id, message, label in self.failures:
            super().say_failure(tenant_id, message, label)
        if self.quiet:
            return
        for judgement in self.calm:
            # Somebody who has just disappeared is no failure yet, and no secret either.
            if shows_all or judgement.verdict is Verdict.UNLISTED:
                verdict = judgement.verdict
                more = judgement.last_good if judgement.tenant else judgement.headline
                role = ROLES[verdict.tone]
                self.say_of(judgement.tenant_id, str(verdict.label), more, role=role)


def _outcome(well: int, total: int, parts: list[str]) -> str:
    """How many tenants are well, and what is to be said of the others, in a sentence."""
    if parts:
        first = gettext("%(well)d of %(total)d well") % {"well": well, "total": total}
        return "; ".join([first, *parts]) + "."
    if not total:
        return gettext("There is no tenant to check.")
    text = ngettext("%(number)d tenant is well.", "All %(number)d tenants are well.", total)
    return text % {"number": total}


def _parts(ill: int, others: Counter[Verdict], *, automation_fails: bool) -> list[str]:
    """What is to be said of those that are not well, the gravest first; each is counted once."""

    def counted(text: str, number: int) -> list[str]:
        return [text % {"number": number}] if number else []

    without, waiting = others[Verdict.NO_BACKUP], others[Verdict.STOPPED]
    by_hand = others[Verdict.OFF]
    return [
        *counted(ngettext("%(number)d needs you", "%(number)d need you", ill), ill),
        *([gettext("automation needs you")] if automation_fails else ()),
        *counted(
            ngettext("%(number)d has no backup yet", "%(number)d have no backup yet", without),
            without,
        ),
        *counted(
            ngettext("%(number)d waits for automation", "%(number)d wait for automation", waiting),
            waiting,
        ),
        *counted(
            ngettext(
                "%(number)d is backed up by hand only",
                "%(number)d are backed up by hand only",
                by_hand,
            ),
            by_hand,
        ),
    ]


def _zone() -> str:
    zone = timezone.get_current_timezone_name()
    return " " + gettext("(times in %(zone)s)") % {"zone": zone}


def _as_dict(judgement: Judgement) -> dict[str, Any]:
    """What programs read of a tenant. Of one that is not listed or not valid only this is known."""
    settings, now = judgement.settings, timezone.now()
    facts: dict[str, Any] = {
        "id": judgement.tenant_id,
        "automatic": settings.automatic,
        "problems": [finding.verdict.code for finding in judgement.findings],
        "verdict": judgement.verdict.code,
    }
    if judgement.tenant is None:
        return facts
    since = monitoring.wrong_since(judgement)
    return facts | {
        "last_good_at": settings.last_good_at,
        "last_success_at": settings.last_success_at,
        "last_success_age": _age(settings.last_success_at, now),
        "alarm_since": since,
        "alarm_age": _age(since, now),
        "next_run_at": settings.next_run_at,
    }


def _age(at: datetime | None, now: datetime) -> int | None:
    """In whole seconds."""
    return None if at is None else max(0, int((now - at).total_seconds()))
