"""Wrong clocks: ahead, behind, jumping, by minutes to years, for hours to weeks, and right again.

Each story is some weeks long: ticks, and after each the workers' work, by a clock that the trial
sets. Once that is right again, no slot is lost, the history is what it was, and nothing waits for
ever.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import F
from django.utils import timezone

from tenant_backup import automation, backups, monitoring
from tenant_backup.automation import queue
from tenant_backup.models import Automation, Backup, BackupSettings
from tenant_backup.schedule import PERIODS
from tests.torture.host import Site, make_what_is_queued, provider_tenant, set_policy

FULL, SHORT = 42, 1

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)

FAULTS = [
    "a year ahead",
    "a year behind",
    "an hour ahead",
    "an hour behind",
    "a month ahead",
    "ten years ahead",
    "jumping",
]
POLICIES = [
    {"keep_days": 30},
    {"keep_days": 30, "keep_last": 14},
    {"keep_last": 10},
    {"keep_days": 7, "keep_daily": 14},
]
INTERVALS = ["daily", "hourly", "weekly", "6h"]


def plan(*, short):
    number = SHORT if short else FULL
    return [
        f"{INTERVALS[index // len(FAULTS) % len(INTERVALS)]}: {FAULTS[index % len(FAULTS)]}"
        for index in range(number)
    ]


def prepare(folder, *, short):
    site = Site(folder / "template").set_up()
    site.add_tenant("acme", rows=5, body=10)
    return site


def trial(name, random, folder, template):
    interval, fault = name.split(": ")
    site = template.copy_to(folder / "host")
    site.call(lambda: Story(interval, fault, random).tell())
    return Counter()


class Clock:
    """What the machine believes that the time is."""

    def __init__(self):
        self.true = START
        self.error = timedelta()

    @property
    def shown(self):
        return self.true + self.error

    def set(self):
        clock = self

        class Shown(datetime):
            @classmethod
            def now(cls, tz=None):
                return clock.shown.astimezone(tz)

        # Of `timezone.now`, which is also the default of the models' fields.
        timezone.datetime = Shown


@dataclass
class Story:
    """Some weeks of good time, some of a wrong clock, and some of good time again."""

    interval: str
    fault: str
    random: object

    def tell(self):
        self.clock = Clock()
        self.clock.set()
        self.policy = self.random.choice(POLICIES)
        self.period = PERIODS[self.interval]
        # As often as it takes to see each slot, and to be quick.
        self.step = self.period / 5
        queue.async_task = self.worker = Worker()
        set_policy(automatic=True, interval=self.interval, next_run_at=None, **self.policy)
        BackupSettings.objects.update(scheduled_since=self.clock.shown)
        automation.set_up()
        number = {"hourly": 40, "6h": 60, "daily": 45, "weekly": 12}[self.interval]
        self.pass_by(number * self.period)
        before = {backup.pk: backup for backup in self.good()}
        assert len(before) >= 3, before

        self.go_wrong()
        self.require_history(before)
        wrong = {backup.pk for backup in self.good()} - set(before)

        # It is right again: within two intervals all goes on.
        self.clock.error = timedelta()
        since = self.clock.shown
        self.pass_by(2 * self.period + 2 * HOUR)
        now = self.clock.shown
        made = [backup for backup in self.good() if since <= backup.created_at <= now]
        assert made, f"No backup since {since}; it is {now}, and {self.settings.next_run_at} is set"
        assert now < self.settings.next_run_at <= now + self.period + DAY
        automation_status = automation.get_status()
        assert automation_status.is_running, automation_status
        judgement = monitoring.judge_tenant(provider_tenant(), automation_runs=True)
        assert not judgement.findings, judgement.findings
        self.require_history(before)
        # What the clock's fault made is not in anybody's way for good, and slots come as ever.
        self.pass_by(5 * self.period)
        later = [backup for backup in self.good() if now < backup.created_at <= self.clock.shown]
        kept = self.policy.get("keep_last", 5)
        assert len(later) >= min(4, kept), f"{len(later)} backups in five intervals"
        self.require_order(wrong)
        self.require_verification()
        # Pruning once more takes nothing more.
        files = self.files()
        backups.prune(provider_tenant())
        backups.prune(provider_tenant())
        assert self.files() == files, "Pruning again removed more."

    def go_wrong(self):
        errors = {
            "a year ahead": [365 * DAY],
            "ten years ahead": [3652 * DAY],
            "a year behind": [-365 * DAY],
            "an hour ahead": [HOUR],
            "an hour behind": [-HOUR],
            "a month ahead": [31 * DAY],
            "jumping": [self.random.uniform(-40, 40) * DAY for _ in range(6)],
        }[self.fault]
        for error in errors:
            self.clock.error = error
            self.pass_by(self.random.uniform(0.2, 3) * self.period)

    def pass_by(self, time):
        end = self.clock.true + time
        while self.clock.true < end:
            self.clock.true += self.step
            automation.tick()
            make_what_is_queued()

    @property
    def settings(self):
        return BackupSettings.objects.get(tenant_id="acme")

    def good(self):
        return list(Backup.objects.for_tenant("acme").good())

    def files(self):
        return {path.name for path in backups.directory_of(provider_tenant()).path.iterdir()}

    def require_history(self, before):
        """What there was before the clock went wrong is there, as far as it is to be kept.

        By number, what is made meanwhile may take the place of older ones. By age a wrong clock
        counts like an outage: a third of the days at most, and never the last three days.
        """
        days = self.policy.get("keep_days")
        last = self.policy.get("keep_last")
        left = {backup.pk: backup for backup in self.good()}
        old = sorted(before.values(), key=lambda backup: backup.created_at)
        newest = old[-1].created_at
        made_since = len([pk for pk in left if pk not in before])
        expected = old
        if days:
            # Of the rest, what passed by since in good time is as old as it is.
            passed = max(self.clock.true - newest, timedelta())
            allowed = timedelta(days=days) - min(passed, timedelta(days=days)) - timedelta(days / 3)
            expected = [one for one in expected if newest - one.created_at < allowed]
        if last:
            wanted = max(0, last - made_since)
            expected = expected[-wanted:] if wanted else []
        lost = [str(one) for one in expected if one.pk not in left]
        assert not lost, f"{len(lost)} of {len(old)} are gone, of which were to be kept: {lost}"
        all_days = {one.created_at.date() for one in old} | {
            one.created_at.date() for one in left.values()
        }
        left_days = {one.created_at.date() for one in left.values()}
        if not last:
            assert len(left_days) >= min(3, len(all_days)), f"Only {left_days} are left."

    def require_order(self, wrong):
        """Each slot has one backup at most; those that a wrong clock saw, it may see again.

        A clock that was behind has set a run that lies far back when it is right again. The one
        backup to catch up has that slot, so only what was made in its time is counted.
        """
        rows = Backup.objects.for_tenant("acme").good().exclude(pk__in=wrong)
        in_time = rows.exclude(slot_at=None).filter(created_at__lt=F("slot_at") + self.period)
        made = {}
        for row in in_time.order_by("pk"):
            made.setdefault(row.slot_at, []).append(row.created_at)
        doubled = {slot: times for slot, times in made.items() if len(times) > 1}
        assert not doubled, f"More than one backup of a slot: {doubled}"

    def require_verification(self):
        """Each backup is read again in its turn, also those of the wrong clock's time."""
        number = Backup.objects.for_tenant("acme").good().count()
        # Only the idle tick does so, and once a day and tenant.
        settings = self.settings
        settings.automatic = False
        settings.save()
        self.worker.verified.clear()
        for _ in range(number + 3):
            self.clock.true += DAY + HOUR
            automation.tick()
        seen = self.worker.verified
        good = set(Backup.objects.for_tenant("acme").good().values_list("pk", flat=True))
        assert seen >= good, f"Never verified again: {good - seen}"
        Automation.objects.update(last_tick_at=self.clock.shown)


class Worker:
    """In the place of django-q2's queue: what is to be verified again is done at once.

    What is to be made, the trial makes; its messages are lost, as all may be.
    """

    def __init__(self):
        self.verified = set()

    def __call__(self, task, backup_id, **options):
        if task == queue.VERIFY:
            self.verified.add(backup_id)
            automation.verify(backup_id)
