"""`pytest_gilprobe.verdict.expectations` and `margins`: fails only what the evidence excludes, and says why."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import product
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports_fixture import estimate, not_probed, probed, processes, serial, threads, verdict, with_parts

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.results import BadEnd, Contrast, StrategyResult, WorkloadResult
from pytest_gilprobe.model.settings import Expectation
from pytest_gilprobe.model.thresholds import CLOSE, WORTH_IT, bound_at
from pytest_gilprobe.model.words import INCONCLUSIVE, NOT_ASKED, SERIAL, Bound, FailOn, Gil, Outcome, Status
from pytest_gilprobe.stats import estimates
from pytest_gilprobe.verdict import expectations, margins
from pytest_gilprobe.verdict.gating import UNCHECKED, Failure, Gating
from pytest_gilprobe.verdict.rule import rule

EVERYTHING = frozenset(FailOn)
ONE_PROCESS = frozenset({"threads"})
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    open(1)\nOSError: no\n'


def result(
    in_threads: float = 1.0,
    in_processes: float = 1.9,
    *,
    spread: float = 0.03,
    used: float = 0.98,
    advice: str | None = None,
) -> WorkloadResult:
    """Make a result with these pool speed-ups, not compared directly; the advice is the rule's unless given."""
    said = advice or rule({"threads": in_threads, "processes": in_processes})
    found = probed(
        "test_it.py::test_it",
        verdict(bound_at(used), Gil.HELD, said, 1.9, "CPU-bound: 2 threads give 1.0x"),
        serial(0.01, used, 0.9),
        replace(threads(in_threads), pool_speedup=estimate(in_threads, spread), speedup=estimate(in_threads, spread)),
        replace(
            processes(in_processes), pool_speedup=estimate(in_processes, spread), speedup=estimate(in_processes, spread)
        ),
    )
    return changed(found, "processes", over={})


def changed(found: WorkloadResult, name: str, **changes: Any) -> WorkloadResult:
    """Change fields of what one strategy measured."""
    return with_parts(found, **{name: replace(found.strategies[name], **changes)})


def compared(found: WorkloadResult, ratio: Estimate, **changes: Any) -> WorkloadResult:
    """Compare processes directly with threads; ``changes`` are of the contrast."""
    return changed(found, "processes", over={"threads": Contrast(ratio=ratio, **changes)})


def broken(outcome: Outcome, error: str | None = None, **changes: Any) -> StrategyResult:
    """Make a strategy that was not measured."""
    return StrategyResult(outcome=outcome, error=error, **changes)


def expect(*strategies: str, bound: Bound | None = None, least: float | None = None) -> Expectation:
    return Expectation(strategies=frozenset(strategies), bound=bound, min_speedup=least)


def only_failure(expectation: Expectation, found: WorkloadResult, fail_on: frozenset[FailOn] = frozenset()) -> Failure:
    (failure,) = expectations.check(expectation, found, fail_on, ONE_PROCESS).failures
    return failure


