"""What a busy machine may hide in a batch of threads: by how much they may be better or worse than they read.

Time in the run queue is other programs' doing and is taken out; but a thread that queues cannot show that it would have
had to wait for the GIL or a lock anyway, and a thread that waits for one may wait for a holder that queues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.stats import estimates, rounds

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


def holding(serial: SerialResult, measurement: Measurement) -> float:
    """Return the share of its CPU time for which a call holds the GIL; all of it where that is not known."""
    if not rounds.gil_was_on(measurement):
        return 0.0
    if serial.gil_held_fraction is None:
        return 1.0
    return min(1.0, serial.gil_held_fraction.high / max(serial.cpu_utilization.low, 1e-3))


def of(
    pairs: Sequence[tuple[Sample, Sample]], held_share: float, *, less_queue: bool
) -> tuple[tuple[float, float], ...]:
    """Return by what factors threads may be worse and better than each round says, since others were on the CPUs.

    Worse: a thread that queues while another holds the GIL would have waited anyway, so that time is no loss to take
    out; it is at most what the others computed while holding it. Threads that do wait for each other, more than one
    alone waits, may do so for a lock that nobody sees: then all that the others computed counts as held, unless what
    they waited for is little for certain, over all rounds; single ones may hide all of it. Better: a thread that waits
    for a lock or the GIL is blocked, not queued; but if its holder is kept from running for a share q of the time that
    it wants to run, the wait is longer by that share. Both are extremes, so they widen the interval and leave the
    value; on a quiet machine both are 1.
    """
    if not less_queue:
        return tuple((1.0, 1.0) for _ in pairs)
    waited = [_waited(serial, threads) for serial, threads in pairs]
    free = estimates.centre(waited, NOISE_OF_WAITING).high < WAITS
    return tuple(
        _of_round(serial, threads, share, held_share, free=free)
        for (serial, threads), share in zip(pairs, waited, strict=True)
    )


def _waited(serial: Sample, threads: Sample) -> float:
    """Return the share of its time, less queueing, that a thread waited for more than a serial call waits for."""
    lane, cpu = rounds.lane_s_per_call(threads), rounds.totals_s(threads)[1] / rounds.calls_in(threads)
    alone = rounds.lane_s_per_call(serial) - rounds.totals_s(serial)[1] / rounds.calls_in(serial)
    return max(0.0, lane - cpu - alone) / lane


def _of_round(serial: Sample, threads: Sample, waited: float, held_share: float, *, free: bool) -> tuple[float, float]:
    _, cpu, queue = rounds.totals_s(threads)
    held_up = (queue or 0.0) / max(cpu + (queue or 0.0), 1e-9)
    best = 1 / max(1 - waited * held_up, 1e-12)
    seems = waited > WAITS or _wait_for_each_other(serial, threads)
    locked = 1.0 if seems and not free else held_share
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
