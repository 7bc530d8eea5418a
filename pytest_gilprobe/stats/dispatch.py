"""Predict the speed-up in an executor of the standard library, where dispatching tasks and moving data take time.

* A worker (a thread or process of the executor) loses time with every task: it is woken, takes the task and returns the
  result. If there are no more CPUs than workers, the thread that dispatches also takes CPU time from the workers.
* One thread dispatches the tasks and pickles the data to be moved: an executor cannot be faster than that thread.
* Moving data takes CPU time in the parent and in the worker, so the calls and the moving take turns on the CPUs.

The time that a worker loses with a task is measured with tasks that compute (`pytest_gilprobe.workers.child.dispatch`).
Empty tasks would show only a third of it in processes, and less in threads (``docs/prediction.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gilprobe.model.apart_readings import ApartReading
from pytest_gilprobe.model.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilprobe.model.executors import ExecutorResult
    from pytest_gilprobe.model.machine import DispatchCosts, Machine
    from pytest_gilprobe.model.readings import Measurement
    from pytest_gilprobe.model.results import GilResult, StrategyResult, Transfer
    from pytest_gilprobe.strategies.contract import Strategy

NOTHING = Estimate(value=0.0, low=0.0, high=0.0)
"""The seconds per call that workers are assumed to lose to dispatching if this was not measured: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolInputs:
    """What is known for predicting the speed-up in an executor, beside the speed-up of calls made without an executor.

    Attributes:
        workers: the number of the executor's workers (threads or processes).
        serial: the result of the serial calls, such as the time of a call.
        gil: how long calls hold the GIL.
        gil_on: whether the workers run with the GIL enabled.
        machine: this machine's number of CPUs, its speed-up in processes, and what its executors cost.
        costs: the time that the strategy's executor takes to dispatch a task; ``None`` if not measured.
        transfer: what moving a call's data costs; ``None`` if not measured, or for a strategy that moves no data.
        executor: what was measured of an executor that the user named; ``None`` for any other executor.
    """

    workers: int
    serial: StrategyResult
    gil: GilResult
    gil_on: bool
    machine: Machine
    costs: DispatchCosts | None
    transfer: Transfer | None = None
    executor: ExecutorResult | None = None

    @property
    def task_s(self) -> float:
        """Seconds that the executor takes for an empty task, in the fastest of several timings; 0 if not measured."""
        return 0.0 if self.costs is None else self.costs.task_s

    @property
    def task_high_s(self) -> float:
        """Seconds that the executor takes for an empty task, in the median of several timings; 0 if not measured."""
        return self.task_s if self.costs is None else max(self.task_s, self.costs.task_high_s)


def dispatched(speedup: Estimate, inputs: PoolInputs) -> Estimate:
    """Predict the speed-up in an executor from ``speedup``, the speed-up of calls made without an executor.

    The prediction is the serial time of a call divided by the executor's time per call, the longer one of two times.
    The workers take (call + moving its data, in the worker) / ``speedup`` + what they lose to dispatching. The
    dispatching thread takes one empty task + moving a call's data, in the parent process. A ``speedup`` above the
    number of workers is first reduced to that number.
    """
    speedup = capped(speedup, float(inputs.workers))
    call_s, lost_s, transfer = inputs.serial.call_s, _lost(inputs), inputs.transfer
    moving_s, beside_s = (transfer.parent_s, transfer.worker_s) if transfer is not None else (0.0, 0.0)
    value, low, high = (
        call / max((call + beside_s) / max(gain, 1e-12) + lost, task + moving_s, 1e-12)
        for gain, call, lost, task in (
            (speedup.value, call_s.value, lost_s.value, inputs.task_s),
            (speedup.low, call_s.low, lost_s.high, inputs.task_high_s),
            (speedup.high, call_s.high, lost_s.low, inputs.task_s),
        )
    )
    return Estimate(value=value, low=min(low, value), high=max(high, value), confidence=speedup.confidence)


def transfer_of(strategy: Strategy, measurement: Measurement) -> Transfer | None:
    """Return what it costs a strategy to move the arguments and the result of one call between processes.

    The result is ``None`` if the strategy moves no data, or if the cost was not measured.
    """
    if strategy.moves_by_itself:
        return measurement.apart.get(strategy.name, ApartReading()).transfer
    return measurement.transfer if strategy.moves_data else None


def dispatch_s(costs: DispatchCosts | None) -> float | None:
    """Return the seconds that a worker of an executor loses to the dispatch of one call.

    ``costs`` are the measured costs of the executor. The result is at least the time of an empty task; ``None`` if
    ``costs`` is ``None``.
    """
    if costs is None:
        return None
    return costs.task_s if costs.lost_s is None else max(costs.lost_s.value, costs.task_s)


def capped(estimate: Estimate, most: float) -> Estimate:
    """Return ``estimate`` with its value, low and high each reduced to ``most`` if above it."""
    return capped_each(estimate, (most, most, most))


def capped_each(estimate: Estimate, most: Iterable[float]) -> Estimate:
    """Return ``estimate`` with its value, low and high each reduced to a limit of its own.

    ``most`` has the limits of value, low and high, in this order. A low end that is then above the value, or a high end
    below it, is replaced by the value.
    """
    ends = (estimate.value, estimate.low, estimate.high)
    value, low, high = (min(end, limit) for end, limit in zip(ends, most, strict=True))
    return Estimate(value=value, low=min(low, value), high=max(high, value), confidence=estimate.confidence)


def _lost(inputs: PoolInputs) -> Estimate:
    """Return the seconds that the workers' losses, incurred in parallel, add to each call of an executor."""
    machine, costs = inputs.machine, inputs.costs
    if costs is None or costs.lost_s is None or machine.scaling is None:
        return NOTHING
    lanes = max(1.0, min(machine.scaling.value, machine.scaling_workers or 1))
    low, value, high = (end / lanes for end in (costs.lost_s.low, costs.lost_s.value, costs.lost_s.high))
    return Estimate(value=value, low=low, high=high, confidence=costs.lost_s.confidence)
