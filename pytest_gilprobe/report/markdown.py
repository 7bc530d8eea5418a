"""Draw reports and comparisons as Markdown for a pull-request comment; names and error texts are escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_gilprobe.report import comparison_layout, layout
from pytest_gilprobe.report.comparison_views import CellView, ColumnView, ComparisonView
from pytest_gilprobe.report.curve_views import CurveView
from pytest_gilprobe.report.gathered import gathered
from pytest_gilprobe.report.views import Fact, Note, ReportView, WorkloadView

if TYPE_CHECKING:
    from pytest_gilprobe.model.comparison import Comparison
    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.strategies.registry import Strategies

COMMENT_LIMIT = 60_000
"""Largest number of characters of a drawing, unless the caller sets another: GitHub refuses comments above 65,536."""

_FRAME = 600
"""Room for headers, folds and the closing line."""
_LINE_ENDS = 2
_MOST_NOTES = 40
_MOST_NAMES = 6
_MOST_HOLDERS = 3
_ACTIVE = re.compile(r"[\\`*_\[\]<>|&~$#]")


def draw(report: Report, strategies: Strategies, *, limit: int | None = COMMENT_LIMIT) -> str:
    """Draw a report as Markdown: a summary, a table, and folded sections with reasons and workloads not measured.

    Args:
        report: the report to draw.
        strategies: the registered strategies, which determine the order of the answers and of the columns.
        limit: largest length of the drawing in characters. The last workloads are left out if necessary, and a closing
            line tells how many. ``None`` means no limit.
    """
    return draw_view(layout.report_view(report, strategies), limit=limit)


def draw_view(view: ReportView, *, limit: int | None = COMMENT_LIMIT) -> str:
    """Draw a report as Markdown; ``view`` is the report as texts, made by `pytest_gilprobe.report.layout`.

    ``limit`` is the largest length in characters, ``None`` for any length. The last workloads are left out if
    necessary, and a closing line tells how many.
    """
    of_several, view = gathered(view)
    told = [f"- **{escape(note.label)}**{_slug(note)}: {_said(note)}" for note in of_several]
    head = [
        f"## {escape(view.title)}",
        "",
        f"**{escape(view.summary)}**",
        "",
        *_scanned(view),
        *told,
        *([""] if told else []),
    ]
    foot = [
        *_curves(view),
        *_where(view),
        "",
        " · ".join(f"{escape(fact.label)}: {escape(fact.value)}" for fact in view.facts),
        "",
    ]
    rows = [_row(workload, view) for workload in view.probed]
    reasons = [_reasons(workload) for workload in view.probed]
    others = [_reasons(workload) for workload in view.not_probed]
    lengths = [len(line) + len(why) for line, why in zip(rows, reasons, strict=True)]
    titles = table(view.headers, [])
    rule = ["", f"{escape(view.rule)}."] if view.rule else []
    room = None if limit is None else limit - sum(map(len, head + foot + titles + rule)) - _FRAME
    shown, shown_others = _how_many(lengths, list(map(len, others)), room)
    body = [*titles, *rows[:shown], *rule, *_fold("Why", reasons[:shown])] if shown else []
    body += _fold("Not probed", others[:shown_others])
    missing = len(view.workloads) - shown - shown_others
    if missing:
        body += ["", f"{layout.left_out(missing)}."]
    return "\n".join([*head, *body, *foot])


def _scanned(view: ReportView) -> list[str]:
    """Say what a scan says of the whole; nothing for another report."""
    said = [line for note in view.notes[:_MOST_NOTES] for line in _remark(note)]
    left = [f"- {len(view.notes) - _MOST_NOTES} more: see the JSON report"] if len(view.notes) > _MOST_NOTES else []
    return [escape(view.lead), "", *said, *left, ""] if view.lead else []


def _remark(note: Note) -> list[str]:
    """Draw a remark of a scan: its lines as a list below it, or the tests and commands that it names after it."""
    label = f"- **{escape(note.label)}**{_slug(note)}:"
    if note.kind == "holder":
        return [label, *(f"  - {escape(line)}" for line in note.lines)]
    if note.kind == "workers":
        return [f"{label} {escape(note.lines[0])}", *(f"  - {escape(line)}" for line in note.lines[1:])]
    names = ", ".join(map(code, note.lines[1:_MOST_NAMES]))
    more = f" and {len(note.lines) - _MOST_NAMES} more" if len(note.lines) > _MOST_NAMES else ""
    return [f"{label} {escape(note.lines[0])}{': ' if names else ''}{names}{more}"]


def _where(view: ReportView) -> list[str]:
    """Draw folded tables of the largest holders of the GIL, and of what blocks event loops, of the first workloads."""
    blockers = [
        row([code(workload.nodeid), escape(one.share), code(one.code), code(one.where), escape(one.does)])
        for workload in view.probed
        for one in workload.loop.blockers[:_MOST_HOLDERS]
    ]
    names = ("workload", "of the time that the loop is blocked", "in", "at", "does")
    blocked = _fold("What blocks the event loop", table(names, blockers[:_MOST_NOTES])) if blockers else []
    rows = [
        row([code(workload.nodeid), escape(one.share), code(one.code), code(one.where), escape(one.function)])
        for workload in view.probed
        for one in workload.where.holders[:_MOST_HOLDERS]
    ]
    titles = ("workload", "of the time that the GIL is held", "in", "at", "function")
    held = _fold("Where the GIL is held", table(titles, rows[:_MOST_NOTES])) if rows else []
    return [*held, *blocked]


def _curves(view: ReportView) -> list[str]:
    """Draw a folded table of each curve, throughput by number of workers, and its law, of the first workloads."""
    lines: list[str] = []
    for workload in view.probed[:_MOST_NOTES]:
        for curve in workload.curves:
            lines += ["", f"{code(workload.nodeid)}: {escape(curve.said)}", ""]
            lines += _curve(curve) if curve.points else []
            lines += ["", f"Law: {escape(curve.law)}"] if curve.law else []
    return _fold("How many workers", lines) if lines else []


def _curve(curve: CurveView) -> list[str]:
    titles = ("workers", *(f"{point.workers}{' (enough)' if point.is_enough else ''}" for point in curve.points))
    rates = row(["calls/s", *(point.rate for point in curve.points)])
    margins = row(["+/-", *(point.margin for point in curve.points)])
    gains = row(["gain", *(point.gain for point in curve.points)])
    machine = [row(["machine", *(point.machine for point in curve.points)])]
    return table(titles, [rates, margins, gains, *(machine if any(point.machine for point in curve.points) else [])])


def _across(view: ComparisonView) -> list[str]:
    """Draw a folded table of each workload's curves in several reports, of the first workloads."""
    lines: list[str] = []
    for one in view.curves[:_MOST_NOTES]:
        titles = [one.strategy, *map(str, one.workers)]
        rows = [row(map(escape, [curve.name, *one.cells(curve)])) for curve in one.curves if curve.points]
        lines += [
            "",
            f"{code(one.nodeid)}, calls a second by number of {escape(one.strategy)} (* enough), and gain:",
            "",
            *table(titles, rows),
        ]
        lines += ["", *(f"- {escape(curve.said)}" for curve in one.curves)]
    return _fold("How many workers", lines) if lines else []


