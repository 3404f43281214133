"""How long does `restorebackup` take per GB of database?

Run it from the top of the checkout: `python -m benchmarks.restore`. The system has just read and
written the files, so they are in its memory; a disk that has to be read first adds its time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.host import MB, Host

GB = 1000**3


def main() -> None:
    parser = argparse.ArgumentParser(description="The time of a restore, per GB of database.")
    parser.add_argument("--megabytes", type=int, default=512, metavar="MB", help="(%(default)s)")
    options = parser.parse_args()

    with TemporaryDirectory(prefix="benchmark-") as directory:
        host = Host(Path(directory))
        database = host.add_tenant("acme", options.megabytes)
        size = database.stat().st_size
        print(f"a database of {size / MB:.0f} MB")
        for command in (
            ("runbackup", "acme"),
            ("verifybackups", "acme", "--all"),
            ("restorebackup", "acme", "--latest", "--no-input"),
        ):
            started = time.monotonic()
            usage = host.run(*command)
            seconds = time.monotonic() - started
            work = usage.ru_utime + usage.ru_stime
            print(
                f"{command[0]}: {seconds:.1f} s ({seconds / (size / GB):.0f} s per GB), "
                f"of which the processor worked {work:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
