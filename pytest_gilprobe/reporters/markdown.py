"""Draw as Markdown, fit for a pull-request comment: nothing in a name or error acts as markup, link or mention."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pytest_gilprobe.comparison import Comparison
from pytest_gilprobe.model import Report
from pytest_gilprobe.reporters import layout, matrix
from pytest_gilprobe.reporters.views import CellView, ColumnView, Fact, Note, ReportView, WorkloadView

COMMENT_LIMIT = 60_000
"""Characters that a drawing takes at most by default: GitHub refuses comments above 65,536."""

_FRAME = 600
"""Room for headers, folds and the closing line."""
_LINE_ENDS = 2
_MOST_NOTES = 40
_MOST_NAMES = 6
_ACTIVE = re.compile(r"[\\`*_\[\]<>|&~$#]")
_HEADERS = ("workload", "strategy", "bound", "CPU", "per call", "threads", "processes", "GIL held")


def draw(report: Report | ReportView, *, limit: int | None = COMMENT_LIMIT) -> str:
    """Draw a whole report: summary, table, reasons in a fold, what was not probed.

    Args:
        report: what to draw, or its layout.
        limit: length in characters that the drawing must not pass; workloads beyond it are left out, last first, and
            counted in a closing line. ``None`` draws all.
    """
    view = report if isinstance(report, ReportView) else layout.report_view(report)
    head = [f"## {escape(view.title)}", "", f"**{escape(view.summary)}**", "", *_scanned(view)]
    foot = ["", " · ".join(f"{escape(fact.label)}: {escape(fact.value)}" for fact in view.facts), ""]
    rows = [_row(workload) for workload in view.probed]
    reasons = [_reasons(workload) for workload in view.probed]
    others = [_reasons(workload) for workload in view.not_probed]
    lengths = [len(line) + len(why) for line, why in zip(rows, reasons, strict=True)]
    room = None if limit is None else limit - sum(map(len, head + foot)) - _FRAME
    shown, shown_others = _how_many(lengths, list(map(len, others)), room)
    body = [*table(_HEADERS, rows[:shown]), *_fold("Why", reasons[:shown])] if shown else []
    body += _fold("Not probed", others[:shown_others])
    missing = len(view.workloads) - shown - shown_others
    if missing:
        body += ["", f"{layout.left_out(missing)}."]
    return "\n".join([*head, *body, *foot])


def _scanned(view: ReportView) -> list[str]:
    """Say what a scan says of the whole; nothing for another report."""
    said = [f"- **{escape(note.label)}**{_slug(note)}: {_named(note)}" for note in view.notes[:_MOST_NOTES]]
    left = [f"- {len(view.notes) - _MOST_NOTES} more: see the JSON report"] if len(view.notes) > _MOST_NOTES else []
    return [escape(view.lead), "", *said, *left, ""] if view.lead else []


def _named(note: Note) -> str:
    names = ", ".join(map(code, note.lines[1:_MOST_NAMES]))
    more = f" and {len(note.lines) - _MOST_NAMES} more" if len(note.lines) > _MOST_NAMES else ""
    return f"{escape(note.lines[0])}{': ' if names else ''}{names}{more}"


def draw_comparison(comparison: Comparison, *, limit: int | None = COMMENT_LIMIT) -> str:
    """Draw a comparison: what changed in words, why to read it with care, and a row for each workload; see `draw`."""
    view = matrix.comparison_view(comparison)
    head = [f"## {escape(view.title)}", "", f"**{escape(view.summary)}**", ""]
    notes = [f"- **{escape(note.label)}**{_slug(note)}: {_said(note)}" for note in (*view.notes, *view.warnings)]
    foot = [*_fold("Reports", [*map(_column, view.columns), *_shared(view.facts)]), ""]
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
    """Draw a table from rows that are Markdown already: a head line, a rule and the rows."""
    return [row(map(escape, headers)), row("---" for _ in headers), *rows]


def row(cells: Iterable[str]) -> str:
    """Join cells that are Markdown already to one row of a table."""
    return f"| {' | '.join(cells)} |"


def escape(text: str) -> str:
    """Make text literal: markup becomes entities, addresses and mentions do not link. One line in, one line out."""
    literal = _ACTIVE.sub(lambda found: f"&#{ord(found[0])};", text)
    return literal.replace("://", "&#58;//").replace("@", "@<!-- -->")


def code(text: str) -> str:
    """Set text in a fixed font, in a table cell or elsewhere; what a code span cannot hold becomes entities."""
    if text and "`" not in text and "|" not in text and text == text.strip():
        return f"`{text}`"
    return f"<code>{escape(text)}</code>"


def _row(workload: WorkloadView) -> str:
    answer = f"**{workload.answer}** {workload.answer_speedup}".rstrip()
    gil = f"{workload.gil} {workload.gil_share}".rstrip()
    cells = (workload.bound, workload.cpu, workload.per_call, *_speedups(workload), gil)
    return row([code(workload.nodeid), answer, *cells])


def _speedups(workload: WorkloadView) -> tuple[str, str]:
    return workload.threads.speedup, workload.processes.speedup


def _reasons(workload: WorkloadView) -> str:
    return "\n".join([f"- {code(workload.nodeid)}: {_said(workload.notes[0])}", *_notes(workload.notes[1:])])


def _notes(notes: Iterable[Note]) -> Iterator[str]:
    for note in notes:
        said = _said(note) if note.kind in ("caution", "pool", "moving") else "<br>".join(map(code, note.lines))
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
    answer = f"**{cell.answer}**{escape(cell.mark)}"
    return "<br>".join([answer, *cell.facts])


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
