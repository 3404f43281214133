"""What a tenant's administrator fills in: the settings, a label, and a request for lost data."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Field
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from tenant_backup.models import LABEL_LENGTH, NOTE_LENGTH, BackupSettings, Interval
from tenant_backup.presets import Preset


def _form_field(field: Field[Any, Any], **options: Any) -> forms.Field | None:
    """The form field for a model field, with the limits of the model field's validators.

    Django itself takes only the limits of the column: a number of 0 or more.
    """
    for kind, limit in ((MinValueValidator, "min_value"), (MaxValueValidator, "max_value")):
        for validator in field.validators:
            if isinstance(validator, kind):
                options[limit] = validator.limit_value
    return field.formfield(**options)


class LabelForm(forms.Form):
    """The label of a new backup."""

    label = forms.CharField(
        label=_("Label"),
        required=False,
        max_length=LABEL_LENGTH,
        help_text=_("Optional: a few words that help you recognize this backup."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class RequestForm(forms.Form):
    """What somebody asks the operator to bring back from a backup."""

    note = forms.CharField(
        label=_("What is missing, and since when?"),
        required=False,
        max_length=NOTE_LENGTH,
        widget=forms.Textarea(attrs={"rows": 2}),
    )


class SettingsForm(forms.ModelForm):  # type: ignore[type-arg]
    """When a tenant is backed up automatically, and how many backups are kept."""

    APPLIES = {"weekday": Interval.WEEKLY, "day_of_month": Interval.MONTHLY}
    """Fields that apply to one interval only. For any other their saved value stays."""

    ADVANCED = ("keep_daily", "keep_weekly", "keep_monthly")
    """Fields that few tenants need. They are folded away while they are empty."""

    class Meta:
        model = BackupSettings
        formfield_callback = _form_field
        fields = (
            "automatic",
            "interval",
            "time_of_day",
            "weekday",
            "day_of_month",
            "keep_days",
            "keep_last",
            "keep_daily",
            "keep_weekly",
            "keep_monthly",
            "notify_email",
        )
        labels = {
            "automatic": _("Make backups automatically"),
            "interval": _("How often"),
            "time_of_day": _("Time of day"),
            "weekday": _("Weekday (for weekly backups)"),
            "day_of_month": _("Day of the month (for monthly backups)"),
            "keep_last": _("Maximum number"),
            "keep_days": _("Retention period in days"),
            "keep_daily": _("Daily"),
            "keep_weekly": _("Weekly"),
            "keep_monthly": _("Monthly"),
            "notify_email": _("Send notices to"),
        }
        help_texts = {
            "time_of_day": _(
                "Backups start up to half an hour later (hourly ones up to ten minutes), so that "
                "they do not all start at once. If you choose several backups a day, this is the "
                "time of one of them. For hourly backups, only the minutes count."
            ),
            "day_of_month": _("1 to 31. In a shorter month, the last day is used."),
            "keep_last": _("Only the newest backups are kept. Empty: no limit."),
            "keep_days": _(
                "Older backups are deleted, counted back from the newest good one. Do not rely on "
                "this to erase data by a deadline: a long gap between two backups counts as at "
                "most a third of these days, and the newest backups of three different days are "
                "never deleted for their age. Empty: no limit."
            ),
            "keep_daily": _("The newest backup of each day, for this many days."),
            "keep_weekly": _("The newest backup of each week, for this many weeks."),
            "keep_monthly": _("The newest backup of each month, for this many months."),
            "notify_email": _(
                "This address gets a mail when a backup fails or is late, and when all is well "
                "again."
            ),
        }
        widgets = {
            "time_of_day": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.APPLIES:
            self.fields[name].required = False

    @classmethod
    def filled_in(cls, data: QueryDict, preset: Preset, instance: BackupSettings) -> SettingsForm:
        """The form as it was sent, with the fields of this preset filled in."""
        data = data.copy()
        for name, value in preset.as_typed.items():
            if value is False:
                data.pop(name, None)
            else:
                data[name] = "on" if value is True else value
        return cls(data, instance=instance)

    @property
    def shows_advanced(self) -> bool:
        """Whether an advanced field is filled in or has an error."""
        return any(self[name].value() or self[name].errors for name in self.ADVANCED)

    def focus_first_error(self) -> None:
        """Let the browser show the first error, which may be far down the page."""
        for name, field in self.fields.items():
            if name in self.errors:
                field.widget.attrs["autofocus"] = True
                return

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name in (*self.ADVANCED, "notify_email"):
            widget = self.fields[name].widget
            if widget.value_omitted_from_data(self.data, self.files, self.add_prefix(name)):
                # A host's own template may not show this field, and then must not clear it.
                cleaned[name] = self.initial[name]
        for name, interval in self.APPLIES.items():
            applies = cleaned.get("interval") == interval
            if not applies:
                # An error in a field that does not apply is no reason to refuse the others.
                self.errors.pop(name, None)
                cleaned[name] = self.initial[name]
            elif name not in self.errors and cleaned.get(name) in (None, ""):
                self.add_error(name, self.fields[name].error_messages["required"])
        return cleaned
