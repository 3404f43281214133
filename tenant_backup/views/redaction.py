"""What a user may read: paths on the server are for operators only."""

from collections.abc import Callable, Iterable
from functools import partial

from django.http import HttpRequest

from tenant_backup import backups
from tenant_backup.exceptions import BackupError
from tenant_backup.models import Backup, Event, Status
from tenant_backup.tenants import Tenant, is_operator

Reader = Callable[[str], str]
"""Turns a text that may name paths into what the user may read of it."""


def reader_of(request: HttpRequest, tenant: Tenant) -> Reader:
    return str if is_operator(request) else partial(backups.without_paths, tenant=tenant)


def error_text(error: BackupError | str, request: HttpRequest, tenant: Tenant) -> str:
    return reader_of(request, tenant)(str(error))


def readable_reason(backup: Backup, read: Reader) -> str:
    """Why a backup failed; why one is still queued is a matter of workers, so for operators."""
    if backup.status == Status.QUEUED and read is not str:
        return ""
    return read(backup.reason)


def readable_events(rows: Iterable[Event], read: Reader) -> list[Event]:
    """Lines of the history, each with what the user may read of its detail."""
    events = list(rows)
    for event in events:
        event.detail = read(event.said)
    return events