class TestStrategy:
    """``expect=``."""

    @pytest.mark.parametrize("strategies", [("processes",), ("processes", "threads"), ()])
    def test_holds(self, strategies: tuple[str, ...]) -> None:
        """Advice that is among those expected, or none expected, passes without a word."""
        assert expectations.check(expect(*strategies), result()) == Gating()

    def test_excluded(self) -> None:
        """Advice that was not expected, with intervals that leave no room, fails and names all four parts."""
        text = only_failure(expect("threads"), result()).text()
        assert text.splitlines()[0] == "expected: threads"
        assert "found:    processes" in text
        assert "evidence: CPU-bound: 2 threads give 1.0x" in text
        assert "remedy:   let the work release the GIL again" in text

    def test_room_left(self) -> None:
        """Advice that was not expected passes, with a caution, where a wider interval leaves room."""
        near = result(1.60, 1.90, spread=0.02, advice="processes")
        found = expectations.check(expect("threads"), near)
        assert not found.failures
        assert [caution.slug for caution in found.cautions] == [UNCHECKED]

    def test_strategy_that_does_not_exist(self) -> None:
        """A strategy that does not exist for a workload is never the answer."""
        failure = only_failure(expect("tasks"), result())
        assert failure.remedy == "tasks skipped: it does not exist for this workload; fix that, or drop expect='tasks'"
        both = expectations.check(expect("tasks", least=1.5), result(advice=INCONCLUSIVE)).failures
        assert [failure.found for failure in both] == ["tasks skipped", "tasks skipped"]

    def test_errors_with_tracebacks_are_told_in_a_line(self) -> None:
        """A remedy names the exception, not the line that begins its traceback."""
        bad = with_parts(result(advice=INCONCLUSIVE), threads=broken(Outcome.FAILED, f"in thread 1: {TRACEBACK}"))
        both = expectations.check(expect("threads", least=1.5), bad).failures
        said = "threads failed: in thread 1: OSError: no; fix that"
        assert [failure.remedy for failure in both] == [f"{said}, or drop expect='threads'", said]

    def test_inconclusive_passes(self) -> None:
        """An inconclusive verdict is no failure, whatever was expected; the caution says so."""
        found = expectations.check(expect("threads"), result(advice=INCONCLUSIVE))
        assert not found.failures
        assert "expect=threads is not decided" in found.cautions[0].message

    def test_inconclusive_fails_where_asked(self) -> None:
        """With ``inconclusive`` in fail-on it fails."""
        unclear = result(advice=INCONCLUSIVE)
        assert only_failure(expect(), unclear, frozenset({FailOn.INCONCLUSIVE})).found == "inconclusive"

    def test_hung_strategy(self) -> None:
        """An expected strategy that hung fails with what to mend."""
        hung = with_parts(result(), threads=broken(Outcome.HUNG, "no answer within the time limit\nstack"))
        assert only_failure(expect("threads"), hung).remedy.startswith(
            "threads hung: no answer within the time limit; fix that"
        )

    def test_hung_strategy_fails_though_the_verdict_is_open(self) -> None:
        """What hung is not the answer, whatever the others give; it may be where something else is expected too."""
        hung = with_parts(result(advice=INCONCLUSIVE), threads=broken(Outcome.HUNG, "no answer"))
        assert only_failure(expect("threads"), hung).found == "threads hung"
        assert not expectations.check(expect("threads", "serial"), hung).failures
        assert not expectations.check(expect("threads", "processes"), hung).failures

    def test_caution_speaks_of_room_where_there_is_some(self) -> None:
        """An open verdict whose intervals exclude what was expected passes without saying that they leave room."""
        excluded = expectations.check(expect("threads"), result(advice=INCONCLUSIVE)).cautions[0].message
        near = expectations.check(expect("threads"), result(1.6, 1.9, spread=0.02, advice=INCONCLUSIVE))
        assert excluded.endswith("the verdict is inconclusive")
        assert near.cautions[0].message.endswith("the verdict is inconclusive, threads may still give 1.55x to 1.65x")

    def test_an_answer_between_the_ends_is_possible(self) -> None:
        """As processes gain, the rule goes from serial over threads to processes: what lies between is no failure."""
        between = result(1.15, 1.36, spread=0.04, advice="processes")
        assert "threads" in margins.possible_strategies(between)
        assert not expectations.check(expect("threads"), between).failures

    def test_what_dispatch_costs_may_differ_from_session_to_session(self) -> None:
        """An executor that loses much to dispatch may lose half as much, or twice as much, another time."""
        found = result(1.0, 1.18, spread=0.02)
        dear = changed(found, "processes", speedup=estimate(1.95, 0.02))
        assert expectations.check(expect("processes"), found).failures
        assert not expectations.check(expect("processes"), dear).failures
        assert only_failure(expect(least=1.9), dear).found.endswith("processes 1.18x [1.16, 1.20]")

    def test_direct_comparison_decides(self) -> None:
        """Where speed-ups overlap, processes compared with threads round by round exclude threads."""
        near = result(1.5, 1.9, spread=0.1, advice="processes")
        over = compared(near, estimate(1.27, 0.02))
        assert not expectations.check(expect("threads"), near).failures
        assert expectations.check(expect("threads"), over).failures

    def test_direct_comparison_with_data_to_move(self) -> None:
        """It decides too where an executor loses a little to dispatch, and not where it loses much."""
        near = result(1.5, 1.9, spread=0.1, advice="processes")
        over = compared(near, estimate(1.27, 0.02))
        little = changed(over, "processes", pool_speedup=estimate(1.88, 0.1))
        much = changed(over, "processes", pool_speedup=estimate(1.74, 0.1))
        assert expectations.check(expect("threads"), little).failures
        assert not expectations.check(expect("threads"), much).failures

    def test_direct_comparison_excludes_processes_that_lose_more(self) -> None:
        """Processes no faster than threads before a pool costs anything are no better where they lose more to it."""
        busy = result(1.9, 1.5, spread=0.2, advice="threads")
        bare = changed(compared(busy, estimate(1.0, 0.03)), "processes", speedup=estimate(1.9, 0.03))
        assert expectations.check(expect("processes"), bare).failures
        assert not expectations.check(expect("processes"), busy).failures

    @pytest.mark.parametrize("seen", [1, *expectations.ROUNDS_TO_FAIL, expectations.ROUNDS_TO_FAIL[-1] + 1])
    def test_failures_are_believed_at_the_looks(self, seen: int) -> None:
        """A failure between two looks, or after the last, wants another round; at a look it is final."""
        found = result()
        at = changed(found, SERIAL, rounds=seen)
        assert expectations.check(expect("threads"), at).wants_rounds is (seen not in expectations.ROUNDS_TO_FAIL)

    def test_contradicted_but_possible_is_followed_up(self) -> None:
        """Advice that was not expected wants more rounds as long as there is room for what was."""
        near = result(1.60, 1.90, spread=0.02, advice="processes")
        assert expectations.check(expect("threads"), near).wants_rounds
        assert not expectations.check(expect("processes"), near).wants_rounds
        assert not expectations.check(expect("threads"), replace(near, verdict=result(1.9, 1.9).verdict)).wants_rounds


