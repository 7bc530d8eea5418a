"""Estimate how throughput grows with the number of workers: its points, and how many workers are enough."""

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
"""Standard deviation of the logarithm of one step's throughput that is assumed before measuring: slopes over windows
of 0.12 s are within 1 to 6 % of each other on idle machines of two CPUs."""
ENOUGH = 0.90
"""Share of the highest throughput that *enough* workers give."""
SUPERLINEAR = 1.25
"""Gain over one worker, as a multiple of the number of workers, that caches and noise may explain. Also the factor by
which serial calls must be faster than the calls of one worker in a curve, for that worker to count as held up."""
MOST_DISTURBED = 0.25
"""Share of the steps that other programs or a quota may have held up; if more were, the curve decides nothing."""


def points_of(steps: Sequence[Step], serial_s: Estimate | None = None) -> tuple[ScalingPoint, ...]:
    """Return one point of a curve for each number of workers, the fewest first.

    A step with too few calls is left out, and one that was held up if a step with as many workers was not. The noise is
    learnt from all steps with equal numbers of workers, so a number that was tried once has an interval, too. If one
    worker was not tried beside others, ``serial_s``, the seconds of a serial call, gives its throughput; ``None`` if
    unknown.
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
    """Return the points with what the machine gave to as many workers, or to one for each CPU if ``cpus`` is smaller.

    ``machine`` has the steps of threads that compute without the GIL, made between the others. A gain of N of these
    threads counts up to N: what exceeds it is noise.
    """
    seen = points_of([step for step in machine if not throughput.disturbed(step)])
    gains = {one.workers: min(gain, one.workers) for one in seen if (gain := speedup(seen, one.workers)) is not None}
    return tuple(replace(point, machine_gain=gains.get(min(point.workers, cpus))) for point in points)


def highest(points: Sequence[ScalingPoint]) -> ScalingPoint:
    """Return the first of the points with the highest throughput. Raises `ValueError` if there are no points."""
    return max(points, key=lambda point: point.throughput.value)


def best_workers(points: Sequence[ScalingPoint]) -> int | None:
    """Return the fewest workers whose throughput cannot be told from the highest one; ``None`` without points."""
    if not points:
        return None
    least = highest(points).throughput.low
    return next(point.workers for point in points if point.throughput.value >= least)


def enough_workers(points: Sequence[ScalingPoint]) -> int | None:
    """Return the fewest workers that give 90 % of the highest throughput; ``None`` without points, or if that is open.

    The result is the first number of workers whose interval reaches 90 %; on a flat curve it is the lowest. This is
    open if the first number whose value reaches 90 % is more than one point further on.
    """
    if not points:
        return None
    wanted = highest(points).throughput.value * ENOUGH
    first = next(at for at, point in enumerate(points) if point.throughput.high >= wanted)
    by_value = next(at for at, point in enumerate(points) if point.throughput.value >= wanted)
    return points[first].workers if by_value <= first + 1 else None


def beyond_its_workers(points: Sequence[ScalingPoint], serial_s: Estimate | None) -> ScalingPoint | None:
    """Return the first point with N workers and clearly more than N times the throughput of one that was held up.

    One worker was held up if serial calls, of ``serial_s`` seconds each, are clearly faster. Otherwise calls help each
    other, as in batches, and the result is ``None``, as it is if there is no such point or ``serial_s`` is ``None``.
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
    """Return whether throughput certainly falls again by a tenth or more beyond its highest point."""
    return bool(points) and points[-1].throughput.high < highest(points).throughput.low * ENOUGH


def speedup(points: Sequence[ScalingPoint], workers: int) -> float | None:
    """Return the throughput of this number of ``workers`` over that of one; ``None`` if either was not measured."""
    found = {point.workers: point.throughput.value for point in points}
    return found[workers] / found[1] if workers in found and 1 in found else None


def held_up(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps that were held up by other programs or a quota, if they keep a curve from deciding; else none.

    They do if they are more than the share `MOST_DISTURBED` of ``steps``, or all steps with some number of workers.
    """
    late = tuple(step for step in steps if throughput.disturbed(step))
    return late if _only_held_up(steps) or len(late) > MOST_DISTURBED * len(steps) else ()


def _only_held_up(steps: Sequence[Step]) -> set[int]:
    """Return the numbers of workers of which every step was held up."""
    good = {step.workers for step in steps if not throughput.disturbed(step)}
    return {step.workers for step in steps} - good
