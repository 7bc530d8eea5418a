"""Estimate how much faster a strategy was than serial calls, and how certain that is, despite other programs."""

from __future__ import annotations

import math
from dataclasses import replace
from enum import StrEnum, auto
from statistics import fmean, median
from typing import TYPE_CHECKING

from pytest_gilprobe.model.thresholds import EXTRA_CORES, IO_BELOW, THROTTLED
from pytest_gilprobe.stats import estimates, masking, rounds
from pytest_gilprobe.stats.dispatch import capped
from pytest_gilprobe.stats.estimates import Noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.machine import Machine
    from pytest_gilprobe.model.readings import BatchReading, Measurement, Round
    from pytest_gilprobe.model.results import StrategyResult
    from pytest_gilprobe.stats.masking import Pairs

NOISE_OF_QUEUEING = 0.1
"""Noise that is added to a speed-up whose batches queued for a CPU all the time: a standard deviation of the logarithm.
If they queued for a share of the time, it is multiplied by that share: the more queueing is subtracted, the less
certain is the result."""
NOISE_AT_EXTREMES = 0.5
"""A speed-up may be multiplied by a factor for what a busy machine hides. The factor adds noise to the speed-up: a
standard deviation of its logarithm that is this many times the factor's logarithm. *Source:* threads that wait for one
lock beside busy loops, ``benchmarks/gate_rates.py``."""
BEYOND_CEILING = 1.25
"""A measured speed-up contradicts its ceiling, the largest speed-up that the strategy can have, if the low end of its
interval is more than this many times the ceiling."""
SUPERLINEAR = 1.05
"""If the low end of the interval of N workers' speed-up is more than this many times N, serial calls were disturbed."""
IMPLAUSIBLE = 1.15
"""If the estimated speed-up of N workers is more than this many times N, serial calls were disturbed."""
OWN_QUEUE = 1.15
"""If more than this many threads for each CPU compute for calls at the same time, they are assumed to queue because of
each other, and no queueing is subtracted. The limit is above 1 because the clocks are coarse."""


def correctable(measurement: Measurement, machine: Machine) -> bool:
    """Return whether queueing for a CPU is due to other programs, so that it may be subtracted from times.

    It is not due to them if the calls' own threads outnumber the CPUs. Native helper threads count: two calls of a
    matrix product that each use two cores queue behind each other.
    """
    width = rounds.width(measurement.rounds)
    return measurement.workers * max(1.0, width) <= machine.cpus * OWN_QUEUE


def batch_noise(measurement: Measurement, machine: Machine, *, less_queue: bool) -> Noise:
    """Return how much the times of batches of the same calls differ: the noise of the logarithm of a batch's time.

    The noise assumed before measuring is that of a computing loop at the session's start, multiplied by the calls' CPU
    utilization. Less is assumed if the batches of each round (one batch of each strategy) agree well. The result
    combines this with the scatter of the measured batches. In a round, serial calls and processes that share nothing
    should take equal times. If they do, all of these times count. If not, those of serial calls count, and with
    ``less_queue`` also those of the processes. ``less_queue`` is true if queueing for a CPU is due to other programs.
    """
    computing = median(rounds.cpu_utilization(one.serial) for one in measurement.rounds)
    should_be = [(one, rounds.like_serial_s(one)) for one in measurement.rounds]
    assumed = estimates.noise_now(machine.noise * computing, [lengths for _, lengths in should_be])
    alike = [lengths for _, lengths in should_be if rounds.alike(lengths)]
    others = [one for one, lengths in should_be if not rounds.alike(lengths)]
    serial = [length for one in others for length in rounds.lanes_s(one.serial)]
    names = {name: None for one in others for name, batch in one.parallel.items() if batch.apart and less_queue}
    apart = [[length for one in others for length in _lanes_s(one, name)] for name in names]
    return estimates.scatter(assumed, *alike, serial, *apart)


def _lanes_s(one: Round, name: str) -> list[float]:
    return rounds.lanes_s(one.batches[name]) if name in one.batches else []


class Lanes(StrEnum):
    """How the lanes (threads or processes that make calls at the same time) of a parallel batch affect each other."""

    INDEPENDENT = auto()
    """The lanes (threads, processes) do not hinder each other, once queueing due to other programs is taken out."""
    COUPLED = auto()
    """The lanes (threads, processes) may wait for each other, even if queueing due to other programs is taken out."""
    QUEUEING = auto()
    """The lanes (threads, processes) queue for the same CPUs, so that no queueing can be taken out."""

    def s_per_call(self, batch: BatchReading) -> float:
        """Return the seconds per call of a batch whose threads or processes affect each other in this way."""
        if self is Lanes.INDEPENDENT:
            return rounds.s_per_call_apart(batch)
        return rounds.s_per_call(batch, less_queue=self is Lanes.COUPLED)


def lanes_of(pairs: Pairs, *, less_queue: bool) -> Lanes:
    """Return how the threads or processes of a strategy's batches affect each other.

    ``pairs`` has, for each round (one batch of each strategy), the batch of serial calls and the strategy's batch.
    ``less_queue`` is whether queueing for a CPU is due to other programs, so that it can be taken out.
    """
    if not less_queue:
        return Lanes.QUEUEING
    return Lanes.INDEPENDENT if masking.wait_little(pairs) else Lanes.COUPLED


