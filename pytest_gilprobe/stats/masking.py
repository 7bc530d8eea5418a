"""Estimate how much slower threads of one process may be on a busy machine than on an idle one.

The time that a thread spends in the run queue is caused by other programs and is subtracted. But a thread that waits
for the GIL or a lock may wait longer because the thread that holds it queues for a CPU. A thread that queues may also
hide that it would otherwise wait for other threads: `pytest_gilprobe.stats.overlap` bounds that.
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
"""Pairs of batches (series of timed calls), one pair for each round (one batch of each strategy). The second batch of a
pair is compared with the first, which is mostly that of serial calls."""

WAITS = 0.1
"""Threads count as waiting for locks that other threads hold if they spend at least this share of their time in waits
that serial calls do not have. *Source:* threads whose calls hold a common lock for 30 % of a call's time, and which
compete with busy loops for the CPUs, spend 0.11 of their time or more in such waits, on average over several rounds."""
NOISE_OF_WAITING = 0.08
"""The share of a thread's time in waits that serial calls do not have differs from round to round (a round is one batch
of each strategy). This is the standard deviation assumed before measuring: 0.04 to 0.1 was seen."""


class Holding(NamedTuple):
    """How calls hold the GIL: two shares from 0 to 1.

    ``in_queue`` is, of the time for which a call holds the GIL, the share in which it queues for a CPU. ``together`` is
    the share of a batch's time for which any of the batch's threads holds the GIL.
    """

    in_queue: float
    together: float


def holding(gil: GilResult, measurement: Measurement, batches: Sequence[BatchReading]) -> Holding:
    """Estimate for which share of the time threads hold the GIL, and in which part of it the holder queues for a CPU.

    ``gil`` has the GIL's result for serial calls; ``batches`` (series of timed calls) are those made in threads. The
    queueing is estimated from serial calls. If the GIL was not sampled in ``batches``, N threads together are assumed
    to hold it N times as long as serial calls do, or all the time if that is more or unknown. If the GIL was off, both
    shares in the result are 0.
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
    """Return, for each round, the factor by which threads may be faster on an idle machine than in that round.

    ``pairs`` has, for each round (one batch of each strategy), the batch of serial calls and the batch of threads;
    ``gil`` says how calls hold the GIL. A factor is at least 1. A thread waits longer for a lock or the GIL if the
    holder queues for a CPU. So a share of each wait is taken to be absent on an idle machine. For a lock, this share is
    the threads' time in the queue / (time in the queue + CPU time). For the GIL, it is ``gil.in_queue`` if that is
    larger, since calls that return from the kernel with the GIL are often preempted there.
    """
    return tuple(_of_round(base, lanes, gil) for base, lanes in pairs)


def wait_little(pairs: Pairs) -> bool:
    """Return whether parallel lanes certainly waited for each other for less than a tenth (`WAITS`) of their time.

    A lane is a thread or process that makes calls. ``pairs`` has, for each round (one batch of each strategy), the
    batch of serial calls and the batch of the lanes. Only waits that serial calls do not have count.
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
