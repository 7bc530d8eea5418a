"""Draw parts of the HTML page: badges, bars of speed-ups, stacked bars of time shares, and drawings of call stacks.

These are functions rather than templates because such pictures make up most of a page: one call here replaces some
thirty template expressions. The functions return HTML and SVG as text, in which all names are escaped.
"""

from __future__ import annotations

from functools import lru_cache
from html import escape

from pytest_gilprobe.report.geometry import Bar, Mark, Scale, Slice
from pytest_gilprobe.report.holder_views import IcicleCell, WhereView
from pytest_gilprobe.report.loop_views import LoopView
from pytest_gilprobe.report.views import AnswerView, StrategyView, WorkloadView

_DISTINCT = 1024

_LEAST_LABELLED = 9
"""A slice narrower than this percentage has no room for its share."""
_LEAST_ON_A_PHONE = 18
"""On a phone, a slice narrower than this percentage has no room for its share."""
_HALF = 50
_ROW = 24
"""Height of a row of an icicle, in pixels."""
_SHADES = 3
_LOOP_ICON = "M3 8a5 5 0 1 1 1.6 3.7M3 13.2v-3.4h3.4"
"""An arrow that goes round."""
_LEAST_NAMED = 3
"""A function of an icicle that is narrower than this percentage has no room for its name."""
_MOST_SAID = 20


@lru_cache(maxsize=_DISTINCT)
def badge(answer: AnswerView, beside: str | int = "") -> str:
    """Return the HTML of a badge: an answer as a colored word with an icon.

    ``beside``, such as a speed-up or a number of workloads, follows the word unless it is empty.
    """
    more = f" <b>{escape(str(beside))}</b>" if beside else ""
    kind = f"{answer.color} open" if answer.is_open else answer.color
    return f'<span class="badge {kind}">{_icon(answer.icon)}{escape(answer.word)}{more}</span>'


def _icon(path: str) -> str:
    """Draw an icon, so that color is not the only sign; a path, since 5,000 rows with <use> take seconds to sort."""
    return f'<svg class="icon" aria-hidden="true" viewBox="0 0 16 16"><path d="{escape(path)}"/></svg>'


def evidence(workload: WorkloadView) -> str:
    """Return the HTML of table rows, one for each strategy of a workload: speed-up, its bar, and how time was spent.

    A last row shows how the event loop spent its time, if that is known.
    """
    loop = [_loop_row(workload.loop)] if workload.loop.slices else []
    return "\n".join([*(_row(strategy, workload.scale) for strategy in workload.strategies), *loop])


def _loop_row(loop: LoopView) -> str:
    return (
        f'<tr class="gray"><th scope="row">{_icon(_LOOP_ICON)}event loop</th><td>{escape(loop.blocked)}</td>'
        f"<td>{_stripe('event loop', loop.slices)}</td></tr>"
    )


def _row(strategy: StrategyView, scale: Scale | None) -> str:
    interval = f' <span class="range">{escape(strategy.interval)}</span>' if strategy.interval else ""
    drawn = bar(strategy, scale) if strategy.bar is not None and scale is not None else ""
    name = escape(strategy.name).replace(":", ":<wbr>")
    time = stack(strategy) if strategy.slices else '<span class="none">not measured</span>'
    return (
        f'<tr class="{strategy.color}"><th scope="row">{_icon(strategy.icon)}{name}</th>'
        f'<td><span class="num o-{escape(strategy.outcome)}">{escape(strategy.value)}</span>{interval}{drawn}</td>'
        f"<td>{time}</td></tr>"
    )


def bar(strategy: StrategyView, scale: Scale) -> str:
    """Return an SVG bar of a strategy's speed-up and its confidence interval, crossed by the marks of the axis."""
    drawn = "" if strategy.bar is None else f'<rect class="gain" y="5" height="14" width="{strategy.bar.end}%"/>'
    marks = "".join(_upright(f"m-{mark.kind}", mark.at, 0, 24) for mark in scale.marks)
    interval = _interval(strategy.bar) if strategy.bar is not None and strategy.interval else ""
    said = escape(f"{strategy.name}: speed-up {strategy.speedup}")
    return f'<svg class="bar" role="img" aria-label="{said}">{drawn}{marks}{interval}</svg>'


def axis(scale: Scale) -> str:
    """Return the SVG labels of the marks on an axis of speed-ups.

    The machine's ceiling is labelled on an upper line, 1x and the number of workers on a lower line. Screen readers
    skip these labels, because the head of the report states the ceiling and the number of workers, too.
    """
    names = "".join(_name(mark) for mark in scale.marks)
    return f'<svg class="axis" aria-hidden="true">{names}</svg>'


def stack(strategy: StrategyView) -> str:
    """Return an SVG bar with one slice for each part of a strategy's time; wide slices show their percentage."""
    return _stripe(strategy.name, strategy.slices)


def _stripe(name: str, parts: tuple[Slice, ...]) -> str:
    said = escape(f"{name}: {', '.join(f'{part.share} {part.label}' for part in parts)}")
    slices = "".join(
        f'<rect class="c-{part.kind}" x="{part.start}%" width="{part.width}%" y="3" height="18">'
        f"<title>{escape(part.share)} {escape(part.label)}</title></rect>"
        for part in parts
    )
    labels = "".join(map(_share, parts))
    return f'<svg class="stack" role="img" aria-label="{said}">{slices}{labels}</svg>'


def icicle(where: WhereView) -> str:
    """Return an SVG drawing of the call stacks of threads that held the GIL.

    Each function lies below its caller, and is as wide as its share of the time for which the GIL is held.
    """
    cells = "".join(
        f'<svg{_tiny(cell)} x="{cell.start}%" width="{cell.width}%" y="{cell.depth * _ROW}" height="{_ROW - 1}">'
        f'<rect class="i-{cell.depth % _SHADES}" width="100%" height="100%"/><title>{escape(cell.said)}</title>'
        f'<text x="4" y="16">{escape(cell.label)}</text></svg>'
        for cell in where.icicle
    )
    said = escape("; ".join(cell.said for cell in where.icicle[:_MOST_SAID]))
    return f'<svg class="icicle" role="img" aria-label="{said}" height="{where.depth * _ROW}">{cells}</svg>'


def _tiny(cell: IcicleCell) -> str:
    """Hide a name that has no room, until the page's script makes its function wider."""
    return "" if cell.width >= _LEAST_NAMED else ' class="tiny"'


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


def _interval(drawn: Bar) -> str:
    across = f'<line class="ci" x1="{drawn.low}%" x2="{drawn.high}%" y1="12" y2="12"/>'
    return across + _upright("ci", drawn.low, 8, 16) + _upright("ci", drawn.high, 8, 16)


def _upright(kind: str, at: float, top: int, bottom: int) -> str:
    return f'<line class="{kind}" x1="{at}%" x2="{at}%" y1="{top}" y2="{bottom}"/>'
