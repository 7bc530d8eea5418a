"""Estimate what threads of one process gain, and how much of that other programs may hide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.stats import masking, overlap, rounds, speedups

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import Measurement
    from pytest_gilprobe.stats.estimates import Noise
    from pytest_gilprobe.stats.masking import Holding

Limited = Callable[[Estimate], Estimate]
"""The type of a function that limits a speed-up to what the GIL, the CPUs and the number of workers allow."""


class Gain(NamedTuple):
    """A strategy's speed-up, with a lower and an upper bound of it if a busy machine disturbed the measurement.

    The bounds ``at_worst`` and ``at_best`` are ``None`` if other programs hardly disturbed the calls. ``by_bursts`` is
    whether only bursts (very short batches) were undisturbed, so that the speed-up is measured by them.
    """

    speedup: Estimate
    at_worst: Estimate | None = None
    at_best: Estimate | None = None
    by_bursts: bool = False


def gain(name: str, measurement: Measurement, noise: Noise, gil: Holding, limited: Limited) -> Gain:
    """Return the speed-up of the strategy ``name``, whose calls run in threads of one process.

    ``noise`` is that of the time of one batch (calls timed together). ``gil`` says how calls hold the GIL. ``limited``
    limits a speed-up to what the GIL, the CPUs and the number of workers allow. The low end of the speed-up's interval
    holds however much other programs disturbed the calls. The high end allows for two kinds of waits that idle
    machines or longer batches may not have: waits for a thread that queues for a CPU, and waits in bursts (very short
    batches) that arise because all threads begin at the same moment.
    """
    pairs, bursts = (overlap.pairs_of(seen, name) for seen in (measurement.rounds, measurement.bursts))
    chosen = overlap.selected(pairs, measurement.bursts, name)
    lanes = speedups.lanes_of(chosen, less_queue=True)
    speedup, worst, best = (
        limited(one)
        for one in (
            speedups.estimated(chosen, noise, lanes),
            overlap.certain([pairs, bursts], chosen, noise),
            speedups.estimated(chosen, noise, lanes, masking.hidden(chosen, gil)),
        )
    )
    queued = rounds.queue_share([batch for _, batch in chosen]) or 0.0
    highs = [best.high]
    if queued > overlap.MOST_QUEUED:
        highs.append(float(measurement.workers))
    elif short := [pair for pair in chosen if id(pair[1]) in {id(batch) for _, batch in bursts}]:
        highs.append(overlap.out_of_step(short))
    if worst.low > speedup.value:  # the bounds contradict the estimate
        highs.append(worst.high)
    best = limited(replace(best, high=max(highs)))
    worst = replace(worst, low=min(worst.low, speedup.value), value=min(worst.value, speedup.value))
    speedup = replace(speedup, low=worst.low, high=max(speedup.high, best.high))
    found = Gain(speedup, by_bursts=overlap.by_bursts(pairs, measurement.bursts, name))
    return found._replace(at_worst=worst, at_best=best) if queued > rounds.QUIET else found
