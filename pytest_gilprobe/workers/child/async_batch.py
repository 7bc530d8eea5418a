"""Run and time one batch of calls of a coroutine function in a running event loop: one after the other, or at once.

Clocks are read before the first call and after the last one, in the same order as for plain functions in
`pytest_gilprobe.workers.child.batch`. The event loop itself is not changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model.readings import LaneReading, WorkerReading
from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.observe.affinity import StartingCpu
from pytest_gilprobe.workers.child.batch import Queueing, Usage, WorkloadError, describe, sleep_on
from pytest_gilprobe.workers.child.calls import in_advance

if TYPE_CHECKING:
    from pytest_gilprobe.model.call_readings import LoopBlock
    from pytest_gilprobe.observe.loop_blocks import BlockWatch
    from pytest_gilprobe.workers.child.home_loop import HomeLoop

AsyncCall = Callable[[], Awaitable[object]]
Times = tuple[int, int, int]
"""The times of one batch of calls, in nanoseconds: its start and its end, both by `time.perf_counter_ns`, and the CPU
time that this thread used from start to end."""

_perf_counter_ns = clocks.perf_counter_ns
_thread_time_ns = clocks.thread_time_ns


class _LaneFailedError(Exception):
    """Ends all tasks of a batch after a call in one of them failed."""


async def _loop(call: AsyncCall, calls: int) -> Times:
    """Make the calls one after the other."""
    ahead = in_advance(call, calls)
    cpu = _thread_time_ns()
    start = _perf_counter_ns()
    for one in ahead:
        await one()
    end = _perf_counter_ns()
    return start, end, _thread_time_ns() - cpu


async def run_serial(call: AsyncCall, calls: int, begin_ns: int = 0, lane: int = 0) -> WorkerReading:
    """Make ``calls`` calls one after the other in this task, from the moment ``begin_ns`` on.

    ``begin_ns`` is a moment of `time.perf_counter_ns`; with 0, the calls begin at once. Until then the whole thread
    sleeps. ``lane`` is the number, from 0, of this thread among the threads or processes that begin together: it
    chooses the CPU on which the thread sleeps, so that no two begin on the same one. Return the readings of the clocks.
    Raises `WorkloadError` if a call raises anything.
    """
    machine.reset_peak_rss()
    usage = Usage()
    ahead_ns = begin_ns - _perf_counter_ns()
    if ahead_ns > 0:
        sleep_on(StartingCpu(lane), ahead_ns / 1e9)
    try:
        timed = await _clocked(lambda: _loop(call, calls))
    except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is a finding
        raise WorkloadError(describe(error)) from None
    return usage.reading((timed.lane(calls, timed.end_ns, 1),))


async def run_tasks(home: HomeLoop, call: AsyncCall, calls: int, lanes: int) -> WorkerReading:
    """Make ``calls`` calls in each of ``lanes`` tasks, all at once in the event loop ``home``.

    All tasks share one thread, and the result has the readings of the clocks for each task. The CPU time and the waits
    of the thread are divided equally among these readings. The time that the thread queued for a CPU holds up every
    task, so each reading has all of it. Raises `WorkloadError` if a call raises, with the first failure and the number
    of tasks that failed.
    """
    machine.reset_peak_rss()
    ends_ns: list[int] = []
    failures: list[BaseException] = []

    async def make_calls(ahead: Iterable[AsyncCall]) -> None:
        try:
            for one in ahead:
                await one()
            ends_ns.append(_perf_counter_ns())
        except BaseException as error:
            if failures and isinstance(error, home.cancelled):
                raise
            failures.append(error)
            raise _LaneFailedError from None

    async def batch() -> Times:
        each = [partial(make_calls, in_advance(call, calls)) for _ in range(lanes)]
        cpu = _thread_time_ns()
        start = _perf_counter_ns()
        await home.together(each)
        end = _perf_counter_ns()
        return start, end, _thread_time_ns() - cpu

    usage = Usage()
    try:
        timed = await _clocked(batch)
    except BaseException as error:  # noqa: BLE001 - as above
        if not failures:
            raise WorkloadError(describe(error)) from None
        raise WorkloadError(failed(failures, lanes)) from None
    return usage.reading(tuple(timed.lane(calls, end_ns, lanes) for end_ns in ends_ns))


async def run_watched(
    home: HomeLoop, watch: BlockWatch, call: AsyncCall, calls: int
) -> tuple[WorkerReading, tuple[LoopBlock, ...]]:
    """Make ``calls`` calls one after the other, and time how long each of them blocks the event loop ``home``.

    Return the readings of the clocks, and what ``watch`` found for each call: the longest block of the loop. Between
    two calls, the loop runs its other tasks. Raises `WorkloadError` if a call raises anything.
    """

    async def watched() -> None:
        watch.begin_call()
        await call()
        watch.end_call()
        await home.give_way()

    with watch:
        reading = await run_serial(watched, calls)
    return reading, tuple(watch.blocks)


def failed(failures: Sequence[BaseException], lanes: int) -> str:
    """Return an error text: how many of ``lanes`` tasks failed, and the first of ``failures`` with its traceback.

    ``failures`` has the exception of each task that failed, in the order in which they failed.
    """
    others = "" if len(failures) == lanes else "; the others were cancelled"
    return f"{len(failures)} of {lanes} tasks at once failed{others}; the first failure:\n{describe(failures[0])}"


class _Timed(NamedTuple):
    """The clocks of the loop's thread over one batch."""

    start_ns: int
    end_ns: int
    cpu_ns: int
    run_queue_ns: int | None
    waits: int | None
    preemptions: int | None

    def lane(self, calls: int, end_ns: int, lanes: int) -> LaneReading:
        """Return one lane's reading of ``lanes`` that share the thread."""
        return LaneReading(
            calls=calls,
            start_ns=self.start_ns,
            end_ns=end_ns,
            cpu_ns=self.cpu_ns // lanes,
            run_queue_ns=self.run_queue_ns,
            waits=None if self.waits is None else self.waits // lanes,
            preemptions=None if self.preemptions is None else self.preemptions // lanes,
        )


async def _clocked(batch: Callable[[], Awaitable[Times]]) -> _Timed:
    """Await a batch, and read the other clocks of this thread around it."""
    queueing = Queueing()
    try:
        before = clocks.context_switches()
        start, end, cpu = await batch()
        after = clocks.context_switches()
        queued = queueing.until_ns(end, since_ns=start)
    finally:
        queueing.close()
    return _Timed(
        start_ns=start,
        end_ns=end,
        cpu_ns=cpu,
        run_queue_ns=queued,
        waits=None if before is None or after is None else after[0] - before[0],
        preemptions=None if before is None or after is None else after[1] - before[1],
    )