class TestBound:
    """``expect_bound=``."""

    def test_excluded(self) -> None:
        """A utilization whose whole interval lies elsewhere fails with the two thresholds."""
        failure = only_failure(expect(bound=Bound.IO), result(used=0.98))
        assert (failure.expected, failure.found) == ("expect_bound='io'", "'cpu'")
        assert "io is under 35 %, cpu over 80 %" in failure.evidence

    def test_holds(self) -> None:
        """The right bound passes."""
        assert expectations.check(expect(bound=Bound.CPU), result(used=0.98)) == Gating()

    def test_between(self) -> None:
        """A utilization whose interval touches the expected bound passes with a caution."""
        near = result(used=0.79)
        wide = changed(near, SERIAL, cpu_utilization=Estimate(value=0.79, low=0.76, high=0.82))
        found = expectations.check(expect(bound=Bound.CPU), wide)
        assert not found.failures
        assert found.cautions

    @given(st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 0.5))
    def test_every_point_of_the_interval_is_possible(self, value: float, below: float, above: float) -> None:
        """No utilization within the reported interval has a bound that the gate excludes."""
        low, high = max(0.0, value - below), min(1.0, value + above)
        found = result()
        used = Estimate(value=value, low=low, high=high)
        possible = margins.possible_bounds(changed(found, SERIAL, cpu_utilization=used))
        assert {bound_at(low + (high - low) * at / 20) for at in range(21)} <= possible


