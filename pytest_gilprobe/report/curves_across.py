"""Put curves of throughput by number of workers from several reports, such as one for each Python, side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.report.comparison_views import CurvesAcross
from pytest_gilprobe.report.curve_layout import curve_views

if TYPE_CHECKING:
    from pytest_gilprobe.model.comparison import Comparison, Row
    from pytest_gilprobe.report.curve_views import CurveView
    from pytest_gilprobe.strategies.registry import Strategies

_COLORS = ("blue", "orange", "green", "purple", "cyan", "pink")
_FEWEST = 2


def curves_across(comparison: Comparison, strategies: Strategies) -> tuple[CurvesAcross, ...]:
    """Collect the curves (throughput by number of workers) that a comparison of reports shows side by side.

    The result has an entry for each workload and strategy for which at least two reports have a curve. Each report has
    a color of its own. ``strategies`` are the registered strategies, which know what limits a curve.
    """
    return tuple(one for row in comparison.rows for one in _of_row(row, comparison, strategies))


def _of_row(row: Row, comparison: Comparison, strategies: Strategies) -> list[CurvesAcross]:
    found: dict[str, list[CurveView]] = {}
    for at, (column, cell) in enumerate(zip(comparison.columns, row.cells, strict=True)):
        if cell is None:
            continue
        for name in cell.result.scaling or {}:
            label, color = safe_line(column.label), _COLORS[at % len(_COLORS)]
            (curve,) = curve_views(cell.result, strategies, column.report.environment, only=name)
            named = replace(curve, name=label, color=color, said=f"{label}: {curve.said}")
            found.setdefault(name, []).append(named)
    return [
        CurvesAcross(nodeid=safe_line(row.nodeid), strategy=safe_line(name), curves=tuple(curves))
        for name, curves in found.items()
        if sum(bool(curve.points) for curve in curves) >= _FEWEST
    ]
