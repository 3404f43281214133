"""The records: what the database itself refuses, how a backup moves, and the words of queries."""

import logging
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from tenant_backup.backups import history_expiry
from tenant_backup.exceptions import BackupError, RowChanged
from tenant_backup.models import (
    Automation,
    Backup,
    BackupSettings,
    Event,
    EventKind,
    Interval,
    Status,
    Trigger,
    Weekday,
)
from tenant_backup.retention import AHEAD, EXEMPT_TRIGGERS, Policy
from tenant_backup.sqlite import Fingerprint
from tests.conftest import needs_sqlite_control

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
COPY = Fingerprint(4096, "a" * 64)
NAME = "acme-20260615T120000Z.sqlite3"

# What hosts may query, by the public contract.
BACKUP_FIELDS = [
    *("tenant_id", "status", "trigger", "label", "pinned", "file_name", "size", "sha256"),
    *("created_at", "started_at", "finished_at", "verified_at", "missing_at", "damaged_at"),
    *("error", "requested_by", "slot_at"),
]
SETTINGS_FIELDS = [
    *("tenant_id", "automatic", "interval", "time_of_day", "weekday", "day_of_month"),
    *("keep_last", "keep_days", "keep_daily", "keep_weekly", "keep_monthly"),
    *("notify_email", "next_run_at"),
]

# What a backup can do, and from where.
MOVES = {
    "start": (lambda backup: backup.start(NAME), {"queued"}),
    "record_copy": (lambda backup: backup.record_copy(COPY), {"running"}),
    "complete": (lambda backup: backup.complete(), {"running"}),
    "fail": (lambda backup: backup.fail("The disk is full."), {"running"}),
    "refuse": (lambda backup: backup.refuse("There is no disk."), {"queued"}),
    "take_over": (
        lambda backup: backup.take_over(
            trigger=Trigger.MANUAL, label="new", pinned=True, requested_by="bob"
        ),
        {"queued"},
    ),
}
FROM = [
    pytest.param(name, status, id=f"{name} from {status}")
    for name, (_, allowed) in MOVES.items()
    for status in Status.values
    if status in allowed
]
NOT_FROM = [
    pytest.param(name, status, id=f"{name} from {status}")
    for name, (_, allowed) in MOVES.items()
    for status in Status.values
    if status not in allowed
]


def add(tenant_id="acme", status="complete", trigger="automatic", **fields):
    return Backup.objects.create(tenant_id=tenant_id, status=status, trigger=trigger, **fields)


def values(backup):
    """The row as the database has it."""
    return Backup.objects.filter(pk=backup.pk).values().get()


def in_memory(backup):
    return {field.attname: getattr(backup, field.attname) for field in Backup._meta.fields}


# What the database refuses


@pytest.mark.parametrize("first", ["queued", "running"])
@pytest.mark.parametrize("second", ["queued", "running"])
def test_a_tenant_has_one_active_backup_at_most(first, second):
    add(status=first)
    with pytest.raises(IntegrityError), transaction.atomic():
        add(status=second)
    # Nor can a finished one become active beside it.
    finished = add(status="failed")
    with pytest.raises(IntegrityError), transaction.atomic():
        Backup.objects.filter(pk=finished.pk).update(status=second)
    assert Backup.objects.active().count() == 1


@pytest.mark.parametrize("status", ["queued", "running"])
def test_a_second_active_backup_is_refused_in_words(status):
    add(status=status)
    with pytest.raises(ValidationError, match="A backup of this tenant is queued or running"):
        Backup(tenant_id="acme", trigger="manual").full_clean()


def test_a_file_has_one_row_at_most():
    add(file_name=NAME)
    with pytest.raises(IntegrityError), transaction.atomic():
        add(file_name=NAME)
    with pytest.raises(IntegrityError), transaction.atomic():
        Backup.objects.filter(pk=add(status="queued").pk).update(file_name=NAME)


