"""The `gilprobe` fixture: a test passes one call to it, and a probe repeats and measures this call.

The same test runs once in pytest's own process, where the call is made once, and in worker processes, which repeat it.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import pytest

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers import event_loops, repeatable

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import LaneReading
    from pytest_gilprobe.workers.naming import Given

P = ParamSpec("P")
R = TypeVar("R")
CALLER = "gilprobe-caller"
"""Name under which a worker process registers the plugin that runs a test's call phase in the place of pytest's own
code."""
NOT_AWAITED = "it did not await gilprobe(...), so its coroutine never ran"
"""Why a call is not probed if the test did not await the coroutine that the fixture returned."""


class FixtureError(GilprobeError):
    """Raised if a test misuses the `gilprobe` fixture, as by a second use or an object that is not callable."""


class Served(BaseException):
    """Raised in a worker process to leave a test's body after the call in it was measured; the rest is not run.

    It is not an `Exception`, so that an ``except Exception`` in the test does not catch it.
    """


class Gilprobe:
    """The value of the `gilprobe` fixture: calls a function and returns its result; that call is what is probed.

    `fresh` does the same with a function that makes new arguments for each call. ``used`` is whether the test has made
    a call in either way.

    In pytest's own process the call is made once. In a worker process the call is repeated for as long as pytest's
    process asks for batches of calls, and the rest of the test's body is not run.
    """

    __slots__ = ("_nodeid", "_serve", "_serve_awaited", "_was_awaited", "awaited", "call_s", "run", "used", "why_not")

    def __init__(
        self,
        nodeid: str,
        serve: Callable[[Given], NoReturn] | None = None,
        serve_awaited: Callable[[Given], Awaitable[NoReturn]] | None = None,
        *,
        was_awaited: bool = False,
    ) -> None:
        """Make the value of the fixture for the test ``nodeid``.

        In a worker process, ``serve`` measures a plain call, and ``serve_awaited`` one that is awaited; elsewhere both
        are ``None``. ``was_awaited`` tells a worker process that the test awaited its call in pytest's own process: so
        the call is awaited even if a plain function returns the coroutine.
        """
        self._nodeid = nodeid
        self._serve = serve
        self._serve_awaited = serve_awaited
        self._was_awaited = was_awaited
        self.used = False
        self.awaited = False
        """Whether the call makes a coroutine, which the test awaits."""
        self.call_s: float | None = None
        """How long the call took, in seconds; ``None`` until the call has returned."""
        self.run: LaneReading | None = None
        """The clocks of the call; ``None`` until the call has returned."""
        self.why_not: str | None = "it asks for the gilprobe fixture but did not call it: nothing names the workload"
        """Why the call cannot be repeated; ``None`` if it can be repeated."""

    def __call__(self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``func(*args, **kwargs)`` and return its result; for a coroutine function, return a coroutine.

        The test must await that coroutine. It must also do so if ``func`` has an ``async def __call__``, or is a plain
        function that returns a coroutine.

        Raises `FixtureError` on a second use in one test, if ``func`` is not callable, and if ``func`` is a coroutine
        function but no event loop of asyncio or trio runs here.
        """
        __tracebackhide__ = True
        self._refuse(func)
        self.used = True
        if self._is_awaited(func):
            from pytest_gilprobe.workers.naming import Given  # noqa: PLC0415 - not every session needs it

            return self._awaited_later(Given(func=func, args=args, kwargs=kwargs))  # type: ignore[return-value]  # R is a coroutine
        if self._serve is not None:
            from pytest_gilprobe.workers.naming import Given  # noqa: PLC0415 - only workers need it

            self._serve(Given(func=func, args=args, kwargs=kwargs))
        return self._called(func, args, kwargs, repeatable.used_up(args, kwargs))

    def fresh(self, func: Callable[..., R], make: Callable[[], object]) -> R:
        """Call ``func`` with the arguments that ``make()`` returns, and return its result; only ``func`` is timed.

        If ``func`` is a coroutine function, the test must await what this method returns. ``make`` is then called in
        the same event loop, and is awaited if it is a coroutine function, too.

        For each further call ``make`` is called again, so ``func`` may change its arguments or use them up. ``make``
        returns a tuple of positional arguments; anything else counts as the only argument.

        Raises `FixtureError` on a second use in one test, and if ``func`` or ``make`` is not callable. Also raises it
        if ``func`` is a coroutine function but no event loop of asyncio or trio runs here, and if ``make`` is a
        coroutine function but ``func`` is not.
        """
        __tracebackhide__ = True
        self._refuse(func)
        from pytest_gilprobe.workers.naming import Given, arguments_made, unfit_maker  # noqa: PLC0415 - rarely needed

        if (unfit := unfit_maker(func, make)) is not None:
            msg = f"{self._nodeid}: gilprobe.fresh(func, make) found {unfit}"
            raise FixtureError(msg)
        self.used = True
        if self._is_awaited(func):
            return self._awaited_later(Given(func=func, make=make))  # type: ignore[return-value]  # as below
        args = arguments_made(make)
        if self._serve is not None:
            self._serve(Given(func=func, args=args, make=make))
        return self._called(func, args, {}, None)

    def _called(
        self, func: Callable[..., R], args: tuple[Any, ...], kwargs: Mapping[str, Any], why_not: str | None
    ) -> R:
        """Make the test's own call; ``why_not`` is why that call cannot be repeated."""
        __tracebackhide__ = True
        self.why_not = why_not
        from pytest_gilprobe.workers.normal_run import NormalRun  # noqa: PLC0415 - loaded by `provide`

        watched = NormalRun()
        started = clocks.perf_counter_ns()
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            self.why_not = f"its call raised {type(error).__name__}: a workload is a call that returns"
            raise
        finally:
            run = watched.end()
        self.run, self.call_s = run, (run.end_ns - started) / 1e9
        if inspect.iscoroutine(result) and event_loops.running() is not None:
            known, self.awaited, self.why_not = self.why_not, True, NOT_AWAITED
            return self._timed(lambda: result, known)  # type: ignore[return-value]  # R is a coroutine
        self.why_not = self.why_not or repeatable.unfinished(result)
        return result

    def _is_awaited(self, func: Callable[..., Any]) -> bool:
        return event_loops.is_awaited(func) or (self._was_awaited and event_loops.running() is not None)

    def _awaited_later(self, given: Given) -> Coroutine[Any, Any, Any]:
        self.awaited = True
        self.why_not = NOT_AWAITED
        return self._await(given)

    async def _await(self, given: Given) -> Any:
        __tracebackhide__ = True
        if given.make is not None:
            from pytest_gilprobe.workers.naming import with_arguments  # noqa: PLC0415 - rarely needed

            given = await with_arguments(given)
        if self._serve_awaited is not None:
            await self._serve_awaited(given)
        why_not = None if given.make is not None else repeatable.used_up(given.args, given.kwargs)
        return await self._timed(given.call, why_not)

    async def _timed(self, call: Callable[[], Awaitable[Any]], why_not: str | None) -> Any:
        """Await the test's own call; ``why_not`` is why that call cannot be repeated."""
        __tracebackhide__ = True
        from pytest_gilprobe.workers.normal_run import NormalRun  # noqa: PLC0415 - loaded by `provide`

        self.why_not = why_not
        watched = NormalRun()
        try:
            result = await call()
        except BaseException as error:
            self.why_not = f"its call raised {type(error).__name__}: a workload is a call that returns"
            raise
        finally:
            run = watched.end()
        self.run, self.call_s = run, (run.end_ns - run.start_ns) / 1e9
        self.why_not = self.why_not or repeatable.unfinished(result)
        return result

    def _refuse(self, func: object) -> None:
        __tracebackhide__ = True
        if self.used:
            found = "the gilprobe fixture was used a second time, allowed: one call; split the test"
        elif not callable(func):
            found = f"gilprobe(func, *args, **kwargs) found {func!r}, allowed: a callable; "
            found += "pass the function, not its result"
        elif event_loops.is_awaited(func) and event_loops.running() is None:
            found = f"gilprobe found the coroutine function {func!r} outside of an event loop: await gilprobe(...) in "
            found += "a coroutine test"
        else:
            return
        msg = f"{self._nodeid}: {found}"
        raise FixtureError(msg)


