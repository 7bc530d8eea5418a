"""Messages about executors: the measured costs of one, and the request to start one that the user named."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTimes:
    """Seconds per computing task, run by one thread alone (``alone``) and by the workers of an executor (``pooled``).

    The tasks compute without the GIL, in several rounds. ``alone_s`` and ``pooled_s`` are the medians of the rounds,
    ``alone_least_s`` and ``pooled_least_s`` the least values. ``queued`` is the share of its time, from 0 to 1, for
    which the thread alone waited for a core. ``others`` is the share of all CPUs' time, from 0 to 1, that other
    programs took.
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
    """Start the executor of ``strategy``, measure what its tasks cost, and keep it running while the test is open.

    ``lanes`` is how many calls are made at a time if the executor does not say how many workers it has. A task that
    takes longer than ``limit_s`` seconds counts as failed.
    """

    strategy: str
    lanes: int
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorStarted:
    """The answer to `StartExecutor`: the executor runs."""