def test_there_is_one_row_for_automation_at_most():
    Automation.objects.create(pk=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        Automation.objects.create(pk=2)


def test_a_tenant_has_one_row_of_settings_at_most():
    BackupSettings.objects.create(tenant_id="acme")
    with pytest.raises(IntegrityError), transaction.atomic():
        BackupSettings.objects.create(tenant_id="acme")


@pytest.mark.parametrize("status", ["queued", "running"])
def test_other_tenants_and_finished_backups_are_in_nobodys_way(status):
    add(status=status)
    for other in ("acme2", "Acme", "acme ", "bolt"):
        add(other, status=status)
    for finished in ("complete", "failed"):
        add(status=finished)
        add(status=finished)
    assert Backup.objects.active().count() == 5


def test_one_file_name_in_two_tenants_and_no_file_name_are_in_nobodys_way():
    add(file_name=NAME)
    add("bolt", file_name=NAME)
    add(status="failed")
    add(status="failed")
    add(status="queued")
    assert Backup.objects.count() == 5


# Moves


@pytest.mark.parametrize(("move", "status"), NOT_FROM)
def test_a_move_from_a_wrong_status_is_refused_and_nothing_changed(move, status):
    backup = add(status=status, label="old", file_name="old.sqlite3", requested_by="ann")
    row, memory = values(backup), in_memory(backup)
    act, _ = MOVES[move]
    with pytest.raises(RowChanged) as refusal:
        act(backup)
    assert isinstance(refusal.value, BackupError)
    assert str(refusal.value) == (
        f"Backup {backup.pk} of 'acme' was changed by another process meanwhile."
    )
    assert values(backup) == row
    assert in_memory(backup) == memory


@pytest.mark.parametrize(("move", "status"), FROM)
def test_what_counts_is_the_rows_status_not_the_one_in_memory(move, status):
    backup = add(status=status)
    Backup.objects.update(status="failed", error="Somebody else was faster.")
    row = values(backup)
    act, _ = MOVES[move]
    with pytest.raises(RowChanged):
        act(backup)
    assert values(backup) == row


@pytest.mark.parametrize("move", MOVES)
def test_a_row_that_is_gone_does_not_come_back(move):
    backup = add(status="running" if move in ("record_copy", "complete") else "queued")
    Backup.objects.all().delete()
    act, _ = MOVES[move]
    with pytest.raises(RowChanged):
        act(backup)
    assert not Backup.objects.exists()


@pytest.mark.parametrize(("move", "status"), FROM)
def test_a_move_saves_its_own_fields_only(move, status):
    backup = add(status=status)
    bystander = add("bolt", status=status)
    before = values(bystander)
    meanwhile: dict[str, Any]
    meanwhile = {"slot_at": NOON, "enqueued_at": NOON, "missing_at": NOON}
    if move != "start":
        meanwhile |= {"created_at": NOON}
    if move != "take_over":
        meanwhile |= {"label": "meanwhile", "requested_by": "somebody"}
    if move not in ("take_over", "fail", "refuse"):
        meanwhile |= {"pinned": True}
    Backup.objects.filter(pk=backup.pk).update(**meanwhile)
    act, _ = MOVES[move]
    act(backup)
    row = values(backup)
    assert {name: row[name] for name in meanwhile} == meanwhile
    # What it did save is in memory, too.
    changed = {name for name, value in in_memory(backup).items() if value == row[name]}
    assert changed >= set(row) - set(meanwhile)
    assert values(bystander) == before


def test_start_says_since_when_and_on_which_file():
    backup = add(status="queued", created_at=NOON, error="It could not be enqueued.")
    before = timezone.now()
    backup.start(NAME)
    assert backup.status == values(backup)["status"] == "running"
    # The backup is of now, however long ago it was asked for.
    assert before <= values(backup)["started_at"] <= timezone.now()
    assert values(backup)["created_at"] == values(backup)["started_at"]
    assert values(backup)["file_name"] == NAME
    assert values(backup)["error"] == ""
    assert values(backup)["finished_at"] is None


def test_record_copy_leaves_a_running_row_that_can_be_mended():
    backup = add(status="running", file_name=NAME)
    backup.record_copy(COPY)
    saved = Backup.objects.get(pk=backup.pk)
    assert (saved.status, saved.size, saved.sha256) == ("running", COPY.size, COPY.sha256)
    assert backup.fingerprint == saved.fingerprint == COPY
    assert saved.finished_at is None


@pytest.mark.parametrize("fields", [{}, {"size": 4096}, {"sha256": "a" * 64}])
def test_half_a_fingerprint_is_none(fields):
    assert add(**fields).fingerprint is None


def test_complete_makes_a_good_backup_verified_as_it_finished():
    backup = add(status="running", file_name=NAME, size=COPY.size, sha256=COPY.sha256)
    before = timezone.now()
    backup.complete()
    assert backup.is_good
    row = values(backup)
    assert row["status"] == "complete"
    assert before <= row["finished_at"] == row["verified_at"] <= timezone.now()
    assert (row["file_name"], row["size"], row["sha256"]) == (NAME, COPY.size, COPY.sha256)


@pytest.mark.parametrize(("move", "status"), [("fail", "running"), ("refuse", "queued")])
def test_a_failure_says_why_claims_no_file_and_is_in_nobodys_way(move, status):
    backup = add(status=status, pinned=True, file_name=NAME, size=COPY.size, sha256=COPY.sha256)
    before = timezone.now()
    getattr(backup, move)("The disk is full.")
    row = values(backup)
    assert (row["status"], row["error"]) == ("failed", "The disk is full.")
    assert row["pinned"] is False
    assert (row["file_name"], row["size"], row["sha256"]) == ("", None, "")
    assert before <= row["finished_at"] <= timezone.now()
    # The tenant is not blocked, and the name is free for the next one.
    add(status="queued", file_name=NAME)


# Taking over a queued backup


def take_over(backup, *, trigger=Trigger.COMMAND, label="", pinned=False, requested_by=""):
    backup.take_over(trigger=trigger, label=label, pinned=pinned, requested_by=requested_by)
    assert in_memory(backup) == values(backup)
    return backup


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ("before the fair", "", "before the fair"),
        ("", "weekly", "weekly"),
        ("before the fair", "weekly", "before the fair; weekly"),
        ("weekly", "weekly", "weekly"),
        ("", "", ""),
    ],
)
def test_taking_over_keeps_both_labels(first, second, result):
    assert take_over(add(status="queued", label=first), label=second).label == result


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ("ann", "", "ann"),
        ("", "bob", "bob"),
        ("ann", "bob", "ann, bob"),
        ("ann", "ann", "ann"),
        ("", "", ""),
    ],
)
def test_taking_over_keeps_both_people(first, second, result):
    backup = take_over(add(status="queued", requested_by=first), requested_by=second)
    assert backup.requested_by == result


