"""Bound by how much a busy machine may make lanes that share a process look worse than they are.

A lane is one thread of a strategy's batch. The time that a lane spends in the run queue is caused by other programs and
is subtracted. But a lane that waits for the GIL or a lock may wait longer because the thread that holds it queues for a
CPU. A lane that queues may also hide that it would otherwise wait for other lanes: `pytest_gilprobe.stats.overlap`
bounds that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model.readings import BatchReading
from pytest_gilprobe.stats import estimates, gil_share, rounds

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import Measurement
    from pytest_gilprobe.model.results import GilResult

Pairs = Sequence[tuple[BatchReading, BatchReading]]
"""For each round, the batch that is the base and the batch that is compared with that base."""

WAITS = 0.1
"""Least share of a thread's time, in waits that serial calls do not have, from which the thread counts as waiting for a
lock that other threads hold. *Source:* threads that share a lock for 30 % of a call wait for 0.11 or more over some
rounds, beside busy loops."""
NOISE_OF_WAITING = 0.08
"""Standard deviation, from round to round, that is assumed before measuring for the share to which `WAITS` is the
limit: 0.04 to 0.1 was seen."""


class Holding(NamedTuple):
    """How calls hold the GIL: two shares from 0 to 1.

    ``in_queue`` is the share of its time with the GIL for which a call queues for a CPU; ``together`` is the share of a
    batch's time for which any lane (thread of the batch) holds the GIL.
    """

    in_queue: float
    together: float


def holding(gil: GilResult, measurement: Measurement, batches: Sequence[BatchReading]) -> Holding:
    """Return how calls hold the GIL; without GIL samples, assume that they hold it all the time.

    ``batches`` are those of the strategy in question. Both shares are 0 if the GIL was off.
    """
    if not rounds.gil_was_on(measurement):
        return Holding(in_queue=0.0, together=0.0)
    seen, beside = gil.held_fraction, gil_share.held_fraction(batches)
    alone = 1.0 if seen is None else seen.high
    return Holding(
        in_queue=gil_share.in_queue([one.serial for one in measurement.rounds]),
        together=min(1.0, measurement.workers * alone) if beside is None else beside.value,
    )


def hidden(pairs: Pairs, gil: Holding) -> tuple[float, ...]:
    """Return, for each round, the factor by which lanes (threads) may be faster than it shows, without other programs.

    ``pairs`` has the serial batch and the lanes' batch of each round, ``gil`` how calls hold the GIL. A factor is at
    least 1. The wait for a lock or the GIL is longer if its holder queues for a CPU. For a lock, this lengthens the
    wait by the share of the time for which the holder wants to run and queues. For the GIL, ``gil.in_queue`` counts
    instead if it is larger, since calls that return from the kernel with the GIL are often preempted there.
    """
    return tuple(_of_round(base, lanes, gil) for base, lanes in pairs)


def wait_little(pairs: Pairs) -> bool:
    """Return whether lanes (threads) certainly waited for each other for less than the share `WAITS` of their time.

    ``pairs`` has the serial batch and the lanes' batch of each round.
    """
    waited = [_waited(base, together) for base, together in pairs]
    return estimates.centre(waited, NOISE_OF_WAITING).high < WAITS


def _waited(base: BatchReading, lanes: BatchReading) -> float:
    """Return the share of its time, less queueing, for which a lane waited beyond the waiting of a serial call."""
    call_s = rounds.lane_s_per_call(lanes)
    return max(0.0, _blocked_s(lanes) - _blocked_s(base)) / call_s


def _blocked_s(batch: BatchReading) -> float:
    """Return the seconds per call for which a lane neither computed nor queued."""
    return rounds.lane_s_per_call(batch) - rounds.totals_s(batch)[1] / rounds.calls_in(batch)


def _of_round(base: BatchReading, lanes: BatchReading, gil: Holding) -> float:
    wall, cpu, queue = rounds.totals_s(lanes)
    running, held_up = max(wall - (queue or 0.0), 1e-9), (queue or 0.0) / max(cpu + (queue or 0.0), 1e-9)
    waited = _waited(base, lanes)
    for_gil = min(waited, gil.together * wall / running)
    spurious = for_gil * max(gil.in_queue, held_up) + (waited - for_gil) * held_up
    return max(1.0, 1 / max(1 - spurious, 1e-12))
