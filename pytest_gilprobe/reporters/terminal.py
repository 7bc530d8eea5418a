"""Draw for a terminal: styled pieces of text that fit a width and an encoding.

A drawing is a list of segments, each a piece of text and how to mark it up, with line ends as segments of their
own. pytest's terminal writer takes them as they are, ``for text, style in draw(...): writer.write(text, **style)``,
and decides about colour; elsewhere `text` joins them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_gilprobe.comparison import Comparison
from pytest_gilprobe.model import Report, WorkloadResult
from pytest_gilprobe.reporters import layout, matrix
from pytest_gilprobe.reporters.inert import display_width, encodable, short_name, short_names, stacked_names
from pytest_gilprobe.reporters.screen import (
    END,
    GAP,
    INDENT,
    STYLES,
    Page,
    Segment,
    Style,
    columns,
    cut,
    styled,
    table,
    text,
)
from pytest_gilprobe.reporters.views import CellView, ComparisonView, ReportView, WorkloadView

_LEAST_WIDTH = 20
_LEAST_NAME = 16
_COMFORTABLE_NAME = 30
_LEAST_AT_ONCE = 3
"""Reports that a table of a comparison has at least: with fewer, a list says more."""


def draw(report: Report | ReportView, *, width: int = 80, encoding: str = "utf-8") -> list[Segment]:
    """Draw a whole report: head, table (or a list, where a table would not fit), reasons, what was not probed.

    Args:
        report: what to draw, or its layout.
        width: columns of the terminal; at least 20 are used.
        encoding: of the output; what it lacks is escaped visibly.
    """
    view = report if isinstance(report, ReportView) else layout.report_view(report)
    page = Page(width=max(width, _LEAST_WIDTH), encoding=encoding)
    segments = list(_head(view, page))
    segments.extend(_body(view.probed, page))
    for workload in view.not_probed:
        segments.extend(_heading(workload.nodeid, page))
        segments.extend(_notes(workload, page))
    return segments


def draw_comparison(comparison: Comparison, *, width: int = 80, encoding: str = "utf-8") -> list[Segment]:
    """Draw a comparison: what changed in words, why to read it with care, the reports, and a table or list of cells."""
    view = matrix.comparison_view(comparison)
    page = Page(width=max(width, _LEAST_WIDTH), encoding=encoding)
    segments = [*styled(page.wrap(view.summary), {"bold": True}), END]
    for note in (*view.notes, *view.warnings):
        tail = f" [{note.slug}]" if note.slug else ""
        segments += styled(page.wrap(f"{note.label}: {note.lines[0]}{tail}"), STYLES.get(note.kind, {}))
    segments.append(END)
    for column in view.columns:
        against = f" (against {column.against})" if column.against else ""
        said = ", ".join(fact.said for fact in column.facts)
        segments += styled(page.wrap(f"{column.label}{against}: {said}"), {})
    if view.facts:
        said = ", ".join(fact.said for fact in view.facts)
        segments += styled(page.wrap(f"all: {said}"), {})
    segments += [END, *_cells(view, page)]
    if view.marks:
        segments += styled(page.wrap(view.marks), {})
    return segments


def one_line(result: WorkloadResult, *, width: int | None = None, encoding: str = "utf-8") -> str:
    """Say a workload's answer, name and reason on one line.

    Where the reason does not fit ``width``, the figures behind it stand for it; then the name is shortened, last the
    line is cut.
    """
    view = layout.workload_view(result)
    name, reason = encodable(view.nodeid, encoding), encodable(" ".join(view.notes[0].lines), encoding)
    start = f"{view.answer:<12} {view.answer_speedup:>5}  "
    line = f"{start}{name}  {reason}"
    if width is None or display_width(line) <= width:
        return line
    said = encodable(_figures(view), encoding) if view.probed else reason
    room = width - len(start) - display_width(said) - GAP
    line = f"{start}{short_name(name, max(room, _LEAST_NAME))}  {said}"
    return line if display_width(line) <= width else f"{cut(line, max(width - 3, 0))}..."


def _figures(view: WorkloadView) -> str:
    """Give the three numbers that an answer rests on."""
    return f"{view.bound} {view.cpu}, threads {view.threads.value}, processes {view.processes.value}"


def word(result: WorkloadResult) -> str:
    """Say the answer beside pytest's ``PASSED``: ``threads 1.9x``, or ``processes 1.7x, hung in threads``."""
    view = layout.workload_view(result)
    broken = [note.label for note in view.notes if view.broken and note.kind in ("failed", "hung", "crashed")]
    return ", ".join([f"{view.answer} {view.answer_speedup}".rstrip(), *broken])


def style(result: WorkloadResult) -> Style:
    """Choose the markup for a workload's answer, for `one_line` and `word`."""
    return dict(STYLES.get(layout.answer(result), {}))


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


def _body(workloads: Sequence[WorkloadView], page: Page) -> Iterator[Segment]:
    if not workloads:
        return
    for headers, cells, names, least in _TABLES:
        rows = [[page.fit(cell) for cell in cells(workload)] for workload in workloads]
        left = page.width - sum(columns(headers, rows)) - GAP * len(headers)
        full = [page.fit(workload.nodeid) for workload in workloads]
        if left >= min(least, max(map(display_width, full))):
            shown = names(full, left)
            marks = [STYLES.get(workload.answer, {}) for workload in workloads]
            yield from table(
                ("workload" + "\n" * headers[0].count("\n"), *headers),
                [(name, *row) for name, row in zip(shown, rows, strict=True)],
                marks,
                page.width,
            )
            yield END
            for workload in workloads:
                yield from _heading(workload.nodeid, page)
                yield from _notes(workload, page)
            return
    for workload in workloads:
        yield from _listed(workload, page)


