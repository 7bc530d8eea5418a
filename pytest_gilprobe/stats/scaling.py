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
"""Gain over one worker, as a multiple of the number of workers, that caches may explain and noise may add up to; also
how much faster serial calls must be than those of one worker in a curve for that one to have been held up."""
MOST_DISTURBED = 0.25
"""Share of the steps that other programs or a quota may have held up before a curve is called open."""


def points_of(steps: Sequence[Step], serial_s: Estimate | None = None) -> tuple[ScalingPoint, ...]:
    """Return one point for each number of workers, the fewest first; steps with too few calls are left out.

    Steps that were held up are left out, too, where there is another with as many workers. The noise is learnt from
    steps that have the same number of workers. So a number that was measured once has an interval, too. If one worker
    was not measured beside others, ``serial_s``, the seconds of a serial call, has the throughput of one.
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
    """Add to each point what the machine gave to so many workers, or to one for each CPU if those are fewer.

    ``machine`` are the steps of its control. What noise shows beyond one CPU's worth for each worker is left out.
    """
    seen = points_of([step for step in machine if not throughput.disturbed(step)])
    gains = {one.workers: min(gain, one.workers) for one in seen if (gain := speedup(seen, one.workers)) is not None}
    return tuple(replace(point, machine_gain=gains.get(min(point.workers, cpus))) for point in points)


def highest(points: Sequence[ScalingPoint]) -> ScalingPoint:
    """Return the point with the highest throughput; the fewest workers first. Raises `ValueError` if there is none."""
    return max(points, key=lambda point: point.throughput.value)


def best_workers(points: Sequence[ScalingPoint]) -> int | None:
    """Return the fewest workers whose throughput cannot be told from the highest one; ``None`` without points."""
    if not points:
        return None
    least = highest(points).throughput.low
    return next(point.workers for point in points if point.throughput.value >= least)


def enough_workers(points: Sequence[ScalingPoint]) -> int | None:
    """Return the fewest workers that give 90 % of the highest throughput; ``None`` if the intervals leave that open.

    That is the first number whose interval reaches 90 %; on a flat curve it is the lowest. It is open if the first
    number whose value is there comes later than the next one measured.
    """
    if not points:
        return None
    wanted = highest(points).throughput.value * ENOUGH
    first = next(at for at, point in enumerate(points) if point.throughput.high >= wanted)
    by_value = next(at for at, point in enumerate(points) if point.throughput.value >= wanted)
    return points[first].workers if by_value <= first + 1 else None


def beyond_its_workers(points: Sequence[ScalingPoint], serial_s: Estimate | None) -> ScalingPoint | None:
    """Return the first point with more than its number of workers times the throughput of one, if that was held up.

    It was if serial calls, of ``serial_s`` seconds each, are faster. Else calls help each other, as in batches.
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
    """Return the throughput of so many workers over that of one; ``None`` if either was not measured."""
    found = {point.workers: point.throughput.value for point in points}
    return found[workers] / found[1] if workers in found and 1 in found else None


def held_up(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps that were held up, if they are too many or all that there are of a number of workers."""
    late = tuple(step for step in steps if throughput.disturbed(step))
    return late if _only_held_up(steps) or len(late) > MOST_DISTURBED * len(steps) else ()


def _only_held_up(steps: Sequence[Step]) -> set[int]:
    """Return the numbers of workers of which every step was held up."""
    good = {step.workers for step in steps if not throughput.disturbed(step)}
    return {step.workers for step in steps} - good
