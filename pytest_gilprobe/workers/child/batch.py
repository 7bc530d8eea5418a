"""Run and time one batch of calls, serially or in threads: the only code whose own speed matters.

A batch is calls that are timed together. Why the readings can be trusted:

* The loop is ``for call in calls: call()`` in a function of its own: no counter, no attribute look-up and no test
  inside (``benchmarks/loop_overhead.py``). New arguments are all made before the first clock is read.
* The CPU clock is read first and last, the wall clock in between: CPU time never misses work that the wall time
  includes. The run-queue clock is read outside of both, because its system call releases the GIL.
* Threads are started, and wait, before the first clock is read. Each waits for its own event and not at a barrier, so a
  thread that ends early, whatever exception it raised, never leaves the others waiting.
* Threads, and worker processes, sleep until a moment that all of them know in advance, and begin at that moment. If one
  thread woke the others one by one, it might lose its CPU to the first before it woke the second.
* Each thread or process sleeps on a CPU of its own: otherwise, two often woke up on the same CPU and took turns.
* Memory for the frames of calls is reserved in advance, so that calls take as long in the main thread as in others.
* Whatever a call raises, `SystemExit` and `KeyboardInterrupt` included, is caught in its thread and reported.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.readings import LaneReading, WorkerReading
from pytest_gilprobe.observe import clocks, interpreter, machine
from pytest_gilprobe.observe.affinity import StartingCpu
from pytest_gilprobe.workers.child.calls import Call, in_advance
from pytest_gilprobe.workers.child.room import with_room

if TYPE_CHECKING:
    from collections.abc import Sequence

LaneContext = AbstractContextManager[Call]
"""Context manager for one thread that makes calls: prepares what they need, yields the call, and cleans up."""

_perf_counter_ns = clocks.perf_counter_ns
_thread_time_ns = clocks.thread_time_ns
_Event = threading.Event

HEAD_START_NS = 2_000_000
"""Nanoseconds from telling threads when to begin until that moment: long enough for all of them to wake up."""
LONGEST_TRACEBACK = 20_000
"""Largest number of characters of an exception's text with traceback; the middle of a longer text is left out."""


class WorkloadError(GilprobeError):
    """Raised if a call in a batch raised anything; the text has the traceback of every thread that failed."""


class NoThreadError(GilprobeError):
    """Raised if the system refuses to start a thread; the workload is not to blame."""


@with_room
def run_calls(calls: Iterable[Call]) -> tuple[int, int, int]:
    """Make the calls; return start and end, by `time.perf_counter_ns`, and this thread's CPU time in nanoseconds."""
    cpu = _thread_time_ns()
    start = _perf_counter_ns()
    for call in calls:
        call()
    end = _perf_counter_ns()
    return start, end, _thread_time_ns() - cpu


def timed(
    ready: Iterable[Call],
    calls: int,
    begin_ns: int = 0,
    queueing: Queueing | None = None,
    cpu: StartingCpu | None = None,
) -> LaneReading:
    """Make the calls in ``ready``, ``calls`` in number, in this thread; return the readings of its clocks.

    This thread first sleeps until ``begin_ns``, a moment of `time.perf_counter_ns`, on ``cpu`` if given. It does not
    sleep if that moment is past, or 0. Wall time counts from ``begin_ns`` if this thread slept, or if ``begin_ns`` is
    not 0 and ``queueing`` is given; else from the first call. ``queueing`` measures how long this thread waits for a
    core, from before it was told to begin; if ``None``, from this call on. ``queueing`` is closed at the end.
    Exceptions of a call propagate.
    """
    since_begin = begin_ns > 0 and queueing is not None
    queueing = queueing or Queueing()
    try:
        ahead_ns = begin_ns - _perf_counter_ns()
        if ahead_ns > 0:
            sleep_on(cpu, ahead_ns / 1e9)
            since_begin = True
        before = clocks.context_switches()
        start, end, cpu_ns = run_calls(ready)
        after = clocks.context_switches()
        queued = queueing.until_ns(end, since_ns=None if since_begin else start)
        cpus = cpu.until_now() if cpu is not None and ahead_ns > 0 else ()
    finally:
        queueing.close()
    return LaneReading(
        calls=calls,
        start_ns=begin_ns if since_begin else start,
        end_ns=end,
        cpu_ns=cpu_ns,
        run_queue_ns=queued,
        waits=None if before is None or after is None else after[0] - before[0],
        preemptions=None if before is None or after is None else after[1] - before[1],
        cpus=cpus,
    )


