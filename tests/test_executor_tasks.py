"""`pytest_gilprobe.workers.child.executor_tasks` and `.executor_batch`: tasks, batches, and how executors fail."""

from __future__ import annotations

import contextlib
import operator
import os
import pickle
import socket
import sys
import threading
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.observe.executor_workers import ExecutorWorkers
from pytest_gilprobe.workers.child import executor_batch
from pytest_gilprobe.workers.child.calls import FreshCall
from pytest_gilprobe.workers.child.executor_tasks import Calls, ExecutorError, RunningExecutor, task_of
from pytest_gilprobe.workers.child.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_gilprobe.workers.child.calls import Call


def moved(value: Any) -> Any:
    """Return what another process would get."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - from just here


class Inline(Executor):
    """An executor that makes each call when it is submitted, after pickling it if it is to be moved."""

    def __init__(self, *, moves: bool = False) -> None:
        self.moves = moves
        self.ended = False
        self.submitted: list[tuple[Any, ...]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted.append((fn, args, kwargs))
        future: Future[Any] = Future()
        try:
            fn, args, kwargs = moved((fn, args, kwargs)) if self.moves else (fn, args, kwargs)
            result = fn(*args, **kwargs)
            future.set_result(moved(result) if self.moves else result)
        except Exception as error:  # noqa: BLE001 - as executors do
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as there
        del wait, cancel_futures
        self.ended = True


class Failing(Inline):
    """An executor whose tasks raise."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        del fn, args, kwargs
        future: Future[Any] = Future()
        future.set_exception(self.error)
        return future


