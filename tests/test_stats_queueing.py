"""`pytest_gilprobe.stats.queueing`: looks that fell into the run queue are found, whatever was held there."""

from __future__ import annotations

import random
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import pytest
from evidence import START_NS, thread
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model import BatchReading, Estimate, GilMethod, GilTrace, Sample, Strategy
from pytest_gilprobe.stats import watched
from pytest_gilprobe.stats.queueing import Stretch, unqueued, without_queue

if TYPE_CHECKING:
    from collections.abc import Sequence

MS = 1_000_000


def trace(at_ns: Sequence[int], queue_ns: Sequence[int], held: Sequence[bool] | None = None) -> GilTrace:
    """Make a watcher's trace of a thread that was ready to run at every look."""
    return GilTrace(
        method=GilMethod.MEMORY,
        at_ns=tuple(at_ns),
        held=tuple(held or [False] * len(at_ns)),
        late_ns=(0,) * len(at_ns),
        runnable=(True,) * len(at_ns),
        same_core=(False,) * len(at_ns),
        queue_ns=tuple(queue_ns),
    )


def batch(seen: GilTrace, wall_ns: int, queue_ns: int | None, lanes: int = 1) -> Sample:
    """Make a watched batch of computing from `START_NS` on."""
    queued = None if queue_ns is None else queue_ns / 1e9
    one = thread(wall_ns / 1e9, cpu_s=wall_ns / 1e9 - (queued or 0.0), queue_s=queued, preemptions=10, waits=0)
    reading = BatchReading(threads=(one,) * lanes, process_cpu_ns=0, peak_rss_bytes=None, gil_enabled=True)
    return Sample(strategy=Strategy.SERIAL, readings=(reading,), trace=seen)


def test_a_stretch_lies_between_the_looks_that_saw_it_end() -> None:
    """Where a clock has grown by 3 ms between looks at 5 and 6 ms, it queued from 3 to 5 ms wherever that ended."""
    found = Stretch(3 * MS, 5 * MS, 6 * MS)
    assert found.certain == (3 * MS, 5 * MS)
    assert found.is_within(2 * MS, 6 * MS)
    assert not found.is_within(2 * MS + 1, 6 * MS)
    assert not found.is_within(2 * MS, 6 * MS - 1)


@pytest.mark.parametrize("held", [True, False])
def test_what_queued_for_certain_is_cut_out(held: bool) -> None:  # noqa: FBT001 - a parameter
    """Of 3 ms in the queue 2 ms are cut out and 1 ms is left; the look that ended it says with what it queued."""
    looks = trace([at * MS for at in (1, 4, 5, 6, 9)], [0, 0, 0, 3 * MS, 3 * MS], [False, held, held, False, True])
    found = without_queue(looks, 0, 10 * MS, 3 * MS)
    assert found is not None
    assert found.trace.at_ns == (1 * MS, 3 * MS, 4 * MS, 7 * MS)
    assert (found.start_ns, found.end_ns, found.running_ns) == (0, 8 * MS, 7 * MS)
    assert (found.held_ns, found.edges_held_ns) == ((3 * MS, 1 * MS) if held else (0, 0))
    assert (found.queued_ns, found.unknown_ns) == (3 * MS, 0)


@pytest.mark.parametrize(
    ("at_ns", "queue_ns", "told_ns", "unknown_ns"),
    [
        ([1 * MS, 5 * MS], [0, 1 * MS], 1 * MS, 1 * MS),  # shorter than the time between two looks
        ([1 * MS], [0], 4 * MS, 4 * MS),  # after the last look, or before the first
        ([3 * MS, 4 * MS], [0, 0], 2 * MS, 2 * MS),
        ([1 * MS, 9 * MS, 12 * MS], [0, 0, 6 * MS], 4 * MS, 1 * MS),  # across the end: partly after it
        ([-2 * MS, 1 * MS], [0, 8 * MS], 1 * MS, 1 * MS),  # across the start: mostly before it
    ],
)
def test_what_no_look_shows_is_unknown(at_ns: list[int], queue_ns: list[int], told_ns: int, unknown_ns: int) -> None:
    """Queueing in which there was no look for certain may have been with the GIL or not: nothing is made up."""
    found = without_queue(trace(at_ns, queue_ns), 0, 10 * MS, told_ns)
    assert found is not None
    assert found.unknown_ns == unknown_ns
    assert found.running_ns == 10 * MS - told_ns


