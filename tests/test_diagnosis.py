"""Diagnosis: each thing is really tried, on real files."""

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from tenant_backup import automation, backups
from tenant_backup.files import BackupDirectory
from tenant_backup.models import Automation, Backup, BackupSettings, Status, Trigger
from tenant_backup.troubleshooting import examine
from tests.conftest import names_in, small_disk, tenant_in, without_privileges

pytestmark = pytest.mark.django_db(transaction=True)

TOPICS = ["permission", "space", "database", "being made", "files", "Automation", "attempt"]


def diagnose(tenant, word):
    """The answer to one question."""
    found = examine(tenant, automation.get_status())
    assert len(found) == len(TOPICS)
    for answer, expected in zip(found, TOPICS, strict=True):
        assert expected in answer.topic
        assert answer.found
        assert answer.is_well is not False or answer.advice
    return found[TOPICS.index(word)]


def make(tenant):
    return backups.create(tenant, backups.BackupRequest(trigger=Trigger.COMMAND)).backup


def note_tick(**ago):
    automation.set_up()
    Automation.load()
    Automation.objects.update(last_tick_at=timezone.now() - timedelta(**ago))


def test_all_is_well(tenant):
    note_tick(seconds=0)
    BackupSettings.objects.create(tenant_id=tenant.id, automatic=True)
    make(tenant)
    before = names_in(tenant.root / "backups")
    assert [answer.is_well for answer in examine(tenant, automation.get_status())] == [True] * 7
    assert names_in(tenant.root / "backups") == before


class TestPermission:
    def test_it_is_tried_in_the_directory(self, tenant):
        backups.directory_of(tenant).make()
        answer = diagnose(tenant, "permission")
        assert answer.is_well
        assert answer.found == "A file could be written where the backups are kept."
        assert answer.detail == f"A file could be written in {tenant.root / 'backups'}."
        assert names_in(tenant.root / "backups") == []

    def test_without_one_it_is_tried_where_it_would_be_made(self, tenant):
        answer = diagnose(tenant, "permission")
        assert answer.is_well
        assert answer.detail == f"A file could be written in {tenant.root}."
        assert not (tenant.root / "backups").exists()

    def test_no_permission(self, open_folder):
        tenant = tenant_in(open_folder)
        with without_privileges():
            backups.directory_of(tenant).make()
            (tenant.root / "backups").chmod(0o500)
            answer = diagnose(tenant, "permission")
        assert answer.is_well is False
        assert "Permission denied" in answer.found
        assert answer.advice == "Tell the operator that no backup can be written."
        assert f"write permission in {tenant.root / 'backups'}" in answer.detail

    def test_what_is_no_directory(self, tenant):
        (tenant.root / "backups").write_text("a file")
        answer = diagnose(tenant, "permission")
        assert answer.is_well is False
        assert "Not a directory" in answer.found

    def test_a_full_disk(self, tenant):
        with small_disk("64k") as disk:
            tenant = replace(tenant, root=disk)
            backups.directory_of(tenant).make()
            free = os.statvfs(disk)
            (disk / "filler").write_bytes(bytes(free.f_bavail * free.f_frsize))
            answer = diagnose(tenant, "permission")
            assert answer.is_well is False
            assert "No space left" in answer.found
            assert diagnose(tenant, "space").is_well is False


def test_too_little_space(tenant, monkeypatch):
    monkeypatch.setattr(BackupDirectory, "free_bytes", lambda self: 1000)
    answer = diagnose(tenant, "space")
    assert answer.is_well is False
    assert "1000 bytes are free" in answer.found


