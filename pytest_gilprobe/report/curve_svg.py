"""Draw curves as one SVG picture: throughput by number of workers, on axes that are logarithmic to base 2.

On such axes, a straight diagonal means that workers do not hinder each other, and a curve that becomes level has met a
limit. All text is escaped for HTML.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from pytest_gilprobe.report.curve_layout import rate
from pytest_gilprobe.report.curve_views import CurvePoint, CurveView

_WIDTH, _HEIGHT = 480, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 96, 12, 34
_MOST_LINES = 8
_SAME = 1.1
"""Ratio of two curves' roofs up to which they are one: each is a multiple of its curve's own throughput of one."""
_CLOSE = 11
"""Smallest distance between two labels, in units of the picture."""


class _Axes(NamedTuple):
    """The logarithms to base 2 at the ends of both axes."""

    most: float
    low: float
    high: float

    def x(self, workers: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log2(workers) / max(self.most, 1.0), 1)

    def y(self, per_s: float) -> float:
        share = (math.log2(per_s) - self.low) / (self.high - self.low)
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(max(share, 0.0), 1.0), 1)

    def holds(self, per_s: float) -> bool:
        return self.low <= math.log2(per_s) <= self.high


def picture(curves: Sequence[CurveView]) -> str:
    """Return one SVG picture with all ``curves`` of one workload.

    A curve with fewer than two points is left out. The text is empty if no curve is left.
    """
    shown = [curve for curve in curves if len(curve.points) > 1]
    if not shown:
        return ""
    points = [point for curve in shown for point in curve.points]
    low, high = math.log2(min(point.low for point in points)), math.log2(max(point.high for point in points))
    axes = _Axes(math.log2(max(point.workers for point in points)), low - 0.2, max(high, low + 1) + 0.3)
    parts = [*_grid(axes, points), *_limits(axes, shown), *(part for curve in shown for part in _curve(axes, curve))]
    names = _names(axes, shown)
    said = escape("; ".join(curve.said for curve in shown))
    drawn, box = "".join([*parts, *names]), f"0 0 {_WIDTH} {_HEIGHT}"
    return f'<svg class="curve" role="img" aria-label="{said}" viewBox="{box}">{drawn}</svg>'


def _grid(axes: _Axes, points: Sequence[CurvePoint]) -> Iterator[str]:
    """Draw lines of doubled throughput with their labels, and the numbers of workers that were measured."""
    least = min(point.value for point in points)
    apart = max(1, math.ceil((axes.high - axes.low) / _MOST_LINES))
    for power in range(0, math.ceil(axes.high - axes.low) + 1, apart):
        per_s = least * 2.0**power
        if axes.holds(per_s):
            y = axes.y(per_s)
            yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
            yield f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{escape(rate(per_s))}/s</text>'
    last = -math.inf
    for workers in sorted({point.workers for point in points}):
        x = axes.x(workers)
        if x - last >= _CLOSE * 2:
            yield f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{workers}</text>'
            last = x
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text class="soft" x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">workers</text>'


def _limits(axes: _Axes, curves: Sequence[CurveView]) -> Iterator[str]:
    """Draw what workers would give that do not hinder each other, and the roofs that are in sight."""
    alone = next((curve.alone for curve in curves if curve.alone is not None), None)
    if alone is not None and axes.holds(alone):
        end = min(2.0**axes.most, 2.0**axes.high / alone)
        yield _line(
            "ideal", (axes.x(1), axes.y(alone)), (axes.x(end), axes.y(alone * end)), "each as fast as one alone"
        )
    yield from _machines(axes, curves)
    last = -math.inf
    for name, per_s in sorted(_roofs(curves), key=lambda roof: -roof[1]):
        if per_s > 0 and axes.holds(per_s):
            y = axes.y(per_s)
            yield _line("roof", (_LEFT, y), (_WIDTH - _RIGHT, y), f"{name}: {rate(per_s)} calls/s at most")
            last = max(y - 4, last + _CLOSE)
            yield f'<text class="soft" x="{_LEFT + 4}" y="{last}">{escape(name)}</text>'


def _machines(axes: _Axes, curves: Sequence[CurveView]) -> Iterator[str]:
    """Draw what the machine would give to calls that compute, once where all curves agree."""
    known = [curve for curve in curves if len(curve.machine) > 1 and min(per_s for _, per_s in curve.machine) > 0]
    known = [curve for curve in known if axes.holds(curve.machine[-1][1])]
    ends = [curve.machine[-1][1] for curve in known]
    same = len(known) == len(curves) and max(ends) <= _SAME * min(ends)
    for curve in known[:1] if same else known:
        path = " ".join(f"{axes.x(workers)},{axes.y(per_s)}" for workers, per_s in curve.machine)
        workers, per_s = curve.machine[-1]
        name = "the machine" if same else f"the machine, {curve.name}"
        said = f"{name}: {rate(per_s)} calls/s at most with {workers} workers"
        yield f'<polyline class="roof" points="{path}"><title>{escape(said)}</title></polyline>'
        at = f'x="{axes.x(workers) - 4}" y="{axes.y(per_s) - 4}" text-anchor="end"'
        yield f'<text class="soft" {at}>{escape(name)}</text>'


def _roofs(curves: Sequence[CurveView]) -> Iterator[tuple[str, float]]:
    """Yield one roof for each limit that all curves share; one that differs, or that some lack, names its curve."""
    for name in dict.fromkeys(name for curve in curves for name, _ in curve.roofs):
        found = [(curve.name, per_s) for curve in curves for one, per_s in curve.roofs if one == name]
        values = [per_s for _, per_s in found]
        if len(found) == len(curves) and max(values) <= _SAME * min(values):
            yield name, values[0]
        else:
            yield from ((f"{name}, {of}", per_s) for of, per_s in found)


def _line(kind: str, start: tuple[float, float], end: tuple[float, float], said: str) -> str:
    ends = f'x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}"'
    return f'<line class="{kind}" {ends}><title>{escape(said)}</title></line>'


def _curve(axes: _Axes, curve: CurveView) -> Iterator[str]:
    path = " ".join(f"{axes.x(point.workers)},{axes.y(point.value)}" for point in curve.points)
    yield f'<g class="{escape(curve.color)}"><polyline points="{path}"/>'
    for point in curve.points:
        x, y = axes.x(point.workers), axes.y(point.value)
        yield f'<line class="ci" x1="{x}" x2="{x}" y1="{axes.y(point.low)}" y2="{axes.y(point.high)}"/>'
        said = escape(f"{point.workers} {curve.name}: {point.rate} calls/s {point.gain}".rstrip())
        knee = f'<circle class="knee" cx="{x}" cy="{y}" r="7"/>' if point.is_enough else ""
        yield f'{knee}<circle cx="{x}" cy="{y}" r="3"><title>{said}</title></circle>'
    yield "</g>"


def _names(axes: _Axes, curves: Sequence[CurveView]) -> Iterator[str]:
    """Name each curve beside its last point, none on top of another."""
    ends = sorted(((axes.y(curve.points[-1].value), curve) for curve in curves), key=lambda pair: pair[0])
    last = -math.inf
    for y, curve in ends:
        last = max(y + 4, last + _CLOSE + 2)
        x = axes.x(curve.points[-1].workers) + 10
        yield f'<text class="name {escape(curve.color)}" x="{x}" y="{last}">{escape(curve.name)}</text>'
