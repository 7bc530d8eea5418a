"""Find the longest time for which one thread held the GIL without a break, and where in the code it did."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.stats import holders, rounds
from pytest_gilprobe.stats.gil_samples import SampledWindow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.holders import Holder
    from pytest_gilprobe.model.readings import BatchReading, GilSamples


LONGEST_CALL = 20.0
"""If a thread seemed to hold the GIL without a break for longer than this many times the mean time of a call, the time
is cut to that: a single call does not explain more. The mean is that of the slowest of the threads timed together."""


class Hold(NamedTuple):
    """A time for which one thread was seen to hold the GIL without a break.

    ``first`` and ``last`` are the indices of the samples at the start and at the end of this time; ``duration_s`` is
    its length in seconds.
    """

    first: int
    last: int
    duration_s: float


def longest_hold(window: SampledWindow) -> Hold | None:
    """Return the longest time for which one thread was seen to hold the GIL without a break.

    ``window`` has the samples of the GIL. The time is that from the first to the last of successive samples that all
    found the GIL held, with no switch to another thread between them, and with the same stack if stacks were read. The
    true hold was longer by up to two intervals between samples. A thread that releases the GIL between two samples and
    takes it again is not noticed, unless another thread took the GIL in between.

    If stacks were read, a long hold is due to native code: Python code does not keep the same stack for long. Without
    stacks, it is certainly due to native code only if another thread asked for the GIL all the while: Python code would
    have released the GIL within one switch interval.

    Returns:
        The hold, of 0.0 seconds if no two successive samples show one; ``None`` if no sample lies in the window.
    """
    samples, inside = window.samples, window.inside
    if not inside:
        return None
    longest, since, place = Hold(inside[0], inside[0], 0.0), -1, -1
    for before, at in zip([-1, *inside], inside, strict=False):
        stack = samples.stack[at] if samples.stack else -1
        if not samples.held[at]:
            since = -1
        elif since < 0 or _switched(samples, before, at) or (min(place, stack) >= 0 and place != stack):
            since, place = at, stack
        place = max(place, stack)  # -1 where no stack was read
        if since >= 0 and (lasted_s := (samples.at_ns[at] - samples.at_ns[since]) * 1e-9) > longest.duration_s:
            longest = Hold(since, at, lasted_s)
    return longest


def longest_hold_s(batches: Sequence[BatchReading]) -> float | None:
    """Return the longest time for which one thread held the GIL without a break, in seconds.

    It is the median over ``batches`` (calls timed together) of the longest time in each. A batch counts only if another
    process sampled its GIL, and if its threads queued for a CPU for at most 5 % of the time: a thread that queues with
    the GIL holds it for longer than its code does. Such queueing is subtracted. ``None`` if no batch counts.
    """
    holds = [hold.duration_s for _, hold in _longest_holds(batches)]
    return median(holds) if holds else None


def longest_holder(batches: Sequence[BatchReading]) -> Holder | None:
    """Return the place in the code in which one thread held the GIL for longest without a break; ``None`` if unknown.

    The longest hold of each batch (calls timed together) is searched. The result is the place in which the largest
    number of the samples in these holds was taken, with its share of them. A batch counts only if another process
    sampled its GIL, and if its threads queued for a CPU for at most 5 % of the time.
    """
    found = []
    for batch, hold in _longest_holds(batches):
        samples = batch.gil
        if samples is not None and samples.stack and hold.duration_s > 0:
            read = [samples.stacks[at] for at in samples.stack[hold.first : hold.last + 1] if at >= 0]
            found += [holders.Held(weight_ns=1.0, stack=stack) for stack in read if stack]
    return holders.most_frequent(found)


def _longest_holds(batches: Sequence[BatchReading]) -> list[tuple[BatchReading, Hold]]:
    found = []
    for batch in batches:
        if batch.gil is None or batch.gil.method is not GilMethod.MEMORY:
            continue
        if (rounds.queue_share([batch]) or 0.0) > rounds.QUIET:
            continue
        start_ns, end_ns = max(lane.start_ns for lane in batch.lanes), min(lane.end_ns for lane in batch.lanes)
        hold = longest_hold(SampledWindow(batch.gil, start_ns, end_ns))
        if hold is not None:
            found.append((batch, _of_one_call(hold, batch)))
    return found


def _of_one_call(hold: Hold, batch: BatchReading) -> Hold:
    """Shorten a hold to what one call can explain.

    Between two calls Python code runs, which lets go of the GIL for a thread that waits; if none took it, none waited.
    And a thread that queues for a CPU with the GIL does not hold it for that long by what its code does.
    """
    call_s = max((lane.end_ns - lane.start_ns) / max(1, lane.calls) for lane in batch.lanes) * 1e-9
    queued_s = max(lane.run_queue_ns or 0 for lane in batch.lanes) * 1e-9
    return hold._replace(duration_s=max(0.0, min(hold.duration_s - queued_s, call_s * LONGEST_CALL)))


def _switched(samples: GilSamples, before: int, at: int) -> bool:
    """Return whether the GIL is known to have passed to another thread between two samples."""
    return any(column[before] != column[at] for column in (samples.holder, samples.switches) if column)
