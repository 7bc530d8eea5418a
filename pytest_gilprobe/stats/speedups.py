"""How much faster a strategy was than serial calls, and how sure that is: round by round, other programs taken out."""

from __future__ import annotations

import math
from dataclasses import replace
from enum import StrEnum, auto
from statistics import fmean, median
from typing import TYPE_CHECKING

from pytest_gilprobe.model import Estimate
from pytest_gilprobe.stats import doubt, estimates, rounds
from pytest_gilprobe.stats.estimates import Noise
from pytest_gilprobe.thresholds import IO_BELOW, NATIVE_BUSY, THROTTLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model import Machine, Measurement, Sample, SerialResult

NOISE_OF_QUEUEING = 0.1
"""Noise of a batch that queued all the time, beyond a quiet one's: a correction is less certain the larger it is."""
NOISE_OF_DOUBT = 0.5
"""Noise of an extreme of what a busy machine may hide, as a share of how far it lies from what was measured: seen for
threads that wait for one lock beside two busy loops or more, 0.13 to 0.20 where that is 0.35, in logarithms."""
OWN_QUEUE = 1.15
"""Threads of a batch may outnumber the CPUs by this factor before its queueing is put down to itself: clocks have a
grain."""


def correctable(measurement: Measurement, machine: Machine) -> bool:
    """Tell whether run-queue time is other programs' fault: not where the batch's own threads outnumber the CPUs.

    Native helper threads count: two calls of a matrix product that each use two cores queue behind each other.
    """
    width = rounds.width(measurement.rounds)
    return measurement.workers * max(1.0, width) <= machine.cpus * OWN_QUEUE


def batch_noise(measurement: Measurement, machine: Machine, *, less_queue: bool) -> Noise:
    """Return how much batches of the same calls differ, in the logarithm of their length.

    Assumed beforehand is what the session's survey of a computing loop saw, as far as the calls compute, unless the
    batches of each round lie so near each other that the machine is calm now. Beside it stand the batches themselves:
    all of a round's that should be alike and are; else serial batches among themselves and processes, which share
    nothing, among themselves, but not where they outnumber the CPUs, and so share those. Batches of one long call that
    takes now 60 ms, now 180 ms differ by more than any machine's noise.
    """
    computing = median(rounds.cpu_utilization(one.serial) for one in measurement.rounds)
    should_be = [(one, rounds.like_serial_s(one)) for one in measurement.rounds]
    assumed = estimates.noise_now(machine.noise * computing, [lengths for _, lengths in should_be])
    alike = [lengths for _, lengths in should_be if rounds.alike(lengths)]
    others = [one for one, lengths in should_be if not rounds.alike(lengths)]
    serial = [length for one in others for length in rounds.lanes_s(one.serial)]
    processes = [one.processes for one in others if one.processes is not None and less_queue]
    apart = [length for sample in processes for length in rounds.lanes_s(sample)]
    return estimates.scatter(assumed, *alike, serial, apart)


class Lanes(StrEnum):
    """What the threads or workers of a parallel batch, its lanes, have to do with each other."""

    APART = auto()
    """They do not hinder each other, other programs' queueing taken out."""
    TOGETHER = auto()
    """They may wait for each other, other programs' queueing taken out."""
    IN_TURN = auto()
    """They queue for the same CPUs, so that no queueing can be taken out."""

    def s_per_call(self, sample: Sample) -> float:
        """Return the time per call of a batch of such lanes."""
        if self is Lanes.APART:
            return rounds.s_per_call_apart(sample)
        return rounds.s_per_call(sample, less_queue=self is Lanes.TOGETHER)


def lanes_of(pairs: Sequence[tuple[Sample, Sample]], *, less_queue: bool) -> Lanes:
    """Tell what the lanes of parallel batches have to do with each other, each beside its serial batch."""
    if not less_queue:
        return Lanes.IN_TURN
    return Lanes.APART if doubt.wait_little(pairs) else Lanes.TOGETHER


