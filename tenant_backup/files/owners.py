"""Whom files belong to, so that what root makes does not lock out the web server."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tenant_backup.exceptions import NotWritable


@dataclass(frozen=True, slots=True)
class Ownership:
    """Whom a file belongs to, by number, and who may do what with it."""

    user: int
    group: int
    mode: int

    @classmethod
    def of_database(cls, database: Path, root: Path) -> Ownership:
        """That of the database; where it is gone, whoever may use the tenant root may use it."""
        try:
            facts = database.stat()
            mode = facts.st_mode & 0o777
        except FileNotFoundError:
            facts = root.stat()
            mode = facts.st_mode & 0o666
        return cls(facts.st_uid, facts.st_gid, mode)


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def owner_for_root(candidates: Sequence[Path]) -> os.stat_result | None:
    """The owner of what root makes: that of the first candidate that is not root's.

    None where they are all root's, and where we are not root.
    """
    if not is_root():
        return None
    for path in candidates:
        with suppress(OSError):
            if (owner := path.stat()).st_uid != 0:
                return owner
    return None


@contextmanager
def acting_as(owner: os.stat_result | None, is_writable: Callable[[], bool]) -> Iterator[None]:
    """As root, become this owner for a moment; without one, stay who we are.

    So nothing that the owner puts in our way, such as a symbolic link, leads root to where the
    owner may not go. Where the owner may not write either, root stays root. It changes the whole
    process, so it is done only for a moment, and only in a process of one thread.
    """
    if owner is None or threading.active_count() > 1:
        yield
        return
    group = os.getegid()
    try:
        with suppress(PermissionError):  # Root in a container may not become anybody else.
            os.setegid(owner.st_gid)
            os.seteuid(owner.st_uid)
        if not is_writable():
            os.seteuid(0)
            os.setegid(group)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


def distrust_link(path: Path) -> None:
    """As root, raise `NotWritable` where this is a symbolic link that root did not make."""
    if is_root() and path.is_symlink():
        maker = path.lstat().st_uid
        if maker != 0:
            raise NotWritable(
                "%(path)s is a symbolic link made by user %(user)d, which root does not "
                "follow. Create it as root, or run this as that user.",
                path=path,
                user=maker,
            )
