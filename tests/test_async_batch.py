"""`pytest_gilprobe.workers.child.home_loop` and `.async_batch`: batches of awaited calls in the test's own loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe.loop_blocks import SelectorWatch
from pytest_gilprobe.workers import event_loops
from pytest_gilprobe.workers.child import async_batch, home_loop
from pytest_gilprobe.workers.child.batch import WorkloadError
from pytest_gilprobe.workers.child.home_loop import AsyncioLoop, HomeLoop

OF_TEST: contextvars.ContextVar[str] = contextvars.ContextVar("OF_TEST", default="of another context")
BACKENDS = ("asyncio", "trio")


def in_loop(backend: str, main: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine function in an event loop of this kind."""
    if backend == "asyncio":
        return asyncio.run(main())  # type: ignore[arg-type]
    return pytest.importorskip("trio").run(main)


def served(backend: str, questions: Callable[[HomeLoop], Any]) -> Any:
    """Run ``questions`` as the thread that answers, in a loop of this kind; return what it returns."""
    found: list[Any] = []

    async def main() -> None:
        OF_TEST.set("of the test")
        home = home_loop.of_this_task()
        assert home is not None
        await home.serve(lambda: found.append(questions(home)))

    in_loop(backend, main)
    return found[0]


class Meeting:
    """Calls that end only when so many of them are under way at once, and note who they meet."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.here = 0
        self.contexts: set[str] = set()
        self.threads: set[int] = set()

    async def call(self) -> None:
        self.contexts.add(OF_TEST.get())
        self.threads.add(threading.get_ident())
        enough = (self.here // self.number + 1) * self.number
        self.here += 1
        give_way = asyncio.sleep if event_loops.running() == "asyncio" else pytest.importorskip("trio").sleep
        while self.here < enough:
            await give_way(0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_tasks_are_under_way_at_once(backend: str) -> None:
    """Each of the lanes has a call under way at the same time, in the loop's thread, with the test's context."""
    meeting = Meeting(4)
    reading = served(backend, lambda home: home.run(lambda: async_batch.run_tasks(home, meeting.call, 3, 4)))
    assert meeting.here == 12
    assert [lane.calls for lane in reading.lanes] == [3, 3, 3, 3]
    assert meeting.contexts == {"of the test"}
    assert meeting.threads == {threading.get_ident()}
    assert all(lane.start_ns == reading.lanes[0].start_ns < lane.end_ns for lane in reading.lanes)


@pytest.mark.parametrize("backend", BACKENDS)
def test_serial_calls_are_one_at_a_time(backend: str) -> None:
    """Serial calls are made in the test's own task, none before the last one is over."""
    meeting = Meeting(1)
    reading = served(backend, lambda home: home.run(lambda: async_batch.run_serial(meeting.call, 5)))
    assert meeting.here == 5
    (lane,) = reading.lanes
    assert (lane.calls, lane.cpu_ns > 0) == (5, True)
    assert meeting.contexts == {"of the test"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_failure_is_the_calls_own(backend: str) -> None:
    """Of several tasks the first failure is told with its own traceback, out of any group, and how many failed."""
    busy = False

    async def call() -> None:
        nonlocal busy
        assert not busy, "one at a time"
        busy = True
        home = home_loop.of_this_task()
        assert home is not None
        await home.give_way()
        busy = False

    with pytest.raises(WorkloadError) as failure:
        served(backend, lambda home: home.run(lambda: async_batch.run_tasks(home, call, 2, 3)))
    said = str(failure.value)
    assert "of 3 tasks at once failed" in said
    assert "AssertionError: one at a time" in said
    assert "ExceptionGroup" not in said
    assert "Cancelled" not in said


def test_call_that_cancels_itself_has_failed() -> None:
    """A call that ends as cancelled is a failure, not a silent end of its lane."""

    async def call() -> None:
        raise asyncio.CancelledError

    with pytest.raises(WorkloadError, match="CancelledError"):
        served("asyncio", lambda home: home.run(lambda: async_batch.run_tasks(home, call, 1, 2)))


def test_no_loop() -> None:
    """Outside of an event loop there is none to serve in."""
    assert event_loops.running() is None
    assert home_loop.of_this_task() is None


def test_task_that_is_cancelled_ends_the_questions() -> None:
    """If the test's task is cancelled between two batches, a question is answered by an error rather than never."""
    errors: list[Exception] = []

    async def main() -> None:
        home = AsyncioLoop()
        task = asyncio.current_task()
        assert task is not None

        def questions() -> None:
            home.loop.call_soon_threadsafe(task.cancel)
            while not home._gone:
                threading.Event().wait(0.001)
            for _ in range(2):
                try:
                    home.run(lambda: asyncio.sleep(60))
                except home_loop.LoopGoneError as error:
                    errors.append(error)

        with pytest.raises(asyncio.CancelledError):
            await home.serve(questions)

    asyncio.run(main())
    assert len(errors) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_blocks_of_each_call_are_timed(backend: str) -> None:
    """The watch has one block for each call: its thread's CPU time is nearly all of it where the call computes."""

    async def call() -> None:
        home = home_loop.of_this_task()
        assert home is not None
        await home.give_way()
        sum(range(300_000))
        await home.give_way()

    def questions(home: HomeLoop) -> Any:
        watch = home.block_watch()
        assert watch is not None
        selector = home.loop._selector if isinstance(home, AsyncioLoop) else None  # type: ignore[attr-defined]
        own = getattr(selector, "select", None)
        with_watch = home.run(lambda: async_batch.run_watched(home, watch, call, 4))
        assert getattr(selector, "select", None) == own
        assert len(home.run(lambda: async_batch.run_watched(home, watch, call, 2))[1]) == 6, "it can be entered again"
        return with_watch

    reading, blocks = served(backend, questions)
    assert sum(lane.calls for lane in reading.lanes) == 4
    assert len(blocks) == 4
    assert all(0 < block.cpu_ns <= block.wall_ns * 1.1 for block in blocks)
    assert sum(block.wall_ns for block in blocks) <= reading.lanes[0].end_ns - reading.lanes[0].start_ns


def test_queueing_of_a_block_is_that_of_the_loops_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run-queue clock is opened in the thread that runs the loop, whichever thread prepares the watch."""
    opened: list[int] = []

    class Clock(clocks.RunQueueClock):
        def __init__(self) -> None:
            opened.append(threading.get_ident())
            super().__init__()

    async def call() -> None:
        await asyncio.sleep(0)

    def questions(home: HomeLoop) -> int:
        assert isinstance(home, AsyncioLoop)
        watch = SelectorWatch(home.loop)
        monkeypatch.setattr(clocks, "RunQueueClock", Clock)

        async def watched() -> int:
            with watch:
                await call()
            return threading.get_ident()

        return home.run(watched)

    assert [served("asyncio", questions)] == opened


def test_loop_without_a_selector_cannot_be_watched() -> None:
    """A loop that does not wait in a selector of Python's own, such as uvloop's, is refused."""
    with pytest.raises(TypeError, match="object does not wait"):
        SelectorWatch(cast("Any", object()))


def test_watch_puts_back_what_the_user_had_put_there() -> None:
    """A wrapper of the selector that the test itself has put there is used during the watch, and there afterwards."""
    asked: list[float | None] = []

    def questions(home: HomeLoop) -> None:
        selector = home.loop._selector  # type: ignore[attr-defined]  # a loop of asyncio
        select = selector.select

        def of_user(timeout: float | None = None) -> Any:
            asked.append(timeout)
            return select(timeout)

        async def watched() -> None:
            selector.select = of_user
            with SelectorWatch(asyncio.get_running_loop()):
                before = len(asked)
                await asyncio.sleep(0)
                assert len(asked) > before
            assert selector.select is of_user

        home.run(watched)

    served("asyncio", questions)


def test_watch_leaves_what_the_user_puts_there_meanwhile() -> None:
    """A wrapper that a call puts around the watch's own stays, and the watch that has ended counts nothing more."""

    def questions(home: HomeLoop) -> None:
        selector = home.loop._selector  # type: ignore[attr-defined]  # a loop of asyncio

        async def watched() -> None:
            watch = SelectorWatch(asyncio.get_running_loop())
            with watch:
                select = selector.select
                selector.select = of_user = lambda timeout=None: select(timeout)
            assert selector.select is of_user
            await asyncio.sleep(0)
            watch.before_io_wait = None  # type: ignore[method-assign,assignment]  # nothing calls it any more
            await asyncio.sleep(0)

        home.run(watched)

    served("asyncio", questions)
