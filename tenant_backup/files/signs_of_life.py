"""The time of a partial as a sign of life, during work that does not write to it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SECONDS_BETWEEN = 15


def sign_of_life_on(partial: Path) -> Callable[[], None]:
    """What to call often: now and then it sets the partial's time to now, for others to see."""
    seen_at = time.monotonic()

    def sign_of_life() -> None:
        nonlocal seen_at
        if time.monotonic() - seen_at >= SECONDS_BETWEEN:
            seen_at = time.monotonic()
            with suppress(OSError, NotImplementedError):
                os.utime(partial, follow_symlinks=False)

    return sign_of_life
