"""Database files: the file of an alias, and whether two paths are the same file."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.db import connections


def sqlite_file(alias: str) -> Path | None:
    """The file of this alias of `DATABASES`, or None where it is in memory or not SQLite."""
    if connections[alias].vendor != "sqlite":
        return None
    name = str(connections[alias].settings_dict["NAME"])
    if name.startswith("file:"):
        uri = urlsplit(name)
        name = "" if "mode=memory" in uri.query else unquote(uri.path)
    if name in {"", ":memory:"}:
        return None
    return Path(name).absolute()


def is_same_file(one: Path, other: Path) -> bool:
    """Whether both paths lead to one file, through links or not; it need not exist."""
    if one == other:
        return True
    try:
        return one.samefile(other)
    except ValueError:
        return False  # Nothing has a name with a NUL in it.
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)
