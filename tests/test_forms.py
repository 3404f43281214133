"""What a tenant's administrator fills in: which of it is taken, and what is said of the rest."""

from datetime import time

import pytest
from django.http import QueryDict

from tenant_backup.forms import LabelForm, SettingsForm
from tenant_backup.models import LABEL_LENGTH, BackupSettings
from tenant_backup.presets import PRESETS, preset_named

VALID = {
    "automatic": "on",
    "interval": "daily",
    "time_of_day": "03:30",
    "weekday": "2",
    "day_of_month": "15",
    "keep_last": "5",
    "keep_days": "",
}


def form(instance=None, **changes):
    data = {name: value for name, value in (VALID | changes).items() if value is not None}
    return SettingsForm(data, instance=instance or BackupSettings(tenant_id="acme"))


class TestSettings:
    def test_valid_ones_are_taken(self):
        settings = form(interval="weekly", keep_days="30")
        assert settings.is_valid()
        assert settings.instance.automatic
        assert settings.instance.time_of_day == time(3, 30)
        assert settings.instance.weekday == 2
        assert settings.instance.keep_last == 5
        assert settings.instance.keep_days == 30

    def test_an_empty_limit_is_none(self):
        settings = form(keep_last="", keep_days="")
        assert settings.is_valid()
        assert settings.instance.keep_last is None
        assert settings.instance.keep_days is None

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("interval", "yearly"),
            ("interval", ""),
            ("time_of_day", "25:00"),
            ("time_of_day", ""),
            ("keep_last", "0"),
            ("keep_last", "-1"),
            ("keep_last", "many"),
            ("keep_last", str(10**30)),
            ("keep_days", "0"),
            ("keep_days", "1.5"),
            ("keep_days", "36501"),
            ("keep_daily", "0"),
            ("keep_weekly", "-1"),
            ("keep_monthly", "1201"),
            ("notify_email", "nobody"),
        ],
    )
    def test_what_is_wrong_is_said_of_its_field_alone(self, field, value):
        settings = form(**{field: value})
        assert not settings.is_valid()
        assert list(settings.errors) == [field]

    @pytest.mark.parametrize(
        ("interval", "field", "value"),
        [
            ("weekly", "weekday", None),
            ("weekly", "weekday", ""),
            ("weekly", "weekday", "7"),
            ("monthly", "day_of_month", None),
            ("monthly", "day_of_month", ""),
            ("monthly", "day_of_month", "0"),
            ("monthly", "day_of_month", "32"),
            ("monthly", "day_of_month", str(10**30)),
        ],
    )
    def test_the_day_is_asked_for_where_it_applies(self, interval, field, value):
        settings = form(interval=interval, **{field: value})
        assert not settings.is_valid()
        assert list(settings.errors) == [field]

    @pytest.mark.parametrize("value", [None, "", "99", "x"])
    @pytest.mark.parametrize("interval", ["hourly", "6h", "12h", "daily"])
    def test_a_day_that_does_not_apply_is_left_as_it_was(self, interval, value):
        saved = BackupSettings(tenant_id="acme", weekday=4, day_of_month=20)
        settings = form(saved, interval=interval, weekday=value, day_of_month=value)
        assert settings.is_valid()
        assert (saved.weekday, saved.day_of_month) == (4, 20)

    def test_the_rest_of_the_settings_cannot_be_reached(self):
        saved = BackupSettings(tenant_id="acme")
        settings = form(saved, tenant_id="globex", next_run_at="2020-01-01")
        assert settings.is_valid()
        assert saved.tenant_id == "acme"
        assert saved.next_run_at is None

    def test_thinning_and_the_address_for_notices_are_taken(self):
        settings = form(
            keep_daily="7", keep_weekly="4", keep_monthly="12", notify_email="a@b.example"
        )
        assert settings.is_valid()
        saved = settings.instance
        assert (saved.keep_daily, saved.keep_weekly, saved.keep_monthly) == (7, 4, 12)
        assert saved.notify_email == "a@b.example"

    @pytest.mark.parametrize(
        ("fields", "is_shown"),
        [({}, False), ({"keep_last": "3"}, False), ({"keep_weekly": "4"}, True)],
    )
    def test_what_is_advanced_is_folded_away_while_it_is_empty(self, fields, is_shown):
        assert form(**fields).shows_advanced is is_shown

    def test_an_error_in_what_is_advanced_is_not_folded_away(self):
        settings = form(keep_monthly="many")
        assert list(settings.errors) == ["keep_monthly"]
        assert settings.shows_advanced


class TestPresets:
    def fill_in(self, name, **changes):
        data = QueryDict(mutable=True)
        data.update({key: value for key, value in (VALID | changes).items() if value is not None})
        return SettingsForm.filled_in(data, preset_named(name), BackupSettings(tenant_id="acme"))

    @pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
    @pytest.mark.parametrize("automatic", ["on", None])
    def test_what_is_filled_in_is_valid_and_what_the_preset_says(self, preset, automatic):
        filled_in = self.fill_in(preset.name, automatic=automatic, keep_weekly="3")
        assert filled_in.is_valid()
        for name, value in preset.fields.items():
            assert getattr(filled_in.instance, name) == value

    def test_everything_else_stays_as_typed(self):
        filled_in = self.fill_in("hourly", notify_email="a@b.example")
        assert filled_in.is_valid()
        assert filled_in.instance.time_of_day == time(3, 30)
        assert filled_in.instance.notify_email == "a@b.example"

    def test_what_was_sent_is_not_changed(self):
        data = QueryDict("interval=weekly")
        SettingsForm.filled_in(data, preset_named("hourly"), BackupSettings(tenant_id="acme"))
        assert data["interval"] == "weekly"

    @pytest.mark.parametrize("name", ["nightly", "hourly"])
    def test_the_rules_that_it_uses_are_shown(self, name):
        assert self.fill_in(name).shows_advanced


class TestLabel:
    @pytest.mark.parametrize("label", ["", "before the import", "x" * LABEL_LENGTH])
    def test_one_that_fits_is_taken(self, label):
        labelled = LabelForm({"label": label})
        assert labelled.is_valid()
        assert labelled.cleaned_data["label"] == label

    def test_none_is_no_label(self):
        labelled = LabelForm({})
        assert labelled.is_valid()
        assert labelled.cleaned_data["label"] == ""

    @pytest.mark.parametrize("label", ["x" * (LABEL_LENGTH + 1), "nul\0"])
    def test_one_that_cannot_be_kept_is_refused(self, label):
        assert list(LabelForm({"label": label}).errors) == ["label"]
