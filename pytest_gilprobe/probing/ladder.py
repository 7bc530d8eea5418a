"""Measure a ladder: how one strategy's throughput grows with 1, 2, 4 ... workers, in little time.

Each number of workers is one step of the ladder: for a short time, all lanes (threads, processes ...) make calls back
to back. The first part of that time does not count; the rest is the window. Steps first go up to more workers, until
two doublings together gain less than 10 %, calls fail, or time is up. Unless calls failed, the same steps are then made
downwards, as time allows: so each number of workers is measured twice, at different times. Only readings are made here;
other modules judge them.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model.ladder import Ladder, Step
from pytest_gilprobe.model.numbers import seconds
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.observe.lane_sleeps import LaneSleeps
from pytest_gilprobe.probing import ladder_workers
from pytest_gilprobe.probing.budget import Budget
from pytest_gilprobe.probing.ladder_counts import counts_for
from pytest_gilprobe.probing.machine_steps import LEAD_PER_LANE_S, MachineSteps
from pytest_gilprobe.probing.open_test import NotProbed, text_of
from pytest_gilprobe.probing.pace import Pace
from pytest_gilprobe.stats import throughput
from pytest_gilprobe.stats.rounds import cpu_utilization, lane_s_per_call, s_per_call
from pytest_gilprobe.verdict import same_call
from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.stretch_messages import Stretch, Stretched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_gilprobe.model.settings import Plan
    from pytest_gilprobe.probing.open_test import OpenTest
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.strategies.registry import Strategies
    from pytest_gilprobe.workers.parent.group import WorkerGroup
    from pytest_gilprobe.workers.parent.worker import Worker
    from pytest_gilprobe.workers.protocol import Answer

LADDER_S = 3.0
"""Seconds for which one strategy's ladder (throughput with 1, 2, 4 ... workers) may be measured. They come on top of
the time limit of the probe."""
MARK_S = 0.002
"""Intended seconds between two marks (moments that a lane, such as a thread, notes while it makes calls). At this
interval, noting marks does not slow calls."""
SETTLE_S = 0.02
"""Shortest time, in seconds, at the start of a ladder's step (one number of workers) for which calls do not count. It
is longer if a lane (thread, process ...) seldom notes the time, see `SETTLE_LAPS`."""
WINDOW_S = 0.12
"""Shortest time, in seconds, for which the calls of a ladder's step (one number of workers) count. It is longer if a
lane (thread, process ...) seldom notes the time, see `WINDOW_LAPS`."""
MOST_WINDOW_S = 0.4
"""Longest time, in seconds, for which the calls of a ladder's step (one number of workers) count. They count for
longer only if a lane (thread, process ...) seldom notes the time, see `WINDOW_LAPS` and `LAPS_ALONE`."""
CALLS = 5
"""Shortest window (the time for which calls of a ladder's step count), as a multiple of one serial call's time."""
SETTLE_LAPS, WINDOW_LAPS = 1.2, 2.5
"""A step (a timing of one number of workers) lasts at least this many laps: first ``SETTLE_LAPS`` that do not count,
then ``WINDOW_LAPS`` that count. In a lap, a lane (thread, process ...) makes one or more calls and then notes the time.
So each lane notes at least two times that count."""
LAPS_ALONE = 3.2
"""Shortest time for which the calls of a single worker count, in laps (one or more calls, after which the worker notes
the time). It is longer than 3 laps, so that at least three laps end in it."""
GAIN = 1.10
"""No more workers are tried after a number of workers whose throughput is below this multiple of the highest throughput
of a quarter as many workers or fewer. This does not apply to numbers of workers that the user chose."""
HANGS_S = 10.0
"""Seconds that are added to ten times the planned length of a step (a timing of one number of workers). Calls that take
longer than the sum, or than the user's time-out, count as hung."""
COMPUTES = 0.1
"""The speed-up that the machine gives to computing threads is measured, too, if serial calls use at least this share of
a CPU. Below this share, calls rarely compete for CPUs: ten at a time do not keep one CPU busy."""
LEAD_S = 0.005
"""Seconds from asking workers for a timing until all lanes (threads ...) begin; each lane adds `LEAD_PER_LANE_S`."""


def measure_ladders(
    test: OpenTest, group: WorkerGroup, strategies: Strategies, plan: Plan, cpus: int
) -> dict[str, Ladder]:
    """Measure a ladder (throughput with growing numbers of workers) for each strategy that works so far.

    Returns the ladders by strategy name. The result is empty if ``plan`` asks for none, if no serial calls were timed,
    or if timed calls do other work than the test's first call. ``cpus`` is the number of usable CPUs.
    """
    if plan.scale is None or not test.seen.rounds or same_call.differs(test.seen):
        return {}
    serial = test.seen.rounds[-1].serial
    pace = Pace(call_s=lane_s_per_call(serial), busy=cpu_utilization(serial), target_s=WINDOW_S)
    climber = Climber(test, group, strategies.serial, timeout_s=plan.timeout_s, cpus=cpus)
    found: dict[str, Ladder] = {}
    with contextlib.suppress(NotProbed):  # a worker was lost, and there is no other: the rounds still count
        for strategy in test.going_ones():
            counts, adaptive = counts_for(strategy, plan, found, cpus, pace.busy)
            found[strategy.name] = climber.climb(strategy, pace, counts, adaptive=adaptive)
    return found


class Times(NamedTuple):
    """Seconds to time one number of workers: calls do not count for ``settle_s``, then count for ``window_s``."""

    settle_s: float
    window_s: float


class Climber:
    """Measure ladders (throughput with growing numbers of workers) in the workers in which a test is set up."""

    def __init__(self, test: OpenTest, group: WorkerGroup, serial: Strategy, *, timeout_s: float, cpus: int) -> None:
        """Prepare to time ``test`` in workers of ``group``; each makes its first call by the strategy ``serial``.

        Calls hang after ``timeout_s``, or 10 s + 10 times the planned time if less. ``cpus`` are usable CPUs.
        """
        self._cpus = cpus
        self._test = test
        self._group = group
        self._serial = serial
        self._timeout_s = timeout_s

    def climb(self, strategy: Strategy, pace: Pace, counts: Sequence[int], *, adaptive: bool) -> Ladder:
        """Measure the throughput of ``strategy`` with each number of workers in ``counts``, upwards and then downwards.

        If ``adaptive`` is true, larger numbers are left out as soon as they hardly raise the throughput. Numbers for
        which there is no time are left out, too. ``pace`` says how long a serial call takes. Raises `NotProbed` if a
        worker process was lost and the test can be set up in no other one.
        """
        if why := self._why_not(strategy):
            return Ladder(error=why)
        ladder = _Climb(self, strategy, pace, counts, self._known(strategy, pace))
        found = ladder.up_and_down(adaptive=adaptive)
        if found.failed_at is not None or ladder.lost_worker:
            self._test.mend(distrusted=self._test.workers[0] if strategy.one_process or ladder.lost_worker else None)
        return found

    def _why_not(self, strategy: Strategy) -> str | None:
        if self._test.seen.fresh:
            return "each call has arguments of its own, which are made in advance for a known number of calls"
        return None if strategy.scales else f"{strategy.name} cannot run for a set time"

    def _known(self, strategy: Strategy, pace: Pace) -> dict[int, float]:
        """Return the throughputs that the rounds have shown, in calls per second by the number of workers."""
        batch = self._test.seen.rounds[-1].batches.get(strategy.name)
        rates = {} if batch is None else {len(batch.lanes): 1 / s_per_call(batch, less_queue=False)}
        return {1: 1 / pace.call_s} | rates

    # One step

    def ready(self, strategy: Strategy, workers: int) -> list[Worker] | Answer | Lost:
        """Return the processes in which ``strategy`` runs ``workers`` lanes (such as threads); set the test up there.

        If that fails, return the worker's answer that says what went wrong.
        """
        return ladder_workers.ready(self._test, self._group, strategy, self._serial, workers)

    def step(
        self, strategy: Strategy, found: Sequence[Worker], workers: int, calls_per_mark: int, times: Times
    ) -> Step | Answer | Lost:
        """Measure the throughput of ``strategy`` with ``workers`` lanes (threads, processes ...): one step of a ladder.

        ``found`` are the worker processes, among which the lanes are divided. A lane notes the time after every
        ``calls_per_mark`` calls. ``times`` is how long the step takes. If a process fails, its answer is returned
        instead.
        """
        group = self._test.apart.group(strategy)
        settle_s, window_s = times
        begin_ns = clocks.perf_counter_ns() + round((LEAD_S + LEAD_PER_LANE_S * workers) * 1e9)
        settled_ns = begin_ns + round(settle_s * 1e9)
        until_ns = settled_ns + round(window_s * 1e9)
        asked = Stretch(
            strategy=strategy.name,
            lanes=workers // len(found),
            begin_ns=begin_ns,
            until_ns=until_ns,
            calls_per_mark=calls_per_mark,
        )
        timeout_s = min(self._timeout_s, HANGS_S + 10 * (settle_s + window_s))
        watch = self._watch(strategy, found[0], workers, settled_ns, until_ns)
        before_s = machine.throttled_s()
        if watch is not None:
            answers = [group.ask(found[0], asked, timeout_s, watch)]
        else:
            answers = group.ask_each([(worker, asked) for worker in found], timeout_s)
        readings = [answer.reading for answer in answers if isinstance(answer, Stretched)]
        if len(readings) < len(answers):
            return next(answer for answer in answers if not isinstance(answer, Stretched))
        after_s, is_beyond = machine.throttled_s(), workers > machine.usable_cpus()  # then a quota is as CPUs are
        return Step(
            workers=workers,
            begin_ns=begin_ns,
            settled_ns=settled_ns,
            until_ns=until_ns,
            calls_per_mark=calls_per_mark,
            readings=tuple(readings),
            sleeps=dict(watch.found) if watch is not None else {},
            throttled_s=None if before_s is None or after_s is None or is_beyond else after_s - before_s,
        )

    def machine_steps(self) -> MachineSteps:
        """Return an object that measures, in the first worker, the speed-up of threads that compute without the GIL."""
        return MachineSteps(self._group, self._test.workers[0], self._cpus, self._timeout_s)

    def _watch(self, strategy: Strategy, worker: Worker, lanes: int, from_ns: int, until_ns: int) -> LaneSleeps | None:
        """Return what looks at the lanes that live in one worker, in threads of their own; ``None`` if they do not."""
        threads = self._test.apart.lane_threads(strategy, lanes)
        if worker.ready is None or strategy.one_thread or not (strategy.one_process or threads):
            return None
        ready = worker.ready
        return LaneSleeps(ready.pid, from_ns, until_ns, gil_address=ready.gil_address, threads=threads)


class _Climb:
    """One strategy's ladder under way."""

    def __init__(
        self, climber: Climber, strategy: Strategy, pace: Pace, counts: Sequence[int], known: Mapping[int, float]
    ) -> None:
        """Prepare to climb; ``known`` are the throughputs that are known before."""
        self._climber = climber
        self._strategy = strategy
        self._counts = counts
        self._call_s = pace.call_s
        self._calls_per_mark = max(1, math.floor(MARK_S / pace.call_s))
        self._budget = Budget(LADDER_S)
        self._rates = dict(known)
        self._ladder = Ladder()
        self._machine = climber.machine_steps() if pace.busy >= COMPUTES else None

    @property
    def lost_worker(self) -> bool:
        """Whether seeing what the machine gives has cost the first worker."""
        return self._machine is not None and self._machine.broken

    def up_and_down(self, *, adaptive: bool) -> Ladder:
        """Go up, to the end or, if ``adaptive``, to where more workers gain nothing; then down while time allows.

        Where one worker would take longer than the longest window of several, the way up leaves it out: serial calls
        have shown its throughput, and the time is for more workers.
        """
        slow = LAPS_ALONE * self._lap_s(1) > MOST_WINDOW_S
        for workers in self._counts[1 if slow else 0 :]:
            if not self._affordable(workers):
                self._ladder = replace(self._ladder, complete=False)
                break
            if not self._step(workers) or (adaptive and self._is_flat(workers)):
                break
        if not self._ladder.steps and self._ladder.error is None:
            why = f"one call takes {seconds(self._call_s)}, too long for a curve in {LADDER_S:g} s"
            return replace(self._ladder, error=why)
        if self._machine is not None:
            self._machine.begin_way_down()
        if self._ladder.failed_at is None:
            for workers in sorted({1, *(step.workers for step in self._ladder.steps)}, reverse=True):
                if self._affordable(workers) and not self._step(workers):
                    break
        return self._ladder

    def _step(self, workers: int) -> bool:
        """Make one step and keep it; return whether calls worked."""
        with self._budget.paused():
            found: Step | list[Worker] | Answer | Lost = self._climber.ready(self._strategy, workers)
        if isinstance(found, list):
            times = Times(self._settle_s(workers), self._window_s(workers))
            found = self._climber.step(self._strategy, found, workers, self._calls_per_mark, times)
        if isinstance(found, Step):
            self._ladder = replace(self._ladder, steps=(*self._ladder.steps, found))
            rate = throughput.calls_per_s(found)
            if rate is not None:
                self._rates[workers] = rate
            if self._machine is not None:
                with self._budget.paused():
                    self._machine.measure_beside(workers)
                self._ladder = replace(self._ladder, machine=self._machine.steps)
            return True
        outcome = found.outcome if isinstance(found, Lost) else Outcome.FAILED
        self._ladder = replace(self._ladder, failed_at=workers, outcome=outcome, error=text_of(found))
        return False

    def _is_flat(self, workers: int) -> bool:
        lower = [rate for count, rate in self._rates.items() if count <= workers // 4]
        return bool(lower) and self._rates.get(workers, math.inf) < GAIN * max(lower)

    def _lap_s(self, workers: int) -> float:
        """Return how long a lane needs for its mark at most, if throughput does not grow beyond what was seen."""
        seen = [rate for count, rate in self._rates.items() if count <= workers]
        alone_s = self._call_s * self._calls_per_mark
        return max(alone_s, workers * self._calls_per_mark / max(seen)) if seen else alone_s

    def _window_s(self, workers: int) -> float:
        lap_s = self._lap_s(workers) * (WINDOW_LAPS if workers > 1 else LAPS_ALONE)
        return min(max(WINDOW_S, CALLS * self._call_s, lap_s), max(MOST_WINDOW_S, lap_s))

    def _settle_s(self, workers: int) -> float:
        return max(SETTLE_S, SETTLE_LAPS * self._lap_s(workers))

    def _affordable(self, workers: int) -> bool:
        return self._budget.left_s() >= self._settle_s(workers) + self._window_s(workers) + self._lap_s(workers)
