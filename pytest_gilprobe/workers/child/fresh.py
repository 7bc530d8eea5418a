"""Call a user's function with new arguments each time; find for how many calls they may be made in advance."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers.child.calls import FreshCall
from pytest_gilprobe.workers.event_loops import is_awaited
from pytest_gilprobe.workers.naming import Given, arguments_awaited, arguments_made

if TYPE_CHECKING:
    from pytest_gilprobe.workers.child.calls import Call
    from pytest_gilprobe.workers.child.home_loop import HomeLoop

MOST_BYTES = 256 * 2**20
"""Largest number of bytes that the arguments made in advance for one batch (calls timed together) may take in one
process."""
MOST_S = 0.1
"""Longest time, in seconds, that making the arguments for one batch (calls timed together) may take in one process."""
MOST_CALLS = 20_000
"""Largest number of calls of one batch (calls timed together) whose arguments are made in advance in one process."""


class MadeByUser(FreshCall):
    """Calls a function of the user's each time with new arguments, which another function of the user's returns."""

    def __init__(self, given: Given) -> None:
        """Remember ``given.func``, the function to call, and ``given.make``, which returns arguments for each call."""
        super().__init__()
        self._func = given.func
        self._make = given.make or (lambda: given.args)

    def new(self) -> Call:
        """Have the user's function ``make`` return new arguments; return a function that makes the call with them.

        The returned function has no parameters. Raises what ``make`` raises.
        """
        return partial(self._func, *arguments_made(self._make))


class MadeInLoop(MadeByUser):
    """Calls a coroutine function in the event loop of the test, each time with new arguments.

    Another function of the user's returns the arguments. It runs in the same loop, and may be a coroutine function.
    """

    def __init__(self, given: Given, home: HomeLoop) -> None:
        """Remember ``given.func`` to call and ``given.make`` for its arguments; both run in the event loop ``home``."""
        super().__init__(given)
        self._home = home

    def new(self) -> Call:
        """Return a function without parameters that makes the call with new arguments, as ``make`` returns them.

        ``make`` is a function of the user's. It runs before this method returns, and what it raises propagates. But if
        it is a coroutine function, it runs as the first part of the call instead.
        """
        if not is_awaited(self._make):
            return super().new()

        async def call() -> None:
            await self._func(*await arguments_awaited(self._make))

        return call

    def prepare(self, calls: int) -> None:
        """In the test's event loop, make arguments in advance until there are some for at least ``calls`` calls.

        Call this method outside of the loop: it waits for the loop to make them. Exceptions propagate.
        """

        async def made() -> None:
            while len(self._ready) < calls:
                self._ready.append(partial(self._func, *await arguments_awaited(self._make)))

        self._home.run(made)


def most_calls(call: FreshCall, home: HomeLoop | None = None) -> int:
    """Return for how many calls the arguments of ``call`` may be made in advance; 1 or more.

    The arguments are made once or twice to measure how much memory and time they take, which limit the result. If they
    cannot be made a second time while the first ones exist, the result is 1, and ``call.alone`` is set to the reason.
    The result is 1, too, if making them leaves tasks, such as a server, in the event loop ``home`` (``None``: there is
    none): the tasks of later calls would disturb the call that is timed.
    """
    tasks = _living_tasks(home)
    size = _size(lambda: call.prepare(1))
    leave_tasks = _living_tasks(home) > tasks
    if call.alone is not None:
        return 1
    started_ns = clocks.perf_counter_ns()
    try:
        call.prepare(2)
    except BaseException as error:  # noqa: BLE001 - whatever the user's fixtures raise; pytest.skip is no Exception
        call.alone = f"its arguments cannot be made twice at the same time: {type(error).__name__}: {error}"
        call.tear_down()
        return 1
    if leave_tasks:
        call.tear_down()
        return 1
    took_s = (clocks.perf_counter_ns() - started_ns) / 1e9
    return max(1, min(MOST_CALLS, MOST_BYTES // max(size, 1), int(MOST_S / max(took_s, 1e-9))))


def _living_tasks(home: HomeLoop | None) -> int:
    """Return how many tasks there are in a loop; 0 if there is no loop."""
    if home is None:
        return 0

    async def count() -> int:
        return home.living_tasks()

    return home.run(count)


def _size(make: Callable[[], object]) -> int:
    """Return the bytes that ``make()`` allocates and keeps; 0 in a subinterpreter, which cannot trace memory."""
    try:
        import tracemalloc  # noqa: PLC0415 - does not load in subinterpreters
    except ImportError:
        make()
        return 0
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    try:
        make()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        if not tracing:
            tracemalloc.stop()
