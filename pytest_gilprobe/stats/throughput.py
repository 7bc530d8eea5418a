"""Estimate the throughput with one number of workers, from the moments at which calls were completed."""

from __future__ import annotations

from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING

from pytest_gilprobe.model.thresholds import THROTTLED
from pytest_gilprobe.stats.rounds import CROWDED, QUIET

if TYPE_CHECKING:
    from pytest_gilprobe.model.ladder import Step

FEWEST_MARKS = 3
"""Fewest marks in a window from which its throughput is estimated. A mark is a moment, recorded by a lane (thread ...),
at which a call, or a fixed number of calls, was completed."""
LATEST_START = 0.5
"""A lane (thread ...) that completes its first call later than this share of the window does not delay the window's
start."""


def calls_per_s(step: Step) -> float | None:
    """Return a step's throughput in calls per second; ``None`` if too few calls were completed.

    A step is a set time of calls with one number of workers. The throughput is the least-squares slope of the number of
    completed calls over time. The window reaches from `Step.settled_ns`, or from when every lane (thread ...) has
    completed its first calls, to `Step.until_ns`. It does not wait for lanes that `LATEST_START` excludes. Lanes often
    complete their calls at the same moments: a count within a fixed window is off by up to all calls of one such
    moment, a slope is not.
    """
    lanes = [lane for reading in step.readings for lane in reading.marks_ns]
    firsts = [lane[0] for lane in lanes if lane]
    latest = step.settled_ns + LATEST_START * (step.until_ns - step.settled_ns)
    start = max([step.settled_ns, *(first for first in firsts if first <= latest)])
    times = sorted(mark for mark in chain.from_iterable(lanes) if start <= mark <= step.until_ns)
    if len(times) < FEWEST_MARKS or times[0] == times[-1]:
        return None
    seconds = [(time - times[0]) / 1e9 for time in times]
    middle, centre = fmean(seconds), (len(seconds) - 1) / 2
    squares = sum((second - middle) ** 2 for second in seconds)
    slope = sum((second - middle) * (number - centre) for number, second in enumerate(seconds)) / squares
    return slope * step.calls_per_mark if slope > 0 else None


def span_s(step: Step) -> float:
    """Return how long a step (calls with one number of workers) lasted, in seconds: until its last lane was done."""
    ends = [lane[-1] for reading in step.readings for lane in reading.marks_ns if lane]
    return (max(ends, default=step.until_ns) - step.begin_ns) / 1e9


def cpus_used(step: Step) -> float:
    """Return how many CPUs the step's worker processes kept busy, on average."""
    return sum(reading.process_cpu_ns for reading in step.readings) / 1e9 / max(span_s(step), 1e-9)


def others_share(step: Step) -> float:
    """Return the share of all usable CPUs' time that other programs took, from 0 to 1; 0 if that is not reported."""
    cpus = max((reading.cpus_ns for reading in step.readings), default=0)
    idle = max((reading.cpus_idle_ns for reading in step.readings), default=0)
    own = sum(reading.process_cpu_ns for reading in step.readings)
    return min(1.0, max(0.0, cpus - idle - own) / cpus) if cpus else 0.0


def queued_share(step: Step) -> float:
    """Return the share of its time for which a lane waited for a CPU, on average; 0 if that is not reported."""
    queued = sum(reading.queued_ns or 0 for reading in step.readings)
    return queued / 1e9 / max(span_s(step) * step.workers, 1e-9)


def throttled_share(step: Step) -> float:
    """Return the share of a step's time for which CPU quotas held it back, from 0 to 1; 0 if that is not reported."""
    return min(1.0, (step.throttled_s or 0.0) / max(span_s(step), 1e-9))


def disturbed(step: Step) -> bool:
    """Return whether a step was held up by a CPU quota, or by other programs while its lanes waited for a CPU."""
    if throttled_share(step) >= THROTTLED:
        return True
    return others_share(step) > CROWDED and queued_share(step) > QUIET
