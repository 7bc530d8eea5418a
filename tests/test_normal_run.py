"""What a test's own run showed, where the call takes too long to be probed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from evidence import gil_samples, lane, worker
from fake_workers import plan
from reports_fixture import ENVIRONMENT
from sessions import run, write

from pytest_gilprobe.model.readings import BatchReading, GilSamples, LaneReading, Measurement, Round
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.words import Bound, Gil, Outcome, Status
from pytest_gilprobe.probing import function
from pytest_gilprobe.report import brief_terminal, layout
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict.normal_run import told
from pytest_gilprobe.verdict.results import unmeasured
from pytest_gilprobe.workers.normal_run import NormalRun


def as_batch(*lanes: LaneReading, gil: GilSamples | None = None, gil_on: bool = True) -> BatchReading:
    """Make a batch of these lanes, of one process."""
    return BatchReading(workers=(worker(*lanes, gil_on=gil_on),), gil=gil)


LONG = unmeasured(plan(), BUILT_IN.names, Status.NOT_PROBED, "one call takes 6.0 s")


@pytest.mark.parametrize(
    ("found", "bound", "said"),
    [
        (lane(6.0, cpu_s=6.0), Bound.CPU, "CPU-bound (100 % of one core)"),
        (lane(6.0, cpu_s=4.0, queue_s=2.0), Bound.CPU, "CPU-bound (100 % of one core)"),
        (lane(6.0, cpu_s=0.06), Bound.IO, "I/O-bound (1 % of one core)"),
        (lane(6.0, cpu_s=3.0, queue_s=None), Bound.MIXED, "half waiting, half computing (50 % of one core)"),
    ],
)
def test_run_says_what_it_is_bound_by(found: LaneReading, bound: Bound, said: str) -> None:
    """The bound is that of the run, without its time in the run queue; nothing is said of any strategy."""
    result = told(LONG, as_batch(found))
    assert result.verdict.bound is bound
    assert result.reason == f"one call takes 6.0 s; the test's own run took 6.0 s and was {said}"
    serial = result.strategies["serial"]
    assert (serial.outcome, serial.calls) == (Outcome.SKIPPED, 1)
    assert serial.wall_s_per_call is not None
    assert serial.wall_s_per_call.value == 6.0
    assert (result.status, result.verdict.strategy, result.serial) == (Status.NOT_PROBED, "inconclusive", None)


@pytest.mark.parametrize("found", [None, lane(0.05, cpu_s=0.05)])
def test_short_run_says_nothing(found: LaneReading | None) -> None:
    """A run that was not watched, or too short to tell, leaves the result as it is."""
    assert told(LONG, None if found is None else as_batch(found)) == LONG


def test_run_says_how_long_the_gil_was_held() -> None:
    """The held share is that of samples of pytest's process; without a GIL none was held, else it is unknown."""
    run = lane(6.0, cpu_s=6.0)
    held = told(LONG, as_batch(run, gil=gil_samples(1.0, span_s=6.0)))
    assert held.verdict.gil is Gil.HELD
    assert held.gil.held_fraction is not None
    assert held.reason is not None
    assert held.reason.endswith("; the GIL was held for 100 % of it")
    assert told(LONG, as_batch(run, gil_on=False)).verdict.gil is Gil.ABSENT
    assert told(LONG, as_batch(run)).verdict.gil is Gil.UNKNOWN


def test_single_calls_gain_no_more_than_their_number() -> None:
    """The test's own run, the first, may be far slower than a call: two calls at once are said to gain 2x at most."""
    own = as_batch(lane(6.0, cpu_s=6.0))
    both = as_batch(lane(3.0, cpu_s=3.0), lane(3.0, cpu_s=3.0))
    seen = Measurement(workers=2, rounds=(Round(batches={"serial": own, "processes": both}),), ends={})
    assert (told(LONG, own, seen).reason or "").endswith("; 2 calls at once in processes took 3.0 s (2.0x)")


def test_single_calls_are_said_and_decide_nothing() -> None:
    """One call of a strategy is told with its time; the strategy stays skipped, and nothing is advised."""
    own = as_batch(lane(6.0, cpu_s=6.0))
    both = as_batch(lane(6.4, cpu_s=6.0), lane(6.4, cpu_s=6.0))
    seen = Measurement(workers=2, rounds=(Round(batches={"serial": own, "processes": both}),), ends={})
    found = told(LONG, own, seen)
    assert found.reason is not None
    assert found.reason.endswith("; 2 calls at once in processes took 6.4 s (1.9x)")
    part = found.strategies["processes"]
    assert (part.outcome, part.calls, part.speedup) == (Outcome.SKIPPED, 1, None)
    assert part.wall_s_per_call is not None
    assert part.wall_s_per_call.value == pytest.approx(6.4)
    assert (found.status, found.verdict.strategy) == (Status.NOT_PROBED, "inconclusive")


