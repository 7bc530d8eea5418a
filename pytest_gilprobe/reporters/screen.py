"""Pieces of styled text for a terminal: a page's width and encoding, lines and tables that fit it.

A drawing is a list of segments, each a piece of text and how to mark it up, with line ends as segments of their own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pytest_gilprobe.reporters.inert import display_width, encodable

Style = dict[str, bool]
"""Markup as pytest's terminal writer takes it: ``{"green": True, "bold": True}``."""
Segment = tuple[str, Style]
"""A piece of text and its markup."""

_ANSI = {"bold": 1, "light": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "purple": 35, "cyan": 36}
GAP = 2
"""Columns between two columns of a table."""
INDENT = "  "
_LEAST_COLUMNS = 10
_TIED = "\N{NO-BREAK SPACE}%"
"""Keeps a per cent sign on its number's line."""
STYLES: dict[str, Style] = {  # by answer, and by kind of note
    "threads": {"green": True, "bold": True},
    "processes": {"cyan": True, "bold": True},
    "serial": {"blue": True, "bold": True},
    "inconclusive": {"yellow": True, "bold": True},
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
    """Where text goes: how wide it may be, and what characters it may have."""

    width: int
    encoding: str

    def fit(self, said: str) -> str:
        """Keep to the page's characters."""
        return encodable(said, self.encoding)

    def wrap(self, said: str, indent: str = "") -> list[str]:
        """Break a text into lines that fit the page; all but the first are indented further."""
        said = self.fit(said)
        if display_width(said) + len(indent) <= self.width:
            return [indent + said]
        room = max(self.width * len(said) // max(display_width(said), 1), _LEAST_COLUMNS)  # fewer if wide ones
        lines = textwrap.wrap(
            said.replace(" %", _TIED),
            room,
            initial_indent=indent,
            subsequent_indent=indent + INDENT,
            break_on_hyphens=False,
        )
        return [line.replace(_TIED, " %") for line in lines] or [indent]


def text(segments: Iterable[Segment], *, color: bool) -> str:
    """Join segments to text, with ANSI escapes if ``color``."""
    return "".join(_paint(said, marks) if color else said for said, marks in segments)


def styled(lines: Iterable[str], marks: Style) -> Iterator[Segment]:
    """Mark up whole lines alike, each with its end."""
    for line in lines:
        yield (line, marks)
        yield END


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[Style], width: int) -> list[Segment]:
    """Draw a table without wrapping; ``styles`` mark up each row's last cell, which is on its first line.

    Every row has as many lines as the headers. Lines wider than ``width`` are cut.
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
    """Measure how wide each column of a table has to be, the gaps between columns not counted."""
    cells = zip(headers, *rows, strict=True)
    return [max(display_width(line) for cell in column for line in cell.split("\n")) for column in cells]


def cut(line: str, width: int) -> str:
    """Cut a line to a width in columns."""
    while display_width(line) > width:
        line = line[:-1]
    return line


def _paint(said: str, marks: Style) -> str:
    codes = [str(code) for name, code in _ANSI.items() if marks.get(name)]
    return f"\x1b[{';'.join(codes)}m{said}\x1b[0m" if codes else said
