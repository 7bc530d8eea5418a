"""Reports side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from comparison_fixture import CRUNCHING, free_threaded_report, precise_report, with_workload
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reports_fixture import ENVIRONMENT, broken, estimate, rich_report, serial, threads, verdict, with_parts
from strategies import estimates, reports
from test_stats_scaling import points

from pytest_gilprobe.model.comparison import ChangeKind, CompareError, Comparison
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.scaling import Scaling
from pytest_gilprobe.model.words import INCONCLUSIVE, SERIAL, Bound, Gil, Outcome
from pytest_gilprobe.report import comparison_layout, comparison_terminal, html, markdown, terminal
from pytest_gilprobe.report.compare import compare
from pytest_gilprobe.report.comparison_layout import comparison_view
from pytest_gilprobe.report.comparison_views import ComparisonView
from pytest_gilprobe.report.comparison_words import MOST_NAMED, UNSUPPORTED
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict.shifts import LEAST_DIFFERENCE, ratio


def on(report: Report, **environment: Any) -> Report:
    """Move a report to another machine or Python."""
    return replace(report, environment=replace(report.environment, **environment))


def against_the_fixed(report: Report) -> Comparison:
    """Compare a report with the fixed one."""
    return compare([("a.json", rich_report()), ("b.json", report)])


def laid_out(comparison: Comparison) -> ComparisonView:
    """Lay out a comparison with the built-in strategies."""
    return comparison_view(comparison, BUILT_IN)


def said(comparison: Comparison) -> list[str]:
    """Give what changed, in words."""
    return [f"{note.label}: {note.lines[0]}" for note in laid_out(comparison).notes]


def slugs(comparison: Comparison) -> list[str]:
    """Give the slugs of what to read with care."""
    return [note.slug for note in laid_out(comparison).warnings]


def test_same_report() -> None:
    """A report does not differ from itself."""
    comparison = against_the_fixed(rich_report())
    assert comparison.changes == ()
    assert said(comparison) == ["same: no difference that the intervals support"]
    assert slugs(comparison) == []
    assert comparison.shared_by_all == 9


def test_move() -> None:
    """What moved is said in a sentence: from where, to where, and what became of a single thread."""
    comparison = compare([("a.json", precise_report()), ("b.json", free_threaded_report())])
    assert said(comparison) == [
        (
            "3.13t: test_data_crunching, against 3.13: advice was processes (1.9x), is threads (1.9x); "
            "threads (calls alone) gave 1.01x [0.98, 1.04], now 1.93x [1.87, 1.99]; serial calls are 1.08x slower"
        )
    ]
    assert [change.kind for change in comparison.changes] == [
        ChangeKind.MOVED, ChangeKind.SPEEDUP, ChangeKind.SERIAL,
    ]  # fmt: skip
    assert not any(change.worse for change in comparison.changes)


def test_move_from_a_curve_is_compared_with_equal_workers() -> None:
    """The speed-up of a curve's 16 processes is no promise that 2 threads have broken."""
    old = precise_report()
    workload = next(one for one in old.workloads if one.nodeid == CRUNCHING)
    moved = replace(workload.verdict, workers=16, speedup=10.0)
    curved = with_workload(old, CRUNCHING, verdict=moved, scaling={"processes": Scaling(points=points(50, 100))})
    changes = compare([("a.json", curved), ("b.json", free_threaded_report())]).changes
    assert [change.worse for change in changes if change.kind is ChangeKind.MOVED] == [False]


def test_move_within_the_intervals() -> None:
    """Advice that moved while all intervals overlap is not called a difference."""
    moved = verdict(Bound.CPU, Gil.HELD, SERIAL, 1.0, "no gain")
    comparison = against_the_fixed(with_workload(rich_report(), CRUNCHING, verdict=moved))
    assert [(change.kind, change.real) for change in comparison.changes] == [(ChangeKind.MOVED, False)]
    assert said(comparison)[0].endswith(UNSUPPORTED)
    view = laid_out(comparison)
    assert view.summary.endswith("0 moves to another strategy")
    cell = view.rows[1].cells[1]
    assert cell is not None
    assert (cell.mark, cell.change) == ("*?", "was processes; the intervals overlap")


