"""The records of an executor that the user named: raw readings of its tasks, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSeries:
    """Tasks that were submitted all at once: ``tasks`` of them, each with ``calls_per_task`` calls.

    ``wall_ns`` is the time from the first submission until the last result was there.
    """

    tasks: int
    calls_per_task: int
    wall_ns: int

    @property
    def calls(self) -> int:
        """The number of calls of all tasks."""
        return self.tasks * self.calls_per_task

    @property
    def s_per_call(self) -> float:
        """Seconds per call: the reciprocal of the throughput."""
        return max(self.wall_ns, 1) / 1e9 / max(self.calls, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorStart:
    """What was measured of an executor once, before the rounds.

    Attributes:
        factory: the function that makes the executor, as ``MODULE:FACTORY``.
        kind: the executor's class, as ``module.Class``.
        workers: how many workers the executor says it has; ``None`` if it does not say.
        start_up_s: seconds from calling the factory until the first tasks, which do nothing, had come back.
        round_trip_s: seconds for one task that does nothing, when the executor is idle.
        task_s: seconds per task when many tasks that do nothing are submitted at once: the least cost of dispatch.
        data_s: how many seconds more a task takes that moves the arguments and the result of one call; ``None`` if
            unknown.
        shares_memory: whether tasks run in the process that submits them, on the same objects.
        curve: timed tasks that make the workload's calls: one series for each number of calls per task.
    """

    factory: str
    kind: str
    workers: int | None
    start_up_s: float
    round_trip_s: float
    task_s: float
    data_s: float | None = None
    shares_memory: bool = False
    curve: tuple[TaskSeries, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorReading:
    """One batch (a timed series of calls) through an executor.

    Attributes:
        start: what was measured of the executor before the rounds.
        single: the tasks of one call each.
        chunked: the tasks of several calls each; ``None`` if such tasks do not make calls faster.
        processes: how many processes of this machine the executor had started.
        rss_bytes: the largest peak memory among these processes; ``None`` if there is none, or it is not reported.
    """

    start: ExecutorStart
    single: TaskSeries
    chunked: TaskSeries | None = None
    processes: int = 0
    rss_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorResult:
    """What tasks cost in an executor that the user named, and from which size on they pay off.

    Attributes:
        factory: the function that makes the executor, as ``MODULE:FACTORY``.
        kind: the executor's class, as ``module.Class``.
        workers: how many workers the executor says it has; ``None`` if it does not say.
        at_once: how many calls the executor makes at a time; a higher speed-up is cut to this number.
        start_up_s: seconds to start the executor, until the first tasks had come back.
        round_trip_s: seconds for one task that does nothing, when the executor is idle.
        task_s: seconds per task, of many tasks that do nothing and were submitted at once.
        data_s: further seconds per task to move the arguments and the result of one call; ``None`` if unknown.
        calls_per_task: the number of calls per task for which ``chunk_speedup`` was measured; 1 if more gain nothing.
        single_speedup: measured speed-up with one call per task; ``None`` if unknown.
        chunk_speedup: measured speed-up with ``calls_per_task`` calls per task; ``None`` if that is 1.
        pays_from_calls: the fewest calls per task with which the executor is worth it; ``None`` if it never is, or
            unknown.
        pays_from_s: seconds that a call must take to be worth a task of its own; ``None`` if unknown.
        efficient_calls: the fewest calls per task that give 90 % of the executor's greatest speed; ``None`` if unknown.
        most_single: predicted limit of the speed-up with one call per task, however many workers there are: the
            executor takes time to dispatch each task. ``None`` if unknown.
        most_chunked: the same limit with ``calls_per_task`` calls per task; ``None`` if that is 1.
        on_this_machine: whether its workers compute on this machine, so that their clocks and memory can be read.
    """

    factory: str
    kind: str
    workers: int | None
    at_once: int
    start_up_s: float
    round_trip_s: float
    task_s: float
    data_s: float | None = None
    calls_per_task: int = 1
    single_speedup: Estimate | None = None
    chunk_speedup: Estimate | None = None
    pays_from_calls: int | None = None
    pays_from_s: float | None = None
    efficient_calls: int | None = None
    most_single: float | None = None
    most_chunked: float | None = None
    on_this_machine: bool = True
