"""Draw whole reports (those of ``-v``) for a terminal: styled pieces of text that fit a width and an encoding.

A drawing is a list of segments: pairs of a text and its markup (color, bold). Each line end is a segment of its own.
pytest's terminal writer takes segments (``for text, style in draw(...): writer.write(text, **style)``) and decides
whether to use color; without such a writer, `text` joins the segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_gilprobe.model.safe_text import display_width, short_names, stacked_names
from pytest_gilprobe.model.words import BROKEN
from pytest_gilprobe.report import curve_terminal, layout
from pytest_gilprobe.report.gathered import gathered
from pytest_gilprobe.report.screen import (
    END,
    GAP,
    INDENT,
    NOTE_STYLES,
    Page,
    Segment,
    Style,
    answer_style,
    columns,
    styled,
    table,
    text,
)
from pytest_gilprobe.report.views import Note, ReportView, StrategyView, WorkloadView

if TYPE_CHECKING:
    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.strategies.registry import Strategies

_LEAST_WIDTH = 20
_LEAST_NAME = 16
_COMFORTABLE_NAME = 30


def draw(report: Report, strategies: Strategies, *, width: int = 80, encoding: str = "utf-8") -> list[Segment]:
    """Draw a whole report for a terminal, as segments (texts with markup).

    The parts are the head, a table of workloads (or a list, if no table fits), the notes on each workload, and the
    workloads that were not measured.

    Args:
        report: the report to draw.
        strategies: the registered strategies, which provide the colors.
        width: width of the terminal in columns; a smaller width than 20 counts as 20.
        encoding: encoding of the output; characters that this encoding lacks are replaced, mostly by visible escapes.
    """
    return draw_view(layout.report_view(report, strategies), width=width, encoding=encoding)


def draw_view(view: ReportView, *, width: int = 80, encoding: str = "utf-8") -> list[Segment]:
    """Draw a report for a terminal, as segments (texts with markup).

    ``view`` is the report as texts, made by `pytest_gilprobe.report.layout`. ``width`` is the terminal's in columns;
    less than 20 counts as 20. Characters that ``encoding`` lacks are replaced, mostly by visible escapes.
    """
    page = Page(width=max(width, _LEAST_WIDTH), encoding=encoding)
    of_several, view = gathered(view)
    segments = list(_head(view, page))
    segments.extend(_notes(of_several, page) if of_several else ())
    segments.extend(_body(view, page))
    for workload in view.not_probed:
        segments.extend(_heading(workload.nodeid, page))
        segments.extend(_notes(workload.notes, page))
    return segments


def one_line(result: WorkloadResult, strategies: Strategies) -> str:
    """Format one line on a workload: its answer, the predicted speed-up, its name, and the reason."""
    view = layout.workload_view(result, strategies)
    return f"{view.answer.word:<12} {view.answer.speedup:>5}  {view.nodeid}  {' '.join(view.notes[0].lines)}"


def word(result: WorkloadResult, strategies: Strategies) -> str:
    """Format the few words on a workload that stand beside pytest's ``PASSED``, such as ``threads 1.9x``.

    Strategies that failed, hung or crashed follow, such as in ``processes 1.7x, hung in threads``.
    """
    view = layout.workload_view(result, strategies)
    broken = [note.label for note in view.notes if view.broken and note.kind in BROKEN]
    return ", ".join([view.answer.text, *broken])


# Parts of a report


def _head(view: ReportView, page: Page) -> Iterator[Segment]:
    line = ""
    for fact in view.facts:
        said = page.fit(f"{fact.label}: {fact.value}")
        if line and display_width(line) + display_width(said) + GAP > page.width:
            yield from styled(page.wrap(line), {})
            line = ""
        line = f"{line}  {said}" if line else said
    yield from styled(page.wrap(line), {})
    yield from styled(page.wrap(view.summary), {"bold": True})
    yield END


def _body(view: ReportView, page: Page) -> Iterator[Segment]:
    drawn = view.probed and (
        _table(view, page, _on_one_line, short_names, _COMFORTABLE_NAME)
        or _table(view, page, _on_two_lines, _names_on_two_lines, _LEAST_NAME)
    )
    yield from drawn or ()
    if view.rule:
        yield from styled(page.wrap(view.rule), {})
        yield END
    for workload in view.probed:
        yield from _heading(workload.nodeid, page)
        if not drawn:
            yield from _figures_listed(workload, page)
        yield from _notes(workload.notes, page)
        yield from curve_terminal.draw(workload.curves, page)


_Row = tuple[str, ...]


def _table(
    view: ReportView,
    page: Page,
    lines: Callable[[ReportView], tuple[_Row, list[_Row]]],
    names: Callable[[Sequence[str], int], tuple[str, ...]],
    least: int,
) -> list[Segment]:
    """Draw the table of all workloads, or nothing where fewer than ``least`` columns are left for a long name.

    ``lines`` gives headers and rows without the names, ``names`` shortens these to a width.
    """
    headers, cells = lines(view)
    rows = [[page.fit(cell) for cell in row] for row in cells]
    left = page.width - sum(columns(headers, rows)) - GAP * len(headers)
    full = [page.fit(workload.nodeid) for workload in view.probed]
    if left < min(least, max(map(display_width, full))):
        return []
    title = view.headers[0] + "\n" * headers[0].count("\n")
    named = [(name, *row) for name, row in zip(names(full, left), rows, strict=True)]
    marks = [answer_style(workload.answer.color) for workload in view.probed]
    return [*table((title, *headers), named, marks, page.width), END]


def _on_one_line(view: ReportView) -> tuple[_Row, list[_Row]]:
    """Give headers and rows with the answer's word in the last column."""
    _, strategy, *headers = view.headers
    rows = [(*view.cells(workload)[2:], _word(workload)) for workload in view.probed]
    return (*headers, strategy), rows