class TestDatabase:
    def test_with_a_write_ahead_log(self, tenant):
        with closing(sqlite3.connect(tenant.database)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        answer = diagnose(tenant, "database")
        assert "Everybody can go on working" in answer.found
        assert answer.detail == "The journal mode is “wal”."

    def test_without_one_it_says_what_waits(self, tenant):
        with closing(sqlite3.connect(tenant.database)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        answer = diagnose(tenant, "database")
        assert answer.is_well
        assert "nobody can save anything" in answer.found
        assert "The journal mode is “delete”. In WAL mode" in answer.detail

    def test_missing(self, add_tenant):
        tenant = add_tenant(database=False)
        answer = diagnose(tenant, "database")
        assert answer.is_well is False
        assert "does not exist" in answer.found
        assert diagnose(tenant, "space").is_well is None

    def test_no_database_at_all(self, tenant):
        tenant.database.write_bytes(b"no database" * 1000)
        assert diagnose(tenant, "database").is_well is False

    def test_locked(self, tenant, monkeypatch):
        monkeypatch.setattr(backups, "REQUEST_BUSY_TIMEOUT", 0.1)
        with closing(sqlite3.connect(tenant.database)) as other:
            other.execute("PRAGMA locking_mode=EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            answer = diagnose(tenant, "database")
        assert answer.is_well is False
        assert "locked" in answer.found


class TestWork:
    def test_queued(self, tenant):
        backup = backups.request(tenant, backups.BackupRequest(trigger=Trigger.MANUAL))
        Backup.objects.filter(pk=backup.pk).update(error="It cannot be handed to a worker.")
        answer = diagnose(tenant, "being made")
        assert answer.is_well is None
        assert "It cannot be handed to a worker." in answer.detail

    def test_running_and_left_by_a_crash(self, tenant):
        backup = Backup.objects.create(tenant_id=tenant.id, trigger=Trigger.MANUAL)
        backup.start("acme-now.sqlite3")
        assert diagnose(tenant, "being made").is_well
        long_ago = timezone.now() - timedelta(hours=1)
        Backup.objects.update(started_at=long_ago)
        answer = diagnose(tenant, "being made")
        assert answer.is_well is False
        assert "has made no progress since" in answer.found


class TestFiles:
    def test_none_yet_is_neither(self, tenant):
        assert diagnose(tenant, "files").is_well is None

    def test_missing(self, tenant):
        backups.directory_of(tenant).file(make(tenant).file_name).unlink()
        answer = diagnose(tenant, "files")
        assert answer.is_well is False
        assert "1 backup is missing" in answer.found

    def test_the_disk_is_not_mounted(self, tenant):
        make(tenant)
        away = (tenant.root / "backups").rename(tenant.root / "away")
        answer = diagnose(tenant, "files")
        assert answer.is_well is False
        assert "out of reach" in answer.found
        away.rename(tenant.root / "backups")
        assert diagnose(tenant, "files").is_well
        assert Backup.objects.good().exists()

    def test_a_path_that_is_too_long_is_said(self, tenant):
        make(tenant)
        answer = diagnose(replace(tenant, root=tenant.root / ("x" * 300)), "files")
        assert answer.is_well is False
        assert "out of reach" in answer.found


class TestAutomation:
    @pytest.mark.parametrize("automatic", [True, False])
    def test_stalled(self, tenant, automatic):
        note_tick(hours=1)
        BackupSettings.objects.create(tenant_id=tenant.id, automatic=automatic)
        answer = diagnose(tenant, "Automation")
        assert answer.is_well is (False if automatic else None)
        assert ("Tell the operator that automation is stalled." in answer.advice) == automatic
        assert "Last seen: today" in answer.detail or "Last seen: yesterday" in answer.detail
        assert "qcluster" in answer.detail

    def test_paused(self, tenant):
        note_tick(seconds=0)
        automation.pause("the operator")
        BackupSettings.objects.create(tenant_id=tenant.id, automatic=True)
        answer = diagnose(tenant, "Automation")
        assert answer.is_well is False
        assert "paused by the operator" in answer.found
        assert answer.advice == "Ask the operator how long it will be paused."
        assert "automatebackups resume" in answer.detail


def test_the_operators_contact_is_in_what_to_do(tenant, settings):
    settings.TENANT_BACKUP = {
        **settings.TENANT_BACKUP,
        "OPERATOR": {"NAME": "Anna Ops", "EMAIL": "ops@example.com", "PHONE": "+49 30 1"},
    }
    BackupSettings.objects.create(tenant_id=tenant.id, automatic=True)
    automation.set_up()
    assert diagnose(tenant, "Automation").advice == (
        "Tell the operator (Anna Ops, ops@example.com, +49 30 1) that automation is stalled."
    )


class TestLastAttempt:
    def test_none_yet(self, tenant):
        assert diagnose(tenant, "attempt").is_well is None

    def test_failed_with_its_reason(self, tenant):
        make(tenant)
        Backup.objects.create(
            tenant_id=tenant.id, trigger=Trigger.MANUAL, status=Status.FAILED, error="Too late."
        )
        answer = diagnose(tenant, "attempt")
        assert answer.is_well is False
        assert answer.found.endswith(": Too late.")