def estimated(pairs: Pairs, noise: Noise, lanes: Lanes, factors: Sequence[float] | None = None) -> Estimate:
    """Estimate a strategy's speed-up: the time of serial calls divided by the time of its own calls, in each round.

    A round is one batch (calls timed together) of each strategy. Its times are measured close together, so a slow
    change of the machine affects all alike. A batch lasts as long as its slowest lane (thread or process), which may be
    slow by chance. An executor loses no time by that, as it gives the next call to a free lane. The loss is known if
    lanes vary independently. Whether they do is unknown, so only the high end is raised by the loss.
    `Lanes.INDEPENDENT` are timed one by one, so nothing is raised.

    Args:
        pairs: For each round, the batch of serial calls and the strategy's batch.
        noise: The noise of the time of one batch; a ratio has the noise of two.
        lanes: How the lanes affect each other.
        factors: For each round, a factor that multiplies the measured ratio; ``None`` leaves ratios as they are.
    """
    ratios = [
        factor * lanes.s_per_call(base) / lanes.s_per_call(batch)
        for (base, batch), factor in zip(pairs, factors or [1.0] * len(pairs), strict=True)
    ]
    queued = rounds.queue_share([batch for pair in pairs for batch in pair]) or 0.0
    from_measured = math.sqrt(fmean(math.log(factor) ** 2 for factor in factors)) if factors else 0.0
    of_ratio = Noise(noise.sd * math.sqrt(2), noise.freedom).beside(Noise(queued * NOISE_OF_QUEUEING))
    found = estimates.positive_centre(ratios, of_ratio.beside(Noise(from_measured * NOISE_AT_EXTREMES)))
    if lanes is Lanes.INDEPENDENT:
        return found
    base, beside = (estimates.slowest_of(len(batch.lanes)) for batch in pairs[0])
    return replace(found, high=found.high * math.exp(noise.sd * max(0.0, beside - base)))


def scaling_now(measurement: Measurement, machine: Machine) -> Estimate | None:
    """Return the speed-up that processes can give on this machine: that of the control, a fixed pure-Python loop.

    It is estimated from runs of the control during this probe, in one process alone and in several at once. If there
    are none, the result is the speed-up of the control at the session's start; ``None`` if that is unknown.
    """
    pairs = [(control.alone, control.together) for control in measurement.controls]
    if not pairs:
        return machine.scaling
    return estimated(pairs, Noise(machine.noise), lanes_of(pairs, less_queue=measurement.workers <= machine.cpus))


def is_busy(measurement: Measurement) -> bool:
    """Return whether other programs kept serial calls waiting for a CPU, or may have done so unseen."""
    return not all(rounds.is_unqueued(one) for one in measurement.rounds) or may_queue_unseen(measurement)


def may_queue_unseen(measurement: Measurement) -> bool:
    """Return whether threads that compute for serial calls, or child processes of calls, may have queued unseen.

    Of calls in several worker processes, each counts all CPUs for itself, so these tell nothing of that.
    """
    serial = [one.serial for one in measurement.rounds]
    shared = [batch for one in measurement.rounds for batch in one.bare.values() if not batch.apart]
    return rounds.may_queue_unseen(serial) or any(map(rounds.children_may_queue, (serial, shared)))


def within_room(estimate: Estimate, measurement: Measurement, machine: Machine, most: float = math.inf) -> Estimate:
    """Return the speed-up ``estimate`` as it is or, on a busy machine, limited by how many calls can run at a time.

    On a busy machine, other programs use the CPUs too. More workers then win a larger part of the CPUs, which looks
    like a speed-up. The cap is the number of calls, with their native helper threads and child processes, that fit on
    the CPUs. If calls use several cores each and do not all fit, only the cap is known: the low end is then at most 1.
    So it is if helper threads or child processes may have queued unseen. Then they may also have gained less than they
    would on an idle machine, so the high end is the cap, the number of workers or ``most``, whatever is least.
    """
    if not is_busy(measurement):
        return estimate
    width = rounds.width(measurement.rounds) + rounds.children_width(measurement.rounds)
    room = max(1.0, machine.cpus / max(width, 1e-9))
    found = capped(estimate, room)
    if may_queue_unseen(measurement):
        highest = max(found.high, min(room, float(measurement.workers), most))
        return replace(found, low=min(found.low, 1.0), high=highest)
    inside = width > 1 + EXTRA_CORES and room < measurement.workers
    return replace(found, low=min(found.low, 1.0)) if inside else found


def beyond(estimate: Estimate, workers: float) -> bool:
    """Return whether the speed-up ``estimate`` is more than N ``workers`` can give; if so, serial calls were disturbed.

    It is more if its low end is above 1.05 N (`SUPERLINEAR`), or its value above 1.15 N (`IMPLAUSIBLE`).
    """
    return estimate.low > workers * SUPERLINEAR or estimate.value > workers * IMPLAUSIBLE


def throttled(measurement: Measurement) -> bool:
    """Return whether a CPU quota held calls back for at least 2 % (`THROTTLED`) of the measured time."""
    return (measurement.throttled_share or 0.0) >= THROTTLED


def without_quota(
    estimate: Estimate, measurement: Measurement, serial: StrategyResult, most: float = math.inf
) -> Estimate:
    """Return the speed-up ``estimate`` with its interval widened to what it may be without a CPU quota.

    It is returned as it is if no quota held the calls back noticeably, or if calls mostly wait. A quota slows calls
    that use several CPUs at once more than ``serial`` calls, by an unknown amount. So the high end is raised to the
    number of workers, or to ``most``, the strategy's ceiling (the largest speed-up it can have), if that is lower.
    """
    waits = serial.utilization.high < IO_BELOW and rounds.children_width(measurement.rounds) <= EXTRA_CORES
    if waits or not throttled(measurement):
        return estimate
    return replace(estimate, high=max(estimate.high, min(float(measurement.workers), most)))
