"""Measure the costs of an executor: for each task that is dispatched, and to start and end its workers.

Tasks are dispatched in rounds: a round is one call of ``executor.map`` with a fixed number of tasks.

* The cost per task is the wall time of a round divided by its tasks, each of which is sent by itself: what a user of
  ``executor.map(f, items)`` pays for each call. Other programs can only add to it, so the fastest round counts. The
  median round is reported, too, because the real cost of a call lies in between. *Source:* the note on ``min()`` in the
  documentation of `timeit.Timer.repeat`.
* The start-up time includes the first tasks and the shutdown: an executor that is used once pays for all of them.
* CPU time is the mean of all rounds, over this process and all workers; other programs add little to it.
* How much CPU time an executor adds to a task that computes is the median of its rounds.
* Empty tasks show how fast one thread can dispatch, but not what dispatching takes from busy workers: a thread that
  releases the GIL in its task must be woken for the next task. So tasks that compute are timed as well.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import replace
from hashlib import sha256
from statistics import median
from typing import TYPE_CHECKING

from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.observe.executor_workers import ExecutorWorkers
from pytest_gilprobe.workers.child.batch import Queueing
from pytest_gilprobe.workers.executor_messages import DispatchMeasured, MeasureDispatch, TrialTimes
from pytest_gilprobe.workers.protocol import Failed

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.strategies.dispatch_trial import DispatchTrial

TASKS = 40
"""Number of tasks in one call of ``executor.map``; the tasks do nothing. There are enough of them for all workers to be
awake most of the time."""
ROUNDS = 15
"""Number of calls of ``executor.map`` with tasks that do nothing. The fastest counts: on a busy machine, only a few of
them are undisturbed."""
BRIEF = 3
"""A brief measurement has this many times fewer rounds (calls of ``executor.map``) than a usual one."""
FEWEST_ROUNDS = 3
"""A brief measurement has at least this many rounds (calls of ``executor.map``), unless a usual one has fewer. Of two
rounds, the median would depend on the slower one, which other programs may have disturbed."""
TASKS_A_WORKER = 12
"""Fewest computing tasks for each worker in one call of ``executor.map``: the first one or two only get all workers
busy."""
BLOCK = bytes(1 << 14)
"""Data that a computing task hashes repeatedly: long enough for `hashlib` to release the GIL (over 2,047 bytes)."""


# The tasks


def compute(blocks: int) -> None:
    """Hash ``blocks`` blocks of fixed data with the GIL released, which takes about 10 us for each block."""
    for _ in range(blocks):
        sha256(BLOCK).digest()


def nothing(_: object) -> None:
    """Do nothing: a task that shows what dispatching it costs."""


def cpu_clock(_: object) -> tuple[int, int]:
    """Return the id of the process that runs this task, and that process's CPU time so far in nanoseconds."""
    return os.getpid(), clocks.process_time_ns()


def use_path(path: list[str]) -> None:
    """Set ``sys.path`` to ``path`` in a worker of an executor, to find modules where the executor's owner does."""
    sys.path[:] = path


def import_s(module: str) -> float:
    """Import a module and return the seconds that the import took: nearly 0 if the module was already imported."""
    return _seconds(lambda: importlib.import_module(module))


# Measuring


def measure(strategy: Strategy, question: MeasureDispatch) -> DispatchMeasured | Failed:
    """Measure, in seconds, what a strategy's executor costs for each task, and to start and end a worker.

    ``question`` says how many workers the executor has. If ``question.module`` is not ``None``, measure instead only
    how long the workers take to import that module. Return `Failed` if the strategy does not have an executor to
    measure.
    """
    started_ns, trial, workers = clocks.perf_counter_ns(), strategy.trial, ExecutorWorkers()
    executor = None if trial is None else strategy.executor(question.workers, question.start_method)
    if trial is None or executor is None:
        return Failed(error=f"{strategy.name} has no executor to try")
    if question.module is not None:
        return _measure_import(executor, question.module, question.workers)
    with executor:
        list(executor.map(nothing, range(question.workers)))
        ready_ns = clocks.perf_counter_ns()
        before = _cpu_clocks(executor)
        costs = [
            _seconds(lambda: list(executor.map(nothing, range(TASKS)))) / TASKS
            for _ in range(_rounds(ROUNDS, question))
        ]
        used_ns = _between_ns(before, _cpu_clocks(executor))
        trial = replace(trial, rounds=_rounds(trial.rounds, question))
        work = _computing(executor, trial, question.workers, min(costs), workers)
        ending_ns = clocks.perf_counter_ns()
    start_up_s = (ready_ns - started_ns + clocks.perf_counter_ns() - ending_ns) / 1e9
    return DispatchMeasured(
        task_s=min(costs),
        task_high_s=median(costs),
        task_cpu_s=used_ns / 1e9 / (TASKS * (len(costs) + 1)),  # those that read the clocks are tasks, too
        work=work,
        start_up_s=start_up_s / question.workers if strategy.moves_data else 0.0,
    )


