"""Does `runbackup` need more memory for a large database than for a small one?

Exits 1 if it does. Run it from the top of the checkout: `python -m benchmarks.memory`.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.host import MB, Host

RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""The unit of `ru_maxrss`, in bytes."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of a small and a large backup.")
    parser.add_argument("--small", type=int, default=50, metavar="MB", help="(%(default)s)")
    parser.add_argument("--large", type=int, default=1024, metavar="MB", help="(%(default)s)")
    parser.add_argument(
        "--allowed", type=float, default=20, metavar="MB", help="difference allowed (%(default)s)"
    )
    options = parser.parse_args()

    with TemporaryDirectory(prefix="benchmark-") as directory:
        host = Host(Path(directory))
        small = peak_of_backup(host, "small", options.small)
        large = peak_of_backup(host, "large", options.large)

    difference = large - small
    print(f"difference: {difference:+z.1f} MB, ratio: {large / small:.2f}")
    if difference > options.allowed:
        sys.exit(
            f"Peak memory grows with the database: by {difference:.1f} MB, more than the "
            f"{options.allowed:g} MB allowed."
        )
    print("Peak memory does not grow with the database.")


def peak_of_backup(host: Host, tenant: str, megabytes: int) -> float:
    """The peak memory of one `runbackup` process, in MB."""
    print(f"{tenant}: making a database of {megabytes} MB ...", flush=True)
    database = host.add_tenant(tenant, megabytes)
    started = time.monotonic()
    usage = host.run("runbackup", tenant)
    seconds = time.monotonic() - started
    own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if usage.ru_maxrss <= own_peak:
        # A new process inherits the peak of the one that starts it.
        sys.exit("This script needs more memory than the backup, which hides the backup's peak.")
    peak = usage.ru_maxrss * RSS_UNIT / MB
    size = database.stat().st_size / MB
    print(f"{tenant}: peak {peak:.1f} MB for {size:.0f} MB of database, {seconds:.1f} s")
    return peak


if __name__ == "__main__":
    main()
