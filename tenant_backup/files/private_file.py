"""A file for its owner's eyes only, which is there as a whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tenant_backup.files.disk import sync_folder, writing


@contextmanager
def writing_privately(path: Path) -> Iterator[TextIO]:
    """Write a text file, which takes the place of the one at this path when it is complete.

    Raises `NotWritable` or `NotEnoughSpace`; what was there before is then still there.
    """
    with writing(path):
        # For its owner only, under a name that nobody can know, and through no link.
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            # A path may hold bytes that are no text; the file shows a sign in their place.
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    sync_folder(path.parent)
