"""What the watched batches of a probe tell of the GIL: for how much of their time it was held, and what follows."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from pytest_gilprobe.model import Estimate, GilMethod
from pytest_gilprobe.stats import held, rounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model import Sample


def held_fraction(samples: Sequence[Sample]) -> Estimate | None:
    """Estimate the GIL-held share of the samples' time from their traces; None where nothing could be seen."""
    windows = []
    for sample in samples:
        if sample.trace is not None:
            threads = [thread for reading in sample.readings for thread in reading.threads]
            start, end = min(thread.start_ns for thread in threads), max(thread.end_ns for thread in threads)
            windows.append((sample.trace, start, end))
    return held.pool(windows)


def while_running(fraction: Estimate | None, samples: Sequence[Sample], used: float) -> Estimate | None:
    """Bound the held share of the time for which a call was not queueing, on a busy machine.

    A thread that is pushed off its core while it holds the GIL goes on holding it. It is pushed off at any moment of
    its computing, so that it queues with the GIL for as large a share of that queueing as it computes with it; what
    share that is, is known where it computes all the time, ``used`` being 1, else only within bounds, since it may
    hold the GIL or not while it waits. A thread that wakes up into the run queue may hold it or not. On a quiet machine
    the share is what was seen.
    """
    queued = min(rounds.queue_share(samples) or 0.0, 0.99)
    if fraction is None or queued <= rounds.QUIET:
        return fraction
    woken = queued * rounds.woken_share(samples)
    pushed, running, used = queued - woken, 1 - queued, min(max(used, 0.01), 1.0)
    # least: held through all queueing after waking, and while computing rather than while waiting
    least = (fraction.low - woken) / (running + pushed / used)
    least = least if least <= used else (fraction.low - woken - pushed) / running
    # most: free in all queueing after waking, and held while waiting rather than while computing
    most = fraction.high / running
    most = most if most <= 1 - used else (fraction.high + pushed * (1 - used) / used) / (running + pushed / used)
    low, high = (min(1.0, max(0.0, end)) for end in (least, most))
    return replace(fraction, low=low, high=high, value=min(max(fraction.value, low), high))


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
