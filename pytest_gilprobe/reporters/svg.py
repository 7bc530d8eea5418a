"""Draw the pictures inside a page as SVG: bars with their intervals, and stacks of where the time goes.

These are functions rather than templates because they make up most of a page: one call here stands for some thirty
template expressions.
"""

from __future__ import annotations

from html import escape

from pytest_gilprobe.reporters.pictures import Bar, Scale
from pytest_gilprobe.reporters.views import StrategyView

_LEAST_LABELLED = 18
"""A slice narrower than this percentage has no room for its share on a phone."""


def bar(strategy: StrategyView, scale: Scale) -> str:
    """Draw a strategy's speed-up as a bar with its interval, and the scale's marks across it."""
    drawn = "" if strategy.bar is None else _bar(strategy.name, strategy.bar)
    marks = "".join(_upright(f"m-{mark.kind}", mark.at, 0, 24) for mark in scale.marks)
    interval = _interval(strategy.bar) if strategy.bar is not None and strategy.interval else ""
    said = escape(f"{strategy.name}: speed-up {strategy.speedup}")
    return f'<svg class="bar" role="img" aria-label="{said}">{drawn}{marks}{interval}</svg>'


def stack(strategy: StrategyView) -> str:
    """Draw where a strategy's time goes as slices of one bar, the wide ones with their share."""
    said = escape(f"{strategy.name}: {', '.join(f'{part.share} {part.label}' for part in strategy.slices)}")
    slices = "".join(
        f'<rect class="c-{part.kind}" x="{part.start}%" width="{part.width}%" y="3" height="18">'
        f"<title>{escape(part.share)} {escape(part.label)}</title></rect>"
        for part in strategy.slices
    )
    labels = "".join(
        f'<text class="l-{part.kind}" x="{part.start}%" dx="5" y="16">{escape(part.share)}</text>'
        for part in strategy.slices
        if part.width >= _LEAST_LABELLED
    )
    return f'<svg class="stack" role="img" aria-label="{said}">{slices}{labels}</svg>'


def _bar(name: str, drawn: Bar) -> str:
    return f'<rect class="t-{name}" y="5" height="14" width="{drawn.end}%"/>'


def _interval(drawn: Bar) -> str:
    across = f'<line class="ci" x1="{drawn.low}%" x2="{drawn.high}%" y1="12" y2="12"/>'
    return across + _upright("ci", drawn.low, 8, 16) + _upright("ci", drawn.high, 8, 16)


def _upright(kind: str, at: float, top: int, bottom: int) -> str:
    return f'<line class="{kind}" x1="{at}%" x2="{at}%" y1="{top}" y2="{bottom}"/>'
