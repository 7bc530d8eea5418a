"""Draw comparisons of reports for a terminal: the changes in words, cautions, the reports, and a table of answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_gilprobe.model.safe_text import stacked_names
from pytest_gilprobe.report import comparison_layout, curve_terminal
from pytest_gilprobe.report.screen import (
    END,
    GAP,
    INDENT,
    NOTE_STYLES,
    Page,
    Segment,
    answer_style,
    columns,
    columns_at_once,
    styled,
    table,
)

if TYPE_CHECKING:
    from pytest_gilprobe.model.comparison import Comparison
    from pytest_gilprobe.report.comparison_views import CellView, ComparisonView
    from pytest_gilprobe.strategies.registry import Strategies

_LEAST_WIDTH = 20
_LEAST_NAME = 16
_NAME_LINES = 2
_LEAST_AT_ONCE = 3
"""Smallest number of reports in a table of a comparison: if fewer fit beside each other, a list says more."""


def draw(comparison: Comparison, strategies: Strategies, *, width: int = 80, encoding: str = "utf-8") -> list[Segment]:
    """Draw a comparison of reports for a terminal.

    The drawing has the changes in words, cautions (warnings), a line on each report, and a table with a row for each
    workload and a column for each report; if no table fits, a list replaces it. Curves of throughput follow.

    Args:
        comparison: the comparison to draw.
        strategies: the registered strategies, which provide the colors.
        width: width of the terminal in columns; a smaller width than 20 counts as 20.
        encoding: encoding of the output; characters that this encoding lacks are replaced, mostly by visible escapes.
    """
    view = comparison_layout.comparison_view(comparison, strategies)
    page = Page(width=max(width, _LEAST_WIDTH), encoding=encoding)
    segments = [*styled(page.wrap(view.summary), {"bold": True}), END]
    for note in (*view.notes, *view.warnings):
        tail = f" [{note.slug}]" if note.slug else ""
        segments += styled(page.wrap(f"{note.label}: {note.lines[0]}{tail}"), NOTE_STYLES.get(note.kind, {}))
    segments.append(END)
    for column in view.columns:
        against = f" (against {column.against})" if column.against else ""
        said = ", ".join(fact.said for fact in column.facts)
        segments += styled(page.wrap(f"{column.label}{against}: {said}"), {})
    if view.facts:
        said = ", ".join(fact.said for fact in view.facts)
        segments += styled(page.wrap(f"all: {said}"), {})
    segments += [END, *_cells(view, page)]
    for across in view.curves:
        segments += styled(page.wrap(f"{across.nodeid}: how many {across.strategy}"), {"bold": True})
        segments += curve_terminal.draw(across.curves, page)
    if view.marks:
        segments += styled(page.wrap(view.marks), {})
    return segments


def _cells(view: ComparisonView, page: Page) -> Iterator[Segment]:
    """Draw the cells as a table, or as several below each other where the page is narrow, or else as a list."""
    height = 1 + max((len(cell.brief) for row in view.rows for cell in row.cells if cell), default=0)
    rest = "\n" * (max(height, _NAME_LINES) - 1)
    headers = [f"{page.fit(column.label)}{rest}" for column in view.columns]
    rows = [[page.fit(_cell(cell, rest)) for cell in row.cells] for row in view.rows]
    needed = columns(headers, rows)
    at_once = columns_at_once(needed, page.width - _LEAST_NAME)
    if at_once < min(_LEAST_AT_ONCE, len(headers)):
        yield from _cells_listed(view, page)
        return
    for start in range(0, len(headers), at_once):
        band = slice(start, start + at_once)
        left = page.width - sum(needed[band]) - GAP * len(needed[band])
        names = ["\n".join(name) for name in stacked_names([page.fit(row.nodeid) for row in view.rows], left)]
        named = [(name, *row[band]) for name, row in zip(names, rows, strict=True)]
        yield from table([f"workload{rest}", *headers[band]], named, [{}] * len(named), page.width)
        yield END


def _cell(cell: CellView | None, rest: str) -> str:
    """Give a cell's lines, as many as ``rest`` has and one more."""
    lines = [f"{cell.answer.asked}{cell.mark}", *cell.brief] if cell else ["-"]
    return "\n".join(lines) + rest[len(lines) - 1 :]


def _cells_listed(view: ComparisonView, page: Page) -> Iterator[Segment]:
    for row in view.rows:
        yield from styled(page.wrap(row.nodeid), {"bold": True})
        for column, cell in zip(view.columns, row.cells, strict=True):
            if cell:
                said = ", ".join([f"{cell.answer.text}{cell.mark}", *cell.facts])
                marks = answer_style(cell.answer.color) if cell.change else {}
                yield from styled(page.wrap(f"{column.label}: {said}", INDENT), marks)
        yield END
