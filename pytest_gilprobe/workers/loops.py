"""Coroutine tests in threads: an event loop for each thread, unless something is bound to the one loop there is."""

from __future__ import annotations

import asyncio
import inspect
import unittest
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    import pytest

    from pytest_gilprobe.workers.batch import Call

    Start = Callable[[], Coroutine[Any, Any, object]]


def opening(item: pytest.Function, start: Start) -> AbstractContextManager[Call]:
    """Return what gives a thread an event loop of its own for calls of ``start``.

    A test of anyio's gets a new loop of its back end for every call, as anyio's own runner does; any other keeps one
    `asyncio.Runner` for all calls of a batch, as pytest-asyncio and `unittest.IsolatedAsyncioTestCase` do.
    """
    if "anyio_backend" in item.fixturenames:
        return nullcontext(_anyio_call(item.funcargs["anyio_backend"], start))
    return _on_own_runner(start)


@contextmanager
def _on_own_runner(start: Start) -> Iterator[Call]:
    with asyncio.Runner() as runner:
        runner.get_loop()  # made here, not in the first timed call
        yield lambda: runner.run(start())


def _anyio_call(backend: Any, start: Start) -> Call:
    import anyio  # noqa: PLC0415 - there, since a test uses its fixture

    name, options = (backend, {}) if isinstance(backend, str) else backend
    return lambda: anyio.run(start, backend=name, backend_options=options)


def bound_to_one_loop(item: pytest.Function, *, is_coroutine: bool) -> str | None:
    """Say what ties a test to the event loop it was set up on, so that threads cannot have loops of their own.

    Else None.
    """
    if is_drawn_coroutine(item):
        return "it is a coroutine that Hypothesis calls: all threads would share one event loop"
    if not is_coroutine:
        return None
    found = _async_fixtures(item)
    if found:
        return f"its async fixtures ({', '.join(found)}) belong to one event loop, and each thread needs its own"
    case = item.instance
    base = unittest.IsolatedAsyncioTestCase
    if isinstance(case, base) and (
        type(case).asyncSetUp is not base.asyncSetUp or type(case).asyncTearDown is not base.asyncTearDown
    ):
        return "its asyncSetUp or asyncTearDown belongs to one event loop, and each thread needs its own"
    if (
        not isinstance(case, base)
        and "anyio_backend" not in item.fixturenames
        and item.get_closest_marker("asyncio") is None
    ):
        return "it is a coroutine that a plugin runs which is neither pytest-asyncio nor anyio"
    return None


def is_drawn_coroutine(item: pytest.Function) -> bool:
    """Tell whether this is a coroutine that Hypothesis calls; a plugin may have put a plain function around it."""
    inner: Any = getattr(getattr(item.obj, "hypothesis", None), "inner_test", None)
    original = getattr(inner, "_anyio_original_func", inner)  # anyio's mark on what it put there
    return original is not None and inspect.iscoroutinefunction(inspect.unwrap(original))


def _async_fixtures(item: pytest.Function) -> list[str]:
    """Name the async fixtures that a test uses, itself or through others.

    Private access: ``_fixtureinfo``; that a fixture function is a coroutine no public name tells.
    """
    definitions = item._fixtureinfo.name2fixturedefs  # noqa: SLF001 - see above
    return sorted(
        name for name in item.fixturenames if any(_is_async(one.func) for one in definitions.get(name, ())[-1:])
    )


def _is_async(function: Callable[..., Any]) -> bool:
    original = inspect.unwrap(function)
    return inspect.iscoroutinefunction(original) or inspect.isasyncgenfunction(original)
