"""The terminal: how wide it is, whether it shows colours, and how a table fits it."""

import os
import re
import shutil
from collections.abc import Sequence
from textwrap import wrap
from typing import Protocol
from unicodedata import combining, east_asian_width

NARROWEST = 40
GAP = "  "
INDENT = "    "
NOTHING = "-"
"""Stands for an empty cell in the middle of a row."""
FIRST = 2
"""So many columns stay on a row's first line, however narrow the terminal is."""

COMMAND = re.compile(r"(?<=: )python .+$")
UNBREAKABLE = "\0"
"""Stands for a space of a command while its line is broken. No text that is printed has one."""


class Stream(Protocol):
    def isatty(self) -> bool: ...


def width_of(stream: Stream) -> int | None:
    """How many columns this terminal has; None if it is none: then nothing is cut or wrapped."""
    if not stream.isatty():
        return None
    return max(NARROWEST, shutil.get_terminal_size().columns)


def wants_no_colour() -> bool:
    """Whether the user asks all programs for no colours, see https://no-color.org."""
    return bool(os.environ.get("NO_COLOR"))


def cells(text: str) -> int:
    """How many columns a text takes: some signs take two, and some take none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text
    )


def shortened(text: str, width: int) -> str:
    """A text in so many columns: if it is longer, its middle is an ellipsis."""
    if cells(text) <= width:
        return text
    end = ""
    while cells(end) < (width - 1) // 2:
        end = text[-len(end) - 1] + end
    start = ""
    while cells(start + text[len(start)] + end) < width:
        start += text[len(start)]
    return f"{start}…{end}"


def paragraph(text: str, width: int | None, indent: str = "") -> str:
    """Text in lines of the terminal's width.

    A path stays whole, and so does a command at the end of a line, so that they can be copied.
    """
    if width is None:
        return indent + text
    lines = [
        wrap(
            COMMAND.sub(lambda match: match[0].replace(" ", UNBREAKABLE), line),
            width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.splitlines()
    ]
    return "\n".join("\n".join(part) for part in lines).replace(UNBREAKABLE, " ")


def columns(rows: Sequence[Sequence[str]], *, width: int | None = None) -> list[str]:
    """Rows in columns, the first of them the titles.

    Where they are wider than the terminal, each row's last cells come on lines below its first,
    and what is still too long is shortened.
    """
    sizes = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    number = len(sizes)
    if width is not None and _total(sizes) > width:
        sizes[:FIRST] = [min(size, width // 4) for size in sizes[:FIRST]]
        number = max(
            n for n in range(1, len(sizes) + 1) if n <= FIRST or _total(sizes[:n]) <= width
        )
    lines = []
    for row in rows:
        first = GAP.join(
            _padded(cell, size) for cell, size in zip(row[:number], sizes[:number], strict=True)
        )
        lines.append("\n".join([first.rstrip(), *_below(row[number:], width)]))
    return lines


def _total(sizes: Sequence[int]) -> int:
    return sum(sizes) + len(GAP) * (len(sizes) - 1)


def _padded(cell: str, size: int) -> str:
    cell = shortened(cell, size)
    return cell + " " * (size - cells(cell))


def _below(row: Sequence[str], width: int | None) -> list[str]:
    """The cells that have no place on the first line, as many on each line as fit."""
    lines: list[str] = []
    if width is None:
        return lines
    for cell in row:
        if cell in ("", NOTHING):
            continue
        if lines and cells(lines[-1] + GAP + cell) <= width:
            lines[-1] += GAP + cell
        else:
            lines.append(INDENT + shortened(cell, width - len(INDENT)))
    return lines
