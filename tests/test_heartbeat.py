"""The heartbeat: who is called when, that it is in nobody's way, that its address is a secret."""

import socket
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.utils import timezone

from tenant_backup import automation, monitoring
from tenant_backup.conf import conf
from tenant_backup.models import Backup, BackupSettings
from tenant_backup.monitoring import heartbeat

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECRET = "s3cret-0f-the-service"


class Service:
    """A service as there are many, on this machine."""

    def __init__(self):
        self.paths = []
        self.headers = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                service.paths.append(self.path)
                service.headers.append(dict(self.headers))
                if self.path.startswith("/moved"):
                    self.send_response(302)
                    self.send_header("Location", "/elsewhere")
                elif self.path.startswith("/broken"):
                    self.send_response(500)
                else:
                    self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    def url(self, path=f"/ping/{SECRET}"):
        return f"http://127.0.0.1:{self.server.server_port}{path}"


@pytest.fixture
def service():
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield service
    service.server.shutdown()
    thread.join()
    service.server.server_close()


@pytest.fixture
def configure(settings):
    def configure(url, fail_url=None):
        settings.TENANT_BACKUP = {
            **settings.TENANT_BACKUP,
            "HEARTBEAT_URL": url,
            "HEARTBEAT_FAIL_URL": fail_url,
        }

    return configure


@contextmanager
def silent_server(answer=b""):
    """It takes the call, says a little, and then nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.sendall(answer)
                ended.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}"
        ended.set()
        thread.join()


class TestCall:
    def test_of_the_address_as_it_is_given(self, service, configure, caplog):
        configure(service.url("/ping/a%2Fb?x=1&y=%20"))
        heartbeat.beat(all_is_well=True)
        assert service.paths == ["/ping/a%2Fb?x=1&y=%20"]
        assert service.headers[0]["User-Agent"] == "tenant_backup"
        assert caplog.messages == []

    def test_of_the_other_address_while_something_is_wrong(self, service, configure):
        configure(service.url("/ping"), service.url("/ping/fail?status=down"))
        heartbeat.beat(all_is_well=False)
        heartbeat.beat(all_is_well=True)
        assert service.paths == ["/ping/fail?status=down", "/ping"]

    def test_without_the_other_address_it_proves_life_all_the_same(self, service, configure):
        configure(service.url("/ping"))
        heartbeat.beat(all_is_well=False)
        assert service.paths == ["/ping"]

    def test_of_nobody_where_none_is_set(self, service, configure):
        configure(None, service.url("/fail"))
        heartbeat.beat(all_is_well=True)
        assert service.paths == []

    def test_does_not_follow_where_it_leads(self, service, configure, caplog):
        configure(service.url(f"/moved/{SECRET}"))
        heartbeat.beat(all_is_well=True)
        assert service.paths == [f"/moved/{SECRET}"]
        assert caplog.messages == ["The heartbeat's address answered with status 302."]


class TestNeverInTheWay:
    @pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nX: "])
    def test_a_server_that_does_not_end_its_answer(self, configure, caplog, monkeypatch, answer):
        monkeypatch.setattr(heartbeat, "TIMEOUT", 0.1)
        with silent_server(answer) as url:
            configure(url)
            heartbeat.beat(all_is_well=True)
        [message] = caplog.messages
        assert message.startswith("The heartbeat was not sent: TimeoutError")
        assert SECRET not in caplog.text

    def test_a_server_that_answers_byte_by_byte(self, monkeypatch):
        """The deadline is for the whole answer, and not for each byte."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            times = iter([0, 1, heartbeat.TIMEOUT - 1, heartbeat.TIMEOUT])
            monkeypatch.setattr(heartbeat.time, "monotonic", lambda: next(times))
            theirs.sendall(b"HTTP")
            timed = heartbeat._Timed(ours)
            assert timed.readinto(bytearray(1)) == 1
            assert timed.readinto(bytearray(1)) == 1
            assert ours.gettimeout() == 1
            with pytest.raises(TimeoutError):
                timed.readinto(bytearray(1))

    @pytest.mark.parametrize(
        "url",
        [
            f"http://127.0.0.1:1/{SECRET}",
            f"http://no-such-host.invalid/{SECRET}",
            f"https://127.0.0.1:1/{SECRET}",
            f"http://127.0.0.1:99999/{SECRET}",
            f"http://127.0.0.1/ {SECRET}\n",
            f"http://{SECRET}@127.0.0.1:x/",
        ],
    )
    def test_an_address_that_cannot_be_called(self, configure, caplog, url):
        configure(url)
        heartbeat.beat(all_is_well=True)
        [message] = caplog.messages
        assert message.startswith("The heartbeat was not sent: ")
        assert SECRET not in caplog.text
        assert "127.0.0.1" not in caplog.text

    def test_an_answer_that_is_an_error(self, service, configure, caplog):
        configure(service.url(f"/broken/{SECRET}"))
        heartbeat.beat(all_is_well=True)
        assert caplog.messages == ["The heartbeat's address answered with status 500."]

    @pytest.mark.parametrize("url", [f"ftp://127.0.0.1/{SECRET}", f"file:///{SECRET}", SECRET])
    def test_another_kind_of_address_is_refused_and_not_repeated(self, configure, caplog, url):
        configure(url)
        with pytest.raises(ImproperlyConfigured) as raised:
            conf.HEARTBEAT_URL  # noqa: B018
        assert str(raised.value) == (
            "TENANT_BACKUP['HEARTBEAT_URL'] must be an address that begins with http:// or "
            "https://, or None, which it is not."
        )
        heartbeat.beat(all_is_well=True)
        assert SECRET not in caplog.text