def _rounds(usual: int, question: MeasureDispatch) -> int:
    return min(usual, max(FEWEST_ROUNDS, usual // BRIEF)) if question.brief else usual


def _measure_import(executor: Executor, module: str, workers: int) -> DispatchMeasured:
    """Have all workers import a module at once, as they do when they are given a function of it.

    Each worker imports it once, so an executor takes longer to start by the longest of the tasks.
    """
    try:
        with executor:
            took = list(executor.map(import_s, [module] * workers * 2))
    except Exception:  # noqa: BLE001 - whatever the user's module raises, or ends its process with
        return DispatchMeasured(task_s=0.0, start_up_s=0.0)
    return DispatchMeasured(task_s=0.0, start_up_s=0.0, import_s=max(took))


def _computing(
    executor: Executor, trial: DispatchTrial, workers: int, task_s: float, found: ExecutorWorkers
) -> TrialTimes:
    """Time tasks that compute, alone and in the executor, in turn.

    They last so long that one thread can dispatch twice as many as the workers do, at ``task_s`` seconds a task. The
    system counts the time of CPUs in ticks: one of each CPU is not taken for the work of other programs.
    """
    tasks = max(trial.tasks, TASKS_A_WORKER * workers)
    block_s = min(_seconds(lambda: compute(1)) for _ in range(tasks))
    blocks = [max(1, round(max(trial.work_s, 2 * workers * task_s) / block_s))] * tasks
    alone: list[float] = []
    pooled: list[float] = []
    more_s: list[float] = []
    queued_ns = 0
    before, cpus_before = _cpu_clocks(executor), machine.cpus_time_ns()
    for _ in range(trial.rounds):
        queueing, cpu_ns = Queueing(), clocks.thread_time_ns()
        alone.append(_seconds(lambda: list(map(compute, blocks))) / tasks)
        alone_cpu_ns = clocks.thread_time_ns() - cpu_ns
        queued_ns += queueing.until_ns(clocks.perf_counter_ns()) or 0
        queueing.close()
        clock = _CpuClock(found)
        pooled.append(_seconds(lambda: list(executor.map(compute, blocks))) / tasks)
        if (pooled_cpu_ns := clock.used_ns()) is not None:
            more_s.append((pooled_cpu_ns - alone_cpu_ns) / 1e9 / tasks)
    cpus, idle = (now - then for now, then in zip(machine.cpus_time_ns(), cpus_before, strict=True))
    own, unsure = _between_ns(before, _cpu_clocks(executor)), machine.usable_cpus() * machine.TICK_NS
    return TrialTimes(
        alone_s=median(alone),
        pooled_s=median(pooled),
        alone_least_s=min(alone),
        pooled_least_s=min(pooled),
        more_cpu_s=median(more_s) if more_s else None,
        queued=queued_ns / 1e9 / max(sum(alone) * tasks, 1e-9),
        others=max(0.0, (cpus - idle - own - unsure) / cpus) if cpus > 0 else 0.0,
    )


class _CpuClock:
    """Tells how much CPU time this thread and an executor's workers have used since it was made."""

    def __init__(self, workers: ExecutorWorkers) -> None:
        self._workers = workers
        self._before, self._own_ns = workers.use(), clocks.thread_time_ns()  # in this order: reading takes CPU time

    def used_ns(self) -> int | None:
        """Return the CPU time since then in nanoseconds; ``None`` if the system does not tell that of the workers."""
        own_ns, now = clocks.thread_time_ns() - self._own_ns, self._workers.use()
        workers_ns = 0 if now is None or self._before is None else now.cpu_ns - self._before.cpu_ns
        return own_ns + workers_ns if workers_ns > 0 else None


def _cpu_clocks(executor: Executor) -> dict[int, int]:
    """Return the CPU clock of each process that takes part in a round of tasks, and of this one."""
    return dict(sorted(executor.map(cpu_clock, range(TASKS)))) | dict([cpu_clock(None)])


def _between_ns(before: dict[int, int], after: dict[int, int]) -> int:
    """Return the CPU time between two readings, of those processes that are in both."""
    return sum(after[pid] - before[pid] for pid in after.keys() & before.keys())


def _seconds(action: Callable[[], object]) -> float:
    started_ns = clocks.perf_counter_ns()
    action()
    return (clocks.perf_counter_ns() - started_ns) / 1e9
