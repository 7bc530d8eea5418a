"""Run a coroutine that makes batches of calls in the place of a coroutine test, in the test's event loop.

The test's own plugin, such as pytest-asyncio, runs the coroutine. The parent (pytest's own process) asks for batches
(calls timed together). There are two ways to make them. Usually the loop keeps running while the worker process waits
for the parent, and the coroutine makes the calls of each batch in its own task. Where each call has fixtures of its
own, the plugin runs the coroutine once for each batch, in the same loop: between batches the loop does not run, so that
pytest and the plugin can make the fixtures, async ones in that loop, as they do before any test.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.workers import fixture
from pytest_gilprobe.workers.child import home_loop, subtests, workload
from pytest_gilprobe.workers.child.fixture_sets import FixtureSets

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pytest

    from pytest_gilprobe.workers.child.calls import Call
    from pytest_gilprobe.workers.child.home_loop import HomeLoop, Job
    from pytest_gilprobe.workers.naming import Given

Serve = Callable[[workload.Workload], None]
"""Function that takes a workload (what is called), and answers the questions about it that pytest's own process asks,
until that process closes the test."""


class UnknownLoopError(GilprobeError):
    """Raised if each call should have new fixtures, but the test's event loop is neither asyncio's nor trio's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The call that a coroutine test passed to the `gilprobe` fixture, when the test's body was left at that point.

    ``given`` is the call, and ``awaited`` is whether the body awaits it. ``anew()`` runs the body again up to the
    fixture, and returns the call that the body passes this time, not yet made. ``inside()`` runs the body again, makes
    the call there, and returns how many seconds the call took.
    """

    given: Given
    awaited: bool
    anew: Callable[[], Call]
    inside: Callable[[], float]


class CoroutineTest:
    """Runs, in place of a coroutine test, a coroutine that makes the batches of calls that pytest's own process wants.

    ``served`` is whether batches were made so far; they are only made in an event loop of asyncio or trio.
    """

    def __init__(self, item: pytest.Function, function: Callable[..., Any], serve: Serve) -> None:
        """Prepare to run a coroutine in place of ``item``, a test that is set up.

        ``function`` is the test's coroutine function, before its plugin wraps it. ``serve`` takes a workload
        (what is called) and answers questions about it until pytest's own process closes the test.
        """
        self._item = item
        self._function = function
        self._serve = serve
        self._tried = False
        self._job: Job | None = None
        self.served = False

    def replacement(self, *, is_case: bool) -> Callable[..., Any]:
        """Return the coroutine function that the test's plugin runs in the test's place; it makes batches of calls.

        ``is_case`` is whether the test is a method of a `unittest.TestCase`.
        """
        inner = self._in_case if is_case else self._served_here
        if fixture.asks_for(self._item):
            inner = self._until_served

        @functools.wraps(self._function)
        async def replacement(**passed: Any) -> None:
            await (inner(**passed) if self._job is None else self._job())

        return replacement

    async def _until_served(self, **passed: Any) -> None:
        """Run the test's body; nothing sees the exception with which the fixture leaves it."""
        try:
            await self._function(**passed)
        except fixture.Served:
            self.served = True
        except BaseExceptionGroup as group:
            if group.subgroup(fixture.Served) is None:
                raise
            self.served = True

    async def _served_here(self, **passed: Any) -> None:
        """Serve batches at the first run; make one call of the test if that could not be done."""
        home = None if self._tried else home_loop.of_this_task()
        self._tried = True
        if home is None:
            await self._function(**passed)
            return
        await self._serve_in(home, passed)

    async def _in_case(self) -> None:
        home = home_loop.of_this_task()
        assert home is not None  # noqa: S101 - `unittest` runs coroutines in asyncio only
        self._item.obj = self._function
        with subtests.plain_subtests(self._item):
            await self._serve_in(home, {})

    async def _serve_in(self, home: HomeLoop, passed: dict[str, Any]) -> None:
        self.served = True
        work = workload.in_home_loop(self._item, self._function, passed, home)
        await home.serve(lambda: self._serve(work))

    # A run of the loop for each batch

    def serve_with_new_fixtures(self, left: Left | None = None) -> None:
        """Make batches of calls, each call with function-scoped fixtures of its own, until the test is closed.

        The event loop runs only during a batch. If ``left`` is ``None``, the test itself is called. Otherwise its body
        has been left, and the call ``left`` is made, which the body passed to the `gilprobe` fixture. Raises
        `UnknownLoopError` if the test runs in an event loop other than asyncio's or trio's.
        """
        as_run = self._item.obj  # perhaps wrapped by the plugin

        def with_instance() -> None:
            if self._item.cls is not None:  # pytest has made a new one
                self._function = self._item.obj
                self._item.obj = as_run

        def bound() -> Call:
            with_instance()
            if left is not None:
                return left.anew()
            return functools.partial(self._function, **workload.arguments(self._item))

        def inside() -> float:
            assert left is not None  # noqa: S101 - used only then
            with_instance()
            return left.inside()

        function = self._function
        with _kept_open(self._item):
            home = self._home()
            sets = FixtureSets(self._item, bound)
            if left is None:
                work = workload.with_new_fixtures(self._item, function, sets, home)
            elif left.awaited:
                work = replace(workload.with_new_fixtures(self._item, function, sets, home), given=left.given)
            else:
                work = workload.Workload(item=self._item, call=sets, given=left.given, within=home)
            if left is not None:
                work = replace(work, inside=lambda: sets.with_new(inside))
            self._serve(work)

    def _home(self) -> HomeLoop:
        """Return the event loop in which the test's plugin runs it."""
        found: list[HomeLoop | None] = []

        async def look() -> None:
            found.append(home_loop.of_this_task())

        self._run(look)
        home = next(iter(found), None)
        if home is None:
            msg = "fresh=True: not for a coroutine test that runs in an event loop other than asyncio's or trio's"
            raise UnknownLoopError(msg)
        home.run_by(self._run)
        return home

    def _run(self, job: Callable[[], Awaitable[object]]) -> None:
        """Have the test's plugin run a job where it would run the test."""
        self._job = job
        try:
            self._item.ihook.pytest_pyfunc_call(pyfuncitem=self._item)
        finally:
            self._job = None


def _kept_open(item: pytest.Function) -> AbstractContextManager[object]:
    """Return a context in which anyio's plugin keeps the event loop of a test; it would make one for each run.

    pytest-asyncio keeps its loop by itself; trio has a new one in each run. Private access: the two functions of
    anyio's plugin have no public names.
    """
    backend = item.funcargs.get("anyio_backend")
    if not backend or not inspect.iscoroutinefunction(item.obj):  # then another plugin has wrapped it
        return nullcontext()
    from anyio import pytest_plugin  # noqa: PLC0415 - installed, since the test uses its fixture

    name, options = pytest_plugin.extract_backend_and_options(backend)
    return pytest_plugin.get_runner(name, options)
