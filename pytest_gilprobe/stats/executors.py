"""Estimate what tasks cost in an executor that the user named, and how many calls a task must have to pay off.

Speed-ups are measured, not predicted: tasks of one call, tasks of several calls and serial calls are timed in turn,
several times. The number of calls that a task must have to pay off is read from a curve of the time per call, which is
measured at the executor's start for several numbers of calls per task. Between the curve's points, the time per call is
interpolated along a straight line in logarithms.

One value cannot be measured and is marked as a prediction: the limit that the dispatch of tasks sets to the speed-up,
however many workers there are. It is (calls per task x time of a call) / (time per empty task + calls per task x time
to move a call's data).
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.executors import ExecutorResult
from pytest_gilprobe.model.thresholds import WORTH_IT
from pytest_gilprobe.stats import estimates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.executors import ExecutorReading, TaskSeries
    from pytest_gilprobe.model.readings import BatchReading
    from pytest_gilprobe.model.results import StrategyResult
    from pytest_gilprobe.stats.masking import Pairs

EFFICIENT = 0.9
"""Tasks have enough calls if they reach this share of the highest throughput that was measured with any number of calls
per task: their dispatch then costs little."""


def reading_of(batch: BatchReading) -> ExecutorReading | None:
    """Return what was measured of an executor's tasks that made the calls of ``batch`` (calls timed together).

    The result is ``None`` if the calls were not made through an executor that the user named.
    """
    return batch.executors[0] if batch.executors else None


def of(pairs: Pairs, speedup: Estimate, serial: StrategyResult) -> ExecutorResult | None:
    """Estimate the seconds that tasks cost in the executor that the user named, and how many calls make a task pay off.

    Tasks pay off if the speed-up with them is 1.3 or more.

    Args:
        pairs: Pairs of batches (calls timed together): one of serial calls, and one of the strategy timed beside it.
        speedup: The strategy's measured speed-up: with tasks of several calls if the strategy's last batch used such
            tasks, else with tasks of one call.
        serial: The result of the serial calls.

    Returns:
        The estimates; ``None`` if the strategy's calls were not made through an executor that the user named.
    """
    batches = [batch for _, batch in pairs]
    readings = [reading for batch in batches if (reading := reading_of(batch)) is not None]
    if not readings:
        return None
    start, call_s = readings[-1].start, serial.call_s.value
    curve = _calibrated(start.curve, readings)
    per_task = readings[-1].chunked.calls_per_task if readings[-1].chunked is not None else 1
    moved_s = start.data_s or 0.0
    return ExecutorResult(
        factory=start.factory,
        kind=start.kind,
        workers=start.workers,
        at_once=max(len(batch.lanes) for batch in batches),
        start_up_s=start.start_up_s,
        round_trip_s=start.round_trip_s,
        task_s=start.task_s,
        data_s=start.data_s,
        calls_per_task=per_task,
        single_speedup=single_speedup(speedup, readings),
        chunk_speedup=speedup if per_task > 1 else None,
        pays_from_calls=_size_for(curve, call_s / WORTH_IT),
        pays_from_s=_pays_from_s(curve, call_s, start.task_s, moved_s),
        efficient_calls=_size_for(curve, min(time for _, time in curve) / EFFICIENT) if curve else None,
        most_single=_most(call_s, 1, start.task_s, moved_s),
        most_chunked=_most(call_s, per_task, start.task_s, moved_s) if per_task > 1 else None,
        on_this_machine=start.on_this_machine,
    )


def through(executor: ExecutorResult, found: StrategyResult) -> StrategyResult:
    """Return a strategy's result ``found``, completed by what was measured of the executor that the user named for it.

    ``executor`` gives the times of start-up, dispatch and data. If its workers run on other machines, their clocks and
    memory are unknown, so the fields that depend on these become ``None``.
    """
    single, chunked = executor.single_speedup, executor.chunk_speedup
    wall_s, lost_s = found.call_s.value, None
    if single is not None and chunked is not None:
        lost_s = max(0.0, wall_s * (chunked.value / single.value - 1))
    found = replace(
        found,
        executor=executor,
        start_up_s=executor.start_up_s,
        dispatch_s_per_call=max(executor.task_s, lost_s or 0.0),
        transfer_s_per_call=executor.data_s or None,
    )
    if executor.on_this_machine:
        return found
    return replace(found, cpu_s_per_call=None, cpu_utilization=None, shares=None, rss_bytes_per_worker=None)


def at_once(pairs: Pairs, workers: int) -> float:
    """Return how many calls a strategy made at a time.

    The result is ``workers`` or, in an executor that the user named, the most threads or processes that made calls in
    one batch (calls timed together). ``pairs`` has pairs of batches: of serial calls, and of the strategy.
    """
    named = [len(batch.lanes) for _, batch in pairs if batch.executors]
    return float(max(named, default=workers))


def with_queueing(batch: BatchReading) -> BatchReading:
    """Return a copy of ``batch`` (calls timed together) in which the recorded time of queueing for a CPU is 0.

    Recorded queueing is subtracted from a time per call, so a time that is computed from the copy includes queueing.
    """
    workers = (
        replace(worker, lanes=tuple(replace(lane, run_queue_ns=0) for lane in worker.lanes)) for worker in batch.workers
    )
    return replace(batch, workers=tuple(workers))


def single_speedup(speedup: Estimate, readings: Sequence[ExecutorReading]) -> Estimate:
    """Return the speed-up with tasks of one call, computed from ``speedup``, the speed-up with tasks of several calls.

    ``speedup`` is multiplied by the time per call in tasks of several calls, and divided by the time per call in tasks
    of one call, both from ``readings``. ``speedup`` is returned as it is if tasks of several calls were not used or
    gained nothing.
    """
    shares = [
        one.chunked.s_per_call / one.single.s_per_call if one.chunked is not None else 1.0
        for one in readings
        if one.single.wall_ns > 0
    ]
    if not shares or all(share == 1.0 for share in shares):
        return speedup
    return estimates.quotient(speedup, _inverse(estimates.positive_centre(shares, estimates.LEAST_NOISE)))


def _inverse(estimate: Estimate) -> Estimate:
    return Estimate(
        value=1 / estimate.value, low=1 / estimate.high, high=1 / estimate.low, confidence=estimate.confidence
    )


def _calibrated(curve: Sequence[TaskSeries], readings: Sequence[ExecutorReading]) -> list[tuple[int, float]]:
    """Return the curve as pairs of calls per task and seconds per call, the smallest first.

    The sizes that the rounds measured, too, count by the median of all; and larger tasks never take longer per call:
    what says so is noise.
    """
    found: dict[int, list[float]] = {}
    measured = [one.single for one in readings] + [one.chunked for one in readings if one.chunked is not None]
    for series in (*curve, *measured):
        found.setdefault(series.calls_per_task, []).append(series.s_per_call)
    points = [(size, median(times)) for size, times in sorted(found.items())]
    return [(size, min(time for other, time in points if other <= size)) for size, _ in points]


def _size_for(curve: Sequence[tuple[int, float]], wanted_s: float) -> int | None:
    """Return the fewest calls per task with which a call takes ``wanted_s`` seconds; ``None`` if it never does."""
    before: tuple[int, float] | None = None
    for size, time in curve:
        if time <= wanted_s:
            return size if before is None else _between(before, (size, time), wanted_s)
        before = size, time
    return None


def _between(before: tuple[int, float], after: tuple[int, float], wanted_s: float) -> int:
    part = math.log(before[1] / wanted_s) / math.log(before[1] / after[1])
    return math.ceil(math.exp(math.log(before[0]) + part * math.log(after[0] / before[0])))


def _pays_from_s(curve: Sequence[tuple[int, float]], call_s: float, task_s: float, moved_s: float) -> float | None:
    """Return how long a call must take to be worth a task of its own.

    A task of k short calls is like one call that takes k times as long, which the curve has measured. If one call is
    long enough already, the time is predicted: of a call of x seconds, x / S + dispatch must be x / `WORTH_IT`.
    """
    if not curve:
        return None
    fewest = _size_for(curve, call_s / WORTH_IT)
    if fewest is None:
        return None
    if fewest > 1:
        return fewest * call_s
    best_s = min(time for _, time in curve)
    gain = call_s / max(best_s - moved_s, 1e-12)
    if gain <= WORTH_IT:
        return call_s
    return min(call_s, WORTH_IT * (task_s + moved_s) / (1 - WORTH_IT / gain))


def _most(call_s: float, calls_per_task: int, task_s: float, moved_s: float) -> float:
    return calls_per_task * call_s / max(task_s + calls_per_task * moved_s, 1e-12)
