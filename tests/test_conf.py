"""The settings: what is refused, what holds when nothing is set, and when a change counts."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.utils.translation import gettext_lazy

from tenant_backup.conf import Conf, conf
from tenant_backup.tenants import SingleTenant

DEFAULTS: dict[str, Any] = {
    "TENANT_PROVIDER": "tenant_backup.tenants.SingleTenant",
    "CATALOG_DATABASE": "default",
    "DIRECTORY_NAME": "backups",
    "DEFAULT_SETTINGS": {},
    "VERIFY": "full",
    "BUSY_TIMEOUT": 30,
    "INLINE_MAX_BYTES": 33_554_432,
    "CLUSTER": None,
    "BACK_UP_BEFORE_MIGRATE": False,
    "MAX_BYTES": None,
    "MAX_MANUAL": 50,
    "HISTORY_DAYS": 730,
    "HEARTBEAT_URL": None,
    "HEARTBEAT_FAIL_URL": None,
    "OPERATOR": {},
    "ROWS_LOST": {"share": 0.2, "rows": 20, "exclude": []},
}

WRONG: dict[str, list[Any]] = {
    "TENANT_PROVIDER": [None, "", "SingleTenant", 7, SingleTenant, ["a.b"]],
    "CATALOG_DATABASE": [None, "", 0, True, ["default"]],
    "DIRECTORY_NAME": [
        *(None, "", ".", "..", "/", "a/b", "/backups", "backups/", "../backups", "a\\b", "a\0b"),
        *(5, True, Path("backups")),
    ],
    "DEFAULT_SETTINGS": [None, "", "keep_last", 1, ["keep_last"], {1: 2}, {None: 2}],
    "VERIFY": [None, "", "Full", "none", True, False, 1, ["full"]],
    "BUSY_TIMEOUT": [None, "", "30", 0, 0.0, -1, -0.5, True, False, float("nan"), [30]],
    "INLINE_MAX_BYTES": [None, "", "1024", -1, 1.5, 1024.0, True, False],
    "CLUSTER": ["", 0, 1, True, False, ["long"]],
    "BACK_UP_BEFORE_MIGRATE": [None, "", "True", "no", 0, 1],
    "HEARTBEAT_URL": ["", "hc-ping.com/id", "ftp://host/id", "file:///id", "http:///id", 0, True],
    "HEARTBEAT_FAIL_URL": [
        "",
        "http://",
        "//host/id",
        ["https://host/id"],
        "http://[",
        b"http://h",
    ],
    "HISTORY_DAYS": [None, "", "730", 0, -1, 1.5, True, False],
    "MAX_BYTES": ["", "1024", 0, -1, 1.5, True, False],
    "MAX_MANUAL": [None, "", "50", 0, -1, 1.5, True, False],
    "OPERATOR": [None, "", "NOT_INCLUDED", ["NAME"], 1],
    "ROWS_LOST": [None, "", "share", ["share"], 0.2, False],
}

RIGHT: dict[str, list[Any]] = {
    "TENANT_PROVIDER": ["myproject.tenancy.Tenants"],
    "CATALOG_DATABASE": ["control"],
    "DIRECTORY_NAME": ["my backups", ".backups", "...", "Sicherungen", "💾"],
    "DEFAULT_SETTINGS": [{"automatic": True, "keep_last": 14}],
    "VERIFY": ["full", "quick"],
    "BUSY_TIMEOUT": [0.5, 1, 600],
    "INLINE_MAX_BYTES": [0, 1, 10**12],
    "CLUSTER": [None, "long"],
    "BACK_UP_BEFORE_MIGRATE": [True, False],
    "HEARTBEAT_URL": [None, "http://10.0.0.1/ping", "https://hc-ping.com/id?x=1"],
    "HEARTBEAT_FAIL_URL": [None, "https://hc-ping.com/id/fail"],
    "HISTORY_DAYS": [1, 730, 36_500],
    "MAX_BYTES": [None, 1, 10**12],
    "MAX_MANUAL": [1, 50, 1_000],
    "OPERATOR": [
        {},
        {"NOT_INCLUDED": "Uploaded files are in the storage of the web host."},
        {
            "NAME": "Anna Ops",
            "EMAIL": "ops@example.com",
            "PHONE": "+49 30 901820",
            "SITE_URL": "https://example.com:8443/app/",
            "SERVICES": ["gunicorn", "qcluster"],
            "NOT_INCLUDED": gettext_lazy("Uploaded files are in the storage of the web host."),
        },
        {"SERVICES": "gunicorn", "SITE_URL": "http://localhost:8000"},
        {"SERVICES": ()},
    ],
    "ROWS_LOST": [
        {},
        {"share": 0.5},
        {"share": 1, "rows": 1, "exclude": ["crm_log", "tmp_*"]},
        {"exclude": ()},
    ],
}

WRONG_PARTS: dict[str, list[Any]] = {
    "NAME": [None, 1, b"Anna", ["Anna"]],
    "EMAIL": [None, "", 1, "Anna Ops", "anna@", "anna@example.com, ben@example.com", ["a@b.org"]],
    "PHONE": [None, 49, 4.9],
    "SITE_URL": [
        *(None, "", 1, "example.com", "ftp://example.com", "https://", "//example.com", "http://["),
        *("https://example.com/?tenant=", "https://example.com/#top", "https://ada@example.com"),
        *("https://example.com/a b", "https://example.com\n", b"https://example.com"),
    ],
    "SERVICES": [None, 1, {"web": "gunicorn"}, ["gunicorn", 1], {"gunicorn"}],
    "NOT_INCLUDED": [None, 1, ["Scans"]],
}


WRONG_LIMITS: dict[str, list[Any]] = {
    "share": [None, "", "0.2", 0, -0.1, 1.1, 20, True, float("nan")],
    "rows": [None, "20", 0, -1, 20.5, True],
    "exclude": [None, "crm_log", {"crm_log"}, [""], [1], ["crm_log", None]],
}


def cases(values):
    return [
        pytest.param(key, value, id=f"{key}={value!r}".replace("\0", "NUL"))
        for key, several in values.items()
        for value in several
    ]


@pytest.mark.parametrize("wrong", [None, "", 0, "SingleTenant", ["TENANT_PROVIDER"], True, set()])
def test_settings_that_are_no_dict_are_refused(settings, wrong):
    settings.TENANT_BACKUP = wrong
    with pytest.raises(ImproperlyConfigured) as refusal:
        conf.CATALOG_DATABASE  # noqa: B018
    assert str(refusal.value) == f"TENANT_BACKUP must be a dict, not {wrong!r}."


@pytest.mark.parametrize(("key", "wrong"), cases(WRONG))
def test_a_wrong_value_is_refused_in_a_sentence_with_its_key(settings, key, wrong):
    settings.TENANT_BACKUP = {key: wrong}
    with pytest.raises(ImproperlyConfigured) as refusal:
        getattr(conf, key)
    sentence = str(refusal.value)
    assert sentence.startswith(f"TENANT_BACKUP['{key}'] must be ")
    is_secret = getattr(Conf, key).is_secret
    assert sentence.endswith(", which it is not." if is_secret else f", not {wrong!r}.")


@pytest.mark.parametrize(("key", "wrong"), cases(WRONG_PARTS))
def test_a_wrong_value_of_the_operators_is_refused_with_both_keys(settings, key, wrong):
    settings.TENANT_BACKUP = {"OPERATOR": {"NAME": "Anna Ops", key: wrong}}
    with pytest.raises(ImproperlyConfigured) as refusal:
        conf.OPERATOR  # noqa: B018
    sentence = str(refusal.value)
    assert sentence.startswith(f"TENANT_BACKUP['OPERATOR']['{key}'] must be ")
    assert sentence.endswith(f", not {wrong!r}.")


def test_every_key_of_the_operators_is_in_these_tests():
    assert list(Conf.OPERATOR.parts) == list(WRONG_PARTS)


@pytest.mark.parametrize("typo", ["Name", "MAIL", "NAME ", None, 1])
def test_an_unknown_key_of_the_operators_is_refused_with_its_name(settings, typo):
    settings.TENANT_BACKUP = {"OPERATOR": {typo: "Anna Ops"}}
    with pytest.raises(ImproperlyConfigured) as refusal:
        conf.OPERATOR  # noqa: B018
    assert str(refusal.value) == (
        f"TENANT_BACKUP['OPERATOR'] has an unknown key {typo!r}. Known are NAME, EMAIL, PHONE, "
        "SITE_URL, SERVICES, NOT_INCLUDED."
    )


@pytest.mark.parametrize(("key", "wrong"), cases(WRONG_LIMITS))
def test_a_wrong_limit_of_lost_rows_is_refused_with_both_keys(settings, key, wrong):
    settings.TENANT_BACKUP = {"ROWS_LOST": {key: wrong}}
    with pytest.raises(ImproperlyConfigured) as refusal:
        conf.ROWS_LOST  # noqa: B018
    assert str(refusal.value).startswith(f"TENANT_BACKUP['ROWS_LOST']['{key}'] must be ")


def test_every_limit_of_lost_rows_is_in_these_tests(settings):
    assert list(Conf.ROWS_LOST.parts) == list(WRONG_LIMITS)
    settings.TENANT_BACKUP = {"ROWS_LOST": {"number": 3}}
    with pytest.raises(ImproperlyConfigured, match="unknown key 'number'"):
        conf.ROWS_LOST  # noqa: B018


def test_a_wrong_value_spoils_no_other_setting(settings):
    settings.TENANT_BACKUP = {"VERIFY": "none", "DIRECTORY_NAME": "copies"}
    assert conf.DIRECTORY_NAME == "copies"
    assert conf.CATALOG_DATABASE == "default"


@pytest.mark.parametrize("values", [WRONG, RIGHT], ids=["wrong", "right"])
def test_no_setting_is_left_out_of_these_tests(values):
    assert values.keys() == DEFAULTS.keys()


@pytest.mark.parametrize(("key", "right"), cases(RIGHT))
def test_a_right_value_is_taken_as_it_is(settings, key, right):
    settings.TENANT_BACKUP = {key: right}
    assert getattr(conf, key) is right


def test_there_are_these_settings_and_no_others():
    assert [setting.key for setting in Conf.known()] == list(DEFAULTS)


@pytest.mark.parametrize("key", DEFAULTS)
@pytest.mark.parametrize("without", ["setting", "key"])
def test_what_is_not_set_has_its_default(settings, key, without):
    if without == "setting":
        del settings.TENANT_BACKUP
    else:
        settings.TENANT_BACKUP = {}
    value = getattr(conf, key)
    assert value == DEFAULTS[key]
    assert type(value) is type(DEFAULTS[key])


@pytest.mark.parametrize("key", DEFAULTS)
def test_a_default_is_itself_a_valid_value(settings, key):
    settings.TENANT_BACKUP = {key: DEFAULTS[key]}
    assert getattr(conf, key) == DEFAULTS[key]


def test_a_change_of_the_settings_takes_effect_at_once_and_ends_with_them():
    assert conf.DIRECTORY_NAME == "backups"
    with override_settings(TENANT_BACKUP={"DIRECTORY_NAME": "outer"}):
        assert conf.DIRECTORY_NAME == "outer"
        with override_settings(TENANT_BACKUP={"DIRECTORY_NAME": "inner"}):
            assert conf.DIRECTORY_NAME == "inner"
        assert conf.DIRECTORY_NAME == "outer"
        # Even where somebody changes the dict itself.
        django_settings.TENANT_BACKUP["DIRECTORY_NAME"] = "changed"
        assert conf.DIRECTORY_NAME == "changed"
    assert conf.DIRECTORY_NAME == "backups"
