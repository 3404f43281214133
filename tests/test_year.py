"""A year of simulated time over many tenants, in which everything that can go wrong does.

The code under test is the real one, with real databases, files and rows; only the clock, the disk's
`fsync` and the moments of failure are made up. Beside it the test keeps its own books: for each
tenant the backups that there must be, and the moment at which the next one is due, worked out from
what is promised and from nothing that the code says. After every step the books and the truth
must agree.

It takes minutes, so only the long form of the tests has it; `make year` runs it alone.

Of a run that fails, the notes of the error tell the seed and the last steps.
"""

import heapq
import os
import random
import shutil
import sqlite3
from collections import Counter, deque
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import cache
from hashlib import sha256
from itertools import count
from math import inf

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from tenant_backup import automation, backups, lock, monitoring, sqlite
from tenant_backup.backups import history_expiry
from tenant_backup.exceptions import BackupError, BackupInProgress, LimitReached
from tenant_backup.files import BackupDirectory, file_names
from tenant_backup.models import Backup, BackupSettings, Trigger
from tenant_backup.schedule import spread
from tenant_backup.tenants import Tenant
from tests.lengths import LONG
from tests.tenancy import Tenants

SEED = int(os.environ.get("YEAR_SEED", "2026"))
TENANTS = 50
START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=365)

ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "UTC",
]
INTERVALS = ["6h", "12h", *["daily"] * 11, *["weekly"] * 24, *["monthly"] * 13]
SOME_INTERVALS = ["6h", "12h", "daily", "daily", "weekly", "weekly", "monthly", "monthly"]
LONGEST = {
    "hourly": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "12h": timedelta(hours=12),
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=31),
}
POLICIES = [
    {"keep_last": 3},
    {"keep_last": 14},
    {"keep_last": 30},
    {"keep_days": 7},
    {"keep_days": 45},
    {"keep_last": 10, "keep_days": 20},
    {"keep_last": 2, "keep_daily": 7, "keep_weekly": 4, "keep_monthly": 12},
    {"keep_last": 1, "keep_weekly": 8},
    {"keep_days": 3, "keep_daily": 14},
    {"keep_days": 10, "keep_monthly": 6},
    {"keep_daily": 10, "keep_monthly": 6},
    {"keep_last": 1},
]
RULES = ["keep_last", "keep_days", "keep_daily", "keep_weekly", "keep_monthly"]

MINUTE = timedelta(minutes=1)
SKEW = 5 * MINUTE
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# Where the making of a backup can be interrupted, in order: the first ones leave no backup, for
# the file has no final name yet; after the others it has.
TOO_EARLY = ["copy", "check", "partial", "companion"]
PUBLISHED = ["link", "directory"]

HAPPENS = [
    *("outages", "pauses", "clock set", "clock years off", "configured", "retired", "arrived"),
    *("messages lost", "messages late", "messages doubled", "messages for nothing"),
    *("held back by a pause", "handed over again", "taken over", "mended", "verified again"),
    *("pruned", "killed while pruning", "dated in the future"),
    *("pinned", "unpinned", "deleted by hand", "files lost", "failed: tenant gone"),
    *("tried again after 0:15:00", "tried again after 6:00:00"),
    *("coverage looked at", "looked for storms"),
    *(f"trouble: {what}" for what in ("locked", "missing", "damaged", "busy")),
    *(f"trouble: full {where}" for where in ("space", "link-refused", "directory")),
    *(f"trouble: {what} {where}" for what in ("killed", "timeout") for where in TOO_EARLY),
    *(f"trouble: {what} {where}" for what in ("killed", "timeout") for where in PUBLISHED),
]
"""What a year must have had, whatever the seed."""


# What is promised, in the test's own words


@cache
def instant(wall, zone):
    """When a zone's clocks show this local time: the first time, where they do so twice.

    Where they never do, for they jump over it, it is as much later as they jump.
    """
    guess = wall.replace(tzinfo=UTC)
    offsets = sorted({(guess + days).astimezone(zone).utcoffset() for days in (-DAY, DAY)})
    moments = [guess - offset for offset in offsets]
    shown = [at for at in moments if at.astimezone(zone).replace(tzinfo=None) == wall]
    return min(shown) if shown else max(moments)


def slots_of(rule, day, zone):
    """The moments of one local day, without the spread."""
    tomorrow = day + DAY
    if rule["interval"] == "weekly" and day.weekday() != rule["weekday"]:
        return
    if rule["interval"] == "monthly":
        is_last = tomorrow.month != day.month
        if day.day != rule["day_of_month"] and not (is_last and day.day < rule["day_of_month"]):
            return
    at = rule["time_of_day"]
    hours = {
        "hourly": range(24),
        "6h": [hour for hour in range(24) if (hour - at.hour) % 6 == 0],
        "12h": [hour for hour in range(24) if (hour - at.hour) % 12 == 0],
    }.get(rule["interval"], [at.hour])
    for hour in hours:
        yield instant(datetime.combine(day, at.replace(hour=hour)), zone)


def slot_after(rule, tenant, moment):
    """The first slot of a tenant that is later than a moment."""
    delay = spread(rule["interval"], tenant.id)
    day = moment.astimezone(tenant.zone).date() - 2 * DAY
    while True:
        later = [at + delay for at in slots_of(rule, day, tenant.zone) if at + delay > moment]
        if later:
            return min(later)
        day += DAY