def estimated(
    pairs: Sequence[tuple[Sample, Sample]], noise: Noise, lanes: Lanes, factors: Sequence[float] | None = None
) -> Estimate:
    """Estimate a strategy's speed-up: round by round, so that slow drift hits both sides alike.

    ``noise`` is that of one batch; a ratio has that of two. ``factors``, one for each round, is by how much the
    speed-up differs from what was measured. A batch lasts as long as its slowest lane, which is late by chance alone
    where lanes differ each for themselves; how far they do, one machine's common noise hides. So the high end is as if
    they did: a pool hands the next call to whoever is done, and has no such loss. Lanes that are apart are measured
    each for itself, and need no such allowance.
    """
    ratios = [
        factor * lanes.s_per_call(serial) / lanes.s_per_call(sample)
        for (serial, sample), factor in zip(pairs, factors or [1.0] * len(pairs), strict=True)
    ]
    queued = rounds.queue_share([sample for pair in pairs for sample in pair]) or 0.0
    apart = math.sqrt(fmean(math.log(factor) ** 2 for factor in factors)) if factors else 0.0
    of_ratio = Noise(noise.sd * math.sqrt(2), noise.freedom).beside(Noise(queued * NOISE_OF_QUEUEING))
    found = estimates.positive_centre(ratios, of_ratio.beside(Noise(apart * NOISE_OF_DOUBT)))
    if lanes is Lanes.APART:
        return found
    base, beside = (estimates.slowest_of(len(rounds.lanes_s(sample))) for sample in pairs[0])
    return replace(found, high=found.high * math.exp(noise.sd * max(0.0, beside - base)))


def scaling_now(measurement: Measurement, machine: Machine) -> Estimate | None:
    """Return the speed-up that the control got.

    It is that between the workload's own rounds if it was run there, else that of the session's start.
    """
    pairs = [(one.serial, one.processes) for one in measurement.controls if one.processes is not None]
    if not pairs:
        return machine.scaling
    return estimated(pairs, Noise(machine.noise), lanes_of(pairs, less_queue=measurement.workers <= machine.cpus))


def is_busy(measurement: Measurement) -> bool:
    """Tell whether other programs kept serial calls waiting for a CPU, or may have."""
    return not all(rounds.is_unqueued(one) for one in measurement.rounds) or _may_queue_unseen(measurement)


def _may_queue_unseen(measurement: Measurement) -> bool:
    return rounds.may_queue_unseen([one.serial for one in measurement.rounds])


def in_room(estimate: Estimate, measurement: Measurement, machine: Machine) -> Estimate:
    """Cap a speed-up by what the CPUs leave room for, on a busy machine; on a quiet one it was measured.

    A call needs CPU time, its native helper threads' included, and there are so many CPUs. With other programs on them,
    more workers also win a larger part of them, which reads as a speed-up. Of calls that are parallel inside, or whose
    helper threads may have queued unseen, that leaves nothing known but the cap.
    """
    if not is_busy(measurement):
        return estimate
    width = rounds.width(measurement.rounds)
    room = max(1.0, machine.cpus / max(width, 1e-9))
    in_it = capped(estimate, room)
    inside = (width > 1 + NATIVE_BUSY and room < measurement.workers) or _may_queue_unseen(measurement)
    return replace(in_it, low=min(in_it.low, 1.0)) if inside else in_it


def throttled(measurement: Measurement) -> bool:
    """Tell whether a CPU quota held the rounds back for long enough to matter."""
    return (measurement.throttled_share or 0.0) >= THROTTLED


def unbraked(estimate: Estimate, measurement: Measurement, serial: SerialResult, most: float = math.inf) -> Estimate:
    """Widen a speed-up to what it could be without a CPU quota, where one held back calls that compute.

    What uses more CPUs is held back more, by how much nobody saw: so it may be as high as the number of workers, or
    as ``most`` where the GIL sets that. Calls that wait do so under any quota.
    """
    waits = serial.cpu_utilization.high < IO_BELOW and rounds.children_width(measurement.rounds) <= NATIVE_BUSY
    if waits or not throttled(measurement):
        return estimate
    return replace(estimate, high=max(estimate.high, min(float(measurement.workers), most)))


def capped(estimate: Estimate, most: float) -> Estimate:
    """Return an estimate none of whose three numbers is above ``most``."""
    return Estimate(
        value=min(estimate.value, most),
        low=min(estimate.low, most),
        high=min(estimate.high, most),
        confidence=estimate.confidence,
    )
