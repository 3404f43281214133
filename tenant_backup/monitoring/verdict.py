"""The verdict on a tenant's backups. It is judged here; everything else only shows it.

`judge` is a function of facts alone: it asks neither the database nor the disk nor the clock. The
page, the mails, `checkbackups` and the admin show the same verdict and the same findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext

from tenant_backup import table_names
from tenant_backup.files import size_in_words
from tenant_backup.models import BackupSettings, RowLoss, TenantState, Verdict
from tenant_backup.monitoring.moments import moment_in_words
from tenant_backup.schedule import next_slot, overdue_at
from tenant_backup.tenants import Tenant
from tenant_backup.texts import in_active_language
from tenant_backup.words import on_day

MOST_LOSSES = 5
"""So many tables that have lost rows are named. Of an emptied database nobody reads a long list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a tenant at one moment."""

    tenant_id: str
    tenant: Tenant | None
    """None if the provider does not list it, or if it is not valid."""
    settings: BackupSettings
    """With what `BackupSettingsQuerySet.with_latest` adds, unless `tenant` is None."""
    state: TenantState
    now: datetime
    automation_runs: bool = False
    is_under_way: bool = False
    """Whether a backup is being made, or is about to be."""
    interrupted_at: datetime | None = None
    """When the backup was started that is still `running`, though nobody seems to make it."""
    unreachable_directory: str = ""
    """The backup directory, if it should be there and is not."""
    losses: Sequence[RowLoss] = ()
    """The tables that have lost rows, by the open findings."""
    finding: Finding | None = None
    """Why it is not backed up at all: that it is not valid, or has disappeared."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: the verdict that it leads to, and why, in sentences."""

    verdict: Verdict
    text: str
    reason: str = ""
    """What an error said. It may name paths on the server."""
    rest: str = ""
    """What the text says more than the sentence of the verdict, for below that sentence."""

    def __str__(self) -> str:
        return f"{self.text} {self.reason}".rstrip()

    @property
    def below_headline(self) -> str:
        """The same as text, below the sentence of its verdict: without saying that again."""
        return f"{self.rest or self.text} {self.reason}".rstrip()


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a tenant stands, and everything that is wrong, the gravest first."""

    tenant_id: str
    tenant: Tenant | None
    """None if the provider does not list it, or if it is not valid."""
    settings: BackupSettings
    state: TenantState
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    is_under_way: bool = False
    """Whether a backup is being made, or is about to be."""
    losses: Sequence[RowLoss] = ()
    """The tables that have lost rows, by the open findings."""

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        return self.verdict.sentence

    @property
    def name(self) -> str:
        return self.tenant.name if self.tenant else self.tenant_id

    @property
    def trouble(self) -> Verdict:
        """The verdict if something is wrong, otherwise `WELL`."""
        return self.verdict if self.findings else Verdict.WELL

    @property
    def last_good(self) -> str:
        """A sentence about the last good backup; empty for a tenant that is not listed or valid."""
        if self.tenant is None:
            return ""
        if not self.settings.last_good_at:
            return gettext("There is no good backup.")
        text = gettext("The last good backup is from %(time)s.")
        return text % {"time": in_words(self.settings.last_good_at, self.tenant)}

    def finding(self, verdict: Verdict) -> Finding | None:
        """What is wrong of this kind, if anything is."""
        return next((each for each in self.findings if each.verdict is verdict), None)


def judge(facts: Facts) -> Judgement:
    """The verdict on a tenant: the gravest finding decides."""
    findings = sorted(_findings(facts), key=lambda finding: finding.verdict, reverse=True)
    return Judgement(
        facts.tenant_id,
        facts.tenant,
        facts.settings,
        facts.state,
        findings[0].verdict if findings else _without_findings(facts),
        tuple(findings),
        facts.is_under_way,
        facts.losses,
    )


def verdict_of_backups(settings: BackupSettings, *, automation_runs: bool) -> Verdict:
    """How a tenant stands if nothing is wrong."""
    if not settings.last_good_at:
        return Verdict.NO_BACKUP
    if not settings.automatic:
        return Verdict.OFF
    return Verdict.WELL if automation_runs else Verdict.STOPPED


def overdue_since(settings: BackupSettings, tenant: Tenant, now: datetime) -> datetime:
    """Since when the tenant is overdue, or will be unless a backup succeeds."""
    return overdue_at(settings.rule, tenant.id, tenant.zone, _waiting_since(settings, now))


def in_words(at: datetime, tenant: Tenant) -> str:
    """A time for a person who may be in another zone than the tenant."""
    return moment_in_words(at, tenant.zone)


def _without_findings(facts: Facts) -> Verdict:
    if facts.tenant is None:
        return Verdict.RETIRED if facts.state.retired_at else Verdict.UNLISTED
    return verdict_of_backups(facts.settings, automation_runs=facts.automation_runs)


def _findings(facts: Facts) -> Iterator[Finding]:
    if facts.finding:
        yield facts.finding
    elif facts.tenant:
        yield from _overdue(facts, facts.tenant)
        yield from _failed(facts, facts.tenant)
        yield from _future(facts, facts.tenant)
        yield from _missing(facts)
        yield from _check_failed(facts, facts.tenant)
        yield from _rows_lost(facts, facts.tenant)
        yield from _no_room(facts)


def _overdue(facts: Facts, tenant: Tenant) -> Iterator[Finding]:
    settings, now = facts.settings, facts.now
    if not settings.automatic or facts.is_under_way or now <= overdue_since(settings, tenant, now):
        return
    slot_at = next_slot(settings.rule, tenant.id, tenant.zone, _waiting_since(settings, now))
    time = {"time": in_words(slot_at, tenant)}
    text = gettext("A backup was due at %(time)s, and none has succeeded since.") % time
    rest = gettext("It was due at %(time)s, and none has succeeded since.") % time
    yield Finding(Verdict.OVERDUE, text, rest=rest)


def _waiting_since(settings: BackupSettings, now: datetime) -> datetime:
    scheduled_since = min(settings.scheduled_since, now)
    return max(scheduled_since, settings.last_good_at or scheduled_since)


def _failed(facts: Facts, tenant: Tenant) -> Iterator[Finding]:
    settings = facts.settings
    last_good_at, last_failed_at = settings.last_good_at, settings.last_failed_at
    if facts.interrupted_at:
        time = {"time": in_words(facts.interrupted_at, tenant)}
        text = gettext("The last attempt, at %(time)s, seems to have been interrupted.") % time
        rest = gettext("It seems to have been interrupted.")
        yield Finding(Verdict.FAILED, text, rest=rest)
    elif last_failed_at and (not last_good_at or last_failed_at > last_good_at):
        time = {"time": in_words(last_failed_at, tenant)}
        text = gettext("The last attempt, at %(time)s, failed.") % time
        rest = gettext("That was at %(time)s.") % time
        reason = in_active_language(settings.last_error, settings.last_error_data)
        yield Finding(Verdict.FAILED, text, reason, rest)


def _future(facts: Facts, tenant: Tenant) -> Iterator[Finding]:
    settings = facts.settings
    if settings.last_good_at or not settings.last_future_at:
        return
    time = {"time": in_words(settings.last_future_at, tenant)}
    text = gettext(
        "All good backups are dated in the future, the newest %(time)s. The clock was wrong when "
        "they were made, so none of them counts."
    )
    rest = gettext(
        "The newest has the date %(time)s. The clock was wrong when they were made, so none of "
        "them counts."
    )
    yield Finding(Verdict.FUTURE, text % time, rest=rest % time)


def _missing(facts: Facts) -> Iterator[Finding]:
    if number := facts.settings.missing:
        text = ngettext(
            "The file of %(number)d backup is missing or damaged.",
            "The files of %(number)d backups are missing or damaged.",
            number,
        )
        rest = ngettext(
            "%(number)d backup is affected.", "%(number)d backups are affected.", number
        )
        values = {"number": number}
        yield Finding(Verdict.MISSING, text % values, rest=rest % values)
    if facts.unreachable_directory and facts.settings.last_good_at:
        text = gettext("The backup directory is not there, or out of reach:")
        yield Finding(Verdict.MISSING, text, facts.unreachable_directory)


def _check_failed(facts: Facts, tenant: Tenant) -> Iterator[Finding]:
    """What the host's own check found in the newest backup. One that passes ends it."""
    settings = facts.settings
    if not settings.last_check_error:
        return
    time = {"time": in_words(settings.last_state_at, tenant)}
    text = gettext(
        "The file of the backup from %(time)s is sound, but it did not pass the check of its data:"
    )
    rest = gettext("It is from %(time)s, and its file is sound. The check found this:")
    reason = in_active_language(settings.last_check_error, settings.last_check_error_data)
    yield Finding(Verdict.CHECK_FAILED, text % time, reason, rest % time)


