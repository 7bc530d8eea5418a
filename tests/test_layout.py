"""What to say of a report."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from reports_fixture import ENVIRONMENT, HOSTILE_NODEID, rich_report, serial, shares, threads
from strategies import reports

from pytest_gilprobe.model import Outcome, Recommendation, Report, Status, Transfer, WorkloadResult
from pytest_gilprobe.reporters import layout
from pytest_gilprobe.reporters.layout import report_view, workload_view
from pytest_gilprobe.reporters.pictures import slices
from pytest_gilprobe.reporters.views import WorkloadView


def workload(test: str) -> WorkloadResult:
    """Find a workload of the fixed report by its test."""
    return next(each for each in rich_report().workloads if each.nodeid.endswith(test))


def view(test: str) -> WorkloadView:
    """Lay out a workload of the fixed report."""
    return workload_view(workload(test), ENVIRONMENT)


def test_head() -> None:
    """The head names Python, the two facts about its GIL, CPUs, workers, ceiling and start method."""
    facts = {fact.label: fact.value for fact in report_view(rich_report()).facts}
    assert facts == {
        "Python": "CPython 3.13.0 (standard build, GIL on)",
        "CPUs": "2 of 4 usable",
        "workers": "2",
        "ceiling": "1.96x in 2 processes",
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
    assert layout.build(replace(ENVIRONMENT, free_threaded_build=free_threaded, gil_enabled=gil)) == said


def test_unknown_machine() -> None:
    """What was not measured reads as not available."""
    report = replace(rich_report(), environment=replace(ENVIRONMENT, load_average_1min=None, scaling_ceiling=None))
    facts = {fact.label: fact.value for fact in report_view(report).facts}
    assert (facts["load"], facts["ceiling"]) == ("n/a", "n/a")


def test_summary() -> None:
    """Every answer is counted, and so is what broke."""
    assert report_view(rich_report()).summary == (
        "9 workloads: 1 serial, 2 threads, 2 processes, 2 inconclusive, 1 not probed, 1 error; "
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
    assert {fact.label: fact.value for fact in report_view(report).facts}["workers"] == "2 to 4"


def test_cells() -> None:
    """A workload's cells are the numbers of its record, formatted."""
    found = view("crunching")
    assert (found.answer, found.answer_speedup, found.bound, found.cpu, found.per_call) == (
        "processes", "1.9x", "CPU", "98 %", "13 ms",
    )  # fmt: skip
    assert (found.gil, found.gil_share) == ("held", ">99 %")
    assert found.threads.speedup == "1.01x [0.98, 1.04]"
    assert found.processes.speedup == "1.94x [1.88, 2.00]"
    assert not found.broken
    assert found.noted


def test_broken_strategies() -> None:
    """A strategy that failed, hung or crashed stands with that word, no number and its error."""
    found = view("barrier")
    assert (found.threads.speedup, found.processes.speedup) == ("hung", "crashed")
    assert found.broken
    assert [(note.kind, note.label, note.lines) for note in found.notes[1:]] == [
        ("hung", "hung in threads", ("still running after 60 s; killed",)),
        ("crashed", "crashed in processes", ("worker ended by signal 11 (SIGSEGV)",)),
    ]
    assert found.threads.bar is None


def test_no_error_text() -> None:
    """A strategy that broke without saying why is still listed."""
    broken = replace(workload("barrier"), threads=replace(workload("barrier").threads, error=None))
    assert workload_view(broken).notes[1].lines == ("no further detail",)


def test_nothing_measured_has_no_number() -> None:
    """A strategy that went well but gave no estimate reads ``n/a``, without a bar."""
    bare = replace(workload("crunching"), threads=replace(threads(1.0), speedup=None, pool_speedup=None, shares=None))
    found = workload_view(bare).threads
    assert (found.speedup, found.bar, found.slices) == ("n/a", None, ())


def test_pool_that_costs() -> None:
    """Where handing out calls eats the gain, the pool's speed-up is told."""
    notes = {note.kind: note.lines[0] for note in view("scripting").notes}
    assert notes["pool"] == "processes 0.05x [0.05, 0.05]"
    assert "pool" not in {note.kind for note in view("download_files").notes}


@pytest.mark.parametrize(("test", "answer"), [("test_skipped", "not probed"), ("test_tool", "error")])
def test_not_probed(test: str, answer: str) -> None:
    """A workload that was not measured has a reason and no numbers."""
    found = view(test)
    assert (found.answer, found.probed, found.cpu, found.per_call) == (answer, False, "n/a", "n/a")
    assert len(found.notes) == 1
    assert found.notes[0].label == answer


def test_not_probed_without_a_reason() -> None:
    """Even a record without any reason says that."""
    mute = replace(workload("test_skipped"), reason=None)
    mute = replace(mute, verdict=replace(mute.verdict, reason=""))
    assert workload_view(mute).notes[0].lines == ("no reason was recorded",)


@pytest.mark.parametrize("strategy", [Recommendation.SERIAL, Recommendation.INCONCLUSIVE])
def test_no_speedup_without_a_pool(strategy: Recommendation) -> None:
    """Serial and inconclusive promise no speed-up."""
    result = workload("crunching")
    result = replace(result, verdict=replace(result.verdict, strategy=strategy))
    assert workload_view(result).answer_speedup == ""


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
    found = workload_view(replace(workload("crunching"), workers=4), ENVIRONMENT).scale
    assert found is not None
    assert "ceiling" not in {mark.kind for mark in found.marks}


def test_slices_fill_the_width() -> None:
    """Where the time goes adds up, in order: on the CPU, waiting for the GIL, blocked, in the run queue."""
    found = view("crunching").threads.slices
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
        for strategy in found.strategies:
            assert strategy.speedup.isprintable()
            assert all(0 <= part.start <= 100.1 and 0 <= part.width <= 100.1 for part in strategy.slices)
            if strategy.bar:
                assert 0 <= strategy.bar.low <= strategy.bar.end <= strategy.bar.high <= 100
        if found.probed and result.threads.outcome is not Outcome.OK:
            assert found.threads.value == str(result.threads.outcome)


def test_moving_is_told_by_every_way_that_was_measured() -> None:
    """A call's data has its sizes and what each way costs; ways that were not measured are not named."""
    moved = Transfer(argument_bytes=2_097_152, result_bytes=40, pipe_s=0.002, queue_s=0.003, parent_s=0.001, worker_s=0)
    shared = replace(moved, queue_s=None, shared_parent_s=0.0005, shared_worker_s=0.0005)
    notes = [
        note
        for transfer in (moved, shared, None)
        for note in workload_view(replace(workload("crunching"), transfer=transfer)).notes
        if note.kind == "moving"
    ]
    assert [note.lines for note in notes] == [
        ("2.0 MiB there, 40 B back: 2.0 ms through a Pipe, 3.0 ms through a Queue",),
        ("2.0 MiB there, 40 B back: 2.0 ms through a Pipe, 1.0 ms through shared memory",),
    ]
