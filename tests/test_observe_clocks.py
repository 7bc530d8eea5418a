"""`pytest_gilprobe.observe.clocks`: each reading is the right thread's, and None where the system has none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from pytest_gilprobe.observe import clocks

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_run_queue_clock_never_goes_back() -> None:
    """Its readings never fall, in the thread that it was made in."""
    clock = clocks.RunQueueClock()
    first, second = clock.read_ns(), clock.read_ns()
    clock.close()
    if first is None or second is None:
        pytest.skip("this kernel keeps no schedstat")
    assert second >= first >= 0


def test_closed_run_queue_clock_has_no_reading() -> None:
    """Once closed, its reading is None, and closing it again is no error."""
    clock = clocks.RunQueueClock()
    clock.close()
    clock.close()
    assert clock.read_ns() is None


def test_run_queue_clock_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file is missing, a reading is None."""

    def missing(*_: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(clocks, "_os_open", missing)
    clock = clocks.RunQueueClock()
    assert clock.read_ns() is None
    clock.close()


@linux
def test_run_queue_clock_survives_a_workload_that_closes_its_file() -> None:
    """A workload that closes every file descriptor costs the reading, not the batch."""
    clock = clocks.RunQueueClock()
    if clock._fd < 0:
        pytest.skip("this kernel keeps no schedstat")
    os.close(clock._fd)
    assert clock.read_ns() is None
    clock.close()


@linux
def test_run_queue_clock_is_the_threads_own() -> None:
    """Made in a thread that just began, it starts near zero rather than at the main thread's past."""
    readings: list[int | None] = []

    def read() -> None:
        clock = clocks.RunQueueClock()
        readings.append(clock.read_ns())
        clock.close()

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert len(readings) == 1


@pytest.mark.parametrize(
    ("schedstat", "known"),
    [(b"123 45 6\n", 45), (b"123 0 6\n", 0), (b"0 0 0\n", None), (b"1 2", None), (b"", None)],
)
def test_a_kernel_that_does_not_count_has_no_run_delay(schedstat: bytes, known: int | None) -> None:
    """Three zeros would mean that the thread never ran, yet it read them: they are no zero."""
    assert clocks.run_delay_ns(schedstat) == known


@linux
def test_context_switches_of_one_thread() -> None:
    """A sleep is a voluntary switch of the thread that sleeps; both counts never fall."""
    before = clocks.context_switches()
    time.sleep(0.001)
    after = clocks.context_switches()
    assert before is not None
    assert after is not None
    assert after[0] > before[0]
    assert after[1] >= before[1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage")
def test_children_count_once_they_were_waited_for() -> None:
    """The CPU time of a child that has ended is added."""
    before = clocks.children_time_ns()
    subprocess.run([sys.executable, "-S", "-c", "sum(range(10**6))"], check=True)
    assert clocks.children_time_ns() > before


def test_without_getrusage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without ``getrusage`` has no context switches, and no time of children."""
    monkeypatch.setattr(clocks, "resource", None)
    assert clocks.context_switches() is None
    assert clocks.children_time_ns() == 0