def remedy_of(call_s: float = 0.01, bare: float = 1.9, **changes: Any) -> str:
    """Return the remedy for processes that reach 1.1x in a pool, not 1.5x, with calls of ``call_s`` seconds."""
    part = changed(result(1.0, 1.1), "processes", **{"speedup": estimate(bare, 0.01), **changes})
    found = changed(part, SERIAL, wall_s_per_call=estimate(call_s, 0.0))
    return expectations.check(expect("processes", least=1.5), found).failures[-1].remedy


class TestMinSpeedup:
    """``min_speedup=``."""

    def test_larger_tasks_are_advised_only_against_dispatch(self) -> None:
        """They are the remedy where dispatch takes much of a call and without it the speed-up would be reached."""
        small: dict[str, Any] = {"dispatch_s_per_call": 0.005, "transfer_s_per_call": None}
        assert remedy_of(**small) == "put several calls into each task: dispatching one costs 5.0 ms"
        waits_for_nothing = {**small, "shares": None}
        assert remedy_of(call_s=1.0, **waits_for_nothing).startswith("see the evidence")
        assert remedy_of(bare=1.11, **waits_for_nothing).startswith("see the evidence")

    def test_data_is_named_where_moving_it_is_what_costs(self) -> None:
        """Larger tasks move as much data for each call."""
        moves: dict[str, Any] = {"dispatch_s_per_call": 0.002, "transfer_s_per_call": 0.04}
        assert remedy_of(**moves) == "move less data: that of a call takes 40 ms, the call 10 ms"

    def test_gil_is_named_where_calls_wait_for_it(self) -> None:
        """Threads that wait for the GIL gain by neither."""
        waits = with_parts(result(), threads=replace(threads(1.0, wait=0.47), speedup=estimate(1.0, 0.03)))
        *_, failure = expectations.check(expect("threads", least=1.5), waits).failures
        assert failure.remedy == "let the work release the GIL: calls wait for it for 47 % of their time"

    def test_what_is_open_is_told_with_the_gates_interval(self) -> None:
        """A speed-up that may still be reached passes, with the most that a gate's interval leaves."""
        (caution,) = expectations.check(expect("processes", least=1.95), result(in_processes=1.9)).cautions
        assert caution.message.endswith("passes: found processes 1.90x [1.84, 1.96], at most 2.00x")

    @pytest.mark.parametrize("least", [1.0, 1.8, 1.9, 1.95])
    def test_within_reach(self, least: float) -> None:
        """A speed-up that the widened interval reaches passes."""
        assert not expectations.check(expect("processes", least=least), result(in_processes=1.9)).failures

    def test_out_of_reach(self) -> None:
        """One beyond it fails with the figure and its interval."""
        failure = only_failure(expect("processes", least=2.2), result(in_processes=1.9))
        assert failure.headline() == "expected min_speedup=2.2 of processes; found processes 1.90x [1.84, 1.96]"

    def test_of_the_expected_strategy(self) -> None:
        """It is asked of the expected strategy, not of the best."""
        assert expectations.check(expect("threads", "processes", least=1.5), result(1.0, 1.9)).failures == ()
        assert expectations.check(expect("threads", least=1.5), result(1.0, 1.9)).failures

    def test_of_the_best_where_none_is_expected(self) -> None:
        """Without ``expect`` either strategy may earn it."""
        assert expectations.check(expect(least=1.5), result(1.0, 1.9)).failures == ()
        assert len(expectations.check(expect(least=2.5), result(1.0, 1.9)).failures) == 1

    def test_broken_strategy_earns_nothing(self) -> None:
        """A strategy that crashed or cannot be run has no speed-up; one that there was no time for may have any."""
        crashed = with_parts(result(), processes=broken(Outcome.CRASHED, "exit status 1"))
        skipped = with_parts(result(), processes=broken(Outcome.SKIPPED, "not asked for"))
        assert expectations.check(expect(least=1.5), crashed).failures
        assert not expectations.check(expect(least=1.5), skipped).failures
        never = changed(skipped, "processes", impossible=True)
        assert only_failure(expect(least=1.5), never).found == "threads 1.00x [0.97, 1.03], processes skipped"

    def test_strategies_that_were_not_asked_for_do_not_count(self) -> None:
        """Without ``expect``, a strategy that was not asked for is not mentioned; an expected one is."""
        skipped = with_parts(result(), processes=broken(Outcome.SKIPPED, NOT_ASKED, impossible=True))
        assert only_failure(expect(least=1.5), skipped).headline() == (
            "expected min_speedup=1.5 of threads; found threads 1.00x [0.97, 1.03]"
        )
        assert only_failure(expect("processes", least=1.5), skipped).found == "processes skipped"

    def test_far_is_followed_up(self) -> None:
        """A speed-up far under the one asked for, with an interval that reaches it, is open while there is time."""
        wide = result(in_processes=1.2, spread=0.5)
        late = changed(wide, SERIAL, rounds=30)
        found = expectations.check(expect("processes", "threads", "serial", least=2.2), late)
        assert not found.failures
        assert found.wants_rounds

    def test_near_wants_its_rounds(self) -> None:
        """A speed-up near the one asked for is open until it had its rounds, then never again."""
        found = result(in_processes=1.9)
        early = changed(found, SERIAL, rounds=2)
        late = changed(found, SERIAL, rounds=expectations.NEAR_ROUNDS)
        assert expectations.check(expect("processes", least=1.9), early).wants_rounds
        assert not expectations.check(expect("processes", least=1.9), late).wants_rounds


