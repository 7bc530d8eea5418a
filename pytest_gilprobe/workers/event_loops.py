"""Find which event loop runs in this thread: that of asyncio, or of trio."""

from __future__ import annotations

import sys


def running() -> str | None:
    """Return ``asyncio`` or ``trio`` if such a loop runs in this thread; ``None`` if none does.

    A loop that runs has imported its library, so nothing is imported here.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented, for event loops
        return "asyncio"
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return "trio"
    return None