def test_taking_over_fits_into_the_fields():
    backup = add(status="queued", label="a" * 200, requested_by="b" * 255)
    take_over(backup, label="c" * 200, requested_by="d" * 255)
    backup.full_clean()
    assert backup.label.startswith("a" * 198)
    assert backup.requested_by.startswith("b" * 253)


@pytest.mark.parametrize("first", Trigger.values)
@pytest.mark.parametrize("second", Trigger.values)
def test_taking_over_keeps_what_a_person_asked_for_a_persons(first, second):
    backup = take_over(add(status="queued", trigger=first), trigger=Trigger(second))
    if "restore" in (first, second):
        assert backup.trigger == "restore", "a safety copy is known as one"
    elif "manual" in (first, second):
        assert backup.trigger == "manual"
        assert backup.trigger in EXEMPT_TRIGGERS
    else:
        assert backup.trigger == first


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_taking_over_keeps_the_pin_of_either(first, second):
    assert take_over(add(status="queued", pinned=first), pinned=second).pinned == (first or second)


def test_taking_over_leaves_the_row_queued_with_its_age_and_slot():
    backup = add(status="queued", created_at=NOON, slot_at=NOON, enqueued_at=NOON)
    row = values(take_over(backup, label="new"))
    assert (row["status"], row["created_at"], row["slot_at"]) == ("queued", NOON, NOON)


# The words of queries


def test_each_word_of_the_queries_finds_its_rows():
    rows = {
        "queued": add(status="queued"),
        "running": add("bolt", status="running"),
        "complete": add(),
        "missing": add(missing_at=NOON),
        "damaged": add(damaged_at=NOON),
        "both": add(missing_at=NOON, damaged_at=NOON),
        "failed": add(status="failed"),
    }
    names = {row.pk: name for name, row in rows.items()}

    def found(query):
        return {names[backup.pk] for backup in query}

    everything = Backup.objects.all()
    assert found(everything.queued()) == {"queued"}
    assert found(everything.running()) == {"running"}
    assert found(everything.active()) == {"queued", "running"}
    assert found(everything.complete()) == {"complete", "missing", "damaged", "both"}
    assert found(everything.failed()) == {"failed"}
    assert found(everything.good()) == {"complete"}
    assert found(everything.for_tenant("bolt")) == {"running"}
    assert found(everything.for_tenant("acme").active()) == {"queued"}