def test_a_stretch_across_the_end_is_known_as_far_as_looks_reach() -> None:
    """A thread that queued from 2 ms on for 9 ms, looked at after 8 ms, queued for all of that."""
    found = without_queue(trace([1 * MS, 8 * MS, 11 * MS], [0, 0, 9 * MS], [False, True, True]), 0, 10 * MS, 7 * MS)
    assert found is not None
    assert (found.held_ns, found.unknown_ns, found.end_ns) == (6 * MS, 1 * MS, 4 * MS)


@pytest.mark.parametrize(
    ("seen", "queue_ns", "lanes"),
    [
        (trace([START_NS, START_NS + 9 * MS], [0, 0]), None, 1),
        (trace([START_NS, START_NS + 9 * MS], [0, 3 * MS]), 5 * MS, 2),
        (GilTrace(method=GilMethod.MEMORY, at_ns=(START_NS,), held=(True,), late_ns=(0,)), 5 * MS, 1),
    ],
    ids=["no clock of the thread", "two threads", "looks without the clock"],
)
def test_looks_that_do_not_show_the_queueing_say_nothing(seen: GilTrace, queue_ns: int | None, lanes: int) -> None:
    """There are bounds for those; nothing is made up."""
    assert unqueued(batch(seen, 10 * MS, queue_ns, lanes)) is None