class TestForbidden:
    """``--gilprobe-fail-on``."""

    @pytest.mark.parametrize(
        ("outcome", "asked", "count"),
        [
            (Outcome.FAILED, {FailOn.UNSAFE}, 1),
            (Outcome.CRASHED, {FailOn.UNSAFE}, 1),
            (Outcome.HUNG, {FailOn.UNSAFE}, 1),
            (Outcome.HUNG, {FailOn.HUNG}, 1),
            (Outcome.HUNG, {FailOn.UNSAFE, FailOn.HUNG}, 1),
            (Outcome.FAILED, {FailOn.HUNG}, 0),
            (Outcome.SKIPPED, {FailOn.UNSAFE, FailOn.HUNG}, 0),
            (Outcome.FAILED, set(), 0),
        ],
    )
    def test_threads(self, outcome: Outcome, asked: set[FailOn], count: int) -> None:
        """Threads that failed, hung or crashed are unsafe; those that hung, hung; each is said once."""
        bad = with_parts(result(), threads=broken(outcome, "because"))
        assert len(expectations.check(Expectation(), bad, frozenset(asked), ONE_PROCESS).failures) == count

    def test_open_bound_fails_where_asked(self) -> None:
        """With ``inconclusive`` in fail-on, what calls spend their time on must be known where it is expected."""
        found = result()
        open_ = replace(found, verdict=replace(found.verdict, bound=Bound.INCONCLUSIVE))
        asked = frozenset({FailOn.INCONCLUSIVE})
        assert only_failure(expect(bound=Bound.CPU), open_, asked).found == "inconclusive"
        assert not expectations.check(expect(), open_, asked).failures

    def test_processes_that_hang(self) -> None:
        """``hung`` is about every strategy, ``unsafe`` about those whose lanes share a process."""
        bad = with_parts(result(), processes=broken(Outcome.HUNG))
        assert only_failure(Expectation(), bad, frozenset({FailOn.HUNG})).found == "hung in processes"
        crashed = with_parts(result(), processes=broken(Outcome.CRASHED))
        assert not expectations.check(Expectation(), crashed, EVERYTHING, ONE_PROCESS).failures


