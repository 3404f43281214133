"""`python -m tests.torture`: all the trials, and a table of what was survived."""

import argparse
import gc
import importlib
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from multiprocessing.connection import Pipe, wait
from pathlib import Path
from typing import Any

import pytest

from tests.torture.host import scratch

KINDS = ["kills", "rows", "disks", "damage", "access", "clocks", "clusters"]

SURVIVED, SKIPPED = "survived", "skipped"

prepared: dict[str, Any] = {}
"""By kind, what its trials share; the processes that run them are forks and have it, too."""


def do(kind, number, name, seed):
    """One trial: what came of it, and in how many requests or the like."""
    module = importlib.import_module(f"tests.torture.{kind}")
    with scratch() as folder:
        try:
            found = module.trial(
                name, random.Random(f"{seed}/{kind}/{number}"), Path(folder), prepared[kind]
            )
        except pytest.skip.Exception as reason:
            return SKIPPED, str(reason).splitlines()[0], Counter()
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - it was not survived
            place = traceback.extract_tb(error.__traceback__)[-1]
            kind_of = type(error).__name__
            where = f"{Path(place.filename).name}:{place.lineno}"
            return "failed", f"{kind_of} at {where}: {error or place.line}", Counter()
    return SURVIVED, "", found or Counter()


def side_by_side(work, numbers, jobs):
    """Do some work for each number, in so many forks of this process; what comes of each.

    Each fork takes the next number from a pipe, and answers through another. A pool would need
    semaphores, which not every user of every machine may make.
    """
    tasks, fill = os.pipe()
    os.write(fill, b"".join(number.to_bytes(4, "big") for number in numbers))
    os.close(fill)
    begun, children = {}, []
    for _ in range(min(jobs, len(numbers))):
        answers, ours = Pipe(duplex=False)
        sys.stdout.flush()
        child = os.fork()
        if not child:
            work_off(work, tasks, ours)
        ours.close()
        begun[answers] = None
        children.append(child)
    os.close(tasks)
    try:
        while begun:
            for answers in wait(begun):
                try:
                    number, *outcome = answers.recv()
                except EOFError:
                    if (number := begun.pop(answers)) is not None:
                        yield number, ("failed", "The trial's own process died.", Counter())
                    continue
                begun[answers] = None if outcome else number
                if outcome:
                    yield number, outcome[0]
    finally:
        # Whoever ends us waits for what is going on.
        for child in children if begun else ():
            os.kill(child, signal.SIGTERM)
        for child in children:
            os.waitpid(child, 0)


def work_off(work, tasks, answers):
    """What a fork does: it says what it begins, and what came of it."""
    is_over = []
    for signaled in (signal.SIGTERM, signal.SIGINT):
        # A trial is brought to its end, so that no disk stays mounted.
        signal.signal(signaled, lambda *arguments: is_over.append(arguments))
    try:
        while not is_over and (task := os.read(tasks, 4)):
            number = int.from_bytes(task, "big")
            answers.send((number,))
            answers.send((number, work(number)))
    except BaseException:  # noqa: BLE001 - of a fork nothing may come back
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(0)


class Torture:
    def __init__(self, options):
        self.options = options
        self.rows = []
        self.failures = []

    def run(self, kind):
        module = importlib.import_module(f"tests.torture.{kind}")
        started = time.monotonic()
        names = list(enumerate(module.plan(short=self.options.short)))
        if self.options.trial is not None:
            names = [names[self.options.trial]]
        outcomes = Counter()
        counted = Counter()
        with scratch() as folder:
            try:
                prepared[kind] = module.prepare(Path(folder), short=self.options.short)
            except pytest.skip.Exception as reason:
                self.rows.append(
                    (kind, len(names), 0, len(names), 0, 0, str(reason).splitlines()[0])
                )
                return
            try:
                gc.collect()
                gc.freeze()
                jobs = min(self.options.jobs, getattr(module, "JOBS", self.options.jobs))
                for (number, name), outcome in self.outcomes(kind, names, jobs):
                    what, said, found = outcome
                    outcomes[what] += 1
                    counted += found
                    if what == "failed":
                        self.failures.append((kind, number, name, said))
                        self.say(
                            f"{kind} {number} ({name}): {said.strip().splitlines()[-1].strip()}"
                        )
                    elif what == SKIPPED:
                        counted[said] += 1
            finally:
                if finish := getattr(module, "finish", None):
                    finish(prepared[kind])
        self.rows.append(
            (
                kind,
                len(names),
                outcomes[SURVIVED],
                outcomes[SKIPPED],
                outcomes["failed"],
                time.monotonic() - started,
                ", ".join(f"{number} {what}" for what, number in counted.items()),
            )
        )

    def outcomes(self, kind, names, jobs):
        """Do the trials, several side by side; what came of each, as they end."""
        named = dict(names)

        def work(number):
            return do(kind, number, named[number], self.options.seed)

        outcomes = side_by_side(work, list(named), jobs)
        for done, (number, outcome) in enumerate(outcomes, start=1):
            yield (number, named[number]), outcome
            if sys.stderr.isatty():
                print(f"\r{kind}: {done} of {len(names)} ", end="", file=sys.stderr, flush=True)
        if sys.stderr.isatty():
            print("\r", end="", file=sys.stderr)

    def say(self, text):
        print(text, flush=True)

    def finish(self):
        """The table, and after it what was not survived; the exit status."""
        for kind, number, name, said in self.failures:
            self.say(f"\n{kind} {number} ({name}), again by:")
            short = " --short" if self.options.short else ""
            self.say(
                f"  python -m tests.torture{short} --only {kind} --trial {number} "
                f"--seed {self.options.seed}"
            )
            self.say("  " + said.replace("\n", "\n  "))
        titles = ("kind", "trials", "survived", "skipped", "failed", "seconds", "")
        lines = [titles]
        totals = [0, 0, 0, 0]
        for kind, *numbers, seconds, more in self.rows:
            lines.append((kind, *map(str, numbers), f"{seconds:.0f}", more))
            totals = [total + number for total, number in zip(totals, numbers, strict=True)]
        lines.append(("all", *map(str, totals), f"{sum(row[5] for row in self.rows):.0f}", ""))
        widths = [max(len(line[column]) for line in lines) for column in range(len(titles) - 1)]
        self.say("")
        for name, *numbers, more in lines:
            cells = [name.ljust(widths[0])]
            cells += [text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True)]
            self.say("  ".join([*cells, more]).rstrip())
        trials, survived, skipped, failed = totals
        if failed:
            self.say(f"\n{failed} of {trials} were not survived. The seed: {self.options.seed}")
            return 1
        words = f"\nAll {survived} were survived." if survived else "\nNothing was tried."
        self.say(f"{words} The seed: {self.options.seed}")
        if skipped:
            self.say(f"{skipped} could not be tried here.")
        return 0


def end(number, frame):
    sys.exit(128 + number)


def main():
    signal.signal(signal.SIGTERM, end)
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few trials of each kind")
    parser.add_argument("--only", choices=KINDS, action="append", help="this kind; repeatable")
    parser.add_argument("--seed", type=int, default=None, help="what all that is random comes from")
    parser.add_argument("--trial", type=int, help="the trial of this number, with --only")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    options = parser.parse_args()
    if options.trial is not None and len(options.only or ()) != 1:
        parser.error("--trial needs one --only")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1_000_000)
    torture = Torture(options)
    torture.say(f"The seed: {options.seed}")
    for kind in options.only or KINDS:
        torture.run(kind)
    return torture.finish()


if __name__ == "__main__":
    sys.exit(main())
