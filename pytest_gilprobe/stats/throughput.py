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
"""Fewest marks from which a throughput is estimated. A mark is a moment, recorded by a lane (thread, process ...), at
which a call, or a fixed number of calls, was completed."""
LATEST_START = 0.5
"""Throughput is measured from the moment at which each lane (thread, process ...) has completed a call. A lane that has
completed none in this share of the measured time is not waited for."""


def calls_per_s(step: Step) -> float | None:
    """Return a step's throughput in calls per second; ``None`` if too few calls were completed.

    A step is a set time of calls with one number of workers. The throughput is the least-squares slope of the number of
    completed calls over time. Calls count until `Step.until_ns`. They count from `Step.settled_ns`, when warming up is
    over, or from the later moment at which every lane (thread, process ...) has completed its first calls. A lane whose
    first calls take more than half of the time (`LATEST_START`) is not waited for.
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
    """Return how many seconds a step (calls with one number of workers) lasted, up to the last recorded call's end."""
    ends = [lane[-1] for reading in step.readings for lane in reading.marks_ns if lane]
    return (max(ends, default=step.until_ns) - step.begin_ns) / 1e9


def cpus_used(step: Step) -> float:
    """Return how many CPUs the worker processes kept busy, on average, in a step: calls with one number of workers."""
    return sum(reading.process_cpu_ns for reading in step.readings) / 1e9 / max(span_s(step), 1e-9)


def others_share(step: Step) -> float:
    """Return the share of all usable CPUs' time that other programs took in a step, from 0 to 1; 0 if not reported.

    A step is a set time of calls with one number of workers.
    """
    cpus = max((reading.cpus_ns for reading in step.readings), default=0)
    idle = max((reading.cpus_idle_ns for reading in step.readings), default=0)
    own = sum(reading.process_cpu_ns for reading in step.readings)
    return min(1.0, max(0.0, cpus - idle - own) / cpus) if cpus else 0.0


def queued_share(step: Step) -> float:
    """Return the share of a step's time for which a lane queued for a CPU, the mean of its lanes; 0 if not reported.

    A step is a set time of calls with one number of workers. A lane is a thread, process or the like that makes calls.
    """
    queued = sum(reading.queued_ns or 0 for reading in step.readings)
    return queued / 1e9 / max(span_s(step) * step.workers, 1e-9)


def throttled_share(step: Step) -> float:
    """Return the share of a step's time for which CPU quotas held it back, from 0 to 1; 0 if that is not reported.

    A step is a set time of calls with one number of workers.
    """
    return min(1.0, (step.throttled_s or 0.0) / max(span_s(step), 1e-9))


def disturbed(step: Step) -> bool:
    """Return whether a CPU quota or other programs held up a step: a set time of calls with one number of workers.

    Other programs count only if they used more than a tenth of the CPUs and the calls' threads or processes queued for
    a CPU as well.
    """
    if throttled_share(step) >= THROTTLED:
        return True
    return others_share(step) > CROWDED and queued_share(step) > QUIET
