"""`pytest_gilprobe.workers.child.batch`: the timed loop, serial and threaded."""

from __future__ import annotations

import mmap
import threading
import weakref
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.workers.child import batch, control
from pytest_gilprobe.workers.child.batch import WorkloadError, describe, run_serial, run_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

ENOUGH_S = 30


class Count:
    """A call that counts itself and knows its threads."""

    def __init__(self, fails_at: int = 0, error: BaseException | None = None) -> None:
        self.calls = 0
        self.threads: set[int] = set()
        self._lock = threading.Lock()
        self._fails_at = fails_at
        self._error = error

    def __call__(self) -> None:
        with self._lock:
            self.calls += 1
            self.threads.add(threading.get_ident())
            if self.calls == self._fails_at and self._error is not None:
                raise self._error


class Result:
    """What a call returns."""


@given(calls=st.integers(1, 300))
def test_serial_batch_makes_just_its_calls(calls: int) -> None:
    """A serial batch makes as many calls as asked for, in the calling thread, and its reading has their number."""
    count = Count()
    reading = run_serial(count, calls)
    assert count.calls == calls
    assert count.threads == {threading.get_ident()}
    assert [one.calls for one in reading.lanes] == [calls]


@given(calls=st.integers(1, 100), lanes=st.integers(2, 5))
def test_threads_make_the_calls_of_each(calls: int, lanes: int) -> None:
    """A threaded batch makes its calls in each lane, each in a thread of its own that is not the caller's."""
    counts = [Count() for _ in range(lanes)]
    reading = run_threads([nullcontext(count) for count in counts], calls)
    assert [count.calls for count in counts] == [calls] * lanes
    assert [one.calls for one in reading.lanes] == [calls] * lanes
    assert all(len(count.threads) == 1 and threading.get_ident() not in count.threads for count in counts)


def test_threads_really_overlap() -> None:
    """Threads of a batch run at the same time: calls that wait for each other come to an end."""
    meet = threading.Barrier(3, timeout=ENOUGH_S)
    reading = run_threads([nullcontext(meet.wait)] * 3, 5)
    starts, ends = [one.start_ns for one in reading.lanes], [one.end_ns for one in reading.lanes]
    assert max(starts) < min(ends)


def test_clocks_are_consistent() -> None:
    """A thread's end is after its start, a computing thread has CPU time, the process at least as much."""
    reading = run_serial(control.loop, 20)
    only = reading.lanes[0]
    assert only.end_ns > only.start_ns
    assert only.cpu_ns > 0
    assert reading.process_cpu_ns > 0
    assert only.run_queue_ns is None or only.run_queue_ns >= 0


def test_page_faults_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch counts the page faults of its calls; where the system does not count them, there is no number."""

    def touch() -> None:
        with mmap.mmap(-1, 2**24) as memory:  # fresh pages in any case: an allocator may use old ones again
            memory[0] = 1

    assert (run_serial(touch, 2).page_faults or 0) >= 2
    monkeypatch.setattr(machine, "page_faults", lambda: None)
    assert run_serial(control.loop, 1).page_faults is None


def test_queueing_beside_the_window_is_not_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread pushed off its core between the window and the reading of its clock did not queue in the window."""
    clock = {"now": 0, "queued": 0}

    class Reader:
        def read_ns(self) -> int:
            return clock["queued"]

        def close(self) -> None:
            pass

    monkeypatch.setattr(clocks, "RunQueueClock", Reader)
    monkeypatch.setattr(batch, "_perf_counter_ns", lambda: clock["now"])
    queueing = batch.Queueing()
    clock.update(now=1_000, queued=700)
    assert queueing.until_ns(1_000) == 700
    assert queueing.until_ns(400) == 100
    assert queueing.until_ns(1_000, since_ns=300) == 400
    assert queueing.until_ns(100) == 0


def test_result_of_a_call_is_of_no_interest() -> None:
    """What a call returns is dropped before the next call."""
    made: list[weakref.ref[Result]] = []

    def call() -> Result:
        assert not any(one() for one in made)
        result = Result()
        made.append(weakref.ref(result))
        return result

    run_serial(call, 3)
    assert len(made) == 3


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), pytest.fail.Exception("failed")]
)
def test_whatever_is_raised_is_a_finding(error: BaseException) -> None:
    """A call that raises anything ends its batch with a `WorkloadError` that names it."""
    with pytest.raises(WorkloadError, match=type(error).__name__):
        run_serial(Count(2, error), 3)
    with pytest.raises(WorkloadError, match=rf"in thread 2: (.|\n)*{type(error).__name__}"):
        run_threads([nullcontext(Count()), nullcontext(Count(2, error))], 3)


def test_every_failed_thread_is_reported() -> None:
    """When several threads fail, the error has the traceback of each."""
    with pytest.raises(WorkloadError) as found:
        run_threads([nullcontext(Count(1, ValueError(f"number {number}"))) for number in (1, 2)], 1)
    assert "in thread 1: " in str(found.value)
    assert "ValueError: number 2" in str(found.value)


def test_thread_that_fails_does_not_hold_up_the_others() -> None:
    """The other threads make all their calls, and the batch ends."""
    other = Count()
    with pytest.raises(WorkloadError):
        run_threads([nullcontext(Count(1, SystemExit())), nullcontext(other)], 50)
    assert other.calls == 50


def test_lane_is_prepared_in_its_own_thread() -> None:
    """What prepares a lane's call runs in the lane's thread, before the first call and after the last."""
    seen: list[tuple[str, int]] = []

    @contextmanager
    def lane() -> Iterator[Count]:
        seen.append(("entered", threading.get_ident()))
        yield call
        seen.append(("left", threading.get_ident()))

    call = Count()
    run_threads([lane()], 3)
    assert [what for what, _ in seen] == ["entered", "left"]
    assert {ident for _, ident in seen} == call.threads


def test_lane_that_cannot_be_prepared_ends_the_batch() -> None:
    """A lane that cannot be prepared is a finding, and the other threads do not wait for it for ever."""

    @contextmanager
    def lane() -> Iterator[Count]:
        raise OSError
        yield Count()

    with pytest.raises(WorkloadError, match="OSError"):
        run_threads([lane(), nullcontext(Count())], 3)


# Texts


def raised(error: BaseException) -> BaseException:
    """Give an error a traceback."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_description_shows_the_users_frames_only() -> None:
    """A traceback begins in the user's code, not in this package's loop."""
    with pytest.raises(WorkloadError) as found:
        run_serial(Count(1, ValueError("no")), 1)
    assert "test_workers_batch.py" in str(found.value)
    assert "child/batch.py" not in str(found.value)


def test_hostile_exception_is_still_described() -> None:
    """An exception whose ``__str__`` fails is named by its class."""

    class HostileError(Exception):
        def __str__(self) -> str:
            raise SystemExit

    assert "HostileError" in describe(raised(HostileError()))


def test_long_traceback_is_cut_in_the_middle() -> None:
    """Of a very long text the beginning and the end are kept, with how much was left out."""
    text = describe(raised(ValueError("x" * 100_000)))
    assert len(text) < batch.LONGEST_TRACEBACK + 100
    assert "characters left out" in text
    assert text.startswith("Traceback")
    assert text.endswith("x")


def test_control_does_the_same_every_time() -> None:
    """The control loop is the same work in every call: its result shows that all of it was done."""
    assert {control.loop() for _ in range(3)} == {0}
