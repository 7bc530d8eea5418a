"""What to say of a report."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from reports_fixture import (
    ENVIRONMENT,
    HOSTILE_NODEID,
    broken,
    estimate,
    rich_report,
    serial,
    shares,
    threads,
    with_parts,
)
from strategies import reports

from pytest_gilprobe.model.executors import ExecutorResult
from pytest_gilprobe.model.loop_time import Blocker, CallSite, EventLoop, LoopShares
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import StrategyResult, Transfer, WorkloadResult
from pytest_gilprobe.model.words import INCONCLUSIVE, NOT_ASKED, SERIAL, CallKind, Gil, Outcome, Status
from pytest_gilprobe.report import html, layout, machine_layout, markdown, terminal
from pytest_gilprobe.report.geometry import scale_for, slices
from pytest_gilprobe.report.views import ReportView, StrategyView, WorkloadView
from pytest_gilprobe.strategies.contract import Strategy
from pytest_gilprobe.strategies.registry import BUILT_IN, Strategies

UNKNOWN = "elsewhere"
"""A strategy that is not registered here."""


def report_view(report: Report) -> ReportView:
    """Lay out a report with the strategies that come with the package."""
    return layout.report_view(report, BUILT_IN)


def workload_view(result: WorkloadResult) -> WorkloadView:
    """Lay out a workload of the fixed report's machine."""
    return layout.workload_view(result, BUILT_IN, ENVIRONMENT)


def part(found: WorkloadView, name: str) -> StrategyView:
    """Find a strategy of a workload."""
    strategy = found.strategy(name)
    assert strategy is not None
    return strategy


def workload(test: str) -> WorkloadResult:
    """Find a workload of the fixed report by its test."""
    return next(each for each in rich_report().workloads if each.nodeid.endswith(test))


def view(test: str) -> WorkloadView:
    """Lay out a workload of the fixed report."""
    return workload_view(workload(test))


def test_head() -> None:
    """The head names Python, the two facts about its GIL, CPUs, workers, ceiling and start method."""
    facts = {fact.label: fact.value for fact in report_view(rich_report()).facts}
    assert facts == {
        "Python": "CPython 3.13.0 (standard build, GIL on)",
        "CPUs": "2 of 4 usable",
        "workers": "2 (others not tried: --gilprobe-scale)",
        "ceiling": "1.96x of a plain Python loop in 2 processes",
        "start method": "spawn",
        "load": "0.31",
        "platform": "Linux-6.1-x86_64",
    }


@pytest.mark.parametrize(
    ("free_threaded", "gil", "said"),
    [
        (False, True, "standard build, GIL on"),
        (True, False, "free-threaded build, GIL off"),
        (True, True, "free-threaded build, GIL on"),
    ],
)
def test_build(free_threaded: bool, gil: bool, said: str) -> None:  # noqa: FBT001
    """A free-threaded build and a GIL that is on are two facts."""
    assert machine_layout.build(replace(ENVIRONMENT, free_threaded_build=free_threaded, gil_enabled=gil)) == said


def test_unknown_machine() -> None:
    """What was not measured reads as not available."""
    report = replace(rich_report(), environment=replace(ENVIRONMENT, load_average_1min=None, scaling_ceiling=None))
    facts = {fact.label: fact.value for fact in report_view(report).facts}
    assert (facts["load"], facts["ceiling"]) == ("n/a", "n/a")


def test_summary() -> None:
    """Every answer is counted, and so is what broke."""
    assert report_view(rich_report()).summary == (
        "9 workloads: serial 1, threads 2, processes 2, inconclusive 2, not probed 1, error 1; "
        "1 crashed in processes, 1 failed in processes, 1 failed in threads, 1 hung in threads"
    )


def test_empty() -> None:
    """A report without workloads says so."""
    empty = report_view(replace(rich_report(), workloads=()))
    assert empty.summary == "no workloads"
    assert "workers" not in {fact.label for fact in empty.facts}