class TestUnmeasured:
    """Workloads without a measurement."""

    def test_nothing_to_probe(self) -> None:
        """A test that was never tried passes where it expects nothing; else it has a caution, or fails where asked."""
        never = not_probed("a::b", "it has no call to repeat")
        assert expectations.check(Expectation(), never, EVERYTHING) == Gating()
        assert expectations.check(expect("threads"), never).cautions
        assert only_failure(expect("threads"), never, EVERYTHING).evidence == "it has no call to repeat"

    def test_reason_with_a_traceback_is_told_in_a_line(self) -> None:
        """The caution that nothing was checked names the exception, not its whole traceback."""
        failed = not_probed("a::b", f"it passed once, but not when called once more: {TRACEBACK}")
        (caution,) = expectations.check(expect("threads"), failed).cautions
        assert caution.message.endswith("passes: it passed once, but not when called once more: OSError: no")

    def test_bad_end_of_a_probe_that_came_to_nothing(self) -> None:
        """What hung or crashed before it turned out that there is nothing to measure fails where that is asked."""
        lost = not_probed("a::b", "it passed once, but not when called again in a worker process: no answer")
        hung = replace(lost, bad_ends=(BadEnd(strategy="processes", outcome=Outcome.HUNG),))
        crashed = replace(lost, bad_ends=(BadEnd(strategy="threads", outcome=Outcome.CRASHED),))
        assert only_failure(Expectation(), hung, frozenset({FailOn.HUNG})).found == "hung in processes"
        assert only_failure(Expectation(), crashed, frozenset({FailOn.UNSAFE})).found == "crashed in threads"
        assert not expectations.check(Expectation(), hung).failures

    def test_probe_that_came_to_nothing(self) -> None:
        """A probe without a result passes with a caution, and fails where inconclusive is to fail."""
        lost = replace(not_probed("a::b", "it hung", Status.ERROR), probe_time_s=3.0)
        assert expectations.check(expect("threads"), lost).cautions
        assert expectations.check(expect("threads"), lost, EVERYTHING).failures[0].evidence == "it hung"


