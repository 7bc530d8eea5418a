"""Draw curves (throughput by number of workers) for a terminal: for each a sentence, a table and the fitted formula."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_gilprobe.report.screen import END, INDENT, Page, Segment, answer_style, cut

if TYPE_CHECKING:
    from pytest_gilprobe.report.curve_views import CurvePoint, CurveView

_GAP = 2
_TITLES = ("workers", "calls/s", "+/-", "gain", "machine")

_LEGEND = "* enough workers"
_MACHINE = "machine: what as many threads that compute without a GIL gain"


def draw(curves: Sequence[CurveView], page: Page) -> Iterator[Segment]:
    """Draw each curve (throughput by number of workers) as a sentence, a table of its points and the fitted formula.

    The sentence says how many workers are enough. A table that is wider than ``page``, the terminal, is split into
    several tables.
    """
    for curve in curves:
        marks = answer_style(curve.color)
        for line in page.wrap(curve.said, INDENT):
            yield (line, {})
            yield END
        for points in _fitting(curve.points, page.width - len(INDENT) * 2):
            for line, point_line in _table(points):
                yield (cut(f"{INDENT * 2}{page.fit(line)}", page.width), marks if point_line else {})
                yield END
        if any(point.is_enough for point in curve.points):
            yield (cut(f"{INDENT * 2}{_LEGEND}", page.width), {})
            yield END
        if any(point.machine for point in curve.points):
            yield (cut(f"{INDENT * 2}{_MACHINE}", page.width), {})
            yield END
        for line in page.wrap(f"law: {curve.law}", INDENT * 2) if curve.law else ():
            yield (line, {})
            yield END
    if curves:
        yield END


def _cells(point: CurvePoint) -> tuple[str, ...]:
    mark = "*" if point.is_enough else ""
    return f"{point.workers}{mark}", point.rate, point.margin, point.gain, point.machine


def _width(point: CurvePoint) -> int:
    return max(map(len, _cells(point))) + _GAP


def _fitting(points: Sequence[CurvePoint], room: int) -> Iterator[Sequence[CurvePoint]]:
    """Split points into groups whose table fits."""
    left = room - max(map(len, _TITLES))
    group: list[CurvePoint] = []
    used = 0
    for point in points:
        if group and used + _width(point) > left:
            yield group
            group, used = [], 0
        group.append(point)
        used += _width(point)
    if group:
        yield group


def _table(points: Sequence[CurvePoint]) -> Iterator[tuple[str, bool]]:
    title_width = max(map(len, _TITLES))
    columns = [(_cells(point), _width(point)) for point in points]
    for row, title in enumerate(_TITLES):
        if any(cells[row] for cells, _ in columns):
            line = f"{title:<{title_width}}" + "".join(f"{cells[row]:>{width}}" for cells, width in columns)
            yield line.rstrip(), row == 0
