"""Draw what a page has most of: badges, bars with their intervals, and stacks of where the time goes, as SVG.

These are functions rather than templates because they make up most of a page: one call here stands for some thirty
template expressions. All text in them is escaped here.
"""

from __future__ import annotations

from functools import lru_cache
from html import escape

from pytest_gilprobe.reporters import layout
from pytest_gilprobe.reporters.pictures import Bar, Mark, Scale, Slice
from pytest_gilprobe.reporters.views import StrategyView, WorkloadView

KINDS = {answer: answer.replace(" ", "-") for answer in layout.ANSWERS}
"""The style class of each answer, after ``a-`` for a badge and ``e-`` for a card."""
_SHAPES = {  # paths, not <use>: 5,000 rows with <use> take seconds to sort
    "threads": "M1.5 4h13M1.5 8h13M1.5 12h13",
    "processes": "M1.5 4.5h5v7h-5zM9.5 4.5h5v7h-5z",
    "serial": "M1.5 8h12M9.5 4l4 4-4 4",
    "inconclusive": "M4.7 5.6a3.3 3.3 0 1 1 5.2 2.7c-1.2.8-1.9 1.2-1.9 2.5M8 13.4v.4",
    "scanned": "M1.5 8c3.5-5.5 9.5-5.5 13 0c-3.5 5.5-9.5 5.5-13 0M8 8v.01",
    "not probed": "M4 8h8",
    "error": "M3.5 3.5l9 9M12.5 3.5l-9 9",
}
"""The sign of each answer, so that colour is not the only one: on a grid of 16 by 16."""
_DISTINCT = 1024

_LEAST_LABELLED = 9
"""A slice narrower than this percentage has no room for its share."""
_LEAST_ON_A_PHONE = 18
"""The same on a phone."""
_HALF = 50


@lru_cache(maxsize=_DISTINCT)
def badge(answer: str, beside: str | int = "") -> str:
    """Draw an answer as a word with its sign and colour, and a speed-up or a number beside it."""
    more = f" <b>{escape(str(beside))}</b>" if beside else ""
    sign = f'<svg aria-hidden="true" viewBox="0 0 16 16"><path d="{_SHAPES[answer]}"/></svg>'
    return f'<span class="badge a-{KINDS[answer]}">{sign}{escape(answer)}{more}</span>'


def evidence(workload: WorkloadView) -> str:
    """Draw a table's row for each strategy: its speed-up in figures and as a bar, and where its time goes."""
    return "\n".join(_row(strategy, workload.scale) for strategy in workload.strategies)


def _row(strategy: StrategyView, scale: Scale | None) -> str:
    interval = f' <span class="range">{escape(strategy.interval)}</span>' if strategy.interval else ""
    drawn = bar(strategy, scale) if strategy.bar is not None and scale is not None else ""
    time = stack(strategy) if strategy.slices else '<span class="none">not measured</span>'
    return (
        f'<tr><th scope="row">{escape(strategy.name)}</th>'
        f'<td><span class="num o-{escape(strategy.outcome)}">{escape(strategy.value)}</span>{interval}{drawn}</td>'
        f"<td>{time}</td></tr>"
    )


def bar(strategy: StrategyView, scale: Scale) -> str:
    """Draw a strategy's speed-up as a bar with its interval, and the scale's marks across it."""
    drawn = "" if strategy.bar is None else _bar(strategy.name, strategy.bar)
    marks = "".join(_upright(f"m-{mark.kind}", mark.at, 0, 24) for mark in scale.marks)
    interval = _interval(strategy.bar) if strategy.bar is not None and strategy.interval else ""
    said = escape(f"{strategy.name}: speed-up {strategy.speedup}")
    return f'<svg class="bar" role="img" aria-label="{said}">{drawn}{marks}{interval}</svg>'


def axis(scale: Scale) -> str:
    """Name the scale's marks: the ceiling above, 1x and the workers below it. The report's head says it too."""
    names = "".join(_name(mark) for mark in scale.marks)
    return f'<svg class="axis" aria-hidden="true">{names}</svg>'


def stack(strategy: StrategyView) -> str:
    """Draw where a strategy's time goes as slices of one bar, the wide ones with their share."""
    said = escape(f"{strategy.name}: {', '.join(f'{part.share} {part.label}' for part in strategy.slices)}")
    slices = "".join(
        f'<rect class="c-{part.kind}" x="{part.start}%" width="{part.width}%" y="3" height="18">'
        f"<title>{escape(part.share)} {escape(part.label)}</title></rect>"
        for part in strategy.slices
    )
    labels = "".join(map(_share, strategy.slices))
    return f'<svg class="stack" role="img" aria-label="{said}">{slices}{labels}</svg>'


def _share(part: Slice) -> str:
    if part.width < _LEAST_LABELLED:
        return ""
    kind = f"l-{part.kind}" if part.width >= _LEAST_ON_A_PHONE else f"l-{part.kind} small"
    return f'<text class="{kind}" x="{part.start}%" dx="5" y="16">{escape(part.share)}</text>'


def _name(mark: Mark) -> str:
    anchor, y = "middle", 24
    if mark.kind == "ceiling":  # close to the workers as a rule: on a line of its own
        anchor, y = ("end" if mark.at >= _HALF else "start"), 10
    return f'<text class="a-{mark.kind}" x="{mark.at}%" y="{y}" text-anchor="{anchor}">{escape(mark.label)}</text>'


def _bar(name: str, drawn: Bar) -> str:
    return f'<rect class="t-{name}" y="5" height="14" width="{drawn.end}%"/>'


def _interval(drawn: Bar) -> str:
    across = f'<line class="ci" x1="{drawn.low}%" x2="{drawn.high}%" y1="12" y2="12"/>'
    return across + _upright("ci", drawn.low, 8, 16) + _upright("ci", drawn.high, 8, 16)


def _upright(kind: str, at: float, top: int, bottom: int) -> str:
    return f'<line class="{kind}" x1="{at}%" x2="{at}%" y1="{top}" y2="{bottom}"/>'