@pytest.mark.thorough
class TestRates:
    """How often a gate is wrong, by simulation."""

    ROUNDS = 4
    NOISE = 0.05
    RUNS = 4_000

    def speedups(self, truth: float) -> list[Estimate]:
        """Estimate a known speed-up again and again from noisy rounds, as a probe does."""
        chance = random.Random(6)
        draw = NormalDist(math.log(truth), self.NOISE).inv_cdf
        return [
            estimates.positive_centre(
                [math.exp(draw(chance.random())) for _ in range(self.ROUNDS)], estimates.LEAST_NOISE
            )
            for _ in range(self.RUNS)
        ]

    def failing(self, least: float, found: list[Estimate]) -> float:
        base = result()
        failed = [
            expectations.check(expect("threads", least=least), changed(base, "threads", pool_speedup=one)).failures
            for one in found
        ]
        return sum(any("min_speedup" in failure.expected for failure in each) for each in failed) / len(failed)

    def test_on_the_expectation(self) -> None:
        """A workload exactly on its expectation fails in at most 1 % of runs, though the noise is above the assumed."""
        assert self.failing(1.5, self.speedups(1.5)) <= 0.01

    def test_broken(self) -> None:
        """One that lost its speed-up fails in at least 99 %."""
        assert self.failing(1.5, self.speedups(1.0)) >= 0.99

    def failing_in_the_end(self, truth: float, expectation: Expectation, runs: int) -> float:
        """Probe again and again as a session does: round by round, while the gate is open and there is time."""
        chance = random.Random(2)
        draw = NormalDist(0.0, self.NOISE).inv_cdf
        failed = 0
        for _ in range(runs):
            ratios: list[float] = []
            while len(ratios) < 60:
                ratios.append(truth * math.exp(draw(chance.random())))
                failures, open_ = self.after(ratios, expectation)
                if not open_:
                    break
            failed += failures
        return failed / runs

    @staticmethod
    def after(ratios: list[float], expectation: Expectation) -> tuple[bool, bool]:
        """Say whether the gate fails after these rounds of processes over threads, and whether it is open."""
        over = estimates.positive_centre(ratios, estimates.LEAST_NOISE)
        conclusive = over.low > CLOSE or over.high <= CLOSE
        advice = "processes" if over.value > CLOSE else "threads"
        base = result(1.6, 1.8, spread=0.3, advice=advice if conclusive else INCONCLUSIVE)
        found = expectations.check(expectation, compared(changed(base, SERIAL, rounds=len(ratios)), over))
        return bool(found.failures), found.wants_rounds or not conclusive

    @pytest.mark.slow
    def test_looking_again_and_again(self) -> None:
        """At the edge between two answers, with every round that 60 allow, at most 1 % of the probes fail."""
        assert self.failing_in_the_end(CLOSE, expect("threads"), 500) <= 0.01

    def test_broken_and_noisy(self) -> None:
        """A strategy that became worse by a third more than is close fails in at least 99 %."""
        assert self.failing_in_the_end(CLOSE * 1.33, expect("threads"), 500) >= 0.99

    MOST_ROUNDS_BESIDE = 11
    """Rounds that a probe of 5 s has time for beside two busy loops."""
    SCATTER_BESIDE = 0.17
    """Standard deviation there, from round to round, of the logarithm of processes over threads that share a lock."""
    ASSUMED_BESIDE = 0.17
    """What is assumed of it, by `stats.speedups.NOISE_OF_DOUBT`."""

    def failing_beside_busy_loops(self, least: float, runs: int) -> float:
        """Probe threads that wait for each other on a busy machine, which may hide all but ``least``.

        What a probe has of it is the extreme in each round, scattered as was seen; the whole interval excludes nothing.
        """
        chance = random.Random(3)
        draw = NormalDist(math.log(least), self.SCATTER_BESIDE).inv_cdf
        failed = 0
        for _ in range(runs):
            ratios: list[float] = []
            while len(ratios) < self.MOST_ROUNDS_BESIDE:
                ratios.append(math.exp(draw(chance.random())))
                failures, open_ = self.at_the_least(estimates.positive_centre(ratios, self.ASSUMED_BESIDE), len(ratios))
                if not open_:
                    break
            failed += failures
        return failed / runs

    @staticmethod
    def at_the_least(least: Estimate, seen: int) -> tuple[bool, bool]:
        """Say whether the gate fails where processes over threads are so much at the least, and whether it is open."""
        base = result(1.0, 1.8, spread=0.5, advice="processes")
        over = Estimate(value=least.value * 1.4, low=least.low, high=least.high * 2.5)
        known = compared(changed(base, SERIAL, rounds=seen), over, at_worst=least, at_best=over)
        found = expectations.check(expect("threads"), known)
        return bool(found.failures), found.wants_rounds

    @pytest.mark.parametrize(("least", "share"), [(1.64, 0.99), (1.56, 0.97)])
    def test_lock_beside_busy_loops(self, least: float, share: float) -> None:
        """A lock around the hot loop fails nearly always, as seen beside two busy loops, and beside other load too."""
        assert self.failing_beside_busy_loops(least, 300) >= share

    def test_edge_beside_busy_loops(self) -> None:
        """With the same scatter, threads that are just as good as expected fail in at most 1 %."""
        assert self.failing_beside_busy_loops(CLOSE, 600) <= 0.01

    def test_reported_interval_would_flake(self) -> None:
        """The reported interval alone would fail more often than a gate may: that is what the widening is for."""
        found = self.speedups(1.5)
        assert sum(one.high < 1.5 for one in found) / len(found) > 0.01


@given(st.floats(0.01, 100), st.floats(0.01, 1), st.floats(1, 10))
def test_widened_holds_the_interval(value: float, down: float, up: float) -> None:
    """A gate's interval holds the reported one."""
    one = Estimate(value=value, low=value * down, high=value * up)
    low, high = margins.widened(one)
    assert low <= one.low * (1 + 1e-9)
    assert high >= one.high * (1 - 1e-9)


