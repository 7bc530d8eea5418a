"""Messages about executors: what an executor costs, and the request to start one that the user named."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureDispatch:
    """Asks a worker process for the cost of a task in an executor with ``workers`` workers.

    ``strategy`` names the strategy (a way to make calls) that uses the executor. ``start_method`` is how worker
    processes start, such as ``fork``. If ``module`` is set, the message asks instead how long the workers take to
    import that module. ``brief`` asks for a third of the usual rounds (calls of ``executor.map``), to save time. No
    test may be set up in the worker process.
    """

    strategy: str
    workers: int
    start_method: str
    module: str | None = None
    brief: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTimes:
    """How long tasks that compute take, in one thread alone and in the workers of an executor.

    The tasks compute without the GIL, in several rounds; times are in seconds per task. Times in one thread are
    ``alone_s``, the median of the rounds, and ``alone_least_s``, the shortest; in the executor, ``pooled_s`` and
    ``pooled_least_s``. ``more_cpu_s`` is the CPU time that the executor adds to a task, in the dispatching thread and
    the workers together; ``None`` if unknown. ``queued`` is the share, from 0 to 1, of the time in one thread that this
    thread waited for a core. ``others`` is the share, from 0 to 1, of the time of all CPUs that other programs took; 0
    if unknown.
    """

    alone_s: float
    pooled_s: float
    alone_least_s: float
    pooled_least_s: float
    queued: float
    others: float = 0.0
    more_cpu_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchMeasured:
    """What an executor costs, in seconds: the answer to `MeasureDispatch`.

    ``task_s`` is the time per empty task in the fastest of several rounds of such tasks, ``task_high_s`` in the median
    round. ``task_cpu_s`` is the CPU time per empty task, in the process that dispatches and in the executor's workers
    together. ``start_up_s`` is the time to start and end one worker of the executor (0 for threads). ``work`` has the
    times of tasks that compute.

    If `MeasureDispatch` named a module, only ``import_s`` is measured: the longest time a worker took to import that
    module, or ``None`` if the import failed. All other times are then 0 or ``None``.
    """

    task_s: float
    start_up_s: float
    task_high_s: float | None = None
    task_cpu_s: float | None = None
    work: TrialTimes | None = None
    import_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartExecutor:
    """Asks a worker process to start the user's executor and to measure what its tasks cost.

    ``strategy`` is the name of the strategy (a way to make calls) that uses the executor. The executor is ended when
    the test is closed. ``lanes`` is how many calls are made at a time if the executor does not say how many workers it
    has. A task that takes longer than ``limit_s`` seconds counts as failed.
    """

    strategy: str
    lanes: int
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorStarted:
    """The answer of a worker process to `StartExecutor`: the executor runs."""
