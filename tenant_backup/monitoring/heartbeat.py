"""The heartbeat: an address that is called after every tick, so that silence is noticed.

A service elsewhere expects the call and raises the alarm when it does not come. There is no other
way to hear of a machine that is off. The address is a secret: no log and no error names it.
"""

import io
import logging
import socket
import ssl
import time
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from django.core.exceptions import ImproperlyConfigured

from tenant_backup.conf import conf

logger = logging.getLogger("tenant_backup")

TIMEOUT = 5
"""Seconds after which a call is given up."""


def beat(*, all_is_well: bool) -> None:
    """Call the address for this state. Nothing is raised: a failed call must not fail the tick."""
    try:
        url = conf.HEARTBEAT_URL if all_is_well else conf.HEARTBEAT_FAIL_URL or conf.HEARTBEAT_URL
        if url:
            _call(url)
    except HTTPError as error:
        error.close()
        logger.warning("The heartbeat's address answered with status %d.", error.code)
    except ImproperlyConfigured as error:
        logger.warning("The heartbeat was not sent: %s", error)
    except Exception as error:  # noqa: BLE001 - whatever a name server or a proxy makes of it
        logger.warning("The heartbeat was not sent: %s", _reason(error))


def _call(url: str) -> None:
    request = Request(url, headers={"User-Agent": "tenant_backup"})  # noqa: S310 - http(s), see conf
    _opener().open(request, timeout=TIMEOUT).close()


def _reason(error: Exception) -> str:
    """What went wrong, without the address, which is in the text of many errors."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, ssl.SSLError):
        return f"{type(cause).__name__}: {cause.reason}"
    if isinstance(cause, OSError) and cause.strerror:
        return f"{type(cause).__name__}: {cause.strerror}"
    return type(cause).__name__ if isinstance(cause, Exception) else type(error).__name__


class _NoRedirects(HTTPRedirectHandler):
    """A redirect is an error: the address is used as it is given."""

    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        return None


class _Timed(io.RawIOBase):
    """What a socket receives until a deadline. Its own timeout starts again with every byte."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.deadline = time.monotonic() + TIMEOUT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)
        return self.connection.recv_into(buffer)


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Timed(sock))


class _Http(HTTPHandler):
    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_HttpConnection, req)


class _HttpConnection(HTTPConnection):
    response_class = _Response


class _Https(HTTPSHandler):
    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_HttpsConnection, req)


class _HttpsConnection(HTTPSConnection):
    response_class = _Response


def _opener() -> OpenerDirector:
    return build_opener(ProxyHandler(), _Http(), _Https(), _NoRedirects())
