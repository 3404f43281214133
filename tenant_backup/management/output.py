"""What commands print: text that is safe on a terminal, the progress bar, and the JSON report."""

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tqdm import tqdm

from tenant_backup.models import Backup
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
    # tqdm must not start a thread that watches the bar: root becomes the tenant's owner only in a
    # process with one thread.
    tqdm.monitor_interval = 0
    with tqdm(
        desc=title, unit="B", unit_scale=True, unit_divisor=1024, leave=False, disable=None
    ) as bar:

        def show(done: int, total: int) -> None:
            # A terminal that is gone must not end a backup.
            with suppress(OSError, ValueError):
                bar.total = total
                if done == total:
                    bar.set_postfix_str("checking", refresh=False)
                bar.update(done - bar.n)
                if done == total:
                    bar.refresh()

        yield show


@dataclass
class Report:
    """What a command did; the object that `--json` prints."""

    backups: list[Backup] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)
    tenants: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    """What only this command has to say."""

    def as_json(self) -> str:
        answer = {
            "ok": not self.errors,
            "backups": [_backup_as_dict(backup) for backup in self.backups],
            "errors": [{"tenant": tenant, "message": message} for tenant, message in self.errors],
            "tenants": self.tenants,
            **self.more,
        }
        return json.dumps(answer, indent=2, default=_as_iso)


def _as_iso(value: datetime) -> str:
    """A time as ISO 8601 in UTC, whole seconds and a Z as in file names."""
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _backup_as_dict(backup: Backup) -> dict[str, Any]:
    return {
        "id": backup.pk,
        "tenant": backup.tenant_id,
        "status": backup.status,
        "trigger": backup.trigger,
        "label": backup.label,
        "pinned": backup.pinned,
        "file": backup.file_name or None,
        "bytes": backup.size,
        "sha256": backup.sha256 or None,
        "created_at": backup.created_at,
        "finished_at": backup.finished_at,
        "error": backup.error or None,
        "check_error": backup.check_error or None,
    }
