"""The matrix of `listbackups --contents`: tables, and how many rows they have in which backup."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenant_backup.management.output import shown
from tenant_backup.management.terminal import columns

MOST_BACKUPS = 10
"""So many backups are shown unless somebody asks for more: nobody reads wider tables."""


@dataclass(slots=True)
class Matrix:
    """The numbers of rows today, and in each of several backups, by the backup's id."""

    today: Mapping[str, int | None]
    numbers: dict[int, Mapping[str, int | None]] = field(default_factory=dict)
    """In the order of the columns."""

    def lines(self, number: int) -> list[list[str]]:
        """The table's cells with so many backups, and the titles first."""
        backups = list(self.numbers)[:number]
        states = [self.today, *(self.numbers[pk] for pk in backups)]
        names = sorted({name for state in states for name in state})
        titles = ["TABLE", "TODAY", *(f"ID {pk}" for pk in backups)]
        return [titles, *([shown(name), *(_cell(each, name) for each in states)] for name in names)]

    def fitting(self, width: int | None) -> int:
        """How many of the backups have room beside each other; at least one."""
        number = len(self.numbers)
        while width is not None and number > 1:
            if max(map(len, columns(self.lines(number)))) <= width:
                break
            number -= 1
        return number

    def as_data(self) -> dict[str, Any]:
        """For programs: by the backup's id and the table's name."""
        return {
            str(pk): {
                name: {"rows": tables.get(name), "today": self.today.get(name)}
                for name in sorted({*tables, *self.today})
            }
            for pk, tables in self.numbers.items()
        }


def _cell(state: Mapping[str, int | None], name: str) -> str:
    if name not in state:
        return "-"
    rows = state[name]
    return "not counted" if rows is None else str(rows)
