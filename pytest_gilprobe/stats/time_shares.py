"""Split a thread's or process's time into shares: computing, queueing for a CPU, waiting for the GIL, blocked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.results import TimeShares
from pytest_gilprobe.stats import estimates, rounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.readings import BatchReading


UTILIZATION_NOISE = 0.02
"""Least standard deviation assumed for the CPU utilization (from 0 to 1) of a batch (calls timed together): its wall
clock and its CPU clocks are not read at the same moment."""


def of(
    batches: Sequence[BatchReading], held: Estimate | None, *, lanes: int, serial: TimeShares | None = None
) -> TimeShares | None:
    """Split the time of one lane (thread, process ...) into shares by what it was spent on; ``None`` without any time.

    Serial calls show for how long a call itself waits, for each second of CPU time. Any further blocked time of a lane
    is attributed to the GIL, up to the time for which the GIL was held. Without ``serial`` or ``held``, the wait for
    the GIL is unknown.

    Args:
        batches: The batches (calls timed together) in which the lanes made calls.
        held: The share of the time for which the GIL was held; ``None`` if unknown, or if each lane has its own GIL.
        lanes: The number of lanes that share a GIL.
        serial: The shares of serial calls, for lanes that share a GIL; else ``None``.
    """
    wall = cpu = queue = 0.0
    for batch in batches:
        batch_wall, batch_cpu, batch_queue = rounds.totals_s(batch)
        wall, cpu, queue = wall + batch_wall, cpu + batch_cpu, queue + (batch_queue or 0.0)
    if wall <= 0:
        return None
    total = max(wall, cpu + queue)
    on_cpu, in_queue = cpu / total, queue / total
    blocked = max(0.0, 1 - on_cpu - in_queue)
    with_gil = None if held is None else min(held.value / lanes, on_cpu)
    waiting = None
    if serial is not None and held is not None:
        waiting = min(_further_blocked(blocked, on_cpu, serial), held.value)
    return TimeShares(
        cpu=on_cpu,
        cpu_with_gil=with_gil,
        cpu_without_gil=None if with_gil is None else on_cpu - with_gil,
        gil_wait=waiting,
        blocked=blocked,
        run_queue=None if rounds.queue_share(batches) is None else in_queue,
    )


def _further_blocked(blocked: float, on_cpu: float, serial: TimeShares) -> float:
    """Return the blocked share of a lane's time beyond what the same calls wait for when they run alone."""
    own = serial.blocked * on_cpu / serial.cpu if serial.cpu > 0 else blocked
    return max(0.0, blocked - own)


def other_wait(lanes: TimeShares | None, serial: TimeShares | None) -> float | None:
    """Return the share of a thread's time in waits that are neither for the GIL nor found in serial calls.

    ``lanes`` has the shares of a thread's time while other threads make calls too, ``serial`` the shares of the time of
    serial calls. Such waits are for a lock, or for what answers the calls, such as a server. The result is ``None`` if
    unknown.
    """
    if lanes is None or serial is None or lanes.gil_wait is None:
        return None
    return max(0.0, _further_blocked(lanes.blocked, lanes.cpu, serial) - lanes.gil_wait)


def utilization(batches: Sequence[BatchReading]) -> Estimate:
    """Estimate the CPU utilization, from 0 to 1, of the average thread or process in batches (calls timed together)."""
    found = estimates.centre([rounds.cpu_utilization(batch) for batch in batches], UTILIZATION_NOISE)
    low, value, high = (min(1.0, max(0.0, one)) for one in (found.low, found.value, found.high))
    return Estimate(value=value, low=low, high=high, confidence=found.confidence)
