"""The messages about executors: what one costs, as a worker process measured it, and the start of a named one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTimes:
    """Seconds per task that computes without the GIL: run by one thread alone, and by an executor's pool.

    The tasks are timed in several rounds: ``alone_s`` and ``pooled_s`` are of the median round, ``alone_least_s`` and
    ``pooled_least_s`` of the best round. The thread that ran tasks alone waited for a core for the share ``queued`` of
    its time. ``others`` is the share of all CPUs' time that other programs took. Shares are from 0 to 1.
    """

    alone_s: float
    pooled_s: float
    alone_least_s: float
    pooled_least_s: float
    queued: float
    others: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchMeasured:
    """The measured costs of an executor, in seconds.

    ``task_s`` is the time per empty task in the best round of tasks, ``task_high_s`` in the median round.
    ``task_cpu_s`` is the CPU time per task of this process and the executor's workers. ``start_up_s`` is the time to
    start and end one worker of the executor (0 for threads). ``work`` has the times of the tasks that compute.

    If the question named a module, only ``import_s`` is measured: the longest time a worker took to import that module,
    or ``None`` if the import failed. The times are then 0 or ``None``.
    """

    task_s: float
    start_up_s: float
    task_high_s: float | None = None
    task_cpu_s: float | None = None
    work: TrialTimes | None = None
    import_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartExecutor:
    """Start the executor of ``strategy``, which then runs while the test is open, and measure what its tasks cost.

    ``lanes`` is how many calls are made at a time if the executor does not say how many workers it has. A task that
    does not come back within ``limit_s`` seconds ends the strategy.
    """

    strategy: str
    lanes: int
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorStarted:
    """The answer to `StartExecutor`: the executor runs."""
