"""Estimate from samples of one workload's GIL how long, and where in the code, its calls hold the GIL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_gilprobe.model.results import GilResult
from pytest_gilprobe.model.thresholds import HARDLY_HELD
from pytest_gilprobe.stats import gil_holds, gil_share, holders, rounds

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import Measurement
    from pytest_gilprobe.strategies.contract import Strategy


def of(measurement: Measurement, strategies: Sequence[Strategy]) -> GilResult:
    """Estimate how long and where serial calls held the GIL, and the longest time for which one thread held it.

    The longest time, and its place in the code, come from calls made by those ``strategies`` that use several threads
    of one process; all else comes from serial calls. ``measurement`` has the readings of both.
    """
    serial = [one.serial for one in measurement.rounds]
    heard = [*serial, *([measurement.heartbeat] if measurement.heartbeat is not None else [])]
    sampled = [batch for batch in heard if batch.gil is not None]
    held = gil_share.while_running(gil_share.held_fraction(heard), sampled)
    shared = [
        one.batches[strategy.name]
        for strategy in strategies
        if strategy.one_process and not strategy.one_thread
        for one in measurement.rounds
        if strategy.name in one.batches
    ]
    call_s = min(rounds.lane_s_per_call(batch) for batch in serial)
    places = holders.holders(serial, call_s)
    why_none = None if places is not None else measurement.holders_unread or holders.why_none(serial, call_s)
    return GilResult(
        held_fraction=held,
        method=gil_share.method(heard) if held is not None else None,
        longest_hold_s=gil_holds.longest_hold_s(shared),
        longest_holder=gil_holds.longest_holder(shared),
        holders=places,
        holders_reason=why_none,
        stacks=holders.stacks(serial) if places is not None else None,
        threads_ceiling=1 / held.value if held is not None and held.low >= HARDLY_HELD else None,
    )