def promised(entries, policy, now, zone):
    """The keys of the good backups that the policy's words keep."""
    good = sorted((e for e in entries if e.is_good), key=lambda e: (e.created_at, e.pk))
    past = [entry for entry in good if not entry.is_future and entry.created_at <= now + SKEW]
    kept = set()
    newer = 0
    ages = {}
    if past and "keep_days" in policy:
        # A gap between two good ones counts for at most a third.
        longest, age = policy["keep_days"] * DAY / 3, timedelta()
        for entry, later in zip(past[::-1], [past[-1], *past[::-1]], strict=False):
            age += min(later.created_at - entry.created_at, longest)
            ages[entry.pk] = age
    last_days = {entry.created_at.astimezone(zone).date(): entry.pk for entry in past}
    floor = {last_days[day] for day in sorted(last_days)[-3:]}
    seen = {"keep_daily": set(), "keep_weekly": set(), "keep_monthly": set()}
    for entry in reversed(good):
        if entry.pinned or entry.trigger in ("manual", "adopted") or entry not in past:
            kept.add(entry.pk)
            continue
        day = entry.created_at.astimezone(zone).date()
        periods = {
            "keep_daily": day,
            "keep_weekly": day - day.weekday() * DAY,
            "keep_monthly": day.replace(day=1),
        }
        beyond = "keep_last" in policy and newer >= policy["keep_last"]
        if "keep_days" in policy:
            beyond |= ages[entry.pk] > policy["keep_days"] * DAY and entry.pk not in floor
        if not {"keep_last", "keep_days"} & policy.keys():
            beyond = bool(policy)
        thinned = any(
            rule in policy and period not in seen[rule] and len(seen[rule]) < policy[rule]
            for rule, period in periods.items()
        )
        if entry is past[-1] or not beyond or thinned:
            kept.add(entry.pk)
        newer += 1
        for rule, period in periods.items():
            seen[rule].add(period)
    return kept


# The world


class Clock:
    """What the computer's clock shows, and what time it really is."""

    def __init__(self):
        self.true = START
        self.error = timedelta()

    @property
    def now(self):
        return self.true + self.error


class Killed(BaseException):
    """The process ends here, and nothing that it would have done next is done."""


class TaskTimeout(SystemExit):
    """As django-q2 interrupts a task that takes too long."""


@dataclass
class Trouble:
    """What goes wrong with a backup, and where."""

    what: str = ""
    where: str = ""


class Faults:
    """Lets one backup go wrong: at the place that is set, the disk, the worker or the host fail."""

    def __init__(self, patch):
        self.trouble = Trouble()
        self.dead = False
        self.broker_is_down = False
        self.syncs = iter(())
        self._wrap(patch, Backup, "record_copy", after=self.begin_to_publish)
        self._wrap(patch, sqlite.Snapshot, "copy_to", before="copy")
        self._wrap(patch, sqlite, "check", before="check")
        self._wrap(patch, os, "link", before="link-refused", after=lambda: self.at("link"))
        self._wrap(
            patch, BackupDirectory, "remove", before="remove", after=lambda: self.at("removed")
        )
        self._wrap(patch, backups.copying, "finalise", before="finalise")
        self._wrap(patch, automation.queue, "async_task", before="broker")
        # It judges every tenant with every tick, which is another test's affair.
        patch.setattr(monitoring, "notify", lambda *arguments, **options: True)
        patch.setattr(os, "fsync", lambda descriptor: self.at(next(self.syncs, "")))
        usage = shutil.disk_usage
        patch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(**self.full()))

    def _wrap(self, patch, owner, name, *, before=None, after=None):
        function = getattr(owner, name)

        def wrapped(*args, **kwargs):
            if before:
                self.at(before)
            result = function(*args, **kwargs)
            if after:
                after()
            return result

        patch.setattr(owner, name, wrapped)

    def begin_to_publish(self):
        self.syncs = iter(["partial", "companion", "directory"])

    def full(self):
        return {"free": 0} if self.trouble == Trouble("full", "space") else {}

    def at(self, where):
        if where == "broker" and self.broker_is_down:
            raise ConnectionError("the broker is away")
        if where == "finalise" and self.dead:
            raise Killed  # the dead do not tidy up
        if where and where == self.trouble.where:
            what, self.trouble = self.trouble.what, Trouble()
            if what == "full":
                raise OSError(28, "No space left on device")
            if what == "timeout":
                raise TaskTimeout
            self.dead = True
            raise Killed

    @contextmanager
    def set(self, trouble, tenant):
        """The trouble, for the length of the context."""
        with ExitStack() as stack:
            if trouble.what == "locked":
                stack.enter_context(locked(tenant.database))
            elif trouble.what in ("missing", "damaged"):
                stack.enter_context(away(tenant.database, damaged=trouble.what == "damaged"))
            elif trouble.what == "busy":
                stack.enter_context(lock.hold(backups.directory_of(tenant), wait=0))
            self.trouble = trouble
            try:
                yield
            finally:
                self.trouble, self.dead, self.syncs = Trouble(), False, iter(())


@contextmanager
def locked(database):
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def away(database, *, damaged):
    aside = database.with_suffix(".aside")
    database.rename(aside)
    if damaged:
        database.write_bytes(b"This is no database. " * 100)
    yield
    aside.replace(database)


