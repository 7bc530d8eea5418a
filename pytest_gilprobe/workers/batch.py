"""The timed loop, serial and threaded; the only hot code.

What the readings rest on:

* The loop is ``for _ in repeat(None, calls): call()`` in a function of its own: no counter, no attribute look-up,
  no test inside (about 20 ns a call on CPython 3.11; ``benchmarks/loop_overhead.py``).
* The wall clock is read just inside the CPU clock, so CPU time never misses work that wall time saw. The run-queue
clock is read
  outside both: its system call gives the GIL away.
* Threads are started and waiting before the first clock is read. They wait on one event each, not at a barrier:
  a thread that ends early, by whatever it raised, can then never leave the others waiting.
* Threads, and processes, begin at a moment that all were told before it, and sleep until then. Whoever wakes them one
by one may lose
  its CPU to the first: on a machine with two busy CPUs the second thread of a free-threaded build was seen to start
  when the first had ended.
* Whatever a call raises, `SystemExit` and `KeyboardInterrupt` included, is caught in its thread and reported.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import repeat
from typing import TYPE_CHECKING

from pytest_gilprobe import host
from pytest_gilprobe.model import BatchReading, GilprobeError, ThreadReading

if TYPE_CHECKING:
    from collections.abc import Sequence

Call = Callable[[], object]
Opening = AbstractContextManager[Call]
"""What prepares one thread's call and clears up after its last one: an event loop of its own, say."""

_perf_counter_ns = host.perf_counter_ns
_thread_time_ns = host.thread_time_ns
_Thread = threading.Thread
_Event = threading.Event

HEAD_START_NS = 2_000_000
"""From telling threads to begin until they do: enough to wake them all, little beside a batch of 50 ms."""
LONGEST_TRACEBACK = 20_000
"""Characters of a traceback that travel; the middle of a longer one is left out."""


class WorkloadError(GilprobeError):
    """The workload raised in a batch; the text holds every failed thread's traceback."""


class NoThreadError(GilprobeError):
    """The system refused a thread: nothing that the workload did."""


def _loop(call: Call, calls: int) -> tuple[int, int, int]:
    """Make the calls; return start, end and CPU time in nanoseconds."""
    cpu = _thread_time_ns()
    start = _perf_counter_ns()
    for _ in repeat(None, calls):
        call()
    end = _perf_counter_ns()
    return start, end, _thread_time_ns() - cpu


def timed(call: Call, calls: int, begin_ns: int = 0, watch: Queueing | None = None) -> ThreadReading:
    """Make ``calls`` calls in this thread and read its clocks; what a call raises passes through.

    The calls begin at ``begin_ns`` of `time.perf_counter_ns`, or at once if that is past. Waking up late for it
    counts as wall time, and as queueing where that is why: told for certain only if ``watch`` was made before this
    thread was told to begin.
    """
    queueing = watch or Queueing()
    try:
        ahead = begin_ns - _perf_counter_ns()
        if ahead > 0:
            host.sleep(ahead / 1e9)
        before = host.switches()
        start, end, cpu = _loop(call, calls)
        after = host.switches()
        told = ahead > 0 or (begin_ns > 0 and watch is not None)
        queued = queueing.until_ns(end, since_ns=None if told else start)
    finally:
        queueing.close()
    return ThreadReading(
        calls=calls,
        start_ns=begin_ns if told else start,
        end_ns=end,
        cpu_ns=cpu,
        run_queue_ns=queued,
        waits=None if before is None or after is None else after[0] - before[0],
        preemptions=None if before is None or after is None else after[1] - before[1],
    )


class Queueing:
    """How long this thread has been in the run queue; None where the system does not tell."""

    def __init__(self) -> None:
        self._clock = host.RunQueueClock()
        self._before = self._clock.read_ns()
        self._since_ns = _perf_counter_ns()

    def until_ns(self, end_ns: int, *, since_ns: int | None = None) -> int | None:
        """Return how long that was, in nanoseconds, until a moment just past; and since another just after the start.

        Between those moments and the readings lie microseconds of work, so what passed there beyond them was most
        likely queueing: all of it is taken off. On a machine with two cores and four busy loops, a thread was pushed
        off its core between the two in 8 of 10 batches, for as long as it queued within.
        """
        asked_ns = _perf_counter_ns()
        now = self._clock.read_ns()
        if now is None or self._before is None:
            return None
        before = 0 if since_ns is None else max(0, since_ns - self._since_ns)
        return max(0, now - self._before - before - max(0, asked_ns - end_ns))

    def close(self) -> None:
        """Give the clock's file back."""
        self._clock.close()