@pytest.mark.parametrize("missing_at", [None, NOON])
@pytest.mark.parametrize("damaged_at", [None, NOON])
@pytest.mark.parametrize("status", Status.values)
def test_a_row_and_the_database_agree_on_what_is_good_and_active(status, damaged_at, missing_at):
    backup = add(status=status, damaged_at=damaged_at, missing_at=missing_at)
    assert backup.is_good == Backup.objects.good().filter(pk=backup.pk).exists()
    assert backup.is_active == Backup.objects.active().filter(pk=backup.pk).exists()


@pytest.mark.parametrize("other", ["acme2", "xacme", "Acme", "acm", "acme ", "", "acme/backups"])
def test_a_tenant_is_found_by_its_exact_id_only(other):
    add(other)
    Event.objects.create(tenant_id=other, kind="deleted")
    BackupSettings.objects.create(tenant_id=other, keep_last=3)
    assert not Backup.objects.for_tenant("acme").exists()
    assert not Event.objects.for_tenant("acme").exists()
    assert BackupSettings.objects.of("acme").keep_last is None
    assert Backup.objects.for_tenant(other).exists()
    assert Event.objects.for_tenant(other).exists()


def test_newest_first_goes_by_the_time_and_of_one_moment_by_the_row():
    first = add(created_at=NOON)
    second = add(created_at=NOON)
    newest = add(created_at=NOON + timedelta(seconds=1))
    oldest = add(created_at=NOON - timedelta(days=1))
    assert list(Backup.objects.newest_first()) == [newest, second, first, oldest]


# The settings of a tenant