def test_different_workers() -> None:
    """Worker counts that differ are given as a range."""
    first, *others = rich_report().workloads
    report = replace(rich_report(), workloads=(replace(first, workers=4), *others))
    assert {fact.label: fact.value for fact in report_view(report).facts}["workers"].startswith("2 to 4 (")


def test_cells() -> None:
    """A workload's cells are the numbers of its record, formatted, under the headers of the report."""
    found = report_view(rich_report())
    assert dict(zip(found.headers, found.cells(found.workloads[1]), strict=True)) == {
        "workload": "sample_workloads/test_scenarios.py::test_data_crunching",
        "strategy": "processes 1.9x",
        "bound": "CPU",
        "CPU": "98 %",
        "per call": "13 ms",
        "threads": "1.00x [0.97, 1.03]",
        "processes": "1.90x [1.84, 1.96]",
        "GIL held": "held 98 %",
    }
    assert found.sort_keys(found.workloads[1]) == "0.98,0.0134,1,1.9,0.975"
    assert not found.workloads[1].broken
    assert found.workloads[1].noted


def test_figures_of_a_strategy() -> None:
    """Whatever was measured of a strategy is listed, and nothing else; the GIL's figures stand apart."""
    found = view("crunching")
    assert part(found, SERIAL).extra == "CPU per call 13 ms, first call 20 ms, calls 120, rounds 6"
    assert part(found, "processes").extra == (
        "calls alone 1.94x [1.88, 2.00], CPU per call 13 ms, dispatch 90 µs, transfer 120 µs, "
        "start-up with pytest 240 ms, memory per worker 41 MiB, calls 240, rounds 6"
    )
    assert found.gil_extra == "longest hold 4.0 ms, ceiling of threads 1.03x"
    own = replace(workload("crunching").strategies[SERIAL], extra_cores=0.52)
    own_threads = workload_view(with_parts(workload("crunching"), serial=own))
    assert "own threads 0.52 more cores" in part(own_threads, SERIAL).extra


def test_figures_that_round_to_nothing_are_left_out() -> None:
    """What rounds to nothing is no figure: neither cores nor times nor memory."""
    serial = replace(workload("crunching").strategies[SERIAL], extra_cores=8.4e-05, first_call_s=1e-12)
    found = replace(
        workload("crunching").strategies["processes"],
        transfer_s_per_call=0.0,
        start_up_s=3e-11,
        rss_bytes_per_worker=0,
    )
    shown = workload_view(with_parts(workload("crunching"), serial=serial, processes=found))
    assert part(shown, SERIAL).extra == "CPU per call 13 ms, calls 120, rounds 6"
    assert part(shown, "processes").extra == (
        "calls alone 1.94x [1.88, 2.00], CPU per call 13 ms, dispatch 90 µs, calls 240, rounds 6"
    )


def test_broken_strategies() -> None:
    """A strategy that failed, hung or crashed stands with that word, no number and its error."""
    found = view("barrier")
    assert [one.speedup for one in found.parallel] == ["hung", "crashed"]
    assert found.broken
    assert [(note.kind, note.label, note.lines) for note in found.notes[1:]] == [
        ("hung", "hung in threads", ("still running after 60 s; killed",)),
        ("crashed", "crashed in processes", ("worker ended by signal 11 (SIGSEGV)",)),
    ]
    assert part(found, "threads").bar is None


def test_no_error_text() -> None:
    """A strategy that broke without saying why is still listed."""
    mute = with_parts(workload("barrier"), threads=broken(Outcome.HUNG, None))
    assert workload_view(mute).notes[1].lines == ("no further detail",)


def test_nothing_measured_has_no_number() -> None:
    """A strategy that went well but gave no estimate reads ``n/a``, without a bar."""
    bare = with_parts(workload("crunching"), threads=StrategyResult(outcome=Outcome.OK))
    found = part(workload_view(bare), "threads")
    assert (found.speedup, found.bar, found.slices, found.extra) == ("n/a", None, (), "")


