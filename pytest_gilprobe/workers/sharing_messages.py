"""The question that asks a worker process what threads share, and its answer; see `workers.protocol`."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.holders import HeldStack
from pytest_gilprobe.model.sharing import SharingReading


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSharing:
    """Time the open test's call in ``lanes`` threads that share its objects, and in threads with copies of their own.

    A batch has at most ``calls`` calls for each thread. No round is begun that would not end within ``most_s`` seconds.
    Each round also times the control, plain Python that shares nothing, with ``control_calls`` calls for each thread;
    0 leaves it out. ``held`` are the stacks that held the GIL: in their functions suspects are looked for, too.
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
