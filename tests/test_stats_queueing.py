"""`pytest_gilprobe.stats.queueing`: queueing is split off, whether the GIL was held in it or not."""

from __future__ import annotations

import random
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import pytest
from evidence import START_NS, lane
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.readings import BatchReading, GilSamples, WorkerReading
from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.stats import gil_share
from pytest_gilprobe.stats.gil_samples import SampledWindow
from pytest_gilprobe.stats.queueing import split, split_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

MS = 1_000_000


def samples(at_ns: Sequence[int], queue_ns: Sequence[int], held: Sequence[bool] | None = None) -> GilSamples:
    """Make samples of a thread that was runnable at each of them."""
    return GilSamples(
        method=GilMethod.MEMORY,
        at_ns=tuple(at_ns),
        held=tuple(held or [False] * len(at_ns)),
        late_ns=(0,) * len(at_ns),
        runnable=(True,) * len(at_ns),
        same_core=(False,) * len(at_ns),
        queue_ns=tuple(queue_ns),
    )


def batch(gil: GilSamples, wall_ns: int, queue_ns: int | None, lanes: int = 1) -> BatchReading:
    """Make a sampled batch of computing from `START_NS` on."""
    queued = None if queue_ns is None else queue_ns / 1e9
    one = lane(wall_ns / 1e9, cpu_s=wall_ns / 1e9 - (queued or 0.0), queue_s=queued, preemptions=10, waits=0)
    reading = WorkerReading(lanes=(one,) * lanes, process_cpu_ns=0, peak_rss_bytes=None, gil_enabled=True)
    return BatchReading(workers=(reading,), gil=gil)


@pytest.mark.parametrize("held", [True, False])
def test_what_queued_for_certain_is_cut_out(held: bool) -> None:  # noqa: FBT001 - a parameter
    """Of 3 ms in the queue 2 ms are cut out and 1 ms is left; the sample at the end shows what was held."""
    seen = samples([at * MS for at in (1, 4, 5, 6, 9)], [0, 0, 0, 3 * MS, 3 * MS], [False, held, held, False, True])
    found = split(SampledWindow(seen, 0, 10 * MS), 3 * MS)
    assert found is not None
    assert found.rest.samples.at_ns == (1 * MS, 3 * MS, 4 * MS, 7 * MS)
    assert (found.rest.start_ns, found.rest.end_ns, found.running_ns) == (0, 8 * MS, 7 * MS)
    assert (found.queued_held_ns, found.rest_queued_held_ns) == ((3 * MS, 1 * MS) if held else (0, 0))
    assert (found.queued_ns, found.queued_unknown_ns) == (3 * MS, 0)


@pytest.mark.parametrize(
    ("at_ns", "queue_ns", "all_ns", "unknown_ns"),
    [
        ([1 * MS, 5 * MS], [0, 1 * MS], 1 * MS, 1 * MS),  # shorter than the time between two samples
        ([1 * MS], [0], 4 * MS, 4 * MS),  # after the last sample, or before the first
        ([3 * MS, 4 * MS], [0, 0], 2 * MS, 2 * MS),
        ([1 * MS, 9 * MS, 12 * MS], [0, 0, 6 * MS], 4 * MS, 1 * MS),  # across the end: partly after it
        ([-2 * MS, 1 * MS], [0, 8 * MS], 1 * MS, 1 * MS),  # across the start: mostly before it
    ],
)
def test_what_no_sample_shows_is_unknown(at_ns: list[int], queue_ns: list[int], all_ns: int, unknown_ns: int) -> None:
    """Queueing in which no sample lies for certain may have been with the GIL or without: nothing is assumed."""
    found = split(SampledWindow(samples(at_ns, queue_ns), 0, 10 * MS), all_ns)
    assert found is not None
    assert found.queued_unknown_ns == unknown_ns
    assert found.running_ns == 10 * MS - all_ns