def test_strategies_differ_between_workloads() -> None:
    """There is a column for each strategy that any workload was asked for, and an empty cell where one has it not."""
    never = StrategyResult(outcome=Outcome.SKIPPED, error=NOT_ASKED, impossible=True)
    first = replace(workload("crunching"), strategies={SERIAL: serial(0.0134, 0.98, 0.975), "threads": threads(1.01)})
    second = with_parts(first, threads=never, **{UNKNOWN: threads(1.5)})
    found = report_view(replace(rich_report(), workloads=(first, second)))
    assert found.headers[5:-1] == ("threads", UNKNOWN)
    assert [found.cells(one)[5:-1] for one in found.workloads] == [
        ("0.98x [0.95, 1.01]", ""),
        ("", "1.46x [1.41, 1.50]"),
    ]
    assert [note.kind for note in found.workloads[1].notes] == ["reason", "holder", "caution"]
    nobody = with_parts(first, threads=never)
    assert report_view(replace(rich_report(), workloads=(nobody,))).columns == ()


def test_unknown_holders_are_said_with_the_reason_where_the_gil_is_in_the_way() -> None:
    """With ``-v`` and on the page the reason stands where the holders would; a GIL that is free needs none."""
    seen = replace(workload("crunching").gil, holders=None, stacks=None, holders_reason="calls are shorter than 20 us")
    first = replace(workload("crunching"), gil=seen)
    (note,) = [one for one in workload_view(first).notes if one.kind == "holder"]
    assert (note.label, note.lines) == ("where the GIL is held", ("not known: calls are shorter than 20 us",))
    for free in (Gil.ABSENT, Gil.RELEASED):
        other = workload_view(replace(first, verdict=replace(first.verdict, gil=free)))
        assert "holder" not in {one.kind for one in other.notes}


class Bright(Strategy):
    """A strategy whose color no medium knows."""

    name = "bright"
    rank = 1
    color = "neon"
    icon = "M1 1h14"

    workers_needed = questions = run = why_advised = lambda *_: None  # type: ignore[assignment]


def test_looks_are_those_of_the_strategy() -> None:
    """Color and icon come from the registered strategy; an unknown strategy or color is gray."""
    found = view("crunching")
    known = BUILT_IN["processes"]
    assert (found.answer.color, found.answer.icon) == (known.color, known.icon)
    usual = [one for one in BUILT_IN.existing_for(CallKind.PLAIN) if one.by_default]
    assert [one.color for one in found.strategies] == [one.color for one in usual]
    alien = replace(workload("crunching"), verdict=replace(workload("crunching").verdict, strategy=UNKNOWN))
    shown = workload_view(alien).answer
    assert (shown.word, shown.color, shown.is_open) == (UNKNOWN, "gray", False)
    bright = replace(alien, verdict=replace(alien.verdict, strategy="bright"))
    shown = layout.answer_view(bright, Strategies([*BUILT_IN, Bright()]))
    assert (shown.color, shown.icon) == ("gray", "M1 1h14")


def test_answers_are_counted_from_the_cheapest_strategy() -> None:
    """Registered strategies come first in their order, then unknown ones, then what is no strategy."""
    words = (INCONCLUSIVE, UNKNOWN, "processes", SERIAL)
    found = workload("crunching")
    workloads = tuple(replace(found, verdict=replace(found.verdict, strategy=word)) for word in words)
    counts = report_view(replace(rich_report(), workloads=workloads)).counts
    assert [count.answer.word for count in counts] == [
        SERIAL,
        "processes",
        workload_view(workloads[1]).answer.word,
        INCONCLUSIVE,
    ]


def test_pool_that_costs() -> None:
    """Where dispatching calls takes the gain, cells have what a pool gives, a note what the calls alone would."""
    found = view("scripting")
    assert [one.value for one in found.parallel] == ["0.17x", "0.05x"]
    notes = {note.kind: note.lines[0] for note in found.notes}
    assert notes["pool"] == "threads 0.98x [0.95, 1.01], processes 1.91x [1.85, 1.97]"
    assert "pool" not in {note.kind for note in view("download_files").notes}