def _cells_on_one_line(workload: WorkloadView) -> tuple[str, ...]:
    return (
        workload.bound,
        workload.cpu,
        workload.per_call,
        workload.threads.speedup,
        workload.processes.speedup,
        f"{workload.gil} {workload.gil_share}".rstrip(),
        workload.answer,
    )


def _cells_on_two_lines(workload: WorkloadView) -> tuple[str, ...]:
    bound = "?" if workload.bound == "inconclusive" else workload.bound
    return (
        f"{bound}\n{workload.cpu}",
        f"{workload.per_call}\n",
        f"{workload.threads.value}\n{_narrow(workload.threads.interval)}",
        f"{workload.processes.value}\n{_narrow(workload.processes.interval)}",
        f"{workload.gil}\n{workload.gil_share}",
        f"{workload.answer}\n{workload.answer_speedup}",
    )


def _narrow(interval: str) -> str:
    return interval.replace("[", "").replace("]", "").replace(", ", "-")


def _names_on_two_lines(nodeids: Sequence[str], width: int) -> tuple[str, ...]:
    return tuple("\n".join(name) for name in stacked_names(nodeids, width))


_TABLES = (
    (
        ("bound", "CPU", "per call", "threads", "processes", "GIL", "strategy"),
        _cells_on_one_line,
        short_names,
        _COMFORTABLE_NAME,
    ),
    (
        ("bound\nCPU", "per\ncall", "threads\n", "processes\n", "GIL\nheld", "strategy\n"),
        _cells_on_two_lines,
        _names_on_two_lines,
        _LEAST_NAME,
    ),
)


def _listed(workload: WorkloadView, page: Page) -> Iterator[Segment]:
    yield from _heading(workload.nodeid, page)
    said = f"{workload.answer} {workload.answer_speedup}".rstrip()
    yield from styled(page.wrap(said, INDENT), STYLES.get(workload.answer, {}))
    gil = f"{workload.gil} {workload.gil_share}".rstrip()
    facts = f"{workload.bound}, {workload.cpu} CPU, {workload.per_call} per call, GIL {gil}"
    yield from styled(page.wrap(facts, INDENT), {})
    for strategy in (workload.threads, workload.processes):
        yield from styled(page.wrap(f"{strategy.name:<9} {strategy.speedup}", INDENT), {})
    yield from _notes(workload, page)


def _cells(view: ComparisonView, page: Page) -> Iterator[Segment]:
    """Draw the cells as a table, or as several below each other where the page is narrow, or else as a list."""
    headers = [f"{page.fit(column.label)}\n" for column in view.columns]
    rows = [[_cell(cell) for cell in row.cells] for row in view.rows]
    needed = columns(headers, rows)
    at_once = _at_once(needed, page.width - _LEAST_NAME)
    if at_once < min(_LEAST_AT_ONCE, len(headers)):
        yield from _cells_listed(view, page)
        return
    for start in range(0, len(headers), at_once):
        band = slice(start, start + at_once)
        left = page.width - sum(needed[band]) - GAP * len(needed[band])
        names = _names_on_two_lines([page.fit(row.nodeid) for row in view.rows], left)
        named = [(name, *row[band]) for name, row in zip(names, rows, strict=True)]
        yield from table(["workload\n", *headers[band]], named, [{}] * len(named), page.width)
        yield END


def _at_once(needed: Sequence[int], room: int) -> int:
    """Tell how many columns fit beside the names, wherever among all columns they begin; evened out over the tables."""
    fitting = [
        at_once
        for at_once in range(1, len(needed) + 1)
        if all(sum(needed[start : start + at_once]) + GAP * at_once <= room for start in range(0, len(needed), at_once))
    ]
    tables = -(-len(needed) // max(fitting, default=1))
    return -(-len(needed) // tables) if fitting else 0


def _cell(cell: CellView | None) -> str:
    return f"{cell.answer}{cell.mark}\n{cell.threads}" if cell else "-\n"


def _cells_listed(view: ComparisonView, page: Page) -> Iterator[Segment]:
    for row in view.rows:
        yield from _heading(row.nodeid, page)
        for column, cell in zip(view.columns, row.cells, strict=True):
            if cell:
                said = ", ".join([f"{cell.answer}{cell.mark}", *cell.facts])
                marks = STYLES.get(cell.answer, {}) if cell.change else {}
                yield from styled(page.wrap(f"{column.label}: {said}", INDENT), marks)
        yield END


def _heading(nodeid: str, page: Page) -> Iterator[Segment]:
    return styled(page.wrap(nodeid), {"bold": True})


def _notes(workload: WorkloadView, page: Page) -> Iterator[Segment]:
    for note in workload.notes:
        lead = "" if note.label == "why" else f"{note.label}: "
        tail = f" [{note.slug}]" if note.slug else ""
        marks = STYLES.get(note.kind, STYLES.get(note.label, {}))
        yield from styled(page.wrap(f"{lead}{note.lines[0]}{tail if len(note.lines) == 1 else ''}", INDENT), marks)
        for at, line in enumerate(note.lines[1:], 2):
            end = tail if at == len(note.lines) else ""
            yield from styled(page.wrap(f"{line}{end}", INDENT * 2), marks)
    yield END


__all__ = ["Segment", "Style", "draw", "draw_comparison", "one_line", "style", "text", "word"]
