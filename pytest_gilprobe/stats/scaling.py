"""Estimate how throughput grows with the number of workers: the points of a curve, and how many workers are enough."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.scaling import ScalingPoint
from pytest_gilprobe.stats import estimates, throughput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.ladder import Step

NOISE = 0.05
"""Standard deviation that is assumed, before measuring, for the logarithm of the throughput in one step (a set time of
calls with one number of workers): throughputs in 0.12 s are within 1 to 6 % of each other on idle machines of two
CPUs."""
ENOUGH = 0.90
"""The fewest workers that give this share of the highest throughput are enough."""
SUPERLINEAR = 1.25
"""If N workers have more than this many times N times the throughput of one worker, caches and noise alone do not
explain it: other programs may have held up the one worker. They did if serial calls, too, are certainly more than this
many times as fast as its calls."""
MOST_DISTURBED = 0.25
"""A curve of throughput over workers decides nothing if other programs or a quota held up more than this share of its
steps, each of which is a set time of calls with one number of workers."""


def points_of(steps: Sequence[Step], serial_s: Estimate | None = None) -> tuple[ScalingPoint, ...]:
    """Return the points of a curve of throughput, one for each number of workers, the fewest first.

    Each of the ``steps`` is a set time of calls with one number of workers. A step is left out if too few calls were
    completed, or if other programs or a quota held it up and another step with as many workers was not held up. The
    noise is estimated from all steps with equal numbers of workers together, so a number that was tried once has an
    interval, too. If one worker was not tried, its throughput is 1 / ``serial_s``, the seconds of a serial call; with
    ``None``, there is no such point.
    """
    rates: dict[int, list[float]] = {}
    memory: dict[int, int] = {}
    lost = _only_held_up(steps)
    for step in steps:
        if throughput.disturbed(step) and step.workers not in lost:
            continue
        rate = throughput.calls_per_s(step)
        if rate is not None:
            rates.setdefault(step.workers, []).append(rate)
            known = [reading.peak_rss_bytes for reading in step.readings if reading.peak_rss_bytes is not None]
            if len(known) == len(step.readings):
                memory[step.workers] = max(memory.get(step.workers, 0), sum(known))
    noise = estimates.scatter(NOISE, *rates.values())
    points = tuple(
        ScalingPoint(workers=workers, throughput=estimates.positive_centre(found, noise), rss_bytes=memory.get(workers))
        for workers, found in sorted(rates.items())
    )
    if not points or points[0].workers == 1 or serial_s is None or serial_s.low <= 0:
        return points
    alone = Estimate(value=1 / serial_s.value, low=1 / serial_s.high, high=1 / serial_s.low)
    return (ScalingPoint(workers=1, throughput=alone), *points)


def with_machine(points: Sequence[ScalingPoint], machine: Sequence[Step], cpus: int) -> tuple[ScalingPoint, ...]:
    """Return the points with ``machine_gain`` set: the speed-up that the machine itself gives with that many workers.

    ``machine`` has steps: in each, a certain number of threads computed for a set time, without the GIL. ``cpus`` is
    the number of CPUs: a point with more workers gets the speed-up of ``cpus`` threads. The speed-up of N threads
    counts as N at most, since more is noise. ``machine_gain`` is ``None`` where no speed-up was measured.
    """
    seen = points_of([step for step in machine if not throughput.disturbed(step)])
    gains = {one.workers: min(gain, one.workers) for one in seen if (gain := speedup(seen, one.workers)) is not None}
    return tuple(replace(point, machine_gain=gains.get(min(point.workers, cpus))) for point in points)


def highest(points: Sequence[ScalingPoint]) -> ScalingPoint:
    """Return the point with the highest throughput, the first of several; raise `ValueError` without points."""
    return max(points, key=lambda point: point.throughput.value)


def best_workers(points: Sequence[ScalingPoint]) -> int | None:
    """Return the fewest workers whose throughput cannot be told from the highest one; ``None`` without points.

    Such a throughput is at least the low end of the highest throughput's interval.
    """
    if not points:
        return None
    least = highest(points).throughput.low
    return next(point.workers for point in points if point.throughput.value >= least)


def enough_workers(points: Sequence[ScalingPoint]) -> int | None:
    """Return the fewest workers that give 90 % of the highest throughput; ``None`` without points, or if uncertain.

    The result is the first number of workers for which the high end of the throughput's interval reaches 90 % of the
    highest throughput. It is uncertain if the estimated throughput itself reaches 90 % only two or more points later.
    """
    if not points:
        return None
    wanted = highest(points).throughput.value * ENOUGH
    first = next(at for at, point in enumerate(points) if point.throughput.high >= wanted)
    by_value = next(at for at, point in enumerate(points) if point.throughput.value >= wanted)
    return points[first].workers if by_value <= first + 1 else None


def beyond_its_workers(points: Sequence[ScalingPoint], serial_s: Estimate | None) -> ScalingPoint | None:
    """Return the first point at which N workers have over 1.25 N times the throughput of one; ``None`` if none has.

    Such a point counts only if other programs held up the measurement with one worker. They did if serial calls, of
    ``serial_s`` seconds each, were certainly more than 1.25 times as fast as the one worker's calls. If they were not,
    or ``serial_s`` is ``None``, the result is ``None``: calls in parallel may really be faster, for example because a
    server answers several at once. The factor is `SUPERLINEAR`.
    """
    one = next((point.throughput.value for point in points if point.workers == 1), None)
    if one is None or serial_s is None or one * serial_s.high * SUPERLINEAR >= 1:
        return None
    for point in points:
        gain = speedup(points, point.workers)
        if gain is not None and gain > SUPERLINEAR * point.workers:
            return point
    return None


def retrograde(points: Sequence[ScalingPoint]) -> bool:
    """Return whether throughput with the largest number of workers is surely a tenth or more below the highest one."""
    return bool(points) and points[-1].throughput.high < highest(points).throughput.low * ENOUGH


def speedup(points: Sequence[ScalingPoint], workers: int) -> float | None:
    """Return the throughput with ``workers`` workers over that with one; ``None`` if either was not measured."""
    found = {point.workers: point.throughput.value for point in points}
    return found[workers] / found[1] if workers in found and 1 in found else None


def held_up(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps that other programs or a quota held up, if they are too many for a curve to be used; else none.

    A step is a set time of calls with one number of workers. Too many are more than the share `MOST_DISTURBED` of all
    ``steps``, or all steps with some number of workers.
    """
    late = tuple(step for step in steps if throughput.disturbed(step))
    return late if _only_held_up(steps) or len(late) > MOST_DISTURBED * len(steps) else ()


def _only_held_up(steps: Sequence[Step]) -> set[int]:
    """Return the numbers of workers of which every step was held up."""
    good = {step.workers for step in steps if not throughput.disturbed(step)}
    return {step.workers for step in steps} - good
