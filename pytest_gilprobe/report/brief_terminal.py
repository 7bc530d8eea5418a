"""Draw the short report (the one without ``-v``) for a terminal: each workload's answer, reason, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.safe_text import display_width, unique_ends
from pytest_gilprobe.report import layout
from pytest_gilprobe.report.brief import is_brief, says_where
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
    cut,
    styled,
)

if TYPE_CHECKING:
    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.report.views import Note, ReportView, WorkloadView
    from pytest_gilprobe.strategies.registry import Strategies

LEAST_WIDTH = 20
MORE = "more: -v"
ALWAYS = frozenset({"busy-machine"})
"""Identifiers of cautions (warnings) that the short report always shows if they concern at least 3 workloads, and never
if they concern fewer workloads: the user would then do nothing about them."""
_WIDEST_ANSWER = 16
"""An answer that is wider than this many columns does not widen the column of answers."""
_LEAST_BESIDE = 30
"""If fewer columns than this are left beside the answers, each name stands right behind its answer."""


def title(report: Report) -> str:
    """Return the heading of the short report: Python's version, the CPUs, the numbers of workers, and the load average.

    What is not known is left out.
    """
    said = {fact.label: fact.value for fact in layout.facts(report)}
    if "workers" in said:
        said["workers"] = said["workers"].partition(" (")[0]
    leads = {"Python": "", "CPUs": "CPUs: ", "workers": "workers: ", "load": "load: "}
    known = [f"{lead}{said[label].replace('standard build, ', '')}" for label, lead in leads.items() if label in said]
    return ", ".join(known)


def draw(report: Report, strategies: Strategies, *, width: int = 80, encoding: str = "utf-8") -> list[Segment]:
    """Draw the short report for a terminal, without a heading.

    The drawing says how many workloads got each answer, then shows cautions that concern several workloads, then each
    workload with its answer, figures, reason and advice.

    Args:
        report: the report to draw.
        strategies: the registered strategies, which provide the colors.
        width: width of the terminal in columns; a smaller width than 20 counts as 20.
        encoding: encoding of the output; characters that this encoding lacks are replaced, mostly by visible escapes.
    """
    page = Page(width=max(width, LEAST_WIDTH), encoding=encoding)
    of_several, view = _short(layout.report_view(report, strategies))
    more = f" ({MORE})" if view.workloads and display_width(f"{view.summary} ({MORE})") <= page.width else ""
    segments = [*styled(page.wrap(f"{view.summary}{more}"), {"bold": True})]
    for note in of_several:
        segments.extend(_note(note, page, indent=""))
    names = _names(view.workloads, page)
    longest = _answers_width(view.workloads, page)
    for workload, name in zip(view.workloads, names, strict=True):
        segments.extend(_workload(workload, name, longest, page))
    return segments


def draw_answers(report: Report, strategies: Strategies, *, width: int = 80, encoding: str = "utf-8") -> list[Segment]:
    """Draw one line for each workload of ``report``: the answer, the name, and as many figures as fit.

    The line of a workload that was not measured also gives the reason. ``strategies`` are the registered strategies,
    which provide the colors. ``width`` is the terminal's in columns, at least 20; a line is cut there. Characters that
    ``encoding`` lacks are replaced.
    """
    page, view = Page(width=max(width, LEAST_WIDTH), encoding=encoding), layout.report_view(report, strategies)
    names, longest = _names(view.workloads, page), _answers_width(view.workloads, page)
    segments: list[Segment] = []
    for workload, name in zip(view.workloads, names, strict=True):
        shown, line = _first_line(workload, name, longest, page)
        if not workload.probed:
            brief = workload.brief
            rest = "; ".join(filter(None, ("" if any(shown) else brief.measured, brief.why, brief.advice)))
            line = f"{line}{'; ' if any(shown) else ': '}{page.fit(rest)}"
        segments.extend(_painted(cut(line, page.width), workload, page))
    return segments


def _short(view: ReportView) -> tuple[tuple[Note, ...], ReportView]:
    """Return the cautions of several workloads, and the report with only the notes of a short one."""
    of_several, view = gathered(view)
    number = len(view.workloads)

    def kept(workload: WorkloadView) -> WorkloadView:
        where = says_where(workload, number)
        notes = (note for note in workload.notes if is_brief(note) or (where and note.kind == "holder"))
        return replace(workload, notes=tuple(notes))

    return tuple(note for note in of_several if note.slug in ALWAYS or is_brief(note)), replace(
        view, workloads=tuple(map(kept, view.workloads))
    )


def _answers_width(workloads: Sequence[WorkloadView], page: Page) -> int:
    """Return the width of the column of answers; 0 where no column fits."""
    fitting = [display_width(page.fit(one.answer.asked)) for one in workloads]
    longest = max((width for width in fitting if width <= _WIDEST_ANSWER), default=0)
    return longest if longest + GAP + _LEAST_BESIDE <= page.width else 0


def _names(workloads: Sequence[WorkloadView], page: Page) -> list[str]:
    """Return node ids if each fits beside its answer and figures, else their ends that tell them apart."""
    full, longest = [page.fit(one.nodeid) for one in workloads], _answers_width(workloads, page)
    whole = (
        display_width(_lead(one, name, longest, page) + _figures(one, page))
        for name, one in zip(full, workloads, strict=True)
        if one.probed or one.brief.measured
    )
    return full if all(width <= page.width for width in whole) else unique_ends(full)


def _figures(workload: WorkloadView, page: Page) -> str:
    """Return what stands behind the name, if there is room: time of a call, bound, what other strategies give."""
    said = "; ".join(filter(None, (workload.brief.measured, workload.brief.others)))
    return page.fit(f": {said}" if said else "")


def _lead(workload: WorkloadView, name: str, longest: int, page: Page) -> str:
    """Return the answer, in a column as wide as the longest one, and the name."""
    answer = page.fit(workload.answer.asked)
    return answer + " " * max(longest - display_width(answer), 0) + " " * GAP + name


def _first_line(workload: WorkloadView, name: str, longest: int, page: Page) -> tuple[tuple[str, ...], str]:
    """Return what of the figures fits on the line of the answer, and that line; it may be too long without any."""
    brief, lead = workload.brief, _lead(workload, name, longest, page)
    clauses = [(brief.measured, brief.others), (brief.call, brief.others), (brief.measured,), (brief.call,)]
    tried = [(shown, page.fit(": ".join(filter(None, (lead, "; ".join(filter(None, shown))))))) for shown in clauses]
    return next((one for one in tried if display_width(one[1]) <= page.width), ((), lead))


def _painted(line: str, workload: WorkloadView, page: Page) -> Iterator[Segment]:
    """Color the answer with which a line begins."""
    end = len(page.fit(workload.answer.asked))
    yield (line[:end], answer_style(workload.answer.color))
    yield (line[end:], {})
    yield END


def _workload(workload: WorkloadView, name: str, longest: int, page: Page) -> Iterator[Segment]:
    brief = workload.brief
    shown, line = _first_line(workload, name, longest, page)
    figures = "; ".join(filter(None, (brief.measured, brief.others)))
    rest = figures if not shown else "" if brief.others in shown else brief.others
    reason = _reason((rest, brief.why, brief.advice), page)
    joint = "; " if any(shown) else ": "
    together = f"{line}{joint}{reason[0].strip()}" if len(reason) == 1 else ""
    fits = together and display_width(together) <= page.width
    first, *more = page.wrap(together if fits else line)
    yield from _painted(first, workload, page)
    yield from styled([*more, *([] if fits else reason)], {})
    for note in workload.notes:
        yield from _note(note, page, indent=INDENT)


def _reason(parts: Sequence[str], page: Page) -> list[str]:
    """Return the clauses in as few lines as they fit, none of them broken unless it is too long for a line itself."""
    lines: list[str] = []
    for part in filter(None, parts):
        joined = f"{lines[-1]}; {part}" if lines else part
        if lines and display_width(page.fit(joined)) + len(INDENT) > page.width:
            lines.append(part)
        else:
            lines[-1:] = [joined]
    return [line for part in lines for line in page.wrap(part, INDENT)]


def _note(note: Note, page: Page, *, indent: str) -> Iterator[Segment]:
    tail = f" [{note.slug}]" if note.slug else ""
    marks: Style = NOTE_STYLES.get(note.kind, {})
    lines = page.wrap(f"{note.label}: {note.lines[0]}{tail}", indent)
    for line in note.lines[1:] if note.kind == "holder" else ():
        lines += page.wrap(line, indent + INDENT)
    return styled(lines, marks)