def test_nothing_gains_more_than_its_workers_do() -> None:
    """N calls at once gain N times at most, whatever a disturbed measurement reads, and so does the control loop."""
    beyond = replace(threads(3.0), speedup=estimate(3.0), pool_speedup=estimate(2.6, 0.4))
    found = workload_view(with_parts(workload("scripting"), threads=beyond))
    threads_there = part(found, "threads")
    assert threads_there.speedup == "2.00x [1.56, 2.00]"
    assert threads_there.extra.startswith("calls alone 2.00x [2.00, 2.00], ")
    assert threads_there.sort_key == "2"
    assert found.scale is not None
    assert found.scale.top < 2.5
    assert "threads 2.00x" in next(note.lines[0] for note in found.notes if note.kind == "pool")
    machine = replace(ENVIRONMENT, scaling_ceiling=2.15)
    assert machine_layout.ceiling(machine) == "2.00x of a plain Python loop in 2 processes"
    marks = {mark.label for mark in scale_for(workload("crunching"), machine).marks}
    assert "ceiling 2.00x" in marks


def test_an_executor_has_workers_of_its_own() -> None:
    """What limits the speed-up of a named executor is how many calls it makes at once, not the number of threads."""
    cost = ExecutorResult(
        factory="shop.pools:make",
        kind="Client",
        workers=4,
        at_once=4,
        start_up_s=1.0,
        round_trip_s=0.002,
        task_s=0.0002,
        data_s=0.0,
        calls_per_task=8,
        on_this_machine=False,
    )
    beyond = replace(threads(3.5, pool=3.2), executor=cost)
    found = part(workload_view(with_parts(workload("crunching"), **{UNKNOWN: beyond})), UNKNOWN)
    assert found.value == "3.20x"
    assert found.extra.startswith("in larger tasks 3.50x")


def test_an_open_verdict_names_what_is_left() -> None:
    """Of an open verdict the strategies that the evidence leaves come first, the likeliest first."""
    found = workload("barrier")
    for left, said in (
        ({"serial": 0.3, "threads": 0.7}, "threads or serial (70 : 30); hung"),
        ({"a": 0.5, "b": 0.2, "c": 0.3}, "a, c or b (50 : 30 : 20); hung"),
        ({"a": 0.9995, "b": 0.0005}, "hung"),
        ({}, "hung"),
    ):
        opened = replace(found, verdict=replace(found.verdict, candidates=left))
        assert workload_view(opened).notes[0].lines[0].startswith(said)
        decided = replace(opened, verdict=replace(opened.verdict, strategy=SERIAL))
        assert workload_view(decided).notes[0].lines[0].startswith("hung")


@pytest.mark.parametrize(("test", "answer"), [("test_skipped", "not probed"), ("test_tool", "error")])
def test_not_probed(test: str, answer: str) -> None:
    """A workload that was not measured has a reason and no numbers."""
    found = view(test)
    assert (found.answer.word, found.probed, found.cpu, found.per_call) == (answer, False, "n/a", "n/a")
    assert len(found.notes) == 1
    assert found.notes[0].label == answer


def test_not_probed_without_a_reason() -> None:
    """Even a record without any reason says that."""
    mute = replace(workload("test_skipped"), reason=None)
    mute = replace(mute, verdict=replace(mute.verdict, reason=""))
    assert workload_view(mute).notes[0].lines == ("no reason was recorded",)


@pytest.mark.parametrize("strategy", [SERIAL, INCONCLUSIVE])
def test_no_speedup_without_a_pool(strategy: str) -> None:
    """Serial and inconclusive promise no speed-up."""
    result = workload("crunching")
    result = replace(result, verdict=replace(result.verdict, strategy=strategy, speedup=1.0))
    assert workload_view(result).answer.speedup == ""


def test_hostile_name() -> None:
    """A hostile name is shown with its escapes, its markup untouched: escaping that is the medium's part."""
    found = workload_view(next(each for each in rich_report().workloads if each.nodeid == HOSTILE_NODEID))
    assert "<script>" in found.nodeid
    assert r"\x1b[31m\u202e\ud800" in found.nodeid


