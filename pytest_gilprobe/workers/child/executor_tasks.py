"""Run an executor that the user named: start it, give it tasks, tell how it failed, end it.

A task of several calls is ``list(map(function, arguments))``, or ``list(map(operator.call, calls))``, where each of
``calls`` has a function and its arguments. So the executor's workers, which may be on other machines, need only the
standard library and the function itself.
"""

from __future__ import annotations

import builtins
import operator
import os
import pickle
import socket
import threading
import uuid
from concurrent.futures import BrokenExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.executors import TaskSeries
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe.executor_workers import ExecutorWorkers
from pytest_gilprobe.workers.child import batch
from pytest_gilprobe.workers.child.calls import Call, FreshCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_COPIED = 64 * 2**20
"""Largest size in bytes of the pickled arguments of all calls of one task; a task makes only as many calls as fit."""
MOST_CALLS = 1 << 24
"""Largest number of calls in one series of tasks (submitted together and timed), if all calls have the same
arguments."""
MOST_FRESH = 1_000
"""Largest number of calls in one series of tasks (submitted together and timed), if each call has new arguments."""
_UNPICKLED = ("pickle", "can't get attribute", "cannot get attribute")
"""What messages of exceptions say if a function, an argument or a result cannot be moved."""
_UNSHARED = "NotShareableError"
"""Name of the exception by which executors of subinterpreters say the same."""
_WORKER_LOST = ("KilledWorker", "CommClosedError", "TerminatedWorkerError", "CancelledError")
"""Names of exceptions by which executors outside of the standard library say that they have lost a worker."""


class ExecutorError(GilprobeError):
    """Raised if an executor does not start or its tasks fail.

    ``outcome`` says how: the executor failed, it hung, or it lost a worker.
    """

    def __init__(self, text: str, outcome: Outcome = Outcome.FAILED) -> None:
        """Keep the text for the user, and how the executor ended."""
        super().__init__(text)
        self.outcome = outcome


_WHERE: list[Call] = [socket.gethostname, os.getpid, threading.get_native_id]
"""Called in a worker, these tell in which thread of which process on which machine it runs."""
Task = tuple["Callable[..., Any]", tuple[Any, ...], dict[str, Any]]
"""What one task calls: a function, the tuple of its positional arguments, and the dictionary of its keyword
arguments."""