KEY = pytest.StashKey[Gilprobe]()
"""Key under which the stash of a test's item keeps the value of the `gilprobe` fixture."""


def provide(request: pytest.FixtureRequest) -> Gilprobe:
    """Make the value of the `gilprobe` fixture for the test that requests it, and keep it in the test's stash.

    This function also imports the modules that a call of the value needs: it runs in the test's set-up, so the time of
    the test's call does not include the imports.
    """
    import pytest_gilprobe.workers.normal_run  # noqa: F401, PLC0415 - sessions without this fixture stay light

    caller: Any = request.config.pluginmanager.get_plugin(CALLER)
    item: Any = request.node
    if caller is None:
        made = Gilprobe(item.nodeid)
    else:
        made = Gilprobe(
            item.nodeid,
            lambda given: caller.serve_given(item, given),
            lambda given: caller.serve_awaited(item, given),
            was_awaited=caller.awaited,
        )
    item.stash[KEY] = made
    return made


def asks_for(item: pytest.Item) -> bool:
    """Return whether a test requests the `gilprobe` fixture, directly or through another fixture."""
    return "gilprobe" in getattr(item, "fixturenames", ())


def of(item: pytest.Item) -> Gilprobe | None:
    """Return a test's value of the `gilprobe` fixture; ``None`` if the fixture was not set up for this test."""
    return item.stash.get(KEY, None)
