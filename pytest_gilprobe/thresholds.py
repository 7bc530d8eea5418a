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

THROTTLED: Final = 0.02
"""Share of its rounds' time under a CPU quota's brake from which a probe counts as held back: were it all in the
batches of one strategy, about a fifth of that time, those would read 10 % too slow."""


def bound_at(utilization: float) -> Bound:
    """Tell waiting from computing at one CPU utilization."""
    if utilization < IO_BELOW:
        return Bound.IO
    return Bound.CPU if utilization > CPU_ABOVE else Bound.MIXED


def gil_at(held: Estimate | None, utilization: float) -> Gil:
    """Tell the GIL's part: its held share of on-CPU time, or of all time for a call that mostly waits.

    A share whose interval reaches from *released* to *held* is unknown, and so is None. One whose interval reaches
    across a single limit has the word of its value; `gil_words` tells that it may be another.
    """
    if held is None or {Gil.RELEASED, Gil.HELD} <= set(gil_words(held, utilization, utilization)):
        return Gil.UNKNOWN
    return _word(held.value / _base(utilization))


def gil_words(held: Estimate, used_low: float, used_high: float) -> tuple[Gil, ...]:
    """List the words that a held share may have, at a CPU utilization from ``used_low`` to ``used_high``.

    The share of all time and that of on-CPU time differ most just above `IO_BELOW`, where the one gives way to the
    other: a utilization on both sides of it allows both.
    """
    bases = {_base(used_low), _base(used_high)}
    if used_low < IO_BELOW <= used_high:
        bases.add(IO_BELOW)
    least, most = _word(held.low / max(bases)), _word(held.high / min(bases))
    order = (Gil.RELEASED, Gil.PARTIAL, Gil.HELD)
    return order[order.index(least) : order.index(most) + 1]


def _base(utilization: float) -> float:
    return 1.0 if utilization < IO_BELOW else utilization


def _word(share: float) -> Gil:
    """Give the word for one share, of which 1 is the whole: clocks that disagree may give more."""
    if share > HELD_ABOVE:
        return Gil.HELD
    return Gil.RELEASED if share < RELEASED_BELOW else Gil.PARTIAL
