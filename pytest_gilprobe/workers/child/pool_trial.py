"""Time a test's calls through executors of the standard library, in turn with serial calls.

This is done if the advice to the user (serial calls, threads, processes ...) depends on what an executor costs:
dispatching calls and moving data. These costs are also measured with other tasks, but such tasks leave other data in a
CPU's caches than the test's call.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING

from pytest_gilprobe.model.executors import TaskSeries
from pytest_gilprobe.model.pools import PoolRound
from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.observe.executor_workers import ExecutorWorkers
from pytest_gilprobe.workers.child import workload
from pytest_gilprobe.workers.child.executor_tasks import Calls, ExecutorError, RunningExecutor, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor

    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.workers.child.calls import Call
    from pytest_gilprobe.workers.child.workload import Workload
    from pytest_gilprobe.workers.pool_messages import RunPools

HELD_AS = "pools"
"""Key under which ``Workload.held`` has the `PoolTrial` (the running executors), for as long as the test is set up."""

_inherited: Call | None = None
"""The call, where forked workers of an executor find it: a test cannot be pickled."""


def inherited() -> object:
    """Make the test's call in a process that an executor has forked, and return the call's result.

    The process has inherited the call by the fork, because a test cannot be pickled.
    """
    assert _inherited is not None  # noqa: S101 - set before the executor forks
    return _inherited()


class PoolTrial:
    """Times a test's calls serially and through executors of the standard library, one for each strategy.

    A strategy is a way to make calls. The executors run from the creation of this object until `close`.
    """

    def __init__(self, work: Workload, strategies: Sequence[Strategy], question: RunPools) -> None:
        """Start an executor for each of ``strategies`` (ways to make calls), and make the first calls through it.

        ``work`` has the test's call. ``question`` says how many workers an executor has, how they are started, and how
        long a task may take. Raises `ExecutorError` if an executor cannot be given the call, or the call fails there.
        """
        self._work = work
        self._workers = ExecutorWorkers()
        self._running: dict[str, RunningExecutor] = {}
        self._calls: dict[str, Calls | None] = {}
        try:
            for strategy in strategies:
                self._calls[strategy.name] = _calls(work, strategy, question.start_method)
                named = f"its pool of {strategy.lane_nouns[1]}"
                factory = partial(_executor, strategy, question)
                self._running[strategy.name] = RunningExecutor(factory, named, question.limit_s)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside other threads
                for name, running in self._running.items():
                    running.timed(self._tasks(name, 2 * question.workers))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Shut the executors down."""
        for running in self._running.values():
            running.end()

    def round(self, question: RunPools) -> PoolRound:
        """Make one round of calls, serially and through each executor; return the times.

        ``question.calls`` is how many calls are made serially, and how many an executor makes for each of its workers.
        The order changes from round to round. Raises `ExecutorError` if a task fails.
        """
        cpus, own = machine.cpus_time_ns(), self._cpu_ns()
        order: list[str | None] = [None, *self._running]
        turn = question.number % len(order)
        pooled: dict[str, TaskSeries] = {}
        for name in order[turn:] + order[:turn]:
            if name is None:
                (lane,) = self._work.serial(question.calls).lanes
                alone = TaskSeries(tasks=lane.calls, calls_per_task=1, wall_ns=lane.end_ns - lane.start_ns)
            else:
                tasks = self._tasks(name, question.calls * question.workers)
                pooled[name] = self._running[name].timed(tasks)
        counted, idle = (now - then for now, then in zip(machine.cpus_time_ns(), cpus, strict=True))
        return PoolRound(
            alone=alone, pooled=pooled, cpus_ns=counted, cpus_idle_ns=idle, own_cpu_ns=self._cpu_ns() - own
        )

    def _tasks(self, name: str, number: int) -> list[Task]:
        calls = self._calls[name]
        return [(inherited, (), {})] * number if calls is None else calls.single(number)

    def _cpu_ns(self) -> int:
        """Return the CPU time of this thread and of the executors' threads and processes."""
        use = self._workers.use()
        return clocks.thread_time_ns() + (0 if use is None else use.cpu_ns)


def _executor(strategy: Strategy, question: RunPools) -> Executor:
    found = strategy.executor(question.workers, question.start_method)
    if found is None:
        msg = f"{strategy.name} has no executor to try"
        raise ExecutorError(msg)
    return found


def _calls(work: Workload, strategy: Strategy, start_method: str) -> Calls | None:
    """Return the calls that are submitted; ``None`` if forked workers inherit the call.

    Raises `ExecutorError` if other processes can have neither: a test's fixtures may be a connection, which processes
    must not share.
    """
    if work.fresh is not None:
        msg = "each call has arguments of its own"
        raise ExecutorError(msg)
    if strategy.one_process or work.given is not None:
        return Calls(work.call, copied=False)
    global _inherited  # noqa: PLW0603 - what a fork inherits is what the module has then
    called = workload.callee(work)
    if start_method != "fork" or called is None or called.parameters:
        msg = "the test, or its fixtures, cannot be given to a pool's process"
        raise ExecutorError(msg)
    _inherited = work.call
    return None


def run(work: Workload, strategies: Mapping[str, Strategy], question: RunPools) -> PoolRound:
    """Make a round of calls of ``work``: serial ones, and some through each of several executors; return the times.

    ``question`` names the strategies (ways to make calls) whose executors are used; ``strategies`` has them by name.
    The first round also starts the executors, which are kept in ``work.held`` until the test is closed. Raises
    `ExecutorError` if an executor cannot be given the call, or if a task fails.
    """
    trial = work.held.get(HELD_AS)
    if trial is None:
        trial = work.held[HELD_AS] = PoolTrial(work, [strategies[name] for name in question.strategies], question)
    found: PoolRound = trial.round(question)
    return found