def test_widened_keeps_bounds_for_the_worst_case() -> None:
    """What a busy machine may hide is a bound: only the chance in the estimate at that bound is widened."""
    least, most = Estimate(value=0.6, low=0.5, high=0.7), Estimate(value=1.0, low=0.9, high=1.2)
    threads_wait = Estimate(value=0.8, low=0.5, high=1.2)
    low, high = margins.widened(threads_wait, least, most)
    assert low == pytest.approx(0.6 / 1.2**margins.WIDENING_AT_EXTREMES)
    assert high == pytest.approx(1.0 * 1.2**margins.WIDENING_AT_EXTREMES)
    pooled = replace(threads(0.8), pool_speedup=threads_wait, pool_speedup_at_worst=least, pool_speedup_at_best=most)
    assert margins.in_pool(pooled) == (low, high)


def test_hidden_extremes_decide_the_direct_comparison() -> None:
    """Processes over threads, at the least that may be hidden, exclude threads where the whole interval does not."""
    wide = Estimate(value=2.2, low=1.3, high=3.6)
    near = result(1.0, 1.9, spread=0.3)
    hidden = compared(near, wide, at_worst=estimate(1.4, 0.05), at_best=wide)
    doubtful = compared(near, wide, at_worst=Estimate(value=2.2, low=1.3, high=3), at_best=wide)
    assert expectations.check(expect("threads"), hidden).failures
    assert not expectations.check(expect("threads"), doubtful).failures


GAINS = st.tuples(st.floats(0.2, 4), st.floats(0.2, 4)).map(lambda ends: (min(ends), max(ends)))


@given(st.lists(st.tuples(GAINS, st.floats(0, 1)), min_size=1, max_size=4))
def test_rule_anywhere_within_the_intervals_is_possible(drawn: list[tuple[tuple[float, float], float]]) -> None:
    """No speed-ups within the intervals lead to an answer that is not listed, however many strategies there are."""
    intervals = {f"s{at}": ends for at, (ends, _) in enumerate(drawn)}
    inside = {f"s{at}": low + (high - low) * share for at, ((low, high), share) in enumerate(drawn)}
    assert rule(inside) in margins._answers(intervals)


@given(st.lists(GAINS, min_size=1, max_size=3))
def test_listed_answers_are_reached(drawn: list[tuple[float, float]]) -> None:
    """Each answer that is listed is the rule's at some end of the intervals, or where one strategy meets a limit."""
    intervals = {f"s{at}": ends for at, ends in enumerate(drawn)}
    limits = {WORTH_IT, *(high * CLOSE for _, high in drawn)}
    points = [[low, high, *(one for one in limits if low <= one <= high)] for low, high in drawn]
    reached = {rule(dict(zip(intervals, point, strict=True))) for point in product(*points)}
    assert margins._answers(intervals) == reached


@pytest.mark.parametrize(("ratio", "excluded"), [(1.1, False), (0.9, True)])
def test_a_dearer_strategy_may_bring_a_close_one_in(ratio: float, *, excluded: bool) -> None:
    """One within a cheaper one's reach is excluded only if it is no faster, as long as a still dearer one exists."""
    three = compared(result(1.5, 1.6, spread=0.2), estimate(ratio, 0.01))
    three = with_parts(three, far=replace(processes(1.8), speedup=estimate(1.8), pool_speedup=estimate(1.8)))
    assert ("processes" not in margins.possible_strategies(three)) is excluded
    two = compared(result(1.5, 1.6, spread=0.2), estimate(ratio, 0.01))
    assert "processes" not in margins.possible_strategies(two)


@given(st.floats(0.2, 4), st.floats(0.2, 4), st.floats(0.001, 0.3))
def test_rule_at_the_values_is_possible(in_threads: float, in_processes: float, spread: float) -> None:
    """The strategy that the values themselves advise is always among the possible ones."""
    found = result(min(in_threads, 2.0), min(in_processes, 2.0), spread=spread)
    assert rule({"threads": min(in_threads, 2.0), "processes": min(in_processes, 2.0)}) in margins.possible_strategies(
        found
    )
