"""What can go wrong. The text of every error is a sentence that a person can act on.

The doors turn these errors into what their callers expect: commands into a `CommandError`, views
into a message on the page, tasks into a row with the status `failed`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class Text:
    """A text for a person, in which named values have their places: `Text("%(n)d left", n=3)`.

    `str` says it in the language that is active then; in English where Django is not set up, for
    `sqlite.py` is used without. A text that comes without values may hold any percent sign.
    """

    text: object = ""
    values: Mapping[str, object] = MappingProxyType({})

    def __init__(self, text: object = "", /, *more: object, **values: object) -> None:
        # A host may raise ours with whatever it raises its own with.
        self.text, self.values = text, values

    def __str__(self) -> str:
        text = _translated(str(self.text))
        return text % self.values if self.values else text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class BackupError(Text, Exception):
    """Something about a tenant's backups could not be done; `str(error)` says what and why.

    Where that is stored, in a backup's row or in the history, it stays in the language that was
    active at that moment.

    `backup` is the failed catalog row that records it, where there is one.
    """

    backup: Any = None


def _translated(text: str) -> str:
    from django.apps import apps
    from django.utils.translation import gettext

    # Of an empty text gettext answers with the catalog's header.
    return gettext(text) if text and apps.apps_ready else text


class TenantNotFound(BackupError):
    """The tenant provider knows no such tenant."""


class BackupNotFound(BackupError):
    """The tenant has no such backup, or none that has a file."""


class BackupInProgress(BackupError):
    """Another process is at work on this tenant's backups; asking again later will do."""


class RowChanged(BackupError):
    """Another process moved a backup's row on, or removed it, since it was read."""


class DatabaseLocked(BackupError):
    """Another process kept the tenant's database locked for longer than the busy timeout."""


class DatabaseInUse(BackupError):
    """Another process uses the tenant's database, which must be stopped before a restore."""


class DatabaseDamaged(BackupError):
    """A file is not a sound SQLite database."""


class NotEnoughSpace(BackupError):
    """The disk has no room for another backup."""


class NotWritable(BackupError):
    """A backup's file or directory cannot be made, changed or removed with our permissions."""


class DeadlineExceeded(BackupError):
    """The work took longer than it was allowed to."""
