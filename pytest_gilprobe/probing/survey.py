"""Survey the machine: which speed-up it gives to computing worker processes, and what executors cost.

In a session, this is done once for each number of workers. For a probe that has little time, executors are timed
briefly; those that a later probe with more time needs are then timed once more, as usual.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.machine import DispatchCosts, Machine
from pytest_gilprobe.observe import machine
from pytest_gilprobe.probing.batches import CONTROL_S, control_round
from pytest_gilprobe.stats import estimates, rounds
from pytest_gilprobe.workers.executor_messages import DispatchMeasured, MeasureDispatch
from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.protocol import Control, Done

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import ControlRound
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.workers.parent.group import WorkerGroup

CONTROL_ROUNDS = 3
"""Number of times that a survey of the machine times the control (a fixed pure-Python loop). Few are enough, since the
control is timed again for each workload (probed call) that seems to gain from no strategy."""
TRIED_WITH = 2
"""Number of workers with which the factors `DispatchTrial.most_of_cpu` were measured. With N times as many workers, the
factors are taken to be up to N times as large."""
BRIEF_S = 2.0
"""Before a probe that may take fewer seconds than this, executors are timed briefly. To time them as usual takes most
of a second, which is much beside so short a probe."""
TRIAL_CALLS = 5
"""Number of runs of the control (a fixed pure-Python loop) by which a survey finds out how long one run takes."""


class Surveyor:
    """Measure which speed-up the machine gives to worker processes, and what executors cost; keep the results."""

    def __init__(self, group: WorkerGroup) -> None:
        """Prepare to measure in the workers of ``group``; nothing is measured yet."""
        self._group = group
        self._known: dict[int, Machine] = {}
        self._brief: set[tuple[int, str]] = set()
        self._imports: dict[tuple[str, str, int], float | None] = {}
        self.cpus = machine.usable_cpus()
        self.control_s = 0.001
        """About how many seconds one call of the control loop (a fixed pure-Python loop) takes."""

    def machine(self, workers: int) -> Machine:
        """Return the CPU count and, if measured, executors' costs and the speed-up of ``workers`` workers over one."""
        return self._known.get(workers, Machine(cpus=self.cpus))

    def any_machine(self) -> Machine:
        """Return the CPU count and, if measured, executors' costs and the speed-up for the first worker count tried."""
        return next(iter(self._known.values()), Machine(cpus=self.cpus))

    def import_s(self, strategy: Strategy, module: str, workers: int) -> float | None:
        """Return how many seconds the workers of a strategy's executor take to import ``module``; ``None`` if unknown.

        ``workers`` is how many import it at the same time. Forked workers take 0 s, since they inherit imported
        modules. ``__main__`` is not imported for a measurement, since running the user's script again may have effects:
        its time is unknown.
        """
        if self._group.start_method == "fork":
            return 0.0
        if module == "__main__":
            return None
        key = (strategy.name, module, workers)
        if key not in self._imports:
            found = self._dispatch(strategy, workers, module)
            self._imports[key] = found.import_s if found is not None else None
        return self._imports[key]

    def survey(self, workers: int, strategies: Sequence[Strategy], budget_s: float) -> None:
        """Measure the machine's speed-up with ``workers`` workers, and what the executors of ``strategies`` cost.

        The speed-up is that of the control (a fixed Python loop). ``budget_s`` is how many seconds the next probe may
        take; below `BRIEF_S`, executors are timed briefly. What is known for this number of workers is not measured
        again, except the cost of an executor that was timed briefly, if this time it would not be. If the workers do
        not start, nothing is measured.
        """
        brief = budget_s < BRIEF_S
        known = self._known.get(workers)
        costs = {} if known is None else dict(known.costs)
        done = {name for name in costs if brief or (workers, name) not in self._brief}
        wanted = [strategy for strategy in strategies if strategy.trial is not None and strategy.name not in done]
        if (known is not None and not wanted) or isinstance(self._group.ready(workers), Lost):
            return
        known = known or self._control(workers)
        for strategy in wanted:
            found = costs_of(strategy, self._dispatch(strategy, workers, brief=brief), known.scaling, workers)
            costs[strategy.name] = found or costs.get(strategy.name)
            if brief:
                self._brief.add((workers, strategy.name))
            else:
                self._brief.discard((workers, strategy.name))
        self._known[workers] = replace(known, costs=costs)

    def _control(self, workers: int) -> Machine:
        """Run the control loop alone and in all workers at once, in turn."""
        found = Machine(cpus=self.cpus, start_method=self._group.start_method, page_fault_s=machine.page_fault_s())
        controls = self._control_rounds(workers)
        if not controls:
            return found
        less_queue = workers <= self.cpus
        alone = [rounds.s_per_call(one.alone, less_queue=less_queue) for one in controls]
        together = [rounds.s_per_call(one.together, less_queue=less_queue) for one in controls]
        noise = max(estimates.LEAST_NOISE, _spread(alone, together))
        gains = [single / beside for single, beside in zip(alone, together, strict=True)]
        scaling = estimates.positive_centre(gains, noise)
        return replace(found, scaling=scaling, scaling_workers=workers, noise=noise)

    def _control_rounds(self, workers: int) -> list[ControlRound]:
        found = self._group.ready(workers)
        if isinstance(found, Lost):
            return []
        first = self._group.ask(found[0], Control(calls=TRIAL_CALLS))
        if not isinstance(first, Done):
            return []
        self.control_s = max(first.reading.lanes[0].cpu_ns, 1) / TRIAL_CALLS / 1e9
        calls = max(1, math.ceil(CONTROL_S / self.control_s))
        done: list[ControlRound] = []
        while len(done) < CONTROL_ROUNDS:
            one = control_round(self._group, found, calls)
            if one is None:
                return []
            done.append(one)
        return done

    def _dispatch(
        self, strategy: Strategy, workers: int, module: str | None = None, *, brief: bool = False
    ) -> DispatchMeasured | None:
        main = strategy.worker_main()
        group = self._group if main is None else self._group.apart(strategy.name, main)
        found = group.ready(1)
        if isinstance(found, Lost):
            return None
        question = MeasureDispatch(
            strategy=strategy.name,
            workers=workers,
            start_method=self._group.start_method,
            module=module,
            brief=brief,
        )
        answer = group.ask(found[0], question)
        return answer if isinstance(answer, DispatchMeasured) else None


