"""Make the calls of a coroutine test in the event loop, the task and the context in which the test itself would run.

A plugin for coroutine tests, such as pytest-asyncio, runs a coroutine of this package in the place of the test. This
coroutine makes the timed calls in its own task, and starts a thread that receives requests for calls from pytest's own
process. So the calls have the same fixtures, context variables and background tasks as the test's own call.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.observe.loop_blocks import SelectorWatch, TrioWatch
from pytest_gilprobe.workers import event_loops

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from pytest_gilprobe.observe.loop_blocks import BlockWatch

R = TypeVar("R")
Job = Callable[[], Awaitable[object]]


class LoopGoneError(GilprobeError):
    """Raised if the task that makes a coroutine test's calls was cancelled, for example by a time limit of a plugin."""


class HomeLoop(ABC):
    """The event loop that runs a test, and the test's task in it; create it in that task, by `of_this_task`.

    Work is done in the loop as jobs (coroutine functions without parameters) that are passed to `run`. Either the loop
    keeps running between jobs (`serve`), or it is started anew for each job (`run_by`).
    """

    library: ClassVar[str]
    """The library whose loop it is: ``asyncio`` or ``trio``."""

    def __init__(self) -> None:
        """Begin without a job, and note whether the loop runs in the main thread; call this in the loop."""
        self._job: Job | None = None
        self._start: Callable[[Job], None] | None = None
        self._answered = threading.Event()
        self._gone = False
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        self._hidden: str | None = None

    async def serve(self, answer_questions: Callable[[], None]) -> None:
        """Run ``answer_questions`` in a new thread until it returns; meanwhile await the jobs that it passes to `run`.

        A job is a coroutine function. The calling task awaits it. Raises what ``answer_questions`` raises.
        """
        errors: list[BaseException] = []

        def target() -> None:
            try:
                answer_questions()
            except BaseException as error:  # noqa: BLE001 - raised again below, in the test
                errors.append(error)
            finally:
                self._job = None
                self._wake()

        thread = threading.Thread(target=target, name="gilprobe-server")
        thread.start()
        try:
            while await self._next_job():
                await self._run_job()
        finally:
            self._gone = True
            self._answered.set()
            thread.join()
        if errors:
            raise errors[0]

    def run_by(self, start: Callable[[Job], None]) -> None:
        """From now on, have `run` pass each job (a coroutine function) to ``start``, which runs the loop to await it.

        Call this outside of the loop. Between jobs the loop does not run, so other code, such as pytest's, may run it.
        """
        self._start = start

    async def _next_job(self) -> bool:
        await self._woken()
        return self._job is not None

    async def _run_job(self) -> None:
        assert self._job is not None  # noqa: S101 - `_next_job` says so
        await self._job()
        self._answered.set()

    def run(self, job: Callable[[], Awaitable[R]]) -> R:
        """Have the test's event loop await ``job()``, and return its result; call this outside of the loop.

        Raises what the job raises, and `LoopGoneError` if the test's task has ended.
        """
        results: list[R] = []
        errors: list[BaseException] = []

        async def caught() -> None:
            try:
                results.append(await job())
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
                errors.append(error)

        if self._start is not None:
            self._start(caught)
        elif not self._gone:
            self._answered.clear()
            self._job = caught
            self._wake()
            self._answered.wait()
        if errors:
            raise errors[0]
        if not results:
            msg = "the task of the test was cancelled while it was probed"
            raise LoopGoneError(msg)
        return results[0]

    @abstractmethod
    def _wake(self) -> None:
        """Have `_woken` return; called in another thread than the loop's."""

    @abstractmethod
    async def _woken(self) -> None:
        """Wait for `_wake`."""

    @abstractmethod
    async def together(self, lanes: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        """Await all coroutine functions in ``lanes`` at once, each in a task of its own; cancel all if one raises."""

    @abstractmethod
    async def give_way(self) -> None:
        """Let the loop run all tasks that are ready, and check for events once, before this task goes on."""

    @abstractmethod
    def living_tasks(self) -> int:
        """Return how many tasks of this loop have not ended, the calling task included; call this in the loop."""

    @abstractmethod
    def block_watch(self) -> BlockWatch | None:
        """Return an object that times how long calls block this loop; ``None`` if the loop cannot be watched."""

    def hidden(self) -> str | None:
        """Return why other processes cannot see when this loop waits for events; ``None`` if they can."""
        return self._hidden if self._in_main_thread else "the event loop runs in another thread than the main one"

    def events_fd(self) -> int | None:
        """Return the file descriptor by which the loop waits for events; ``None`` if that is not known."""
        return None

    @property
    @abstractmethod
    def cancelled(self) -> type[BaseException]:
        """The class of the exception that is raised in a task of this loop to cancel it."""


class AsyncioLoop(HomeLoop):
    """The event loop of asyncio that runs a test, and the test's task in it."""

    library = "asyncio"

    def __init__(self) -> None:
        """Take the event loop of asyncio that runs in this thread; raise `RuntimeError` if there is none."""
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._hidden = _hidden(self.loop)

    def _wake(self) -> None:
        self.loop.call_soon_threadsafe(self._event.set)

    async def _woken(self) -> None:
        await self._event.wait()
        self._event.clear()

    async def together(self, lanes: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        """Await all coroutine functions in ``lanes`` at once, in a task group, which cancels all if one raises."""
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(lane())

    async def give_way(self) -> None:
        """Let the loop run all tasks that are ready, and check for events once, before this task goes on."""
        await asyncio.sleep(0)

    def living_tasks(self) -> int:
        """Return how many tasks of this loop have not ended, the calling task included."""
        return len(asyncio.all_tasks(self.loop))

    def block_watch(self) -> BlockWatch | None:
        """Return an object that times how long calls block this loop; ``None`` without a selector, as in uvloop."""
        try:
            return SelectorWatch(self.loop)
        except TypeError:
            return None

    def events_fd(self) -> int | None:
        """Return the file descriptor of the epoll in which the loop waits for events; ``None`` if that is unknown.

        Private access: ``_selector``, as there is no public name for a loop's selector.
        """
        selector = None if _hidden(self.loop) else getattr(self.loop, "_selector", None)
        return None if selector is None else int(selector.fileno())

    @property
    def cancelled(self) -> type[BaseException]:
        """The class of the exception that is raised in a task of this loop to cancel it."""
        return asyncio.CancelledError


class TrioLoop(HomeLoop):
    """The event loop of trio that runs a test, and the test's task in it."""

    library = "trio"

    def __init__(self) -> None:
        """Take the event loop of trio that runs in this thread; raise `RuntimeError` if there is none."""
        import trio  # noqa: PLC0415 - it runs, so it is installed

        super().__init__()
        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()
        self._hidden = _guest(trio)

    def _wake(self) -> None:
        self._token.run_sync_soon(self._set)

    def _set(self) -> None:
        self._event.set()

    async def _woken(self) -> None:
        await self._event.wait()
        self._event = self._trio.Event()

    async def together(self, lanes: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        """Await all coroutine functions in ``lanes`` at once, in a nursery, which cancels all if one raises."""
        async with self._trio.open_nursery() as nursery:
            for lane in lanes:
                nursery.start_soon(lane)

    async def give_way(self) -> None:
        """Let the loop run all tasks that are ready, and check for events once, before this task goes on."""
        await self._trio.lowlevel.checkpoint()

    def living_tasks(self) -> int:
        """Return how many tasks of this loop have not ended, the calling task and trio's own tasks included."""
        return int(self._trio.lowlevel.current_statistics().tasks_living)

    def block_watch(self) -> BlockWatch | None:
        """Return an instrument of trio that times how long calls block this loop."""
        return TrioWatch()

    @property
    def cancelled(self) -> type[BaseException]:
        """The class of the exception that is raised in a task of this loop to cancel it."""
        return self._trio.Cancelled


def _hidden(loop: asyncio.AbstractEventLoop) -> str | None:
    """Return that a loop waits in something else than an epoll; ``None`` for the usual loops and uvloop's.

    Private access: ``_selector``, as there is no public name for a loop's selector.
    """
    selector = getattr(loop, "_selector", None)
    if selector is None or isinstance(selector, getattr(selectors, "EpollSelector", ())):
        return None
    return f"the event loop waits in a {type(selector).__name__}, not in an epoll"


def _guest(trio: Any) -> str | None:
    """Return that trio is a guest of another loop, as under anyio's plugin: another thread waits for its events.

    Call this in trio's thread. Private access: ``is_guest``, as there is no public name for it; without it, the loop
    counts as hidden.
    """
    runner = getattr(trio._core._run.GLOBAL_RUN_CONTEXT, "runner", None)  # noqa: SLF001 - see above
    if getattr(runner, "is_guest", True):
        return "trio runs as a guest, as under anyio's plugin, so another thread waits for its events"
    return None


def of_this_task() -> HomeLoop | None:
    """Return the event loop that runs the current task; ``None`` if it is neither asyncio's nor trio's."""
    match event_loops.running():
        case "asyncio":
            return AsyncioLoop()
        case "trio":
            return TrioLoop()
    return None