def test_a_stretch_across_the_end_is_known_as_far_as_samples_reach() -> None:
    """A thread that queued from 2 ms on for 9 ms, sampled after 8 ms, queued for all of that."""
    seen = samples([1 * MS, 8 * MS, 11 * MS], [0, 0, 9 * MS], [False, True, True])
    found = split(SampledWindow(seen, 0, 10 * MS), 7 * MS)
    assert found is not None
    assert (found.queued_held_ns, found.queued_unknown_ns, found.rest.end_ns) == (6 * MS, 1 * MS, 4 * MS)


@pytest.mark.parametrize(
    ("seen", "queue_ns", "lanes"),
    [
        (samples([START_NS, START_NS + 9 * MS], [0, 0]), None, 1),
        (samples([START_NS, START_NS + 9 * MS], [0, 3 * MS]), 5 * MS, 2),
        (GilSamples(method=GilMethod.MEMORY, at_ns=(START_NS,), held=(True,), late_ns=(0,)), 5 * MS, 1),
    ],
    ids=["no clock of the thread", "two threads", "samples without the clock"],
)
def test_samples_that_do_not_show_the_queueing_are_not_split(
    seen: GilSamples, queue_ns: int | None, lanes: int
) -> None:
    """There are bounds for those; nothing is assumed."""
    assert split_batch(batch(seen, 10 * MS, queue_ns, lanes)) is None


