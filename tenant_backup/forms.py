"""What a tenant's administrator can fill in: the settings, and the label of a new backup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _

from tenant_backup.models import LABEL_LENGTH, BackupSettings, Interval

if TYPE_CHECKING:
    BackupSettingsForm = forms.ModelForm[BackupSettings]
else:
    BackupSettingsForm = forms.ModelForm  # generic for the type checker alone


class LabelForm(forms.Form):
    """What a backup is made with."""

    label = forms.CharField(
        label=_("Label"),
        required=False,
        max_length=LABEL_LENGTH,
        help_text=_("Optional: a few words by which you will know this backup again."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class SettingsForm(BackupSettingsForm):
    """When a tenant is backed up automatically, and how many backups are kept."""

    APPLIES = {"weekday": Interval.WEEKLY, "day_of_month": Interval.MONTHLY}
    """Fields that matter for one interval only; for any other their saved value is left alone."""

    class Meta:
        model = BackupSettings
        fields = (
            "automatic",
            "interval",
            "time_of_day",
            "weekday",
            "day_of_month",
            "keep_last",
            "keep_days",
        )
        labels = {
            "automatic": _("Make backups automatically"),
            "interval": _("How often"),
            "time_of_day": _("Time of day"),
            "weekday": _("Weekday, for weekly"),
            "day_of_month": _("Day of the month, for monthly"),
            "keep_last": _("Maximum number"),
            "keep_days": _("Retention period in days"),
        }
        help_texts = {
            "time_of_day": _(
                "A backup starts up to half an hour later, so that not all start at the same "
                "moment. An interval of hours counts from this time; every hour, only its minutes "
                "matter."
            ),
            "day_of_month": _("From 1 to 31. In a shorter month it is the last day."),
            "keep_last": _("The newest ones are kept. Empty: any number."),
            "keep_days": _(
                "Older ones go, counted back from the newest good backup. Empty: any age."
            ),
        }
        widgets = {
            "time_of_day": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
            "day_of_month": forms.NumberInput(attrs={"min": 1, "max": 31}),
            "keep_last": forms.NumberInput(attrs={"min": 1}),
            "keep_days": forms.NumberInput(attrs={"min": 1}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.APPLIES:
            self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name, interval in self.APPLIES.items():
            applies = cleaned.get("interval") == interval
            if not applies:
                # What was typed into a field that does not apply is no reason to refuse the rest.
                self.errors.pop(name, None)
                cleaned[name] = self.initial[name]
            elif name not in self.errors and cleaned.get(name) in (None, ""):
                self.add_error(name, self.fields[name].error_messages["required"])
        return cleaned
