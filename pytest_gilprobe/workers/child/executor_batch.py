"""Measure an executor that the user named: what its tasks cost, and batches of calls (timed together) through it."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.executors import ExecutorReading, ExecutorStart, TaskSeries
from pytest_gilprobe.model.readings import LaneReading, WorkerReading
from pytest_gilprobe.observe import clocks, interpreter, machine
from pytest_gilprobe.workers.child.batch import Usage
from pytest_gilprobe.workers.child.calls import FreshCall
from pytest_gilprobe.workers.child.executor_tasks import Calls, RunningExecutor, Task, task_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.observe.executor_workers import WorkersUse
    from pytest_gilprobe.workers.child.workload import Workload

SERIES_S = 0.1
"""Shortest time, in seconds, that a series of tasks (submitted together and timed) should last: twice that of a serial
batch of calls, since the tasks of a series do not all end at the same time."""
TASKS_A_WORKER = 4
"""Fewest tasks for each worker in a series of tasks (submitted together and timed), if time allows: with only one or
two, some workers idle at the end of the series."""
LONGEST_SERIES_S = 1.2
"""Longest time, in seconds, that a series of tasks (submitted together and timed) may take with 4 (`TASKS_A_WORKER`)
tasks for each worker; if it would take longer, each worker gets one task. A series that takes longer is not
repeated."""
ROUND_TRIPS = 7
"""Number of tasks that do nothing and are timed one by one, each from its submission to its result; the median
counts."""
EMPTY_SERIES = 3
"""Number of times that a series of tasks (submitted together and timed) that do nothing, or only move data, is
repeated; the fastest counts, since other programs can only make a series slower."""
MOST_TASKS = 4_000
"""Largest number of tasks in one series of tasks (submitted together and timed)."""
LONGEST_TASK_S = 0.5
"""Longest task, in seconds, that is tried when the best number of calls per task is looked for: in longer tasks, the
cost of dispatching a task does not matter."""
GAINS = 0.95
"""Making more calls in each task counts as a gain if it brings the time per call below this share of the shortest time
per call so far."""
EFFICIENT = 0.9
"""Share of the highest measured speed (calls per second) that is good enough: the smallest number of calls per task
that reaches it is used."""


@dataclass(slots=True)
class Session:
    """An executor of the user's that runs for as long as a test is set up, with what was measured when it started.

    Attributes:
        running: the executor.
        calls: makes tasks of the test's call.
        start: what was measured at the start, such as the cost of a task.
        lanes: how many calls the executor makes at a time.
        fresh: the test's call, if it has new arguments each time, else ``None``.
    """

    running: RunningExecutor
    calls: Calls
    start: ExecutorStart
    lanes: int
    fresh: FreshCall | None

    @property
    def calls_per_task(self) -> int:
        """The smallest number of calls per task that gives 90 % (`EFFICIENT`) of the most calls per second."""
        best = min(point.s_per_call for point in self.start.curve)
        return next(one.calls_per_task for one in self.start.curve if one.s_per_call * EFFICIENT <= best)

    def close(self) -> None:
        """End the executor; exceptions propagate."""
        self.running.end()


def start(work: Workload, factory: Callable[[], Any], named: str, lanes: int, limit_s: float) -> Session:
    """Start the executor that ``factory()`` returns, and measure what its tasks cost in addition to calls of ``work``.

    The result has the running executor and the costs; its `close` ends the executor.

    ``named`` is the name of ``factory`` in messages. ``lanes`` is how many calls are made at a time if the executor
    does not say how many workers it has. ``limit_s`` is how many seconds tasks may take to come back.

    Raises `ExecutorError` if the executor does not start, a task fails or takes too long, or the executor returns a
    remembered result instead of making a call again. After any exception the executor is ended.
    """
    started_ns = clocks.perf_counter_ns()
    running = RunningExecutor(factory, named, limit_s)
    try:
        at_once = running.size() or lanes
        running.timed([_empty()] * at_once)
        start_up_s = (clocks.perf_counter_ns() - started_ns) / 1e9
        running.refuse_remembered()
        shares = running.shares_memory()
        calls = Calls(work.call, copied=not shares)
        running.timed(calls.single(at_once))  # its workers import what the call needs
        trips = [running.timed([_empty()]).s_per_call for _ in range(ROUND_TRIPS)]
        task_s = _fastest(running, _empty(), median(trips), at_once)
        found = ExecutorStart(
            factory=named,
            kind=running.kind,
            workers=running.size(),
            start_up_s=start_up_s,
            round_trip_s=median(trips),
            task_s=task_s,
            data_s=0.0 if shares else _data_s(running, work, task_s, at_once),
            shares_memory=shares,
            on_this_machine=running.runs_here(at_once),
            curve=_curve(running, calls, at_once),
        )
    except BaseException:
        running.end()
        raise
    fresh = work.call if isinstance(work.call, FreshCall) else None
    return Session(running=running, calls=calls, start=found, lanes=at_once, fresh=fresh)


def _empty() -> Task:
    return bool, (), {}


def _fastest(running: RunningExecutor, task: Task, about_s: float, at_once: int, most: int = MOST_TASKS) -> float:
    """Return the seconds per task of the fastest of several series; one task alone takes ``about_s`` seconds.

    One series is enough where it lasts so long that chance hardly matters.
    """
    tasks = min(most, max(8 * at_once, math.ceil(SERIES_S / EMPTY_SERIES / max(about_s, 1e-6))))
    least = math.inf
    for _ in range(EMPTY_SERIES):
        timed = running.timed([task] * tasks)
        least = min(least, timed.s_per_call)
        if timed.wall_ns >= LONGEST_SERIES_S * 1e9:
            break
    return least


def _data_s(running: RunningExecutor, work: Workload, task_s: float, at_once: int) -> float | None:
    """Return the further seconds of a task that moves the arguments and the result of one call.

    ``callable`` takes the arguments there and returns a bool; ``copy.copy`` brings the result back, too. ``None`` if
    the arguments are new for each call.
    """
    if isinstance(work.call, FreshCall):
        return None
    _, args, kwargs = task_of(work.call)
    result = work.call()
    there = _moving_s(running, (callable, ((args, kwargs),), {}), at_once) if args or kwargs else task_s
    one_way = _moving_s(running, (callable, (result,), {}), at_once)
    both_ways = _moving_s(running, (copy.copy, (result,), {}), at_once)
    return max(0.0, there - task_s) + max(0.0, both_ways - one_way)


def _moving_s(running: RunningExecutor, task: Task, at_once: int) -> float:
    first = running.timed([task] * at_once)
    about_s = first.s_per_call
    if first.wall_ns >= LONGEST_SERIES_S * 1e9:  # such as over a slow network
        return about_s
    return _fastest(running, task, about_s, at_once, most=max(2 * at_once, math.ceil(SERIES_S / max(about_s, 1e-6))))


def _curve(running: RunningExecutor, calls: Calls, at_once: int) -> tuple[TaskSeries, ...]:
    """Run the call with more and more calls per task, until that gains no more."""
    found = [running.timed(calls.single(_tasks_for(at_once, at_once * 0.01)))]
    if found[0].s_per_call * at_once < LONGEST_TASK_S:
        found = [running.timed(calls.single(_tasks_for(at_once, found[0].s_per_call)))]
    flat = 0
    while flat < 2 and (size := found[-1].calls_per_task * 2) <= calls.most_per_task:  # noqa: PLR2004 - one may be chance
        best = min(one.s_per_call for one in found)
        tasks = min(_tasks_for(at_once, best * size), calls.most // size)
        if best * size * at_once > LONGEST_TASK_S or tasks < at_once:
            break
        found.append(running.timed(calls.chunked(tasks, size), size))
        flat = 0 if found[-1].s_per_call < best * GAINS else flat + 1
    return tuple(found)


def _tasks_for(at_once: int, task_s: float) -> int:
    """Return how many tasks fill a series, of which one is done every ``task_s`` seconds."""
    tasks = TASKS_A_WORKER * at_once
    fill = math.ceil(SERIES_S / max(task_s, 1e-7))
    if tasks * task_s > LONGEST_SERIES_S:
        tasks = at_once
    return min(MOST_TASKS, max(tasks, fill))


# A batch


def run(session: Session, calls: int, lanes: int) -> WorkerReading:
    """Make a batch of calls in the executor of ``session``, and return the readings of the clocks.

    First, a series of tasks that make one call each is timed. If ``session.start`` (measured when the executor started)
    shows that larger tasks save more than 10 % of the time per call, a series of larger tasks is timed, too. If each
    call gets new arguments, the tasks are kept so small that every worker has one. Each series makes ``calls`` times
    ``lanes`` calls at most, as many as other strategies make in ``lanes`` threads, but has at least one task for each
    worker. Raises `ExecutorError` if a task fails.
    """
    most = max(calls * lanes, session.lanes)
    curve = {one.calls_per_task: one.s_per_call for one in session.start.curve}
    per_task = session.calls_per_task
    if session.fresh is not None:
        per_task = max(1, min(per_task, most // session.lanes))
        per_task = max(size for size in curve if size <= per_task)
    machine.reset_peak_rss()
    usage, before = Usage(), session.running.workers.use()
    single_tasks = min(most, _tasks_for(session.lanes, curve[1]))
    single = session.running.timed(session.calls.single(single_tasks))
    chunked, start_ns = None, clocks.perf_counter_ns()
    if per_task > 1:
        tasks = _tasks_for(session.lanes, curve[per_task] * per_task)
        prepared = session.calls.chunked(max(session.lanes, min(tasks, most // per_task)), per_task)
        usage, before, start_ns = Usage(), session.running.workers.use(), clocks.perf_counter_ns()
        chunked = session.running.timed(prepared, per_task)
    after, timed = session.running.workers.use(), chunked or single
    start_ns = start_ns if chunked is not None else clocks.perf_counter_ns() - single.wall_ns
    lanes_read = _lanes(timed, start_ns, min(session.lanes, timed.tasks), before, after)
    reading = usage.reading(lanes_read)
    return _with_executor(reading, session, single, chunked, after)


def _with_executor(
    reading: WorkerReading,
    session: Session,
    single: TaskSeries,
    chunked: TaskSeries | None,
    after: WorkersUse | None,
) -> WorkerReading:
    executor = ExecutorReading(
        start=session.start,
        single=single,
        chunked=chunked,
        processes=0 if after is None else after.processes,
        rss_bytes=None if after is None else after.rss_bytes,
    )
    return WorkerReading(
        lanes=reading.lanes,
        process_cpu_ns=reading.process_cpu_ns,
        children_cpu_ns=reading.children_cpu_ns,
        cpus_ns=reading.cpus_ns,
        cpus_idle_ns=reading.cpus_idle_ns,
        peak_rss_bytes=executor.rss_bytes if executor.processes else reading.peak_rss_bytes,
        gil_enabled=interpreter.gil_enabled(),
        executor=executor,
    )


def _lanes(
    timed: TaskSeries, start_ns: int, lanes: int, before: WorkersUse | None, after: WorkersUse | None
) -> tuple[LaneReading, ...]:
    """Share a series out to lanes of equal length: which worker had which task is not known."""
    cpu_ns, queue_ns = 0, None
    if before is not None and after is not None:
        cpu_ns = max(0, after.cpu_ns - before.cpu_ns) // lanes
        queue_ns = max(0, after.run_queue_ns - before.run_queue_ns) // lanes
    each, more = divmod(timed.calls, lanes)
    return tuple(
        LaneReading(
            calls=each + (1 if number < more else 0),
            start_ns=start_ns,
            end_ns=start_ns + timed.wall_ns,
            cpu_ns=min(cpu_ns, timed.wall_ns),
            run_queue_ns=None if queue_ns is None else min(queue_ns, timed.wall_ns),
        )
        for number in range(lanes)
    )
