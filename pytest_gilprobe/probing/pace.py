"""Plan how many calls fill a batch (a timed series of calls), and how long a batch lasts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_gilprobe.stats.rounds import lane_s_per_call, running_s

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import BatchReading, LaneReading

BATCH_S = 0.05
"""Intended seconds of a batch (a timed series of calls): in shorter ones, waits for a CPU are measured too coarsely."""
BURST_S = 0.0015
"""Intended seconds of a burst, a batch so short that it may run undisturbed beside other programs: a scheduler lets a
thread run for longer before another gets the CPU. *Source:* ``base_slice_ns`` of Linux, 2 to 4 ms on a few CPUs."""
CALIBRATED_S = 0.01
"""A series of calls of this many seconds is long enough to tell how long one call takes."""
SHORT = 0.5
"""If a probe's first batch (timed series of calls) takes less than this share of the intended time, it is measured
again with more calls."""
MOST_CALLS = 10_000_000
"""Largest number of calls in a batch (a timed series of calls): 10 million empty calls take about 0.2 s."""
FASTER_STEPS = 20
"""To find out how long one call takes, ever longer series of calls are timed: each series has at most this many times
as many calls as the series before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a call takes, and how many calls fill a batch (a timed series of calls).

    ``call_s`` is seconds per call, and ``busy`` the share of that time, from 0 to 1, for which the call is on a CPU. A
    batch should take about ``target_s`` seconds, and has at most ``most`` calls.
    """

    call_s: float
    busy: float
    target_s: float
    most: int = MOST_CALLS

    @classmethod
    def of_first_call(cls, lane: LaneReading, target_s: float, most: int = MOST_CALLS) -> Pace:
        """Return the pace after the first call in a worker process: all calls are expected to take as long as this one.

        ``lane`` has the times of that call. A batch should take ``target_s`` seconds, and has at most ``most`` calls.
        """
        call_s = max((lane.end_ns - lane.start_ns) / 1e9, 1e-9)
        return cls(call_s=call_s, busy=lane.cpu_ns / 1e9 / call_s, target_s=target_s, most=most)

    def renewed(self, batch: BatchReading) -> Pace:
        """Return a pace with the time per call that ``batch``, a batch of serial calls, shows.

        The time for which the calls waited for a CPU is left out.
        """
        call_s = lane_s_per_call(batch)
        return replace(self, call_s=call_s, busy=running_s(batch)[1] / (call_s * batch.lanes[0].calls))

    @property
    def calls(self) -> int:
        """Number of calls that fill a batch: at least 1, and at most ``most``."""
        return max(1, min(self.most, math.ceil(self.target_s / self.call_s)))

    def of_burst(self) -> Pace:
        """Return a pace for bursts (very short batches), with the same time per call.

        A burst should take `BURST_S` seconds, but has at least one call.
        """
        return replace(self, target_s=BURST_S)

    @property
    def batch_s(self) -> float:
        """Expected duration of a batch of serial calls, in seconds."""
        return self.calls * self.call_s

    def next_trial(self, calls: int) -> int | None:
        """Return how many calls to time next to find out how long one takes, after a trial of ``calls`` calls.

        The result is ``None`` if that trial took at least `CALIBRATED_S` seconds, or had the largest number of calls
        allowed.
        """
        if self.call_s * calls >= CALIBRATED_S or calls >= self.most:
            return None
        wanted = min(calls * FASTER_STEPS, math.ceil(CALIBRATED_S * 1.2 / self.call_s))
        return min(self.most, max(calls + 1, wanted))

    def was_short(self, batch: BatchReading) -> bool:
        """Return whether ``batch``, a batch of serial calls, took less than half of the intended time (see `SHORT`)."""
        return lane_s_per_call(batch) * self.calls < self.target_s * SHORT
