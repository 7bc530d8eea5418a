"""Run coroutine tests in threads with an event loop for each thread, unless a part of the test belongs to one loop."""

from __future__ import annotations

import asyncio
import inspect
import unittest
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    import pytest

    from pytest_gilprobe.workers.child.batch import LaneContext
    from pytest_gilprobe.workers.child.calls import Call

    Start = Callable[[], Coroutine[Any, Any, object]]


def lane(item: pytest.Function, start: Start, library: str | None) -> LaneContext:
    """Return a context manager that gives a thread its own event loop, and yields a call that awaits ``start()`` there.

    ``start()`` returns a coroutine. ``library`` is the library of the test's own event loop; ``None`` if unknown. A
    test that uses anyio's fixture ``anyio_backend`` gets a new loop of its back end for every call, as in anyio itself.
    If ``library`` is ``trio``, every call gets a new loop of trio. Any other test keeps one `asyncio.Runner` for all
    calls of a batch (calls timed together), as in pytest-asyncio and `unittest.IsolatedAsyncioTestCase`.
    """
    if "anyio_backend" in item.fixturenames:
        return nullcontext(_anyio_call(item.funcargs["anyio_backend"], start))
    if library == "trio":
        return nullcontext(_trio_call(start))
    return _on_own_runner(start)


@contextmanager
def _on_own_runner(start: Start) -> Iterator[Call]:
    with asyncio.Runner() as runner:
        runner.get_loop()  # created here, not in the first timed call
        yield lambda: runner.run(start())


def _anyio_call(backend: Any, start: Start) -> Call:
    import anyio  # noqa: PLC0415 - installed, since the test uses its fixture

    name, options = (backend, {}) if isinstance(backend, str) else backend
    return lambda: anyio.run(start, backend=name, backend_options=options)


def _trio_call(start: Start) -> Call:
    import trio  # noqa: PLC0415 - installed, since it runs the test

    return lambda: trio.run(start)


def bound_to_one_loop(item: pytest.Function, *, is_coroutine: bool) -> str | None:
    """Return why a coroutine test cannot run in several threads with an event loop each; ``None`` if it can.

    ``is_coroutine`` is whether the test is a coroutine; if not, the result is ``None``, unless Hypothesis calls a
    coroutine in it.
    """
    if is_drawn_coroutine(item):
        return "it is a coroutine that Hypothesis calls: all threads would share one event loop"
    if not is_coroutine:
        return None
    found = _async_fixtures(item)
    if found:
        return f"its async fixtures ({', '.join(found)}) belong to one event loop, and each thread needs its own"
    case, base = item.instance, unittest.IsolatedAsyncioTestCase
    if isinstance(case, base):
        plain = type(case).asyncSetUp is base.asyncSetUp and type(case).asyncTearDown is base.asyncTearDown
        return (
            None
            if plain
            else "its asyncSetUp or asyncTearDown belongs to one event loop, and each thread needs its own"
        )
    known = "anyio_backend" in item.fixturenames or item.get_closest_marker("asyncio") is not None
    return None if known else "it is a coroutine run by a plugin other than pytest-asyncio and anyio"


def is_drawn_coroutine(item: pytest.Function) -> bool:
    """Return whether the test is a coroutine function, perhaps wrapped, that Hypothesis calls with drawn arguments."""
    inner: Any = getattr(getattr(item.obj, "hypothesis", None), "inner_test", None)
    original = getattr(inner, "_anyio_original_func", inner)  # set by anyio on its wrapper
    return original is not None and inspect.iscoroutinefunction(inspect.unwrap(original))


def is_coroutine_test(item: pytest.Function) -> bool:
    """Return whether the test's function is a coroutine function, perhaps wrapped by a plugin in a plain one."""
    return inspect.iscoroutinefunction(inspect.unwrap(item.obj))


def _async_fixtures(item: pytest.Function) -> list[str]:
    """Return the names of the async fixtures that a test uses, directly or through other fixtures.

    Private access: ``_fixtureinfo``, as there is no public name for a fixture's function.
    """
    definitions = item._fixtureinfo.name2fixturedefs  # noqa: SLF001 - see above
    return sorted(
        name for name in item.fixturenames if any(_is_async(one.func) for one in definitions.get(name, ())[-1:])
    )


def _is_async(function: Callable[..., Any]) -> bool:
    original = inspect.unwrap(function)
    return inspect.iscoroutinefunction(original) or inspect.isasyncgenfunction(original)
