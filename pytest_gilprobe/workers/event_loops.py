"""Tell which event loop runs in this thread, asyncio's or trio's, and whether the calls of a function are awaited."""

from __future__ import annotations

import inspect
import sys
from functools import partial
from typing import Any


def running() -> str | None:
    """Return ``asyncio`` or ``trio`` if an event loop of that library runs in this thread; ``None`` if none does.

    A loop that runs has imported its library, so nothing is imported here.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented, for event loops
        return "asyncio"
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return "trio"
    return None


def is_awaited(func: Any) -> bool:
    """Return whether calls of ``func`` are awaited: it is a coroutine function, or has an ``async def __call__``.

    A `functools.partial` counts as the function inside it. A plain function that returns a coroutine is not recognized.
    """
    while isinstance(func, partial):
        func = func.func
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(getattr(type(func), "__call__", None))  # noqa: B004 - its kind is asked for
