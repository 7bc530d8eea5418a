"""Estimate which objects cost threads speed by being shared, from timings of threads with copies of their own."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from pytest_gilprobe.model.sharing import ALL, ALONE, CONTROL, CONTROL_ALONE, SHARED, OwnCopy, Sharing
from pytest_gilprobe.stats import estimates, rounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.readings import Round
    from pytest_gilprobe.model.sharing import SharingReading

SHORT = 0.75
"""Threads fall short if they reach less than this share of the speed-up that CPUs and GIL allow. Their calls are then
timed again with a copy of an object for each thread, to find the objects whose sharing costs speed."""
WORTH_ASKING = 1.3
"""Threads count as falling short only if CPUs and GIL allow a speed-up of at least this. A smaller speed-up would not
make threads worth it in any case."""
COSTS = 1.2
"""Sharing an object is costly only if threads with copies are this many times as fast as threads that share it."""
COSTS_SURELY = 1.1
"""Copies of an object make threads faster by some factor. The sharing of the object counts as costly only if the low
end of that factor's interval is at least this. Copies of objects whose sharing costs nothing give a factor of 0.88
to 1.05. *Source:* ``benchmarks/sharing.py``, CPython 3.13t."""
FEWEST_ROUNDS = 4
"""Fewest rounds of timings, with shared objects and with copies, from which it is judged which sharing costs speed."""
NOISE = 0.05
"""Standard deviation that is assumed, before measuring, for the logarithm of the ratio of two times per call that were
measured one soon after the other, such as with shared objects and with copies."""


def falls_short(seen: Sequence[Round], name: str, lanes: int, cpus: int, *, gil_on: bool) -> bool:
    """Return whether threads reach less than 75 % (`SHORT`) of the speed-up that CPUs and GIL allow.

    ``seen`` has the rounds (a round is one batch of each strategy), ``name`` is the strategy, ``lanes`` is its number
    of threads. Waits for a CPU are taken out. The allowed speed-up is the number of cores that may compute at a time,
    divided by a call's CPU utilization, at most ``lanes``. With the GIL on, that number is 1, since calls may hold the
    GIL for all of their CPU time; with the GIL off, it is ``cpus``. The result is false if less than 1.3
    (`WORTH_ASKING`) is allowed.
    """
    both = [(one.serial, one.batches[name]) for one in seen if name in one.batches]
    if not both:
        return False
    used = max(0.001, median(rounds.cpu_utilization(serial) for serial, _ in both))
    allowed = min(float(lanes), (1 if gil_on else cpus) / used)
    gain = median(
        rounds.s_per_call(serial, less_queue=True) / rounds.s_per_call(together, less_queue=True)
        for serial, together in both
    )
    return allowed >= WORTH_ASKING and gain < SHORT * allowed


def estimated(reading: SharingReading) -> Sharing:
    """Estimate how much faster threads are with copies of the objects that they share, and which sharing costs speed.

    ``reading`` has rounds of timings: threads that share all objects, and threads with copies. Fewer than 4 rounds
    (`FEWEST_ROUNDS`) give no estimate. The sharing of an object counts as costly if copies of it make threads 1.2 times
    (`COSTS`) as fast, and 1.1 times (`COSTS_SURELY`) at the low end of the interval. If only copies of all objects
    together do so, `ALL` is named as costly. There is one exception: if copies of one object give a factor of 1.2, and
    all others were tried and give less than 1.1, only that object is named.
    """
    known = Sharing(
        lanes=reading.lanes,
        not_copied=reading.not_copied,
        not_tried=reading.not_tried,
        suspects=reading.suspects,
    )
    if len(reading.rounds) < FEWEST_ROUNDS:
        return known
    names = [name for name in reading.rounds[0] if name not in {ALONE, SHARED, CONTROL, CONTROL_ALONE}]
    copies = sorted((_own_copy(reading, name) for name in names), key=lambda one: -one.gain.value)
    costly = _costly(copies, all_tried=not reading.not_tried)
    return replace(
        known,
        rounds=len(reading.rounds),
        speedup=_speedup(reading, SHARED),
        copies=tuple(copies),
        best=_speedup(reading, CONTROL, CONTROL_ALONE) if CONTROL in reading.rounds[0] else None,
        of_best=_of_best(reading, ALL if ALL in names else SHARED) if CONTROL in reading.rounds[0] else None,
        costly=tuple(name for name in costly if name != ALL or len(costly) == 1),
    )


def _costly(copies: Sequence[OwnCopy], *, all_tried: bool) -> list[str]:
    """Return the names of what costs speed for certain.

    If only all objects together do, it is the one that gains alone, where each other one was tried and gains little.
    """
    clear = [one.name for one in copies if one.gain.value >= COSTS and one.gain.low >= COSTS_SURELY]
    single = [one for one in copies if one.name != ALL]
    others_little = all_tried and all(one.gain.value < COSTS_SURELY for one in single[1:])
    is_one = clear == [ALL] and single[0].gain.value >= COSTS and others_little
    return [single[0].name] if is_one else clear


def _own_copy(reading: SharingReading, name: str) -> OwnCopy:
    gain = estimates.positive_centre([one[SHARED] / one[name] for one in reading.rounds], NOISE)
    return OwnCopy(name=name, speedup=_speedup(reading, name), gain=gain)


def _speedup(reading: SharingReading, name: str, alone: str = ALONE) -> Estimate:
    return estimates.positive_centre([reading.lanes * one[alone] / one[name] for one in reading.rounds], NOISE)


def _of_best(reading: SharingReading, name: str) -> Estimate:
    """Estimate the speed-up of one kind of lanes as a share of the control's: a quotient of two quotients."""
    shares = [one[ALONE] / one[name] * one[CONTROL] / one[CONTROL_ALONE] for one in reading.rounds]
    return estimates.positive_centre(shares, NOISE * math.sqrt(2))
