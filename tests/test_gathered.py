"""`pytest_gilprobe.report.gathered`: a caution of several workloads is said once, at the top."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reports_fixture import rich_report

from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import Caution
from pytest_gilprobe.report import brief_terminal, terminal
from pytest_gilprobe.report.gathered import MOST_NAMES, gathered
from pytest_gilprobe.report.layout import report_view
from pytest_gilprobe.strategies.registry import BUILT_IN

REPORT = rich_report()


def cautious(slug: str, number: int, total: int) -> Report:
    """Make a report of ``total`` workloads, the first ``number`` of them with a caution."""
    one = next(workload for workload in REPORT.workloads if workload.serial is not None)
    with_caution = replace(one.verdict, cautions=(Caution(slug=slug, message="waited for 30 % of its time"),))
    without = replace(one.verdict, cautions=())
    found = [
        replace(one, nodeid=f"test_a.py::test_{at}", verdict=with_caution if at < number else without)
        for at in range(total)
    ]
    return replace(REPORT, workloads=tuple(found))


def drawn(report: Report) -> str:
    return terminal.text(terminal.draw(report, BUILT_IN, width=200), color=False)


def test_caution_of_all_workloads_is_said_once() -> None:
    """On a busy machine the report says so once, with the number of workloads."""
    text = drawn(cautious("busy-machine", 4, 4))
    assert text.count("busy-machine") == 1
    assert "other programs kept the CPUs busy" in text
    assert "(all 4 workloads)" in text
    assert text.index("busy-machine") < text.index("test_a.py")


def test_caution_of_some_workloads_names_them() -> None:
    """If not all workloads are concerned, their tests are named, but not more than a few."""
    (note,), _ = gathered(report_view(cautious("slow-first-call", 3, 9), BUILT_IN))
    assert note.lines[0].endswith("(3 of 9 workloads: test_0, test_1, test_2)")
    (note,), _ = gathered(report_view(cautious("slow-first-call", 8, 20), BUILT_IN))
    assert note.lines[0].endswith(f"test_{MOST_NAMES - 1} and {8 - MOST_NAMES} more)")
    (note,), _ = gathered(report_view(cautious("slow-first-call", 8, 9), BUILT_IN))
    assert note.lines[0].endswith("(8 of 9 workloads)")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_caution_of_few_workloads_stays_with_them(number: int) -> None:
    """What concerns one or two workloads is said where they are, with its numbers."""
    notes, view = gathered(report_view(cautious("busy-machine", number, 4), BUILT_IN))
    assert notes == ()
    assert view == report_view(cautious("busy-machine", number, 4), BUILT_IN)


@pytest.mark.parametrize("slug", ["queueing-unseen", "gil-unwatched"])
@pytest.mark.parametrize(("number", "total", "named"), [(1, 1, ""), (2, 2, ""), (1, 2, " (1 of 2 workloads: test_0)")])
def test_what_the_system_does_not_tell_is_said_at_the_top(slug: str, number: int, total: int, named: str) -> None:
    """It is no matter of single workloads: even a report of one says it at the top only, and the short one, too."""
    report = cautious(slug, number, total)
    (note,), view = gathered(report_view(report, BUILT_IN))
    assert note.lines == (f"waited for 30 % of its time{named}",)
    assert all(not one.slug for workload in view.workloads for one in workload.notes)
    assert terminal.text(brief_terminal.draw(report, BUILT_IN, width=200), color=False).count(f"[{slug}]") == 1


def test_caution_that_has_no_general_words_gives_an_example() -> None:
    """A caution of another plugin's strategy is gathered, too, with its first message."""
    (note,), _ = gathered(report_view(cautious("fibres-tangled", 3, 3), BUILT_IN))
    assert note.lines[0] == "for example, waited for 30 % of its time (all 3 workloads)"
