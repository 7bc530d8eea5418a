"""Estimate for which share of the time calls block the event loop that awaits them, and how long single blocks last.

The clocks of the loop's thread tell exactly how long it computed, queued for a core, and slept. Samples tell what it
slept in: waiting for events leaves the loop free, anything else blocks it. So only the estimate for the time asleep has
a sampling error; calls that compute all the time have none. *Source:* post-stratification, W. G. Cochran, "Sampling
Techniques", 1977, 5A.9.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.loop_time import EventLoop, LoopShares
from pytest_gilprobe.model.thresholds import HARDLY_HELD
from pytest_gilprobe.model.words import Sleep
from pytest_gilprobe.stats import blockers, estimates, loop_blocks, rounds
from pytest_gilprobe.stats.gil_samples import MIN_SAMPLES, SampledWindow, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.readings import BatchReading, Measurement

NOISE = (0.002, 0.08)
"""Two numbers, a and b. The share s of its time for which a thread computes in a batch (calls timed together) is
assumed to have a standard deviation of at least a + b * s * (1 - s), which is 0.022 for s = 0.5. The part a is there
because the thread's clocks are not read at the same moment, the other part because both waits and computing vary."""


def of(measurement: Measurement) -> EventLoop | None:
    """Return for which share of the time, where and for how long serial calls blocked the event loop that awaited them.

    The result is ``None`` if the calls were not awaited in an event loop.
    """
    if not measurement.awaited:
        return None
    batches = [one.serial for one in measurement.rounds if one.serial.gil is not None and one.serial.gil.sleeps]
    found = EventLoop() if not batches else _shares(batches)
    seen = measurement.loop_pass
    return EventLoop(
        blocked_fraction=found.blocked_fraction,
        tasks_ceiling=found.tasks_ceiling,
        shares=found.shares,
        blockers=blockers.blockers(batches),
        longest_block_s=None if seen is None else loop_blocks.longest_s(seen),
        repeated_block=None if seen is None else loop_blocks.repeated(seen),
        why_unknown=_why_unknown(measurement, sampled=bool(batches), timed=seen is not None and bool(seen.blocks)),
    )


def of_call(window: SampledWindow) -> EventLoop | None:
    """Estimate from samples for which share of one call an event loop was blocked, and where in the code.

    ``window`` has the samples and spans the call. The shares are of the whole call, though a loop may have run for a
    part of it only. A sample counts if it found the main thread waiting for events, or if it read the main thread's
    stack. The result is ``None`` if fewer than 16 (`MIN_SAMPLES`) samples count, or none shows an event loop.
    """
    samples = window.samples
    if not samples.loop_stack or not samples.sleeps:
        return None
    waiting = sum(samples.sleeps[at] is Sleep.EVENTS for at in window.inside)
    known = waiting + sum(samples.loop_stack[at] >= 0 for at in window.inside)
    found = blockers.in_loops(window)
    if known < MIN_SAMPLES or not (waiting or found.samples):
        return None
    blocked = found.samples / known
    low, high = wilson(blocked, known)
    return EventLoop(
        blocked_fraction=Estimate(value=blocked, low=min(low, blocked), high=max(high, blocked)),
        blockers=found.blockers,
    )


def _why_unknown(measurement: Measurement, *, sampled: bool, timed: bool) -> str | None:
    if not sampled:
        return (
            measurement.loop_hidden
            or measurement.gil_unwatched
            or "the system does not tell what the loop's thread sleeps in"
        )
    if not timed and measurement.loop_pass is not None:
        return "how long single blocks last is not known: the loop has no selector of Python's own"
    return None


def _shares(batches: Sequence[BatchReading]) -> EventLoop:
    """Estimate for which share of the batches' time the loop was blocked, and by what."""
    asleep = blockers.asleep(
        SampledWindow(batch.gil, lane.start_ns, lane.end_ns)
        for batch in batches
        for lane in batch.lanes
        if batch.gil is not None
    )
    shares = [_computing(batch) for batch in batches]
    mean = fmean(shares)
    busy = estimates.centre(shares, NOISE[0] + NOISE[1] * mean * (1 - mean))
    blocked, (low, high) = asleep.share(asleep.blocked), (0.0, 1.0)
    if asleep.number:
        low, high = wilson(blocked, asleep.number)
    value = _within(busy.value + (1 - busy.value) * blocked)
    fraction = Estimate(
        value=value,
        low=min(value, _within(busy.low + (1 - busy.low) * low)),
        high=max(value, _within(busy.high + (1 - busy.high) * high)),
        confidence=busy.confidence,
    )
    computing = _within(busy.value)
    return EventLoop(
        blocked_fraction=fraction,
        tasks_ceiling=1 / value if fraction.low >= HARDLY_HELD else None,
        shares=LoopShares(
            waiting=1 - value,
            computing=computing,
            blocking=(1 - computing) * asleep.share(asleep.calls),
            gil_wait=(1 - computing) * asleep.share(asleep.gil),
        ),
    )


def _computing(batch: BatchReading) -> float:
    """Return the share of its time without queueing for which the loop's own thread computed."""
    running, cpu = rounds.running_s(batch)
    return cpu / max(running, cpu)


def _within(share: float) -> float:
    return min(1.0, max(0.0, share))
