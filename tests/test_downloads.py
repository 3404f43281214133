"""Downloads: which bytes are sent, how much of them lies in memory, and what the history says."""

import asyncio
import tracemalloc
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from tenant_backup import backups
from tenant_backup.models import Backup, Event, EventKind, Status, Trigger
from tenant_backup.views import streaming
from tenant_backup.views.streaming import CHUNK, Part, Unsatisfiable, has_it, parse_range

PAGE = "/settings/admin/backup"
COMMAND = backups.BackupRequest(trigger=Trigger.COMMAND)
LARGE = 64 * 1024**2


class TestRanges:
    @pytest.mark.parametrize(
        ("header", "part"),
        [
            ("bytes=0-", Part(0, 1000)),
            ("bytes=0-0", Part(0, 1)),
            ("bytes=0-999", Part(0, 1000)),
            ("bytes=0-5000", Part(0, 1000)),
            ("bytes=10-19", Part(10, 10)),
            ("bytes=999-", Part(999, 1)),
            ("bytes=-1", Part(999, 1)),
            ("bytes=-1000", Part(0, 1000)),
            ("bytes=-5000", Part(0, 1000)),
            ("Bytes= 10-19 ", Part(10, 10)),
            ("bytes=00010-00019", Part(10, 10)),
            (f"bytes=5-{'9' * 5000}", Part(5, 995)),
            # All of the file is the answer to what is no single range of bytes.
            ("", None),
            ("bytes", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
            ("bytes=1-2,5-6", None),
            ("bytes=19-10", None),
            ("bytes=1 - 2", None),
            ("bytes=+1-2", None),
            ("bytes=-1-2", None),
            ("bytes=\u0661-", None),
            ("items=0-1", None),
        ],
    )
    def test_table(self, header, part):
        assert parse_range(header, 1000) == part

    @pytest.mark.parametrize(
        "header", ["bytes=1000-", "bytes=5000-6000", "bytes=-0", f"bytes={'9' * 5000}-"]
    )
    def test_what_the_file_does_not_have(self, header):
        with pytest.raises(Unsatisfiable):
            parse_range(header, 1000)

    @given(st.text(), st.integers(0, 10**15))
    def test_whatever_is_sent_is_answered(self, text, size):
        for header in (text, f"bytes={text}"):
            try:
                part = parse_range(header, size)
            except Unsatisfiable:
                continue
            if part:
                assert 0 <= part.start < part.start + part.length <= size

    @given(st.integers(0, 10**19), st.integers(0, 10**19), st.integers(1, 10**6))
    def test_a_range_is_what_python_calls_a_slice(self, first, last, size):
        numbers = range(size)
        try:
            part = parse_range(f"bytes={first}-{last}", size)
        except Unsatisfiable:
            assert last >= first >= size
        else:
            expected = numbers[first : last + 1] if first <= last else None
            found = part and range(part.start, part.start + part.length)
            assert found == expected

    @pytest.mark.parametrize(
        ("header", "answer"),
        [
            ('"abc"', True),
            ('W/"abc"', True),
            ('"x", "abc"', True),
            ("*", True),
            ('"x"', False),
            ("abc", False),
            ("", False),
        ],
    )
    def test_versions(self, header, answer):
        assert has_it(header, '"abc"') is answer

    def test_a_file_without_a_checksum_has_no_version(self):
        assert streaming.etag_of("") == ""
        assert not has_it("*", "")


@pytest.fixture
def client(db):
    client = Client()
    client.force_login(User.objects.create(username="ada", is_superuser=True))
    return client


@pytest.fixture(autouse=True)
def everybody_may(request, monkeypatch):
    from tests.tenancy import Tenants

    monkeypatch.setattr(Tenants, "has_permission", lambda *args: True)


@pytest.fixture
def get(client, backup):
    """Ask for the download, and get the answer and what it brings."""

    def get(method="get", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = getattr(client, method)(f"{PAGE}/download/{backup.pk}", headers=headers)
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        answer.close()
        return answer, content

    return get


@pytest.fixture
def backup(tenant, db):
    return backups.create(tenant, COMMAND).backup


@pytest.fixture
def content(tenant, backup):
    return backups.directory_of(tenant).file(backup.file_name).read_bytes()


def lines():
    return Event.objects.filter(kind=EventKind.DOWNLOADED).count()


@pytest.mark.django_db(transaction=True)
class TestAnswers:
    def test_a_range_is_a_part(self, get, content):
        answer, part = get(range="bytes=100-199")
        assert answer.status_code == 206
        assert part == content[100:200]
        assert answer["Content-Range"] == f"bytes 100-199/{len(content)}"
        assert answer["Content-Length"] == "100"
        assert answer["Content-Encoding"] == "identity"

    def test_a_download_resumes_byte_for_byte(self, get, backup, content):
        _, first = get(range="bytes=0-9999")
        answer, rest = get(range="bytes=10000-", if_range=f'"{backup.sha256}"')
        assert answer.status_code == 206
        assert first + rest == content

    @pytest.mark.parametrize(
        "version", ['"another"', "Sat, 01 Aug 2026 10:00:00 GMT", 'W/"{sha256}"', "{sha256}", ""]
    )
    def test_of_another_version_all_is_sent(self, get, backup, content, version):
        version = version.replace("{sha256}", backup.sha256)
        answer, whole = get(range="bytes=10-", if_range=version)
        assert (answer.status_code, whole) == (200, content)
        assert "Content-Range" not in answer

    def test_several_ranges_are_answered_with_all(self, get, content):
        answer, whole = get(range="bytes=0-1,5-6")
        assert (answer.status_code, whole) == (200, content)

    def test_what_the_file_does_not_have_is_said(self, get, content):
        answer, nothing = get(range=f"bytes={len(content)}-")
        assert (answer.status_code, nothing) == (416, b"")
        assert answer["Content-Range"] == f"bytes */{len(content)}"
        assert not lines()

    def test_who_has_it_gets_nothing(self, get, backup):
        answer, nothing = get(if_none_match=f'"{backup.sha256}"', range="bytes=0-9")
        assert (answer.status_code, nothing) == (304, b"")
        assert answer["ETag"] == f'"{backup.sha256}"'
        assert not lines()

    def test_head_says_what_there_is(self, get, backup):
        answer, nothing = get("head", range="bytes=10-19")
        assert (answer.status_code, nothing) == (200, b"")
        assert answer["Content-Length"] == str(backup.size)
        assert answer["Accept-Ranges"] == "bytes"
        assert answer["ETag"] == f'"{backup.sha256}"'
        assert not lines()

    def test_the_middlewares_of_django_leave_the_bytes_alone(self, get, content, settings):
        settings.MIDDLEWARE = [
            "django.middleware.gzip.GZipMiddleware",
            "django.middleware.http.ConditionalGetMiddleware",
            *settings.MIDDLEWARE,
        ]
        answer, part = get(range="bytes=100-4999", accept_encoding="gzip")
        assert (answer.status_code, part) == (206, content[100:5000])
        assert answer["Content-Length"] == "4900"
        answer, whole = get(accept_encoding="gzip")
        assert (answer.status_code, whole) == (200, content)
        assert answer["ETag"].startswith('"')

    def test_a_part_is_read_as_far_as_it_goes(self, get, backup, content, monkeypatch):
        monkeypatch.setattr(streaming, "CHUNK", 1000)
        assert get(range="bytes=500-3999")[1] == content[500:4000]
        assert get()[1] == content


@pytest.mark.django_db(transaction=True)
class TestHistory:
    def test_one_line_a_download(self, get):
        get()
        assert lines() == 1
        get(range="bytes=0-999")
        assert lines() == 2
        get(range="bytes=1000-1999")
        get(range="bytes=-100")
        assert lines() == 2

    def test_nobody_gets_a_part_without_any_line(self, get):
        get(range="bytes=1-")
        assert lines() == 1

    def test_the_rest_a_day_later_is_another_download(self, get):
        get(range="bytes=0-999")
        Event.objects.update(created_at=timezone.now() - timedelta(days=2))
        get(range="bytes=1000-")
        assert lines() == 2

    def test_the_rest_of_what_another_began_is_another_download(self, get):
        get(range="bytes=0-999")
        Event.objects.update(actor="bob")
        get(range="bytes=1000-")
        assert lines() == 2


@pytest.mark.django_db(transaction=True)
class TestASGI:
    """By Django's real handler. What a server would do with the messages, the test does."""

    @pytest.fixture
    def backup(self, tenant):
        """A large one: a file of zeros, which takes no room on the disk."""
        name = "acme-20260101T000000Z.sqlite3"
        directory = backups.directory_of(tenant)
        directory.make()
        with directory.file(name).open("wb") as file:
            file.truncate(LARGE)
        return Backup.objects.create(
            tenant_id="acme",
            trigger=Trigger.COMMAND,
            status=Status.COMPLETE,
            file_name=name,
            size=LARGE,
            sha256="ab" * 32,
        )

    @pytest.fixture
    def opened(self, monkeypatch):
        """The files that were opened to be sent."""
        opened = []
        open_file = backups.open_file

        def spy(*args, **kwargs):
            opened.append(open_file(*args, **kwargs))
            return opened[-1]

        monkeypatch.setattr(backups, "open_file", spy)
        return opened

    @pytest.fixture
    def ask(self, client, backup):
        """Send a request; every message of the answer is handed to `take`."""

        def ask(take, method="GET", *, gone=None, **headers):
            cookies = "; ".join(f"{name}={one.value}" for name, one in client.cookies.items())
            scope = {
                "type": "http",
                "method": method,
                "path": f"{PAGE}/download/{backup.pk}",
                "query_string": b"",
                "headers": [
                    (b"host", b"testserver"),
                    (b"cookie", cookies.encode()),
                    *((name.encode(), value.encode()) for name, value in headers.items()),
                ],
            }

            @async_to_sync
            async def run():
                over = asyncio.Event()
                requests = iter([{"type": "http.request", "body": b"", "more_body": False}])

                async def receive():
                    for message in requests:
                        return message
                    await over.wait()
                    return {"type": "http.disconnect"}

                async def send(message):
                    if take(message) == "gone":
                        over.set()
                        # A server would not take any more.
                        await asyncio.Event().wait()

                await ASGIHandler()(scope, receive, send)

            run()

        return ask

    def test_little_of_a_large_file_lies_in_memory(self, ask, opened):
        sizes, starts = [], []

        def take(message):
            if message["type"] == "http.response.start":
                starts.append(message)
            else:
                sizes.append(len(message.get("body", b"")))

        tracemalloc.start()
        try:
            ask(take)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert starts[0]["status"] == 200
        assert sum(sizes) == LARGE
        assert max(sizes) <= CHUNK
        assert peak < 8 * 1024**2
        [stream] = opened
        assert stream.closed
        assert lines() == 1

    def test_a_part_is_sent_too(self, ask, opened):
        bodies, starts = [], []

        def take(message):
            starts.append(message) if "status" in message else bodies.append(
                message.get("body", b"")
            )

        ask(take, range=f"bytes={LARGE - 700_000}-")
        assert starts[0]["status"] == 206
        assert len(b"".join(bodies)) == 700_000
        assert opened[0].closed

    def test_the_file_is_closed_when_nobody_listens_any_more(self, ask, opened):
        sizes = []

        def take(message):
            if "body" in message:
                sizes.append(len(message.get("body", b"")))
                # Not before its time.
                assert not opened[0].closed
            return "gone" if len(sizes) == 3 else None

        ask(take)
        assert len(sizes) == 3
        [stream] = opened
        assert stream.closed

    def test_head_sends_no_byte(self, ask, opened):
        messages = []
        ask(messages.append, "HEAD")
        headers = dict(messages[0]["headers"])
        assert headers[b"Content-Length"] == str(LARGE).encode()
        assert b"".join(message.get("body", b"") for message in messages) == b""
        assert opened[0].closed
        assert not lines()