class Silent(Inline):
    """An executor whose tasks never come back."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        del fn, args, kwargs
        return Future()


class KilledWorker(Exception):  # noqa: N818 - named as in `distributed`
    pass


def work(call: Call) -> Workload:
    """Make the workload of a call without a test."""
    return Workload(item=cast("Any", None), call=call, given=cast("Any", SimpleNamespace()))


def running(executor: Executor, limit_s: float = 30.0) -> RunningExecutor:
    """Start an executor that exists already."""
    return RunningExecutor(lambda: executor, "shop.pools:make", limit_s)


# Tasks


def test_a_task_of_one_call_is_submitted_as_a_user_would() -> None:
    """The function and its arguments go to ``submit`` as they were given."""
    assert task_of(partial(divmod, 7, 2)) == (divmod, (7, 2), {})
    assert task_of(dict) == (dict, (), {})


def test_larger_tasks_need_only_the_standard_library() -> None:
    """A task of several calls is made of a list, a map and `operator.call`, and returns all results."""
    ((function, args, kwargs),) = Calls(partial(int, "11", base=3), copied=True).chunked(1, 4)
    assert (function, kwargs) == (list, {})
    assert function(*moved(args)) == [4] * 4
    assert moved(args)[0].__reduce__()[1][0] is operator.call


def test_positional_arguments_travel_as_lists() -> None:
    """A task maps the function over them, each task with an iterator of its own."""
    first, second = Calls(partial(divmod, 7, 2), copied=True).chunked(2, 3)
    for function, args, _ in (first, second):
        assert moved(args)[0].__reduce__()[1][0] is divmod
        assert function(*args) == [(3, 1)] * 3


def test_each_call_of_a_task_has_its_data_moved() -> None:
    """Arguments are copied: an object that is pickled twice in one message would be moved once."""
    text = "x" * 10_000
    (copied,) = Calls(partial(len, text), copied=True).chunked(1, 5)
    (shared,) = Calls(partial(len, text), copied=False).chunked(1, 5)
    size, once = (len(pickle.dumps(list(task[1][0].__reduce__()[1][1]))) for task in (copied, shared))
    assert once < 2 * len(text) < 5 * len(text) < size


def test_arguments_that_are_large_limit_the_size_of_tasks() -> None:
    """Copies take no more memory than is allowed; without arguments there is no limit."""
    assert Calls(partial(len, bytes(2**20)), copied=True).most_per_task == 63
    assert Calls(dict, copied=True).most_per_task == Calls(dict, copied=True).most


class Fresh(FreshCall):
    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def new(self) -> Call:
        self.made += 1
        return partial(abs, self.made)


def test_fresh_arguments_are_used_once() -> None:
    """Each call of each task has new arguments."""
    fresh = Fresh()
    calls = Calls(fresh, copied=True)
    single, chunked = calls.single(2), calls.chunked(2, 3)
    given = [args for _, args, _ in single] + [
        call.args for _, args, _ in chunked for call in args[0].__reduce__()[1][1]
    ]
    assert sorted(given) == [(number,) for number in range(1, 9)]


# Failures


@pytest.mark.parametrize(
    ("error", "outcome", "said"),
    [
        (BrokenExecutor("gone"), Outcome.CRASHED, "lost a worker, or the connection to it: BrokenExecutor: gone"),
        (KilledWorker("task"), Outcome.CRASHED, "lost a worker"),
        (ConnectionResetError("reset"), Outcome.CRASHED, "lost a worker"),
        (
            ModuleNotFoundError("No module named 'shop'"),
            Outcome.FAILED,
            "its workers cannot import what the call needs",
        ),
        (pickle.PicklingError("no"), Outcome.FAILED, "cannot be moved to its workers: PicklingError: no"),
        (TypeError("cannot pickle '_thread.lock' object"), Outcome.FAILED, "cannot be moved to its workers"),
        (AttributeError("Can't get attribute 'f'"), Outcome.FAILED, "cannot be moved to its workers"),
        (ZeroDivisionError("zero"), Outcome.FAILED, "the call raised"),
        (TimeoutError("the call's own"), Outcome.FAILED, "the call raised"),
        (SystemExit(3), Outcome.FAILED, "the call raised"),
    ],
)
def test_failures_are_told_as_what_they_are(error: BaseException, outcome: Outcome, said: str) -> None:
    """A lost worker, a module that is not there, what cannot be pickled and a call that raises are four findings."""
    with pytest.raises(ExecutorError, match=r"shop\.pools:make") as caught:
        running(Failing(error)).timed([(abs, (1,), {})])
    assert caught.value.outcome is outcome
    assert said in str(caught.value)


def test_tasks_that_do_not_come_back_are_counted() -> None:
    """An executor without workers hangs; nothing waits for longer than the limit."""
    with pytest.raises(ExecutorError, match="0 of 3 tasks came back within 0 s: its workers are not there") as caught:
        running(Silent(), limit_s=0.0).timed([(abs, (1,), {})] * 3)
    assert caught.value.outcome is Outcome.HUNG


def test_a_factory_must_return_an_executor() -> None:
    """What has no ``submit`` is refused by its value; what a factory raises is told with its traceback."""
    with pytest.raises(ExecutorError, match=r"m:f returned 7, allowed: a concurrent\.futures\.Executor"):
        RunningExecutor(lambda: 7, "m:f", 1.0)

    def raises() -> Executor:
        msg = "no cluster"
        raise OSError(msg)

    with pytest.raises(ExecutorError, match=r"(?s)m:f raised.*OSError: no cluster"):
        RunningExecutor(raises, "m:f", 1.0)

    def refuses() -> Executor:
        msg = "nomod:f: nomod cannot be imported"
        raise GilprobeError(msg)

    with pytest.raises(ExecutorError, match=r"^nomod:f: nomod cannot be imported$"):
        RunningExecutor(refuses, "nomod:f", 1.0)


# The end


def test_an_executor_is_ended() -> None:
    """One that the factory returned is shut down; of a context manager, both are ended, in every case."""
    bare = Inline()
    running(bare).end()
    assert bare.ended

    left: list[str] = []

    @contextlib.contextmanager
    def cluster() -> Iterator[Executor]:
        try:
            yield inner
        finally:
            left.append("cluster")

    inner = Inline()
    RunningExecutor(cluster, "m:f", 1.0).end()
    assert (inner.ended, left) == (True, ["cluster"])


def test_an_executor_that_fails_at_its_start_is_ended() -> None:
    """The first tasks fail: nothing stays."""
    broken = Failing(BrokenExecutor("gone"))
    with pytest.raises(ExecutorError):
        executor_batch.start(work(dict), lambda: broken, "m:f", 2, 5.0)
    assert broken.ended


class Remembering(Inline):
    """An executor that gives the results of earlier calls again, as Dask does by default."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[Any, Future[Any]] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if fn not in self.known:
            self.known[fn] = super().submit(fn, *args, **kwargs)
        return self.known[fn]


def test_an_executor_that_remembers_results_is_refused() -> None:
    """Calls that are not made cannot be timed; the error says how Dask makes them."""
    with pytest.raises(ExecutorError, match=r"get_executor\(pure=False\)"):
        executor_batch.start(work(dict), Remembering, "m:f", 2, 5.0)


# Measuring


needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@pytest.fixture(autouse=True)
def short_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time tasks for a tenth of the usual time: how exactly is not what is tested here."""
    monkeypatch.setattr(executor_batch, "SERIES_S", executor_batch.SERIES_S / 10)


@pytest.mark.parametrize("moves", [False, True])
def test_a_session_measures_its_start_and_its_batches(moves: bool) -> None:  # noqa: FBT001 - a table
    """Costs are there, the curve has one point for each size, and a batch has the calls that its lanes say."""
    executor = Inline(moves=moves)
    session = executor_batch.start(work(partial(sum, (1, 2))), lambda: executor, "m:f", 2, 30.0)
    start = session.start
    assert (start.factory, start.workers, start.shares_memory) == ("m:f", None, not moves)
    assert start.kind.endswith(".Inline")
    assert min(start.task_s, start.round_trip_s, start.start_up_s) > 0
    assert start.data_s is not None
    sizes = [one.calls_per_task for one in start.curve]
    assert sizes == [2**power for power in range(len(sizes))]
    reading = executor_batch.run(session, 50, 2)
    assert reading.executor is not None
    assert reading.executor.single.calls_per_task == 1
    timed = reading.executor.chunked or reading.executor.single
    assert sum(one.calls for one in reading.lanes) == timed.calls
    assert {one.end_ns - one.start_ns for one in reading.lanes} == {timed.wall_ns}
    session.close()
    assert executor.ended


def test_it_knows_how_many_workers_there_are() -> None:
    """A pool of the standard library says how many workers it has, and its threads' clocks are read."""
    session = executor_batch.start(work(partial(sum, range(2000))), lambda: ThreadPoolExecutor(3), "m:f", 2, 30.0)
    try:
        assert (session.start.workers, session.lanes, session.start.shares_memory) == (3, 3, True)
        reading = executor_batch.run(session, 100, 2)
    finally:
        session.close()
    assert len(reading.lanes) <= 3
    assert reading.peak_rss_bytes is None or reading.peak_rss_bytes > 0


class Placed(ThreadPoolExecutor):
    """A pool of one thread whose tasks name another host or process, if one is given, as where they run."""

    def __init__(self, host: str | None = None, pid: int | None = None) -> None:
        super().__init__(1)
        self.where = (host, pid)

    def place(self) -> list[object]:
        host, pid = self.where
        return [host or socket.gethostname(), pid or os.getpid(), threading.get_native_id()]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(self.place) if fn is list else super().submit(fn, *args, **kwargs)


@needs_proc
@pytest.mark.parametrize(
    ("host", "pid", "here"),
    [(None, None, True), ("elsewhere", None, False), (None, os.getppid(), False)],
    ids=["here", "another machine", "another program"],
)
def test_workers_are_where_their_tasks_run(host: str | None, pid: int | None, *, here: bool) -> None:
    """The pool's thread computes here each time: what decides is where a task says that it runs."""
    running = RunningExecutor(partial(Placed, host, pid), "m:f", 5.0)
    try:
        running.timed([(sum, (range(10_000),), {})])
        assert running.runs_here(2) is here
    finally:
        running.end()


class Refusing(ThreadPoolExecutor):
    """A pool of one thread that fails each task of `list`."""

    def __init__(self) -> None:
        super().__init__(1)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(int, "no number") if fn is list else super().submit(fn, *args, **kwargs)


@pytest.mark.parametrize("factory", [Inline, Refusing], ids=["the calling thread", "unknown"])
def test_workers_whose_clocks_cannot_be_read_are_elsewhere(factory: Callable[[], Executor]) -> None:
    """What the calling thread uses is not the executor's, and without an answer nothing is known."""
    running = RunningExecutor(factory, "m:f", 5.0)
    try:
        running.timed([(sum, (range(10_000),), {})])
        assert not running.runs_here(2)
    finally:
        running.end()


@needs_proc
def test_threads_count_from_when_the_workers_are_looked_for() -> None:
    """A thread that was there before, such as the calling one, is no worker; one that begins later is."""
    place = (socket.gethostname(), os.getpid())
    workers = ExecutorWorkers()
    assert not workers.include(*place, threading.get_native_id())
    with ThreadPoolExecutor(1) as pool:
        assert workers.include(*place, pool.submit(threading.get_native_id).result())


def test_threads_older_than_the_executor_are_elsewhere() -> None:
    """What threads use is counted only of those that began with the executor, so older ones have no clocks."""
    with ThreadPoolExecutor(1) as older:
        older.submit(bool).result()
        running = RunningExecutor(lambda: older, "m:f", 5.0)
        assert not running.runs_here(2)


@pytest.mark.parametrize(
    "factory",
    [partial(ThreadPoolExecutor, 2), partial(ProcessPoolExecutor, 1, mp_context=get_context("spawn"))],
    ids=["threads", "processes"],
)
def test_workers_that_began_with_the_executor_are_here(factory: Callable[[], Executor]) -> None:
    """Threads of this process, and processes that a pool starts, have clocks that can be read on Linux."""
    session = executor_batch.start(work(partial(sum, (1, 2))), factory, "m:f", 2, 30.0)
    try:
        assert session.start.on_this_machine is sys.platform.startswith("linux")
    finally:
        session.close()


def test_fresh_calls_are_no_more_than_a_batch_has() -> None:
    """Where each call has arguments of its own, tasks are no larger than the batch allows."""
    session = executor_batch.start(work(Fresh()), Inline, "m:f", 2, 30.0)
    reading = executor_batch.run(session, 2, 2)
    assert reading.executor is not None
    assert reading.executor.chunked is None or reading.executor.chunked.calls_per_task <= 2
    session.close()
