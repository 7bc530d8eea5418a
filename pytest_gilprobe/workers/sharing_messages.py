"""Messages that ask a worker process to time threads that share objects, and threads with copies of the objects."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.holders import HeldStack
from pytest_gilprobe.model.sharing import SharingReading


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSharing:
    """Asks a worker process to time a test's call in threads that share objects, and in threads with copies.

    The test is set up already. There are ``lanes`` threads, and the objects are what the call uses, such as its
    arguments. The timings are repeated in rounds, for ``most_s`` seconds at most: a round that would end later is not
    begun. For each timing, a thread makes at most ``calls`` calls. Each round also times the control, plain Python that
    shares nothing, with ``control_calls`` calls for each thread; 0 leaves the control out. ``held`` are stacks in which
    the GIL was held: their functions are searched, too, for shared objects that may slow threads down.
    """

    lanes: int
    calls: int
    most_s: float
    control_calls: int = 0
    held: tuple[HeldStack, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingSwept:
    """The answer to `SweepSharing`: ``reading`` has the times of the calls with shared objects and with copies."""

    reading: SharingReading
