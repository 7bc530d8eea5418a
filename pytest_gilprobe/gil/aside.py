"""Keep a measuring thread off the core of the thread that it measures.

A watcher that shares a core with what it watches runs when that sleeps, and so sees too little of the rest. Moving the
watched thread would disturb it; the watching one can go elsewhere. Affinity on Linux belongs to a single thread, so
nothing else of the process moves.
"""

from __future__ import annotations

import os
from typing import Final

STAT_BYTES: Final = 512
"""Enough of ``/proc/PID/task/TID/stat`` for both fields: the name has at most 64 bytes, a number at most 20."""

_STATE_FIELD: Final = 0
_CORE_FIELD: Final = 36
"""`state` and `processor` in proc(5), counted from the field after the name."""

_RUNNABLE: Final = b"R"


def read_run_queue_ns(schedstat: bytes) -> int | None:
    """Read how long a thread has queued for a core, as `pytest_gilprobe.host.run_delay_ns` does; None where untold."""
    fields = schedstat.split()
    return int(fields[1]) if len(fields) > 2 and fields[2] != b"0" else None  # noqa: PLR2004 - running, queueing, runs


def read_stat(stat: bytes) -> tuple[bool | None, int | None]:
    """Read from ``/proc/PID/task/TID/stat`` whether the thread wants a core, and which one it last ran on.

    The name, in parentheses, may hold anything, parentheses and spaces too. Text that ends before the core, as that
    of a thread that is gone, gives ``None`` twice.
    """
    fields = stat[stat.rfind(b")") + 1 :].split()
    if len(fields) <= _CORE_FIELD:
        return None, None
    return fields[_STATE_FIELD] == _RUNNABLE, int(fields[_CORE_FIELD])


class Aside:
    """The calling thread's way around another thread's core; call it from that thread only."""

    def __init__(self) -> None:
        """Note where the thread may run; nothing is changed yet."""
        self._allowed = self._own = _affinity()

    def leave(self, core: int | None) -> bool | None:
        """Leave ``core``, if this thread may run there and there is another.

        Returns:
            Whether it may have run there until now; ``None`` where the core is ``None`` or the system does not tell.

        """
        if core is None or not self._own:
            return None
        if core not in self._own:
            return False
        others = self._allowed - {core}
        if others and _set_affinity(others):
            self._own = others
        return True

    def come_back(self) -> None:
        """Let the thread run wherever it might at first."""
        if self._own != self._allowed:
            _set_affinity(self._allowed)
            self._own = self._allowed


def _affinity() -> frozenset[int]:
    """Tell which cores the calling thread may run on; none, where the system does not tell."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return frozenset()


def _set_affinity(cores: frozenset[int]) -> bool:
    """Let the calling thread, and no other, run on ``cores`` only; tell whether the system did so."""
    try:
        os.sched_setaffinity(0, cores)
    except OSError:
        return False
    return True