def sleep_on(cpu: StartingCpu | None, seconds: float) -> None:
    """Sleep for ``seconds``; meanwhile restrict this thread to ``cpu``, unless that is ``None``."""
    if cpu is None:
        clocks.sleep(seconds)
        return
    cpu.hold()
    try:
        clocks.sleep(seconds)
    finally:
        cpu.release()


class Queueing:
    """Measure how long a thread has been in the run queue, waiting for a core, since it created this object."""

    def __init__(self) -> None:
        """Read the run-queue clock of the thread that creates this object."""
        self._clock = clocks.RunQueueClock()
        self._before = self._clock.read_ns()
        self._since_ns = _perf_counter_ns()

    def until_ns(self, end_ns: int, *, since_ns: int | None = None) -> int | None:
        """Return how many nanoseconds this thread waited in the run queue for a core, from ``since_ns`` to ``end_ns``.

        ``since_ns`` is a moment soon after this object was created (``None``: its creation), ``end_ns`` a moment just
        before this call. The run-queue clock is read only at the creation and in this call. The times before
        ``since_ns`` and after ``end_ns`` are subtracted as if the thread had queued all the time, so the result may be
        too low, but not below 0. Return ``None`` if the system has no such clock.
        """
        asked_ns = _perf_counter_ns()
        now = self._clock.read_ns()
        if now is None or self._before is None:
            return None
        before = 0 if since_ns is None else max(0, since_ns - self._since_ns)
        return max(0, now - self._before - before - max(0, asked_ns - end_ns))

    def close(self) -> None:
        """Close the file from which the run-queue clock is read."""
        self._clock.close()


def run_serial(call: Call, calls: int, begin_ns: int = 0, lane: int = 0) -> WorkerReading:
    """Make ``calls`` calls one after the other in this thread, from the moment ``begin_ns`` on.

    ``begin_ns`` is a moment of `time.perf_counter_ns` (0: at once). Until then this thread sleeps on a CPU that
    ``lane`` chooses: its number, from 0, among the threads or processes that begin together. Return the readings of the
    clocks. Raises `WorkloadError` if a call raises anything.
    """
    try:
        ready = in_advance(call, calls)
        machine.reset_peak_rss()
        usage = Usage()
        reading = timed(ready, calls, begin_ns, cpu=StartingCpu(lane) if begin_ns else None)
        return usage.reading((reading,), in_this_thread_ns=reading.cpu_ns)
    except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is a finding
        raise WorkloadError(describe(error)) from None


def run_threads(lanes: Sequence[LaneContext], calls: int) -> WorkerReading:
    """Make ``calls`` calls in each of several new threads, which begin together; return the readings of the clocks.

    ``lanes`` has a context manager for each thread, which yields its call. Raises `WorkloadError` if a call raises, and
    `NoThreadError` if the system refuses a thread: threads already started are then left waiting.
    """
    machine.reset_peak_rss()
    threads = [_BatchThread(number, lane, calls) for number, lane in enumerate(lanes)]
    start_lanes(threads)
    usage = Usage()
    begin_ns = _perf_counter_ns() + HEAD_START_NS
    for thread in threads:
        thread.begin(begin_ns)
    end_lanes(threads)
    return usage.reading(tuple(thread.reading for thread in threads if thread.reading is not None))


