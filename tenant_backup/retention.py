"""Retention: which backups a tenant's policy keeps, which it removes, and why.

A pure function of its arguments. Pruning, its dry run and every display ask it, so they agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

from tenant_backup.contact import after_the_operator
from tenant_backup.files import size_in_words
from tenant_backup.texts import Counted, Text, as_stored

EXEMPT_TRIGGERS = frozenset({"manual", "adopted"})
"""What a person made by hand, or put into the folder, only people delete."""

AHEAD = timedelta(minutes=5)
"""The clocks of two machines may differ by this much; a later date comes from a wrong clock."""

FLOOR_DAYS = 3
"""The newest good backups of so many days are the floor: age and size never remove them."""

GAP_SHARE = 3
"""A gap between two good backups counts as age for at most one part in so many of `keep_days`."""


class Candidate(Protocol):
    """What retention needs to know of a backup: a row of the catalog, or a `Stored`."""

    @property
    def pk(self) -> int: ...
    @property
    def trigger(self) -> str: ...
    @property
    def pinned(self) -> bool: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def is_good(self) -> bool: ...
    @property
    def future_at(self) -> datetime | None: ...
    @property
    def hold_reason(self) -> str: ...
    @property
    def hold_reason_data(self) -> str: ...
    @property
    def held_until(self) -> datetime | None: ...
    @property
    def stored_bytes(self) -> int: ...


C = TypeVar("C", bound=Candidate)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """A complete backup whose file is there: a page must not load thousands of whole rows."""

    pk: int
    trigger: str
    pinned: bool
    created_at: datetime
    size: int | None = None
    damaged_at: datetime | None = None
    deleting_at: datetime | None = None
    future_at: datetime | None = None
    hold_reason: str = ""
    hold_reason_data: str = ""
    held_until: datetime | None = None

    @property
    def is_good(self) -> bool:
        return self.damaged_at is None and self.deleting_at is None

    @property
    def stored_bytes(self) -> int:
        return self.size or 0


def is_future(backup: Candidate, now: datetime) -> bool:
    """Whether a backup is dated in the future, or once was: its date cannot be right."""
    return backup.future_at is not None or backup.created_at > now + AHEAD


def is_held(backup: Candidate, now: datetime) -> bool:
    """Whether a backup is kept for a reason of its own, for now or until somebody releases it."""
    return bool(backup.hold_reason) and (backup.held_until is None or backup.held_until > now)


def reason_to_hold(backup: Candidate) -> Text:
    """Why a held backup is held."""
    return as_stored(backup.hold_reason, backup.hold_reason_data)


@dataclass(frozen=True, slots=True)
class Policy:
    """A tenant's rules. None means that a rule is not set; no rule at all keeps everything.

    `keep_last` (a number) and `keep_days` (an age) are limits. A backup beyond either is removed,
    unless a thinning rule keeps it: as the newest of its day, ISO week or month, for as many of
    those as the rule says. Thinning rules alone are a policy, too: what none of them keeps is
    removed.

    `max_bytes` is the operator's: beyond it the oldest are removed, even if a rule keeps them.
    """

    keep_last: int | None = None
    keep_days: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    max_bytes: int | None = None

    @property
    def has_limits(self) -> bool:
        """Whether there is a number or an age beyond which backups go."""
        return self.keep_last is not None or self.keep_days is not None

    @property
    def thins(self) -> bool:
        """Whether a rule keeps the newest of days, weeks or months."""
        return bool(self.keep_daily or self.keep_weekly or self.keep_monthly)

    @property
    def removes(self) -> bool:
        """Whether anything is ever removed."""
        return self.has_limits or self.thins or self.max_bytes is not None


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """What becomes of one backup, and why: short sentences for a person, at least one."""

    backup: T
    keep: bool
    why: tuple[Text, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, in the language that is active now."""
        return tuple(map(str, self.why))


# Made once: there may be thousands of decisions.
IS_WITHIN = Text("It is within the limits.")
IS_NEWEST = Text("It is the newest good backup.")
IS_FLOOR = Text(
    "It is one of the newest good backups of three different days: age and size do not remove it."
)
IS_THINNED = Text("It is not the newest of any day, week or month that the rules keep.")


def decide(backups: Sequence[C], policy: Policy, now: datetime, zone: tzinfo) -> list[Decision[C]]:
    """Decide for each backup, newest first, whether it is kept.

    Only good backups count. Exempt ones are always kept and do not count; the newest good one
    is always kept, too. Age is measured from the newest good backup, not from the clock, and a long
    gap counts little: when backups stop, the history does not erode. Neither age nor size removes
    the floor, the newest good ones of three different days. Backups dated in the future, when the
    clock must have been wrong, are kept but otherwise ignored. Days, weeks and months are those of
    `zone`.
    """
    newest_first = sorted(backups, key=lambda backup: (backup.created_at, backup.pk), reverse=True)
    good = [backup for backup in newest_first if backup.is_good and not is_future(backup, now)]
    exemptions = {backup.pk: exemption_of(backup, now) for backup in newest_first}
    counted = [backup for backup in newest_first if exemptions[backup.pk] is None]
    floor = floor_of(good, zone)
    beyond_last, beyond_days = _beyond_last(counted, policy), _beyond_days(good, policy)
    kept_by_thinning = _thin(counted, policy, zone)
    decisions = []
    for backup in newest_first:
        if exemption := exemptions[backup.pk]:
            decisions.append(Decision(backup, True, (exemption,)))
            continue
        passed = [limit[backup.pk] for limit in (beyond_last, beyond_days) if backup.pk in limit]
        if policy.thins and not policy.has_limits:
            passed = [IS_THINNED]
        kept_because = kept_by_thinning.get(backup.pk, [])
        if backup is good[0]:
            kept_because = [IS_NEWEST, *kept_because]
        if not passed:
            kept_because = [IS_WITHIN, *kept_because]
        elif not kept_because and passed == [beyond_days.get(backup.pk)] and backup.pk in floor:
            kept_because = [IS_FLOOR]
        decisions.append(Decision(backup, bool(kept_because), tuple(kept_because or passed)))
    if policy.max_bytes is None:
        return decisions
    removable = {backup.pk for backup in counted if backup is not good[0]}
    return _within_bytes(decisions, policy.max_bytes, removable, floor)


