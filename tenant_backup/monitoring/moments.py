"""How a finding tells a time: with its zone, or with its age where the reader knows the zone."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, tzinfo

from django.utils import timezone
from django.utils.formats import date_format

from tenant_backup.words import ago

_zone_is_known: ContextVar[bool] = ContextVar("zone_is_known", default=False)


@contextmanager
def in_one_zone(zone: tzinfo) -> Iterator[None]:
    """Within this block all times are told in this zone, each with its age.

    None of them names the zone: whoever prints them does, once.
    """
    token = _zone_is_known.set(True)
    try:
        with timezone.override(zone):
            yield
    finally:
        _zone_is_known.reset(token)


def moment_in_words(at: datetime, zone: tzinfo | None = None) -> str:
    """A time, in this zone or in the active one."""
    if _zone_is_known.get():
        local, age = _local(at), ago(at)
        return f"{local} ({age})" if age else local
    return f"{_local(at, zone)} ({zone or timezone.get_current_timezone_name()})"


def _local(at: datetime, zone: tzinfo | None = None) -> str:
    return date_format(timezone.localtime(at, zone), "DATETIME_FORMAT")