def test_inconclusive_is_not_a_move() -> None:
    """To become inconclusive, or to cease to be, is no change of advice."""
    unknown = verdict(Bound.CPU, Gil.HELD, INCONCLUSIVE, None, "too noisy")
    assert against_the_fixed(with_workload(rich_report(), CRUNCHING, verdict=unknown)).changes == ()


def test_outcome() -> None:
    """A strategy that broke is a change for the worse, and one that no longer breaks is not."""
    hung = broken(Outcome.HUNG, "still running")
    report = with_workload(rich_report(), CRUNCHING, threads=hung)
    forth, back = against_the_fixed(report), compare([("b.json", report), ("a.json", rich_report())])
    assert [(each.kind, each.before, each.after, each.worse) for each in forth.changes + back.changes] == [
        (ChangeKind.OUTCOME, "ok", "hung", True),
        (ChangeKind.OUTCOME, "hung", "ok", False),
    ]
    assert said(forth) == [
        "3.13 (b.json): test_data_crunching, against 3.13 (a.json): in threads it was ok, now it hung"
    ]
    assert said(back) == ["3.13 (a.json): test_data_crunching, against 3.13 (b.json): in threads it hung, now it is ok"]


def test_skipped_is_not_an_outcome() -> None:
    """A strategy that was not tried in one of the reports says nothing."""
    skipped = broken(Outcome.SKIPPED, "not asked for")
    assert against_the_fixed(with_workload(rich_report(), CRUNCHING, threads=skipped)).changes == ()


@pytest.mark.parametrize(
    ("value", "spread", "real"), [(1.05, 0.06, False), (1.4, 0.03, True), (1.4, 0.5, False), (1.03, 0.0001, False)]
)
def test_speedup_needs_disjoint_intervals(value: float, spread: float, real: bool) -> None:  # noqa: FBT001
    """A speed-up differs only where the intervals do, and by 5 % or more."""
    base = with_workload(rich_report(), CRUNCHING, threads=replace(threads(1.0), speedup=estimate(1.0, 0.0001)))
    other = with_workload(base, CRUNCHING, threads=replace(threads(1.0), speedup=estimate(value, spread)))
    kinds = [change.kind for change in compare([("a", base), ("b", other)]).changes]
    assert kinds == ([ChangeKind.SPEEDUP] if real else [])


def test_speedup_of_the_advised_strategy() -> None:
    """Less speed-up in an executor is for the worse where it is that of the strategy that was advised."""
    report = rich_report()
    nodeid = report.workloads[0].nodeid
    slower = with_workload(report, nodeid, threads=threads(1.5), processes=threads(1.2))
    in_threads, in_processes = against_the_fixed(slower).changes
    assert (in_threads.kind, in_threads.strategy, in_threads.worse) == (ChangeKind.EXECUTOR, "threads", True)
    assert (in_processes.kind, in_processes.strategy, in_processes.worse) == (ChangeKind.SPEEDUP, "processes", False)
    assert said(against_the_fixed(slower)) == [
        (
            "3.13 (b.json): less speed-up of threads in an executor than in 3.13 (a.json): "
            "test_download_files 1.46x instead of 1.96x"
        ),
        (
            "3.13 (b.json): less speed-up of processes (calls alone) than in 3.13 (a.json): "
            "test_download_files 1.20x instead of 1.97x"
        ),
    ]


def test_speedups_beyond_the_workers_are_alike() -> None:
    """Two workers cannot do more than twice the work: 2.6x and 2.2x are both 2.0x, and no change."""
    base, other = (
        with_workload(
            rich_report(), CRUNCHING, threads=replace(threads(gain), speedup=estimate(gain, 0.01), pool_speedup=None)
        )
        for gain in (2.6, 2.2)
    )
    assert compare([("a", base), ("b", other)]).changes == ()


def test_speedup_in_an_executor_alone() -> None:
    """Where only dispatching costs more, what executors give is compared."""
    nodeid = rich_report().workloads[0].nodeid
    dear = with_workload(rich_report(), nodeid, threads=threads(2.0, pool=0.3), processes=threads(1.97, pool=0.2))
    assert [(change.kind, change.worse) for change in against_the_fixed(dear).changes] == [
        (ChangeKind.EXECUTOR, True),
        (ChangeKind.EXECUTOR, False),
    ]