class RunningExecutor:
    """An executor that has been started; `end` ends it.

    ``executor`` is the executor object that the user's factory made. ``workers`` finds its threads and processes on
    this machine. ``limit_s`` is how many seconds tasks may take to come back.
    """

    def __init__(self, factory: Callable[[], Any], named: str, limit_s: float) -> None:
        """Call ``factory``, which returns an executor or a context manager that yields one, and keep the executor.

        Either is entered, as by ``with``, if it has ``__enter__``, as executors of the standard library have. ``named``
        is the name of ``factory`` in error messages. Tasks must come back within ``limit_s`` seconds. Raises
        `ExecutorError` if calling or entering raises, or if the executor has no method ``submit``.
        """
        self.workers = ExecutorWorkers()
        self.limit_s = limit_s
        self._named = named
        self._stack = ExitStack()
        try:
            made: Any = factory()
            entered = self._stack.enter_context(made) if hasattr(made, "__enter__") else made
        except BaseException as error:  # noqa: BLE001 - whatever the user's factory raises is a finding
            with suppress(BaseException):
                self._stack.close()
            msg = str(error) if isinstance(error, GilprobeError) else f"{named} raised\n{batch.describe(error)}"
            raise ExecutorError(msg) from None
        self.executor: Any = entered
        if not callable(getattr(entered, "submit", None)):
            self.end()
            msg = f"{named} returned {made!r}, allowed: a concurrent.futures.Executor, or a context manager of one"
            raise ExecutorError(msg)

    @property
    def kind(self) -> str:
        """The executor's class, as ``module.Class``."""
        kind = type(self.executor)
        return f"{kind.__module__}.{kind.__qualname__}"

    def end(self) -> None:
        """Shut the executor down, wait for its end, and leave its context manager, if any; exceptions propagate."""
        with self._stack:
            shutdown = getattr(self.executor, "shutdown", None)
            if callable(shutdown):
                shutdown(wait=True)

    def timed(self, tasks: Sequence[Task], calls_per_task: int = 1) -> TaskSeries:
        """Submit all ``tasks``, wait for their results, and return how long that took.

        ``calls_per_task`` is how many calls each task makes; it is only noted in the result. Raises `ExecutorError` if
        a task fails, or if not all results come within the executor's time limit (the attribute ``limit_s``, in
        seconds).
        """
        submit, started_ns = self.executor.submit, clocks.perf_counter_ns()
        futures: list[Any] = []
        try:
            futures.extend(submit(function, *args, **kwargs) for function, args, kwargs in tasks)
            until_ns = started_ns + round(self.limit_s * 1e9)
            for future in futures:
                future.result(timeout=max(0.0, (until_ns - clocks.perf_counter_ns()) / 1e9))
        except BaseException as error:  # noqa: BLE001 - whatever a task raises is a finding
            raise self._failure(error, futures) from None
        return TaskSeries(
            tasks=len(tasks), calls_per_task=calls_per_task, wall_ns=clocks.perf_counter_ns() - started_ns
        )

    def result(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(*args)`` in one task of the executor, and return its result.

        Raises `ExecutorError` if the task fails, or if its result does not come within ``limit_s`` seconds (an
        attribute).
        """
        future = None
        try:
            future = self.executor.submit(function, *args)
            return future.result(timeout=self.limit_s)
        except BaseException as error:  # noqa: BLE001 - whatever a task raises is a finding
            raise self._failure(error, [future]) from None

    def _failure(self, error: BaseException, futures: Sequence[Any]) -> ExecutorError:
        """Say what a failure means, by the exception that shows it, and leave no task behind that waits."""
        done = sum(1 for future in futures if future is not None and future.done())
        for future in futures:
            with suppress(Exception):
                future.cancel()
        if isinstance(error, FutureTimeout | builtins.TimeoutError) and done < len(futures):
            text = (
                f"{self._named}: {done} of {len(futures)} tasks came back within {self.limit_s:.0f} s: its workers are "
                "not there, are not connected, or hang"
            )
            return ExecutorError(text, Outcome.HUNG)
        said = f"{type(error).__name__}: {error}"
        named = {kind.__name__ for kind in type(error).__mro__}
        if isinstance(error, BrokenExecutor | ConnectionError) or named.intersection(_WORKER_LOST):
            text = f"{self._named} lost a worker, or the connection to it: {said}"
            return ExecutorError(text, Outcome.CRASHED)
        if isinstance(error, ImportError):
            return ExecutorError(f"{self._named}: its workers cannot import what the call needs: {said}")
        unpickled = isinstance(error, pickle.PickleError) or any(word in str(error).lower() for word in _UNPICKLED)
        if unpickled or _UNSHARED in named:
            text = f"{self._named}: the function, its arguments or its result cannot be moved to its workers: {said}"
            return ExecutorError(text)
        return ExecutorError(f"in {self._named} the call raised\n{batch.describe(error)}")

    # What it is

    def size(self) -> int | None:
        """Return how many workers (or threads in all workers) the executor says it has; ``None`` if it does not say.

        Private access: ``_max_workers`` of the executors of the standard library and of loky, ``_client`` of Dask's; no
        public name tells it.
        """
        with suppress(Exception):
            for name in ("_max_workers", "num_workers"):
                number = getattr(self.executor, name, None)
                if isinstance(number, int) and number > 0:
                    return number
            threads = self.executor._client.nthreads()  # noqa: SLF001 - see above
            return sum(threads.values()) or None
        return None

    def refuse_remembered(self) -> None:
        """Raise `ExecutorError` if the executor returns the remembered result of an equal call, and makes no call."""
        if self.result(uuid.uuid4) == self.result(uuid.uuid4):
            msg = (
                f"{self._named}: its executor makes the same call only once, and gives its result again; have it make "
                "each call, in Dask by client.get_executor(pure=False)"
            )
            raise ExecutorError(msg)

    def shares_memory(self) -> bool:
        """Return whether tasks run in this process and get the submitted objects themselves, not copies."""
        sent: list[object] = []
        return bool(self.result(os.getpid) == os.getpid() and self.result(id, sent) == id(sent))

    def runs_here(self, tasks: int) -> bool:
        """Return whether the clocks of its workers can be read here.

        ``tasks`` tasks ask where they run, and all must run where clocks can be read. The result is false, too, if one
        of them fails, or if the clocks show no CPU time.
        """
        try:
            futures = [self.executor.submit(function, *args) for function, args, _ in map(_chunk, [_WHERE] * tasks)]
            places = [future.result(timeout=self.limit_s) for future in futures]
        except Exception:  # noqa: BLE001 - whatever a task raises: where it ran is not known
            return False
        used = self.workers.use()
        return used is not None and used.cpu_ns > 0 and all(self.workers.include(*place) for place in places)


# Tasks


def task_of(call: Call) -> Task:
    """Return the task that makes ``call``: its function, its positional arguments and its keyword arguments."""
    if isinstance(call, partial):
        return call.func, call.args, call.keywords
    return call, (), {}


class Calls:
    """Makes tasks for an executor, each of which makes one or several calls of a workload."""

    def __init__(self, call: Call, *, copied: bool) -> None:
        """Prepare to make tasks whose calls are ``call``.

        ``copied`` is whether each call in a task gets its own copy of the arguments. If all calls shared one copy,
        pickle would write it only once: cheaper than the different arguments of a user's calls.
        """
        self._call = call
        self._pickled: bytes | None = None
        if copied and not isinstance(call, FreshCall):
            function, args, kwargs = task_of(call)
            with suppress(Exception):  # what the standard library's pickle cannot do, the executor's own may
                self._pickled = pickle.dumps((args, kwargs)) if args or kwargs else None
            self._function = function

    @property
    def most(self) -> int:
        """The largest number of calls in one series of tasks (submitted together and timed).

        It is `MOST_FRESH` if each call has new arguments, which must be made in advance; else the larger `MOST_CALLS`.
        """
        return MOST_FRESH if isinstance(self._call, FreshCall) else MOST_CALLS

    @property
    def most_per_task(self) -> int:
        """The largest number of calls that one task may make, given the size of their arguments."""
        return self.most if self._pickled is None else max(1, MOST_COPIED // max(1, len(self._pickled)))

    def single(self, tasks: int) -> list[Task]:
        """Return a list of ``tasks`` tasks, each of which makes one call."""
        return [task_of(call) for call in self._some(tasks)]

    def chunked(self, tasks: int, calls_per_task: int) -> list[Task]:
        """Return a list of ``tasks`` tasks, each of which makes ``calls_per_task`` calls.

        If calls have positional arguments only, a task has one list of values for each parameter, which is quicker to
        move than one object for each call. Otherwise, a task has a list of calls.
        """
        if isinstance(self._call, FreshCall):
            return [_chunk(self._some(calls_per_task)) for _ in range(tasks)]
        function, args, kwargs = task_of(self._call)
        if args and not kwargs:
            columns = zip(*self._arguments(calls_per_task), strict=True)
            lists = [list(column) for column in columns]
            return [(list, (map(function, *lists),), {}) for _ in range(tasks)]
        calls = self._copies(calls_per_task)
        return [_chunk(calls) for _ in range(tasks)]

    def _some(self, number: int) -> list[Call]:
        return self._call.taken(number) if isinstance(self._call, FreshCall) else [self._call] * number

    def _arguments(self, number: int) -> list[tuple[Any, ...]]:
        if self._pickled is None:
            return [task_of(self._call)[1]] * number
        return [pickle.loads(self._pickled)[0] for _ in range(number)]  # noqa: S301 - pickled above

    def _copies(self, number: int) -> list[Call]:
        if self._pickled is None:
            return [self._call] * number
        copies: list[Call] = []
        for _ in range(number):
            args, kwargs = pickle.loads(self._pickled)  # noqa: S301 - pickled above
            copies.append(partial(self._function, *args, **kwargs))
        return copies


def _chunk(calls: list[Call]) -> Task:
    return list, (map(operator.call, calls),), {}
