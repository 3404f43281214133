"""Copying a database's pages in chunks, through SQLite's online backup."""

from __future__ import annotations

import sqlite3

from tenant_backup.sqlite.deadlines import Progress

CHUNK_BYTES = 4 * 1024 * 1024
"""How many bytes are copied between two calls of `after_chunk`. Larger chunks are no faster."""


def copy_pages(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    *,
    page_size: int,
    after_chunk: Progress,
) -> None:
    """Copy all of the source into the target. What `after_chunk` raises ends the copy."""

    def progress(_status: int, remaining: int, total: int) -> None:
        after_chunk((total - remaining) * page_size, total * page_size)

    source.backup(target, pages=max(1, CHUNK_BYTES // page_size), progress=progress)
