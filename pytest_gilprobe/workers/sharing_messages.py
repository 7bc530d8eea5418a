"""Messages that have a worker process time threads that share objects or do not; see `workers.protocol`."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.holders import HeldStack
from pytest_gilprobe.model.sharing import SharingReading


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSharing:
    """Time the open test's call in ``lanes`` threads that share its objects, and in threads with copies of their own.

    The timings are repeated in rounds, for ``most_s`` seconds at most: a round that would end later is not begun. For
    each timing, a thread makes at most ``calls`` calls. Each round also times the control, plain Python that shares
    nothing, with ``control_calls`` calls for each thread; 0 leaves the control out. ``held`` are stacks in which the
    GIL was held: their functions are searched, too, for shared objects that may slow threads down (suspects).
    """

    lanes: int
    calls: int
    most_s: float
    control_calls: int = 0
    held: tuple[HeldStack, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingSwept:
    """The answer to `SweepSharing`: ``reading`` has the timings."""

    reading: SharingReading