def run_serial(call: Call, calls: int, begin_ns: int = 0) -> BatchReading:
    """Run one batch in the calling thread, from ``begin_ns`` on. Raises `WorkloadError`."""
    host.forget_peak_rss()
    before = _spent_ns()
    try:
        reading = timed(call, calls, begin_ns)
    except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is a finding
        raise WorkloadError(describe(error)) from None
    return _whole((reading,), before)


def run_threads(openings: Sequence[Opening], calls: int) -> BatchReading:
    """Run one batch in as many new threads as there are openings, started together.

    Raises `WorkloadError`; `NoThreadError` where threads cannot be had, and those that could are then left waiting.
    Each opening is entered and left in its own thread, outside what is timed.
    """
    host.forget_peak_rss()
    lanes = [_Lane(opening, calls) for opening in openings]
    for number, lane in enumerate(lanes, 1):
        try:
            lane.thread.start()
        except (RuntimeError, MemoryError) as error:  # `threading` has no exception of its own for it
            msg = f"the system refused thread {number} of {len(lanes)}: {error}"
            raise NoThreadError(msg) from None
    for lane in lanes:
        lane.ready.wait()
    before = _spent_ns()
    begin_ns = _perf_counter_ns() + HEAD_START_NS
    for lane in lanes:
        lane.begin_ns = begin_ns
        lane.go.set()
    for lane in lanes:
        lane.thread.join()
    errors = [f"in thread {number}: {lane.error}" for number, lane in enumerate(lanes, 1) if lane.error is not None]
    if errors:
        raise WorkloadError("\n".join(errors))
    return _whole(tuple(lane.reading for lane in lanes if lane.reading is not None), before)


class _Lane:
    """One thread of a batch: held at its start until told to go."""

    def __init__(self, opening: Opening, calls: int) -> None:
        self.opening = opening
        self.calls = calls
        self.ready = _Event()
        self.go = _Event()
        self.begin_ns = 0
        self.reading: ThreadReading | None = None
        self.error: str | None = None
        self.thread = _Thread(target=self._run, name="gilprobe-lane", daemon=True)

    def _run(self) -> None:
        try:
            with self.opening as call:
                queueing = Queueing()
                self.ready.set()
                self.go.wait()
                self.reading = timed(call, self.calls, self.begin_ns, queueing)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is a finding
            self.error = describe(error)
        finally:
            self.ready.set()


def _spent_ns() -> tuple[int, int, int, int]:
    """Return the CPU time so far, in nanoseconds: own, of children that ended, of all CPUs, and what those idled."""
    return host.process_time_ns(), host.children_time_ns(), *host.cpus_time_ns()


def _whole(threads: tuple[ThreadReading, ...], before: tuple[int, int, int, int]) -> BatchReading:
    own, children, cpus, idle = (after - earlier for after, earlier in zip(_spent_ns(), before, strict=True))
    return BatchReading(
        threads=threads,
        process_cpu_ns=own,
        children_cpu_ns=children,
        cpus_ns=max(0, cpus),
        cpus_idle_ns=max(0, idle),
        peak_rss_bytes=host.peak_rss_bytes(),
        gil_enabled=host.gil_enabled(),
    )


def describe(error: BaseException) -> str:
    """Write an exception down with its traceback, whatever its ``__str__`` does, without this package's frames."""
    try:
        shown = error.__traceback__
        while shown is not None and shown.tb_frame.f_globals.get("__name__", "").startswith("pytest_gilprobe."):
            shown = shown.tb_next
        text = "".join(traceback.format_exception(type(error), error, shown)).rstrip()
    except BaseException as other:  # noqa: BLE001 - a hostile exception must not hide that there was one
        text = f"{type(error).__name__} (its text could not be had: {type(other).__name__})"
    if len(text) > LONGEST_TRACEBACK:
        half = LONGEST_TRACEBACK // 2
        text = f"{text[:half]}\n[... {len(text) - LONGEST_TRACEBACK} characters left out ...]\n{text[-half:]}"
    return text
