"""Wait for a short time, or until a file descriptor can be read."""

from __future__ import annotations

import select
from typing import Final

from pytest_gilprobe.observe import clocks

_SELECTABLE: Final = 1024
"""`select` refuses descriptors from ``FD_SETSIZE`` on; `poll` takes them, but pauses in whole milliseconds."""

_POLLED_S: Final = 0.001


def readable(fd: int, pause_s: float) -> bool:
    """Wait until ``fd`` can be read, but at most ``pause_s`` seconds; return whether ``fd`` can be read.

    The wait is exact to microseconds. A descriptor too high for `select` is checked once a millisecond.
    """
    if fd < _SELECTABLE:
        return bool(select.select([fd], (), (), pause_s)[0])
    asked = select.poll()
    asked.register(fd, select.POLLIN)
    while pause_s > _POLLED_S:
        if asked.poll(1):
            return True
        pause_s -= _POLLED_S
    clocks.sleep(pause_s)
    return bool(asked.poll(0))
