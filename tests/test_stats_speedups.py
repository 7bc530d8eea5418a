"""`pytest_gilprobe.stats.speedups`: what queueing is whose, and what the machine gives now.

What speed-ups come out of samples of known truth is held in ``test_stats_reduce.py``.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from evidence import control, machine, measurement, processes, round_, serial, threads

from pytest_gilprobe.model.executors import ExecutorReading, ExecutorStart, TaskSeries
from pytest_gilprobe.model.readings import BatchReading
from pytest_gilprobe.stats.speedups import correctable, may_queue_unseen, scaling_now


@pytest.mark.parametrize(
    ("workers", "cpus", "native_s", "answer"),
    [(2, 2, 0.0, True), (4, 2, 0.0, False), (2, 1, 0.0, False), (2, 2, 0.1, False)],
)
def test_own_queueing_is_not_taken_out(workers: int, cpus: int, native_s: float, *, answer: bool) -> None:
    """Where a batch's own threads, native ones included, outnumber the CPUs, its queueing is its own."""
    seen = measurement(round_(serial(native_s=native_s)), workers=workers)
    assert correctable(seen, machine(cpus=cpus)) is answer


def test_scaling_is_the_freshest_known() -> None:
    """Controls between the rounds tell what the machine gives now; without any, the session's survey does."""
    assert scaling_now(measurement(), machine()) == machine().scaling
    fresh = control(serial(), processes(0.2))
    found = scaling_now(measurement(controls=(fresh,)), machine())
    assert found is not None
    assert found.value == pytest.approx(1.0)
    assert scaling_now(measurement(), machine(scaling=None)) is None


def through_executor(batch: BatchReading) -> BatchReading:
    """Say of a batch that its calls were made through an executor that the user named."""
    single = TaskSeries(tasks=20, calls_per_task=1, wall_ns=200_000_000)
    start = ExecutorStart(
        factory="m:f", kind="m.Pool", workers=2, start_up_s=0.1, round_trip_s=0.1, task_s=0.1, data_s=0.0
    )
    read = ExecutorReading(start=start, single=single)
    return replace(batch, workers=tuple(replace(one, executor=read) for one in batch.workers))


def test_processes_of_an_executor_are_no_other_programs() -> None:
    """Nobody knows the CPU time of an executor's workers, so it does not count as that of other programs."""
    base = serial(0.1, cpu_s=0.01, children_s=0.09, idle=0.5)
    inside = threads(0.1, cpu_s=0.01, children_s=0.18, idle=0.0)
    unknown = threads(0.1, cpu_s=0.01, idle=0.0)
    assert may_queue_unseen(measurement(round_(base, threads=inside, named=unknown)))
    assert not may_queue_unseen(measurement(round_(base, threads=inside, named=through_executor(unknown))))
