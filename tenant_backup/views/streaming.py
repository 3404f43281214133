"""The download of a backup's file. It is sent in chunks, which do not fill the memory.

Under ASGI Django reads a synchronous stream into memory before it sends any of it, and under WSGI
an asynchronous one. So each kind of request gets its own.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from django.core.handlers.asgi import ASGIRequest
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseNotModified,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from tenant_backup import backups
from tenant_backup.exceptions import BackupError
from tenant_backup.languages import messages
from tenant_backup.models import Backup
from tenant_backup.tenants import DOWNLOAD, Tenant
from tenant_backup.views.access import backup_or_404, tenant_view, user_name
from tenant_backup.views.redaction import error_text
from tenant_backup.views.responses import back

CHUNK = 256 * 1024
"""Bytes that are read, and held in memory, at a time."""

RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)


class Unsatisfiable(Exception):
    """The file has none of the requested bytes."""


@dataclass(frozen=True, slots=True)
class Part:
    """A range of a file, in bytes."""

    start: int
    length: int

    def __str__(self) -> str:
        """As in the header `Content-Range`: the first and the last byte."""
        return f"{self.start}-{self.start + self.length - 1}"


@require_safe
@cache_control(private=True, no_store=True)
@tenant_view(DOWNLOAD)
def download(request: HttpRequest, tenant: Tenant, backup_id: str) -> HttpResponseBase:
    backup = backup_or_404(tenant.id, backup_id)
    try:
        return file_answer(request, tenant, backup)
    except BackupError as error:
        messages.error(request, error_text(error, request, tenant))
        return back(request)


def file_answer(request: HttpRequest, tenant: Tenant, backup: Backup) -> HttpResponseBase:
    """The backup's file, or what the request wants of it. Raises `BackupError`."""
    size, etag = backup.size or 0, etag_of(backup.sha256)
    status, part = _wanted(request, size, etag)
    is_sent = part is not None and request.method == "GET"
    stream = backups.open_file(
        tenant,
        backup,
        actor=user_name(request),
        is_resumed=part is not None and part.start > 0,
        is_sent=is_sent,
    )
    answer: HttpResponseBase = HttpResponseNotModified() if status == 304 else HttpResponse()
    if part and is_sent:
        answer = _streamed(request, part, stream, size)
    else:
        stream.close()
    answer.status_code = status
    if part:
        answer["Content-Type"] = "application/vnd.sqlite3"
        answer["Content-Length"] = str(part.length)
        answer["Content-Disposition"] = content_disposition_header(True, backup.file_name)
        # If something compressed it on the way, the length would be wrong.
        answer["Content-Encoding"] = "identity"
    if status in (206, 416):
        answer["Content-Range"] = f"bytes {part or '*'}/{size}"
    answer["Accept-Ranges"] = "bytes"
    if etag:
        answer["ETag"] = etag
    # Also for a host without Django's SecurityMiddleware: a browser must never render a tenant's
    # data as a page.
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


def parse_range(header: str, size: int) -> Part | None:
    """The range that the header `Range` asks for; None if the answer is the whole file.

    That is so without the header, with several ranges, and if it is not a range of bytes. Raises
    `Unsatisfiable`.
    """
    found = RANGE.fullmatch(header.strip())
    if not found or found.groups() == ("", ""):
        return None
    first, last = map(_number, found.groups())
    if first is None:
        # `-500` asks for the last 500 bytes.
        length = min(last or 0, size)
        if not length:
            raise Unsatisfiable
        return Part(size - length, length)
    if last is not None and last < first:
        return None
    if first >= size:
        raise Unsatisfiable
    end = size if last is None else min(last + 1, size)
    return Part(first, end - first)


def _number(digits: str) -> int | None:
    if not digits:
        return None
    # Python refuses to parse numbers of thousands of digits, and no file is that large.
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= 20 else 10**20


def etag_of(sha256: str) -> str:
    """The strong validator of a file with this checksum; empty without a checksum."""
    return f'"{sha256}"' if sha256 else ""


def has_it(header: str, etag: str) -> bool:
    """Whether `If-None-Match` names this version of the file."""
    known = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return bool(etag) and ("*" in known or etag in known)


def _wanted(request: HttpRequest, size: int, etag: str) -> tuple[int, Part | None]:
    """The HTTP status of the answer, and which part of the file it contains, if any."""
    if has_it(request.headers.get("If-None-Match", ""), etag):
        return 304, None
    whole = Part(0, size)
    if request.method == "HEAD":
        return 200, whole
    condition = request.headers.get("If-Range")
    if condition is not None and condition.strip() != etag:
        # The client has another version of the file, so the rest of this one is no use to it.
        return 200, whole
    try:
        part = parse_range(request.headers.get("Range", ""), size)
    except Unsatisfiable:
        return 416, None
    return (206, part) if part else (200, whole)


def _streamed(
    request: HttpRequest, part: Part, stream: BinaryIO, size: int
) -> StreamingHttpResponse:
    if isinstance(request, ASGIRequest):
        return StreamingHttpResponse(AsyncChunks(Chunks(stream, part)))
    if part == Part(0, size):
        # The server may be able to send the file on its own.
        whole = FileResponse(stream)
        whole.block_size = CHUNK
        return whole
    return StreamingHttpResponse(Chunks(stream, part))


class Chunks:
    """A part of a file, chunk by chunk. Closing it closes the file."""

    def __init__(self, stream: BinaryIO, part: Part) -> None:
        self.stream = stream
        self.left = part.length
        stream.seek(part.start)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = self.stream.read(min(CHUNK, self.left))
        if not chunk:
            raise StopIteration
        self.left -= len(chunk)
        return chunk

    def close(self) -> None:
        self.stream.close()


class AsyncChunks:
    """The same for ASGI: the event loop does not wait for the disk."""

    def __init__(self, chunks: Chunks) -> None:
        self.chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await asyncio.to_thread(next, self.chunks, b"")
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def close(self) -> None:
        self.chunks.close()
