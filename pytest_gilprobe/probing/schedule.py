"""The schedule of a probe: set a test up, warm up, and measure in rounds until the result is clear or time is up.

A round is one batch (timed series of calls) of each strategy, with the same number of calls for each lane (thread,
process ...); the strategies' order rotates. Another round is made only if the result needs it and it fits into the time
left. To warm up, all workers make a first call simultaneously. If one call fills a batch, and these first calls took at
most 10 % longer than the first serial batch, they also count as the first batch of strategies like ``processes``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.numbers import seconds
from pytest_gilprobe.model.readings import BatchReading, Measurement, Round
from pytest_gilprobe.model.words import NextStep, Outcome
from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.probing import bursts, one_call, pools
from pytest_gilprobe.probing.argument_questions import ask_of_arguments
from pytest_gilprobe.probing.batches import Batches, span_s
from pytest_gilprobe.probing.budget import Budget
from pytest_gilprobe.probing.ladder import measure_ladders
from pytest_gilprobe.probing.moving_data import measure_moving
from pytest_gilprobe.probing.open_test import NotAgain, NotProbed, OpenTest
from pytest_gilprobe.probing.pace import BATCH_S, MOST_CALLS, Pace
from pytest_gilprobe.probing.sharing import sweep_sharing
from pytest_gilprobe.probing.warm_up import warm_up
from pytest_gilprobe.stats import rounds
from pytest_gilprobe.stats.overlap import wanted
from pytest_gilprobe.verdict import same_call
from pytest_gilprobe.workers.protocol import CompareArguments, WatchArguments

if TYPE_CHECKING:
    from pytest_gilprobe.model.settings import Plan
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.strategies.registry import Strategies
    from pytest_gilprobe.workers.parent.group import WorkerGroup

MOST_ROUNDS = 60
"""Maximum number of rounds (one batch of each strategy a round): one more narrows confidence intervals by under 1 %."""
BATCHES_AT_LEAST = 8
"""Smallest number of batches (timed series of calls) that should fit into the time of a probe: if that is less than
0.4 s, batches are made shorter than usual (50 ms)."""
COLD = 1.1
"""A first call counts as slowed by warming up if it took more than this many times as long as later calls."""
ROOM = 1.2
"""Factor by which the ``max_time`` that is proposed to the user exceeds the predicted time of the probe."""

Progress = Callable[[str, int], None]
Settled = Callable[[Measurement], NextStep]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One test to measure, and what is known of it beforehand. Times are in seconds.

    Attributes:
        plan: the test, and how to measure it.
        keep: how many of the test's collectors (session, package, module ...) stay set up in the workers afterwards.
        cpus: the number of usable CPUs.
        known_call_s: how long the test's call took when pytest ran it: an upper bound for later calls.
        own_run: the times of the call that pytest made, as a batch of one call; ``None`` if unknown. It has samples of
            the GIL only if the call is too long to be repeated.
        control_s: about how long a call of the control loop (a fixed pure-Python loop) takes.
    """

    plan: Plan
    keep: int
    cpus: int
    known_call_s: float
    own_run: BatchReading | None = None
    control_s: float = 0.001


def measure(job: Job, group: WorkerGroup, strategies: Strategies, settled: Settled, progress: Progress) -> Measurement:
    """Measure one test in rounds (one batch of calls of each strategy a round), and return the readings.

    ``settled`` is called after each round with the readings so far, and returns what to measure next. ``progress`` is
    called before batches, with the strategy's name and the number of the round, from 1. Raises `NotProbed` with the
    reason if not even serial calls could be measured. If a call is too long to be repeated, that exception's ``seen``
    has one call in each lane (thread, process ...) of the strategies that fitted into the time.
    """
    test = OpenTest(job.plan, group, strategies, job.keep)
    try:
        if one_call.is_too_long(job.known_call_s, job.plan):
            one_call.measure(job, test, group, strategies, progress)
        return _Schedule(job, test, group, strategies, progress).run(settled)
    except NotProbed as finding:
        finding.seen = test.seen
        if not (isinstance(finding, NotAgain) and test.may_be_fresh):
            raise
        failed = finding
    # no longer in the except block: workers that are forked there would show this exception as the context of theirs
    again = OpenTest(replace(job.plan, fresh=True), group, strategies, job.keep)
    again.seen = replace(again.seen, fresh_because=failed.error)
    with contextlib.suppress(NotProbed):
        return _Schedule(job, again, group, strategies, progress).run(settled)
    raise failed


