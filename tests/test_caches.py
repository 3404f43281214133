"""Automation's state stands in the catalog: whatever cache the host has, it is the same.

django-q2 keeps what it knows of its clusters in the cache, for three seconds.
"""

from datetime import timedelta

import pytest
from django.core.cache.backends.base import BaseCache
from django.core.management import call_command
from django.utils import timezone

from tenant_backup import automation
from tenant_backup.automation import AutomationState
from tests.conftest import on_each_control

BACKENDS = "django.core.cache.backends"
CACHES = {
    "of the process": {"BACKEND": f"{BACKENDS}.locmem.LocMemCache"},
    "none": {"BACKEND": f"{BACKENDS}.dummy.DummyCache"},
    "in files": {"BACKEND": f"{BACKENDS}.filebased.FileBasedCache", "LOCATION": "a folder"},
    "in the database": {"BACKEND": f"{BACKENDS}.db.DatabaseCache", "LOCATION": "cache"},
    "out of order": {"BACKEND": f"{__name__}.OutOfOrder"},
}


class OutOfOrder(BaseCache):
    """A cache whose server does not answer."""

    def __init__(self, location, options):
        super().__init__(options)

    def get(self, *arguments, **options):
        raise ConnectionError("The cache does not answer.")

    add = set = touch = delete = clear = get


@pytest.fixture(params=CACHES)
def cache(request, settings, tmp_path):
    where = CACHES[request.param]
    if where.get("LOCATION") == "a folder":
        where = {**where, "LOCATION": str(tmp_path)}
    settings.CACHES = {"default": where}


@pytest.mark.usefixtures("cache")
@pytest.mark.django_db(transaction=True)
def test_a_tick_is_seen_and_its_absence_too(capsys):
    automation.set_up()
    now = timezone.now()
    assert automation.get_status(now).state is AutomationState.STALLED
    automation.tick(now)
    assert automation.get_status(now + timedelta(minutes=1)).state is AutomationState.RUNNING
    call_command("automatebackups", "status")
    assert "Automation is running" in capsys.readouterr().out
    assert automation.get_status(now + timedelta(minutes=4)).state is AutomationState.STALLED


@on_each_control
def test_a_real_cluster_without_a_cache_is_seen(host):
    host.configure(CACHES={"default": CACHES["none"]})
    assert "Automation is stalled" in host.run("automatebackups", "status").stdout
    host.start_cluster()
    host.wait_for("SELECT 1 FROM tenant_backup_automation WHERE last_tick_at IS NOT NULL")
    assert "Automation is running" in host.run("automatebackups", "status").stdout