class LaneThread(threading.Thread):
    """A thread that prepares its calls, sets the event ``ready``, and waits until it is told to begin.

    ``error`` is the text of the exception that it has raised, with the traceback; ``None`` if it has raised none.
    """

    def __init__(self) -> None:
        """Create a daemon thread, which does not keep the process alive; it does not start yet."""
        super().__init__(name="gilprobe-lane", daemon=True)
        self.ready = _Event()
        self.error: str | None = None


def start_lanes(threads: Sequence[LaneThread]) -> None:
    """Start ``threads`` and wait until each of them is ready to begin its calls, or has failed.

    Raises `NoThreadError` if the system refuses a thread: threads already started are then left waiting.
    """
    for number, thread in enumerate(threads, 1):
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:  # `threading` has no exception of its own for it
            msg = f"the system refused thread {number} of {len(threads)}: {error}"
            raise NoThreadError(msg) from None
    for thread in threads:
        thread.ready.wait()


def end_lanes(threads: Sequence[LaneThread]) -> None:
    """Wait until all threads have ended. Raises `WorkloadError` with the error of each thread that failed."""
    for thread in threads:
        thread.join()
    errors = [f"in thread {at}: {thread.error}" for at, thread in enumerate(threads, 1) if thread.error is not None]
    if errors:
        raise WorkloadError("\n".join(errors))


class _BatchThread(LaneThread):
    """A thread that prepares one lane, then waits until it is told when to begin."""

    def __init__(self, number: int, lane: LaneContext, calls: int) -> None:
        super().__init__()
        self._number = number
        self._lane = lane
        self._calls = calls
        self._begin_ns = 0
        self._go = _Event()
        self.reading: LaneReading | None = None

    def begin(self, begin_ns: int) -> None:
        self._begin_ns = begin_ns
        self._go.set()

    def run(self) -> None:
        try:
            with self._lane as call:
                ready = in_advance(call, self._calls)
                queueing = Queueing()
                self.ready.set()
                self._go.wait()
                self.reading = timed(ready, self._calls, self._begin_ns, queueing, StartingCpu(self._number))
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is a finding
            self.error = describe(error)
        finally:
            self.ready.set()


class Usage:
    """Measures the CPU time of this process, of its ended child processes and of all CPUs, from its creation on."""

    def __init__(self) -> None:
        """Read the clocks at the start of a batch."""
        self._thread_ns = _thread_time_ns()
        self._before_ns = _used_ns()
        self._page_faults = machine.page_faults()

    def reading(self, lanes: tuple[LaneReading, ...], in_this_thread_ns: int = 0) -> WorkerReading:
        """Return the reading of a batch that has just ended; ``lanes`` are the readings of its threads or tasks.

        ``in_this_thread_ns`` is the CPU time that calls took in the thread that calls this method; 0 if all calls were
        made in other threads. The rest of this thread's CPU time went into reading clocks, which is much beside calls
        of a few microseconds. This rest is subtracted from the CPU time of the process.
        """
        beside_ns = max(0, _thread_time_ns() - self._thread_ns - in_this_thread_ns)
        page_faults = machine.page_faults()
        own, children, cpus, idle = (now - then for now, then in zip(_used_ns(), self._before_ns, strict=True))
        return WorkerReading(
            lanes=lanes,
            process_cpu_ns=max(0, own - beside_ns),
            children_cpu_ns=children,
            cpus_ns=max(0, cpus),
            cpus_idle_ns=max(0, idle),
            peak_rss_bytes=machine.peak_rss_bytes(),
            gil_enabled=interpreter.gil_enabled(),
            page_faults=None if page_faults is None else page_faults - (self._page_faults or 0),
        )


def _used_ns() -> tuple[int, int, int, int]:
    """Return CPU times so far: of this process, of its ended children, of all CPUs, and how long those were idle."""
    return clocks.process_time_ns(), clocks.children_time_ns(), *machine.cpus_time_ns()


def describe(error: BaseException) -> str:
    """Return an exception's text and traceback, without the leading frames that belong to this package."""
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