def draw_comparison(comparison: Comparison, strategies: Strategies, *, limit: int | None = COMMENT_LIMIT) -> str:
    """Draw a comparison of reports as Markdown: changes in words, cautions (warnings), and a row for each workload.

    ``strategies`` are the registered strategies. ``limit`` is the largest length in characters, ``None`` for any
    length. The last workloads are left out if necessary, and a closing line tells how many.
    """
    view = comparison_layout.comparison_view(comparison, strategies)
    head = [f"## {escape(view.title)}", "", f"**{escape(view.summary)}**", ""]
    notes = [f"- **{escape(note.label)}**{_slug(note)}: {_said(note)}" for note in (*view.notes, *view.warnings)]
    foot = [*_across(view), *_fold("Reports", [*map(_column, view.columns), *_shared(view.facts)]), ""]
    rows = [row([code(each.nodeid), *map(_cell, each.cells)]) for each in view.rows]
    room = None if limit is None else limit - sum(map(len, head + foot)) - _FRAME
    shown, shown_notes = _how_many(list(map(len, rows)), list(map(len, notes)), room)
    labels = ["workload", *(column.label for column in view.columns)]
    body = [*notes[:shown_notes], "", *table(labels, rows[:shown])]
    if len(rows) > shown:
        body += ["", f"{layout.left_out(len(rows) - shown)}."]
    if view.marks:
        body += ["", escape(view.marks)]
    return "\n".join([*head, *body, *foot])


