"""The records of an executor that the user named: raw readings of its tasks, and the results computed from them."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSeries:
    """A timed series of tasks that were submitted to an executor all at once.

    There are ``tasks`` tasks, each with ``calls_per_task`` calls. ``wall_ns`` is the time in nanoseconds from the first
    submission until the last result was there.
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
        """Wall time of the series divided by its number of calls, in seconds."""
        return max(self.wall_ns, 1) / 1e9 / max(self.calls, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorStart:
    """What was measured once of an executor that the user named, just after its start.

    Attributes:
        factory: the function that makes the executor, as ``MODULE:FACTORY``.
        kind: the executor's class, as ``module.Class``.
        workers: how many workers the executor says it has; ``None`` if it does not say.
        start_up_s: seconds from calling the factory until the first tasks, which do nothing, had come back.
        round_trip_s: seconds for one task that does nothing, when the executor is idle.
        task_s: seconds per task when many tasks that do nothing are submitted at once: the least cost of dispatch.
        data_s: further seconds of a task if it moves the arguments and the result of one call; 0 if ``shares_memory``
            is true; ``None`` if unknown.
        shares_memory: whether tasks run in the process that submits them, on the same objects.
        on_this_machine: whether the executor's workers are threads of the process that submits tasks, or of its
            descendants, and began with the executor, so that their clocks and memory can be read.
        curve: timed series of tasks that make the workload's calls: one series for each number of calls per task, the
            fewest first.
    """

    factory: str
    kind: str
    workers: int | None
    start_up_s: float
    round_trip_s: float
    task_s: float
    data_s: float | None = None
    shares_memory: bool = False
    on_this_machine: bool = False
    curve: tuple[TaskSeries, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorReading:
    """One batch (calls timed together) that was made through an executor that the user named.

    Attributes:
        start: what was measured of the executor just after its start.
        single: the timed tasks with one call each.
        chunked: the timed tasks with several calls each; ``None`` if such tasks do not make calls faster.
        processes: how many processes the executor had started on this machine.
        rss_bytes: the largest peak memory among these processes; ``None`` if there are none, or it is not reported.
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
        at_once: how many calls the executor makes at a time; a higher speed-up is reduced to this number.
        start_up_s: seconds to start the executor, until the first tasks had come back.
        round_trip_s: seconds for one task that does nothing, when the executor is idle.
        task_s: seconds per task when many tasks that do nothing are submitted at once.
        data_s: further seconds per task to move the arguments and the result of one call; ``None`` if unknown.
        calls_per_task: the number of calls per task for which ``chunk_speedup`` was measured; 1 if larger tasks gain
            nothing.
        single_speedup: measured speed-up with one call per task; ``None`` if unknown.
        chunk_speedup: measured speed-up with ``calls_per_task`` calls per task; ``None`` if ``calls_per_task`` is 1.
        pays_from_calls: the fewest calls per task that give a speed-up of at least 1.3, which makes the executor worth
            it; ``None`` if no number does, or unknown.
        pays_from_s: seconds that a call must take to be worth a task of its own; ``None`` if unknown.
        efficient_calls: the fewest calls per task that give 90 % of the executor's greatest speed; ``None`` if unknown.
        most_single: predicted limit of the speed-up with one call per task, which no number of workers can exceed: the
            executor takes time to dispatch each task. ``None`` if unknown.
        most_chunked: the limit for tasks of ``calls_per_task`` calls; ``None`` if ``calls_per_task`` is 1.
        on_this_machine: whether the clocks and the memory of the executor's workers can be read: they are threads of
            the worker process that started the executor, or of its descendants, and began with the executor.
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
