"""Texts for people, kept so that everybody can read them in their own language.

A text is stored with the values that it was made of. So what an error or the history said in one
language can be shown in another one later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.apps import apps
from django.utils.translation import gettext, ngettext


class Text:
    """A text with named values in it: `Text("%(n)d left", n=3)`.

    `str` gives it in the language that is active at that moment, or in English if Django is not
    set up. A text without values may contain any percent sign.
    """

    text: object = ""
    values: Mapping[str, object] = MappingProxyType({})

    def __init__(self, text: object = "", /, *more: object, **values: object) -> None:
        # Hosts raise our errors, and may pass any arguments.
        self.text, self.values = text, values

    def __str__(self) -> str:
        text = _translated(str(self.text))
        return text % self.values if self.values else text

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.as_data() == self.as_data()

    def __hash__(self) -> int:
        return hash(str(self.text))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def as_data(self) -> dict[str, Any]:
        """The text as JSON can hold it: see `in_active_language`."""
        return {
            "text": str(self.text),
            "values": {name: _as_data(value) for name, value in self.values.items()},
        }

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> Text:
        values: dict[str, Any] = {
            name: Text.from_data(value) if isinstance(value, dict) else value
            for name, value in data["values"].items()
        }
        if "plural" in data:
            return Counted(data["text"], data["plural"], **values)
        return Text(data["text"], **values)


class Counted(Text):
    """A text with a singular and a plural: `Counted("One left", "%(number)d left", number=2)`."""

    def __init__(self, singular: str, plural: str, /, *, number: int, **values: object) -> None:
        super().__init__(singular, number=number, **values)
        self.plural, self.number = plural, number

    def __str__(self) -> str:
        return _translated(str(self.text), self.plural, self.number) % self.values

    def as_data(self) -> dict[str, Any]:
        return {**super().as_data(), "plural": self.plural}


def data_of(text: Text | str) -> str:
    """What `in_active_language` needs of a stored text: JSON in a text field.

    To check a `JSONField`, Django connects to the database before each command. That would create
    an empty database where one is missing and about to be restored.
    """
    return json.dumps(text.as_data()) if isinstance(text, Text) else ""


def in_active_language(text: str, data: str) -> str:
    """A stored text in the language that is active now.

    `data` is the JSON of `Text.as_data`. If it is empty, the text stays as it was stored.
    """
    return str(as_stored(text, data)) if data else text


def as_stored(text: str, data: str) -> Text:
    """A stored text as a value of another one. `data` is as for `in_active_language`."""
    return Text.from_data(json.loads(data)) if data else Text(text)


def joined(first: Text, *more: Text) -> Text:
    """Several sentences as one text."""
    if not more:
        return first
    return Text("%(error)s %(more)s", error=first, more=joined(*more))


def _as_data(value: object) -> object:
    if isinstance(value, Text):
        return value.as_data()
    return value if isinstance(value, str | int | float) else str(value)


def _translated(text: str, plural: str = "", number: int = 1) -> str:
    if not apps.apps_ready:
        return plural if plural and number != 1 else text
    if plural:
        return ngettext(text, plural, number)
    # For an empty text gettext returns the header of the message catalog.
    return gettext(text) if text else text