def exemption_of(backup: Candidate, now: datetime) -> Text | None:
    """Why no rule applies to this backup, or None if rules do."""
    if not backup.is_good:
        return Text("It is not a good backup: retention neither counts nor removes it.")
    if is_future(backup, now):
        return Text("It is dated in the future: when it was made, the clock was wrong.")
    if backup.pinned:
        return Text("It is pinned.")
    if is_held(backup, now):
        return Text("It is held: %(reason)s", reason=reason_to_hold(backup))
    if backup.trigger in EXEMPT_TRIGGERS:
        return Text("It was made on the page or found on disk, so retention never removes it.")
    return None


def floor_of(good: Sequence[Candidate], zone: tzinfo) -> set[int]:
    """The newest good backup of each of the newest days that have one, by their keys.

    `good` are the good ones, newest first, without those dated in the future.
    """
    newest: dict[object, int] = {}
    for backup in good:
        newest.setdefault(backup.created_at.astimezone(zone).date(), backup.pk)
        if len(newest) == FLOOR_DAYS:
            break
    return set(newest.values())


def _beyond_last(counted: Sequence[Candidate], policy: Policy) -> dict[int, Text]:
    """What is beyond `keep_last`, by key, and the reason to remove it."""
    last = policy.keep_last
    if last is None:
        return {}
    text = Counted(
        "Only the newest one is kept.", "Only the newest %(number)d are kept.", number=last
    )
    return {backup.pk: text for backup in counted[last:]}


def _beyond_days(good: Sequence[Candidate], policy: Policy) -> dict[int, Text]:
    """What is beyond `keep_days`, by key, and the reason to remove it.

    The age of a backup is the sum of the gaps between the good ones since, each of which counts at
    most as a part of `keep_days`. Without the removed ones the sum only gets smaller, so that
    pruning again removes nothing more.
    """
    days = policy.keep_days
    if days is None:
        return {}
    text = Counted(
        "It is beyond the retention period of %(number)d day.",
        "It is beyond the retention period of %(number)d days.",
        number=days,
    )
    oldest, age = timedelta(days=days), timedelta()
    beyond: dict[int, Text] = {}
    for newer, backup in pairwise(good):
        age += min(newer.created_at - backup.created_at, oldest / GAP_SHARE)
        if age > oldest:
            beyond[backup.pk] = text
    return beyond


def _within_bytes(
    decisions: Sequence[Decision[C]], limit: int, removable: set[int], floor: set[int]
) -> list[Decision[C]]:
    """Remove the oldest, too, until what stays takes up no more than so many bytes."""
    total = sum(decision.backup.stored_bytes for decision in decisions if decision.keep)
    goes = Text(
        "All backups together would take up more than %(limit)s, the most that the "
        "operator%(contact)s allows.",
        contact=after_the_operator(),
        limit=size_in_words(limit),
    )
    oldest_first = []
    for decision in reversed(decisions):
        backup = decision.backup
        if total > limit and decision.keep and backup.pk in removable:
            if backup.pk not in floor:
                total -= backup.stored_bytes
                decision = Decision(backup, False, (goes,))
            elif IS_FLOOR not in decision.why:
                decision = Decision(backup, True, (*decision.why, IS_FLOOR))
        oldest_first.append(decision)
    return oldest_first[::-1]


def _thin(newest_first: Sequence[Candidate], policy: Policy, zone: tzinfo) -> dict[int, list[Text]]:
    """The thinning rules' reasons to keep a backup, by its key."""
    reasons: dict[int, list[Text]] = {}
    for number, period_of, reason in (
        (policy.keep_daily, datetime.date, Text("It is the newest of its day.")),
        (policy.keep_weekly, _iso_week, Text("It is the newest of its week.")),
        (policy.keep_monthly, _month, Text("It is the newest of its month.")),
    ):
        newest: dict[object, int] = {}
        for backup in newest_first if number else ():
            newest.setdefault(period_of(backup.created_at.astimezone(zone)), backup.pk)
        for pk in list(newest.values())[:number]:
            reasons.setdefault(pk, []).append(reason)
    return reasons


def _iso_week(at: datetime) -> tuple[int, ...]:
    return at.isocalendar()[:2]


def _month(at: datetime) -> tuple[int, int]:
    return at.year, at.month
