"""Changes between two results and since a baseline: regressions that the intervals support, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports_fixture import (
    ENVIRONMENT,
    broken,
    estimate,
    gil,
    not_probed,
    probed,
    processes,
    serial,
    threads,
    verdict,
    with_parts,
)

from pytest_gilprobe.model.comparison import Change
from pytest_gilprobe.model.report import Environment, Report
from pytest_gilprobe.model.results import WorkloadResult
from pytest_gilprobe.model.words import INCONCLUSIVE, NOT_ASKED, Bound, Gil, Outcome
from pytest_gilprobe.report.compare import compare
from pytest_gilprobe.verdict import baseline, differences, expectations
from pytest_gilprobe.verdict.baseline import FindingKind
from pytest_gilprobe.verdict.rule import rule


def workload(nodeid: str, in_threads: float, in_processes: float, *, spread: float = 0.02) -> WorkloadResult:
    """Make a workload with these speed-ups, bare and in an executor, judged by the rule."""
    gains = {"threads": in_threads, "processes": in_processes}
    advice = rule(gains)
    made = probed(
        nodeid,
        verdict(Bound.CPU, Gil.RELEASED, advice, gains.get(advice, 1.0), "because"),
        serial(0.01, 0.98, 0.1),
        threads(in_threads),
        processes(in_processes),
    )
    speedups = {name: estimate(gain, spread) for name, gain in gains.items()}
    parts = {
        name: replace(made.strategies[name], speedup=speedup, pool_speedup=speedup, over={})
        for name, speedup in speedups.items()
    }
    return with_parts(made, **parts)


def report(*workloads: WorkloadResult, environment: Environment = ENVIRONMENT) -> Report:
    return Report(tool_version="1", created="2026-01-01T00:00:00+00:00", environment=environment, workloads=workloads)


def since(old: WorkloadResult, new: WorkloadResult) -> baseline.Differences:
    return baseline.since(report(old), report(new))


def messages(kind: FindingKind, old: WorkloadResult, new: WorkloadResult) -> list[str]:
    """Say what a baseline finds of one kind."""
    return [finding.message for finding in since(old, new).of(kind)]


def regressions(old: WorkloadResult, new: WorkloadResult) -> list[str]:
    """Say what a baseline finds to be worse."""
    return messages(FindingKind.REGRESSION, old, new)


def gains(old: WorkloadResult, new: WorkloadResult) -> list[str]:
    """Say what a baseline finds to be better."""
    return messages(FindingKind.GAIN, old, new)


def after(rounds: int, found: WorkloadResult) -> WorkloadResult:
    """The same, after so many rounds."""
    assert found.serial is not None
    return with_parts(found, serial=replace(found.serial, rounds=rounds))


class TestOpen:
    """When more rounds are wanted."""

    BEFORE = workload("a", 1.9, 1.9)

    def test_as_before(self) -> None:
        """What is as it was, or certainly better, is not measured longer."""
        assert not differences.is_open(after(1, self.BEFORE), self.BEFORE)
        assert not differences.is_open(after(1, self.BEFORE), workload("a", 1.0, 1.9))

    def test_certain_loss(self) -> None:
        """A certain loss is believed at a gate's looks only."""
        worse = workload("a", 1.0, 1.9)
        assert differences.is_open(after(1, worse), self.BEFORE)
        assert not differences.is_open(after(expectations.ROUNDS_TO_FAIL[0], worse), self.BEFORE)

    def test_other_advice_with_room(self) -> None:
        """Other advice that the intervals do not support yet is followed up as long as there is time."""
        unsure = workload("a", 1.0, 1.9, spread=0.6)
        assert regressions(self.BEFORE, after(20, unsure)) == []
        assert differences.is_open(after(20, unsure), self.BEFORE)

    def test_not_asked_for(self) -> None:
        """What was advised and is not asked for now is not followed up: more rounds do not bring it back."""
        unwanted = with_parts(after(20, workload("a", 1.0, 1.9)), threads=broken(Outcome.SKIPPED, NOT_ASKED))
        assert not differences.is_open(unwanted, self.BEFORE)

    def test_less_gain_with_room(self) -> None:
        """The same advice with less gain gets a fixed number of rounds."""
        less = workload("a", 1.6, 1.6, spread=0.2)
        assert differences.is_open(after(expectations.NEAR_ROUNDS - 1, less), self.BEFORE)
        assert not differences.is_open(after(expectations.NEAR_ROUNDS, less), self.BEFORE)

    def test_nothing_to_compare(self) -> None:
        """Neither what was not probed nor what had another number of workers is measured longer."""
        assert not differences.is_open(not_probed("a", "skipped"), self.BEFORE)
        assert not differences.is_open(workload("a", 1.0, 1.9), not_probed("a", "skipped"))
        assert not differences.is_open(replace(after(1, workload("a", 1.0, 1.9)), workers=4), self.BEFORE)