def test_cells_are_on_the_scale_of_the_answer() -> None:
    """A cell has what a pool gives, no more than N times with N workers, and a line below the table says so always."""
    nodeid = rich_report().workloads[2].nodeid
    beyond = replace(threads(3.0), speedup=estimate(3.0), pool_speedup=estimate(2.6, 0.4))
    view = laid_out(against_the_fixed(with_workload(rich_report(), nodeid, processes=beyond)))
    before, after = (cell for row in view.rows if row.nodeid == nodeid for cell in row.cells)
    assert before is not None
    assert after is not None
    assert [one.value for one in before.speedups] == ["0.17x", "0.05x"]
    assert [one.value for one in after.speedups] == ["0.17x", "2.00x"]
    assert laid_out(against_the_fixed(rich_report())).marks.startswith(comparison_layout.SCALE)
    assert after.facts[1] == "processes 2.00x [1.56, 2.00]"
    assert "3.00x" not in "".join(note.lines[0] for note in view.notes)


def test_cells_show_strategies_that_all_have() -> None:
    """A cell shows, with their names, the speed-ups of the strategies that every report has; broken ones by a word."""
    first = rich_report().workloads[1]
    more = replace(first, strategies={**first.strategies, "tasks": threads(1.5)})
    report = replace(rich_report(), workloads=(more, *rich_report().workloads[4:]))
    rows = laid_out(against_the_fixed(report)).rows
    crunching, counter = (next(row for row in rows if name in row.nodeid) for name in ("crunching", "counter"))
    assert {cell.brief for cell in crunching.cells if cell} == {("threads 1.00x", "processes 1.90x")}
    assert {cell.brief for cell in counter.cells if cell} == {("threads failed", "processes 1.84x")}
    assert all(cell.speedups == () for row in rows if "skipped" in row.nodeid for cell in row.cells if cell)


def test_other_worker_counts_are_not_compared() -> None:
    """Speed-ups with different numbers of workers are not held against each other."""
    report = with_workload(rich_report(), CRUNCHING, workers=4, threads=replace(threads(1.0), speedup=estimate(3.5)))
    comparison = against_the_fixed(report)
    assert comparison.changes == ()
    assert slugs(comparison) == ["workers-differ"]


def test_other_machines_compare_ratios_only() -> None:
    """Between machines no times are compared, and the difference is pointed out; speed-ups are."""
    other = on(free_threaded_report(), platform="macOS-15", cpus_usable=8)
    comparison = compare([("a.json", precise_report()), ("b.json", other)])
    assert [change.kind for change in comparison.changes] == [ChangeKind.MOVED, ChangeKind.SPEEDUP]
    assert all(cell is not None and cell.serial_ratio is None for row in comparison.rows for cell in row.cells)
    assert slugs(comparison) == ["machines-differ"]


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({"start_method": "fork"}, "start-methods-differ"),
        ({"scaling_ceiling": 1.3}, "ceilings-differ"),
        ({"compiler": "GCC 16.2.0"}, "compilers-differ"),
        ({"cpus_logical": 64}, "machines-differ"),
    ],
)
def test_reservations(change: dict[str, Any], slug: str) -> None:
    """What makes a comparison shaky is pointed out with both values."""
    comparison = against_the_fixed(on(rich_report(), **change))
    assert slugs(comparison) == [slug]
    text = laid_out(comparison).warnings[0].lines[0]
    assert all(f"3.13 ({name}.json): " in text for name in "ab")


def test_a_control_beyond_its_processes_is_no_difference() -> None:
    """A control that reads 2.40x in 2 processes differs from 1.96x by chance, and is told as 2x."""
    beyond = against_the_fixed(on(rich_report(), scaling_ceiling=2.4))
    assert slugs(beyond) == []
    (slow,) = laid_out(
        compare([("a", on(rich_report(), scaling_ceiling=1.3)), ("b", beyond.columns[1].report)])
    ).warnings
    assert "1.30x" in slow.lines[0]
    assert "2.00x" in slow.lines[0]


def test_other_tool_versions() -> None:
    """Reports by different versions of this tool are compared, and that is pointed out."""
    assert slugs(against_the_fixed(replace(rich_report(), tool_version="0.2.0"))) == ["versions-differ"]