def test_only_run_tells_its_facts_first() -> None:
    """Of a call that is too long the facts come first, then what was not tried; the time that would do comes last."""
    long = unmeasured(plan(), BUILT_IN.names, Status.NOT_PROBED, "one call takes 6.0 s, too long; max_time=18 would do")
    own = as_batch(lane(6.0, cpu_s=6.0), gil=gil_samples(1.0, span_s=6.0))
    both = as_batch(lane(6.4, cpu_s=6.0), lane(6.4, cpu_s=6.0))
    seen = Measurement(workers=2, rounds=(Round(batches={"serial": own, "processes": both}),), ends={})
    found = told(long, own, seen, only_run=True)
    assert found.status is Status.NOT_PROBED
    assert (found.reason or "").split("; ") == [
        "the test's own run took 6.0 s and was CPU-bound (100 % of one core)",
        "the GIL was held for 100 % of it",
        "2 calls at once in processes took 6.4 s (1.9x)",
        "not tried: threads",
        "one call takes 6.0 s, too long",
        "max_time=18 would do",
    ]
    view = layout.workload_view(found, BUILT_IN)
    assert (view.answer.word, view.brief.measured) == ("one run only", "6.0 s, CPU-bound, GIL held 100 %")
    assert (view.brief.why, view.brief.advice.startswith("one call takes")) == (
        "2 calls at once in processes took 6.4 s (1.9x); not tried: threads",
        True,
    )
    named = replace(found, nodeid="test_a.py::test_long")
    report = Report(tool_version="1", created="", environment=ENVIRONMENT, workloads=(named,))
    for draw in (brief_terminal.draw, brief_terminal.draw_answers):
        lines = "".join(text for text, _ in draw(report, BUILT_IN)).splitlines()
        (first,) = (line for line in lines if line.startswith("one run only"))
        assert "test_long: 6.0 s, CPU-bound, GIL held 100 %" in first


def test_failure_in_a_second_call_comes_before_the_facts() -> None:
    """Of a test that could not be repeated, the reason comes first, and it is no *one run only*."""
    found = told(LONG, as_batch(lane(6.0, cpu_s=6.0)))
    assert layout.answer(found) == "not probed"


def test_clocks_of_a_run() -> None:
    """They begin and end with the call, and count the CPU time of all its threads."""
    before = time.perf_counter_ns()
    watched = NormalRun()
    sum(range(100_000))
    found = watched.end()
    assert before <= found.start_ns < found.end_ns <= time.perf_counter_ns()
    assert found.cpu_ns > 0
    assert found.calls == 1


def test_long_calls_keep_what_their_run_showed(tmp_path: Path) -> None:
    """A test or a call that takes too long is not probed, but its bound is reported; what it expects is unchecked."""
    source = """
    import time
    import pytest

    @pytest.mark.gilprobe(expect="threads", max_time=0.2)
    def test_waits():
        time.sleep(0.3)

    @pytest.mark.gilprobe(max_time=0.2)
    def test_computes(gilprobe):
        time.sleep(0.1)
        gilprobe(lambda end: [None for _ in iter(lambda: time.process_time() < end, False)], time.process_time() + 0.3)
    """
    write(tmp_path, source)
    seen = run(tmp_path)
    waits, computes = seen.one("test_waits"), seen.one("test_computes")
    assert "one run only" in seen.output
    assert (waits["status"], computes["status"]) == ("not_probed", "not_probed")
    assert (waits["verdict"]["bound"], computes["verdict"]["bound"]) == ("io", "cpu")
    assert waits["strategies"]["serial"]["wall_s_per_call"]["value"] >= 0.3
    if computes["gil"]["held_fraction"] is not None:  # where the memory of pytest's process can be read
        assert computes["gil"]["held_fraction"]["high"] > 0.5
    assert [caution["slug"] for caution in waits["verdict"]["cautions"]] == ["expectation-unchecked"]


def test_api_watches_its_own_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """`probe` has its own call watched from before its beginning; of a call too long it asks what was sampled."""
    steps: list[str] = []

    class Watch:
        """Stands in for a worker that samples this process."""

        def __init__(self, *_: object, **__: object) -> None: ...

        def begin(self) -> None:
            steps.append("watched")

        def samples(self) -> None:
            steps.append("asked what was sampled")

    def waits() -> None:
        steps.append("called")
        time.sleep(0.3)

    monkeypatch.setattr(function, "OwnWatch", Watch)
    found = function.Prober(max_time=0.2, strategies="threads", start_method="fork").probe(waits)
    assert steps == ["watched", "called", "asked what was sampled"]
    assert (found.result.status, found.verdict.bound) == (Status.NOT_PROBED, Bound.IO)
