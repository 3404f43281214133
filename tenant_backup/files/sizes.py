"""Sizes of files: how people write them, and the size that a backup's file must have."""

from __future__ import annotations

from pathlib import Path

from django.template.defaultfilters import filesizeformat

from tenant_backup.exceptions import DatabaseDamaged


def size_in_words(size: int) -> str:
    """A number of bytes as people write it, such as "1.5 MB"."""
    return str(filesizeformat(size)).replace("\xa0", " ")


def wrong_size(file: Path, found: int, expected: int | None) -> DatabaseDamaged | None:
    """The error to raise where a backup's file does not have the size that it was made with."""
    if expected is None or found == expected:
        return None
    return DatabaseDamaged(
        "%(path)s is damaged: it has %(found)d bytes instead of %(expected)d.",
        path=file,
        found=found,
        expected=expected,
    )
