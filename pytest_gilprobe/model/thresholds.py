"""The limits that separate the words of a verdict (``io``, ``cpu``, ``held`` ...), for probes and for scans."""

from __future__ import annotations

from typing import Final

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.words import Bound, Gil

IO_BELOW: Final = 0.35
"""CPU utilization below which a call is ``io``-bound: one core can serve almost three such calls (1 / 0.35)."""
CPU_ABOVE: Final = 0.80
"""CPU utilization above which a call is ``cpu``-bound: overlapping its waits on one core gives at most 1.25x (1 / 0.8),
which is not worth the effort."""
HELD_ABOVE: Final = 0.80
"""GIL-held share of CPU time above which the GIL counts as ``held``: threads cannot exceed a speed-up of 1.25x."""
RELEASED_BELOW: Final = 0.20
"""GIL-held share of CPU time below which the GIL counts as ``released``: threads can reach a speed-up of 5x."""
HARDLY_HELD: Final = 1e-6
"""Share of the time (from 0 to 1). If the GIL is held, or an event loop blocked, for a smaller share, no upper limit of
the speed-up is derived: it would be 1 / share, too high to matter."""
WORTH_IT: Final = 1.3
"""Smallest speed-up, predicted for calls in an executor, that is worth the executor's complexity. If no strategy
reaches it, ``serial`` is advised."""
CLOSE: Final = 1.15
"""Two strategies count as close if the faster one is at most this many times as fast as the slower one. Of all that are
close to the fastest strategy, the one with the least overhead is advised (threads before processes)."""
EXTRA_CORES: Final = 0.2
"""A serial call counts as parallel inside (threads of its own compute) if it keeps more than this number of cores busy
beyond the first. Smaller numbers may be errors of clocks."""
THROTTLED: Final = 0.02
"""If a CPU quota holds threads back for at least this share (from 0 to 1) of the measured time, the measurement counts
as disturbed: speed-ups of calls that compute may be higher without the quota."""


def bound_at(utilization: float) -> Bound:
    """Return what limits a call: ``io`` (it waits), ``cpu`` (it computes) or ``mixed``.

    ``utilization`` is its CPU time / wall time, without waits for a CPU: 1 if it only computes.
    """
    if utilization < IO_BELOW:
        return Bound.IO
    return Bound.CPU if utilization > CPU_ABOVE else Bound.MIXED


def gil_at(held: Estimate | None, utilization: float) -> Gil:
    """Return whether calls hold the GIL: ``held``, ``released``, ``partial`` (some of each) or ``unknown``.

    ``held`` is the share of all time for which the GIL is held, ``utilization`` the calls' CPU utilization. What
    decides is the held time as a share of CPU time, or of all time if calls are ``io``-bound. The result is ``unknown``
    if ``held`` is ``None``, or if its confidence interval allows both ``released`` and ``held``.
    """
    if held is None or {Gil.RELEASED, Gil.HELD} <= set(gil_words(held, utilization, utilization)):
        return Gil.UNKNOWN
    return _word(held.value / _base(utilization))


def gil_words(held: Estimate, used_low: float, used_high: float) -> tuple[Gil, ...]:
    """Return those of ``released``, ``partial`` and ``held`` that uncertain measurements allow, in this order.

    ``held`` estimates the share of all time for which the GIL is held. The calls' CPU utilization (CPU time / wall
    time) lies between ``used_low`` and ``used_high``. If the utilization is below `IO_BELOW`, the word depends on
    ``held`` alone; otherwise on ``held`` / utilization. The result has the words for all values that are possible.
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
    """Return the word for one share, of which 1 is the whole: clocks that disagree may give more."""
    if share > HELD_ABOVE:
        return Gil.HELD
    return Gil.RELEASED if share < RELEASED_BELOW else Gil.PARTIAL