@given(st.lists(st.tuples(st.integers(1, 5 * MS), st.integers(0, 9 * MS), st.booleans()), min_size=2, max_size=60))
def test_what_is_left_is_a_batch_of_its_own(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever the looks say, the moments that are left are in order, and times add up."""
    at_ns, queue_ns, held = [START_NS], [0], [False]
    for pause, queued, has in steps:
        at_ns.append(at_ns[-1] + pause)
        queue_ns.append(queue_ns[-1] + queued)
        held.append(has)
    wall = at_ns[-1] - START_NS
    found = unqueued(batch(trace(at_ns, queue_ns, held), wall, min(wall, queue_ns[-1])))
    assert found is not None
    assert list(found.trace.at_ns) == sorted(found.trace.at_ns)
    assert found.start_ns <= found.end_ns
    assert all(found.start_ns <= moment <= found.end_ns for moment in found.trace.at_ns)
    assert len(found.trace.at_ns) <= len(at_ns)
    assert found.running_ns + found.queued_ns == wall
    assert 0 <= found.edges_held_ns <= found.held_ns
    assert 0 <= found.unknown_ns <= found.queued_ns


@dataclass(frozen=True, slots=True)
class Busy:
    """A call on a busy machine: held for a share of its computing, pushed off with the GIL or whenever it happens.

    It first waits without the GIL for ``waits_ms`` and then computes for ``computes_ms``; it is looked at every
    ``look_ms`` on average.
    """

    held: float
    pushed_off_with_gil: bool
    waits_ms: float = 0.0
    computes_ms: float = 50.0
    look_ms: float = 0.17

    @property
    def share(self) -> float:
        """Return the held share of its time without the queue."""
        return self.held * self.computes_ms / (self.computes_ms + self.waits_ms)


def shares_seen(call: Busy, times: int = 60) -> tuple[list[Estimate], list[float]]:
    """Return the estimates from three batches, of the share without the queue and of the queue's in its holding."""
    chance = random.Random(20261124)
    shares, queue = [], []
    for _ in range(times):
        samples = [_busy_batch(call, chance) for _ in range(3)]
        seen = watched.while_running(watched.held_fraction(samples), samples)
        assert seen is not None
        shares.append(seen)
        queue.append(watched.in_queue(samples))
    return shares, queue


@pytest.mark.parametrize(
    ("call", "in_queue", "error"),
    [
        (Busy(0.05, pushed_off_with_gil=True), 0.97, 0.03),
        (Busy(0.05, pushed_off_with_gil=False), 0.54, 0.1),  # 0.67, but for two stretches of fifty: a skew ratio
        (Busy(0.5, pushed_off_with_gil=True), 0.8, 0.03),
        (Busy(0.9, pushed_off_with_gil=False), 0.67, 0.03),
    ],
    ids=["rarely, out of the kernel", "rarely, by the clock", "half, out of the kernel", "mostly, by the clock"],
)
def test_share_while_running_is_found_whatever_was_held_in_the_queue(call: Busy, in_queue: float, error: float) -> None:
    """A thread that queues for two thirds of its time: nine of ten intervals hold the share of the rest."""
    shares, queue = shares_seen(call)
    assert sum(seen.low <= call.share <= seen.high for seen in shares) >= 54
    assert fmean(seen.value for seen in shares) == pytest.approx(call.share, abs=0.02)
    assert fmean(queue) == pytest.approx(in_queue, abs=error)


@pytest.mark.parametrize("call_ms", [50, 150, 300, 1500])
@pytest.mark.parametrize("with_gil", [True, False])
def test_rare_looks_do_not_take_computing_for_queueing(call_ms: float, with_gil: bool) -> None:  # noqa: FBT001 - a parameter
    """A call that waits, then computes in Python, half and half: as looks get rarer, less is known, and nothing wrong.

    Looks are as far apart as slices of computing where a call is long; to leave out all that may have been queueing
    would leave out most of the computing, and read a share of 0.07.
    """
    call = Busy(1.0, with_gil, waits_ms=call_ms / 2, computes_ms=call_ms / 2, look_ms=min(max(call_ms / 300, 0.15), 5))
    shares, _ = shares_seen(call)
    assert sum(seen.low <= call.share <= seen.high for seen in shares) >= 54
    if call_ms <= 150:
        assert fmean(seen.value for seen in shares) == pytest.approx(call.share, abs=0.05)
        assert fmean(seen.high - seen.low for seen in shares) < 0.25


def _busy_batch(call: Busy, chance: random.Random) -> Sample:
    """Draw computing in slices of 3 ms with 6 ms in the queue between, after a wait, and looks at it.

    In each 0.3 ms of its computing the GIL is held at the end, for the call's share.
    """
    period, ran, at = 0.3, 0.0, call.waits_ms
    moments: list[int] = []
    held: list[bool] = []
    queue_ns: list[int] = []
    queued = 0.0
    look = chance.expovariate(1 / call.look_ms)
    while look < at:
        moments.append(START_NS + round(look * MS))
        held.append(False)
        queue_ns.append(0)
        look += chance.expovariate(1 / call.look_ms)
    while ran < call.computes_ms:
        slice_ms, pause_ms = chance.uniform(2, 4), chance.uniform(4, 8)
        if call.pushed_off_with_gil:
            slice_ms = (round((ran + slice_ms) / period) - 1e-6) * period - ran
        with_gil = _holds(call, ran + slice_ms, period)
        if ran + slice_ms >= call.computes_ms:
            pause_ms = 0.0  # a batch ends as its thread runs
        while look < at + slice_ms + pause_ms:
            runs = look < at + slice_ms
            moments.append(START_NS + round(look * MS))
            held.append(_holds(call, ran + look - at, period) if runs else with_gil)
            queue_ns.append(round(queued * MS))
            look += chance.expovariate(1 / call.look_ms)
        at, ran, queued = at + slice_ms + pause_ms, ran + slice_ms, queued + pause_ms
    return batch(trace(moments, queue_ns, held), round(at * MS), round(queued * MS))


def _holds(call: Busy, ran: float, period: float) -> bool:
    return ran % period >= period * (1 - call.held)