def test_overlap() -> None:
    """Where the sets of workloads differ, the overlap is compared and the rest is listed."""
    report = replace(rich_report(), workloads=rich_report().workloads[:3])
    extra = replace(report.workloads[0], nodeid="test_new.py::test_new")
    comparison = against_the_fixed(replace(report, workloads=(*report.workloads, extra)))
    assert (len(comparison.rows), comparison.shared_by_all) == (3, 3)
    assert [len(nodeids) for nodeids in comparison.unshared] == [6, 1]
    listed = [note.lines[0] for note in laid_out(comparison).warnings]
    assert listed[0].startswith("6 workloads only in 3.13 (a.json), left out: sample_workloads/native/test_hashing.py")
    assert listed[0].endswith("and 1 more")
    assert listed[1] == "1 workload only in 3.13 (b.json), left out: test_new.py::test_new"


def test_no_overlap() -> None:
    """Without a common workload there is nothing to compare."""
    report = replace(rich_report(), workloads=(replace(rich_report().workloads[0], nodeid="other"),))
    with pytest.raises(CompareError, match=r"no workload is in two of the reports \(a\.json has 9, b\.json has 1\)"):
        against_the_fixed(report)


def test_one_report() -> None:
    """A single report has nothing to be compared with."""
    with pytest.raises(CompareError, match="found 1 report, needed: at least 2"):
        compare([("a.json", rich_report())])


def columns(*environments: dict[str, Any]) -> list[tuple[str, int | None]]:
    """Give label and reference of reports from these environments."""
    found = compare([(f"{at}.json", on(rich_report(), **each)) for at, each in enumerate(environments)]).columns
    return [(column.label, column.reference) for column in found]


def test_reference() -> None:
    """A run without GIL is held against the same version with GIL, all others against the first report."""
    without: dict[str, Any] = {"free_threaded_build": True, "gil_enabled": False}
    assert columns(
        {"python": "3.11.9"}, {"python": "3.14.0"}, {"python": "3.14.0", **without}, {"python": "3.15.0", **without}
    ) == [("3.11", None), ("3.14", 0), ("3.14t", 1), ("3.15t", 0)]


def test_reference_on_one_free_threaded_build() -> None:
    """``PYTHON_GIL=0`` is held against ``PYTHON_GIL=1`` where there is no other build of the version."""
    build: dict[str, Any] = {"python": "3.13.0", "free_threaded_build": True}
    assert columns({"python": "3.11.9"}, {**build, "gil_enabled": True}, {**build, "gil_enabled": False}) == [
        ("3.11", None), ("3.13t GIL on", 0), ("3.13t", 1),
    ]  # fmt: skip


def test_labels_differ() -> None:
    """Reports of one Python version are told apart by its micro version, else by their names."""
    assert [said for said, _ in columns({"python": "3.13.0"}, {"python": "3.13.1"})] == [
        "3.13 (3.13.0)",
        "3.13 (3.13.1)",
    ]
    assert [said for said, _ in columns({}, {})] == ["3.13 (0.json)", "3.13 (1.json)"]
    twice = compare([("a.json", rich_report())] * 2)
    assert [column.label for column in twice.columns] == ["1. a.json", "2. a.json"]


def test_label() -> None:
    """A label tells the free-threaded build and its GIL."""
    assert replace(ENVIRONMENT, free_threaded_build=True, gil_enabled=True).label == "3.13t GIL on"
    assert replace(ENVIRONMENT, gil_enabled=False).label == "3.13 GIL off"


@pytest.mark.parametrize(("times", "words"), [(3.0, "3.00x slower"), (0.25, "4.00x faster"), (0.9, "1.11x faster")])
def test_serial_calls(times: float, words: str) -> None:
    """How much slower or faster a single thread is stands in per cent, from twice on as a factor."""
    report = precise_report()
    before = report.workloads[1].serial
    assert before is not None
    changed = replace(before, wall_s_per_call=estimate(before.call_s.value * times, 0.001))
    comparison = compare([("a", report), ("b", with_workload(report, CRUNCHING, serial=changed))])
    size, _, direction = words.rpartition(" ")
    assert said(comparison) == [f"3.13 (b): serial calls are {direction} than in 3.13 (a): test_data_crunching {size}"]