class _Schedule:
    """One probe under way."""

    def __init__(
        self, job: Job, test: OpenTest, group: WorkerGroup, strategies: Strategies, progress: Progress
    ) -> None:
        self._plan = job.plan
        own = job.own_run
        self._normal_call_s = rounds.span_s(own, less_queue=True) if own is not None else job.known_call_s or None
        self._cpus = job.cpus
        self._control_s = job.control_s
        self._test = test
        self._group = group
        self._strategies = strategies
        self._progress = progress
        self._budget = Budget(job.plan.max_time_s)
        self._batches = Batches(test, group, strategies.serial, job.control_s, job.plan.timeout_s)

    def run(self, settled: Settled) -> Measurement:
        """Measure until ``settled`` wants nothing more, or time is up."""
        test = self._test
        test.start()
        self._budget.restart()  # their start is the session's cost
        test.set_up()
        if any(end.outcome in {Outcome.HUNG, Outcome.CRASHED} for end in test.seen.ends.values()):
            self._budget.restart()  # nor is it the test's what waiting for those cost
        try:
            ask_of_arguments(test, self._group, self._budget, WatchArguments())
            first, cold = warm_up(test, self._group, self._strategies, self._budget)
            target_s = min(BATCH_S, self._plan.max_time_s / BATCHES_AT_LEAST)
            pace = Pace.of_first_call(first.lanes[0], target_s, self._most_calls())
            self._note(first_call_s=rounds.span_s(first, less_queue=True), normal_call_s=self._normal_call_s)
            ask_of_arguments(test, self._group, self._budget, CompareArguments())
            with self._budget.paused():
                measure_moving(test, self._group)
                test.set_up_apart()
            self._rounds(cold, self._batches.calibrated(pace), settled)
            if test.seen.arguments is not None and test.seen.arguments.changed and not same_call.differs(test.seen):
                ask_of_arguments(test, self._group, self._budget, CompareArguments())
            self._note(ladders=measure_ladders(test, self._group, self._strategies, self._plan, self._cpus))
            sweep_sharing(test, self._group, self._plan, self._cpus, self._control_s)
        except Exception:
            test.tear_down()
            raise
        test.tear_down()  # not after Ctrl-C: then the workers are killed, and nobody waits for their answers
        if not test.seen.rounds:
            raise NotProbed(test.seen.out_of_time or "no serial batch could be run")
        return test.seen

    def _most_calls(self) -> int:
        """Return the most calls of a batch: fewer if each has arguments of its own, made in advance for all threads."""
        most = self._test.most_calls
        return MOST_CALLS if most is None else max(1, most // self._plan.workers)

    def _note(self, **changes: object) -> None:
        self._test.seen = replace(self._test.seen, **changes)  # type: ignore[arg-type]  # fields of the record

    # Rounds

    def _rounds(self, cold: Mapping[str, BatchReading], pace: Pace, settled: Settled) -> None:
        throttled, since_ns = machine.throttled_s(), clocks.perf_counter_ns()
        for number in range(MOST_ROUNDS):
            if not self._affordable(number, pace):
                return
            try:
                pace = self._round(number, cold, pace)
                self._bursts(pace)
            except NotProbed as finding:
                if not self._test.seen.rounds:
                    raise
                self._note(out_of_time=str(finding))
                return
            self._batches.heartbeat(pace, self._budget)
            self._batches.loop_pass(pace, self._budget)
            self._note(throttled_share=_throttled_share(throttled, since_ns))
            if self._test.seen.rounds and same_call.differs(self._test.seen):
                return
            next_step = settled(self._test.seen) if self._test.seen.rounds else NextStep.ROUND
            if next_step is NextStep.CONTROL and self._control():
                next_step = settled(self._test.seen)
            if next_step is NextStep.POOL:
                next_step = self._in_pools(pace, settled)
            if next_step is NextStep.STOP:
                return
            proving = next_step is NextStep.PROOF
            usual = self._plan.max_time_s
            self._budget.total_s = max(usual, self._plan.proof_time_s) if proving else usual

    def _bursts(self, pace: Pace) -> None:
        """Make bursts where other programs keep lanes of one process from running side by side."""
        if pace.call_s <= bursts.LONGEST_CALL_S and wanted(self._test.seen, self._cpus):
            bursts.make(self._test, self._group, pace, self._budget)

    def _control(self) -> bool:
        """Run a round of the control loop; tell whether that worked."""
        control = self._batches.control()
        if control is not None:
            self._note(controls=(*self._test.seen.controls, control))
        return control is not None

    def _in_pools(self, pace: Pace, settled: Settled) -> NextStep:
        """Make rounds in real executors for as long as they are wanted; return what is wanted then."""
        question = pools.question_of(self._test, self._group, self._plan, pace)
        while (step := settled(self._test.seen)) is NextStep.POOL:
            pools.make_round(self._test, self._group, question, self._budget)
        return step

    def _affordable(self, number: int, pace: Pace) -> bool:
        """Tell whether another round fits into the time left; the first serial batch may overrun it once."""
        needed, left, total = self._round_s(pace), self._budget.left_s(), self._budget.total_s
        if left >= needed or (number == 0 and left >= pace.batch_s):
            return True
        late = f"time was up after {total:g} s"
        if number == 0:
            late += f", before the first round; max_time={math.ceil(total - left + needed * ROOM)} would do"
        if self._test.seen.no_time_for and self._test.seen.out_of_time is not None:
            late = self._test.seen.out_of_time  # which says how much time those strategies take
        self._note(out_of_time=late, allowed_s=total)
        return False

    def _round_s(self, pace: Pace) -> float:
        """Predict a round's length, from what the last one took where there was one."""
        if self._test.seen.rounds:
            return sum(map(span_s, self._test.seen.rounds[-1].batches.values()))
        return pace.batch_s * (1 + sum(self._factor(strategy, pace) for strategy in self._test.going_ones()))

    def _factor(self, strategy: Strategy, pace: Pace) -> float:
        return strategy.longest_factor(self._plan.workers, self._cpus, pace.busy)

    def _round(self, number: int, cold: Mapping[str, BatchReading], pace: Pace) -> Pace:
        """Run one batch of each strategy; the order rotates from round to round. Return the pace as known then."""
        serial = self._strategies.serial
        order = [serial, *self._test.going_ones()]
        turn = number % len(order)
        got: dict[str, BatchReading] = {}
        for strategy in order[turn:] + order[:turn]:
            if strategy is serial:
                self._progress(strategy.name, number + 1)
                batch, pace = self._batches.serial(pace, first=number == 0)
            elif not self._test.going(strategy):
                continue
            elif number == 0 and _was_warm(cold.get(strategy.name), got.get(serial.name), pace):
                batch = cold[strategy.name]
            elif number == 0 and self._budget.left_s() < pace.batch_s * self._factor(strategy, pace):
                self._no_time_for(strategy, pace)
                continue
            else:
                self._progress(strategy.name, number + 1)
                found = self._batches.parallel(strategy, pace, self._budget)
                if found is None:
                    continue
                batch = found
            got[strategy.name] = batch
        names = [name for name in self._strategies.names if name in got]
        if serial.name in got:
            done = Round(batches={name: got[name] for name in names})
            self._note(rounds=(*self._test.seen.rounds, done))
        return pace

    def _no_time_for(self, strategy: Strategy, pace: Pace) -> None:
        factors = sum(self._factor(one, pace) for one in self._strategies.parallel if one.name in self._plan.strategies)
        whole = math.ceil(pace.batch_s * (2 + factors) * ROOM)
        self._note(
            out_of_time=f"{strategy.name} did not fit into {self._budget.total_s:g} s, since one call takes "
            f"{seconds(pace.call_s)}; max_time={whole} would do",
            no_time_for=self._test.seen.no_time_for | {strategy.name},
        )


def _was_warm(cold: BatchReading | None, serial: BatchReading | None, pace: Pace) -> bool:
    """Tell whether the warm-up may stand for a strategy's first batch."""
    if cold is None or serial is None or pace.calls > 1:
        return False
    return span_s(cold) <= COLD * span_s(serial)


def _throttled_share(before: float | None, since_ns: int) -> float | None:
    """Return the share of the time since then for which a CPU quota held threads back, from 0 to 1."""
    after = machine.throttled_s()
    if before is None or after is None:
        return None
    return min(1.0, max(0.0, after - before) / max((clocks.perf_counter_ns() - since_ns) / 1e9, 1e-9))
