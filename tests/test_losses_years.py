"""Two simulated years of lost rows: how often the alarm is false, and how soon a loss is told.

Twelve kinds of tables live as tables do: they grow, are cleaned every week or quarter, are replaced
by imports. A backup is made each night, and retention prunes as the presets say. Findings that no
loss caused are false alarms; somebody answers each with "Intended" two days later.

By default the months are few, and the bounds those of two years; `TEST_LONG=1` takes all of them.
"""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from statistics import median

import pytest

from tenant_backup import retention, rows
from tenant_backup.backups import counting
from tenant_backup.models import Backup, Event, EventKind, Hold, RowLoss
from tenant_backup.sqlite import Counts
from tenant_backup.vanishing import Counted, Rule, losses
from tests.lengths import at_length

START = datetime(2026, 1, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = at_length(200, 730)
YEARS = DAYS / 365
TRIALS = at_length(4, 40)
RULE = Rule(0.2, 20)

POLICIES = {
    "40 nights": retention.Policy(keep_last=40),
    "days, weeks and months": retention.Policy(
        keep_last=1, keep_daily=7, keep_weekly=4, keep_monthly=12
    ),
}


def growing(chance):
    rows = 8000
    while True:
        rows += chance.randint(0, 60) - chance.randint(0, 10)
        yield rows


def large_and_slow(chance):
    rows = 90_000
    while True:
        rows += chance.randint(-20, 60)
        yield rows


def small(chance):
    rows = 12
    while True:
        rows = min(max(rows + chance.choice([-1, 0, 0, 0, 1]), 5), 19)
        yield rows


def constant(chance):
    while True:
        yield 249


def rolling_window(chance):
    """A log of thirty days, of which the oldest day goes each night; weekends are quiet."""
    days = [chance.randint(40, 60) for _ in range(30)]
    for day in range(10_000):
        days = [*days[1:], chance.randint(10, 20) if day % 7 > 4 else chance.randint(40, 60)]
        yield sum(days)


def cleaned_every_week(chance):
    """What is left is what the last day brought."""
    rows = 0
    for day in range(10_000):
        rows = chance.randint(80, 120) + (rows if day % 7 < 6 else 0)
        yield rows


def cleaned_every_month(chance):
    rows = 300
    for day in range(10_000):
        is_first = (START + day * DAY).day == 1
        rows = rows // 10 if is_first else rows + chance.randint(20, 40)
        yield rows


def cleaned_every_quarter(chance):
    rows = 2000
    for day in range(10_000):
        at = START + day * DAY
        if at.day == 1 and at.month in (1, 4, 7, 10):
            rows = rows * 3 // 10
        rows += chance.randint(20, 40)
        yield rows


def imported_every_night(chance):
    """Replaced by as many others, or nearly."""
    while True:
        yield round(5000 * chance.uniform(0.95, 1.05))


def imported_every_week(chance):
    """A catalogue that is sometimes a good deal smaller, and has seasons."""
    rows = 20_000
    for day in range(10_000):
        if day % 7 == 0:
            rows = round(20_000 * chance.uniform(0.88, 1.12))
        yield rows


def queue(chance):
    """What is waiting: mostly nothing, sometimes a lot."""
    while True:
        yield chance.choice([0, 0, 0, 3, 17, 60, chance.randint(0, 400)])


def baskets(chance):
    """They come and go, at the weekend twice as many, and in the summer fewer."""
    for day in range(10_000):
        season = 0.6 if (START + day * DAY).month in (7, 8) else 1
        rows = 900 if day % 7 > 4 else 450
        yield round(rows * season * chance.uniform(0.8, 1.2))


KINDS = [
    *(growing, large_and_slow, small, constant, rolling_window, cleaned_every_week),
    *(cleaned_every_month, cleaned_every_quarter, imported_every_night, imported_every_week),
    *(queue, baskets),
]


def numbers_of(kind, seed, days=DAYS):
    lines = kind(random.Random(f"{kind.__name__} {seed}"))
    return [next(lines) for _ in range(days)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("policy", POLICIES)
def test_false_alarms_and_held_files(tenant, policy):
    lines = {kind.__name__: numbers_of(kind, 1) for kind in KINDS}
    found = Counter()
    most_held = held_days = 0
    for day in range(DAYS):
        now = START + day * DAY
        backup = Backup.objects.create(
            tenant_id=tenant.id,
            trigger="automatic",
            status="complete",
            created_at=now,
            file_name=f"{day}",
        )
        tables = {name: line[day] for name, line in lines.items()}
        counting.keep(backup, Counts(tables, "m"))
        found.update(loss.table for loss in rows.look(tenant, now))
        for loss in rows.open_losses(tenant.id):
            assert loss.before is not None, "retention keeps what is held"
            if now - loss.found_at >= 2 * DAY:
                rows.intend(tenant, loss, "ada")
        number = Hold.objects.values("backup").distinct().count()
        most_held, held_days = max(most_held, number), held_days + number
        prune(tenant, POLICIES[policy], now)
    a_year = {name: round(number / YEARS, 1) for name, number in found.items()}
    held = Event.objects.filter(kind=EventKind.HELD).count() / YEARS
    print(f"{policy}: false alarms a year {a_year}, {sum(found.values()) / YEARS:.1f} in all;")
    print(f"files held a year {held:.1f}, on average {held_days / DAYS:.2f}, at most {most_held}")
    assert RowLoss.objects.count() == sum(found.values())
    assert most_held <= 3
    assert held_days / DAYS < 0.25
    # Once in its first week, before anybody can know that it is cleaned every week.
    assert found["cleaned_every_week"] <= 1
    others = {"cleaned_every_week", "cleaned_every_quarter", "queue", "baskets"}
    assert found.keys() <= others, "what people enter, and what is imported, is no false alarm"
    assert sum(found.values()) <= 5 + 7 * YEARS


def prune(tenant, policy, now):
    stored = list(Backup.objects.for_tenant(tenant.id))
    for decision in retention.decide(stored, policy, now, UTC):
        if not decision.keep:
            decision.backup.delete()


LOSSES = {
    "25 %": lambda rows, at, day: rows - 0.25 * at,
    "60 %": lambda rows, at, day: rows - 0.6 * at,
    "100 %": lambda rows, at, day: rows - at,
    "15 % a day": lambda rows, at, day: rows * 0.85 ** (day + 1),
}
"""How many rows are left: of those that there would be, of those at the moment, after some days."""

LONGEST = 35


def nights_until_told(kind, lose, seed):
    """After how many nights a loss is told, the first being 1; None if it never is."""
    chance = random.Random(f"when {seed}")
    begins = chance.randint(60, 160)
    line = numbers_of(kind, seed, begins + LONGEST)
    at = line[begins]
    for day in range(LONGEST):
        night = begins + day
        left = max(0, round(lose(line[night], at, day)))
        line[night] = min(left, line[night])
        counted = [
            Counted(past, START + past * DAY, {"table": line[past]}, "m")
            for past in range(night - LONGEST, night + 1)
        ]
        if losses(counted, RULE):
            return day + 1
    return None


def test_how_soon_a_loss_is_told():
    told = {}
    for kind in KINDS:
        for name, lose in LOSSES.items():
            told[kind, name] = [nights_until_told(kind, lose, seed) for seed in range(TRIALS)]
    for kind in KINDS:
        print(f"{kind.__name__:22}", *(in_words(name, told[kind, name]) for name in LOSSES))
    # At once, where nobody cleans.
    steady = [growing, large_and_slow, constant, rolling_window, imported_every_night]
    for kind in steady:
        assert told[kind, "60 %"] == told[kind, "100 %"] == [1] * TRIALS
    for kind in (large_and_slow, constant):
        assert told[kind, "25 %"] == [1] * TRIALS
        assert told[kind, "15 % a day"] == [2] * TRIALS
    for kind in steady:
        assert all(nights and nights <= 3 for nights in told[kind, "15 % a day"])
    for kind in set(KINDS) - {small, queue}:
        assert None not in told[kind, "100 %"]


def in_words(name, nights):
    known = [night for night in nights if night]
    share = f"{round(100 * len(known) / len(nights))} % told"
    return f"| {name}: {share}" + (f" after {median(known):g}" if known else "")
