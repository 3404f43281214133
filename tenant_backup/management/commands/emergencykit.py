"""`manage.py emergencykit`: one page to print, with what an emergency on this host needs."""

import codecs
import stat
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.utils import timezone

from tenant_backup import emergency_kit
from tenant_backup.exceptions import BackupError, cannot_be_read
from tenant_backup.files import open_regular, writing_privately
from tenant_backup.languages import speaking
from tenant_backup.management.base import TenantCommand, zone_of
from tenant_backup.management.output import user

MARK = emergency_kit.MARK.encode()


class Command(TenantCommand):
    help = (
        "Write one page to print (HTML), with this host's paths, services and tenants, and the "
        "commands for lost rows, a lost database and a lost control database."
    )
    examples = (
        ("--output /root/emergency.html", "a file that only its owner can read"),
        ("--output /mnt/stick/emergency.html", "the same, onto a stick to keep elsewhere"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--output",
            type=Path,
            metavar="FILE",
            help="write the page into this file, whole or not at all, for its owner only; replaces "
            "an earlier page, but no other file",
        )
        parser.set_defaults(as_json=False)

    def handle(self, *, output: Path | None, **options: Any) -> None:
        listing = self.find_tenants([])
        with timezone.override(zone_of(listing.tenants)), speaking():
            pieces = emergency_kit.pages(listing, user=user())
            try:
                if output is None:
                    self.print(pieces)
                else:
                    self.write(pieces, output.absolute())
            except BackupError as error:
                raise self.failure(str(error)) from error
        if output is not None:
            number = len(listing.tenants)
            tenants = "1 tenant" if number == 1 else f"{number} tenants"
            self.tell(f"{output}: the emergency kit, with {tenants}. Only its owner can read it.")
        self.report_invalid(listing)
        self.finish(len(listing), failed="not valid, so not backed up")

    def print(self, pieces: Iterable[str]) -> None:
        """Print the page. If anything is lost on the way, the command fails."""
        # Letters that the output does not know are numbers of HTML: every browser shows them.
        encoding = getattr(self.stdout, "encoding", None) or "utf-8"
        encoding = encoding if codecs.lookup(encoding).name == "utf-8" else "ascii"
        try:
            for piece in pieces:
                text = piece.encode(encoding, "xmlcharrefreplace").decode(encoding)
                self.stdout.write(text, ending="")
            self.stdout.flush()
        except OSError as error:
            raise self.failure(f"The page could not be printed: {error.strerror}.") from error

    def write(self, pieces: Iterable[str], output: Path) -> None:
        _require_replaceable(output)
        with writing_privately(output) as stream:
            stream.writelines(pieces)


def _require_replaceable(output: Path) -> None:
    """Raise `BackupError` if there is a file that is no earlier page.

    Somebody may have mistyped the name. And to open a database that is in use, only to see what it
    is, would drop its locks: so the name must be that of a page before the file is opened.
    """
    try:
        facts = output.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_be_read(output, error) from error
    if stat.S_ISREG(facts.st_mode) and output.suffix in (".html", ".htm"):
        with open_regular(output) as stream:
            if stream.read(len(MARK)) == MARK:
                return
    raise BackupError(
        "%(path)s is there already and is no emergency kit, so it was not replaced. Choose "
        "another name.",
        path=output,
    )