def _rows_lost(facts: Facts, tenant: Tenant) -> Iterator[Finding]:
    """A finding a table; of very many, those that have lost most."""
    by_size = sorted(facts.losses, key=lambda loss: loss.rows_now - loss.rows_before)
    for loss in by_size[:MOST_LOSSES]:
        yield Finding(Verdict.ROWS_LOST, loss_in_words(loss, tenant, facts.now))
    if more := len(by_size[MOST_LOSSES:]):
        text = ngettext(
            "%(number)d more table has lost rows. Intended?",
            "%(number)d more tables have lost rows. Intended?",
            more,
        )
        yield Finding(Verdict.ROWS_LOST, text % {"number": more})


def loss_in_words(loss: RowLoss, tenant: Tenant, now: datetime) -> str:
    """What a table has lost: "3,600 contracts fewer than on Monday. Intended?"."""
    name = table_names.in_words(loss.table)
    number = max(loss.rows_before - loss.rows_now, 0)
    values = {
        "number": number_format(number, force_grouping=True),
        "name": name,
        # "a.m." ends with the dot that the sentence needs.
        "day": on_day(loss.before_at, tenant.zone, now).rstrip("."),
    }
    if name == loss.table:
        text = gettext("%(number)s rows of the table %(name)s fewer than %(day)s. Intended?")
    else:
        text = gettext("%(number)s %(name)s fewer than %(day)s. Intended?")
    return text % values


def _no_room(facts: Facts) -> Iterator[Finding]:
    state = facts.state
    if not state.no_room_since or state.needed_bytes is None or state.free_bytes is None:
        return
    text = gettext(
        "The disk has no room for another backup: it needs %(needed)s, and %(free)s are free."
    )
    sizes = {"needed": size_in_words(state.needed_bytes), "free": size_in_words(state.free_bytes)}
    rest = gettext("It needs %(needed)s, and %(free)s are free.")
    yield Finding(Verdict.NO_ROOM, text % sizes, rest=rest % sizes)
