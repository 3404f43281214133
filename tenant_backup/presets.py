"""Presets: a few good choices, each of which fills in the fields of the settings.

`tests/test_presets.py` simulates that the fields mean what the words say: the number of months
counts the current one, so "one a month for a year" are 13.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

NO_LIMITS = dict.fromkeys(("keep_days", "keep_last", "keep_daily", "keep_weekly", "keep_monthly"))


@dataclass(frozen=True, slots=True)
class Preset:
    name: str
    label: StrOrPromise
    fields: Mapping[str, object]
    """The fields that it fills in. All others, such as the time, stay as they are."""

    @property
    def as_typed(self) -> dict[str, str | bool]:
        """The fields as somebody would fill them in: text, or whether a box is ticked."""
        return {
            name: value if isinstance(value, bool) else str("" if value is None else value)
            for name, value in self.fields.items()
        }


PRESETS = (
    Preset(
        "nightly",
        _("Every night, kept two weeks, then one a month for a year"),
        {
            **NO_LIMITS,
            "automatic": True,
            "interval": "daily",
            "keep_days": 14,
            "keep_monthly": 13,
        },
    ),
    Preset(
        "hourly",
        _("Every hour, kept two days, then one a day for two weeks"),
        {
            **NO_LIMITS,
            "automatic": True,
            "interval": "hourly",
            "keep_days": 2,
            "keep_daily": 15,
        },
    ),
    Preset("manual", _("Only by hand"), {"automatic": False}),
)


def preset_named(name: str) -> Preset | None:
    return next((preset for preset in PRESETS if preset.name == name), None)