def costs_of(
    strategy: Strategy, found: DispatchMeasured | None, scaling: Estimate | None, workers: int
) -> DispatchCosts | None:
    """Return the seconds that a strategy's executor costs, per task and to start its workers; ``None`` if unknown.

    ``found`` has the times that a worker process measured; ``None`` if that failed. ``scaling`` is how many times as
    much work ``workers`` computing workers do in the same time as one; ``None`` if unknown.
    """
    if found is None:
        return None
    most_of_cpu = math.inf if strategy.trial is None else strategy.trial.most_of_cpu * max(1.0, workers / TRIED_WITH)
    return DispatchCosts(
        task_s=found.task_s,
        task_high_s=found.task_high_s if found.task_high_s is not None else found.task_s,
        lost_s=lost_s(found, scaling, most_of_cpu),
        start_up_s=found.start_up_s * workers if found.start_up_s else None,
    )


def lost_s(found: DispatchMeasured, scaling: Estimate | None, most_of_cpu: float) -> Estimate | None:
    """Return how many seconds longer a task takes in an executor than in one thread alone; ``None`` if unknown.

    ``found`` has the times of tasks that compute: the shortest and the median of several timings. ``scaling`` is the
    machine's speed-up: an executor that loses nothing does ``scaling`` tasks in the time that one thread alone needs
    for one. The value is the mean of two losses: one computed from the shortest times, the other from the medians. The
    interval allows for the uncertainty of ``scaling``.

    Other programs that use the CPUs meanwhile slow the executor more than the single thread, while the CPU time that it
    adds to a task stays much the same. In this case, the interval reaches from the CPU time of an empty task to
    ``most_of_cpu`` times the CPU time that is added to a computing task, or to the measured loss if that is less. It
    reaches at least to the wall time of an empty task. The value is the geometric mean of the added CPU time and the
    high end.
    """
    if found.work is None or scaling is None:
        return None
    work = found.work
    least = max(0.0, scaling.low * work.pooled_least_s - work.alone_least_s)
    most = max(0.0, scaling.high * work.pooled_s - work.alone_s)
    best, middle = (
        max(0.0, scaling.value * pooled - alone)
        for pooled, alone in ((work.pooled_least_s, work.alone_least_s), (work.pooled_s, work.alone_s))
    )
    value = (best + middle) / 2
    low, high = min(least, value), max(most, value)
    if (work.queued > rounds.QUIET or work.others > rounds.CROWDED) and found.task_cpu_s is not None:
        low = found.task_cpu_s
        added = max(low, work.more_cpu_s or 0.0)
        times = math.inf if work.more_cpu_s is None else most_of_cpu
        high = max(low, found.task_s, min(most, times * added))
        value = math.sqrt(min(added, high) * high)
    return Estimate(value=value, low=low, high=high, confidence=scaling.confidence)


def _spread(*groups: list[float]) -> float:
    """Return the pooled standard deviation of the logarithms within groups of equal length."""
    squares = freedom = 0.0
    for group in groups:
        logs = [math.log(value) for value in group]
        if len(logs) > 1:
            squares += sum((one - fmean(logs)) ** 2 for one in logs)
            freedom += len(logs) - 1
    return math.sqrt(squares / freedom) if freedom else 0.0
