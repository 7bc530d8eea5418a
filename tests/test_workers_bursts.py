"""`pytest_gilprobe.workers.child.bursts`: very short batches of threads that begin side by side."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers.child import batch, bursts
from pytest_gilprobe.workers.child.batch import NoThreadError, WorkloadError
from pytest_gilprobe.workers.child.bursts import run_threads

AT_EASE_NS = 20_000_000_000


class Count:
    """A call that counts itself, by thread, and may fail at one of its calls."""

    def __init__(self, fails_at: int = 0) -> None:
        self.by_thread: dict[int, int] = {}
        self._fails_at = fails_at

    def __call__(self) -> None:
        mine = threading.get_ident()
        self.by_thread[mine] = self.by_thread.get(mine, 0) + 1
        if sum(self.by_thread.values()) == self._fails_at:
            msg = "no more"
            raise ValueError(msg)


@pytest.fixture(autouse=True)
def at_ease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have lanes wait for each other for as long as it takes, so that no burst is left out."""
    monkeypatch.setattr(bursts, "PATIENCE_NS", AT_EASE_NS)


def test_each_pair_has_a_lane_alone_and_all_together() -> None:
    """All calls are made in the same few threads, and so many more as warm them up."""
    counts = [Count(), Count()]
    pairs = run_threads([nullcontext(count) for count in counts], 3, 4)
    assert len(pairs) == 4
    for one in pairs:
        assert [lane.calls for lane in one.alone.lanes] == [3]
        assert [lane.calls for lane in one.together.lanes] == [3, 3]
    assert [len(count.by_thread) for count in counts] == [1, 1]
    alone = {0: 3, 1: 2}  # of five pairs, which two lanes begin in turn
    assert [sum(count.by_thread.values()) for count in counts] == [3 * (5 + alone[at]) for at in (0, 1)]


def test_lanes_begin_at_one_moment_and_nobody_is_beside_a_lane_alone() -> None:
    """All lanes count from the moment at which the last one was there; the lane alone was done before."""
    for one in run_threads([nullcontext(lambda: sum(range(2000)))] * 3, 5, 6):
        assert len({lane.start_ns for lane in one.together.lanes}) == 1
        assert one.alone.lanes[0].end_ns <= one.together.lanes[0].start_ns
        assert all(lane.end_ns > lane.start_ns for lane in one.together.lanes)
        assert one.together.process_cpu_ns == sum(lane.cpu_ns for lane in one.together.lanes)


@pytest.mark.parametrize("fails_at", [1, 2, 7, 12])
def test_a_call_that_fails_keeps_nobody_waiting(fails_at: int) -> None:
    """Whichever call fails, alone or beside others, the other lanes come to their end, and the error is told."""
    with pytest.raises(WorkloadError, match=r"(?s)in thread \d: .*ValueError: no more"):
        run_threads([nullcontext(Count(fails_at)), nullcontext(Count())], 2, 4)


def test_a_lane_whose_call_cannot_be_prepared_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes give up a burst for which another one does not come."""
    monkeypatch.setattr(bursts, "PATIENCE_NS", 0)

    class Broken:
        def __enter__(self) -> Any:
            msg = "no loop"
            raise OSError(msg)

        def __exit__(self, *_: object) -> None:
            """Nothing to clean up."""

    with pytest.raises(WorkloadError, match="no loop"):
        run_threads([nullcontext(Count()), cast("Any", Broken())], 2, 4)


def test_lanes_do_not_wait_for_a_thread_that_the_system_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that have started come to their end, although one that they would wait for never starts."""
    started: list[threading.Thread] = []

    def start(self: threading.Thread) -> None:
        if started:
            msg = "can't start new thread"
            raise RuntimeError(msg)
        started.append(self)
        threading.Thread.start(self)

    monkeypatch.setattr(batch.LaneThread, "start", start)
    monkeypatch.setattr(bursts, "PATIENCE_NS", 0)
    with pytest.raises(NoThreadError, match="thread 2 of 2"):
        run_threads([nullcontext(Count()), nullcontext(Count())], 2, 4)
    started[0].join(10)
    assert not started[0].is_alive()


def test_a_burst_that_does_not_begin_in_time_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """If lanes do not wait for each other at all, hardly any burst begins, and none has a lane too few."""
    monkeypatch.setattr(bursts, "PATIENCE_NS", -1)
    pairs = run_threads([nullcontext(Count())] * 4, 1, 10)
    assert len(pairs) <= 10
    assert all(len(one.together.lanes) == 4 for one in pairs)


def test_a_burst_given_up_never_begins() -> None:
    """A lane that comes too late finds that nobody waits, and whoever waited for the end is let go."""
    meeting = bursts._Meeting(2)
    meeting.arrive()
    meeting.give_up()
    meeting.arrive()
    assert not meeting.begin_ns
    meeting.wait_for_end()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinity of threads")
def test_lanes_keep_a_cpu_each_and_the_process_keeps_all() -> None:
    """A lane may use one CPU as long as bursts last; threads that are started later may use all again."""
    before = os.sched_getaffinity(0)
    seen: list[set[int]] = []
    run_threads([nullcontext(lambda: seen.append(os.sched_getaffinity(0)))] * 2, 1, 2)
    assert {len(cpus) for cpus in seen} == {1}
    assert len(set.union(*seen)) == min(2, len(before))
    assert os.sched_getaffinity(0) == before


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinity of threads")
def test_threads_that_calls_leave_behind_may_use_all_cpus() -> None:
    """A pool that a call starts lazily lives on, and would else stay on the CPU of the lane that started it."""
    before, over = os.sched_getaffinity(0), threading.Event()
    left: list[threading.Thread] = []

    def starts_one() -> None:
        if not left:
            left.append(threading.Thread(target=over.wait))
            left[0].start()

    try:
        run_threads([nullcontext(starts_one)], 1, 2)
        assert os.sched_getaffinity(left[0].native_id or 0) == before
    finally:
        over.set()
        left[0].join()


@pytest.mark.parametrize(("is_last", "queued_ns"), [(True, 300), (False, 5_300)])
def test_queueing_after_its_end_counts_while_others_go_on(
    monkeypatch: pytest.MonkeyPatch, queued_ns: int, *, is_last: bool
) -> None:
    """A lane that loses its CPU just after its end may hold the GIL; of the last lane, nobody waits for it."""
    now = iter([1_000, 7_000])  # when all have met, and when the run-queue clock is asked after the end, at 2,000
    readings = iter([100, 5_400])
    monkeypatch.setattr(bursts, "_perf_counter_ns", lambda: next(now))
    monkeypatch.setattr(bursts, "run_calls", lambda _: (1_000, 2_000, 900))
    monkeypatch.setattr(clocks, "sleep", lambda _: None)
    meeting = SimpleNamespace(begin_ns=500, given_up=False, arrive=lambda: None)
    meeting.leave, meeting.wait_for_end = lambda: is_last, lambda: None
    queue = SimpleNamespace(read_ns=lambda: next(readings))
    found = bursts._Lane(lambda: None, 1, 0, [])._burst(cast("Any", meeting), cast("Any", queue))
    assert found is not None
    assert (found.start_ns, found.end_ns) == (500, 2_000)
    assert found.run_queue_ns == queued_ns
