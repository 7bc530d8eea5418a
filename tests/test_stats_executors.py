"""`pytest_gilprobe.stats.executors`: from which size on calls and tasks pay off in an executor that the user named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evidence import SERIAL, estimate, lane, worker
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.executors import ExecutorReading, ExecutorResult, ExecutorStart, TaskSeries
from pytest_gilprobe.model.readings import BatchReading
from pytest_gilprobe.stats import executors, rounds

CALL_S = 1e-3
START = ExecutorStart(
    factory="shop.pools:make",
    kind="shop.Pool",
    workers=2,
    start_up_s=0.5,
    round_trip_s=2e-3,
    task_s=4e-3,
    data_s=1e-4,
    on_this_machine=True,
)


def series(calls_per_task: int, s_per_call: float, tasks: int = 100) -> TaskSeries:
    """Make a series of tasks in which a call takes so many seconds."""
    return TaskSeries(
        tasks=tasks, calls_per_task=calls_per_task, wall_ns=round(tasks * calls_per_task * s_per_call * 1e9)
    )


def curve(dispatch_s: float, best_s: float, most: int = 256) -> tuple[TaskSeries, ...]:
    """Make the curve of an executor that needs ``dispatch_s`` for each task, and at best ``best_s`` for a call."""
    sizes = [1]
    while sizes[-1] < most:
        sizes.append(sizes[-1] * 2)
    return tuple(series(size, dispatch_s / size + best_s) for size in sizes)


def made(start: ExecutorStart, *, chunk: int = 32, processes: int = 2) -> tuple[BatchReading, BatchReading]:
    """Make a batch through an executor with such a curve, and the serial batch of its round."""
    known = {one.calls_per_task: one.s_per_call for one in start.curve}
    single = series(1, known[1])
    chunked = series(chunk, known[chunk]) if chunk > 1 else None
    timed = chunked or single
    lanes = [lane(timed.wall_ns / 1e9, cpu_s=CALL_S * timed.calls / 2, calls=timed.calls // 2) for _ in range(2)]
    read = ExecutorReading(start=start, single=single, chunked=chunked, processes=processes, rss_bytes=2**20)
    through = replace(worker(*lanes), executor=read)
    base = BatchReading(workers=(worker(lane(0.1, cpu_s=0.1, calls=100)),))
    return base, BatchReading(workers=(through,), apart=False)


def found(start: ExecutorStart, speedup: float, *, chunk: int = 32) -> ExecutorResult:
    """Reduce two rounds of an executor beside serial calls of a millisecond that compute."""
    serial = replace(SERIAL, wall_s_per_call=estimate(CALL_S), cpu_s_per_call=estimate(CALL_S))
    pairs = [made(start, chunk=chunk)] * 2
    result = executors.of(pairs, estimate(speedup), serial)
    assert result is not None
    return result


def test_larger_tasks_pay_off_where_the_curve_says_so() -> None:
    """With 4 ms a task and 0.5 ms a call at best, 4 / k + 0.5 <= 1 / 1.3 needs 15 calls a task, or a call of 15 ms."""
    result = found(replace(START, curve=curve(4e-3, 5e-4)), 1.6)
    assert result.pays_from_calls is not None
    assert 14 <= result.pays_from_calls <= 17  # interpolated between 8 and 16
    assert result.pays_from_s == pytest.approx(result.pays_from_calls * CALL_S)
    assert result.efficient_calls is not None
    assert 50 <= result.efficient_calls <= 62  # 4 / k = 0.516 / 0.9 - 0.5
    assert (result.calls_per_task, result.chunk_speedup) == (32, estimate(1.6))


def test_tasks_of_one_call_are_compared_with_larger_ones_of_the_same_rounds() -> None:
    """What a single call loses is measured beside the larger tasks: its speed-up is theirs, times that share."""
    result = found(replace(START, curve=curve(4e-3, 5e-4)), 1.6)
    assert result.single_speedup is not None
    share = (4e-3 / 32 + 5e-4) / (4e-3 + 5e-4)
    assert result.single_speedup.value == pytest.approx(1.6 * share, rel=1e-6)
    assert result.single_speedup.low < result.single_speedup.value < result.single_speedup.high


def test_a_call_that_is_long_enough_has_a_predicted_least_length() -> None:
    """Where one call per task pays off, how short a call may be is predicted from dispatch and data, and below it."""
    cheap = replace(START, task_s=5e-5, data_s=0.0, curve=(series(1, 5.2e-4), series(2, 5.1e-4)))
    result = found(cheap, 1.9, chunk=1)
    assert (result.calls_per_task, result.chunk_speedup, result.pays_from_calls) == (1, None, 1)
    assert result.single_speedup == estimate(1.9)
    assert result.pays_from_s is not None
    assert result.pays_from_s == pytest.approx(1.3 * 5e-5 / (1 - 1.3 * 5.1e-4 / CALL_S), rel=0.01)
    assert result.pays_from_s < CALL_S


def test_what_never_pays_off_has_no_size() -> None:
    """Calls that take as long in the executor as they do serially need no size of tasks."""
    result = found(replace(START, curve=curve(4e-3, 1e-3)), 1.0)
    assert (result.pays_from_calls, result.pays_from_s) == (None, None)


def test_dispatch_limits_any_number_of_workers() -> None:
    """A task has k calls of 1 ms, and takes 4 ms of dispatch, and 0.1 ms of data for each call."""
    result = found(replace(START, curve=curve(4e-3, 5e-4)), 1.6)
    assert result.most_single == pytest.approx(1 / 4.1)
    assert result.most_chunked == pytest.approx(32 / (4 + 3.2))


def test_workers_elsewhere_have_no_clocks_and_no_memory() -> None:
    """Nothing is said of the CPU time and memory of workers that are not on this machine; times per call are known."""
    result = found(replace(START, curve=curve(4e-3, 5e-4), on_this_machine=False), 1.6)
    assert not result.on_this_machine
    part = executors.through(result, replace(SERIAL, rss_bytes_per_worker=1))
    assert (part.cpu_s_per_call, part.cpu_utilization, part.shares, part.rss_bytes_per_worker) == (None,) * 4
    assert part.wall_s_per_call == SERIAL.wall_s_per_call
    assert (part.start_up_s, part.transfer_s_per_call) == (0.5, 1e-4)


def test_bare_batches_have_no_tasks() -> None:
    """Without an executor there is nothing to reduce, and a round's bare batches leave those of executors out."""
    base, through = made(replace(START, curve=curve(4e-3, 5e-4)))
    assert executors.of([(base, base)], estimate(1.0), SERIAL) is None
    assert executors.at_once([(base, base)], 7) == 7
    assert executors.at_once([(base, through)], 7) == 2


def test_queueing_can_be_left_in() -> None:
    """At worst, no worker of an executor queued for a CPU because of other programs."""
    queued = BatchReading(workers=(worker(lane(1.0, queue_s=0.5)),))
    assert rounds.s_per_call(queued, less_queue=True) == pytest.approx(0.05)
    assert rounds.s_per_call(executors.with_queueing(queued), less_queue=True) == pytest.approx(0.1)


@given(
    dispatch_s=st.floats(1e-6, 1e-1),
    best_s=st.floats(1e-7, 1e-2),
    call_s=st.floats(1e-7, 1e-2),
)
def test_sizes_are_where_the_curve_reaches_the_time(dispatch_s: float, best_s: float, call_s: float) -> None:
    """At the size that is found a call takes the time that is wanted, to the curve's own coarseness; below, longer."""
    points = [(one.calls_per_task, one.s_per_call) for one in curve(dispatch_s, best_s, 2**14)]
    size = executors._size_for(points, call_s)
    if size is None:
        assert min(time for _, time in points) > call_s
        return
    smaller = max(number for number, _ in points if number <= size)
    assert dispatch_s / size + best_s <= call_s * 1.1
    assert size == 1 or dispatch_s / max(1, smaller // 2) + best_s >= call_s
