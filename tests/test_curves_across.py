"""Curves of one workload in several reports: one picture, one table, in every drawing of a comparison."""

from __future__ import annotations

from dataclasses import replace

import pytest
from comparison_fixture import free_threaded_report
from reports_fixture import estimate, rich_report
from test_curve_drawings import ENOUGH
from test_stats_scaling import points

from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import GilResult
from pytest_gilprobe.model.scaling import Scaling
from pytest_gilprobe.report import comparison_terminal, html, markdown, terminal
from pytest_gilprobe.report.compare import compare
from pytest_gilprobe.report.curves_across import curves_across
from pytest_gilprobe.strategies.registry import BUILT_IN

FLAT = replace(ENOUGH, points=points(50, 51, 50), enough_workers=1, best_workers=1, limit="the GIL", model="")


def with_curves(report: Report, **curves: Scaling) -> Report:
    """Give the first workload of a report these curves."""
    first, *others = report.workloads
    return replace(report, workloads=(replace(first, scaling=curves), *others))


def compared(gil: Report, free: Report) -> tuple[str, str, str]:
    """Compare two reports for the terminal, as Markdown and as a page."""
    found = compare([("a", gil), ("b", free)])
    return (
        terminal.text(comparison_terminal.draw(found, BUILT_IN), color=False),
        markdown.draw_comparison(found, BUILT_IN),
        html.draw_comparison(found, BUILT_IN),
    )


def test_curves_of_one_workload_are_drawn_together() -> None:
    """Each report's curve is named by its column: the GIL's flat one, and that of the free-threaded build."""
    seen, told, page = compared(
        with_curves(rich_report(), threads=FLAT), with_curves(free_threaded_report(), threads=ENOUGH)
    )
    assert "how many threads" in seen
    assert "3.13t: threads: 4 are enough (200 calls/s, 4.0x)" in " ".join(seen.split())
    lines = told.splitlines()
    title = next(at for at, line in enumerate(lines) if line.startswith("| threads | 1 | 2 | 4 | 8 |"))
    assert [line.split(" | ")[-1] for line in lines[title + 2 : title + 4]] == [
        "- |",
        "201 \N{PLUS-MINUS SIGN}2 % 4.0x |",
    ]
    assert "200&#42; \N{PLUS-MINUS SIGN}2 % 4.0x" in lines[title + 3]
    assert page.count('<svg class="curve"') == 1
    assert page.count("<polyline") == 2


def test_gil_of_one_report_is_a_roof_beside_the_other() -> None:
    """The roof of the GIL names its report, so that the build without a GIL is seen to rise above it."""
    gil, free = rich_report(), free_threaded_report()
    held = replace(gil.workloads[0].gil, held_fraction=estimate(0.5, 0.01))
    gil = replace(gil, workloads=(replace(gil.workloads[0], gil=held), *gil.workloads[1:]))
    free = replace(free, workloads=(replace(free.workloads[0], gil=GilResult()), *free.workloads[1:]))
    *_, page = compared(with_curves(gil, threads=FLAT), with_curves(free, threads=ENOUGH))
    assert "<title>the GIL, 3.13: 100 calls/s at most</title>" in page
    assert "the GIL, 3.13t" not in page


@pytest.mark.parametrize("free", [{}, {"processes": ENOUGH}, {"threads": replace(ENOUGH, points=())}])
def test_one_curve_alone_is_no_comparison(free: dict[str, Scaling]) -> None:
    """A workload, or a strategy, whose curve only one report has is left out."""
    given = with_curves(rich_report(), threads=ENOUGH), with_curves(free_threaded_report(), **free)
    assert curves_across(compare([("a", given[0]), ("b", given[1])]), BUILT_IN) == ()
    assert not any("ow many" in drawn for drawn in compared(*given))
