"""What a busy machine may hide in a batch of threads: by how much they may be better or worse than they read.

Time in the run queue is other programs' doing and is taken out; but a thread that queues cannot show that it would have
had to wait for the GIL or a lock anyway, and a thread that waits for one may wait for a holder that queues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.stats import estimates, rounds, watched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model import Measurement, Sample, SerialResult

WAITS_PER_CALL = 0.2
"""So many waits more in each call than one thread alone has, and more than `WAITS_PER_CPU_S`, show a shared lock.

Seen with two busy loops beside it: 0.3 to 0.6 for hashing under one lock, up to 0.13 for hashing, sorting, compressing.
"""
WAITS_PER_CPU_S = 20.0
"""The same, for each second of CPU time: a handful in a batch happen by chance."""
WAITS_TO_BEGIN = 3
"""Waits of one thread in a batch that say nothing: threads that begin and end together meet at the GIL once each, and
once more when one of them is pushed off its CPU there."""
WAITS = 0.1
"""Share of its time that a thread must wait for the others, to count as waiting for a lock of theirs.

Seen in threads that share a lock for 30 % of a call's time, over some rounds: 0.11 to 0.14 beside two busy loops, 0.2
to 0.3 beside four; in single rounds down to 0, where each queued while the other had the lock.
"""
NOISE_OF_WAITING = 0.08
"""Standard deviation of that share from round to round, assumed beforehand: what was seen with such locks, 0.04 to 0.1.
"""


class Holding(NamedTuple):
    """What calls do with the GIL, each a share from 0 to 1.

    ``computing`` is the largest share of its CPU time for which a call holds it; ``in_queue`` is the share of its
    holding for which it queues; ``together`` is the share of the time of a batch of threads for which any of them holds
    it.
    """

    computing: float
    in_queue: float
    together: float


def holding(serial: SerialResult, measurement: Measurement) -> Holding:
    """Tell what calls do with the GIL; where that is not known, they hold it whenever they run, and queue with it."""
    if not rounds.gil_was_on(measurement):
        return Holding(computing=0.0, in_queue=0.0, together=0.0)
    seen = serial.gil_held_fraction
    beside = watched.held_fraction([one.threads for one in measurement.rounds if one.threads is not None])
    alone = 1.0 if seen is None else seen.high
    return Holding(
        computing=1.0 if seen is None else min(1.0, seen.high / max(serial.cpu_utilization.low, 1e-3)),
        in_queue=watched.in_queue([one.serial for one in measurement.rounds]),
        together=min(1.0, measurement.workers * alone) if beside is None else beside.value,
    )


def of(pairs: Sequence[tuple[Sample, Sample]], gil: Holding, *, less_queue: bool) -> tuple[tuple[float, float], ...]:
    """Return by what factors threads may be worse and better than each round says, since others were on the CPUs.

    Worse: a thread that queues while another holds the GIL would have waited anyway, so that time is no loss to take
    out; it is at most what the others computed while holding it. Threads that do wait for each other, more than one
    alone waits, may do so for a lock that nobody sees: then all that the others computed counts as held, unless what
    they waited for is little for certain, over all rounds; single ones may hide all of it. Better: a thread that waits
    for a lock or the GIL is blocked, not queued; but if its holder is kept from running for a share of the time that it
    holds it, the wait is longer by that share. For a lock that is the share of the time that the holder wants to run;
    for the GIL it may be more, since calls that come out of the kernel with the GIL are pushed off there: at the most
    all queueing is such. Both are extremes, so they widen the interval and leave the value; on a quiet machine both
    are 1.
    """
    if not less_queue:
        return tuple((1.0, 1.0) for _ in pairs)
    waited, free = [_waited(serial, threads) for serial, threads in pairs], wait_little(pairs)
    return tuple(
        _of_round(serial, threads, share, gil, free=free)
        for (serial, threads), share in zip(pairs, waited, strict=True)
    )


def wait_little(pairs: Sequence[tuple[Sample, Sample]]) -> bool:
    """Tell whether lanes of a parallel batch waited for each other for certain for less than `WAITS` of their time."""
    waited = [_waited(serial, together) for serial, together in pairs]
    return estimates.centre(waited, NOISE_OF_WAITING).high < WAITS


def _waited(serial: Sample, threads: Sample) -> float:
    """Return the share of its time, less queueing, that a thread waited for more than a serial call waits for."""
    lane, cpu = rounds.lane_s_per_call(threads), rounds.totals_s(threads)[1] / rounds.calls_in(threads)
    alone = rounds.lane_s_per_call(serial) - rounds.totals_s(serial)[1] / rounds.calls_in(serial)
    return max(0.0, lane - cpu - alone) / lane


def _of_round(serial: Sample, threads: Sample, waited: float, gil: Holding, *, free: bool) -> tuple[float, float]:
    wall, cpu, queue = rounds.totals_s(threads)
    running, held_up = max(wall - (queue or 0.0), 1e-9), (queue or 0.0) / max(cpu + (queue or 0.0), 1e-9)
    for_gil = min(waited, gil.together * wall / running)
    spurious = for_gil * max(gil.in_queue, held_up) + (waited - for_gil) * held_up
    best = 1 / max(1 - spurious, 1e-12)
    seems = waited > WAITS or _wait_for_each_other(serial, threads)
    locked = 1.0 if seems and not free else gil.computing
    worst = rounds.span_s(threads, less_queue=True) / rounds.span_s(threads, less_queue=True, holding=locked)
    return min(1.0, worst), max(1.0, best)


def _wait_for_each_other(serial: Sample, threads: Sample) -> bool:
    """Tell whether threads gave their CPU up more often than serial calls did, by enough to matter.

    On a busy machine a thread that finds a lock taken is woken into the run queue, where its wait cannot be told from
    queueing; but that it had to be woken at all can.
    """
    alone, together = rounds.waits_per_call(serial), rounds.waits_per_call(threads)
    if alone is None or together is None:
        return True
    extra = together - alone
    _, cpu, _ = rounds.totals_s(threads)
    lanes = sum(len(reading.threads) for reading in threads.readings)
    by_chance = max(WAITS_PER_CPU_S * cpu, WAITS_TO_BEGIN * lanes)
    return extra > WAITS_PER_CALL and extra * rounds.calls_in(threads) > by_chance
