"""The place on the page where somebody is: which part of the list they see.

It is in the page's address, and each form of the list sends it along, so that whoever pins or
deletes a backup comes back to the same place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from tenant_backup.models import LABEL_LENGTH, BackupQuerySet, Trigger

SHOWN = ("pinned", "manual", "failed")
"""What `show` may ask for. Anything else shows all backups."""


@dataclass(frozen=True, slots=True)
class Place:
    """A part of the list: the page of what is searched and shown. Empty: not restricted."""

    page: str = ""
    q: str = ""
    show: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Place:
        """As an address or a form gives it. Whatever makes no sense there is left out."""
        page, show = given.get("page", ""), given.get("show", "")
        # A database refuses some control characters, and no label has any.
        text = re.sub(r"[\x00-\x1f\x7f]", " ", given.get("q", "")).strip()
        return cls(
            page if re.fullmatch("[1-9][0-9]{0,5}", page) else "",
            text[:LABEL_LENGTH],
            show if show in SHOWN else "",
        )

    @property
    def restriction(self) -> dict[str, str]:
        """The search and the filter, those that there are."""
        return {key: text for key, text in (("q", self.q), ("show", self.show)) if text}

    @property
    def fields(self) -> dict[str, str]:
        """What a form has to send along."""
        return ({"page": self.page} if self.page else {}) | self.restriction

    @property
    def query(self) -> str:
        """What leads here, after the page's own address."""
        return f"?{urlencode(self.fields)}" if self.fields else ""

    @property
    def found_by(self) -> str:
        """What links to other parts of the same search have after their page's number."""
        return f"&{urlencode(self.restriction)}" if self.restriction else ""

    def filter(self, rows: BackupQuerySet) -> BackupQuerySet:
        """Those of these backups that are searched and shown."""
        if self.q:
            rows = rows.filter(label__icontains=self.q)
        if self.show == "pinned":
            return rows.filter(pinned=True)
        if self.show == "manual":
            return rows.filter(trigger=Trigger.MANUAL)
        if self.show == "failed":
            return rows.gone_wrong()
        return rows
