"""Tell why a call cannot be repeated: it uses up an argument, just makes a coroutine, or uses a one-time fixture."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.workers import event_loops

if TYPE_CHECKING:
    import pytest

ONE_CALL_ONLY = {
    "benchmark": "pytest-benchmark's fixture `benchmark` can be used once only, and repeats the code itself"
}
"""Fixtures that make it impossible to repeat a test that uses them, each with the reason."""
_ENDLESS = (itertools.count, itertools.cycle, itertools.repeat)
_LAZY = (
    (inspect.iscoroutine, "a coroutine, and runs none of it: "),
    (inspect.isasyncgen, "an asynchronous generator, and runs none of it: read it in a function of your own"),
    (inspect.isgenerator, "a generator, and runs none of it: wrap it in a function that reads it to its end"),
)
_OUTSIDE = "wrap it in asyncio.run"
_IN_LOOP = "await it in a coroutine function (async def), and probe that"
"""What to do with a coroutine where an event loop runs, in which `asyncio.run` fails."""


def used_up(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """Describe the first argument that one call uses up, such as a generator; return ``None`` without such an argument.

    Only finite iterators of built-in types and of `itertools` count. Anything else may be usable again: the function
    may rewind a file, for example.
    """
    numbered = [(f"argument {at}", value) for at, value in enumerate(args, 1)]
    for name, value in (*numbered, *((f"argument {name!r}", value) for name, value in kwargs.items())):
        known = type(value).__module__ in {"builtins", "itertools"} and isinstance(value, Iterator)
        if known and not isinstance(value, _ENDLESS):
            return (
                f"its {name} is a {type(value).__name__}, which the first call uses up, so there is nothing to repeat: "
                "give it a list, or make it inside the function"
            )
    return None


def unfinished(result: object) -> str | None:
    """Return what to say of a ``result`` that has not run yet (coroutine, generator); ``None`` for others."""
    lazy = next((text for is_lazy, text in _LAZY if is_lazy(result)), None)
    if lazy is None:
        return None
    remedy = "" if not inspect.iscoroutine(result) else _IN_LOOP if event_loops.running() else _OUTSIDE
    return f"its call just makes {lazy}{remedy}"


def cannot_repeat(item: pytest.Item) -> str | None:
    """Return the reason why a test that passed cannot be called repeatedly, or None if no reason is known."""
    names = getattr(item, "fixturenames", ())
    return next((why for name, why in ONE_CALL_ONLY.items() if name in names), None)
