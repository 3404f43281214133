"""What a tenant's administrator can fill in: the settings, and the label of a new backup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Field
from django.utils.translation import gettext_lazy as _

from tenant_backup.models import LABEL_LENGTH, BackupSettings, Interval


def _form_field(field: Field[Any, Any], **options: Any) -> forms.Field | None:
    """The form's field for a model's, with the limits of that one's validators.

    Django itself takes only the column's: a number of 0 or more.
    """
    for kind, limit in ((MinValueValidator, "min_value"), (MaxValueValidator, "max_value")):
        for validator in field.validators:
            if isinstance(validator, kind):
                options[limit] = validator.limit_value
    return field.formfield(**options)


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

    ADVANCED = ("keep_daily", "keep_weekly", "keep_monthly")
    """Fields that few tenants need, so they are folded away while they are empty."""

    class Meta:
        model = BackupSettings
        formfield_callback = _form_field
        fields = (
            "automatic",
            "interval",
            "time_of_day",
            "weekday",
            "day_of_month",
            "keep_last",
            "keep_days",
            "keep_daily",
            "keep_weekly",
            "keep_monthly",
            "notify_email",
        )
        labels = {
            "automatic": _("Make backups automatically"),
            "interval": _("How often"),
            "time_of_day": _("Time of day"),
            "weekday": _("Weekday, for weekly"),
            "day_of_month": _("Day of the month, for monthly"),
            "keep_last": _("Maximum number"),
            "keep_days": _("Retention period in days"),
            "keep_daily": _("Daily"),
            "keep_weekly": _("Weekly"),
            "keep_monthly": _("Monthly"),
            "notify_email": _("Send notices to"),
        }
        help_texts = {
            "time_of_day": _(
                "A backup starts up to half an hour later (an hourly one up to ten minutes), so "
                "that not all start at the same moment. An interval of hours counts from this "
                "time; every hour, only its minutes matter."
            ),
            "day_of_month": _("From 1 to 31. In a shorter month it is the last day."),
            "keep_last": _("The newest ones are kept. Empty: any number."),
            "keep_days": _(
                "Older ones go, counted back from the newest good backup. This is no deadline for "
                "deletion: a long gap between two backups counts for at most a third of these "
                "days, and the newest ones of three different days never go for their age. Empty: "
                "any age."
            ),
            "keep_daily": _("For so many days the newest backup of the day."),
            "keep_weekly": _("For so many weeks the newest backup of the week."),
            "keep_monthly": _("For so many months the newest backup of the month."),
            "notify_email": _(
                "An address that is told when a backup fails or is overdue, and when all is well "
                "again. Empty: nobody."
            ),
        }
        widgets = {
            "time_of_day": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.APPLIES:
            self.fields[name].required = False

    @property
    def shows_advanced(self) -> bool:
        """Whether something stands in an advanced field, or is wrong with it."""
        return any(self[name].value() or self[name].errors for name in self.ADVANCED)

    def focus_first_error(self) -> None:
        """Let the browser show what is wrong, which may be far down the page."""
        for name, field in self.fields.items():
            if name in self.errors:
                field.widget.attrs["autofocus"] = True
                return

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name in (*self.ADVANCED, "notify_email"):
            widget = self.fields[name].widget
            if widget.value_omitted_from_data(self.data, self.files, self.add_prefix(name)):
                # A host's own template may not have it: what it cannot show it shall not clear.
                cleaned[name] = self.initial[name]
        for name, interval in self.APPLIES.items():
            applies = cleaned.get("interval") == interval
            if not applies:
                # What was typed into a field that does not apply is no reason to refuse the rest.
                self.errors.pop(name, None)
                cleaned[name] = self.initial[name]
            elif name not in self.errors and cleaned.get(name) in (None, ""):
                self.add_error(name, self.fields[name].error_messages["required"])
        return cleaned