class TestRegressions:
    """What counts."""

    def test_lost_speedup(self) -> None:
        """A lock around the hot loop: threads gave 1.9x, now processes are advised; one line has both figures."""
        assert regressions(workload("a", 1.9, 1.9), workload("a", 1.0, 1.9)) == [
            (
                "advice was threads (1.9x), is processes (1.9x); "
                "threads in an executor gave 1.90x [1.86, 1.94], now 1.00x [0.98, 1.02]"
            )
        ]

    def test_same_advice_less_gain(self) -> None:
        """The advised strategy that gains less than it did is a regression though the advice stands."""
        (found,) = regressions(workload("a", 1.9, 1.9), workload("a", 1.4, 1.4))
        assert found.startswith("threads in an executor gave 1.90x")

    def test_overlapping_intervals(self) -> None:
        """A change that wide intervals do not support is none."""
        assert not regressions(workload("a", 1.0, 1.9, spread=0.2), workload("a", 1.0, 1.6, spread=0.2))

    def test_strategy_nobody_counted_on(self) -> None:
        """Slower threads matter to nobody where processes were advised."""
        assert not regressions(workload("a", 1.0, 1.9), workload("a", 0.6, 1.9))

    @pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.HUNG, Outcome.CRASHED])
    def test_strategy_that_broke(self, outcome: Outcome) -> None:
        """Threads that were ok and hang now are a regression, whatever was advised."""
        hung = with_parts(workload("a", 1.0, 1.9), threads=broken(outcome, None))
        assert regressions(workload("a", 1.0, 1.9), hung) == [f"in threads it was ok, now it {outcome}"]
        assert not regressions(hung, workload("a", 1.0, 1.9))

    def test_strategy_that_cannot_be_run_any_more(self) -> None:
        """The advised strategy that cannot be run now is a regression; one that there was no time for is none."""
        never = replace(broken(Outcome.SKIPPED, "it uses capsys\nand so on"), impossible=True)
        before, now = workload("a", 1.9, 1.9), workload("a", 1.0, 1.9)
        (found,) = regressions(before, with_parts(now, threads=never))
        assert found.endswith("threads was advised, now it cannot be tried: it uses capsys")
        assert not regressions(before, with_parts(now, threads=replace(never, error=NOT_ASKED)))
        assert not regressions(before, with_parts(before, threads=replace(never, impossible=False)))

    def test_strategy_that_is_not_there(self) -> None:
        """A strategy that only one report has, from a plugin for example, is not compared, nor is its advice."""
        before = workload("a", 1.0, 1.9)
        cluster = with_parts(before, cluster=processes(3.0))
        advised = replace(cluster, verdict=verdict(Bound.CPU, Gil.RELEASED, "cluster", 3.0, "because"))
        assert since(before, cluster).findings == since(cluster, before).findings == ()
        assert not regressions(advised, before)

    def test_bound_that_changed(self) -> None:
        """Calls that waited and compute now are a regression, where the intervals are apart."""
        waits = with_serial(workload("a", 1.9, 1.9), used=0.05, held=0.02)
        computes = with_serial(workload("a", 1.9, 1.9), used=0.98, held=0.02)
        assert regressions(waits, computes) == ["calls were io-bound, are cpu-bound"]
        assert not regressions(computes, computes)
        assert not regressions(waits, with_serial(workload("a", 1.9, 1.9), used=0.5, held=0.02))

    def test_gil_that_is_held(self) -> None:
        """Code that released the GIL and holds it now is a regression, the other way round a gain."""
        released = with_serial(workload("a", 1.9, 1.9), used=0.98, held=0.05)
        holds = with_serial(workload("a", 1.9, 1.9), used=0.98, held=0.95)
        assert regressions(released, holds) == ["GIL was released, is held"]
        assert gains(holds, released) == ["GIL was held, is released"]
        assert not regressions(released, replace(holds, gil=gil(None)))
        assert since(released, with_serial(workload("a", 1.9, 1.9), used=0.98, held=0.4)).findings == ()

    def test_gain(self) -> None:
        """Better advice than before is a gain, not a regression."""
        before, now = workload("a", 1.0, 1.9), workload("a", 1.9, 1.9)
        assert not regressions(before, now)
        assert gains(before, now) == ["advice was processes (1.9x), is threads (1.9x)"]

    def test_other_number_of_workers(self) -> None:
        """Speed-ups of different numbers of workers are not compared, and that is said."""
        found = since(workload("a", 1.9, 1.9), replace(workload("a", 1.0, 1.9), workers=4))
        assert found.findings == ()
        assert found.notes == ("1 workload not compared, since the number of workers differs",)

    @given(st.floats(0.5, 2), st.floats(0.5, 2), st.floats(0.001, 0.2))
    def test_nothing_regresses_against_itself(self, in_threads: float, in_processes: float, spread: float) -> None:
        """A report held against itself has no regression and no gain."""
        one = workload("a", in_threads, in_processes, spread=spread)
        assert since(one, one) == baseline.Differences(findings=(), notes=())


