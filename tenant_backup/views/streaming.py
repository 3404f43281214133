"""How a backup's file is sent: in chunks, so that it never fills the memory and can be resumed.

Under ASGI Django reads a synchronous stream into memory before it sends any of it, and under WSGI
an asynchronous one. So each kind of request gets its own.
"""

from __future__ import annotations

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

    def within(self, size: int) -> str:
        """The value of the header `Content-Range`."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request for a file is answered with: the HTTP status, and which part of the file."""

    status: int
    part: Part | None = None
    """None: nothing of it."""

    @property
    def is_resumed(self) -> bool:
        return self.part is not None and self.part.start > 0


def parse_range(header: str, size: int) -> Part | None:
    """The range that the header `Range` asks for; None where the answer is the whole file.

    That is the case without the header, with several ranges, and if it is not a range of bytes.
    Raises `Unsatisfiable`.
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


def wanted(request: HttpRequest, size: int, sha256: str) -> Wanted:
    """How to answer a request for a file of this size, in bytes, and checksum."""
    etag = etag_of(sha256)
    if has_it(request.headers.get("If-None-Match", ""), etag):
        return Wanted(304)
    whole = Wanted(200, Part(0, size))
    if request.method == "HEAD":
        return whole
    condition = request.headers.get("If-Range")
    if condition is not None and condition.strip() != etag:
        # The client has another version of the file, so the rest of this one is no use to it.
        return whole
    try:
        part = parse_range(request.headers.get("Range", ""), size)
    except Unsatisfiable:
        return Wanted(416)
    return Wanted(206, part) if part else whole


def response(
    request: HttpRequest,
    answer: Wanted,
    stream: BinaryIO | None,
    *,
    name: str,
    size: int,
    sha256: str,
) -> HttpResponseBase:
    """The answer to a request for a file. At its end the stream is closed."""
    sent: HttpResponseBase
    if answer.part is None:
        sent = HttpResponseNotModified() if answer.status == 304 else HttpResponse(status=416)
        if answer.status == 416:
            sent["Content-Range"] = f"bytes */{size}"
    else:
        if stream is None:
            sent = HttpResponse()
        else:
            sent = _streamed(request, answer.part, stream, size)
        sent.status_code = answer.status
        sent["Content-Type"] = "application/vnd.sqlite3"
        sent["Content-Length"] = str(answer.part.length)
        sent["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
        # If something compressed it on the way, the length would be wrong.
        sent["Content-Encoding"] = "identity"
        if answer.status == 206:
            sent["Content-Range"] = answer.part.within(size)
    sent["Accept-Ranges"] = "bytes"
    if etag := etag_of(sha256):
        sent["ETag"] = etag
    # Also for a host without Django's SecurityMiddleware: a browser must never render a tenant's
    # data as a page.
    sent["X-Content-Type-Options"] = "nosniff"
    return sent


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
