"""Small lines: how many rows each table had in the last backups, and where it lost most of them.

Pure functions: numbers go in, the paths of small SVGs come out, in whole units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

BackupT = TypeVar("BackupT")

Numbers = Mapping[str, int | None]
"""The number of rows of each table in one backup; None if it could not be counted."""

WIDTH, HEIGHT = 80, 20
"""The room for one line, in the SVG's units. A circle at its edge must fit in, too."""

EDGE = 3

POINTS = 15
"""A line goes through about so many points, however many backups there are."""


@dataclass(frozen=True, slots=True)
class Fall(Generic[BackupT]):
    """The step from one backup to the next at which a table lost the largest part of its rows."""

    before: BackupT
    after: BackupT
    rows_before: int
    rows_after: int
    x: int
    y: int

    @property
    def share(self) -> float:
        return 1 - self.rows_after / self.rows_before


@dataclass(frozen=True, slots=True)
class RowLine(Generic[BackupT]):
    """One table: its numbers of rows as a line, oldest first."""

    table: str
    path: str
    first: int
    last: int
    fall: Fall[BackupT] | None
    """None if it has never lost rows, or has more today than before."""
    is_lost: bool = False
    """Whether that is a finding."""

    @property
    def has_changed(self) -> bool:
        return self.fall is not None or self.first != self.last

    @property
    def rank(self) -> tuple[bool, float, bool, str]:
        """The place in a list of what is worth a look, the first being worth most."""
        share = self.fall.share if self.fall else 0.0
        return (not self.is_lost, -share, not self.has_changed, self.table)


def lines(
    states: Sequence[tuple[BackupT, Numbers]], tables: Iterable[str], *, lost: Iterable[str] = ()
) -> list[RowLine[BackupT]]:
    """The line of each of these tables, what is worth most of a look first.

    `states` are the backups, oldest first. A table that was counted in fewer than two has no line.
    """
    findings = set(lost)
    drawn = (_line(states, table, is_lost=table in findings) for table in tables)
    return sorted((line for line in drawn if line), key=lambda line: line.rank)


def _line(
    states: Sequence[tuple[BackupT, Numbers]], table: str, *, is_lost: bool
) -> RowLine[BackupT] | None:
    counted = [
        (place, backup, number)
        for place, (backup, numbers) in enumerate(states)
        # A table that is not there has lost all its rows; one that was not counted, nobody knows.
        if (number := numbers.get(table, 0)) is not None
    ]
    if len(counted) < 2:
        return None
    most, last = max(number for *_, number in counted), counted[-1][2]
    step = (WIDTH - 2 * EDGE) / max(len(states) - 1, 1)

    def point(place: int, number: int) -> tuple[int, int]:
        room = HEIGHT - 2 * EDGE
        return round(EDGE + place * step), HEIGHT - EDGE - round(room * number / (most or 1))

    falls = [
        (number, Fall(before, after, rows, left, *point(place, left)))
        for number, ((_, before, rows), (place, after, left)) in enumerate(pairwise(counted), 1)
        # What has come back since is no loss.
        if left < rows and last < rows
    ]
    step_down, fall = max(falls, key=lambda found: found[1].share, default=(None, None))
    shown = _some(len(counted), step_down)
    return RowLine(
        table,
        _path([point(counted[number][0], counted[number][2]) for number in shown]),
        counted[0][2],
        last,
        fall,
        is_lost,
    )


def _some(number: int, step_down: int | None) -> list[int]:
    """Some of so many places, evenly: with both ends, and with both sides of the step down."""
    apart = -(-number // POINTS)
    places = {*range(0, number, apart), number - 1}
    if step_down is not None:
        places |= {step_down - 1, step_down}
    return sorted(places)


def _path(points: Sequence[tuple[int, int]]) -> str:
    """The line through these points, without those in the middle of a level part."""
    heights = [y for _, y in points]
    needed = [
        f"{x} {y}"
        for number, (x, y) in enumerate(points)
        if number in (0, len(points) - 1) or len(set(heights[number - 1 : number + 2])) > 1
    ]
    return f"M{' '.join(needed)}"
