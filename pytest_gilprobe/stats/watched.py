"""What the watched batches of a probe tell of the GIL: for how much of their time it was held, and what follows."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from pytest_gilprobe.model import Estimate, GilMethod
from pytest_gilprobe.stats import held, rounds
from pytest_gilprobe.stats.queueing import unqueued

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model import Sample
    from pytest_gilprobe.stats.queueing import Unqueued

PUSHED_OFF_HOLDING = 0.5
"""A thread that is pushed off its core holds the GIL at least so many times as often as while it runs. It would be as
often, if it were pushed off at any moment alike: so it is where nothing but the clock's tick pushes it off."""


def held_fraction(samples: Sequence[Sample]) -> Estimate | None:
    """Estimate the GIL-held share of the samples' time from their traces; None where nothing could be seen."""
    windows = []
    for sample in samples:
        if sample.trace is not None:
            threads = [thread for reading in sample.readings for thread in reading.threads]
            start, end = min(thread.start_ns for thread in threads), max(thread.end_ns for thread in threads)
            windows.append((sample.trace, start, end))
    return held.pool(windows)


def while_running(fraction: Estimate | None, samples: Sequence[Sample]) -> Estimate | None:
    """Estimate the held share of the time for which a call was not queueing, on a busy machine.

    A thread that is pushed off its core while it holds the GIL goes on holding it, which on an idle machine it would
    not. Where looks show when it queued and what it did with the GIL then, that is taken off; else there are bounds, as
    there are where that leaves less open. At the least, all queueing
    was with the GIL: a thread is often pushed off as it comes out of the kernel, and calls that ask it for something
    with the GIL held queue with it. At the most, a thread that woke up into the queue had not got it, and one that was
    pushed off had it half as often as while it ran (`PUSHED_OFF_HOLDING`). On a quiet machine the share is what was
    seen.
    """
    queued = min(rounds.queue_share(samples) or 0.0, 0.99)
    if fraction is None or queued <= rounds.QUIET:
        return fraction
    limits = bounded(fraction, queued, rounds.woken_share(samples))
    found = less_queueing(_unqueued(samples))
    return limits if found is None or limits.high - limits.low < found.high - found.low else found


def less_queueing(apart: Sequence[Unqueued]) -> Estimate | None:
    """Estimate the held share of the time without queueing from batches of which that was cut out.

    What is left of a batch holds the edges of its stretches in the queue; those with the GIL are taken off. Of what
    nobody saw, all was with the GIL or none of it.
    """
    seen = held.pool([(one.trace, one.start_ns, one.end_ns) for one in apart])
    running_ns = sum(one.running_ns for one in apart)
    if seen is None or running_ns <= 0:
        return None
    left_ns = sum(one.end_ns - one.start_ns for one in apart)
    edges_ns, unknown_ns = sum(one.edges_held_ns for one in apart), sum(one.unknown_ns for one in apart)
    known_ns = sum(one.queued_ns - one.unknown_ns for one in apart)
    likely = sum(one.held_ns for one in apart) / known_ns if known_ns else 0.5
    value, low, high = (
        min(1.0, max(0.0, (share * left_ns - edges_ns - unknown_held_ns) / running_ns))
        for share, unknown_held_ns in (
            (seen.value, likely * unknown_ns),
            (seen.low, unknown_ns),
            (seen.high, 0.0),
        )
    )
    return replace(seen, value=value, low=low, high=high)


def bounded(fraction: Estimate, queued: float, woken: float = 1.0) -> Estimate:
    """Bound the held share of the time without queueing by that of all of it, where a call queued for a share of that.

    ``woken`` is the largest share of the queueing that began when the thread woke up. See `while_running`.
    """
    running, pushed = 1 - queued, queued * (1 - woken)
    low = max(0.0, (fraction.low - queued) / running)
    high = min(1.0, fraction.high / (running + PUSHED_OFF_HOLDING * pushed))
    return replace(fraction, low=low, high=high, value=min(max(fraction.value, low), high))


def in_queue(samples: Sequence[Sample]) -> float:
    """Return the share of its holding for which a call queued: as its looks show, else the most that it may be."""
    queued = rounds.queue_share(samples) or 0.0
    apart = _unqueued(samples)
    known_ns = sum(one.queued_ns - one.unknown_ns for one in apart)
    running = less_queueing(apart) if known_ns > sum(one.unknown_ns for one in apart) else None
    if running is None:
        seen = held_fraction(samples)
        return min(1.0, queued / max(seen.value if seen is not None else 0.0, 1e-9))
    with_gil = queued * sum(one.held_ns for one in apart) / known_ns
    return with_gil / max(with_gil + (1 - queued) * running.value, 1e-9)


def _unqueued(samples: Sequence[Sample]) -> list[Unqueued]:
    """Cut the time in the queue out of batches; none where one of those that were watched does not show it."""
    apart = [unqueued(sample) for sample in samples if sample.trace is not None]
    return [one for one in apart if one is not None] if None not in apart else []


def longest_hold_s(samples: Sequence[Sample]) -> float | None:
    """Return the median round's longest hold; rounds in which the holder may have queued for a core say nothing."""
    holds = []
    for sample in samples:
        if sample.trace is None or sample.trace.method is not GilMethod.MEMORY:
            continue
        if (rounds.queue_share([sample]) or 0.0) > rounds.QUIET:
            continue
        threads = [thread for reading in sample.readings for thread in reading.threads]
        hold = held.longest_hold_s(
            sample.trace, max(thread.start_ns for thread in threads), min(thread.end_ns for thread in threads)
        )
        if hold is not None:
            holds.append(hold)
    return median(holds) if holds else None


def method(samples: Sequence[Sample]) -> GilMethod | None:
    """Return how the GIL was watched; None where it was not."""
    return next((sample.trace.method for sample in samples if sample.trace is not None), None)


def ceiling(fraction: Estimate | None) -> Estimate | None:
    """Return 1 / GIL-held fraction: calls that hold the GIL for a share f of their time cannot overlap beyond it."""
    if fraction is None or fraction.low <= 0 or fraction.value <= 0:
        return None
    low, value, high = 1 / fraction.high, 1 / fraction.value, 1 / fraction.low
    return Estimate(value=value, low=low, high=high, confidence=fraction.confidence)
