"""The terminal: text that is safe to print, the progress bar, and who sits at it."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tqdm import tqdm

from tenant_backup.sqlite import Progress


def shown(text: str) -> str:
    """Text from outside, safe to print on a terminal: quoted and escaped where it could do harm."""
    return text if text.isprintable() and text else ascii(text)


def harmless(text: str) -> str:
    """Lines to be printed, without anything that commands the terminal but their ends.

    A path may hold escape sequences, which move the cursor, change the title, or worse.
    """
    return "".join(
        sign if sign.isprintable() or sign in "\n\xa0" else ascii(sign)[1:-1] for sign in text
    )


def user() -> str:
    """Who runs the command, as the operating system knows it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the system's list
        return ""


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A progress bar on the terminal; nothing where the error output is no terminal."""
    # tqdm shall not start a thread that watches the bar: root becomes the tenant's owner only in a
    # process with one thread.
    tqdm.monitor_interval = 0
    with tqdm(
        desc=title, unit="B", unit_scale=True, unit_divisor=1024, leave=False, disable=None
    ) as bar:

        def show(done: int, total: int) -> None:
            # A terminal that is gone shall not end a backup.
            with suppress(OSError, ValueError):
                bar.total = total
                if done == total:
                    bar.set_postfix_str("checking", refresh=False)
                bar.update(done - bar.n)
                if done == total:
                    bar.refresh()

        yield show
