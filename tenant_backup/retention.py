"""Retention: which backups a tenant's policy keeps, which it removes, and why.

A pure function of its arguments. Pruning, its dry run and every display ask it, so they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Generic, Protocol, TypeVar

from tenant_backup.exceptions import Counted, Text

EXEMPT_TRIGGERS = frozenset({"manual", "adopted"})
"""Backups that a person made or brought are that person's to delete."""


class Candidate(Protocol):
    """What retention needs to know of a backup; a catalog row is one."""

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


C = TypeVar("C", bound=Candidate)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Policy:
    """A tenant's rules. None means that a rule is not set; no rule at all keeps everything.

    `keep_last` (a number) and `keep_days` (an age) are limits, and a backup beyond either goes,
    unless a thinning rule keeps it as the newest of its day, ISO week or month, as many of those as
    the rule says.
    """

    keep_last: int | None = None
    keep_days: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None

    @property
    def has_limits(self) -> bool:
        """Whether anything is ever removed."""
        return self.keep_last is not None or self.keep_days is not None

    @property
    def thins(self) -> bool:
        """Whether something beyond the limits is kept."""
        return bool(self.keep_daily or self.keep_weekly or self.keep_monthly)


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


def decide(backups: Sequence[C], policy: Policy, now: datetime, zone: tzinfo) -> list[Decision[C]]:
    """Decide for each backup, newest first, whether it is kept.

    Only good backups count. Exempt ones are always kept and use up no numbers; the newest good one
    is always kept, too. Age is measured from the newest good backup, not from the clock: when
    backups stop, history does not erode. Backups of later than `now`, when the clock must have been
    wrong, are kept and count for nothing. Days, weeks and months are those of `zone`.
    """
    newest_first = sorted(backups, key=lambda backup: (backup.created_at, backup.pk), reverse=True)
    newest_good = next(
        (backup for backup in newest_first if backup.is_good and backup.created_at <= now), None
    )
    exemptions = {backup.pk: _exemption(backup, now) for backup in newest_first}
    counted = [backup for backup in newest_first if exemptions[backup.pk] is None]
    kept_by_thinning = _thin(counted, policy, zone)
    positions = {backup.pk: position for position, backup in enumerate(counted, start=1)}
    # Said once for all: there may be thousands.
    limits = _limits(policy)
    is_newest, is_within = (
        Text("It is the newest good backup."),
        Text("It is within the limits."),
    )
    decisions = []
    for backup in newest_first:
        if exemption := exemptions[backup.pk]:
            decisions.append(Decision(backup, True, (exemption,)))
            continue
        assert newest_good is not None  # noqa: S101 - this backup is good itself
        position, age = positions[backup.pk], newest_good.created_at - backup.created_at
        passed = [text for text, is_beyond in limits if is_beyond(position, age)]
        kept_because = kept_by_thinning.get(backup.pk, [])
        if backup is newest_good:
            kept_because = [is_newest, *kept_because]
        if not passed:
            kept_because = [is_within, *kept_because]
        keep = bool(kept_because)
        decisions.append(Decision(backup, keep, tuple(kept_because if keep else passed)))
    return decisions


def _exemption(backup: Candidate, now: datetime) -> Text | None:
    """Why no rule applies to this backup, or None where rules do."""
    if not backup.is_good:
        return Text("It is not a good backup, so it counts for nothing and is left to you.")
    if backup.pinned:
        return Text("It is pinned.")
    if backup.trigger in EXEMPT_TRIGGERS:
        return Text("It was made on the page or found on disk, so it is yours to delete.")
    if backup.created_at > now:
        return Text("It is of a time to come: when it was made, the clock was wrong.")
    return None


Limit = tuple[Text, Callable[[int, timedelta], bool]]
"""What is said of a backup beyond a limit; and whether the n-th newest, of this age, is."""


def _limits(policy: Policy) -> list[Limit]:
    """The policy's limits. The age is counted back from the newest good backup."""
    limits: list[Limit] = []
    if (last := policy.keep_last) is not None:
        text = Counted(
            "It is not the newest one.", "It is not among the newest %(number)d.", number=last
        )
        limits.append((text, lambda position, age: position > last))
    if (days := policy.keep_days) is not None:
        text = Counted(
            "It is more than %(number)d day older than the newest good backup.",
            "It is more than %(number)d days older than the newest good backup.",
            number=days,
        )
        oldest = timedelta(days=days)
        limits.append((text, lambda position, age: age > oldest))
    return limits


def _thin(newest_first: Sequence[Candidate], policy: Policy, zone: tzinfo) -> dict[int, list[Text]]:
    """The thinning rules' reasons to keep a backup, by its key."""
    rules: list[tuple[int | None, Callable[[datetime], object], Text]] = [
        (policy.keep_daily, datetime.date, Text("It is the newest of its day.")),
        (policy.keep_weekly, _iso_week, Text("It is the newest of its week.")),
        (policy.keep_monthly, _month, Text("It is the newest of its month.")),
    ]
    reasons: dict[int, list[Text]] = {}
    for number, period_of, reason in rules:
        if not number:
            continue
        newest: dict[object, int] = {}
        for backup in newest_first:
            newest.setdefault(period_of(backup.created_at.astimezone(zone)), backup.pk)
        for pk in list(newest.values())[:number]:
            reasons.setdefault(pk, []).append(reason)
    return reasons


def _iso_week(at: datetime) -> tuple[int, int]:
    year, week, _weekday = at.isocalendar()
    return year, week


def _month(at: datetime) -> tuple[int, int]:
    return at.year, at.month