@pytest.mark.parametrize(
    "wrong",
    [
        *({"interval": "yearly"}, {"weekday": 7}, {"day_of_month": 0}, {"day_of_month": 32}),
        *({"keep_last": 0}, {"keep_days": 0}, {"keep_daily": 0}, {"keep_weekly": 0}),
        *({"keep_monthly": 0}, {"keep_last": -1}, {"keep_days": 10**6}),
        *({"notify_email": "nobody"}, {"tenant_id": ""}, {"tenant_id": "a" * 256}),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError) as refusal:
        BackupSettings(**{"tenant_id": "acme"} | wrong).full_clean()
    assert set(refusal.value.message_dict) == set(wrong)


def test_settings_that_are_not_saved_yet_are_the_initial_ones(settings):
    settings.TENANT_BACKUP = {"DEFAULT_SETTINGS": {"automatic": True, "keep_last": 14}}
    found = BackupSettings.objects.of("acme")
    assert found._state.adding
    assert (found.tenant_id, found.automatic, found.keep_last) == ("acme", True, 14)
    assert not BackupSettings.objects.exists()


def test_settings_that_are_saved_are_found_whatever_the_initial_ones(settings):
    saved = BackupSettings.objects.create(tenant_id="acme", keep_last=3)
    settings.TENANT_BACKUP = {"DEFAULT_SETTINGS": {"keep_last": 14}}
    assert BackupSettings.objects.of("acme") == saved
    assert BackupSettings.objects.of("acme").keep_last == 3


def test_a_new_tenant_is_not_backed_up_by_itself_and_keeps_everything():
    initial = BackupSettings.objects.of("acme")
    assert initial.automatic is False
    assert initial.policy == Policy()
    assert (initial.interval, initial.time_of_day) == ("daily", time(2, 0))
    initial.full_clean()


def test_to_ensure_settings_makes_those_that_are_missing_and_changes_none(
    settings, django_assert_max_num_queries
):
    settings.TENANT_BACKUP = {"DEFAULT_SETTINGS": {"keep_last": 14, "interval": "weekly"}}
    BackupSettings.objects.create(tenant_id="acme", keep_last=3)
    retired = BackupSettings.objects.create(tenant_id="retired")

    def saved():
        return {row["tenant_id"]: row for row in BackupSettings.objects.values()}

    first = saved()
    with django_assert_max_num_queries(4):
        BackupSettings.objects.ensure(["acme", "bolt", "bolt", "🍕"])
    second = saved()
    assert set(second) == {"acme", "bolt", "🍕", "retired"}
    assert {name: second[name] for name in first} == first
    for name in ("bolt", "🍕"):
        assert (second[name]["keep_last"], second[name]["interval"]) == (14, "weekly")
    BackupSettings.objects.ensure(["acme", "bolt", "🍕"])
    assert saved() == second
    BackupSettings.objects.ensure(tenant_id for tenant_id in ("acme", "one more"))
    third = saved()
    assert set(third) - set(second) == {"one more"}
    assert {name: third[name] for name in second} == second
    BackupSettings.objects.ensure([])
    assert saved() == third
    retired.refresh_from_db()


def test_the_policy_has_each_rule_from_its_field():
    rules = {
        f"keep_{what}": number
        for number, what in enumerate(["last", "days", "daily", "weekly", "monthly"], start=1)
    }
    assert BackupSettings(tenant_id="acme", **rules).policy == Policy(**rules)


# What monitoring judges by


def latest(tenant_id="acme", now=NOON, *, found_by=NOON):
    row = BackupSettings.objects.with_latest(now, found_by=found_by).get(tenant_id=tenant_id)
    return row.last_good_at, row.last_failed_at, row.last_error, row.missing


def test_without_backups_there_is_nothing_latest():
    BackupSettings.objects.create(tenant_id="acme")
    add("bolt", created_at=NOON)
    add("bolt", status="failed", created_at=NOON, error="The disk is full.")
    add("bolt", missing_at=NOON)
    assert latest() == (None, None, None, 0)


def test_the_latest_are_the_newest_of_their_kind():
    BackupSettings.objects.create(tenant_id="acme")
    hours = [NOON - timedelta(hours=hours) for hours in range(9)]
    add(created_at=hours[8])
    add(created_at=hours[6])
    add(created_at=hours[7])
    add(status="failed", created_at=hours[5], error="The second.")
    add(status="failed", created_at=hours[4], error="The last.")
    add(status="failed", created_at=hours[6], error="The first.")
    # None of these is good, nor did it fail.
    add(created_at=hours[3], missing_at=NOON)
    add(created_at=hours[2], damaged_at=NOON)
    add(created_at=hours[1], status="queued", error="It cannot be handed to a worker.")
    assert latest() == (hours[6], hours[4], "The last.", 2)


def test_the_time_and_the_error_are_those_of_one_failure():
    BackupSettings.objects.create(tenant_id="acme")
    for number in range(3):
        add(status="failed", created_at=NOON, error=f"Number {number}.")
    assert latest() == (None, NOON, "Number 2.", 0)


def test_what_is_dated_in_the_future_counts_for_nothing():
    BackupSettings.objects.create(tenant_id="acme")
    soon = NOON + AHEAD + timedelta(microseconds=1)
    add(created_at=soon)
    add(created_at=soon, status="failed")
    add(created_at=soon, missing_at=NOON)
    assert latest() == (None, None, None, 0)
    assert latest(now=soon) == (soon, soon, "", 1)
    # One that was found so is never right any more.
    Backup.objects.update(future_at=NOON)
    assert latest(now=soon) == (None, None, None, 0)


@pytest.mark.parametrize("what", ["missing_at", "damaged_at"])
def test_what_was_found_lost_counts_from_then_on(what):
    BackupSettings.objects.create(tenant_id="acme")
    add(created_at=NOON - timedelta(days=1), **{what: NOON})
    assert latest(found_by=NOON)[3] == 1
    assert latest(found_by=NOON - timedelta(microseconds=1))[3] == 0


def test_only_what_was_complete_can_be_lost():
    BackupSettings.objects.create(tenant_id="acme")
    add(status="failed", created_at=NOON, missing_at=NOON)
    add(status="queued", created_at=NOON, damaged_at=NOON)
    assert latest()[3] == 0


def test_the_latest_of_many_tenants_are_asked_for_in_one_query(django_assert_num_queries):
    names = ["acme", "acme2", "Acme", "acme ", "bolt"]
    for number, name in enumerate(names):
        BackupSettings.objects.create(tenant_id=name)
        for days in range(3):
            at = NOON - timedelta(days=days, hours=number)
            add(name, created_at=at)
            add(name, created_at=at, missing_at=NOON)
            add(name, created_at=at, status="failed", error=f"{name} {days}")
    with django_assert_num_queries(1):
        rows = {
            row.tenant_id: row for row in BackupSettings.objects.with_latest(NOON, found_by=NOON)
        }
    assert set(rows) == set(names)
    for number, name in enumerate(names):
        row, at = rows[name], NOON - timedelta(hours=number)
        assert (row.last_good_at, row.last_failed_at) == (at, at)
        assert (row.last_error, row.missing) == (f"{name} 0", 3)


# The history and the log


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG, "tenant_backup")
    return caplog