def test_scale_holds_all_marks() -> None:
    """The axis holds 1x, the worker count, the ceiling and every interval."""
    scale = view("crunching").scale
    assert scale is not None
    assert [(mark.kind, mark.label) for mark in scale.marks] == [
        ("one", "1x"), ("workers", "2 workers"), ("ceiling", "ceiling 1.96x"),
    ]  # fmt: skip
    assert all(0 < mark.at < 100 for mark in scale.marks)
    assert scale.at(-5) == 0
    assert scale.at(1e9) == 100


def test_no_ceiling_for_other_worker_counts() -> None:
    """The ceiling was measured with a number of workers and is not drawn for another."""
    found = workload_view(replace(workload("crunching"), workers=4)).scale
    assert found is not None
    assert "ceiling" not in {mark.kind for mark in found.marks}


def test_slices_fill_the_width() -> None:
    """Where the time goes adds up, in order: on the CPU, waiting for the GIL, blocked, in the run queue."""
    found = part(view("crunching"), "threads").slices
    assert [part.kind for part in found] == ["held", "free", "wait", "blocked", "queue"]
    assert sum(part.width for part in found) == pytest.approx(100, abs=0.5)


def test_slices_without_the_gil() -> None:
    """Where the GIL was not watched, time on the CPU is one slice."""
    base = serial(0.01, 0.5, None)
    assert [part.kind for part in slices(base.shares)] == ["cpu", "blocked", "queue"]
    assert slices(None) == ()
    assert slices(shares(held=0.0, free=0.0, wait=None, blocked=0.0, queue=None)) == ()


def test_gil_wait_inside_blocked() -> None:
    """A wait for the GIL is a part of being blocked, and drawn once."""
    found = {part.kind: part.share for part in slices(shares(held=0.5, free=0.0, wait=0.4, blocked=0.49))}
    assert (found["wait"], found["blocked"]) == ("40 %", "9 %")


@given(reports())
@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
def test_any_report_is_laid_out(report: Report) -> None:
    """Every report that can be written can be laid out, in text that is safe on one line."""
    drawn = report_view(report)
    assert len(drawn.probed) + len(drawn.not_probed) == len(report.workloads)
    assert drawn.summary.isprintable()
    for found, result in zip(drawn.workloads, report.workloads, strict=True):
        assert found.probed == (result.status in (Status.PROBED, Status.SCANNED) and result.serial is not None)
        assert all(line.isprintable() for note in found.notes for line in note.lines)
        assert all(cell.isprintable() for cell in drawn.cells(found) if found.probed)
        for strategy in found.strategies:
            assert all(0 <= part.start <= 100.1 and 0 <= part.width <= 100.1 for part in strategy.slices)
            if strategy.bar:
                assert 0 <= strategy.bar.low <= strategy.bar.end <= strategy.bar.high <= 100


def test_moving_is_told_by_every_way_that_was_measured() -> None:
    """A call's data has its sizes and what each way costs; ways that were not measured are not named."""
    moved = Transfer(argument_bytes=2_097_152, result_bytes=40, pipe_s=0.002, parent_s=0.001, worker_s=0)
    shared = replace(moved, shared_parent_s=0.0005, shared_worker_s=0.0005)
    found = workload("crunching")
    parts = {name: replace(part, transfer_s_per_call=None) for name, part in found.strategies.items()}
    found = replace(found, strategies={**parts, "processes": replace(parts["processes"], transfer_s_per_call=0.002)})
    notes = [
        note.lines
        for transfer in (moved, shared, None)
        for note in workload_view(replace(found, transfer=transfer)).notes
        if note.kind == "moving"
    ]
    assert notes == [
        ("2.0 MiB there, 40 B back: 2.0 ms through a pipe",),
        ("2.0 MiB there, 40 B back: 2.0 ms through a pipe, 1.0 ms through shared memory",),
    ]


