"""The torture: the long form of the tests has a few trials of each kind, `make torture` all."""

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.lengths import LONG

KINDS = ["kills", "rows", "disks", "damage", "access", "clocks", "clusters"]

NOT_OURS = {"DJANGO_SETTINGS_MODULE", "TEST_HOST", "TEST_CONTROL", "TEST_PROVIDER", "TEST_SETTINGS"}


def torture(*arguments):
    environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    return subprocess.run(
        [sys.executable, "-m", "tests.torture", *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.skipif(not LONG, reason="It takes a minute; `make torture` does all.")
@pytest.mark.parametrize("kind", KINDS)
def test_a_few_trials_are_survived(kind):
    done = torture("--short", "--only", kind, "--jobs", "2")
    if "Nothing was tried." in done.stdout:
        pytest.skip(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "were survived. The seed: " in done.stdout


def test_what_is_not_survived_is_said_with_what_it_takes_to_see_it_again(tmp_path):
    """A kind of trial of which one fails, one cannot be tried here, and one is survived."""
    code = f"""
import sys
from types import ModuleType
from collections import Counter
import pytest
from tests.torture import __main__ as torture

def trial(name, random, folder, prepared):
    assert prepared == "made"
    if name == "bad":
        raise AssertionError("It is broken.")
    if name == "elsewhere":
        pytest.skip("not on this machine")
    return Counter(requests=5)

module = sys.modules["tests.torture.kills"] = ModuleType("kills")
module.plan = lambda short: ["good", "bad", "elsewhere"]
module.prepare = lambda folder, short: "made"
module.trial = trial
sys.argv = ["torture", "--only", "kills", "--seed", "7"]
sys.path.insert(0, {str(REPOSITORY)!r})
sys.exit(torture.main())
"""
    environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "python -m tests.torture --only kills --trial 1 --seed 7" in done.stdout
    assert "It is broken." in done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith("kills  "))
    assert line.split()[:5] == ["kills", "3", "1", "1", "1"]
    assert "5 requests" in line
    assert "1 of 3 were not survived. The seed: 7" in done.stdout