def extras(record):
    return {
        name: getattr(record, name)
        for name in ("action", "tenant_id", "backup_id", "actor", "detail")
    }


def test_what_happens_to_a_backup_is_in_the_history_and_in_the_log(
    log, django_capture_on_commit_callbacks
):
    backup = add(file_name=NAME)
    with django_capture_on_commit_callbacks(execute=True):
        Event.record(EventKind.PRUNED, backup, actor="ann", detail="It is too old.")
    event = Event.objects.get()
    [record] = log.records
    expected = {
        "action": "pruned",
        "tenant_id": "acme",
        "backup_id": backup.pk,
        "actor": "ann",
        "detail": "It is too old.",
    }
    stored = {("kind" if name == "action" else name): value for name, value in expected.items()}
    assert {name: getattr(event, name) for name in stored} == stored
    assert event.file_name == NAME
    assert extras(record) == expected
    assert type(record.action) is str
    assert (record.name, record.levelname) == ("tenant_backup", "INFO")
    assert record.getMessage() == f"Tenant 'acme': pruned {NAME} by ann (It is too old.)"


def test_what_happens_to_a_tenant_has_no_backup(log, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        Event.record(EventKind.CONFIGURED, "acme")
    [record] = log.records
    assert extras(record) == {
        "action": "configured",
        "tenant_id": "acme",
        "backup_id": None,
        "actor": "",
        "detail": "",
    }
    assert record.getMessage() == "Tenant 'acme': configured"
    assert Event.objects.values_list("tenant_id", "backup_id", "file_name").get() == (
        "acme",
        None,
        "",
    )


@pytest.mark.parametrize("action", list(EventKind))
def test_what_needs_somebody_is_an_error_in_the_log(
    log, django_capture_on_commit_callbacks, action
):
    with django_capture_on_commit_callbacks(execute=True):
        Event.record(action, "acme")
    [record] = log.records
    alarming = ("failed", "overdue", "missing", "damaged", "rows_lost")
    assert record.levelname == ("ERROR" if action in alarming else "INFO")
    assert record.action == action.value
    Event.objects.get().full_clean()


def test_a_percent_sign_is_text_in_the_log(log, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        Event.record(EventKind.FAILED, "100%s", actor="%d", detail="90 % full")
    assert log.messages == ["Tenant '100%s': failed by %d (90 % full)"]


@pytest.mark.django_db(transaction=True)
def test_the_log_says_only_what_stays(log):
    with transaction.atomic():
        Event.record(EventKind.DELETED, "acme")
        assert log.records == []
    assert [record.action for record in log.records] == ["deleted"]
    log.clear()
    with transaction.atomic():
        Event.record(EventKind.PRUNED, "acme")
        transaction.set_rollback(True)
    assert log.records == []
    assert Event.objects.get().kind == "deleted"
    Event.record(EventKind.PINNED, "acme")
    assert [record.action for record in log.records] == ["pinned"]


@pytest.mark.django_db(transaction=True)
def test_a_log_that_cannot_be_written_undoes_nothing(monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr("tenant_backup.models.events.logger.log", refuse)
    with transaction.atomic():
        Event.record(EventKind.DELETED, "acme")
    assert Event.objects.get().kind == "deleted"


# The contract


@pytest.mark.parametrize(
    ("model", "names"), [(Backup, BACKUP_FIELDS), (BackupSettings, SETTINGS_FIELDS)]
)
def test_hosts_find_the_fields_that_they_were_promised(model, names):
    assert {field.name for field in model._meta.fields} >= set(names)
    assert model.objects.filter(**{f"{name}__isnull": True for name in names}).count() == 0


def test_the_words_that_are_stored_are_those_of_the_contract():
    assert Status.values == ["queued", "running", "complete", "failed"]
    assert Trigger.values == [
        *("manual", "automatic", "command", "migrate", "restore", "adopted"),
    ]
    assert Interval.values == ["hourly", "6h", "12h", "daily", "weekly", "monthly"]
    assert Weekday.values == list(range(7))


def test_whatever_can_be_a_tenants_id_can_be_stored():
    for tenant_id in ("a" * 255, "🍕" * 255, "Käse & Söhne", "../../etc", "%_'\"\\"):
        backup = add(tenant_id)
        backup.refresh_from_db()
        assert Backup.objects.for_tenant(tenant_id).get() == backup
        backup.full_clean()


def test_a_row_says_what_it_is():
    assert str(add(file_name=NAME)) == NAME
    assert str(add(status="failed")) == "acme: failed"
    assert str(BackupSettings(tenant_id="acme")) == "acme"
    assert str(Event(tenant_id="acme", kind="deleted", file_name=NAME)) == f"acme: deleted {NAME}"
    assert str(Event(tenant_id="acme", kind="failed")) == "acme: failed"


def test_no_migration_is_missing(capsys):
    try:
        call_command("makemigrations", "tenant_backup", "--check", "--dry-run")
    except SystemExit:
        pytest.fail(capsys.readouterr().out)


@pytest.mark.django_db
def test_two_orders_at_once_do_not_overwrite_each_other():
    Backup.objects.create(tenant_id="acme", trigger=Trigger.AUTOMATIC)
    one, two = Backup.objects.get(), Backup.objects.get()
    one.take_over(trigger=Trigger.MANUAL, label="keep me", pinned=True, requested_by="ann")
    with pytest.raises(RowChanged):
        two.take_over(trigger=Trigger.COMMAND, label="x", pinned=False, requested_by="bob")
    row = Backup.objects.get()
    assert (row.pinned, row.trigger, row.label) == (True, "manual", "keep me")


@pytest.mark.django_db
def test_an_order_that_is_repeated_adds_nothing():
    Backup.objects.create(tenant_id="acme", trigger=Trigger.MANUAL)
    for label in "abab":
        row = Backup.objects.get()
        row.take_over(trigger=Trigger.MANUAL, label=label, pinned=False, requested_by="ann")
    row.refresh_from_db()
    assert (row.label, row.requested_by) == ("a; b", "ann")


@pytest.mark.django_db
@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("status", list(Status))
def test_is_deletable_agrees_with_the_query(status, pinned):
    row = Backup.objects.create(tenant_id="acme", trigger="manual", status=status, pinned=pinned)
    assert row.is_deletable is Backup.objects.deletable().filter(pk=row.pk).exists()
    assert row.is_deletable is (not pinned and status in ("complete", "failed"))


ACME = Backup.objects.for_tenant("acme")
EVENTS = Event.objects.for_tenant("acme")
SOUGHT = {
    "a tenant's active one": ACME.active(),
    "its queued one": ACME.queued(),
    "its newest failed one": ACME.failed().newest_first()[:1],
    "its newest good one": ACME.good().newest_first()[:1],
    "its newest ones": ACME.newest_first()[:50],
    "all that are active": Backup.objects.active(),
    "all that are running": Backup.objects.running(),
    "what was handed over and is running": Backup.objects.exclude(slot_at=None).running(),
    "what is queued, the oldest first": Backup.objects.queued().order_by("created_at"),
    "old failures": history_expiry.old_failures(NOON).order_by("created_at"),
    "old events": history_expiry.old_events(NOON).order_by("created_at"),
    "the newest events": Event.objects.newest_first()[:100],
    "those of one kind": Event.objects.filter(kind="restored").newest_first()[:100],
    "those of a tenant": EVENTS.newest_first()[:10],
    "those on its page": EVENTS.exclude(kind="pruned").newest_first()[:10],
}


@needs_sqlite_control
@pytest.mark.parametrize("name", SOUGHT)
def test_what_is_looked_for_all_the_time_is_found_by_an_index(name):
    """SQLite uses no conditional index where what the condition names is a parameter."""
    plan = SOUGHT[name].explain().splitlines()
    for step in plan:
        assert " SEARCH " in step or " SCAN " not in step or " USING INDEX " in step, plan
        # Rows of the very same moment may be sorted by their numbers, but not all rows.
        assert "TEMP B-TREE" not in step or "TERM" in step or "PART" in step, plan


@needs_sqlite_control
@pytest.mark.parametrize("name", ["missing", "missing_found_at", "last_future_at"])
def test_what_few_backups_are_marked_with_is_not_looked_for_among_all(name):
    """Each tick asks it for every tenant, who may have thousands."""
    rows = BackupSettings.objects.with_latest(NOON, found_by=NOON).values_list(name)
    assert "USING INDEX tenant_backup_marked" in rows.explain()
