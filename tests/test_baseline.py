"""`pytest_gilprobe.baseline`: regressions that the intervals support, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from reports_fixture import ENVIRONMENT, estimate, not_probed, probed, processes, serial, threads, verdict

from pytest_gilprobe import baseline, gate, judge
from pytest_gilprobe.model import (
    NOT_ASKED,
    Bound,
    Environment,
    Gil,
    Outcome,
    Recommendation,
    Report,
    ThreadsResult,
    WorkloadResult,
)


def workload(nodeid: str, in_threads: float, in_processes: float, *, spread: float = 0.02) -> WorkloadResult:
    """Make a workload with these speed-ups, judged by the rule."""
    advice = judge.rule(in_threads, in_processes)
    gain = {Recommendation.THREADS: in_threads, Recommendation.PROCESSES: in_processes}.get(advice, 1.0)
    return probed(
        nodeid,
        verdict(Bound.CPU, Gil.RELEASED, advice, gain, "because"),
        serial(0.01, 0.98, 0.1),
        replace(threads(in_threads), pool_speedup=estimate(in_threads, spread)),
        replace(processes(in_processes), pool_speedup=estimate(in_processes, spread)),
    )


def report(*workloads: WorkloadResult, environment: Environment = ENVIRONMENT) -> Report:
    return Report(tool_version="1", created="2026-01-01T00:00:00+00:00", environment=environment, workloads=workloads)


def held(new: WorkloadResult, old: WorkloadResult) -> baseline.Held:
    return baseline.hold(report(new), report(old))


def after(rounds: int, found: WorkloadResult) -> WorkloadResult:
    """The same, after so many rounds."""
    assert found.serial is not None
    return replace(found, serial=replace(found.serial, rounds=rounds))


class TestOpen:
    """When more rounds are wanted."""

    BEFORE = workload("a", 1.9, 1.9)

    def test_as_before(self) -> None:
        """What is as it was, or certainly better, is not measured longer."""
        assert not baseline.is_open(after(1, self.BEFORE), self.BEFORE)
        assert not baseline.is_open(after(1, self.BEFORE), workload("a", 1.0, 1.9))

    def test_certain_loss(self) -> None:
        """A certain loss is believed at a gate's looks only."""
        worse = workload("a", 1.0, 1.9)
        assert baseline.is_open(after(1, worse), self.BEFORE)
        assert not baseline.is_open(after(gate.LOOKS[0], worse), self.BEFORE)

    def test_other_advice_with_room(self) -> None:
        """Other advice that the intervals do not support yet is followed up as long as there is time."""
        unsure = workload("a", 1.0, 1.9, spread=0.6)
        assert held(after(20, unsure), self.BEFORE).regressions == ()
        assert baseline.is_open(after(20, unsure), self.BEFORE)

    def test_less_gain_with_room(self) -> None:
        """The same advice with less gain gets a fixed number of rounds."""
        less = workload("a", 1.6, 1.6, spread=0.2)
        assert baseline.is_open(after(gate.NEAR_ROUNDS - 1, less), self.BEFORE)
        assert not baseline.is_open(after(gate.NEAR_ROUNDS, less), self.BEFORE)

    def test_nothing_to_compare(self) -> None:
        """Neither what was not probed nor what had another number of workers is measured longer."""
        assert not baseline.is_open(not_probed("a", "skipped"), self.BEFORE)
        assert not baseline.is_open(workload("a", 1.0, 1.9), not_probed("a", "skipped"))
        assert not baseline.is_open(replace(after(1, workload("a", 1.0, 1.9)), workers=4), self.BEFORE)