def test_shifts_are_said_together() -> None:
    """What shifted the same way in one report is one sentence, the largest shift first, and names so many at most."""
    many = tuple(
        with_parts(replace(rich_report().workloads[0], nodeid=f"t.py::test_{number}"), serial=serial(0.1, 0.01, 0.01))
        for number in range(MOST_NAMED + 2)
    )
    slower = tuple(
        with_parts(each, serial=serial(0.1 * (1.2 + number / 10), 0.01, 0.01)) for number, each in enumerate(many)
    )
    before, after = (replace(rich_report(), workloads=workloads) for workloads in (many, slower))
    (sentence,) = said(compare([("a", before), ("b", after)]))
    start, _, names = sentence.partition(" than in 3.13 (a): ")
    assert start == "3.13 (b): serial calls are slower"
    assert names.startswith("test_9 2.10x, test_8 2.00x, test_7 1.90x, ")
    assert names.endswith(", test_2 1.40x, and 2 more")


def test_shared_facts_are_said_once() -> None:
    """What is the same in all reports stands apart from what tells them apart."""
    view = laid_out(against_the_fixed(on(rich_report(), python="3.14.0")))
    assert "report" in view.fact_labels
    assert "Python" in view.fact_labels
    assert "platform" not in view.fact_labels
    assert [fact.value for fact in view.facts if fact.label == "platform"] == ["Linux-6.1-x86_64"]


def test_looks_like() -> None:
    """Machines look alike by platform and CPUs, whatever Python runs on them."""
    assert ENVIRONMENT.looks_like(replace(ENVIRONMENT, python="3.9.1"))
    one, other = (replace(ENVIRONMENT, platform=f"Linux-6.1-x86_64-with-glibc2.{minor}") for minor in (36, 43))
    assert one.looks_like(other), "a Python built elsewhere was linked to another C library"
    here, there = (on(rich_report(), platform=each.platform) for each in (one, other))
    assert slugs(compare([("a", here), ("b", there)])) == []
    assert not ENVIRONMENT.looks_like(replace(ENVIRONMENT, cpus_usable=1))


@given(estimates(), estimates(), st.floats(0, 1), st.floats(0, 1))
def test_ratio_holds_all_ratios(after: Estimate, before: Estimate, one: float, other: float) -> None:
    """A ratio's interval holds the ratio of any two values from the two intervals, or there is none."""
    found = ratio(after, before)
    if after.low <= 0 or before.low <= 0:
        assert found is None
    elif found is not None:
        above = after.low + (after.high - after.low) * one
        below = before.low + (before.high - before.low) * other
        assert found.low * (1 - 1e-9) <= above / below <= found.high * (1 + 1e-9)


def test_ratio_beyond_floats() -> None:
    """A ratio that no float holds is none."""
    huge, tiny = (Estimate(value=value, low=value, high=value) for value in (1e300, 1e-300))
    assert ratio(huge, tiny) is None


def test_absurd_intervals() -> None:
    """Intervals that no float holds once they are widened are compared as far as they can be."""
    absurd = replace(threads(1.0), speedup=Estimate(value=1.0, low=1e-250, high=1e250))
    absurd = replace(absurd, pool_speedup=absurd.speedup)
    assert against_the_fixed(with_workload(rich_report(), CRUNCHING, threads=absurd)).changes == ()


def test_ratio_of_nothing() -> None:
    """What was not measured has no ratio."""
    assert ratio(None, estimate(1.0)) is None
    assert ratio(estimate(1.0), None) is None


@pytest.mark.thorough
@given(reports(), reports())
@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
def test_any_reports(one: Report, other: Report) -> None:
    """Any two reports are compared and drawn in every form, or refused with a reason."""
    shared = tuple(replace(new, nodeid=old.nodeid) for new, old in zip(other.workloads, one.workloads, strict=False))
    try:
        comparison = compare([("a", one), ("b", replace(other, workloads=shared))])
    except CompareError as error:
        assert "nothing to compare" in str(error)  # noqa: PT017 both ends are right
        return
    for change in comparison.changes:
        shift = 1.0 if change.ratio is None else change.ratio.value
        assert change.ratio is None or max(shift, 1 / shift) >= 1 + LEAST_DIFFERENCE
    text = terminal.text(comparison_terminal.draw(comparison, BUILT_IN, width=60), color=False)
    assert all(line.isprintable() for line in text.split("\n"))
    assert markdown.draw_comparison(comparison, BUILT_IN).startswith("## ")
    html.draw_comparison(comparison, BUILT_IN).encode()
