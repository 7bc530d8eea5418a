"""Make pieces of styled text for a terminal: lines and tables that fit the terminal's width and encoding.

A drawing is a sequence of segments: pairs of a text and its markup (color, bold). Each line end is a segment.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pytest_gilprobe.model.safe_text import display_width, encodable

Style = dict[str, bool]
"""Markup as keyword arguments of pytest's ``TerminalWriter.write``: ``{"green": True, "bold": True}``."""
Segment = tuple[str, Style]
"""A piece of text, with its color and boldness as keyword arguments of pytest's ``TerminalWriter.write``."""

_ANSI = {"bold": 1, "light": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "purple": 35, "cyan": 36}
_NEAREST = {"pink": "purple", "orange": "cyan"}
"""The color that a terminal shows in place of one that only the HTML page has."""
GAP = 2
"""Number of spaces between two columns of a table."""
INDENT = "  "
_LEAST_COLUMNS = 10
_TIE = "\N{NO-BREAK SPACE}"
"""Stands in for the space before a per cent sign, so that no line breaks there. No text contains it otherwise."""
NOTE_STYLES: dict[str, Style] = {  # by kind of note
    "error": {"red": True, "bold": True},
    "failed": {"red": True},
    "hung": {"red": True},
    "crashed": {"red": True},
    "caution": {"yellow": True},
    "warning": {"red": True},
}
END: Segment = ("\n", {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A terminal to draw on: its ``width`` in columns, and the ``encoding`` of its output."""

    width: int
    encoding: str

    def fit(self, said: str) -> str:
        """Return ``said`` with escapes for what the terminal's encoding lacks, and with ``u`` for a micro sign."""
        return encodable(said, self.encoding)

    def wrap(self, said: str, indent: str = "") -> list[str]:
        """Break the text ``said`` into lines that are no wider than the terminal.

        The first line begins with ``indent`` (spaces); each later line begins with ``indent`` and two more spaces.
        """
        said = self.fit(said)
        if display_width(said) + len(indent) <= self.width:
            return [indent + said]
        room = max(self.width * len(said) // max(display_width(said), 1), _LEAST_COLUMNS)  # fewer if wide ones
        lines = textwrap.wrap(
            said.replace(" %", f"{_TIE}%"),
            room,
            initial_indent=indent,
            subsequent_indent=indent + INDENT,
            break_on_hyphens=False,
        )
        return [line.replace(_TIE, " ").rstrip() for line in lines] or [indent]


def answer_style(color: str) -> Style:
    """Return the markup of an answer: bold and in ``color``, or the nearest color of a terminal; empty for gray."""
    shown = _NEAREST.get(color, color)
    return {shown: True, "bold": True} if shown in _ANSI else {}


def text(segments: Iterable[Segment], *, color: bool) -> str:
    """Join segments (texts with markup) into one text; ANSI escapes stand for the markup if ``color`` is true."""
    return "".join(_paint(said, marks) if color else said for said, marks in segments)


def styled(lines: Iterable[str], marks: Style) -> Iterator[Segment]:
    """Yield two segments (texts with markup) for each line: the line with the markup ``marks``, and a line end."""
    for line in lines:
        yield (line, marks)
        yield END


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[Style], width: int) -> list[Segment]:
    """Draw a table for a terminal, as segments (texts with markup).

    A cell may have several lines, but each row must have as many lines as the headers. ``styles`` has one markup for
    each row, which applies to the first line of the row's last cell. Cells are not wrapped: a line that is wider than
    ``width`` columns is cut.
    """
    from tabulate import tabulate  # noqa: PLC0415 only a session that draws a table pays for it

    height = headers[-1].count("\n") + 1
    rule = ["-" * needed for needed in columns(headers, rows)]
    lines = tabulate([headers, rule, *rows], tablefmt="plain", disable_numparse=True).split("\n")
    segments: list[Segment] = []
    for number, line in enumerate(lines):
        shown = cut(line.rstrip(), width)
        at, within = divmod(number - height - 1, height)
        cell = rows[at][-1].split("\n")[0].rstrip() if at >= 0 and within == 0 else ""
        if cell and shown.endswith(cell):
            segments += [(shown[: -len(cell)], {}), (cell, styles[at]), END]
        else:
            segments += [(shown, {"bold": True} if number < height else {}), END]
    return segments


def columns(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of the widest line in each column of a table, in terminal columns.

    ``headers`` and each of ``rows`` have one cell for each column; a cell may have several lines.
    """
    cells = zip(headers, *rows, strict=True)
    return [max(display_width(line) for cell in column for line in cell.split("\n")) for column in cells]


def columns_at_once(needed: Sequence[int], room: int) -> int:
    """Return how many columns each table gets if a table that is too wide is split into several.

    The columns are spread evenly over as few tables as possible; the last table may get fewer. ``needed`` has the width
    of each column, and ``room`` is the width of the terminal without the names of the rows. The result is 0 if not even
    tables of one column fit.
    """
    fitting = [
        at_once
        for at_once in range(1, len(needed) + 1)
        if all(sum(needed[start : start + at_once]) + GAP * at_once <= room for start in range(0, len(needed), at_once))
    ]
    tables = -(-len(needed) // max(fitting, default=1))
    return -(-len(needed) // tables) if fitting else 0


def cut(line: str, width: int) -> str:
    """Return ``line`` without the end that is beyond ``width`` terminal columns."""
    while display_width(line) > width:
        line = line[:-1]
    return line


def _paint(said: str, marks: Style) -> str:
    codes = [str(code) for name, code in _ANSI.items() if marks.get(name)]
    return f"\x1b[{';'.join(codes)}m{said}\x1b[0m" if codes else said