class TestBothDoors:
    """``gilprobe compare`` and a baseline look at the same changes by the same rule."""

    def test_small_but_certain_fall(self) -> None:
        """2.0x that became 1.85x, with intervals apart, is a difference for both and worse for neither."""
        before, now = (workload("a", gain, gain, spread=0.01) for gain in (2.0, 1.85))
        compared = [change for change in through_compare(before, now) if change.strategy == "threads"]
        assert [(change.before, change.after, change.real, change.worse) for change in compared] == [
            ("2.00x", "1.85x", True, False)
        ]
        assert since(before, now).findings == ()

    def test_large_fall(self) -> None:
        """2.0x that became 1.7x is worse for both."""
        before, now = (workload("a", gain, gain, spread=0.01) for gain in (2.0, 1.7))
        assert [change.worse for change in through_compare(before, now) if change.strategy == "threads"] == [True]
        assert len(regressions(before, now)) == 1

    @given(st.lists(st.floats(0.5, 4), min_size=4, max_size=4), st.floats(0.001, 0.2), st.booleans())
    def test_worse_for_both(self, found: list[float], spread: float, breaks: bool) -> None:  # noqa: FBT001
        """Compare marks as worse exactly what a baseline calls a regression."""
        before, now = workload("a", *found[:2], spread=spread), workload("a", *found[2:], spread=spread)
        now = with_parts(now, threads=broken(Outcome.CRASHED, None)) if breaks else now
        worse = [change.message for change in through_compare(before, now) if change.worse]
        assert regressions(before, now) == (["; ".join(worse)] if worse else [])


def through_compare(old: WorkloadResult, new: WorkloadResult) -> tuple[Change, ...]:
    """List the changes that ``gilprobe compare`` finds."""
    return compare([("old", report(old)), ("new", report(new))]).changes


def with_serial(found: WorkloadResult, *, used: float, held: float) -> WorkloadResult:
    """The same, with calls that use and hold so much."""
    return replace(with_parts(found, serial=serial(0.01, used, held)), gil=gil(held))


class TestLists:
    """What is new, gone, or from elsewhere."""

    def test_new_and_vanished(self) -> None:
        """Workloads that only one report has are listed, and are no regressions."""
        found = since(workload("old", 1.9, 1.9), workload("new", 1.0, 1.9))
        assert [(one.kind, one.nodeid) for one in found.findings] == [
            (FindingKind.NEW, "new"),
            (FindingKind.VANISHED, "old"),
        ]

    def test_no_longer_probed(self) -> None:
        """A workload that was measured and could not be now is listed with the reason."""
        before = workload("a", 1.9, 1.9)
        assert messages(FindingKind.NOT_PROBED, before, not_probed("a", "it failed")) == [
            "was probed, is not now: it failed"
        ]
        failed = not_probed("a", 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nOSError: no')
        assert messages(FindingKind.NOT_PROBED, before, failed) == ["was probed, is not now: OSError: no"]

    def test_no_longer_decided(self) -> None:
        """A workload that had an answer and has none now is listed."""
        before = workload("a", 1.9, 1.9)
        open_ = replace(before, verdict=replace(before.verdict, strategy=INCONCLUSIVE))
        assert messages(FindingKind.UNDECIDED, before, open_) == ["was threads, is inconclusive"]
        assert not regressions(before, open_)
        assert since(open_, before).findings == ()
        lines = list(baseline.lines(since(before, open_), "old.json"))
        assert ("  inconclusive: a: was threads, is inconclusive", False) in lines

    def test_other_machine_and_python(self) -> None:
        """A baseline from another machine or Python compares ratios only, and says so."""
        other = replace(ENVIRONMENT, platform="macOS-14", python="3.12.1")
        one = workload("a", 1.9, 1.9)
        (note,) = baseline.since(report(one, environment=other), report(one)).notes
        assert "another machine (macOS-14, 2 usable CPUs) and another Python (CPython 3.12.1, 3.12)" in note
        assert note.endswith("only ratios are compared")

    def test_lines(self) -> None:
        """The lines name the file, count everything and mark what fails."""
        found = baseline.since(
            report(workload("a", 1.9, 1.9), *(workload(f"c{number}", 1, 1) for number in range(7))),
            report(workload("a", 1.0, 1.9), workload("b\x1b[31m", 1.0, 1.9)),
        )
        said = list(baseline.lines(found, "old.json"))
        assert said[0] == ("against old.json: 1 regression, 1 new, 7 vanished", True)
        assert [line for line, failure in said if failure][1].startswith("  regression: a: advice was threads")
        assert ("  new: b\\x1b[31m", False) in said
        assert ("  vanished: c0, c1, c2, c3, c4 and 2 more", False) in said