@pytest.mark.django_db(transaction=True)
class TestTick:
    @pytest.fixture(autouse=True)
    def calls(self, service, configure):
        configure(service.url("/ping"), service.url("/fail"))
        return service.paths

    def test_each_one_that_is_completed(self, calls, tenant):
        automation.set_up()
        automation.tick(NOW)
        # One that comes at once does nothing, so it proves nothing.
        automation.tick(NOW + timedelta(seconds=1))
        automation.tick(NOW + MINUTE)
        assert calls == ["/ping", "/ping"]

    def test_one_that_fails_is_none(self, calls, monkeypatch):
        monkeypatch.setattr(automation.handover, "hand_over_waiting", lambda now: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            automation.tick(NOW)
        assert calls == []

    @pytest.mark.parametrize("stop", [False, True])
    def test_while_something_is_wrong_and_while_automation_is_paused(self, calls, tenant, stop):
        if stop:
            automation.pause("ada")
        automation.tick(NOW)
        BackupSettings.objects.ensure([tenant.id])
        failed = Backup.objects.create(
            tenant_id=tenant.id, status="failed", trigger="manual", created_at=NOW
        )
        automation.tick(NOW + MINUTE)
        failed.delete()
        automation.tick(NOW + 2 * MINUTE)
        assert calls == ["/ping", "/fail", "/ping"]

    def test_comes_last(self, calls, monkeypatch):
        order = []
        monkeypatch.setattr(monitoring, "notify", lambda *_, **__: order.append("told") or True)
        monkeypatch.setattr(heartbeat, "beat", lambda **_: order.append("called"))
        automation.tick(NOW)
        assert order == ["told", "called"]

    def test_of_cron_counts_where_it_is_about_all(self, calls, tenant):
        call_command("runbackup", "--due", tenant.id, verbosity=0)
        call_command("runbackup", "--due", "--dry-run", verbosity=0)
        call_command("runbackup", verbosity=0)
        call_command("checkbackups", verbosity=0)
        assert calls == []
        call_command("runbackup", "--due", verbosity=0)
        assert calls == ["/ping"]

    def test_a_service_that_is_down_changes_nothing(self, configure, tenant, capsys):
        configure(f"http://127.0.0.1:1/{SECRET}")
        BackupSettings.objects.create(
            tenant_id=tenant.id, automatic=True, next_run_at=timezone.now() - MINUTE
        )
        call_command("runbackup", "--due", verbosity=0)
        assert Backup.objects.complete().count() == 1
        assert SECRET not in "".join(capsys.readouterr())
