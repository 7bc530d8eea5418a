"""Where one word of a verdict ends and the next begins, for probes and scans alike."""

from __future__ import annotations

from typing import Final

from pytest_gilprobe.model import Bound, Estimate, Gil

IO_BELOW: Final = 0.35
"""CPU utilization under which a call mostly waits: one core can serve nearly three such calls at a time (1 / 0.35)."""
CPU_ABOVE: Final = 0.80
"""CPU utilization over which a call mostly computes: on one core, overlapping its waits gains 1.25x at most (1 / 0.8),
which is not worth it."""
HELD_ABOVE: Final = 0.80
"""GIL-held share of on-CPU time over which the GIL counts as held: threads cannot pass 1.25x."""
RELEASED_BELOW: Final = 0.20
"""GIL-held share under which it counts as released: it allows 5x."""
WORTH_IT: Final = 1.3
"""A pool must promise this speed-up before it is worth its complexity: by convention, clear of what noise shows."""
NATIVE_BUSY: Final = 0.2
"""Cores used beyond the first from which a call is *already parallel inside*: a fifth of a core is no clock's error."""


def bound_at(utilization: float) -> Bound:
    """Tell waiting from computing at one CPU utilization."""
    if utilization < IO_BELOW:
        return Bound.IO
    return Bound.CPU if utilization > CPU_ABOVE else Bound.MIXED


def gil_at(held: Estimate | None, utilization: float) -> Gil:
    """Tell the GIL's part: its held share of on-CPU time, or of all time for a call that mostly waits.

    A share whose interval reaches from *released* to *held* is unknown, and so is None.
    """
    if held is None:
        return Gil.UNKNOWN
    base = 1.0 if utilization < IO_BELOW else utilization
    low, value, high = (min(1.0, share / base) for share in (held.low, held.value, held.high))
    if low < RELEASED_BELOW and high > HELD_ABOVE:
        return Gil.UNKNOWN
    if value > HELD_ABOVE:
        return Gil.HELD
    return Gil.RELEASED if value < RELEASED_BELOW else Gil.PARTIAL