@given(st.lists(st.tuples(st.integers(1, 5 * MS), st.integers(0, 9 * MS), st.booleans()), min_size=2, max_size=60))
def test_what_is_left_is_a_batch_of_its_own(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever was sampled, the moments that are left are in order, and times add up."""
    at_ns, queue_ns, held = [START_NS], [0], [False]
    for pause, queued, has in steps:
        at_ns.append(at_ns[-1] + pause)
        queue_ns.append(queue_ns[-1] + queued)
        held.append(has)
    wall = at_ns[-1] - START_NS
    found = split_batch(batch(samples(at_ns, queue_ns, held), wall, min(wall, queue_ns[-1])))
    assert found is not None
    left_ns = found.rest.samples.at_ns
    assert list(left_ns) == sorted(left_ns)
    assert found.rest.duration_ns >= 0
    assert all(found.rest.start_ns <= moment <= found.rest.end_ns for moment in left_ns)
    assert len(left_ns) <= len(at_ns)
    assert found.running_ns + found.queued_ns == wall
    assert 0 <= found.rest_queued_held_ns <= found.queued_held_ns
    assert 0 <= found.queued_unknown_ns <= found.queued_ns


@dataclass(frozen=True, slots=True)
class Busy:
    """A call on a busy machine: it holds the GIL for a share of its computing, and is preempted with it or at any time.

    It first waits without the GIL for ``waits_ms`` and then computes for ``computes_ms``; it is sampled every
    ``sample_ms`` on average.
    """

    held: float
    preempted_with_gil: bool
    waits_ms: float = 0.0
    computes_ms: float = 50.0
    sample_ms: float = 0.17

    @property
    def share(self) -> float:
        """Return the held share of its time without queueing."""
        return self.held * self.computes_ms / (self.computes_ms + self.waits_ms)


TIMES = 40


def drawn(call: Busy) -> list[list[BatchReading]]:
    """Draw three batches at a time."""
    chance = random.Random(20261124)
    return [[_busy_batch(call, chance) for _ in range(3)] for _ in range(TIMES)]


def shares_seen(seen: list[list[BatchReading]]) -> list[Estimate]:
    """Return the held share without queueing of each three batches."""
    shares = [gil_share.while_running(gil_share.held_fraction(batches), batches) for batches in seen]
    return [share for share in shares if share is not None]


@pytest.mark.parametrize(
    ("call", "in_queue", "error"),
    [
        (Busy(0.05, preempted_with_gil=True), 0.97, 0.03),
        (Busy(0.05, preempted_with_gil=False), 0.54, 0.1),  # 0.67, but for two stretches of fifty: a skew ratio
        (Busy(0.5, preempted_with_gil=True), 0.8, 0.03),
        (Busy(0.9, preempted_with_gil=False), 0.67, 0.03),
    ],
    ids=["rarely, out of the kernel", "rarely, by the clock", "half, out of the kernel", "mostly, by the clock"],
)
def test_share_while_running_is_found_whatever_was_held_in_the_queue(call: Busy, in_queue: float, error: float) -> None:
    """A thread that queues for two thirds of its time: nine of ten intervals hold the share of the rest."""
    batches = drawn(call)
    shares = shares_seen(batches)
    assert sum(seen.low <= call.share <= seen.high for seen in shares) >= 0.9 * TIMES
    assert fmean(seen.value for seen in shares) == pytest.approx(call.share, abs=0.02)
    assert fmean(map(gil_share.in_queue, batches)) == pytest.approx(in_queue, abs=error)


@pytest.mark.parametrize("call_ms", [50, 150, 300, 1500])
@pytest.mark.parametrize("with_gil", [True, False])
def test_rare_samples_do_not_take_computing_for_queueing(call_ms: float, with_gil: bool) -> None:  # noqa: FBT001 - a parameter
    """A call waits, then computes in Python, half and half: as samples get rarer, less is known, and nothing wrong.

    Samples are as far apart as slices of computing where a call is long: leaving out all that may have been queueing
    would leave out most of the computing, and give a share of 0.07.
    """
    call = Busy(
        1.0, with_gil, waits_ms=call_ms / 2, computes_ms=call_ms / 2, sample_ms=min(max(call_ms / 300, 0.15), 5)
    )
    shares = shares_seen(drawn(call))
    assert sum(seen.low <= call.share <= seen.high for seen in shares) >= 0.9 * TIMES
    if call_ms <= 150:
        assert fmean(seen.value for seen in shares) == pytest.approx(call.share, abs=0.05)
        assert fmean(seen.high - seen.low for seen in shares) < 0.25


def _busy_batch(call: Busy, chance: random.Random) -> BatchReading:
    """Draw computing in slices of 3 ms with 6 ms in the queue between, after a wait, and samples of it.

    In each 0.3 ms of its computing the GIL is held at the end, for the call's share.
    """
    period, ran, at = 0.3, 0.0, call.waits_ms
    moments: list[int] = []
    held: list[bool] = []
    queue_ns: list[int] = []
    queued = 0.0
    next_ms = chance.expovariate(1 / call.sample_ms)
    while next_ms < at:
        moments.append(START_NS + round(next_ms * MS))
        held.append(False)
        queue_ns.append(0)
        next_ms += chance.expovariate(1 / call.sample_ms)
    while ran < call.computes_ms:
        slice_ms, pause_ms = chance.uniform(2, 4), chance.uniform(4, 8)
        if call.preempted_with_gil:
            slice_ms = (round((ran + slice_ms) / period) - 1e-6) * period - ran
        with_gil = _holds(call, ran + slice_ms, period)
        if ran + slice_ms >= call.computes_ms:
            pause_ms = 0.0  # a batch ends as its thread runs
        while next_ms < at + slice_ms + pause_ms:
            runs = next_ms < at + slice_ms
            moments.append(START_NS + round(next_ms * MS))
            held.append(_holds(call, ran + next_ms - at, period) if runs else with_gil)
            queue_ns.append(round(queued * MS))
            next_ms += chance.expovariate(1 / call.sample_ms)
        at, ran, queued = at + slice_ms + pause_ms, ran + slice_ms, queued + pause_ms
    return batch(samples(moments, queue_ns, held), round(at * MS), round(queued * MS))


def _holds(call: Busy, ran: float, period: float) -> bool:
    return ran % period >= period * (1 - call.held)
