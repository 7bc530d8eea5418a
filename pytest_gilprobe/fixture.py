"""The `gilprobe` fixture: names one call of a test as the workload, in pytest's own process and in a worker."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import pytest

from pytest_gilprobe import host, repeatable
from pytest_gilprobe.model import GilprobeError

if TYPE_CHECKING:
    from pytest_gilprobe.workers.naming import Given

P = ParamSpec("P")
R = TypeVar("R")
CALLER = "gilprobe-caller"
"""Name of the plugin that takes the place of a test's call, registered in workers only."""


class FixtureError(GilprobeError):
    """The fixture was used in a way that names no workload."""


class Served(BaseException):
    """Leaves a test's body in a worker once its workload was measured: the rest has passed in pytest's own process.

    Not an `Exception`, so that no ``except Exception`` of the test stops it.
    """


class Gilprobe:
    """Calls a function once and returns its result; that call is the workload.

    In pytest's own process that is all. In a worker the function with its arguments is repeated as long as the
    parent asks for batches, and the rest of the test's body is not run.
    """

    __slots__ = ("_nodeid", "_serve", "call_s", "used", "why_not")

    def __init__(self, nodeid: str, serve: Callable[[Given], NoReturn] | None = None) -> None:
        """Belong to one test; ``serve`` is set in a worker."""
        self._nodeid = nodeid
        self._serve = serve
        self.used = False
        self.call_s: float | None = None
        """How long the call took here, in seconds; None before it has returned."""
        self.why_not: str | None = "it asks for the gilprobe fixture but did not call it: nothing names the workload"
        """Why the call cannot be repeated; None if nothing is known against it."""

    def __call__(self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``func(*args, **kwargs)`` and return its result.

        Raises `FixtureError` on a second use in one test, and for what is not a plain callable.
        """
        __tracebackhide__ = True
        self._refuse(func)
        self.used = True
        if self._serve is not None:
            from pytest_gilprobe.workers.naming import Given  # noqa: PLC0415 - only workers need it

            self._serve(Given(func=func, args=args, kwargs=kwargs))
        self.why_not = repeatable.used_up(args, kwargs)
        started = host.perf_counter_ns()
        try:
            result = func(*args, **kwargs)
        except BaseException as error:
            self.why_not = f"its call raised {type(error).__name__}: a workload is a call that returns"
            raise
        self.call_s = (host.perf_counter_ns() - started) / 1e9
        self.why_not = self.why_not or repeatable.unfinished(result)
        return result

    def _refuse(self, func: object) -> None:
        __tracebackhide__ = True
        if self.used:
            msg = f"{self._nodeid}: the gilprobe fixture was used a second time, allowed: one call; split the test"
            raise FixtureError(msg)
        if not callable(func):
            msg = f"{self._nodeid}: gilprobe(func, *args, **kwargs) found {func!r}, allowed: something to call; "
            msg += "pass the function, not its result"
            raise FixtureError(msg)
        if inspect.iscoroutinefunction(func):
            msg = f"{self._nodeid}: gilprobe found the coroutine function {func!r}; wrap it in asyncio.run"
            raise FixtureError(msg)


KEY = pytest.StashKey[Gilprobe]()
"""Where a test's item keeps the fixture's value."""


def provide(request: pytest.FixtureRequest) -> Gilprobe:
    """Make the fixture's value for one test."""
    caller: Any = request.config.pluginmanager.get_plugin(CALLER)
    item: Any = request.node
    serve = None if caller is None else lambda given: caller.serve_given(item, given)
    item.stash[KEY] = made = Gilprobe(item.nodeid, serve)
    return made


def asks_for(item: pytest.Item) -> bool:
    """Tell whether a test asks for the fixture, itself or through another fixture."""
    return "gilprobe" in getattr(item, "fixturenames", ())


def of(item: pytest.Item) -> Gilprobe | None:
    """Return the fixture's value of a test that has asked for it."""
    return item.stash.get(KEY, None)
