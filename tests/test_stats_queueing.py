"""`pytest_gilprobe.stats.queueing`: looks that fell into the run queue are found, whatever was held there."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from evidence import START_NS, thread
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model import BatchReading, GilMethod, GilTrace, Sample, Strategy
from pytest_gilprobe.stats import watched
from pytest_gilprobe.stats.queueing import stretches, unqueued

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
    """Where a clock has grown by 3 ms between two looks, the last 3 ms before some moment between them were queued."""
    (found,) = stretches(trace([1 * MS, 5 * MS, 6 * MS], [0, 0, 3 * MS]), 0, 10 * MS, 3 * MS)
    assert found.possible == (2 * MS, 6 * MS)
    assert found.certain == (3 * MS, 5 * MS + 1)


def test_the_last_stretch_is_told_by_the_thread() -> None:
    """What the looks do not show of the queueing was after the last of them."""
    assert [one.length_ns for one in stretches(trace([1 * MS], [0]), 0, 10 * MS, 4 * MS)] == [4 * MS]
    assert stretches(trace([1 * MS, 10 * MS], [0, 0]), 0, 10 * MS, 4 * MS) == []
    assert stretches(trace([], []), 0, 10 * MS, 4 * MS) == []


@pytest.mark.parametrize(
    ("seen", "queue_ns", "lanes"),
    [
        (trace([START_NS, START_NS + 9 * MS], [0, 0]), None, 1),
        (trace([START_NS, START_NS + 9 * MS], [0, 3 * MS]), 5 * MS, 2),
        (GilTrace(method=GilMethod.MEMORY, at_ns=(START_NS,), held=(True,), late_ns=(0,)), 5 * MS, 1),
        (trace([START_NS, START_NS + 10 * MS], [0, 3 * MS]), 5 * MS, 1),
    ],
    ids=["no clock of the thread", "two threads", "looks without the clock", "too little found"],
)
def test_looks_that_do_not_show_the_queueing_say_nothing(seen: GilTrace, queue_ns: int | None, lanes: int) -> None:
    """There are bounds for those; nothing is made up."""
    assert unqueued(batch(seen, 10 * MS, queue_ns, lanes)) is None


@given(st.lists(st.tuples(st.integers(1, 5 * MS), st.integers(0, 4 * MS)), min_size=2, max_size=60))
def test_what_is_left_is_a_batch_of_its_own(steps: list[tuple[int, int]]) -> None:
    """Whatever the looks say, the moments that are left are in order and between the start and the end."""
    at_ns, queue_ns = [START_NS], [0]
    for pause, queued in steps:
        at_ns.append(at_ns[-1] + pause)
        queue_ns.append(queue_ns[-1] + min(queued, pause))
    found = unqueued(batch(trace(at_ns, queue_ns), at_ns[-1] - START_NS, queue_ns[-1]))
    assert found is not None
    assert list(found.trace.at_ns) == sorted(found.trace.at_ns)
    assert found.start_ns <= found.end_ns
    assert all(found.start_ns <= moment <= found.end_ns for moment in found.trace.at_ns)
    assert found.looks + len(found.trace.at_ns) <= len(at_ns)


@dataclass(frozen=True, slots=True)
class Busy:
    """A call on a busy machine: held for a share of its computing, pushed off with the GIL or whenever it happens."""

    held: float
    pushed_off_with_gil: bool


@pytest.mark.parametrize(
    ("call", "in_queue", "error"),
    [
        (Busy(0.05, pushed_off_with_gil=True), 0.97, 0.03),
        (Busy(0.05, pushed_off_with_gil=False), 0.67, 0.1),  # two or three stretches of fifty are with it: a skew ratio
        (Busy(0.5, pushed_off_with_gil=True), 0.8, 0.03),
        (Busy(0.9, pushed_off_with_gil=False), 0.67, 0.03),
    ],
    ids=["rarely, out of the kernel", "rarely, by the clock", "half, out of the kernel", "mostly, by the clock"],
)
def test_share_while_running_is_found_whatever_was_held_in_the_queue(call: Busy, in_queue: float, error: float) -> None:
    """A thread that queues for two thirds of its time: nine of ten intervals hold the share of the rest."""
    chance = random.Random(20261124)
    caught, shares = 0, []
    for _ in range(60):
        samples = [_busy_batch(call, chance) for _ in range(3)]
        seen = watched.while_running(watched.held_fraction(samples), samples)
        assert seen is not None
        caught += seen.low <= call.held <= seen.high
        shares.append(watched.in_queue(samples))
    assert caught >= 54
    assert sum(shares) / 60 == pytest.approx(in_queue, abs=error)


def _busy_batch(call: Busy, chance: random.Random) -> Sample:
    """Draw 50 ms of computing in slices of 3 ms with 6 ms in the queue between, looked at every 0.17 ms.

    In each 0.3 ms of its computing the GIL is held at the end, for the call's share.
    """
    period, ran, at = 0.3, 0.0, 0.0
    moments: list[int] = []
    held: list[bool] = []
    queue_ns: list[int] = []
    queued = 0.0
    look = chance.expovariate(1 / 0.17)
    while ran < 50:
        slice_ms, pause_ms = chance.uniform(2, 4), chance.uniform(4, 8)
        if call.pushed_off_with_gil:
            slice_ms = (round((ran + slice_ms) / period) - 1e-6) * period - ran
        with_gil = _holds(call, ran + slice_ms, period)
        while look < at + slice_ms + pause_ms:
            runs = look < at + slice_ms
            moments.append(START_NS + round(look * MS))
            held.append(_holds(call, ran + look - at, period) if runs else with_gil)
            queue_ns.append(round(queued * MS))
            look += chance.expovariate(1 / 0.17)
        at, ran, queued = at + slice_ms + pause_ms, ran + slice_ms, queued + pause_ms
    return batch(trace(moments, queue_ns, held), round(at * MS), round(queued * MS))


def _holds(call: Busy, ran: float, period: float) -> bool:
    return ran % period >= period * (1 - call.held)