def _on_two_lines(view: ReportView) -> tuple[_Row, list[_Row]]:
    """Give the same with two lines a row: a figure above its interval, the bound above the CPU."""
    _, strategy, bound, cpu, per_call, *names, gil = view.headers
    headers = (f"{bound}\n{cpu}", *map(_broken, (per_call, *names, gil, strategy)))
    return headers, [_cells_on_two_lines(workload, view.columns) for workload in view.probed]


def _broken(title: str) -> str:
    """Break a title between its words, or behind a colon; one of a single word has an empty second line."""
    first, space, second = title.partition(" ")
    if not space and ":" in title:
        first, second = title[: title.index(":") + 1], title[title.index(":") + 1 :]
    return f"{first}\n{second}"


def _cells_on_two_lines(workload: WorkloadView, names: Sequence[str]) -> _Row:
    bound = "?" if workload.bound == "inconclusive" else workload.bound
    return (
        f"{bound}\n{workload.cpu}",
        f"{workload.per_call}\n",
        *(_speedup_on_two_lines(workload.strategy(name)) for name in names),
        f"{workload.gil}\n{workload.gil_share}",
        _word(workload).replace(" or ", " or\n")
        if workload.answer.left
        else f"{_word(workload)}\n{workload.answer.speedup}",
    )


def _word(workload: WorkloadView) -> str:
    """Give the answer in a word, or the strategies that an open one leaves: ``threads or processes?``."""
    return workload.answer.asked if workload.answer.left else workload.answer.word


def _speedup_on_two_lines(strategy: StrategyView | None) -> str:
    if strategy is None:
        return "\n"
    interval = strategy.interval.strip("[]").replace(", ", "-")
    return f"{strategy.value}\n{interval}"


def _names_on_two_lines(nodeids: Sequence[str], width: int) -> tuple[str, ...]:
    return tuple("\n".join(name) for name in stacked_names(nodeids, width))


def _figures_listed(workload: WorkloadView, page: Page) -> Iterator[Segment]:
    """List a workload's figures, where no table fits."""
    yield from styled(page.wrap(workload.answer.text, INDENT), answer_style(workload.answer.color))
    facts = f"{workload.bound}, {workload.cpu} CPU, {workload.per_call} per call, GIL {workload.gil_text}"
    yield from styled(page.wrap(facts, INDENT), {})
    longest = max((display_width(strategy.name) for strategy in workload.parallel), default=0)
    for strategy in workload.parallel:
        yield from styled(page.wrap(f"{strategy.name:<{longest}} {strategy.speedup}", INDENT), {})


def _heading(nodeid: str, page: Page) -> Iterator[Segment]:
    return styled(page.wrap(nodeid), {"bold": True})


def _notes(notes: Sequence[Note], page: Page) -> Iterator[Segment]:
    for note in notes:
        lead = "" if note.label == "why" else f"{note.label}: "
        tail = f" [{note.slug}]" if note.slug else ""
        marks = NOTE_STYLES.get(note.kind, NOTE_STYLES.get(note.label, {}))
        first, *others = [*note.lines[:-1], f"{note.lines[-1]}{tail}"]
        yield from styled(page.wrap(f"{lead}{first}", INDENT), marks)
        for line in others:
            yield from styled(page.wrap(line, INDENT * 2), marks)
    yield END


__all__ = ["Segment", "Style", "draw", "draw_view", "one_line", "text", "word"]
