"""Estimate the share of time for which batches (calls timed together) hold the GIL, with or without waits for a CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.stats import gil_samples, rounds
from pytest_gilprobe.stats.gil_samples import SampledWindow
from pytest_gilprobe.stats.queueing import split_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.readings import BatchReading
    from pytest_gilprobe.stats.queueing import QueueSplit

PREEMPTED_HOLDING = 0.5
"""A thread that was pushed off its CPU is assumed to hold the GIL with at least this many times the probability of a
running thread. The factor would be 1 if threads were pushed off at random moments, as by the clock's tick."""


def held_fraction(batches: Sequence[BatchReading]) -> Estimate | None:
    """Estimate the share of the time of ``batches`` (calls timed together) for which the GIL was held.

    Time for which calls queued for a CPU counts like any other time.

    Returns:
        A share from 0 to 1 with a 95 % interval; ``None`` if too few samples show whether the GIL was held.
    """
    return gil_samples.held_fraction(
        [
            SampledWindow(
                batch.gil, min(lane.start_ns for lane in batch.lanes), max(lane.end_ns for lane in batch.lanes)
            )
            for batch in batches
            if batch.gil is not None
        ]
    )


def while_running(fraction: Estimate | None, batches: Sequence[BatchReading]) -> Estimate | None:
    """Return the share of the time for which the GIL was held, without the time in which calls queued for a CPU.

    ``fraction`` is the share of all the time of the same ``batches`` (calls timed together), the queueing included. It
    is returned unchanged if it is ``None``, or if the queueing is unknown or at most 5 % (`rounds.QUIET`) of the time.
    """
    queued = rounds.queue_share(batches) or 0.0
    if fraction is None or queued <= rounds.QUIET:
        return fraction
    return without_queueing(fraction, queued, _splits(batches), rounds.woken_share(batches))


def without_queueing(fraction: Estimate, queued: float, splits: Sequence[QueueSplit], woken: float = 1.0) -> Estimate:
    """Return the share of the time for which the GIL was held, without the time in which calls queued for a CPU.

    If samples show when calls queued and whether the GIL was held then, the result is estimated from these samples.
    Otherwise, two bounds form its interval. The bounds are also used if they are closer together than the ends of the
    interval from samples. The low bound assumes that the GIL was held in all queueing: a thread that is preempted while
    it holds the GIL keeps it. The high bound assumes that the GIL was free in queueing that began when a thread woke
    up. In other queueing, it assumes that the GIL was held half (`PREEMPTED_HOLDING`) as often as while threads ran.

    Args:
        fraction: The share of all the time for which the GIL was held, the queueing included.
        queued: The share of the time for which the calls queued, from 0 to 1.
        splits: For each batch (calls timed together), its time in the queue and its other time; empty if samples do not
            show when calls queued.
        woken: The largest share of the queueing that may have begun when a thread woke up, from 0 to 1.
    """
    queued = min(queued, 0.99)
    running, preempted = 1 - queued, queued * (1 - woken)
    low = max(0.0, (fraction.low - queued) / running)
    high = min(1.0, fraction.high / (running + PREEMPTED_HOLDING * preempted))
    bounds = replace(fraction, low=low, high=high, value=min(max(fraction.value, low), high))
    found = _from_splits(splits)
    return bounds if found is None or high - low < found.high - found.low else found


def _from_splits(splits: Sequence[QueueSplit]) -> Estimate | None:
    """Estimate the held share of the time without queueing from batches whose queueing was split off.

    Queueing that the rest of a batch still contains is subtracted as far as the GIL was held in that queueing. For
    queueing that no sample shows, the bounds are that the GIL was held all the time, and never. ``None`` if too little
    is left.
    """
    seen = gil_samples.held_fraction([split.rest for split in splits])
    running_ns = sum(split.running_ns for split in splits)
    if seen is None or running_ns <= 0:
        return None
    rest_ns = sum(split.rest.duration_ns for split in splits)
    edges_ns = sum(split.rest_queued_held_ns for split in splits)
    unknown_ns = sum(split.queued_unknown_ns for split in splits)
    known_ns = sum(split.queued_known_ns for split in splits)
    likely = sum(split.queued_held_ns for split in splits) / known_ns if known_ns else 0.5
    value, low, high = (
        min(1.0, max(0.0, (share * rest_ns - edges_ns - unknown_held_ns) / running_ns))
        for share, unknown_held_ns in ((seen.value, likely * unknown_ns), (seen.low, unknown_ns), (seen.high, 0.0))
    )
    return replace(seen, value=value, low=low, high=high)


def in_queue(batches: Sequence[BatchReading]) -> float:
    """Return, of the time for which calls held the GIL, the share (0 to 1) in which the holder waited for a CPU.

    ``batches`` are series of calls timed together. The share is estimated from samples if these show, for most of the
    calls' waiting for a CPU, whether the GIL was held. Otherwise, the GIL is assumed to be held in all this waiting,
    which gives the largest possible share.
    """
    queued = rounds.queue_share(batches) or 0.0
    splits = _splits(batches)
    known_ns = sum(split.queued_known_ns for split in splits)
    running = _from_splits(splits) if known_ns > sum(split.queued_unknown_ns for split in splits) else None
    if running is None:
        seen = held_fraction(batches)
        return min(1.0, queued / max(seen.value if seen is not None else 0.0, 1e-9))
    with_gil = queued * sum(split.queued_held_ns for split in splits) / known_ns
    return with_gil / max(with_gil + (1 - queued) * running.value, 1e-9)


def _splits(batches: Sequence[BatchReading]) -> list[QueueSplit]:
    """Return all sampled batches with their queueing split off; empty if a batch does not show when it queued."""
    splits = [split_batch(batch) for batch in batches if batch.gil is not None]
    return [split for split in splits if split is not None] if None not in splits else []


def method(batches: Sequence[BatchReading]) -> GilMethod | None:
    """Return how the GIL was sampled in these batches (calls timed together); ``None`` if it was not sampled."""
    return next((batch.gil.method for batch in batches if batch.gil is not None), None)