def blocker(share: float, line: int, code: str, *, computes: bool) -> Blocker:
    """Make a place that blocks an event loop for this share of the blocked time."""
    return Blocker(
        share=estimate(share),
        function="query",
        file="app.py",
        line=line,
        code=code,
        computing=share if computes else 0.0,
        blocking=0.0 if computes else share,
        gil_wait=0.0,
        gil_held=float(computes),
        call=CallSite(function="handler", file="app.py", line=15, code="query(1)"),
    )


def with_blockers() -> WorkloadResult:
    """Make a workload whose calls block their event loop in two places."""
    blockers = (
        blocker(0.7, 8, "time.sleep(1)", computes=False),
        blocker(0.3, 9, "<b>parse</b>()", computes=True),
    )
    shares = LoopShares(waiting=0.4, computing=0.56, blocking=0.04, gil_wait=0.0)
    loop = EventLoop(blocked_fraction=estimate(0.6), shares=shares, blockers=blockers)
    return replace(workload("crunching"), event_loop=loop)


def test_blockers_are_a_note_and_the_loops_time_a_stripe() -> None:
    """What blocks the loop is told by place, with what it does there and the remedy; a hardly blocked loop is not."""
    shown = workload_view(with_blockers())
    (note,) = [one for one in shown.notes if one.kind == "blocker"]
    assert note.lines[0] == "70 % in time.sleep(1) at app.py:8, asleep"
    assert "holds the GIL" in note.lines[-1]
    assert [(one.kind, one.share) for one in shown.loop.slices] == [
        ("events", "40 %"),
        ("cpu", "56 %"),
        ("asleep", "4 %"),
    ]
    assert shown.loop.blocked == "blocked for 60 %"
    loop = with_blockers().event_loop
    assert loop is not None
    calm = workload_view(replace(with_blockers(), event_loop=replace(loop, blocked_fraction=estimate(0.03))))
    assert [one.kind for one in calm.notes if one.kind in {"loop", "blocker"}] == ["loop"]
    assert calm.loop.blockers == ()


def test_blockers_are_drawn_in_every_medium() -> None:
    """The terminal has lines, Markdown and HTML have a table, and the page has the stripe; markup in code is text."""
    report = replace(rich_report(), workloads=(with_blockers(),))
    page, comment = html.draw(report, BUILT_IN), markdown.draw(report, BUILT_IN)
    lines = terminal.text(terminal.draw(report, BUILT_IN), color=False)
    assert "what blocks the event loop: 70 % in time.sleep(1) at app.py:8, asleep" in lines
    assert "<summary>What blocks the event loop</summary>" in comment
    assert "| `time.sleep(1)` | `app.py:8` | asleep |" in comment
    assert page.count("time.sleep(1)") >= 2
    assert (
        'aria-label="event loop: 40 % waiting for events, the loop free, 56 % computing, 4 % asleep in a call"' in page
    )
    assert "<b>parse</b>()" not in page
    assert "event loop: free" in page
    assert "event loop: free" not in html.draw(rich_report(), BUILT_IN)


def test_event_loop_is_a_note() -> None:
    """What blocks the event loop is told with its causes; what is not known says why, and nothing is no number."""
    shares = LoopShares(waiting=0.4, computing=0.2, blocking=0.4, gil_wait=0.0)
    known = EventLoop(blocked_fraction=estimate(0.6), tasks_ceiling=1 / 0.6, longest_block_s=0.03, shares=shares)
    causes = "computing 20 %, in a call that sleeps 40 %"
    cases = (
        (known, f"blocked for 60 % of a call's time ({causes}); tasks cannot exceed 1.67x; longest block 30 ms"),
        (EventLoop(why_unknown="trio is a guest"), "not measured: trio is a guest"),
        (EventLoop(), "n/a"),
    )
    for loop, said in cases:
        shown = workload_view(replace(workload("crunching"), event_loop=loop))
        (note,) = [one for one in shown.notes if one.kind == "loop"]
        assert (note.label, note.lines) == ("event loop", (said,))
