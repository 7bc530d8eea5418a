"""Turn a test that is set up into calls that can be repeated: in the main thread, in threads, or in tasks of a loop."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pytest_gilprobe.model.results import Callee
from pytest_gilprobe.workers import naming
from pytest_gilprobe.workers.child import async_batch, batch, loops, stretch
from pytest_gilprobe.workers.child.calls import FreshCall
from pytest_gilprobe.workers.child.fixture_sets import ONE_AT_A_TIME, FixtureSets
from pytest_gilprobe.workers.child.fresh import MadeByUser, MadeInLoop
from pytest_gilprobe.workers.child.subtests import PlainSubtests

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from pytest_gilprobe.model.call_readings import LoopBlock
    from pytest_gilprobe.model.ladder import StretchReading
    from pytest_gilprobe.model.readings import WorkerReading
    from pytest_gilprobe.workers.child.async_batch import AsyncCall
    from pytest_gilprobe.workers.child.batch import LaneContext
    from pytest_gilprobe.workers.child.calls import Call
    from pytest_gilprobe.workers.child.home_loop import HomeLoop
    from pytest_gilprobe.workers.naming import Given
    from pytest_gilprobe.workers.stretch_messages import Stretch

R = TypeVar("R")
UNSAFE_IN_THREADS = ONE_AT_A_TIME | {"benchmark", "request"}
"""Names of fixtures that change or read state of the whole process, or of pytest, without a lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The repeatable calls of the test ``item``, which is set up.

    ``call`` makes one call in the main thread, as pytest and its plugins would. ``given`` is the function with its
    arguments that the test passes to the `gilprobe` fixture, ``None`` if it does not use the fixture. With ``given``,
    ``call`` calls that function, and threads share the arguments unless each call has new ones. ``coroutine`` is the
    coroutine function that is called (the test's, or the one in ``given``), before a plugin wraps it; ``None`` for a
    plain function. ``home`` is the event loop that runs the test, and ``awaited`` makes one call in this loop; both are
    ``None`` unless a known loop awaits the call. ``within`` is the event loop that is started for each plain ``call``
    that a coroutine test passes to the fixture; ``None`` if no loop must be started. ``inside`` runs the test's body
    again, with new fixtures, up to the probed call, and returns this call's seconds; ``None`` unless timed calls are
    made after the body was left. ``held`` has, by name, what strategies (ways to make calls) keep open until the test
    is closed, such as an executor.
    """

    item: pytest.Function
    call: Call
    coroutine: Callable[..., Any] | None = None
    given: Given | None = None
    awaited: AsyncCall | None = None
    home: HomeLoop | None = None
    within: HomeLoop | None = None
    inside: Callable[[], float] | None = None
    held: dict[str, Any] = field(default_factory=dict)

    @property
    def fresh(self) -> FreshCall | None:
        """The call as a `FreshCall`, if it has new arguments each time; else ``None``."""
        return next((one for one in (self.call, self.awaited) if isinstance(one, FreshCall)), None)

    @property
    def is_coroutine(self) -> bool:
        """Whether the function that is called is a coroutine function."""
        return self.coroutine is not None or loops.is_drawn_coroutine(self.item)

    @property
    def library(self) -> str | None:
        """The library whose event loop awaits the calls: ``asyncio`` or ``trio``; ``None`` without a known loop."""
        return None if self.home is None else self.home.library

    def serial(self, calls: int, begin_ns: int = 0, lane: int = 0) -> WorkerReading:
        """Make the calls one after the other, awaited calls in the test's own loop; return the readings of the clocks.

        The calls begin when `time.perf_counter_ns` reaches ``begin_ns`` (0: at once). Until then this thread sleeps on
        a CPU chosen by ``lane``, the number (from 0) of this thread or process among those that begin together. Raises
        `WorkloadError` if a call raises anything.
        """
        if self.home is None or self.awaited is None:
            return self.made(lambda: batch.run_serial(self.call, calls, begin_ns, lane))
        awaited = self.awaited
        return self.home.run(lambda: async_batch.run_serial(awaited, calls, begin_ns, lane))

    def made(self, plain: Callable[[], R]) -> R:
        """Call ``plain``, an ordinary function, in the event loop ``self.within``, if any, and return its result."""
        if self.within is None:
            return plain()

        async def job() -> R:
            return plain()

        return self.within.run(job)

    def tasks(self, calls: int, lanes: int) -> WorkerReading:
        """Make ``calls`` calls in each of ``lanes`` tasks at once, in the test's event loop; return their times.

        Raises `ValueError` if no known loop awaits the call, and `WorkloadError` if a call raises.
        """
        home, awaited = self.home, self.awaited
        if home is None or awaited is None:
            msg = "the call is not awaited in an event loop"
            raise ValueError(msg)
        return home.run(lambda: async_batch.run_tasks(home, awaited, calls, lanes))

    def stretch_of_tasks(self, question: Stretch) -> StretchReading | None:
        """Make calls without a pause in several tasks of the test's event loop, for the time that ``question`` sets.

        The result has the moments at which calls were completed; it is ``None`` if no known loop awaits the calls.
        Raises `WorkloadError` if a call raises.
        """
        home, awaited = self.home, self.awaited
        if home is None or awaited is None:
            return None
        return home.run(lambda: stretch.run_tasks(home, awaited, question))

    def stretch_of_one(self, question: Stretch) -> StretchReading:
        """Make one call after the other for the time that ``question`` sets; return the moments at which they end."""
        if self.home is None or self.awaited is None:
            return stretch.run_serial(self.call, question)
        home, awaited = self.home, self.awaited
        return home.run(lambda: stretch.run_tasks(home, awaited, question))

    def watched(self, calls: int) -> tuple[WorkerReading, tuple[LoopBlock, ...] | None]:
        """Make the calls one after the other; return their times, and how long each blocked the event loop at most.

        The second part is ``None`` if the event loop cannot be watched. Raises `WorkloadError` if a call raises.
        """
        home, awaited = self.home, self.awaited
        watch = home.block_watch() if home is not None else None
        if home is None or awaited is None or watch is None:
            return self.serial(calls), None
        return home.run(lambda: async_batch.run_watched(home, watch, awaited, calls))

    def keeping(self, results: list[Any]) -> Workload:
        """Return a copy of this workload whose calls append their results to ``results``."""
        call, awaited = self.call, self.awaited

        async def kept() -> None:
            assert awaited is not None  # noqa: S101 - used only then
            results.append(await awaited())

        return replace(self, call=lambda: results.append(call()), awaited=None if awaited is None else kept)

    def lane(self, number: int) -> LaneContext:
        """Return a context manager for thread ``number`` (from 0) to enter; it yields the function to call there."""
        if self.given is not None and self.coroutine is not None:
            return loops.lane(self.item, self.coroutine, self.library)
        if self.given is not None or isinstance(self.call, FreshCall):
            return nullcontext(self.call)
        if isinstance(self.awaited, FreshCall):
            return loops.lane(self.item, cast("Any", self.awaited), self.library)
        passed = for_lane(arguments(self.item), number)
        if self.coroutine is None:
            return nullcontext(_bind(self.item.obj, passed))
        return loops.lane(self.item, partial(self.coroutine, **passed), self.library)


def argument_names(item: pytest.Function) -> tuple[str, ...]:
    """Return the names of the fixtures that pytest passes to the test function itself.

    Private access: ``_fixtureinfo``, as in pytest's own ``pytest_pyfunc_call``. There is no public name for it, and the
    signature is not enough (defaults, ``mock.patch``).
    """
    return tuple(item._fixtureinfo.argnames)  # noqa: SLF001 - see above


def arguments(item: pytest.Function) -> dict[str, Any]:
    """Return the keyword arguments for a call of the test function.

    They are the values of its fixtures, but a `PlainSubtests` for ``subtests``: with pytest's own value, a failed
    subtest would not make the call fail, and the subtests of every call would be reported.
    """
    passed = {name: item.funcargs[name] for name in argument_names(item)}
    if "subtests" in passed:
        passed["subtests"] = PlainSubtests()
    return passed


def of_fixture(item: pytest.Function, given: Given) -> Workload:
    """Turn the call ``given``, which a test passes to the `gilprobe` fixture, into repeatable calls."""
    call: Call = MadeByUser(given) if given.make is not None else call_of(given)
    return Workload(item=item, call=call, given=given)


def call_of(given: Given) -> Call:
    """Return a function without parameters that calls the function in ``given`` with its arguments."""
    bare = not given.args and not given.kwargs
    return given.func if bare else partial(given.func, *given.args, **given.kwargs)


def awaited_by_fixture(item: pytest.Function, given: Given, home: HomeLoop) -> Workload:
    """Turn ``given``, a call that a test passes to the `gilprobe` fixture, into repeatable calls in loop ``home``."""
    awaited: Any = partial(given.func, *given.args, **given.kwargs)
    if given.make is not None:
        awaited = MadeInLoop(given, home)
    return Workload(
        item=item, call=lambda: home.run(awaited), coroutine=awaited, given=given, awaited=awaited, home=home
    )


def in_home_loop(
    item: pytest.Function, function: Callable[..., Any], passed: dict[str, Any], home: HomeLoop
) -> Workload:
    """Turn a coroutine test into repeatable calls in ``home``, the event loop in which the test runs.

    ``function`` is the test's coroutine function, and ``passed`` are the keyword arguments for it.
    """
    if "subtests" in passed:
        passed = passed | {"subtests": PlainSubtests()}
    awaited: AsyncCall = partial(function, **passed)
    return Workload(item=item, call=lambda: home.run(awaited), coroutine=function, awaited=awaited, home=home)


def with_new_fixtures(
    item: pytest.Function, function: Callable[..., Any], sets: FixtureSets, home: HomeLoop
) -> Workload:
    """Turn a coroutine test into repeatable calls, each with new fixtures that ``sets`` makes.

    ``function`` is the test's coroutine function, and ``home`` the event loop in which the calls are awaited.
    """
    awaited = cast("AsyncCall", sets)
    return Workload(item=item, call=lambda: home.run(awaited), coroutine=function, awaited=awaited, home=home)


def callee(workload: Workload) -> Callee | None:
    """Describe the function that a workload calls: the one passed to the `gilprobe` fixture, else the test itself.

    Return ``None`` if the test is a callable object without a ``__qualname__``.
    """
    if workload.given is not None:
        given = naming.callee(workload.given)
        return replace(given, awaited=workload.is_coroutine, awaited_by=workload.library)
    function = inspect.unwrap(workload.coroutine or workload.item.obj)
    name = getattr(function, "__qualname__", None)
    if name is None:
        return None
    return Callee(
        module=getattr(workload.item.obj, "__module__", None) or "__main__",
        name=name,
        parameters=argument_names(workload.item),
        awaited=workload.is_coroutine,
        awaited_by=workload.library,
        is_test=True,
    )


def plain(item: pytest.Function) -> Workload:
    """Turn a plain test function or method into repeatable calls."""
    return Workload(item=item, call=_bind(item.obj, arguments(item)))


def coroutine(item: pytest.Function, function: Callable[..., Any], through_hooks: Call) -> Workload:
    """Turn a coroutine test into repeatable calls that its plugin, such as pytest-asyncio or anyio, makes.

    ``function`` is the test's coroutine function. If the plugin has replaced it by a plain function (pytest-asyncio),
    that function is called. Otherwise ``through_hooks`` is called: the plugin's ``pytest_pyfunc_call`` (anyio).
    """
    replaced = not inspect.iscoroutinefunction(item.obj)
    call = _bind(item.obj, arguments(item)) if replaced else through_hooks
    return Workload(item=item, call=call, coroutine=function)


def _bind(function: Callable[..., Any], passed: dict[str, Any]) -> Call:
    return partial(function, **passed) if passed else function


def for_lane(passed: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a test's arguments ``passed``, with a new folder for thread ``number`` in place of a ``tmp_path``."""
    folder = passed.get("tmp_path")
    if not isinstance(folder, Path):
        return passed
    own = folder / f"gilprobe-thread-{number}"
    own.mkdir(exist_ok=True)
    return passed | {"tmp_path": own}


def unsafe_in_threads(workload: Workload) -> str | None:
    """Return the reason why this test must not be run in threads, or None if it may be."""
    if workload.fresh is not None and workload.fresh.alone is not None:
        return workload.fresh.alone
    if workload.given is not None and isinstance(workload.awaited, FreshCall):
        whose = "the test's body is run again for each of its calls"
        if not isinstance(workload.awaited, FixtureSets):
            whose = "the arguments of its calls are made"
        return f"{whose} in the test's own event loop, and threads have others"
    if workload.given is not None:
        return None
    found = sorted(UNSAFE_IN_THREADS.intersection(argument_names(workload.item)))
    if found:
        return f"it uses {', '.join(found)}, which must not be used by several threads at once"
    return loops.bound_to_one_loop(workload.item, is_coroutine=workload.coroutine is not None)
