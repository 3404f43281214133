"""What the tests do in minutes by default, and at length with `TEST_LONG=1`, as CI does once."""

import os
from typing import TypeVar

Part = TypeVar("Part")

LONG = "TEST_LONG" in os.environ


def at_length(short: Part, long: Part) -> Part:
    return long if LONG else short