def table(headers: Sequence[str], rows: Iterable[str]) -> list[str]:
    """Return the lines of a Markdown table; ``headers`` are texts to escape, ``rows`` are lines made by `row`."""
    return [row(map(escape, headers)), row("---" for _ in headers), *rows]


def row(cells: Iterable[str]) -> str:
    """Join cells into one row of a Markdown table, without escaping them."""
    return f"| {' | '.join(cells)} |"


def escape(text: str) -> str:
    """Escape one line of text so that Markdown shows it as it is: markup, web addresses and mentions have no effect."""
    literal = _ACTIVE.sub(lambda found: f"&#{ord(found[0])};", text)
    return literal.replace("://", "&#58;//").replace("@", "@<!-- -->")


def code(text: str) -> str:
    """Format text as code that is safe in a table cell: between backticks if possible, else in ``<code>``."""
    if text and "`" not in text and "|" not in text and text == text.strip():
        return f"`{text}`"
    return f"<code>{escape(text)}</code>"


def _row(workload: WorkloadView, view: ReportView) -> str:
    word = workload.answer.word
    answer = f"**{escape(word)}**{escape(workload.answer.text.removeprefix(word))}"
    return row([code(workload.nodeid), answer, *view.cells(workload)[2:]])


def _reasons(workload: WorkloadView) -> str:
    others = [note for note in workload.notes[1:] if note.kind not in ("holder", "blocker")]  # in tables of their own
    follows = [f"  - {escape(said)}" for said in (workload.where.follows, workload.loop.follows) if said]
    return "\n".join([f"- {code(workload.nodeid)}: {_said(workload.notes[0])}", *follows, *_notes(others)])


def _notes(notes: Iterable[Note]) -> Iterator[str]:
    for note in notes:
        draw = escape if note.kind == "sharing" else code
        said = _said(note) if note.kind in ("caution", "pool", "moving", "loop") else "<br>".join(map(draw, note.lines))
        yield f"  - **{escape(note.label)}**{_slug(note)}: {said}"


def _slug(note: Note) -> str:
    return f" ({escape(note.slug)})" if note.slug else ""


def _column(column: ColumnView) -> str:
    against = f", against {escape(column.against)}" if column.against else ""
    facts = ", ".join(escape(fact.said) for fact in column.facts)
    return f"- **{escape(column.label)}**{against}: {facts}"


def _shared(facts: Sequence[Fact]) -> list[str]:
    return [f"- all: {', '.join(escape(fact.said) for fact in facts)}"] if facts else []


def _cell(cell: CellView | None) -> str:
    if cell is None:
        return "-"
    word = cell.answer.word
    answer = f"**{escape(word)}**{escape(cell.answer.text.removeprefix(word))}{escape(cell.mark)}"
    return "<br>".join([answer, *map(escape, cell.facts)])


def _said(note: Note) -> str:
    return escape(" ".join(note.lines))


def _fold(title: str, items: Sequence[str]) -> list[str]:
    return ["", f"<details><summary>{title}</summary>", "", *items, "", "</details>"] if items else []


def _how_many(lengths: Sequence[int], others: Sequence[int], room: int | None) -> tuple[int, int]:
    """Count how many items of each group fit into ``room`` characters, the first group first."""
    if room is None:
        return len(lengths), len(others)
    counts = []
    for group in (lengths, others):
        fitting = 0
        for length in group:
            if length + _LINE_ENDS > room:
                break
            room -= length + _LINE_ENDS
            fitting += 1
        counts.append(fitting)
    return counts[0], counts[1]