class TestRegressions:
    """What counts."""

    def test_lost_speedup(self) -> None:
        """A lock around the hot loop: threads gave 1.9x, now processes are advised; one line has both figures."""
        (found,) = held(workload("a", 1.0, 1.9), workload("a", 1.9, 1.9)).regressions
        assert (
            found.message
            == "advice was threads, is processes; threads gave 1.90x [1.86, 1.94], give 1.00x [0.98, 1.02]"
        )

    def test_same_advice_less_gain(self) -> None:
        """The advised strategy that gains less than it did is a regression though the advice stands."""
        (found,) = held(workload("a", 1.4, 1.4), workload("a", 1.9, 1.9)).regressions
        assert found.message.startswith("threads gave 1.90x")

    def test_overlapping_intervals(self) -> None:
        """A change that wide intervals do not support is none."""
        assert not held(workload("a", 1.0, 1.6, spread=0.2), workload("a", 1.0, 1.9, spread=0.2)).regressions

    def test_strategy_nobody_counted_on(self) -> None:
        """Slower threads matter to nobody where processes were advised."""
        assert not held(workload("a", 0.6, 1.9), workload("a", 1.0, 1.9)).regressions

    def test_strategy_that_broke(self) -> None:
        """Threads that were ok and hang now are a regression, whatever was advised."""
        hung = replace(workload("a", 1.0, 1.9), threads=ThreadsResult(outcome=Outcome.HUNG))
        (found,) = held(hung, workload("a", 1.0, 1.9)).regressions
        assert found.message == "threads were ok, hung now"

    def test_strategy_that_cannot_be_run_any_more(self) -> None:
        """The advised strategy that cannot be run now is a regression; one that there was no time for is none."""
        never = ThreadsResult(outcome=Outcome.SKIPPED, error="it uses capsys\nand so on", impossible=True)
        before, after_ = workload("a", 1.9, 1.9), workload("a", 1.0, 1.9)
        (found,) = held(replace(after_, threads=never), before).regressions
        assert found.message.endswith("threads were advised, are skipped now: it uses capsys")
        unwanted = replace(after_, threads=replace(never, error=NOT_ASKED))
        assert not held(unwanted, before).regressions
        later = replace(before, threads=replace(never, impossible=False), verdict=before.verdict)
        assert not held(later, before).regressions

    def test_bound_that_changed(self) -> None:
        """Calls that waited and compute now are a regression, where the intervals are apart."""
        waits = with_serial(workload("a", 1.9, 1.9), used=0.05, held=0.02)
        computes = with_serial(workload("a", 1.9, 1.9), used=0.98, held=0.02)
        (found,) = held(computes, waits).regressions
        assert found.message == "calls were io-bound, are cpu-bound"
        assert not held(computes, computes).regressions
        between = with_serial(workload("a", 1.9, 1.9), used=0.5, held=0.02)
        assert not held(between, waits).regressions

    def test_gil_that_is_held(self) -> None:
        """Code that released the GIL and holds it now is a regression, the other way round a gain."""
        released = with_serial(workload("a", 1.9, 1.9), used=0.98, held=0.05)
        holds = with_serial(workload("a", 1.9, 1.9), used=0.98, held=0.95)
        unknown = replace(holds, serial=replace(holds.serial, gil_held_fraction=None)) if holds.serial else holds
        assert held(holds, released).regressions[0].message == "GIL was released, is held"
        assert held(released, holds).gains[0].message == "GIL was held, is released"
        assert not held(unknown, released).regressions
        between = with_serial(workload("a", 1.9, 1.9), used=0.98, held=0.4)
        assert held(between, released).regressions == held(between, released).gains == ()

    def test_gain(self) -> None:
        """Better advice than before is a gain, not a regression."""
        found = held(workload("a", 1.9, 1.9), workload("a", 1.0, 1.9))
        assert not found.regressions
        assert found.gains[0].message == "advice was processes, is threads"

    def test_other_number_of_workers(self) -> None:
        """Speed-ups of different numbers of workers are not compared, and that is said."""
        found = held(replace(workload("a", 1.0, 1.9), workers=4), workload("a", 1.9, 1.9))
        assert not found.regressions
        assert found.notes == ("1 workload not compared, since the number of workers differs",)

    @given(st.floats(0.5, 2), st.floats(0.5, 2), st.floats(0.001, 0.2))
    def test_nothing_regresses_against_itself(self, in_threads: float, in_processes: float, spread: float) -> None:
        """A report held against itself has no regression and no gain."""
        one = workload("a", in_threads, in_processes, spread=spread)
        assert held(one, one) == baseline.Held(
            regressions=(), gains=(), lost=(), undecided=(), new=(), vanished=(), notes=()
        )


def with_serial(found: WorkloadResult, *, used: float, held: float) -> WorkloadResult:
    """The same, with calls that use and hold so much."""
    return replace(found, serial=serial(0.01, used, held))


class TestLists:
    """What is new, gone, or from elsewhere."""

    def test_new_and_vanished(self) -> None:
        """Workloads that only one report has are listed, and are no regressions."""
        found = held(workload("new", 1.0, 1.9), workload("old", 1.9, 1.9))
        assert (found.new, found.vanished, found.regressions) == (("new",), ("old",), ())

    def test_no_longer_probed(self) -> None:
        """A workload that was measured and could not be now is listed with the reason."""
        found = held(not_probed("a", "it failed"), workload("a", 1.9, 1.9))
        assert found.lost[0].message == "was probed, is not now: it failed"

    def test_no_longer_decided(self) -> None:
        """A workload that had an answer and has none now is listed."""
        before = workload("a", 1.9, 1.9)
        open_ = replace(before, verdict=replace(before.verdict, strategy=Recommendation.INCONCLUSIVE))
        found = held(open_, before)
        assert found.undecided[0].message == "was threads, is inconclusive"
        assert not found.regressions
        assert not held(before, open_).undecided
        assert ("  inconclusive: a: was threads, is inconclusive", False) in list(baseline.lines(found, "old.json"))

    def test_other_machine_and_python(self) -> None:
        """A baseline from another machine or Python compares ratios only, and says so."""
        other = replace(ENVIRONMENT, platform="macOS-14", python="3.12.1")
        found = baseline.hold(report(workload("a", 1.9, 1.9)), report(workload("a", 1.9, 1.9), environment=other))
        assert "another machine (macOS-14, 2 usable CPUs) and another Python (CPython 3.12.1, 3.12)" in found.notes[0]
        assert found.notes[0].endswith("only ratios are compared")

    def test_lines(self) -> None:
        """The lines name the file, count everything and mark what fails."""
        found = baseline.hold(
            report(workload("a", 1.0, 1.9), workload("b\x1b[31m", 1.0, 1.9)),
            report(workload("a", 1.9, 1.9), workload("c", 1, 1)),
        )
        said = list(baseline.lines(found, "old.json"))
        assert said[0] == ("against old.json: 1 regression, 1 new, 1 vanished", True)
        assert [line for line, failure in said if failure][1].startswith("  regression: a: advice was threads")
        assert ("  new: b\\x1b[31m", False) in said
        assert ("  vanished: c", False) in said
