"""The names of backup files."""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count

from django.utils.text import slugify

SLUG_LENGTH = 100
"""How many characters of the tenant id a file name holds; most file systems allow 255 bytes."""


def file_names(tenant_id: str, at: datetime) -> Iterator[str]:
    """The names that a backup made at this moment may get, in the order to try them."""
    stem = f"{_slug(tenant_id)}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    yield f"{stem}.sqlite3"
    yield from (f"{stem}-{number}.sqlite3" for number in count(2))


def made_at(tenant_id: str, name: str) -> datetime | None:
    """The moment in a name that `file_names` may have given; None for any other name."""
    slug = re.escape(_slug(tenant_id))
    parts = re.fullmatch(rf"{slug}-([0-9T]{{15}}Z)(?:-[1-9][0-9]*)?\.sqlite3", name)
    with suppress(ValueError):
        return parts and datetime.strptime(parts[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return None


def _slug(tenant_id: str) -> str:
    return slugify(tenant_id)[:SLUG_LENGTH] or "tenant"