def write(database, version):
    """Make a database of a single page, or change the one that there is."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA user_version = {version}")
        if version == 1:
            connection.execute("CREATE VIEW one AS SELECT 1")


# The books


@dataclass
class Entry:
    """One backup, as it must be."""

    pk: int
    trigger: str
    created_at: datetime
    slot_at: datetime | None = None
    status: str = "queued"
    pinned: bool = False
    enqueued_at: datetime | None = None
    order: int = 0
    file_name: str = ""
    size: int | None = None
    sha256: str = ""
    version: int = 0
    rule: dict[str, object] | None = None
    is_missing: bool = False
    is_future: bool = False
    is_being_deleted: bool = False
    file_is_there: bool = False
    checksum_file_is_there: bool = False
    is_published: bool = False
    asked_at: datetime = START

    @property
    def is_good(self):
        return self.status == "complete" and not self.is_missing and not self.is_being_deleted

    @property
    def is_active(self):
        return self.status in ("queued", "running")

    @property
    def row(self):
        return (
            *(self.pk, self.status, self.trigger, self.pinned, self.slot_at, self.file_name),
            *(self.size, self.sha256, self.is_missing, self.is_future),
        )


ROW = [
    *("pk", "status", "trigger", "pinned", "slot_at", "file_name"),
    *("size", "sha256", "missing_at", "future_at"),
]


def as_row(values):
    """What the catalog says of a backup, as the books do."""
    *values, missing_at, future_at = values
    return (*values, missing_at is not None, future_at is not None)


@dataclass(eq=False)
class Account:
    """One tenant: what was done to it, and what must be there."""

    tenant: Tenant
    rule: dict[str, object]
    policy: dict[str, object]
    automatic: bool = True
    is_known: bool = True
    has_settings: bool = True
    next_run: datetime | None = None
    entries: dict[object, object] = field(default_factory=dict)
    version: int = 1
    down: Trouble | None = None
    down_until: datetime = START
    calm_since: datetime | float = START  # inf while something is amiss
    last_success: datetime | None = None
    last_automatic: Entry | None = None
    slots: set[object] = field(default_factory=set)
    had_good: bool = False
    last_good_went_by_hand: bool = False
    active: Entry | None = None

    @property
    def good(self):
        return [entry for entry in self.entries.values() if entry.is_good]

    @property
    def directory(self):
        return self.tenant.root / "backups"


class Year:
    """The year: an agenda of what happens when, and the books of what must come of it."""

    def __init__(self, seed, directory, clock, faults):
        self.random = random.Random(seed)
        self.directory = directory
        self.clock = clock
        self.faults = faults
        self.agenda = []
        self.serial = count(1)
        self.order = count(1)
        self.accounts = {}
        self.owners = {}
        self.totals = Counter()
        self.last_steps = deque(maxlen=12)
        self.last_tick = START - HOUR
        self.latest = START
        self.last_ten_minutes = None
        self.no_ticks_until = START
        self.pauses = 0
        self.pause_is_wanted = False
        for number in range(TENANTS):
            self.arrive(number)
        for account in self.accounts.values():
            BackupSettings.objects.create(
                tenant_id=account.tenant.id, automatic=True, **account.rule, **account.policy
            )
        for account in self.random.sample([*self.accounts.values()], 6):
            self.adopt(account)
        self.plan()

    @property
    def now(self):
        return self.clock.now

    # What will happen

    def arrive(self, number):
        rng = self.random
        intervals = INTERVALS if LONG else SOME_INTERVALS
        root = self.directory / f"tenant{number}"
        root.mkdir()
        tenant = Tenant(
            f"tenant{number}", f"Tenant {number}", root, root / "db.sqlite3", ZONES[number % 6]
        )
        write(tenant.database, 1)
        backups.directory_of(tenant).make()
        rule = self.some_rule(intervals[number % len(intervals)])
        account = Account(tenant, rule, dict(rng.choice(POLICIES)))
        if rule["interval"] in ("weekly", "monthly") and rng.random() < 0.2:
            account.policy = {}
        self.accounts[tenant.id] = account
        Tenants.tenants.append(tenant)
        return account

    def some_rule(self, interval):
        rng = self.random
        hours = rng.choice([2, 2, 2, 2, 3, 14, 23])
        return {
            "interval": interval,
            "time_of_day": time(hours, rng.choice([0, 0, 30, 59])),
            "weekday": rng.randrange(7),
            "day_of_month": rng.choice([1, 15, 28, 29, 30, 31]),
        }

    def adopt(self, account):
        """A file of long ago, found on disk, of which the catalog has a row."""
        at = START - self.random.randint(1, 900) * DAY
        name = next(file_names(account.tenant.id, at))
        directory = backups.directory_of(account.tenant)
        write(directory.file(name), 1)
        found = sqlite.fingerprint(directory.file(name))
        directory.checksum_file(name).touch()
        row = Backup.objects.create(
            tenant_id=account.tenant.id,
            trigger=Trigger.ADOPTED,
            status="complete",
            created_at=at,
            file_name=name,
            size=found.size,
            sha256=found.sha256,
        )
        entry = Entry(row.pk, "adopted", at, None, "complete", version=1, file_is_there=True)
        entry.file_name, entry.size, entry.sha256 = name, found.size, found.sha256
        entry.checksum_file_is_there = True
        account.entries[row.pk] = entry
        self.owners[row.pk] = account
        account.had_good = True

    def plan(self):
        """Strew what people, machines and the world will do over the year."""
        rng = self.random
        persons = {
            self.back_up_by_hand: 170,
            self.ask_for_backup: 60,
            self.back_up_by_command: 60,
            self.pin: 120,
            self.unpin: 70,
            self.delete: 160,
            self.lose_file: 25,
            self.configure: 150,
            self.limit: 60,
            self.begin_down_time: 90,
        }
        for do, times in persons.items():
            for _ in range(times if LONG else times // 2):
                self.at(START + rng.random() * 363 * DAY, do)
        # Around changes of the clocks in four of the zones, and around New Year.
        for number, day in [(0, 86), (1, 65), (2, 92), (3, 44), (0, 296), (4, 361)]:
            self.at(START + day * DAY, lambda number=number: self.hourly_days(number))
        for number in range(1, 367):
            self.at(START + number * DAY, self.end_day)
        # Each in a part of the year of its own, so that they do not hide one another.
        fates = [self.outage] * 9 + [self.pause] * 7 + [self.clock_jumps] * 8
        fates += [self.clock_is_years_off, self.clock_is_years_off]
        rng.shuffle(fates)
        part = 350 * DAY / len(fates)
        for number, fate in enumerate(fates):
            self.at(START + 4 * DAY + part * (number + rng.random() * 0.2), fate)
        for number in range(3):
            self.at(START + rng.randint(30, 330) * DAY + 5 * HOUR, self.retire)
            self.at(
                START + rng.randint(30, 330) * DAY + 7 * HOUR,
                lambda number=number: self.newcomer(TENANTS + number),
            )

    def at(self, true_time, do):
        heapq.heappush(self.agenda, (true_time, next(self.serial), do))

    def run(self):
        """Jump from one moment at which something can happen to the next, until the year ends."""
        self.tick()
        while self.agenda[0][0] <= END:
            tick_at = self.next_tick()
            if tick_at is not None and tick_at < self.agenda[0][0]:
                self.clock.true = tick_at
                self.tick()
            else:
                self.clock.true, _, do = heapq.heappop(self.agenda)
                do()

    def note(self, text):
        self.last_steps.append(f"{self.clock.true:%m-%d %H:%M:%S} ({self.now:%Y %H:%M}): {text}")

    # Ticks

    def next_tick(self):
        """The true time of the next tick that has anything to do; they come every minute."""
        dues = []
        for account in self.accounts.values():
            active = account.active
            if active is None:
                if account.next_run and account.is_known and not self.pauses:
                    dues.append(account.next_run)
            elif active.status == "running":
                if account.is_known:
                    dues.append(self.now)
            elif not (active.trigger == "automatic" and self.pauses):
                dues.append(self.handed_over_again_at(active) or self.now)
        if not dues:
            return None
        due = min(dues) - self.clock.error
        earliest = max(self.last_tick + MINUTE, self.no_ticks_until, self.clock.true, due)
        # On most days the cluster is busy with other things and ticks late.
        step = MINUTE if self.clock.true.day % 5 == 0 else 30 * MINUTE
        return earliest + (START - earliest) % step

    def handed_over_again_at(self, entry):
        """When a queued backup whose message may be lost is handed over again: at 5, 10, 20 …

        But every six hours at least.
        """
        if entry.enqueued_at is None or entry.enqueued_at > self.now + 5 * MINUTE:
            return None  # at once: it never was, or by a clock that was wrong
        doubled = min(entry.enqueued_at - entry.created_at, 6 * HOUR)
        return entry.enqueued_at + max(5 * MINUTE, doubled)

    def tick(self):
        self.note("tick")
        self.totals["ticks"] += 1
        now = self.now
        self.faults.broker_is_down = self.random.random() < 0.01
        touched = []
        if now.timestamp() // 600 != self.last_ten_minutes:
            for account in self.accounts.values():
                self.mark(account)
        for account in self.known():
            left = any(entry.is_being_deleted for entry in account.entries.values())
            if left or (account.active and account.active.status == "running"):
                self.take_lock(account)
                touched.append(account)
        if now.timestamp() // 600 != self.last_ten_minutes:
            for account in self.known():
                account.has_settings = True
        self.last_ten_minutes = now.timestamp() // 600
        claims = {} if self.pauses else self.claim(now)
        must, may = self.hand_over(now)
        automation.tick(now)
        if self.random.random() < 0.05:
            automation.tick(now + timedelta(seconds=self.random.randint(0, 29)))  # delivered twice
        self.forget_old_failures(now)
        messages = self.collect()
        for account, slot in claims.items():
            self.register(account, "automatic", slot)
            touched.append(account)
        new = {account.active.pk for account in claims}
        if self.faults.broker_is_down:
            assert messages == []
            for key in must | may | new:
                self.entry(key).enqueued_at = self.row(self.entry(key)).enqueued_at
        else:
            assert len(messages) == len(set(messages))
            assert must | new <= set(messages) <= may | new
        self.faults.broker_is_down = False
        self.dispatch(messages)
        self.last_tick = self.clock.true
        for account in touched:
            self.check(account)
        self.check_next_runs(after_tick=True)
        if self.pause_is_wanted and claims:
            self.begin_pause()

    def claim(self, now):
        """Whose slot has come, and is free to be taken: nobody else gets a backup."""
        claims = {}
        for account in self.known():
            if not (account.automatic and account.has_settings):
                continue
            furthest = now + LONGEST[account.rule["interval"]] + DAY
            if account.next_run is None or account.next_run > furthest:
                account.next_run = slot_after(account.rule, account.tenant, now)
            if account.next_run <= now and not account.active:
                claims[account] = account.next_run
                account.next_run = slot_after(account.rule, account.tenant, now)
        return claims

    def hand_over(self, now):
        """The keys of the older queued backups that a tick must hand over, and those it may."""
        queued = [entry for account in self.accounts.values() if (entry := account.active)]
        queued = [entry for entry in queued if entry.status == "queued"]
        if self.pauses:
            queued = [entry for entry in queued if entry.trigger != "automatic"]
        first = {entry.pk for entry in queued if entry.enqueued_at is None}
        may = [e for e in queued if e.enqueued_at and abs(now - e.enqueued_at) >= 5 * MINUTE]
        again = {e.pk for e in may if (self.handed_over_again_at(e) or now) <= now}
        self.totals["handed over again"] += len(again)
        # A tick takes only few of them.
        must = first | again if len(may) <= automation.handover.FEW else first
        return must, first | {entry.pk for entry in may}

    def collect(self):
        """The messages that were sent to the workers since the last time."""
        packages = list(OrmQ.objects.all())
        if packages:
            OrmQ.objects.all().delete()
        tasks = [package.task for package in packages]
        for task in tasks:
            if task["func"] == "tenant_backup.tasks.verify":
                self.verify(*task["args"])
        return [task["args"][0] for task in tasks if task["func"] == "tenant_backup.tasks.make"]

    def verify(self, key):
        """A backup is read again, and a lost file found missing: then it is good no more."""
        self.totals["verified again"] += 1
        account, entry = self.account_of(key), self.entry(key)
        if account.is_known and entry.is_good:
            self.mark(account)
        said = automation.verify(key)
        if not account.is_known:
            assert said == "nothing to do"
        elif entry.file_is_there:
            assert said == "good"
        else:
            assert said.endswith("is missing.")
            entry.is_missing = True

    def dispatch(self, keys):
        """Messages arrive, most of them soon and once; at times late, twice or never."""
        rng = self.random
        for key in keys:
            entry = self.entry(key)
            entry.enqueued_at = self.now
            delays = [timedelta(seconds=rng.randint(0, 90))]
            luck = rng.random()
            if luck < 0.02:
                self.totals["messages lost"] += 1
                self.account_of(key).calm_since = inf
                continue
            if luck < 0.05:
                self.totals["messages late"] += 1
                delays = [rng.random() * 5 * HOUR]
                self.account_of(key).calm_since = inf
            elif luck < 0.09:
                self.totals["messages doubled"] += 1
                delays.append(rng.choice([timedelta(), rng.random() * 2 * DAY]))
            for delay in delays:
                self.at(self.clock.true + delay, lambda key=key: self.play(key))

    # The worker

    def play(self, key):
        """A worker gets a message."""
        if self.clock.true < self.no_ticks_until:
            # The cluster is down. Its broker keeps the message, mostly.
            if self.random.random() < 0.8:
                self.at(self.no_ticks_until + timedelta(seconds=30), lambda: self.play(key))
            else:
                self.totals["messages lost"] += 1
            return
        account = self.account_of(key)
        entry = account.entries.get(key)
        if entry is None or entry.status != "queued":
            assert automation.make(key) == "nothing to do"
            self.totals["messages for nothing"] += 1
        elif entry.trigger == "automatic" and self.pauses:
            assert automation.make(key) == "paused"
            self.totals["held back by a pause"] += 1
        elif not account.is_known:
            automation.make(key)
            self.fail(account, entry)
            self.totals["failed: tenant gone"] += 1
        else:
            self.attempt(account, lambda: automation.make(key), entry)
            return
        self.check(account)

    def some_trouble(self, account):
        if account.down and self.clock.true < account.down_until:
            return account.down
        account.down = None
        rng = self.random
        if rng.random() > 0.05:
            return Trouble()
        return rng.choice(
            [
                *(Trouble("full", where) for where in ("space", "partial", "companion")),
                *(Trouble("full", where) for where in ("link-refused", "directory")),
                *(Trouble(what) for what in ("locked", "missing", "damaged", "busy")),
                *(Trouble("killed", where) for where in TOO_EARLY + PUBLISHED),
                *(Trouble("killed", where) for where in PUBLISHED),
                *(Trouble("killed", where) for where in ("remove", "removed")),
                *(Trouble("timeout", where) for where in TOO_EARLY + PUBLISHED),
            ]
        )

    def attempt(self, account, run, entry=None, order=None):
        """Let a backup be made, or fail, and enter into the books what must have come of it."""
        trouble = self.some_trouble(account)
        mended = None
        if order and account.active and account.active.status == "running":
            if trouble.what != "full":
                trouble = Trouble()
            mended = account.active
        left = any(entry.is_being_deleted for entry in account.entries.values())
        if left and trouble.where in ("remove", "removed"):
            trouble = Trouble()
        self.note(f"{account.tenant.id}: {order or entry} {trouble}")
        if self.random.random() < 0.5:
            account.version += 1
            write(account.tenant.database, account.version)
        raised = None
        with self.faults.set(trouble, account.tenant):
            try:
                run()
            except (BackupError, Killed, TaskTimeout) as error:
                raised = error
        if trouble.what:
            self.totals[f"trouble: {trouble.what} {trouble.where}".rstrip()] += 1
            account.calm_since = inf
        if trouble.what == "busy":
            assert isinstance(raised, BackupInProgress if order else type(None))
            self.check(account)
            return
        self.recover(account)
        if isinstance(raised, LimitReached):
            # A click for which there is no room leaves no row, and what is queued stays queued.
            assert order
            assert order.trigger == Trigger.MANUAL
            assert (trouble.what, trouble.where) == ("full", "space")
            self.totals["clicks refused"] += 1
            self.check(account)
            return
        failures = []
        if mended and self.finalise(account, mended) == "failed":
            failures.append(mended)
        if order:
            entry = self.answer(account, order)
        where = trouble.where
        is_killed = trouble.what == "killed" and where in TOO_EARLY + PUBLISHED
        has_failed = trouble.what not in ("", "killed") and where not in PUBLISHED
        entry.order = next(self.order)
        entry.created_at = self.now
        if is_killed:
            entry.status = "running"
            entry.is_published = where in PUBLISHED
            self.read_file(account, entry)
        elif has_failed:
            failures.append(self.fail(account, entry))
        else:
            self.read_file(account, entry)
            self.complete(account, entry)
        for failed in failures:
            self.try_again(account, failed)
        if not is_killed and not has_failed and trouble.what != "timeout":
            self.prune(account, where if trouble.what == "killed" else "")
        # A worker's task raises for no failed backup, since the row says it.
        expected = is_killed or trouble.what == "timeout" or (has_failed and order is not None)
        assert bool(raised) >= expected, f"{trouble} raised {raised!r}"
        self.check(account)
        if failures:
            self.check_next_runs()

    def answer(self, account, order):
        """A person's or a command's order: the queued backup takes it on, or there is a new one."""
        entry = account.active
        if entry is None:
            return self.register(account, order.trigger.value, None)
        if "manual" in (entry.trigger, order.trigger):
            entry.trigger = "manual"
        self.totals["taken over"] += 1
        return entry

    def register(self, account, trigger, slot):
        """A new row."""
        rows = Backup.objects.for_tenant(account.tenant.id).exclude(pk__in=account.entries)
        key, created_at = rows.values_list("pk", "created_at").get()
        entry = Entry(key, trigger, created_at, slot, asked_at=self.clock.true)
        account.entries[key] = account.active = entry
        self.owners[key] = account
        self.totals[f"asked for: {trigger}"] += 1
        if trigger == "automatic":
            assert not self.pauses
            assert slot not in account.slots
            account.slots.add(slot)
        return entry

    def read_file(self, account, entry):
        row = Backup.objects.values_list("created_at", "file_name", "size", "sha256")
        created_at, entry.file_name, entry.size, entry.sha256 = row.get(pk=entry.pk)
        assert created_at == self.now
        entry.version = account.version

    def finalise(self, account, entry):
        """What mending makes of a backup whose maker was killed."""
        self.totals["mended"] += 1
        if entry.is_published:
            self.complete(account, entry)
        else:
            self.fail(account, entry)
        return entry.status

    def recover(self, account):
        """Whoever has the lock brings a deletion to its end, or takes it back."""
        for entry in [one for one in account.entries.values() if one.is_being_deleted]:
            entry.is_being_deleted = False
            if not entry.file_is_there:
                del account.entries[entry.pk]

    def take_lock(self, account):
        """What comes of it that somebody takes the lock to pin or to delete a backup."""
        if account.active and account.active.status == "running":
            self.recover_running(account)
        self.recover(account)

    def recover_running(self, account):
        entry = account.active
        if self.finalise(account, entry) == "failed":
            self.try_again(account, entry)

    def complete(self, account, entry):
        account.active = None
        entry.status = "complete"
        entry.file_is_there = entry.checksum_file_is_there = True
        account.had_good = True
        account.last_good_went_by_hand = False
        account.last_success = self.clock.true
        self.totals["good backups"] += 1
        file = account.directory / entry.file_name
        content = file.read_bytes()
        assert (len(content), sha256(content).hexdigest()) == (entry.size, entry.sha256)
        assert int.from_bytes(content[60:64], "big") == entry.version  # the user_version
        if account.calm_since == inf and not self.is_disturbed:
            account.calm_since = self.clock.true
        if entry.trigger == "automatic":
            entry.rule = account.rule
            before, account.last_automatic = account.last_automatic, entry
            if before and before.rule == entry.rule:
                # Two good ones are never of one window: a slot lies between them.
                assert slot_after(entry.rule, account.tenant, before.slot_at) <= entry.slot_at

    @property
    def is_disturbed(self):
        return bool(self.pauses or self.clock.error or self.clock.true < self.no_ticks_until)

    def fail(self, account, entry):
        account.active = None
        entry.status = "failed"
        entry.pinned = False
        entry.file_name, entry.size, entry.sha256 = "", None, ""
        self.totals["failed"] += 1
        return entry

    def try_again(self, account, entry):
        """After 15 minutes, 30, 60 … at most 6 hours, but never later than the next slot."""
        if entry.slot_at is None or not account.automatic:
            return
        newest_good = max((e.order for e in account.good), default=0)
        failures = [
            other
            for other in account.entries.values()
            if other.status == "failed" and other.slot_at and other.order > newest_good
        ]
        delay = min(15 * MINUTE * 2 ** min(max(len(failures) - 1, 0), 5), 6 * HOUR)
        if account.next_run and account.next_run > self.now + delay:
            self.totals[f"tried again after {delay}"] += 1
            account.next_run = self.now + delay

    def mark(self, account):
        """What is dated in the future is marked for good, unless that is most of what there is."""
        unmarked = [e for e in account.entries.values() if not e.is_future]
        complete = [entry for entry in unmarked if entry.status == "complete"]
        ahead = [entry for entry in complete if entry.created_at > self.now + SKEW]
        if len(ahead) < 5 or 2 * len(ahead) <= len(complete):
            for entry in ahead:
                entry.is_future = True
                self.totals["dated in the future"] += 1

    def prune(self, account, killed=""):
        """After a success exactly what the policy promises is left."""
        self.mark(account)
        for entry in account.good:
            entry.is_missing = not entry.file_is_there
        entries = account.entries.values()
        keep = promised(entries, account.policy, self.now, account.tenant.zone)
        gone = sorted(
            (entry for entry in account.good if entry.pk not in keep),
            key=lambda entry: (entry.created_at, entry.pk),
            reverse=True,
        )
        if killed and gone:
            # What is being deleted is not good any more, with its file or without.
            gone[0].is_being_deleted = True
            gone[0].file_is_there = killed == "remove"
            gone[0].checksum_file_is_there = gone[0].file_is_there
            self.totals["killed while pruning"] += 1
            return
        for entry in gone:
            del account.entries[entry.pk]
            self.totals["pruned"] += 1

    # What people do

    def known(self):
        return [account for account in self.accounts.values() if account.is_known]

    def somebody(self):
        waiting = [account for account in self.known() if account.active]
        return self.random.choice(
            waiting if waiting and self.random.random() < 0.3 else self.known()
        )

    def account_of(self, key):
        return self.owners[key]

    def entry(self, key):
        return self.account_of(key).entries[key]

    def row(self, entry):
        return Backup.objects.get(pk=entry.pk)

    def back_up_by_hand(self):
        account = self.somebody()
        order = backups.BackupRequest(trigger=Trigger.MANUAL, requested_by="ada")
        self.attempt(account, lambda: backups.create(account.tenant, order), order=order)

    def back_up_by_command(self):
        account = self.somebody()
        order = backups.BackupRequest(trigger=Trigger.COMMAND)
        self.attempt(account, lambda: backups.create(account.tenant, order), order=order)

    def ask_for_backup(self):
        """The button for a large database: the backup is queued, and handed to a worker."""
        account = self.somebody()
        self.note(f"{account.tenant.id}: asked for")
        order = backups.BackupRequest(trigger=Trigger.MANUAL, requested_by="ada")
        row = backups.request(account.tenant, order)
        self.take_lock(account)
        entry = self.answer(account, order)
        automation.enqueue(row)
        messages = self.collect()
        assert messages == ([] if entry.enqueued_at else [entry.pk])
        self.dispatch(messages)
        self.check(account)
        return account

    def choose(self, wanted):
        """One backup of anybody's that is as wanted."""
        some = [
            (account, entry)
            for account in self.accounts.values()
            for entry in account.entries.values()
            if wanted(entry)
        ]
        return self.random.choice(some) if some else (None, None)

    def pin(self):
        account, entry = self.choose(lambda entry: entry.is_good and not entry.pinned)
        self.note(f"{account.tenant.id}: pin {entry.pk}")
        self.take_lock(account)
        backups.pin(account.tenant, self.row(entry), pinned=True)
        entry.pinned = True
        self.totals["pinned"] += 1
        self.check(account)

    def unpin(self):
        account, entry = self.choose(lambda entry: entry.pinned)
        if entry:
            self.note(f"{account.tenant.id}: unpin {entry.pk}")
            self.take_lock(account)
            backups.pin(account.tenant, self.row(entry), pinned=False)
            entry.pinned = False
            self.totals["unpinned"] += 1
            self.check(account)

    def delete(self):
        account, entry = self.choose(lambda entry: not entry.is_active)
        self.note(f"{account.tenant.id}: delete {entry.pk}")
        if entry.pinned:
            with pytest.raises(BackupError, match="pinned"):
                backups.delete(account.tenant, self.row(entry))
        else:
            row = self.row(entry)
            if entry.file_name:
                self.take_lock(account)
            backups.delete(account.tenant, row, actor="ada")
            account.entries.pop(entry.pk, None)
            account.last_good_went_by_hand |= not any(e.file_is_there for e in account.good)
            self.totals["deleted by hand"] += 1
        self.check(account)

    def lose_file(self):
        """Somebody removes a backup's file behind our back."""
        account, entry = self.choose(lambda entry: entry.is_good and entry.file_is_there)
        self.note(f"{account.tenant.id}: lose {entry.pk}")
        (account.directory / entry.file_name).unlink()
        entry.file_is_there = False
        account.last_good_went_by_hand |= not any(e.file_is_there for e in account.good)
        self.totals["files lost"] += 1
        self.check(account)

    def configure(self):
        """Another schedule, or none."""
        account = self.somebody()
        if not account.has_settings:
            return
        rng = self.random
        account.automatic = rng.random() < 0.85
        if rng.random() < 0.8:
            intervals = ["daily"] + ["weekly"] * 3 + ["monthly"] * 3
            interval = rng.choice([*intervals, account.rule["interval"]])
            account.rule = self.some_rule(interval)
        self.save(account)

    def hourly_days(self, number):
        """Some days of a backup every hour, and then again as before."""
        account = self.accounts[f"tenant{number}"]
        interval = account.rule["interval"]
        self.save(account, interval="hourly")
        self.at(self.clock.true + 3 * DAY, lambda: self.save(account, interval=interval))

    def limit(self):
        """Another retention: nothing goes before the next success."""
        account = self.somebody()
        if account.has_settings:
            account.policy = dict(self.random.choice(POLICIES))
            self.save(account)

    def save(self, account, **rule):
        if not account.is_known:
            return
        self.note(f"{account.tenant.id}: {account.automatic} {account.rule} {account.policy}")
        account.rule = account.rule | rule
        settings = BackupSettings.objects.get(tenant_id=account.tenant.id)
        before = settings.automatic, settings.rule
        settings.automatic = account.automatic
        values = dict.fromkeys(RULES) | account.rule | account.policy
        for name, value in values.items():
            setattr(settings, name, value)
        if (settings.automatic, settings.rule) != before:
            account.next_run = None
            if account.automatic:
                account.next_run = slot_after(account.rule, account.tenant, self.now)
            if account.calm_since != inf:
                account.calm_since = self.clock.true
        backups.configure(account.tenant, settings, actor="ada")
        self.totals["configured"] += 1
        self.check(account)
        self.check_next_runs()

    # What the world does

    def begin_down_time(self):
        """A tenant's database cannot be copied, for hours or days."""
        rng = self.random
        account = self.somebody()
        kinds = [Trouble(what) for what in ("locked", "missing", "damaged")]
        account.down = rng.choice([*kinds, Trouble("full", "space"), Trouble("timeout", "copy")])
        account.down_until = self.clock.true + rng.random() ** 2 * 4 * DAY + HOUR

    def outage(self):
        """The cluster is down: no ticks, no workers. People may still click."""
        length = HOUR * self.random.choice([2, 5, 9, 20, 30, 50, 70, 100, 14 * 24])
        self.note(f"outage of {length}")
        self.no_ticks_until = max(self.no_ticks_until, self.clock.true + length)
        self.totals["outages"] += 1
        self.disturb()
        self.at(self.no_ticks_until + 3 * HOUR, self.expect_no_storm(self.no_ticks_until))

    def pause(self):
        """Just after some backups were queued, which must then not be begun."""
        self.pause_is_wanted = True

    def begin_pause(self):
        length = HOUR * self.random.choice([1, 6, 12, 24, 48, 72])
        self.note(f"pause of {length}")
        automation.pause("ada")
        self.pause_is_wanted = False
        self.pauses += 1
        self.totals["pauses"] += 1
        self.disturb()
        self.at(self.clock.true + length, self.resume)

    def resume(self):
        self.note("resume")
        automation.resume("ada")
        self.pauses = 0
        for account in self.accounts.values():
            if account.active and account.active.status == "queued":
                account.active.enqueued_at = None
        self.at(self.clock.true + 3 * HOUR, self.expect_no_storm(self.clock.true))

    def expect_no_storm(self, since):
        """Afterwards each tenant has caught up once, besides its slots of the hours since."""

        def expect():
            for account in self.known():
                new = [
                    entry
                    for entry in account.entries.values()
                    if entry.trigger == "automatic" and entry.asked_at >= since
                ]
                failed = [entry for entry in new if entry.status == "failed"]
                hourly = account.rule["interval"] == "hourly"
                assert len(new) - len(failed) <= (5 if hourly else 2), account.tenant.id
            self.totals["looked for storms"] += 1

        return expect

    def clock_jumps(self):
        """The clock goes wrong by hours, and is put right after some time."""
        hours = self.random.choice([-11, -7, -3, -1, 1, 2, 6, 12])
        self.set_clock(timedelta(hours=hours))
        self.at(self.clock.true + self.random.randint(1, 40) * HOUR, self.put_clock_right)

    def clock_is_years_off(self):
        """Once it is ahead, and once behind."""
        self.totals["clock years off"] += 1
        self.set_clock(1100 * DAY if self.totals["clock years off"] == 1 else -2500 * DAY)
        self.at(self.clock.true + self.random.randint(2, 5) * HOUR, self.put_clock_right)

    def put_clock_right(self):
        self.set_clock(timedelta())

    def set_clock(self, error):
        self.note(f"the clock is off by {error}")
        self.clock.error = error
        self.totals["clock set"] += 1
        for account in self.accounts.values():
            account.slots.clear()
            account.last_automatic = None
        self.disturb()

    def disturb(self):
        """From here on nobody is backed up as the schedule says, until the next success."""
        for account in self.accounts.values():
            account.calm_since = inf

    def retire(self):
        account = self.ask_for_backup()  # which comes too late
        self.note(f"{account.tenant.id} retires")
        Tenants.tenants.remove(account.tenant)
        account.is_known = False
        self.totals["retired"] += 1
        self.check(account)

    def newcomer(self, number):
        account = self.arrive(number)
        self.note(f"{account.tenant.id} arrives")
        account.has_settings = False
        account.rule = {
            "interval": "daily",
            "time_of_day": time(3, 0),
            "weekday": 6,
            "day_of_month": 1,
        }
        account.policy = {"keep_last": 5}
        account.calm_since = inf
        self.totals["arrived"] += 1

    # What must be so

    def forget_old_failures(self, now):
        """What the tick has removed of failures leaves the books, and was old and followed."""
        self.latest = max(self.latest, now)
        there = set(Backup.objects.failed().values_list("pk", flat=True))
        for account in self.accounts.values():
            for entry in list(account.entries.values()):
                if entry.status == "failed" and entry.pk not in there:
                    del account.entries[entry.pk]
                    assert entry.created_at < self.latest - history_expiry.FAILURES_LAST
                    assert any(
                        other.pk > entry.pk and other.status in ("complete", "failed")
                        for other in account.entries.values()
                    )
                    self.totals["failures forgotten"] += 1

    def check(self, account):
        """This tenant's rows and files are those of the books."""
        rows = Backup.objects.for_tenant(account.tenant.id).values_list(*ROW)
        self.compare(account, [as_row(row) for row in rows])

    def compare(self, account, rows):
        entries = account.entries
        assert sorted(rows) == sorted(entry.row for entry in entries.values()), account.tenant.id
        assert sum(row[1] in ("queued", "running") for row in rows) <= 1
        found = {}
        beside = set()
        with os.scandir(account.directory) as names:
            for item in names:
                if item.name.endswith(".sqlite3"):
                    found[item.name] = item.stat().st_size
                elif item.name not in (".lock", ".gitignore", "index.json"):
                    beside.add(item.name)
        running = account.active if account.active and account.active.status == "running" else None
        files = {e.file_name: e.size for e in entries.values() if e.file_is_there}
        companions = {f"{e.file_name}.sha256" for e in entries.values() if e.checksum_file_is_there}
        if running:
            beside -= {f".{running.file_name}.partial", f"{running.file_name}.sha256"}
            if running.is_published:
                files[running.file_name] = running.size
        assert found == files, account.tenant.id
        assert beside == companions, account.tenant.id
        good = [entry for entry in entries.values() if entry.is_good and entry.file_is_there]
        assert good or not account.had_good or account.last_good_went_by_hand

    def check_next_runs(self, *, after_tick=False):
        """Every next run is where the books have it, and within what is promised."""
        rows = dict(BackupSettings.objects.values_list("tenant_id", "next_run_at"))
        now = self.now
        for account in self.known():
            if not account.has_settings:
                continue
            next_run = rows[account.tenant.id]
            assert next_run == account.next_run, account.tenant.id
            if not account.automatic:
                assert next_run is None
            elif after_tick and not self.pauses:
                assert next_run > now or account.active
                assert next_run <= now + LONGEST[account.rule["interval"]] + DAY

    def end_day(self):
        """At the end of a day everything is looked at, every file's content included."""
        self.note("end of the day")
        if self.clock.true >= self.no_ticks_until and self.clock.true - self.last_tick >= MINUTE:
            self.tick()
        rows = {tenant_id: [] for tenant_id in self.accounts}
        for tenant_id, *row in Backup.objects.values_list("tenant_id", *ROW):
            rows[tenant_id].append(as_row(row))
        for account in self.accounts.values():
            self.compare(account, rows[account.tenant.id])
            for entry in account.good:
                if entry.file_is_there:
                    content = (account.directory / entry.file_name).read_bytes()
                    assert sha256(content).hexdigest() == entry.sha256
            self.check_coverage(account)
        self.totals["days"] += 1

    def check_coverage(self, account):
        """While all is well a tenant has a backup in every interval."""
        if not (account.is_known and account.automatic) or account.calm_since == inf:
            return
        longest = LONGEST[account.rule["interval"]] + 2 * HOUR
        if self.clock.true - account.calm_since > longest:
            self.totals["coverage looked at"] += 1
            assert self.clock.true - account.last_success <= longest, account.tenant.id


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not LONG, reason="It takes minutes: `make year`.")
def test_a_year_of_many_tenants(tmp_path, monkeypatch, settings, caplog):
    settings.TENANT_BACKUP = {
        **settings.TENANT_BACKUP,
        "BUSY_TIMEOUT": 0.001,
        "DEFAULT_SETTINGS": {"automatic": True, "time_of_day": "03:00", "keep_last": 5},
    }
    for name in ("tenant_backup", "django-q"):
        caplog.set_level("CRITICAL", name)
    monkeypatch.setattr(Tenants, "tenants", [])
    clock = Clock()

    class Simulated(datetime):
        """What `timezone.now` asks, and with it the defaults of the models' fields."""

        @classmethod
        def now(cls, tz=None):
            return clock.now

    monkeypatch.setattr(timezone, "datetime", Simulated)
    year = Year(SEED, tmp_path, clock, Faults(monkeypatch))
    try:
        year.run()
    except BaseException as error:
        error.add_note(f"YEAR_SEED={SEED}; the last steps:")
        for step in year.last_steps:
            error.add_note(step)
        raise
    print(*(f"{number:7} {name}" for name, number in sorted(year.totals.items())), sep="\n")
    # A year in which nothing happened would prove nothing.
    assert year.totals["good backups"] > 80 * TENANTS
    assert [name for name in HAPPENS if not year.totals[name]] == []
